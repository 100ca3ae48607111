/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that come and go, side by side and one after the other, over each transport: under coroutine, and with others. */
#include "tests/support/broker.h"
#include "tests/support/leaks.h"

#include <check.h>
#include <fjord/fjord.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE, RABBIT, TRANSPORTS, LIMIT_MS = 20000, LIVES = 100 };

static broker *b;
static fj_transport *transport;
static fj_client *client;
static fj_loop *loop;
static fj_server *server;
static fj_event *entered, *gate;

/* ---- what is served ------------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_deep_copy(args);
    return FJ_OK;
}

/* Until it is let go, or cancelled. */
static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    fj_event_set(entered);
    fj_code code = fj_event_wait(gate, fj_never());
    return code == FJ_OK ? code : fj_fail(err, code, "held in vain");
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_CORO, echo), FJ_METHOD("hold", FJ_CORO, hold) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

static void ok(fj_code code, fj_error *err)
{
    ck_assert_msg(code == FJ_OK, "%s: %s", fj_code_name(code), err != NULL ? fj_error_text(err) : "");
}

static void begin(int kind)
{
    fj_target somewhere = FJ_TARGET(.topic = "one");
    fj_conf *conf = fj_conf_new();
    char url[64] = "fake://";
    fj_error *err = NULL;

    leaks_begin();
    b = kind == RABBIT ? broker_new() : NULL;
    if (b != NULL)
        (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)broker_port(b));
    ok(fj_conf_set(conf, "fjord", "drain", "86400", &err), err);
    ok(fj_transport_open(conf, url, &transport, &err), err);
    ok(fj_client_new(transport, &somewhere, NULL, &client, &err), err);
    ok(fj_event_new("entered", &entered), NULL);
    ok(fj_event_new("gate", &gate), NULL);
    ok(fj_loop_new(&loop, &err), err);
    fj_loop_set_current(loop);
    fj_conf_free(conf);
}

static void end(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    loop = fj_loop_free(loop);
    fj_event_free(entered);
    fj_event_free(gate);
    broker_free(b);
}

static fj_server *serve(const char *executor, const char *topic)
{
    fj_target here = FJ_TARGET(.topic = topic, .server = "s");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_server *s = NULL;
    fj_error *err = NULL;

    opts.executor = executor;
    opts.slots = 4;
    ok(fj_server_new(transport, &here, &opts, &s, &err), err);
    ok(fj_server_add(s, &endpoint, NULL, &err), err);
    ok(fj_server_start(s, &err), err);
    return s;
}

static fj_code call(const char *topic, const char *method, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.topic = topic;
    o.by = fj_in_ms(LIMIT_MS);
    return fj_client_call(client, method, NULL, &o, NULL, err);
}

static fj_code call_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    return call(user, "echo", err);
}

static fj_code hold_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    return call(user, "hold", err);
}

static fj_task *spawn(fj_task_fn fn, const char *topic)
{
    fj_task *task = NULL;
    fj_error *err = NULL;

    ok(fj_task_spawn(fn, (void *)(uintptr_t)topic, NULL, &task, &err), err);
    return task;
}

static void join(fj_task *task)
{
    fj_error *err = NULL;
    fj_code code = fj_loop_run_until_complete(loop, fj_task_future(task), NULL, &err);

    ok(code, err);
    fj_task_unref(task);
}

static void stop_and_wait(fj_server *s)
{
    fj_error *err = NULL;

    fj_server_stop(s);
    ok(fj_server_wait(s, fj_in_ms(LIMIT_MS), &err), err);
}

/* ---- one after the other, side by side ------------------------------------------------------------ */

START_TEST(a_hundred_servers_come_and_go_on_one_loop)
{
    begin(_i);
    for (int i = 0; i < LIVES; i++) {
        server = serve("coroutine", "one");
        join(spawn(call_in_task, "one"));
        stop_and_wait(server);
        server = fj_server_free(server);
    }
    if (b != NULL)
        ck_assert_uint_eq(broker_accepted(b), 2); /* they had the loop's two connections one after the other */
    end();
    leaks_end("the loop");
}
END_TEST

START_TEST(a_server_lives_again_after_a_reset)
{
    fj_error *err = NULL;

    begin(_i);
    server = serve("coroutine", "one");
    for (int i = 0; i < 3; i++) {
        join(spawn(call_in_task, "one"));
        stop_and_wait(server);
        ok(fj_server_reset(server, &err), err);
        ok(fj_server_start(server, &err), err);
    }
    join(spawn(call_in_task, "one"));
    stop_and_wait(server);
    end();
    leaks_end("the server");
}
END_TEST

START_TEST(two_servers_share_a_loop_and_one_goes_on_when_the_other_ends)
{
    begin(_i);
    server = serve("coroutine", "one");
    fj_server *other = serve("coroutine", "two");
    fj_task *one = spawn(call_in_task, "one"), *two = spawn(call_in_task, "two");
    join(one);
    join(two);
    stop_and_wait(server);
    join(spawn(call_in_task, "two"));
    stop_and_wait(other);
    fj_server_free(other);
    end();
    leaks_end("the servers");
}
END_TEST

static const char *const topics[] = { "one", "two", "three", "four" };
static const char *const executors[] = { "blocking", "coroutine", "threading", "coroutine" };
enum { SERVERS = 4 };

static void *call_them_all(void *user)
{
    fj_error *err = NULL;

    for (int i = 0; i < 10 * SERVERS; i++)
        ok(call(topics[i % SERVERS], "echo", &err), err);
    fj_run_stop();
    return user;
}

START_TEST(servers_of_all_executors_run_together)
{
    fj_server *servers[SERVERS];
    pthread_t thread;
    fj_error *err = NULL;

    begin(_i);
    for (int i = 0; i < SERVERS; i++)
        servers[i] = serve(executors[i], topics[i]);
    ck_assert_int_eq(pthread_create(&thread, NULL, call_them_all, NULL), 0);
    ok(fj_run(&err), err);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < SERVERS; i++)
        fj_server_free(servers[i]);
    end();
}
END_TEST

/* ---- how one ends --------------------------------------------------------------------------------- */

static void stop_it(int number)
{
    (void)number;
    fj_server_stop(server);
}

static void *call_and_signal(void *user)
{
    fj_error *err = NULL;

    ok(call("one", "echo", &err), err);
    (void)raise(SIGUSR1);
    return user;
}

START_TEST(a_signal_handler_may_stop_it)
{
    struct sigaction action = { .sa_handler = stop_it };
    pthread_t thread;
    fj_error *err = NULL;

    begin(_i);
    server = serve("coroutine", "one");
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, call_and_signal, NULL), 0);
    ok(fj_server_run(server, &err), err);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ok(fj_server_wait(server, fj_in_ms(LIMIT_MS), &err), err);
    end();
    leaks_end("the server");
}
END_TEST

static fj_code code_of_held;

static void *hold_a_method(void *user)
{
    code_of_held = call("one", "hold", NULL);
    return user;
}

/* The handler runs on the thread that raises: both are counted, and whatever fj_run() does meanwhile it sees them. */
static void *signal_twice(void *user)
{
    ck_assert_int_eq(fj_event_wait(entered, fj_in_ms(LIMIT_MS)), FJ_OK);
    (void)raise(SIGTERM);
    (void)raise(SIGTERM);
    return user;
}

START_TEST(a_second_signal_kills_a_method_that_waits_for_ever)
{
    pthread_t caller, signaller;
    fj_error *err = NULL;

    begin(_i);
    server = serve("coroutine", "one");
    ok(fj_run_signals(&err), err);
    ck_assert_int_eq(pthread_create(&caller, NULL, hold_a_method, NULL), 0);
    ck_assert_int_eq(pthread_create(&signaller, NULL, signal_twice, NULL), 0);
    ck_assert_int_eq(fj_run(&err), FJ_TIMEOUT);
    fj_error_free(err);
    ck_assert_int_eq(pthread_join(signaller, NULL), 0);
    server = fj_server_free(server);
    ck_assert_int_eq(pthread_join(caller, NULL), 0);
    ck_assert_int_eq(code_of_held, FJ_REMOTE);
    end();
}
END_TEST

/* ---- who waits for it ----------------------------------------------------------------------------- */

/* A method is in progress, which `gate` lets go. */
static fj_task *in_progress(void)
{
    fj_error *err = NULL;

    server = serve("coroutine", "one");
    fj_task *task = spawn(hold_in_task, "one");
    while (!fj_event_is_set(entered))
        ok(fj_loop_turn(loop, fj_in_ms(LIMIT_MS), &err), err);
    return task;
}

static fj_code lets_go_and_waits(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    fj_server_stop(server);
    fj_event_set(gate);
    return fj_server_wait(server, fj_in_ms(LIMIT_MS), err);
}

START_TEST(a_task_of_its_loop_waits_for_it)
{
    begin(_i);
    fj_task *held = in_progress(), *waits = spawn(lets_go_and_waits, NULL);
    join(waits);
    join(held);
    end();
}
END_TEST

START_TEST(the_loop_s_thread_waits_for_it_by_turning_the_loop)
{
    begin(_i);
    fj_task *held = in_progress();
    fj_event_set(gate);
    stop_and_wait(server);
    join(held);
    end();
    leaks_end("the server");
}
END_TEST

static fj_code code_in_call_back;

static void wait_in_call_back(fj_loop *on, void *user)
{
    fj_event_set(gate);
    code_in_call_back = fj_server_wait(user, fj_in_ms(LIMIT_MS), NULL);
    fj_loop_stop(on);
}

START_TEST(a_call_back_of_its_loop_is_refused_the_wait)
{
    begin(_i);
    fj_task *held = in_progress();
    fj_server_stop(server);
    ck_assert_int_eq(fj_loop_call_soon(loop, wait_in_call_back, server, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    ck_assert_int_eq(code_in_call_back, FJ_WRONG_CONTEXT);
    stop_and_wait(server);
    join(held);
    end();
    leaks_end("the server");
}
END_TEST

static void *let_go_and_wait(void *user)
{
    fj_event_set(gate);
    stop_and_wait(server);
    fj_loop_stop(loop);
    return user;
}

START_TEST(another_thread_waits_for_it_while_the_loop_runs)
{
    pthread_t thread;

    begin(_i);
    fj_task *held = in_progress();
    ck_assert_int_eq(pthread_create(&thread, NULL, let_go_and_wait, NULL), 0);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    join(held);
    end();
    leaks_end("the server");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("servers on loops that come and go");
    TCase *c = tcase_create("life");

    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, a_hundred_servers_come_and_go_on_one_loop, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_server_lives_again_after_a_reset, 0, TRANSPORTS);
    tcase_add_loop_test(c, two_servers_share_a_loop_and_one_goes_on_when_the_other_ends, 0, TRANSPORTS);
    tcase_add_loop_test(c, servers_of_all_executors_run_together, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_signal_handler_may_stop_it, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_second_signal_kills_a_method_that_waits_for_ever, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_task_of_its_loop_waits_for_it, 0, TRANSPORTS);
    tcase_add_loop_test(c, the_loop_s_thread_waits_for_it_by_turning_the_loop, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_call_back_of_its_loop_is_refused_the_wait, 0, TRANSPORTS);
    tcase_add_loop_test(c, another_thread_waits_for_it_while_the_loop_runs, 0, TRANSPORTS);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
