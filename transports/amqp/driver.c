/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of rabbit://: oslo.messaging's rabbit driver on the wire, over one pump domain for all plain threads, and one for
 * each loop that serves or calls.
 */
#include "base/alloc.h"
#include "base/ids.h"
#include "base/native.h"
#include "runtime/future.h"
#include "runtime/loop.h"
#include "transports/amqp/consumer.h"
#include "transports/amqp/inspect.h"
#include "transports/amqp/publisher.h"
#include "transports/amqp/pump.h"
#include "transports/amqp/replies.h"
#include "transports/builtin.h"
#include "transports/message.h"

#include <fjord/driver.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    fj_driver base;
    fj__amqp_settings settings;
    fj__domain *domain;   /* of plain threads: the first of the list */
    pthread_mutex_t lock; /* of the list, which only grows, and of `closed` */
    bool closed;
    fj_future *gate; /* flush sleeps on it */
} amqp_driver;

static amqp_driver *driver_of(fj_driver *d)
{
    return fj__container(d, amqp_driver, base);
}

static void free_(fj_driver *base)
{
    amqp_driver *d = base != NULL ? driver_of(base) : NULL;

    if (d == NULL)
        return;
    for (fj__domain *domain = d->domain, *next; domain != NULL; domain = next) {
        next = domain->next;
        fj__pump_let_go(domain);
    }
    (void)pthread_mutex_destroy(&d->lock);
    fj_future_unref(d->gate);
    fj__amqp_settings_fini(&d->settings);
    fj__free(d);
}

static fj_code open_(const fj_conf *conf, const fj_url *url, fj_driver **ret, fj_error **err)
{
    amqp_driver *d = fj__zalloc(sizeof *d);
    fj_code rc;

    if (d == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    d->base.ops = &fj__amqp_driver;
    (void)pthread_mutex_init(&d->lock, NULL);
    rc = fj__amqp_settings_read(conf, url, &d->settings, err);
    if (rc == FJ_OK)
        rc = fj__domain_new(&d->settings, &d->domain, err);
    if (rc == FJ_OK && fj_future_new(NULL, NULL, &d->gate) != FJ_OK)
        rc = fj_fail(err, FJ_NOMEM, "out of memory");
    if (rc != FJ_OK)
        free_(&d->base);
    else
        *ret = &d->base;
    return rc;
}

/* ---- domains -------------------------------------------------------------------------------------------- */

/* The list is walked without its lock: it only grows, behind the first. */
static fj__domain *after(amqp_driver *d, const fj__domain *domain)
{
    (void)fj__native.pthread_mutex_lock(&d->lock);
    fj__domain *next = domain->next;
    (void)fj__native.pthread_mutex_unlock(&d->lock);
    return next;
}

static fj_code add_domain(amqp_driver *d, fj_loop *loop, fj__domain **ret, fj_error **err)
{
    fj__domain *domain = NULL;
    fj_code rc = fj__domain_new(&d->settings, &domain, err);

    if (rc == FJ_OK)
        rc = fj__pump_on_loop(domain, loop, d, err);
    if (rc != FJ_OK) {
        fj__domain_free(domain);
        return rc;
    }
    (void)fj__native.pthread_mutex_lock(&d->lock);
    domain->closed = d->closed;
    domain->next = d->domain->next;
    d->domain->next = domain;
    (void)fj__native.pthread_mutex_unlock(&d->lock);
    *ret = domain;
    return FJ_OK;
}

/* One whose loop is gone: there are as many domains as there were ever loops at a time. */
static fj__domain *take_over(amqp_driver *d, fj_loop *loop)
{
    (void)fj__native.pthread_mutex_lock(&d->lock);
    fj__domain *domain = d->closed ? NULL : d->domain->next;
    while (domain != NULL && !fj__pump_take_over(domain, loop))
        domain = domain->next;
    (void)fj__native.pthread_mutex_unlock(&d->lock);
    return domain;
}

/* The domain of @p loop, made on first use; the plain one for NULL.  @thread the loop's */
static fj_code domain_of(amqp_driver *d, fj_loop *loop, fj__domain **ret, fj_error **err)
{
    *ret = loop != NULL ? fj__loop_kept(loop, d) : d->domain;
    if (*ret != NULL)
        return FJ_OK;
    *ret = take_over(d, loop);
    return *ret != NULL ? fj__pump_on_loop(*ret, loop, d, err) : add_domain(d, loop, ret, err);
}

/* ---- futures of calls and casts ----------------------------------------------------------------------- */

static bool is_done(void *user)
{
    return fj_future_done(user);
}

static void wait_(fj_future *future, void *user, fj_deadline by)
{
    fj__op *op = user;
    fj__domain *d = op->domain;

    /* The operation's own deadline ends it with a better text than ours would have. */
    (void)fj__domain_wait(d, future, is_done, future, op->by.ns <= by.ns ? fj_never() : by);
    if (fj_future_done(future))
        return;
    fj__domain_lock(d);
    if (op->state != FJ__OP_DONE && !op->urgent) { /* nobody waits for it any more */
        op->urgent = true;
        d->urgent++;
        fj__domain_touch(d, NULL, false);
    }
    fj__domain_unlock(d);
}

static void cancelled(fj_future *future, void *user)
{
    fj__op *op = user;
    fj__domain *d = op->domain;

    (void)future;
    fj__domain_lock(d);
    fj__op_finish(op, NULL, NULL);
    fj__domain_unlock(d);
}

static void freed(void *user)
{
    fj__op_unref(user);
}

static const fj_future_ops future_ops = { .wait = wait_, .cancelled = cancelled, .freed = freed };

/* ---- sending -------------------------------------------------------------------------------------------- */

static fj_code encode(const amqp_driver *d, fj__domain *domain, const fj_send *s, const char *msg_id,
                      char **body, size_t *n, fj_error **err)
{
    char unique[33];
    fj__request_out out = { .method = s->method,
                            .args = s->args,
                            .ns = s->target->ns,
                            .version = s->target->version,
                            .msg_id = msg_id,
                            .reply_q = msg_id != NULL ? fj__replies_queue(domain->replies) : NULL,
                            .monitor = s->monitor,
                            .unique_id = unique,
                            .context = s->context };

    fj__id_hex(unique);
    return fj__message_request(&out, &d->settings.json, body, n, err);
}

/* Where it goes: wire.md section 4.  @param ret_* give */
static bool address(const amqp_driver *d, const fj_target *t, char **ret_exchange, char **ret_key)
{
    const char *exchange = t->exchange != NULL ? t->exchange : d->settings.exchange;

    *ret_exchange = t->fanout ? fj__format("%s_fanout", t->topic) : fj__strdup(exchange);
    *ret_key =
        t->server != NULL && !t->fanout ? fj__format("%s.%s", t->topic, t->server) : fj__strdup(t->topic);
    return *ret_exchange != NULL && *ret_key != NULL;
}

static fj_code make_op(const amqp_driver *d, fj__domain *domain, const fj_send *s, fj__op **ret, fj_error **err)
{
    bool call = (s->flags & FJ_SEND_CALL) != 0;
    char id[33] = "";
    fj__body_form form = FJ__BODY_PLAIN;
    char *body = NULL;
    char *exchange = NULL, *key = NULL;
    size_t n = 0;
    fj__op *op = NULL;

    if (call)
        fj__id_hex(id);
    fj_code rc = call ? fj__replies_name(domain->replies, err) : FJ_OK;
    if (rc == FJ_OK)
        rc = encode(d, domain, s, call ? id : NULL, &body, &n, err);
    if (rc == FJ_OK)
        rc = fj__pack(d->settings.packing, &body, &n, &form, err);
    if (rc == FJ_OK && !address(d, s->target, &exchange, &key)) {
        fj__free(body);
        rc = fj_fail(err, FJ_NOMEM, "out of memory");
    }
    if (rc == FJ_OK) {
        rc = fj__op_new(domain, call ? FJ__OP_CALL : FJ__OP_CAST, exchange, key, body, n, &op);
        if (rc != FJ_OK)
            (void)fj_fail(err, rc, "out of memory");
    }
    fj__free(exchange);
    fj__free(key);
    if (rc != FJ_OK)
        return rc;
    memcpy(op->msg_id, id, sizeof id);
    op->form = form;
    op->flags = s->flags | (d->settings.resend ? FJ_SEND_RESEND : 0u);
    op->mandatory = (s->flags & FJ_SEND_MANDATORY) != 0 && !s->target->fanout;
    op->fanout = s->target->fanout;
    op->urgent = (s->flags & FJ_SEND_WAITED) == 0;
    op->retry = s->retry;
    op->by = s->by;
    if (s->size >= sizeof *s) {
        op->began = s->began;
        op->method = s->shown_method;
    }
    op->monitor_ns = call && s->monitor > 0.0 ? (int64_t)(s->monitor * 1e9) : 0;
    int64_t ms = fj_left_ns(s->by) / 1000000;
    (void)snprintf(op->expiration, sizeof op->expiration, "%lld", (long long)(ms > 0 ? ms : 1));
    *ret = op;
    return FJ_OK;
}

static fj_code begin(fj__domain *domain, fj__op *op, fj_future *future, bool waited, fj_error **err)
{
    (void)atomic_fetch_add(&op->refs, 1); /* the future's */
    fj__domain_lock(domain);
    bool closed = domain->closed, cast = op->kind == FJ__OP_CAST;
    if (!closed) {
        op->future = fj_future_ref(future);
        fj__publisher_send(domain->publisher, op, fj_now());
        if (cast && !waited)
            fj__domain_touch_casts(domain);
        else
            fj__domain_touch(domain, &domain->publishing, waited);
    }
    fj__domain_unlock(domain);
    return closed ? fj_fail(err, FJ_CLOSED, "the transport is closed") : FJ_OK;
}

/* A notification's: its queue is declared as a listener would, and it goes out again after a loss. */
static fj_code make_notice(const amqp_driver *d, fj__domain *domain, const fj_notification *n, fj__op **ret,
                           fj_error **err)
{
    fj__body_form form = FJ__BODY_PLAIN;
    char unique[33], *body = NULL;
    size_t len = 0;

    fj__id_hex(unique);
    fj_code rc = fj__notification_check(n, err);
    if (rc == FJ_OK)
        rc = fj__message_notification(n, unique, &d->settings.json, &body, &len, err);
    if (rc == FJ_OK)
        rc = fj__pack(d->settings.packing, &body, &len, &form, err);
    if (rc != FJ_OK)
        return rc;
    char *key = fj__notification_key(n);
    if (key == NULL)
        fj__free(body);
    rc = key == NULL ? FJ_NOMEM
                     : fj__op_new(domain, FJ__OP_CAST, n->exchange != NULL ? n->exchange : d->settings.exchange,
                                  key, body, len, ret);
    fj__free(key);
    if (rc != FJ_OK)
        return fj_fail(err, rc, "out of memory");
    (*ret)->form = form;
    (*ret)->queued_at_key = true;
    (*ret)->flags = FJ_SEND_RESEND;
    (*ret)->urgent = (n->flags & FJ_SEND_WAITED) == 0;
    (*ret)->retry = n->retry;
    (*ret)->by = n->by;
    return FJ_OK;
}

/* @param op one reference is taken   @param ret gives */
static fj_code go(fj__domain *domain, fj__op *op, bool waited, fj_future **ret, fj_error **err)
{
    fj_future *future = NULL;

    if (fj_future_new(&future_ops, op, &future) != FJ_OK) {
        fj__op_unref(op);
        return fj_fail(err, FJ_NOMEM, "out of memory");
    }
    fj_code rc = begin(domain, op, future, waited, err);
    if (rc != FJ_OK) {
        fj_future_unref(future);
        fj__op_unref(op);
        return rc;
    }
    *ret = future;
    return FJ_OK;
}

static fj_code send_(fj_driver *base, const fj_send *s, fj_future **ret, fj_error **err)
{
    amqp_driver *d = driver_of(base);
    fj__domain *domain = NULL;
    fj__op *op = NULL;
    fj_code rc = domain_of(d, fj__loop_domain(), &domain, err);

    if (rc == FJ_OK)
        rc = fj__publisher_gate(domain->publisher, d->gate, s->flags, s->retry, s->by, err);
    if (rc == FJ_OK)
        rc = make_op(d, domain, s, &op, err);
    json_decref(s->args);
    return rc == FJ_OK ? go(domain, op, (s->flags & FJ_SEND_WAITED) != 0, ret, err) : rc;
}

static fj_code notify(fj_driver *base, const fj_notification *n, fj_future **ret, fj_error **err)
{
    amqp_driver *d = driver_of(base);
    fj__domain *domain = NULL;
    fj__op *op = NULL;
    fj_code rc = domain_of(d, fj__loop_domain(), &domain, err);

    if (rc == FJ_OK)
        rc = fj__publisher_gate(domain->publisher, d->gate, n->flags, n->retry, n->by, err);
    if (rc == FJ_OK)
        rc = make_notice(d, domain, n, &op, err);
    return rc == FJ_OK ? go(domain, op, (n->flags & FJ_SEND_WAITED) != 0, ret, err) : rc;
}

static bool all_out(void *user)
{
    return fj__publisher_idle(((fj__domain *)user)->publisher);
}

static fj_code flush(fj_driver *base, fj_deadline by, fj_error **err)
{
    amqp_driver *d = driver_of(base);
    fj__domain *domain = NULL;
    fj_code rc = domain_of(d, fj__loop_domain(), &domain, err);

    if (rc != FJ_OK)
        return rc;
    fj__domain_lock(domain);
    fj__domain_touch(domain, &domain->publishing, true); /* what was put off */
    fj__domain_unlock(domain);
    rc = fj__domain_wait(domain, d->gate, all_out, domain, by);
    return rc == FJ_OK ? FJ_OK : fj_fail(err, rc, "not everything was confirmed in time");
}

static fj_code listen_(fj_driver *base, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                       fj_listener **ret, fj_error **err)
{
    fj__domain *domain = NULL;
    fj_code rc = domain_of(driver_of(base), opts->loop, &domain, err);

    return rc == FJ_OK ? fj__consumer_listen(domain, target, opts, by, ret, err) : rc;
}

static fj_code listen_notifications(fj_driver *base, const fj_notify_source *sources, size_t n,
                                    const fj_listen_opts *opts, fj_deadline by, fj_listener **ret,
                                    fj_error **err)
{
    fj__domain *domain = NULL;
    fj_code rc = domain_of(driver_of(base), opts->loop, &domain, err);

    return rc == FJ_OK ? fj__consumer_listen_notifications(domain, sources, n, opts, by, ret, err) : rc;
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

static void close_(fj_driver *base)
{
    amqp_driver *d = driver_of(base);

    (void)fj__native.pthread_mutex_lock(&d->lock);
    d->closed = true;
    (void)fj__native.pthread_mutex_unlock(&d->lock);
    for (fj__domain *domain = d->domain; domain != NULL; domain = after(d, domain)) {
        fj__domain_lock(domain);
        fj__domain_close(domain, "the transport was closed");
        fj__domain_unlock(domain);
    }
}

static bool is_closed(void *user)
{
    const fj__domain *d = user;

    return d->publishing.state == FJ__LINK_CLOSED && d->consuming.state == FJ__LINK_CLOSED;
}

static fj_code stop_domain(amqp_driver *d, fj__domain *domain, fj_deadline by, fj_error **err)
{
    fj_code rc = fj__domain_wait(domain, d->gate, is_closed, domain, by);

    if (rc != FJ_OK)
        (void)fj_fail(err, rc, "the broker did not answer the close in time");
    fj__domain_lock(domain);
    fj__link_drop(&domain->publishing);
    fj__link_drop(&domain->consuming);
    fj__domain_unlock(domain);
    return rc;
}

static fj_code stop(fj_driver *base, fj_deadline by, fj_error **err)
{
    amqp_driver *d = driver_of(base);
    fj_code rc = FJ_OK;

    close_(base);
    for (fj__domain *domain = d->domain; domain != NULL; domain = after(d, domain)) {
        fj_code code = stop_domain(d, domain, by, rc == FJ_OK ? err : NULL);
        rc = rc == FJ_OK ? code : rc;
    }
    return rc;
}

static bool listens(fj_driver *base)
{
    amqp_driver *d = driver_of(base);
    bool all = true;

    for (fj__domain *domain = d->domain; domain != NULL && all; domain = after(d, domain)) {
        fj__domain_lock(domain);
        all = fj__consumers_ready(domain);
        fj__domain_unlock(domain);
    }
    return all;
}

/* Certificates and logins; everything else is as it was at open. */
static fj_code reload(fj_driver *base, const fj_conf *conf, fj_error **err)
{
    amqp_driver *d = driver_of(base);
    fj_code code = d->settings.tls != NULL ? fj__tls_reload(d->settings.tls, conf, err) : FJ_OK;

    if (code == FJ_OK)
        code = fj__amqp_settings_reload(&d->settings, conf, err);
    if (code != FJ_OK)
        return code;
    for (fj__domain *domain = d->domain; domain != NULL; domain = after(d, domain)) {
        fj_deadline now = fj_now();
        fj__domain_lock(domain);
        fj__link_hurry(&domain->publishing, now);
        fj__link_hurry(&domain->consuming, now);
        fj__domain_touch(domain, &domain->publishing, false);
        fj__domain_unlock(domain);
    }
    return FJ_OK;
}

static json_t *inspect(fj_driver *base, const char *kind, fj_deadline by)
{
    amqp_driver *d = driver_of(base);
    json_t *all = json_array();

    for (fj__domain *domain = d->domain; domain != NULL && all != NULL; domain = after(d, domain))
        fj__domain_inspect(domain, kind, by, all);
    return all;
}

static const char *const aliases[] = { "kombu", NULL };

const fj_driver_ops fj__amqp_driver = { .abi = FJ_DRIVER_ABI,
                                        .size = sizeof(fj_driver_ops),
                                        .name = "rabbit",
                                        .aliases = aliases,
                                        .caps = FJ_DRIVER_RPC | FJ_DRIVER_NOTIFICATIONS,
                                        .open = open_,
                                        .send = send_,
                                        .flush = flush,
                                        .listen = listen_,
                                        .close = close_,
                                        .stop = stop,
                                        .free = free_,
                                        .listens = listens,
                                        .reload = reload,
                                        .inspect = inspect,
                                        .notify = notify,
                                        .listen_notifications = listen_notifications };
