/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_LISTENER_H
#define FJORD_AMQP_LISTENER_H
/*
 * The parts of a listener, of RPC or of notifications, which only its own files see:
 *
 *   listener.c    its life: making, closing, leaving; what it tells a loop
 *   consumer.c    its channel: what is declared and consumed, and again after a loss; the ring of messages as they came
 *   intake.c      from the ring to the executor: reading messages, leaving out those that came twice
 *   acks.c        acknowledging
 *   incoming.c    one message: its reply, the signs of life to its caller
 *
 * All of it is guarded by the domain's lock.
 */
#include "base/alloc.h"
#include "transports/amqp/body.h"
#include "transports/amqp/domain.h"
#include "transports/amqp/retry.h"
#include "transports/amqp/stream.h"
#include "transports/amqp/window.h"
#include "transports/message.h"

#include <stdatomic.h>

/* A queue, and one of its bindings. */
typedef struct {
    char *exchange, *queue, *key;
    const char *role; /* for who looks; lends for ever */
    bool own;         /* its exchange is a fanout one, and its queue this listener's alone */
    bool again;       /* a source before it consumes the same queue: it is bound, and that is all */
    bool consuming;   /* consume-ok came since the set-up */
    size_t waiting, unacked;
} fj__source;

/* One message as it came. */
struct fj__raw {
    struct fj__raw *next;
    uint64_t tag;
    bool redelivered, json;
    fj__body_form form;
    unsigned from;                /* which of the sources */
    int64_t offset;               /* in the stream of a fanout; -1: it is of a queue */
    fj_deadline arrived, expires; /* expires: nobody waits for it any more */
    size_t n;
    char body[];
};

struct fj__amqp_listener {
    fj_listener base;
    fj__domain *d;
    fj__channel channel;
    fj_future *gate;     /* never completed: nudged when poll() has something to look at */
    fj__source *sources; /* in the order they are declared; the i-th has the consumer tag i + 1 */
    unsigned n;
    unsigned consumers; /* how many of them consume */
    char *name;         /* what texts call it */
    fj_listen_opts opts;
    uint16_t prefetch;
    bool durable;        /* of the control exchange and its queues */
    bool fanout_durable; /* of the fanout's: a quorum queue, or a stream */
    bool seeking;        /* asked for a place in the stream, and not answered yet */
    int64_t gone_ns;     /* when a stream that was cancelled is gone */
    fj__stream stream;
    bool ready, ever_ready, again, closing, left;
    /* closing, and fetched messages are to be run: cancel-ok's to come, behind the last of them */
    unsigned cancels;
    unsigned epoch;    /* + 1 with each channel: tags of an older one are stale */
    fj_error *refused; /* why it cannot listen */
    fj__timer redo;
    fj__retry retry;
    struct fj__raw *first, **last;
    size_t waiting, unacked; /* in the ring; given to poll() and not acked */
    struct fj__hand *hands;  /* with ack = done: given to poll() and not settled */
    fj__window window;
    int64_t complained_ns; /* of messages that are of no use */
    unsigned unsaid;       /* so many since */
    int event_fd;          /* -1 until somebody asks for it */
    atomic_bool interrupted;
};

/* A link in the list of what is in hand. */
struct fj__hand {
    struct fj__hand *next, **at; /* at NULL: it is in none */
};

typedef struct {
    fj_incoming base;
    fj__amqp_listener *l;
    struct fj__hand hand;
    unsigned epoch;
    uint64_t tag;
    unsigned from;  /* which of the sources */
    int64_t offset; /* in the stream of a fanout; -1: it is of a queue */
    fj__request_in ids;
    fj__timer monitor;
    int64_t interval_ns;
    bool settled; /* acked, rejected or stale */
} fj__incoming;

static inline fj__amqp_listener *fj__listener_of(fj_listener *l)
{
    return fj__container(l, fj__amqp_listener, base);
}

static inline fj__incoming *fj__incoming_of(fj_incoming *in)
{
    return fj__container(in, fj__incoming, base);
}

/* All that follows needs the domain's lock, but where it says that it takes it. */

/* intake.c */
/** Log that a message is rejected or given back, and why; not more often than once a second. */
void fj__listener_complain(fj__amqp_listener *l, const char *what, const char *why, fj_deadline now);

/* consumer.c */
/** What the channel does with its events; to be copied into the listener's. */
extern const fj__channel fj__consumer_channel;
void fj__consumer_redo(fj__timer *t, fj_deadline now);
/** Take no more: the consumers are cancelled, and what waits goes back to the broker, or is kept for poll(). */
void fj__consumer_cancel(fj__amqp_listener *l);
/** The channel is another one, or none, by now: tags of @p epoch mean nothing any more. */
bool fj__listener_stale(const fj__amqp_listener *l, unsigned epoch);
/** Whether the fanout is a stream. */
bool fj__listener_streams(const fj__amqp_listener *l);
/** How many messages the broker may hand out and await. */
size_t fj__listener_in_flight_max(const fj__amqp_listener *l);
/** The oldest message of the ring, which is not empty.  @return gives */
struct fj__raw *fj__listener_pop(fj__amqp_listener *l);
/** Empty the ring.  @param requeue  and give its messages back to the broker */
void fj__listener_drop(fj__amqp_listener *l, bool requeue);
/** Let the descriptor say whether the ring holds something. */
void fj__listener_signal(fj__amqp_listener *l);

/* acks.c */
void fj__put_ack(fj__amqp_listener *l, uint64_t tag, bool multiple);
/** @param offset of a message out of a stream, which takes nothing back: it is read again; else -1 */
void fj__put_reject(fj__amqp_listener *l, uint64_t tag, int64_t offset, bool requeue);
/** It is given out, to be acknowledged when it is done. */
void fj__hold(fj__incoming *in);
/** One that is in hand came again after its connection was lost: from now on its ack is that of @p raw, which came over the channel of
 *  @p epoch.  @return false: none of that name is in hand */
bool fj__adopt(fj__amqp_listener *l, const char *unique_id, const struct fj__raw *raw, unsigned epoch);
/** It needs no ack any more. */
void fj__settle(fj__incoming *in);
/** It did not run: when it comes again it is not one that came twice. */
void fj__unsee(const fj__incoming *in);
/** As <fjord/driver.h> says.  Takes the lock. */
fj_code fj__listener_ack(fj_listener *base, fj_incoming **in, size_t n, fj_deadline by, fj_error **err);

/* intake.c */
/** As <fjord/driver.h> says.  Takes the lock. */
fj_code fj__listener_poll(fj_listener *base, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                          fj_error **err);

/* incoming.c */
/** @param message takes, also when it fails.  Without the lock.   @return NULL: it is of no use, *error says why */
fj__incoming *fj__incoming_new(fj__amqp_listener *l, const struct fj__raw *raw, unsigned epoch, json_t *message,
                               fj_error **error);
/** Takes the lock. */
void fj__incoming_free(fj_incoming *base);
/** It runs from now on: tell its caller so now and then, if it asked for that. */
void fj__incoming_watch(fj__incoming *in, fj_deadline now);

#endif
