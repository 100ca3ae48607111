/* SPDX-License-Identifier: Apache-2.0 */
/* <fjord/future.h>, sentence by sentence, and what drivers do with futures. */
#include "tests/support/rt.h"

#include "base/alloc.h"
#include "runtime/future_impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static fj_future *f;

static void begin(void)
{
    rt_begin();
    rt_code(fj_future_new(NULL, NULL, &f), OK);
}

static void end(void)
{
    f = fj_future_unref(f);
    ck_assert_ptr_null(f);
    rt_end();
}

/* ---- completing -------------------------------------------------------------------------------- */

START_TEST(it_completes_once)
{
    fj_error *error = NULL;
    json_t *result = NULL;

    rt_code(fj_future_result(f, NULL, NULL), AGAIN);
    ck_assert(!fj_future_done(f));
    ck_assert(fj_future_resolve(f, json_integer(1)));
    ck_assert(!fj_future_resolve(f, json_integer(2)));
    (void)fj_fail(&error, FJ_ACCESS, "too late");
    ck_assert(!fj_future_reject(f, error));
    ck_assert(!fj_future_cancel(f));
    ck_assert(fj_future_done(f));
    rt_code(fj_future_result(f, &result, NULL), OK);
    ck_assert_int_eq(json_integer_value(result), 1);
    json_decref(result);
}
END_TEST

START_TEST(no_result_is_json_null)
{
    json_t *result = NULL;

    ck_assert(fj_future_resolve(f, NULL));
    rt_code(fj_future_wait(f, fj_never(), &result, NULL), OK);
    ck_assert(json_is_null(result));
    json_decref(result);
}
END_TEST

START_TEST(a_cancelled_one_answers_cancelled_and_drops_what_comes_later)
{
    ck_assert(fj_future_cancel(f));
    rt_code(fj_future_wait(f, fj_never(), NULL, NULL), CANCELLED);
    ck_assert(!fj_future_resolve(f, json_integer(1)));
}
END_TEST

static unsigned cancelled, freed;
static void on_cancelled(fj_future *future, void *user)
{
    ck_assert(fj_future_done(future));
    ck_assert_ptr_eq(user, fj_future_user(future));
    cancelled++;
}
static void on_freed(void *user)
{
    (void)user;
    freed++;
}

START_TEST(its_maker_is_told_of_cancellation_and_of_the_last_reference)
{
    static const fj_future_ops ops = { .cancelled = on_cancelled, .freed = on_freed };
    fj_future *mine = NULL;

    rt_code(fj_future_new(&ops, &freed, &mine), OK);
    ck_assert(fj_future_cancel(mine));
    ck_assert(!fj_future_cancel(mine));
    ck_assert_uint_eq(cancelled, 1);
    ck_assert_ptr_eq(fj_future_ref(mine), mine);
    (void)fj_future_unref(mine);
    ck_assert_uint_eq(freed, 0);
    (void)fj_future_unref(mine);
    ck_assert_uint_eq(freed, 1);
}
END_TEST

/* ---- call-backs -------------------------------------------------------------------------------- */

static char order[16];

static void say(fj_future *future, void *user)
{
    ck_assert(fj_future_done(future));
    (void)strcat(order, user);
}

START_TEST(a_quick_call_back_that_logs_failures_counts_when_it_fails)
{
    rt_code(fj__future_then_quick(f, say, (void *)"a", true), OK);
    ck_assert(!fj__future_watched(f, false));
    ck_assert(fj__future_watched(f, true));
    ck_assert(fj_future_resolve(f, NULL));
}
END_TEST

START_TEST(call_backs_run_in_order_when_it_completes)
{
    rt_code(fj__future_then_quick(f, say, (void *)"a", false), OK);
    ck_assert(!fj__future_watched(f, true));
    rt_code(fj_future_then(f, say, (void *)"b"), OK);
    ck_assert(fj__future_watched(f, false));
    ck_assert_str_eq(order, "");
    ck_assert(fj_future_resolve(f, NULL));
    ck_assert_str_eq(order, "ab");
    ck_assert(!fj__future_watched(f, true));
    rt_code(fj_future_then(f, say, (void *)"c"), OK); /* at once */
    ck_assert_str_eq(order, "abc");
}
END_TEST

START_TEST(it_keeps_itself_alive_until_then)
{
    fj_future *mine = NULL;

    rt_code(fj_future_new(NULL, NULL, &mine), OK);
    rt_code(fj_future_then(mine, say, (void *)"a"), OK);
    (void)fj_future_unref(mine);
    ck_assert(fj_future_cancel(mine));
    ck_assert_str_eq(order, "a");
}
END_TEST

START_TEST(a_call_back_can_be_taken_back)
{
    rt_code(fj_future_then(f, say, (void *)"a"), OK);
    rt_code(fj_future_then(f, say, (void *)"b"), OK);
    rt_code(fj_future_then(f, say, (void *)"c"), OK);
    ck_assert(fj__future_forget(f, say, (void *)"c"));
    ck_assert(!fj__future_forget(f, say, (void *)"c"));
    rt_code(fj_future_then(f, say, (void *)"d"), OK);
    ck_assert(fj__future_forget(f, say, (void *)"a"));
    ck_assert(fj_future_resolve(f, NULL));
    ck_assert_str_eq(order, "bd");
    ck_assert(!fj__future_forget(f, say, (void *)"b"));
}
END_TEST

START_TEST(the_last_call_back_taken_back_lets_go_of_it)
{
    rt_code(fj_future_then(f, say, (void *)"a"), OK);
    ck_assert_uint_eq(atomic_load(&f->refs), 2);
    ck_assert(fj__future_forget(f, say, (void *)"a"));
    ck_assert_uint_eq(atomic_load(&f->refs), 1);
}
END_TEST

START_TEST(without_memory_a_call_back_is_refused)
{
    (void)fj__alloc_fail(1, true);
    fj_code code = fj_future_then(f, say, NULL);
    fj_future *none = NULL;
    fj_code code2 = fj_future_new(NULL, NULL, &none);
    (void)fj__alloc_fail(0, false);
    rt_code(code, NOMEM);
    rt_code(code2, NOMEM);
}
END_TEST

/* ---- waiting ----------------------------------------------------------------------------------- */

static void *resolve_it(void *arg)
{
    ck_assert(fj_future_resolve(arg, json_integer(5)));
    return NULL;
}

START_TEST(a_plain_thread_sleeps_until_it_is_complete)
{
    pthread_t other;
    json_t *result = NULL;

    ck_assert_int_eq(pthread_create(&other, NULL, resolve_it, f), 0);
    rt_code(fj_future_wait(f, fj_never(), &result, NULL), OK);
    ck_assert_int_eq(json_integer_value(result), 5);
    json_decref(result);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
}
END_TEST

START_TEST(at_the_deadline_wait_answers_timeout)
{
    fj_error *err = NULL;

    rt_code(fj_future_wait(f, fj_in_ms(-1), NULL, &err), TIMEOUT);
    ck_assert_ptr_nonnull(err);
    fj_error_free(err);
    ck_assert(!fj_future_done(f));
}
END_TEST

static void wait_in_a_call_back(fj_loop *loop, void *user)
{
    (void)loop;
    *(fj_code *)user = fj_future_wait(f, fj_in_ms(50), NULL, NULL);
}

START_TEST(wait_is_refused_in_a_call_back_unless_it_is_complete)
{
    fj_code told = FJ_OK;

    rt_code(fj_loop_call_soon(rt_loop, wait_in_a_call_back, &told, NULL, NULL), OK);
    rt_settle();
    rt_code(told, WRONG_CONTEXT);
    ck_assert(fj_future_resolve(f, NULL));
    rt_code(fj_loop_call_soon(rt_loop, wait_in_a_call_back, &told, NULL, NULL), OK);
    rt_settle();
    rt_code(told, OK);
}
END_TEST

static unsigned helped;
static void help(fj_future *future, void *user, fj_deadline by)
{
    (void)user;
    (void)by;
    helped++;
    if (helped == 2)
        (void)fj_future_resolve(future, NULL);
}
static const fj_future_ops helping = { .wait = help };

START_TEST(a_plain_thread_helps_the_operation_along)
{
    fj_future *mine = NULL;

    rt_code(fj_future_new(&helping, NULL, &mine), OK);
    rt_code(fj_future_wait(mine, fj_in_ms(-1), NULL, NULL), TIMEOUT);
    rt_code(fj_future_wait(mine, fj_never(), NULL, NULL), OK);
    ck_assert_uint_eq(helped, 2);
    (void)fj_future_unref(mine);
}
END_TEST

RT_TASK(wait_50_ms)
{
    return fj_future_wait(user, fj_in_ms(50), ret, err);
}

START_TEST(a_task_parks_and_does_not_help)
{
    fj_future *mine = NULL;

    rt_code(fj_future_new(&helping, NULL, &mine), OK);
    rt_code(rt_run(wait_50_ms, mine), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 50);
    ck_assert_uint_eq(helped, 0);
    (void)fj_future_unref(mine);
}
END_TEST

START_TEST(a_cancelled_task_leaves_the_future_it_waits_for)
{
    fj_task *task = rt_spawn(wait_50_ms, f, NULL);

    rt_settle();
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), CANCELLED);
    ck_assert(!fj_future_done(f));
    ck_assert_ptr_null(f->waiters.first);
}
END_TEST

/* ---- drivers' sleeps --------------------------------------------------------------------------- */

static void *nudge_it(void *arg)
{
    fj__future_nudge(arg);
    return NULL;
}

START_TEST(a_nudge_wakes_a_sleeper_though_nothing_is_complete)
{
    pthread_t other;

    ck_assert_int_eq(pthread_create(&other, NULL, nudge_it, f), 0);
    rt_code(fj__future_sleep(f, 0, fj_never()), OK);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    ck_assert(!fj_future_done(f));
}
END_TEST

START_TEST(a_nudge_since_the_last_look_is_heard_by_all_who_are_about_to_sleep)
{
    unsigned seen = fj__future_nudges(f);

    fj__future_nudge(f);
    rt_code(fj__future_sleep(f, seen, fj_never()), OK);
    rt_code(fj__future_sleep(f, seen, fj_never()), OK); /* another, who looked as early */
    rt_code(fj__future_sleep(f, fj__future_nudges(f), fj_in_ms(-1)), TIMEOUT);
    ck_assert(fj_future_resolve(f, NULL));
    rt_code(fj__future_sleep(f, fj__future_nudges(f), fj_never()), OK); /* complete: no sleep */
}
END_TEST

RT_TASK(sleep_on_it)
{
    rt_code(fj__future_sleep(user, 0, fj_in_ms(50)), TIMEOUT);
    ck_assert_int_eq(rt_ms(), 50);
    return fj__future_sleep(user, 0, fj_never());
}

START_TEST(in_a_task_a_drivers_sleep_parks_and_tells_of_the_cancellation)
{
    fj_task *task = rt_spawn(sleep_on_it, f, NULL);

    rt_settle();
    ck_assert_str_eq(fj_task_waits_for(task), "driver");
    rt_code(fj_loop_turn(rt_loop, fj_in_ms(50), NULL), OK);
    rt_settle();
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), CANCELLED);
    ck_assert_ptr_null(f->waiters.first);
}
END_TEST

static void *complete_many(void *arg)
{
    fj_future **futures = arg;

    for (int i = 0; i < 200; i++) {
        (void)fj_future_cancel(futures[i]);
        (void)fj_future_unref(futures[i]);
    }
    return NULL;
}

START_TEST(threads_race_to_complete_and_to_leave)
{
    enum { MANY = 200, THREADS = 3 };
    fj_future *futures[MANY];
    pthread_t threads[THREADS];

    for (int i = 0; i < MANY; i++) {
        rt_code(fj_future_new(NULL, NULL, &futures[i]), OK);
        for (int t = 0; t < THREADS; t++)
            (void)fj_future_ref(futures[i]);
    }
    for (int t = 0; t < THREADS; t++)
        ck_assert_int_eq(pthread_create(&threads[t], NULL, complete_many, futures), 0);
    for (int i = 0; i < MANY; i++) {
        rt_code(fj_future_wait(futures[i], fj_never(), NULL, NULL), CANCELLED);
        (void)fj_future_unref(futures[i]);
    }
    for (int t = 0; t < THREADS; t++)
        ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
}
END_TEST

START_TEST(it_is_small)
{
    ck_assert_uint_le(sizeof(struct fj_future), 128); /* 100,000 of them are 12 MiB */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("future");
    TCase *t = tcase_create("future");

    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, it_completes_once);
    tcase_add_test(t, no_result_is_json_null);
    tcase_add_test(t, a_cancelled_one_answers_cancelled_and_drops_what_comes_later);
    tcase_add_test(t, its_maker_is_told_of_cancellation_and_of_the_last_reference);
    tcase_add_test(t, call_backs_run_in_order_when_it_completes);
    tcase_add_test(t, a_quick_call_back_that_logs_failures_counts_when_it_fails);
    tcase_add_test(t, it_keeps_itself_alive_until_then);
    tcase_add_test(t, a_call_back_can_be_taken_back);
    tcase_add_test(t, the_last_call_back_taken_back_lets_go_of_it);
    tcase_add_test(t, without_memory_a_call_back_is_refused);
    tcase_add_test(t, a_plain_thread_sleeps_until_it_is_complete);
    tcase_add_test(t, at_the_deadline_wait_answers_timeout);
    tcase_add_test(t, wait_is_refused_in_a_call_back_unless_it_is_complete);
    tcase_add_test(t, a_plain_thread_helps_the_operation_along);
    tcase_add_test(t, a_task_parks_and_does_not_help);
    tcase_add_test(t, a_cancelled_task_leaves_the_future_it_waits_for);
    tcase_add_test(t, a_nudge_wakes_a_sleeper_though_nothing_is_complete);
    tcase_add_test(t, a_nudge_since_the_last_look_is_heard_by_all_who_are_about_to_sleep);
    tcase_add_test(t, in_a_task_a_drivers_sleep_parks_and_tells_of_the_cancellation);
    tcase_add_test(t, threads_race_to_complete_and_to_leave);
    tcase_add_test(t, it_is_small);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
