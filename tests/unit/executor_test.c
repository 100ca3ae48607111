/* SPDX-License-Identifier: Apache-2.0 */
/* The executors, each test under each of them, against a listener fed by hand. */
#include "base/alloc.h"
#include "base/log.h"
#include "dispatcher/live.h"
#include "executors/eventcount.h"
#include "tests/support/mock_listener.h"

#include <check.h>
#include <fjord/await.h>
#include <fjord/executor.h>
#include <fjord/sync.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The last is a plug-in's path, where there is one. */
static const char *names[] = { "blocking", "threading", "coroutine", "bridged", NULL };
enum { EXECUTORS = sizeof names / sizeof names[0] - 1 };

/* ---- the rig ----------------------------------------------------------------------------------- */

static mock_listener *mock;
static fj_dispatcher *d;
static fj_executor *x;
static fj_loop *loop; /* of the thread that steps, under an executor on one */
static pthread_t stepper;
static bool stepping;
static atomic_uint errors_logged;

/* What methods and test tell each other. */
static fj__eventcount told;
static atomic_uint entered, most, inside, jobs;
static fj_event *gate;
static _Atomic(fj_request *) kept;
static atomic_int code_inside;

static void tell(void)
{
    fj__eventcount_raise(&told);
}

/* Wait until `*count` is at least `n`; a test that waits in vain fails by Check's time limit. */
static void await_count(atomic_uint *count, unsigned n)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&told);
        if (atomic_load(count) >= n)
            return;
        (void)fj__eventcount_wait(&told, seen, fj_never());
    }
}

static void open_gate(void)
{
    fj_event_set(gate);
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)err;
    *ret = json_incref(args);
    return FJ_OK;
}

static fj_code refuse(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    return fj_fail(err, FJ_BAD_VALUE, "nope");
}

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args;
    (void)ret;
    (void)err;
    atomic_store(&kept, fj_request_ref(req));
    atomic_fetch_add(&entered, 1);
    tell();
    return FJ_DEFERRED;
}

static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    (void)err;
    unsigned now = atomic_fetch_add(&inside, 1) + 1, before = atomic_load(&most);
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
        ;
    atomic_fetch_add(&entered, 1);
    tell();
    fj_code code = fj_event_wait(gate, fj_never());
    atomic_fetch_sub(&inside, 1);
    return code;
}

static fj_code stop_here(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    x->ops->close(x);
    atomic_store(&code_inside, (int)x->ops->stop(x, fj_never(), err));
    *err = fj_error_free(*err);
    return FJ_OK;
}

static const fj_method methods[] = {
    FJ_METHOD("echo", FJ_PLAIN, echo),
    FJ_METHOD("fail", FJ_PLAIN, refuse),
    FJ_METHOD_FLAGS("expected", FJ_PLAIN, refuse, FJ_EXPECTED),
    FJ_METHOD("later", FJ_PLAIN, later),
    FJ_METHOD("hold", FJ_PLAIN, hold),
    FJ_METHOD("stop_here", FJ_PLAIN, stop_here),
    FJ_METHOD("green", FJ_GREEN, echo),
    FJ_METHOD("coro", FJ_CORO, echo),
};
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

static void on_log(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    (void)component;
    (void)text;
    if (level == FJ_LOG_ERROR)
        atomic_fetch_add(&errors_logged, 1);
}

static bool on_loop(void)
{
    return (x->ops->caps & FJ_EXECUTOR_LOOP) != 0;
}

static void *step_until_closed(void *user)
{
    fj_code code;
    (void)user;

    do {
        fj_error *err = NULL;
        code = x->ops->step(x, fj_never(), &err);
        fj_error_free(err);
    } while (code == FJ_OK || code == FJ_AGAIN);
    ck_assert_int_eq(code, FJ_CLOSED);
    return NULL;
}

static void make(const char *name, const fj_executor_opts *opts)
{
    const fj_executor_ops *ops = NULL;
    fj_executor_opts mine = *opts;
    fj_error *err = NULL;

    ck_assert_int_eq(fj_executor_find(NULL, name, &ops, &err), FJ_OK);
    if ((ops->caps & FJ_EXECUTOR_LOOP) != 0) {
        ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
        mine.loop = loop;
    }
    ck_assert_int_eq(ops->create(NULL, &mine, &x, &err), FJ_OK);
}

static void start_here(void)
{
    fj_error *err = NULL;

    ck_assert_int_eq(x->ops->start(x, &mock->base, d, &err), FJ_OK);
}

struct wanted {
    const char *name;
    fj_executor_opts opts;
    atomic_uint started;
};

/* A loop belongs to the thread that made it, which starts and steps the server, and then turns the loop until it is told to
 * end: what a program's main() does. */
static void *serve(void *user)
{
    struct wanted *w = user;

    make(w->name, &w->opts);
    start_here();
    stepping = (x->ops->caps & FJ_EXECUTOR_STEPS) != 0;
    bool is_loop = on_loop();
    atomic_store(&w->started, 1);
    tell();
    if (!is_loop)
        return NULL;
    (void)step_until_closed(NULL);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    return NULL;
}

static void start(const char *name, const fj_executor_opts *opts)
{
    struct wanted w = { .name = name, .opts = *opts };

    ck_assert_int_eq(pthread_create(&stepper, NULL, serve, &w), 0);
    await_count(&w.started, 1);
    if (on_loop())
        return;
    (void)pthread_join(stepper, NULL);
    if (stepping)
        ck_assert_int_eq(pthread_create(&stepper, NULL, step_until_closed, NULL), 0);
}

static fj_executor_opts opts_for(unsigned slots)
{
    fj_executor_opts opts = { sizeof opts, slots, false, NULL, NULL, NULL };

    return opts;
}

static void rig(int i, unsigned slots)
{
    fj_executor_opts opts = opts_for(slots);

    start(names[i], &opts);
}

static void finish(void)
{
    fj_error *err = NULL;

    x->ops->close(x);
    x->ops->close(x);
    ck_assert_msg(x->ops->stop(x, fj_in_ms(10000), &err) == FJ_OK, "%s", fj_error_text(err));
    if (stepping && on_loop())
        fj_loop_stop(loop);
    if (stepping)
        (void)pthread_join(stepper, NULL);
    stepping = false;
    loop = fj_loop_free(loop);
    ck_assert_uint_eq(x->ops->running(x, NULL), 0);
    x->ops->free(x);
    x = NULL;
}

static void setup(void)
{
    fj_log_set(on_log, NULL);
    fj_log_set_level(FJ_LOG_DEBUG);
    mock = mock_new();
    ck_assert_int_eq(fj_event_new("gate", &gate), FJ_OK);
    ck_assert_int_eq(fj_dispatcher_new(NULL, &d, NULL), FJ_OK);
    ck_assert_int_eq(fj_dispatcher_add(d, &endpoint, NULL, NULL), FJ_OK);
}

static void teardown(void)
{
    if (x != NULL)
        finish();
    d = fj_dispatcher_free(d);
    ck_assert(!mock->polled_for_none);
    ck_assert(mock_free(mock));
    gate = fj_event_free(gate);
    fj_log_set(NULL, NULL);
}

static mock_msg *call(const char *method)
{
    char *json = fj__format("{\"method\": \"%s\", \"args\": {\"a\": 1}}", method);
    mock_msg *m = mock_call(mock, json);

    fj__free(json);
    return m;
}

static void answered(mock_msg *m)
{
    ck_assert(mock_wait(m));
    ck_assert_uint_eq(m->answers, 1);
    ck_assert(m->acked);
}

/* ---- what comes of a message ------------------------------------------------------------------- */

START_TEST(a_call_is_acknowledged_run_and_answered)
{
    rig(_i, 4);
    mock_msg *m = call("echo"), *green = call("green"), *coro = call("coro");
    answered(m);
    answered(green);
    answered(coro);
    ck_assert_int_eq(json_integer_value(json_object_get(m->result, "a")), 1);
}
END_TEST

START_TEST(failures_are_sent_and_only_unexpected_ones_logged_as_errors)
{
    rig(_i, 4);
    mock_msg *expected = call("expected");
    answered(expected);
    ck_assert_str_eq(fj_error_text(expected->failure), "nope");
    ck_assert_uint_eq(atomic_load(&errors_logged), 0);
    mock_msg *failed = call("fail");
    answered(failed);
    ck_assert_str_eq(fj_error_text(failed->failure), "nope");
    ck_assert_uint_eq(atomic_load(&errors_logged), 1);
}
END_TEST

START_TEST(with_ack_done_nothing_is_acknowledged_before)
{
    fj_executor_opts opts = opts_for(2);

    opts.ack_done = true;
    start(names[_i], &opts);
    mock_msg *m = call("echo"), *cast = mock_cast(mock, "{\"method\": \"echo\"}");
    ck_assert(mock_wait(m) && mock_wait(cast));
    ck_assert(!m->acked && m->answers == 1);
    ck_assert(!cast->acked && cast->done);
    ck_assert_uint_eq(mock->acks, 0);
}
END_TEST

START_TEST(a_stale_message_does_not_run)
{
    mock->stale_acks = true;
    mock_msg *stale = call("echo");
    rig(_i, 2);
    ck_assert(mock_wait(stale));
    ck_assert_uint_eq(stale->tries, 0);
    answered(call("echo"));
}
END_TEST

/* What the dispatcher has counted of a method. */
static json_int_t counted(const char *method, const char *member)
{
    json_t *all = fj__dispatcher_counters(d, "s"), *row;
    json_int_t n = 0;
    size_t i;

    json_array_foreach(all, i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "method")), method) == 0)
            n += json_integer_value(json_object_get(row, member));
    }
    json_decref(all);
    return n;
}

START_TEST(a_message_that_cannot_be_acknowledged_does_not_run)
{
    mock->ack_code = FJ_TIMEOUT;
    mock_msg *m = call("echo");
    rig(_i, 2);
    ck_assert(mock_wait(m));
    ck_assert(m->requeued);
    ck_assert_uint_eq(m->tries, 0);
    answered(call("echo"));
    ck_assert_uint_eq(atomic_load(&errors_logged), 1);
    ck_assert_int_eq(counted("echo", "requeued"), 1);
    ck_assert_int_eq(counted("echo", "calls"), 1);
}
END_TEST

START_TEST(polling_goes_on_after_an_error)
{
    mock->poll_fails = 1;
    rig(_i, 2);
    answered(call("echo"));
    ck_assert_uint_eq(atomic_load(&errors_logged), 1);
}
END_TEST

static fj_code wrap(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = fj_invoke_direct(NULL, req, args, ret, err);

    json_object_set_new(*ret, "wrapped", json_string(user));
    return code;
}

START_TEST(the_wrapper_stands_around_each_method)
{
    char by[] = "me";
    fj_executor_opts opts = opts_for(2);

    opts.wrap = wrap;
    opts.wrap_user = by;
    start(names[_i], &opts);
    mock_msg *m = call("echo");
    answered(m);
    ck_assert_str_eq(json_string_value(json_object_get(m->result, "wrapped")), "me");
}
END_TEST

static fj_code refuse_args(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err)
{
    (void)user;
    (void)context;
    (void)in;
    (void)ret;
    return fj_fail(err, FJ_BAD_VALUE, "not to be read");
}

START_TEST(a_serializer_that_refuses_fails_the_request_and_frees_its_slot)
{
    static const fj_serializer serializer = { sizeof serializer, NULL, NULL, refuse_args, NULL, NULL };
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;

    d = fj_dispatcher_free(d);
    opts.serializer = &serializer;
    ck_assert_int_eq(fj_dispatcher_new(&opts, &d, NULL), FJ_OK);
    ck_assert_int_eq(fj_dispatcher_add(d, &endpoint, NULL, NULL), FJ_OK);
    rig(_i, 1);
    mock_msg *first = call("echo"), *second = call("echo");
    answered(first);
    answered(second);
    ck_assert_str_eq(fj_error_text(second->failure), "not to be read");
}
END_TEST

/* ---- slots ------------------------------------------------------------------------------------- */

START_TEST(as_many_run_at_once_as_there_are_slots)
{
    mock_msg *m[12];

    rig(_i, 3);
    for (size_t i = 0; i < fj__countof(m); i++)
        m[i] = call("hold");
    unsigned slots = 0;
    (void)x->ops->running(x, &slots);
    await_count(&entered, slots);
    ck_assert_uint_eq(x->ops->running(x, NULL), slots);
    ck_assert_uint_eq(mock_queued(mock), fj__countof(m) - slots);
    open_gate();
    for (size_t i = 0; i < fj__countof(m); i++)
        answered(m[i]);
    ck_assert_uint_eq(atomic_load(&most), slots);
    ck_assert_uint_le(mock->largest_max, slots);
}
END_TEST

/* Those that come first are brief, so that threading has one thread run many: one that waits then must not have the others wait, too. */
START_TEST(what_waits_after_brief_methods_holds_up_no_other)
{
    mock_msg *brief[60], *m[8];

    rig(_i, fj__countof(m));
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < fj__countof(brief); i++)
            brief[i] = call("echo");
        for (size_t i = 0; i < fj__countof(brief); i++)
            answered(brief[i]);
        atomic_store(&entered, 0);
        fj_event_clear(gate);
        for (size_t i = 0; i < fj__countof(m); i++)
            m[i] = call("hold");
        unsigned slots = 0;
        (void)x->ops->running(x, &slots);
        await_count(&entered, slots);
        open_gate();
        for (size_t i = 0; i < fj__countof(m); i++)
            answered(m[i]);
    }
}
END_TEST

START_TEST(a_deferred_request_holds_its_slot_until_another_thread_answers_it)
{
    rig(_i, 1);
    mock_msg *first = call("later");
    await_count(&entered, 1);
    mock_msg *second = call("echo");
    ck_assert_uint_eq(x->ops->running(x, NULL), 1);
    ck_assert_uint_eq(mock_queued(mock), 1);
    fj_request *req = atomic_load(&kept);
    ck_assert_int_eq(fj_request_reply(req, json_true(), NULL), FJ_OK);
    ck_assert_int_eq(fj_request_reply(req, json_true(), NULL), FJ_STATE);
    fj_request_unref(req);
    answered(first);
    answered(second);
    ck_assert(json_is_true(first->result));
}
END_TEST

static void job(void *user)
{
    ck_assert_ptr_eq(user, &jobs);
    atomic_fetch_add(&jobs, 1);
    tell();
}

START_TEST(jobs_run_in_the_same_slots)
{
    fj_error *err = NULL;

    rig(_i, 1);
    ck_assert_int_eq(x->ops->submit(x, job, &jobs, &err), FJ_OK);
    await_count(&jobs, 1);
    mock_msg *m = call("hold");
    await_count(&entered, 1);
    ck_assert_int_eq(x->ops->submit(x, job, &jobs, &err), FJ_AGAIN);
    open_gate();
    answered(m);
    x->ops->close(x);
    ck_assert_int_eq(x->ops->submit(x, job, &jobs, &err), FJ_CLOSED);
    fj_error_free(err);
    ck_assert_uint_eq(atomic_load(&jobs), 1);
}
END_TEST

START_TEST(many_calls_and_jobs_at_once_are_all_served)
{
    mock_msg *m[200];
    unsigned submitted = 0;

    rig(_i, 4);
    for (size_t i = 0; i < fj__countof(m); i++) {
        m[i] = call("echo");
        if (x->ops->submit(x, job, &jobs, NULL) == FJ_OK)
            submitted++;
    }
    for (size_t i = 0; i < fj__countof(m); i++)
        answered(m[i]);
    await_count(&jobs, submitted);
}
END_TEST

/* ---- the end ----------------------------------------------------------------------------------- */

START_TEST(a_method_may_close_its_server_but_not_wait_for_it)
{
    rig(_i, 2);
    mock_msg *m = call("stop_here");
    answered(m);
    ck_assert_int_eq(atomic_load(&code_inside), FJ_STATE);
    finish();
}
END_TEST

START_TEST(stop_names_what_still_runs)
{
    fj_error *err = NULL;

    rig(_i, 1);
    mock_msg *m = call("hold");
    await_count(&entered, 1);
    x->ops->close(x);
    ck_assert_int_eq(x->ops->stop(x, fj_in_ms(20), &err), FJ_TIMEOUT);
    ck_assert_str_eq(fj_error_text(err), "still running: hold");
    fj_error_free(err);
    open_gate();
    answered(m);
    finish();
}
END_TEST

START_TEST(stop_waits_for_what_runs)
{
    rig(_i, 1);
    mock_msg *m = call("hold");
    await_count(&entered, 1);
    x->ops->close(x);
    open_gate();
    finish();
    ck_assert(m->freed);
    ck_assert_uint_eq(m->answers, 1);
}
END_TEST

START_TEST(abort_fails_deferred_requests)
{
    fj_error *err = NULL;

    rig(_i, 1);
    mock_msg *m = call("later");
    await_count(&entered, 1);
    x->ops->close(x);
    ck_assert_int_eq(x->ops->stop(x, fj_in_ms(20), &err), FJ_TIMEOUT);
    ck_assert_str_eq(fj_error_text(err), "still running: later (deferred)");
    fj_error_free(err);
    x->ops->abort(x);
    answered(m);
    ck_assert_str_eq(fj_error_text(m->failure), "the server stopped before the request was answered");
    fj_request_unref(atomic_load(&kept));
    finish();
}
END_TEST

START_TEST(a_forked_child_forgets_what_the_parent_runs_and_answers_none_of_it)
{
    int status = 0;

    rig(_i, 1);
    mock_msg *m = call("later");
    await_count(&entered, 1);
    fj_request *req = atomic_load(&kept);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        bool good = fj_request_reply(req, json_true(), NULL) == FJ_FORKED;
        fj_request_unref(req);
        x->ops->at_fork(x);
        good = good && x->ops->running(x, NULL) == 0;
        x->ops->free(x); /* waits for no thread, since there is none */
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(m->answers, 0);
    ck_assert_int_eq(fj_request_reply(req, json_true(), NULL), FJ_OK);
    fj_request_unref(req);
    answered(m);
}
END_TEST

START_TEST(after_close_nothing_is_taken)
{
    rig(_i, 2);
    answered(call("echo"));
    finish();
    (void)call("echo");
    ck_assert_uint_eq(mock_queued(mock), 1);
}
END_TEST

/* ---- steps ------------------------------------------------------------------------------------- */

START_TEST(a_step_processes_one_message_or_says_why_not)
{
    fj_executor_opts opts = opts_for(1);

    make("blocking", &opts);
    start_here();
    ck_assert_int_eq(x->ops->step(x, fj_in_ms(0), NULL), FJ_TIMEOUT);
    mock_msg *first = call("echo"), *second = call("echo");
    ck_assert_int_eq(x->ops->step(x, fj_never(), NULL), FJ_OK);
    ck_assert(first->freed && !second->freed);
    mock->base.ops->interrupt(&mock->base);
    ck_assert_int_eq(x->ops->step(x, fj_never(), NULL), FJ_AGAIN);
    ck_assert_int_eq(x->ops->step(x, fj_never(), NULL), FJ_OK);
    ck_assert(second->freed);
    (void)call("later");
    ck_assert_int_eq(x->ops->step(x, fj_never(), NULL), FJ_OK);
    unsigned polls = mock->polls;
    ck_assert_int_eq(x->ops->step(x, fj_in_ms(5), NULL), FJ_TIMEOUT);
    ck_assert_uint_eq(mock->polls, polls);
    ck_assert_int_eq(fj_request_reply(atomic_load(&kept), NULL, NULL), FJ_OK);
    fj_request_unref(atomic_load(&kept));
    x->ops->close(x);
    ck_assert_int_eq(x->ops->step(x, fj_never(), NULL), FJ_CLOSED);
}
END_TEST

/* Turn the loop until it has nothing more to do: it sleeps then, rather than look again and again. */
static void settle(void)
{
    fj_code code;
    unsigned turns = 0;

    do
        code = fj_loop_turn(loop, fj_in_ms(50), NULL);
    while (code == FJ_OK && ++turns < 100);
    ck_assert_int_eq(code, FJ_TIMEOUT);
}

START_TEST(a_loop_sleeps_while_messages_wait_for_a_slot_and_goes_on_when_one_is_given_back)
{
    fj_executor_opts opts = opts_for(1);

    make("coroutine", &opts);
    start_here();
    mock_msg *first = call("later"), *second = call("echo");
    settle();
    ck_assert_uint_eq(mock_queued(mock), 1);
    (void)call("echo");
    settle();
    ck_assert_uint_eq(mock_queued(mock), 2);
    mock->base.ops->interrupt(&mock->base);
    settle();
    ck_assert_int_eq(fj_request_reply(atomic_load(&kept), NULL, NULL), FJ_OK);
    fj_request_unref(atomic_load(&kept));
    settle();
    ck_assert_uint_eq(mock_queued(mock), 0);
    answered(first);
    answered(second);
}
END_TEST

START_TEST(a_step_of_a_loop_belongs_to_its_thread_and_says_why_it_ends)
{
    fj_executor_opts opts = opts_for(2);

    make("coroutine", &opts);
    start_here();
    ck_assert_int_eq(x->ops->step(x, fj_in_ms(0), NULL), FJ_TIMEOUT);
    mock_msg *m = call("coro");
    ck_assert_int_eq(x->ops->step(x, fj_in_ms(10000), NULL), FJ_OK);
    answered(m);
    x->ops->close(x);
    ck_assert_int_eq(x->ops->step(x, fj_never(), NULL), FJ_CLOSED);
}
END_TEST

/* ---- explicit methods -------------------------------------------------------------------------- */

static fj_code short_sleep(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)err;
    fj_code code = fj_sleep(fj_in_ms(1));
    *ret = json_integer(1);
    return code;
}

/* Three tasks side by side, and the sum of what they gave. */
static fj_code gathers(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_future *all = NULL, *futures[3];
    fj_task *tasks[3];
    json_t *sum = NULL;
    fj_code code = FJ_OK;

    (void)args;
    if (fj_request_current() != req)
        return fj_fail(err, FJ_INTERNAL, "another request is current");
    for (unsigned i = 0; i < 3 && code == FJ_OK; i++) {
        code = fj_task_spawn(short_sleep, NULL, NULL, &tasks[i], err);
        futures[i] = code == FJ_OK ? fj_task_future(tasks[i]) : NULL;
    }
    if (code == FJ_OK)
        code = fj_gather(futures, 3, 0, &all, err);
    if (code == FJ_OK)
        code = fj_await(all, fj_never(), &sum, err);
    for (unsigned i = 0; i < 3; i++)
        fj_task_unref(tasks[i]);
    fj_future_unref(all);
    if (code != FJ_OK)
        return code;
    *ret = json_integer((json_int_t)json_array_size(sum));
    json_decref(sum);
    return fj_request_current() == req ? FJ_OK : fj_fail(err, FJ_INTERNAL, "another request is current");
}

/* Two such methods meet: neither is done before the other has begun. */
static fj_code meets(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    if (atomic_fetch_add(&inside, 1) + 1 == 2)
        fj_event_set(gate);
    fj_code code = fj_event_wait(gate, fj_in_ms(10000));
    return code == FJ_OK ? FJ_OK : fj_fail(err, code, "nobody came");
}

static atomic_int child_code;
static atomic_uint children_over;

static fj_code child(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    fj_code code = fj_sleep(fj_in_ms(3600000));
    atomic_store(&child_code, (int)code);
    atomic_fetch_add(&children_over, 1);
    tell();
    return code;
}

/* Leaves a task behind. */
static fj_code leaves(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    fj_code code = fj_task_spawn(child, NULL, NULL, NULL, err);
    return code == FJ_OK ? fj_sleep(fj_in_ms(1)) : code; /* so that it begins */
}

static fj_code raises(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = fj_sleep(fj_in_ms(1));

    return code == FJ_OK ? refuse(req, args, ret, err) : code;
}

static const fj_method explicit[] = {
    FJ_METHOD("gathers", FJ_CORO, gathers),
    FJ_METHOD("meets", FJ_CORO, meets),
    FJ_METHOD("leaves", FJ_CORO, leaves),
    FJ_METHOD("raises", FJ_CORO, raises),
    FJ_METHOD_FLAGS("expects", FJ_CORO, raises, FJ_EXPECTED),
};
static const fj_endpoint explicit_endpoint = FJ_ENDPOINT(NULL, NULL, explicit);

static void explicit_rig(int i, unsigned slots)
{
    ck_assert_int_eq(fj_dispatcher_add(d, &explicit_endpoint, NULL, NULL), FJ_OK);
    rig(i, slots);
}

START_TEST(an_explicit_method_spawns_and_gathers_and_knows_its_request)
{
    explicit_rig(_i, 2);
    mock_msg *m = call("gathers"), *again = call("gathers");
    answered(m);
    answered(again);
    ck_assert_ptr_null(m->failure);
    ck_assert_int_eq(json_integer_value(m->result), 3);
    ck_assert_int_eq(json_integer_value(again->result), 3);
}
END_TEST

START_TEST(explicit_methods_wait_side_by_side)
{
    explicit_rig(_i, 2);
    mock_msg *m = call("meets"), *other = call("meets");
    answered(m);
    answered(other);
    ck_assert_ptr_null(m->failure);
    ck_assert_ptr_null(other->failure);
}
END_TEST

START_TEST(failures_of_explicit_methods_are_as_those_of_others)
{
    explicit_rig(_i, 2);
    mock_msg *expected = call("expects");
    answered(expected);
    ck_assert_str_eq(fj_error_text(expected->failure), "nope");
    ck_assert_uint_eq(atomic_load(&errors_logged), 0);
    mock_msg *failed = call("raises");
    answered(failed);
    ck_assert_str_eq(fj_error_text(failed->failure), "nope");
    ck_assert_uint_eq(atomic_load(&errors_logged), 1);
}
END_TEST

/* Under an executor without a loop the method's loop ends with it, as asyncio.run()'s does. */
START_TEST(what_an_explicit_method_leaves_behind_is_cancelled_when_it_ends)
{
    explicit_rig(_i, 1);
    mock_msg *m = call("leaves"), *next = call("leaves");
    answered(m);
    answered(next);
    ck_assert_ptr_null(m->failure);
    ck_assert_uint_eq(atomic_load(&children_over), 2);
    ck_assert_int_eq(atomic_load(&child_code), FJ_CANCELLED);
}
END_TEST

START_TEST(what_a_method_leaves_behind_on_the_server_s_loop_goes_on_until_the_loop_is_freed)
{
    explicit_rig(2, 1);
    answered(call("leaves"));
    answered(call("echo"));
    ck_assert_uint_eq(atomic_load(&children_over), 0);
    finish();
    ck_assert_uint_eq(atomic_load(&children_over), 1);
}
END_TEST

/* ---- the registry ------------------------------------------------------------------------------ */

START_TEST(executors_are_found_by_name_and_alias)
{
    const fj_executor_ops *a = NULL, *b = NULL;

    ck_assert_int_eq(fj_executor_find(NULL, "threading", &a, NULL), FJ_OK);
    ck_assert_int_eq(fj_executor_find(NULL, "thread", &b, NULL), FJ_OK);
    ck_assert_ptr_eq(a, b);
    ck_assert_str_eq(fj_executor_builtin(0)->name, "blocking");
    ck_assert_ptr_null(fj_executor_builtin(1000));
}
END_TEST

START_TEST(an_unknown_name_is_answered_with_those_there_are)
{
    const fj_executor_ops *ops = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(fj_executor_find(NULL, "warp", &ops, &err), FJ_NO_EXECUTOR);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "\"warp\""));
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "blocking, threading"));
    fj_error_free(err);
}
END_TEST

int main(void)
{
    names[EXECUTORS] = getenv("FJ_TEST_PLUGIN");
    const int all = names[EXECUTORS] != NULL ? EXECUTORS + 1 : EXECUTORS;
    Suite *suite = suite_create("executor");
    TCase *tc = tcase_create("each");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, a_call_is_acknowledged_run_and_answered, 0, all);
    tcase_add_loop_test(tc, failures_are_sent_and_only_unexpected_ones_logged_as_errors, 0, all);
    tcase_add_loop_test(tc, with_ack_done_nothing_is_acknowledged_before, 0, all);
    tcase_add_loop_test(tc, a_stale_message_does_not_run, 0, all);
    tcase_add_loop_test(tc, a_message_that_cannot_be_acknowledged_does_not_run, 0, all);
    tcase_add_loop_test(tc, polling_goes_on_after_an_error, 0, all);
    tcase_add_loop_test(tc, the_wrapper_stands_around_each_method, 0, all);
    tcase_add_loop_test(tc, a_serializer_that_refuses_fails_the_request_and_frees_its_slot, 0, all);
    tcase_add_loop_test(tc, as_many_run_at_once_as_there_are_slots, 0, all);
    tcase_add_loop_test(tc, what_waits_after_brief_methods_holds_up_no_other, 0, all);
    tcase_add_loop_test(tc, a_deferred_request_holds_its_slot_until_another_thread_answers_it, 0, all);
    tcase_add_loop_test(tc, jobs_run_in_the_same_slots, 0, all);
    tcase_add_loop_test(tc, many_calls_and_jobs_at_once_are_all_served, 0, all);
    tcase_add_loop_test(tc, a_method_may_close_its_server_but_not_wait_for_it, 0, all);
    tcase_add_loop_test(tc, stop_names_what_still_runs, 0, all);
    tcase_add_loop_test(tc, stop_waits_for_what_runs, 0, all);
    tcase_add_loop_test(tc, abort_fails_deferred_requests, 0, all);
    tcase_add_loop_test(tc, a_forked_child_forgets_what_the_parent_runs_and_answers_none_of_it, 0, all);
    tcase_add_loop_test(tc, after_close_nothing_is_taken, 0, all);
    tcase_add_test(tc, a_step_processes_one_message_or_says_why_not);
    tcase_add_test(tc, a_loop_sleeps_while_messages_wait_for_a_slot_and_goes_on_when_one_is_given_back);
    tcase_add_test(tc, a_step_of_a_loop_belongs_to_its_thread_and_says_why_it_ends);
    tcase_add_loop_test(tc, an_explicit_method_spawns_and_gathers_and_knows_its_request, 0, all);
    tcase_add_loop_test(tc, explicit_methods_wait_side_by_side, 1, EXECUTORS);
    tcase_add_loop_test(tc, failures_of_explicit_methods_are_as_those_of_others, 0, all);
    tcase_add_loop_test(tc, what_an_explicit_method_leaves_behind_is_cancelled_when_it_ends, 0, 2);
    tcase_add_test(tc, what_a_method_leaves_behind_on_the_server_s_loop_goes_on_until_the_loop_is_freed);
    tcase_add_test(tc, executors_are_found_by_name_and_alias);
    tcase_add_test(tc, an_unknown_name_is_answered_with_those_there_are);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
