/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol engine by bytes and a made-up time, and once through the test broker. */
#include "base/alloc.h"
#include "tests/support/broker.h"
#include "transports/amqp/codec.h"
#include "transports/amqp/engine.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECONDS(n) ((int64_t)(n)*1000000000)

static const fj__engine_opts plain = { .vhost = "/",
                                       .user = "fj",
                                       .password = "sesame-9",
                                       .mechanism = "PLAIN",
                                       .connection_name = "test",
                                       .channel_max = 2047,
                                       .frame_max = 131072,
                                       .heartbeat = 60,
                                       .body_max = 100000,
                                       .handshake_ns = SECONDS(10) };

static fj_deadline at(int64_t ns)
{
    return (fj_deadline){ ns };
}

/* ---- what a broker sends ---- */

static void put(fj__buf *to, uint16_t channel, amqp_method_number_t id, void *decoded)
{
    ck_assert_int_eq(fj__put_method(to, channel, id, decoded, 131072), FJ_OK);
}

static void put_start(fj__buf *to, const char *mechanisms)
{
    amqp_table_entry_t is[2] = { { .key = amqp_cstring_bytes("product") },
                                 { .key = amqp_cstring_bytes("version") } };

    is[0].value.kind = is[1].value.kind = AMQP_FIELD_KIND_UTF8;
    is[0].value.value.bytes = amqp_cstring_bytes("RabbitMQ");
    is[1].value.value.bytes = amqp_cstring_bytes("3.10.8");
    amqp_connection_start_t start = {
        0, 9, { 2, is }, amqp_cstring_bytes(mechanisms), amqp_cstring_bytes("en_US")
    };
    put(to, 0, AMQP_CONNECTION_START_METHOD, &start);
}

static void put_tune(fj__buf *to, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat)
{
    amqp_connection_tune_t tune = { channel_max, frame_max, heartbeat };

    put(to, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
}

static void put_open_ok(fj__buf *to)
{
    amqp_connection_open_ok_t ok = { 0 };

    put(to, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &ok);
}

static void put_close(fj__buf *to, uint16_t code, const char *text)
{
    amqp_connection_close_t close = { code, amqp_cstring_bytes(text), 10, 40 };

    put(to, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
}

static void put_channel_open_ok(fj__buf *to, uint16_t channel)
{
    amqp_channel_open_ok_t ok = { 0 };

    put(to, channel, AMQP_CHANNEL_OPEN_OK_METHOD, &ok);
}

static void put_deliver(fj__buf *to, uint16_t channel, uint64_t tag, const char *body, size_t n,
                        uint32_t frame_max)
{
    amqp_basic_deliver_t d = { amqp_cstring_bytes("consumer"), tag, 1, amqp_cstring_bytes("nova"),
                               amqp_cstring_bytes("conductor") };
    amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                           .content_type = amqp_cstring_bytes("application/json") };

    ck_assert_int_eq(
        fj__put_content(to, channel, AMQP_BASIC_DELIVER_METHOD, &d, &properties, body, n, frame_max), FJ_OK);
}

/* ---- an engine under test ---- */

static fj__engine *fresh(const fj__engine_opts *opts)
{
    fj__engine *e = NULL;

    ck_assert_int_eq(fj__engine_new(opts, &e, NULL), FJ_OK);
    ck_assert_int_eq(fj__engine_start(e, at(0)), FJ_OK);
    return e;
}

/* Everything the engine has to say goes to the peer at once. */
static void flush(fj__engine *e, int64_t ns)
{
    fj__engine_sent(e, fj__buf_len(fj__engine_output(e)), at(ns));
}

static void feed(fj__engine *e, fj__buf *bytes, int64_t ns)
{
    ck_assert_int_eq(fj__engine_feed(e, fj__buf_data(bytes), fj__buf_len(bytes), at(ns)), FJ_OK);
    fj__buf_fini(bytes);
}

static fj__event expect(fj__engine *e, fj__event_kind kind)
{
    fj__event ev;

    (void)fj__engine_next(e, &ev);
    ck_assert_msg(ev.kind == kind, "event %d instead of %d: %s", ev.kind, kind,
                  ev.error != NULL ? fj_error_text(ev.error) : "");
    return ev;
}

static void expect_failure(fj__engine *e, fj_code code, const char *part)
{
    fj__event ev = expect(e, FJ__EV_FAILED);

    ck_assert_msg(fj_error_code(ev.error) == code, "%s: %s", fj_code_name(fj_error_code(ev.error)),
                  fj_error_text(ev.error));
    ck_assert_msg(strstr(fj_error_text(ev.error), part) != NULL, "\"%s\" is not in \"%s\"", part,
                  fj_error_text(ev.error));
    ck_assert_ptr_null(strstr(fj_error_text(ev.error), plain.password));
    ck_assert_int_eq(fj__engine_state_of(e), FJ__ENGINE_CLOSED);
    (void)expect(e, FJ__EV_NONE);
}

static void handshake(fj__buf *b)
{
    put_start(b, "PLAIN AMQPLAIN");
    put_tune(b, 100, 8192, 30);
    put_open_ok(b);
}

/* Open, with channel 1 and 2. */
static fj__engine *opened(const fj__engine_opts *opts)
{
    fj__engine *e = fresh(opts);
    fj__buf b = { 0 };
    amqp_channel_open_t open = { 0 };

    handshake(&b);
    feed(e, &b, 0);
    (void)expect(e, FJ__EV_OPEN);
    for (uint16_t n = 1; n <= 2; n++) {
        ck_assert_int_eq(fj__engine_method(e, n, AMQP_CHANNEL_OPEN_METHOD, &open), FJ_OK);
        put_channel_open_ok(&b, n);
    }
    feed(e, &b, 0);
    ck_assert_uint_eq(expect(e, FJ__EV_METHOD).method.id, AMQP_CHANNEL_OPEN_OK_METHOD);
    ck_assert_uint_eq(expect(e, FJ__EV_METHOD).channel, 2);
    (void)expect(e, FJ__EV_NONE);
    flush(e, 0);
    return e;
}

/* The id of the last method frame in the output. */
static amqp_method_number_t last_sent(const fj__engine *e)
{
    const fj__buf *out = fj__engine_output(e);
    amqp_method_number_t id = 0;
    fj__frame frame;
    char why[96];

    for (size_t pos = 0; pos < fj__buf_len(out); pos += frame.len + FJ__FRAME_EXTRA) {
        ck_assert_int_eq(
            fj__frame_parse(fj__buf_data(out) + pos, fj__buf_len(out) - pos, 131072, UINT16_MAX, &frame, why),
            FJ__FRAME_OK);
        if (frame.type == FJ__FRAME_METHOD)
            id = fj__get32(frame.payload);
    }
    return id;
}

/* ---- the handshake ---- */

START_TEST(the_handshake_negotiates_the_lesser_of_both_wishes)
{
    fj__engine *e = opened(&plain);

    ck_assert_int_eq(fj__engine_state_of(e), FJ__ENGINE_OPEN);
    ck_assert_uint_eq(fj__engine_frame_max(e), 8192);
    ck_assert_uint_eq(fj__engine_channel_max(e), 100);
    ck_assert_uint_eq(fj__engine_heartbeat(e), 30);
    ck_assert_str_eq(fj__engine_peer(e), "RabbitMQ 3.10.8");
    fj__engine_free(e);
}
END_TEST

/* Feed a session in pieces of n bytes and write down what came of it. */
static void record(size_t piece, char *log, size_t room)
{
    fj__engine *e = fresh(&plain);
    fj__buf b = { 0 };
    amqp_channel_open_t open = { 0 };
    amqp_basic_ack_t ack = { 7, 1 };
    char body[9000];
    fj__event ev;

    memset(body, 'x', sizeof body);
    handshake(&b);
    put_channel_open_ok(&b, 1);
    put_deliver(&b, 1, 5, body, sizeof body, 8192);
    put(&b, 1, AMQP_BASIC_ACK_METHOD, &ack);
    put_close(&b, 320, "CONNECTION_FORCED - bye");
    log[0] = '\0';
    for (size_t pos = 0; pos < fj__buf_len(&b); pos += piece) {
        size_t n = fj__buf_len(&b) - pos < piece ? fj__buf_len(&b) - pos : piece;
        uint8_t *to = fj__engine_room(e, n);
        memcpy(to, fj__buf_data(&b) + pos, n);
        ck_assert_int_eq(fj__engine_feed(e, to, n, at(0)), FJ_OK);
        while (fj__engine_next(e, &ev)) {
            size_t used = strlen(log);
            (void)snprintf(log + used, room - used, "%d:%u:%llu:%zu:%s ", ev.kind, ev.channel,
                           (unsigned long long)ev.tag, ev.body_len, ev.text != NULL ? ev.text : "");
            if (ev.kind == FJ__EV_OPEN)
                ck_assert_int_eq(fj__engine_method(e, 1, AMQP_CHANNEL_OPEN_METHOD, &open), FJ_OK);
            if (ev.kind == FJ__EV_DELIVER)
                ck_assert_int_eq(memcmp(ev.body, body, sizeof body), 0);
        }
    }
    fj__buf_fini(&b);
    fj__engine_free(e);
}

START_TEST(bytes_split_anywhere_give_the_same_events)
{
    char whole[512], split[512];

    record(SIZE_MAX / 2, whole, sizeof whole);
    ck_assert_str_eq(whole, "1:0:0:0: 2:1:0:0: 3:1:5:9000: 6:1:7:0: 11:0:0:0:CONNECTION_FORCED - bye ");
    for (size_t piece = 1; piece < 40; piece++) {
        record(piece, split, sizeof split);
        ck_assert_str_eq(split, whole);
    }
}
END_TEST

START_TEST(half_a_frame_behind_tune_is_finished_later)
{
    fj__engine *e = fresh(&plain);
    fj__buf b = { 0 }, rest = { 0 };

    put_start(&b, "PLAIN");
    put_tune(&b, 0, 0, 0);
    put_open_ok(&rest);
    ck_assert(fj__buf_append(&b, fj__buf_data(&rest), 5));
    fj__buf_consume(&rest, 5);
    feed(e, &b, 0);
    (void)expect(e, FJ__EV_NONE);
    ck_assert_int_eq(fj__engine_state_of(e), FJ__ENGINE_OPENING);
    feed(e, &rest, 0);
    (void)expect(e, FJ__EV_OPEN);
    ck_assert_uint_eq(fj__engine_frame_max(e), 131072);
    ck_assert_uint_eq(fj__engine_channel_max(e), 2047);
    ck_assert_uint_eq(fj__engine_heartbeat(e), 60);
    fj__engine_free(e);
}
END_TEST

static bool output_has(const fj__engine *e, const void *what, size_t n)
{
    const fj__buf *out = fj__engine_output(e);

    return memmem(fj__buf_data(out), fj__buf_len(out), what, n) != NULL;
}

START_TEST(each_mechanism_answers_in_its_own_form)
{
    static const char amqplain[] = "\x05LOGINS\0\0\0\x02"
                                   "fj\x08PASSWORDS\0\0\0\x08sesame-9";
    static const char as_plain[] = "\0\0\0\x0c\0fj\0sesame-9";
    static const char external[] = "\x08"
                                   "EXTERNAL\0\0\0\0\x05"
                                   "en_US";
    static const struct {
        const char *name, *response;
        size_t n;
    } table[] = { { "AMQPLAIN", amqplain, sizeof amqplain - 1 },
                  { "PLAIN", as_plain, sizeof as_plain - 1 },
                  { "EXTERNAL", external, sizeof external - 1 } };
    fj__engine_opts opts = plain;
    fj__buf b = { 0 };

    opts.mechanism = table[_i].name;
    fj__engine *e = fresh(&opts);
    put_start(&b, "PLAIN AMQPLAIN EXTERNAL");
    feed(e, &b, 0);
    (void)expect(e, FJ__EV_NONE);
    ck_assert(output_has(e, table[_i].response, table[_i].n));
    ck_assert(output_has(e, "connection_nameS\0\0\0\4test", 24));
    fj__engine_free(e);
}
END_TEST

START_TEST(a_mechanism_the_broker_lacks_names_those_it_has)
{
    fj__engine *e = fresh(&plain);
    fj__buf b = { 0 };

    put_start(&b, "PLAINER AMQPLAIN");
    feed(e, &b, 0);
    expect_failure(e, FJ_AUTH, "PLAINER AMQPLAIN");
    fj__engine_free(e);
}
END_TEST

START_TEST(an_unknown_mechanism_is_bad_configuration)
{
    fj__engine_opts opts = plain;
    fj__engine *e = NULL;

    opts.mechanism = "plain";
    ck_assert_int_eq(fj__engine_new(&opts, &e, NULL), FJ_BAD_CONFIG);
    ck_assert_ptr_null(e);
}
END_TEST

static fj__engine *logging_in(void)
{
    fj__engine *e = fresh(&plain);
    fj__buf b = { 0 };

    put_start(&b, "PLAIN");
    feed(e, &b, 0);
    (void)expect(e, FJ__EV_NONE);
    return e;
}

START_TEST(a_refused_login_names_the_user_and_never_the_password)
{
    fj__engine *e = logging_in();
    fj__buf b = { 0 };

    flush(e, 0);
    put_close(&b, 403, "ACCESS_REFUSED - sesame-9 is wrong");
    feed(e, &b, 0);
    expect_failure(e, FJ_AUTH, "login refused for user \"fj\"");
    ck_assert_uint_eq(last_sent(e), AMQP_CONNECTION_CLOSE_OK_METHOD);
    fj__engine_free(e);
}
END_TEST

START_TEST(a_hang_up_during_the_login_is_told_as_one)
{
    fj__engine *e = logging_in();

    fj__engine_eof(e, "connection reset");
    expect_failure(e, FJ_AUTH, "connection reset");
    fj__engine_free(e);
}
END_TEST

START_TEST(a_refused_vhost_is_named)
{
    fj__engine *e = logging_in();
    fj__buf b = { 0 };

    put_tune(&b, 0, 0, 0);
    put_close(&b, 530, _i == 0 ? "NOT_ALLOWED - vhost / not found" : "NOT_ALLOWED - access refused");
    feed(e, &b, 0);
    expect_failure(e, FJ_ACCESS,
                   _i == 0 ? "there is no vhost \"/\"" : "vhost \"/\" is not open to user \"fj\"");
    fj__engine_free(e);
}
END_TEST

START_TEST(the_sent_login_is_wiped_from_the_output)
{
    fj__engine *e = logging_in();
    const fj__buf *out = fj__engine_output(e);
    const uint8_t *bytes = out->bytes;
    size_t n = out->end;

    ck_assert_ptr_nonnull(memmem(bytes, n, plain.password, strlen(plain.password)));
    flush(e, 0);
    ck_assert_ptr_eq(out->bytes, bytes);
    ck_assert_ptr_null(memmem(bytes, n, plain.password, strlen(plain.password)));
    fj__engine_free(e);
}
END_TEST

START_TEST(a_tune_below_the_least_frame_is_refused)
{
    fj__engine *e = logging_in();
    fj__buf b = { 0 };

    put_tune(&b, 0, 4095, 0);
    feed(e, &b, 0);
    expect_failure(e, FJ_PROTOCOL, "frame_max of 4095");
    fj__engine_free(e);
}
END_TEST

/* ---- what is not AMQP ---- */

static const struct {
    const char *bytes;
    size_t n;
    const char *says;
} strangers[] = {
    { "HTTP/1.1 400 Bad Request\r\n", 26, "got \"HTTP/1.1 400\"" },
    { "hi\r\n", 4, "got \"hi\"" },
    { "AMQP\x01\x01\x00\x09", 8, "AMQP 0-9 " },
    { "AMQP\0\x01\0\0", 8, "AMQP 1-0-0" },
    { "AMQP\0\0\x09\x01", 8, "refuses" },
    { "\x15\x03\x01\x00\x02\x02\x46", 7, "TLS" },
    { "\x16\x03", 2, "TLS" },
    { "\x00\x00", 2, "0x00" },
};

START_TEST(a_stranger_is_named_however_its_bytes_come)
{
    fj__engine *e = fresh(&plain);

    ck_assert_int_eq(fj__engine_feed(e, strangers[_i].bytes, strangers[_i].n, at(0)), FJ_OK);
    expect_failure(e, FJ_PROTOCOL, strangers[_i].says);
    fj__engine_free(e);

    e = fresh(&plain);
    fj__event ev = { 0 };
    for (size_t i = 0; i < strangers[_i].n && !fj__engine_next(e, &ev); i++)
        ck_assert_int_eq(fj__engine_feed(e, strangers[_i].bytes + i, 1, at(0)), FJ_OK);
    if (ev.kind == FJ__EV_NONE)
        (void)fj__engine_next(e, &ev);
    ck_assert_int_eq(ev.kind, FJ__EV_FAILED);
    ck_assert_ptr_nonnull(strstr(fj_error_text(ev.error), strangers[_i].says));
    fj__engine_free(e);
}
END_TEST

START_TEST(a_stranger_of_few_words_is_named_at_the_end_of_the_handshake)
{
    fj__engine *e = fresh(&plain);

    ck_assert_int_eq(fj__engine_feed(e, "220 smtp", 8, at(0)), FJ_OK);
    (void)expect(e, FJ__EV_NONE);
    fj__engine_tick(e, at(SECONDS(10)));
    expect_failure(e, FJ_PROTOCOL, "220 smtp");
    fj__engine_free(e);
}
END_TEST

/* ---- frames ---- */

static void refuse_frame(const void *bytes, size_t n, const char *says)
{
    fj__engine *e = opened(&plain);

    ck_assert_int_eq(fj__engine_feed(e, bytes, n, at(0)), FJ_OK);
    expect_failure(e, FJ_PROTOCOL, says);
    fj__engine_free(e);
}

START_TEST(frames_that_break_the_rules_end_the_connection)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } table[] = {
        { "\x08\0\0\0\0\0\0\xCD", 8, "ends in 0xCD" },
        { "\x04\0\0\0\0\0\0\xCE", 8, "unknown type 4" },
        { "\x01\0\x01\0\0\x1f\xf9", 7, "beyond frame_max 8192" },
        { "\x01\0\0\xff\xff\xff\xff", 7, "beyond frame_max 8192" },
        { "\x01\0\x65", 3, "channel 101" },
        { "\x01\0\x01\0\0\x10\x01", 7, "a method of 4097 bytes" },
        { "\x08\0\0\0\0\0\x01", 7, "a heartbeat of 1 bytes" },
        { "\x02\0\x01\0\0\x10\x10\0\x3c\0\0\0\0\0\0\0\0\0\x07\x80\0\x03txt\xCE", 26,
          "6 bytes of properties in a frame of 4112" },
        { "\x08\0\x01\0\0\0\0\xCE", 8, "heartbeat" },
        { "\x08\0\0\0\0\0\x01x\xCE", 9, "heartbeat" },
        { "\x01\0\x01\0\0\0\x03\0\0\0\xCE", 11, "method frame of 3" },
        { "\x01\0\x01\0\0\0\x04\0\x3c\0\x28\xCE", 12, "class 60 method 40" },
        { "\x01\0\x01\0\0\0\x04\0\x63\0\x63\xCE", 12, "class 99 method 99" },
        { "\x01\0\x01\0\0\0\x06\0\x3c\0\x50\0\0\xCE", 14, "cut short" },
        { "\x01\0\x03\0\0\0\x05\0\x14\0\x0b\0\xCE", 13, "channel 3, which is not open" },
        { "\x01\0\0\0\0\0\x05\0\x14\0\x0b\0\xCE", 13, "unexpected class 20 method 11 on channel 0" },
        { "\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0\xCE", 22, "no method announced" },
        { "\x03\0\x01\0\0\0\x01x\xCE", 9, "without a header" },
        { "\x03\0\0\0\0\0\x01x\xCE", 9, "content frame on channel 0" },
    };

    ck_assert_int_lt(_i, (int)fj__countof(table));
    refuse_frame(table[_i].bytes, table[_i].n, table[_i].says);
}
END_TEST

/* A table of n levels, each but the outermost the value "" of the one around it; arrays if so told. */
static uint8_t *nested(size_t levels, bool arrays, size_t *n)
{
    size_t each =
        6; /* a name of no letters, 'F', a length; an array's value has no name: its 'A' follows a filler */
    uint8_t *bytes = calloc(1, 4 + levels * 8), *p = bytes;

    ck_assert_ptr_nonnull(bytes);
    size_t left = 0;
    for (size_t i = 1; i < levels; i++)
        left += arrays && i > 1 ? 5 : each;
    *n = 4 + left;
    for (size_t i = 0; i < levels; i++) {
        *p++ = (uint8_t)(left >> 24);
        *p++ = (uint8_t)(left >> 16);
        *p++ = (uint8_t)(left >> 8);
        *p++ = (uint8_t)left;
        if (i + 1 == levels)
            break;
        if (!arrays || i == 0)
            *p++ = 0;
        *p++ = arrays ? 'A' : 'F';
        left -= arrays && i > 0 ? 5 : each;
    }
    ck_assert_uint_eq((size_t)(p - bytes), *n);
    return bytes;
}

START_TEST(tables_may_nest_32_deep_and_no_deeper)
{
    static const size_t levels[] = { 1, 2, 32, 33, 10000 };
    size_t n, used = 0;

    for (int arrays = 0; arrays < 2; arrays++) {
        uint8_t *bytes = nested(levels[_i], arrays != 0, &n);
        const char *why = fj__table_check(bytes, n, &used);
        if (levels[_i] <= 32)
            ck_assert_msg(why == NULL && used == n, "%s", why);
        else
            ck_assert_str_eq(why, "a field table nested more than 32 deep");
        free(bytes);
    }
}
END_TEST

START_TEST(a_start_with_too_deep_a_table_is_refused)
{
    fj__engine *e = fresh(&plain);
    size_t n;
    uint8_t *table = nested(_i == 0 ? 33 : 10000, false, &n), *payload = calloc(1, n + 6);

    ck_assert_ptr_nonnull(payload);
    memcpy(payload, "\0\x0a\0\x0a\0\x09", 6);
    memcpy(payload + 6, table, n);
    fj__buf b = { 0 };
    ck_assert_int_eq(fj__put_frame(&b, FJ__FRAME_METHOD, 0, payload, n + 6), FJ_OK);
    feed(e, &b, 0);
    expect_failure(e, FJ_PROTOCOL, "nested more than 32 deep");
    free(payload);
    free(table);
    fj__engine_free(e);
}
END_TEST

START_TEST(a_table_cut_anywhere_is_noticed)
{
    static const uint8_t table[] = "\0\0\0\x2a\x01"
                                   "aS\0\0\0\x02xy\x01"
                                   "bF\0\0\0\x08\x01"
                                   "cI\0\0\0\x05\0\x01"
                                   "dA\0\0\0\x06t\x01"
                                   "s\0\x01V\x00V";
    size_t n = 4 + 0x2a;
    uint8_t copy[sizeof table + 8] = { 0 };

    memcpy(copy, table, sizeof table);
    for (size_t cut = 0; cut < sizeof table - 1;
         cut++) { /* in a block of its own, so that ASan sees each step beyond */
        uint8_t *exact = malloc(cut + 1);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, table, cut);
        ck_assert_ptr_nonnull(fj__table_check(exact, cut < n ? cut : n - 1, NULL));
        if (cut >= 4) { /* the outer length agrees, what is inside does not */
            exact[2] = 0;
            exact[3] = (uint8_t)(cut - 4);
            (void)fj__table_check(exact, cut, NULL);
        }
        free(exact);
    }
    copy[6] = '?';
    ck_assert_ptr_nonnull(fj__table_check(copy, sizeof copy, NULL));
}
END_TEST

START_TEST(headers_are_checked_before_the_codec_sees_them)
{
    size_t n;
    uint8_t *table = nested(10000, true, &n), *bytes = calloc(1, n + 6);

    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, "\xA0\0\x02hi", 5); /* content-type and headers */
    memcpy(bytes + 5, table, n);
    ck_assert_str_eq(fj__properties_check(bytes, n + 5), "a field table nested more than 32 deep");
    ck_assert_ptr_nonnull(fj__properties_check((const uint8_t *)"\xA0\0\x09hi", 5));
    ck_assert_ptr_nonnull(fj__properties_check((const uint8_t *)"\xA0", 1));
    ck_assert_ptr_nonnull(fj__properties_check((const uint8_t *)"\0\x01\0\0", 4));
    ck_assert_ptr_null(fj__properties_check((const uint8_t *)"\0\0", 2));
    free(bytes);
    free(table);
}
END_TEST

/* ---- messages ---- */

START_TEST(a_message_comes_whole_with_its_properties)
{
    static const size_t sizes[] = { 0, 1, 8184, 8185, 40000 };
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    size_t n = sizes[_i];
    char *body = malloc(n + 1);

    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 7);
    put_deliver(&b, 2, 99, body, n, 8192);
    feed(e, &b, 0);
    fj__event ev = expect(e, FJ__EV_DELIVER);
    ck_assert_uint_eq(ev.channel, 2);
    ck_assert_uint_eq(ev.tag, 99);
    ck_assert(ev.redelivered);
    ck_assert_uint_eq(ev.body_len, n);
    ck_assert_int_eq(memcmp(ev.body, body, n), 0);
    ck_assert_uint_eq(ev.consumer_tag.len, 8);
    ck_assert_int_eq(memcmp(ev.routing_key.bytes, "conductor", 9), 0);
    ck_assert_uint_eq(ev.properties->_flags, AMQP_BASIC_CONTENT_TYPE_FLAG);
    ck_assert_int_eq(memcmp(ev.properties->content_type.bytes, "application/json", 16), 0);
    (void)expect(e, FJ__EV_NONE);
    free(body);
    fj__engine_free(e);
}
END_TEST

START_TEST(an_ack_may_be_sent_while_the_delivery_is_read)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    char body[9000];
    amqp_basic_ack_t ack = { 3, 0 };

    memset(body, 'q', sizeof body);
    put_deliver(&b, 1, 3, body, sizeof body, 8192);
    feed(e, &b, 0);
    fj__event ev = expect(e, FJ__EV_DELIVER);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(fj__engine_method(e, 1, AMQP_BASIC_ACK_METHOD, &ack), FJ_OK);
    flush(e, 0);
    ck_assert_int_eq(memcmp(ev.body, body, sizeof body), 0);
    ck_assert_int_eq(memcmp(ev.exchange.bytes, "nova", 4), 0);
    fj__engine_free(e);
}
END_TEST

/* The frames of one content, one by one. */
static void append_frame(fj__buf *to, const fj__buf *from, size_t nth)
{
    fj__frame frame;
    char why[96];
    size_t pos = 0;

    for (size_t i = 0; i <= nth; i++) {
        ck_assert_int_eq(
            fj__frame_parse(fj__buf_data(from) + pos, fj__buf_len(from) - pos, 131072, UINT16_MAX, &frame, why),
            FJ__FRAME_OK);
        if (i == nth)
            ck_assert(fj__buf_append(to, fj__buf_data(from) + pos, frame.len + FJ__FRAME_EXTRA));
        pos += frame.len + FJ__FRAME_EXTRA;
    }
}

START_TEST(messages_of_two_channels_may_interleave)
{
    fj__engine *e = opened(&plain);
    fj__buf one = { 0 }, two = { 0 }, mixed = { 0 };
    char a[9000], z[9000];

    memset(a, 'a', sizeof a);
    memset(z, 'z', sizeof z);
    put_deliver(&one, 1, 11, a, sizeof a, 8192);
    put_deliver(&two, 2, 22, z, sizeof z, 8192);
    for (size_t i = 0; i < 4; i++) {
        append_frame(&mixed, &two, i);
        append_frame(&mixed, &one, i);
    }
    feed(e, &mixed, 0);
    fj__event ev = expect(e, FJ__EV_DELIVER);
    ck_assert_uint_eq(ev.tag, 22);
    ck_assert_int_eq(memcmp(ev.body, z, sizeof z), 0);
    ev = expect(e, FJ__EV_DELIVER);
    ck_assert_uint_eq(ev.tag, 11);
    ck_assert_int_eq(memcmp(ev.body, a, sizeof a), 0);
    fj__buf_fini(&one);
    fj__buf_fini(&two);
    fj__engine_free(e);
}
END_TEST

START_TEST(a_method_amid_a_message_is_refused)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 }, whole = { 0 };
    amqp_basic_ack_t ack = { 1, 0 };

    put_deliver(&whole, 1, 1, "x", 1, 8192);
    append_frame(&b, &whole, 0);
    if (_i == 1)
        append_frame(&b, &whole, 1);
    put(&b, 1, AMQP_BASIC_ACK_METHOD, &ack);
    feed(e, &b, 0);
    expect_failure(e, FJ_PROTOCOL, "amid a message");
    fj__buf_fini(&whole);
    fj__engine_free(e);
}
END_TEST

START_TEST(properties_tell_their_size_as_soon_as_their_lengths_are_there)
{
    amqp_table_entry_t one = { .key = amqp_cstring_bytes("k"),
                               .value = { .kind = AMQP_FIELD_KIND_UTF8,
                                          .value.bytes = amqp_cstring_bytes("value") } };
    amqp_basic_properties_t all = { ._flags = 0xFFFC,
                                    .content_type = amqp_cstring_bytes("a"),
                                    .content_encoding = amqp_cstring_bytes("bb"),
                                    .headers = { 1, &one },
                                    .delivery_mode = 2,
                                    .priority = 1,
                                    .correlation_id = amqp_cstring_bytes("ccc"),
                                    .reply_to = amqp_cstring_bytes(""),
                                    .expiration = amqp_cstring_bytes("1000"),
                                    .message_id = amqp_cstring_bytes("m"),
                                    .timestamp = 77,
                                    .type = amqp_cstring_bytes("t"),
                                    .user_id = amqp_cstring_bytes("u"),
                                    .app_id = amqp_cstring_bytes("app"),
                                    .cluster_id = amqp_cstring_bytes("id") };
    amqp_basic_deliver_t d = { amqp_cstring_bytes("consumer"), 1, 0, amqp_cstring_bytes("x"),
                               amqp_cstring_bytes("k") };
    fj__buf b = { 0 };
    fj__frame frame;
    char why[96];

    ck_assert_int_eq(fj__put_content(&b, 1, AMQP_BASIC_DELIVER_METHOD, &d, &all, "{}", 2, 8192), FJ_OK);
    ck_assert_int_eq(fj__frame_parse(fj__buf_data(&b), fj__buf_len(&b), 8192, 9, &frame, why), FJ__FRAME_OK);
    size_t at = frame.len + FJ__FRAME_EXTRA;
    ck_assert_int_eq(fj__frame_parse(fj__buf_data(&b) + at, fj__buf_len(&b) - at, 8192, 9, &frame, why),
                     FJ__FRAME_OK);
    ck_assert_uint_eq(frame.type, FJ__FRAME_HEADER);
    size_t size = frame.len - 12;
    for (size_t n = 0; n <= size; n++) {
        size_t told = fj__properties_size(frame.payload + 12, n);
        ck_assert_msg(told == (n < size - 2 ? 0 : size), "of %zu bytes %zu tell %zu", size, n,
                      told); /* the last text's length is there */
    }
    fj__buf_fini(&b);
}
END_TEST

START_TEST(a_body_longer_than_announced_is_refused)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 }, whole = { 0 }, longer = { 0 };

    put_deliver(&whole, 1, 1, "abc", 3, 8192);
    put_deliver(&longer, 1, 1, "abcd", 4, 8192);
    append_frame(&b, &whole, 0);
    append_frame(&b, &whole, 1);
    append_frame(&b, &longer, 2);
    if (_i == 0) {
        feed(e, &b, 0);
        expect_failure(e, FJ_PROTOCOL, "beyond the announced size");
    } else { /* nobody waits for the rest of it */
        ck_assert_int_eq(fj__engine_feed(e, fj__buf_data(&b), fj__buf_len(&b) - 5, at(0)), FJ_OK);
        expect_failure(e, FJ_PROTOCOL, "4 bytes of a body of which 3 are left");
        fj__buf_fini(&b);
    }
    fj__buf_fini(&whole);
    fj__buf_fini(&longer);
    fj__engine_free(e);
}
END_TEST

START_TEST(a_body_over_the_limit_is_skipped_and_told)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    size_t n = plain.body_max + 1;
    char *body = calloc(1, n);

    ck_assert_ptr_nonnull(body);
    put_deliver(&b, 1, 41, body, n, 8192);
    put_deliver(&b, 1, 42, body, n - 1, 8192);
    feed(e, &b, 0);
    fj__event ev = expect(e, FJ__EV_SKIPPED);
    ck_assert_uint_eq(ev.tag, 41);
    ck_assert_uint_eq(ev.body_len, 0);
    ev = expect(e, FJ__EV_DELIVER);
    ck_assert_uint_eq(ev.tag, 42);
    ck_assert_uint_eq(ev.body_len, n - 1);
    free(body);
    fj__engine_free(e);
}
END_TEST

START_TEST(a_return_tells_code_key_and_body)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    amqp_basic_return_t back = { 312, amqp_cstring_bytes("NO_ROUTE"), amqp_cstring_bytes(""),
                                 amqp_cstring_bytes("reply_1") };
    amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_MESSAGE_ID_FLAG,
                                           .message_id = amqp_cstring_bytes("m1") };

    ck_assert_int_eq(fj__put_content(&b, 1, AMQP_BASIC_RETURN_METHOD, &back, &properties, "body", 4, 8192),
                     FJ_OK);
    feed(e, &b, 0);
    fj__event ev = expect(e, FJ__EV_RETURN);
    ck_assert_uint_eq(ev.code, 312);
    ck_assert_str_eq(ev.text, "NO_ROUTE");
    ck_assert_int_eq(memcmp(ev.routing_key.bytes, "reply_1", 7), 0);
    ck_assert_uint_eq(ev.body_len, 4);
    ck_assert_int_eq(memcmp(ev.body, "body", 4), 0);
    ck_assert_int_eq(memcmp(ev.properties->message_id.bytes, "m1", 2), 0);
    fj__engine_free(e);
}
END_TEST

START_TEST(confirms_tell_tag_multiple_and_nack)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    amqp_basic_ack_t ack = { 17, 1 };
    amqp_basic_nack_t nack = { 18, 0, 0 };

    put(&b, 1, AMQP_BASIC_ACK_METHOD, &ack);
    put(&b, 1, AMQP_BASIC_NACK_METHOD, &nack);
    feed(e, &b, 0);
    fj__event ev = expect(e, FJ__EV_CONFIRM);
    ck_assert(ev.tag == 17 && ev.multiple && !ev.nack);
    ev = expect(e, FJ__EV_CONFIRM);
    ck_assert(ev.tag == 18 && !ev.multiple && ev.nack);
    fj__engine_free(e);
}
END_TEST

START_TEST(a_cancelled_consumer_and_a_blocked_connection_are_told)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    amqp_basic_cancel_t cancel = { amqp_cstring_bytes("consumer-7"), 1 };
    amqp_connection_blocked_t blocked = { amqp_cstring_bytes("low on\ndisk") };
    amqp_connection_unblocked_t unblocked = { 0 };

    put(&b, 1, AMQP_BASIC_CANCEL_METHOD, &cancel);
    put(&b, 0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
    put(&b, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, &unblocked);
    feed(e, &b, 0);
    ck_assert_str_eq(expect(e, FJ__EV_CANCEL).text, "consumer-7");
    ck_assert_str_eq(expect(e, FJ__EV_BLOCKED).text, "low on?disk");
    (void)expect(e, FJ__EV_UNBLOCKED);
    fj__engine_free(e);
}
END_TEST

/* ---- channels and closing ---- */

START_TEST(a_closed_channel_is_answered_and_takes_no_more)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    amqp_channel_close_t close = { 404, amqp_cstring_bytes("NOT_FOUND - no queue"), 50, 10 };
    amqp_basic_ack_t ack = { 1, 0 };
    amqp_channel_open_t open = { 0 };

    put(&b, 1, AMQP_CHANNEL_CLOSE_METHOD, &close);
    feed(e, &b, 0);
    fj__event ev = expect(e, FJ__EV_CHANNEL_CLOSED);
    ck_assert_uint_eq(ev.channel, 1);
    ck_assert_uint_eq(ev.code, 404);
    ck_assert_uint_eq(ev.cause, AMQP_QUEUE_DECLARE_METHOD);
    ck_assert_str_eq(ev.text, "NOT_FOUND - no queue");
    ck_assert_uint_eq(last_sent(e), AMQP_CHANNEL_CLOSE_OK_METHOD);
    ck_assert_int_eq(fj__engine_method(e, 1, AMQP_BASIC_ACK_METHOD, &ack), FJ_STATE);
    ck_assert_int_eq(fj__engine_method(e, 2, AMQP_BASIC_ACK_METHOD, &ack), FJ_OK);
    ck_assert_int_eq(fj__engine_method(e, 1, AMQP_CHANNEL_OPEN_METHOD, &open), FJ_OK);
    fj__engine_free(e);
}
END_TEST

START_TEST(after_our_channel_close_all_but_its_answer_is_dropped)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    amqp_channel_close_t close = { .reply_code = 200 };
    amqp_channel_close_ok_t ok = { 0 };

    ck_assert_int_eq(fj__engine_method(e, 1, AMQP_CHANNEL_CLOSE_METHOD, &close), FJ_OK);
    put_deliver(&b, 1, 1, "late", 4, 8192);
    put(&b, 1, AMQP_CHANNEL_CLOSE_METHOD, &close);
    put(&b, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    feed(e, &b, 0);
    ck_assert_uint_eq(expect(e, FJ__EV_METHOD).method.id, AMQP_CHANNEL_CLOSE_OK_METHOD);
    (void)expect(e, FJ__EV_NONE);
    fj__engine_free(e);
}
END_TEST

START_TEST(our_close_ends_with_the_answer_the_end_or_the_time)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    amqp_connection_close_ok_t ok = { 0 };

    ck_assert_int_eq(fj__engine_close(e, 200, "bye"), FJ_OK);
    ck_assert_int_eq(fj__engine_close(e, 200, "bye"), FJ_STATE);
    flush(e, SECONDS(1));
    put_deliver(&b, 1, 1, "late", 4, 8192);
    if (_i == 0)
        put(&b, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
    feed(e, &b, SECONDS(1));
    if (_i == 1)
        fj__engine_eof(e, "end");
    if (_i == 2) {
        (void)expect(e, FJ__EV_NONE);
        ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(11));
        fj__engine_tick(e, at(SECONDS(11)));
    }
    fj__event ev = expect(e, FJ__EV_CLOSED);
    ck_assert_uint_eq(ev.code, 0);
    (void)expect(e, FJ__EV_NONE);
    fj__engine_free(e);
}
END_TEST

START_TEST(the_brokers_close_is_answered_and_told)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };

    put_close(&b, 320, "CONNECTION_FORCED - sesame-9");
    feed(e, &b, 0);
    fj__event ev = expect(e, FJ__EV_CLOSED);
    ck_assert_uint_eq(ev.code, 320);
    ck_assert_uint_eq(ev.cause, (10u << 16) | 40);
    ck_assert_str_eq(ev.text, "CONNECTION_FORCED - ***");
    ck_assert_uint_eq(last_sent(e), AMQP_CONNECTION_CLOSE_OK_METHOD);
    ck_assert_int_eq(fj__engine_close(e, 200, ""), FJ_STATE);
    (void)expect(e, FJ__EV_NONE);
    fj__engine_free(e);
}
END_TEST

START_TEST(names_on_a_channel_stay_what_they_are)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };
    amqp_basic_cancel_t cancel = { amqp_cstring_bytes("sesame-9"), 1 };
    amqp_channel_close_t close = { 404, amqp_cstring_bytes("no queue 'sesame-9'"), 50, 10 };

    put(&b, 1, AMQP_BASIC_CANCEL_METHOD, &cancel);
    put(&b, 1, AMQP_CHANNEL_CLOSE_METHOD, &close);
    feed(e, &b, 0);
    ck_assert_str_eq(expect(e, FJ__EV_CANCEL).text, "sesame-9");
    ck_assert_str_eq(expect(e, FJ__EV_CHANNEL_CLOSED).text, "no queue 'sesame-9'");
    fj__engine_free(e);
}
END_TEST

START_TEST(an_end_of_the_stream_comes_after_what_arrived_before_it)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };

    put_deliver(&b, 1, 1, "last", 4, 8192);
    feed(e, &b, 0);
    fj__engine_eof(e, "reset by peer");
    (void)expect(e, FJ__EV_DELIVER);
    expect_failure(e, FJ_UNREACHABLE, "reset by peer");
    fj__engine_free(e);
}
END_TEST

/* ---- output ---- */

START_TEST(a_publish_is_split_at_frame_max_and_counted)
{
    fj__engine *e = opened(&plain);
    amqp_basic_publish_t publish = { .routing_key = amqp_cstring_bytes("q") };
    amqp_basic_properties_t properties = { 0 };
    char body[20000];
    uint64_t before = fj__engine_put_total(e);

    memset(body, 'p', sizeof body);
    ck_assert_int_eq(fj__engine_publish(e, 1, &publish, &properties, body, sizeof body), FJ_OK);
    size_t n = fj__buf_len(fj__engine_output(e)), frames = 0, carried = 0;
    ck_assert_uint_eq(fj__engine_put_total(e) - before, n);
    for (size_t pos = 0; pos < n; frames++) {
        fj__frame frame;
        char why[96];
        ck_assert_int_eq(
            fj__frame_parse(fj__buf_data(fj__engine_output(e)) + pos, n - pos, 8192, 100, &frame, why),
            FJ__FRAME_OK);
        carried += frame.type == FJ__FRAME_BODY ? frame.len : 0;
        pos += frame.len + FJ__FRAME_EXTRA;
    }
    ck_assert_uint_eq(frames, 5);
    ck_assert_uint_eq(carried, sizeof body);
    flush(e, 0);
    ck_assert_uint_eq(fj__engine_sent_total(e), fj__engine_put_total(e));
    fj__engine_free(e);
}
END_TEST

START_TEST(what_cannot_be_written_leaves_the_output_as_it_was)
{
    fj__engine *e = opened(&plain);
    char name[300], big[9000];
    amqp_basic_publish_t publish = { .routing_key = amqp_cstring_bytes("q") };
    amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_HEADERS_FLAG };
    amqp_table_entry_t entry = { .key = amqp_cstring_bytes("k"), .value = { .kind = AMQP_FIELD_KIND_UTF8 } };
    uint64_t before = fj__engine_put_total(e);

    memset(name, 'n', sizeof name);
    memset(big, 'b', sizeof big);
    entry.value.value.bytes = (amqp_bytes_t){ sizeof big, big };
    properties.headers = (amqp_table_t){ 1, &entry };
    ck_assert_int_eq(fj__engine_publish(e, 1, &publish, &properties, "x", 1), FJ_TOO_BIG);
    properties._flags = 0;
    publish.routing_key = (amqp_bytes_t){ sizeof name, name };
    ck_assert_int_eq(fj__engine_publish(e, 1, &publish, &properties, "x", 1), FJ_TOO_BIG);
    publish.routing_key.len = 255;
    ck_assert_int_eq(fj__engine_publish(e, 9, &publish, &properties, "x", 1), FJ_STATE);
    ck_assert_int_eq(fj__engine_publish(e, 0, &publish, &properties, "x", 1), FJ_BAD_VALUE);
    ck_assert_uint_eq(fj__engine_put_total(e), before);
    ck_assert_uint_eq(fj__buf_len(fj__engine_output(e)), 0);
    ck_assert_int_eq(fj__engine_publish(e, 1, &publish, &properties, "x", 1), FJ_OK);
    fj__engine_free(e);
}
END_TEST

START_TEST(any_allocation_may_fail_without_harm)
{
    for (unsigned long nth = 1; nth < 60; nth++) {
        fj__engine *e = NULL;
        fj__buf b = { 0 };
        fj__event ev;
        char body[9000] = { 0 };
        amqp_channel_open_t open = { 0 };

        handshake(&b);
        size_t first = fj__buf_len(&b);
        put_channel_open_ok(&b, 1);
        put_deliver(&b, 1, 1, body, sizeof body, 8192);
        (void)fj__alloc_fail(nth, false);
        if (fj__engine_new(&plain, &e, NULL) == FJ_OK && fj__engine_start(e, at(0)) == FJ_OK &&
            fj__engine_feed(e, fj__buf_data(&b), first, at(0)) == FJ_OK) {
            while (fj__engine_next(e, &ev))
                continue;
            (void)fj__engine_method(e, 1, AMQP_CHANNEL_OPEN_METHOD, &open);
            (void)fj__engine_feed(e, fj__buf_data(&b) + first, fj__buf_len(&b) - first, at(0));
            fj__event_kind last = FJ__EV_NONE;
            while (fj__engine_next(e, &ev))
                last = ev.kind;
            ck_assert(last == FJ__EV_DELIVER || last == FJ__EV_FAILED || last == FJ__EV_NONE);
        }
        (void)fj__alloc_fail(0, false);
        fj__engine_free(e);
        fj__buf_fini(&b);
    }
}
END_TEST

/* ---- time ---- */

START_TEST(a_heartbeat_goes_out_after_half_the_interval_without_output)
{
    fj__engine *e = opened(&plain); /* 30 s */

    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(15));
    fj__engine_tick(e, at(SECONDS(15) - 1));
    ck_assert_uint_eq(fj__buf_len(fj__engine_output(e)), 0);
    fj__engine_tick(e, at(SECONDS(15)));
    ck_assert_uint_eq(fj__buf_len(fj__engine_output(e)), 8);
    ck_assert_int_eq(memcmp(fj__buf_data(fj__engine_output(e)), "\x08\0\0\0\0\0\0\xCE", 8), 0);
    fj__engine_tick(e, at(SECONDS(40))); /* still waiting to be written: no second one behind it */
    ck_assert_uint_eq(fj__buf_len(fj__engine_output(e)), 8);
    flush(e, SECONDS(41));
    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(56));
    fj__engine_free(e);
}
END_TEST

START_TEST(heartbeats_go_out_as_often_as_the_rate_says_but_not_more_than_twice_a_second)
{
    static const struct {
        unsigned rate;
        int64_t due;
    } rows[] = {
        { 0, SECONDS(15) }, { 2, SECONDS(15) }, { 3, SECONDS(10) }, { 30, SECONDS(1) }, { 1000, SECONDS(1) / 2 }
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fj__engine_opts opts = plain;
        opts.heartbeat_rate = rows[i].rate;
        fj__engine *e = opened(&opts); /* 30 s */
        ck_assert_int_eq(fj__engine_beat_due(e).ns, rows[i].due);
        fj__engine_free(e);
    }
}
END_TEST

START_TEST(twice_the_interval_of_silence_is_a_failure)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };

    ck_assert_int_eq(fj__put_frame(&b, FJ__FRAME_HEARTBEAT, 0, NULL, 0), FJ_OK);
    feed(e, &b, SECONDS(20));
    (void)expect(e, FJ__EV_NONE);
    fj__engine_tick(e, at(SECONDS(80) - 1));
    (void)expect(e, FJ__EV_NONE);
    fj__engine_tick(e, at(SECONDS(80)));
    expect_failure(e, FJ_UNREACHABLE, "no heartbeat for 60 s");
    ck_assert(fj_is_never(fj__engine_due(e)));
    fj__engine_free(e);
}
END_TEST

START_TEST(after_a_stall_of_ours_what_was_fed_first_counts)
{
    fj__engine *e = opened(&plain);
    fj__buf b = { 0 };

    ck_assert_int_eq(fj__put_frame(&b, FJ__FRAME_HEARTBEAT, 0, NULL, 0), FJ_OK);
    feed(e, &b, SECONDS(500));
    fj__engine_tick(e, at(SECONDS(500)));
    (void)expect(e, FJ__EV_NONE);
    ck_assert_int_eq(fj__engine_state_of(e), FJ__ENGINE_OPEN);
    fj__engine_free(e);
}
END_TEST

START_TEST(without_a_heartbeat_there_is_nothing_to_wait_for)
{
    fj__engine_opts opts = plain;

    opts.heartbeat = 0;
    fj__engine *e = opened(&opts);
    ck_assert(fj_is_never(fj__engine_due(e)));
    fj__engine_tick(e, at(SECONDS(100000)));
    (void)expect(e, FJ__EV_NONE);
    ck_assert_uint_eq(fj__buf_len(fj__engine_output(e)), 0);
    fj__engine_free(e);
}
END_TEST

START_TEST(a_handshake_that_takes_too_long_is_given_up)
{
    fj__engine *e = logging_in();

    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(10));
    fj__engine_tick(e, at(SECONDS(10)));
    expect_failure(e, FJ_UNREACHABLE, "10.0 s (during the login)");
    fj__engine_free(e);
}
END_TEST

/* ---- through a socket ---- */

typedef struct {
    fj__engine *e;
    int fd;
} session;

static void pump_out(session *s)
{
    const fj__buf *out = fj__engine_output(s->e);

    while (fj__buf_len(out) != 0) {
        ssize_t n = send(s->fd, fj__buf_data(out), fj__buf_len(out), MSG_NOSIGNAL);
        if (n <= 0)
            break;
        fj__engine_sent(s->e, (size_t)n, fj_now());
    }
}

/* The next event, whatever bytes it takes. */
static fj__event await(session *s, fj__event_kind kind)
{
    fj__event ev;

    while (!fj__engine_next(s->e, &ev)) {
        pump_out(s);
        uint8_t *room = fj__engine_room(s->e, 4096);
        ck_assert_ptr_nonnull(room);
        ssize_t n = recv(s->fd, room, 4096, 0);
        if (n > 0)
            ck_assert_int_eq(fj__engine_feed(s->e, room, (size_t)n, fj_now()), FJ_OK);
        else
            fj__engine_eof(s->e, "end of stream");
    }
    pump_out(s);
    ck_assert_msg(ev.kind == kind, "event %d instead of %d: %s", ev.kind, kind,
                  ev.error != NULL  ? fj_error_text(ev.error)
                  : ev.text != NULL ? ev.text
                                    : "");
    return ev;
}

static session joined(broker *b)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(broker_port(b)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    session s = { fresh(&plain), socket(AF_INET, SOCK_STREAM, 0) };

    ck_assert_int_eq(connect(s.fd, (struct sockaddr *)&to, sizeof to), 0);
    return s;
}

static void left(session *s)
{
    fj__engine_free(s->e);
    (void)close(s->fd);
}

static void ask(session *s, amqp_method_number_t id, void *decoded, amqp_method_number_t answer)
{
    ck_assert_int_eq(fj__engine_method(s->e, 1, id, decoded), FJ_OK);
    ck_assert_uint_eq(await(s, FJ__EV_METHOD).method.id, answer);
}

static void set_up(session *s)
{
    amqp_channel_open_t open = { 0 };
    amqp_confirm_select_t select = { 0 };
    amqp_exchange_declare_t x = { .exchange = amqp_cstring_bytes("nova"), .type = amqp_cstring_bytes("topic") };
    amqp_queue_declare_t q = { .queue = amqp_cstring_bytes("conductor") };
    amqp_queue_bind_t bind = { .queue = q.queue,
                               .exchange = x.exchange,
                               .routing_key = amqp_cstring_bytes("a.*.#") };
    amqp_basic_consume_t consume = { .queue = q.queue, .consumer_tag = amqp_cstring_bytes("1") };

    (void)await(s, FJ__EV_OPEN);
    ask(s, AMQP_CHANNEL_OPEN_METHOD, &open, AMQP_CHANNEL_OPEN_OK_METHOD);
    ask(s, AMQP_CONFIRM_SELECT_METHOD, &select, AMQP_CONFIRM_SELECT_OK_METHOD);
    ask(s, AMQP_EXCHANGE_DECLARE_METHOD, &x, AMQP_EXCHANGE_DECLARE_OK_METHOD);
    ask(s, AMQP_QUEUE_DECLARE_METHOD, &q, AMQP_QUEUE_DECLARE_OK_METHOD);
    ask(s, AMQP_QUEUE_BIND_METHOD, &bind, AMQP_QUEUE_BIND_OK_METHOD);
    ask(s, AMQP_BASIC_CONSUME_METHOD, &consume, AMQP_BASIC_CONSUME_OK_METHOD);
}

static void publish(session *s, const char *key, const char *body)
{
    amqp_basic_publish_t p = { .exchange = amqp_cstring_bytes("nova"),
                               .routing_key = amqp_cstring_bytes(key),
                               .mandatory = 1 };
    amqp_basic_properties_t properties = { 0 };

    ck_assert_int_eq(fj__engine_publish(s->e, 1, &p, &properties, body, strlen(body)), FJ_OK);
    pump_out(s);
}

START_TEST(a_message_goes_round_through_a_broker_that_dribbles)
{
    static const size_t splits[] = { 0, 1, 7, 4096 };
    broker *b = broker_new();
    amqp_basic_ack_t ack = { 1, 0 };

    broker_split(b, splits[_i]);
    broker_user(b, plain.user, plain.password);
    session s = joined(b);
    set_up(&s);
    ck_assert(broker_has_binding(b, "nova", "conductor", "a.*.#"));
    publish(&s, "a.b", "hello");
    ck_assert_uint_eq(await(&s, FJ__EV_CONFIRM).tag, 1);
    fj__event ev = await(&s, FJ__EV_DELIVER);
    ck_assert_int_eq(memcmp(ev.body, "hello", 5), 0);
    ck_assert_int_eq(fj__engine_method(s.e, 1, AMQP_BASIC_ACK_METHOD, &ack), FJ_OK);
    publish(&s, "b.b", "astray");
    ck_assert_uint_eq(await(&s, FJ__EV_RETURN).code, 312);
    ck_assert_uint_eq(await(&s, FJ__EV_CONFIRM).tag, 2);
    ck_assert_uint_eq(broker_unacked(b), 0);
    ck_assert_int_eq(fj__engine_close(s.e, 200, "bye"), FJ_OK);
    ck_assert_uint_eq(await(&s, FJ__EV_CLOSED).code, 0);
    left(&s);
    broker_free(b);
}
END_TEST

START_TEST(faults_of_the_broker_arrive_as_events)
{
    broker *b = broker_new();
    session s = joined(b);
    broker_rule close = {
        .kind = BROKER_CLOSE_CHANNEL, .at = AMQP_BASIC_PUBLISH_METHOD, .skip = 2, .code = 404
    };

    set_up(&s);
    broker_fault(b, BROKER_NACK, AMQP_BASIC_PUBLISH_METHOD);
    publish(&s, "a.b", "x");
    ck_assert(await(&s, FJ__EV_CONFIRM).nack);
    broker_fault(b, BROKER_RETURN, AMQP_BASIC_PUBLISH_METHOD);
    publish(&s, "a.b", "x");
    (void)await(&s, FJ__EV_RETURN);
    ck_assert(!await(&s, FJ__EV_CONFIRM).nack);
    broker_fault(b, BROKER_BLOCK, 0);
    (void)await(&s, FJ__EV_BLOCKED);
    broker_fault(b, BROKER_CANCEL, 0);
    ck_assert_str_eq(await(&s, FJ__EV_CANCEL).text, "1");
    broker_rules_clear(b);
    close.skip = 0;
    broker_rule_add(b, &close);
    publish(&s, "a.b", "x");
    ck_assert_uint_eq(await(&s, FJ__EV_CHANNEL_CLOSED).code, 404);
    broker_fault(b, BROKER_CLOSE_CONNECTION, 0);
    ck_assert_uint_eq(await(&s, FJ__EV_CLOSED).code, 320);
    left(&s);
    broker_free(b);
}
END_TEST

START_TEST(a_broker_that_refuses_says_why_in_every_way)
{
    static const struct {
        broker_fault_kind kind;
        amqp_method_number_t at;
        fj_code code;
    } table[] = { { BROKER_REFUSE_LOGIN, AMQP_CONNECTION_START_OK_METHOD, FJ_AUTH },
                  { BROKER_HANG_UP, AMQP_CONNECTION_START_OK_METHOD, FJ_AUTH },
                  { BROKER_NO_VHOST, AMQP_CONNECTION_OPEN_METHOD, FJ_ACCESS },
                  { BROKER_HANG_UP, AMQP_CONNECTION_OPEN_METHOD, FJ_UNREACHABLE },
                  { BROKER_HANG_UP_AFTER, AMQP_CONNECTION_OPEN_METHOD, FJ_UNREACHABLE } };
    broker *b = broker_new();

    broker_fault(b, table[_i].kind, table[_i].at);
    session s = joined(b);
    if (table[_i].kind == BROKER_HANG_UP_AFTER)
        (void)await(&s, FJ__EV_OPEN);
    ck_assert_int_eq(fj_error_code(await(&s, FJ__EV_FAILED).error), table[_i].code);
    left(&s);
    broker_free(b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine");
    TCase *t = tcase_create("handshake");

    tcase_add_test(t, the_handshake_negotiates_the_lesser_of_both_wishes);
    tcase_add_test(t, bytes_split_anywhere_give_the_same_events);
    tcase_add_test(t, half_a_frame_behind_tune_is_finished_later);
    tcase_add_loop_test(t, each_mechanism_answers_in_its_own_form, 0, 3);
    tcase_add_test(t, a_mechanism_the_broker_lacks_names_those_it_has);
    tcase_add_test(t, an_unknown_mechanism_is_bad_configuration);
    tcase_add_test(t, a_refused_login_names_the_user_and_never_the_password);
    tcase_add_test(t, a_hang_up_during_the_login_is_told_as_one);
    tcase_add_loop_test(t, a_refused_vhost_is_named, 0, 2);
    tcase_add_test(t, the_sent_login_is_wiped_from_the_output);
    tcase_add_test(t, a_tune_below_the_least_frame_is_refused);
    tcase_add_loop_test(t, a_stranger_is_named_however_its_bytes_come, 0, (int)fj__countof(strangers));
    tcase_add_test(t, a_stranger_of_few_words_is_named_at_the_end_of_the_handshake);
    suite_add_tcase(s, t);

    t = tcase_create("frames");
    tcase_add_loop_test(t, frames_that_break_the_rules_end_the_connection, 0, 16);
    tcase_add_loop_test(t, tables_may_nest_32_deep_and_no_deeper, 0, 5);
    tcase_add_loop_test(t, a_start_with_too_deep_a_table_is_refused, 0, 2);
    tcase_add_test(t, a_table_cut_anywhere_is_noticed);
    tcase_add_test(t, headers_are_checked_before_the_codec_sees_them);
    suite_add_tcase(s, t);

    t = tcase_create("messages");
    tcase_add_loop_test(t, a_message_comes_whole_with_its_properties, 0, 5);
    tcase_add_test(t, an_ack_may_be_sent_while_the_delivery_is_read);
    tcase_add_test(t, messages_of_two_channels_may_interleave);
    tcase_add_loop_test(t, a_method_amid_a_message_is_refused, 0, 2);
    tcase_add_test(t, properties_tell_their_size_as_soon_as_their_lengths_are_there);
    tcase_add_loop_test(t, a_body_longer_than_announced_is_refused, 0, 2);
    tcase_add_test(t, a_body_over_the_limit_is_skipped_and_told);
    tcase_add_test(t, a_return_tells_code_key_and_body);
    tcase_add_test(t, confirms_tell_tag_multiple_and_nack);
    tcase_add_test(t, a_cancelled_consumer_and_a_blocked_connection_are_told);
    suite_add_tcase(s, t);

    t = tcase_create("closing");
    tcase_add_test(t, a_closed_channel_is_answered_and_takes_no_more);
    tcase_add_test(t, after_our_channel_close_all_but_its_answer_is_dropped);
    tcase_add_loop_test(t, our_close_ends_with_the_answer_the_end_or_the_time, 0, 3);
    tcase_add_test(t, the_brokers_close_is_answered_and_told);
    tcase_add_test(t, names_on_a_channel_stay_what_they_are);
    tcase_add_test(t, an_end_of_the_stream_comes_after_what_arrived_before_it);
    suite_add_tcase(s, t);

    t = tcase_create("output and time");
    tcase_add_test(t, a_publish_is_split_at_frame_max_and_counted);
    tcase_add_test(t, what_cannot_be_written_leaves_the_output_as_it_was);
    tcase_add_test(t, any_allocation_may_fail_without_harm);
    tcase_add_test(t, heartbeats_go_out_as_often_as_the_rate_says_but_not_more_than_twice_a_second);
    tcase_add_test(t, a_heartbeat_goes_out_after_half_the_interval_without_output);
    tcase_add_test(t, twice_the_interval_of_silence_is_a_failure);
    tcase_add_test(t, after_a_stall_of_ours_what_was_fed_first_counts);
    tcase_add_test(t, without_a_heartbeat_there_is_nothing_to_wait_for);
    tcase_add_test(t, a_handshake_that_takes_too_long_is_given_up);
    suite_add_tcase(s, t);

    t = tcase_create("broker");
    tcase_set_timeout(t, 20);
    tcase_add_loop_test(t, a_message_goes_round_through_a_broker_that_dribbles, 0, 4);
    tcase_add_test(t, faults_of_the_broker_arrive_as_events);
    tcase_add_loop_test(t, a_broker_that_refuses_says_why_in_every_way, 0, 5);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());

    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
