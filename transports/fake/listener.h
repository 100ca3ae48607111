/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_FAKE_LISTENER_H
#define FJORD_FAKE_LISTENER_H
/*
 * The parts of a listener, which only its own files see:
 *
 *   listener.c    its life, polling, what it tells a loop
 *   incoming.c    one message in somebody's hands: its answer, its end; the window of those that came before
 *   lost.c        a lost connection
 *
 * Guarded by the broker's lock, but for what is atomic.
 */
#include "fake.h"

#include "base/alloc.h"
#include "runtime/inbox.h"

#include <fjord/task.h>

typedef struct fj__fake_incoming fj__fake_incoming;

struct fj__fake_listener {
    fj_listener base;
    fj__fake_driver_s *driver; /* valid until it is closed */
    fj__fake_listener *next_of_driver;
    atomic_uint refs;           /* the owner's, and each incoming message's */
    unsigned n;                 /* queues it takes from */
    fj__fake_consumer *sources; /* n of them */
    fj__fake_queue **queues;    /* n of them, each with a reference */
    fj__fake_queue *own;        /* the one of them that goes with it; NULL: none */
    fj__fake_msg *ready, **ready_end;
    fj__fake_incoming *hands; /* given to poll(), and neither acked nor given back */
    uint64_t *seen;           /* serial numbers of the last messages given to poll() */
    size_t seen_size, seen_at;
    atomic_bool closed, interrupted;
    int ready_fd, wake_fd;
    bool keep_fetched; /* for poll(), when it is closed */
    bool fd_wanted;    /* somebody looks at ready_fd */
    fj_loop *loop;     /* that drives it, or NULL */
    fj_task *polls;    /* the task that waits in poll(), or NULL */
    fj__letter nudge;  /* from a signal handler to that task; posted, it holds a reference */
};

struct fj__fake_incoming {
    fj_incoming base;
    fj__fake_msg *msg;
    fj__fake_incoming *next, *prev; /* in the listener's hands */
    bool settled;                   /* out of the listener's hands */
    bool stale;    /* the connection it came over is lost: a copy went back, and has not come yet */
    bool answered; /* or not to be answered */
};

static inline fj__fake_listener *fj__fake_listener_of(fj_listener *l)
{
    return fj__container(l, fj__fake_listener, base);
}

static inline fj__fake_incoming *fj__fake_incoming_of(fj_incoming *in)
{
    return fj__container(in, fj__fake_incoming, base);
}

/* listener.c */
/** The messages that poll() has not had go back to their queues, in their old order; no queue gives them out yet.
 *  @locks broker */
void fj__fake_ready_back(fj__fake_listener *l);
/** Its queues give out what they hold.  @locks broker */
void fj__fake_deliver_all(fj__fake_listener *l);
/** @locks takes the broker's with the last reference */
void fj__fake_listener_unref(fj__fake_listener *l);

/* incoming.c */
/** The first ready message, as an incoming.  On the way those that came before are acked and dropped, or taken for what is in hand.
 *  @return NULL when there is none, or no memory   @locks broker */
fj_incoming *fj__fake_take(fj__fake_listener *l);
/** The broker may forget it.  @locks broker */
void fj__fake_settle(fj__fake_incoming *in);
/** The connection it came over is lost.  A copy goes back to its queue, which does not give it out yet; its answer is still
 *  wanted, its ack is not.   @errors NOMEM: nothing has changed   @locks broker */
fj_code fj__fake_stale(fj__fake_incoming *in);
/** It will not run: when it is delivered again it is not one that came before.  @locks broker */
void fj__fake_unsee(fj__fake_incoming *in);

#endif
