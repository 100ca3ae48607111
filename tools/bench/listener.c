/* SPDX-License-Identifier: Apache-2.0 */
/* fjord bench notify-server and batch-notify-server. */
#include "base/alloc.h"
#include "tools/bench/bench.h"

enum {
    BATCH = 1000,        /* messages, and */
    BATCH_WAIT_S = 5,    /* seconds, as the simulator has it */
    SEEN_MOST = 1000000, /* with --requeue: those beyond are handled at once */
    KEY_MOST = 256
};

typedef struct {
    bench_run *run;
    pthread_mutex_t lock;
    json_t *seen; /* an object: publishers and numbers of what was given back */
} listener_state;

/* Whether it is to be given back: the first time it comes. */
static bool is_new(listener_state *s, const json_t *publisher, json_int_t seq)
{
    const char *name = json_string_value(publisher);
    char key[KEY_MOST];
    bool fresh;

    (void)snprintf(key, sizeof key, "%lld %.200s", (long long)seq, name != NULL ? name : "");
    (void)pthread_mutex_lock(&s->lock);
    fresh = json_object_get(s->seen, key) == NULL && json_object_size(s->seen) < SEEN_MOST &&
            json_object_set_new_nocheck(s->seen, key, json_true()) == 0;
    (void)pthread_mutex_unlock(&s->lock);
    return fresh;
}

/* One that is no message of ours is handled: it would come again for ever.  @return whether it is to be given back */
static bool came(listener_state *s, const json_t *item, double now)
{
    bench_message m;

    return bench_came(s->run, json_object_get(item, "payload"), now, &m) && s->run->plan->requeue &&
           is_new(s, json_object_get(item, "publisher_id"), m.seq);
}

static fj_code end(listener_state *s, bool again, double messages, fj_error **err)
{
    double wait = s->run->plan->wait * messages;
    fj_code rc = wait > 0 ? tool_wait(NULL, 0, fj_in_seconds(wait), err) : FJ_OK;

    return rc == FJ_OK && again ? FJ_REQUEUE : rc;
}

static fj_code info(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    listener_state *s = fj_request_data(req);

    (void)ret;
    return end(s, came(s, args, bench_time()), 1, err);
}

/* A batch goes back whole. */
static fj_code info_batch(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    listener_state *s = fj_request_data(req);
    const json_t *messages = json_object_get(args, "messages");
    double now = bench_time();
    bool again = false;

    (void)ret;
    for (size_t i = 0; i < json_array_size(messages); i++)
        again = came(s, json_array_get(messages, i), now) || again;
    return end(s, again, (double)json_array_size(messages), err);
}

static const fj_method one[] = { FJ_METHOD("info", FJ_PLAIN, info) };
static const fj_method many[] = { FJ_METHOD("info", FJ_PLAIN, info_batch) };
static const fj_endpoint singly = FJ_ENDPOINT(NULL, NULL, one), in_batches = FJ_ENDPOINT(NULL, NULL, many);

static fj_code listen_to(bench_run *r, listener_state *s, fj_error **err)
{
    fj_notify_listener_opts opts = FJ_NOTIFY_LISTENER_OPTS_INIT;
    fj_target target = FJ_TARGET(.exchange = r->o->exchange, .topic = r->plan->topic);
    bool batch = r->plan->mode == BENCH_BATCH_SERVER;
    fj_notify_listener *listener = NULL;
    fj_transport *transport = NULL;
    fj_code rc = tool_open(r->o, &transport, err);

    opts.executor = r->plan->executor;
    opts.allow_requeue = r->plan->requeue;
    opts.batch_size = batch ? BATCH : 0;
    opts.batch_timeout = batch ? BATCH_WAIT_S : 0;
    if (rc == FJ_OK)
        rc = fj_notify_listener_new(transport, &target, 1, &opts, &listener, err);
    if (rc == FJ_OK)
        rc = fj_notify_listener_add(listener, batch ? &in_batches : &singly, NULL, s, err);
    if (rc == FJ_OK)
        rc = fj_run_signals(err);
    if (rc == FJ_OK)
        rc = fj_notify_listener_start(listener, err);
    if (rc == FJ_OK)
        rc = bench_serve(r, fj_notify_listener_executor(listener), err);
    fj_notify_listener_free(listener);
    fj_transport_free(transport);
    return rc;
}

int bench_notify_server(bench_run *r)
{
    listener_state s = { .run = r, .lock = PTHREAD_MUTEX_INITIALIZER, .seen = json_object() };
    fj_error *err = NULL;
    fj_code code = bench_run_group(r, "server", 1, &err);
    int rc = TOOL_DONE;

    if (code == FJ_OK)
        code = s.seen != NULL ? listen_to(r, &s, &err) : fj_fail(&err, FJ_NOMEM, "out of memory");
    if (code == FJ_OK || r->began > 0)
        rc = bench_run_results(r);
    if (code != FJ_OK)
        rc = tool_fail(r->o, err);
    json_decref(s.seen);
    return rc;
}
