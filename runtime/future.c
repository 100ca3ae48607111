/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futures.  The state lives under one mutex of the future; call-backs run after it is released, on the thread
 * that completed it.  A pending future with call-backs holds one reference to itself.
 */
#include "runtime/future.h"

#include "base/alloc.h"
#include "runtime/sync.h"

#include <pthread.h>
#include <stdatomic.h>

struct then {
    struct then *next;
    fj_future_fn fn;
    void *user;
};

struct fj_future {
    atomic_uint refs;
    atomic_bool done; /* written under the lock; read without it */
    bool cond_used;
    bool nudged;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const fj_future_ops *ops;
    void *user;
    json_t *result;
    fj_error *error;
    struct then *first, **last;
};

static const fj_future_ops no_ops;

fj_code fj_future_new(const fj_future_ops *ops, void *user, fj_future **ret)
{
    fj_future *f = fj__zalloc(sizeof *f);

    if (f == NULL)
        return FJ_NOMEM;
    atomic_init(&f->refs, 1);
    atomic_init(&f->done, false);
    (void)pthread_mutex_init(&f->lock, NULL);
    f->ops = ops != NULL ? ops : &no_ops;
    f->user = user;
    f->last = &f->first;
    *ret = f;
    return FJ_OK;
}

fj_future *fj_future_ref(fj_future *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

fj_future *fj_future_unref(fj_future *f)
{
    if (f == NULL || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    if (f->ops->freed != NULL)
        f->ops->freed(f->user);
    json_decref(f->result);
    fj_error_free(f->error);
    if (f->cond_used)
        (void)pthread_cond_destroy(&f->changed);
    (void)pthread_mutex_destroy(&f->lock);
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

/* Takes both.  One of them is NULL, or both for a result of JSON null. */
static bool complete(fj_future *f, json_t *result, fj_error *error)
{
    (void)pthread_mutex_lock(&f->lock);
    bool first = !atomic_load_explicit(&f->done, memory_order_relaxed);
    struct then *run = NULL;
    if (first) {
        f->result = result;
        f->error = error;
        run = f->first;
        f->first = NULL;
        atomic_store_explicit(&f->done, true, memory_order_release);
        if (f->cond_used)
            (void)pthread_cond_broadcast(&f->changed);
    }
    (void)pthread_mutex_unlock(&f->lock);
    if (!first) {
        json_decref(result);
        fj_error_free(error);
        return false;
    }
    bool held = run != NULL;
    while (run != NULL) {
        struct then *next = run->next;
        run->fn(f, run->user);
        fj__free(run);
        run = next;
    }
    if (held)
        fj_future_unref(f);
    return true;
}

bool fj_future_resolve(fj_future *f, json_t *result)
{
    return complete(f, result, NULL);
}

bool fj_future_reject(fj_future *f, fj_error *error)
{
    return complete(f, NULL, error);
}

fj_code fj_future_result(fj_future *f, json_t **ret, fj_error **err)
{
    if (!fj_future_done(f))
        return fj_fail(err, FJ_AGAIN, "the future is not complete yet");
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

void fj__future_sleep(fj_future *f, fj_deadline by)
{
    (void)pthread_mutex_lock(&f->lock);
    if (!f->cond_used) {
        fj__cond_init(&f->changed);
        f->cond_used = true;
    }
    while (!fj_future_done(f) && !f->nudged && fj__cond_wait(&f->changed, &f->lock, by))
        ;
    f->nudged = false;
    (void)pthread_mutex_unlock(&f->lock);
}

void fj__future_nudge(fj_future *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->nudged = true;
    if (f->cond_used)
        (void)pthread_cond_broadcast(&f->changed);
    (void)pthread_mutex_unlock(&f->lock);
}

bool fj__future_watched(fj_future *f)
{
    (void)pthread_mutex_lock(&f->lock);
    bool watched = f->first != NULL;
    (void)pthread_mutex_unlock(&f->lock);
    return watched;
}

fj_code fj_future_wait(fj_future *f, fj_deadline by, json_t **ret, fj_error **err)
{
    if (!fj_future_done(f) && f->ops->wait != NULL) {
        f->ops->wait(f, f->user, by);
    } else {
        while (!fj_future_done(f) && !fj_passed(by))
            fj__future_sleep(f, by);
    }
    if (!fj_future_done(f))
        return fj_fail(err, FJ_TIMEOUT, "the deadline passed before the future was complete");
    return fj_future_result(f, ret, err);
}

fj_code fj_future_then(fj_future *f, fj_future_fn fn, void *user)
{
    struct then *then = fj__zalloc(sizeof *then);

    if (then == NULL)
        return FJ_NOMEM;
    *then = (struct then){ .fn = fn, .user = user };
    (void)pthread_mutex_lock(&f->lock);
    bool now = atomic_load_explicit(&f->done, memory_order_relaxed);
    if (!now) {
        if (f->first == NULL) {
            f->last = &f->first;
            fj_future_ref(f);
        }
        *f->last = then;
        f->last = &then->next;
    }
    (void)pthread_mutex_unlock(&f->lock);
    if (now) {
        fj__free(then);
        fn(f, user);
    }
    return FJ_OK;
}

bool fj_future_cancel(fj_future *f)
{
    fj_error *error = NULL;

    (void)fj_fail(&error, FJ_CANCELLED, "the caller gave up");
    fj_future_ref(f);
    bool first = complete(f, NULL, error);
    if (first && f->ops->cancelled != NULL)
        f->ops->cancelled(f, f->user);
    fj_future_unref(f);
    return first;
}
