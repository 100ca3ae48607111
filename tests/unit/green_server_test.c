/* SPDX-License-Identifier: Apache-2.0 */
/* Servers under `green` with the real hooks, whose methods wait in functions of libc: how they end, fork, and let others run. */
#include "tests/support/leaks.h"

#include <fjord/fjord.h>

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 1000 };

static fj_loop *loop;
static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static int ends[2]; /* of a pair of sockets: methods wait at the first */
static unsigned waiting;
static int ended_with; /* errno of the last wait that failed */
static bool enough;
static fj_request *kept;

/* ---- ways to wait, each of which ends when the other end of the pair is shut --------------------- */

static int by_read(void)
{
    char c;

    return (int)read(ends[0], &c, 1);
}

static int by_recv(void)
{
    char c;

    return (int)recv(ends[0], &c, 1, 0);
}

static int by_poll(void)
{
    struct pollfd two[2] = { { .fd = ends[0], .events = POLLIN }, { .fd = -1 } };

    return poll(two, 2, -1);
}

static int by_select(void)
{
    fd_set set;

    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    return select(ends[0] + 1, &set, NULL, NULL, NULL);
}

static int by_epoll(void)
{
    struct epoll_event e = { .events = EPOLLIN }, got;
    int fd = epoll_create1(EPOLL_CLOEXEC);

    ck_assert_int_eq(epoll_ctl(fd, EPOLL_CTL_ADD, ends[0], &e), 0);
    int n = epoll_wait(fd, &got, 1, -1), saved = errno;
    (void)close(fd);
    errno = saved;
    return n;
}

static int by_write(void)
{
    static char much[1 << 22];
    ssize_t n;

    while ((n = write(ends[0], much, sizeof much)) > 0) /* cut short it first answers how much it wrote */
        ;
    return (int)n;
}

static int by_sleep(void)
{
    return usleep(3600u * 1000000);
}

static int by_accept(void)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    int r = accept(fd, NULL, NULL), saved = errno;
    (void)close(fd);
    errno = saved;
    return r;
}

static int by_waitpid(void)
{
    char *argv[] = { (char *)"sleep", (char *)"3600", NULL };
    pid_t pid = 0;

    ck_assert_int_eq(posix_spawnp(&pid, "sleep", NULL, NULL, argv, NULL), 0);
    int r = waitpid(pid, NULL, 0), saved = errno;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, WNOHANG) == 0) /* which never waits, even where any wait would be cut short */
        ;
    errno = saved;
    return r;
}

/* Never has to wait: there is always something to take. */
static int by_chatter(void)
{
    int own[2], r = 0;
    char c = 'x';

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, own), 0);
    while (!enough && r >= 0) {
        r = (int)write(own[0], &c, 1);
        if (r >= 0)
            r = (int)read(own[1], &c, 1);
    }
    int saved = errno;
    (void)close(own[0]);
    (void)close(own[1]);
    errno = saved;
    return r;
}

static const struct way {
    const char *name;
    int (*wait)(void);
} ways[] = {
    { "read", by_read },       { "recv", by_recv },       { "poll", by_poll },   { "select", by_select },
    { "epoll", by_epoll },     { "write", by_write },     { "sleep", by_sleep }, { "accept", by_accept },
    { "waitpid", by_waitpid }, { "chatter", by_chatter },
};
#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

/* ---- what is served ------------------------------------------------------------------------------ */

static fj_code waits(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const struct way *w = &ways[json_integer_value(json_object_get(args, "way"))];

    (void)req;
    waiting++;
    errno = 0;
    int r = w->wait();
    waiting--;
    if (r >= 0)
        *ret = json_string(w->name);
    else
        ended_with = errno;
    return r >= 0 ? FJ_OK : fj_fail(err, FJ_SYSTEM, "%s: %s", w->name, strerror(errno));
}

static fj_code says_enough(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    enough = true;
    return FJ_OK;
}

/* All that makes processes, and each child closes all it has. */
static fj_code forks(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    char text[8] = "";
    int status = 0;
    FILE *f = popen("echo hello", "re");

    (void)req, (void)args, (void)err;
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(read(fileno(f), text, sizeof text), 6);
    ck_assert_int_eq(pclose(f), 0);
    ck_assert_int_eq(WEXITSTATUS(system("exit 3")), 3);
    pid_t pid = fork();
    if (pid == 0) {
        (void)usleep(1000);
        for (int fd = 3; fd < 64; fd++)
            (void)close(fd);
        (void)execlp("true", "true", (char *)NULL);
        _exit(9);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    *ret = json_string(text);
    return FJ_OK;
}

static fj_code on_thread(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)err;
    *ret = json_boolean(usleep(1) == 0 && !fj_green_here());
    return FJ_OK;
}

static fj_code asks_thread(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_future *future = NULL;
    fj_code code = fj_run_in_executor(on_thread, NULL, NULL, &future, err);

    (void)req, (void)args;
    if (code == FJ_OK)
        code = fj_await(future, fj_never(), ret, err);
    fj_future_unref(future);
    return code;
}

static fj_code defers(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    kept = fj_request_ref(req);
    return FJ_DEFERRED;
}

/* Another request's method answers it, after a wait in libc. */
static fj_code answers(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    ck_assert_int_eq(usleep(1000), 0);
    fj_code code = fj_request_reply(kept, json_string("late"), err);
    kept = fj_request_unref(kept);
    return code;
}

static fj_code calls(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args;
    return fj_client_call(client, "enough", NULL, NULL, ret, err);
}

/* By mistake, of course, and others' too: the loop's own are among them. */
static fj_code closes_all(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    for (int fd = 3; fd < 256; fd++)
        (void)close(fd);
    return FJ_OK;
}

static atomic_uint told;

static void count_reports(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level;
    if (strcmp(component, "loop") == 0 && strstr(text, "spins has blocked") != NULL)
        atomic_fetch_add(&told, 1);
}

static fj_code spins(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_deadline limit = fj_in_ms(20000);

    (void)req, (void)args, (void)ret, (void)err;
    while (atomic_load(&told) == 0 && !fj_passed(limit))
        ;
    return FJ_OK;
}

static const fj_method methods[] = {
    FJ_METHOD("waits", FJ_PLAIN, waits),       FJ_METHOD("enough", FJ_GREEN, says_enough),
    FJ_METHOD("forks", FJ_GREEN, forks),       FJ_METHOD("thread", FJ_GREEN, asks_thread),
    FJ_METHOD("defers", FJ_GREEN, defers),     FJ_METHOD("answers", FJ_PLAIN, answers),
    FJ_METHOD("closes", FJ_PLAIN, closes_all), FJ_METHOD("spins", FJ_PLAIN, spins),
    FJ_METHOD("calls", FJ_GREEN, calls),
};
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

/* ---- the rig ------------------------------------------------------------------------------------- */

static void up(const char *more)
{
    fj_target here = FJ_TARGET(.topic = "t", .server = "s"), there = FJ_TARGET(.topic = "t");
    fj_conf *conf = fj_conf_new();
    char text[256];

    (void)snprintf(text, sizeof text, "[fjord]\nexecutor = green\ngreen_require_hooks = true\n%s\n", more);
    ck_assert_int_eq(fj_conf_parse(conf, "test", text, strlen(text), NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, NULL), FJ_OK);
    fj_conf_free(conf);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(server, &endpoint, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_run_signals(NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(server, NULL), FJ_OK);
}

static void set_up(void)
{
    ck_assert_int_eq(fj_run_signals(NULL), FJ_OK); /* what it opens is for the life of the process */
    leaks_begin();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    fj_loop_set_current(loop);
}

static void tear_down(void)
{
    (void)fj_server_free(server);
    (void)fj_client_free(client);
    (void)fj_transport_free(transport);
    (void)fj_loop_free(loop);
    (void)close(ends[0]);
    (void)close(ends[1]);
    leaks_end("a server with green methods");
}

static fj_future *call(const char *method, json_t *args)
{
    fj_future *future = NULL;

    ck_assert_int_eq(fj_client_call_async(client, method, args, NULL, &future, NULL), FJ_OK);
    return future;
}

static fj_future *wait_by(const char *name)
{
    int i = 0;

    while (strcmp(ways[i].name, name) != 0)
        i++;
    return call("waits", json_pack("{s:i}", "way", i));
}

static void turn_until_waiting(unsigned n)
{
    while (waiting < n)
        ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(20000), NULL), FJ_OK);
}

/* The outcome, which is waited for while the loop runs. */
static fj_code outcome(fj_future *future, json_t **ret)
{
    fj_code code = fj_loop_run_until_complete(loop, future, ret, NULL);

    fj_future_unref(future);
    return code;
}

static void answered(fj_future *future, const char *wanted)
{
    json_t *ret = NULL;

    ck_assert_int_eq(outcome(future, &ret), FJ_OK);
    ck_assert_str_eq(json_string_value(ret), wanted);
    json_decref(ret);
}

/* ---- how they end -------------------------------------------------------------------------------- */

START_TEST(a_drain_waits_for_a_method_in_a_hooked_call_and_names_it)
{
    fj_error *err = NULL;

    up("");
    fj_future *one = wait_by("read");
    turn_until_waiting(1);
    fj_server_stop(server);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(10), &err), FJ_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "waits"));
    fj_error_free(err);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(20000), NULL), FJ_OK);
    answered(one, "read");
}
END_TEST

START_TEST(a_thousand_methods_in_hooked_calls_are_drained)
{
    static fj_future *all[SLOTS];

    up("executor_pool_size = 1000");
    for (int i = 0; i < SLOTS; i++)
        all[i] = wait_by(i % 2 != 0 ? "recv" : "poll");
    turn_until_waiting(SLOTS);
    fj_server_stop(server);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(1), NULL), FJ_TIMEOUT);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    ck_assert_int_eq(fj_server_wait(server, fj_in_ms(20000), NULL), FJ_OK);
    for (int i = 0; i < SLOTS; i++)
        answered(all[i], i % 2 != 0 ? "recv" : "poll");
}
END_TEST

/* A second signal: no call is retried, and nothing is waited for by what has to end. */
START_TEST(when_the_drain_is_given_up_a_hooked_call_is_cancelled)
{
    up("");
    fj_future *one = wait_by(ways[_i].name);
    turn_until_waiting(1);
    ck_assert_int_eq(raise(SIGTERM), 0);
    ck_assert_int_eq(raise(SIGTERM), 0);
    fj_code code = fj_run(NULL);
    ck_assert(code == FJ_OK || code == FJ_TIMEOUT);
    server = fj_server_free(server);
    ck_assert_uint_eq(waiting, 0);
    ck_assert_int_eq(ended_with, ECANCELED);
    fj_future_unref(one);
}
END_TEST

static void say_nothing(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level, (void)component, (void)text;
}

START_TEST(a_thousand_methods_in_hooked_calls_are_given_up)
{
    static fj_future *all[SLOTS];

    fj_log_set(say_nothing, NULL); /* a line for each of them */
    up("executor_pool_size = 1000");
    for (int i = 0; i < SLOTS; i++)
        all[i] = wait_by(i % 2 != 0 ? "sleep" : "poll");
    turn_until_waiting(SLOTS);
    ck_assert_int_eq(raise(SIGTERM), 0);
    ck_assert_int_eq(raise(SIGTERM), 0);
    fj_code code = fj_run(NULL);
    ck_assert(code == FJ_OK || code == FJ_TIMEOUT);
    server = fj_server_free(server);
    ck_assert_uint_eq(waiting, 0);
    for (int i = 0; i < SLOTS; i++)
        fj_future_unref(all[i]);
}
END_TEST

static void lose_all_descriptors(void)
{
    up("");
    fj_future *one = wait_by("read"), *other = call("closes", NULL);
    (void)alarm(20);
    while (!fj_future_done(other)) {
        if (fj_loop_turn(loop, fj_in_ms(1000), NULL) != FJ_OK)
            break;
    }
    (void)raise(SIGTERM);
    (void)raise(SIGTERM);
    (void)!fj_run(NULL);
    (void)fj_server_free(server);
    fj_future_unref(one);
    fj_future_unref(other);
}

/* Nothing can be saved; but the process ends, by itself or because it was told to. */
START_TEST(a_method_that_closes_the_library_s_descriptors_does_not_hang_the_process)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL); /* libev's word on a descriptor that has gone */
        fj_loop_set_current(NULL);
        ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
        fj_loop_set_current(loop);
        lose_all_descriptors();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM, "it still runs after 20 s");
}
END_TEST

/* ---- side by side -------------------------------------------------------------------------------- */

START_TEST(processes_are_made_while_others_wait)
{
    fj_future *others[4];

    up("");
    for (int i = 0; i < 4; i++)
        others[i] = wait_by(i % 2 != 0 ? "recv" : "poll");
    turn_until_waiting(4);
    for (int i = 0; i < 3; i++)
        answered(call("forks", NULL), "hello\n");
    ck_assert_uint_eq(waiting, 4);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    for (int i = 0; i < 4; i++)
        answered(others[i], i % 2 != 0 ? "recv" : "poll");
}
END_TEST

START_TEST(a_method_that_never_has_to_wait_lets_others_run)
{
    up("");
    fj_future *one = wait_by("chatter");
    turn_until_waiting(1);
    ck_assert_int_eq(outcome(call("enough", NULL), NULL), FJ_OK);
    answered(one, "chatter");
}
END_TEST

START_TEST(a_method_that_computes_is_told_of)
{
    up("loop_debug = true\nslow_callback_duration = 0.02");
    fj_log_set(count_reports, NULL);
    ck_assert_int_eq(outcome(call("spins", NULL), NULL), FJ_OK);
    fj_log_set(NULL, NULL);
    ck_assert_uint_gt(atomic_load(&told), 0);
}
END_TEST

START_TEST(on_a_thread_of_the_pool_nothing_is_green)
{
    json_t *ret = NULL;

    up("");
    ck_assert_int_eq(outcome(call("thread", NULL), &ret), FJ_OK);
    ck_assert(json_is_true(ret));
    json_decref(ret);
}
END_TEST

START_TEST(a_deferred_request_is_answered_by_another_green_method)
{
    up("");
    fj_future *one = call("defers", NULL);
    while (kept == NULL)
        ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(20000), NULL), FJ_OK);
    ck_assert_int_eq(outcome(call("answers", NULL), NULL), FJ_OK);
    answered(one, "late");
}
END_TEST

START_TEST(a_call_from_a_green_method_suspends_it_alone)
{
    up("");
    fj_future *one = wait_by("read");
    turn_until_waiting(1);
    ck_assert_int_eq(outcome(call("calls", NULL), NULL), FJ_OK);
    ck_assert(enough);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    answered(one, "read");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("green servers");
    TCase *c = tcase_create("green servers");

    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_drain_waits_for_a_method_in_a_hooked_call_and_names_it);
    tcase_add_test(c, a_thousand_methods_in_hooked_calls_are_drained);
    tcase_add_loop_test(c, when_the_drain_is_given_up_a_hooked_call_is_cancelled, 0, COUNT(ways));
    tcase_add_test(c, a_thousand_methods_in_hooked_calls_are_given_up);
    tcase_add_test(c, a_method_that_closes_the_library_s_descriptors_does_not_hang_the_process);
    tcase_add_test(c, processes_are_made_while_others_wait);
    tcase_add_test(c, a_method_that_never_has_to_wait_lets_others_run);
    tcase_add_test(c, a_method_that_computes_is_told_of);
    tcase_add_test(c, on_a_thread_of_the_pool_nothing_is_green);
    tcase_add_test(c, a_deferred_request_is_answered_by_another_green_method);
    tcase_add_test(c, a_call_from_a_green_method_suspends_it_alone);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
