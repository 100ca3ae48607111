/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener takes from three queues: topic, topic.server and its own of the fanout.  What the broker has given it and
 * poll() has not is `ready`; one eventfd is readable exactly while that is not empty, another wakes poll().  A task in
 * poll() is woken without either.
 */
#include "fake.h"

#include "base/alloc.h"
#include "base/ids.h"
#include "base/native.h"
#include "runtime/loop.h"
#include "runtime/task.h"
#include "transports/failure.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TOPIC, SERVER, FANOUT, SOURCES };

struct fj__fake_listener {
    fj_listener base;
    atomic_uint refs; /* the owner's, and each incoming message's */
    fj__fake_consumer sources[SOURCES];
    fj__fake_msg *ready, **ready_end;
    atomic_bool closed, interrupted;
    int ready_fd, wake_fd;
    bool fd_wanted;   /* somebody looks at ready_fd; @locks broker */
    fj_loop *loop;    /* that drives it, or NULL */
    fj_task *polls;   /* the task that waits in poll(), or NULL; @locks broker */
    fj__letter nudge; /* from a signal handler to that task; posted, it holds a reference */
};

typedef struct {
    fj_incoming base;
    fj__fake_msg *msg;
    bool settled;  /* acked or given back */
    bool answered; /* or not to be answered */
} incoming;

static fj__fake_listener *self(fj_listener *l)
{
    return fj__container(l, fj__fake_listener, base);
}

/* Async-signal-safe: keeps errno. */
static void raise_fd(int fd)
{
    const uint64_t one = 1;
    int saved = errno;
    ssize_t n = fj__native.write(fd, &one, sizeof one);

    (void)n; /* a full counter is readable, too */
    errno = saved;
}

static void lower_fd(int fd)
{
    uint64_t count;
    ssize_t n = fj__native.read(fd, &count, sizeof count);

    (void)n; /* not readable is what is wanted */
}

void fj__fake_arrive(fj__fake_consumer *c, fj__fake_msg *msg)
{
    fj__fake_listener *l = c->listener;

    msg->source = (unsigned)(c - l->sources);
    msg->next = NULL;
    if (l->ready == NULL) {
        l->ready_end = &l->ready;
        if (l->fd_wanted)
            raise_fd(l->ready_fd);
    }
    *l->ready_end = msg;
    l->ready_end = &msg->next;
    if (l->polls != NULL)
        fj__task_wake(l->polls);
}

static void unref(fj__fake_listener *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    if (l->ready_fd >= 0)
        (void)fj__native.close(l->ready_fd);
    if (l->wake_fd >= 0)
        (void)fj__native.close(l->wake_fd);
    fj__loop_unref(l->loop);
    fj__free(l);
}

/* ---- incoming ----------------------------------------------------------------------------------- */

static incoming *in_self(fj_incoming *in)
{
    return fj__container(in, incoming, base);
}

/* @locks broker */
static void settle(incoming *in)
{
    fj__fake_msg *msg = in->msg;

    if (in->settled)
        return;
    in->settled = true;
    json_decref(msg->message); /* it will not be delivered again */
    json_decref(msg->context);
    msg->message = msg->context = NULL;
    fj__fake_acked(&self(in->base.listener)->sources[msg->source], msg);
}

/* A failure as the caller reads it off the wire: written as JSON text, and read. */
static fj_error *failure_of(const fj_error *failure)
{
    char *text = NULL;
    size_t n = 0;
    fj_error *error = NULL, *read = NULL;
    fj_code code = fj__failure_write(failure, NULL, &text, &n, &error);
    json_t *held = code == FJ_OK ? json_stringn(text, n) : NULL;

    if (held != NULL)
        (void)fj__failure_read(held, NULL, &read, &error);
    json_decref(held);
    free(text);
    if (read != NULL) {
        fj_error_free(error);
        return read;
    }
    if (error == NULL)
        (void)fj_fail(&error, FJ_NOMEM, "no memory to read a failure");
    fj_error_set_code(error, FJ_REMOTE);
    fj_error_set_sent(error, FJ_SENT_YES);
    return error;
}

static fj_code reply(fj_incoming *base, const json_t *result, const fj_error *failure, fj_error **err)
{
    incoming *in = in_self(base);
    json_t *value = NULL;

    if (failure == NULL && result != NULL) {
        fj_code code = fj__fake_hand_over((json_t *)(uintptr_t)result, &value, err);
        if (code != FJ_OK)
            return code;
    }
    fj__fake_lock();
    bool first = !in->answered;
    in->answered = true;
    settle(in);
    fj_future *future = first && in->msg->call != NULL ? fj__fake_call_end(in->msg->call) : NULL;
    fj__fake_unlock();
    if (future == NULL)
        json_decref(value); /* the caller has gone, or has its answer */
    else if (failure != NULL)
        (void)fj_future_reject(future, failure_of(failure));
    else
        (void)fj_future_resolve(future, value);
    fj_future_unref(future);
    return FJ_OK;
}

static void done(fj_incoming *base)
{
    fj__fake_lock();
    settle(in_self(base));
    fj__fake_unlock();
}

/* @locks broker */
static void give_back(incoming *in)
{
    fj__fake_msg *msg = in->msg;

    if (in->settled)
        return;
    in->settled = true;
    in->msg = NULL;
    if (msg->call != NULL)
        fj__fake_call_alive(msg->call, false);
    fj__fake_back(&self(in->base.listener)->sources[msg->source], msg);
}

static void requeue(fj_incoming *base)
{
    fj__fake_lock();
    give_back(in_self(base));
    fj__fake_unlock();
}

static void free_incoming(fj_incoming *base)
{
    incoming *in = in_self(base);

    requeue(base);
    fj__fake_msg_free(in->msg);
    json_decref(base->message);
    json_decref(base->context);
    unref(self(base->listener));
    fj__free(in);
}

static const fj_incoming_ops incoming_ops = {
    .abi = FJ_DRIVER_ABI, .reply = reply, .done = done, .requeue = requeue, .free = free_incoming
};

/* ---- taking messages ---------------------------------------------------------------------------- */

/* The first ready message as an incoming.  @locks broker */
static fj_incoming *take(fj__fake_listener *l)
{
    incoming *in = fj__zalloc(sizeof *in);
    fj__fake_msg *msg = l->ready;

    if (in == NULL)
        return NULL;
    l->ready = msg->next;
    msg->next = NULL;
    in->msg = msg;
    in->base = (fj_incoming){ .ops = &incoming_ops,
                              .listener = &l->base,
                              .message = json_incref(msg->message),
                              .context = json_incref(msg->context),
                              .wants_reply = msg->call != NULL,
                              .redelivered = msg->redelivered };
    if (msg->call != NULL)
        fj__fake_call_alive(msg->call, true);
    atomic_fetch_add(&l->refs, 1);
    return &in->base;
}

static size_t take_some(fj__fake_listener *l, size_t max, fj_incoming **ret)
{
    size_t n = 0;

    fj__fake_lock();
    bool some = l->ready != NULL;
    while (l->ready != NULL && n < max && (ret[n] = take(l)) != NULL)
        n++;
    if (some && l->ready == NULL && l->fd_wanted)
        lower_fd(l->ready_fd);
    fj__fake_unlock();
    return n;
}

/* From now on the descriptor tells the truth. */
static int wanted_fd(fj__fake_listener *l)
{
    fj__fake_lock();
    if (!l->fd_wanted && l->ready != NULL)
        raise_fd(l->ready_fd);
    l->fd_wanted = true;
    fj__fake_unlock();
    return l->ready_fd;
}

static bool is_news(fj__fake_listener *l)
{
    return l->ready != NULL || atomic_load(&l->closed) || atomic_load(&l->interrupted);
}

/* @return OK when there may be something to look at; else why the task was woken */
static fj_code wait_in_task(fj__fake_listener *l, fj_deadline by)
{
    fj__fake_lock();
    bool news = is_news(l);
    if (!news)
        l->polls = fj_task_current();
    fj__fake_unlock();
    if (news)
        return FJ_OK;
    fj_code code = fj__task_park("a message", by);
    fj__fake_lock();
    l->polls = NULL;
    fj__fake_unlock();
    return code;
}

static void wait_on_thread(fj__fake_listener *l, fj_deadline by)
{
    struct pollfd fds[] = { { .fd = wanted_fd(l), .events = POLLIN }, { .fd = l->wake_fd, .events = POLLIN } };

    (void)fj__native.poll(fds, 2, fj_left_ms(by));
}

static fj_code take_messages(fj_listener *base, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                             fj_error **err)
{
    fj__fake_listener *l = self(base);

    *ret_n = 0;
    if (max == 0)
        return fj_fail(err, FJ_BAD_ARGS, "a poll for no message");
    for (;;) {
        if (atomic_load(&l->closed))
            return fj_fail(err, FJ_CLOSED, "the listener is closed");
        if (atomic_exchange(&l->interrupted, false)) {
            lower_fd(l->wake_fd);
            return FJ_AGAIN;
        }
        *ret_n = take_some(l, max, ret);
        if (*ret_n > 0)
            return FJ_OK;
        if (fj_passed(by))
            return FJ_TIMEOUT;
        if (fj_task_current() == NULL) {
            wait_on_thread(l, by);
            continue;
        }
        fj_code code = wait_in_task(l, by);
        if (code != FJ_OK && code != FJ_TIMEOUT)
            return fj_fail(err, code, "%s", fj_code_text(code));
    }
}

static void watch(fj_listener *base, fj_watch *ret)
{
    fj__fake_listener *l = self(base);

    ret->fds[0].fd = wanted_fd(l);
    ret->fds[1].fd = l->wake_fd;
    ret->fds[0].opened = ret->fds[1].opened = 0;
    ret->fds[0].read = ret->fds[1].read = true;
    ret->fds[0].write = ret->fds[1].write = false;
    ret->n = 2;
    ret->by = fj_never();
}

static void pump(fj_listener *l, fj_deadline now)
{
    (void)l, (void)now; /* messages arrive decoded */
}

static int ready_fd(fj_listener *l)
{
    return wanted_fd(self(l));
}

static fj_code ack(fj_listener *l, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    (void)l, (void)by, (void)err;
    fj__fake_lock();
    for (size_t i = 0; i < n; i++)
        if (in[i] != NULL)
            settle(in_self(in[i]));
    fj__fake_unlock();
    return FJ_OK;
}

static void wake_poll(fj__fake_listener *l)
{
    fj__fake_lock();
    if (l->polls != NULL)
        fj__task_wake(l->polls);
    fj__fake_unlock();
}

static void read_nudge(fj__letter *letter)
{
    fj__fake_listener *l = fj__container(letter, fj__fake_listener, nudge);

    wake_poll(l);
    unref(l);
}

static void interrupt(fj_listener *base)
{
    fj__fake_listener *l = self(base);

    atomic_store(&l->interrupted, true);
    raise_fd(l->wake_fd);
    if (l->loop == NULL)
        return;
    atomic_fetch_add(&l->refs, 1);
    if (!fj__loop_post(l->loop, &l->nudge))
        atomic_fetch_sub(&l->refs, 1); /* the letter that is there has one */
}

/* ---- life --------------------------------------------------------------------------------------- */

/* Unpolled messages go back in their old order: the last one first.  @locks broker */
static void give_ready_back(fj__fake_listener *l)
{
    fj__fake_msg *reversed = NULL;

    if (l->ready != NULL && l->fd_wanted)
        lower_fd(l->ready_fd);
    while (l->ready != NULL) {
        fj__fake_msg *msg = l->ready;
        l->ready = msg->next;
        msg->next = reversed;
        reversed = msg;
    }
    while (reversed != NULL) {
        fj__fake_msg *msg = reversed;
        reversed = msg->next;
        fj__fake_back(&l->sources[msg->source], msg);
    }
}

static void close_listener(fj_listener *base)
{
    fj__fake_listener *l = self(base);

    if (atomic_exchange(&l->closed, true))
        return;
    fj__fake_lock();
    fj__fake_queue *own = l->sources[FANOUT].queue;
    if (own != NULL)
        fj__fake_queue_delete(own);
    for (unsigned i = 0; i < SOURCES; i++)
        fj__fake_unconsume(&l->sources[i]);
    give_ready_back(l);
    fj__fake_unlock();
    wake_poll(l);
    raise_fd(l->wake_fd);
}

static fj_code stop_listener(fj_listener *base, fj_deadline by, fj_error **err)
{
    (void)by, (void)err; /* nothing is ever on its way */
    close_listener(base);
    return FJ_OK;
}

static void free_listener(fj_listener *base)
{
    close_listener(base);
    unref(self(base));
}

static const fj_listener_ops listener_ops = {
    .abi = FJ_DRIVER_ABI,
    .poll = take_messages,
    .watch = watch,
    .pump = pump,
    .fd = ready_fd,
    .ack = ack,
    .interrupt = interrupt,
    .close = close_listener,
    .stop = stop_listener,
    .free = free_listener,
};

/* Bind the three queues, then take from them: all or none. */
static fj_code subscribe(fj__fake_listener *l, const char *exchange, const fj_target *t)
{
    char id[33];
    fj_code code = FJ_NOMEM;

    fj__id_hex(id);
    char *direct = fj__format("%s.%s", t->topic, t->server), *fanout = fj__format("%s_fanout", t->topic);
    char *own = fj__format("%s_fanout_%s", t->topic, id);
    if (direct == NULL || fanout == NULL || own == NULL)
        goto out;
    fj__fake_lock();
    fj__fake_queue *topic = fj__fake_queue_bind(exchange, t->topic, t->topic);
    fj__fake_queue *server = fj__fake_queue_bind(exchange, direct, direct);
    fj__fake_queue *mine = fj__fake_queue_bind(fanout, own, "");
    if (topic != NULL && server != NULL && mine != NULL) {
        fj__fake_consume(topic, &l->sources[TOPIC]);
        fj__fake_consume(server, &l->sources[SERVER]);
        fj__fake_consume(mine, &l->sources[FANOUT]);
        code = FJ_OK;
    } else if (mine != NULL) {
        fj__fake_queue_delete(mine);
    }
    fj__fake_unlock();
out:
    fj__free(direct);
    fj__free(fanout);
    fj__free(own);
    return code;
}

static fj__fake_listener *make(const fj_listen_opts *opts)
{
    fj__fake_listener *l = fj__zalloc(sizeof *l);
    unsigned slots = opts != NULL ? opts->slots : 1;
    unsigned prefetch = slots < 1 ? 2 : slots > 32767 ? 65535 : 2 * slots;

    if (l == NULL)
        return NULL;
    l->base = (fj_listener){ .ops = &listener_ops, .parks = true };
    if (opts != NULL && opts->loop != NULL)
        l->loop = fj__loop_ref(opts->loop);
    l->nudge.read = read_nudge;
    atomic_init(&l->refs, 1);
    l->ready_end = &l->ready;
    l->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (unsigned i = 0; i < SOURCES; i++) {
        l->sources[i].listener = l;
        l->sources[i].prefetch = prefetch;
    }
    return l;
}

fj_code fj__fake_listen(fj_driver *driver, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                        fj_listener **ret, fj_error **err)
{
    fj__fake_driver_s *d = fj__container(driver, fj__fake_driver_s, base);

    (void)by; /* nothing is waited for */
    if (target->topic == NULL || *target->topic == '\0' || target->server == NULL || *target->server == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a server's target needs topic and server");
    fj__fake_lock();
    bool closed = d->closed;
    fj__fake_unlock();
    if (closed)
        return fj_fail(err, FJ_CLOSED, "the transport is closed");
    fj__fake_listener *l = make(opts);
    if (l == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a listener");
    if (l->ready_fd < 0 || l->wake_fd < 0) {
        unref(l);
        return fj_fail(err, FJ_SYSTEM, "no descriptor for a listener: %s", strerror(errno));
    }
    fj_code code = subscribe(l, target->exchange != NULL ? target->exchange : d->exchange, target);
    if (code != FJ_OK) {
        unref(l);
        return fj_fail(err, code, "no memory for a listener's queues");
    }
    *ret = &l->base;
    return FJ_OK;
}
