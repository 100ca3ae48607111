/* SPDX-License-Identifier: Apache-2.0 */
/* How a hook waits: deadlines, what the description says of itself, and the fairness of those that never wait. */
#include "runtime/hooks/hooks.h"

#define SECOND INT64_C(1000000000)
/* Successes without a wait before others get a turn: often enough to be fair to them, seldom enough to cost nothing. */
#define BREATH 32

static FJ__THREAD unsigned run;

int64_t fj__green_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

int64_t fj__green_in(const struct timespec *t)
{
    int64_t now = fj__green_now();

    if (t == NULL || t->tv_sec >= (FJ__NEVER - now) / SECOND - 1)
        return FJ__NEVER;
    return now + (t->tv_sec < 0 ? 0 : t->tv_sec * SECOND + t->tv_nsec);
}

bool fj__green_waits_for(const struct timespec *t)
{
    return t == NULL ||
           (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < SECOND && (t->tv_sec != 0 || t->tv_nsec != 0));
}

int64_t fj__green_in_ms(int ms)
{
    return ms < 0 ? FJ__NEVER : fj__green_now() + ms * (SECOND / 1000);
}

/* The time-out that a socket's user set on it. */
static int64_t timeout_of(int fd, short events)
{
    struct timeval tv = { 0 };
    socklen_t n = sizeof tv;
    struct timespec t;

    if (getsockopt(fd, SOL_SOCKET, events == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO, &tv, &n) != 0 ||
        (tv.tv_sec == 0 && tv.tv_usec == 0))
        return FJ__NEVER;
    t = (struct timespec){ .tv_sec = tv.tv_sec, .tv_nsec = tv.tv_usec * 1000 };
    return fj__green_in(&t);
}

int fj__green_wait(int fd, short events, int64_t by)
{
    run = 0;
    return fj__green_rt()->wait_fd(fd, events, by);
}

void fj__green_ask_timeout(fj__waiting *w)
{
    int64_t own = timeout_of(w->fd, w->events);

    w->asked = true;
    w->by = own < w->by ? own : w->by;
}

bool fj__green_again(fj__waiting *w)
{
    int ready = 0;

    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return false;
    if (!w->asked) {
        if (fj__green_nonblocking(w->fd)) {
            errno = EAGAIN;
            return false;
        }
        fj__green_ask_timeout(w);
    }
    ready = fj__green_wait(w->fd, w->events, w->by);
    if (ready == 0)
        errno = EAGAIN;
    return ready > 0;
}

bool fj__green_ready(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };

    return REAL(poll)(&p, 1, 0) != 0;
}

ssize_t fj__green_done(ssize_t answer, int saved_errno)
{
    if (answer < 0)
        return answer;
    run++;
    errno = saved_errno;
    return answer;
}

bool fj__green_breath(void)
{
    if (run < BREATH)
        return true;
    run = 0;
    return fj__green_rt()->breathe() == 0;
}

static bool offload(void (*fn)(void *arg), void *arg, bool long_wait)
{
    run = 0;
    return fj__green_rt()->offload(fn, arg, long_wait) == 0;
}

bool fj__green_offload(void (*fn)(void *arg), void *arg)
{
    return offload(fn, arg, false);
}

bool fj__green_offload_long(void (*fn)(void *arg), void *arg)
{
    return offload(fn, arg, true);
}
