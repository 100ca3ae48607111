/* SPDX-License-Identifier: Apache-2.0 */
/* Clients on a user's own loop, over each transport: calls in tasks, what call-backs may not do, and who may go first. */
#include "tests/support/broker.h"
#include "tests/support/leaks.h"

#include <check.h>
#include <fjord/fjord.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAKE, RABBIT, TRANSPORTS, TASKS = 5, CALLS = 20, LIMIT_MS = 20000 };

/* ---- the other side ------------------------------------------------------------------------------ */

static broker *b;
static fj_conf *conf;
static fj_transport *far, *near;
static fj_server *server;
static fj_client *client;
static fj_loop *loop;
static atomic_uint ran;
static _Atomic(fj_request *) kept;
static fj_event *changed;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    atomic_fetch_add(&ran, 1);
    *ret = json_deep_copy(args);
    return FJ_OK;
}

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    atomic_store(&kept, fj_request_ref(req));
    fj_event_set(changed);
    return FJ_DEFERRED;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo), FJ_METHOD("later", FJ_PLAIN, later) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

static void ok(fj_code code, fj_error *err)
{
    ck_assert_msg(code == FJ_OK, "%s: %s", fj_code_name(code), err != NULL ? fj_error_text(err) : "");
}

static fj_transport *open_transport(int kind)
{
    fj_transport *t = NULL;
    fj_error *err = NULL;
    char url[64] = "fake://";

    if (kind == RABBIT)
        (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)broker_port(b));
    ok(fj_transport_open(conf, url, &t, &err), err);
    return t;
}

static void begin(int kind)
{
    fj_target here = FJ_TARGET(.topic = "far", .server = "s"), there = FJ_TARGET(.topic = "far");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_error *err = NULL;

    leaks_begin();
    b = kind == RABBIT ? broker_new() : NULL;
    conf = fj_conf_new();
    ck_assert_int_eq(fj_event_new("changed", &changed), FJ_OK);
    far = open_transport(kind);
    near = open_transport(kind);
    opts.executor = "threading";
    ok(fj_server_new(far, &here, &opts, &server, &err), err);
    ok(fj_server_add(server, &endpoint, NULL, &err), err);
    ok(fj_server_start(server, &err), err);
    ok(fj_client_new(near, &there, NULL, &client, &err), err);
    ok(fj_loop_new(&loop, &err), err);
    fj_loop_set_current(loop);
}

/* What the test has not freed itself. */
static void end(void)
{
    fj_error *err = NULL;

    client = fj_client_free(client);
    near = fj_transport_free(near);
    loop = fj_loop_free(loop);
    fj_server_stop(server);
    ok(fj_server_wait(server, fj_in_ms(LIMIT_MS), &err), err);
    server = fj_server_free(server);
    far = fj_transport_free(far);
    fj_conf_free(conf);
    fj_event_free(changed);
    broker_free(b);
    leaks_end("the test");
}

static fj_code run_in_task(fj_task_fn fn)
{
    fj_task *task = NULL;
    fj_error *err = NULL;

    ok(fj_task_spawn(fn, NULL, NULL, &task, &err), err);
    fj_code code = fj_loop_run_until_complete(loop, fj_task_future(task), NULL, &err);
    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
    fj_task_unref(task);
    return code;
}

static fj_call_opts within_limit(void)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(LIMIT_MS);
    return o;
}

static fj_code call(json_int_t n, fj_error **err)
{
    fj_call_opts o = within_limit();
    json_t *ret = NULL;
    fj_code code = fj_client_call(client, "echo", json_pack("{s:I}", "n", n), &o, &ret, err);

    if (code == FJ_OK && json_integer_value(json_object_get(ret, "n")) != n)
        code = fj_fail(err, FJ_INTERNAL, "another call's answer");
    json_decref(ret);
    return code;
}

/* ---- calls ---------------------------------------------------------------------------------------- */

static fj_code calls(void *user, json_t **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    (void)ret;
    for (int i = 0; i < CALLS && code == FJ_OK; i++)
        code = call((json_int_t)(uintptr_t)user * CALLS + i, err);
    return code;
}

static fj_code one_call(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    return call(7, err);
}

START_TEST(several_tasks_call_at_once_and_each_gets_its_own_answers)
{
    fj_future *futures[TASKS], *all = NULL;
    fj_task *tasks[TASKS];
    fj_error *err = NULL;

    begin(_i);
    for (uintptr_t i = 0; i < TASKS; i++) {
        ok(fj_task_spawn(calls, (void *)i, NULL, &tasks[i], &err), err);
        futures[i] = fj_task_future(tasks[i]);
    }
    ok(fj_gather(futures, TASKS, 0, &all, &err), err);
    fj_code code = fj_loop_run_until_complete(loop, all, NULL, &err);
    ok(code, err);
    ck_assert_uint_eq(atomic_load(&ran), TASKS * CALLS);
    fj_future_unref(all);
    for (int i = 0; i < TASKS; i++)
        fj_task_unref(tasks[i]);
    end();
}
END_TEST

static fj_code gathers(void *user, json_t **ret, fj_error **err)
{
    fj_call_opts o = within_limit();
    fj_future *futures[3], *all = NULL;
    json_t *got = NULL;
    fj_code code = FJ_OK;

    (void)user, (void)ret;
    for (int i = 0; i < 3 && code == FJ_OK; i++)
        code = fj_client_call_async(client, "echo", json_pack("{s:i}", "n", i), &o, &futures[i], err);
    if (code == FJ_OK)
        code = fj_gather(futures, 3, 0, &all, err);
    if (code == FJ_OK)
        code = fj_await(all, fj_never(), &got, err);
    for (size_t i = 0; i < 3 && code == FJ_OK; i++) {
        if (json_integer_value(json_object_get(json_array_get(got, i), "n")) != (json_int_t)i)
            code = fj_fail(err, FJ_INTERNAL, "the answers are not in order");
    }
    json_decref(got);
    fj_future_unref(all);
    for (int i = 0; i < 3; i++)
        fj_future_unref(futures[i]);
    return code;
}

START_TEST(asynchronous_calls_are_gathered_in_order)
{
    begin(_i);
    run_in_task(gathers);
    end();
}
END_TEST

static fj_code casts(void *user, json_t **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    (void)user, (void)ret;
    for (int i = 0; i < CALLS && code == FJ_OK; i++)
        code = fj_client_cast_async(client, "echo", NULL, NULL, NULL, err);
    if (code == FJ_OK)
        code = fj_client_flush(client, fj_in_ms(LIMIT_MS), err);
    if (code == FJ_OK)
        code = fj_client_cast(client, "echo", NULL, NULL, err);
    return code == FJ_OK ? call(1, err)
                         : code; /* and what came before it on its connection has been handed out */
}

static bool all_ran(void)
{
    fj_deadline by = fj_in_ms(LIMIT_MS);
    fj_code code = FJ_OK;

    while (atomic_load(&ran) < CALLS + 2 && !fj_passed(by) && (code == FJ_OK || code == FJ_TIMEOUT))
        code = fj_loop_turn(loop, fj_in_ms(10), NULL);
    return atomic_load(&ran) == CALLS + 2;
}

START_TEST(casts_and_a_flush_in_a_task_end_when_they_are_confirmed)
{
    begin(_i);
    run_in_task(casts);
    ck_assert(all_ran());
    end();
}
END_TEST

/* ---- where nothing may wait ----------------------------------------------------------------------- */

static fj_code codes[4];

static void try_all(fj_loop *on, void *user)
{
    fj_future *pending = user;

    codes[0] = fj_client_call(client, "echo", NULL, NULL, NULL, NULL);
    codes[1] = fj_client_cast(client, "echo", NULL, NULL, NULL);
    codes[2] = fj_client_flush(client, fj_in_ms(1000), NULL);
    codes[3] = fj_future_wait(pending, fj_in_ms(1000), NULL, NULL);
    fj_loop_stop(on);
}

START_TEST(a_call_back_of_the_loop_may_not_wait_and_nothing_is_sent)
{
    fj_future *pending = NULL;

    begin(_i);
    run_in_task(one_call); /* connected, so that something could be sent */
    unsigned published = b != NULL ? broker_seen(b, AMQP_BASIC_PUBLISH_METHOD) : 0;
    ck_assert_int_eq(fj_future_new(NULL, NULL, &pending), FJ_OK);
    ck_assert_int_eq(fj_loop_call_soon(loop, try_all, pending, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(codes[i], FJ_WRONG_CONTEXT);
    run_in_task(one_call); /* whatever had been sent before it would be there by now */
    ck_assert_uint_eq(atomic_load(&ran), 2);
    if (b != NULL) /* a call, its reply */
        ck_assert_uint_eq(broker_seen(b, AMQP_BASIC_PUBLISH_METHOD), published + 2);
    fj_future_unref(pending);
    end();
}
END_TEST

/* ---- cancellation --------------------------------------------------------------------------------- */

static fj_code waits_long(void *user, json_t **ret, fj_error **err)
{
    fj_call_opts o = within_limit();

    (void)user;
    return fj_client_call(client, "later", NULL, &o, ret, err);
}

static fj_code awaits_kept(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    return fj_event_wait(changed, fj_in_ms(LIMIT_MS));
}

START_TEST(a_task_that_is_cancelled_in_a_call_drops_the_late_reply_and_the_next_call_is_good)
{
    fj_task *task = NULL;
    fj_error *err = NULL;

    begin(_i);
    ok(fj_task_spawn(waits_long, NULL, NULL, &task, &err), err);
    run_in_task(awaits_kept);
    ck_assert(fj_task_cancel(task));
    ck_assert_int_eq(fj_loop_run_until_complete(loop, fj_task_future(task), NULL, NULL), FJ_CANCELLED);
    fj_task_unref(task);
    ok(fj_request_reply(atomic_load(&kept), json_string("late"), &err), err);
    fj_request_unref(atomic_load(&kept));
    run_in_task(one_call);
    run_in_task(calls);
    end();
}
END_TEST

/* ---- who goes first ------------------------------------------------------------------------------- */

START_TEST(the_transport_is_freed_on_the_loop_s_thread_and_the_loop_goes_on)
{
    begin(_i);
    run_in_task(one_call);
    client = fj_client_free(client);
    near = fj_transport_free(near);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(1), NULL), FJ_TIMEOUT);
    end();
}
END_TEST

static fj_code calls_and_frees(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    fj_code code = call(1, err);
    client = fj_client_free(client);
    near = fj_transport_free(near);
    return code;
}

START_TEST(the_transport_is_freed_in_a_task)
{
    begin(_i);
    run_in_task(calls_and_frees);
    end();
}
END_TEST

static void *free_transport(void *user)
{
    client = fj_client_free(client);
    near = fj_transport_free(near);
    fj_loop_stop(user);
    return NULL;
}

START_TEST(the_transport_is_freed_by_another_thread_while_the_loop_runs)
{
    pthread_t thread;

    begin(_i);
    run_in_task(one_call);
    ck_assert_int_eq(pthread_create(&thread, NULL, free_transport, loop), 0);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    (void)pthread_join(thread, NULL);
    end();
}
END_TEST

START_TEST(the_transport_is_freed_by_another_thread_while_the_loop_stands_still)
{
    pthread_t thread;

    begin(_i);
    run_in_task(one_call);
    ck_assert_int_eq(pthread_create(&thread, NULL, free_transport, loop), 0);
    (void)pthread_join(thread, NULL);
    end();
}
END_TEST

START_TEST(the_loop_is_freed_before_the_transport)
{
    fj_error *err = NULL;

    begin(_i);
    run_in_task(one_call);
    loop = fj_loop_free(loop);
    fj_loop_set_current(NULL);
    ok(call(3, &err), err); /* by the thread's own connections */
    end();
}
END_TEST

START_TEST(a_call_that_was_begun_on_a_loop_ends_though_the_loop_was_freed)
{
    fj_future *future = NULL;
    json_t *ret = NULL;
    fj_error *err = NULL;
    fj_task *task = NULL;
    fj_call_opts o = within_limit();

    begin(_i);
    run_in_task(one_call);
    ok(fj_task_spawn(waits_long, NULL, NULL, &task, &err), err);
    run_in_task(awaits_kept);
    ok(fj_client_call_async(client, "echo", json_pack("{s:i}", "n", 1), &o, &future, &err), err);
    loop = fj_loop_free(loop); /* the task's call is cancelled */
    fj_loop_set_current(NULL);
    ck_assert_int_eq(fj_future_result(fj_task_future(task), NULL, NULL), FJ_CANCELLED);
    fj_task_unref(task);
    ok(fj_request_reply(atomic_load(&kept), NULL, &err), err);
    fj_request_unref(atomic_load(&kept));
    ok(fj_future_wait(future, fj_in_ms(LIMIT_MS), &ret, &err), err);
    json_decref(ret);
    fj_future_unref(future);
    end();
}
END_TEST

static fj_future *begun;

static fj_code begins_a_call(void *user, json_t **ret, fj_error **err)
{
    fj_call_opts o = within_limit();

    (void)user, (void)ret;
    fj_code code = fj_client_call_async(client, "later", NULL, &o, &begun, err);
    return code == FJ_OK ? fj_event_wait(changed, fj_in_ms(LIMIT_MS)) : code;
}

START_TEST(an_asynchronous_call_of_a_loop_that_is_gone_still_gets_its_answer)
{
    json_t *ret = NULL;
    fj_error *err = NULL;

    begin(_i);
    run_in_task(begins_a_call);
    loop = fj_loop_free(loop);
    fj_loop_set_current(NULL);
    ok(fj_request_reply(atomic_load(&kept), json_string("late"), &err), err);
    fj_request_unref(atomic_load(&kept));
    ok(fj_future_wait(begun, fj_in_ms(LIMIT_MS), &ret, &err), err);
    ck_assert_str_eq(json_string_value(ret), "late");
    json_decref(ret);
    fj_future_unref(begun);
    end();
}
END_TEST

START_TEST(a_forked_child_is_refused_and_may_free_all_while_the_parent_goes_on)
{
    int status = 0;

    begin(_i);
    run_in_task(one_call);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        bool good = call(1, NULL) == FJ_FORKED;
        client = fj_client_free(client);
        near = fj_transport_free(near);
        loop = fj_loop_free(loop);
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    run_in_task(one_call);
    end();
}
END_TEST

static void add(TCase *c)
{
    tcase_add_loop_test(c, several_tasks_call_at_once_and_each_gets_its_own_answers, 0, TRANSPORTS);
    tcase_add_loop_test(c, asynchronous_calls_are_gathered_in_order, 0, TRANSPORTS);
    tcase_add_loop_test(c, casts_and_a_flush_in_a_task_end_when_they_are_confirmed, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_call_back_of_the_loop_may_not_wait_and_nothing_is_sent, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_task_that_is_cancelled_in_a_call_drops_the_late_reply_and_the_next_call_is_good, 0,
                        TRANSPORTS);
    tcase_add_loop_test(c, the_transport_is_freed_on_the_loop_s_thread_and_the_loop_goes_on, 0, TRANSPORTS);
    tcase_add_loop_test(c, the_transport_is_freed_in_a_task, 0, TRANSPORTS);
    tcase_add_loop_test(c, the_transport_is_freed_by_another_thread_while_the_loop_runs, 0, TRANSPORTS);
    tcase_add_loop_test(c, the_transport_is_freed_by_another_thread_while_the_loop_stands_still, 0, TRANSPORTS);
    tcase_add_loop_test(c, the_loop_is_freed_before_the_transport, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_call_that_was_begun_on_a_loop_ends_though_the_loop_was_freed, 0, TRANSPORTS);
    tcase_add_loop_test(c, an_asynchronous_call_of_a_loop_that_is_gone_still_gets_its_answer, 0, TRANSPORTS);
    tcase_add_loop_test(c, a_forked_child_is_refused_and_may_free_all_while_the_parent_goes_on, 0, TRANSPORTS);
}

int main(void)
{
    Suite *suite = suite_create("clients on loops");
    TCase *c = tcase_create("loop");

    tcase_set_timeout(c, 60);
    add(c);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
