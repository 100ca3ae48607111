/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's limit: the exchange of messages of bare.c, tuned by hand.  Buffers of its own and one write a batch (support/wire.h),
 * no JSON read, acknowledgements of several messages in one; the server acknowledges a batch before it writes the answers, as Fjord's
 * must under ack = admit.  `hand server|client PORT ...` as support/plan.h says; one way, as notifications go: `hand sink PORT calls=N`,
 * `hand source PORT calls=N at_once=WINDOW bytes=N`. */
#include "bench/support/broker.h"
#include "bench/support/confirms.h"
#include "bench/support/drive.h"
#include "bench/support/wire.h"

#include <stdio.h>
#include <string.h>

#define TOPIC "bench_hand"
#define ONE_WAY "bench_hand_one_way"
#define PREFETCH 128 /* as a listener of 64 slots has it */

typedef struct {
    wire w;
    char *body;
    amqp_bytes_t topic, reply_to;
    confirms confirmed;
} caller;

/* ---- who serves ---- */

static void ready(void)
{
    puts("ready");
    (void)fflush(stdout);
}

static void serve(amqp_connection_state_t c)
{
    wire w;
    wire_event e;

    broker_queue(c, TOPIC, 1);
    broker_consume(c, amqp_cstring_bytes(TOPIC), 0);
    wire_init(&w, c);
    ready();
    for (;;) {
        (void)wire_wait(&w, 0);
        while (wire_next(&w, &e)) {
            if (!e.confirm && e.reply_to.len > 0)
                wire_publish(&w, "", e.reply_to, amqp_empty_bytes, e.body, e.n);
        }
        wire_flush_ack_first(&w);
    }
}

static void sink(amqp_connection_state_t c, const plan *p)
{
    wire w;
    wire_event e;
    double first = 0;

    broker_queue(c, ONE_WAY, 0);
    amqp_queue_purge(c, 1, amqp_cstring_bytes(ONE_WAY));
    broker_replied(c, "purging the queue");
    broker_consume(c, amqp_cstring_bytes(ONE_WAY), PREFETCH);
    wire_init(&w, c);
    ready();
    for (long n = 0; n < p->calls;) {
        (void)wire_wait(&w, 0);
        for (; wire_next(&w, &e); n++) {
            plan_check(e.n == p->bytes, "getting a whole message");
            if (n == 0)
                first = plan_now();
        }
        wire_flush(&w);
    }
    printf("%.6f\n", plan_now() - first);
    wire_fini(&w);
}

/* ---- who asks ---- */

static void send_one(drive *d, long number)
{
    caller *me = d->side;

    plan_number(me->body, number);
    wire_publish(&me->w, BROKER_EXCHANGE, me->topic,
                 d->plan->kind == PLAN_CALL ? me->reply_to : amqp_empty_bytes, me->body, d->plan->bytes);
}

static void take(drive *d, double by)
{
    caller *me = d->side;
    wire_event e;

    wire_flush(&me->w);
    if (!wire_wait(&me->w, by))
        return;
    while (wire_next(&me->w, &e)) {
        if (e.confirm) {
            if (d->plan->kind == PLAN_CAST)
                confirms_take(&me->confirmed, d, e.tag, e.multiple);
        } else {
            plan_check(e.n == d->plan->bytes, "getting the same back");
            drive_done(d, plan_number_of((const char *)e.body, e.n));
        }
    }
}

/* A call, which is answered behind all casts. */
static void behind(drive *d)
{
    plan one = *d->plan;

    one.kind = PLAN_CALL;
    one.at_once = 1;
    one.rate = 0;
    (void)drive_run(d, &one, 1);
}

static void ask(amqp_connection_state_t c, const plan *p)
{
    caller me = { .body = plan_body(p), .topic = amqp_cstring_bytes(TOPIC), .reply_to = broker_reply_queue(c) };
    drive d = { .send = send_one, .take = take, .side = &me };

    broker_consume(c, me.reply_to, 0);
    wire_init(&me.w, c);
    drive_all(&d, p, p->kind == PLAN_CAST ? behind : NULL);
    wire_fini(&me.w);
    amqp_bytes_free(me.reply_to);
}

static void source(amqp_connection_state_t c, const plan *p)
{
    caller me = { .body = plan_body(p), .topic = amqp_cstring_bytes(ONE_WAY) };
    drive d = { .send = send_one, .take = take, .side = &me };
    plan casts = *p;

    casts.kind = PLAN_CAST;
    broker_queue(c, ONE_WAY, 0);
    wire_init(&me.w, c);
    (void)drive_run(&d, &casts, p->calls);
    wire_fini(&me.w);
}

int main(int argc, char **argv)
{
    plan p = plan_read("hand", argc, argv);
    amqp_connection_state_t c = broker_connect(p.where);

    if (strcmp(p.role, "server") == 0)
        serve(c);
    else if (strcmp(p.role, "sink") == 0)
        sink(c, &p);
    else if (strcmp(p.role, "source") == 0)
        source(c, &p);
    else
        ask(c, &p);
    amqp_destroy_connection(c);
    return 0;
}
