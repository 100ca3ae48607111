/* SPDX-License-Identifier: Apache-2.0 */
/* Fibres that switch in the middle of C++ exceptions: exceptions_cxx.cc throws them. */
#include "runtime/fibre.h"
#include <check.h>

#include <stdlib.h>

int rethrows(int mine, void (*pause)(void));
int unwinds(int mine, void (*pause)(void));

typedef struct {
    fj__fibre fibre;
    int (*work)(int mine, void (*pause)(void));
    int mine, got;
} worker;

static void work(void *arg)
{
    worker *w = arg;

    w->got = w->work(w->mine, fj__fibre_suspend);
}

/* Two do the same in turns, so that each is in the middle when the other goes on. */
static void in_turns(worker *a, worker *b, int (*what)(int mine, void (*pause)(void)))
{
    bool more = true;

    *a = (worker){ .work = what, .mine = 1, .got = -1 };
    *b = (worker){ .work = what, .mine = 2, .got = -1 };
    ck_assert_int_eq(fj__fibre_init(&a->fibre, FJ__STACK_DEFAULT, work, a, NULL), FJ_OK);
    ck_assert_int_eq(fj__fibre_init(&b->fibre, FJ__STACK_DEFAULT, work, b, NULL), FJ_OK);
    while (more) {
        more = fj__fibre_resume(&a->fibre);
        ck_assert(fj__fibre_resume(&b->fibre) == more);
    }
    fj__fibre_fini(&a->fibre);
    fj__fibre_fini(&b->fibre);
}

START_TEST(each_fibre_throws_its_own_exception_once_more)
{
    worker a, b;

    in_turns(&a, &b, rethrows);
    ck_assert_int_eq(a.got, 1);
    ck_assert_int_eq(b.got, 2);
}
END_TEST

START_TEST(each_fibre_counts_its_own_exceptions_under_way)
{
    worker a, b;

    in_turns(&a, &b, unwinds);
    ck_assert_int_eq(a.got, 1);
    ck_assert_int_eq(b.got, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exceptions");
    TCase *tests = tcase_create("exceptions");

    tcase_add_test(tests, each_fibre_throws_its_own_exception_once_more);
    tcase_add_test(tests, each_fibre_counts_its_own_exceptions_under_way);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
