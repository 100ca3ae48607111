/* SPDX-License-Identifier: Apache-2.0 */
/* Rows A10 to A12: methods that take too long for the broker, for the prefetch, and for heartbeats. */
#include "tests/faults/rig.h"
#include "tests/faults/rows.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEARTBEAT = 1,
    BEATS = 24 /* of four connections: three seconds' */,
    SLOTS = 2,
    MANY = 20,
    SPIN_MS = 3000
};

static bool nothing_pends(void *user)
{
    return ledger_pending(((rig *)user)->book) == 0;
}

/* ---- A10 --------------------------------------------------------------------------------------------- */

/* RabbitMQ's consumer_timeout closes the channel. */
static void consumer_timeout(rig *r)
{
    broker_rule rule = { .kind = BROKER_CLOSE_CHANNEL,
                         .consumer_of = "t",
                         .code = 406,
                         .text = "PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out" };

    broker_rule_add(r->b, &rule);
}

START_TEST(acked_before)
{
    rig *r = rig_up(NULL);

    rig_call_async(r, "hold", LONG_MS);
    rig_await(&r->holding, 1, "the method");
    ck_assert_uint_eq(broker_unacked(r->b), 0); /* there is nothing that the broker could wait for */
    fj_event_set(r->gate);
    rig_until(nothing_pends, r, "the answer");
    ck_assert_uint_eq(ledger_count(r->book, FJ_OK), 1);
    rig_down(r);
}
END_TEST

START_TEST(acked_too_late)
{
    const rig_opts opts = { .executor = rows_executors[_i],
                            .heartbeat = HEARTBEAT,
                            .conf = "[fjord]\nack = done\n" };
    rig *r = rig_up(&opts);

    rig_call_async(r, "hold", LONG_MS);
    rig_await(&r->holding, 1, "the method");
    ck_assert_uint_eq(broker_unacked(r->b), 1);
    unsigned connections = broker_accepted(r->b), opened = broker_seen(r->b, AMQP_CHANNEL_OPEN_METHOD);
    consumer_timeout(r);
    ck_assert(
        broker_wait(r->b, AMQP_CHANNEL_OPEN_METHOD, opened + 1, LONG_MS)); /* and the message comes again */
    fj_event_set(r->gate);
    rig_until(nothing_pends, r, "the answer");
    ck_assert_uint_eq(ledger_count(r->book, FJ_OK), 1); /* it ran once, says the ledger */
    rig_works(r);
    ck_assert_uint_le(broker_accepted(r->b), connections + 1); /* the one for answers */
    rig_down(r);
}
END_TEST

/* ---- A11 --------------------------------------------------------------------------------------------- */

static bool has_beaten(void *user)
{
    static unsigned from;
    rig *r = user;

    if (from == 0)
        from = broker_beats(r->b) + 1;
    return broker_beats(r->b) >= from + BEATS;
}

START_TEST(stuck_methods)
{
    const rig_opts opts = { .executor = rows_executors[_i], .slots = SLOTS, .heartbeat = HEARTBEAT };
    rig *r = rig_up(&opts);
    unsigned slots = strcmp(opts.executor, "blocking") == 0 ? 1 : SLOTS, prefetch = 2 * slots;

    rig_works(r);
    for (int i = 0; i < MANY; i++)
        rig_call_async(r, "hold", 2 * LONG_MS);
    rig_await(&r->holding, slots, "the methods");
    unsigned connections = broker_accepted(r->b);
    rig_until(has_beaten, r, "the heartbeats");
    ck_assert_uint_eq(broker_silent(r->b), 0);
    ck_assert_uint_eq(broker_accepted(r->b), connections);
    ck_assert_uint_le(broker_unacked(r->b), prefetch + 1); /* and one of the client's */
    ck_assert_int_ge(broker_queue_ready(r->b, "t"),
                     (int)(MANY - slots - prefetch)); /* others could have them */
    ck_assert_uint_eq(atomic_load(&r->holding), slots);
    fj_event_set(r->gate);
    rig_until(nothing_pends, r, "the answers");
    ck_assert_uint_eq(ledger_count(r->book, FJ_OK), MANY + 1);
    rig_down(r);
}
END_TEST

START_TEST(one_stuck_method)
{
    const rig_opts opts = { .executor = rows_executors[_i], .slots = SLOTS };
    rig *r = rig_up(&opts);
    bool alone = strcmp(opts.executor, "blocking") == 0;

    rig_call_async(r, "hold", 2 * LONG_MS);
    rig_await(&r->holding, 1, "the method");
    if (alone) { /* it says so by letting the caller wait */
        ck_assert_int_eq(rig_call(r, "echo", SHORT_MS, NULL), FJ_TIMEOUT);
        fj_event_set(r->gate);
    }
    rig_works(r);
    fj_event_set(r->gate);
    rig_until(nothing_pends, r, "the answer");
    rig_down(r);
}
END_TEST

/* ---- A12 --------------------------------------------------------------------------------------------- */

START_TEST(spinning_methods)
{
    const rig_opts opts = { .executor = rows_executors[_i], .slots = SLOTS, .heartbeat = HEARTBEAT };
    rig *r = rig_up(&opts);

    rig_works(r);
    unsigned connections = broker_accepted(r->b);
    fj_deadline by = fj_in_ms(SPIN_MS);
    rig_call_async(r, "spin", 2 * SPIN_MS); /* half of that */
    rig_until(nothing_pends, r, "the answer");
    ck_assert(fj_passed(by));
    ck_assert_uint_eq(ledger_count(r->book, FJ_OK), 2);
    ck_assert_uint_eq(broker_silent(r->b), 0);
    ck_assert_uint_eq(broker_accepted(r->b), connections);
    rig_works(r);
    rig_down(r);
}
END_TEST

int main(void)
{
    Suite *s = rows_suite("A: handlers");

    rows_add(s, "A10 a method that is acked when it begins knows no consumer timeout", acked_before);
    rows_add_each(s, "A10 a channel closed by the consumer timeout comes again, and the method runs once",
                  acked_too_late);
    rows_add_each(s, "A11 with every slot stuck heartbeats go on, and the surplus stays with the broker",
                  stuck_methods);
    rows_add_each(s, "A11 one stuck method holds up no other where there is a slot", one_stuck_method);
    rows_add_each(s, "A12 methods that spin starve no heartbeat", spinning_methods);
    return rows_run(s);
}
