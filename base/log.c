/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: who is heard at which level, and where the lines go. */
#include "log.h"

#include "base/native.h"

#include "alloc.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

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
static fj_log_fn sink;
static void *sink_user;
static atomic_int highest = FJ_LOG_WARNING; /* of all levels in force: the quick way out of fj__log_on() */
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

/* ---- lines ---- */

static void to_stderr(fj_log_level level, const char *component, const char *text)
{
    struct timespec now;
    struct tm parts;
    char when[32], line[2048];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &parts) == NULL || strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        when[0] = '\0';
    int n = snprintf(line, sizeof line, "%s.%03ldZ %-7s %s: %s\n", when, now.tv_nsec / 1000000,
                     fj_log_level_name(level), component, text);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof line) {
        n = (int)sizeof line - 1;
        memcpy(line + n - 4, "...\n", 4);
    }
    /* One write, so that lines of several threads do not mix.  A log that cannot be written is dropped. */
    ssize_t wrote = fj__native.write(STDERR_FILENO, line, (size_t)n);
    (void)wrote;
}

static void before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

static void start(void)
{
    const char *wanted = getenv("FJ_TRACE");
    struct levels next = levels;
    char bad[80], text[128];

    (void)pthread_atfork(before_fork, after_fork, after_fork);
    if (wanted == NULL)
        return;
    if (apply(&next, wanted, bad, sizeof bad)) {
        levels = next;
        atomic_store(&highest, highest_of(&levels));
        return;
    }
    (void)snprintf(text, sizeof text, "FJ_TRACE is ignored: \"%s\" is not understood", bad);
    to_stderr(FJ_LOG_WARNING, "log", text);
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

void fj_log_set(fj_log_fn fn, void *user)
{
    enter();
    sink = fn;
    sink_user = user;
    leave();
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

/* A line is one line, and nothing a peer sends can move the cursor of a terminal: neither the control bytes nor, in
 * UTF-8, U+0080 to U+009F. */
static void flatten(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f)
            *at = ' ';
        else if (*at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
            at[0] = at[1] = ' ';
    }
}

static void deliver(fj_log_level level, const char *component, char *text)
{
    flatten(text);
    enter();
    fj_log_fn fn = sink;
    void *user = sink_user;
    leave();
    if (fn != NULL)
        fn(user, level, component, text);
    else
        to_stderr(level, component, text);
}

static void vlog(fj_log_level level, const char *component, const char *format, va_list args)
{
    char brief[512], *longer = NULL;
    va_list again;

    va_copy(again, args);
    int n = vsnprintf(brief, sizeof brief, format, again);
    va_end(again);
    if (n >= (int)sizeof brief)
        longer = fj__vformat(format, args); /* without memory the beginning has to do */
    if (n >= 0)
        deliver(level, component, longer != NULL ? longer : brief);
    fj__free(longer);
}

void fj__log(fj_log_level level, const char *component, const char *format, ...)
{
    int saved = errno;
    va_list args;

    if (!fj__log_on(level, component))
        return;
    va_start(args, format);
    vlog(level, component, format, args);
    va_end(args);
    errno = saved;
}

void fj_log(fj_log_level level, const char *component, const char *format, ...)
{
    int saved = errno;
    va_list args;

    if (!fj__log_on(level, component))
        return;
    va_start(args, format);
    vlog(level, component, format, args);
    va_end(args);
    errno = saved;
}

void fj__secret_clear(fj__secret *s)
{
    if (s->hidden != NULL) {
        explicit_bzero(s->hidden, strlen(s->hidden));
        fj__free(s->hidden);
        s->hidden = NULL;
    }
}
