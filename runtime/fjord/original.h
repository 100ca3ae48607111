/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_ORIGINAL_H
#define FJORD_ORIGINAL_H
/*
 * The functions behind the hooks: fj_original_read() is read() as it was, fj_original_nanosleep() is nanosleep(), and so on, for
 * code that must not be suspended in the middle (eventlet's patcher.original).  In a green task they block its thread.
 * In a program without libfjord-green they are what a call by the plain name reaches.
 *
 * They keep no account of the tasks: fj_original_close() of a descriptor and fj_original_pthread_mutex_unlock() of a lock that tasks
 * wait for wake none of them.
 */
#include <fjord/base.h>

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

FJ_BEGIN_DECLS

struct addrinfo;
struct epoll_event;
struct hostent;
struct iovec;
struct rusage;

/** Any function that has a hook, by its name; to be converted to its type.
 *  @return NULL when this system has none of that name   @thread any, never blocks */
FJ_API void *fj_original(const char *name);

/* X(what it answers, its name, parameters, arguments, what it answers where the system has none: ENOSYS) */
#define FJ_ORIGINALS(X)                                                                                       \
    X(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n), -1)                                         \
    X(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n), -1)                                  \
    X(ssize_t, readv, (int fd, const struct iovec *iov, int n), (fd, iov, n), -1)                             \
    X(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n), -1)                            \
    X(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags), -1)                       \
    X(ssize_t, recvfrom, (int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len),     \
      (fd, buf, n, flags, from, len), -1)                                                                     \
    X(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), -1)                            \
    X(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags), -1)                 \
    X(ssize_t, sendto,                                                                                        \
      (int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len),               \
      (fd, buf, n, flags, to, len), -1)                                                                       \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), -1)                      \
    X(int, connect, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n), -1)                        \
    X(int, accept, (int fd, struct sockaddr *from, socklen_t *n), (fd, from, n), -1)                          \
    X(int, accept4, (int fd, struct sockaddr *from, socklen_t *n, int flags), (fd, from, n, flags), -1)       \
    X(int, close, (int fd), (fd), -1)                                                                         \
    X(int, dup2, (int from, int to), (from, to), -1)                                                          \
    X(int, dup3, (int from, int to, int flags), (from, to, flags), -1)                                        \
    X(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), -1)                                   \
    X(int, ppoll, (struct pollfd * fds, nfds_t n, const struct timespec *t, const sigset_t *mask),            \
      (fds, n, t, mask), -1)                                                                                  \
    X(int, select, (int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t), (n, r, w, e, t), -1)          \
    X(int, pselect, (int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *t, const sigset_t *mask), \
      (n, r, w, e, t, mask), -1)                                                                              \
    X(int, epoll_wait, (int fd, struct epoll_event *events, int n, int ms), (fd, events, n, ms), -1)          \
    X(int, epoll_pwait, (int fd, struct epoll_event *events, int n, int ms, const sigset_t *mask),            \
      (fd, events, n, ms, mask), -1)                                                                          \
    X(unsigned, sleep, (unsigned s), (s), s)                                                                  \
    X(int, usleep, (unsigned us), (us), -1)                                                                   \
    X(int, nanosleep, (const struct timespec *t, struct timespec *left), (t, left), -1)                       \
    X(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *t, struct timespec *left),    \
      (clock, flags, t, left), ENOSYS)                                                                        \
    X(int, getaddrinfo,                                                                                       \
      (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret),           \
      (node, service, hints, ret), EAI_SYSTEM)                                                                \
    X(int, getnameinfo,                                                                                       \
      (const struct sockaddr *a, socklen_t n, char *host, socklen_t host_n, char *service,                    \
       socklen_t service_n, int flags),                                                                       \
      (a, n, host, host_n, service, service_n, flags), EAI_SYSTEM)                                            \
    X(struct hostent *, gethostbyname, (const char *name), (name), NULL)                                      \
    X(pid_t, wait, (int *status), (status), -1)                                                               \
    X(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), -1)                      \
    X(pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *u), (pid, status, options, u), -1)   \
    X(int, system, (const char *command), (command), -1)                                                      \
    X(FILE *, popen, (const char *command, const char *mode), (command, mode), NULL)                          \
    X(int, pclose, (FILE * f), (f), -1)                                                                       \
    X(int, flock, (int fd, int what), (fd, what), -1)                                                         \
    X(int, fsync, (int fd), (fd), -1)                                                                         \
    X(int, fdatasync, (int fd), (fd), -1)                                                                     \
    X(int, pthread_mutex_lock, (pthread_mutex_t * m), (m), ENOSYS)                                            \
    X(int, pthread_mutex_trylock, (pthread_mutex_t * m), (m), ENOSYS)                                         \
    X(int, pthread_mutex_unlock, (pthread_mutex_t * m), (m), ENOSYS)                                          \
    X(int, pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t * m), (c, m), ENOSYS)                      \
    X(int, pthread_cond_timedwait, (pthread_cond_t * c, pthread_mutex_t * m, const struct timespec *until),   \
      (c, m, until), ENOSYS)                                                                                  \
    X(int, pthread_cond_signal, (pthread_cond_t * c), (c), ENOSYS)                                            \
    X(int, pthread_cond_broadcast, (pthread_cond_t * c), (c), ENOSYS)                                         \
    X(int, pthread_join, (pthread_t thread, void **ret), (thread, ret), ENOSYS)                               \
    X(int, sem_wait, (sem_t * s), (s), -1)                                                                    \
    X(int, sem_timedwait, (sem_t * s, const struct timespec *until), (s, until), -1)                          \
    X(int, sem_post, (sem_t * s), (s), -1)

#define FJ_ORIGINAL_DECLARE(type, name, params, args, none) FJ_API type fj_original_##name params;
FJ_ORIGINALS(FJ_ORIGINAL_DECLARE)
#undef FJ_ORIGINAL_DECLARE

FJ_END_DECLS
#endif
