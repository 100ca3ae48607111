/* SPDX-License-Identifier: Apache-2.0 */
/* Loops that nothing can wake, and those that something can; where tasks are, in words. */
#include "base/alloc.h"
#include "runtime/clock.h"
#include "runtime/loop_impl.h"
#include "runtime/sanitize.h"
#include "tests/support/broker.h"
#include "tests/support/rt.h"
#include "tests/support/said.h"
#include "tests/support/valgrind.h"

#include <fjord/fjord.h>
#include <fjord/sync.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static fj_event *event;
static fj_mutex *mutex;

static void set_up(void)
{
    rt_begin();
    said_begin();
    rt_code(fj_event_new("never", &event), OK);
    rt_code(fj_mutex_new("kept", 0, &mutex), OK);
}

static void tear_down(void)
{
    rt_end();
    event = fj_event_free(event);
    mutex = fj_mutex_free(mutex);
}

#define told(first, second, n) ck_assert_msg(said(first, second) == (n), "%s", said_text())

FJ_API fj_code waits_inside(void);

__attribute__((noinline)) fj_code waits_inside(void)
{
    fj_code code = fj_event_wait(event, fj_never());

    __asm__ volatile("" ::: "memory"); /* no call in the place of a return */
    return code;
}

RT_TASK(waits)
{
    return waits_inside();
}

RT_TASK(awaits)
{
    return fj_await(fj_task_future(user), fj_never(), NULL, NULL);
}

static void stop(void)
{
    fj_loop_stop(rt_loop);
}

/* ---- told ----------------------------------------------------------------------------------------- */

START_TEST(a_task_that_nothing_can_wake_is_told_with_its_stack)
{
    fj_task *task = rt_spawn(waits, NULL, "lost");
    fj_task *other = rt_spawn(awaits, task, "other");

    said_then("task \"lost\" waits for event \"never\", at ", stop);
    rt_code(fj_loop_run_forever(rt_loop, NULL), OK);
    told("error loop: 2 tasks wait: nothing can wake the loop: ", "no other thread", 1);
    told("error loop: task \"lost\" waits for event \"never\", at ", "waits_inside+0x", 1);
    told("error loop: task \"other\" waits for task \"lost\", at ", NULL, 1);
    told(NULL, NULL, 3);
    fj_event_set(event);
    rt_code(rt_join(other), OK);
    fj_task_unref(task);
    told(NULL, NULL, 3);
}
END_TEST

START_TEST(a_run_until_a_future_that_nobody_completes_is_told)
{
    fj_future *future = NULL;

    rt_code(fj_future_new(NULL, NULL, &future), OK);
    said_then("nothing can wake", stop);
    rt_code(fj_loop_run_until_complete(rt_loop, future, NULL, NULL), STATE);
    told("error loop: a loop runs until a future is complete: nothing can wake the loop", NULL, 1);
    told(NULL, NULL, 1);
    ck_assert(fj_future_cancel(future));
    fj_future_unref(future);
}
END_TEST

START_TEST(in_real_time_it_is_told_after_a_while)
{
    fj_task *task;

    fj__clock_set_auto(false);
    fj__clock_set_fake(-1);
    task = rt_spawn(waits, NULL, "lost");
    said_then("at ", stop);
    int64_t began = fj__clock_real_ns();
    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(task), NULL, NULL), STATE);
    ck_assert_int_ge(fj__clock_real_ns() - began, FJ__LOOP_LULL_NS);
    told("error loop: 1 task waits: nothing can wake", NULL, 1);
    told(NULL, NULL, 2);
    fj_event_set(event);
    rt_code(rt_join(task), OK);
}
END_TEST

START_TEST(of_many_only_some_are_told_one_by_one)
{
    for (int i = 0; i < 100; i++)
        fj_task_unref(rt_spawn(waits, NULL, "one of many"));
    said_then("and 80 more", stop);
    rt_code(fj_loop_run_forever(rt_loop, NULL), OK);
    told("100 tasks wait: nothing can wake", NULL, 1);
    told("task \"one of many\" waits for event \"never\", at ", NULL, 20);
    fj_event_set(event);
    rt_settle();
}
END_TEST

/* ---- not told ------------------------------------------------------------------------------------- */

/* A thread: once the loop sleeps, and so has looked, it does what it is to do. */
static void *when_it_sleeps(void *user)
{
    void (*const *fn)(void) = user;

    while (atomic_load(&rt_loop->inbox.state) != 1)
        (void)sched_yield();
    (*fn)();
    return NULL;
}

static void set_event(void)
{
    fj_event_set(event);
}

static fj_code run_beside_a_thread(fj_task *task, void (*fn)(void))
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, when_it_sleeps, &fn), 0);
    fj_code code = rt_join(task);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return code;
}

START_TEST(one_that_another_thread_wakes_later_is_not_told)
{
    rt_code(run_beside_a_thread(rt_spawn(waits, NULL, "patient"), set_event), OK);
    told(NULL, NULL, 0);
}
END_TEST

START_TEST(in_debug_mode_it_is_said_once_that_only_another_thread_could)
{
    fj_loop_set_debug(rt_loop, true);
    fj_loop_set_slow_callback_duration(rt_loop, 3600);
    rt_code(run_beside_a_thread(rt_spawn(waits, NULL, "patient"), set_event), OK);
    told("warning loop: 1 task waits: nothing on this loop can wake it, only another thread could", NULL, 1);
    told("warning loop: task \"patient\" waits for event \"never\", at ", "waits_inside+0x", 1);
    fj_event_clear(event);
    rt_code(run_beside_a_thread(rt_spawn(waits, NULL, "patient"), set_event), OK);
    told(NULL, NULL, 2);
}
END_TEST

static int pipe_fds[2];

static fj_code reads_a_byte(void *user, json_t **ret, fj_error **err)
{
    char byte;

    (void)user, (void)ret, (void)err;
    ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
    return FJ_OK;
}

static void write_a_byte(void)
{
    ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
}

RT_TASK(awaits_a_job)
{
    fj_future *job = NULL;

    rt_code(fj_run_in_executor(reads_a_byte, NULL, NULL, &job, NULL), OK);
    fj_code code = fj_await(job, fj_never(), NULL, NULL);
    fj_future_unref(job);
    return code;
}

START_TEST(one_that_waits_for_a_job_of_the_pool_is_not_told_though_nobody_else_is_there)
{
    fj_task *task = rt_spawn(awaits_a_job, NULL, "patient");

    ck_assert_int_eq(pipe(pipe_fds), 0);
    rt_settle();
    ck_assert(fj__stuck_look(rt_loop)); /* it is to be looked at again */
    write_a_byte();
    rt_code(rt_join(task), OK);
    told(NULL, NULL, 0);
}
END_TEST

static void on_child(fj_loop *loop, pid_t pid, int status, void *user)
{
    (void)loop, (void)pid, (void)status, (void)user;
    fj_event_set(event);
}

START_TEST(one_that_waits_for_a_child_is_not_told)
{
    fj_task *task = rt_spawn(waits, NULL, "parent");

    ck_assert_int_eq(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)reads_a_byte(NULL, NULL, NULL);
        _exit(0);
    }
    rt_code(fj_loop_add_child(rt_loop, pid, on_child, NULL, NULL), OK);
    rt_settle();
    ck_assert(!fj__stuck_look(rt_loop));
    write_a_byte();
    rt_code(rt_join(task), OK);
    told(NULL, NULL, 0);
}
END_TEST

static void on_readable(fj_loop *loop, int fd, void *user)
{
    (void)user;
    fj_event_set(event);
    ck_assert(fj_loop_remove_reader(loop, fd));
}

START_TEST(one_that_a_descriptor_can_wake_is_not_told_until_it_is_no_longer_watched)
{
    fj_task *task = rt_spawn(waits, NULL, "reader");

    ck_assert_int_eq(pipe(pipe_fds), 0);
    rt_code(fj_loop_add_reader(rt_loop, pipe_fds[0], on_readable, NULL, NULL), OK);
    rt_settle();
    ck_assert(!fj__stuck_look(rt_loop));
    told(NULL, NULL, 0);
    ck_assert(fj_loop_remove_reader(rt_loop, pipe_fds[0]));
    ck_assert(!fj__stuck_look(rt_loop));
    told("nothing can wake", NULL, 1);
    fj_event_set(event);
    rt_code(rt_join(task), OK);
}
END_TEST

static void on_signal(fj_loop *loop, int number, void *user)
{
    (void)loop, (void)number, (void)user;
    fj_event_set(event);
}

START_TEST(one_that_a_signal_can_wake_is_not_told)
{
    fj_task *task = rt_spawn(waits, NULL, "patient");

    rt_code(fj_loop_add_signal(rt_loop, SIGUSR1, on_signal, NULL, NULL), OK);
    rt_settle();
    ck_assert(!fj__stuck_look(rt_loop));
    (void)raise(SIGUSR1);
    rt_code(rt_join(task), OK);
    told(NULL, NULL, 0);
}
END_TEST

static fj_semaphore *places;

RT_TASK(takes_a_place)
{
    rt_code(fj_semaphore_acquire(places, fj_never()), OK);
    rt_code(user == NULL ? FJ_OK : fj_sleep(fj_in_ms(3600 * 1000)), OK);
    return fj_semaphore_release(places);
}

START_TEST(thousands_who_wait_for_one_that_sleeps_are_not_told)
{
#ifdef FJ__TSAN
    const int many = 5000; /* it knows some 8000 fibres */
#else
    const int many = ON_VALGRIND ? 500 : 10000;
#endif
    fj_task *last = NULL;

    rt_code(fj_semaphore_new("places", 1, 0, &places), OK);
    fj_task_unref(rt_spawn(takes_a_place, places, "sleeper"));
    for (int i = 0; i < many; i++) {
        fj_task_unref(last);
        last = rt_spawn(takes_a_place, NULL, "waiter");
    }
    rt_code(rt_join(last), OK);
    ck_assert_int_eq(rt_ms(), 3600 * 1000);
    told(NULL, NULL, 0);
    places = fj_semaphore_free(places);
}
END_TEST

/* ---- idle servers --------------------------------------------------------------------------------- */

static fj_code nothing(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("nothing", FJ_CORO, nothing) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_target here = FJ_TARGET(.topic = "t", .server = "s");

static void idle_on(const char *url)
{
    static const char text[] = "[fjord]\nexecutor = coroutine\n";
    fj_conf *conf = fj_conf_new();
    fj_transport *transport = NULL;
    fj_server *server = NULL;

    ck_assert_int_eq(fj_conf_parse(conf, "test", text, strlen(text), NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    fj_conf_free(conf);
    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    fj_task *task = rt_spawn(waits, NULL, "of the server"); /* a message could come that ends it */
    rt_settle();
    ck_assert(!fj__stuck_look(rt_loop));
    told("nothing", NULL, 0);
    fj_event_set(event);
    rt_code(rt_join(task), OK);
    server = fj_server_free(server);
    transport = fj_transport_free(transport);
}

START_TEST(an_idle_server_is_not_told_be_it_on_fake)
{
    idle_on("fake://");
}
END_TEST

START_TEST(an_idle_server_is_not_told_be_it_on_a_broker)
{
    broker *b = broker_new();
    char url[64];

    fj__clock_set_auto(false);
    fj__clock_set_fake(-1);
    ck_assert_ptr_nonnull(b);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", broker_port(b));
    idle_on(url);
    rt_end();
    rt_begin();
    broker_free(b);
}
END_TEST

/* ---- a stop that waits in vain -------------------------------------------------------------------- */

static fj_code waits_for_ever(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    return waits_inside();
}

static const fj_method stuck_methods[] = { FJ_METHOD("hangs", FJ_CORO, waits_for_ever) };
static const fj_endpoint stuck_endpoint = FJ_ENDPOINT(NULL, "1.0", stuck_methods);
static const fj_target to_it = FJ_TARGET(.topic = "t");

RT_TASK(casts)
{
    return fj_client_cast(user, "hangs", NULL, NULL, err);
}

START_TEST(a_stop_that_waits_in_vain_tells_where_the_methods_are)
{
    static const char text[] = "[fjord]\nexecutor = coroutine\n";
    fj_conf *conf = fj_conf_new();
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_client *client = NULL;

    ck_assert_int_eq(fj_conf_parse(conf, "test", text, strlen(text), NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, NULL), FJ_OK);
    fj_conf_free(conf);
    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &stuck_endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &to_it, NULL, &client, NULL), FJ_OK);
    rt_code(rt_run(casts, client), OK);
    rt_settle();
    fj_server_stop(server);
    rt_code(fj_server_wait(server, fj_in_ms(10), NULL), TIMEOUT);
    told("warning loop: method \"hangs\" still runs when its server should have ended, at ", "waits_inside+0x",
         1);
    fj_event_set(event);
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
}
END_TEST

/* ---- asked for ------------------------------------------------------------------------------------ */

static void add_line(void *user, const char *text)
{
    char *all = user;
    size_t n = strlen(all);

    (void)snprintf(all + n, 8192 - n, "%s\n", text);
}

static char report[8192];

RT_TASK(reports)
{
    report[0] = '\0';
    fj_loop_report(rt_loop, add_line, report);
    return FJ_OK;
}

RT_TASK(holds)
{
    rt_code(fj_mutex_lock(mutex, fj_never()), OK);
    fj_code code = waits_inside();
    (void)fj_mutex_unlock(mutex);
    return code;
}

RT_TASK(wants)
{
    return fj_mutex_lock(mutex, fj_never());
}

START_TEST(a_loop_reports_what_each_of_its_tasks_does)
{
    fj_task_unref(rt_spawn(holds, NULL, "holder"));
    fj_task_unref(rt_spawn(wants, NULL, "wanter"));
    rt_settle();
    fj_task *reporter = rt_spawn(reports, NULL, "reporter");
    fj_task *fresh = rt_spawn(waits, NULL, "fresh");
    rt_code(rt_join(reporter), OK);
    ck_assert_ptr_nonnull(strstr(report, "task \"holder\" waits for event \"never\", at "));
    ck_assert_ptr_nonnull(strstr(report, "waits_inside+0x"));
    ck_assert_ptr_nonnull(strstr(report, "task \"wanter\" waits for mutex \"kept\", at "));
    ck_assert_ptr_nonnull(strstr(report, "task \"reporter\" runs, at "));
    ck_assert_ptr_nonnull(strstr(report, "task \"fresh\" has not begun\n"));
    fj_event_set(event);
    rt_code(rt_join(fresh), OK);
    fj_loop_report(rt_loop, NULL, NULL);
    told(NULL, NULL, 1);
    told("warning loop: task \"wanter\" is ready to go on, at ", NULL, 1);
}
END_TEST

static void *asks_from_afar(void *task)
{
    char text[64];

    rt_code(fj_task_stack(task, text, sizeof text), WRONG_CONTEXT);
    return NULL;
}

START_TEST(a_stack_is_told_as_far_as_it_fits_and_on_its_own_thread_only)
{
    char text[256] = "x", little[8] = "x";
    pthread_t thread;
    fj_task *task = rt_spawn(waits, NULL, "t");

    rt_code(fj_task_stack(task, text, sizeof text), STATE);
    rt_settle();
    rt_code(fj_task_stack(task, text, sizeof text), OK);
    ck_assert_ptr_nonnull(strstr(text, " < "));
    ck_assert_uint_lt(strlen(text), sizeof text);
    rt_code(fj_task_stack(task, little, sizeof little), OK);
    ck_assert_str_eq(little, "");
    ck_assert_int_eq(pthread_create(&thread, NULL, asks_from_afar, task), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    fj_event_set(event);
    (void)fj_task_ref(task);
    rt_code(rt_join(task), OK);
    rt_code(fj_task_stack(task, text, sizeof text), STATE);
    fj_task_unref(task);
}
END_TEST

static size_t depth;

__attribute__((noinline)) static fj_code fills_its_stack(size_t left)
{
    volatile char room[1024];

    room[0] = room[sizeof room - 1] = (char)left;
    fj_code code = left > sizeof room ? fills_its_stack(left - sizeof room) : waits_inside();
    room[0]++;
    return code;
}

RT_TASK(is_nearly_full)
{
    return fills_its_stack(depth);
}

START_TEST(a_stack_that_is_nearly_full_is_left_alone)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    char text[256];
    bool full = false;

    /* Each a little deeper: as long as there is room they tell, and none overflows by it. */
    for (depth = 1024; !full && depth < 13 * 1024; depth += 1024) {
        fj_task *task = NULL;
        opts.loop = rt_loop;
        opts.stack = 16 * 1024;
        rt_code(fj_task_spawn(is_nearly_full, NULL, &opts, &task, NULL), OK);
        rt_settle();
        full = fj_task_stack(task, text, sizeof text) == FJ_STATE;
        ck_assert(full || strstr(text, " < ") != NULL);
        fj_event_set(event);
        rt_code(rt_join(task), OK);
        fj_event_clear(event);
    }
    ck_assert(full);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stuck");
    TCase *t = tcase_create("stuck");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_task_that_nothing_can_wake_is_told_with_its_stack);
    tcase_add_test(t, a_run_until_a_future_that_nobody_completes_is_told);
    tcase_add_test(t, in_real_time_it_is_told_after_a_while);
    tcase_add_test(t, of_many_only_some_are_told_one_by_one);
    tcase_add_test(t, one_that_another_thread_wakes_later_is_not_told);
    tcase_add_test(t, in_debug_mode_it_is_said_once_that_only_another_thread_could);
    tcase_add_test(t, one_that_waits_for_a_job_of_the_pool_is_not_told_though_nobody_else_is_there);
    tcase_add_test(t, one_that_waits_for_a_child_is_not_told);
    tcase_add_test(t, one_that_a_descriptor_can_wake_is_not_told_until_it_is_no_longer_watched);
    tcase_add_test(t, one_that_a_signal_can_wake_is_not_told);
    tcase_add_test(t, thousands_who_wait_for_one_that_sleeps_are_not_told);
    tcase_add_test(t, an_idle_server_is_not_told_be_it_on_fake);
    tcase_add_test(t, an_idle_server_is_not_told_be_it_on_a_broker);
    tcase_add_test(t, a_stop_that_waits_in_vain_tells_where_the_methods_are);
    tcase_add_test(t, a_loop_reports_what_each_of_its_tasks_does);
    tcase_add_test(t, a_stack_is_told_as_far_as_it_fits_and_on_its_own_thread_only);
    tcase_add_test(t, a_stack_that_is_nearly_full_is_left_alone);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
