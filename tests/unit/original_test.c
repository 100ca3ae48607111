/* SPDX-License-Identifier: Apache-2.0 */
/* The functions behind the hooks, in a program that has no hooks. */
#include "tests/support/in_task.h"

#include <fjord/original.h>

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(without_hooks_they_are_what_the_plain_names_reach)
{
    ssize_t (*plain)(int fd, void *buf, size_t n) = read;
    void *found = fj_original("read");

    ck_assert(memcmp(&plain, &found, sizeof found) == 0);
    ck_assert_ptr_nonnull(fj_original("rmdir")); /* any function at all */
    ck_assert_ptr_null(fj_original("no_such_function"));
}
END_TEST

START_TEST(all_that_have_a_name_are_there)
{
#define X(type, name, params, args, none) ck_assert_msg(fj_original(#name) != NULL, #name);
    FJ_ORIGINALS(X)
#undef X
}
END_TEST

START_TEST(bytes_go_through_them)
{
    int ends[2];
    char got[4] = "";
    struct pollfd p = { .events = POLLIN };

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    p.fd = ends[1];
    ck_assert_int_eq(fj_original_poll(&p, 1, 0), 0);
    ck_assert_int_eq(fj_original_write(ends[0], "ab", 2), 2);
    ck_assert_int_eq(fj_original_send(ends[0], "c", 1, 0), 1);
    ck_assert_int_eq(fj_original_poll(&p, 1, -1), 1);
    ck_assert_int_eq(fj_original_recv(ends[1], got, 1, 0), 1);
    ck_assert_int_eq(fj_original_read(ends[1], got + 1, 2), 2);
    ck_assert_str_eq(got, "abc");
    ck_assert_int_eq(fj_original_close(ends[0]), 0);
    ck_assert_int_eq(fj_original_close(ends[1]), 0);
    ck_assert_int_eq(fj_original_close(-1), -1);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

START_TEST(names_children_and_sleep_too)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST }, *list = NULL;

    ck_assert_int_eq(fj_original_getaddrinfo("127.0.0.1", "80", &hints, &list), 0);
    freeaddrinfo(list);
    ck_assert_int_eq(WEXITSTATUS(fj_original_system("exit 3")), 3);
    ck_assert_int_eq(fj_original_nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL), 0);
    ck_assert_int_eq(fj_original_clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = -1 }, NULL),
                     EINVAL);
}
END_TEST

START_TEST(conditions_are_those_of_this_libc)
{
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t c = PTHREAD_COND_INITIALIZER;

    ck_assert_int_eq(fj_original_pthread_mutex_lock(&m), 0);
    ck_assert_int_eq(fj_original_pthread_mutex_trylock(&m), EBUSY);
    ck_assert_int_eq(fj_original_pthread_cond_timedwait(&c, &m, &(struct timespec){ 0 }), ETIMEDOUT);
    ck_assert_int_eq(fj_original_pthread_cond_signal(&c), 0);
    ck_assert_int_eq(fj_original_pthread_mutex_unlock(&m), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("originals");
    TCase *c = tcase_create("bare");
    SRunner *runner = srunner_create(s);
    int failed = 0;

    tcase_add_test(c, without_hooks_they_are_what_the_plain_names_reach);
    tcase_add_test(c, all_that_have_a_name_are_there);
    tcase_add_test(c, bytes_go_through_them);
    tcase_add_test(c, names_children_and_sleep_too);
    tcase_add_test(c, conditions_are_those_of_this_libc);
    suite_add_tcase(s, c);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
