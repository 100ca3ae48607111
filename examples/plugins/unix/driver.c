/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     cc -shared -fPIC -pthread $(pkg-config --cflags fjord) -o unix.so driver.c link.c listener.c wire.c
 *
 *     [DEFAULT]
 *     transport_url = unix:///run/user/1000/fjord    # where a unix-broker listens; unix:// alone is /run/fjord/broker
 *     [fjord]
 *     plugin_dir = /usr/local/lib/fjord/plugins      # or transport_plugins = unix=/path/of/unix.so
 */
#include "unix.h"

#include <fjord/original.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/un.h>

/* ---- what was begun, and its end ---------------------------------------------------------------- */

struct op *op_new(struct driver *d, enum op_kind kind, struct bytes *frame)
{
    struct op *op = calloc(1, sizeof *op);

    if (op == NULL) {
        if (frame != NULL)
            bytes_free(frame);
        return NULL;
    }
    op->driver = d;
    op->kind = kind;
    op->retry = -1;
    op->by = op->due = fj_never();
    atomic_init(&op->refs, 1);
    if (frame != NULL)
        op->frame = *frame;
    return op;
}

void op_unref(struct op *op)
{
    if (op == NULL || atomic_fetch_sub(&op->refs, 1) != 1)
        return;
    bytes_free(&op->frame);
    free(op);
}

static void on_cancelled(fj_future *future, void *user)
{
    struct op *op = user;
    struct driver *d = op->driver;

    (void)future;
    driver_lock(d);
    op_end(op, NULL, NULL);
    driver_unlock(d);
}

static void on_freed(void *user)
{
    op_unref(user);
}

static const fj_future_ops future_ops = { .cancelled = on_cancelled, .freed = on_freed };

fj_future *op_future(struct op *op)
{
    fj_future *future = NULL;

    if (fj_future_new(&future_ops, op, &future) != FJ_OK)
        return NULL;
    atomic_fetch_add(&op->refs, 1); /* the future's */
    op->future = fj_future_ref(future);
    return future;
}

void op_send(struct op *op)
{
    struct driver *d = op->driver;

    op->prev = d->last;
    if (d->last != NULL)
        d->last->next = op;
    else
        d->first = op;
    d->last = op;
    if (op->kind == OP_MARK) {
        op_marks(d);
        return;
    }
    op->seq = ++d->out_seq;
    frame_renumber(&op->frame, op->seq);
    if (d->unwritten == NULL)
        d->unwritten = op;
    link_write(d);
    link_wake(d, op->due);
}

static bool is_listed(const struct op *op)
{
    return op->prev != NULL || op->driver->first == op;
}

void op_end(struct op *op, json_t *result, fj_error *error)
{
    struct driver *d = op->driver;

    if (op->ended) {
        json_decref(result);
        fj_error_free(error);
        return;
    }
    op->ended = true;
    op->result = result;
    op->error = error;
    if (is_listed(op)) {
        if (d->unwritten == op)
            d->unwritten = op->next;
        *(op->prev != NULL ? &op->prev->next : &d->first) = op->next;
        *(op->next != NULL ? &op->next->prev : &d->last) = op->prev;
    }
    op->next = d->over;
    d->over = op;
}

void op_fail(struct op *op, fj_code code, const char *format, ...)
{
    fj_error *error = NULL;
    char text[300];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)fj_fail(&error, code, "%s", text);
    fj_error_set_where(error, "unix://%s", op->driver->path);
    fj_error_set_sent(error, op->seen ? FJ_SENT_YES : op->written ? FJ_SENT_MAYBE : FJ_SENT_NO);
    op_end(op, NULL, error);
}

void op_marks(struct driver *d)
{
    for (struct op *op = d->first, *next; op != NULL && (op->seen || op->kind == OP_MARK); op = next) {
        next = op->next;
        if (op->kind == OP_MARK)
            op_end(op, NULL, NULL);
    }
}

void driver_lock(struct driver *d)
{
    (void)fj_original_pthread_mutex_lock(&d->lock);
}

static void complete(struct op *op)
{
    if (op->future == NULL) {
        json_decref(op->result);
        fj_error_free(op->error);
    } else if (op->error != NULL) {
        (void)fj_future_reject(op->future, op->error);
    } else {
        (void)fj_future_resolve(op->future, op->result);
    }
    fj_future_unref(op->future);
    op_unref(op);
}

void driver_unlock(struct driver *d)
{
    struct op *over = NULL;

    while (d->over != NULL) { /* the first one that ended is to be the first one that completes */
        struct op *op = d->over;
        d->over = op->next;
        op->next = over;
        over = op;
    }
    (void)fj_original_pthread_mutex_unlock(&d->lock);
    for (struct op *op; (op = over) != NULL; complete(op))
        over = op->next;
}

/* ---- sending ------------------------------------------------------------------------------------ */

/* The frame of a request.  @param id of a call; else NULL */
static fj_code frame_of(const struct driver *d, const fj_send *send, const char *id, struct bytes *ret,
                        fj_error **err)
{
    const fj_target *t = send->target;
    bool direct = t->server != NULL && !t->fanout;
    char key[KEY_MAX_SIZE], *body = NULL;
    size_t n = 0;

    int length = snprintf(key, sizeof key, "%s/%s%s%s", t->exchange != NULL ? t->exchange : d->exchange,
                          t->topic, direct ? "." : "", direct ? t->server : "");
    if (length < 0 || (size_t)length >= sizeof key)
        return fj_fail(err, FJ_BAD_TARGET, "the names of exchange, topic and server are too long together");
    fj_code code = fj_body_request(send, id, d->session, &d->json, &body, &n, err);
    if (code != FJ_OK)
        return code;
    const struct frame f = { .type = PUBLISH,
                             .flags =
                                 (t->fanout ? FRAME_FANOUT : 0u) |
                                 ((send->flags & FJ_SEND_MANDATORY) != 0 && !t->fanout ? FRAME_MANDATORY : 0u),
                             .seq = 1, /* in time */
                             .by = id != NULL ? send->by.ns : FJ_NEVER_NS,
                             .key = key,
                             .body = body,
                             .n = n };
    if (!frame_put(ret, &f))
        code = n > FRAME_MAX / 2 ? fj_fail(err, FJ_TOO_BIG, "a message of %zu bytes", n)
                                 : fj_fail(err, FJ_NOMEM, "no memory for a message");
    free(body);
    return code;
}

static fj_code make_op(struct driver *d, const fj_send *send, struct op **ret, fj_error **err)
{
    bool call = (send->flags & FJ_SEND_CALL) != 0;
    struct bytes frame = { 0 };
    char id[33] = "";
    fj_code code = fj_send_check(send, err);

    if (call)
        fj_body_id(id);
    if (code == FJ_OK)
        code = frame_of(d, send, call ? id : NULL, &frame, err);
    if (code != FJ_OK)
        return code;
    struct op *op = op_new(d, call ? OP_CALL : OP_CAST, &frame);
    if (op == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a message");
    memcpy(op->id, id, sizeof id);
    op->flags = send->flags;
    op->retry = send->retry;
    op->monitor = call ? send->monitor : 0;
    op->by = send->by;
    op->due = op->monitor > 0 ? fj_sooner(op->by, fj_in_seconds(op->monitor)) : op->by;
    *ret = op;
    return FJ_OK;
}

static fj_code send_it(fj_driver *base, const fj_send *send, fj_future **ret, fj_error **err)
{
    struct driver *d = driver_of(base);
    struct op *op = NULL;
    fj_code code = make_op(d, send, &op, err);

    json_decref(send->args);
    if (code != FJ_OK)
        return code;
    fj_future *future = op_future(op);
    if (future == NULL) {
        op_unref(op);
        return fj_fail(err, FJ_NOMEM, "no memory for a message");
    }
    driver_lock(d);
    if (d->closed)
        code = fj_fail(err, FJ_CLOSED, "the transport is closed");
    else if (!link_start(d))
        code = fj_fail(err, FJ_SYSTEM, "cannot start a thread");
    else if (fj_passed(op->by))
        op_fail(op, FJ_TIMEOUT, "the deadline passed before %s was sent", send->method);
    else
        op_send(op);
    driver_unlock(d);
    if (code == FJ_OK) {
        *ret = future;
        return FJ_OK;
    }
    fj_future_unref(op->future);
    op_unref(op);
    fj_future_unref(future);
    return code;
}

/* Waiting is a future's: it parks a task and puts a thread to sleep. */
static fj_code flush(fj_driver *base, fj_deadline by, fj_error **err)
{
    struct driver *d = driver_of(base);
    struct op *op = op_new(d, OP_MARK, NULL);
    fj_future *future = op != NULL ? op_future(op) : NULL;

    if (future == NULL) {
        op_unref(op);
        return fj_fail(err, FJ_NOMEM, "no memory to wait");
    }
    driver_lock(d);
    op_send(op);
    driver_unlock(d);
    fj_code code = fj_future_wait(future, by, NULL, err);
    if (code != FJ_OK)
        (void)fj_future_cancel(future);
    fj_future_unref(future);
    return code;
}

/* ---- the table ---------------------------------------------------------------------------------- */

static fj_code listen_to(fj_driver *base, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                         fj_listener **ret, fj_error **err)
{
    return listener_new(driver_of(base), target, opts, by, ret, err);
}

/* Answers may still leave: stop() waits for them. */
static void close_it(fj_driver *base)
{
    struct driver *d = driver_of(base);

    driver_lock(d);
    d->closed = true;
    for (struct op *op = d->first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->kind == OP_CALL || op->kind == OP_CAST)
            op_fail(op, FJ_CLOSED, "the transport was closed before the outcome was known");
    }
    op_marks(d);
    driver_unlock(d);
}

static fj_code stop(fj_driver *base, fj_deadline by, fj_error **err)
{
    struct driver *d = driver_of(base);

    close_it(base);
    fj_code code = flush(base, by, err);
    driver_lock(d);
    bool running = d->has_thread;
    d->leave = true;
    d->has_thread = false;
    link_wake(d, fj_now());
    driver_unlock(d);
    if (running)
        (void)fj_original_pthread_join(d->thread, NULL);
    driver_lock(d);
    for (struct op *op; (op = d->first) != NULL;) /* answers that nobody took in time */
        op_fail(op, FJ_CLOSED, "the transport was closed");
    driver_unlock(d);
    return code;
}

static void free_it(fj_driver *base)
{
    struct driver *d = driver_of(base);

    if (d->wake >= 0)
        (void)fj_original_close(d->wake);
    bytes_free(&d->in);
    bytes_free(&d->out);
    (void)pthread_mutex_destroy(&d->lock);
    free(d->path);
    free(d->exchange);
    free(d);
}

static bool listens(fj_driver *base)
{
    struct driver *d = driver_of(base);

    driver_lock(d);
    bool all = listeners_ready(d);
    driver_unlock(d);
    return all;
}

static fj_code open_it(const fj_conf *conf, const fj_url *url, fj_driver **ret, fj_error **err);

static const fj_driver_ops ops = { .abi = FJ_DRIVER_ABI,
                                   .size = sizeof(fj_driver_ops),
                                   .name = "unix",
                                   .caps = FJ_DRIVER_RPC,
                                   .open = open_it,
                                   .send = send_it,
                                   .flush = flush,
                                   .listen = listen_to,
                                   .close = close_it,
                                   .stop = stop,
                                   .free = free_it,
                                   .listens = listens };

/* What a URL may say to this driver is for this driver to check. */
static fj_code check_url(const fj_url *url, fj_error **err)
{
    const char *key, *value;

    if (fj_url_hosts(url) > 0 && *fj_url_host(url, 0) != '\0')
        return fj_fail(err, FJ_BAD_URL, "unix:// is of this machine and takes no host: unix:///PATH");
    if (strlen(fj_url_vhost(url)) + 1 >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return fj_fail(err, FJ_BAD_URL, "the path of unix:// is too long for a socket");
    if (fj_url_query(url, 0, &key, &value))
        return fj_fail(err, FJ_BAD_CONFIG, "unix:// has no option \"%s\"", key);
    return FJ_OK;
}

static char *path_of(const char *vhost)
{
    size_t size = strlen(vhost) + 2;

    if (strcmp(vhost, "/") == 0) /* the URL says nothing */
        return strdup("/run/fjord/broker");
    char *path = malloc(size);
    if (path != NULL)
        (void)snprintf(path, size, "%s%s", *vhost == '/' ? "" : "/", vhost);
    return path;
}

static fj_code open_it(const fj_conf *conf, const fj_url *url, fj_driver **ret, fj_error **err)
{
    const char *exchange = conf != NULL ? fj_conf_str(conf, "DEFAULT", "control_exchange") : NULL;
    fj_code code = check_url(url, err);

    if (code != FJ_OK)
        return code;
    struct driver *d = calloc(1, sizeof *d);
    if (d == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a transport");
    d->base.ops = &ops;
    d->fd = -1;
    (void)pthread_mutex_init(&d->lock, NULL);
    d->json = fj_body_json_opts(conf);
    fj_body_id(d->session);
    d->path = path_of(fj_url_vhost(url));
    d->exchange = strdup(exchange != NULL ? exchange : "openstack");
    d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->path == NULL || d->exchange == NULL || d->wake < 0) {
        free_it(&d->base);
        return fj_fail(err, FJ_NOMEM, "no memory or descriptor for a transport");
    }
    *ret = &d->base;
    return FJ_OK;
}

FJ_API const fj_driver_ops *fj_driver_plugin(void);
const fj_driver_ops *fj_driver_plugin(void)
{
    return &ops;
}
