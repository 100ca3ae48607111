/* SPDX-License-Identifier: Apache-2.0 */
/* The profiler: what runs is seen, by its task and method; and what remains of it when it is off. */
#include "runtime/local.h"
#include "runtime/loop_look.h"
#include "runtime/profile.h"
#include "tests/support/leaks.h"
#include "tests/support/valgrind.h"

#include <fjord/await.h>
#include <fjord/loop.h>
#include <fjord/task.h>

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_bool enough;
static atomic_uint spinning;

static void set_up(void)
{
    atomic_store(&enough, false);
    atomic_store(&spinning, 0);
    leaks_begin();
}

static void tear_down(void)
{
    (void)fj__profile_stop();
    leaks_end("the end");
}

static void start(unsigned hz, double seconds)
{
    fj_error *err = NULL;
    fj_code code = fj__profile_start(hz, seconds, &err);

    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
}

/* Static on purpose: only the file's own table of symbols knows them. */
__attribute__((noinline)) static unsigned spin_in_thread(void)
{
    unsigned n = 0;

    (void)atomic_fetch_add(&spinning, 1);
    while (!atomic_load_explicit(&enough, memory_order_relaxed))
        __asm__ volatile("" : "+r"(n));
    return n + 1;
}

static void *run_thread(void *user)
{
    unsigned n;

    (void)user;
    (void)pthread_setname_np(pthread_self(), "plain");
    n = spin_in_thread();
    __asm__ volatile("" : "+r"(n));
    return NULL;
}

static void describe(const void *request, fj__look_request *ret)
{
    ret->method = request;
}

__attribute__((noinline)) static unsigned spin_in_task(void)
{
    unsigned n = spin_in_thread();

    __asm__ volatile("" : "+r"(n)); /* or it would be a tail call */
    return n;
}

static fj_code task(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    *fj__local(FJ__LOCAL_REQUEST) = user;
    (void)spin_in_task();
    *fj__local(FJ__LOCAL_REQUEST) = NULL;
    return FJ_OK;
}

static void *loop_thread(void *user)
{
    fj_loop *loop = NULL;
    fj_task *spawned = NULL;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    ck_assert(fj_loop_new(&loop, NULL) == FJ_OK);
    opts.loop = loop;
    opts.name = "spinner";
    ck_assert(fj_task_spawn(task, user, &opts, &spawned, NULL) == FJ_OK);
    ck_assert(fj_loop_run_until_complete(loop, fj_task_future(spawned), NULL, NULL) == FJ_OK);
    (void)fj_task_unref(spawned);
    (void)fj_loop_free(loop);
    return NULL;
}

static json_int_t samples(void)
{
    json_t *all = fj__profile_json(false);
    json_int_t n = json_integer_value(json_object_get(all, "samples"));

    json_decref(all);
    return n;
}

/* How many samples have both texts in their stack. */
static json_int_t seen(const char *root, const char *function)
{
    json_t *all = fj__profile_json(true), *each;
    size_t i;
    json_int_t n = 0;

    json_array_foreach(json_object_get(all, "stacks"), i, each)
    {
        const char *stack = json_string_value(json_object_get(each, "stack"));
        if (strncmp(stack, root, strlen(root)) == 0 && strstr(stack, function) != NULL)
            n += json_integer_value(json_object_get(each, "samples"));
    }
    json_decref(all);
    return n;
}

START_TEST(threads_and_tasks_are_seen_where_they_spend_their_time_and_for_which_method)
{
    pthread_t plain, loop;

    fj__look_set_requests(describe);
    start(200, 0);
    ck_assert_int_eq(pthread_create(&plain, NULL, run_thread, NULL), 0); /* which begin after it does */
    ck_assert_int_eq(pthread_create(&loop, NULL, loop_thread, (void *)(uintptr_t) "attach"), 0);
    while (seen("method attach;", "spin_in_task;spin_in_thread") < 3 ||
           seen("thread plain;", "run_thread;spin_in_thread") < 3)
        (void)sched_yield();
    ck_assert(fj__profile_stop());
    json_t *all = fj__profile_json(true);
    ck_assert(json_integer_value(json_object_get(json_object_get(all, "methods"), "attach")) >= 3);
    ck_assert(json_is_false(json_object_get(all, "on")));
    json_decref(all);
    atomic_store(&enough, true);
    ck_assert_int_eq(pthread_join(plain, NULL), 0);
    ck_assert_int_eq(pthread_join(loop, NULL), 0);
}
END_TEST

START_TEST(without_a_method_a_task_is_seen_by_its_name)
{
    pthread_t loop;

    ck_assert_int_eq(pthread_create(&loop, NULL, loop_thread, NULL), 0);
    start(0, 0);
    while (seen("task spinner;", "spin_in_task;spin_in_thread") == 0)
        (void)sched_yield();
    atomic_store(&enough, true);
    ck_assert_int_eq(pthread_join(loop, NULL), 0);
}
END_TEST

START_TEST(it_is_on_once_and_what_it_saw_stays_until_the_next)
{
    pthread_t plain;

    ck_assert(!fj__profile_stop());
    ck_assert_int_eq(samples(), 0);
    ck_assert_int_eq(pthread_create(&plain, NULL, run_thread, NULL), 0);
    start(1000, 0);
    ck_assert(fj__profile_start(0, 0, NULL) == FJ_STATE);
    while (samples() == 0)
        (void)sched_yield();
    ck_assert(fj__profile_stop());
    ck_assert(!fj__profile_stop());
    json_int_t before = samples();
    ck_assert(before > 0);
    atomic_store(&enough, true);
    ck_assert_int_eq(pthread_join(plain, NULL), 0);
    ck_assert_int_eq(samples(), before);
    start(1, 0);
    ck_assert_int_eq(samples(), 0);
}
END_TEST

START_TEST(it_ends_by_itself_when_it_was_told_to)
{
    start(99, 0.01);
    for (bool on = true; on; (void)sched_yield()) {
        json_t *all = fj__profile_json(false);
        on = json_is_true(json_object_get(all, "on"));
        json_decref(all);
    }
    ck_assert(!fj__profile_stop()); /* it was over */
    start(99, 0.01);
}
END_TEST

static void own(int number)
{
    (void)number;
}

START_TEST(a_program_with_a_use_of_its_own_for_the_signal_keeps_it)
{
    struct sigaction mine, now;

    memset(&mine, 0, sizeof mine);
    mine.sa_handler = own;
    ck_assert_int_eq(sigaction(SIGPROF, &mine, NULL), 0);
    ck_assert(fj__profile_start(0, 0, NULL) == FJ_STATE);
    ck_assert_int_eq(sigaction(SIGPROF, NULL, &now), 0);
    ck_assert(now.sa_handler == own);
    mine.sa_handler = SIG_DFL;
    ck_assert_int_eq(sigaction(SIGPROF, &mine, NULL), 0);
    start(0, 0);
    ck_assert(fj__profile_stop());
    ck_assert_int_eq(raise(SIGPROF), 0); /* one that is late kills nobody */
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    ck_assert(fj__profile_start(1001, 0, NULL) == FJ_BAD_VALUE);
    ck_assert(fj__profile_start(0, -1, NULL) == FJ_BAD_VALUE);
    ck_assert(fj__profile_start(0, 1e9, NULL) == FJ_BAD_VALUE);
}
END_TEST

START_TEST(a_child_of_fork_is_not_profiled)
{
    int status = 0;

    start(1000, 0);
    pid_t pid = fork();
    if (pid == 0) {
        json_t *all = fj__profile_json(true);
        bool good = json_is_false(json_object_get(all, "on")) && !fj__profile_stop();
        json_decref(all);
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert(fj__profile_stop());
}
END_TEST

/* Tasks that do nothing but switch: the handler comes in the midst of switches, too. */
static fj_code switcher(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    while (!atomic_load(&enough)) {
        fj_code code = fj_sleep(fj_in_ms(0));
        if (code != FJ_OK && code != FJ_TIMEOUT)
            return code;
    }
    return FJ_OK;
}

static void *switches(void *user)
{
    fj_loop *loop = NULL;
    fj_task *tasks[4];
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    (void)user;
    ck_assert(fj_loop_new(&loop, NULL) == FJ_OK);
    opts.loop = loop;
    for (size_t i = 0; i < 4; i++)
        ck_assert(fj_task_spawn(switcher, NULL, &opts, &tasks[i], NULL) == FJ_OK);
    for (size_t i = 0; i < 4; i++) {
        ck_assert(fj_loop_run_until_complete(loop, fj_task_future(tasks[i]), NULL, NULL) == FJ_OK);
        (void)fj_task_unref(tasks[i]);
    }
    (void)fj_loop_free(loop);
    return NULL;
}

START_TEST(switches_between_stacks_may_be_interrupted_anywhere)
{
    pthread_t loop;

    ck_assert_int_eq(pthread_create(&loop, NULL, switches, NULL), 0);
    start(1000, 0);
    while (samples() < 500)
        (void)sched_yield();
    atomic_store(&enough, true);
    ck_assert_int_eq(pthread_join(loop, NULL), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("profile");
    TCase *tc = tcase_create("profile");
    SRunner *r = srunner_create(s);

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    if (!ON_VALGRIND) { /* which cannot grow the main thread's stack for a handler */
        tcase_add_test(tc, threads_and_tasks_are_seen_where_they_spend_their_time_and_for_which_method);
        tcase_add_test(tc, without_a_method_a_task_is_seen_by_its_name);
        tcase_add_test(tc, it_is_on_once_and_what_it_saw_stays_until_the_next);
        tcase_add_test(tc, switches_between_stacks_may_be_interrupted_anywhere);
    }
    tcase_add_test(tc, it_ends_by_itself_when_it_was_told_to);
    tcase_add_test(tc, a_program_with_a_use_of_its_own_for_the_signal_keeps_it);
    tcase_add_test(tc, what_makes_no_sense_is_refused);
    tcase_add_test(tc, a_child_of_fork_is_not_profiled);
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
