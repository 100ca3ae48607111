/* SPDX-License-Identifier: Apache-2.0 */
/* open and its kin: of a FIFO, which waits for its other end, on a thread of the pool; of all else straight through. */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

static bool waits_to_open(int at, const char *path, int flags)
{
    struct stat st;
    int saved = errno;
    bool fifo = false;

    if ((flags & (O_NONBLOCK | O_PATH | O_DIRECTORY)) != 0 || (flags & O_ACCMODE) == O_RDWR || path == NULL)
        return false;
    fifo = fstatat(at, path, &st, 0) == 0 && S_ISFIFO(st.st_mode);
    errno = saved;
    return fifo;
}

typedef struct {
    const char *path;
    mode_t mode;
    int at, flags, answer;
} job;

static void open_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(openat)(j->at, j->path, j->flags, j->mode);
}

/* Whether this is a case for a thread; *ret_answer is set if so. */
static bool opened_there(int at, const char *path, int flags, mode_t mode, int *ret_answer)
{
    job j = { .path = path, .mode = mode, .at = at, .flags = flags };

    if (!fj__green(FJ_PATCH_PROCESS) || !waits_to_open(at, path, flags))
        return false;
    *ret_answer = fj__green_offload_long(open_there, &j) ? j.answer : -1;
    return true;
}

FJ__HOOK int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    int fd = -1;

    FJ__MODE(mode, flags);
    return opened_there(AT_FDCWD, path, flags, mode, &fd) ? fd : REAL(open)(path, flags, mode);
}

FJ__HOOK int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    int fd = -1;

    FJ__MODE(mode, flags);
    return opened_there(AT_FDCWD, path, flags, mode, &fd) ? fd : REAL(open64)(path, flags, mode);
}

FJ__HOOK int openat(int at, const char *path, int flags, ...)
{
    mode_t mode = 0;
    int fd = -1;

    FJ__MODE(mode, flags);
    return opened_there(at, path, flags, mode, &fd) ? fd : REAL(openat)(at, path, flags, mode);
}

FJ__HOOK int openat64(int at, const char *path, int flags, ...)
{
    mode_t mode = 0;
    int fd = -1;

    FJ__MODE(mode, flags);
    return opened_there(at, path, flags, mode, &fd) ? fd : REAL(openat64)(at, path, flags, mode);
}

FJ__HOOK int creat(const char *path, mode_t mode)
{
    int fd = -1;

    return opened_there(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode, &fd) ? fd : REAL(creat)(path, mode);
}

FJ__HOOK int creat64(const char *path, mode_t mode)
{
    int fd = -1;

    return opened_there(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode, &fd) ? fd
                                                                                 : REAL(creat64)(path, mode);
}

/* The fortified, which end the program if a mode is missing: they see to that themselves. */

FJ__HOOK int __open_2(const char *path, int flags)
{
    int fd = -1;

    return opened_there(AT_FDCWD, path, flags, 0, &fd) ? fd : REAL(__open_2)(path, flags);
}

FJ__HOOK int __open64_2(const char *path, int flags)
{
    int fd = -1;

    return opened_there(AT_FDCWD, path, flags, 0, &fd) ? fd : REAL(__open64_2)(path, flags);
}

FJ__HOOK int __openat_2(int at, const char *path, int flags)
{
    int fd = -1;

    return opened_there(at, path, flags, 0, &fd) ? fd : REAL(__openat_2)(at, path, flags);
}

FJ__HOOK int __openat64_2(int at, const char *path, int flags)
{
    int fd = -1;

    return opened_there(at, path, flags, 0, &fd) ? fd : REAL(__openat64_2)(at, path, flags);
}
