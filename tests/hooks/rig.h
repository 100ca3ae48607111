/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HOOKS_RIG_H
#define TESTS_HOOKS_RIG_H
/* What the suites of the hooks share. */
#include "tests/hooks/toy.h"

#include <check.h>

/** Two ends: sockets, or a pipe (0 reads).  Closed by rig_end(). */
extern int rig_ends[2];
void rig_pair(int type);
void rig_pipe(void);
/** For tcase_add_checked_fixture: all groups but mutex are on, and this thread is green. */
void rig_begin(void);
void rig_end(void);

/** A listening TCP socket on the loopback.  @p ret_to is where it is */
int rig_listen(int backlog, struct sockaddr *ret_to, socklen_t *ret_n);

/** Helpers, for toy_when_suspended(). */
void rig_write_a(void *fd); /* one byte, 'a', to *(int *)fd */
void rig_close(void *fd);
/** Reads to the end of *(int *)fd and checks that it is rig_pattern. */
typedef struct {
    int fd;
    size_t want, got;
} rig_drain_args;
void rig_drain(void *args);

/** Bytes that are all different from their neighbours. */
#define RIG_MANY ((size_t)3 << 20)
unsigned char *rig_pattern(void);

/** Whether there are terminals: a bare chroot has no /dev/pts. */
bool rig_has_terminals(void);
/** A terminal.  @param ret_leader who sits before it   @return the program's end; asserts */
int rig_terminal(int *ret_leader);

/** End a child at once: what a sanitizer does at _exit() is for processes with all their threads. */
void rig_leave(int status);

/** Whether a description is blocking, as another process sees it; asserts. */
void rig_assert_blocking(int fd);

/** -1 with this errno. */
#define rig_fails(call, error)             \
    do {                                   \
        errno = 0;                         \
        ck_assert_int_eq((int)(call), -1); \
        ck_assert_int_eq(errno, (error));  \
    } while (0)

Suite *sockets_suite(void);
Suite *rw_suite(void);
Suite *connect_suite(void);
Suite *close_suite(void);
Suite *poll_suite(void);
Suite *sleep_suite(void);
Suite *dns_suite(void);
Suite *process_suite(void);
Suite *fortified_suite(void);
Suite *state_suite(void);
Suite *matrix_suite(void);

#endif
