/* SPDX-License-Identifier: Apache-2.0 */
/* libpq in green tasks. */
#include "tests/green/rig.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY 200

static void be_quiet(void *arg, const char *message)
{
    (void)arg, (void)message;
}

static PGconn *open_by(const char *how)
{
    PGconn *c = PQconnectdb(how);

    (void)PQsetNoticeProcessor(c, be_quiet, NULL);
    ck_assert_msg(PQstatus(c) == CONNECTION_OK, "%s", PQerrorMessage(c));
    return c;
}

/* Its place is PGHOST and PGPORT. */
static PGconn *open_one(void)
{
    return open_by("");
}

static PGresult *ask(PGconn *c, const char *query)
{
    PGresult *r = PQexec(c, query);
    ExecStatusType s = PQresultStatus(r);

    ck_assert_msg(s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK || s == PGRES_COPY_IN || s == PGRES_COPY_OUT,
                  "%s: %s", query, PQerrorMessage(c));
    return r;
}

static void tell(PGconn *c, const char *query)
{
    PQclear(ask(c, query));
}

static long number(PGconn *c, const char *query)
{
    PGresult *r = ask(c, query);
    long n = strtol(PQgetvalue(r, 0, 0), NULL, 10);

    PQclear(r);
    return n;
}

/* Query until the server says that as many as @p n of this test wait for a lock, or sleep.  Those of earlier tests, which
 * went in the middle of a query, are left out: the server goes on with it. */
static void until_they_wait(PGconn *c, unsigned n)
{
    GREEN_UNTIL(number(c,
                       "select count(*) from pg_stat_activity where state = 'active' and wait_event in "
                       "('advisory', 'PgSleep') and application_name = current_setting('application_name')") ==
                (long)n);
}

static void begin(void)
{
    char name[32];

    (void)snprintf(name, sizeof name, "test %ld", (long)getpid());
    ck_assert_int_eq(setenv("PGAPPNAME", name, 1), 0);
    green_begin();
}

static const char *state_of(const PGresult *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

    return state != NULL ? state : "none";
}

/* ---- many at once --------------------------------------------------------------------------------- */

GREEN_TASK(waits_for_the_lock)
{
    PGconn *c = open_one();

    tell(c, "select pg_advisory_lock_shared(1)");
    PQfinish(c);
    return FJ_OK;
}

GREEN_TASK(lets_them_go_when_all_wait)
{
    until_they_wait(user, MANY);
    green_one_thread();
    tell(user, "select pg_advisory_unlock(1)");
    return FJ_OK;
}

START_TEST(two_hundred_queries_wait_in_the_server_at_once_for_one_thread)
{
    PGconn *c = open_one(); /* outside of tasks it blocks, as ever */
    fj_task *watcher = NULL;

    tell(c, "select pg_advisory_lock(1)");
    watcher = green_spawn(lets_them_go_when_all_wait, c);
    green_many(MANY, waits_for_the_lock);
    ck_assert_int_eq(green_join(watcher), FJ_OK);
    PQfinish(c);
}
END_TEST

static unsigned running, at_once;

GREEN_TASK(sleeps_in_the_server)
{
    PGconn *c = open_one();

    if (++running > at_once)
        at_once = running;
    tell(c, "select pg_sleep(0.02)");
    running--;
    PQfinish(c);
    return FJ_OK;
}

START_TEST(ten_queries_overlap)
{
    running = at_once = 0;
    green_many(10, sleeps_in_the_server);
    ck_assert_uint_gt(at_once, 1);
}
END_TEST

START_TEST(without_hooks_the_same_tasks_go_one_after_the_other)
{
    running = at_once = 0;
    green_many(10, sleeps_in_the_server);
    ck_assert_uint_eq(at_once, 1);
}
END_TEST

/* ---- what libpq can do ---------------------------------------------------------------------------- */

GREEN_TASK(reads_much)
{
    PGconn *c = open_one();
    PGresult *r = ask(c, "select n, repeat(chr(65 + n % 26), 200) from generate_series(0, 19999) n");

    ck_assert_int_eq(PQntuples(r), 20000);
    for (int i = 0; i < 20000; i++) {
        const char *text = PQgetvalue(r, i, 1);

        ck_assert_int_eq(strtol(PQgetvalue(r, i, 0), NULL, 10), i);
        ck_assert_uint_eq(strlen(text), 200);
        ck_assert_int_eq(text[0], 'A' + i % 26);
        ck_assert_int_eq(text[199], 'A' + i % 26);
    }
    PQclear(r);
    PQfinish(c);
    return FJ_OK;
}

START_TEST(large_results_come_whole)
{
    green_many(6, reads_much);
}
END_TEST

static void copy_in(PGconn *c, const char *line, int lines)
{
    PQclear(ask(c, "copy t from stdin"));
    for (int i = 0; i < lines; i++)
        ck_assert_int_eq(PQputCopyData(c, line, (int)strlen(line)), 1);
    ck_assert_int_eq(PQputCopyEnd(c, NULL), 1);
    for (PGresult *r = PQgetResult(c); r != NULL; r = PQgetResult(c)) {
        ck_assert_int_eq(PQresultStatus(r), PGRES_COMMAND_OK);
        PQclear(r);
    }
}

static int copy_out(PGconn *c, const char *line)
{
    char *got = NULL;
    int n = 0, lines = 0;

    PQclear(ask(c, "copy t to stdout"));
    while ((n = PQgetCopyData(c, &got, 0)) > 0) {
        ck_assert_str_eq(got, line);
        lines++;
        PQfreemem(got);
    }
    ck_assert_int_eq(n, -1);
    for (PGresult *r = PQgetResult(c); r != NULL; r = PQgetResult(c))
        PQclear(r);
    return lines;
}

GREEN_TASK(copies)
{
    PGconn *c = open_one();
    char line[256];

    (void)snprintf(line, sizeof line, "%u\t%0200d\n", GREEN_NUMBER, 0);
    tell(c, "create temp table t (a int, b text)");
    copy_in(c, line, 10000);
    ck_assert_int_eq(number(c, "select count(*) from t"), 10000);
    ck_assert_int_eq(copy_out(c, line), 10000);
    PQfinish(c);
    return FJ_OK;
}

START_TEST(copies_go_both_ways)
{
    green_many(6, copies);
}
END_TEST

GREEN_TASK(prepares)
{
    PGconn *c = open_one();
    char text[16];
    const char *values[] = { text };
    PGresult *r = PQprepare(c, "double", "select 2 * $1::int, pg_sleep(0.005)", 1, NULL);

    ck_assert_int_eq(PQresultStatus(r), PGRES_COMMAND_OK);
    PQclear(r);
    for (unsigned i = 0; i < 5; i++) {
        (void)snprintf(text, sizeof text, "%u", GREEN_NUMBER * 10 + i);
        r = PQexecPrepared(c, "double", 1, values, NULL, NULL, 0);
        ck_assert_int_eq(PQresultStatus(r), PGRES_TUPLES_OK);
        ck_assert_int_eq(strtol(PQgetvalue(r, 0, 0), NULL, 10), 2 * (GREEN_NUMBER * 10 + i));
        PQclear(r);
    }
    PQfinish(c);
    return FJ_OK;
}

START_TEST(prepared_statements_answer_their_own)
{
    green_many(30, prepares);
}
END_TEST

GREEN_TASK(pipelines)
{
    PGconn *c = open_one();
    char text[16];
    const char *values[] = { text };
    unsigned got = 0;

    ck_assert_int_eq(PQenterPipelineMode(c), 1);
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(text, sizeof text, "%u", i);
        ck_assert_int_eq(PQsendQueryParams(c, "select $1::int", 1, NULL, values, NULL, NULL, 0), 1);
    }
    ck_assert_int_eq(PQpipelineSync(c), 1);
    while (got < 50) {
        PGresult *r = PQgetResult(c);

        if (r == NULL)
            continue;
        ck_assert_int_eq(PQresultStatus(r), PGRES_TUPLES_OK);
        ck_assert_int_eq(strtol(PQgetvalue(r, 0, 0), NULL, 10), got++);
        PQclear(r);
    }
    PQfinish(c);
    return FJ_OK;
}

START_TEST(pipelines_keep_their_order)
{
    green_many(20, pipelines);
}
END_TEST

GREEN_TASK(opens_by_all_ways)
{
    char local[256];
    PGconn *c = open_by("host=localhost"); /* a name, looked up on the pool */

    ck_assert_int_eq(number(c, "select 1"), 1);
    PQreset(c);
    ck_assert_int_eq(number(c, "select 2"), 2);
    PQfinish(c);
    (void)snprintf(local, sizeof local, "host=%s/postgres", green_env("FJ_TEST_HOME"));
    c = open_by(local);
    ck_assert_int_eq(number(c, "select 3"), 3);
    PQfinish(c);
    return FJ_OK;
}

START_TEST(names_and_local_sockets_are_reached)
{
    green_many(20, opens_by_all_ways);
}
END_TEST

/* ---- notices that come by themselves -------------------------------------------------------------- */

GREEN_TASK(listens)
{
    PGconn *c = open_one();
    PGnotify *note = NULL;

    tell(c, "listen news");
    ++*(unsigned *)user;
    while (note == NULL) {
        struct pollfd p = { .fd = PQsocket(c), .events = POLLIN };

        ck_assert_int_eq(poll(&p, 1, -1), 1);
        ck_assert_int_eq(PQconsumeInput(c), 1);
        note = PQnotifies(c);
    }
    ck_assert_str_eq(note->extra, "all is well");
    PQfreemem(note);
    PQfinish(c);
    return FJ_OK;
}

static void notice(void)
{
    unsigned listening = 0;
    fj_task *tasks[20];
    PGconn *c = open_one();

    for (unsigned i = 0; i < 20; i++)
        tasks[i] = green_spawn(listens, &listening);
    GREEN_UNTIL(listening == 20);
    tell(c, "notify news, 'all is well'");
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(green_join(tasks[i]), FJ_OK);
    PQfinish(c);
}

START_TEST(notices_wake_who_polls)
{
    in_green(notice);
}
END_TEST

/* ---- what ends a query ---------------------------------------------------------------------------- */

typedef struct {
    PGconn *c;
    char state[16];
    fj_code after; /* what the task's next wait answers */
    bool timed_out;
} query;

GREEN_TASK(asks_for_long)
{
    query *q = user;
    PGresult *r = PQexec(q->c, "select pg_sleep(60)");

    ck_assert_int_ne(PQresultStatus(r), PGRES_TUPLES_OK);
    (void)snprintf(q->state, sizeof q->state, "%s", state_of(r));
    PQclear(r);
    q->after = fj_yield();
    return FJ_OK;
}

static void cancel_by_request(void)
{
    query q = { .c = open_one() };
    fj_task *task = green_spawn(asks_for_long, &q);
    PGconn *c = open_one();
    PGcancel *cancel = PQgetCancel(q.c);
    char why[256] = "";

    until_they_wait(c, 1);
    ck_assert_msg(PQcancel(cancel, why, sizeof why) == 1, "%s", why);
    ck_assert_int_eq(green_join(task), FJ_OK);
    ck_assert_str_eq(q.state, "57014");
    ck_assert_int_eq(number(q.c, "select 4"), 4);
    PQfreeCancel(cancel);
    PQfinish(q.c);
    PQfinish(c);
}

START_TEST(a_query_is_cancelled_by_request)
{
    in_green(cancel_by_request);
}
END_TEST

static void time_out_in_the_server(void)
{
    query q = { .c = open_by("options='-c statement_timeout=50'") };

    ck_assert_int_eq(green_join(green_spawn(asks_for_long, &q)), FJ_OK);
    ck_assert_str_eq(q.state, "57014");
    PQfinish(q.c);
}

START_TEST(statement_timeout_ends_a_query)
{
    in_green(time_out_in_the_server);
}
END_TEST

GREEN_TASK(connects_to_the_deaf)
{
    char how[128];
    PGconn *c = NULL;

    (void)snprintf(how, sizeof how, "port=%d connect_timeout=2", *(int *)user);
    c = PQconnectdb(how);
    ck_assert_int_eq(PQstatus(c), CONNECTION_BAD);
    ck_assert_msg(strstr(PQerrorMessage(c), "timeout expired") != NULL, "%s", PQerrorMessage(c));
    PQfinish(c);
    return FJ_OK;
}

START_TEST(connect_timeout_ends_a_connect)
{
    int port = 0, more[2];
    int fd = green_listen_deaf(&port, more);
    fj_task *a = green_spawn(connects_to_the_deaf, &port), *b = green_spawn(connects_to_the_deaf, &port);

    ck_assert_int_eq(green_join(a), FJ_OK);
    ck_assert_int_eq(green_join(b), FJ_OK);
    (void)close(fd);
    (void)close(more[0]);
    (void)close(more[1]);
}
END_TEST

static void cancel_the_task(void)
{
    query q = { .c = open_one() };
    PGconn *c = open_one();
    fj_task *task = green_spawn(asks_for_long, &q);

    until_they_wait(c, 1);
    ck_assert(fj_task_cancel(task));
    ck_assert_int_eq(green_join(task), FJ_OK);
    ck_assert_str_eq(q.state, "none"); /* of libpq itself: its poll failed */
    ck_assert_int_eq(q.after, FJ_OK);  /* a cancellation is told once */
    PQreset(q.c);
    ck_assert_int_eq(number(q.c, "select 5"), 5);
    PQfinish(q.c);
    PQfinish(c);
}

START_TEST(a_task_that_is_cancelled_in_a_query_hears_of_it_once)
{
    in_green(cancel_the_task);
}
END_TEST

static void kill_the_task(void)
{
    query q = { .c = open_one() };
    PGconn *c = open_one();
    fj_task *task = green_spawn(asks_for_long, &q);

    until_they_wait(c, 1);
    ck_assert(fj_task_kill(task));
    ck_assert_int_eq(green_join(task), FJ_OK);
    ck_assert_int_eq(q.after, FJ_CANCELLED);
    PQfinish(q.c);
    PQfinish(c);
}

START_TEST(a_task_that_is_killed_in_a_query_waits_no_more)
{
    in_green(kill_the_task);
}
END_TEST

GREEN_TASK(asks_within_a_timeout)
{
    query *q = user;
    fj_timeout t;
    PGresult *r = NULL;

    fj_timeout_begin(&t, fj_in_ms(50));
    r = PQexec(q->c, "select pg_sleep(60)");
    q->timed_out = fj_timeout_end(&t);
    ck_assert_int_eq(PQresultStatus(r), PGRES_FATAL_ERROR);
    PQclear(r);
    PQreset(q->c);
    ck_assert_int_eq(number(q->c, "select 6"), 6);
    return FJ_OK;
}

static void time_out(void)
{
    query q = { .c = open_one() };

    ck_assert_int_eq(green_join(green_spawn(asks_within_a_timeout, &q)), FJ_OK);
    ck_assert(q.timed_out);
    PQfinish(q.c);
}

START_TEST(a_timeout_around_a_query_ends_it)
{
    in_green(time_out);
}
END_TEST

/* ---- servers that go ------------------------------------------------------------------------------ */

GREEN_TASK(is_cut_off)
{
    query q = { .c = open_one() };

    (void)asks_for_long(&q, NULL, NULL);
    ck_assert_int_eq(PQstatus(q.c), CONNECTION_BAD);
    PQfinish(q.c);
    return FJ_OK;
}

GREEN_TASK(cuts_them_off)
{
    PGconn *c = open_one();

    until_they_wait(c, MANY);
    tell(c, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and "
            "application_name = current_setting('application_name')");
    PQfinish(c);
    return FJ_OK;
}

START_TEST(two_hundred_connections_that_are_cut_say_so)
{
    fj_task *task = green_spawn(cuts_them_off, NULL);

    green_many(MANY, is_cut_off);
    ck_assert_int_eq(green_join(task), FJ_OK);
}
END_TEST

/* system() is on the pool, so that the others hear of it meanwhile. */
GREEN_TASK(restarts_the_server)
{
    PGconn *c = open_one();

    until_they_wait(c, MANY);
    green_servers("kill", "postgres");
    green_servers("start", "postgres");
    ck_assert_int_eq(PQstatus(c), CONNECTION_OK); /* as far as it knows */
    PQclear(PQexec(c, "select 1"));
    ck_assert_int_eq(PQstatus(c), CONNECTION_BAD);
    PQreset(c);
    ck_assert_int_eq(number(c, "select 7"), 7);
    PQfinish(c);
    return FJ_OK;
}

START_TEST(a_server_may_be_restarted_while_two_hundred_wait)
{
    fj_task *task = green_spawn(restarts_the_server, NULL);

    green_many(MANY, is_cut_off);
    ck_assert_int_eq(green_join(task), FJ_OK);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("libpq in green tasks");
    TCase *hooked = tcase_create("hooked"), *bare = tcase_create("bare");

    tcase_add_checked_fixture(hooked, begin, green_end);
    tcase_add_test(hooked, two_hundred_queries_wait_in_the_server_at_once_for_one_thread);
    tcase_add_test(hooked, ten_queries_overlap);
    tcase_add_test(hooked, large_results_come_whole);
    tcase_add_test(hooked, copies_go_both_ways);
    tcase_add_test(hooked, prepared_statements_answer_their_own);
    tcase_add_test(hooked, pipelines_keep_their_order);
    tcase_add_test(hooked, names_and_local_sockets_are_reached);
    tcase_add_test(hooked, notices_wake_who_polls);
    tcase_add_test(hooked, a_query_is_cancelled_by_request);
    tcase_add_test(hooked, statement_timeout_ends_a_query);
    tcase_add_test(hooked, connect_timeout_ends_a_connect);
    tcase_add_test(hooked, a_task_that_is_cancelled_in_a_query_hears_of_it_once);
    tcase_add_test(hooked, a_task_that_is_killed_in_a_query_waits_no_more);
    tcase_add_test(hooked, a_timeout_around_a_query_ends_it);
    tcase_add_test(hooked, two_hundred_connections_that_are_cut_say_so);
    tcase_add_test(hooked, a_server_may_be_restarted_while_two_hundred_wait);
    suite_add_tcase(s, hooked);
    tcase_add_checked_fixture(bare, green_begin_bare, green_end);
    tcase_add_test(bare, without_hooks_the_same_tasks_go_one_after_the_other);
    suite_add_tcase(s, bare);
    return green_main(s);
}
