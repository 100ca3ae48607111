/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener takes from several queues: one of RPC from topic, topic.server and its own of the fanout.  What the broker has given it
 * and poll() has not is `ready`; one eventfd is readable exactly while that is not empty, another wakes poll().  A task in
 * poll() is woken without either.
 */
#include "listener.h"

#include "base/ids.h"
#include "base/native.h"
#include "runtime/loop.h"
#include "runtime/task.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

void fj__fake_listener_unref(fj__fake_listener *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    fj__fake_lock();
    for (unsigned i = 0; l->queues != NULL && i < l->n; i++)
        fj__fake_queue_unref(l->queues[i]);
    fj__fake_unlock();
    fj__free(l->queues);
    fj__free(l->sources);
    fj__free(l->seen);
    if (l->ready_fd >= 0)
        (void)fj__native.close(l->ready_fd);
    if (l->wake_fd >= 0)
        (void)fj__native.close(l->wake_fd);
    fj__loop_unref(l->loop);
    fj__free(l);
}

/* ---- taking messages ---------------------------------------------------------------------------- */

static size_t take_some(fj__fake_listener *l, size_t max, fj_incoming **ret)
{
    size_t n = 0;

    fj__fake_lock();
    bool some = l->ready != NULL;
    while (l->ready != NULL && n < max && (ret[n] = fj__fake_take(l)) != NULL)
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

/* Closed, and nothing is left that it keeps. */
static bool is_over(fj__fake_listener *l)
{
    if (!atomic_load(&l->closed))
        return false;
    fj__fake_lock();
    bool over = l->ready == NULL;
    fj__fake_unlock();
    return over;
}

static fj_code take_messages(fj_listener *base, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                             fj_error **err)
{
    fj__fake_listener *l = fj__fake_listener_of(base);

    *ret_n = 0;
    if (max == 0)
        return fj_fail(err, FJ_BAD_ARGS, "a poll for no message");
    for (;;) {
        if (is_over(l))
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
    fj__fake_listener *l = fj__fake_listener_of(base);

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
    return wanted_fd(fj__fake_listener_of(l));
}

/* A stale one, taken out of the hands of whoever would run it. */
static fj_incoming *drop_stale(fj_incoming **in)
{
    fj_incoming *one = *in;

    if (one == NULL || !fj__fake_incoming_of(one)->stale)
        return NULL;
    fj__fake_unsee(fj__fake_incoming_of(one));
    *in = NULL;
    return one;
}

static fj_code ack(fj_listener *l, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    (void)l, (void)by, (void)err;
    for (size_t i = 0; i < n; i++) {
        fj__fake_lock();
        fj_incoming *stale = drop_stale(&in[i]);
        if (in[i] != NULL)
            fj__fake_settle(fj__fake_incoming_of(in[i]));
        fj__fake_unlock();
        if (stale != NULL)
            stale->ops->free(stale);
    }
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
    fj__fake_listener_unref(l);
}

static void interrupt(fj_listener *base)
{
    fj__fake_listener *l = fj__fake_listener_of(base);

    atomic_store(&l->interrupted, true);
    raise_fd(l->wake_fd);
    if (l->loop == NULL)
        return;
    atomic_fetch_add(&l->refs, 1);
    if (!fj__loop_post(l->loop, &l->nudge))
        atomic_fetch_sub(&l->refs, 1); /* the letter that is there has one */
}

/* ---- life --------------------------------------------------------------------------------------- */

/* Those that came later than what is in hand: the last one first.  @locks broker */
void fj__fake_ready_back(fj__fake_listener *l)
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

void fj__fake_deliver_all(fj__fake_listener *l)
{
    for (unsigned i = 0; i < l->n; i++)
        fj__fake_deliver(l->queues[i]);
}

/* @locks broker */
static void leave_driver(fj__fake_listener *l)
{
    for (fj__fake_listener **at = &l->driver->listeners; *at != NULL; at = &(*at)->next_of_driver) {
        if (*at == l) {
            *at = l->next_of_driver;
            return;
        }
    }
}

static void close_listener(fj_listener *base)
{
    fj__fake_listener *l = fj__fake_listener_of(base);

    if (atomic_exchange(&l->closed, true))
        return;
    fj__fake_lock();
    leave_driver(l);
    if (l->own != NULL)
        fj__fake_queue_delete(l->own);
    for (unsigned i = 0; i < l->n; i++)
        fj__fake_unconsume(&l->sources[i]);
    if (!l->keep_fetched)
        fj__fake_ready_back(l);
    fj__fake_deliver_all(l);
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
    fj__fake_lock();
    fj__fake_ready_back(fj__fake_listener_of(base)); /* what was kept, and not taken */
    fj__fake_deliver_all(fj__fake_listener_of(base));
    fj__fake_unlock();
    fj__fake_listener_unref(fj__fake_listener_of(base));
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

/* From now on it takes from its queues.  @locks broker */
static void consume(fj__fake_listener *l)
{
    for (unsigned i = 0; i < l->n; i++)
        fj__fake_consume(l->queues[i], &l->sources[i]);
    l->next_of_driver = l->driver->listeners;
    l->driver->listeners = l;
}

/* @locks broker */
static bool bind_one(fj__fake_listener *l, const char *exchange, const char *name, const char *key)
{
    fj__fake_queue *q = fj__fake_queue_bind(exchange, name, key);

    for (unsigned i = 0; q != NULL && i < l->n; i++)
        if (l->queues[i] == q)
            return true; /* one more binding of a queue that it takes from */
    if (q != NULL)
        l->queues[l->n++] = fj__fake_queue_ref(q);
    return q != NULL;
}

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
    if (bind_one(l, exchange, t->topic, t->topic) && bind_one(l, exchange, direct, direct) &&
        bind_one(l, fanout, own, "")) {
        l->own = l->queues[l->n - 1];
        consume(l);
        code = FJ_OK;
    }
    fj__fake_unlock();
out:
    fj__free(direct);
    fj__free(fanout);
    fj__free(own);
    return code;
}

static fj_code subscribe_to(fj__fake_listener *l, const char *exchange, const fj_notify_source *sources,
                            size_t n)
{
    bool ok = true;

    fj__fake_lock();
    for (size_t i = 0; ok && i < n; i++)
        ok = bind_one(l, sources[i].exchange != NULL ? sources[i].exchange : exchange, sources[i].queue,
                      sources[i].key);
    if (ok)
        consume(l);
    fj__fake_unlock();
    return ok ? FJ_OK : FJ_NOMEM;
}

/* For @p n queues at most. */
static fj__fake_listener *make(fj__fake_driver_s *d, const fj_listen_opts *opts, size_t n)
{
    fj__fake_listener *l = fj__zalloc(sizeof *l);
    unsigned slots = opts != NULL ? opts->slots : 1;
    unsigned prefetch = slots < 1 ? 2 : slots > 32767 ? 65535 : 2 * slots;

    if (l == NULL)
        return NULL;
    l->base = (fj_listener){ .ops = &listener_ops, .parks = true };
    l->driver = d;
    l->seen_size = n * prefetch + slots; /* at least what a lost connection can bring back */
    l->seen = fj__zalloc(l->seen_size * sizeof *l->seen);
    l->sources = fj__zalloc(n * sizeof *l->sources);
    l->queues = fj__zalloc(n * sizeof(fj__fake_queue *));
    if (opts != NULL && opts->loop != NULL)
        l->loop = fj__loop_ref(opts->loop);
    l->keep_fetched = opts != NULL && opts->keep_fetched;
    l->nudge.read = read_nudge;
    atomic_init(&l->refs, 1);
    l->ready_end = &l->ready;
    l->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (size_t i = 0; l->sources != NULL && i < n; i++) {
        l->sources[i].listener = l;
        l->sources[i].prefetch = prefetch;
    }
    return l;
}

static fj_code make_open(fj__fake_driver_s *d, const fj_listen_opts *opts, size_t n, fj__fake_listener **ret,
                         fj_error **err)
{
    fj__fake_lock();
    bool closed = d->closed;
    fj__fake_unlock();
    if (closed)
        return fj_fail(err, FJ_CLOSED, "the transport is closed");
    fj__fake_listener *l = make(d, opts, n);
    if (l == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a listener");
    if (l->seen == NULL || l->sources == NULL || l->queues == NULL) {
        fj__fake_listener_unref(l);
        return fj_fail(err, FJ_NOMEM, "no memory for a listener");
    }
    if (l->ready_fd < 0 || l->wake_fd < 0) {
        fj__fake_listener_unref(l);
        return fj_fail(err, FJ_SYSTEM, "no descriptor for a listener: %s", strerror(errno));
    }
    *ret = l;
    return FJ_OK;
}

static fj_code subscribed(fj__fake_listener *l, fj_code code, fj_listener **ret, fj_error **err)
{
    if (code != FJ_OK) {
        fj__fake_listener_unref(l);
        return fj_fail(err, code, "no memory for a listener's queues");
    }
    *ret = &l->base;
    return FJ_OK;
}

fj_code fj__fake_listen(fj_driver *driver, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                        fj_listener **ret, fj_error **err)
{
    enum { TOPIC_SERVER_FANOUT = 3 };
    fj__fake_driver_s *d = fj__container(driver, fj__fake_driver_s, base);
    fj__fake_listener *l = NULL;

    (void)by; /* nothing is waited for */
    if (target->topic == NULL || *target->topic == '\0' || target->server == NULL || *target->server == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a server's target needs topic and server");
    fj_code code = make_open(d, opts, TOPIC_SERVER_FANOUT, &l, err);
    if (code != FJ_OK)
        return code;
    return subscribed(l, subscribe(l, target->exchange != NULL ? target->exchange : d->exchange, target), ret,
                      err);
}

fj_code fj__fake_listen_notifications(fj_driver *driver, const fj_notify_source *sources, size_t n,
                                      const fj_listen_opts *opts, fj_deadline by, fj_listener **ret,
                                      fj_error **err)
{
    fj__fake_driver_s *d = fj__container(driver, fj__fake_driver_s, base);
    fj__fake_listener *l = NULL;

    (void)by; /* nothing is waited for */
    if (n == 0)
        return fj_fail(err, FJ_BAD_TARGET, "there is nothing to listen to");
    fj_code code = make_open(d, opts, n, &l, err);
    return code == FJ_OK ? subscribed(l, subscribe_to(l, d->exchange, sources, n), ret, err) : code;
}
