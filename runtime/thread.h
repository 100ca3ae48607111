/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_THREAD_H
#define FJORD_RUNTIME_THREAD_H
/* Threads of the library's own. */
#include <fjord/error.h>
#include <pthread.h>

/** Make a thread to which no signal is delivered, but for the profiler's: those are the program's own.
 *  @param name lends, at most 15 bytes   @return 0; ENOMEM; what pthread_create() answers */
int fj__thread_new(pthread_t *ret, const char *name, void *(*fn)(void *user), void *user);

/** "no thread WHAT: why": NOMEM, or SYSTEM.  @param why what fj__thread_new() answered   @param what "for a job" */
fj_code fj__thread_refused(int why, const char *what, fj_error **err);

/** There are @p n more (or fewer) threads of which stuck.c is to know that no loop is ever woken by them. */
void fj__thread_wakes_nobody(int n);
unsigned fj__thread_count_quiet(void);

#endif
