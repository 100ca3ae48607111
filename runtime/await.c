/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a future in a task.  A task that is cut short in it passes that on to the future, and waits until it has ended, so
 * that nothing it began goes on behind its back; asked again meanwhile, it no longer waits.
 */
#include "runtime/task_impl.h"

static fj_code wrong_place(fj_error **err)
{
    return fj_fail(err, FJ_WRONG_CONTEXT, "only a task can await");
}

static fj_code check(fj_future *f, fj_error **err)
{
    fj_task *task = fj_task_current();

    if (task == NULL)
        return wrong_place(err);
    if (f == &task->future)
        return fj_fail(err, FJ_STATE, "task \"%s\" awaits itself", task->name);
    return FJ_OK;
}

/* Its own word stays for the next wait, whatever ends this one. */
static void let_end(fj_future *f, fj_deadline by)
{
    const fj_task *task = fj_task_current();
    fj_code code = FJ_OK;

    fj_shield_begin();
    while (code == FJ_OK && !fj_future_done(f) && !fj__task_asked(task))
        code = fj__future_pause(f, by, "cancelled future");
    fj_shield_end();
}

/* @param code CANCELLED, or the TIMEOUT of an enclosing timeout: it has been told and is the answer */
static fj_code cut_short(fj_future *f, fj_deadline by, fj_code code, fj_error **err)
{
    (void)fj_future_cancel(f);
    let_end(f, by);
    return fj_fail(err, code,
                   code == FJ_CANCELLED ? "the task was cancelled while it awaited a future"
                                        : "an enclosing timeout ran out while the task awaited a future");
}

/* @return OK when it is done; else what is to be answered.  @param own is told that the wait's own deadline passed */
static fj_code await_done(fj_future *f, fj_deadline by, bool *own, fj_error **err)
{
    fj_code code = fj__future_until(f, by, "future");

    *own = code == FJ_TIMEOUT && !fj__task_outer();
    if (code == FJ_OK || *own)
        return code;
    if (code == FJ_CANCELLED || code == FJ_TIMEOUT)
        return cut_short(f, by, code, err);
    return fj_fail(err, code, "%s", fj_code_text(code));
}

fj_code fj_await(fj_future *f, fj_deadline by, json_t **ret, fj_error **err)
{
    bool own;
    fj_code code = check(f, err);

    if (code == FJ_OK)
        code = await_done(f, by, &own, err);
    else
        return code;
    if (own)
        return fj_fail(err, FJ_TIMEOUT, "the deadline passed before the future was complete");
    return code == FJ_OK ? fj_future_result(f, ret, err) : code;
}

fj_code fj_wait_for(fj_future *f, fj_deadline by, json_t **ret, fj_error **err)
{
    bool own;
    fj_code code = check(f, err);

    if (code != FJ_OK)
        return code;
    code = await_done(f, by, &own, err);
    if (code == FJ_OK)
        return fj_future_result(f, ret, err);
    if (!own)
        return code;
    (void)fj_future_cancel(f);
    code = await_done(f, fj_never(), &own, err);
    if (code != FJ_OK)
        return code;
    /* What it says is its answer, unless that it was cancelled, which was us. */
    code = fj_future_result(f, ret, err);
    return code != FJ_CANCELLED ? code : fj_fail(err, FJ_TIMEOUT, "cancelled when the deadline passed");
}

fj_code fj_await_coro(fj_coro *coro, fj_deadline by, json_t **ret, fj_error **err)
{
    fj_task *task = NULL;

    if (fj_task_current() == NULL) {
        (void)fj_coro_free(coro);
        return wrong_place(err);
    }
    fj_code code = fj_coro_start(coro, &task, err);
    if (code != FJ_OK)
        return code;
    code = fj_wait_for(&task->future, by, ret, err);
    (void)fj_task_unref(task);
    return code;
}

/* As asyncio's, a sleep that is over before it begins still lets the others run. */
fj_code fj_sleep(fj_deadline until)
{
    fj__waiter w;
    fj_code code = fj__waiter_init(&w, "sleep");

    if (code != FJ_OK)
        return code;
    unsigned turns = w.task != NULL ? w.task->turns : 0;
    code = fj__waiter_wait(&w, until);
    if (code != FJ_TIMEOUT || w.task == NULL)
        return code == FJ_TIMEOUT ? FJ_OK : code;
    if (fj__task_outer())
        return FJ_TIMEOUT;
    return w.task->turns != turns ? FJ_OK : fj__task_yield();
}

fj_code fj_yield(void)
{
    return fj_task_current() != NULL ? fj__task_yield() : FJ_WRONG_CONTEXT;
}
