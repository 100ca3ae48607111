/* SPDX-License-Identifier: Apache-2.0 */
/* One side of a call over AMQP without sockets: the protocol engine and the bodies, against bytes of a broker that are made beforehand. */
#include "base/buffer.h"
#include "bench/count/count.h"
#include "transports/amqp/codec.h"
#include "transports/amqp/engine.h"
#include <fjord/body.h>

#include <stdlib.h>

#define CHANNEL 1
#define FRAME_MAX 131072
#define ID "0123456789abcdef0123456789abcdef"
#define QUEUE "reply_" ID

static const fj_deadline now = { 1 };
static const fj_target target = FJ_TARGET(.topic = "count");
static fj_json_opts opts;

static void must(fj_code code)
{
    count_check(code, "an exchange of frames", NULL);
}

/* ---- what the broker says ---- */

static void say(fj__buf *to, uint16_t channel, amqp_method_number_t id, void *decoded)
{
    must(fj__put_method(to, channel, id, decoded, FRAME_MAX));
}

static void say_welcome(fj__buf *to)
{
    amqp_connection_start_t start = {
        0, 9, { 0, NULL }, amqp_cstring_bytes("PLAIN"), amqp_cstring_bytes("en_US")
    };
    amqp_connection_tune_t tune = { 2047, FRAME_MAX, 0 };
    amqp_connection_open_ok_t ok = { 0 };

    say(to, 0, AMQP_CONNECTION_START_METHOD, &start);
    say(to, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
    say(to, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &ok);
}

static amqp_basic_properties_t properties(const char *correlation)
{
    return (amqp_basic_properties_t){ ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
                                                AMQP_BASIC_CONTENT_ENCODING_FLAG |
                                                AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_PRIORITY_FLAG |
                                                AMQP_BASIC_CORRELATION_ID_FLAG,
                                      .content_type = amqp_cstring_bytes("application/json"),
                                      .content_encoding = amqp_cstring_bytes("utf-8"),
                                      .correlation_id = amqp_cstring_bytes(correlation),
                                      .delivery_mode = 2 };
}

static void say_delivery(fj__buf *to, const char *body, size_t n)
{
    amqp_basic_properties_t p = properties(ID);
    amqp_basic_deliver_t deliver = { .consumer_tag = amqp_cstring_bytes("1"),
                                     .delivery_tag = 1,
                                     .exchange = amqp_cstring_bytes("openstack"),
                                     .routing_key = amqp_cstring_bytes("count") };

    must(fj__put_content(to, CHANNEL, AMQP_BASIC_DELIVER_METHOD, &deliver, &p, body, n, FRAME_MAX));
}

static void say_confirm(fj__buf *to)
{
    amqp_basic_ack_t ack = { .delivery_tag = 1 };

    say(to, CHANNEL, AMQP_BASIC_ACK_METHOD, &ack);
}

/* ---- the engine ---- */

static void written(fj__engine *e)
{
    fj__engine_sent(e, fj__buf_len(fj__engine_output(e)), now);
}

/* @param seen  gets a delivery, which is lent until the engine is asked again; NULL: none is expected */
static void hear(fj__engine *e, const fj__buf *bytes, fj__event *seen)
{
    fj__event event;

    must(fj__engine_feed(e, fj__buf_data(bytes), fj__buf_len(bytes), now));
    while (fj__engine_next(e, &event)) {
        count_check(event.kind == FJ__EV_FAILED ? FJ_PROTOCOL : FJ_OK, "frames", event.error);
        if (event.kind == FJ__EV_DELIVER && seen != NULL) {
            *seen = event;
            return; /* it is the last */
        }
    }
}

static fj__engine *connected(void)
{
    fj__engine_opts words = { .vhost = "/",
                              .user = "guest",
                              .password = "guest",
                              .mechanism = "PLAIN",
                              .connection_name = "count",
                              .channel_max = 2047,
                              .frame_max = FRAME_MAX,
                              .body_max = 1000000 };
    amqp_channel_open_ok_t ok = { 0 };
    amqp_channel_open_t open = { 0 };
    fj__buf welcome = { 0 }, channel = { 0 };
    fj__engine *e = NULL;

    must(fj__engine_new(&words, &e, NULL));
    must(fj__engine_start(e, now));
    say_welcome(&welcome);
    hear(e, &welcome, NULL);
    must(fj__engine_method(e, CHANNEL, AMQP_CHANNEL_OPEN_METHOD, &open));
    say(&channel, CHANNEL, AMQP_CHANNEL_OPEN_OK_METHOD, &ok);
    hear(e, &channel, NULL);
    written(e);
    fj__buf_fini(&welcome);
    fj__buf_fini(&channel);
    return e;
}

static void publish(fj__engine *e, const char *exchange, const char *key, const char *body, size_t n)
{
    amqp_basic_properties_t p = properties(ID);
    amqp_basic_publish_t m = { .exchange = amqp_cstring_bytes(exchange),
                               .routing_key = amqp_cstring_bytes(key) };

    must(fj__engine_publish(e, CHANNEL, &m, &p, body, n));
}

static void ack(fj__engine *e, uint64_t tag)
{
    amqp_basic_ack_t m = { .delivery_tag = tag };

    must(fj__engine_method(e, CHANNEL, AMQP_BASIC_ACK_METHOD, &m));
}

/* ---- the sides ---- */

static void request(const json_t *args, char **ret, size_t *n)
{
    fj_send send = { .size = sizeof send, .target = &target, .method = "echo", .flags = FJ_SEND_CALL };

    send.args = (json_t *)(uintptr_t)args; /* only read */
    must(fj_body_request(&send, ID, QUEUE, &opts, ret, n, NULL));
}

static void ask(fj__engine *e, const json_t *args, const fj__buf *answer)
{
    fj_body_answer got = FJ_BODY_ANSWER_INIT;
    fj__event event = { 0 };
    char *body = NULL;
    size_t n = 0;

    request(args, &body, &n);
    publish(e, "openstack", "count", body, n);
    written(e);
    hear(e, answer, &event);
    must(fj_body_read_reply((const char *)event.body, event.body_len, &opts, &got, NULL));
    ack(e, event.tag);
    written(e);
    fj_body_answer_fini(&got);
    free(body);
}

static void answer(fj__engine *e, const fj__buf *asked, const fj__buf *confirm)
{
    fj_body_names names = FJ_BODY_NAMES_INIT;
    fj_incoming in = { 0 };
    fj__event event = { 0 };
    char *body = NULL;
    size_t n = 0;

    hear(e, asked, &event);
    must(fj_body_take((const char *)event.body, event.body_len, &opts, &in, &names, NULL));
    ack(e, event.tag);
    written(e);
    must(fj_body_reply(names.call_id, json_object_get(json_object_get(in.message, "args"), "x"), NULL, true,
                       &opts, &body, &n, NULL));
    publish(e, "", names.reply_to, body, n);
    written(e);
    hear(e, confirm, NULL);
    json_decref(in.message);
    json_decref(in.context);
    fj_body_names_fini(&names);
    free(body);
}

static void exchange(const count_cell *cell, long n)
{
    json_t *args = json_pack("{s:s}", "x", "0123456789abcdef0123456789");
    fj__buf asked = { 0 }, answered = { 0 }, confirm = { 0 };
    fj__engine *e = connected();
    char *body = NULL;
    size_t size = 0;

    opts = fj_body_json_opts(NULL);
    request(args, &body, &size);
    say_delivery(&asked, body, size);
    free(body);
    must(fj_body_reply(ID, json_object_get(args, "x"), NULL, true, &opts, &body, &size, NULL));
    say_confirm(&confirm);
    say_confirm(&answered);
    say_delivery(&answered, body, size);
    free(body);
    for (long i = 0; i < n; i++) {
        if (*cell->what == 'c')
            ask(e, args, &answered);
        else
            answer(e, &asked, &confirm);
    }
    fj__buf_fini(&asked);
    fj__buf_fini(&answered);
    fj__buf_fini(&confirm);
    (void)fj__engine_free(e);
    json_decref(args);
}

const count_cell count_frames[] = {
    { "amqp without sockets, client", exchange, 1000, "client", NULL, 1, false },
    { "amqp without sockets, server", exchange, 1000, "server", NULL, 1, false },
    { 0 },
};
