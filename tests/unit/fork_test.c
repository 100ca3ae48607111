/* SPDX-License-Identifier: Apache-2.0 */
/* A process that serves and calls is forked: whatever its child does, handles say so there, and the parent's calls and
 * connections are as they were.  Five executors, every transport, every order of use, close, exit, exec and another fork.
 * With FJ_TEST_URL over a real broker, too. */
#include <fjord/fjord.h>

#include "tests/support/broker.h"
#include "tests/support/ledger.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 30, FDS = 1024 };

static const char *const executors[] = { "blocking", "threading", "green", "coroutine", "bridged" };

static broker *b;
static char url[128];
static fj_conf *conf;
static fj_transport *transport;
static fj_server *server;
static fj_client *client, *nobodys;
static fj_future *pending, *complete; /* made by the parent */
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
static const fj_target there = FJ_TARGET(.topic = "t"), nowhere = FJ_TARGET(.topic = "nowhere");
static int parent_is_done[2]; /* a pipe that the parent closes when it has ended all it had */

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

static void never(fj_future *f, void *user)
{
    (void)f, (void)user;
    _exit(2);
}

static void use_futures(void)
{
    json_t *result = NULL;

    CHILD(!fj_future_done(pending));
    CHILD(fj_future_wait(pending, fj_in_ms(10000), NULL, NULL) == FJ_FORKED);
    CHILD(fj_future_then(pending, never, NULL) == FJ_FORKED);
    CHILD(!fj_future_cancel(pending));
    CHILD(fj_future_wait(complete, fj_in_ms(10000), &result, NULL) == FJ_OK);
    CHILD(json_integer_value(result) == 0);
    json_decref(result);
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
    use_futures();
}

static void close_all(void)
{
    pending = fj_future_unref(pending);
    complete = fj_future_unref(complete);
    server = fj_server_free(server);
    client = fj_client_free(client);
    nobodys = fj_client_free(nobodys);
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
    if (strcmp(url, "fake://") != 0) { /* the parent serves it */
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

/* As daemons do, whatever it is. */
static void close_descriptors(void)
{
    for (int fd = 3; fd < FDS; fd++)
        (void)close(fd);
}

/* Until the parent has ended all that it had. */
static void outlive_it(void)
{
    char c;

    (void)close(parent_is_done[1]);
    CHILD(read(parent_is_done[0], &c, 1) == 0);
}

/* One order of things a letter each: u use, c close, n begin anew, f fork, d close descriptors, w wait for the parent to close, and
 * the end: x exit(), _ _exit(), e exec. */
static const char *const orders[] = { "uc_", "u_",   "c_",   "_",   "x",  "ux",    "e",    "ue",  "ce",
                                      "uce", "fuc_", "ufe",  "cn_", "ne", "d_",    "duc_", "udx", "dce",
                                      "fde", "wu_",  "wuc_", "wc_", "we", "ufwc_", "wfux" };
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
        case 'd':
            close_descriptors();
            break;
        case 'w':
            outlive_it();
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

enum { FAKE, SMALL, REAL, TRANSPORTS }; /* SMALL is the broker of tests/support, REAL that of FJ_TEST_URL */

static atomic_uint losses;

static void count_losses(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    if (level <= FJ_LOG_WARNING && strcmp(component, "amqp") == 0)
        atomic_fetch_add(&losses, 1);
    if (level <= FJ_LOG_ERROR || (level <= FJ_LOG_WARNING && strcmp(component, "amqp") == 0))
        (void)fprintf(stderr, "%s: %s\n", component, text);
}

static void set_up_on(const char *executor, int where)
{
    for (int fd = 0; fd < FDS; fd++)
        stays[fd] = fcntl(fd, F_GETFD) >= 0;
    b = where == SMALL ? broker_new() : NULL;
    ck_assert(where != SMALL || b != NULL);
    (void)snprintf(url, sizeof url, "%s", where == REAL ? getenv("FJ_TEST_URL") : "fake://");
    if (where == SMALL)
        (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", broker_port(b));
    fj_log_set(count_losses, NULL);
    ck_assert_int_eq(pipe2(parent_is_done, O_CLOEXEC), 0);
    conf = fj_conf_new();
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "executor", executor, NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &nowhere, NULL, &nobodys, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    calls = ledger_new(CALLS);
    ck_assert_ptr_nonnull(calls);
}

static void serve_and_call(pthread_t *thread)
{
    fj_future *first = NULL;

    ck_assert_int_eq(pthread_create(thread, NULL, serve, &started), 0);
    (void)pthread_mutex_lock(&lock);
    while (!started)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
    begin(&first);
    complete = fj_future_ref(first);
    end(first, 0); /* connected, both ways */
    ck_assert_int_eq(fj_client_call_async(nobodys, "run", NULL, NULL, &pending, NULL), FJ_OK);
}

static void stop_all(pthread_t thread)
{
    void *wrong = &wrong;

    ck_assert(fj_future_cancel(pending));
    fj_server_stop(server);
    ck_assert_int_eq(pthread_join(thread, &wrong), 0);
    ck_assert_ptr_null(wrong);
    close_all();
    b = broker_free(b);
}

/* ASan's allocator has locks of its own, and does not take them for a fork: what another thread of the parent's holds then stays locked in
 * the child, which hangs in malloc() and says nothing of the library. */
#ifdef __SANITIZE_ADDRESS__
static const bool hangs_by_itself = true;
enum { PATIENCE_S = 8 };
#else
static const bool hangs_by_itself = false;
enum { PATIENCE_S = 30 };
#endif

static void ends_well(pid_t pid, const char *executor, const char *order)
{
    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (hangs_by_itself && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return;
    ck_assert_msg(status == 0, "%s, %s, order %s: status %d", executor, url, order, status);
}

START_TEST(whatever_a_child_does_the_parents_calls_and_connections_are_as_they_were)
{
    const char *executor = executors[_i % 5], *order = orders[_i / 5 / TRANSPORTS];
    const int where = _i / 5 % TRANSPORTS;
    fj_future *futures[CALLS];
    char text[256];
    pthread_t thread;

    if (where == REAL && getenv("FJ_TEST_URL") == NULL)
        return;
    set_up_on(executor, where);
    serve_and_call(&thread);
    unsigned accepted = b != NULL ? broker_accepted(b) : 0;

    for (int i = 1; i < CALLS / 2; i++)
        begin(&futures[i]);
    (void)fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)signal(SIGALRM, SIG_DFL); /* Check's handler would end the parent, too */
        alarm(PATIENCE_S);
        child(order);
    }
    (void)close(parent_is_done[0]);
    for (int i = CALLS / 2; i < CALLS; i++)
        begin(&futures[i]);
    if (strchr(order, 'w') == NULL)
        ends_well(pid, executor, order);
    for (int i = 1; i < CALLS; i++)
        end(futures[i], (unsigned)i);
    if (b != NULL && strchr(order, 'n') == NULL)
        ck_assert_uint_eq(broker_accepted(b), accepted); /* none was made again */
    ck_assert_uint_eq(atomic_load(&losses), 0);
    ck_assert_msg(ledger_settled(calls, 5000, text, sizeof text), "%s", text);

    stop_all(thread);
    (void)close(parent_is_done[1]);
    if (strchr(order, 'w') != NULL)
        ends_well(pid, executor, order);
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
                        5 * TRANSPORTS * ORDERS);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
