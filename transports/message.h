/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TRANSPORTS_MESSAGE_H
#define FJORD_TRANSPORTS_MESSAGE_H
/*
 * oslo.messaging's messages, to bytes and back: the 2.0 envelope and, inwards, the bare v1 form; requests, replies,
 * failures (wire.md sections 5 to 8).  Pure functions: no thread, no socket, no clock.
 */
#include "base/json.h"

#include <fjord/driver.h>
#include <fjord/error.h>
#include <fjord/json.h>

/** What the members of a context are called in a message, before their own name: wire.md section 6. */
#define FJ__CONTEXT_PREFIX "_context_"

/** What a request carries beside the method: ids of the transport. */
typedef struct {
    const char *method;    /* lends */
    json_t *args;          /* lends; NULL: {} */
    const char *ns;        /* NULL: left out */
    const char *version;   /* NULL: left out */
    const char *msg_id;    /* NULL: a cast; else 32 hex digits */
    const char *reply_q;   /* with msg_id */
    double monitor;        /* with msg_id: _timeout; 0 is null; a whole number is written as an integer */
    const char *unique_id; /* 32 hex digits */
    const json_t *context; /* NULL: {} */
} fj__request_out;

/** The body of a request.  @param ret gives; free()   @errors BAD_VALUE, TOO_DEEP, TOO_BIG, NOMEM */
fj_code fj__message_request(const fj__request_out *r, const fj_json_opts *opts, char **ret, size_t *ret_n,
                            fj_error **err);

/** The body of a reply.  @param result lends (NULL: null); @param failure lends (NULL: success);
 *  @param ending false for a call-monitor heartbeat. */
fj_code fj__message_reply(const char *msg_id, const char *unique_id, const json_t *result,
                          const fj_error *failure, bool ending, const fj_json_opts *opts, char **ret,
                          size_t *ret_n, fj_error **err);

/** The envelope around any message, such as a notification's.  @param message lends; an object
 *  @param ret gives; free()   @errors BAD_VALUE, TOO_DEEP, TOO_BIG, NOMEM */
fj_code fj__message_wrap(const json_t *message, const fj_json_opts *opts, char **ret, size_t *ret_n,
                         fj_error **err);

/** The body of a notification.  @param n  checked   @param unique_id 32 hex digits   @param ret gives; free()
 *  @errors as fj__message_request() */
fj_code fj__message_notification(const fj_notification *n, const char *unique_id, const fj_json_opts *opts,
                                 char **ret, size_t *ret_n, fj_error **err);
/** Whether a transport can send it.  @errors BAD_TARGET, BAD_VALUE */
fj_code fj__notification_check(const fj_notification *n, fj_error **err);
/** "<topic>.<priority>".  Gives; NULL: no memory. */
char *fj__notification_key(const fj_notification *n);
/** Its message as a receiver reads it, without context and unique id, with nothing in common with what is lent.  Gives; NULL: no
 *  memory, or a text that is not UTF-8. */
json_t *fj__notification_json(const fj_notification *n);
/** "INFO" for FJ_NOTIFY_INFO. */
const char *fj__priority_upper(fj_priority priority);

/* For texts that are put together piece by piece. */
/** Each member of @p context (lends; may be NULL) as ", \"_context_KEY\": value". */
void fj__message_put_context(fj__json_out *o, const json_t *context);
/** The envelope around the text of a message, which is spent.  @param ret gives; free() */
fj_code fj__message_seal(fj__json_out *inner, const fj_json_opts *opts, char **ret, size_t *ret_n,
                         fj_error **err);

/** Unwrap a body: envelope 2.0, or the bare object of v1.  @param ret gives: the inner message, an object
 *  @errors BAD_JSON, BAD_MESSAGE (not an object; an envelope version other than 2.0), TOO_BIG, TOO_DEEP, NOMEM */
fj_code fj__message_open(const char *body, size_t n, const fj_json_opts *opts, json_t **ret, fj_error **err);

/** The parts of a request message that are the transport's. */
typedef struct {
    char *msg_id, *reply_q, *unique_id; /* NULL when absent, null or no string; owned: fini */
    json_t *context;                    /* object: _context_* without prefix, and client_timeout; owned */
    unsigned monitor_s;                 /* int(_timeout) as wire.md section 12 reads it; 0: no heartbeats */
} fj__request_in;

/** Take the transport's fields out of @p message (changed in place: what stays is method, args, namespace,
 *  version and what else the sender put there). */
fj_code fj__message_take(json_t *message, fj__request_in *ret, fj_error **err);
void fj__request_in_fini(fj__request_in *in);

/** A reply message, opened by fj__message_open(). */
typedef struct {
    char *msg_id;   /* owned */
    bool ending;    /* the call is over; missing counts as false */
    json_t *result; /* owned, never NULL */
    /* owned; NULL: success. Code REMOTE, sent = yes, class, module, args, kwargs, traceback */
    fj_error *failure;
} fj__reply_in;
/** @param message lends   @errors BAD_MESSAGE when it names no call, NOMEM */
fj_code fj__message_reply_in(json_t *message, const fj_json_opts *opts, fj__reply_in *ret, fj_error **err);
void fj__reply_in_fini(fj__reply_in *in);

#endif
