/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for a disk, or a line, to have taken what it was given: on a thread of the pool. */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <termios.h>

typedef struct {
    int (*call)(int fd);
    void *memory;
    size_t n;
    off64_t from, to;
    int fd, answer;
    unsigned flags;
} job;

static void call_there(void *arg)
{
    job *j = arg;

    j->answer = j->call(j->fd);
}

static int there(void (*fn)(void *arg), job j)
{
    return fj__green_offload(fn, &j) ? j.answer : -1;
}

FJ__HOOK int fsync(int fd)
{
    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(fsync)(fd);
    return there(call_there, (job){ .call = REAL(fsync), .fd = fd });
}

FJ__HOOK int fdatasync(int fd)
{
    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(fdatasync)(fd);
    return there(call_there, (job){ .call = REAL(fdatasync), .fd = fd });
}

FJ__HOOK int syncfs(int fd)
{
    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(syncfs)(fd);
    return there(call_there, (job){ .call = REAL(syncfs), .fd = fd });
}

static void drain_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(tcdrain)(j->fd);
}

FJ__HOOK int tcdrain(int fd)
{
    job j = { .fd = fd };

    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(tcdrain)(fd);
    return fj__green_offload_long(drain_there, &j) ? j.answer : -1;
}

static void msync_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(msync)(j->memory, j->n, (int)j->flags);
}

FJ__HOOK int msync(void *memory, size_t n, int flags)
{
    if (!fj__green(FJ_PATCH_PROCESS) || (flags & MS_SYNC) == 0)
        return REAL(msync)(memory, n, flags);
    return there(msync_there, (job){ .memory = memory, .n = n, .flags = (unsigned)flags });
}

static void range_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(sync_file_range)(j->fd, j->from, j->to, j->flags);
}

FJ__HOOK int sync_file_range(int fd, off64_t from, off64_t to, unsigned flags)
{
    if (!fj__green(FJ_PATCH_PROCESS))
        return REAL(sync_file_range)(fd, from, to, flags);
    return there(range_there, (job){ .fd = fd, .from = from, .to = to, .flags = flags });
}

static void sync_there(void *unused)
{
    (void)unused;
    REAL(sync)();
}

FJ__HOOK void sync(void)
{
    if (!fj__green(FJ_PATCH_PROCESS) || !fj__green_offload(sync_there, NULL))
        REAL(sync)();
}
