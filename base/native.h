/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_NATIVE_H
#define FJORD_BASE_NATIVE_H
/*
 * libc's own functions.  libfjord-green has functions of the same names, which in a green task suspend it; the library itself must
 * never be suspended in the middle of what it does, and calls through this table.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#define FJ__NATIVE_CALLS(X)                                                                             \
    X(ssize_t, read, (int fd, void *buf, size_t n))                                                     \
    X(ssize_t, write, (int fd, const void *buf, size_t n))                                              \
    X(ssize_t, recv, (int fd, void *buf, size_t n, int flags))                                          \
    X(ssize_t, send, (int fd, const void *buf, size_t n, int flags))                                    \
    X(int, connect, (int fd, const struct sockaddr *to, socklen_t n))                                   \
    X(int, poll, (struct pollfd * fds, nfds_t n, int ms))                                               \
    X(int, close, (int fd))                                                                             \
    X(int, nanosleep, (const struct timespec *t, struct timespec *left))                                \
    X(int, pthread_mutex_lock, (pthread_mutex_t * m))                                                   \
    X(int, pthread_mutex_trylock, (pthread_mutex_t * m))                                                \
    X(int, pthread_mutex_unlock, (pthread_mutex_t * m))                                                 \
    X(int, pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t * m))                                \
    X(int, pthread_cond_timedwait, (pthread_cond_t * c, pthread_mutex_t * m, const struct timespec *t)) \
    X(int, pthread_cond_signal, (pthread_cond_t * c))                                                   \
    X(int, pthread_cond_broadcast, (pthread_cond_t * c))                                                \
    X(int, pthread_join, (pthread_t t, void **ret))

typedef struct {
#define X(type, name, args) type(*name) args;
    FJ__NATIVE_CALLS(X)
#undef X
} fj__native_calls;

/** As libfjord-green found them behind itself, else the functions of the same name.  Set once, when the library is loaded. */
extern fj__native_calls fj__native;

#endif
