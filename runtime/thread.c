/* SPDX-License-Identifier: Apache-2.0 */
#include "thread.h"

#include <signal.h>

int fj__thread_new(pthread_t *ret, const char *name, void *(*fn)(void *user), void *user)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret, NULL, fn, user);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        (void)pthread_setname_np(*ret, name);
    return rc;
}
