/* SPDX-License-Identifier: Apache-2.0 */
/* Interceptors around methods: under every executor, around every flavour, to every end that a request has. */
#include "messaging/internal.h"
#include "tests/support/leaks.h"
#include "tests/support/spy.h"

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const executors[] = { "blocking", "threading", "green", "coroutine", "bridged" };
static const struct {
    const char *method;
    fj_flavour flavour;
} flavours[] = { { "plain", FJ_PLAIN }, { "green", FJ_GREEN }, { "coro", FJ_CORO } };
enum { EXECUTORS = sizeof executors / sizeof executors[0], CELLS = EXECUTORS * 3 };

static fj_transport *transport;
static fj_client *client;
static served server;
static fj_error *err;
static json_t *result;
static fj_event *gate;
static _Atomic(fj_request *) kept;

/* ---- what is served ----------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)req, (void)error;
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static fj_code who(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)args, (void)error;
    *ret = json_incref(json_object_get(fj_request_context(req), "user"));
    return FJ_OK;
}

static fj_code late(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)req, (void)args, (void)ret;
    return fj_fail(error, FJ_TIMEOUT, "too late");
}

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)args, (void)ret, (void)error;
    atomic_store(&kept, fj_request_ref(req));
    spy_note("kept");
    return FJ_DEFERRED;
}

static fj_code forgets(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)req, (void)args, (void)ret, (void)error;
    return FJ_DEFERRED;
}

static fj_code early(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)args, (void)error;
    ck_assert_int_eq(fj_request_reply(req, json_string("early"), NULL), FJ_OK);
    spy_note("returns");
    *ret = json_string("late");
    return FJ_OK;
}

static fj_code hangs(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)req, (void)args, (void)ret;
    spy_note("hangs");
    fj_code code = fj_event_wait(gate, fj_never());
    return code == FJ_OK ? FJ_OK : fj_fail(error, code, "cut short");
}

static const fj_method methods[] = {
    FJ_METHOD("plain", FJ_PLAIN, echo),  FJ_METHOD("green", FJ_GREEN, echo),
    FJ_METHOD("coro", FJ_CORO, echo),    FJ_METHOD("who", FJ_PLAIN, who),
    FJ_METHOD("late", FJ_CORO, late),    FJ_METHOD("later", FJ_PLAIN, later),
    FJ_METHOD("early", FJ_PLAIN, early), FJ_METHOD("forgets", FJ_CORO, forgets),
    FJ_METHOD("hangs", FJ_CORO, hangs),
};
static const fj_endpoint endpoint = FJ_ENDPOINT("ns", "1.2", methods);

/* ---- the rig ------------------------------------------------------------------------------------ */

static const fj_target there = FJ_TARGET(.topic = "t", .ns = "ns", .version = "1.1");

static void set_up(void)
{
    leaks_begin();
    spy_begin();
    ck_assert_int_eq(fj_event_new("gate", &gate), FJ_OK);
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    server = (served){ .transport = transport, .endpoint = &endpoint };
}

static void tear_down(void)
{
    if (server.server != NULL)
        served_end(&server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    err = fj_error_free(err);
    json_decref(result);
    fj_event_free(gate);
    leaks_end("an interceptor's test");
}

static void start(const char *executor, spy *const *spies)
{
    server.executor = executor;
    server.spies = spies;
    served_start(&server);
}

static fj_code call(const char *method, const char *x)
{
    json_decref(result);
    result = NULL;
    err = fj_error_free(err);
    return fj_client_call(client, method, json_pack("{s:s}", "x", x), NULL, &result, &err);
}

static fj_request *take_kept(void)
{
    spy_await("kept");
    return atomic_exchange(&kept, NULL);
}

/* ---- around every flavour ----------------------------------------------------------------------- */

static bool on_loop(void)
{
    return strcmp(server.executor, "blocking") != 0 && strcmp(server.executor, "threading") != 0;
}

/* Where the method is, its interceptors are; and there they may wait. */
static void is_where_the_method_is(const fj_rpc *rpc)
{
    fj_flavour flavour = fj_request_chosen(fj_rpc_request(rpc))->flavour;

    ck_assert_ptr_eq(fj_request_current(), fj_rpc_request(rpc));
    ck_assert(fj_rpc_may_wait(rpc));
    ck_assert_int_eq(fj_task_current() != NULL, on_loop() || flavour != FJ_PLAIN);
    ck_assert_int_eq(fj_sleep(fj_now()), FJ_OK);
    if (fj_task_current() != NULL)
        ck_assert_int_eq(fj_yield(), FJ_OK);
}

static fj_code begin_there(spy *s, fj_rpc *rpc, fj_error **error)
{
    json_t *args = fj_rpc_edit_args(rpc);
    (void)error;

    is_where_the_method_is(rpc);
    ck_assert_int_eq(fj_rpc_kind_of(rpc), FJ_RPC_CALL);
    ck_assert_str_eq(fj_rpc_target(rpc)->topic, "t");
    ck_assert_str_eq(fj_rpc_target(rpc)->server, "s");
    ck_assert_str_eq(fj_rpc_target(rpc)->ns, "ns");
    ck_assert_str_eq(fj_rpc_target(rpc)->version, "1.1");
    const char *before = json_string_value(json_object_get(args, "x"));
    ck_assert_int_eq(json_object_set_new(args, "x", json_sprintf("%s>%s", before, s->name)), 0);
    return FJ_OK;
}

static void end_there(spy *s, fj_rpc *rpc)
{
    is_where_the_method_is(rpc);
    ck_assert_int_eq(fj_rpc_code(rpc), FJ_OK);
    fj_rpc_answer(rpc, json_sprintf("%s<%s", json_string_value(fj_rpc_result(rpc)), s->name));
}

START_TEST(begins_and_ends_run_where_the_method_does_may_wait_there_and_see_each_others_changes)
{
    static spy a = { .name = "a", .server_begin = begin_there, .server_end = end_there },
               b = { .name = "b", .server_begin = begin_there, .server_end = end_there };
    static spy *const spies[] = { &a, &b, NULL };

    start(executors[_i / 3], spies);
    ck_assert_int_eq(call(flavours[_i % 3].method, "x"), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "x>a>b<b<a");
    spy_expect("a>s b>s b<s:OK a<s:OK");
}
END_TEST

/* ---- instead of the method ---------------------------------------------------------------------- */

static fj_code refuse(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)rpc;
    return fj_fail(error, FJ_ACCESS, "%s does not want it", s->name);
}

static fj_code answer(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)error;
    fj_rpc_answer(rpc, json_string(s->name));
    return FJ_OK;
}

START_TEST(one_that_refuses_fails_the_request_and_no_method_runs)
{
    static spy a = { .name = "a" }, b = { .name = "b", .server_begin = refuse }, c = { .name = "c" };
    static spy *const spies[] = { &a, &b, &c, NULL };

    start(executors[_i / 3], spies);
    ck_assert_int_eq(call(flavours[_i % 3].method, "x"), FJ_REMOTE);
    ck_assert_str_eq(fj_error_remote_class(err), "PermissionError");
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "b does not want it"));
    spy_expect("a>s b>s a<s:ACCESS");
}
END_TEST

START_TEST(one_that_answers_itself_hears_the_end_and_no_method_runs)
{
    static spy a = { .name = "a" }, b = { .name = "b", .server_begin = answer }, c = { .name = "c" };
    static spy *const spies[] = { &a, &b, &c, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(call("plain", "x"), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "b");
    spy_expect("a>s b>s b<s:OK a<s:OK");
}
END_TEST

static fj_code set_user(spy *s, fj_rpc *rpc, fj_error **error)
{
    json_t *context = fj_rpc_edit_context(rpc);
    (void)error;

    ck_assert_ptr_eq(fj_rpc_edit_context(rpc), context);
    ck_assert_ptr_eq(fj_rpc_context(rpc), context);
    ck_assert_int_eq(json_object_set_new(context, "user", json_string(s->name)), 0);
    ck_assert_int_eq(fj_rpc_set_method(rpc, "plain", NULL), FJ_STATE); /* it is chosen */
    return FJ_OK;
}

START_TEST(one_may_change_the_context_that_the_method_sees)
{
    static spy a = { .name = "a", .server_begin = set_user }, b = { .name = "b", .server_begin = set_user };
    static spy *const spies[] = { &a, &b, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(call("who", "x"), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "b");
}
END_TEST

static fj_code wrapper(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    spy_note("wrap>");
    fj_code code = fj_invoke_direct(user, req, args, ret, error);
    spy_note("<wrap");
    return code;
}

START_TEST(they_are_around_the_users_wrapper)
{
    static spy a = { .name = "a" };
    static spy *const spies[] = { &a, NULL };

    server.wrap = wrapper;
    start(executors[_i], spies);
    ck_assert_int_eq(call("coro", "x"), FJ_OK);
    spy_expect("a>s wrap> <wrap a<s:OK");
}
END_TEST

START_TEST(one_is_added_before_the_server_is_started)
{
    static spy a = { .name = "a" };

    start("threading", NULL);
    ck_assert_int_eq(fj_server_intercept(server.server, &spy_interceptor, &a, NULL), FJ_STATE);
}
END_TEST

/* ---- to every end ------------------------------------------------------------------------------- */

START_TEST(a_method_that_fails_with_a_timeout_is_told_as_such)
{
    static spy a = { .name = "a" };
    static spy *const spies[] = { &a, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(call("late", "x"), FJ_REMOTE);
    spy_expect("a>s a<s:TIMEOUT");
}
END_TEST

static fj_code tell_kind(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)s, (void)error;
    spy_note("%s", fj_rpc_kind_of(rpc) == FJ_RPC_CAST ? "cast" : "call");
    return FJ_OK;
}

START_TEST(the_method_of_a_cast_has_an_end_too)
{
    static spy a = { .name = "a", .server_begin = tell_kind };
    static spy *const spies[] = { &a, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(fj_client_cast(client, "late", NULL, NULL, NULL), FJ_OK);
    spy_expect("cast a>s a<s:TIMEOUT");
}
END_TEST

static void end_elsewhere(spy *s, fj_rpc *rpc)
{
    ck_assert(!fj_rpc_may_wait(rpc));
    ck_assert_str_eq(fj_rpc_method(rpc), "later");
    ck_assert_str_eq(fj_rpc_target(rpc)->server, "s");
    if (fj_rpc_code(rpc) == FJ_OK)
        fj_rpc_answer(rpc, json_sprintf("%s<%s", json_string_value(fj_rpc_result(rpc)), s->name));
}

START_TEST(a_deferred_request_ends_when_it_is_answered_on_whatever_thread)
{
    static spy a = { .name = "a", .server_end = end_elsewhere },
               b = { .name = "b", .server_end = end_elsewhere };
    static spy *const spies[] = { &a, &b, NULL };
    fj_future *future = NULL;

    start(executors[_i], spies);
    ck_assert_int_eq(fj_client_call_async(client, "later", NULL, NULL, &future, NULL), FJ_OK);
    fj_request *req = take_kept();
    spy_expect("a>s b>s kept");
    ck_assert_int_eq(fj_request_reply(req, json_string("late"), NULL), FJ_OK);
    fj_request_unref(req);
    ck_assert_int_eq(fj_future_wait(future, fj_never(), &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "late<b<a");
    fj_future_unref(future);
    spy_expect("a>s b>s kept b<s:OK a<s:OK");
}
END_TEST

START_TEST(a_deferred_request_that_is_failed_or_dropped_ends_so)
{
    static spy a = { .name = "a", .server_end = end_elsewhere };
    static spy *const spies[] = { &a, NULL };
    fj_error *failure = NULL;

    start(executors[_i], spies);
    ck_assert_int_eq(fj_client_cast(client, "later", NULL, NULL, NULL), FJ_OK);
    fj_request *req = take_kept();
    (void)fj_fail(&failure, FJ_CANCELLED, "no more");
    ck_assert_int_eq(fj_request_fail(req, failure, NULL), FJ_OK);
    fj_request_unref(req);
    spy_expect("a>s kept a<s:CANCELLED");
    spy_begin();
    ck_assert_int_eq(fj_client_cast(client, "later", NULL, NULL, NULL), FJ_OK);
    fj_request_unref(take_kept());
    spy_expect("a>s kept a<s:INTERNAL");
}
END_TEST

START_TEST(a_method_that_defers_and_keeps_nothing_ends_with_what_its_caller_hears)
{
    static spy a = { .name = "a" };
    static spy *const spies[] = { &a, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(call("forgets", "x"), FJ_REMOTE);
    spy_expect("a>s a<s:INTERNAL");
}
END_TEST

START_TEST(a_method_that_answers_before_it_returns_has_one_end_the_answers)
{
    static spy a = { .name = "a" };
    static spy *const spies[] = { &a, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(call("early", "x"), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "early");
    spy_expect("a>s a<s:OK returns");
}
END_TEST

START_TEST(a_deferred_request_that_its_server_gives_up_ends)
{
    static spy a = { .name = "a", .server_end = end_elsewhere };
    static spy *const spies[] = { &a, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(fj_client_cast(client, "later", NULL, NULL, NULL), FJ_OK);
    fj_request *req = take_kept();
    fj_server_stop(server.server);
    (void)fj__server_abort(server.server);
    served_end(&server);
    spy_expect("a>s kept a<s:CLOSED");
    fj_request_unref(req);
}
END_TEST

START_TEST(a_method_that_is_killed_ends_as_cancelled)
{
    static spy a = { .name = "a" };
    static spy *const spies[] = { &a, NULL };

    start(executors[2 + _i], spies); /* those on a loop: a thread cannot be */
    ck_assert_int_eq(fj_client_cast(client, "hangs", NULL, NULL, NULL), FJ_OK);
    spy_await("hangs");
    fj_server_stop(server.server);
    ck_assert(fj__server_abort(server.server));
    served_end(&server);
    spy_expect("a>s hangs a<s:CANCELLED");
}
END_TEST

static fj_code keep(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)s, (void)error;
    atomic_store(&kept, fj_request_ref(fj_rpc_request(rpc)));
    spy_note("kept");
    return FJ_DEFERRED;
}

START_TEST(one_may_keep_the_request_and_answer_it_later)
{
    static spy a = { .name = "a" }, b = { .name = "b", .server_begin = keep };
    static spy *const spies[] = { &a, &b, NULL };
    fj_future *future = NULL;

    start(executors[_i], spies);
    ck_assert_int_eq(fj_client_call_async(client, "plain", NULL, NULL, &future, NULL), FJ_OK);
    spy_expect("a>s kept b>s");
    fj_request *req = take_kept();
    ck_assert_int_eq(fj_request_reply(req, json_string("by b"), NULL), FJ_OK);
    fj_request_unref(req);
    ck_assert_int_eq(fj_future_wait(future, fj_never(), &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "by b");
    fj_future_unref(future);
    spy_expect("a>s kept b>s a<s:OK");
}
END_TEST

static fj_code reply_now(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)error;
    return fj_request_reply(fj_rpc_request(rpc), json_string(s->name), NULL);
}

START_TEST(one_that_answers_the_request_in_its_begin_stops_it_there)
{
    static spy a = { .name = "a" }, b = { .name = "b", .server_begin = reply_now }, c = { .name = "c" };
    static spy *const spies[] = { &a, &b, &c, NULL };

    start(executors[_i], spies);
    ck_assert_int_eq(call("plain", "x"), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "b");
    spy_expect("a>s a<s:OK b>s");
}
END_TEST

/* ---- within another server's -------------------------------------------------------------------- */

/* Where an explicit method runs off a loop, looking for another server's methods around it comes to an end. */
static fj_code looks_around(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;
    fj_dispatcher *other = NULL;

    (void)req, (void)args, (void)error;
    ck_assert_int_eq(fj_dispatcher_new(&opts, &other, NULL), FJ_OK);
    *ret = json_boolean(fj_dispatcher_here(other));
    fj_dispatcher_free(other);
    return FJ_OK;
}

static const fj_method around[] = { FJ_METHOD("plain", FJ_PLAIN, looks_around),
                                    FJ_METHOD("green", FJ_GREEN, looks_around),
                                    FJ_METHOD("coro", FJ_CORO, looks_around) };
static const fj_endpoint around_endpoint = FJ_ENDPOINT("ns", "1.2", around);

START_TEST(a_request_is_not_within_itself)
{
    static spy a = { .name = "a" };
    static spy *const spies[] = { &a, NULL };

    server.endpoint = &around_endpoint;
    start(executors[_i / 3], _i % 2 == 0 ? spies : NULL);
    ck_assert_int_eq(call(flavours[_i % 3].method, "x"), FJ_OK);
    ck_assert(json_is_false(result));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("interceptor_server");
    TCase *tc = tcase_create("server");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(
        tc, begins_and_ends_run_where_the_method_does_may_wait_there_and_see_each_others_changes, 0, CELLS);
    tcase_add_loop_test(tc, one_that_refuses_fails_the_request_and_no_method_runs, 0, CELLS);
    tcase_add_loop_test(tc, one_that_answers_itself_hears_the_end_and_no_method_runs, 0, EXECUTORS);
    tcase_add_loop_test(tc, one_may_change_the_context_that_the_method_sees, 0, EXECUTORS);
    tcase_add_loop_test(tc, they_are_around_the_users_wrapper, 0, EXECUTORS);
    tcase_add_test(tc, one_is_added_before_the_server_is_started);
    tcase_add_loop_test(tc, a_method_that_fails_with_a_timeout_is_told_as_such, 0, EXECUTORS);
    tcase_add_loop_test(tc, the_method_of_a_cast_has_an_end_too, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_deferred_request_ends_when_it_is_answered_on_whatever_thread, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_deferred_request_that_is_failed_or_dropped_ends_so, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_method_that_defers_and_keeps_nothing_ends_with_what_its_caller_hears, 0,
                        EXECUTORS);
    tcase_add_loop_test(tc, a_method_that_answers_before_it_returns_has_one_end_the_answers, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_deferred_request_that_its_server_gives_up_ends, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_method_that_is_killed_ends_as_cancelled, 0, 3);
    tcase_add_loop_test(tc, one_may_keep_the_request_and_answer_it_later, 0, EXECUTORS);
    tcase_add_loop_test(tc, one_that_answers_the_request_in_its_begin_stops_it_there, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_request_is_not_within_itself, 0, CELLS);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
