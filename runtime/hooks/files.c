/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of files, and fsync: tried at once where that can be, else on a thread of the pool. */
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

static int there(void (*fn)(void *arg), job *j)
{
    return fj__green_offload(fn, j) ? j->answer : -1;
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
        r = there(fcntl_there, &j);
    return (int)fj__green_done(r, saved);
}

static bool waits(int what)
{
    return what == F_SETLKW || what == F_OFD_SETLKW;
}

FJ__HOOK int fcntl(int fd, int what, ...)
{
    va_list more;
    void *arg = NULL;

    va_start(more, what);
    arg = va_arg(more, void *);
    va_end(more);
    if (!fj__green(FJ_PATCH_PROCESS) || !waits(what))
        return REAL(fcntl)(fd, what, arg);
    return green_lock(REAL(fcntl), fd, what, arg);
}

FJ__HOOK int fcntl64(int fd, int what, ...)
{
    va_list more;
    void *arg = NULL;

    va_start(more, what);
    arg = va_arg(more, void *);
    va_end(more);
    if (!fj__green(FJ_PATCH_PROCESS) || !waits(what))
        return REAL(fcntl64)(fd, what, arg);
    return green_lock(REAL(fcntl64), fd, what, arg);
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
        r = there(lockf_there, &j);
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
        r = there(flock_there, &j);
    return (int)fj__green_done(r, saved);
}

/* ---- fsync ---- */

static void fsync_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(fsync)(j->fd);
}

static void fdatasync_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(fdatasync)(j->fd);
}

FJ__HOOK int fsync(int fd)
{
    job j = { .fd = fd };

    return fj__green(FJ_PATCH_PROCESS) ? there(fsync_there, &j) : REAL(fsync)(fd);
}

FJ__HOOK int fdatasync(int fd)
{
    job j = { .fd = fd };

    return fj__green(FJ_PATCH_PROCESS) ? there(fdatasync_there, &j) : REAL(fdatasync)(fd);
}
