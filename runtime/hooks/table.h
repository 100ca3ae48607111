/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_HOOKS_TABLE_H
#define FJORD_HOOKS_TABLE_H
/*
 * What libfjord and libfjord-green.so know of each other.  Neither links the other: libfjord looks for
 * fj__green_hooks() by dlsym, and hands its half over; docs/internals/green.md has the whole.
 *
 * All times are deadlines on CLOCK_MONOTONIC in nanoseconds, INT64_MAX for never.  Functions that answer an int answer
 * as libc does: -1 and errno, which is ECANCELED when the task is to end, ETIMEDOUT when an fj_timeout around the call ran
 * out, EDEADLK where the task must not wait (an atomic section).
 */
#include "base/native.h"     /* fj__native_calls: libc's own, as found behind the hooks */
#include "runtime/parking.h" /* fj__parking */

#include <fjord/green.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

/** Beside the groups: who holds mutexes is watched though they are not patched; in debug mode. */
#define FJ__PATCH_WATCH (1u << 31)

#define FJ__GREEN_ABI 1u

/** What the hooks ask of the runtime.  Called only in a green task (but where a thread is named). */
typedef struct {
    uint32_t abi;
    size_t size;
    /** Suspend until @p fd is ready for one of @p events (POLLIN, POLLOUT).  @return what is ready; 0 at @p by; -1:
     *  ECANCELED, EBADF when it was closed meanwhile, EPERM when it cannot be watched (regular files), ENOMEM */
    int (*wait_fd)(int fd, short events, int64_t by);
    /** poll(2) itself, suspending.  @return how many are ready; 0 at @p by; -1 */
    int (*wait_fds)(struct pollfd *fds, nfds_t n, int64_t by);
    /** Suspend until @p by.  @return 0; -1 ECANCELED */
    int (*sleep_until)(int64_t by);
    /** Run @p fn on a thread of the pool and suspend until it has ended; errno is carried over.  A cancellation waits for
     *  it.  @param long_wait it waits for what others do, perhaps for ever: its thread is one more than the pool may have,
     *  for they may need the pool.  @return 0; -1 when no thread could be had: then it has not run */
    int (*offload)(void (*fn)(void *arg), void *arg, bool long_wait);
    /** The descriptors from @p first to @p last are about to be closed, or replaced: who waits for one gets EBADF.
     *  @thread any */
    void (*closing)(unsigned first, unsigned last);
    /** Whether anybody might wait for one of them; cheap.  @thread any */
    bool (*watched)(unsigned first, unsigned last);
    /** Let others run that are ready: called now and then by hooks that never had to wait, before the next call, which is
     *  not made if this one is cut short as any wait may be.  @return 0, errno as it was; -1 ECANCELED, ETIMEDOUT */
    int (*breathe)(void);
    /** The running green task holds the lock at @p address from now on.  @return false when there is no room to keep that */
    bool (*own)(const volatile void *address);
    /** Whether it does. */
    bool (*owns)(const volatile void *address);
    /** Nobody does.  @thread any */
    void (*disown)(const volatile void *address);
    /** runtime/parking.h.  @return 0; ETIMEDOUT; ECANCELED; EDEADLK (no -1: the error itself).  Of any thread, with FJ__PARK_THREAD */
    int (*park)(const fj__parking *p);
    unsigned (*unpark)(const volatile void *address, unsigned n);
    bool (*starved)(const volatile void *address);
    /** @return PTHREAD_BARRIER_SERIAL_THREAD for the last; 0; EDEADLK */
    int (*meet)(const volatile void *address, unsigned n, unsigned how, const char *what);
    /** Once for each: @p what, which green tasks have used, blocks their threads.  Lends, for ever. */
    void (*blocks)(const char *what);
    /** The thread is about to wait for the mutex at @p address, which it holds itself: for ever. */
    void (*stuck)(const volatile void *address);
} fj__green_runtime;

/** What the hook library offers. */
typedef struct {
    uint32_t abi;
    size_t size;
    const char *version; /* FJ_VERSION of the hook library */
    fj__native_calls native;
    /** Take the runtime's half, unless it is of another ABI; before it every hook passes through.
     *  @param runtime lends, for ever; NULL takes it away */
    void (*connect)(const fj__green_runtime *runtime);
    /** This thread's switch: not 0 while a green task runs on it.  Lends, for the thread's life. */
    int *(*on)(void);
    /** Which groups of hooks are live (FJ_PATCH_...). */
    void (*patch)(unsigned what);
    unsigned (*patched)(void);
    /** Whether @p name, called by the program, really comes here: looks it up as a call would. */
    bool (*is_hooked)(const char *name);
    /** The function behind the hook of that name, or libc's own where there is no hook; NULL: there is neither. */
    void *(*original)(const char *name);
} fj__green_hooks_table;

/** What libfjord looks for: `const fj__green_hooks_table *fj__green_hooks(void)`. */
#define FJ__GREEN_SYMBOL "fj__green_hooks"

#endif
