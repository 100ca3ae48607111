/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/retry.h"

#include "base/ids.h"

#include <math.h>

#define NS_PER_S 1000000000LL
enum {
    HELD_S = 5,
    /* A vhost that is deleted loses its queues before its connections: what is declared anew in between stays behind, broken. */
    SOON_MS = 300
};

fj_deadline fj__retry_next(fj__retry *r, fj_deadline now)
{
    int64_t pause = r->at_once ? 0 : (int64_t)(SOON_MS * 1e6 * (0.5 + fj__random_unit()));

    if (now.ns - r->at_ns > r->pause_ns + HELD_S * NS_PER_S)
        r->n = 0;
    if (r->n >= r->quick) {
        double least = SOON_MS / 1e3, longest = r->longest > least ? r->longest : least;
        double seconds = ldexp(1, (int)(r->n - r->quick));
        seconds = seconds < longest ? seconds : longest;
        pause = (int64_t)(seconds * (1 - fj__random_unit() / 2) * 1e9);
    }
    r->n++;
    r->pause_ns = pause;
    r->at_ns = now.ns + pause;
    return (fj_deadline){ r->at_ns };
}

void fj__retry_good(fj__retry *r)
{
    r->n = 0;
}
