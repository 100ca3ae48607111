/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/consumer.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "runtime/future.h"
#include "transports/amqp/body.h"
#include "transports/amqp/publisher.h"
#include "transports/amqp/topology.h"
#include "transports/amqp/window.h"
#include "transports/message.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    FIRST_CHANNEL = 2, /* 1 is the reply queue's */
    QUEUES = 3,        /* topic, topic.server, fanout */
    REDO_MS = 1000
};

/* One message as it came. */
struct raw {
    struct raw *next;
    uint64_t tag;
    bool redelivered, json;
    fj__body_form form;
    size_t n;
    char body[];
};

struct fj__amqp_listener {
    fj_listener base;
    fj__domain *d;
    fj__channel channel;
    fj_future *gate; /* never completed: nudged when poll() has something to look at */
    char *exchange, *topic, *server_queue, *fanout, *fanout_queue;
    fj_listen_opts opts;
    uint16_t prefetch;
    bool durable; /* of the control exchange and its queues */
    bool ready, ever_ready, again, closing, left;
    unsigned consuming; /* consume-ok's since the set-up */
    unsigned epoch;     /* + 1 with each channel: tags of an older one are stale */
    fj_error *refused;  /* why it cannot listen */
    fj__timer redo;
    int64_t redone_ns;
    struct raw *first, **last;
    size_t waiting, unacked; /* in the ring; given to poll() and not acked */
    fj__window window;
    int event_fd; /* -1 until somebody asks for it */
    atomic_bool interrupted;
};

typedef struct {
    fj_incoming base;
    struct fj__amqp_listener *l;
    unsigned epoch;
    uint64_t tag;
    fj__request_in ids;
    fj__timer monitor;
    int64_t interval_ns;
    bool settled; /* acked, rejected or stale */
} incoming;

static struct fj__amqp_listener *listener_of(fj_listener *l)
{
    return fj__container(l, struct fj__amqp_listener, base);
}

static bool stale(const struct fj__amqp_listener *l, unsigned epoch)
{
    return l->epoch != epoch || l->d->consuming.state != FJ__LINK_OPEN || l->channel.id == 0;
}

/* ---- acks and rejects: all under the lock ---------------------------------------------------------- */

/* An ack left out would hold its message, and one of the prefetch, for as long as the channel lives. */
static void put(struct fj__amqp_listener *l, amqp_method_number_t id, void *method)
{
    if (fj__engine_method(l->d->consuming.engine, l->channel.id, id, method) == FJ_NOMEM)
        fj__link_break(&l->d->consuming, "out of memory while a message was acknowledged");
}

static void put_ack(struct fj__amqp_listener *l, uint64_t tag, bool multiple)
{
    amqp_basic_ack_t m = { .delivery_tag = tag, .multiple = multiple };

    put(l, AMQP_BASIC_ACK_METHOD, &m);
}

static void put_reject(struct fj__amqp_listener *l, uint64_t tag, bool requeue)
{
    amqp_basic_reject_t m = { .delivery_tag = tag, .requeue = requeue };

    put(l, AMQP_BASIC_REJECT_METHOD, &m);
}

/* It did not run: when the broker delivers it again it is not one that came twice. */
static void unsee(const incoming *in)
{
    if (in->ids.unique_id != NULL)
        fj__window_forget(&in->l->window, in->ids.unique_id);
}

static void settle(incoming *in)
{
    if (!in->settled && !stale(in->l, in->epoch))
        in->l->unacked--;
    in->settled = true;
}

/* ---- the ring ----------------------------------------------------------------------------------------- */

static void signal_fd(struct fj__amqp_listener *l)
{
    uint64_t count;
    ssize_t ignored;

    if (l->event_fd < 0)
        return;
    if (l->first != NULL)
        ignored = write(l->event_fd, &(uint64_t){ 1 }, sizeof count);
    else
        ignored = read(l->event_fd, &count, sizeof count);
    (void)ignored;
}

static struct raw *pop(struct fj__amqp_listener *l)
{
    struct raw *raw = l->first;

    l->first = raw->next;
    if (l->first == NULL)
        l->last = &l->first;
    l->waiting--;
    return raw;
}

static void drop_ring(struct fj__amqp_listener *l, bool requeue)
{
    while (l->first != NULL) {
        struct raw *raw = pop(l);
        if (requeue && !stale(l, l->epoch))
            put_reject(l, raw->tag, true);
        fj__free(raw);
    }
    signal_fd(l);
}

static bool is_json(const amqp_basic_properties_t *p)
{
    static const char json[] = "application/json"; /* exactly: wire.md section 5 */

    return p != NULL && (p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG) != 0 &&
           p->content_type.len == sizeof json - 1 && memcmp(p->content_type.bytes, json, sizeof json - 1) == 0;
}

/* How many messages the broker may hand out and await: RabbitMQ counts the prefetch for each consumer. */
static size_t in_flight_max(const struct fj__amqp_listener *l)
{
    return (size_t)QUEUES * l->prefetch;
}

static void on_deliver(struct fj__amqp_listener *l, const fj__event *ev)
{
    struct raw *raw = NULL;

    if (l->prefetch != 0 && l->waiting >= 2 * in_flight_max(l)) { /* twice: a consumer may be declared anew */
        fj__link_break(&l->d->consuming, "the broker sends more than the prefetch allows");
        return;
    }
    if (!l->closing)
        raw = fj__alloc(sizeof *raw + ev->body_len);
    if (raw == NULL) {
        put_reject(l, ev->tag, true);
        return;
    }
    *raw = (struct raw){ .tag = ev->tag,
                         .redelivered = ev->redelivered,
                         .json = is_json(ev->properties),
                         .form = fj__body_form_of(ev->properties),
                         .n = ev->body_len };
    if (ev->body_len != 0)
        memcpy(raw->body, ev->body, ev->body_len);
    *l->last = raw;
    l->last = &raw->next;
    if (l->waiting++ == 0)
        signal_fd(l);
    fj__future_nudge(l->gate);
}

/* ---- the channel ----------------------------------------------------------------------------------------- */

static bool declare_all(struct fj__amqp_listener *l)
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
           fj__declare_fanout(e, c, l->fanout) && fj__declare_transient(e, c, s, l->fanout_queue) &&
           fj__bind(e, c, l->fanout_queue, l->fanout, l->topic);
}

static const char *const tags[QUEUES] = { "1", "2", "3" };

static const char *queue_of(const struct fj__amqp_listener *l, unsigned i)
{
    return i == 0 ? l->topic : i == 1 ? l->server_queue : l->fanout_queue;
}

/* Whether the channel's number is beyond what this broker agreed to: it was chosen before there was a connection. */
static bool no_number(struct fj__amqp_listener *l)
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
    struct fj__amqp_listener *l = fj__container(c, struct fj__amqp_listener, channel);
    fj__engine *e = l->d->consuming.engine;

    (void)now;
    l->epoch++;
    l->unacked = 0;
    l->consuming = 0;
    l->ready = false;
    fj__timer_cancel(&l->d->timers, &l->redo);
    if (l->closing || no_number(l))
        return;
    bool ok = fj__channel_open(e, c->id) && declare_all(l) && fj__qos(e, c->id, l->prefetch);
    for (unsigned i = 0; ok && i < QUEUES; i++)
        ok = fj__consume(e, c->id, l->d->settings, queue_of(l, i), tags[i]);
    if (!ok)
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

/* The broker cancelled one consumer, as it does when its queue is deleted: declare all again, consume that one. */
static void restore(struct fj__amqp_listener *l, fj_deadline now)
{
    fj__engine *e = l->d->consuming.engine;

    l->redone_ns = now.ns;
    if (l->d->consuming.state != FJ__LINK_OPEN || l->channel.id == 0 || l->closing)
        return;
    if (!l->ready) { /* the channel itself is gone */
        set_up(&l->channel, now);
        return;
    }
    bool ok = declare_all(l);
    for (unsigned i = 0; i < QUEUES && ok; i++) {
        if ((l->consuming & (1u << i)) == 0)
            ok = fj__consume(e, l->channel.id, l->d->settings, queue_of(l, i), tags[i]);
    }
    if (!ok)
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

static void on_redo(fj__timer *t, fj_deadline now)
{
    restore(fj__container(t, struct fj__amqp_listener, redo), now);
}

static void restore_soon(struct fj__amqp_listener *l, fj_deadline now)
{
    int64_t at = l->redone_ns + REDO_MS * 1000000LL; /* at once, but not in a hot loop */

    if (l->redo.place == 0 &&
        !fj__timer_set(&l->d->timers, &l->redo, (fj_deadline){ at > now.ns ? at : now.ns }))
        fj__link_break(&l->d->consuming, "out of memory while a listener was set up");
}

static unsigned tag_bit(const char *text, size_t n)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        if (n == strlen(tags[i]) && memcmp(text, tags[i], n) == 0)
            return 1u << i;
    }
    return 0;
}

static void on_consume_ok(struct fj__amqp_listener *l, const fj__event *ev)
{
    const amqp_basic_consume_ok_t *ok = ev->method.decoded;

    l->consuming |= tag_bit(ok->consumer_tag.bytes, ok->consumer_tag.len);
    if (l->consuming != (1u << QUEUES) - 1)
        return;
    l->ready = l->ever_ready = true;
    fj__domain_note(l->d, FJ_LOG_INFO, fj__format("listening on %s and %s", l->topic, l->server_queue));
    fj__future_nudge(l->gate);
}

static void on_channel_closed(struct fj__amqp_listener *l, const fj__event *ev, fj_deadline now)
{
    fj_error *error = fj__channel_error(ev);

    fj_error_prefix(&error, "listening on %s", l->topic);
    drop_ring(l, false);
    l->ready = false;
    l->epoch++;
    if (l->closing || l->left) {
        l->left = true;
    } else if (fj__is_durable_mismatch(ev) && l->durable) {
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
        l->redone_ns = now.ns;
        restore_soon(l, now);
    }
    fj_error_free(error);
    fj__future_nudge(l->gate);
}

static void on_event(fj__channel *c, const fj__event *ev, fj_deadline now)
{
    struct fj__amqp_listener *l = fj__container(c, struct fj__amqp_listener, channel);

    switch (ev->kind) {
    case FJ__EV_DELIVER:
        on_deliver(l, ev);
        break;
    case FJ__EV_OVERSIZE:
        put_reject(l, ev->tag, false);
        fj__domain_note(l->d, FJ_LOG_WARNING,
                        fj__format("a message on %s over [fjord] max_message_bytes is rejected", l->topic));
        break;
    case FJ__EV_CANCEL:
        l->consuming &= ~tag_bit(ev->text, strlen(ev->text));
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
        else if (ev->method.id == AMQP_CHANNEL_CLOSE_OK_METHOD) {
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
    struct fj__amqp_listener *l = fj__container(c, struct fj__amqp_listener, channel);

    (void)error;
    (void)now;
    drop_ring(l, false); /* the broker delivers them again */
    l->ready = false;
    l->again = false;
    l->epoch++;
    if (l->closing)
        l->left = true;
    fj__future_nudge(l->gate);
}

static void on_failed(fj__channel *c, const fj_error *error, fj_deadline now)
{
    struct fj__amqp_listener *l = fj__container(c, struct fj__amqp_listener, channel);

    (void)now;
    if (!l->ever_ready && l->d->consuming.fatal && l->refused == NULL)
        l->refused = fj_error_copy(error);
    fj__future_nudge(l->gate);
}

/* ---- incoming: the request ------------------------------------------------------------------------------ */

static incoming *incoming_of(fj_incoming *in)
{
    return fj__container(in, incoming, base);
}

/* A reply or heartbeat into the publishing connection.  @locks takes the domain's */
static fj_code send_reply(incoming *in, char *body, size_t n, bool last)
{
    fj__domain *d = in->l->d;
    fj__op *op = NULL;
    fj_code rc = fj__op_new(d, FJ__OP_REPLY, "", in->ids.reply_q, body, n, &op);

    if (rc != FJ_OK)
        return rc;
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
static void finish(incoming *in)
{
    fj__domain *d = in->l->d;

    if (!in->settled && !stale(in->l, in->epoch)) {
        put_ack(in->l, in->tag, false);
        fj__domain_touch(d, &d->consuming, false);
    }
    settle(in);
}

static fj_code reply(fj_incoming *base, const json_t *result, const fj_error *failure, fj_error **err)
{
    incoming *in = incoming_of(base);
    fj__domain *d = in->l->d;
    char id[33], *body = NULL;
    size_t n = 0;

    if (!base->wants_reply)
        return FJ_OK;
    fj__id_hex(id);
    fj_code rc =
        fj__message_reply(in->ids.msg_id, id, result, failure, true, &d->settings->json, &body, &n, err);
    if (rc != FJ_OK)
        return rc;
    fj__domain_lock(d);
    fj__timer_cancel(&d->timers, &in->monitor);
    in->interval_ns = 0;
    rc = send_reply(in, body, n, true);
    if (in->l->opts.ack_done)
        finish(in);
    fj__domain_touch(d, &d->publishing, false);
    fj__domain_unlock(d);
    return rc == FJ_OK ? rc : fj_fail(err, rc, rc == FJ_CLOSED ? "the transport is closed" : "out of memory");
}

static void done(fj_incoming *base)
{
    incoming *in = incoming_of(base);
    fj__domain *d = in->l->d;

    fj__domain_lock(d);
    fj__timer_cancel(&d->timers, &in->monitor);
    finish(in);
    fj__domain_unlock(d);
}

static void give_back(incoming *in)
{
    fj__domain *d = in->l->d;

    if (in->settled)
        return;
    unsee(in);
    if (!stale(in->l, in->epoch)) {
        put_reject(in->l, in->tag, true);
        fj__domain_touch(d, &d->consuming, false);
    }
    settle(in);
}

static void requeue(fj_incoming *base)
{
    incoming *in = incoming_of(base);

    fj__domain_lock(in->l->d);
    give_back(in);
    fj__domain_unlock(in->l->d);
}

static void free_incoming(fj_incoming *base)
{
    incoming *in = incoming_of(base);

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
    .abi = FJ_DRIVER_ABI, .reply = reply, .done = done, .requeue = requeue, .free = free_incoming
};

/* Call monitoring (wire.md section 12): while the method runs, its caller hears of it. */
static void on_monitor(fj__timer *t, fj_deadline now)
{
    incoming *in = fj__container(t, incoming, monitor);
    char id[33], *body = NULL;
    size_t n = 0;

    if (in->interval_ns == 0)
        return;
    fj__id_hex(id);
    if (fj__message_reply(in->ids.msg_id, id, NULL, NULL, false, &in->l->d->settings->json, &body, &n, NULL) ==
        FJ_OK)
        (void)send_reply(in, body, n, false);
    (void)fj__timer_set(&in->l->d->timers, t, (fj_deadline){ now.ns + in->interval_ns });
}

static void start_monitor(incoming *in, fj_deadline now)
{
    if (!in->base.wants_reply || in->ids.monitor_s < 2)
        return;
    in->interval_ns = (int64_t)in->ids.monitor_s * 500000000;
    (void)fj__timer_set(&in->l->d->timers, &in->monitor, (fj_deadline){ now.ns + in->interval_ns });
}

/* ---- the listener's operations ------------------------------------------------------------------------------ */

/* Read one message.  NULL: it is of no use; *error says why. */
static incoming *read_raw(struct fj__amqp_listener *l, const struct raw *raw, unsigned epoch, fj_error **error)
{
    incoming *in = fj__zalloc(sizeof *in);
    json_t *message = NULL;

    if (in == NULL || !raw->json) {
        fj__free(in);
        (void)fj_fail(error, in == NULL ? FJ_NOMEM : FJ_BAD_MESSAGE,
                      "the content type is not application/json");
        return NULL;
    }
    if (fj__body_read(raw->form, raw->body, raw->n, &l->d->settings->json, &message, error) != FJ_OK ||
        fj__message_take(message, &in->ids, error) != FJ_OK) {
        json_decref(message);
        fj__free(in);
        return NULL;
    }
    in->base = (fj_incoming){ .ops = &incoming_ops,
                              .listener = &l->base,
                              .message = message,
                              .context = in->ids.context,
                              .wants_reply = in->ids.msg_id != NULL && in->ids.reply_q != NULL,
                              .redelivered = raw->redelivered };
    in->ids.context = NULL;
    in->l = l;
    in->epoch = epoch;
    in->tag = raw->tag;
    in->monitor.fn = on_monitor;
    return in;
}

/* Under the lock again: is it new?  Answers whether it is to be given out. */
static bool admit(struct fj__amqp_listener *l, const struct raw *raw, unsigned epoch, incoming *in,
                  const fj_error *error)
{
    if (stale(l, epoch))
        return false;
    if (in == NULL) {
        fj__domain_note(l->d, FJ_LOG_WARNING,
                        fj__format("a message on %s is rejected: %s", l->topic, fj_error_text(error)));
        put_reject(l, raw->tag, false);
        return false;
    }
    if (in->ids.unique_id != NULL && !fj__window_add(&l->window, in->ids.unique_id)) {
        fj__domain_note(l->d, FJ_LOG_INFO, fj__format("message %s came twice: ignored", in->ids.unique_id));
        put_ack(l, raw->tag, false);
        return false;
    }
    l->unacked++;
    return true;
}

static bool something(void *user)
{
    struct fj__amqp_listener *l = user;

    return l->first != NULL || l->closing || l->d->closed || atomic_load(&l->interrupted);
}

/* Read what waits, @p max at most; answers how many are new. */
static size_t take(struct fj__amqp_listener *l, size_t max, fj_incoming **ret)
{
    size_t n = 0;

    fj__domain_lock(l->d);
    while (n < max && l->first != NULL) {
        struct raw *raw = pop(l);
        unsigned epoch = l->epoch;
        fj_error *error = NULL;
        if (l->first == NULL)
            signal_fd(l);
        fj__domain_unlock(l->d);
        incoming *in = read_raw(l, raw, epoch, &error);
        fj__domain_lock(l->d);
        bool good = admit(l, raw, epoch, in, error);
        if (good) {
            ret[n++] = &in->base;
        } else if (in != NULL) {
            in->settled = true;
            fj__domain_unlock(l->d);
            free_incoming(&in->base);
            fj__domain_lock(l->d);
        }
        fj_error_free(error);
        fj__free(raw);
    }
    fj__domain_touch(l->d, &l->d->consuming, true);
    fj__domain_unlock(l->d);
    return n;
}

static bool is_closing(struct fj__amqp_listener *l)
{
    fj__domain_lock(l->d);
    bool closing = l->closing || l->d->closed;
    fj__domain_unlock(l->d);
    return closing;
}

static fj_code poll_(fj_listener *base, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                     fj_error **err)
{
    struct fj__amqp_listener *l = listener_of(base);

    do {
        (void)fj__domain_wait(l->d, l->gate, something, l, by);
        if (is_closing(l))
            return fj_fail(err, FJ_CLOSED, "the listener is closed");
        *ret_n = take(l, max, ret);
        if (*ret_n != 0)
            return FJ_OK;
        if (atomic_exchange(&l->interrupted, false))
            return fj_fail(err, FJ_AGAIN, "interrupted");
    } while (!fj_passed(by));
    return fj_fail(err, FJ_TIMEOUT, "no message in time");
}

static void watch(fj_listener *base, fj_watch *ret)
{
    fj__domain_watch(listener_of(base)->d, ret);
}

static void pump_(fj_listener *base, fj_deadline now)
{
    (void)now;
    fj__domain_pump(listener_of(base)->d);
}

static int fd(fj_listener *base)
{
    struct fj__amqp_listener *l = listener_of(base);

    fj__domain_lock(l->d);
    if (l->event_fd < 0) {
        l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (l->first != NULL)
            signal_fd(l);
    }
    int got = l->event_fd;
    fj__domain_unlock(l->d);
    return got;
}

struct handed {
    struct fj__amqp_listener *l;
    unsigned epoch;
    uint64_t mark;
};

static bool with_kernel(void *user)
{
    const struct handed *h = user;

    return stale(h->l, h->epoch) || fj__engine_sent_total(h->l->d->consuming.engine) >= h->mark;
}

static void put_acks(struct fj__amqp_listener *l, fj_incoming **in, size_t n)
{
    bool all = n > 1 && n == l->unacked; /* then one ack for everything given out so far is right */
    uint64_t max = 0;

    for (size_t i = 0; i < n; i++) {
        incoming *one = incoming_of(in[i]);
        max = one->tag > max ? one->tag : max;
        if (!all)
            put_ack(l, one->tag, false);
        settle(one);
    }
    if (all)
        put_ack(l, max, true);
}

/* Drop what came over a channel that is gone. */
static size_t drop_stale(struct fj__amqp_listener *l, fj_incoming **in, size_t n, fj_incoming **ret_stale)
{
    size_t stales = 0;

    for (size_t i = 0; i < n; i++) {
        if (in[i] == NULL || !stale(l, incoming_of(in[i])->epoch))
            continue;
        incoming_of(in[i])->settled = true;
        unsee(incoming_of(in[i]));
        ret_stale[stales++] = in[i];
        in[i] = NULL;
    }
    return stales;
}

static fj_code ack(fj_listener *base, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    struct fj__amqp_listener *l = listener_of(base);
    fj_incoming **dead = fj__alloc(n * sizeof *dead);
    struct handed h = { .l = l };
    fj_code rc = FJ_OK;

    if (dead == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    fj__domain_lock(l->d);
    size_t stales = drop_stale(l, in, n, dead);
    if (stales == 0) {
        put_acks(l, in, n);
        h.epoch = l->epoch;
        h.mark = fj__engine_put_total(l->d->consuming.engine);
        for (size_t i = 0; i < n; i++)
            start_monitor(incoming_of(in[i]), fj_now());
        fj__domain_touch(l->d, &l->d->consuming, false);
    }
    bool out = stales != 0 || with_kernel(&h);
    fj__domain_unlock(l->d);
    if (!out && !fj__domain_wait(l->d, l->gate, with_kernel, &h, by))
        rc = fj_fail(err, FJ_TIMEOUT, "the broker does not read: the acknowledgement could not be written");
    if (stales != 0) { /* a batch comes over one channel: all are stale, or the rest is acked now */
        for (size_t i = 0; i < stales; i++)
            free_incoming(dead[i]);
    } else {
        fj__domain_lock(l->d);
        if (rc == FJ_OK && l->epoch != h.epoch)
            stales = drop_stale(l, in, n, dead);
        for (size_t i = 0; rc != FJ_OK && i < n; i++)
            unsee(incoming_of(in[i]));
        fj__domain_unlock(l->d);
        for (size_t i = 0; i < stales; i++)
            free_incoming(dead[i]);
    }
    fj__free(dead);
    return rc;
}

static void interrupt(fj_listener *base)
{
    struct fj__amqp_listener *l = listener_of(base);
    ssize_t ignored;

    atomic_store(&l->interrupted, true);
    ignored =
        write(l->d->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t)); /* the leader looks; async-signal-safe */
    (void)ignored;
}

static void close_(fj_listener *base)
{
    struct fj__amqp_listener *l = listener_of(base);

    fj__domain_lock(l->d);
    if (!l->closing) {
        l->closing = true;
        for (unsigned i = 0; i < QUEUES && l->ready && !stale(l, l->epoch); i++) {
            amqp_basic_cancel_t m = { .consumer_tag = { .len = 1, .bytes = (void *)(uintptr_t)tags[i] } };
            (void)fj__engine_method(l->d->consuming.engine, l->channel.id, AMQP_BASIC_CANCEL_METHOD, &m);
        }
        drop_ring(l, true);
        fj__timer_cancel(&l->d->timers, &l->redo);
        fj__domain_touch(l->d, &l->d->consuming, false);
        fj__future_nudge(l->gate);
    }
    fj__domain_unlock(l->d);
}

static bool has_left(void *user)
{
    const struct fj__amqp_listener *l = user;

    return l->left || l->d->consuming.state != FJ__LINK_OPEN;
}

static bool replies_out(void *user)
{
    const struct fj__amqp_listener *l = user;

    return fj__publisher_idle(l->d->publisher) || l->d->publishing.state != FJ__LINK_OPEN;
}

static fj_code stop(fj_listener *base, fj_deadline by, fj_error **err)
{
    struct fj__amqp_listener *l = listener_of(base);

    close_(base);
    (void)fj__domain_wait(l->d, l->gate, replies_out, l, by);
    fj__domain_lock(l->d);
    if (l->ever_ready && !l->left && l->d->consuming.state == FJ__LINK_OPEN) {
        (void)fj__delete_queue(l->d->consuming.engine, l->channel.id, l->fanout_queue);
        (void)fj__close_channel(l->d->consuming.engine, l->channel.id);
        fj__domain_touch(l->d, &l->d->consuming, true);
    } else {
        l->left = true;
    }
    fj__domain_unlock(l->d);
    if (!fj__domain_wait(l->d, l->gate, has_left, l, by))
        return fj_fail(err, FJ_TIMEOUT, "the broker did not confirm in time that %s is left", l->server_queue);
    return FJ_OK;
}

static void free_(fj_listener *base)
{
    struct fj__amqp_listener *l = base != NULL ? listener_of(base) : NULL;

    if (l == NULL)
        return;
    fj__domain_lock(l->d);
    fj__timer_cancel(&l->d->timers, &l->redo);
    drop_ring(l, false);
    fj__domain_detach(l->d, &l->d->consuming, &l->channel);
    fj__domain_touch(l->d, &l->d->consuming, false);
    fj__domain_unlock(l->d);
    if (l->event_fd >= 0)
        (void)close(l->event_fd);
    fj_future_unref(l->gate);
    fj_error_free(l->refused);
    fj__window_fini(&l->window);
    fj__free(l->exchange);
    fj__free(l->topic);
    fj__free(l->server_queue);
    fj__free(l->fanout);
    fj__free(l->fanout_queue);
    fj__free(l);
}

static const fj_listener_ops listener_ops = { .abi = FJ_DRIVER_ABI,
                                              .poll = poll_,
                                              .watch = watch,
                                              .pump = pump_,
                                              .fd = fd,
                                              .ack = ack,
                                              .interrupt = interrupt,
                                              .close = close_,
                                              .stop = stop,
                                              .free = free_ };

/* ---- making one --------------------------------------------------------------------------------------------- */

static struct fj__amqp_listener *make(fj__domain *d, const fj_target *target, const fj_listen_opts *opts)
{
    struct fj__amqp_listener *l = fj__zalloc(sizeof *l);
    const char *exchange = target->exchange != NULL ? target->exchange : d->settings->exchange;
    size_t slots = opts->slots != 0 ? opts->slots : 1;
    size_t prefetch = d->settings->prefetch != 0 ? d->settings->prefetch : 2 * slots;
    char id[33];

    if (l == NULL)
        return NULL;
    fj__id_hex(id);
    l->base.ops = &listener_ops;
    l->d = d;
    l->opts = *opts;
    l->last = &l->first;
    l->event_fd = -1;
    l->durable = d->settings->durable;
    l->redo.fn = on_redo;
    l->redone_ns = INT64_MIN / 2;
    l->channel = (fj__channel){ .up = set_up, .event = on_event, .down = on_down, .failed = on_failed };
    l->prefetch = (uint16_t)(prefetch < 2 && d->settings->prefetch == 0 ? 2
                             : prefetch > 65535                         ? 65535
                                                                        : prefetch);
    l->exchange = fj__strdup(exchange);
    l->topic = fj__strdup(target->topic);
    l->server_queue = fj__format("%s.%s", target->topic, target->server);
    l->fanout = fj__format("%s_fanout", target->topic);
    l->fanout_queue = fj__format("%s_fanout_%s", target->topic, id);
    /* At least what a lost connection can bring back: what is prefetched and what runs. */
    size_t back = in_flight_max(l) + slots;
    bool ok = fj__window_init(&l->window, back < 16 ? 16 : back);
    ok = fj_future_new(NULL, NULL, &l->gate) == FJ_OK && ok;
    if (ok && l->exchange && l->topic && l->server_queue && l->fanout && l->fanout_queue)
        return l;
    free_(&l->base);
    return NULL;
}

static bool settled_in(void *user)
{
    const struct fj__amqp_listener *l = user;

    return l->ready || l->refused != NULL || l->closing;
}

static fj_code not_listening(struct fj__amqp_listener *l, fj_error **err)
{
    const fj_error *why = l->refused != NULL ? l->refused : l->d->consuming.error;
    fj_error *copy = fj_error_copy(why);
    char where[300];

    if (copy == NULL)
        (void)fj_fail(&copy, FJ_TIMEOUT, "the broker did not answer in time");
    fj__link_where(&l->d->consuming, where, sizeof where);
    fj_error_set_where(copy, "%s queue %s", where, l->topic);
    return fj_error_move(copy, err);
}

fj_code fj__consumer_listen(fj__domain *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                            fj_listener **ret, fj_error **err)
{
    struct fj__amqp_listener *l = make(d, target, opts);
    fj_code rc = FJ_OK;

    if (l == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    fj__domain_lock(d);
    if (d->closed)
        rc = fj_fail(err, FJ_CLOSED, "the transport is closed");
    else if (!fj__domain_attach(d, &d->consuming, &l->channel, FIRST_CHANNEL, fj_now()))
        rc = fj_fail(err, FJ_BUSY, "no channel is free on the connection: too many listeners");
    else
        fj__domain_touch(d, &d->consuming, true);
    fj__domain_unlock(d);
    if (rc == FJ_OK) {
        (void)fj__domain_wait(d, l->gate, settled_in, l, by);
        fj__domain_lock(d);
        if (!l->ready)
            rc = not_listening(l, err);
        fj__domain_unlock(d);
    }
    if (rc != FJ_OK) {
        fj__domain_lock(d);
        l->closing = true;
        fj__domain_unlock(d);
        free_(&l->base);
        return rc;
    }
    *ret = &l->base;
    return FJ_OK;
}
