/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/publisher.h"

#include "base/alloc.h"
#include "runtime/future.h"
#include "transports/amqp/replies.h"
#include "transports/amqp/topology.h"

#include <stdio.h>
#include <string.h>

enum {
    CHANNEL = 1,
    SHORT_STRING = 255,       /* the longest name AMQP can carry */
    HIGH_WATER = 1024 * 1024, /* bytes of output; beyond, operations stay queued, certainly unsent */
    RETRY_MS = 250,           /* a reply to a missing queue is tried again: wire.md section 9 */
    GONE_MAX = 200,
    GONE_S = 60,   /* both: wire.md section 9 */
    LOOK_MS = 100, /* when nobody leads, the confirm of a reply is looked for after so long */
    DELIVERY = 2,  /* delivery_mode persistent, priority 0: wire.md section 4 */
    REDECLARE_MAX = 1,
    CHANNELS_MAX = 3, /* over so many channels that closed a message is tried: it may be what closes them */
    PARKED_MAX = 1000
};

typedef struct {
    fj__op *first, **last;
} list;

struct fj__publisher {
    fj__channel channel;
    fj__domain *domain;
    bool open;                 /* the channel takes publishes */
    list queued, sent, parked; /* parked: replies waiting to be tried again */
    size_t parked_n;
    uint64_t next_tag, declare_tag;
    bool durable; /* of the control exchange; false once the broker was found to have it so */
    char **declared;
    size_t declared_n, declared_room;
    fj__timer look;
    struct {
        char *queue;
        int64_t until;
    } gone[GONE_MAX];
    unsigned gone_next;
};

/* ---- lists ------------------------------------------------------------------------------------------ */

static void list_add(list *l, fj__op *op)
{
    op->next = NULL;
    op->at = l->last;
    *l->last = op;
    l->last = &op->next;
}

static void list_remove(list *l, fj__op *op)
{
    *op->at = op->next;
    if (op->next != NULL)
        op->next->at = op->at;
    else
        l->last = op->at;
    op->at = NULL;
}

static void unlist(fj__publisher *p, fj__op *op)
{
    if (op->at == NULL)
        return;
    list_remove(op->parked ? &p->parked : op->state == FJ__OP_QUEUED ? &p->queued : &p->sent, op);
    if (op->parked)
        p->parked_n--;
    op->parked = false;
}

/* Back to the queue, in front of all that was queued later. */
static void requeue(fj__publisher *p, fj__op *op)
{
    unlist(p, op);
    op->state = FJ__OP_QUEUED;
    op->returned = false;
    op->at = &p->queued.first;
    op->next = p->queued.first;
    if (op->next != NULL)
        op->next->at = &op->next;
    else
        p->queued.last = &op->next;
    p->queued.first = op;
}

/* ---- operations -------------------------------------------------------------------------------------- */

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
    unlist(d->publisher, op);
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
static void finish_error(fj__op *op, fj_error *error, fj_sent sent)
{
    char where[300];

    fj__link_where(&op->domain->publishing, where, sizeof where);
    fj_error_set_where(error, "%s exchange %s key %s", where, op->exchange, op->key);
    fj_error_set_sent(error, sent);
    fj__op_finish(op, NULL, error);
}

static void finish_with(fj__op *op, const fj_error *why, fj_sent sent)
{
    fj_error *error = fj_error_copy(why);

    if (error == NULL)
        (void)fj_fail(&error, FJ_NOMEM, "out of memory");
    finish_error(op, error, sent);
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
    finish_error(op, error, fj__op_sent(op));
}

/* An operation without its timer could wait for ever.  @return false when memory ran out */
static bool arm(fj__op *op)
{
    fj_deadline at = op->by;

    if (op->monitor_ns != 0)
        at = fj_sooner(at, (fj_deadline){ op->heard_ns + op->monitor_ns });
    return fj_is_never(at) || fj__timer_set(&op->domain->timers, &op->timer, at);
}

static void give_up_reply(fj__publisher *p, fj__op *op, fj_deadline now)
{
    unsigned i = p->gone_next++ % GONE_MAX;

    fj__free(p->gone[i].queue);
    p->gone[i].queue = fj__strdup(op->key);
    p->gone[i].until = now.ns + (int64_t)GONE_S * 1000000000;
    fj__domain_note(
        p->domain, FJ_LOG_WARNING,
        fj__format("the reply queue %s is gone: the reply to message ID %s is dropped", op->key, op->msg_id));
    fj__op_finish(op, NULL, NULL);
}

static void on_timer(fj__timer *t, fj_deadline now)
{
    fj__op *op = fj__container(t, fj__op, timer);
    fj__publisher *p = op->domain->publisher;

    if (op->kind == FJ__OP_REPLY && now.ns < op->by.ns) { /* parked: try again */
        unlist(p, op);
        list_add(&p->queued, op);
        (void)arm(op); /* it has room: the timer that runs here gave its own back */
        fj__publisher_pump(p, now);
    } else if (op->kind == FJ__OP_REPLY && op->retries != 0) {
        give_up_reply(p, op, now);
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

/* ---- the channel --------------------------------------------------------------------------------------- */

static void forget_declared(fj__publisher *p)
{
    for (size_t i = 0; i < p->declared_n; i++)
        fj__free(p->declared[i]);
    p->declared_n = 0;
}

/* Publishers declare the exchange once a channel: wire.md section 3. */
static bool declare(fj__publisher *p, fj__engine *e, const fj__op *op)
{
    const fj__amqp_settings *s = p->domain->settings;

    if (op->exchange[0] == '\0')
        return true;
    for (size_t i = 0; i < p->declared_n; i++) {
        if (strcmp(p->declared[i], op->exchange) == 0)
            return true;
    }
    char **grown = fj__grow(p->declared, &p->declared_room, p->declared_n + 1, sizeof *grown);
    if (grown == NULL)
        return false;
    p->declared = grown;
    char *name = fj__strdup(op->exchange);
    bool put =
        name != NULL && (op->fanout ? fj__declare_fanout(e, CHANNEL, name)
                                    : fj__declare_exchange(e, CHANNEL, name, p->durable, s->auto_delete));
    if (!put) {
        fj__free(name);
        return false;
    }
    grown[p->declared_n++] = name;
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
    finish_with(op, error, FJ_SENT_NO);
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
            break;
        if (op->kind == FJ__OP_CALL && !fj__replies_want(d->replies, now))
            continue;
        fj_code rc = publish(p, l->engine, op);
        if (rc != FJ_OK) {
            refuse(op, rc);
            continue;
        }
        list_remove(&p->queued, op);
        op->state = FJ__OP_SENT;
        list_add(&p->sent, op);
    }
    fj__link_flush(l, now);
}

/* Whether it is known already that the operation cannot be sent: it has no retry, or none would help. */
static bool hopeless(const fj__op *op)
{
    const fj__link *l = &op->domain->publishing;
    bool now_or_never = op->retry == 0 && l->state == FJ__LINK_BACKOFF && !fj_is_never(op->by);

    return l->error != NULL && (now_or_never || (l->fatal && op->kind != FJ__OP_REPLY));
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
    list_add(&p->queued, op);
    if (op->kind == FJ__OP_CALL)
        (void)fj__replies_want(d->replies, now);
    if (!arm(op)) {
        refuse(op, FJ_NOMEM);
        return;
    }
    if (hopeless(op)) {
        finish_with(op, d->publishing.error, FJ_SENT_NO);
        return;
    }
    if (op->kind == FJ__OP_REPLY && !d->led && p->look.place == 0)
        (void)fj__timer_set(&d->timers, &p->look, (fj_deadline){ now.ns + LOOK_MS * 1000000LL });
    fj__publisher_pump(p, now);
}

/* A reply whose queue is missing is tried again later.  Whoever asks may name any queue: what waits is limited. */
static void park(fj__publisher *p, fj__op *op, fj_deadline now)
{
    fj_deadline again = { now.ns + RETRY_MS * 1000000LL };

    if (p->parked_n >= PARKED_MAX)
        give_up_reply(p, p->parked.first, now);
    unlist(p, op);
    op->state = FJ__OP_QUEUED;
    op->returned = false;
    op->parked = true;
    op->retries++;
    list_add(&p->parked, op);
    p->parked_n++;
    if (!fj__timer_set(&p->domain->timers, &op->timer, fj_sooner(again, op->by)))
        give_up_reply(p, op, now);
}

/* The broker has the message, or has handed it back. */
static void confirmed(fj__publisher *p, fj__op *op, bool nack, fj_deadline now)
{
    fj_error *error = NULL;

    if (op->kind == FJ__OP_REPLY && op->returned && now.ns < op->by.ns) {
        park(p, op, now);
        return;
    }
    if (op->kind == FJ__OP_REPLY) {
        if (op->returned)
            give_up_reply(p, op, now);
        else
            fj__op_finish(op, NULL, NULL);
    } else if (op->returned) {
        (void)fj_fail(&error, FJ_UNDELIVERABLE,
                      "no queue takes messages of exchange '%s' with routing key '%s'", op->exchange,
                      op->fanout ? "" : op->key);
        finish_error(op, error, FJ_SENT_NO);
    } else if (nack) {
        (void)fj_fail(&error, FJ_REFUSED, "the broker refused the message for '%s' (basic.nack)", op->key);
        finish_error(op, error, FJ_SENT_NO);
    } else if (op->kind == FJ__OP_CAST) {
        fj__op_finish(op, NULL, NULL);
    } else {
        list_remove(&p->sent, op);
        op->state = FJ__OP_CONFIRMED;
        fj__free(op->body);
        op->body = NULL;
    }
}

static void on_confirm(fj__publisher *p, const fj__event *ev, fj_deadline now)
{
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

/* A return names no tag; it comes before the confirm of the same message, and returns come in order. */
static void on_return(fj__publisher *p, const fj__event *ev)
{
    for (fj__op *op = p->sent.first; op != NULL; op = op->next) {
        if (op->mandatory && !op->returned && same(ev->exchange, op->exchange) &&
            same(ev->routing_key, op->fanout ? "" : op->key)) {
            op->returned = true;
            return;
        }
    }
}

/* What was sent over a channel or connection that is gone, and not confirmed. */
static void unconfirmed(fj__publisher *p, fj__op *op, bool surely_unsent, const fj_error *why)
{
    if (surely_unsent || op->kind == FJ__OP_REPLY || (op->flags & FJ_SEND_RESEND) != 0)
        requeue(p, op);
    else
        finish_with(op, why, FJ_SENT_MAYBE);
}

static void each_sent_backwards(fj__publisher *p, void (*fn)(fj__publisher *, fj__op *, void *), void *user)
{
    /* Requeueing goes to the front, so the last is put back first. */
    list old = p->sent;
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

/* The broker stopped at the method it refused: what came behind it in the channel was not looked at. */
static void after_channel(fj__publisher *p, fj__op *op, void *user)
{
    const struct channel_loss *loss = user;
    bool behind_declare = loss->ev->cause == AMQP_EXCHANGE_DECLARE_METHOD && op->tag >= p->declare_tag;
    bool no_exchange = loss->ev->cause == AMQP_BASIC_PUBLISH_METHOD && loss->ev->code == AMQP_NOT_FOUND &&
                       op->exchange[0] != '\0' && loss->ev->text != NULL &&
                       strstr(loss->ev->text, op->exchange) != NULL;

    if (!behind_declare && !no_exchange && op->channels++ >= CHANNELS_MAX)
        finish_with(op, loss->error, FJ_SENT_MAYBE);
    else if (!behind_declare && !no_exchange)
        unconfirmed(p, op, false, loss->error);
    else if (op->redeclared++ < REDECLARE_MAX)
        requeue(p, op);
    else
        finish_with(op, loss->error, FJ_SENT_NO);
}

static void set_up(fj__channel *c, fj_deadline now)
{
    fj__publisher *p = fj__container(c, fj__publisher, channel);
    fj__engine *e = p->domain->publishing.engine;

    forget_declared(p);
    p->next_tag = 1;
    p->open = fj__channel_open(e, CHANNEL) && fj__confirm_select(e, CHANNEL);
    if (!p->open)
        fj__link_break(&p->domain->publishing, "out of memory while a channel was opened");
    fj__publisher_pump(p, now);
}

static void on_channel_closed(fj__publisher *p, const fj__event *ev, fj_deadline now)
{
    fj_error *error = fj__channel_error(ev);

    fj__domain_note(p->domain, FJ_LOG_WARNING, fj__format("publishing: %s", fj_error_text(error)));
    if (fj__is_durable_mismatch(ev) && p->durable)
        p->durable = false; /* the peers' exchange is not durable: go with them, wire.md section 3 */
    struct channel_loss loss = { ev, error };
    each_sent_backwards(p, after_channel, &loss);
    fj_error_free(error);
    set_up(&p->channel, now);
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
            finish_with(op, error, FJ_SENT_NO);
    }
}

static void just_look(fj__timer *t, fj_deadline now)
{
    (void)t; /* being due was the point: somebody has pumped */
    (void)now;
}

/* ---- life ------------------------------------------------------------------------------------------------ */

fj_code fj__publisher_new(fj__domain *d, fj__publisher **ret)
{
    fj__publisher *p = fj__zalloc(sizeof *p);

    if (p == NULL)
        return FJ_NOMEM;
    p->domain = d;
    p->durable = d->settings->durable;
    p->queued.last = &p->queued.first;
    p->parked.last = &p->parked.first;
    p->sent.last = &p->sent.first;
    p->look.fn = just_look;
    p->channel =
        (fj__channel){ .id = CHANNEL, .up = set_up, .event = on_event, .down = on_down, .failed = on_failed };
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
        finish_error(op, error, fj__op_sent(op));
    }
}

bool fj__publisher_idle(const fj__publisher *p)
{
    return p->queued.first == NULL && p->sent.first == NULL;
}

bool fj__publisher_gone(fj__publisher *p, const char *queue, fj_deadline now)
{
    for (size_t i = 0; i < GONE_MAX; i++) {
        if (p->gone[i].queue != NULL && p->gone[i].until > now.ns && strcmp(p->gone[i].queue, queue) == 0)
            return true;
    }
    return false;
}

void fj__publisher_free(fj__publisher *p)
{
    if (p == NULL)
        return;
    forget_declared(p);
    fj__free(p->declared);
    for (size_t i = 0; i < GONE_MAX; i++)
        fj__free(p->gone[i].queue);
    fj__free(p);
}
