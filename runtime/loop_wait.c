/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each wait has its watchers on the stack of the task.  They also stand in lines by the number of the descriptor, one set of lines
 * for all loops, so that whoever closes a descriptor finds those who wait for it, whatever loop they are on; an empty line
 * is seen without its lock.
 */
#include "runtime/loop_wait.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/loop_impl.h"
#include "runtime/task.h"
#include "runtime/waiter.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LINES = 256,
    FEW = 16, /* so many watchers fit on a stack */
};

struct wait {
    fj__waiter waiter;
    fj_loop *loop;
};

struct watch {
    ev_io io; /* of `fd`, or of `between` */
    struct wait *wait;
    struct watch *next, *prev;
    int fd;      /* negative: nothing is watched */
    int between; /* an epoll descriptor, for events that libev does not know; else negative */
    int ready;   /* libev's bits */
    bool closed; /* under the line's lock */
};

static struct line {
    _Alignas(64) pthread_mutex_t lock;
    _Atomic(struct watch *) first;
} lines[LINES] = { [0 ... LINES - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic(pid_t) process; /* whose tasks wait here */

/* Who waited was another process's task. */
static void in_child(void)
{
    atomic_store_explicit(&process, getpid(), memory_order_relaxed);
    for (size_t i = 0; i < LINES; i++) {
        (void)pthread_mutex_init(&lines[i].lock, NULL);
        atomic_store(&lines[i].first, NULL);
    }
}

static void watch_forks(void)
{
    atomic_store_explicit(&process, getpid(), memory_order_relaxed);
    (void)pthread_atfork(NULL, NULL, in_child);
}

static struct line *lock_line(int fd)
{
    struct line *line = &lines[(unsigned)fd % LINES];

    (void)fj__native.pthread_mutex_lock(&line->lock);
    return line;
}

static void unlock_line(struct line *line)
{
    (void)fj__native.pthread_mutex_unlock(&line->lock);
}

static void stand_in_line(struct watch *w)
{
    struct line *line = lock_line(w->fd);
    struct watch *first = atomic_load_explicit(&line->first, memory_order_relaxed);

    w->next = first;
    w->prev = NULL;
    if (first != NULL)
        first->prev = w;
    atomic_store_explicit(&line->first, w, memory_order_release);
    unlock_line(line);
}

static void leave_line(struct watch *w)
{
    struct line *line = lock_line(w->fd);

    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        atomic_store_explicit(&line->first, w->next, memory_order_release);
    if (w->next != NULL)
        w->next->prev = w->prev;
    unlock_line(line);
}

/* The lines of a range of descriptors: one each, until all lines are reached. */
static size_t lines_of(unsigned first, unsigned last)
{
    if (last < first)
        return 0;
    return last - first >= LINES ? LINES : (size_t)(last - first) + 1;
}

static bool is_empty(const struct line *line)
{
    return atomic_load_explicit(&line->first, memory_order_acquire) == NULL;
}

/* Between vfork and exec a child runs in its parent's memory: what it closes is its own. */
static bool is_ours(void)
{
    return getpid() == atomic_load_explicit(&process, memory_order_relaxed);
}

static void close_in_line(struct line *line, unsigned first, unsigned last)
{
    (void)fj__native.pthread_mutex_lock(&line->lock);
    struct watch *w = atomic_load_explicit(&line->first, memory_order_relaxed);
    for (; w != NULL; w = w->next) {
        if ((unsigned)w->fd < first || (unsigned)w->fd > last)
            continue;
        if (!is_ours())
            break;
        w->closed = true;
        if (w->wait->loop == fj_loop_running()) /* other loops stop when they hear of it */
            fj__io_stop(w->wait->loop, &w->io);
        fj__waiter_wake(&w->wait->waiter);
    }
    unlock_line(line);
}

void fj__wait_closing(unsigned first, unsigned last)
{
    size_t n = lines_of(first, last);

    for (size_t i = 0; i < n; i++) {
        struct line *line = &lines[(first + i) % LINES];
        if (!is_empty(line))
            close_in_line(line, first, last);
    }
}

bool fj__wait_watched(unsigned first, unsigned last)
{
    size_t n = lines_of(first, last);

    for (size_t i = 0; i < n; i++) {
        if (!is_empty(&lines[(first + i) % LINES]))
            return true;
    }
    return false;
}

/* ---- one wait ----------------------------------------------------------------------------------- */

static void on_ready(struct ev_loop *ev, ev_io *io, int events)
{
    struct watch *w = fj__container(io, struct watch, io);

    (void)ev;
    fj__io_stop(w->wait->loop, io);
    w->ready |= events;
    w->wait->loop->called = true;
    fj__waiter_wake(&w->wait->waiter);
}

static struct watch watch_of(struct wait *wait, int fd, int events)
{
    struct watch w = { .wait = wait, .fd = fd, .between = -1 };

    ev_io_init(&w.io, on_ready, fd, events);
    return w;
}

static fj_code wait_init(struct wait *wait)
{
    (void)pthread_once(&once, watch_forks);
    wait->loop = fj_task_loop(fj_task_current());
    return fj__waiter_init(&wait->waiter, "descriptor");
}

static fj_code wait_for(struct wait *wait, struct watch *watches, size_t n, fj_deadline by)
{
    for (size_t i = 0; i < n; i++) {
        if (watches[i].fd >= 0) {
            stand_in_line(&watches[i]);
            fj__io_start(wait->loop, &watches[i].io);
            wait->loop->watched++;
        }
    }
    fj_code code = fj__waiter_wait(&wait->waiter, by);
    for (size_t i = 0; i < n; i++) {
        if (watches[i].fd >= 0) {
            fj__io_stop(wait->loop, &watches[i].io);
            wait->loop->watched--;
            leave_line(&watches[i]);
        }
    }
    return code;
}

int fj__wait_errno(fj_code code)
{
    switch (code) {
    case FJ_OK:
        return 0;
    case FJ_TIMEOUT:
        return ETIMEDOUT;
    case FJ_CANCELLED:
        return ECANCELED;
    default:
        return EDEADLK;
    }
}

/* @return 0 at the wait's own deadline, else -1 */
static int not_ready(fj_code code)
{
    if (code == FJ_TIMEOUT && !fj__task_outer())
        return 0;
    errno = fj__wait_errno(code);
    return -1;
}

int fj__wait_fd(int fd, short events, fj_deadline by)
{
    struct wait wait;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -1;
    /* What is always ready libev would take for ready at every turn; some kernels call files what can be waited for
     * (children's descriptors). */
    if ((S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
        fj__native.poll(&(struct pollfd){ .fd = fd, .events = events }, 1, 0) != 0) {
        errno = EPERM;
        return -1;
    }
    fj_code code = wait_init(&wait);
    if (code != FJ_OK)
        return not_ready(code);
    struct watch w = watch_of(&wait, fd, (events & POLLIN ? EV_READ : 0) | (events & POLLOUT ? EV_WRITE : 0));
    code = wait_for(&wait, &w, 1, by);
    if (w.closed || (w.ready & EV_ERROR) != 0) {
        errno = EBADF;
        return -1;
    }
    if (w.ready != 0)
        return (w.ready & EV_READ ? POLLIN : 0) | (w.ready & EV_WRITE ? POLLOUT : 0);
    return not_ready(code);
}

/* ---- poll(2) ------------------------------------------------------------------------------------ */

/* Others than "readable" and "writable" libev cannot tell: an epoll descriptor can, and is readable when it has something. */
static int watch_odd(struct watch *w, struct wait *wait, const struct pollfd *p)
{
    struct epoll_event e = { .events = (uint32_t)(unsigned short)p->events }; /* the bits are poll's */
    int between = epoll_create1(EPOLL_CLOEXEC);

    if (between < 0)
        return -1;
    if (epoll_ctl(between, EPOLL_CTL_ADD, p->fd, &e) != 0) {
        int saved = errno;
        (void)fj__native.close(between);
        errno = saved;
        return saved == EPERM ? 0 : -1; /* a file, which has no such events */
    }
    *w = watch_of(wait, between, EV_READ);
    w->fd = p->fd;
    w->between = between;
    return 0;
}

static int set_watch(struct watch *w, struct wait *wait, const struct pollfd *p)
{
    int events =
        (p->events & (POLLIN | POLLRDNORM) ? EV_READ : 0) | (p->events & (POLLOUT | POLLWRNORM) ? EV_WRITE : 0);
    bool odd = events == 0 || (p->events & (POLLPRI | POLLRDBAND | POLLWRBAND)) != 0 ||
               ((p->events & POLLRDHUP) != 0 && (events & EV_READ) == 0);

    *w = (struct watch){ .fd = -1, .between = -1 };
    if (p->fd < 0)
        return 0;
    if (odd)
        return watch_odd(w, wait, p);
    *w = watch_of(wait, p->fd, events);
    return 0;
}

/* What is ready by now; a descriptor that is being closed is not one any more. */
static int look(struct pollfd *fds, nfds_t n, const struct watch *watches)
{
    int ready = fj__native.poll(fds, n, 0);

    for (nfds_t i = 0; i < n && ready >= 0; i++) {
        if (watches[i].closed) {
            ready += fds[i].revents == 0;
            fds[i].revents = POLLNVAL;
        }
    }
    return ready;
}

static int wait_once(struct pollfd *fds, nfds_t n, struct watch *watches, fj_deadline by, bool *again)
{
    struct wait wait;
    fj_code code = wait_init(&wait);
    int ready = 0;

    *again = false;
    if (code != FJ_OK)
        return not_ready(code);
    for (nfds_t made = 0; made < n && ready == 0; made++)
        ready = set_watch(&watches[made], &wait, &fds[made]);
    if (ready == 0) {
        code = wait_for(&wait, watches, n, by);
        ready = look(fds, n, watches);
        *again = ready == 0 && code == FJ_OK; /* somebody else was faster to take what came */
        if (ready == 0 && !*again)
            ready = not_ready(code);
    }
    int saved = errno;
    for (nfds_t i = 0; i < n; i++) {
        if (watches[i].between >= 0)
            (void)fj__native.close(watches[i].between);
    }
    errno = saved;
    return ready;
}

int fj__wait_fds(struct pollfd *fds, nfds_t n, fj_deadline by)
{
    struct watch few[FEW];
    struct watch *watches = few;
    bool again = true;
    int ready = fj__native.poll(fds, n, 0);

    if (ready != 0 || fj_passed(by))
        return ready;
    if (n > FEW)
        watches = fj__alloc(n * sizeof *watches);
    if (watches == NULL) {
        errno = ENOMEM;
        return -1;
    }
    while (again) {
        for (nfds_t i = 0; i < n; i++)
            watches[i] = (struct watch){ .fd = -1, .between = -1 };
        ready = wait_once(fds, n, watches, by, &again);
    }
    if (watches != few) {
        int saved = errno;
        fj__free(watches);
        errno = saved;
    }
    return ready;
}
