/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interceptors around a server's methods: a wrapper as a user's is, that every executor calls where the method runs.  The end comes
 * there, too, unless the request is answered otherwise: deferred, given up or dropped; then with the answer, on its thread.
 */
#include "dispatcher/request.h"
#include "messaging/rpc.h"

static void answered(void *user, json_t **result, fj_error **failure)
{
    fj_rpc *rpc = user;

    rpc->never_waits = true;
    fj__rpc_came(rpc, *failure != NULL ? fj_error_code(*failure) : FJ_OK, *result, *failure);
    *result = NULL;
    *failure = NULL;
    fj__rpc_end(rpc, false);
    (void)fj__rpc_give(rpc, result, failure);
}

static void freed(void *user)
{
    fj__rpc_free(user);
}

static const fj__request_follow follow = { answered, freed };

static fj_rpc *rpc_of(const fj__around *a, fj_request *req, json_t *args, fj_error **err)
{
    fj_rpc *rpc = NULL;

    if (fj__rpc_new(&a->chain, &rpc, err) != FJ_OK)
        return NULL;
    rpc->kind = fj_request_is_call(req) ? FJ_RPC_CALL : FJ_RPC_CAST;
    rpc->target = (fj_target)FJ_TARGET(.exchange = a->target->exchange, .topic = a->target->topic,
                                       .server = a->target->server, .ns = fj_request_ns(req),
                                       .version = fj_request_version(req));
    rpc->method = fj_request_method(req);
    rpc->args = args;
    rpc->request = req;
    return rpc;
}

/* Nobody else answers it any more, and it ends here. */
static fj_code end_here(fj_rpc *rpc, json_t **ret, fj_error **err)
{
    fj__rpc_end(rpc, false);
    return fj__rpc_give(rpc, ret, err);
}

static fj_code through(const fj__around *a, fj_rpc *rpc, fj_request *req, json_t **ret, fj_error **err)
{
    json_t *result = NULL;
    fj_error *error = NULL;

    fj_code code = fj__rpc_begin(rpc, false);
    if (code == FJ_CLOSED && fj__request_hold(req))
        return end_here(rpc, ret, err);
    if (code != FJ_OK)
        return code;
    code = a->inner(a->inner_user, req, rpc->args, &result, &error);
    if (code != FJ_DEFERRED && fj__request_hold(req)) {
        fj__rpc_came(rpc, code, result, error);
        return end_here(rpc, ret, err);
    }
    /* Deferred, or answered already: from here on it may be in another thread's hands. */
    *ret = result;
    if (error != NULL)
        (void)fj_error_move(error, err);
    return code;
}

fj_code fj__around_invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const fj__around *a = user;
    fj_rpc *rpc = rpc_of(a, req, args, err);

    if (rpc == NULL)
        return FJ_NOMEM;
    fj__request_set_follow(req, &follow, rpc);
    fj_request *before = fj__request_enter(req);
    fj_code code = through(a, rpc, req, ret, err);
    fj__request_leave(req, before);
    return code;
}
