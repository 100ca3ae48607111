/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_ADAPTERS_SD_EVENT_H
#define FJORD_ADAPTERS_SD_EVENT_H
/* A loop in an sd_event (libsystemd 243 or newer), either way; docs/hosts.md.  All here is called on the thread that runs the sd_event. */
#include <fjord/host.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

FJ_BEGIN_DECLS

/* Both count CLOCK_MONOTONIC, sd-event in microseconds.  It may be late by as much as it was told at the making. */
enum { FJ_SD_ACCURACY_USEC = 1 };

static inline void fj_sd_timer_set(sd_event_source *time, fj_deadline at)
{
    if (!fj_is_never(at))
        (void)sd_event_source_set_time(time, (uint64_t)(at.ns / 1000 + (at.ns % 1000 != 0)));
    (void)sd_event_source_set_enabled(time, fj_is_never(at) ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

/* ---- sd-event watches the loop ---- */

typedef struct {
    fj_loop *loop;
    sd_event_source *io, *time;
    fj_deadline at; /* what `time` is set to */
} fj_sd_watcher;

static inline int fj_sd_on_io(sd_event_source *source, int fd, uint32_t events, void *user)
{
    (void)source, (void)fd, (void)events;
    fj_loop_dispatch(((fj_sd_watcher *)user)->loop);
    return 0;
}

static inline int fj_sd_on_time(sd_event_source *source, uint64_t usec, void *user)
{
    fj_sd_watcher *w = (fj_sd_watcher *)user;

    (void)source, (void)usec;
    w->at = fj_never();
    fj_loop_dispatch(w->loop);
    return 0;
}

static inline int fj_sd_prepare(sd_event_source *source, void *user)
{
    fj_sd_watcher *w = (fj_sd_watcher *)user;
    fj_deadline due = fj_loop_due(w->loop);

    (void)source;
    if (due.ns == w->at.ns)
        return 0;
    w->at = due;
    fj_sd_timer_set(w->time, due);
    return 0;
}

/** Legal in the loop's own call-backs.  @param w takes; accepts NULL */
static inline void fj_sd_detach(fj_sd_watcher *w)
{
    if (w == NULL)
        return;
    sd_event_source_disable_unref(w->io);
    sd_event_source_disable_unref(w->time);
    free(w);
}

/** Have @p event run @p loop (lends, until detached).  @return gives, or NULL without memory or a descriptor */
static inline fj_sd_watcher *fj_sd_attach(fj_loop *loop, sd_event *event)
{
    fj_sd_watcher *w = (fj_sd_watcher *)calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->loop = loop;
    w->at = fj_never();
    if (sd_event_add_io(event, &w->io, fj_loop_fd(loop), EPOLLIN, fj_sd_on_io, w) >= 0 &&
        sd_event_add_time(event, &w->time, CLOCK_MONOTONIC, 0, FJ_SD_ACCURACY_USEC, fj_sd_on_time, w) >= 0 &&
        sd_event_source_set_enabled(w->time, SD_EVENT_OFF) >= 0 &&
        sd_event_source_set_prepare(w->io, fj_sd_prepare) >= 0)
        return w;
    fj_sd_detach(w);
    return NULL;
}

/* ---- sd-event drives the loop ---- */

typedef struct fj_sd_fd fj_sd_fd;
typedef struct {
    fj_loop *loop;
    sd_event *event;
    sd_event_source *time;
    fj_sd_fd *fds;
} fj_sd_driver;

struct fj_sd_fd {
    fj_sd_fd *next;
    sd_event_source *source;
    int fd;
    uint32_t events;
};

/* It may be gone when the first of these returns, and its number with it: the loop looks for itself. */
static inline int fj_sd_on_ready(sd_event_source *source, int fd, uint32_t events, void *user)
{
    fj_loop *loop = ((fj_sd_driver *)user)->loop;

    (void)source;
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        fj_loop_readable(loop, fd);
    if ((events & ~(uint32_t)EPOLLIN) != 0)
        fj_loop_writable(loop, fd);
    return 0;
}

static inline int fj_sd_on_timeout(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source, (void)usec;
    fj_loop_timeout(((fj_sd_driver *)user)->loop);
    return 0;
}

static inline fj_sd_fd **fj_sd_find(fj_sd_driver *d, int fd)
{
    fj_sd_fd **at = &d->fds;

    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    return at;
}

static inline bool fj_sd_add(void *user, int fd, uint32_t event)
{
    fj_sd_driver *d = (fj_sd_driver *)user;
    fj_sd_fd *f = *fj_sd_find(d, fd);

    if (f != NULL) {
        if (sd_event_source_set_io_events(f->source, f->events | event) < 0)
            return false;
        f->events |= event;
        return true;
    }
    f = (fj_sd_fd *)calloc(1, sizeof *f);
    if (f == NULL || sd_event_add_io(d->event, &f->source, fd, event, fj_sd_on_ready, d) < 0) {
        free(f);
        return false;
    }
    f->fd = fd;
    f->events = event;
    f->next = d->fds;
    d->fds = f;
    return true;
}

static inline void fj_sd_del(void *user, int fd, uint32_t event)
{
    fj_sd_fd **at = fj_sd_find((fj_sd_driver *)user, fd);
    fj_sd_fd *f = *at;

    if (f == NULL)
        return;
    f->events &= ~event;
    if (f->events != 0) {
        (void)sd_event_source_set_io_events(f->source, f->events);
        return;
    }
    *at = f->next;
    sd_event_source_disable_unref(f->source);
    free(f);
}

static inline bool fj_sd_add_read(void *user, int fd)
{
    return fj_sd_add(user, fd, EPOLLIN);
}

static inline void fj_sd_del_read(void *user, int fd)
{
    fj_sd_del(user, fd, EPOLLIN);
}

static inline bool fj_sd_add_write(void *user, int fd)
{
    return fj_sd_add(user, fd, EPOLLOUT);
}

static inline void fj_sd_del_write(void *user, int fd)
{
    fj_sd_del(user, fd, EPOLLOUT);
}

static inline void fj_sd_timer(void *user, fj_deadline at)
{
    fj_sd_timer_set(((fj_sd_driver *)user)->time, at);
}

static inline void fj_sd_cleanup(void *user)
{
    fj_sd_driver *d = (fj_sd_driver *)user;

    sd_event_source_disable_unref(d->time);
    sd_event_unref(d->event);
    free(d);
}

/** A loop whose every descriptor @p event watches.  End with fj_loop_free().
 *  @param ret gives   @errors those of fj_loop_new_hosted() */
static inline fj_code fj_sd_loop_new(sd_event *event, fj_loop **ret, fj_error **err)
{
    static const fj_host_ops ops = { sizeof(fj_host_ops), fj_sd_add_read, fj_sd_del_read, fj_sd_add_write,
                                     fj_sd_del_write,     fj_sd_timer,    fj_sd_cleanup };
    fj_sd_driver *d = (fj_sd_driver *)calloc(1, sizeof *d);
    fj_code code = FJ_SYSTEM;

    if (d == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a loop");
    d->event = sd_event_ref(event);
    if (sd_event_add_time(event, &d->time, CLOCK_MONOTONIC, 0, FJ_SD_ACCURACY_USEC, fj_sd_on_timeout, d) < 0 ||
        sd_event_source_set_enabled(d->time, SD_EVENT_OFF) < 0)
        code = fj_fail(err, FJ_SYSTEM, "sd-event gives no timer");
    else
        code = fj_loop_new_hosted(&ops, d, ret, err);
    if (code == FJ_OK)
        d->loop = *ret;
    else
        fj_sd_cleanup(d);
    return code;
}

FJ_END_DECLS
#endif
