/* SPDX-License-Identifier: Apache-2.0 */
/* The log as notifications: a tap on the log, a queue, and a thread that sends. */
#include <fjord/notify_log.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/log_line.h"
#include "base/native.h"
#include "messaging/internal.h"
#include "runtime/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum { WAITING_MAX = 1000, SLICE_MS = 50, LAST_MS = 1000 };

struct line {
    struct line *next;
    fj_priority priority;
    json_t *payload;
};

/* The one that sends, if there is one.  All but `notifier`, which only its thread uses, is under the lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool on; /* lines are taken */
    fj_log_as as;
    fj_log_level level;
    struct line *first, **last;
    size_t n;
    unsigned long dropped;
    pthread_t thread;
    fj_notifier *notifier;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
static _Atomic int64_t give_up_ns = FJ_NEVER_NS; /* when its thread is to have ended */
static _Thread_local bool sends;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void lock(void)
{
    (void)fj__native.pthread_mutex_lock(&sink.lock);
}

static void unlock(void)
{
    (void)fj__native.pthread_mutex_unlock(&sink.lock);
}

/* ---- a line ------------------------------------------------------------------------------------- */

/* As Python has them. */
static const struct {
    fj_priority priority;
    int number;
    const char *name;
} levels[] = { [FJ_LOG_ERROR] = { FJ_NOTIFY_ERROR, 40, "ERROR" },
               [FJ_LOG_WARNING] = { FJ_NOTIFY_WARN, 30, "WARNING" },
               [FJ_LOG_INFO] = { FJ_NOTIFY_INFO, 20, "INFO" },
               [FJ_LOG_DEBUG] = { FJ_NOTIFY_DEBUG, 10, "DEBUG" },
               [FJ_LOG_TRACE] = { FJ_NOTIFY_DEBUG, 5, "TRACE" } };

static bool is_of_sending(const char *component)
{
    static const char *const all[] = { "amqp", "fake", "log", "notify", "notification" };

    for (size_t i = 0; i < fj__countof(all); i++)
        if (strcmp(component, all[i]) == 0)
            return true;
    return false;
}

/* What is no UTF-8 is escaped.  Gives; NULL: no memory. */
static json_t *text_of(const char *text, size_t n)
{
    size_t size = fj__log_escape(NULL, 0, text, n) + 1;
    char *escaped = fj__alloc(size);

    if (escaped == NULL)
        return NULL;
    (void)fj__log_escape(escaped, size, text, n);
    json_t *value = json_string(escaped);
    fj__free(escaped);
    return value;
}

static json_t *known(const char *text)
{
    return text[0] != '\0' ? text_of(text, strlen(text)) : json_null();
}

/* Gives; NULL: no memory. */
static json_t *record_of(const fj__log_line *line)
{
    return json_pack("{s:s, s:i, s:s, s:n, s:o, s:i, s:o, s:o, s:i, s:s, s:i, s:{s:o, s:o, s:o}}", "name",
                     line->component, "levelno", levels[line->level].number, "levelname",
                     levels[line->level].name, "exc_info", "pathname", known(line->file), "lineno",
                     (int)line->line, "msg", text_of(line->text, line->text_n), "funcName",
                     known(line->function), "thread", (int)line->tid, "processName",
                     program_invocation_short_name, "process", (int)line->pid, "extra", "request_id",
                     known(line->request), "message_id", known(line->message), "method", known(line->method));
}

static struct line *line_of(const fj__log_line *from, fj_log_as as)
{
    struct line *line = fj__zalloc(sizeof *line);

    if (line == NULL)
        return NULL;
    line->priority = levels[from->level].priority;
    line->payload = as == FJ_LOG_AS_RECORDS ? record_of(from)
                                            : json_pack("{s:o}", "error", text_of(from->text, from->text_n));
    if (line->payload != NULL)
        return line;
    fj__free(line);
    return NULL;
}

static void tap(const fj__log_line *from)
{
    if (sends || is_of_sending(from->component) || (unsigned)from->level >= fj__countof(levels))
        return;
    lock();
    bool wanted = sink.on && from->level <= (sink.as == FJ_LOG_AS_ERRORS ? FJ_LOG_ERROR : sink.level);
    bool room = sink.n < WAITING_MAX;
    fj_log_as as = sink.as;
    unlock();
    struct line *line = wanted && room ? line_of(from, as) : NULL;
    if (!wanted)
        return;
    lock();
    if (line == NULL || !sink.on) {
        sink.dropped++;
    } else {
        *sink.last = line;
        sink.last = &line->next;
        sink.n++;
        line = NULL;
        (void)fj__native.pthread_cond_signal(&sink.changed);
    }
    unlock();
    if (line != NULL)
        json_decref(line->payload);
    fj__free(line);
}

/* ---- the thread --------------------------------------------------------------------------------- */

/* The next line; NULL at the end. */
static struct line *next(unsigned long *ret_dropped)
{
    lock();
    while (sink.first == NULL && sink.on)
        (void)fj__native.pthread_cond_wait(&sink.changed, &sink.lock);
    struct line *line = sink.first;
    if (line != NULL) {
        sink.first = line->next;
        if (sink.first == NULL)
            sink.last = &sink.first;
        sink.n--;
    }
    *ret_dropped = sink.dropped;
    sink.dropped = 0;
    unlock();
    return line;
}

static bool is_over(void)
{
    return fj_now().ns >= atomic_load(&give_up_ns);
}

/* Waits for each, so that what waits is in the queue, whose length is known, and nowhere else. */
static void send_line(struct line *line)
{
    bool errors = sink.as == FJ_LOG_AS_ERRORS;
    fj_notify_opts opts = FJ_NOTIFY_OPTS_INIT;
    fj_future *future = NULL;

    if (errors)
        opts.publisher_id = "error.publisher";
    (void)fj_notifier_notify_async(sink.notifier, line->priority, errors ? "error_notification" : "logrecord",
                                   line->payload, &opts, &future, NULL);
    line->payload = NULL;
    while (future != NULL && !fj_future_done(future) && !is_over())
        if (fj_future_wait(future, fj_in_ms(SLICE_MS), NULL, NULL) != FJ_TIMEOUT)
            break;
    if (future != NULL && !fj_future_done(future))
        (void)fj_future_cancel(future);
    fj_future_unref(future);
}

static void *run(void *user)
{
    struct line *line;
    unsigned long dropped = 0;

    (void)user;
    sends = true;
    while ((line = next(&dropped)) != NULL) {
        if (dropped > 0)
            fj__log(FJ_LOG_WARNING, "notify", "%lu lines of the log were not sent: too many wait", dropped);
        if (!is_over())
            send_line(line);
        json_decref(line->payload);
        fj__free(line);
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------- */

static void before_fork(void)
{
    lock();
}

/* Its thread, and what waits for it, are the parent's. */
static void in_child(void)
{
    sink.on = false;
    sink.first = NULL;
    sink.last = &sink.first;
    sink.n = 0;
    sink.notifier = NULL;
    (void)pthread_mutex_init(&sink.lock, NULL);
    (void)pthread_cond_init(&sink.changed, NULL);
}

static void start_once(void)
{
    (void)pthread_atfork(before_fork, unlock, in_child);
}

static void end(void)
{
    lock();
    bool was = sink.on;
    sink.on = false;
    (void)fj__native.pthread_cond_broadcast(&sink.changed);
    unlock();
    fj__log_tap(NULL);
    if (!was)
        return;
    atomic_store(&give_up_ns, fj_in_ms(LAST_MS).ns);
    (void)fj__native.pthread_join(sink.thread, NULL);
    sink.notifier = NULL;
}

const fj_notifier *fj__log_notifier(void)
{
    lock();
    const fj_notifier *notifier = sink.on ? sink.notifier : NULL;
    unlock();
    return notifier;
}

fj_code fj_log_notify(fj_notifier *notifier, const fj_log_notify_opts *opts, fj_error **err)
{
    fj_log_notify_opts o = FJ_LOG_NOTIFY_OPTS_INIT;

    (void)pthread_once(&once, start_once);
    end();
    if (notifier == NULL)
        return FJ_OK;
    if (opts != NULL)
        fj__copy_sized(&o, sizeof o, opts, opts->size);
    atomic_store(&give_up_ns, FJ_NEVER_NS);
    lock();
    sink.as = o.as;
    sink.level = o.level;
    sink.notifier = notifier;
    sink.first = NULL;
    sink.last = &sink.first;
    sink.n = 0;
    sink.dropped = 0;
    sink.on = true;
    int rc = fj__thread_new(&sink.thread, "fj-log-notify", run, NULL);
    sink.on = rc == 0;
    unlock();
    if (rc != 0)
        return fj_fail(err, FJ_SYSTEM, "no thread to send the log: %s", strerror(rc));
    fj__log_tap(tap);
    return FJ_OK;
}
