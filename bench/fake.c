/* SPDX-License-Identifier: Apache-2.0 */
/* Calls within one process, over fake://: on one loop under `coroutine` and `green`, their values handed over or copied, and from thread to
 * thread under `threading`; beside the same JSON without any call, and beside what two threads can do at best.  Each line is a cell, a
 * side in it and microseconds a call; bench/run plays rounds of this. */
#include "bench/support/plan.h"
#include "bench/support/two_threads.h"
#include <fjord/fjord.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "0123456789abcdef0123456789"
#define MANY 64
#define ON_LOOP 20000
#define IN_TURN 2000
#define AT_ONCE 50000

static void check(fj_code code, const char *what, fj_error *err)
{
    if (code == FJ_OK)
        return;
    (void)fprintf(stderr, "fake: %s: %s\n", what, err != NULL ? fj_error_text(err) : fj_code_text(code));
    exit(EXIT_FAILURE);
}

static void tell(const char *cell, const char *side, double seconds, long n)
{
    printf("{\"cell\": \"%s\", \"side\": \"%s\", \"us\": %.5f}\n", cell, side, seconds / (double)n * 1e6);
}

/* ---- the method, which gives a value of its own, or one that has other holders and so is copied ---- */

static json_t *shared;

static fj_code fresh(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    if (json_object_get(args, "x") == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "fresh needs x");
    *ret = json_string(TEXT);
    return FJ_OK;
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *x = json_object_get(args, "x");

    (void)req;
    if (x == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "echo needs x");
    *ret = json_incref(x);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("fresh", FJ_PLAIN, fresh), FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static json_t *args(const char *method)
{
    return *method == 'e' ? json_pack("{s:O}", "x", shared) : json_pack("{s:s}", "x", TEXT);
}

static void look_at(json_t *ret)
{
    check(json_is_string(ret) && strcmp(json_string_value(ret), TEXT) == 0 ? FJ_OK : FJ_BAD_VALUE, "an answer",
          NULL);
    json_decref(ret);
}

/* ---- a server, and calls to it ---- */

static fj_transport *transport;
static fj_server *server;
static fj_client *client;

static void open_all(const char *executor)
{
    fj_target here = FJ_TARGET(.topic = executor, .server = "bench"), there = FJ_TARGET(.topic = executor);
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_error *err = NULL;

    opts.executor = executor;
    check(fj_transport_open(NULL, "fake://", &transport, &err), "open", err);
    check(fj_server_new(transport, &here, &opts, &server, &err), "server", err);
    check(fj_server_add(server, &endpoint, NULL, &err), "endpoint", err);
    check(fj_server_start(server, &err), "start", err);
    check(fj_client_new(transport, &there, NULL, &client, &err), "client", err);
}

static void close_all(void)
{
    client = fj_client_free(client);
    server = fj_server_free(server);
    transport = fj_transport_free(transport);
}

static const char *called;
static long left;

static fj_code call_one(fj_error **err)
{
    json_t *ret = NULL;
    fj_code code = fj_client_call(client, called, args(called), NULL, &ret, err);

    if (code == FJ_OK)
        look_at(ret);
    return code;
}

static fj_code caller(void *user, json_t **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    (void)user, (void)ret;
    while (code == FJ_OK && left-- > 0)
        code = call_one(err);
    return code;
}

/* By tasks of this thread's loop. */
static double by_tasks(const char *method, long n, int tasks)
{
    fj_task *task[MANY];
    fj_loop *loop = NULL;
    fj_error *err = NULL;

    called = method;
    left = n;
    check(fj_loop_current(&loop, &err), "loop", err);
    double start = plan_now();
    for (int i = 0; i < tasks; i++)
        check(fj_task_spawn(caller, NULL, NULL, &task[i], &err), "task", err);
    for (int i = 0; i < tasks; i++) {
        check(fj_loop_run_until_complete(loop, fj_task_future(task[i]), NULL, &err), "calls", err);
        (void)fj_task_unref(task[i]);
    }
    return plan_now() - start;
}

static double in_turn(long n)
{
    fj_error *err = NULL;
    double start = plan_now();

    called = "fresh";
    for (long i = 0; i < n; i++)
        check(call_one(&err), "call", err);
    return plan_now() - start;
}

/* Waited for in the order in which they began. */
static double at_once(long n)
{
    fj_future *ring[MANY] = { NULL };
    fj_error *err = NULL;
    double start = plan_now();

    for (long i = 0; i < n + MANY; i++) {
        fj_future **call = &ring[i % MANY];
        json_t *ret = NULL;

        if (*call != NULL) {
            check(fj_future_wait(*call, fj_never(), &ret, &err), "answer", err);
            look_at(ret);
        }
        *call = fj_future_unref(*call);
        if (i < n)
            check(fj_client_call_async(client, "fresh", args("fresh"), NULL, call, &err), "call", err);
    }
    return plan_now() - start;
}

/* ---- what is measured ---- */

static void on_loop(const char *executor)
{
    char side[64];

    open_all(executor);
    (void)by_tasks("fresh", ON_LOOP / 10, 1);
    (void)snprintf(side, sizeof side, "%s-reference", executor);
    tell("one at once", side, by_tasks("fresh", ON_LOOP, 1), ON_LOOP);
    (void)snprintf(side, sizeof side, "%s-copy", executor);
    tell("one at once", side, by_tasks("echo", ON_LOOP, 1), ON_LOOP);
    (void)snprintf(side, sizeof side, "%s-reference", executor);
    tell("64 at once", side, by_tasks("fresh", ON_LOOP, MANY), ON_LOOP);
    close_all();
}

static void between_threads(void)
{
    open_all("threading");
    (void)in_turn(IN_TURN / 10);
    tell("one at once", "threading", in_turn(IN_TURN), IN_TURN);
    tell("64 at once", "threading", at_once(AT_ONCE), AT_ONCE);
    close_all();
}

/* The JSON of a call, without the call. */
static void json_alone(void)
{
    double start = plan_now();

    for (long i = 0; i < ON_LOOP; i++) {
        json_t *message =
            json_pack("{s:s, s:o, s:s}", "method", "fresh", "args", args("fresh"), "version", "1.0");
        json_t *ret = NULL;

        check(fresh(NULL, json_object_get(message, "args"), &ret, NULL), "fresh", NULL);
        look_at(ret);
        json_decref(message);
    }
    tell("one at once", "json-alone", plan_now() - start, ON_LOOP);
}

int main(void)
{
    shared = json_string(TEXT);
    check(shared != NULL ? FJ_OK : FJ_NOMEM, "a value", NULL);
    on_loop("coroutine");
    on_loop("green");
    json_alone();
    between_threads();
    tell("one at once", "eventfd", two_threads_eventfds(IN_TURN), IN_TURN);
    tell("64 at once", "queue", two_threads_queues(AT_ONCE, MANY), AT_ONCE);
    json_decref(shared);
    return 0;
}
