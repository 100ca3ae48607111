/* SPDX-License-Identifier: Apache-2.0 */
/* <fjord/body.h>: transports/message.c for drivers outside this tree. */
#include <fjord/body.h>

#include "base/alloc.h"
#include "base/ids.h"
#include "transports/message.h"

#include <string.h>

fj_code fj_send_check(const fj_send *send, fj_error **err)
{
    const fj_target *t = send->target;

    if (t == NULL || t->topic == NULL || *t->topic == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "the target has no topic");
    if (t->fanout && (send->flags & FJ_SEND_CALL) != 0)
        return fj_fail(err, FJ_BAD_TARGET, "a call cannot be fanned out");
    if (send->method == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "a message needs a method");
    if (send->args != NULL && !json_is_object(send->args))
        return fj_fail(err, FJ_BAD_VALUE, "the arguments of %s are not a JSON object", send->method);
    if (send->context != NULL && !json_is_object(send->context))
        return fj_fail(err, FJ_BAD_VALUE, "the context of %s is not a JSON object", send->method);
    return FJ_OK;
}

fj_json_opts fj_body_json_opts(const fj_conf *conf)
{
    fj_json_opts opts = FJ_JSON_OPTS_INIT;

    if (conf == NULL)
        return opts;
    const char *odd = fj_conf_str(conf, "fjord", "json_odd_values");
    opts.max_bytes = (size_t)fj_conf_int(conf, "fjord", "max_message_bytes");
    opts.max_depth = (unsigned)fj_conf_int(conf, "fjord", "max_json_depth");
    if (odd != NULL)
        opts.odd = strcmp(odd, "null") == 0     ? FJ_JSON_NULL
                   : strcmp(odd, "refuse") == 0 ? FJ_JSON_REFUSE
                                                : FJ_JSON_WRAP;
    return opts;
}

void fj_body_id(char out[33])
{
    fj__id_hex(out);
}

fj_code fj_body_request(const fj_send *send, const char *call_id, const char *reply_to,
                        const fj_json_opts *opts, char **ret, size_t *ret_n, fj_error **err)
{
    char unique[33];
    const fj__request_out out = { .method = send->method,
                                  .args = send->args,
                                  .ns = send->target->ns,
                                  .version = send->target->version,
                                  .msg_id = call_id,
                                  .reply_q = call_id != NULL ? reply_to : NULL,
                                  .monitor = send->monitor,
                                  .unique_id = unique,
                                  .context = send->context };

    fj__id_hex(unique);
    return fj__message_request(&out, opts, ret, ret_n, err);
}

fj_code fj_body_notification(const fj_notification *n, const fj_json_opts *opts, char **ret, size_t *ret_n,
                             fj_error **err)
{
    char unique[33];
    fj_code code = fj__notification_check(n, err);

    fj__id_hex(unique);
    return code == FJ_OK ? fj__message_notification(n, unique, opts, ret, ret_n, err) : code;
}

fj_code fj_body_take(const char *body, size_t n, const fj_json_opts *opts, fj_incoming *in,
                     fj_body_names *names, fj_error **err)
{
    json_t *message = NULL;
    fj__request_in ids = { 0 };
    fj_code code = fj__message_open(body, n, opts, &message, err);

    if (code == FJ_OK)
        code = fj__message_take(message, &ids, err);
    if (code != FJ_OK) {
        json_decref(message);
        return code;
    }
    in->message = message;
    in->context = ids.context;
    in->wants_reply = ids.msg_id != NULL && ids.reply_q != NULL;
    in->id = ids.msg_id != NULL ? ids.msg_id : ids.unique_id;
    names->call_id = ids.msg_id;
    names->reply_to = ids.reply_q;
    names->unique_id = ids.unique_id;
    names->monitor = in->wants_reply ? ids.monitor_s : 0;
    return FJ_OK;
}

void fj_body_names_fini(fj_body_names *names)
{
    fj__free(names->call_id);
    fj__free(names->reply_to);
    fj__free(names->unique_id);
    names->call_id = names->reply_to = names->unique_id = NULL;
}

fj_code fj_body_reply(const char *call_id, const json_t *result, const fj_error *failure, bool last,
                      const fj_json_opts *opts, char **ret, size_t *ret_n, fj_error **err)
{
    char unique[33];

    fj__id_hex(unique);
    return fj__message_reply(call_id, unique, result, failure, last, opts, ret, ret_n, err);
}

fj_code fj_body_read_reply(const char *body, size_t n, const fj_json_opts *opts, fj_body_answer *ret,
                           fj_error **err)
{
    json_t *message = NULL;
    fj__reply_in in = { 0 };
    fj_code code = fj__message_open(body, n, opts, &message, err);

    if (code == FJ_OK)
        code = fj__message_reply_in(message, opts, &in, err);
    json_decref(message);
    if (code != FJ_OK)
        return code;
    ret->call_id = in.msg_id;
    ret->last = in.ending;
    ret->result = in.result;
    ret->failure = in.failure;
    return FJ_OK;
}

void fj_body_answer_fini(fj_body_answer *answer)
{
    fj__free(answer->call_id);
    json_decref(answer->result);
    fj_error_free(answer->failure);
    answer->call_id = NULL;
    answer->result = NULL;
    answer->failure = NULL;
}
