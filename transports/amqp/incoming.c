/* SPDX-License-Identifier: Apache-2.0 */
/* One message that was given out: its reply, its end, and the signs of life to its caller. */
#include "transports/amqp/listener.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "transports/amqp/publisher.h"

#include <string.h>

/* A reply or heartbeat into the publishing connection.  @locks takes the domain's */
static fj_code send_reply(fj__incoming *in, fj__body_form form, char *body, size_t n, bool last)
{
    fj__domain *d = in->l->d;
    fj__op *op = NULL;
    fj_code rc = fj__op_new(d, FJ__OP_REPLY, "", in->ids.reply_q, body, n, &op);

    if (rc != FJ_OK)
        return rc;
    op->form = form;
    fj_deadline now = fj_now();
    op->by = (fj_deadline){ now.ns + (int64_t)(d->settings->missing_reply_queue * 1e9) };
    op->mandatory = last && d->settings->mandatory_reply;
    memcpy(op->msg_id, in->ids.msg_id, strnlen(in->ids.msg_id, sizeof op->msg_id - 1));
    if (d->closed || fj__publisher_gone(d->publisher, in->ids.reply_q, now)) {
        fj__op_unref(op);
        return d->closed ? FJ_CLOSED : FJ_OK;
    }
    fj__publisher_send(d->publisher, op, now);
    return FJ_OK;
}

/* It ran: acknowledge it, if that was not done before. */
static void finish(fj__incoming *in)
{
    bool acks = !in->settled && !fj__listener_stale(in->l, in->epoch);

    if (acks) {
        fj__put_ack(in->l, in->tag, false);
        if (in->offset >= 0)
            fj__stream_settle(&in->l->stream, in->offset);
    }
    fj__settle(in);
    if (acks)
        fj__domain_touch_acks(in->l->d, in->l->unacked > 0);
}

static bool caller_gone(const fj__incoming *in)
{
    fj__domain *d = in->l->d;

    fj__domain_lock(d);
    bool gone = fj__publisher_gone(d->publisher, in->ids.reply_q, fj_now());
    fj__domain_unlock(d);
    return gone;
}

static fj_code reply(fj_incoming *base, const json_t *result, const fj_error *failure, fj_error **err)
{
    fj__incoming *in = fj__incoming_of(base);
    fj__domain *d = in->l->d;
    fj__body_form form = FJ__BODY_PLAIN;
    char id[33], *body = NULL;
    size_t n = 0;

    if (!base->wants_reply)
        return FJ_OK;
    fj_code rc = FJ_OK;
    if (!caller_gone(in)) { /* nothing is made for a queue that is known to be gone */
        fj__id_hex(id);
        rc = fj__message_reply(in->ids.msg_id, id, result, failure, true, &d->settings->json, &body, &n, err);
        if (rc == FJ_OK)
            rc = fj__pack(d->settings->packing, &body, &n, &form, err);
    }
    if (rc != FJ_OK)
        return rc;
    fj__domain_lock(d);
    fj__timer_cancel(&d->timers, &in->monitor);
    in->interval_ns = 0;
    rc = body != NULL ? send_reply(in, form, body, n, true) : FJ_OK;
    if (in->l->opts.ack_done)
        finish(in);
    fj__domain_touch(d, &d->publishing, false);
    fj__domain_unlock(d);
    return rc == FJ_OK ? rc : fj_fail(err, rc, rc == FJ_CLOSED ? "the transport is closed" : "out of memory");
}

static void done(fj_incoming *base)
{
    fj__incoming *in = fj__incoming_of(base);
    fj__domain *d = in->l->d;

    fj__domain_lock(d);
    fj__timer_cancel(&d->timers, &in->monitor);
    finish(in);
    fj__domain_unlock(d);
}

static void give_back(fj__incoming *in)
{
    fj__domain *d = in->l->d;

    if (in->settled)
        return;
    fj__unsee(in);
    if (!fj__listener_stale(in->l, in->epoch)) {
        fj__put_reject(in->l, in->tag, in->offset, true);
        fj__domain_touch(d, &d->consuming, false);
    }
    fj__settle(in);
}

static void requeue(fj_incoming *base)
{
    fj__incoming *in = fj__incoming_of(base);

    fj__domain_lock(in->l->d);
    give_back(in);
    fj__domain_unlock(in->l->d);
}

void fj__incoming_free(fj_incoming *base)
{
    fj__incoming *in = fj__incoming_of(base);

    fj__domain_lock(in->l->d);
    fj__timer_cancel(&in->l->d->timers, &in->monitor);
    give_back(in);
    fj__domain_unlock(in->l->d);
    json_decref(base->message);
    json_decref(base->context);
    fj__request_in_fini(&in->ids);
    fj__free(in);
}

static const fj_incoming_ops incoming_ops = {
    .abi = FJ_DRIVER_ABI, .reply = reply, .done = done, .requeue = requeue, .free = fj__incoming_free
};

/* Call monitoring (wire.md section 12): while the method runs, its caller hears of it. */
static void on_monitor(fj__timer *t, fj_deadline now)
{
    fj__incoming *in = fj__container(t, fj__incoming, monitor);
    char id[33], *body = NULL;
    size_t n = 0;

    if (in->interval_ns == 0)
        return;
    fj__id_hex(id);
    if (fj__message_reply(in->ids.msg_id, id, NULL, NULL, false, &in->l->d->settings->json, &body, &n, NULL) ==
        FJ_OK)
        (void)send_reply(in, FJ__BODY_PLAIN, body, n, false); /* too small to gain by compression */
    (void)fj__timer_set(&in->l->d->timers, t, (fj_deadline){ now.ns + in->interval_ns });
}

void fj__incoming_watch(fj__incoming *in, fj_deadline now)
{
    if (!in->base.wants_reply || in->ids.monitor_s < 2)
        return;
    in->interval_ns = (int64_t)in->ids.monitor_s * 500000000;
    (void)fj__timer_set(&in->l->d->timers, &in->monitor, (fj_deadline){ now.ns + in->interval_ns });
}

/* Whoever may publish here could else have us fill any queue of the broker. */
static bool may_answer(const fj__amqp_settings *s, const char *queue)
{
    if (queue == NULL || s->reply_queues[0] == NULL)
        return true;
    for (size_t i = 0; s->reply_queues[i] != NULL; i++) {
        if (strncmp(queue, s->reply_queues[i], strlen(s->reply_queues[i])) == 0)
            return true;
    }
    return false;
}

fj__incoming *fj__incoming_new(fj__amqp_listener *l, const struct fj__raw *raw, unsigned epoch, json_t *message,
                               fj_error **error)
{
    fj__incoming *in = fj__zalloc(sizeof *in);

    if (in == NULL) {
        (void)fj_fail(error, FJ_NOMEM, "out of memory");
        json_decref(message);
        return NULL;
    }
    if (fj__message_take(message, &in->ids, error) != FJ_OK) {
        json_decref(message);
        fj__free(in);
        return NULL;
    }
    if (!may_answer(l->d->settings, in->ids.reply_q)) {
        (void)fj_fail(
            error, FJ_BAD_MESSAGE,
            "it wants its answer in the queue %.100s, which is none for answers ([fjord] reply_queues)",
            in->ids.reply_q);
        fj__request_in_fini(&in->ids);
        json_decref(message);
        fj__free(in);
        return NULL;
    }
    in->base = (fj_incoming){ .ops = &incoming_ops,
                              .listener = &l->base,
                              .message = message,
                              .context = in->ids.context,
                              .wants_reply = in->ids.msg_id != NULL && in->ids.reply_q != NULL,
                              .redelivered = raw->redelivered,
                              .arrived = raw->arrived,
                              .id = in->ids.msg_id != NULL ? in->ids.msg_id : in->ids.unique_id };
    in->ids.context = NULL;
    in->l = l;
    in->epoch = epoch;
    in->tag = raw->tag;
    in->from = raw->from;
    in->offset = raw->offset;
    in->monitor.fn = on_monitor;
    return in;
}
