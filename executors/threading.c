/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threading executor.  One thread polls the listener for at most as many messages as there are free slots,
 * acknowledges them as a batch and queues them; up to `slots` workers, made when needed and kept, run them.
 */
#include "threading.h"

#include "base/alloc.h"
#include "base/log.h"
#include "executors/slots.h"

#include <signal.h>
#include <string.h>

enum { BATCH = 32 };

struct threading {
    fj_executor base; /* first */
    fj__slots slots;
    fj_listener *listener;
    fj__trouble trouble;
    bool ack_done;
    fj_invoke_fn wrap;
    void *wrap_user;
    pthread_t io;
    bool io_made;
    atomic_bool io_ended;
    atomic_uint active; /* how many slots are queued or run: each needs a worker */
    pthread_mutex_t pool_lock;
    pthread_t *workers; /* under pool_lock, as `made` */
    unsigned made;
};

static struct threading *of(fj_executor *x)
{
    return (struct threading *)(void *)x;
}

/* A thread that no signal is delivered to: those are the program's own. */
static int thread_new(pthread_t *ret, const char *name, void *(*fn)(void *), void *user)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret, NULL, fn, user);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        (void)pthread_setname_np(*ret, name);
    return rc;
}

/* ---- workers ----------------------------------------------------------------------------------- */

static void *worker(void *user)
{
    struct threading *t = user;
    fj__slot *slot;

    while ((slot = fj__slots_pop_wait(&t->slots)) != NULL) {
        fj__slots_run(slot, &t->base);
        (void)atomic_fetch_sub(&t->active, 1);
    }
    return NULL;
}

/* Queue a request's slot, or a job, with a worker for it.  When no more threads can be made those there must do.
 * @return 0, or the errno value when there is not one */
static int hand_over(struct threading *t, fj__slot *slot, void (*job)(void *user), void *user)
{
    unsigned needed = atomic_fetch_add(&t->active, 1) + 1;
    int rc = 0;

    (void)pthread_mutex_lock(&t->pool_lock);
    if (needed > t->made && t->made < t->slots.n) {
        rc = thread_new(&t->workers[t->made], "fj-worker", worker, t);
        if (rc == 0)
            t->made++;
        else if (t->made > 0)
            rc = 0;
    }
    (void)pthread_mutex_unlock(&t->pool_lock);
    if (rc != 0)
        (void)atomic_fetch_sub(&t->active, 1);
    else
        fj__slots_push(slot, job, user);
    return rc;
}

/* ---- the I/O thread ---------------------------------------------------------------------------- */

static void begin(struct threading *t, fj__slot *slot, fj_incoming *in)
{
    fj_error *failure = NULL;

    if (!fj__slots_begin(slot, in))
        return;
    int rc = hand_over(t, slot, NULL, NULL);
    if (rc == 0)
        return;
    (void)fj_fail(&failure, FJ_SYSTEM, "no thread could be made: %s", strerror(rc));
    fj__slots_drop(slot, failure);
}

/* As many slots as are free, one at least, `n` at most.  @return how many; 0 when closed */
static size_t take_slots(struct threading *t, fj__slot **slots, size_t n)
{
    size_t got = 0;

    while (got == 0) {
        if (fj__slots_await(&t->slots, false, fj_never()) == FJ_CLOSED)
            return 0;
        while (got < n && (slots[got] = fj__slots_take(&t->slots)) != NULL)
            got++;
    }
    return got;
}

/* Acknowledge and begin in[0 .. n), for each of which there is a slot. */
static void admit(struct threading *t, fj__slot **slots, fj_incoming **in, size_t n)
{
    fj_error *err = NULL;
    fj_code code = t->ack_done ? FJ_OK : t->listener->ops->ack(t->listener, in, n, fj_in_ms(FJ__ACK_MS), &err);

    for (size_t i = 0; i < n; i++) {
        if (in[i] != NULL && code == FJ_OK) {
            begin(t, slots[i], in[i]);
            continue;
        }
        fj__slots_give(slots[i]);
        if (in[i] != NULL)
            in[i]->ops->free(in[i]);
    }
    if (code != FJ_OK)
        fj__trouble_pause(&t->trouble, &t->slots, "messages could not be acknowledged", fj_never(), code, err);
}

/* Jobs may have taken slots since the poll: then what came is admitted in pieces. */
static void admit_all(struct threading *t, fj_incoming **in, size_t n)
{
    fj__slot *slots[BATCH];

    for (size_t at = 0; at < n;) {
        size_t got = take_slots(t, slots, n - at);
        if (got == 0) {
            for (; at < n; at++)
                in[at]->ops->free(in[at]); /* closed: back to the broker */
            return;
        }
        admit(t, slots, in + at, got);
        at += got;
    }
}

static void *io_thread(void *user)
{
    struct threading *t = user;
    fj_incoming *in[BATCH];

    while (fj__slots_await(&t->slots, false, fj_never()) == FJ_OK) {
        fj_error *err = NULL;
        size_t n = 0, max = fj__slots_free_count(&t->slots);
        if (max == 0) /* a job was faster */
            continue;
        fj_code code = t->listener->ops->poll(t->listener, fj_never(), max < BATCH ? max : BATCH, in, &n, &err);
        if (code == FJ_OK) {
            admit_all(t, in, n);
            continue;
        }
        if (code == FJ_CLOSED) {
            fj_error_free(err);
            break;
        }
        if (code != FJ_AGAIN && code != FJ_TIMEOUT)
            fj__trouble_pause(&t->trouble, &t->slots, "polling failed", fj_never(), code, err);
        else
            fj_error_free(err);
    }
    atomic_store(&t->io_ended, true);
    fj__event_raise(&t->slots.changed);
    return NULL;
}

/* ---- the table --------------------------------------------------------------------------------- */

static fj_code create(const fj_conf *conf, const fj_executor_opts *opts, fj_executor **ret, fj_error **err)
{
    (void)conf;
    unsigned n = opts->slots > 0 ? opts->slots : 1;
    struct threading *t = fj__zalloc(sizeof *t);

    if (t == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for an executor");
    t->workers = fj__zalloc(n * sizeof *t->workers);
    fj_code code = t->workers == NULL ? fj_fail(err, FJ_NOMEM, "no memory for %u threads", n)
                                      : fj__slots_init(&t->slots, n, err);
    if (code != FJ_OK) {
        fj__free(t->workers);
        fj__free(t);
        return code;
    }
    (void)pthread_mutex_init(&t->pool_lock, NULL);
    t->base.ops = &fj__executor_threading;
    t->ack_done = opts->ack_done;
    t->wrap = opts->wrap;
    t->wrap_user = opts->wrap_user;
    *ret = &t->base;
    return FJ_OK;
}

static fj_code start(fj_executor *x, fj_listener *listener, fj_dispatcher *dispatcher, fj_error **err)
{
    struct threading *t = of(x);

    t->listener = listener;
    t->slots.dispatcher = dispatcher;
    int rc = thread_new(&t->io, "fj-io", io_thread, t);
    if (rc != 0)
        return fj_fail(err, FJ_SYSTEM, "no thread could be made: %s", strerror(rc));
    t->io_made = true;
    return FJ_OK;
}

static fj_code submit(fj_executor *x, void (*job)(void *user), void *user, fj_error **err)
{
    struct threading *t = of(x);

    if (atomic_load(&t->slots.closed))
        return fj_fail(err, FJ_CLOSED, "the executor is closed");
    fj__slot *slot = fj__slots_take(&t->slots);
    if (slot == NULL)
        return fj_fail(err, FJ_AGAIN, "all %u slots are taken", t->slots.n);
    int rc = hand_over(t, slot, job, user);
    if (rc == 0)
        return FJ_OK;
    fj__slots_give(slot);
    return fj_fail(err, FJ_SYSTEM, "no thread could be made: %s", strerror(rc));
}

static fj_code invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct threading *t = user;

    return t->wrap != NULL ? t->wrap(t->wrap_user, req, args, ret, err)
                           : fj_invoke_direct(NULL, req, args, ret, err);
}

static void close_it(fj_executor *x)
{
    struct threading *t = of(x);

    fj__slots_close(&t->slots);
    if (t->listener != NULL)
        t->listener->ops->interrupt(t->listener);
}

static fj_code await_io(struct threading *t, fj_deadline by, fj_error **err)
{
    while (t->io_made) {
        unsigned seen = fj__event_read(&t->slots.changed);
        if (atomic_load(&t->io_ended))
            break;
        if (atomic_load(&t->slots.given_up) || !fj__event_wait(&t->slots.changed, seen, by))
            return fj_fail(err, FJ_TIMEOUT, "the thread that polls has not ended");
    }
    return FJ_OK;
}

static fj_code stop(fj_executor *x, fj_deadline by, fj_error **err)
{
    struct threading *t = of(x);

    if (fj__slots_inside(&t->slots))
        return fj_fail(err, FJ_STATE, "a wait from within one of the server's methods");
    fj_code code = await_io(t, by, err);
    return code == FJ_OK ? fj__slots_drain(&t->slots, by, err) : code;
}

static void abort_it(fj_executor *x)
{
    fj__slots_abort(&of(x)->slots, x);
}

static void free_it(fj_executor *x)
{
    struct threading *t = of(x);

    fj__slots_close(&t->slots);
    if (t->io_made && !atomic_load(&t->io_ended)) /* else the listener may be gone */
        t->listener->ops->interrupt(t->listener);
    if (t->io_made)
        (void)pthread_join(t->io, NULL);
    fj__slots_leave(&t->slots);
    for (unsigned i = 0; i < t->made; i++)
        (void)pthread_join(t->workers[i], NULL);
    (void)pthread_mutex_destroy(&t->pool_lock);
    fj__slots_fini(&t->slots);
    fj__free(t->workers);
    fj__free(t);
}

static void at_fork(fj_executor *x)
{
    struct threading *t = of(x);

    fj__slots_at_fork(&t->slots);
    (void)pthread_mutex_init(&t->pool_lock, NULL);
    t->io_made = false;
    t->made = 0;
    atomic_store(&t->active, 0);
    t->listener = NULL; /* the parent's */
}

static unsigned running(const fj_executor *x, unsigned *ret_slots)
{
    return fj__slots_running(&((const struct threading *)(const void *)x)->slots, ret_slots);
}

static const char *const aliases[] = { "thread", NULL };

const fj_executor_ops fj__executor_threading = {
    .abi = FJ_EXECUTOR_ABI,
    .size = sizeof(fj_executor_ops),
    .name = "threading",
    .aliases = aliases,
    .caps = FJ_EXECUTOR_PARALLEL,
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
