/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_PENDING_H
#define FJORD_MESSAGING_PENDING_H
/* What was sent and nobody waits for: how much of it is on its way, and what failed first, for who flushes. */
#include <fjord/error.h>

#include "runtime/waiter.h"

#include <pthread.h>

typedef struct {
    pthread_mutex_t lock;
    fj__waiters flushing;
    size_t n;
    fj_error *failed;
} fj__pending;

void fj__pending_init(fj__pending *p);
void fj__pending_fini(fj__pending *p);
void fj__pending_begin(fj__pending *p);
/** @param error takes; NULL: it went well */
void fj__pending_over(fj__pending *p, fj_error *error);
/** Wait until nothing is.  @param what  is sent, as "casts", for texts   @return the first failure since the last flush; TIMEOUT,
 *  CANCELLED, WRONG_CONTEXT   @blocks until @p by; a task suspends */
fj_code fj__pending_flush(fj__pending *p, const char *what, fj_deadline by, fj_error **err);

#endif
