/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hooks/rig.h"
#include "tests/support/leaks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int rig_ends[2] = { -1, -1 };

void rig_pair(int type)
{
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, rig_ends), 0);
}

void rig_pipe(void)
{
    ck_assert_int_eq(pipe2(rig_ends, O_CLOEXEC), 0);
}

bool rig_has_terminals(void)
{
    return access("/dev/pts/ptmx", F_OK) == 0 || access("/dev/pts/0", F_OK) == 0;
}

int rig_terminal(int *ret_leader)
{
    int end = -1;

    *ret_leader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(*ret_leader, 0);
    ck_assert_int_eq(grantpt(*ret_leader) | unlockpt(*ret_leader), 0);
    end = open(ptsname(*ret_leader), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(end, 0);
    return end;
}

void rig_begin(void)
{
    leaks_begin();
    toy_begin(FJ_PATCH_DEFAULT);
}

void rig_end(void)
{
    toy_end();
    for (int i = 0; i < 2; i++)
        if (rig_ends[i] >= 0)
            close(rig_ends[i]);
    leaks_end("hooks");
}

int rig_listen(int backlog, struct sockaddr *ret_to, socklen_t *ret_n)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&to, n), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&to, &n), 0);
    memcpy(ret_to, &to, sizeof to);
    *ret_n = n;
    return fd;
}

void rig_write_a(void *fd)
{
    ck_assert_int_eq(write(*(int *)fd, "a", 1), 1);
}

void rig_close(void *fd)
{
    ck_assert_int_eq(close(*(int *)fd), 0);
    *(int *)fd = -1;
}

unsigned char *rig_pattern(void)
{
    unsigned char *p = malloc(RIG_MANY);

    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < RIG_MANY; i++)
        p[i] = (unsigned char)(i * 7 + i / 251);
    return p;
}

void rig_drain(void *args)
{
    rig_drain_args *a = args;
    unsigned char *all = rig_pattern(), part[65536];

    while (a->got < a->want) {
        ssize_t r = read(a->fd, part, sizeof part);

        ck_assert_int_gt(r, 0);
        ck_assert_uint_le(a->got + (size_t)r, RIG_MANY);
        ck_assert_mem_eq(part, all + a->got, (size_t)r);
        a->got += (size_t)r;
    }
    free(all);
}

void rig_leave(int status)
{
    (void)syscall(SYS_exit_group, status);
}

void rig_assert_blocking(int fd)
{
    int status = 0, copy = dup(fd), *on = fj__green_hooks()->on(), was = *on;
    pid_t pid = 0;

    *on = 0;

    ck_assert_int_ge(copy, 0);
    ck_assert_int_eq(fcntl(copy, F_GETFL) & O_NONBLOCK, 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        rig_leave((fcntl(copy, F_GETFL) & O_NONBLOCK) == 0 ? 0 : 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(close(copy), 0);
    *on = was;
}
