/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TESTS_CONFORMANCE_SCENARIOS_H
#define FJORD_TESTS_CONFORMANCE_SCENARIOS_H
/* What must hold in every cell, by what it is about. */
#include "tests/conformance/rig.h"

typedef struct {
    const char *name; /* NULL: behind the last */
    void (*run)(const cell *c);
    bool once; /* it throws no dice: one seed is as good as all */
} scenario;

extern const scenario scenarios_calls[]; /* one request and its answer */
extern const scenario scenarios_inner[]; /* what a method does to its own server, and calls of its own */
extern const scenario
    scenarios_load[]; /* many requests: how many at once, in which order; methods that wait or block */
extern const scenario scenarios_ends[]; /* what a stop does with what has not begun */
extern const scenario scenarios_lost[]; /* connections that are lost */

#endif
