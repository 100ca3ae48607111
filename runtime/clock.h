/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_CLOCK_H
#define FJORD_RUNTIME_CLOCK_H
/* The clock from inside the library and its tests. */
#include <fjord/clock.h>

/** Tests: time stands still at @p ns and moves only by the next call; a negative value gives the real clock
 *  back.  @thread any */
void fj__clock_set_fake(int64_t ns);
/** Tests: with a fake clock that is automatic, a loop that has nothing to do but to sleep until a deadline moves the clock there
 *  instead, so that the time it tells passes at once and in order.  Descriptors and letters that are ready come first.  It is
 *  meant for one loop: other threads are not waited for.  @thread any */
void fj__clock_set_auto(bool on);
/** Whether the clock is fake and automatic. */
bool fj__clock_auto(void);
/** Move a fake clock on to @p to, never back.  @thread any */
void fj__clock_advance(fj_deadline to);
/** CLOCK_MONOTONIC itself, in nanoseconds, whatever the fake clock says: for measuring.  @thread any, async-signal-safe */
int64_t fj__clock_real_ns(void);
/** The same, a few milliseconds behind, for a quarter of the price: for how long something has been so. */
int64_t fj__clock_coarse_ns(void);

#endif
