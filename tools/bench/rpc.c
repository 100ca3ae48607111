/* SPDX-License-Identifier: Apache-2.0 */
/* How clients of RPC send: calls or casts of `info`, and of `sync_start` before the first and `sync_done` after the last, with
 * which they tell the servers that they are there. */
#include "base/alloc.h"
#include "tools/bench/bench.h"
#include <unistd.h>

enum { HOST_MOST = 256 };

typedef struct {
    const bench_run *run;
    fj_client *client;
    char *id; /* the name it syncs by */
    bool synced;
} rpc_client;

static fj_call_opts by_timeout(const rpc_client *c)
{
    fj_call_opts opts = FJ_CALL_OPTS_INIT;

    opts.by = fj_in_seconds(c->run->plan->timeout);
    return opts;
}

static void close_rpc(void *state)
{
    rpc_client *c = state;

    if (c == NULL)
        return;
    fj_client_free(c->client);
    fj__free(c->id);
    fj__free(c);
}

static fj_code open_rpc(bench_run *r, fj_transport *transport, unsigned number, void **ret, fj_error **err)
{
    const bench_plan *plan = r->plan;
    const bench_target *to = &plan->targets[number % plan->target_count];
    fj_target target = FJ_TARGET(.exchange = r->o->exchange, .topic = to->topic, .server = to->server,
                                 .fanout = plan->is_fanout);
    rpc_client *c = fj__zalloc(sizeof *c);
    char host[HOST_MOST] = "";
    fj_code rc = FJ_NOMEM;

    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    if (c != NULL) {
        c->run = r;
        c->id = fj__format("%u %x@%s", number, (unsigned)getpid(), host);
    }
    if (c != NULL && c->id != NULL)
        rc = fj_client_new(transport, &target, NULL, &c->client, err);
    else
        rc = fj_fail(err, rc, "out of memory");
    if (rc == FJ_OK)
        *ret = c;
    else
        close_rpc(c);
    return rc;
}

static fj_code send_rpc(void *state, json_t *message, json_t **ret, fj_error **err)
{
    rpc_client *c = state;
    fj_call_opts opts = by_timeout(c);
    json_t *args = json_pack("{s:o}", "message", message);

    if (args == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    if (c->run->plan->is_cast)
        return fj_client_cast(c->client, "info", args, &opts, err);
    return fj_client_call(c->client, "info", args, &opts, ret, err);
}

/* ---- being there -------------------------------------------------------------------------------- */

static bool tell(rpc_client *c, const char *method)
{
    fj_call_opts opts = by_timeout(c);
    json_t *args = json_pack("{s:{s:s}}", "message", "id", c->id);
    fj_error *err = NULL;
    fj_code rc;

    opts.fanout = c->run->plan->sync == BENCH_SYNC_FANOUT;
    if (args == NULL)
        rc = fj_fail(&err, FJ_NOMEM, "out of memory");
    else if (opts.fanout)
        rc = fj_client_cast(c->client, method, args, &opts, &err);
    else
        rc = fj_client_call(c->client, method, args, &opts, NULL, &err);
    if (rc != FJ_OK)
        tool_note(c->run->o, "fjord bench: %s of client %s: %s", method, c->id, fj_error_text(err));
    fj_error_free(err);
    return rc == FJ_OK;
}

static void before(void *state)
{
    rpc_client *c = state;

    if (c->run->plan->sync != BENCH_SYNC_NO && !c->synced)
        c->synced = tell(c, "sync_start");
}

static void after(void *state)
{
    rpc_client *c = state;

    if (c->synced)
        (void)tell(c, "sync_done");
}

const bench_kind bench_rpc = { open_rpc, before, send_rpc, after, close_rpc };
