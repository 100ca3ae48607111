/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's Fjord side: `fjord server URL [EXECUTOR]` (blocking by default), `fjord client URL CALLS WARM-UP
 * [EXECUTOR [AT-ONCE]]`, which prints the seconds that CALLS calls to that server took, AT-ONCE of them (1) under way at
 * a time. */
#include <fjord/fjord.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT "0123456789abcdef0123456789"
#define AT_ONCE_MAX 1024

static fj_server *running;

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *x = json_object_get(args, "x");

    (void)req;
    if (x == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "echo needs x");
    *ret = json_incref(x);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static void on_term(int sig)
{
    (void)sig;
    fj_server_stop(running);
}

static const char *executor = "blocking";
static char topic[64];
static unsigned at_once = 1;

static fj_code serve(fj_transport *transport, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = topic, .server = "bench");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_code code;

    opts.executor = executor;
    code = fj_server_new(transport, &here, &opts, &running, err);
    if (code == FJ_OK)
        code = fj_server_add(running, &endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_server_start(running, err);
    if (code == FJ_OK) {
        (void)signal(SIGTERM, on_term);
        puts("ready");
        (void)fflush(stdout);
        code = fj_server_run(running, err);
        (void)signal(SIGTERM, SIG_IGN);
    }
    fj_server_free(running);
    return code;
}

static fj_code look_at(long i, json_t *ret, fj_error **err)
{
    bool right = json_is_string(ret) && strcmp(json_string_value(ret), TEXT) == 0;

    json_decref(ret);
    return right ? FJ_OK : fj_fail(err, FJ_BAD_VALUE, "call %ld was answered with something else", i);
}

static fj_code calls_in_turn(fj_client *client, long n, fj_error **err)
{
    fj_code code = FJ_OK;

    for (long i = 0; i < n && code == FJ_OK; i++) {
        json_t *ret = NULL;

        code = fj_client_call(client, "echo", json_pack("{s:s}", "x", TEXT), NULL, &ret, err);
        if (code == FJ_OK)
            code = look_at(i, ret, err);
    }
    return code;
}

static fj_code calls(fj_client *client, long n, fj_error **err)
{
    fj_future *ring[AT_ONCE_MAX] = { NULL };
    fj_code code = FJ_OK;

    if (at_once == 1)
        return calls_in_turn(client, n, err);
    for (long i = 0; i < n + (long)at_once && code == FJ_OK; i++) {
        fj_future **call = &ring[i % (long)at_once];
        json_t *ret = NULL;

        if (*call != NULL)
            code = fj_future_wait(*call, fj_never(), &ret, err);
        if (*call != NULL && code == FJ_OK)
            code = look_at(i - (long)at_once, ret, err);
        *call = fj_future_unref(*call);
        if (code == FJ_OK && i < n)
            code = fj_client_call_async(client, "echo", json_pack("{s:s}", "x", TEXT), NULL, call, err);
    }
    return code;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static fj_code measure(fj_transport *transport, long n, long warm_up, fj_error **err)
{
    fj_target there = FJ_TARGET(.topic = topic);
    fj_client *client = NULL;
    fj_code code = fj_client_new(transport, &there, NULL, &client, err);
    double start;

    if (code == FJ_OK)
        code = calls(client, warm_up, err);
    start = now();
    if (code == FJ_OK)
        code = calls(client, n, err);
    if (code == FJ_OK)
        printf("%.6f\n", now() - start);
    fj_client_free(client);
    return code;
}

int main(int argc, char **argv)
{
    bool server = argc >= 3 && argc <= 4 && strcmp(argv[1], "server") == 0;
    fj_transport *transport = NULL;
    fj_error *err = NULL;
    fj_code code;

    if (argc > (server ? 3 : 5))
        executor = argv[server ? 3 : 5];
    if (!server && argc == 7)
        at_once = (unsigned)strtoul(argv[6], NULL, 10);
    if ((!server && (argc < 5 || argc > 7 || strcmp(argv[1], "client") != 0)) || at_once == 0 ||
        at_once > AT_ONCE_MAX) {
        fprintf(stderr,
                "usage: fjord server URL [EXECUTOR] | fjord client URL CALLS WARM-UP [EXECUTOR [AT-ONCE]]\n");
        return 2;
    }
    (void)snprintf(topic, sizeof topic, "bench_fjord_%s", executor);
    code = fj_transport_open(NULL, argv[2], &transport, &err);
    if (code == FJ_OK)
        code = server ? serve(transport, &err)
                      : measure(transport, strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10), &err);
    if (code != FJ_OK)
        fprintf(stderr, "fjord: %s (%s)\n", fj_error_text(err), fj_code_name(code));
    fj_error_free(err);
    fj_transport_free(transport);
    return code == FJ_OK ? 0 : 1;
}
