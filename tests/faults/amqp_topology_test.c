/* SPDX-License-Identifier: Apache-2.0 */
/* Rows A1 to A5 and A13 to A15: queues, exchanges and channels that go, are refused, or are others than was thought. */
#include "tests/faults/rig.h"
#include "tests/faults/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 8, ALWAYS = 1000000 };

static void always(rig *r, broker_fault_kind kind, amqp_method_number_t at, uint16_t code, const char *text)
{
    broker_rule rule = { .kind = kind, .at = at, .times = ALWAYS, .code = code, .text = text };

    broker_rule_add(r->b, &rule);
}

static unsigned connections; /* ever made, before something is to make more */

static bool consumes_again(void *user)
{
    rig *r = user;

    return broker_consumers(r->b, "t") == 1 && broker_consumers(r->b, "t.s") == 1;
}

static bool is_back(void *user)
{
    rig *r = user;

    return broker_accepted(r->b) > connections && consumes_again(r);
}

/* Close the connection of the server that consumes, and wait until it does so again. */
static void reconnect_server(rig *r)
{
    broker_rule rule = { .kind = BROKER_CLOSE_CONNECTION, .consumer_of = "t" };

    connections = broker_accepted(r->b);
    broker_rule_add(r->b, &rule);
    rig_until(is_back, r, "the server");
}

static bool nothing_pends(void *user)
{
    return ledger_pending(((rig *)user)->book) == 0;
}

/* ---- queues ----------------------------------------------------------------------------------------- */

START_TEST(deleted_queue)
{
    const rig_opts opts = { .slots = 1,
                            .heartbeat = 1 }; /* with every slot taken, it is seen when a heartbeat is due */
    rig *r = rig_up(&opts);
    unsigned timeouts = 0;

    rig_call_async(r, "hold", LONG_MS);
    rig_await(&r->holding, 1, "the method");
    for (int i = 0; i < MANY; i++)
        rig_call_async(r, "echo", LONG_MS / 2);
    ck_assert(broker_wait_ready(r->b, "t", MANY / 2, LONG_MS)); /* more than were fetched lie there */
    int lost = broker_queue_ready(r->b, "t");
    broker_queue_delete(r->b, "t");
    rig_until(consumes_again, r, "the queue, declared anew");
    fj_event_set(r->gate);
    rig_until(nothing_pends, r, "the end of the calls");
    for (unsigned i = 0; i <= MANY; i++) {
        fj_code code;
        fj_sent sent;
        ck_assert(ledger_outcome(r->book, i, &code, &sent));
        ck_assert(code == FJ_OK || (code == FJ_TIMEOUT && sent == FJ_SENT_YES));
        timeouts += code != FJ_OK;
    }
    ck_assert_int_ge(timeouts, lost); /* on a busy machine some were too late */
    rig_works(r);
    rig_down(r);
}
END_TEST

START_TEST(deleted_reply_queue)
{
    rig *r = rig_up(NULL);

    rig_works(r);
    broker_queue_add(r->b, "tap", "openstack", "t");
    rig_works(r);
    json_t *request = rig_open(broker_get(r->b, "tap", LONG_MS));
    const char *queue = json_string_value(json_object_get(request, "_reply_q"));
    ck_assert_ptr_nonnull(queue);
    rig_call_async(r, "hold", LONG_MS);
    rig_await(&r->holding, 1, "the method");
    broker_queue_delete(r->b, queue);
    fj_event_set(r->gate); /* the answer finds the queue again, or is tried until it does */
    rig_until(nothing_pends, r, "the answer");
    ck_assert_uint_eq(ledger_count(r->book, FJ_OK), 3);
    rig_works(r);
    json_decref(request);
    rig_down(r);
}
END_TEST

START_TEST(cancelled_consumers)
{
    rig *r = rig_up(NULL);

    rig_works(r);
    ck_assert(broker_capable(r->b, "consumer_cancel_notify"));
    connections = broker_accepted(r->b);
    broker_fault(r->b, BROKER_CANCEL_ONLY, 0);
    rig_until(consumes_again, r, "the consumers");
    rig_works(r);
    ck_assert_uint_eq(broker_accepted(r->b), connections);
    rig_down(r);
}
END_TEST

/* ---- exchanges and bindings ------------------------------------------------------------------------- */

START_TEST(deleted_exchange)
{
    rig *r = rig_up(NULL);
    fj_error *err = NULL;

    rig_works(r);
    broker_exchange_delete(r->b, "openstack");
    fj_code code = rig_cast(r, "echo", true, LONG_MS, &err);
    rig_expect(code, err, FJ_UNDELIVERABLE, FJ_SENT_NO);
    ck_assert(broker_has_exchange(r->b, "openstack")); /* declared again by whoever publishes, */
    reconnect_server(r);                               /* and bound again by whoever consumes */
    rig_works(r);
    rig_down(r);
}
END_TEST

START_TEST(deleted_binding)
{
    rig *r = rig_up(NULL);
    fj_error *err = NULL;

    rig_works(r);
    broker_unbind(r->b, "openstack", "t", "t");
    fj_code code = rig_cast(r, "echo", true, LONG_MS, &err);
    rig_expect(code, err, FJ_UNDELIVERABLE, FJ_SENT_NO);
    reconnect_server(r);
    rig_works(r);
    rig_down(r);
}
END_TEST

/* ---- what a broker refuses -------------------------------------------------------------------------- */

static const fj_target other = FJ_TARGET(.topic = "u", .server = "s");

static fj_server *another(const rig *r)
{
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_server *server = NULL;

    opts.executor = "threading";
    opts.slots = 1;
    ck_assert_int_eq(fj_server_new(r->here, &other, &opts, &server, NULL), FJ_OK);
    return server;
}

static const struct refusal {
    uint16_t code;
    const char *text; /* the broker's */
    const char *said, *hint;
    fj_code is;
} refusals[] = {
    { 403, "ACCESS_REFUSED - access to queue 'u' in vhost '/' refused for user 'guest'", "access to queue 'u'",
      "permissions", FJ_ACCESS },
    { 404, "NOT_FOUND - no exchange 'x' in vhost '/'", "no exchange 'x'", "", FJ_NO_QUEUE },
    { 405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'u' in vhost '/'", "queue 'u'",
      "exclusive", FJ_MISMATCH },
    { 406,
      "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'u' in vhost '/': received none but "
      "current is "
      "the value 'quorum' of type 'longstr'",
      "x-queue-type=quorum, wanted none", "rabbit_quorum_queue", FJ_MISMATCH },
};

START_TEST(refused_channel)
{
    const struct refusal *is = &refusals[_i];
    rig *r = rig_up(NULL);
    fj_server *server = another(r);
    fj_error *err = NULL;

    rig_works(r);
    connections = broker_accepted(r->b);
    always(r, BROKER_CLOSE_CHANNEL, AMQP_QUEUE_DECLARE_METHOD, is->code, is->text);
    ck_assert_int_eq(fj_server_start(server, &err), is->is);
    ck_assert_msg(strstr(fj_error_text(err), is->said) != NULL, "%s", fj_error_text(err));
    ck_assert_msg(strstr(fj_error_text(err), is->hint) != NULL, "%s", fj_error_text(err));
    ck_assert_ptr_nonnull(strstr(fj_error_where(err), "queue u"));
    broker_rules_clear(r->b);
    rig_works(r); /* the one beside it does not notice */
    ck_assert_uint_eq(broker_accepted(r->b), connections);
    fj_error_free(err);
    fj_server_free(server);
    rig_down(r);
}
END_TEST

START_TEST(mismatch_in_words)
{
    const rig_opts opts = { .conf = "[oslo_messaging_rabbit]\namqp_durable_queues = true\n" };
    rig *r = rig_up(&opts);
    fj_server *server = another(r);
    fj_error *err = NULL;

    broker_queue_add(r->b, "u", NULL, NULL); /* not durable */
    ck_assert_int_eq(fj_server_start(server, &err), FJ_MISMATCH);
    ck_assert_msg(strstr(fj_error_text(err), "has durable=false, wanted true") != NULL, "%s",
                  fj_error_text(err));
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "amqp_durable_queues"));
    fj_error_free(err);
    fj_server_free(server);
    rig_works(r);
    rig_down(r);
}
END_TEST

/* ---- what closes connections ------------------------------------------------------------------------ */

static const uint16_t codes[] = { 320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541 };
enum { CODES = sizeof codes / sizeof codes[0] };

START_TEST(closed_connection)
{
    rig *r = rig_up(NULL);

    for (int i = 0; i < CODES; i++) {
        broker_rule rule = { .kind = BROKER_CLOSE_CONNECTION,
                             .at = AMQP_BASIC_PUBLISH_METHOD,
                             .code = codes[i],
                             .text = "SOME_ERROR - told to" };
        fj_error *err = NULL;
        rig_works(r);
        connections = broker_accepted(r->b);
        broker_rule_add(r->b, &rule);
        fj_code code = rig_call(r, "echo", LONG_MS, &err);
        ck_assert_msg(strstr(fj_error_text(err), "told to") != NULL, "%u: %s", codes[i], fj_error_text(err));
        rig_expect(code, err, FJ_LOST, FJ_SENT_MAYBE);
        rig_works(r);
        ck_assert_uint_eq(broker_accepted(r->b), connections + 1); /* once, and no more */
    }
    rig_down(r);
}
END_TEST

/* Whether a refusal at the very beginning is told at once, or waited out. */
START_TEST(closed_handshake)
{
    rig *r = rig_up(NULL);

    for (int i = 0; i < CODES; i++) {
        const rig_opts opts = { .slots = 0 };
        bool fatal = codes[i] == 402 || codes[i] == 530; /* no such vhost */
        fj_transport *transport = rig_transport(r, &opts, NULL);
        const fj_target there = FJ_TARGET(.topic = "t");
        fj_call_opts o = FJ_CALL_OPTS_INIT;
        fj_client *client = NULL;
        fj_error *err = NULL;
        broker_rule rule = { .kind = BROKER_CLOSE_CONNECTION,
                             .at = AMQP_CONNECTION_OPEN_METHOD,
                             .code = codes[i],
                             .times = fatal ? ALWAYS : 2,
                             .text = "SOME_ERROR - told to" };
        ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
        broker_rule_add(r->b, &rule);
        o.by = fj_in_ms(LONG_MS);
        fj_code code = fj_client_call(client, "echo", NULL, &o, NULL, &err);
        ck_assert_msg(code == (fatal ? FJ_ACCESS : FJ_OK), "%u: %s: %s", codes[i], fj_code_name(code),
                      fj_error_text(err));
        ck_assert(!fatal || fj_error_sent(err) == FJ_SENT_NO);
        ck_assert(!fj_passed(o.by)); /* at once */
        broker_rules_clear(r->b);
        fj_error_free(err);
        fj_client_free(client);
        fj_transport_free(transport);
    }
    rig_down(r);
}
END_TEST

/* ---- few channels ----------------------------------------------------------------------------------- */

START_TEST(two_channels)
{
    const rig_opts opts = { .channel_max = 2 };
    rig *r = rig_up(&opts);
    fj_server *server = another(r);
    fj_error *err = NULL;

    rig_works(r); /* replies have one, a server the other */
    ck_assert_int_eq(fj_server_start(server, &err), FJ_BUSY);
    ck_assert_msg(strstr(fj_error_text(err), "channel") != NULL, "%s", fj_error_text(err));
    rig_works(r);
    fj_error_free(err);
    fj_server_free(server);
    rig_down(r);
}
END_TEST

/* ---- where answers go ------------------------------------------------------------------------------- */

static const char id[] = "0123456789abcdef0123456789abcdef";

static json_t *request_of(rig *r)
{
    json_t *request = rig_open(broker_get(r->b, "tap", LONG_MS));

    ck_assert_ptr_nonnull(request);
    return request;
}

static void answer(rig *r, const json_t *request, json_t *result)
{
    const char *msg_id = json_string_value(json_object_get(request, "_msg_id"));
    json_t *message = json_pack("{s:o, s:n, s:b, s:s, s:s}", "result", result, "failure", "ending", 1,
                                "_msg_id", msg_id, "_unique_id", id);
    char *inner = json_dumps(message, 0);
    json_t *envelope = json_pack("{s:s, s:s}", "oslo.version", "2.0", "oslo.message", inner);
    char *body = json_dumps(envelope, 0);

    (void)rig_publish(r, "", json_string_value(json_object_get(request, "_reply_q")), body);
    free(body);
    free(inner);
    json_decref(envelope);
    json_decref(message);
}

START_TEST(reply_queue_after_a_restart)
{
    rig *r = rig_up(NULL);

    broker_queue_add(r->b, "tap", "openstack", "t");
    rig_works(r);
    json_t *first = request_of(r);
    rig_call_async(r, "hold", LONG_MS);
    rig_await(&r->holding, 1, "the method");
    connections = broker_accepted(r->b);
    broker_forget(r->b); /* as one that starts anew, with nothing of what it had */
    broker_fault(r->b, BROKER_CLOSE_CONNECTION, 0);
    rig_until(is_back, r, "the server");
    fj_event_set(r->gate); /* the call waited on: its answer comes where it is waited for */
    rig_until(nothing_pends, r, "the answer");
    ck_assert_uint_eq(ledger_count(r->book, FJ_OK), 2);
    broker_queue_add(r->b, "tap", "openstack", "t");
    rig_call_async(r, "echo", LONG_MS);
    rig_until(nothing_pends, r, "the answer");
    json_t *second = request_of(r);
    ck_assert_uint_eq(broker_consumers(r->b, json_string_value(json_object_get(second, "_reply_q"))), 1);
    answer(r, first, json_integer(8)); /* late answers mean nothing */
    answer(r, second, json_integer(8));
    rig_works(r);
    json_decref(first);
    json_decref(second);
    rig_down(r);
}
END_TEST

START_TEST(both_kinds_of_reply_queues)
{
    static const char direct[] = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAxMjM0";
    rig *r = rig_up(NULL);
    char *body = rig_request("echo", "{\"x\": 7}", id, direct);

    broker_queue_add(r->b, "tap", "openstack", "t");
    rig_works(r);
    json_t *request = request_of(r);
    const char *queue = json_string_value(json_object_get(request, "_reply_q"));
    ck_assert_int_eq(strncmp(queue, "reply_", 6), 0);
    ck_assert_uint_eq(broker_consumers(r->b, queue), 1);
    broker_queue_add(r->b, direct, NULL, NULL);
    ck_assert_uint_eq(rig_publish(r, "openstack", "t", body), 2);
    json_t *reply = rig_open(broker_get(r->b, direct, LONG_MS));
    ck_assert_int_eq(json_integer_value(json_object_get(reply, "result")), 7);
    ck_assert_str_eq(json_string_value(json_object_get(reply, "_msg_id")), id);
    json_decref(reply);
    json_decref(request);
    free(body);
    rig_down(r);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("A: topology");

    rows_add(s, "A1 a queue deleted under its consumer is declared again, and the calls in it end as sent",
             deleted_queue);
    rows_add(s, "A1 a reply queue deleted under a call is declared again, and the call is answered",
             deleted_reply_queue);
    rows_add(s, "A2 cancelled consumers consume again over the same connection", cancelled_consumers);
    rows_add(s, "A3 without the exchange a mandatory cast is undeliverable at once", deleted_exchange);
    rows_add(s, "A3 without the binding a mandatory cast is undeliverable at once", deleted_binding);
    rows_add_loop(s, "A4 a refusal closes one channel and says why", refused_channel, 4);
    rows_add(s, "A4 a mismatch says what was wanted and what is there", mismatch_in_words);
    rows_add(s, "A5 a connection closed with any code is made again, once", closed_connection);
    rows_add(s, "A5 a closed handshake is told at once where nothing will help, and else tried again",
             closed_handshake);
    rows_add(s, "A13 a broker of two channels has room for one server and says so", two_channels);
    rows_add(s, "A14 after a restart answers come where they are waited for, and late ones mean nothing",
             reply_queue_after_a_restart);
    rows_add(s, "A15 a client has a reply queue of its own, and a server answers direct reply-to as well",
             both_kinds_of_reply_queues);
    return rows_run(s);
}
