/* SPDX-License-Identifier: Apache-2.0 */
/* Rows M1, M7, M11 and M12: messages that kill, that come twice, that go to many, that come too late. */
#include "tests/faults/rig.h"
#include "tests/faults/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILS = 30, LIMIT = 2, OVER_FAKE = 500, OVER_RABBIT = 60, LATE = 6, FAR = 100 };

static bool nothing_pends(void *user)
{
    return ledger_pending(((rig *)user)->book) == 0;
}

/* ---- M1: methods that fail ----------------------------------------------------------------------------- */

START_TEST(failing_methods)
{
    const rig_opts opts = { .executor = rows_executors[_i % 5],
                            .conf = _i < 5 ? NULL : "[fjord]\nack = done\n" };
    rig *r = rig_up(&opts);

    for (int i = 0; i < FAILS; i++) {
        fj_error *err = NULL;
        fj_code code = rig_call(r, "fail", LONG_MS, &err);
        rig_expect(code, err, FJ_REMOTE, FJ_SENT_YES);
    }
    rig_works(r);
    ck_assert_uint_eq(atomic_load(&r->ran), FAILS + 1);
    rig_down(r);
}
END_TEST

/* ---- M1: methods that end the process ------------------------------------------------------------------- */

typedef struct {
    pid_t pid;
    int port; /* it begins when it is told the port */
} process;

static int runs[2]; /* a byte each time that the method runs */

static fj_code crash(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    (void)!write(runs[1], "x", 1);
    (void)kill(getpid(), SIGKILL);
    return FJ_OK;
}

static fj_code well(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)err;
    *ret = json_integer(7);
    return FJ_OK;
}

static const fj_method deadly[] = { FJ_METHOD("crash", FJ_PLAIN, crash), FJ_METHOD("echo", FJ_PLAIN, well) };
static const fj_endpoint deadly_endpoint = FJ_ENDPOINT(NULL, "1.0", deadly);
static const fj_target here = FJ_TARGET(.topic = "t", .server = "s");

static int serve_in_process(int port_from, const char *conf_text)
{
    char text[1024];
    unsigned port = 0;
    fj_conf *conf = fj_conf_new();
    fj_transport *transport = NULL;
    fj_server *server = NULL;

    if (read(port_from, &port, sizeof port) != (ssize_t)sizeof port)
        return 0; /* it is not needed */
    (void)snprintf(text, sizeof text, "[DEFAULT]\ntransport_url = rabbit://guest:guest@127.0.0.1:%u/\n%s", port,
                   conf_text);
    if (fj_conf_parse(conf, "faults", text, strlen(text), NULL) != FJ_OK ||
        fj_transport_open(conf, NULL, &transport, NULL) != FJ_OK ||
        fj_server_new(transport, &here, NULL, &server, NULL) != FJ_OK ||
        fj_server_add(server, &deadly_endpoint, NULL, NULL) != FJ_OK || fj_server_start(server, NULL) != FJ_OK)
        return 1;
    (void)!read(port_from, &port, 1); /* until the other end is closed */
    fj_server_free(server);
    fj_transport_free(transport);
    fj_conf_free(conf);
    return 0;
}

/* While this process has no threads yet. */
static void fork_servers(process *them, int n, const char *conf)
{
    ck_assert_int_eq(pipe2(runs, O_CLOEXEC), 0);
    for (int i = 0; i < n; i++) {
        int ends[2];
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            (void)close(ends[1]);
            for (int j = 0; j < i; j++)
                (void)close(them[j].port);
            _exit(serve_in_process(ends[0], conf));
        }
        (void)close(ends[0]);
        them[i] = (process){ pid, ends[1] };
    }
}

static void begin_server(const rig *r, const process *p)
{
    unsigned port = broker_port(r->b);

    ck_assert_int_eq(write(p->port, &port, sizeof port), (int)sizeof port);
}

static bool serves(void *user)
{
    rig *r = user;

    return broker_consumers(r->b, "t") == 1;
}

static bool gone(void *user)
{
    rig *r = user;

    return broker_consumers(r->b, "t") == 0;
}

/* Wait for its end.  @return whether it was killed */
static bool crashed(const process *p)
{
    int status = 0;

    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status);
}

/* Ask for it, too. */
static bool ends_well(const process *p)
{
    (void)close(p->port);
    return !crashed(p);
}

static int count_runs(void)
{
    char bytes[64];

    ck_assert_int_eq(fcntl(runs[0], F_SETFL, O_NONBLOCK), 0);
    ssize_t n = read(runs[0], bytes, sizeof bytes);
    (void)close(runs[0]);
    (void)close(runs[1]);
    return n < 0 ? 0 : (int)n;
}

static fj_code call_crash(rig *r, int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    return fj_client_call(r->client, "crash", NULL, &o, NULL, err);
}

static void call_well(rig *r)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *err = NULL;

    o.by = fj_in_ms(LONG_MS);
    fj_code code = fj_client_call(r->client, "echo", NULL, &o, NULL, &err);
    ck_assert_msg(code == FJ_OK, "%s: %s", fj_code_name(code), fj_error_text(err));
}

START_TEST(a_crash_is_once)
{
    process them[2];
    fj_error *err = NULL;

    fork_servers(them, 2, "");
    rig *r = rig_up(&(rig_opts){ .alone = true });
    begin_server(r, &them[0]);
    rig_until(serves, r, "the server");
    fj_code code = call_crash(r, 1000, &err);
    rig_expect(code, err, FJ_TIMEOUT, FJ_SENT_YES);
    ck_assert(crashed(&them[0]));
    rig_until(gone, r, "the end of its connection");
    begin_server(r, &them[1]);
    rig_until(serves, r, "the next server");
    call_well(r); /* behind whatever would have come again */
    ck_assert(ends_well(&them[1]));
    ck_assert_int_eq(count_runs(), 1);
    rig_down(r);
}
END_TEST

START_TEST(a_crash_is_limited)
{
    static const char conf[] = "[fjord]\nack = done\n[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\n"
                               "rabbit_quorum_delivery_limit = 2\n";
    process them[LIMIT + 2];

    fork_servers(them, LIMIT + 2, conf);
    rig *r = rig_up(&(rig_opts){ .alone = true, .conf = conf });
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    o.by = fj_in_ms(LONG_MS);
    begin_server(r, &them[0]);
    rig_until(serves, r, "the server");
    ck_assert_int_eq(fj_client_cast(r->client, "crash", NULL, &o, NULL), FJ_OK);
    for (int i = 0; i <= LIMIT; i++) {
        ck_assert(crashed(&them[i]));
        rig_until(gone, r, "the end of its connection");
        begin_server(r, &them[i + 1]); /* which has it at once */
    }
    rig_until(serves, r, "the last server");
    call_well(r);
    ck_assert_uint_eq(broker_dead(r->b), 1);
    ck_assert(ends_well(&them[LIMIT + 1]));
    ck_assert_int_eq(count_runs(), LIMIT + 1);
    rig_down(r);
}
END_TEST

/* ---- M7 ---------------------------------------------------------------------------------------------- */

static unsigned publish_numbered(rig *r, unsigned n)
{
    char id[40];

    (void)snprintf(id, sizeof id, "%032u", n);
    char *body = rig_request("echo", "{\"x\": 7}", id, NULL);
    unsigned taken = rig_publish(r, "openstack", "t", body);
    free(body);
    return taken;
}

START_TEST(twice)
{
    const rig_opts opts = { .executor = rows_executors[_i] };
    rig *r = rig_up(&opts);

    for (unsigned n = 0; n < 20; n++)
        ck_assert_uint_eq(publish_numbered(r, n), 1);
    for (unsigned n = _i == 0 ? 4 : 0; n < 20; n++) /* sixteen are remembered at least; with more slots, more */
        ck_assert_uint_eq(publish_numbered(r, n), 1);
    rig_works(r);
    ck_assert_uint_eq(atomic_load(&r->ran), 21);
    rig_down(r);
}
END_TEST

/* What came long ago is forgotten: the memory of it has an end, and it runs again (docs/guarantees.md). */
START_TEST(twice_far_apart)
{
    rig *r = rig_up(NULL);

    for (unsigned n = 0; n < FAR; n++)
        ck_assert_uint_eq(publish_numbered(r, n), 1);
    ck_assert_uint_eq(publish_numbered(r, 0), 1);
    rig_await(&r->ran, FAR + 1, "the methods");
    rig_works(r);
    ck_assert_uint_eq(atomic_load(&r->ran), FAR + 2);
    rig_down(r);
}
END_TEST

/* ---- M11 --------------------------------------------------------------------------------------------- */

typedef struct crowd crowd;
typedef struct {
    crowd *of;
    bool slow;
    fj_server *server;
} member;

struct crowd {
    fj_transport *transport;
    fj_event *gate, *ready, *stopped;
    atomic_uint ran, waiting;
    fj_code code;
    unsigned n;
    member members[OVER_FAKE];
};

static fj_code heard(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    member *m = fj_request_data(req);

    (void)args, (void)ret, (void)err;
    if (m->slow) {
        atomic_fetch_add(&m->of->waiting, 1);
        (void)!fj_event_wait(m->of->gate, fj_never());
    }
    atomic_fetch_add(&m->of->ran, 1);
    return FJ_OK;
}

static const fj_method hearing[] = { FJ_METHOD("hear", FJ_CORO, heard) };
static const fj_endpoint hearing_endpoint = FJ_ENDPOINT(NULL, "1.0", hearing);

static fj_code start_member(member *m, unsigned number)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    char name[16];
    fj_target target = FJ_TARGET(.topic = "crowd", .server = name);

    (void)snprintf(name, sizeof name, "s%u", number);
    opts.executor = "coroutine";
    opts.slots = 2;
    fj_code code = fj_server_new(m->of->transport, &target, &opts, &m->server, NULL);
    if (code == FJ_OK)
        code = fj_server_add(m->server, &hearing_endpoint, m, NULL);
    return code == FJ_OK ? fj_server_start(m->server, NULL) : code;
}

/* All of them on one loop. */
static void *be_crowd(void *user)
{
    crowd *c = user;

    for (unsigned i = 0; i < c->n && c->code == FJ_OK; i++) {
        c->members[i].of = c;
        c->code = start_member(&c->members[i], i);
    }
    fj_event_set(c->ready);
    if (c->code == FJ_OK)
        c->code = fj_server_run(c->members[0].server, NULL);
    if (c->code == FJ_OK)
        c->code = fj_event_wait(c->stopped, fj_never()); /* whoever stopped it is through with it */
    for (unsigned i = 0; i < c->n; i++)
        fj_server_free(c->members[i].server);
    return NULL;
}

static void fan_out(fj_transport *transport, unsigned n)
{
    static crowd c;
    const fj_target there = FJ_TARGET(.topic = "crowd", .fanout = true);
    pthread_t thread;
    fj_client *client = NULL;
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    c = (crowd){ .transport = transport, .n = n };
    c.members[n / 2].slow = true;
    ck_assert_int_eq(fj_event_new("gate", &c.gate), FJ_OK);
    ck_assert_int_eq(fj_event_new("ready", &c.ready), FJ_OK);
    ck_assert_int_eq(fj_event_new("stopped", &c.stopped), FJ_OK);
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    o.by = fj_in_ms(6 * LONG_MS);
    o.fanout = true;
    ck_assert_int_eq(fj_client_cast(client, "hear", NULL, &o, NULL), FJ_OK); /* to nobody */
    ck_assert_int_eq(pthread_create(&thread, NULL, be_crowd, &c), 0);
    ck_assert_int_eq(fj_event_wait(c.ready, fj_in_ms(4 * LONG_MS)), FJ_OK);
    ck_assert_int_eq(c.code, FJ_OK);
    ck_assert_uint_eq(atomic_load(&c.ran), 0);
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_eq(fj_client_cast(client, "hear", NULL, &o, NULL), FJ_OK);
        rig_await(&c.ran, i * (n - 1), "all the others");
    }
    ck_assert_uint_eq(atomic_load(&c.waiting), 2); /* as many as it has slots */
    fj_event_set(c.gate);
    rig_await(&c.ran, 3 * n, "the slow one");
    fj_server_stop(c.members[0].server); /* its thread frees them all */
    fj_event_set(c.stopped);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(c.code, FJ_OK);
    ck_assert_uint_eq(atomic_load(&c.ran), 3 * n);
    fj_client_free(client);
    fj_event_free(c.gate);
    fj_event_free(c.ready);
    fj_event_free(c.stopped);
}

START_TEST(many_over_fake)
{
    fj_transport *transport = NULL;

    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    fan_out(transport, OVER_FAKE);
    fj_transport_free(transport);
}
END_TEST

START_TEST(many_over_rabbit)
{
    const rig_opts opts = { .alone = true };
    rig *r = rig_up(&opts);
    fj_transport *transport = rig_transport(r, &opts, NULL);

    fan_out(transport, OVER_RABBIT);
    fj_transport_free(transport);
    rig_down(r);
}
END_TEST

/* ---- M12 --------------------------------------------------------------------------------------------- */

START_TEST(too_late)
{
    const rig_opts opts = { .executor = rows_executors[_i % 5],
                            .slots = 1,
                            .conf = _i < 5 ? NULL : "[fjord]\nack = done\n" };
    rig *r = rig_up(&opts);

    rig_call_async(r, "hold", 2 * LONG_MS);
    rig_await(&r->holding, 1, "the method");
    for (int i = 0; i < LATE; i++)
        rig_call_async(r, "echo", SHORT_MS);
    ck_assert(broker_wait_ready(r->b, "t", 1, LONG_MS)); /* some are fetched, some wait with the broker */
    fj_future *last = NULL;
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    o.by = fj_in_ms(2 * SHORT_MS);
    /* Its end says that the time of those before it is over; its own may not quite be, and there is no such method. */
    ck_assert_int_eq(fj_client_call_async(r->client, "absent", NULL, &o, &last, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(last, fj_in_ms(LONG_MS), NULL, NULL), FJ_TIMEOUT);
    fj_future_unref(last);
    fj_event_set(r->gate);
    rig_until(nothing_pends, r, "the ends");
    rig_works(r); /* behind them all */
    ck_assert_uint_eq(ledger_count(r->book, FJ_TIMEOUT), LATE);
    /* What held, and the last.  Where nobody reads while every slot is taken, what lies unread counts from when it is read. */
    unsigned unread = _i % 5 < 2 ? 2 : 0;
    ck_assert_uint_le(atomic_load(&r->ran), 2 + unread);
    rig_down(r);
}
END_TEST

/* A cast has no deadline of its own: it runs, however late. */
START_TEST(casts_are_never_late)
{
    const rig_opts opts = { .slots = 1 };
    rig *r = rig_up(&opts);

    rig_call_async(r, "hold", 2 * LONG_MS);
    rig_await(&r->holding, 1, "the method");
    for (int i = 0; i < LATE; i++)
        ck_assert_int_eq(rig_cast(r, "echo", false, SHORT_MS, NULL), FJ_OK);
    ck_assert_int_eq(rig_call(r, "echo", 2 * SHORT_MS, NULL), FJ_TIMEOUT);
    fj_event_set(r->gate);
    rig_await(&r->ran, LATE + 1, "the casts");
    rig_works(r);
    ck_assert_uint_le(atomic_load(&r->ran), LATE + 3); /* that call may have been unread */
    rig_down(r);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("M: flow");

    rows_add_loop(s, "M1 a method that always fails says so each time, and is not tried again", failing_methods,
                  10);
    rows_add(s, "M1 a message that ends its process is gone with it", a_crash_is_once);
    rows_add(s, "M1 with ack = done it comes again as often as x-delivery-limit says", a_crash_is_limited);
    rows_add_each(s, "M7 a message that comes twice runs once", twice);
    rows_add(s, "M7 a message that comes again after many others runs again", twice_far_apart);
    rows_add(s, "M11 a fanout reaches nobody, and five hundred of whom one is slow, over fake://",
             many_over_fake);
    rows_add(s, "M11 a fanout reaches nobody, and many of whom one is slow, over rabbit://", many_over_rabbit);
    rows_add_loop(s, "M12 calls whose deadline passed while they waited do not run", too_late, 10);
    rows_add(s, "M12 casts run however late", casts_are_never_late);
    return rows_run(s);
}
