/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_DRIVE_H
#define FJORD_BENCH_DRIVE_H
/*
 * A client of one thread that keeps N calls under way, or begins each when it is due.  A side says how one is sent, and how what comes
 * is waited for; it tells of each that is over by its number.
 */
#include "tally.h"

#define DRIVE_NEVER 0.0

typedef struct drive drive;
struct drive {
    /** Send the request of this number, or keep it to be sent with others. */
    void (*send)(drive *d, long number);
    /** Send what is kept, then wait until something came, or until @p by of plan_now() (DRIVE_NEVER: for ever), and tell
     *  drive_done() of each that is over.  In that, send() may be called. */
    void (*take)(drive *d, double by);
    void *side;

    /* The driver's own. */
    const plan *plan;
    long first, sent, done, end; /* numbers go on from one run to the next */
    double *began;               /* of PLAN_AT_ONCE_MAX, or of all calls of an open loop */
    long began_n;
    tally tally;
};

/** The request of this number is over. */
void drive_done(drive *d, long number);
/** @p n calls as the plan says, all of which are over then.  @return the seconds that it took */
double drive_run(drive *d, const plan *p, long n);
/** The warm-up, "begin", the calls, and the report.  @param last  called before the clock is stopped, as long as casts are confirmed
 *  before anybody has them; may be NULL */
void drive_all(drive *d, const plan *p, void (*last)(drive *d));

#endif
