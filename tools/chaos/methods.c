/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of AMQP 0-9-1 with RabbitMQ's extensions, and the making of their frames. */
#include "base/alloc.h"
#include "tools/chaos/frame.h"
#include <string.h>

/* AMQP 0-9-1's specification, section 1.3; confirm, exchange.bind, basic.nack, connection.blocked and update-secret are
 * RabbitMQ's. */
static const chaos_method methods[] = {
    { 10, 10, "connection.start",
      "o:version_major o:version_minor t:server_properties S:mechanisms S:locales" },
    { 10, 11, "connection.start-ok", "t:client_properties s:mechanism S:response s:locale" },
    { 10, 20, "connection.secure", "S:challenge" },
    { 10, 21, "connection.secure-ok", "S:response" },
    { 10, 30, "connection.tune", "h:channel_max l:frame_max h:heartbeat" },
    { 10, 31, "connection.tune-ok", "h:channel_max l:frame_max h:heartbeat" },
    { 10, 40, "connection.open", "s:virtual_host s:capabilities b:insist" },
    { 10, 41, "connection.open-ok", "s:known_hosts" },
    { 10, 50, "connection.close", "h:reply_code s:reply_text h:class_id h:method_id" },
    { 10, 51, "connection.close-ok", "" },
    { 10, 60, "connection.blocked", "s:reason" },
    { 10, 61, "connection.unblocked", "" },
    { 10, 70, "connection.update-secret", "S:new_secret s:reason" },
    { 10, 71, "connection.update-secret-ok", "" },
    { 20, 10, "channel.open", "s:out_of_band" },
    { 20, 11, "channel.open-ok", "S:channel_id" },
    { 20, 20, "channel.flow", "b:active" },
    { 20, 21, "channel.flow-ok", "b:active" },
    { 20, 40, "channel.close", "h:reply_code s:reply_text h:class_id h:method_id" },
    { 20, 41, "channel.close-ok", "" },
    { 40, 10, "exchange.declare",
      "h:ticket s:exchange s:type b:passive b:durable b:auto_delete b:internal b:no_wait t:arguments" },
    { 40, 11, "exchange.declare-ok", "" },
    { 40, 20, "exchange.delete", "h:ticket s:exchange b:if_unused b:no_wait" },
    { 40, 21, "exchange.delete-ok", "" },
    { 40, 30, "exchange.bind", "h:ticket s:destination s:source s:routing_key b:no_wait t:arguments" },
    { 40, 31, "exchange.bind-ok", "" },
    { 40, 40, "exchange.unbind", "h:ticket s:destination s:source s:routing_key b:no_wait t:arguments" },
    { 40, 51, "exchange.unbind-ok", "" },
    { 50, 10, "queue.declare",
      "h:ticket s:queue b:passive b:durable b:exclusive b:auto_delete b:no_wait t:arguments" },
    { 50, 11, "queue.declare-ok", "s:queue l:message_count l:consumer_count" },
    { 50, 20, "queue.bind", "h:ticket s:queue s:exchange s:routing_key b:no_wait t:arguments" },
    { 50, 21, "queue.bind-ok", "" },
    { 50, 30, "queue.purge", "h:ticket s:queue b:no_wait" },
    { 50, 31, "queue.purge-ok", "l:message_count" },
    { 50, 40, "queue.delete", "h:ticket s:queue b:if_unused b:if_empty b:no_wait" },
    { 50, 41, "queue.delete-ok", "l:message_count" },
    { 50, 50, "queue.unbind", "h:ticket s:queue s:exchange s:routing_key t:arguments" },
    { 50, 51, "queue.unbind-ok", "" },
    { 60, 10, "basic.qos", "l:prefetch_size h:prefetch_count b:global" },
    { 60, 11, "basic.qos-ok", "" },
    { 60, 20, "basic.consume",
      "h:ticket s:queue s:consumer_tag b:no_local b:no_ack b:exclusive b:no_wait t:arguments" },
    { 60, 21, "basic.consume-ok", "s:consumer_tag" },
    { 60, 30, "basic.cancel", "s:consumer_tag b:no_wait" },
    { 60, 31, "basic.cancel-ok", "s:consumer_tag" },
    { 60, 40, "basic.publish", "h:ticket s:exchange s:routing_key b:mandatory b:immediate" },
    { 60, 50, "basic.return", "h:reply_code s:reply_text s:exchange s:routing_key" },
    { 60, 60, "basic.deliver", "s:consumer_tag q:delivery_tag b:redelivered s:exchange s:routing_key" },
    { 60, 70, "basic.get", "h:ticket s:queue b:no_ack" },
    { 60, 71, "basic.get-ok", "q:delivery_tag b:redelivered s:exchange s:routing_key l:message_count" },
    { 60, 72, "basic.get-empty", "s:cluster_id" },
    { 60, 80, "basic.ack", "q:delivery_tag b:multiple" },
    { 60, 90, "basic.reject", "q:delivery_tag b:requeue" },
    { 60, 100, "basic.recover-async", "b:requeue" },
    { 60, 110, "basic.recover", "b:requeue" },
    { 60, 111, "basic.recover-ok", "" },
    { 60, 120, "basic.nack", "q:delivery_tag b:multiple b:requeue" },
    { 85, 10, "confirm.select", "b:no_wait" },
    { 85, 11, "confirm.select-ok", "" },
    { 90, 10, "tx.select", "" },
    { 90, 11, "tx.select-ok", "" },
    { 90, 20, "tx.commit", "" },
    { 90, 21, "tx.commit-ok", "" },
    { 90, 30, "tx.rollback", "" },
    { 90, 31, "tx.rollback-ok", "" },
};

const chaos_method *chaos_method_named(const char *name)
{
    for (size_t i = 0; i < fj__countof(methods); i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

const chaos_method *chaos_method_of(uint16_t class_id, uint16_t method_id)
{
    for (size_t i = 0; i < fj__countof(methods); i++)
        if (methods[i].class_id == class_id && methods[i].method_id == method_id)
            return &methods[i];
    return NULL;
}

bool chaos_class_named(const char *name, size_t n, uint16_t *ret_class)
{
    for (size_t i = 0; i < fj__countof(methods); i++)
        if (strncmp(methods[i].name, name, n) == 0 && methods[i].name[n] == '.') {
            *ret_class = methods[i].class_id;
            return true;
        }
    return false;
}

bool chaos_method_has_content(const chaos_method *m)
{
    return m->class_id == 60 &&
           (m->method_id == 40 || m->method_id == 50 || m->method_id == 60 || m->method_id == 71);
}

/* ---- making frames -------------------------------------------------------------------------------------------- */

static bool put_number(fj__buf *to, uint64_t value, size_t bytes)
{
    uint8_t b[8];

    for (size_t i = 0; i < bytes; i++)
        b[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    return fj__buf_append(to, b, bytes);
}

static fj_code put_integer(fj__buf *to, const json_t *value, size_t bytes, const char *name, fj_error **err)
{
    json_int_t n = json_integer_value(value);

    if (value != NULL && !json_is_integer(value))
        return fj_fail(err, FJ_BAD_VALUE, "%s: must be an integer", name);
    if (n < 0 || (bytes < 8 && (uint64_t)n >> (8 * bytes) != 0))
        return fj_fail(err, FJ_BAD_VALUE, "%s: does not fit into %zu bytes", name, bytes);
    return put_number(to, (uint64_t)n, bytes) ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

static fj_code put_string(fj__buf *to, const json_t *value, char type, const char *name, fj_error **err)
{
    size_t n = json_string_length(value), most = type == 's' ? 255 : 65536;

    if (value != NULL && !json_is_string(value))
        return fj_fail(err, FJ_BAD_VALUE, "%s: must be a string", name);
    if (n > most)
        return fj_fail(err, FJ_BAD_VALUE, "%s: is longer than %zu bytes", name, most);
    if (!put_number(to, n, type == 's' ? 1 : 4) || !fj__buf_append(to, json_string_value(value), n))
        return fj_fail(err, FJ_NOMEM, "out of memory");
    return FJ_OK;
}

/* One argument; bits that follow one another share an octet.  @param bit  which bit of the last octet comes next */
static fj_code put_argument(fj__buf *to, const json_t *value, char type, const char *name, unsigned *bit,
                            fj_error **err)
{
    static const char sizes[] = "ohlq";

    if (type == 'b') {
        if (value != NULL && !json_is_boolean(value))
            return fj_fail(err, FJ_BAD_VALUE, "%s: must be true or false", name);
        if (*bit == 0 && !put_number(to, 0, 1))
            return fj_fail(err, FJ_NOMEM, "out of memory");
        if (json_is_true(value))
            to->bytes[to->end - 1] |= (uint8_t)(1u << *bit);
        *bit = (*bit + 1) % 8;
        return FJ_OK;
    }
    *bit = 0;
    if (type == 's' || type == 'S')
        return put_string(to, value, type, name, err);
    if (type == 't')
        return json_object_size(value) == 0 && (value == NULL || json_is_object(value)) && put_number(to, 0, 4)
                   ? FJ_OK
                   : fj_fail(err, FJ_BAD_VALUE, "%s: only the empty table {} can be made", name);
    return put_integer(to, value, (size_t)1 << (strchr(sizes, type) - sizes), name, err);
}

static bool knows(const chaos_method *m, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = m->args; (at = strstr(at, name)) != NULL; at++)
        if (at > m->args && at[-1] == ':' && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

static fj_code put_arguments(const chaos_method *m, const json_t *args, fj__buf *to, fj_error **err)
{
    unsigned bit = 0;
    fj_code rc = FJ_OK;

    for (const char *at = m->args; rc == FJ_OK && *at != '\0'; at += strspn(at, " ")) {
        char name[32];
        size_t n = strcspn(at, " ");
        (void)snprintf(name, sizeof name, "%.*s", (int)(n - 2), at + 2);
        rc = put_argument(to, json_object_get(args, name), *at, name, &bit, err);
        at += n;
    }
    return rc;
}

fj_code chaos_frame_make(const chaos_method *m, uint16_t channel, const json_t *args, fj__buf *to,
                         fj_error **err)
{
    size_t before = fj__buf_len(to), size;
    const char *name;
    json_t *value;
    fj_code rc;

    json_object_foreach((json_t *)(uintptr_t)args, name, value) if (!knows(m, name)) return fj_fail(
        err, FJ_BAD_VALUE, "%s: %s has no such argument", name, m->name);
    if (!put_number(to, 1, 1) || !put_number(to, channel, 2) || !put_number(to, 0, 4) ||
        !put_number(to, m->class_id, 2) || !put_number(to, m->method_id, 2))
        return fj_fail(err, FJ_NOMEM, "out of memory");
    rc = put_arguments(m, args, to, err);
    if (rc != FJ_OK)
        return rc;
    size = fj__buf_len(to) - before - 7;
    for (size_t i = 0; i < 4; i++)
        to->bytes[to->begin + before + 3 + i] = (uint8_t)(size >> (8 * (3 - i)));
    return put_number(to, 0xCE, 1) ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}
