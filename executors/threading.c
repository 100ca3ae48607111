/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threading executor.  One thread polls the listener for at most as many messages as there are free slots,
 * acknowledges them as a batch and queues them; up to `slots` workers, made when needed and kept, run them.
 */
#include "threading.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "executors/intake.h"
#include "runtime/thread.h"

#include <string.h>

struct threading {
    fj_executor base; /* first */
    fj__slots slots;
    fj__intake intake;
    fj_invoke_fn wrap;
    void *wrap_user;
    pthread_t io;
    bool io_made;
    atomic_uint active; /* how many slots are queued or run: each needs a worker */
    pthread_mutex_t pool_lock;
    pthread_t *workers; /* changed under pool_lock, as `made` */
    atomic_uint made;
};

static struct threading *of(fj_executor *x)
{
    return (struct threading *)(void *)x;
}

/* ---- workers ----------------------------------------------------------------------------------- */

static void *worker(void *user)
{
    struct threading *t = user;
    fj__slot *slot = fj__slots_pop_wait(&t->slots, true);

    while (slot != NULL) {
        fj_deadline began = fj_now();
        fj__slots_run(slot, &t->base);
        (void)atomic_fetch_sub(&t->active, 1);
        fj__slots_ran(&t->slots, fj_now().ns - began.ns);
        slot = fj__slots_pop_wait(&t->slots, false);
    }
    return NULL;
}

/* One more, unless there are so many.  @return 0, or the errno value when there is not one */
static int make_worker(struct threading *t, unsigned needed)
{
    int rc = 0;

    (void)fj__native.pthread_mutex_lock(&t->pool_lock);
    unsigned made = atomic_load(&t->made);
    if (needed > made && made < t->slots.n) {
        rc = fj__thread_new(&t->workers[made], "fj-worker", worker, t);
        if (rc == 0)
            atomic_store(&t->made, made + 1);
        else if (made > 0)
            rc = 0;
    }
    (void)fj__native.pthread_mutex_unlock(&t->pool_lock);
    return rc;
}

/* Queue a request's slot, or a job, with a worker for it.  When no more threads can be made those there must do.
 * @return 0, or the errno value when there is not one */
static int hand_over(struct threading *t, fj__slot *slot, void (*job)(void *user), void *user)
{
    unsigned needed = atomic_fetch_add(&t->active, 1) + 1;
    int rc = needed > atomic_load(&t->made) ? make_worker(t, needed) : 0;

    if (rc != 0)
        (void)atomic_fetch_sub(&t->active, 1);
    else
        fj__slots_push(slot, job, user);
    return rc;
}

/* ---- the thread that polls ---------------------------------------------------------------------------- */

static fj_code run_slot(fj__intake *in, fj__slot *slot, fj_error **err)
{
    int rc = hand_over(fj__container(in, struct threading, intake), slot, NULL, NULL);

    return rc == 0 ? FJ_OK : fj__thread_refused(rc, "for the executor", err);
}

static void *io_thread(void *user)
{
    fj__intake_run(user);
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
    t->intake = (fj__intake){ .slots = &t->slots, .ack_done = opts->ack_done, .run = run_slot };
    t->wrap = opts->wrap;
    t->wrap_user = opts->wrap_user;
    *ret = &t->base;
    return FJ_OK;
}

static fj_code start(fj_executor *x, fj_listener *listener, fj_dispatcher *dispatcher, fj_error **err)
{
    struct threading *t = of(x);

    t->intake.listener = listener;
    t->slots.dispatcher = dispatcher;
    int rc = fj__thread_new(&t->io, "fj-io", io_thread, &t->intake);
    if (rc != 0)
        return fj__thread_refused(rc, "for the executor", err);
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
    if (rc == 0) {
        fj__slots_wake(&t->slots, true);
        return FJ_OK;
    }
    fj__slots_give(slot);
    return fj__thread_refused(rc, "for the executor", err);
}

static fj_code invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct threading *t = user;

    return fj_invoke_by_flavour(t->wrap != NULL ? t->wrap : fj_invoke_direct, t->wrap_user, req, args, ret,
                                err);
}

static void close_it(fj_executor *x)
{
    struct threading *t = of(x);

    fj__slots_close(&t->slots);
    if (t->intake.listener != NULL)
        t->intake.listener->ops->interrupt(t->intake.listener);
}

static fj_code stop(fj_executor *x, fj_deadline by, fj_error **err)
{
    const fj_deadline passed = { .ns = 1 };
    struct threading *t = of(x);
    fj_error *unjoined = NULL;

    if (fj__slots_inside(&t->slots))
        return fj_fail(err, FJ_STATE, "a wait from within one of the server's methods");
    fj_code code = t->io_made ? fj__intake_join(&t->intake, by, &unjoined) : FJ_OK;
    fj_code drained = fj__slots_drain(&t->slots, code == FJ_OK ? by : passed, err);
    if (drained == FJ_OK && code != FJ_OK)
        return fj_error_move(unjoined, err);
    fj_error_free(unjoined); /* the names of what runs say more */
    return drained;
}

static void abort_it(fj_executor *x)
{
    fj__slots_abort(&of(x)->slots, x);
}

static void free_it(fj_executor *x)
{
    struct threading *t = of(x);

    fj__slots_close(&t->slots);
    if (t->io_made && !atomic_load(&t->intake.ended)) /* else the listener may be gone */
        t->intake.listener->ops->interrupt(t->intake.listener);
    if (t->io_made)
        (void)fj__native.pthread_join(t->io, NULL);
    fj__slots_leave(&t->slots);
    for (unsigned i = 0; i < atomic_load(&t->made); i++)
        (void)fj__native.pthread_join(t->workers[i], NULL);
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
    atomic_store(&t->made, 0);
    atomic_store(&t->active, 0);
    t->intake.listener = NULL; /* the parent's */
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
