/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of transport drivers: those built in, then plug-ins.  A plug-in stays loaded for the life of
 * the process, since its table and its objects' code are lent out for ever.
 */
#include <fjord/driver.h>

#include "base/alloc.h"
#include "transports/builtin.h"

#include <ctype.h>
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

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

/* The name comes from a URL and becomes part of a path: nothing but a plain word may. */
static bool plain_word(const char *name)
{
    if (*name == '\0')
        return false;
    for (; *name != '\0'; name++)
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != '-')
            return false;
    return true;
}

static bool complete(const fj_driver_ops *ops)
{
    return ops->size >= sizeof(fj_driver_ops) && ops->name != NULL && ops->open != NULL && ops->send != NULL &&
           ops->flush != NULL && ops->listen != NULL && ops->close != NULL && ops->stop != NULL &&
           ops->free != NULL;
}

typedef const fj_driver_ops *(*plugin_fn)(void);

static fj_code check_plugin(void *handle, const char *path, const fj_driver_ops **ret, fj_error **err)
{
    plugin_fn entry = NULL;
    void *symbol = dlsym(handle, "fj_driver_plugin");

    if (symbol == NULL)
        return fj_fail(err, FJ_NO_DRIVER, "%s is no driver: it does not export fj_driver_plugin", path);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object's pointer to a function's */
    const fj_driver_ops *ops = entry();
    if (ops == NULL)
        return fj_fail(err, FJ_NO_DRIVER, "%s refused to give its driver", path);
    if (ops->abi != FJ_DRIVER_ABI)
        return fj_fail(err, FJ_NO_DRIVER, "%s was made for driver ABI %u, this library has %u", path,
                       (unsigned)ops->abi, FJ_DRIVER_ABI);
    if (!complete(ops))
        return fj_fail(err, FJ_NO_DRIVER, "%s gives an incomplete driver table", path);
    *ret = ops;
    return FJ_OK;
}

static fj_code load(const char *path, const char *name, const fj_driver_ops **ret, fj_error **err)
{
    if (access(path, F_OK) != 0)
        return fj_fail(err, FJ_NO_DRIVER, "no driver \"%s\": it is not built in and there is no %s", name,
                       path);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *why = dlerror();
        return fj_fail(err, FJ_NO_DRIVER, "cannot load the driver \"%s\": %s", name, why != NULL ? why : path);
    }
    fj_code code = check_plugin(handle, path, ret, err);
    if (code != FJ_OK)
        (void)dlclose(handle);
    return code;
}

fj_code fj_driver_find(const fj_conf *conf, const char *name, const fj_driver_ops **ret, fj_error **err)
{
    for (size_t i = 0; i < fj__countof(built_in); i++) {
        if (has_name(built_in[i], name)) {
            *ret = built_in[i];
            return FJ_OK;
        }
    }
    if (!plain_word(name))
        return fj_fail(err, FJ_NO_DRIVER, "\"%s\" is not a driver's name", name);
    const char *folder = conf != NULL ? fj_conf_str(conf, "fjord", "plugin_dir") : NULL;
    if (folder == NULL || *folder == '\0')
        return fj_fail(err, FJ_NO_DRIVER,
                       "no driver \"%s\": it is not built in and [fjord] plugin_dir is unset", name);
    char *path = fj__format("%s/%s.so", folder, name);
    if (path == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to look for the driver \"%s\"", name);
    fj_code code = load(path, name, ret, err);
    fj__free(path);
    return code;
}
