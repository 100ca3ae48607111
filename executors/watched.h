/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_WATCHED_H
#define FJORD_EXECUTORS_WATCHED_H
/*
 * A listener for tasks, in front of one whose poll() would block the thread: the loop watches what feeds that one and
 * pumps it, and poll() suspends the task until something has come.
 */
#include <fjord/driver.h>
#include <fjord/loop.h>

typedef struct fj__watched fj__watched;

/** @param under lends, until freed   @param ret gives   @thread the loop's */
fj_code fj__watched_new(fj_loop *loop, fj_listener *under, fj__watched **ret, fj_error **err);
/** Lends. */
fj_listener *fj__watched_listener(fj__watched *w);
/** Accepts NULL.  No task may be in poll().  @thread the loop's, or any when the loop is gone */
void fj__watched_free(fj__watched *w);

#endif
