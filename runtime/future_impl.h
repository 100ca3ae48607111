/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_FUTURE_IMPL_H
#define FJORD_RUNTIME_FUTURE_IMPL_H
/* What a future is made of, for those that are futures and more: tasks embed one as their first member. */
#include "runtime/future.h"
#include "runtime/waiter.h"

#include <pthread.h>

/** What a kind of future does otherwise than others.  All slots are there. */
typedef struct {
    /** Instead of completing it at once.  @return false when it was complete */
    bool (*cancel)(fj_future *f);
    /** The last reference is gone: end with fj__future_fini() and free the memory. */
    void (*free)(fj_future *f);
} fj__future_kind;

/* The state is under the lock; it is held for a few instructions, and while waiters are woken. */
struct fj_future {
    atomic_uint refs;
    atomic_bool done;    /* written under the lock; read without it */
    atomic_bool asked;   /* somebody was told the outcome */
    atomic_uint nudges;  /* written under the lock; read without it */
    unsigned generation; /* of the process that made it: whoever would complete it is there */
    pthread_mutex_t lock;
    const fj__future_kind *kind; /* NULL: a plain one */
    const fj_future_ops *ops;
    void *user;
    json_t *result;
    fj_error *error;
    fj__then *first, **last; /* call-backs; as long as there are any it holds a reference to itself */
    fj__waiters waiters;
};

/** One reference, the caller's. */
void fj__future_init(fj_future *f, const fj__future_kind *kind, const fj_future_ops *ops, void *user);
void fj__future_fini(fj_future *f);

/** Wait once for it to be done; may return early.  @return those of fj__waiter_wait() */
fj_code fj__future_pause(fj_future *f, fj_deadline by, const char *what);
/** Wait until it is done.  @return OK when it is; else those of fj__waiter_wait() */
fj_code fj__future_until(fj_future *f, fj_deadline by, const char *what);
/** Take back fj_future_then(fn, user).  @return false when it has been called, or is about to be */
bool fj__future_forget(fj_future *f, fj_future_fn fn, void *user);
/** Complete @p f with the outcome of @p from, which is complete. */
void fj__future_follow(fj_future *f, const fj_future *from);
/** A copy of its error, never NULL.  Gives.  Only when it is complete and failed. */
fj_error *fj__future_error(const fj_future *f);

#endif
