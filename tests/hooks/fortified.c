/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with -D_FORTIFY_SOURCE=2, with lengths that the compiler cannot know: these calls have other names. */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __clang__ /* older ones make nothing of libc's fortified headers */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from,
                       socklen_t *len);
int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask, size_t room);
int __open_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
#define read(fd, buf, n) __read_chk(fd, buf, n, sizeof(buf))
#define recv(fd, buf, n, flags) __recv_chk(fd, buf, n, sizeof(buf), flags)
#define recvfrom(fd, buf, n, flags, from, len) __recvfrom_chk(fd, buf, n, sizeof(buf), flags, from, len)
#define poll(fds, n, ms) __poll_chk(fds, n, ms, sizeof(fds))
#define ppoll(fds, n, t, mask) __ppoll_chk(fds, n, t, mask, sizeof(fds))
#define open(path, flags) __open_2(path, flags)
#define openat(at, path, flags) __openat_2(at, path, flags)
#endif

static volatile size_t one = 1, too_many = 5;

START_TEST(fortified_calls_suspend_like_the_others)
{
    char buf[4];
    struct pollfd p[2];
    struct timespec t = { .tv_nsec = 1000000 };

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(read(rig_ends[0], buf, one), 1);
    toy_join();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(recv(rig_ends[0], buf, one, 0), 1);
    toy_join();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(recvfrom(rig_ends[0], buf, one, 0, NULL, NULL), 1);
    ck_assert_uint_eq(toy_asked().waits, 3);
    rig_fails(recv(rig_ends[0], buf, one, MSG_DONTWAIT), EAGAIN);
    toy_join();
    p[0] = (struct pollfd){ .fd = rig_ends[0], .events = POLLIN };
    ck_assert_int_eq(ppoll(p, one, &t, NULL), 0);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(poll(p, one, -1), 1);
    ck_assert_uint_eq(toy_asked().waits, 5);
}
END_TEST

START_TEST(a_fortified_overrun_still_ends_the_program)
{
    char buf[4];

    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(read(rig_ends[0], buf, too_many), 0);
}
END_TEST

static volatile int flags = O_RDONLY | O_CLOEXEC;

START_TEST(a_fortified_open_opens)
{
    rig_ends[0] = open("/dev/null", flags);
    ck_assert_int_ge(rig_ends[0], 0);
    rig_ends[1] = openat(AT_FDCWD, "/dev/null", flags);
    ck_assert_int_ge(rig_ends[1], 0);
}
END_TEST

Suite *fortified_suite(void)
{
    Suite *s = suite_create("hooks: fortified");
    TCase *c = tcase_create("fortified");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, fortified_calls_suspend_like_the_others);
    tcase_add_test(c, a_fortified_open_opens);
    tcase_add_test_raise_signal(c, a_fortified_overrun_still_ends_the_program, SIGABRT);
    suite_add_tcase(s, c);
    return s;
}
