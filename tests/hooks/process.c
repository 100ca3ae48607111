/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that ends, with 3, when it has read a byte. */
static pid_t child(void)
{
    pid_t pid = fork();
    char c = 0;

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        rig_leave(read(rig_ends[0], &c, 1) == 1 ? 3 : 4);
    return pid;
}

START_TEST(a_child_that_is_named_is_watched_for_its_end)
{
    struct rusage usage;
    siginfo_t info = { 0 };
    int status = 0;
    pid_t pid = 0;

    rig_pipe();
    pid = child();
    ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    errno = EXDEV;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_int_eq(WEXITSTATUS(status), 3);
    ck_assert_uint_eq(toy_asked().waits, 1);
    toy_join();
    pid = child();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(wait4(pid, &status, 0, &usage), pid);
    ck_assert_uint_eq(toy_asked().waits, 2);
    ck_assert_uint_eq(toy_asked().offloads, 0);
    toy_join();
    pid = child();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    ck_assert_int_eq(info.si_status, 3);
    ck_assert_uint_eq(toy_asked().waits, 3);
    ck_assert_uint_eq(toy_asked().offloads, 0);
    rig_fails(waitpid(pid, &status, 0), ECHILD);
}
END_TEST

START_TEST(for_any_child_a_thread_waits)
{
    struct rusage usage;
    int status = 0;
    pid_t pid = 0;

    rig_pipe();
    pid = child();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(wait(&status), pid);
    ck_assert_int_eq(WEXITSTATUS(status), 3);
    toy_join();
    pid = child();
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(wait3(&status, 0, &usage), pid);
    ck_assert_uint_eq(toy_asked().offloads, 2);
    rig_fails(wait(&status), ECHILD);
}
END_TEST

START_TEST(waiting_for_a_child_can_be_cancelled)
{
    int status = 0;
    pid_t pid = 0;

    rig_pipe();
    pid = child();
    toy_when_suspended(1, toy_cancel, NULL);
    rig_fails(waitpid(pid, &status, 0), ECANCELED);
    rig_write_a(&rig_ends[1]);
    toy_green(false);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}
END_TEST

START_TEST(shells_run_on_a_thread)
{
    char line[16] = "";
    FILE *f = NULL;

    ck_assert_int_ne(system(NULL), 0);
    ck_assert_uint_eq(toy_asked().offloads, 0);
    ck_assert_int_eq(WEXITSTATUS(system("exit 3")), 3);
    f = popen("echo hello; exit 4", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
    ck_assert_str_eq(line, "hello\n");
    ck_assert_int_eq(WEXITSTATUS(pclose(f)), 4);
    ck_assert_uint_eq(toy_asked().offloads, 3);
    toy_no_threads(ECANCELED);
    rig_fails(system("exit 3"), ECANCELED);
    ck_assert_ptr_null(popen("true", "r"));
}
END_TEST

START_TEST(commands_have_the_callers_signals_unblocked)
{
    ck_assert_int_eq(WTERMSIG(system("kill -TERM $$; exit 3")), SIGTERM);
    FILE *f = popen("kill -TERM $$; exit 3", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(WTERMSIG(pclose(f)), SIGTERM);
}
END_TEST

/* ---- locks ---- */

static char path[] = "/tmp/fjord-hooks-XXXXXX";

static int temporary(void)
{
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static void unlock(void *fd)
{
    ck_assert_int_eq(flock(*(int *)fd, LOCK_UN), 0);
}

START_TEST(flock_waits_on_a_thread_if_it_must)
{
    int other = -1;

    rig_ends[0] = temporary();
    other = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(flock(rig_ends[0], LOCK_EX), 0);
    rig_fails(flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    ck_assert_uint_eq(toy_asked().offloads, 0);
    toy_when_suspended(1, unlock, &rig_ends[0]);
    errno = EXDEV;
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_uint_eq(toy_asked().offloads, 1);
    ck_assert_int_eq(close(other), 0);
}
END_TEST

/* Record locks are between processes: a child holds one until it reads a byte. */
static pid_t locked_by_child(int fd, int ready)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    pid_t pid = fork();
    char c = 0;

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        rig_leave(
            fcntl(fd, F_SETLK, &l) == 0 && write(ready, "r", 1) == 1 && read(rig_ends[0], &c, 1) == 1 ? 0 : 1);
    return pid;
}

static void wait_for_record_lock(int fd, int (*take)(int fd))
{
    int ready[2], status = 0;
    char c = 0;
    pid_t pid = 0;

    ck_assert_int_eq(pipe(ready), 0);
    toy_green(false);
    pid = locked_by_child(fd, ready[1]);
    ck_assert_int_eq(read(ready[0], &c, 1), 1);
    toy_green(true);
    toy_when_suspended(1, rig_write_a, &rig_ends[1]);
    ck_assert_int_eq(take(fd), 0);
    toy_join();
    toy_green(false);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    toy_green(true);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(close(ready[0]) | close(ready[1]), 0);
}

static int by_fcntl(int fd)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fcntl(fd, F_SETLKW, &l);
}

static int by_fcntl64(int fd)
{
    struct flock64 l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fcntl64(fd, F_SETLKW64, &l);
}

static int by_lockf(int fd)
{
    return lockf(fd, F_LOCK, 0);
}

static int by_lockf64(int fd)
{
    return lockf64(fd, F_LOCK, 0);
}

START_TEST(record_locks_wait_on_a_thread_if_they_must)
{
    int (*const takes[])(int fd) = { by_fcntl, by_fcntl64, by_lockf, by_lockf64 };
    struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
    int fd = temporary();

    ck_assert_int_eq(unlink(path), 0);
    rig_pipe();
    for (unsigned i = 0; i < 4; i++) {
        wait_for_record_lock(fd, takes[i]);
        ck_assert_uint_eq(toy_asked().offloads, i + 1);
        ck_assert_int_eq(fcntl(fd, F_SETLK, &l), 0);
    }
    l.l_type = F_WRLCK;
    ck_assert_int_eq(fcntl(fd, F_OFD_SETLKW, &l), 0);
    ck_assert_uint_eq(toy_asked().offloads, 4);
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(other_commands_of_fcntl_have_their_arguments)
{
    int copy = -1;

    rig_pipe();
    copy = fcntl(rig_ends[0], F_DUPFD_CLOEXEC, 100);
    ck_assert_int_ge(copy, 100);
    ck_assert_int_eq(fcntl(copy, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl64(copy, F_SETFD, 0), 0);
    ck_assert_int_eq(fcntl64(copy, F_GETFD), 0);
    ck_assert_int_eq(close(copy), 0);
}
END_TEST

START_TEST(files_are_flushed_on_a_thread)
{
    rig_ends[0] = temporary();
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(fsync(rig_ends[0]), 0);
    ck_assert_int_eq(fdatasync(rig_ends[0]), 0);
    rig_fails(fsync(-1), EBADF);
    ck_assert_uint_eq(toy_asked().offloads, 3);
}
END_TEST

/* ---- open ---- */

static void open_to_write(void *unused)
{
    (void)unused;
    rig_ends[1] = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(rig_ends[1], 0);
}

START_TEST(a_fifo_is_opened_on_a_thread)
{
    int fd = temporary();

    ck_assert_int_eq(close(fd) | unlink(path) | mkfifo(path, 0600), 0);
    toy_when_suspended(1, open_to_write, NULL);
    rig_ends[0] = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(rig_ends[0], 0);
    toy_join();
    ck_assert_uint_eq(toy_asked().offloads, 1);
    rig_close(&rig_ends[0]);
    rig_close(&rig_ends[1]);
    toy_when_suspended(1, open_to_write, NULL);
    rig_ends[0] = openat64(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(rig_ends[0], 0);
    toy_join();
    fd = open64(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_uint_eq(toy_asked().offloads, 2);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(files_are_opened_straight_and_made_with_their_mode)
{
    mode_t before = umask(0);
    struct stat st;
    int fd = temporary();

    ck_assert_int_eq(close(fd) | unlink(path), 0);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0641);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0641);
    ck_assert_int_eq(close(fd) | unlink(path), 0);
    fd = openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0604);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0604);
    ck_assert_int_eq(close(fd) | unlink(path), 0);
    fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
    if (fd >= 0) { /* not every file system has it */
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_int_eq(st.st_mode & 07777, 0640);
        ck_assert_int_eq(close(fd), 0);
    }
    umask(before);
    errno = 0;
    ck_assert_int_eq(open(path, O_RDONLY), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_uint_eq(toy_asked().offloads, 0);
}
END_TEST

Suite *process_suite(void)
{
    Suite *s = suite_create("hooks: processes and files");
    TCase *c = tcase_create("process");

    tcase_add_checked_fixture(c, rig_begin, rig_end);
    tcase_add_test(c, a_child_that_is_named_is_watched_for_its_end);
    tcase_add_test(c, for_any_child_a_thread_waits);
    tcase_add_test(c, waiting_for_a_child_can_be_cancelled);
    tcase_add_test(c, shells_run_on_a_thread);
    tcase_add_test(c, commands_have_the_callers_signals_unblocked);
    tcase_add_test(c, flock_waits_on_a_thread_if_it_must);
    tcase_add_test(c, record_locks_wait_on_a_thread_if_they_must);
    tcase_add_test(c, other_commands_of_fcntl_have_their_arguments);
    tcase_add_test(c, files_are_flushed_on_a_thread);
    tcase_add_test(c, a_fifo_is_opened_on_a_thread);
    tcase_add_test(c, files_are_opened_straight_and_made_with_their_mode);
    suite_add_tcase(s, c);
    return s;
}
