/* SPDX-License-Identifier: Apache-2.0 */
/* epoll_wait and its kin: an epoll descriptor can itself be watched. */
#include "runtime/hooks/hooks.h"

static int green_epoll(int fd, struct epoll_event *v, int n, int64_t by)
{
    int saved = errno;

    if (!fj__green_breath())
        return -1;
    for (;;) {
        int r = REAL(epoll_wait)(fd, v, n, 0);

        if (r != 0)
            return (int)fj__green_done(r, saved);
        r = fj__green_wait(fd, POLLIN, by);
        if (r == 0)
            errno = saved;
        if (r <= 0)
            return r;
    }
}

typedef struct {
    int fd, n, ms;
    struct epoll_event *v;
    const struct timespec *t;
    const sigset_t *mask;
    int answer;
} job;

static void pwait_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(epoll_pwait)(j->fd, j->v, j->n, j->ms, j->mask);
}

static void pwait2_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(epoll_pwait2)(j->fd, j->v, j->n, j->t, j->mask);
}

FJ__HOOK int epoll_wait(int fd, struct epoll_event *v, int n, int ms)
{
    if (!fj__green(FJ_PATCH_SELECT) || ms == 0)
        return REAL(epoll_wait)(fd, v, n, ms);
    return green_epoll(fd, v, n, fj__green_in_ms(ms));
}

FJ__HOOK int epoll_pwait(int fd, struct epoll_event *v, int n, int ms, const sigset_t *mask)
{
    if (!fj__green(FJ_PATCH_SELECT) || ms == 0)
        return REAL(epoll_pwait)(fd, v, n, ms, mask);
    if (fj__green_other_mask(mask)) {
        job j = { .fd = fd, .v = v, .n = n, .ms = ms, .mask = mask };

        return fj__green_offload_long(pwait_there, &j) ? j.answer : -1;
    }
    return green_epoll(fd, v, n, fj__green_in_ms(ms));
}

FJ__HOOK int epoll_pwait2(int fd, struct epoll_event *v, int n, const struct timespec *t, const sigset_t *mask)
{
    if (!fj__green(FJ_PATCH_SELECT) || !fj__green_waits_for(t))
        return REAL(epoll_pwait2)(fd, v, n, t, mask);
    if (fj__green_other_mask(mask)) {
        job j = { .fd = fd, .v = v, .n = n, .t = t, .mask = mask };

        return fj__green_offload_long(pwait2_there, &j) ? j.answer : -1;
    }
    return green_epoll(fd, v, n, fj__green_in(t));
}
