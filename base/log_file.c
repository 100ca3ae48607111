/* SPDX-License-Identifier: Apache-2.0 */
/* Files and what is named like one, and standard error. */
#include "base/log_sink.h"

#include "base/native.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- files ------------------------------------------------------------------------------------- */

/* Whether the name means another file than the one that is open, for somebody has renamed or removed it. */
static bool moved(fj__log_sink *s)
{
    struct stat named, here;

    if (fstat(fj__log_sink_fd(s), &here) != 0)
        return true;
    if (stat(fj__log_sink_path(s), &named) != 0)
        return errno == ENOENT;
    return named.st_dev != here.st_dev || named.st_ino != here.st_ino;
}

/* A file is kept when it cannot be opened anew: better there than nowhere.  Not blocking: a pipe without a reader is an error then. */
static bool open_file(fj__log_sink *s, size_t *done)
{
    bool there = fj__log_sink_fd(s) >= 0;

    if (!fj__log_sink_wants_reopen(s) && there && !moved(s))
        return true;
    int fd =
        open(fj__log_sink_path(s), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
    if (fd < 0)
        return there;
    fj__log_sink_set_fd(s, fd);
    *done = 0; /* a line is whole in one of the files */
    return true;
}

static fj__log_result write_file(fj__log_sink *s, char *bytes, size_t n, size_t *done)
{
    if (!open_file(s, done))
        return FJ__LOG_DOWN;
    while (*done < n) {
        ssize_t wrote = fj__native.write(fj__log_sink_fd(s), bytes + *done, n - *done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return errno == EAGAIN ? FJ__LOG_FULL : FJ__LOG_DOWN;
        *done += (size_t)wrote;
    }
    return FJ__LOG_WROTE;
}

const fj__log_place fj__log_file = { write_file };

/* ---- standard error ---------------------------------------------------------------------------- */

/* It is other programs' as well, so that it cannot be made non-blocking. */
static bool writable(void)
{
    struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };

    return fj__native.poll(&fd, 1, 0) != 0;
}

/* Where poll() says that there is room, there is for so much. */
static fj__log_result write_stderr(fj__log_sink *s, char *bytes, size_t n, size_t *done)
{
    fj__log_sink_set_fd(s, STDERR_FILENO);
    while (*done < n) {
        if (!writable())
            return FJ__LOG_FULL;
        size_t some = n - *done < PIPE_BUF ? n - *done : PIPE_BUF;
        ssize_t wrote = fj__native.write(STDERR_FILENO, bytes + *done, some);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN)
            return FJ__LOG_FULL;
        if (wrote < 0)
            return errno == ENOSPC ? FJ__LOG_DOWN
                                   : FJ__LOG_WROTE; /* closed, or its reader gone: that does not mend */
        *done += (size_t)wrote;
    }
    return FJ__LOG_WROTE;
}

const fj__log_place fj__log_stderr = { write_stderr };

static ssize_t write_at_once(const char *bytes, size_t n)
{
    struct iovec all = { .iov_base = (char *)(uintptr_t)bytes, .iov_len = n };
    ssize_t wrote = pwritev2(STDERR_FILENO, &all, 1, -1, RWF_NOWAIT);

    if (wrote >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
        return wrote;
    if (writable())
        return fj__native.write(STDERR_FILENO, bytes, n);
    errno = EAGAIN;
    return -1;
}

bool fj__log_stderr_try(const char *bytes, size_t n)
{
    sigset_t pipe, before, pending;
    bool was_pending;

    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, &before);
    was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    ssize_t wrote = write_at_once(bytes, n);
    int error = errno;
    if (wrote < 0 && error == EPIPE && !was_pending)
        (void)sigtimedwait(&pipe, NULL, &(struct timespec){ 0 });
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return wrote >= 0 ? (size_t)wrote == n : error != EAGAIN && error != EINTR && error != ENOSPC;
}
