/* SPDX-License-Identifier: Apache-2.0 */
/* Transports, clients and servers over the fake transport. */
#include <fjord/fjord.h>

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static atomic_int casts;

/* ---- what is served ----------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static fj_code boom(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_raise(err, "nova.exception", "Boom", NULL, "it went off");
}

static fj_code count(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    atomic_fetch_add(&casts, 1);
    return FJ_OK;
}

static fj_code who(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)err;
    *ret = json_deep_copy(fj_request_context(req));
    return FJ_OK;
}

/* Calls its own server and answers the text of the failure. */
static fj_code self_call(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *why = NULL;

    (void)req, (void)args, (void)err;
    o.by = fj_in_ms(30);
    if (fj_client_call(client, "echo", NULL, &o, NULL, &why) == FJ_OK)
        return FJ_OK;
    *ret = json_string(fj_error_text(why));
    fj_error_free(why);
    return FJ_OK;
}

static fj_code stop_and_wait(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)err;
    fj_server_stop(server);
    *ret = json_integer(fj_server_wait(server, fj_in_ms(1000), NULL));
    return FJ_OK;
}

static fj_request *kept;

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    kept = fj_request_ref(req);
    return FJ_DEFERRED;
}

static const fj_method methods[] = {
    FJ_METHOD("later", FJ_PLAIN, later),
    FJ_METHOD("echo", FJ_PLAIN, echo),
    FJ_METHOD("boom", FJ_PLAIN, boom),
    FJ_METHOD("count", FJ_PLAIN, count),
    FJ_METHOD("who", FJ_PLAIN, who),
    FJ_METHOD("self_call", FJ_PLAIN, self_call),
    FJ_METHOD("stop_and_wait", FJ_PLAIN, stop_and_wait),
};
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.2", methods);

/* ---- fixtures ----------------------------------------------------------------------------------- */

static const fj_target here = FJ_TARGET(.topic = "t", .server = "s");
static const fj_target there = FJ_TARGET(.topic = "t");

static void serve(const char *executor, unsigned slots)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    opts.executor = executor;
    opts.slots = slots;
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
}

static void set_up(void)
{
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
}

static void tear_down(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
}

/* ---- calls -------------------------------------------------------------------------------------- */

START_TEST(a_call_is_answered_by_a_server_with_threads)
{
    json_t *result = NULL;

    serve("threading", 4);
    ck_assert_int_eq(fj_client_call(client, "echo", json_pack("{s:i}", "x", 7), NULL, &result, NULL), FJ_OK);
    ck_assert_int_eq(json_integer_value(result), 7);
    json_decref(result);
}
END_TEST

START_TEST(a_call_is_answered_by_one_step_of_a_blocking_server)
{
    fj_future *f = NULL;
    json_t *result = NULL;

    serve("blocking", 0);
    ck_assert_int_eq(fj_server_step(server, (fj_deadline){ 1 }, NULL), FJ_TIMEOUT);
    ck_assert_int_eq(fj_client_call_async(client, "echo", json_pack("{s:i}", "x", 7), NULL, &f, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(1000), NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(1000), &result, NULL), FJ_OK);
    ck_assert_int_eq(json_integer_value(result), 7);
    json_decref(result);
    fj_future_unref(f);
}
END_TEST

START_TEST(a_context_arrives_with_the_client_timeout)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    json_t *context = json_pack("{s:s}", "user", "ann"), *result = NULL;

    serve("threading", 1);
    o.context = context;
    o.monitor = 5;
    ck_assert_int_eq(fj_client_call(client, "who", NULL, &o, &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(json_object_get(result, "user")), "ann");
    ck_assert_int_eq(json_integer_value(json_object_get(result, "client_timeout")), 5);
    json_decref(context);
    json_decref(result);
}
END_TEST

START_TEST(a_remote_failure_gets_the_code_the_client_chose)
{
    static const fj_remote_error rules[] = { { "nova.exception", "Other", FJ_NOT_FOUND },
                                             { "nova.exception", "Boom", FJ_USER + 1 } };
    fj_client_opts opts = FJ_CLIENT_OPTS_INIT;
    fj_client *mapped = NULL;
    fj_error *err = NULL;
    fj_future *f = NULL;

    serve("threading", 1);
    opts.remote_errors = rules;
    opts.remote_errors_count = 2;
    ck_assert_int_eq(fj_client_new(transport, &there, &opts, &mapped, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_call(client, "boom", NULL, NULL, NULL, NULL), FJ_REMOTE);
    ck_assert_int_eq(fj_client_call(mapped, "boom", NULL, NULL, NULL, &err), (int)FJ_USER + 1);
    ck_assert_str_eq(fj_error_remote_class(err), "Boom");
    fj_error_free(err);
    ck_assert_int_eq(fj_client_call_async(mapped, "boom", NULL, NULL, &f, NULL), FJ_OK);
    fj_client_free(mapped); /* its future may be pending */
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(2000), NULL, NULL), (int)FJ_USER + 1);
    fj_future_unref(f);
}
END_TEST

START_TEST(a_call_without_an_answer_ends_at_its_deadline)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *err = NULL;

    o.by = fj_in_ms(20);
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, &err), FJ_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "Timed out waiting for a reply to message ID "));
    fj_error_free(err);
}
END_TEST

START_TEST(a_call_to_oneself_with_every_slot_taken_names_the_limit)
{
    json_t *result = NULL;

    serve("threading", 1);
    ck_assert_int_eq(fj_client_call(client, "self_call", NULL, NULL, &result, NULL), FJ_OK);
    ck_assert_ptr_nonnull(strstr(json_string_value(result), "executor_pool_size"));
    json_decref(result);
}
END_TEST

START_TEST(what_cannot_be_sent_is_refused_at_once)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_target empty = FJ_TARGET(.server = "s");
    fj_client *none = NULL;

    ck_assert_int_eq(fj_client_new(transport, &empty, NULL, &none, NULL), FJ_BAD_TARGET);
    o.fanout = true;
    ck_assert_int_eq(fj_client_call(client, "echo", json_object(), &o, NULL, NULL), FJ_BAD_TARGET);
    o = (fj_call_opts)FJ_CALL_OPTS_INIT;
    o.by = fj_never();
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, NULL), FJ_BAD_VALUE);
}
END_TEST

START_TEST(a_version_above_the_cap_is_not_sent)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.version_cap = "1.2";
    ck_assert_int_eq(fj_client_cast(client, "count", NULL, &o, NULL), FJ_VERSION_CAP);
    o.version = "1.3";
    ck_assert_int_eq(fj_client_cast(client, "count", NULL, &o, NULL), FJ_VERSION_CAP);
    o.version = "1.1";
    ck_assert_int_eq(fj_client_cast(client, "count", NULL, &o, NULL), FJ_OK);
    ck_assert(fj_client_can_send_version(client, "9.9"));
}
END_TEST

/* ---- serializers -------------------------------------------------------------------------------- */

static fj_code wrap_entity(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err)
{
    (void)user, (void)context, (void)err;
    *ret = json_pack("{s:O}", "w", in);
    return FJ_OK;
}

static fj_code unwrap_entity(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err)
{
    (void)user, (void)context, (void)err;
    *ret = json_incref(json_object_get(in, "w"));
    return FJ_OK;
}

START_TEST(entities_are_serialized_on_the_way_out_and_in)
{
    fj_serializer s = FJ_SERIALIZER_INIT;
    fj_client_opts opts = FJ_CLIENT_OPTS_INIT;
    fj_client *c = NULL;
    fj_future *f = NULL;
    json_t *result = NULL;

    serve("threading", 1);
    s.entity_out = wrap_entity;
    opts.serializer = &s;
    ck_assert_int_eq(fj_client_new(transport, &there, &opts, &c, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_call(c, "echo", json_pack("{s:i}", "x", 7), NULL, &result, NULL), FJ_OK);
    ck_assert_int_eq(json_integer_value(json_object_get(result, "w")), 7);
    json_decref(result);
    s.entity_in = unwrap_entity;
    ck_assert_int_eq(fj_client_call_async(c, "echo", json_pack("{s:i}", "x", 7), NULL, &f, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(2000), &result, NULL), FJ_OK);
    ck_assert_int_eq(json_integer_value(result), 7);
    json_decref(result);
    fj_future_unref(f);
    fj_client_free(c);
}
END_TEST

/* ---- casts -------------------------------------------------------------------------------------- */

START_TEST(a_flush_answers_the_first_cast_that_failed_once)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *err = NULL;

    o.topic = "nobody";
    o.mandatory = 1;
    ck_assert_int_eq(fj_client_cast_async(client, "count", NULL, &o, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_flush(client, fj_in_ms(1000), &err), FJ_UNDELIVERABLE);
    fj_error_free(err);
    ck_assert_int_eq(fj_client_flush(client, fj_in_ms(1000), NULL), FJ_OK);
}
END_TEST

START_TEST(casts_are_run)
{
    serve("blocking", 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(fj_client_cast(client, "count", NULL, NULL, NULL), FJ_OK);
    while (atomic_load(&casts) < 3)
        ck_assert_int_eq(fj_server_step(server, fj_in_ms(1000), NULL), FJ_OK);
}
END_TEST

/* ---- life --------------------------------------------------------------------------------------- */

START_TEST(a_server_starts_again_after_a_reset)
{
    json_t *result = NULL;

    serve("threading", 1);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(100), NULL), FJ_STATE);
    fj_server_stop(server);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(2000), NULL), FJ_OK);
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(100), NULL), FJ_CLOSED);
    ck_assert_int_eq(fj_server_reset(server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_call(client, "echo", json_pack("{s:i}", "x", 1), NULL, &result, NULL), FJ_OK);
    json_decref(result);
}
END_TEST

START_TEST(a_method_may_stop_its_server_but_not_wait_for_it)
{
    json_t *result = NULL;

    serve("threading", 1);
    ck_assert_int_eq(fj_client_call(client, "stop_and_wait", NULL, NULL, &result, NULL), FJ_OK);
    ck_assert_int_eq(json_integer_value(result), FJ_STATE);
    json_decref(result);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(2000), NULL), FJ_OK);
}
END_TEST

static void *run_server(void *user)
{
    return (void *)(intptr_t)fj_server_run(user, NULL);
}

START_TEST(run_returns_when_another_thread_stops_the_server)
{
    pthread_t thread;
    void *code = NULL;
    json_t *result = NULL;

    serve("blocking", 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_server, server), 0);
    ck_assert_int_eq(fj_client_call(client, "echo", json_pack("{s:i}", "x", 1), NULL, &result, NULL), FJ_OK);
    json_decref(result);
    fj_server_stop(server);
    ck_assert_int_eq(pthread_join(thread, &code), 0);
    ck_assert_int_eq((intptr_t)code, FJ_OK);
}
END_TEST

static void *call_then_kill(void *user)
{
    json_t *result = NULL;
    fj_code code = fj_client_call(user, "echo", json_pack("{s:i}", "x", 1), NULL, &result, NULL);

    json_decref(result);
    (void)kill(getpid(), SIGTERM);
    return (void *)(intptr_t)code;
}

static void run_until_killed(const char *executor)
{
    pthread_t thread;
    void *code = NULL;
    struct sigaction before, after;

    ck_assert_int_eq(sigaction(SIGTERM, NULL, &before), 0);
    ck_assert_int_eq(fj_run_signals(NULL),
                     FJ_OK); /* a server with threads may be through with the call before fj_run() is */
    serve(executor, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, call_then_kill, client), 0);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    ck_assert_int_eq(pthread_join(thread, &code), 0);
    ck_assert_int_eq((intptr_t)code, FJ_OK);
    ck_assert_int_eq(sigaction(SIGTERM, NULL, &after), 0);
    ck_assert(after.sa_handler == before.sa_handler);
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(100), NULL), FJ_CLOSED);
}

START_TEST(run_drives_blocking_servers_until_a_signal)
{
    run_until_killed("blocking");
}
END_TEST

START_TEST(run_waits_for_servers_with_threads_until_a_signal)
{
    run_until_killed("threading");
}
END_TEST

START_TEST(run_returns_when_it_is_told_to)
{
    serve("blocking", 0);
    fj_run_stop();
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    server = fj_server_free(server);
    ck_assert_int_eq(fj_run(NULL), FJ_OK); /* and at once when nothing is served */
}
END_TEST

START_TEST(a_bad_transport_is_refused)
{
    fj_transport *t = NULL;
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    ck_assert_int_eq(fj_transport_open(NULL, "pigeon://", &t, NULL), FJ_NO_DRIVER);
    opts.executor = "no_such";
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_NO_EXECUTOR);
    ck_assert_int_eq(fj_server_new(transport, &there, NULL, &server, NULL), FJ_BAD_TARGET);
}
END_TEST

/* ---- what a configuration says ------------------------------------------------------------------ */

static char heard[1024];

static void hear(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    size_t n = strlen(heard);
    (void)snprintf(heard + n, sizeof heard - n, "%s %s %s\n", fj_log_level_name(level), component, text);
}

static fj_code open_with(const char *key, const char *value, const char *url, fj_transport **ret,
                         fj_error **err)
{
    fj_conf *conf = fj_conf_new();

    ck_assert_int_eq(fj_conf_set(conf, "fjord", key, value, NULL), FJ_OK);
    fj_code code = fj_transport_open(conf, url, ret, err);
    fj_conf_free(conf);
    return code;
}

static void write_conf(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(a_transport_that_is_reloaded_follows_its_files)
{
    char path[] = "/tmp/fj-reload-XXXXXX";
    int fd = mkstemp(path);
    fj_conf *conf = NULL;
    fj_transport *t = NULL;

    ck_assert_int_ge(fd, 0);
    close(fd);
    write_conf(path, "[DEFAULT]\nrpc_response_timeout = 5\n");
    ck_assert_int_eq(fj_conf_load(path, &conf, NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &t, NULL), FJ_OK);
    fj_conf_free(conf);
    write_conf(path, "[DEFAULT]\nrpc_response_timeout = 6\n[fjord]\nlog_level = info\n");
    ck_assert_int_eq(fj_transport_reload(t, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_int(fj_transport_conf(t), "DEFAULT", "rpc_response_timeout"), 6);
    fj_log_set(hear, NULL);
    serve("threading", 1);
    ck_assert_ptr_nonnull(strstr(heard, "info rpc server t.s: executor threading"));
    server = fj_server_free(server);
    fj_transport_free(t);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(the_log_is_as_the_configuration_says)
{
    fj_transport *t = NULL;
    fj_error *err = NULL;

    fj_log_set(hear, NULL);
    ck_assert_int_eq(open_with("log_level", "info", "fake://", &t, NULL), FJ_OK);
    t = fj_transport_free(t);
    serve("threading", 1);
    ck_assert_ptr_nonnull(strstr(heard, "info rpc server t.s: executor threading"));
    server = fj_server_free(server);
    heard[0] = '\0';
    ck_assert_int_eq(open_with("log_components", "-rpc", "fake://", &t, NULL), FJ_OK);
    t = fj_transport_free(t);
    serve("threading", 1);
    ck_assert_str_eq(heard, "");
    ck_assert_int_eq(open_with("log_components", "rpc=loud", "fake://", &t, &err), FJ_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "log_components"));
    fj_error_free(err);
}
END_TEST

START_TEST(a_transport_tells_of_options_that_do_nothing)
{
    fj_transport *t = NULL;

    fj_log_set(hear, NULL);
    fj_log_set_level(FJ_LOG_INFO);
    ck_assert_int_eq(fj_transport_open(NULL, "rabbit://h/?heartbeat_in_pthread=true", &t, NULL), FJ_OK);
    ck_assert_ptr_nonnull(strstr(heard, "info conf set: [oslo_messaging_rabbit] heartbeat_in_pthread has no"));
    fj_transport_free(t);
}
END_TEST

/* wire.md section 1: each key is an option of [oslo_messaging_rabbit], each value of its type. */
START_TEST(the_query_of_a_url_sets_options_above_the_file)
{
    static const char file[] = "[oslo_messaging_rabbit]\nrabbit_qos_prefetch_count = 3\n";
    static const struct {
        const char *query;
        fj_code code;
        const char *text;
    } cases[] = {
        { "rabbit_qos_prefetch_count=7", FJ_OK, NULL },
        { "ssl=Off&rabbit_login_method=PLAIN", FJ_OK, NULL },
        { "rabbit_qos_prefetch_count=", FJ_OK, NULL }, /* an empty value counts as absent */
        { "no_such_option=1", FJ_BAD_CONFIG, "no_such_option" },
        { "executor=blocking", FJ_BAD_CONFIG, "executor" }, /* of another group */
        { "rabbit_qos_prefetch_count=many", FJ_BAD_CONFIG, "rabbit_qos_prefetch_count" },
        { "ssl=perhaps", FJ_BAD_CONFIG, "ssl" },
        { "rabbit_login_method=SMOKE", FJ_BAD_CONFIG, "rabbit_login_method" },
        { "heartbeat_timeout_threshold=70000", FJ_BAD_CONFIG, "heartbeat_timeout_threshold" },
        { "heartbeat_rate=2&heartbeat_rate=3", FJ_BAD_CONFIG,
          "heartbeat_rate" }, /* joined: "2,3" is no number */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fj_conf *conf = fj_conf_new();
        fj_transport *t = NULL;
        fj_error *err = NULL;
        char url[128];
        ck_assert_int_eq(fj_conf_parse(conf, "f", file, sizeof file - 1, NULL), FJ_OK);
        (void)snprintf(url, sizeof url, "rabbit://u:geheim@h/?%s", cases[i].query);
        ck_assert_msg(fj_transport_open(conf, url, &t, &err) == cases[i].code, "%s", cases[i].query);
        if (t != NULL)
            ck_assert_int_eq(
                fj_conf_int(fj_transport_conf(t), "oslo_messaging_rabbit", "rabbit_qos_prefetch_count"),
                i == 0 ? 7 : 3);
        else
            ck_assert_msg(strstr(fj_error_text(err), cases[i].text) != NULL, "%s", fj_error_text(err));
        ck_assert_ptr_null(strstr(fj_error_text(err), "geheim"));
        fj_error_free(err);
        fj_transport_free(t);
        fj_conf_free(conf);
    }
}
END_TEST

/* ---- call monitoring ---------------------------------------------------------------------------- */

/* Both calls end by their monitor only: their deadline is a day away. */
START_TEST(a_monitored_call_lives_as_long_as_its_server_and_no_longer_than_the_monitor_without)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *taken = NULL;
    json_t *result = NULL;

    serve("blocking", 0);
    o.by = fj_in_ms(86400000);
    o.monitor = 0.2;
    ck_assert_int_eq(fj_client_call_async(client, "later", NULL, &o, &taken, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(10000), NULL), FJ_OK);
    o.topic = "nobody";
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, NULL), FJ_TIMEOUT);
    ck_assert(!fj_future_done(taken)); /* though its monitor began before */
    ck_assert_int_eq(fj_request_reply(kept, json_true(), NULL), FJ_OK);
    fj_request_unref(kept);
    ck_assert_int_eq(fj_future_wait(taken, fj_in_ms(10000), &result, NULL), FJ_OK);
    ck_assert(json_is_true(result));
    json_decref(result);
    fj_future_unref(taken);
}
END_TEST

/* ---- forks -------------------------------------------------------------------------------------- */

#define CHILD(what)                                           \
    do {                                                      \
        if (!(what)) {                                        \
            fprintf(stderr, "in the child: not " #what "\n"); \
            _exit(1);                                         \
        }                                                     \
    } while (0)

/* The child of a process with a running server: each handle says so, freeing harms nobody, and new ones work. */
static void forked_child(void)
{
    fj_future *f = NULL;
    fj_server *other = NULL;
    fj_client *c = NULL;

    CHILD(fj_client_call(client, "echo", NULL, NULL, NULL, NULL) == FJ_FORKED);
    CHILD(fj_client_call_async(client, "echo", NULL, NULL, &f, NULL) == FJ_FORKED);
    CHILD(fj_client_cast(client, "count", NULL, NULL, NULL) == FJ_FORKED);
    CHILD(fj_client_cast_async(client, "count", NULL, NULL, NULL, NULL) == FJ_FORKED);
    CHILD(fj_client_flush(client, fj_in_ms(10000), NULL) == FJ_FORKED);
    CHILD(fj_server_start(server, NULL) == FJ_FORKED);
    CHILD(fj_server_add(server, &endpoint, NULL, NULL) == FJ_FORKED);
    CHILD(fj_server_step(server, fj_in_ms(10000), NULL) == FJ_FORKED);
    CHILD(fj_server_run(server, NULL) == FJ_FORKED);
    fj_server_stop(server);
    CHILD(fj_server_wait(server, fj_in_ms(10000), NULL) == FJ_FORKED);
    CHILD(fj_server_reset(server, NULL) == FJ_FORKED);
    CHILD(fj_client_new(transport, &there, NULL, &c, NULL) == FJ_FORKED);
    CHILD(fj_server_new(transport, &here, NULL, &other, NULL) == FJ_FORKED);
    CHILD(fj_run(NULL) == FJ_OK); /* at once: nothing of this process is served */
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);

    set_up(); /* without a thread: TSan allows none in the child of a process that had some */
    serve("blocking", 1);
    CHILD(fj_client_cast(client, "count", NULL, NULL, NULL) == FJ_OK);
    CHILD(fj_server_step(server, fj_in_ms(10000), NULL) == FJ_OK && atomic_load(&casts) == 1);
    tear_down();
    _exit(0);
}

START_TEST(a_handle_used_across_a_fork_says_so_and_the_parent_goes_on)
{
    const char *executor = _i == 0 ? "blocking" : "threading";
    fj_future *f = NULL;
    int status = 0;

    serve(executor, 1);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        forked_child();
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, NULL, &f, NULL), FJ_OK);
    if (_i == 0)
        ck_assert_int_eq(fj_server_step(server, fj_in_ms(10000), NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(10000), NULL, NULL), FJ_OK);
    fj_future_unref(f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("messaging");
    TCase *c = tcase_create("messaging");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_call_is_answered_by_a_server_with_threads);
    tcase_add_test(c, a_call_is_answered_by_one_step_of_a_blocking_server);
    tcase_add_test(c, a_context_arrives_with_the_client_timeout);
    tcase_add_test(c, a_remote_failure_gets_the_code_the_client_chose);
    tcase_add_test(c, a_call_without_an_answer_ends_at_its_deadline);
    tcase_add_test(c, a_call_to_oneself_with_every_slot_taken_names_the_limit);
    tcase_add_test(c, what_cannot_be_sent_is_refused_at_once);
    tcase_add_test(c, a_version_above_the_cap_is_not_sent);
    tcase_add_test(c, entities_are_serialized_on_the_way_out_and_in);
    tcase_add_test(c, a_flush_answers_the_first_cast_that_failed_once);
    tcase_add_test(c, casts_are_run);
    tcase_add_test(c, a_server_starts_again_after_a_reset);
    tcase_add_test(c, a_method_may_stop_its_server_but_not_wait_for_it);
    tcase_add_test(c, run_returns_when_another_thread_stops_the_server);
    tcase_add_test(c, run_drives_blocking_servers_until_a_signal);
    tcase_add_test(c, run_waits_for_servers_with_threads_until_a_signal);
    tcase_add_test(c, run_returns_when_it_is_told_to);
    tcase_add_test(c, a_bad_transport_is_refused);
    tcase_add_test(c, a_transport_that_is_reloaded_follows_its_files);
    tcase_add_test(c, the_log_is_as_the_configuration_says);
    tcase_add_test(c, a_transport_tells_of_options_that_do_nothing);
    tcase_add_test(c, the_query_of_a_url_sets_options_above_the_file);
    tcase_add_test(c, a_monitored_call_lives_as_long_as_its_server_and_no_longer_than_the_monitor_without);
    tcase_add_loop_test(c, a_handle_used_across_a_fork_says_so_and_the_parent_goes_on, 0, 2);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
