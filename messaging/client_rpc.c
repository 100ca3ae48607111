/* SPDX-License-Identifier: Apache-2.0 */
/* A call or cast through the interceptors of its client. */
#include "client_impl.h"

fj_code fj__rpc_of(const fj_client *c, const fj__outgoing *m, bool keep, fj_rpc **ret, fj_error **err)
{
    fj_rpc *rpc = NULL;
    fj_code code = fj__transport_check(c->transport, err);

    if (code == FJ_OK)
        code = fj__rpc_new(&c->chain, &rpc, err);
    if (code != FJ_OK)
        return code;
    rpc->kind = (m->kind & FJ_SEND_CALL) != 0 ? FJ_RPC_CALL : FJ_RPC_CAST;
    rpc->target = m->target;
    rpc->method = m->method;
    rpc->args = m->args;
    rpc->context = (json_t *)(uintptr_t)m->context; /* only read */
    rpc->by = m->by;
    rpc->never_waits = keep;
    if (keep)
        code = fj__rpc_keep(rpc, err);
    if (code == FJ_OK)
        *ret = rpc;
    else
        fj__rpc_free(rpc);
    return code;
}

bool fj__rpc_pass(fj_rpc *rpc, fj__outgoing *m)
{
    bool on = fj__rpc_begin(rpc, true) == FJ_OK;

    if (!on || rpc->own_args) {
        json_decref(m->args);
        m->args = NULL;
    }
    if (on && rpc->own_args) {
        m->args = rpc->args;
        rpc->own_args = false;
    }
    rpc->args = rpc->own_args ? rpc->args : NULL;
    m->target = rpc->target;
    m->method = rpc->method;
    m->context = rpc->context;
    m->by = rpc->by;
    return on;
}

fj_code fj__rpc_ended(fj_rpc *rpc, json_t **ret, fj_error **err)
{
    fj__rpc_end(rpc, true);
    fj_code code = fj__rpc_give(rpc, ret, err);
    fj__rpc_free(rpc);
    return code;
}
