/* SPDX-License-Identifier: Apache-2.0 */
/* hiredis in green tasks. */
#include "tests/green/rig.h"

#include <errno.h>
#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY 200

static redisContext *connected(redisContext *c)
{
    ck_assert_ptr_nonnull(c);
    ck_assert_msg(c->err == 0, "%s", c->errstr);
    return c;
}

static redisContext *open_one(void)
{
    return connected(redisConnect("127.0.0.1", green_port("FJ_TEST_REDIS")));
}

/* Must be answered; by no error. */
static redisReply *ask(redisContext *c, const char *format, ...)
{
    redisReply *r = NULL;
    va_list args;

    va_start(args, format);
    r = redisvCommand(c, format, args);
    va_end(args);
    ck_assert_msg(r != NULL, "%s: %s", format, c->errstr);
    ck_assert_msg(r->type != REDIS_REPLY_ERROR, "%s: %s", format, r->str);
    return r;
}

static void tell(redisContext *c, const char *format, unsigned n)
{
    freeReplyObject(ask(c, format, n));
}

/* What `info clients` says of @p field. */
static unsigned clients(redisContext *c, const char *field)
{
    redisReply *r = ask(c, "info clients");
    const char *at = strstr(r->str, field);
    unsigned n = 0;

    ck_assert_ptr_nonnull(at);
    n = (unsigned)strtoul(at + strlen(field) + 1, NULL, 10);
    freeReplyObject(r);
    return n;
}

static void until_they_wait(redisContext *c, unsigned n)
{
    GREEN_UNTIL(clients(c, "blocked_clients") == n);
}

/* Nothing that an earlier test left. */
static void begin(void)
{
    redisContext *c = open_one();

    tell(c, "flushall", 0);
    redisFree(c);
    green_begin();
}

/* ---- many at once --------------------------------------------------------------------------------- */

GREEN_TASK(takes_one)
{
    redisContext *c = open_one();
    redisReply *r = ask(c, "blpop list 0");

    ck_assert_uint_eq(r->elements, 2);
    ck_assert_str_eq(r->element[1]->str, "item");
    freeReplyObject(r);
    redisFree(c);
    return FJ_OK;
}

GREEN_TASK(gives_when_all_wait)
{
    redisContext *c = open_one();

    until_they_wait(c, MANY);
    green_one_thread();
    for (unsigned i = 0; i < MANY; i++)
        tell(c, "rpush list item", 0);
    redisFree(c);
    return FJ_OK;
}

START_TEST(two_hundred_takers_wait_in_the_server_at_once_for_one_thread)
{
    fj_task *task = green_spawn(gives_when_all_wait, NULL);

    green_many(MANY, takes_one);
    ck_assert_int_eq(green_join(task), FJ_OK);
}
END_TEST

static unsigned running, at_once;

GREEN_TASK(waits_a_little)
{
    redisContext *c = open_one();
    redisReply *r = NULL;

    if (++running > at_once)
        at_once = running;
    r = ask(c, "blpop nothing 0.02");
    ck_assert_int_eq(r->type, REDIS_REPLY_NIL);
    running--;
    freeReplyObject(r);
    redisFree(c);
    return FJ_OK;
}

START_TEST(ten_commands_overlap)
{
    running = at_once = 0;
    green_many(10, waits_a_little);
    ck_assert_uint_gt(at_once, 1);
}
END_TEST

START_TEST(without_hooks_the_same_tasks_go_one_after_the_other)
{
    running = at_once = 0;
    green_many(10, waits_a_little);
    ck_assert_uint_eq(at_once, 1);
}
END_TEST

/* ---- what hiredis can do -------------------------------------------------------------------------- */

GREEN_TASK(pipelines)
{
    redisContext *c = open_one();

    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(redisAppendCommand(c, "incr counter:%u", GREEN_NUMBER), REDIS_OK);
    for (long long i = 1; i <= 1000; i++) {
        void *r = NULL;

        ck_assert_int_eq(redisGetReply(c, &r), REDIS_OK);
        ck_assert_int_eq(((redisReply *)r)->integer, i);
        freeReplyObject(r);
    }
    redisFree(c);
    return FJ_OK;
}

START_TEST(pipelines_keep_their_order)
{
    green_many(20, pipelines);
}
END_TEST

#define LARGE ((size_t)8 << 20)

GREEN_TASK(stores_much)
{
    redisContext *c = open_one();
    char *text = malloc(LARGE), key[32];
    redisReply *r = NULL;

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < LARGE; i++)
        text[i] = (char)('a' + (i + i / 8191 + GREEN_NUMBER) % 26);
    (void)snprintf(key, sizeof key, "large:%u", GREEN_NUMBER);
    freeReplyObject(ask(c, "set %s %b", key, text, LARGE));
    r = ask(c, "get %s", key);
    ck_assert_uint_eq(r->len, LARGE);
    ck_assert(memcmp(r->str, text, LARGE) == 0);
    freeReplyObject(r);
    redisFree(c);
    free(text);
    return FJ_OK;
}

START_TEST(large_values_come_and_go_whole)
{
    green_many(4, stores_much);
}
END_TEST

GREEN_TASK(opens_by_all_ways)
{
    char local[256];
    redisContext *c = connected(redisConnect("localhost", green_port("FJ_TEST_REDIS"))); /* on the pool */

    tell(c, "ping", 0);
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    tell(c, "ping", 0);
    redisFree(c);
    (void)snprintf(local, sizeof local, "%s/redis", green_env("FJ_TEST_HOME"));
    c = connected(redisConnectUnix(local));
    tell(c, "ping", 0);
    redisFree(c);
    c = connected(
        redisConnectWithTimeout("127.0.0.1", green_port("FJ_TEST_REDIS"), (struct timeval){ .tv_sec = 20 }));
    tell(c, "ping", 0);
    redisFree(c);
    return FJ_OK;
}

START_TEST(names_and_local_sockets_are_reached)
{
    green_many(20, opens_by_all_ways);
}
END_TEST

GREEN_TASK(subscribes)
{
    redisContext *c = open_one();

    tell(c, "subscribe news", 0);
    for (unsigned i = 0; i < 10; i++) {
        void *got = NULL;
        redisReply *r = NULL;

        ck_assert_int_eq(redisGetReply(c, &got), REDIS_OK);
        r = got;
        ck_assert_str_eq(r->element[0]->str, "message");
        ck_assert_uint_eq(strtoul(r->element[2]->str, NULL, 10), i);
        freeReplyObject(r);
    }
    redisFree(c);
    return FJ_OK;
}

GREEN_TASK(publishes)
{
    redisContext *c = open_one();
    long long heard = 0;

    while (heard < 30) {
        redisReply *r = ask(c, "pubsub numsub news");

        heard = r->element[1]->integer;
        freeReplyObject(r);
        ck_assert_int_eq(fj_yield(), FJ_OK);
    }
    for (unsigned i = 0; i < 10; i++)
        tell(c, "publish news %u", i);
    redisFree(c);
    return FJ_OK;
}

START_TEST(subscribers_hear_all_in_order)
{
    fj_task *task = green_spawn(publishes, NULL);

    green_many(30, subscribes);
    ck_assert_int_eq(green_join(task), FJ_OK);
}
END_TEST

/* ---- what ends a command -------------------------------------------------------------------------- */

GREEN_TASK(runs_out_of_time)
{
    redisContext *c = open_one();

    ck_assert_int_eq(redisSetTimeout(c, (struct timeval){ .tv_usec = 30000 }), REDIS_OK);
    ck_assert_ptr_null(redisCommand(c, "blpop nothing 0"));
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_msg(strstr(c->errstr, strerror(EAGAIN)) != NULL, "%s", c->errstr);
    redisFree(c);
    return FJ_OK;
}

START_TEST(its_own_timeout_ends_a_command)
{
    green_many(20, runs_out_of_time);
}
END_TEST

GREEN_TASK(connects_to_the_deaf)
{
    redisContext *c = redisConnectWithTimeout("127.0.0.1", *(int *)user, (struct timeval){ .tv_usec = 50000 });

    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_msg(strstr(c->errstr, strerror(ETIMEDOUT)) != NULL, "%s", c->errstr);
    redisFree(c);
    return FJ_OK;
}

START_TEST(its_own_timeout_ends_a_connect)
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

GREEN_TASK(is_refused)
{
    redisContext *c = redisConnect("127.0.0.1", 1);

    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_msg(strstr(c->errstr, strerror(ECONNREFUSED)) != NULL, "%s", c->errstr);
    redisFree(c);
    return FJ_OK;
}

START_TEST(where_nobody_listens_a_connect_is_refused)
{
    green_many(5, is_refused);
}
END_TEST

typedef struct {
    int error; /* errno of the command */
    fj_code after;
} outcome;

GREEN_TASK(takes_for_long)
{
    outcome *o = user;
    redisContext *c = open_one();

    ck_assert_ptr_null(redisCommand(c, "blpop nothing 0"));
    o->error = errno;
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    o->after = fj_yield();
    if (o->after == FJ_OK) { /* as good as new */
        ck_assert_int_eq(redisReconnect(c), REDIS_OK);
        tell(c, "ping", 0);
    }
    redisFree(c);
    return FJ_OK;
}

static outcome ended_by(bool (*end)(fj_task *task))
{
    outcome o = { 0 };
    redisContext *c = open_one();
    fj_task *task = green_spawn(takes_for_long, &o);

    until_they_wait(c, 1);
    ck_assert(end(task));
    ck_assert_int_eq(green_join(task), FJ_OK);
    redisFree(c);
    return o;
}

static void cancel_and_kill(void)
{
    outcome o = ended_by(fj_task_cancel);

    ck_assert_int_eq(o.error, ECANCELED);
    ck_assert_int_eq(o.after, FJ_OK);
    o = ended_by(fj_task_kill);
    ck_assert_int_eq(o.error, ECANCELED);
    ck_assert_int_eq(o.after, FJ_CANCELLED);
}

START_TEST(a_task_that_is_cancelled_in_a_command_hears_of_it)
{
    in_green(cancel_and_kill);
}
END_TEST

static void time_out(void)
{
    redisContext *c = open_one();
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(30));
    ck_assert_ptr_null(redisCommand(c, "blpop nothing 0"));
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_msg(strstr(c->errstr, strerror(ETIMEDOUT)) != NULL, "%s", c->errstr);
    ck_assert(fj_timeout_end(&t));
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    tell(c, "ping", 0);
    redisFree(c);
}

START_TEST(a_timeout_around_a_command_ends_it)
{
    in_green(time_out);
}
END_TEST

/* ---- servers that go ------------------------------------------------------------------------------ */

GREEN_TASK(is_cut_off)
{
    redisContext *c = open_one();

    ck_assert_ptr_null(redisCommand(c, "blpop nothing 0"));
    ck_assert_int_ne(c->err, 0);
    redisFree(c);
    return FJ_OK;
}

GREEN_TASK(cuts_them_off)
{
    redisContext *c = open_one();

    until_they_wait(c, MANY);
    tell(c, "client kill type normal skipme yes", 0);
    redisFree(c);
    return FJ_OK;
}

/* system() is on the pool, so that the others hear of it meanwhile. */
GREEN_TASK(restarts_the_server)
{
    redisContext *c = open_one();

    until_they_wait(c, MANY);
    green_servers("kill", "redis");
    green_servers("start", "redis");
    ck_assert_ptr_null(redisCommand(c, "ping"));
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    tell(c, "ping", 0);
    redisFree(c);
    return FJ_OK;
}

static void many_are_cut_off_by(fj_task_fn how)
{
    fj_task *task = green_spawn(how, NULL);

    green_many(MANY, is_cut_off);
    ck_assert_int_eq(green_join(task), FJ_OK);
}

START_TEST(two_hundred_connections_that_are_cut_say_so)
{
    many_are_cut_off_by(cuts_them_off);
}
END_TEST

START_TEST(a_server_may_be_restarted_while_two_hundred_wait)
{
    many_are_cut_off_by(restarts_the_server);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hiredis in green tasks");
    TCase *hooked = tcase_create("hooked"), *bare = tcase_create("bare");

    tcase_add_checked_fixture(hooked, begin, green_end);
    tcase_add_test(hooked, two_hundred_takers_wait_in_the_server_at_once_for_one_thread);
    tcase_add_test(hooked, ten_commands_overlap);
    tcase_add_test(hooked, pipelines_keep_their_order);
    tcase_add_test(hooked, large_values_come_and_go_whole);
    tcase_add_test(hooked, names_and_local_sockets_are_reached);
    tcase_add_test(hooked, subscribers_hear_all_in_order);
    tcase_add_test(hooked, its_own_timeout_ends_a_command);
    tcase_add_test(hooked, its_own_timeout_ends_a_connect);
    tcase_add_test(hooked, where_nobody_listens_a_connect_is_refused);
    tcase_add_test(hooked, a_task_that_is_cancelled_in_a_command_hears_of_it);
    tcase_add_test(hooked, a_timeout_around_a_command_ends_it);
    tcase_add_test(hooked, two_hundred_connections_that_are_cut_say_so);
    tcase_add_test(hooked, a_server_may_be_restarted_while_two_hundred_wait);
    suite_add_tcase(s, hooked);
    tcase_add_checked_fixture(bare, green_begin_bare, green_end);
    tcase_add_test(bare, without_hooks_the_same_tasks_go_one_after_the_other);
    suite_add_tcase(s, bare);
    return green_main(s);
}
