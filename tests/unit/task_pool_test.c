/* SPDX-License-Identifier: Apache-2.0 */
/* Pools of tasks of bounded size. */
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

static fj_code answers(void *user, json_t **ret, fj_error **err)
{
    (void)err;
    *ret = json_string(user);
    return FJ_OK;
}

static fj_code notes_name(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    note(user);
    return FJ_OK;
}

static fj_task_pool *pool;

static void new_pool(unsigned size)
{
    ck_assert_int_eq(fj_task_pool_new(size, NULL, &pool), FJ_OK);
}

static void into_pool(fj_task_fn fn, void *user)
{
    fj_error *err = NULL;
    fj_code code = fj_task_pool_spawn(pool, fn, user, fj_never(), NULL, &err);

    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
}

static void bounded(void)
{
    new_pool(2);
    into_pool(sleeps, MS(10));
    into_pool(sleeps, MS(20));
    ck_assert_int_eq(rt_ms(), 0);
    ck_assert_uint_eq(fj_task_pool_running(pool), 2);
    into_pool(sleeps, MS(100));
    ck_assert_int_eq(rt_ms(), 10);
    into_pool(sleeps, MS(100));
    ck_assert_int_eq(rt_ms(), 20);
    ck_assert_uint_eq(fj_task_pool_running(pool), 2);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_int_eq(rt_ms(), 120);
    ck_assert_uint_eq(fj_task_pool_running(pool), 0);
    ck_assert_str_eq(notes(), "++++");
    fj_task_pool_free(pool);
}

START_TEST(a_pool_runs_as_many_at_once_as_its_size_and_makes_others_wait_for_a_place)
{
    in_task(bounded);
}
END_TEST

static fj_code spawns_named(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    return fj_task_pool_spawn(pool, notes_name, user, fj_never(), NULL, err);
}

static void in_order(void)
{
    static char *const names[] = { "a", "b", "c" };
    fj_task *all[3];

    new_pool(1);
    into_pool(sleeps, MS(10));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(fj_task_spawn(spawns_named, names[i], NULL, &all[i], NULL), FJ_OK);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(fj_await(fj_task_future(all[i]), fj_never(), NULL, NULL), FJ_OK);
        fj_task_unref(all[i]);
    }
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_str_eq(notes(), "+abc");
    fj_task_pool_free(pool);
}

START_TEST(places_are_given_in_order_of_arrival)
{
    in_task(in_order);
}
END_TEST

static void place_times_out(void)
{
    fj_error *err = NULL;
    fj_task *task = NULL;

    new_pool(1);
    into_pool(sleeps, MS(100));
    ck_assert_int_eq(fj_task_pool_spawn(pool, sleeps, MS(1), fj_in_ms(30), &task, &err), FJ_TIMEOUT);
    ck_assert_int_eq(rt_ms(), 30);
    ck_assert_ptr_null(task);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "no place"));
    err = fj_error_free(err);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_in_ms(10)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_str_eq(notes(), "+");
    fj_task_pool_free(pool);
}

START_TEST(waiting_for_a_place_ends_at_the_deadline)
{
    in_task(place_times_out);
}
END_TEST

static void place_passed_on(void)
{
    fj_task *first = NULL, *second = NULL;

    new_pool(1);
    into_pool(sleeps, MS(10));
    ck_assert_int_eq(fj_task_spawn(spawns_named, "first", NULL, &first, NULL), FJ_OK);
    ck_assert_int_eq(fj_task_spawn(spawns_named, "second", NULL, &second, NULL), FJ_OK);
    ck_assert_int_eq(pause_ms(5), FJ_OK);
    fj_task_cancel(first);
    ck_assert_int_eq(fj_await(fj_task_future(first), fj_never(), NULL, NULL), FJ_CANCELLED);
    ck_assert_int_eq(fj_await(fj_task_future(second), fj_never(), NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_str_eq(notes(), "+second");
    fj_task_unref(first);
    fj_task_unref(second);
    fj_task_pool_free(pool);
}

START_TEST(who_is_cancelled_while_it_waits_for_a_place_leaves_it_to_the_next)
{
    in_task(place_passed_on);
}
END_TEST

/* Cancelled in the very turn in which it is given the place. */
static fj_code cancels_then_ends(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    fj_code code = pause_ms(10);
    fj_task_cancel(*(fj_task **)user);
    return code;
}

static void granted_and_cancelled(void)
{
    fj_task *first = NULL, *second = NULL;

    new_pool(1);
    into_pool(cancels_then_ends, &first);
    ck_assert_int_eq(fj_task_spawn(spawns_named, "first", NULL, &first, NULL), FJ_OK);
    ck_assert_int_eq(fj_task_spawn(spawns_named, "second", NULL, &second, NULL), FJ_OK);
    fj_code code = fj_await(fj_task_future(first), fj_never(), NULL, NULL);
    ck_assert(code == FJ_OK || code == FJ_CANCELLED);
    ck_assert_int_eq(fj_await(fj_task_future(second), fj_never(), NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_in_ms(100)), FJ_OK);
    ck_assert_uint_eq(fj_task_pool_running(pool), 0);
    ck_assert_ptr_nonnull(strstr(notes(), "second"));
    fj_task_unref(first);
    fj_task_unref(second);
    fj_task_pool_free(pool);
}

START_TEST(a_place_granted_to_one_that_is_cancelled_at_the_same_time_is_not_lost)
{
    in_task(granted_and_cancelled);
}
END_TEST

static fj_code spawns_inside(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    note("(");
    fj_code code = fj_task_pool_spawn(pool, sleeps, user, fj_never(), NULL, err);
    note(")");
    return code;
}

static void lends(void)
{
    new_pool(1);
    into_pool(spawns_inside, MS(20));
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_in_ms(1000)), FJ_OK);
    ck_assert_str_eq(notes(), "(+)");
    ck_assert_int_eq(rt_ms(), 20);
    fj_task_pool_free(pool);
}

START_TEST(a_task_of_a_full_pool_that_spawns_into_it_lends_its_place_until_the_new_one_has_ended)
{
    in_task(lends);
}
END_TEST

static fj_code spawns_inside_and_sleeps(void *user, json_t **ret, fj_error **err)
{
    fj_code code = spawns_inside(user, ret, err);

    return code == FJ_OK ? sleeps(user, ret, err) : code;
}

static void lent_once(void)
{
    new_pool(1);
    into_pool(spawns_inside_and_sleeps, MS(20));
    ck_assert_int_eq(pause_ms(10), FJ_OK);
    into_pool(notes_name, "next");
    ck_assert_int_eq(rt_ms(), 40);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_str_eq(notes(), "(+)+next");
    fj_task_pool_free(pool);
}

START_TEST(a_place_that_was_lent_goes_back_to_its_owner_not_to_the_next_who_waits)
{
    in_task(lent_once);
}
END_TEST

static void lends_cut_short(void)
{
    fj_task *outer = NULL;

    new_pool(1);
    ck_assert_int_eq(fj_task_pool_spawn(pool, spawns_inside, MS(1000), fj_never(), &outer, NULL), FJ_OK);
    ck_assert_int_eq(pause_ms(10), FJ_OK);
    ck_assert_uint_eq(fj_task_pool_running(pool), 2);
    fj_task_cancel(outer);
    ck_assert_int_eq(fj_await(fj_task_future(outer), fj_never(), NULL, NULL), FJ_CANCELLED);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_int_eq(rt_ms(), 10);
    ck_assert_str_eq(notes(), "()-");
    fj_task_unref(outer);
    fj_task_pool_free(pool);
}

START_TEST(a_task_that_has_lent_its_place_and_is_cancelled_cancels_the_new_one)
{
    in_task(lends_cut_short);
}
END_TEST

static fj_code waits_for_own_pool(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return fj_task_pool_wait(pool, fj_in_ms(10));
}

static void own_pool(void)
{
    fj_task *task = NULL;

    new_pool(2);
    ck_assert_int_eq(fj_task_pool_spawn(pool, waits_for_own_pool, NULL, fj_never(), &task, NULL), FJ_OK);
    ck_assert_int_eq(fj_await(fj_task_future(task), fj_never(), NULL, NULL), FJ_STATE);
    fj_task_unref(task);
    fj_task_pool_free(pool);
}

START_TEST(a_task_cannot_wait_for_its_own_pool)
{
    in_task(own_pool);
}
END_TEST

static void pool_results(void)
{
    fj_task *task = NULL;
    json_t *result = NULL;

    new_pool(1);
    ck_assert_int_eq(fj_task_pool_spawn(pool, answers, "yes", fj_never(), &task, NULL), FJ_OK);
    ck_assert_int_eq(fj_await(fj_task_future(task), fj_never(), &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "yes");
    json_decref(result);
    fj_task_unref(task);
    into_pool(fails, MS(1));
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_uint_eq(rt_troubles, 1);
    ck_assert_ptr_nonnull(strstr(rt_trouble, "failed after 1 ms"));
    fj_task_pool_free(pool);
}

START_TEST(who_asks_gets_the_result_and_an_error_nobody_asks_for_is_reported)
{
    in_task(pool_results);
}
END_TEST

static fj_code notes_task_name(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    note(fj_task_name(fj_task_current()));
    return FJ_OK;
}

static void pool_options(void)
{
    char name[] = "worker";
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.name = name;
    opts.freed = on_freed;
    ck_assert_int_eq(fj_task_pool_new(2, &opts, &pool), FJ_OK);
    memset(name, '#', 6);
    into_pool(notes_task_name, NULL);
    ck_assert_int_eq(fj_task_pool_spawn(pool, notes_task_name, NULL, fj_never(), &task, NULL), FJ_OK);
    fj_task_cancel(task); /* before it began */
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_OK);
    ck_assert_str_eq(notes(), "worker");
    ck_assert_uint_eq(freed, 2);
    ck_assert_int_eq(fj_future_result(fj_task_future(task), NULL, NULL), FJ_CANCELLED);
    fj_task_unref(task);
    fj_task_pool_free(pool);
}

START_TEST(the_options_of_a_pool_are_copied_and_count_for_each_task)
{
    in_task(pool_options);
}
END_TEST

static void pool_freed(void)
{
    new_pool(2);
    into_pool(sleeps, MS(10));
    into_pool(sleeps, MS(20));
    ck_assert_ptr_null(fj_task_pool_free(pool));
    ck_assert_ptr_null(fj_task_pool_free(NULL));
    ck_assert_int_eq(pause_ms(50), FJ_OK);
    ck_assert_str_eq(notes(), "++");
}

START_TEST(the_tasks_of_a_freed_pool_go_on)
{
    in_task(pool_freed);
}
END_TEST

START_TEST(a_pool_is_for_tasks_and_has_a_place_at_least)
{
    fj_error *err = NULL;

    ck_assert_int_eq(fj_task_pool_new(0, NULL, &pool), FJ_BAD_VALUE);
    new_pool(1);
    ck_assert_int_eq(fj_task_pool_spawn(pool, sleeps, MS(1), fj_never(), NULL, &err), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_task_pool_wait(pool, fj_never()), FJ_WRONG_CONTEXT);
    ck_assert_uint_eq(fj_task_pool_running(pool), 0);
    fj_error_free(err);
    fj_task_pool_free(pool);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------------- */

/* Everything once, with whatever fails on the way; what was spawned is freed, what was not is not. */
static unsigned spawned;

static fj_code with_pool(void)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.freed = on_freed;
    opts.name = "named";
    fj_code code = fj_task_pool_new(1, &opts, &pool);
    if (code != FJ_OK)
        return code;
    for (int i = 0; i < 2 && code == FJ_OK; i++) {
        code = fj_task_pool_spawn(pool, sleeps, MS(1), fj_never(), NULL, NULL);
        spawned += code == FJ_OK;
    }
    fj_code waited = fj_task_pool_wait(pool, fj_never());
    ck_assert_uint_eq(fj_task_pool_running(pool), 0);
    fj_task_pool_free(pool);
    return code == FJ_OK ? waited : code;
}

static void no_memory(void)
{
    unsigned failed = 0;

    for (unsigned long nth = 1;; nth++) {
        freed = spawned = 0;
        (void)fj__alloc_fail(nth, false);
        fj_code code = with_pool();
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
    Suite *suite = suite_create("task_pool");
    TCase *tests = tcase_create("task_pool");

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_pool_runs_as_many_at_once_as_its_size_and_makes_others_wait_for_a_place);
    tcase_add_test(tests, places_are_given_in_order_of_arrival);
    tcase_add_test(tests, waiting_for_a_place_ends_at_the_deadline);
    tcase_add_test(tests, who_is_cancelled_while_it_waits_for_a_place_leaves_it_to_the_next);
    tcase_add_test(tests, a_place_granted_to_one_that_is_cancelled_at_the_same_time_is_not_lost);
    tcase_add_test(tests,
                   a_task_of_a_full_pool_that_spawns_into_it_lends_its_place_until_the_new_one_has_ended);
    tcase_add_test(tests, a_place_that_was_lent_goes_back_to_its_owner_not_to_the_next_who_waits);
    tcase_add_test(tests, a_task_that_has_lent_its_place_and_is_cancelled_cancels_the_new_one);
    tcase_add_test(tests, a_task_cannot_wait_for_its_own_pool);
    tcase_add_test(tests, who_asks_gets_the_result_and_an_error_nobody_asks_for_is_reported);
    tcase_add_test(tests, the_options_of_a_pool_are_copied_and_count_for_each_task);
    tcase_add_test(tests, the_tasks_of_a_freed_pool_go_on);
    tcase_add_test(tests, a_pool_is_for_tasks_and_has_a_place_at_least);
    tcase_add_test(tests, memory_that_runs_out_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
