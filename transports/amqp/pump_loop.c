/* SPDX-License-Identifier: Apache-2.0 */
/* A domain as a source on a loop, and who frees it. */
#include "transports/amqp/pump.h"

#include "base/alloc.h"
#include "runtime/loop.h"
#include "runtime/sync.h"

bool fj__pump_by_loop(const fj__domain *d)
{
    return d->loop != NULL && (!fj__loop_here(d->loop) || fj_loop_is_running(d->loop));
}

/* The loop holds it no longer.  On the loop's thread. */
static void leave_loop(fj__domain *d)
{
    fj_loop *loop = d->loop;

    fj_loop_detach(loop, &d->source);
    fj__domain_lock(d);
    d->loop = NULL;
    d->leaving = true;
    bool orphan = d->orphan;
    if (!orphan)
        fj__domain_touch(d, NULL, false); /* the keeper sees to the rest */
    fj__domain_unlock(d);
    if (orphan)
        fj__domain_free(d);
}

/* In a forked child it is the parent's: its lock may be held there, its keeper is not here, and its sockets are shared. */
static void loop_ends(void *value)
{
    fj__domain *d = value;

    if (d->generation == fj__fork_generation())
        leave_loop(d);
}

static void flush_link(fj__link *l)
{
    if (l->state == FJ__LINK_OPEN && !l->wants_write && fj__buf_len(fj__engine_output(l->engine)) != 0)
        fj__link_flush(l, fj_now());
}

/* What is published in one turn leaves in one write. */
static void flush(fj_source *source)
{
    fj__domain *d = fj__container(source, fj__domain, source);

    fj__domain_lock(d);
    if (!d->orphan) {
        flush_link(&d->consuming);
        flush_link(&d->publishing);
    }
    fj__domain_unlock(d);
}

static void watch(fj_source *source, fj_watch *ret)
{
    fj__domain *d = fj__container(source, fj__domain, source);

    fj__domain_lock(d);
    if (d->orphan) { /* to be freed at once; its settings went with the driver */
        *ret = (fj_watch){ .by = { 0 } };
    } else {
        fj__domain_watch(d, ret);
        d->sleep_until = ret->by.ns;
        d->sleeping = true;
        fj__pump_supervise(d);
    }
    fj__domain_unlock(d);
}

static void pump(fj_source *source, const fj_watch *ready, fj_deadline now)
{
    fj__domain *d = fj__container(source, fj__domain, source);

    fj__domain_lock(d);
    d->sleeping = false;
    bool orphan = d->orphan;
    if (!orphan) {
        fj__domain_turn(d, ready, now);
        fj__pump_nudge(d); /* what they wait for may have become true */
    }
    fj__domain_unlock(d);
    if (!orphan)
        return;
    fj__loop_unkeep(d->loop, d->key);
    leave_loop(d);
}

bool fj__pump_take_over(fj__domain *d, fj_loop *loop)
{
    fj__domain_lock(d);
    bool good = d->leaving && !d->led && d->waiters == NULL && fj__domain_idle(d) && fj__domain_reopen(d);
    if (good) {
        d->leaving = false;
        d->loop = loop; /* the keeper leads it no longer */
    }
    fj__domain_unlock(d);
    return good;
}

static fj_code attach(fj__domain *d, fj_loop *loop, const void *key, fj_error **err)
{
    d->source = (fj_source){ .watch = watch, .pump = pump, .flush = flush };
    fj_code code = fj_loop_attach(loop, &d->source, err);
    if (code != FJ_OK)
        return code;
    code = fj__loop_keep(loop, key, d, loop_ends);
    if (code == FJ_OK)
        return code;
    fj_loop_detach(loop, &d->source);
    return fj_fail(err, code, "no memory for a loop's connections");
}

fj_code fj__pump_on_loop(fj__domain *d, fj_loop *loop, const void *key, fj_error **err)
{
    fj_code code = attach(d, loop, key, err);

    fj__domain_lock(d);
    d->key = key;
    d->leaving = code != FJ_OK;
    d->loop = code == FJ_OK ? loop : NULL;
    if (code != FJ_OK)
        fj__domain_touch(d, NULL, false);
    fj__domain_unlock(d);
    return code;
}

void fj__pump_let_go(fj__domain *d)
{
    fj__domain_lock(d);
    fj_loop *loop = d->loop;
    bool here = loop == NULL || fj__loop_here(loop);
    d->orphan = true;
    if (!here) {
        fj__link_drop(&d->consuming);
        fj__link_drop(&d->publishing);
        fj__pump_retire(d); /* the settings go with the driver */
        fj__pump_wake(d);
    }
    fj__domain_unlock(d);
    if (!here)
        return;
    if (loop != NULL) {
        fj__loop_unkeep(loop, d->key);
        leave_loop(d);
    } else {
        fj__domain_free(d);
    }
}
