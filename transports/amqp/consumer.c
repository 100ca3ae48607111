/* SPDX-License-Identifier: Apache-2.0 */
/* A listener's channel: declared, consumed and restored; and what it brings, in a ring until somebody polls. */
#include "transports/amqp/consumer.h"

#include "base/alloc.h"
#include "base/native.h"
#include "base/text.h"
#include "runtime/future.h"
#include "transports/amqp/listener.h"
#include "transports/amqp/topology.h"

#include <string.h>
#include <unistd.h>

enum { LONGEST = 10 /* digits of an expiration: 115 days */, FANOUT = 2 };

bool fj__listener_stale(const fj__amqp_listener *l, unsigned epoch)
{
    return l->epoch != epoch || l->d->consuming.state != FJ__LINK_OPEN || l->channel.id == 0;
}

/* ---- the ring ----------------------------------------------------------------------------------------- */

void fj__listener_signal(fj__amqp_listener *l)
{
    uint64_t count;
    ssize_t ignored;

    if (l->event_fd < 0)
        return;
    if (l->first != NULL)
        ignored = fj__native.write(l->event_fd, &(uint64_t){ 1 }, sizeof count);
    else
        ignored = fj__native.read(l->event_fd, &count, sizeof count);
    (void)ignored;
}

struct fj__raw *fj__listener_pop(fj__amqp_listener *l)
{
    struct fj__raw *raw = l->first;

    l->first = raw->next;
    if (l->first == NULL)
        l->last = &l->first;
    l->waiting--;
    l->waiting_of[raw->from]--;
    return raw;
}

void fj__listener_drop(fj__amqp_listener *l, bool requeue)
{
    while (l->first != NULL) {
        struct fj__raw *raw = fj__listener_pop(l);
        if (requeue && !fj__listener_stale(l, l->epoch))
            fj__put_reject(l, raw->tag, raw->offset, true);
        fj__free(raw);
    }
    fj__listener_signal(l);
}

static bool is_json(const amqp_basic_properties_t *p)
{
    static const char json[] = "application/json"; /* exactly: wire.md section 5 */

    return p != NULL && (p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG) != 0 &&
           p->content_type.len == sizeof json - 1 && memcmp(p->content_type.bytes, json, sizeof json - 1) == 0;
}

/* How many messages the broker may hand out and await: RabbitMQ counts the prefetch for each consumer. */
size_t fj__listener_in_flight_max(const fj__amqp_listener *l)
{
    return (size_t)FJ__QUEUES * l->prefetch;
}

/* Its consumer's tag tells: "1", "2", "3". */
static uint8_t from_of(const fj__event *ev)
{
    char digit = '1';

    if (ev->consumer_tag.len == 1)
        memcpy(&digit, ev->consumer_tag.bytes, 1);
    return digit >= '1' && digit < '1' + FJ__QUEUES ? (uint8_t)(digit - '1') : 0;
}

/* Where it is in the stream; -1: it is of a queue. */
static int64_t offset_of(const fj__amqp_listener *l, const fj__event *ev)
{
    const amqp_basic_properties_t *p = ev->properties;
    bool headers = p != NULL && (p->_flags & AMQP_BASIC_HEADERS_FLAG) != 0;

    if (from_of(ev) != FANOUT || !fj__listener_streams(l))
        return -1;
    for (int i = 0; headers && i < p->headers.num_entries; i++) {
        const amqp_table_entry_t *e = &p->headers.entries[i];
        static const char name[] = "x-stream-offset";
        if (e->key.len == sizeof name - 1 && memcmp(e->key.bytes, name, sizeof name - 1) == 0 &&
            e->value.kind == AMQP_FIELD_KIND_I64 && e->value.value.i64 >= 0)
            return e->value.value.i64;
    }
    return 0; /* it came out of a stream all the same, and is not to be rejected */
}

/* A call's expiration is what was left until its deadline when it was sent, in milliseconds: counted from now that is over later
 * than the deadline, and never sooner. */
static fj_deadline expires(const amqp_basic_properties_t *p, fj_deadline now)
{
    int64_t ms = 0;

    if (p == NULL || (p->_flags & AMQP_BASIC_EXPIRATION_FLAG) == 0 || p->expiration.len == 0 ||
        p->expiration.len > LONGEST)
        return fj_never();
    for (size_t i = 0; i < p->expiration.len; i++) {
        char c = ((const char *)p->expiration.bytes)[i];
        if (c < '0' || c > '9')
            return fj_never();
        ms = 10 * ms + (c - '0');
    }
    return (fj_deadline){ now.ns + ms * 1000000 };
}

static void on_deliver(fj__amqp_listener *l, const fj__event *ev, fj_deadline now)
{
    struct fj__raw *raw = NULL;

    if (l->prefetch != 0 &&
        l->waiting >= 2 * fj__listener_in_flight_max(l)) { /* twice: a consumer may be declared anew */
        fj__link_break(&l->d->consuming, "the broker sends more than the prefetch allows");
        return;
    }
    int64_t offset = offset_of(l, ev);
    if ((!l->closing || l->cancels > 0) && (offset < 0 || fj__stream_came(&l->stream, offset)))
        raw = fj__alloc(sizeof *raw + ev->body_len);
    if (raw == NULL) {
        fj__put_reject(l, ev->tag, offset, true);
        return;
    }
    *raw = (struct fj__raw){ .tag = ev->tag,
                             .redelivered = ev->redelivered,
                             .json = is_json(ev->properties),
                             .form = fj__body_form_of(ev->properties),
                             .from = from_of(ev),
                             .offset = offset,
                             .arrived = now,
                             .expires = expires(ev->properties, now),
                             .n = ev->body_len };
    if (ev->body_len != 0)
        memcpy(raw->body, ev->body, ev->body_len);
    l->waiting_of[raw->from]++;
    *l->last = raw;
    l->last = &raw->next;
    if (l->waiting++ == 0)
        fj__listener_signal(l);
    fj__future_nudge(l->gate);
}

/* ---- the channel -------------------------------------------------------------------------------------- */

bool fj__listener_streams(const fj__amqp_listener *l)
{
    return l->d->settings->stream_fanout && l->fanout_durable;
}

const char *fj__listener_fanout(const fj__amqp_listener *l)
{
    return fj__listener_streams(l) ? l->fanout : l->fanout_queue;
}

static bool declare_fanout_queue(fj__amqp_listener *l)
{
    fj__engine *e = l->d->consuming.engine;
    const fj__amqp_settings *s = l->d->settings;

    return fj__listener_streams(l)
               ? fj__declare_stream(e, l->channel.id, s, l->fanout)
               : fj__declare_transient(e, l->channel.id, s, l->fanout_queue, l->fanout_durable);
}

static bool declare_all(fj__amqp_listener *l)
{
    fj__engine *e = l->d->consuming.engine;
    const fj__amqp_settings *s = l->d->settings;
    uint16_t c = l->channel.id;

    return fj__declare_exchange(e, c, l->exchange, l->durable,
                                s->auto_delete) && /* in this order: wire.md section 3 */
           fj__declare_queue(e, c, s, l->topic, l->durable) &&
           fj__bind(e, c, l->topic, l->exchange, l->topic) &&
           fj__declare_exchange(e, c, l->exchange, l->durable, s->auto_delete) &&
           fj__declare_queue(e, c, s, l->server_queue, l->durable) &&
           fj__bind(e, c, l->server_queue, l->exchange, l->server_queue) &&
           fj__declare_fanout(e, c, l->fanout, l->fanout_durable) && declare_fanout_queue(l) &&
           fj__bind(e, c, fj__listener_fanout(l), l->fanout, l->topic);
}

static const char *const tags[FJ__QUEUES] = { "1", "2", "3" };

static const char *queue_of(const fj__amqp_listener *l, unsigned i)
{
    return i == 0 ? l->topic : i == 1 ? l->server_queue : fj__listener_fanout(l);
}

static bool consume(fj__amqp_listener *l, unsigned i)
{
    fj__engine *e = l->d->consuming.engine;
    const fj__amqp_settings *s = l->d->settings;

    if (i != FANOUT || !fj__listener_streams(l))
        return fj__consume(e, l->channel.id, s, queue_of(l, i), tags[i]);
    int64_t from = fj__stream_from(&l->stream);
    l->seeking = from >= 0;
    return fj__consume_stream(e, l->channel.id, s, l->fanout, tags[i], from);
}

/* Whether the channel's number is beyond what this broker agreed to: it was chosen before there was a connection. */
static bool no_number(fj__amqp_listener *l)
{
    unsigned max = fj__engine_channel_max(l->d->consuming.engine);

    if (l->channel.id <= max)
        return false;
    if (l->refused == NULL)
        (void)fj_fail(&l->refused, FJ_BUSY, "the broker allows %u channels a connection: too many listeners",
                      max);
    fj__future_nudge(l->gate);
    return true;
}

static void set_up(fj__channel *c, fj_deadline now)
{
    fj__amqp_listener *l = fj__container(c, fj__amqp_listener, channel);
    fj__engine *e = l->d->consuming.engine;

    (void)now;
    l->epoch++;
    l->unacked = 0;
    memset(l->unacked_of, 0, sizeof l->unacked_of);
    l->consuming = 0;
    l->ready = false;
    fj__timer_cancel(&l->d->timers, &l->redo);
    if (l->closing || no_number(l))
        return;
    bool ok = fj__channel_open(e, c->id) && declare_all(l) && fj__qos(e, c->id, l->prefetch);
    for (unsigned i = 0; ok && i < FJ__QUEUES; i++)
        ok = consume(l, i);
    if (!ok)
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

/* The broker cancelled one consumer, as it does when its queue is deleted: declare all again, consume that one. */
static void restore(fj__amqp_listener *l, fj_deadline now)
{
    if (l->d->consuming.state != FJ__LINK_OPEN || l->channel.id == 0 || l->closing)
        return;
    if (!l->ready) { /* the channel itself is gone */
        set_up(&l->channel, now);
        return;
    }
    bool ok = declare_all(l);
    for (unsigned i = 0; i < FJ__QUEUES && ok; i++) {
        if ((l->consuming & (1u << i)) == 0)
            ok = consume(l, i);
    }
    if (!ok)
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

void fj__consumer_redo(fj__timer *t, fj_deadline now)
{
    restore(fj__container(t, fj__amqp_listener, redo), now);
}

static void restore_soon(fj__amqp_listener *l, fj_deadline now)
{
    if (l->redo.place == 0 && !fj__timer_set(&l->d->timers, &l->redo, fj__retry_next(&l->retry, now)))
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

static unsigned tag_bit(const char *text, size_t n)
{
    for (unsigned i = 0; i < FJ__QUEUES; i++) {
        if (n == strlen(tags[i]) && memcmp(text, tags[i], n) == 0)
            return 1u << i;
    }
    return 0;
}

static void on_consume_ok(fj__amqp_listener *l, const fj__event *ev)
{
    const amqp_basic_consume_ok_t *ok = ev->method.decoded;

    l->consuming |= tag_bit(ok->consumer_tag.bytes, ok->consumer_tag.len);
    l->seeking = l->seeking && (l->consuming & (1u << FANOUT)) == 0;
    if (l->consuming != (1u << FJ__QUEUES) - 1)
        return;
    l->ready = l->ever_ready = true;
    fj__domain_note(l->d, FJ_LOG_INFO, fj__format("listening on %s and %s", l->topic, l->server_queue));
    fj__future_nudge(l->gate);
}

/* A broker that ends it all when asked for a place in a stream may have another one of that name, which is shorter. */
static void lose_place(fj__amqp_listener *l)
{
    fj__stream_lost(&l->stream);
    if (l->seeking)
        fj__stream_forget(&l->stream);
    l->seeking = false;
}

static void on_channel_closed(fj__amqp_listener *l, const fj__event *ev, fj_deadline now)
{
    fj_error *error = fj__channel_error(ev);

    fj_error_prefix(&error, "listening on %s", l->topic);
    fj__listener_drop(l, false);
    lose_place(l);
    l->ready = false;
    l->epoch++;
    l->cancels = 0;
    if (l->closing || l->left) {
        l->left = true;
    } else if (fj__is_durable_mismatch_of(ev, l->fanout) && l->fanout_durable) {
        l->fanout_durable = false; /* go with the peers: wire.md section 3 */
        set_up(&l->channel, now);
    } else if (fj__is_durable_mismatch_of(ev, l->exchange) && l->durable) {
        l->durable = false; /* go with the peers: wire.md section 3 */
        set_up(&l->channel, now);
    } else if (ev->code == AMQP_NOT_FOUND && !l->again) {
        l->again = true;
        set_up(&l->channel, now);
    } else if (!l->ever_ready) {
        l->refused = error;
        error = NULL;
    } else {
        fj__domain_note(l->d, FJ_LOG_ERROR, fj__strdup(fj_error_text(error)));
        restore_soon(l, now);
    }
    fj_error_free(error);
    fj__future_nudge(l->gate);
}

static void on_event(fj__channel *c, const fj__event *ev, fj_deadline now)
{
    fj__amqp_listener *l = fj__container(c, fj__amqp_listener, channel);

    switch (ev->kind) {
    case FJ__EV_DELIVER:
        on_deliver(l, ev, now);
        break;
    case FJ__EV_SKIPPED:
        fj__put_reject(l, ev->tag, offset_of(l, ev), false);
        fj__listener_complain(l, "rejected", ev->text, now);
        break;
    case FJ__EV_CANCEL:
        l->consuming &= ~tag_bit(ev->text, strlen(ev->text));
        if ((l->consuming & (1u << FANOUT)) ==
            0) /* as oslo.messaging: whatever has its name next may be another stream */
            fj__stream_forget(&l->stream);
        fj__domain_note(l->d, FJ_LOG_WARNING,
                        fj__format("the broker cancelled a consumer of %s: declaring again", l->topic));
        restore_soon(l, now);
        break;
    case FJ__EV_CHANNEL_CLOSED:
        on_channel_closed(l, ev, now);
        break;
    case FJ__EV_METHOD:
        if (ev->method.id == AMQP_BASIC_CONSUME_OK_METHOD)
            on_consume_ok(l, ev);
        else if (ev->method.id == AMQP_BASIC_CANCEL_OK_METHOD) {
            l->cancels -= l->cancels > 0 ? 1 : 0;
            fj__future_nudge(l->gate);
        } else if (ev->method.id == AMQP_CHANNEL_CLOSE_OK_METHOD) {
            l->left = true;
            fj__future_nudge(l->gate);
        }
        break;
    default:
        break;
    }
}

static void on_down(fj__channel *c, const fj_error *error, fj_deadline now)
{
    fj__amqp_listener *l = fj__container(c, fj__amqp_listener, channel);

    (void)error;
    (void)now;
    fj__listener_drop(l, false); /* the broker delivers them again */
    lose_place(l);
    l->ready = false;
    l->again = false;
    l->epoch++;
    l->cancels = 0;
    if (l->closing)
        l->left = true;
    fj__future_nudge(l->gate);
}

static void on_failed(fj__channel *c, const fj_error *error, fj_deadline now)
{
    fj__amqp_listener *l = fj__container(c, fj__amqp_listener, channel);

    (void)now;
    if (!l->ever_ready && l->d->consuming.fatal && l->refused == NULL)
        l->refused = fj_error_copy(error);
    fj__future_nudge(l->gate);
}

void fj__consumer_cancel(fj__amqp_listener *l)
{
    for (unsigned i = 0; i < FJ__QUEUES && l->ready && !fj__listener_stale(l, l->epoch); i++) {
        amqp_basic_cancel_t m = { .consumer_tag = { .len = 1, .bytes = (void *)(uintptr_t)tags[i] } };
        if (fj__engine_method(l->d->consuming.engine, l->channel.id, AMQP_BASIC_CANCEL_METHOD, &m) == FJ_OK &&
            l->opts.keep_fetched)
            l->cancels++;
    }
    if (!l->opts.keep_fetched)
        fj__listener_drop(l, true);
    fj__timer_cancel(&l->d->timers, &l->redo);
}

/* Its queues, with what is fetched of each. */
static void look(const fj__channel *c, fj__channel_view *ret)
{
    static const char *const roles[FJ__QUEUES] = { "topic", "server", "fanout" };
    const fj__amqp_listener *l = fj__container(c, fj__amqp_listener, channel);

    *ret = (fj__channel_view){ .role = "listener",
                               .state = l->refused != NULL ? "refused"
                                        : l->closing       ? "closing"
                                        : l->ready         ? "open"
                                                           : "opening",
                               .prefetch = l->prefetch,
                               .unacked = l->unacked + l->waiting,
                               .queues = FJ__QUEUES };
    for (unsigned i = 0; i < FJ__QUEUES; i++) {
        ret->consumers += (l->consuming >> i) & 1;
        fj__text_cut(ret->queue[i].name, sizeof ret->queue[i].name, queue_of(l, i));
        ret->queue[i].role = roles[i];
        ret->queue[i].waiting = l->waiting_of[i];
        ret->queue[i].in_hand = l->unacked_of[i];
        ret->queue[i].capacity = l->prefetch;
    }
}

const fj__channel fj__consumer_channel = {
    .up = set_up, .event = on_event, .down = on_down, .failed = on_failed, .look = look
};

bool fj__consumers_ready(const fj__domain *d)
{
    for (fj__channel *c = d->consuming_channels; c != NULL; c = c->next) {
        if (c->up != set_up)
            continue; /* the replies' */
        const fj__amqp_listener *l = fj__container(c, fj__amqp_listener, channel);
        if (!l->closing && (!l->ready || l->consuming != (1u << FJ__QUEUES) - 1))
            return false;
    }
    return true;
}
