/* SPDX-License-Identifier: Apache-2.0 */
/* A listener's channel: declared, consumed and restored; and what it brings, in a ring until somebody polls. */
#include "transports/amqp/consumer.h"

#include "base/alloc.h"
#include "base/native.h"
#include "base/text.h"
#include "runtime/future.h"
#include "transports/amqp/listener.h"
#include "transports/amqp/topology.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LONGEST = 10,  /* digits of an expiration: 115 days */
    GONE_MS = 1000 /* as oslo.messaging waits after any cancel */
};

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
    l->sources[raw->from].waiting--;
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
    return (size_t)l->consumers * l->prefetch;
}

enum { TAG_MAX = 12 };

/* "1", "2" and so on, as oslo.messaging has them. */
static const char *tag_of(unsigned i, char out[TAG_MAX])
{
    (void)snprintf(out, TAG_MAX, "%u", i + 1);
    return out;
}

/* @return the place of the source with that consumer tag, or n */
static unsigned tagged(const fj__amqp_listener *l, const char *text, size_t n)
{
    unsigned long number = 0;

    for (size_t i = 0; i < n && i < TAG_MAX - 1; i++) {
        if (text[i] < '0' || text[i] > '9')
            return l->n;
        number = number * 10 + (unsigned long)(text[i] - '0');
    }
    return number >= 1 && number <= l->n ? (unsigned)number - 1 : l->n;
}

static unsigned from_of(const fj__amqp_listener *l, const fj__event *ev)
{
    unsigned from = tagged(l, ev->consumer_tag.bytes, ev->consumer_tag.len);

    return from < l->n ? from : 0;
}

/* Where it is in the stream; -1: it is of a queue. */
static int64_t offset_of(const fj__amqp_listener *l, const fj__event *ev)
{
    const amqp_basic_properties_t *p = ev->properties;
    bool headers = p != NULL && (p->_flags & AMQP_BASIC_HEADERS_FLAG) != 0;

    if (!l->sources[from_of(l, ev)].own || !fj__listener_streams(l))
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
                             .from = from_of(l, ev),
                             .offset = offset,
                             .arrived = now,
                             .expires = expires(ev->properties, now),
                             .n = ev->body_len };
    if (ev->body_len != 0)
        memcpy(raw->body, ev->body, ev->body_len);
    l->sources[raw->from].waiting++;
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

/* The name of its queue; a stream is named as its exchange. */
static const char *queue_of(const fj__amqp_listener *l, const fj__source *from)
{
    return from->own && fj__listener_streams(l) ? from->exchange : from->queue;
}

static bool declare_one(fj__amqp_listener *l, const fj__source *from)
{
    fj__engine *e = l->d->consuming.engine;
    const fj__amqp_settings *s = l->d->settings;
    uint16_t c = l->channel.id;

    if (!from->own)
        return fj__declare_exchange(e, c, from->exchange, l->durable, s->auto_delete) &&
               fj__declare_queue(e, c, s, from->queue, l->durable);
    if (!fj__declare_fanout(e, c, from->exchange, l->fanout_durable))
        return false;
    return fj__listener_streams(l) ? fj__declare_stream(e, c, s, from->exchange)
                                   : fj__declare_transient(e, c, s, from->queue, l->fanout_durable);
}

/* In the order of the sources: wire.md sections 3 and 14. */
static bool declare_all(fj__amqp_listener *l)
{
    bool ok = true;

    for (unsigned i = 0; ok && i < l->n; i++) {
        const fj__source *from = &l->sources[i];
        ok = declare_one(l, from) &&
             fj__bind(l->d->consuming.engine, l->channel.id, queue_of(l, from), from->exchange, from->key);
    }
    return ok;
}

static bool consume(fj__amqp_listener *l, const fj__source *from, const char *tag)
{
    fj__engine *e = l->d->consuming.engine;
    const fj__amqp_settings *s = l->d->settings;

    if (!from->own || !fj__listener_streams(l))
        return fj__consume(e, l->channel.id, s, from->queue, tag);
    int64_t place = fj__stream_from(&l->stream);
    l->seeking = place >= 0;
    return fj__consume_stream(e, l->channel.id, s, from->exchange, tag, place);
}

/* Those that are not consumed. */
static bool consume_rest(fj__amqp_listener *l)
{
    char tag[TAG_MAX];
    bool ok = true;

    for (unsigned i = 0; ok && i < l->n; i++) {
        if (!l->sources[i].again && !l->sources[i].consuming)
            ok = consume(l, &l->sources[i], tag_of(i, tag));
    }
    return ok;
}

static bool all_consumed(const fj__amqp_listener *l)
{
    for (unsigned i = 0; i < l->n; i++)
        if (!l->sources[i].again && !l->sources[i].consuming)
            return false;
    return true;
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
    for (unsigned i = 0; i < l->n; i++) {
        l->sources[i].unacked = 0;
        l->sources[i].consuming = false;
    }
    l->ready = false;
    fj__timer_cancel(&l->d->timers, &l->redo);
    if (l->closing || no_number(l))
        return;
    if (!fj__channel_open(e, c->id) || !declare_all(l) || !fj__qos(e, c->id, l->prefetch) || !consume_rest(l))
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
    if (!declare_all(l) || !consume_rest(l))
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

void fj__consumer_redo(fj__timer *t, fj_deadline now)
{
    restore(fj__container(t, fj__amqp_listener, redo), now);
}

static void restore_soon(fj__amqp_listener *l, fj_deadline now)
{
    bool set = l->redo.place != 0; /* one attempt restores all that was cancelled before it */
    fj_deadline at = set ? (fj_deadline){ l->redo.at } : fj__retry_next(&l->retry, now);

    if (at.ns < l->gone_ns) /* a stream is there for a while after its consumers were told that it goes */
        at.ns = l->gone_ns;
    if ((!set || at.ns != l->redo.at) && !fj__timer_set(&l->d->timers, &l->redo, at))
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

static void on_consume_ok(fj__amqp_listener *l, const fj__event *ev)
{
    const amqp_basic_consume_ok_t *ok = ev->method.decoded;
    unsigned at = tagged(l, ok->consumer_tag.bytes, ok->consumer_tag.len);

    if (at < l->n) {
        l->sources[at].consuming = true;
        l->seeking = l->seeking && !l->sources[at].own;
    }
    if (!all_consumed(l))
        return;
    l->ready = l->ever_ready = true;
    fj__domain_note(l->d, FJ_LOG_INFO,
                    fj__format("listening on %s%s%s", l->name,
                               l->n > 1 && l->sources[l->n - 1].own ? " and " : "",
                               l->n > 1 && l->sources[l->n - 1].own ? l->sources[1].queue : ""));
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

/* Whether one of its exchanges, of fanouts or of the others, exists with another durability. */
static bool is_mismatch(const fj__amqp_listener *l, const fj__event *ev, bool own)
{
    for (unsigned i = 0; i < l->n; i++)
        if (l->sources[i].own == own && fj__is_durable_mismatch_of(ev, l->sources[i].exchange))
            return true;
    return false;
}

static void on_channel_closed(fj__amqp_listener *l, const fj__event *ev, fj_deadline now)
{
    fj_error *error = fj__channel_error(ev);

    fj_error_prefix(&error, "listening on %s", l->name);
    fj__listener_drop(l, false);
    lose_place(l);
    l->ready = false;
    l->epoch++;
    l->cancels = 0;
    if (l->closing || l->left) {
        l->left = true;
    } else if (l->fanout_durable && is_mismatch(l, ev, true)) {
        l->fanout_durable = false; /* go with the peers: wire.md section 3 */
        set_up(&l->channel, now);
    } else if (l->durable && is_mismatch(l, ev, false)) {
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

static void on_cancel(fj__amqp_listener *l, const fj__event *ev, fj_deadline now)
{
    unsigned at = tagged(l, ev->text, strlen(ev->text));

    if (at < l->n)
        l->sources[at].consuming = false;
    if (at < l->n && l->sources[at].own && fj__listener_streams(l)) {
        fj__stream_forget(&l->stream); /* as oslo.messaging: whatever has its name next may be another one */
        l->gone_ns = now.ns + GONE_MS * 1000000LL;
    }
    fj__domain_note(l->d, FJ_LOG_WARNING,
                    fj__format("the broker cancelled a consumer of %s: declaring again", l->name));
    restore_soon(l, now);
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
        on_cancel(l, ev, now);
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
    for (unsigned i = 0; i < l->n && l->ready && !fj__listener_stale(l, l->epoch); i++) {
        char tag[TAG_MAX];
        amqp_basic_cancel_t m = { .consumer_tag = { .bytes = (void *)(uintptr_t)tag_of(i, tag) } };
        m.consumer_tag.len = strlen(tag);
        if (l->sources[i].again)
            continue;
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
    const fj__amqp_listener *l = fj__container(c, fj__amqp_listener, channel);

    *ret = (fj__channel_view){ .role = "listener",
                               .state = l->refused != NULL ? "refused"
                                        : l->closing       ? "closing"
                                        : l->ready         ? "open"
                                                           : "opening",
                               .prefetch = l->prefetch,
                               .unacked = l->unacked + l->waiting };
    for (unsigned i = 0; i < l->n; i++) {
        const fj__source *from = &l->sources[i];
        ret->consumers += from->consuming ? 1 : 0;
        if (from->again || ret->queues == FJ__SEEN_QUEUES)
            continue;
        unsigned at = ret->queues++;
        fj__text_cut(ret->queue[at].name, sizeof ret->queue[at].name, queue_of(l, from));
        ret->queue[at].role = from->role;
        ret->queue[at].waiting = from->waiting;
        ret->queue[at].in_hand = from->unacked;
        ret->queue[at].capacity = l->prefetch;
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
        if (!l->closing && (!l->ready || !all_consumed(l)))
            return false;
    }
    return true;
}
