/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_COUNTERS_H
#define FJORD_BASE_COUNTERS_H
/*
 * Counters for each method, on the side of a server or of clients.  Peers choose the names of methods, so the table holds 1,024 of
 * them, of up to 255 bytes; all others share the row "(other)".  A row is never taken out again.
 *
 * Nothing here takes a lock.  What begins is counted before what ends, and read after it, so that what is in flight is never
 * told as less than none.
 */
#include "base/histogram.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    FJ__COUNT_CALLS, /* begun, that somebody waits for */
    FJ__COUNT_CASTS, /* begun, that nobody does */
    FJ__COUNT_SENT,  /* clients: ended, and a server may have them */
    /* Each that begun ends as one of these. */
    FJ__COUNT_OK,
    FJ__COUNT_FAILED,
    FJ__COUNT_EXPECTED, /* a failure that was marked as expected */
    FJ__COUNT_CANCELLED,
    FJ__COUNT_TIMEOUTS,
    FJ__COUNT_REQUEUED, /* servers: never begun */
    FJ__COUNT_N
} fj__count;

typedef enum { FJ__SIDE_SERVER, FJ__SIDE_CLIENT } fj__side;

typedef struct fj__counters fj__counters;

/** The row of a method. */
typedef struct fj__counted {
    struct fj__counted *next;
    uint32_t hash;
    _Atomic uint64_t n[FJ__COUNT_N];
    fj__histogram latency;
    fj__histogram *wait; /* from arrival to start; NULL on a client's side */
    const char *method, *topic;
} fj__counted;

enum { FJ__COUNTERS_NAMES = 1024 };

/** One reference.  NULL: no memory. */
fj__counters *fj__counters_new(fj__side side);
/** @return @p t */
fj__counters *fj__counters_ref(fj__counters *t);
/** Accepts NULL. */
void fj__counters_unref(fj__counters *t);
/** The row of @p method of @p topic (NULL: of a table for one), made on its first use; that of all others where there is no
 *  room.  Lends, as long as the table.  NULL without memory for even that one: nothing is counted then, and all that follow accept it.
 *  @thread any, never blocks */
fj__counted *fj__counters_row(fj__counters *t, const char *topic, const char *method);
/** Each row as an object, in no order.  @param server  its name, lends; NULL on a client's side   Gives; NULL when memory ran out. */
json_t *fj__counters_json(fj__counters *t, const char *server);

static inline void fj__count_one(fj__counted *row, fj__count what)
{
    if (row != NULL)
        atomic_fetch_add_explicit(&row->n[what], 1, memory_order_release);
}

static inline void fj__count_latency(fj__counted *row, int64_t ns)
{
    if (row != NULL)
        fj__histogram_add(&row->latency, ns);
}

static inline void fj__count_wait(fj__counted *row, int64_t ns)
{
    if (row != NULL && row->wait != NULL)
        fj__histogram_add(row->wait, ns);
}

/** What an end by @p code, or by a failure with @p flags (FJ_EXPECTED), counts as. */
fj__count fj__count_of(fj_code code, unsigned flags);

#endif
