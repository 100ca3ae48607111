/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr to;
static socklen_t to_n;

static int tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static void connect_to_it(void *fd)
{
    rig_assert_blocking(rig_ends[0]);
    *(int *)fd = tcp();
    ck_assert_int_eq(connect(*(int *)fd, &to, to_n), 0);
}

START_TEST(accept_suspends_until_somebody_connects_and_the_listener_stays_blocking)
{
    struct sockaddr_in from;
    socklen_t n = sizeof from;
    int fd = -1, other = -1;

    rig_ends[0] = rig_listen(4, &to, &to_n);
    toy_when_suspended(1, connect_to_it, &other);
    fd = accept(rig_ends[0], (struct sockaddr *)&from, &n);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(n, sizeof from);
    rig_assert_blocking(fd);
    rig_assert_blocking(rig_ends[0]);
    toy_join();
    ck_assert_int_eq(close(fd) | close(other), 0);
    toy_when_suspended(1, connect_to_it, &other);
    fd = accept4(rig_ends[0], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    toy_join();
    ck_assert_int_eq(close(fd) | close(other), 0);
    ck_assert_uint_eq(toy_asked().waits, 2);
}
END_TEST

START_TEST(a_non_blocking_listener_is_left_alone_and_a_timeout_is_kept)
{
    struct timeval t = { .tv_usec = 10000 };

    rig_ends[0] = rig_listen(4, &to, &to_n);
    ck_assert_int_eq(setsockopt(rig_ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
    rig_fails(accept(rig_ends[0], NULL, NULL), EAGAIN);
    ck_assert_uint_eq(toy_asked().waits, 1);
    ck_assert_int_eq(fcntl(rig_ends[0], F_SETFL, O_RDWR | O_NONBLOCK), 0);
    rig_fails(accept(rig_ends[0], NULL, NULL), EAGAIN);
    ck_assert_int_ne(fcntl(rig_ends[0], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

START_TEST(what_does_not_listen_cannot_accept)
{
    rig_ends[0] = tcp();
    rig_fails(accept(rig_ends[0], NULL, NULL), EINVAL);
    rig_fails(accept(-1, NULL, NULL), EBADF);
    rig_ends[1] = socket(AF_INET, SOCK_DGRAM, 0);
    rig_fails(accept(rig_ends[1], NULL, NULL), EOPNOTSUPP);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

START_TEST(connect_reaches_a_listener_and_tells_of_one_that_is_not_there)
{
    int fd = tcp();

    rig_ends[0] = rig_listen(4, &to, &to_n);
    rig_ends[1] = tcp();
    errno = EXDEV;
    ck_assert_int_eq(connect(rig_ends[1], &to, to_n), 0);
    ck_assert_int_eq(errno, EXDEV);
    rig_assert_blocking(rig_ends[1]);
    rig_fails(connect(rig_ends[1], &to, to_n), EISCONN);
    rig_close(&rig_ends[0]);
    rig_fails(connect(fd, &to, to_n), ECONNREFUSED);
    rig_assert_blocking(fd);
    ck_assert_int_eq(close(fd), 0);
    rig_fails(connect(-1, &to, to_n), EBADF);
}
END_TEST

START_TEST(a_send_that_connects_is_done_on_a_thread)
{
    ssize_t r = 0;

    rig_ends[0] = rig_listen(4, &to, &to_n);
    rig_ends[1] = tcp();
    r = sendto(rig_ends[1], "x", 1, MSG_FASTOPEN, &to, to_n);
    ck_assert(r == 1 || errno == EOPNOTSUPP); /* a machine may have it switched off */
    ck_assert_uint_eq(toy_asked().offloads, 1);
}
END_TEST

/* A listener that answers nobody any more: its queue is full.  What fills it is kept in @p fds. */
static void fill_queue(int fds[2])
{
    rig_ends[0] = rig_listen(0, &to, &to_n);
    toy_green(false);
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], &to, to_n);
    }
    toy_green(true);
}

static void watch_and_cancel(void *fd)
{
    rig_assert_blocking(*(int *)fd);
    toy_cancel(NULL);
}

START_TEST(a_connect_that_takes_long_suspends_and_ends_at_its_timeout_or_cancellation)
{
    struct timeval t = { .tv_usec = 20000 };
    int fds[2];

    fill_queue(fds);
    rig_ends[1] = tcp();
    ck_assert_int_eq(setsockopt(rig_ends[1], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t), 0);
    rig_fails(connect(rig_ends[1], &to, to_n), EINPROGRESS);
    ck_assert_uint_eq(toy_asked().waits, 1);
    t.tv_usec = 0;
    ck_assert_int_eq(setsockopt(rig_ends[1], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t), 0);
    toy_when_suspended(1, watch_and_cancel, &rig_ends[1]);
    rig_fails(connect(rig_ends[1], &to, to_n), ECANCELED);
    ck_assert_int_eq(close(fds[0]) | close(fds[1]), 0);
}
END_TEST

START_TEST(a_non_blocking_connect_is_left_alone)
{
    int fds[2];

    fill_queue(fds);
    rig_ends[1] = tcp();
    ck_assert_int_eq(fcntl(rig_ends[1], F_SETFL, O_RDWR | O_NONBLOCK), 0);
    rig_fails(connect(rig_ends[1], &to, to_n), EINPROGRESS);
    ck_assert_int_ne(fcntl(rig_ends[1], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
    ck_assert_int_eq(close(fds[0]) | close(fds[1]), 0);
}
END_TEST

static void take_one(void *ret)
{
    *(int *)ret = accept(rig_ends[0], NULL, NULL);
    ck_assert_int_ge(*(int *)ret, 0);
}

START_TEST(a_local_connect_to_a_full_queue_waits_on_a_thread)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fds[2], taken = -1;

    snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "fjord-hooks-%d", (int)getpid());
    rig_ends[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(rig_ends[0], (struct sockaddr *)&un, sizeof un), 0);
    ck_assert_int_eq(listen(rig_ends[0], 0), 0);
    for (int i = 0; i < 2; i++)
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&un, sizeof un), 0);
    ck_assert_uint_eq(toy_asked().offloads, 0);
    toy_when_suspended(1, take_one, &taken);
    ck_assert_int_eq(connect(fds[1], (struct sockaddr *)&un, sizeof un), 0);
    ck_assert_uint_eq(toy_asked().offloads, 1);
    rig_assert_blocking(fds[1]);
    toy_join();
    ck_assert_int_eq(close(fds[0]) | close(fds[1]) | close(taken), 0);
}
END_TEST

Suite *connect_suite(void)
{
    Suite *s = suite_create("hooks: connect and accept");
    TCase *c = tcase_create("connect");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, accept_suspends_until_somebody_connects_and_the_listener_stays_blocking);
    tcase_add_test(c, a_non_blocking_listener_is_left_alone_and_a_timeout_is_kept);
    tcase_add_test(c, what_does_not_listen_cannot_accept);
    tcase_add_test(c, connect_reaches_a_listener_and_tells_of_one_that_is_not_there);
    tcase_add_test(c, a_send_that_connects_is_done_on_a_thread);
    tcase_add_test(c, a_connect_that_takes_long_suspends_and_ends_at_its_timeout_or_cancellation);
    tcase_add_test(c, a_non_blocking_connect_is_left_alone);
    tcase_add_test(c, a_local_connect_to_a_full_queue_waits_on_a_thread);
    suite_add_tcase(s, c);
    return s;
}
