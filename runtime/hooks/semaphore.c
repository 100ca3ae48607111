/* SPDX-License-Identifier: Apache-2.0 */
/* sem_wait, sem_timedwait, sem_clockwait, sem_post. */
#include "runtime/hooks/locks.h"

#include <string.h>

_Static_assert(sizeof(sem_t) == 32, "glibc's semaphore: a value of 8 bytes, then whether it is shared");

static bool is_alone(const sem_t *s)
{
    int shared = 0;

    memcpy(&shared, (const char *)s + 8, sizeof shared);
    return fj__locks_alone(shared != 0, "semaphore that is shared between processes");
}

static bool still_nought(void *arg)
{
    return sem_trywait(arg) != 0;
}

static int wait_task(sem_t *s, const fj__until *until)
{
    fj__parking p = { .address = s, .still = still_nought, .arg = s, .what = "sem_t" };
    int saved = errno, error = fj__until_check(until);

    if (error == 0 && (fj__green_rt()->starved(s) || sem_trywait(s) != 0))
        error = fj__park_until(&p, until);
    errno = error != 0 ? error : saved;
    return error != 0 ? -1 : 0;
}

FJ__HOOK int sem_wait(sem_t *s)
{
    if (!fj__locks_green() || is_alone(s))
        return REAL(sem_wait)(s);
    return wait_task(s, FJ__UNTIL(CLOCK_MONOTONIC, NULL));
}

FJ__HOOK int sem_timedwait(sem_t *s, const struct timespec *t)
{
    if (!fj__locks_green() || is_alone(s))
        return REAL(sem_timedwait)(s, t);
    return wait_task(s, FJ__UNTIL(CLOCK_REALTIME, t));
}

FJ__HOOK int sem_clockwait(sem_t *s, clockid_t clock, const struct timespec *t)
{
    if (!fj__locks_green() || is_alone(s))
        return REAL(sem_clockwait)(s, clock, t);
    return wait_task(s, FJ__UNTIL(clock, t));
}

FJ__HOOK int sem_post(sem_t *s)
{
    int error = REAL(sem_post)(s);

    if (error == 0 && fj__locks_live())
        fj__green_rt()->unpark(s, 1); /* only the address is used: the semaphore may be gone */
    return error;
}
