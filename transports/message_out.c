/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out.  The text of one is written straight into the envelope's string: no tree of values is built for it. */
#include "transports/message.h"

#include "base/alloc.h"
#include "base/json.h"
#include "transports/failure.h"

#include <math.h>
#include <stdio.h>

fj_code fj__message_seal(fj__json_out *inner, const fj_json_opts *opts, char **ret, size_t *ret_n,
                         fj_error **err)
{
    char *text;
    size_t n;
    fj_code code = fj__json_out_finish(inner, &text, &n, err);

    if (code != FJ_OK)
        return code;
    fj__json_out o = fj__json_out_new(opts);
    fj__json_out_lit(&o, "{\"oslo.version\": \"2.0\", \"oslo.message\": ");
    fj__json_out_string(&o, text, n);
    fj__json_out_lit(&o, "}");
    fj__free(text);
    return fj__json_out_finish(&o, ret, ret_n, err);
}

fj_code fj__message_wrap(const json_t *message, const fj_json_opts *opts, char **ret, size_t *ret_n,
                         fj_error **err)
{
    fj__json_out o = fj__json_out_new(opts);

    fj__json_out_value(&o, message);
    return fj__message_seal(&o, opts, ret, ret_n, err);
}

/* The member of a message whose key, quoted and between ", " and ": ", is a literal. */
#define PUT_TEXT(o, key, text)                  \
    do {                                        \
        fj__json_out_lit(o, ", \"" key "\": "); \
        fj__json_out_text(o, text);             \
    } while (0)

static void put_monitor(fj__json_out *o, double monitor)
{
    fj__json_out_lit(o, ", \"_timeout\": ");
    if (!(monitor > 0) || isinf(monitor)) {
        fj__json_out_lit(o, "null");
    } else if (monitor < 1e15 && floor(monitor) >= monitor) {
        char text[24];
        fj__json_out_raw(o, text, (size_t)snprintf(text, sizeof text, "%.0f", monitor));
    } else {
        fj__json_out_real(o, monitor);
    }
}

void fj__message_put_context(fj__json_out *o, const json_t *context)
{
    json_t *shared = (json_t *)context; /* jansson's iterators want it so; nothing is changed */

    for (void *i = json_object_iter(shared); i != NULL; i = json_object_iter_next(shared, i)) {
        fj__json_out_lit(o, ", \"");
        fj__json_out_lit(o, FJ__CONTEXT_PREFIX);
        fj__json_out_escaped(o, json_object_iter_key(i), json_object_iter_key_len(i));
        fj__json_out_lit(o, "\": ");
        fj__json_out_value(o, json_object_iter_value(i));
    }
}

fj_code fj__message_request(const fj__request_out *r, const fj_json_opts *opts, char **ret, size_t *ret_n,
                            fj_error **err)
{
    fj__json_out o = fj__json_out_new(opts);

    o.depth = 1; /* what follows stands in one object */
    fj__json_out_lit(&o, "{\"method\": ");
    fj__json_out_text(&o, r->method);
    fj__json_out_lit(&o, ", \"args\": ");
    if (r->args != NULL)
        fj__json_out_value(&o, r->args);
    else
        fj__json_out_lit(&o, "{}");
    if (r->ns != NULL)
        PUT_TEXT(&o, "namespace", r->ns);
    if (r->version != NULL)
        PUT_TEXT(&o, "version", r->version);
    if (r->msg_id != NULL) {
        PUT_TEXT(&o, "_msg_id", r->msg_id);
        PUT_TEXT(&o, "_reply_q", r->reply_q);
        put_monitor(&o, r->monitor);
    }
    PUT_TEXT(&o, "_unique_id", r->unique_id);
    fj__message_put_context(&o, r->context);
    fj__json_out_lit(&o, "}");
    return fj__message_seal(&o, opts, ret, ret_n, err);
}

fj_code fj__message_reply(const char *msg_id, const char *unique_id, const json_t *result,
                          const fj_error *failure, bool ending, const fj_json_opts *opts, char **ret,
                          size_t *ret_n, fj_error **err)
{
    fj__json_out o = fj__json_out_new(opts);
    char *text = NULL;
    size_t n = 0;

    if (failure != NULL) {
        fj_code code = fj__failure_write(failure, opts, &text, &n, err);
        if (code != FJ_OK) {
            fj__json_out_drop(&o);
            return code;
        }
    }
    o.depth = 1; /* what follows stands in one object */
    fj__json_out_lit(&o, "{\"result\": ");
    fj__json_out_value(&o, failure == NULL ? result : NULL);
    fj__json_out_lit(&o, ", \"failure\": ");
    if (text != NULL)
        fj__json_out_string(&o, text, n);
    else
        fj__json_out_lit(&o, "null");
    if (ending)
        fj__json_out_lit(&o, ", \"ending\": true");
    else
        fj__json_out_lit(&o, ", \"ending\": false");
    PUT_TEXT(&o, "_msg_id", msg_id);
    PUT_TEXT(&o, "_unique_id", unique_id);
    fj__json_out_lit(&o, "}");
    fj__free(text);
    return fj__message_seal(&o, opts, ret, ret_n, err);
}
