/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While the thread that writes is stuck, whoever logs makes no system call that can block, and every line is either written or
 * counted.  The first is not measured but enforced: a filter of the kernel's ends the process at such a call of that thread.
 */
#include "base/native.h"
#include <check.h>
#include <fjord/log.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINES = 5000, FIRST = 50, RING = 64 * 1024, PATIENCE = 20000 };

static char folder[64], path[96];
static bool forbidden;

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/fj-stuck-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/log", folder);
}

static void teardown(void)
{
    ck_assert_int_eq(fj_log_open(NULL, NULL), FJ_OK);
    (void)unlink(path);
    (void)rmdir(folder);
}

/* ---- who logs, and must not be held up ----------------------------------------------------------- */

static void forbid_what_may_block(void)
{
    enum { MOST = 64 };
    static const unsigned numbers[] = {
        __NR_read,     __NR_write,   __NR_readv,       __NR_writev,   __NR_pwrite64,   __NR_pwritev2,
        __NR_openat,   __NR_close,   __NR_connect,     __NR_accept4,  __NR_sendto,     __NR_sendmsg,
        __NR_recvfrom, __NR_recvmsg, __NR_ppoll,       __NR_pselect6, __NR_nanosleep,  __NR_clock_nanosleep,
        __NR_fsync,    __NR_fstat,   __NR_newfstatat,  __NR_statx,    __NR_clone,      __NR_clone3,
        __NR_flock,    __NR_wait4,   __NR_epoll_pwait,
#ifdef __NR_poll /* where there are the older ones as well */
        __NR_poll,     __NR_open,    __NR_stat,        __NR_select,   __NR_epoll_wait, __NR_fork,
#endif
    };
    struct sock_filter filter[2 * MOST + 2];
    unsigned short n = 0;

    filter[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = { .len = n, .filter = filter };
    /* from here on not even Check may write */
    forbidden = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static void *log_without_blocking(void *user)
{
    (void)user;
    forbid_what_may_block();
    for (int i = 0; i < LINES; i++)
        fj_log(FJ_LOG_ERROR, "a", "line %d %s", i, "abcdefghijklmnopqrstuvwxyz");
    return NULL;
}

/* Until the first of them is stuck: its writer waits for the place, and no longer for lines. */
static void log_the_first(const fj_log_opts *opts)
{
    ck_assert_int_eq(fj_log_open(opts, NULL), FJ_OK);
    for (int i = 0; i < FIRST; i++)
        fj_log(FJ_LOG_ERROR, "a", "line %d", i);
}

static void log_the_others(void)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, log_without_blocking, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(forbidden);
}

START_TEST(the_filter_ends_who_makes_a_call_that_may_block)
{
    forbid_what_may_block();
    ssize_t n = write(-1, "", 0);

    (void)n;
}
END_TEST

/* ---- every line is written or counted ------------------------------------------------------------ */

static struct {
    char rest[8192]; /* the beginning of a line */
    size_t n;
    int written;
    long dropped;
} seen;

static void look_at_line(char *line)
{
    const char *lost = strstr(line, "log: "), *journal = strstr(line, "MESSAGE=");
    long dropped;

    if (lost == NULL)
        lost = journal != NULL ? journal + 3 : NULL; /* journald has the component elsewhere */
    if (strstr(line, "a: line ") != NULL || strstr(line, "MESSAGE=line ") != NULL)
        seen.written++;
    else if (lost != NULL && sscanf(lost + 5, "%ld line", &dropped) == 1)
        seen.dropped += dropped;
}

static void look_at(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool end = bytes[i] == '\n' || bytes[i] == '\0';
        ck_assert_uint_lt(seen.n, sizeof seen.rest);
        seen.rest[seen.n++] = end ? '\0' : bytes[i];
        if (end) {
            look_at_line(seen.rest);
            seen.n = 0;
        }
    }
}

static bool all_seen(void)
{
    return seen.written + seen.dropped >= FIRST + LINES;
}

/* Of a pipe, or of datagrams, each of which ends a line. */
static void read_all(int fd, bool datagrams)
{
    static char text[64 * 1024];

    while (!all_seen()) {
        ssize_t n = read(fd, text, sizeof text);
        ck_assert_int_gt((int)n, 0);
        look_at(text, (size_t)n);
        if (datagrams)
            look_at("", 1);
    }
}

static void read_file(void)
{
    static char text[4 << 20];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text);

    ck_assert_int_gt((int)n, 0);
    look_at(text, (size_t)n);
    (void)close(fd);
}

static void check_counts(void)
{
    ck_assert_int_eq(seen.written + seen.dropped, FIRST + LINES);
    ck_assert_int_gt(seen.written, 0);
    ck_assert_int_gt(seen.dropped, 0); /* else the place was not stuck */
}

/* ---- the places ---------------------------------------------------------------------------------- */

/* To the last byte: from now on no line is written. */
static void fill_pipe(int fd)
{
    static char page[4096];

    memset(page, '\n', sizeof page);
    ck_assert_int_ge(fcntl(fd, F_SETPIPE_SZ, (int)sizeof page), 0);
    ck_assert_int_eq((int)write(fd, page, sizeof page), (int)sizeof page);
}

START_TEST(a_pipe_that_nobody_reads)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path, .ring = RING);

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDWR | O_CLOEXEC);
    fill_pipe(reader);
    log_the_first(&o);
    log_the_others();
    read_all(reader, false);
    check_counts();
    (void)close(reader);
}
END_TEST

START_TEST(standard_error_whose_reader_is_stopped)
{
    fj_log_opts o = FJ_LOG_OPTS(.to_stderr = true, .ring = RING);
    int ends[2], saved = dup(STDERR_FILENO);

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    fill_pipe(ends[1]);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    log_the_first(&o);
    log_the_others();
    read_all(ends[0], false);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    check_counts();
}
END_TEST

START_TEST(a_disk_that_is_full_until_there_is_room)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path, .ring = RING);
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 1000;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_the_first(&o);
    ck_assert(!fj_log_flush(1));
    log_the_others();
    limit.rlim_cur = before;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert(fj_log_flush(PATIENCE));
    read_file();
    check_counts();
}
END_TEST

static struct sockaddr_un name_of_socket(void)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };

    memcpy(name.sun_path, path, strlen(path) + 1);
    return name;
}

/* So that it takes no more. */
static void fill_socket(void)
{
    struct sockaddr_un to = name_of_socket();
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    while (send(fd, "another's", 9, 0) == 9)
        ;
    ck_assert_int_eq(errno, EAGAIN);
    (void)close(fd);
}

static int bind_socket(void)
{
    struct sockaddr_un to = name_of_socket();
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

START_TEST(a_syslog_that_is_dead_and_comes_back)
{
    fj_log_opts o = FJ_LOG_OPTS(.facility = "user", .syslog_socket = path, .ring = RING);

    log_the_first(&o);
    ck_assert(!fj_log_flush(1));
    log_the_others();
    int server = bind_socket();
    read_all(server, true);
    check_counts();
    (void)close(server);
}
END_TEST

/* 0: syslog, 1: journald. */
START_TEST(a_daemon_that_does_not_read)
{
    fj_log_opts o = FJ_LOG_OPTS(.ring = RING);
    int server = bind_socket();

    if (_i == 0) {
        o.facility = "user";
        o.syslog_socket = path;
    } else {
        o.journal = true;
        o.journal_socket = path;
    }
    fill_socket();
    log_the_first(&o);
    ck_assert(!fj_log_flush(1));
    log_the_others();
    read_all(server, true);
    check_counts();
    (void)close(server);
}
END_TEST

static sem_t way;
static ssize_t (*real_write)(int fd, const void *buf, size_t n);
static atomic_int hanging = -1; /* 0 to hang, 1 hanging */

/* As of a file on a server that does not answer: the call does not return. */
static ssize_t hang(int fd, const void *buf, size_t n)
{
    int begin = 0;

    if (n > 8 && atomic_compare_exchange_strong(&hanging, &begin, 1))
        while (sem_wait(&way) != 0 && errno == EINTR)
            ;
    return real_write(fd, buf, n);
}

START_TEST(a_file_whose_write_does_not_return)
{
    fj_log_opts o = FJ_LOG_OPTS(.file = path, .ring = RING);

    ck_assert_int_eq(sem_init(&way, 0, 0), 0);
    real_write = fj__native.write;
    fj__native.write = hang;
    atomic_store(&hanging, 0);
    log_the_first(&o);
    while (atomic_load(&hanging) != 1) /* Check ends a test that takes too long */
        (void)sched_yield();
    log_the_others();
    ck_assert_int_eq(sem_post(&way), 0);
    ck_assert(fj_log_flush(PATIENCE));
    read_file();
    check_counts();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log stuck");
    TCase *tests = tcase_create("no call that may block, and all lines accounted for");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test_raise_signal(tests, the_filter_ends_who_makes_a_call_that_may_block, SIGSYS);
    tcase_add_test(tests, a_pipe_that_nobody_reads);
    tcase_add_test(tests, standard_error_whose_reader_is_stopped);
    tcase_add_test(tests, a_disk_that_is_full_until_there_is_room);
    tcase_add_test(tests, a_syslog_that_is_dead_and_comes_back);
    tcase_add_loop_test(tests, a_daemon_that_does_not_read, 0, 2);
    tcase_add_test(tests, a_file_whose_write_does_not_return);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
