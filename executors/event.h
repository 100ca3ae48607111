/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_EVENT_H
#define FJORD_EXECUTORS_EVENT_H
/*
 * A count that threads wait on to change.  Unlike a condition variable it may be raised by a signal handler, which
 * is where servers are stopped.  To wait for a condition: read the count, check the condition, wait on what was
 * read; whoever makes the condition true raises the event after.
 */
#include <fjord/clock.h>
#include <stdatomic.h>

typedef struct {
    atomic_uint count;
    atomic_uint waiting; /* threads that may sleep: without any, raising needs no system call */
} fj__event;

static inline unsigned fj__event_read(fj__event *e)
{
    return atomic_load_explicit(&e->count, memory_order_seq_cst);
}
/** Wake all who wait.  Async-signal-safe.  @thread any */
void fj__event_raise(fj__event *e);
/** Wait while the count is @p seen.  @return false when @p by has passed */
bool fj__event_wait(fj__event *e, unsigned seen, fj_deadline by);

#endif
