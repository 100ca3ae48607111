/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_THROTTLE_H
#define FJORD_MESSAGING_THROTTLE_H
/* How fast what dies is started again: a number at once, and then one in each interval. */
#include <fjord/clock.h>

typedef struct {
    int64_t full_ns; /* when all of the number may be started at once again */
} fj__throttle;

/** When the next may be started, @p now or later; it counts as started then.
 *  @param burst  how many at once   @param interval_ns  between those that follow */
fj_deadline fj__throttle_next(fj__throttle *t, fj_deadline now, unsigned burst, int64_t interval_ns);

#endif
