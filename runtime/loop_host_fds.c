/* SPDX-License-Identifier: Apache-2.0 */
/* What is watched: watchers hang in lists by descriptor, of which the host is told. */
#include "runtime/loop_host.h"

#include "base/alloc.h"

#include <string.h>

void fj__host_link(ev_io **list, ev_io *io)
{
    io->next = (struct ev_watcher_list *)(void *)*list;
    *list = io;
}

bool fj__host_unlink(ev_io **list, const ev_io *io)
{
    for (ev_io *at = *list, *before = NULL; at != NULL; before = at, at = fj__host_next(at)) {
        if (at != io)
            continue;
        if (before != NULL)
            before->next = at->next;
        else
            *list = fj__host_next(at);
        return true;
    }
    return false;
}

int fj__host_wanted(const struct fj__host_entry *e)
{
    int events = 0;

    for (const ev_io *io = e->first; io != NULL; io = fj__host_next(io))
        events |= io->events & FJ__HOST_BOTH;
    return events;
}

/* @return false when the host refuses */
static bool tell_one(const struct fj__host *h, int fd, bool want, bool *told, bool (*add)(void *, int),
                     void (*del)(void *, int))
{
    if (want == *told)
        return true;
    if (!want)
        del(h->user, fd);
    else if (!add(h->user, fd))
        return false;
    *told = want;
    return true;
}

bool fj__host_tell(const fj_loop *loop, int fd, struct fj__host_entry *e)
{
    const struct fj__host *h = loop->host;
    int events = fj__host_wanted(e);

    if (!fj__loop_ours(loop))
        return true;
    bool good = tell_one(h, fd, (events & EV_READ) != 0, &e->read, h->ops->add_read, h->ops->del_read);

    return tell_one(h, fd, (events & EV_WRITE) != 0, &e->write, h->ops->add_write, h->ops->del_write) && good;
}

static struct fj__host_entry *entry_of(struct fj__host *h, int fd)
{
    size_t before = h->capacity;

    if ((size_t)fd >= before) {
        struct fj__host_entry *entries = fj__grow(h->entries, &h->capacity, (size_t)fd + 1, sizeof *entries);
        if (entries == NULL)
            return NULL;
        memset(entries + before, 0, (h->capacity - before) * sizeof *entries);
        h->entries = entries;
    }
    return &h->entries[fd];
}

static void lose(fj_loop *loop, ev_io *io)
{
    io->pending = FJ__HOST_FAILED;
    fj__host_link(&loop->host->lost, io);
    fj__host_stir(loop);
}

static void start(fj_loop *loop, ev_io *io)
{
    struct fj__host *h = loop->host;
    struct fj__host_entry *e = io->fd >= 0 ? entry_of(h, io->fd) : NULL;

    io->events &= FJ__HOST_BOTH; /* libev's marks are not for us */
    io->active = 1;
    io->pending = 0;
    if (e == NULL) {
        lose(loop, io);
        return;
    }
    fj__host_link(&e->first, io);
    if (fj__host_tell(loop, io->fd, e))
        return;
    (void)fj__host_unlink(&e->first, io);
    (void)fj__host_tell(loop, io->fd, e);
    lose(loop, io);
}

static void stop(fj_loop *loop, ev_io *io)
{
    struct fj__host *h = loop->host;

    if (!io->active)
        return;
    io->active = 0;
    io->pending = 0;
    if (fj__host_unlink(&h->lost, io) || !fj__host_knows(h, io->fd))
        return;
    struct fj__host_entry *e = &h->entries[io->fd];
    (void)fj__host_unlink(&e->first, io);
    (void)fj__host_tell(loop, io->fd, e);
}

void fj__io_start(fj_loop *loop, ev_io *io)
{
    if (loop->host == NULL)
        ev_io_start(loop->ev, io);
    else if (!io->active)
        start(loop, io);
}

void fj__io_stop(fj_loop *loop, ev_io *io)
{
    if (loop->host == NULL)
        ev_io_stop(loop->ev, io);
    else
        stop(loop, io);
}

void fj__io_change(fj_loop *loop, ev_io *io, int events)
{
    struct fj__host *h = loop->host;

    if (h == NULL) {
        ev_io_stop(loop->ev, io);
        ev_io_modify(io, events);
        ev_io_start(loop->ev, io);
        return;
    }
    io->events = events;
    io->pending &= events;
    if (io->active && fj__host_knows(h, io->fd) && !fj__host_tell(loop, io->fd, &h->entries[io->fd])) {
        stop(loop, io);
        io->active = 1;
        lose(loop, io);
    }
}
