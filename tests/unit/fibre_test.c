/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "runtime/fibre.h"
#include "tests/support/valgrind.h"

#include <check.h>

#include <errno.h>
#include <fenv.h>
#include <stdlib.h>

#ifdef FJ__TSAN
#define MANY 2000 /* TSan has room for some 8000 stacks */
#else
#define MANY (ON_VALGRIND ? 500 : 10000)
#endif

/* What a test's fibre and the test know of each other. */
typedef struct {
    fj__fibre fibre;
    fj__fibre *inner;
    int steps;
    bool ok;
} scene;

static void three_steps(void *arg)
{
    scene *s = arg;

    for (s->steps = 1; s->steps < 3; s->steps++)
        fj__fibre_suspend();
}

START_TEST(a_fibre_runs_until_it_suspends_and_goes_on_from_there)
{
    scene s = { .steps = 0 };

    ck_assert_int_eq(fj__fibre_init(&s.fibre, FJ__STACK_MIN, three_steps, &s, NULL), FJ_OK);
    ck_assert_int_eq(s.steps, 0);
    ck_assert(fj__fibre_resume(&s.fibre));
    ck_assert_int_eq(s.steps, 1);
    ck_assert(fj__fibre_resume(&s.fibre));
    ck_assert_int_eq(s.steps, 2);
    ck_assert(!fj__fibre_resume(&s.fibre));
    ck_assert_int_eq(s.steps, 3);
    fj__fibre_fini(&s.fibre);
}
END_TEST

static void outer(void *arg)
{
    scene *s = arg;

    s->ok = fj__fibre_current() == &s->fibre;
    while (fj__fibre_resume(s->inner)) {
        s->ok = s->ok && fj__fibre_current() == &s->fibre;
        fj__fibre_suspend();
        s->ok = s->ok && fj__fibre_current() == &s->fibre;
    }
}

START_TEST(a_fibre_may_resume_another_and_gets_control_back)
{
    scene in = { .steps = 0 }, out = { .inner = &in.fibre };
    int turns = 1;

    ck_assert_int_eq(fj__fibre_init(&in.fibre, FJ__STACK_MIN, three_steps, &in, NULL), FJ_OK);
    ck_assert_int_eq(fj__fibre_init(&out.fibre, FJ__STACK_MIN, outer, &out, NULL), FJ_OK);
    ck_assert_ptr_null(fj__fibre_current());
    for (; fj__fibre_resume(&out.fibre); turns++)
        ck_assert_ptr_null(fj__fibre_current());
    ck_assert_int_eq(turns, 3);
    ck_assert(out.ok);
    ck_assert_int_eq(in.steps, 3);
    fj__fibre_fini(&in.fibre);
    fj__fibre_fini(&out.fibre);
}
END_TEST

START_TEST(a_fibre_may_be_resumed_by_one_and_later_by_another)
{
    scene in = { .steps = 0 }, out = { .inner = &in.fibre };

    ck_assert_int_eq(fj__fibre_init(&in.fibre, FJ__STACK_MIN, three_steps, &in, NULL), FJ_OK);
    ck_assert_int_eq(fj__fibre_init(&out.fibre, FJ__STACK_MIN, outer, &out, NULL), FJ_OK);
    ck_assert(fj__fibre_resume(&in.fibre));
    ck_assert(fj__fibre_resume(&out.fibre));
    ck_assert(!fj__fibre_resume(&in.fibre));
    ck_assert_int_eq(in.steps, 3);
    /* The outer one would resume an ended fibre; it is left parked, as a process that exits leaves it. */
    fj__fibre_fini(&in.fibre);
}
END_TEST

static void sets_errno(void *arg)
{
    scene *s = arg;

    s->ok = errno == 0;
    errno = ENOENT;
    fj__fibre_suspend();
    s->ok = s->ok && errno == ENOENT;
}

START_TEST(each_fibre_has_its_own_errno)
{
    scene s = { .steps = 0 };

    ck_assert_int_eq(fj__fibre_init(&s.fibre, FJ__STACK_MIN, sets_errno, &s, NULL), FJ_OK);
    errno = EBUSY;
    ck_assert(fj__fibre_resume(&s.fibre));
    ck_assert_int_eq(errno, EBUSY);
    errno = EPERM;
    ck_assert(!fj__fibre_resume(&s.fibre));
    ck_assert_int_eq(errno, EPERM);
    ck_assert(s.ok);
    fj__fibre_fini(&s.fibre);
}
END_TEST

static void rounds_up(void *arg)
{
    scene *s = arg;

    s->ok = fegetround() == FE_DOWNWARD; /* as it was when this fibre was made */
    (void)fesetround(FE_UPWARD);
    fj__fibre_suspend();
    s->ok = s->ok && fegetround() == FE_UPWARD;
}

/* x86-64 has the rounding twice: in MXCSR for double, in the control word for long double. */
static bool divides_downward(void)
{
    volatile double d = 1.0, three = 3.0;
    volatile long double ld = 1.0L, lthree = 3.0L;
    volatile double quotient = d / three;
    volatile long double lquotient = ld / lthree;

    return quotient * 3.0L < 1.0L && lquotient * 3.0L < 1.0L;
}

START_TEST(each_fibre_has_its_own_rounding)
{
    scene s = { .steps = 0 };

    (void)fesetround(FE_DOWNWARD);
    ck_assert_int_eq(fj__fibre_init(&s.fibre, FJ__STACK_MIN, rounds_up, &s, NULL), FJ_OK);
    ck_assert(fj__fibre_resume(&s.fibre));
    ck_assert_int_eq(fegetround(), FE_DOWNWARD);
    ck_assert(ON_VALGRIND || divides_downward()); /* valgrind always rounds to nearest */
    ck_assert(!fj__fibre_resume(&s.fibre));
    ck_assert_int_eq(fegetround(), FE_DOWNWARD);
    (void)fesetround(FE_TONEAREST);
    ck_assert(s.ok);
    fj__fibre_fini(&s.fibre);
}
END_TEST

START_TEST(ten_thousand_fibres_are_parked_at_once)
{
    scene *all = fj__zalloc(MANY * sizeof *all);

    ck_assert_ptr_nonnull(all);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(fj__fibre_init(&all[i].fibre, FJ__STACK_DEFAULT, three_steps, &all[i], NULL), FJ_OK);
        ck_assert(fj__fibre_resume(&all[i].fibre));
    }
    for (int i = 0; i < MANY; i++)
        ck_assert(fj__fibre_resume(&all[i].fibre));
    for (int i = 0; i < MANY; i++) {
        ck_assert(!fj__fibre_resume(&all[i].fibre));
        ck_assert_int_eq(all[i].steps, 3);
        fj__fibre_fini(&all[i].fibre);
    }
    fj__free(all);
}
END_TEST

static void uses_stack(void *arg)
{
    volatile char room[40000];
    scene *s = arg;

    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 'x';
    s->ok = room[0] == 'x';
}

START_TEST(the_high_water_of_a_stack_is_known)
{
    scene small = { .steps = 0 }, large = { .steps = 0 };

    ck_assert_int_eq(fj__fibre_init(&small.fibre, FJ__STACK_DEFAULT, three_steps, &small, NULL), FJ_OK);
    ck_assert_int_eq(fj__fibre_init(&large.fibre, FJ__STACK_DEFAULT, uses_stack, &large, NULL), FJ_OK);
    ck_assert(fj__fibre_resume(&small.fibre));
    ck_assert(!fj__fibre_resume(&large.fibre));
    ck_assert(large.ok);
    ck_assert_uint_gt(fj__fibre_high_water(&small.fibre), 0);
    ck_assert_uint_lt(fj__fibre_high_water(&small.fibre), 40000);
    ck_assert_uint_ge(fj__fibre_high_water(&large.fibre), 40000);
    while (fj__fibre_resume(&small.fibre))
        ;
    fj__fibre_fini(&small.fibre);
    fj__fibre_fini(&large.fibre);
}
END_TEST

START_TEST(a_fibre_that_never_ran_is_given_back)
{
    scene s = { .steps = 0 };

    ck_assert_int_eq(fj__fibre_init(&s.fibre, FJ__STACK_MIN, three_steps, &s, NULL), FJ_OK);
    fj__fibre_fini(&s.fibre);
    ck_assert_int_eq(s.steps, 0);
}
END_TEST

START_TEST(without_memory_a_fibre_is_refused)
{
    scene s = { .steps = 0 };

    (void)fj__alloc_fail(1, true);
    fj_code code = fj__fibre_init(&s.fibre, FJ__STACK_MIN, three_steps, &s, NULL);
    (void)fj__alloc_fail(0, false);
    ck_assert_int_eq(code, FJ_NOMEM);
    ck_assert_int_eq(fj__fibre_init(&s.fibre, FJ__STACK_MIN, three_steps, &s, NULL), FJ_OK);
    fj__fibre_fini(&s.fibre);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fibre");
    TCase *tests = tcase_create("fibre");

    tcase_add_test(tests, a_fibre_runs_until_it_suspends_and_goes_on_from_there);
    tcase_add_test(tests, a_fibre_may_resume_another_and_gets_control_back);
    tcase_add_test(tests, a_fibre_may_be_resumed_by_one_and_later_by_another);
    tcase_add_test(tests, each_fibre_has_its_own_errno);
    tcase_add_test(tests, each_fibre_has_its_own_rounding);
    tcase_add_test(tests, ten_thousand_fibres_are_parked_at_once);
    tcase_add_test(tests, the_high_water_of_a_stack_is_known);
    tcase_add_test(tests, a_fibre_that_never_ran_is_given_back);
    tcase_add_test(tests, without_memory_a_fibre_is_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
