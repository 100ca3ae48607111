/* SPDX-License-Identifier: Apache-2.0 */
/* Rows M8 to M10: answers that are late, double, nobody's, hostile; and answers that are wanted elsewhere. */
#include "tests/faults/rig.h"
#include "tests/faults/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEP = 200, LARGE = 4 * 1024 * 1024, FLOOD = 200 };

static const rig_opts alone = { .alone = true };
static const char id[] = "fedcba9876543210fedcba9876543210";

/* ---- the server, played by the test -------------------------------------------------------------------- */

typedef struct {
    rig *r;
    char msg_id[40], queue[80];
} asked;

static fj_future *ask(rig *r, int ms, asked *ret)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    broker_queue_add(r->b, "t", "openstack", "t");
    o.by = fj_in_ms(ms);
    ck_assert_int_eq(fj_client_call_async(r->client, "echo", NULL, &o, &future, NULL), FJ_OK);
    json_t *request = rig_open(broker_get(r->b, "t", LONG_MS));
    const char *msg_id = json_string_value(json_object_get(request, "_msg_id"));
    const char *queue = json_string_value(json_object_get(request, "_reply_q"));
    ck_assert(msg_id != NULL && queue != NULL);
    ret->r = r;
    (void)snprintf(ret->msg_id, sizeof ret->msg_id, "%s", msg_id);
    (void)snprintf(ret->queue, sizeof ret->queue, "%s", queue);
    json_decref(request);
    return future;
}

/* Takes the message. */
static void send_message(const asked *a, json_t *message)
{
    char *inner = json_dumps(message, 0);
    json_t *envelope = json_pack("{s:s, s:s}", "oslo.version", "2.0", "oslo.message", inner);
    char *body = json_dumps(envelope, 0);

    ck_assert_uint_eq(rig_publish(a->r, "", a->queue, body), 1);
    free(inner);
    free(body);
    json_decref(envelope);
    json_decref(message);
}

/* @param failure takes; NULL: none */
static json_t *reply_to(const char *msg_id, int result, json_t *failure, bool ending)
{
    return json_pack("{s:i, s:o, s:b, s:s, s:s}", "result", result, "failure",
                     failure != NULL ? failure : json_null(), "ending", ending, "_msg_id", msg_id, "_unique_id",
                     id);
}

static void reply(const asked *a, int result)
{
    send_message(a, reply_to(a->msg_id, result, NULL, true));
}

static void ends_with(fj_future *future, int result)
{
    json_t *ret = NULL;
    fj_error *err = NULL;
    fj_code code = fj_future_wait(future, fj_in_ms(LONG_MS), &ret, &err);

    ck_assert_msg(code == FJ_OK, "%s: %s", fj_code_name(code), fj_error_text(err));
    ck_assert_int_eq(json_integer_value(ret), result);
    json_decref(ret);
    fj_future_unref(future);
}

/* The next call is answered. */
static void works(rig *r)
{
    asked a;
    fj_future *future = ask(r, LONG_MS, &a);

    reply(&a, 42);
    ends_with(future, 42);
}

/* ---- M8 ---------------------------------------------------------------------------------------------- */

START_TEST(unknown_replies)
{
    rig *r = rig_up(&alone);
    asked a, old;
    fj_future *future = ask(r, LONG_MS, &old);

    reply(&old, 1);
    ends_with(future, 1);
    future = ask(r, LONG_MS, &a);
    reply(&old, 2);                                                                /* its call has ended */
    send_message(&a, reply_to("00000000000000000000000000000000", 3, NULL, true)); /* it never was */
    send_message(&a, json_pack("{s:i, s:n, s:b}", "result", 4, "failure", "ending", 1)); /* whose is it? */
    send_message(&a, json_pack("{s:i, s:n, s:b, s:i}", "result", 5, "failure", "ending", 1, "_msg_id", 5));
    (void)rig_publish(r, "", a.queue, "nonsense");
    (void)rig_publish(r, "", a.queue, "[]");
    reply(&a, 6);
    ends_with(future, 6);
    works(r);
    rig_down(r);
}
END_TEST

START_TEST(double_replies)
{
    rig *r = rig_up(&alone);
    asked a;

    for (int i = 0; i < FLOOD; i++) {
        fj_future *future = ask(r, LONG_MS, &a);
        reply(&a, i);
        reply(&a, -1);
        ends_with(future, i);
    }
    works(r);
    rig_down(r);
}
END_TEST

START_TEST(reply_after_the_end)
{
    rig *r = rig_up(&alone);
    asked a, b;
    fj_error *err = NULL;
    fj_future *future = ask(r, LONG_MS, &a);

    ck_assert(fj_future_cancel(future));
    fj_future *second = ask(r, SHORT_MS, &b);
    fj_code code = fj_future_wait(second, fj_in_ms(LONG_MS), NULL, &err);
    rig_expect(code, err, FJ_TIMEOUT, FJ_SENT_YES);
    reply(&a, 1);
    reply(&b, 2);
    works(r); /* behind them in the queue */
    ck_assert_int_eq(fj_future_result(future, NULL, NULL), FJ_CANCELLED);
    ck_assert_int_eq(fj_future_result(second, NULL, NULL), FJ_TIMEOUT);
    fj_future_unref(future);
    fj_future_unref(second);
    rig_down(r);
}
END_TEST

START_TEST(ending_without_a_result)
{
    rig *r = rig_up(&alone);
    asked a;
    json_t *ret = NULL;
    fj_future *future = ask(r, LONG_MS, &a);

    send_message(&a, reply_to(a.msg_id, 1, NULL, false)); /* a sign of life, and no result whatever it says */
    send_message(&a, json_pack("{s:b, s:s}", "ending", 1, "_msg_id", a.msg_id));
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(LONG_MS), &ret, NULL), FJ_OK);
    ck_assert(json_is_null(ret));
    json_decref(ret);
    fj_future_unref(future);
    works(r);
    rig_down(r);
}
END_TEST

START_TEST(failure_after_a_part)
{
    static const char failure[] =
        "{\"class\": \"ValueError\", \"module\": \"builtins\", \"message\": \"no\", \"tb\": [], "
        "\"args\": [\"no\"], \"kwargs\": {}}";
    rig *r = rig_up(&alone);
    asked a;
    fj_error *err = NULL;
    fj_future *future = ask(r, LONG_MS, &a);

    send_message(&a, reply_to(a.msg_id, 1, NULL, false));
    send_message(&a, reply_to(a.msg_id, 2, json_string(failure), true));
    fj_code code = fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &err);
    ck_assert_str_eq(fj_error_remote_class(err), "ValueError");
    rig_expect(code, err, FJ_REMOTE, FJ_SENT_YES);
    fj_future_unref(future);
    works(r);
    rig_down(r);
}
END_TEST

/* ---- M9 ---------------------------------------------------------------------------------------------- */

static const char *const failures[] = {
    "nonsense",
    "7",
    "[]",
    "{}",
    "\"text\"",
    "{\"class\": 7, \"module\": [], \"message\": {}, \"tb\": 7, \"args\": {}, \"kwargs\": []}",
    "{\"class\": null, \"module\": null, \"message\": null, \"tb\": null, \"args\": null, \"kwargs\": null}",
    "{\"class\": \"system\", \"module\": \"os\", \"message\": \"x\", \"tb\": [], \"args\": [\"rm -rf /\"], "
    "\"kwargs\": {}}",
    "{\"class\": \"../../etc/passwd\", \"module\": \"__builtins__.__import__('os')\", \"message\": "
    "\"%s%n%s%n\", "
    "\"tb\": [\"%n\"], \"args\": [\"%n\"], \"kwargs\": {\"%n\": \"%n\"}}",
    "{\"class\": \"A\\u0000B\", \"module\": \"\\u0000\", \"message\": \"\\u0000\\u001b[2J\", \"tb\": [7, {}, "
    "[]], "
    "\"args\": [NaN, 1e999, 9223372036854775808], \"kwargs\": {\"\": \"\"}}",
    "{\"class\": \"\", \"module\": \"\", \"message\": \"\", \"tb\": [], \"args\": [], \"kwargs\": {}}",
};
enum { FAILURES = sizeof failures / sizeof failures[0] };

static void ends_remotely(const asked *a, fj_future *future, json_t *failure, const char *what)
{
    fj_error *err = NULL;

    send_message(a, reply_to(a->msg_id, 1, failure, true));
    fj_code code = fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &err);
    ck_assert_msg(code == FJ_REMOTE && fj_error_sent(err) == FJ_SENT_YES, "%s: %s", what, fj_code_name(code));
    ck_assert_ptr_nonnull(fj_error_text(err));
    fj_error_free(err);
    fj_future_unref(future);
}

START_TEST(hostile_failures)
{
    rig *r = rig_up(&alone);
    asked a;

    for (unsigned i = 0; i < FAILURES; i++) {
        fj_future *future = ask(r, LONG_MS, &a);
        ends_remotely(&a, future, json_string(failures[i]), failures[i]);
    }
    fj_future *future = ask(r, LONG_MS, &a);
    ends_remotely(&a, future, json_integer(7), "a number");
    future = ask(r, LONG_MS, &a);
    ends_remotely(&a, future, json_pack("{s:s}", "class", "ValueError"), "an object");
    works(r);
    rig_down(r);
}
END_TEST

START_TEST(large_failures)
{
    rig *r = rig_up(&alone);
    asked a;
    char *deep = malloc(2 * DEEP + 1), *large = malloc(LARGE + 1);

    memset(deep, '[', DEEP);
    memset(deep + DEEP, ']', DEEP);
    deep[2 * DEEP] = '\0';
    memset(large, 'x', LARGE);
    large[LARGE] = '\0';
    fj_future *future = ask(r, LONG_MS, &a);
    ends_remotely(&a, future, json_string(deep), "a deep one");
    json_t *object = json_pack("{s:s, s:s, s:s, s:[s], s:[s], s:{s:s}}", "class", large, "module", "m",
                               "message", large, "tb", "x", "args", "x", "kwargs", "x", "x");
    char *text = json_dumps(object, 0);
    future = ask(r, LONG_MS, &a);
    ends_remotely(&a, future, json_string(text), "a large one");
    json_decref(object);
    free(text);
    free(deep);
    free(large);
    works(r);
    rig_down(r);
}
END_TEST

/* ---- M10 --------------------------------------------------------------------------------------------- */

static bool none_left(void *user)
{
    rig *r = user;

    return broker_queue_ready(r->b, "t") == 0 && broker_unacked(r->b) == 0;
}

static unsigned request(rig *r, const char *reply_q)
{
    char *body = rig_request("echo", "{\"x\": 7}", id, reply_q);
    unsigned taken = rig_publish(r, "openstack", "t", body);

    free(body);
    return taken;
}

START_TEST(answers_elsewhere)
{
    static const char *const elsewhere[] = {
        "t", "notifications.info", "", "REPLY_x", "amq.gen-1", "xreply_1"
    };
    rig *r = rig_up(NULL);

    for (unsigned i = 0; i < 6; i++) {
        if (elsewhere[i][0] != '\0' && strcmp(elsewhere[i], "t") != 0)
            broker_queue_add(r->b, elsewhere[i], NULL, NULL);
        (void)request(r, elsewhere[i]);
    }
    rig_until(none_left, r, "the end of them");
    ck_assert_uint_eq(broker_seen(r->b, AMQP_BASIC_REJECT_METHOD), 6);
    ck_assert_uint_eq(atomic_load(&r->ran), 0);
    rig_works(r);
    ck_assert_uint_eq(broker_seen(r->b, AMQP_BASIC_PUBLISH_METHOD), 2); /* that call and its answer */
    rig_down(r);
}
END_TEST

START_TEST(answers_anywhere)
{
    const rig_opts opts = { .conf = "[fjord]\nreply_queues =\n" };
    rig *r = rig_up(&opts);

    broker_queue_add(r->b, "mine", NULL, NULL);
    (void)request(r, "mine");
    json_t *answer = rig_open(broker_get(r->b, "mine", LONG_MS));
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "result")), 7);
    json_decref(answer);
    rig_down(r);
}
END_TEST

/* A client that asks and asks for answers to where nobody is. */
START_TEST(answers_to_nobody)
{
    rig *r = rig_up(NULL);

    for (int i = 0; i < FLOOD; i++) {
        char unique[40];
        (void)snprintf(unique, sizeof unique, "%032d", i);
        char *body = rig_request("echo", "{\"x\": 7}", unique, "reply_of_nobody");
        (void)rig_publish(r, "openstack", "t", body);
        free(body);
        if (i % 20 == 0)
            rig_works(r); /* it holds nobody up */
    }
    rig_await(&r->ran, FLOOD, "the methods");
    rig_works(r);
    rig_down(r);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("M: replies");

    rows_add(s, "M8 answers that are nobody's, or none, are dropped", unknown_replies);
    rows_add(s, "M8 of two answers the first counts", double_replies);
    rows_add(s, "M8 an answer after the end is dropped", reply_after_the_end);
    rows_add(s, "M8 an end without a result is null, and a sign of life is no result", ending_without_a_result);
    rows_add(s, "M8 a failure after a sign of life is the failure", failure_after_a_part);
    rows_add(s, "M9 hostile failures are data and end their call alone", hostile_failures);
    rows_add(s, "M9 failures too deep and very large end their call alone", large_failures);
    rows_add(s, "M10 who wants his answer in another's queue has none, and nothing runs", answers_elsewhere);
    rows_add(s, "M10 a configuration may allow any queue", answers_anywhere);
    rows_add(s, "M10 answers to nobody hold up no others", answers_to_nobody);
    return rows_run(s);
}
