/* SPDX-License-Identifier: Apache-2.0 */
/* The ordered life of a server. */
#include "base/alloc.h"
#include "base/log.h"
#include "executors/lifecycle.h"
#include "runtime/clock.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static fj__life life;
static atomic_uint starts, stops, waits, in_step, hangs;
static atomic_bool gate, inside;
static fj__eventcount told;
static atomic_int start_code, wait_code;
static bool held; /* whether steps wait for the gate */

static void hold(void)
{
    atomic_fetch_add(&in_step, 1);
    fj__eventcount_raise(&told);
    while (held) {
        unsigned seen = fj__eventcount_read(&told);
        if (atomic_load(&gate))
            return;
        (void)fj__eventcount_wait(&told, seen, fj_never());
    }
}

static void open_gate(void)
{
    atomic_store(&gate, true);
    fj__eventcount_raise(&told);
}

static void await_step(void)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&told);
        if (atomic_load(&in_step) > 0)
            return;
        (void)fj__eventcount_wait(&told, seen, fj_never());
    }
}

static fj_code on_start(void *user, fj_error **err)
{
    ck_assert_ptr_eq(user, &life);
    atomic_fetch_add(&starts, 1);
    hold();
    fj_code code = (fj_code)atomic_load(&start_code);
    return code == FJ_OK ? code : fj_fail(err, code, "no");
}

static void on_stop(void *user)
{
    if (user == &life) /* Check's assertions are not for signal handlers */
        atomic_fetch_add(&stops, 1);
}

static fj_code on_wait(void *user, fj_deadline by, fj_error **err)
{
    ck_assert_ptr_eq(user, &life);
    (void)by;
    atomic_fetch_add(&waits, 1);
    hold();
    fj_code code = (fj_code)atomic_load(&wait_code);
    return code == FJ_OK ? code : fj_fail(err, code, "no");
}

static bool is_inside(void *user)
{
    (void)user;
    return atomic_load(&inside);
}

static const fj__life_ops ops = { on_start, on_stop, on_wait, is_inside };

static void on_log(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    (void)component;
    if (level == FJ_LOG_WARNING && strstr(text, "possible hang") != NULL) {
        atomic_fetch_add(&hangs, 1);
        open_gate();
    }
}

static void setup(void)
{
    fj_log_set(on_log, NULL);
    fj__life_init(&life, &ops, &life, "calc");
}

static void expect(fj_code code, fj_code want, fj_error *err)
{
    ck_assert_msg(code == want, "%s, not %s: %s", fj_code_name(code), fj_code_name(want), fj_error_text(err));
    fj_error_free(err);
}

#define EXPECT(want, call)       \
    do {                         \
        fj_error *err = NULL;    \
        fj_code code = (call);   \
        expect(code, want, err); \
    } while (0)

START_TEST(the_steps_come_in_their_order)
{
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_INIT);
    EXPECT(FJ_OK, fj__life_start(&life, &err));
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_RUNNING);
    fj__life_stop(&life);
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_STOPPED);
    EXPECT(FJ_OK, fj__life_wait(&life, fj_never(), &err));
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_DRAINED);
    EXPECT(FJ_OK, fj__life_reset(&life, &err));
    EXPECT(FJ_OK, fj__life_start(&life, &err));
    ck_assert_uint_eq(atomic_load(&starts), 2);
}
END_TEST

START_TEST(what_is_out_of_order_is_refused)
{
    EXPECT(FJ_STATE, fj__life_wait(&life, fj_never(), &err));
    fj__life_stop(&life);
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_INIT);
    EXPECT(FJ_OK, fj__life_start(&life, &err));
    EXPECT(FJ_STATE, fj__life_start(&life, &err));
    EXPECT(FJ_STATE, fj__life_wait(&life, fj_never(), &err));
    EXPECT(FJ_STATE, fj__life_reset(&life, &err));
    fj__life_stop(&life);
    EXPECT(FJ_STATE, fj__life_start(&life, &err));
    EXPECT(FJ_STATE, fj__life_reset(&life, &err));
    ck_assert_uint_eq(atomic_load(&starts), 1);
    ck_assert_uint_eq(atomic_load(&stops), 1);
    ck_assert_uint_eq(atomic_load(&waits), 0);
}
END_TEST

START_TEST(stop_and_wait_may_be_repeated_and_run_once)
{
    EXPECT(FJ_OK, fj__life_start(&life, &err));
    fj__life_stop(&life);
    fj__life_stop(&life);
    EXPECT(FJ_OK, fj__life_wait(&life, fj_never(), &err));
    EXPECT(FJ_OK, fj__life_wait(&life, fj_never(), &err));
    fj__life_stop(&life);
    ck_assert_uint_eq(atomic_load(&stops), 1);
    ck_assert_uint_eq(atomic_load(&waits), 1);
}
END_TEST

START_TEST(a_start_that_failed_may_be_tried_again)
{
    atomic_store(&start_code, FJ_UNREACHABLE);
    EXPECT(FJ_UNREACHABLE, fj__life_start(&life, &err));
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_INIT);
    atomic_store(&start_code, FJ_OK);
    EXPECT(FJ_OK, fj__life_start(&life, &err));
}
END_TEST

START_TEST(a_wait_that_timed_out_may_be_tried_again)
{
    EXPECT(FJ_OK, fj__life_start(&life, &err));
    fj__life_stop(&life);
    atomic_store(&wait_code, FJ_TIMEOUT);
    EXPECT(FJ_TIMEOUT, fj__life_wait(&life, fj_never(), &err));
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_STOPPED);
    atomic_store(&wait_code, FJ_OK);
    EXPECT(FJ_OK, fj__life_wait(&life, fj_never(), &err));
    ck_assert_uint_eq(atomic_load(&waits), 2);
}
END_TEST

START_TEST(a_wait_from_within_a_method_is_refused)
{
    EXPECT(FJ_OK, fj__life_start(&life, &err));
    fj__life_stop(&life);
    atomic_store(&inside, true);
    EXPECT(FJ_STATE, fj__life_wait(&life, fj_never(), &err));
    ck_assert_uint_eq(atomic_load(&waits), 0);
}
END_TEST

static void *start_it(void *user)
{
    fj_code *ret = user;

    *ret = fj__life_start(&life, NULL);
    return NULL;
}

static void *wait_for_it(void *user)
{
    fj_code *ret = user;

    *ret = fj__life_wait(&life, fj_never(), NULL);
    return NULL;
}

START_TEST(of_two_threads_that_start_one_does_and_the_other_waits_for_it)
{
    pthread_t threads[2];
    fj_code codes[2];

    held = true;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, start_it, &codes[i]), 0);
    await_step();
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_STARTING);
    open_gate();
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    ck_assert_uint_eq(atomic_load(&starts), 1);
    ck_assert((codes[0] == FJ_OK && codes[1] == FJ_STATE) || (codes[0] == FJ_STATE && codes[1] == FJ_OK));
}
END_TEST

START_TEST(all_who_wait_hear_of_the_end)
{
    pthread_t threads[4];
    fj_code codes[4];

    EXPECT(FJ_OK, fj__life_start(&life, &err));
    fj__life_stop(&life);
    atomic_store(&in_step, 0);
    held = true;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_for_it, &codes[i]), 0);
    await_step();
    EXPECT(FJ_TIMEOUT, fj__life_wait(&life, fj_in_ms(5), &err));
    open_gate();
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
        ck_assert_int_eq(codes[i], FJ_OK);
    }
    ck_assert_uint_eq(atomic_load(&waits), 1);
}
END_TEST

START_TEST(a_stop_while_it_starts_stops_it_once_it_runs)
{
    pthread_t thread;
    fj_code code;

    held = true;
    ck_assert_int_eq(pthread_create(&thread, NULL, start_it, &code), 0);
    await_step();
    fj__life_stop(&life);
    ck_assert_uint_eq(atomic_load(&stops), 0);
    ck_assert(!fj__life_await_stop(&life, fj_in_ms(1)));
    open_gate();
    ck_assert(fj__life_await_stop(&life, fj_never()));
    (void)pthread_join(thread, NULL);
    ck_assert_int_eq(code, FJ_OK);
    ck_assert_uint_eq(atomic_load(&stops), 1);
    ck_assert_int_eq(fj__life_now(&life), FJ__LIFE_STOPPED);
}
END_TEST

static void on_signal(int number)
{
    (void)number;
    fj__life_stop(&life);
}

START_TEST(a_signal_handler_may_stop_it)
{
    struct sigaction action = { .sa_handler = on_signal };

    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    EXPECT(FJ_OK, fj__life_start(&life, &err));
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert(fj__life_await_stop(&life, fj_in_ms(0)));
    ck_assert_uint_eq(atomic_load(&stops), 1);
}
END_TEST

START_TEST(waiting_for_half_a_minute_is_logged_as_a_possible_hang)
{
    pthread_t starter, waiter;
    fj_code codes[2];

    held = true;
    ck_assert_int_eq(pthread_create(&starter, NULL, start_it, &codes[0]), 0);
    await_step();
    /* As if the other had begun to wait long ago: its thirty seconds lie in the past of the real clock. */
    fj__clock_set_fake(1);
    ck_assert_int_eq(pthread_create(&waiter, NULL, start_it, &codes[1]), 0);
    (void)pthread_join(starter, NULL); /* the log line opens the gate */
    (void)pthread_join(waiter, NULL);
    fj__clock_set_fake(-1);
    ck_assert_uint_eq(atomic_load(&hangs), 1);
    ck_assert_int_eq(codes[1], FJ_STATE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lifecycle");
    TCase *tc = tcase_create("life");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, the_steps_come_in_their_order);
    tcase_add_test(tc, what_is_out_of_order_is_refused);
    tcase_add_test(tc, stop_and_wait_may_be_repeated_and_run_once);
    tcase_add_test(tc, a_start_that_failed_may_be_tried_again);
    tcase_add_test(tc, a_wait_that_timed_out_may_be_tried_again);
    tcase_add_test(tc, a_wait_from_within_a_method_is_refused);
    tcase_add_test(tc, of_two_threads_that_start_one_does_and_the_other_waits_for_it);
    tcase_add_test(tc, all_who_wait_hear_of_the_end);
    tcase_add_test(tc, a_stop_while_it_starts_stops_it_once_it_runs);
    tcase_add_test(tc, a_signal_handler_may_stop_it);
    tcase_add_test(tc, waiting_for_half_a_minute_is_logged_as_a_possible_hang);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
