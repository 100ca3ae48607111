/* SPDX-License-Identifier: Apache-2.0 */
/* The channel that everything goes out over: publishing, confirms, returns, and what a loss means for each operation. */
#include "transports/amqp/publisher_state.h"

#include "base/alloc.h"
#include "transports/amqp/pump.h"
#include "transports/amqp/replies.h"
#include "transports/amqp/topology.h"

#include <string.h>

enum {
    CHANNEL = 1,
    SHORT_STRING = 255,       /* the longest name AMQP can carry */
    HIGH_WATER = 1024 * 1024, /* bytes of output; beyond, operations stay queued, certainly unsent */
    LOOK_MS = 100,            /* when nobody leads, the confirm of a reply is looked for after so long */
    DELIVERY = 2,             /* delivery_mode persistent, priority 0: wire.md section 4 */
    REDECLARE_MAX = 1,
    CHANNELS_MAX = 3 /* over so many channels that closed a message is tried: it may be what closes them */
};

/* ---- sending ---- */

static void forget_declared(fj__publisher *p)
{
    for (size_t i = 0; i < p->declared_n; i++) {
        fj__free(p->declared[i].exchange);
        fj__free(p->declared[i].key);
    }
    p->declared_n = 0;
}

static bool is_declared(const fj__publisher *p, const fj__op *op)
{
    for (size_t i = 0; i < p->declared_n; i++) {
        const struct fj__declared *d = &p->declared[i];
        if (strcmp(d->exchange, op->exchange) != 0)
            continue;
        if (!op->queued_at_key || (d->key != NULL && strcmp(d->key, op->key) == 0))
            return true;
    }
    return false;
}

/* In the order of wire.md section 14, so that a notification waits for its first listener. */
static bool put_declare(const fj__publisher *p, fj__engine *e, const fj__op *op)
{
    const fj__amqp_settings *s = p->domain->settings;

    if (op->fanout)
        return fj__declare_fanout(e, CHANNEL, op->exchange, p->fanout_durable);
    if (op->queued_at_key && (!fj__declare_exchange(e, CHANNEL, op->exchange, p->durable, s->auto_delete) ||
                              !fj__declare_queue(e, CHANNEL, s, op->key, p->durable) ||
                              !fj__bind(e, CHANNEL, op->key, op->exchange, op->key)))
        return false;
    return fj__declare_exchange(e, CHANNEL, op->exchange, p->durable, s->auto_delete);
}

/* Publishers declare the exchange once a channel: wire.md section 3. */
static bool declare(fj__publisher *p, fj__engine *e, const fj__op *op)
{
    if (op->exchange[0] == '\0' || is_declared(p, op))
        return true;
    struct fj__declared *grown = fj__grow(p->declared, &p->declared_room, p->declared_n + 1, sizeof *grown);
    if (grown == NULL)
        return false;
    p->declared = grown;
    struct fj__declared one = { fj__strdup(op->exchange), op->queued_at_key ? fj__strdup(op->key) : NULL };
    if (one.exchange == NULL || (op->queued_at_key && one.key == NULL) || !put_declare(p, e, op)) {
        fj__free(one.exchange);
        fj__free(one.key);
        return false;
    }
    grown[p->declared_n++] = one;
    p->declare_tag = p->next_tag;
    return true;
}

static amqp_bytes_t bytes(const char *text)
{
    return (amqp_bytes_t){ .len = strlen(text), .bytes = (void *)(uintptr_t)text };
}

/* @errors NOMEM, TOO_BIG */
static fj_code publish(fj__publisher *p, fj__engine *e, fj__op *op)
{
    amqp_basic_properties_t props = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
                                                AMQP_BASIC_CONTENT_ENCODING_FLAG | AMQP_BASIC_HEADERS_FLAG |
                                                AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_PRIORITY_FLAG,
                                      .content_type = bytes("application/json"),
                                      .content_encoding = bytes("utf-8"),
                                      .headers = amqp_empty_table,
                                      .delivery_mode = DELIVERY,
                                      .priority = 0 };
    amqp_basic_publish_t m = { .exchange = bytes(op->exchange),
                               .routing_key = bytes(op->fanout ? "" : op->key),
                               .mandatory = op->mandatory };

    amqp_table_entry_t packed = { .key = bytes("compression"), .value.kind = AMQP_FIELD_KIND_UTF8 };
    if (op->form != FJ__BODY_PLAIN) {
        packed.value.value.bytes = bytes(fj__packing_type(op->form));
        props.headers = (amqp_table_t){ .num_entries = 1, .entries = &packed };
    }
    if (op->kind == FJ__OP_CALL) {
        props._flags |= AMQP_BASIC_EXPIRATION_FLAG;
        props.expiration = bytes(op->expiration);
    }
    op->mark = fj__engine_put_total(e);
    if (strlen(op->exchange) > SHORT_STRING || m.routing_key.len > SHORT_STRING)
        return FJ_TOO_BIG;
    if (!declare(p, e, op))
        return FJ_NOMEM;
    fj_code rc = fj__engine_publish(e, CHANNEL, &m, &props, op->body, op->body_len);
    if (rc == FJ_OK)
        op->tag = p->next_tag++;
    return rc;
}

static void refuse(fj__op *op, fj_code code)
{
    fj_error *error = NULL;

    (void)fj_fail(&error, code, "%s",
                  code == FJ_TOO_BIG ? "the exchange or routing key is longer than AMQP's 255 bytes"
                                     : fj_code_text(code));
    fj__op_fail_as(op, error, FJ_SENT_NO);
    fj_error_free(error);
}

void fj__publisher_pump(fj__publisher *p, fj_deadline now)
{
    fj__domain *d = p->domain;
    fj__link *l = &d->publishing;

    if (p->queued.first == NULL)
        return;
    fj__link_want(l, now);
    if (!p->open || l->state != FJ__LINK_OPEN || d->blocked)
        return;
    for (fj__op *op = p->queued.first, *next; op != NULL; op = next) {
        next = op->next;
        if (fj__buf_len(fj__engine_output(l->engine)) > HIGH_WATER)
            fj__link_flush(l, now);
        if (fj__buf_len(fj__engine_output(l->engine)) > HIGH_WATER)
            break;
        if (op->kind == FJ__OP_CALL && !fj__replies_want(d->replies, now))
            continue;
        fj_code rc = publish(p, l->engine, op);
        if (rc != FJ_OK) {
            refuse(op, rc);
            continue;
        }
        fj__ops_remove(&p->queued, op);
        op->state = FJ__OP_SENT;
        fj__ops_add(&p->sent, op);
    }
}

/* It has no retry and the attempt that there was has failed, or none would help. */
bool fj__publisher_hopeless(const fj__publisher *p, int retry)
{
    const fj__link *l = &p->domain->publishing;

    return l->error != NULL && (l->fatal || (retry == 0 && l->state == FJ__LINK_BACKOFF));
}

void fj__publisher_send(fj__publisher *p, fj__op *op, fj_deadline now)
{
    fj__domain *d = p->domain;

    op->heard_ns = now.ns;
    if (op->urgent) /* before anything can end it: its end takes it back */
        d->urgent++;
    if (op->kind == FJ__OP_CALL && !fj__replies_add(d->replies, op)) {
        refuse(op, FJ_NOMEM);
        return;
    }
    fj__op_hold(p, op);
    if (op->kind == FJ__OP_REPLY && fj__op_follow(p, op, now))
        return;
    fj__ops_add(&p->queued, op);
    if (op->kind == FJ__OP_CALL)
        (void)fj__replies_want(d->replies, now);
    if (!fj__op_arm(op)) {
        refuse(op, FJ_NOMEM);
        return;
    }
    if (op->kind != FJ__OP_REPLY && fj__publisher_hopeless(p, op->retry)) {
        fj__op_fail_as(op, d->publishing.error, FJ_SENT_NO);
        return;
    }
    if (op->kind == FJ__OP_REPLY && !d->led && !fj__pump_by_loop(d) && p->look.place == 0)
        (void)fj__timer_set(&d->timers, &p->look, (fj_deadline){ now.ns + LOOK_MS * 1000000LL });
    fj__publisher_pump(p, now);
}

/* ---- what the broker answers ---- */

/* A queue that is full has refused it.  But a durable one may have handed it out before its disk failed, and of the queues of a
 * fanout some may have it. */
static fj_sent nacked(const fj__publisher *p, const fj__op *op)
{
    return p->domain->settings->durable || op->fanout ? FJ_SENT_MAYBE : FJ_SENT_NO;
}

/* The broker has the message, or has handed it back. */
static void confirmed(fj__publisher *p, fj__op *op, bool nack, fj_deadline now)
{
    fj_error *error = NULL;

    if (op->kind == FJ__OP_REPLY) {
        fj__op_replied(p, op, op->returned || nack, now);
    } else if (op->returned) {
        (void)fj_fail(&error, FJ_UNDELIVERABLE,
                      "no queue takes messages of exchange '%s' with routing key '%s'", op->exchange,
                      op->fanout ? "" : op->key);
        fj__op_fail(op, error, FJ_SENT_NO);
    } else if (nack) {
        (void)fj_fail(&error, FJ_REFUSED, "the broker refused the message for '%s' (basic.nack)", op->key);
        fj__op_fail(op, error, nacked(p, op));
    } else if (op->kind == FJ__OP_CAST) {
        fj__op_finish(op, NULL, NULL);
    } else {
        fj__ops_remove(&p->sent, op);
        fj__op_let_go(p, op);
        op->state = FJ__OP_CONFIRMED;
        fj__free(op->body);
        op->body = NULL;
    }
}

static void on_confirm(fj__publisher *p, const fj__event *ev, fj_deadline now)
{
    fj__retry_good(&p->retry);
    for (fj__op *op = p->sent.first, *next; op != NULL && op->tag <= ev->tag; op = next) {
        next = op->next;
        if (op->tag == ev->tag || ev->multiple)
            confirmed(p, op, ev->nack, now);
    }
}

static bool same(amqp_bytes_t a, const char *b)
{
    return a.len == strlen(b) && memcmp(a.bytes, b, a.len) == 0;
}

/* A return names no tag, but brings the body, in which there is an id.  Others to the same queue may be routed and not
 * confirmed yet: taken for one of them, this one would count as delivered. */
static bool is_of(const fj__event *ev, const fj__op *op)
{
    return op->mandatory && !op->returned && same(ev->exchange, op->exchange) &&
           same(ev->routing_key, op->fanout ? "" : op->key) &&
           (ev->body == NULL ||
            (ev->body_len == op->body_len && memcmp(ev->body, op->body, op->body_len) == 0));
}

/* It comes before the confirm of the same message. */
static void on_return(fj__publisher *p, const fj__event *ev)
{
    fj__op *op = p->sent.first;

    while (op != NULL && !is_of(ev, op))
        op = op->next;
    if (op != NULL)
        op->returned = true;
}

/* ---- what a loss means ---- */

/* What was sent over a channel or connection that is gone, and not confirmed. */
static void unconfirmed(fj__publisher *p, fj__op *op, bool surely_unsent, const fj_error *why)
{
    if (surely_unsent || op->kind == FJ__OP_REPLY || (op->flags & FJ_SEND_RESEND) != 0)
        fj__op_requeue(p, op);
    else
        fj__op_fail_as(op, why, FJ_SENT_MAYBE);
}

static void each_sent_backwards(fj__publisher *p, void (*fn)(fj__publisher *, fj__op *, void *), void *user)
{
    /* Requeueing goes to the front, so the last is put back first. */
    fj__ops old = p->sent;
    fj__op *reversed = NULL;

    if (old.first == NULL)
        return;
    for (fj__op *op = old.first, *next; op != NULL; op = next) {
        next = op->next;
        op->at = NULL;
        op->next = reversed;
        reversed = op;
    }
    p->sent.first = NULL;
    p->sent.n = 0;
    p->sent.last = &p->sent.first;
    while (reversed != NULL) {
        fj__op *op = reversed;
        reversed = op->next;
        fn(p, op, user);
    }
}

static void after_loss(fj__publisher *p, fj__op *op, void *user)
{
    unconfirmed(p, op, op->mark >= p->domain->publishing.lost_sent, user);
}

struct channel_loss {
    const fj__event *ev;
    const fj_error *error;
};

static bool is_declaration(amqp_method_number_t id)
{
    return id == AMQP_EXCHANGE_DECLARE_METHOD || id == AMQP_QUEUE_DECLARE_METHOD ||
           id == AMQP_QUEUE_BIND_METHOD;
}

/* The broker stopped at the method it refused: what came behind it in the channel was not looked at. */
static void after_channel(fj__publisher *p, fj__op *op, void *user)
{
    const struct channel_loss *loss = user;
    bool behind_declare = is_declaration(loss->ev->cause) && op->tag >= p->declare_tag;
    bool no_exchange = loss->ev->cause == AMQP_BASIC_PUBLISH_METHOD && loss->ev->code == AMQP_NOT_FOUND &&
                       op->exchange[0] != '\0' && loss->ev->text != NULL &&
                       strstr(loss->ev->text, op->exchange) != NULL;
    bool unseen = behind_declare || no_exchange;
    /* confirm.select is the first of the channel: all came behind it. */
    bool again = loss->ev->cause == AMQP_CONFIRM_SELECT_METHOD || (unseen && op->redeclared++ < REDECLARE_MAX);

    if (again)
        fj__op_requeue(p, op);
    else if (unseen)
        fj__op_fail_as(op, loss->error, FJ_SENT_NO);
    else if (op->channels++ >= CHANNELS_MAX)
        fj__op_fail_as(op, loss->error, FJ_SENT_MAYBE);
    else
        unconfirmed(p, op, false, loss->error);
}

/* ---- the channel ---- */

static void set_up(fj__channel *c, fj_deadline now)
{
    fj__publisher *p = fj__container(c, fj__publisher, channel);
    fj__engine *e = p->domain->publishing.engine;

    forget_declared(p);
    fj__timer_cancel(&p->domain->timers, &p->redo);
    p->next_tag = 1;
    p->open = fj__channel_open(e, CHANNEL) && fj__confirm_select(e, CHANNEL);
    if (!p->open)
        fj__link_break(&p->domain->publishing, "out of memory while a channel was opened");
    fj__publisher_pump(p, now);
}

static bool is_fanout(const fj__publisher *p, const fj__event *ev)
{
    const fj__op *op = p->sent.first;

    while (op != NULL && !(op->fanout && fj__is_durable_mismatch_of(ev, op->exchange)))
        op = op->next;
    return op != NULL;
}

static void on_redo(fj__timer *t, fj_deadline now)
{
    fj__publisher *p = fj__container(t, fj__publisher, redo);

    if (p->domain->publishing.state == FJ__LINK_OPEN && !p->open)
        set_up(&p->channel, now);
}

static void on_channel_closed(fj__publisher *p, const fj__event *ev, fj_deadline now)
{
    fj_error *error = fj__channel_error(ev);

    fj__domain_note(p->domain, FJ_LOG_WARNING, fj__format("publishing: %s", fj_error_text(error)));
    if (fj__is_durable_mismatch(ev)) /* the peers' exchange is not durable: go with them, wire.md section 3 */
        *(is_fanout(p, ev) ? &p->fanout_durable : &p->durable) = false;
    struct channel_loss loss = { ev, error };
    each_sent_backwards(p, after_channel, &loss);
    fj_error_free(error);
    p->open = false;
    fj_deadline at = fj__retry_next(&p->retry, now);
    if (at.ns <= now.ns)
        set_up(&p->channel, now);
    else if (!fj__timer_set(&p->domain->timers, &p->redo, at))
        fj__link_break(&p->domain->publishing, "out of memory while a channel was opened");
}

static void on_event(fj__channel *c, const fj__event *ev, fj_deadline now)
{
    fj__publisher *p = fj__container(c, fj__publisher, channel);

    switch (ev->kind) {
    case FJ__EV_CONFIRM:
        on_confirm(p, ev, now);
        break;
    case FJ__EV_RETURN:
        on_return(p, ev);
        break;
    case FJ__EV_CHANNEL_CLOSED:
        on_channel_closed(p, ev, now);
        break;
    default:
        break;
    }
}

static void on_down(fj__channel *c, const fj_error *error, fj_deadline now)
{
    fj__publisher *p = fj__container(c, fj__publisher, channel);
    fj_error *lost = fj_error_copy(error);

    (void)now;
    p->open = false;
    fj_error_set_code(lost, FJ_LOST);
    each_sent_backwards(p, after_loss, lost);
    fj_error_free(lost);
}

static void on_failed(fj__channel *c, const fj_error *error, fj_deadline now)
{
    fj__publisher *p = fj__container(c, fj__publisher, channel);

    (void)now;
    for (fj__op *op = p->queued.first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->kind == FJ__OP_REPLY)
            continue;
        if (p->domain->publishing.fatal || (op->retry >= 0 && op->retries++ >= (unsigned)op->retry))
            fj__op_fail_as(op, error, FJ_SENT_NO);
    }
}

static void look(const fj__channel *c, fj__channel_view *ret)
{
    const fj__publisher *p = fj__container(c, fj__publisher, channel);

    *ret = (fj__channel_view){ .role = "publisher",
                               .state = p->open ? "open" : "opening",
                               .unconfirmed = p->sent.n,
                               .queued = p->queued.n + p->parked.n };
}

static size_t casts_in(const fj__ops *l, size_t max, const fj__op **ret)
{
    size_t n = 0;

    for (const fj__op *op = l->first; op != NULL && n < max; op = op->next) {
        if (op->kind == FJ__OP_CAST)
            ret[n++] = op;
    }
    return n;
}

size_t fj__publisher_casts(const fj__publisher *p, size_t max, const fj__op **ret)
{
    size_t n = casts_in(&p->sent, max, ret);

    return n + casts_in(&p->queued, max - n, ret + n);
}

static void just_look(fj__timer *t, fj_deadline now)
{
    (void)t; /* being due was the point: somebody has pumped */
    (void)now;
}

/* ---- life ---- */

fj_code fj__publisher_new(fj__domain *d, fj__publisher **ret)
{
    fj__publisher *p = fj__zalloc(sizeof *p);

    if (p == NULL)
        return FJ_NOMEM;
    p->domain = d;
    p->durable = d->settings->durable;
    p->fanout_durable = d->settings->transient_quorum;
    p->queued.last = &p->queued.first;
    p->parked.last = &p->parked.first;
    p->sent.last = &p->sent.first;
    p->look.fn = just_look;
    p->redo.fn = on_redo;
    p->retry = (fj__retry){ .quick = CHANNELS_MAX + 1, .at_once = true, .longest = d->settings->retry_max };
    p->channel = (fj__channel){
        .id = CHANNEL, .up = set_up, .event = on_event, .down = on_down, .failed = on_failed, .look = look
    };
    d->publishing_channels = &p->channel;
    *ret = p;
    return FJ_OK;
}

void fj__publisher_fail_all(fj__publisher *p, fj_code code, const char *text)
{
    fj__op *op;

    while ((op = p->queued.first) != NULL || (op = p->sent.first) != NULL || (op = p->parked.first) != NULL ||
           (op = fj__replies_any(p->domain->replies)) != NULL) {
        fj_error *error = NULL;
        (void)fj_fail(&error, code, "%s", text);
        fj__op_fail(op, error, fj__op_sent(op));
    }
}

bool fj__publisher_idle(const fj__publisher *p)
{
    return p->queued.first == NULL && p->sent.first == NULL;
}

void fj__publisher_free(fj__publisher *p)
{
    if (p == NULL)
        return;
    forget_declared(p);
    fj__free(p->declared);
    for (size_t i = 0; i < FJ__GONE_MAX; i++)
        fj__free(p->gone[i].queue);
    fj__free(p);
}
