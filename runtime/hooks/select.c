/* SPDX-License-Identifier: Apache-2.0 */
/* select and pselect, as a poll of the descriptors in the sets. */
#include "runtime/hooks/hooks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* More than this, and the list comes from the heap: the stack of a task is small. */
#define FEW 32

typedef struct {
    fd_set *read, *write, *except;
} sets;

/* Sets may be longer than fd_set says: programs allocate larger ones. */
#define BITS (8 * sizeof(unsigned long))

static bool has(const fd_set *set, int fd)
{
    const unsigned long *words = (const unsigned long *)set;

    return set != NULL && (words[(size_t)fd / BITS] >> ((size_t)fd % BITS) & 1) != 0;
}

static void clear(fd_set *set, int n)
{
    if (set != NULL)
        memset(set, 0, ((size_t)n + BITS - 1) / BITS * sizeof(unsigned long));
}

static void add(fd_set *set, int fd)
{
    ((unsigned long *)set)[(size_t)fd / BITS] |= 1UL << ((size_t)fd % BITS);
}

static short wanted(const sets *s, int fd)
{
    return (short)((has(s->read, fd) ? POLLIN : 0) | (has(s->write, fd) ? POLLOUT : 0) |
                   (has(s->except, fd) ? POLLPRI : 0));
}

static nfds_t count(const sets *s, int n)
{
    nfds_t found = 0;

    for (int fd = 0; fd < n; fd++)
        found += wanted(s, fd) != 0;
    return found;
}

/* The events of select are in poll's words: a hang-up is something to read, an error is both. */
static int tell(const sets *s, int n, const struct pollfd *fds, nfds_t nfds)
{
    int told = 0;

    for (nfds_t i = 0; i < nfds; i++)
        if ((fds[i].revents & POLLNVAL) != 0) {
            errno = EBADF;
            return -1;
        }
    clear(s->read, n);
    clear(s->write, n);
    clear(s->except, n);
    for (nfds_t i = 0; i < nfds; i++) {
        short is = fds[i].revents, was = fds[i].events;

        if ((was & POLLIN) != 0 && (is & (POLLIN | POLLHUP | POLLERR)) != 0) {
            add(s->read, fds[i].fd);
            told++;
        }
        if ((was & POLLOUT) != 0 && (is & (POLLOUT | POLLERR)) != 0) {
            add(s->write, fds[i].fd);
            told++;
        }
        if ((was & POLLPRI) != 0 && (is & POLLPRI) != 0) {
            add(s->except, fds[i].fd);
            told++;
        }
    }
    return told;
}

/* A descriptor may be ready in a way that select does not count (a hang-up of one only written to): wait on for the rest,
 * as the kernel does. */
static int wait_for(const sets *s, int n, struct pollfd *fds, nfds_t nfds, int64_t by)
{
    for (;;) {
        int r = fj__green_poll(fds, nfds, by);

        if (r < 0)
            return -1;
        if (r == 0)
            return tell(s, n, fds, nfds);
        for (nfds_t i = 0; i < nfds; i++)
            if (fds[i].revents != 0 && (fds[i].revents & (fds[i].events | POLLERR | POLLNVAL)) == 0 &&
                ((fds[i].events & POLLIN) == 0 || (fds[i].revents & POLLHUP) == 0)) {
                fds[i].fd = -1 - fds[i].fd;
                r--;
            }
        if (r > 0)
            return tell(s, n, fds, nfds);
    }
}

/* Programs ask for as many as they might open, with sets of fewer: the kernel looks at what there is room for in its table.
 * @return how many to look at */
static int within_table(int n)
{
    char text[2048], *line = NULL;
    int fd = -1, size = n;
    ssize_t got = 0;

    if (n <= FD_SETSIZE)
        return n;
    fd = REAL(open)("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return n;
    got = REAL(read)(fd, text, sizeof text - 1);
    REAL(close)(fd);
    text[got > 0 ? got : 0] = '\0';
    line = strstr(text, "FDSize:");
    if (line != NULL)
        size = (int)strtol(line + 7, NULL, 10);
    return size > 0 && size < n ? size : n;
}

static int green_select(const sets *s, int n, int64_t by)
{
    struct pollfd few[FEW], *fds = few;
    nfds_t nfds = 0, at = 0;
    int r = -1;

    n = within_table(n);
    nfds = count(s, n);
    if (nfds > FEW)
        fds = calloc(nfds, sizeof *fds);
    if (fds == NULL)
        return -1;
    for (int fd = 0; fd < n; fd++) {
        short events = wanted(s, fd);

        if (events != 0)
            fds[at++] = (struct pollfd){ .fd = fd, .events = events };
    }
    r = wait_for(s, n, fds, nfds, by);
    if (fds != few) {
        int error = errno;

        free(fds);
        errno = error;
    }
    return r;
}

/* Linux tells select's caller what is left of its time. */
static void tell_left(struct timeval *t, int64_t by)
{
    int64_t left = by - fj__green_now();

    if (left < 0)
        left = 0;
    if (t != NULL && by != FJ__NEVER)
        *t = (struct timeval){ .tv_sec = left / 1000000000, .tv_usec = left % 1000000000 / 1000 };
}

FJ__HOOK int select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t)
{
    struct timespec ts = { 0 };
    int64_t by = FJ__NEVER;
    int answer = 0;

    if (!fj__green(FJ_PATCH_SELECT) || n < 0 || (t != NULL && t->tv_usec < 0))
        return REAL(select)(n, r, w, e, t);
    if (t != NULL) { /* more than a second of microseconds is allowed here */
        time_t whole = t->tv_usec / 1000000;

        ts.tv_sec = t->tv_sec > INT64_MAX - whole ? INT64_MAX : t->tv_sec + whole;
        ts.tv_nsec = t->tv_usec % 1000000 * 1000;
    }
    if (t != NULL && !fj__green_waits_for(&ts))
        return REAL(select)(n, r, w, e, t);
    by = fj__green_in(t == NULL ? NULL : &ts);
    answer = green_select(&(sets){ r, w, e }, n, by);
    tell_left(t, by);
    return answer;
}

typedef struct {
    sets sets;
    int n;
    const struct timespec *t;
    const sigset_t *mask;
    int answer;
} job;

static void pselect_there(void *arg)
{
    job *j = arg;

    j->answer = REAL(pselect)(j->n, j->sets.read, j->sets.write, j->sets.except, j->t, j->mask);
}

FJ__HOOK int pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *t, const sigset_t *mask)
{
    if (!fj__green(FJ_PATCH_SELECT) || n < 0 || !fj__green_waits_for(t))
        return REAL(pselect)(n, r, w, e, t, mask);
    if (fj__green_other_mask(mask)) {
        job j = { .sets = { r, w, e }, .n = n, .t = t, .mask = mask };

        return fj__green_offload_long(pselect_there, &j) ? j.answer : -1;
    }
    return green_select(&(sets){ r, w, e }, n, fj__green_in(t));
}
