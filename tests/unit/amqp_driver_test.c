/* SPDX-License-Identifier: Apache-2.0 */
/* A listener and a sender of the rabbit driver, seen through the driver's contract, against a broker that misbehaves when told to. */
#include "base/alloc.h"
#include "tests/support/broker.h"

#include <check.h>
#include <fjord/driver.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_MS = 10000, QUEUES = 3, MANY = 20 };

static broker *b;
static fj_driver *driver;
static fj_listener *listener;

static void conf_set(fj_conf *conf, const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, "oslo_messaging_rabbit", key, value, NULL), FJ_OK);
}

static void set_up(void)
{
    const fj_driver_ops *ops = NULL;
    fj_conf *conf = fj_conf_new();
    fj_url *url = NULL;
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");
    fj_listen_opts opts = FJ_LISTEN_OPTS_INIT;
    char text[64];

    b = broker_new();
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(conf);
    conf_set(conf, "kombu_reconnect_delay", "0.02");
    conf_set(conf, "rabbit_retry_interval", "0.02");
    (void)snprintf(text, sizeof text, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)broker_port(b));
    ck_assert_int_eq(fj_url_parse(text, &url, NULL), FJ_OK);
    ck_assert_int_eq(fj_driver_find(conf, "rabbit", &ops, NULL), FJ_OK);
    ck_assert_int_eq(ops->open(conf, url, &driver, NULL), FJ_OK);
    ck_assert_int_eq(driver->ops->listen(driver, &here, &opts, fj_in_ms(LONG_MS), &listener, NULL), FJ_OK);
    fj_url_free(url);
    fj_conf_free(conf);
}

static void tear_down(void)
{
    listener->ops->close(listener);
    ck_assert_int_eq(listener->ops->stop(listener, fj_in_ms(LONG_MS), NULL), FJ_OK);
    listener->ops->free(listener);
    driver->ops->close(driver);
    ck_assert_int_eq(driver->ops->stop(driver, fj_in_ms(LONG_MS), NULL), FJ_OK);
    driver->ops->free(driver);
    b = broker_free(b);
}

/* A cast for the listener, named by the last digit of its id. */
static void publish(unsigned id)
{
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                  .content_type = amqp_cstring_bytes("application/json") };
    char body[200];
    int n = snprintf(body, sizeof body,
                     "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"m%u\\\", "
                     "\\\"args\\\": {}, \\\"_unique_id\\\": \\\"id-%u\\\"}\"}",
                     id, id);

    ck_assert_uint_eq(broker_publish(b, "openstack", "t", &p, body, (size_t)n), 1);
}

static fj_incoming *receive(unsigned id)
{
    fj_incoming *in = NULL;
    char method[16];
    size_t n = 0;

    (void)snprintf(method, sizeof method, "m%u", id);
    ck_assert_int_eq(listener->ops->poll(listener, fj_in_ms(LONG_MS), 1, &in, &n, NULL), FJ_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(json_string_value(json_object_get(in->message, "method")), method);
    return in;
}

/* As an executor does. */
static void run(fj_incoming *in)
{
    ck_assert_int_eq(listener->ops->ack(listener, &in, 1, fj_in_ms(LONG_MS), NULL), FJ_OK);
    ck_assert_ptr_nonnull(in);
    in->ops->done(in);
    in->ops->free(in);
}

static void send_one(void)
{
    fj_target nowhere = FJ_TARGET(.topic = "nowhere");
    fj_send s = { .size = sizeof s, .target = &nowhere, .method = "m", .retry = -1, .by = fj_in_ms(LONG_MS) };
    fj_future *future = NULL;

    ck_assert_int_eq(driver->ops->send(driver, &s, &future, NULL), FJ_OK);
    fj_code rc = fj_future_wait(future, fj_in_ms(LONG_MS), NULL, NULL);
    ck_assert(rc == FJ_OK || rc == FJ_LOST); /* lost with its connection */
    fj_future_unref(future);
}

/* Lose the connections, and have new ones with all consumers without asking for messages: sending does it. */
static void reconnect(void)
{
    unsigned before = broker_seen(b, AMQP_BASIC_CONSUME_METHOD);
    fj_deadline by = fj_in_ms(LONG_MS);

    broker_fault(b, BROKER_CLOSE_CONNECTION, 0);
    while (broker_seen(b, AMQP_BASIC_CONSUME_METHOD) < before + QUEUES) {
        ck_assert(!fj_passed(by));
        send_one();
    }
}

START_TEST(a_message_whose_ack_would_be_stale_does_not_run_and_comes_again)
{
    publish(1);
    fj_incoming *in = receive(1);
    reconnect();
    ck_assert_int_eq(listener->ops->ack(listener, &in, 1, fj_in_ms(LONG_MS), NULL), FJ_OK);
    ck_assert_ptr_null(in);
    in = receive(1);
    ck_assert(in->redelivered);
    run(in);
}
END_TEST

START_TEST(a_message_given_back_unprocessed_comes_again)
{
    publish(1);
    fj_incoming *in = receive(1);
    in->ops->requeue(in);
    in->ops->free(in);
    in = receive(1);
    in->ops->free(in); /* neither acked nor requeued: requeued */
    run(receive(1));
}
END_TEST

START_TEST(a_message_that_ran_and_comes_again_is_ignored)
{
    publish(1);
    run(receive(1));
    publish(1);
    publish(2);
    run(receive(2));
    ck_assert(broker_wait(b, AMQP_BASIC_ACK_METHOD, 3, LONG_MS));
}
END_TEST

START_TEST(a_message_lost_before_it_was_asked_for_comes_again)
{
    publish(1);
    reconnect();
    run(receive(1));
}
END_TEST

/* Of method m<nth>, with the @p nth allocation failing (0: none).  @return whether there was one to fail */
static bool cast(unsigned long nth, fj_code *ret_rc, fj_future **ret)
{
    fj_target there = FJ_TARGET(.topic = "t");
    fj_send s = { .size = sizeof s, .target = &there, .retry = -1, .by = fj_in_ms(2 * LONG_MS) };
    char method[16];

    (void)snprintf(method, sizeof method, "m%lu", nth);
    s.method = method;
    *ret = NULL;
    (void)fj__alloc_fail(nth, false);
    *ret_rc = driver->ops->send(driver, &s, ret, NULL);
    return fj__alloc_fail(0, false) >= nth;
}

START_TEST(without_memory_a_cast_fails_and_is_not_sent_or_else_it_comes)
{
    unsigned bad = 0;
    bool struck = true;

    for (unsigned long nth = 0; struck; nth++) { /* 0: the connection is there then */
        fj_future *future;
        fj_code rc;
        struck = cast(nth, &rc, &future);
        if (rc == FJ_OK)
            rc = fj_future_wait(future, fj_in_ms(LONG_MS), NULL, NULL);
        fj_future_unref(future);
        ck_assert_msg(rc == FJ_OK || rc == FJ_NOMEM, "%lu: %s", nth, fj_code_name(rc));
        bad += rc != FJ_OK;
        if (rc == FJ_OK)
            run(receive((unsigned)nth)); /* and none that failed */
    }
    ck_assert_uint_gt(bad, 5);
}
END_TEST

START_TEST(without_memory_no_cast_is_taken_for_confirmed)
{
    fj_future *future = NULL;
    fj_code rc = FJ_OK;

    (void)cast(0, &rc, &future);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS), NULL, NULL), FJ_OK);
    fj_future_unref(future);
    broker_fault(b, BROKER_MUTE, 0);
    for (unsigned pending = 0; pending < MANY; pending++) { /* whatever has to grow meanwhile */
        bool struck = true;
        for (unsigned long nth = 1; struck; nth++) {
            struck = cast(nth, &rc, &future);
            if (rc == FJ_OK && fj_future_done(future))
                rc = fj_future_result(future, NULL, NULL) == FJ_NOMEM ? FJ_NOMEM : FJ_STATE;
            fj_future_unref(future);
            ck_assert_msg(rc == FJ_OK || rc == FJ_NOMEM, "allocation %lu: %s", nth, fj_code_name(rc));
        }
    }
    broker_fault(b, BROKER_RESUME, 0);
    reconnect(); /* ends them all */
}
END_TEST

static fj_future *send_mandatory(const char *method)
{
    fj_target there = FJ_TARGET(.topic = "t");
    fj_send s = { .size = sizeof s,
                  .target = &there,
                  .method = method,
                  .flags = FJ_SEND_MANDATORY,
                  .retry = -1,
                  .by = fj_in_ms(LONG_MS) };
    fj_future *future = NULL;

    ck_assert_int_eq(driver->ops->send(driver, &s, &future, NULL), FJ_OK);
    return future;
}

START_TEST(a_return_is_not_taken_for_one_of_an_earlier_message_to_the_same_queue)
{
    broker_rule unconfirmed = { .kind = BROKER_NO_CONFIRM, .at = AMQP_BASIC_PUBLISH_METHOD };
    broker_rule returned = { .kind = BROKER_RETURN, .at = AMQP_BASIC_PUBLISH_METHOD };

    broker_rule_add(b, &unconfirmed);
    broker_rule_add(b, &returned);
    fj_future *first = send_mandatory("first"), *second = send_mandatory("second");
    ck_assert_int_eq(fj_future_wait(second, fj_in_ms(LONG_MS), NULL, NULL), FJ_UNDELIVERABLE);
    ck_assert(fj_future_cancel(first)); /* it waits still */
    fj_future_unref(first);
    fj_future_unref(second);
}
END_TEST

static void *poll_once(void *rc)
{
    fj_incoming *in = NULL;
    size_t n = 0;

    *(fj_code *)rc = listener->ops->poll(listener, fj_in_ms(LONG_MS), 1, &in, &n, NULL);
    return NULL;
}

START_TEST(a_poll_ends_when_the_transport_is_closed)
{
    pthread_t thread;
    fj_code rc = FJ_OK;

    ck_assert_int_eq(pthread_create(&thread, NULL, poll_once, &rc), 0);
    driver->ops->close(driver);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(rc, FJ_CLOSED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("amqp driver");
    TCase *c = tcase_create("driver");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_message_whose_ack_would_be_stale_does_not_run_and_comes_again);
    tcase_add_test(c, a_message_given_back_unprocessed_comes_again);
    tcase_add_test(c, a_message_that_ran_and_comes_again_is_ignored);
    tcase_add_test(c, a_message_lost_before_it_was_asked_for_comes_again);
    tcase_add_test(c, without_memory_a_cast_fails_and_is_not_sent_or_else_it_comes);
    tcase_add_test(c, without_memory_no_cast_is_taken_for_confirmed);
    tcase_add_test(c, a_return_is_not_taken_for_one_of_an_earlier_message_to_the_same_queue);
    tcase_add_test(c, a_poll_ends_when_the_transport_is_closed);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
