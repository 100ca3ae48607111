/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read, write and their vectors, of whatever the descriptor is: sockets as recv and send do it, regular files straight
 * through, pipes and the rest when poll(2) says that they are ready.
 */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* How to use a descriptor without being blocked by it. */
typedef enum {
    STRAIGHT, /* never waits for anybody: a regular file, a folder, a disk; or no descriptor at all */
    PIPE,     /* can be asked not to wait for the moment of a call */
    TERMINAL, /* ready: takes a little */
    WHOLE,    /* ready: takes what it is given (eventfds, timers, devices) */
} fd_kind;

static fd_kind kind_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
        return STRAIGHT;
    if (S_ISFIFO(st.st_mode))
        return PIPE;
    return S_ISCHR(st.st_mode) && isatty(fd) ? TERMINAL : WHOLE;
}

/* Whether the system call has no way not to wait, here or on this kernel. */
static bool cannot_ask(void)
{
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL || errno == ESPIPE;
}

/* poll(2) cannot be waited with: the descriptor never blocks. */
static bool cannot_watch(void)
{
    return errno == EPERM;
}

static ssize_t read_once(int fd, fd_kind *kind, const struct iovec *iov, int n)
{
    if (*kind == PIPE) {
        ssize_t r = preadv2(fd, iov, n, -1, RWF_NOWAIT);

        if (r >= 0 || !cannot_ask())
            return r;
        *kind = WHOLE;
    }
    if (fj__green_ready(fd, POLLIN))
        return REAL(readv)(fd, iov, n);
    errno = EAGAIN;
    return -1;
}

static ssize_t read_other(int fd, const struct iovec *iov, int n)
{
    fj__waiting w = FJ__WAITING(fd, POLLIN);
    fd_kind kind = kind_of(fd);
    ssize_t r = 0;
    int saved = errno;

    if (kind == STRAIGHT)
        return REAL(readv)(fd, iov, n);
    do
        r = read_once(fd, &kind, iov, n);
    while (r < 0 && fj__green_again(&w));
    if (r < 0 && cannot_watch())
        return REAL(readv)(fd, iov, n);
    return fj__green_done(r, saved);
}

/* What a ready pipe or terminal takes for certain: PIPE_BUF bytes, in one call, so that they stay together. */
static ssize_t write_little(int fd, fj__span *span, const struct iovec *iov, size_t n)
{
    if (fj__span_left(span) <= PIPE_BUF)
        return REAL(writev)(fd, iov, (int)n);
    return REAL(write)(fd, iov->iov_base, iov->iov_len < PIPE_BUF ? iov->iov_len : PIPE_BUF);
}

static ssize_t write_once(int fd, fd_kind *kind, fj__span *span)
{
    size_t n = 0;
    const struct iovec *iov = fj__span_next(span, &n);

    if (*kind == PIPE) {
        ssize_t r = pwritev2(fd, iov, (int)n, -1, RWF_NOWAIT);

        if (r >= 0 || !cannot_ask())
            return r;
        *kind = TERMINAL;
    }
    if (!fj__green_ready(fd, POLLOUT)) {
        errno = EAGAIN;
        return -1;
    }
    return *kind == TERMINAL ? write_little(fd, span, iov, n) : REAL(writev)(fd, iov, (int)n);
}

static ssize_t write_other(int fd, const struct iovec *iov, int n)
{
    fj__waiting w = FJ__WAITING(fd, POLLOUT);
    fj__span span = fj__span_of(iov, (size_t)n);
    fd_kind kind = kind_of(fd);
    ssize_t sent = 0, r = 0;
    int saved = errno;

    if (kind == STRAIGHT)
        return REAL(writev)(fd, iov, n);
    do {
        r = write_once(fd, &kind, &span);
        if (r > 0) {
            sent += r;
            fj__span_move(&span, (size_t)r);
        }
    } while ((r > 0 && span.count > 0 && kind != WHOLE) || (r < 0 && fj__green_again(&w)));
    if (r < 0 && sent == 0 && cannot_watch())
        return REAL(writev)(fd, iov, n);
    return fj__green_done(sent > 0 ? sent : r, saved);
}

ssize_t fj__green_readv(int fd, const struct iovec *iov, int n)
{
    struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };
    int saved = errno;
    ssize_t r = fj__green_receive(fd, &m, 0, FJ__NEVER);

    if (r >= 0 || errno != ENOTSOCK)
        return r;
    errno = saved;
    return read_other(fd, iov, n);
}

static ssize_t green_writev(int fd, const struct iovec *iov, int n)
{
    struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };
    int saved = errno;
    ssize_t r = fj__green_transmit(fd, &m, 0);

    if (r >= 0 || errno != ENOTSOCK)
        return r;
    errno = saved;
    return write_other(fd, iov, n);
}

/* What the kernel answers at once: nothing to do, or nonsense. */
static bool is_odd(const struct iovec *iov, int n)
{
    fj__span span;

    if (iov == NULL || n <= 0 || n > IOV_MAX)
        return true;
    span = fj__span_of(iov, (size_t)n);
    return span.count == 0;
}

FJ__HOOK ssize_t read(int fd, void *buf, size_t n)
{
    if (!fj__green(FJ_PATCH_SOCKET) || n == 0)
        return REAL(read)(fd, buf, n);
    return fj__green_readv(fd, &(struct iovec){ .iov_base = buf, .iov_len = n }, 1);
}

FJ__HOOK ssize_t write(int fd, const void *buf, size_t n)
{
    if (!fj__green(FJ_PATCH_SOCKET) || n == 0)
        return REAL(write)(fd, buf, n);
    return green_writev(fd, &(struct iovec){ .iov_base = (void *)buf, .iov_len = n }, 1);
}

FJ__HOOK ssize_t readv(int fd, const struct iovec *iov, int n)
{
    if (!fj__green(FJ_PATCH_SOCKET) || is_odd(iov, n))
        return REAL(readv)(fd, iov, n);
    return fj__green_readv(fd, iov, n);
}

FJ__HOOK ssize_t writev(int fd, const struct iovec *iov, int n)
{
    if (!fj__green(FJ_PATCH_SOCKET) || is_odd(iov, n))
        return REAL(writev)(fd, iov, n);
    return green_writev(fd, iov, n);
}
