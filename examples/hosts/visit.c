/* SPDX-License-Identifier: Apache-2.0 */
#include "visit.h"

#include "examples/calc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct visit {
    fj_conf *conf;
    fj_transport *transport;
    fj_server *server;
    fj_client *client;
    void (*over)(void *user);
    void *user;
    int answers;
};

enum { WANTED = 3 };

static FJ_AWAITS fj_code add(visit *v, int a, int b, fj_error **err)
{
    json_t *sum = NULL;
    fj_code code = fj_client_call(v->client, "add", json_pack("{s:i, s:i}", "a", a, "b", b), NULL, &sum, err);

    if (code != FJ_OK)
        return code;
    printf("%d + %d = %lld\n", a, b, (long long)json_integer_value(sum));
    json_decref(sum);
    v->answers++;
    return fj_sleep(fj_in_ms(20));
}

/* Each call suspends this task and nothing else: the host's loop goes on, and so does the server in it. */
static fj_code ask(void *user, json_t **ret, fj_error **err)
{
    visit *v = user;
    fj_code code = FJ_OK;

    (void)ret;
    for (int i = 1; i <= WANTED && code == FJ_OK; i++)
        code = add(v, i, i + 1, err);
    v->over(v->user);
    return code;
}

static fj_code begin(visit *v, const char *conf_file, fj_loop *loop, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "visit", .server = "host1");
    fj_target there = FJ_TARGET(.topic = "visit", .ns = "calc", .version = "1.0");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_task_opts task = FJ_TASK_OPTS_INIT;

    opts.executor = "coroutine";
    opts.loop = task.loop = loop;
    fj_code code = fj_conf_load(conf_file, &v->conf, err);
    if (code == FJ_OK)
        code = fj_transport_open(v->conf, NULL, &v->transport, err);
    if (code == FJ_OK)
        code = fj_client_new(v->transport, &there, NULL, &v->client, err);
    if (code == FJ_OK)
        code = fj_server_new(v->transport, &here, &opts, &v->server, err);
    if (code == FJ_OK)
        code = fj_server_add(v->server, &calc_endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_server_start(v->server, err);
    return code == FJ_OK ? fj_task_spawn(ask, v, &task, NULL, err) : code;
}

visit *visit_begin(const char *conf_file, fj_loop *loop, void (*over)(void *user), void *user)
{
    visit *v = calloc(1, sizeof *v);
    fj_error *err = NULL;

    if (v == NULL)
        return NULL;
    v->over = over;
    v->user = user;
    if (begin(v, conf_file, loop, &err) == FJ_OK)
        return v;
    (void)calc_failed("visit", err);
    (void)visit_end(v);
    return NULL;
}

int visit_end(visit *v)
{
    int failed = v == NULL || v->answers != WANTED;

    if (v == NULL)
        return failed;
    fj_server_free(v->server); /* stops it, and turns the loop until it has ended */
    fj_client_free(v->client);
    fj_transport_free(v->transport);
    fj_conf_free(v->conf);
    free(v);
    return failed;
}

int visit_drives(int argc, char **argv)
{
    return argc > 2 && strcmp(argv[2], "drive") == 0;
}
