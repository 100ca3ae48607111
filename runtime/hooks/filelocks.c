/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of files: tried at once, and waited for on a thread. */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>

/* One of several calls of the same shape. */
typedef struct {
    int (*call)(int fd, int what, ...);
    int fd, what;
    void *arg;
    off64_t n;
    int answer;
} job;

static bool is_taken(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EACCES;
}

/* For a lock one waits until another gives it up. */
static int lock_there(void (*fn)(void *arg), job *j)
{
    return fj__green_offload_long(fn, j) ? j->answer : -1;
}

/* ---- fcntl ---- */

static void fcntl_there(void *arg)
{
    job *j = arg;

    j->answer = j->call(j->fd, j->what, j->arg);
}

static int green_lock(int (*call)(int, int, ...), int fd, int what, void *arg)
{
    job j = { .call = call, .fd = fd, .what = what, .arg = arg };
    int saved = errno, r = 0;

    if (!fj__green_breath())
        return -1;
    r = call(fd, what == F_OFD_SETLKW ? F_OFD_SETLK : F_SETLK, arg);
    if (r < 0 && is_taken())
        r = lock_there(fcntl_there, &j);
    return (int)fj__green_done(r, saved);
}

static inline int any_fcntl(int (*call)(int, int, ...), int fd, int what, void *arg)
{
    switch (what) {
    case F_SETLKW:
    case F_OFD_SETLKW:
        return fj__green(FJ_PATCH_PROCESS) ? green_lock(call, fd, what, arg) : call(fd, what, arg);
    case F_GETFL:
        return fj__green_get_flags(call, fd);
    case F_SETFL:
        return fj__green_set_flags(call, fd, arg);
    default:
        return call(fd, what, arg);
    }
}

FJ__HOOK int fcntl(int fd, int what, ...)
{
    va_list more;
    void *arg = NULL;

    va_start(more, what);
    arg = va_arg(more, void *);
    va_end(more);
    return any_fcntl(REAL(fcntl), fd, what, arg);
}

FJ__HOOK int fcntl64(int fd, int what, ...)
{
    va_list more;
    void *arg = NULL;

    va_start(more, what);
    arg = va_arg(more, void *);
    va_end(more);
    return any_fcntl(REAL(fcntl64), fd, what, arg);
}

/* ---- lockf ---- */

static void lockf_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(lockf64)(j->fd, j->what, j->n);
}

static int green_lockf(int fd, off64_t n)
{
    job j = { .fd = fd, .what = F_LOCK, .n = n };
    int saved = errno, r = 0;

    if (!fj__green_breath())
        return -1;
    r = REAL(lockf64)(fd, F_TLOCK, n);
    if (r < 0 && is_taken())
        r = lock_there(lockf_there, &j);
    return (int)fj__green_done(r, saved);
}

FJ__HOOK int lockf(int fd, int what, off_t n)
{
    return fj__green(FJ_PATCH_PROCESS) && what == F_LOCK ? green_lockf(fd, n) : REAL(lockf)(fd, what, n);
}

FJ__HOOK int lockf64(int fd, int what, off64_t n)
{
    return fj__green(FJ_PATCH_PROCESS) && what == F_LOCK ? green_lockf(fd, n) : REAL(lockf64)(fd, what, n);
}

/* ---- flock ---- */

static void flock_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(flock)(j->fd, j->what);
}

FJ__HOOK int flock(int fd, int what)
{
    job j = { .fd = fd, .what = what };
    int saved = errno, r = 0;

    if (!fj__green(FJ_PATCH_PROCESS) || (what & (LOCK_NB | LOCK_UN)) != 0)
        return REAL(flock)(fd, what);
    if (!fj__green_breath())
        return -1;
    r = REAL(flock)(fd, what | LOCK_NB);
    if (r < 0 && is_taken())
        r = lock_there(flock_there, &j);
    return (int)fj__green_done(r, saved);
}
