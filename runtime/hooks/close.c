/* SPDX-License-Identifier: Apache-2.0 */
/*
 * close and what else ends a descriptor: who waits for it in a green task is woken first.  On every thread, for it need
 * not be a task that closes it.
 */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <linux/close_range.h>

static bool watched(unsigned first, unsigned last)
{
    const fj__green_runtime *rt = fj__green_rt();

    return rt != NULL && first <= last && rt->watched(first, last);
}

/* A replacement that will fail closes nothing. */
static void replacing(int from, int to)
{
    if (from != to && to >= 0 && watched((unsigned)to, (unsigned)to) && REAL(fcntl)(from, F_GETFD) >= 0)
        fj__green_closing(to);
}

static void closing_range(unsigned first, unsigned last)
{
    if (watched(first, last))
        fj__green_rt()->closing(first, last);
}

FJ__HOOK int close(int fd)
{
    fj__green_closing(fd);
    return REAL(close)(fd);
}

FJ__HOOK int dup2(int from, int to)
{
    replacing(from, to);
    return REAL(dup2)(from, to);
}

FJ__HOOK int dup3(int from, int to, int flags)
{
    if ((flags & ~O_CLOEXEC) == 0)
        replacing(from, to);
    return REAL(dup3)(from, to, flags);
}

FJ__HOOK int close_range(unsigned first, unsigned last, int flags)
{
    if ((flags & ~(int)CLOSE_RANGE_UNSHARE) == 0)
        closing_range(first, last);
    return REAL(close_range)(first, last, flags);
}

FJ__HOOK void closefrom(int first)
{
    closing_range(first < 0 ? 0 : (unsigned)first, UINT32_MAX);
    REAL(closefrom)(first);
}

/* libc closes a stream's descriptor by its own names. */
void fj__green_closing_stream(FILE *file)
{
    int saved = errno;

    if (file != NULL && fj__green_rt() != NULL)
        fj__green_closing(fileno(file));
    errno = saved;
}

FJ__HOOK int fclose(FILE *file)
{
    fj__green_closing_stream(file);
    return REAL(fclose)(file);
}

FJ__HOOK FILE *freopen(const char *path, const char *mode, FILE *file)
{
    fj__green_closing_stream(file);
    return REAL(freopen)(path, mode, file);
}

FJ__HOOK FILE *freopen64(const char *path, const char *mode, FILE *file)
{
    fj__green_closing_stream(file);
    return REAL(freopen64)(path, mode, file);
}
