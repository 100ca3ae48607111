/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coroutine executor: each method runs in a task of its own, and only awaits suspend it.  A call that blocks
 * really blocks the loop; debug mode says which.
 */
#include "coroutine.h"

#include "executors/tasks.h"
#include "runtime/stack.h"

static void shape(fj_flavour flavour, fj_task_opts *opts)
{
    opts->green = flavour == FJ_GREEN;
    opts->stack = flavour == FJ_CORO ? FJ__STACK_CORO : FJ__STACK_DEFAULT;
}

static fj_code create(const fj_conf *conf, const fj_executor_opts *opts, fj_executor **ret, fj_error **err)
{
    return fj__tasks_create(&fj__executor_coroutine, shape, conf, opts, ret, err);
}

static const char *const aliases[] = { "trollius", "asyncio", NULL };

const fj_executor_ops fj__executor_coroutine = {
    FJ__TASKS_OPS,      .name = "coroutine",
    .aliases = aliases, .caps = FJ_EXECUTOR_STEPS | FJ_EXECUTOR_LOOP | FJ_EXECUTOR_CORO,
    .create = create,
};
