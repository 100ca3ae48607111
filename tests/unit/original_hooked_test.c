/* SPDX-License-Identifier: Apache-2.0 */
/* The functions behind the hooks, in a program that has them. */
#include "tests/support/in_task.h"

#include <fjord/green.h>
#include <fjord/original.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void set_up(void)
{
    rt_begin();
    rt_code(fj_green_patch(FJ_PATCH_DEFAULT, NULL), OK);
}

static fj_task *green(fj_task_fn fn, void *user)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = rt_loop;
    opts.green = true;
    rt_code(fj_task_spawn(fn, user, &opts, &task, NULL), OK);
    return task;
}

static int ends[2];

RT_TASK(gives)
{
    ck_assert_int_eq(write(ends[0], "x", 1), 1);
    return FJ_OK;
}

RT_TASK(asks_both)
{
    struct pollfd p = { .fd = ends[1], .events = POLLIN };

    ck_assert(fj_green_here());
    ck_assert_int_eq(fj_original_poll(&p, 1, 1), 0); /* the thread was blocked: the other task has not run */
    ck_assert_int_eq(fj_original_nanosleep(&(struct timespec){ .tv_nsec = 1000 }, NULL), 0);
    ck_assert_int_eq(fj_original_recv(ends[1], &(char){ 0 }, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(poll(&p, 1, -1), 1); /* and here it does */
    return FJ_OK;
}

START_TEST(an_original_blocks_where_its_hook_switches)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    fj_task *asker = green(asks_both, NULL), *giver = green(gives, NULL);
    rt_code(rt_join(asker), OK);
    rt_code(rt_join(giver), OK);
    ck_assert_int_eq(close(ends[0]), 0);
    ck_assert_int_eq(close(ends[1]), 0);
}
END_TEST

START_TEST(an_original_is_not_the_hook)
{
    ssize_t (*hook)(int fd, void *buf, size_t n) = read;
    void *found = fj_original("read");

    ck_assert_ptr_nonnull(found);
    ck_assert(memcmp(&hook, &found, sizeof found) != 0);
#define X(type, name, params, args, none) ck_assert_msg(fj_original(#name) != NULL, #name);
    FJ_ORIGINALS(X)
#undef X
}
END_TEST

int main(void)
{
    Suite *s = suite_create("originals behind hooks");
    TCase *c = tcase_create("hooked");
    SRunner *runner = srunner_create(s);
    int failed = 0;

    tcase_add_checked_fixture(c, set_up, rt_end);
    tcase_add_test(c, an_original_blocks_where_its_hook_switches);
    tcase_add_test(c, an_original_is_not_the_hook);
    suite_add_tcase(s, c);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
