/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(closing_a_descriptor_ends_the_wait_for_it_with_ebadf)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, rig_close, &rig_ends[0]);
    rig_fails(recv(rig_ends[0], &c, 1, 0), EBADF);
}
END_TEST

static void replace(void *unused)
{
    (void)unused;
    rig_fails(dup2(-1, rig_ends[0]), EBADF); /* closes nothing, so it wakes nobody */
    ck_assert_int_eq(dup2(rig_ends[0], rig_ends[0]), rig_ends[0]);
    ck_assert_int_eq(dup2(rig_ends[1], rig_ends[0]), rig_ends[0]);
}

START_TEST(a_descriptor_that_another_replaces_is_closed)
{
    char c = 0;

    rig_pipe();
    toy_when_suspended(1, replace, NULL);
    rig_fails(read(rig_ends[0], &c, 1), EBADF);
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

static void replace_3(void *unused)
{
    (void)unused;
    ck_assert_int_eq(dup3(rig_ends[1], rig_ends[0], O_CLOEXEC), rig_ends[0]);
}

START_TEST(so_does_dup3)
{
    char c = 0;

    rig_pipe();
    toy_when_suspended(1, replace_3, NULL);
    rig_fails(read(rig_ends[0], &c, 1), EBADF);
}
END_TEST

static void close_them(void *unused)
{
    unsigned first = (unsigned)(rig_ends[0] < rig_ends[1] ? rig_ends[0] : rig_ends[1]);

    (void)unused;
    ck_assert_int_eq(close_range(first, first + 1, 0), 0);
    rig_ends[0] = rig_ends[1] = -1;
}

START_TEST(a_range_that_is_closed_wakes_who_waits_for_one_of_it)
{
    char c = 0;
    int fd = -1;

    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(close_range((unsigned)rig_ends[0], (unsigned)rig_ends[0], CLOSE_RANGE_CLOEXEC), 0);
    fd = rig_ends[0];
    toy_when_suspended(1, close_them, NULL);
    rig_fails(recv(fd, &c, 1, 0), EBADF);
}
END_TEST

static void forks_and_writes(void *unused)
{
    int status = 0;
    pid_t pid = fork();

    (void)unused;
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* Here nobody waits, and nothing is green: not even the copy of a task. */
        char c = 0;

        if (*fj__green_hooks()->on() != 0 || read(rig_ends[0], &c, 1) != 1)
            rig_leave(1);
        rig_leave(close(rig_ends[0]) == 0 ? 0 : 2);
    }
    rig_write_a(&rig_ends[1]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(the_child_of_a_green_task_calls_libc)
{
    unsigned waits = 0;

    rig_pair(SOCK_STREAM);
    forks_and_writes(NULL);
    waits = toy_asked().waits;
    ck_assert_int_eq(*fj__green_hooks()->on(), 1);
    ck_assert_uint_le(waits, 1); /* our own, for the child */
}
END_TEST

static void forked(void *unused)
{
    int status = 0;
    pid_t pid = fork();

    (void)unused;
    if (pid == 0) {
        close(rig_ends[0]);
        rig_leave(0);
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    rig_write_a(&rig_ends[1]);
}

START_TEST(what_a_child_closes_is_still_open_here)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, forked, NULL);
    ck_assert_int_eq(recv(rig_ends[0], &c, 1, 0), 1);
}
END_TEST

static void vforked(void *unused)
{
    int status = 0;
    pid_t pid = vfork();

    (void)unused;
    if (pid == 0) {
        close(rig_ends[0]);
        rig_leave(0);
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    rig_write_a(&rig_ends[1]);
}

START_TEST(what_a_vforked_child_closes_is_still_open_here)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, vforked, NULL);
    ck_assert_int_eq(recv(rig_ends[0], &c, 1, 0), 1);
}
END_TEST

Suite *close_suite(void)
{
    Suite *s = suite_create("hooks: close");
    TCase *c = tcase_create("close");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, closing_a_descriptor_ends_the_wait_for_it_with_ebadf);
    tcase_add_test(c, a_descriptor_that_another_replaces_is_closed);
    tcase_add_test(c, so_does_dup3);
    tcase_add_test(c, a_range_that_is_closed_wakes_who_waits_for_one_of_it);
    tcase_add_test(c, the_child_of_a_green_task_calls_libc);
    tcase_add_test(c, what_a_child_closes_is_still_open_here);
    tcase_add_test(c, what_a_vforked_child_closes_is_still_open_here);
    suite_add_tcase(s, c);
    return s;
}
