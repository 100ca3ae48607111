/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_FUTURE_H
#define FJORD_RUNTIME_FUTURE_H
/* Futures from inside the library: how drivers put waiting threads to sleep and wake them. */
#include <fjord/future.h>

/** Sleep until the future is done, nudged, or @p by.  A nudge given before is remembered, once.
 *  @return OK; TIMEOUT; CANCELLED, in a task that is to end */
fj_code fj__future_sleep(fj_future *future, fj_deadline by);
/** Wake whoever sleeps on it, or the next who will, though it is not done.  @thread any */
void fj__future_nudge(fj_future *future);
/** Whether completing it would run somebody's call-back. */
bool fj__future_watched(fj_future *future);

#endif
