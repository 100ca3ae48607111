/* SPDX-License-Identifier: Apache-2.0 */
/* What a service is to run. */
#include "service_impl.h"

#include "base/alloc.h"
#include "internal.h"
#include "runtime/sync.h"

#include <fjord/loop.h>

fj_code fj_service_new(const fj_conf *conf, fj_service **ret, fj_error **err)
{
    fj_service *s = fj__zalloc(sizeof *s);

    if (s == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a service");
    s->conf = conf != NULL ? fj_conf_copy(conf) : fj_conf_new();
    if (s->conf == NULL) {
        fj__free(s);
        return fj_fail(err, FJ_NOMEM, "no memory for a service's configuration");
    }
    s->generation = fj__fork_generation();
    s->signal_fd = -1;
    *ret = s;
    return FJ_OK;
}

fj_service *fj_service_free(fj_service *s)
{
    if (s == NULL)
        return NULL;
    for (size_t i = 0; i < s->n_kinds; i++)
        fj__free(s->kinds[i].name);
    fj__free(s->kinds);
    fj_conf_free(s->conf);
    fj__free(s);
    return NULL;
}

fj_code fj_service_add(fj_service *s, const char *name, fj_worker_fn factory, void *user, unsigned workers,
                       fj_error **err)
{
    if (s->runs)
        return fj_fail(err, FJ_STATE, "the service runs: workers are added before");
    if (workers > FJ__WORKERS_MAX)
        return fj_fail(err, FJ_BAD_ARGS, "%u workers of %s are more than %u", workers, name, FJ__WORKERS_MAX);
    if (s->n_kinds > 0 && (s->kinds[0].workers == 0) != (workers == 0))
        return fj_fail(err, FJ_BAD_ARGS, "%s and %s: either all of a service run in its process, or none", name,
                       s->kinds[0].name);
    fj__service_kind *grown = fj__grow(s->kinds, &s->kinds_capacity, s->n_kinds + 1, sizeof *s->kinds);
    char *copy = fj__strdup(name);
    s->kinds = grown != NULL ? grown : s->kinds;
    if (grown == NULL || copy == NULL) {
        fj__free(copy);
        return fj_fail(err, FJ_NOMEM, "no memory for the workers of %s", name);
    }
    s->kinds[s->n_kinds++] =
        (fj__service_kind){ .name = copy, .factory = factory, .user = user, .workers = workers };
    return FJ_OK;
}

void fj_service_at_ready(fj_service *s, void (*fn)(void *user), void *user)
{
    s->at_ready = fn;
    s->ready_user = user;
}

fj_code fj_service_run(fj_service *s, fj_error **err)
{
    if (s->generation != fj__fork_generation())
        return fj_fail(err, FJ_FORKED, "the service was made before a fork");
    if (fj_loop_running() != NULL)
        return fj_fail(err, FJ_STATE, "a service's parent has no loop, and one runs on this thread");
    if (s->n_kinds == 0 || s->runs)
        return fj_fail(err, FJ_STATE, s->runs ? "the service runs" : "the service has nothing to run");
    s->runs = true;
    fj_code code = fj__log_configure(s->conf, err);
    if (code == FJ_OK)
        code = s->kinds[0].workers == 0 ? fj__worker_inside(s, err) : fj__supervise(s, err);
    s->runs = false;
    return code;
}
