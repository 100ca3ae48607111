/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_PUBLISHER_H
#define FJORD_AMQP_PUBLISHER_H
/*
 * What goes out: calls, casts and replies, over one channel in confirm mode.  An operation is queued, then sent (in the
 * connection's output, unconfirmed), then confirmed; a call then waits for its reply.  It ends exactly once, by its
 * deadline, and says truthfully whether the broker has it.
 */
#include "transports/amqp/domain.h"

#include <stdatomic.h>

typedef enum { FJ__OP_CALL, FJ__OP_CAST, FJ__OP_REPLY } fj__op_kind;
typedef enum { FJ__OP_QUEUED, FJ__OP_SENT, FJ__OP_CONFIRMED, FJ__OP_DONE } fj__op_state;

typedef struct fj__op fj__op;
struct fj__op {
    fj__outcome outcome;
    fj__timer timer;
    atomic_uint refs; /* the future's, and the domain's until it is done */
    fj__domain *domain;
    fj__op *next, **at; /* in the list of the queued or of the sent; at NULL: in none */
    fj__op *hash_next;  /* of calls by msg_id; of replies: the next that asks for a queue */
    fj_future *future;  /* NULL for replies; owned until delivered */
    fj__op_kind kind;
    fj__op_state state;
    unsigned flags; /* FJ_SEND_ */
    bool urgent;    /* nobody waits for it: counted in the domain */
    bool mandatory, returned, fanout;
    bool parked,
        probes; /* a reply whose queue is missing, waiting; the one of its queue that is tried again and again */
    bool queued_at_key; /* the queue that its key names is declared, too: a notification's */
    int retry;
    unsigned retries, redeclared, channels; /* channels: that closed over it */
    fj_deadline by, began;
    const char *method; /* for who looks: lends until the driver is freed; may be NULL */
    int64_t monitor_ns, heard_ns;
    char msg_id[33];
    char expiration[24];
    char *exchange, *key, *body;
    size_t body_len;
    fj__body_form form; /* PLAIN from the beginning */
    size_t held;        /* bytes that it counts for, of what waits for the broker; 0: of none */
    uint64_t tag, mark; /* delivery tag; output total before it was put there */
    json_t *result;     /* the outcome */
    fj_error *error;
};

fj_code fj__publisher_new(fj__domain *d, fj__publisher **ret);
void fj__publisher_free(fj__publisher *p);

/** @param exchange, key  copied; exchange "" for replies   @param body takes   @param ret gives one reference */
fj_code fj__op_new(fj__domain *d, fj__op_kind kind, const char *exchange, const char *key, char *body,
                   size_t body_len, fj__op **ret);
void fj__op_unref(fj__op *op);
/** Queue; fj__domain_touch() writes.  @p op: one reference is taken.  @locks needs the domain's */
void fj__publisher_send(fj__publisher *p, fj__op *op, fj_deadline now);
/** Go on with what is queued.  @locks needs the domain's */
void fj__publisher_pump(fj__publisher *p, fj_deadline now);
/** End an operation: gathers its outcome.  @param result, error take; both NULL: JSON null   @locks needs the domain's */
void fj__op_finish(fj__op *op, json_t *result, fj_error *error);
/** What is known of it now: whether the broker has it.  @locks needs the domain's */
fj_sent fj__op_sent(const fj__op *op);
/** End all that are pending.  @locks needs the domain's */
void fj__publisher_fail_all(fj__publisher *p, fj_code code, const char *text);
/** Pass, or wait until @p by: from [fjord] max_unsent_bytes that wait for the broker on, until half of them is gone.  Of what is sent
 *  nothing counts yet, nor need it be made.  @param gate lends; not completed, may be shared
 *  @param flags  of fj_send: with PATIENT it may wait
 *  @errors BUSY without it; TIMEOUT, UNREACHABLE and others that say why nothing goes; CANCELLED   @locks takes the domain's */
fj_code fj__publisher_gate(fj__publisher *p, fj_future *gate, unsigned flags, int retry, fj_deadline by,
                           fj_error **err);
/** Whether it is known already that what has so many retries cannot be sent.  @locks needs the domain's */
bool fj__publisher_hopeless(const fj__publisher *p, int retry);
/** Why something is not sent yet, or could not be in time.  @param call  its reply queue is needed, too   @locks needs the domain's */
void fj__publisher_unsent(const fj__publisher *p, bool call, fj_error **ret);
/** Whether nothing is queued or unconfirmed. */
bool fj__publisher_idle(const fj__publisher *p);
/** Casts that are queued or unconfirmed, the first @p max.  They lend while the lock is held.  @locks needs the domain's */
size_t fj__publisher_casts(const fj__publisher *p, size_t max, const fj__op **ret);
/** Whether a reply to that queue would be dropped: it was missing for long.  @locks needs the domain's */
bool fj__publisher_gone(fj__publisher *p, const char *queue, fj_deadline now);

#endif
