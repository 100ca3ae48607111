/* SPDX-License-Identifier: Apache-2.0 */
/* A task that plain code drives step by step. */
#include "base/alloc.h"
#include "runtime/clock.h"
#include "runtime/loop.h"
#include "tests/support/in_task.h"

#include <check.h>
#include <fjord/group.h>
#include <fjord/sync.h>
#include <stdlib.h>
#include <string.h>

static const int64_t began = 1000000000;
static fj_task_runner *runner;
static unsigned freed;
static char told[64];

static void tell(const char *text)
{
    (void)strncat(told, text, sizeof told - strlen(told) - 1);
}

static void on_freed(void *user)
{
    (void)user;
    freed++;
}

static void new_runner(fj_task_fn fn, void *user)
{
    fj_error *err = NULL;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.freed = on_freed;
    fj_code code = fj_task_runner_new(fn, user, &opts, &runner, &err);
    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
}

/* Time stands still, but for what a test says. */
static void setup(void)
{
    fj__clock_set_fake(began);
    fj__clock_set_auto(false);
    told[0] = '\0';
    freed = 0;
    runner = NULL;
}

static void teardown(void)
{
    runner = fj_task_runner_free(runner);
    ck_assert_ptr_null(runner);
    fj__clock_set_fake(-1);
}

static void at_ms(int64_t ms)
{
    fj__clock_set_fake(began + ms * 1000000);
}

static fj_code step(void)
{
    return fj_task_runner_step(runner, NULL);
}

/* ---- steps --------------------------------------------------------------------------------------- */

static fj_code three_steps(void *user, json_t **ret, fj_error **err)
{
    (void)err;
    for (int i = 1; i <= 2; i++) {
        tell(user);
        fj_code code = fj_yield();
        if (code != FJ_OK)
            return code;
    }
    tell(".");
    *ret = json_integer(3);
    return FJ_OK;
}

START_TEST(each_step_runs_the_task_to_its_next_yield_and_starting_is_the_first)
{
    new_runner(three_steps, "s");
    ck_assert_str_eq(told, "");
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    ck_assert_str_eq(told, "s");
    ck_assert(!fj_task_runner_done(runner));
    rt_code(step(), AGAIN);
    ck_assert_str_eq(told, "ss");
    rt_code(step(), OK);
    ck_assert_str_eq(told, "ss.");
    ck_assert(fj_task_runner_done(runner));
    rt_code(step(), OK);
    ck_assert_str_eq(told, "ss.");
    ck_assert_uint_eq(freed, 1);
}
END_TEST

static fj_code sleeps_twice(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    fj_code code = pause_ms(100);
    tell("1");
    if (code == FJ_OK)
        code = pause_ms(100);
    tell("2");
    return code;
}

START_TEST(a_step_does_not_wait_and_runs_the_task_once_what_it_waits_for_is_there)
{
    new_runner(sleeps_twice, NULL);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    rt_code(step(), AGAIN);
    at_ms(99);
    rt_code(step(), AGAIN);
    ck_assert_str_eq(told, "");
    at_ms(100);
    rt_code(step(), AGAIN);
    ck_assert_str_eq(told, "1");
    at_ms(1000);
    rt_code(step(), OK);
    ck_assert_str_eq(told, "12");
}
END_TEST

static fj_code fails_at_once(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    return fj_fail(err, FJ_BUSY, "not today");
}

START_TEST(an_error_is_told_by_the_steps_also_one_of_the_first)
{
    fj_error *err = NULL;

    new_runner(fails_at_once, NULL);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    ck_assert(fj_task_runner_done(runner));
    rt_code(fj_task_runner_step(runner, &err), BUSY);
    ck_assert_str_eq(fj_error_text(err), "not today");
    err = fj_error_free(err);
    rt_code(fj_task_runner_run_to_completion(runner, 0, NULL, &err), BUSY);
    fj_error_free(err);
}
END_TEST

START_TEST(a_task_is_started_once_and_before_it_is_stepped)
{
    new_runner(three_steps, "s");
    rt_code(step(), STATE);
    ck_assert(!fj_task_runner_done(runner));
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    rt_code(fj_task_runner_start(runner, 0, NULL), STATE);
    ck_assert_str_eq(told, "s");
}
END_TEST

static fj_code counts_up(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    for (unsigned *count = user; fj_yield() == FJ_OK;)
        (*count)++;
    return FJ_OK;
}

static fj_code with_a_busy_child(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    fj_task *child = NULL;
    fj_code code = fj_task_spawn(counts_up, user, NULL, &child, err);

    if (code == FJ_OK)
        code = pause_ms(50);
    (void)fj_task_cancel(child);
    (void)fj_task_unref(child);
    return code;
}

START_TEST(tasks_that_the_task_spawned_run_in_its_steps_and_only_there)
{
    unsigned count = 0;

    new_runner(with_a_busy_child, &count);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    unsigned before = count;
    rt_code(step(), AGAIN);
    ck_assert_uint_gt(count, before);
    at_ms(50);
    rt_code(step(), OK);
}
END_TEST

/* ---- timeouts ------------------------------------------------------------------------------------ */

static fj_code resists(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    for (;;) {
        fj_code code = fj_yield();
        tell(code == FJ_OK ? "." : code == FJ_TIMEOUT ? "T" : code == FJ_CANCELLED ? "C" : "?");
        if (code == FJ_CANCELLED)
            return code;
    }
}

START_TEST(after_the_timeout_the_next_wait_answers_timeout_once)
{
    new_runner(resists, NULL);
    rt_code(fj_task_runner_start(runner, 2, NULL), OK);
    rt_code(step(), AGAIN);
    at_ms(1999);
    rt_code(step(), AGAIN);
    ck_assert_str_eq(told, "..");
    at_ms(2000);
    rt_code(step(), AGAIN);
    rt_code(step(), AGAIN);
    ck_assert_str_eq(told, "..T.");
}
END_TEST

START_TEST(a_task_that_gives_in_to_its_timeout_ends_with_it)
{
    new_runner(sleeps_twice, NULL);
    rt_code(fj_task_runner_start(runner, 0.05, NULL), OK);
    at_ms(50);
    rt_code(step(), TIMEOUT);
    ck_assert_str_eq(told, "12");
}
END_TEST

/* ---- to the end ---------------------------------------------------------------------------------- */

START_TEST(running_to_completion_starts_sleeps_between_the_steps_and_gives_the_result)
{
    json_t *result = NULL;

    fj__clock_set_fake(-1);
    new_runner(three_steps, "s");
    int64_t before = fj_now().ns;
    rt_code(fj_task_runner_run_to_completion(runner, 0.01, &result, NULL), OK);
    ck_assert_int_ge(fj_now().ns - before, 20000000); /* the first step is that of the start */
    ck_assert_int_eq(json_integer_value(result), 3);
    json_decref(result);
    rt_code(fj_task_runner_run_to_completion(runner, 1000, &result, NULL), OK);
    ck_assert_int_eq(json_integer_value(result), 3);
    json_decref(result);
}
END_TEST

START_TEST(running_to_completion_goes_on_with_what_was_started)
{
    new_runner(three_steps, "s");
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    rt_code(fj_task_runner_run_to_completion(runner, 0, NULL, NULL), OK);
    ck_assert_str_eq(told, "ss.");
}
END_TEST

static fj_code adds_one(void *user, json_t **ret, fj_error **err)
{
    (void)err;
    *ret = json_integer(*(int *)user + 1);
    return FJ_OK;
}

static fj_code asks_the_pool(void *user, json_t **ret, fj_error **err)
{
    fj_future *future = NULL;
    fj_code code = fj_run_in_executor(adds_one, user, NULL, &future, err);

    if (code == FJ_OK)
        code = fj_await(future, fj_never(), ret, err);
    fj_future_unref(future);
    return code;
}

START_TEST(what_comes_from_other_threads_goes_on_with_the_task)
{
    int number = 41;
    json_t *result = NULL;

    fj__clock_set_fake(-1);
    new_runner(asks_the_pool, &number);
    rt_code(fj_task_runner_run_to_completion(runner, 0, &result, NULL), OK);
    ck_assert_int_eq(json_integer_value(result), 42);
    json_decref(result);
}
END_TEST

START_TEST(with_nothing_to_do_running_to_completion_sleeps_until_the_task_goes_on)
{
    fj__clock_set_auto(true);
    new_runner(sleeps_twice, NULL);
    rt_code(fj_task_runner_run_to_completion(runner, 0, NULL, NULL), OK);
    ck_assert_int_eq(fj_now().ns - began, 200000000);
}
END_TEST

/* ---- cancelling ---------------------------------------------------------------------------------- */

START_TEST(a_cancelled_task_is_told_at_its_next_wait)
{
    new_runner(resists, NULL);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    rt_code(step(), AGAIN);
    fj_task_runner_cancel(runner, 0);
    ck_assert(!fj_task_runner_done(runner));
    rt_code(step(), CANCELLED);
    ck_assert_str_eq(told, ".C");
    ck_assert(fj_task_runner_done(runner));
    fj_task_runner_cancel(runner, 0);
}
END_TEST

START_TEST(a_task_may_go_on_for_the_seconds_of_grace)
{
    new_runner(resists, NULL);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    fj_task_runner_cancel(runner, 10);
    rt_code(step(), AGAIN);
    at_ms(9999);
    rt_code(step(), AGAIN);
    at_ms(10000);
    rt_code(step(), AGAIN); /* the grace ends in the turn in which the task still yields */
    rt_code(step(), CANCELLED);
    ck_assert_str_eq(told, "...C");
}
END_TEST

START_TEST(of_two_graces_the_shorter_counts)
{
    new_runner(resists, NULL);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    fj_task_runner_cancel(runner, 10);
    fj_task_runner_cancel(runner, 60);
    at_ms(10000);
    rt_code(step(), AGAIN);
    rt_code(step(), CANCELLED);
    fj_task_runner_free(runner);

    new_runner(resists, NULL);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    fj_task_runner_cancel(runner, 60);
    fj_task_runner_cancel(runner, 10);
    at_ms(20000);
    rt_code(step(), AGAIN);
    rt_code(step(), CANCELLED);
}
END_TEST

START_TEST(a_task_that_was_not_started_never_begins)
{
    new_runner(three_steps, "s");
    fj_task_runner_cancel(runner, 10);
    ck_assert(fj_task_runner_done(runner));
    ck_assert_uint_eq(freed, 1);
    rt_code(step(), CANCELLED);
    rt_code(fj_task_runner_start(runner, 0, NULL), STATE);
    rt_code(fj_task_runner_run_to_completion(runner, 0, NULL, NULL), CANCELLED);
    ck_assert_str_eq(told, "");
    runner = fj_task_runner_free(runner);
    ck_assert_uint_eq(freed, 1);
}
END_TEST

static fj_code cleans_up(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    fj_code code = pause_ms(1000);
    tell(code == FJ_CANCELLED ? "C" : "?");
    tell(pause_ms(10) == FJ_OK ? "." : "?");
    return code;
}

START_TEST(freeing_a_runner_cancels_the_task_and_lets_it_clean_up)
{
    new_runner(cleans_up, NULL);
    rt_code(fj_task_runner_start(runner, 0, NULL), OK);
    fj_task_runner_cancel(runner, 0.005); /* which would end while it cleans up */
    fj__clock_set_auto(true);
    runner = fj_task_runner_free(runner);
    ck_assert_str_eq(told, "C.");
    ck_assert_uint_eq(freed, 1);
}
END_TEST

START_TEST(freeing_a_runner_that_was_not_started_lets_go_of_what_the_task_would_have_had)
{
    new_runner(three_steps, "s");
    runner = fj_task_runner_free(runner);
    ck_assert_str_eq(told, "");
    ck_assert_uint_eq(freed, 1);
}
END_TEST

/* ---- its place ----------------------------------------------------------------------------------- */

static fj_code looks_around(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    tell(fj_task_name(fj_task_current()));
    if (fj_loop_running() != NULL && fj_loop_running() != user)
        tell(" on a loop of its own");
    if (fj__loop_domain() == NULL)
        tell(", a private one");
    return FJ_OK;
}

START_TEST(the_task_has_its_options_and_a_private_loop)
{
    char name[] = "stack_create";
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_loop *loop = NULL;

    rt_code(fj_loop_new(&loop, NULL), OK);
    opts.name = name;
    opts.loop = loop;
    rt_code(fj_task_runner_new(looks_around, loop, &opts, &runner, NULL), OK);
    memset(name, '#', strlen(name));
    rt_code(fj_task_runner_run_to_completion(runner, 0, NULL, NULL), OK);
    ck_assert_str_eq(told, "stack_create on a loop of its own, a private one");
    fj_loop_free(loop);
}
END_TEST

static void inside_a_loop(void)
{
    new_runner(three_steps, "s");
    rt_code(fj_task_runner_start(runner, 0, NULL), STATE);
    rt_code(fj_task_runner_run_to_completion(runner, 0, NULL, NULL), STATE);
    rt_code(step(), STATE);
    ck_assert_str_eq(told, "");
}

START_TEST(a_runner_is_for_plain_code)
{
    in_task(inside_a_loop);
    rt_code(fj_task_runner_run_to_completion(runner, 0, NULL, NULL), OK);
    ck_assert_str_eq(told, "ss.");
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------------- */

static fj_code all_of_it(void)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task_runner *made = NULL;

    opts.name = "named";
    opts.freed = on_freed;
    fj_code code = fj_task_runner_new(three_steps, "", &opts, &made, NULL);
    if (code != FJ_OK) {
        ck_assert_uint_eq(freed, 0);
        return code;
    }
    code = fj_task_runner_start(made, 1, NULL);
    if (code == FJ_OK)
        fj_task_runner_cancel(made, 1);
    if (code == FJ_OK)
        code = fj_task_runner_run_to_completion(made, 0, NULL, NULL);
    fj_task_runner_free(made);
    ck_assert_uint_eq(freed, 1);
    return code;
}

START_TEST(memory_that_runs_out_is_an_error_and_leaks_nothing)
{
    unsigned failed = 0;

    for (unsigned long nth = 1;; nth++) {
        freed = 0;
        (void)fj__alloc_fail(nth, false);
        fj_code code = all_of_it();
        bool reached = fj__alloc_fail(0, false) >= nth;
        if (!reached) {
            ck_assert_int_eq(code, FJ_OK);
            break;
        }
        /* without memory for the timer of its grace it is cancelled at once */
        ck_assert(code == FJ_OK || code == FJ_NOMEM || code == FJ_CANCELLED);
        failed += code != FJ_OK;
    }
    ck_assert_uint_ge(failed, 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("runner");
    TCase *tests = tcase_create("runner");

    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, each_step_runs_the_task_to_its_next_yield_and_starting_is_the_first);
    tcase_add_test(tests, a_step_does_not_wait_and_runs_the_task_once_what_it_waits_for_is_there);
    tcase_add_test(tests, an_error_is_told_by_the_steps_also_one_of_the_first);
    tcase_add_test(tests, a_task_is_started_once_and_before_it_is_stepped);
    tcase_add_test(tests, tasks_that_the_task_spawned_run_in_its_steps_and_only_there);
    tcase_add_test(tests, after_the_timeout_the_next_wait_answers_timeout_once);
    tcase_add_test(tests, a_task_that_gives_in_to_its_timeout_ends_with_it);
    tcase_add_test(tests, running_to_completion_starts_sleeps_between_the_steps_and_gives_the_result);
    tcase_add_test(tests, running_to_completion_goes_on_with_what_was_started);
    tcase_add_test(tests, what_comes_from_other_threads_goes_on_with_the_task);
    tcase_add_test(tests, with_nothing_to_do_running_to_completion_sleeps_until_the_task_goes_on);
    tcase_add_test(tests, a_cancelled_task_is_told_at_its_next_wait);
    tcase_add_test(tests, a_task_may_go_on_for_the_seconds_of_grace);
    tcase_add_test(tests, of_two_graces_the_shorter_counts);
    tcase_add_test(tests, a_task_that_was_not_started_never_begins);
    tcase_add_test(tests, freeing_a_runner_cancels_the_task_and_lets_it_clean_up);
    tcase_add_test(tests, freeing_a_runner_that_was_not_started_lets_go_of_what_the_task_would_have_had);
    tcase_add_test(tests, the_task_has_its_options_and_a_private_loop);
    tcase_add_test(tests, a_runner_is_for_plain_code);
    tcase_add_test(tests, memory_that_runs_out_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    SRunner *all = srunner_create(suite);
    srunner_run_all(all, CK_NORMAL);
    int failed = srunner_ntests_failed(all);
    srunner_free(all);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
