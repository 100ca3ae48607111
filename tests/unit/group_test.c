/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of tasks: what begins in one ends in one. */
#include "base/alloc.h"
#include "tests/support/in_task.h"

#include <check.h>
#include <fjord/group.h>
#include <stdlib.h>
#include <string.h>

static unsigned freed;

static void on_freed(void *user)
{
    (void)user;
    freed++;
}

static fj_code fails(void *user, json_t **ret, fj_error **err)
{
    fj_code code = sleeps(user, ret, err);

    return code != FJ_OK ? code : fj_fail(err, FJ_BAD_VALUE, "failed after %u ms", (unsigned)(uintptr_t)user);
}

static fj_task_group *group;

static void new_group(void)
{
    ck_assert_int_eq(fj_task_group_new(&group), FJ_OK);
}

static void into_group(fj_task_fn fn, void *user)
{
    fj_error *err = NULL;
    fj_code code = fj_task_group_spawn(group, fn, user, NULL, NULL, &err);

    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
}

static fj_code spawns_into_group(void *user, json_t **ret, fj_error **err)
{
    fj_code code = sleeps(user, ret, err);

    return code != FJ_OK ? code : fj_task_group_spawn(group, sleeps, user, NULL, NULL, err);
}

static void waits_for_all(void)
{
    new_group();
    into_group(sleeps, MS(10));
    into_group(spawns_into_group, MS(20));
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), NULL), FJ_OK);
    ck_assert_int_eq(rt_ms(), 40);
    ck_assert_str_eq(notes(), "+++");
    fj_task_group_free(group);
}

START_TEST(a_group_waits_for_all_also_for_those_that_its_tasks_spawn)
{
    in_task(waits_for_all);
}
END_TEST

static void first_error(void)
{
    fj_error *err = NULL;

    new_group();
    into_group(sleeps, MS(100));
    into_group(fails, MS(20));
    into_group(sleeps, MS(10));
    into_group(fails, MS(90));
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), &err), FJ_BAD_VALUE);
    ck_assert_str_eq(fj_error_text(err), "failed after 20 ms");
    ck_assert_int_eq(rt_ms(), 20);
    ck_assert_str_eq(notes(), "++--");
    ck_assert_uint_eq(rt_troubles, 0);
    fj_error_free(err);
    fj_task_group_free(group);
}

START_TEST(the_first_error_cancels_the_others_and_is_the_groups)
{
    in_task(first_error);
}
END_TEST

static fj_code cleans_up_and_fails(void *user, json_t **ret, fj_error **err)
{
    fj_code code = sleeps(user, ret, err);

    ck_assert_int_eq(code, FJ_CANCELLED);
    ck_assert_int_eq(pause_ms(30), FJ_OK);
    note("c");
    return fj_fail(err, FJ_BUSY, "cleaning failed");
}

static void cleans_up(void)
{
    fj_error *err = NULL;

    new_group();
    into_group(cleans_up_and_fails, MS(1000));
    into_group(fails, MS(10));
    ck_assert_int_eq(fj_task_group_wait(group, fj_in_ms(20), &err), FJ_BAD_VALUE);
    ck_assert_int_eq(rt_ms(), 40);
    ck_assert_str_eq(notes(), "+-c");
    ck_assert_uint_eq(rt_troubles, 1);
    ck_assert_ptr_nonnull(strstr(rt_trouble, "cleaning failed"));
    fj_error_free(err);
    fj_task_group_free(group);
}

START_TEST(cancelled_tasks_are_waited_for_and_a_later_error_of_theirs_is_reported)
{
    in_task(cleans_up);
}
END_TEST

static void group_deadline(void)
{
    fj_error *err = NULL;

    new_group();
    into_group(sleeps, MS(10));
    into_group(sleeps, MS(1000));
    ck_assert_int_eq(fj_task_group_wait(group, fj_in_ms(50), &err), FJ_TIMEOUT);
    ck_assert_int_eq(rt_ms(), 50);
    ck_assert_str_eq(notes(), "+-");
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), NULL), FJ_TIMEOUT); /* its outcome for good */
    fj_error_free(err);
    fj_task_group_free(group);
}

START_TEST(at_the_deadline_those_left_are_cancelled)
{
    in_task(group_deadline);
}
END_TEST

static fj_code waits_for_group(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    return fj_task_group_wait(group, fj_never(), err);
}

static void group_cancelled(void)
{
    fj_task *waiter = NULL;

    new_group();
    into_group(sleeps, MS(1000));
    ck_assert_int_eq(fj_task_spawn(waits_for_group, NULL, NULL, &waiter, NULL), FJ_OK);
    ck_assert_int_eq(pause_ms(10), FJ_OK);
    fj_task_cancel(waiter);
    ck_assert_int_eq(fj_await(fj_task_future(waiter), fj_never(), NULL, NULL), FJ_CANCELLED);
    ck_assert_int_eq(rt_ms(), 10);
    ck_assert_str_eq(notes(), "-");
    fj_task_unref(waiter);
    fj_task_group_free(group);
}

START_TEST(when_the_one_who_waits_is_cancelled_so_are_those_left)
{
    in_task(group_cancelled);
}
END_TEST

static void killed_waiter(void)
{
    fj_task *waiter = NULL;

    new_group();
    into_group(cleans_up_and_fails, MS(1000));
    ck_assert_int_eq(fj_task_spawn(waits_for_group, NULL, NULL, &waiter, NULL), FJ_OK);
    ck_assert_int_eq(pause_ms(10), FJ_OK);
    fj_task_kill(waiter);
    ck_assert_int_eq(fj_await(fj_task_future(waiter), fj_never(), NULL, NULL), FJ_CANCELLED);
    ck_assert_int_eq(rt_ms(), 40);
    ck_assert_str_eq(notes(), "-c");
    fj_task_unref(waiter);
    fj_task_group_free(group);
}

START_TEST(one_who_is_killed_waits_for_the_cancelled_tasks_all_the_same)
{
    in_task(killed_waiter);
}
END_TEST

static void outer_timeout(void)
{
    fj_timeout timeout;

    new_group();
    into_group(sleeps, MS(1000));
    fj_timeout_begin(&timeout, fj_in_ms(25));
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), NULL), FJ_TIMEOUT);
    ck_assert(fj_timeout_end(&timeout));
    ck_assert_int_eq(rt_ms(), 25);
    ck_assert_str_eq(notes(), "-");
    fj_task_group_free(group);
}

START_TEST(an_enclosing_timeout_cancels_those_left_and_is_told)
{
    in_task(outer_timeout);
}
END_TEST

static void cancelled_member(void)
{
    fj_task *task = NULL;

    new_group();
    ck_assert_int_eq(fj_task_group_spawn(group, sleeps, MS(1000), NULL, &task, NULL), FJ_OK);
    into_group(sleeps, MS(20));
    ck_assert_int_eq(pause_ms(10), FJ_OK);
    fj_task_cancel(task);
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), NULL), FJ_OK);
    ck_assert_str_eq(notes(), "-+");
    fj_task_unref(task);
    fj_task_group_free(group);
}

START_TEST(a_task_that_was_cancelled_has_not_failed)
{
    in_task(cancelled_member);
}
END_TEST

static void is_over(void)
{
    fj_error *err = NULL;

    new_group();
    into_group(sleeps, MS(10));
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), NULL), FJ_OK);
    ck_assert_int_eq(fj_task_group_spawn(group, sleeps, MS(1), NULL, NULL, &err), FJ_STATE);
    err = fj_error_free(err);
    fj_task_group_free(group);

    new_group();
    into_group(fails, MS(5));
    ck_assert_int_eq(pause_ms(10), FJ_OK);
    ck_assert_int_eq(fj_task_group_spawn(group, sleeps, MS(1), NULL, NULL, &err), FJ_STATE);
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), NULL), FJ_BAD_VALUE);
    fj_error_free(err);
    fj_task_group_free(group);
}

START_TEST(a_group_that_was_waited_for_or_has_failed_takes_no_more)
{
    in_task(is_over);
}
END_TEST

static void waits_in_itself(void)
{
    fj_error *err = NULL;

    new_group();
    into_group(waits_for_group, NULL);
    ck_assert_int_eq(fj_task_group_wait(group, fj_in_ms(100), &err), FJ_STATE);
    ck_assert_int_eq(rt_ms(), 0);
    fj_error_free(err);
    fj_task_group_free(group);
}

START_TEST(a_task_of_a_group_cannot_wait_for_it)
{
    in_task(waits_in_itself);
}
END_TEST

static void group_freed(void)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.freed = on_freed;
    new_group();
    into_group(sleeps, MS(1000));
    ck_assert_int_eq(pause_ms(1), FJ_OK);
    ck_assert_int_eq(fj_task_group_spawn(group, sleeps, MS(1000), &opts, NULL, NULL), FJ_OK);
    ck_assert_ptr_null(fj_task_group_free(group));
    ck_assert_ptr_null(fj_task_group_free(NULL));
    ck_assert_int_eq(pause_ms(1), FJ_OK);
    ck_assert_str_eq(notes(), "-");
    ck_assert_uint_eq(freed, 1);
}

START_TEST(freeing_a_group_cancels_those_that_have_not_ended)
{
    in_task(group_freed);
}
END_TEST

static void empty_group(void)
{
    new_group();
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), NULL), FJ_OK);
    fj_task_group_free(group);
}

START_TEST(an_empty_group_has_ended)
{
    in_task(empty_group);
}
END_TEST

START_TEST(a_group_is_waited_for_in_a_task)
{
    fj_error *err = NULL;

    new_group();
    ck_assert_int_eq(fj_task_group_wait(group, fj_never(), &err), FJ_WRONG_CONTEXT);
    fj_error_free(err);
    fj_task_group_free(group);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------------- */

/* Everything once, with whatever fails on the way; what was spawned is freed, what was not is not. */
static unsigned spawned;

static fj_code with_group(void)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.freed = on_freed;
    opts.name = "named";
    fj_code code = fj_task_group_new(&group);
    if (code != FJ_OK)
        return code;
    for (int i = 0; i < 2 && code == FJ_OK; i++) {
        code = fj_task_group_spawn(group, sleeps, MS(1), &opts, NULL, NULL);
        spawned += code == FJ_OK;
    }
    fj_code waited = fj_task_group_wait(group, fj_never(), NULL);
    fj_task_group_free(group);
    return code == FJ_OK ? waited : code;
}

static void no_memory(void)
{
    unsigned failed = 0;

    for (unsigned long nth = 1;; nth++) {
        freed = spawned = 0;
        (void)fj__alloc_fail(nth, false);
        fj_code code = with_group();
        bool reached = fj__alloc_fail(0, false) >= nth;
        ck_assert_int_eq(pause_ms(1), FJ_OK); /* those that were undone go */
        ck_assert_uint_eq(freed, spawned);
        if (!reached) {
            ck_assert_int_eq(code, FJ_OK);
            break;
        }
        if (code != FJ_OK) /* a timer without memory is no failure */
            failed++;
        ck_assert(code == FJ_OK || code == FJ_NOMEM);
    }
    ck_assert_uint_ge(failed, 5);
}

START_TEST(memory_that_runs_out_is_an_error_and_leaks_nothing)
{
    in_task(no_memory);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("group");
    TCase *tests = tcase_create("group");

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_group_waits_for_all_also_for_those_that_its_tasks_spawn);
    tcase_add_test(tests, the_first_error_cancels_the_others_and_is_the_groups);
    tcase_add_test(tests, cancelled_tasks_are_waited_for_and_a_later_error_of_theirs_is_reported);
    tcase_add_test(tests, at_the_deadline_those_left_are_cancelled);
    tcase_add_test(tests, when_the_one_who_waits_is_cancelled_so_are_those_left);
    tcase_add_test(tests, one_who_is_killed_waits_for_the_cancelled_tasks_all_the_same);
    tcase_add_test(tests, an_enclosing_timeout_cancels_those_left_and_is_told);
    tcase_add_test(tests, a_task_that_was_cancelled_has_not_failed);
    tcase_add_test(tests, a_group_that_was_waited_for_or_has_failed_takes_no_more);
    tcase_add_test(tests, a_task_of_a_group_cannot_wait_for_it);
    tcase_add_test(tests, freeing_a_group_cancels_those_that_have_not_ended);
    tcase_add_test(tests, an_empty_group_has_ended);
    tcase_add_test(tests, a_group_is_waited_for_in_a_task);
    tcase_add_test(tests, memory_that_runs_out_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
