/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_NONBLOCK is set on a description for the moment of a call that has no other way not to wait.  Whoever asks for the flags
 * in that moment must not see it, for they might set what they saw; and what they set must not be undone by our putting back.
 */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ioctl.h>

/* Odd within a moment. */
static unsigned moments;
/* Somebody wants more than a byte at a time from a socket. */
static bool marked;
/* This thread's moment: a signal's handler that comes in it must not wait for its end. */
static FJ__THREAD volatile bool mine;

int fj__green_unblock(int fd)
{
    int flags = 0;

    mine = true;
    fj__green_lock_flags();
    flags = REAL(fcntl)(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
        __atomic_fetch_add(&moments, 1, __ATOMIC_SEQ_CST);
        if (REAL(fcntl)(fd, F_SETFL, flags | O_NONBLOCK) == 0)
            return flags;
        __atomic_fetch_add(&moments, 1, __ATOMIC_SEQ_CST);
    }
    fj__green_unlock_flags();
    mine = false;
    return -1;
}

void fj__green_block(int fd, int flags)
{
    int error = errno;

    if (flags < 0)
        return;
    (void)REAL(fcntl)(fd, F_SETFL, flags);
    __atomic_fetch_add(&moments, 1, __ATOMIC_SEQ_CST);
    fj__green_unlock_flags();
    mine = false;
    errno = error;
}

/* Asked again if a moment began, went on or ended meanwhile. */
int fj__green_get_flags(int (*call)(int, int, ...), int fd)
{
    for (;;) {
        unsigned before = __atomic_load_n(&moments, __ATOMIC_SEQ_CST);
        int flags = call(fd, F_GETFL);

        if (mine || ((before & 1) == 0 && __atomic_load_n(&moments, __ATOMIC_SEQ_CST) == before))
            return flags;
        sched_yield();
    }
}

int fj__green_set_flags(int (*call)(int, int, ...), int fd, void *flags)
{
    int r = 0, error = 0;

    if (mine || fj__green_rt() == NULL)
        return call(fd, F_SETFL, flags);
    mine = true;
    fj__green_lock_flags();
    r = call(fd, F_SETFL, flags);
    error = errno;
    fj__green_unlock_flags();
    mine = false;
    errno = error;
    return r;
}

bool fj__green_nonblocking(int fd)
{
    int flags = fj__green_get_flags(REAL(fcntl), fd);

    return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

FJ__HOOK int ioctl(int fd, unsigned long what, ...)
{
    va_list more;
    void *arg = NULL;
    int r = 0, error = 0;

    va_start(more, what);
    arg = va_arg(more, void *);
    va_end(more);
    if (what != FIONBIO || mine || fj__green_rt() == NULL)
        return REAL(ioctl)(fd, what, arg);
    mine = true;
    fj__green_lock_flags();
    r = REAL(ioctl)(fd, what, arg);
    error = errno;
    fj__green_unlock_flags();
    mine = false;
    errno = error;
    return r;
}

FJ__HOOK int setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
    if (level == SOL_SOCKET && name == SO_RCVLOWAT)
        __atomic_store_n(&marked, true, __ATOMIC_RELAXED);
    return REAL(setsockopt)(fd, level, name, value, n);
}

bool fj__green_low_water(int fd)
{
    int mark = 0;
    socklen_t n = sizeof mark;

    return __atomic_load_n(&marked, __ATOMIC_RELAXED) &&
           getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, &n) == 0 && mark > 1;
}
