/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_RETRY_H
#define FJORD_AMQP_RETRY_H
/* When to do again what the broker undid (a consumer that it cancelled, a channel that it closed): soon, but never in a hot loop. */
#include <fjord/clock.h>

#include <stdbool.h>

typedef struct {
    unsigned quick;          /* so many times soon */
    bool at_once;            /* soon is now: nothing is declared that could stay behind */
    double longest;          /* seconds: rabbit_interval_max, as between attempts to connect */
    unsigned n;              /* times since it last went well */
    int64_t at_ns, pause_ns; /* of the last */
} fj__retry;

/** The time of the next attempt: 150 to 450 ms after @p now for the first ones, then 1, 2, 4 ... s, `longest` at most, less by up to
 *  a half at random.  What held for longer than the last pause and five seconds went well. */
fj_deadline fj__retry_next(fj__retry *r, fj_deadline now);
/** It went well. */
void fj__retry_good(fj__retry *r);

#endif
