/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/spy.h"

#include <check.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- notes -------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static char notes[4096];

void spy_begin(void)
{
    (void)pthread_mutex_lock(&lock);
    notes[0] = '\0';
    (void)pthread_mutex_unlock(&lock);
}

void spy_note(const char *format, ...)
{
    va_list args;

    (void)pthread_mutex_lock(&lock);
    size_t n = strlen(notes);
    if (n > 0 && n + 1 < sizeof notes)
        notes[n++] = ' ';
    va_start(args, format);
    (void)vsnprintf(notes + n, sizeof notes - n, format, args);
    va_end(args);
    (void)pthread_cond_broadcast(&more);
    (void)pthread_mutex_unlock(&lock);
}

void spy_expect(const char *all)
{
    (void)pthread_mutex_lock(&lock);
    while (strcmp(notes, all) != 0 && strncmp(all, notes, strlen(notes)) == 0)
        (void)pthread_cond_wait(&more, &lock);
    char now[sizeof notes];
    memcpy(now, notes, sizeof now);
    (void)pthread_mutex_unlock(&lock);
    ck_assert_str_eq(now, all);
}

void spy_await(const char *words)
{
    (void)pthread_mutex_lock(&lock);
    while (strstr(notes, words) == NULL)
        (void)pthread_cond_wait(&more, &lock);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- the interceptor ---------------------------------------------------------------------------- */

static fj_code open_it(void *user, const fj_conf *conf, const char *section, void **ret_state, fj_error **err)
{
    spy *s = user;

    (void)conf;
    if (s->tells)
        spy_note("%s+", s->name);
    if (s->opens != FJ_OK)
        return fj_fail(err, s->opens, "not with %s", section);
    *ret_state = s;
    return FJ_OK;
}

static void close_it(void *state)
{
    spy *s = state;

    if (s->tells)
        spy_note("%s-", s->name);
}

static fj_code client_begin(void *state, fj_rpc *rpc, fj_error **err)
{
    spy *s = state;
    fj_code code = s->client_begin != NULL ? s->client_begin(s, rpc, err) : FJ_OK;

    spy_note("%s>c", s->name);
    return code;
}

static fj_code server_begin(void *state, fj_rpc *rpc, fj_error **err)
{
    spy *s = state;
    fj_code code = s->server_begin != NULL ? s->server_begin(s, rpc, err) : FJ_OK;

    spy_note("%s>s", s->name);
    return code;
}

static void client_end(void *state, fj_rpc *rpc)
{
    spy *s = state;
    fj_code code = fj_rpc_code(rpc);

    if (s->client_end != NULL)
        s->client_end(s, rpc);
    spy_note("%s<c:%s", s->name, fj_code_name(code));
}

static void server_end(void *state, fj_rpc *rpc)
{
    spy *s = state;
    fj_code code = fj_rpc_code(rpc);

    if (s->server_end != NULL)
        s->server_end(s, rpc);
    spy_note("%s<s:%s", s->name, fj_code_name(code));
}

const fj_interceptor spy_interceptor =
    FJ_INTERCEPTOR(.name = "spy", .open = open_it, .close = close_it, .client_begin = client_begin,
                   .client_end = client_end, .server_begin = server_begin, .server_end = server_end);

/* ---- a server ----------------------------------------------------------------------------------- */

static pthread_t thread;
static fj_event *started, *stopped;

static void *serve(void *user)
{
    served *s = user;
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_target here = FJ_TARGET(.topic = "t", .server = "s");
    fj_loop *loop = NULL;

    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    opts.executor = s->executor;
    opts.slots = 4;
    opts.loop = loop;
    opts.wrap = s->wrap;
    ck_assert_int_eq(fj_server_new(s->transport, &here, &opts, &s->server, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_add(s->server, s->endpoint, NULL, NULL), FJ_OK);
    for (spy *const *one = s->spies; one != NULL && *one != NULL; one++)
        ck_assert_int_eq(fj_server_intercept(s->server, &spy_interceptor, *one, NULL), FJ_OK);
    ck_assert_int_eq(fj_server_start(s->server, NULL), FJ_OK);
    fj_event_set(started);
    ck_assert_int_eq(fj_server_run(s->server, NULL), FJ_OK);
    fj_code code = fj_server_wait(s->server, fj_never(), NULL);
    ck_assert(code == FJ_OK || code == FJ_TIMEOUT);              /* the latter when it is told to give up */
    ck_assert_int_eq(fj_event_wait(stopped, fj_never()), FJ_OK); /* who stops it has let go of it */
    fj_server_free(s->server);
    fj_loop_free(loop);
    return NULL;
}

void served_start(served *s)
{
    ck_assert_int_eq(fj_event_new("started", &started), FJ_OK);
    ck_assert_int_eq(fj_event_new("stopped", &stopped), FJ_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve, s), 0);
    ck_assert_int_eq(fj_event_wait(started, fj_never()), FJ_OK);
}

void served_end(served *s)
{
    fj_server_stop(s->server);
    fj_event_set(stopped);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    s->server = NULL;
    fj_event_free(started);
    fj_event_free(stopped);
}
