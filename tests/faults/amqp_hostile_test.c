/* SPDX-License-Identifier: Apache-2.0 */
/* Row S6: a broker that lies, stammers, or speaks no AMQP at all; and N8, N5: one that is narrow or slow. */
#include "tests/faults/rig.h"
#include "tests/faults/rows.h"
#include "tests/support/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAR = 900, LARGE = 400 * 1024, BODY = 3, HEADER = 2, HEARTBEAT = 8, DELAY_MS = 150 };

/* ---- what it says -------------------------------------------------------------------------------------- */

static void larger_than_agreed(frames *f, uint16_t ch)
{
    char *body = calloc(1, 131072);

    frames_body(f, ch, body, 131072);
    free(body);
}

static void of_four_gigabytes(frames *f, uint16_t ch)
{
    (void)ch;
    frames_raw(f, "\x01\x00\x01\xff\xff\xff\xff", 7);
}

static void on_a_channel_never_opened(frames *f, uint16_t ch)
{
    (void)ch;
    frames_method(f, 77, AMQP_BASIC_QOS_OK_METHOD, NULL);
}

static void on_a_channel_beyond_the_last(frames *f, uint16_t ch)
{
    (void)ch;
    frames_method(f, 60000, AMQP_BASIC_QOS_OK_METHOD, NULL);
}

static void a_channel_s_method_on_none(frames *f, uint16_t ch)
{
    (void)ch;
    frames_method(f, 0, AMQP_BASIC_QOS_OK_METHOD, NULL);
}

static void a_connection_s_method_on_a_channel(frames *f, uint16_t ch)
{
    frames_method(f, ch, AMQP_CONNECTION_UNBLOCKED_METHOD, NULL);
}

static void tune_again(frames *f, uint16_t ch)
{
    amqp_connection_tune_t m = { 1, 4096, 1 };

    (void)ch;
    frames_method(f, 0, AMQP_CONNECTION_TUNE_METHOD, &m);
}

static void open_ok_again(frames *f, uint16_t ch)
{
    amqp_connection_open_ok_t m = { 0 };

    (void)ch;
    frames_method(f, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &m);
}

static void close_ok_unasked(frames *f, uint16_t ch)
{
    (void)ch;
    frames_method(f, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, NULL);
}

static void an_unknown_class(frames *f, uint16_t ch)
{
    frames_method(f, ch, 0x00C80001, NULL);
}

static void what_only_clients_say(frames *f, uint16_t ch)
{
    amqp_queue_declare_t m = { .queue = amqp_cstring_bytes("q") };

    frames_method(f, ch, AMQP_QUEUE_DECLARE_METHOD, &m);
}

static void a_wrong_frame_end(frames *f, uint16_t ch)
{
    frames_method(f, ch, AMQP_BASIC_QOS_OK_METHOD, NULL);
    f->bytes[f->n - 1] = 0xCD;
}

static void an_unknown_frame_type(frames *f, uint16_t ch)
{
    frames_frame(f, 7, ch, "x", 1);
}

static void half_a_method(frames *f, uint16_t ch)
{
    frames_frame(f, 1, ch, "\0\x3c", 2);
}

static void arguments_cut_short(frames *f, uint16_t ch)
{
    frames_frame(f, 1, ch,
                 "\0\x3c\0\x15\xff"
                 "abc",
                 8); /* consume-ok, its tag of 255 bytes */
}

static void a_body_without_a_header(frames *f, uint16_t ch)
{
    frames_deliver(f, ch, "1", FAR);
    frames_body(f, ch, "{}", 2);
}

static void a_body_of_nothing(frames *f, uint16_t ch)
{
    frames_body(f, ch, "{}", 2);
}

static void a_header_of_nothing(frames *f, uint16_t ch)
{
    frames_header(f, ch, 2);
}

static void a_header_twice(frames *f, uint16_t ch)
{
    frames_deliver(f, ch, "1", FAR);
    frames_header(f, ch, 2);
    frames_header(f, ch, 2);
}

static void a_body_longer_than_announced(frames *f, uint16_t ch)
{
    frames_deliver(f, ch, "1", FAR);
    frames_header(f, ch, 1);
    frames_body(f, ch, "{}", 2);
}

static void a_header_of_another_class(frames *f, uint16_t ch)
{
    frames_deliver(f, ch, "1", FAR);
    frames_frame(f, HEADER, ch, "\0\x32\0\0\0\0\0\0\0\0\0\2\0\0", 14);
}

static void a_method_amid_a_message(frames *f, uint16_t ch)
{
    frames_deliver(f, ch, "1", FAR);
    frames_method(f, ch, AMQP_BASIC_QOS_OK_METHOD, NULL);
}

static void a_heartbeat_on_a_channel(frames *f, uint16_t ch)
{
    frames_frame(f, HEARTBEAT, ch, "", 0);
}

static void a_heartbeat_with_bytes(frames *f, uint16_t ch)
{
    (void)ch;
    frames_frame(f, HEARTBEAT, 0, "x", 1);
}

static void another_protocol(frames *f, uint16_t ch)
{
    (void)ch;
    frames_raw(f, "HTTP/1.1 502 Bad Gateway\r\n\r\n", 28);
}

static void message(frames *f, uint16_t ch, const char *tag, const char *body)
{
    frames_deliver(f, ch, tag, FAR);
    frames_header(f, ch, strlen(body));
    frames_body(f, ch, body, strlen(body));
}

static void a_delivery_to_nobody(frames *f, uint16_t ch)
{
    message(f, ch, "nobody", "{}");
}

static void a_delivery_in_a_thousand_bodies(frames *f, uint16_t ch)
{
    frames_deliver(f, ch, "1", FAR);
    frames_header(f, ch, 2);
    for (int i = 0; i < 1000; i++)
        frames_body(f, ch, "", 0);
    frames_body(f, ch, "{", 1);
    frames_body(f, ch, "}", 1);
}

static void confirms_of_nobody_s(frames *f, uint16_t ch)
{
    amqp_basic_ack_t ack = { FAR, 1 }, none = { 0, 0 };
    amqp_basic_nack_t nack = { FAR, 1, 1 };

    frames_method(f, ch, AMQP_BASIC_ACK_METHOD, &ack);
    frames_method(f, ch, AMQP_BASIC_ACK_METHOD, &ack);
    frames_method(f, ch, AMQP_BASIC_ACK_METHOD, &none);
    frames_method(f, ch, AMQP_BASIC_NACK_METHOD, &nack);
}

static void answers_unasked(frames *f, uint16_t ch)
{
    amqp_basic_consume_ok_t consume = { amqp_cstring_bytes("1") };
    amqp_basic_cancel_ok_t cancel = { amqp_cstring_bytes("1") };
    amqp_queue_declare_ok_t declare = { amqp_cstring_bytes("t"), 7, 7 };

    frames_method(f, ch, AMQP_BASIC_QOS_OK_METHOD, NULL);
    frames_method(f, ch, AMQP_BASIC_CONSUME_OK_METHOD, &consume);
    frames_method(f, ch, AMQP_BASIC_CANCEL_OK_METHOD, &cancel);
    frames_method(f, ch, AMQP_QUEUE_DECLARE_OK_METHOD, &declare);
    frames_method(f, ch, AMQP_EXCHANGE_DECLARE_OK_METHOD, NULL);
    frames_method(f, ch, AMQP_CONFIRM_SELECT_OK_METHOD, NULL);
}

static void a_flow_that_stops(frames *f, uint16_t ch)
{
    amqp_channel_flow_t stop = { 0 }, go = { 1 };

    frames_method(f, ch, AMQP_CHANNEL_FLOW_METHOD, &stop);
    frames_method(f, ch, AMQP_CHANNEL_FLOW_METHOD, &go);
}

static void a_cancel_of_nobody(frames *f, uint16_t ch)
{
    amqp_basic_cancel_t m = { amqp_cstring_bytes("nobody"), 1 };

    frames_method(f, ch, AMQP_BASIC_CANCEL_METHOD, &m);
}

static void unblocked_unasked(frames *f, uint16_t ch)
{
    (void)ch;
    frames_method(f, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, NULL);
}

static void a_return_of_nothing(frames *f, uint16_t ch)
{
    amqp_basic_return_t m = { 312, amqp_cstring_bytes("NO_ROUTE"), amqp_cstring_bytes("x"),
                              amqp_cstring_bytes("y") };

    frames_method(f, ch, AMQP_BASIC_RETURN_METHOD, &m);
    frames_header(f, ch, 2);
    frames_body(f, ch, "{}", 2);
}

static const struct lie {
    const char *what;
    void (*say)(frames *f, uint16_t ch);
    bool fatal; /* the connection is given up, and made again */
} all[] = {
#define FATAL(name)       \
    {                     \
#name, name, true \
    }
#define HARMLESS(name)     \
    {                      \
#name, name, false \
    }
    FATAL(larger_than_agreed),
    FATAL(of_four_gigabytes),
    FATAL(on_a_channel_never_opened),
    FATAL(on_a_channel_beyond_the_last),
    FATAL(a_channel_s_method_on_none),
    FATAL(a_connection_s_method_on_a_channel),
    FATAL(tune_again),
    FATAL(open_ok_again),
    FATAL(close_ok_unasked),
    FATAL(an_unknown_class),
    FATAL(what_only_clients_say),
    FATAL(a_wrong_frame_end),
    FATAL(an_unknown_frame_type),
    FATAL(half_a_method),
    FATAL(arguments_cut_short),
    FATAL(a_body_without_a_header),
    FATAL(a_body_of_nothing),
    FATAL(a_header_of_nothing),
    FATAL(a_header_twice),
    FATAL(a_body_longer_than_announced),
    FATAL(a_header_of_another_class),
    FATAL(a_method_amid_a_message),
    FATAL(a_heartbeat_on_a_channel),
    FATAL(a_heartbeat_with_bytes),
    FATAL(another_protocol),
    HARMLESS(a_delivery_to_nobody),
    HARMLESS(a_delivery_in_a_thousand_bodies),
    HARMLESS(confirms_of_nobody_s),
    HARMLESS(answers_unasked),
    HARMLESS(a_flow_that_stops),
    HARMLESS(a_cancel_of_nobody),
    HARMLESS(unblocked_unasked),
    HARMLESS(a_return_of_nothing),
};
enum { LIES = sizeof all / sizeof all[0] };

/* ---- to whom it says it ---------------------------------------------------------------------------------- */

static void to_everybody(rig *r, const broker_rule *whom, uint16_t ch, unsigned n)
{
    r->lies = true;
    for (unsigned i = 0; i < LIES; i++) {
        broker_rule rule = *whom;
        frames f = { 0 };
        rig_works(r);
        unsigned connections = broker_accepted(r->b);
        all[i].say(&f, ch);
        rule.kind = BROKER_SEND;
        rule.bytes = f.bytes;
        rule.n = f.n;
        broker_rule_add(r->b, &rule);
        free(f.bytes);
        if (all[i].fatal)
            ck_assert_msg(broker_wait_accepted(r->b, connections + n, LONG_MS), "%s is not noticed",
                          all[i].what);
        rig_works(r);
        ck_assert_msg(broker_accepted(r->b) == connections + (all[i].fatal ? n : 0), "%s: %u connections more",
                      all[i].what, broker_accepted(r->b) - connections);
    }
    rig_down(r);
}

START_TEST(lies_to_servers)
{
    const rig_opts opts = { .executor = rows_executors[_i] };

    to_everybody(rig_up(&opts), &(broker_rule){ .consumer_of = "t" }, 2, 1);
}
END_TEST

START_TEST(lies_to_publishers)
{
    to_everybody(rig_up(NULL), &(broker_rule){ .publisher = true }, 1, 2); /* the server's, too */
}
END_TEST

START_TEST(lies_to_callers)
{
    rig *r = rig_up(NULL);

    broker_queue_add(r->b, "tap", "openstack", "t");
    rig_works(r);
    json_t *request = rig_open(broker_get(r->b, "tap", LONG_MS));
    char *queue = strdup(json_string_value(json_object_get(request, "_reply_q")));
    json_decref(request);
    to_everybody(r, &(broker_rule){ .consumer_of = queue }, 1, 1);
    free(queue);
}
END_TEST

/* ---- late, twice -------------------------------------------------------------------------------------------- */

static const amqp_method_number_t asked[] = { AMQP_CONNECTION_START_OK_METHOD, AMQP_CONNECTION_OPEN_METHOD,
                                              AMQP_CHANNEL_OPEN_METHOD,        AMQP_EXCHANGE_DECLARE_METHOD,
                                              AMQP_QUEUE_DECLARE_METHOD,       AMQP_QUEUE_BIND_METHOD,
                                              AMQP_BASIC_QOS_METHOD,           AMQP_BASIC_CONSUME_METHOD,
                                              AMQP_CONFIRM_SELECT_METHOD,      AMQP_BASIC_PUBLISH_METHOD };
enum { ASKED = sizeof asked / sizeof asked[0] };

START_TEST(spoiled_answers)
{
    static const broker_fault_kind kinds[] = { BROKER_DELAY, BROKER_TWICE };

    for (unsigned i = 0; i < ASKED; i++) {
        rig *r = rig_up(&(rig_opts){ .alone = true });
        broker_rule rule = { .kind = kinds[_i], .at = asked[i], .times = 3, .ms = DELAY_MS };
        broker_rule_add(r->b, &rule);
        rig_server_up(r, &(rig_opts){ .slots = 2 });
        rig_works(r);
        rig_works(r);
        rig_down(r);
    }
}
END_TEST

/* ---- narrow, slow ------------------------------------------------------------------------------------------- */

static fj_code call_large(rig *r, int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    char *text = malloc(LARGE + 1);
    json_t *ret = NULL;

    memset(text, 'x', LARGE);
    text[LARGE] = '\0';
    o.by = fj_in_ms(ms);
    fj_code code = fj_client_call(r->client, "echo", json_pack("{s:s}", "x", text), &o, &ret, err);
    ck_assert(code != FJ_OK || strcmp(json_string_value(ret), text) == 0);
    json_decref(ret);
    free(text);
    return code;
}

START_TEST(narrow_frames)
{
    static const uint32_t sizes[] = { 4096, 4097, 8192 };

    for (int i = 0; i < 3; i++) {
        rig *r = rig_up(&(rig_opts){ .frame_max = sizes[i] });
        fj_error *err = NULL;
        fj_code code = call_large(r, LONG_MS, &err);
        ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
        rig_down(r);
    }
}
END_TEST

START_TEST(too_narrow_frames)
{
    rig *r = rig_up(&(rig_opts){ .alone = true, .frame_max = 100 });
    fj_error *err = NULL;
    fj_code code = rig_call(r, "echo", SHORT_MS, &err);

    ck_assert_msg(strstr(fj_error_text(err), "frame_max of 100") != NULL, "%s", fj_error_text(err));
    rig_expect(code, err, FJ_PROTOCOL, FJ_SENT_NO);
    rig_down(r);
}
END_TEST

START_TEST(single_bytes)
{
    rig *r = rig_up(&(rig_opts){ .alone = true });

    broker_split(r->b, 1);
    rig_server_up(r, &(rig_opts){ .slots = 2 });
    for (int i = 0; i < 20; i++)
        rig_works(r);
    rig_down(r);
}
END_TEST

START_TEST(slow_broker)
{
    rig *r = rig_up(NULL);
    fj_error *err = NULL;

    rig_works(r);
    broker_pace(r->b, 4096, 4096, 5);             /* 800 kB a second, each way and each connection */
    fj_code code = call_large(r, SHORT_MS, &err); /* ends by its deadline, half of it being out */
    ck_assert_int_eq(code, FJ_TIMEOUT);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_MAYBE);
    fj_error_free(err);
    rig_works(r); /* behind the rest of it */
    broker_pace(r->b, 0, 0, 0);
    rig_works(r);
    rig_down(r);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("S6: lies");

    rows_add_each(s, "S6 lies to a server cost a connection at most", lies_to_servers);
    rows_add(s, "S6 lies to publishers cost a connection at most", lies_to_publishers);
    rows_add(s, "S6 lies to a caller cost a connection at most", lies_to_callers);
    rows_add_loop(s, "S6 answers that come late or twice confuse nobody", spoiled_answers, 2);
    rows_add(s, "N8 narrow frames carry large messages", narrow_frames);
    rows_add(s, "N8 frames too narrow for the protocol are refused in words", too_narrow_frames);
    rows_add(s, "N5 single bytes are put together", single_bytes);
    rows_add(s, "N5 a slow broker is not waited for beyond the deadline", slow_broker);
    return rows_run(s);
}
