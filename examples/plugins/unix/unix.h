/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UNIX_UNIX_H
#define UNIX_UNIX_H
/*
 * unix://: RPC among the processes of one machine, over a socket of a small broker (broker.c).
 *
 *   driver.c      the table; sending, and how what was sent ends
 *   link.c        the session with the broker: its thread, connections, timeouts
 *   listener.c    listeners, and the messages in their hands
 *   wire.c        frames
 *
 * One lock a driver guards all of it.  A green task may be the one that calls, so whatever could suspend it (locks, sockets,
 * eventfds) is called by its name in <fjord/original.h>.  Futures complete after the lock is given back: what ends under it is
 * put on a list that unlocking works off.
 */
#include "wire.h"

#include <fjord/body.h>
#include <fjord/driver.h>

#include <pthread.h>
#include <stdatomic.h>

struct listener;

enum op_kind {
    OP_CALL,  /* ends with its answer */
    OP_CAST,  /* ends when the broker has it */
    OP_REPLY, /* the same; nobody waits for it */
    OP_MARK,  /* ends when all before it have left */
    OP_NEWS   /* of a listener, in no list: the broker has it, or has it no more */
};

/* What has been begun and will end. */
struct op {
    struct op *next, *prev; /* in the order of sending */
    atomic_uint refs;       /* the driver's until it has ended, and its future's */
    struct driver *driver;
    enum op_kind kind;
    char id[33];       /* of a call */
    fj_future *future; /* a reference until it has ended; NULL: of a reply */
    struct bytes frame;
    uint64_t seq;
    bool written, seen, ended;
    unsigned flags, tries;
    int retry;
    double monitor;
    fj_deadline by, due; /* due: by, or sooner while nobody is heard of */
    json_t *result;      /* how it ended */
    fj_error *error;
};

struct driver {
    fj_driver base; /* first */
    char *path, *exchange;
    char session[33];
    fj_json_opts json;
    pthread_mutex_t lock;
    pthread_t thread;
    int wake; /* eventfd */
    bool has_thread, closed, leave;
    fj_deadline asleep; /* until when the thread sleeps at most */
    /* the session */
    struct op *first, *last, *unwritten; /* unwritten: the first one that is not in out */
    uint64_t in_seq, out_seq;
    struct op *over; /* ended, and not completed yet */
    struct listener *listeners;
    uint64_t last_listener;
    /* the connection */
    int fd; /* -1: none */
    bool welcome, met, owes_seen;
    unsigned epoch;  /* how many there were */
    unsigned failed; /* attempts since the last one */
    fj_deadline retry_at;
    struct bytes in, out;
};

static inline struct driver *driver_of(fj_driver *d)
{
    return (struct driver *)(void *)d;
}

/* ---- driver.c: with the lock held, if nothing else is said ---- */

/* @param frame takes; NULL: of a mark or news   @return gives one reference, the driver's; NULL without memory.  No lock needed */
struct op *op_new(struct driver *d, enum op_kind kind, struct bytes *frame);
void op_unref(struct op *op);
/* Its future, made: the caller's.  NULL without memory.  No lock needed. */
fj_future *op_future(struct op *op);
/* Behind all others, and to the broker if that is there. */
void op_send(struct op *op);
/* It is over: its future completes when the lock is given back.  @param result, error  take; both NULL: null */
void op_end(struct op *op, json_t *result, fj_error *error);
/* In words of the format, with what is known of whether it was sent. */
void op_fail(struct op *op, fj_code code, const char *format, ...) FJ_PRINTF(3, 4);
/* Marks that nothing is before any more end. */
void op_marks(struct driver *d);
void driver_lock(struct driver *d);
void driver_unlock(struct driver *d);

/* ---- link.c: with the lock held ---- */

/* @return false: no thread is to be had */
bool link_start(struct driver *d);
/* A frame of this connection, if there is one. */
void link_put(struct driver *d, struct frame f);
/* Write what the socket takes. */
void link_write(struct driver *d);
/* The connection is of no use: the thread will see it. */
void link_break(struct driver *d);
/* Let the thread look again, if @p by comes before it would. */
void link_wake(struct driver *d, fj_deadline by);

/* ---- listener.c: with the lock held, but for listener_new() ---- */

fj_code listener_new(struct driver *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                     fj_listener **ret, fj_error **err);
void listeners_welcome(struct driver *d); /* connected */
void listeners_lost(struct driver *d);    /* not any more */
void listeners_told(struct driver *d, const struct frame *f);
/* Heartbeats that are due go out.  @return when the next one is */
fj_deadline listeners_beat(struct driver *d, fj_deadline now);
bool listeners_ready(const struct driver *d);

#endif
