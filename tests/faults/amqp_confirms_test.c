/* SPDX-License-Identifier: Apache-2.0 */
/* Rows A6 to A9: confirms that do not come, refuse, or lie; returns; and acks of ours that would be wrong. */
#include "tests/faults/rig.h"
#include "tests/faults/rows.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 40, ALWAYS = 1000000, CALLERS = 4, LOSSES = 6, BETWEEN = 100 };

static void rule_at_publish(rig *r, broker_fault_kind kind, unsigned skip, unsigned times)
{
    broker_rule rule = { .kind = kind, .at = AMQP_BASIC_PUBLISH_METHOD, .skip = skip, .times = times };

    broker_rule_add(r->b, &rule);
}

static bool nothing_pends(void *user)
{
    return ledger_pending(((rig *)user)->book) == 0;
}

static fj_future *cast_async(rig *r, bool mandatory, int ms)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_future *future = NULL;

    o.by = fj_in_ms(ms);
    o.mandatory = mandatory;
    ck_assert_int_eq(fj_client_cast_async(r->client, "echo", json_pack("{s:i}", "x", 7), &o, &future, NULL),
                     FJ_OK);
    return future;
}

static void ends_as(fj_future *future, fj_code wanted, fj_sent sent)
{
    fj_error *err = NULL;
    fj_code code = fj_future_wait(future, fj_in_ms(LONG_MS), NULL, &err);

    fj_future_unref(future);
    if (wanted == FJ_OK)
        ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
    else
        rig_expect(code, err, wanted, sent);
}

static void cast_works(rig *r)
{
    fj_error *err = NULL;
    fj_code code = rig_cast(r, "echo", true, LONG_MS, &err);

    ck_assert_msg(code == FJ_OK, "%s: %s", fj_code_name(code), fj_error_text(err));
}

/* ---- A6 ---------------------------------------------------------------------------------------------- */

START_TEST(never_confirmed_casts)
{
    rig *r = rig_up(NULL);
    fj_future *casts[MANY];

    cast_works(r);
    rule_at_publish(r, BROKER_NO_CONFIRM, 0, ALWAYS);
    for (int i = 0; i < MANY; i++)
        casts[i] = cast_async(r, false, SHORT_MS);
    for (int i = 0; i < MANY; i++)
        ends_as(casts[i], FJ_TIMEOUT, FJ_SENT_MAYBE);
    broker_rules_clear(r->b);
    cast_works(r);
    rig_works(r);
    rig_down(r);
}
END_TEST

START_TEST(never_confirmed_calls)
{
    const rig_opts opts = { .slots = 1 };
    rig *r = rig_up(&opts);
    fj_error *err = NULL;
    broker_rule lose = { .kind = BROKER_IGNORE, .at = AMQP_BASIC_PUBLISH_METHOD, .times = 1 };

    rig_works(r);
    rule_at_publish(r, BROKER_NO_CONFIRM, 0, ALWAYS);
    rig_works(r); /* who is answered needs no confirm */
    broker_rules_clear(r->b);
    broker_rule_add(r->b, &lose);
    fj_code code = rig_call(r, "echo", SHORT_MS, &err);
    rig_expect(code, err, FJ_TIMEOUT, FJ_SENT_MAYBE);
    rig_works(r);
    rig_down(r);
}
END_TEST

START_TEST(confirmed_too_late)
{
    rig *r = rig_up(NULL);
    fj_future *casts[MANY];

    cast_works(r);
    for (int backwards = 0; backwards < 2; backwards++) {
        rule_at_publish(r, BROKER_CONFIRM_HELD, 0, MANY);
        for (int i = 0; i < MANY; i++)
            casts[i] = cast_async(r, false, SHORT_MS);
        for (int i = 0; i < MANY; i++)
            ends_as(casts[i], FJ_TIMEOUT, FJ_SENT_MAYBE);
        broker_confirm_held(r->b, backwards != 0);
        cast_works(r);
    }
    rig_works(r);
    rig_down(r);
}
END_TEST

START_TEST(confirmed_backwards)
{
    rig *r = rig_up(NULL);
    fj_future *casts[MANY];

    cast_works(r);
    unsigned before = broker_seen(r->b, AMQP_BASIC_PUBLISH_METHOD), ran = atomic_load(&r->ran);
    rule_at_publish(r, BROKER_CONFIRM_HELD, 0, MANY);
    for (int i = 0; i < MANY; i++)
        casts[i] = cast_async(r, false, LONG_MS);
    ck_assert(broker_wait(r->b, AMQP_BASIC_PUBLISH_METHOD, before + MANY, LONG_MS));
    rig_await(&r->ran, ran + MANY, "the methods"); /* so that the broker has taken the last of them, too */
    broker_confirm_held(r->b, true);
    for (int i = 0; i < MANY; i++)
        ends_as(casts[i], FJ_OK, FJ_SENT_YES);
    rig_down(r);
}
END_TEST

/* ---- A7 ---------------------------------------------------------------------------------------------- */

START_TEST(refused)
{
    rig *r = rig_up(NULL);
    fj_error *err = NULL;

    cast_works(r);
    unsigned ran = atomic_load(&r->ran);
    rule_at_publish(r, BROKER_NACK, 0, 2);
    fj_code code = rig_cast(r, "echo", false, LONG_MS, &err);
    ck_assert(fj_error_retriable(err));
    rig_expect(code, err, FJ_REFUSED, FJ_SENT_NO);
    code = rig_call(r, "echo", LONG_MS, &err);
    ck_assert(fj_error_retriable(err));
    rig_expect(code, err, FJ_REFUSED, FJ_SENT_NO);
    rig_works(r);
    ck_assert_uint_le(atomic_load(&r->ran), ran + 2); /* the cast that worked may have come late */
    rig_down(r);
}
END_TEST

START_TEST(refused_among_others)
{
    rig *r = rig_up(NULL);
    fj_future *casts[MANY];

    cast_works(r);
    rule_at_publish(r, BROKER_NACK, MANY / 2, 1);
    for (int i = 0; i < MANY; i++)
        casts[i] = cast_async(r, false, LONG_MS);
    for (int i = 0; i < MANY; i++)
        ends_as(casts[i], i == MANY / 2 ? FJ_REFUSED : FJ_OK, FJ_SENT_NO);
    rig_down(r);
}
END_TEST

START_TEST(refused_answer)
{
    rig *r = rig_up(NULL);

    rig_works(r);
    rule_at_publish(r, BROKER_NACK, 1, 2); /* not the call, but its answer, twice */
    rig_works(r);
    rig_down(r);
}
END_TEST

/* ---- A8 ---------------------------------------------------------------------------------------------- */

START_TEST(returned_among_others)
{
    rig *r = rig_up(NULL);
    fj_future *casts[MANY];

    cast_works(r);
    rule_at_publish(r, BROKER_RETURN, MANY / 2, 1);
    for (int i = 0; i < MANY; i++)
        casts[i] = cast_async(r, true, LONG_MS);
    for (int i = 0; i < MANY; i++)
        ends_as(casts[i], i == MANY / 2 ? FJ_UNDELIVERABLE : FJ_OK, FJ_SENT_NO);
    rig_down(r);
}
END_TEST

START_TEST(returned_call)
{
    const rig_opts opts = { .alone = true };
    rig *r = rig_up(&opts);
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *err = NULL;

    o.by = fj_in_ms(LONG_MS);
    o.mandatory = 1;
    fj_code code = fj_client_call(r->client, "echo", NULL, &o, NULL, &err);
    ck_assert(!fj_passed(o.by)); /* at once, not at the deadline */
    rig_expect(code, err, FJ_UNDELIVERABLE, FJ_SENT_NO);
    rig_down(r);
}
END_TEST

START_TEST(returned_late)
{
    rig *r = rig_up(NULL);

    cast_works(r);
    rule_at_publish(r, BROKER_RETURN_LATE, 0, 1);
    cast_works(r); /* for all that it knows */
    for (int i = 0; i < MANY; i++)
        cast_works(r); /* none of these is taken for it */
    rig_works(r);
    rig_down(r);
}
END_TEST

/* ---- A9 ---------------------------------------------------------------------------------------------- */

typedef struct {
    rig *r;
    atomic_bool over;
} traffic;

static void *call_on(void *user)
{
    traffic *t = user;

    while (!atomic_load(&t->over))
        (void)rig_call(t->r, "echo", LONG_MS, NULL);
    return NULL;
}

static bool consumes(void *user)
{
    return broker_consumers(((rig *)user)->b, "t") != 0;
}

/* Amid calls; and the server consumes again. */
static void lose(rig *r, broker_fault_kind kind)
{
    broker_rule rule = { .kind = kind, .consumer_of = "t" };
    unsigned consumed = 0;

    rig_await(&r->ran, atomic_load(&r->ran) + BETWEEN, "the calls");
    rig_until(consumes, r, "the consumer");
    consumed = broker_seen(r->b, AMQP_BASIC_CONSUME_METHOD);
    broker_rule_add(r->b, &rule);
    ck_assert_msg(broker_wait(r->b, AMQP_BASIC_CONSUME_METHOD, consumed + 1, LONG_MS),
                  "it is not consumed again");
}

/* Connections and channels are lost all the time, with deliveries not yet acked. */
START_TEST(never_a_wrong_ack)
{
    const rig_opts opts = { .slots = 8, .conf = _i == 0 ? NULL : "[fjord]\nack = done\n" };
    traffic t = { .r = rig_up(&opts) };
    pthread_t callers[CALLERS];

    rig_works(t.r);
    for (int i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_create(&callers[i], NULL, call_on, &t), 0);
    for (int i = 0; i < LOSSES; i++)
        lose(t.r, i % 2 ? BROKER_CLOSE_CHANNEL : BROKER_CLOSE_CONNECTION);
    atomic_store(&t.over, true);
    for (int i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_join(callers[i], NULL), 0);
    rig_works(t.r);
    ck_assert_uint_eq(broker_bad_acks(t.r->b), 0);
    rig_down(t.r);
}
END_TEST

static const broker_fault_kind lies[] = { BROKER_CONFIRM_TWICE, BROKER_CONFIRM_UNKNOWN, BROKER_CONFIRM_BEYOND };

START_TEST(confirms_that_lie)
{
    rig *r = rig_up(NULL);
    fj_error *err = NULL;

    rule_at_publish(r, lies[_i], 0, ALWAYS);
    for (int i = 0; i < MANY; i++)
        cast_works(r);
    rig_works(r);
    broker_rules_clear(r->b);
    cast_works(r);
    rule_at_publish(r, BROKER_NO_CONFIRM, 0, 1);
    fj_code code = rig_cast(r, "echo", false, SHORT_MS, &err); /* not taken for confirmed before it was sent */
    rig_expect(code, err, FJ_TIMEOUT, FJ_SENT_MAYBE);
    rig_until(nothing_pends, r, "the end");
    rig_down(r);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("A: confirms");

    rows_add(s, "A6 casts that are never confirmed may have been sent, and the next ones are",
             never_confirmed_casts);
    rows_add(s, "A6 a call that is never confirmed ends by its answer, or may have been sent",
             never_confirmed_calls);
    rows_add(s, "A6 confirms that come after the end mean nothing", confirmed_too_late);
    rows_add(s, "A6 confirms in any order are each taken for their own", confirmed_backwards);
    rows_add(s, "A7 what the broker refuses was not sent and may be tried again", refused);
    rows_add(s, "A7 one refused among others is the one", refused_among_others);
    rows_add(s, "A7 an answer that the broker refuses is sent again", refused_answer);
    rows_add(s, "A8 one returned among others is the one", returned_among_others);
    rows_add(s, "A8 a mandatory call to nobody is undeliverable at once", returned_call);
    rows_add(s, "A8 a return after its confirm is taken for nobody's", returned_late);
    rows_add_loop(s, "A9 no ack is ever wrong, whatever is lost meanwhile", never_a_wrong_ack, 2);
    rows_add_loop(s, "A9 confirms of what was never published confirm nothing", confirms_that_lie, 3);
    return rows_run(s);
}
