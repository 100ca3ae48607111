/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_HOOKS_REAL_H
#define FJORD_HOOKS_REAL_H
/*
 * The functions behind the hooks: what a call would reach without this library.
 *
 * Each pointer begins as a stand-in that looks the function up and goes on to it, for other libraries call before our
 * constructor has run.  A look-up may itself call what we hook (dlsym allocates, and allocators read files): then the
 * stand-in makes the system call, or says ENOSYS where there is no such call to make.
 */
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* X(type, name, parameters, arguments, what to do while a look-up is under way) */
#define FJ__REAL_DATA(X)                                                                                      \
    X(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n), syscall(SYS_read, fd, buf, n))              \
    X(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n), syscall(SYS_write, fd, buf, n))      \
    X(ssize_t, readv, (int fd, const struct iovec *iov, int n), (fd, iov, n), syscall(SYS_readv, fd, iov, n)) \
    X(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n),                                \
      syscall(SYS_writev, fd, iov, n))                                                                        \
    X(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags), fj__no_call())            \
    X(ssize_t, recvfrom, (int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len),     \
      (fd, buf, n, flags, from, len), fj__no_call())                                                          \
    X(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), fj__no_call())                 \
    X(int, recvmmsg, (int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *t),                  \
      (fd, v, n, flags, t), fj__no_call())                                                                    \
    X(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags), fj__no_call())      \
    X(ssize_t, sendto,                                                                                        \
      (int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len),               \
      (fd, buf, n, flags, to, len), fj__no_call())                                                            \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), fj__no_call())           \
    X(int, sendmmsg, (int fd, struct mmsghdr *v, unsigned n, int flags), (fd, v, n, flags), fj__no_call())    \
    X(int, connect, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n), fj__no_call())             \
    X(int, accept, (int fd, struct sockaddr *from, socklen_t *n), (fd, from, n), fj__no_call())               \
    X(int, accept4, (int fd, struct sockaddr *from, socklen_t *n, int flags), (fd, from, n, flags),           \
      fj__no_call())                                                                                          \
    X(int, close, (int fd), (fd), syscall(SYS_close, fd))                                                     \
    X(int, dup2, (int from, int to), (from, to), fj__no_call())                                               \
    X(int, dup3, (int from, int to, int flags), (from, to, flags), fj__no_call())                             \
    X(int, close_range, (unsigned first, unsigned last, int flags), (first, last, flags), fj__no_call())      \
    X(void, closefrom, (int first), (first), fj__no_call())                                                   \
    X(int, fclose, (FILE * f), (f), (int)fj__no_call())                                                       \
    X(FILE *, freopen, (const char *path, const char *mode, FILE *f), (path, mode, f), fj__no_pointer())      \
    X(FILE *, freopen64, (const char *path, const char *mode, FILE *f), (path, mode, f), fj__no_pointer())    \
    X(ssize_t, sendfile, (int to, int from, off_t *at, size_t n), (to, from, at, n),                          \
      syscall(SYS_sendfile, to, from, at, n))                                                                 \
    X(ssize_t, sendfile64, (int to, int from, off64_t *at, size_t n), (to, from, at, n),                      \
      syscall(SYS_sendfile, to, from, at, n))                                                                 \
    X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t n),                         \
      (fd, level, name, value, n), syscall(SYS_setsockopt, fd, level, name, value, n))

#define FJ__REAL_WAITS(X)                                                                                     \
    X(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), fj__no_call())                        \
    X(int, ppoll, (struct pollfd * fds, nfds_t n, const struct timespec *t, const sigset_t *mask),            \
      (fds, n, t, mask), fj__no_call())                                                                       \
    X(int, select, (int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t), (n, r, w, e, t),              \
      fj__no_call())                                                                                          \
    X(int, pselect, (int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *t, const sigset_t *mask), \
      (n, r, w, e, t, mask), fj__no_call())                                                                   \
    X(int, epoll_wait, (int fd, struct epoll_event *v, int n, int ms), (fd, v, n, ms), fj__no_call())         \
    X(int, epoll_pwait, (int fd, struct epoll_event *v, int n, int ms, const sigset_t *mask),                 \
      (fd, v, n, ms, mask), fj__no_call())                                                                    \
    X(int, epoll_pwait2,                                                                                      \
      (int fd, struct epoll_event *v, int n, const struct timespec *t, const sigset_t *mask),                 \
      (fd, v, n, t, mask), fj__no_call())                                                                     \
    X(unsigned, sleep, (unsigned s), (s), (unsigned)fj__no_call())                                            \
    X(int, usleep, (useconds_t us), (us), fj__no_call())                                                      \
    X(int, nanosleep, (const struct timespec *t, struct timespec *left), (t, left),                           \
      syscall(SYS_nanosleep, t, left))                                                                        \
    X(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *t, struct timespec *left),    \
      (clock, flags, t, left), ENOSYS)                                                                        \
    X(int, thrd_sleep, (const struct timespec *t, struct timespec *left), (t, left),                          \
      syscall(SYS_nanosleep, t, left))

#define FJ__REAL_NAMES(X)                                                                                  \
    X(int, getaddrinfo,                                                                                    \
      (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret),        \
      (node, service, hints, ret), EAI_SYSTEM + 0 * (int)fj__no_call())                                    \
    X(int, getnameinfo,                                                                                    \
      (const struct sockaddr *a, socklen_t n, char *host, socklen_t nh, char *service, socklen_t ns,       \
       int flags),                                                                                         \
      (a, n, host, nh, service, ns, flags), EAI_SYSTEM + 0 * (int)fj__no_call())                           \
    X(struct hostent *, gethostbyname, (const char *name), (name), fj__no_pointer())                       \
    X(struct hostent *, gethostbyname2, (const char *name, int af), (name, af), fj__no_pointer())          \
    X(struct hostent *, gethostbyaddr, (const void *a, socklen_t n, int af), (a, n, af), fj__no_pointer()) \
    X(int, gethostbyname_r,                                                                                \
      (const char *name, struct hostent *h, char *buf, size_t n, struct hostent **ret, int *err),          \
      (name, h, buf, n, ret, err), ENOSYS)                                                                 \
    X(int, gethostbyname2_r,                                                                               \
      (const char *name, int af, struct hostent *h, char *buf, size_t n, struct hostent **ret, int *err),  \
      (name, af, h, buf, n, ret, err), ENOSYS)                                                             \
    X(int, gethostbyaddr_r,                                                                                \
      (const void *a, socklen_t len, int af, struct hostent *h, char *buf, size_t n, struct hostent **ret, \
       int *err),                                                                                          \
      (a, len, af, h, buf, n, ret, err), ENOSYS)

#define FJ__REAL_PROCESS(X)                                                                                    \
    X(pid_t, wait, (int *status), (status), (pid_t)fj__no_call())                                              \
    X(pid_t, wait3, (int *status, int options, struct rusage *u), (status, options, u), (pid_t)fj__no_call())  \
    X(pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *u), (pid, status, options, u),        \
      (pid_t)fj__no_call())                                                                                    \
    X(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), (pid_t)fj__no_call())     \
    X(int, waitid, (idtype_t type, id_t id, siginfo_t * info, int options), (type, id, info, options),         \
      fj__no_call())                                                                                           \
    X(int, system, (const char *command), (command), fj__no_call())                                            \
    X(FILE *, popen, (const char *command, const char *mode), (command, mode), fj__no_pointer())               \
    X(int, pclose, (FILE * f), (f), fj__no_call())                                                             \
    X(int, flock, (int fd, int what), (fd, what), fj__no_call())                                               \
    X(int, lockf, (int fd, int what, off_t n), (fd, what, n), fj__no_call())                                   \
    X(int, lockf64, (int fd, int what, off64_t n), (fd, what, n), fj__no_call())                               \
    X(int, fsync, (int fd), (fd), fj__no_call())                                                               \
    X(int, fdatasync, (int fd), (fd), fj__no_call())                                                           \
    X(int, syncfs, (int fd), (fd), fj__no_call())                                                              \
    X(int, sync_file_range, (int fd, off64_t from, off64_t to, unsigned flags), (fd, from, to, flags),         \
      fj__no_call())                                                                                           \
    X(int, msync, (void *memory, size_t n, int flags), (memory, n, flags), fj__no_call())                      \
    X(void, sync, (void), (), fj__no_call())                                                                   \
    X(int, tcdrain, (int fd), (fd), fj__no_call())                                                             \
    X(int, creat, (const char *path, mode_t mode), (path, mode),                                               \
      syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode))                                 \
    X(int, creat64, (const char *path, mode_t mode), (path, mode),                                             \
      syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode))                                 \
    X(int, __open_2, (const char *path, int flags), (path, flags), syscall(SYS_openat, AT_FDCWD, path, flags)) \
    X(int, __open64_2, (const char *path, int flags), (path, flags),                                           \
      syscall(SYS_openat, AT_FDCWD, path, flags))                                                              \
    X(int, __openat_2, (int at, const char *path, int flags), (at, path, flags),                               \
      syscall(SYS_openat, at, path, flags))                                                                    \
    X(int, __openat64_2, (int at, const char *path, int flags), (at, path, flags),                             \
      syscall(SYS_openat, at, path, flags))

#define FJ__REAL_FORTIFIED(X)                                                                                \
    X(ssize_t, __read_chk, (int fd, void *buf, size_t n, size_t room), (fd, buf, n, room),                   \
      syscall(SYS_read, fd, buf, n > room ? room : n))                                                       \
    X(ssize_t, __recv_chk, (int fd, void *buf, size_t n, size_t room, int flags), (fd, buf, n, room, flags), \
      fj__no_call())                                                                                         \
    X(ssize_t, __recvfrom_chk,                                                                               \
      (int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from, socklen_t *len),          \
      (fd, buf, n, room, flags, from, len), fj__no_call())                                                   \
    X(int, __poll_chk, (struct pollfd * fds, nfds_t n, int ms, size_t room), (fds, n, ms, room),             \
      fj__no_call())                                                                                         \
    X(int, __ppoll_chk,                                                                                      \
      (struct pollfd * fds, nfds_t n, const struct timespec *t, const sigset_t *mask, size_t room),          \
      (fds, n, t, mask, room), fj__no_call())

/* Allocators lock, and so does a look-up that allocates: those three have other names in libc. */
#define FJ__REAL_LOCKS(X)                                                                                     \
    X(int, pthread_mutex_lock, (pthread_mutex_t * m), (m), fj__libc_mutex_lock(m))                            \
    X(int, pthread_mutex_trylock, (pthread_mutex_t * m), (m), fj__libc_mutex_trylock(m))                      \
    X(int, pthread_mutex_unlock, (pthread_mutex_t * m), (m), fj__libc_mutex_unlock(m))                        \
    X(int, pthread_mutex_timedlock, (pthread_mutex_t * m, const struct timespec *t), (m, t), ENOSYS)          \
    X(int, pthread_mutex_clocklock, (pthread_mutex_t * m, clockid_t clock, const struct timespec *t),         \
      (m, clock, t), ENOSYS)                                                                                  \
    X(int, pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t * m), (c, m), ENOSYS)                      \
    X(int, pthread_cond_timedwait, (pthread_cond_t * c, pthread_mutex_t * m, const struct timespec *t),       \
      (c, m, t), ENOSYS)                                                                                      \
    X(int, pthread_cond_clockwait,                                                                            \
      (pthread_cond_t * c, pthread_mutex_t * m, clockid_t clock, const struct timespec *t), (c, m, clock, t), \
      ENOSYS)                                                                                                 \
    X(int, pthread_cond_signal, (pthread_cond_t * c), (c), ENOSYS)                                            \
    X(int, pthread_cond_broadcast, (pthread_cond_t * c), (c), ENOSYS)                                         \
    X(int, sem_wait, (sem_t * s), (s), fj__no_call())                                                         \
    X(int, sem_timedwait, (sem_t * s, const struct timespec *t), (s, t), fj__no_call())                       \
    X(int, sem_clockwait, (sem_t * s, clockid_t clock, const struct timespec *t), (s, clock, t),              \
      fj__no_call())                                                                                          \
    X(int, sem_post, (sem_t * s), (s), fj__no_call())                                                         \
    X(int, pthread_rwlock_rdlock, (pthread_rwlock_t * l), (l), ENOSYS)                                        \
    X(int, pthread_rwlock_timedrdlock, (pthread_rwlock_t * l, const struct timespec *t), (l, t), ENOSYS)      \
    X(int, pthread_rwlock_clockrdlock, (pthread_rwlock_t * l, clockid_t clock, const struct timespec *t),     \
      (l, clock, t), ENOSYS)                                                                                  \
    X(int, pthread_rwlock_wrlock, (pthread_rwlock_t * l), (l), ENOSYS)                                        \
    X(int, pthread_rwlock_timedwrlock, (pthread_rwlock_t * l, const struct timespec *t), (l, t), ENOSYS)      \
    X(int, pthread_rwlock_clockwrlock, (pthread_rwlock_t * l, clockid_t clock, const struct timespec *t),     \
      (l, clock, t), ENOSYS)                                                                                  \
    X(int, pthread_rwlock_trywrlock, (pthread_rwlock_t * l), (l), ENOSYS)                                     \
    X(int, pthread_rwlock_unlock, (pthread_rwlock_t * l), (l), ENOSYS)                                        \
    X(int, pthread_join, (pthread_t thread, void **ret), (thread, ret), ENOSYS)                               \
    X(int, pthread_timedjoin_np, (pthread_t thread, void **ret, const struct timespec *t), (thread, ret, t),  \
      ENOSYS)                                                                                                 \
    X(int, pthread_clockjoin_np, (pthread_t thread, void **ret, clockid_t clock, const struct timespec *t),   \
      (thread, ret, clock, t), ENOSYS)                                                                        \
    X(int, pthread_barrier_wait, (pthread_barrier_t * b), (b), ENOSYS)                                        \
    X(int, mtx_lock, (mtx_t * m), (m), thrd_error)                                                            \
    X(int, mtx_trylock, (mtx_t * m), (m), thrd_error)                                                         \
    X(int, mtx_timedlock, (mtx_t * m, const struct timespec *t), (m, t), thrd_error)                          \
    X(int, mtx_unlock, (mtx_t * m), (m), thrd_error)                                                          \
    X(int, cnd_wait, (cnd_t * c, mtx_t * m), (c, m), thrd_error)                                              \
    X(int, cnd_timedwait, (cnd_t * c, mtx_t * m, const struct timespec *t), (c, m, t), thrd_error)            \
    X(int, cnd_signal, (cnd_t * c), (c), thrd_error)                                                          \
    X(int, cnd_broadcast, (cnd_t * c), (c), thrd_error)                                                       \
    X(int, thrd_join, (thrd_t thread, int *ret), (thread, ret), thrd_error)

#define FJ__REAL_CALLS(X) \
    FJ__REAL_DATA(X)      \
    FJ__REAL_WAITS(X)     \
    FJ__REAL_NAMES(X)     \
    FJ__REAL_PROCESS(X)   \
    FJ__REAL_FORTIFIED(X) \
    FJ__REAL_LOCKS(X)

/* Those with `...`, whose stand-ins are written out. */
#define FJ__REAL_VARIADIC(X)                                   \
    X(int, fcntl, (int fd, int what, ...))                     \
    X(int, fcntl64, (int fd, int what, ...))                   \
    X(int, ioctl, (int fd, unsigned long what, ...))           \
    X(int, open, (const char *path, int flags, ...))           \
    X(int, open64, (const char *path, int flags, ...))         \
    X(int, openat, (int at, const char *path, int flags, ...)) \
    X(int, openat64, (int at, const char *path, int flags, ...))

#pragma GCC visibility push(hidden)

typedef struct {
#define X(type, name, params, ...) type(*name) params;
    FJ__REAL_CALLS(X)
    FJ__REAL_VARIADIC(X)
#undef X
} fj__real_calls;

extern fj__real_calls fj__reals;

/** The function behind the hook of that name.  Pointers change once, from the stand-in to what was found. */
#define REAL(name) __atomic_load_n(&fj__reals.name, __ATOMIC_RELAXED)

/** What the call of @p name would have found, were this library not here.  @return NULL: nothing, or a look-up is
 *  under way on this thread */
void *fj__real_find(const char *name);

#pragma GCC visibility pop
#endif
