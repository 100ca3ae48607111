/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/batch.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/task.h"

static void unref(fj__batch *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < b->n; i++)
        (void)fj_future_unref(b->items[i].future);
    (void)pthread_mutex_destroy(&b->lock);
    fj__free(b);
}

/* On whatever thread completed it. */
static void completed(fj_future *f, void *user)
{
    fj__batch_item *item = user;
    fj__batch *b = item->batch;

    (void)fj__native.pthread_mutex_lock(&b->lock);
    b->done++;
    b->failed += f->error != NULL;
    *b->last = item;
    b->last = &item->next;
    for (fj__waiter *w; (w = b->waiters.first) != NULL;) {
        fj__waiters_remove(&b->waiters, w);
        fj__waiter_wake(w);
    }
    (void)fj__native.pthread_mutex_unlock(&b->lock);
    unref(b);
}

fj_code fj__batch_new(fj_future *const *futures, size_t n, fj__batch **ret, fj_error **err)
{
    fj__batch *b = n <= SIZE_MAX / 2 / sizeof *b->items ? fj__zalloc(sizeof *b + n * sizeof *b->items) : NULL;
    fj_code code = FJ_OK;

    if (b == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to watch %zu futures", n);
    atomic_init(&b->refs, 1);
    (void)pthread_mutex_init(&b->lock, NULL);
    b->n = n;
    b->last = &b->first;
    for (size_t i = 0; i < n; i++)
        b->items[i] = (fj__batch_item){ .batch = b, .future = fj_future_ref(futures[i]) };
    for (size_t i = 0; code == FJ_OK && i < n; i++) {
        (void)atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
        code = fj_future_then(futures[i], completed, &b->items[i]);
        if (code == FJ_OK)
            b->watched++;
        else
            unref(b);
    }
    if (code != FJ_OK) {
        fj__batch_free(b);
        return fj_fail(err, code, "no memory to watch %zu futures", n);
    }
    *ret = b;
    return FJ_OK;
}

void fj__batch_free(fj__batch *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->watched; i++) {
        if (fj__future_forget(b->items[i].future, completed, &b->items[i]))
            unref(b);
    }
    unref(b);
}

fj_code fj__batch_wait(fj__batch *b, bool (*ready)(const fj__batch *b, void *user), void *user, fj_deadline by)
{
    fj_code code = FJ_OK;

    (void)fj__native.pthread_mutex_lock(&b->lock);
    while (code == FJ_OK && !ready(b, user)) {
        fj__waiter w;
        code = fj__waiter_init(&w, "futures");
        if (code != FJ_OK)
            break;
        fj__waiters_push(&b->waiters, &w);
        (void)fj__native.pthread_mutex_unlock(&b->lock);
        code = fj__waiter_wait(&w, by);
        (void)fj__native.pthread_mutex_lock(&b->lock);
        if (fj__waiters_has(&b->waiters, &w))
            fj__waiters_remove(&b->waiters, &w);
    }
    if (code == FJ_TIMEOUT && ready(b, user) && !fj__task_outer())
        code = FJ_OK; /* at the last moment */
    (void)fj__native.pthread_mutex_unlock(&b->lock);
    return code;
}

fj_future *fj__batch_take(fj__batch *b)
{
    (void)fj__native.pthread_mutex_lock(&b->lock);
    fj__batch_item *item = b->first;
    if (item != NULL) {
        b->first = item->next;
        if (b->first == NULL)
            b->last = &b->first;
    }
    (void)fj__native.pthread_mutex_unlock(&b->lock);
    return item != NULL ? item->future : NULL;
}
