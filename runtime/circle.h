/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_CIRCLE_H
#define FJORD_RUNTIME_CIRCLE_H
/*
 * Circles: A waits for a lock that B holds, B waits for one that A holds.  Who begins to wait for a lock is registered, and follows
 * from the lock to who holds it, to what that one waits for, and so on; who comes back to himself has closed a circle, and
 * says so, once.  The waits go on: a deadline or a cancellation may still end them.  Nothing is done where nobody waits.
 */
#include "runtime/waiter.h"

#include <sys/types.h>

/** A registered wait, on the stack of who waits. */
typedef struct fj__edge fj__edge;
struct fj__edge {
    fj__edge *next, **at;
    void *who;
    fj_task *task; /* NULL: a plain thread */
    const fj__wanted *wanted;
    fj_deadline by;
    pid_t thread;
    const void *told_who, *told_object; /* of the wait that closed the circle it is in */
};

/** Register a wait that is about to begin, and look.  @param w has `wanted`, with an owner   @param by the wait's own */
void fj__circle_begin(fj__edge *edge, const fj__waiter *w, fj_deadline by);
void fj__circle_end(fj__edge *edge);
/** fj__waiter_pause() of a task that waits for a task: registered only if it holds a lock meanwhile. */
fj_code fj__circle_pause(fj__waiter *w, fj_deadline by);

#endif
