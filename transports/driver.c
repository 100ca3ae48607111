/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of transport drivers: those built in, then plug-ins. */
#include <fjord/driver.h>

#include "base/alloc.h"
#include "base/plugin.h"
#include "transports/builtin.h"

#include <string.h>

static const fj_driver_ops *const built_in[] = { &fj__fake_driver, &fj__amqp_driver };

static bool has_name(const fj_driver_ops *ops, const char *name)
{
    if (strcmp(ops->name, name) == 0)
        return true;
    for (const char *const *alias = ops->aliases; alias != NULL && *alias != NULL; alias++)
        if (strcmp(*alias, name) == 0)
            return true;
    return false;
}

static bool is_complete(const void *table)
{
    const fj_driver_ops *ops = table;

    return ops->size >= offsetof(fj_driver_ops, listens) && ops->name != NULL && ops->open != NULL &&
           ops->send != NULL && ops->flush != NULL && ops->listen != NULL && ops->close != NULL &&
           ops->stop != NULL && ops->free != NULL;
}

static const fj__plugin_kind plugin = { .what = "driver",
                                        .symbol = "fj_driver_plugin",
                                        .abi = FJ_DRIVER_ABI,
                                        .code = FJ_NO_DRIVER,
                                        .complete = is_complete };

fj_code fj_driver_find(const fj_conf *conf, const char *name, const fj_driver_ops **ret, fj_error **err)
{
    const void *table = NULL;

    for (size_t i = 0; i < fj__countof(built_in); i++) {
        if (has_name(built_in[i], name)) {
            *ret = built_in[i];
            return FJ_OK;
        }
    }
    if (name[0] == '/') /* a URL has no way to name one by its path */
        return fj_fail(err, FJ_NO_DRIVER, "\"%s\" is not a driver's name", name);
    const char *dir = conf != NULL ? fj_conf_str(conf, "fjord", "plugin_dir") : NULL;
    fj_code code = fj__plugin_load(&plugin, dir, name, &table, err);
    if (code == FJ_OK)
        *ret = table;
    return code;
}
