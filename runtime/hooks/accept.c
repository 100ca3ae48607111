/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept: waited for, then taken with O_NONBLOCK on the description, for between the two another process or thread may
 * have taken the connection, and we would be blocked until the next.  Whether the user made the listener non-blocking is
 * asked once, before the first wait: other processes that take from it set the flag for their moment.
 */
#include "runtime/hooks/hooks.h"

#include <sched.h>

/* So many times a flag is looked at before it is believed. */
#define MOMENTS 8

static bool is_listening(int fd)
{
    int yes = 0;
    socklen_t n = sizeof yes;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) == 0 && yes != 0;
}

static int take(int fd, struct sockaddr *from, socklen_t *len, int how)
{
    int flags = fj__green_unblock(fd);
    int r = REAL(accept4)(fd, from, len, how);

    fj__green_block(fd, flags);
    return r;
}

/* What another process set for its moment is soon gone again. */
static bool stays_nonblocking(int fd)
{
    for (int i = 0; i < MOMENTS; i++) {
        if (!fj__green_nonblocking(fd))
            return false;
        sched_yield();
    }
    return true;
}

static int green_accept(int fd, struct sockaddr *from, socklen_t *len, int how)
{
    fj__waiting w = FJ__WAITING(fd, POLLIN);
    int r = -1, saved = errno;

    if (!is_listening(fd))
        return REAL(accept4)(fd, from, len, how);
    if (!fj__green_breath())
        return -1;
    do {
        errno = EAGAIN;
        if (fj__green_ready(fd, POLLIN))
            r = take(fd, from, len, how);
        if (r < 0 && errno == EAGAIN && !w.asked && !stays_nonblocking(fd))
            fj__green_ask_timeout(&w);
    } while (r < 0 && fj__green_again(&w));
    return (int)fj__green_done(r, saved);
}

FJ__HOOK int accept(int fd, __SOCKADDR_ARG from, socklen_t *len)
{
    if (!fj__green(FJ_PATCH_SOCKET))
        return REAL(accept)(fd, from.__sockaddr__, len);
    return green_accept(fd, from.__sockaddr__, len, 0);
}

FJ__HOOK int accept4(int fd, __SOCKADDR_ARG from, socklen_t *len, int flags)
{
    if (!fj__green(FJ_PATCH_SOCKET))
        return REAL(accept4)(fd, from.__sockaddr__, len, flags);
    return green_accept(fd, from.__sockaddr__, len, flags);
}
