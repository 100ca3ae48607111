/* SPDX-License-Identifier: Apache-2.0 */
/* A client's life, and the calls and casts that are waited for. */
#include "client_impl.h"

#include "base/alloc.h"
#include "runtime/sync.h"

/* ---- life --------------------------------------------------------------------------------------- */

void fj__client_unref(fj_client *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    for (size_t i = 0; c->rules != NULL && i < c->opts.remote_errors_count; i++) {
        fj__free((char *)(uintptr_t)c->rules[i].module);
        fj__free((char *)(uintptr_t)c->rules[i].class_name);
    }
    fj__free(c->rules);
    if (c->generation == fj__fork_generation())
        fj__chain_fini(&c->chain);
    fj__free((char *)(uintptr_t)c->opts.version_cap);
    fj__target_fini(&c->target);
    fj__counters_unref(c->counters);
    fj__pending_fini(&c->casts);
    fj__free(c);
}

static bool copy_opts(fj_client *c, const fj_client_opts *opts)
{
    c->opts = (fj_client_opts)FJ_CLIENT_OPTS_INIT;
    if (opts == NULL)
        return true;
    fj__copy_sized(&c->opts, sizeof c->opts, opts, opts->size);
    const char *cap = c->opts.version_cap;
    const fj_remote_error *rules = c->opts.remote_errors;
    size_t n = c->opts.remote_errors_count;
    c->opts.version_cap = fj__strdup(cap);
    c->opts.remote_errors = NULL;
    c->rules = n > 0 ? fj__zalloc(n * sizeof *rules) : NULL;
    bool good = (cap == NULL || c->opts.version_cap != NULL) && (n == 0 || c->rules != NULL);
    for (size_t i = 0; good && i < n; i++) {
        c->rules[i].module = fj__strdup(rules[i].module);
        c->rules[i].class_name = fj__strdup(rules[i].class_name);
        c->rules[i].code = rules[i].code;
        good = (rules[i].module == NULL || c->rules[i].module != NULL) &&
               (rules[i].class_name == NULL || c->rules[i].class_name != NULL);
    }
    return good;
}

fj_code fj_client_new(fj_transport *transport, const fj_target *target, const fj_client_opts *opts,
                      fj_client **ret, fj_error **err)
{
    fj_code code = fj__transport_check(transport, err);

    if (code != FJ_OK)
        return code;
    if (target->topic == NULL || *target->topic == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a client's target needs a topic");
    fj_client *c = fj__zalloc(sizeof *c);
    if (c == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a client");
    atomic_init(&c->refs, 1);
    c->transport = transport;
    c->generation = transport->generation;
    c->counters = fj__counters_ref(transport->counters);
    fj__pending_init(&c->casts);
    if (!copy_opts(c, opts) || fj__target_copy(target, &c->target) != FJ_OK ||
        fj__chain_copy(&transport->chain, &c->chain) != FJ_OK) {
        fj__client_unref(c);
        return fj_fail(err, FJ_NOMEM, "no memory for a client");
    }
    if (!(c->opts.timeout > 0))
        c->opts.timeout = fj__conf_number(transport->conf, "DEFAULT", "rpc_response_timeout", 60);
    *ret = c;
    return FJ_OK;
}

fj_client *fj_client_free(fj_client *c)
{
    if (c != NULL)
        fj__client_unref(c);
    return NULL;
}

fj_code fj_client_intercept(fj_client *c, const fj_interceptor *interceptor, void *user, fj_error **err)
{
    fj_code code = fj__transport_check(c->transport, err);

    return code == FJ_OK ? fj__chain_add(&c->chain, c->transport->conf, NULL, interceptor, user, err) : code;
}

/* ---- calls and casts ---------------------------------------------------------------------------- */

/* Wait for a driver's future.  It ends by itself at the deadline; what waits beyond is a driver's defect. */
static FJ_MAY_AWAIT fj_code await(fj_future *future, fj_deadline by, json_t **ret, fj_error **err)
{
    fj_deadline late = by;

    if (!fj_is_never(by))
        late.ns = by.ns > INT64_MAX - 1000000001 ? INT64_MAX - 1 : by.ns + 1000000000;
    fj_code code = fj_future_wait(future, late, ret, err);
    if (!fj_future_done(future))
        (void)fj_future_cancel(future);
    return code;
}

static FJ_MAY_AWAIT fj_code call(fj_client *c, fj__outgoing *m, json_t **ret, fj_error **err)
{
    fj_error *error = NULL;
    fj_future *future = NULL;
    json_t *raw = NULL;
    fj_code code = fj__outgoing_begin_waited(c, m, &future, &error);

    if (code == FJ_OK) {
        code = await(future, m->by, &raw, &error);
        fj__outgoing_counted(m->row, m->began, code, error);
        fj_future_unref(future); /* before the result goes: nobody but the caller may hold it then */
        if (code == FJ_OK)
            code = fj__client_result_in(c, m->context, raw, ret, &error);
        fj__client_explain_timeout(m->target.topic, &error);
    }
    if (code == FJ_OK)
        return FJ_OK;
    fj__client_map_error(c, error);
    return error != NULL ? fj_error_move(error, err) : fj_fail(err, code, "%s", fj_code_text(code));
}

static FJ_MAY_AWAIT fj_code cast(fj_client *c, fj__outgoing *m, json_t **ret, fj_error **err)
{
    fj_future *future = NULL;
    fj_error *error = NULL;
    fj_code code = fj__outgoing_begin_waited(c, m, &future, &error);

    (void)ret;
    if (code == FJ_OK) {
        code = await(future, m->by, NULL, &error);
        fj__outgoing_counted(m->row, m->began, code, error);
        fj_future_unref(future);
    }
    return error != NULL ? fj_error_move(error, err) : code;
}

typedef fj_code (*waited_fn)(fj_client *c, fj__outgoing *m, json_t **ret, fj_error **err);

static FJ_MAY_AWAIT fj_code intercepted(fj_client *c, fj__outgoing *m, waited_fn go, json_t **ret,
                                        fj_error **err)
{
    fj_rpc *rpc = NULL;
    fj_error *error = NULL;
    json_t *result = NULL;
    fj_code code = fj__may_wait(err);

    if (code == FJ_OK)
        code = fj__rpc_of(c, m, false, &rpc, err);
    if (code != FJ_OK) {
        json_decref(m->args);
        return code;
    }
    if (fj__rpc_pass(rpc, m)) {
        code = go(c, m, &result, &error);
        fj__rpc_came(rpc, code, result, error);
    }
    return fj__rpc_ended(rpc, ret, err);
}

fj_code fj_client_call(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts, json_t **ret,
                       fj_error **err)
{
    fj_call_opts o = fj__call_opts_of(opts);
    fj__outgoing m = fj__outgoing_of(c, method, args, &o, FJ_SEND_CALL);

    return c->chain.n == 0 ? call(c, &m, ret, err) : intercepted(c, &m, call, ret, err);
}

fj_code fj_client_cast(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts, fj_error **err)
{
    fj_call_opts o = fj__call_opts_of(opts);
    fj__outgoing m = fj__outgoing_of(c, method, args, &o, 0);

    return c->chain.n == 0 ? cast(c, &m, NULL, err) : intercepted(c, &m, cast, NULL, err);
}
