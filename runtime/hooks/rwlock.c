/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pthread_rwlock_*.  Writers are owners; of readers nothing is known.  Readers go before writers that wait, as they do in libc: one may
 * read already, and begin again.
 */
#include "runtime/hooks/locks.h"

static bool is_alone(const pthread_rwlock_t *l)
{
    return fj__locks_alone(__atomic_load_n(&l->__data.__shared, __ATOMIC_RELAXED) != 0,
                           "rwlock that is shared between processes");
}

typedef struct {
    pthread_rwlock_t *l;
    int error;
} attempt;

static bool still_written(void *arg)
{
    attempt *a = arg;

    a->error = pthread_rwlock_tryrdlock(a->l);
    return a->error == EBUSY;
}

static int take(pthread_rwlock_t *l)
{
    int error = REAL(pthread_rwlock_trywrlock)(l);

    if (error == 0)
        (void)fj__green_rt()->own(l);
    return error;
}

static bool still_used(void *arg)
{
    attempt *a = arg;

    a->error = take(a->l);
    return a->error == EBUSY;
}

static int wait_for(pthread_rwlock_t *l, bool (*still)(void *arg), const fj__until *until)
{
    attempt a = { .l = l, .error = EBUSY };
    fj__parking p = { .address = l,
                      .still = still,
                      .arg = &a,
                      .how = FJ__PARK_SHIELDED | FJ__PARK_OWNED,
                      .what = "pthread_rwlock_t" };
    int error = fj__until_check(until);

    if (error != 0)
        return error;
    if (fj__green_rt()->owns(l))
        return EDEADLK;
    if (still == still_written)
        p.how |= FJ__PARK_BARGES;
    if (((p.how & FJ__PARK_BARGES) != 0 || !fj__green_rt()->starved(l)) && !still(&a))
        return a.error;
    error = fj__park_until(&p, until);
    return error != 0 ? error : a.error;
}

FJ__HOOK int pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    if (!fj__locks_green() || is_alone(l))
        return REAL(pthread_rwlock_rdlock)(l);
    return wait_for(l, still_written, FJ__UNTIL(CLOCK_MONOTONIC, NULL));
}

FJ__HOOK int pthread_rwlock_timedrdlock(pthread_rwlock_t *l, const struct timespec *t)
{
    if (!fj__locks_green() || is_alone(l))
        return REAL(pthread_rwlock_timedrdlock)(l, t);
    return wait_for(l, still_written, FJ__UNTIL(CLOCK_REALTIME, t));
}

FJ__HOOK int pthread_rwlock_clockrdlock(pthread_rwlock_t *l, clockid_t clock, const struct timespec *t)
{
    if (!fj__locks_green() || is_alone(l))
        return REAL(pthread_rwlock_clockrdlock)(l, clock, t);
    return wait_for(l, still_written, FJ__UNTIL(clock, t));
}

FJ__HOOK int pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    if (!fj__locks_green() || is_alone(l))
        return REAL(pthread_rwlock_wrlock)(l);
    return wait_for(l, still_used, FJ__UNTIL(CLOCK_MONOTONIC, NULL));
}

FJ__HOOK int pthread_rwlock_timedwrlock(pthread_rwlock_t *l, const struct timespec *t)
{
    if (!fj__locks_green() || is_alone(l))
        return REAL(pthread_rwlock_timedwrlock)(l, t);
    return wait_for(l, still_used, FJ__UNTIL(CLOCK_REALTIME, t));
}

FJ__HOOK int pthread_rwlock_clockwrlock(pthread_rwlock_t *l, clockid_t clock, const struct timespec *t)
{
    if (!fj__locks_green() || is_alone(l))
        return REAL(pthread_rwlock_clockwrlock)(l, clock, t);
    return wait_for(l, still_used, FJ__UNTIL(clock, t));
}

FJ__HOOK int pthread_rwlock_trywrlock(pthread_rwlock_t *l)
{
    if (!fj__locks_green() || is_alone(l))
        return REAL(pthread_rwlock_trywrlock)(l);
    return take(l);
}

FJ__HOOK int pthread_rwlock_unlock(pthread_rwlock_t *l)
{
    int error = 0;

    if (!fj__locks_live() || is_alone(l))
        return REAL(pthread_rwlock_unlock)(l);
    fj__green_rt()->disown(l); /* none is known while others read */
    error = REAL(pthread_rwlock_unlock)(l);
    fj__green_rt()->unpark(
        l, UINT32_MAX); /* readers go on together.  Only the address is used: the lock may be gone */
    return error;
}
