/* SPDX-License-Identifier: Apache-2.0 */
#include "messaging/notify_drivers.h"

#include <fjord/await.h>

#include "base/alloc.h"
#include "base/plugin.h"

#include <string.h>

static const fj_notify_driver *const built_in[] = { &fj__notify_messaging, &fj__notify_messagingv2,
                                                    &fj__notify_routing,   &fj__notify_log,
                                                    &fj__notify_test,      &fj__notify_noop };

static const char *lacks(const void *table)
{
    const fj_notify_driver *ops = table;

    if (ops->size < sizeof(fj_notify_driver))
        return "room for all slots (its size is too small)";
    return ops->name == NULL ? "name" : ops->notify == NULL ? "notify" : NULL;
}

static const fj__plugin_kind plugin = { .what = "notification driver",
                                        .symbol = "fj_notify_driver_plugin",
                                        .abi = FJ_NOTIFY_DRIVER_ABI,
                                        .code = FJ_NO_DRIVER,
                                        .lacks = lacks };

static fj_code find(const fj_conf *conf, const char *name, const fj_notify_driver **ret, fj_error **err)
{
    const void *table = NULL;

    for (size_t i = 0; i < fj__countof(built_in); i++) {
        if (strcmp(built_in[i]->name, name) == 0) {
            *ret = built_in[i];
            return FJ_OK;
        }
    }
    fj_code code = fj__plugin_load(&plugin, fj_conf_str(conf, "fjord", "plugin_dir"), name, NULL, &table, err);
    if (code == FJ_OK)
        *ret = table;
    return code;
}

fj_code fj__notify_drivers_add(fj__notify_drivers *d, const char *name, const fj_notify_driver_opts *opts,
                               size_t *ret_at, fj_error **err)
{
    const fj_notify_driver *ops = NULL;
    void *state = NULL;
    size_t at = 0;
    fj_code code = find(opts->conf, name, &ops, err);

    if (code != FJ_OK)
        return code;
    while (at < d->n && d->all[at].ops != ops)
        at++;
    if (at == d->n) {
        struct fj__notify_open *more = fj__grow(d->all, &d->room, d->n + 1, sizeof *more);
        if (more == NULL)
            return fj_fail(err, FJ_NOMEM, "no memory for a notification driver");
        d->all = more;
        code = ops->open != NULL ? ops->open(opts, &state, err) : FJ_OK;
        if (code != FJ_OK) {
            fj_error_prefix(err, "the notification driver %s", name);
            return code;
        }
        d->all[d->n++] = (struct fj__notify_open){ .ops = ops, .state = state };
    }
    if (ret_at != NULL)
        *ret_at = at;
    return FJ_OK;
}

void fj__notify_drivers_fini(fj__notify_drivers *d)
{
    while (d->n > 0) {
        const struct fj__notify_open *one = &d->all[--d->n];
        if (one->ops->close != NULL)
            one->ops->close(one->state);
    }
    fj__free(d->all);
    *d = (fj__notify_drivers){ 0 };
}

/* ---- many futures ------------------------------------------------------------------------------- */

/* Without memory the failure, or the wait, is lost, and the notification is not. */
void fj__notify_sent_add(fj__notify_sent *s, fj_code code, fj_future *future, fj_error *error)
{
    if (code == FJ_OK && future == NULL)
        return;
    s->refused = code != FJ_OK;
    if (code != FJ_OK && fj_future_new(NULL, NULL, &future) == FJ_OK) {
        if (error == NULL)
            (void)fj_fail(&error, code, "%s", fj_code_text(code));
        if (error == NULL || !fj_future_reject(future, error))
            (void)fj_future_cancel(future);
        error = NULL;
    }
    fj_error_free(error);
    fj_future **more = fj__grow(s->all, &s->room, s->n + 1, sizeof(fj_future *));
    if (more == NULL) {
        fj_future_unref(future);
        return;
    }
    s->all = more;
    if (future != NULL)
        s->all[s->n++] = future;
}

fj_code fj__notify_sent_end(fj__notify_sent *s, fj_future **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    *ret = NULL;
    if (s->n == 1 && s->refused) {
        code = fj_future_result(s->all[0], NULL, err);
        fj_future_unref(s->all[0]);
    } else if (s->n == 1) {
        *ret = s->all[0];
    } else if (s->n > 1) {
        code = fj_gather(s->all, s->n, 0, ret, err);
        for (size_t i = 0; i < s->n; i++)
            fj_future_unref(s->all[i]);
    }
    fj__free(s->all);
    *s = (fj__notify_sent){ 0 };
    return code;
}
