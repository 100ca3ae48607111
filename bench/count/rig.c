/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/count/rig.h"
#include "bench/count/count.h"

#include <string.h>

#define TEXT "0123456789abcdef0123456789"
#define MANY 64

static json_t *shared;

static fj_code fresh(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    if (json_object_get(args, "x") == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "fresh needs x");
    *ret = json_string(TEXT);
    return FJ_OK;
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *x = json_object_get(args, "x");

    (void)req;
    if (x == NULL)
        return fj_fail(err, FJ_BAD_ARGS, "echo needs x");
    *ret = json_incref(x);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("fresh", FJ_PLAIN, fresh), FJ_METHOD("echo", FJ_PLAIN, echo) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

void rig_open(rig *r, const char *url, const char *executor)
{
    fj_target here = FJ_TARGET(.topic = executor, .server = "count"), there = FJ_TARGET(.topic = executor);
    bool shares = strncmp(url, "fake:", 5) == 0; /* what is sent stays within a transport */
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_error *err = NULL;

    *r = (rig){ 0 };
    shared = json_string(TEXT);
    opts.executor = executor;
    count_check(fj_transport_open(NULL, url, &r->serving, &err), "opening", err);
    if (!shares)
        count_check(fj_transport_open(NULL, url, &r->calling, &err), "opening", err);
    count_check(fj_server_new(r->serving, &here, &opts, &r->server, &err), "a server", err);
    count_check(fj_server_add(r->server, &endpoint, NULL, &err), "an endpoint", err);
    count_check(fj_server_start(r->server, &err), "starting", err);
    count_check(fj_client_new(shares ? r->serving : r->calling, &there, NULL, &r->client, &err), "a client",
                err);
}

void rig_close(rig *r)
{
    r->client = fj_client_free(r->client);
    r->server = fj_server_free(r->server);
    r->calling = fj_transport_free(r->calling);
    r->serving = fj_transport_free(r->serving);
    json_decref(shared);
}

json_t *rig_args(const char *method)
{
    return *method == 'e' ? json_pack("{s:O}", "x", shared) : json_pack("{s:s}", "x", TEXT);
}

void rig_look_at(json_t *ret)
{
    count_check(json_is_string(ret) && strcmp(json_string_value(ret), TEXT) == 0 ? FJ_OK : FJ_BAD_VALUE,
                "an answer", NULL);
    json_decref(ret);
}

/* ---- calls by tasks ---- */

typedef struct {
    rig *rig;
    const char *method;
    long left;
} work;

static fj_code caller(void *user, json_t **ret, fj_error **err)
{
    work *w = user;
    fj_code code = FJ_OK;

    (void)ret;
    while (code == FJ_OK && w->left-- > 0) {
        json_t *answer = NULL;

        code = fj_client_call(w->rig->client, w->method, rig_args(w->method), NULL, &answer, err);
        if (code == FJ_OK)
            rig_look_at(answer);
    }
    return code;
}

void rig_by_tasks(rig *r, const char *method, long n, long at_once)
{
    work w = { r, method, n };
    fj_task *tasks[MANY];
    fj_loop *loop = NULL;
    fj_error *err = NULL;

    count_check(fj_loop_current(&loop, &err), "a loop", err);
    for (long i = 0; i < at_once; i++)
        count_check(fj_task_spawn(caller, &w, NULL, &tasks[i], &err), "a task", err);
    for (long i = 0; i < at_once; i++) {
        count_check(fj_loop_run_until_complete(loop, fj_task_future(tasks[i]), NULL, &err), "calls", err);
        (void)fj_task_unref(tasks[i]);
    }
}
