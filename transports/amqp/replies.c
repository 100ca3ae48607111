/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/replies.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "base/text.h"
#include "transports/amqp/body.h"
#include "transports/amqp/retry.h"
#include "transports/amqp/topology.h"
#include "transports/message.h"

#include <stdatomic.h>
#include <string.h>

enum {
    CHANNEL = 1,
    ACK_EVERY = 32, /* replies are acknowledged many at a time: nothing depends on them */
    ACK_MS = 500    /* but not later than this */
};

struct fj__replies {
    fj__channel channel;
    fj__domain *domain;
    _Atomic(char *) queue; /* set once */
    bool wanted, ready;
    fj__op **table; /* by message id, chained */
    size_t buckets, waiting;
    uint64_t unacked;
    unsigned unacked_n;
    fj__timer ack_timer, redo;
    fj__retry retry; /* of a queue that was deleted */
    bool again;      /* the queue went between its declaration and its consumer: tried once more */
};

/* One reply as it came, to be read when the lock is free. */
struct raw {
    fj__outcome outcome;
    fj__domain *domain;
    fj__body_form form;
    size_t n;
    char body[];
};

/* ---- the table of waiting calls ------------------------------------------------------------------- */

/* FNV-1a, 64 bits.  The ids are our own random ones: nobody outside chooses the bucket. */
static size_t hash(const char *id)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *id != '\0'; id++)
        h = (h ^ (uint8_t)*id) * 0x100000001b3u;
    return (size_t)h;
}

static bool grow(fj__replies *r)
{
    size_t buckets = r->buckets != 0 ? 2 * r->buckets : 64;
    fj__op **table = fj__zalloc(buckets * sizeof(fj__op *));

    if (table == NULL)
        return false;
    for (size_t i = 0; i < r->buckets; i++) {
        for (fj__op *op = r->table[i], *next; op != NULL; op = next) {
            fj__op **to = &table[hash(op->msg_id) & (buckets - 1)];
            next = op->hash_next;
            op->hash_next = *to;
            *to = op;
        }
    }
    fj__free(r->table);
    r->table = table;
    r->buckets = buckets;
    return true;
}

bool fj__replies_add(fj__replies *r, fj__op *op)
{
    if (r->waiting >= r->buckets && !grow(r))
        return false;
    fj__op **to = &r->table[hash(op->msg_id) & (r->buckets - 1)];
    op->hash_next = *to;
    *to = op;
    r->waiting++;
    return true;
}

/* Where it is, or would be; NULL while the table is empty. */
static fj__op **find(fj__replies *r, const char *id)
{
    fj__op **at = r->buckets != 0 ? &r->table[hash(id) & (r->buckets - 1)] : NULL;

    while (at != NULL && *at != NULL && strcmp((*at)->msg_id, id) != 0)
        at = &(*at)->hash_next;
    return at;
}

void fj__replies_remove(fj__replies *r, fj__op *op)
{
    fj__op **at = find(r, op->msg_id);

    if (at == NULL || *at != op)
        return;
    *at = op->hash_next;
    r->waiting--;
}

fj__op *fj__replies_any(fj__replies *r)
{
    for (size_t i = 0; r->waiting != 0 && i < r->buckets; i++) {
        if (r->table[i] != NULL)
            return r->table[i];
    }
    return NULL;
}

/* ---- replies coming in ------------------------------------------------------------------------------ */

static void take(fj__domain *d, fj__reply_in *in)
{
    fj__op **at = find(d->replies, in->msg_id);
    fj__op *op = at != NULL ? *at : NULL;

    if (op == NULL) { /* its call has ended, or never was: wire.md section 11 */
        fj__domain_note(d, FJ_LOG_DEBUG,
                        fj__format("a reply for message ID %s, which nobody waits for", in->msg_id));
    } else if (!in->ending) { /* call monitoring: the method is still running */
        op->heard_ns = fj_now().ns;
        if (op->monitor_ns != 0)
            (void)fj__timer_set(&d->timers, &op->timer,
                                fj_sooner(op->by, (fj_deadline){ op->heard_ns + op->monitor_ns }));
    } else {
        fj__op_finish(op, in->failure == NULL ? in->result : NULL, in->failure);
        if (in->failure == NULL)
            in->result = NULL;
        in->failure = NULL;
    }
}

static void read_raw(fj__outcome *o)
{
    struct raw *raw = fj__container(o, struct raw, outcome);
    fj__domain *d = raw->domain;
    json_t *message = NULL;
    fj__reply_in in = { 0 };
    fj_error *error = NULL;
    fj_code rc = fj__body_read(raw->form, raw->body, raw->n, &d->settings->json, &message, &error);

    if (rc == FJ_OK)
        rc = fj__message_reply_in(message, &d->settings->json, &in, &error);
    json_decref(message); /* before the caller has its result: then no thread but the caller's refers to it */
    fj__domain_lock(d);
    if (rc == FJ_OK)
        take(d, &in);
    else
        fj__domain_note(d, FJ_LOG_WARNING,
                        fj__format("a reply that cannot be read is dropped: %s", fj_error_text(error)));
    fj__domain_unlock(d);
    fj__reply_in_fini(&in);
    fj_error_free(error);
    fj__free(raw);
}

static void ack(fj__replies *r)
{
    amqp_basic_ack_t m = { .delivery_tag = r->unacked, .multiple = true };
    fj__link *l = &r->domain->consuming;

    if (r->unacked_n != 0 && l->state == FJ__LINK_OPEN &&
        l->broken == NULL) /* broken: one of them was not kept */
        (void)fj__engine_method(l->engine, CHANNEL, AMQP_BASIC_ACK_METHOD, &m);
    r->unacked_n = 0;
}

static void on_ack_timer(fj__timer *t, fj_deadline now)
{
    (void)now;
    ack(fj__container(t, fj__replies, ack_timer));
}

static void on_deliver(fj__replies *r, const fj__event *ev, fj_deadline now)
{
    fj__domain *d = r->domain;
    struct raw *raw = fj__alloc(sizeof *raw + ev->body_len);

    if (raw == NULL) {
        fj__link_break(&d->consuming, "out of memory: a reply could not be kept"); /* the broker has it still */
        return;
    }
    r->unacked = ev->tag;
    if (++r->unacked_n >= ACK_EVERY)
        ack(r);
    else if (r->ack_timer.place == 0)
        (void)fj__timer_set(&d->timers, &r->ack_timer, (fj_deadline){ now.ns + ACK_MS * 1000000LL });
    *raw = (struct raw){ .outcome = { .deliver = read_raw, .slow = d->urgent != 0 },
                         .domain = d,
                         .form = fj__body_form_of(ev->properties),
                         .n = ev->body_len };
    if (ev->body_len != 0)
        memcpy(raw->body, ev->body, ev->body_len);
    fj__domain_gather(d, &raw->outcome);
}

/* ---- the channel --------------------------------------------------------------------------------------- */

static void declare(fj__replies *r)
{
    fj__engine *e = r->domain->consuming.engine;

    const fj__amqp_settings *s = r->domain->settings;

    if (!fj__declare_transient(e, CHANNEL, s, fj__replies_queue(r), s->transient_quorum) ||
        !fj__consume(e, CHANNEL, s, fj__replies_queue(r), "1"))
        fj__link_break(&r->domain->consuming, "out of memory while the reply queue was declared");
}

static void set_up(fj__channel *c, fj_deadline now)
{
    fj__replies *r = fj__container(c, fj__replies, channel);

    (void)now;
    r->ready = false;
    r->unacked_n = 0;
    fj__timer_cancel(&r->domain->timers, &r->redo);
    if (!r->wanted)
        return;
    if (fj__channel_open(r->domain->consuming.engine, CHANNEL))
        declare(r);
    else
        fj__link_break(&r->domain->consuming, "out of memory while a channel was opened");
}

static void on_redo(fj__timer *t, fj_deadline now)
{
    fj__replies *r = fj__container(t, fj__replies, redo);

    (void)now;
    if (r->wanted && !r->ready && r->domain->consuming.state == FJ__LINK_OPEN)
        declare(r);
}

/* The broker cancelled the consumer, as it does when the queue is deleted: the same name again. */
static void cancelled(fj__replies *r, fj_deadline now)
{
    r->ready = false;
    fj__domain_note(r->domain, FJ_LOG_WARNING,
                    fj__format("the broker cancelled the consumer of %s: declaring again", r->queue));
    if (r->redo.place == 0 && !fj__timer_set(&r->domain->timers, &r->redo, fj__retry_next(&r->retry, now)))
        fj__link_break(&r->domain->consuming, "out of memory while the reply queue was declared");
}

static void refused(fj__replies *r, const fj__event *ev)
{
    fj_error *error = fj__channel_error(ev);
    fj__op *op;

    fj_error_prefix(&error, "the reply queue %s", fj__replies_queue(r));
    fj__domain_note(r->domain, FJ_LOG_ERROR, fj__strdup(fj_error_text(error)));
    r->ready = false;
    r->wanted = false; /* the next call tries again */
    while ((op = fj__replies_any(r)) != NULL) {
        fj_error *copy = fj_error_copy(error);
        if (copy == NULL)
            (void)fj_fail(&copy, FJ_NOMEM, "out of memory");
        fj_error_set_sent(copy, fj__op_sent(op));
        fj__op_finish(op, NULL, copy);
    }
    fj_error_free(error);
}

static void on_event(fj__channel *c, const fj__event *ev, fj_deadline now)
{
    fj__replies *r = fj__container(c, fj__replies, channel);

    switch (ev->kind) {
    case FJ__EV_DELIVER:
        on_deliver(r, ev, now);
        break;
    case FJ__EV_SKIPPED:
        r->unacked = ev->tag;
        r->unacked_n++;
        fj__domain_note(r->domain, FJ_LOG_WARNING, fj__format("a reply is dropped: %s", ev->text));
        break;
    case FJ__EV_METHOD:
        if (ev->method.id == AMQP_BASIC_CONSUME_OK_METHOD) {
            r->ready = true;
            r->again = false;
            fj__publisher_pump(r->domain->publisher, now);
        }
        break;
    case FJ__EV_CANCEL:
        cancelled(r, now);
        break;
    case FJ__EV_CHANNEL_CLOSED:
        fj__timer_cancel(&r->domain->timers, &r->redo);
        if (ev->code == AMQP_NOT_FOUND && !r->again) {
            r->again = true;
            set_up(c, now);
        } else {
            refused(r, ev);
        }
        break;
    default:
        break;
    }
}

static void on_down(fj__channel *c, const fj_error *error, fj_deadline now)
{
    (void)error;
    (void)now;
    fj__container(c, fj__replies, channel)->ready = false; /* calls wait on: the queue keeps its name */
}

static void on_failed(fj__channel *c, const fj_error *error, fj_deadline now)
{
    (void)c; /* calls not sent yet fail with the publishing connection or at their deadline */
    (void)error;
    (void)now;
}

static void look(const fj__channel *c, fj__channel_view *ret)
{
    fj__replies *r = fj__container(c, fj__replies, channel);
    const char *name = fj__replies_queue(r);

    *ret = (fj__channel_view){ .role = "replies",
                               .state = r->ready    ? "open"
                                        : r->wanted ? "opening"
                                                    : "idle",
                               .consumers = r->ready ? 1 : 0,
                               .unacked = r->unacked_n,
                               .calls = r->waiting,
                               .queues = r->wanted ? 1 : 0 };
    fj__text_cut(ret->queue[0].name, sizeof ret->queue[0].name, name != NULL ? name : "");
    ret->queue[0].role = "reply";
    ret->queue[0].in_hand = r->unacked_n;
}

size_t fj__replies_calls(const fj__replies *r, fj__replies_place *at, size_t max, const fj__op **ret)
{
    size_t n = 0;

    if (at->buckets != r->buckets)
        *at = (fj__replies_place){ .buckets = r->buckets, .grown = at->buckets != 0 };
    for (; at->bucket < r->buckets; at->bucket++) {
        size_t here = n;
        const fj__op *op = r->table[at->bucket];
        for (; op != NULL && here < max; op = op->hash_next)
            ret[here++] = op;
        if (op != NULL && n > 0) /* the whole chain next time */
            break;
        n = here;
    }
    return n;
}

bool fj__replies_want(fj__replies *r, fj_deadline now)
{
    fj__link *l = &r->domain->consuming;

    if (!r->wanted) {
        r->wanted = true;
        if (l->state == FJ__LINK_OPEN) {
            set_up(&r->channel, now);
            fj__link_flush(l, now); /* whoever sends looks at the publishing connection only */
        }
    }
    fj__link_want(l, now);
    return r->ready;
}

const char *fj__replies_queue(fj__replies *r)
{
    return atomic_load_explicit(&r->queue, memory_order_acquire);
}

fj_code fj__replies_name(fj__replies *r, fj_error **err)
{
    const fj__namer *namer = r->domain->settings->namer;
    char id[33], *last = id, *none = NULL;

    if (fj__replies_queue(r) != NULL)
        return FJ_OK;
    fj__id_hex(id);
    fj_code rc = namer != NULL ? fj__namer_next(namer, &last, err) : FJ_OK;
    if (rc != FJ_OK)
        return rc;
    char *name = fj__format("reply_%s", last);
    if (last != id)
        fj__free(last);
    if (name == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    if (!atomic_compare_exchange_strong(&r->queue, &none, name)) /* another thread was faster */
        fj__free(name);
    return FJ_OK;
}

fj_code fj__replies_new(fj__domain *d, fj__replies **ret)
{
    fj__replies *r = fj__zalloc(sizeof *r);

    if (r == NULL)
        return FJ_NOMEM;
    r->domain = d;
    r->ack_timer.fn = on_ack_timer;
    r->redo.fn = on_redo;
    r->retry = (fj__retry){ .quick = 1, .longest = d->settings->retry_max };
    r->channel = (fj__channel){
        .id = CHANNEL, .up = set_up, .event = on_event, .down = on_down, .failed = on_failed, .look = look
    };
    d->consuming_channels = &r->channel;
    *ret = r;
    return FJ_OK;
}

void fj__replies_free(fj__replies *r)
{
    if (r == NULL)
        return;
    fj__free(atomic_load(&r->queue));
    fj__free(r->table);
    fj__free(r);
}
