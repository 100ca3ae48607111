/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of names, processes and files: most of them are done on a thread. */
#include "tests/hooks/matrix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CALL(name, expression)    \
    static long call_##name(void) \
    {                             \
        return (expression);      \
    }

/* ---- names ---- */

static struct sockaddr_in loopback = { .sin_family = AF_INET };
static struct hostent host, *found;
static char room[1024], name[NI_MAXHOST];
static int problem;

static void set_loopback(void)
{
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static long call_getaddrinfo(void)
{
    struct addrinfo *list = NULL;
    int r = getaddrinfo("localhost", "80", NULL, &list);

    if (r == 0)
        freeaddrinfo(list);
    return r == 0 ? 0 : -1;
}

CALL(getnameinfo,
     getnameinfo((struct sockaddr *)&loopback, sizeof loopback, name, sizeof name, NULL, 0, 0) == 0 ? 0 : -1)
CALL(gethostbyname, gethostbyname("localhost") != NULL ? 0 : -1)
CALL(gethostbyname2, gethostbyname2("localhost", AF_INET) != NULL ? 0 : -1)
CALL(gethostbyaddr, gethostbyaddr(&loopback.sin_addr, 4, AF_INET) != NULL ? 0 : -1)
CALL(gethostbyname_r, -(gethostbyname_r("localhost", &host, room, sizeof room, &found, &problem) != 0))
CALL(gethostbyname2_r,
     -(gethostbyname2_r("localhost", AF_INET, &host, room, sizeof room, &found, &problem) != 0))
CALL(gethostbyaddr_r,
     -(gethostbyaddr_r(&loopback.sin_addr, 4, AF_INET, &host, room, sizeof room, &found, &problem) != 0))

/* ---- children ---- */

static pid_t pid;

static void child(void)
{
    char c = 0;

    rig_pipe();
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        rig_leave(read(rig_ends[0], &c, 1) == 1 ? 3 : 4);
}

static void end_child(void *unused)
{
    (void)unused;
    rig_write_a(&rig_ends[1]);
}

static int status;
static siginfo_t info;
static struct rusage usage;

static long ended(pid_t who)
{
    return who == pid && WEXITSTATUS(status) == 3 ? 0 : -1;
}

CALL(wait, ended(wait(&status)))
CALL(wait3, ended(wait3(&status, 0, &usage)))
CALL(wait4, ended(wait4(pid, &status, 0, &usage)))
CALL(waitpid, ended(waitpid(pid, &status, 0)))
CALL(waitpid_any, ended(waitpid(-1, &status, 0)))
CALL(waitid, waitid(P_PID, (id_t)pid, &info, WEXITED) == 0 && info.si_status == 3 ? 0 : -1)
CALL(waitid_any, waitid(P_ALL, 0, &info, WEXITED) == 0 && info.si_status == 3 ? 0 : -1)
CALL(system, WEXITSTATUS(system("exit 3")) == 3 ? 0 : -1)

static FILE *shell;

static void open_shell(void)
{
    shell = popen("exit 3", "r");
    ck_assert_ptr_nonnull(shell);
}

static long call_popen(void)
{
    FILE *f = popen("exit 3", "r");

    toy_green(false);
    return f != NULL && WEXITSTATUS(pclose(f)) == 3 ? 0 : -1;
}

CALL(pclose, WEXITSTATUS(pclose(shell)) == 3 ? 0 : -1)

/* ---- files ---- */

static char path[] = "/tmp/fjord-hooks-XXXXXX";
static int other = -1;

static void plain_file(void)
{
    rig_ends[0] = mkstemp(path);
    ck_assert_int_ge(rig_ends[0], 0);
    other = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(unlink(path), 0);
}

static void flocked(void)
{
    plain_file();
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
}

static void unflock(void *unused)
{
    (void)unused;
    ck_assert_int_eq(flock(other, LOCK_UN), 0);
}

/* Locked by a child until it reads a byte. */
static void locked(void)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int ready[2];
    char c = 0;

    plain_file();
    ck_assert_int_eq(pipe(ready), 0);
    rig_ends[1] = -1;
    other = -1;
    int gate[2];
    ck_assert_int_eq(pipe(gate), 0);
    pid = fork();
    if (pid == 0)
        rig_leave(fcntl(rig_ends[0], F_SETLK, &l) == 0 && write(ready[1], "r", 1) == 1 &&
                          read(gate[0], &c, 1) == 1
                      ? 0
                      : 1);
    ck_assert_int_eq(read(ready[0], &c, 1), 1);
    rig_ends[1] = gate[1];
}

static long lock_by(int (*call)(int, int, ...), int how)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return call(rig_ends[0], how, &l);
}

CALL(flock, flock(rig_ends[0], LOCK_EX))
CALL(lockf, lockf(rig_ends[0], F_LOCK, 0))
CALL(lockf64, lockf64(rig_ends[0], F_LOCK, 0))
CALL(fcntl, lock_by(fcntl, F_SETLKW))
CALL(fcntl64, lock_by(fcntl64, F_SETLKW64))
CALL(fcntl_open, lock_by(fcntl, F_OFD_SETLKW))
CALL(fsync, fsync(rig_ends[0]))
CALL(fdatasync, fdatasync(rig_ends[0]))
CALL(syncfs, syncfs(other))
CALL(sync_file_range, sync_file_range(rig_ends[0], 0, 0, SYNC_FILE_RANGE_WRITE))

static void *memory;

static void mapped(void)
{
    plain_file();
    ck_assert_int_eq(ftruncate(rig_ends[0], 4096), 0);
    memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rig_ends[0], 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
}

CALL(msync, msync(memory, 4096, MS_SYNC))

/* The whole machine's disks may take long: of a file system in memory there is nothing to wait for, but there is no such sync. */
static long call_sync(void)
{
    sync();
    return 0;
}

static void terminal(void)
{
    int leader = -1;

    rig_ends[0] = rig_terminal(&leader);
}

CALL(tcdrain, tcdrain(rig_ends[0]))

static void fifo(void)
{
    close(mkstemp(path));
    ck_assert_int_eq(unlink(path) | mkfifo(path, 0600), 0);
}

static void come_to_read(void *unused)
{
    (void)unused;
    ck_assert_int_ge(open(path, O_RDONLY | O_CLOEXEC), 0);
    unlink(path);
}

static void come_to_write(void *unused)
{
    (void)unused;
    ck_assert_int_ge(open(path, O_WRONLY | O_CLOEXEC), 0);
    unlink(path);
}

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);

CALL(open, open(path, O_RDONLY | O_CLOEXEC))
CALL(open64, open64(path, O_RDONLY | O_CLOEXEC))
CALL(openat, openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC))
CALL(openat64, openat64(AT_FDCWD, path, O_RDONLY | O_CLOEXEC))
CALL(open_2, __open_2(path, O_RDONLY | O_CLOEXEC))
CALL(open64_2, __open64_2(path, O_RDONLY | O_CLOEXEC))
CALL(openat_2, __openat_2(AT_FDCWD, path, O_RDONLY | O_CLOEXEC))
CALL(openat64_2, __openat64_2(AT_FDCWD, path, O_RDONLY | O_CLOEXEC))
CALL(creat, creat(path, 0600))
CALL(creat64, creat64(path, 0600))

enum { THREAD = MATRIX_THREAD };

const matrix_row matrix_files[] = {
    { "getaddrinfo", "a name", THREAD, NULL, call_getaddrinfo, NULL, 0 },
    { "getnameinfo", "an address", THREAD, set_loopback, call_getnameinfo, NULL, 0 },
    { "gethostbyname", "a name", THREAD, NULL, call_gethostbyname, NULL, 0 },
    { "gethostbyname2", "a name", THREAD, NULL, call_gethostbyname2, NULL, 0 },
    { "gethostbyaddr", "an address", THREAD, set_loopback, call_gethostbyaddr, NULL, 0 },
    { "gethostbyname_r", "a name", THREAD, NULL, call_gethostbyname_r, NULL, 0 },
    { "gethostbyname2_r", "a name", THREAD, NULL, call_gethostbyname2_r, NULL, 0 },
    { "gethostbyaddr_r", "an address", THREAD, set_loopback, call_gethostbyaddr_r, NULL, 0 },
    { "wait", "any child", THREAD, child, call_wait, end_child, 0 },
    { "wait3", "any child", THREAD, child, call_wait3, end_child, 0 },
    { "wait4", "a child", MATRIX_WAITS | MATRIX_CANCELS, child, call_wait4, end_child, 0 },
    { "waitpid", "a child", MATRIX_WAITS | MATRIX_CANCELS, child, call_waitpid, end_child, 0 },
    { "waitpid", "any child", THREAD, child, call_waitpid_any, end_child, 0 },
    { "waitid", "a child", MATRIX_WAITS | MATRIX_CANCELS, child, call_waitid, end_child, 0 },
    { "waitid", "any child", THREAD, child, call_waitid_any, end_child, 0 },
    { "system", "a command", THREAD, NULL, call_system, NULL, 0 },
    { "popen", "a command", THREAD, NULL, call_popen, NULL, 0 },
    { "pclose", "a child", THREAD, open_shell, call_pclose, NULL, 0 },
    { "flock", "a file", THREAD, flocked, call_flock, unflock, 0 },
    { "lockf", "a file", THREAD, locked, call_lockf, end_child, 0 },
    { "lockf64", "a file", THREAD, locked, call_lockf64, end_child, 0 },
    { "fcntl", "a file", THREAD, locked, call_fcntl, end_child, 0 },
    { "fcntl", "an open file", THREAD, locked, call_fcntl_open, end_child, 0 },
    { "fcntl64", "a file", THREAD, locked, call_fcntl64, end_child, 0 },
    { "fsync", "a file", THREAD, plain_file, call_fsync, NULL, 0 },
    { "fdatasync", "a file", THREAD, plain_file, call_fdatasync, NULL, 0 },
    { "syncfs", "a file", THREAD, plain_file, call_syncfs, NULL, 0 },
    { "sync_file_range", "a file", THREAD, plain_file, call_sync_file_range, NULL, 0 },
    { "msync", "a file", THREAD, mapped, call_msync, NULL, 0 },
    { "sync", "all", THREAD, NULL, call_sync, NULL, 0 },
    { "tcdrain", "a terminal", THREAD | MATRIX_TERMINAL, terminal, call_tcdrain, NULL, 0 },
    { "open", "a FIFO", THREAD, fifo, call_open, come_to_write, 0 },
    { "open64", "a FIFO", THREAD, fifo, call_open64, come_to_write, 0 },
    { "openat", "a FIFO", THREAD, fifo, call_openat, come_to_write, 0 },
    { "openat64", "a FIFO", THREAD, fifo, call_openat64, come_to_write, 0 },
    { "__open_2", "a FIFO", THREAD, fifo, call_open_2, come_to_write, 0 },
    { "__open64_2", "a FIFO", THREAD, fifo, call_open64_2, come_to_write, 0 },
    { "__openat_2", "a FIFO", THREAD, fifo, call_openat_2, come_to_write, 0 },
    { "__openat64_2", "a FIFO", THREAD, fifo, call_openat64_2, come_to_write, 0 },
    { "creat", "a FIFO", THREAD, fifo, call_creat, come_to_read, 0 },
    { "creat64", "a FIFO", THREAD, fifo, call_creat64, come_to_read, 0 },
};
const size_t matrix_files_count = sizeof matrix_files / sizeof *matrix_files;
