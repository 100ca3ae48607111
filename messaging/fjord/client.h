/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_CLIENT_H
#define FJORD_CLIENT_H
/*
 * An RPC client: calls and casts to a target.  Many threads and tasks may call through one at once.
 *
 * The same functions serve threads and tasks: what waits blocks a plain thread and suspends a task.  In a call-back of a
 * loop it answers FJ_WRONG_CONTEXT, and nothing is sent: there the forms without waiting are for.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/serializer.h>
#include <fjord/target.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

typedef struct fj_client fj_client;

/** A remote failure of this module (and class; NULL: any) is answered with @p code instead of FJ_REMOTE
 *  (the place of oslo's allowed_remote_exmods). */
typedef struct {
    const char *module;
    const char *class_name;
    fj_code code; /**< FJ_USER + n, or any other */
} fj_remote_error;

typedef struct {
    size_t size;
    double timeout;                       /**< seconds; 0: [DEFAULT] rpc_response_timeout */
    const char *version_cap;              /**< NULL: none */
    double monitor;                       /**< call_monitor_timeout, seconds; 0: none */
    int retry;                            /**< -1: for ever (until the deadline) */
    bool mandatory;                       /**< oslo's TransportOptions(at_least_once=True) */
    bool resend;                          /**< `resend = maybe` */
    const fj_serializer *serializer;      /**< lends until the client is freed; NULL: pass through */
    const fj_remote_error *remote_errors; /**< copied; the first that fits wins */
    size_t remote_errors_count;
} fj_client_opts;
#define FJ_CLIENT_OPTS_INIT                                                     \
    {                                                                           \
        sizeof(fj_client_opts), 0.0, NULL, 0.0, -1, false, false, NULL, NULL, 0 \
    }

/** Options of one call or cast; the client's stand where these are unset. */
typedef struct {
    size_t size;
    fj_deadline by;        /**< 0: the client's timeout from now; FJ_NEVER is refused for calls */
    const json_t *context; /**< lends during the call; an object; NULL for {} */
    /* What oslo's prepare() changes; NULL leaves the client's target. */
    const char *exchange, *topic, *server, *ns, *version, *version_cap;
    bool fanout;
    double monitor; /**< seconds; 0: the client's; negative: none */
    int retry;      /**< FJ_RETRY_UNSET: the client's */
    int mandatory;  /**< -1: the client's; 0; 1 */
    int resend;     /**< -1: the client's; 0; 1 */
} fj_call_opts;
#define FJ_RETRY_UNSET (-2)
#define FJ_CALL_OPTS_INIT                                                                                      \
    {                                                                                                          \
        sizeof(fj_call_opts), { 0 }, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, 0.0, FJ_RETRY_UNSET, -1, \
            -1                                                                                                 \
    }

/** @param target lends (copied); needs a topic   @param opts lends (copied); NULL for the defaults
 *  @param ret gives   @errors BAD_TARGET, NOMEM   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_client_new(fj_transport *transport, const fj_target *target,
                                         const fj_client_opts *opts, fj_client **ret, fj_error **err);
/** Not while one of its calls runs; futures may still be pending.  Accepts NULL, answers NULL.  Never blocks. */
FJ_API fj_client *fj_client_free(fj_client *client);

/** Call a method and wait for its result.
 *  @param args takes; an object of keyword arguments; NULL for {}
 *  @param opts lends; NULL for the defaults
 *  @param ret  gives; may be NULL
 *  @errors REMOTE (or the mapped code), TIMEOUT, UNREACHABLE, LOST, UNDELIVERABLE, VERSION_CAP, BAD_TARGET,
 *          BAD_VALUE, TOO_BIG, AUTH, ACCESS, FORKED, CLOSED, WRONG_CONTEXT; CANCELLED in a task that is asked to end: the
 *          reply is not waited for; fj_error_sent() says whether a server may have it
 *  @blocks until the reply or the deadline; a task suspends   @thread any, also within methods */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_client_call(fj_client *client, const char *method, json_t *args,
                                                       const fj_call_opts *opts, json_t **ret, fj_error **err);
/** The same without waiting.  @param ret gives a future; it completes by the deadline
 *  @errors those known at once; BUSY: [fjord] max_unsent_bytes wait for the broker   @thread any, also in call-backs of a loop; never blocks */
FJ_API FJ_MUST_USE fj_code fj_client_call_async(fj_client *client, const char *method, json_t *args,
                                                const fj_call_opts *opts, fj_future **ret, fj_error **err);
/** Send a method without asking for its result; returns when the broker has it (sent = yes).
 *  @param args takes   @errors as fj_client_call(), but REMOTE
 *  @blocks until the broker's confirmation or the deadline; a task suspends   @thread any */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_client_cast(fj_client *client, const char *method, json_t *args,
                                                       const fj_call_opts *opts, fj_error **err);
/** The same without waiting.  One that follows another within a millisecond may leave together with those that follow it, a
 *  millisecond later at most; fj_client_flush() does not wait for more.
 *  @param ret gives a future of the broker's confirmation; NULL: not wanted
 *  @errors those known at once; BUSY: [fjord] max_unsent_bytes wait for the broker, fj_client_flush() waits for it
 *  @thread any, also in call-backs of a loop; never blocks */
FJ_API FJ_MUST_USE fj_code fj_client_cast_async(fj_client *client, const char *method, json_t *args,
                                                const fj_call_opts *opts, fj_future **ret, fj_error **err);
/** Wait until every cast of this client is confirmed or has failed.  @return the first failure since the last
 *  flush, or TIMEOUT; CANCELLED; WRONG_CONTEXT   @blocks until @p by; a task suspends   @thread any */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_client_flush(fj_client *client, fj_deadline by, fj_error **err);
/** Whether a message of @p version may be sent under the cap (oslo's can_send_version); NULL: the target's. */
FJ_API bool fj_client_can_send_version(const fj_client *client, const char *version);

FJ_END_DECLS
#endif
