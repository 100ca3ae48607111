/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_WATCHDOG_H
#define FJORD_RUNTIME_WATCHDOG_H
/*
 * The watchdog of a debugged loop: a thread that says where a call-back is while it blocks the loop, as asyncio, which tells
 * only afterwards, cannot: see runtime/capture.h, also for what that does to system calls, once for each call-back that is too slow.
 */
#include <fjord/error.h>
#include <stdatomic.h>

typedef struct fj__watchdog fj__watchdog;

/** @param limit lends: nanoseconds after which a call-back is told of   @errors NOMEM, SYSTEM (no thread) */
fj_code fj__watchdog_new(const _Atomic int64_t *limit, fj__watchdog **ret, fj_error **err);
/** Ends the thread.  In a forked child there is none. */
void fj__watchdog_free(fj__watchdog *dog);

/** How many there are: each has a thread. */
unsigned fj__watchdog_count(void);

/** The calling thread is the one that runs call-backs, until unwatch. */
void fj__watchdog_watch(fj__watchdog *dog);
void fj__watchdog_unwatch(fj__watchdog *dog);

/** A call-back begins, and ends.  @param name lends until it ends; may be NULL   @param now real nanoseconds
 *  @thread the watched one */
void fj__watchdog_begin(fj__watchdog *dog, const char *name, int64_t now);
void fj__watchdog_end(fj__watchdog *dog);

#endif
