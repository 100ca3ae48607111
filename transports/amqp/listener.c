/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a listener. */
#include "transports/amqp/listener.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "base/native.h"
#include "runtime/future.h"
#include "transports/amqp/consumer.h"
#include "transports/amqp/publisher.h"
#include "transports/amqp/topology.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void watch(fj_listener *base, fj_watch *ret)
{
    fj__domain *d = fj__listener_of(base)->d;

    fj__domain_lock(d);
    fj__domain_watch(d, ret);
    fj__domain_unlock(d);
}

static void pump_(fj_listener *base, fj_deadline now)
{
    (void)now;
    fj__domain_pump(fj__listener_of(base)->d);
}

static int fd(fj_listener *base)
{
    fj__amqp_listener *l = fj__listener_of(base);

    fj__domain_lock(l->d);
    if (l->event_fd < 0) {
        l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (l->first != NULL)
            fj__listener_signal(l);
    }
    int got = l->event_fd;
    fj__domain_unlock(l->d);
    return got;
}

static void interrupt(fj_listener *base)
{
    fj__amqp_listener *l = fj__listener_of(base);
    ssize_t ignored;

    atomic_store(&l->interrupted, true);
    ignored = fj__native.write(l->d->wake_fd, &(uint64_t){ 1 },
                               sizeof(uint64_t)); /* the leader looks; async-signal-safe */
    (void)ignored;
}

static void close_(fj_listener *base)
{
    fj__amqp_listener *l = fj__listener_of(base);

    fj__domain_lock(l->d);
    if (!l->closing) {
        l->closing = true;
        fj__consumer_cancel(l);
        fj__domain_touch(l->d, &l->d->consuming, false);
        fj__future_nudge(l->gate);
    }
    fj__domain_unlock(l->d);
}

static bool has_left(void *user)
{
    const fj__amqp_listener *l = user;

    return l->left || l->d->consuming.state != FJ__LINK_OPEN;
}

/* A connection that is being made, for the first time or again, is waited for; one that could not be made is not. */
static bool replies_out(void *user)
{
    const fj__amqp_listener *l = user;
    const fj__link *out = &l->d->publishing;

    return fj__publisher_idle(l->d->publisher) || out->state == FJ__LINK_CLOSED || out->attempts > 0;
}

static fj_code stop(fj_listener *base, fj_deadline by, fj_error **err)
{
    fj__amqp_listener *l = fj__listener_of(base);

    close_(base);
    (void)fj__domain_wait(l->d, l->gate, replies_out, l, by);
    fj__domain_lock(l->d);
    if (l->ever_ready && !l->left && l->d->consuming.state == FJ__LINK_OPEN) {
        bool outlives =
            l->d->settings->namer != NULL || fj__listener_streams(l); /* the next of the name goes on with it */
        for (unsigned i = 0; i < l->n && !outlives; i++)
            if (l->sources[i].own)
                (void)fj__delete_queue(l->d->consuming.engine, l->channel.id, l->sources[i].queue);
        (void)fj__close_channel(l->d->consuming.engine, l->channel.id);
        fj__domain_touch(l->d, &l->d->consuming, true);
    } else {
        l->left = true;
    }
    fj__domain_unlock(l->d);
    fj_code rc = fj__domain_wait(l->d, l->gate, has_left, l, by);
    return rc == FJ_OK ? FJ_OK
                       : fj_fail(err, rc, "the broker did not confirm in time that %s is left", l->name);
}

static void free_(fj_listener *base)
{
    fj__amqp_listener *l = base != NULL ? fj__listener_of(base) : NULL;

    if (l == NULL)
        return;
    fj__domain_lock(l->d);
    fj__timer_cancel(&l->d->timers, &l->redo);
    fj__listener_drop(l, false);
    fj__domain_detach(l->d, &l->d->consuming, &l->channel);
    fj__domain_touch(l->d, &l->d->consuming, false);
    fj__domain_unlock(l->d);
    if (l->event_fd >= 0)
        (void)fj__native.close(l->event_fd);
    fj_future_unref(l->gate);
    fj_error_free(l->refused);
    fj__window_fini(&l->window);
    fj__stream_fini(&l->stream);
    for (unsigned i = 0; i < l->n; i++) {
        fj__free(l->sources[i].exchange);
        fj__free(l->sources[i].queue);
        fj__free(l->sources[i].key);
    }
    fj__free(l->sources);
    fj__free(l->name);
    fj__free(l);
}

static const fj_listener_ops listener_ops = { .abi = FJ_DRIVER_ABI,
                                              .poll = fj__listener_poll,
                                              .watch = watch,
                                              .pump = pump_,
                                              .fd = fd,
                                              .ack = fj__listener_ack,
                                              .interrupt = interrupt,
                                              .close = close_,
                                              .stop = stop,
                                              .free = free_ };

/* The end of the fanout queue's name.  @param ret gives */
static fj_code name_own(const fj__amqp_settings *s, const fj_listen_opts *opts, char **ret, fj_error **err)
{
    char id[33];

    if (s->namer != NULL && !s->stream_fanout) /* a stream is named by its topic alone */
        return fj__namer_next(s->namer, ret, err);
    if (opts->instance == NULL)
        fj__id_hex(id);
    *ret = fj__strdup(opts->instance != NULL ? opts->instance : id);
    return *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

static fj__amqp_listener *make(fj__domain *d, const fj_listen_opts *opts, size_t sources)
{
    fj__amqp_listener *l = fj__zalloc(sizeof *l);
    size_t slots = opts->slots != 0 ? opts->slots : 1;
    size_t prefetch = d->settings->prefetch != 0 ? d->settings->prefetch : 2 * slots;

    if (l == NULL)
        return NULL;
    l->base = (fj_listener){ .ops = &listener_ops, .parks = true };
    l->d = d;
    l->opts = *opts;
    l->opts.instance = NULL; /* lent */
    l->last = &l->first;
    l->event_fd = -1;
    l->durable = d->settings->durable;
    l->fanout_durable = d->settings->transient_quorum;
    l->redo.fn = fj__consumer_redo;
    l->retry = (fj__retry){ .quick = 1, .longest = d->settings->retry_max };
    l->channel = fj__consumer_channel;
    l->prefetch = (uint16_t)(prefetch < 2 && d->settings->prefetch == 0 ? 2
                             : prefetch > 65535                         ? 65535
                                                                        : prefetch);
    l->sources = fj__zalloc(sources * sizeof *l->sources);
    if (l->sources != NULL && fj_future_new(NULL, NULL, &l->gate) == FJ_OK)
        return l;
    free_(&l->base);
    return NULL;
}

/* Each text is taken.  @return false: one is NULL, for memory ran out */
static bool add(fj__amqp_listener *l, const char *role, char *exchange, char *queue, char *key)
{
    fj__source *from = &l->sources[l->n++];

    *from = (fj__source){ .exchange = exchange, .queue = queue, .key = key, .role = role };
    for (unsigned i = 0; queue != NULL && i + 1 < l->n && !from->again; i++)
        from->again = l->sources[i].queue != NULL && strcmp(l->sources[i].queue, queue) == 0;
    l->consumers += from->again ? 0 : 1;
    return exchange != NULL && queue != NULL && key != NULL;
}

/* At least what a lost connection can bring back: what is prefetched and what runs. */
static bool make_window(fj__amqp_listener *l)
{
    size_t back = fj__listener_in_flight_max(l) + (l->opts.slots != 0 ? l->opts.slots : 1);

    return fj__window_init(&l->window, back < 16 ? 16 : back);
}

/* @param own  the end of the fanout queue's name */
static fj__amqp_listener *make_rpc(fj__domain *d, const fj_target *t, const fj_listen_opts *opts,
                                   const char *own)
{
    enum { TOPIC_SERVER_FANOUT = 3 };
    const char *exchange = t->exchange != NULL ? t->exchange : d->settings->exchange;
    fj__amqp_listener *l = make(d, opts, TOPIC_SERVER_FANOUT);

    if (l == NULL)
        return NULL;
    bool ok = add(l, "topic", fj__strdup(exchange), fj__strdup(t->topic), fj__strdup(t->topic));
    ok = add(l, "server", fj__strdup(exchange), fj__format("%s.%s", t->topic, t->server),
             fj__format("%s.%s", t->topic, t->server)) &&
         ok;
    ok = add(l, "fanout", fj__format("%s_fanout", t->topic), fj__format("%s_fanout_%s", t->topic, own),
             fj__strdup(t->topic)) &&
         ok;
    l->sources[l->n - 1].own = true;
    l->name = fj__strdup(t->topic);
    if (ok && l->name != NULL && make_window(l))
        return l;
    free_(&l->base);
    return NULL;
}

static fj__amqp_listener *make_notified(fj__domain *d, const fj_notify_source *sources, size_t n,
                                        const fj_listen_opts *opts)
{
    fj__amqp_listener *l = make(d, opts, n);
    bool ok = l != NULL;

    if (l == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const fj_notify_source *from = &sources[i];
        ok =
            add(l, "notifications", fj__strdup(from->exchange != NULL ? from->exchange : d->settings->exchange),
                fj__strdup(from->queue), fj__strdup(from->key)) &&
            ok;
    }
    l->name = n > 1 ? fj__format("%s and %zu more", sources[0].queue, n - 1) : fj__strdup(sources[0].queue);
    if (ok && l->name != NULL && make_window(l))
        return l;
    free_(&l->base);
    return NULL;
}

static bool settled_in(void *user)
{
    const fj__amqp_listener *l = user;
    const fj__link *out = &l->d->publishing;
    bool can_reply = l->d->loop == NULL || out->state == FJ__LINK_OPEN || out->error != NULL;

    return (l->ready && can_reply) || l->refused != NULL || l->closing;
}

static fj_code not_listening(fj__amqp_listener *l, fj_error **err)
{
    const fj_error *why = l->refused != NULL ? l->refused : l->d->consuming.error;
    fj_error *copy = fj_error_copy(why);
    char where[300];

    if (copy == NULL)
        (void)fj_fail(&copy, FJ_TIMEOUT, "the broker did not answer in time");
    fj__link_where(&l->d->consuming, where, sizeof where);
    fj_error_set_where(copy, "%s queue %s", where, l->sources[0].queue);
    return fj_error_move(copy, err);
}

/* @param l takes; NULL: there was no memory */
static fj_code begin(fj__amqp_listener *l, fj_deadline by, fj_listener **ret, fj_error **err)
{
    fj_code rc = FJ_OK;

    if (l == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    fj__domain *d = l->d;
    fj__domain_lock(d);
    if (d->closed)
        rc = fj_fail(err, FJ_CLOSED, "the transport is closed");
    else if (!fj__domain_attach(d, &d->consuming, &l->channel, FJ__LISTENER_CHANNEL, fj_now()))
        rc = fj_fail(err, FJ_BUSY, "no channel is free on the connection: too many listeners");
    else
        fj__domain_touch(d, &d->consuming, true);
    /* The first method may hold the loop up, with nobody to make the connection over which its caller hears that it lives. */
    if (rc == FJ_OK && d->loop != NULL)
        fj__link_want(&d->publishing, fj_now());
    fj__domain_unlock(d);
    if (rc == FJ_OK) {
        fj_code waited = fj__domain_wait(d, l->gate, settled_in, l, by);
        fj__domain_lock(d);
        if (waited == FJ_CANCELLED)
            rc = fj_fail(err, waited, "the task was cancelled while it began to listen");
        else if (!l->ready)
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

fj_code fj__consumer_listen(fj__domain *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                            fj_listener **ret, fj_error **err)
{
    char *own = NULL;
    fj_code rc = name_own(d->settings, opts, &own, err);

    if (rc != FJ_OK)
        return rc;
    fj__amqp_listener *l = make_rpc(d, target, opts, own);
    fj__free(own);
    return begin(l, by, ret, err);
}

fj_code fj__consumer_listen_notifications(fj__domain *d, const fj_notify_source *sources, size_t n,
                                          const fj_listen_opts *opts, fj_deadline by, fj_listener **ret,
                                          fj_error **err)
{
    if (n == 0)
        return fj_fail(err, FJ_BAD_TARGET, "there is nothing to listen to");
    return begin(make_notified(d, sources, n, opts), by, ret, err);
}
