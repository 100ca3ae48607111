/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slow questions to real servers, through libpq, hiredis and libcurl as they are, from green tasks of one thread: one alone, a
 * few without hooks, and two hundred with them.  `green SECONDS MANY FEW`, with scripts/servers' environment; each side asks over connections that
 * are open by then, and the time of opening them all is told beside it: that is the server's work more than ours.
 */
#include <fjord/fjord.h>

#include <curl/curl.h>
#include <hiredis.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double seconds;
static char url[128];

static void need(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "green: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

static double now(void)
{
    return (double)fj_now().ns / 1e9;
}

/* ---- the libraries ------------------------------------------------------------------------------- */

static void *pq_open(void)
{
    PGconn *c = PQconnectdb("");

    need(PQstatus(c) == CONNECTION_OK, PQerrorMessage(c));
    return c;
}

static void pq_ask(void *c)
{
    char query[64];
    PGresult *r = NULL;

    (void)snprintf(query, sizeof query, "select pg_sleep(%g)", seconds);
    r = PQexec(c, query);
    need(PQresultStatus(r) == PGRES_TUPLES_OK, PQerrorMessage(c));
    PQclear(r);
}

static void pq_close(void *c)
{
    PQfinish(c);
}

static void *redis_open(void)
{
    redisContext *c = redisConnect("127.0.0.1", (int)strtol(getenv("FJ_TEST_REDIS"), NULL, 10));

    need(c != NULL && c->err == 0, "no Redis");
    return c;
}

static void redis_ask(void *c)
{
    char command[64];
    redisReply *r = NULL;

    (void)snprintf(command, sizeof command, "blpop nothing %g", seconds);
    r = redisCommand(c, command);
    need(r != NULL && r->type == REDIS_REPLY_NIL, "no answer of Redis");
    freeReplyObject(r);
}

static void redis_close(void *c)
{
    redisFree(c);
}

static size_t drop(char *bytes, size_t size, size_t n, void *user)
{
    (void)bytes, (void)user;
    return size * n;
}

static void http_get(CURL *c, const char *path)
{
    char at[256];

    (void)snprintf(at, sizeof at, "%s%s", url, path);
    need(curl_easy_setopt(c, CURLOPT_URL, at) == CURLE_OK && curl_easy_perform(c) == CURLE_OK,
         "no answer of nginx");
}

/* A request, so that the connection is there. */
static void *http_open(void)
{
    CURL *c = curl_easy_init();

    need(c != NULL && curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop) == CURLE_OK &&
             curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
             curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK,
         "no handle");
    http_get(c, "/hello");
    return c;
}

static void http_ask(void *c)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/sleep?s=%g", seconds);
    http_get(c, path);
}

static void http_close(void *c)
{
    curl_easy_cleanup(c);
}

typedef struct {
    const char *name;
    void *(*open)(void);
    void (*ask)(void *c);
    void (*close)(void *c);
} library;

static const library libraries[] = { { "libpq", pq_open, pq_ask, pq_close },
                                     { "hiredis", redis_open, redis_ask, redis_close },
                                     { "libcurl", http_open, http_ask, http_close } };
#define LIBRARIES (sizeof libraries / sizeof *libraries)

/* ---- many at once -------------------------------------------------------------------------------- */

typedef struct {
    const library *library;
    void *connection;
} asker;

static fj_code opens(void *user, json_t **ret, fj_error **err)
{
    asker *a = user;

    (void)ret, (void)err;
    a->connection = a->library->open();
    return FJ_OK;
}

static fj_code asks(void *user, json_t **ret, fj_error **err)
{
    asker *a = user;

    (void)ret, (void)err;
    a->library->ask(a->connection);
    return FJ_OK;
}

static double all(fj_loop *loop, asker *askers, size_t n, fj_task_fn fn)
{
    fj_task **tasks = calloc(n, sizeof(fj_task *));
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    double begun = now();

    need(tasks != NULL, "no memory");
    opts.loop = loop;
    opts.green = true;
    for (size_t i = 0; i < n; i++)
        need(fj_task_spawn(fn, &askers[i], &opts, &tasks[i], NULL) == FJ_OK, "no task");
    for (size_t i = 0; i < n; i++) {
        need(fj_loop_run_until_complete(loop, fj_task_future(tasks[i]), NULL, NULL) == FJ_OK, "a task failed");
        fj_task_unref(tasks[i]);
    }
    free(tasks);
    return now() - begun;
}

typedef struct {
    double open, ask;
} times;

static times ask_at_once(const library *l, size_t n)
{
    asker *askers = calloc(n, sizeof *askers);
    fj_loop *loop = NULL;
    times t;

    need(askers != NULL && fj_loop_new(&loop, NULL) == FJ_OK, "no loop");
    for (size_t i = 0; i < n; i++)
        askers[i].library = l;
    t.open = all(loop, askers, n, opens);
    t.ask = all(loop, askers, n, asks);
    for (size_t i = 0; i < n; i++)
        l->close(askers[i].connection);
    fj_loop_free(loop);
    free(askers);
    return t;
}

int main(int argc, char **argv)
{
    times one[LIBRARIES], bare[LIBRARIES];
    fj_error *err = NULL;
    size_t many = 0, few = 0;

    need(argc == 4 && getenv("FJ_TEST_REDIS") != NULL && getenv("FJ_TEST_HTTP") != NULL,
         "usage: green SECONDS MANY FEW, in the environment of scripts/servers");
    seconds = strtod(argv[1], NULL);
    many = strtoul(argv[2], NULL, 10);
    few = strtoul(argv[3], NULL, 10);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%s", getenv("FJ_TEST_HTTP"));
    need(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK, "no libcurl");
    for (size_t i = 0; i < LIBRARIES; i++) {
        one[i] = ask_at_once(&libraries[i], 1);
        bare[i] = ask_at_once(&libraries[i], few);
    }
    need(fj_green_patch(FJ_PATCH_DEFAULT, &err) == FJ_OK, "no hooks");
    for (size_t i = 0; i < LIBRARIES; i++) {
        times t = ask_at_once(&libraries[i], many);

        printf("%-8s one question %.3f s; %zu at once on one thread %.3f s, %.2f times one (and %.3f s to open "
               "their "
               "connections); without hooks %zu take %.3f s, %.2f times one\n",
               libraries[i].name, one[i].ask, many, t.ask, t.ask / one[i].ask, t.open, few, bare[i].ask,
               bare[i].ask / one[i].ask);
    }
    curl_global_cleanup();
    return EXIT_SUCCESS;
}
