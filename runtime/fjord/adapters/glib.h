/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_ADAPTERS_GLIB_H
#define FJORD_ADAPTERS_GLIB_H
/*
 * A loop in GLib's main context (2.36 or newer), either way; docs/hosts.md.  All here is called on the thread that runs the context.
 * As GLib itself does, this ends the program when memory runs out.
 */
#include <fjord/host.h>
#include <glib.h>

FJ_BEGIN_DECLS

/* ---- the context watches the loop ---- */

typedef struct {
    GSource source;
    fj_loop *loop;
    gpointer tag;
} fj_glib_watcher;

static inline gboolean fj_glib_prepare(GSource *source, gint *timeout)
{
    fj_deadline due = fj_loop_due(((fj_glib_watcher *)source)->loop);

    *timeout = fj_left_ms(due);
    return fj_passed(due);
}

static inline gboolean fj_glib_check(GSource *source)
{
    fj_glib_watcher *w = (fj_glib_watcher *)source;

    return g_source_query_unix_fd(source, w->tag) != 0 || fj_passed(fj_loop_due(w->loop));
}

static inline gboolean fj_glib_dispatch(GSource *source, GSourceFunc fn, gpointer user)
{
    (void)fn, (void)user;
    fj_loop_dispatch(((fj_glib_watcher *)source)->loop);
    return G_SOURCE_CONTINUE;
}

/** Have @p context (NULL: the default one) run @p loop (lends, until detached).  @return gives, or NULL without a descriptor */
static inline GSource *fj_glib_attach(fj_loop *loop, GMainContext *context)
{
    static GSourceFuncs funcs = { fj_glib_prepare, fj_glib_check, fj_glib_dispatch, NULL, NULL, NULL };
    int fd = fj_loop_fd(loop);

    if (fd < 0)
        return NULL;
    GSource *source = g_source_new(&funcs, sizeof(fj_glib_watcher));
    fj_glib_watcher *w = (fj_glib_watcher *)source;
    w->loop = loop;
    w->tag = g_source_add_unix_fd(source, fd, G_IO_IN);
    g_source_set_name(source, "fjord");
    (void)g_source_attach(source, context);
    return source;
}

/** Legal in the loop's own call-backs.  @param source takes; accepts NULL */
static inline void fj_glib_detach(GSource *source)
{
    if (source == NULL)
        return;
    g_source_destroy(source);
    g_source_unref(source);
}

/* ---- the context drives the loop ---- */

typedef struct {
    int fd;
    guint events;
    gpointer tag;
} fj_glib_fd;

typedef struct {
    GSource source;
    fj_loop *loop;
    GArray *fds; /* of fj_glib_fd */
} fj_glib_driver;

static inline guint fj_glib_find(const fj_glib_driver *d, int fd)
{
    guint i = 0;

    while (i < d->fds->len && g_array_index(d->fds, fj_glib_fd, i).fd != fd)
        i++;
    return i;
}

static inline bool fj_glib_add(void *user, int fd, guint event)
{
    fj_glib_driver *d = (fj_glib_driver *)user;
    guint i = fj_glib_find(d, fd);

    if (i == d->fds->len) {
        fj_glib_fd made = { fd, event, NULL };
        made.tag = g_source_add_unix_fd(&d->source, fd, (GIOCondition)event);
        g_array_append_val(d->fds, made);
        return true;
    }
    fj_glib_fd *there = &g_array_index(d->fds, fj_glib_fd, i);
    there->events |= event;
    g_source_modify_unix_fd(&d->source, there->tag, (GIOCondition)there->events);
    return true;
}

static inline void fj_glib_del(void *user, int fd, guint event)
{
    fj_glib_driver *d = (fj_glib_driver *)user;
    guint i = fj_glib_find(d, fd);

    if (i == d->fds->len)
        return;
    fj_glib_fd *there = &g_array_index(d->fds, fj_glib_fd, i);
    there->events &= ~event;
    if (there->events != 0) {
        g_source_modify_unix_fd(&d->source, there->tag, (GIOCondition)there->events);
        return;
    }
    g_source_remove_unix_fd(&d->source, there->tag);
    g_array_remove_index_fast(d->fds, i);
}

static inline bool fj_glib_add_read(void *user, int fd)
{
    return fj_glib_add(user, fd, G_IO_IN);
}

static inline void fj_glib_del_read(void *user, int fd)
{
    fj_glib_del(user, fd, G_IO_IN);
}

static inline bool fj_glib_add_write(void *user, int fd)
{
    return fj_glib_add(user, fd, G_IO_OUT);
}

static inline void fj_glib_del_write(void *user, int fd)
{
    fj_glib_del(user, fd, G_IO_OUT);
}

/* GLib's monotonic time is Fjord's, in microseconds. */
static inline void fj_glib_timer(void *user, fj_deadline at)
{
    g_source_set_ready_time(&((fj_glib_driver *)user)->source,
                            fj_is_never(at) ? -1 : at.ns / 1000 + (at.ns % 1000 != 0));
}

static inline void fj_glib_cleanup(void *user)
{
    fj_glib_driver *d = (fj_glib_driver *)user;

    g_array_free(d->fds, TRUE);
    g_source_destroy(&d->source);
    g_source_unref(&d->source);
}

/* What is ready is asked first: the loop's functions add and remove descriptors. */
static inline gboolean fj_glib_drive(GSource *source, GSourceFunc fn, gpointer user)
{
    fj_glib_driver *d = (fj_glib_driver *)source;
    fj_loop *loop = d->loop;
    gint64 at = g_source_get_ready_time(source);
    bool due = at >= 0 && at <= g_source_get_time(source);
    guint n = d->fds->len;
    fj_glib_fd *ready = g_new(fj_glib_fd, n + 1);

    (void)fn, (void)user;
    for (guint i = 0; i < n; i++) {
        ready[i] = g_array_index(d->fds, fj_glib_fd, i);
        ready[i].events = (guint)g_source_query_unix_fd(source, ready[i].tag);
    }
    for (guint i = 0; i < n; i++) {
        if (ready[i].events & ~(guint)G_IO_OUT)
            fj_loop_readable(loop, ready[i].fd);
        if (ready[i].events & ~(guint)G_IO_IN)
            fj_loop_writable(loop, ready[i].fd);
    }
    g_free(ready);
    if (due) {
        g_source_set_ready_time(source, -1);
        fj_loop_timeout(loop);
    }
    return G_SOURCE_CONTINUE;
}

/** A loop whose every descriptor @p context (NULL: the default one) watches.  End with fj_loop_free().
 *  @param ret gives   @errors those of fj_loop_new_hosted() */
static inline fj_code fj_glib_loop_new(GMainContext *context, fj_loop **ret, fj_error **err)
{
    static const fj_host_ops ops = { sizeof(fj_host_ops), fj_glib_add_read, fj_glib_del_read, fj_glib_add_write,
                                     fj_glib_del_write,   fj_glib_timer,    fj_glib_cleanup };
    static GSourceFuncs funcs = { NULL, NULL, fj_glib_drive, NULL, NULL, NULL };
    GSource *source = g_source_new(&funcs, sizeof(fj_glib_driver));
    fj_glib_driver *d = (fj_glib_driver *)source;

    d->fds = g_array_new(FALSE, FALSE, sizeof(fj_glib_fd));
    g_source_set_name(source, "fjord");
    fj_code code = fj_loop_new_hosted(&ops, d, ret, err);
    if (code != FJ_OK) {
        fj_glib_cleanup(d);
        return code;
    }
    d->loop = *ret;
    (void)g_source_attach(source, context);
    return FJ_OK;
}

FJ_END_DECLS
#endif
