/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/parking.h"

#include "base/native.h"
#include "runtime/waiter.h"

#include <stdint.h>

enum { LOTS_LOG2 = 8, LOTS = 1 << LOTS_LOG2 };

struct parked {
    fj__waiter waiter; /* first */
    const volatile void *address;
};

static struct lot {
    _Alignas(64) pthread_mutex_t lock;
    atomic_uint n; /* who is in the queue, or about to ask whether it should be */
    fj__waiters queue;
} lots[LOTS] = { [0 ... LOTS - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Who waited are tasks and threads of the parent. */
static void in_child(void)
{
    for (size_t i = 0; i < LOTS; i++) {
        (void)pthread_mutex_init(&lots[i].lock, NULL);
        atomic_store(&lots[i].n, 0);
        lots[i].queue = (fj__waiters){ NULL, NULL };
    }
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

/* Fibonacci hashing: what differs in any bits of the address differs in the upper ones. */
static struct lot *lot_of(const volatile void *address)
{
    return &lots[((uint64_t)(uintptr_t)address * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - LOTS_LOG2)];
}

static void lock(struct lot *lot)
{
    (void)fj__native.pthread_mutex_lock(&lot->lock);
}

static void unlock(struct lot *lot)
{
    (void)fj__native.pthread_mutex_unlock(&lot->lock);
}

static void take_out(struct lot *lot, fj__waiter *w)
{
    fj__waiters_remove(&lot->queue, w);
    (void)atomic_fetch_sub(&lot->n, 1);
}

/* With the lock held. */
static unsigned wake(struct lot *lot, const volatile void *address, unsigned n)
{
    fj__waiter *next = NULL;
    unsigned woken = 0;

    for (fj__waiter *w = lot->queue.first; w != NULL && woken < n; w = next) {
        next = w->next;
        if (((struct parked *)(void *)w)->address != address)
            continue;
        take_out(lot, w);
        fj__waiter_wake(w);
        woken++;
    }
    return woken;
}

fj_code fj__parking_wait(const volatile void *address, bool (*still)(void *arg), void *arg, fj_deadline by,
                         const char *what)
{
    struct lot *lot = lot_of(address);
    struct parked me = { .address = address };
    fj_code code = fj__waiter_init(&me.waiter, what);

    if (code != FJ_OK)
        return code;
    (void)pthread_once(&once, watch_forks);
    lock(lot);
    /* First counted, then asked; an unlocker first unlocks, then looks at the count: one of the two sees the other. */
    (void)atomic_fetch_add(&lot->n, 1);
    if (!still(arg)) {
        (void)atomic_fetch_sub(&lot->n, 1);
        unlock(lot);
        return FJ_OK;
    }
    fj__waiters_push(&lot->queue, &me.waiter);
    unlock(lot);
    code = fj__waiter_wait(&me.waiter, by);
    lock(lot);
    if (fj__waiters_has(&lot->queue, &me.waiter))
        take_out(lot, &me.waiter);
    else if (code != FJ_OK)
        (void)wake(lot, address, 1);
    unlock(lot);
    return code;
}

unsigned fj__parking_wake(const volatile void *address, unsigned n)
{
    struct lot *lot = lot_of(address);

    if (atomic_load(&lot->n) == 0)
        return 0;
    lock(lot);
    unsigned woken = wake(lot, address, n);
    unlock(lot);
    return woken;
}

bool fj__parking_any(const volatile void *address)
{
    struct lot *lot = lot_of(address);
    bool any = false;

    if (atomic_load(&lot->n) == 0)
        return false;
    lock(lot);
    for (fj__waiter *w = lot->queue.first; w != NULL && !any; w = w->next)
        any = ((struct parked *)(void *)w)->address == address;
    unlock(lot);
    return any;
}
