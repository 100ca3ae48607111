/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_GREEN_H
#define FJORD_GREEN_H
/*
 * Green tasks: blocking calls of libc switch by themselves, so that libraries that know nothing of loops may be called as if
 * alone.  The hooks are in libfjord-green.so, which the program links (-lfjord-green, before libc, as any -l is), preloads
 * (LD_PRELOAD), or has put into itself (libfjord-green.a, whole).  Loaded later, by dlopen, it comes too late.
 * Outside of green tasks every hook passes straight through.
 */
#include <fjord/base.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

/** Groups of hooks. */
enum {
    FJ_PATCH_SOCKET = 1 << 0, /**< read, write, recv, send, connect, accept and their kin; close, dup2 */
    FJ_PATCH_TIME = 1 << 1,   /**< sleep, usleep, nanosleep, clock_nanosleep */
    FJ_PATCH_DNS = 1 << 2,    /**< getaddrinfo and its kin: on threads of the pool */
    FJ_PATCH_PROCESS =
        1 << 3,               /**< waitpid, system, popen, flock, fsync and their kin: on threads of the pool */
    FJ_PATCH_SELECT = 1 << 4, /**< poll, ppoll, select, pselect, epoll_wait */
    FJ_PATCH_MUTEX = 1 << 5,  /**< pthread mutexes, conditions, semaphores, rwlocks, joins park */
    FJ_PATCH_DEFAULT = (1 << 5) - 1,
    FJ_PATCH_ALL = (1 << 6) - 1
};

/** Switch groups on, for the whole process (eventlet's monkey_patch).  Before green tasks run.
 *  @errors UNSUPPORTED when the hooks are not there, or do not come first: the text says what to do   @thread any */
FJ_API FJ_MUST_USE fj_code fj_green_patch(unsigned what, fj_error **err);
/** Whether all groups of @p what are on and the hooks come first.  @thread any */
FJ_API bool fj_is_patched(unsigned what);
/** Whether the running task is green and the hooks are live in it. */
FJ_API bool fj_green_here(void);

FJ_END_DECLS
#endif
