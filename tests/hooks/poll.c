/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

START_TEST(poll_suspends_until_one_is_ready)
{
    struct pollfd p[2];

    rig_pair(SOCK_STREAM);
    p[0] = (struct pollfd){ .fd = rig_ends[0], .events = POLLIN };
    p[1] = (struct pollfd){ .fd = rig_ends[1], .events = POLLIN };
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(poll(p, 1, -1), 1);
    ck_assert_int_eq(p[0].revents, POLLIN);
    ck_assert_uint_eq(toy_asked().waits, 1);
    toy_join();
    toy_when_suspended(1, rig_write_a, &rig_ends[0]);
    p[0].events = POLLPRI;
    ck_assert_int_eq(poll(p, 2, 60000), 1);
    ck_assert_int_eq(p[0].revents, 0);
    ck_assert_int_eq(p[1].revents, POLLIN);
    ck_assert_uint_eq(toy_asked().poll_waits, 1);
}
END_TEST

START_TEST(poll_ends_at_its_time_and_does_not_suspend_without_any)
{
    struct pollfd p = { .events = POLLIN };
    struct timespec t = { .tv_nsec = 3000000 }, none = { 0 };

    rig_pair(SOCK_STREAM);
    p.fd = rig_ends[0];
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    ck_assert_int_eq(ppoll(&p, 1, &none, NULL), 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
    ck_assert_int_eq(poll(&p, 1, 3), 0);
    ck_assert_int_eq(ppoll(&p, 1, &t, NULL), 0);
    ck_assert_uint_eq(toy_asked().waits, 2);
    ck_assert_int_eq(poll(NULL, 0, 3), 0);
    ck_assert_uint_eq(toy_asked().sleeps, 1);
}
END_TEST

START_TEST(a_descriptor_closed_under_poll_is_no_descriptor)
{
    struct pollfd p = { .events = POLLIN };

    rig_pair(SOCK_STREAM);
    p.fd = rig_ends[0];
    toy_when_suspended(1, rig_close, &rig_ends[0]);
    ck_assert_int_eq(poll(&p, 1, -1), 1);
    ck_assert_int_eq(p.revents, POLLNVAL);
}
END_TEST

START_TEST(a_cancelled_poll_answers_ecanceled)
{
    struct pollfd p = { .events = POLLIN };

    rig_pair(SOCK_STREAM);
    p.fd = rig_ends[0];
    toy_when_suspended(1, toy_cancel, NULL);
    rig_fails(poll(&p, 1, -1), ECANCELED);
}
END_TEST

static void interrupted(int s)
{
    (void)s;
}

START_TEST(ppoll_with_other_signals_than_the_threads_goes_to_a_thread)
{
    struct pollfd p = { .events = POLLIN };
    struct timespec t = { .tv_nsec = 3000000 };
    sigset_t mask;
    fd_set r;

    ck_assert_ptr_ne(signal(SIGUSR1, interrupted), SIG_ERR);
    rig_pair(SOCK_STREAM);
    p.fd = rig_ends[0];
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    ck_assert_int_eq(ppoll(&p, 1, &t, &mask), 0);
    ck_assert_uint_eq(toy_asked().offloads, 0);
    sigaddset(&mask, SIGUSR1);
    ck_assert_int_eq(ppoll(&p, 1, &t, &mask), 0);
    ck_assert_uint_eq(toy_asked().offloads, 1);
    FD_ZERO(&r);
    FD_SET(rig_ends[0], &r);
    ck_assert_int_eq(pselect(rig_ends[0] + 1, &r, NULL, NULL, &t, &mask), 0);
    ck_assert_uint_eq(toy_asked().offloads, 2);
}
END_TEST

START_TEST(select_suspends_and_tells_who_is_ready_and_what_time_is_left)
{
    struct timeval t = { .tv_sec = 60 };
    fd_set r, w, e;
    int most = 0;

    rig_pair(SOCK_STREAM);
    most = (rig_ends[0] > rig_ends[1] ? rig_ends[0] : rig_ends[1]) + 1;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&e);
    FD_SET(rig_ends[0], &r);
    FD_SET(rig_ends[1], &r);
    FD_SET(rig_ends[1], &e);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(select(most, &r, &w, &e, &t), 1);
    ck_assert(FD_ISSET(rig_ends[0], &r));
    ck_assert(!FD_ISSET(rig_ends[1], &r));
    ck_assert(!FD_ISSET(rig_ends[1], &e));
    ck_assert_int_ge(t.tv_sec, 1);
    ck_assert(t.tv_sec < 60);
    ck_assert_uint_eq(toy_asked().poll_waits, 1);
    FD_SET(rig_ends[0], &w);
    FD_SET(rig_ends[0], &r);
    ck_assert_int_eq(select(most, &r, &w, NULL, NULL), 2);
    ck_assert_uint_eq(toy_asked().poll_waits, 1);
}
END_TEST

START_TEST(select_without_descriptors_sleeps_and_empties_the_sets_at_its_end)
{
    struct timeval t = { .tv_usec = 3000 };
    fd_set r;

    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(select(0, NULL, NULL, NULL, &t), 0);
    ck_assert_uint_eq(toy_asked().sleeps, 1);
    ck_assert_int_eq(t.tv_sec + t.tv_usec, 0);
    t.tv_usec = 3000;
    FD_ZERO(&r);
    FD_SET(rig_ends[0], &r);
    ck_assert_int_eq(select(rig_ends[0] + 1, &r, NULL, NULL, &t), 0);
    ck_assert(!FD_ISSET(rig_ends[0], &r));
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

START_TEST(select_takes_a_hang_up_for_something_to_read_and_nothing_else)
{
    struct timespec t = { .tv_nsec = 3000000 };
    fd_set r, e;

    rig_pipe();
    rig_close(&rig_ends[1]);
    FD_ZERO(&r);
    FD_ZERO(&e);
    FD_SET(rig_ends[0], &r);
    FD_SET(rig_ends[0], &e);
    ck_assert_int_eq(pselect(rig_ends[0] + 1, NULL, NULL, &e, &t, NULL), 0);
    ck_assert(!FD_ISSET(rig_ends[0], &e));
    ck_assert_int_eq(pselect(rig_ends[0] + 1, &r, NULL, NULL, NULL, NULL), 1);
    ck_assert(FD_ISSET(rig_ends[0], &r));
}
END_TEST

START_TEST(select_of_what_is_not_open_is_ebadf)
{
    fd_set r;
    int fd = 0;

    rig_pair(SOCK_STREAM);
    fd = rig_ends[0];
    rig_close(&rig_ends[0]);
    FD_ZERO(&r);
    FD_SET(fd, &r);
    rig_fails(select(fd + 1, &r, NULL, NULL, NULL), EBADF);
    rig_fails(select(-1, NULL, NULL, NULL, NULL), EINVAL);
}
END_TEST

START_TEST(epoll_is_waited_for_through_its_own_descriptor)
{
    struct epoll_event e = { .events = EPOLLIN, .data.u32 = 7 }, got;
    struct timespec t = { .tv_nsec = 3000000 };
    sigset_t mask;
    int fd = epoll_create1(EPOLL_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(epoll_ctl(fd, EPOLL_CTL_ADD, rig_ends[0], &e), 0);
    ck_assert_int_eq(epoll_wait(fd, &got, 1, 0), 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
    ck_assert_int_eq(epoll_wait(fd, &got, 1, 3), 0);
    ck_assert_int_eq(epoll_pwait(fd, &got, 1, 3, NULL), 0);
    ck_assert_int_eq(epoll_pwait2(fd, &got, 1, &t, NULL), 0);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(epoll_wait(fd, &got, 1, -1), 1);
    ck_assert_uint_eq(got.data.u32, 7);
    ck_assert_uint_eq(toy_asked().waits, 4);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    sigaddset(&mask, SIGUSR1);
    ck_assert_int_eq(epoll_pwait(fd, &got, 1, -1, &mask), 1);
    ck_assert_int_eq(epoll_pwait2(fd, &got, 1, NULL, &mask), 1);
    ck_assert_uint_eq(toy_asked().offloads, 2);
    rig_fails(epoll_wait(rig_ends[0], &got, 1, -1), EINVAL);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

Suite *poll_suite(void)
{
    Suite *s = suite_create("hooks: poll, select and epoll");
    TCase *c = tcase_create("poll");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, poll_suspends_until_one_is_ready);
    tcase_add_test(c, poll_ends_at_its_time_and_does_not_suspend_without_any);
    tcase_add_test(c, a_descriptor_closed_under_poll_is_no_descriptor);
    tcase_add_test(c, a_cancelled_poll_answers_ecanceled);
    tcase_add_test(c, ppoll_with_other_signals_than_the_threads_goes_to_a_thread);
    tcase_add_test(c, select_suspends_and_tells_who_is_ready_and_what_time_is_left);
    tcase_add_test(c, select_without_descriptors_sleeps_and_empties_the_sets_at_its_end);
    tcase_add_test(c, select_takes_a_hang_up_for_something_to_read_and_nothing_else);
    tcase_add_test(c, select_of_what_is_not_open_is_ebadf);
    tcase_add_test(c, epoll_is_waited_for_through_its_own_descriptor);
    suite_add_tcase(s, c);
    return s;
}
