/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to a task, and outside of tasks to a thread. */
#include "tests/support/rt.h"

#include "base/alloc.h"
#include "runtime/local.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_uint freed;

static void on_freed(void *value)
{
    (void)value;
    atomic_fetch_add(&freed, 1);
}

static fj_local plain, with_freed = FJ_LOCAL_INIT(on_freed), again;

RT_TASK(keep_its_own)
{
    ck_assert_ptr_null(fj_local_get(&plain));
    rt_code(fj_local_set(&plain, user), OK);
    rt_code(fj_yield(), OK);
    ck_assert_ptr_eq(fj_local_get(&plain), user);
    ck_assert_ptr_null(fj_local_get(&with_freed));
    return FJ_OK;
}

START_TEST(each_task_has_its_own_value)
{
    int a, b, here;

    rt_code(fj_local_set(&plain, &here), OK);
    fj_task *one = rt_spawn(keep_its_own, &a, NULL), *two = rt_spawn(keep_its_own, &b, NULL);
    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    ck_assert_ptr_eq(fj_local_get(&plain), &here);
}
END_TEST

static void *thread_keeps_its_own(void *arg)
{
    ck_assert_ptr_null(fj_local_get(&plain));
    rt_code(fj_local_set(&plain, arg), OK);
    rt_code(fj_local_set(&with_freed, arg), OK);
    ck_assert_ptr_eq(fj_local_get(&with_freed), arg);
    return NULL;
}

START_TEST(each_thread_has_its_own_value_freed_when_it_ends)
{
    pthread_t other;
    int here, there;

    rt_code(fj_local_set(&plain, &here), OK);
    ck_assert_int_eq(pthread_create(&other, NULL, thread_keeps_its_own, &there), 0);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    ck_assert_ptr_eq(fj_local_get(&plain), &here);
    ck_assert_uint_eq(atomic_load(&freed), 1);
}
END_TEST

RT_TASK(leave_a_value)
{
    rt_code(fj_local_set(&with_freed, user), OK);
    ck_assert_uint_eq(atomic_load(&freed), 0);
    return FJ_OK;
}

RT_TASK(take_the_value_back)
{
    rt_code(fj_local_set(&with_freed, user), OK);
    rt_code(fj_local_set(&with_freed, NULL), OK);
    return FJ_OK;
}

START_TEST(a_value_that_is_left_is_freed_when_the_task_ends)
{
    int value;

    rt_code(rt_run(leave_a_value, &value), OK);
    ck_assert_uint_eq(atomic_load(&freed), 1);
    rt_code(rt_run(take_the_value_back, &value), OK);
    ck_assert_uint_eq(atomic_load(&freed), 1);
}
END_TEST

static void set_again(void *value)
{
    atomic_fetch_add(&freed, 1);
    rt_code(fj_local_set(&again, value), OK);
}

RT_TASK(leave_one_that_comes_back)
{
    again.freed = set_again;
    return fj_local_set(&again, user);
}

START_TEST(values_that_come_back_do_not_do_so_for_ever)
{
    int value;

    rt_code(rt_run(leave_one_that_comes_back, &value), OK);
    ck_assert_uint_eq(atomic_load(&freed), 4);
}
END_TEST

RT_TASK(own_slots)
{
    ck_assert_ptr_null(*fj__local(FJ__LOCAL_REQUEST));
    *fj__local(FJ__LOCAL_REQUEST) = user;
    rt_code(fj_yield(), OK);
    ck_assert_ptr_eq(*fj__local(FJ__LOCAL_REQUEST), user);
    ck_assert_ptr_null(*fj__local(FJ__LOCAL_SLOTS));
    return FJ_OK;
}

START_TEST(the_librarys_own_slots_are_each_tasks_too)
{
    int a, b, here;

    *fj__local(FJ__LOCAL_REQUEST) = &here;
    fj_task *one = rt_spawn(own_slots, &a, NULL), *two = rt_spawn(own_slots, &b, NULL);
    rt_code(rt_join(one), OK);
    rt_code(rt_join(two), OK);
    ck_assert_ptr_eq(*fj__local(FJ__LOCAL_REQUEST), &here);
    *fj__local(FJ__LOCAL_REQUEST) = NULL;
}
END_TEST

RT_TASK(set_without_memory)
{
    int value;

    (void)fj__alloc_fail(1, true);
    fj_code code = fj_local_set(&plain, &value);
    (void)fj__alloc_fail(0, false);
    ck_assert_ptr_null(fj_local_get(&plain));
    return code;
}

START_TEST(without_memory_nothing_is_set)
{
    rt_code(rt_run(set_without_memory, NULL), NOMEM);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("local");
    TCase *t = tcase_create("local");

    tcase_add_checked_fixture(t, rt_begin, rt_end);
    tcase_add_test(t, each_task_has_its_own_value);
    tcase_add_test(t, each_thread_has_its_own_value_freed_when_it_ends);
    tcase_add_test(t, a_value_that_is_left_is_freed_when_the_task_ends);
    tcase_add_test(t, values_that_come_back_do_not_do_so_for_ever);
    tcase_add_test(t, the_librarys_own_slots_are_each_tasks_too);
    tcase_add_test(t, without_memory_nothing_is_set);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
