/* SPDX-License-Identifier: Apache-2.0 */
/* What loops say of themselves to other threads. */
#include "base/alloc.h"
#include "base/inspect.h"
#include "runtime/loop.h"

#include <fjord/await.h>
#include <fjord/sync.h>
#include <fjord/task.h>

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static fj_loop *loop;
static pthread_t runner;
static fj_mutex *mutex;
static sem_t up;
static atomic_bool release;

static json_t *ask(double seconds)
{
    json_t *all = NULL;

    ck_assert(fj_inspect("loop", fj_in_seconds(seconds), &all, NULL) == FJ_OK);
    return all;
}

static json_t *only(json_t *all)
{
    ck_assert_uint_eq(json_array_size(all), 1);
    return json_array_get(all, 0);
}

static const char *text(const json_t *of, const char *key)
{
    const char *value = json_string_value(json_object_get(of, key));

    return value != NULL ? value : "";
}

static json_t *named(const json_t *list, const char *key, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(text(json_array_get(list, i), key), name) == 0)
            return json_array_get(list, i);
    }
    return NULL;
}

/* Ask until the task named so waits. */
static json_t *until_waits(const char *name, json_t **ret_task)
{
    for (;;) {
        json_t *all = ask(60);
        *ret_task = named(json_object_get(only(all), "tasks"), "name", name);
        if (*ret_task != NULL && strcmp(text(*ret_task, "state"), "waiting") == 0)
            return all;
        json_decref(all);
        (void)sched_yield();
    }
}

static void *run(void *user)
{
    (void)pthread_setname_np(pthread_self(), "the-runner");
    (void)sem_post(&up);
    ck_assert(fj_loop_run_forever(user, NULL) == FJ_OK);
    return NULL;
}

static void set_up(void)
{
    (void)sem_init(&up, 0, 0);
    atomic_store(&release, false);
    ck_assert(fj_loop_new(&loop, NULL) == FJ_OK);
    ck_assert(fj_mutex_new("ledger", 0, &mutex) == FJ_OK);
}

static void start(void)
{
    ck_assert_int_eq(pthread_create(&runner, NULL, run, loop), 0);
    (void)sem_wait(&up);
}

static void stop(void)
{
    fj_loop_stop(loop);
    ck_assert_int_eq(pthread_join(runner, NULL), 0);
}

static void tear_down(void)
{
    loop = fj_loop_free(loop);
    fj_mutex_free(mutex);
    (void)sem_destroy(&up);
}

static void spawn(fj_task_fn fn, void *user, const char *name)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.name = name;
    opts.loop = loop;
    ck_assert(fj_task_spawn(fn, user, &opts, NULL, NULL) == FJ_OK);
}

/* Not inlined, and visible: it is in the backtrace. */
__attribute__((noinline)) FJ_API fj_code sleeps_very_long(void);
FJ_AWAITS fj_code sleeps_very_long(void)
{
    fj_code code = fj_sleep(fj_in_seconds(3600));

    __asm__ volatile("" : "+r"(code)); /* or it would be a tail call */
    return code;
}

static fj_code sleeper(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    return sleeps_very_long();
}

static fj_code holder(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    fj_code code = fj_mutex_lock(mutex, fj_never());
    if (code == FJ_OK) {
        code = fj_sleep(fj_in_seconds(3600));
        (void)fj_mutex_unlock(mutex);
    }
    return code;
}

static fj_code wanter(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    fj_code code = fj_mutex_lock(mutex, fj_never());
    if (code == FJ_OK)
        (void)fj_mutex_unlock(mutex);
    return code;
}

static bool in_trace(const json_t *trace, const char *name)
{
    for (size_t i = 0; i < json_array_size(trace); i++) {
        if (strncmp(json_string_value(json_array_get(trace, i)), name, strlen(name)) == 0)
            return true;
    }
    return false;
}

START_TEST(tasks_tell_what_they_wait_for_for_how_long_and_where)
{
    json_t *task = NULL;

    spawn(sleeper, NULL, "sleeper");
    spawn(holder, NULL, "holder");
    spawn(wanter, NULL, "wanter");
    start();
    json_t *all = until_waits("wanter", &task);
    ck_assert_str_eq(text(task, "waiting_for"), "mutex \"ledger\"");
    ck_assert(json_is_null(json_object_get(task, "ends_in")));
    json_decref(all);
    all = until_waits("sleeper", &task);
    ck_assert_str_eq(text(task, "waiting_for"), "sleep");
    ck_assert(json_real_value(json_object_get(task, "age")) >= 0.);
    ck_assert(json_real_value(json_object_get(task, "waited")) >= 0.);
    double ends = json_real_value(json_object_get(task, "ends_in"));
    ck_assert(ends > 0. && ends <= 3600.);
    ck_assert(json_integer_value(json_object_get(task, "id")) > 0);
    ck_assert(json_integer_value(json_object_get(task, "stack_bytes")) > 0);
    ck_assert(in_trace(json_object_get(task, "backtrace"), "sleeps_very_long+0x"));
    json_t *one = only(all);
    ck_assert_str_eq(text(one, "thread"), "the-runner");
    ck_assert(json_is_true(json_object_get(one, "running")) && json_is_null(json_object_get(one, "blocked")));
    ck_assert_ptr_nonnull(named(json_object_get(one, "timers"), "what", "task sleeper"));
    json_int_t id = json_integer_value(json_object_get(task, "id"));
    json_decref(all);
    all = until_waits("sleeper", &task);
    ck_assert_int_eq(json_integer_value(json_object_get(task, "id")), id);
    json_decref(all);
    stop();
}
END_TEST

static void never(fj_loop *l, int fd, void *user)
{
    (void)l, (void)fd, (void)user;
}

static void nothing(fj_loop *l, void *user)
{
    (void)l, (void)user;
}

START_TEST(a_loop_tells_its_timers_soonest_first_and_what_it_watches)
{
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    ck_assert(fj_loop_add_reader(loop, fds[0], never, NULL, NULL) == FJ_OK);
    ck_assert(fj_loop_call_later(loop, 200, nothing, NULL, "later", NULL) == FJ_OK);
    ck_assert(fj_loop_call_later(loop, 100, nothing, NULL, "sooner", NULL) == FJ_OK);
    ck_assert(fj_loop_call_later(loop, 300, nothing, NULL, "last", NULL) == FJ_OK);
    start();
    json_t *all = ask(60), *timers = json_object_get(only(all), "timers");
    ck_assert_uint_eq(json_array_size(timers), 3);
    ck_assert_str_eq(text(json_array_get(timers, 0), "what"), "sooner");
    ck_assert_str_eq(text(json_array_get(timers, 1), "what"), "later");
    ck_assert_str_eq(text(json_array_get(timers, 2), "what"), "last");
    json_t *watched = json_array_get(json_object_get(only(all), "watchers"), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(watched, "fd")), fds[0]);
    ck_assert(json_is_true(json_object_get(watched, "read")) &&
              json_is_false(json_object_get(watched, "write")));
    json_decref(all);
    stop();
    ck_assert(fj_loop_remove_reader(loop, fds[0]));
    (void)close(fds[0]);
    (void)close(fds[1]);
}
END_TEST

__attribute__((noinline)) FJ_API void keeps_the_loop_busy(void);
void keeps_the_loop_busy(void)
{
    (void)sem_post(&up);
    while (!atomic_load(&release))
        (void)sched_yield();
    atomic_store(&release, false); /* not a tail call */
}

static fj_code hog(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    keeps_the_loop_busy();
    return FJ_OK;
}

START_TEST(a_loop_that_does_not_answer_is_told_as_blocked_with_what_blocks_it_and_where)
{
    start();
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    opts.name = "hog";
    opts.loop = loop;
    ck_assert(fj_task_spawn_threadsafe(hog, NULL, &opts, NULL, NULL) == FJ_OK);
    (void)sem_wait(&up);
    for (int i = 0; i < 10; i++) { /* more often than it takes questions */
        json_t *all = ask(0.02), *one = only(all);
        ck_assert(json_is_true(json_object_get(one, "running")));
        ck_assert(json_is_number(json_object_get(one, "blocked")));
        ck_assert_str_eq(text(one, "blocked_by"), "hog");
        ck_assert_str_eq(text(one, "thread"), "the-runner");
        ck_assert(in_trace(json_object_get(one, "backtrace"), "keeps_the_loop_busy+0x"));
        json_decref(all);
    }
    atomic_store(&release, true);
    json_t *all = NULL;
    do { /* what it was asked before is answered first, to nobody */
        json_decref(all);
        all = ask(60);
    } while (!json_is_null(json_object_get(only(all), "blocked")));
    ck_assert_uint_eq(json_array_size(json_object_get(only(all), "tasks")), 0);
    json_decref(all);
    stop();
}
END_TEST

START_TEST(a_loop_that_nobody_runs_says_so)
{
    json_t *all = ask(60);

    ck_assert(json_is_false(json_object_get(only(all), "running")));
    ck_assert(json_is_null(json_object_get(only(all), "blocked")));
    json_decref(all);
    start();
    all = ask(60);
    ck_assert(json_is_true(json_object_get(only(all), "running")));
    json_decref(all);
    stop();
}
END_TEST

START_TEST(private_loops_that_nobody_runs_are_not_there)
{
    fj__loop_set_private(loop, true);
    json_t *all = ask(60);
    ck_assert_uint_eq(json_array_size(all), 0);
    json_decref(all);
}
END_TEST

enum { MANY = 3000, TOLD = 1000 };

START_TEST(of_thousands_of_tasks_the_oldest_are_told_and_the_others_counted)
{
    char name[32];
    json_t *task = NULL;

    spawn(sleeper, NULL, "first");
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "task-%d", i);
        spawn(sleeper, NULL, name);
    }
    start();
    json_t *all = until_waits("first", &task);
    json_t *tasks = json_object_get(only(all), "tasks");
    ck_assert_uint_eq(json_array_size(tasks), TOLD);
    ck_assert_str_eq(text(json_array_get(tasks, 0), "name"), "first");
    ck_assert_str_eq(text(json_array_get(tasks, 1), "name"), "task-0");
    ck_assert_int_eq(json_integer_value(json_object_get(only(all), "tasks_more")), MANY + 1 - TOLD);
    json_decref(all);
    stop();
}
END_TEST

static atomic_bool enough;

static void *ask_on(void *user)
{
    (void)user;
    while (!atomic_load(&enough))
        json_decref(ask(60));
    return NULL;
}

static fj_code brief(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    return fj_sleep(fj_in_seconds(0.0001));
}

static fj_code breeder(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    for (int i = 0; i < 200; i++) {
        spawn(brief, NULL, "brief");
        ck_assert(fj_sleep(fj_in_ms(0)) == FJ_OK);
    }
    (void)sem_post(user);
    return FJ_OK;
}

START_TEST(several_may_ask_while_tasks_come_and_go_and_loops_too)
{
    pthread_t askers[3];
    sem_t bred;

    atomic_store(&enough, false);
    (void)sem_init(&bred, 0, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&askers[i], NULL, ask_on, NULL), 0);
    for (int i = 0; i < 10; i++) {
        spawn(breeder, &bred, "breeder");
        start();
        (void)sem_wait(&bred);
        stop();
        loop = fj_loop_free(loop); /* with questions in its inbox */
        ck_assert(fj_loop_new(&loop, NULL) == FJ_OK);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(askers[i], NULL), 0);
    (void)sem_destroy(&bred);
}
END_TEST

START_TEST(a_child_of_fork_sees_its_own_loops_only)
{
    start();
    pid_t pid = fork();
    if (pid == 0) {
        fj_loop *own = NULL;
        json_t *all = ask(60);
        bool good = json_array_size(all) == 0 && fj_loop_new(&own, NULL) == FJ_OK;
        json_decref(all);
        (void)fj_loop_free(loop); /* the parent's */
        all = ask(60);
        good = good && json_array_size(all) == 1;
        _exit(good ? 0 : 1);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    stop();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("loop_inspect");
    TCase *tc = tcase_create("loops");
    SRunner *r = srunner_create(s);

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, tasks_tell_what_they_wait_for_for_how_long_and_where);
    tcase_add_test(tc, a_loop_tells_its_timers_soonest_first_and_what_it_watches);
    tcase_add_test(tc, a_loop_that_does_not_answer_is_told_as_blocked_with_what_blocks_it_and_where);
    tcase_add_test(tc, a_loop_that_nobody_runs_says_so);
    tcase_add_test(tc, private_loops_that_nobody_runs_are_not_there);
    tcase_add_test(tc, of_thousands_of_tasks_the_oldest_are_told_and_the_others_counted);
    tcase_add_test(tc, several_may_ask_while_tasks_come_and_go_and_loops_too);
    tcase_add_test(tc, a_child_of_fork_sees_its_own_loops_only);
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
