/* SPDX-License-Identifier: Apache-2.0 */
/* sendfile to a socket: with O_NONBLOCK on it for the moment of each call, for there is no flag to ask by.  To all else
 * straight through. */
#include "runtime/hooks/hooks.h"

#include <sys/sendfile.h>

static bool is_socket(int fd)
{
    int type = 0;
    socklen_t n = sizeof type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0;
}

static ssize_t green_sendfile(int to, int from, off64_t *at, size_t n)
{
    fj__waiting w = FJ__WAITING(to, POLLOUT);
    size_t sent = 0;
    ssize_t r = 0;
    int saved = errno;

    if (!fj__green_breath())
        return -1;
    do {
        int flags = fj__green_unblock(to);

        r = REAL(sendfile64)(to, from, at, n - sent);
        fj__green_block(to, flags);
        if (r > 0)
            sent += (size_t)r;
    } while ((r > 0 && sent < n) || (r < 0 && fj__green_again(&w)));
    return fj__green_done(sent > 0 ? (ssize_t)sent : r, saved);
}

FJ__HOOK ssize_t sendfile(int to, int from, off_t *at, size_t n)
{
    if (!fj__green(FJ_PATCH_SOCKET) || n == 0 || !is_socket(to))
        return REAL(sendfile)(to, from, at, n);
    return green_sendfile(to, from, at, n);
}

FJ__HOOK ssize_t sendfile64(int to, int from, off64_t *at, size_t n)
{
    if (!fj__green(FJ_PATCH_SOCKET) || n == 0 || !is_socket(to))
        return REAL(sendfile64)(to, from, at, n);
    return green_sendfile(to, from, at, n);
}
