/* SPDX-License-Identifier: Apache-2.0 */
/* What the hooks of locks share: times of any clock, and what is told of objects that are left alone. */
#include "runtime/hooks/locks.h"

#define SECOND INT64_C(1000000000)

int fj__until_check(const fj__until *until)
{
    if (until->t == NULL)
        return 0;
    if (until->clock != CLOCK_REALTIME && until->clock != CLOCK_MONOTONIC)
        return EINVAL;
    return until->t->tv_nsec >= 0 && until->t->tv_nsec < SECOND ? 0 : EINVAL;
}

/* How long it is until then; FJ__NEVER if beyond reach. */
static int64_t left(const fj__until *until)
{
    struct timespec now;

    clock_gettime(until->clock, &now);
    if (until->t->tv_sec - now.tv_sec >= FJ__NEVER / SECOND - 1)
        return FJ__NEVER;
    return (until->t->tv_sec - now.tv_sec) * SECOND + until->t->tv_nsec - now.tv_nsec;
}

int fj__park_until(fj__parking *p, const fj__until *until)
{
    int error = 0;

    p->by = (fj_deadline){ FJ__NEVER };
    if (until->t == NULL)
        return fj__green_rt()->park(p);
    do {
        int64_t ns = left(until), now = fj__green_now();

        p->by.ns = ns >= FJ__NEVER - now ? FJ__NEVER : now + (ns > 0 ? ns : 0);
        error = fj__green_rt()->park(p);
        /* A clock that was set back is waited for; an fj_timeout is not told from that, but cuts no shielded wait short. */
    } while (error == ETIMEDOUT && (p->how & FJ__PARK_SHIELDED) != 0 && left(until) > 0);
    return error;
}

bool fj__locks_alone(bool alone, const char *what)
{
    if (alone && fj__locks_green())
        fj__green_rt()->blocks(what);
    return alone;
}
