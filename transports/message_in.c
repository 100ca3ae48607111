/* SPDX-License-Identifier: Apache-2.0 */
/* Messages in: the envelope opened, and the parts of a request or a reply that are the transport's taken out. */
#include "transports/message.h"

#include "base/alloc.h"
#include "base/json.h"
#include "transports/failure.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

enum { PREFIX_LENGTH = sizeof FJ__CONTEXT_PREFIX - 1 };

/* ---- the envelope -------------------------------------------------------------------------- */

/* The message inside an envelope, which is spent. */
static fj_code unwrap(json_t *envelope, const fj_json_opts *opts, json_t **ret, fj_error **err)
{
    const json_t *version = json_object_get(envelope, "oslo.version");
    const json_t *text = json_object_get(envelope, "oslo.message");
    fj_code code;

    if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0) {
        code = fj_fail(err, FJ_BAD_MESSAGE, "an envelope of version %.40s, not 2.0",
                       json_is_string(version) ? json_string_value(version) : "that is no string");
    } else if (!json_is_string(text)) {
        code = fj_fail(err, FJ_BAD_MESSAGE, "oslo.message is not a string");
    } else {
        code = fj_json_read(json_string_value(text), json_string_length(text), opts, ret, err);
        if (code != FJ_OK)
            fj_error_prefix(err, "oslo.message");
    }
    json_decref(envelope);
    return code;
}

fj_code fj__message_open(const char *body, size_t n, const fj_json_opts *opts, json_t **ret, fj_error **err)
{
    json_t *message = n == 0 ? json_object() : NULL;
    fj_code code = FJ_OK;

    if (n != 0)
        code = fj_json_read(body, n, opts, &message, err);
    else if (message == NULL)
        code = fj_fail(err, FJ_NOMEM, NULL);
    if (code != FJ_OK)
        return code;
    if (json_object_get(message, "oslo.version") != NULL && json_object_get(message, "oslo.message") != NULL) {
        code = unwrap(message, opts, &message, err);
        if (code != FJ_OK)
            return code;
    }
    if (!json_is_object(message)) {
        json_decref(message);
        return fj_fail(err, FJ_BAD_MESSAGE, "a message that is not an object");
    }
    *ret = message;
    return FJ_OK;
}

/* ---- requests ------------------------------------------------------------------------------ */

/* A copy of a string member, without NUL in it; *ret stays NULL for anything else.  False: memory ran out. */
static bool copy_text(const json_t *message, const char *key, char **ret)
{
    const json_t *value = json_object_get(message, key);
    const char *text = json_string_value(value);

    if (text == NULL || strlen(text) != json_string_length(value))
        return true;
    *ret = fj__strdup(text);
    return *ret != NULL;
}

static unsigned seconds(double value)
{
    return value < 2 ? 0 : value < UINT_MAX ? (unsigned)value : UINT_MAX;
}

/* Python's int() of a text: white space around it, a sign, digits, single underscores between them. */
static unsigned seconds_of_text(const char *p)
{
    double value = 0;

    while (isspace((unsigned char)*p))
        p++;
    if (*p == '+')
        p++;
    if (!isdigit((unsigned char)*p))
        return 0;
    for (; isdigit((unsigned char)*p); p++) {
        value = value * 10 + (*p - '0');
        if (p[1] == '_' && isdigit((unsigned char)p[2]))
            p++;
    }
    while (isspace((unsigned char)*p))
        p++;
    return *p == '\0' ? seconds(value) : 0;
}

/* int(_timeout) where heartbeats would be sent for it, that is from 2 on; else 0. */
static unsigned monitor_of(const json_t *timeout)
{
    const char *big = fj__json_big_int(timeout);

    if (big != NULL)
        return seconds_of_text(big);
    if (json_is_string(timeout)) {
        const char *text = json_string_value(timeout);
        return strlen(text) == json_string_length(timeout) ? seconds_of_text(text) : 0;
    }
    return json_is_number(timeout) ? seconds(json_number_value(timeout)) : 0;
}

/* Move what begins with _context_ from the message to the context. */
static bool move_context(json_t *message, json_t *context)
{
    const char *key;
    size_t n;
    json_t *value;
    void *next;

    json_object_keylen_foreach_safe(message, next, key, n, value)
    {
        if (n < PREFIX_LENGTH || memcmp(key, FJ__CONTEXT_PREFIX, PREFIX_LENGTH) != 0)
            continue;
        if (json_object_setn_nocheck(context, key + PREFIX_LENGTH, n - PREFIX_LENGTH, value) != 0)
            return false;
        (void)json_object_deln(message, key, n);
    }
    return true;
}

/* The context of a request, as an endpoint sees it. */
static json_t *take_context(json_t *message)
{
    json_t *timeout = json_object_get(message, "_timeout");
    json_t *context = json_object();

    if (context == NULL)
        return NULL;
    /* oslo.messaging uses these two names for itself, so that they never reach an endpoint. */
    if (!move_context(message, context) ||
        json_object_set_nocheck(context, "client_timeout", timeout != NULL ? timeout : json_null()) != 0) {
        json_decref(context);
        return NULL;
    }
    (void)json_object_del(context, "msg_id");
    (void)json_object_del(context, "reply_q");
    return context;
}

fj_code fj__message_take(json_t *message, fj__request_in *ret, fj_error **err)
{
    static const char *const own[] = { "_msg_id", "_reply_q", "_unique_id", "_timeout" };
    fj__request_in in = { .monitor_s = monitor_of(json_object_get(message, "_timeout")) };

    in.context = take_context(message);
    if (in.context == NULL || !copy_text(message, "_msg_id", &in.msg_id) ||
        !copy_text(message, "_reply_q", &in.reply_q) || !copy_text(message, "_unique_id", &in.unique_id)) {
        fj__request_in_fini(&in);
        return fj_fail(err, FJ_NOMEM, "out of memory reading a request");
    }
    for (size_t i = 0; i < fj__countof(own); i++)
        (void)json_object_del(message, own[i]);
    *ret = in;
    return FJ_OK;
}

void fj__request_in_fini(fj__request_in *in)
{
    fj__free(in->msg_id);
    fj__free(in->reply_q);
    fj__free(in->unique_id);
    json_decref(in->context);
    *in = (fj__request_in){ 0 };
}

/* ---- replies ------------------------------------------------------------------------------- */

fj_code fj__message_reply_in(json_t *message, const fj_json_opts *opts, fj__reply_in *ret, fj_error **err)
{
    fj__reply_in in = { .ending = fj__json_truthy(json_object_get(message, "ending")) };
    json_t *result = json_object_get(message, "result");
    fj_code code;

    if (!copy_text(message, "_msg_id", &in.msg_id))
        return fj_fail(err, FJ_NOMEM, "out of memory reading a reply");
    if (in.msg_id == NULL)
        return fj_fail(err, FJ_BAD_MESSAGE, "a reply that names no call: no _msg_id");
    code = fj__failure_read(json_object_get(message, "failure"), opts, &in.failure, err);
    if (code != FJ_OK) {
        fj__reply_in_fini(&in);
        return code;
    }
    in.result = result != NULL ? json_incref(result) : json_null();
    *ret = in;
    return FJ_OK;
}

void fj__reply_in_fini(fj__reply_in *in)
{
    fj__free(in->msg_id);
    json_decref(in->result);
    fj_error_free(in->failure);
    *in = (fj__reply_in){ 0 };
}
