/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/parking.h"

#include "base/native.h"
#include "runtime/owners.h"
#include "runtime/task_impl.h"
#include "runtime/waiter.h"

#include <errno.h>
#include <stdint.h>

enum { LOTS_LOG2 = 8, LOTS = 1 << LOTS_LOG2 };

/* How long one is overtaken before it is starved; Go's mutexes have the same (sync/mutex.go, starvationThresholdNs). */
#define PATIENCE_MS 1

struct parked {
    fj__waiter waiter; /* first */
    const volatile void *address;
    fj_deadline patience; /* once it was overtaken */
    bool overtaken, starved;
};

static struct lot {
    _Alignas(64) pthread_mutex_t lock;
    atomic_uint n; /* who is in the queue, or about to ask whether it should be */
    atomic_uint starved;
    fj__waiters queue;
} lots[LOTS] = { [0 ... LOTS - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Who waited are tasks and threads of the parent. */
static void in_child(void)
{
    for (size_t i = 0; i < LOTS; i++) {
        (void)pthread_mutex_init(&lots[i].lock, NULL);
        atomic_store(&lots[i].n, 0);
        atomic_store(&lots[i].starved, 0);
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

static struct parked *next_at(fj__waiter *w, const volatile void *address)
{
    while (w != NULL && ((struct parked *)(void *)w)->address != address)
        w = w->next;
    return (struct parked *)(void *)w;
}

static bool is_woken(struct parked *p)
{
    return atomic_load_explicit(&p->waiter.woken, memory_order_acquire) != 0;
}

/* With the lock held.  Who is woken stays in the queue until it has found what it waited for: it keeps its place. */
static unsigned wake(struct lot *lot, const volatile void *address, unsigned n)
{
    unsigned woken = 0;

    for (struct parked *p = next_at(lot->queue.first, address); p != NULL && woken < n;
         p = next_at(p->waiter.next, address)) {
        if (is_woken(p))
            continue;
        fj__waiter_wake(&p->waiter);
        woken++;
    }
    return woken;
}

/* With the lock held. */
static bool any_starved(struct lot *lot, const volatile void *address)
{
    struct parked *p = NULL;

    if (atomic_load_explicit(&lot->starved, memory_order_relaxed) == 0)
        return false;
    for (p = next_at(lot->queue.first, address); p != NULL && !p->starved; p = next_at(p->waiter.next, address))
        ;
    return p != NULL;
}

static void leave(struct lot *lot, struct parked *me)
{
    fj__waiters_remove(&lot->queue, &me->waiter);
    (void)atomic_fetch_sub(&lot->n, 1);
    if (me->starved)
        (void)atomic_fetch_sub(&lot->starved, 1);
}

/* @return whether it waits: it stands in the queue */
static bool stand(struct lot *lot, const fj__parking *p, struct parked *me)
{
    bool waits = true;

    lock(lot);
    /* First counted, then asked; an unlocker first unlocks, then looks at the count: one of the two sees the other. */
    (void)atomic_fetch_add(&lot->n, 1);
    /* Behind one that is starved nothing need be asked: it was there first, and wakes the next when it has done. */
    if (p->still != NULL && ((p->how & FJ__PARK_BARGES) != 0 || !any_starved(lot, p->address)))
        waits = p->still(p->arg);
    if (waits)
        fj__waiters_push(&lot->queue, &me->waiter);
    else
        (void)atomic_fetch_sub(&lot->n, 1);
    unlock(lot);
    return waits;
}

static fj_code sleep_there(const fj__parking *p, struct parked *me)
{
    fj_task *task = me->waiter.task;
    fj_code code = FJ_OK;

    if (task == NULL)
        return fj__waiter_wait(&me->waiter, p->by);
    bool shielded = (p->how & FJ__PARK_SHIELDED) != 0, deaf = (p->how & FJ__PARK_DEAF) != 0;
    task->shields += shielded;
    task->deaf += deaf;
    code = deaf ? fj__waiter_pause(&me->waiter, p->by) : fj__waiter_wait(&me->waiter, p->by);
    task->deaf -= deaf;
    task->shields -= shielded;
    return code;
}

/* Woken, and found nothing: it sleeps again, in its place. */
static void overtaken(struct lot *lot, struct parked *me)
{
    atomic_store_explicit(&me->waiter.woken, 0, memory_order_relaxed);
    if (!me->overtaken) {
        me->overtaken = true;
        me->patience = fj_in_ms(PATIENCE_MS);
    } else if (!me->starved && fj_passed(me->patience)) {
        me->starved = true;
        (void)atomic_fetch_add(&lot->starved, 1);
    }
}

static fj_code begin(struct parked *me, const volatile void *address, unsigned how, const char *what)
{
    *me = (struct parked){ .address = address };
    (void)pthread_once(&once, watch_forks);
    if ((how & FJ__PARK_THREAD) == 0)
        return fj__waiter_init(&me->waiter, what);
    me->waiter = (fj__waiter){ .what = what };
    return FJ_OK;
}

fj_code fj__parking_wait(const fj__parking *p)
{
    const fj__wanted wanted = { .what = p->what,
                                .kind = p->what,
                                .object = (const void *)p->address,
                                .owner = (p->how & FJ__PARK_OWNED) != 0 ? fj__holder_of : NULL,
                                .lock = (p->how & FJ__PARK_OWNED) != 0 };
    struct lot *lot = lot_of(p->address);
    struct parked me;
    fj_code code = begin(&me, p->address, p->how, p->what);

    if (code != FJ_OK || !stand(lot, p, &me))
        return code;
    me.waiter.wanted = &wanted;
    if (p->standing != NULL)
        p->standing(p->arg);
    for (;;) {
        code = sleep_there(p, &me);
        lock(lot);
        if (code != FJ_OK || p->still == NULL || !p->still(p->arg))
            break;
        overtaken(lot, &me);
        unlock(lot);
    }
    leave(lot, &me);
    if (code != FJ_OK && is_woken(&me))
        (void)wake(lot, p->address, 1);
    unlock(lot);
    return code;
}

fj_code fj__parking_meet(const volatile void *address, unsigned n, unsigned how, const char *what)
{
    struct lot *lot = lot_of(address);
    fj__parking p = { .address = address, .by = fj_never(), .how = FJ__PARK_SHIELDED, .what = what };
    struct parked me;
    unsigned there = 1;
    fj_code code = begin(&me, address, how, what);

    if (code != FJ_OK)
        return code;
    lock(lot);
    for (struct parked *q = next_at(lot->queue.first, address); q != NULL; q = next_at(q->waiter.next, address))
        there += !is_woken(q); /* those that are have met before, and not yet gone */
    if (there >= n) {
        (void)wake(lot, address, there);
        unlock(lot);
        return FJ_OK;
    }
    (void)atomic_fetch_add(&lot->n, 1);
    fj__waiters_push(&lot->queue, &me.waiter);
    unlock(lot);
    code = sleep_there(&p, &me);
    lock(lot);
    leave(lot, &me);
    unlock(lot);
    return code == FJ_OK ? FJ_NOT_FOUND : code;
}

__attribute__((noinline)) static unsigned wake_some(struct lot *lot, const volatile void *address, unsigned n)
{
    int saved = errno; /* pthread's functions leave it alone */

    lock(lot);
    unsigned woken = wake(lot, address, n);
    unlock(lot);
    errno = saved;
    return woken;
}

unsigned fj__parking_wake(const volatile void *address, unsigned n)
{
    struct lot *lot = lot_of(address);

    return atomic_load(&lot->n) != 0 ? wake_some(lot, address, n) : 0;
}

bool fj__parking_any(const volatile void *address)
{
    struct lot *lot = lot_of(address);

    if (atomic_load(&lot->n) == 0)
        return false;
    lock(lot);
    bool any = next_at(lot->queue.first, address) != NULL;
    unlock(lot);
    return any;
}

bool fj__parking_starved(const volatile void *address)
{
    struct lot *lot = lot_of(address);

    if (atomic_load_explicit(&lot->starved, memory_order_relaxed) == 0)
        return false;
    lock(lot);
    bool starved = any_starved(lot, address);
    unlock(lot);
    return starved;
}
