/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_PARKING_H
#define FJORD_RUNTIME_PARKING_H
/*
 * Waiting on an address: for locks that live in objects of somebody else's, which have no room for a list of waiters.  Queues by
 * hash, each with a lock that is held for a few instructions; tasks and plain threads wait in the same queue, in order.
 *
 * Who waits for a lock may be overtaken by those who come just then, which is cheaper than to hand a lock on.  One that was
 * overtaken again and again for a millisecond is starved: others that would wait then stand behind it, and ask it first.
 */
#include <fjord/clock.h>
#include <fjord/error.h>

/** How one waits. */
enum {
    FJ__PARK_SHIELDED = 1, /* neither cancelled nor timed out by an fj_timeout: only by its own deadline */
    FJ__PARK_DEAF = 2,     /* a cancellation is not told, but ends the wait once, as if woken for nothing */
    FJ__PARK_THREAD = 4,   /* the thread sleeps, even in a task */
    FJ__PARK_BARGES = 8,   /* does not stand back for the starved: they may wait for what it holds already */
    FJ__PARK_OWNED = 16    /* runtime/owners.h knows who has it, and so circles can be found */
};

typedef struct {
    const volatile void *address;
    /** Whether there is still something to wait for, asked with the queue's lock held: must not suspend, nor call any of these.
     *  It takes what it finds.  NULL: whoever is woken has what it waited for. */
    bool (*still)(void *arg);
    /** Called once it stands in the queue, without the lock: from here on it will be woken.  May be NULL. */
    void (*standing)(void *arg);
    void *arg;
    fj_deadline by;
    unsigned how;     /* FJ__PARK_... */
    const char *what; /* lends; for reports */
} fj__parking;

/** Wait until `still` says false, first of all or when woken; or, without it, until woken.
 *  @return OK; TIMEOUT, CANCELLED; WRONG_CONTEXT.  Whoever is woken and cut short at the same time passes it on to the next */
fj_code fj__parking_wait(const fj__parking *p);
/** Wake up to @p n of those that sleep, in order of arrival.  What was done to the object before is seen by whoever begins to
 *  wait after this found nobody, when it asks `still`.  @return how many   @thread any, but no signal handler while any wait */
unsigned fj__parking_wake(const volatile void *address, unsigned n);
/** Whether anybody waits.  @thread any */
bool fj__parking_any(const volatile void *address);
/** Whether somebody is starved there: who would take the object waits instead.  @thread any */
bool fj__parking_starved(const volatile void *address);
/** Wait until @p n have met at @p address, this one among them; not cut short by anything.
 *  @param how THREAD, or 0   @return OK: the last, which woke the others; NOT_FOUND: one of the others; WRONG_CONTEXT */
fj_code fj__parking_meet(const volatile void *address, unsigned n, unsigned how, const char *what);

#endif
