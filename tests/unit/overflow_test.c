/* SPDX-License-Identifier: Apache-2.0 */
/* What happens when a fibre needs more than its stack, and when a process dies of something else. */
#include "base/alloc.h"
#include "runtime/fibre.h"
#include <check.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    int status;
    char said[4000];
} death;

/* What a child says on stderr while it does @p what, and how it ends. */
static death die(void (*what)(void))
{
    death d = { .said = "" };
    int ends[2];
    size_t used = 0;

    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        what();
        _exit(0);
    }
    (void)close(ends[1]);
    while (used < sizeof d.said - 1) {
        ssize_t n = read(ends[0], d.said + used, sizeof d.said - 1 - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    (void)close(ends[0]);
    ck_assert_int_eq(waitpid(child, &d.status, 0), child);
    return d;
}

static bool ended_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static volatile int sink;

__attribute__((noinline)) static int deeper(int n)
{
    volatile char room[512];

    room[0] = (char)n;
    sink += room[0];
    return n < 1 << 20 ? deeper(n + 1) + room[0] : 0;
}

static void goes_too_deep(void *arg)
{
    (void)arg;
    sink = deeper(0);
}

static void overflow(void)
{
    fj__fibre f;

    if (fj__fibre_init(&f, FJ__STACK_CORO, goes_too_deep, NULL, NULL) != FJ_OK)
        _exit(0);
    f.name = "calc.add";
    (void)fj__fibre_resume(&f);
}

START_TEST(an_overflow_says_whose_stack_and_how_large)
{
    death d = die(overflow);

    ck_assert_msg(strstr(d.said, "fjord: task \"calc.add\" overflowed its stack of 32768 bytes") != NULL,
                  "said: %s", d.said);
    ck_assert_ptr_nonnull(strstr(d.said, "fj_task_opts"));
    ck_assert(!ended_well(d.status));
}
END_TEST

static void *overflow_there(void *arg)
{
    overflow();
    return arg;
}

static void overflow_in_a_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, overflow_there, NULL) == 0)
        (void)pthread_join(thread, NULL);
}

START_TEST(an_overflow_in_another_thread_is_told_too)
{
    death d = die(overflow_in_a_thread);

    ck_assert_msg(strstr(d.said, "task \"calc.add\" overflowed") != NULL, "said: %s", d.said);
    ck_assert(!ended_well(d.status));
}
END_TEST

static void on_fault(int number)
{
    _exit(number == SIGSEGV ? 42 : 43);
}

static void with_a_handler(void)
{
    struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };

    (void)sigaction(SIGSEGV, &action, NULL);
    overflow();
}

START_TEST(after_the_report_the_handler_that_was_there_is_called)
{
    death d = die(with_a_handler);

    ck_assert(WIFEXITED(d.status));
    ck_assert_int_eq(WEXITSTATUS(d.status), 42);
    ck_assert_ptr_nonnull(strstr(d.said, "overflowed"));
}
END_TEST

/* A byte that must not be written.  (A checker of memory would be first at one that is not there.) */
static volatile char *forbidden(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        _exit(1);
    return page;
}

static void fault_elsewhere(void)
{
    struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };
    volatile char *at = forbidden();

    (void)sigaction(SIGSEGV, &action, NULL);
    if (fj__stack_watch_overflow(NULL) == FJ_OK)
        *at = 'x';
}

START_TEST(a_fault_elsewhere_is_passed_on_without_a_word)
{
    death d = die(fault_elsewhere);

    ck_assert(WIFEXITED(d.status));
    ck_assert_int_eq(WEXITSTATUS(d.status), 42);
    ck_assert_ptr_null(strstr(d.said, "overflowed"));
}
END_TEST

static void bare(struct sigaction action)
{
    (void)sigaction(SIGSEGV, &action, NULL);
    if (fj__stack_watch_overflow(NULL) != FJ_OK)
        _exit(1);
}

static void killed_by_default(void)
{
    bare((struct sigaction){ .sa_handler = SIG_DFL });
    (void)raise(SIGSEGV);
}

static void faults_by_default(void)
{
    volatile char *at = forbidden();

    bare((struct sigaction){ .sa_handler = SIG_DFL });
    *at = 'x';
}

static void killed_but_ignores(void)
{
    bare((struct sigaction){ .sa_handler = SIG_IGN });
    (void)raise(SIGSEGV);
}

START_TEST(without_another_handler_the_signal_does_what_it_did)
{
    int killed = die(killed_by_default).status, faulted = die(faults_by_default).status;

    ck_assert(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGSEGV);
    ck_assert(WIFSIGNALED(faulted) && WTERMSIG(faulted) == SIGSEGV);
    ck_assert(ended_well(die(killed_but_ignores).status));
}
END_TEST

START_TEST(a_signal_stack_that_is_there_is_kept)
{
    static char room[128 * 1024];
    stack_t mine = { .ss_sp = room, .ss_size = sizeof room }, now, none = { .ss_flags = SS_DISABLE };

    ck_assert_int_eq(sigaltstack(&mine, NULL), 0);
    ck_assert_int_eq(fj__stack_watch_overflow(NULL), FJ_OK);
    ck_assert_int_eq(sigaltstack(NULL, &now), 0);
    ck_assert_ptr_eq(now.ss_sp, room);
    ck_assert_int_eq(sigaltstack(&none, NULL), 0);
}
END_TEST

START_TEST(without_memory_there_is_no_watch)
{
    stack_t none = { .ss_flags = SS_DISABLE };

    ck_assert_int_eq(sigaltstack(&none, NULL), 0);
    (void)fj__alloc_fail(1, true);
    fj_code code = fj__stack_watch_overflow(NULL);
    (void)fj__alloc_fail(0, false);
    ck_assert_int_eq(code, FJ_NOMEM);
    ck_assert_int_eq(fj__stack_watch_overflow(NULL), FJ_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("overflow");
    TCase *tests = tcase_create("overflow");

    tcase_add_test(tests, an_overflow_says_whose_stack_and_how_large);
    tcase_add_test(tests, an_overflow_in_another_thread_is_told_too);
    tcase_add_test(tests, after_the_report_the_handler_that_was_there_is_called);
    tcase_add_test(tests, a_fault_elsewhere_is_passed_on_without_a_word);
    tcase_add_test(tests, without_another_handler_the_signal_does_what_it_did);
    tcase_add_test(tests, a_signal_stack_that_is_there_is_kept);
    tcase_add_test(tests, without_memory_there_is_no_watch);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
