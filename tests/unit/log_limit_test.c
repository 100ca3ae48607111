/* SPDX-License-Identifier: Apache-2.0 */
/* How many lines of a component are let through, and what is told of the others. */
#include "base/log_limit.h"
#include <check.h>
#include <fjord/fjord.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

static fj__log_limit_told told;

static bool pass(const char *component, int64_t now)
{
    return fj__log_limit_pass(FJ_LOG_WARNING, component, now, &told);
}

START_TEST(so_many_lines_of_a_component_pass_in_a_time_and_those_left_out_are_counted)
{
    ck_assert(fj__log_limit_set(2, 10, -1));
    ck_assert(pass("a", 0));
    ck_assert(pass("a", 1));
    ck_assert(!pass("a", 2));
    ck_assert(told.first);
    ck_assert(!pass("a", 10 * SECOND - 1));
    ck_assert(!told.first);
    ck_assert_uint_eq(told.left_out, 0);
    ck_assert(pass("a", 10 * SECOND));
    ck_assert_uint_eq(told.left_out, 2);
    ck_assert(pass("a", 10 * SECOND));
    ck_assert_uint_eq(told.left_out, 0);
}
END_TEST

START_TEST(a_component_that_is_loud_does_not_silence_another)
{
    ck_assert(fj__log_limit_set(1, 1, -1));
    ck_assert(pass("a", 0));
    ck_assert(!pass("a", 0));
    ck_assert(pass("b", 0));
    ck_assert(pass(NULL, 0));
}
END_TEST

START_TEST(graver_levels_than_the_one_named_always_pass_and_are_not_counted)
{
    ck_assert(fj__log_limit_set(1, 1, FJ_LOG_ERROR));
    for (int i = 0; i < 10; i++)
        ck_assert(fj__log_limit_pass(FJ_LOG_ERROR, "a", 0, &told));
    ck_assert(pass("a", 0));
    ck_assert(!pass("a", 0));
}
END_TEST

START_TEST(more_components_than_there_is_room_for_share_the_last_one)
{
    char name[16];

    ck_assert(fj__log_limit_set(1, 1, -1));
    for (int i = 0; i < 64; i++) {
        (void)snprintf(name, sizeof name, "c%d", i);
        ck_assert(pass(name, 0));
    }
    ck_assert(!pass("one-more", 0));
    ck_assert(!pass("c0", 0));
}
END_TEST

/* ---- as the log has it --------------------------------------------------------------------------- */

static char heard[64][128];
static size_t n_heard;

static void hear(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level;
    if (n_heard < sizeof heard / sizeof heard[0])
        (void)snprintf(heard[n_heard++], sizeof heard[0], "%s: %s", component, text);
}

static fj_code configure(const char *name, const char *value, fj_error **err)
{
    fj_conf *conf = fj_conf_new();
    fj_transport *transport = NULL;

    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", "rate_limit_interval", "3600", NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", name, value, err), FJ_OK);
    fj_code code = fj_transport_open(conf, "fake://", &transport, err);
    fj_transport_free(transport);
    fj_conf_free(conf);
    fj_log_set(hear, NULL);
    n_heard = 0;
    return code;
}

START_TEST(the_configuration_limits_lines_and_what_is_left_out_is_told_of_once)
{
    ck_assert_int_eq(configure("rate_limit_burst", "2", NULL), FJ_OK);
    for (int i = 0; i < 10; i++)
        fj_log(FJ_LOG_ERROR, "a", "line %d", i);
    fj_log(FJ_LOG_ERROR, "b", "line");
    ck_assert_uint_eq(n_heard, 4);
    ck_assert_str_eq(heard[1], "a: line 1");
    ck_assert_str_eq(heard[2],
                     "log: more than 2 lines of a in 3600 s: those that follow are left out and counted");
    ck_assert_str_eq(heard[3], "b: line");
    fj_log_limit(0, 0, -1);
    fj_log(FJ_LOG_ERROR, "a", "line");
    ck_assert_str_eq(heard[4], "a: line");
}
END_TEST

START_TEST(default_log_levels_are_those_of_components_and_names_of_pythons_do_nothing)
{
    ck_assert_int_eq(
        configure("default_log_levels",
                  "amqp=ERROR, rpc=10,keystonemiddleware.auth_token.of.a.long.name=INFO,loud=CRITICAL", NULL),
        FJ_OK);
    fj_log(FJ_LOG_WARNING, "amqp", "no");
    fj_log(FJ_LOG_ERROR, "amqp", "yes");
    fj_log(FJ_LOG_DEBUG, "rpc", "yes");
    fj_log(FJ_LOG_ERROR, "loud", "no");
    fj_log(FJ_LOG_WARNING, "other", "yes");
    fj_log(FJ_LOG_INFO, "other", "no");
    ck_assert_uint_eq(n_heard, 3);
    ck_assert_str_eq(heard[0], "amqp: yes");
    ck_assert_str_eq(heard[1], "rpc: yes");
    ck_assert_str_eq(heard[2], "other: yes");
}
END_TEST

static const char *const bad[][2] = { { "default_log_levels", "amqp" },
                                      { "default_log_levels", "amqp=LOUD" },
                                      { "default_log_levels", "amqp=3x" },
                                      { "rate_limit_except_level", "HIGH" } };

START_TEST(what_is_no_level_is_a_broken_configuration)
{
    fj_error *err = NULL;

    ck_assert_int_eq(configure(bad[_i][0], bad[_i][1], &err), FJ_BAD_CONFIG);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), bad[_i][0]));
    fj_error_free(err);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log limit");
    TCase *tests = tcase_create("limit");

    tcase_add_test(tests, so_many_lines_of_a_component_pass_in_a_time_and_those_left_out_are_counted);
    tcase_add_test(tests, a_component_that_is_loud_does_not_silence_another);
    tcase_add_test(tests, graver_levels_than_the_one_named_always_pass_and_are_not_counted);
    tcase_add_test(tests, more_components_than_there_is_room_for_share_the_last_one);
    tcase_add_test(tests, the_configuration_limits_lines_and_what_is_left_out_is_told_of_once);
    tcase_add_test(tests, default_log_levels_are_those_of_components_and_names_of_pythons_do_nothing);
    tcase_add_loop_test(tests, what_is_no_level_is_a_broken_configuration, 0, sizeof bad / sizeof bad[0]);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
