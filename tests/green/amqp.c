/* SPDX-License-Identifier: Apache-2.0 */
/* librabbitmq in green tasks, as a program uses it that knows nothing of Fjord. */
#include "tests/green/rig.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY 64

static void good(amqp_rpc_reply_t r)
{
    ck_assert_msg(r.reply_type == AMQP_RESPONSE_NORMAL, "%d: %s", (int)r.reply_type,
                  amqp_error_string2(r.library_error));
}

static amqp_connection_state_t open_one(void)
{
    amqp_connection_state_t c = amqp_new_connection();
    amqp_socket_t *s = amqp_tcp_socket_new(c);

    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(amqp_socket_open(s, "127.0.0.1", green_port("FJ_TEST_PORT")), AMQP_STATUS_OK);
    good(amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"));
    ck_assert_ptr_nonnull(amqp_channel_open(c, 1));
    return c;
}

static void close_one(amqp_connection_state_t c)
{
    good(amqp_connection_close(c, AMQP_REPLY_SUCCESS));
    ck_assert_int_eq(amqp_destroy_connection(c), AMQP_STATUS_OK);
}

static amqp_bytes_t name_of(char *room, size_t n, unsigned number)
{
    (void)snprintf(room, n, "green-%ld-%u", (long)getpid(), number);
    return amqp_cstring_bytes(room);
}

static void consume(amqp_connection_state_t c, unsigned number)
{
    char room[64];
    amqp_bytes_t name = name_of(room, sizeof room, number);

    ck_assert_ptr_nonnull(amqp_queue_declare(c, 1, name, 0, 0, 1, 1, amqp_empty_table));
    ck_assert_ptr_nonnull(amqp_basic_consume(c, 1, name, amqp_empty_bytes, 0, 1, 0, amqp_empty_table));
}

static unsigned waiting, heard;

GREEN_TASK(consumes)
{
    amqp_connection_state_t c = open_one();
    amqp_envelope_t e;

    consume(c, GREEN_NUMBER);
    waiting++;
    good(amqp_consume_message(c, &e, NULL, 0));
    ck_assert_uint_eq(e.message.body.len, 5);
    ck_assert(memcmp(e.message.body.bytes, "hello", 5) == 0);
    heard++;
    amqp_destroy_envelope(&e);
    close_one(c);
    return FJ_OK;
}

GREEN_TASK(publishes_when_all_wait)
{
    amqp_connection_state_t c = open_one();
    char room[64];

    GREEN_UNTIL(waiting == MANY);
    green_one_thread();
    ck_assert_uint_eq(heard, 0);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_int_eq(amqp_basic_publish(c, 1, amqp_empty_bytes, name_of(room, sizeof room, i), 0, 0, NULL,
                                            amqp_cstring_bytes("hello")),
                         AMQP_STATUS_OK);
    close_one(c);
    return FJ_OK;
}

START_TEST(sixty_four_consumers_wait_at_once_for_one_thread)
{
    fj_task *task = green_spawn(publishes_when_all_wait, NULL);

    waiting = heard = 0;
    green_many(MANY, consumes);
    ck_assert_int_eq(green_join(task), FJ_OK);
    ck_assert_uint_eq(heard, MANY);
}
END_TEST

GREEN_TASK(runs_out_of_time)
{
    amqp_connection_state_t c = open_one();
    struct timeval little = { .tv_usec = 30000 };
    amqp_envelope_t e;
    amqp_rpc_reply_t r;

    consume(c, GREEN_NUMBER);
    r = amqp_consume_message(c, &e, &little, 0);
    ck_assert_int_eq(r.reply_type, AMQP_RESPONSE_LIBRARY_EXCEPTION);
    ck_assert_int_eq(r.library_error, AMQP_STATUS_TIMEOUT);
    close_one(c);
    return FJ_OK;
}

START_TEST(its_own_timeout_ends_a_wait)
{
    green_many(10, runs_out_of_time);
}
END_TEST

GREEN_TASK(consumes_for_long)
{
    amqp_connection_state_t c = open_one();
    amqp_envelope_t e;
    amqp_rpc_reply_t r;

    consume(c, 0);
    waiting++;
    r = amqp_consume_message(c, &e, NULL, 0);
    ck_assert_int_eq(r.reply_type, AMQP_RESPONSE_LIBRARY_EXCEPTION);
    ck_assert_int_eq(fj_yield(), FJ_OK);
    (void)amqp_destroy_connection(c);
    return FJ_OK;
}

static void cancel(void)
{
    fj_task *task = green_spawn(consumes_for_long, NULL);

    GREEN_UNTIL(waiting == 1);
    ck_assert(fj_task_cancel(task));
    ck_assert_int_eq(green_join(task), FJ_OK);
}

START_TEST(a_task_that_is_cancelled_in_a_wait_hears_of_it)
{
    waiting = 0;
    in_green(cancel);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("librabbitmq in green tasks");
    TCase *c = tcase_create("hooked");

    tcase_add_checked_fixture(c, green_begin, green_end);
    tcase_add_test(c, sixty_four_consumers_wait_at_once_for_one_thread);
    tcase_add_test(c, its_own_timeout_ends_a_wait);
    tcase_add_test(c, a_task_that_is_cancelled_in_a_wait_hears_of_it);
    suite_add_tcase(s, c);
    return green_main(s);
}
