/* SPDX-License-Identifier: Apache-2.0 */
/* A body from anybody: opened, taken as a reply and as a request; what was understood must be writable again. */
#include "transports/message.h"

#include <stdlib.h>

static void message_must(bool holds)
{
    if (!holds)
        abort();
}

static void message_as_reply(json_t *message)
{
    fj__reply_in in;
    char *body;

    if (fj__message_reply_in(message, NULL, &in, NULL) != FJ_OK)
        return;
    message_must(in.msg_id != NULL && in.result != NULL);
    if (in.failure != NULL)
        message_must(fj_error_code(in.failure) == FJ_REMOTE && fj_error_sent(in.failure) == FJ_SENT_YES);
    if (fj__message_reply(in.msg_id, "u", in.result, in.failure, in.ending, NULL, &body, NULL, NULL) == FJ_OK)
        free(body);
    fj__reply_in_fini(&in);
}

static void message_as_request(json_t *message)
{
    fj__request_in in;
    char *body;

    message_must(fj__message_take(message, &in, NULL) == FJ_OK);
    message_must(json_object_get(in.context, "client_timeout") != NULL);
    fj__request_out out = { .method = "m",
                            .args = json_object_get(message, "args"),
                            .msg_id = in.msg_id,
                            .reply_q = in.reply_q,
                            .monitor = in.monitor_s,
                            .unique_id = in.unique_id,
                            .context = in.context };
    if (fj__message_request(&out, NULL, &body, NULL, NULL) == FJ_OK)
        free(body);
    fj__request_in_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *message;

    if (fj__message_open((const char *)data, n, NULL, &message, NULL) == FJ_OK) {
        message_as_reply(message);
        message_as_request(message);
        json_decref(message);
    }
    return 0;
}
