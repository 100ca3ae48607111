/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_SYNC_H
#define FJORD_RUNTIME_SYNC_H
/* Plain threads waiting on the monotonic clock. */
#include <fjord/clock.h>
#include <pthread.h>
#include <stdatomic.h>

/** Sleep while *word is @p seen; may return early.  @return false when @p by has passed */
bool fj__futex_wait(atomic_uint *word, unsigned seen, fj_deadline by);
/** Wake @p n of those who sleep on it at most.  Async-signal-safe. */
void fj__futex_wake(atomic_uint *word, int n);

/** A condition variable that measures its timeouts by CLOCK_MONOTONIC. */
void fj__cond_init(pthread_cond_t *cond);
/** Wait until signalled or @p by.  @return false when @p by has passed.  @locks needs @p lock */
bool fj__cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, fj_deadline by);

/** Counts forks: a handle remembers the count at its making and answers FJ_FORKED when it has changed. */
unsigned fj__fork_generation(void);

#endif
