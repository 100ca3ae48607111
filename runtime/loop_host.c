/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop without libev: its watchers hang in lists by descriptor, of which the host is told what is to be watched.  Its word
 * that a descriptor is ready is a hint: poll(2) says what is true, for the host may have gathered it before the descriptor
 * became another's.  Without a hint, when somebody turns the loop himself, all of them are looked at.
 */
#include "base/native.h"
#include "runtime/loop_impl.h"

#include <fjord/host.h>

#include "base/alloc.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

struct entry {
    ev_io *first;
    bool read, write; /* what the host watches */
    short hint;       /* what it says is ready: events of poll(2) */
};

struct fj__host {
    const fj_host_ops *ops;
    void *user;
    struct entry *entries; /* by descriptor */
    size_t capacity;
    ev_io *lost; /* watchers that could not be watched: called with an error, as libev does */
    struct pollfd *fds;
    size_t n, fds_capacity;
    fj_deadline told; /* the time that the host was asked for */
    bool hinted;      /* a turn of the host's: only hints are looked at */
    bool quiet;       /* the loop was never given to anybody: no cleanup */
};

enum { BOTH = EV_READ | EV_WRITE, FAILED = EV_READ | EV_WRITE | EV_ERROR };

/* ---- watchers ----------------------------------------------------------------------------------- */

static ev_io *next_of(const ev_io *io)
{
    return (ev_io *)(void *)io->next;
}

static void link_in(ev_io **list, ev_io *io)
{
    io->next = (struct ev_watcher_list *)(void *)*list;
    *list = io;
}

static bool take_out(ev_io **list, const ev_io *io)
{
    for (ev_io *at = *list, *before = NULL; at != NULL; before = at, at = next_of(at)) {
        if (at != io)
            continue;
        if (before != NULL)
            before->next = at->next;
        else
            *list = next_of(at);
        return true;
    }
    return false;
}

static int wanted(const struct entry *e)
{
    int events = 0;

    for (const ev_io *io = e->first; io != NULL; io = next_of(io))
        events |= io->events & BOTH;
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

/* In a forked child nobody is told: what the host has in the kernel may be the parent's.
 * @return false when the host refuses */
static bool tell(const fj_loop *loop, int fd, struct entry *e)
{
    const struct fj__host *h = loop->host;
    int events = wanted(e);

    if (!fj__loop_ours(loop))
        return true;
    bool good = tell_one(h, fd, (events & EV_READ) != 0, &e->read, h->ops->add_read, h->ops->del_read);

    return tell_one(h, fd, (events & EV_WRITE) != 0, &e->write, h->ops->add_write, h->ops->del_write) && good;
}

static struct entry *entry_of(struct fj__host *h, int fd)
{
    size_t before = h->capacity;

    if ((size_t)fd >= before) {
        struct entry *entries = fj__grow(h->entries, &h->capacity, (size_t)fd + 1, sizeof *entries);
        if (entries == NULL)
            return NULL;
        memset(entries + before, 0, (h->capacity - before) * sizeof *entries);
        h->entries = entries;
    }
    return &h->entries[fd];
}

static bool knows(const struct fj__host *h, int fd)
{
    return fd >= 0 && (size_t)fd < h->capacity;
}

static void lose(fj_loop *loop, ev_io *io)
{
    io->pending = FAILED;
    link_in(&loop->host->lost, io);
    fj__host_stir(loop);
}

static void start(fj_loop *loop, ev_io *io)
{
    struct fj__host *h = loop->host;
    struct entry *e = io->fd >= 0 ? entry_of(h, io->fd) : NULL;

    io->events &= BOTH; /* libev's marks are not for us */
    io->active = 1;
    io->pending = 0;
    if (e == NULL) {
        lose(loop, io);
        return;
    }
    link_in(&e->first, io);
    if (tell(loop, io->fd, e))
        return;
    (void)take_out(&e->first, io);
    (void)tell(loop, io->fd, e);
    lose(loop, io);
}

static void stop(fj_loop *loop, ev_io *io)
{
    struct fj__host *h = loop->host;

    if (!io->active)
        return;
    io->active = 0;
    io->pending = 0;
    if (take_out(&h->lost, io) || !knows(h, io->fd))
        return;
    struct entry *e = &h->entries[io->fd];
    (void)take_out(&e->first, io);
    (void)tell(loop, io->fd, e);
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
    if (io->active && knows(h, io->fd) && !tell(loop, io->fd, &h->entries[io->fd])) {
        stop(loop, io);
        io->active = 1;
        lose(loop, io);
    }
}

/* ---- gathering ---------------------------------------------------------------------------------- */

static bool add_fd(struct fj__host *h, int fd, int events)
{
    struct pollfd *fds = fj__grow(h->fds, &h->fds_capacity, h->n + 1, sizeof *fds);

    if (fds == NULL)
        return false;
    h->fds = fds;
    h->fds[h->n++] = (struct pollfd){
        .fd = fd,
        .events = (short)((events & EV_READ ? POLLIN : 0) | (events & EV_WRITE ? POLLOUT : 0)),
    };
    return true;
}

/* What memory does not suffice for is looked at the next time. */
static void list_fds(struct fj__host *h)
{
    bool room = true;

    h->n = 0;
    for (size_t i = 0; i < h->capacity && room; i++) {
        struct entry *e = &h->entries[i];
        bool look = e->first != NULL && (!h->hinted || e->hint != 0);
        if (look)
            room = add_fd(h, (int)i, wanted(e));
        e->hint = 0;
    }
}

static void mark(struct fj__host *h, const struct pollfd *p)
{
    int events = 0;

    if (p->revents & (POLLIN | POLLERR | POLLHUP))
        events |= EV_READ;
    if (p->revents & (POLLOUT | POLLERR | POLLHUP))
        events |= EV_WRITE;
    if (p->revents & POLLNVAL)
        events = FAILED;
    for (ev_io *io = h->entries[p->fd].first; io != NULL; io = next_of(io))
        io->pending |= events & (io->events | EV_ERROR);
    /* Of a failed one each is told, whatever it waits for, and it is watched no longer. */
    while ((p->revents & POLLNVAL) != 0 && h->entries[p->fd].first != NULL) {
        ev_io *io = h->entries[p->fd].first;
        (void)take_out(&h->entries[p->fd].first, io);
        io->pending = FAILED;
        link_in(&h->lost, io);
    }
}

static void gather(fj_loop *loop, int ms)
{
    struct fj__host *h = loop->host;

    list_fds(h);
    if (h->lost != NULL)
        ms = 0;
    if (h->n == 0 && ms == 0)
        return;
    if (fj__native.poll(h->fds, (nfds_t)h->n, ms) <= 0)
        h->n = 0; /* a signal came; whoever it is for is woken */
    for (size_t i = 0; i < h->n; i++) {
        if (h->fds[i].revents == 0)
            continue;
        mark(h, &h->fds[i]);
        (void)tell(loop, h->fds[i].fd, &h->entries[h->fds[i].fd]);
    }
}

void fj__host_look_at_all(fj_loop *loop)
{
    loop->host->hinted = false;
}

void fj__io_look(fj_loop *loop)
{
    if (loop->host == NULL)
        ev_run(loop->ev, EVRUN_NOWAIT);
    else
        gather(loop, 0);
}

void fj__host_sleep(fj_loop *loop, fj_deadline due)
{
    gather(loop, fj_left_ms(due));
}

static void call(ev_io *io)
{
    int events = io->pending;

    io->pending = 0;
    io->cb(NULL, io, events);
}

/* Each call may stop, start and free any of them: so the list is begun again after each. */
static void call_all(struct fj__host *h, int fd)
{
    ev_io *io = h->entries[fd].first;

    while (io != NULL) {
        if (io->pending == 0) {
            io = next_of(io);
            continue;
        }
        call(io);
        io = h->entries[fd].first;
    }
}

static bool has_pending(const struct fj__host *h)
{
    if (h->lost != NULL)
        return true;
    for (size_t i = 0; i < h->n; i++) {
        if (h->fds[i].revents != 0)
            return true;
    }
    return false;
}

bool fj__io_pending(fj_loop *loop)
{
    return loop->host == NULL ? ev_pending_count(loop->ev) != 0 : has_pending(loop->host);
}

void fj__io_invoke(fj_loop *loop)
{
    struct fj__host *h = loop->host;

    if (h == NULL) {
        ev_invoke_pending(loop->ev);
        return;
    }
    /* Those that are lost meanwhile wait for the next turn. */
    ev_io *lost = h->lost;
    size_t n = 0;
    for (; lost != NULL; lost = next_of(lost))
        n++;
    for (; n != 0 && h->lost != NULL; n--) {
        ev_io *io = h->lost;
        stop(loop, io);
        io->pending = FAILED;
        call(io);
    }
    for (size_t i = 0; i < h->n && fj__loop_ours(loop); i++) {
        if (h->fds[i].revents != 0)
            call_all(h, h->fds[i].fd);
    }
    h->n = 0;
}

/* ---- the host's time ---------------------------------------------------------------------------- */

static void ask_for(struct fj__host *h, fj_deadline at)
{
    if (at.ns == h->told.ns)
        return;
    h->told = at;
    h->ops->timer(h->user, at);
}

void fj__host_stir(fj_loop *loop)
{
    if (loop->host != NULL && !loop->running && fj__loop_ours(loop) && !atomic_load(&loop->closing))
        ask_for(loop->host, (fj_deadline){ 0 });
}

void fj__host_settle(fj_loop *loop)
{
    if (loop->host != NULL && fj__loop_ours(loop))
        ask_for(loop->host, fj_loop_due(loop));
}

/* @return false when another loop runs on this thread */
static bool drive(fj_loop *loop, int fd, short events)
{
    struct fj__host *h = loop->host;

    if (h == NULL || !fj__loop_ours(loop) || loop->running)
        return true;
    if (knows(h, fd))
        h->entries[fd].hint |= events;
    if (fj_loop_running() != NULL)
        return false;
    h->hinted = true;
    fj_loop_dispatch(loop);
    h->hinted = false;
    return true;
}

void fj_loop_readable(fj_loop *loop, int fd)
{
    (void)drive(loop, fd, POLLIN);
}

void fj_loop_writable(fj_loop *loop, int fd)
{
    (void)drive(loop, fd, POLLOUT);
}

void fj_loop_timeout(fj_loop *loop)
{
    if (loop->host == NULL)
        return;
    loop->host->told = fj_never(); /* it has run down, and is asked for again when the loop is left */
    if (!drive(loop, -1, 0))
        fj__host_stir(loop);
}

bool fj__loop_hosted(const fj_loop *loop)
{
    return loop->host != NULL;
}

/* ---- life --------------------------------------------------------------------------------------- */

static bool is_whole(const fj_host_ops *ops)
{
    return ops->size >= sizeof *ops && ops->add_read != NULL && ops->del_read != NULL &&
           ops->add_write != NULL && ops->del_write != NULL && ops->timer != NULL && ops->cleanup != NULL;
}

fj_code fj_loop_new_hosted(const fj_host_ops *ops, void *user, fj_loop **ret, fj_error **err)
{
    fj_loop *loop = NULL;

    if (!is_whole(ops))
        return fj_fail(err, FJ_BAD_VALUE, "a host's table is not complete");
    struct fj__host *h = fj__zalloc(sizeof *h);
    if (h == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a loop");
    h->ops = ops;
    h->user = user;
    h->told = fj_never();
    fj_code code = fj__loop_make(h, &loop, err); /* takes h when it answers OK */
    if (code != FJ_OK) {
        fj__free(h->entries);
        fj__free(h);
        return code;
    }
    if (h->lost != NULL) { /* its bell */
        h->quiet = true;
        fj_loop_free(loop);
        return fj_fail(err, FJ_SYSTEM, "the host refuses to watch a descriptor");
    }
    fj__host_settle(loop);
    *ret = loop;
    return FJ_OK;
}

void fj__host_drop(fj_loop *loop)
{
    struct fj__host *h = loop->host;

    if (fj__loop_ours(loop)) {
        ask_for(h, fj_never());
        if (!h->quiet)
            h->ops->cleanup(h->user);
    }
    fj__free(h->entries);
    fj__free(h->fds);
    fj__free(h);
    loop->host = NULL;
}
