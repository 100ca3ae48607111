/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static void set_timeout(int fd, int which, long us)
{
    struct timeval t = { .tv_usec = us };

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, which, &t, sizeof t), 0);
}

static void watch_and_write(void *fd)
{
    rig_assert_blocking(rig_ends[0]);
    rig_write_a(fd);
}

START_TEST(recv_suspends_until_there_is_something_and_flags_stay_as_they_are)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, watch_and_write, &rig_ends[1]);
    errno = EXDEV;
    ck_assert_int_eq(recv(rig_ends[0], &c, 1, 0), 1);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_int_eq(c, 'a');
    ck_assert_uint_eq(toy_asked().waits, 1);
    rig_assert_blocking(rig_ends[0]);
}
END_TEST

START_TEST(what_is_there_already_is_received_without_suspending)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    rig_write_a(&rig_ends[1]);
    ck_assert_int_eq(recv(rig_ends[0], &c, 1, 0), 1);
    ck_assert_int_eq(shutdown(rig_ends[1], SHUT_WR), 0);
    ck_assert_int_eq(recv(rig_ends[0], &c, 1, 0), 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

START_TEST(what_its_user_made_non_blocking_stays_so)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(fcntl(rig_ends[0], F_SETFL, O_RDWR | O_NONBLOCK), 0);
    rig_fails(recv(rig_ends[0], &c, 1, 0), EAGAIN);
    rig_fails(recv(rig_ends[0], &c, 1, MSG_WAITALL), EAGAIN);
    rig_fails(read(rig_ends[0], &c, 1), EAGAIN);
    ck_assert_int_ne(fcntl(rig_ends[0], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

START_TEST(a_call_that_asks_not_to_wait_does_not)
{
    char c = 0;
    struct iovec iov = { &c, 1 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    rig_pair(SOCK_STREAM);
    rig_fails(recv(rig_ends[0], &c, 1, MSG_DONTWAIT), EAGAIN);
    rig_fails(recvfrom(rig_ends[0], &c, 1, MSG_DONTWAIT, NULL, NULL), EAGAIN);
    rig_fails(recvmsg(rig_ends[0], &m, MSG_DONTWAIT), EAGAIN);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

START_TEST(waitall_goes_on_until_all_is_there)
{
    char all[3] = "", rest[2] = "";
    struct iovec iov[] = { { all, 1 }, { NULL, 0 }, { rest, 2 } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 3 };

    rig_pair(SOCK_STREAM);
    rig_write_a(&rig_ends[1]);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    toy_when_suspended(2, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(recv(rig_ends[0], all, 3, MSG_WAITALL), 3);
    ck_assert_mem_eq(all, "aaa", 3);
    toy_join();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    toy_when_suspended(2, rig_write_a, &rig_ends[1]);
    toy_when_suspended(3, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(recvmsg(rig_ends[0], &m, MSG_WAITALL), 3);
    ck_assert_mem_eq(rest, "aa", 2);
    ck_assert_uint_eq(toy_asked().waits, 5);
}
END_TEST

START_TEST(waitall_ends_early_at_the_end_and_with_one_datagram)
{
    char all[9];

    rig_pair(SOCK_STREAM);
    rig_write_a(&rig_ends[1]);
    ck_assert_int_eq(shutdown(rig_ends[1], SHUT_WR), 0);
    ck_assert_int_eq(recv(rig_ends[0], all, sizeof all, MSG_WAITALL), 1);
    rig_close(&rig_ends[0]);
    rig_close(&rig_ends[1]);
    rig_pair(SOCK_DGRAM);
    rig_write_a(&rig_ends[1]);
    ck_assert_int_eq(recv(rig_ends[0], all, sizeof all, MSG_WAITALL), 1);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

START_TEST(looking_at_all_that_is_to_come_is_done_on_a_thread)
{
    char all[2];

    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(send(rig_ends[1], "bc", 2, 0), 2);
    ck_assert_int_eq(recv(rig_ends[0], all, 2, MSG_WAITALL | MSG_PEEK), 2);
    ck_assert_int_eq(recv(rig_ends[0], all, 2, 0), 2);
    ck_assert_mem_eq(all, "bc", 2);
    ck_assert_uint_eq(toy_asked().offloads, 1);
}
END_TEST

START_TEST(the_sockets_own_timeout_ends_a_wait)
{
    char all[3];

    rig_pair(SOCK_STREAM);
    set_timeout(rig_ends[0], SO_RCVTIMEO, 20000);
    rig_fails(recv(rig_ends[0], all, 3, 0), EAGAIN);
    ck_assert_int_ne(toy_asked().by, INT64_MAX);
    rig_write_a(&rig_ends[1]);
    ck_assert_int_eq(recv(rig_ends[0], all, 3, MSG_WAITALL), 1);
    ck_assert_uint_eq(toy_asked().waits, 2);
}
END_TEST

START_TEST(a_send_goes_on_until_all_is_sent)
{
    unsigned char *all = rig_pattern();
    rig_drain_args drain = { .want = RIG_MANY };

    rig_pair(SOCK_STREAM);
    drain.fd = rig_ends[1];
    toy_when_suspended(1, rig_drain, &drain);
    ck_assert_int_eq(send(rig_ends[0], all, RIG_MANY, 0), (ssize_t)RIG_MANY);
    toy_join();
    ck_assert_uint_eq(drain.got, RIG_MANY);
    free(all);
}
END_TEST

START_TEST(a_message_of_pieces_is_sent_whole_and_in_order)
{
    unsigned char *all = rig_pattern();
    rig_drain_args drain = { .want = RIG_MANY };
    struct iovec iov[] = {
        { all, 10 }, { all + 10, RIG_MANY / 2 }, { all, 0 }, { all + 10 + RIG_MANY / 2, RIG_MANY / 2 - 10 }
    };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 4 };

    rig_pair(SOCK_STREAM);
    drain.fd = rig_ends[1];
    toy_when_suspended(1, rig_drain, &drain);
    ck_assert_int_eq(sendmsg(rig_ends[0], &m, 0), (ssize_t)RIG_MANY);
    toy_join();
    free(all);
}
END_TEST

START_TEST(a_send_that_may_not_wait_longer_tells_how_much_it_sent)
{
    unsigned char *all = rig_pattern();
    ssize_t r = 0;

    rig_pair(SOCK_STREAM);
    set_timeout(rig_ends[0], SO_SNDTIMEO, 10000);
    r = send(rig_ends[0], all, RIG_MANY, 0);
    ck_assert_int_gt(r, 0);
    ck_assert_int_lt(r, (ssize_t)RIG_MANY);
    rig_fails(send(rig_ends[0], all, RIG_MANY, 0), EAGAIN);
    ck_assert_uint_eq(toy_asked().waits, 2);
    toy_when_suspended(1, toy_cancel, NULL);
    set_timeout(rig_ends[0], SO_SNDTIMEO, 0);
    rig_fails(send(rig_ends[0], all, RIG_MANY, 0), ECANCELED);
    free(all);
}
END_TEST

static void close_reader(void *unused)
{
    (void)unused;
    rig_close(&rig_ends[1]);
}

START_TEST(a_send_whose_reader_leaves_tells_what_it_sent_and_the_next_one_why)
{
    unsigned char *all = rig_pattern();

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, close_reader, NULL);
    ck_assert_int_gt(send(rig_ends[0], all, RIG_MANY, 0), 0);
    rig_fails(send(rig_ends[0], all, RIG_MANY, MSG_NOSIGNAL), EPIPE);
    free(all);
}
END_TEST

START_TEST(a_cancelled_wait_answers_ecanceled)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, toy_cancel, NULL);
    rig_fails(recv(rig_ends[0], &c, 1, 0), ECANCELED);
    rig_write_a(&rig_ends[1]);
    ck_assert_int_eq(recv(rig_ends[0], &c, 1, 0), 1);
}
END_TEST

static void send_a_descriptor(void *unused)
{
    char room[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec iov = { "d", 1 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    (void)unused;
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &rig_ends[1], sizeof(int));
    ck_assert_int_eq(sendmsg(rig_ends[1], &m, 0), 1);
    rig_write_a(&rig_ends[1]);
}

START_TEST(descriptors_arrive_and_end_a_read_of_all)
{
    char room[CMSG_SPACE(sizeof(int))] = { 0 }, two[2];
    struct iovec iov = { two, 2 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
    int fd = -1;

    rig_pair(SOCK_STREAM);
    toy_when_suspended(1, send_a_descriptor, NULL);
    ck_assert_int_eq(recvmsg(rig_ends[0], &m, MSG_WAITALL), 1);
    ck_assert_uint_eq(m.msg_controllen, sizeof room);
    ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&m));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

static int udp(struct sockaddr_in *ret_at)
{
    socklen_t n = sizeof *ret_at;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    *ret_at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    ck_assert_int_eq(bind(fd, (struct sockaddr *)ret_at, sizeof *ret_at), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret_at, &n), 0);
    return fd;
}

typedef struct {
    int fd;
    struct sockaddr_in to;
} letter;

static void post(void *arg)
{
    letter *l = arg;

    ck_assert_int_eq(sendto(l->fd, "hi", 2, 0, (struct sockaddr *)&l->to, sizeof l->to), 2);
}

START_TEST(a_datagram_comes_with_its_senders_address_and_may_be_empty)
{
    struct sockaddr_in mine, theirs, from;
    socklen_t n = sizeof from;
    char buf[8];
    letter l;

    rig_ends[0] = udp(&mine);
    rig_ends[1] = udp(&theirs);
    l = (letter){ rig_ends[1], mine };
    toy_when_suspended(1, post, &l);
    ck_assert_int_eq(recvfrom(rig_ends[0], buf, sizeof buf, 0, (struct sockaddr *)&from, &n), 2);
    ck_assert_uint_eq(n, sizeof from);
    ck_assert_int_eq(from.sin_port, theirs.sin_port);
    ck_assert_int_eq(sendto(rig_ends[0], NULL, 0, 0, (struct sockaddr *)&theirs, sizeof theirs), 0);
    ck_assert_int_eq(recv(rig_ends[1], buf, sizeof buf, 0), 0);
    ck_assert_int_eq(sendto(rig_ends[0], "long", 4, 0, (struct sockaddr *)&theirs, sizeof theirs), 4);
    ck_assert_int_eq(recv(rig_ends[1], buf, 1, MSG_TRUNC), 4);
}
END_TEST

static void read_one(void *fd)
{
    char buf[8];

    ck_assert_int_eq(recv(*(int *)fd, buf, sizeof buf, 0), 2);
}

START_TEST(a_datagram_to_a_local_name_that_takes_no_more_waits_on_a_thread)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const struct sockaddr *to = (struct sockaddr *)&un;

    snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "fjord-hooks-d%d", (int)getpid());
    rig_ends[0] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    rig_ends[1] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(rig_ends[0], to, sizeof un), 0);
    while (sendto(rig_ends[1], "hi", 2, MSG_DONTWAIT, to, sizeof un) == 2)
        ;
    ck_assert_int_eq(errno, EAGAIN);
    toy_when_suspended(2, read_one, &rig_ends[0]);
    ck_assert_int_eq(sendto(rig_ends[1], "hi", 2, 0, to, sizeof un), 2);
    ck_assert_uint_eq(toy_asked().offloads, 1);
}
END_TEST

START_TEST(several_messages_in_one_call)
{
    char buf[3][4];
    struct iovec iov[] = { { buf[0], 4 }, { buf[1], 4 }, { buf[2], 4 } };
    struct mmsghdr v[3] = { { .msg_hdr = { .msg_iov = &iov[0], .msg_iovlen = 1 } },
                            { .msg_hdr = { .msg_iov = &iov[1], .msg_iovlen = 1 } },
                            { .msg_hdr = { .msg_iov = &iov[2], .msg_iovlen = 1 } } };
    struct timespec t = { .tv_nsec = 5000000 };

    rig_pair(SOCK_DGRAM);
    memcpy(buf, "one two tre", 12);
    ck_assert_int_eq(sendmmsg(rig_ends[1], v, 2, 0), 2);
    ck_assert_uint_eq(v[1].msg_len, 4);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(recvmmsg(rig_ends[0], v, 3, 0, NULL), 3);
    ck_assert_uint_eq(v[2].msg_len, 1);
    toy_join();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(recvmmsg(rig_ends[0], v, 3, MSG_WAITFORONE, NULL), 1);
    rig_fails(recvmmsg(rig_ends[0], v, 3, 0, &t), EAGAIN);
    ck_assert_uint_eq(toy_asked().waits, 3);
}
END_TEST

START_TEST(after_thirty_two_successes_without_a_wait_others_run)
{
    char c = 0;

    rig_pair(SOCK_STREAM);
    for (int i = 0; i < 33; i++) {
        ck_assert_int_eq(send(rig_ends[0], "x", 1, 0), 1);
        errno = EXDEV;
        ck_assert_int_eq(recv(rig_ends[1], &c, 1, 0), 1);
        ck_assert_int_eq(errno, EXDEV);
    }
    ck_assert_uint_eq(toy_asked().breaths, 2);
    ck_assert_uint_eq(toy_asked().waits, 0);
}
END_TEST

/* Two ends of TCP, for what a pair has not: resets. */
static void tcp_pair(void)
{
    struct sockaddr at;
    socklen_t n = 0;
    int listener = rig_listen(1, &at, &n);

    rig_ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(rig_ends[0], &at, n), 0);
    rig_ends[1] = accept(listener, NULL, NULL);
    ck_assert_int_ge(rig_ends[1], 0);
    ck_assert_int_eq(close(listener), 0);
}

static void reset(void *unused)
{
    struct linger l = { .l_onoff = 1 };

    (void)unused;
    ck_assert_int_eq(setsockopt(rig_ends[1], SOL_SOCKET, SO_LINGER, &l, sizeof l), 0);
    rig_close(&rig_ends[1]);
}

START_TEST(a_reset_after_some_bytes_is_told_by_the_next_call)
{
    char all[3];

    tcp_pair();
    rig_write_a(&rig_ends[1]);
    toy_when_suspended(1, reset, NULL);
    ck_assert_int_eq(recv(rig_ends[0], all, sizeof all, MSG_WAITALL), 1);
    toy_join();
    rig_fails(recv(rig_ends[0], all, sizeof all, 0), ECONNRESET);
}
END_TEST

START_TEST(nothing_follows_half_a_message)
{
    unsigned char *all = rig_pattern();
    struct iovec iov = { all, RIG_MANY };
    struct mmsghdr v[2] = { { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } },
                            { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } } };

    rig_pair(SOCK_STREAM);
    set_timeout(rig_ends[0], SO_SNDTIMEO, 5000);
    ck_assert_int_eq(sendmmsg(rig_ends[0], v, 2, 0), 1);
    ck_assert_uint_lt(v[0].msg_len, RIG_MANY);
    ck_assert_uint_eq(toy_asked().waits, 1);
    free(all);
}
END_TEST

START_TEST(bytes_before_urgent_data_are_an_answer)
{
    char all[4];

    tcp_pair();
    ck_assert_int_eq(send(rig_ends[1], "ab", 2, 0), 2);
    ck_assert_int_eq(send(rig_ends[1], "u", 1, MSG_OOB), 1);
    ck_assert_int_eq(send(rig_ends[1], "cd", 2, 0), 2);
    ck_assert_int_eq(recv(rig_ends[0], all, 4, MSG_WAITALL), 2);
    ck_assert_mem_eq(all, "ab", 2);
    ck_assert_int_eq(recv(rig_ends[0], all, 1, MSG_OOB), 1);
    ck_assert_int_eq(recv(rig_ends[0], all, 2, MSG_WAITALL), 2);
    ck_assert_mem_eq(all, "cd", 2);
}
END_TEST

START_TEST(the_low_water_mark_is_kept)
{
    int mark = 2;
    char all[4];

    rig_pair(SOCK_STREAM);
    ck_assert_int_eq(setsockopt(rig_ends[0], SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark), 0);
    rig_write_a(&rig_ends[1]);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(recv(rig_ends[0], all, sizeof all, 0), 2);
}
END_TEST

static unsigned passed; /* messages with a descriptor */

static void receive_descriptor_and_drain(void *args)
{
    char room[CMSG_SPACE(4 * sizeof(int))], part[4096];
    rig_drain_args *a = args;

    while (a->got < a->want) {
        struct iovec iov = { part, sizeof part };
        struct msghdr m = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room
        };
        ssize_t r = recvmsg(a->fd, &m, 0);

        ck_assert_int_gt(r, 0);
        a->got += (size_t)r;
        if (CMSG_FIRSTHDR(&m) != NULL) {
            int fd = -1;

            memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
            ck_assert_int_eq(close(fd), 0);
            passed++;
        }
    }
}

START_TEST(descriptors_go_with_the_first_bytes_alone)
{
    char room[CMSG_SPACE(sizeof(int))] = { 0 };
    unsigned char *all = rig_pattern();
    rig_drain_args drain = { .want = RIG_MANY };
    struct iovec iov = { all, RIG_MANY };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    rig_pair(SOCK_STREAM);
    drain.fd = rig_ends[1];
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &rig_ends[1], sizeof(int));
    toy_when_suspended(1, receive_descriptor_and_drain, &drain);
    ck_assert_int_eq(sendmsg(rig_ends[0], &m, 0), (ssize_t)RIG_MANY);
    toy_join();
    ck_assert_uint_eq(passed, 1);
    free(all);
}
END_TEST

START_TEST(errors_are_told_as_they_are)
{
    char c = 0;

    rig_pipe();
    rig_fails(recv(rig_ends[0], &c, 1, 0), ENOTSOCK);
    rig_fails(recv(-1, &c, 1, 0), EBADF);
    rig_fails(send(-1, &c, 1, 0), EBADF);
    rig_fails(send(rig_ends[1], &c, 1, 0), ENOTSOCK);
}
END_TEST

/* It waits for nothing, so that no wait could tell it. */
START_TEST(a_loop_over_what_is_there_already_is_cancelled_and_loses_no_byte)
{
    char c = 0;
    int got = 0;

    rig_pair(SOCK_STREAM);
    toy_green(false);
    for (int i = 0; i < 100; i++)
        rig_write_a(&rig_ends[1]);
    toy_green(true);
    toy_cancel(NULL);
    while (got < 100 && recv(rig_ends[0], &c, 1, 0) == 1)
        got++;
    ck_assert_int_eq(errno, ECANCELED);
    ck_assert_int_eq(got, 32);
    toy_green(false);
    while (got < 100 && recv(rig_ends[0], &c, 1, 0) == 1)
        got++;
    ck_assert_int_eq(got, 100);
}
END_TEST

Suite *sockets_suite(void)
{
    Suite *s = suite_create("hooks: sockets");
    TCase *c = tcase_create("sockets");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, recv_suspends_until_there_is_something_and_flags_stay_as_they_are);
    tcase_add_test(c, what_is_there_already_is_received_without_suspending);
    tcase_add_test(c, what_its_user_made_non_blocking_stays_so);
    tcase_add_test(c, a_call_that_asks_not_to_wait_does_not);
    tcase_add_test(c, waitall_goes_on_until_all_is_there);
    tcase_add_test(c, waitall_ends_early_at_the_end_and_with_one_datagram);
    tcase_add_test(c, looking_at_all_that_is_to_come_is_done_on_a_thread);
    tcase_add_test(c, the_sockets_own_timeout_ends_a_wait);
    tcase_add_test(c, a_send_goes_on_until_all_is_sent);
    tcase_add_test(c, a_message_of_pieces_is_sent_whole_and_in_order);
    tcase_add_test(c, a_send_that_may_not_wait_longer_tells_how_much_it_sent);
    tcase_add_test(c, a_send_whose_reader_leaves_tells_what_it_sent_and_the_next_one_why);
    tcase_add_test(c, a_cancelled_wait_answers_ecanceled);
    tcase_add_test(c, descriptors_arrive_and_end_a_read_of_all);
    tcase_add_test(c, a_datagram_comes_with_its_senders_address_and_may_be_empty);
    tcase_add_test(c, a_datagram_to_a_local_name_that_takes_no_more_waits_on_a_thread);
    tcase_add_test(c, several_messages_in_one_call);
    tcase_add_test(c, after_thirty_two_successes_without_a_wait_others_run);
    tcase_add_test(c, a_loop_over_what_is_there_already_is_cancelled_and_loses_no_byte);
    tcase_add_test(c, a_reset_after_some_bytes_is_told_by_the_next_call);
    tcase_add_test(c, nothing_follows_half_a_message);
    tcase_add_test(c, bytes_before_urgent_data_are_an_answer);
    tcase_add_test(c, the_low_water_mark_is_kept);
    tcase_add_test(c, descriptors_go_with_the_first_bytes_alone);
    tcase_add_test(c, errors_are_told_as_they_are);
    suite_add_tcase(s, c);
    return s;
}
