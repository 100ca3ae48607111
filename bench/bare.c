/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's floor: the messages of an RPC exchanged by librabbitmq alone, as a program without a library of its own would, and
 * without reading any JSON.  A topic exchange, each message acknowledged on both sides, publisher confirms asked for (and of casts
 * waited for), an exclusive reply queue, a body like oslo.messaging's.  `bare server|client PORT ...` as support/plan.h says; one way, as
 * notifications go: `bare sink PORT calls=N`, `bare source PORT calls=N at_once=WINDOW`, which waits for a window's confirms together. */
#include "bench/support/broker.h"
#include "bench/support/confirms.h"
#include "bench/support/drive.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TOPIC "bench_bare"

typedef struct {
    amqp_connection_state_t c;
    char *body;
    amqp_bytes_t reply_to;
    confirms confirmed;
} caller;

static void publish(amqp_connection_state_t c, const char *exchange, amqp_bytes_t key, amqp_bytes_t reply_to,
                    amqp_bytes_t body)
{
    amqp_basic_properties_t p = broker_properties(reply_to);

    plan_check(amqp_basic_publish(c, 1, amqp_cstring_bytes(exchange), key, 0, 0, &p, body) == AMQP_STATUS_OK,
               "publishing");
}

/* A confirm, which librabbitmq leaves to be read where a message was waited for. */
static const amqp_basic_ack_t *confirm(amqp_connection_state_t c)
{
    amqp_frame_t frame;

    plan_check(amqp_simple_wait_frame(c, &frame) == AMQP_STATUS_OK, "reading a frame");
    plan_check(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
               "expecting a confirm");
    return frame.payload.method.decoded;
}

typedef enum { TAKEN_MESSAGE, TAKEN_CONFIRM, TAKEN_NOTHING } taken;

/* Whether there is something to read by then.  librabbitmq itself waits in whole milliseconds. */
static bool readable(amqp_connection_state_t c, double by)
{
    struct pollfd p = { .fd = amqp_get_sockfd(c), .events = POLLIN };
    double now = plan_now(), left = by > now ? by - now : 0;
    struct timespec t = { (time_t)left, (long)((left - (double)(time_t)left) * 1e9) };

    return amqp_frames_enqueued(c) || amqp_data_in_buffer(c) || ppoll(&p, 1, &t, NULL) == 1;
}

/* What comes next: a message, acknowledged, or a confirm. */
static taken take_any(amqp_connection_state_t c, double by, amqp_envelope_t *message,
                      const amqp_basic_ack_t **ack)
{
    amqp_maybe_release_buffers(c);
    if (by != DRIVE_NEVER && !readable(c, by))
        return TAKEN_NOTHING;
    amqp_rpc_reply_t r = amqp_consume_message(c, message, NULL, 0);
    if (r.reply_type == AMQP_RESPONSE_NORMAL) {
        plan_check(amqp_basic_ack(c, 1, message->delivery_tag, 0) == AMQP_STATUS_OK, "acknowledging");
        return TAKEN_MESSAGE;
    }
    plan_check(r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION, "waiting for a message");
    plan_check(r.library_error == AMQP_STATUS_UNEXPECTED_STATE, amqp_error_string2(r.library_error));
    *ack = confirm(c);
    return TAKEN_CONFIRM;
}

static void next_message(amqp_connection_state_t c, amqp_envelope_t *ret)
{
    const amqp_basic_ack_t *ack;

    while (take_any(c, DRIVE_NEVER, ret, &ack) != TAKEN_MESSAGE)
        ;
}

static void ready(void)
{
    puts("ready");
    (void)fflush(stdout);
}

static void serve(amqp_connection_state_t c)
{
    broker_queue(c, TOPIC, 1);
    broker_consume(c, amqp_cstring_bytes(TOPIC), 0);
    ready();
    for (;;) {
        amqp_envelope_t e;

        next_message(c, &e);
        if (e.message.properties._flags & AMQP_BASIC_REPLY_TO_FLAG)
            publish(c, "", e.message.properties.reply_to, amqp_empty_bytes, e.message.body);
        amqp_destroy_envelope(&e);
    }
}

/* ---- who asks ---- */

static void send_one(drive *d, long number)
{
    caller *me = d->side;

    plan_number(me->body, number);
    publish(me->c, BROKER_EXCHANGE, amqp_cstring_bytes(TOPIC),
            d->plan->kind == PLAN_CAST ? amqp_empty_bytes : me->reply_to,
            (amqp_bytes_t){ d->plan->bytes, me->body });
}

static void take(drive *d, double by)
{
    caller *me = d->side;
    const amqp_basic_ack_t *ack;
    amqp_envelope_t e;
    taken what = take_any(me->c, by, &e, &ack);

    if (what == TAKEN_CONFIRM && d->plan->kind == PLAN_CAST)
        confirms_take(&me->confirmed, d, ack->delivery_tag, ack->multiple);
    if (what != TAKEN_MESSAGE)
        return;
    plan_check(e.message.body.len == d->plan->bytes, "getting the same back");
    long number = plan_number_of(e.message.body.bytes, e.message.body.len);
    amqp_destroy_envelope(&e);
    drive_done(d, number);
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

static drive asker(caller *me, const plan *p, amqp_connection_state_t c)
{
    me->c = c;
    me->body = plan_body(p);
    me->reply_to = broker_reply_queue(c);
    broker_consume(c, me->reply_to, 0);
    return (drive){ .send = send_one, .take = take, .side = me };
}

static void ask(amqp_connection_state_t c, const plan *p)
{
    caller me = { 0 };
    drive d = asker(&me, p, c);

    drive_all(&d, p, p->kind == PLAN_CAST ? behind : NULL);
    amqp_bytes_free(me.reply_to);
}

/* One connection is there already. */
static void idle(amqp_connection_state_t first, const plan *p)
{
    static amqp_connection_state_t kept[PLAN_AT_ONCE_MAX];
    tally t = { 0 };

    for (long i = 0; i < p->at_once; i++) {
        caller me = { 0 };

        kept[i] = i == 0 ? first : broker_connect(p->where);
        drive d = asker(&me, p, kept[i]);
        (void)drive_run(&d, p, 1);
        amqp_bytes_free(me.reply_to);
    }
    tally_report(&t, p, 0);
    for (long i = 1; i < p->at_once; i++)
        amqp_destroy_connection(kept[i]);
}

/* ---- one way ---- */

#define ONE_WAY "bench_bare_one_way"
#define PREFETCH 128 /* as a listener of 64 slots has it */

static void sink(amqp_connection_state_t c, const plan *p)
{
    double first = 0;

    broker_queue(c, ONE_WAY, 0);
    broker_consume(c, amqp_cstring_bytes(ONE_WAY), PREFETCH);
    ready();
    for (long i = 0; i < p->calls; i++) {
        amqp_envelope_t e;

        next_message(c, &e);
        if (i == 0)
            first = plan_now();
        plan_check(e.message.body.len == p->bytes, "getting a whole message");
        amqp_destroy_envelope(&e);
    }
    printf("%.6f\n", plan_now() - first);
}

/* Wait until the broker has confirmed all up to the tag. */
static void confirmed(amqp_connection_state_t c, uint64_t tag, uint64_t *left)
{
    while (*left > 0) {
        amqp_maybe_release_buffers(c);
        const amqp_basic_ack_t *ack = confirm(c);
        *left = ack->multiple ? tag - ack->delivery_tag : *left - 1;
    }
}

static void source(amqp_connection_state_t c, const plan *p)
{
    char *body = plan_body(p);
    uint64_t left = 0;

    broker_queue(c, ONE_WAY, 0);
    for (long i = 1; i <= p->calls; i++) {
        publish(c, BROKER_EXCHANGE, amqp_cstring_bytes(ONE_WAY), amqp_empty_bytes,
                (amqp_bytes_t){ p->bytes, body });
        left++;
        if (i % p->at_once == 0 || i == p->calls)
            confirmed(c, (uint64_t)i, &left);
    }
}

int main(int argc, char **argv)
{
    plan p = plan_read("bare", argc, argv);
    amqp_connection_state_t c = broker_connect(p.where);

    if (strcmp(p.role, "server") == 0)
        serve(c);
    else if (strcmp(p.role, "sink") == 0)
        sink(c, &p);
    else if (strcmp(p.role, "source") == 0)
        source(c, &p);
    else if (p.kind == PLAN_IDLE)
        idle(c, &p);
    else
        ask(c, &p);
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
    return 0;
}
