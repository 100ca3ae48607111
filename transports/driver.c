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

static const char *lacks(const void *table)
{
    const fj_driver_ops *ops = table;

    if (ops->size < offsetof(fj_driver_ops, listens)) /* what came later may be missing */
        return "room for all slots (its size is too small)";
    return ops->name == NULL     ? "name"
           : ops->open == NULL   ? "open"
           : ops->send == NULL   ? "send"
           : ops->flush == NULL  ? "flush"
           : ops->listen == NULL ? "listen"
           : ops->close == NULL  ? "close"
           : ops->stop == NULL   ? "stop"
           : ops->free == NULL   ? "free"
                                 : NULL;
}

static bool is_called(const void *table, const char *name)
{
    return has_name(table, name);
}

static const fj__plugin_kind plugin = { .what = "driver",
                                        .symbol = "fj_driver_plugin",
                                        .abi = FJ_DRIVER_ABI,
                                        .code = FJ_NO_DRIVER,
                                        .lacks = lacks,
                                        .has_name = is_called };

/* The path that [fjord] transport_plugins has for the name; NULL: none. */
static const char *path_of(const fj_conf *conf, const char *name)
{
    const char *const *items = conf != NULL ? fj_conf_list(conf, "fjord", "transport_plugins") : NULL;
    size_t n = strlen(name);

    for (; items != NULL && *items != NULL; items++)
        if (strncmp(*items, name, n) == 0 && (*items)[n] == '=')
            return *items + n + 1;
    return NULL;
}

fj_code fj_driver_find(const fj_conf *conf, const char *name, const fj_driver_ops **ret, fj_error **err)
{
    const void *table = NULL;

    for (size_t i = 0; i < fj__countof(built_in); i++) {
        if (has_name(built_in[i], name)) {
            *ret = built_in[i];
            return FJ_OK;
        }
    }
    const char *dir = conf != NULL ? fj_conf_str(conf, "fjord", "plugin_dir") : NULL;
    const char *path = path_of(conf, name);
    if (path != NULL && path[0] != '/')
        return fj_fail(err, FJ_NO_DRIVER, "[fjord] transport_plugins has no absolute path for \"%s\": %s", name,
                       path);
    fj_code code =
        fj__plugin_load(&plugin, dir, path != NULL ? path : name, name[0] == '/' ? NULL : name, &table, err);
    if (code == FJ_OK)
        *ret = table;
    return code;
}
