/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recv, send and their kin.  All go through two loops, over recvmsg and sendmsg: try without waiting, wait, try again.  A
 * blocking socket sends all it was given, and with MSG_WAITALL fills what it was given; so do these.
 */
#include "runtime/hooks/hooks.h"

#include <string.h>
#include <sys/ioctl.h>

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t n = sizeof type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

/* Whether an error is waiting to be told.  After some bytes it is for the next call. */
static bool has_failed(int fd)
{
    struct pollfd p = { .fd = fd };

    return REAL(poll)(&p, 1, 0) != 0 && (p.revents & POLLERR) != 0;
}

typedef struct {
    int fd, flags;
    struct msghdr *m;
    ssize_t answer;
} message;

static void receive_there(void *arg)
{
    message *job = arg;

    job->answer = REAL(recvmsg)(job->fd, job->m, job->flags);
}

static void transmit_there(void *arg)
{
    message *job = arg;

    job->answer = REAL(sendmsg)(job->fd, job->m, job->flags);
}

static ssize_t transmit_on_thread(int fd, const struct msghdr *m, int flags)
{
    struct msghdr whole = *m;
    message job = { .fd = fd, .flags = flags, .m = &whole };

    return fj__green_offload_long(transmit_there, &job) ? job.answer : -1;
}

static ssize_t receive_on_thread(int fd, struct msghdr *m, int flags)
{
    message job = { .fd = fd, .flags = flags, .m = m };

    return fj__green_offload_long(receive_there, &job) ? job.answer : -1;
}

/* What cannot be waited for here: bytes that are only looked at stay, and do not tell of more; and poll(2) knows the mark
 * that the user set, but not how much is asked for now. */
static bool wants_thread(int fd, bool all, int flags)
{
    return ((all && (flags & MSG_PEEK) != 0) || fj__green_low_water(fd)) && !fj__green_nonblocking(fd);
}

/* Where urgent data is, what was read before it is an answer. */
static bool at_mark(int fd)
{
    int yes = 0;

    return REAL(ioctl)(fd, SIOCATMARK, &yes) == 0 && yes != 0;
}

/* One try after another, until there is something.  @param have there is an answer already: an error is for the next call */
static ssize_t receive_once(fj__waiting *w, struct msghdr *m, int flags, bool have)
{
    const struct msghdr given = *m;

    for (;;) {
        ssize_t r = 0;

        if (have && has_failed(w->fd)) {
            errno = EIO; /* told to nobody */
            return -1;
        }
        *m = given;
        r = REAL(recvmsg)(w->fd, m, flags | MSG_DONTWAIT);
        if (r >= 0 || !fj__green_again(w))
            return r;
    }
}

static ssize_t receive(int fd, struct msghdr *m, int flags, int64_t by, bool have)
{
    fj__waiting w = { .fd = fd, .events = POLLIN, .by = by };
    fj__span span = fj__span_of(m->msg_iov, m->msg_iovlen);
    const struct msghdr given = *m;
    bool all = (flags & MSG_WAITALL) != 0 && is_stream(fd);
    ssize_t got = 0, r = 0;
    int saved = errno;

    if (!fj__green_breath())
        return -1;
    if (wants_thread(fd, all, flags))
        return receive_on_thread(fd, m, flags);
    do {
        struct msghdr part = given;

        part.msg_iov = fj__span_next(&span, &part.msg_iovlen);
        r = receive_once(&w, &part, flags, have || got > 0);
        if (r < 0)
            break;
        m->msg_namelen = part.msg_namelen;
        m->msg_controllen = part.msg_controllen;
        m->msg_flags = part.msg_flags;
        got += r;
        fj__span_move(&span, (size_t)r);
        /* Ancillary data ends a read, as in the kernel. */
    } while (all && r > 0 && span.count > 0 && m->msg_controllen == 0 && !at_mark(fd));
    return fj__green_done(got > 0 ? got : r, saved);
}

ssize_t fj__green_receive(int fd, struct msghdr *m, int flags)
{
    return receive(fd, m, flags, FJ__NEVER, false);
}

/* A try without waiting.  One that connects at its first bytes (TCP_FASTOPEN_CONNECT) would wait for that, too. */
static ssize_t try_to_send(int fd, const struct msghdr *m, int flags)
{
    ssize_t r = REAL(sendmsg)(fd, m, flags | MSG_DONTWAIT);

    if (r < 0 && errno == EINPROGRESS && !fj__green_nonblocking(fd))
        errno = EAGAIN;
    return r;
}

ssize_t fj__green_transmit(int fd, const struct msghdr *m, int flags)
{
    fj__waiting w = FJ__WAITING(fd, POLLOUT);
    fj__span span = fj__span_of(m->msg_iov, m->msg_iovlen);
    struct msghdr part = *m;
    ssize_t sent = 0, r = 0;
    bool woken = false;
    int saved = errno;

    if (!fj__green_breath())
        return -1;
    if ((flags & MSG_FASTOPEN) != 0) /* connects and sends in one */
        return transmit_on_thread(fd, m, flags);
    for (;;) {
        part.msg_iov = fj__span_next(&span, &part.msg_iovlen);
        /* The kernel raises no SIGPIPE once it can answer a number. */
        r = try_to_send(fd, &part, flags | (sent > 0 ? MSG_NOSIGNAL : 0));
        if (r < 0) {
            /* A local socket is ready although the one that it writes to by name takes nothing: that has no descriptor. */
            if (woken && m->msg_name != NULL && sent == 0 && errno == EAGAIN)
                return transmit_on_thread(fd, m, flags);
            woken = fj__green_again(&w);
            if (woken && !(sent > 0 && has_failed(fd)))
                continue;
            break;
        }
        sent += r;
        fj__span_move(&span, (size_t)r);
        if (span.count == 0 || r == 0 || has_failed(fd))
            break;
        part.msg_control = NULL;
        part.msg_controllen = 0;
    }
    return fj__green_done(sent > 0 ? sent : r, saved);
}

ssize_t fj__green_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
    struct iovec iov = { .iov_base = buf, .iov_len = n };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t r = 0;

    if (from != NULL && len != NULL) {
        m.msg_name = from;
        m.msg_namelen = *len;
    }
    r = fj__green_receive(fd, &m, flags);
    if (r >= 0 && from != NULL && len != NULL)
        *len = m.msg_namelen;
    return r;
}

static ssize_t green_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to,
                            socklen_t len)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = n };
    struct msghdr m = {
        .msg_name = (void *)to, .msg_namelen = to == NULL ? 0 : len, .msg_iov = &iov, .msg_iovlen = 1
    };

    return fj__green_transmit(fd, &m, flags);
}

FJ__HOOK ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    if (!fj__green(FJ_PATCH_SOCKET) || (flags & FJ__NO_WAIT) != 0)
        return REAL(recv)(fd, buf, n, flags);
    return fj__green_recvfrom(fd, buf, n, flags, NULL, NULL);
}

FJ__HOOK ssize_t recvfrom(int fd, void *buf, size_t n, int flags, __SOCKADDR_ARG from, socklen_t *len)
{
    if (!fj__green(FJ_PATCH_SOCKET) || (flags & FJ__NO_WAIT) != 0)
        return REAL(recvfrom)(fd, buf, n, flags, from.__sockaddr__, len);
    return fj__green_recvfrom(fd, buf, n, flags, from.__sockaddr__, len);
}

FJ__HOOK ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    if (!fj__green(FJ_PATCH_SOCKET) || (flags & FJ__NO_WAIT) != 0 || m == NULL)
        return REAL(recvmsg)(fd, m, flags);
    return fj__green_receive(fd, m, flags);
}

/* Linux tells what is left of the time. */
static void tell_left(struct timespec *t, int64_t by)
{
    int64_t left = by - fj__green_now();

    if (left < 0)
        left = 0;
    if (t != NULL && by != FJ__NEVER)
        *t = (struct timespec){ .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
}

static unsigned receive_several(int fd, struct mmsghdr *v, unsigned n, int flags, int64_t by)
{
    int how = flags & ~MSG_WAITFORONE;
    unsigned got = 0;

    while (got < n) {
        ssize_t r = 0;

        if (got == 0 || (flags & MSG_WAITFORONE) == 0)
            r = receive(fd, &v[got].msg_hdr, how, by, got > 0);
        else if (!has_failed(fd))
            r = REAL(recvmsg)(fd, &v[got].msg_hdr, how | MSG_DONTWAIT);
        else
            break;
        if (r < 0)
            break;
        v[got++].msg_len = (unsigned)r;
    }
    return got;
}

FJ__HOOK int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *t)
{
    int64_t by = FJ__NEVER;
    unsigned got = 0;
    int saved = errno;

    if (!fj__green(FJ_PATCH_SOCKET) || (flags & FJ__NO_WAIT) != 0 || v == NULL || n == 0 ||
        (t != NULL && (t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= 1000000000)))
        return REAL(recvmmsg)(fd, v, n, flags, t);
    by = fj__green_in(t);
    got = receive_several(fd, v, n, flags, by);
    if (got == 0)
        return -1;
    tell_left(t, by);
    errno = saved;
    return (int)got;
}

FJ__HOOK ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    if (!fj__green(FJ_PATCH_SOCKET) || (flags & MSG_DONTWAIT) != 0)
        return REAL(send)(fd, buf, n, flags);
    return green_sendto(fd, buf, n, flags, NULL, 0);
}

FJ__HOOK ssize_t sendto(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG to, socklen_t len)
{
    if (!fj__green(FJ_PATCH_SOCKET) || (flags & MSG_DONTWAIT) != 0)
        return REAL(sendto)(fd, buf, n, flags, to.__sockaddr__, len);
    return green_sendto(fd, buf, n, flags, to.__sockaddr__, len);
}

FJ__HOOK ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (!fj__green(FJ_PATCH_SOCKET) || (flags & MSG_DONTWAIT) != 0 || m == NULL)
        return REAL(sendmsg)(fd, m, flags);
    return fj__green_transmit(fd, m, flags);
}

static size_t length_of(const struct msghdr *m)
{
    fj__span all = fj__span_of(m->msg_iov, m->msg_iovlen);

    return fj__span_left(&all);
}

FJ__HOOK int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
    unsigned sent = 0;
    int saved = errno;

    if (!fj__green(FJ_PATCH_SOCKET) || (flags & MSG_DONTWAIT) != 0 || v == NULL || n == 0)
        return REAL(sendmmsg)(fd, v, n, flags);
    while (sent < n) {
        ssize_t r = fj__green_transmit(fd, &v[sent].msg_hdr, flags);

        if (r < 0)
            break;
        v[sent].msg_len = (unsigned)r;
        /* What follows half a message would be taken for its rest. */
        if ((size_t)r < length_of(&v[sent++].msg_hdr))
            break;
    }
    if (sent == 0)
        return -1;
    errno = saved;
    return (int)sent;
}
