/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_BENCH_STATS_H
#define FJORD_TOOLS_BENCH_STATS_H
/*
 * What is counted of messages: a group has a series for each client (or one for the server), a series a point for each second, in the
 * shape of the results of oslo.messaging's simulator.  Times of day are seconds since 1970, latencies nanoseconds.
 */
#include "base/histogram.h"
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>

/** One message. */
typedef struct {
    double began, ended; /* time of day */
    uint64_t size;       /* characters of its cargo */
    bool timed;          /* `took` is told */
    int64_t took;
} bench_one;

/** What came in a time: a second, or all of it. */
typedef struct {
    double at; /* its end */
    uint64_t count, size, timed;
    int64_t sum, least, most; /* of those that were timed; may be below 0 where two clocks differ */
} bench_point;

typedef struct {
    pthread_mutex_t lock;
    bench_point now, total;
    bench_point *past;
    size_t count, room;
    double first, last; /* when its first message began and its last ended */
} bench_series;

typedef struct {
    const char *label;
    bench_series *series;
    size_t count;
    bool keep; /* points are kept for bench_series_json() */
    fj__histogram took;
} bench_group;

/** Seconds since 1970. */
double bench_time(void);

/** @param label  lends   @return false: no memory; bench_group_fini() is right then, too */
bool bench_group_init(bench_group *g, const char *label, size_t count, bool keep);
/** One that is all zero is fine. */
void bench_group_fini(bench_group *g);
/** Count one message in series @p i.  @thread any */
void bench_push(bench_group *g, size_t i, const bench_one *one);
/** End the second of every series.  @return what was in it, in all of them   @thread any, one at a time */
bench_point bench_tick(bench_group *g, double at);
/** What was in all series from the beginning; @p ret_seconds: from the begin of the first message to the end of the last. */
bench_point bench_total(bench_group *g, double *ret_start, double *ret_seconds);
/** The points of one series.  Gives; NULL: no memory */
json_t *bench_series_json(bench_group *g, size_t i);
/** {count, size, duration, count_p_s, size_p_s}, with messages start and end, and where they were timed latency, min_latency,
 *  max_latency, p50, p99 and p99.9, in seconds.  Gives; NULL: no memory */
json_t *bench_summary(bench_group *g);

#endif
