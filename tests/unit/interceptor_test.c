/* SPDX-License-Identifier: Apache-2.0 */
/* Interceptors around a client's calls and casts, their order, and how they are opened. */
#include "tests/support/leaks.h"
#include "tests/support/spy.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static fj_transport *transport;
static fj_client *client;
static served server;
static fj_error *err;
static json_t *result;

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
    *ret = json_deep_copy(json_object_get(fj_request_context(req), "user"));
    return FJ_OK;
}

static fj_code boom(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)req, (void)args, (void)ret;
    return fj_raise(error, "shop.exception", "Boom", NULL, "it went off");
}

static fj_code tell(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    (void)req, (void)ret, (void)error;
    spy_note("told:%s", json_string_value(json_object_get(args, "x")));
    return FJ_OK;
}

static fj_event *gate;

static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **error)
{
    fj_code code = fj_event_wait(gate, fj_never());

    return code == FJ_OK ? echo(req, args, ret, error) : code;
}

static const fj_method methods[] = {
    FJ_METHOD("hold", FJ_PLAIN, hold), FJ_METHOD("echo", FJ_PLAIN, echo), FJ_METHOD("who", FJ_PLAIN, who),
    FJ_METHOD("boom", FJ_PLAIN, boom), FJ_METHOD("tell", FJ_PLAIN, tell),
};
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.2", methods);

/* ---- the rig ------------------------------------------------------------------------------------ */

static const fj_target there = FJ_TARGET(.topic = "t");

static void set_up(void)
{
    leaks_begin();
    spy_begin();
    ck_assert_int_eq(fj_event_new("gate", &gate), FJ_OK);
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    server = (served){ .transport = transport, .executor = "threading", .endpoint = &endpoint };
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

static void new_client(const fj_client_opts *opts)
{
    ck_assert_int_eq(fj_client_new(transport, &there, opts, &client, NULL), FJ_OK);
}

static void put(spy *s)
{
    if (client == NULL)
        new_client(NULL);
    ck_assert_int_eq(fj_client_intercept(client, &spy_interceptor, s, NULL), FJ_OK);
}

static fj_code call(const char *method, json_t *args)
{
    json_decref(result);
    result = NULL;
    err = fj_error_free(err);
    return fj_client_call(client, method, args, NULL, &result, &err);
}

static json_t *x(const char *text)
{
    return json_pack("{s:s}", "x", text);
}

/* ---- what they do ------------------------------------------------------------------------------- */

static fj_code add_letter(spy *s, fj_rpc *rpc, fj_error **error)
{
    json_t *args = fj_rpc_edit_args(rpc);
    const char *before = json_string_value(json_object_get(args, "x"));
    (void)error;

    ck_assert_int_eq(
        json_object_set_new(args, "x", json_sprintf("%s%s", before != NULL ? before : "", s->name)), 0);
    return FJ_OK;
}

static fj_code set_user(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)error;
    ck_assert_int_eq(json_object_set_new(fj_rpc_edit_context(rpc), "user", json_string(s->name)), 0);
    return FJ_OK;
}

static fj_code answer(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)error;
    fj_rpc_answer(rpc, json_string(s->name));
    return FJ_OK;
}

static fj_code refuse(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)rpc;
    return fj_fail(error, FJ_ACCESS, "%s does not want it", s->name);
}

static void forgive(spy *s, fj_rpc *rpc)
{
    if (fj_rpc_code(rpc) != FJ_OK)
        fj_rpc_answer(rpc, json_string(s->name));
}

static void spoil(spy *s, fj_rpc *rpc)
{
    fj_error *error = NULL;

    (void)fj_fail(&error, FJ_USER + 1, "%s spoils it", s->name);
    fj_rpc_fail(rpc, error);
}

static void tell_sent(spy *s, fj_rpc *rpc)
{
    (void)s;
    spy_note("sent:%s", fj_sent_name(fj_rpc_sent(rpc)));
}

/* ---- order -------------------------------------------------------------------------------------- */

START_TEST(the_transports_are_outside_the_clients_and_the_servers_and_the_first_is_the_outermost)
{
    static spy a = { .name = "a" }, b = { .name = "b" }, c = { .name = "c" }, d = { .name = "d" },
               e = { .name = "e" };
    static spy *const of_server[] = { &e, NULL };

    ck_assert_int_eq(fj_transport_intercept(transport, &spy_interceptor, &a, NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_intercept(transport, &spy_interceptor, &b, NULL), FJ_OK);
    server.spies = of_server;
    served_start(&server);
    put(&c);
    put(&d);
    ck_assert_int_eq(call("echo", x("1")), FJ_OK);
    spy_expect("a>c b>c c>c d>c a>s b>s e>s e<s:OK b<s:OK a<s:OK d<c:OK c<c:OK b<c:OK a<c:OK");
}
END_TEST

START_TEST(each_sees_what_those_before_it_changed)
{
    static spy a = { .name = "a", .client_begin = add_letter }, b = { .name = "b", .client_begin = add_letter };

    served_start(&server);
    put(&a);
    put(&b);
    ck_assert_int_eq(call("echo", x("1")), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "1ab");
    ck_assert_int_eq(call("echo", NULL), FJ_OK); /* there were no arguments */
    ck_assert_str_eq(json_string_value(result), "ab");
}
END_TEST

START_TEST(what_the_caller_holds_is_left_as_it_was)
{
    static spy a = { .name = "a", .client_begin = add_letter }, b = { .name = "b", .client_begin = set_user };
    json_t *args = x("1"), *context = json_pack("{s:s}", "user", "me");
    fj_call_opts opts = FJ_CALL_OPTS_INIT;

    opts.context = context;
    served_start(&server);
    put(&a);
    put(&b);
    ck_assert_int_eq(fj_client_call(client, "who", json_incref(args), &opts, &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "b");
    ck_assert_str_eq(json_string_value(json_object_get(args, "x")), "1");
    ck_assert_str_eq(json_string_value(json_object_get(context, "user")), "me");
    json_decref(args);
    json_decref(context);
}
END_TEST

static fj_code redirect(spy *s, fj_rpc *rpc, fj_error **error)
{
    fj_target target = FJ_TARGET(.topic = "t", .server = s->name);

    ck_assert_str_eq(fj_rpc_target(rpc)->topic, "elsewhere");
    ck_assert_str_eq(fj_rpc_method(rpc), "nonsense");
    ck_assert_int_eq(fj_rpc_set_target(rpc, &target, error), FJ_OK);
    ck_assert_int_eq(fj_rpc_set_target(rpc, &target, error), FJ_OK);
    ck_assert_int_eq(fj_rpc_set_method(rpc, "nothing", error), FJ_OK);
    ck_assert_int_eq(fj_rpc_set_method(rpc, "echo", error), FJ_OK);
    return FJ_OK;
}

START_TEST(one_may_change_where_a_call_goes_and_what_it_asks_for)
{
    static spy s = { .name = "s", .client_begin = redirect };
    fj_call_opts opts = FJ_CALL_OPTS_INIT;

    opts.topic = "elsewhere";
    served_start(&server);
    put(&s);
    ck_assert_int_eq(fj_client_call(client, "nonsense", x("1"), &opts, &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "1");
}
END_TEST

/* ---- instead of the call ------------------------------------------------------------------------ */

START_TEST(one_that_answers_itself_stops_the_call_there_and_hears_its_end)
{
    static spy a = { .name = "a", .client_end = tell_sent }, b = { .name = "b", .client_begin = answer },
               c = { .name = "c" };

    served_start(&server);
    put(&a);
    put(&b);
    put(&c);
    ck_assert_int_eq(call("echo", x("1")), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "b");
    spy_expect("a>c b>c b<c:OK sent:no a<c:OK");
}
END_TEST

START_TEST(one_that_refuses_fails_the_call_and_only_those_outside_of_it_hear_the_end)
{
    static spy a = { .name = "a", .client_end = tell_sent }, b = { .name = "b", .client_begin = refuse },
               c = { .name = "c" };

    put(&a);
    put(&b);
    put(&c);
    ck_assert_int_eq(call("echo", x("1")), FJ_ACCESS);
    ck_assert_str_eq(fj_error_text(err), "b does not want it");
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    spy_expect("a>c b>c sent:no a<c:ACCESS");
}
END_TEST

static fj_code refuse_shortly(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)s, (void)rpc, (void)error;
    return FJ_BUSY;
}

START_TEST(a_bare_code_is_told_with_its_text)
{
    static spy a = { .name = "a" }, b = { .name = "b", .client_begin = refuse_shortly };

    put(&a);
    put(&b);
    ck_assert_int_eq(call("echo", x("1")), FJ_BUSY);
    ck_assert_str_eq(fj_error_text(err), fj_code_text(FJ_BUSY));
}
END_TEST

START_TEST(an_end_may_make_a_result_of_a_failure_and_those_outside_see_that)
{
    static spy a = { .name = "a", .client_end = tell_sent }, b = { .name = "b", .client_end = forgive },
               c = { .name = "c" };

    served_start(&server);
    put(&a);
    put(&b);
    put(&c);
    ck_assert_int_eq(call("boom", NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "b");
    spy_expect("a>c b>c c>c c<c:REMOTE b<c:REMOTE sent:yes a<c:OK");
}
END_TEST

START_TEST(an_end_may_make_a_failure_of_a_result_and_it_stays_sent)
{
    static spy a = { .name = "a" }, b = { .name = "b", .client_end = spoil };

    served_start(&server);
    put(&a);
    put(&b);
    ck_assert_int_eq(call("echo", x("1")), (fj_code)(FJ_USER + 1));
    ck_assert_str_eq(fj_error_text(err), "b spoils it");
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_YES);
    spy_expect("a>c b>c b<c:OK a<c:USER");
}
END_TEST

/* ---- the outcome -------------------------------------------------------------------------------- */

static fj_code hurry(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)s;
    ck_assert(!fj_is_never(fj_rpc_deadline(rpc)));
    return fj_rpc_set_deadline(rpc, fj_in_ms(20), error);
}

START_TEST(a_call_that_times_out_is_told_as_such_by_the_deadline_that_an_interceptor_set)
{
    static spy a = { .name = "a", .client_end = tell_sent }, b = { .name = "b", .client_begin = hurry };

    put(&a);
    put(&b);
    ck_assert_int_eq(call("echo", x("1")), FJ_TIMEOUT); /* in less than the 60 s that the client gives it */
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_YES);
    spy_expect("a>c b>c b<c:TIMEOUT sent:yes a<c:TIMEOUT");
}
END_TEST

static fj_code calls_in_vain(void *user, json_t **ret, fj_error **error)
{
    (void)user;
    return fj_client_call(client, "echo", NULL, NULL, ret, error);
}

START_TEST(a_call_of_a_task_that_is_cancelled_is_told_as_cancelled)
{
    static spy a = { .name = "a" };
    fj_loop *loop = NULL;
    fj_task *task = NULL;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    put(&a);
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    opts.loop = loop;
    ck_assert_int_eq(fj_task_spawn(calls_in_vain, NULL, &opts, &task, NULL), FJ_OK);
    while (fj_task_waits_for(task) == NULL)
        ck_assert_int_eq(fj_loop_turn(loop, fj_never(), NULL), FJ_OK);
    ck_assert(fj_task_cancel(task)); /* it waits for an answer that nobody will give */
    ck_assert_int_eq(fj_loop_run_until_complete(loop, fj_task_future(task), NULL, NULL), FJ_CANCELLED);
    fj_task_unref(task);
    client = fj_client_free(client); /* with what it has at the loop */
    transport = fj_transport_free(transport);
    fj_loop_free(loop);
    spy_expect("a>c a<c:CANCELLED");
}
END_TEST

START_TEST(they_see_the_code_that_the_client_maps_a_remote_failure_to)
{
    static const fj_remote_error rules[] = { { "shop.exception", "Boom", FJ_USER + 7 } };
    fj_client_opts opts = FJ_CLIENT_OPTS_INIT;
    static spy a = { .name = "a" };

    opts.remote_errors = rules;
    opts.remote_errors_count = 1;
    served_start(&server);
    new_client(&opts);
    put(&a);
    ck_assert_int_eq(call("boom", NULL), (fj_code)(FJ_USER + 7));
    spy_expect("a>c a<c:USER");
}
END_TEST

static fj_code louder(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **error)
{
    (void)user, (void)context, (void)error;
    *ret = json_sprintf("%s!", json_string_value(in));
    return FJ_OK;
}

static fj_code see_plain(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)s, (void)error;
    ck_assert_str_eq(json_string_value(json_object_get(fj_rpc_args(rpc), "x")), "hm");
    return FJ_OK;
}

static void see_final(spy *s, fj_rpc *rpc)
{
    (void)s;
    ck_assert_ptr_null(fj_rpc_args(rpc));
    ck_assert_ptr_null(fj_rpc_edit_args(rpc));
    ck_assert_ptr_null(fj_rpc_edit_context(rpc));
    ck_assert_int_eq(fj_rpc_set_method(rpc, "echo", NULL), FJ_STATE);
    ck_assert_str_eq(json_string_value(fj_rpc_result(rpc)), "hm!!");
}

START_TEST(they_are_on_the_applications_side_of_serializers_and_change_nothing_that_is_gone)
{
    fj_serializer serializer = FJ_SERIALIZER_INIT;
    fj_client_opts opts = FJ_CLIENT_OPTS_INIT;
    static spy a = { .name = "a", .client_begin = see_plain, .client_end = see_final };

    serializer.entity_out = louder;
    serializer.entity_in = louder;
    opts.serializer = &serializer;
    served_start(&server);
    new_client(&opts);
    put(&a);
    ck_assert_int_eq(call("echo", x("hm")), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "hm!!");
}
END_TEST

static fj_code count_begin(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)s, (void)error;
    ck_assert_ptr_null(*fj_rpc_data(rpc));
    *fj_rpc_data(rpc) = malloc(1);
    return FJ_OK;
}

static void count_end(spy *s, fj_rpc *rpc)
{
    (void)s;
    ck_assert_ptr_nonnull(*fj_rpc_data(rpc));
    free(*fj_rpc_data(rpc)); /* a sanitizer would tell if it were another's */
}

START_TEST(each_keeps_something_of_its_own_from_begin_to_end_of_each_call)
{
    static spy a = { .name = "a", .client_begin = count_begin, .client_end = count_end },
               b = { .name = "b", .client_begin = count_begin, .client_end = count_end };

    served_start(&server);
    put(&a);
    put(&b);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(call("echo", x("1")), FJ_OK);
}
END_TEST

/* ---- without waiting ---------------------------------------------------------------------------- */

static fj_code no_wait(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)s, (void)error;
    ck_assert(!fj_rpc_may_wait(rpc));
    ck_assert_int_eq(json_object_set_new(fj_rpc_edit_args(rpc), "x", json_string("changed")), 0);
    return FJ_OK;
}

static void see_names(spy *s, fj_rpc *rpc)
{
    ck_assert(!fj_rpc_may_wait(rpc));
    ck_assert_str_eq(fj_rpc_method(rpc), "hold");
    ck_assert_str_eq(fj_rpc_target(rpc)->topic, "t");
    ck_assert_str_eq(json_string_value(json_object_get(fj_rpc_context(rpc), "user")), "me");
    fj_rpc_answer(rpc, json_sprintf("%s by %s", json_string_value(fj_rpc_result(rpc)), s->name));
}

START_TEST(an_asynchronous_call_is_intercepted_when_all_of_its_caller_is_gone)
{
    static spy a = { .name = "a", .client_begin = no_wait, .client_end = see_names };
    char method[] = "hold", topic[] = "t";
    json_t *context = json_pack("{s:s}", "user", "me");
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    opts.context = context;
    opts.topic = topic;
    served_start(&server);
    put(&a);
    ck_assert_int_eq(fj_client_call_async(client, method, x("1"), &opts, &future, NULL), FJ_OK);
    memset(method, 'x', sizeof method - 1);
    memset(topic, 'x', sizeof topic - 1);
    json_object_clear(context);
    json_decref(context);
    client = fj_client_free(client);
    fj_event_set(gate);
    ck_assert_int_eq(fj_future_wait(future, fj_never(), &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "changed by a");
    fj_future_unref(future);
    spy_expect("a>c a<c:OK");
}
END_TEST

static void *waits(void *user)
{
    json_t *got = NULL;

    ck_assert_int_eq(fj_future_wait(user, fj_never(), &got, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(got), "1");
    json_decref(got);
    return NULL;
}

START_TEST(several_threads_that_wait_for_one_call_have_its_one_end)
{
    static spy a = { .name = "a" };
    fj_future *future = NULL;
    pthread_t threads[4];

    served_start(&server);
    put(&a);
    ck_assert_int_eq(fj_client_call_async(client, "hold", x("1"), NULL, &future, NULL), FJ_OK);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, waits, future), 0);
    fj_event_set(gate);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    fj_future_unref(future);
    spy_expect("a>c a<c:OK");
}
END_TEST

START_TEST(an_asynchronous_call_that_is_given_up_ends_once_as_cancelled)
{
    static spy a = { .name = "a" };
    fj_future *future = NULL;

    put(&a);
    ck_assert_int_eq(fj_client_call_async(client, "echo", x("1"), NULL, &future, NULL), FJ_OK);
    ck_assert(fj_future_cancel(future));
    fj_future_unref(future);
    spy_expect("a>c a<c:CANCELLED");
}
END_TEST

START_TEST(an_asynchronous_call_that_is_refused_is_known_at_once)
{
    static spy a = { .name = "a" }, b = { .name = "b", .client_begin = refuse };
    fj_future *future = NULL;

    put(&a);
    put(&b);
    ck_assert_int_eq(fj_client_call_async(client, "echo", x("1"), NULL, &future, &err), FJ_ACCESS);
    ck_assert_ptr_null(future);
    ck_assert_int_eq(fj_client_cast_async(client, "echo", x("1"), NULL, NULL, NULL), FJ_ACCESS);
    spy_expect("a>c b>c a<c:ACCESS a>c b>c a<c:ACCESS");
}
END_TEST

START_TEST(an_asynchronous_call_that_is_answered_here_is_complete_at_once)
{
    static spy a = { .name = "a", .client_begin = answer };
    fj_future *future = NULL;

    put(&a);
    ck_assert_int_eq(fj_client_call_async(client, "echo", x("1"), NULL, &future, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_result(future, &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "a");
    fj_future_unref(future);
}
END_TEST

START_TEST(an_asynchronous_call_that_cannot_be_sent_ends_with_why)
{
    static spy a = { .name = "a" };
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    opts.fanout = true;
    put(&a);
    ck_assert_int_eq(fj_client_call_async(client, "echo", x("1"), &opts, &future, NULL), FJ_BAD_TARGET);
    spy_expect("a>c a<c:BAD_TARGET");
}
END_TEST

/* ---- casts -------------------------------------------------------------------------------------- */

static fj_code tell_kind(spy *s, fj_rpc *rpc, fj_error **error)
{
    static const char *const kinds[] = { "call", "cast", "fanout" };

    spy_note("%s", kinds[fj_rpc_kind_of(rpc)]);
    return add_letter(s, rpc, error);
}

START_TEST(casts_and_fanouts_are_intercepted_as_what_they_are)
{
    static spy a = { .name = "a", .client_begin = tell_kind, .client_end = tell_sent };
    fj_call_opts opts = FJ_CALL_OPTS_INIT;

    server.executor = "blocking";
    served_start(&server);
    put(&a);
    ck_assert_int_eq(fj_client_cast(client, "tell", x("1"), NULL, NULL), FJ_OK);
    spy_await("told:1a");
    opts.fanout = true;
    ck_assert_int_eq(fj_client_cast(client, "tell", x("2"), &opts, NULL), FJ_OK);
    spy_await("told:2a");
    spy_await("fanout");
    spy_await("sent:yes");
}
END_TEST

START_TEST(a_flush_waits_for_the_ends_of_casts)
{
    static spy a = { .name = "a", .client_end = spoil };

    served_start(&server);
    put(&a);
    ck_assert_int_eq(fj_client_cast_async(client, "echo", x("1"), NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_flush(client, fj_never(), &err), (fj_code)(FJ_USER + 1));
    ck_assert_str_eq(fj_error_text(err), "a spoils it");
    spy_expect("a>c a<c:OK");
}
END_TEST

static fj_code never_called(spy *s, fj_rpc *rpc, fj_error **error)
{
    (void)rpc, (void)error;
    ck_abort_msg("%s began", s->name);
    return FJ_OK;
}

static void call_back(fj_loop *loop, void *user)
{
    fj_code *code = user;

    *code = fj_client_call(client, "echo", x("1"), NULL, NULL, NULL);
    fj_loop_stop(loop);
}

START_TEST(a_call_that_may_not_wait_here_is_refused_before_they_begin)
{
    static spy a = { .name = "a", .client_begin = never_called };
    fj_loop *loop = NULL;
    fj_code code = FJ_OK;

    put(&a);
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_soon(loop, call_back, &code, "call", NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    ck_assert_int_eq(code, FJ_WRONG_CONTEXT);
    fj_loop_free(loop);
}
END_TEST

/* ---- open and close ----------------------------------------------------------------------------- */

START_TEST(each_is_opened_once_and_closed_with_the_last_that_has_it)
{
    static spy a = { .name = "a", .tells = true }, b = { .name = "b", .tells = true };
    fj_client *second = NULL;

    ck_assert_int_eq(fj_transport_intercept(transport, &spy_interceptor, &a, NULL), FJ_OK);
    put(&b);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &second, NULL), FJ_OK);
    spy_expect("a+ b+");
    client = fj_client_free(client);
    spy_expect("a+ b+ b-");
    fj_client_free(second);
    transport = fj_transport_free(transport);
    spy_expect("a+ b+ b- a-");
}
END_TEST

START_TEST(one_that_cannot_be_opened_is_named_and_not_put_in)
{
    static spy a = { .name = "a", .opens = FJ_USER + 3, .client_begin = never_called };

    new_client(NULL);
    ck_assert_int_eq(fj_client_intercept(client, &spy_interceptor, &a, &err), (fj_code)(FJ_USER + 3));
    ck_assert_str_eq(fj_error_text(err), "the interceptor spy cannot be opened: not with interceptor:spy");
    served_start(&server);
    ck_assert_int_eq(call("echo", x("1")), FJ_OK);
}
END_TEST

START_TEST(a_broken_table_is_refused)
{
    fj_interceptor other = spy_interceptor;

    new_client(NULL);
    other.abi++;
    ck_assert_int_eq(fj_client_intercept(client, &other, NULL, NULL), FJ_BAD_ARGS);
    other = spy_interceptor;
    other.name = NULL;
    ck_assert_int_eq(fj_transport_intercept(transport, &other, NULL, NULL), FJ_BAD_ARGS);
    ck_assert_int_eq(fj_transport_intercept(transport, NULL, NULL, NULL), FJ_BAD_ARGS);
}
END_TEST

START_TEST(a_table_with_nothing_in_it_lets_everything_pass)
{
    static const fj_interceptor nothing = FJ_INTERCEPTOR(.name = "nothing");

    ck_assert_int_eq(fj_transport_intercept(transport, &nothing, NULL, NULL), FJ_OK);
    new_client(NULL);
    served_start(&server);
    ck_assert_int_eq(call("echo", x("1")), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "1");
    ck_assert_int_eq(call("boom", NULL), FJ_REMOTE);
}
END_TEST

/* ---- from the configuration --------------------------------------------------------------------- */

/* build/plugins/token.so, which tests/run says where it is. */
static fj_conf *conf_of(const char *list, const char *token)
{
    static const char format[] = "[DEFAULT]\ntransport_url = fake://\n[fjord]\ninterceptors = %s\n"
                                 "plugin_dir = %s\n[interceptor:token]\n%s\n";
    const char *path = getenv("FJ_TEST_INTERCEPTOR");
    char text[1024], dir[512];
    fj_conf *conf = fj_conf_new();

    (void)snprintf(dir, sizeof dir, "%s", path != NULL ? path : "build/plugins/token.so");
    char *slash = strrchr(dir, '/');
    *slash = '\0';
    char *whole = realpath(dir, NULL);
    ck_assert_ptr_nonnull(whole);
    (void)snprintf(text, sizeof text, format, list, whole, token);
    free(whole);
    ck_assert_int_eq(fj_conf_parse(conf, "test", text, strlen(text), NULL), FJ_OK);
    return conf;
}

static fj_transport *open_with(const char *list, const char *token)
{
    fj_conf *conf = conf_of(list, token);
    fj_transport *t = NULL;

    err = fj_error_free(err);
    fj_code code = fj_transport_open(conf, NULL, &t, &err);
    fj_conf_free(conf);
    ck_assert_int_eq(code == FJ_OK, t != NULL);
    return t;
}

/* A call of "who" by a client of @p from; the code it ends with. */
static fj_code call_from(fj_transport *from)
{
    json_decref(result);
    result = NULL;
    err = fj_error_free(err);
    client = fj_client_free(client);
    ck_assert_int_eq(fj_client_new(from, &there, NULL, &client, NULL), FJ_OK);
    fj_code code = fj_client_call(client, "echo", x("1"), NULL, &result, &err);
    client = fj_client_free(client);
    return code;
}

START_TEST(a_plug_in_of_the_configuration_is_around_what_its_transport_makes)
{
    fj_transport *plain = transport, *wrong = open_with("token", "token = guess");

    transport = server.transport = open_with("token", "token = word");
    ck_assert_ptr_nonnull(transport);
    served_start(&server);
    ck_assert_int_eq(call_from(transport), FJ_OK);
    ck_assert_int_eq(call_from(plain), FJ_REMOTE);
    ck_assert_str_eq(fj_error_remote_class(err), "PermissionError");
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "echo is not for who does not know the token"));
    ck_assert_int_eq(call_from(wrong), FJ_REMOTE);
    fj_transport_free(plain);
    fj_transport_free(wrong);
}
END_TEST

START_TEST(a_plug_in_that_cannot_be_opened_is_named_and_the_transport_not_opened)
{
    ck_assert_ptr_null(open_with("token", ""));
    ck_assert_int_eq(fj_error_code(err), FJ_BAD_CONFIG);
    ck_assert_str_eq(fj_error_text(err),
                     "the interceptor token cannot be opened: [interceptor:token] needs a token");
}
END_TEST

START_TEST(a_plug_in_that_there_is_not_is_named)
{
    ck_assert_ptr_null(open_with("token, nonsense", "token = word"));
    ck_assert_int_eq(fj_error_code(err), FJ_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "no interceptor \"nonsense\""));
    ck_assert_ptr_null(open_with("/nonexistent/token.so", "token = word"));
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "/nonexistent/token.so"));
    ck_assert_ptr_null(open_with("serial", "")); /* which is an executor */
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "does not export fj_interceptor_plugin"));
}
END_TEST

START_TEST(the_section_of_a_path_is_its_last_part)
{
    const char *path = getenv("FJ_TEST_INTERCEPTOR");
    char *whole = realpath(path != NULL ? path : "build/plugins/token.so", NULL);

    fj_transport *t = open_with(whole, "token = word");
    ck_assert_ptr_nonnull(t);
    fj_transport_free(t);
    free(whole);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("interceptor");
    TCase *tc = tcase_create("client");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, the_transports_are_outside_the_clients_and_the_servers_and_the_first_is_the_outermost);
    tcase_add_test(tc, each_sees_what_those_before_it_changed);
    tcase_add_test(tc, what_the_caller_holds_is_left_as_it_was);
    tcase_add_test(tc, one_may_change_where_a_call_goes_and_what_it_asks_for);
    tcase_add_test(tc, one_that_answers_itself_stops_the_call_there_and_hears_its_end);
    tcase_add_test(tc, one_that_refuses_fails_the_call_and_only_those_outside_of_it_hear_the_end);
    tcase_add_test(tc, a_bare_code_is_told_with_its_text);
    tcase_add_test(tc, an_end_may_make_a_result_of_a_failure_and_those_outside_see_that);
    tcase_add_test(tc, an_end_may_make_a_failure_of_a_result_and_it_stays_sent);
    tcase_add_test(tc, a_call_that_times_out_is_told_as_such_by_the_deadline_that_an_interceptor_set);
    tcase_add_test(tc, a_call_of_a_task_that_is_cancelled_is_told_as_cancelled);
    tcase_add_test(tc, they_see_the_code_that_the_client_maps_a_remote_failure_to);
    tcase_add_test(tc, they_are_on_the_applications_side_of_serializers_and_change_nothing_that_is_gone);
    tcase_add_test(tc, each_keeps_something_of_its_own_from_begin_to_end_of_each_call);
    tcase_add_test(tc, an_asynchronous_call_is_intercepted_when_all_of_its_caller_is_gone);
    tcase_add_test(tc, several_threads_that_wait_for_one_call_have_its_one_end);
    tcase_add_test(tc, an_asynchronous_call_that_is_given_up_ends_once_as_cancelled);
    tcase_add_test(tc, an_asynchronous_call_that_is_refused_is_known_at_once);
    tcase_add_test(tc, an_asynchronous_call_that_is_answered_here_is_complete_at_once);
    tcase_add_test(tc, an_asynchronous_call_that_cannot_be_sent_ends_with_why);
    tcase_add_test(tc, casts_and_fanouts_are_intercepted_as_what_they_are);
    tcase_add_test(tc, a_flush_waits_for_the_ends_of_casts);
    tcase_add_test(tc, a_call_that_may_not_wait_here_is_refused_before_they_begin);
    tcase_add_test(tc, each_is_opened_once_and_closed_with_the_last_that_has_it);
    tcase_add_test(tc, one_that_cannot_be_opened_is_named_and_not_put_in);
    tcase_add_test(tc, a_broken_table_is_refused);
    tcase_add_test(tc, a_table_with_nothing_in_it_lets_everything_pass);
    tcase_add_test(tc, a_plug_in_of_the_configuration_is_around_what_its_transport_makes);
    tcase_add_test(tc, a_plug_in_that_cannot_be_opened_is_named_and_the_transport_not_opened);
    tcase_add_test(tc, a_plug_in_that_there_is_not_is_named);
    tcase_add_test(tc, the_section_of_a_path_is_its_last_part);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
