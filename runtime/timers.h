/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_TIMERS_H
#define FJORD_RUNTIME_TIMERS_H
/* Timers of one owner: a binary heap of objects that the owner embeds.  No thread, no clock, no lock. */
#include <fjord/clock.h>

typedef struct fj__timer fj__timer;
struct fj__timer {
    void (*fn)(fj__timer *timer, fj_deadline now); /* runs once; the timer is idle then and may be set again */
    int64_t at;
    uint64_t order; /* of two that are due at the same time the one set first is first */
    size_t place;   /* 1 + index in the heap; 0: idle */
};

typedef struct {
    fj__timer **heap;
    size_t n, capacity;
    uint64_t set; /* how often one was set */
    int64_t now;  /* of the turn that is running */
    bool running;
} fj__timers;

/** Set, or set anew.  @return false when memory ran out (the timer is then idle) */
bool fj__timer_set(fj__timers *ts, fj__timer *t, fj_deadline at);
void fj__timer_cancel(fj__timers *ts, fj__timer *t);
/** When the first is due; never when there is none. */
fj_deadline fj__timers_next(const fj__timers *ts);
/** Run what is due.  A timer that one of them sets to a time not after @p now waits for the next call, so that none can
 *  keep this one going or hold the others up.  @param now not never */
void fj__timers_run(fj__timers *ts, fj_deadline now);
void fj__timers_fini(fj__timers *ts);

#endif
