/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridged executor: green methods and coroutines side by side on one loop.  Each runs in a task of its own, in which blocking
 * calls of libc switch unless the method is explicit.  What lets one kind wait for the other is in <fjord/green.h>.
 */
#include "bridged.h"

#include "executors/green.h"
#include "executors/patch.h"
#include "executors/tasks.h"

static fj_code create(const fj_conf *conf, const fj_executor_opts *opts, fj_executor **ret, fj_error **err)
{
    fj_code code = fj__patch(conf, true, err);

    return code == FJ_OK ? fj__tasks_create(&fj__executor_bridged, fj__green_shape, conf, opts, ret, err)
                         : code;
}

static const char *const aliases[] = { "aioeventlet", "greenio", NULL };

const fj_executor_ops fj__executor_bridged = {
    FJ__TASKS_OPS,      .name = "bridged",
    .aliases = aliases, .caps = FJ_EXECUTOR_STEPS | FJ_EXECUTOR_LOOP | FJ_EXECUTOR_GREEN | FJ_EXECUTOR_CORO,
    .create = create,
};
