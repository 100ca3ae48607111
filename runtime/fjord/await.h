/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AWAIT_H
#define FJORD_AWAIT_H
/*
 * Waiting in tasks, with asyncio's names and meanings.
 *
 * FJ_AWAITS marks a function that may suspend the task it is called in, and must be called in one; a function that calls
 * it is marked, too, and `scripts/awaits` checks that.  FJ_MAY_AWAIT marks one that suspends in a task and blocks a plain
 * thread.  On a loop's thread outside a task both answer FJ_WRONG_CONTEXT.
 *
 * Every wait takes a deadline and answers FJ_TIMEOUT after it; FJ_CANCELLED when the task was asked to end; FJ_TIMEOUT
 * also when an enclosing fj_timeout has run out, which fj_timeout_end() then tells.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/task.h>

FJ_BEGIN_DECLS

/** Wait for a future.  If the task is cancelled meanwhile, or an enclosing fj_timeout runs out, the future is cancelled,
 *  too, unless shielded, and it is waited until it has ended, @p by, or until the task is asked again; at @p by itself
 *  the future is left alone.
 *  @param ret gives; may be NULL   @return the future's code
 *  @errors WRONG_CONTEXT outside a task; STATE when a task awaits itself */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_await(fj_future *future, fj_deadline by, json_t **ret, fj_error **err);
/** The same, but at @p by the future is cancelled, and it is waited until it has ended.
 *  @return TIMEOUT when it was; but what a task that refused ended with */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_wait_for(fj_future *future, fj_deadline by, json_t **ret,
                                                 fj_error **err);
/** Start a coroutine and wait for it, as fj_wait_for() does.  @param coro takes */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_await_coro(fj_coro *coro, fj_deadline by, json_t **ret, fj_error **err);
/** @return OK at @p until; CANCELLED; TIMEOUT by an enclosing fj_timeout.  A time that has passed yields.  On a plain
 *  thread it sleeps. */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_sleep(fj_deadline until);
/** Let the others run that are ready. */
FJ_API FJ_AWAITS FJ_MUST_USE fj_code fj_yield(void);

/* ---- several at once ------------------------------------------------------------------------------ */

/** A future that follows @p inner, and whose cancellation @p inner does not feel.  @param ret gives */
FJ_API FJ_MUST_USE fj_code fj_shield(fj_future *inner, fj_future **ret, fj_error **err);

enum {
    FJ_GATHER_ERRORS = 1 /**< errors count as outcomes: their place in the result is null, ask the future */
};
/** A future of the array of all results, in order; the first error ends it (the others go on), unless
 *  FJ_GATHER_ERRORS.  Cancelling it cancels all, and it ends, as cancelled, when they have.  @param futures lends; referenced   @param ret gives */
FJ_API FJ_MUST_USE fj_code fj_gather(fj_future *const *futures, size_t n, unsigned flags, fj_future **ret,
                                     fj_error **err);

typedef enum { FJ_ALL_COMPLETED = 0, FJ_FIRST_COMPLETED, FJ_FIRST_ERROR } fj_wait_until;
/** Wait for some of @p futures (lends); none is cancelled.  @param ret_done how many are complete
 *  @return OK; TIMEOUT, with ret_done as it is then; CANCELLED */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_wait(fj_future *const *futures, size_t n, fj_wait_until until,
                                                fj_deadline by, size_t *ret_done, fj_error **err);

typedef struct fj_as_completed fj_as_completed;
/** Give futures in the order in which they complete.  @param futures lends; referenced   @param ret gives */
FJ_API FJ_MUST_USE fj_code fj_as_completed_new(fj_future *const *futures, size_t n, fj_as_completed **ret,
                                               fj_error **err);
/** @param ret lends, as long as the iterator lives; complete   @return OK; NOT_FOUND after the last; TIMEOUT, CANCELLED */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_as_completed_next(fj_as_completed *it, fj_deadline by,
                                                             fj_future **ret);
FJ_API fj_as_completed *fj_as_completed_free(fj_as_completed *it);

/* ---- timeouts that nest --------------------------------------------------------------------------- */

/** A stretch of a task that must be over by a deadline (asyncio.timeout).  On the task's stack, ended in the reverse
 *  order of the beginnings:
 *      fj_timeout t;
 *      fj_timeout_begin(&t, fj_in_ms(500));
 *      code = ...waits...;
 *      if (fj_timeout_end(&t)) ...it ran out...
 *  One wait, once, answers FJ_TIMEOUT when it runs out.  Of several, and of a wait's own deadline, the one that runs out
 *  first is told first; of two at the same time the outer one, and then the wait's own. */
typedef struct fj_timeout fj_timeout;
struct fj_timeout {
    fj_timeout *outer;
    fj_task *task;
    fj_deadline by;
    bool fired, told;
};
/** Nothing outside a task, but the deadline is still told by fj_timeout_end(). */
FJ_API void fj_timeout_begin(fj_timeout *t, fj_deadline by);
/** @return whether it was this one that ran out, and a wait answered FJ_TIMEOUT for it */
FJ_API bool fj_timeout_end(fj_timeout *t);
/** Nothing when it has run out and was told. */
FJ_API void fj_timeout_reschedule(fj_timeout *t, fj_deadline by);

/** Between these the task's waits are not cut short by cancellation or timeouts, which are kept for later.  They nest.
 *  For cleaning up. */
FJ_API void fj_shield_begin(void);
FJ_API void fj_shield_end(void);
/** Between these a wait in this task that would suspend answers FJ_WRONG_CONTEXT and is reported with a backtrace.
 *  They nest. */
FJ_API void fj_atomic_begin(void);
FJ_API void fj_atomic_end(void);

/* ---- threads -------------------------------------------------------------------------------------- */

/** Run @p fn, which may block, on a thread of the process's pool, in order of the calls.  Cancelled before a thread took
 *  it, it does not run; later, it runs to its end and what it answers is dropped.  So @p user must not be on the stack of
 *  a task that may be cancelled, unless the future is shielded.
 *  @param user  takes-on-ok, if there is @p freed
 *  @param freed called once when @p fn has ended or will never run, on any thread; may be NULL
 *  @param ret   gives; completes on the pool's thread   @errors NOMEM, SYSTEM, CLOSED (the process ends)  @thread any */
FJ_API FJ_MUST_USE fj_code fj_run_in_executor(fj_task_fn fn, void *user, void (*freed)(void *user),
                                              fj_future **ret, fj_error **err);
/** How many threads the pool has at most; 0: 20, as at first.  A transport that is opened with [fjord] thread_pool_size
 *  in its configuration sets it, too.  Threads above it end with the jobs they have.  @thread any */
FJ_API void fj_thread_pool_size(unsigned n);

FJ_END_DECLS
#endif
