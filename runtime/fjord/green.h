/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_GREEN_H
#define FJORD_GREEN_H
/*
 * Green tasks: blocking calls of libc switch by themselves, so that libraries that know nothing of loops may be called as if
 * alone.  The hooks are in libfjord-green.so, which the program links (-lfjord-green, before libc, as any -l is), preloads
 * (LD_PRELOAD), or has put into itself (libfjord-green.a, whole).  Loaded later, by dlopen, it comes too late.
 * Outside of green tasks every hook passes straight through; <fjord/original.h> has the functions behind them.
 */
#include <fjord/base.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/task.h>

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

/* ---- the bridge: green tasks and coroutines wait for each other ----------------------------------- */

/** Wait in a green task for a future, a task (fj_task_future()), whatever is awaitable, as fj_await() does: aioeventlet's
 *  yield_future.  To be called at any depth, since green code may be suspended in any call: who calls it needs no mark.
 *  Cancelled meanwhile, or when an enclosing fj_timeout runs out, it cancels what it awaits, unless that is shielded
 *  (fj_shield(), fj_shield_begin()), and waits until it has ended, @p by, or until it is asked again; at @p by itself the
 *  future is left alone.
 *  @param ret gives; may be NULL   @return the future's code
 *  @errors WRONG_CONTEXT outside a task, in one that is not green (fj_await() is for those), in an atomic section, and for a
 *  task of another loop; STATE when a task awaits itself; TIMEOUT, CANCELLED
 *  @blocks suspends the task, also without hooks */
FJ_API FJ_AWAITS_GREEN FJ_MUST_USE fj_code fj_green_await(fj_future *future, fj_deadline by, json_t **ret,
                                                          fj_error **err);
/** Start a coroutine on this loop and wait for it; at @p by it is cancelled, and waited for, as fj_wait_for() does.
 *  @param coro takes   @errors as fj_green_await() */
FJ_API FJ_AWAITS_GREEN FJ_MUST_USE fj_code fj_green_await_coro(fj_coro *coro, fj_deadline by, json_t **ret,
                                                               fj_error **err);

/** What a green task comes to, for coroutines to fj_await(), in fj_gather() and so on; at any time, before it has begun and
 *  after it has ended, too.  Cancelling the future cancels the task.  Of any other task it is the same.
 *  @return gives: a reference to fj_task_future()   @thread any */
FJ_API fj_future *fj_wrap_green(fj_task *task);
/** As fj_task_fn, but its calls need no marks. */
typedef fj_code (*fj_green_fn)(void *user, json_t **ret, fj_error **err);
/** Run @p fn in a green task of its own, and give what it comes to.
 *  @param opts may be NULL; `green` is taken to be set   @param ret gives   @errors, @thread those of fj_task_spawn() */
FJ_API FJ_MUST_USE fj_code fj_wrap_green_fn(fj_green_fn fn, void *user, const fj_task_opts *opts,
                                            fj_future **ret, fj_error **err);

FJ_END_DECLS
#endif
