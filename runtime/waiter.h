/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_WAITER_H
#define FJORD_RUNTIME_WAITER_H
/*
 * One who waits for something, on the stack of the wait: a task, which parks, or a plain thread, which sleeps on a futex.
 * Locks, events, queues and futures keep lists of waiters under a lock of their own, and wake them with it held; a waiter
 * that gives up takes that lock, and finds itself in the list or woken.
 */
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/task.h>
#include <stdatomic.h>

/** What somebody waits for, as far as reports need to know. */
typedef struct {
    const char *what, *kind; /* its name, if it has one, else its kind; its kind.  Both lend */
    const void *object;
    /* Who alone can end the wait, as fj__waiter_self() names them; NULL: nobody knows now.  Asked without a lock of the
     * object.  No such function: anybody may */
    void *(*owner)(const void *object);
    bool lock;   /* may be part of a circle: see runtime/circle.h */
    bool handed; /* the owner may be the one who waits, before it has heard of it */
} fj__wanted;

typedef struct fj__waiter fj__waiter;
struct fj__waiter {
    fj__waiter *next, *prev;  /* the owner's list; NULL, NULL outside */
    fj_task *task;            /* NULL: a plain thread */
    const char *what;         /* lends; for reports */
    const fj__wanted *wanted; /* lends; the same and more, if there is more to know; NULL: there is not */
    void *user;               /* the owner's */
    atomic_uint woken;        /* a futex */
};

typedef struct {
    fj__waiter *first, *last;
} fj__waiters;

/** @errors WRONG_CONTEXT on a loop's thread outside a task */
fj_code fj__waiter_init(fj__waiter *w, const char *what);
/** Wait to be woken.  @return OK, once woken; TIMEOUT, CANCELLED, WRONG_CONTEXT (then it may be woken all the same: look
 *  under the lock) */
fj_code fj__waiter_wait(fj__waiter *w, fj_deadline by);
/** The same, but may return OK early. */
fj_code fj__waiter_pause(fj__waiter *w, fj_deadline by);
/** With the owner's lock held, which is also taken by whoever gives up: the waiter may vanish right after it.  @thread any */
void fj__waiter_wake(fj__waiter *w);

/** What stands for the calling thread. */
void *fj__waiter_thread(void);
/** Who calls, @p task being the one that does: the task, or else the thread, for which an address of its own stands. */
static inline void *fj__waiter_self_of(fj_task *task)
{
    return task != NULL ? (void *)task : fj__waiter_thread();
}

void fj__waiters_push(fj__waiters *list, fj__waiter *w);
void fj__waiters_remove(fj__waiters *list, fj__waiter *w);
bool fj__waiters_has(const fj__waiters *list, const fj__waiter *w);

#endif
