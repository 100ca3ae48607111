/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The green executor: each method runs in a task of its own, in which blocking calls of libc switch by themselves, so that it may
 * call libraries that know nothing of loops.  Explicit methods have that off: only their awaits suspend them.
 */
#include "green.h"

#include "executors/patch.h"
#include "executors/tasks.h"
#include "runtime/stack.h"

void fj__green_shape(fj_flavour flavour, fj_task_opts *opts)
{
    opts->green = flavour != FJ_CORO;
    opts->stack = flavour == FJ_CORO ? FJ__STACK_CORO : FJ__STACK_DEFAULT;
}

static fj_code create(const fj_conf *conf, const fj_executor_opts *opts, fj_executor **ret, fj_error **err)
{
    fj_code code = fj__patch(conf, true, err);

    return code == FJ_OK ? fj__tasks_create(&fj__executor_green, fj__green_shape, conf, opts, ret, err) : code;
}

static const char *const aliases[] = { "eventlet", NULL };

const fj_executor_ops fj__executor_green = {
    FJ__TASKS_OPS,      .name = "green",
    .aliases = aliases, .caps = FJ_EXECUTOR_STEPS | FJ_EXECUTOR_LOOP | FJ_EXECUTOR_GREEN | FJ_EXECUTOR_CORO,
    .create = create,
};
