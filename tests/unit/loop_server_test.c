/* SPDX-License-Identifier: Apache-2.0 */
/* Servers on a loop where they are handled roughly: in tasks, in call-backs, with a loop that goes before them. */
#include <fjord/fjord.h>

#include "base/alloc.h"
#include "tests/support/broker.h"
#include "tests/support/mock_listener.h"

#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nobody listens there: a start goes on for as long as [fjord] start_timeout says. */
static const char nowhere[] = "rabbit://guest:guest@127.0.0.1:1/";
static const char patient[] = "[fjord]\nexecutor = coroutine\nstart_timeout = 1000\n";

static fj_loop *loop;
static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static _Atomic(fj_request *) kept;
static atomic_uint counted;

/* ---- what is served ----------------------------------------------------------------------------- */

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    atomic_store(&kept, fj_request_ref(req));
    return FJ_DEFERRED;
}

static fj_code count(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    counted++;
    return FJ_OK;
}

static fj_code stop_loop(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    fj_loop_stop(fj_loop_running());
    fj_code code = fj_sleep(fj_in_ms(1));
    counted += code == FJ_OK;
    return code == FJ_OK ? code : fj_fail(err, code, "no sleep");
}

static fj_code code_inside;

static fj_code start_inside(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_server *inner = NULL;
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target inside = FJ_TARGET(.topic = "inside", .server = "s");

    (void)req, (void)args, (void)ret, (void)err;
    opts.executor = "coroutine";
    ck_assert_int_eq(fj_server_new(transport, &inside, &opts, &inner, NULL), FJ_OK);
    code_inside = fj_server_start(inner, NULL);
    fj_server_free(inner);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("start_inside", FJ_CORO, start_inside),
                                     FJ_METHOD("later", FJ_PLAIN, later), FJ_METHOD("count", FJ_PLAIN, count),
                                     FJ_METHOD("stop_loop", FJ_CORO, stop_loop) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_target here = FJ_TARGET(.topic = "t", .server = "s");
static const fj_target there = FJ_TARGET(.topic = "t");

static void open_on(const char *url, const char *text)
{
    fj_conf *conf = fj_conf_new();

    ck_assert_int_eq(fj_conf_parse(conf, "test", text, strlen(text), NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    fj_conf_free(conf);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
}

static void set_up(void)
{
    counted = 0;
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    fj_loop_set_current(loop);
}

static void tear_down(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    atomic_store(&kept, fj_request_unref(atomic_load(&kept)));
    loop = fj_loop_free(loop);
}

static void open_fake(void)
{
    open_on("fake://", "[fjord]\nexecutor = coroutine\n");
}

static fj_task *spawn_with(fj_task_fn fn, void *user)
{
    fj_task *task = NULL;

    ck_assert_int_eq(fj_task_spawn(fn, user, NULL, &task, NULL), FJ_OK);
    return task;
}

static fj_task *spawn(fj_task_fn fn)
{
    return spawn_with(fn, NULL);
}

static fj_code join(fj_task *task)
{
    fj_code code = fj_loop_run_until_complete(loop, fj_task_future(task), NULL, NULL);

    fj_task_unref(task);
    return code;
}

static fj_code in_task(fj_task_fn fn)
{
    return join(spawn(fn));
}

static void settle(void)
{
    while (fj_loop_turn(loop, fj_now(), NULL) == FJ_OK)
        ;
}

static void cast(const char *method)
{
    ck_assert_int_eq(fj_client_cast(client, method, NULL, NULL, NULL), FJ_OK);
}

static fj_code start(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    return fj_server_start(server, err);
}

/* Start with the allocation *user failing; *user is 0 afterwards when there were not so many. */
static fj_code start_failing(void *user, json_t **ret, fj_error **err)
{
    unsigned long *nth = user;

    (void)ret;
    (void)fj__alloc_fail(*nth, false);
    fj_code code = fj_server_start(server, err);
    if (fj__alloc_fail(0, false) < *nth)
        *nth = 0;
    return code;
}

/* ---- in tasks ----------------------------------------------------------------------------------- */

START_TEST(a_start_in_a_task_that_runs_out_of_memory_fails_and_can_be_tried_again)
{
    unsigned failed = 0;
    unsigned long nth = 1;

    open_fake();
    for (unsigned long n = 1; nth != 0; n++) {
        nth = n;
        fj_code code = join(spawn_with(start_failing, &nth));
        if (code != FJ_OK) {
            ck_assert_int_eq(code, FJ_NOMEM);
            failed++;
            continue;
        }
        fj_server_stop(server);
        ck_assert_int_eq(fj_server_wait(server, fj_in_ms(5000), NULL), FJ_OK);
        ck_assert_int_eq(fj_server_reset(server, NULL), FJ_OK);
    }
    ck_assert_uint_gt(failed, 3);
}
END_TEST

START_TEST(a_start_is_cut_short_by_cancellation)
{
    open_on(nowhere, patient);
    fj_task *task = spawn(start);
    settle();
    ck_assert(fj_task_cancel(task));
    ck_assert_int_eq(join(task), FJ_CANCELLED);
}
END_TEST

static fj_code start_for_a_moment(void *user, json_t **ret, fj_error **err)
{
    fj_timeout t;

    (void)user, (void)ret;
    fj_timeout_begin(&t, fj_in_ms(20));
    fj_code code = fj_server_start(server, err);
    ck_assert(fj_timeout_end(&t));
    return code;
}

START_TEST(a_start_is_cut_short_by_a_timeout_around_it)
{
    open_on(nowhere, patient);
    ck_assert_int_eq(in_task(start_for_a_moment), FJ_UNREACHABLE);
}
END_TEST

START_TEST(who_comes_while_another_task_starts_a_server_is_refused_and_stops_no_loop)
{
    open_on(nowhere, patient);
    fj_task *first = spawn(start);
    settle();
    ck_assert_int_eq(in_task(start), FJ_STATE);
    ck_assert(fj_task_cancel(first));
    ck_assert_int_eq(join(first), FJ_CANCELLED);
}
END_TEST

static fj_code free_server(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    server = fj_server_free(server);
    return FJ_OK;
}

START_TEST(a_server_is_freed_in_a_task_of_its_loop)
{
    open_fake();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    cast("count");
    settle();
    ck_assert_uint_eq(counted, 1);
    ck_assert_int_eq(in_task(free_server), FJ_OK);
    ck_assert_ptr_null(server);
}
END_TEST

START_TEST(a_server_with_a_deferred_request_is_freed_in_a_task_of_its_loop)
{
    open_fake();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    cast("later");
    settle();
    ck_assert_ptr_nonnull(kept);
    ck_assert_int_eq(in_task(free_server), FJ_OK);
}
END_TEST

static fj_code step_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    return fj_server_step(server, fj_never(), err);
}

/* ---- without memory ----------------------------------------------------------------------------- */

/* One life of a server, with the allocation *user failing somewhere in it; *user is 0 afterwards when there were not so many. */
static fj_code live(void *user, json_t **ret, fj_error **err)
{
    unsigned long *nth = user;
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    (void)ret;
    o.by = fj_in_ms(*nth != 0 ? 300 : 30000); /* what is lost is waited for no longer */
    (void)fj__alloc_fail(*nth, false);
    fj_code code = fj_server_start(server, err);
    if (code == FJ_OK)
        code = fj_client_call(client, "count", NULL, &o, NULL, err);
    fj_server_stop(server);
    if (fj__alloc_fail(0, false) < *nth)
        *nth = 0;
    return code;
}

static void live_without_memory(unsigned long first, unsigned long step)
{
    unsigned failed = 0;
    unsigned long nth = 1;

    for (unsigned long n = first; nth != 0; n += step) {
        nth = n;
        fj_code code = join(spawn_with(live, &nth));
        failed += code != FJ_OK;
        code = fj_server_wait(server, fj_in_ms(15000), NULL);
        ck_assert_msg(code == FJ_OK || code == FJ_STATE, "allocation %lu: %s", n, fj_code_name(code));
        ck_assert_int_eq(fj_server_reset(server, NULL), FJ_OK);
    }
    ck_assert_uint_gt(failed, 3);
    nth = 0;
    ck_assert_int_eq(join(spawn_with(live, &nth)), FJ_OK);
}

START_TEST(a_server_without_memory_fails_what_it_must_and_ends)
{
    open_fake();
    live_without_memory(1, 1);
}
END_TEST

static void open_broker(broker *b)
{
    char url[128];

    ck_assert_ptr_nonnull(b);
    (void)snprintf(url, sizeof url,
                   "rabbit://guest:guest@127.0.0.1:%u/?kombu_reconnect_delay=0.02&rabbit_retry_interval=0.02",
                   (unsigned)broker_port(b));
    open_on(url, patient);
}

START_TEST(a_server_of_a_broker_without_memory_fails_what_it_must_and_ends)
{
    broker *b = broker_new();

    open_broker(b);
    live_without_memory(1 + (unsigned long)_i, 5);
    tear_down();
    b = broker_free(b);
    set_up();
}
END_TEST

/* ---- in call-backs ------------------------------------------------------------------------------ */

enum { WAITING = 3, ALL = 6 }; /* those that wait come before those that drive */
static fj_code codes[ALL];

static void call_all(fj_loop *l, void *user)
{
    (void)user;
    codes[0] = fj_server_start(server, NULL);
    codes[1] = fj_server_wait(server, fj_never(), NULL);
    codes[2] = fj_client_flush(client, fj_never(), NULL);
    codes[3] = fj_server_step(server, fj_never(), NULL);
    codes[4] = fj_server_run(server, NULL);
    codes[5] = fj_run(NULL);
    fj_loop_stop(l);
}

static void refused_in_call_backs(void)
{
    memset(codes, 0, sizeof codes);
    ck_assert_int_eq(fj_loop_call_soon(loop, call_all, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    for (size_t i = 0; i < fj__countof(codes); i++)
        ck_assert_msg(codes[i] == (i < WAITING ? FJ_WRONG_CONTEXT : FJ_STATE), "%zu: %s", i,
                      fj_code_name(codes[i]));
}

START_TEST(what_would_stop_the_loop_is_refused_in_a_call_back)
{
    static const char *const executors[] = { "coroutine", "threading", "blocking" };
    char text[64];

    (void)snprintf(text, sizeof text, "[fjord]\nexecutor = %s\n", executors[_i]);
    open_on("fake://", text);
    refused_in_call_backs();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    refused_in_call_backs();
    fj_server_stop(server);
    refused_in_call_backs();
}
END_TEST

START_TEST(a_step_in_a_task_is_refused_for_it_would_stop_the_loop)
{
    open_on("fake://", "[fjord]\nexecutor = threading\n");
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    ck_assert_int_eq(in_task(step_in_task), FJ_STATE);
}
END_TEST

static void free_both(fj_loop *l, void *user)
{
    (void)user;
    (void)fj_server_free(server);
    (void)fj_transport_free(transport);
    fj_loop_stop(l);
}

START_TEST(a_call_back_cannot_free_what_must_be_waited_for)
{
    open_fake();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_soon(loop, free_both, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    cast("count"); /* both are there still */
    settle();
    ck_assert_uint_eq(counted, 1);
}
END_TEST

/* ---- without the loop --------------------------------------------------------------------------- */

START_TEST(a_server_whose_loop_is_gone_says_what_it_still_waits_for)
{
    fj_error *err = NULL;

    open_fake();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    cast("later");
    settle();
    loop = fj_loop_free(loop);
    fj_server_stop(server);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(20), &err), FJ_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "later (deferred)"));
    fj_error_free(err);
    ck_assert_int_eq(fj_request_reply(kept, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(5000), NULL), FJ_OK);
}
END_TEST

START_TEST(run_returns_when_the_loop_of_its_only_server_is_gone)
{
    open_fake();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    loop = fj_loop_free(loop);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
}
END_TEST

START_TEST(a_drained_server_outlives_its_loop)
{
    open_fake();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    fj_server_stop(server);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(5000), NULL), FJ_OK);
    loop = fj_loop_free(loop);
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(0), NULL), FJ_CLOSED);
    ck_assert_int_eq(fj_server_reset(server, NULL), FJ_OK);
    set_up();
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    cast("count");
    settle();
    ck_assert_uint_eq(counted, 1);
}
END_TEST

/* ---- the executor alone ------------------------------------------------------------------------- */

static void job(void *user)
{
    (void)user;
    counted++;
}

static fj_executor *executor_on_loop(mock_listener *mock, fj_dispatcher **ret)
{
    fj_executor_opts opts = { sizeof opts, 2, false, NULL, NULL, loop };
    const fj_executor_ops *ops = NULL;
    fj_executor *x = NULL;

    ck_assert_int_eq(fj_executor_find(NULL, "coroutine", &ops, NULL), FJ_OK);
    ck_assert_int_eq(ops->create(NULL, &opts, &x, NULL), FJ_OK);
    ck_assert_int_eq(fj_dispatcher_new(NULL, ret, NULL), FJ_OK);
    ck_assert_int_eq(fj_dispatcher_add(*ret, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(ops->start(x, &mock->base, *ret, NULL), FJ_OK);
    return x;
}

START_TEST(a_job_that_was_taken_runs_though_the_loop_ends_before_it_began)
{
    mock_listener *mock = mock_new();
    fj_dispatcher *d = NULL;
    fj_executor *x = executor_on_loop(mock, &d);

    ck_assert_int_eq(x->ops->submit(x, job, NULL, NULL), FJ_OK);
    loop = fj_loop_free(loop);
    ck_assert_uint_eq(counted, 1);
    x->ops->free(x);
    fj_dispatcher_free(d);
    ck_assert(mock_free(mock));
}
END_TEST

START_TEST(an_intake_that_is_cancelled_while_it_acknowledges_ends)
{
    mock_listener *mock = mock_new();
    fj_dispatcher *d = NULL;
    fj_executor *x = executor_on_loop(mock, &d);

    mock->ack_code = FJ_CANCELLED; /* as a driver answers in a task that is to end, once */
    mock_msg *m = mock_call(mock, "{\"method\": \"count\"}");
    ck_assert_int_eq(x->ops->stop(x, fj_in_ms(5000), NULL), FJ_OK);
    ck_assert(m->freed);
    ck_assert_uint_eq(counted, 0);
    x->ops->free(x);
    fj_dispatcher_free(d);
    ck_assert(mock_free(mock));
}
END_TEST

/* ---- methods on loops of their own -------------------------------------------------------------- */

START_TEST(a_method_that_stops_its_private_loop_is_run_to_its_end)
{
    open_on("fake://", "[fjord]\nexecutor = blocking\n");
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    for (unsigned i = 1; i <= 2; i++) {
        cast("stop_loop");
        ck_assert_int_eq(fj_server_step(server, fj_in_ms(5000), NULL), FJ_OK);
        ck_assert_uint_eq(counted, i);
    }
}
END_TEST

static bool serve_one_blocking(unsigned before)
{
    return fj_client_cast(client, "stop_loop", NULL, NULL, NULL) == FJ_OK &&
           fj_server_step(server, fj_in_ms(5000), NULL) == FJ_OK && counted == before + 1;
}

START_TEST(the_child_of_a_fork_runs_explicit_methods_on_a_private_loop_of_its_own)
{
    int status = 0;

    open_on("fake://", "[fjord]\nexecutor = blocking\n");
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    ck_assert(serve_one_blocking(0));
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        open_on("fake://", "[fjord]\nexecutor = blocking\n");
        _exit(fj_server_start(server, NULL) == FJ_OK && serve_one_blocking(1) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_server_is_not_started_on_the_private_loop_of_one_method)
{
    open_on("fake://", "[fjord]\nexecutor = blocking\n");
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    cast("start_inside");
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(5000), NULL), FJ_OK);
    ck_assert_int_eq(code_inside, FJ_WRONG_CONTEXT);
}
END_TEST

/* ---- from other threads ------------------------------------------------------------------------- */

static fj_event *started, *called, *over;

static fj_code start_and_stay(void *user, json_t **ret, fj_error **err)
{
    fj_code code = fj_server_start(server, err);

    (void)user, (void)ret;
    fj_event_set(started);
    return code == FJ_OK ? fj_event_wait(over, fj_never()) : code;
}

static void *turn_until_over(void *user)
{
    (void)user;
    set_up();
    ck_assert_int_eq(in_task(start_and_stay), FJ_OK);
    loop = fj_loop_free(loop);
    return NULL;
}

/* The loop turns on a thread of its own; all that is done with the server is done here. */
static void one_life_across_threads(void)
{
    fj_future *future = NULL;
    pthread_t thread;

    ck_assert_int_eq(fj_event_new("started", &started), FJ_OK);
    ck_assert_int_eq(fj_event_new("over", &over), FJ_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, turn_until_over, NULL), 0);
    ck_assert_int_eq(fj_event_wait(started, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_client_call_async(client, "later", NULL, NULL, &future, NULL), FJ_OK);
    while (atomic_load(&kept) == NULL)
        ck_assert_int_eq(fj_client_call(client, "count", NULL, NULL, NULL, NULL), FJ_OK);
    fj_server_stop(server);
    ck_assert_int_eq(fj_request_reply(atomic_load(&kept), NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(10000), NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(10000), NULL), FJ_OK);
    ck_assert_int_eq(fj_server_reset(server, NULL), FJ_OK);
    fj_event_set(over);
    (void)pthread_join(thread, NULL);
    fj_event_free(started);
    fj_event_free(over);
    fj_future_unref(future);
    atomic_store(&kept, fj_request_unref(atomic_load(&kept)));
}

START_TEST(a_server_is_ended_by_another_thread_while_its_loop_turns)
{
    enum { LIVES = 50 };

    loop = fj_loop_free(loop);
    open_fake();
    for (unsigned i = 0; i < LIVES; i++)
        one_life_across_threads();
}
END_TEST

/* Calls one after the other; each is answered, or says that the connection was lost. */
static void *call_until(void *user)
{
    atomic_bool *enough = user;
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    unsigned answered = 0;

    ck_assert_int_eq(fj_event_wait(started, fj_never()), FJ_OK); /* before there is no queue */
    while (!atomic_load(enough) || answered == 0) {
        fj_error *err = NULL;
        o.by = fj_in_ms(10000);
        fj_code code = fj_client_call(client, "count", NULL, &o, NULL, &err);
        ck_assert_msg(code == FJ_OK || code == FJ_LOST, "%s", fj_error_text(err));
        fj_error_free(err);
        answered += code == FJ_OK;
    }
    return NULL;
}

static fj_code call_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    (void)call_until(user);
    fj_event_set(called);
    return FJ_OK;
}

static fj_code call_and_serve(void *user, json_t **ret, fj_error **err)
{
    fj_task *task = spawn_with(call_in_task, user);
    fj_code code = start_and_stay(user, ret, err);

    ck_assert_int_eq(fj_await(fj_task_future(task), fj_never(), NULL, NULL), FJ_OK);
    fj_task_unref(task);
    return code;
}

static void *turn_a_busy_loop(void *user)
{
    set_up();
    ck_assert_int_eq(join(spawn_with(call_and_serve, user)), FJ_OK);
    loop = fj_loop_free(loop);
    return NULL;
}

START_TEST(a_server_on_a_loop_outlives_connections_that_are_lost)
{
    enum { THREADS = 3, LOSSES = 20 };
    pthread_t threads[THREADS];
    atomic_bool enough = false;
    broker *b = broker_new();

    loop = fj_loop_free(loop);
    open_broker(b);
    ck_assert_int_eq(fj_event_new("called", &called), FJ_OK);
    ck_assert_int_eq(fj_event_new("started", &started), FJ_OK);
    ck_assert_int_eq(fj_event_new("over", &over), FJ_OK);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i == 0 ? turn_a_busy_loop : call_until, &enough), 0);
    ck_assert_int_eq(fj_event_wait(started, fj_never()), FJ_OK);
    for (unsigned i = 0; i < LOSSES; i++) {
        unsigned before = counted;
        broker_fault(b, BROKER_HANG_UP, i % 2 == 0 ? AMQP_BASIC_PUBLISH_METHOD : AMQP_BASIC_ACK_METHOD);
        while (counted < before + 5)
            ck_assert(broker_wait(b, AMQP_BASIC_PUBLISH_METHOD, broker_seen(b, AMQP_BASIC_PUBLISH_METHOD) + 1,
                                  10000));
    }
    atomic_store(&enough, true);
    for (size_t i = 1; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    ck_assert_int_eq(fj_event_wait(called, fj_never()), FJ_OK);
    fj_server_stop(server);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(20000), NULL), FJ_OK);
    fj_event_set(over);
    (void)pthread_join(threads[0], NULL);
    fj_event_free(called);
    fj_event_free(started);
    fj_event_free(over);
    tear_down();
    b = broker_free(b);
    set_up();
}
END_TEST

/* ---- loops that come and go --------------------------------------------------------------------- */

static unsigned entries(const char *folder)
{
    DIR *dir = opendir(folder);
    unsigned n = 0;

    if (dir == NULL && access("/proc/self", F_OK) != 0)
        return 0; /* where it is not mounted, nobody can tell */
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        n++;
    ck_assert_int_eq(closedir(dir), 0);
    return n;
}

static fj_code cast_in_task(void *user, json_t **ret, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    (void)user, (void)ret;
    o.by = fj_in_ms(10000);
    return fj_client_cast(client, "count", NULL, &o, err);
}

START_TEST(loops_that_come_and_go_leave_no_thread_and_no_connection_each)
{
    enum { LOOPS = 40 };
    broker *b = broker_new();

    open_broker(b);
    ck_assert_int_eq(in_task(cast_in_task), FJ_OK);
    unsigned threads = entries("/proc/self/task"), fds = entries("/proc/self/fd");
    for (unsigned i = 0; i < LOOPS; i++) {
        loop = fj_loop_free(loop);
        set_up();
        ck_assert_int_eq(in_task(cast_in_task), FJ_OK);
    }
    ck_assert_uint_lt(entries("/proc/self/task"), threads + LOOPS / 2);
    ck_assert_uint_lt(entries("/proc/self/fd"), fds + LOOPS / 2);
    tear_down();
    b = broker_free(b);
    set_up();
}
END_TEST

static void *free_transport(void *user)
{
    (void)user;
    transport = fj_transport_free_by(transport, fj_now());
    return NULL;
}

static fj_code serve_one(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    ck_assert_int_eq(fj_server_start(server, err), FJ_OK);
    ck_assert_int_eq(fj_client_call(client, "count", NULL, NULL, ret, err), FJ_OK);
    fj_server_stop(server);
    return fj_server_wait(server, fj_in_ms(10000), err);
}

START_TEST(a_loop_outlives_a_transport_that_another_thread_freed)
{
    broker *b = broker_new();
    pthread_t thread;

    open_broker(b);
    ck_assert_int_eq(in_task(serve_one), FJ_OK);
    server = fj_server_free(server);
    client = fj_client_free(client);
    ck_assert_int_eq(pthread_create(&thread, NULL, free_transport, NULL), 0);
    (void)pthread_join(thread, NULL);
    settle();
    b = broker_free(b);
}
END_TEST

/* ---- the loop ----------------------------------------------------------------------------------- */

static unsigned asked;

static void watch(fj_source *source, fj_watch *ret)
{
    (void)source, (void)ret;
    asked++;
}

static void pump(fj_source *source, const fj_watch *ready, fj_deadline now)
{
    (void)source, (void)ready, (void)now;
}

START_TEST(a_loop_that_was_told_to_stop_still_sleeps_in_its_turns)
{
    fj_source source = { .watch = watch, .pump = pump };

    ck_assert_int_eq(fj_loop_attach(loop, &source, NULL), FJ_OK);
    fj_loop_stop(loop);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(50), NULL), FJ_OK); /* woken */
    asked = 0;
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(50), NULL), FJ_TIMEOUT);
    ck_assert_uint_le(asked, 3);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK); /* one turn: it was told */
    fj_loop_detach(loop, &source);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("servers on loops");
    TCase *c = tcase_create("rough");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_start_in_a_task_that_runs_out_of_memory_fails_and_can_be_tried_again);
    tcase_add_test(c, a_start_is_cut_short_by_cancellation);
    tcase_add_test(c, a_start_is_cut_short_by_a_timeout_around_it);
    tcase_add_test(c, who_comes_while_another_task_starts_a_server_is_refused_and_stops_no_loop);
    tcase_add_test(c, a_server_is_freed_in_a_task_of_its_loop);
    tcase_add_test(c, a_server_with_a_deferred_request_is_freed_in_a_task_of_its_loop);
    tcase_add_loop_test(c, what_would_stop_the_loop_is_refused_in_a_call_back, 0, 3);
    tcase_add_test(c, a_server_without_memory_fails_what_it_must_and_ends);
    tcase_add_loop_test(c, a_server_of_a_broker_without_memory_fails_what_it_must_and_ends, 0, 5);
    tcase_add_test(c, a_step_in_a_task_is_refused_for_it_would_stop_the_loop);
    tcase_add_test(c, a_call_back_cannot_free_what_must_be_waited_for);
    tcase_add_test(c, a_server_whose_loop_is_gone_says_what_it_still_waits_for);
    tcase_add_test(c, run_returns_when_the_loop_of_its_only_server_is_gone);
    tcase_add_test(c, a_drained_server_outlives_its_loop);
    tcase_add_test(c, a_job_that_was_taken_runs_though_the_loop_ends_before_it_began);
    tcase_add_test(c, an_intake_that_is_cancelled_while_it_acknowledges_ends);
    tcase_add_test(c, a_method_that_stops_its_private_loop_is_run_to_its_end);
    tcase_add_test(c, the_child_of_a_fork_runs_explicit_methods_on_a_private_loop_of_its_own);
    tcase_add_test(c, a_server_is_not_started_on_the_private_loop_of_one_method);
    tcase_add_test(c, a_server_is_ended_by_another_thread_while_its_loop_turns);
    tcase_add_test(c, a_server_on_a_loop_outlives_connections_that_are_lost);
    tcase_add_test(c, loops_that_come_and_go_leave_no_thread_and_no_connection_each);
    tcase_add_test(c, a_loop_outlives_a_transport_that_another_thread_freed);
    tcase_add_test(c, a_loop_that_was_told_to_stop_still_sleeps_in_its_turns);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
