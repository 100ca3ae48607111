/* SPDX-License-Identifier: Apache-2.0 */
/* Sources on a loop: asked before each sleep, mirrored in libev where the answer has changed, pumped. */
#include "runtime/loop_impl.h"

#include "base/alloc.h"

struct slot {
    ev_io io;
    struct fj__attached *owner;
    int fd; /* -1: none */
    unsigned opened;
};

struct fj__attached {
    struct fj__attached *next;
    fj_loop *loop;
    fj_source *source; /* NULL once it is detached while the list is walked */
    fj_watch watch;    /* its last answer */
    bool ready;        /* some slot is */
    int events[FJ_WATCH_MAX];
    struct slot slots[FJ_WATCH_MAX];
};

static void slot_ready(struct ev_loop *ev, ev_io *io, int events)
{
    struct slot *slot = fj__container(io, struct slot, io);
    struct fj__attached *a = slot->owner;

    (void)ev;
    /* A descriptor that turned out to be closed (EV_ERROR) counts as both, as errors do. */
    a->events[slot - a->slots] |= events & EV_ERROR ? EV_READ | EV_WRITE : events;
    a->ready = true;
    a->loop->called = true;
}

static void stop_slot(fj_loop *loop, struct slot *slot)
{
    if (slot->fd >= 0)
        fj__io_stop(loop, &slot->io);
    slot->fd = -1;
}

static void mirror_slot(fj_loop *loop, struct slot *slot, int fd, unsigned opened, int events)
{
    bool same = slot->fd == fd && slot->opened == opened;

    if (fd < 0 || events == 0) {
        stop_slot(loop, slot);
        return;
    }
    if (same && slot->io.events == events)
        return;
    if (same) {
        fj__io_change(loop, &slot->io, events);
        return;
    } else {
        /* Setting it anew also makes libev tell epoll of it though the number is one it knows. */
        stop_slot(loop, slot);
        ev_io_set(&slot->io, fd, events);
    }
    slot->fd = fd;
    slot->opened = opened;
    fj__io_start(loop, &slot->io);
}

static void ask(struct fj__attached *a)
{
    a->watch.n = 0;
    a->watch.by = fj_never();
    a->source->watch(a->source, &a->watch);
    if (a->watch.n > FJ_WATCH_MAX)
        a->watch.n = FJ_WATCH_MAX;
}

static void mirror(struct fj__attached *a)
{
    for (unsigned i = 0; i < FJ_WATCH_MAX; i++) {
        if (i < a->watch.n)
            mirror_slot(a->loop, &a->slots[i], a->watch.fds[i].fd, a->watch.fds[i].opened,
                        (a->watch.fds[i].read ? EV_READ : 0) | (a->watch.fds[i].write ? EV_WRITE : 0));
        else
            stop_slot(a->loop, &a->slots[i]);
    }
}

static void pump(struct fj__attached *a, fj_deadline now)
{
    fj_loop *loop = a->loop;
    fj_watch ready = a->watch;

    for (unsigned i = 0; i < FJ_WATCH_MAX; i++) {
        if (i < ready.n) {
            ready.fds[i].read = (a->events[i] & EV_READ) != 0;
            ready.fds[i].write = (a->events[i] & EV_WRITE) != 0;
        }
        a->events[i] = 0;
    }
    a->ready = false;
    fj__loop_enter(loop, "source");
    a->source->pump(a->source, &ready, now);
    fj__loop_leave(loop);
}

/* What was detached while the list was walked. */
static void sweep(fj_loop *loop)
{
    struct fj__attached **at = &loop->sources;

    while (*at != NULL) {
        struct fj__attached *a = *at;
        if (a->source != NULL) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        fj__free(a);
    }
}

fj_deadline fj__sources_ask(fj_loop *loop)
{
    fj_deadline due = fj_never();

    if (loop->sources == NULL)
        return due;
    loop->asking = true;
    for (struct fj__attached *a = loop->sources; a != NULL; a = a->next) {
        if (a->source == NULL)
            continue;
        ask(a);
        if (a->source == NULL)
            continue;
        mirror(a);
        due = fj_sooner(due, a->watch.by);
    }
    loop->asking = false;
    sweep(loop);
    return due;
}

void fj__sources_flush(fj_loop *loop)
{
    for (const struct fj__attached *a = loop->sources; a != NULL; a = a->next) {
        if (a->source != NULL && a->source->flush != NULL)
            a->source->flush(a->source);
    }
}

/* @return whether one was ready or due */
static bool pump_round(fj_loop *loop)
{
    fj_deadline now = fj_now();
    bool any = false;

    for (struct fj__attached *a = loop->sources; a != NULL; a = a->next) {
        if (a->source == NULL || !(a->ready || a->watch.by.ns <= now.ns))
            continue;
        pump(a, now);
        any = true;
    }
    return any;
}

bool fj__sources_pump(fj_loop *loop)
{
    bool did = false;

    if (loop->sources == NULL)
        return false;
    loop->asking = true;
    for (unsigned round = 0; round < FJ__LOOP_ROUNDS && fj__loop_ours(loop) && pump_round(loop); round++) {
        did = true;
        /* Only for their deadlines: descriptors are told to libev before the next sleep. */
        for (struct fj__attached *a = loop->sources; a != NULL; a = a->next) {
            if (a->source != NULL)
                ask(a);
        }
    }
    loop->asking = false;
    sweep(loop);
    return did;
}

fj_code fj_loop_attach(fj_loop *loop, fj_source *source, fj_error **err)
{
    if (fj__loop_refuses(loop, "fj_loop_attach"))
        return fj_fail(err, FJ_WRONG_CONTEXT, "fj_loop_attach() from another thread than the loop's");
    if (source->attached != NULL)
        return fj_fail(err, FJ_STATE, "the source is attached to a loop already");
    struct fj__attached *a = fj__zalloc(sizeof *a);
    if (a == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a source");
    a->loop = loop;
    a->source = source;
    a->watch.by = fj_never();
    for (unsigned i = 0; i < FJ_WATCH_MAX; i++) {
        a->slots[i].owner = a;
        a->slots[i].fd = -1;
        ev_init(&a->slots[i].io, slot_ready);
    }
    struct fj__attached **at = &loop->sources;
    while (*at != NULL)
        at = &(*at)->next;
    *at = a;
    source->attached = a;
    fj__host_stir(loop);
    return FJ_OK;
}

void fj_loop_detach(fj_loop *loop, fj_source *source)
{
    struct fj__attached *a = source->attached;

    if (a == NULL || a->loop != loop || fj__loop_refuses(loop, "fj_loop_detach"))
        return;
    for (unsigned i = 0; i < FJ_WATCH_MAX; i++)
        stop_slot(loop, &a->slots[i]);
    source->attached = NULL;
    a->source = NULL;
    if (!loop->asking)
        sweep(loop);
}

void fj__sources_each(fj_loop *loop, fj__watched_fn fn, void *user)
{
    for (const struct fj__attached *a = loop->sources; a != NULL; a = a->next) {
        for (unsigned i = 0; a->source != NULL && i < FJ_WATCH_MAX; i++) {
            if (a->slots[i].fd >= 0)
                fn(user, a->slots[i].fd, (a->slots[i].io.events & EV_READ) != 0,
                   (a->slots[i].io.events & EV_WRITE) != 0, "source");
        }
    }
}

void fj__sources_drop(fj_loop *loop)
{
    for (struct fj__attached *a = loop->sources; a != NULL; a = a->next) {
        if (a->source == NULL)
            continue;
        for (unsigned i = 0; i < FJ_WATCH_MAX; i++)
            stop_slot(loop, &a->slots[i]);
        a->source->attached = NULL;
        a->source = NULL;
    }
    sweep(loop);
}
