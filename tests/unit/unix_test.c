/* SPDX-License-Identifier: Apache-2.0 */
/* unix://, the example of a transport as a plug-in (examples/plugins/unix), with a broker of its own: what tests/conformance, which
 * has it too, does not ask.  Nothing here is linked with it. */
#include "base/alloc.h"
#include "tests/support/leaks.h"

#include <check.h>
#include <fcntl.h>
#include <fjord/driver.h>
#include <fjord/fjord.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONG_MS = 20000 };

static char dir[] = "/tmp/fjord-unix-XXXXXX";
static char plugins[512], path[64], url[160];
static fj_conf *conf;
static fj_transport *transport;
static fj_client *client;
static fj_server *servers[2];
static fj_event *gate;
static atomic_uint seen;
static fj_error *err;
static pid_t broker;

/* ---- the broker ----------------------------------------------------------------------------------- */

static void broker_up(void)
{
    char program[600], line[200] = "";
    int out[2];

    (void)snprintf(program, sizeof program, "%s/unix-broker", plugins);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    broker = fork();
    if (broker == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)execl(program, "unix-broker", path, (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
    FILE *in = fdopen(out[0], "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof line, in)); /* it listens */
    (void)fclose(in);
    ck_assert_int_eq(strncmp(line, path, strlen(path)), 0);
}

/* @return its status */
static int broker_down(int how)
{
    int status = -1;

    if (broker > 0) {
        (void)kill(broker, how);
        ck_assert_int_eq(waitpid(broker, &status, 0), broker);
    }
    broker = 0;
    return status;
}

/* ---- the rig --------------------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **e)
{
    (void)req, (void)e;
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static fj_code count(fj_request *req, json_t *args, json_t **ret, fj_error **e)
{
    (void)req, (void)args, (void)ret, (void)e;
    atomic_fetch_add(&seen, 1);
    return FJ_OK;
}

static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **e)
{
    (void)req, (void)args, (void)ret, (void)e;
    return fj_event_wait(gate, fj_never());
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo), FJ_METHOD("count", FJ_PLAIN, count),
                                     FJ_METHOD("hold", FJ_PLAIN, hold) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_target anywhere = FJ_TARGET(.topic = "t");

static void serve(size_t i, const char *name)
{
    fj_target here = FJ_TARGET(.topic = "t", .server = name);

    ck_assert_int_eq(fj_server_new(transport, &here, NULL, &servers[i], &err), FJ_OK);
    ck_assert_int_eq(fj_server_add(servers[i], &endpoint, NULL, &err), FJ_OK);
    ck_assert_int_eq(fj_server_start(servers[i], &err), FJ_OK);
}

static void set_up(void)
{
    char self[400] = "", list[600];

    ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof self - 1), 0);
    *strrchr(self, '/') = '\0';
    (void)snprintf(plugins, sizeof plugins, "%s/../plugins", self);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/broker", dir);
    (void)snprintf(url, sizeof url, "unix://%s", path);
    leaks_begin();
    conf = fj_conf_new();
    (void)snprintf(list, sizeof list, "unix=%s/unix.so", plugins);
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "transport_plugins", list, NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "fjord", "executor", "threading", NULL), FJ_OK);
    ck_assert_int_eq(fj_event_new("gate", &gate), FJ_OK);
    fj_code code = fj_transport_open(conf, url, &transport, &err);
    ck_assert_msg(code == FJ_OK, "%s", err != NULL ? fj_error_text(err) : "no error");
    ck_assert_int_eq(fj_client_new(transport, &anywhere, NULL, &client, &err), FJ_OK);
}

static void tear_down(void)
{
    fj_event_set(gate);
    for (size_t i = 0; i < fj__countof(servers); i++) {
        if (servers[i] != NULL) {
            fj_server_stop(servers[i]);
            ck_assert_int_eq(fj_server_wait(servers[i], fj_in_ms(LONG_MS), NULL), FJ_OK);
        }
        servers[i] = fj_server_free(servers[i]);
    }
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    fj_event_free(gate);
    conf = fj_conf_free(conf);
    err = fj_error_free(err);
    int status = broker_down(SIGTERM);
    ck_assert_msg(status == -1 || status == 0, "the broker ended with %d",
                  status); /* a sanitizer has no word either */
    leaks_end("the test");
    (void)unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

static fj_code call(const char *method, json_t *args, int ms, int retry)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    o.retry = retry;
    o.resend = 1; /* the end of a connection may not have been heard of yet */
    err = fj_error_free(err);
    return fj_client_call(client, method, args, &o, NULL, &err);
}

static void is_served(void)
{
    fj_code code = call("echo", json_pack("{s:i}", "x", 7), LONG_MS, -1);

    ck_assert_msg(code == FJ_OK, "%s", err != NULL ? fj_error_text(err) : "no error");
}

/* ---- no broker -------------------------------------------------------------------------------------- */

START_TEST(without_a_broker_a_call_ends_after_the_attempts_it_wanted_and_names_the_place)
{
    ck_assert_int_eq(call("echo", NULL, LONG_MS, 0), FJ_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), path));
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    ck_assert_int_eq(call("echo", NULL, LONG_MS, 2), FJ_UNREACHABLE);
}
END_TEST

START_TEST(without_a_broker_a_call_that_waits_for_one_ends_at_its_deadline_unsent)
{
    ck_assert_int_eq(call("echo", NULL, 100, -1), FJ_TIMEOUT);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    ck_assert_int_eq(call("echo", NULL, -1, -1), FJ_TIMEOUT);
}
END_TEST

START_TEST(a_call_waits_for_the_broker_and_its_server)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    ck_assert_int_eq(call("echo", NULL, LONG_MS, 0), FJ_UNREACHABLE); /* it has been looked for */
    o.by = fj_in_ms(LONG_MS);
    broker_up();
    serve(0, "s");
    ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, &o, &future, &err), FJ_OK);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &err), FJ_OK);
    fj_future_unref(future);
}
END_TEST

/* ---- sending ---------------------------------------------------------------------------------------- */

START_TEST(a_mandatory_message_that_no_queue_takes_comes_back)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    broker_up();
    o.by = fj_in_ms(LONG_MS);
    o.mandatory = 1;
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, &err), FJ_UNDELIVERABLE);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    err = fj_error_free(err);
    ck_assert_int_eq(fj_client_cast(client, "count", NULL, &o, &err), FJ_UNDELIVERABLE);
    err = fj_error_free(err);
    o.mandatory = 0;
    ck_assert_int_eq(fj_client_cast(client, "count", NULL, &o, &err), FJ_OK); /* the broker drops it */
}
END_TEST

START_TEST(a_fanout_reaches_every_server_and_a_call_to_one_that_one)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    broker_up();
    serve(0, "a");
    serve(1, "b");
    o.by = fj_in_ms(LONG_MS);
    o.fanout = true;
    ck_assert_int_eq(fj_client_cast(client, "count", NULL, &o, &err), FJ_OK);
    o.fanout = false;
    for (o.server = "a"; atomic_load(&seen) < 2; o.server = *o.server == 'a' ? "b" : "a")
        ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, &err), FJ_OK);
    ck_assert_uint_eq(atomic_load(&seen), 2);
    o.server = "c";
    o.mandatory = 1;
    ck_assert_int_eq(fj_client_call(client, "echo", NULL, &o, NULL, &err), FJ_UNDELIVERABLE);
}
END_TEST

START_TEST(a_call_that_is_monitored_lasts_while_its_method_does)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    broker_up();
    serve(0, "s");
    o.by = fj_in_ms(LONG_MS);
    o.monitor = 2; /* the shortest there is: heartbeats come each second */
    ck_assert_int_eq(fj_client_call_async(client, "hold", NULL, &o, &future, &err), FJ_OK);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(2500), NULL, NULL), FJ_TIMEOUT);
    ck_assert(!fj_future_done(future)); /* it would have ended without */
    fj_event_set(gate);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &err), FJ_OK);
    fj_future_unref(future);
}
END_TEST

/* A listener that takes a call out of the broker's hands and forgets it. */
START_TEST(a_call_that_is_monitored_ends_soon_when_nobody_works_on_it)
{
    const fj_driver_ops *ops = NULL;
    fj_driver *driver = NULL;
    fj_listener *l = NULL;
    fj_incoming *in = NULL;
    fj_url *parsed = NULL;
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");
    fj_listen_opts opts = FJ_LISTEN_OPTS_INIT;
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;
    size_t n = 0;

    broker_up();
    ck_assert_int_eq(fj_driver_find(conf, "unix", &ops, &err), FJ_OK);
    ck_assert_int_eq(fj_url_parse(url, &parsed, &err), FJ_OK);
    ck_assert_int_eq(ops->open(conf, parsed, &driver, &err), FJ_OK);
    ck_assert_int_eq(ops->listen(driver, &here, &opts, fj_in_ms(LONG_MS), &l, &err), FJ_OK);
    ck_assert(ops->listens(driver));
    o.by = fj_in_ms(LONG_MS);
    o.monitor = 2;
    ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, &o, &future, &err), FJ_OK);
    ck_assert_int_eq(l->ops->poll(l, fj_in_ms(LONG_MS), 1, &in, &n, &err), FJ_OK);
    ck_assert_str_eq(json_string_value(json_object_get(in->message, "method")), "echo");
    ck_assert(in->wants_reply && !in->redelivered && in->id != NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(in->context, "client_timeout")), 2);
    ck_assert_int_eq(l->ops->ack(l, &in, 1, fj_in_ms(LONG_MS), &err), FJ_OK);
    ck_assert_ptr_nonnull(in);
    in->ops->free(in);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS - 5000), NULL, &err), FJ_TIMEOUT);
    ck_assert(fj_future_done(future));
    err = fj_error_free(err);
    fj_future_unref(future);
    l->ops->interrupt(l);
    ck_assert_int_eq(l->ops->poll(l, fj_in_ms(LONG_MS), 1, &in, &n, &err), FJ_AGAIN);
    l->ops->close(l);
    ck_assert_int_eq(l->ops->stop(l, fj_in_ms(LONG_MS), &err), FJ_OK);
    ck_assert_int_eq(l->ops->poll(l, fj_in_ms(LONG_MS), 1, &in, &n, &err), FJ_CLOSED);
    l->ops->free(l);
    ops->close(driver);
    ck_assert_int_eq(ops->stop(driver, fj_in_ms(LONG_MS), NULL), FJ_OK);
    ops->free(driver);
    fj_url_free(parsed);
}
END_TEST

/* ---- another broker in its place --------------------------------------------------------------------- */

START_TEST(servers_and_clients_find_a_broker_that_was_started_again)
{
    broker_up();
    serve(0, "s");
    is_served();
    ck_assert_int_eq(broker_down(SIGTERM), 0);
    broker_up();
    is_served();
    broker_down(SIGKILL);
    broker_up(); /* in the place of a socket that was left */
    is_served();
}
END_TEST

/* The broker is stopped with a message on its way to it: it may have had it. */
static fj_code cast_to_one_that_dies(int resend)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    o.by = fj_in_ms(LONG_MS);
    o.resend = resend;
    is_served();
    ck_assert_int_eq(kill(broker, SIGSTOP), 0);
    ck_assert_int_eq(fj_client_cast_async(client, "count", NULL, &o, &future, &err), FJ_OK);
    broker_down(SIGKILL);
    broker_up();
    err = fj_error_free(err);
    fj_code code = fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &err);
    fj_future_unref(future);
    return code;
}

START_TEST(what_a_broker_that_is_gone_may_have_had_is_lost_unless_it_may_be_sent_again)
{
    broker_up();
    serve(0, "s");
    ck_assert_int_eq(cast_to_one_that_dies(0), FJ_LOST);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_MAYBE);
    is_served();
    ck_assert_uint_eq(atomic_load(&seen), 0);
    ck_assert_int_eq(cast_to_one_that_dies(1), FJ_OK);
    is_served();
}
END_TEST

START_TEST(a_transport_is_closed_while_the_broker_does_not_answer)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    broker_up();
    o.by = fj_in_ms(LONG_MS);
    ck_assert_int_eq(fj_client_cast(client, "count", NULL, &o, &err), FJ_OK);
    ck_assert_int_eq(kill(broker, SIGSTOP), 0);
    ck_assert_int_eq(fj_client_call_async(client, "echo", NULL, &o, &future, &err), FJ_OK);
    client = fj_client_free(client);
    transport = fj_transport_free(transport);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &err), FJ_CLOSED);
    fj_future_unref(future);
    ck_assert_int_eq(kill(broker, SIGCONT), 0);
    ck_assert_int_eq(fj_transport_open(conf, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &anywhere, NULL, &client, NULL), FJ_OK);
}
END_TEST

/* ---- what is refused --------------------------------------------------------------------------------- */

static void bad(const char *text, fj_code code, const char *words)
{
    fj_transport *t = NULL;

    err = fj_error_free(err);
    ck_assert_int_eq(fj_transport_open(conf, text, &t, &err), code);
    ck_assert_msg(strstr(fj_error_text(err), words) != NULL, "\"%s\" says nothing of \"%s\"",
                  fj_error_text(err), words);
}

START_TEST(urls_that_mean_nothing_to_it_are_refused)
{
    char text[300];

    bad("unix://host/run/broker", FJ_BAD_URL, "takes no host");
    bad("unix:///run/broker?heartbeat=1", FJ_BAD_CONFIG, "no option \"heartbeat\"");
    (void)snprintf(text, sizeof text, "unix:///%0200d", 0);
    bad(text, FJ_BAD_URL, "too long");
}
END_TEST

START_TEST(the_socket_is_its_owners_alone_and_has_one_broker)
{
    char command[800];
    struct stat s;

    broker_up();
    ck_assert_int_eq(stat(path, &s), 0);
    ck_assert_uint_eq(s.st_mode & 0777, 0600);
    (void)snprintf(command, sizeof command, "%s/unix-broker %s 2>&1 | grep -q 'Address already in use'",
                   plugins, path);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(who_sends_the_broker_nonsense_is_cut_off_and_nobody_else)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char nonsense[100], rest;

    broker_up();
    serve(0, "s");
    is_served();
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    for (int fill = 0; fill < 256; fill++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        memset(nonsense, fill, sizeof nonsense);
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
        ck_assert_int_eq(send(fd, nonsense, sizeof nonsense, MSG_NOSIGNAL), (int)sizeof nonsense);
        (void)shutdown(fd, SHUT_WR);
        ck_assert_int_le(recv(fd, &rest, 1, 0), 0);
        (void)close(fd);
    }
    is_served();
}
END_TEST

START_TEST(transports_that_come_and_go_leave_nothing_behind)
{
    broker_up();
    serve(0, "s");
    for (int i = 0; i < 30; i++) {
        fj_transport *t = NULL;
        fj_client *c = NULL;
        ck_assert_int_eq(fj_transport_open(conf, url, &t, &err), FJ_OK);
        ck_assert_int_eq(fj_client_new(t, &anywhere, NULL, &c, &err), FJ_OK);
        if (i % 2 == 0)
            ck_assert_int_eq(fj_client_call(c, "echo", NULL, NULL, NULL, &err), FJ_OK);
        fj_client_free(c);
        fj_transport_free(t);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unix");
    TCase *t = tcase_create("a plug-in");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, without_a_broker_a_call_ends_after_the_attempts_it_wanted_and_names_the_place);
    tcase_add_test(t, without_a_broker_a_call_that_waits_for_one_ends_at_its_deadline_unsent);
    tcase_add_test(t, a_call_waits_for_the_broker_and_its_server);
    tcase_add_test(t, a_mandatory_message_that_no_queue_takes_comes_back);
    tcase_add_test(t, a_fanout_reaches_every_server_and_a_call_to_one_that_one);
    tcase_add_test(t, a_call_that_is_monitored_lasts_while_its_method_does);
    tcase_add_test(t, a_call_that_is_monitored_ends_soon_when_nobody_works_on_it);
    tcase_add_test(t, servers_and_clients_find_a_broker_that_was_started_again);
    tcase_add_test(t, what_a_broker_that_is_gone_may_have_had_is_lost_unless_it_may_be_sent_again);
    tcase_add_test(t, a_transport_is_closed_while_the_broker_does_not_answer);
    tcase_add_test(t, urls_that_mean_nothing_to_it_are_refused);
    tcase_add_test(t, the_socket_is_its_owners_alone_and_has_one_broker);
    tcase_add_test(t, who_sends_the_broker_nonsense_is_cut_off_and_nobody_else);
    tcase_add_test(t, transports_that_come_and_go_leave_nothing_behind);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
