/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread_mutex_*.  To libc all tasks of a thread are one owner.  Of kinds that know their owner, a mutex that this thread holds is
 * this task's only if the runtime knows it to be; what the runtime knows of a mutex that libc calls free, or another thread's, is
 * of an object that was here before.
 */
#include "runtime/hooks/locks.h"

#include <sys/syscall.h>

/* What glibc has in a mutex's kind beside PTHREAD_MUTEX_RECURSIVE and its kin (nptl/pthreadP.h). */
enum { KIND = 3, ROBUST = 16, SHARED = 128 };

static int kind_of(const pthread_mutex_t *m)
{
    return __atomic_load_n(&m->__data.__kind, __ATOMIC_RELAXED);
}

static bool knows_owner(const pthread_mutex_t *m)
{
    int kind = kind_of(m) & KIND;

    return kind == PTHREAD_MUTEX_RECURSIVE || kind == PTHREAD_MUTEX_ERRORCHECK;
}

static bool is_recursive(const pthread_mutex_t *m)
{
    return (kind_of(m) & KIND) == PTHREAD_MUTEX_RECURSIVE;
}

static bool thread_holds(const pthread_mutex_t *m)
{
    if (fj__green_tid == 0)
        fj__green_tid = (pid_t)syscall(SYS_gettid);
    return __atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED) == fj__green_tid;
}

bool fj__mutex_alone(const pthread_mutex_t *m)
{
    return fj__locks_alone((kind_of(m) & (ROBUST | SHARED)) != 0,
                           "mutex that is robust or shared between processes");
}

static bool task_holds(const pthread_mutex_t *m)
{
    return thread_holds(m) && fj__green_rt()->owns(m);
}

/* @return EBUSY: it is to wait */
static int take(pthread_mutex_t *m)
{
    int error = 0;

    if (knows_owner(m) && thread_holds(m)) {
        if (!fj__green_rt()->owns(m))
            return EBUSY;
        return is_recursive(m) ? REAL(pthread_mutex_trylock)(m) : EDEADLK;
    }
    error = REAL(pthread_mutex_trylock)(m);
    if (error == 0 && !fj__green_rt()->own(m) && knows_owner(m)) {
        REAL(pthread_mutex_unlock)(m);
        error = EAGAIN;
    }
    return error;
}

typedef struct {
    pthread_mutex_t *m;
    int error;
} attempt;

static bool still_locked(void *arg)
{
    attempt *a = arg;

    a->error = take(a->m);
    return a->error == EBUSY;
}

/* Where nothing may suspend: a mutex of another thread's is waited for as ever; one of this thread's would never come. */
static int block(pthread_mutex_t *m)
{
    int error = thread_holds(m) ? EDEADLK : REAL(pthread_mutex_lock)(m);

    if (error == 0)
        (void)fj__green_rt()->own(m);
    return error;
}

int fj__mutex_lock(pthread_mutex_t *m, const fj__until *until)
{
    attempt a = { .m = m, .error = EBUSY };
    fj__parking p = { .address = m,
                      .still = still_locked,
                      .arg = &a,
                      .how = FJ__PARK_SHIELDED | FJ__PARK_OWNED,
                      .what = "pthread_mutex_t" };
    int error = 0;

    if (!fj__green_rt()->starved(m) || (knows_owner(m) && task_holds(m)))
        a.error = take(m);
    if (a.error != EBUSY)
        return a.error;
    error = fj__until_check(until);
    if (error == 0)
        error = fj__park_until(&p, until);
    if (error == EDEADLK && until->t == NULL)
        return block(m);
    if (error == 0 && a.error == EAGAIN)
        fj__green_rt()->unpark(m, 1); /* it was taken, and given back */
    return error != 0 ? error : a.error;
}

int fj__mutex_may_unlock(const pthread_mutex_t *m)
{
    if (!knows_owner(m))
        return 0;
    return (fj__locks_green() ? task_holds(m) : thread_holds(m)) ? 0 : EPERM;
}

int fj__mutex_unlock(pthread_mutex_t *m)
{
    int error = fj__mutex_may_unlock(m);

    if (error != 0)
        return error;
    if (is_recursive(m) && m->__data.__count > 1)
        return REAL(pthread_mutex_unlock)(m);
    fj__green_rt()->disown(m);
    error = REAL(pthread_mutex_unlock)(m);
    fj__green_rt()->unpark(m, 1); /* only the address is used: the mutex may be gone */
    return error;
}

/* Not patched, in debug mode: it blocks as ever, and reports hear of it. */
static int watched_lock(pthread_mutex_t *m)
{
    int error = REAL(pthread_mutex_trylock)(m);

    if (error == EBUSY) {
        if (!knows_owner(m) && thread_holds(m))
            fj__green_rt()->stuck(m);
        error = REAL(pthread_mutex_lock)(m);
    }
    if (error == 0)
        (void)fj__green_rt()->own(m);
    return error;
}

FJ__HOOK int pthread_mutex_lock(pthread_mutex_t *m)
{
    if (!fj__locks_green())
        return fj__green(FJ__PATCH_WATCH) ? watched_lock(m) : REAL(pthread_mutex_lock)(m);
    if (fj__mutex_alone(m))
        return REAL(pthread_mutex_lock)(m);
    return fj__mutex_lock(m, FJ__UNTIL(CLOCK_MONOTONIC, NULL));
}

FJ__HOOK int pthread_mutex_trylock(pthread_mutex_t *m)
{
    int error = 0;

    if (!fj__locks_green() || fj__mutex_alone(m))
        return REAL(pthread_mutex_trylock)(m);
    error = take(m);
    return error == EDEADLK ? EBUSY : error;
}

FJ__HOOK int pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *t)
{
    if (!fj__locks_green() || fj__mutex_alone(m))
        return REAL(pthread_mutex_timedlock)(m, t);
    return fj__mutex_lock(m, FJ__UNTIL(CLOCK_REALTIME, t));
}

FJ__HOOK int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *t)
{
    if (!fj__locks_green() || fj__mutex_alone(m))
        return REAL(pthread_mutex_clocklock)(m, clock, t);
    return fj__mutex_lock(m, FJ__UNTIL(clock, t));
}

FJ__HOOK int pthread_mutex_unlock(pthread_mutex_t *m)
{
    if (!fj__locks_live() && fj__green(FJ__PATCH_WATCH))
        fj__green_rt()->disown(m);
    if (!fj__locks_live() || fj__mutex_alone(m))
        return REAL(pthread_mutex_unlock)(m);
    return fj__mutex_unlock(m);
}
