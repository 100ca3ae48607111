/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server with nothing to do makes no system call between heartbeats, under every executor and transport.  Each is a process
 * of its own, whose threads are all asleep; one that wakes for whatever reason is switched to, and the kernel counts that.
 */
#include "tests/support/broker.h"

#include <check.h>
#include <dirent.h>
#include <fjord/fjord.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 3000, LIMIT_MS = 30000 };

static const char *const executors[] = { "blocking", "threading", "coroutine" };
static const char *const transports[] = { "fake", "rabbit" };
static const char *const runs[] = { "fj_server_run", "fj_run" };

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))
#define CELLS (COUNT(executors) * COUNT(transports) * COUNT(runs))

struct cell {
    const char *executor, *transport, *run;
    pid_t pid;
    int port, ready; /* the child reads the broker's port from the one, and writes a byte to the other */
    unsigned long before;
};

/* ---- the child: a server that has answered one call ---------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_incref(args);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

static void must(fj_code code, fj_error *err, const char *what)
{
    if (code == FJ_OK)
        return;
    (void)fprintf(stderr, "idle_test: %s: %s\n", what, fj_error_text(err));
    _exit(1);
}

struct caller {
    fj_client *client;
    int ready;
};

/* The program's own thread, beside the server: it calls once, and then waits for its end. */
static void *call_once(void *user)
{
    struct caller *c = user;
    fj_error *err = NULL;

    must(fj_client_call(c->client, "echo", NULL, NULL, NULL, &err), err, "the call");
    if (write(c->ready, "+", 1) != 1)
        _exit(1);
    for (;;)
        (void)pause();
}

static void serve(const struct cell *c)
{
    char topic[64];
    fj_target here = FJ_TARGET(.topic = topic, .server = "s"), anywhere = FJ_TARGET(.topic = topic);
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    struct caller caller = { .ready = c->ready };
    fj_conf *conf = fj_conf_new();
    fj_error *err = NULL;
    uint16_t port = 0;
    char url[64] = "fake://";
    pthread_t thread;

    if (read(c->port, &port, sizeof port) != sizeof port)
        _exit(1);
    if (strcmp(c->transport, "rabbit") == 0)
        (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", (unsigned)port);
    (void)snprintf(topic, sizeof topic, "idle_%s_%s", c->executor, c->run);
    opts.executor = c->executor;
    must(fj_transport_open(conf, url, &transport, &err), err, "the transport");
    must(fj_server_new(transport, &here, &opts, &server, &err), err, "the server");
    must(fj_server_add(server, &endpoint, NULL, &err), err, "the endpoint");
    must(fj_server_start(server, &err), err, "the start");
    must(fj_client_new(transport, &anywhere, NULL, &caller.client, &err), err, "the client");
    if (pthread_create(&thread, NULL, call_once, &caller) != 0)
        _exit(1);
    must(strcmp(c->run, "fj_run") == 0 ? fj_run(&err) : fj_server_run(server, &err), err, c->run);
    _exit(1);
}

static void begin(struct cell *c)
{
    int port[2], ready[2];

    ck_assert(pipe(port) == 0 && pipe(ready) == 0);
    c->pid = fork();
    ck_assert_int_ge(c->pid, 0);
    if (c->pid == 0) {
        (void)close(port[1]);
        (void)close(ready[0]);
        c->port = port[0];
        c->ready = ready[1];
        serve(c);
    }
    (void)close(port[0]);
    (void)close(ready[1]);
    c->port = port[1];
    c->ready = ready[0];
}

/* ---- the parent: looks on ------------------------------------------------------------------------- */

/* How often the threads of @p pid were switched to, all together; @p names says who they are and how often each. */
static unsigned long switches(pid_t pid, char *names, size_t size)
{
    char path[64], line[128], task[400];
    unsigned long sum = 0, n;
    size_t at = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        (void)snprintf(task, sizeof task, "%s/%s/status", path, e->d_name);
        FILE *file = e->d_name[0] != '.' ? fopen(task, "re") : NULL;
        char name[64] = "";
        unsigned long mine = 0;
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            if (sscanf(line, "Name: %63s", name) != 1 &&
                (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1 ||
                 sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1))
                mine += n;
        }
        if (file == NULL)
            continue;
        (void)fclose(file);
        sum += mine;
        int put = snprintf(names + at, size - at, " %s=%lu", name, mine);
        at = put > 0 && (size_t)put < size - at ? at + (size_t)put : at;
    }
    (void)closedir(dir);
    return sum;
}

/* How many there were since the last look; *busy is one that had some, and who of it has had how many in all. */
static unsigned long look(struct cell *cells, char *busy, size_t size)
{
    unsigned long sum = 0;
    char names[512];

    for (int i = 0; i < CELLS; i++) {
        struct cell *c = &cells[i];
        unsigned long now = switches(c->pid, names, sizeof names), more = now - c->before;
        c->before = now;
        sum += more;
        if (more != 0)
            (void)snprintf(busy, size, "%s, %s, %s: %lu:%s", c->executor, c->transport, c->run, more, names);
    }
    return sum;
}

static struct cell cells[CELLS];

static void begin_all(uint16_t *port, broker **b)
{
    for (int i = 0; i < CELLS; i++) {
        cells[i].executor = executors[i % COUNT(executors)];
        cells[i].transport = transports[i / COUNT(executors) % COUNT(transports)];
        cells[i].run = runs[i / (COUNT(executors) * COUNT(transports))];
        begin(&cells[i]);
    }
    *b = broker_new(); /* no thread is there when the children are forked */
    ck_assert_ptr_nonnull(*b);
    broker_tune(*b, 2047, 131072, 60);
    *port = broker_port(*b);
}

START_TEST(an_idle_server_makes_no_system_call)
{
    char busy[800];
    fj_deadline by = fj_in_ms(LIMIT_MS);
    broker *b = NULL;
    uint16_t port = 0;

    begin_all(&port, &b);
    for (int i = 0; i < CELLS; i++)
        ck_assert_int_eq(write(cells[i].port, &port, sizeof port), sizeof port);
    for (int i = 0; i < CELLS; i++) {
        char c = 0;
        ck_assert_int_eq(read(cells[i].ready, &c, 1), 1);
    }
    /* What follows the calls is done first, and what was to be looked at once, such as the deadline of a connection that has
     * long been made: whatever has a period is seen in each look. */
    while (look(cells, busy, sizeof busy) != 0) {
        ck_assert_msg(!fj_passed(by), "woken within %d ms: %s", LOOK_MS, busy);
        (void)poll(NULL, 0, LOOK_MS);
    }
    for (int i = 0; i < CELLS; i++) {
        (void)kill(cells[i].pid, SIGKILL);
        ck_assert_int_eq(waitpid(cells[i].pid, NULL, 0), cells[i].pid);
    }
    broker_free(b);
}
END_TEST

int main(void)
{
#ifdef __SANITIZE_THREAD__
    (void)puts("skipped: TSan's own thread wakes all the time");
    return EXIT_SUCCESS;
#endif
    if (access("/proc/self/task", F_OK) != 0) {
        (void)puts("skipped: /proc is not mounted");
        return EXIT_SUCCESS;
    }
    Suite *suite = suite_create("idle");
    TCase *c = tcase_create("idle");

    tcase_set_timeout(c, 60);
    tcase_add_test(c, an_idle_server_makes_no_system_call);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
