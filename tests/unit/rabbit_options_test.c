/* SPDX-License-Identifier: Apache-2.0 */
/* Options of [oslo_messaging_rabbit]: what they are read as, what is refused, and what a broker sees of them. */
#include "base/alloc.h"
#include "tests/support/broker.h"
#include "transports/amqp/settings.h"

#include <check.h>
#include <fjord/fjord.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONG_MS = 10000, LARGE = 5000 };

static fj_conf *conf;
static fj_transport *transport;
static fj_server *server;
static fj_client *client;

static void set(const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, "oslo_messaging_rabbit", key, value, NULL), FJ_OK);
}

static void set_up(void)
{
    conf = fj_conf_new();
    ck_assert_ptr_nonnull(conf);
}

static void tear_down(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    conf = fj_conf_free(conf);
}

/* ---- reading ---- */

static fj_code settings(fj__amqp_settings *ret, fj_error **err)
{
    fj_url *url = NULL;

    ck_assert_int_eq(fj_url_parse("rabbit://h1,h2:5673/v", &url, NULL), FJ_OK);
    fj_code rc = fj__amqp_settings_read(conf, url, ret, err);
    (void)fj_url_free(url);
    return rc;
}

START_TEST(the_splay_is_seven_times_the_delay_unless_it_is_given)
{
    static const struct {
        const char *delay, *splay;
        double want;
    } rows[] = {
        { NULL, NULL, 7 }, { "0.5", NULL, 3.5 }, { "0", NULL, 0 }, { "1", "0", 0 }, { "1", "2.5", 2.5 }
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fj__amqp_settings s;
        set("kombu_reconnect_delay", rows[i].delay);
        set("kombu_reconnect_splay", rows[i].splay);
        ck_assert_int_eq(settings(&s, NULL), FJ_OK);
        ck_assert_double_eq(s.reconnect_splay, rows[i].want);
        fj__amqp_settings_fini(&s);
    }
}
END_TEST

START_TEST(options_that_contradict_each_other_are_refused)
{
    static const struct {
        const char *keys[3];
        const char *says;
    } rows[] = { { { "rabbit_quorum_queue", "rabbit_ha_queues" }, "rabbit_ha_queues" },
                 { { "rabbit_transient_quorum_queue", "rabbit_ha_queues" }, "rabbit_transient_quorum_queue" },
                 { { "rabbit_quorum_queue", "amqp_auto_delete" }, "amqp_auto_delete" },
                 { { "rabbit_stream_fanout" }, "rabbit_transient_quorum_queue" } };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fj__amqp_settings s;
        fj_error *err = NULL;
        for (size_t k = 0; rows[i].keys[k] != NULL; k++)
            set(rows[i].keys[k], "true");
        ck_assert_int_eq(settings(&s, &err), FJ_BAD_CONFIG);
        ck_assert_msg(strstr(fj_error_text(err), rows[i].says) != NULL, "%s", fj_error_text(err));
        fj_error_free(err);
        for (size_t k = 0; rows[i].keys[k] != NULL; k++)
            set(rows[i].keys[k], NULL);
    }
}
END_TEST

START_TEST(an_unknown_compression_is_refused)
{
    fj__amqp_settings s;
    fj_error *err = NULL;

    set("kombu_compression", "zstd");
    ck_assert_int_eq(settings(&s, &err), FJ_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "'zstd'"));
    fj_error_free(err);
}
END_TEST

START_TEST(a_login_that_is_not_spoken_is_refused)
{
    fj__amqp_settings s;
    fj_error *err = NULL;

    set("rabbit_login_method", "RABBIT-CR-DEMO");
    ck_assert_int_eq(settings(&s, &err), FJ_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "RABBIT-CR-DEMO"));
    fj_error_free(err);
}
END_TEST

START_TEST(a_heartbeat_goes_out_twice_in_its_time_at_least)
{
    static const struct {
        const char *value;
        unsigned want;
    } rows[] = { { NULL, 2 }, { "1", 2 }, { "3", 3 }, { "1000000000", 1000 } };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fj__amqp_settings s;
        set("heartbeat_rate", rows[i].value);
        ck_assert_int_eq(settings(&s, NULL), FJ_OK);
        ck_assert_uint_eq(s.heartbeat_rate, rows[i].want);
        fj__amqp_settings_fini(&s);
    }
}
END_TEST

/* ---- over a broker ---- */

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

static void serve_at(const char *url)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_error *err = NULL;

    opts.executor = "threading";
    opts.slots = 2;
    set("kombu_reconnect_delay", "0.02");
    set("rabbit_retry_interval", "0.02");
    set("rabbit_retry_backoff", "0");
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    fj_code rc = fj_server_start(server, &err);
    ck_assert_msg(rc == FJ_OK, "%s", fj_error_text(err));
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
}

/* A call with much in it.  @return its code */
static fj_code call(fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    json_t *result = NULL;
    char text[LARGE + 1];

    memset(text, 'x', LARGE);
    text[LARGE] = '\0';
    o.by = fj_in_ms(LONG_MS);
    fj_code rc = fj_client_call(client, "echo", json_pack("{s:s}", "x", text), &o, &result, err);
    if (rc == FJ_OK)
        ck_assert_str_eq(json_string_value(result), text);
    json_decref(result);
    return rc;
}

static void assert_calls(void)
{
    fj_error *err = NULL;
    fj_code rc = call(&err);

    ck_assert_msg(rc == FJ_OK, "%s: %s", fj_code_name(rc), fj_error_text(err));
}

START_TEST(calls_and_replies_are_compressed_and_read)
{
    static const char *const kinds[] = { "gzip", "bzip2", "xz" };
    broker *b = broker_new();
    char url[80];

    ck_assert_ptr_nonnull(b);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/?kombu_compression=%s", broker_port(b),
                   kinds[_i]);
    serve_at(url);
    assert_calls();
    tear_down();
    b = broker_free(b);
}
END_TEST

START_TEST(a_host_that_cannot_be_reached_is_passed_over)
{
    broker *b = broker_new(), *gone = broker_new();
    char url[160];

    ck_assert(b != NULL && gone != NULL);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u,guest:guest@127.0.0.1:%u/",
                   broker_port(gone), broker_port(b));
    gone = broker_free(gone);
    serve_at(url);
    assert_calls();
    tear_down();
    b = broker_free(b);
}
END_TEST

START_TEST(another_host_takes_over_from_one_that_went)
{
    broker *b[2] = { broker_new(), broker_new() };
    char url[160];

    ck_assert(b[0] != NULL && b[1] != NULL);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u,guest:guest@127.0.0.1:%u/?%s",
                   broker_port(b[0]), broker_port(b[1]),
                   _i == 0 ? "kombu_failover_strategy=round-robin" : "kombu_failover_strategy=shuffle");
    serve_at(url);
    int with = broker_consumers(b[0], "t") != 0 ? 0 : 1;
    b[with] = broker_free(b[with]);
    ck_assert(broker_wait(b[1 - with], AMQP_BASIC_CONSUME_METHOD, 3, LONG_MS));
    assert_calls();
    tear_down();
    b[1 - with] = broker_free(b[1 - with]);
}
END_TEST

START_TEST(queues_have_the_manager_s_names_and_outlive_their_server)
{
    broker *b = broker_new();
    char process[40], url[160], name[160];

    ck_assert_ptr_nonnull(b);
    (void)snprintf(process, sizeof process, "fjtest-%d", (int)getpid());
    (void)snprintf(url, sizeof url,
                   "rabbit://guest:guest@127.0.0.1:%u/?use_queue_manager=true&hostname=h1&processname=%s",
                   broker_port(b), process);
    serve_at(url);
    assert_calls();
    (void)snprintf(name, sizeof name, "t_fanout_h1:%s:1", process);
    ck_assert_uint_eq(broker_consumers(b, name), 1);
    server = fj_server_free(server);
    ck_assert_uint_eq(broker_seen(b, AMQP_QUEUE_DELETE_METHOD), 0);
    ck_assert_int_eq(broker_queue_ready(b, name), 0);
    (void)snprintf(name, sizeof name, "reply_h1:%s:2", process);
    ck_assert_uint_eq(broker_consumers(b, name), 1);
    tear_down();
    b = broker_free(b);
    (void)snprintf(name, sizeof name, "/dev/shm/h1_%s_qmanager", process);
    ck_assert_int_eq(unlink(name), 0);
    (void)snprintf(name, sizeof name, "/dev/shm/oslo_read_shm_h1_%s", process);
    ck_assert_int_eq(unlink(name), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rabbit options");
    TCase *c = tcase_create("options");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 30);
    tcase_add_test(c, the_splay_is_seven_times_the_delay_unless_it_is_given);
    tcase_add_test(c, options_that_contradict_each_other_are_refused);
    tcase_add_test(c, an_unknown_compression_is_refused);
    tcase_add_test(c, a_login_that_is_not_spoken_is_refused);
    tcase_add_test(c, a_heartbeat_goes_out_twice_in_its_time_at_least);
    tcase_add_loop_test(c, calls_and_replies_are_compressed_and_read, 0, 3);
    tcase_add_test(c, a_host_that_cannot_be_reached_is_passed_over);
    tcase_add_loop_test(c, another_host_takes_over_from_one_that_went, 0, 2);
    tcase_add_test(c, queues_have_the_manager_s_names_and_outlive_their_server);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
