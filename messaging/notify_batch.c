/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: what a listener gives is kept until there is enough of it, or the first has waited for long enough; then it goes on as one
 * message for each priority.  Who polls does all the work; for loops a descriptor tells when it is worth it: an epoll of the listener's
 * own and of a timer.
 */
#include "base/alloc.h"
#include "base/native.h"
#include "messaging/notes.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

struct group {
    fj_incoming base; /* first */
    struct group *next;
    size_t n;
    fj_incoming *all[];
};

struct batch {
    fj_listener base; /* first */
    fj_listener *under;
    unsigned size;
    int64_t timeout_ns; /* 0: none */
    /* Who polls has these for himself. */
    size_t n;
    fj_deadline due; /* of those that are kept */
    struct group *ready, **ready_end;
    /* Made when somebody asks for the descriptor. */
    pthread_mutex_t lock;
    int epoll, timer;
    fj_incoming *kept[];
};

static struct batch *of(fj_listener *l)
{
    return (struct batch *)(void *)l;
}

/* ---- a batch as a message ----------------------------------------------------------------------- */

static struct group *group_of(fj_incoming *in)
{
    return (struct group *)(void *)in;
}

static fj_code reply(fj_incoming *in, const json_t *result, const fj_error *failure, fj_error **err)
{
    (void)in, (void)result, (void)failure, (void)err; /* nobody waits for it */
    return FJ_OK;
}

static void done(fj_incoming *in)
{
    struct group *g = group_of(in);

    for (size_t i = 0; i < g->n; i++)
        g->all[i]->ops->done(g->all[i]);
}

static void requeue(fj_incoming *in)
{
    struct group *g = group_of(in);

    for (size_t i = 0; i < g->n; i++)
        g->all[i]->ops->requeue(g->all[i]);
}

static void free_group(fj_incoming *in)
{
    struct group *g = group_of(in);

    for (size_t i = 0; i < g->n; i++)
        g->all[i]->ops->free(g->all[i]);
    json_decref(in->message);
    json_decref(in->context);
    fj__free(g);
}

static const fj_incoming_ops group_ops = {
    .abi = FJ_DRIVER_ABI, .reply = reply, .done = done, .requeue = requeue, .free = free_group
};

/* ---- making batches ----------------------------------------------------------------------------- */

/* Its place in the order of the priorities' names; those that are none come last. */
static unsigned rank_of(const fj_incoming *in)
{
    static const unsigned by_name[FJ_PRIORITIES] = { 0, 2, 4, 6, 3, 1, 5 }; /* of audit, debug, info, warn... */
    fj_priority p;

    return fj_priority_parse(json_string_value(json_object_get(in->message, "priority")), &p) ? by_name[p]
                                                                                              : FJ_PRIORITIES;
}

/* What is said of @p in, which it has no more.  @return false: no memory */
static bool put(json_t *list, fj_incoming *in)
{
    json_t *one = json_pack("{s:O, s:O}", "message", in->message, "context", in->context);

    if (one == NULL || json_array_append_new(list, one) != 0)
        return false;
    json_decref(in->message);
    json_decref(in->context);
    in->message = in->context = NULL;
    return true;
}

/* One of those in b->kept with the given rank, which are n.  NULL: no memory, and they are as they were */
static struct group *make_group(const struct batch *b, fj_listener *listener, unsigned rank, size_t n)
{
    struct group *g = fj__zalloc(sizeof *g + n * sizeof(fj_incoming *));
    json_t *list = json_array();

    if (g == NULL || list == NULL)
        goto out;
    g->base = (fj_incoming){ .ops = &group_ops, .listener = listener, .context = json_object() };
    for (size_t i = 0; i < b->n; i++) {
        fj_incoming *in = b->kept[i];
        if (in == NULL || rank_of(in) != rank)
            continue;
        if (g->n == 0) {
            g->base.message =
                json_pack("{s:O?, s:O}", "priority", json_object_get(in->message, "priority"), "batch", list);
            g->base.arrived = in->arrived;
        }
        g->base.redelivered = g->base.redelivered || in->redelivered;
        g->all[g->n++] = in;
    }
    bool ok = g->base.message != NULL && g->base.context != NULL;
    for (size_t i = 0; ok && i < g->n; i++)
        ok = put(list, g->all[i]);
    if (ok) {
        json_decref(list);
        return g;
    }
out:
    if (g != NULL) {
        json_decref(g->base.message);
        json_decref(g->base.context);
    }
    json_decref(list);
    fj__free(g);
    return NULL;
}

/* All that is kept becomes batches, or without memory goes back. */
static void close_batch(struct batch *b)
{
    size_t counts[FJ_PRIORITIES + 1] = { 0 };

    for (size_t i = 0; i < b->n; i++)
        counts[rank_of(b->kept[i])]++;
    for (unsigned rank = 0; rank <= FJ_PRIORITIES; rank++) {
        struct group *g = counts[rank] > 0 ? make_group(b, &b->base, rank, counts[rank]) : NULL;
        for (size_t i = 0, k = 0; g != NULL && k < g->n; i++) {
            if (b->kept[i] != g->all[k])
                continue;
            b->kept[i] = NULL;
            k++;
        }
        if (g == NULL)
            continue;
        *b->ready_end = g;
        b->ready_end = &g->next;
    }
    for (size_t i = 0; i < b->n; i++)
        if (b->kept[i] != NULL)
            b->kept[i]->ops->free(b->kept[i]);
    b->n = 0;
}

/* ---- the descriptor ----------------------------------------------------------------------------- */

/* The timer says when polling is worth it without anything new: now, when the batch is due, or never. */
static void set_timer(struct batch *b)
{
    struct itimerspec at = { .it_value = { 0 } };

    (void)fj__native.pthread_mutex_lock(&b->lock);
    int fd = b->timer;
    (void)fj__native.pthread_mutex_unlock(&b->lock);
    if (fd < 0)
        return;
    int64_t ns = b->ready != NULL ? 1 : b->n > 0 && !fj_is_never(b->due) ? b->due.ns : 0;
    at.it_value.tv_sec = ns / 1000000000;
    at.it_value.tv_nsec = ns % 1000000000;
    (void)timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static bool watch_fd(int epoll, int fd)
{
    struct epoll_event ev = { .events = EPOLLIN };

    return fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* @return -1: the system has none */
static int fd(fj_listener *l)
{
    struct batch *b = of(l);

    (void)fj__native.pthread_mutex_lock(&b->lock);
    if (b->epoll < 0) {
        int epoll = epoll_create1(EPOLL_CLOEXEC),
            timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (epoll >= 0 && watch_fd(epoll, timer) && watch_fd(epoll, b->under->ops->fd(b->under))) {
            b->epoll = epoll;
            b->timer = timer;
        } else {
            if (epoll >= 0)
                (void)fj__native.close(epoll);
            if (timer >= 0)
                (void)fj__native.close(timer);
        }
    }
    int got = b->epoll;
    (void)fj__native.pthread_mutex_unlock(&b->lock);
    return got;
}

/* ---- the listener ------------------------------------------------------------------------------- */

static size_t give(struct batch *b, size_t max, fj_incoming **ret)
{
    size_t n = 0;

    while (n < max && b->ready != NULL) {
        struct group *g = b->ready;
        b->ready = g->next;
        if (b->ready == NULL)
            b->ready_end = &b->ready;
        ret[n++] = &g->base;
    }
    return n;
}

/* @return OK: something is ready; else that of the listener's poll */
static fj_code gather(struct batch *b, fj_deadline by, fj_error **err)
{
    while (b->ready == NULL) {
        fj_error *error = NULL;
        size_t got = 0;
        fj_code code = b->under->ops->poll(b->under, b->n > 0 ? fj_sooner(by, b->due) : by, b->size - b->n,
                                           b->kept + b->n, &got, &error);
        if (code == FJ_OK && b->n == 0)
            b->due = b->timeout_ns > 0 ? (fj_deadline){ fj_now().ns + b->timeout_ns } : fj_never();
        if (code == FJ_OK)
            b->n += got;
        bool over = code == FJ_CLOSED || (code == FJ_TIMEOUT && fj_passed(b->due));
        if (b->n > 0 && (b->n == b->size || over))
            close_batch(b);
        else if (code != FJ_OK)
            return error != NULL ? fj_error_move(error, err) : code;
        fj_error_free(error);
    }
    return FJ_OK;
}

static fj_code poll_(fj_listener *l, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                     fj_error **err)
{
    struct batch *b = of(l);
    fj_code code = gather(b, by, err);

    *ret_n = code == FJ_OK ? give(b, max, ret) : 0;
    set_timer(b);
    return code;
}

static void watch(fj_listener *l, fj_watch *ret)
{
    struct batch *b = of(l);
    int theirs = b->under->ops->fd(b->under), ours = fd(l);

    b->under->ops->watch(b->under, ret);
    for (unsigned i = 0; i < ret->n; i++)
        if (ret->fds[i].fd == theirs)
            ret->fds[i].fd = ours; /* which is readable then, too */
}

static void pump(fj_listener *l, fj_deadline now)
{
    of(l)->under->ops->pump(of(l)->under, now);
}

static fj_code ack(fj_listener *l, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    (void)l, (void)in, (void)n, (void)by;
    return fj_fail(err, FJ_UNSUPPORTED, "notifications are acknowledged when they are done");
}

static void interrupt(fj_listener *l)
{
    of(l)->under->ops->interrupt(of(l)->under);
}

static void close_(fj_listener *l)
{
    of(l)->under->ops->close(of(l)->under);
}

/* Nobody polls any more: what waits for others goes back. */
static void drop(struct batch *b)
{
    fj_incoming *one;

    close_batch(b);
    while (give(b, 1, &one) == 1)
        one->ops->free(one);
}

static fj_code stop(fj_listener *l, fj_deadline by, fj_error **err)
{
    drop(of(l));
    return of(l)->under->ops->stop(of(l)->under, by, err);
}

static void free_(fj_listener *l)
{
    struct batch *b = l != NULL ? of(l) : NULL;

    if (b == NULL)
        return;
    drop(b);
    b->under->ops->free(b->under);
    if (b->epoll >= 0) {
        (void)fj__native.close(b->epoll);
        (void)fj__native.close(b->timer);
    }
    (void)pthread_mutex_destroy(&b->lock);
    fj__free(b);
}

static const fj_listener_ops ops = { .abi = FJ_DRIVER_ABI,
                                     .poll = poll_,
                                     .watch = watch,
                                     .pump = pump,
                                     .fd = fd,
                                     .ack = ack,
                                     .interrupt = interrupt,
                                     .close = close_,
                                     .stop = stop,
                                     .free = free_ };

fj_code fj__notify_batches(fj_listener *under, unsigned size, double timeout, fj_listener **ret, fj_error **err)
{
    struct batch *b = fj__zalloc(sizeof *b + size * sizeof(fj_incoming *));

    if (b == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for batches of %u", size);
    b->base = (fj_listener){ .ops = &ops, .parks = under->parks };
    b->under = under;
    b->size = size;
    b->timeout_ns = timeout > 0 ? (int64_t)((timeout < 1e9 ? timeout : 1e9) * 1e9) : 0;
    b->due = fj_never();
    b->ready_end = &b->ready;
    b->epoll = b->timer = -1;
    (void)pthread_mutex_init(&b->lock, NULL);
    *ret = &b->base;
    return FJ_OK;
}
