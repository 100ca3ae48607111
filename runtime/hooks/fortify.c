/* SPDX-License-Identifier: Apache-2.0 */
/* What -D_FORTIFY_SOURCE makes of some calls.  One that would overrun its buffer goes to libc, which ends the program. */
#include "runtime/hooks/hooks.h"

FJ__HOOK ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
    if (!fj__green(FJ_PATCH_SOCKET) || n > room || n == 0)
        return REAL(__read_chk)(fd, buf, n, room);
    return fj__green_readv(fd, &(struct iovec){ .iov_base = buf, .iov_len = n }, 1);
}

FJ__HOOK ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags)
{
    if (!fj__green(FJ_PATCH_SOCKET) || n > room || (flags & FJ__NO_WAIT) != 0)
        return REAL(__recv_chk)(fd, buf, n, room, flags);
    return fj__green_recvfrom(fd, buf, n, flags, NULL, NULL);
}

FJ__HOOK ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from,
                                socklen_t *len)
{
    if (!fj__green(FJ_PATCH_SOCKET) || n > room || (flags & FJ__NO_WAIT) != 0)
        return REAL(__recvfrom_chk)(fd, buf, n, room, flags, from, len);
    return fj__green_recvfrom(fd, buf, n, flags, from, len);
}

FJ__HOOK int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room)
{
    if (!fj__green(FJ_PATCH_SELECT) || n > room / sizeof *fds || ms == 0)
        return REAL(__poll_chk)(fds, n, ms, room);
    return fj__green_poll(fds, n, fj__green_in_ms(ms));
}

FJ__HOOK int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask,
                         size_t room)
{
    if (!fj__green(FJ_PATCH_SELECT) || n > room / sizeof *fds || !fj__green_waits_for(t))
        return REAL(__ppoll_chk)(fds, n, t, mask, room);
    return fj__green_ppoll(fds, n, t, mask);
}
