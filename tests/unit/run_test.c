/* SPDX-License-Identifier: Apache-2.0 */
/* fj_run() and fj_server_run(): what wakes them, and what does not. */
#include <fjord/fjord.h>

#include "tests/support/broker.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static fj_transport *transport;
static fj_server *server;
static fj_client *client;

/* ---- waiting ------------------------------------------------------------------------------------ */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned asleep, counted, released; /* under the lock */
static fj_request *kept;
static atomic_bool watched;
static pthread_t runner;

static void tell(unsigned *what)
{
    (void)pthread_mutex_lock(&lock);
    ++*what;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void await(const unsigned *what, unsigned least)
{
    (void)pthread_mutex_lock(&lock);
    while (*what < least)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

/* Stands in front of libc's: tells when the thread of fj_run() really goes to sleep. */
int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    int ready = (int)syscall(SYS_poll, fds, n, 0);

    if (ready != 0 || timeout == 0)
        return ready;
    if (atomic_load(&watched) && pthread_equal(pthread_self(), runner))
        tell(&asleep);
    return (int)syscall(SYS_poll, fds, n, timeout);
}

/* ---- what is served ----------------------------------------------------------------------------- */

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    kept = fj_request_ref(req);
    atomic_store(&watched, true);
    return FJ_DEFERRED;
}

static fj_code count(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    tell(&counted);
    return FJ_OK;
}

static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    atomic_store(&watched, true);
    tell(&counted);
    await(&released, 1);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("later", FJ_PLAIN, later), FJ_METHOD("count", FJ_PLAIN, count),
                                     FJ_METHOD("hold", FJ_PLAIN, hold) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_target here = FJ_TARGET(.topic = "t", .server = "s");
static const fj_target there = FJ_TARGET(.topic = "t");

static void serve(const char *executor)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    opts.executor = executor;
    opts.slots = 1;
    ck_assert_int_eq(fj_server_new(transport, &here, &opts, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
}

static void set_up(void)
{
    runner = pthread_self();
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
}

static void tear_down(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
}

static void cast(const char *method)
{
    ck_assert_int_eq(fj_client_cast(client, method, NULL, NULL, NULL), FJ_OK);
}

static void answer(void)
{
    ck_assert_int_eq(fj_request_reply(kept, NULL, NULL), FJ_OK);
    fj_request_unref(kept);
    kept = NULL;
}

/* ---- a slot that is held ------------------------------------------------------------------------ */

static void stop_it(int number)
{
    (void)number;
    fj_server_stop(server);
}

START_TEST(a_stop_ends_run_though_a_deferred_request_holds_the_only_slot)
{
    struct itimerval soon = { .it_value = { .tv_usec = 20000 } }; /* by then it waits for the slot */
    struct sigaction stop = { .sa_handler = stop_it };

    serve("blocking");
    cast("later");
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(5000), NULL), FJ_OK);
    ck_assert_int_eq(sigaction(SIGALRM, &stop, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    ck_assert_int_eq(fj_server_run(server, NULL), FJ_OK);
    answer();
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(5000), NULL), FJ_OK);
}
END_TEST

static void *answer_once_it_sleeps(void *user)
{
    await(&asleep, 1);
    answer();
    await(&counted, 1); /* the message that waited for the slot */
    fj_run_stop();
    return user;
}

static void run_sleeps_until_told(void)
{
    pthread_t thread;

    serve("blocking");
    cast("later");
    cast("count");
    ck_assert_int_eq(pthread_create(&thread, NULL, answer_once_it_sleeps, NULL), 0);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(counted, 1);
}

START_TEST(run_sleeps_while_the_only_slot_is_held_and_goes_on_when_it_is_free)
{
    run_sleeps_until_told();
}
END_TEST

/* ---- messages that come together ---------------------------------------------------------------- */

static void *stop_after_two(void *user)
{
    await(&counted, 2);
    fj_run_stop();
    return user;
}

/* Both are read from the socket at once; nothing more comes over it that would wake fj_run() for the second. */
START_TEST(run_takes_each_of_two_messages_that_one_read_has_brought)
{
    static const char body[] =
        "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"count\\\", "
        "\\\"args\\\": {}}\"}";
    static const char type[] = "application/json";
    amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                           .content_type = { sizeof type - 1, (void *)(uintptr_t)type } };
    broker *b = broker_new();
    pthread_t thread;
    char url[64];

    ck_assert_ptr_nonnull(b);
    tear_down();
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)broker_port(b));
    ck_assert_int_eq(fj_transport_open(NULL, url, &transport, NULL), FJ_OK);
    serve("blocking");
    for (int i = 0; i < 2; i++)
        ck_assert_uint_eq(broker_publish(b, "openstack", "t", &properties, body, sizeof body - 1), 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_after_two, NULL), 0);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    tear_down();
    broker_free(b);
}
END_TEST

/* ---- signals ------------------------------------------------------------------------------------ */

static void open_with_an_endless_drain(void)
{
    fj_conf *conf = fj_conf_new();

    ck_assert_int_eq(fj_conf_set(conf, "fjord", "drain", "86400", NULL), FJ_OK);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    fj_conf_free(conf);
}

/* A signal, and the next only when the first was heard and all sleep again. */
static void *signal_twice(void *user)
{
    await(&asleep, 1);
    (void)kill(getpid(), SIGTERM);
    await(&asleep, 2);
    (void)kill(getpid(), SIGTERM);
    return user;
}

START_TEST(a_second_signal_fails_what_is_deferred_and_ends_the_drain)
{
    pthread_t thread;
    fj_future *answer_of = NULL;
    fj_error *err = NULL;

    open_with_an_endless_drain();
    serve("blocking");
    ck_assert_int_eq(fj_client_call_async(client, "later", NULL, NULL, &answer_of, NULL), FJ_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, signal_twice, NULL), 0);
    ck_assert_int_eq(fj_run(&err), FJ_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "second signal"));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(fj_future_wait(answer_of, fj_in_ms(5000), NULL, NULL), FJ_REMOTE);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(5000), NULL), FJ_OK);
    fj_error_free(err);
    fj_future_unref(answer_of);
    fj_request_unref(kept);
}
END_TEST

static void *signal_twice_while_held(void *user)
{
    await(&counted, 1);
    return signal_twice(user);
}

START_TEST(a_second_signal_names_the_method_that_is_left_behind)
{
    pthread_t thread;
    fj_error *err = NULL;

    open_with_an_endless_drain();
    serve("threading");
    atomic_store(&watched, true);
    cast("hold");
    ck_assert_int_eq(pthread_create(&thread, NULL, signal_twice_while_held, NULL), 0);
    ck_assert_int_eq(fj_run(&err), FJ_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "hold"));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    fj_error_free(err);
    tell(&released);
}
END_TEST

START_TEST(a_signal_before_run_is_heard_once_the_signals_are_taken)
{
    struct sigaction before, after;

    ck_assert_int_eq(sigaction(SIGTERM, NULL, &before), 0);
    ck_assert_int_eq(fj_run_signals(NULL), FJ_OK);
    ck_assert_int_eq(fj_run_signals(NULL), FJ_OK);
    serve("threading");
    ck_assert_int_eq(raise(SIGTERM), 0);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    ck_assert_int_eq(fj_server_step(server, fj_in_ms(5000), NULL), FJ_CLOSED);
    ck_assert_int_eq(sigaction(SIGTERM, NULL, &after), 0);
    ck_assert(after.sa_handler == before.sa_handler);
}
END_TEST

START_TEST(a_signal_of_the_last_run_does_not_end_the_next)
{
    ck_assert_int_eq(fj_run_signals(NULL), FJ_OK);
    ck_assert_int_eq(raise(SIGINT), 0);
    ck_assert_int_eq(fj_run(NULL), FJ_OK);
    run_sleeps_until_told();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("run");
    TCase *c = tcase_create("run");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_stop_ends_run_though_a_deferred_request_holds_the_only_slot);
    tcase_add_test(c, run_sleeps_while_the_only_slot_is_held_and_goes_on_when_it_is_free);
    tcase_add_test(c, run_takes_each_of_two_messages_that_one_read_has_brought);
    tcase_add_test(c, a_second_signal_fails_what_is_deferred_and_ends_the_drain);
    tcase_add_test(c, a_second_signal_names_the_method_that_is_left_behind);
    tcase_add_test(c, a_signal_before_run_is_heard_once_the_signals_are_taken);
    tcase_add_test(c, a_signal_of_the_last_run_does_not_end_the_next);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
