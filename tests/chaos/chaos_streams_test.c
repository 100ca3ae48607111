/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of bytes, of time and of new connections; back-pressure; the commands; and bytes of no meaning. */
#include "tests/chaos/rig.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT(bytes, what) "[{'when': {'bytes': " bytes ", 'direction': 'c2s'}, 'do': {" what "}}]"
static const char tls[] = "\x16\x03\x01 0123456789 abcdefghijklmnopqrstuvwxyz";
enum { TLS = sizeof tls - 1 };

/* ---- bytes ----------------------------------------------------------------------------------------------------- */

START_TEST(a_stall_after_so_many_bytes_needs_no_frames)
{
    rig_begin(AT("10", "'action': 'stall', 'for': 5"), 0);
    put(client, tls, 7);
    expect(server, tls, 7);
    put(client, tls + 7, TLS - 7);
    expect(server, tls + 7, 3);
    rig_pass(5000);
    expect(server, tls + 10, TLS - 10);
}
END_TEST

START_TEST(bytes_are_changed_dropped_and_inserted_at_their_offset)
{
    rig_begin("[{'when': {'bytes': 5, 'direction': 'c2s'}, 'do': {'action': 'corrupt', 'xor': 32}},"
              "{'when': {'bytes': 6, 'direction': 'c2s'}, 'do': {'action': 'drop', 'size': 2}},"
              "{'when': {'bytes': 10, 'direction': 'c2s'}, 'do': {'action': 'garbage', 'hex': '58595a'}}]",
              0);
    put(client, "Tabcdefghijk", 7);
    expect(server, "TabcdE", 6); /* f and g are dropped, and only f has come */
    put(client, "ghijk", 5);
    expect(server, "hiXYZjk", 7);
}
END_TEST

START_TEST(a_byte_rule_at_the_last_byte_acts_when_it_has_passed)
{
    rig_begin(AT("8", "'action': 'half-close'"), 0);
    put(client, "TLS bytes", 8);
    expect(server, "TLS byte", 8);
    expect_end(server);
}
END_TEST

START_TEST(a_byte_rule_at_0_acts_before_the_first_byte)
{
    rig_begin(AT("0", "'action': 'garbage', 'hex': '5a'"), 0);
    put(client, "TLS", 3);
    expect(server, "ZTLS", 4);
}
END_TEST

START_TEST(a_byte_rule_cuts_a_frame_as_well)
{
    wire w = method("basic.ack", 1, NULL);

    rig_begin("[{'when': {'frame': 'basic.nack'}, 'do': {'action': 'drop'}},"
              "{'when': {'bytes': 11, 'direction': 'c2s'}, 'do': {'action': 'reset'}}]",
              0);
    put_wire(client, w);
    expect(server, w.bytes, 11);
    expect_reset(client);
}
END_TEST

START_TEST(a_delay_by_bytes_holds_back_what_follows)
{
    rig_begin(AT("4", "'action': 'delay', 'ms': 30"), 0);
    put(client, "TLS bytes", 9);
    expect(server, "TLS ", 4);
    rig_pass(30);
    expect(server, "bytes", 5);
}
END_TEST

/* ---- time ------------------------------------------------------------------------------------------------------ */

START_TEST(a_rule_of_time_resets_even_what_is_stalled)
{
    rig_begin("[{'when': {'bytes': 3}, 'do': {'action': 'stall'}}, {'when': {'seconds': 4}, 'do': {'action': "
              "'reset'}}]",
              0);
    put(client, tls, TLS);
    expect(server, tls, 3);
    rig_pass(3999);
    expect_nothing(client);
    rig_pass(1);
    expect_reset(client);
    expect_reset(server);
}
END_TEST

START_TEST(a_rule_of_time_injects_once)
{
    rig_begin("[{'when': {'seconds': 1.5}, 'do': {'action': 'inject', 'frame': 'connection.unblocked'}}]", 0);
    rig_pass(1499);
    expect_nothing(client);
    rig_pass(1);
    expect_wire(client, method("connection.unblocked", 0, NULL));
    rig_pass(5000);
    expect_nothing(client);
    expect_nothing(server);
}
END_TEST

START_TEST(a_rule_of_time_stalls_one_direction)
{
    rig_begin("[{'when': {'seconds': 1, 'direction': 's2c'}, 'do': {'action': 'stall', 'for': 1}}]", 0);
    rig_pass(1000);
    put(client, "TLS", 3);
    put(server, "TLS", 3);
    expect(server, "TLS", 3);
    expect_nothing(client);
    rig_pass(1000);
    expect(client, "TLS", 3);
}
END_TEST

START_TEST(a_rule_of_time_that_is_added_late_acts_at_once)
{
    rig_begin("[]", 0);
    rig_pass(10000);
    rig_add("{'when': {'seconds': 3, 'direction': 'c2s'}, 'do': {'action': 'garbage', 'hex': '5a5a'}}");
    expect(server, "ZZ", 2);
    expect_nothing(client);
}
END_TEST

/* ---- connections ----------------------------------------------------------------------------------------------- */

START_TEST(refuse_resets_the_connection_that_it_means)
{
    rig_begin("[{'when': {'accept': true, 'nth': 2}, 'do': {'action': 'refuse'}}]", 0);
    int second;
    rig_connect(&client, &server);
    rig_connect(&second, NULL);
    expect_reset(second);
    put(client, "TLS", 3);
    expect(server, "TLS", 3);
    ck_assert_uint_eq(proxy->refused, 1);
    (void)close(second);
}
END_TEST

START_TEST(ignore_takes_a_connection_and_never_answers)
{
    rig_begin("[{'when': {'accept': true}, 'do': {'action': 'ignore'}}]", 0);
    rig_connect(&client, NULL);
    put(client, "AMQP\0\0\11\1", 8);
    rig_pass(100000);
    expect_nothing(client);
    ck_assert_uint_eq(proxy->conn_count, 1);
    (void)close(client);
    client = -1;
    rig_turn();
    ck_assert_uint_eq(proxy->conn_count, 0);
}
END_TEST

START_TEST(a_delay_at_accept_keeps_the_server_from_being_called)
{
    rig_begin("[{'when': {'accept': true}, 'do': {'action': 'delay', 'ms': 500}}]", 0);
    rig_connect(&client, NULL);
    put(client, "TLS", 3);
    ck_assert_uint_eq(logged("\"event\":\"connected\""), 0);
    rig_pass(500);
    ck_assert_uint_eq(logged("\"event\":\"connected\""), 1);
}
END_TEST

START_TEST(a_server_that_is_not_there_resets_the_client)
{
    rig_begin("[{'when': {'accept': true, 'nth': 99}, 'do': {'action': 'refuse'}}]", 0);
    struct sockaddr_in *to = (struct sockaddr_in *)(void *)&proxy->targets[0].address;
    to->sin_port = htons(1);
    rig_connect(&client, NULL);
    expect_reset(client);
    ck_assert_uint_eq(logged("the server cannot be reached"), 1);
}
END_TEST

START_TEST(more_connections_than_allowed_wait)
{
    int second;

    rig_begin("[]", 0);
    proxy->conn_max = 1;
    ck_assert_int_eq(chaos_proxy_listen(proxy, false, NULL), FJ_OK);
    ck_assert_int_eq(chaos_proxy_listen(proxy, true, NULL), FJ_OK);
    rig_connect(&second, NULL);
    ck_assert_uint_eq(proxy->conn_count, 1);
    (void)close(client);
    (void)close(server);
    client = server = -1;
    rig_turn();
    ck_assert_uint_eq(proxy->conn_count, 1);
    ck_assert_uint_eq(proxy->accepted, 2);
    (void)close(second);
}
END_TEST

/* ---- back-pressure --------------------------------------------------------------------------------------------- */

/* What a client can get rid of before its socket is full. */
static size_t fill(int fd)
{
    static char some[65536];
    size_t all = 0;
    ssize_t n;

    while ((n = send(fd, some, sizeof some, MSG_NOSIGNAL)) > 0 && all < 256u << 20) {
        all += (size_t)n;
        rig_turn();
    }
    return all;
}

static size_t queued(const chaos_pipe *p)
{
    return fj__buf_len(&p->in) + fj__buf_len(&p->out);
}

START_TEST(a_stalled_direction_stops_its_sender)
{
    rig_begin(AT("1", "'action': 'stall', 'for': 10"), 0);
    size_t all = fill(client), got = 0, n;
    static uint8_t some[1 << 20];

    ck_assert_uint_lt(queued(&proxy->first->pipes[0]), 1 << 20);
    ck_assert_uint_lt(all, 64u << 20);
    rig_pass(10000);
    while ((n = take(server, some, sizeof some)) > 0)
        got += n;
    ck_assert_uint_eq(got, all);
}
END_TEST

START_TEST(a_receiver_that_does_not_read_stops_the_sender)
{
    rig_begin("[]", 0);
    size_t all = fill(client), got = 0, n;
    static uint8_t some[1 << 20];

    ck_assert_uint_lt(queued(&proxy->first->pipes[0]), 1 << 20);
    put(server, "TLS", 3); /* the other way is open */
    expect(client, "TLS", 3);
    while ((n = take(server, some, sizeof some)) > 0)
        got += n;
    ck_assert_uint_eq(got, all);
    rig_turn();
    ck_assert_uint_eq(queued(&proxy->first->pipes[0]), 0);
}
END_TEST

START_TEST(copies_of_a_frame_do_not_grow_without_end)
{
    rig_begin("[{'when': {'frame': 'any', 'times': 0}, 'do': {'action': 'duplicate', 'copies': 1000}},"
              "{'when': {'frame': 'any'}, 'do': {'action': 'stall'}}]",
              0);
    wire w = method("basic.ack", 1, NULL);
    for (int i = 0; i < 2000; i++)
        (void)send(client, w.bytes, w.n, MSG_NOSIGNAL);
    rig_turn();
    ck_assert_uint_lt(queued(&proxy->first->pipes[0]), 1 << 20);
}
END_TEST

/* ---- commands -------------------------------------------------------------------------------------------------- */

static json_t *said;

static bool command(const char *line)
{
    json_decref(said);
    said = chaos_command(proxy, line);
    ck_assert_ptr_nonnull(said);
    return json_is_true(json_object_get(said, "ok"));
}

START_TEST(pause_holds_everything_until_resume)
{
    rig_begin("[]", 0);
    ck_assert(command("pause"));
    put(client, "TLS", 3);
    expect_nothing(server);
    ck_assert(command("resume"));
    expect(server, "TLS", 3);
    json_decref(said);
}
END_TEST

START_TEST(kill_breaks_one_connection_and_no_other)
{
    int other, other_server;

    rig_begin("[]", 0);
    rig_connect(&other, &other_server);
    ck_assert(command("kill 1"));
    expect_reset(client);
    expect_reset(server);
    put(other, "TLS", 3);
    expect(other_server, "TLS", 3);
    ck_assert(command("kill all close"));
    expect_end(other);
    expect_end(other_server);
    ck_assert(!command("kill 1"));
    ck_assert(!command("kill"));
    ck_assert(!command("kill x"));
    ck_assert(!command("kill -1"));
    ck_assert(!command("kill 2 gently"));
    json_decref(said);
    (void)close(other);
    (void)close(other_server);
}
END_TEST

START_TEST(listen_off_makes_the_system_refuse_and_on_is_the_same_port)
{
    char before[64], after[64];
    int other, error = 0, other_server;

    rig_begin("[]", 0);
    chaos_proxy_address(proxy, before, sizeof before);
    ck_assert(command("listen off"));
    rig_connect(&other, NULL);
    (void)getsockopt(other, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error });
    ck_assert_int_eq(error != 0 ? error : errno, ECONNREFUSED);
    (void)close(other);
    put(client, "TLS", 3); /* what is connected stays so */
    expect(server, "TLS", 3);
    ck_assert(command("listen on"));
    chaos_proxy_address(proxy, after, sizeof after);
    ck_assert_str_eq(before, after);
    rig_connect(&other, &other_server);
    (void)close(other);
    (void)close(other_server);
    ck_assert(!command("listen maybe"));
    json_decref(said);
}
END_TEST

START_TEST(list_rules_and_stats_tell_what_there_is)
{
    rig_begin("[{'name': 'r', 'when': {'frame': 'basic.ack', 'times': 0}, 'do': {'action': 'drop'}}]", 9);
    put_wire(client, method("basic.ack", 1, NULL));
    ck_assert(command("list"));
    json_t *first = json_array_get(json_object_get(said, "connections"), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(first, "conn")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(first, "c2s"), "frames")), 1);
    ck_assert(command("rules"));
    first = json_array_get(json_object_get(said, "rules"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(first, "rule")), "r");
    ck_assert_int_eq(json_integer_value(json_object_get(first, "fired")), 1);
    ck_assert(command("stats"));
    first = json_object_get(said, "stats");
    ck_assert_int_eq(json_integer_value(json_object_get(first, "seed")), 9);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(first, "c2s"), "bytes")),
                     (json_int_t)method("basic.ack", 1, NULL).n);
    json_decref(said);
}
END_TEST

START_TEST(a_bad_rule_is_refused_with_its_place_and_changes_nothing)
{
    rig_begin("[]", 0);
    ck_assert(!command("add {\"when\": {\"frame\": \"any\"}, \"do\": {\"action\": \"explode\"}}"));
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(said, "error")), "rule.do.action: must be one of"));
    ck_assert(!command("add {"));
    ck_assert(!command("add"));
    ck_assert(!command("nonsense"));
    ck_assert(!command(""));
    ck_assert(!command("remove nobody"));
    ck_assert(command("add {\"name\": \"a\", \"when\": {\"frame\": \"any\"}, \"do\": {\"action\": \"drop\"}}"));
    ck_assert(
        !command("add {\"name\": \"a\", \"when\": {\"frame\": \"any\"}, \"do\": {\"action\": \"drop\"}}"));
    ck_assert(command("remove a"));
    put(client, "TLS", 3);
    expect(server, "TLS", 3);
    json_decref(said);
}
END_TEST

/* ---- bytes of no meaning --------------------------------------------------------------------------------------- */

static const char *const every_kind =
    "[{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'corrupt'}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'duplicate', 'copies': 3}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'truncate', 'at': 'random'}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'garbage', 'size': 9, 'at': "
    "'random'}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'reorder'}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'drop'}},"
    "{'when': {'frame': 'basic.*', 'times': 0, 'probability': 0.2}, 'do': {'action': 'drop', 'message': true}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.2}, 'do': {'action': 'duplicate', 'message': "
    "true}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'delay', 'ms': 1, 'jitter': "
    "1}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'split', 'segment': 3}},"
    "{'when': {'frame': 'any', 'times': 0, 'probability': 0.1}, 'do': {'action': 'inject', 'frame': "
    "'basic.nack'}},"
    "{'when': {'frame': 'basic.*', 'queue': '*', 'times': 0}, 'do': {'action': 'drop'}},"
    "{'when': {'frame': 'any', 'nth': 200, 'probability': 0.3}, 'do': {'action': 'reset', 'at': 'random'}},"
    "{'when': {'bytes': 3000}, 'do': {'action': 'corrupt', 'count': 50}},"
    "{'when': {'bytes': 5000}, 'do': {'action': 'drop', 'size': 77}}]";

/* Frames of any type and length that a head can say, with anything in them; and now and then no frame at all. */
static size_t nonsense(uint64_t *dice, uint8_t *to, size_t max)
{
    static const uint8_t types[] = { 1, 2, 3, 8 };
    size_t n = (size_t)chaos_dice_below(dice, max - 8);

    for (size_t i = 0; i < n + 8; i++)
        to[i] = (uint8_t)chaos_dice(dice);
    if (chaos_dice_below(dice, 100) == 0)
        return n;
    to[0] = types[chaos_dice_below(dice, 4)];
    to[3] = to[4] = 0;
    to[5] = (uint8_t)(n >> 8);
    to[6] = (uint8_t)n;
    if (to[0] == 1 && n >= 4) { /* a method that there is */
        to[7] = 0;
        to[8] = (uint8_t)(10 * chaos_dice_below(dice, 10));
        to[9] = 0;
        to[10] = (uint8_t)(chaos_dice_below(dice, 13) * 10 + chaos_dice_below(dice, 2));
    }
    to[n + 7] = 0xCE;
    return n + 8;
}

START_TEST(bytes_of_no_meaning_never_break_the_proxy)
{
    uint8_t bytes[1200], got[65536];
    uint64_t dice = (uint64_t)_i * 7919;

    rig_begin(every_kind, (uint64_t)_i);
    for (int turn = 0; turn < 300 && proxy->first != NULL; turn++) {
        size_t n = nonsense(&dice, bytes, sizeof bytes);
        (void)send(turn % 3 != 0 ? client : server, bytes, n, MSG_NOSIGNAL);
        rig_turn();
        while (recv(server, got, sizeof got, 0) > 0 || recv(client, got, sizeof got, 0) > 0)
            continue;
        if (turn % 10 == 0)
            rig_pass(2);
    }
    json_decref(chaos_proxy_list(proxy));
    int other, other_server;
    rig_connect(&other, &other_server); /* it still works */
    put(other, "TLS", 3);
    expect(other_server, "TLS", 3);
    (void)close(other);
    (void)close(other_server);
}
END_TEST

START_TEST(when_memory_runs_out_a_connection_ends_and_no_other)
{
    wire w = method("basic.ack", 1, NULL);

    for (unsigned long nth = 1; nth <= 12; nth++) {
        rig_begin(
            "[{'when': {'frame': 'basic.ack', 'times': 0}, 'do': {'action': 'corrupt', 'at': 1, 'xor': 1}},"
            "{'when': {'frame': 'basic.ack', 'times': 0}, 'do': {'action': 'garbage', 'hex': '00', 'at': 3}}]",
            0);
        FILE *log = proxy->log;
        proxy->log = NULL;
        (void)send(client, w.bytes, w.n, MSG_NOSIGNAL);
        (void)fj__alloc_fail(nth, false);
        rig_turn();
        (void)fj__alloc_fail(0, false);
        proxy->log = log;
        if (proxy->first == NULL)
            rig_connect(&(int){ 0 }, &(int){ 0 });
        ck_assert_uint_eq(proxy->conn_count, 1);
        rig_end();
    }
}
END_TEST

static void add(TCase *tests)
{
    ADD(tests, a_stall_after_so_many_bytes_needs_no_frames);
    ADD(tests, bytes_are_changed_dropped_and_inserted_at_their_offset);
    ADD(tests, a_byte_rule_at_the_last_byte_acts_when_it_has_passed);
    ADD(tests, a_byte_rule_at_0_acts_before_the_first_byte);
    ADD(tests, a_byte_rule_cuts_a_frame_as_well);
    ADD(tests, a_delay_by_bytes_holds_back_what_follows);
    ADD(tests, a_rule_of_time_resets_even_what_is_stalled);
    ADD(tests, a_rule_of_time_injects_once);
    ADD(tests, a_rule_of_time_stalls_one_direction);
    ADD(tests, a_rule_of_time_that_is_added_late_acts_at_once);
    ADD(tests, refuse_resets_the_connection_that_it_means);
    ADD(tests, ignore_takes_a_connection_and_never_answers);
    ADD(tests, a_delay_at_accept_keeps_the_server_from_being_called);
    ADD(tests, a_server_that_is_not_there_resets_the_client);
    ADD(tests, more_connections_than_allowed_wait);
    ADD(tests, a_stalled_direction_stops_its_sender);
    ADD(tests, a_receiver_that_does_not_read_stops_the_sender);
    ADD(tests, copies_of_a_frame_do_not_grow_without_end);
    ADD(tests, pause_holds_everything_until_resume);
    ADD(tests, kill_breaks_one_connection_and_no_other);
    ADD(tests, listen_off_makes_the_system_refuse_and_on_is_the_same_port);
    ADD(tests, list_rules_and_stats_tell_what_there_is);
    ADD(tests, a_bad_rule_is_refused_with_its_place_and_changes_nothing);
    tcase_add_loop_test(tests, bytes_of_no_meaning_never_break_the_proxy, 0, 20);
    ADD(tests, when_memory_runs_out_a_connection_ends_and_no_other);
}

int main(void)
{
    return rig_main("streams of fjord-chaos", add);
}
