/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_ADAPTERS_LIBUV_H
#define FJORD_ADAPTERS_LIBUV_H
/*
 * A loop in libuv's, either way; docs/hosts.md.  All here is called on the thread that runs the uv_loop_t.  Handles are
 * closed by libuv in its own time: after a detach, or a free, run the uv_loop_t until it has nothing left before it is closed.
 */
#include <fcntl.h>
#include <fjord/host.h>
#include <stdlib.h>
#include <uv.h>

FJ_BEGIN_DECLS

/* libuv counts in milliseconds from the time that it last looked. */
static inline void fj_uv_timer_set(uv_timer_t *timer, uv_timer_cb fn, fj_deadline at)
{
    if (fj_is_never(at)) {
        (void)uv_timer_stop(timer);
        return;
    }
    uv_update_time(timer->loop);
    (void)uv_timer_start(timer, fn, (uint64_t)fj_left_ms(at), 0);
}

/* ---- libuv watches the loop ---- */

typedef struct {
    fj_loop *loop; /* NULL: detached */
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_timer_t timer;
    unsigned open; /* handles that are not closed yet */
} fj_uv_watcher;

static inline void fj_uv_dispatch(fj_uv_watcher *w)
{
    if (w->loop != NULL)
        fj_loop_dispatch(w->loop);
}

static inline void fj_uv_on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    fj_uv_dispatch((fj_uv_watcher *)poll->data);
}

static inline void fj_uv_on_timer(uv_timer_t *timer)
{
    fj_uv_dispatch((fj_uv_watcher *)timer->data);
}

static inline void fj_uv_on_prepare(uv_prepare_t *prepare)
{
    fj_uv_watcher *w = (fj_uv_watcher *)prepare->data;

    if (w->loop != NULL)
        fj_uv_timer_set(&w->timer, fj_uv_on_timer, fj_loop_due(w->loop));
}

static inline void fj_uv_closed(uv_handle_t *handle)
{
    fj_uv_watcher *w = (fj_uv_watcher *)handle->data;

    if (--w->open == 0)
        free(w);
}

/** Legal in the loop's own call-backs.  @param w takes; accepts NULL */
static inline void fj_uv_detach(fj_uv_watcher *w)
{
    if (w == NULL)
        return;
    w->loop = NULL;
    w->open = 3;
    uv_close((uv_handle_t *)&w->poll, fj_uv_closed);
    uv_close((uv_handle_t *)&w->prepare, fj_uv_closed);
    uv_close((uv_handle_t *)&w->timer, fj_uv_closed);
}

/** Have @p uv run @p loop (lends, until detached).  @return gives, or NULL without memory or a descriptor */
static inline fj_uv_watcher *fj_uv_attach(fj_loop *loop, uv_loop_t *uv)
{
    int fd = fj_loop_fd(loop);
    fj_uv_watcher *w = fd < 0 ? NULL : (fj_uv_watcher *)calloc(1, sizeof *w);

    if (w == NULL || uv_poll_init(uv, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    (void)uv_prepare_init(uv, &w->prepare);
    (void)uv_timer_init(uv, &w->timer);
    w->loop = loop;
    w->poll.data = w->prepare.data = w->timer.data = w;
    (void)uv_poll_start(&w->poll, UV_READABLE, fj_uv_on_poll);
    (void)uv_prepare_start(&w->prepare, fj_uv_on_prepare);
    return w;
}

/* ---- libuv drives the loop ---- */

typedef struct fj_uv_fd fj_uv_fd;
typedef struct {
    fj_loop *loop;
    uv_loop_t *uv;
    uv_timer_t timer;
    fj_uv_fd *fds;
} fj_uv_driver;

struct fj_uv_fd {
    uv_poll_t poll;
    fj_uv_fd *next;
    fj_uv_driver *driver;
    int fd, events; /* no events: it is being closed */
};

static inline void fj_uv_free_fd(uv_handle_t *handle)
{
    free(handle->data);
}

static inline void fj_uv_free_driver(uv_handle_t *handle)
{
    free(handle->data);
}

static inline void fj_uv_on_ready(uv_poll_t *poll, int status, int events)
{
    fj_uv_fd *f = (fj_uv_fd *)poll->data;

    if (status < 0 || (events & UV_READABLE) != 0)
        fj_loop_readable(f->driver->loop, f->fd);
    if ((status < 0 || (events & UV_WRITABLE) != 0) && f->events != 0)
        fj_loop_writable(f->driver->loop, f->fd);
    if (status < 0 && f->events != 0) /* libuv stops one that has an error */
        (void)uv_poll_start(poll, f->events, fj_uv_on_ready);
}

/* The flags of a descriptor are its owner's, and libuv's poll has no need of O_NONBLOCK, which it sets. */
static inline fj_uv_fd *fj_uv_fd_new(fj_uv_driver *d, int fd)
{
    fj_uv_fd *f = (fj_uv_fd *)calloc(1, sizeof *f);
    int flags = fcntl(fd, F_GETFL);
    int failed = f == NULL ? UV_ENOMEM : uv_poll_init(d->uv, &f->poll, fd);

    if (flags >= 0 && (flags & O_NONBLOCK) == 0)
        (void)fcntl(fd, F_SETFL, flags);
    if (failed != 0) {
        free(f);
        return NULL;
    }
    f->poll.data = f;
    f->driver = d;
    f->fd = fd;
    f->next = d->fds;
    d->fds = f;
    return f;
}

static inline fj_uv_fd **fj_uv_find(fj_uv_driver *d, int fd)
{
    fj_uv_fd **at = &d->fds;

    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    return at;
}

static inline void fj_uv_del(void *user, int fd, int event)
{
    fj_uv_fd **at = fj_uv_find((fj_uv_driver *)user, fd);
    fj_uv_fd *f = *at;

    if (f == NULL)
        return;
    f->events &= ~event;
    if (f->events != 0) {
        (void)uv_poll_start(&f->poll, f->events, fj_uv_on_ready);
        return;
    }
    *at = f->next;
    uv_close((uv_handle_t *)&f->poll, fj_uv_free_fd);
}

static inline bool fj_uv_add(void *user, int fd, int event)
{
    fj_uv_driver *d = (fj_uv_driver *)user;
    fj_uv_fd *f = *fj_uv_find(d, fd);

    if (f == NULL)
        f = fj_uv_fd_new(d, fd);
    if (f == NULL)
        return false;
    f->events |= event;
    if (uv_poll_start(&f->poll, f->events, fj_uv_on_ready) == 0)
        return true;
    fj_uv_del(d, fd, event);
    return false;
}

static inline bool fj_uv_add_read(void *user, int fd)
{
    return fj_uv_add(user, fd, UV_READABLE);
}

static inline void fj_uv_del_read(void *user, int fd)
{
    fj_uv_del(user, fd, UV_READABLE);
}

static inline bool fj_uv_add_write(void *user, int fd)
{
    return fj_uv_add(user, fd, UV_WRITABLE);
}

static inline void fj_uv_del_write(void *user, int fd)
{
    fj_uv_del(user, fd, UV_WRITABLE);
}

static inline void fj_uv_on_timeout(uv_timer_t *timer)
{
    fj_loop_timeout(((fj_uv_driver *)timer->data)->loop);
}

static inline void fj_uv_timer(void *user, fj_deadline at)
{
    fj_uv_timer_set(&((fj_uv_driver *)user)->timer, fj_uv_on_timeout, at);
}

static inline void fj_uv_cleanup(void *user)
{
    uv_close((uv_handle_t *)&((fj_uv_driver *)user)->timer, fj_uv_free_driver);
}

/** A loop whose every descriptor @p uv watches.  End with fj_loop_free().
 *  @param ret gives   @errors those of fj_loop_new_hosted() */
static inline fj_code fj_uv_loop_new(uv_loop_t *uv, fj_loop **ret, fj_error **err)
{
    static const fj_host_ops ops = { sizeof(fj_host_ops), fj_uv_add_read, fj_uv_del_read, fj_uv_add_write,
                                     fj_uv_del_write,     fj_uv_timer,    fj_uv_cleanup };
    fj_uv_driver *d = (fj_uv_driver *)calloc(1, sizeof *d);

    if (d == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a loop");
    d->uv = uv;
    (void)uv_timer_init(uv, &d->timer);
    d->timer.data = d;
    fj_code code = fj_loop_new_hosted(&ops, d, ret, err);
    if (code == FJ_OK)
        d->loop = *ret;
    else
        fj_uv_cleanup(d);
    return code;
}

FJ_END_DECLS
#endif
