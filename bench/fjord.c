/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's Fjord side: `fjord server|client URL ...` as support/plan.h says.  The server echoes under any executor.  The client's
 * calls are made by a plain thread, or with caller=tasks by as many tasks of a loop as there are calls under way. */
#include "bench/support/tally.h"
#include <fjord/fjord.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a request is beside its argument, so that it has about the size asked for. */
#define ENVELOPE 274
#define TEXT_MIN 26

static const plan *p;
static char topic[64];
static char *text;

/* ---- the server ---- */

static fj_server *running;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *x = json_object_get(args, "x");

    (void)req;
    if (x == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "echo needs x");
    *ret = json_incref(x);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static void on_term(int sig)
{
    (void)sig;
    fj_server_stop(running);
}

static fj_code serve(fj_transport *transport, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = topic, .server = "bench");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    opts.executor = p->executor;
    fj_code code = fj_server_new(transport, &here, &opts, &running, err);
    if (code == FJ_OK)
        code = fj_server_add(running, &endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_server_start(running, err);
    if (code == FJ_OK) {
        (void)signal(SIGTERM, on_term);
        puts("ready");
        (void)fflush(stdout);
        code = fj_server_run(running, err);
        (void)signal(SIGTERM, SIG_IGN);
    }
    fj_server_free(running);
    return code;
}

/* ---- the client ---- */

static fj_client *client;
static tally times;

static json_t *args(void)
{
    return json_pack("{s:s}", "x", text);
}

/* @param ret takes */
static fj_code look_at(json_t *ret, fj_error **err)
{
    bool right = json_is_string(ret) && strcmp(json_string_value(ret), text) == 0;

    json_decref(ret);
    return right ? FJ_OK : fj_fail(err, FJ_BAD_VALUE, "a call was answered with something else");
}

static fj_code call(fj_error **err)
{
    json_t *ret = NULL;
    fj_code code = fj_client_call(client, "echo", args(), NULL, &ret, err);

    return code == FJ_OK ? look_at(ret, err) : code;
}

/* A call, or a cast and its confirmation, and its time. */
static fj_code one(fj_error **err)
{
    double began = plan_now();
    fj_code code = p->kind == PLAN_CAST ? fj_client_cast(client, "echo", args(), NULL, err) : call(err);

    tally_add(&times, plan_now() - began);
    return code;
}

static fj_code in_turn(long n, fj_error **err)
{
    fj_code code = FJ_OK;

    for (long i = 0; i < n && code == FJ_OK; i++)
        code = one(err);
    return code;
}

/* ---- many under way, begun by one thread, which waits for them in turn ---- */

static fj_code begin(fj_future **ret, fj_error **err)
{
    if (p->kind == PLAN_CAST)
        return fj_client_cast_async(client, "echo", args(), NULL, ret, err);
    return fj_client_call_async(client, "echo", args(), NULL, ret, err);
}

static fj_code end(fj_future *future, fj_error **err)
{
    json_t *ret = NULL;
    fj_code code = fj_future_wait(future, fj_never(), &ret, err);

    if (code == FJ_OK && p->kind != PLAN_CAST)
        return look_at(ret, err);
    json_decref(ret);
    return code;
}

static fj_code by_thread(long n, fj_error **err)
{
    static fj_future *ring[PLAN_AT_ONCE_MAX];
    static double began[PLAN_AT_ONCE_MAX];
    fj_code code = FJ_OK;

    if (p->at_once == 1)
        return in_turn(n, err);
    for (long i = 0; i < n + p->at_once; i++) {
        long at = i % p->at_once;

        if (ring[at] != NULL && code == FJ_OK) {
            code = end(ring[at], err);
            tally_add(&times, plan_now() - began[at]);
        }
        ring[at] = fj_future_unref(ring[at]);
        began[at] = plan_now();
        if (code == FJ_OK && i < n)
            code = begin(&ring[at], err);
    }
    return code;
}

/* ---- each when it is due ---- */

typedef struct {
    double due;
    fj_code code;
} timed;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long over;
static fj_code failed;

/* On the thread that completes it. */
static void on_answer(fj_future *future, void *user)
{
    timed *t = user;
    double now = plan_now();
    fj_code code = fj_future_result(future, NULL, NULL);

    (void)pthread_mutex_lock(&lock);
    tally_add(&times, now - t->due);
    if (code != FJ_OK)
        failed = code;
    over++;
    (void)pthread_cond_signal(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void sleep_until(double due)
{
    struct timespec t = { (time_t)due, (long)((due - (double)(time_t)due) * 1e9) };

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static fj_code when_due(long n, fj_error **err)
{
    timed *calls = calloc((size_t)n, sizeof *calls);
    double start = plan_now();
    fj_code code = calls == NULL ? FJ_NOMEM : FJ_OK;
    long begun = 0;

    over = 0;
    for (; begun < n && code == FJ_OK; begun++) {
        fj_future *future = NULL;

        calls[begun].due = start + (double)begun / p->rate;
        if (calls[begun].due > plan_now())
            sleep_until(calls[begun].due);
        code = begin(&future, err);
        if (code == FJ_OK)
            code = fj_future_then(future, on_answer, &calls[begun]);
        (void)fj_future_unref(future);
        if (code != FJ_OK)
            break;
    }
    (void)pthread_mutex_lock(&lock);
    while (over < begun)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
    free(calls);
    return code == FJ_OK && failed != FJ_OK ? fj_fail(err, failed, "a call failed") : code;
}

/* ---- tasks of a loop ---- */

static long left;

static fj_code caller(void *user, json_t **ret, fj_error **err)
{
    fj_code code = FJ_OK;

    (void)user, (void)ret;
    while (left > 0 && code == FJ_OK) {
        left--;
        code = one(err);
    }
    return code;
}

/* Calls that are due, each in a task of its own, which another thread begins: a loop's timers have whole milliseconds. */
typedef struct {
    fj_loop *loop;
    double *due;
    long n;
} pacing;

static pacing pace;

static fj_code due_call(void *user, json_t **ret, fj_error **err)
{
    const double *due = user;
    fj_code code = p->kind == PLAN_CAST ? fj_client_cast(client, "echo", args(), NULL, NULL) : call(NULL);

    (void)ret, (void)err;
    tally_add(&times, plan_now() - *due);
    if (code != FJ_OK)
        failed = code;
    if (++over == pace.n)
        fj_loop_stop(pace.loop);
    return FJ_OK;
}

static void *begin_when_due(void *user)
{
    double start = plan_now();
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    (void)user;
    opts.loop = pace.loop;
    for (long i = 0; i < pace.n; i++) {
        pace.due[i] = start + (double)i / p->rate;
        if (pace.due[i] > plan_now())
            sleep_until(pace.due[i]);
        plan_check(fj_task_spawn_threadsafe(due_call, &pace.due[i], &opts, NULL, NULL) == FJ_OK,
                   "beginning a call");
    }
    return NULL;
}

static fj_code paced(fj_loop *loop, long n, fj_error **err)
{
    pthread_t thread;

    pace = (pacing){ loop, calloc((size_t)n, sizeof(double)), n };
    over = 0;
    plan_check(pace.due != NULL && pthread_create(&thread, NULL, begin_when_due, NULL) == 0,
               "starting a thread");
    fj_code code = fj_loop_run_forever(loop, err);
    (void)pthread_join(thread, NULL);
    free(pace.due);
    return code == FJ_OK && failed != FJ_OK ? fj_fail(err, failed, "a call failed") : code;
}

static fj_code by_tasks(fj_loop *loop, long n, fj_error **err)
{
    fj_task *tasks[PLAN_AT_ONCE_MAX] = { NULL };
    fj_code code = FJ_OK;

    left = n;
    for (long i = 0; i < p->at_once && code == FJ_OK; i++)
        code = fj_task_spawn(caller, NULL, NULL, &tasks[i], err);
    for (long i = 0; i < p->at_once; i++) {
        if (tasks[i] != NULL && code == FJ_OK)
            code = fj_loop_run_until_complete(loop, fj_task_future(tasks[i]), NULL, err);
        (void)fj_task_unref(tasks[i]);
    }
    return code;
}

/* ---- measuring ---- */

static fj_code run(fj_loop *loop, long n, fj_error **err)
{
    if (n == 0)
        return FJ_OK;
    if (loop != NULL)
        return p->rate > 0 ? paced(loop, n, err) : by_tasks(loop, n, err);
    return p->rate > 0 ? when_due(n, err) : by_thread(n, err);
}

/* A call is answered behind all casts. */
static fj_code last(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret;
    return call(err);
}

static fj_code behind(fj_loop *loop, fj_error **err)
{
    fj_task *task = NULL;

    if (p->kind != PLAN_CAST)
        return FJ_OK;
    if (loop == NULL)
        return call(err);
    fj_code code = fj_task_spawn(last, NULL, NULL, &task, err);
    if (code == FJ_OK)
        code = fj_loop_run_until_complete(loop, fj_task_future(task), NULL, err);
    (void)fj_task_unref(task);
    return code;
}

static fj_code measure(fj_transport *transport, fj_error **err)
{
    fj_target there = FJ_TARGET(.topic = topic);
    fj_loop *loop = NULL;
    fj_code code = fj_client_new(transport, &there, NULL, &client, err);

    if (code == FJ_OK && strcmp(p->caller, "tasks") == 0)
        code = fj_loop_current(&loop, err);
    if (code == FJ_OK)
        code = run(loop, p->warm_up, err);
    plan_say(p, "begin");
    times = tally_new(p->calls);
    double start = plan_now();
    if (code == FJ_OK)
        code = run(loop, p->calls, err);
    if (code == FJ_OK)
        code = behind(loop, err);
    if (code == FJ_OK)
        tally_report(&times, p, plan_now() - start);
    tally_free(&times);
    fj_client_free(client);
    return code;
}

/* Connections, each of a transport of its own, one of which is there. */
static fj_code keep(fj_transport *first, fj_error **err)
{
    fj_transport *transports[PLAN_AT_ONCE_MAX] = { first };
    fj_client *clients[PLAN_AT_ONCE_MAX] = { NULL };
    fj_target there = FJ_TARGET(.topic = topic);
    fj_code code = FJ_OK;

    for (long i = 0; i < p->at_once && code == FJ_OK; i++) {
        if (i > 0)
            code = fj_transport_open(NULL, p->where, &transports[i], err);
        if (code == FJ_OK)
            code = fj_client_new(transports[i], &there, NULL, &clients[i], err);
        client = clients[i];
        if (code == FJ_OK)
            code = call(err);
    }
    if (code == FJ_OK)
        tally_report(&times, p, 0);
    for (long i = 0; i < p->at_once; i++) {
        fj_client_free(clients[i]);
        if (i > 0)
            fj_transport_free(transports[i]);
    }
    return code;
}

static fj_code play(fj_transport *transport, fj_error **err)
{
    size_t n = p->bytes > ENVELOPE + TEXT_MIN ? p->bytes - ENVELOPE : TEXT_MIN;
    fj_code code;

    text = calloc(n + 1, 1);
    plan_check(text != NULL, "allocating a text");
    memset(text, 'x', n);
    if (strcmp(p->role, "server") == 0)
        code = serve(transport, err);
    else
        code = p->kind == PLAN_IDLE ? keep(transport, err) : measure(transport, err);
    free(text);
    return code;
}

int main(int argc, char **argv)
{
    plan words = plan_read("fjord", argc, argv);
    fj_transport *transport = NULL;
    fj_error *err = NULL;

    p = &words;
    (void)snprintf(topic, sizeof topic, "bench_fjord_%s", p->executor);
    fj_code code = fj_transport_open(NULL, p->where, &transport, &err);
    if (code == FJ_OK)
        code = play(transport, &err);
    if (code != FJ_OK)
        (void)fprintf(stderr, "fjord: %s (%s)\n", fj_error_text(err), fj_code_name(code));
    fj_error_free(err);
    fj_transport_free(transport);
    return code == FJ_OK ? 0 : 1;
}
