/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: the order of a turn, time, descriptors, other threads, stopping, hosts. */
#include "base/alloc.h"
#include "runtime/clock.h"
#include "runtime/loop.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static fj_loop *loop;
static char heard[64];

static void make_loop(void)
{
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    heard[0] = 0;
}

static void free_loop(void)
{
    loop = fj_loop_free(loop);
    ck_assert_ptr_null(loop);
}

static void say(const char *word)
{
    strncat(heard, word, sizeof heard - strlen(heard) - 1);
}

static void on_say(fj_loop *l, void *user)
{
    (void)l;
    say(user);
}

static void on_stop(fj_loop *l, void *user)
{
    (void)user;
    fj_loop_stop(l);
}

static void soon(fj_loop_fn fn, void *user)
{
    ck_assert_int_eq(fj_loop_call_soon(loop, fn, user, NULL, NULL), FJ_OK);
}

static void one_turn(void)
{
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(0), NULL), FJ_OK);
}

static void run(void)
{
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
}

/* ---- call-backs ---- */

START_TEST(call_backs_run_in_the_order_of_the_calls)
{
    soon(on_say, "a");
    soon(on_say, "b");
    soon(on_say, "c");
    one_turn();
    ck_assert_str_eq(heard, "abc");
}
END_TEST

static void on_say_and_again(fj_loop *l, void *user)
{
    say(user);
    ck_assert_int_eq(fj_loop_call_soon(l, on_say, "again", NULL, NULL), FJ_OK);
}

START_TEST(what_a_call_back_calls_soon_runs_in_the_next_turn)
{
    soon(on_say_and_again, "first ");
    one_turn();
    ck_assert_str_eq(heard, "first ");
    one_turn();
    ck_assert_str_eq(heard, "first again");
}
END_TEST

START_TEST(a_cancelled_call_back_does_not_run)
{
    fj_handle *a = NULL, *b = NULL;

    ck_assert_int_eq(fj_loop_call_soon(loop, on_say, "a", NULL, &a), FJ_OK);
    ck_assert_int_eq(fj_loop_call_at(loop, fj_in_ms(0), on_say, "b", NULL, &b), FJ_OK);
    soon(on_say, "c");
    fj_handle_cancel(a);
    fj_handle_cancel(b);
    fj_handle_cancel(b);
    one_turn();
    ck_assert_str_eq(heard, "c");
    ck_assert_ptr_null(fj_handle_unref(a));
    ck_assert_ptr_null(fj_handle_unref(b));
}
END_TEST

START_TEST(cancelling_after_the_run_or_the_loop_is_nothing)
{
    fj_handle *ran = NULL, *dropped = NULL;

    ck_assert_int_eq(fj_loop_call_soon(loop, on_say, "a", NULL, &ran), FJ_OK);
    one_turn();
    fj_handle_cancel(ran);
    ck_assert_int_eq(fj_loop_call_later(loop, 1e6, on_say, "b", NULL, &dropped), FJ_OK);
    free_loop();
    fj_handle_cancel(ran);
    fj_handle_cancel(dropped);
    fj_handle_unref(ran);
    fj_handle_unref(dropped);
    ck_assert_str_eq(heard, "a");
}
END_TEST

/* ---- time ---- */

START_TEST(timers_run_in_the_order_of_their_deadlines_and_in_no_time)
{
    struct timespec before, after;

    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    fj__clock_set_fake(1000);
    fj__clock_set_auto(true);
    ck_assert_int_eq(fj_loop_call_later(loop, 3600, on_stop, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(loop, 60, on_say, "b", NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(loop, 1, on_say, "a", NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(loop, 60, on_say, "c", NULL, NULL), FJ_OK);
    run();
    ck_assert_str_eq(heard, "abc");
    ck_assert_int_eq(fj_now().ns, 1000 + INT64_C(3600000000000));
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_int_lt(after.tv_sec - before.tv_sec, 3600);
}
END_TEST

START_TEST(a_turn_with_nothing_to_do_answers_timeout_at_its_deadline)
{
    fj__clock_set_fake(5);
    fj__clock_set_auto(true);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(70), NULL), FJ_TIMEOUT);
    ck_assert_int_eq(fj_now().ns, 70000005);
}
END_TEST

START_TEST(a_turn_that_has_run_what_was_ready_does_not_sleep)
{
    fj__clock_set_fake(1000000000);
    fj__clock_set_auto(true);
    soon(on_say, "a");
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(70), NULL), FJ_OK);
    ck_assert_str_eq(heard, "a");
    ck_assert_int_eq(fj_now().ns, 1000000000);
}
END_TEST

START_TEST(a_turn_does_what_is_due_at_its_very_deadline)
{
    fj__clock_set_fake(5);
    fj__clock_set_auto(true);
    ck_assert_int_eq(fj_loop_call_at(loop, fj_in_ms(70), on_say, "due", NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(70), NULL), FJ_OK);
    ck_assert_str_eq(heard, "due");
}
END_TEST

START_TEST(a_real_clock_is_waited_for)
{
    fj_deadline at = fj_in_ms(20);

    ck_assert_int_eq(fj_loop_call_at(loop, at, on_stop, NULL, NULL, NULL), FJ_OK);
    run();
    ck_assert_int_ge(fj_now().ns, at.ns);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("loop");
    TCase *t = tcase_create("loop");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, make_loop, free_loop);
    tcase_add_test(t, call_backs_run_in_the_order_of_the_calls);
    tcase_add_test(t, what_a_call_back_calls_soon_runs_in_the_next_turn);
    tcase_add_test(t, a_cancelled_call_back_does_not_run);
    tcase_add_test(t, cancelling_after_the_run_or_the_loop_is_nothing);
    tcase_add_test(t, timers_run_in_the_order_of_their_deadlines_and_in_no_time);
    tcase_add_test(t, a_turn_with_nothing_to_do_answers_timeout_at_its_deadline);
    tcase_add_test(t, a_turn_that_has_run_what_was_ready_does_not_sleep);
    tcase_add_test(t, a_turn_does_what_is_due_at_its_very_deadline);
    tcase_add_test(t, a_real_clock_is_waited_for);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
