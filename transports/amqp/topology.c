/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/topology.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static amqp_bytes_t bytes(const char *text)
{
    return (amqp_bytes_t){ .len = strlen(text), .bytes = (void *)(uintptr_t)text };
}

static bool put(fj__engine *e, uint16_t channel, amqp_method_number_t id, void *method)
{
    return fj__engine_method(e, channel, id, method) == FJ_OK;
}

bool fj__channel_open(fj__engine *e, uint16_t channel)
{
    amqp_channel_open_t m = { .out_of_band = amqp_empty_bytes };

    return put(e, channel, AMQP_CHANNEL_OPEN_METHOD, &m);
}

bool fj__confirm_select(fj__engine *e, uint16_t channel)
{
    amqp_confirm_select_t m = { .nowait = false };

    return put(e, channel, AMQP_CONFIRM_SELECT_METHOD, &m);
}

bool fj__qos(fj__engine *e, uint16_t channel, uint16_t prefetch)
{
    amqp_basic_qos_t m = { .prefetch_size = 0, .prefetch_count = prefetch, .global = false };

    return put(e, channel, AMQP_BASIC_QOS_METHOD, &m);
}

static bool exchange(fj__engine *e, uint16_t channel, const char *name, const char *type, bool durable,
                     bool auto_delete)
{
    amqp_exchange_declare_t m = { .exchange = bytes(name),
                                  .type = bytes(type),
                                  .durable = durable,
                                  .auto_delete = auto_delete,
                                  .arguments = amqp_empty_table };

    return put(e, channel, AMQP_EXCHANGE_DECLARE_METHOD, &m);
}

bool fj__declare_exchange(fj__engine *e, uint16_t channel, const char *name, bool durable, bool auto_delete)
{
    return exchange(e, channel, name, "topic", durable, auto_delete);
}

bool fj__declare_fanout(fj__engine *e, uint16_t channel, const char *name, bool durable)
{
    return exchange(e, channel, name, "fanout", durable, true);
}

enum { ARGUMENTS_MAX = 6 };

typedef struct {
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    int n;
} arguments;

static void add_text(arguments *a, const char *key, const char *value)
{
    amqp_field_value_t v = { .kind = AMQP_FIELD_KIND_UTF8 };

    v.value.bytes = bytes(value);
    a->entries[a->n++] = (amqp_table_entry_t){ .key = bytes(key), .value = v };
}

static void add_integer(arguments *a, const char *key, int64_t value)
{
    amqp_field_value_t v = { .kind = AMQP_FIELD_KIND_I64 };

    v.value.i64 = value;
    a->entries[a->n++] = (amqp_table_entry_t){ .key = bytes(key), .value = v };
}

/* 0: not at all */
static void add_number(arguments *a, const char *key, int64_t value)
{
    if (value > 0)
        add_integer(a, key, value);
}

static void add_quorum(arguments *a, const fj__amqp_settings *s)
{
    add_text(a, "x-queue-type", "quorum");
    add_number(a, "x-delivery-limit", s->delivery_limit);
    add_number(a, "x-max-in-memory-length", s->max_length);
    add_number(a, "x-max-in-memory-bytes", s->max_bytes);
}

static bool queue(fj__engine *e, uint16_t channel, const char *name, bool durable, bool auto_delete,
                  arguments *a)
{
    amqp_queue_declare_t m = { .queue = bytes(name),
                               .durable = durable,
                               .auto_delete = auto_delete,
                               .arguments = { .num_entries = a->n, .entries = a->entries } };

    return put(e, channel, AMQP_QUEUE_DECLARE_METHOD, &m);
}

bool fj__declare_queue(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name,
                       bool durable)
{
    arguments a = { .n = 0 };

    if (s->ha)
        add_text(&a, "x-ha-policy", "all");
    if (s->quorum && durable)
        add_quorum(&a, s);
    return queue(e, channel, name, durable, s->auto_delete, &a);
}

bool fj__declare_transient(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name,
                           bool durable)
{
    arguments a = { .n = 0 };

    if (s->ha)
        add_text(&a, "x-ha-policy", "all");
    if (durable)
        add_quorum(&a, s);
    add_number(&a, "x-expires", 1000 * s->transient_ttl_s);
    return queue(e, channel, name, durable, false, &a);
}

bool fj__declare_stream(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name)
{
    arguments a = { .n = 0 };
    char age[32];

    add_text(&a, "x-queue-type", "stream");
    (void)snprintf(age, sizeof age, "%" PRId64 "s", s->transient_ttl_s);
    if (s->transient_ttl_s > 0)
        add_text(&a, "x-max-age", age);
    return queue(e, channel, name, true, false, &a);
}

bool fj__bind(fj__engine *e, uint16_t channel, const char *name, const char *from, const char *key)
{
    amqp_queue_bind_t m = {
        .queue = bytes(name), .exchange = bytes(from), .routing_key = bytes(key), .arguments = amqp_empty_table
    };

    return put(e, channel, AMQP_QUEUE_BIND_METHOD, &m);
}

static bool consume(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name,
                    const char *tag, arguments *a)
{
    amqp_basic_consume_t m = { .queue = bytes(name), .consumer_tag = bytes(tag) };

    if (s->cancel_on_failover) {
        amqp_field_value_t yes = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 };
        a->entries[a->n++] = (amqp_table_entry_t){ .key = bytes("x-cancel-on-ha-failover"), .value = yes };
    }
    m.arguments = (amqp_table_t){ .num_entries = a->n, .entries = a->entries };
    return put(e, channel, AMQP_BASIC_CONSUME_METHOD, &m);
}

bool fj__consume(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name, const char *tag)
{
    arguments a = { .n = 0 };

    return consume(e, channel, s, name, tag, &a);
}

bool fj__consume_stream(fj__engine *e, uint16_t channel, const fj__amqp_settings *s, const char *name,
                        const char *tag, int64_t offset)
{
    arguments a = { .n = 0 };

    if (offset < 0)
        add_text(&a, "x-stream-offset", "last");
    else
        add_integer(&a, "x-stream-offset", offset);
    return consume(e, channel, s, name, tag, &a);
}

bool fj__delete_queue(fj__engine *e, uint16_t channel, const char *name)
{
    amqp_queue_delete_t m = { .queue = bytes(name) };

    return put(e, channel, AMQP_QUEUE_DELETE_METHOD, &m);
}

bool fj__close_channel(fj__engine *e, uint16_t channel)
{
    amqp_channel_close_t m = { .reply_code = 200, .reply_text = amqp_empty_bytes };

    return put(e, channel, AMQP_CHANNEL_CLOSE_METHOD, &m);
}
