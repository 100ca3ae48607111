/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call costs that a server on a loop has in hand: `parked URL CALLS [METHOD...]`.  One process serves and nothing else;
 * this one calls, and reads the server's resident memory before, and when all calls are in hand.  Under `coroutine` each method
 * waits for an event in its task, or has deferred its request, and a thread answers them all.  Under `green` each waits
 * in a function of libc: it reads from a socket, polls two, or sleeps.  Every call must be answered.
 */
#include <fjord/await.h>
#include <fjord/fjord.h>
#include <fjord/sync.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT "0123456789abcdef0123456789"
#define CALLS_MAX 100000
#define PAIRS 4000 /* few wait for the same: libev looks through all of a descriptor's when one comes or goes */

static void check(fj_code code, const char *what, fj_error *err)
{
    if (code == FJ_OK)
        return;
    (void)fprintf(stderr, "parked: %s: %s\n", what, err != NULL ? fj_error_text(err) : fj_code_text(code));
    exit(EXIT_FAILURE);
}

/* ---- the server -------------------------------------------------------------------------------- */

static fj_server *server;
static fj_event *gate;
static fj_request *kept[CALLS_MAX];
static unsigned in_hand, expected;
static int pairs[PAIRS][2];

static void count(void)
{
    if (++in_hand != expected)
        return;
    puts("held");
    (void)fflush(stdout);
}

static fj_code park(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    count();
    *ret = json_incref(json_object_get(args, "x"));
    return fj_event_wait(gate, fj_never());
}

static fj_code defer(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    kept[in_hand] = fj_request_ref(req);
    count();
    return FJ_DEFERRED;
}

static fj_code answered(bool ok, json_t *args, json_t **ret, fj_error **err)
{
    *ret = json_incref(json_object_get(args, "x"));
    return ok ? FJ_OK : fj_fail(err, FJ_SYSTEM, "%s", strerror(errno));
}

static fj_code read_one(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    char byte;
    int fd = pairs[in_hand % PAIRS][0];

    (void)req;
    count();
    return answered(read(fd, &byte, 1) == 0, args, ret, err); /* the other end has gone */
}

static fj_code poll_two(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct pollfd two[2] = { { .fd = pairs[in_hand % PAIRS][0], .events = POLLIN },
                             { .fd = pairs[(in_hand + 1) % PAIRS][0], .events = POLLIN } };

    (void)req;
    count();
    return answered(poll(two, 2, -1) > 0, args, ret, err);
}

/* Nothing ends it early: long enough for all to be in hand. */
static fj_code doze(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    unsigned seconds = 3 + expected / 2500;

    (void)req;
    count();
    return answered(sleep(seconds) == 0, args, ret, err);
}

static const fj_method methods[] = {
    FJ_METHOD("park", FJ_CORO, park),      FJ_METHOD("defer", FJ_CORO, defer),
    FJ_METHOD("read", FJ_PLAIN, read_one), FJ_METHOD("poll", FJ_PLAIN, poll_two),
    FJ_METHOD("sleep", FJ_PLAIN, doze),
};
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static void *answer(void *user)
{
    (void)user;
    for (unsigned i = 0; i < in_hand && kept[i] != NULL; i++) {
        fj_error *err = NULL;

        check(fj_request_reply(kept[i], json_string(TEXT), &err), "reply", err);
        (void)fj_request_unref(kept[i]);
    }
    return NULL;
}

static void on_release(fj_loop *loop, int number, void *user)
{
    pthread_t thread;

    (void)loop, (void)number, (void)user;
    fj_event_set(gate);
    for (int i = 0; i < PAIRS; i++)
        (void)shutdown(pairs[i][1], SHUT_WR);
    if (pthread_create(&thread, NULL, answer, NULL) != 0 || pthread_detach(thread) != 0)
        check(FJ_SYSTEM, "a thread", NULL);
}

static void on_stop(fj_loop *loop, int number, void *user)
{
    (void)loop, (void)number, (void)user;
    fj_server_stop(server);
}

static void open_pairs(void)
{
    struct rlimit files;

    check(getrlimit(RLIMIT_NOFILE, &files) == 0 ? FJ_OK : FJ_SYSTEM, "getrlimit", NULL);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < PAIRS; i++)
        check(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]) == 0 ? FJ_OK : FJ_SYSTEM, "socketpair", NULL);
}

static void serve(const char *url, const char *executor)
{
    fj_target here = FJ_TARGET(.topic = "bench_parked", .server = "bench");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_loop *loop = NULL;
    fj_error *err = NULL;

    opts.executor = executor;
    opts.slots = expected;
    open_pairs();
    check(fj_loop_current(&loop, &err), "loop", err);
    check(fj_event_new("bench", &gate), "event", NULL);
    check(fj_loop_add_signal(loop, SIGUSR1, on_release, NULL, &err), "signal", err);
    check(fj_loop_add_signal(loop, SIGTERM, on_stop, NULL, &err), "signal", err);
    check(fj_transport_open(NULL, url, &transport, &err), "open", err);
    check(fj_server_new(transport, &here, &opts, &server, &err), "server", err);
    check(fj_server_add(server, &endpoint, NULL, &err), "endpoint", err);
    check(fj_server_start(server, &err), "start", err);
    puts("ready");
    (void)fflush(stdout);
    check(fj_server_run(server, &err), "run", err);
    (void)fj_server_free(server);
    (void)fj_transport_free(transport);
    (void)fj_event_free(gate);
}

/* ---- the caller -------------------------------------------------------------------------------- */

static FILE *from_server;

static pid_t start(const char *self, const char *url, const char *calls, const char *executor)
{
    int ends[2];

    if (pipe(ends) != 0)
        check(FJ_SYSTEM, "pipe", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(self, self, url, calls, "server", executor, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    (void)close(ends[1]);
    from_server = fdopen(ends[0], "r");
    if (pid < 0 || from_server == NULL)
        check(FJ_SYSTEM, "the server", NULL);
    return pid;
}

static void await_line(const char *line)
{
    char got[32];

    if (fgets(got, sizeof got, from_server) == NULL || strncmp(got, line, strlen(line)) != 0)
        check(FJ_LOST, "the server's word", NULL);
}

static long resident(pid_t pid)
{
    char path[64], line[128];
    long kib = 0;

    (void)snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL && sscanf(line, "Rss: %ld kB", &kib) != 1)
        ;
    if (f != NULL)
        (void)fclose(f);
    return kib * 1024;
}

static const struct way {
    const char *method, *executor;
    double goal;
} ways[] = {
    { "park", "coroutine", 7 * 1024. }, { "defer", "coroutine", 1.2 * 1024 }, { "read", "green", 7 * 1024. },
    { "poll", "green", 7 * 1024. },     { "sleep", "green", 7 * 1024. },
};

/* All at once.  @return the bytes that one in hand costs the server */
static double hold(fj_client *client, const char *method, unsigned n, pid_t pid)
{
    static fj_future *calls[CALLS_MAX];
    long before = resident(pid);
    fj_error *err = NULL;

    for (unsigned i = 0; i < n; i++)
        check(fj_client_call_async(client, method, json_pack("{s:s}", "x", TEXT), NULL, &calls[i], &err),
              "call", err);
    await_line("held");
    long during = resident(pid);
    (void)kill(pid, SIGUSR1);
    for (unsigned i = 0; i < n; i++) {
        json_t *ret = NULL;

        check(fj_future_wait(calls[i], fj_never(), &ret, &err), "answer", err);
        if (!json_is_string(ret) || strcmp(json_string_value(ret), TEXT) != 0)
            check(FJ_BAD_VALUE, "answer", NULL);
        json_decref(ret);
        (void)fj_future_unref(calls[i]);
    }
    return (double)(during - before) / n;
}

static void measure(const char *self, const char *url, const char *calls, const struct way *w)
{
    fj_target there = FJ_TARGET(.topic = "bench_parked");
    fj_client_opts opts = FJ_CLIENT_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_client *client = NULL;
    fj_error *err = NULL;
    pid_t pid = start(self, url, calls, w->executor);

    await_line("ready");
    opts.timeout = 600;
    check(fj_transport_open(NULL, url, &transport, &err), "open", err);
    check(fj_client_new(transport, &there, &opts, &client, &err), "client", err);
    double each = hold(client, w->method, expected, pid);
    printf("%-9s %-5s %u calls in hand, all answered: %.0f bytes each (goal <= %.0f: %s)\n", w->executor,
           w->method, expected, each, w->goal, each <= w->goal ? "met" : "not met");
    (void)fflush(stdout);
    (void)fj_client_free(client);
    (void)fj_transport_free(transport);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
    (void)fclose(from_server);
}

static bool wanted(const char *method, int n, char *const *names)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], method) == 0)
            return true;
    }
    return n == 0;
}

int main(int argc, char **argv)
{
    expected = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (expected == 0 || expected > CALLS_MAX) {
        (void)fprintf(stderr, "usage: parked URL CALLS [METHOD...]  (at most %d)\n", CALLS_MAX);
        return 2;
    }
    if (argc == 5 && strcmp(argv[3], "server") == 0) {
        serve(argv[1], argv[4]);
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (wanted(ways[i].method, argc - 3, argv + 3))
            measure(argv[0], argv[1], argv[2], &ways[i]);
    }
    return EXIT_SUCCESS;
}
