/* SPDX-License-Identifier: Apache-2.0 */
/* <fjord/await.h>: waiting for one future, and what cuts waits short.  Several futures: gather_test.c. */
#include "tests/support/rt.h"

#include "base/alloc.h"
#include "runtime/task.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static fj_future *new_future(void)
{
    fj_future *f = NULL;

    rt_code(fj_future_new(NULL, NULL, &f), OK);
    return f;
}

RT_TASK(seven)
{
    *ret = json_integer(7);
    return FJ_OK;
}

RT_TASK(sleep_second)
{
    return fj_sleep(fj_in_ms(1000));
}

RT_TASK(sleep_long)
{
    return fj_sleep(fj_never());
}

RT_TASK(clean_up_100_ms)
{
    rt_code(fj_sleep(fj_never()), CANCELLED);
    rt_code(fj_sleep(fj_in_ms(100)), OK);
    return FJ_CANCELLED;
}

RT_TASK(refuse_for_100_ms)
{
    rt_code(fj_sleep(fj_never()), CANCELLED);
    rt_code(fj_sleep(fj_in_ms(100)), OK);
    *ret = json_string("all the same");
    return FJ_OK;
}

/* ---- fj_await ---------------------------------------------------------------------------------- */

RT_TASK(await_it)
{
    return fj_await(user, fj_never(), ret, err);
}

static void resolve_later(fj_loop *loop, void *user)
{
    (void)loop;
    ck_assert(fj_future_resolve(user, json_string("done")));
}

START_TEST(await_answers_the_futures_result)
{
    fj_future *f = new_future();
    json_t *result = NULL;
    fj_task *task = rt_spawn(await_it, f, NULL);

    rt_code(fj_loop_call_at(rt_loop, fj_in_ms(20), resolve_later, f, NULL, NULL), OK);
    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(task), &result, NULL), OK);
    ck_assert_str_eq(json_string_value(result), "done");
    ck_assert_int_eq(rt_ms(), 20);
    json_decref(result);
    (void)fj_task_unref(task);
    (void)fj_future_unref(f);
}
END_TEST

START_TEST(await_answers_the_futures_error)
{
    fj_future *f = new_future();
    fj_error *error = NULL, *got = NULL;
    fj_task *task = rt_spawn(await_it, f, NULL);

    rt_settle();
    ck_assert_str_eq(fj_task_waits_for(task), "future");
    (void)fj_fail(&error, FJ_ACCESS, "not for you");
    ck_assert(fj_future_reject(f, error));
    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(task), NULL, &got), ACCESS);
    ck_assert_str_eq(fj_error_text(got), "not for you");
    fj_error_free(got);
    (void)fj_task_unref(task);
    (void)fj_future_unref(f);
}
END_TEST

RT_TASK(await_50_ms)
{
    rt_code(fj_await(user, fj_in_ms(50), NULL, err), TIMEOUT);
    ck_assert(!fj_future_done(user));
    ck_assert_int_eq(rt_ms(), 50);
    return FJ_OK;
}

START_TEST(at_its_deadline_await_leaves_the_future_alone)
{
    fj_future *f = new_future();

    rt_code(rt_run(await_50_ms, f), OK);
    (void)fj_future_unref(f);
}
END_TEST

START_TEST(await_outside_a_task_is_refused)
{
    fj_future *f = new_future();
    fj_error *err = NULL;

    rt_code(fj_await(f, fj_never(), NULL, &err), WRONG_CONTEXT);
    ck_assert_ptr_nonnull(err);
    rt_code(fj_wait_for(f, fj_never(), NULL, NULL), WRONG_CONTEXT);
    rt_code(fj_yield(), WRONG_CONTEXT);
    fj_error_free(err);
    (void)fj_future_unref(f);
}
END_TEST

RT_TASK(await_self)
{
    return fj_await(fj_task_future(fj_task_current()), fj_never(), ret, err);
}

START_TEST(a_task_cannot_await_itself)
{
    rt_code(rt_run(await_self, NULL), STATE);
}
END_TEST

START_TEST(cancelled_it_cancels_the_future)
{
    fj_future *f = new_future();
    fj_task *task = rt_spawn(await_it, f, NULL);

    rt_settle();
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), CANCELLED);
    rt_code(fj_future_result(f, NULL, NULL), CANCELLED);
    (void)fj_future_unref(f);
}
END_TEST

START_TEST(cancelled_it_waits_until_the_awaited_task_has_cleaned_up)
{
    fj_task *inner = rt_spawn(clean_up_100_ms, NULL, NULL);
    fj_task *outer = rt_spawn(await_it, fj_task_future(inner), NULL);

    rt_settle();
    ck_assert(fj_task_cancel(outer));
    rt_code(rt_join(outer), CANCELLED);
    ck_assert_int_eq(rt_ms(), 100);
    ck_assert(fj_future_done(fj_task_future(inner)));
    (void)fj_task_unref(inner);
}
END_TEST

START_TEST(cancelled_again_it_waits_no_longer)
{
    fj_task *inner = rt_spawn(clean_up_100_ms, NULL, NULL);
    fj_task *outer = rt_spawn(await_it, fj_task_future(inner), NULL);

    rt_settle();
    ck_assert(fj_task_cancel(outer));
    rt_settle();
    ck_assert(!fj_future_done(fj_task_future(outer)));
    ck_assert(fj_task_cancel(outer));
    rt_code(rt_join(outer), CANCELLED);
    ck_assert_int_eq(rt_ms(), 0);
    rt_code(rt_join(inner), CANCELLED);
}
END_TEST

START_TEST(a_killed_task_does_not_wait_for_what_it_awaited)
{
    fj_task *inner = rt_spawn(clean_up_100_ms, NULL, NULL);
    fj_task *outer = rt_spawn(await_it, fj_task_future(inner), NULL);

    rt_settle();
    ck_assert(fj_task_kill(outer));
    rt_code(rt_join(outer), CANCELLED);
    ck_assert_int_eq(rt_ms(), 0);
    rt_code(rt_join(inner), CANCELLED);
}
END_TEST

RT_TASK(await_shielded)
{
    fj_future *shield = NULL;

    rt_code(fj_shield(user, &shield, err), OK);
    fj_code code = fj_await(shield, fj_never(), ret, err);
    (void)fj_future_unref(shield);
    return code;
}

START_TEST(a_shielded_future_does_not_feel_the_cancellation)
{
    fj_task *inner = rt_spawn(sleep_second, NULL, NULL);
    fj_task *outer = rt_spawn(await_shielded, fj_task_future(inner), NULL);

    rt_settle();
    ck_assert(fj_task_cancel(outer));
    rt_code(rt_join(outer), CANCELLED);
    ck_assert(!fj_future_done(fj_task_future(inner)));
    rt_code(rt_join(inner), OK);
}
END_TEST

START_TEST(a_shield_follows_what_it_shields)
{
    fj_task *inner = rt_spawn(seven, NULL, NULL);
    fj_task *outer = rt_spawn(await_shielded, fj_task_future(inner), NULL);
    json_t *result = NULL;

    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(outer), &result, NULL), OK);
    ck_assert_int_eq(json_integer_value(result), 7);
    json_decref(result);
    (void)fj_task_unref(outer);
    (void)fj_task_unref(inner);
}
END_TEST

/* ---- fj_wait_for ------------------------------------------------------------------------------- */

RT_TASK(wait_for_50_ms)
{
    return fj_wait_for(user, fj_in_ms(50), ret, err);
}

START_TEST(wait_for_cancels_at_its_deadline_and_waits_for_the_end)
{
    fj_task *inner = rt_spawn(clean_up_100_ms, NULL, NULL);

    rt_code(rt_run(wait_for_50_ms, fj_task_future(inner)), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 150);
    ck_assert(fj_future_done(fj_task_future(inner)));
    (void)fj_task_unref(inner);
}
END_TEST

START_TEST(wait_for_answers_the_result_of_one_that_refused)
{
    fj_task *inner = rt_spawn(refuse_for_100_ms, NULL, NULL);

    rt_code(rt_run(wait_for_50_ms, fj_task_future(inner)), OK);
    (void)fj_task_unref(inner);
}
END_TEST

START_TEST(wait_for_in_time_answers_the_result)
{
    fj_task *inner = rt_spawn(seven, NULL, NULL);

    rt_code(rt_run(wait_for_50_ms, fj_task_future(inner)), OK);
    ck_assert_int_eq(rt_ms(), 0);
    (void)fj_task_unref(inner);
}
END_TEST

START_TEST(wait_for_cancelled_cancels_what_it_waits_for)
{
    fj_task *inner = rt_spawn(sleep_long, NULL, NULL);
    fj_task *outer = rt_spawn(wait_for_50_ms, fj_task_future(inner), NULL);

    rt_settle();
    ck_assert(fj_task_cancel(outer));
    rt_code(rt_join(outer), CANCELLED);
    ck_assert_int_eq(rt_ms(), 0);
    rt_code(rt_join(inner), CANCELLED);
}
END_TEST

RT_TASK(await_a_coroutine)
{
    fj_coro *coro = NULL;

    rt_code(fj_coro_new(user == NULL ? seven : sleep_long, NULL, NULL, &coro), OK);
    return fj_await_coro(coro, fj_in_ms(50), ret, err);
}

START_TEST(await_coro_starts_it_and_waits)
{
    rt_code(rt_run(await_a_coroutine, NULL), OK);
    rt_code(rt_run(await_a_coroutine, rt_loop), TIMEOUT);
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

/* ---- sleep and yield --------------------------------------------------------------------------- */

static void sleep_in_a_call_back(fj_loop *loop, void *user)
{
    (void)loop;
    *(fj_code *)user = fj_sleep(fj_in_ms(5));
}

START_TEST(sleep_is_refused_in_a_call_back_and_blocks_a_plain_thread)
{
    fj_code told = FJ_OK;

    rt_code(fj_loop_call_soon(rt_loop, sleep_in_a_call_back, &told, NULL, NULL), OK);
    rt_settle();
    rt_code(told, WRONG_CONTEXT);
    rt_code(fj_sleep(fj_in_ms(-1)), OK);
}
END_TEST

static char order[16];

RT_TASK(say_yield_say)
{
    (void)strcat(order, user);
    rt_code(fj_yield(), OK);
    (void)strcat(order, user);
    return FJ_OK;
}

START_TEST(yield_lets_those_run_that_are_ready)
{
    fj_task *a = rt_spawn(say_yield_say, (void *)"a", NULL), *b = rt_spawn(say_yield_say, (void *)"b", NULL);

    rt_code(rt_join(a), OK);
    rt_code(rt_join(b), OK);
    ck_assert_str_eq(order, "abab");
}
END_TEST

RT_TASK(sleep_until_past)
{
    for (int i = 0; i < 2; i++) {
        rt_code(fj_sleep(fj_in_ms(-1)), OK);
        (void)strcat(order, user);
    }
    return FJ_OK;
}

START_TEST(a_sleep_until_a_time_that_has_passed_yields)
{
    fj_task *a = rt_spawn(sleep_until_past, (void *)"a", NULL),
            *b = rt_spawn(sleep_until_past, (void *)"b", NULL);

    rt_code(rt_join(a), OK);
    rt_code(rt_join(b), OK);
    ck_assert_str_eq(order, "abab");
}
END_TEST

/* ---- timeouts ---------------------------------------------------------------------------------- */

RT_TASK(timeout_runs_out)
{
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(500));
    rt_code(fj_sleep(fj_never()), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 500);
    rt_code(fj_sleep(fj_in_ms(10)), OK); /* once */
    ck_assert(fj_timeout_end(&t));
    return FJ_OK;
}

START_TEST(a_timeout_cuts_one_wait_short_once)
{
    rt_code(rt_run(timeout_runs_out, NULL), OK);
}
END_TEST

RT_TASK(timeout_in_time)
{
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(500));
    rt_code(fj_sleep(fj_in_ms(20)), OK);
    ck_assert(!fj_timeout_end(&t));
    rt_code(fj_sleep(fj_in_ms(1000)), OK); /* it is over */
    return FJ_OK;
}

START_TEST(a_timeout_that_did_not_run_out_is_not_told)
{
    rt_code(rt_run(timeout_in_time, NULL), OK);
}
END_TEST

RT_TASK(own_deadline_inside)
{
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(500));
    fj_future *f = new_future();
    rt_code(fj_future_wait(f, fj_in_ms(30), NULL, NULL), TIMEOUT);
    ck_assert(!fj__task_outer());
    rt_code(fj_future_wait(f, fj_in_ms(5000), NULL, NULL), TIMEOUT);
    ck_assert(fj__task_outer());
    ck_assert(!fj_future_done(f));
    (void)fj_future_unref(f);
    ck_assert(fj_timeout_end(&t));
    return FJ_OK;
}

START_TEST(a_waits_own_deadline_is_not_the_timeouts)
{
    rt_code(rt_run(own_deadline_inside, NULL), OK);
}
END_TEST

RT_TASK(inner_first)
{
    fj_timeout outer, inner;

    fj_timeout_begin(&outer, fj_in_ms(500));
    fj_timeout_begin(&inner, fj_in_ms(100));
    rt_code(fj_sleep(fj_never()), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 100);
    ck_assert(fj_timeout_end(&inner));
    rt_code(fj_sleep(fj_never()), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 500);
    ck_assert(fj_timeout_end(&outer));
    return FJ_OK;
}

RT_TASK(outer_first)
{
    fj_timeout outer, inner;

    fj_timeout_begin(&outer, fj_in_ms(100));
    fj_timeout_begin(&inner, fj_in_ms(500));
    rt_code(fj_sleep(fj_never()), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 100);
    ck_assert(!fj_timeout_end(&inner));
    ck_assert(fj_timeout_end(&outer));
    return FJ_OK;
}

RT_TASK(both_at_once)
{
    fj_timeout outer, inner;

    fj_timeout_begin(&outer, fj_in_ms(100));
    fj_timeout_begin(&inner, fj_in_ms(100));
    rt_code(fj_sleep(fj_never()), TIMEOUT);
    rt_code(fj_sleep(fj_never()), TIMEOUT); /* each has its own */
    ck_assert(fj_timeout_end(&inner));
    ck_assert(fj_timeout_end(&outer));
    return FJ_OK;
}

START_TEST(nested_timeouts_never_take_each_others)
{
    fj_code code = rt_run(_i == 0 ? inner_first : _i == 1 ? outer_first : both_at_once, NULL);

    rt_code(code, OK);
}
END_TEST

RT_TASK(reschedule)
{
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(100));
    rt_code(fj_sleep(fj_in_ms(50)), OK);
    fj_timeout_reschedule(&t, fj_in_ms(200));
    rt_code(fj_sleep(fj_never()), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 250);
    ck_assert(fj_timeout_end(&t));
    return FJ_OK;
}

START_TEST(a_rescheduled_timeout_runs_out_at_its_new_time)
{
    rt_code(rt_run(reschedule, NULL), OK);
}
END_TEST

RT_TASK(timeout_around_await)
{
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(100));
    rt_code(fj_await(user, fj_never(), NULL, err), TIMEOUT);
    ck_assert(fj_timeout_end(&t));
    ck_assert(fj_future_done(user));
    return FJ_OK;
}

START_TEST(a_timeout_that_runs_out_cancels_what_is_awaited)
{
    fj_task *inner = rt_spawn(sleep_long, NULL, NULL);

    rt_code(rt_run(timeout_around_await, fj_task_future(inner)), OK);
    rt_code(rt_join(inner), CANCELLED);
}
END_TEST

START_TEST(outside_a_task_a_timeout_is_told_all_the_same)
{
    fj_timeout past, future;

    fj_timeout_begin(&past, fj_in_ms(-1));
    fj_timeout_begin(&future, fj_in_ms(1000));
    ck_assert(!fj_timeout_end(&future));
    ck_assert(fj_timeout_end(&past));
}
END_TEST

/* ---- shields and atomic sections --------------------------------------------------------------- */

RT_TASK(shielded)
{
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(10));
    ck_assert(fj_task_cancel(fj_task_current()));
    fj_shield_begin();
    fj_shield_begin();
    rt_code(fj_sleep(fj_in_ms(50)), OK);
    fj_shield_end();
    rt_code(fj_sleep(fj_in_ms(50)), OK);
    ck_assert(!fj__task_interrupted(fj_task_current()));
    fj_shield_end();
    ck_assert(fj__task_interrupted(fj_task_current()));
    rt_code(fj_sleep(fj_in_ms(50)), CANCELLED);
    rt_code(fj_sleep(fj_in_ms(50)), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 100);
    ck_assert(fj_timeout_end(&t));
    return FJ_OK;
}

START_TEST(what_comes_in_a_shield_is_kept_for_later)
{
    rt_code(rt_run(shielded, NULL), OK);
}
END_TEST

RT_TASK(shielded_from_without)
{
    fj_shield_begin();
    rt_code(fj_sleep(fj_in_ms(50)), OK);
    fj_shield_end();
    return fj_yield();
}

START_TEST(a_shield_holds_against_others)
{
    fj_task *task = rt_spawn(shielded_from_without, NULL, NULL);

    rt_settle();
    ck_assert(fj_task_kill(task));
    rt_code(rt_join(task), CANCELLED);
    ck_assert_int_eq(rt_ms(), 50);
}
END_TEST

RT_TASK(atomic)
{
    fj_atomic_begin();
    fj_atomic_begin();
    fj_atomic_end();
    rt_code(fj_sleep(fj_in_ms(50)), WRONG_CONTEXT);
    ck_assert_uint_eq(rt_troubles, 1);
    rt_code(fj_yield(), WRONG_CONTEXT);
    ck_assert_uint_eq(rt_troubles, 2);
    fj_atomic_end();
    return fj_sleep(fj_in_ms(50));
}

START_TEST(a_wait_in_an_atomic_section_is_refused_and_reported)
{
    rt_code(rt_run(atomic, NULL), OK);
    ck_assert_uint_eq(rt_troubles, 2);
    ck_assert_ptr_nonnull(strstr(rt_trouble, "task \"test\" would wait"));
    ck_assert_ptr_nonnull(strstr(rt_trouble, "in an atomic section, at "));
}
END_TEST

START_TEST(outside_tasks_they_are_nothing)
{
    fj_shield_begin();
    fj_atomic_begin();
    rt_code(fj_sleep(fj_in_ms(-1)), OK);
    fj_atomic_end();
    fj_shield_end();
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

/* ---- across threads ---------------------------------------------------------------------------- */

static void *resolve_from_here(void *arg)
{
    fj_future **futures = arg;

    for (int i = 0; i < 100; i++) {
        if (i % 2 == 0)
            (void)fj_future_resolve(futures[i], NULL);
        else
            (void)fj_future_cancel(futures[i]);
    }
    return NULL;
}

START_TEST(another_thread_completes_what_tasks_await)
{
    enum { N = 100 };
    fj_future *futures[N];
    fj_task *tasks[N];
    pthread_t other;

    for (int i = 0; i < N; i++) {
        futures[i] = new_future();
        tasks[i] = rt_spawn(await_it, futures[i], NULL);
    }
    ck_assert_int_eq(pthread_create(&other, NULL, resolve_from_here, futures), 0);
    for (int i = 0; i < N; i++) {
        fj_code code = rt_join(tasks[i]);
        ck_assert_int_eq(code, i % 2 == 0 ? FJ_OK : FJ_CANCELLED);
    }
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    for (int i = 0; i < N; i++)
        (void)fj_future_unref(futures[i]);
}
END_TEST

/* A second loop on a second thread awaits the same futures, while a third completes them. */
static void *await_elsewhere(void *arg)
{
    fj_loop *loop = NULL;
    fj_future **futures = arg;

    rt_code(fj_loop_new(&loop, NULL), OK);
    for (int i = 0; i < 100; i++) {
        fj_task_opts opts = FJ_TASK_OPTS_INIT;
        opts.loop = loop;
        rt_code(fj_task_spawn(await_it, futures[i], &opts, NULL, NULL), OK);
    }
    for (int i = 0; i < 100; i++)
        ck_assert_int_ne(fj_loop_run_until_complete(loop, futures[i], NULL, NULL), FJ_STATE);
    (void)fj_loop_free(loop); /* those whose wake-up is on its way have it, the others are cancelled */
    return NULL;
}

START_TEST(tasks_of_two_loops_await_the_same_futures)
{
    enum { N = 100 };
    fj_future *futures[N];
    fj_task *tasks[N];
    pthread_t completer, waiter;

    for (int i = 0; i < N; i++) {
        futures[i] = new_future();
        tasks[i] = rt_spawn(await_it, futures[i], NULL);
    }
    ck_assert_int_eq(pthread_create(&waiter, NULL, await_elsewhere, futures), 0);
    ck_assert_int_eq(pthread_create(&completer, NULL, resolve_from_here, futures), 0);
    for (int i = 0; i < N; i++)
        (void)rt_join(tasks[i]);
    ck_assert_int_eq(pthread_join(completer, NULL), 0);
    ck_assert_int_eq(pthread_join(waiter, NULL), 0);
    for (int i = 0; i < N; i++)
        (void)fj_future_unref(futures[i]);
}
END_TEST

/* ---- want of memory ---------------------------------------------------------------------------- */

RT_TASK(all_of_it)
{
    fj_timeout t;
    fj_coro *coro = NULL;
    fj_future *shield = NULL, *f = NULL;

    fj_timeout_begin(&t, fj_in_ms(5000));
    fj_code code = fj_coro_new(seven, NULL, NULL, &coro);
    if (code == FJ_OK)
        code = fj_await_coro(coro, fj_in_ms(50), NULL, err);
    if (code == FJ_OK)
        code = fj_future_new(NULL, NULL, &f);
    if (code == FJ_OK)
        code = fj_shield(f, &shield, err);
    if (code == FJ_OK && (code = fj_await(shield, fj_in_ms(5), NULL, NULL)) == FJ_TIMEOUT)
        code = fj_sleep(fj_in_ms(5));
    if (f != NULL)
        (void)fj_future_resolve(f, NULL);
    (void)fj_future_unref(shield);
    (void)fj_future_unref(f);
    (void)fj_timeout_end(&t);
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
        rt_settle();
    } while (code != FJ_OK || n < 12);
    ck_assert_uint_lt(n, 60);
}
END_TEST

static TCase *one_future(void)
{
    TCase *t = tcase_create("one future");

    tcase_add_checked_fixture(t, rt_begin, rt_end);
    tcase_add_test(t, await_answers_the_futures_result);
    tcase_add_test(t, await_answers_the_futures_error);
    tcase_add_test(t, at_its_deadline_await_leaves_the_future_alone);
    tcase_add_test(t, await_outside_a_task_is_refused);
    tcase_add_test(t, a_task_cannot_await_itself);
    tcase_add_test(t, cancelled_it_cancels_the_future);
    tcase_add_test(t, cancelled_it_waits_until_the_awaited_task_has_cleaned_up);
    tcase_add_test(t, cancelled_again_it_waits_no_longer);
    tcase_add_test(t, a_killed_task_does_not_wait_for_what_it_awaited);
    tcase_add_test(t, a_shielded_future_does_not_feel_the_cancellation);
    tcase_add_test(t, a_shield_follows_what_it_shields);
    tcase_add_test(t, wait_for_cancels_at_its_deadline_and_waits_for_the_end);
    tcase_add_test(t, wait_for_answers_the_result_of_one_that_refused);
    tcase_add_test(t, wait_for_in_time_answers_the_result);
    tcase_add_test(t, wait_for_cancelled_cancels_what_it_waits_for);
    tcase_add_test(t, await_coro_starts_it_and_waits);
    tcase_add_test(t, another_thread_completes_what_tasks_await);
    tcase_add_test(t, tasks_of_two_loops_await_the_same_futures);
    tcase_add_test(t, each_allocation_may_fail);
    return t;
}

static TCase *time_and_sections(void)
{
    TCase *t = tcase_create("time and sections");

    tcase_add_checked_fixture(t, rt_begin, rt_end);
    tcase_add_test(t, sleep_is_refused_in_a_call_back_and_blocks_a_plain_thread);
    tcase_add_test(t, yield_lets_those_run_that_are_ready);
    tcase_add_test(t, a_sleep_until_a_time_that_has_passed_yields);
    tcase_add_test(t, a_timeout_cuts_one_wait_short_once);
    tcase_add_test(t, a_timeout_that_did_not_run_out_is_not_told);
    tcase_add_test(t, a_waits_own_deadline_is_not_the_timeouts);
    tcase_add_loop_test(t, nested_timeouts_never_take_each_others, 0, 3);
    tcase_add_test(t, a_rescheduled_timeout_runs_out_at_its_new_time);
    tcase_add_test(t, a_timeout_that_runs_out_cancels_what_is_awaited);
    tcase_add_test(t, outside_a_task_a_timeout_is_told_all_the_same);
    tcase_add_test(t, what_comes_in_a_shield_is_kept_for_later);
    tcase_add_test(t, a_shield_holds_against_others);
    tcase_add_test(t, a_wait_in_an_atomic_section_is_refused_and_reported);
    tcase_add_test(t, outside_tasks_they_are_nothing);
    return t;
}

int main(void)
{
    Suite *s = suite_create("await");

    suite_add_tcase(s, one_future());
    suite_add_tcase(s, time_and_sections());
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
