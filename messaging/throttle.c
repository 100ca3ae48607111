/* SPDX-License-Identifier: Apache-2.0 */
#include "throttle.h"

fj_deadline fj__throttle_next(fj__throttle *t, fj_deadline now, unsigned burst, int64_t interval_ns)
{
    fj_deadline at = now;
    int64_t reach = (int64_t)(burst > 0 ? burst - 1 : 0) * interval_ns;

    if (t->full_ns - reach > now.ns)
        at.ns = t->full_ns - reach;
    t->full_ns = (t->full_ns > at.ns ? t->full_ns : at.ns) + interval_ns;
    return at;
}
