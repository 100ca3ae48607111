/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge between green tasks and coroutines.  Both are the same tasks, with the hooks on or off while they run, and what
 * they wait for is the same, so that nothing is carried over here: a green task awaits as any other does.  What is here keeps
 * the two apart where they must be: an explicit task is suspended only where its code says so.
 */
#include "runtime/task_impl.h"

#include <fjord/green.h>
#include <string.h>

static fj_code check_here(fj_error **err)
{
    const fj_task *task = fj_task_current();

    if (task == NULL && fj_loop_running() != NULL)
        return fj_fail(err, FJ_WRONG_CONTEXT, "the loop itself cannot await: only a green task can");
    if (task == NULL)
        return fj_fail(err, FJ_WRONG_CONTEXT, "no task runs on this thread: only a green task can await");
    if (!task->green)
        return fj_fail(err, FJ_WRONG_CONTEXT,
                       "task \"%s\" is not green: fj_green_await() would suspend it where nobody sees it; "
                       "explicit code calls fj_await()",
                       task->name);
    return FJ_OK;
}

static fj_code other_loop(const char *what, fj_error **err)
{
    return fj_fail(err, FJ_WRONG_CONTEXT, "%s is another loop's: task \"%s\" awaits what is on its own", what,
                   fj_task_name(fj_task_current()));
}

static fj_code check_awaited(fj_future *f, fj_error **err)
{
    const fj_task *awaited = fj__task_of(f);

    return awaited != NULL && awaited->loop != fj_task_current()->loop ? other_loop("the awaited task", err)
                                                                       : FJ_OK;
}

fj_code fj_green_await(fj_future *f, fj_deadline by, json_t **ret, fj_error **err)
{
    fj_code code = check_here(err);

    if (code == FJ_OK)
        code = check_awaited(f, err);
    return code == FJ_OK ? fj_await(f, by, ret, err) : code;
}

fj_code fj_green_await_coro(fj_coro *coro, fj_deadline by, json_t **ret, fj_error **err)
{
    const fj_loop *home = fj__coro_loop(coro);
    fj_code code = check_here(err);

    if (code == FJ_OK && home != NULL && home != fj_task_current()->loop)
        code = other_loop("the coroutine", err);
    if (code == FJ_OK)
        return fj_await_coro(coro, by, ret, err);
    (void)fj_coro_free(coro);
    return code;
}

fj_future *fj_wrap_green(fj_task *task)
{
    return fj_future_ref(&task->future);
}

fj_code fj_wrap_green_fn(fj_green_fn fn, void *user, const fj_task_opts *opts, fj_future **ret, fj_error **err)
{
    fj_task_opts mine = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    if (opts != NULL)
        memcpy(&mine, opts, opts->size < sizeof mine ? opts->size : sizeof mine);
    mine.size = sizeof mine;
    mine.green = true;
    fj_code code = fj_task_spawn(fn, user, &mine, &task, err);
    if (code == FJ_OK)
        *ret = &task->future; /* and the reference with it */
    return code;
}
