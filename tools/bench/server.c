/* SPDX-License-Identifier: Apache-2.0 */
/* fjord bench rpc-server, and what it shares with listeners. */
#include "tools/bench/bench.h"

#define NS_PER_S 1e9

enum { QUIET_S = 1 }; /* after the last client is done, so long nothing comes before the server ends */

static json_t *message_of(json_t *args)
{
    return json_object_get(args, "message");
}

/* ---- counting ----------------------------------------------------------------------------------- */

bool bench_came(bench_run *r, const json_t *message, double now, bench_message *ret_message)
{
    static atomic_bool said;
    bench_message m;

    if (!bench_message_read(message, &m)) {
        if (!atomic_exchange(&said, true))
            tool_note(r->o, "fjord bench: a message is not [seq, cargo, client_ts, server_ts, return_ts]");
        return false;
    }
    const bench_one one = { now, now, m.size, true, (int64_t)((now - m.client_ts) * NS_PER_S) };
    bench_push(&r->groups[0], 0, &one);
    if (ret_message != NULL)
        *ret_message = m;
    return true;
}

/* ---- clients that say when they are done ---------------------------------------------------------- */

typedef struct {
    bench_run *run;
    pthread_mutex_t lock;
    json_t *clients; /* an object: who has begun and not ended */
    bool done;       /* all of them have */
    unsigned in_hand;
    double last; /* when one came or was answered */
} server_state;

static void touch(server_state *s, int more)
{
    (void)pthread_mutex_lock(&s->lock);
    s->in_hand = (unsigned)((int)s->in_hand + more);
    s->last = bench_time();
    (void)pthread_mutex_unlock(&s->lock);
}

static bool is_done(void *user)
{
    server_state *s = user;
    bool done;

    (void)pthread_mutex_lock(&s->lock);
    done = s->done && s->in_hand == 0 && bench_time() - s->last >= QUIET_S;
    (void)pthread_mutex_unlock(&s->lock);
    return done;
}

static fj_code sync(fj_request *req, json_t *args, bool begins, fj_error **err)
{
    server_state *s = fj_request_data(req);
    const char *id = json_string_value(json_object_get(message_of(args), "id"));
    bool done = id != NULL;

    if (!done)
        return fj_fail(err, FJ_BAD_ARGS, "message is not an object with an id");
    (void)pthread_mutex_lock(&s->lock);
    if (begins)
        done = json_object_set_new(s->clients, id, json_true()) == 0;
    else
        (void)json_object_del(s->clients, id);
    s->done = !begins && json_object_size(s->clients) == 0;
    s->last = bench_time();
    (void)pthread_mutex_unlock(&s->lock);
    return done ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

static fj_code sync_start(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)ret;
    return sync(req, args, true, err);
}

static fj_code sync_done(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)ret;
    return sync(req, args, false, err);
}

/* ---- messages ----------------------------------------------------------------------------------- */

static fj_code info(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    server_state *s = fj_request_data(req);
    double now = bench_time(), wait = s->run->plan->wait;
    fj_code rc = FJ_OK;

    if (!bench_came(s->run, message_of(args), now, NULL))
        return fj_fail(err, FJ_BAD_ARGS, "message is not [seq, cargo, client_ts, server_ts, return_ts]");
    touch(s, 1);
    if (wait > 0)
        rc = tool_wait(NULL, 0, fj_in_seconds(wait), err);
    if (rc == FJ_OK && fj_request_is_call(req)) {
        *ret = bench_message_answer(message_of(args), now);
        rc = *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
    }
    touch(s, -1);
    return rc;
}

static const fj_method methods[] = { FJ_METHOD("info", FJ_PLAIN, info),
                                     FJ_METHOD("sync_start", FJ_PLAIN, sync_start),
                                     FJ_METHOD("sync_done", FJ_PLAIN, sync_done) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);

/* ---- the server --------------------------------------------------------------------------------- */

fj_code bench_serve(bench_run *r, const char *executor, fj_error **err)
{
    const bench_plan *plan = r->plan;
    bool rpc = plan->mode == BENCH_RPC_SERVER;

    if (r->o->json)
        tool_note(r->o, "{\"ready\": true}");
    else
        tool_note(r->o, "fjord bench: ready, topic %s%s%s, executor %s", plan->topic, rpc ? ", server " : "",
                  rpc ? plan->server : "", executor);
    r->end = fj_run_stop;
    fj_code rc = bench_run_start(r, false, err);
    if (rc == FJ_OK)
        rc = fj_run(err);
    bench_run_stop(r);
    return rc;
}

static fj_code serve(bench_run *r, server_state *s, fj_error **err)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target target =
        FJ_TARGET(.exchange = r->o->exchange, .topic = r->plan->topic, .server = r->plan->server);
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_code rc = tool_open(r->o, &transport, err);

    opts.executor = r->plan->executor;
    if (rc == FJ_OK)
        rc = fj_server_new(transport, &target, &opts, &server, err);
    if (rc == FJ_OK)
        rc = fj_server_add(server, &endpoint, s, err);
    if (rc == FJ_OK)
        rc = fj_run_signals(err);
    if (rc == FJ_OK)
        rc = fj_server_start(server, err);
    if (rc == FJ_OK)
        rc = bench_serve(r, fj_server_executor(server), err);
    fj_server_free(server);
    fj_transport_free(transport);
    return rc;
}

int bench_rpc_server(bench_run *r)
{
    server_state s = { .run = r, .lock = PTHREAD_MUTEX_INITIALIZER, .clients = json_object() };
    fj_error *err = NULL;
    fj_code code = bench_run_group(r, "server", 1, &err);
    int rc = TOOL_DONE;

    r->is_done = is_done;
    r->user = &s;
    if (code == FJ_OK)
        code = s.clients != NULL ? serve(r, &s, &err) : fj_fail(&err, FJ_NOMEM, "out of memory");
    if (code == FJ_OK || r->began > 0)
        rc = bench_run_results(r);
    if (code != FJ_OK)
        rc = tool_fail(r->o, err);
    r->is_done = NULL; /* the clock has ended */
    r->user = NULL;
    json_decref(s.clients);
    return rc;
}
