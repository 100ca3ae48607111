/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies whose queue is missing.  One of each queue is tried again and again, the others wait for what becomes of it; when its time is
 * over the queue is remembered, so that the next replies to it cost nothing.
 */
#include "transports/amqp/publisher_state.h"

#include "base/alloc.h"

#include <string.h>

enum {
    RETRY_MS = 250, /* a reply to a missing queue is tried again: wire.md section 9 */
    GONE_S = 60,    /* likewise */
    PARKED_MAX = 1000
};

/* The reply that asks for a queue, or NULL. */
static fj__op *probe_of(const fj__publisher *p, const char *queue)
{
    fj__op *op = p->probes;

    while (op != NULL && strcmp(op->key, queue) != 0)
        op = op->hash_next;
    return op;
}

static void probe(fj__publisher *p, fj__op *op)
{
    op->probes = true;
    op->hash_next = p->probes;
    p->probes = op;
}

static void probe_no_more(fj__publisher *p, fj__op *op)
{
    fj__op **at = &p->probes;

    if (!op->probes)
        return;
    while (*at != op)
        at = &(*at)->hash_next;
    *at = op->hash_next;
    op->probes = false;
}

/* The next that waits for the same queue, from @p op on. */
static fj__op *follower(fj__op *op, const char *queue)
{
    while (op != NULL && (op->probes || strcmp(op->key, queue) != 0))
        op = op->next;
    return op;
}

static fj_deadline try_again(const fj__op *op, fj_deadline now)
{
    return fj_sooner((fj_deadline){ now.ns + RETRY_MS * 1000000LL }, op->by);
}

void fj__op_pass_on(fj__publisher *p, fj__op *op)
{
    fj__op *next = follower(p->parked.first, op->key);

    probe_no_more(p, op);
    if (next == NULL)
        return;
    probe(p, next);
    if (!fj__timer_set(&p->domain->timers, &next->timer, try_again(next, fj_now())))
        fj__op_finish(next, NULL, NULL);
}

/* The queue that was asked for is there: those that wait may go. */
static void found(fj__publisher *p, fj__op *op)
{
    if (!op->probes)
        return;
    probe_no_more(p, op);
    for (fj__op *f = follower(p->parked.first, op->key), *next; f != NULL; f = next) {
        next = follower(f->next, op->key);
        fj__op_unlist(p, f);
        f->retries = 0;
        fj__ops_add(&p->queued, f);
    }
}

static void remember_gone(fj__publisher *p, const fj__op *op, fj_deadline now)
{
    unsigned i = p->gone_next++ % FJ__GONE_MAX;

    fj__free(p->gone[i].queue);
    p->gone[i].queue = fj__strdup(op->key);
    p->gone[i].until = p->gone_until = now.ns + (int64_t)GONE_S * 1000000000;
    fj__domain_note(
        p->domain, FJ_LOG_WARNING,
        fj__format("the reply queue %s is gone: the reply to message ID %s is dropped", op->key, op->msg_id));
}

void fj__op_give_up(fj__publisher *p, fj__op *op, fj_deadline now)
{
    bool asked = op->probes && (op->returned || op->retries != 0);
    fj__op *next = NULL;

    if (asked || op->returned)
        remember_gone(p, op, now);
    else
        fj__domain_note(p->domain, FJ_LOG_WARNING,
                        fj__format("the reply to message ID %s could not be sent in time", op->msg_id));
    if (asked)
        probe_no_more(p, op);
    for (fj__op *f = asked ? follower(p->parked.first, op->key) : NULL; f != NULL; f = next) {
        next = follower(f->next, op->key);
        if (f != op)
            fj__op_finish(f, NULL, NULL);
    }
    fj__op_finish(op, NULL, NULL);
}

/* Whoever asks may name any queue: what waits is limited. */
static void park(fj__publisher *p, fj__op *op, fj_deadline at, fj_deadline now)
{
    if (p->parked.n >= PARKED_MAX)
        fj__op_give_up(p, p->parked.first, now);
    fj__op_unlist(p, op);
    op->retries += op->returned; /* what is only refused says nothing of its queue */
    op->state = FJ__OP_QUEUED;
    op->returned = false;
    op->parked = true;
    fj__ops_add(&p->parked, op);
    if (!fj__timer_set(&p->domain->timers, &op->timer, at))
        fj__op_give_up(p, op, now);
}

/* One reply of each missing queue is tried again, and the others wait for what becomes of it. */
void fj__op_replied(fj__publisher *p, fj__op *op, bool back, fj_deadline now)
{
    if (!back) {
        found(p, op);
        fj__op_finish(op, NULL, NULL);
    } else if (now.ns >= op->by.ns) {
        fj__op_give_up(p, op, now);
    } else {
        if (!op->probes && probe_of(p, op->key) == NULL)
            probe(p, op);
        park(p, op, op->probes ? try_again(op, now) : op->by, now);
    }
}

bool fj__op_follow(fj__publisher *p, fj__op *op, fj_deadline now)
{
    if (probe_of(p, op->key) == NULL)
        return false;
    if (op->mandatory)
        park(p, op, op->by, now);
    else
        fj__op_finish(op, NULL, NULL); /* a sign of life, to somebody who is not there */
    return true;
}

bool fj__publisher_gone(fj__publisher *p, const char *queue, fj_deadline now)
{
    for (size_t i = 0; now.ns < p->gone_until && i < FJ__GONE_MAX; i++) {
        if (p->gone[i].queue != NULL && p->gone[i].until > now.ns && strcmp(p->gone[i].queue, queue) == 0)
            return true;
    }
    return false;
}
