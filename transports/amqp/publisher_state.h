/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_PUBLISHER_STATE_H
#define FJORD_AMQP_PUBLISHER_STATE_H
/* What op.c (one operation) and publisher.c (the channel they all use) share, and nobody else sees. */
#include "transports/amqp/publisher.h"
#include "transports/amqp/retry.h"

enum { FJ__GONE_MAX = 200 }; /* wire.md section 9 */

typedef struct {
    fj__op *first, **last;
    size_t n;
} fj__ops;

struct fj__publisher {
    fj__channel channel;
    fj__domain *domain;
    bool open;                    /* the channel takes publishes */
    fj__ops queued, sent, parked; /* parked: replies waiting to be tried again */
    fj__op *probes;               /* of each missing queue one, wherever it is */
    size_t held, replies;         /* bytes of calls and casts, of replies, that the broker has not confirmed */
    atomic_bool full;             /* of calls and casts: who can wait waits */
    uint64_t next_tag, declare_tag;
    bool durable;        /* of the control exchange; false once the broker was found to have it so */
    bool fanout_durable; /* the same of fanout exchanges */
    struct fj__declared {
        char *exchange, *key; /* key: of a notification's queue; NULL: the exchange alone */
    } * declared;
    size_t declared_n, declared_room;
    fj__timer look, redo;
    fj__retry retry; /* of a channel that is closed again and again with nothing confirmed in between */
    struct {
        char *queue;
        int64_t until;
    } gone[FJ__GONE_MAX];
    unsigned gone_next;
    int64_t gone_until; /* of the last */
};

/* op.c; all need the domain's lock */
void fj__ops_add(fj__ops *l, fj__op *op);
void fj__ops_remove(fj__ops *l, fj__op *op);
/** It counts for what waits for the broker, from now on; no more. */
void fj__op_hold(fj__publisher *p, fj__op *op);
void fj__op_let_go(fj__publisher *p, fj__op *op);
/** Out of the list it is in, if it is in one. */
void fj__op_unlist(fj__publisher *p, fj__op *op);
/** Back to the queue, in front of all that was queued later. */
void fj__op_requeue(fj__publisher *p, fj__op *op);
/** End it with an error that says where.  @param error takes */
void fj__op_fail(fj__op *op, fj_error *error, fj_sent sent);
/** The same with a copy of @p why (lends). */
void fj__op_fail_as(fj__op *op, const fj_error *why, fj_sent sent);
/** Set the timer of its deadline.  @return false when memory ran out */
bool fj__op_arm(fj__op *op);

/* missing.c; all need the domain's lock */
/** A reply whose time is over: end it, and if it asked for its queue remember that as gone, and end those that wait for it, too. */
void fj__op_give_up(fj__publisher *p, fj__op *op, fj_deadline now);
/** A reply to a queue that is known to be missing: wait with the one that asks for it.  @return false: it is not known */
bool fj__op_follow(fj__publisher *p, fj__op *op, fj_deadline now);
/** The one that asked for a queue ends for a reason of its own: another asks. */
void fj__op_pass_on(fj__publisher *p, fj__op *op);
/** A reply was confirmed, or (@p back) handed back: then it is tried again later, until its time is over. */
void fj__op_replied(fj__publisher *p, fj__op *op, bool back, fj_deadline now);

#endif
