/* SPDX-License-Identifier: Apache-2.0 */
/* What servers and clients tell of their calls: each counter moves for its reason, under every executor. */
#include <fjord/fjord.h>

#include "runtime/clock.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const executors[] = { "blocking", "threading", "green", "coroutine", "bridged" };
enum { EXECUTORS = sizeof executors / sizeof executors[0] };

/* ---- what is served ----------------------------------------------------------------------------- */

static _Atomic(fj_request *) kept;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static fj_code boom(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_fail(err, FJ_BAD_VALUE, "it went off");
}

static fj_code gone(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_fail(err, FJ_CANCELLED, "the task is to end");
}

static fj_code late(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_fail(err, FJ_TIMEOUT, "another server was too slow");
}

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    atomic_store(&kept, fj_request_ref(req));
    return FJ_DEFERRED;
}

/* A result that no driver can send: its text is beyond the depth of JSON. */
static fj_code deep(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)err;
    json_t *value = json_array();
    for (int i = 0; i < 100; i++) {
        json_t *outer = json_array();
        (void)json_array_append_new(outer, value);
        value = outer;
    }
    *ret = value;
    return FJ_OK;
}

/* Takes five milliseconds of the test's clock. */
static fj_code slow(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    fj__clock_advance(fj_in_ms(5));
    return FJ_OK;
}

static const fj_method methods[] = {
    FJ_METHOD("echo", FJ_PLAIN, echo),  FJ_METHOD("boom", FJ_PLAIN, boom),
    FJ_METHOD("gone", FJ_PLAIN, gone),  FJ_METHOD("late", FJ_PLAIN, late),
    FJ_METHOD("later", FJ_CORO, later), FJ_METHOD("deep", FJ_PLAIN, deep),
    FJ_METHOD("slow", FJ_PLAIN, slow),  FJ_METHOD_FLAGS("no", FJ_PLAIN, boom, FJ_EXPECTED),
};
static const fj_endpoint endpoint = FJ_ENDPOINT("calc", "1.2", methods);
static const fj_method any[] = { FJ_METHOD("*", FJ_PLAIN, echo) };
static const fj_endpoint catcher = FJ_ENDPOINT("any", "1.0", any);

/* ---- a server on a thread of its own ------------------------------------------------------------- */

static fj_transport *transport;
static fj_client *client;
static fj_server *_Atomic server;
static pthread_t runner;
static const char *executor;

/* @return what is wrong; NULL: nothing */
static void *serve(void *user)
{
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_server *s = NULL;

    (void)user;
    opts.executor = executor;
    opts.slots = 4;
    if (fj_server_new(transport, &here, &opts, &s, NULL) != FJ_OK ||
        fj_server_add(s, &endpoint, NULL, NULL) != FJ_OK || fj_server_add(s, &catcher, NULL, NULL) != FJ_OK ||
        fj_server_start(s, NULL) != FJ_OK)
        return "it does not start";
    atomic_store(&server, s);
    bool good = fj_server_run(s, NULL) == FJ_OK && fj_server_wait(s, fj_in_ms(10000), NULL) == FJ_OK;
    return good ? NULL : "it does not end";
}

static void start(int i)
{
    executor = executors[i];
    ck_assert_int_eq(pthread_create(&runner, NULL, serve, NULL), 0);
    while (atomic_load(&server) == NULL)
        (void)sched_yield();
}

static void stop(void)
{
    void *trouble = NULL;

    fj_server_stop(atomic_load(&server));
    ck_assert_int_eq(pthread_join(runner, &trouble), 0);
    ck_assert_ptr_null(trouble);
    fj_server_free(atomic_exchange(&server, NULL));
}

static void hush(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)level, (void)component, (void)text, (void)user; /* each failure is logged, and here are thousands */
}

static void set_up(void)
{
    fj_target there = FJ_TARGET(.topic = "t", .ns = "calc");

    fj_log_set(hush, NULL);
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
}

static void tear_down(void)
{
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
}

/* ---- what is told -------------------------------------------------------------------------------- */

static json_t *all_of(const char *kind)
{
    json_t *all = NULL;

    ck_assert_int_eq(fj_inspect(kind, fj_in_ms(5000), &all, NULL), FJ_OK);
    return all;
}

static bool has(const json_t *row, const char *member, const char *text)
{
    const char *is = json_string_value(json_object_get(row, member));

    return is != NULL && strcmp(is, text) == 0;
}

/* One of @p kind where two members are so.  Gives; NULL: there is none. */
static json_t *one_of(const char *kind, const char *member, const char *text, const char *other,
                      const char *too)
{
    json_t *all = all_of(kind), *row, *found = NULL;
    size_t i;

    json_array_foreach(all, i, row)
    {
        if (found == NULL && has(row, member, text) && has(row, other, too))
            found = json_incref(row);
    }
    json_decref(all);
    return found;
}

static json_int_t count_of(const char *side, const char *method, const char *member)
{
    json_t *row = one_of("counters", "side", side, "method", method);
    json_int_t n = json_integer_value(json_object_get(row, member));

    json_decref(row);
    return n;
}

/* Counted in the moment after the answer. */
static void await_count(const char *side, const char *method, const char *member, json_int_t n)
{
    fj_deadline by = fj_in_ms(10000);

    while (count_of(side, method, member) != n && !fj_passed(by))
        (void)sched_yield();
    ck_assert_msg(count_of(side, method, member) == n, "%s: %s of %s is %lld, not %lld", side, member, method,
                  (long long)count_of(side, method, member), (long long)n);
}

static double number_of(const char *side, const char *method, const char *histogram, const char *member)
{
    json_t *row = one_of("counters", "side", side, "method", method);
    double value = json_number_value(json_object_get(json_object_get(row, histogram), member));

    json_decref(row);
    return value;
}

static const char *const ends[] = { "ok", "failed", "expected_failures", "cancelled", "timeouts" };

/* @p n of @p method ended as @p member, on the server's side, and none in another way. */
static void ended_as(const char *method, const char *member, json_int_t n)
{
    await_count("server", method, member, n);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (strcmp(ends[i], member) != 0)
            ck_assert_int_eq(count_of("server", method, ends[i]), 0);
    ck_assert_int_eq(count_of("server", method, "in_flight"), 0);
}

static fj_code call(const char *method)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(20000);
    return fj_client_call(client, method, NULL, &o, NULL, NULL);
}

/* ---- each for its reason ------------------------------------------------------------------------- */

START_TEST(a_result_is_counted_as_ok)
{
    start(_i);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(call("echo"), FJ_OK);
    ended_as("echo", "ok", 3);
    ck_assert_int_eq(count_of("server", "echo", "calls"), 3);
    ck_assert_int_eq(count_of("server", "echo", "casts"), 0);
    ck_assert_double_eq_tol(number_of("server", "echo", "latency", "count"), 3, 0.5);
    ck_assert_double_eq_tol(number_of("server", "echo", "wait", "count"), 3, 0.5);
    ck_assert_int_eq(count_of("client", "echo", "ok"), 3);
    ck_assert_int_eq(count_of("client", "echo", "sent"), 3);
    ck_assert_double_eq_tol(number_of("client", "echo", "latency", "count"), 3, 0.5);
    ck_assert(number_of("client", "echo", "latency", "p99") > 0);
    stop();
}
END_TEST

START_TEST(a_failure_is_counted_as_failed)
{
    start(_i);
    ck_assert_int_eq(call("boom"), FJ_REMOTE);
    ended_as("boom", "failed", 1);
    ck_assert_int_eq(count_of("client", "boom", "failed"), 1);
    ck_assert_int_eq(count_of("client", "boom", "sent"), 1);
    stop();
}
END_TEST

START_TEST(an_expected_failure_is_counted_apart)
{
    start(_i);
    ck_assert_int_eq(call("no"), FJ_REMOTE);
    ended_as("no", "expected_failures", 1);
    stop();
}
END_TEST

START_TEST(a_method_that_was_cancelled_is_counted_apart)
{
    start(_i);
    ck_assert_int_eq(call("gone"), FJ_REMOTE);
    ended_as("gone", "cancelled", 1);
    stop();
}
END_TEST

START_TEST(a_method_that_ran_out_of_time_is_counted_apart)
{
    start(_i);
    ck_assert_int_eq(call("late"), FJ_REMOTE);
    ended_as("late", "timeouts", 1);
    stop();
}
END_TEST

START_TEST(a_result_that_cannot_be_sent_is_counted_as_failed)
{
    start(_i);
    ck_assert_int_eq(call("deep"), FJ_REMOTE);
    ended_as("deep", "failed", 1);
    stop();
}
END_TEST

START_TEST(casts_are_counted_apart_from_calls)
{
    start(_i);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(fj_client_cast(client, "echo", NULL, NULL, NULL), FJ_OK);
    ended_as("echo", "ok", 4);
    ck_assert_int_eq(count_of("server", "echo", "casts"), 4);
    ck_assert_int_eq(count_of("server", "echo", "calls"), 0);
    ck_assert_int_eq(count_of("client", "echo", "casts"), 4);
    ck_assert_int_eq(count_of("client", "echo", "ok"), 4);
    stop();
}
END_TEST

/* A call that the server keeps: it can be seen on both sides. */
START_TEST(a_call_in_flight_is_seen_on_both_sides_until_it_is_answered)
{
    fj_future *future = NULL;
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    start(_i);
    o.by = fj_in_ms(30000);
    ck_assert_int_eq(fj_client_call_async(client, "later", NULL, &o, &future, NULL), FJ_OK);
    json_t *seen = NULL;
    fj_deadline by = fj_in_ms(10000);
    while ((seen = one_of("call", "side", "server", "state", "deferred")) == NULL && !fj_passed(by))
        (void)sched_yield();
    ck_assert_ptr_nonnull(seen);
    ck_assert(has(seen, "method", "later") && has(seen, "server", "t.s") && has(seen, "flavour", "coro"));
    ck_assert(has(seen, "kind", "call") && has(seen, "namespace", "calc"));
    ck_assert(json_number_value(json_object_get(seen, "age")) >=
              json_number_value(json_object_get(seen, "running")));
    json_t *mine = one_of("call", "side", "client", "method", "later");
    ck_assert_ptr_nonnull(mine);
    ck_assert(has(mine, "target", "t") && has(mine, "sent", "yes"));
    ck_assert(has(mine, "url", fj_transport_url(transport)));
    ck_assert(json_equal(json_object_get(mine, "id"), json_object_get(seen, "id")));
    double left = json_number_value(json_object_get(mine, "deadline_in"));
    ck_assert(left > 10 && left <= 30);
    ck_assert_int_eq(count_of("server", "later", "in_flight"), 1);
    ck_assert_int_eq(count_of("client", "later", "in_flight"), 1);
    json_decref(seen);
    json_decref(mine);
    fj_request *req = atomic_load(&kept);
    ck_assert_int_eq(fj_request_reply(req, NULL, NULL), FJ_OK);
    fj_request_unref(req);
    ck_assert_int_eq(fj_future_wait(future, o.by, NULL, NULL), FJ_OK);
    fj_future_unref(future);
    ended_as("later", "ok", 1);
    await_count("client", "later", "ok", 1);
    ck_assert_int_eq(count_of("client", "later", "in_flight"), 0);
    json_t *calls = all_of("call");
    by = fj_in_ms(10000);
    while (json_array_size(calls) > 0 && !fj_passed(by)) {
        json_decref(calls);
        calls = all_of("call");
    }
    ck_assert_uint_eq(json_array_size(calls), 0);
    json_decref(calls);
    stop();
}
END_TEST

static const int blocking = 0;

START_TEST(a_call_without_an_answer_is_a_timeout_of_its_client)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    start(1);
    o.by = fj_in_ms(20);
    ck_assert_int_eq(fj_client_call(client, "later", NULL, &o, NULL, NULL), FJ_TIMEOUT);
    ck_assert_int_eq(count_of("client", "later", "timeouts"), 1);
    ck_assert_int_eq(count_of("client", "later", "sent"), 1);
    fj_deadline by = fj_in_ms(10000);
    while (atomic_load(&kept) == NULL && !fj_passed(by))
        (void)sched_yield();
    await_count("server", "later", "in_flight", 1);
    ck_assert_int_eq(fj_request_reply(atomic_load(&kept), NULL, NULL), FJ_OK);
    fj_request_unref(atomic_load(&kept));
    ended_as("later", "ok", 1); /* of the server */
    stop();
}
END_TEST

START_TEST(what_is_never_sent_is_not_counted_as_sent)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(-1);
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, NULL), FJ_TIMEOUT);
    o.by = fj_in_ms(1000);
    o.mandatory = 1;
    ck_assert_int_eq(fj_client_cast(client, "echo", NULL, &o, NULL), FJ_UNDELIVERABLE);
    o.fanout = true;
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, NULL), FJ_BAD_TARGET);
    ck_assert_int_eq(count_of("client", "echo", "calls"), 2);
    ck_assert_int_eq(count_of("client", "echo", "casts"), 1);
    ck_assert_int_eq(count_of("client", "echo", "timeouts"), 1);
    ck_assert_int_eq(count_of("client", "echo", "failed"), 2);
    ck_assert_int_eq(count_of("client", "echo", "sent"), 0);
    ck_assert_int_eq(count_of("client", "echo", "in_flight"), 0);
}
END_TEST

START_TEST(a_future_that_is_given_up_is_counted_as_cancelled)
{
    fj_future *future = NULL;

    ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, NULL, &future, NULL), FJ_OK);
    ck_assert_int_eq(count_of("client", "echo", "in_flight"), 1);
    ck_assert(fj_future_cancel(future));
    fj_future_unref(future);
    await_count("client", "echo", "cancelled", 1);
    ck_assert_int_eq(count_of("client", "echo", "in_flight"), 0);
}
END_TEST

START_TEST(what_a_transport_leaves_unanswered_is_counted_though_its_client_is_gone)
{
    fj_future *future = NULL;

    ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, NULL, &future, NULL), FJ_OK);
    client = fj_client_free(client);
    await_count("client", "echo", "in_flight", 1);
    transport = fj_transport_free(transport);
    ck_assert(fj_future_done(future));
    fj_future_unref(future);
    json_t *none = all_of("counters");
    ck_assert_uint_eq(json_array_size(none), 0);
    json_decref(none);
}
END_TEST

START_TEST(casts_that_nobody_waits_for_are_counted_too)
{
    start(1);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(fj_client_cast_async(client, "echo", NULL, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_flush(client, fj_in_ms(10000), NULL), FJ_OK);
    await_count("client", "echo", "ok", 5);
    ck_assert_int_eq(count_of("client", "echo", "casts"), 5);
    ended_as("echo", "ok", 5);
    stop();
}
END_TEST

START_TEST(methods_that_there_are_not_are_counted_as_one)
{
    char name[32];

    start(1);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(name, sizeof name, "none%d", i);
        ck_assert_int_eq(call(name), FJ_REMOTE);
    }
    ended_as("(no method)", "failed", 5);
    ck_assert_int_eq(count_of("server", "(no method)", "calls"), 5);
    ck_assert_int_eq(count_of("server", "none0", "calls"), 0);
    stop();
}
END_TEST

START_TEST(peers_cannot_make_the_table_grow_without_end)
{
    enum { NAMES = 1024, MORE = 9 };
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    char name[32];

    start(1);
    o.ns = "any";
    for (int i = 0; i < NAMES + MORE; i++) {
        (void)snprintf(name, sizeof name, "name%d", i);
        ck_assert_int_eq(fj_client_cast(client, name, NULL, &o, NULL), FJ_OK);
    }
    await_count("server", "(other)", "ok", MORE);
    ck_assert_int_eq(count_of("client", "(other)", "ok"), MORE);
    stop();
}
END_TEST

/* ---- how long it took ----------------------------------------------------------------------------- */

START_TEST(wait_is_from_arrival_to_start_and_latency_from_there_to_the_answer)
{
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_server *s = NULL;
    fj_future *future = NULL;

    fj__clock_set_fake(1000000000);
    opts.executor = "blocking";
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &s, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(s, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(s, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_call_async(client, "slow", NULL, NULL, &future, NULL), FJ_OK);
    fj__clock_advance(fj_in_ms(7)); /* it waits */
    ck_assert_int_eq(fj_server_step(s, fj_in_ms(1000), NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(1000), NULL, NULL), FJ_OK);
    fj_future_unref(future);
    ck_assert_double_eq_tol(number_of("server", "slow", "wait", "max"), 0.007, 1e-9);
    ck_assert_double_eq_tol(number_of("server", "slow", "latency", "max"), 0.005, 1e-9);
    ck_assert_double_eq_tol(number_of("client", "slow", "latency", "max"), 0.012, 1e-9);
    fj__clock_set_fake(-1);
    fj_server_free(s);
}
END_TEST

/* ---- queues --------------------------------------------------------------------------------------- */

static json_int_t of_queue(const char *name, const char *member)
{
    json_t *queue = one_of("queue", "name", name, "transport", "fake");
    json_int_t n = queue != NULL ? json_integer_value(json_object_get(queue, member)) : -1;

    json_decref(queue);
    return n;
}

START_TEST(the_queues_of_the_fake_broker_tell_their_lengths)
{
    fj_transport *second = NULL;

    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &second, NULL), FJ_OK);
    start(blocking);
    ck_assert_int_eq(of_queue("t", "consumers"), 1);
    ck_assert_int_eq(of_queue("t.s", "waiting"), 0);
    stop();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(fj_client_cast(client, "echo", NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(of_queue("t", "waiting"), 3);
    ck_assert_int_eq(of_queue("t", "in_hand"), 0);
    ck_assert_int_eq(of_queue("t", "consumers"), 0);
    json_t *topic = one_of("queue", "name", "t", "role", "topic"),
           *direct = one_of("queue", "name", "t.s", "role", "server");
    ck_assert(topic != NULL && direct != NULL);
    json_decref(topic);
    json_decref(direct);
    json_t *all = all_of("queue"); /* once each, though two transports see the same broker */
    ck_assert_uint_eq(json_array_size(all), 2);
    json_decref(all);
    start(blocking);
    ended_as("echo", "ok", 3);
    ck_assert_int_eq(of_queue("t", "waiting"), 0);
    stop();
    fj_transport_free(second);
}
END_TEST

/* ---- meanwhile ------------------------------------------------------------------------------------ */

static atomic_bool over;

static void *look(void *user)
{
    static const char *const kinds[] = { "counters", "call", "queue", "connection" };
    unsigned long *looks = user;

    while (!atomic_load(&over)) {
        json_t *all = NULL, *row;
        size_t i;
        if (fj_inspect(kinds[*looks % 4], fj_in_ms(1000), &all, NULL) != FJ_OK)
            return "it cannot be inspected";
        json_array_foreach(all, i, row)
        {
            if (json_integer_value(json_object_get(row, "in_flight")) < 0)
                return "fewer than none are in flight";
        }
        json_decref(all);
        ++*looks;
    }
    return NULL;
}

static void *load(void *user)
{
    fj_target there = FJ_TARGET(.topic = "t", .ns = "calc");
    fj_client *mine = NULL;
    unsigned *failed = user;

    for (int i = 0; i < 150; i++) {
        fj_future *future = NULL;
        if (fj_client_new(transport, &there, NULL, &mine, NULL) != FJ_OK)
            return NULL;
        *failed += fj_client_call(mine, "echo", NULL, NULL, NULL, NULL) != FJ_OK;
        *failed += fj_client_cast(mine, "no", NULL, NULL, NULL) != FJ_OK;
        *failed += fj_client_call_async(mine, "boom", NULL, NULL, &future, NULL) != FJ_OK;
        mine = fj_client_free(mine);
        *failed += fj_future_wait(future, fj_in_ms(20000), NULL, NULL) != FJ_REMOTE;
        fj_future_unref(future);
    }
    return NULL;
}

START_TEST(who_looks_while_calls_run_and_servers_come_and_go_sees_sound_figures)
{
    enum { LOADS = 3, LOOKS = 2, ROUNDS = 3 };
    pthread_t loads[LOADS], looks[LOOKS];
    unsigned long seen[LOOKS] = { 0 };
    unsigned failed[LOADS] = { 0 };
    void *trouble = NULL;

    for (int i = 0; i < LOOKS; i++)
        ck_assert_int_eq(pthread_create(&looks[i], NULL, look, &seen[i]), 0);
    for (int round = 0; round < ROUNDS; round++) {
        start(_i);
        for (int i = 0; i < LOADS; i++)
            ck_assert_int_eq(pthread_create(&loads[i], NULL, load, &failed[i]), 0);
        for (int i = 0; i < LOADS; i++)
            ck_assert_int_eq(pthread_join(loads[i], NULL), 0);
        await_count("server", "echo", "ok", LOADS * 150);
        await_count("server", "no", "expected_failures", LOADS * 150);
        await_count("server", "boom", "failed", LOADS * 150);
        stop();
        tear_down();
        set_up();
    }
    atomic_store(&over, true);
    for (int i = 0; i < LOOKS; i++) {
        ck_assert_int_eq(pthread_join(looks[i], &trouble), 0);
        ck_assert_msg(trouble == NULL, "%s", (const char *)trouble);
        ck_assert_uint_gt(seen[i], 0);
    }
    for (int i = 0; i < LOADS; i++)
        ck_assert_uint_eq(failed[i], 0);
}
END_TEST

START_TEST(a_forked_child_begins_with_none_and_counts_its_own)
{
    start(1);
    ck_assert_int_eq(call("echo"), FJ_OK);
    pid_t pid = fork();
    if (pid == 0) {
        fj_transport *own = NULL;
        fj_client *c = NULL;
        fj_target there = FJ_TARGET(.topic = "t");
        json_t *all = NULL;
        bool none = fj_inspect("counters", fj_in_ms(1000), &all, NULL) == FJ_OK && json_array_size(all) == 0;
        json_decref(all);
        bool good = fj_transport_open(NULL, "fake://", &own, NULL) == FJ_OK &&
                    fj_client_new(own, &there, NULL, &c, NULL) == FJ_OK &&
                    fj_client_cast(c, "x", NULL, NULL, NULL) == FJ_OK && count_of("client", "x", "ok") == 1;
        fj_client_free(c);
        fj_transport_free(own);
        _exit(none && good ? 0 : 1);
    }
    int status = 1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    stop();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, a_result_is_counted_as_ok, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_failure_is_counted_as_failed, 0, EXECUTORS);
    tcase_add_loop_test(tc, an_expected_failure_is_counted_apart, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_method_that_was_cancelled_is_counted_apart, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_method_that_ran_out_of_time_is_counted_apart, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_result_that_cannot_be_sent_is_counted_as_failed, 0, EXECUTORS);
    tcase_add_loop_test(tc, casts_are_counted_apart_from_calls, 0, EXECUTORS);
    tcase_add_loop_test(tc, a_call_in_flight_is_seen_on_both_sides_until_it_is_answered, 0, EXECUTORS);
    tcase_add_test(tc, a_call_without_an_answer_is_a_timeout_of_its_client);
    tcase_add_test(tc, what_is_never_sent_is_not_counted_as_sent);
    tcase_add_test(tc, a_future_that_is_given_up_is_counted_as_cancelled);
    tcase_add_test(tc, what_a_transport_leaves_unanswered_is_counted_though_its_client_is_gone);
    tcase_add_test(tc, casts_that_nobody_waits_for_are_counted_too);
    tcase_add_test(tc, methods_that_there_are_not_are_counted_as_one);
    tcase_add_test(tc, peers_cannot_make_the_table_grow_without_end);
    tcase_add_test(tc, wait_is_from_arrival_to_start_and_latency_from_there_to_the_answer);
    tcase_add_test(tc, the_queues_of_the_fake_broker_tell_their_lengths);
    tcase_add_loop_test(tc, who_looks_while_calls_run_and_servers_come_and_go_sees_sound_figures, 0, EXECUTORS);
    tcase_add_test(tc, a_forked_child_begins_with_none_and_counts_its_own);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
