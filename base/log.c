/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: who is heard at which level. */
#include "base/log.h"

#include "base/alloc.h"
#include "base/log_limit.h"
#include "base/log_out.h"
#include "base/native.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 31, SWITCHES_MAX = 64, SILENT = -1, UNSET = -2 };

struct switch_ {
    char name[NAME_MAX_LEN + 1];
    int level;
};

/* A component's level is its own switch, else the one of "all", else `base`: so that what an operator asked
 * for by FJ_TRACE outlives the level that the program sets from its configuration. */
struct levels {
    int base, all;
    size_t n;
    struct switch_ switches[SWITCHES_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct levels levels = { .base = FJ_LOG_WARNING, .all = UNSET };
static atomic_int highest = FJ_LOG_WARNING; /* of all levels in force: the quick way out of fj__log_on() */
static atomic_bool limited;                 /* there is a limit to be asked */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *const names[] = { "error", "warning", "info", "debug", "trace" };

const char *fj_log_level_name(fj_log_level level)
{
    return (size_t)level < fj__countof(names) ? names[level] : "?";
}

bool fj_log_level_parse(const char *text, fj_log_level *ret)
{
    for (size_t i = 0; text != NULL && i < fj__countof(names); i++) {
        if (strcasecmp(text, names[i]) == 0) {
            *ret = (fj_log_level)i;
            return true;
        }
    }
    return false;
}

/* ---- switches ---- */

static struct switch_ *find_switch(struct levels *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->switches[i].name, name) == 0)
            return &l->switches[i];
    return NULL;
}

static int level_of(struct levels *l, const char *component)
{
    const struct switch_ *own = component != NULL ? find_switch(l, component) : NULL;

    if (own != NULL)
        return own->level;
    return l->all != UNSET ? l->all : l->base;
}

static int highest_of(const struct levels *l)
{
    int top = l->all != UNSET ? l->all : l->base;

    for (size_t i = 0; i < l->n; i++)
        if (l->switches[i].level > top)
            top = l->switches[i].level;
    return top;
}

static bool good_name(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && strchr("_.-", name[i]) == NULL)
            return false;
    return n != 0 && n <= NAME_MAX_LEN;
}

/* One word, "name", "name=level" or "-name". */
static bool apply_word(struct levels *l, char *word)
{
    bool silence = word[0] == '-';
    char *name = word + (silence ? 1 : 0);
    char *equals = strchr(name, '=');
    fj_log_level level = FJ_LOG_TRACE;

    if (equals != NULL) {
        if (silence || !fj_log_level_parse(equals + 1, &level))
            return false;
        *equals = '\0';
    }
    if (!good_name(name))
        return false;
    int value = silence ? SILENT : (int)level;
    if (strcmp(name, "all") == 0) {
        l->all = value;
        l->n = 0; /* the last word counts */
        return true;
    }
    struct switch_ *s = find_switch(l, name);
    if (s == NULL) {
        if (l->n == SWITCHES_MAX)
            return false;
        s = &l->switches[l->n++];
        memcpy(s->name, name, strlen(name) + 1);
    }
    s->level = value;
    return true;
}

/* All words or none.  @p bad gets the word that is not understood. */
static bool apply(struct levels *l, const char *text, char *bad, size_t bad_n)
{
    static const char gaps[] = ", \t\n";

    for (text += strspn(text, gaps); *text != '\0'; text += strspn(text, gaps)) {
        size_t n = strcspn(text, gaps);
        char word[NAME_MAX_LEN + 16];
        (void)snprintf(bad, bad_n, "%.*s", (int)(n < 64 ? n : 64), text);
        if (n >= sizeof word)
            return false;
        memcpy(word, text, n);
        word[n] = '\0';
        if (!apply_word(l, word))
            return false;
        text += n;
    }
    return true;
}

/* ---- the beginning ---- */

/* Order of locks: this, then those of what lines go to. */
static void before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    fj__log_before_fork();
}

static void after_fork(void)
{
    fj__log_after_fork(false);
    (void)fj__native.pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    fj__log_after_fork(true);
    (void)fj__native.pthread_mutex_unlock(&lock);
}

static void start(void)
{
    const char *wanted = getenv("FJ_TRACE");
    struct levels next = levels;
    char bad[80], text[128];

    (void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
    if (wanted == NULL)
        return;
    if (apply(&next, wanted, bad, sizeof bad)) {
        levels = next;
        atomic_store(&highest, highest_of(&levels));
        return;
    }
    (void)snprintf(text, sizeof text, "FJ_TRACE is ignored: \"%s\" is not understood", bad);
    fj__log_deliver(
        &(fj__log_line){ .level = FJ_LOG_WARNING, .component = "log", .text = text, .text_n = strlen(text) });
}

static void enter(void)
{
    (void)pthread_once(&once, start);
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void leave(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

void fj_log_set_level(fj_log_level level)
{
    enter();
    levels.base = (int)level;
    atomic_store(&highest, highest_of(&levels));
    leave();
}

fj_code fj_log_switch(const char *switches, fj_error **err)
{
    char bad[80] = "";

    if (switches == NULL)
        return FJ_OK;
    enter();
    struct levels next = levels;
    bool ok = apply(&next, switches, bad, sizeof bad);
    if (ok) {
        levels = next;
        atomic_store(&highest, highest_of(&levels));
    }
    leave();
    return ok ? FJ_OK : fj_fail(err, FJ_BAD_VALUE, "log switch \"%s\" is not understood", bad);
}

bool fj__log_on(fj_log_level level, const char *component)
{
    (void)pthread_once(&once, start);
    if ((int)level > atomic_load_explicit(&highest, memory_order_relaxed))
        return false;
    (void)fj__native.pthread_mutex_lock(&lock);
    bool on = (int)level <= level_of(&levels, component);
    leave();
    return on;
}

static json_t *level_json(int level)
{
    return json_string(level == SILENT ? "off" : fj_log_level_name((fj_log_level)level));
}

json_t *fj__log_levels(void)
{
    json_t *components = json_object();

    enter();
    struct levels now = levels;
    leave();
    for (size_t i = 0; i < now.n; i++)
        (void)json_object_set_new(components, now.switches[i].name, level_json(now.switches[i].level));
    return json_pack("{s:o, s:o}", "level", level_json(now.all != UNSET ? now.all : now.base), "components",
                     components);
}

bool fj__log_has_all(void)
{
    enter();
    bool has = levels.all != UNSET;
    leave();
    return has;
}

/* ---- lines ---- */

static void vlog(fj__log_line *line, const char *format, va_list args)
{
    char brief[512], *longer = NULL;
    int saved = errno;
    va_list again;

    va_copy(again, args);
    int n = vsnprintf(brief, sizeof brief, format, again);
    va_end(again);
    if (n >= (int)sizeof brief)
        longer = fj__vformat(format, args); /* without memory the beginning has to do */
    line->text = longer != NULL ? longer : brief;
    line->text_n = strlen(line->text);
    if (n >= 0)
        fj__log_deliver(line);
    line->text = NULL;
    fj__free(longer);
    errno = saved;
}

/* ---- how many ------------------------------------------------------------------------------------ */

void fj_log_limit(unsigned burst, unsigned seconds, int except)
{
    enter();
    atomic_store(&limited, fj__log_limit_set(burst, seconds, except));
    leave();
}

static void tell(const char *format, ...) FJ_PRINTF(1, 2);
static void tell(const char *format, ...)
{
    fj__log_line line = { .level = FJ_LOG_WARNING, .component = "log" };
    va_list args;

    va_start(args, format);
    vlog(&line, format, args);
    va_end(args);
}

static int64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What is left out is told of when that begins, and when the next line is let through. */
static bool within_limit(fj_log_level level, const char *component)
{
    fj__log_limit_told told;

    if (!atomic_load_explicit(&limited, memory_order_relaxed))
        return true;
    (void)fj__native.pthread_mutex_lock(&lock);
    bool pass = fj__log_limit_pass(level, component, now_ns(), &told);
    leave();
    if (told.left_out != 0)
        tell("%lu line%s of %s left out: more than %u in %u s", told.left_out,
             told.left_out == 1 ? " was" : "s were", component, told.burst, told.seconds);
    if (told.first)
        tell("more than %u lines of %s in %u s: those that follow are left out and counted", told.burst,
             component, told.seconds);
    return pass;
}

void fj__log_at(const char *file, unsigned line, const char *function, fj_log_level level,
                const char *component, const char *format, ...)
{
    fj__log_line l = {
        .level = level, .component = component, .file = file, .line = line, .function = function
    };
    va_list args;

    if (!fj__log_on(level, component) || !within_limit(level, component))
        return;
    va_start(args, format);
    vlog(&l, format, args);
    va_end(args);
}

void fj_log(fj_log_level level, const char *component, const char *format, ...)
{
    fj__log_line l = { .level = level, .component = component };
    va_list args;

    if (!fj__log_on(level, component) || !within_limit(level, component))
        return;
    va_start(args, format);
    vlog(&l, format, args);
    va_end(args);
}

void fj__secret_clear(fj__secret *s)
{
    if (s->hidden != NULL) {
        explicit_bzero(s->hidden, strlen(s->hidden));
        fj__free(s->hidden);
        s->hidden = NULL;
    }
}
