/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_CLOCK_H
#define FJORD_CLOCK_H
/*
 * Time.  A deadline is a point of the monotonic clock, in nanoseconds, so that it can be handed down
 * through every layer unchanged and timeouts compose.  Changes of the wall clock have no effect on it.
 */
#include <fjord/base.h>

FJ_BEGIN_DECLS

#define FJ_NEVER_NS INT64_MAX

/** The monotonic clock now (or the test clock, see fj__clock_set_fake in runtime/clock.h). */
FJ_API fj_deadline fj_now(void);
/** Now and @p ms milliseconds; a negative @p ms is a deadline already passed.  Saturates at FJ_NEVER. */
FJ_API fj_deadline fj_in_ms(int64_t ms);
/** Now and @p s seconds; not-a-number or too large: FJ_NEVER. */
FJ_API fj_deadline fj_in_seconds(double s);
FJ_API fj_deadline fj_never(void);
FJ_API bool fj_is_never(fj_deadline by);
FJ_API bool fj_passed(fj_deadline by);
/** The sooner of two. */
FJ_API fj_deadline fj_sooner(fj_deadline a, fj_deadline b);
/** Nanoseconds from now to @p by, at least 0; FJ_NEVER_NS for never. */
FJ_API int64_t fj_left_ns(fj_deadline by);
/** Milliseconds from now to @p by as poll(2) takes them: rounded up, 0 when passed, -1 for never. */
FJ_API int fj_left_ms(fj_deadline by);

FJ_END_DECLS
#endif
