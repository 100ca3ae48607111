/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that block, given to the pool by tasks of several loops and by plain threads. */
#include "executors/eventcount.h"
#include "runtime/pool.h"

#include <check.h>
#include <fjord/await.h>
#include <fjord/loop.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static fj__eventcount told;
static atomic_uint begun, ended, freed;
static atomic_bool gate;

static void await_count(atomic_uint *count, unsigned n)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&told);
        if (atomic_load(count) >= n)
            return;
        (void)fj__eventcount_wait(&told, seen, fj_never());
    }
}

static void count_up(atomic_uint *count)
{
    (void)atomic_fetch_add(count, 1);
    fj__eventcount_raise(&told);
}

static void open_gate(void)
{
    atomic_store(&gate, true);
    fj__eventcount_raise(&told);
}

static void on_freed(void *user)
{
    (void)user;
    count_up(&freed);
}

/* Blocks until the gate is open. */
static fj_code gated(void *user, json_t **ret, fj_error **err)
{
    (void)err;
    count_up(&begun);
    for (unsigned seen = fj__eventcount_read(&told); !atomic_load(&gate); seen = fj__eventcount_read(&told))
        (void)fj__eventcount_wait(&told, seen, fj_never());
    *ret = json_string(user);
    count_up(&ended);
    return FJ_OK;
}

static void setup(void)
{
    atomic_store(&begun, 0);
    atomic_store(&ended, 0);
    atomic_store(&freed, 0);
    atomic_store(&gate, false);
}

static void teardown(void)
{
    open_gate();
    fj__pool_stop();
    fj_thread_pool_size(0);
}

#define code_is(expression, code) ck_assert_str_eq(fj_code_name(expression), #code)

static fj_code run_on(fj_loop *loop, fj_task_fn fn, void *user)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = loop;
    fj_code code = fj_task_spawn(fn, user, &opts, &task, NULL);
    if (code == FJ_OK)
        code = fj_loop_run_until_complete(loop, fj_task_future(task), NULL, NULL);
    (void)fj_task_unref(task);
    return code;
}

static fj_code run_once(fj_task_fn fn, void *user)
{
    fj_loop *loop = NULL;
    fj_code code = fj_loop_new(&loop, NULL);

    if (code == FJ_OK)
        code = run_on(loop, fn, user);
    fj_loop_free(loop);
    return code;
}

static fj_future *given(fj_task_fn fn, void *user)
{
    fj_future *future = NULL;

    code_is(fj_run_in_executor(fn, user, on_freed, &future, NULL), OK);
    return future;
}

/* ---- all at once --------------------------------------------------------------------------------- */

enum { LOOPS = 2, TASKS = 8, PLAIN = 2, EACH = 100 };

static fj_code twice(void *user, json_t **ret, fj_error **err)
{
    (void)err;
    *ret = json_integer(2 * (json_int_t)(uintptr_t)user);
    return FJ_OK;
}

static fj_code fails(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    return fj_fail(err, FJ_BAD_VALUE, "%u", (unsigned)(uintptr_t)user);
}

/* Every third fails.  @return how many outcomes were not what they must be */
static unsigned wrong(unsigned i, fj_code code, json_t *result, const fj_error *err)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%u", i);
    if (i % 3 == 0)
        return code != FJ_BAD_VALUE || strcmp(fj_error_text(err), text) != 0;
    return code != FJ_OK || json_integer_value(result) != 2 * (json_int_t)i;
}

static unsigned ask(unsigned i, fj_code (*wait)(fj_future *, fj_deadline, json_t **, fj_error **))
{
    fj_future *future = NULL;
    fj_error *err = NULL;
    json_t *result = NULL;
    unsigned bad = 1;

    if (fj_run_in_executor(i % 3 == 0 ? fails : twice, (void *)(uintptr_t)i, on_freed, &future, &err) ==
        FJ_OK) {
        fj_code code = wait(future, fj_never(), &result, &err);
        bad = wrong(i, code, result, err);
    }
    fj_future_unref(future);
    fj_error_free(err);
    json_decref(result);
    return bad;
}

static fj_code asks_often(void *user, json_t **ret, fj_error **err)
{
    atomic_uint *bad = user;
    pthread_t here = pthread_self();

    (void)ret;
    (void)err;
    for (unsigned i = 0; i < EACH; i++) {
        unsigned one = ask(i, fj_await);
        atomic_fetch_add(bad, one + (pthread_equal(here, pthread_self()) == 0));
    }
    return FJ_OK;
}

static fj_code many_tasks(void *user, json_t **ret, fj_error **err)
{
    fj_task *tasks[TASKS] = { NULL };
    fj_code code = FJ_OK;

    (void)ret;
    for (int i = 0; i < TASKS && code == FJ_OK; i++)
        code = fj_task_spawn(asks_often, user, NULL, &tasks[i], err);
    for (int i = 0; i < TASKS; i++) {
        if (tasks[i] != NULL && code == FJ_OK)
            code = fj_await(fj_task_future(tasks[i]), fj_never(), NULL, err);
        (void)fj_task_unref(tasks[i]);
    }
    return code;
}

static void *loop_thread(void *user)
{
    if (run_once(many_tasks, user) != FJ_OK)
        atomic_fetch_add((atomic_uint *)user, 1);
    return NULL;
}

static void *plain_thread(void *user)
{
    for (unsigned i = 0; i < EACH; i++)
        atomic_fetch_add((atomic_uint *)user, ask(i, fj_future_wait));
    return NULL;
}

START_TEST(tasks_of_two_loops_and_plain_threads_each_get_their_own_results)
{
    pthread_t threads[LOOPS + PLAIN];
    atomic_uint bad = 0;

    fj_thread_pool_size(4);
    for (int i = 0; i < LOOPS + PLAIN; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < LOOPS ? loop_thread : plain_thread, &bad), 0);
    for (int i = 0; i < LOOPS + PLAIN; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&bad), 0);
    ck_assert_uint_eq(atomic_load(&freed), (LOOPS * TASKS + PLAIN) * EACH);
}
END_TEST

static fj_code gathers(void *user, json_t **ret, fj_error **err)
{
    fj_future *all[20], *together = NULL;

    (void)user;
    for (unsigned i = 0; i < 20; i++)
        all[i] = given(twice, (void *)(uintptr_t)i);
    fj_code code = fj_gather(all, 20, 0, &together, err);
    for (int i = 0; i < 20; i++)
        fj_future_unref(all[i]);
    if (code == FJ_OK)
        code = fj_await(together, fj_never(), ret, err);
    fj_future_unref(together);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(json_integer_value(json_array_get(*ret, i)), 2 * i);
    return code;
}

START_TEST(many_jobs_are_awaited_together_and_their_results_are_in_order)
{
    code_is(run_once(gathers, NULL), OK);
}
END_TEST

/* ---- cut short ----------------------------------------------------------------------------------- */

static fj_code awaits(void *user, json_t **ret, fj_error **err)
{
    return fj_await(user, fj_never(), ret, err);
}

static fj_code cancels_queued(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    fj_future *first = given(gated, "first"), *second = given(gated, "second");
    fj_task *task = NULL;

    code_is(fj_task_spawn(awaits, second, NULL, &task, NULL), OK);
    code_is(fj_yield(), OK);
    (void)fj_task_cancel(task);
    code_is(fj_await(fj_task_future(task), fj_never(), NULL, NULL), CANCELLED);
    ck_assert_uint_eq(atomic_load(&freed), 1);
    open_gate();
    code_is(fj_await(first, fj_never(), NULL, NULL), OK);
    ck_assert_uint_eq(atomic_load(&ended), 1);
    (void)fj_task_unref(task);
    fj_future_unref(first);
    fj_future_unref(second);
    return FJ_OK;
}

START_TEST(a_task_cancelled_before_its_job_began_takes_the_job_back)
{
    fj_thread_pool_size(1);
    code_is(run_once(cancels_queued, NULL), OK);
    fj__pool_stop();
    ck_assert_uint_eq(atomic_load(&begun), 1);
}
END_TEST

static fj_code cancels_running(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    fj_future *future = given(gated, "late");
    fj_task *task = NULL;

    await_count(&begun, 1);
    code_is(fj_task_spawn(awaits, future, NULL, &task, NULL), OK);
    code_is(fj_yield(), OK);
    (void)fj_task_cancel(task);
    code_is(fj_await(fj_task_future(task), fj_never(), NULL, NULL), CANCELLED);
    ck_assert_uint_eq(atomic_load(&ended), 0);
    ck_assert_uint_eq(atomic_load(&freed), 0);
    (void)fj_task_unref(task);
    fj_future_unref(future);
    return FJ_OK;
}

START_TEST(a_task_cancelled_while_its_job_runs_does_not_wait_for_it)
{
    code_is(run_once(cancels_running, NULL), OK);
    open_gate(); /* the loop is gone by now */
    await_count(&freed, 1);
    ck_assert_uint_eq(atomic_load(&ended), 1);
}
END_TEST

static fj_code shields(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    fj_future *inner = given(gated, "kept"), *shield = NULL;
    fj_task *task = NULL;

    await_count(&begun, 1);
    code_is(fj_shield(inner, &shield, err), OK);
    code_is(fj_task_spawn(awaits, shield, NULL, &task, NULL), OK);
    code_is(fj_yield(), OK);
    (void)fj_task_cancel(task);
    code_is(fj_await(fj_task_future(task), fj_never(), NULL, NULL), CANCELLED);
    open_gate();
    fj_code code = fj_await(inner, fj_never(), ret, err);
    ck_assert_str_eq(json_string_value(*ret), "kept");
    (void)fj_task_unref(task);
    fj_future_unref(shield);
    fj_future_unref(inner);
    return code;
}

START_TEST(a_shielded_job_keeps_its_result)
{
    code_is(run_once(shields, NULL), OK);
}
END_TEST

static fj_code tries_twice(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    fj_future *future = given(gated, "in time");

    code_is(fj_await(future, fj_in_ms(1), NULL, NULL), TIMEOUT);
    ck_assert(!fj_future_done(future));
    open_gate();
    fj_code code = fj_await(future, fj_never(), ret, err);
    ck_assert_str_eq(json_string_value(*ret), "in time");
    fj_future_unref(future);
    return code;
}

START_TEST(a_job_goes_on_when_a_wait_for_it_has_timed_out)
{
    code_is(run_once(tries_twice, NULL), OK);
}
END_TEST

static fj_code leaves_some(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    fj_future *const *all = user;

    for (int i = 0; i < 4; i++)
        code_is(fj_task_spawn(awaits, all[i], NULL, NULL, NULL), OK);
    return fj_yield();
}

START_TEST(a_loop_is_freed_while_its_tasks_await_jobs_that_run)
{
    fj_future *all[4];

    for (int i = 0; i < 4; i++)
        all[i] = given(gated, "nobody");
    await_count(&begun, 4);
    code_is(run_once(leaves_some, all), OK);
    open_gate();
    await_count(&freed, 4);
    for (int i = 0; i < 4; i++) {
        code_is(fj_future_result(all[i], NULL, NULL), CANCELLED);
        fj_future_unref(all[i]);
    }
}
END_TEST

/* Cancellations that meet completions: each job is freed once, whatever comes first. */
static fj_code cancels_at_any_time(void *user, json_t **ret, fj_error **err)
{
    unsigned *odd = user;

    (void)ret;
    (void)err;
    for (unsigned i = 0; i < EACH; i++) {
        fj_future *future = given(twice, (void *)(uintptr_t)i);
        fj_task *task = NULL;
        code_is(fj_task_spawn(awaits, future, NULL, &task, NULL), OK);
        for (unsigned n = 0; n < i % 7; n++)
            code_is(fj_yield(), OK);
        (void)fj_task_cancel(task);
        fj_code code = fj_await(fj_task_future(task), fj_never(), NULL, NULL);
        *odd += code != FJ_OK && code != FJ_CANCELLED;
        (void)fj_task_unref(task);
        fj_future_unref(future);
    }
    return FJ_OK;
}

static void *cancelling_thread(void *user)
{
    if (run_once(cancels_at_any_time, user) != FJ_OK)
        *(unsigned *)user += 1;
    return NULL;
}

START_TEST(jobs_cancelled_at_any_time_are_freed_once)
{
    pthread_t threads[LOOPS];
    unsigned odd[LOOPS] = { 0 };

    fj_thread_pool_size(2);
    for (int i = 0; i < LOOPS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, cancelling_thread, &odd[i]), 0);
    for (int i = 0; i < LOOPS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(odd[i], 0);
    }
    fj__pool_stop();
    ck_assert_uint_eq(atomic_load(&freed), LOOPS * EACH);
}
END_TEST

/* ---- outside of tasks ---------------------------------------------------------------------------- */

static void on_done(fj_future *future, void *user)
{
    (void)future;
    fj_loop_stop(user);
}

static void from_call_back(fj_loop *loop, void *user)
{
    fj_future **future = user;

    *future = given(gated, "told");
    code_is(fj_future_wait(*future, fj_never(), NULL, NULL), WRONG_CONTEXT);
    code_is(fj_future_then(*future, on_done, loop), OK);
    open_gate();
}

START_TEST(a_loops_call_back_gives_a_job_and_is_told_of_its_end)
{
    fj_loop *loop = NULL;
    fj_future *future = NULL;
    json_t *result = NULL;

    code_is(fj_loop_new(&loop, NULL), OK);
    code_is(fj_loop_call_soon(loop, from_call_back, &future, "gives", NULL), OK);
    code_is(fj_loop_run_forever(loop, NULL), OK);
    code_is(fj_future_result(future, &result, NULL), OK);
    ck_assert_str_eq(json_string_value(result), "told");
    json_decref(result);
    fj_future_unref(future);
    fj__pool_stop(); /* on_done has returned */
    fj_loop_free(loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool_tasks");
    TCase *tests = tcase_create("pool_tasks");

    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, tasks_of_two_loops_and_plain_threads_each_get_their_own_results);
    tcase_add_test(tests, many_jobs_are_awaited_together_and_their_results_are_in_order);
    tcase_add_test(tests, a_task_cancelled_before_its_job_began_takes_the_job_back);
    tcase_add_test(tests, a_task_cancelled_while_its_job_runs_does_not_wait_for_it);
    tcase_add_test(tests, a_shielded_job_keeps_its_result);
    tcase_add_test(tests, a_job_goes_on_when_a_wait_for_it_has_timed_out);
    tcase_add_test(tests, a_loop_is_freed_while_its_tasks_await_jobs_that_run);
    tcase_add_test(tests, jobs_cancelled_at_any_time_are_freed_once);
    tcase_add_test(tests, a_loops_call_back_gives_a_job_and_is_told_of_its_end);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
