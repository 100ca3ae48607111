/* SPDX-License-Identifier: Apache-2.0 */
/* syslog and journald: a datagram a line (or, of a syslog that has one, a part of a stream), to a socket of this machine.  libc's syslog() would be of no use: it may block. */
#include "base/log_sink_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

/* The least that a datagram is cut to where the socket takes no more: those who listen take at least 1 KiB. */
enum { LEAST = 1024 };

/* @return -1, and errno, when it cannot be reached */
static int reach(const struct sockaddr_un *to, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (fj__native.connect(fd, (const struct sockaddr *)to, sizeof *to) == 0)
        return fd;
    int error = errno;
    (void)fj__native.close(fd);
    errno = error;
    return -1;
}

/* As syslog(3): of datagrams, else a stream, if that is what listens there. */
static bool open_socket(fj__log_sink *s)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    const char *path = fj__log_sink_path(s);

    if (strlen(path) >= sizeof to.sun_path)
        return false;
    memcpy(to.sun_path, path, strlen(path));
    int fd = reach(&to, SOCK_DGRAM);
    s->is_stream = fd < 0 && errno == EPROTOTYPE;
    if (s->is_stream)
        fd = reach(&to, SOCK_STREAM);
    if (fd < 0)
        return false;
    fj__log_sink_set_fd(s, fd);
    return true;
}

/* A line that is too long for the socket gets shorter; both protocols have its text last, and it has to end as it did. */
static ssize_t send_cut(fj__log_sink *s, char *bytes, size_t n)
{
    for (;;) {
        ssize_t sent = fj__native.send(fj__log_sink_fd(s), bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0 || (errno != EINTR && errno != EMSGSIZE))
            return sent;
        if (errno == EINTR)
            continue;
        if (n / 2 < LEAST)
            return 0; /* given up: it would stand in the way of all others */
        bytes[n / 2 - 1] = bytes[n - 1];
        n /= 2;
    }
}

/* Of a stream a part may be written.  @return -1, and errno, when not all of it is */
static ssize_t send_rest(fj__log_sink *s, const char *bytes, size_t n, size_t *done)
{
    while (*done < n) {
        ssize_t sent =
            fj__native.send(fj__log_sink_fd(s), bytes + *done, n - *done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return -1;
        *done += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

/* The other end may have been started again since the last line: then there is another socket of that name, and it gets the line whole.
 * @param tail  how much of the end only a stream needs */
static fj__log_result write_socket(fj__log_sink *s, char *bytes, size_t n, size_t tail, size_t *done)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (fj__log_sink_fd(s) < 0 && !open_socket(s))
            return FJ__LOG_DOWN;
        ssize_t sent = s->is_stream ? send_rest(s, bytes, n, done) : send_cut(s, bytes, n - tail);
        if (sent >= 0)
            return FJ__LOG_WROTE;
        if (errno == EAGAIN)
            return FJ__LOG_FULL;
        fj__log_sink_set_fd(s, -1);
        *done = 0;
    }
    return FJ__LOG_DOWN;
}

static fj__log_result write_journal(fj__log_sink *s, char *bytes, size_t n, size_t *done)
{
    return n != 0 ? write_socket(s, bytes, n, 0, done) : FJ__LOG_WROTE;
}

/* In a stream a NUL ends a line, as with syslog(3); a datagram needs nothing at its end. */
static fj__log_result write_syslog(fj__log_sink *s, char *bytes, size_t n, size_t *done)
{
    if (n == 0)
        return FJ__LOG_WROTE;
    bytes[n - 1] = '\0';
    return write_socket(s, bytes, n, 1, done);
}

const fj__log_place fj__log_journal = { write_journal };
const fj__log_place fj__log_syslog = { write_syslog };
