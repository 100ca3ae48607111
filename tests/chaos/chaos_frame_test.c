/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: where they end, what they carry, and that no length is believed. */
#include "tests/chaos/rig.h"

#include "base/alloc.h"

#include <string.h>

static chaos_contents *contents;

static chaos_frame decoded(wire w)
{
    chaos_frame f;

    if (contents == NULL)
        contents = chaos_contents_new();
    ck_assert_ptr_nonnull(contents);
    ck_assert_int_eq(chaos_frame_length(w.bytes, w.n, true), (long)w.n);
    chaos_frame_decode(contents, w.bytes, w.n, &f);
    return f;
}

static void carries(const chaos_frame *f, int which, const char *text)
{
    if (text == NULL) {
        ck_assert_ptr_null(f->texts[which].bytes);
        return;
    }
    ck_assert_uint_eq(f->texts[which].n, strlen(text));
    ck_assert_mem_eq(f->texts[which].bytes, text, strlen(text));
}

START_TEST(a_frame_that_is_made_reads_as_it_was_made)
{
    chaos_frame f = decoded(method("queue.bind", 7, "{'queue': 'q', 'exchange': 'e', 'routing_key': 'k'}"));

    ck_assert_int_eq(f.kind, CHAOS_METHOD);
    ck_assert_str_eq(chaos_frame_name(&f), "queue.bind");
    ck_assert_uint_eq(f.channel, 7);
    carries(&f, CHAOS_QUEUE, "q");
    carries(&f, CHAOS_EXCHANGE, "e");
    carries(&f, CHAOS_ROUTING_KEY, "k");
    carries(&f, CHAOS_CONSUMER_TAG, NULL);
    contents = chaos_contents_free(contents);
}
END_TEST

START_TEST(arguments_behind_bits_and_numbers_are_found)
{
    chaos_frame f =
        decoded(method("basic.deliver", 1,
                       "{'consumer_tag': 'c', 'delivery_tag': 99, 'redelivered': true, 'exchange': '', "
                       "'routing_key': 'reply_1'}"));

    carries(&f, CHAOS_CONSUMER_TAG, "c");
    carries(&f, CHAOS_EXCHANGE, "");
    carries(&f, CHAOS_ROUTING_KEY, "reply_1");
    f = decoded(method("basic.consume", 1, "{'queue': 'q', 'consumer_tag': 'tag', 'no_ack': true}"));
    carries(&f, CHAOS_QUEUE, "q");
    carries(&f, CHAOS_CONSUMER_TAG, "tag");
    contents = chaos_contents_free(contents);
}
END_TEST

START_TEST(the_frames_of_a_content_know_their_method)
{
    chaos_frame f;

    (void)decoded(method("basic.publish", 1, "{'exchange': 'one', 'routing_key': 'r1'}"));
    (void)decoded(method("basic.publish", 2, "{'exchange': 'two', 'routing_key': 'r2'}"));
    f = decoded(header(2, 6, "back"));
    carries(&f, CHAOS_EXCHANGE, "two");
    carries(&f, CHAOS_REPLY_TO, "back");
    f = decoded(header(1, 0, NULL));
    carries(&f, CHAOS_ROUTING_KEY, "r1");
    carries(&f, CHAOS_REPLY_TO, NULL);
    ck_assert_str_eq(f.method->name, "basic.publish");
    f = decoded(body(2, "abc"));
    carries(&f, CHAOS_REPLY_TO, "back");
    f = decoded(body(2, "def"));
    carries(&f, CHAOS_ROUTING_KEY, "r2");
    f = decoded(body(2, "of nothing"));
    ck_assert_ptr_null(f.method);
    f = decoded(body(1, "of nothing"));
    carries(&f, CHAOS_EXCHANGE, NULL);
    contents = chaos_contents_free(contents);
}
END_TEST

START_TEST(more_contents_at_once_than_are_kept_only_lose_texts)
{
    chaos_frame f;

    for (unsigned i = 1; i <= 100; i++)
        (void)decoded(method("basic.publish", i, "{'routing_key': 'k'}"));
    f = decoded(header(1, 1, NULL));
    carries(&f, CHAOS_ROUTING_KEY, NULL);
    f = decoded(header(100, 1, NULL));
    carries(&f, CHAOS_ROUTING_KEY, "k");
    contents = chaos_contents_free(contents);
}
END_TEST

START_TEST(the_length_is_known_from_the_head_on)
{
    wire w = method("basic.ack", 1, NULL);

    for (size_t n = 0; n < 7; n++)
        ck_assert_int_eq(chaos_frame_length(w.bytes, n, false), 0);
    for (size_t n = 7; n <= w.n; n++)
        ck_assert_int_eq(chaos_frame_length(w.bytes, n, false), (long)w.n);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"AMQ", 3, true), 0);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"AMQP", 4, true), 8);
}
END_TEST

START_TEST(what_is_no_frame_is_not_taken_for_one)
{
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"AMQP", 4, false), -1);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"AMX", 3, true), -1);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"\x16\x03\x01", 3, true), -1);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"\0", 1, true), -1);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"HTTP", 4, true), -1);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"\3\0\1\xff\xff\xff\xff", 7, true), -1);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"\3\0\1\0\x0f\xff\xf8", 7, true), CHAOS_FRAME_MAX);
    ck_assert_int_eq(chaos_frame_length((const uint8_t *)"\3\0\1\0\x0f\xff\xf9", 7, true), -1);
}
END_TEST

START_TEST(boundaries_are_found_however_the_bytes_come)
{
    wire w = joined(joined(bytes_of("AMQP\1\1\1\1"), method("basic.ack", 1, NULL)), body(1, "some body"));

    for (size_t step = 1; step <= w.n; step++) {
        chaos_scan s = { .have = 0 };
        for (size_t at = 0; at < w.n;) {
            size_t n = w.n - at < step ? w.n - at : step;
            size_t used = chaos_scan_feed(&s, w.bytes + at, n);
            ck_assert(used > 0 && used <= n);
            ck_assert(used == n || chaos_scan_at_boundary(&s));
            at += used;
        }
        ck_assert_uint_eq(s.frames, 3);
        ck_assert(chaos_scan_at_boundary(&s) && !s.raw);
    }
}
END_TEST

START_TEST(a_frame_without_its_end_ends_the_decoding)
{
    wire w = body(1, "x");
    uint8_t bytes[16];
    chaos_scan s = { .have = 0 };

    memcpy(bytes, w.bytes, w.n);
    bytes[w.n - 1] = 0;
    ck_assert_uint_eq(chaos_scan_feed(&s, bytes, w.n), w.n);
    ck_assert(s.raw);
    ck_assert_uint_eq(chaos_scan_feed(&s, bytes, 5), 5);
}
END_TEST

START_TEST(methods_that_lie_about_their_lengths_are_read_as_far_as_they_go)
{
    wire w = method("basic.publish", 1, "{'exchange': 'abc', 'routing_key': 'key'}");
    uint8_t bytes[64];
    chaos_frame f;

    for (size_t n = 0; n < w.n - 8; n++) { /* cut its payload at every byte */
        memcpy(bytes, w.bytes, 7 + n);
        bytes[6] = (uint8_t)n;
        bytes[7 + n] = 0xCE;
        f = decoded((wire){ bytes, n + 8 });
        carries(&f, CHAOS_ROUTING_KEY, n >= 14 ? "key" : NULL);
        contents = chaos_contents_free(contents);
    }
}
END_TEST

START_TEST(a_method_is_known_by_its_name_and_its_numbers)
{
    const chaos_method *m = chaos_method_named("basic.nack");
    uint16_t class_id = 0;

    ck_assert_ptr_eq(chaos_method_of(60, 120), m);
    ck_assert_ptr_null(chaos_method_named("basic.nonsense"));
    ck_assert_ptr_null(chaos_method_of(60, 999));
    ck_assert(chaos_class_named("confirm.x", 7, &class_id));
    ck_assert_uint_eq(class_id, 85);
    ck_assert(!chaos_class_named("conf", 4, &class_id));
    ck_assert(chaos_method_has_content(chaos_method_named("basic.get-ok")));
    ck_assert(!chaos_method_has_content(chaos_method_named("basic.get")));
}
END_TEST

static void refused(const char *name, const char *args, const char *says)
{
    fj__buf b = { 0 };
    fj_error *err = NULL;
    json_t *json = json_loads(args, 0, NULL);

    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(chaos_frame_make(chaos_method_named(name), 1, json, &b, &err), FJ_BAD_VALUE);
    ck_assert_msg(strstr(fj_error_text(err), says) != NULL, "%s", fj_error_text(err));
    fj_error_free(err);
    json_decref(json);
    fj__buf_fini(&b);
}

START_TEST(what_cannot_be_made_is_refused_by_name)
{
    refused("basic.ack", "{\"tag\": 1}", "tag: basic.ack has no such argument");
    refused("basic.ack", "{\"multiple\": 1}", "multiple: must be true or false");
    refused("basic.ack", "{\"delivery_tag\": \"x\"}", "delivery_tag: must be an integer");
    refused("channel.close", "{\"reply_code\": 65536}", "reply_code: does not fit");
    refused("channel.close", "{\"reply_code\": -1}", "reply_code: does not fit");
    refused("channel.close", "{\"reply_text\": 1}", "reply_text: must be a string");
    refused("queue.declare", "{\"arguments\": {\"x\": 1}}", "arguments: only the empty table");
    refused("connection.open", "{\"insis\": true}", "insis: connection.open has no such argument");
}
END_TEST

static void add(TCase *tests)
{
    ADD(tests, a_frame_that_is_made_reads_as_it_was_made);
    ADD(tests, arguments_behind_bits_and_numbers_are_found);
    ADD(tests, the_frames_of_a_content_know_their_method);
    ADD(tests, more_contents_at_once_than_are_kept_only_lose_texts);
    ADD(tests, the_length_is_known_from_the_head_on);
    ADD(tests, what_is_no_frame_is_not_taken_for_one);
    ADD(tests, boundaries_are_found_however_the_bytes_come);
    ADD(tests, a_frame_without_its_end_ends_the_decoding);
    ADD(tests, methods_that_lie_about_their_lengths_are_read_as_far_as_they_go);
    ADD(tests, a_method_is_known_by_its_name_and_its_numbers);
    ADD(tests, what_cannot_be_made_is_refused_by_name);
}

int main(void)
{
    return rig_main("frames of fjord-chaos", add);
}
