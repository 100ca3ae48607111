/* SPDX-License-Identifier: Apache-2.0 */
/* A process that serves and calls is forked: whatever its child does, handles say so there, and the parent's calls and
 * connections are as they were.  Five executors, both transports, every order of use, close, exit, exec and another fork. */
#include <fjord/fjord.h>

#include "tests/support/broker.h"
#include "tests/support/ledger.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 30, FDS = 1024 };

static const char *const executors[] = { "blocking", "threading", "green", "coroutine", "bridged" };

static broker *b;
static char url[64];
static fj_conf *conf;
static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static ledger *calls;
static bool stays[FDS]; /* descriptors that the test had before, and that an exec may keep */

static fj_code run_it(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t seq = json_integer_value(json_object_get(args, "seq"));

    (void)req, (void)err;
    if (seq >= 0)
        ledger_ran(calls, (unsigned)seq);
    *ret = json_integer(seq);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("run", FJ_PLAIN, run_it) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_target here = FJ_TARGET(.topic = "t", .server = "s");
static const fj_target there = FJ_TARGET(.topic = "t");

/* ---- the parent --------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool started;

/* Starts it, too: a loop is its thread's. */
static void *serve(void *user)
{
    (void)user;
    fj_code code = fj_server_start(server, NULL);
    (void)pthread_mutex_lock(&lock);
    started = true;
    (void)pthread_cond_signal(&changed);
    (void)pthread_mutex_unlock(&lock);
    if (code == FJ_OK)
        code = fj_server_run(server, NULL);
    if (code == FJ_OK)
        code = fj_server_wait(server, fj_in_ms(10000), NULL);
    return code == FJ_OK ? NULL : user;
}

static void begin(fj_future **ret)
{
    unsigned seq = ledger_begin(calls);

    ck_assert_int_eq(fj_client_call_async(client, "run", json_pack("{s:i}", "seq", (int)seq), NULL, ret, NULL),
                     FJ_OK);
}

static void end(fj_future *f, unsigned seq)
{
    json_t *result = NULL;
    fj_code code = fj_future_wait(f, fj_in_ms(20000), &result, NULL);

    ck_assert_int_eq(code, FJ_OK);
    ck_assert_int_eq(json_integer_value(result), (int)seq);
    ledger_ended(calls, seq, code, FJ_SENT_YES);
    json_decref(result);
    fj_future_unref(f);
}

/* ---- the child ---------------------------------------------------------------------------------- */

#define CHILD(what)                                           \
    do {                                                      \
        if (!(what)) {                                        \
            fprintf(stderr, "in the child: not " #what "\n"); \
            _exit(1);                                         \
        }                                                     \
    } while (0)

static bool in_child;

/* The leak check at exit() finds what only the parent's threads knew of: it is not the child's to free. */
FJ_API int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return in_child;
}

static void use(void)
{
    fj_future *f = NULL;
    fj_client *c = NULL;
    fj_server *s = NULL;

    CHILD(fj_client_call(client, "run", NULL, NULL, NULL, NULL) == FJ_FORKED);
    CHILD(fj_client_call_async(client, "run", NULL, NULL, &f, NULL) == FJ_FORKED);
    CHILD(fj_client_cast(client, "run", NULL, NULL, NULL) == FJ_FORKED);
    CHILD(fj_client_flush(client, fj_in_ms(10000), NULL) == FJ_FORKED);
    CHILD(fj_server_start(server, NULL) == FJ_FORKED);
    CHILD(fj_server_run(server, NULL) == FJ_FORKED);
    fj_server_stop(server);
    CHILD(fj_server_wait(server, fj_in_ms(10000), NULL) == FJ_FORKED);
    CHILD(fj_client_new(transport, &there, NULL, &c, NULL) == FJ_FORKED);
    CHILD(fj_server_new(transport, &here, NULL, &s, NULL) == FJ_FORKED);
    CHILD(fj_transport_reload(transport, NULL, NULL, NULL) == FJ_FORKED);
}

static void close_all(void)
{
    server = fj_server_free(server);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
}

/* An exec keeps nothing of the library's. */
static void exec_true(void)
{
    for (int fd = 3; fd < FDS; fd++) {
        int flags = fcntl(fd, F_GETFD);
        CHILD(flags < 0 || stays[fd] || (flags & FD_CLOEXEC) != 0);
    }
    (void)execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

/* Everything anew, as in a process of its own. */
static void begin_anew(void)
{
#ifndef __SANITIZE_THREAD__ /* which allows no thread in the child of a process that had some */
    fj_client *c = NULL;
    fj_transport *t = NULL;
    json_t *result = NULL;

    CHILD(fj_transport_open(conf, url, &t, NULL) == FJ_OK);
    CHILD(fj_client_new(t, &there, NULL, &c, NULL) == FJ_OK);
    if (b != NULL) { /* the parent serves it */
        CHILD(fj_client_call(c, "run", json_pack("{s:i}", "seq", -1), NULL, &result, NULL) == FJ_OK);
        CHILD(json_integer_value(result) == -1);
        json_decref(result);
    }
    fj_client_free(c);
    fj_transport_free(t);
#endif
}

static void fork_again(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        use();
        close_all();
        _exit(0);
    }
    CHILD(waitpid(pid, &status, 0) == pid && status == 0);
}

/* One order of things a letter each: u use, c close, n begin anew, f fork, and the end: x exit(), _ _exit(), e exec. */
static const char *const orders[] = { "uc_", "u_", "c_",  "_",    "x",   "ux",  "e",
                                      "ue",  "ce", "uce", "fuc_", "ufe", "cn_", "ne" };
enum { ORDERS = sizeof orders / sizeof *orders };

static void child(const char *order)
{
    in_child = true;
    for (; *order != '\0'; order++) {
        switch (*order) {
        case 'u':
            use();
            break;
        case 'c':
            close_all();
            break;
        case 'n':
            begin_anew();
            break;
        case 'f':
            fork_again();
            break;
        case 'e':
            exec_true();
            break;
        case 'x':
            exit(0);
        default:
            _exit(0);
        }
    }
}

/* ---- the matrix --------------------------------------------------------------------------------- */

static void set_up_on(const char *executor, bool rabbit)
{
    for (int fd = 0; fd < FDS; fd++)
        stays[fd] = fcntl(fd, F_GETFD) >= 0;
    b = rabbit ? broker_new() : NULL;
    ck_assert(!rabbit || b != NULL);
    (void)snprintf(url, sizeof url, "fake://");
    if (rabbit)
        (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", broker_port(b));
    fj_log_set_level(FJ_LOG_ERROR);
    conf = fj_conf_new();
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "executor", executor, NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    calls = ledger_new(CALLS);
    ck_assert_ptr_nonnull(calls);
}

START_TEST(whatever_a_child_does_the_parents_calls_and_connections_are_as_they_were)
{
    const char *executor = executors[_i % 5], *order = orders[_i / 10];
    const bool rabbit = _i / 5 % 2 == 1;
    fj_future *futures[CALLS];
    char text[256];
    pthread_t thread;
    void *wrong = &wrong;
    int status = -1;

    set_up_on(executor, rabbit);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve, &started), 0);
    (void)pthread_mutex_lock(&lock);
    while (!started)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
    begin(&futures[0]);
    end(futures[0], 0); /* connected, both ways */
    unsigned accepted = rabbit ? broker_accepted(b) : 0;

    for (int i = 1; i < CALLS / 2; i++)
        begin(&futures[i]);
    (void)fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        alarm(30);
        child(order);
    }
    for (int i = CALLS / 2; i < CALLS; i++)
        begin(&futures[i]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "%s, %s, order %s: status %d", executor, url, order, status);
    for (int i = 1; i < CALLS; i++)
        end(futures[i], (unsigned)i);
    if (rabbit && strchr(order, 'n') == NULL)
        ck_assert_uint_eq(broker_accepted(b), accepted); /* none was made again */
    ck_assert_msg(ledger_settled(calls, 5000, text, sizeof text), "%s", text);

    fj_server_stop(server);
    ck_assert_int_eq(pthread_join(thread, &wrong), 0);
    ck_assert_ptr_null(wrong);
    close_all();
    b = broker_free(b);
    conf = fj_conf_free(conf);
    ledger_free(calls);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fork");
    TCase *c = tcase_create("matrix");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, whatever_a_child_does_the_parents_calls_and_connections_are_as_they_were, 0,
                        10 * ORDERS);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
