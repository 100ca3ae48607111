/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_REPORT_H
#define FJORD_RUNTIME_REPORT_H
/* The words of reports about who waits for what. */
#include "runtime/waiter.h"

#include <fjord/log.h>
#include <sys/types.h>

/** "task "a" waits for mutex "m", which thread 17 holds".  Tasks may be NULL: then it is the thread.  Gives; NULL without
 *  memory. */
char *fj__report_wait(const fj_task *task, pid_t thread, const fj__wanted *wanted, const fj_task *owner,
                      pid_t owner_thread);
/** "task "a" waits for mutex "m"", or what else it does.  Gives; NULL without memory.  @thread its loop's */
char *fj__report_task(const fj_task *task);
/** What it waits for, "mutex "m""; NULL when it does not, or without memory.  Gives.  @thread its loop's */
char *fj__report_wanted(const fj_task *task);
/** @p text (taken; NULL: empty), @p between, @p more.  Gives; NULL without memory, or with NULL for @p more */
char *fj__report_join(char *text, const char *between, const char *more);
/** Log @p text (lends) with where @p task (lends) waits: now if this is its loop's thread, else from there, soon. */
void fj__report_sight(fj_log_level level, fj_task *task, const char *text);
/** Once for each place: @p task, the running one, holds a lock of libc's and is about to suspend, to wait for @p what. */
void fj__report_held(const fj_task *task, const char *what);
/** The running task is about to block its thread for ever: the thread holds the mutex at @p address itself. */
void fj__report_stuck_lock(const volatile void *address);
/** The same of the calling thread. */
void fj__report_here(fj_log_level level, const char *text);

#endif
