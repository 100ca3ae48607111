/* SPDX-License-Identifier: Apache-2.0 */
/* syslog and journald: a datagram a line, to a socket of this machine.  libc's syslog() would be of no use: it may block. */
#include "base/log_sink.h"

#include "base/native.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

/* The least that a datagram is cut to where the socket takes no more: those who listen take at least 1 KiB. */
enum { LEAST = 1024 };

static bool open_socket(fj__log_sink *s)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    const char *path = fj__log_sink_path(s);

    if (strlen(path) >= sizeof to.sun_path)
        return false;
    memcpy(to.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (fj__native.connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        (void)fj__native.close(fd);
        return false;
    }
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

/* The other end may have been started again since the last line: then there is another socket of that name. */
static fj__log_result write_socket(fj__log_sink *s, char *bytes, size_t n)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (fj__log_sink_fd(s) < 0 && !open_socket(s))
            return FJ__LOG_DOWN;
        if (send_cut(s, bytes, n) >= 0)
            return FJ__LOG_WROTE;
        if (errno == EAGAIN)
            return FJ__LOG_FULL;
        fj__log_sink_set_fd(s, -1);
    }
    return FJ__LOG_DOWN;
}

static fj__log_result write_journal(fj__log_sink *s, char *bytes, size_t n, size_t *done)
{
    (void)done;
    return n != 0 ? write_socket(s, bytes, n) : FJ__LOG_WROTE;
}

/* A datagram needs no newline at its end. */
static fj__log_result write_syslog(fj__log_sink *s, char *bytes, size_t n, size_t *done)
{
    (void)done;
    return n != 0 ? write_socket(s, bytes, n - 1) : FJ__LOG_WROTE;
}

const fj__log_place fj__log_journal = { write_journal };
const fj__log_place fj__log_syslog = { write_syslog };
