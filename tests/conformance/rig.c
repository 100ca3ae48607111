/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/rig.h"

#include "base/ids.h"
#include "messaging/internal.h"
#include "tests/conformance/methods.h"
#include "tests/support/toy_host.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_MS = 10000 };

void rig_tell(rig *r)
{
    (void)pthread_mutex_lock(&r->lock);
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
}

static struct timespec limit(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += LIMIT_MS / 1000;
    return t;
}

void rig_await(rig *r, bool (*done)(rig *r), const char *what)
{
    struct timespec until = limit();
    bool late = false;

    (void)pthread_mutex_lock(&r->lock);
    while (!done(r) && !late)
        late = pthread_cond_timedwait(&r->changed, &r->lock, &until) != 0;
    (void)pthread_mutex_unlock(&r->lock);
    ck_assert_msg(!late, "%s under %s: %s did not come", r->topic, r->cell.executor, what);
}

static void set(rig *r, bool *what)
{
    (void)pthread_mutex_lock(&r->lock);
    *what = true;
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
}

/* ---- up ------------------------------------------------------------------------------------------ */

/* FJ_HOSTED=watch or drive: loops live in a host's, in that way.  @return whether they do */
static bool hosted(const rig *r, toy_way *ret)
{
    const char *how = getenv("FJ_HOSTED");

    *ret = how != NULL && strcmp(how, "drive") == 0 ? TOY_DRIVES : TOY_WATCHES;
    return how != NULL && is_on_loop(&r->cell);
}

static fj_code run(rig *r, toy_host *host, fj_error **err)
{
    if (host == NULL)
        return fj_server_run(r->server, err);
    while (fj__server_runs(r->server))
        (void)toy_once(host, -1); /* for ever, if a stop did not wake it */
    return FJ_OK;
}

/* The server's thread: what a program's main() does; it waits where it ran, for under executors on a loop that goes on. */
static void *serve(void *user)
{
    rig *r = user;
    toy_host place, *host = NULL;
    toy_way way;
    fj_error *err = NULL;

    if (hosted(r, &way))
        toy_up(host = &place, way);
    r->start_code = fj_server_start(r->server, &err);
    if (r->start_code != FJ_OK)
        r->start_error = strdup(fj_error_text(err));
    err = fj_error_free(err);
    set(r, &r->serving);
    if (r->start_code == FJ_OK)
        r->run_code = run(r, host, &err);
    if (r->start_code == FJ_OK && r->run_code == FJ_OK)
        r->run_code = fj_server_wait(r->server, fj_in_ms(LIMIT_MS), &err);
    if (err != NULL)
        r->run_error = strdup(fj_error_text(err));
    fj_error_free(err);
    if (host != NULL)
        toy_down(host);
    set(r, &r->over);
    return NULL;
}

static bool is_serving(rig *r)
{
    return r->serving;
}

static bool is_over(rig *r)
{
    return r->over;
}

static void must(fj_code code, fj_error *err, const char *what)
{
    ck_assert_msg(code == FJ_OK, "%s: %s", what, err != NULL ? fj_error_text(err) : fj_code_name(code));
}

static fj_conf *configured(const char *text)
{
    fj_conf *conf = fj_conf_new();
    fj_error *err = NULL;

    must(fj_conf_parse(conf, "conformance", text, strlen(text), &err), err, "the configuration");
    return conf;
}

/* The cell's URL with a proxy before the broker: at the port that it names, or, where no host is named, at the path. */
static proxy *stand_between(const char *url, char *ret, size_t size)
{
    const char *place = strstr(url, "://"), *colon = strrchr(url, ':');

    ck_assert_msg(place != NULL && (place[3] == '/' || colon != place), "%s names neither port nor path", url);
    if (place[3] == '/') {
        proxy *p = proxy_new_at(place + 3);
        (void)snprintf(ret, size, "%.*s://%s", (int)(place - url), url, proxy_path(p));
        return p;
    }
    const char *slash = strchr(colon, '/');
    proxy *p = proxy_new((uint16_t)strtoul(colon + 1, NULL, 10));
    (void)snprintf(ret, size, "%.*s:%u%s", (int)(colon - url), url, proxy_port(p), slash != NULL ? slash : "");
    return p;
}

static void open_transports(rig *r, const rig_opts *o)
{
    static const char quick[] =
        "[oslo_messaging_rabbit]\nrabbit_retry_interval = 0.02\nrabbit_retry_backoff = 0.02\n"
        "kombu_reconnect_delay = 0.02\n";
    char text[1024], url[256], client_url[256];
    bool proxied = o->breakable && !is_fake(&r->cell);
    fj_error *err = NULL;

    (void)snprintf(url, sizeof url, "%s", r->cell.url);
    (void)snprintf(client_url, sizeof client_url, "%s", r->cell.url);
    if (proxied) {
        r->between = stand_between(r->cell.url, url, sizeof url);
        r->client_between = stand_between(r->cell.url, client_url, sizeof client_url);
    }
    (void)snprintf(text, sizeof text,
                   "[DEFAULT]\ntransport_url = %s\nrpc_response_timeout = 10\n[fjord]\nexecutor = %s\n"
                   "executor_pool_size = %u\n%s\n%s",
                   url, r->cell.executor, o->slots, o->conf != NULL ? o->conf : "", proxied ? quick : "");
    r->conf = configured(text);
    (void)snprintf(text, sizeof text, "[DEFAULT]\ntransport_url = %s\nrpc_response_timeout = 10\n%s",
                   client_url, proxied ? quick : "");
    r->client_conf = configured(text);
    must(fj_transport_open(r->conf, NULL, &r->transport, &err), err, "the transport");
    must(fj_transport_open(r->client_conf, NULL, &r->client_transport, &err), err, "the client's transport");
}

/* Also a plug-in's, of the folder that the environment names. */
static const fj_executor_ops *kind_of(const cell *c)
{
    const fj_executor_ops *kind = NULL;
    fj_conf *conf = fj_conf_new();
    fj_error *err = NULL;

    must(fj_executor_find(conf, c->executor, &kind, &err), err, "the executor");
    fj_conf_free(conf);
    return kind;
}

rig *rig_up_with(const cell *c, const rig_opts *o)
{
    rig *r = calloc(1, sizeof *r);
    char id[33];
    fj_error *err = NULL;

    ck_assert_ptr_nonnull(r);
    r->cell = *c;
    const fj_executor_ops *kind = kind_of(c);
    r->slots = kind->max_slots != 0 && kind->max_slots < o->slots ? kind->max_slots : o->slots;
    (void)pthread_mutex_init(&r->lock, NULL);
    ck_assert_int_eq(pipe2(r->ends, O_CLOEXEC), 0);
    (void)pthread_cond_init(&r->changed, NULL);
    fj__id_hex(id);
    if (o->topic != NULL)
        (void)snprintf(r->topic, sizeof r->topic, "%s", o->topic);
    else
        (void)snprintf(r->topic, sizeof r->topic, "conformance_%s", id);
    (void)snprintf(r->name, sizeof r->name, "%s", o->name != NULL ? o->name : "s");
    open_transports(r, o);
    must(fj_event_new("gate", &r->gate), NULL, "an event");
    must(fj_semaphore_new("permits", 0, 0, &r->permits), NULL, "a semaphore");
    fj_target here = FJ_TARGET(.topic = r->topic, .server = r->name);
    fj_target anywhere = FJ_TARGET(.topic = r->topic);
    must(fj_server_new(r->transport, &here, NULL, &r->server, &err), err, "the server");
    must(fj_server_add(r->server, methods_of(c->flavour), r, &err), err, "the endpoint");
    must(fj_client_new(r->client_transport, &anywhere, NULL, &r->client, &err), err, "a client");
    must(fj_client_new(r->transport, &anywhere, NULL, &r->inner, &err), err, "a client");
    ck_assert_int_eq(pthread_create(&r->thread, NULL, serve, r), 0);
    rig_await(r, is_serving, "the start");
    must(r->start_code, NULL, r->start_error != NULL ? r->start_error : "the start");
    return r;
}

rig *rig_up(const cell *c, unsigned slots, const char *more_config)
{
    const rig_opts opts = { .slots = slots, .conf = more_config };

    return rig_up_with(c, &opts);
}

/* ---- down ---------------------------------------------------------------------------------------- */

void rig_down(rig *r)
{
    fj_event_set(r->gate);
    fj_server_stop(r->server);
    rig_await(r, is_over, "the end of run");
    (void)pthread_join(r->thread, NULL);
    must(r->run_code, NULL, r->run_error != NULL ? r->run_error : "the run");
    fj_server_free(r->server);
    fj_client_free(r->client);
    fj_client_free(r->inner);
    fj_transport_free(r->transport);
    fj_transport_free(r->client_transport);
    fj_conf_free(r->conf);
    fj_conf_free(r->client_conf);
    proxy_free(r->between);
    proxy_free(r->client_between);
    fj_event_free(r->gate);
    fj_semaphore_free(r->permits);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    (void)close(r->ends[0]);
    (void)close(r->ends[1]);
    free(r->start_error);
    free(r->run_error);
    free(r);
}

/* ---- calls --------------------------------------------------------------------------------------- */

fj_code rig_call(rig *r, const char *method, json_t *args, int ms, json_t **ret, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(ms);
    return fj_client_call(r->client, method, args, &o, ret, err);
}

fj_future *rig_call_async(rig *r, const char *method, json_t *args, int ms)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;
    fj_error *err = NULL;

    o.by = fj_in_ms(ms);
    must(fj_client_call_async(r->client, method, args, &o, &future, &err), err, method);
    return future;
}

json_t *rig_result(fj_future *future)
{
    fj_error *err = NULL;
    json_t *ret = NULL;

    must(fj_future_wait(future, fj_in_ms(LIMIT_MS), &ret, &err), err, "a call");
    fj_future_unref(future);
    return ret;
}

void rig_still_good(rig *r)
{
    fj_error *err = NULL;
    json_t *ret = NULL;

    must(rig_call(r, "echo", json_pack("{s:i}", "n", 7), LIMIT_MS, &ret, &err), err, "the next good call");
    ck_assert_int_eq(json_integer_value(json_object_get(ret, "n")), 7);
    json_decref(ret);
}

crowd crowd_in(rig *r)
{
    crowd them = { .n = dice(0, 8) };

    for (unsigned i = 0; i < them.n; i++)
        them.calls[i] = rig_call_async(r, "echo", json_pack("{s:i}", "n", (int)i), LIMIT_MS);
    return them;
}

void crowd_out(crowd *them)
{
    for (unsigned i = 0; i < them->n; i++) {
        json_t *ret = rig_result(them->calls[i]);
        ck_assert_int_eq(json_integer_value(json_object_get(ret, "n")), i);
        json_decref(ret);
    }
}

/* ---- lost connections ---------------------------------------------------------------------------- */

static void cut(fj_transport *t, proxy *p, bool down)
{
    fj_error *err = NULL;
    bool reset = coin();

    if (p != NULL)
        proxy_cut(p, reset, down);
    else
        must(fj_fake_disconnect(t, &err), err, "the loss of a connection");
}

void rig_cut(rig *r)
{
    cut(r->transport, r->between, false);
}

void rig_cut_down(rig *r)
{
    cut(r->transport, r->between, true);
}

void rig_mend(rig *r)
{
    if (r->between != NULL)
        proxy_up(r->between);
}

void rig_cut_client(rig *r)
{
    cut(r->client_transport, r->client_between, false);
}

/* ---- what holds of a cell ------------------------------------------------------------------------ */

void expect(fj_code code, fj_code wanted, fj_error *err)
{
    ck_assert_msg(code == wanted, "%s instead of %s: %s", fj_code_name(code), fj_code_name(wanted),
                  err != NULL ? fj_error_text(err) : "");
}

bool is_fake(const cell *c)
{
    return strncmp(c->url, "fake:", 5) == 0;
}

bool is_rabbit(const cell *c)
{
    return strncmp(c->url, "rabbit:", 7) == 0;
}

bool is_from_transport(const cell *c, const char *component)
{
    return strcmp(component, "amqp") == 0 ||
           (strncmp(c->url, component, strlen(component)) == 0 && c->url[strlen(component)] == ':');
}

bool is_on_loop(const cell *c)
{
    return (kind_of(c)->caps & FJ_EXECUTOR_LOOP) != 0;
}

bool is_parallel(const rig *r)
{
    return r->slots > 1;
}

/* Where green methods are at home plain ones are green, too. */
bool switches(const cell *c, unsigned groups)
{
    bool is_green =
        c->flavour == FJ_GREEN || (c->flavour == FJ_PLAIN && (kind_of(c)->caps & FJ_EXECUTOR_GREEN) != 0);

    return is_green && fj_is_patched(groups);
}

bool one_holds(rig *r)
{
    return atomic_load(&r->holding) >= 1;
}

bool all_hold(rig *r)
{
    return atomic_load(&r->holding) == r->slots;
}

static void swallow(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level, (void)component, (void)text;
}

void hush(void)
{
    fj_log_set(getenv("FJ_LOUD") != NULL ? NULL : swallow, NULL);
}

/* ---- dice ---------------------------------------------------------------------------------------- */

static uint64_t state;

void dice_seed(unsigned seed, const char *cell_name)
{
    state = seed;
    for (; *cell_name != '\0'; cell_name++)
        state = state * 1099511628211u + (unsigned char)*cell_name;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
unsigned dice(unsigned least, unsigned most)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return least + (unsigned)(z % (most - least + 1));
}

void dawdle(void)
{
    struct timespec t = { .tv_nsec = (long)dice(0, 2000) * 1000 };

    (void)nanosleep(&t, NULL);
}
