/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a message on its way out: confirmed, handed back, refused, lost; and who waits when the broker takes no more. */
#include "tests/support/broker.h"
#include "tests/support/said.h"

#include <check.h>
#include <fjord/fjord.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_MS = 10000, SHORT_MS = 300, ROOM = 65536, BIG = 8192, MANY = 100, ALWAYS = 1000000 };

static broker *b;
static fj_conf *conf;
static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static atomic_uint ran;

static fj_code big(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    static char text[BIG];

    (void)req, (void)args, (void)err;
    atomic_fetch_add(&ran, 1);
    memset(text, 'x', sizeof text);
    *ret = json_stringn(text, sizeof text);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("big", FJ_PLAIN, big) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

/* ---- fixtures ----------------------------------------------------------------------------------- */

static void conf_set(const char *group, const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, group, key, value, NULL), FJ_OK);
}

static void open_at(unsigned port)
{
    fj_target there = FJ_TARGET(.topic = "t");
    char url[64];

    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", port);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
}

static void set_up(void)
{
    said_begin();
    b = broker_new();
    conf = fj_conf_new();
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(conf);
    conf_set("fjord", "max_unsent_bytes", "65536");
    conf_set("oslo_messaging_rabbit", "kombu_reconnect_delay", "0.02");
    conf_set("oslo_messaging_rabbit", "rabbit_retry_interval", "0.02");
    conf_set("oslo_messaging_rabbit", "rabbit_retry_backoff", "0");
}

static void tear_down(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    fj_conf_free(conf);
    b = broker_free(b);
}

static void serve(void)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");

    opts.executor = "threading";
    opts.slots = 4;
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
}

static fj_call_opts within(int ms)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    return o;
}

static fj_code cast(fj_call_opts o, fj_error **err)
{
    return fj_client_cast(client, "big", json_pack("{s:i}", "x", 1), &o, err);
}

static json_t *big_args(void)
{
    static char text[BIG];

    memset(text, 'x', sizeof text);
    return json_pack("{s:s#}", "x", text, (int)sizeof text);
}

static void add_rule(broker_fault_kind kind, amqp_method_number_t at, unsigned times)
{
    broker_rule rule = { .kind = kind, .at = at, .times = times };

    broker_rule_add(b, &rule);
}

/* Check's time limit ends what never is. */
#define AWAIT(condition)                                          \
    do {                                                          \
        fj_deadline by_ = fj_in_ms(2 * LONG_MS);                  \
        while (!(condition)) {                                    \
            ck_assert_msg(!fj_passed(by_), "never: " #condition); \
            (void)broker_wait(b, AMQP_TX_SELECT_METHOD, 1, 5);    \
        }                                                         \
    } while (0)

/* ---- what the broker says of it --------------------------------------------------------------------- */

START_TEST(a_message_that_the_broker_refuses_is_refused_and_was_not_sent)
{
    fj_error *err = NULL;

    open_at(broker_port(b));
    add_rule(BROKER_NACK, AMQP_BASIC_PUBLISH_METHOD, 1);
    ck_assert_int_eq(cast(within(LONG_MS), &err), FJ_REFUSED);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    ck_assert(fj_code_retriable(FJ_REFUSED));
    fj_error_free(err);
}
END_TEST

START_TEST(a_mandatory_call_to_nobody_is_undeliverable_long_before_its_deadline)
{
    fj_call_opts o = within(LONG_MS);
    fj_error *err = NULL;

    open_at(broker_port(b));
    o.mandatory = 1;
    ck_assert_int_eq(fj_client_call(client, "big", NULL, &o, NULL, &err), FJ_UNDELIVERABLE);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    ck_assert(!fj_passed(o.by));
    fj_error_free(err);
}
END_TEST

START_TEST(a_call_whose_server_never_answers_was_sent)
{
    fj_call_opts o = within(SHORT_MS);
    fj_error *err = NULL;

    open_at(broker_port(b));
    ck_assert_int_eq(cast(within(LONG_MS), NULL), FJ_OK); /* connected */
    ck_assert_int_eq(fj_client_call(client, "big", NULL, &o, NULL, &err), FJ_TIMEOUT);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_YES);
    fj_error_free(err);
}
END_TEST

/* ---- what a loss means --------------------------------------------------------------------------------- */

START_TEST(a_message_that_may_have_been_sent_is_not_sent_again)
{
    fj_error *err = NULL;

    open_at(broker_port(b));
    add_rule(BROKER_HANG_UP, AMQP_BASIC_PUBLISH_METHOD, 1);
    ck_assert_int_eq(cast(within(LONG_MS), &err), FJ_LOST);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_MAYBE);
    fj_error_free(err);
    ck_assert_int_eq(cast(within(LONG_MS), NULL), FJ_OK);
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), 2);
}
END_TEST

START_TEST(a_message_that_may_have_been_sent_is_sent_again_if_its_options_say_so)
{
    fj_call_opts o = within(LONG_MS);

    open_at(broker_port(b));
    o.resend = 1;
    add_rule(BROKER_HANG_UP, AMQP_BASIC_PUBLISH_METHOD, 1);
    ck_assert_int_eq(cast(o, NULL), FJ_OK);
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), 2);
}
END_TEST

START_TEST(a_message_that_may_have_been_sent_is_sent_again_if_the_configuration_says_so)
{
    conf_set("fjord", "resend", "maybe");
    open_at(broker_port(b));
    add_rule(BROKER_HANG_UP, AMQP_BASIC_PUBLISH_METHOD, 1);
    ck_assert_int_eq(cast(within(LONG_MS), NULL), FJ_OK);
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), 2);
}
END_TEST

START_TEST(a_message_that_is_certainly_unsent_goes_out_when_the_broker_is_back)
{
    uint16_t port = broker_port(b);

    b = broker_free(b);
    open_at(port);
    fj_call_opts o = within(LONG_MS);
    fj_future *future = NULL;
    ck_assert_int_eq(fj_client_cast_async(client, "big", NULL, &o, &future, NULL), FJ_OK);
    b = broker_new_at(port);
    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS), NULL, NULL), FJ_OK);
    fj_future_unref(future);
}
END_TEST

START_TEST(without_retries_an_unsent_message_fails_with_the_first_attempt_and_with_one_with_the_second)
{
    uint16_t port = broker_port(b);

    b = broker_free(b);
    for (int retry = 0; retry < 2; retry++) {
        fj_call_opts o = within(LONG_MS);
        fj_error *err = NULL;
        open_at(port);
        o.retry = retry;
        ck_assert_int_eq(cast(o, &err), FJ_UNREACHABLE);
        ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
        ck_assert(!fj_passed(o.by));
        fj_error_free(err);
        client = fj_client_free(client);
        transport = fj_transport_free(transport);
        ck_assert_uint_ge(said("(publishing connection)", "refused"), (unsigned)retry + 1);
    }
}
END_TEST

/* ---- when the broker takes no more ------------------------------------------------------------------------ */

/* Connected, and blocked; then as much as may wait. */
static unsigned fill(void)
{
    fj_error *err = NULL;
    fj_code rc = FJ_OK;
    unsigned n = 0;

    add_rule(BROKER_BLOCK, AMQP_BASIC_PUBLISH_METHOD,
             1); /* it is told before the confirmation, and so is known with it */
    ck_assert_int_eq(cast(within(LONG_MS), NULL), FJ_OK);
    for (; rc == FJ_OK && n < MANY; n++) {
        fj_call_opts o = within(3 * LONG_MS);
        rc = fj_client_cast_async(client, "big", big_args(), &o, NULL, &err);
    }
    ck_assert_int_eq(rc, FJ_BUSY);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "max_unsent_bytes"));
    fj_error_free(err);
    ck_assert_uint_le(n - 1, ROOM / BIG + 1);
    ck_assert_uint_ge(n - 1, ROOM / BIG - 1);
    return n - 1;
}

START_TEST(who_cannot_wait_is_told_at_once_that_too_much_waits)
{
    open_at(broker_port(b));
    unsigned n = fill();
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), 1);
    broker_fault(b, BROKER_UNBLOCK, 0);
    ck_assert_int_eq(fj_client_flush(client, fj_in_ms(LONG_MS), NULL), FJ_OK);
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), 1 + n);
    ck_assert_int_eq(cast(within(LONG_MS), NULL), FJ_OK);
}
END_TEST

START_TEST(who_waits_for_room_is_told_by_its_deadline_why_there_is_none)
{
    fj_error *err = NULL;

    open_at(broker_port(b));
    (void)fill();
    ck_assert_int_eq(cast(within(SHORT_MS), &err), FJ_TIMEOUT);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "the broker blocks publishers"));
    fj_error_free(err);
    broker_fault(b, BROKER_UNBLOCK, 0);
}
END_TEST

static atomic_bool waits;

static void *cast_in_thread(void *ret)
{
    atomic_store(&waits, true);
    *(fj_code *)ret = cast(within(2 * LONG_MS), NULL);
    return NULL;
}

START_TEST(threads_that_wait_for_room_go_on_when_there_is_some)
{
    pthread_t threads[4];
    fj_code codes[4];

    open_at(broker_port(b));
    unsigned n = fill();
    for (int i = 0; i < 4; i++) {
        codes[i] = FJ_STATE;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, cast_in_thread, &codes[i]), 0);
    }
    AWAIT(atomic_load(&waits));
    broker_fault(b, BROKER_UNBLOCK, 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(codes[i], FJ_OK);
    }
    ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), 1 + n + 4);
}
END_TEST

static fj_code cast_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    return cast(within(2 * LONG_MS), err);
}

static fj_code fill_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    (void)fill();
    return FJ_OK;
}

static fj_code unblock(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    broker_fault(b, BROKER_UNBLOCK, 0);
    return FJ_OK;
}

static fj_code cast_until_told(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    return cast(within(10 * LONG_MS), err);
}

static fj_task *spawn(fj_task_fn fn)
{
    fj_task *task = NULL;

    ck_assert_int_eq(fj_task_spawn(fn, NULL, NULL, &task, NULL), FJ_OK);
    return task;
}

static fj_code ended(fj_loop *loop, fj_task *task)
{
    fj_code code = fj_loop_run_until_complete(loop, fj_task_future(task), NULL, NULL);

    fj_task_unref(task);
    return code;
}

START_TEST(tasks_that_wait_for_room_park_and_may_be_cancelled)
{
    fj_loop *loop = NULL;

    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    fj_loop_set_current(loop);
    open_at(broker_port(b));
    ck_assert_int_eq(ended(loop, spawn(fill_in_task)), FJ_OK);
    fj_task *parked = spawn(cast_in_task), *given_up = spawn(cast_until_told);
    ck_assert_int_eq(fj_loop_turn(loop, fj_now(), NULL) == FJ_OK, 1); /* both have begun */
    (void)fj_task_cancel(given_up);
    ck_assert_int_eq(ended(loop, given_up), FJ_CANCELLED);
    ck_assert(!fj_future_done(fj_task_future(parked)));
    ck_assert_int_eq(ended(loop, spawn(unblock)), FJ_OK);
    ck_assert_int_eq(ended(loop, parked), FJ_OK);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    (void)fj_loop_free(loop);
}
END_TEST

/* ---- replies when the broker takes no more ------------------------------------------------------------------ */

static void publish_call(unsigned nth)
{
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                  .content_type = amqp_cstring_bytes("application/json") };
    char body[600];
    int n = snprintf(body, sizeof body,
                     "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"big\\\", "
                     "\\\"args\\\": {}, \\\"version\\\": \\\"1.0\\\", \\\"_msg_id\\\": "
                     "\\\"%032x\\\", \\\"_unique_id\\\": \\\"%032x\\\", \\\"_reply_q\\\": \\\"reply_x\\\"}\"}",
                     nth, nth);

    ck_assert_uint_eq(broker_publish(b, "openstack", "t", &p, body, (size_t)n), 1);
}

START_TEST(methods_run_while_the_broker_blocks_publishers_and_of_their_replies_the_oldest_are_dropped)
{
    open_at(broker_port(b));
    serve();
    ck_assert_int_eq(cast(within(LONG_MS), NULL), FJ_OK);
    AWAIT(atomic_load(&ran) == 1);
    broker_fault(b, BROKER_BLOCK, 0);
    AWAIT(said("the broker blocks publishers", NULL) >= 1);
    fj_log_limit(0, 0, 0);
    for (unsigned i = 1; i <= MANY; i++)
        publish_call(i);
    AWAIT(atomic_load(&ran) == 1 + MANY);
    AWAIT(said("bytes of replies wait for the broker", "is dropped") >= MANY - ROOM / BIG);
    ck_assert_uint_eq(said("to message ID 00000000000000000000000000000064", NULL), 0); /* the last */
    unsigned before = broker_seen(b, AMQP_BASIC_PUBLISH_METHOD);
    ck_assert_uint_eq(before, 1);
    broker_fault(b, BROKER_UNBLOCK, 0);
    ck_assert(broker_wait(b, AMQP_BASIC_PUBLISH_METHOD, before + 1, LONG_MS));
    ck_assert_int_eq(cast(within(LONG_MS), NULL), FJ_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("amqp publishing");
    TCase *c = tcase_create("driver");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_message_that_the_broker_refuses_is_refused_and_was_not_sent);
    tcase_add_test(c, a_mandatory_call_to_nobody_is_undeliverable_long_before_its_deadline);
    tcase_add_test(c, a_call_whose_server_never_answers_was_sent);
    tcase_add_test(c, a_message_that_may_have_been_sent_is_not_sent_again);
    tcase_add_test(c, a_message_that_may_have_been_sent_is_sent_again_if_its_options_say_so);
    tcase_add_test(c, a_message_that_may_have_been_sent_is_sent_again_if_the_configuration_says_so);
    tcase_add_test(c, a_message_that_is_certainly_unsent_goes_out_when_the_broker_is_back);
    tcase_add_test(c,
                   without_retries_an_unsent_message_fails_with_the_first_attempt_and_with_one_with_the_second);
    tcase_add_test(c, who_cannot_wait_is_told_at_once_that_too_much_waits);
    tcase_add_test(c, who_waits_for_room_is_told_by_its_deadline_why_there_is_none);
    tcase_add_test(c, threads_that_wait_for_room_go_on_when_there_is_some);
    tcase_add_test(c, tasks_that_wait_for_room_park_and_may_be_cancelled);
    tcase_add_test(c,
                   methods_run_while_the_broker_blocks_publishers_and_of_their_replies_the_oldest_are_dropped);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
