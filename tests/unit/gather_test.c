/* SPDX-License-Identifier: Apache-2.0 */
/* <fjord/await.h>: several futures at once. */
#include "tests/support/rt.h"

#include "base/alloc.h"
#include "runtime/future_impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3 };
static fj_future *futures[N];

static void begin(void)
{
    rt_begin();
    for (int i = 0; i < N; i++)
        rt_code(fj_future_new(NULL, NULL, &futures[i]), OK);
}

static void end(void)
{
    for (int i = 0; i < N; i++)
        (void)fj_future_unref(futures[i]);
    rt_end();
}

static void resolve(int i)
{
    ck_assert(fj_future_resolve(futures[i], json_integer(i)));
}

static void reject(int i)
{
    fj_error *error = NULL;

    (void)fj_fail(&error, FJ_ACCESS, "%d", i);
    ck_assert(fj_future_reject(futures[i], error));
}

static unsigned references(fj_future *f)
{
    return atomic_load(&f->refs);
}

RT_TASK(clean_up_100_ms)
{
    rt_code(fj_sleep(fj_never()), CANCELLED);
    return fj_sleep(fj_in_ms(100));
}

/* ---- gather ------------------------------------------------------------------------------------ */

static fj_future *gather(unsigned flags)
{
    fj_future *all = NULL;

    rt_code(fj_gather(futures, N, flags, &all, NULL), OK);
    return all;
}

static void expect_result(fj_future *f, const char *text)
{
    json_t *result = NULL;

    rt_code(fj_future_result(f, &result, NULL), OK);
    char *got = json_dumps(result, JSON_COMPACT);
    ck_assert_str_eq(got, text);
    free(got);
    json_decref(result);
}

START_TEST(gather_answers_all_results_in_order)
{
    fj_future *all = gather(0);

    resolve(2);
    resolve(0);
    rt_code(fj_future_result(all, NULL, NULL), AGAIN);
    resolve(1);
    expect_result(all, "[0,1,2]");
    (void)fj_future_unref(all);
    for (int i = 0; i < N; i++)
        ck_assert_uint_eq(references(futures[i]), 1);
}
END_TEST

START_TEST(the_first_error_ends_a_gather_and_the_others_go_on)
{
    fj_future *all = gather(0);
    fj_error *err = NULL;

    resolve(0);
    reject(1);
    rt_code(fj_future_result(all, NULL, &err), ACCESS);
    ck_assert_str_eq(fj_error_text(err), "1");
    ck_assert(!fj_future_done(futures[2]));
    fj_error_free(err);
    (void)fj_future_unref(all);
    resolve(2);
    ck_assert_uint_eq(references(futures[2]), 1);
}
END_TEST

START_TEST(errors_may_count_as_outcomes)
{
    fj_future *all = gather(FJ_GATHER_ERRORS);

    reject(1);
    resolve(0);
    resolve(2);
    expect_result(all, "[0,null,2]");
    rt_code(fj_future_result(futures[1], NULL, NULL), ACCESS);
    (void)fj_future_unref(all);
}
END_TEST

START_TEST(cancelling_a_gather_cancels_all)
{
    fj_future *all = gather(0);

    resolve(0);
    ck_assert(fj_future_cancel(all));
    rt_code(fj_future_result(futures[0], NULL, NULL), OK);
    rt_code(fj_future_result(futures[1], NULL, NULL), CANCELLED);
    rt_code(fj_future_result(futures[2], NULL, NULL), CANCELLED);
    rt_code(fj_future_result(all, NULL, NULL), CANCELLED);
    ck_assert(!fj_future_cancel(all));
    (void)fj_future_unref(all);
}
END_TEST

START_TEST(a_cancelled_gather_ends_when_its_tasks_have)
{
    fj_task *task = rt_spawn(clean_up_100_ms, NULL, NULL);
    fj_future *one = fj_task_future(task), *all = NULL;

    rt_settle();
    rt_code(fj_gather(&one, 1, 0, &all, NULL), OK);
    ck_assert(fj_future_cancel(all));
    ck_assert(!fj_future_done(all));
    rt_code(fj_loop_run_until_complete(rt_loop, all, NULL, NULL), CANCELLED);
    ck_assert_int_eq(rt_ms(), 100);
    (void)fj_future_unref(all);
    (void)fj_task_unref(task);
}
END_TEST

RT_TASK(lack)
{
    return fj_fail(err, FJ_NOT_FOUND, "%s", fj_task_name(fj_task_current()));
}

START_TEST(no_error_of_what_is_gathered_or_shielded_is_reported_as_not_retrieved)
{
    fj_task *tasks[N] = { rt_spawn(lack, NULL, "a"), rt_spawn(lack, NULL, "b"), rt_spawn(lack, NULL, "c") };
    fj_future *both[2] = { fj_task_future(tasks[0]), fj_task_future(tasks[1]) }, *all = NULL, *shield = NULL;

    rt_code(fj_gather(both, 2, 0, &all, NULL), OK);
    rt_code(fj_shield(fj_task_future(tasks[2]), &shield, NULL), OK);
    rt_settle();
    rt_code(fj_future_result(all, NULL, NULL), NOT_FOUND);
    rt_code(fj_future_result(shield, NULL, NULL), NOT_FOUND);
    (void)fj_future_unref(all);
    (void)fj_future_unref(shield);
    for (int i = 0; i < N; i++)
        (void)fj_task_unref(tasks[i]);
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

START_TEST(a_gather_of_nothing_is_complete)
{
    fj_future *all = NULL;

    rt_code(fj_gather(NULL, 0, 0, &all, NULL), OK);
    expect_result(all, "[]");
    (void)fj_future_unref(all);
}
END_TEST

START_TEST(a_gather_of_complete_futures_is_complete)
{
    resolve(0);
    resolve(1);
    resolve(2);
    fj_future *all = gather(0);
    expect_result(all, "[0,1,2]");
    (void)fj_future_unref(all);
}
END_TEST

START_TEST(a_shield_is_cancelled_without_what_it_shields)
{
    fj_future *shield = NULL;

    rt_code(fj_shield(futures[0], &shield, NULL), OK);
    ck_assert(fj_future_cancel(shield));
    ck_assert(!fj_future_done(futures[0]));
    resolve(0);
    rt_code(fj_future_result(shield, NULL, NULL), CANCELLED);
    (void)fj_future_unref(shield);
}
END_TEST

static void *resolve_all(void *arg)
{
    fj_future **some = arg;

    for (int i = 0; i < 50; i++)
        (void)fj_future_resolve(some[i], NULL);
    return NULL;
}

START_TEST(threads_race_to_complete_a_gather)
{
    enum { MANY = 50, THREADS = 3 };
    fj_future *some[MANY], *all = NULL;
    pthread_t threads[THREADS];

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++)
            rt_code(fj_future_new(NULL, NULL, &some[i]), OK);
        rt_code(fj_gather(some, MANY, 0, &all, NULL), OK);
        for (int t = 0; t < THREADS; t++)
            ck_assert_int_eq(pthread_create(&threads[t], NULL, resolve_all, some), 0);
        rt_code(fj_loop_run_until_complete(rt_loop, all, NULL, NULL), OK);
        for (int t = 0; t < THREADS; t++)
            ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
        (void)fj_future_unref(all);
        for (int i = 0; i < MANY; i++)
            (void)fj_future_unref(some[i]);
    }
}
END_TEST

/* ---- wait -------------------------------------------------------------------------------------- */

typedef struct {
    fj_wait_until until;
    long ms;
    size_t done;
} wait_args;

RT_TASK(wait_for_some)
{
    wait_args *a = user;

    return fj_wait(futures, N, a->until, a->ms < 0 ? fj_never() : fj_in_ms(a->ms), &a->done, err);
}

static void expect_waiting(const fj_task *task, bool waits)
{
    rt_settle();
    ck_assert_int_eq(fj_task_waits_for(task) != NULL, waits);
}

START_TEST(wait_waits_for_all)
{
    wait_args a = { FJ_ALL_COMPLETED, -1, 0 };
    fj_task *task = rt_spawn(wait_for_some, &a, NULL);

    reject(1);
    resolve(0);
    expect_waiting(task, true);
    resolve(2);
    rt_code(rt_join(task), OK);
    ck_assert_uint_eq(a.done, 3);
}
END_TEST

START_TEST(wait_waits_for_the_first)
{
    wait_args a = { FJ_FIRST_COMPLETED, -1, 0 };
    fj_task *task = rt_spawn(wait_for_some, &a, NULL);

    expect_waiting(task, true);
    resolve(1);
    rt_code(rt_join(task), OK);
    ck_assert_uint_eq(a.done, 1);
    for (int i = 0; i < N; i++)
        ck_assert_uint_eq(references(futures[i]),
                          1);               /* nothing of it is left, on those that are pending either */
    ck_assert(!fj_future_done(futures[0])); /* and none is cancelled */
}
END_TEST

START_TEST(wait_waits_for_the_first_error)
{
    wait_args a = { FJ_FIRST_ERROR, -1, 0 };
    fj_task *task = rt_spawn(wait_for_some, &a, NULL);

    resolve(0);
    expect_waiting(task, true);
    reject(2);
    rt_code(rt_join(task), OK);
    ck_assert_uint_eq(a.done, 2);
}
END_TEST

START_TEST(without_an_error_wait_waits_for_all)
{
    wait_args a = { FJ_FIRST_ERROR, -1, 0 };
    fj_task *task = rt_spawn(wait_for_some, &a, NULL);

    for (int i = 0; i < N; i++)
        resolve(i);
    rt_code(rt_join(task), OK);
    ck_assert_uint_eq(a.done, 3);
}
END_TEST

START_TEST(at_its_deadline_wait_tells_how_many_are_done)
{
    wait_args a = { FJ_ALL_COMPLETED, 30, 9 };
    fj_task *task = rt_spawn(wait_for_some, &a, NULL);

    resolve(0);
    rt_code(rt_join(task), TIMEOUT);
    ck_assert_uint_eq(a.done, 1);
    ck_assert_int_eq(rt_ms(), 30);
}
END_TEST

START_TEST(a_cancelled_wait_cancels_none)
{
    wait_args a = { FJ_ALL_COMPLETED, -1, 0 };
    fj_task *task = rt_spawn(wait_for_some, &a, NULL);

    rt_settle();
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), CANCELLED);
    for (int i = 0; i < N; i++)
        ck_assert(!fj_future_done(futures[i]));
}
END_TEST

static void *resolve_mine(void *arg)
{
    (void)arg;
    for (int i = 0; i < N; i++)
        resolve(i);
    return NULL;
}

START_TEST(a_plain_thread_may_wait)
{
    pthread_t other;
    size_t done = 0;

    ck_assert_int_eq(pthread_create(&other, NULL, resolve_mine, NULL), 0);
    rt_code(fj_wait(futures, N, FJ_ALL_COMPLETED, fj_never(), &done, NULL), OK);
    ck_assert_uint_eq(done, 3);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
}
END_TEST

static void wait_in_a_call_back(fj_loop *loop, void *user)
{
    (void)loop;
    *(fj_code *)user = fj_wait(futures, N, FJ_ALL_COMPLETED, fj_never(), NULL, NULL);
}

START_TEST(a_call_back_may_not_wait)
{
    fj_code told = FJ_OK;

    rt_code(fj_loop_call_soon(rt_loop, wait_in_a_call_back, &told, NULL, NULL), OK);
    rt_settle();
    rt_code(told, WRONG_CONTEXT);
}
END_TEST

/* ---- as_completed ------------------------------------------------------------------------------ */

RT_TASK(in_order_of_completion)
{
    fj_as_completed *it = NULL;
    fj_future *f = NULL;
    static const int expected[N] = { 2, 0, 1 };

    rt_code(fj_as_completed_new(futures, N, &it, err), OK);
    for (int i = 0; i < N; i++) {
        rt_code(fj_as_completed_next(it, fj_never(), &f), OK);
        ck_assert_ptr_eq(f, futures[expected[i]]);
        ck_assert(fj_future_done(f));
    }
    rt_code(fj_as_completed_next(it, fj_never(), &f), NOT_FOUND);
    ck_assert_ptr_null(fj_as_completed_free(it));
    ck_assert_ptr_null(fj_as_completed_free(NULL));
    return FJ_OK;
}

START_TEST(as_completed_gives_them_in_the_order_they_complete)
{
    fj_task *task = rt_spawn(in_order_of_completion, NULL, NULL);

    expect_waiting(task, true);
    resolve(2);
    expect_waiting(task, true);
    reject(0);
    resolve(1);
    rt_code(rt_join(task), OK);
}
END_TEST

RT_TASK(one_then_timeout)
{
    fj_as_completed *it = NULL;
    fj_future *f = NULL;

    rt_code(fj_as_completed_new(futures, N, &it, err), OK);
    rt_code(fj_as_completed_next(it, fj_in_ms(10), &f), OK);
    rt_code(fj_as_completed_next(it, fj_in_ms(10), &f), TIMEOUT);
    ck_assert(fj_task_cancel(fj_task_current()));
    rt_code(fj_as_completed_next(it, fj_in_ms(10), &f), CANCELLED);
    (void)fj_as_completed_free(it);
    return FJ_OK;
}

START_TEST(as_completed_may_time_out_and_be_left_early)
{
    resolve(1);
    rt_code(rt_run(one_then_timeout, NULL), OK);
    for (int i = 0; i < N; i++)
        ck_assert_uint_eq(references(futures[i]), 1);
}
END_TEST

/* ---- want of memory ---------------------------------------------------------------------------- */

RT_TASK(all_of_it)
{
    fj_as_completed *it = NULL;
    fj_future *all = NULL, *f = NULL;

    fj_code code = fj_gather(futures, N, 0, &all, err);
    if (code == FJ_OK && (code = fj_wait(futures, N, FJ_ALL_COMPLETED, fj_in_ms(5), NULL, err)) == FJ_TIMEOUT)
        code = fj_as_completed_new(futures, N, &it, err);
    if (code == FJ_OK && (code = fj_as_completed_next(it, fj_in_ms(5), &f)) == FJ_TIMEOUT)
        code = FJ_OK;
    (void)fj_as_completed_free(it);
    (void)fj_future_unref(all);
    return code;
}

START_TEST(each_allocation_may_fail)
{
    unsigned long n = 1;
    fj_code code;

    do {
        fj_task *task = rt_spawn(all_of_it, NULL, NULL);
        (void)fj__alloc_fail(n++, false);
        code = rt_join(task);
        (void)fj__alloc_fail(0, false);
        ck_assert(code == FJ_OK || code == FJ_NOMEM);
    } while (code != FJ_OK || n < 16);
    ck_assert_uint_lt(n, 60);
    for (int i = 0; i < N; i++)
        resolve(i); /* what was gathered goes */
    for (int i = 0; i < N; i++)
        ck_assert_uint_eq(references(futures[i]), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gather");
    TCase *t = tcase_create("gather");

    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, gather_answers_all_results_in_order);
    tcase_add_test(t, the_first_error_ends_a_gather_and_the_others_go_on);
    tcase_add_test(t, errors_may_count_as_outcomes);
    tcase_add_test(t, cancelling_a_gather_cancels_all);
    tcase_add_test(t, a_cancelled_gather_ends_when_its_tasks_have);
    tcase_add_test(t, no_error_of_what_is_gathered_or_shielded_is_reported_as_not_retrieved);
    tcase_add_test(t, a_gather_of_nothing_is_complete);
    tcase_add_test(t, a_gather_of_complete_futures_is_complete);
    tcase_add_test(t, a_shield_is_cancelled_without_what_it_shields);
    tcase_add_test(t, threads_race_to_complete_a_gather);
    tcase_add_test(t, wait_waits_for_all);
    tcase_add_test(t, wait_waits_for_the_first);
    tcase_add_test(t, wait_waits_for_the_first_error);
    tcase_add_test(t, without_an_error_wait_waits_for_all);
    tcase_add_test(t, at_its_deadline_wait_tells_how_many_are_done);
    tcase_add_test(t, a_cancelled_wait_cancels_none);
    tcase_add_test(t, a_plain_thread_may_wait);
    tcase_add_test(t, a_call_back_may_not_wait);
    tcase_add_test(t, as_completed_gives_them_in_the_order_they_complete);
    tcase_add_test(t, as_completed_may_time_out_and_be_left_early);
    tcase_add_test(t, each_allocation_may_fail);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
