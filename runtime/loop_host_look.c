/* SPDX-License-Identifier: Apache-2.0 */
/* What is ready, and calling those who wait for it. */
#include "runtime/loop_host.h"

#include "base/alloc.h"
#include "base/native.h"

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
        struct fj__host_entry *e = &h->entries[i];
        bool look = e->first != NULL && (!h->hinted || e->hint != 0);
        if (look)
            room = add_fd(h, (int)i, fj__host_wanted(e));
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
        events = FJ__HOST_FAILED;
    for (ev_io *io = h->entries[p->fd].first; io != NULL; io = fj__host_next(io))
        io->pending |= events & (io->events | EV_ERROR);
    /* Of a failed one each is told, whatever it waits for, and it is watched no longer. */
    while ((p->revents & POLLNVAL) != 0 && h->entries[p->fd].first != NULL) {
        ev_io *io = h->entries[p->fd].first;
        (void)fj__host_unlink(&h->entries[p->fd].first, io);
        io->pending = FJ__HOST_FAILED;
        fj__host_link(&h->lost, io);
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
        (void)fj__host_tell(loop, h->fds[i].fd, &h->entries[h->fds[i].fd]);
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
            io = fj__host_next(io);
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
    for (; lost != NULL; lost = fj__host_next(lost))
        n++;
    for (; n != 0 && h->lost != NULL; n--) {
        ev_io *io = h->lost;
        fj__io_stop(loop, io);
        io->pending = FJ__HOST_FAILED;
        call(io);
    }
    for (size_t i = 0; i < h->n && fj__loop_ours(loop); i++) {
        if (h->fds[i].revents != 0)
            call_all(h, h->fds[i].fd);
    }
    h->n = 0;
}
