/* SPDX-License-Identifier: Apache-2.0 */
/* The executors there are: built in, or loaded from the plug-in folder and kept for ever. */
#include "executors/executor.h"

#include "base/alloc.h"
#include "base/native.h"
#include "executors/blocking.h"
#include "executors/bridged.h"
#include "executors/coroutine.h"
#include "executors/green.h"
#include "executors/threading.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static const fj_executor_ops *const builtin[] = { &fj__executor_blocking, &fj__executor_threading,
                                                  &fj__executor_green, &fj__executor_coroutine,
                                                  &fj__executor_bridged };

struct loaded {
    struct loaded *next;
    const fj_executor_ops *ops;
    char *path;
};

static pthread_mutex_t loaded_lock = PTHREAD_MUTEX_INITIALIZER;
static struct loaded *loaded; /* never freed: what find lends is lent for ever */

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

static fj_code unknown(const char *name, const char *why, fj_error **err)
{
    char *names = all_names();
    fj_code code = fj_fail(err, FJ_NO_EXECUTOR, "no executor \"%s\": there are %s%s%s", name,
                           names != NULL ? names : "others", why[0] != '\0' ? "; " : "", why);

    fj__free(names);
    return code;
}

/* ---- plug-ins ---------------------------------------------------------------------------------- */

typedef const fj_executor_ops *(*plugin_fn)(void);

/* A table is usable when it was made for this ABI and leaves out nothing but what may be NULL. */
static bool is_usable(const fj_executor_ops *ops)
{
    return ops != NULL && ops->abi == FJ_EXECUTOR_ABI && ops->size >= sizeof(fj_executor_ops) &&
           ops->name != NULL && ops->create != NULL && ops->start != NULL && ops->submit != NULL &&
           ops->invoke != NULL && ops->close != NULL && ops->stop != NULL && ops->abort != NULL &&
           ops->free != NULL && ops->running != NULL &&
           ((ops->caps & FJ_EXECUTOR_STEPS) == 0 || ops->step != NULL);
}

/* With the lock held.  @param path takes-on-ok */
static fj_code load(const char *name, char *path, const fj_executor_ops **ret, fj_error **err)
{
    plugin_fn entry = NULL;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return unknown(name, dlerror(), err);
    void *symbol = dlsym(handle, "fj_executor_plugin");
    memcpy(&entry, &symbol, sizeof entry); /* C has no cast from a data pointer to a function */
    const fj_executor_ops *ops = entry != NULL ? entry() : NULL;
    bool usable = is_usable(ops);
    struct loaded *keep = usable ? fj__zalloc(sizeof *keep) : NULL;
    if (keep == NULL) {
        (void)dlclose(handle);
        if (usable)
            return fj_fail(err, FJ_NOMEM, "no memory for the executor %s", name);
        return unknown(name, "the plug-in of that name is not made for this version of Fjord", err);
    }
    *keep = (struct loaded){ loaded, ops, path };
    loaded = keep;
    *ret = ops;
    return FJ_OK;
}

fj_code fj__executor_load(const char *dir, const char *name, const fj_executor_ops **ret, fj_error **err)
{
    char *path = fj__format("%s/%s.so", dir, name);
    if (path == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the executor %s", name);

    fj_code code = FJ_NO_EXECUTOR;
    (void)fj__native.pthread_mutex_lock(&loaded_lock);
    for (struct loaded *l = loaded; l != NULL && code != FJ_OK; l = l->next) {
        if (strcmp(l->path, path) == 0) {
            *ret = l->ops;
            code = FJ_OK;
        }
    }
    bool known = code == FJ_OK;
    if (!known)
        code = load(name, path, ret, err);
    (void)fj__native.pthread_mutex_unlock(&loaded_lock);
    if (known || code != FJ_OK)
        fj__free(path);
    return code;
}

fj_code fj_executor_find(const fj_conf *conf, const char *name, const fj_executor_ops **ret, fj_error **err)
{
    for (size_t i = 0; i < fj__countof(builtin); i++) {
        if (has_name(builtin[i], name)) {
            *ret = builtin[i];
            return FJ_OK;
        }
    }
    const char *dir = conf != NULL ? fj_conf_str(conf, "fjord", "plugin_dir") : NULL;
    if (dir == NULL || dir[0] == '\0' || name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
        return unknown(name, "", err);
    return fj__executor_load(dir, name, ret, err);
}
