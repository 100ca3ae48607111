/* SPDX-License-Identifier: Apache-2.0 */
/* A loop's life, and what its users keep with it.  The turn is in loop_run.c. */
#include "runtime/loop_impl.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void on_bell(struct ev_loop *ev, ev_io *io, int events)
{
    /* fj__inbox_awake() empties the eventfd. */
    (void)ev;
    (void)io;
    (void)events;
}

static void on_alarm(struct ev_loop *ev, ev_timer *alarm, int events)
{
    (void)ev;
    (void)alarm;
    (void)events;
}

/* libev only gathers; loop_run.c says when the call-backs run. */
static void hold(struct ev_loop *ev)
{
    (void)ev;
}

static fj_code set_up(fj_loop *loop, fj_error **err)
{
    if (loop->host != NULL) {
        ev_io_init(&loop->bell, on_bell, loop->inbox.fd, EV_READ);
        fj__io_start(loop, &loop->bell);
        return FJ_OK;
    }
    /* libev ends the process when memory runs out within it, and has no other way.  What it holds is small: a few words for
     * each descriptor. */
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop->ev == NULL)
        return fj_fail(err, FJ_SYSTEM, "an event loop cannot be made: %s", strerror(errno));
    ev_set_userdata(loop->ev, loop);
    ev_set_invoke_pending_cb(loop->ev, hold);
    ev_io_init(&loop->bell, on_bell, loop->inbox.fd, EV_READ);
    ev_io_start(loop->ev, &loop->bell);
    ev_timer_init(&loop->alarm, on_alarm, 0., 0.);
    return FJ_OK;
}

fj_code fj_loop_new(fj_loop **ret, fj_error **err)
{
    return fj__loop_make(NULL, ret, err);
}

fj_code fj__loop_make(struct fj__host *host, fj_loop **ret, fj_error **err)
{
    fj_loop *loop = fj__zalloc(sizeof *loop);
    fj_code code;

    if (loop == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a loop");
    loop->generation = fj__fork_generation();
    atomic_init(&loop->slow_ns, 100000000); /* asyncio's slow_callback_duration */
    loop->host = host;
    loop->host_fd = -1;
    loop->lull_ns = FJ__LOOP_LULL_NS;
    atomic_init(&loop->refs, 1);
    atomic_init(&loop->owner, fj__loop_thread());
    code = fj__inbox_init(&loop->inbox, err);
    if (code == FJ_OK)
        code = set_up(loop, err);
    if (code != FJ_OK) {
        fj__inbox_fini(&loop->inbox);
        fj__free(loop);
        return code;
    }
    const char *debug = getenv("FJORD_DEBUG");
    if (debug != NULL && strcmp(debug, "1") == 0)
        fj_loop_set_debug(loop, true);
    fj__loop_list(loop);
    *ret = loop;
    return FJ_OK;
}

/* What is kept may be asked for while it is freed, and may keep more. */
static void drop_kept(fj_loop *loop)
{
    struct fj__kept *kept;

    while ((kept = loop->kept) != NULL) {
        if (kept->freed != NULL)
            kept->freed(kept->value);
        struct fj__kept **at = &loop->kept;
        while (*at != kept)
            at = &(*at)->next;
        *at = kept->next;
        fj__free(kept);
    }
}

fj_loop *fj_loop_free(fj_loop *loop)
{
    if (loop == NULL)
        return NULL;
    if (loop->running && fj__loop_ours(loop)) {
        fj__loop_trouble(loop, "fj_loop_free() of a loop that runs: nothing is freed", NULL);
        return NULL;
    }
    if (loop->ending != NULL && fj__loop_ours(loop) && !loop->ending(loop)) {
        fj__loop_trouble(loop, "fj_loop_free() of a loop with tasks while another runs: nothing is freed",
                         NULL);
        return NULL;
    }
    fj__loop_unlist(loop);
    atomic_store(&loop->closing, true);
    drop_kept(loop);
    fj__signals_drop(loop);
    fj__children_drop(loop);
    fj__inbox_close(&loop->inbox); /* the last letters free what they carry, or are jobs now */
    fj__handles_drop(loop);
    fj__fds_drop(loop);
    fj__sources_drop(loop);
    fj_loop_set_debug(loop, false);
    fj__timers_fini(&loop->timers);
    fj__io_stop(loop, &loop->bell);
    if (loop->host != NULL)
        fj__host_drop(loop);
    else
        ev_loop_destroy(loop->ev);
    fj__loop_forget(loop);
    fj__loop_unref(loop);
    return NULL;
}

fj_loop *fj__loop_ref(fj_loop *loop)
{
    atomic_fetch_add_explicit(&loop->refs, 1, memory_order_relaxed);
    return loop;
}

void fj__loop_unref(fj_loop *loop)
{
    if (loop == NULL || atomic_fetch_sub_explicit(&loop->refs, 1, memory_order_acq_rel) != 1)
        return;
    fj__inbox_fini(&loop->inbox);
    fj__free(loop);
}

bool fj__loop_gone(const fj_loop *loop)
{
    return !fj__loop_ours(loop) || atomic_load(&loop->closing);
}

fj_code fj__loop_keep(fj_loop *loop, const void *key, void *value, void (*freed)(void *value))
{
    struct fj__kept **at = &loop->kept;

    for (; *at != NULL; at = &(*at)->next) {
        if ((*at)->key == key)
            return FJ_STATE;
    }
    struct fj__kept *kept = fj__alloc(sizeof *kept);
    if (kept == NULL)
        return FJ_NOMEM;
    *kept = (struct fj__kept){ NULL, key, value, freed };
    *at = kept;
    return FJ_OK;
}

void *fj__loop_kept(fj_loop *loop, const void *key)
{
    for (struct fj__kept *k = loop->kept; k != NULL; k = k->next) {
        if (k->key == key)
            return k->value;
    }
    return NULL;
}

void fj__loop_unkeep(fj_loop *loop, const void *key)
{
    struct fj__kept **at = &loop->kept;

    while (*at != NULL && (*at)->key != key)
        at = &(*at)->next;
    struct fj__kept *kept = *at;
    if (kept == NULL)
        return;
    *at = kept->next;
    fj__free(kept);
}

void fj__loop_set_ending(fj_loop *loop, bool (*ending)(fj_loop *loop))
{
    loop->ending = ending;
}

void fj__loop_set_label(fj_loop *loop, const char *label)
{
    atomic_store(&loop->label, label);
}

void fj__loop_set_private(fj_loop *loop, bool is)
{
    atomic_store(&loop->is_private, is);
}

void fj__loop_set_chooser(fj_loop *loop, unsigned (*choose)(void *user, unsigned n), void *user)
{
    loop->choose = choose;
    loop->choose_user = user;
}
