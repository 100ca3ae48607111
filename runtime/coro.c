/* SPDX-License-Identifier: Apache-2.0 */
/* Coroutines: functions with their arguments that have not begun. */
#include "runtime/task_impl.h"

#include "base/alloc.h"

#include <string.h>

struct fj_coro {
    fj_task_fn fn;
    void *user;
    fj_task_opts opts; /* its name is ours */
    void *made_at;     /* in debug mode */
};

fj_code fj_coro_new(fj_task_fn fn, void *user, const fj_task_opts *opts, fj_coro **ret)
{
    fj_coro *coro = fj__zalloc(sizeof *coro);

    if (coro == NULL)
        return FJ_NOMEM;
    *coro = (fj_coro){ .fn = fn, .user = user, .opts = FJ_TASK_OPTS_INIT };
    if (opts != NULL)
        memcpy(&coro->opts, opts, opts->size < sizeof coro->opts ? opts->size : sizeof coro->opts);
    coro->opts.size = sizeof coro->opts;
    if (coro->opts.name != NULL && (coro->opts.name = fj__strdup(coro->opts.name)) == NULL) {
        fj__free(coro);
        return FJ_NOMEM;
    }
    const fj_loop *loop = coro->opts.loop != NULL ? coro->opts.loop : fj_loop_running();
    coro->made_at = loop != NULL && fj_loop_debug(loop) ? __builtin_return_address(0) : NULL;
    *ret = coro;
    return FJ_OK;
}

fj_loop *fj__coro_loop(const fj_coro *coro)
{
    return coro->opts.loop;
}

static void drop(fj_coro *coro)
{
    fj__free((char *)coro->opts.name);
    fj__free(coro);
}

fj_code fj_coro_start(fj_coro *coro, fj_task **ret, fj_error **err)
{
    fj_code code = fj_task_spawn(coro->fn, coro->user, &coro->opts, ret, err);

    if (code != FJ_OK && coro->opts.freed != NULL)
        coro->opts.freed(coro->user);
    drop(coro);
    return code;
}

fj_coro *fj_coro_free(fj_coro *coro)
{
    if (coro == NULL)
        return NULL;
    const char *name = coro->opts.name != NULL ? coro->opts.name : "task";
    fj__tasks_never(fj_loop_running(), "coroutine", name, "awaited", coro->made_at, NULL);
    if (coro->opts.freed != NULL)
        coro->opts.freed(coro->user);
    drop(coro);
    return NULL;
}
