/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BODY_H
#define FJORD_BODY_H
/*
 * The bodies of messages, for drivers that have a wire: what <fjord/driver.h> speaks of, to bytes and back.  They are
 * oslo.messaging's, as on RabbitMQ, so that a driver need not invent a form for failures, contexts and heartbeats, and what it
 * sends can be read by others.  A driver says where bodies go; nothing obliges it to use these.
 *
 * Nothing here blocks, starts or remembers anything.  Any thread, with any lock held.
 */
#include <fjord/driver.h>
#include <fjord/json.h>

FJ_BEGIN_DECLS

/** What fj_driver_ops.send has to refuse at once.  @errors BAD_TARGET: no topic, or a call to all; BAD_VALUE: no method, arguments or a
 *  context that are no objects */
FJ_API FJ_MUST_USE fj_code fj_send_check(const fj_send *send, fj_error **err);

/** How JSON is written and read: [fjord] max_message_bytes, max_json_depth and json_odd_values of @p conf.  To be kept by a driver, from
 *  open() on.  @param conf lends; NULL: the defaults */
FJ_API fj_json_opts fj_body_json_opts(const fj_conf *conf);

/** A new name for a call, a message or a client: 32 random hex digits and NUL. */
FJ_API void fj_body_id(char out[33]);

/** The body of a request.
 *  @param send    lends, its arguments too
 *  @param call_id the name by which its answer will find it, of fj_body_id(); NULL for a cast
 *  @param reply_to where the answer goes, in words of the driver's own; with call_id
 *  @param ret     gives; free()   @errors BAD_VALUE, TOO_DEEP, TOO_BIG, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_body_request(const fj_send *send, const char *call_id, const char *reply_to,
                                           const fj_json_opts *opts, char **ret, size_t *ret_n, fj_error **err);

/** The body of a notification, in its version.  One is read by fj_body_take(), as a request is.
 *  @param n lends   @param ret gives; free()   @errors BAD_TARGET, BAD_VALUE, TOO_DEEP, TOO_BIG, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_body_notification(const fj_notification *n, const fj_json_opts *opts, char **ret,
                                                size_t *ret_n, fj_error **err);

/** What a request says to the driver alone.  All text is owned: fj_body_names_fini(). */
typedef struct {
    size_t size;
    char *call_id;   /**< NULL: a cast */
    char *reply_to;  /**< NULL: a cast */
    char *unique_id; /**< the message's own name; NULL: it has none */
    /** the caller wants a heartbeat (fj_body_reply() with @p last false) at least once in so many seconds,
     *  until the answer; 0: none */
    unsigned monitor;
} fj_body_names;
#define FJ_BODY_NAMES_INIT                         \
    {                                              \
        sizeof(fj_body_names), NULL, NULL, NULL, 0 \
    }

/** Read the body of a request.
 *  @param in   gets message, context, wants_reply, and id, which lends from @p names; its ops and listener are the driver's
 *  @param names comes as FJ_BODY_NAMES_INIT, gives on OK   @errors BAD_JSON, BAD_MESSAGE, TOO_BIG, TOO_DEEP, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_body_take(const char *body, size_t n, const fj_json_opts *opts, fj_incoming *in,
                                        fj_body_names *names, fj_error **err);
FJ_API void fj_body_names_fini(fj_body_names *names);

/** The body of an answer, or of a heartbeat.
 *  @param result, failure  lend, as fj_incoming_ops.reply gets them
 *  @param last  false: a heartbeat   @param ret gives; free()   @errors BAD_VALUE, TOO_DEEP, TOO_BIG, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_body_reply(const char *call_id, const json_t *result, const fj_error *failure,
                                         bool last, const fj_json_opts *opts, char **ret, size_t *ret_n,
                                         fj_error **err);

/** What an answer says.  All is owned: fj_body_answer_fini(), but for what was taken out and replaced by NULL. */
typedef struct {
    size_t size;
    char *call_id;
    bool last;         /**< false: a heartbeat */
    json_t *result;    /**< never NULL */
    fj_error *failure; /**< NULL: the method did well.  For fj_future_reject() */
} fj_body_answer;
#define FJ_BODY_ANSWER_INIT                             \
    {                                                   \
        sizeof(fj_body_answer), NULL, false, NULL, NULL \
    }

/** Read the body of an answer.  @param ret comes as FJ_BODY_ANSWER_INIT, gives on OK
 *  @errors BAD_JSON, BAD_MESSAGE, TOO_BIG, TOO_DEEP, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_body_read_reply(const char *body, size_t n, const fj_json_opts *opts,
                                              fj_body_answer *ret, fj_error **err);
FJ_API void fj_body_answer_fini(fj_body_answer *answer);

FJ_END_DECLS
#endif
