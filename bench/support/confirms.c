/* SPDX-License-Identifier: Apache-2.0 */
#include "confirms.h"

#define SEEN (2 * PLAN_AT_ONCE_MAX)

static void take_one(confirms *c, drive *d, uint64_t tag)
{
    if (c->seen[tag % SEEN])
        return;
    c->seen[tag % SEEN] = true;
    drive_done(d, (long)tag - 1);
}

void confirms_take(confirms *c, drive *d, uint64_t tag, bool multiple)
{
    plan_check(tag > c->below && tag - c->below < SEEN, "getting a confirm that was asked for");
    for (uint64_t t = multiple ? c->below + 1 : tag; t <= tag; t++)
        take_one(c, d, t);
    for (; c->seen[(c->below + 1) % SEEN]; c->below++)
        c->seen[(c->below + 1) % SEEN] = false;
}
