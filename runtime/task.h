/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_TASK_H
#define FJORD_RUNTIME_TASK_H
/* Tasks from inside the library: parking and waking.  Everything that waits is built on <runtime/waiter.h>. */
#include <fjord/task.h>

/** Suspend the running task until it is woken, @p by, an enclosing timeout or cancellation.  May return early.
 *  @param what lends: what it waits for    @return OK; TIMEOUT; CANCELLED; WRONG_CONTEXT in an atomic section */
fj_code fj__task_park(const char *what, fj_deadline by);
/** Whether the last TIMEOUT of the running task came from an enclosing fj_timeout rather than the wait's own deadline. */
bool fj__task_outer(void);
/** Make a parked task ready; remembered, once, when it is not parked.  The caller keeps it alive meanwhile.
 *  @thread any */
void fj__task_wake(fj_task *task);
/** Whether it is in an atomic section, where a park is refused, and reported. */
bool fj__task_atomic(const fj_task *task);
/** Whether another wait would be cut short at once. */
bool fj__task_interrupted(const fj_task *task);
/** Cancel every task of @p loop and turn it until they have ended, as at the end of asyncio.run(); meanwhile none can be
 *  spawned.  @thread the loop's, while it does not run   @blocks as they do */
void fj__loop_end_tasks(fj_loop *loop);

#endif
