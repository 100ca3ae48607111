/* SPDX-License-Identifier: Apache-2.0 */
#include "thread.h"

#include <signal.h>
#include <stdatomic.h>

int fj__thread_new(pthread_t *ret, const char *name, void *(*fn)(void *user), void *user)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
    if (sigismember(&before, SIGPROF) == 0) /* else the program waits for it in its own way */
        (void)sigdelset(&all, SIGPROF);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    int rc = pthread_create(ret, NULL, fn, user);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        (void)pthread_setname_np(*ret, name);
    return rc;
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
