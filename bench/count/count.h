/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_COUNT_H
#define FJORD_BENCH_COUNT_H
/*
 * What is counted in instructions: a cell does something N times, and all else it does is the same for every N, so that the
 * difference of two runs is what N of them cost.  bench/check runs the cells under callgrind.
 */
#include <fjord/error.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct count_cell count_cell;
struct count_cell {
    const char *name;
    void (*run)(const count_cell *cell, long n);
    long n;           /* enough of them; a whole number of `at_once` */
    const char *what; /* the kind's own: an executor, a method, a size */
    const char *how;
    long at_once;
    bool first_thread; /* count only the main thread's: the others play what is not ours, such as a broker */
};

/** Tables that end with a cell without a name. */
extern const count_cell count_calls[], count_bodies[], count_frames[], count_amqp[], count_runtime[];

/** End the process, saying so, unless @p code is OK.  @param err lends; may be NULL */
void count_check(fj_code code, const char *what, const fj_error *err);

#endif
