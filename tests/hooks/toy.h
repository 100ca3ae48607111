/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HOOKS_TOY_H
#define TESTS_HOOKS_TOY_H
/*
 * The smallest runtime the hooks can be shown: the one green task is the test's own thread, which "suspends" in poll(2)
 * while another thread does what the task waits for.  It counts what it is asked for.
 */
#include "runtime/hooks/table.h"

#include <stdbool.h>

const fj__green_hooks_table *fj__green_hooks(void);

typedef struct {
    unsigned waits, poll_waits, sleeps, offloads, breaths;
    unsigned long_waits; /* of the offloads */
    int64_t by;          /* the deadline of the last wait or sleep */
} toy_counts;

/** Begin: the hooks have a runtime, @p groups are on, and this thread is green.  For checked fixtures. */
void toy_begin(unsigned groups);
void toy_end(void);
/** What was asked for so far. */
toy_counts toy_asked(void);
/** Be green or not, here. */
void toy_green(bool yes);
/** Run @p fn in another thread as soon as the task has suspended @p nth times (from 1, counted from this call). */
void toy_when_suspended(unsigned nth, void (*fn)(void *arg), void *arg);
/** Wait for what toy_when_suspended() began. */
void toy_join(void);
/** End every wait, now and to come, with ECANCELED, until toy_end(). */
void toy_cancel(void *unused);
/** The next offload finds no thread: @p error. */
void toy_no_threads(int error);

#endif
