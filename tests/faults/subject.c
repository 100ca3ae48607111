/* SPDX-License-Identifier: Apache-2.0 */
/* What the fault rows judge: one server, or one client with its load, which tells each thing that happens in a line of JSON, as it
 * happens, with the monotonic clock's seconds.  oslo_subject.py says the same of oslo.messaging.
 *   subject server EXECUTOR URL TOPIC [GROUP.KEY=VALUE...]
 *      began, from when on SIGTERM is heard; ready; run SEQ; stopped.  SIGTERM: it drains.  SIGHUP: it reads its configuration again; reloaded.
 *   subject client EXECUTOR URL TOPIC [GROUP.KEY=VALUE...]
 *      ready; begin SEQ by; end SEQ code sent text where; resting; stopped.  Its standard input orders, an object a line:
 *      {"do": "call" | "cast" | "fanout", "seq", "timeout"}, with "ms" a method takes, "bytes" of ballast, "method";
 *      {"do": "load", "seq": the first, "step": between a worker's numbers, "workers", "timeout", "pause": ms, "ms", "casts": a part of 1};
 *      {"do": "fork", "how"}: see life.h; forked.
 *      {"do": "rest"}: the load ends, `resting` when all that was begun has ended;  the end of the input: it closes and ends.
 *   subject cycles|clients EXECUTOR URL TOPIC times=N [GROUP.KEY=VALUE...]
 *      cycle; stopped.  N times everything begins and ends, or clients of one transport do.
 * conf=FILE among the options: what the configuration begins with.  The URL - is the configuration's.
 */
#include "tests/faults/life.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 64, LINE = 1 << 16 };

/* ---- what it says -------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One write a line: who reads gets all that was said before a SIGKILL, and never half a line of two threads. */
static void say(json_t *event)
{
    char *text = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(15));
    size_t n = text != NULL ? strlen(text) : 0;

    if (text != NULL) {
        text[n++] = '\n';
        if (write(STDOUT_FILENO, text, n) != (ssize_t)n)
            _exit(3); /* nobody reads any more */
    }
    free(text);
    json_decref(event);
}

static void tell(const char *event)
{
    say(json_pack("{s:s, s:f}", "ev", event, "at", now()));
}

static int die(const char *what, fj_code code, fj_error *err)
{
    say(json_pack("{s:s, s:s, s:s, s:s, s:s}", "ev", "died", "what", what, "code", fj_code_name(code), "text",
                  fj_error_text(err), "where", fj_error_where(err)));
    fj_error_free(err);
    return 1;
}

/* ---- the server ------------------------------------------------------------------------------------------ */

static json_int_t number(const json_t *o, const char *name, json_int_t otherwise)
{
    const json_t *v = json_object_get(o, name);

    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

void life_ran(const json_t *args)
{
    say(json_pack("{s:s, s:I, s:f}", "ev", "run", "seq", number(args, "seq", -1), "at", now()));
}

static fj_code run_it(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t seq = number(args, "seq", -1), ms = number(args, "ms", 0);

    (void)req;
    life_ran(args);
    if (ms > 0 && fj_sleep(fj_in_ms(ms)) != FJ_OK)
        return fj_fail(err, FJ_CANCELLED, "woken early");
    *ret = json_integer(seq);
    return FJ_OK;
}

/* Waits as C does. */
static fj_code block(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t seq = number(args, "seq", -1), ms = number(args, "ms", 0);
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

    (void)req, (void)err;
    life_ran(args);
    (void)nanosleep(&t, NULL);
    *ret = json_integer(seq);
    return FJ_OK;
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_incref(json_object_get(args, "seq"));
    return FJ_OK;
}

/* At length, so that much is logged. */
static fj_code fail(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret;
    life_ran(args);
    return fj_fail(err, FJ_BAD_VALUE, "%01000d", 0);
}

static fj_method methods[] = { FJ_METHOD("run_it", FJ_PLAIN, run_it),
                               FJ_METHOD("block", FJ_PLAIN, block),
                               FJ_METHOD("nested", FJ_PLAIN, life_nested),
                               FJ_METHOD("echo", FJ_PLAIN, echo),
                               FJ_METHOD("fail", FJ_PLAIN, fail),
                               FJ_METHOD("fork_use", FJ_PLAIN, life_fork_use),
                               FJ_METHOD("fork_exit", FJ_PLAIN, life_fork_exit),
                               FJ_METHOD("fork_close", FJ_PLAIN, life_fork_close),
                               FJ_METHOD("fork_exec", FJ_PLAIN, life_fork_exec) };
enum { METHODS = sizeof methods / sizeof *methods, IN_ITS_OWN_KIND = 4 };

static int serve(fj_transport *transport, const char *executor, const char *topic, const char *name)
{
    static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);
    const fj_target here = FJ_TARGET(.topic = topic, .server = name);
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_server *server = NULL;
    fj_error *err = NULL;

    /* Methods in the executor's own kind, but for one that would block its loop. */
    for (unsigned i = 0; i < IN_ITS_OWN_KIND; i++) {
        if (strcmp(executor, "green") == 0)
            methods[i].flavour = FJ_GREEN;
        else if (i != 1 && (strcmp(executor, "coroutine") == 0 || strcmp(executor, "bridged") == 0))
            methods[i].flavour = FJ_CORO;
    }
    opts.executor = executor;
    fj_code code = fj_run_signals(&err);
    tell("began");
    if (code == FJ_OK)
        code = fj_server_new(transport, &here, &opts, &server, &err);
    if (code == FJ_OK)
        code = fj_server_add(server, &endpoint, NULL, &err);
    if (code == FJ_OK)
        code = fj_server_start(server, &err);
    if (code == FJ_OK) {
        life_has(transport, NULL, server, topic);
        tell("ready");
        code = fj_run(&err);
        if (code == FJ_TIMEOUT) { /* what was given up still runs, on what would be freed */
            (void)die("drain", code, err);
            _exit(1);
        }
    }
    if (code == FJ_OK)
        code = fj_server_wait(server, fj_in_seconds(30), &err);
    fj_server_free(server);
    if (code != FJ_OK)
        return die("serve", code, err);
    tell("stopped");
    return 0;
}

/* ---- the client ------------------------------------------------------------------------------------------ */

static fj_client *client, *fanout;
static atomic_uint under_way;
static atomic_bool over;

struct op {
    json_int_t seq;
    const char *kind; /* call, cast or fanout */
    const char *method;
    json_int_t ms, bytes;
    double timeout;
};

static json_t *args_of(const struct op *op)
{
    json_t *args = json_pack("{s:I, s:I}", "seq", op->seq, "ms", op->ms);
    char *ballast = op->bytes > 0 ? malloc((size_t)op->bytes + 1) : NULL;

    if (ballast != NULL) {
        memset(ballast, 'x', (size_t)op->bytes);
        ballast[op->bytes] = '\0';
        (void)json_object_set_new(args, "ballast", json_string(ballast));
        free(ballast);
    }
    return args;
}

static fj_call_opts begin(const struct op *op)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    double at = now();

    (void)atomic_fetch_add(&under_way, 1);
    o.by = fj_in_seconds(op->timeout);
    say(json_pack("{s:s, s:I, s:s, s:f, s:f}", "ev", "begin", "seq", op->seq, "op", op->kind, "at", at, "by",
                  now() + op->timeout));
    return o;
}

/* @param err takes */
static void end(json_int_t seq, fj_code code, const json_t *ret, fj_error *err)
{
    say(json_pack("{s:s, s:I, s:f, s:s, s:s, s:s, s:s, s:O?}", "ev", "end", "seq", seq, "at", now(), "code",
                  fj_code_name(code), "sent", fj_sent_name(code == FJ_OK ? FJ_SENT_YES : fj_error_sent(err)),
                  "text", fj_error_text(err), "where", fj_error_where(err), "ret", ret));
    fj_error_free(err);
    (void)atomic_fetch_sub(&under_way, 1);
}

static void one(const struct op *op)
{
    bool is_call = strcmp(op->kind, "call") == 0;
    fj_call_opts o = begin(op);
    fj_error *err = NULL;
    json_t *ret = NULL;
    fj_code code = is_call ? fj_client_call(client, op->method, args_of(op), &o, &ret, &err)
                           : fj_client_cast(client, op->method, args_of(op), &o, &err);

    end(op->seq, code, ret, err);
    json_decref(ret);
}

/* One that is ordered by itself: nobody waits for it. */
static void completed(fj_future *future, void *user)
{
    json_int_t *seq = user;
    fj_error *err = NULL;
    json_t *ret = NULL;
    fj_code code = fj_future_result(future, &ret, &err);

    end(*seq, code, ret, err);
    json_decref(ret);
    free(seq);
}

static void start(const struct op *op)
{
    fj_future *future = NULL;
    fj_error *err = NULL;
    json_int_t *seq = malloc(sizeof *seq);
    fj_call_opts o = begin(op);
    fj_client *to = strcmp(op->kind, "fanout") == 0 ? fanout : client;

    if (seq == NULL)
        exit(3);
    *seq = op->seq;
    fj_code code = strcmp(op->kind, "call") == 0
                       ? fj_client_call_async(to, op->method, args_of(op), &o, &future, &err)
                       : fj_client_cast_async(to, op->method, args_of(op), &o, &future, &err);
    if (code == FJ_OK)
        code = fj_future_then(future, completed, seq);
    if (code != FJ_OK) {
        end(op->seq, code, NULL, err);
        free(seq);
    }
    fj_future_unref(future);
}

/* ---- its load -------------------------------------------------------------------------------------------- */

struct worker {
    struct op op;
    json_int_t step;
    double casts, pause;
    unsigned dice;
};

static struct worker workers[WORKERS];
static unsigned n_workers;

static void work(struct worker *w)
{
    while (!atomic_load(&over)) {
        w->op.kind = (double)rand_r(&w->dice) / RAND_MAX < w->casts ? "cast" : "call";
        one(&w->op);
        w->op.seq += w->step;
        (void)!fj_sleep(fj_in_seconds(w->pause / 1000)); /* a load, not a flood */
    }
}

static void *work_in_thread(void *user)
{
    work(user);
    return NULL;
}

static fj_code work_in_task(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    work(user);
    return FJ_OK;
}

static void tasks_of_one_loop(bool green)
{
    fj_task_opts o = FJ_TASK_OPTS_INIT;
    fj_future *futures[WORKERS], *all = NULL;
    fj_task *tasks[WORKERS];
    fj_loop *loop = NULL;
    fj_code code = fj_loop_current(&loop, NULL);

    o.green = green;
    for (unsigned i = 0; i < n_workers && code == FJ_OK; i++) {
        code = fj_task_spawn(work_in_task, &workers[i], &o, &tasks[i], NULL);
        futures[i] = code == FJ_OK ? fj_task_future(tasks[i]) : NULL;
    }
    if (code == FJ_OK)
        code = fj_gather(futures, n_workers, 0, &all, NULL);
    if (code == FJ_OK)
        code = fj_loop_run_until_complete(loop, all, NULL, NULL);
    if (code != FJ_OK)
        exit(3);
    fj_future_unref(all);
    for (unsigned i = 0; i < n_workers; i++)
        fj_task_unref(tasks[i]);
}

static const char *kind_of_executor;

/* Its workers as the executor runs things: each on a thread, or all as tasks of one loop. */
static void *load(void *unused)
{
    pthread_t threads[WORKERS];

    if (strcmp(kind_of_executor, "blocking") != 0 && strcmp(kind_of_executor, "threading") != 0) {
        tasks_of_one_loop(strcmp(kind_of_executor, "green") == 0);
        return unused;
    }
    for (unsigned i = 0; i < n_workers; i++) {
        if (pthread_create(&threads[i], NULL, work_in_thread, &workers[i]) != 0)
            exit(3);
    }
    for (unsigned i = 0; i < n_workers; i++)
        (void)pthread_join(threads[i], NULL);
    return unused;
}

/* ---- its orders ------------------------------------------------------------------------------------------ */

static double real(const json_t *o, const char *name, double otherwise)
{
    const json_t *v = json_object_get(o, name);

    return json_is_number(v) ? json_number_value(v) : otherwise;
}

static const char *word(const json_t *o, const char *name, const char *otherwise)
{
    const json_t *v = json_object_get(o, name);

    return json_is_string(v) ? json_string_value(v) : otherwise;
}

static struct op op_of(const json_t *order, const char *kind)
{
    const char *method = word(order, "method", "run_it");
    unsigned i = 0;

    while (i + 1 < METHODS && strcmp(methods[i].name, method) != 0)
        i++;
    return (struct op){ .seq = number(order, "seq", 0),
                        .kind = kind,
                        .method = methods[i].name,
                        .ms = number(order, "ms", 0),
                        .bytes = number(order, "bytes", 0),
                        .timeout = real(order, "timeout", 2) };
}

static void put_to_work(const json_t *order, pthread_t *thread)
{
    n_workers = (unsigned)number(order, "workers", 8);
    if (n_workers > WORKERS)
        n_workers = WORKERS;
    for (unsigned i = 0; i < n_workers; i++) {
        workers[i] = (struct worker){ .op = op_of(order, "call"),
                                      .step = n_workers,
                                      .casts = real(order, "casts", 0),
                                      .pause = real(order, "pause", 5),
                                      .dice = (unsigned)number(order, "seed", 1) + i };
        workers[i].op.seq += i;
    }
    atomic_store(&over, false);
    if (pthread_create(thread, NULL, load, NULL) != 0)
        exit(3);
}

static void rest(bool *loaded, pthread_t thread)
{
    atomic_store(&over, true);
    if (*loaded)
        (void)pthread_join(thread, NULL);
    *loaded = false;
    while (atomic_load(&under_way) > 0)
        (void)!fj_sleep(fj_in_ms(5));
    tell("resting");
}

static int order(fj_transport *transport, const char *executor, const char *topic)
{
    const fj_target there = FJ_TARGET(.topic = topic), all = FJ_TARGET(.topic = topic, .fanout = true);
    static char line[LINE];
    bool loaded = false;
    pthread_t thread = 0;
    fj_error *err = NULL;
    fj_code code = fj_client_new(transport, &there, NULL, &client, &err);

    if (code == FJ_OK)
        code = fj_client_new(transport, &all, NULL, &fanout, &err);
    if (code != FJ_OK)
        return die("client", code, err);
    kind_of_executor = executor;
    life_has(transport, client, NULL, topic);
    tell("ready");
    while (fgets(line, sizeof line, stdin) != NULL) {
        json_t *o = json_loads(line, 0, NULL);
        const char *what = word(o, "do", "");
        if (strcmp(what, "load") == 0) {
            put_to_work(o, &thread);
            loaded = true;
        } else if (strcmp(what, "rest") == 0) {
            rest(&loaded, thread);
        } else if (strcmp(what, "fork") == 0) {
            say(json_pack("{s:s, s:b}", "ev", "forked", "good", life_fork(word(o, "how", ""))));
        } else if (strcmp(what, "cast") == 0 || strcmp(what, "fanout") == 0 || strcmp(what, "call") == 0) {
            struct op op = op_of(o, what[0] == 'f'                     ? "fanout"
                                    : what[1] == 'a' && what[2] == 'l' ? "call"
                                                                       : "cast");
            start(&op);
        } else {
            return die("order", FJ_BAD_ARGS, NULL);
        }
        json_decref(o);
    }
    if (loaded)
        rest(&loaded, thread);
    client = fj_client_free(client);
    fanout = fj_client_free(fanout);
    return 0;
}

/* ---- the program ------------------------------------------------------------------------------------------ */

/* GROUP.KEY=VALUE */
static fj_code set(fj_conf *conf, const char *text, fj_error **err)
{
    char group[64], key[64];
    int n = 0;

    if (sscanf(text, "%63[^.].%63[^=]=%n", group, key, &n) != 2 || n == 0)
        return fj_fail(err, FJ_BAD_ARGS, "%s is no GROUP.KEY=VALUE", text);
    return fj_conf_set(conf, group, key, text + n, err);
}

static int cycles(fj_conf *conf, char **argv, unsigned n)
{
    fj_error *err = NULL;
    fj_code code = life_cycles(conf, argv[2], argv[3], argv[4], n, strcmp(argv[1], "clients") == 0, say, &err);

    if (code != FJ_OK)
        return die("cycles", code, err);
    tell("stopped");
    return 0;
}

static int live(fj_conf *conf, char **argv, const char *name)
{
    fj_transport *transport = NULL;
    fj_error *err = NULL;
    bool is_server = strcmp(argv[1], "server") == 0;
    fj_code code = fj_transport_open(conf, strcmp(argv[3], "-") != 0 ? argv[3] : NULL, &transport, &err);

    if (code != FJ_OK)
        return die("open", code, err);
    life_reload_at_hup(transport, say);
    int status = is_server ? serve(transport, argv[2], argv[4], name) : order(transport, argv[2], argv[4]);
    fj_transport_free(transport);
    if (!is_server && status == 0)
        tell("stopped");
    return status;
}

int main(int argc, char **argv)
{
    const char *name = "one", *times = NULL;
    fj_error *err = NULL;
    fj_code code = FJ_OK;

    if (argc < 5)
        return 2;
    life_block_hup();
    fj_conf *conf = fj_conf_new();
    for (int i = 5; i < argc && code == FJ_OK && conf != NULL; i++) {
        if (strncmp(argv[i], "server=", 7) == 0)
            name = argv[i] + 7;
        else if (strncmp(argv[i], "times=", 6) == 0)
            times = argv[i] + 6;
        else if (strncmp(argv[i], "conf=", 5) == 0)
            code = fj_conf_read(conf, argv[i] + 5, &err);
        else
            code = set(conf, argv[i], &err);
    }
    if (conf == NULL || code != FJ_OK)
        return die("configure", code, err);
    int status =
        times != NULL ? cycles(conf, argv, (unsigned)strtoul(times, NULL, 10)) : live(conf, argv, name);
    fj_conf_free(conf);
    return status;
}
