/* SPDX-License-Identifier: Apache-2.0 */
/* What the rabbit driver does of itself when the broker undoes, refuses, forgets or does not answer. */
#include "tests/support/broker.h"
#include "tests/support/said.h"

#include <check.h>
#include <fjord/fjord.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_MS = 10000, SHORT_MS = 300, ALWAYS = 1000000, CALLERS = 20 };

static broker *b;
static fj_transport *transport;
static fj_server *server, *other;
static fj_client *client;
static atomic_uint ran;
static _Atomic(fj_request *) kept;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    atomic_fetch_add(&ran, 1);
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    atomic_store(&kept, fj_request_ref(req));
    return FJ_DEFERRED;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo), FJ_METHOD("later", FJ_PLAIN, later) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

/* ---- fixtures ----------------------------------------------------------------------------------- */

static void conf_set(fj_conf *conf, const char *group, const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, group, key, value, NULL), FJ_OK);
}

/* An answer may take half a second, a reply to a missing queue is tried again for one. */
static void set_up(void)
{
    fj_conf *conf = fj_conf_new();
    fj_target there = FJ_TARGET(.topic = "t");
    char url[64];

    said_begin();
    b = broker_new();
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(conf);
    conf_set(conf, "fjord", "answer_timeout", "0.5");
    conf_set(conf, "fjord", "reply_queues", ""); /* any */
    conf_set(conf, "oslo_messaging_rabbit", "heartbeat_timeout_threshold", "1");
    conf_set(conf, "oslo_messaging_rabbit", "kombu_reconnect_delay", "0.02");
    conf_set(conf, "oslo_messaging_rabbit", "kombu_missing_consumer_retry_timeout", "1");
    conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_interval", "0.02");
    conf_set(conf, "oslo_messaging_rabbit", "rabbit_retry_backoff", "0");
    broker_tune(b, 2047, 131072, 60);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)broker_port(b));
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    fj_conf_free(conf);
}

static void tear_down(void)
{
    server = fj_server_free(server);
    other = fj_server_free(other);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    b = broker_free(b);
}

static fj_code start(const char *topic, fj_server **ret, fj_error **err)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target here = FJ_TARGET(.topic = topic, .server = "s");

    opts.executor = "threading";
    opts.slots = 4;
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, ret, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(*ret, &endpoint, NULL, NULL), FJ_OK);
    return fj_server_start(*ret, err);
}

static void serve(void)
{
    fj_error *err = NULL;
    fj_code rc = start("t", &server, &err);

    ck_assert_msg(rc == FJ_OK, "%s: %s", fj_code_name(rc), fj_error_text(err));
}

static fj_code call(const char *method, int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    return fj_client_call(client, method, json_pack("{s:i}", "x", 1), &o, NULL, err);
}

static void assert_works(void)
{
    fj_error *err = NULL;
    fj_code rc = call("echo", LONG_MS, &err);

    ck_assert_msg(rc == FJ_OK, "%s: %s", fj_code_name(rc), fj_error_text(err));
}

static fj_future *call_async(const char *method)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    o.by = fj_in_ms(LONG_MS);
    ck_assert_int_eq(fj_client_call_async(client, method, NULL, &o, &future, NULL), FJ_OK);
    return future;
}

static void add_rule(broker_fault_kind kind, amqp_method_number_t at, unsigned skip, unsigned times,
                     uint16_t code, const char *text)
{
    broker_rule rule = { .kind = kind, .at = at, .skip = skip, .times = times, .code = code, .text = text };

    broker_rule_add(b, &rule);
}

/* Turn until it is so; Check's time limit ends what never is. */
#define AWAIT(condition)                                          \
    do {                                                          \
        fj_deadline by_ = fj_in_ms(2 * LONG_MS);                  \
        while (!(condition)) {                                    \
            ck_assert_msg(!fj_passed(by_), "never: " #condition); \
            (void)broker_wait(b, AMQP_TX_SELECT_METHOD, 1, 5);    \
        }                                                         \
    } while (0)

/* A call to echo, as some Python program sends it.  @p nth in its ids */
static void publish_call(unsigned nth, const char *reply_q)
{
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                  .content_type = amqp_cstring_bytes("application/json") };
    char body[600];
    int n = snprintf(body, sizeof body,
                     "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"echo\\\", "
                     "\\\"args\\\": {\\\"x\\\": 1}, \\\"version\\\": \\\"1.0\\\", \\\"_msg_id\\\": "
                     "\\\"%032x\\\", \\\"_unique_id\\\": \\\"%032x\\\", \\\"_reply_q\\\": \\\"%s\\\"}\"}",
                     nth, nth, reply_q);

    ck_assert_uint_eq(broker_publish(b, "openstack", "t", &p, body, (size_t)n), 1);
}

/* ---- answers that never come ------------------------------------------------------------------------ */

static const struct {
    amqp_method_number_t id;
    const char *name;
} questions[] = {
    { AMQP_CHANNEL_OPEN_METHOD, "channel.open" },   { AMQP_EXCHANGE_DECLARE_METHOD, "exchange.declare" },
    { AMQP_QUEUE_DECLARE_METHOD, "queue.declare" }, { AMQP_QUEUE_BIND_METHOD, "queue.bind" },
    { AMQP_BASIC_QOS_METHOD, "basic.qos" },         { AMQP_BASIC_CONSUME_METHOD, "basic.consume" }
};

START_TEST(a_broker_that_never_answers_a_question_is_left_and_come_back_to)
{
    add_rule(BROKER_MUTE, questions[_i].id, 0, 1, 0, NULL); /* on that connection */
    serve();
    ck_assert_uint_ge(said("did not answer", questions[_i].name), 1);
    assert_works();
}
END_TEST

START_TEST(a_broker_that_never_opens_the_channel_of_confirms_is_left_and_come_back_to)
{
    serve();
    add_rule(BROKER_IGNORE, AMQP_CONFIRM_SELECT_METHOD, 0, 1, 0, NULL);
    fj_code rc = call("echo", LONG_MS, NULL);
    ck_assert(rc == FJ_OK || rc == FJ_LOST);
    AWAIT(said("did not answer", "confirm.select") == 1);
    assert_works();
}
END_TEST

START_TEST(a_reply_queue_that_is_never_answered_for_is_asked_for_again)
{
    serve();
    add_rule(BROKER_IGNORE, AMQP_BASIC_CONSUME_METHOD, 0, 1, 0, NULL);
    assert_works(); /* nothing was sent before */
    ck_assert_uint_eq(said("did not answer", "basic.consume on channel 1"), 1);
}
END_TEST

/* ---- what is undone ---------------------------------------------------------------------------------- */

START_TEST(a_broker_that_has_forgotten_everything_gets_it_all_again)
{
    serve();
    assert_works();
    broker_forget(b);
    broker_fault(b, BROKER_HANG_UP, 0);
    (void)call("echo", LONG_MS, NULL); /* it may be lost with the connection */
    assert_works();
    AWAIT(broker_consumers(b, "t") == 1 && broker_consumers(b, "t.s") == 1 &&
          broker_has_exchange(b, "t_fanout"));
    ck_assert(broker_has_binding(b, "openstack", "t", "t"));
    ck_assert(broker_has_binding(b, "openstack", "t.s", "t.s"));
}
END_TEST

START_TEST(every_queue_that_is_deleted_is_declared_again)
{
    serve();
    assert_works();
    broker_fault(b, BROKER_CANCEL, 0); /* all queues with consumers: the reply queue, too */
    AWAIT(broker_consumers(b, "t") == 1 && broker_consumers(b, "t.s") == 1);
    assert_works();
    ck_assert_uint_ge(said("cancelled the consumer of reply_", NULL), 1);
}
END_TEST

START_TEST(a_reply_queue_that_goes_before_it_is_consumed_is_declared_again)
{
    serve();
    add_rule(BROKER_CLOSE_CHANNEL, AMQP_BASIC_CONSUME_METHOD, 0, 1, 404,
             "NOT_FOUND - no queue 'reply' in vhost '/'");
    assert_works();
}
END_TEST

START_TEST(a_consumer_that_is_cancelled_each_time_is_no_hot_loop)
{
    serve();
    assert_works();
    unsigned before = broker_seen(b, AMQP_QUEUE_DECLARE_METHOD);
    add_rule(BROKER_CANCEL, AMQP_BASIC_CONSUME_METHOD, 0, ALWAYS, 0, NULL);
    fj_deadline began = fj_now();
    broker_fault(b, BROKER_CANCEL, 0);
    ck_assert(broker_wait(b, AMQP_QUEUE_DECLARE_METHOD, before + 6, LONG_MS)); /* once at once */
    ck_assert(broker_wait(b, AMQP_QUEUE_DECLARE_METHOD, before + 10, LONG_MS));
    unsigned rounds = (broker_seen(b, AMQP_QUEUE_DECLARE_METHOD) - before) / 3;
    ck_assert_uint_le(rounds, 4 + 4 * (unsigned)((fj_now().ns - began.ns) /
                                                 1000000000)); /* of the listener and the replies */
    broker_rules_clear(b);
}
END_TEST

START_TEST(a_publishing_channel_that_is_closed_each_time_is_no_hot_loop)
{
    serve();
    assert_works();
    unsigned before = broker_seen(b, AMQP_CONFIRM_SELECT_METHOD);
    add_rule(BROKER_CLOSE_CHANNEL, AMQP_CONFIRM_SELECT_METHOD, 0, ALWAYS, 541, "INTERNAL_ERROR");
    add_rule(BROKER_CLOSE_CHANNEL, AMQP_BASIC_PUBLISH_METHOD, 0, 1, 541, "INTERNAL_ERROR");
    fj_deadline began = fj_now();
    ck_assert_int_ne(call("echo", 2 * SHORT_MS, NULL), FJ_OK);
    ck_assert(broker_wait(b, AMQP_CONFIRM_SELECT_METHOD, before + 5, LONG_MS)); /* it goes on */
    unsigned times = broker_seen(b, AMQP_CONFIRM_SELECT_METHOD) - before;
    ck_assert_uint_le(times, 6 + 2 * (unsigned)((fj_now().ns - began.ns) / 1000000000));
    broker_rules_clear(b);
    assert_works();
}
END_TEST

/* ---- what is refused ---------------------------------------------------------------------------------- */

static const struct {
    uint16_t code;
    const char *text, *part;
    fj_code as;
} refusals[] = {
    { 406,
      "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'u' in vhost '/': received 'false' but "
      "current is 'true'",
      "queue 'u' in vhost '/' has durable=true, wanted false (see [oslo_messaging_rabbit] amqp_durable_queues",
      FJ_MISMATCH },
    { 403, "ACCESS_REFUSED - access to queue 'u' in vhost '/' refused for user 'guest'", "permissions",
      FJ_ACCESS },
    { 405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'u' in vhost '/'",
      "exclusive=true", FJ_MISMATCH },
};

START_TEST(a_refusal_ends_one_server_in_words_and_the_others_on_the_connection_go_on)
{
    fj_error *err = NULL;

    serve();
    assert_works();
    unsigned accepted = broker_accepted(b);
    add_rule(BROKER_CLOSE_CHANNEL, AMQP_QUEUE_DECLARE_METHOD, 0, 1, refusals[_i].code, refusals[_i].text);
    ck_assert_int_eq(start("u", &other, &err), refusals[_i].as);
    ck_assert_msg(strstr(fj_error_text(err), refusals[_i].part) != NULL, "%s", fj_error_text(err));
    ck_assert_ptr_nonnull(strstr(fj_error_where(err), "queue u"));
    fj_error_free(err);
    assert_works();
    ck_assert_uint_eq(broker_accepted(b), accepted);
}
END_TEST

START_TEST(a_queue_that_is_missing_once_is_declared_again_by_its_server)
{
    add_rule(BROKER_CLOSE_CHANNEL, AMQP_BASIC_CONSUME_METHOD, 0, 1, 404,
             "NOT_FOUND - no queue 't' in vhost '/'");
    serve();
    assert_works();
}
END_TEST

START_TEST(a_channel_that_is_closed_under_a_server_comes_back_and_the_others_notice_nothing)
{
    serve();
    ck_assert_int_eq(start("u", &other, NULL), FJ_OK);
    unsigned accepted = broker_accepted(b), consumed = broker_seen(b, AMQP_BASIC_CONSUME_METHOD);
    add_rule(BROKER_CLOSE_CHANNEL, AMQP_BASIC_ACK_METHOD, 0, 1, 406,
             "PRECONDITION_FAILED - unknown delivery tag 1");
    (void)call("echo", SHORT_MS, NULL); /* its ack closes the channel */
    ck_assert(broker_wait(b, AMQP_BASIC_CONSUME_METHOD, consumed + 3, LONG_MS));
    assert_works();
    ck_assert_uint_eq(broker_accepted(b) - accepted, 1); /* the publishing one, made for the first call */
    ck_assert_uint_eq(broker_consumers(b, "u"), 1);
}
END_TEST

/* ---- calls that are under way --------------------------------------------------------------------------- */

START_TEST(a_confirmed_call_waits_on_over_a_lost_connection_and_gets_its_reply)
{
    serve();
    fj_future *future = call_async("later");
    AWAIT(atomic_load(&kept) != NULL);
    fj_request *req = atomic_exchange(&kept, NULL);
    unsigned consumed = broker_seen(b, AMQP_BASIC_CONSUME_METHOD);
    broker_fault(b, BROKER_HANG_UP, 0);
    ck_assert(broker_wait(b, AMQP_BASIC_CONSUME_METHOD, consumed + 4, LONG_MS));
    ck_assert(!fj_future_done(future));
    ck_assert_int_eq(fj_request_reply(req, json_integer(5), NULL), FJ_OK);
    fj_request_unref(req);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS), NULL, NULL), FJ_OK);
    fj_future_unref(future);
}
END_TEST

/* ---- replies to nobody ------------------------------------------------------------------------------------ */

START_TEST(of_the_replies_to_a_missing_queue_one_is_tried_again_and_none_holds_anything_up)
{
    serve();
    assert_works();
    unsigned before = broker_seen(b, AMQP_BASIC_PUBLISH_METHOD);
    fj_deadline began = fj_now();
    publish_call(1, "reply_gone");
    ck_assert(broker_wait(b, AMQP_BASIC_PUBLISH_METHOD, before + 2, LONG_MS)); /* returned, and tried again */
    for (unsigned i = 2; i < 2 + CALLERS; i++)
        publish_call(i, "reply_gone");
    AWAIT(atomic_load(&ran) == 2 + CALLERS); /* with four slots */
    assert_works();
    unsigned tries = broker_seen(b, AMQP_BASIC_PUBLISH_METHOD) - before - 2;
    ck_assert_uint_le(tries, 1 + (unsigned)((fj_now().ns - began.ns) / 200000000)); /* each 250 ms */
}
END_TEST

START_TEST(when_a_missing_reply_queue_comes_back_all_that_waited_is_sent)
{
    serve();
    assert_works();
    unsigned before = broker_seen(b, AMQP_BASIC_PUBLISH_METHOD);
    publish_call(1, "u");
    ck_assert(broker_wait(b, AMQP_BASIC_PUBLISH_METHOD, before + 2, LONG_MS));
    for (unsigned i = 2; i < 2 + CALLERS; i++)
        publish_call(i, "u");
    AWAIT(atomic_load(&ran) == 2 + CALLERS);
    ck_assert_uint_lt(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD) - before, 2 + CALLERS);
    ck_assert_int_eq(start("u", &other, NULL), FJ_OK); /* it has that queue, and little use for replies */
    ck_assert(broker_wait(b, AMQP_BASIC_PUBLISH_METHOD, before + 2 + CALLERS, LONG_MS));
    ck_assert_uint_eq(said("reply_q", "gone"), 0);
}
END_TEST

START_TEST(a_dead_reply_queue_is_remembered_and_the_next_replies_to_it_cost_nothing)
{
    serve();
    assert_works();
    publish_call(1, "reply_gone");
    publish_call(2, "reply_gone");
    AWAIT(said("the reply queue reply_gone is gone", NULL) == 1);
    unsigned before = broker_seen(b, AMQP_BASIC_PUBLISH_METHOD);
    for (unsigned i = 3; i < 3 + CALLERS; i++)
        publish_call(i, "reply_gone");
    AWAIT(atomic_load(&ran) == 3 + CALLERS);
    assert_works();
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), before + 2); /* of the call that works */
}
END_TEST

START_TEST(a_reply_that_the_broker_refuses_is_tried_again)
{
    serve();
    assert_works();
    add_rule(BROKER_NACK, AMQP_BASIC_PUBLISH_METHOD, 1, 1, 0, NULL);
    assert_works();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("amqp recovery");
    TCase *c = tcase_create("driver");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, a_broker_that_never_answers_a_question_is_left_and_come_back_to, 0,
                        (int)(sizeof questions / sizeof *questions));
    tcase_add_test(c, a_broker_that_never_opens_the_channel_of_confirms_is_left_and_come_back_to);
    tcase_add_test(c, a_reply_queue_that_is_never_answered_for_is_asked_for_again);
    tcase_add_test(c, a_broker_that_has_forgotten_everything_gets_it_all_again);
    tcase_add_test(c, every_queue_that_is_deleted_is_declared_again);
    tcase_add_test(c, a_reply_queue_that_goes_before_it_is_consumed_is_declared_again);
    tcase_add_test(c, a_consumer_that_is_cancelled_each_time_is_no_hot_loop);
    tcase_add_test(c, a_publishing_channel_that_is_closed_each_time_is_no_hot_loop);
    tcase_add_loop_test(c, a_refusal_ends_one_server_in_words_and_the_others_on_the_connection_go_on, 0,
                        (int)(sizeof refusals / sizeof *refusals));
    tcase_add_test(c, a_queue_that_is_missing_once_is_declared_again_by_its_server);
    tcase_add_test(c, a_channel_that_is_closed_under_a_server_comes_back_and_the_others_notice_nothing);
    tcase_add_test(c, a_confirmed_call_waits_on_over_a_lost_connection_and_gets_its_reply);
    tcase_add_test(c, of_the_replies_to_a_missing_queue_one_is_tried_again_and_none_holds_anything_up);
    tcase_add_test(c, when_a_missing_reply_queue_comes_back_all_that_waited_is_sent);
    tcase_add_test(c, a_dead_reply_queue_is_remembered_and_the_next_replies_to_it_cost_nothing);
    tcase_add_test(c, a_reply_that_the_broker_refuses_is_tried_again);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
