/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static void watch_and_write(void *fd)
{
    rig_assert_blocking(rig_ends[0]);
    rig_write_a(fd);
}

START_TEST(reading_a_pipe_suspends_until_there_is_something)
{
    char c = 0;

    rig_pipe();
    toy_when_suspended(1, watch_and_write, &rig_ends[1]);
    errno = EXDEV;
    ck_assert_int_eq(read(rig_ends[0], &c, 1), 1);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

START_TEST(reading_a_socket_suspends_and_a_vector_is_filled_in_order)
{
    char a = 0, b = 0;
    struct iovec iov[] = { { &a, 1 }, { &b, 1 } };

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(readv(rig_ends[0], iov, 2), 1);
    ck_assert_int_eq(writev(rig_ends[1], (struct iovec[]){ { "x", 1 }, { "y", 1 } }, 2), 2);
    ck_assert_int_eq(readv(rig_ends[0], iov, 2), 2);
    ck_assert_int_eq(a, 'x');
    ck_assert_int_eq(b, 'y');
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

static void write_all_in(const char *how)
{
    unsigned char *all = rig_pattern();
    rig_drain_args drain = { .fd = rig_ends[0], .want = RIG_MANY };
    struct iovec iov[] = { { all, 100 }, { all + 100, RIG_MANY - 100 } };

    toy_when_suspended(1, rig_drain, &drain);
    if (how[0] == 'v')
        ck_assert_int_eq(writev(rig_ends[1], iov, 2), (ssize_t)RIG_MANY);
    else
        ck_assert_int_eq(write(rig_ends[1], all, RIG_MANY), (ssize_t)RIG_MANY);
    toy_join();
    ck_assert_uint_ge(toy_asked().waits, 1);
    free(all);
}

START_TEST(a_write_to_a_pipe_goes_on_until_all_is_written)
{
    rig_pipe();
    write_all_in("one");
}
END_TEST

START_TEST(a_vector_to_a_pipe_goes_on_until_all_is_written)
{
    rig_pipe();
    write_all_in("vector");
}
END_TEST

START_TEST(a_write_to_a_socket_goes_on_until_all_is_written)
{
    rig_pair(SOCK_STREAM);
    write_all_in("one");
}
END_TEST

START_TEST(a_pipe_its_user_made_non_blocking_stays_so)
{
    char *much = calloc(1, RIG_MANY);
    char c = 0;
    ssize_t r = 0;

    ck_assert_ptr_nonnull(much);
    ck_assert_int_eq(pipe2(rig_ends, O_CLOEXEC | O_NONBLOCK), 0);
    rig_fails(read(rig_ends[0], &c, 1), EAGAIN);
    r = write(rig_ends[1], much, RIG_MANY);
    ck_assert_int_gt(r, 0);
    ck_assert_int_lt(r, (ssize_t)RIG_MANY);
    rig_fails(write(rig_ends[1], much, 1), EAGAIN);
    ck_assert_uint_eq(toy_asked().waits, 0);
    free(much);
}
END_TEST

START_TEST(regular_files_pass_straight_through)
{
    char path[] = "/tmp/fjord-hooks-XXXXXX", buf[16] = "";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(write(fd, "hello", 5), 5);
    ck_assert_int_eq(writev(fd, (struct iovec[]){ { " you", 4 } }, 1), 4);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(read(fd, buf, 5), 5);
    ck_assert_int_eq(readv(fd, (struct iovec[]){ { buf + 5, 9 } }, 1), 4);
    ck_assert_str_eq(buf, "hello you");
    ck_assert_int_eq(read(fd, buf, 1), 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

static void raise_event(void *fd)
{
    uint64_t n = 5;

    ck_assert_int_eq(write(*(int *)fd, &n, sizeof n), sizeof n);
}

START_TEST(an_eventfd_is_waited_for)
{
    uint64_t n = 0;

    rig_ends[0] = eventfd(0, EFD_CLOEXEC);
    toy_when_suspended(1, raise_event, &rig_ends[0]);
    ck_assert_int_eq(read(rig_ends[0], &n, sizeof n), sizeof n);
    ck_assert_uint_eq(n, 5);
    ck_assert_int_eq(write(rig_ends[0], &n, sizeof n), sizeof n);
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

static void type_a_line(void *fd)
{
    ck_assert_int_eq(write(*(int *)fd, "x\n", 2), 2);
}

START_TEST(a_terminal_is_waited_for)
{
    char line[8] = "";
    int leader = -1;

    if (!rig_has_terminals())
        return;
    rig_ends[0] = rig_terminal(&leader);
    rig_ends[1] = leader;
    ck_assert_int_eq(write(rig_ends[0], "out\n", 4), 4);
    ck_assert_int_eq(read(leader, line, sizeof line), 5); /* the terminal makes it \r\n */
    toy_when_suspended(1, type_a_line, &leader);
    ck_assert_int_eq(read(rig_ends[0], line, sizeof line), 2);
    ck_assert_mem_eq(line, "x\n", 2);
    ck_assert_uint_eq(toy_asked().waits, 1);
}
END_TEST

START_TEST(devices_that_never_wait_answer_at_once)
{
    char c = 1;

    rig_ends[0] = open("/dev/zero", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(read(rig_ends[0], &c, 1), 1);
    ck_assert_int_eq(c, 0);
    ck_assert_int_eq(write(rig_ends[0], &c, 1), 1);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

START_TEST(nothing_and_nonsense_are_answered_as_by_libc)
{
    volatile int none = -1; /* which compilers would complain of */
    char c = 0;

    rig_pair(SOCK_DGRAM);
    ck_assert_int_eq(write(rig_ends[1], "m", 1), 1);
    ck_assert_int_eq(read(rig_ends[0], &c, 0), 0);
    ck_assert_int_eq(read(rig_ends[0], &c, 1), 1);
    rig_fails(read(-1, &c, 1), EBADF);
    rig_fails(write(-1, &c, 1), EBADF);
    rig_fails(readv(rig_ends[0], (struct iovec[]){ { &c, 1 } }, none), EINVAL);
    ck_assert_int_eq(writev(rig_ends[1], (struct iovec[]){ { &c, 0 } }, 0), 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

static void close_reader(void *unused)
{
    (void)unused;
    rig_close(&rig_ends[0]);
}

START_TEST(a_pipe_that_nobody_reads_any_more_is_broken)
{
    char *much = calloc(1, RIG_MANY);

    ck_assert_ptr_nonnull(much);
    ck_assert_ptr_ne(signal(SIGPIPE, SIG_IGN), SIG_ERR);
    rig_pipe();
    toy_when_suspended(1, close_reader, NULL);
    ck_assert_int_gt(write(rig_ends[1], much, RIG_MANY), 0);
    rig_fails(write(rig_ends[1], much, 1), EPIPE);
    free(much);
}
END_TEST

Suite *rw_suite(void)
{
    Suite *s = suite_create("hooks: read and write");
    TCase *c = tcase_create("rw");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, reading_a_pipe_suspends_until_there_is_something);
    tcase_add_test(c, reading_a_socket_suspends_and_a_vector_is_filled_in_order);
    tcase_add_test(c, a_write_to_a_pipe_goes_on_until_all_is_written);
    tcase_add_test(c, a_vector_to_a_pipe_goes_on_until_all_is_written);
    tcase_add_test(c, a_write_to_a_socket_goes_on_until_all_is_written);
    tcase_add_test(c, a_pipe_its_user_made_non_blocking_stays_so);
    tcase_add_test(c, regular_files_pass_straight_through);
    tcase_add_test(c, an_eventfd_is_waited_for);
    tcase_add_test(c, a_terminal_is_waited_for);
    tcase_add_test(c, devices_that_never_wait_answer_at_once);
    tcase_add_test(c, nothing_and_nonsense_are_answered_as_by_libc);
    tcase_add_test(c, a_pipe_that_nobody_reads_any_more_is_broken);
    suite_add_tcase(s, c);
    return s;
}
