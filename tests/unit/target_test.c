/* SPDX-License-Identifier: Apache-2.0 */
/* A target's text, which is that of Python's Target. */
#include "base/alloc.h"
#include <fjord/target.h>

#include <check.h>
#include <stdlib.h>

static const struct {
    fj_target target;
    const char *text;
} cases[] = {
    { FJ_TARGET(.topic = NULL), "<Target >" },
    { FJ_TARGET(.topic = "t"), "<Target topic=t>" },
    { FJ_TARGET(.topic = "", .server = ""), "<Target >" },
    { FJ_TARGET(.topic = "t", .fanout = true), "<Target topic=t, fanout=True>" },
    { FJ_TARGET(.exchange = "e", .topic = "t", .ns = "n", .version = "1.2", .server = "s", .fanout = true),
      "<Target exchange=e, topic=t, namespace=n, version=1.2, server=s, fanout=True>" },
};

START_TEST(a_target_is_written_as_python_writes_it)
{
    char *text = NULL;

    ck_assert_int_eq(fj_target_format(&cases[_i].target, &text), FJ_OK);
    ck_assert_str_eq(text, cases[_i].text);
    free(text);
}
END_TEST

START_TEST(memory_that_runs_out_is_answered_and_leaks_nothing)
{
    for (unsigned long nth = 1;; nth++) {
        char *text = NULL;
        (void)fj__alloc_fail(nth, false);
        fj_code code = fj_target_format(&cases[4].target, &text);
        unsigned long counted = fj__alloc_fail(0, false);
        ck_assert_int_eq(code, counted < nth ? FJ_OK : FJ_NOMEM);
        ck_assert((text != NULL) == (code == FJ_OK));
        free(text);
        if (counted < nth)
            break;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("target");
    TCase *tests = tcase_create("target");

    tcase_add_loop_test(tests, a_target_is_written_as_python_writes_it, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_test(tests, memory_that_runs_out_is_answered_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
