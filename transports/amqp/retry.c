/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/retry.h"

#include "base/ids.h"

#define NS_PER_S 1000000000LL
enum {
    LONGEST_S = 30, /* as rabbit_interval_max of a connection */
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
        unsigned doubled = r->n - r->quick;
        pause = (doubled < 5 ? 1LL << doubled : LONGEST_S) * NS_PER_S;
        pause -= (int64_t)((double)pause / 2 * fj__random_unit());
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
