/* SPDX-License-Identifier: Apache-2.0 */
/* The executors there are: built in, or plug-ins. */
#include <fjord/executor.h>

#include "base/alloc.h"
#include "base/plugin.h"
#include "executors/blocking.h"
#include "executors/bridged.h"
#include "executors/coroutine.h"
#include "executors/green.h"
#include "executors/threading.h"

#include <string.h>

static const fj_executor_ops *const builtin[] = { &fj__executor_blocking, &fj__executor_threading,
                                                  &fj__executor_green, &fj__executor_coroutine,
                                                  &fj__executor_bridged };

const fj_executor_ops *fj_executor_builtin(size_t i)
{
    return i < fj__countof(builtin) ? builtin[i] : NULL;
}

static bool has_name(const fj_executor_ops *ops, const char *name)
{
    if (strcmp(ops->name, name) == 0)
        return true;
    for (const char *const *alias = ops->aliases; alias != NULL && *alias != NULL; alias++) {
        if (strcmp(*alias, name) == 0)
            return true;
    }
    return false;
}

/* "blocking, threading".  Gives. */
static char *all_names(void)
{
    char *text = fj__strdup("");

    for (size_t i = 0; text != NULL && i < fj__countof(builtin); i++) {
        char *more = fj__format("%s%s%s", text, i > 0 ? ", " : "", builtin[i]->name);
        fj__free(text);
        text = more;
    }
    return text;
}

/* "; there are blocking, threading...", behind what is wrong with a name. */
static fj_code unknown(fj_code code, fj_error *why, fj_error **err)
{
    char *names = all_names();

    if (code == FJ_NO_EXECUTOR && names != NULL)
        (void)fj_fail(err, code, "%s; there are %s", fj_error_text(why), names);
    else
        (void)fj_error_move(fj_error_copy(why), err);
    fj__free(names);
    fj_error_free(why);
    return code;
}

/* ---- plug-ins ---------------------------------------------------------------------------------- */

static const char *lacks(const void *table)
{
    const fj_executor_ops *ops = table;

    if (ops->size < sizeof(fj_executor_ops))
        return "room for all slots (its size is too small)";
    return ops->name == NULL                                           ? "name"
           : ops->create == NULL                                       ? "create"
           : ops->start == NULL                                        ? "start"
           : ops->submit == NULL                                       ? "submit"
           : ops->invoke == NULL                                       ? "invoke"
           : ops->close == NULL                                        ? "close"
           : ops->stop == NULL                                         ? "stop"
           : ops->abort == NULL                                        ? "abort"
           : ops->free == NULL                                         ? "free"
           : ops->running == NULL                                      ? "running"
           : (ops->caps & FJ_EXECUTOR_STEPS) != 0 && ops->step == NULL ? "step"
                                                                       : NULL;
}

static const fj__plugin_kind plugin = { .what = "executor",
                                        .symbol = "fj_executor_plugin",
                                        .abi = FJ_EXECUTOR_ABI,
                                        .code = FJ_NO_EXECUTOR,
                                        .lacks = lacks };

fj_code fj_executor_find(const fj_conf *conf, const char *name, const fj_executor_ops **ret, fj_error **err)
{
    const void *table = NULL;
    fj_error *why = NULL;

    for (size_t i = 0; i < fj__countof(builtin); i++) {
        if (has_name(builtin[i], name)) {
            *ret = builtin[i];
            return FJ_OK;
        }
    }
    const char *dir = conf != NULL ? fj_conf_str(conf, "fjord", "plugin_dir") : NULL;
    fj_code code = fj__plugin_load(&plugin, dir, name, NULL, &table, &why);
    if (code != FJ_OK)
        return unknown(code, why, err);
    *ret = table;
    return FJ_OK;
}
