/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "runtime/guard.h"
#include "runtime/stack.h"
#include <check.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static fj__stack get(size_t size)
{
    fj__stack stack;

    ck_assert_int_eq(fj__stack_get(size, &stack, NULL), FJ_OK);
    return stack;
}

/* How many pages of a stack are in memory. */
static size_t resident(const fj__stack *stack)
{
    size_t n = 0;
    unsigned char there;

    for (size_t at = 0; at < stack->size; at += PAGE)
        n += mincore(stack->base + at, PAGE, &there) == 0 && (there & 1) != 0;
    return n;
}

START_TEST(the_last_stack_put_back_is_the_next_one_got)
{
    fj__stack a = get(FJ__STACK_MIN), b = get(FJ__STACK_MIN);
    char *where = a.base;

    fj__stack_put(&b);
    fj__stack_put(&a);
    a = get(FJ__STACK_MIN);
    ck_assert_ptr_eq(a.base, where);
    fj__stack_put(&a);
}
END_TEST

START_TEST(sizes_are_rounded_up_to_powers_of_two)
{
    static const size_t wanted[][2] = { { 0, 16 },         { 1, 16 },
                                        { 16 * 1024, 16 }, { 16 * 1024 + 1, 32 },
                                        { 64 * 1024, 64 }, { 3 << 20, 4096 } };

    for (size_t i = 0; i < fj__countof(wanted); i++) {
        fj__stack stack = get(wanted[i][0]);
        ck_assert_uint_le(stack.size, wanted[i][1] * 1024);
        ck_assert_uint_ge(stack.size, wanted[i][1] * 1024 - 960);
        memset(stack.base, 'x', stack.size);
        fj__stack_put(&stack);
    }
}
END_TEST

START_TEST(a_stack_beyond_all_measure_is_refused)
{
    fj__stack stack;
    fj_error *err = NULL;

    ck_assert_int_eq(fj__stack_get(FJ__STACK_MAX + 1, &stack, &err), FJ_BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "1073741824"));
    err = fj_error_free(err);
}
END_TEST

START_TEST(the_tops_of_neighbours_lie_in_different_lines_of_the_cache)
{
    fj__stack all[16];
    bool seen[16] = { false };

    for (size_t i = 0; i < fj__countof(all); i++) {
        all[i] = get(FJ__STACK_DEFAULT);
        size_t line = (size_t)(uintptr_t)(all[i].base + all[i].size) % PAGE / 64 % 16;
        ck_assert(!seen[line]);
        seen[line] = true;
    }
    for (size_t i = 0; i < fj__countof(all); i++)
        fj__stack_put(&all[i]);
}
END_TEST

/* Whether writing there ends a process. */
static bool deadly(char *at)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        (void)close(STDERR_FILENO); /* a sanitizer would say much */
        *(volatile char *)at = 'x';
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

START_TEST(what_lies_below_a_stack_must_not_be_touched)
{
    fj__guard_pretend(_i == 1, 0);
    fj__stack a = get(FJ__STACK_MIN), b = get(FJ__STACK_MIN);

    ck_assert(!deadly(a.base));
    ck_assert(deadly(a.base - 1));
    ck_assert(deadly(a.base - FJ__GUARD));
    ck_assert(deadly(b.base - 1));
    ck_assert(!deadly(b.base));
    ck_assert(fj__stack_in_guard(&a, a.base - 1));
    ck_assert(fj__stack_in_guard(&a, a.base - FJ__GUARD));
    ck_assert(!fj__stack_in_guard(&a, a.base));
    ck_assert(!fj__stack_in_guard(&a, a.base - FJ__GUARD - 1));
    fj__stack_put(&a);
    fj__stack_put(&b);
}
END_TEST

/* So many fit with a limit of 64 mappings: seven eighths, two each. */
#define FIT 28

static void *get_all_that_fit(void *arg)
{
    fj__stack all[FIT];
    size_t *got = arg;

    for (*got = 0; *got < FIT; (*got)++) {
        if (fj__stack_get(FJ__STACK_MIN, &all[*got], NULL) != FJ_OK)
            break;
    }
    for (size_t i = 0; i < *got; i++)
        fj__stack_put(&all[i]);
    return NULL;
}

START_TEST(more_guards_than_the_system_has_mappings_for_are_refused_by_name)
{
    fj__stack all[FIT], more;
    fj_error *err = NULL;

    fj__guard_pretend(true, 64);
    for (size_t i = 0; i < FIT; i++)
        all[i] = get(FJ__STACK_MIN);
    ck_assert_int_eq(fj__stack_get(FJ__STACK_MIN, &more, &err), FJ_SYSTEM);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "vm.max_map_count (64)"));
    err = fj_error_free(err);
    fj__stack_put(&all[0]);
    all[0] = get(FJ__STACK_MIN); /* an idle one has its guard already */
    fj__guard_pretend(true, 0);
    more = get(FJ__STACK_MIN);
    fj__stack_put(&more);
    for (size_t i = 0; i < FIT; i++)
        fj__stack_put(&all[i]);
}
END_TEST

START_TEST(a_thread_that_ends_gives_its_stacks_back)
{
    pthread_t thread;
    size_t got = 0;

    fj__guard_pretend(true, 64);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, get_all_that_fit, &got), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_uint_eq(got, FIT);
    }
}
END_TEST

static void *get_two(void *arg)
{
    fj__stack *two = arg;

    two[0] = get(FJ__STACK_MIN);
    two[1] = get(FJ__STACK_MIN);
    memset(two[0].base, 'x', two[0].size);
    return NULL;
}

START_TEST(a_stack_may_outlive_its_thread)
{
    pthread_t thread;
    fj__stack two[2];
    unsigned char there;

    ck_assert_int_eq(pthread_create(&thread, NULL, get_two, two), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(two[0].base[7], 'x');
    char *base = two[0].base;
    fj__stack_put(&two[0]);
    ck_assert_int_eq(mincore(base, PAGE, &there), 0);
    fj__stack_put(&two[1]);
    ck_assert_int_ne(mincore(base, PAGE, &there), 0); /* unmapped with the last one */
}
END_TEST

START_TEST(idle_stacks_can_be_made_to_hold_no_memory)
{
    fj__stack stack = get(FJ__STACK_DEFAULT), idle = stack;

    memset(stack.base, 'x', stack.size);
    fj__stack_put(&stack);
    ck_assert_uint_eq(resident(&idle), idle.size / PAGE + (idle.size % PAGE != 0));
    fj__stack_trim();
    ck_assert_uint_eq(resident(&idle), 0);
    stack = get(FJ__STACK_DEFAULT);
    ck_assert_ptr_eq(stack.base, idle.base);
    fj__stack_put(&stack);
}
END_TEST

START_TEST(of_many_idle_stacks_only_some_keep_their_memory)
{
    enum { MANY = 700, KEPT = 512 };
    static fj__stack all[MANY], idle[MANY];
    size_t hold = 0;

    for (size_t i = 0; i < MANY; i++) {
        all[i] = idle[i] = get(FJ__STACK_MIN);
        all[i].base[0] = 'x';
    }
    for (size_t i = 0; i < MANY; i++)
        fj__stack_put(&all[i]);
    for (size_t i = 0; i < MANY; i++)
        hold += resident(&idle[i]) != 0;
    ck_assert_uint_gt(hold, 0);
    ck_assert_uint_le(hold, KEPT);
    ck_assert_uint_gt(resident(&idle[MANY - 1]), 0); /* the hottest */
}
END_TEST

START_TEST(each_allocation_may_fail)
{
    fj__stack stack;
    unsigned long n = 1;
    fj_code code;

    do {
        (void)fj__alloc_fail(n++, false);
        code = fj__stack_get(FJ__STACK_MIN, &stack, NULL);
        (void)fj__alloc_fail(0, false);
    } while (code == FJ_NOMEM);
    ck_assert_int_eq(code, FJ_OK);
    ck_assert_uint_gt(n, 2);
    fj__stack_put(&stack);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stack");
    TCase *tests = tcase_create("stack");

    tcase_add_test(tests, the_last_stack_put_back_is_the_next_one_got);
    tcase_add_test(tests, sizes_are_rounded_up_to_powers_of_two);
    tcase_add_test(tests, a_stack_beyond_all_measure_is_refused);
    tcase_add_test(tests, the_tops_of_neighbours_lie_in_different_lines_of_the_cache);
    tcase_add_loop_test(tests, what_lies_below_a_stack_must_not_be_touched, 0, 2);
    tcase_add_test(tests, more_guards_than_the_system_has_mappings_for_are_refused_by_name);
    tcase_add_test(tests, a_thread_that_ends_gives_its_stacks_back);
    tcase_add_test(tests, a_stack_may_outlive_its_thread);
    tcase_add_test(tests, idle_stacks_can_be_made_to_hold_no_memory);
    tcase_add_test(tests, of_many_idle_stacks_only_some_keep_their_memory);
    tcase_add_test(tests, each_allocation_may_fail);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
