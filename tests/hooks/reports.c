/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of pthread mutexes in green tasks: circles where they are patched, and where they are not, what blocks the thread. */
#include "tests/hooks/scene.h"
#include "tests/support/rt.h"
#include "tests/support/said.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define told(first, second, n) ck_assert_msg(said(first, second) == (n), "%s", said_text())

static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER;

static void set_up(void)
{
    rt_begin();
    said_begin();
}

static fj_task *green(fj_task_fn fn, void *user, const char *name)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.name = name;
    opts.green = true;
    rt_code(fj_task_spawn(fn, user, &opts, &task, NULL), OK);
    return task;
}

RT_TASK(locks_both)
{
    pthread_mutex_t **two = user;

    ck_assert_int_eq(pthread_mutex_lock(two[0]), 0);
    rt_code(fj_yield(), OK);
    if (pthread_mutex_lock(two[1]) == 0)
        (void)pthread_mutex_unlock(two[1]);
    (void)pthread_mutex_unlock(two[0]);
    return FJ_OK;
}

/* Nothing ends such a circle: it is left in a process of its own. */
static void closes_a_circle(void)
{
    pthread_mutex_t *ab[2] = { &a, &b }, *ba[2] = { &b, &a };

    rt_code(fj_green_patch(FJ_PATCH_MUTEX, NULL), OK);
    fj_task_unref(green(locks_both, ab, "first"));
    fj_task_unref(green(locks_both, ba, "second"));
    rt_settle();
    told("error loop: a circle of waits: ", "none of them can go on", 1);
    told("a circle", "task \"first\" waits for pthread_mutex_t ", 1);
    told("error loop: task \"second\" waits for pthread_mutex_t ", "which task \"first\" holds, at ", 1);
    told("error loop: task \"first\" waits for pthread_mutex_t ", "which task \"second\" holds, at ", 1);
    told(NULL, NULL, 3);
    _exit(0);
}

static int in_a_process(void (*fn)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        rt_begin(); /* the loop there is the parent's */
        fn();
        _exit(1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(a_circle_of_patched_mutexes_is_told)
{
    ck_assert_int_eq(in_a_process(closes_a_circle), 0);
}
END_TEST

static void debug(void)
{
    fj_loop_set_slow_callback_duration(rt_loop, 3600);
    fj_loop_set_debug(rt_loop, true);
}

RT_TASK(waits_with_a)
{
    ck_assert_int_eq(pthread_mutex_lock(&a), 0);
    for (int i = 0; i < 3; i++)
        rt_code(fj_sleep(fj_in_ms(10)), OK);
    return pthread_mutex_unlock(&a) == 0 ? FJ_OK : FJ_STATE;
}

RT_TASK(waits_without)
{
    ck_assert_int_eq(pthread_mutex_lock(&a), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&a), 0);
    return fj_sleep(fj_in_ms(10));
}

START_TEST(a_wait_with_a_mutex_that_is_not_patched_is_told_once_a_place_in_debug_mode)
{
    rt_code(rt_join(green(waits_with_a, NULL, "early")), OK);
    told(NULL, NULL, 0);
    debug();
    rt_code(rt_join(green(waits_without, NULL, "tidy")), OK);
    told(NULL, NULL, 0);
    rt_code(rt_join(green(waits_with_a, NULL, "holder")), OK);
    rt_code(rt_join(green(waits_with_a, NULL, "again")), OK);
    told("warning loop: task \"holder\" waits for sleep and holds the pthread_mutex_t ", ", at ", 1);
    told(NULL, NULL, 1);
}
END_TEST

RT_TASK(wants_a)
{
    return pthread_mutex_lock(&a) == 0 ? FJ_OK : FJ_STATE;
}

static void checks_and_leaves(void)
{
    bool good = said("error loop: task \"wanter\" locks the pthread_mutex_t ",
                     "which task \"holder\" of the same thread holds: the thread blocks for ever, at ") == 1;

    _exit(good ? 7 : 8);
}

static void blocks_its_thread(void)
{
    debug();
    said_then("locks the pthread_mutex_t", checks_and_leaves);
    fj_task_unref(green(waits_with_a, NULL, "holder"));
    fj_task_unref(green(wants_a, NULL, "wanter"));
    rt_settle();
}

START_TEST(a_task_that_is_about_to_block_its_thread_for_ever_is_told_before)
{
    ck_assert_int_eq(in_a_process(blocks_its_thread), 7);
}
END_TEST

/* ---- a green task that blocks its loop ------------------------------------------------------------- */

FJ_API void spins_until_told(void);

__attribute__((noinline)) void spins_until_told(void)
{
    while (said("has blocked the loop", NULL) == 0)
        (void)sched_yield();
}

RT_TASK(spins)
{
    spins_until_told();
    return FJ_OK;
}

START_TEST(a_green_task_that_blocks_its_loop_is_told_with_its_name_and_stack)
{
    rt_code(fj_green_patch(FJ_PATCH_SOCKET | FJ_PATCH_TIME, NULL), OK);
    fj_loop_set_slow_callback_duration(rt_loop, 0.01);
    fj_loop_set_debug(rt_loop, true);
    rt_code(rt_join(green(spins, NULL, "calc.spin")), OK);
    told("warning loop: calc.spin has blocked the loop for ", "spins_until_told+0x", 1);
}
END_TEST

Suite *reports_suite(void)
{
    Suite *s = suite_create("hooks: reports");
    TCase *c = tcase_create("reports");

    tcase_add_checked_fixture(c, set_up, rt_end);
    tcase_set_timeout(c, 30);
    tcase_add_test(c, a_circle_of_patched_mutexes_is_told);
    tcase_add_test(c, a_wait_with_a_mutex_that_is_not_patched_is_told_once_a_place_in_debug_mode);
    tcase_add_test(c, a_task_that_is_about_to_block_its_thread_for_ever_is_told_before);
    tcase_add_test(c, a_green_task_that_blocks_its_loop_is_told_with_its_name_and_stack);
    suite_add_tcase(s, c);
    return s;
}
