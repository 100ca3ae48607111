/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read, write and their vectors, of whatever the descriptor is: sockets as recv and send do it, regular files straight
 * through, pipes and the rest when poll(2) says that they are ready.
 */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

/* How to use a descriptor without being blocked by it. */
typedef enum {
    STRAIGHT, /* never waits for anybody: a regular file, a folder, a disk; or no descriptor at all */
    PIPE,
    TERMINAL,
    WHOLE, /* ready: takes what it is given (eventfds, timers, devices) */
} fd_kind;

typedef struct {
    int fd;
    fd_kind kind;
    bool cannot_ask; /* the system call has no way not to wait, for this or on this kernel */
    int own;         /* a description of our own for the same thing, with O_NONBLOCK; negative: none */
    bool asked_own;
} stream;

static stream stream_of(int fd)
{
    stream s = { .fd = fd, .kind = WHOLE, .own = -1 };
    struct stat st;

    if (fstat(fd, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
        s.kind = STRAIGHT;
    else if (S_ISFIFO(st.st_mode))
        s.kind = PIPE;
    else if (S_ISCHR(st.st_mode) && isatty(fd))
        s.kind = TERMINAL;
    return s;
}

static void stream_end(stream *s)
{
    int error = errno;

    if (s->own >= 0)
        REAL(close)(s->own);
    errno = error;
}

/* Whether the system call could not be asked not to wait. */
static bool is_refused(const stream *s)
{
    return errno == EOPNOTSUPP || errno == ENOSYS || (s->kind == PIPE && (errno == EINVAL || errno == ESPIPE));
}

/* Pipes and terminals can be opened once more; a terminal's master cannot, that would make another. */
static int own_description(stream *s, int how)
{
    char path[32];
    unsigned number = 0;
    int flags = 0;

    if (s->asked_own)
        return s->own;
    s->asked_own = true;
    if (s->kind == WHOLE || (s->kind == TERMINAL && REAL(ioctl)(s->fd, TIOCGPTN, &number) == 0))
        return -1;
    flags = fj__green_get_flags(REAL(fcntl), s->fd);
    snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
    if (flags >= 0)
        s->own = REAL(open)(path, how | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | (flags & O_DIRECT));
    return s->own;
}

/* poll(2) cannot be waited with: the descriptor never blocks. */
static bool cannot_watch(void)
{
    return errno == EPERM;
}

static ssize_t read_once(stream *s, const struct iovec *iov, int n)
{
    if (!s->cannot_ask) {
        ssize_t r = preadv2(s->fd, iov, n, -1, RWF_NOWAIT);

        if (r >= 0 || !is_refused(s))
            return r;
        s->cannot_ask = true;
    }
    /* Between the look and the call another thread might have taken what was there. */
    if (fj__green_ready(s->fd, POLLIN))
        return REAL(readv)(s->kind == PIPE && own_description(s, O_RDONLY) >= 0 ? s->own : s->fd, iov, n);
    errno = EAGAIN;
    return -1;
}

/* A terminal may be set to answer without a byte, at once or after some time.
 * @return whether it is; *ret_by is then the deadline */
static bool answers_nothing(const stream *s, int64_t *ret_by)
{
    struct termios t;

    if (s->kind != TERMINAL || tcgetattr(s->fd, &t) != 0 || (t.c_lflag & ICANON) != 0 || t.c_cc[VMIN] != 0 ||
        fj__green_nonblocking(s->fd))
        return false;
    *ret_by = fj__green_now() + t.c_cc[VTIME] * INT64_C(100000000);
    return true;
}

static ssize_t read_other(int fd, const struct iovec *iov, int n)
{
    fj__waiting w = FJ__WAITING(fd, POLLIN);
    int saved = errno;
    stream s = stream_of(fd);
    bool nothing = answers_nothing(&s, &w.by);
    ssize_t r = 0;

    errno = saved;
    if (s.kind == STRAIGHT)
        return REAL(readv)(fd, iov, n);
    do
        r = read_once(&s, iov, n);
    while (r < 0 && fj__green_again(&w));
    stream_end(&s);
    if (r < 0 && cannot_watch())
        return REAL(readv)(fd, iov, n);
    if (r < 0 && nothing && errno == EAGAIN)
        r = 0;
    return fj__green_done(r, saved);
}

/* What a ready pipe takes for certain: PIPE_BUF bytes, in one call, so that they stay together. */
static ssize_t write_little(int fd, fj__span *span, const struct iovec *iov, size_t n)
{
    if (fj__span_left(span) <= PIPE_BUF)
        return REAL(writev)(fd, iov, (int)n);
    return REAL(write)(fd, iov->iov_base, iov->iov_len < PIPE_BUF ? iov->iov_len : PIPE_BUF);
}

/* A terminal may be ready and take but a byte: it must be asked not to wait. */
static ssize_t write_for_a_moment(int fd, const struct iovec *iov, size_t n)
{
    int flags = fj__green_unblock(fd);
    ssize_t r = REAL(writev)(fd, iov, (int)n);

    fj__green_block(fd, flags);
    return r;
}

static ssize_t write_once(stream *s, fj__span *span)
{
    size_t n = 0;
    const struct iovec *iov = fj__span_next(span, &n);

    if (s->kind == PIPE && !s->cannot_ask) {
        ssize_t r = pwritev2(s->fd, iov, (int)n, -1, RWF_NOWAIT);

        if (r >= 0 || !is_refused(s))
            return r;
        s->cannot_ask = true;
    }
    if (!fj__green_ready(s->fd, POLLOUT)) {
        errno = EAGAIN;
        return -1;
    }
    if (own_description(s, O_WRONLY) >= 0)
        return REAL(writev)(s->own, iov, (int)n);
    if (s->kind == TERMINAL)
        return write_for_a_moment(s->fd, iov, n);
    return s->kind == PIPE ? write_little(s->fd, span, iov, n) : REAL(writev)(s->fd, iov, (int)n);
}

static ssize_t write_other(int fd, const struct iovec *iov, int n)
{
    fj__waiting w = FJ__WAITING(fd, POLLOUT);
    fj__span span = fj__span_of(iov, (size_t)n);
    int saved = errno;
    stream s = stream_of(fd);
    ssize_t sent = 0, r = 0;

    errno = saved;
    if (s.kind == STRAIGHT)
        return REAL(writev)(fd, iov, n);
    do {
        r = write_once(&s, &span);
        if (r > 0) {
            sent += r;
            fj__span_move(&span, (size_t)r);
        }
    } while ((r > 0 && span.count > 0 && s.kind != WHOLE) || (r < 0 && fj__green_again(&w)));
    stream_end(&s);
    if (r < 0 && sent == 0 && cannot_watch())
        return REAL(writev)(fd, iov, n);
    return fj__green_done(sent > 0 ? sent : r, saved);
}

ssize_t fj__green_readv(int fd, const struct iovec *iov, int n)
{
    struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };
    int saved = errno;
    ssize_t r = fj__green_receive(fd, &m, 0);

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
