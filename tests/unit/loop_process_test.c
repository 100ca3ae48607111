/* SPDX-License-Identifier: Apache-2.0 */
/* A loop and its process: signals, children, forks. */
#include "base/alloc.h"
#include "runtime/loop.h"

#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static fj_loop *loop;
static int caught, ended, last_status;
static atomic_int old_caught; /* lock-free: several threads may be in the handler */

static void set_up(void)
{
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
}

static void tear_down(void)
{
    loop = fj_loop_free(loop);
}

static fj_code turn(void)
{
    return fj_loop_turn(loop, fj_in_ms(0), NULL);
}

/* ---- signals ---- */

static void on_caught(fj_loop *l, int number, void *user)
{
    ck_assert_ptr_eq(l, loop);
    ck_assert_int_eq(number, SIGUSR1);
    caught += user != NULL ? 100 : 1;
}

static void on_old(int number)
{
    (void)number;
    atomic_fetch_add(&old_caught, 1);
}

START_TEST(a_signal_is_told_on_the_loop_and_its_disposition_restored)
{
    struct sigaction old = { .sa_handler = on_old }, now;

    ck_assert_int_eq(sigaction(SIGUSR1, &old, NULL), 0);
    ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, on_caught, NULL, NULL), FJ_OK);
    (void)raise(SIGUSR1);
    (void)raise(SIGUSR1);
    ck_assert_int_eq(caught, 0);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(caught, 1);
    (void)raise(SIGUSR1);
    ck_assert(fj_loop_remove_signal(loop, SIGUSR1));
    ck_assert(!fj_loop_remove_signal(loop, SIGUSR1));
    (void)turn();
    ck_assert_int_eq(caught, 1);
    ck_assert_int_eq(sigaction(SIGUSR1, NULL, &now), 0);
    ck_assert(now.sa_handler == on_old);
    (void)raise(SIGUSR1);
    ck_assert_int_eq(atomic_load(&old_caught), 1);
}
END_TEST

START_TEST(freeing_the_loop_restores_the_disposition)
{
    struct sigaction now;

    ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, on_caught, NULL, NULL), FJ_OK);
    (void)raise(SIGUSR1);
    tear_down();
    ck_assert_int_eq(sigaction(SIGUSR1, NULL, &now), 0);
    ck_assert(now.sa_handler == SIG_DFL);
}
END_TEST

START_TEST(a_signal_belongs_to_one_loop)
{
    fj_loop *other = NULL;

    ck_assert_int_eq(fj_loop_new(&other, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, on_caught, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_add_signal(other, SIGUSR1, on_caught, NULL, NULL), FJ_STATE);
    ck_assert(!fj_loop_remove_signal(other, SIGUSR1));
    ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, on_caught, loop, NULL), FJ_OK);
    (void)raise(SIGUSR1);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(caught, 100);
    fj_loop_free(other);
}
END_TEST

START_TEST(what_is_no_signal_or_cannot_be_caught_is_refused)
{
    ck_assert_int_eq(fj_loop_add_signal(loop, 0, on_caught, NULL, NULL), FJ_BAD_VALUE);
    ck_assert_int_eq(fj_loop_add_signal(loop, 10000, on_caught, NULL, NULL), FJ_BAD_VALUE);
    ck_assert_int_eq(fj_loop_add_signal(loop, SIGKILL, on_caught, NULL, NULL), FJ_BAD_VALUE);
    ck_assert(!fj_loop_remove_signal(loop, SIGKILL));
    ck_assert(!fj_loop_remove_signal(loop, -1));
}
END_TEST

static void *send_signals(void *stop)
{
    while (!atomic_load((atomic_bool *)stop))
        (void)kill(getpid(), SIGUSR1);
    return NULL;
}

START_TEST(a_signal_may_be_added_and_removed_under_fire)
{
    struct sigaction old = { .sa_handler = on_old };
    atomic_bool stop = false;
    pthread_t thread;

    ck_assert_int_eq(sigaction(SIGUSR1, &old, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, send_signals, &stop), 0);
    for (int i = 0; i < 300 || caught == 0; i++) {
        ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, on_caught, NULL, NULL), FJ_OK);
        (void)turn();
        ck_assert(fj_loop_remove_signal(loop, SIGUSR1));
    }
    atomic_store(&stop, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

/* ---- children ---- */

/* A child that ends, or kills itself by @p number, once told to by closing *@p hold. */
static pid_t bear(int status, int number, int *hold)
{
    int ends[2];
    char c;

    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)close(ends[1]);
        while (read(ends[0], &c, 1) < 0)
            ;
        if (number != 0)
            (void)kill(getpid(), number);
        _exit(status);
    }
    (void)close(ends[0]);
    *hold = ends[1];
    return pid;
}

static void on_ended(fj_loop *l, pid_t pid, int status, void *user)
{
    ck_assert_ptr_eq(l, loop);
    ck_assert_int_eq(pid, *(pid_t *)user);
    last_status = status;
    ended++;
    fj_loop_stop(l);
}

static int wait_for(pid_t *pid, int hold)
{
    ck_assert_int_eq(fj_loop_add_child(loop, *pid, on_ended, pid, NULL), FJ_OK);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    (void)close(hold);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    ck_assert_int_eq(waitpid(*pid, NULL, WNOHANG), -1); /* it is reaped */
    ck_assert_int_eq(errno, ECHILD);
    return last_status;
}

static void children_of_every_end(void)
{
    int hold;
    pid_t pid = bear(42, 0, &hold);
    int status = wait_for(&pid, hold);

    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 42);
    pid = bear(0, SIGKILL, &hold);
    status = wait_for(&pid, hold);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
    ck_assert_int_eq(ended, 2);
}

START_TEST(a_child_is_reaped_and_told_of)
{
    children_of_every_end();
}
END_TEST

static void forbid_pidfds(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = 4, .filter = code };

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    ck_assert_int_eq(syscall(SYS_pidfd_open, getpid(), 0), -1);
    ck_assert_int_eq(errno, ENOSYS);
}

START_TEST(without_pidfds_a_thread_waits)
{
    forbid_pidfds();
    children_of_every_end();
}
END_TEST

static void leave_two(void)
{
    int hold_a, hold_b;
    pid_t a = bear(1, 0, &hold_a), b = bear(2, 0, &hold_b);

    ck_assert_int_eq(fj_loop_add_child(loop, a, on_ended, &a, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_add_child(loop, b, on_ended, &b, NULL), FJ_OK);
    ck_assert(fj_loop_remove_child(loop, a));
    ck_assert(!fj_loop_remove_child(loop, a));
    tear_down();
    (void)close(hold_a);
    (void)close(hold_b);
    ck_assert_int_eq(waitpid(a, NULL, 0), a);
    ck_assert_int_eq(waitpid(b, NULL, 0), b);
    ck_assert_int_eq(ended, 0);
}

START_TEST(a_child_nobody_watches_any_more_is_left_alone)
{
    leave_two();
}
END_TEST

START_TEST(a_child_nobody_watches_any_more_is_left_alone_by_the_thread)
{
    forbid_pidfds();
    leave_two();
}
END_TEST

START_TEST(who_is_not_a_child_is_refused)
{
    ck_assert_int_eq(fj_loop_add_child(loop, getpid(), on_ended, NULL, NULL), FJ_SYSTEM);
    ck_assert(!fj_loop_remove_child(loop, getpid()));
}
END_TEST

START_TEST(a_child_somebody_else_has_reaped_ended_with_255)
{
    int hold;
    pid_t pid = bear(3, 0, &hold);

    ck_assert_int_eq(fj_loop_add_child(loop, pid, on_ended, &pid, NULL), FJ_OK);
    (void)close(hold);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
    ck_assert_int_eq(WEXITSTATUS(last_status), 255);
}
END_TEST

START_TEST(no_memory_for_a_child_is_told)
{
    int hold;
    pid_t pid = bear(0, 0, &hold);

    forbid_pidfds();
    for (unsigned long nth = 1; nth <= 2; nth++) {
        (void)fj__alloc_fail(nth, false);
        ck_assert_int_eq(fj_loop_add_child(loop, pid, on_ended, &pid, NULL), FJ_NOMEM);
    }
    (void)fj__alloc_fail(0, false);
    (void)close(hold);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* ---- forks ---- */

/* What a child found, as its exit status. */
static int in_child(int (*look)(void))
{
    int status = -1;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(look());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int forked_runs(void)
{
    fj_loop *own = NULL;

    if (fj_loop_run_forever(loop, NULL) != FJ_FORKED || fj_loop_turn(loop, fj_never(), NULL) != FJ_FORKED ||
        fj_loop_call_soon_threadsafe(loop, NULL, NULL, NULL) != FJ_FORKED)
        return 1;
    fj_loop_stop(loop);
    if (fj_loop_current(&own, NULL) != FJ_OK || own == loop)
        return 2;
    if (fj_loop_turn(own, fj_in_ms(0), NULL) != FJ_TIMEOUT)
        return 3;
    fj_loop_free(own);
    fj_loop_free(loop);
    return 0;
}

START_TEST(a_loop_made_before_a_fork_says_so_and_the_child_gets_its_own)
{
    fj_loop_set_current(loop);
    ck_assert_int_eq(in_child(forked_runs), 0);
    ck_assert_int_eq(turn(), FJ_TIMEOUT); /* nothing of it woke this one */
}
END_TEST

static int in_call_back_child, parent;

static void on_fork(fj_loop *l, void *user)
{
    (void)user;
    ck_assert_ptr_eq(fj_loop_running(), l);
    pid_t pid = fork();
    if (pid != 0) {
        parent = pid;
        return;
    }
    in_call_back_child = fj_loop_running() == NULL && fj__loop_domain() == NULL;
}

START_TEST(a_child_born_in_a_call_back_leaves_the_run)
{
    int status = -1;

    ck_assert_int_eq(fj_loop_call_soon(loop, on_fork, NULL, NULL, NULL), FJ_OK);
    fj_code code = turn();
    if (parent == 0) /* the child */
        _exit(code == FJ_FORKED && in_call_back_child ? 0 : 1);
    ck_assert_int_eq(code, FJ_OK);
    ck_assert_int_eq(waitpid(parent, &status, 0), parent);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

static int raise_inherited(void)
{
    (void)raise(SIGUSR1);
    return 0;
}

static int own_signal(void)
{
    fj_loop *inherited = loop;
    struct sigaction now;

    if (fj_loop_new(&loop, NULL) != FJ_OK || fj_loop_add_signal(loop, SIGUSR1, on_caught, NULL, NULL) != FJ_OK)
        return 1;
    (void)raise(SIGUSR1);
    if (turn() != FJ_OK || caught != 1)
        return 2;
    fj_loop_free(loop);
    fj_loop_free(inherited);
    return sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == SIG_DFL ? 0 : 3;
}

START_TEST(a_forked_child_dies_of_the_signal_its_parent_catches_or_catches_it_itself)
{
    ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, on_caught, NULL, NULL), FJ_OK);
    ck_assert_int_eq(in_child(raise_inherited), 1000 + SIGUSR1);
    ck_assert_int_eq(turn(), FJ_TIMEOUT);
    ck_assert_int_eq(in_child(own_signal), 0);
    (void)raise(SIGUSR1);
    ck_assert_int_eq(turn(), FJ_OK);
    ck_assert_int_eq(caught, 1);
}
END_TEST

START_TEST(a_debugged_loop_may_be_freed_in_a_child)
{
    fj_loop_set_debug(loop, true);
    ck_assert_int_eq(in_child(forked_runs), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("loop and process");
    TCase *t = tcase_create("process");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_signal_is_told_on_the_loop_and_its_disposition_restored);
    tcase_add_test(t, freeing_the_loop_restores_the_disposition);
    tcase_add_test(t, a_signal_belongs_to_one_loop);
    tcase_add_test(t, what_is_no_signal_or_cannot_be_caught_is_refused);
    tcase_add_test(t, a_signal_may_be_added_and_removed_under_fire);
    tcase_add_test(t, a_child_is_reaped_and_told_of);
    tcase_add_test(t, without_pidfds_a_thread_waits);
    tcase_add_test(t, a_child_nobody_watches_any_more_is_left_alone);
    tcase_add_test(t, a_child_nobody_watches_any_more_is_left_alone_by_the_thread);
    tcase_add_test(t, who_is_not_a_child_is_refused);
    tcase_add_test(t, a_child_somebody_else_has_reaped_ended_with_255);
    tcase_add_test(t, no_memory_for_a_child_is_told);
    tcase_add_test(t, a_loop_made_before_a_fork_says_so_and_the_child_gets_its_own);
    tcase_add_test(t, a_child_born_in_a_call_back_leaves_the_run);
    tcase_add_test(t, a_forked_child_dies_of_the_signal_its_parent_catches_or_catches_it_itself);
    tcase_add_test(t, a_debugged_loop_may_be_freed_in_a_child);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
