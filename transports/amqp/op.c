/* SPDX-License-Identifier: Apache-2.0 */
/* One operation: its place in the lists, its deadline, its end; and replies whose queue is missing. */
#include "transports/amqp/publisher_state.h"

#include "base/alloc.h"
#include "runtime/future.h"
#include "transports/amqp/replies.h"

#include <string.h>

enum {
    RETRY_MS = 250, /* a reply to a missing queue is tried again: wire.md section 9 */
    GONE_S = 60,    /* likewise */
    PARKED_MAX = 1000
};

/* ---- lists ---- */

void fj__ops_add(fj__ops *l, fj__op *op)
{
    op->next = NULL;
    op->at = l->last;
    *l->last = op;
    l->last = &op->next;
    l->n++;
}

void fj__ops_remove(fj__ops *l, fj__op *op)
{
    *op->at = op->next;
    if (op->next != NULL)
        op->next->at = op->at;
    else
        l->last = op->at;
    op->at = NULL;
    l->n--;
}

void fj__op_unlist(fj__publisher *p, fj__op *op)
{
    if (op->at == NULL)
        return;
    fj__ops_remove(op->parked ? &p->parked : op->state == FJ__OP_QUEUED ? &p->queued : &p->sent, op);
    if (op->parked)
        p->parked_n--;
    op->parked = false;
}

/* Back to the queue, in front of all that was queued later. */
void fj__op_requeue(fj__publisher *p, fj__op *op)
{
    fj__op_unlist(p, op);
    op->state = FJ__OP_QUEUED;
    op->returned = false;
    op->at = &p->queued.first;
    op->next = p->queued.first;
    if (op->next != NULL)
        op->next->at = &op->next;
    else
        p->queued.last = &op->next;
    p->queued.first = op;
    p->queued.n++;
}

/* ---- its end ---- */

void fj__op_unref(fj__op *op)
{
    if (op == NULL || atomic_fetch_sub(&op->refs, 1) != 1)
        return;
    fj__free(op->exchange);
    fj__free(op->key);
    fj__free(op->body);
    json_decref(op->result);
    fj_error_free(op->error);
    fj__free(op);
}

static void deliver(fj__outcome *o)
{
    fj__op *op = fj__container(o, fj__op, outcome);

    if (op->future != NULL) {
        fj_future *future = op->future;
        json_t *result = op->result;
        fj_error *error = op->error;
        op->result = NULL;
        op->error = NULL;
        op->future = NULL;
        if (error != NULL)
            (void)fj_future_reject(future, error);
        else
            (void)fj_future_resolve(future, result);
        fj_future_unref(future);
    }
    fj__op_unref(op);
}

void fj__op_finish(fj__op *op, json_t *result, fj_error *error)
{
    fj__domain *d = op->domain;

    if (op->state == FJ__OP_DONE) {
        json_decref(result);
        fj_error_free(error);
        return;
    }
    fj__op_unlist(d->publisher, op);
    fj__timer_cancel(&d->timers, &op->timer);
    if (op->kind == FJ__OP_CALL)
        fj__replies_remove(d->replies, op);
    if (op->urgent)
        d->urgent--;
    op->urgent = false;
    op->state = FJ__OP_DONE;
    op->result = result;
    op->error = error;
    op->outcome.deliver = deliver;
    op->outcome.slow = op->future != NULL && fj__future_watched(op->future);
    fj__domain_gather(d, &op->outcome);
}

/* End it with an error that says where.  @p error takes */
void fj__op_fail(fj__op *op, fj_error *error, fj_sent sent)
{
    char where[300];

    fj__link_where(&op->domain->publishing, where, sizeof where);
    fj_error_set_where(error, "%s exchange %s key %s", where, op->exchange, op->key);
    fj_error_set_sent(error, sent);
    fj__op_finish(op, NULL, error);
}

void fj__op_fail_as(fj__op *op, const fj_error *why, fj_sent sent)
{
    fj_error *error = fj_error_copy(why);

    if (error == NULL)
        (void)fj_fail(&error, FJ_NOMEM, "out of memory");
    fj__op_fail(op, error, sent);
}

fj_sent fj__op_sent(const fj__op *op)
{
    return op->state == FJ__OP_QUEUED ? FJ_SENT_NO : op->state == FJ__OP_SENT ? FJ_SENT_MAYBE : FJ_SENT_YES;
}

static const fj_error *trouble(const fj__op *op)
{
    const fj__domain *d = op->domain;

    return d->publishing.error != NULL ? d->publishing.error
           : op->kind == FJ__OP_CALL   ? d->consuming.error
                                       : NULL;
}

/* The deadline of an operation has come.  What it says depends on how far the operation got. */
static void expire(fj__op *op)
{
    fj__domain *d = op->domain;
    const fj_error *why = trouble(op);
    fj_error *error = NULL;

    if (op->state == FJ__OP_QUEUED && d->blocked)
        (void)fj_fail(&error, FJ_TIMEOUT,
                      "the broker blocks publishers (memory or disk alarm); the message was not sent");
    else if (op->state == FJ__OP_QUEUED && why != NULL)
        (void)fj_fail(&error, fj_error_code(why) == FJ_LOST ? FJ_UNREACHABLE : fj_error_code(why), "%s",
                      fj_error_text(why));
    else if (op->state == FJ__OP_QUEUED)
        (void)fj_fail(&error, d->publishing.state == FJ__LINK_OPEN ? FJ_TIMEOUT : FJ_UNREACHABLE,
                      "the connection was not ready in time; the message was not sent");
    else if (op->kind == FJ__OP_CALL)
        (void)fj_fail(&error, FJ_TIMEOUT, "Timed out waiting for a reply to message ID %s", op->msg_id);
    else
        (void)fj_fail(&error, FJ_TIMEOUT, "the broker did not confirm the message in time");
    fj__op_fail(op, error, fj__op_sent(op));
}

/* An operation without its timer could wait for ever.  @return false when memory ran out */
bool fj__op_arm(fj__op *op)
{
    fj_deadline at = op->by;

    if (op->monitor_ns != 0)
        at = fj_sooner(at, (fj_deadline){ op->heard_ns + op->monitor_ns });
    return fj_is_never(at) || fj__timer_set(&op->domain->timers, &op->timer, at);
}

/* ---- replies to a queue that is missing ---- */

void fj__op_give_up(fj__publisher *p, fj__op *op, fj_deadline now)
{
    unsigned i = p->gone_next++ % FJ__GONE_MAX;

    fj__free(p->gone[i].queue);
    p->gone[i].queue = fj__strdup(op->key);
    p->gone[i].until = now.ns + (int64_t)GONE_S * 1000000000;
    fj__domain_note(
        p->domain, FJ_LOG_WARNING,
        fj__format("the reply queue %s is gone: the reply to message ID %s is dropped", op->key, op->msg_id));
    fj__op_finish(op, NULL, NULL);
}

/* A reply whose queue is missing is tried again later.  Whoever asks may name any queue: what waits is limited. */
void fj__op_park(fj__publisher *p, fj__op *op, fj_deadline now)
{
    fj_deadline again = { now.ns + RETRY_MS * 1000000LL };

    if (p->parked_n >= PARKED_MAX)
        fj__op_give_up(p, p->parked.first, now);
    fj__op_unlist(p, op);
    op->retries += op->returned; /* what is only refused says nothing of its queue */
    op->state = FJ__OP_QUEUED;
    op->returned = false;
    op->parked = true;
    fj__ops_add(&p->parked, op);
    p->parked_n++;
    if (!fj__timer_set(&p->domain->timers, &op->timer, fj_sooner(again, op->by)))
        fj__op_give_up(p, op, now);
}

bool fj__publisher_gone(fj__publisher *p, const char *queue, fj_deadline now)
{
    for (size_t i = 0; i < FJ__GONE_MAX; i++) {
        if (p->gone[i].queue != NULL && p->gone[i].until > now.ns && strcmp(p->gone[i].queue, queue) == 0)
            return true;
    }
    return false;
}

/* ---- its beginning ---- */

static void on_timer(fj__timer *t, fj_deadline now)
{
    fj__op *op = fj__container(t, fj__op, timer);
    fj__publisher *p = op->domain->publisher;

    if (op->kind == FJ__OP_REPLY && now.ns < op->by.ns) { /* parked: try again */
        fj__op_unlist(p, op);
        fj__ops_add(&p->queued, op);
        (void)fj__op_arm(op); /* it has room: the timer that runs here gave its own back */
        fj__publisher_pump(p, now);
    } else if (op->kind == FJ__OP_REPLY && op->retries != 0) {
        fj__op_give_up(p, op, now);
    } else if (op->kind == FJ__OP_REPLY) { /* the broker was away: that says nothing of the queue */
        fj__domain_note(p->domain, FJ_LOG_WARNING,
                        fj__format("the reply to message ID %s could not be sent in time", op->msg_id));
        fj__op_finish(op, NULL, NULL);
    } else {
        expire(op);
    }
}

fj_code fj__op_new(fj__domain *d, fj__op_kind kind, const char *exchange, const char *key, char *body, size_t n,
                   fj__op **ret)
{
    fj__op *op = fj__zalloc(sizeof *op);

    if (op == NULL) {
        fj__free(body);
        return FJ_NOMEM;
    }
    atomic_init(&op->refs, 1);
    op->domain = d;
    op->kind = kind;
    op->body = body;
    op->body_len = n;
    op->timer.fn = on_timer;
    op->by = fj_never();
    op->retry = -1;
    op->exchange = fj__strdup(exchange);
    op->key = fj__strdup(key);
    if (op->exchange == NULL || op->key == NULL) {
        fj__op_unref(op);
        return FJ_NOMEM;
    }
    *ret = op;
    return FJ_OK;
}
