/* SPDX-License-Identifier: Apache-2.0 */
/* A method that asks PostgreSQL through libpq, and 64 callers at once, under each executor. */
#include <fjord/fjord.h>

#include "tests/green/rig.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALLERS 64

/* Waits in the database until the test lets it go. */
static fj_code ask(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    PGconn *c = PQconnectdb("");
    char query[128];
    PGresult *r = NULL;
    fj_code code = FJ_OK;

    (void)req;
    (void)snprintf(query, sizeof query, "select 2 * %d, pg_advisory_lock_shared(2)",
                   (int)json_integer_value(json_object_get(args, "n")));
    r = PQexec(c, query);
    if (PQresultStatus(r) == PGRES_TUPLES_OK)
        *ret = json_integer(strtol(PQgetvalue(r, 0, 0), NULL, 10));
    else
        code = fj_fail(err, FJ_USER, "%s", PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
    return code;
}

static const fj_method plain_methods[] = { FJ_METHOD("ask", FJ_PLAIN, ask) };
static const fj_method green_methods[] = { FJ_METHOD("ask", FJ_GREEN, ask) };
static const fj_endpoint plain = FJ_ENDPOINT(NULL, "1.0", plain_methods);
static const fj_endpoint green = FJ_ENDPOINT(NULL, "1.0", green_methods);

static const struct {
    const char *executor;
    const fj_endpoint *endpoint;
    long at_once; /* so many queries wait in the database */
} cells[] = {
    { "green", &plain, CALLERS },   { "green", &green, CALLERS },     { "coroutine", &green, CALLERS },
    { "bridged", &green, CALLERS }, { "threading", &plain, CALLERS }, { "threading", &green, CALLERS },
    { "blocking", &green, 1 },
};
#define CELLS (sizeof cells / sizeof *cells)

static fj_transport *transport;
static fj_server *server;
static fj_client *client;
static pthread_barrier_t serving;

static void must(fj_code code, fj_error *err, const char *what)
{
    ck_assert_msg(code == FJ_OK, "%s: %s", what, err != NULL ? fj_error_text(err) : fj_code_name(code));
}

static void *serve(void *user)
{
    fj_error *err = NULL;

    must(fj_server_start(server, &err), err, "start");
    (void)pthread_barrier_wait(&serving);
    must(fj_server_run(server, &err), err, "run");
    return user;
}

static void *call(void *user)
{
    json_t *reply = NULL;
    fj_error *err = NULL;
    int n = (int)(intptr_t)user;

    must(fj_client_call(client, "ask", json_pack("{s:i}", "n", n), NULL, &reply, &err), err, "call");
    ck_assert_int_eq(json_integer_value(reply), 2 * n);
    json_decref(reply);
    return NULL;
}

static void open_on(const char *url, int cell)
{
    fj_conf *conf = fj_conf_new();
    fj_error *err = NULL;
    char text[256], topic[64];
    int n = snprintf(text, sizeof text,
                     "[DEFAULT]\nrpc_response_timeout = 20\n[fjord]\nexecutor = %s\n"
                     "executor_pool_size = %d\npatch = socket,time,dns,process,select\n",
                     cells[cell].executor, CALLERS);

    (void)snprintf(topic, sizeof topic, "green_%ld_%d", (long)getpid(), cell);
    must(fj_conf_parse(conf, "test", text, (size_t)n, &err), err, "configuration");
    must(fj_transport_open(conf, url, &transport, &err), err, "transport");
    fj_conf_free(conf);
    must(fj_server_new(transport, &(fj_target)FJ_TARGET(.topic = topic, .server = "s"), NULL, &server, &err),
         err, "server");
    must(fj_server_add(server, cells[cell].endpoint, NULL, &err), err, "endpoint");
    must(fj_client_new(transport, &(fj_target)FJ_TARGET(.topic = topic), NULL, &client, &err), err, "client");
}

static PGresult *tell(PGconn *c, const char *query)
{
    PGresult *r = PQexec(c, query);

    ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK, "%s", PQerrorMessage(c));
    return r;
}

static void until_they_wait(PGconn *c, long n)
{
    long there = -1;

    while (there != n) {
        PGresult *r = tell(c, "select count(*), pg_sleep(0.005) from pg_locks where locktype = 'advisory' and "
                              "objid = 2 and not granted");

        there = strtol(PQgetvalue(r, 0, 0), NULL, 10);
        PQclear(r);
    }
}

static void converse(const char *url, int cell)
{
    pthread_t thread, callers[CALLERS];
    PGconn *c = PQconnectdb("");
    fj_error *err = NULL;

    open_on(url, cell);
    ck_assert_int_eq(pthread_barrier_init(&serving, NULL, 2), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
    (void)pthread_barrier_wait(&serving);
    PQclear(tell(c, "select pg_advisory_lock(2)"));
    for (int i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_create(&callers[i], NULL, call, (void *)(intptr_t)i), 0);
    until_they_wait(c, cells[cell].at_once);
    PQclear(tell(c, "select pg_advisory_unlock(2)"));
    for (int i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_join(callers[i], NULL), 0);
    fj_server_stop(server);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    must(fj_server_wait(server, fj_in_ms(10000), &err), err, "wait");
    (void)pthread_barrier_destroy(&serving);
    fj_server_free(server);
    fj_client_free(client);
    fj_transport_free(transport);
    PQfinish(c);
}

START_TEST(sixty_four_callers_wait_in_the_database_at_once)
{
    converse("fake://", _i);
}
END_TEST

START_TEST(sixty_four_callers_wait_in_the_database_at_once_over_a_broker)
{
    converse(green_env("FJ_TEST_URL"), _i);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("RPC with libpq");
    TCase *c = tcase_create("executors");

    tcase_add_loop_test(c, sixty_four_callers_wait_in_the_database_at_once, 0, CELLS);
    tcase_add_loop_test(c, sixty_four_callers_wait_in_the_database_at_once_over_a_broker, 0, CELLS);
    suite_add_tcase(s, c);
    return green_main(s);
}
