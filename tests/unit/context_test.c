/* SPDX-License-Identifier: Apache-2.0 */
/* Where waiting is allowed: in tasks and on plain threads, not in call-backs of a loop, under each executor. */
#include <fjord/fjord.h>

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char *const executors[] = { "blocking", "threading", "coroutine" };
enum { EXECUTORS = sizeof executors / sizeof executors[0] };

static fj_loop *loop;
static fj_transport *transport;
static fj_client *client;
static fj_server *server;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_deep_copy(args);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_CORO, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static void set_up(void)
{
    fj_target there = FJ_TARGET(.topic = "t");

    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    fj_loop_set_current(loop);
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
}

static void tear_down(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    fj_loop_set_current(NULL);
    loop = fj_loop_free(loop);
}

static void make_server(const char *executor, fj_loop *on)
{
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    opts.executor = executor;
    opts.loop = on;
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
}

/* ---- call-backs --------------------------------------------------------------------------------- */

static void wait_in_call_back(fj_loop *of, void *user)
{
    fj_future *future = NULL;
    fj_error *err = NULL;

    (void)user;
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, NULL, NULL, &err), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    fj_error_free(err);
    ck_assert_int_eq(fj_client_cast(client, "echo", NULL, NULL, NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_client_flush(client, fj_in_ms(10000), NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(10000), NULL), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, NULL, &future, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(10000), NULL, NULL), FJ_WRONG_CONTEXT);
    (void)fj_future_cancel(future);
    fj_future_unref(future);
    fj_loop_stop(of);
}

START_TEST(what_waits_is_refused_in_a_call_back_of_a_loop)
{
    make_server(executors[_i], NULL);
    ck_assert_int_eq(fj_loop_call_soon(loop, wait_in_call_back, NULL, "waits", NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
}
END_TEST

/* ---- tasks -------------------------------------------------------------------------------------- */

/* Not under `blocking`, whose server needs a thread that steps it. */
static fj_code serve_and_call(void *user, json_t **ret, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    (void)user;
    o.by = fj_in_ms(20000);
    ck_assert_int_eq(fj_server_start(server, err), FJ_OK);
    ck_assert_int_eq(fj_client_call(client, "echo", json_pack("{s:i}", "x", 7), &o, ret, err), FJ_OK);
    fj_server_stop(server);
    return fj_server_wait(server, fj_in_ms(20000), err);
}

START_TEST(a_task_starts_a_server_calls_it_and_waits_for_its_end)
{
    fj_task *task = NULL;
    json_t *result = NULL;

    make_server(executors[_i], NULL);
    ck_assert_int_eq(fj_task_spawn(serve_and_call, NULL, NULL, &task, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, fj_task_future(task), &result, NULL), FJ_OK);
    ck_assert_int_eq(json_integer_value(json_object_get(result, "x")), 7);
    json_decref(result);
    fj_task_unref(task);
}
END_TEST

static fj_code run_inside(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    ck_assert_int_eq(fj_server_start(server, err), FJ_OK);
    ck_assert_int_eq(fj_server_run(server, NULL), FJ_STATE);
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(10000), NULL), FJ_STATE);
    ck_assert_int_eq(fj_run(NULL), FJ_STATE);
    return FJ_OK;
}

START_TEST(the_loop_is_not_run_from_a_task_of_its_own)
{
    fj_task *task = NULL;

    make_server("coroutine", NULL);
    ck_assert_int_eq(fj_task_spawn(run_inside, NULL, NULL, &task, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, fj_task_future(task), NULL, NULL), FJ_OK);
    fj_task_unref(task);
}
END_TEST

/* ---- threads ------------------------------------------------------------------------------------ */

static void *start_elsewhere(void *user)
{
    (void)user;
    return (void *)(intptr_t)fj_server_start(server, NULL);
}

START_TEST(a_server_is_started_on_the_thread_of_its_loop)
{
    pthread_t thread;
    void *code = NULL;

    make_server("coroutine", loop);
    ck_assert_int_eq(fj_loop_turn(loop, fj_now(), NULL), FJ_TIMEOUT); /* it is this thread's from here on */
    ck_assert_int_eq(pthread_create(&thread, NULL, start_elsewhere, NULL), 0);
    (void)pthread_join(thread, &code);
    ck_assert_int_eq((fj_code)(intptr_t)code, FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("context");
    TCase *c = tcase_create("context");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_loop_test(c, what_waits_is_refused_in_a_call_back_of_a_loop, 0, EXECUTORS);
    tcase_add_loop_test(c, a_task_starts_a_server_calls_it_and_waits_for_its_end, 1, EXECUTORS);
    tcase_add_test(c, the_loop_is_not_run_from_a_task_of_its_own);
    tcase_add_test(c, a_server_is_started_on_the_thread_of_its_loop);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
