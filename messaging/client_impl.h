/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_MESSAGING_CLIENT_IMPL_H
#define FJORD_MESSAGING_CLIENT_IMPL_H
/*
 * The RPC client inside: client.c is its life and the calls that are waited for, client_async.c those that are not, client_out.c the way
 * to the driver, client_in.c the way back, client_rpc.c the way through interceptors.
 */
#include <fjord/client.h>

#include "internal.h"
#include "pending.h"
#include "rpc.h"

#include <stdatomic.h>

struct fj_client {
    atomic_uint refs; /* the owner's, and those of futures and casts on their way */
    unsigned generation;
    fj_transport *transport;
    fj_target target;
    fj_client_opts opts; /* version_cap and remote_errors are its own */
    fj_remote_error *rules;
    fj__chain chain;        /* of interceptors */
    fj__counters *counters; /* the transport's: calls may end after it */
    fj__pending casts;
};

void fj__client_unref(fj_client *c);

/* What its caller said, and interceptors made of it. */
typedef struct {
    const fj_call_opts *opts;
    const char *method;
    json_t *args;          /* owned, until it is sent */
    const json_t *context; /* lends */
    fj_target target;
    fj_deadline by;
    unsigned kind; /* FJ_SEND_CALL, or 0 */
    fj_deadline began;
    fj__counted *row; /* once it goes out */
} fj__outgoing;

/** @param args takes   @param kind FJ_SEND_CALL, or 0 */
fj__outgoing fj__outgoing_of(const fj_client *c, const char *method, json_t *args, const fj_call_opts *o,
                             unsigned kind);
fj_call_opts fj__call_opts_of(const fj_call_opts *given);
/** Hand it to the driver.  Its arguments are taken.  Who gets OK tells of its end by fj__outgoing_counted().  For one who waits for it
 *  next: nothing is sent where that is not allowed.   @param ret gives */
fj_code fj__outgoing_begin_waited(fj_client *c, fj__outgoing *m, fj_future **ret, fj_error **err);
/** The same for one that nobody need wait for: its end is counted when its future is complete. */
fj_code fj__outgoing_begin_followed(fj_client *c, fj__outgoing *m, fj_future **ret, fj_error **err);
/** It has ended.  @param error lends; may be NULL */
void fj__outgoing_counted(fj__counted *row, fj_deadline began, fj_code code, const fj_error *error);

/** The application's code for a remote failure that it has named.  @p error may be NULL */
void fj__client_map_error(const fj_client *c, fj_error *error);
/** As the serializer makes it.  @param raw takes   @param ret gives; may be NULL */
fj_code fj__client_result_in(const fj_client *c, const json_t *context, json_t *raw, json_t **ret,
                             fj_error **err);
/** A call of a method to a server that has no slot left but the method's own can only time out: say so. */
void fj__client_explain_timeout(const char *topic, fj_error **error);

/** What interceptors see of it.  @param keep it is to end when its caller is gone */
fj_code fj__rpc_of(const fj_client *c, const fj__outgoing *m, bool keep, fj_rpc **ret, fj_error **err);
/** What they made of it.  @return whether it goes on */
bool fj__rpc_pass(fj_rpc *rpc, fj__outgoing *m);
/** Its outcome, through all of them.  @param rpc takes */
fj_code fj__rpc_ended(fj_rpc *rpc, json_t **ret, fj_error **err);

#endif
