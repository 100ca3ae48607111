/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator that, like some, locks, and calls read, open and close for its memory's sake: preloaded with the hooks it
 * is what calls them first, and what their look-ups call in turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static unsigned char room[1 << 24];
static size_t used; /* under the lock */
static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

static size_t advance(size_t n)
{
    size_t at = sizeof room;

    if (pthread_mutex_lock(&lock) == 0) {
        at = used;
        used += n;
        if (pthread_mutex_unlock(&lock) != 0)
            at = sizeof room;
    }
    return at;
}

static void *take(size_t n)
{
    size_t at = advance((n + 31) & ~(size_t)15);
    int saved = errno, fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    if (at + n + 16 > sizeof room || fd < 0 || read(fd, room + at, 16) != 16 || close(fd) != 0)
        return NULL;
    errno = saved;
    memcpy(room + at, &n, sizeof n);
    return room + at + 16;
}

void *malloc(size_t n)
{
    return take(n);
}

void *calloc(size_t n, size_t size)
{
    return n != 0 && size > SIZE_MAX / n ? NULL : take(n * size); /* never given twice, so still zero */
}

void *realloc(void *old, size_t n)
{
    size_t before = 0;
    void *p = take(n);

    if (p != NULL && old != NULL) {
        memcpy(&before, (char *)old - 16, sizeof before);
        memcpy(p, old, before < n ? before : n);
    }
    return p;
}

void free(void *p)
{
    (void)p;
}
