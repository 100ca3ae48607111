/* SPDX-License-Identifier: Apache-2.0 */
/* Interceptors found, opened in their order, and closed. */
#include "messaging/chain.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/plugin.h"

#include <string.h>

/* ---- plug-ins ----------------------------------------------------------------------------------- */

static const char *lacks(const void *table)
{
    const fj_interceptor *ops = table;

    if (ops->size < sizeof(fj_interceptor))
        return "room for all slots (its size is too small)";
    return ops->name == NULL || ops->name[0] == '\0' ? "name" : NULL;
}

static const fj__plugin_kind plugin = { .what = "interceptor",
                                        .symbol = "fj_interceptor_plugin",
                                        .abi = FJ_INTERCEPTOR_ABI,
                                        .code = FJ_BAD_CONFIG,
                                        .lacks = lacks };

fj_code fj_interceptor_find(const fj_conf *conf, const char *name, const fj_interceptor **ret, fj_error **err)
{
    const char *dir = conf != NULL ? fj_conf_str(conf, "fjord", "plugin_dir") : NULL;
    const void *table = NULL;
    fj_code code = fj__plugin_load(&plugin, dir, name, NULL, &table, err);

    if (code == FJ_OK)
        *ret = table;
    return code;
}

char *fj__interceptor_name(const char *item)
{
    const char *slash = strrchr(item, '/'), *from = slash != NULL ? slash + 1 : item;
    size_t n = strlen(from);

    if (slash != NULL && n > 3 && strcmp(from + n - 3, ".so") == 0)
        n -= 3;
    return fj__strndup(from, n);
}

/* ---- one ---------------------------------------------------------------------------------------- */

static fj_code open_it(const fj_conf *conf, const char *name, fj__open_interceptor *one, void *user,
                       fj_error **err)
{
    one->state = user;
    if (one->ops->open == NULL)
        return FJ_OK;
    char *section = fj__format("interceptor:%s", name);
    if (section == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the interceptor %s", name);
    fj_error *why = NULL;
    one->state = NULL;
    fj_code code = one->ops->open(user, conf, section, &one->state, &why);
    fj__free(section);
    if (code == FJ_OK) {
        fj_error_free(why);
        return FJ_OK;
    }
    if (why == NULL)
        (void)fj_fail(&why, code, "%s", fj_code_text(code));
    fj_error_prefix(&why, "the interceptor %s cannot be opened", name);
    (void)fj_error_move(why, err);
    return code;
}

static void unref(fj__open_interceptor *one)
{
    if (atomic_fetch_sub_explicit(&one->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (one->ops->close != NULL)
        one->ops->close(one->state);
    fj__free(one);
}

/* ---- chains ------------------------------------------------------------------------------------- */

static fj_code grow(fj__chain *chain, size_t n, fj_error **err)
{
    fj__open_interceptor **more = fj__grow(chain->all, &chain->room, n, sizeof(fj__open_interceptor *));

    if (more == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a chain of interceptors");
    chain->all = more;
    return FJ_OK;
}

fj_code fj__chain_add(fj__chain *chain, const fj_conf *conf, const char *name, const fj_interceptor *ops,
                      void *user, fj_error **err)
{
    if (ops == NULL || ops->abi != FJ_INTERCEPTOR_ABI || lacks(ops) != NULL)
        return fj_fail(err, FJ_BAD_ARGS, "the interceptor's table is broken");
    fj_code code = grow(chain, chain->n + 1, err);
    if (code != FJ_OK)
        return code;
    fj__open_interceptor *one = fj__zalloc(sizeof *one);
    if (one == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for an interceptor");
    atomic_init(&one->refs, 1);
    one->ops = ops;
    code = open_it(conf, name != NULL ? name : ops->name, one, user, err);
    if (code != FJ_OK) {
        fj__free(one);
        return code;
    }
    chain->all[chain->n++] = one;
    return FJ_OK;
}

static fj_code add_item(fj__chain *chain, const fj_conf *conf, const char *item, fj_error **err)
{
    const fj_interceptor *ops = NULL;
    char *name = fj__interceptor_name(item);
    fj_code code = name != NULL ? fj_interceptor_find(conf, item, &ops, err)
                                : fj_fail(err, FJ_NOMEM, "no memory for the interceptor %s", item);

    if (code == FJ_OK)
        code = fj__chain_add(chain, conf, name, ops, NULL, err);
    if (code == FJ_OK)
        fj__log(FJ_LOG_INFO, "rpc", "interceptor %s: %s", item, ops->name);
    fj__free(name);
    return code;
}

fj_code fj__chain_configure(fj__chain *chain, const fj_conf *conf, fj_error **err)
{
    const char *const *items = fj_conf_list(conf, "fjord", "interceptors");
    fj_code code = FJ_OK;

    for (; code == FJ_OK && items != NULL && *items != NULL; items++) {
        if (**items != '\0')
            code = add_item(chain, conf, *items, err);
    }
    return code;
}

fj_code fj__chain_copy(const fj__chain *from, fj__chain *into)
{
    if (from->n == 0)
        return FJ_OK;
    fj_code code = grow(into, from->n, NULL);
    for (size_t i = 0; code == FJ_OK && i < from->n; i++) {
        atomic_fetch_add_explicit(&from->all[i]->refs, 1, memory_order_relaxed);
        into->all[into->n++] = from->all[i];
    }
    return code;
}

void fj__chain_fini(fj__chain *chain)
{
    while (chain->n > 0)
        unref(chain->all[--chain->n]);
    fj__free(chain->all);
    *chain = (fj__chain){ 0 };
}
