/* SPDX-License-Identifier: Apache-2.0 */
/* sleep, usleep, nanosleep, clock_nanosleep. */
#include "runtime/hooks/hooks.h"

#define SECOND INT64_C(1000000000)

static int64_t on_clock(clockid_t clock)
{
    struct timespec t = { 0 };

    clock_gettime(clock, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static struct timespec left_until(int64_t by)
{
    int64_t left = by == FJ__NEVER ? by : by - fj__green_now();

    if (left < 0)
        left = 0;
    return (struct timespec){ .tv_sec = left / SECOND, .tv_nsec = left % SECOND };
}

static bool is_time(const struct timespec *t)
{
    return t != NULL && t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < SECOND;
}

static int sleep_for(const struct timespec *t, struct timespec *left)
{
    int64_t by = fj__green_in(t);
    int saved = errno;

    if (fj__green_rt()->sleep_until(by) != 0) {
        if (left != NULL)
            *left = left_until(by);
        return -1;
    }
    errno = saved;
    return 0;
}

/* A clock that is set while we sleep is asked again: back, and there is more to sleep; forward is seen at the end. */
static int sleep_to(clockid_t clock, const struct timespec *t)
{
    int64_t end = t->tv_sec >= FJ__NEVER / SECOND ? FJ__NEVER : t->tv_sec * SECOND + t->tv_nsec;

    for (;;) {
        int64_t left = end - on_clock(clock), now = fj__green_now();

        if (fj__green_rt()->sleep_until(left >= FJ__NEVER - now ? FJ__NEVER : now + (left > 0 ? left : 0)) != 0)
            return -1;
        if (on_clock(clock) >= end)
            return 0;
    }
}

typedef struct {
    clockid_t clock;
    int flags;
    const struct timespec *t;
    struct timespec *left;
    int answer;
} job;

static void sleep_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(clock_nanosleep)(j->clock, j->flags, j->t, j->left);
}

FJ__HOOK unsigned sleep(unsigned s)
{
    struct timespec t = { .tv_sec = s }, left = { 0 };

    if (!fj__green(FJ_PATCH_TIME))
        return REAL(sleep)(s);
    if (sleep_for(&t, &left) == 0)
        return 0;
    return (unsigned)left.tv_sec + (left.tv_nsec > 0);
}

FJ__HOOK int usleep(useconds_t us)
{
    struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000 };

    if (!fj__green(FJ_PATCH_TIME))
        return REAL(usleep)(us);
    return sleep_for(&t, NULL);
}

FJ__HOOK int nanosleep(const struct timespec *t, struct timespec *left)
{
    if (!fj__green(FJ_PATCH_TIME) || !is_time(t))
        return REAL(nanosleep)(t, left);
    return sleep_for(t, left);
}

/* Answers the error, and leaves errno alone. */
FJ__HOOK int clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
    int saved = errno, error = 0;

    if (!fj__green(FJ_PATCH_TIME) || !is_time(t))
        return REAL(clock_nanosleep)(clock, flags, t, left);
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_TAI) {
        job j = { .clock = clock, .flags = flags, .t = t, .left = left };

        error = fj__green_offload_long(sleep_there, &j) ? j.answer : errno;
    } else if (((flags & TIMER_ABSTIME) != 0 ? sleep_to(clock, t) : sleep_for(t, left)) != 0) {
        error = errno;
    }
    errno = saved;
    return error;
}

/* -1 is for an interruption alone. */
FJ__HOOK int thrd_sleep(const struct timespec *t, struct timespec *left)
{
    if (!fj__green(FJ_PATCH_TIME) || !is_time(t))
        return REAL(thrd_sleep)(t, left);
    return sleep_for(t, left) == 0 ? 0 : -2;
}
