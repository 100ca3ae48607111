/* SPDX-License-Identifier: Apache-2.0 */
#include "thread.h"

#include "base/alloc.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

struct start {
    const char *name; /* lends, for ever */
    void *(*fn)(void *user);
    void *user;
};

/* It names itself: to name another thread libc opens a file, without O_CLOEXEC, that a program started meanwhile would keep. */
static void *begin(void *arg)
{
    struct start s = *(struct start *)arg;

    fj__free(arg);
    (void)pthread_setname_np(pthread_self(), s.name);
    return s.fn(s.user);
}

int fj__thread_new(pthread_t *ret, const char *name, void *(*fn)(void *user), void *user)
{
    struct start *s = fj__alloc(sizeof *s);
    sigset_t all, before;

    if (s == NULL)
        return ENOMEM;
    *s = (struct start){ .name = name, .fn = fn, .user = user };
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
    if (sigismember(&before, SIGPROF) == 0) /* else the program waits for it in its own way */
        (void)sigdelset(&all, SIGPROF);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    int rc = pthread_create(ret, NULL, begin, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        fj__free(s);
    return rc;
}

fj_code fj__thread_refused(int why, const char *what, fj_error **err)
{
    return fj_fail(err, why == ENOMEM ? FJ_NOMEM : FJ_SYSTEM, "no thread %s: %s", what, strerror(why));
}

static atomic_int quiet;

static void in_child(void)
{
    atomic_store(&quiet, 0);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

void fj__thread_wakes_nobody(int n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, watch_forks);
    (void)atomic_fetch_add(&quiet, n);
}

unsigned fj__thread_count_quiet(void)
{
    return (unsigned)atomic_load(&quiet);
}
