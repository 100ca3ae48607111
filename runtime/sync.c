/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

#include "base/native.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_uint generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct timespec as_timespec(fj_deadline by)
{
    return (struct timespec){ .tv_sec = (time_t)(by.ns / 1000000000), .tv_nsec = (long)(by.ns % 1000000000) };
}

bool fj__futex_wait(atomic_uint *word, unsigned seen, fj_deadline by)
{
    /* FUTEX_WAIT_BITSET takes a point of the monotonic clock, FUTEX_WAIT a span. */
    struct timespec until = as_timespec(by);

    if (fj_passed(by))
        return false;
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, fj_is_never(by) ? NULL : &until, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    return rc == 0 || errno != ETIMEDOUT;
}

void fj__futex_wake(atomic_uint *word, int n)
{
    int before = errno; /* a signal handler must leave it alone */

    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
    errno = before;
}

void fj__cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}

bool fj__cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, fj_deadline by)
{
    if (fj_is_never(by)) {
        (void)fj__native.pthread_cond_wait(cond, lock);
        return true;
    }
    struct timespec until = as_timespec(by);
    return fj__native.pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}

static void in_child(void)
{
    atomic_fetch_add(&generation, 1);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

unsigned fj__fork_generation(void)
{
    (void)pthread_once(&once, watch_forks);
    return atomic_load_explicit(&generation, memory_order_relaxed);
}
