/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_H
#define FJORD_DISPATCHER_H
/*
 * The dispatcher: a message in, an endpoint's method out.  It knows no thread and no socket, and asks the clock for nothing
 * but how long things took.
 * Executors use it in two steps, so that they may move a request to another thread between them.
 */
#include <fjord/access.h>
#include <fjord/base.h>
#include <fjord/driver.h>
#include <fjord/endpoint.h>
#include <fjord/error.h>
#include <fjord/serializer.h>

FJ_BEGIN_DECLS

typedef struct fj_dispatcher fj_dispatcher;

typedef struct {
    size_t size;
    fj_access access;
    const fj_serializer *serializer; /**< lends until the dispatcher is freed; NULL: pass through */
    bool ping;                       /**< answer oslo_rpc_server_ping (rpc_ping_enabled) */
} fj_dispatcher_opts;
#define FJ_DISPATCHER_OPTS_INIT                                    \
    {                                                              \
        sizeof(fj_dispatcher_opts), FJ_ACCESS_DEFAULT, NULL, false \
    }

/** @param ret gives */
FJ_API FJ_MUST_USE fj_code fj_dispatcher_new(const fj_dispatcher_opts *opts, fj_dispatcher **ret,
                                             fj_error **err);
/** Only when every request is finished.  Accepts NULL, answers NULL. */
FJ_API fj_dispatcher *fj_dispatcher_free(fj_dispatcher *d);
/** Add an endpoint; asked in the order they were added.  @param endpoint, data lend until the dispatcher is
 *  freed.  Not while requests run.  @errors BAD_ARGS for a broken table, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_dispatcher_add(fj_dispatcher *d, const fj_endpoint *endpoint, void *data,
                                             fj_error **err);
/** The endpoint and method tables, for the start-up log: the i-th method of all, or false past the last. */
FJ_API bool fj_dispatcher_method(const fj_dispatcher *d, size_t i, const fj_endpoint **ret_endpoint,
                                 const fj_method **ret_method);

/** Called when a request is finished for good (answered, failed or dropped), from the thread that finished it:
 *  the executor frees the slot.  Exactly once per request that begin gave. */
typedef void (*fj_request_done_fn)(fj_request *req, void *user);

/** Step one: make a request of a message and find its method.  Never runs user code, never blocks.
 *  @param in takes; when no method fits, the failure has been sent and @p in is freed
 *  @param ret gives one reference; NULL when it was answered already
 *  @return OK, also when answered already; NOMEM (in is requeued) */
FJ_API FJ_MUST_USE fj_code fj_dispatcher_begin(fj_dispatcher *d, fj_incoming *in, fj_request_done_fn done,
                                               void *user, fj_request **ret, fj_error **err);
/** Instead of step one: the message cannot be run here and now (the server has ended, its acknowledgement failed), and goes
 *  back to the broker.  @param in takes   @thread any, never blocks */
FJ_API void fj_dispatcher_give_back(fj_dispatcher *d, fj_incoming *in);
FJ_API const fj_method *fj_request_chosen(const fj_request *req);
/** The `user` given to begin. */
FJ_API void *fj_request_owner(const fj_request *req);

/** How the chosen method is called: what an executor, or a user's wrapper around it, puts in between
 *  (oslo.messaging's executor_callback).  @p args are deserialized. */
typedef fj_code (*fj_invoke_fn)(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err);
/** The innermost invoke: call the method's function on this stack. */
FJ_API fj_code fj_invoke_direct(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err);

/** Step two: deserialize, run the method by @p invoke (NULL: directly), serialize, answer.  Errors become the
 *  caller's failure and a log line; none comes out.  @param req takes */
FJ_API void fj_dispatcher_run(fj_dispatcher *d, fj_request *req, fj_invoke_fn invoke, void *user);
/** Instead of step two: fail the request with @p failure (takes) without running it.  @param req takes */
FJ_API void fj_dispatcher_drop(fj_dispatcher *d, fj_request *req, fj_error *failure);

/** The request whose method runs in this task or, outside of tasks, on this thread now, or NULL. */
FJ_API fj_request *fj_request_current(void);
/** Whether a method of @p d runs in this task or, outside of tasks, on this thread, at whatever depth.  @thread any */
FJ_API bool fj_dispatcher_here(const fj_dispatcher *d);

FJ_END_DECLS
#endif
