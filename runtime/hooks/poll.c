/* SPDX-License-Identifier: Apache-2.0 */
/* poll and ppoll. */
#include "runtime/hooks/hooks.h"

/* One descriptor, the common case: the runtime watches it alone, and poll(2) says what it has. */
static int poll_one(struct pollfd *p, int64_t by)
{
    for (;;) {
        int r = fj__green_wait(p->fd, p->events, by);

        if (r == 0)
            return 0;
        if (r < 0 && errno == EBADF) {
            p->revents = POLLNVAL;
            return 1;
        }
        if (r < 0)
            return -1;
        r = REAL(poll)(p, 1, 0);
        if (r != 0)
            return r;
    }
}

static int poll_several(struct pollfd *fds, nfds_t n, int64_t by)
{
    int r = fj__green_rt()->wait_fds(fds, n, by);

    /* One was closed; poll(2) itself says which. */
    if (r < 0 && errno == EBADF) {
        r = REAL(poll)(fds, n, 0);
        if (r == 0) {
            errno = EBADF;
            r = -1;
        }
    }
    return r;
}

int fj__green_poll(struct pollfd *fds, nfds_t n, int64_t by)
{
    int saved = errno, r = 0;

    if (!fj__green_breath())
        return -1;
    if (n > 0)
        r = REAL(poll)(fds, n, 0);
    if (r != 0)
        return (int)fj__green_done(r, saved);
    if (n == 0)
        r = fj__green_rt()->sleep_until(by);
    else if (n == 1 && fds->fd >= 0 && fds->events != 0 && (fds->events & ~(POLLIN | POLLOUT)) == 0)
        r = poll_one(fds, by);
    else
        r = poll_several(fds, n, by);
    if (r >= 0)
        errno = saved;
    return r;
}

bool fj__green_other_mask(const sigset_t *mask)
{
    sigset_t now;

    if (mask == NULL || pthread_sigmask(SIG_BLOCK, NULL, &now) != 0)
        return false;
    for (int s = 1; s < NSIG; s++)
        if (sigismember(&now, s) != sigismember(mask, s))
            return true;
    return false;
}

typedef struct {
    struct pollfd *fds;
    nfds_t n;
    const struct timespec *t;
    const sigset_t *mask;
    int answer;
} job;

static void ppoll_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(ppoll)(j->fds, j->n, j->t, j->mask);
}

int fj__green_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
    /* To be interrupted by other signals than the thread's is something for a thread. */
    if (fj__green_other_mask(mask)) {
        job j = { .fds = fds, .n = n, .t = t, .mask = mask };

        return fj__green_offload_long(ppoll_there, &j) ? j.answer : -1;
    }
    return fj__green_poll(fds, n, fj__green_in(t));
}

FJ__HOOK int poll(struct pollfd *fds, nfds_t n, int ms)
{
    if (!fj__green(FJ_PATCH_SELECT) || ms == 0)
        return REAL(poll)(fds, n, ms);
    return fj__green_poll(fds, n, fj__green_in_ms(ms));
}

FJ__HOOK int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
    if (!fj__green(FJ_PATCH_SELECT) || !fj__green_waits_for(t))
        return REAL(ppoll)(fds, n, t, mask);
    return fj__green_ppoll(fds, n, t, mask);
}
