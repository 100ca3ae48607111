/* SPDX-License-Identifier: Apache-2.0 */
#include "base/native.h"

#include <unistd.h>

/* glibc's has a parameter of another type, which calls may not notice but pointers do. */
static int native_connect(int fd, const struct sockaddr *to, socklen_t n)
{
    return connect(fd, to, n);
}

fj__native_calls fj__native = {
    .read = read,
    .write = write,
    .recv = recv,
    .send = send,
    .connect = native_connect,
    .poll = poll,
    .close = close,
    .nanosleep = nanosleep,
    .pthread_mutex_lock = pthread_mutex_lock,
    .pthread_mutex_trylock = pthread_mutex_trylock,
    .pthread_mutex_unlock = pthread_mutex_unlock,
    .pthread_cond_wait = pthread_cond_wait,
    .pthread_cond_timedwait = pthread_cond_timedwait,
    .pthread_cond_signal = pthread_cond_signal,
    .pthread_cond_broadcast = pthread_cond_broadcast,
    .pthread_join = pthread_join,
};
