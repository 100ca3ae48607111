/* SPDX-License-Identifier: Apache-2.0 */
/* Declaring, binding, deleting: what a client asks of the topology. */
#include "tests/support/broker_impl.h"

void bk_on_exchange_declare(broker *b, conn *c, channel *ch, const amqp_exchange_declare_t *m)
{
    amqp_exchange_declare_ok_t ok = { 0 };
    char *name = bk_text_of(m->exchange), text[256];
    exchange *x = bk_exchange_of(b, name);

    if (x == NULL && m->passive) {
        (void)snprintf(text, sizeof text, "NOT_FOUND - no exchange '%.100s' in vhost '/'", name);
        bk_say_channel_close(c, ch, AMQP_NOT_FOUND, text, AMQP_EXCHANGE_DECLARE_METHOD);
    } else if (x != NULL && !m->passive &&
               (!bk_same(x->type, m->type) || x->durable != !!m->durable ||
                x->auto_delete != !!m->auto_delete)) {
        (void)snprintf(text, sizeof text,
                       "PRECONDITION_FAILED - inequivalent arg '%s' for exchange '%.100s' in vhost '/'",
                       !bk_same(x->type, m->type)   ? "type"
                       : x->durable != !!m->durable ? "durable"
                                                    : "auto_delete",
                       name);
        bk_say_channel_close(c, ch, AMQP_PRECONDITION_FAILED, text, AMQP_EXCHANGE_DECLARE_METHOD);
    } else {
        if (x == NULL) {
            x = bk_must(calloc(1, sizeof *x));
            *x = (exchange){ b->exchanges, bk_must(strdup(name)), bk_text_of(m->type), m->durable,
                             m->auto_delete };
            b->exchanges = x;
        }
        if (!m->nowait)
            bk_say(c, ch->number, AMQP_EXCHANGE_DECLARE_OK_METHOD, &ok);
    }
    free(name);
}

static int64_t number_in(const amqp_table_t *t, const char *key)
{
    for (int i = 0; i < t->num_entries; i++) {
        const amqp_field_value_t *v = &t->entries[i].value;
        if (bk_same(key, t->entries[i].key))
            return v->kind == AMQP_FIELD_KIND_I64   ? v->value.i64
                   : v->kind == AMQP_FIELD_KIND_I32 ? v->value.i32
                                                    : -1;
    }
    return -1;
}

queue *bk_queue_add(broker *b, conn *c, const char *name, const amqp_queue_declare_t *m)
{
    queue *q = bk_must(calloc(1, sizeof *q));

    q->name = bk_must(strdup(name));
    q->durable = m->durable;
    q->exclusive = m->exclusive;
    q->auto_delete = m->auto_delete;
    q->owner = m->exclusive ? c : NULL;
    q->last = &q->first;
    q->limit = number_in(&m->arguments, "x-delivery-limit");
    q->next = b->queues;
    b->queues = q;
    return q;
}

unsigned bk_ready(const queue *q)
{
    unsigned n = 0;

    for (const message *m = q->first; m != NULL; m = m->next)
        n++;
    return n;
}

unsigned bk_consumers_of(const broker *b, const char *name)
{
    unsigned n = 0;

    for (const consumer *k = b->consumers; k != NULL; k = k->next)
        n += strcmp(k->queue, name) == 0;
    return n;
}

void bk_on_queue_declare(broker *b, conn *c, channel *ch, const amqp_queue_declare_t *m)
{
    char *name = bk_text_of(m->queue), text[256];

    if (name[0] == '\0') {
        free(name);
        bk_must_ok(asprintf(&name, "amq.gen-%u", ++b->names) > 0);
    }
    queue *q = bk_queue_of(b, name);
    if (q == NULL && m->passive) {
        (void)snprintf(text, sizeof text, "NOT_FOUND - no queue '%.100s' in vhost '/'", name);
        bk_say_channel_close(c, ch, AMQP_NOT_FOUND, text, AMQP_QUEUE_DECLARE_METHOD);
    } else if (q != NULL && q->owner != NULL && q->owner != c) {
        bk_say_channel_close(c, ch, AMQP_RESOURCE_LOCKED, "RESOURCE_LOCKED - exclusive",
                             AMQP_QUEUE_DECLARE_METHOD);
    } else if (q != NULL && !m->passive &&
               (q->durable != !!m->durable || q->auto_delete != !!m->auto_delete ||
                q->exclusive != !!m->exclusive)) {
        bool is = q->durable != !!m->durable ? q->durable : q->auto_delete;
        (void)snprintf(
            text, sizeof text,
            "PRECONDITION_FAILED - inequivalent arg '%s' for queue '%.100s' in vhost '/': received '%s' "
            "but current is '%s'",
            q->durable != !!m->durable ? "durable" : "auto_delete", name, is ? "false" : "true",
            is ? "true" : "false");
        bk_say_channel_close(c, ch, AMQP_PRECONDITION_FAILED, text, AMQP_QUEUE_DECLARE_METHOD);
    } else {
        if (q == NULL)
            q = bk_queue_add(b, c, name, m);
        amqp_queue_declare_ok_t ok = { amqp_cstring_bytes(name), bk_ready(q), bk_consumers_of(b, name) };
        if (!m->nowait)
            bk_say(c, ch->number, AMQP_QUEUE_DECLARE_OK_METHOD, &ok);
    }
    free(name);
}

void bk_not_found(conn *c, channel *ch, const char *what, const char *name, amqp_method_number_t cause)
{
    char text[256];

    (void)snprintf(text, sizeof text, "NOT_FOUND - no %s '%.100s' in vhost '/'", what, name);
    bk_say_channel_close(c, ch, AMQP_NOT_FOUND, text, cause);
}

void bk_on_bind(broker *b, conn *c, channel *ch, const amqp_queue_bind_t *m)
{
    amqp_queue_bind_ok_t ok = { 0 };
    char *q = bk_text_of(m->queue), *x = bk_text_of(m->exchange), *key = bk_text_of(m->routing_key);

    if (bk_queue_of(b, q) == NULL) {
        bk_not_found(c, ch, "queue", q, AMQP_QUEUE_BIND_METHOD);
    } else if (bk_exchange_of(b, x) == NULL) {
        bk_not_found(c, ch, "exchange", x, AMQP_QUEUE_BIND_METHOD);
    } else {
        if (*bk_binding_of(b, x, q, key) == NULL) {
            binding *made = bk_must(calloc(1, sizeof *made));
            *made = (binding){ b->bindings, bk_must(strdup(x)), bk_must(strdup(q)), bk_must(strdup(key)) };
            b->bindings = made;
        }
        if (!m->nowait)
            bk_say(c, ch->number, AMQP_QUEUE_BIND_OK_METHOD, &ok);
    }
    free(q);
    free(x);
    free(key);
}

void bk_on_unbind(broker *b, conn *c, channel *ch, const amqp_queue_unbind_t *m)
{
    amqp_queue_unbind_ok_t ok = { 0 };
    char *q = bk_text_of(m->queue), *x = bk_text_of(m->exchange), *key = bk_text_of(m->routing_key);
    binding **at = bk_binding_of(b, x, q, key);

    if (*at != NULL)
        bk_unbind(b, at);
    bk_say(c, ch->number, AMQP_QUEUE_UNBIND_OK_METHOD, &ok);
    free(q);
    free(x);
    free(key);
}

void bk_on_queue_delete(broker *b, conn *c, channel *ch, const amqp_queue_delete_t *m)
{
    char *name = bk_text_of(m->queue);
    const queue *q = bk_queue_of(b, name);
    amqp_queue_delete_ok_t ok = { q != NULL ? bk_ready(q) : 0 };

    bk_queue_delete(b, name);
    if (!m->nowait)
        bk_say(c, ch->number, AMQP_QUEUE_DELETE_OK_METHOD, &ok);
    free(name);
}

void bk_on_purge(broker *b, conn *c, channel *ch, const amqp_queue_purge_t *m)
{
    char *name = bk_text_of(m->queue);
    queue *q = bk_queue_of(b, name);

    if (q == NULL) {
        bk_not_found(c, ch, "queue", name, AMQP_QUEUE_PURGE_METHOD);
    } else {
        amqp_queue_purge_ok_t ok = { bk_ready(q) };
        for (message *gone = bk_pop(q); gone != NULL; gone = bk_pop(q))
            bk_message_free(gone);
        bk_say(c, ch->number, AMQP_QUEUE_PURGE_OK_METHOD, &ok);
    }
    free(name);
}
