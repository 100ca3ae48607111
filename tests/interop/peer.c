/* SPDX-License-Identifier: Apache-2.0 */
/* The C side of the interop tests: reads one JSON command a line, answers one JSON object a line.
 * Commands: open, serve, stop, call, cast, begin, spin, seen, inspect, close. */
#include <errno.h>
#include <fjord/fjord.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVERS 16

/* ---- what the servers' casts left behind ------------------------------------------------------- */

static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t seen_more;
static json_t *seen;

static void remember(json_t *item)
{
    pthread_mutex_lock(&seen_lock);
    json_array_append_new(seen, item);
    pthread_cond_broadcast(&seen_more);
    pthread_mutex_unlock(&seen_lock);
}

static void wait_until(struct timespec *ret, double seconds)
{
    long long ns;

    clock_gettime(CLOCK_MONOTONIC, ret);
    ns = (long long)ret->tv_sec * 1000000000LL + ret->tv_nsec + (long long)(seconds * 1e9);
    ret->tv_sec = (time_t)(ns / 1000000000LL);
    ret->tv_nsec = (long)(ns % 1000000000LL);
}

/* ---- endpoints: the same as the Python side's -------------------------------------------------- */

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *x = json_object_get(args, "x");

    (void)req;
    if (x == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "echo() missing 1 required argument: 'x'");
    *ret = json_incref(x);
    return FJ_OK;
}

static fj_code add(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_int_t a, b;

    (void)req;
    if (json_unpack(args, "{s:I, s:I}", "a", &a, "b", &b) != 0)
        return fj_fail(err, FJ_BAD_ARGS, "add() needs integers a and b");
    *ret = json_integer(a + b);
    return FJ_OK;
}

static fj_code nothing(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret, (void)err;
    return FJ_OK;
}

static fj_code fail(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_raise(err, "builtins", "ValueError", NULL, "nope h\xc3\xa9");
}

static fj_code foreign(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_raise(err, "nova.exception", "InstanceNotFound", json_pack("[s]", "uuid1"), "no instance uuid1");
}

static fj_code expected(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_raise(err, "builtins", "KeyError", NULL, "expected");
}

static fj_code context(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)err;
    *ret = json_deep_copy(fj_request_context(req));
    return FJ_OK;
}

/* A method that takes its time: it waits on its own condition, which nobody signals. */
static fj_code slow(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never;
    pthread_condattr_t attr;
    struct timespec until;

    (void)req, (void)err;
    wait_until(&until, json_number_value(json_object_get(args, "seconds")));
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&never, &attr);
    pthread_mutex_lock(&lock);
    while (pthread_cond_timedwait(&never, &lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&never);
    pthread_condattr_destroy(&attr);
    *ret = json_string("slept");
    return FJ_OK;
}

/* The same by libc, so that a green method switches. */
static fj_code doze(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    double seconds = json_number_value(json_object_get(args, "seconds"));
    struct timespec left = { .tv_sec = (time_t)seconds };

    (void)req;
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0) {
        if (errno != EINTR)
            return fj_fail(err, FJ_SYSTEM, "nanosleep: %s", strerror(errno));
    }
    *ret = json_string("slept");
    return FJ_OK;
}

static fj_code spin(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_deadline by = fj_in_seconds(json_number_value(json_object_get(args, "seconds")));

    (void)req, (void)err;
    while (!fj_passed(by))
        continue;
    *ret = json_string("spun");
    return FJ_OK;
}

/* Call after call of libc's, of which none has to wait. */
static fj_code chatter(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_deadline by = fj_in_seconds(json_number_value(json_object_get(args, "seconds")));
    bool good = true;
    int ends[2];
    char c = 'x';

    (void)req;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return fj_fail(err, FJ_SYSTEM, "socketpair: %s", strerror(errno));
    while (good && !fj_passed(by))
        good = write(ends[0], &c, 1) == 1 && read(ends[1], &c, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    *ret = good ? json_string("chattered") : NULL;
    return good ? FJ_OK : fj_fail(err, FJ_SYSTEM, "the socket failed");
}

/* Says that it runs, then never ends in any test's time. */
static fj_code hang(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    remember(json_pack("[s, s]", (const char *)fj_request_data(req), "hangs"));
    return slow(req, args, ret, err);
}

static fj_code odd(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    static const char text[] = "{\"nan\": NaN, \"inf\": -Infinity, \"big\": 9223372036854775808}";

    (void)req, (void)args;
    return fj_json_read(text, sizeof(text) - 1, NULL, ret, err);
}

/* The server's own name is its data. */
static fj_code note(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    remember(json_pack("[s, O]", (const char *)fj_request_data(req), json_object_get(args, "x")));
    return FJ_OK;
}

static fj_code who(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)err;
    *ret = json_string(fj_request_data(req));
    return FJ_OK;
}

static fj_code hello(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_sprintf("hello %s", json_string_value(json_object_get(args, "name")));
    return FJ_OK;
}

static fj_code hello2(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_sprintf("hello2 %s", json_string_value(json_object_get(args, "name")));
    return FJ_OK;
}

static const fj_method plain_methods[] = {
    FJ_METHOD("echo", FJ_PLAIN, echo),       FJ_METHOD("add", FJ_PLAIN, add),
    FJ_METHOD("nothing", FJ_PLAIN, nothing), FJ_METHOD("fail", FJ_PLAIN, fail),
    FJ_METHOD("foreign", FJ_PLAIN, foreign), FJ_METHOD_FLAGS("expected", FJ_PLAIN, expected, FJ_EXPECTED),
    FJ_METHOD("context", FJ_PLAIN, context), FJ_METHOD("slow", FJ_PLAIN, slow),
    FJ_METHOD("hang", FJ_PLAIN, hang),       FJ_METHOD("odd", FJ_PLAIN, odd),
    FJ_METHOD("note", FJ_PLAIN, note),       FJ_METHOD("who", FJ_PLAIN, who),
    FJ_METHOD("_private", FJ_PLAIN, who),    FJ_METHOD("doze", FJ_PLAIN, doze),
    FJ_METHOD("spin", FJ_PLAIN, spin),       FJ_METHOD("chatter", FJ_PLAIN, chatter),
};
static const fj_method ns1_methods[] = { FJ_METHOD("hello", FJ_PLAIN, hello) };
static const fj_method ns2_methods[] = { FJ_METHOD("hello", FJ_PLAIN, hello2) };
static const fj_endpoint plain = FJ_ENDPOINT(NULL, NULL, plain_methods);
static const fj_endpoint ns1 = FJ_ENDPOINT("ns", "1.3", ns1_methods);
static const fj_endpoint ns2 = FJ_ENDPOINT("ns", "2.0", ns2_methods);

/* ---- commands ---------------------------------------------------------------------------------- */

typedef struct {
    char *name; /* NULL: free */
    fj_server *server;
    pthread_t thread;
    sem_t settled; /* it has started, or could not */
    fj_code code;
    fj_error *error;
} running;

static fj_transport *transport;
static running servers[SERVERS];

static const char *text_of(const json_t *cmd, const char *key)
{
    return json_string_value(json_object_get(cmd, key));
}

static fj_target target_of(const json_t *cmd)
{
    return (fj_target)FJ_TARGET(.exchange = text_of(cmd, "exchange"), .topic = text_of(cmd, "topic"),
                                .server = text_of(cmd, "server"), .ns = text_of(cmd, "namespace"),
                                .version = text_of(cmd, "version"),
                                .fanout = json_is_true(json_object_get(cmd, "fanout")));
}

static fj_code do_open(const json_t *cmd, json_t **ret, fj_error **err)
{
    fj_conf *conf = fj_conf_new();
    fj_code rc = conf != NULL ? FJ_OK : FJ_NOMEM;
    json_t *item;
    size_t i;

    (void)ret;
    json_array_foreach(json_object_get(cmd, "conf"), i, item)
    {
        const char *group, *key, *value;
        if (rc == FJ_OK && json_unpack(item, "[s, s, s]", &group, &key, &value) == 0)
            rc = fj_conf_set(conf, group, key, value, err);
    }
    if (rc == FJ_OK)
        rc = fj_transport_open(conf, text_of(cmd, "url"), &transport, err);
    fj_conf_free(conf);
    return rc;
}

/* Start and run: a server on a loop belongs to the thread that starts it. */
static void *run_server(void *user)
{
    running *r = user;
    fj_error *err = NULL;

    r->code = fj_server_start(r->server, &r->error);
    bool started = r->code == FJ_OK;
    sem_post(&r->settled);
    if (started && fj_server_run(r->server, &err) != FJ_OK)
        fprintf(stderr, "peer: run: %s\n", fj_error_text(err));
    fj_error_free(err);
    return NULL;
}

static fj_code start_on_thread(running *r, fj_error **err)
{
    sem_init(&r->settled, 0, 0);
    if (pthread_create(&r->thread, NULL, run_server, r) != 0)
        return fj_fail(err, FJ_SYSTEM, "no thread");
    while (sem_wait(&r->settled) != 0)
        continue;
    if (r->code == FJ_OK)
        return FJ_OK;
    pthread_join(r->thread, NULL);
    return fj_error_move(r->error, err);
}

static fj_code do_serve(const json_t *cmd, json_t **ret, fj_error **err)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target target = target_of(cmd);
    running *r = servers;
    fj_code rc;

    (void)ret;
    while (r->name != NULL)
        r++;
    opts.executor = text_of(cmd, "executor");
    rc = fj_server_new(transport, &target, &opts, &r->server, err);
    if (rc != FJ_OK)
        return rc;
    r->name = strdup(target.server);
    rc = fj_server_add(r->server, &plain, r->name, err);
    if (rc == FJ_OK)
        rc = fj_server_add(r->server, &ns1, r->name, err);
    if (rc == FJ_OK)
        rc = fj_server_add(r->server, &ns2, r->name, err);
    if (rc == FJ_OK)
        rc = start_on_thread(r, err);
    if (rc != FJ_OK) {
        fj_server_free(r->server);
        free(r->name);
        *r = (running){ 0 };
    }
    return rc;
}

static fj_code stop_one(running *r, fj_error **err)
{
    fj_code rc;

    fj_server_stop(r->server);
    pthread_join(r->thread, NULL);
    rc = fj_server_wait(r->server, fj_in_ms(5000), err);
    fj_server_free(r->server);
    free(r->name);
    *r = (running){ 0 };
    return rc;
}

static fj_code do_stop(const json_t *cmd, json_t **ret, fj_error **err)
{
    const char *name = text_of(cmd, "server");

    (void)ret;
    for (size_t i = 0; i < SERVERS; i++)
        if (servers[i].name != NULL && strcmp(servers[i].name, name) == 0)
            return stop_one(&servers[i], err);
    return fj_fail(err, FJ_NOT_FOUND, "no server %s", name);
}

static fj_code do_send(const json_t *cmd, json_t **ret, fj_error **err)
{
    bool is_call = strcmp(text_of(cmd, "do"), "call") == 0;
    json_t *args = json_incref(json_object_get(cmd, "args"));
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    fj_target target = target_of(cmd);
    fj_client *client = NULL;
    fj_code rc;

    opts.by = fj_in_seconds(json_number_value(json_object_get(cmd, "timeout")));
    opts.context = json_object_get(cmd, "context");
    opts.monitor = json_number_value(json_object_get(cmd, "monitor"));
    if (json_is_true(json_object_get(cmd, "mandatory")))
        opts.mandatory = 1;
    rc = fj_client_new(transport, &target, NULL, &client, err);
    if (rc == FJ_OK && is_call)
        rc = fj_client_call(client, text_of(cmd, "method"), args, &opts, ret, err);
    else if (rc == FJ_OK)
        rc = fj_client_cast(client, text_of(cmd, "method"), args, &opts, err);
    else
        json_decref(args);
    fj_client_free(client);
    return rc;
}

/* A caller busy in its own code: this thread computes, and calls nothing of the library but its clock. */
static fj_code do_spin(const json_t *cmd, json_t **ret, fj_error **err)
{
    fj_deadline by = fj_in_seconds(json_number_value(json_object_get(cmd, "seconds")));

    (void)ret, (void)err;
    while (!fj_passed(by))
        continue;
    return FJ_OK;
}

/* What casts left, once there are `count` of them. */
static fj_code do_seen(const json_t *cmd, json_t **ret, fj_error **err)
{
    size_t count = (size_t)json_integer_value(json_object_get(cmd, "count"));
    struct timespec until;
    int rc = 0;

    (void)err;
    wait_until(&until, json_number_value(json_object_get(cmd, "timeout")));
    pthread_mutex_lock(&seen_lock);
    while (rc == 0 && json_array_size(seen) < count)
        rc = pthread_cond_timedwait(&seen_more, &seen_lock, &until);
    *ret = seen;
    seen = json_array();
    pthread_mutex_unlock(&seen_lock);
    return FJ_OK;
}

/* What the process tells of itself. */
static fj_code do_inspect(const json_t *cmd, json_t **ret, fj_error **err)
{
    return fj_inspect(text_of(cmd, "kind"), fj_in_ms(2000), ret, err);
}

/* A call that nobody waits for. */
static fj_code do_begin(const json_t *cmd, json_t **ret, fj_error **err)
{
    fj_target target = target_of(cmd);
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_client *client = NULL;
    fj_future *future = NULL;
    fj_code rc = fj_client_new(transport, &target, NULL, &client, err);

    (void)ret;
    if (rc != FJ_OK)
        return rc;
    o.by = fj_in_seconds(json_number_value(json_object_get(cmd, "timeout")));
    rc = fj_client_call_async(client, text_of(cmd, "method"), json_incref(json_object_get(cmd, "args")), &o,
                              &future, err);
    fj_future_unref(future);
    fj_client_free(client);
    return rc;
}

static fj_code do_close(const json_t *cmd, json_t **ret, fj_error **err)
{
    (void)cmd, (void)ret;
    for (size_t i = 0; i < SERVERS; i++)
        if (servers[i].name != NULL && stop_one(&servers[i], err) != FJ_OK)
            return FJ_TIMEOUT;
    transport = fj_transport_free(transport);
    return FJ_OK;
}

static const struct {
    const char *name;
    fj_code (*fn)(const json_t *cmd, json_t **ret, fj_error **err);
} commands[] = {
    { "open", do_open },       { "serve", do_serve }, { "stop", do_stop }, { "call", do_send },
    { "cast", do_send },       { "spin", do_spin },   { "seen", do_seen }, { "close", do_close },
    { "inspect", do_inspect }, { "begin", do_begin },
};

static fj_code run(const json_t *cmd, json_t **ret, fj_error **err)
{
    const char *name = text_of(cmd, "do");

    for (size_t i = 0; name != NULL && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].fn(cmd, ret, err);
    return fj_fail(err, FJ_NOT_FOUND, "no such command");
}

static json_t *answer(fj_code rc, json_t *result, const fj_error *err)
{
    const json_t *args = fj_error_remote_args(err);

    if (rc == FJ_OK)
        return json_pack("{s:b, s:o}", "ok", 1, "result", result != NULL ? result : json_null());
    return json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "ok", 0, "code", fj_code_name(rc), "text",
                     fj_error_text(err), "sent", fj_sent_name(fj_error_sent(err)), "class",
                     fj_error_remote_class(err), "module", fj_error_remote_module(err), "where",
                     fj_error_where(err), "args", args != NULL ? json_deep_copy(args) : json_null());
}

static void handle(const char *line, size_t n)
{
    json_t *cmd = NULL, *result = NULL, *out;
    fj_error *err = NULL;
    char *text = NULL;
    fj_code rc = fj_json_read(line, n, NULL, &cmd, &err);

    if (rc == FJ_OK)
        rc = run(cmd, &result, &err);
    out = answer(rc, result, err);
    if (out != NULL && fj_json_write(out, NULL, &text, NULL, NULL) == FJ_OK)
        puts(text);
    else
        puts("{\"ok\": false, \"code\": \"PEER\", \"text\": \"the answer cannot be written\"}");
    fflush(stdout);
    free(text);
    json_decref(out);
    json_decref(cmd);
    fj_error_free(err);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    pthread_condattr_t attr;
    ssize_t n;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&seen_more, &attr);
    seen = json_array();
    while ((n = getline(&line, &capacity, stdin)) > 0)
        handle(line, (size_t)n);
    free(line);
    json_decref(seen);
    return 0;
}
