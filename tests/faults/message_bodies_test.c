/* SPDX-License-Identifier: Apache-2.0 */
/* Rows M2 to M6: messages that are none, too large, too deep, odd, or packed. */
#include "tests/faults/rig.h"
#include "tests/faults/rows.h"
#include "tests/support/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zlib.h>

enum { SMALL_CAP = 1024 * 1024, MANY = 500, BOMB = 256 * 1024 * 1024, CHUNK = 65536 };

static const char small_cap[] = "[fjord]\nmax_message_bytes = 1048576\n";
static const char id[] = "0123456789abcdef0123456789abcdef";

static unsigned rejected(rig *r)
{
    return broker_seen(r->b, AMQP_BASIC_REJECT_METHOD);
}

static bool nothing_left(void *user)
{
    rig *r = user;

    return broker_queue_ready(r->b, "t") == 0 && broker_unacked(r->b) == 0;
}

/* ---- M2 ---------------------------------------------------------------------------------------------- */

static const char *const shapes[] = {
    "[]",
    "7",
    "\"text\"",
    "null",
    "true",
    "[{}]",
    "{",
    "}",
    "{]",
    "nonsense",
    "\xff\xfe",
    "<xml/>",
    "{\"oslo.version\": \"3.0\", \"oslo.message\": \"{}\"}",
    "{\"oslo.version\": 2.0, \"oslo.message\": \"{}\"}",
    "{\"oslo.version\": null, \"oslo.message\": \"{}\"}",
    "{\"oslo.version\": \"2.0\", \"oslo.message\": {}}",
    "{\"oslo.version\": \"2.0\", \"oslo.message\": null}",
    "{\"oslo.version\": \"2.0\", \"oslo.message\": \"\"}",
    "{\"oslo.version\": \"2.0\", \"oslo.message\": \"7\"}",
    "{\"oslo.version\": \"2.0\", \"oslo.message\": \"[]\"}",
    "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\"}",
    "{\"oslo.version\": \"2.0\", \"oslo.message\": \"nonsense\"}",
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

START_TEST(no_requests)
{
    rig *r = rig_up(NULL);
    char *whole = rig_request("echo", "{\"x\": 7}", id, NULL);
    unsigned sent = 0;

    for (unsigned i = 0; i < SHAPES; i++, sent++)
        (void)rig_publish(r, "openstack", "t", shapes[i]);
    for (size_t n = 1; n < strlen(whole); n++, sent++) { /* cut short anywhere */
        char *part = strndup(whole, n);
        (void)rig_publish(r, "openstack", "t", part);
        free(part);
    }
    for (size_t at = 0; sent < MANY; at++, sent++) { /* or spoiled somewhere */
        char *spoiled = strdup(whole);
        spoiled[at % strlen(whole)] = (char)(1 + at / strlen(whole)); /* no control character stands in JSON */
        (void)rig_publish(r, "openstack", "t", spoiled);
        free(spoiled);
    }
    rig_until(nothing_left, r, "the end of them");
    ck_assert_uint_eq(rejected(r), sent);
    ck_assert_uint_eq(atomic_load(&r->ran), 0);
    rig_works(r);
    free(whole);
    rig_down(r);
}
END_TEST

static const char *const empty_requests[] = { "{}",
                                              "{\"method\": 7}",
                                              "{\"method\": null, \"args\": {}}",
                                              "{\"method\": \"echo\", \"args\": []}",
                                              "{\"method\": \"echo\", \"args\": {}, \"version\": []}",
                                              "{\"method\": \"nobody\", \"args\": {}}",
                                              "{\"method\": \"echo\", \"args\": 7, \"_unique_id\": {}}" };
enum { EMPTY = sizeof empty_requests / sizeof empty_requests[0] };

/* JSON, and an object, and still of no use: answered as what they are, where somebody asks, and forgotten. */
START_TEST(no_methods)
{
    rig *r = rig_up(NULL);

    for (unsigned i = 0; i < EMPTY; i++) {
        json_t *envelope = json_pack("{s:s, s:s}", "oslo.version", "2.0", "oslo.message", empty_requests[i]);
        char *body = json_dumps(envelope, 0);
        (void)rig_publish(r, "openstack", "t", empty_requests[i]);
        (void)rig_publish(r, "openstack", "t", body);
        free(body);
        json_decref(envelope);
    }
    rig_until(nothing_left, r, "the end of them");
    rig_works(r);
    rig_down(r);
}
END_TEST

static atomic_uint lines;

static void count_lines(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level;
    if (strcmp(component, "amqp") == 0 && strstr(text, "rejected") != NULL)
        atomic_fetch_add(&lines, 1);
}

START_TEST(one_line_a_second)
{
    rig *r = rig_up(NULL);
    fj_deadline began = fj_now();

    fj_log_set(count_lines, NULL);
    for (int i = 0; i < MANY; i++)
        (void)rig_publish(r, "openstack", "t", "nonsense");
    rig_until(nothing_left, r, "the end of them");
    rig_works(r);
    int64_t seconds = (fj_now().ns - began.ns) / 1000000000 + 1;
    ck_assert_uint_ge(atomic_load(&lines), 1);
    ck_assert_int_le(atomic_load(&lines), seconds);
    rig_down(r);
}
END_TEST

/* ---- M3 ---------------------------------------------------------------------------------------------- */

static fj_code call_with(rig *r, json_t *args, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(LONG_MS);
    return fj_client_call(r->client, "echo", args, &o, NULL, err);
}

START_TEST(too_big_out)
{
    const rig_opts opts = { .conf = small_cap };
    rig *r = rig_up(&opts);
    char *text = malloc(SMALL_CAP + 1);
    fj_error *err = NULL;

    rig_works(r);
    unsigned sent = broker_seen(r->b, AMQP_BASIC_PUBLISH_METHOD);
    memset(text, 'x', SMALL_CAP);
    text[SMALL_CAP] = '\0';
    fj_code code = call_with(r, json_pack("{s:s}", "x", text), &err);
    rig_expect(code, err, FJ_TOO_BIG, FJ_SENT_NO);
    ck_assert_uint_eq(broker_seen(r->b, AMQP_BASIC_PUBLISH_METHOD), sent);
    rig_works(r);
    free(text);
    rig_down(r);
}
END_TEST

/* What this process has had of memory at most, in kB. */
static long peak(void)
{
    struct rusage usage;

    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* A sanitizer keeps what was freed for a while. */
static void grew_by_less_than(long before, long kb)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)before, (void)kb;
#else
    ck_assert_int_lt(peak() - before, kb);
#endif
}

static void send_frames(rig *r, frames *f, const char *to_consumer_of)
{
    broker_rule rule = { .kind = BROKER_SEND, .consumer_of = to_consumer_of, .bytes = f->bytes, .n = f->n };

    broker_rule_add(r->b, &rule);
    free(f->bytes);
    *f = (frames){ 0 };
}

static bool has_rejected(void *user)
{
    return rejected(user) == 1;
}

/* As large as it is, it is dropped as it comes; the broker of tests has it piece by piece, too. */
START_TEST(too_big_in)
{
    const rig_opts opts = { .conf = small_cap };
    rig *r = rig_up(&opts);
    char *chunk = calloc(1, CHUNK);
    frames f = { 0 };

    rig_works(r);
    long before = peak();
    frames_deliver(&f, 2, "1", 100);
    frames_header(&f, 2, BOMB);
    send_frames(r, &f, "t");
    for (size_t n = 0; n < BOMB; n += CHUNK) {
        frames_body(&f, 2, chunk, CHUNK);
        send_frames(r, &f, "t");
        while (broker_unsaid(r->b) > 16 * CHUNK)
            (void)broker_wait(r->b, AMQP_BASIC_REJECT_METHOD, 1, 1);
    }
    rig_until(has_rejected, r, "the refusal");
    grew_by_less_than(before, BOMB / 1024 / 4);
    r->lies = true; /* there was no message 100 */
    rig_works(r);
    free(chunk);
    rig_down(r);
}
END_TEST

START_TEST(too_big_announced)
{
    rig *r = rig_up(NULL);
    frames f = { 0 };

    rig_works(r);
    long before = peak();
    frames_deliver(&f, 2, "1", 100);
    frames_header(&f, 2, UINT64_C(1) << 62); /* and no more of it */
    send_frames(r, &f, "t");
    frames_raw(&f, "", 0);
    frames_method(&f, 2, AMQP_BASIC_QOS_OK_METHOD, NULL); /* amid a message: the connection is given up */
    unsigned connections = broker_accepted(r->b);
    send_frames(r, &f, "t");
    ck_assert(broker_wait(r->b, AMQP_CONNECTION_OPEN_METHOD, connections + 1, LONG_MS));
    grew_by_less_than(before, 64 * 1024);
    rig_works(r);
    rig_down(r);
}
END_TEST

/* ---- M4 ---------------------------------------------------------------------------------------------- */

static char *nested(size_t depth)
{
    static const char front[] =
        "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"echo\\\", "
        "\\\"args\\\": {\\\"x\\\": ";
    char *text = malloc(sizeof front + 2 * depth + 8), *at = text;

    ck_assert_ptr_nonnull(text);
    memcpy(at, front, sizeof front - 1);
    at += sizeof front - 1;
    memset(at, '[', depth);
    memset(at + depth, ']', depth);
    memcpy(at + 2 * depth, "}}\"}", 5);
    return text;
}

START_TEST(too_deep_in)
{
    static const size_t depths[] = { 100, 1000, 10000, 100000, 1000000 };
    const rig_opts opts = { .executor = rows_executors[_i] };
    rig *r = rig_up(&opts);

    for (unsigned i = 0; i < 5; i++) {
        char *body = nested(depths[i]);
        (void)rig_publish(r, "openstack", "t", body);
        free(body);
    }
    rig_until(nothing_left, r, "the end of them");
    ck_assert_uint_eq(rejected(r), 5);
    rig_works(r);
    rig_down(r);
}
END_TEST

START_TEST(too_deep_out)
{
    rig *r = rig_up(NULL);
    fj_error *err = NULL;
    json_t *value = json_array();

    for (int i = 0; i < 100; i++) {
        json_t *outer = json_array();
        ck_assert_int_eq(json_array_append_new(outer, value), 0);
        value = outer;
    }
    fj_code code = call_with(r, json_pack("{s:o}", "x", value), &err);
    rig_expect(code, err, FJ_TOO_DEEP, FJ_SENT_NO);
    rig_works(r);
    rig_down(r);
}
END_TEST

/* Headers: a table in a table in a table. */
static void put_nested_headers(frames *properties, unsigned depth)
{
    static const uint8_t flags[2] = { 0x20, 0 }; /* headers alone */

    frames_raw(properties, flags, sizeof flags);
    for (unsigned i = depth; i > 0; i--) { /* each: its length, "a" => table; the innermost is empty */
        uint32_t inside = 7 * (i - 1);
        uint8_t level[7] = { (uint8_t)(inside >> 24),
                             (uint8_t)(inside >> 16),
                             (uint8_t)(inside >> 8),
                             (uint8_t)inside,
                             1,
                             'a',
                             'F' };
        frames_raw(properties, level, i > 1 ? 7 : 4);
    }
}

START_TEST(headers_too_deep)
{
    rig *r = rig_up(NULL);

    rig_works(r);
    unsigned connections = broker_accepted(r->b);
    for (unsigned depth = 100; depth <= 10000; depth *= 10) {
        frames properties = { 0 };
        put_nested_headers(&properties, depth);
        broker_publish_with(r->b, "openstack", "t", properties.bytes, properties.n, "{}", 2);
        free(properties.bytes);
    }
    rig_until(nothing_left, r, "the end of them");
    ck_assert_uint_eq(rejected(r), 3);
    ck_assert_uint_eq(broker_accepted(r->b), connections); /* one bad message breaks no connection */
    rig_works(r);
    rig_down(r);
}
END_TEST

/* ---- M5 ---------------------------------------------------------------------------------------------- */

/* What stands in a call's arguments, and what stands in the answer of a server that gives it back. */
static const struct odd {
    const char *in, *out; /* out NULL: rejected */
} odds[] = {
    { "\"\\ud800\"", "\"\\ufffd\"" },
    { "\"\\u0000\"", "\"\\u0000\"" },
    { "\"\\ud83d\\ude00\"", "\"\\ud83d\\ude00\"" },
    { "\"\xc3\xa4\"", "\"\\u00e4\"" },
    { "\"\xff\"", NULL },
    { "\"\xc0\xaf\"", NULL },
    { "\"\xed\xa0\x80\"", NULL },
    { "9223372036854775807", "9223372036854775807" },
    { "9223372036854775808", "9223372036854775808" },
    { "-9223372036854775809", "-9223372036854775809" },
    { "NaN", "NaN" },
    { "Infinity", "Infinity" },
    { "-Infinity", "-Infinity" },
    { "1e999", "Infinity" },
    { "{\"a\": 1, \"a\": 2}", "{\"a\": 2}" },
    { "\xef\xbb\xbf"
      "1",
      NULL },
    { "01", NULL },
    { "1 2", NULL },
};
enum { ODDS = sizeof odds / sizeof odds[0] };

/* The text of an envelope: @p inner quoted, as it is. */
static char *wrapped(const char *inner)
{
    size_t n = strlen(inner);
    char *text = malloc(2 * n + 80), *at = text;

    ck_assert_ptr_nonnull(text);
    at += sprintf(at, "{\"oslo.version\": \"2.0\", \"oslo.message\": \"");
    for (size_t i = 0; i < n; i++) {
        if (inner[i] == '"' || inner[i] == '\\')
            *at++ = '\\';
        *at++ = inner[i];
    }
    memcpy(at, "\"}", 3);
    return text;
}

START_TEST(odd_values)
{
    rig *r = rig_up(NULL);
    unsigned refused = 0;

    broker_queue_add(r->b, "reply_odd", NULL, NULL);
    for (unsigned i = 0; i < ODDS; i++) {
        char inner[512], want[512];
        (void)snprintf(
            inner, sizeof inner,
            "{\"method\": \"echo\", \"args\": {\"x\": %s}, \"_msg_id\": \"m%u\", \"_reply_q\": \"reply_odd\", "
            "\"_unique_id\": \"u%u\"}",
            odds[i].in, i, i);
        char *body = wrapped(inner);
        (void)rig_publish(r, "openstack", "t", body);
        free(body);
        if (odds[i].out == NULL) {
            ck_assert_msg(broker_wait(r->b, AMQP_BASIC_REJECT_METHOD, ++refused, LONG_MS), "%s is not rejected",
                          odds[i].in);
            continue;
        }
        json_t *envelope = json_loads(body = broker_get(r->b, "reply_odd", LONG_MS), 0, NULL);
        const char *text = json_string_value(json_object_get(envelope, "oslo.message"));
        (void)snprintf(want, sizeof want, "\"result\": %s, ", odds[i].out);
        ck_assert_msg(text != NULL && strstr(text, want) != NULL, "%s came back in %s", odds[i].in, body);
        json_decref(envelope);
        free(body);
    }
    rig_works(r);
    rig_down(r);
}
END_TEST

/* As Python hashes: names that collide for a hash function whose seed is known. */
START_TEST(a_million_keys)
{
    rig *r = rig_up(NULL);
    enum { KEYS = 1000000 };
    char *inner = malloc(KEYS * 12 + 200), *at = inner;

    ck_assert_ptr_nonnull(inner);
    at += sprintf(at, "{\"method\": \"echo\", \"args\": {\"x\": {");
    for (int i = 0; i < KEYS; i++)
        at += sprintf(at, "%s\"%06d\":0", i == 0 ? "" : ",", i);
    (void)sprintf(at, "}}, \"_unique_id\": \"u\"}");
    char *body = wrapped(inner);
    (void)rig_publish(r, "openstack", "t", body);
    rig_await(&r->ran, 1, "the method");
    rig_works(r);
    free(body);
    free(inner);
    rig_down(r);
}
END_TEST

/* ---- M6 ---------------------------------------------------------------------------------------------- */

static void publish_as(rig *r, const char *type, const char *compression, const void *body, size_t n)
{
    amqp_table_entry_t entry = { .key = amqp_cstring_bytes("compression") };
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                  .content_type = amqp_cstring_bytes(type) };

    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    if (compression != NULL) {
        entry.value.value.bytes = amqp_cstring_bytes(compression);
        p._flags |= AMQP_BASIC_HEADERS_FLAG;
        p.headers = (amqp_table_t){ 1, &entry };
    }
    ck_assert_uint_eq(broker_publish(r->b, "openstack", "t", &p, body, n), 1);
}

START_TEST(other_types)
{
    rig *r = rig_up(NULL);
    char *body = rig_request("echo", "{\"x\": 7}", id, NULL);
    static const char *const types[] = { "application/x-python-serialize", "application/data", "text/plain", "",
                                         "application/json " };
    static const char *const packings[] = { "application/x-lzma", "application/zstd", "gzip", "" };

    for (unsigned i = 0; i < 5; i++)
        publish_as(r, types[i], NULL, body, strlen(body));
    for (unsigned i = 0; i < 4; i++)
        publish_as(r, "application/json", packings[i], body, strlen(body));
    publish_as(r, "application/json", "application/x-gzip", body, strlen(body)); /* it is not */
    publish_as(r, "application/json", "application/x-bz2", body, strlen(body));
    rig_until(nothing_left, r, "the end of them");
    ck_assert_uint_eq(rejected(r), 11);
    ck_assert_uint_eq(atomic_load(&r->ran), 0);
    rig_works(r);
    free(body);
    rig_down(r);
}
END_TEST

START_TEST(packed)
{
    rig *r = rig_up(NULL);
    char *body = rig_request("echo", "{\"x\": 7}", id, NULL);
    uLongf n = compressBound(strlen(body));
    Bytef *small = malloc(n);

    ck_assert_int_eq(compress(small, &n, (const Bytef *)body, strlen(body)), Z_OK);
    publish_as(r, "application/json", "application/x-gzip", small, n);
    rig_await(&r->ran, 1, "the method");
    for (uLongf part = 1; part < n; part++) /* cut short anywhere: */
        publish_as(r, "application/json", "application/x-gzip", small, part);
    rig_until(nothing_left, r, "the end of them");
    ck_assert_uint_eq(rejected(r), n - 1);
    ck_assert_uint_eq(atomic_load(&r->ran), 1);
    rig_works(r);
    free(small);
    free(body);
    rig_down(r);
}
END_TEST

/* Zeros, a thousand for a byte. */
START_TEST(a_bomb)
{
    const rig_opts opts = { .conf = small_cap };
    rig *r = rig_up(&opts);
    size_t n = 512 * 1024;
    Bytef *bomb = malloc(n), *zeros = calloc(1, CHUNK);
    z_stream z = { .next_out = bomb, .avail_out = (uInt)n };

    ck_assert_int_eq(deflateInit(&z, 9), Z_OK);
    for (size_t put = 0; put < BOMB; put += CHUNK) {
        z.next_in = zeros;
        z.avail_in = CHUNK;
        ck_assert_int_eq(deflate(&z, put + CHUNK < BOMB ? Z_NO_FLUSH : Z_FINISH),
                         put + CHUNK < BOMB ? Z_OK : Z_STREAM_END);
    }
    n = z.total_out;
    ck_assert_int_eq(deflateEnd(&z), Z_OK);
    rig_works(r);
    long before = peak();
    publish_as(r, "application/json", "application/x-gzip", bomb, n);
    rig_until(has_rejected, r, "the refusal");
    grew_by_less_than(before, 32 * 1024);
    rig_works(r);
    free(bomb);
    free(zeros);
    rig_down(r);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("M: bodies");

    rows_add(s, "M2 five hundred messages that are none are rejected once each, and the next call is answered",
             no_requests);
    rows_add(s, "M2 requests of no use are taken from the queue, and the next call is answered", no_methods);
    rows_add(s, "M2 a flood of rejected messages is one line a second", one_line_a_second);
    rows_add(s, "M3 what is too big is not sent, and says so", too_big_out);
    rows_add(s, "M3 what comes too big is dropped as it comes, and rejected", too_big_in);
    rows_add(s, "M3 what is announced is not allocated", too_big_announced);
    rows_add_each(s, "M4 what is nested too deep is rejected on any stack", too_deep_in);
    rows_add(s, "M4 what is nested too deep is not sent, and says so", too_deep_out);
    rows_add(s, "M4 headers nested too deep are rejected with their message alone", headers_too_deep);
    rows_add(s, "M5 odd values come back as they came, or as is documented, or are rejected", odd_values);
    rows_add(s, "M5 a million keys are a message like others", a_million_keys);
    rows_add(s, "M6 other content types and packings are rejected", other_types);
    rows_add(s, "M6 a packed message is unpacked, and a broken one rejected", packed);
    rows_add(s, "M6 what unpacks to too much is rejected before it has", a_bomb);
    return rows_run(s);
}
