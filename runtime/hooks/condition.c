/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread_cond_*.  A task parks on the condition's address, and a signal wakes one that is parked as well as one that libc knows of:
 * POSIX lets more than one wake.
 *
 * Threads go on waiting in libc.  There, however, libc unlocks the mutex by itself, and would not wake tasks that wait for that.
 * So a thread hands libc another mutex, a gate, which it has locked before it unlocks the user's; who signals passes through
 * the gate, and so comes after every wait whose mutex it may have taken.
 */
#include "runtime/hooks/locks.h"

/* In glibc's conditions (nptl/pthreadP.h). */
enum { SHARED = 1, MONOTONIC = 2 };

enum { GATES_LOG2 = 6, GATES = 1 << GATES_LOG2 };

typedef struct {
    _Alignas(64) pthread_mutex_t lock;
    /* that wait behind it; who could have to wake one sees it counted, for that one had the mutex before */
    unsigned threads;
} gate;

static gate gates[GATES] = { [0 ... GATES - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

void fj__conditions_in_child(void)
{
    for (size_t i = 0; i < GATES; i++)
        gates[i] = (gate){ .lock = PTHREAD_MUTEX_INITIALIZER };
}

/* Fibonacci hashing. */
static gate *gate_of(const pthread_cond_t *c)
{
    return &gates[((uint64_t)(uintptr_t)c * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - GATES_LOG2)];
}

static unsigned flags_of(const pthread_cond_t *c)
{
    return __atomic_load_n(&c->__data.__wrefs, __ATOMIC_RELAXED);
}

static bool is_alone(const pthread_cond_t *c)
{
    return fj__locks_alone((flags_of(c) & SHARED) != 0, "condition that is shared between processes");
}

/* ---- threads ------------------------------------------------------------------------------------- */

typedef enum { PLAIN, TIMED, BY_CLOCK } manner;

static int original(manner how, pthread_cond_t *c, pthread_mutex_t *m, const fj__until *until)
{
    if (how == PLAIN)
        return REAL(pthread_cond_wait)(c, m);
    if (how == TIMED)
        return REAL(pthread_cond_timedwait)(c, m, until->t);
    return REAL(pthread_cond_clockwait)(c, m, until->clock, until->t);
}

typedef struct {
    gate *gate;
    pthread_mutex_t *user;
} locks;

/* Also when the thread is cancelled: then with the gate locked, as libc leaves what it was given. */
static void back(void *arg)
{
    locks *l = arg;

    REAL(pthread_mutex_unlock)(&l->gate->lock);
    __atomic_fetch_sub(&l->gate->threads, 1, __ATOMIC_RELAXED);
    REAL(pthread_mutex_lock)(l->user);
}

static int wait_thread(manner how, pthread_cond_t *c, pthread_mutex_t *m, const fj__until *until)
{
    locks l = { .gate = gate_of(c), .user = m };
    int error = fj__mutex_may_unlock(m);

    if (error == 0)
        error = fj__until_check(until);
    if (error != 0)
        return error;
    __atomic_fetch_add(&l.gate->threads, 1, __ATOMIC_RELAXED);
    REAL(pthread_mutex_lock)(&l.gate->lock);
    fj__mutex_unlock(m);
    pthread_cleanup_push(back, &l);
    error = original(how, c, &l.gate->lock, until);
    pthread_cleanup_pop(1);
    return error;
}

/* ---- tasks --------------------------------------------------------------------------------------- */

static void unlock(void *arg)
{
    fj__mutex_unlock(arg);
}

static int wait_task(pthread_cond_t *c, pthread_mutex_t *m, const fj__until *until)
{
    fj__parking p = {
        .address = c, .standing = unlock, .arg = m, .how = FJ__PARK_DEAF, .what = "pthread_cond_t"
    };
    int error = fj__mutex_may_unlock(m), again = 0;

    if (error == 0)
        error = fj__until_check(until);
    if (error != 0)
        return error;
    error = fj__park_until(&p, until);
    again = fj__mutex_lock(m, FJ__UNTIL(CLOCK_MONOTONIC, NULL));
    if (error == ETIMEDOUT && until->t == NULL)
        error = 0; /* an fj_timeout around it: this function knows none, but may return for no reason */
    return again != 0 ? again : error;
}

static int wait_for(manner how, pthread_cond_t *c, pthread_mutex_t *m, const fj__until *until)
{
    if (!fj__locks_live() || is_alone(c) || fj__mutex_alone(m))
        return original(how, c, m, until);
    return fj__locks_green() ? wait_task(c, m, until) : wait_thread(how, c, m, until);
}

FJ__HOOK int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    return wait_for(PLAIN, c, m, FJ__UNTIL(CLOCK_MONOTONIC, NULL));
}

FJ__HOOK int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t)
{
    return wait_for(TIMED, c, m,
                    FJ__UNTIL((flags_of(c) & MONOTONIC) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME, t));
}

FJ__HOOK int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
                                    const struct timespec *t)
{
    return wait_for(BY_CLOCK, c, m, FJ__UNTIL(clock, t));
}

/* ---- those that wake ------------------------------------------------------------------------------- */

static void pass(const pthread_cond_t *c)
{
    gate *g = gate_of(c);

    if (__atomic_load_n(&g->threads, __ATOMIC_RELAXED) == 0)
        return;
    REAL(pthread_mutex_lock)(&g->lock);
    REAL(pthread_mutex_unlock)(&g->lock);
}

/* Only the address is used after libc's: the condition may be gone. */
FJ__HOOK int pthread_cond_signal(pthread_cond_t *c)
{
    int error = 0;

    if (!fj__locks_live())
        return REAL(pthread_cond_signal)(c);
    pass(c);
    error = REAL(pthread_cond_signal)(c);
    fj__green_rt()->unpark(c, 1);
    return error;
}

FJ__HOOK int pthread_cond_broadcast(pthread_cond_t *c)
{
    int error = 0;

    if (!fj__locks_live())
        return REAL(pthread_cond_broadcast)(c);
    pass(c);
    error = REAL(pthread_cond_broadcast)(c);
    fj__green_rt()->unpark(c, UINT32_MAX);
    return error;
}
