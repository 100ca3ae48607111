/* SPDX-License-Identifier: Apache-2.0 */
#include "watched.h"

#include "base/alloc.h"
#include "runtime/task.h"

struct fj__watched {
    fj_listener base; /* first */
    fj_listener *under;
    fj_source source;
    fj_loop *loop;
    fj_task *hungry; /* the task that waits in poll, or NULL */
};

static fj__watched *of(fj_listener *l)
{
    return fj__container(l, fj__watched, base);
}

/* ---- the source --------------------------------------------------------------------------------- */

/* The listener's own descriptor tells that messages wait: that is news only to one who would take them. */
static void watch(fj_source *source, fj_watch *ret)
{
    fj__watched *w = fj__container(source, fj__watched, source);
    int ready = w->under->ops->fd(w->under);
    unsigned kept = 0;

    w->under->ops->watch(w->under, ret);
    for (unsigned i = 0; i < ret->n; i++) {
        if (ret->fds[i].fd != ready)
            ret->fds[kept++] = ret->fds[i];
    }
    ret->n = kept;
    if (w->hungry != NULL && ret->n < FJ_WATCH_MAX) {
        ret->fds[ret->n].fd = ready;
        ret->fds[ret->n].opened = 0;
        ret->fds[ret->n].read = true;
        ret->fds[ret->n++].write = false;
    }
}

static void pump(fj_source *source, const fj_watch *ready, fj_deadline now)
{
    fj__watched *w = fj__container(source, fj__watched, source);

    (void)ready;
    w->under->ops->pump(w->under, now);
    if (w->hungry != NULL)
        fj__task_wake(w->hungry);
}

/* ---- the listener ------------------------------------------------------------------------------- */

static fj_code poll_(fj_listener *l, fj_deadline by, size_t max, fj_incoming **ret, size_t *ret_n,
                     fj_error **err)
{
    const fj_deadline passed = { .ns = 1 };
    fj__watched *w = of(l);

    for (;;) {
        fj_code code = w->under->ops->poll(w->under, passed, max, ret, ret_n, NULL);
        if (code != FJ_TIMEOUT)
            return code == FJ_OK || code == FJ_AGAIN ? code : fj_fail(err, code, "%s", fj_code_text(code));
        w->hungry = fj_task_current();
        code = fj__task_park("a message", by);
        w->hungry = NULL;
        if (code != FJ_OK)
            return fj_fail(err, code, "%s", fj_code_text(code));
    }
}

static void watch_under(fj_listener *l, fj_watch *ret)
{
    of(l)->under->ops->watch(of(l)->under, ret);
}

static void pump_under(fj_listener *l, fj_deadline now)
{
    of(l)->under->ops->pump(of(l)->under, now);
}

static int fd(fj_listener *l)
{
    return of(l)->under->ops->fd(of(l)->under);
}

static fj_code ack(fj_listener *l, fj_incoming **in, size_t n, fj_deadline by, fj_error **err)
{
    return of(l)->under->ops->ack(of(l)->under, in, n, by, err);
}

static void interrupt(fj_listener *l)
{
    of(l)->under->ops->interrupt(of(l)->under);
}

static void close_(fj_listener *l)
{
    of(l)->under->ops->close(of(l)->under);
}

static fj_code stop(fj_listener *l, fj_deadline by, fj_error **err)
{
    return of(l)->under->ops->stop(of(l)->under, by, err);
}

static void free_(fj_listener *l)
{
    (void)l; /* what is under it is its maker's */
}

static const fj_listener_ops ops = { .abi = FJ_DRIVER_ABI,
                                     .poll = poll_,
                                     .watch = watch_under,
                                     .pump = pump_under,
                                     .fd = fd,
                                     .ack = ack,
                                     .interrupt = interrupt,
                                     .close = close_,
                                     .stop = stop,
                                     .free = free_ };

/* ---- life --------------------------------------------------------------------------------------- */

fj_code fj__watched_new(fj_loop *loop, fj_listener *under, fj__watched **ret, fj_error **err)
{
    fj__watched *w = fj__zalloc(sizeof *w);

    if (w == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to watch a listener");
    w->base.ops = &ops;
    w->base.parks = true;
    w->under = under;
    w->source.watch = watch;
    w->source.pump = pump;
    w->loop = loop;
    fj_code code = fj_loop_attach(loop, &w->source, err);
    if (code != FJ_OK) {
        fj__free(w);
        return code;
    }
    *ret = w;
    return FJ_OK;
}

fj_listener *fj__watched_listener(fj__watched *w)
{
    return &w->base;
}

void fj__watched_free(fj__watched *w)
{
    if (w == NULL)
        return;
    if (w->source.attached != NULL)
        fj_loop_detach(w->loop, &w->source);
    fj__free(w);
}
