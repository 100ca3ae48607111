/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

static atomic_uint generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

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
        (void)pthread_cond_wait(cond, lock);
        return true;
    }
    struct timespec until = { .tv_sec = (time_t)(by.ns / 1000000000), .tv_nsec = (long)(by.ns % 1000000000) };
    return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
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
