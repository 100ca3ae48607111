/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_WAITING_H
#define FJORD_RUNTIME_WAITING_H
/*
 * How locks and queues use waiters (runtime/waiter.h).  Each has a small pthread mutex, held for a few instructions, and
 * lines of waiters.  Whoever grants something takes the first out of its line and wakes it, so nobody can come in
 * between; one that has given up meanwhile finds itself granted, and passes it on.
 */
#include "runtime/waiter.h"

#include <pthread.h>

/** With @p lock held, which is let go meanwhile: stand in @p line until fj__grant().
 *  @param wanted lends; for reports      @param user the granter's, in the waiter
 *  @param ret_granted  whether it was granted; if the answer is not OK, that is to be passed on
 *  @return OK; TIMEOUT, CANCELLED; WRONG_CONTEXT */
fj_code fj__wait_in_line(fj__waiters *line, pthread_mutex_t *lock, const fj__wanted *wanted, void *user,
                         fj_deadline by, bool *ret_granted);
/** As fj__waiter_wait(), but a cancellation or timeout that comes before a granted task has run is told by this wait, not
 *  by the next: what was granted can be passed on, so nothing is lost by it, and who is cancelled while it waits never
 *  enters. */
fj_code fj__wait_for_grant(fj__waiter *w, fj_deadline by);
/** Take @p w out of its line and wake it.  @locks needs the one it waits with */
void fj__grant(fj__waiters *line, fj__waiter *w);

#endif
