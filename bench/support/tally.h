/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_TALLY_H
#define FJORD_BENCH_TALLY_H
/* How long each call took. */
#include "plan.h"

typedef struct {
    double *took; /* seconds */
    long n, capacity;
} tally;

/** Empty, with room for @p capacity calls.  Ends the process without memory. */
tally tally_new(long capacity);
/** More than there is room for are not kept. */
void tally_add(tally *t, double seconds);
/** A line of JSON: seconds, done, p50, p99, p999 and max in microseconds.  Then as plan_say(). */
void tally_report(tally *t, const plan *p, double seconds);
void tally_free(tally *t);

#endif
