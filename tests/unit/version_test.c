/* SPDX-License-Identifier: Apache-2.0 */
/* RPC versions: the table of wire.md section 10. */
#include "base/alloc.h"
#include "base/version.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *implemented, *requested;
    bool fits;
} table[] = { { "1.3", "1.3", true },      { "1.3", "1.2.9", true },   { "1.3", "1.3.0", true },
              { "1.3", "1.3.1", false },   { "1.0", "0.9", false },    { "1.0", "1.1", false },
              { "1.0", "1.0.5", false },   { "1.0", "1.0.0.1", true }, { "1.10", "1.9", true },
              { "1.9", "1.10", false },    { "2.0", "1.0", false },    { "1.2.4", "1.2.4", true },
              { "1.2.4", "1.2.5", false }, { "1.2.4", "1.1.9", true }, { NULL, "7.7", true },
              { "1.0", NULL, false },      { NULL, NULL, true },       { "1.0", " 1 .+0", true },
              { "1.12", "1.1_2", true },   { "1.0", "2", false },      { "1.0", "1.-1", true },
              { "1.5", "1.5.", false },    { "1.5", "1.4.junk", true } };

START_TEST(versions_compare_as_oslo_compares_them)
{
    ck_assert_msg(fj__version_compatible(table[_i].implemented, table[_i].requested, NULL) == table[_i].fits,
                  "%s for %s", table[_i].implemented, table[_i].requested);
}
END_TEST

static void refused(const char *requested, const char *class_name, const char *text)
{
    fj_error *err = NULL;

    ck_assert(!fj__version_compatible("1.0", requested, &err));
    ck_assert_str_eq(fj_error_remote_module(err), "builtins");
    ck_assert_str_eq(fj_error_remote_class(err), class_name);
    ck_assert_str_eq(fj_error_text(err), text);
    fj_error_free(err);
}

START_TEST(a_part_that_is_no_number_is_a_value_error)
{
    refused("one.0", "ValueError", "invalid literal for int() with base 10: 'one'");
    refused("1.x.3", "ValueError", "invalid literal for int() with base 10: 'x'");
    refused("1.0.x", "ValueError", "invalid literal for int() with base 10: 'x'");
    refused("", "ValueError", "invalid literal for int() with base 10: ''");
    refused("1.1_", "ValueError", "invalid literal for int() with base 10: '1_'");
    refused("1.-", "ValueError", "invalid literal for int() with base 10: '-'");
}
END_TEST

START_TEST(a_version_of_one_part_is_an_index_error)
{
    refused("1", "IndexError", "list index out of range");
}
END_TEST

START_TEST(an_answer_without_a_failure_leaves_the_error_alone)
{
    fj_error *err = NULL;

    ck_assert(!fj__version_compatible("1.0", "2.0", &err));
    ck_assert_ptr_null(err);
    ck_assert(fj__version_compatible("1.99999999999999999999", "1.99999999999999999998", &err));
    ck_assert_ptr_null(err);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("version");
    TCase *tc = tcase_create("compatible");
    tcase_add_loop_test(tc, versions_compare_as_oslo_compares_them, 0, (int)fj__countof(table));
    tcase_add_test(tc, a_part_that_is_no_number_is_a_value_error);
    tcase_add_test(tc, a_version_of_one_part_is_an_index_error);
    tcase_add_test(tc, an_answer_without_a_failure_leaves_the_error_alone);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
