/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An executor of one's own: `serial` runs methods strictly one by one, as `blocking` does, but on a thread of its own, so that the
 * program's threads are free for other things.
 *
 *     cc -shared -fPIC $(pkg-config --cflags fjord) -o serial.so executor_serial.c
 *
 *     [fjord]
 *     executor = serial
 *     plugin_dir = /usr/local/lib/fjord/plugins        # or executor = /path/of/serial.so
 *
 * There is one slot, taken by a request from the moment it is acknowledged until it is answered, deferred or not, or by a job.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* waits by the monotonic clock */
#endif
#include <fjord/executor.h>
#include <fjord/log.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { ACK_MS = 30000, PAUSE_MS = 1000 };

struct serial {
    fj_executor base; /* first */
    fj_executor_opts opts;
    fj_listener *listener;
    fj_dispatcher *dispatcher;
    pthread_t thread;
    bool has_thread; /* until it is joined */
    atomic_bool closed;
    sem_t changed; /* for the thread: the slot is free, or it is closed; a signal handler may post it */
    pthread_mutex_t lock;
    pthread_cond_t given; /* for stop: the slot was given back, or the thread has ended, or all was given up */
    /* Under the lock: */
    bool taken;      /* the slot */
    fj_request *req; /* what has it, if it is a request; lends, until it is done */
    bool deferred;   /* and its method has returned */
    void (*job)(void *user);
    void *job_user;
    bool aborted, ended;
};

static const fj_executor_ops serial_ops;

static struct serial *of(fj_executor *x)
{
    return (struct serial *)(void *)x;
}

/* ---- the slot ----------------------------------------------------------------------------------- */

/* Once the thread has ended nobody would run a job. */
static bool take(struct serial *s, void (*job)(void *user), void *user)
{
    (void)pthread_mutex_lock(&s->lock);
    bool mine = !s->taken && !s->ended;
    if (mine) {
        s->taken = true;
        s->job = job;
        s->job_user = user;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return mine;
}

/* All is done inside: with the slot free and the thread at its end the executor may be freed. */
static void give(struct serial *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->taken = s->deferred = false;
    s->req = NULL;
    s->job = NULL;
    (void)sem_post(&s->changed);
    (void)pthread_cond_broadcast(&s->given);
    (void)pthread_mutex_unlock(&s->lock);
}

/* The request is answered and its method has returned; on whatever thread that happened last. */
static void on_done(fj_request *req, void *user)
{
    (void)req;
    give(user);
}

/* A deferred request that nobody will answer any more; a reference, or NULL.  With the lock held. */
static fj_request *left_over(struct serial *s)
{
    return s->aborted && s->deferred && s->req != NULL ? fj_request_ref(s->req) : NULL;
}

static void fail(fj_request *req)
{
    fj_error *failure = NULL;

    if (req == NULL)
        return;
    (void)fj_fail(&failure, FJ_CLOSED, "the server stopped before the request was answered");
    (void)fj_request_fail(req, failure, NULL);
    fj_request_unref(req);
}

/* ---- the thread --------------------------------------------------------------------------------- */

/* What changed so far will be seen by whoever looks from now on. */
static void forget_changes(struct serial *s)
{
    while (sem_trywait(&s->changed) == 0)
        ;
}

/* @return false when there is none */
static bool run_job(struct serial *s)
{
    (void)pthread_mutex_lock(&s->lock);
    void (*job)(void *user) = s->job;
    (void)pthread_mutex_unlock(&s->lock);
    if (job == NULL)
        return false;
    job(s->job_user);
    give(s);
    return true;
}

static void run(struct serial *s, fj_incoming *in)
{
    fj_request *req = NULL;
    fj_error *err = NULL;

    fj_code code = fj_dispatcher_begin(s->dispatcher, in, on_done, s, &req, &err);
    fj_error_free(err);
    if (code != FJ_OK || req == NULL) { /* back at the broker, or answered already */
        give(s);
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->req = req;
    (void)pthread_mutex_unlock(&s->lock);
    fj_dispatcher_run(s->dispatcher, req, serial_ops.invoke, s);
    (void)pthread_mutex_lock(&s->lock);
    s->deferred = s->req != NULL; /* no other request can have come meanwhile */
    fj_request *left = left_over(s);
    (void)pthread_mutex_unlock(&s->lock);
    fail(left);
}

static struct timespec timespec_of(fj_deadline by)
{
    return (struct timespec){ .tv_sec = (time_t)(by.ns / 1000000000), .tv_nsec = (long)(by.ns % 1000000000) };
}

/* What does not work is told of, and not tried too often; the end is heard of meanwhile.  @param err takes */
static void trouble(struct serial *s, const char *what, fj_error *err)
{
    struct timespec until = timespec_of(fj_in_ms(PAUSE_MS));

    fj_log(FJ_LOG_ERROR, "serial", "%s: %s", what, fj_error_text(err));
    fj_error_free(err);
    forget_changes(s);
    if (!atomic_load(&s->closed))
        (void)sem_clockwait(&s->changed, CLOCK_MONOTONIC, &until);
}

/* Take the message out of the broker's hands, and run it. */
static void admit(struct serial *s, fj_incoming *in)
{
    fj_error *err = NULL;
    fj_code code = FJ_OK;

    while (!take(s, NULL, NULL)) /* a job was faster */
        (void)run_job(s);
    if (atomic_load(&s->closed))
        code = FJ_CLOSED;
    else if (!s->opts.ack_done)
        code = s->listener->ops->ack(s->listener, &in, 1, fj_in_ms(ACK_MS), &err);
    if (code == FJ_OK && in != NULL) { /* NULL: its connection is gone, and it comes again */
        run(s, in);
        return;
    }
    if (in != NULL)
        fj_dispatcher_give_back(s->dispatcher, in);
    give(s);
    if (err != NULL)
        trouble(s, "a message could not be acknowledged", err);
}

static bool is_free(struct serial *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool is = !s->taken;
    (void)pthread_mutex_unlock(&s->lock);
    return is;
}

/* @return false when the listener is closed */
static bool poll_once(struct serial *s)
{
    fj_incoming *in = NULL;
    fj_error *err = NULL;
    size_t n = 0;
    fj_code code = s->listener->ops->poll(s->listener, fj_never(), 1, &in, &n, &err);

    if (code == FJ_OK)
        admit(s, in);
    else if (code != FJ_AGAIN && code != FJ_CLOSED) /* AGAIN: somebody interrupts, for a job or the end */
        trouble(s, "polling failed", err);
    else
        fj_error_free(err);
    return code != FJ_CLOSED;
}

/* @return false when a job was taken meanwhile, which is to be run first */
static bool end(struct serial *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->ended = s->job == NULL;
    (void)pthread_cond_broadcast(&s->given);
    bool ended = s->ended;
    (void)pthread_mutex_unlock(&s->lock);
    return ended;
}

static void *serve(void *user)
{
    struct serial *s = user;
    bool open = true;

    for (;;) {
        forget_changes(s);
        if (!open || atomic_load(&s->closed))
            break;
        if (run_job(s))
            continue;
        if (is_free(s))
            open = poll_once(s);
        else
            (void)sem_wait(&s->changed); /* a deferred request has it */
    }
    while (!end(s))
        (void)run_job(s);
    return NULL;
}

/* ---- the table ---------------------------------------------------------------------------------- */

static fj_code create(const fj_conf *conf, const fj_executor_opts *opts, fj_executor **ret, fj_error **err)
{
    struct serial *s = calloc(1, sizeof *s);

    (void)conf;
    if (s == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for an executor");
    s->base.ops = &serial_ops;
    s->opts = *opts; /* no smaller than what this was compiled with: the ABI says so */
    s->ended = true; /* until there is a thread */
    atomic_init(&s->closed, false);
    (void)sem_init(&s->changed, 0, 0);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->given, NULL);
    *ret = &s->base;
    return FJ_OK;
}

static fj_code start(fj_executor *x, fj_listener *listener, fj_dispatcher *dispatcher, fj_error **err)
{
    struct serial *s = of(x);

    s->listener = listener;
    s->dispatcher = dispatcher;
    s->ended = false;
    s->has_thread = pthread_create(&s->thread, NULL, serve, s) == 0;
    if (s->has_thread)
        return FJ_OK;
    s->ended = true;
    return fj_fail(err, FJ_SYSTEM, "no thread could be made");
}

static fj_code submit(fj_executor *x, void (*job)(void *user), void *user, fj_error **err)
{
    struct serial *s = of(x);

    if (atomic_load(&s->closed))
        return fj_fail(err, FJ_CLOSED, "the executor is closed");
    if (!take(s, job, user))
        return fj_fail(err, FJ_AGAIN, "the only slot is taken");
    (void)sem_post(&s->changed);
    if (s->listener != NULL)
        s->listener->ops->interrupt(s->listener);
    return FJ_OK;
}

/* The thread has no loop: explicit and green methods get one. */
static fj_code invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct serial *s = user;

    return fj_invoke_by_flavour(s->opts.wrap != NULL ? s->opts.wrap : fj_invoke_direct, s->opts.wrap_user, req,
                                args, ret, err);
}

static void close_it(fj_executor *x)
{
    struct serial *s = of(x);

    atomic_store(&s->closed, true);
    (void)sem_post(&s->changed);
    if (s->listener != NULL)
        s->listener->ops->interrupt(s->listener);
}

static fj_code stop(fj_executor *x, fj_deadline by, fj_error **err)
{
    struct serial *s = of(x);
    struct timespec t = timespec_of(by);
    int rc = 0;

    if (s->has_thread && pthread_equal(pthread_self(), s->thread))
        return fj_fail(err, FJ_STATE, "a wait from within one of the server's methods");
    (void)pthread_mutex_lock(&s->lock);
    while ((s->taken || !s->ended) && !s->aborted && rc == 0)
        rc = pthread_cond_clockwait(&s->given, &s->lock, CLOCK_MONOTONIC, &t);
    bool over = !s->taken && s->ended;
    fj_code code = over ? FJ_OK
                        : fj_fail(err, FJ_TIMEOUT, "still running: %s%s",
                                  s->req != NULL ? fj_request_chosen(s->req)->name : "a job",
                                  s->deferred ? " (deferred)" : "");
    (void)pthread_mutex_unlock(&s->lock);
    return code;
}

static void abort_it(fj_executor *x)
{
    struct serial *s = of(x);

    (void)pthread_mutex_lock(&s->lock);
    s->aborted = true;
    fj_request *left = left_over(s);
    (void)pthread_cond_broadcast(&s->given);
    (void)pthread_mutex_unlock(&s->lock);
    fail(left);
}

static void free_it(fj_executor *x)
{
    struct serial *s = of(x);

    close_it(x);
    if (s->has_thread)
        (void)pthread_join(s->thread, NULL);
    (void)pthread_mutex_lock(&s->lock); /* who gave the slot back last is about to leave it */
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_cond_destroy(&s->given);
    (void)pthread_mutex_destroy(&s->lock);
    (void)sem_destroy(&s->changed);
    free(s);
}

/* The thread, the requests and the listener are the parent's. */
static void at_fork(fj_executor *x)
{
    struct serial *s = of(x);

    (void)pthread_mutex_init(&s->lock, NULL);
    s->has_thread = s->taken = s->deferred = false;
    s->ended = true;
    s->req = NULL;
    s->job = NULL;
    s->listener = NULL;
}

static unsigned running(const fj_executor *x, unsigned *ret_slots)
{
    if (ret_slots != NULL)
        *ret_slots = 1;
    return is_free((struct serial *)(void *)x) ? 0 : 1;
}

static const fj_executor_ops serial_ops = {
    .abi = FJ_EXECUTOR_ABI,
    .size = sizeof(fj_executor_ops),
    .name = "serial",
    .max_slots = 1,
    .create = create,
    .start = start,
    .submit = submit,
    .invoke = invoke,
    .close = close_it,
    .stop = stop,
    .abort = abort_it,
    .free = free_it,
    .at_fork = at_fork,
    .running = running,
};

FJ_API const fj_executor_ops *fj_executor_plugin(void);
const fj_executor_ops *fj_executor_plugin(void)
{
    return &serial_ops;
}
