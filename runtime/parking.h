/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_PARKING_H
#define FJORD_RUNTIME_PARKING_H
/*
 * Waiting on an address: for locks that live in objects of somebody else's, which have no room for a list of waiters.  Queues by
 * hash, each with a lock that is held for a few instructions; tasks and plain threads wait in the same queue, in order.
 */
#include <fjord/clock.h>
#include <fjord/error.h>

/** Wait on @p address until unparked, unless @p still(arg), asked with the queue's lock held, says false.
 *  @param still  must not suspend, nor call any of these   @param what lends; for reports
 *  @return OK, when unparked or at once; TIMEOUT, CANCELLED; WRONG_CONTEXT.  Whoever is unparked and cut short at the same time
 *  passes it on to the next */
fj_code fj__parking_wait(const volatile void *address, bool (*still)(void *arg), void *arg, fj_deadline by,
                         const char *what);
/** Wake up to @p n, in order of arrival.  @return how many   @thread any */
unsigned fj__parking_wake(const volatile void *address, unsigned n);
/** Whether anybody waits: what was done to the object before is seen by whoever begins to wait after this said no, when it
 *  asks `still`.  @thread any */
bool fj__parking_any(const volatile void *address);

#endif
