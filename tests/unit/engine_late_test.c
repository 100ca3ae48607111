/* SPDX-License-Identifier: Apache-2.0 */
/* Brokers that are late, by a made-up time: with answers, with the rest of a frame, with everything; how soon to try again; and what is
 * said of a refusal. */
#include "base/alloc.h"
#include "transports/amqp/codec.h"
#include "transports/amqp/engine.h"
#include "transports/amqp/retry.h"
#include "transports/amqp/topology.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { BIG = 64000, LINE = 64 /* bytes a second, of the slowest line that is alive */ };

#define SECONDS(n) ((int64_t)(n)*1000000000)

static fj__engine *e;
static fj__buf bytes;

static fj_deadline at(int64_t ns)
{
    return (fj_deadline){ ns };
}

static void put(uint16_t channel, amqp_method_number_t id, void *method)
{
    ck_assert_int_eq(fj__put_method(&bytes, channel, id, method, 131072), FJ_OK);
}

static void feed(int64_t ns)
{
    ck_assert_int_eq(fj__engine_feed(e, fj__buf_data(&bytes), fj__buf_len(&bytes), at(ns)), FJ_OK);
    fj__buf_clear(&bytes);
}

static void flush(int64_t ns)
{
    fj__engine_sent(e, fj__buf_len(fj__engine_output(e)), at(ns));
}

static unsigned events(void)
{
    fj__event ev;
    unsigned n = 0;

    while (fj__engine_next(e, &ev)) {
        ck_assert_int_ne(ev.kind, FJ__EV_FAILED);
        n++;
    }
    return n;
}

/* Still open a moment before @p ns, and at @p ns lost, by a text with @p part. */
static void assert_lost_at(int64_t ns, const char *part)
{
    fj__event ev;

    fj__engine_tick(e, at(ns - 1));
    flush(ns - 1); /* a heartbeat, perhaps */
    ck_assert(!fj__engine_next(e, &ev));
    ck_assert_int_le(fj__engine_due(e).ns, ns);
    fj__engine_tick(e, at(ns));
    ck_assert(fj__engine_next(e, &ev));
    ck_assert_int_eq(ev.kind, FJ__EV_FAILED);
    ck_assert_int_eq(fj_error_code(ev.error), FJ_UNREACHABLE);
    ck_assert_msg(strstr(fj_error_text(ev.error), part) != NULL, "\"%s\" is not in \"%s\"", part,
                  fj_error_text(ev.error));
}

/* Open since 0, with a heartbeat of 60 s; an answer may take 30 s. */
static void set_up(void)
{
    fj__engine_opts opts = {
        .heartbeat = 60, .body_max = 100000, .handshake_ns = SECONDS(10), .answer_ns = SECONDS(30)
    };
    amqp_connection_start_t start = {
        0, 9, { 0, NULL }, amqp_cstring_bytes("AMQPLAIN"), amqp_cstring_bytes("en_US")
    };
    amqp_connection_tune_t tune = { 2047, 131072, 60 };
    amqp_connection_open_ok_t ok = { 0 };

    ck_assert_int_eq(fj__engine_new(&opts, &e, NULL), FJ_OK);
    ck_assert_int_eq(fj__engine_start(e, at(0)), FJ_OK);
    put(0, AMQP_CONNECTION_START_METHOD, &start);
    put(0, AMQP_CONNECTION_TUNE_METHOD, &tune);
    put(0, AMQP_CONNECTION_OPEN_OK_METHOD, &ok);
    feed(0);
    ck_assert_uint_eq(events(), 1);
    flush(0);
}

static void tear_down(void)
{
    e = fj__engine_free(e);
    fj__buf_fini(&bytes);
}

static void answer(uint16_t channel, amqp_method_number_t id, int64_t ns)
{
    uint8_t method[64] = { 0 }; /* all of its fields are empty */

    put(channel, id, method);
    feed(ns);
    ck_assert_uint_eq(events(), 1);
}

static void beat(int64_t ns)
{
    ck_assert_int_eq(fj__put_frame(&bytes, FJ__FRAME_HEARTBEAT, 0, NULL, 0), FJ_OK);
    feed(ns);
    ck_assert_uint_eq(events(), 0);
}

/* ---- answers ---------------------------------------------------------------------------------------- */

START_TEST(a_question_without_an_answer_in_time_ends_the_connection_and_is_named)
{
    ck_assert(fj__channel_open(e, 3) && fj__declare_exchange(e, 3, "x", false, false));
    flush(SECONDS(1));
    answer(3, AMQP_CHANNEL_OPEN_OK_METHOD, SECONDS(2));
    assert_lost_at(SECONDS(32), "did not answer exchange.declare on channel 3 for 30.0 s");
}
END_TEST

START_TEST(each_answer_gives_the_next_question_its_whole_time)
{
    ck_assert(fj__channel_open(e, 1) && fj__qos(e, 1, 1) && fj__confirm_select(e, 1));
    flush(0);
    answer(1, AMQP_CHANNEL_OPEN_OK_METHOD, SECONDS(29));
    answer(1, AMQP_BASIC_QOS_OK_METHOD, SECONDS(58));
    assert_lost_at(SECONDS(88), "confirm.select");
}
END_TEST

START_TEST(with_every_answer_there_nothing_is_late)
{
    ck_assert(fj__channel_open(e, 1) && fj__bind(e, 1, "q", "x", "k"));
    flush(0);
    answer(1, AMQP_CHANNEL_OPEN_OK_METHOD, SECONDS(1));
    answer(1, AMQP_QUEUE_BIND_OK_METHOD, SECONDS(2));
    beat(SECONDS(50));
    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(30)); /* our heartbeat */
    flush(SECONDS(50));
    assert_lost_at(SECONDS(170), "no heartbeat for 120 s");
}
END_TEST

START_TEST(a_channel_that_goes_on_does_not_hide_one_that_hangs)
{
    ck_assert(fj__channel_open(e, 1) && fj__channel_open(e, 2));
    flush(0);
    answer(2, AMQP_CHANNEL_OPEN_OK_METHOD, SECONDS(10));
    ck_assert(fj__qos(e, 2, 1));
    flush(SECONDS(11));
    answer(2, AMQP_BASIC_QOS_OK_METHOD, SECONDS(20));
    assert_lost_at(SECONDS(30), "channel.open on channel 1");
}
END_TEST

START_TEST(a_question_that_could_not_be_written_has_all_its_time)
{
    ck_assert(fj__channel_open(e, 1));
    beat(SECONDS(100));
    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(220)); /* silence */
    flush(SECONDS(100));
    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(130));
}
END_TEST

START_TEST(a_question_behind_bytes_that_are_not_written_has_all_its_time)
{
    ck_assert(fj__channel_open(e, 1) && fj__channel_open(e, 2));
    fj__engine_sent(e, fj__buf_len(fj__engine_output(e)) - 1, at(SECONDS(1)));
    beat(SECONDS(100));
    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(220)); /* silence */
    flush(SECONDS(100));
    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(130));
}
END_TEST

START_TEST(a_broker_that_blocks_us_may_answer_afterwards)
{
    amqp_connection_blocked_t blocked = { amqp_cstring_bytes("low on memory") };
    amqp_connection_unblocked_t unblocked = { 0 };

    ck_assert(fj__channel_open(e, 1));
    flush(0);
    put(0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
    feed(SECONDS(1));
    ck_assert_uint_eq(events(), 1);
    for (int s = 50; s <= 500; s += 50) {
        beat(SECONDS(s));
        fj__engine_tick(e, at(SECONDS(s)));
        flush(SECONDS(s));
        ck_assert_uint_eq(events(), 0);
    }
    put(0, AMQP_CONNECTION_UNBLOCKED_METHOD, &unblocked);
    feed(SECONDS(510));
    ck_assert_uint_eq(events(), 1);
    assert_lost_at(SECONDS(540), "channel.open");
}
END_TEST

START_TEST(after_our_channel_close_its_answer_alone_is_waited_for)
{
    ck_assert(fj__channel_open(e, 1) && fj__qos(e, 1, 1));
    flush(0);
    answer(1, AMQP_CHANNEL_OPEN_OK_METHOD, SECONDS(1));
    ck_assert(fj__close_channel(e, 1));
    flush(SECONDS(20));
    assert_lost_at(SECONDS(50), "channel.close");
}
END_TEST

START_TEST(what_is_no_question_needs_no_answer)
{
    amqp_basic_ack_t ack = { .delivery_tag = 1 };

    ck_assert(fj__channel_open(e, 1));
    flush(0);
    answer(1, AMQP_CHANNEL_OPEN_OK_METHOD, SECONDS(1));
    ck_assert_int_eq(fj__engine_method(e, 1, AMQP_BASIC_ACK_METHOD, &ack), FJ_OK);
    flush(SECONDS(2));
    ck_assert_int_eq(fj__engine_due(e).ns, SECONDS(32)); /* our heartbeat */
}
END_TEST

/* ---- half a frame ----------------------------------------------------------------------------------- */

/* The first @p n bytes of a large frame. */
static void feed_part(size_t n, int64_t ns)
{
    static const uint8_t head[] = { FJ__FRAME_BODY, 0, 1, 0, 0, BIG >> 8, BIG & 0xff };
    static uint8_t rest[BIG];

    ck_assert_int_eq(fj__engine_feed(e, head, n < sizeof head ? n : sizeof head, at(ns)), FJ_OK);
    if (n > sizeof head)
        ck_assert_int_eq(fj__engine_feed(e, rest, n - sizeof head, at(ns)), FJ_OK);
    ck_assert_uint_eq(events(), 0);
}

START_TEST(half_a_frame_and_then_nothing_is_silence)
{
    feed_part(1000, SECONDS(10));
    assert_lost_at(SECONDS(130), "no heartbeat for 120 s");
}
END_TEST

static void trickle(size_t n, int64_t ns)
{
    static const uint8_t more[LINE];

    ck_assert_int_eq(fj__engine_feed(e, more, n, at(ns)), FJ_OK);
    ck_assert_uint_eq(events(), 0);
    fj__engine_tick(e, at(ns));
    flush(ns);
    ck_assert_uint_eq(events(), 0);
}

START_TEST(a_frame_is_life_as_long_as_it_comes_at_64_bytes_a_second)
{
    int64_t s = 10;

    feed_part(LINE, SECONDS(10));
    while (++s < 900)
        trickle(LINE, SECONDS(s)); /* seven times as long as two heartbeats */
    for (; s < 1010; s += 10)
        trickle(1, SECONDS(s)); /* and then next to nothing, however large it says it is */
    assert_lost_at(SECONDS(10) + SECONDS(120) + SECONDS(890 * LINE + 11) / LINE, "is not whole yet");
}
END_TEST

START_TEST(a_frame_of_no_size_yet_has_two_heartbeats)
{
    feed_part(3, SECONDS(10));
    trickle(1, SECONDS(100));
    assert_lost_at(SECONDS(130) + SECONDS(4) / LINE, "a frame that began 120 s ago");
}
END_TEST

START_TEST(frames_that_trickle_and_end_are_life)
{
    static const uint8_t heartbeat[] = { FJ__FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FJ__FRAME_END };

    for (int s = 0; s < 3000; s += 10) { /* a byte in ten seconds */
        ck_assert_int_eq(fj__engine_feed(e, &heartbeat[s / 10 % 8], 1, at(SECONDS(s))), FJ_OK);
        ck_assert_uint_eq(events(), 0);
        fj__engine_tick(e, at(SECONDS(s)));
        flush(SECONDS(s));
        ck_assert_uint_eq(events(), 0);
    }
}
END_TEST

/* ---- trying again ------------------------------------------------------------------------------------ */

START_TEST(the_first_times_are_at_once_and_then_the_pauses_grow_to_the_longest)
{
    static const int by_default[] = { 0, 0, 1, 2, 4, 8, 16, 30, 30, 30 }, of_three[] = { 0, 0, 1, 2, 3, 3 };
    static const struct {
        double longest;
        const int *pauses;
        size_t n;
    } ways[] = { { 30, by_default, fj__countof(by_default) }, { 3, of_three, fj__countof(of_three) } };
    fj__retry r = { .quick = 2, .at_once = true, .longest = ways[_i].longest };
    int64_t now = SECONDS(1000);

    for (size_t i = 0; i < ways[_i].n; i++) {
        int64_t pause = fj__retry_next(&r, at(now)).ns - now;
        ck_assert_int_le(pause, SECONDS(ways[_i].pauses[i]));
        ck_assert_int_ge(pause, SECONDS(ways[_i].pauses[i]) / 2);
        now += pause;
    }
}
END_TEST

START_TEST(a_longest_pause_of_nothing_is_no_hot_loop)
{
    fj__retry r = { .at_once = true };

    for (int i = 0; i < 2000; i++)
        ck_assert_int_ge(fj__retry_next(&r, at(SECONDS(1000))).ns, SECONDS(1000) + SECONDS(1) / 10);
}
END_TEST

START_TEST(what_is_declared_anew_waits_a_moment_even_the_first_time)
{
    fj__retry r = { .quick = 1 };
    int64_t pause = fj__retry_next(&r, at(SECONDS(1000))).ns - SECONDS(1000);

    ck_assert_int_ge(pause, SECONDS(1) * 15 / 100);
    ck_assert_int_le(pause, SECONDS(1) * 45 / 100);
}
END_TEST

START_TEST(what_went_well_or_held_for_a_while_is_tried_at_once_again)
{
    fj__retry r = { .quick = 1, .at_once = true, .longest = 30 };

    ck_assert_int_eq(fj__retry_next(&r, at(SECONDS(1000))).ns, SECONDS(1000));
    ck_assert_int_gt(fj__retry_next(&r, at(SECONDS(1000))).ns, SECONDS(1000));
    fj__retry_good(&r);
    ck_assert_int_eq(fj__retry_next(&r, at(SECONDS(1003))).ns, SECONDS(1003));
    ck_assert_int_gt(fj__retry_next(&r, at(SECONDS(1004))).ns, SECONDS(1004));
    ck_assert_int_gt(fj__retry_next(&r, at(SECONDS(1008))).ns, SECONDS(1008));
    ck_assert_int_eq(fj__retry_next(&r, at(SECONDS(1018))).ns, SECONDS(1018));
}
END_TEST

/* ---- what is said of a refusal ------------------------------------------------------------------------ */

static const struct {
    uint16_t code;
    fj_code as;
    const char *text, *says, *key;
} refusals[] = {
    { 406, FJ_MISMATCH,
      "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but "
      "current is 'false'",
      "406 queue 'q' in vhost '/' has durable=false, wanted true",
      "[oslo_messaging_rabbit] amqp_durable_queues" },
    { 406, FJ_MISMATCH,
      "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q' in vhost '/': received the value "
      "'1800000' of type "
      "'long' but current is none",
      "queue 'q' in vhost '/' has x-expires=none, wanted 1800000", "rabbit_transient_queues_ttl" },
    { 406, FJ_MISMATCH,
      "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received none but "
      "current is the value "
      "'quorum' of type 'longstr'",
      "has x-queue-type=quorum, wanted none", "rabbit_quorum_queue" },
    { 406, FJ_MISMATCH,
      "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for exchange 'x' in vhost 'v': received 'false' "
      "but current is 'true'",
      "exchange 'x' in vhost 'v' has auto_delete=true, wanted false", "amqp_auto_delete" },
    { 406, FJ_MISMATCH,
      "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received 'topic' but "
      "current is 'fanout'",
      "has type=fanout, wanted topic", "[DEFAULT] control_exchange" },
    { 406, FJ_MISMATCH,
      "PRECONDITION_FAILED - inequivalent arg 'x-odd' for queue 'q' in vhost '/': received none but current is "
      "the value '1' of "
      "type 'byte'",
      "has x-odd=1, wanted none", "another program declared it" },
    { 406, FJ_MISMATCH, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'cut off he",
      "406 PRECONDITION_FAILED", "amqp_durable_queues" },
    { 405, FJ_MISMATCH,
      "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be "
      "originally declared on "
      "another connection",
      "locked queue 'q' in vhost '/'", "has exclusive=true, wanted false" },
    { 404, FJ_NO_QUEUE, "NOT_FOUND - no queue 'q' in vhost '/'", "404 NOT_FOUND - no queue 'q' in vhost '/'",
      "" },
    { 403, FJ_ACCESS, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'",
      "refused for user 'u'", "permissions" },
    { 504, FJ_PROTOCOL, "CHANNEL_ERROR - odd", "504 CHANNEL_ERROR - odd", "" },
};

START_TEST(a_refusal_says_what_was_wanted_what_is_there_and_where_to_look)
{
    fj__event ev = { .kind = FJ__EV_CHANNEL_CLOSED, .code = refusals[_i].code, .text = refusals[_i].text };
    fj_error *error = fj__channel_error(&ev);

    ck_assert_int_eq(fj_error_code(error), refusals[_i].as);
    ck_assert_msg(strstr(fj_error_text(error), refusals[_i].says) != NULL &&
                      strstr(fj_error_text(error), refusals[_i].key) != NULL,
                  "%s", fj_error_text(error));
    fj_error_free(error);
}
END_TEST

START_TEST(a_refusal_of_endless_names_is_cut)
{
    static char text[512] = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '";
    size_t n = strlen(text);

    memset(text + n, 'q', 300);
    strcpy(text + n + 300, "': received 'true' but current is 'false");
    fj__event ev = { .kind = FJ__EV_CHANNEL_CLOSED, .code = 406, .text = text };
    fj_error *error = fj__channel_error(&ev);
    ck_assert_ptr_nonnull(strstr(fj_error_text(error), "wanted true"));
    fj_error_free(error);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("late brokers");
    TCase *c = tcase_create("late");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_question_without_an_answer_in_time_ends_the_connection_and_is_named);
    tcase_add_test(c, each_answer_gives_the_next_question_its_whole_time);
    tcase_add_test(c, with_every_answer_there_nothing_is_late);
    tcase_add_test(c, a_channel_that_goes_on_does_not_hide_one_that_hangs);
    tcase_add_test(c, a_question_that_could_not_be_written_has_all_its_time);
    tcase_add_test(c, a_question_behind_bytes_that_are_not_written_has_all_its_time);
    tcase_add_test(c, a_broker_that_blocks_us_may_answer_afterwards);
    tcase_add_test(c, after_our_channel_close_its_answer_alone_is_waited_for);
    tcase_add_test(c, what_is_no_question_needs_no_answer);
    tcase_add_test(c, half_a_frame_and_then_nothing_is_silence);
    tcase_add_test(c, a_frame_is_life_as_long_as_it_comes_at_64_bytes_a_second);
    tcase_add_test(c, a_frame_of_no_size_yet_has_two_heartbeats);
    tcase_add_test(c, frames_that_trickle_and_end_are_life);
    tcase_add_loop_test(c, the_first_times_are_at_once_and_then_the_pauses_grow_to_the_longest, 0, 2);
    tcase_add_test(c, a_longest_pause_of_nothing_is_no_hot_loop);
    tcase_add_test(c, what_is_declared_anew_waits_a_moment_even_the_first_time);
    tcase_add_test(c, what_went_well_or_held_for_a_while_is_tried_at_once_again);
    tcase_add_loop_test(c, a_refusal_says_what_was_wanted_what_is_there_and_where_to_look, 0,
                        (int)(sizeof refusals / sizeof *refusals));
    tcase_add_test(c, a_refusal_of_endless_names_is_cut);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
