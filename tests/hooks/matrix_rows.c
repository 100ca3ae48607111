/* SPDX-License-Identifier: Apache-2.0 */
/* The rows: data, waits and what closes here; names, processes and files in matrix_files.c. */
#include "tests/hooks/matrix.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <threads.h>
#include <unistd.h>

static char buf[65536];
static struct iovec one = { buf, 1 }, two[2] = { { buf, 1 }, { buf + 1, 1 } };
static struct mmsghdr many = { .msg_hdr = { .msg_iov = &one, .msg_iovlen = 1 } };
static struct sockaddr at;
static socklen_t at_n;

/* ---- what there is to wait for ---- */

static void pair(void)
{
    rig_pair(SOCK_STREAM);
}

static void datagrams(void)
{
    rig_pair(SOCK_DGRAM);
}

static void packets(void)
{
    rig_pair(SOCK_SEQPACKET);
}

static void fill(void)
{
    int flags = fcntl(rig_ends[0], F_GETFL);

    ck_assert_int_eq(fcntl(rig_ends[0], F_SETFL, flags | O_NONBLOCK), 0);
    for (size_t n = sizeof buf; n > 0; n /= 2)
        while (write(rig_ends[0], buf, n) > 0)
            ;
    ck_assert_int_eq(fcntl(rig_ends[0], F_SETFL, flags), 0);
}

static void full_pair(void)
{
    pair();
    fill();
}

static void full_datagrams(void)
{
    datagrams();
    fill();
}

static void read_pipe(void)
{
    rig_pipe();
}

static void full_pipe(void)
{
    int fd = 0;

    rig_pipe();
    fd = rig_ends[0];
    rig_ends[0] = rig_ends[1];
    rig_ends[1] = fd;
    fill();
}

static void fifo(void)
{
    char path[] = "/tmp/fjord-hooks-fXXXXXX";

    close(mkstemp(path));
    ck_assert_int_eq(unlink(path) | mkfifo(path, 0600), 0);
    rig_ends[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    rig_ends[1] = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(fcntl(rig_ends[0], F_SETFL, 0) | unlink(path), 0);
}

static void full_fifo(void)
{
    int fd = 0;

    fifo();
    fd = rig_ends[0];
    rig_ends[0] = rig_ends[1];
    rig_ends[1] = fd;
    fill();
}

static void event(void)
{
    rig_ends[0] = eventfd(0, EFD_CLOEXEC);
}

static void full_event(void)
{
    rig_ends[0] = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(eventfd_write(rig_ends[0], UINT64_MAX - 1), 0);
}

static void timer(void)
{
    rig_ends[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
}

static void signals(void)
{
    sigset_t usr;

    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &usr, NULL), 0);
    rig_ends[0] = signalfd(-1, &usr, SFD_CLOEXEC);
}

static void terminal(void)
{
    rig_ends[0] = rig_terminal(&rig_ends[1]);
}

/* The kernel hands what was written on to the leader when it gets to it, and has room anew: it is full when it stays so. */
static void full_terminal(void)
{
    struct pollfd p = { .events = POLLOUT };

    terminal();
    p.fd = rig_ends[0];
    do
        fill();
    while (poll(&p, 1, 50) > 0);
}

static void listener(void)
{
    rig_ends[0] = rig_listen(4, &at, &at_n);
}

/* One connection more than the queue has room for is not answered before somebody takes the first. */
static void full_listener(void)
{
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    rig_ends[1] = rig_listen(0, &at, &at_n);
    ck_assert_int_eq(connect(first, &at, at_n), 0);
    rig_ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void set_of_one(void)
{
    struct epoll_event e = { .events = EPOLLIN };
    int set = epoll_create1(EPOLL_CLOEXEC);

    pair();
    ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, rig_ends[0], &e), 0);
    rig_ends[0] = set; /* the socket is left to the end of the process */
}

static int file = -1;

static void full_pair_and_file(void)
{
    char path[] = "/tmp/fjord-hooks-sXXXXXX";

    full_pair();
    file = mkstemp(path);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(write(file, "ab", 2), 2);
}

/* ---- what ends the wait ---- */

static void give(void *unused)
{
    (void)unused;
    ck_assert_int_eq(write(rig_ends[1], "a\n", 2), 2);
}

static void drain(void *unused)
{
    static char sink[sizeof buf]; /* the writer reads buf meanwhile */

    (void)unused;
    for (ssize_t r = 1; r > 0;) {
        struct pollfd p = { .fd = rig_ends[1], .events = POLLIN };

        r = poll(&p, 1, 0) > 0 ? read(rig_ends[1], sink, sizeof sink) : 0;
    }
}

static void raise_event(void *unused)
{
    (void)unused;
    ck_assert_int_eq(eventfd_write(rig_ends[0], 1), 0);
}

static void empty_event(void *unused)
{
    eventfd_t n = 0;

    (void)unused;
    ck_assert_int_eq(eventfd_read(rig_ends[0], &n), 0);
}

static void set_timer(void *unused)
{
    struct itimerspec t = { .it_value = { .tv_nsec = 1 } };

    (void)unused;
    ck_assert_int_eq(timerfd_settime(rig_ends[0], 0, &t, NULL), 0);
}

static void send_signal(void *unused)
{
    (void)unused;
    ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
}

static void come(void *unused)
{
    (void)unused;
    ck_assert_int_eq(connect(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &at, at_n), 0);
}

static void take(void *unused)
{
    (void)unused;
    ck_assert_int_ge(accept(rig_ends[1], NULL, NULL), 0);
}

/* ---- the calls ---- */

#define CALL(name, expression)    \
    static long call_##name(void) \
    {                             \
        return (expression);      \
    }

CALL(read, read(rig_ends[0], buf, 128))
CALL(write, write(rig_ends[0], buf, 1))
CALL(write_event, write(rig_ends[0], &(uint64_t){ 1 }, 8))
CALL(readv, readv(rig_ends[0], two, 2))
CALL(writev, writev(rig_ends[0], two, 2))
CALL(recv, recv(rig_ends[0], buf, 1, 0))
CALL(recv_all, recv(rig_ends[0], buf, 1, MSG_WAITALL))
CALL(recv_look, recv(rig_ends[0], buf, 1, MSG_PEEK))
CALL(recvfrom, recvfrom(rig_ends[0], buf, 1, 0, NULL, NULL))
CALL(recvmsg, recvmsg(rig_ends[0], &many.msg_hdr, 0))
CALL(recvmmsg, recvmmsg(rig_ends[0], &many, 1, 0, NULL))
CALL(send, send(rig_ends[0], buf, 1, 0))
CALL(sendto, sendto(rig_ends[0], buf, 1, 0, NULL, 0))
CALL(sendmsg, sendmsg(rig_ends[0], &many.msg_hdr, 0))
CALL(sendmmsg, sendmmsg(rig_ends[0], &many, 1, 0))
CALL(sendfile, sendfile(rig_ends[0], file, &(off_t){ 0 }, 2) == 2 ? 0 : -1)
CALL(sendfile64, sendfile64(rig_ends[0], file, &(off64_t){ 0 }, 2) == 2 ? 0 : -1)
CALL(connect, connect(rig_ends[0], &at, at_n))
CALL(accept, accept(rig_ends[0], NULL, NULL))
CALL(accept4, accept4(rig_ends[0], NULL, NULL, SOCK_CLOEXEC))
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from,
                       socklen_t *len);

CALL(read_chk, __read_chk(rig_ends[0], buf, 1, sizeof buf))
CALL(recv_chk, __recv_chk(rig_ends[0], buf, 1, sizeof buf, 0))
CALL(recvfrom_chk, __recvfrom_chk(rig_ends[0], buf, 1, sizeof buf, 0, NULL, NULL))

static struct pollfd polled;

static struct pollfd *it(void)
{
    polled = (struct pollfd){ .fd = rig_ends[0], .events = POLLIN };
    return &polled;
}

/* 1 is for what is readable, or is open no more. */
static long told(int r)
{
    return r == 1 && (polled.revents & (POLLIN | POLLNVAL)) == 0 ? 2 : r;
}

static const struct timespec *in_time(void)
{
    static struct timespec t;

    t = (struct timespec){ .tv_sec = matrix_ms / 1000, .tv_nsec = matrix_ms % 1000 * 1000000 };
    return matrix_ms < 0 ? NULL : &t;
}

static fd_set *set(void)
{
    static fd_set s;

    FD_ZERO(&s);
    FD_SET(rig_ends[0], &s);
    return &s;
}

static long selected(void)
{
    struct timeval t = { .tv_sec = matrix_ms / 1000, .tv_usec = matrix_ms % 1000 * 1000 };

    return select(rig_ends[0] + 1, set(), NULL, NULL, matrix_ms < 0 ? NULL : &t);
}

static struct epoll_event happened;

int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask, size_t room);

CALL(poll, told(poll(it(), 1, matrix_ms)))
CALL(ppoll, told(ppoll(it(), 1, in_time(), NULL)))
CALL(poll_chk, told(__poll_chk(it(), 1, matrix_ms, sizeof polled)))
CALL(ppoll_chk, told(__ppoll_chk(it(), 1, in_time(), NULL, sizeof polled)))
CALL(select, selected())
CALL(pselect, pselect(rig_ends[0] + 1, set(), NULL, NULL, in_time(), NULL))
CALL(epoll_wait, epoll_wait(rig_ends[0], &happened, 1, matrix_ms))
CALL(epoll_pwait, epoll_pwait(rig_ends[0], &happened, 1, matrix_ms, NULL))
CALL(epoll_pwait2, epoll_pwait2(rig_ends[0], &happened, 1, in_time(), NULL))

/* Those that answer an error number, or what is left, as the others do. */
static long as_errno(int error)
{
    errno = error == 0 ? errno : error;
    return error == 0 ? 0 : -1;
}

CALL(sleep, sleep((unsigned)(matrix_ms / 1000)) == 0 ? 0 : -1)
CALL(usleep, usleep((unsigned)matrix_ms * 1000))
CALL(nanosleep, nanosleep(in_time(), NULL))
CALL(clock_nanosleep, as_errno(clock_nanosleep(CLOCK_MONOTONIC, 0, in_time(), NULL)))
CALL(thrd_sleep, thrd_sleep(in_time(), NULL) == 0 ? 0 : -1)

static long freopened(FILE *(*how)(const char *, const char *, FILE *))
{
    FILE *f = fdopen(rig_ends[0], "r"), *again = how("/dev/null", "r", f);

    rig_ends[0] = -1;
    return again != NULL ? fclose(again) : -1;
}

static int taken(void)
{
    int fd = rig_ends[0];

    rig_ends[0] = -1;
    return fd;
}

static long close_range_of(unsigned fd)
{
    return close_range(fd, fd, 0);
}

CALL(close, close(taken()))
CALL(close_range, close_range_of((unsigned)taken()))
CALL(fclose, fclose(fdopen(taken(), "r")))
CALL(dup2, dup2(STDIN_FILENO, rig_ends[0]))
CALL(dup3, dup3(STDIN_FILENO, rig_ends[0], O_CLOEXEC))
CALL(freopen, freopened(freopen))
CALL(freopen64, freopened(freopen64))

/* The test's own descriptors go, too, but not what it needs to the end. */
static long call_closefrom(void)
{
    closefrom(rig_ends[0]);
    rig_ends[0] = rig_ends[1] = -1;
    return 0;
}

/* At the end of the table, that closefrom closes no more than it must. */
static void high_pair(void)
{
    int low[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, low), 0);
    for (int i = 0; i < 2; i++) {
        rig_ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 900);
        ck_assert_int_ge(rig_ends[i], 900);
        close(low[i]);
    }
}

CALL(setsockopt, setsockopt(rig_ends[0], SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int)))
CALL(ioctl, ioctl(rig_ends[0], FIONBIO, &(int){ 1 }))

enum {
    DATA = MATRIX_WAITS | MATRIX_TIMES | MATRIX_CLOSED | MATRIX_FLAG | MATRIX_CANCELS,
    OTHER = DATA & ~MATRIX_TIMES,
    POLLS = DATA & ~MATRIX_FLAG,
    SLEEP = MATRIX_WAITS | MATRIX_TIMES | MATRIX_CANCELS,
};

const matrix_row matrix_data[] = {
    { "read", "a socket", DATA, pair, call_read, give, EAGAIN },
    { "read", "a datagram socket", DATA, datagrams, call_read, give, EAGAIN },
    { "read", "a packet socket", DATA, packets, call_read, give, EAGAIN },
    { "read", "a pipe", OTHER, read_pipe, call_read, give, 0 },
    { "read", "a FIFO", OTHER, fifo, call_read, give, 0 },
    { "read", "an eventfd", OTHER, event, call_read, raise_event, 0 },
    { "read", "a timerfd", OTHER, timer, call_read, set_timer, 0 },
    { "read", "a signalfd", OTHER, signals, call_read, send_signal, 0 },
    { "read", "a terminal", OTHER | MATRIX_TERMINAL, terminal, call_read, give, 0 },
    { "write", "a full socket", DATA, full_pair, call_write, drain, EAGAIN },
    { "write", "a full datagram socket", DATA, full_datagrams, call_write, drain, EAGAIN },
    { "write", "a full pipe", OTHER, full_pipe, call_write, drain, 0 },
    { "write", "a full FIFO", OTHER, full_fifo, call_write, drain, 0 },
    { "write", "a full eventfd", OTHER, full_event, call_write_event, empty_event, 0 },
    { "write", "a full terminal", OTHER | MATRIX_TERMINAL, full_terminal, call_write, drain, 0 },
    { "readv", "a socket", DATA, pair, call_readv, give, EAGAIN },
    { "readv", "a pipe", OTHER, read_pipe, call_readv, give, 0 },
    { "writev", "a full socket", DATA, full_pair, call_writev, drain, EAGAIN },
    { "writev", "a full pipe", OTHER, full_pipe, call_writev, drain, 0 },
    { "recv", "a socket", DATA, pair, call_recv, give, EAGAIN },
    { "recv", "all of a socket", DATA, pair, call_recv_all, give, EAGAIN },
    { "recv", "a look", DATA, pair, call_recv_look, give, EAGAIN },
    { "recvfrom", "a socket", DATA, pair, call_recvfrom, give, EAGAIN },
    { "recvmsg", "a socket", DATA, pair, call_recvmsg, give, EAGAIN },
    { "recvmmsg", "a datagram socket", DATA, datagrams, call_recvmmsg, give, EAGAIN },
    { "send", "a full socket", DATA, full_pair, call_send, drain, EAGAIN },
    { "sendto", "a full socket", DATA, full_pair, call_sendto, drain, EAGAIN },
    { "sendmsg", "a full socket", DATA, full_pair, call_sendmsg, drain, EAGAIN },
    { "sendmmsg", "a full datagram socket", DATA, full_datagrams, call_sendmmsg, drain, EAGAIN },
    { "sendfile", "a full socket", DATA, full_pair_and_file, call_sendfile, drain, EAGAIN },
    { "sendfile64", "a full socket", DATA, full_pair_and_file, call_sendfile64, drain, EAGAIN },
    { "connect", "a full listener", DATA & ~MATRIX_FLAG, full_listener, call_connect, take, EINPROGRESS },
    { "accept", "a listener", DATA, listener, call_accept, come, EAGAIN },
    { "accept4", "a listener", DATA, listener, call_accept4, come, EAGAIN },
    { "__read_chk", "a socket", DATA, pair, call_read_chk, give, EAGAIN },
    { "__recv_chk", "a socket", DATA, pair, call_recv_chk, give, EAGAIN },
    { "__recvfrom_chk", "a socket", DATA, pair, call_recvfrom_chk, give, EAGAIN },
    { "poll", "a socket", POLLS, pair, call_poll, give, 0 },
    { "poll", "a pipe", POLLS, read_pipe, call_poll, give, 0 },
    { "ppoll", "a socket", POLLS, pair, call_ppoll, give, 0 },
    { "__poll_chk", "a socket", POLLS, pair, call_poll_chk, give, 0 },
    { "__ppoll_chk", "a socket", POLLS, pair, call_ppoll_chk, give, 0 },
    { "select", "a socket", POLLS, pair, call_select, give, 0 },
    { "pselect", "a socket", POLLS, pair, call_pselect, give, 0 },
    { "epoll_wait", "a set", POLLS, set_of_one, call_epoll_wait, give, 0 },
    { "epoll_pwait", "a set", POLLS, set_of_one, call_epoll_pwait, give, 0 },
    { "epoll_pwait2", "a set", POLLS, set_of_one, call_epoll_pwait2, give, 0 },
    { "sleep", "a time", SLEEP, NULL, call_sleep, NULL, 0 },
    { "usleep", "a time", SLEEP, NULL, call_usleep, NULL, 0 },
    { "nanosleep", "a time", SLEEP, NULL, call_nanosleep, NULL, 0 },
    { "clock_nanosleep", "a time", SLEEP, NULL, call_clock_nanosleep, NULL, 0 },
    { "thrd_sleep", "a time", SLEEP, NULL, call_thrd_sleep, NULL, 0 },
    { "close", "a socket", MATRIX_CLOSES, pair, call_close, NULL, 0 },
    { "dup2", "a socket", MATRIX_CLOSES, pair, call_dup2, NULL, 0 },
    { "dup3", "a socket", MATRIX_CLOSES, pair, call_dup3, NULL, 0 },
    { "close_range", "a socket", MATRIX_CLOSES, pair, call_close_range, NULL, 0 },
    { "closefrom", "a socket", MATRIX_CLOSES, high_pair, call_closefrom, NULL, 0 },
    { "fclose", "a socket", MATRIX_CLOSES, pair, call_fclose, NULL, 0 },
    { "freopen", "a socket", MATRIX_CLOSES, pair, call_freopen, NULL, 0 },
    { "freopen64", "a socket", MATRIX_CLOSES, pair, call_freopen64, NULL, 0 },
    { "setsockopt", "a socket", MATRIX_PASSES, pair, call_setsockopt, NULL, 0 },
    { "ioctl", "a socket", MATRIX_PASSES, pair, call_ioctl, NULL, 0 },
};
const size_t matrix_data_count = sizeof matrix_data / sizeof *matrix_data;
