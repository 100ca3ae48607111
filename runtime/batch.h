/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_BATCH_H
#define FJORD_RUNTIME_BATCH_H
/* Several futures that are watched together: fj_wait() and fj_as_completed stand on it. */
#include "runtime/future_impl.h"

typedef struct fj__batch fj__batch;

typedef struct fj__batch_item {
    fj__batch *batch;
    fj_future *future; /* a reference */
    struct fj__batch_item *next;
} fj__batch_item;

struct fj__batch {
    atomic_uint refs; /* one a call-back that may still come, and the maker's */
    pthread_mutex_t lock;
    fj__waiters waiters;
    size_t n, watched, done, failed;
    fj__batch_item *first, **last; /* complete and not taken, in the order of completion */
    fj__batch_item items[];
};

/** @param futures lends; referenced   @param ret gives   @errors NOMEM */
fj_code fj__batch_new(fj_future *const *futures, size_t n, fj__batch **ret, fj_error **err);
/** Watch no longer.  Accepts NULL. */
void fj__batch_free(fj__batch *b);
/** Wait until @p ready says true, which is asked with the lock held.  @return OK; those of fj__waiter_wait() */
fj_code fj__batch_wait(fj__batch *b, bool (*ready)(const fj__batch *b, void *user), void *user, fj_deadline by);
/** The next that is complete, or NULL. */
fj_future *fj__batch_take(fj__batch *b);

#endif
