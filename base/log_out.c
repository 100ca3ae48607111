/* SPDX-License-Identifier: Apache-2.0 */
/* Where lines go: to the program's call-back, to the places of fj_log_open(), or to standard error. */
#include "base/log_out.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/log_sink.h"
#include "base/native.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <unistd.h>

enum { PLACES_MAX = 4, RING = 1 << 20, RING_MIN = 64 * 1024, AT_EXIT_MS = 1000 };

struct places {
    fj__log_sink *all[PLACES_MAX];
    size_t n;
    bool file;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static fj_log_fn call_back;
static void *call_back_user;
static struct places places;
static _Atomic(void (*)(fj__log_context *)) context_of;
static _Atomic(void (*)(const fj__log_line *)) tap;
static pthread_once_t once = PTHREAD_ONCE_INIT;

void fj__log_context_set(void (*fn)(fj__log_context *ret))
{
    atomic_store(&context_of, fn);
}

void fj_log_set(fj_log_fn fn, void *user)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    call_back = fn;
    call_back_user = user;
    (void)fj__native.pthread_mutex_unlock(&lock);
}

void fj__log_before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    fj__log_sinks_before_fork();
}

void fj__log_after_fork(bool child)
{
    fj__log_sinks_after_fork(child);
    (void)fj__native.pthread_mutex_unlock(&lock);
}

static void at_exit(void)
{
    (void)fj__log_sinks_flush(AT_EXIT_MS);
}

static void watch_exit(void)
{
    (void)atexit(at_exit);
}

/* ---- a line ------------------------------------------------------------------------------------ */

static void complete(fj__log_line *line)
{
    const char **const texts[] = { &line->file,    &line->function, &line->component,
                                   &line->request, &line->message,  &line->method };
    void (*ask)(fj__log_context *) = atomic_load(&context_of);
    fj__log_context context = { 0 };

    if (ask != NULL)
        ask(&context);
    line->request = context.request;
    line->message = context.message;
    line->method = context.method;
    for (size_t i = 0; i < fj__countof(texts); i++)
        if (*texts[i] == NULL)
            *texts[i] = "";
    (void)clock_gettime(CLOCK_REALTIME, &line->when);
    line->pid = getpid();
    line->tid = gettid();
}

static void to_call_back(fj_log_fn fn, void *user, const fj__log_line *line)
{
    char brief[512], *longer = NULL;
    size_t n = fj__log_escape(brief, sizeof brief, line->text, line->text_n);

    if (n >= sizeof brief && (longer = fj__alloc(n + 1)) != NULL) /* without memory the beginning has to do */
        (void)fj__log_escape(longer, n + 1, line->text, line->text_n);
    fn(user, line->level, line->component, longer != NULL ? longer : brief);
    fj__free(longer);
}

/* As one write, so that lines of several threads and processes do not mix: a pipe takes so much as one.
 * @return false: it would block */
static bool to_stderr(const fj__log_line *line)
{
    enum { SHORT = 1200 };
    char brief[2048];
    char *longer = line->text_n > SHORT ? fj__alloc(PIPE_BUF) : NULL;
    char *out = longer != NULL ? longer : brief;
    size_t n = fj__log_render(out, longer != NULL ? PIPE_BUF : sizeof brief, line, FJ__LOG_TEXT, "", 0);
    bool done = n == 0 || fj__log_stderr_try(out, n);

    fj__free(longer);
    return done;
}

/* @locks needs the lock */
static bool push_all(const fj__log_line *line)
{
    for (size_t i = 0; i < places.n; i++)
        fj__log_sink_push(places.all[i], line);
    return places.n != 0;
}

/* Standard error is stuck: from now on a thread writes to it. */
static void hand_over(const fj__log_line *line)
{
    fj__log_sink *s = fj__log_sink_new(
        &(fj__log_sink_opts){ .place = &fj__log_stderr, .format = FJ__LOG_TEXT, .ring = RING });

    if (s == NULL)
        return;
    (void)pthread_once(&once, watch_exit);
    (void)fj__native.pthread_mutex_lock(&lock);
    bool first = places.n == 0;
    if (first)
        places.all[places.n++] = s;
    (void)push_all(line);
    (void)fj__native.pthread_mutex_unlock(&lock);
    if (!first)
        fj__log_sink_close(s);
}

void fj__log_tap(void (*fn)(const fj__log_line *line))
{
    atomic_store(&tap, fn);
}

void fj__log_deliver(fj__log_line *line)
{
    void (*also)(const fj__log_line *) = atomic_load(&tap);

    complete(line);
    if (also != NULL)
        also(line);
    (void)fj__native.pthread_mutex_lock(&lock);
    fj_log_fn fn = call_back;
    void *user = call_back_user;
    bool done = fn == NULL && push_all(line);
    (void)fj__native.pthread_mutex_unlock(&lock);
    if (fn != NULL)
        to_call_back(fn, user, line);
    else if (!done && !to_stderr(line))
        hand_over(line);
}

/* ---- places ------------------------------------------------------------------------------------ */

/* As in syslog.conf, with "LOG_" in front or not.  @return -1: there is none of that name */
static int facility_named(const char *name)
{
    static const struct {
        const char *name;
        int facility;
    } all[] = {
        { "kern", LOG_KERN },     { "user", LOG_USER },         { "mail", LOG_MAIL },
        { "daemon", LOG_DAEMON }, { "auth", LOG_AUTH },         { "syslog", LOG_SYSLOG },
        { "lpr", LOG_LPR },       { "news", LOG_NEWS },         { "uucp", LOG_UUCP },
        { "cron", LOG_CRON },     { "authpriv", LOG_AUTHPRIV }, { "ftp", LOG_FTP },
        { "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 },     { "local2", LOG_LOCAL2 },
        { "local3", LOG_LOCAL3 }, { "local4", LOG_LOCAL4 },     { "local5", LOG_LOCAL5 },
        { "local6", LOG_LOCAL6 }, { "local7", LOG_LOCAL7 },
    };

    if (strncasecmp(name, "LOG_", 4) == 0)
        name += 4;
    for (size_t i = 0; i < fj__countof(all); i++)
        if (strcasecmp(all[i].name, name) == 0)
            return all[i].facility;
    return -1;
}

static bool add(struct places *p, const fj__log_sink_opts *opts)
{
    fj__log_sink *s = fj__log_sink_new(opts);

    if (s != NULL)
        p->all[p->n++] = s;
    return s != NULL;
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static bool make(struct places *p, const fj_log_opts *o, int facility)
{
    fj__log_sink_opts s = { .ring = o->ring == 0         ? RING
                                    : o->ring < RING_MIN ? RING_MIN
                                                         : o->ring,
                            .format = o->json ? FJ__LOG_JSON : FJ__LOG_TEXT,
                            .ident = or_else(o->ident, program_invocation_short_name),
                            .facility = facility };
    bool ok = true;

    if (o->to_stderr) {
        s.place = &fj__log_stderr;
        ok = add(p, &s);
    }
    if (o->file != NULL) {
        s.place = &fj__log_file;
        s.path = o->file;
        ok = ok && add(p, &s);
        p->file = true;
    }
    if (o->facility != NULL) {
        s.place = &fj__log_syslog;
        s.format = FJ__LOG_SYSLOG;
        s.path = or_else(o->syslog_socket, "/dev/log");
        ok = ok && add(p, &s);
    }
    if (o->journal) {
        s.place = &fj__log_journal;
        s.format = FJ__LOG_JOURNAL;
        s.path = or_else(o->journal_socket, "/run/systemd/journal/socket");
        ok = ok && add(p, &s);
    }
    return ok;
}

static void close_all(const struct places *p)
{
    for (size_t i = 0; i < p->n; i++)
        fj__log_sink_close(p->all[i]);
}

fj_code fj_log_open(const fj_log_opts *opts, fj_error **err)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = NULL);
    struct places next = { .n = 0 };

    if (opts != NULL)
        memcpy(&o, opts, opts->size < sizeof o ? opts->size : sizeof o);
    int facility = o.facility != NULL ? facility_named(o.facility) : LOG_USER;
    if (facility < 0)
        return fj_fail(err, FJ_BAD_VALUE, "syslog has no facility \"%s\"", o.facility);
    (void)fj__log_on(FJ_LOG_ERROR, "log"); /* which sees to forks */
    if (!make(&next, &o, facility)) {
        close_all(&next);
        return fj_fail(err, FJ_NOMEM, "no memory for the log");
    }
    if (next.n != 0)
        (void)pthread_once(&once, watch_exit);
    (void)fj__native.pthread_mutex_lock(&lock);
    struct places before = places;
    places = next;
    (void)fj__native.pthread_mutex_unlock(&lock);
    close_all(&before);
    return FJ_OK;
}

bool fj__log_has_file(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
    bool has = places.file;
    (void)fj__native.pthread_mutex_unlock(&lock);
    return has;
}

void fj_log_reopen(void)
{
    fj__log_sinks_reopen();
}

bool fj_log_flush(int ms)
{
    return fj__log_sinks_flush(ms);
}
