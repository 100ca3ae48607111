/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's table, and sending. */
#include "fake.h"

#include <fjord/body.h>

#include "base/alloc.h"
#include "runtime/sync.h"
#include "transports/message.h"

#include <math.h>
#include <string.h>

static fj__fake_driver_s *self(fj_driver *d)
{
    return fj__container(d, fj__fake_driver_s, base);
}

static fj_code open_driver(const fj_conf *conf, const fj_url *url, fj_driver **ret, fj_error **err);

/* ---- the message -------------------------------------------------------------------------------- */

/* client_timeout as the receiver of wire.md section 6 sees it. */
static json_t *client_timeout(const fj_send *send)
{
    if ((send->flags & FJ_SEND_CALL) == 0 || !(send->monitor > 0))
        return json_null();
    if (floor(send->monitor) >= send->monitor && send->monitor < 9e15)
        return json_integer((json_int_t)send->monitor);
    return json_real(send->monitor);
}

/* On the wire the context's keys lie beside the transport's own, which swallow two of them. */
static json_t *context_of(const fj_send *send)
{
    json_t *context = send->context != NULL ? json_deep_copy(send->context) : json_object();

    if (context == NULL)
        return NULL;
    (void)json_object_del(context, "msg_id");
    (void)json_object_del(context, "reply_q");
    if (json_object_set_new(context, "client_timeout", client_timeout(send)) == 0)
        return context;
    json_decref(context);
    return NULL;
}

static fj_code message_of(const fj_send *send, json_t **ret, fj_error **err)
{
    json_t *args = NULL, *message = json_object();
    fj_code code = send->args != NULL ? fj__fake_hand_over(send->args, &args, err) : FJ_OK;

    if (code != FJ_OK) {
        json_decref(message);
        return code;
    }
    if (args == NULL)
        args = json_object();
    const fj_target *t = send->target;
    if (json_object_set_new(message, "method", json_string(send->method)) != 0 ||
        json_object_set(message, "args", args) != 0 ||
        (t->ns != NULL && json_object_set_new(message, "namespace", json_string(t->ns)) != 0) ||
        (t->version != NULL && json_object_set_new(message, "version", json_string(t->version)) != 0)) {
        json_decref(message);
        code = fj_fail(err, FJ_BAD_VALUE, "the method, namespace or version is not UTF-8, or memory ran out");
    } else {
        *ret = message;
    }
    json_decref(args);
    return code;
}

static fj_code build(const fj_send *send, fj__fake_msg **ret, fj_error **err)
{
    fj__fake_msg *msg = fj__zalloc(sizeof *msg);

    if (msg == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a message");
    if (send->size >= sizeof *send)
        msg->arrived = send->began; /* who sends it is this process */
    fj_code code = message_of(send, &msg->message, err);
    if (code == FJ_OK && (msg->context = context_of(send)) == NULL)
        code = fj_fail(err, FJ_NOMEM, "no memory for a context");
    if (code != FJ_OK) {
        fj__fake_msg_free(msg);
        return code;
    }
    *ret = msg;
    return FJ_OK;
}

/* ---- sending ------------------------------------------------------------------------------------ */

/* @return UNDELIVERABLE when no queue is bound; the message is taken on OK only */
static fj_code route(fj__fake_driver_s *d, const fj_target *t, fj__fake_msg *msg)
{
    char *made = NULL;
    const char *exchange = t->exchange != NULL ? t->exchange : d->exchange, *key = t->topic;

    if (t->fanout) {
        exchange = made = fj__format("%s_fanout", t->topic);
        key = "";
    } else if (t->server != NULL) {
        key = made = fj__format("%s.%s", t->topic, t->server);
    }
    if (exchange == NULL || key == NULL)
        return FJ_NOMEM;
    fj__fake_lock();
    fj_code code = d->closed ? FJ_CLOSED : fj__fake_route(exchange, key, msg);
    fj__fake_unlock();
    fj__free(made);
    return code;
}

/* The outcome of a message that no queue took. */
static void reject(fj_future *future, const fj_send *send)
{
    const char *dot = send->target->server != NULL ? "." : "";
    const char *server = send->target->server != NULL ? send->target->server : "";
    fj_error *error = NULL;

    (void)fj_fail(&error, FJ_UNDELIVERABLE, "no queue takes %s for %s%s%s", send->method, send->target->topic,
                  dot, server);
    fj_error_set_sent(error, FJ_SENT_NO);
    (void)fj_future_reject(future, error);
}

static fj_code send_call(fj__fake_driver_s *d, const fj_send *send, fj__fake_msg *msg, fj_future **ret,
                         fj_error **err)
{
    fj_code code = fj__fake_call_new(d, send, &msg->call, ret, err);

    if (code != FJ_OK) {
        fj__fake_msg_free(msg);
        return code;
    }
    code = route(d, send->target, msg);
    if (code == FJ_OK)
        return FJ_OK;
    if (code == FJ_UNDELIVERABLE && (send->flags & FJ_SEND_MANDATORY) == 0) {
        code = FJ_OK; /* the broker takes it and drops it: the caller waits for its deadline */
    } else {
        fj__fake_lock();
        fj_future *held = fj__fake_call_end(msg->call);
        fj__fake_unlock();
        if (code == FJ_UNDELIVERABLE && held != NULL) {
            reject(held, send);
            code = FJ_OK;
        }
        fj_future_unref(held);
    }
    fj__fake_msg_free(msg);
    if (code != FJ_OK) {
        *ret = fj_future_unref(*ret);
        return fj_fail(err, code, "cannot send %s", send->method);
    }
    return FJ_OK;
}

static fj_code send_cast(fj__fake_driver_s *d, const fj_send *send, fj__fake_msg *msg, fj_future **ret,
                         fj_error **err)
{
    fj_future *future = NULL;

    if (fj_future_new(NULL, NULL, &future) != FJ_OK) {
        fj__fake_msg_free(msg);
        return fj_fail(err, FJ_NOMEM, "no memory for a cast");
    }
    fj_code code = route(d, send->target, msg);
    if (code != FJ_OK)
        fj__fake_msg_free(msg);
    if (code == FJ_UNDELIVERABLE && (send->flags & FJ_SEND_MANDATORY) != 0) {
        reject(future, send);
    } else if (code == FJ_OK || code == FJ_UNDELIVERABLE) {
        (void)fj_future_resolve(future, NULL);
    } else {
        fj_future_unref(future);
        return fj_fail(err, code, "cannot send %s", send->method);
    }
    *ret = future;
    return FJ_OK;
}

static fj_code too_late(const fj_send *send, fj_future **ret, fj_error **err)
{
    fj_error *error = NULL;

    if (fj_future_new(NULL, NULL, ret) != FJ_OK)
        return fj_fail(err, FJ_NOMEM, "no memory for a message");
    (void)fj_fail(&error, FJ_TIMEOUT, "the deadline passed before %s was sent", send->method);
    (void)fj_future_reject(*ret, error);
    return FJ_OK;
}

static fj_code send_message(fj_driver *driver, const fj_send *send, fj_future **ret, fj_error **err)
{
    fj__fake_driver_s *d = self(driver);
    fj__fake_msg *msg = NULL;
    fj_code code = fj_send_check(send, err);

    if (code == FJ_OK)
        code = build(send, &msg, err);
    json_decref(send->args); /* before the message goes: nobody but its receiver may hold it then */
    if (code != FJ_OK)
        return code;
    if (fj_passed(send->by)) {
        fj__fake_msg_free(msg);
        return too_late(send, ret, err);
    }
    return (send->flags & FJ_SEND_CALL) != 0 ? send_call(d, send, msg, ret, err)
                                             : send_cast(d, send, msg, ret, err);
}

/* Its queue is there from now on, if it was not before. */
static fj_code route_notice(fj__fake_driver_s *d, const fj_notification *n, fj__fake_msg *msg)
{
    const char *exchange = n->exchange != NULL ? n->exchange : d->exchange;
    char *key = fj__notification_key(n);
    fj_code code = FJ_NOMEM;

    if (key == NULL)
        return code;
    fj__fake_lock();
    if (d->closed)
        code = FJ_CLOSED;
    else if (fj__fake_queue_bind(exchange, key, key) != NULL)
        code = fj__fake_route(exchange, key, msg);
    fj__fake_unlock();
    fj__free(key);
    return code;
}

static fj_code notify(fj_driver *driver, const fj_notification *n, fj_future **ret, fj_error **err)
{
    fj_code code = fj__notification_check(n, err);
    fj__fake_msg *msg = code == FJ_OK ? fj__zalloc(sizeof *msg) : NULL;
    const fj_send context = { .size = sizeof context, .context = n->context };
    fj_future *future = NULL;

    if (code != FJ_OK)
        return code;
    if (msg == NULL || (msg->message = fj__notification_json(n)) == NULL ||
        (msg->context = context_of(&context)) == NULL || fj_future_new(NULL, NULL, &future) != FJ_OK) {
        fj__fake_msg_free(msg);
        return fj_fail(err, FJ_BAD_VALUE, "the notification is not UTF-8, or memory ran out");
    }
    msg->arrived = fj_now();
    code = route_notice(self(driver), n, msg);
    if (code != FJ_OK) {
        fj__fake_msg_free(msg);
        fj_future_unref(future);
        return fj_fail(err, code, "cannot send the notification %s", n->event_type);
    }
    (void)fj_future_resolve(future, NULL);
    *ret = future;
    return FJ_OK;
}

/* ---- the table ---------------------------------------------------------------------------------- */

static fj_code flush(fj_driver *d, fj_deadline by, fj_error **err)
{
    (void)d, (void)by, (void)err; /* a message is in its queue when send returns */
    return FJ_OK;
}

static void close_driver(fj_driver *d)
{
    fj__fake_calls_close(self(d));
}

static fj_code stop_driver(fj_driver *d, fj_deadline by, fj_error **err)
{
    (void)by, (void)err; /* the thread ends at once */
    fj__fake_calls_close(self(d));
    fj__fake_calls_join(self(d));
    return FJ_OK;
}

static void free_driver(fj_driver *driver)
{
    fj__fake_driver_s *d = self(driver);

    (void)pthread_cond_destroy(&d->changed);
    fj__fake_lock();
    fj__fake_leave(d);
    fj__fake_unlock();
    fj__free(d->exchange);
    fj__free(d);
}

extern const fj_driver_ops fj__fake_driver;
const fj_driver_ops fj__fake_driver = {
    .abi = FJ_DRIVER_ABI,
    .size = sizeof(fj_driver_ops),
    .name = "fake",
    .caps = FJ_DRIVER_RPC | FJ_DRIVER_NOTIFICATIONS,
    .open = open_driver,
    .send = send_message,
    .flush = flush,
    .listen = fj__fake_listen,
    .close = close_driver,
    .stop = stop_driver,
    .free = free_driver,
    .inspect = fj__fake_inspect,
    .notify = notify,
    .listen_notifications = fj__fake_listen_notifications,
};

static fj_code open_driver(const fj_conf *conf, const fj_url *url, fj_driver **ret, fj_error **err)
{
    const char *exchange = conf != NULL ? fj_conf_str(conf, "DEFAULT", "control_exchange") : NULL;
    fj__fake_driver_s *d = fj__zalloc(sizeof *d);

    (void)url; /* one broker a process, whatever the host */
    if (d != NULL)
        d->exchange = fj__strdup(exchange != NULL ? exchange : "openstack");
    if (d == NULL || d->exchange == NULL) {
        fj__free(d);
        return fj_fail(err, FJ_NOMEM, "no memory for a fake transport");
    }
    d->base.ops = &fj__fake_driver;
    fj__cond_init(&d->changed);
    fj__fake_lock();
    fj__fake_enter(d);
    fj__fake_unlock();
    *ret = &d->base;
    return FJ_OK;
}
