/* SPDX-License-Identifier: Apache-2.0 */
/* One call on its way through a chain of interceptors: what they see and change of it. */
#include "messaging/rpc.h"

#include "base/alloc.h"
#include "dispatcher/request.h"
#include "messaging/internal.h"

fj_code fj__rpc_new(const fj__chain *chain, fj_rpc **ret, fj_error **err)
{
    fj_rpc *rpc = fj__zalloc(sizeof *rpc + chain->n * sizeof rpc->data[0]);

    if (rpc == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a call through interceptors");
    rpc->chain = chain;
    rpc->by = fj_never();
    rpc->code = FJ_DEFERRED;
    *ret = rpc;
    return FJ_OK;
}

static void drop_outcome(fj_rpc *rpc)
{
    json_decref(rpc->result);
    rpc->result = NULL;
    rpc->error = fj_error_free(rpc->error);
}

void fj__rpc_free(fj_rpc *rpc)
{
    if (rpc == NULL)
        return;
    if (rpc->phase == FJ__RPC_RUNS && rpc->request == NULL) {
        fj__rpc_came(rpc, FJ_CANCELLED, NULL, NULL);
        fj__rpc_end(rpc, true);
    }
    if (rpc->own_target)
        fj__target_fini(&rpc->target);
    if (rpc->own_method)
        fj__free((char *)(uintptr_t)rpc->method);
    if (rpc->own_args)
        json_decref(rpc->args);
    if (rpc->own_context)
        json_decref(rpc->context);
    drop_outcome(rpc);
    fj__free(rpc);
}

/* ---- its way ------------------------------------------------------------------------------------ */

static fj_code begin_one(fj_rpc *rpc, size_t i, bool client, fj_error **err)
{
    const fj__open_interceptor *one = rpc->chain->all[i];
    fj_rpc_begin_fn begin = client ? one->ops->client_begin : one->ops->server_begin;

    rpc->at = i;
    fj_code code = begin != NULL ? begin(one->state, rpc, err) : FJ_OK;
    if (code == FJ_DEFERRED && client)
        return fj_fail(err, FJ_INTERNAL, "the interceptor %s cannot defer a call", one->ops->name);
    return code;
}

fj_code fj__rpc_begin(fj_rpc *rpc, bool client)
{
    for (size_t i = 0; i < rpc->chain->n && !rpc->stopped; i++) {
        fj_error *error = NULL;
        fj_code code = begin_one(rpc, i, client, &error);
        if (code == FJ_OK || code == FJ_DEFERRED)
            fj_error_free(error);
        if (code == FJ_DEFERRED)
            return code;                    /* another thread may have it now */
        if (rpc->phase != FJ__RPC_BEGINS) { /* it has answered the request itself */
            if (code != FJ_OK)
                fj_error_free(error);
            return FJ_STATE;
        }
        if (code == FJ_OK) {
            rpc->begun = i + 1;
            continue;
        }
        drop_outcome(rpc);
        rpc->stopped = true;
        rpc->code = code;
        rpc->error = error;
    }
    rpc->phase = FJ__RPC_RUNS;
    return rpc->stopped ? FJ_CLOSED : FJ_OK;
}

void fj__rpc_came(fj_rpc *rpc, fj_code code, json_t *result, fj_error *error)
{
    drop_outcome(rpc);
    rpc->code = code;
    if (code == FJ_OK) {
        rpc->result = result;
        fj_error_free(error);
        rpc->sent = FJ_SENT_YES;
    } else {
        json_decref(result);
        rpc->error = error;
        rpc->sent = rpc->request != NULL ? FJ_SENT_YES : fj_error_sent(error);
    }
}

void fj__rpc_end(fj_rpc *rpc, bool client)
{
    rpc->phase = FJ__RPC_ENDS;
    if (rpc->code != FJ_OK && rpc->error == NULL)
        (void)fj_fail(&rpc->error, rpc->code, "%s", fj_code_text(rpc->code));
    while (rpc->begun > 0) {
        rpc->at = --rpc->begun;
        const fj__open_interceptor *one = rpc->chain->all[rpc->at];
        fj_rpc_end_fn end = client ? one->ops->client_end : one->ops->server_end;
        if (end != NULL)
            end(one->state, rpc);
    }
    rpc->phase = FJ__RPC_OVER;
}

fj_code fj__rpc_give(fj_rpc *rpc, json_t **ret, fj_error **err)
{
    fj_code code = rpc->code;

    if (code == FJ_OK) {
        if (ret != NULL) {
            *ret = rpc->result != NULL ? rpc->result : json_null();
            rpc->result = NULL;
        }
    } else if (rpc->error != NULL) {
        (void)fj_error_move(rpc->error, err);
        rpc->error = NULL;
    }
    return code;
}

/* ---- what it tells ------------------------------------------------------------------------------ */

fj_rpc_kind fj_rpc_kind_of(const fj_rpc *rpc)
{
    return rpc->kind == FJ_RPC_CAST && rpc->target.fanout ? FJ_RPC_FANOUT : rpc->kind;
}

fj_request *fj_rpc_request(const fj_rpc *rpc)
{
    return rpc->request;
}

const fj_target *fj_rpc_target(const fj_rpc *rpc)
{
    return &rpc->target;
}

const char *fj_rpc_method(const fj_rpc *rpc)
{
    return rpc->method;
}

fj_deadline fj_rpc_deadline(const fj_rpc *rpc)
{
    return rpc->by;
}

const json_t *fj_rpc_args(const fj_rpc *rpc)
{
    return rpc->phase == FJ__RPC_BEGINS ? rpc->args : NULL;
}

const json_t *fj_rpc_context(const fj_rpc *rpc)
{
    return rpc->request != NULL ? fj_request_context(rpc->request) : rpc->context;
}

bool fj_rpc_may_wait(const fj_rpc *rpc)
{
    return !rpc->never_waits && fj__may_wait(NULL) == FJ_OK;
}

void **fj_rpc_data(fj_rpc *rpc)
{
    return &rpc->data[rpc->at];
}

fj_code fj_rpc_code(const fj_rpc *rpc)
{
    return rpc->code;
}

const json_t *fj_rpc_result(const fj_rpc *rpc)
{
    return rpc->result;
}

const fj_error *fj_rpc_error(const fj_rpc *rpc)
{
    return rpc->error;
}

fj_sent fj_rpc_sent(const fj_rpc *rpc)
{
    return rpc->sent;
}

/* ---- what is changed ---------------------------------------------------------------------------- */

/* An object of the call's own: @p is, or a copy of it. */
static json_t *own(json_t **is, bool *owned)
{
    if (!*owned) {
        json_t *mine = *is != NULL ? json_is_object(*is) ? json_copy(*is) : NULL : json_object();
        if (mine == NULL)
            return NULL;
        *is = mine;
        *owned = true;
    }
    return json_is_object(*is) ? *is : NULL;
}

json_t *fj_rpc_edit_args(fj_rpc *rpc)
{
    return rpc->phase == FJ__RPC_BEGINS ? own(&rpc->args, &rpc->own_args) : NULL;
}

json_t *fj_rpc_edit_context(fj_rpc *rpc)
{
    if (rpc->phase != FJ__RPC_BEGINS)
        return NULL;
    if (rpc->request == NULL || rpc->own_context)
        return own(&rpc->context, &rpc->own_context);
    rpc->context = (json_t *)(uintptr_t)fj_request_context(rpc->request);
    if (own(&rpc->context, &rpc->own_context) == NULL)
        return NULL;
    fj__request_set_context(rpc->request, json_incref(rpc->context));
    return rpc->context;
}

static fj_code may_direct(const fj_rpc *rpc, fj_error **err)
{
    if (rpc->phase == FJ__RPC_BEGINS && rpc->request == NULL)
        return FJ_OK;
    return fj_fail(err, FJ_STATE, "where a call goes is settled before it is sent");
}

static void take_target(fj_rpc *rpc, fj_target own_target)
{
    if (rpc->own_target)
        fj__target_fini(&rpc->target);
    rpc->target = own_target;
    rpc->own_target = true;
}

fj_code fj_rpc_set_target(fj_rpc *rpc, const fj_target *target, fj_error **err)
{
    fj_target copy;
    fj_code code = may_direct(rpc, err);

    if (code != FJ_OK)
        return code;
    if (fj__target_copy(target, &copy) != FJ_OK)
        return fj_fail(err, FJ_NOMEM, "no memory for a target");
    take_target(rpc, copy);
    return FJ_OK;
}

fj_code fj_rpc_set_method(fj_rpc *rpc, const char *method, fj_error **err)
{
    fj_code code = may_direct(rpc, err);

    if (code != FJ_OK)
        return code;
    char *copy = fj__strdup(method);
    if (copy == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for the name of a method");
    if (rpc->own_method)
        fj__free((char *)(uintptr_t)rpc->method);
    rpc->method = copy;
    rpc->own_method = true;
    return FJ_OK;
}

fj_code fj_rpc_set_deadline(fj_rpc *rpc, fj_deadline by, fj_error **err)
{
    fj_code code = may_direct(rpc, err);

    if (code == FJ_OK)
        rpc->by = by;
    return code;
}

fj_code fj__rpc_keep(fj_rpc *rpc, fj_error **err)
{
    fj_target target = rpc->target;
    const char *method = rpc->method;
    fj_code code = fj_rpc_set_target(rpc, &target, err);

    if (code == FJ_OK)
        code = fj_rpc_set_method(rpc, method, err);
    if (code == FJ_OK && rpc->context != NULL) {
        rpc->context = json_deep_copy(rpc->context);
        rpc->own_context = true;
        if (rpc->context == NULL)
            code = fj_fail(err, FJ_NOMEM, "no memory for a context");
    }
    return code;
}

void fj_rpc_answer(fj_rpc *rpc, json_t *result)
{
    drop_outcome(rpc);
    rpc->stopped = true;
    rpc->code = FJ_OK;
    rpc->result = result;
}

void fj_rpc_fail(fj_rpc *rpc, fj_error *error)
{
    drop_outcome(rpc);
    rpc->stopped = true;
    if (fj_error_code(error) == FJ_OK || fj_error_code(error) == FJ_DEFERRED)
        fj_error_set_code(error, FJ_INTERNAL); /* which are no failures */
    rpc->code = fj_error_code(error);
    rpc->error = error;
    if (rpc->request == NULL && rpc->phase == FJ__RPC_ENDS)
        fj_error_set_sent(error, rpc->sent);
}
