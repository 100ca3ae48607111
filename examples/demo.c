/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process, no broker: the calculator served under each executor that `[demo] executors` lists, and 64 calls of a
 * method that takes 50 ms, all on their way at once; first of `slow`, which blocks, then of `nap`, which awaits.  The code
 * stays the same; only the executor's name changes.
 *
 *     demo conf/demo.conf
 */
#include "calc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 64, CALL_MS = 50 };

struct calling {
    fj_transport *transport;
    fj_server *server;
    const char *topic;
    double slow_ms, nap_ms;
    fj_code code;
    fj_error *error;
};

/* 64 calls at once, then their answers. */
static fj_code call_all(fj_client *client, const char *method, double *ret_ms, fj_error **err)
{
    fj_future *futures[CALLS] = { NULL };
    fj_deadline begin = fj_now();
    fj_code code = FJ_OK;

    for (int i = 0; code == FJ_OK && i < CALLS; i++)
        code = fj_client_call_async(client, method, json_pack("{s:i}", "ms", CALL_MS), NULL, &futures[i], err);
    for (int i = 0; i < CALLS; i++) {
        if (code == FJ_OK)
            code = fj_future_wait(futures[i], fj_in_ms(30000), NULL, err);
        fj_future_unref(futures[i]);
    }
    *ret_ms = (double)(fj_now().ns - begin.ns) / 1e6;
    return code;
}

/* The caller has a thread of its own; the server is on the main one, as it would be alone in a process. */
static void *call(void *user)
{
    struct calling *c = user;
    fj_target there = FJ_TARGET(.topic = c->topic, .ns = "calc");
    fj_client *client = NULL;

    c->code = fj_client_new(c->transport, &there, NULL, &client, &c->error);
    if (c->code == FJ_OK)
        c->code = call_all(client, "slow", &c->slow_ms, &c->error);
    if (c->code == FJ_OK)
        c->code = call_all(client, "nap", &c->nap_ms, &c->error);
    fj_client_free(client);
    fj_server_stop(c->server);
    return NULL;
}

static fj_code serve(struct calling *c, fj_error **err)
{
    pthread_t caller;
    fj_code code = fj_server_start(c->server, err);

    if (code != FJ_OK)
        return code;
    if (pthread_create(&caller, NULL, call, c) != 0)
        return fj_fail(err, FJ_SYSTEM, "cannot start a thread");
    code = fj_server_run(c->server, err); /* until the caller stops it */
    (void)pthread_join(caller, NULL);
    if (code == FJ_OK && c->code != FJ_OK)
        return fj_error_move(c->error, err);
    fj_error_free(c->error);
    return code;
}

static fj_code try_executor(fj_transport *transport, const char *name, fj_error **err)
{
    char topic[64];
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    struct calling c = { .transport = transport, .topic = topic };

    (void)snprintf(topic, sizeof topic, "calc-%s", name);
    fj_target here = FJ_TARGET(.topic = topic, .server = "demo");
    opts.executor = name;
    fj_code code = fj_server_new(transport, &here, &opts, &c.server, err);
    if (code == FJ_OK)
        code = fj_server_add(c.server, &calc_endpoint, NULL, err);
    if (code == FJ_OK)
        code = serve(&c, err);
    fj_server_free(c.server);
    if (code == FJ_OK)
        printf("%-10s %20.0f ms %20.0f ms\n", name, c.slow_ms, c.nap_ms);
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
        printf("%d calls at once of a method that takes %d ms:\n%-10s %23s %23s\n", CALLS, CALL_MS, "executor",
               "slow, by usleep()", "nap, by fj_sleep()");
    for (char *name = code == FJ_OK ? strtok_r(names, ", \t", &rest) : NULL; name != NULL && code == FJ_OK;
         name = strtok_r(NULL, ", \t", &rest))
        code = try_executor(transport, name, err);
    fj_transport_free(transport);
    free(names);
    if (code == FJ_OK)
        printf(
            "\nUnder the last three all methods share one thread.  An await lets the others run; what blocks "
            "holds them up,\n"
            "unless it is libc's and the executor green or bridged, which have both kinds side by side.\n"
            "OS_FJORD__LOOP_DEBUG=true make demo: the log says what blocks, and where.\n");
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
