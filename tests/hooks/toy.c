/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/toy.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 32

static const fj__green_hooks_table *hooks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static toy_counts asked;
static unsigned suspended; /* times, of any kind */
static int knock = -1;     /* an eventfd that ends the wait, for one of two reasons: */
static bool cancelled, closed;
static int waited_for[MOST]; /* the descriptors of the wait that is going on */
static nfds_t waited_n;
static int no_threads;
static pid_t process;

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Leaves the task: its thread is not green meanwhile. */
static void leave(unsigned *counter, int64_t by, const struct pollfd *fds, nfds_t n)
{
    *hooks->on() = 0;
    pthread_mutex_lock(&lock);
    (*counter)++;
    suspended++;
    asked.by = by;
    closed = false;
    waited_n = 0;
    for (nfds_t i = 0; i < n; i++)
        waited_for[waited_n++] = fds[i].fd;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int come_back(int r, int error)
{
    pthread_mutex_lock(&lock);
    waited_n = 0;
    pthread_mutex_unlock(&lock);
    *hooks->on() = 1;
    errno = error;
    return r;
}

static int why_knocked(void)
{
    int error = ECANCELED;
    uint64_t n = 0;

    pthread_mutex_lock(&lock);
    if (!cancelled) {
        error = EBADF;
        ck_assert(closed);
        ck_assert_int_eq(hooks->native.read(knock, &n, sizeof n), sizeof n);
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int wait_any(struct pollfd *fds, nfds_t n, int64_t by)
{
    struct pollfd all[MOST + 1];
    int r = 0;

    ck_assert_uint_le(n, MOST);
    for (nfds_t i = 0; i < n; i++)
        all[i] = fds[i];
    all[n] = (struct pollfd){ .fd = knock, .events = POLLIN };
    do {
        int64_t left = by - now();

        r = hooks->native.poll(all, n + 1,
                               by == INT64_MAX ? -1
                               : left < 0      ? 0
                                               : (int)((left + 999999) / 1000000));
    } while (r == 0 && by > now());
    if (r > 0 && all[n].revents != 0)
        return come_back(-1, why_knocked());
    for (nfds_t i = 0; i < n; i++)
        fds[i] = all[i];
    return come_back(r, 0);
}

static int toy_wait_fd(int fd, short events, int64_t by)
{
    struct pollfd p = { .fd = fd, .events = events };
    int r = 0;

    leave(&asked.waits, by, &p, 1);
    r = wait_any(&p, 1, by);
    return r > 0 ? p.revents : r;
}

static int toy_wait_fds(struct pollfd *fds, nfds_t n, int64_t by)
{
    leave(&asked.poll_waits, by, fds, n);
    return wait_any(fds, n, by);
}

static int toy_sleep_until(int64_t by)
{
    leave(&asked.sleeps, by, NULL, 0);
    return wait_any(NULL, 0, by);
}

typedef struct {
    void (*fn)(void *arg);
    void *arg;
    int error;
} job;

static void *run_job(void *arg)
{
    job *j = arg;

    errno = 0;
    j->fn(j->arg);
    j->error = errno;
    return NULL;
}

static int toy_offload(void (*fn)(void *arg), void *arg, bool long_wait)
{
    job j = { .fn = fn, .arg = arg };
    sigset_t all, before;
    pthread_t thread;

    if (no_threads != 0) {
        errno = no_threads;
        return -1;
    }
    asked.long_waits += long_wait;
    leave(&asked.offloads, 0, NULL, 0);
    sigfillset(&all); /* as the pool's threads do */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_job, &j), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return come_back(0, j.error);
}

/* Whether the wait that is going on is for one of them.  With the lock held. */
static bool waits_for(unsigned first, unsigned last)
{
    for (nfds_t i = 0; i < waited_n; i++)
        if (waited_for[i] >= 0 && (unsigned)waited_for[i] >= first && (unsigned)waited_for[i] <= last)
            return true;
    return false;
}

static bool toy_watched(unsigned first, unsigned last)
{
    bool yes = false;

    pthread_mutex_lock(&lock);
    yes = waits_for(first, last);
    pthread_mutex_unlock(&lock);
    return yes;
}

static void toy_closing(unsigned first, unsigned last)
{
    uint64_t one = 1;

    if (getpid() != process)
        return;
    pthread_mutex_lock(&lock);
    if (!closed && waits_for(first, last)) {
        closed = true;
        ck_assert_int_eq(hooks->native.write(knock, &one, sizeof one), sizeof one);
    }
    pthread_mutex_unlock(&lock);
}

static int toy_breathe(void)
{
    asked.breaths++;
    if (!cancelled)
        return 0;
    errno = ECANCELED;
    return -1;
}

static const fj__green_runtime runtime = {
    .abi = FJ__GREEN_ABI,
    .size = sizeof runtime,
    .wait_fd = toy_wait_fd,
    .wait_fds = toy_wait_fds,
    .sleep_until = toy_sleep_until,
    .offload = toy_offload,
    .closing = toy_closing,
    .watched = toy_watched,
    .breathe = toy_breathe,
};

void toy_begin(unsigned groups)
{
    hooks = fj__green_hooks();
    knock = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(knock, 0);
    process = getpid();
    hooks->connect(&runtime);
    hooks->patch(groups);
    toy_green(true);
}

toy_counts toy_asked(void)
{
    toy_counts c;

    pthread_mutex_lock(&lock);
    c = asked;
    pthread_mutex_unlock(&lock);
    return c;
}

void toy_green(bool yes)
{
    *hooks->on() = yes;
}

void toy_cancel(void *unused)
{
    uint64_t one = 1;

    (void)unused;
    pthread_mutex_lock(&lock);
    cancelled = true;
    ck_assert_int_eq(hooks->native.write(knock, &one, sizeof one), sizeof one);
    pthread_mutex_unlock(&lock);
}

void toy_no_threads(int error)
{
    no_threads = error;
}

typedef struct {
    unsigned when;
    void (*fn)(void *arg);
    void *arg;
    pthread_t thread;
} helper;

static helper helpers[4];
static unsigned helper_count;

static void *help(void *arg)
{
    helper *h = arg;

    pthread_mutex_lock(&lock);
    while (suspended < h->when)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    h->fn(h->arg);
    return NULL;
}

void toy_when_suspended(unsigned nth, void (*fn)(void *arg), void *arg)
{
    helper *h = &helpers[helper_count++];

    ck_assert_uint_le(helper_count, sizeof helpers / sizeof *helpers);
    pthread_mutex_lock(&lock);
    *h = (helper){ .when = suspended + nth, .fn = fn, .arg = arg };
    pthread_mutex_unlock(&lock);
    ck_assert_int_eq(pthread_create(&h->thread, NULL, help, h), 0);
}

void toy_join(void)
{
    while (helper_count > 0)
        ck_assert_int_eq(pthread_join(helpers[--helper_count].thread, NULL), 0);
}

void toy_end(void)
{
    toy_green(false);
    toy_join();
    hooks->patch(0);
    hooks->native.close(knock);
}
