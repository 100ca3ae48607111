/* SPDX-License-Identifier: Apache-2.0 */
/*
 * close and what else ends a descriptor: who waits for it in a green task is woken first.  On every thread, for it need
 * not be a task that closes it.
 */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <linux/close_range.h>

/* Of a range that has no end, what can be open at all. */
static unsigned last_fd(unsigned last)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= last)
        return (unsigned)limit.rlim_cur;
    return last;
}

static void closing_range(unsigned first, unsigned last)
{
    last = last_fd(last);
    for (unsigned fd = first; fd <= last && fd <= INT32_MAX; fd++)
        fj__green_closing((int)fd);
}

/* A replacement that will fail closes nothing. */
static void replacing(int from, int to)
{
    if (from != to && fj__green_watching() && REAL(fcntl)(from, F_GETFD) >= 0)
        fj__green_closing(to);
}

FJ__HOOK int close(int fd)
{
    if (fj__green_watching())
        fj__green_closing(fd);
    return REAL(close)(fd);
}

FJ__HOOK int dup2(int from, int to)
{
    replacing(from, to);
    return REAL(dup2)(from, to);
}

FJ__HOOK int dup3(int from, int to, int flags)
{
    replacing(from, to);
    return REAL(dup3)(from, to, flags);
}

FJ__HOOK int close_range(unsigned first, unsigned last, int flags)
{
    if (first <= last && (flags & (int)CLOSE_RANGE_CLOEXEC) == 0 && fj__green_watching())
        closing_range(first, last);
    return REAL(close_range)(first, last, flags);
}

FJ__HOOK void closefrom(int first)
{
    if (fj__green_watching())
        closing_range(first < 0 ? 0 : (unsigned)first, UINT32_MAX);
    REAL(closefrom)(first);
}
