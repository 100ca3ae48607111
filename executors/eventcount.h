/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_EVENTCOUNT_H
#define FJORD_EXECUTORS_EVENTCOUNT_H
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
} fj__eventcount;

static inline unsigned fj__eventcount_read(fj__eventcount *e)
{
    return atomic_load_explicit(&e->count, memory_order_seq_cst);
}
/** Wake all who wait.  Async-signal-safe.  @thread any */
void fj__eventcount_raise(fj__eventcount *e);
/** Wait while the count is @p seen.  @return false when @p by has passed */
bool fj__eventcount_wait(fj__eventcount *e, unsigned seen, fj_deadline by);

#endif
