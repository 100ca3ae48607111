/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/error.h"
#include <check.h>

#include <stdlib.h>
#include <string.h>

START_TEST(codes_run_from_zero_without_gaps)
{
    static const int values[] = {
#define X(name, value, retriable, module, class_, text) value,
        FJ_CODES(X)
#undef X
    };

    for (size_t i = 0; i < fj__countof(values); i++) {
        fj_code code = (fj_code)i;
        ck_assert_int_eq(values[i], (int)i);
        ck_assert_str_ne(fj_code_name(code), "?");
        ck_assert_str_ne(fj_code_text(code), "");
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(fj_code_name(code), fj_code_name((fj_code)j));
    }
    ck_assert_str_eq(fj_code_name((fj_code)fj__countof(values)), "?");
    ck_assert_str_eq(fj_code_name((fj_code)(FJ_USER + 7)), "USER");
    ck_assert_str_eq(fj_code_name(FJ_TIMEOUT), "TIMEOUT");
    ck_assert_str_eq(fj_code_class(FJ_TIMEOUT), "MessagingTimeout");
}
END_TEST

START_TEST(fail_replaces_the_error_that_was_there)
{
    fj_error *err = NULL;

    ck_assert(fj_fail(NULL, FJ_TIMEOUT, "x") == FJ_TIMEOUT);
    ck_assert(fj_fail(&err, FJ_TIMEOUT, "first %d", 1) == FJ_TIMEOUT);
    ck_assert(fj_fail(&err, FJ_BAD_ARGS, "second %d", 2) == FJ_BAD_ARGS);
    ck_assert_str_eq(fj_error_text(err), "second 2");
    ck_assert(fj_error_code(err) == FJ_BAD_ARGS);
    ck_assert(!fj_error_retriable(err));
    fj_error_prefix(&err, "here %d", 3);
    ck_assert_str_eq(fj_error_text(err), "here 3: second 2");
    ck_assert_ptr_null(fj_error_free(err));
}
END_TEST

START_TEST(an_error_without_text_says_that_of_its_code)
{
    fj_error *err = NULL;

    ck_assert(fj_fail(&err, FJ_CLOSED, NULL) == FJ_CLOSED);
    ck_assert_str_eq(fj_error_text(err), fj_code_text(FJ_CLOSED));
    fj_error_free(err);
}
END_TEST

START_TEST(no_error_says_nothing)
{
    fj_error *none = NULL;

    ck_assert(fj_error_code(NULL) == FJ_OK);
    ck_assert_str_eq(fj_error_text(NULL), "");
    ck_assert_str_eq(fj_error_where(NULL), "");
    ck_assert(fj_error_sent(NULL) == FJ_SENT_NO);
    ck_assert_ptr_null(fj_error_remote_class(NULL));
    ck_assert_ptr_null(fj_error_copy(NULL));
    fj_error_prefix(&none, "x");
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(raise_carries_a_python_class_and_a_copy_is_deep)
{
    fj_error *err = NULL, *moved = NULL;

    ck_assert(fj_raise(NULL, "m", "C", json_pack("[i]", 1), "x") == FJ_RAISED);
    ck_assert(fj_raise(&err, "m", "C", json_pack("[i]", 1), "text %s", "t") == FJ_RAISED);
    fj_error_set_where(err, "host %d", 1);
    fj_error_set_sent(err, FJ_SENT_YES);
    fj_error_set_flags(err, FJ_EXPECTED);
    fj_error *copy = fj_error_copy(err);
    fj_error_free(err);
    ck_assert(fj_error_move(copy, &moved) == FJ_RAISED);
    ck_assert_str_eq(fj_error_remote_module(moved), "m");
    ck_assert_str_eq(fj_error_remote_class(moved), "C");
    ck_assert_int_eq((int)json_integer_value(json_array_get(fj_error_remote_args(moved), 0)), 1);
    ck_assert_str_eq(fj_error_text(moved), "text t");
    ck_assert_str_eq(fj_error_where(moved), "host 1");
    ck_assert(fj_error_sent(moved) == FJ_SENT_YES);
    ck_assert_uint_eq(fj_error_flags(moved), FJ_EXPECTED);
    ck_assert(fj_error_move(moved, NULL) == FJ_RAISED);
}
END_TEST

START_TEST(without_memory_there_is_still_an_error)
{
    fj_error *err = NULL;

    (void)fj__alloc_fail(1, true);
    fj_code code = fj_fail(&err, FJ_TIMEOUT, "x");
    fj_code raised = fj_raise(&err, "m", "C", json_array(), "x");
    fj_error_prefix(&err, "y");
    fj_error_set_where(err, "z");
    fj_error_set_code(err, FJ_OK);
    fj_error *copy = fj_error_copy(err);
    (void)fj__alloc_fail(0, false);
    ck_assert(code == FJ_TIMEOUT && raised == FJ_RAISED);
    ck_assert(fj__error_is_static(err));
    ck_assert_ptr_eq(copy, err);
    ck_assert(fj_error_code(err) == FJ_NOMEM);
    ck_assert_str_eq(fj_error_text(err), "out of memory");
    ck_assert_str_eq(fj_error_where(err), "");
    ck_assert_ptr_null(fj_error_free(err));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");
    TCase *tests = tcase_create("error");

    tcase_add_test(tests, codes_run_from_zero_without_gaps);
    tcase_add_test(tests, fail_replaces_the_error_that_was_there);
    tcase_add_test(tests, an_error_without_text_says_that_of_its_code);
    tcase_add_test(tests, no_error_says_nothing);
    tcase_add_test(tests, raise_carries_a_python_class_and_a_copy_is_deep);
    tcase_add_test(tests, without_memory_there_is_still_an_error);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
