/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_INTERCEPTOR_H
#define FJORD_INTERCEPTOR_H
/*
 * Interceptors: code around every call, cast and method, for what is nobody's own business: authorisation, tracing, limits, faults
 * (docs/interceptors.md).
 *
 * One is a const table; a slot that is NULL lets everything pass.  Those of a transport come first, as [fjord] interceptors lists
 * them, then as fj_transport_intercept() added them; then those of the client or the server.  The first is the outermost: it begins
 * first and ends last.
 *
 *     application  ->  client_begin 1, 2, 3  ->  serializer  ->  the broker  ->  serializer  ->  server_begin 1, 2, 3  ->  wrap, method
 *     application  <-  client_end   3, 2, 1  <-  serializer  <-  the broker  <-  serializer  <-  server_end   3, 2, 1  <-  wrap, method
 *
 * Who began with FJ_OK hears the end, once: when the outcome is known, whatever it is.  Between the two others may use the same
 * table at the same time, on any thread: `state` is shared by all, fj_rpc_data() is of the one call.
 *
 * Nothing is sent again for an interceptor: what was sent once may have been done.  One that knows better makes a call of its own
 * in its end, and answers with that.
 *
 * A plug-in exports `const fj_interceptor *fj_interceptor_plugin(void)`, and is linked without libfjord, whose functions it finds
 * in the process.  examples/plugins/interceptor_token.c is one.
 */
#include <fjord/base.h>
#include <fjord/client.h>
#include <fjord/clock.h>
#include <fjord/conf.h>
#include <fjord/endpoint.h>
#include <fjord/error.h>
#include <fjord/server.h>
#include <fjord/target.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

#define FJ_INTERCEPTOR_ABI 1u

/** A call or cast, as an interceptor sees it: lent, from its begin to its end. */
typedef struct fj_rpc fj_rpc;

/** A begin: change what is on its way, or stop it here.
 *  @return FJ_OK to go on; another code, with fj_fail(), to fail the call, of which nothing is sent and no method runs: its own end
 *          is not called then.  On a server FJ_DEFERRED when it kept the request, and answers it later.
 *  @thread that of the call; the method's, in its task.  It may wait, as the caller or method may: a task suspends.  Not if
 *          fj_rpc_may_wait() says no */
typedef fj_code (*fj_rpc_begin_fn)(void *state, fj_rpc *rpc, fj_error **err);
/** An end: the outcome is there, and may be replaced.
 *  @thread as begin; of asynchronous calls and deferred requests that of whoever completes them, where it must not wait */
typedef void (*fj_rpc_end_fn)(void *state, fj_rpc *rpc);

typedef struct {
    uint32_t abi; /**< FJ_INTERCEPTOR_ABI */
    size_t size;
    const char *name;
    /** What it reads in its section, ended by NULL, for `fjord config check`; NULL: it does not say. */
    const char *const *options;
    /** Make a state: for a transport, client or server each, before it is used.  NULL: @p user is the state.
     *  @param user     lends: what it was added with; NULL for those of the configuration
     *  @param conf     lends, for the time of the call; see fj_conf_lookup()
     *  @param section  "interceptor:NAME", the group of its options; NAME is that of the configuration, of a path its last part
     *                  without ".so"; from code the table's
     *  @param ret_state gives   @errors any; they are told with its name, and whatever it was for is not opened or made */
    fj_code (*open)(void *user, const fj_conf *conf, const char *section, void **ret_state, fj_error **err);
    /** Nobody uses the state any more.  After a good open; NULL: nothing is to be done.  @thread any */
    void (*close)(void *state);
    fj_rpc_begin_fn client_begin;
    fj_rpc_end_fn client_end;
    fj_rpc_begin_fn server_begin;
    fj_rpc_end_fn server_end;
} fj_interceptor;
#define FJ_INTERCEPTOR(...)                                                    \
    {                                                                          \
        .abi = FJ_INTERCEPTOR_ABI, .size = sizeof(fj_interceptor), __VA_ARGS__ \
    }

/* ---- putting them in ----------------------------------------------------------------------------- */

/** Around every call and method of clients and servers that are made from now on.
 *  @param interceptor lends for ever   @param user lends until it is closed
 *  @errors BAD_ARGS for a broken table; those of its open   @thread any, while no other uses the transport */
FJ_API FJ_MUST_USE fj_code fj_transport_intercept(fj_transport *transport, const fj_interceptor *interceptor,
                                                  void *user, fj_error **err);
/** Around this client's calls and casts, inside the transport's.  Before its first.   As fj_transport_intercept() */
FJ_API FJ_MUST_USE fj_code fj_client_intercept(fj_client *client, const fj_interceptor *interceptor, void *user,
                                               fj_error **err);
/** Around this server's methods, inside the transport's.  @errors STATE when started   As fj_transport_intercept() */
FJ_API FJ_MUST_USE fj_code fj_server_intercept(fj_server *server, const fj_interceptor *interceptor, void *user,
                                               fj_error **err);
/** The plug-in `<name>.so` of [fjord] plugin_dir, or the one of that absolute path.  Lends, for ever.
 *  @errors BAD_CONFIG says why it was refused: of another ABI, or others than root and the process's user may change it
 *  @thread any */
FJ_API FJ_MUST_USE fj_code fj_interceptor_find(const fj_conf *conf, const char *name,
                                               const fj_interceptor **ret, fj_error **err);

/* ---- what an interceptor asks -------------------------------------------------------------------- */

typedef enum {
    FJ_RPC_CALL = 0, /**< somebody waits for the answer */
    FJ_RPC_CAST,
    FJ_RPC_FANOUT /**< a cast to all; servers see a cast */
} fj_rpc_kind;

FJ_API fj_rpc_kind fj_rpc_kind_of(const fj_rpc *rpc);
/** On a server the request; NULL on a client.  Its arguments and context may be read by both ways. */
FJ_API fj_request *fj_rpc_request(const fj_rpc *rpc);
/** Where it goes; on a server, what it came to: topic and server are the server's own.  Lends. */
FJ_API const fj_target *fj_rpc_target(const fj_rpc *rpc);
FJ_API const char *fj_rpc_method(const fj_rpc *rpc);
/** When a client gives up; FJ_NEVER for casts without a deadline, and on a server. */
FJ_API fj_deadline fj_rpc_deadline(const fj_rpc *rpc);
/** An object, or NULL for none.  NULL once the end has come.  As the application has it, before and after serializers. */
FJ_API const json_t *fj_rpc_args(const fj_rpc *rpc);
/** An object, or NULL for none; on a server with client_timeout in it. */
FJ_API const json_t *fj_rpc_context(const fj_rpc *rpc);
/** Whether this thread or task may wait here.  In an end of an asynchronous call or a deferred request: no. */
FJ_API bool fj_rpc_may_wait(const fj_rpc *rpc);
/** What the interceptor that is called keeps from begin to end: NULL at first; it frees it itself. */
FJ_API void **fj_rpc_data(fj_rpc *rpc);

/** The outcome, in an end, or once it is set in a begin: FJ_OK or the failure's code.  FJ_CANCELLED: the caller gave up, or the
 *  method's task was asked to end; FJ_TIMEOUT: it came too late; FJ_DEFERRED: there is none yet. */
FJ_API fj_code fj_rpc_code(const fj_rpc *rpc);
FJ_API const json_t *fj_rpc_result(const fj_rpc *rpc);  /**< lends; NULL is JSON null, and with a failure */
FJ_API const fj_error *fj_rpc_error(const fj_rpc *rpc); /**< lends; NULL without a failure */
/** On a client: whether the other side has it, whatever interceptors made of the outcome. */
FJ_API fj_sent fj_rpc_sent(const fj_rpc *rpc);

/* ---- what it changes ----------------------------------------------------------------------------- */

/** In a begin: the arguments, or the context, to be changed: an object of this call's own, made of what there is (what is in it may
 *  be shared: replace values, do not change them).  Lends.  @return NULL in an end, for arguments that are no object, or without memory */
FJ_API json_t *fj_rpc_edit_args(fj_rpc *rpc);
FJ_API json_t *fj_rpc_edit_context(fj_rpc *rpc);
/** In a client's begin.  @param target lends (copied), whole   @errors STATE elsewhere; NOMEM */
FJ_API fj_code fj_rpc_set_target(fj_rpc *rpc, const fj_target *target, fj_error **err);
/** @param method lends (copied) */
FJ_API fj_code fj_rpc_set_method(fj_rpc *rpc, const char *method, fj_error **err);
FJ_API fj_code fj_rpc_set_deadline(fj_rpc *rpc, fj_deadline by, fj_error **err);
/** Make this the outcome.  In a begin nothing further in is called; those who have begun, this one too, hear the end.
 *  @param result takes; NULL is JSON null   @param error takes; not NULL */
FJ_API void fj_rpc_answer(fj_rpc *rpc, json_t *result);
FJ_API void fj_rpc_fail(fj_rpc *rpc, fj_error *error);

FJ_END_DECLS
#endif
