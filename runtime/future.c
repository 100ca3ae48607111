/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futures.  The state lives under one mutex of the future; call-backs run after it is released, on the thread
 * that completed it.  A pending future with call-backs holds one reference to itself.
 */
#include "base/native.h"
#include "runtime/future_impl.h"

#include "base/alloc.h"
#include "runtime/circle.h"
#include "runtime/sync.h"
#include "runtime/task_impl.h"

#include <fjord/await.h>

static const fj_future_ops no_ops;

/* ---- life -------------------------------------------------------------------------------------- */

void fj__future_init(fj_future *f, const fj__future_kind *kind, const fj_future_ops *ops, void *user)
{
    /* One by one: a compiler clears a whole that is so large slower than that. */
    atomic_init(&f->refs, 1);
    atomic_init(&f->done, false);
    atomic_init(&f->asked, false);
    atomic_init(&f->nudges, 0);
    f->generation = fj__fork_generation();
    f->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    f->kind = kind;
    f->ops = ops != NULL ? ops : &no_ops;
    f->user = user;
    f->result = NULL;
    f->error = NULL;
    f->first = NULL;
    f->last = NULL;
    f->waiters = (fj__waiters){ 0 };
}

fj_code fj_future_new(const fj_future_ops *ops, void *user, fj_future **ret)
{
    fj_future *f = fj__alloc(sizeof *f);

    if (f == NULL)
        return FJ_NOMEM;
    fj__future_init(f, NULL, ops, user);
    *ret = f;
    return FJ_OK;
}

/* Of the parent of this process: its lock may be held there by a thread that is not here, and what its operation uses, too. */
static bool is_parents(const fj_future *f)
{
    return f->generation != fj__fork_generation();
}

/* Nobody will complete it here. */
static bool is_lost(const fj_future *f)
{
    return !fj_future_done(f) && is_parents(f);
}

void fj__future_fini(fj_future *f)
{
    if (f->ops->freed != NULL && !is_parents(f))
        f->ops->freed(f->user);
    json_decref(f->result);
    fj_error_free(f->error);
    if (!is_parents(f))
        (void)pthread_mutex_destroy(&f->lock);
}

fj_future *fj_future_ref(fj_future *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

fj_future *fj_future_unref(fj_future *f)
{
    /* The only one may look instead of counting down: nobody else can have it. */
    if (f == NULL || (atomic_load_explicit(&f->refs, memory_order_acquire) != 1 &&
                      atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1))
        return NULL;
    if (f->kind != NULL) {
        f->kind->free(f);
        return NULL;
    }
    fj__future_fini(f);
    fj__free(f);
    return NULL;
}

void *fj_future_user(const fj_future *f)
{
    return f->user;
}

bool fj_future_done(const fj_future *f)
{
    return atomic_load_explicit(&f->done, memory_order_acquire);
}

/* ---- completing -------------------------------------------------------------------------------- */

/* With the lock held. */
static void wake_all(fj_future *f)
{
    for (fj__waiter *w; (w = f->waiters.first) != NULL;) {
        fj__waiters_remove(&f->waiters, w);
        fj__waiter_wake(w);
    }
}

static void call_back(fj_future *f, fj__then *run)
{
    if (run == NULL)
        return;
    while (run != NULL) {
        fj__then *next = run->next;
        run->fn(f, run->user);
        fj__free(run);
        run = next;
    }
    fj_future_unref(f);
}

/* Takes both.  One of them is NULL, or both for a result of JSON null. */
static bool complete(fj_future *f, json_t *result, fj_error *error)
{
    fj__then *run = NULL;

    (void)fj__native.pthread_mutex_lock(&f->lock);
    bool first = !atomic_load_explicit(&f->done, memory_order_relaxed);
    if (first) {
        f->result = result;
        f->error = error;
        run = f->first;
        f->first = NULL;
        atomic_store_explicit(&f->done, true, memory_order_release);
        wake_all(f);
    }
    (void)fj__native.pthread_mutex_unlock(&f->lock);
    if (first) {
        call_back(f, run);
    } else {
        json_decref(result);
        fj_error_free(error);
    }
    return first;
}

bool fj_future_resolve(fj_future *f, json_t *result)
{
    return complete(f, result, NULL);
}

bool fj_future_reject(fj_future *f, fj_error *error)
{
    return complete(f, NULL, error);
}

bool fj_future_cancel(fj_future *f)
{
    fj_error *error = NULL;

    if (is_lost(f))
        return false; /* the parent's goes on */
    if (f->kind != NULL)
        return f->kind->cancel(f);
    (void)fj_fail(&error, FJ_CANCELLED, "the caller gave up");
    fj_error_set_sent(error, FJ_SENT_MAYBE); /* the operation knows, and is not asked any more */
    fj_future_ref(f);
    bool first = complete(f, NULL, error);
    if (first && f->ops->cancelled != NULL)
        f->ops->cancelled(f, f->user);
    fj_future_unref(f);
    return first;
}

fj_error *fj__future_error(const fj_future *f)
{
    fj_error *copy = fj_error_copy(f->error);

    if (copy == NULL)
        (void)fj_fail(&copy, FJ_NOMEM, "no memory for the error of a future");
    return copy;
}

void fj__future_follow(fj_future *f, const fj_future *from)
{
    if (from->error != NULL)
        (void)complete(f, NULL, fj__future_error(from));
    else
        (void)complete(f, json_incref(from->result), NULL);
}

/* ---- asking ------------------------------------------------------------------------------------ */

fj_code fj_future_result(fj_future *f, json_t **ret, fj_error **err)
{
    if (!fj_future_done(f))
        return fj_fail(err, FJ_AGAIN, "the future is not complete yet");
    atomic_store_explicit(&f->asked, true, memory_order_relaxed);
    if (f->error != NULL) {
        fj_error *copy = err != NULL ? fj_error_copy(f->error) : NULL;
        if (copy != NULL)
            fj_error_move(copy, err);
        return fj_error_code(f->error);
    }
    if (ret != NULL)
        *ret = f->result != NULL ? json_incref(f->result) : json_null();
    return FJ_OK;
}

void fj__future_then(fj_future *f, fj__then *then)
{
    then->next = NULL;
    (void)fj__native.pthread_mutex_lock(&f->lock);
    bool now = atomic_load_explicit(&f->done, memory_order_relaxed);
    if (!now) {
        if (f->first == NULL) {
            f->last = &f->first;
            fj_future_ref(f);
        }
        *f->last = then;
        f->last = &then->next;
    }
    (void)fj__native.pthread_mutex_unlock(&f->lock);
    if (now) {
        then->fn(f, then->user);
        fj__free(then);
    }
}

static fj_code add(fj_future *f, const fj__then *what)
{
    fj__then *then = is_lost(f) ? NULL : fj__alloc(sizeof *then);

    if (then == NULL)
        return is_lost(f) ? FJ_FORKED : FJ_NOMEM;
    *then = *what;
    fj__future_then(f, then);
    return FJ_OK;
}

fj_code fj_future_then(fj_future *f, fj_future_fn fn, void *user)
{
    return add(f, &(fj__then){ .fn = fn, .user = user });
}

fj_code fj__future_then_quick(fj_future *f, fj_future_fn fn, void *user, bool logs)
{
    return add(f, &(fj__then){ .fn = fn, .user = user, .quick = true, .logs = logs });
}

bool fj__future_forget(fj_future *f, fj_future_fn fn, void *user)
{
    fj__then *found = NULL;

    (void)fj__native.pthread_mutex_lock(&f->lock);
    for (fj__then **at = &f->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->fn != fn || (*at)->user != user)
            continue;
        found = *at;
        *at = found->next;
        if (f->last == &found->next)
            f->last = at;
        break;
    }
    bool alone = found != NULL && f->first == NULL;
    (void)fj__native.pthread_mutex_unlock(&f->lock);
    fj__free(found);
    if (alone)
        fj_future_unref(f);
    return found != NULL;
}

bool fj__future_watched(fj_future *f, bool fails)
{
    (void)fj__native.pthread_mutex_lock(&f->lock);
    const fj__then *then = f->first;
    while (then != NULL && then->quick && !(fails && then->logs))
        then = then->next;
    bool watched = then != NULL;
    (void)fj__native.pthread_mutex_unlock(&f->lock);
    return watched;
}

/* ---- waiting ----------------------------------------------------------------------------------- */

static void leave(fj_future *f, fj__waiter *w)
{
    if (atomic_load_explicit(&w->woken, memory_order_acquire) != 0)
        return;
    (void)fj__native.pthread_mutex_lock(&f->lock);
    if (fj__waiters_has(&f->waiters, w))
        fj__waiters_remove(&f->waiters, w);
    (void)fj__native.pthread_mutex_unlock(&f->lock);
}

/* Who ends a task's future is the task. */
static void *ends_it(const void *f)
{
    return fj_future_done(f) ? NULL : (void *)(uintptr_t)f;
}

fj_code fj__future_pause(fj_future *f, fj_deadline by, const char *what)
{
    const fj__wanted wanted = { .what = what,
                                .kind = fj__task_of(f) != NULL ? "task" : "future",
                                .object = f,
                                .owner = fj__task_of(f) != NULL ? ends_it : NULL };
    fj__waiter w;
    fj_code code = is_lost(f) ? FJ_FORKED : fj__waiter_init(&w, what);

    if (code != FJ_OK)
        return code;
    w.wanted = &wanted;
    (void)fj__native.pthread_mutex_lock(&f->lock);
    bool done = atomic_load_explicit(&f->done, memory_order_relaxed);
    if (!done)
        fj__waiters_push(&f->waiters, &w);
    (void)fj__native.pthread_mutex_unlock(&f->lock);
    if (done)
        return FJ_OK;
    code = wanted.owner != NULL && w.task != NULL ? fj__circle_pause(&w, by) : fj__waiter_pause(&w, by);
    leave(f, &w);
    return code;
}

fj_code fj__future_until(fj_future *f, fj_deadline by, const char *what)
{
    fj_code code = FJ_OK;

    while (code == FJ_OK && !fj_future_done(f))
        code = fj__future_pause(f, by, what);
    /* An enclosing timeout has been told, and must be; a deadline of its own that passed as the future completed need not. */
    return code == FJ_TIMEOUT && fj_future_done(f) && !fj__task_outer() ? FJ_OK : code;
}

unsigned fj__future_nudges(fj_future *f)
{
    return atomic_load_explicit(&f->nudges, memory_order_relaxed);
}

/* Counted, not flagged: what one sleeper has seen another may have still to see. */
fj_code fj__future_sleep(fj_future *f, unsigned seen, fj_deadline by)
{
    fj__waiter w;
    fj_code code = FJ_OK;

    /* On a loop's thread outside a task it sleeps as a plain thread does: that it was wrong to come here was for the
     * caller to find out. */
    if (fj__waiter_init(&w, "driver") != FJ_OK)
        w = (fj__waiter){ .what = "driver" };
    (void)fj__native.pthread_mutex_lock(&f->lock);
    bool sleep = !fj_future_done(f) && fj__future_nudges(f) == seen;
    if (sleep)
        fj__waiters_push(&f->waiters, &w);
    (void)fj__native.pthread_mutex_unlock(&f->lock);
    if (sleep)
        code = fj__waiter_wait(&w, by);
    (void)fj__native.pthread_mutex_lock(&f->lock);
    if (fj__waiters_has(&f->waiters, &w))
        fj__waiters_remove(&f->waiters, &w);
    (void)fj__native.pthread_mutex_unlock(&f->lock);
    return code;
}

void fj__future_nudge(fj_future *f)
{
    (void)fj__native.pthread_mutex_lock(&f->lock);
    (void)atomic_fetch_add_explicit(&f->nudges, 1, memory_order_relaxed);
    wake_all(f);
    (void)fj__native.pthread_mutex_unlock(&f->lock);
}

static fj_code give_up(fj_code code, fj_error **err)
{
    switch (code) {
    case FJ_TIMEOUT:
        return fj_fail(err, code, "the deadline passed before the future was complete");
    case FJ_CANCELLED:
        return fj_fail(err, code, "the task was cancelled while it waited for a future");
    case FJ_FORKED:
        return fj_fail(err, code, "the future was made before a fork, and its operation is the parent's");
    default:
        return fj_fail(err, code, "a future cannot be waited for here");
    }
}

fj_code fj_future_wait(fj_future *f, fj_deadline by, json_t **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    if (!fj_future_done(f)) {
        if (f->ops->wait == NULL || fj_loop_running() != NULL || is_parents(f)) {
            code = fj__future_until(f, by, "future");
        } else {
            f->ops->wait(f, f->user, by);
            code = fj_future_done(f) ? FJ_OK : FJ_TIMEOUT;
        }
        if (code != FJ_OK)
            return give_up(code, err);
    }
    return fj_future_result(f, ret, err);
}
