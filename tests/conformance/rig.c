/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/rig.h"

#include "base/ids.h"
#include "tests/conformance/methods.h"

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

/* The server's thread: what a program's main() does. */
static void *serve(void *user)
{
    rig *r = user;
    fj_error *err = NULL;

    r->start_code = fj_server_start(r->server, &err);
    if (r->start_code != FJ_OK)
        r->start_error = strdup(fj_error_text(err));
    err = fj_error_free(err);
    set(r, &r->serving);
    if (r->start_code == FJ_OK)
        r->run_code = fj_server_run(r->server, &err);
    fj_error_free(err);
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

static void configure(rig *r, const char *more)
{
    char text[512];
    fj_error *err = NULL;

    (void)snprintf(text, sizeof text,
                   "[DEFAULT]\ntransport_url = %s\nrpc_response_timeout = 10\n[fjord]\nexecutor = %s\n%s\n",
                   r->cell.url, r->cell.executor, more != NULL ? more : "");
    r->conf = fj_conf_new();
    must(fj_conf_parse(r->conf, "conformance", text, strlen(text), &err), err, "the configuration");
}

rig *rig_up(const cell *c, unsigned slots, const char *more_config)
{
    rig *r = calloc(1, sizeof *r);
    char id[33];
    fj_error *err = NULL;
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;

    ck_assert_ptr_nonnull(r);
    r->cell = *c;
    r->slots = strcmp(c->executor, "blocking") == 0 ? 1 : slots;
    (void)pthread_mutex_init(&r->lock, NULL);
    ck_assert_int_eq(pipe2(r->ends, O_CLOEXEC), 0);
    (void)pthread_cond_init(&r->changed, NULL);
    fj__id_hex(id);
    (void)snprintf(r->topic, sizeof r->topic, "conformance_%s", id);
    configure(r, more_config);
    must(fj_transport_open(r->conf, NULL, &r->transport, &err), err, "the transport");
    must(fj_event_new("gate", &r->gate), NULL, "an event");
    fj_target here = FJ_TARGET(.topic = r->topic, .server = "s");
    fj_target anywhere = FJ_TARGET(.topic = r->topic);
    opts.slots = slots;
    must(fj_server_new(r->transport, &here, &opts, &r->server, &err), err, "the server");
    must(fj_server_add(r->server, methods_of(c->flavour), r, &err), err, "the endpoint");
    must(fj_client_new(r->transport, &anywhere, NULL, &r->client, &err), err, "a client");
    must(fj_client_new(r->transport, &anywhere, NULL, &r->inner, &err), err, "a client");
    ck_assert_int_eq(pthread_create(&r->thread, NULL, serve, r), 0);
    rig_await(r, is_serving, "the start");
    must(r->start_code, NULL, r->start_error != NULL ? r->start_error : "the start");
    return r;
}

void rig_down(rig *r)
{
    fj_error *err = NULL;

    fj_event_set(r->gate);
    fj_server_stop(r->server);
    rig_await(r, is_over, "the end of run");
    (void)pthread_join(r->thread, NULL);
    ck_assert_int_eq(r->run_code, FJ_OK);
    must(fj_server_wait(r->server, fj_in_ms(LIMIT_MS), &err), err, "the wait");
    fj_server_free(r->server);
    fj_client_free(r->client);
    fj_client_free(r->inner);
    fj_transport_free(r->transport);
    fj_conf_free(r->conf);
    fj_event_free(r->gate);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    (void)close(r->ends[0]);
    (void)close(r->ends[1]);
    free(r->start_error);
    free(r);
}

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

void rig_still_good(rig *r)
{
    fj_error *err = NULL;
    json_t *ret = NULL;

    must(rig_call(r, "echo", json_pack("{s:i}", "n", 7), LIMIT_MS, &ret, &err), err, "the next good call");
    ck_assert_int_eq(json_integer_value(json_object_get(ret, "n")), 7);
    json_decref(ret);
}
