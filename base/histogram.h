/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_HISTOGRAM_H
#define FJORD_BASE_HISTOGRAM_H
/*
 * How long things took: a histogram of fixed size that any thread adds to without a lock.
 *
 * Each power of two is cut into 32 equal bins from 1,024 ns on, and what is below into 32 bins of 32 ns.  A bin is told by its
 * middle, so that a percentile is off by 1/64 (1.6 %) of itself at most from 1 us to 2^44 ns (4.9 hours), by 16 ns below, and what
 * took longer still is told as the longest.  Least, most, count and mean are exact.
 */
#include <fjord/error.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
    FJ__HISTOGRAM_SUB = 5, /* bits: how many bins a power of two has */
    FJ__HISTOGRAM_LOW = 10,
    FJ__HISTOGRAM_HIGH = 44,
    FJ__HISTOGRAM_BINS = (1 + FJ__HISTOGRAM_HIGH - FJ__HISTOGRAM_LOW) * (1 << FJ__HISTOGRAM_SUB)
};

/** 9 KiB.  All zero is an empty one; there is nothing to be freed. */
typedef struct {
    _Atomic uint64_t sum;
    _Atomic uint64_t most;
    _Atomic uint64_t under; /* UINT64_MAX less the least: 0 when empty */
    _Atomic uint64_t bins[FJ__HISTOGRAM_BINS];
} fj__histogram;

/** What a histogram held at one time. */
typedef struct {
    uint64_t count, least, most; /* nanoseconds; least and most are 0 when empty */
    double mean;
    uint64_t bins[FJ__HISTOGRAM_BINS];
} fj__histogram_view;

/** One more that took @p ns; a negative time counts as 0, one over 13 days as 13 days.  @thread any, never blocks, async-signal-safe */
void fj__histogram_add(fj__histogram *h, int64_t ns);
/** What is added meanwhile is in it whole or not at all, but for the mean.  @thread any, never blocks */
void fj__histogram_look(const fj__histogram *h, fj__histogram_view *ret);
/** The least time that @p per_mille of 1,000 took no longer than, in nanoseconds; 0 when empty. */
uint64_t fj__histogram_at(const fj__histogram_view *v, unsigned per_mille);
/** How many took less than @p ns, as far as bins tell: those of the bin that @p ns is in count if the bin's middle is below it. */
uint64_t fj__histogram_below(const fj__histogram_view *v, uint64_t ns);
/** {count, mean, min, max, p50, p99, p99.9}, times in seconds, null when empty.  Gives; NULL when memory ran out. */
json_t *fj__histogram_json(const fj__histogram *h);

#endif
