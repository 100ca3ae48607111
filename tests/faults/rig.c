/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/rig.h"

#include "tests/support/leaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const fj_target target_there = FJ_TARGET(.topic = "t");
static const fj_target target_here = FJ_TARGET(.topic = "t", .server = "s");

/* ---- methods --------------------------------------------------------------------------------------- */

static void note_run(fj_request *req, const json_t *args)
{
    rig *r = fj_request_data(req);
    const json_t *seq = json_object_get(args, "seq");

    if (json_is_integer(seq))
        ledger_ran(r->book, (unsigned)json_integer_value(seq));
    atomic_fetch_add(&r->ran, 1);
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)err;
    note_run(req, args);
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = fj_request_data(req);

    note_run(req, args);
    atomic_fetch_add(&r->holding, 1);
    fj_code code = fj_event_wait(r->gate, fj_never());
    atomic_fetch_sub(&r->holding, 1);
    if (code != FJ_OK)
        return fj_fail(err, code, "the gate was not waited for");
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static fj_code failing(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)ret;
    note_run(req, args);
    return fj_fail(err, FJ_BAD_VALUE, "seven is not a colour");
}

static fj_code spin(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_deadline until = fj_in_ms(json_integer_value(json_object_get(args, "ms")));

    (void)err;
    note_run(req, args);
    while (!fj_passed(until))
        ;
    *ret = json_incref(json_object_get(args, "x"));
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("echo", FJ_PLAIN, echo), FJ_METHOD("hold", FJ_PLAIN, hold),
                                     FJ_METHOD("fail", FJ_PLAIN, failing), FJ_METHOD("spin", FJ_PLAIN, spin) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

/* ---- up --------------------------------------------------------------------------------------------- */

static void must(fj_code code, const fj_error *err, const char *what)
{
    ck_assert_msg(code == FJ_OK, "%s: %s", what, err != NULL ? fj_error_text(err) : fj_code_name(code));
}

static void set(rig *r, bool *what)
{
    (void)pthread_mutex_lock(&r->lock);
    *what = true;
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
}

static void wait_for(rig *r, const bool *what, const char *name)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2 * LONG_MS / 1000;
    (void)pthread_mutex_lock(&r->lock);
    int late = 0;
    while (!*what && late == 0)
        late = pthread_cond_timedwait(&r->changed, &r->lock, &until);
    (void)pthread_mutex_unlock(&r->lock);
    ck_assert_msg(late == 0, "%s did not come", name);
}

/* What a program's main() does. */
static void *serve(void *user)
{
    rig *r = user;

    r->start_code = fj_server_start(r->server, &r->start_error);
    set(r, &r->serving);
    if (r->start_code == FJ_OK)
        r->run_code = fj_server_run(r->server, NULL);
    if (r->start_code == FJ_OK && r->run_code == FJ_OK)
        r->run_code = fj_server_wait(r->server, fj_in_ms(LONG_MS), NULL);
    set(r, &r->over);
    return NULL;
}

fj_transport *rig_transport(const rig *r, const rig_opts *o, cutter *through)
{
    char text[2048];
    fj_conf *conf = fj_conf_new();
    fj_transport *t = NULL;
    fj_error *err = NULL;

    (void)snprintf(
        text, sizeof text,
        "[DEFAULT]\ntransport_url = rabbit://guest:guest@127.0.0.1:%u/\n[fjord]\nconnect_timeout = 2\n"
        "[oslo_messaging_rabbit]\nkombu_reconnect_delay = 0.02\nrabbit_retry_interval = 0.02\n"
        "rabbit_retry_backoff = 0.02\nrabbit_interval_max = 0.1\nheartbeat_timeout_threshold = %u\n%s",
        (unsigned)(through != NULL ? cutter_port(through) : broker_port(r->b)), o->heartbeat,
        o->conf != NULL ? o->conf : "");
    ck_assert_ptr_nonnull(conf);
    must(fj_conf_parse(conf, "faults", text, strlen(text), &err), err, "the configuration");
    must(fj_transport_open(conf, NULL, &t, &err), err, "a transport");
    fj_conf_free(conf);
    return t;
}

void rig_server_up(rig *r, const rig_opts *o)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_error *err = NULL;

    opts.executor = o->executor != NULL ? o->executor : "threading";
    opts.slots = o->slots != 0 ? o->slots : 4;
    if (strcmp(opts.executor, "blocking") == 0)
        opts.slots = 1;
    r->here = rig_transport(r, o, r->server_cutter);
    must(fj_server_new(r->here, &target_here, &opts, &r->server, &err), err, "a server");
    must(fj_server_add(r->server, &endpoint, r, &err), err, "an endpoint");
    ck_assert_int_eq(pthread_create(&r->thread, NULL, serve, r), 0);
    wait_for(r, &r->serving, "the start");
    if (!o->may_fail)
        must(r->start_code, r->start_error, "the start");
}

static void swallow(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level, (void)component, (void)text;
}

rig *rig_up(const rig_opts *o)
{
    static const rig_opts none;
    rig *r = calloc(1, sizeof *r);

    leaks_begin();
    if (getenv("FJ_LOUD") == NULL)
        fj_log_set(swallow, NULL);
    o = o != NULL ? o : &none;
    ck_assert_ptr_nonnull(r);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->changed, NULL);
    r->b = broker_new();
    ck_assert_ptr_nonnull(r->b);
    broker_tune(r->b, o->channel_max != 0 ? o->channel_max : 2047, o->frame_max != 0 ? o->frame_max : 131072,
                (uint16_t)o->heartbeat);
    if (o->cutters) {
        r->server_cutter = cutter_new(broker_port(r->b), o->server_cut);
        r->client_cutter = cutter_new(broker_port(r->b), o->client_cut);
    }
    r->book = ledger_new(RIG_OPERATIONS);
    ck_assert_ptr_nonnull(r->book);
    must(fj_event_new("gate", &r->gate), NULL, "an event");
    r->there = rig_transport(r, o, r->client_cutter);
    must(fj_client_new(r->there, &target_there, NULL, &r->client, NULL), NULL, "a client");
    if (!o->alone)
        rig_server_up(r, o);
    return r;
}

/* ---- down ------------------------------------------------------------------------------------------ */

void rig_server_down(rig *r)
{
    if (r->server == NULL)
        return;
    fj_event_set(r->gate);
    fj_server_stop(r->server);
    wait_for(r, &r->over, "the end of the server");
    (void)pthread_join(r->thread, NULL);
    if (r->start_code == FJ_OK)
        must(r->run_code, NULL, "the run");
    r->server = fj_server_free(r->server);
    r->here = fj_transport_free(r->here);
    r->start_error = fj_error_free(r->start_error);
    r->serving = r->over = false;
}

static bool nobody_there(void *user)
{
    return broker_connections(user) == 0;
}

void rig_down(rig *r)
{
    char text[200];

    ck_assert_msg(ledger_settled(r->book, LONG_MS, text, sizeof text), "%s", text);
    rig_server_down(r);
    fj_client_free(r->client);
    fj_transport_free(r->there);
    ck_assert_msg(ledger_balanced(r->book, text, sizeof text), "%s", text); /* nothing came after the end */
    broker_rules_clear(r->b);
    broker_fault(r->b, BROKER_RESUME, 0);
    cutter_free(r->server_cutter);
    cutter_free(r->client_cutter);
    rig_until(nobody_there, r->b, "the end of the connections");
    ck_assert_uint_eq(broker_unacked(r->b), 0);
    ck_assert(r->lies || broker_bad_acks(r->b) == 0);
    broker_free(r->b);
    ledger_free(r->book);
    fj_event_free(r->gate);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
    leaks_end("a fault");
}

/* ---- calls ----------------------------------------------------------------------------------------- */

static json_t *args_of(unsigned seq, int ms)
{
    return json_pack("{s:i, s:i, s:i}", "x", 7, "seq", (int)seq, "ms", ms);
}

fj_code rig_call(rig *r, const char *method, int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *error = NULL;
    json_t *ret = NULL;
    unsigned seq = ledger_begin(r->book);

    o.by = fj_in_ms(ms);
    ledger_due(r->book, seq, o.by);
    fj_code code = fj_client_call(r->client, method, args_of(seq, ms / 2), &o, &ret, &error);
    ledger_ended(r->book, seq, code, fj_error_sent(error));
    if (code == FJ_OK)
        ck_assert_int_eq(json_integer_value(ret), 7);
    json_decref(ret);
    if (err != NULL)
        *err = error;
    else
        fj_error_free(error);
    return code;
}

struct pending {
    rig *r;
    unsigned seq;
};

static void ended(fj_future *future, void *user)
{
    struct pending *p = user;
    fj_error *error = NULL;
    json_t *ret = NULL;
    fj_code code = fj_future_result(future, &ret, &error);

    if (code == FJ_OK && json_integer_value(ret) != 7)
        code = FJ_INTERNAL;
    ledger_ended(p->r->book, p->seq, code, code == FJ_OK ? FJ_SENT_YES : fj_error_sent(error));
    json_decref(ret);
    fj_error_free(error);
    free(p);
}

void rig_call_async(rig *r, const char *method, int ms)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;
    fj_error *err = NULL;
    struct pending *p = malloc(sizeof *p);

    ck_assert_ptr_nonnull(p);
    *p = (struct pending){ r, ledger_begin(r->book) };
    o.by = fj_in_ms(ms);
    ledger_due(r->book, p->seq, o.by);
    must(fj_client_call_async(r->client, method, args_of(p->seq, ms / 2), &o, &future, &err), err, method);
    must(fj_future_then(future, ended, p), NULL, "a call-back");
    fj_future_unref(future);
}

fj_code rig_cast(rig *r, const char *method, bool mandatory, int ms, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    o.mandatory = mandatory;
    return fj_client_cast(r->client, method, json_pack("{s:i}", "x", 7), &o, err);
}

void rig_expect(fj_code code, fj_error *err, fj_code wanted, fj_sent sent)
{
    ck_assert_msg(code == wanted, "%s instead of %s: %s", fj_code_name(code), fj_code_name(wanted),
                  fj_error_text(err));
    ck_assert_msg(fj_error_sent(err) == sent, "%s, sent %s instead of %s: %s", fj_code_name(code),
                  fj_sent_name(fj_error_sent(err)), fj_sent_name(sent), fj_error_text(err));
    fj_error_free(err);
}

void rig_works(rig *r)
{
    fj_error *err = NULL;
    fj_code code = rig_call(r, "echo", LONG_MS, &err);

    ck_assert_msg(code == FJ_OK, "the next call: %s: %s", fj_code_name(code), fj_error_text(err));
}

static void breathe(void)
{
    const struct timespec t = { .tv_nsec = 2000000 };

    (void)nanosleep(&t, NULL);
}

void rig_until(bool (*is_so)(void *user), void *user, const char *what)
{
    fj_deadline by = fj_in_ms(LONG_MS);

    while (!is_so(user)) {
        ck_assert_msg(!fj_passed(by), "%s did not come", what);
        breathe();
    }
}

struct count {
    atomic_uint *count;
    unsigned n;
};

static bool is_enough(void *user)
{
    const struct count *c = user;

    return atomic_load(c->count) >= c->n;
}

void rig_await(atomic_uint *count, unsigned n, const char *what)
{
    struct count c = { count, n };

    rig_until(is_enough, &c, what);
}

/* ---- messages by hand ------------------------------------------------------------------------------- */

char *rig_request(const char *method, const char *args, const char *id, const char *reply_q)
{
    json_error_t why;
    json_t *message = json_pack("{s:s, s:s, s:s}", "method", method, "version", "1.0", "_unique_id", id);
    json_t *parsed = json_loads(args, 0, &why);

    ck_assert_ptr_nonnull(parsed);
    ck_assert_int_eq(json_object_set_new(message, "args", parsed), 0);
    if (reply_q != NULL) {
        ck_assert_int_eq(json_object_set_new(message, "_msg_id", json_string(id)), 0);
        ck_assert_int_eq(json_object_set_new(message, "_reply_q", json_string(reply_q)), 0);
    }
    char *inner = json_dumps(message, 0);
    json_t *envelope = json_pack("{s:s, s:s}", "oslo.version", "2.0", "oslo.message", inner);
    char *body = json_dumps(envelope, 0);
    free(inner);
    json_decref(message);
    json_decref(envelope);
    return body;
}

unsigned rig_publish(rig *r, const char *exchange, const char *key, const char *body)
{
    amqp_basic_properties_t p = { ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
                                  .content_type = amqp_cstring_bytes("application/json") };

    return broker_publish(r->b, exchange, key, &p, body, strlen(body));
}

json_t *rig_open(char *body)
{
    json_t *envelope = body != NULL ? json_loads(body, 0, NULL) : NULL;
    const char *inner = json_string_value(json_object_get(envelope, "oslo.message"));
    json_t *message = inner != NULL ? json_loads(inner, 0, NULL) : NULL;

    json_decref(envelope);
    free(body);
    return message;
}
