/* SPDX-License-Identifier: Apache-2.0 */
#include "lifecycle.h"

#include "base/log.h"

#include <fjord/loop.h>

enum { HANG_MS = 30000 };

static const char *const names[] = { "not started", "starting", "running", "stopping",
                                     "stopped",     "draining", "drained" };

void fj__life_init(fj__life *l, const fj__life_ops *ops, void *user, const char *name)
{
    atomic_init(&l->state, FJ__LIFE_INIT);
    atomic_init(&l->stop_early, false);
    atomic_init(&l->changed.count, 0);
    atomic_init(&l->changed.waiting, 0);
    l->ops = ops;
    l->user = user;
    l->name = name;
}

fj__life_state fj__life_now(fj__life *l)
{
    return (fj__life_state)atomic_load(&l->state);
}

static void enter(fj__life *l, fj__life_state state)
{
    atomic_store(&l->state, (int)state);
    fj__eventcount_raise(&l->changed);
}

/* From one state to another; only one thread succeeds. */
static bool advance(fj__life *l, fj__life_state from, fj__life_state to)
{
    int expected = (int)from;

    if (!atomic_compare_exchange_strong(&l->state, &expected, (int)to))
        return false;
    fj__eventcount_raise(&l->changed);
    return true;
}

/* Wait while another thread is in the middle of `state`.  @return false when `by` came first */
static bool wait_while(fj__life *l, fj__life_state state, fj_deadline by, const char *who)
{
    fj_deadline hang = fj_in_ms(HANG_MS);

    for (;;) {
        unsigned seen = fj__eventcount_read(&l->changed);
        if (fj__life_now(l) != state)
            return true;
        if (fj__eventcount_wait(&l->changed, seen, fj_sooner(by, hang)))
            continue;
        if (fj_passed(by))
            return false;
        fj__log(FJ_LOG_WARNING, "executor", "possible hang: %s of %s has waited %d s while it is %s", who,
                l->name, HANG_MS / 1000, names[state]);
        hang = fj_never();
    }
}

static fj_code bad_state(fj__life *l, const char *what, fj_error **err)
{
    return fj_fail(err, FJ_STATE, "%s cannot be %s: it is %s", l->name, what, names[fj__life_now(l)]);
}

fj_code fj__life_start(fj__life *l, fj_error **err)
{
    while (!advance(l, FJ__LIFE_INIT, FJ__LIFE_STARTING)) {
        if (fj__life_now(l) == FJ__LIFE_INIT)
            continue;
        if (fj__life_now(l) != FJ__LIFE_STARTING || fj_loop_running() != NULL) /* a wait would stop the loop */
            return bad_state(l, "started", err);
        (void)wait_while(l, FJ__LIFE_STARTING, fj_never(), "a start");
    }
    fj_code code = l->ops->start(l->user, err);
    if (code != FJ_OK) {
        atomic_store(&l->stop_early, false);
        enter(l, FJ__LIFE_INIT);
        return code;
    }
    enter(l, FJ__LIFE_RUNNING);
    if (atomic_exchange(&l->stop_early, false))
        fj__life_stop(l);
    return FJ_OK;
}

void fj__life_stop(fj__life *l)
{
    if (fj__life_now(l) == FJ__LIFE_STARTING)
        atomic_store(&l->stop_early, true); /* and if it has just become running, what follows stops it */
    if (!advance(l, FJ__LIFE_RUNNING, FJ__LIFE_STOPPING))
        return;
    l->ops->stop(l->user);
    enter(l, FJ__LIFE_STOPPED);
}

fj_code fj__life_wait(fj__life *l, fj_deadline by, fj_error **err)
{
    if (l->ops->inside != NULL && l->ops->inside(l->user))
        return fj_fail(err, FJ_STATE, "%s cannot be waited for from within one of its methods", l->name);
    while (!advance(l, FJ__LIFE_STOPPED, FJ__LIFE_DRAINING)) {
        fj__life_state now = fj__life_now(l);
        if (now == FJ__LIFE_DRAINED)
            return FJ_OK;
        if (now == FJ__LIFE_STOPPED)
            continue;
        if (now != FJ__LIFE_STOPPING && now != FJ__LIFE_DRAINING)
            return bad_state(l, "waited for", err);
        if (!wait_while(l, now, by, "a wait"))
            return fj_fail(err, FJ_TIMEOUT, "%s is still %s", l->name, names[now]);
    }
    fj_code code = l->ops->wait(l->user, by, err);
    enter(l, code == FJ_OK ? FJ__LIFE_DRAINED : FJ__LIFE_STOPPED);
    return code;
}

fj_code fj__life_reset(fj__life *l, fj_error **err)
{
    if (advance(l, FJ__LIFE_DRAINED, FJ__LIFE_INIT) || fj__life_now(l) == FJ__LIFE_INIT) {
        atomic_store(&l->stop_early, false);
        return FJ_OK;
    }
    return bad_state(l, "reset", err);
}

bool fj__life_await_stop(fj__life *l, fj_deadline by)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&l->changed);
        fj__life_state now = fj__life_now(l);
        if (now == FJ__LIFE_INIT || now >= FJ__LIFE_STOPPED)
            return true;
        if (!fj__eventcount_wait(&l->changed, seen, by))
            return false;
    }
}
