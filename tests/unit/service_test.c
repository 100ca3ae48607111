/* SPDX-License-Identifier: Apache-2.0 */
/* fj_service: workers made, kept and ended; what systemd is told. */
#include <fjord/fjord.h>

#include "messaging/throttle.h"
#include "tests/support/broker.h"
#include "tests/support/leaks.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a worker tells the test, over a pipe that all processes share. */
typedef struct {
    char what; /* 'u' up, 'e' at its end, 'r' reloaded */
    unsigned number;
    pid_t pid;
    int64_t value;
} news;

static int news_pipe[2];
static fj_conf *conf;
static pid_t parent; /* of the service */
static bool loud;    /* it logs where its configuration says */

static void tell(char what, const fj_worker *w, int64_t value)
{
    const news n = { what, fj_worker_number(w), getpid(), value };

    if (write(news_pipe[1], &n, sizeof n) != (ssize_t)sizeof n)
        _exit(99);
}

/* The next news, within ten seconds. */
static news next(char what)
{
    struct pollfd p = { .fd = news_pipe[0], .events = POLLIN };
    news n = { 0 };

    ck_assert_msg(poll(&p, 1, 10000) == 1, "no news '%c'", what);
    ck_assert_int_eq(read(news_pipe[0], &n, sizeof n), (int)sizeof n);
    ck_assert_msg(n.what == what, "'%c' came, not '%c'", n.what, what);
    return n;
}

/* ---- what is served ----------------------------------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_incref(args);
    return FJ_OK;
}

static void tell_run(void)
{
    const news n = { .what = 'm', .pid = getpid() };

    if (write(news_pipe[1], &n, sizeof n) != (ssize_t)sizeof n)
        _exit(99);
}

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    (void)fj_request_ref(req); /* for ever */
    tell_run();
    return FJ_DEFERRED;
}

static fj_code hang(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    tell_run();
    while (args != NULL)
        (void)pause();
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo), FJ_METHOD("later", FJ_PLAIN, later),
                                     FJ_METHOD("hang", FJ_PLAIN, hang) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static void at_end(fj_worker *w, void *user)
{
    (void)user;
    tell('e', w, 0);
}

static void at_reload(fj_worker *w, void *user)
{
    (void)user;
    tell('r', w, fj_conf_int(fj_worker_conf(w), "DEFAULT", "rpc_response_timeout"));
}

static fj_code serve_on(fj_worker *w, fj_transport *t, fj_error **err)
{
    fj_target target = FJ_TARGET(.topic = "calc", .server = "here");
    fj_server *server = NULL;
    fj_code code = fj_worker_server(w, t, &target, NULL, &server, err);

    return code == FJ_OK ? fj_server_add(server, &endpoint, NULL, err) : code;
}

static fj_code factory(fj_worker *w, void *user, fj_error **err)
{
    fj_transport *t = NULL;
    fj_code code = fj_worker_transport(w, NULL, &t, err);

    (void)user;
    fj_worker_at_end(w, at_end, NULL);
    fj_worker_at_reload(w, at_reload, NULL);
    if (code == FJ_OK)
        code = serve_on(w, t, err);
    if (code == FJ_OK)
        tell('u', w, getppid());
    return code;
}

static fj_code crashing(fj_worker *w, void *user, fj_error **err)
{
    (void)user, (void)err;
    tell('u', w, fj_now().ns);
    (void)raise(SIGKILL);
    return FJ_OK;
}

static fj_code wrong(fj_worker *w, void *user, fj_error **err)
{
    (void)w, (void)user;
    return fj_fail(err, FJ_BAD_CONFIG, "there is no such shop");
}

/* It ends neither for SIGTERM nor for the parent. */
static fj_code stubborn(fj_worker *w, void *user, fj_error **err)
{
    (void)user, (void)err;
    tell('u', w, 0);
    while (w != NULL)
        (void)pause();
    return FJ_OK;
}

/* ---- the service's process ---------------------------------------------------------------------- */

static void quiet(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level, (void)component, (void)text;
}

/* The broker's port is the test's: with this process's copy of it open, the broker could not go and come. */
static void close_ports(void)
{
    for (int fd = 3; fd < 256; fd++) {
        int listens = 0;
        socklen_t n = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 && listens != 0)
            (void)close(fd);
    }
}

/* @param names  of its error; NULL: it may end in any way   @return in the test: the process's id */
static pid_t service(fj_worker_fn fn, unsigned workers, fj_code expected, const char *names)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return parent = pid;
    fj_service *s = NULL;
    fj_error *error = NULL;
    close_ports();
    if (!loud)
        fj_log_set(quiet, NULL);
    if (fj_service_new(conf, &s, NULL) != FJ_OK || fj_service_add(s, "calc", fn, NULL, workers, NULL) != FJ_OK)
        _exit(98);
    fj_code code = fj_service_run(s, &error);
    if (names != NULL && (code != expected || strstr(fj_error_text(error), names) == NULL)) {
        fprintf(stderr, "the service ended with %s: %s\n", fj_code_name(code), fj_error_text(error));
        _exit(97);
    }
    fj_error_free(error);
    fj_service_free(s);
    _exit(0);
}

static void ends_well(void)
{
    int status = -1;

    ck_assert_int_eq(waitpid(parent, &status, 0), parent);
    ck_assert_int_eq(status, 0);
    parent = 0;
}

static void set(const char *group, const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, group, key, value, NULL), FJ_OK);
}

static void set_up(void)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* workers whose parent died are this process's to wait for */
    conf = fj_conf_new();
    ck_assert_ptr_nonnull(conf);
    set("DEFAULT", "transport_url", "fake://");
    set("fjord", "executor", "blocking");
    set("fjord", "respawn_delay", "0.01");
    ck_assert_int_eq(pipe2(news_pipe, O_CLOEXEC), 0);
    leaks_begin();
}

/* Nothing may be left of a service: no process, and no descriptor here. */
static void tear_down(void)
{
    ck_assert_int_eq(parent, 0);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    ck_assert_int_eq(errno, ECHILD);
    leaks_end("the test");
    (void)close(news_pipe[0]);
    (void)close(news_pipe[1]);
    conf = fj_conf_free(conf);
}

/* ---- life --------------------------------------------------------------------------------------- */

START_TEST(workers_are_made_and_end_in_order_on_sigterm)
{
    unsigned seen = 0;

    (void)service(factory, 3, FJ_OK, "");
    for (int i = 0; i < 3; i++) {
        news n = next('u');
        ck_assert_int_eq(n.value, parent);
        seen |= 1u << n.number;
    }
    ck_assert_uint_eq(seen, 7);
    ck_assert_int_eq(kill(parent, _i == 0 ? SIGTERM : SIGINT), 0);
    ends_well();
    for (int i = 0; i < (_i == 0 ? 3 : 0); i++)
        (void)next('e');
}
END_TEST

static bool takes_signals(pid_t pid)
{
    char path[64], name[400], to[64];
    bool found = false;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        ssize_t n = readlink(name, to, sizeof to - 1);
        to[n > 0 ? n : 0] = '\0';
        found = found || strstr(to, "signalfd") != NULL;
    }
    (void)closedir(d);
    return found;
}

START_TEST(a_signal_at_any_moment_of_the_start_ends_it_in_order)
{
    for (int i = 0; i < 40; i++) {
        (void)service(factory, 2, FJ_OK, "");
        for (int more = 0; more < i % 3; more++) /* before the first worker is up, and after */
            (void)next('u');
        while (!takes_signals(parent)) /* until then they are the program's */
            continue;
        ck_assert_int_eq(kill(parent, SIGTERM), 0);
        ends_well();
        struct pollfd p = { .fd = news_pipe[0], .events = POLLIN };
        news n;
        while (poll(&p, 1, 0) == 1)
            ck_assert_int_eq(read(news_pipe[0], &n, sizeof n), (int)sizeof n);
    }
}
END_TEST

START_TEST(a_worker_that_dies_is_started_again_with_its_number)
{
    news first, again;

    (void)service(factory, 1, FJ_OK, "");
    first = next('u');
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(kill(first.pid, SIGKILL), 0);
        again = next('u');
        ck_assert_int_ne(again.pid, first.pid);
        ck_assert_uint_eq(again.number, 0);
        first = again;
    }
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    ends_well();
}
END_TEST

static int descriptors(pid_t pid)
{
    char command[64], line[32] = "";

    (void)snprintf(command, sizeof command, "ls /proc/%d/fd | wc -l", (int)pid);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
    (void)pclose(f);
    return atoi(line);
}

START_TEST(a_thousand_crashes_cost_the_parent_nothing)
{
    const char *many = getenv("FJ_CRASHES");
    const int crashes = many != NULL ? atoi(many) : 100;
    int before = 0;

    set("fjord", "respawn_delay", "0.001");
    (void)service(crashing, 4, FJ_OK, NULL); /* one may crash in the drain, which is told */
    for (int i = 0; i < crashes; i++) {
        (void)next('u');
        if (i == 20)
            before = descriptors(parent);
    }
    ck_assert_int_le(descriptors(parent), before + 4); /* a worker between its death and its burial */
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    ends_well();
}
END_TEST

START_TEST(what_dies_at_once_is_started_so_often_at_once_and_then_in_intervals)
{
    fj__throttle t = { 0 };
    const int64_t s = 1000000000;
    fj_deadline now = { 100 * s };

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(fj__throttle_next(&t, now, 3, s).ns, now.ns);
    ck_assert_int_eq(fj__throttle_next(&t, now, 3, s).ns, now.ns + s);
    now.ns += s;
    ck_assert_int_eq(fj__throttle_next(&t, now, 3, s).ns, now.ns + s);
    now.ns += 60 * s; /* a quiet minute, and the three are there again */
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(fj__throttle_next(&t, now, 3, s).ns, now.ns);
    ck_assert_int_eq(fj__throttle_next(&t, now, 3, s).ns, now.ns + s);
}
END_TEST

START_TEST(a_factory_that_can_never_succeed_ends_the_service_and_says_why)
{
    (void)service(wrong, 2, FJ_BAD_CONFIG, "there is no such shop");
    ends_well();
}
END_TEST

START_TEST(workers_end_when_their_parent_is_killed)
{
    news n[2];

    (void)service(factory, 2, FJ_OK, "");
    n[0] = next('u');
    n[1] = next('u');
    ck_assert_int_eq(kill(parent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    parent = 0;
    for (int i = 0; i < 2; i++) {
        int status = -1;
        (void)next('e');
        ck_assert_int_eq(waitpid(n[i].pid, &status, 0), n[i].pid);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

START_TEST(a_worker_that_does_not_end_is_killed_and_named)
{
    set("fjord", "drain", "0");
    (void)service(stubborn, 1, FJ_TIMEOUT, "worker calc/0: killed: it did not end within 6 s");
    (void)next('u');
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    ends_well();
}
END_TEST

START_TEST(one_that_is_coming_up_ends_at_once_on_sigint)
{
    (void)service(stubborn, 2, FJ_OK, "");
    (void)next('u');
    (void)next('u');
    ck_assert_int_eq(kill(parent, SIGINT), 0);
    ends_well();
}
END_TEST

/* What waits for an answer when the time is over is answered, by a failure; what runs is named. */
START_TEST(what_does_not_end_in_the_drain_is_given_up_and_named)
{
    static const struct {
        const char *drain;
        int first, second;
    } ways[] = { { "0.2", SIGTERM, 0 }, { "600", SIGTERM, SIGTERM }, { "600", SIGINT, 0 } };
    fj_target there = FJ_TARGET(.topic = "calc");
    fj_transport *t = NULL;
    fj_client *c = NULL;
    fj_future *hanging = NULL, *waiting = NULL;
    broker *b = broker_new();
    char url[64];

    ck_assert_ptr_nonnull(b);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", broker_port(b));
    set("DEFAULT", "transport_url", url);
    set("fjord", "executor", "threading");
    set("fjord", "drain", ways[_i].drain);
    (void)service(factory, 1, FJ_TIMEOUT, "hang");
    (void)next('u');
    ck_assert_int_eq(fj_transport_open(conf, NULL, &t, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_new(t, &there, NULL, &c, NULL), FJ_OK);
    while (broker_consumers(b, "calc") == 0)
        (void)broker_wait(b, AMQP_BASIC_CONSUME_METHOD, 3, 10000);
    ck_assert_int_eq(fj_client_call_async(c, "hang", NULL, NULL, &hanging, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_call_async(c, "later", NULL, NULL, &waiting, NULL), FJ_OK);
    (void)next('m');
    (void)next('m');

    ck_assert_int_eq(kill(parent, ways[_i].first), 0);
    if (ways[_i].second != 0) {
        ck_assert(broker_wait(b, AMQP_BASIC_CANCEL_METHOD, 1, 10000)); /* it drains */
        ck_assert_int_eq(kill(parent, ways[_i].second), 0);
    }
    fj_code code = fj_future_wait(waiting, fj_in_ms(20000), NULL, NULL);
    ck_assert_msg(code != FJ_OK && code != FJ_TIMEOUT, "what waited ended with %s", fj_code_name(code));
    ends_well();
    ck_assert_uint_eq(broker_seen(b, AMQP_QUEUE_DELETE_METHOD), 1); /* and leaves no queue of its own */
    ck_assert(!fj_future_done(hanging)); /* nobody can know: it ends by its own deadline */
    fj_future_unref(hanging);
    fj_future_unref(waiting);
    fj_client_free(c);
    fj_transport_free(t);
    broker_free(b);
}
END_TEST

/* ---- notifications ------------------------------------------------------------------------------ */

static atomic_int *deaths; /* shared by all processes: how many are still to come */

/* The payload is a number.  Some die of it. */
static fj_code hear(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const news n = { 'n', 0, getpid(), json_integer_value(json_object_get(args, "payload")) };

    (void)req, (void)ret, (void)err;
    if (n.value % 10 == 5 && atomic_fetch_sub(deaths, 1) > 0)
        (void)raise(SIGKILL);
    if (write(news_pipe[1], &n, sizeof n) != (ssize_t)sizeof n)
        _exit(99);
    return FJ_OK;
}

static const fj_method hearing[] = { FJ_METHOD("info", FJ_PLAIN, hear) };
static const fj_endpoint hearer = FJ_ENDPOINT(NULL, NULL, hearing);

static fj_code listening(fj_worker *w, void *user, fj_error **err)
{
    const fj_target targets[] = { FJ_TARGET(.topic = "news") };
    fj_notify_listener *l = NULL;
    fj_transport *t = NULL;
    fj_code code = fj_worker_transport(w, NULL, &t, err);

    (void)user;
    if (code == FJ_OK)
        code = fj_worker_listener(w, t, targets, 1, NULL, &l, err);
    if (code == FJ_OK)
        code = fj_notify_listener_add(l, &hearer, NULL, NULL, err);
    return code;
}

START_TEST(workers_listen_to_notifications_and_what_one_dies_of_goes_to_another)
{
    enum { MANY = 40, DEATHS = 3 };
    const char *const drivers[] = { "messagingv2", NULL }, *const topics[] = { "news", NULL };
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;
    fj_transport *t = NULL;
    fj_notifier *notifier = NULL;
    broker *b = broker_new();
    bool heard[MANY] = { false };
    char url[64];

    deaths = mmap(NULL, sizeof *deaths, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(deaths != MAP_FAILED);
    atomic_store(deaths, DEATHS);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", broker_port(b));
    set("DEFAULT", "transport_url", url);
    (void)service(listening, 2, FJ_OK, "");
    o.drivers = drivers;
    o.topics = topics;
    ck_assert_int_eq(fj_transport_open(conf, NULL, &t, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_new(t, &o, &notifier, NULL), FJ_OK);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(fj_notifier_info(notifier, "e", json_integer(i), NULL, NULL), FJ_OK);
    for (int i = 0; i < MANY;) { /* one that was heard by who died before it was acked comes again */
        news n = next('n');
        i += !heard[n.value];
        heard[n.value] = true;
    }
    ck_assert_int_le(atomic_load(deaths), 0);
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    ends_well();
    fj_notifier_free(notifier);
    fj_transport_free(t);
    broker_free(b);
    (void)munmap(deaths, sizeof *deaths);
}
END_TEST

/* ---- systemd ------------------------------------------------------------------------------------ */

static int listen_as_systemd(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    (void)snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "fjord-notify-%d", (int)getpid());
    ck_assert_int_eq(
        bind(fd, (struct sockaddr *)&at, (socklen_t)(sizeof(sa_family_t) + 1 + strlen(at.sun_path + 1))), 0);
    at.sun_path[0] = '@';
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", at.sun_path, 1), 0);
    return fd;
}

/* Read until a message holds @p wanted; none may hold @p unwanted. */
static void told(int fd, const char *wanted, const char *unwanted)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char text[2048] = "";

    while (strstr(text, wanted) == NULL) {
        ck_assert_msg(poll(&p, 1, 10000) == 1, "systemd was not told %s", wanted);
        ssize_t n = recv(fd, text, sizeof text - 1, 0);
        ck_assert_int_ge(n, 0);
        text[n] = '\0';
        ck_assert_msg(unwanted == NULL || strstr(text, unwanted) == NULL, "systemd was told %s", text);
    }
}

START_TEST(systemd_is_told_when_all_listen_when_they_reload_and_when_they_stop)
{
    int fd = listen_as_systemd();
    char path[] = "/tmp/fjord-service-XXXXXX";
    int file = mkstemp(path);

    ck_assert_int_ge(file, 0);
    dprintf(file, "[DEFAULT]\nrpc_response_timeout = 7\n");
    ck_assert_int_eq(fj_conf_read(conf, path, NULL), FJ_OK);
    (void)service(factory, 2, FJ_OK, "");
    told(fd, "READY=1", "STOPPING");
    (void)next('u');
    (void)next('u');

    dprintf(file, "rpc_response_timeout = 9\n");
    ck_assert_int_eq(kill(parent, SIGHUP), 0);
    told(fd, "RELOADING=1\nMONOTONIC_USEC=", "READY");
    told(fd, "READY=1", "Not reloaded");
    ck_assert_int_eq(next('r').value, 9);
    ck_assert_int_eq(next('r').value, 9);

    dprintf(file, "rpc_response_timeout = soon\n");
    ck_assert_int_eq(kill(parent, SIGHUP), 0);
    told(fd, "RELOADING=1", NULL);
    told(fd, "STATUS=Not reloaded: ", NULL);

    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    told(fd, "STOPPING=1", "READY");
    ends_well();
    (void)close(file);
    (void)unlink(path);
    (void)close(fd);
    (void)unsetenv("NOTIFY_SOCKET");
}
END_TEST

/* How many lines of a file have @p words. */
static unsigned count(const char *path, const char *words)
{
    char line[1024];
    FILE *f = fopen(path, "re");
    unsigned n = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        n += strstr(line, words) != NULL ? 1 : 0;
    if (f != NULL)
        (void)fclose(f);
    return n;
}

/* Within ten seconds. */
static void says(const char *path, const char *words)
{
    fj_deadline by = fj_in_ms(10000);

    while (count(path, words) == 0 && !fj_passed(by))
        (void)poll(NULL, 0, 5);
    ck_assert_msg(count(path, words) > 0, "%s does not say \"%s\"", path, words);
}

START_TEST(all_processes_log_where_the_file_says_and_open_it_anew_on_sighup)
{
    char folder[] = "/tmp/fjord-service-XXXXXX", path[64], log[64], old[64];

    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/conf", folder);
    (void)snprintf(log, sizeof log, "%s/log", folder);
    (void)snprintf(old, sizeof old, "%s/log.1", folder);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    (void)fprintf(file, "[fjord]\nlog_level = info\n[DEFAULT]\nlog_file = %s\n", log);
    ck_assert_int_eq(fflush(file), 0);
    ck_assert_int_eq(fj_conf_read(conf, path, NULL), FJ_OK);
    loud = true;
    (void)service(factory, 2, FJ_OK, "");
    (void)next('u');
    (void)next('u');
    says(log, "ready: 2 workers");  /* the parent */
    says(log, "executor blocking"); /* a worker */

    ck_assert_int_eq(rename(log, old), 0);
    (void)fprintf(file, "rpc_response_timeout = 9\n");
    (void)fclose(file);
    ck_assert_int_eq(kill(parent, SIGHUP), 0);
    (void)next('r');
    (void)next('r');
    says(log, "rpc_response_timeout is reloaded");
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    ends_well();
    ck_assert_uint_eq(count(log, ": stopped"), 2); /* their last words */
    ck_assert_int_eq(unlink(log) | unlink(old) | unlink(path) | rmdir(folder), 0);
}
END_TEST

START_TEST(the_watchdog_is_told_while_every_worker_turns_and_not_while_one_stands_still)
{
    int fd = listen_as_systemd();
    struct pollfd p = { .fd = fd, .events = POLLIN };
    news n;

    ck_assert_int_eq(setenv("WATCHDOG_USEC", "400000", 1), 0);
    (void)unsetenv("WATCHDOG_PID");
    (void)service(factory, 1, FJ_OK, "");
    n = next('u');
    told(fd, "READY=1", NULL);
    told(fd, "WATCHDOG=1", NULL);
    told(fd, "WATCHDOG=1", NULL);
    ck_assert_int_eq(kill(n.pid, SIGSTOP), 0);
    char text[2048];
    /* one round may have been answered before it stood still; four are asked in the time of the watchdog */
    unsigned rounds = 0;
    while (poll(&p, 1, 400) == 1) {
        ck_assert_int_ge(recv(fd, text, sizeof text, 0), 0);
        ck_assert_uint_le(++rounds, 2);
    }
    ck_assert_int_eq(kill(n.pid, SIGCONT), 0);
    told(fd, "WATCHDOG=1", NULL);
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    ends_well();
    (void)close(fd);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
}
END_TEST

/* In a worker of its own, and in the service's own process. */
START_TEST(the_watchdog_is_not_told_while_the_broker_is_gone_and_again_when_it_is_back)
{
    const unsigned workers = _i == 0 ? 1 : 0;
    int fd = listen_as_systemd();
    struct pollfd p = { .fd = fd, .events = POLLIN };
    broker *b = broker_new();
    char text[2048];

    ck_assert_ptr_nonnull(b);
    (void)snprintf(text, sizeof text, "rabbit://guest:guest@127.0.0.1:%u/", broker_port(b));
    set("DEFAULT", "transport_url", text);
    ck_assert_int_eq(setenv("WATCHDOG_USEC", "400000", 1), 0);
    (void)unsetenv("WATCHDOG_PID");
    const uint16_t port = broker_port(b);
    (void)service(factory, workers, FJ_OK, "");
    (void)next('u');
    told(fd, "READY=1", "STOPPING");
    told(fd, "WATCHDOG=1", NULL);
    b = broker_free(b);
    told(fd, workers > 0 ? "STATUS=0 of 1 workers serve" : "STATUS=The broker is lost", NULL);
    while (poll(&p, 1, 400) == 1) { /* four rounds are asked in that time */
        ssize_t n = recv(fd, text, sizeof text - 1, 0);
        ck_assert_int_ge(n, 0);
        text[n] = '\0';
        ck_assert_msg(strstr(text, "WATCHDOG") == NULL, "systemd was told %s", text);
    }
    b = broker_new_at(port);
    ck_assert_ptr_nonnull(b);
    told(fd, "WATCHDOG=1", NULL);
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    told(fd, "STOPPING=1", NULL);
    ends_well();
    broker_free(b);
    (void)close(fd);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
}
END_TEST

/* ---- what is refused ---------------------------------------------------------------------------- */

START_TEST(what_cannot_be_run_is_refused)
{
    fj_service *s = NULL;

    ck_assert_int_eq(fj_service_new(NULL, &s, NULL), FJ_OK);
    ck_assert_int_eq(fj_service_run(s, NULL), FJ_STATE);
    ck_assert_int_eq(fj_service_add(s, "a", factory, NULL, 1, NULL), FJ_OK);
    ck_assert_int_eq(fj_service_add(s, "b", factory, NULL, 0, NULL), FJ_BAD_ARGS);
    ck_assert_int_eq(fj_service_add(s, "b", factory, NULL, 1000000, NULL), FJ_BAD_ARGS);
    pid_t pid = fork();
    if (pid == 0)
        _exit(fj_service_run(s, NULL) == FJ_FORKED ? 0 : 1);
    int status = -1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    s = fj_service_free(s);
    ck_assert_ptr_null(fj_service_free(NULL));
}
END_TEST

START_TEST(without_workers_all_is_in_the_process_itself)
{
    (void)service(factory, 0, FJ_OK, "");
    ck_assert_int_eq(next('u').pid, parent);
    ck_assert_int_eq(kill(parent, SIGTERM), 0);
    (void)next('e');
    ends_well();
}
END_TEST

#ifdef __SANITIZE_THREAD__ /* where there is a thread, the broker's, none may be made in a child */
static const bool tsan = true;
#else
static const bool tsan = false;
#endif

int main(void)
{
    Suite *suite = suite_create("service");
    TCase *life = tcase_create("life");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(life, set_up, tear_down);
    tcase_set_timeout(life, 120);
    tcase_add_loop_test(life, workers_are_made_and_end_in_order_on_sigterm, 0, 2);
    tcase_add_test(life, a_signal_at_any_moment_of_the_start_ends_it_in_order);
    tcase_add_test(life, a_worker_that_dies_is_started_again_with_its_number);
    tcase_add_test(life, a_thousand_crashes_cost_the_parent_nothing);
    tcase_add_test(life, what_dies_at_once_is_started_so_often_at_once_and_then_in_intervals);
    tcase_add_test(life, a_factory_that_can_never_succeed_ends_the_service_and_says_why);
    tcase_add_test(life, workers_end_when_their_parent_is_killed);
    tcase_add_test(life, a_worker_that_does_not_end_is_killed_and_named);
    tcase_add_test(life, one_that_is_coming_up_ends_at_once_on_sigint);
    if (!tsan)
        tcase_add_loop_test(life, what_does_not_end_in_the_drain_is_given_up_and_named, 0, 3);
    if (!tsan)
        tcase_add_test(life, workers_listen_to_notifications_and_what_one_dies_of_goes_to_another);
    tcase_add_test(life, systemd_is_told_when_all_listen_when_they_reload_and_when_they_stop);
    tcase_add_test(life, the_watchdog_is_told_while_every_worker_turns_and_not_while_one_stands_still);
    if (!tsan)
        tcase_add_test(life, all_processes_log_where_the_file_says_and_open_it_anew_on_sighup);
    if (!tsan)
        tcase_add_loop_test(life, the_watchdog_is_not_told_while_the_broker_is_gone_and_again_when_it_is_back,
                            0, 2);
    tcase_add_test(life, what_cannot_be_run_is_refused);
    tcase_add_test(life, without_workers_all_is_in_the_process_itself);
    suite_add_tcase(suite, life);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
