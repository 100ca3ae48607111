/* SPDX-License-Identifier: Apache-2.0 */
#include "messaging/pending.h"

#include "base/native.h"

void fj__pending_init(fj__pending *p)
{
    *p = (fj__pending){ .n = 0 };
    (void)pthread_mutex_init(&p->lock, NULL);
}

void fj__pending_fini(fj__pending *p)
{
    fj_error_free(p->failed);
    (void)pthread_mutex_destroy(&p->lock);
}

void fj__pending_begin(fj__pending *p)
{
    (void)fj__native.pthread_mutex_lock(&p->lock);
    p->n++;
    (void)fj__native.pthread_mutex_unlock(&p->lock);
}

void fj__pending_over(fj__pending *p, fj_error *error)
{
    (void)fj__native.pthread_mutex_lock(&p->lock);
    p->n--;
    if (p->failed == NULL) {
        p->failed = error;
        error = NULL;
    }
    while (p->n == 0 && p->flushing.first != NULL) {
        fj__waiter *w = p->flushing.first;
        fj__waiters_remove(&p->flushing, w);
        fj__waiter_wake(w);
    }
    (void)fj__native.pthread_mutex_unlock(&p->lock);
    fj_error_free(error);
}

/* @locks needs the lock, released for the wait */
static fj_code await(fj__pending *p, fj_deadline by)
{
    fj__waiter w;
    fj_code code = fj__waiter_init(&w, "what was sent to be confirmed");

    if (code != FJ_OK)
        return code;
    fj__waiters_push(&p->flushing, &w);
    (void)fj__native.pthread_mutex_unlock(&p->lock);
    code = fj__waiter_wait(&w, by);
    (void)fj__native.pthread_mutex_lock(&p->lock);
    if (fj__waiters_has(&p->flushing, &w))
        fj__waiters_remove(&p->flushing, &w);
    return code;
}

fj_code fj__pending_flush(fj__pending *p, const char *what, fj_deadline by, fj_error **err)
{
    fj_code code = FJ_OK;

    (void)fj__native.pthread_mutex_lock(&p->lock);
    while (p->n > 0 && code == FJ_OK)
        code = await(p, by);
    size_t left = p->n;
    fj_error *failed = left == 0 ? p->failed : NULL;
    if (left == 0)
        p->failed = NULL;
    (void)fj__native.pthread_mutex_unlock(&p->lock);
    if (left > 0)
        return fj_fail(err, code, "%zu %s are not confirmed yet", left, what);
    return failed != NULL ? fj_error_move(failed, err) : FJ_OK;
}
