/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_FUTURE_H
#define FJORD_FUTURE_H
/*
 * A future: the one-time outcome of an operation that was begun, a JSON value or an error.
 * It completes exactly once.  Handles are counted references; dropping the last one does not cancel.
 * In a forked child a future of the parent that was complete is as it was; of any other the operation is the parent's, and a wait
 * answers FORKED.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

typedef struct fj_future fj_future;

/** @param future lends; complete   @thread the one that completed it, with no lock of the library held.
 *  Must not block for long: the thread may be the one that reads the broker's socket. */
typedef void (*fj_future_fn)(fj_future *future, void *user);

FJ_API fj_future *fj_future_ref(fj_future *future);
/** Accepts NULL, answers NULL. */
FJ_API fj_future *fj_future_unref(fj_future *future);

/** Whether the outcome is there.  @thread any */
FJ_API bool fj_future_done(const fj_future *future);
/** Wait for the outcome.
 *  @param ret lends-as-new-reference: gives one reference to the result (JSON null for an operation without
 *             one); may be NULL
 *  @return the operation's code; FJ_TIMEOUT when @p by came first (the operation goes on)
 *  @blocks until done or @p by: a plain thread sleeps, or helps the operation along; a task parks
 *  @errors CANCELLED in a task that is asked to end (the operation goes on, see fj_await()); WRONG_CONTEXT on a loop's
 *  thread outside a task; FORKED   @thread any */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_future_wait(fj_future *future, fj_deadline by, json_t **ret,
                                                       fj_error **err);
/** The outcome, if done; FJ_AGAIN if not.  Never blocks. */
FJ_API FJ_MUST_USE fj_code fj_future_result(fj_future *future, json_t **ret, fj_error **err);
/** Call @p fn when complete; at once, on this thread, when it already is.  The future keeps itself alive
 *  until then.  Several may be added; they run in order.  @errors NOMEM, FORKED */
FJ_API FJ_MUST_USE fj_code fj_future_then(fj_future *future, fj_future_fn fn, void *user);
/** Give up: a pending future completes with FJ_CANCELLED (sent = maybe: the operation may be under way) and whatever comes for it
 *  later is dropped.  That of a task, or
 *  a gather, completes when the task has ended, or all of them.
 *  @return false when it was complete already, or is the parent's of a fork.  @thread any */
FJ_API bool fj_future_cancel(fj_future *future);

/* For drivers and executors, which make futures. */

/** How a plain thread waits for a future, and how one is abandoned.  All slots may be NULL. */
typedef struct {
    /** Help the operation along until the future is done or @p by has passed; return then.  Called on the
     *  waiting thread with no lock held; may block.  NULL: sleep until somebody completes it. */
    void (*wait)(fj_future *future, void *user, fj_deadline by);
    /** The future was cancelled: forget the operation.  Called once, with no lock held, never blocks.  */
    void (*cancelled)(fj_future *future, void *user);
    /** The last reference is gone: free @p user. */
    void (*freed)(void *user);
} fj_future_ops;

/** @param ops lends, for the future's life; may be NULL.  @param ret gives. */
FJ_API FJ_MUST_USE fj_code fj_future_new(const fj_future_ops *ops, void *user, fj_future **ret);
FJ_API void *fj_future_user(const fj_future *future);
/** Complete.  @param result takes; NULL means JSON null.  @return false (and drops it) when already complete */
FJ_API bool fj_future_resolve(fj_future *future, json_t *result);
/** Complete with a failure.  @param error takes; not NULL */
FJ_API bool fj_future_reject(fj_future *future, fj_error *error);

FJ_END_DECLS
#endif
