/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_CONFIRMS_H
#define FJORD_BENCH_CONFIRMS_H
/* Which casts a broker has confirmed: it may leave out some, and tell of several at once. */
#include "drive.h"

#include <stdint.h>

typedef struct {
    uint64_t below;                  /* this tag and all before it are confirmed */
    bool seen[2 * PLAN_AT_ONCE_MAX]; /* of those behind it, which */
} confirms;

/** The broker's word for @p tag, and with @p multiple for all before it.  Tag 1 is the cast of number 0: each goes to drive_done(). */
void confirms_take(confirms *c, drive *d, uint64_t tag, bool multiple);

#endif
