/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_RPC_H
#define FJORD_MESSAGING_RPC_H
/*
 * One call on its way through a chain: new, begin, what it came to, end, give or free.  Between begin and end it belongs to one
 * thread at a time: first that of the call, then that which has the outcome.
 */
#include "messaging/chain.h"

struct fj_rpc {
    const fj__chain *chain; /* lends, until the end */
    size_t at;              /* whose turn it is */
    size_t begun;           /* so many of the chain hear the end */
    enum { FJ__RPC_BEGINS, FJ__RPC_RUNS, FJ__RPC_ENDS, FJ__RPC_OVER } phase;
    bool stopped; /* in a begin */
    bool never_waits;
    fj_rpc_kind kind;
    /* What goes; each the caller's until it is the call's own. */
    fj_target target;
    const char *method;
    json_t *args;
    json_t *context;
    bool own_target, own_method, own_args, own_context;
    fj_deadline by;
    fj_request *request; /* lends, on a server */
    /* What came. */
    fj_code code;
    json_t *result;
    fj_error *error;
    fj_sent sent;
    void *data[]; /* of each */
};

/** @param ret gives; nothing is on its way yet   @errors NOMEM */
fj_code fj__rpc_new(const fj__chain *chain, fj_rpc **ret, fj_error **err);
/** Make all that goes its own: it ends when its caller is gone.  @errors NOMEM */
fj_code fj__rpc_keep(fj_rpc *rpc, fj_error **err);
/** @param client  which begins
 *  @return OK: it goes on; CLOSED: it stops here, and fj__rpc_end() follows; on a server also DEFERRED: who keeps the request answers
 *  it, and @p rpc may be in another thread's hands; STATE: it was answered */
fj_code fj__rpc_begin(fj_rpc *rpc, bool client);
/** The outcome.  @param result, error take; @p error may be NULL with any code */
void fj__rpc_came(fj_rpc *rpc, fj_code code, json_t *result, fj_error *error);
/** Those who began hear it. */
void fj__rpc_end(fj_rpc *rpc, bool client);
/** The outcome, given away.  @param ret, err may be NULL */
fj_code fj__rpc_give(fj_rpc *rpc, json_t **ret, fj_error **err);
/** Accepts NULL.  One of a client that has begun and not ended ends as cancelled. */
void fj__rpc_free(fj_rpc *rpc);

/* ---- around a server's methods ------------------------------------------------------------------ */

typedef struct {
    fj__chain chain;
    const fj_target *target; /* the server's */
    fj_invoke_fn inner;      /* what a chain is around: the user's wrapper, or the method */
    void *inner_user;
} fj__around;

/** An fj_invoke_fn.  @param user  the fj__around */
fj_code fj__around_invoke(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err);

#endif
