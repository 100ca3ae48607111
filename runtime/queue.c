/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An item goes from the heap to a getter, who holds it from then on, though it may not have woken yet; if it has given up
 * meanwhile it puts the item back.  A putter who waited is promised a place, with its number in the order, and puts the
 * item when it wakes, for until then the item is its own.  What is held or promised counts as in the queue, so that
 * there are never more items than the bound.
 */
#include "base/alloc.h"
#include "base/native.h"
#include "runtime/queue_items.h"
#include "runtime/waiting.h"

#include <string.h>

struct fj_queue {
    pthread_mutex_t lock;
    fj__waiters getters; /* nobody while there are items; the user of each is where its item goes */
    fj__waiters putters; /* nobody while there is room; the user of each is where its number goes */
    fj__waiters joiners;
    fj__queue_items items; /* has room for those held, too */
    size_t held;           /* given to getters that have not woken yet */
    size_t promised;       /* places for putters that have not woken yet */
    size_t undone;         /* items that were got, less fj_queue_task_done() */
    size_t bound;
    uint64_t next; /* number */
    bool closed;
    void (*freed)(void *item);
    fj__wanted wanted;
};

/* Where what was granted to a waiter goes.  Woken without: the queue is closed. */
typedef struct {
    fj__queue_item item;
    bool given;
} granted_item;

typedef struct {
    uint64_t number;
    bool given;
} granted_place;

fj_code fj_queue_new(const fj_queue_opts *opts, fj_queue **ret, fj_error **err)
{
    fj_queue_opts o = FJ_QUEUE_OPTS_INIT;

    if (opts != NULL)
        memcpy(&o, opts, opts->size < sizeof o ? opts->size : sizeof o);
    if (o.order < FJ_QUEUE_FIFO || o.order > FJ_QUEUE_PRIORITY)
        return fj_fail(err, FJ_BAD_VALUE, "no such order of a queue: %d", (int)o.order);
    if (o.order == FJ_QUEUE_PRIORITY && o.compare == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "a queue by priority needs a function that compares items");
    fj_queue *q = fj__zalloc(sizeof *q);
    if (q == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a queue");
    (void)pthread_mutex_init(&q->lock, NULL);
    q->items.order = o.order;
    q->items.compare = o.compare;
    q->bound = o.bound != 0 ? o.bound : SIZE_MAX;
    q->freed = o.freed;
    q->wanted = (fj__wanted){ .what = o.name != NULL ? o.name : "queue", .kind = "queue", .object = q };
    *ret = q;
    return FJ_OK;
}

fj_queue *fj_queue_free(fj_queue *q)
{
    if (q == NULL)
        return NULL;
    while (q->items.n > 0) {
        void *item = fj__queue_items_pop(&q->items).item;
        if (q->freed != NULL)
            q->freed(item);
    }
    fj__free(q->items.heap);
    (void)pthread_mutex_destroy(&q->lock);
    fj__free(q);
    return NULL;
}

static size_t inside(const fj_queue *q)
{
    return q->items.n + q->held;
}

static bool has_room(const fj_queue *q)
{
    return inside(q) + q->promised < q->bound;
}

static void wake_all(fj__waiters *line)
{
    while (line->first != NULL)
        fj__grant(line, line->first);
}

/* After a change: give everyone who waits what is there for them. */
static void settle(fj_queue *q)
{
    for (fj__waiter *w; q->items.n > 0 && (w = q->getters.first) != NULL; q->held++) {
        *(granted_item *)w->user = (granted_item){ fj__queue_items_pop(&q->items), true };
        fj__grant(&q->getters, w);
    }
    for (fj__waiter *w; !q->closed && has_room(q) && (w = q->putters.first) != NULL; q->promised++) {
        *(granted_place *)w->user = (granted_place){ q->next++, true };
        fj__grant(&q->putters, w);
    }
    if (q->closed)
        wake_all(&q->putters);
    if (q->closed && inside(q) == 0) /* not before: one that holds an item may put it back */
        wake_all(&q->getters);
    if (inside(q) + q->undone == 0)
        wake_all(&q->joiners);
}

/* ---- putting -------------------------------------------------------------------------------------- */

static fj_code insert(fj_queue *q, void *item, uint64_t number)
{
    if (q->closed)
        return FJ_CLOSED;
    if (!fj__queue_items_reserve(&q->items, inside(q) + 1))
        return FJ_NOMEM;
    fj__queue_items_push(&q->items, (fj__queue_item){ item, number });
    settle(q);
    return FJ_OK;
}

static fj_code put_now(fj_queue *q, void *item)
{
    if (q->closed)
        return FJ_CLOSED;
    return has_room(q) ? insert(q, item, q->next++) : FJ_AGAIN;
}

static fj_code wait_and_put(fj_queue *q, void *item, fj_deadline by)
{
    granted_place place = { 0, false };
    bool granted;
    fj_code code = fj__wait_in_line(&q->putters, &q->lock, &q->wanted, &place, by, &granted);

    if (place.given)
        q->promised--;
    if (code == FJ_OK)
        code = insert(q, item, place.number);
    if (code != FJ_OK)
        settle(q);
    return code;
}

fj_code fj_queue_put(fj_queue *q, void *item, fj_deadline by)
{
    (void)fj__native.pthread_mutex_lock(&q->lock);
    fj_code code = put_now(q, item);
    if (code == FJ_AGAIN)
        code = wait_and_put(q, item, by);
    (void)fj__native.pthread_mutex_unlock(&q->lock);
    return code;
}

fj_code fj_queue_put_nowait(fj_queue *q, void *item)
{
    (void)fj__native.pthread_mutex_lock(&q->lock);
    fj_code code = put_now(q, item);
    (void)fj__native.pthread_mutex_unlock(&q->lock);
    return code;
}

/* ---- getting -------------------------------------------------------------------------------------- */

static fj_code get_now(fj_queue *q, void **ret)
{
    if (q->items.n == 0)
        return q->closed && q->held == 0 ? FJ_CLOSED : FJ_AGAIN;
    *ret = fj__queue_items_pop(&q->items).item;
    q->undone++;
    settle(q);
    return FJ_OK;
}

static fj_code wait_and_get(fj_queue *q, fj_deadline by, void **ret)
{
    granted_item mine = { { NULL, 0 }, false };
    bool granted;
    fj_code code = fj__wait_in_line(&q->getters, &q->lock, &q->wanted, &mine, by, &granted);

    if (!mine.given)
        return code != FJ_OK ? code : FJ_CLOSED;
    q->held--;
    if (code == FJ_OK) {
        *ret = mine.item.item;
        q->undone++;
    } else {
        fj__queue_items_push(&q->items, mine.item);
    }
    settle(q);
    return code;
}

fj_code fj_queue_get(fj_queue *q, fj_deadline by, void **ret)
{
    (void)fj__native.pthread_mutex_lock(&q->lock);
    fj_code code = get_now(q, ret);
    if (code == FJ_AGAIN)
        code = wait_and_get(q, by, ret);
    (void)fj__native.pthread_mutex_unlock(&q->lock);
    return code;
}

fj_code fj_queue_get_nowait(fj_queue *q, void **ret)
{
    (void)fj__native.pthread_mutex_lock(&q->lock);
    fj_code code = get_now(q, ret);
    (void)fj__native.pthread_mutex_unlock(&q->lock);
    return code;
}

/* ---- the queue as a whole ------------------------------------------------------------------------- */

size_t fj_queue_size(fj_queue *q)
{
    (void)fj__native.pthread_mutex_lock(&q->lock);
    size_t n = inside(q);
    (void)fj__native.pthread_mutex_unlock(&q->lock);
    return n;
}

void fj_queue_close(fj_queue *q)
{
    (void)fj__native.pthread_mutex_lock(&q->lock);
    q->closed = true;
    settle(q);
    (void)fj__native.pthread_mutex_unlock(&q->lock);
}

fj_code fj_queue_task_done(fj_queue *q)
{
    (void)fj__native.pthread_mutex_lock(&q->lock);
    bool one = q->undone > 0;
    if (one) {
        q->undone--;
        settle(q);
    }
    (void)fj__native.pthread_mutex_unlock(&q->lock);
    return one ? FJ_OK : FJ_STATE;
}

fj_code fj_queue_join(fj_queue *q, fj_deadline by)
{
    fj_code code = FJ_OK;
    bool granted; /* it concerns all who wait: nothing to pass on */

    (void)fj__native.pthread_mutex_lock(&q->lock);
    if (inside(q) + q->undone > 0)
        code = fj__wait_in_line(&q->joiners, &q->lock, &q->wanted, NULL, by, &granted);
    (void)fj__native.pthread_mutex_unlock(&q->lock);
    return code;
}
