/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/log.h"
#include <check.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char last[4096];
static int lines;

static void keep(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    (void)snprintf(last, sizeof last, "%s %s %s", fj_log_level_name(level), component, text);
    lines++;
}

START_TEST(warnings_are_heard_and_information_is_not)
{
    fj_log_set(keep, NULL);
    fj__log(FJ_LOG_INFO, "amqp", "quiet");
    ck_assert_int_eq(lines, 0);
    fj__log(FJ_LOG_WARNING, "amqp", "loud %d", 1);
    ck_assert_str_eq(last, "warning amqp loud 1");
    fj_log_set_level(FJ_LOG_ERROR);
    ck_assert(!fj__log_on(FJ_LOG_WARNING, "amqp"));
}
END_TEST

START_TEST(switches_set_the_level_of_each_component)
{
    ck_assert(fj_log_switch("amqp=debug, rpc,-fake", NULL) == FJ_OK);
    ck_assert(fj__log_on(FJ_LOG_DEBUG, "amqp") && !fj__log_on(FJ_LOG_TRACE, "amqp"));
    ck_assert(fj__log_on(FJ_LOG_TRACE, "rpc"));
    ck_assert(!fj__log_on(FJ_LOG_ERROR, "fake"));
    ck_assert(fj__log_on(FJ_LOG_WARNING, "conf") && !fj__log_on(FJ_LOG_INFO, "conf"));
    fj_log_set_level(FJ_LOG_ERROR);
    ck_assert(fj__log_on(FJ_LOG_DEBUG, "amqp"));
    ck_assert(fj_log_switch("all=info", NULL) == FJ_OK);
    ck_assert(fj__log_on(FJ_LOG_INFO, "fake") && !fj__log_on(FJ_LOG_DEBUG, "amqp"));
}
END_TEST

START_TEST(a_bad_switch_is_named_and_changes_nothing)
{
    static const char *const bad[] = { "rpc,amqp=loud", "rpc,-amqp=debug", "rpc,a b!c", "rpc,=debug", "rpc,-" };

    for (size_t i = 0; i < fj__countof(bad); i++) {
        fj_error *err = NULL;
        ck_assert_msg(fj_log_switch(bad[i], &err) == FJ_BAD_VALUE, "%s", bad[i]);
        ck_assert(!fj__log_on(FJ_LOG_TRACE, "rpc"));
        fj_error_free(err);
    }
    fj_error *err = NULL;
    ck_assert(fj_log_switch("rpc,amqp=loud", &err) == FJ_BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "amqp=loud"));
    fj_error_free(err);
}
END_TEST

START_TEST(the_environment_is_read_at_first_use)
{
    ck_assert_int_eq(setenv("FJ_TRACE", "amqp", 1), 0);
    ck_assert(fj__log_on(FJ_LOG_TRACE, "amqp"));
    ck_assert_int_eq(setenv("FJ_TRACE", "rpc", 1), 0);
    ck_assert(!fj__log_on(FJ_LOG_TRACE, "rpc"));
}
END_TEST

START_TEST(a_line_has_no_newline_and_a_long_one_is_whole)
{
    char longer[3000];

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    fj_log_set(keep, NULL);
    fj__log(FJ_LOG_ERROR, "a", "one\ntwo\x1b[0m");
    ck_assert_str_eq(last, "error a one\\ntwo\\x1b[0m");
    fj__log(FJ_LOG_ERROR, "a", "%s", longer);
    ck_assert_uint_eq(strlen(last), strlen("error a ") + sizeof longer - 1);
    (void)fj__alloc_fail(1, true);
    fj__log(FJ_LOG_ERROR, "a", "%s", longer);
    (void)fj__alloc_fail(0, false);
    ck_assert_int_eq(lines, 3);
    ck_assert_uint_lt(strlen(last), 600);
}
END_TEST

START_TEST(nothing_that_moves_a_cursor_is_let_through_and_other_letters_are)
{
    fj_log_set(keep, NULL);
    fj__log(FJ_LOG_ERROR, "a", "%s", "tab\there\r\n\v\f\b\a\x7f.");
    ck_assert_str_eq(last, "error a tab\\there\\r\\n\\v\\f\\b\\a\\x7f.");
    fj__log(FJ_LOG_ERROR, "a", "%s",
            "csi \xc2\x9b"
            "31m nel \xc2\x85 caf\xc3\xa9 \xc2\xa0\xe2\x82\xac cut \xc2");
    ck_assert_str_eq(last, "error a csi \\x9b31m nel \\x85 caf\xc3\xa9 \xc2\xa0\xe2\x82\xac cut \\xc2");
}
END_TEST

START_TEST(a_line_keeps_errno_and_what_is_not_logged_is_not_formatted)
{
    fj_log_set(keep, NULL);
    errno = EXDEV;
    fj__log(FJ_LOG_ERROR, "a", "%d %s", 7, "x");
    ck_assert_int_eq(errno, EXDEV);
    (void)fj__alloc_fail(1, true);
    fj__log(FJ_LOG_DEBUG, "a", "%600d", 1); /* would need memory */
    ck_assert_uint_eq(fj__alloc_fail(0, false), 0);
    ck_assert_int_eq(lines, 1);
}
END_TEST

START_TEST(each_level_lets_through_itself_and_what_is_graver)
{
    for (int set = FJ_LOG_ERROR; set <= FJ_LOG_TRACE; set++) {
        fj_log_set_level((fj_log_level)set);
        for (int at = FJ_LOG_ERROR; at <= FJ_LOG_TRACE; at++)
            ck_assert_msg(fj__log_on((fj_log_level)at, "conf") == (at <= set), "%d at %d", at, set);
    }
}
END_TEST

START_TEST(of_the_switches_the_last_word_counts)
{
    ck_assert(fj_log_switch("amqp=debug,amqp=error", NULL) == FJ_OK);
    ck_assert(!fj__log_on(FJ_LOG_WARNING, "amqp") && fj__log_on(FJ_LOG_WARNING, "rpc"));
    ck_assert(fj_log_switch("-all,rpc=info", NULL) == FJ_OK);
    ck_assert(!fj__log_on(FJ_LOG_ERROR, "amqp") && fj__log_on(FJ_LOG_INFO, "rpc"));
    ck_assert(fj_log_switch("  ", NULL) == FJ_OK && fj_log_switch("", NULL) == FJ_OK);
    ck_assert(fj__log_on(FJ_LOG_INFO, "rpc"));
}
END_TEST

START_TEST(more_switches_than_there_is_room_for_are_refused)
{
    char name[8];

    for (int i = 0; i < 64; i++) {
        (void)snprintf(name, sizeof name, "c%d", i);
        ck_assert(fj_log_switch(name, NULL) == FJ_OK);
    }
    ck_assert(fj_log_switch("one_more", NULL) == FJ_BAD_VALUE);
    ck_assert(fj_log_switch("c63=error", NULL) == FJ_OK);
    ck_assert(fj_log_switch("a_name_of_more_than_31_characters", NULL) == FJ_BAD_VALUE);
}
END_TEST

START_TEST(standard_error_gets_time_level_component_and_text)
{
    int ends[2], saved = dup(STDERR_FILENO);
    char line[256] = "";

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    fj__log(FJ_LOG_ERROR, "amqp", "gone");
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ssize_t n = read(ends[0], line, sizeof line - 1);
    ck_assert_int_gt((int)n, 25);
    ck_assert(line[4] == '-' && line[10] == 'T' && line[19] == '.' && line[23] == 'Z');
    ck_assert_str_eq(line + 24, " error   amqp: gone\n");
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(saved);
}
END_TEST

START_TEST(level_names_parse_in_any_case)
{
    fj_log_level level = FJ_LOG_ERROR;

    ck_assert(fj_log_level_parse("DeBug", &level) && level == FJ_LOG_DEBUG);
    ck_assert(!fj_log_level_parse("", &level) && !fj_log_level_parse(NULL, &level));
    ck_assert_str_eq(fj_log_level_name((fj_log_level)99), "?");
}
END_TEST

START_TEST(a_secret_is_empty_after_it_is_cleared)
{
    fj__secret s = { fj__strdup("hunter2") };

    ck_assert_str_eq(fj__secret_text(&s), "hunter2");
    fj__secret_clear(&s);
    ck_assert_str_eq(fj__secret_text(&s), "");
    fj__secret_clear(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tests = tcase_create("log");

    tcase_add_test(tests, warnings_are_heard_and_information_is_not);
    tcase_add_test(tests, switches_set_the_level_of_each_component);
    tcase_add_test(tests, a_bad_switch_is_named_and_changes_nothing);
    tcase_add_test(tests, the_environment_is_read_at_first_use);
    tcase_add_test(tests, a_line_has_no_newline_and_a_long_one_is_whole);
    tcase_add_test(tests, nothing_that_moves_a_cursor_is_let_through_and_other_letters_are);
    tcase_add_test(tests, a_line_keeps_errno_and_what_is_not_logged_is_not_formatted);
    tcase_add_test(tests, each_level_lets_through_itself_and_what_is_graver);
    tcase_add_test(tests, of_the_switches_the_last_word_counts);
    tcase_add_test(tests, more_switches_than_there_is_room_for_are_refused);
    tcase_add_test(tests, standard_error_gets_time_level_component_and_text);
    tcase_add_test(tests, level_names_parse_in_any_case);
    tcase_add_test(tests, a_secret_is_empty_after_it_is_cleared);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
