/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener, and the messages it has.  The driver's thread decodes them; one eventfd is readable while poll() has something to
 * say: a message, an interruption, the end.  That is all a loop needs of it.
 *
 * The broker gives back to their queues what it has delivered over a connection that is lost.  Those not yet given to poll() are
 * dropped here, those in somebody's hands are stale until they are delivered again: by its number a message is known.
 */
#include "unix.h"

#include <fjord/log.h>
#include <fjord/original.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { SOURCES = 3, ANSWER_MS = 60000 }; /* queues of a listener; how long an answer is tried to be sent */

struct incoming {
    fj_incoming base;             /* first */
    struct incoming *next, *prev; /* of the listener's, in the order they came */
    struct listener *l;
    fj_body_names names;
    uint64_t id;
    bool given;    /* to poll() */
    bool settled;  /* acknowledged, or given back: no ack is due */
    bool stale;    /* the connection it came over is lost */
    bool answered; /* or its caller hears nothing more */
    fj_deadline beat;
};

struct listener {
    fj_listener base; /* first */
    struct driver *d;
    struct listener *next;
    unsigned refs; /* its owner's, and each incoming's; under the driver's lock */
    uint64_t id;
    char *key, *server;
    unsigned prefetch;
    bool ack_done, keep_fetched;
    int fd; /* eventfd */
    atomic_bool interrupted;
    bool subscribed, closed;
    bool ending;     /* closed, and the broker has yet to say that nothing more comes */
    struct op *news; /* of who waits for the broker's word; lends, until it has ended */
    struct incoming *first, *last;
    uint64_t *done; /* the last messages that were settled: they may come again */
    size_t done_size, done_at;
};

static const fj_incoming_ops incoming_ops;
static const fj_listener_ops listener_ops;

static struct listener *of(fj_listener *l)
{
    return (struct listener *)(void *)l;
}

static struct incoming *in_of(fj_incoming *in)
{
    return (struct incoming *)(void *)in;
}

static void put_number(struct listener *l, enum frame_type type, uint64_t id)
{
    link_put(l->d, (struct frame){ .type = type, .id = id });
}

/* ---- news for poll() ---------------------------------------------------------------------------- */

/* The first one that poll() has not had. */
static struct incoming *ready(const struct listener *l)
{
    struct incoming *in = l->first;

    while (in != NULL && in->given)
        in = in->next;
    return in;
}

static bool is_over(const struct listener *l)
{
    return l->closed && !l->ending && ready(l) == NULL;
}

/* Async-signal-safe: keeps errno. */
static void raise_fd(const struct listener *l)
{
    const uint64_t one = 1;
    int saved = errno;

    (void)!fj_original_write(l->fd, &one, sizeof one);
    errno = saved;
}

/* Readable or not, as is right now. */
static void set_fd(struct listener *l)
{
    uint64_t count;

    (void)!fj_original_read(l->fd, &count, sizeof count);
    if (ready(l) != NULL || is_over(l) || atomic_load(&l->interrupted))
        raise_fd(l);
}

/* ---- messages ----------------------------------------------------------------------------------- */

static void listener_unref(struct listener *l)
{
    if (--l->refs > 0)
        return;
    for (struct listener **at = &l->d->listeners; *at != NULL; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    if (l->fd >= 0)
        (void)fj_original_close(l->fd);
    free(l->key);
    free(l->server);
    free(l->done);
    free(l);
}

/* It leaves the list; what was decoded is freed. */
static void incoming_drop(struct incoming *in)
{
    struct listener *l = in->l;

    *(in->prev != NULL ? &in->prev->next : &l->first) = in->next;
    *(in->next != NULL ? &in->next->prev : &l->last) = in->prev;
    json_decref(in->base.message);
    json_decref(in->base.context);
    fj_body_names_fini(&in->names);
    free(in);
    listener_unref(l);
}

static void remember(struct listener *l, uint64_t id)
{
    l->done[l->done_at++] = id;
    if (l->done_at == l->done_size)
        l->done_at = 0;
}

static bool forget(struct listener *l, uint64_t id, bool really)
{
    for (size_t i = 0; i < l->done_size; i++) {
        if (l->done[i] != id)
            continue;
        if (really)
            l->done[i] = 0;
        return true;
    }
    return false;
}

/* The broker may forget it. */
static void settle(struct incoming *in)
{
    if (in->settled)
        return;
    in->settled = true;
    remember(in->l, in->id);
    if (!in->stale)
        put_number(in->l, ACK, in->id);
}

static void give_back(struct incoming *in)
{
    if (in->settled)
        return;
    in->settled = true;
    if (!in->stale)
        put_number(in->l, REQUEUE, in->id);
}

/* @return whether it is one that came before, which is seen to */
static bool came_before(struct listener *l, uint64_t id)
{
    struct incoming *in = l->first;

    while (in != NULL && (in->id != id || in->settled))
        in = in->next;
    if (in != NULL) {
        in->stale = false; /* who has it in hand can acknowledge it again */
        return true;
    }
    if (!forget(l, id, false))
        return false;
    put_number(l, ACK, id);
    return true;
}

static void deliver(struct listener *l, const struct frame *f)
{
    struct incoming *in;
    fj_error *err = NULL;

    if (came_before(l, f->id))
        return;
    if (l->closed && !l->keep_fetched) {
        put_number(l, REQUEUE, f->id);
        return;
    }
    if ((in = calloc(1, sizeof *in)) == NULL) {
        put_number(l, REQUEUE, f->id);
        return;
    }
    in->names = (fj_body_names)FJ_BODY_NAMES_INIT;
    fj_code code = fj_body_take(f->body, f->n, &l->d->json, &in->base, &in->names, &err);
    if (code != FJ_OK) {
        fj_log(FJ_LOG_ERROR, "unix", "a message for %s cannot be read, and is dropped: %s", l->key,
               fj_error_text(err));
        fj_error_free(err);
        free(in);
        put_number(l, ACK, f->id);
        return;
    }
    in->base.ops = &incoming_ops;
    in->base.listener = &l->base;
    in->base.redelivered = (f->flags & FRAME_AGAIN) != 0;
    in->l = l;
    in->id = f->id;
    in->beat = fj_never();
    l->refs++;
    in->prev = l->last;
    *(l->last != NULL ? &l->last->next : &l->first) = in;
    l->last = in;
    if (ready(l) == in)
        raise_fd(l);
}

/* ---- its answer, its end ------------------------------------------------------------------------ */

/* @param body takes */
static fj_code send_answer(struct incoming *in, char *body, size_t n)
{
    struct driver *d = in->l->d;
    struct bytes frame = { 0 };
    const struct frame f = { .type = REPLY, .seq = 1, .key = in->names.reply_to, .body = body, .n = n };
    bool good = frame_put(&frame, &f);
    struct op *op = good ? op_new(d, OP_REPLY, &frame) : NULL;

    free(body);
    if (op == NULL)
        return FJ_NOMEM;
    op->by = op->due = fj_in_ms(ANSWER_MS);
    op_send(op);
    return FJ_OK;
}

static fj_code reply(fj_incoming *base, const json_t *result, const fj_error *failure, fj_error **err)
{
    struct incoming *in = in_of(base);
    struct driver *d = in->l->d;
    char *body = NULL;
    size_t n = 0;
    fj_code code = FJ_OK;

    if (base->wants_reply)
        code = fj_body_reply(in->names.call_id, result, failure, true, &d->json, &body, &n, err);
    if (code != FJ_OK)
        return code;
    driver_lock(d);
    if (d->leave)
        code = FJ_CLOSED;
    else if (base->wants_reply && !in->answered)
        code = send_answer(in, body, n);
    else
        free(body);
    if (code == FJ_CLOSED)
        free(body);
    if (code == FJ_OK) {
        in->answered = true;
        if (in->l->ack_done)
            settle(in);
        link_write(d);
    }
    driver_unlock(d);
    return code == FJ_OK ? code : fj_fail(err, code, "the answer cannot be sent: %s", fj_code_text(code));
}

static void done(fj_incoming *base)
{
    struct incoming *in = in_of(base);
    struct driver *d = in->l->d;

    driver_lock(d);
    in->answered = true;
    settle(in);
    link_write(d);
    driver_unlock(d);
}

static void requeue(fj_incoming *base)
{
    struct driver *d = in_of(base)->l->d;

    driver_lock(d);
    give_back(in_of(base));
    link_write(d);
    driver_unlock(d);
}

static void free_incoming(fj_incoming *base)
{
    struct driver *d = in_of(base)->l->d;

    driver_lock(d);
    give_back(in_of(base));
    link_write(d);
    incoming_drop(in_of(base));
    driver_unlock(d);
}

static const fj_incoming_ops incoming_ops = {
    .abi = FJ_DRIVER_ABI, .reply = reply, .done = done, .requeue = requeue, .free = free_incoming
};

/* ---- polling ------------------------------------------------------------------------------------ */

static size_t take_some(struct listener *l, size_t max, fj_incoming **ret)
{
    size_t n = 0;

    for (struct incoming *in = ready(l); in != NULL && n < max; in = in->next) {
        in->given = true;
        if (in->names.monitor > 0)
            in->beat = fj_in_ms((int64_t)in->names.monitor * 500);
        link_wake(l->d, in->beat);
        ret[n++] = &in->base;
    }
    return n;
}

static fj_code poll_once(struct listener *l, size_t max, fj_incoming **ret, size_t *ret_n)
{
    fj_code code = FJ_TIMEOUT;

    driver_lock(l->d);
    if (is_over(l))
        code = FJ_CLOSED;
    else if (atomic_exchange(&l->interrupted, false))
        code = FJ_AGAIN;
    else if ((*ret_n = take_some(l, max, ret)) > 0)
        code = FJ_OK;
    set_fd(l);
    driver_unlock(l->d);
    return code;
}

static fj_code poll_it(fj_listener *base, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                       fj_error **err)
{
    struct listener *l = of(base);
    struct pollfd news = { .fd = l->fd, .events = POLLIN };
    fj_code code;

    *ret_n = 0;
    while ((code = poll_once(l, max, ret, ret_n)) == FJ_TIMEOUT && !fj_passed(by))
        (void)fj_original_poll(&news, 1, fj_left_ms(by));
    return code == FJ_CLOSED ? fj_fail(err, code, "the listener is closed") : code;
}

static void watch(fj_listener *base, fj_watch *ret)
{
    ret->fds[0].fd = of(base)->fd;
    ret->fds[0].opened = 0;
    ret->fds[0].read = true;
    ret->fds[0].write = false;
    ret->n = 1;
    ret->by = fj_never();
}

static void pump(fj_listener *l, fj_deadline now)
{
    (void)l, (void)now; /* the driver's thread does it */
}

static int fd_of(fj_listener *base)
{
    return of(base)->fd;
}

static void interrupt(fj_listener *base)
{
    atomic_store(&of(base)->interrupted, true);
    raise_fd(of(base));
}

/* ---- acknowledging ------------------------------------------------------------------------------ */

/* Wait until the socket has all, or the connection is another.  @return false: neither, in time */
static bool write_all(struct driver *d, unsigned epoch, fj_deadline by)
{
    for (;;) {
        link_write(d);
        if (d->epoch != epoch || !d->welcome || bytes_left(&d->out) == 0)
            return true;
        if (fj_passed(by))
            return false;
        struct pollfd room = { .fd = d->fd, .events = POLLOUT };
        driver_unlock(d);
        (void)fj_original_poll(&room, 1, fj_left_ms(by));
        driver_lock(d);
    }
}

static fj_code ack(fj_listener *base, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    struct driver *d = of(base)->d;

    driver_lock(d);
    unsigned epoch = d->epoch;
    for (size_t i = 0; i < n; i++)
        if (!in_of(in[i])->stale)
            settle(in_of(in[i]));
    bool written = write_all(d, epoch, by);
    if (!written)
        link_break(d); /* then the broker has none of these acks, or gives nothing back that it has */
    bool lost = d->epoch != epoch || !d->welcome;
    for (size_t i = 0; i < n; i++) {
        struct incoming *one = in_of(in[i]);
        if (one->settled && !lost && written)
            continue;
        (void)forget(one->l, one->id, true); /* it will be delivered again, and is new then */
        one->settled = true;
        if (written) {
            incoming_drop(one);
            in[i] = NULL;
        }
    }
    driver_unlock(d);
    return written ? FJ_OK : fj_fail(err, FJ_TIMEOUT, "the broker takes no acknowledgements");
}

/* ---- life --------------------------------------------------------------------------------------- */

static void subscribe(struct listener *l)
{
    link_put(l->d, (struct frame){ .type = SUBSCRIBE,
                                   .id = l->id,
                                   .by = l->prefetch,
                                   .key = l->key,
                                   .body = l->server,
                                   .n = strlen(l->server) });
}

static void tell_news(struct listener *l)
{
    if (l->news != NULL)
        op_end(l->news, NULL, NULL);
    l->news = NULL;
}

/* Wait for the broker's word.  With the lock held, which is given back. */
static fj_code wait_for_news(struct listener *l, bool nothing, fj_deadline by, fj_error **err)
{
    struct driver *d = l->d;
    struct op *op = nothing ? NULL : op_new(d, OP_NEWS, NULL);
    fj_future *future = op != NULL ? op_future(op) : NULL;

    if (future != NULL)
        l->news = op;
    driver_unlock(d);
    if (nothing)
        return FJ_OK;
    if (future == NULL) {
        op_unref(op);
        return fj_fail(err, FJ_NOMEM, "no memory to wait");
    }
    fj_code code = fj_future_wait(future, by, NULL, NULL);
    driver_lock(d);
    if (l->news == op)
        tell_news(l);
    driver_unlock(d);
    fj_future_unref(future);
    return code == FJ_OK ? code : fj_fail(err, code, "the broker at %s does not answer", d->path);
}

static void close_it(fj_listener *base)
{
    struct listener *l = of(base);

    driver_lock(l->d);
    if (!l->closed) {
        l->closed = true;
        l->ending = l->d->welcome && l->subscribed;
        put_number(l, UNSUBSCRIBE, l->id);
        for (struct incoming *in = ready(l), *next; in != NULL && !l->keep_fetched; in = next) {
            next = in->next;
            give_back(in);
            incoming_drop(in);
        }
        set_fd(l);
        link_write(l->d);
    }
    driver_unlock(l->d);
}

static fj_code stop(fj_listener *base, fj_deadline by, fj_error **err)
{
    struct listener *l = of(base);

    close_it(base);
    driver_lock(l->d);
    fj_code code = wait_for_news(l, !l->ending, by, err);
    return code == FJ_OK ? l->d->base.ops->flush(&l->d->base, by, err) : code;
}

static void free_listener(fj_listener *base)
{
    struct listener *l = of(base);
    struct driver *d = l->d;

    close_it(base);
    driver_lock(d);
    for (struct incoming *in = ready(l), *next; in != NULL; in = next) { /* kept, and not taken */
        next = in->next;
        give_back(in);
        incoming_drop(in);
    }
    link_write(d);
    listener_unref(l);
    driver_unlock(d);
}

static const fj_listener_ops listener_ops = {
    .abi = FJ_DRIVER_ABI,
    .poll = poll_it,
    .watch = watch,
    .pump = pump,
    .fd = fd_of,
    .ack = ack,
    .interrupt = interrupt,
    .close = close_it,
    .stop = stop,
    .free = free_listener,
};

static struct listener *make(struct driver *d, const fj_target *target, const fj_listen_opts *opts)
{
    struct listener *l = calloc(1, sizeof *l);
    const char *exchange = target->exchange != NULL ? target->exchange : d->exchange;
    size_t size = strlen(exchange) + strlen(target->topic) + 2;

    if (l == NULL)
        return NULL;
    l->base.ops = &listener_ops;
    l->d = d;
    l->refs = 1;
    l->prefetch = opts->slots < 1 ? 2 : opts->slots > 32767 ? 65535 : 2 * opts->slots;
    l->ack_done = opts->ack_done;
    l->keep_fetched = opts->keep_fetched;
    l->done_size =
        SOURCES * (size_t)l->prefetch + opts->slots; /* at least what a lost connection brings back */
    l->done = calloc(l->done_size, sizeof *l->done);
    l->key = malloc(size);
    l->server = strdup(target->server);
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->key != NULL)
        (void)snprintf(l->key, size, "%s/%s", exchange, target->topic);
    return l;
}

fj_code listener_new(struct driver *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                     fj_listener **ret, fj_error **err)
{
    const fj_listen_opts plain = FJ_LISTEN_OPTS_INIT;

    if (target->topic == NULL || *target->topic == '\0' || target->server == NULL || *target->server == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a server's target needs topic and server");
    struct listener *l = make(d, target, opts != NULL ? opts : &plain);
    if (l == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a listener");
    fj_code code = l->done == NULL || l->key == NULL || l->server == NULL  ? FJ_NOMEM
                   : l->fd < 0                                             ? FJ_SYSTEM
                   : strlen(l->key) + strlen(l->server) + 2 > KEY_MAX_SIZE ? FJ_BAD_TARGET
                                                                           : FJ_OK;
    driver_lock(d);
    if (code == FJ_OK)
        code = d->closed ? FJ_CLOSED : !link_start(d) ? FJ_SYSTEM : FJ_OK;
    if (code != FJ_OK) {
        listener_unref(l);
        driver_unlock(d);
        return fj_fail(err, code, "cannot listen: %s", fj_code_text(code));
    }
    l->id = ++d->last_listener;
    l->next = d->listeners;
    d->listeners = l;
    subscribe(l);
    link_write(d);
    link_wake(d, fj_now());
    code = wait_for_news(l, false, by, err);
    if (code == FJ_OK) {
        *ret = &l->base;
        return FJ_OK;
    }
    free_listener(&l->base);
    return code;
}

/* ---- what the link tells ------------------------------------------------------------------------ */

void listeners_welcome(struct driver *d)
{
    for (struct listener *l = d->listeners; l != NULL; l = l->next)
        if (!l->closed)
            subscribe(l);
}

static void lose(struct listener *l)
{
    l->subscribed = l->ending = false;
    for (struct incoming *in = l->first, *next; in != NULL; in = next) {
        next = in->next;
        in->stale = true;
        if (!in->given)
            incoming_drop(in);
    }
    if (l->closed)
        tell_news(l); /* it has nothing more to say */
    set_fd(l);
}

void listeners_lost(struct driver *d)
{
    for (struct listener *l = d->listeners, *next; l != NULL; l = next) {
        next = l->next;
        l->refs++; /* its last message may go */
        lose(l);
        listener_unref(l);
    }
}

void listeners_told(struct driver *d, const struct frame *f)
{
    uint64_t id = f->type == DELIVER ? (uint64_t)f->by : f->id;
    struct listener *l = d->listeners;

    while (l != NULL && l->id != id)
        l = l->next;
    if (l == NULL) {
        if (f->type == DELIVER)
            link_put(d, (struct frame){ .type = REQUEUE, .id = f->id });
    } else if (f->type == DELIVER) {
        deliver(l, f);
    } else if (f->type == SUBSCRIBED && !l->closed) {
        l->subscribed = true;
        tell_news(l);
    } else if (f->type == UNSUBSCRIBED) {
        l->subscribed = l->ending = false;
        tell_news(l);
        set_fd(l);
    }
}

static void beat(struct incoming *in, fj_deadline now)
{
    char *body = NULL;
    size_t n = 0;

    in->beat = (fj_deadline){ now.ns + (int64_t)in->names.monitor * 500000000 };
    if (fj_body_reply(in->names.call_id, NULL, NULL, false, &in->l->d->json, &body, &n, NULL) == FJ_OK)
        (void)send_answer(in, body, n);
}

fj_deadline listeners_beat(struct driver *d, fj_deadline now)
{
    fj_deadline next = fj_never();

    for (struct listener *l = d->listeners; l != NULL; l = l->next) {
        for (struct incoming *in = l->first; in != NULL; in = in->next) {
            if (in->answered)
                continue;
            if (in->beat.ns <= now.ns)
                beat(in, now);
            next = fj_sooner(next, in->beat);
        }
    }
    return next;
}

bool listeners_ready(const struct driver *d)
{
    bool all = true;

    for (const struct listener *l = d->listeners; l != NULL; l = l->next)
        all = all && (l->subscribed || l->closed);
    return all;
}
