/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept: waited for, then taken with O_NONBLOCK on the description, for between the two another process or thread may
 * have taken the connection, and we would be blocked until the next.  Whether the user made the listener non-blocking is
 * asked once, before the first wait: others that take from it set the flag for their moment.
 */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>

static bool is_listening(int fd)
{
    int yes = 0;
    socklen_t n = sizeof yes;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) == 0 && yes != 0;
}

static int take(int fd, struct sockaddr *from, socklen_t *len, int how)
{
    int r = -1, flags = 0, error = 0;

    fj__green_lock_flags();
    flags = REAL(fcntl)(fd, F_GETFL);
    if (flags >= 0 && ((flags & O_NONBLOCK) != 0 || REAL(fcntl)(fd, F_SETFL, flags | O_NONBLOCK) == 0))
        r = REAL(accept4)(fd, from, len, how);
    error = errno;
    if (flags >= 0 && (flags & O_NONBLOCK) == 0)
        (void)REAL(fcntl)(fd, F_SETFL, flags);
    fj__green_unlock_flags();
    errno = error;
    return r;
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
