/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and casts that nobody waits for at once.  What a driver's future gives is raw; where a serializer, a mapping of errors or interceptors
 * stand between, the caller gets an outer future (struct outer) that converts the inner one's outcome once.
 */
#include "client_impl.h"

#include "base/alloc.h"
#include "runtime/future_impl.h"
#include "runtime/sync.h"

/* ---- calls ------------------------------------------------------------------------- */

struct outer {
    fj_client *client;
    fj_future *inner;
    json_t *context;
    fj_rpc *rpc;       /* NULL: without interceptors; it has the context then */
    bool is_call;      /* whose result is for the serializer */
    atomic_bool taken; /* one converts */
};

static fj_code outcome_of(struct outer *o, json_t **ret, fj_error **err)
{
    json_t *raw = NULL;
    const json_t *context = o->rpc != NULL ? o->rpc->context : o->context;
    fj_code code = fj_future_result(o->inner, &raw, err);

    if (code == FJ_OK && o->is_call)
        return fj__client_result_in(o->client, context, raw, ret, err);
    if (code == FJ_OK)
        *ret = raw;
    return code;
}

static void complete(fj_future *future, fj_code code, json_t *result, fj_error *error)
{
    if (code != FJ_OK && error == NULL)
        (void)fj_fail(&error, code, "%s", fj_code_text(code));
    if (code == FJ_OK)
        (void)fj_future_resolve(future, result);
    else if (error != NULL)
        (void)fj_future_reject(future, error);
    else
        (void)fj_future_cancel(future); /* no memory to say more */
}

/* The inner one is complete.  Whoever comes first converts its outcome. */
static void finish(fj_future *future, struct outer *o)
{
    json_t *result = NULL;
    fj_error *error = NULL;

    if (atomic_exchange(&o->taken, true))
        return;
    fj_code code = outcome_of(o, &result, &error);
    fj__client_map_error(o->client, error);
    if (o->rpc != NULL) {
        fj__rpc_came(o->rpc, code, result, error);
        fj__rpc_end(o->rpc, true);
        result = NULL;
        error = NULL;
        code = fj__rpc_give(o->rpc, &result, &error);
    }
    complete(future, code, result, error);
}

static void outer_wait(fj_future *future, void *user, fj_deadline by)
{
    struct outer *o = user;

    if (fj_future_wait(o->inner, by, NULL, NULL) == FJ_TIMEOUT && !fj_future_done(o->inner))
        return;
    finish(future, o);
    while (!fj_future_done(future)) { /* another thread converts */
        unsigned seen = fj__future_nudges(future);
        if (fj__future_sleep(future, seen, by) != FJ_OK)
            return;
    }
}

static void outer_cancelled(fj_future *future, void *user)
{
    (void)future;
    (void)fj_future_cancel(((struct outer *)user)->inner);
}

static void outer_freed(void *user)
{
    struct outer *o = user;

    fj_future_unref(o->inner);
    json_decref(o->context);
    fj__rpc_free(o->rpc);
    fj__client_unref(o->client);
    fj__free(o);
}

static const fj_future_ops outer_ops = { .wait = outer_wait,
                                         .cancelled = outer_cancelled,
                                         .freed = outer_freed };

static void inner_done(fj_future *inner, void *user)
{
    fj_future *future = user;

    (void)inner;
    finish(future, fj_future_user(future));
    fj_future_unref(future);
}

/* @param inner, rpc take */
static fj_code wrap(fj_client *c, const fj__outgoing *m, fj_future *inner, fj_rpc *rpc, fj_future **ret,
                    fj_error **err)
{
    struct outer *o = fj__zalloc(sizeof *o);
    fj_future *future = NULL;

    if (o == NULL || fj_future_new(&outer_ops, o, &future) != FJ_OK) {
        fj__free(o);
        (void)fj_future_cancel(inner);
        fj_future_unref(inner);
        fj__rpc_free(rpc);
        return fj_fail(err, FJ_NOMEM, "no memory for a call");
    }
    atomic_fetch_add(&c->refs, 1);
    atomic_init(&o->taken, false);
    o->client = c;
    o->inner = inner;
    o->rpc = rpc;
    o->is_call = (m->kind & FJ_SEND_CALL) != 0;
    o->context = rpc == NULL ? json_deep_copy(m->context) : NULL;
    fj_future_ref(future);
    if (fj_future_then(inner, inner_done, future) != FJ_OK) {
        (void)fj_future_cancel(future);
        fj_future_unref(future);
        fj_future_unref(future);
        return fj_fail(err, FJ_NOMEM, "no memory for a call");
    }
    *ret = future;
    return FJ_OK;
}

/* It never went: the interceptors' outcome, known at once. */
static fj_code ended_at_once(fj_rpc *rpc, fj_future **ret, fj_error **err)
{
    json_t *result = NULL;
    fj_code code = fj__rpc_ended(rpc, &result, err);

    if (code != FJ_OK)
        return code;
    if (fj_future_new(NULL, NULL, ret) != FJ_OK) {
        json_decref(result);
        return fj_fail(err, FJ_NOMEM, "no memory for a call");
    }
    (void)fj_future_resolve(*ret, result);
    return FJ_OK;
}

static fj_code begin_intercepted(fj_client *c, fj__outgoing *m, fj_future **ret, fj_error **err)
{
    fj_rpc *rpc = NULL;
    fj_error *error = NULL;
    fj_future *inner = NULL;
    fj_code code = fj__rpc_of(c, m, true, &rpc, err);

    if (code != FJ_OK) {
        json_decref(m->args);
        return code;
    }
    if (!fj__rpc_pass(rpc, m))
        return ended_at_once(rpc, ret, err);
    code = fj__outgoing_begin_followed(c, m, &inner, &error);
    if (code == FJ_OK)
        return wrap(c, m, inner, rpc, ret, err);
    fj__rpc_came(rpc, code, NULL, error);
    return ended_at_once(rpc, ret, err);
}

fj_code fj_client_call_async(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts,
                             fj_future **ret, fj_error **err)
{
    fj_call_opts o = fj__call_opts_of(opts);
    fj__outgoing m = fj__outgoing_of(c, method, args, &o, FJ_SEND_CALL);
    fj_future *inner = NULL;

    if (c->chain.n > 0)
        return begin_intercepted(c, &m, ret, err);
    fj_code code = fj__outgoing_begin_followed(c, &m, &inner, err);
    if (code != FJ_OK)
        return code;
    bool plain = c->opts.remote_errors_count == 0 &&
                 (c->opts.serializer == NULL || c->opts.serializer->entity_in == NULL);
    if (!plain)
        return wrap(c, &m, inner, NULL, ret, err);
    *ret = inner;
    return FJ_OK;
}

/* ---- casts -------------------------------------------------------------------------------------- */

static void cast_over(fj_client *c, fj_error *error)
{
    fj__pending_over(&c->casts, error);
    fj__client_unref(c);
}

static void cast_done(fj_future *future, void *user)
{
    fj_error *error = NULL;
    fj_code code = fj_future_result(future, NULL, &error);

    if (code != FJ_OK && error == NULL)
        (void)fj_fail(&error, code, "%s", fj_code_text(code));
    cast_over(user, error);
}

fj_code fj_client_cast_async(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts,
                             fj_future **ret, fj_error **err)
{
    fj_call_opts o = fj__call_opts_of(opts);
    fj__outgoing m = fj__outgoing_of(c, method, args, &o, 0);
    fj_future *future = NULL;
    fj_code code = c->chain.n == 0 ? fj__outgoing_begin_followed(c, &m, &future, err)
                                   : begin_intercepted(c, &m, &future, err);

    if (code != FJ_OK)
        return code;
    fj__pending_begin(&c->casts);
    atomic_fetch_add(&c->refs, 1);
    if (fj__future_then_quick(future, cast_done, c, false) != FJ_OK) {
        cast_over(c, NULL);
        fj_future_unref(future);
        return fj_fail(err, FJ_NOMEM, "no memory to follow a cast");
    }
    if (ret != NULL)
        *ret = future;
    else
        fj_future_unref(future);
    return FJ_OK;
}

fj_code fj_client_flush(fj_client *c, fj_deadline by, fj_error **err)
{
    fj_driver *d = c->transport->driver;
    fj_code code = fj__transport_check(c->transport, err);

    if (code == FJ_OK)
        code = fj__may_wait(err);
    if (code == FJ_OK)
        code = d->ops->flush(d, by, err);
    return code == FJ_OK ? fj__pending_flush(&c->casts, "casts", by, err) : code;
}
