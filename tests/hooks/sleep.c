/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

static int64_t now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

START_TEST(sleeping_suspends_and_lasts)
{
    int64_t begun = now(CLOCK_MONOTONIC);
    struct timespec t = { .tv_nsec = 2000000 }, left = { 9, 9 };

    errno = EXDEV;
    ck_assert_int_eq(usleep(2000), 0);
    ck_assert_int_eq(nanosleep(&t, &left), 0);
    ck_assert_int_eq(left.tv_sec, 9);
    ck_assert_int_eq(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL), 0);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_uint_eq(sleep(0), 0);
    ck_assert_uint_eq(toy_asked().sleeps, 4);
    ck_assert_int_ge(now(CLOCK_MONOTONIC) - begun, 6000000);
}
END_TEST

START_TEST(sleeping_to_a_point_of_a_clock_ends_then)
{
    static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };

    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        int64_t end = now(clocks[i]) + 2000000;
        struct timespec t = { .tv_sec = end / 1000000000, .tv_nsec = end % 1000000000 };

        ck_assert_int_eq(clock_nanosleep(clocks[i], TIMER_ABSTIME, &t, NULL), 0);
        ck_assert_int_ge(now(clocks[i]), end);
        ck_assert_int_eq(clock_nanosleep(clocks[i], TIMER_ABSTIME, &t, NULL), 0); /* past */
    }
    ck_assert_uint_ge(toy_asked().sleeps, 6);
}
END_TEST

START_TEST(a_cancelled_sleep_tells_what_was_left)
{
    struct timespec t = { .tv_sec = 100 }, left = { 0 };

    toy_when_suspended(1, toy_cancel, NULL);
    ck_assert_uint_gt(sleep(100), 90);
    ck_assert_int_eq(errno, ECANCELED);
    rig_fails(nanosleep(&t, &left), ECANCELED);
    ck_assert_int_gt(left.tv_sec, 90);
    rig_fails(usleep(1000), ECANCELED);
    ck_assert_int_eq(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left), ECANCELED);
    ck_assert_int_eq(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, &left), ECANCELED);
}
END_TEST

START_TEST(times_that_are_none_and_clocks_of_work_are_libcs)
{
    struct timespec bad = { .tv_nsec = -1 }, t = { .tv_nsec = 1 };

    rig_fails(nanosleep(&bad, NULL), EINVAL);
    ck_assert_int_eq(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL), EINVAL);
    ck_assert_uint_eq(toy_asked().sleeps, 0);
    ck_assert_int_ne(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), 0);
    ck_assert_uint_eq(toy_asked().offloads, 1);
}
END_TEST

Suite *sleep_suite(void)
{
    Suite *s = suite_create("hooks: sleep");
    TCase *c = tcase_create("sleep");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, sleeping_suspends_and_lasts);
    tcase_add_test(c, sleeping_to_a_point_of_a_clock_ends_then);
    tcase_add_test(c, a_cancelled_sleep_tells_what_was_left);
    tcase_add_test(c, times_that_are_none_and_clocks_of_work_are_libcs);
    suite_add_tcase(s, c);
    return s;
}
