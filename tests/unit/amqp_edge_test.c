/* SPDX-License-Identifier: Apache-2.0 */
/* The rabbit driver where memory, channels, the broker's patience or its configuration run out. */
#include "base/alloc.h"
#include "tests/support/broker.h"

#include <check.h>
#include <fjord/fjord.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONG_MS = 10000,
    SHORT_MS = 400,
    PAUSE_MS = 10,
    REPLY_TRIES = 4,
    ATTEMPTS = 10,
    ALLOCATIONS = 150,
    ALWAYS = 1000000,
    NOBODYS_PORT = 1
};

static broker *b;
static fj_transport *transport;
static fj_server *server;
static fj_client *client;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_target here = FJ_TARGET(.topic = "t", .server = "s");
static const fj_target there = FJ_TARGET(.topic = "t");

/* ---- fixtures ----------------------------------------------------------------------------------- */

static void conf_set(fj_conf *conf, const char *group, const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, group, key, value, NULL), FJ_OK);
}

static void open_at(unsigned port, const char *pause, const char *start_timeout)
{
    fj_conf *conf = fj_conf_new();
    char url[64];

    ck_assert_ptr_nonnull(conf);
    conf_set(conf, "fjord", "start_timeout", start_timeout);
    conf_set(conf, "oslo_messaging_rabbit", "kombu_reconnect_delay", pause);
    conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_interval", pause);
    conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_backoff", "0");
    conf_set(conf, "oslo_messaging_rabbit", "rabbit_interval_max", "0.05");
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", port);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    fj_conf_free(conf);
}

static void close_transport(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
}

static void set_up(void)
{
    b = broker_new();
    ck_assert_ptr_nonnull(b);
}

static void tear_down(void)
{
    close_transport();
    b = broker_free(b);
}

static fj_code start(fj_error **err)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    opts.executor = "threading";
    opts.slots = 4;
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    return fj_server_start(server, err);
}

static void serve(void)
{
    fj_error *err = NULL;
    fj_code rc = start(&err);

    ck_assert_msg(rc == FJ_OK, "%s: %s", fj_code_name(rc), fj_error_text(err));
}

static fj_code call(int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    json_t *result = NULL;

    o.by = fj_in_ms(ms);
    fj_code rc = fj_client_call(client, "echo", json_pack("{s:i}", "x", 1), &o, &result, err);
    json_decref(result);
    return rc;
}

static void assert_works(void)
{
    fj_error *err = NULL;
    fj_code rc = call(LONG_MS, &err);

    ck_assert_msg(rc == FJ_OK, "%s: %s", fj_code_name(rc), fj_error_text(err));
}

static void always(broker_fault_kind kind, amqp_method_number_t at, uint16_t code, const char *text)
{
    broker_rule rule = { .kind = kind, .at = at, .times = ALWAYS, .code = code, .text = text };

    broker_rule_add(b, &rule);
}

/* ---- memory --------------------------------------------------------------------------------------- */

START_TEST(a_cast_to_nobody_never_claims_success_whichever_allocation_fails)
{
    b = broker_free(b); /* nobody but the driver allocates */
    for (unsigned long n = 1; n <= ALLOCATIONS; n++) {
        fj_call_opts o = FJ_CALL_OPTS_INIT;
        fj_error *err = NULL;
        open_at(NOBODYS_PORT, "0", "10");
        o.by = fj_in_ms(PAUSE_MS);
        json_t *args = json_pack("{s:i}", "x", 1);
        (void)fj__alloc_fail(n, false);
        fj_code rc = fj_client_cast(client, "echo", args, &o, &err);
        (void)fj__alloc_fail(0, false);
        ck_assert_msg(rc == FJ_NOMEM || rc == FJ_UNREACHABLE || rc == FJ_SYSTEM, "%lu: %s", n,
                      fj_code_name(rc));
        ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
        fj_error_free(err);
        close_transport();
    }
}
END_TEST

/* ---- hot loops -------------------------------------------------------------------------------------- */

START_TEST(a_retry_interval_of_nothing_is_no_hot_loop)
{
    fj_deadline began = fj_now();

    open_at(broker_port(b), "0", "10");
    always(BROKER_HANG_UP, AMQP_CONNECTION_TUNE_OK_METHOD, 0, NULL);
    ck_assert_int_ne(call(SHORT_MS, NULL), FJ_OK);
    ck_assert(broker_wait(b, AMQP_CONNECTION_TUNE_OK_METHOD, ATTEMPTS, LONG_MS)); /* it goes on trying */
    unsigned accepted = broker_accepted(b);
    int64_t rounds = (fj_now().ns - began.ns) / (PAUSE_MS * 1000000LL) + 1;
    ck_assert_int_le(accepted, 2 * rounds); /* of each of both connections */
}
END_TEST

START_TEST(a_reply_that_closes_its_channel_each_time_is_given_up)
{
    static const char body[] = "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"echo\\\", "
                               "\\\"args\\\": {\\\"x\\\": 1}, \\\"version\\\": \\\"1.0\\\", "
                               "\\\"_msg_id\\\": \\\"0123456789abcdef0123456789abcdef\\\", "
                               "\\\"_unique_id\\\": \\\"fedcba9876543210fedcba9876543210\\\", "
                               "\\\"_reply_q\\\": \\\"reply_forbidden\\\"}\"}";
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                  .content_type = amqp_cstring_bytes("application/json") };

    open_at(broker_port(b), "0.02", "10");
    serve();
    always(BROKER_CLOSE_CHANNEL, AMQP_BASIC_PUBLISH_METHOD, 403, "ACCESS_REFUSED - write");
    ck_assert_uint_eq(broker_publish(b, "openstack", "t", &p, body, sizeof body - 1), 1);
    ck_assert(broker_wait(b, AMQP_BASIC_PUBLISH_METHOD, REPLY_TRIES, LONG_MS));
    ck_assert(broker_wait(b, AMQP_CONFIRM_SELECT_METHOD, REPLY_TRIES + 1, LONG_MS)); /* it goes on without */
    broker_rules_clear(b);
    assert_works();
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), REPLY_TRIES + 2); /* a call and its answer */
}
END_TEST

/* ---- what a broker refuses ---------------------------------------------------------------------------- */

START_TEST(a_connection_limit_is_waited_out)
{
    broker_rule rule = { .kind = BROKER_CLOSE_CONNECTION,
                         .at = AMQP_CONNECTION_OPEN_METHOD,
                         .times = 2,
                         .code = 530,
                         .text = "NOT_ALLOWED - access to vhost '/' refused for user 'guest': "
                                 "connection limit (1) is reached" };

    open_at(broker_port(b), "0.02", "10");
    broker_rule_add(b, &rule);
    serve();
    assert_works();
    ck_assert_uint_ge(broker_accepted(b), 4);
    ck_assert_uint_ge(broker_seen(b, AMQP_CONNECTION_CLOSE_OK_METHOD), 2); /* and each refusal was answered */
}
END_TEST

START_TEST(a_refused_vhost_is_told_at_once)
{
    fj_error *err = NULL;

    open_at(broker_port(b), "0.02", "10");
    always(BROKER_NO_VHOST, AMQP_CONNECTION_OPEN_METHOD, 0, NULL);
    ck_assert_int_eq(start(&err), FJ_ACCESS);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "vhost"));
    fj_error_free(err);
}
END_TEST

START_TEST(a_broker_of_one_channel_has_no_room_for_a_server_and_says_so)
{
    fj_error *err = NULL;

    broker_tune(b, 1, 131072, 0);
    open_at(broker_port(b), "0.02", "10");
    ck_assert_int_eq(start(&err), FJ_BUSY);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "allows 1 channel"));
    fj_error_free(err);
}
END_TEST

START_TEST(a_server_can_start_while_the_channel_of_one_before_is_still_closing)
{
    broker_rule deaf = { .kind = BROKER_IGNORE, .at = AMQP_BASIC_CONSUME_METHOD, .times = 3 };

    open_at(broker_port(b), "0.02", "0.3");
    broker_rule_add(b, &deaf);
    always(BROKER_IGNORE, AMQP_CHANNEL_CLOSE_METHOD, 0, NULL);
    ck_assert_int_eq(start(NULL), FJ_TIMEOUT);
    server = fj_server_free(server);
    ck_assert(broker_wait(b, AMQP_CHANNEL_CLOSE_METHOD, 1, LONG_MS)); /* the number is not free yet */
    serve();
    assert_works();
}
END_TEST

START_TEST(a_connection_lost_while_it_says_goodbye_is_not_made_again)
{
    open_at(broker_port(b), "0", "10");
    serve();
    assert_works();
    unsigned before = broker_accepted(b);
    always(BROKER_CLOSE_CONNECTION, AMQP_CONNECTION_CLOSE_METHOD, 320, "CONNECTION_FORCED");
    close_transport();
    ck_assert_uint_eq(broker_accepted(b), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("amqp edge");
    TCase *c = tcase_create("driver");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_cast_to_nobody_never_claims_success_whichever_allocation_fails);
    tcase_add_test(c, a_retry_interval_of_nothing_is_no_hot_loop);
    tcase_add_test(c, a_reply_that_closes_its_channel_each_time_is_given_up);
    tcase_add_test(c, a_connection_limit_is_waited_out);
    tcase_add_test(c, a_refused_vhost_is_told_at_once);
    tcase_add_test(c, a_broker_of_one_channel_has_no_room_for_a_server_and_says_so);
    tcase_add_test(c, a_server_can_start_while_the_channel_of_one_before_is_still_closing);
    tcase_add_test(c, a_connection_lost_while_it_says_goodbye_is_not_made_again);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
