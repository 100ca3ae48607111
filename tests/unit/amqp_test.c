/* SPDX-License-Identifier: Apache-2.0 */
/* The rabbit driver through the public API, against a broker that misbehaves when told to. */
#include "tests/support/broker.h"
#include "tests/support/ledger.h"

#include <check.h>
#include <fjord/fjord.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_MS = 10000, SHORT_MS = 400, THREADS = 50, ASYNC = 32, STORM_THREADS = 6, STORM_CALLS = 25 };

static broker *b;
static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static ledger *book;

/* ---- what is served ----------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *seq = json_object_get(args, "seq");

    (void)req, (void)err;
    if (book != NULL && seq != NULL)
        ledger_ran(book, (unsigned)json_integer_value(seq));
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

static void open_with(const char *connect_timeout)
{
    fj_conf *conf = fj_conf_new();
    char url[64];

    b = broker_new();
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(conf);
    conf_set(conf, "fjord", "connect_timeout", connect_timeout);
    conf_set(conf, "oslo_messaging_rabbit", "kombu_reconnect_delay", "0.02");
    conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_interval", "0.02");
    conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_backoff", "0");
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)broker_port(b));
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    fj_conf_free(conf);
}

static void set_up(void)
{
    open_with("10");
}

static void set_up_impatient(void)
{
    open_with("0.1");
}

static void tear_down(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    b = broker_free(b);
    ledger_free(book);
    book = NULL;
}

static void serve(void)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    opts.executor = "threading";
    opts.slots = 4;
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
}

static fj_code call(json_int_t x, int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    json_t *result = NULL;

    o.by = fj_in_ms(ms);
    fj_code rc = fj_client_call(client, "echo", json_pack("{s:I}", "x", x), &o, &result, err);
    if (rc == FJ_OK)
        ck_assert_int_eq(json_integer_value(result), x);
    json_decref(result);
    return rc;
}

static fj_code cast(int ms, bool mandatory, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    o.mandatory = mandatory;
    return fj_client_cast(client, "echo", json_pack("{s:i}", "x", 1), &o, err);
}

static void assert_works(void)
{
    fj_error *err = NULL;
    fj_code rc = call(7, LONG_MS, &err);

    ck_assert_msg(rc == FJ_OK, "%s: %s", fj_code_name(rc), fj_error_text(err));
}

static void assert_call_fails(fj_code code, fj_sent sent)
{
    fj_error *err = NULL;
    fj_deadline by = fj_in_ms(LONG_MS);
    fj_code rc = call(1, SHORT_MS, &err);

    ck_assert_msg(rc == code, "%s: %s", fj_code_name(rc), fj_error_text(err));
    ck_assert_int_eq(fj_error_sent(err), sent);
    ck_assert(!fj_passed(by));
    fj_error_free(err);
}

/* ---- as it should be ------------------------------------------------------------------------------ */

START_TEST(a_call_comes_back_and_a_cast_is_confirmed)
{
    serve();
    assert_works();
    ck_assert_int_eq(cast(LONG_MS, false, NULL), FJ_OK);
    ck_assert(broker_wait(b, AMQP_BASIC_ACK_METHOD, 2, LONG_MS));
}
END_TEST

START_TEST(the_first_call_over_open_connections_gets_its_reply_queue_at_once)
{
    serve(); /* its thread sleeps on the consuming connection */
    ck_assert_int_eq(cast(LONG_MS, false, NULL), FJ_OK);
    ck_assert(broker_wait(b, AMQP_BASIC_ACK_METHOD, 1, LONG_MS));
    assert_works();
}
END_TEST

static void *call_once(void *x)
{
    return call((json_int_t)(intptr_t)x, LONG_MS, NULL) == FJ_OK ? x : NULL;
}

START_TEST(fifty_threads_call_through_one_client)
{
    pthread_t threads[THREADS];

    serve();
    for (intptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_once, (void *)(i + 1)), 0);
    for (intptr_t i = 0; i < THREADS; i++) {
        void *got = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &got), 0);
        ck_assert_int_eq((intptr_t)got, i + 1);
    }
}
END_TEST

struct latch {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned ok, ended;
};

static void count_down(fj_future *future, void *user)
{
    struct latch *latch = user;
    fj_code rc = fj_future_result(future, NULL, NULL);

    (void)pthread_mutex_lock(&latch->lock);
    latch->ok += rc == FJ_OK;
    latch->ended++;
    (void)pthread_cond_signal(&latch->cond);
    (void)pthread_mutex_unlock(&latch->lock);
}

START_TEST(async_calls_complete_though_nobody_waits)
{
    struct latch latch = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };
    fj_deadline by = fj_in_ms(LONG_MS);
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    serve();
    o.by = fj_in_ms(2 * LONG_MS); /* later than what is asserted: the deadline is not what ends them */
    for (int i = 0; i < ASYNC; i++) {
        fj_future *future = NULL;
        ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, &o, &future, NULL), FJ_OK);
        ck_assert_int_eq(fj_future_then(future, count_down, &latch), FJ_OK);
        fj_future_unref(future);
    }
    (void)pthread_mutex_lock(&latch.lock);
    while (latch.ended < ASYNC)
        (void)pthread_cond_wait(&latch.cond, &latch.lock);
    (void)pthread_mutex_unlock(&latch.lock);
    ck_assert_uint_eq(latch.ok, ASYNC);
    ck_assert(!fj_passed(by));
}
END_TEST

/* ---- no connection to be had ------------------------------------------------------------------------ */

START_TEST(a_refused_login_is_auth)
{
    broker_user(b, "somebody", "else");
    assert_call_fails(FJ_AUTH, FJ_SENT_NO);
}
END_TEST

START_TEST(a_connection_that_breaks_in_its_login_is_made_again_at_once)
{
    broker_fault(b, BROKER_HANG_UP, AMQP_CONNECTION_START_OK_METHOD);
    serve();
    broker_fault(b, BROKER_HANG_UP, AMQP_CONNECTION_START_OK_METHOD); /* of the publishing one */
    assert_works();
}
END_TEST

START_TEST(a_broker_that_hangs_up_at_each_login_refuses_it)
{
    broker_rule rule = { .kind = BROKER_HANG_UP, .at = AMQP_CONNECTION_START_OK_METHOD, .times = 1000 };

    broker_rule_add(b, &rule);
    assert_call_fails(FJ_AUTH, FJ_SENT_NO);
}
END_TEST

START_TEST(a_peer_that_says_nothing_is_unreachable_by_the_deadline)
{
    broker_greet(b, "", 0);
    assert_call_fails(FJ_UNREACHABLE, FJ_SENT_NO);
}
END_TEST

START_TEST(a_peer_that_talks_rubbish_ends_the_call_by_its_deadline)
{
    static const char rubbish[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    fj_error *err = NULL;

    broker_greet(b, rubbish, sizeof rubbish - 1);
    ck_assert_int_ne(call(1, SHORT_MS, &err), FJ_OK);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    fj_error_free(err);
    broker_greet(b, NULL, 0);
    serve();
    assert_works();
}
END_TEST

START_TEST(half_a_tune_ends_the_call_by_its_deadline)
{
    static const char half[] = { 1, 0, 0, 0, 0, 0, 12, 0, 10, 0 };
    broker_rule rule = { .kind = BROKER_SEND,
                         .at = AMQP_CONNECTION_START_OK_METHOD,
                         .times = 100,
                         .bytes = half,
                         .n = sizeof half };

    broker_rule_add(b, &rule);
    assert_call_fails(FJ_UNREACHABLE, FJ_SENT_NO);
}
END_TEST

/* ---- lost on the way ---------------------------------------------------------------------------------- */

START_TEST(a_connection_closed_in_mid_call_is_not_the_end)
{
    fj_error *err = NULL;

    serve();
    assert_works();
    broker_fault(b, BROKER_CLOSE_CONNECTION, AMQP_BASIC_PUBLISH_METHOD);
    fj_code rc = call(1, SHORT_MS, &err);
    ck_assert_int_ne(rc, FJ_OK);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_MAYBE);
    fj_error_free(err);
    assert_works();
}
END_TEST

START_TEST(a_call_through_a_stalled_broker_ends_at_its_deadline)
{
    serve();
    assert_works();
    broker_fault(b, BROKER_STALL, 0);
    fj_error *err = NULL;
    ck_assert_int_eq(call(1, SHORT_MS, &err), FJ_TIMEOUT);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_MAYBE);
    fj_error_free(err);
    broker_fault(b, BROKER_RESUME, 0);
}
END_TEST

START_TEST(a_cast_that_is_never_confirmed_may_have_been_sent)
{
    fj_error *err = NULL;

    serve();
    broker_fault(b, BROKER_NO_CONFIRM, AMQP_BASIC_PUBLISH_METHOD);
    ck_assert_int_eq(cast(SHORT_MS, false, &err), FJ_TIMEOUT);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_MAYBE);
    fj_error_free(err);
}
END_TEST

START_TEST(a_mandatory_cast_that_comes_back_is_undeliverable)
{
    fj_error *err = NULL;

    serve();
    broker_fault(b, BROKER_RETURN, AMQP_BASIC_PUBLISH_METHOD);
    ck_assert_int_eq(cast(LONG_MS, true, &err), FJ_UNDELIVERABLE);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    fj_error_free(err);
    ck_assert_int_eq(cast(LONG_MS, true, NULL), FJ_OK);
}
END_TEST

START_TEST(a_channel_closed_with_404_ends_the_call_and_not_the_next)
{
    broker_rule rule = { .kind = BROKER_CLOSE_CHANNEL,
                         .at = AMQP_BASIC_PUBLISH_METHOD,
                         .code = 404,
                         .times = 100,
                         .text = "NOT_FOUND - no exchange" };

    serve();
    assert_works();
    broker_rule_add(b, &rule);
    ck_assert_int_ne(call(1, SHORT_MS, NULL), FJ_OK);
    broker_rules_clear(b);
    assert_works();
}
END_TEST

START_TEST(a_reply_to_a_caller_that_has_gone_hurts_nobody)
{
    static const char body[] = "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"echo\\\", "
                               "\\\"args\\\": {\\\"x\\\": 1, \\\"seq\\\": 0}, \\\"version\\\": \\\"1.0\\\", "
                               "\\\"_msg_id\\\": \\\"0123456789abcdef0123456789abcdef\\\", "
                               "\\\"_unique_id\\\": \\\"fedcba9876543210fedcba9876543210\\\", "
                               "\\\"_reply_q\\\": \\\"reply_gone\\\"}\"}";
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                  .content_type = amqp_cstring_bytes("application/json") };
    char text[200];

    book = ledger_new(1);
    ck_assert_ptr_nonnull(book);
    (void)ledger_begin(book);
    serve();
    unsigned before = broker_seen(b, AMQP_BASIC_PUBLISH_METHOD);
    ck_assert_uint_eq(broker_publish(b, "openstack", "t", &p, body, sizeof body - 1), 1);
    ck_assert(
        broker_wait(b, AMQP_BASIC_PUBLISH_METHOD, before + 2, LONG_MS)); /* the answer, to nowhere, twice */
    assert_works();
    ledger_ended(book, 0, FJ_OK, FJ_SENT_YES);
    ck_assert_msg(ledger_balanced(book, text, sizeof text), "%s", text);
}
END_TEST

START_TEST(a_queue_deleted_under_its_consumer_is_declared_again)
{
    serve();
    assert_works();
    unsigned before = broker_seen(b, AMQP_BASIC_CONSUME_METHOD);
    broker_queue_delete(b, "t");
    ck_assert(broker_wait(b, AMQP_BASIC_CONSUME_METHOD, before + 1, LONG_MS));
    assert_works();
}
END_TEST

START_TEST(a_transport_closed_while_calls_pend_ends_them_as_closed)
{
    fj_future *futures[ASYNC];
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(2 * LONG_MS);
    for (int i = 0; i < ASYNC; i++)
        ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, &o, &futures[i], NULL), FJ_OK);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    for (int i = 0; i < ASYNC; i++) {
        ck_assert_int_eq(fj_future_result(futures[i], NULL, NULL), FJ_CLOSED);
        fj_future_unref(futures[i]);
    }
}
END_TEST

/* ---- the ledger ------------------------------------------------------------------------------------------ */

static void *storm(void *unused)
{
    for (int i = 0; i < STORM_CALLS; i++) {
        fj_call_opts o = FJ_CALL_OPTS_INIT;
        fj_error *err = NULL;
        unsigned seq = ledger_begin(book);
        o.by = fj_in_ms(2000);
        fj_code rc = fj_client_call(client, "echo", json_pack("{s:i}", "seq", (int)seq), &o, NULL, &err);
        ledger_ended(book, seq, rc, fj_error_sent(err));
        fj_error_free(err);
    }
    return unused;
}

START_TEST(every_call_of_a_storm_ends_once_and_runs_once_at_most)
{
    broker_rule hang_up = { .kind = BROKER_HANG_UP, .at = AMQP_BASIC_PUBLISH_METHOD, .skip = 60 };
    broker_rule close_channel = { .kind = BROKER_CLOSE_CHANNEL, .at = AMQP_BASIC_PUBLISH_METHOD, .skip = 110 };
    broker_rule lose_ack = { .kind = BROKER_HANG_UP, .at = AMQP_BASIC_ACK_METHOD, .skip = 20 };
    pthread_t threads[STORM_THREADS];
    char text[200];

    book = ledger_new(STORM_THREADS * STORM_CALLS);
    ck_assert_ptr_nonnull(book);
    serve();
    broker_rule_add(b, &hang_up);
    broker_rule_add(b, &close_channel);
    broker_rule_add(b, &lose_ack);
    for (int i = 0; i < STORM_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, storm, NULL), 0);
    for (int i = 0; i < STORM_THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    assert_works();
    server = fj_server_free(server); /* nothing runs any more */
    ck_assert_msg(ledger_balanced(book, text, sizeof text), "%s", text);
    ck_assert_uint_gt(ledger_count(book, FJ_OK), STORM_THREADS * STORM_CALLS / 2);
    ck_assert_uint_gt(broker_accepted(b), 2); /* connections were lost indeed */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("amqp");
    TCase *c = tcase_create("driver");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_call_comes_back_and_a_cast_is_confirmed);
    tcase_add_test(c, the_first_call_over_open_connections_gets_its_reply_queue_at_once);
    tcase_add_test(c, fifty_threads_call_through_one_client);
    tcase_add_test(c, async_calls_complete_though_nobody_waits);
    tcase_add_test(c, a_refused_login_is_auth);
    tcase_add_test(c, a_connection_that_breaks_in_its_login_is_made_again_at_once);
    tcase_add_test(c, a_broker_that_hangs_up_at_each_login_refuses_it);
    tcase_add_test(c, a_peer_that_talks_rubbish_ends_the_call_by_its_deadline);
    tcase_add_test(c, a_connection_closed_in_mid_call_is_not_the_end);
    tcase_add_test(c, a_call_through_a_stalled_broker_ends_at_its_deadline);
    tcase_add_test(c, a_cast_that_is_never_confirmed_may_have_been_sent);
    tcase_add_test(c, a_mandatory_cast_that_comes_back_is_undeliverable);
    tcase_add_test(c, a_channel_closed_with_404_ends_the_call_and_not_the_next);
    tcase_add_test(c, a_reply_to_a_caller_that_has_gone_hurts_nobody);
    tcase_add_test(c, a_queue_deleted_under_its_consumer_is_declared_again);
    tcase_add_test(c, a_transport_closed_while_calls_pend_ends_them_as_closed);
    tcase_add_test(c, every_call_of_a_storm_ends_once_and_runs_once_at_most);
    suite_add_tcase(suite, c);
    c = tcase_create("silent peers");
    tcase_add_checked_fixture(c, set_up_impatient, tear_down);
    tcase_add_test(c, a_peer_that_says_nothing_is_unreachable_by_the_deadline);
    tcase_add_test(c, half_a_tune_ends_the_call_by_its_deadline);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
