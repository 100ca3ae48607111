/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process, no broker: the calculator served under each executor that `[demo] executors` lists, and 64 calls of a
 * method that takes 50 ms, all on their way at once.  The code stays the same; only the executor's name changes.
 *
 *     demo conf/demo.conf
 */
#include "calc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 64, CALL_MS = 50 };

static void *run(void *server)
{
    fj_error *err = NULL;

    if (fj_server_run(server, &err) != FJ_OK)
        (void)calc_failed("fj_server_run", err);
    return NULL;
}

/* 64 calls at once, then their answers. */
static fj_code call_all(fj_transport *transport, const char *topic, fj_error **err)
{
    fj_target there = FJ_TARGET(.topic = topic, .ns = "calc");
    fj_future *futures[CALLS] = { NULL };
    fj_client *client = NULL;
    fj_code code = fj_client_new(transport, &there, NULL, &client, err);

    for (int i = 0; code == FJ_OK && i < CALLS; i++)
        code = fj_client_call_async(client, "slow", json_pack("{s:i}", "ms", CALL_MS), NULL, &futures[i], err);
    for (int i = 0; i < CALLS; i++) {
        if (code == FJ_OK)
            code = fj_future_wait(futures[i], fj_in_ms(30000), NULL, err);
        fj_future_unref(futures[i]);
    }
    fj_client_free(client);
    return code;
}

static fj_code time_calls(fj_transport *transport, fj_server *server, const char *topic, double *ret_ms,
                          fj_error **err)
{
    pthread_t thread;
    fj_code code = fj_server_start(server, err);

    if (code != FJ_OK)
        return code;
    if (pthread_create(&thread, NULL, run, server) != 0)
        return fj_fail(err, FJ_SYSTEM, "cannot start a thread");
    fj_deadline begin = fj_now();
    code = call_all(transport, topic, err);
    *ret_ms = (double)(fj_now().ns - begin.ns) / 1e6;
    fj_server_stop(server);
    (void)pthread_join(thread, NULL);
    return code;
}

static fj_code try_executor(fj_transport *transport, const char *name, fj_error **err)
{
    char topic[64];
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_server *server = NULL;
    double ms = 0;

    (void)snprintf(topic, sizeof topic, "calc-%s", name);
    fj_target here = FJ_TARGET(.topic = topic, .server = "demo");
    opts.executor = name;
    fj_code code = fj_server_new(transport, &here, &opts, &server, err);
    if (code == FJ_OK)
        code = fj_server_add(server, &calc_endpoint, NULL, err);
    if (code == FJ_OK)
        code = time_calls(transport, server, topic, &ms, err);
    fj_server_free(server);
    if (code == FJ_OK)
        printf("%-12s %5d %9d ms %9.0f ms\n", name, CALLS, CALL_MS, ms);
    (void)fflush(stdout);
    return code;
}

static fj_code demo(const fj_conf *conf, fj_error **err)
{
    fj_transport *transport = NULL;
    char *names = NULL, *rest = NULL;
    fj_code code = fj_conf_lookup(conf, "demo", "executors", &names, err);

    if (code == FJ_OK)
        code = fj_transport_open(conf, NULL, &transport, err);
    if (code == FJ_OK)
        printf("%-12s %5s %12s %12s\n", "executor", "calls", "each takes", "all took");
    for (char *name = code == FJ_OK ? strtok_r(names, ", \t", &rest) : NULL; name != NULL && code == FJ_OK;
         name = strtok_r(NULL, ", \t", &rest))
        code = try_executor(transport, name, err);
    fj_transport_free(transport);
    free(names);
    return code;
}

int main(int argc, char **argv)
{
    fj_conf *conf = NULL;
    fj_error *err = NULL;
    fj_code code = fj_conf_load(argc > 1 ? argv[1] : "conf/demo.conf", &conf, &err);

    if (code == FJ_OK)
        code = demo(conf, &err);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("demo", err);
}
