/* SPDX-License-Identifier: Apache-2.0 */
/* When rules act: which frame, which connection, how often, by which dice. */
#include "tests/chaos/rig.h"

#include "base/alloc.h"

#include <string.h>
#include <unistd.h>

static wire publish(unsigned channel, const char *exchange, const char *key)
{
    char args[128];

    (void)snprintf(args, sizeof args, "{'exchange': '%s', 'routing_key': '%s'}", exchange, key);
    return method("basic.publish", channel, args);
}

static wire ack(unsigned n)
{
    char args[64];

    (void)snprintf(args, sizeof args, "{'delivery_tag': %u}", n);
    return method("basic.ack", 1, args);
}

#define DROPS(when) "[{'when': {" when "}, 'do': {'action': 'drop'}}]"

START_TEST(a_rule_meets_frames_by_kind)
{
    rig_begin(DROPS("'frame': 'heartbeat', 'times': 0"), 0);
    wire heartbeat = bytes_of("\10\0\0\0\0\0\0\xce");
    heartbeat.n = 8;
    put_wire(client, joined(heartbeat, joined(ack(1), heartbeat)));
    expect_wire(server, ack(1));
    put_wire(server, heartbeat);
    expect_nothing(client);
}
END_TEST

START_TEST(a_rule_meets_the_protocol_header)
{
    rig_begin(DROPS("'frame': 'protocol'"), 0);
    put(client, "AMQP\0\0\11\1", 8);
    put_wire(client, ack(1));
    expect_wire(server, ack(1));
}
END_TEST

START_TEST(a_rule_meets_a_class_of_methods)
{
    rig_begin(DROPS("'frame': 'channel.*', 'times': 0"), 0);
    put_wire(client, joined(method("channel.open", 1, NULL), joined(ack(1), method("channel.close", 1, NULL))));
    expect_wire(server, ack(1));
}
END_TEST

START_TEST(a_rule_meets_one_direction)
{
    rig_begin(DROPS("'frame': 'basic.ack', 'direction': 's2c', 'times': 0"), 0);
    put_wire(client, ack(1));
    expect_wire(server, ack(1));
    put_wire(server, ack(2));
    expect_nothing(client);
}
END_TEST

START_TEST(a_rule_meets_names_by_patterns)
{
    rig_begin(DROPS("'frame': 'basic.publish', 'exchange': '', 'routing_key': 'reply_*', 'times': 0"), 0);
    put_wire(client, publish(1, "", "reply_4711"));
    put_wire(client, publish(1, "x", "reply_4711"));
    put_wire(client, publish(1, "", "topic"));
    expect_wire(server, joined(publish(1, "x", "reply_4711"), publish(1, "", "topic")));
}
END_TEST

START_TEST(a_rule_meets_queues_and_consumer_tags_and_channels)
{
    rig_begin("[{'when': {'frame': 'any', 'queue': 'calc'}, 'do': {'action': 'drop'}},"
              "{'when': {'frame': 'any', 'consumer_tag': 'c?'}, 'do': {'action': 'drop'}},"
              "{'when': {'frame': 'any', 'channel': 9}, 'do': {'action': 'drop'}}]",
              0);
    put_wire(client, method("queue.declare", 1, "{'queue': 'other'}"));
    put_wire(client, method("queue.declare", 1, "{'queue': 'calc'}"));
    put_wire(client, method("basic.cancel", 1, "{'consumer_tag': 'c1'}"));
    put_wire(client, method("basic.qos", 9, NULL));
    put_wire(client, ack(1));
    expect_wire(server, joined(method("queue.declare", 1, "{'queue': 'other'}"), ack(1)));
}
END_TEST

START_TEST(a_rule_meets_the_body_of_the_message_that_it_means)
{
    rig_begin(DROPS("'frame': 'body', 'routing_key': 'b', 'times': 0"), 0);
    put_wire(client, joined(publish(1, "", "a"), publish(2, "", "b")));
    put_wire(client, joined(header(1, 2, NULL), header(2, 2, NULL)));
    wire both = joined(joined(publish(1, "", "a"), publish(2, "", "b")),
                       joined(header(1, 2, NULL), header(2, 2, NULL)));
    expect_wire(server, both);
    put_wire(client, joined(body(2, "bb"), body(1, "aa")));
    expect_wire(server, body(1, "aa"));
}
END_TEST

START_TEST(a_rule_meets_the_reply_to_of_a_header)
{
    rig_begin(DROPS("'frame': 'header', 'reply_to': 'amq.*'"), 0);
    put_wire(client, joined(publish(1, "", "a"), header(1, 0, "amq.rabbitmq.reply-to.x")));
    put_wire(client, joined(publish(1, "", "a"), header(1, 0, "mine")));
    expect_wire(server, joined(publish(1, "", "a"), joined(publish(1, "", "a"), header(1, 0, "mine"))));
}
END_TEST

static wire message(unsigned channel, const char *key, const char *text)
{
    return joined(joined(publish(channel, "", key), header(channel, 2 * strlen(text), NULL)),
                  joined(body(channel, text), body(channel, text)));
}

START_TEST(a_message_is_dropped_with_all_of_its_frames_and_no_others)
{
    rig_begin(
        "[{'when': {'frame': 'basic.publish', 'routing_key': 'b'}, 'do': {'action': 'drop', 'message': true}}]",
        0);
    put_wire(client, joined(publish(2, "", "b"), publish(1, "", "a")));
    put_wire(client, joined(header(2, 4, NULL), header(1, 2, NULL)));
    put_wire(client, joined(body(2, "bb"), body(1, "aa")));
    put_wire(client, body(2, "bb"));
    expect_wire(server, joined(publish(1, "", "a"), joined(header(1, 2, NULL), body(1, "aa"))));
    put_wire(client, message(2, "b", "again"));
    expect_wire(server, message(2, "b", "again"));
}
END_TEST

START_TEST(a_message_is_duplicated_as_a_whole)
{
    rig_begin(
        "[{'when': {'frame': 'basic.publish'}, 'do': {'action': 'duplicate', 'message': true, 'copies': 2}}]",
        0);
    put_wire(client, message(3, "k", "text"));
    wire w = message(3, "k", "text");
    expect_wire(server, joined(w, joined(w, w)));
    put_wire(client, message(3, "k", "next"));
    expect_wire(server, message(3, "k", "next"));
}
END_TEST

START_TEST(nth_and_times_choose_which_matches_count)
{
    rig_begin(DROPS("'frame': 'basic.ack', 'nth': 2, 'times': 2"), 0);
    for (unsigned i = 1; i <= 5; i++)
        put_wire(client, ack(i));
    expect_wire(server, joined(ack(1), joined(ack(4), ack(5))));
    ck_assert_uint_eq(logged("\"action\":\"drop\""), 2);
}
END_TEST

START_TEST(each_connection_counts_for_itself_unless_the_plan_does)
{
    int other, other_server;

    rig_begin(
        "[{'name': 'own', 'when': {'frame': 'basic.ack', 'nth': 2}, 'do': {'action': 'drop'}},"
        "{'name': 'all', 'when': {'frame': 'basic.nack', 'nth': 2, 'per': 'plan'}, 'do': {'action': 'drop'}}]",
        0);
    rig_connect(&other, &other_server);
    put_wire(client, ack(1));
    put_wire(other, ack(1));
    expect_wire(server, ack(1));
    expect_wire(other_server, ack(1));
    put_wire(client, ack(2));
    put_wire(other, ack(2));
    expect_nothing(server);
    expect_nothing(other_server);
    put_wire(client, method("basic.nack", 1, NULL));
    put_wire(other, method("basic.nack", 1, NULL));
    expect_wire(server, method("basic.nack", 1, NULL));
    expect_nothing(other_server);
    (void)close(other);
    (void)close(other_server);
}
END_TEST

START_TEST(a_rule_meets_the_connection_that_it_names)
{
    int other, other_server;

    rig_begin(DROPS("'frame': 'any', 'conn': 2, 'times': 0"), 0);
    rig_connect(&other, &other_server);
    put_wire(client, ack(1));
    put_wire(other, ack(1));
    expect_wire(server, ack(1));
    expect_nothing(other_server);
    (void)close(other);
    (void)close(other_server);
}
END_TEST

START_TEST(a_rule_acts_between_after_and_before)
{
    rig_begin(DROPS("'frame': 'any', 'after': 2, 'before': 3, 'times': 0"), 0);
    put_wire(client, ack(1));
    rig_pass(2000);
    put_wire(client, ack(2));
    rig_pass(1000);
    put_wire(client, ack(3));
    expect_wire(server, joined(ack(1), ack(3)));
}
END_TEST

/* Which of a hundred frames a rule of chance drops, as bits of text. */
static void drawn(uint64_t seed, bool other_first, char *ret)
{
    int other, other_server;
    uint8_t got[8192];

    rig_begin(DROPS("'frame': 'any', 'probability': 0.5, 'times': 0"), seed);
    rig_connect(&other, &other_server);
    for (unsigned i = 0; i < 100; i++) {
        if (other_first)
            put_wire(other, ack(i));
        put_wire(client, ack(i));
        ret[i] = take(server, got, sizeof got) > 0 ? '1' : '0';
        if (!other_first)
            put_wire(other, ack(i));
        (void)take(other_server, got, sizeof got);
    }
    ret[100] = '\0';
    (void)close(other);
    (void)close(other_server);
    rig_end();
}

START_TEST(the_same_seed_and_frames_draw_the_same_whatever_others_do)
{
    char first[101], second[101], third[101];
    size_t ones = 0;

    drawn(7, false, first);
    drawn(7, true, second);
    drawn(8, false, third);
    ck_assert_str_eq(first, second);
    ck_assert_str_ne(first, third);
    for (size_t i = 0; i < 100; i++)
        ones += first[i] == '1';
    ck_assert(ones > 20 && ones < 80);
}
END_TEST

START_TEST(bytes_that_are_not_amqp_pass_rules_of_frames)
{
    rig_begin(DROPS("'frame': 'any', 'times': 0"), 0);
    put(client, "\x16\x03\x01\x02\x00 some TLS", 14);
    expect(server, "\x16\x03\x01\x02\x00 some TLS", 14);
    ck_assert_uint_eq(logged("\"event\":\"not-amqp\""), 1);
    put_wire(server, ack(1)); /* the other direction is judged for itself */
    expect_nothing(client);
}
END_TEST

START_TEST(a_frame_that_is_not_whole_when_its_sender_ends_passes_as_it_is)
{
    rig_begin(DROPS("'frame': 'any', 'nth': 9"), 0);
    put(client, ack(1).bytes, 5);
    expect_nothing(server);
    (void)close(client);
    client = -1;
    expect(server, ack(1).bytes, 5);
    expect_end(server);
}
END_TEST

START_TEST(a_rule_added_in_the_middle_of_a_frame_begins_with_the_next)
{
    rig_begin("[]", 0);
    put(client, ack(1).bytes, 9);
    expect(server, ack(1).bytes, 9);
    rig_add("{'name': 'late', 'when': {'frame': 'any', 'times': 0}, 'do': {'action': 'drop'}}");
    put(client, ack(1).bytes + 9, ack(1).n - 9);
    put_wire(client, ack(2));
    expect(server, ack(1).bytes + 9, ack(1).n - 9);
    ck_assert(chaos_proxy_remove(proxy, "late"));
    put_wire(client, ack(3));
    expect_wire(server, ack(3));
    ck_assert(!chaos_proxy_remove(proxy, "late"));
}
END_TEST

START_TEST(removing_a_rule_lets_a_half_frame_go)
{
    rig_begin("[{'name': 'r', 'when': {'frame': 'basic.nack'}, 'do': {'action': 'drop'}}]", 0);
    put(client, ack(1).bytes, 9);
    expect_nothing(server);
    ck_assert(chaos_proxy_remove(proxy, "r"));
    expect(server, ack(1).bytes, 9);
}
END_TEST

START_TEST(the_log_says_what_was_done_to_what)
{
    rig_begin("[{'name': 'gone', 'when': {'frame': 'basic.publish'}, 'do': {'action': 'drop'}}]", 0);
    put_wire(client, ack(1));
    put_wire(client, publish(3, "ex", "key"));
    ck_assert_uint_eq(
        logged(
            "\"event\":\"action\",\"conn\":1,\"dir\":\"c2s\",\"rule\":\"gone\",\"action\":\"drop\",\"nth\":2,"
            "\"frame\":\"basic.publish\",\"channel\":3,\"exchange\":\"ex\",\"routing_key\":\"key\",\"at\":0}"),
        1);
    ck_assert_uint_eq(logged("\"event\":\"open\",\"conn\":1"), 1);
}
END_TEST

static void add(TCase *tests)
{
    ADD(tests, a_rule_meets_frames_by_kind);
    ADD(tests, a_rule_meets_the_protocol_header);
    ADD(tests, a_rule_meets_a_class_of_methods);
    ADD(tests, a_rule_meets_one_direction);
    ADD(tests, a_rule_meets_names_by_patterns);
    ADD(tests, a_rule_meets_queues_and_consumer_tags_and_channels);
    ADD(tests, a_rule_meets_the_body_of_the_message_that_it_means);
    ADD(tests, a_rule_meets_the_reply_to_of_a_header);
    ADD(tests, a_message_is_dropped_with_all_of_its_frames_and_no_others);
    ADD(tests, a_message_is_duplicated_as_a_whole);
    ADD(tests, nth_and_times_choose_which_matches_count);
    ADD(tests, each_connection_counts_for_itself_unless_the_plan_does);
    ADD(tests, a_rule_meets_the_connection_that_it_names);
    ADD(tests, a_rule_acts_between_after_and_before);
    ADD(tests, the_same_seed_and_frames_draw_the_same_whatever_others_do);
    ADD(tests, bytes_that_are_not_amqp_pass_rules_of_frames);
    ADD(tests, a_frame_that_is_not_whole_when_its_sender_ends_passes_as_it_is);
    ADD(tests, a_rule_added_in_the_middle_of_a_frame_begins_with_the_next);
    ADD(tests, removing_a_rule_lets_a_half_frame_go);
    ADD(tests, the_log_says_what_was_done_to_what);
}

int main(void)
{
    return rig_main("rules of fjord-chaos", add);
}
