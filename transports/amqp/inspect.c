/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/inspect.h"

#include "base/alloc.h"
#include "base/native.h"
#include "base/text.h"
#include "transports/amqp/publisher.h"
#include "transports/amqp/replies.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

enum {
    LOCK_MS = 200,
    NAP_NS = 100000,
    AT_ONCE = 64, /* calls, while the lock is held */
    MOST = 1000   /* that are told of */
};

/* What is seen of a link. */
struct link_view {
    const char *purpose;
    fj__link_state state;
    bool blocked, closing, tls;
    unsigned epoch, attempts;
    uint16_t heartbeat;
    fj_deadline since;
    char host[256], port[8], error[256], broker[128];
    struct sockaddr_storage address;
    socklen_t address_len;
    fj__engine_totals totals;
};

struct view {
    struct link_view links[2];
    fj__channel_view *channels; /* of the first link, then of the other */
    size_t n[2];
    bool by_loop, seen;
};

struct call_view {
    char id[33], target[256];
    const char *method, *state, *sent;
    bool call;
    fj_deadline by, began;
};

/* ---- under the lock -------------------------------------------------------------------------------- */

/* It is held for microseconds; whoever holds it longer is what is looked for, and not waited for. */
static bool lock_soon(fj__domain *d, fj_deadline by)
{
    const struct timespec nap = { .tv_nsec = NAP_NS };

    by = fj_sooner(by, fj_in_ms(LOCK_MS));
    while (fj__native.pthread_mutex_trylock(&d->lock) != 0) {
        if (fj_passed(by))
            return false;
        (void)fj__native.nanosleep(&nap, NULL);
    }
    return true;
}

/* What is gathered is whoever's who gathered it: nothing was. */
static void unlock(fj__domain *d)
{
    (void)fj__native.pthread_mutex_unlock(&d->lock);
}

static void see_link(const fj__link *l, bool blocked, struct link_view *ret)
{
    const fj__amqp_host *host = fj__hosts_now(&l->hosts);

    *ret = (struct link_view){ .purpose = l->purpose,
                               .state = l->state,
                               .blocked = blocked,
                               .closing = l->closing,
                               .tls = l->tls != NULL,
                               .epoch = l->epoch,
                               .attempts = l->attempts,
                               .since = l->since };
    fj__text_cut(ret->host, sizeof ret->host, host->name);
    fj__text_cut(ret->port, sizeof ret->port, host->port);
    if (l->error != NULL)
        fj__text_cut(ret->error, sizeof ret->error, fj_error_text(l->error));
    if (l->address != NULL && l->address->ai_addrlen <= sizeof ret->address) {
        memcpy(&ret->address, l->address->ai_addr, l->address->ai_addrlen);
        ret->address_len = l->address->ai_addrlen;
    }
    if (l->engine == NULL)
        return;
    ret->heartbeat = fj__engine_heartbeat(l->engine);
    fj__text_cut(ret->broker, sizeof ret->broker, fj__engine_peer(l->engine));
    fj__engine_totals_of(l->engine, &ret->totals);
}

static size_t count(const fj__channel *c)
{
    size_t n = 0;

    for (; c != NULL; c = c->next)
        n++;
    return n;
}

static size_t see_channels(const fj__channel *c, size_t max, fj__channel_view *ret)
{
    size_t n = 0;

    for (; c != NULL && n < max; c = c->next, n++) {
        c->look(c, &ret[n]);
        ret[n].number = c->id;
    }
    return n;
}

/* @return false when memory ran out */
static bool see(fj__domain *d, fj_deadline by, struct view *ret)
{
    *ret = (struct view){ .seen = lock_soon(d, by) };
    if (!ret->seen)
        return true;
    size_t max = count(d->consuming_channels) + count(d->publishing_channels);
    unlock(d);
    ret->channels = fj__alloc((max + 1) * sizeof *ret->channels);
    if (ret->channels == NULL)
        return false;
    ret->seen = lock_soon(d, by);
    if (!ret->seen)
        return true;
    ret->by_loop = d->loop != NULL;
    see_link(&d->consuming, false, &ret->links[0]);
    see_link(&d->publishing, d->blocked, &ret->links[1]);
    ret->n[0] = see_channels(d->consuming_channels, max, ret->channels);
    ret->n[1] = see_channels(d->publishing_channels, max - ret->n[0], ret->channels + ret->n[0]);
    unlock(d);
    return true;
}

/* ---- as JSON ---------------------------------------------------------------------------------------- */

static bool put(json_t *into, const char *key, json_t *value)
{
    return json_object_set_new(into, key, value) == 0;
}

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *text(const char *from)
{
    return from != NULL && *from != '\0' ? json_string(from) : json_null();
}

static json_t *age(fj_deadline since, fj_deadline now)
{
    return since.ns != 0 ? json_real(now.ns > since.ns ? (double)(now.ns - since.ns) / 1e9 : 0.0) : json_null();
}

static const char *state_of(const struct link_view *l)
{
    switch (l->state) {
    case FJ__LINK_IDLE:
        return "idle";
    case FJ__LINK_RESOLVING:
        return "resolving";
    case FJ__LINK_CONNECTING:
        return "connecting";
    case FJ__LINK_SECURING:
        return "securing";
    case FJ__LINK_HANDSHAKE:
        return "handshake";
    case FJ__LINK_OPEN:
        return l->closing ? "closing" : l->blocked ? "blocked" : "connected";
    case FJ__LINK_BACKOFF:
        return "waiting";
    case FJ__LINK_CLOSED:
        break;
    }
    return "closed";
}

/* Where it really is connected to, else where it would. */
static json_t *peer_of(const struct link_view *l)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    const struct sockaddr *address = (const struct sockaddr *)(const void *)&l->address;

    if (l->address_len == 0 || getnameinfo(address, l->address_len, host, sizeof host, port, sizeof port,
                                           NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return json_sprintf("%s:%s", l->host, l->port);
    return json_sprintf(strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

static json_t *tell_channel(const fj__channel_view *c, bool open)
{
    json_t *made = json_object();

    if (made != NULL && put(made, "number", number(c->number)) && put(made, "role", json_string(c->role)) &&
        put(made, "state", json_string(open ? c->state : "closed")) &&
        put(made, "prefetch", number(c->prefetch)) && put(made, "consumers", number(open ? c->consumers : 0)) &&
        put(made, "unacked", number(c->unacked)) && put(made, "unconfirmed", number(c->unconfirmed)) &&
        put(made, "queued", number(c->queued)) && put(made, "calls", number(c->calls)))
        return made;
    json_decref(made);
    return NULL;
}

static bool put_channels(json_t *into, const struct link_view *l, const fj__channel_view *channels, size_t n)
{
    json_t *all = json_array();
    bool whole = all != NULL;

    for (size_t i = 0; i < n && whole; i++)
        whole = json_array_append_new(all, tell_channel(&channels[i], l->state == FJ__LINK_OPEN)) == 0;
    return put(into, "channels", all) && whole;
}

static bool put_traffic(json_t *into, const struct link_view *l, fj_deadline now)
{
    const fj__engine_totals *t = &l->totals;

    return put(into, "bytes_in", number(t->bytes_in)) && put(into, "bytes_out", number(t->bytes_out)) &&
           put(into, "frames_in", number(t->frames_in)) && put(into, "frames_out", number(t->frames_out)) &&
           put(into, "output_waiting", number(t->waiting)) && put(into, "heartbeat", number(l->heartbeat)) &&
           put(into, "last_seen", age(t->last_in, now)) && put(into, "last_sent", age(t->last_out, now));
}

static json_t *tell_link(const struct view *v, unsigned i, fj_deadline now)
{
    const struct link_view *l = &v->links[i];
    json_t *made = json_object();

    if (made != NULL && put(made, "transport", json_string("rabbit")) &&
        put(made, "purpose", json_string(l->purpose)) && put(made, "state", json_string(state_of(l))) &&
        put(made, "since", age(l->since, now)) && put(made, "peer", peer_of(l)) &&
        put(made, "host", json_string(l->host)) && put(made, "broker", text(l->broker)) &&
        put(made, "tls", json_boolean(l->tls)) &&
        put(made, "driven_by", json_string(v->by_loop ? "loop" : "threads")) &&
        put(made, "epoch", number(l->epoch)) &&
        put(made, "reconnects", number(l->epoch > 0 ? l->epoch - 1 : 0)) &&
        put(made, "attempts", number(l->attempts)) && put(made, "error", text(l->error)) &&
        put_traffic(made, l, now) && put_channels(made, l, v->channels + (i == 0 ? 0 : v->n[0]), v->n[i]))
        return made;
    json_decref(made);
    return NULL;
}

static json_t *tell_unseen(void)
{
    json_t *made = json_object();

    if (made != NULL && put(made, "transport", json_string("rabbit")) &&
        put(made, "state", json_string("busy")))
        return made;
    json_decref(made);
    return NULL;
}

static void tell_links(const struct view *v, json_t *all)
{
    fj_deadline now = fj_now();

    for (unsigned i = 0; i < 2; i++) {
        if (v->links[i].state != FJ__LINK_IDLE)
            (void)json_array_append_new(all, tell_link(v, i, now));
    }
}

static void tell_queues(const struct view *v, json_t *all)
{
    for (size_t i = 0; i < v->n[0]; i++) {
        const fj__channel_view *c = &v->channels[i];
        for (unsigned k = 0; k < c->queues; k++) {
            json_t *one = json_object();
            if (one != NULL && put(one, "name", json_string(c->queue[k].name)) &&
                put(one, "transport", json_string("rabbit")) &&
                put(one, "role", json_string(c->queue[k].role)) &&
                put(one, "waiting", number(c->queue[k].waiting)) &&
                put(one, "in_hand", number(c->queue[k].in_hand)) &&
                put(one, "capacity", number(c->queue[k].capacity)))
                (void)json_array_append(all, one);
            json_decref(one);
        }
    }
}

/* ---- calls ------------------------------------------------------------------------------------------- */

static void see_op(const fj__op *op, struct call_view *ret)
{
    static const char *const states[] = { "queued", "unconfirmed", "waiting", "done" };
    static const char *const sents[] = { "no", "maybe", "yes", "yes" };

    memcpy(ret->id, op->msg_id, sizeof ret->id);
    fj__text_cut(ret->target, sizeof ret->target, op->key);
    ret->method = op->method;
    ret->state = states[op->state];
    ret->sent = sents[op->state];
    ret->call = op->kind == FJ__OP_CALL;
    ret->by = op->by;
    ret->began = op->began;
}

static json_t *tell_call(const struct call_view *c, fj_deadline now)
{
    json_t *made = json_object();

    if (made != NULL && put(made, "side", json_string("client")) && put(made, "id", text(c->id)) &&
        put(made, "method", text(c->method)) && put(made, "target", json_string(c->target)) &&
        put(made, "kind", json_string(c->call ? "call" : "cast")) &&
        put(made, "state", json_string(c->state)) && put(made, "age", age(c->began, now)) &&
        put(made, "deadline_in",
            fj_is_never(c->by) ? json_null() : json_real((double)(c->by.ns - now.ns) / 1e9)) &&
        put(made, "sent", json_string(c->sent)))
        return made;
    json_decref(made);
    return NULL;
}

static void tell_calls(fj__domain *d, fj_deadline by, json_t *all)
{
    const fj__op *ops[AT_ONCE];
    struct call_view *views = fj__alloc(AT_ONCE * sizeof *views);
    fj__replies_place at = { 0 };
    fj_deadline now = fj_now();
    size_t before = json_array_size(all), n = 0, told = 0;
    bool casts = true;

    while (views != NULL && told < MOST && lock_soon(d, by)) {
        n = casts ? fj__publisher_casts(d->publisher, AT_ONCE, ops)
                  : fj__replies_calls(d->replies, &at, AT_ONCE, ops);
        for (size_t i = 0; i < n; i++)
            see_op(ops[i], &views[i]);
        unlock(d);
        if (at.grown) { /* it begins again */
            while (json_array_size(all) > before)
                (void)json_array_remove(all, json_array_size(all) - 1);
            at.grown = false;
        }
        for (size_t i = 0; i < n; i++)
            (void)json_array_append_new(all, tell_call(&views[i], now));
        told += n;
        if (n == 0 && !casts)
            break;
        if (casts)
            before = json_array_size(all);
        casts = false;
    }
    fj__free(views);
}

void fj__domain_inspect(fj__domain *d, const char *kind, fj_deadline by, json_t *all)
{
    struct view v;

    if (strcmp(kind, "call") == 0) {
        tell_calls(d, by, all);
        return;
    }
    if (see(d, by, &v) && v.seen) {
        if (strcmp(kind, "connection") == 0)
            tell_links(&v, all);
        else if (strcmp(kind, "queue") == 0)
            tell_queues(&v, all);
    } else if (!v.seen && strcmp(kind, "connection") == 0) {
        (void)json_array_append_new(all, tell_unseen());
    }
    fj__free(v.channels);
}
