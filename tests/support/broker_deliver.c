/* SPDX-License-Identifier: Apache-2.0 */
/* Consumers of the broker of tests: deliveries, acks, what comes back to a queue. */
#include "tests/support/broker_impl.h"

channel *bk_channel_of(conn *c, uint16_t number)
{
    channel *ch = c->channels;

    while (ch != NULL && ch->number != number)
        ch = ch->next;
    return ch;
}

void bk_hold(channel *ch, const queue *q, const char *tag, message *m)
{
    unacked *u = bk_must(calloc(1, sizeof *u)), **at = &ch->unacked;

    u->tag = ch->delivered;
    u->queue = bk_must(strdup(q->name));
    u->consumer = bk_must(strdup(tag));
    u->message = m;
    while (*at != NULL)
        at = &(*at)->next;
    *at = u;
}

static void deliver(consumer *k, queue *q)
{
    channel *ch = bk_channel_of(k->conn, k->channel);
    message *m = bk_pop(q);
    amqp_basic_deliver_t d = { amqp_cstring_bytes(k->tag), ++ch->delivered, m->redelivered,
                               amqp_cstring_bytes(m->exchange), amqp_cstring_bytes(m->key) };

    bk_say_message(k->conn, k->channel, AMQP_BASIC_DELIVER_METHOD, &d, m);
    if (k->no_ack) {
        bk_message_free(m);
    } else {
        k->unacked++;
        bk_hold(ch, q, k->tag, m);
    }
}

static consumer *next_consumer(broker *b, const queue *q)
{
    for (consumer **at = &b->consumers; *at != NULL; at = &(*at)->next) {
        consumer *k = *at;
        const channel *ch = bk_channel_of(k->conn, k->channel);

        if (strcmp(k->queue, q->name) != 0 || ch == NULL || ch->closing ||
            (k->prefetch != 0 && k->unacked >= k->prefetch))
            continue;
        *at = k->next; /* to the end: consumers take turns */
        while (*at != NULL)
            at = &(*at)->next;
        k->next = NULL;
        *at = k;
        return k;
    }
    return NULL;
}

void bk_deliver_all(broker *b)
{
    for (queue *q = b->queues; q != NULL; q = q->next) {
        consumer *k;
        bk_expire(q);
        while (q->first != NULL && (k = next_consumer(b, q)) != NULL)
            deliver(k, q);
    }
}

/* The message of @p u back to the head of its queue, or gone. */
static void settle(broker *b, conn *c, unacked **at, bool requeue)
{
    unacked *u = *at;
    queue *q = bk_queue_of(b, u->queue);

    *at = u->next;
    for (consumer *k = b->consumers; k != NULL; k = k->next) {
        if (k->conn == c && strcmp(k->tag, u->consumer) == 0 && k->unacked != 0)
            k->unacked--;
    }
    if (requeue && q != NULL && q->limit >= 0 && ++u->message->returned > q->limit) {
        b->dead++;
        bk_message_free(u->message);
    } else if (requeue && q != NULL) {
        u->message->redelivered = true;
        bk_push_front(q, u->message);
    } else {
        bk_message_free(u->message);
    }
    free(u->queue);
    free(u->consumer);
    free(u);
}

void bk_requeue_all(broker *b, conn *c, channel *ch)
{
    while (ch->unacked != NULL) { /* the last one first, so that their order stays */
        unacked **at = &ch->unacked;
        while ((*at)->next != NULL)
            at = &(*at)->next;
        settle(b, c, at, true);
    }
}

void bk_on_ack(broker *b, conn *c, channel *ch, uint64_t tag, bool multiple, bool drop)
{
    bool found = false;

    if (multiple && !drop) {
        unacked **at;
        do { /* back in order: the greatest tag goes first */
            for (at = &ch->unacked;
                 *at != NULL && (*at)->next != NULL && (tag == 0 || (*at)->next->tag <= tag);)
                at = &(*at)->next;
            if (*at != NULL && (tag == 0 || (*at)->tag <= tag))
                settle(b, c, at, true);
            else
                break;
        } while (true);
        return;
    }
    for (unacked **at = &ch->unacked; *at != NULL;) {
        if ((*at)->tag == tag || (multiple && (tag == 0 || (*at)->tag < tag))) {
            settle(b, c, at, !drop);
            found = true;
        } else {
            at = &(*at)->next;
        }
    }
    if (!found && !multiple)
        b->bad_acks++;
    if (!found && !multiple)
        bk_say_channel_close(c, ch, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - unknown delivery tag",
                             AMQP_BASIC_ACK_METHOD);
}

void bk_on_consume(broker *b, conn *c, channel *ch, const amqp_basic_consume_t *m)
{
    char *name = bk_text_of(m->queue), *tag = bk_text_of(m->consumer_tag);

    if (bk_queue_of(b, name) == NULL) {
        bk_not_found(c, ch, "queue", name, AMQP_BASIC_CONSUME_METHOD);
        free(name);
        free(tag);
        return;
    }
    if (tag[0] == '\0') {
        free(tag);
        bk_must_ok(asprintf(&tag, "amq.ctag-%u", ++b->names) > 0);
    }
    consumer *k = bk_must(calloc(1, sizeof *k)), **at = &b->consumers;
    *k = (consumer){ .conn = c,
                     .channel = ch->number,
                     .tag = tag,
                     .queue = name,
                     .no_ack = m->no_ack,
                     .prefetch = ch->prefetch };
    while (*at != NULL)
        at = &(*at)->next;
    *at = k;
    amqp_basic_consume_ok_t ok = { amqp_cstring_bytes(tag) };
    if (!m->nowait)
        bk_say(c, ch->number, AMQP_BASIC_CONSUME_OK_METHOD, &ok);
}

void bk_on_cancel(broker *b, conn *c, channel *ch, const amqp_basic_cancel_t *m)
{
    amqp_basic_cancel_ok_t ok = { m->consumer_tag };

    for (consumer **at = &b->consumers; *at != NULL; at = &(*at)->next) {
        if ((*at)->conn == c && (*at)->channel == ch->number && bk_same((*at)->tag, m->consumer_tag)) {
            char *name = bk_must(strdup((*at)->queue));
            bk_consumer_drop(at);
            bk_auto_delete(b, name);
            free(name);
            break;
        }
    }
    if (!m->nowait)
        bk_say(c, ch->number, AMQP_BASIC_CANCEL_OK_METHOD, &ok);
}

void bk_on_get(broker *b, conn *c, channel *ch, const amqp_basic_get_t *m)
{
    char *name = bk_text_of(m->queue);
    queue *q = bk_queue_of(b, name);
    amqp_basic_get_empty_t empty = { 0 };
    message *got = q != NULL ? bk_pop(q) : NULL;

    if (q == NULL) {
        bk_not_found(c, ch, "queue", name, AMQP_BASIC_GET_METHOD);
    } else if (got == NULL) {
        bk_say(c, ch->number, AMQP_BASIC_GET_EMPTY_METHOD, &empty);
    } else {
        amqp_basic_get_ok_t ok = { ++ch->delivered, got->redelivered, amqp_cstring_bytes(got->exchange),
                                   amqp_cstring_bytes(got->key), bk_ready(q) };
        bk_say_message(c, ch->number, AMQP_BASIC_GET_OK_METHOD, &ok, got);
        if (m->no_ack)
            bk_message_free(got);
        else
            bk_hold(ch, q, "", got);
    }
    free(name);
}
