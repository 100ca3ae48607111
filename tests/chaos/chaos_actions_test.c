/* SPDX-License-Identifier: Apache-2.0 */
/* Each action at a frame: what arrives on the other side, to the byte. */
#include "tests/chaos/rig.h"

#include <string.h>
#include <unistd.h>

#define RULE(when, what) "{'when': {" when "}, 'do': {" what "}}"
#define ON_ACK "'frame': 'basic.ack'"

static wire ack(unsigned n)
{
    char args[64];

    (void)snprintf(args, sizeof args, "{'delivery_tag': %u}", n);
    return method("basic.ack", 1, args);
}

/* One rule, on the second of three acks; the first always arrives whole, and the others are sent. */
static void three_acks(const char *rule)
{
    rig_begin(rule, 1);
    put_wire(client, ack(1));
    expect_wire(server, ack(1));
    put_wire(client, ack(2));
}

#define SECOND "[{'when': {'frame': 'basic.ack', 'direction': 'c2s', 'nth': 2}, 'do': {"

START_TEST(without_rules_every_byte_passes_at_once_in_both_directions)
{
    rig_begin("[]", 0);
    put(client, "AMQ", 3);
    expect(server, "AMQ", 3);
    put(client, "P\0\0\11\1", 5);
    expect(server, "P\0\0\11\1", 5);
    put(server, ack(1).bytes, 9);
    expect(client, ack(1).bytes, 9);
    put(server, ack(1).bytes + 9, ack(1).n - 9);
    expect(client, ack(1).bytes + 9, ack(1).n - 9);
    ck_assert_uint_eq(proxy->frame_count[0], 1);
    ck_assert_uint_eq(proxy->frame_count[1], 1);
    (void)close(client);
    client = -1;
    expect_end(server);
}
END_TEST

START_TEST(delay_keeps_a_frame_and_what_follows_it_back_for_its_time)
{
    three_acks(SECOND "'action': 'delay', 'ms': 100}}]");
    put_wire(client, ack(3));
    expect_nothing(server);
    rig_pass(99);
    expect_nothing(server);
    rig_pass(1);
    expect_wire(server, joined(ack(2), ack(3)));
}
END_TEST

START_TEST(a_delay_of_every_frame_does_not_add_up)
{
    rig_begin("[{'when': {'frame': 'any', 'times': 0}, 'do': {'action': 'delay', 'ms': 100}}]", 0);
    put_wire(client, ack(1));
    rig_pass(50);
    put_wire(client, ack(2));
    rig_pass(50);
    expect_wire(server, ack(1));
    rig_pass(50);
    expect_wire(server, ack(2));
}
END_TEST

START_TEST(jitter_moves_a_delay_by_so_much_at_most)
{
    three_acks(SECOND "'action': 'delay', 'ms': 100, 'jitter': 20}}]");
    rig_pass(80);
    rig_pass(40);
    expect_wire(server, ack(2));
}
END_TEST

START_TEST(trickle_sends_a_frame_at_its_rate)
{
    size_t n = ack(2).n;

    three_acks(SECOND "'action': 'trickle', 'rate': 100}}]");
    expect(server, ack(2).bytes, 2); /* ten milliseconds' worth, and one */
    rig_pass(19);
    expect_nothing(server);
    rig_pass(1);
    expect(server, ack(2).bytes + 2, 2);
    for (size_t i = 4; i < n; i += 2) {
        rig_pass(20);
        expect(server, ack(2).bytes + i, n - i < 2 ? n - i : 2);
    }
    put_wire(client, ack(3));
    rig_pass(20);
    expect_wire(server, ack(3));
}
END_TEST

START_TEST(split_sends_one_byte_at_a_time_with_a_gap_between)
{
    three_acks(SECOND "'action': 'split', 'gap': 10}}]");
    for (size_t i = 0; i < ack(2).n; i++) {
        expect(server, ack(2).bytes + i, 1);
        rig_pass(10);
    }
    put_wire(client, ack(3));
    expect_wire(server, ack(3));
}
END_TEST

START_TEST(split_without_a_gap_changes_no_byte)
{
    three_acks(SECOND "'action': 'split', 'segment': 2}}]");
    expect_wire(server, ack(2));
}
END_TEST

START_TEST(stall_in_the_middle_of_a_frame_lasts_for_its_time)
{
    three_acks(SECOND "'action': 'stall', 'at': 5, 'for': 2}}]");
    put_wire(client, ack(3));
    expect(server, ack(2).bytes, 5);
    rig_pass(1999);
    expect_nothing(server);
    rig_pass(1);
    expect_wire(server, joined((wire){ ack(2).bytes + 5, ack(2).n - 5 }, ack(3)));
}
END_TEST

START_TEST(stall_for_ever_leaves_the_other_direction_alone)
{
    three_acks(SECOND "'action': 'stall', 'at': 'middle'}}]");
    expect(server, ack(2).bytes, ack(2).n / 2);
    rig_pass(86400000);
    expect_nothing(server);
    put_wire(server, ack(7));
    expect_wire(client, ack(7));
}
END_TEST

START_TEST(hold_stops_both_directions_for_its_time)
{
    three_acks(SECOND "'action': 'hold', 'at': 'after', 'for': 3}}]");
    expect_wire(server, ack(2));
    put_wire(client, ack(3));
    put_wire(server, ack(7));
    rig_pass(2999);
    expect_nothing(server);
    expect_nothing(client);
    rig_pass(1);
    expect_wire(server, ack(3));
    expect_wire(client, ack(7));
}
END_TEST

START_TEST(discard_swallows_the_rest_but_not_the_end)
{
    three_acks(SECOND "'action': 'discard', 'at': 4}}]");
    put_wire(client, ack(3));
    expect(server, ack(2).bytes, 4);
    put_wire(server, ack(7));
    expect_wire(client, ack(7));
    (void)close(client);
    client = -1;
    expect_end(server);
}
END_TEST

START_TEST(half_close_ends_one_direction_only)
{
    three_acks(SECOND "'action': 'half-close', 'at': 3}}]");
    expect(server, ack(2).bytes, 3);
    expect_end(server);
    put_wire(server, ack(7));
    expect_wire(client, ack(7));
    put_wire(client, ack(3)); /* nobody hears it */
    ck_assert_uint_eq(proxy->conn_count, 1);
    (void)close(server);
    server = -1;
    expect_end(client);
    (void)close(client);
    client = -1;
    rig_turn();
    ck_assert_uint_eq(proxy->conn_count, 0);
}
END_TEST

START_TEST(half_close_towards_the_sender_lets_it_go_on_sending)
{
    three_acks(SECOND "'action': 'half-close', 'side': 'client'}}]");
    expect_end(client);
    put_wire(client, ack(3));
    expect_wire(server, joined(ack(2), ack(3)));
}
END_TEST

START_TEST(close_ends_both_directions_orderly)
{
    three_acks(SECOND "'action': 'close', 'at': 'after'}}]");
    put_wire(client, ack(3));
    expect_wire(server, ack(2));
    expect_end(server);
    expect_end(client);
    (void)close(client);
    (void)close(server);
    client = server = -1;
    rig_turn();
    ck_assert_uint_eq(proxy->conn_count, 0);
}
END_TEST

START_TEST(reset_breaks_both_sides_after_so_many_bytes)
{
    three_acks(SECOND "'action': 'reset', 'at': 6}}]");
    expect(server, ack(2).bytes, 6);
    expect_reset(client);
    ck_assert_uint_eq(logged("\"event\":\"close\""), 1);
}
END_TEST

START_TEST(reset_before_a_frame_reaches_both_sides)
{
    three_acks(SECOND "'action': 'reset'}}]");
    expect_reset(server);
    expect_reset(client);
}
END_TEST

START_TEST(reset_of_one_side_closes_the_other_orderly)
{
    three_acks(SECOND "'action': 'reset', 'side': 'client'}}]");
    expect_reset(client);
    expect_end(server);
}
END_TEST

START_TEST(garbage_stands_before_within_and_after_a_frame)
{
    three_acks(
        "[{'when': {'frame': 'basic.ack', 'nth': 2}, 'do': {'action': 'garbage', 'hex': '00ff'}},"
        "{'when': {'frame': 'basic.ack', 'nth': 2}, 'do': {'action': 'garbage', 'hex': 'AAbb', 'at': 7}},"
        "{'when': {'frame': 'basic.ack', 'nth': 2}, 'do': {'action': 'garbage', 'hex': '11', 'at': 'after'}}]");
    wire w = joined((wire){ (const uint8_t *)"\0\xff", 2 }, (wire){ ack(2).bytes, 7 });
    w = joined(joined(w, bytes_of("\xaa\xbb")), (wire){ ack(2).bytes + 7, ack(2).n - 7 });
    expect_wire(server, joined(w, bytes_of("\x11")));
    put_wire(client, ack(3));
    expect_wire(server, ack(3));
}
END_TEST

START_TEST(garbage_of_the_dice_is_the_seeds)
{
    uint8_t first[64], second[64];

    for (int i = 0; i < 2; i++) {
        three_acks(SECOND "'action': 'garbage', 'size': 40}}]");
        ck_assert_uint_eq(take(server, i == 0 ? first : second, 64), 40 + ack(2).n);
        rig_end();
    }
    ck_assert_mem_eq(first, second, 40 + ack(2).n);
    rig_begin("[]", 1);
}
END_TEST

START_TEST(inject_puts_a_frame_before_another_on_its_channel)
{
    rig_begin("[{'when': {'frame': 'basic.ack', 'direction': 's2c'}, 'do': {'action': 'inject', 'frame': "
              "'basic.cancel', "
              "'args': {'consumer_tag': 'c1'}}}]",
              0);
    put_wire(server, ack(1));
    expect_wire(client, joined(method("basic.cancel", 1, "{'consumer_tag': 'c1'}"), ack(1)));
}
END_TEST

START_TEST(inject_into_the_other_direction_waits_until_its_frame_is_whole)
{
    rig_begin("[{'when': {'frame': 'basic.ack', 'direction': 'c2s'}, 'do': {'action': 'inject', 'frame': "
              "'connection.blocked', 'args': {'reason': 'low on memory'}}}]",
              0);
    put(server, ack(7).bytes, 9);
    expect(client, ack(7).bytes, 9);
    put_wire(client, ack(1));
    expect_wire(server, ack(1));
    expect_nothing(client);
    put_wire(server, joined((wire){ ack(7).bytes + 9, ack(7).n - 9 }, ack(8)));
    wire rest = { ack(7).bytes + 9, ack(7).n - 9 };
    expect_wire(client,
                joined(joined(rest, method("connection.blocked", 0, "{'reason': 'low on memory'}")), ack(8)));
}
END_TEST

START_TEST(inject_of_connection_close_is_what_a_broker_says_when_it_is_shut_down)
{
    rig_begin("[{'when': {'frame': 'basic.ack'}, 'do': {'action': 'inject', 'frame': 'connection.close'}}]", 0);
    put_wire(client, ack(1));
    expect_wire(client, method("connection.close", 0,
                               "{'reply_code': 320, 'reply_text': 'CONNECTION_FORCED - fjord-chaos'}"));
}
END_TEST

START_TEST(inject_towards_the_server_and_on_a_channel)
{
    rig_begin(
        "[{'when': {'frame': 'basic.ack'}, 'do': {'action': 'inject', 'frame': 'channel.close', 'channel': 5, "
        "'side': 'server', 'at': 'after', 'args': {'reply_code': 404, 'reply_text': 'NOT_FOUND'}}}]",
        0);
    put_wire(client, ack(1));
    expect_wire(server,
                joined(ack(1), method("channel.close", 5, "{'reply_code': 404, 'reply_text': 'NOT_FOUND'}")));
    expect_nothing(client);
}
END_TEST

START_TEST(drop_takes_a_frame_out)
{
    three_acks(SECOND "'action': 'drop'}}]");
    put_wire(client, ack(3));
    expect_wire(server, ack(3));
}
END_TEST

START_TEST(duplicate_sends_a_frame_again)
{
    three_acks(SECOND "'action': 'duplicate', 'copies': 2}}]");
    expect_wire(server, joined(joined(ack(2), ack(2)), ack(2)));
}
END_TEST

START_TEST(reorder_lets_the_next_frame_overtake)
{
    three_acks(SECOND "'action': 'reorder'}}]");
    expect_nothing(server);
    put_wire(client, joined(ack(3), ack(4)));
    expect_wire(server, joined(joined(ack(3), ack(2)), ack(4)));
}
END_TEST

START_TEST(reorder_of_the_last_frame_loses_nothing)
{
    three_acks(SECOND "'action': 'reorder'}}]");
    (void)close(client);
    client = -1;
    expect_wire(server, ack(2));
    expect_end(server);
}
END_TEST

START_TEST(truncate_cuts_a_frame_off)
{
    three_acks(SECOND "'action': 'truncate', 'at': 10}}]");
    put_wire(client, ack(3));
    expect_wire(server, joined((wire){ ack(2).bytes, 10 }, ack(3)));
}
END_TEST

START_TEST(corrupt_changes_the_bytes_that_it_is_to)
{
    uint8_t want[64];

    three_acks(SECOND "'action': 'corrupt', 'at': 2, 'xor': 255, 'count': 2}}]");
    memcpy(want, ack(2).bytes, ack(2).n);
    want[2] ^= 255;
    want[3] ^= 255;
    expect(server, want, ack(2).n);
}
END_TEST

START_TEST(corrupt_of_the_dice_flips_one_bit)
{
    uint8_t got[64];
    int flipped = 0;

    three_acks(SECOND "'action': 'corrupt'}}]");
    ck_assert_uint_eq(take(server, got, sizeof got), ack(2).n);
    for (size_t i = 0; i < ack(2).n; i++)
        flipped += __builtin_popcount(got[i] ^ ack(2).bytes[i]);
    ck_assert_int_eq(flipped, 1);
}
END_TEST

START_TEST(throttle_holds_from_its_frame_on_until_it_is_lifted)
{
    three_acks(
        "[{'when': {'frame': 'basic.ack', 'nth': 2}, 'do': {'action': 'throttle', 'segment': 4, 'gap': 5}},"
        "{'when': {'frame': 'basic.nack'}, 'do': {'action': 'throttle', 'rate': 0}}]");
    wire w = joined(ack(2), ack(3));
    put_wire(client, ack(3));
    for (size_t i = 0; i < w.n; i += 4) {
        expect(server, w.bytes + i, w.n - i < 4 ? w.n - i : 4);
        rig_pass(5);
    }
    put_wire(client, method("basic.nack", 1, NULL));
    expect_wire(server, method("basic.nack", 1, NULL));
}
END_TEST

START_TEST(several_rules_on_one_frame_all_act)
{
    three_acks("[" RULE(ON_ACK ", 'nth': 2", "'action': 'delay', 'ms': 10") "," RULE(
        ON_ACK ", 'nth': 2",
        "'action': 'truncate', 'at': 8") "," RULE(ON_ACK ", 'nth': 2",
                                                  "'action': 'duplicate'") "," RULE(ON_ACK ", 'nth': 2",
                                                                                    "'action': 'stall', 'at': "
                                                                                    "4, 'for': 1") "]");
    expect_nothing(server);
    rig_pass(10);
    expect(server, ack(2).bytes, 4);
    rig_pass(1000);
    expect_wire(server, joined((wire){ ack(2).bytes + 4, 4 }, (wire){ ack(2).bytes, 8 }));
}
END_TEST

static void add(TCase *tests)
{
    ADD(tests, without_rules_every_byte_passes_at_once_in_both_directions);
    ADD(tests, delay_keeps_a_frame_and_what_follows_it_back_for_its_time);
    ADD(tests, a_delay_of_every_frame_does_not_add_up);
    ADD(tests, jitter_moves_a_delay_by_so_much_at_most);
    ADD(tests, trickle_sends_a_frame_at_its_rate);
    ADD(tests, split_sends_one_byte_at_a_time_with_a_gap_between);
    ADD(tests, split_without_a_gap_changes_no_byte);
    ADD(tests, stall_in_the_middle_of_a_frame_lasts_for_its_time);
    ADD(tests, stall_for_ever_leaves_the_other_direction_alone);
    ADD(tests, hold_stops_both_directions_for_its_time);
    ADD(tests, discard_swallows_the_rest_but_not_the_end);
    ADD(tests, half_close_ends_one_direction_only);
    ADD(tests, half_close_towards_the_sender_lets_it_go_on_sending);
    ADD(tests, close_ends_both_directions_orderly);
    ADD(tests, reset_breaks_both_sides_after_so_many_bytes);
    ADD(tests, reset_before_a_frame_reaches_both_sides);
    ADD(tests, reset_of_one_side_closes_the_other_orderly);
    ADD(tests, garbage_stands_before_within_and_after_a_frame);
    ADD(tests, garbage_of_the_dice_is_the_seeds);
    ADD(tests, inject_puts_a_frame_before_another_on_its_channel);
    ADD(tests, inject_into_the_other_direction_waits_until_its_frame_is_whole);
    ADD(tests, inject_of_connection_close_is_what_a_broker_says_when_it_is_shut_down);
    ADD(tests, inject_towards_the_server_and_on_a_channel);
    ADD(tests, drop_takes_a_frame_out);
    ADD(tests, duplicate_sends_a_frame_again);
    ADD(tests, reorder_lets_the_next_frame_overtake);
    ADD(tests, reorder_of_the_last_frame_loses_nothing);
    ADD(tests, truncate_cuts_a_frame_off);
    ADD(tests, corrupt_changes_the_bytes_that_it_is_to);
    ADD(tests, corrupt_of_the_dice_flips_one_bit);
    ADD(tests, throttle_holds_from_its_frame_on_until_it_is_lifted);
    ADD(tests, several_rules_on_one_frame_all_act);
}

int main(void)
{
    return rig_main("actions of fjord-chaos", add);
}
