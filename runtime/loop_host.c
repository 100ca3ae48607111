/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop without libev: its watchers hang in lists by descriptor, of which the host is told what is to be watched.  Its word
 * that a descriptor is ready is a hint: poll(2) says what is true, for the host may have gathered it before the descriptor
 * became another's.  Without a hint, when somebody turns the loop himself, all of them are looked at.
 */
#include "runtime/loop_host.h"

#include "base/alloc.h"

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
    if (fj__host_knows(h, fd))
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
