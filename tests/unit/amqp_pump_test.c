/* SPDX-License-Identifier: Apache-2.0 */
/* The pump of plain threads: who sleeps, who leads, and what ends a sleep.  No broker: nothing connects. */
#include "runtime/future.h"
#include "transports/amqp/publisher.h"
#include "transports/amqp/pump.h"
#include "transports/amqp/replies.h"

#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONG_MS = 10000 };

static fj__amqp_host host = { .name = (char *)"127.0.0.1", .port = "1" };
static fj__amqp_settings settings = { .hosts = &host, .host_count = 1, .vhost = (char *)"/" };
static fj__domain *d;
static fj_future *gate;
static fj__timer timer;
static bool ticked, waited, nested_result;

static void set_up(void)
{
    ticked = waited = nested_result = false;
    ck_assert_int_eq(fj__domain_new(&settings, &d, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_new(NULL, NULL, &gate), FJ_OK);
}

static void tear_down(void)
{
    fj__domain_free(d);
    gate = fj_future_unref(gate);
}

static void on_tick(fj__timer *t, fj_deadline now)
{
    (void)t, (void)now;
    ticked = true;
}

static void tick_now(void)
{
    timer = (fj__timer){ .fn = on_tick };
    fj__domain_lock(d);
    ck_assert(fj__timer_set(&d->timers, &timer, fj_now()));
    fj__domain_unlock(d);
}

static bool is_true(void *user)
{
    return *(bool *)user;
}

/* What user code in a call-back does: set a timer going, and wait for it. */
static void wait_inside(fj__outcome *o)
{
    (void)o;
    tick_now();
    nested_result = fj__domain_wait(d, gate, is_true, &ticked, fj_in_ms(LONG_MS)) == FJ_OK;
    waited = true;
}

START_TEST(whoever_waits_leads_and_runs_the_timers)
{
    tick_now();
    ck_assert_int_eq(fj__domain_wait(d, gate, is_true, &ticked, fj_in_ms(LONG_MS)), FJ_OK);
}
END_TEST

START_TEST(a_wait_ends_at_its_deadline_without_a_connection)
{
    ck_assert_int_eq(fj__domain_wait(d, gate, is_true, &ticked, fj_now()), FJ_TIMEOUT);
    ck_assert(!d->led);
}
END_TEST

START_TEST(a_call_back_that_waits_while_its_thread_leads_is_served)
{
    fj__outcome outcome = { .deliver = wait_inside };

    (void)!write(d->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t)); /* the first pump ends at once */
    (void)pthread_mutex_lock(&d->lock); /* not fj__domain_unlock(), which would deliver it here */
    fj__domain_gather(d, &outcome);
    (void)pthread_mutex_unlock(&d->lock);
    ck_assert_int_eq(fj__domain_wait(d, gate, is_true, &waited, fj_in_ms(2 * LONG_MS)), FJ_OK);
    ck_assert(nested_result);
    ck_assert(!d->led);
}
END_TEST

START_TEST(a_descriptor_opened_anew_is_not_taken_for_the_one_that_was_ready)
{
    fj_watch ready;
    int ends[2];
    char c;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    fj__domain_lock(d);
    d->consuming.fd = ends[0];
    d->consuming.opened = 1;
    d->consuming.state = FJ__LINK_CONNECTING;
    fj__domain_watch(d, &ready);
    ck_assert_uint_eq(ready.n, 2);
    ck_assert_int_eq(ready.fds[0].fd, d->wake_fd);
    ck_assert_int_eq(ready.fds[1].fd, ends[0]);
    ck_assert_uint_eq(ready.fds[1].opened, 1);
    ck_assert(!ready.fds[1].read && ready.fds[1].write);
    d->consuming.opened = 2;
    fj__domain_watch(d, &ready);
    ck_assert_uint_eq(ready.fds[1].opened, 2);
    d->consuming.fd = -1;
    d->consuming.state = FJ__LINK_IDLE;
    fj__domain_unlock(d);
    ck_assert_int_lt(read(ends[0], &c, 1), 0); /* it was only watched */
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

START_TEST(a_forked_child_frees_its_loop_and_leaves_the_parent_s_connections_alone)
{
    fj_loop *loop = NULL;
    int status = 0;

    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    ck_assert_int_eq(fj__pump_on_loop(d, loop, &settings, NULL), FJ_OK);
    fj__domain_lock(d); /* as another thread may have it at that moment */
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)alarm(10);
        (void)fj_loop_free(loop);
        _exit(0);
    }
    fj__domain_unlock(d);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    (void)fj_loop_free(loop);
    ck_assert_ptr_null(d->loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("amqp pump");
    TCase *c = tcase_create("threads");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, whoever_waits_leads_and_runs_the_timers);
    tcase_add_test(c, a_wait_ends_at_its_deadline_without_a_connection);
    tcase_add_test(c, a_call_back_that_waits_while_its_thread_leads_is_served);
    tcase_add_test(c, a_descriptor_opened_anew_is_not_taken_for_the_one_that_was_ready);
    tcase_add_test(c, a_forked_child_frees_its_loop_and_leaves_the_parent_s_connections_alone);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
