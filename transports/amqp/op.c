/* SPDX-License-Identifier: Apache-2.0 */
/* One operation: its place in the lists, what it counts for, its deadline, its end. */
#include "transports/amqp/publisher_state.h"

#include "base/alloc.h"
#include "runtime/future.h"
#include "transports/amqp/replies.h"

#include <string.h>

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

/* ---- how much waits for the broker ---- */

/* The oldest reply that is not on its way.  NULL: none */
static fj__op *oldest_reply(const fj__publisher *p)
{
    fj__op *op = p->parked.first != NULL ? p->parked.first : p->queued.first;

    while (op != NULL && op->kind != FJ__OP_REPLY)
        op = op->next;
    return op;
}

/* Nobody waits where replies are made, for a method has run and its slot is to be free: there may be only so many. */
static void make_room(fj__publisher *p, size_t n)
{
    fj__op *op;

    while (p->replies != 0 && p->replies + n > p->domain->settings->max_unsent &&
           (op = oldest_reply(p)) != NULL) {
        fj__domain_note(
            p->domain, FJ_LOG_WARNING,
            fj__format("%zu bytes of replies wait for the broker ([fjord] max_unsent_bytes): the oldest, to "
                       "message ID %s, is dropped",
                       p->replies, op->msg_id));
        fj__op_finish(op, NULL, NULL);
    }
}

void fj__op_hold(fj__publisher *p, fj__op *op)
{
    size_t held = sizeof *op + op->body_len;

    if (op->kind == FJ__OP_REPLY) {
        make_room(p, held);
        p->replies += held;
    } else {
        p->held += held;
        if (p->held >= p->domain->settings->max_unsent)
            atomic_store(&p->full, true);
    }
    op->held = held;
}

void fj__op_let_go(fj__publisher *p, fj__op *op)
{
    *(op->kind == FJ__OP_REPLY ? &p->replies : &p->held) -= op->held;
    op->held = 0;
    if (atomic_load(&p->full) && p->held <= p->domain->settings->max_unsent / 2) {
        atomic_store(&p->full, false);
        fj__domain_rouse(p->domain);
    }
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
    fj__op_let_go(d->publisher, op);
    fj__timer_cancel(&d->timers, &op->timer);
    if (op->probes)
        fj__op_pass_on(d->publisher, op);
    if (op->kind == FJ__OP_CALL)
        fj__replies_remove(d->replies, op);
    if (op->urgent)
        d->urgent--;
    op->urgent = false;
    op->state = FJ__OP_DONE;
    op->result = result;
    op->error = error;
    op->outcome.deliver = deliver;
    op->outcome.slow = op->future != NULL && fj__future_watched(op->future, error != NULL);
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

void fj__publisher_unsent(const fj__publisher *p, bool call, fj_error **ret)
{
    const fj__domain *d = p->domain;
    const fj_error *why = d->publishing.error != NULL ? d->publishing.error : call ? d->consuming.error : NULL;
    bool open = d->publishing.state == FJ__LINK_OPEN;

    if (d->blocked)
        (void)fj_fail(ret, FJ_TIMEOUT,
                      "the broker blocks publishers (memory or disk alarm); the message was not sent");
    else if (why != NULL)
        (void)fj_fail(ret, fj_error_code(why) == FJ_LOST ? FJ_UNREACHABLE : fj_error_code(why), "%s",
                      fj_error_text(why));
    else if (open && atomic_load(&p->full))
        (void)fj_fail(ret, FJ_TIMEOUT,
                      "%zu bytes wait for the broker ([fjord] max_unsent_bytes); the message was not sent",
                      p->held);
    else
        (void)fj_fail(ret, open ? FJ_TIMEOUT : FJ_UNREACHABLE,
                      "the connection was not ready in time; the message was not sent");
}

/* The deadline of an operation has come.  What it says depends on how far the operation got. */
static void expire(fj__op *op)
{
    fj_error *error = NULL;

    if (op->state == FJ__OP_QUEUED)
        fj__publisher_unsent(op->domain->publisher, op->kind == FJ__OP_CALL, &error);
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
    } else if (op->kind == FJ__OP_REPLY) {
        fj__op_give_up(p, op, now);
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
