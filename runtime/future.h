/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_FUTURE_H
#define FJORD_RUNTIME_FUTURE_H
/* Futures from inside the library: how drivers put waiting threads to sleep and wake them. */
#include <fjord/future.h>

/** How often it was nudged: to be read before looking at what a nudge would tell of. */
unsigned fj__future_nudges(fj_future *future);
/** Sleep until the future is done, was nudged since @p seen was read, or @p by.
 *  @return OK; TIMEOUT; CANCELLED, in a task that is to end */
fj_code fj__future_sleep(fj_future *future, unsigned seen, fj_deadline by);
/** Wake all who sleep on it, and all who are about to, though it is not done.  @thread any */
void fj__future_nudge(fj_future *future);
/** Whether completing it would run somebody's call-back. */
bool fj__future_watched(fj_future *future);

#endif
