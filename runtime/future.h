/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_FUTURE_H
#define FJORD_RUNTIME_FUTURE_H
/* Futures from inside the library: how drivers put waiting threads to sleep and wake them. */
#include <fjord/future.h>

/** How often it was nudged: to be read before looking at what a nudge would tell of. */
unsigned fj__future_nudges(fj_future *future);
/** Sleep until the future is done, was nudged since @p seen was read, or @p by.
 *  @return OK; TIMEOUT; CANCELLED, in a task that is to end */
fj_code fj__future_sleep(fj_future *future, unsigned seen, fj_deadline by);
/** Wake all who sleep on it, and all who are about to, though it is not done.  @thread any */
void fj__future_nudge(fj_future *future);
typedef struct fj__then fj__then;
struct fj__then {
    fj__then *next;
    fj_future_fn fn;
    void *user;
    bool quick; /* the library's own: it runs no user code, and waits for no lock that is held for long */
    bool logs;  /* though it is quick it logs, if the operation failed: where that goes is the user's */
};

/** As fj_future_then(), with memory that the caller gives (from base/alloc.h; @p then may be the first member of more): fn and user
 *  are set, and it is freed after the call.  Such a one that is `quick` does not count as watching. */
void fj__future_then(fj_future *future, fj__then *then);
/** As fj_future_then(), for a call-back that is quick.  @errors NOMEM, FORKED */
fj_code fj__future_then_quick(fj_future *future, fj_future_fn fn, void *user, bool logs);
/** Whether completing it, with an error if it @p fails, would run what may take its time. */
bool fj__future_watched(fj_future *future, bool fails);

#endif
