/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/owners.h"

#include "base/alloc.h"
#include "runtime/task_impl.h"

#include <pthread.h>
#include <sched.h>

/* Memory that nobody touches costs nothing: room for many, of which a few are ever held at once. */
enum { STRIPES_LOG2 = 8, STRIPES = 1 << STRIPES_LOG2, ROOM = 62 };

static struct stripe {
    _Alignas(64) atomic_uint busy; /* a lock that is held for a few instructions */
    atomic_uint n;
    struct held {
        const volatile void *address;
        fj_task *task; /* lends: none outlives its task */
    } held[ROOM];
} stripes[STRIPES];

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Who held something were tasks of the parent. */
static void in_child(void)
{
    for (size_t i = 0; i < STRIPES; i++) {
        atomic_store(&stripes[i].busy, 0);
        atomic_store(&stripes[i].n, 0);
    }
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

/* Fibonacci hashing, as in parking.c. */
static struct stripe *stripe_of(const volatile void *address)
{
    return &stripes[((uint64_t)(uintptr_t)address * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - STRIPES_LOG2)];
}

static void lock(struct stripe *s)
{
    while (atomic_exchange_explicit(&s->busy, 1, memory_order_acquire) != 0)
        (void)sched_yield();
}

static void unlock(struct stripe *s)
{
    atomic_store_explicit(&s->busy, 0, memory_order_release);
}

/* With the lock held, as the next two. */
static struct held *find(struct stripe *s, const volatile void *address)
{
    unsigned n = atomic_load_explicit(&s->n, memory_order_relaxed);

    for (unsigned i = 0; i < n; i++) {
        if (s->held[i].address == address)
            return &s->held[i];
    }
    return NULL;
}

static void forget(struct stripe *s, struct held *h)
{
    unsigned last = atomic_load_explicit(&s->n, memory_order_relaxed) - 1;
    fj_task *task = h->task;

    *h = s->held[last];
    atomic_store_explicit(&s->n, last, memory_order_relaxed);
    /* A task that sees nought here may be gone at once. */
    (void)atomic_fetch_sub_explicit(&task->owned, 1, memory_order_release);
}

static bool is_empty(struct stripe *s)
{
    return atomic_load_explicit(&s->n, memory_order_relaxed) == 0;
}

fj_task *fj__owner_of(const volatile void *address)
{
    struct stripe *s = stripe_of(address);
    const struct held *h = NULL;

    if (is_empty(s))
        return NULL;
    lock(s);
    h = find(s, address);
    fj_task *task = h != NULL ? fj_task_ref(h->task) : NULL;
    unlock(s);
    return task;
}

void *fj__holder_of(const void *address)
{
    struct stripe *s = stripe_of(address);

    if (is_empty(s))
        return NULL;
    lock(s);
    const struct held *h = find(s, address);
    void *task = h != NULL ? h->task : NULL;
    unlock(s);
    return task;
}

bool fj__owns(const fj_task *task, const volatile void *address)
{
    return fj__holder_of((const void *)address) == task;
}

bool fj__own(fj_task *task, const volatile void *address)
{
    struct stripe *s = stripe_of(address);

    (void)pthread_once(&once, watch_forks);
    lock(s);
    struct held *h = find(s, address);
    if (h != NULL)
        forget(s, h);
    unsigned n = atomic_load_explicit(&s->n, memory_order_relaxed);
    if (n < ROOM) {
        s->held[n] = (struct held){ address, task };
        atomic_store_explicit(&s->n, n + 1, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&task->owned, 1, memory_order_relaxed);
    }
    unlock(s);
    return n < ROOM;
}

__attribute__((noinline)) static void disown(struct stripe *s, const volatile void *address)
{
    lock(s);
    struct held *h = find(s, address);
    if (h != NULL)
        forget(s, h);
    unlock(s);
}

void fj__disown(const volatile void *address)
{
    struct stripe *s = stripe_of(address);

    if (!is_empty(s))
        disown(s, address);
}

const volatile void *fj__owned_by(const fj_task *task)
{
    const volatile void *address = NULL;

    for (size_t i = 0; address == NULL && i < STRIPES; i++) {
        if (is_empty(&stripes[i]))
            continue;
        lock(&stripes[i]);
        for (unsigned k = 0; k < atomic_load_explicit(&stripes[i].n, memory_order_relaxed); k++) {
            if (stripes[i].held[k].task == task)
                address = stripes[i].held[k].address;
        }
        unlock(&stripes[i]);
    }
    return address;
}

static const volatile void *take_one(struct stripe *s, const fj_task *task)
{
    const volatile void *address = NULL;

    lock(s);
    for (unsigned i = 0; address == NULL && i < atomic_load_explicit(&s->n, memory_order_relaxed); i++) {
        if (s->held[i].task == task) {
            address = s->held[i].address;
            forget(s, &s->held[i]);
        }
    }
    unlock(s);
    return address;
}

void fj__owners_end(fj_task *task)
{
    for (size_t i = 0; i < STRIPES; i++) {
        const volatile void *address = NULL;

        while (!is_empty(&stripes[i]) && (address = take_one(&stripes[i], task)) != NULL) {
            char *text = fj__format("task \"%s\" has ended and holds the lock at %p: nobody else will get it",
                                    task->name, (const void *)address);
            fj__loop_trouble(task->loop, text != NULL ? text : "a task has ended that holds a lock", NULL);
            fj__free(text);
        }
    }
}
