/* SPDX-License-Identifier: Apache-2.0 */
/* Notification listeners: servers whose messages come from the queues of topics and priorities. */
#include <fjord/notify_listener.h>

#include "base/alloc.h"
#include "dispatcher/notified.h"
#include "server_impl.h"

#include <fjord/notify.h>
#include <fjord/server.h>

/* A listener is a server: a handle of one kind is a handle of the other, and only this file knows. */
static fj_server *of(fj_notify_listener *l)
{
    return (fj_server *)(void *)l;
}

fj_server *fj__listener_server(fj_notify_listener *l)
{
    return of(l);
}

/* ---- what it listens to ------------------------------------------------------------------------- */

void fj__notes_free(fj__notes *notes)
{
    if (notes == NULL)
        return;
    for (size_t i = 0; i < notes->n; i++)
        fj__target_fini(&notes->targets[i]);
    fj__free(notes->targets);
    fj__free(notes->pool);
    fj_transport_free(notes->own);
    fj__free(notes);
}

static void free_sources(fj_notify_source *sources, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fj__free((char *)(uintptr_t)sources[i].key);
    fj__free(sources);
}

/* Each target's topic with each priority that somebody wants.  @return gives, with *ret_n; NULL: no memory */
static fj_notify_source *sources_of(const fj__notes *notes, const fj_dispatcher *dispatcher, size_t *ret_n)
{
    fj_notify_source *all = fj__zalloc(notes->n * FJ_PRIORITIES * sizeof *all);

    *ret_n = 0;
    for (size_t i = 0; all != NULL && i < notes->n; i++) {
        for (unsigned p = 0; all != NULL && p < FJ_PRIORITIES; p++) {
            if (!fj__notified_has(dispatcher, (fj_priority)p))
                continue;
            char *key = fj__format("%s.%s", notes->targets[i].topic, fj_priority_name((fj_priority)p));
            if (key == NULL) {
                free_sources(all, *ret_n);
                return NULL;
            }
            all[(*ret_n)++] = (fj_notify_source){ .exchange = notes->targets[i].exchange,
                                                  .key = key,
                                                  .queue = notes->pool != NULL ? notes->pool : key };
        }
    }
    return all;
}

fj_code fj__notes_listen(const fj__notes *notes, fj_driver *d, const fj_dispatcher *dispatcher,
                         const fj_listen_opts *opts, fj_deadline by, fj_listener **ret, fj_error **err)
{
    enum { FETCHED = 1000 }; /* so many messages in batches may be in hand; more only if one has more */
    fj_listen_opts o = *opts;
    fj_listener *under = NULL;
    size_t n = 0;

    if (!fj__driver_has(d, listen_notifications))
        return fj_fail(err, FJ_UNSUPPORTED, "the transport %s:// has no notifications", d->ops->name);
    fj_notify_source *sources = sources_of(notes, dispatcher, &n);
    if (sources == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to listen");
    if (notes->batch > 0) {
        unsigned most = notes->batch > FETCHED ? notes->batch : FETCHED;
        o.slots = o.slots > most / notes->batch ? most : o.slots * notes->batch;
    }
    fj_code code = n == 0
                       ? fj_fail(err, FJ_BAD_ARGS, "no endpoint has a method named by a priority, such as info")
                       : d->ops->listen_notifications(d, sources, n, &o, by, &under, err);
    free_sources(sources, n);
    if (code == FJ_OK && notes->batch > 0) {
        code = fj__notify_batches(under, notes->batch, notes->batch_timeout, ret, err);
        if (code != FJ_OK) {
            under->ops->close(under);
            under->ops->free(under);
        }
    } else if (code == FJ_OK) {
        *ret = under;
    }
    return code;
}

/* ---- life --------------------------------------------------------------------------------------- */

/* As oslo.messaging does: more than the broker hands out would never be there. */
static unsigned batch_of(const fj_conf *conf, unsigned wanted)
{
    int64_t prefetch = fj_conf_int(conf, "oslo_messaging_rabbit", "rabbit_qos_prefetch_count");

    return prefetch > 0 && (int64_t)wanted > prefetch ? (unsigned)prefetch : wanted;
}

static fj_code make_notes(fj_transport *transport, const fj_target *targets, size_t n,
                          const fj_notify_listener_opts *o, fj__notes **ret, fj_error **err)
{
    fj__notes *notes = fj__zalloc(sizeof *notes);
    fj_code code = FJ_OK;

    if (notes != NULL)
        notes->targets = fj__zalloc(n * sizeof *notes->targets);
    if (notes == NULL || notes->targets == NULL ||
        (o->pool != NULL && (notes->pool = fj__strdup(o->pool)) == NULL)) {
        fj__notes_free(notes);
        return fj_fail(err, FJ_NOMEM, "no memory for a listener");
    }
    for (size_t i = 0; code == FJ_OK && i < n; i++) {
        const fj_target *t =
            (const fj_target *)(const void *)((const char *)targets +
                                              i * targets->size); /* of their compiler's size */
        if (t->topic == NULL || t->topic[0] == '\0')
            code = fj_fail(err, FJ_BAD_TARGET, "a target to listen to needs a topic");
        else if (fj__target_copy(t, &notes->targets[notes->n]) != FJ_OK)
            code = fj_fail(err, FJ_NOMEM, "no memory for a listener");
        else
            notes->n++;
    }
    notes->requeue = o->allow_requeue;
    notes->batch = batch_of(transport->conf, o->batch_size);
    notes->batch_timeout = o->batch_timeout;
    if (code == FJ_OK)
        code = fj__notify_own_transport(transport, &notes->own, err);
    if (code != FJ_OK)
        fj__notes_free(notes);
    else
        *ret = notes;
    return code;
}

fj_code fj_notify_listener_new(fj_transport *transport, const fj_target *targets, size_t n,
                               const fj_notify_listener_opts *opts, fj_notify_listener **ret, fj_error **err)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;
    fj_server_opts s = FJ_SERVER_OPTS_INIT;
    fj__notes *notes = NULL;
    fj_server *server = NULL;
    fj_code code = fj__transport_check(transport, err);

    if (code == FJ_OK && n == 0)
        code = fj_fail(err, FJ_BAD_TARGET, "there is nothing to listen to: no target");
    if (code != FJ_OK)
        return code;
    if (opts != NULL)
        fj__copy_sized(&o, sizeof o, opts, opts->size);
    s.executor = o.executor;
    s.slots = o.slots;
    s.serializer = o.serializer;
    s.wrap = o.wrap;
    s.wrap_user = o.wrap_user;
    s.loop = o.loop;
    s.ack_done = 1;
    code = make_notes(transport, targets, n, &o, &notes, err);
    if (code == FJ_OK)
        code = fj__server_make(notes->own != NULL ? notes->own : transport, targets, &s, notes, &server, err);
    if (code == FJ_OK)
        *ret = (fj_notify_listener *)(void *)server;
    return code;
}

fj_code fj_notify_listener_add(fj_notify_listener *l, const fj_endpoint *endpoint,
                               const fj_notify_filter *filter, void *data, fj_error **err)
{
    fj_server *s = of(l);
    fj_code code = fj__transport_check(s->transport, err);

    if (code != FJ_OK)
        return code;
    if (fj__life_now(&s->life) != FJ__LIFE_INIT)
        return fj_fail(err, FJ_STATE, "%s was started: endpoints are added before", s->name);
    return fj__notified_add(s->dispatcher, endpoint, filter, data, err);
}

fj_notify_listener *fj_notify_listener_free(fj_notify_listener *l)
{
    fj_server_free(l != NULL ? of(l) : NULL);
    return NULL;
}

fj_code fj_notify_listener_start(fj_notify_listener *l, fj_error **err)
{
    return fj_server_start(of(l), err);
}

fj_code fj_notify_listener_run(fj_notify_listener *l, fj_error **err)
{
    return fj_server_run(of(l), err);
}

fj_code fj_notify_listener_step(fj_notify_listener *l, fj_deadline by, fj_error **err)
{
    return fj_server_step(of(l), by, err);
}

void fj_notify_listener_stop(fj_notify_listener *l)
{
    fj_server_stop(of(l));
}

fj_code fj_notify_listener_wait(fj_notify_listener *l, fj_deadline by, fj_error **err)
{
    return fj_server_wait(of(l), by, err);
}

fj_code fj_notify_listener_reset(fj_notify_listener *l, fj_error **err)
{
    return fj_server_reset(of(l), err);
}

const char *fj_notify_listener_executor(const fj_notify_listener *l)
{
    return fj_server_executor((const fj_server *)(const void *)l);
}
