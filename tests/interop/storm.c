/* SPDX-License-Identifier: Apache-2.0 */
/* A server and clients over real connections that somebody else breaks meanwhile, judged by the ledger.
 *   storm EXECUTOR TOPIC URL SECONDS
 * With an executor on a loop half of the clients are tasks of loops, too.
 * Says `ready` when the first call came back, and at the end one JSON object; exit status 0 when the ledger balances. */
#include "tests/support/ledger.h"

#include <fjord/fjord.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, TASKS = 4, BATCH = 8, ROOM = 400000, BY_MS = 3000, AFTER_MS = 15000 };

static ledger *book;
static fj_client *client;
static fj_deadline end;

static fj_code run_it(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *seq = json_object_get(args, "seq");

    (void)req, (void)err;
    if (seq != NULL)
        ledger_ran(book, (unsigned)json_integer_value(seq));
    *ret = json_incref(args);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("run_it", FJ_PLAIN, run_it) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

/* ---- operations ----------------------------------------------------------------------------------- */

static unsigned begin(fj_call_opts *o)
{
    unsigned seq = ledger_begin(book);

    o->by = fj_in_ms(BY_MS);
    ledger_due(book, seq, o->by);
    return seq;
}

static json_t *args_of(unsigned seq)
{
    return json_pack("{s:i}", "seq", (int)seq);
}

static void one(bool is_cast)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *err = NULL;
    unsigned seq = begin(&o);
    fj_code rc = is_cast ? fj_client_cast(client, "run_it", args_of(seq), &o, &err)
                         : fj_client_call(client, "run_it", args_of(seq), &o, NULL, &err);

    ledger_ended(book, seq, rc, fj_error_sent(err));
    fj_error_free(err);
}

/* Asynchronous calls and casts, for which nobody leads: the keeper has to, or the caller's loop. */
struct pending {
    atomic_uint left;
    fj_event *all;
};

struct op {
    struct pending *pending;
    unsigned seq;
};

static void one_less(struct pending *p)
{
    fj_event *all = p->all;

    if (atomic_fetch_sub(&p->left, 1) == 1)
        fj_event_set(all);
}

static void completed(fj_future *future, void *user)
{
    struct op *op = user;
    fj_error *err = NULL;
    fj_code rc = fj_future_result(future, NULL, &err);

    ledger_ended(book, op->seq, rc, fj_error_sent(err));
    fj_error_free(err);
    one_less(op->pending);
}

static void batch(fj_event *all)
{
    struct pending p = { BATCH, all };
    struct op ops[BATCH];

    fj_event_clear(all);
    for (unsigned i = 0; i < BATCH; i++) {
        fj_call_opts o = FJ_CALL_OPTS_INIT;
        fj_future *future = NULL;
        fj_error *err = NULL;
        ops[i] = (struct op){ &p, begin(&o) };
        fj_code rc = i % 2 != 0
                         ? fj_client_call_async(client, "run_it", args_of(ops[i].seq), &o, &future, &err)
                         : fj_client_cast_async(client, "run_it", args_of(ops[i].seq), &o, &future, &err);
        if (rc != FJ_OK || fj_future_then(future, completed, &ops[i]) != FJ_OK) {
            if (rc != FJ_OK) /* else, without memory, the ledger misses its end */
                ledger_ended(book, ops[i].seq, rc, fj_error_sent(err));
            one_less(&p);
        }
        fj_future_unref(future);
        fj_error_free(err);
    }
    (void)!fj_event_wait(all, fj_never());
}

static void *storm(void *unused)
{
    fj_event *all = NULL;

    if (fj_event_new("batch", &all) != FJ_OK)
        return unused;
    for (unsigned i = 0; !fj_passed(end); i++) {
        if (i % 8 == 7)
            batch(all);
        else
            one(i % 2 != 0);
    }
    fj_event_free(all);
    return unused;
}

static fj_code storm_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    (void)storm(user);
    return FJ_OK;
}

/* The same by tasks of a loop, over the loop's own connections. */
static void *storm_on_loop(void *unused)
{
    fj_future *futures[TASKS], *all = NULL;
    fj_task *tasks[TASKS];
    fj_loop *loop = NULL;
    fj_code rc = fj_loop_current(&loop, NULL);

    for (unsigned i = 0; i < TASKS && rc == FJ_OK; i++) {
        rc = fj_task_spawn(storm_in_task, NULL, NULL, &tasks[i], NULL);
        futures[i] = rc == FJ_OK ? fj_task_future(tasks[i]) : NULL;
    }
    if (rc == FJ_OK)
        rc = fj_gather(futures, TASKS, 0, &all, NULL);
    if (rc == FJ_OK)
        rc = fj_loop_run_until_complete(loop, all, NULL, NULL);
    if (rc != FJ_OK)
        exit(2);
    fj_future_unref(all);
    for (unsigned i = 0; i < TASKS; i++)
        fj_task_unref(tasks[i]);
    return unused;
}

/* ---- the program ------------------------------------------------------------------------------------ */

static int die(const char *what, fj_error *err)
{
    (void)fprintf(stderr, "storm: %s: %s\n", what, fj_error_text(err));
    fj_error_free(err);
    exit(2);
}

static fj_transport *open_at(const char *url)
{
    static const char *const keys[][2] = { { "kombu_reconnect_delay", "0.1" },
                                           { "rabbit_retry_interval", "0.1" },
                                           { "rabbit_retry_backoff", "0" } };
    fj_conf *conf = fj_conf_new();
    fj_transport *t = NULL;
    fj_error *err = NULL;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (fj_conf_set(conf, "oslo_messaging_rabbit", keys[i][0], keys[i][1], &err) != FJ_OK)
            die("conf", err);
    }
    if (fj_transport_open(conf, url, &t, &err) != FJ_OK)
        die("open", err);
    fj_conf_free(conf);
    return t;
}

static void *serve(void *server)
{
    fj_error *err = NULL;

    if (fj_server_start(server, &err) != FJ_OK)
        die("start", err);
    if (fj_server_run(server, &err) != FJ_OK)
        die("run", err);
    return NULL;
}

/* A call that comes back, after how many that did not. */
static bool works(int ms)
{
    for (fj_deadline by = fj_in_ms(ms); !fj_passed(by);) {
        fj_call_opts o = FJ_CALL_OPTS_INIT;
        o.by = fj_in_ms(1000);
        if (fj_client_call(client, "run_it", NULL, &o, NULL, NULL) == FJ_OK)
            return true;
    }
    return false;
}

static int judge(bool back)
{
    static const fj_code codes[] = { FJ_OK, FJ_TIMEOUT, FJ_LOST, FJ_UNREACHABLE, FJ_UNDELIVERABLE };
    char text[300];
    bool good = ledger_settled(book, AFTER_MS, text, sizeof text);
    json_t *out = json_pack("{s:b, s:s, s:b, s:i}", "balanced", good, "text", text, "back", back, "latest",
                            (int)ledger_latest(book));

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        (void)json_object_set_new(out, fj_code_name(codes[i]),
                                  json_integer((json_int_t)ledger_count(book, codes[i])));
    (void)json_object_set_new(out, "all", json_integer((json_int_t)ledger_begin(book)));
    (void)json_dumpf(out, stdout, JSON_COMPACT);
    (void)puts("");
    json_decref(out);
    return good && back ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target there = FJ_TARGET(.topic = argv[2]), here = FJ_TARGET(.topic = argv[2], .server = "s");
    fj_transport *near = open_at(argv[3]), *far = open_at(argv[3]);
    pthread_t threads[THREADS], runner;
    fj_server *server = NULL;
    fj_error *err = NULL;

    book = ledger_new(ROOM);
    opts.executor = argv[1];
    opts.slots = strcmp(argv[1], "blocking") == 0 ? 1 : 4;
    if (fj_server_new(far, &here, &opts, &server, &err) != FJ_OK ||
        fj_server_add(server, &endpoint, NULL, &err) != FJ_OK ||
        fj_client_new(near, &there, NULL, &client, &err) != FJ_OK)
        die("start", err);
    (void)pthread_create(&runner, NULL, serve, server);
    if (!works(AFTER_MS))
        die("the first call", NULL);
    (void)puts("ready");
    (void)fflush(stdout);
    end = fj_in_seconds(atof(argv[4]));
    /* Half of the threads, then. */
    bool loops = strcmp(argv[1], "blocking") != 0 && strcmp(argv[1], "threading") != 0;
    for (int i = 0; i < THREADS; i++)
        (void)pthread_create(&threads[i], NULL, loops && i % 2 == 0 ? storm_on_loop : storm, NULL);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    bool back = works(AFTER_MS);
    int status = judge(back);
    fj_server_stop(server);
    (void)pthread_join(runner, NULL);
    if (fj_server_wait(server, fj_in_ms(5000), &err) != FJ_OK)
        die("stop", err);
    fj_server_free(server);
    fj_client_free(client);
    fj_transport_free(near);
    fj_transport_free(far);
    ledger_free(book);
    return status;
}
