/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_SLOTS_H
#define FJORD_EXECUTORS_SLOTS_H
/*
 * The slots of an executor: how many requests and jobs it has in hand at most.  A slot is taken when a message is
 * admitted and given back when its request is finished, which for a deferred one is on whatever thread answers it.
 * All memory is allocated at the beginning, so that admitting cannot fail half-way.
 */
#include <fjord/executor.h>

#include "executors/eventcount.h"

#include <pthread.h>

typedef struct fj__slots fj__slots;

typedef struct fj__slot {
    fj__slots *owner;
    struct fj__slot *next; /* in the free list or the queue */
    unsigned turn;         /* counts how often it was given back: tells its users apart */
    bool in_method;        /* its request or job runs, or will at once */
    fj_request *req;       /* no reference: it is here until done */
    void (*job)(void *user);
    void *job_user;
} fj__slot;

struct fj__slots {
    pthread_mutex_t lock;
    /* raised when there is room, a job queued, all are given back, or the executor closed */
    fj__eventcount changed;
    pthread_cond_t work;    /* something is queued */
    unsigned threads, idle; /* that come for work; that wait for some */
    bool waking;            /* one of them was woken and has not looked yet */
    atomic_uint brief;      /* so many runs in a row took next to no time */
    uint64_t popped;        /* how many were taken from the queue, ever */
    struct {
        uint64_t popped;
        fj_deadline since;
    } stood; /* what fj__slots_due() saw */
    bool unwatched;
    bool leaving;
    atomic_bool closed;
    atomic_bool aborted;       /* what is deferred from now on fails */
    _Atomic int64_t patience;  /* until when a drain waits at the most, whatever it was told */
    void (*freed)(void *user); /* a slot was given back; called with the lock held; may be NULL */
    void *freed_user;
    /** How who polls waits for a change: on the event, unless it is a task. */
    bool (*sleep)(fj__slots *s, unsigned seen, fj_deadline by);
    fj_dispatcher *dispatcher;
    unsigned n, used, queued;
    fj__slot *all, *free_list, *first, **last;
};

/** How long to wait for the acknowledgements of a batch to leave. */
enum { FJ__ACK_MS = 10000 };
/** What an abort leaves to methods that are just returning: who drains waits that much longer, and names the others. */
enum { FJ__ABORT_MS = 1000 };

fj_code fj__slots_init(fj__slots *s, unsigned n, fj_error **err);
void fj__slots_fini(fj__slots *s);
/** Admit nothing new.  Async-signal-safe. */
void fj__slots_close(fj__slots *s);
/** A free slot, or NULL. */
fj__slot *fj__slots_take(fj__slots *s);
void fj__slots_give(fj__slot *slot);
/** How many are free; at a glance, it may have changed. */
unsigned fj__slots_free_count(fj__slots *s);
/** Wait until one is free and few wait in the queue (or, with @p queued_too, the queue is not empty).  @return OK; CLOSED; TIMEOUT */
fj_code fj__slots_await(fj__slots *s, bool queued_too, fj_deadline by);
/** Make a request of @p in (takes) in @p slot (takes).  @return false when there is nothing to run */
bool fj__slots_begin(fj__slot *slot, fj_incoming *in);
/** Have a taken slot run @p job instead of a request. */
void fj__slots_set_job(fj__slot *slot, void (*job)(void *user), void *user);
/** Put a taken slot at the end of the queue of what is to run: a request's, or @p job unless it is NULL.  Threads that wait for work hear
 *  of it by fj__slots_wake(). */
void fj__slots_push(fj__slot *slot, void (*job)(void *user), void *user);
/** See that threads come for what was pushed: at once, or as fj__slots_due() has it. */
void fj__slots_wake(fj__slots *s, bool at_once);
/** The first of the queue, or NULL. */
fj__slot *fj__slots_pop(fj__slots *s);
/** The same, waiting for one; NULL once fj__slots_leave() was called and the queue is empty.  @param joins  the thread is new */
fj__slot *fj__slots_pop_wait(fj__slots *s, bool joins);
/** What a thread took has run, and for how long.  While that is next to nothing one thread does the work of many, and the others are left
 *  asleep: coming would take them longer.  Should one take its time after all, others come when fj__slots_due() has passed. */
void fj__slots_ran(fj__slots *s, int64_t ns);
/** When the thread that takes messages in has to look again because the queue may stand still, which it sees to if that has passed.
 *  @return never: when it likes */
fj_deadline fj__slots_due(fj__slots *s);
/** It will not look any more. */
void fj__slots_unwatched(fj__slots *s);
void fj__slots_leave(fj__slots *s);
/** Run the slot's request by @p x, or its job, on this thread. */
void fj__slots_run(fj__slot *slot, fj_executor *x);
/** Fail the slot's request, which has not begun to run.  @param failure takes */
void fj__slots_drop(fj__slot *slot, fj_error *failure);
/** What the slot holds will not run in its turn: fail the request; run the job, which cannot be told, here by @p x. */
void fj__slots_give_up(fj__slot *slot, fj_executor *x);
/** Whether a method or job of these slots runs in this task or, outside of tasks, on this thread. */
bool fj__slots_inside(const fj__slots *s);
/** Wait until all are free.  @errors TIMEOUT names what still runs */
fj_code fj__slots_drain(fj__slots *s, fj_deadline by, fj_error **err);
/** The end of a wait until @p by: sooner once aborted.  Read it after the event's count. */
fj_deadline fj__slots_patience(const fj__slots *s, fj_deadline by);
/** Fail what is queued or deferred, now or within FJ__ABORT_MS; jobs in the queue are run by @p x, for they cannot be told. */
void fj__slots_abort(fj__slots *s, fj_executor *x);
unsigned fj__slots_running(const fj__slots *s, unsigned *ret_slots);
/** The child of a fork: the lock as new, nothing in hand. */
void fj__slots_at_fork(fj__slots *s);

/** Trouble with the listener: logged at most once a minute, and followed by a pause. */
typedef struct {
    fj_deadline quiet_until;
} fj__trouble;
/** Log unless it is too soon, then wait a second (or until @p by, or close).  @param err takes */
void fj__trouble_pause(fj__trouble *t, fj__slots *s, const char *what, fj_deadline by, fj_code code,
                       fj_error *err);

#endif
