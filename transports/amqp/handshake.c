/* SPDX-License-Identifier: Apache-2.0 */
/* The engine until it is open. */
#include "transports/amqp/engine_state.h"

#include "base/alloc.h"
#include "transports/amqp/sasl.h"

#include <stdio.h>
#include <string.h>

/* ---- the first bytes: is this AMQP at all? ---- */

/* "AMQP" and four bytes: a broker that does not speak our version answers with its own and closes. */
static void fail_version(fj__engine *e, const uint8_t *v)
{
    if (memcmp(v + 4, "\0\0\x09\x01", 4) == 0)
        fj__engine_fail(e, FJ_PROTOCOL,
                        "the broker answered with AMQP 0-9-1's own header: it refuses the connection");
    else if (v[4] == 1 && v[5] == 1) /* the form of 0-8 and 0-9 */
        fj__engine_fail(e, FJ_PROTOCOL, "the broker answered with AMQP %u-%u instead of 0-9-1", v[6], v[7]);
    else
        fj__engine_fail(e, FJ_PROTOCOL, "the broker answered with AMQP %u-%u-%u and does not take ours, 0-9-1",
                        v[5], v[6], v[7]);
}

/* How much of it can be shown: printable characters, 12 at most. */
static size_t words(const uint8_t *p, size_t n)
{
    size_t shown = 0;

    while (shown < n && shown < 12 && p[shown] >= 0x20 && p[shown] < 0x7f)
        shown++;
    return shown;
}

/* Some words of what came instead, for whoever pointed us at the wrong port. */
void fj__fail_not_amqp(fj__engine *e, const uint8_t *p, size_t n)
{
    size_t shown = words(p, n);

    if (shown == 0)
        fj__engine_fail(e, FJ_PROTOCOL, "this is not AMQP: the first byte is 0x%02X", p[0]);
    else
        fj__engine_fail(e, FJ_PROTOCOL, "this is not AMQP: got \"%.*s\"", (int)shown, (const char *)p);
}

/* @return whether frames may be read: the first byte is that of one */
bool fj__look_at_first_bytes(fj__engine *e)
{
    const uint8_t *p = fj__buf_data(&e->in);
    size_t n = fj__buf_len(&e->in);

    if (n == 0 || p[0] == FJ__FRAME_METHOD)
        return n != 0;
    if (p[0] == 0x15 || p[0] == 0x16) { /* the record types of a TLS alert and handshake */
        fj__engine_fail(e, FJ_PROTOCOL, "the peer speaks TLS, and this connection is without it");
    } else if (memcmp(p, "AMQP", n < 4 ? n : 4) == 0) {
        if (n >= 8)
            fail_version(e, p);
        else if (e->eof)
            fj__fail_not_amqp(e, p, n);
    } else if (words(p, n) == 12 || words(p, n) < n || e->eof) {
        fj__fail_not_amqp(e, p, n);
    }
    return false;
}

/* ---- start, tune, close ---- */

static amqp_table_entry_t text_entry(const char *key, const char *value)
{
    amqp_table_entry_t entry = { .key = amqp_cstring_bytes(key) };

    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_cstring_bytes(value);
    return entry;
}

static amqp_table_entry_t true_entry(const char *key)
{
    amqp_table_entry_t entry = { .key = amqp_cstring_bytes(key) };

    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry.value.value.boolean = 1;
    return entry;
}

static bool put_start_ok(fj__engine *e)
{
    fj__buf response = { 0 };
    amqp_table_entry_t can[] = { true_entry("authentication_failure_close"), true_entry("connection.blocked"),
                                 true_entry("consumer_cancel_notify"), true_entry("basic.nack"),
                                 true_entry("publisher_confirms") };
    amqp_table_entry_t is[] = { text_entry("product", "Fjord"),
                                text_entry("product_version", FJ_VERSION),
                                text_entry("version", FJ_VERSION),
                                text_entry("platform", "C"),
                                text_entry("connection_name", e->connection_name),
                                { .key = amqp_cstring_bytes("capabilities") } };
    is[5].value.kind = AMQP_FIELD_KIND_TABLE;
    is[5].value.value.table = (amqp_table_t){ (int)fj__countof(can), can };
    fj_code code = fj__sasl_response(e->mechanism, e->user, &e->password, &response);

    /* Room beforehand: an output that grew while it was written would leave a copy of the login behind. */
    size_t need = fj__buf_len(&response) + strlen(e->connection_name) + 1024;
    if (code != FJ_OK || fj__buf_reserve(&e->out, need * 4 + 2048) == NULL) {
        fj__engine_fail(e, FJ_NOMEM, "no memory for the login");
    } else {
        amqp_connection_start_ok_t ok = {
            .client_properties = { (int)fj__countof(is), is },
            .mechanism = amqp_cstring_bytes(e->mechanism),
            .response = { fj__buf_len(&response), response.bytes + response.begin },
            .locale = amqp_cstring_bytes("en_US"),
        };
        (void)fj__engine_answer(e, 0, AMQP_CONNECTION_START_OK_METHOD, &ok);
    }
    fj__sasl_wipe(&response);
    return e->state != FJ__ENGINE_CLOSED;
}

static amqp_bytes_t text_of(const amqp_table_t *table, const char *key)
{
    for (int i = 0; i < table->num_entries; i++) {
        const amqp_table_entry_t *entry = &table->entries[i];
        if (entry->key.len == strlen(key) && memcmp(entry->key.bytes, key, entry->key.len) == 0 &&
            entry->value.kind == AMQP_FIELD_KIND_UTF8)
            return entry->value.value.bytes;
    }
    return amqp_empty_bytes;
}

static void keep_peer(fj__engine *e, const amqp_table_t *properties)
{
    char product[64];

    (void)snprintf(product, sizeof product, "%.60s", fj__peer_text(e, text_of(properties, "product")));
    (void)snprintf(e->peer, sizeof e->peer, "%s %.60s", product,
                   fj__peer_text(e, text_of(properties, "version")));
    size_t n = strlen(e->peer);
    if (n != 0 && e->peer[n - 1] == ' ')
        e->peer[n - 1] = '\0';
}

void fj__on_start(fj__engine *e, const amqp_connection_start_t *start)
{
    if (start->version_major != 0 || start->version_minor != 9) {
        fj__engine_fail(e, FJ_PROTOCOL, "the broker speaks AMQP %u-%u instead of 0-9-1", start->version_major,
                        start->version_minor);
        return;
    }
    keep_peer(e, &start->server_properties);
    if (!fj__sasl_offered(e->mechanism, start->mechanisms)) {
        fj__engine_fail(e, FJ_AUTH, "the broker does not offer the login mechanism %s; it has: %s",
                        e->mechanism, fj__peer_text(e, start->mechanisms));
        return;
    }
    if (put_start_ok(e))
        (void)fj__engine_go(e, FJ__ENGINE_AUTH);
}

/* The lesser of two limits, where 0 is none. */
static uint32_t least(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0)
        return a | b;
    return a < b ? a : b;
}

void fj__on_tune(fj__engine *e, const amqp_connection_tune_t *tune)
{
    if (tune->frame_max != 0 && tune->frame_max < FJ__FRAME_MIN_MAX) {
        fj__engine_fail(e, FJ_PROTOCOL, "the broker asks for a frame_max of %u, below the 4096 of the protocol",
                        (unsigned)tune->frame_max);
        return;
    }
    e->frame_max = least(e->frame_max, tune->frame_max);
    e->channel_max = (uint16_t)least(e->channel_max, tune->channel_max);
    if (e->heartbeat != 0) /* 0 of ours: none are wanted, whatever the broker says */
        e->heartbeat = (uint16_t)least(e->heartbeat, tune->heartbeat);
    amqp_connection_tune_ok_t ok = { e->channel_max, e->frame_max, e->heartbeat };
    amqp_connection_open_t open = { .virtual_host = amqp_cstring_bytes(e->vhost) };
    if (fj__engine_answer(e, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok) &&
        fj__engine_answer(e, 0, AMQP_CONNECTION_OPEN_METHOD, &open))
        (void)fj__engine_go(e, FJ__ENGINE_OPENING);
}

/* RabbitMQ says 530 also of what ends by itself: "... connection limit (8) is reached", "vhost 'v' is down". */
static bool may_pass(const char *text)
{
    return strstr(text, "connection limit") != NULL || strstr(text, " is down") != NULL;
}

/* The broker's close while the handshake runs, told as what it means. */
static bool fail_handshake(fj__engine *e, fj__engine_state during, uint16_t code, const char *text)
{
    if (during == FJ__ENGINE_AUTH && code == AMQP_ACCESS_REFUSED)
        fj__engine_fail(e, FJ_AUTH, "login refused for user \"%s\" (%s): %u %s", e->user, e->mechanism, code,
                        text);
    else if (during == FJ__ENGINE_OPENING && code == AMQP_NOT_ALLOWED && may_pass(text))
        fj__engine_fail(e, FJ_UNREACHABLE, "vhost \"%s\" takes no connection of user \"%s\" now: %u %s",
                        e->vhost, e->user, code, text);
    else if (during == FJ__ENGINE_OPENING && (code == AMQP_NOT_ALLOWED || code == AMQP_INVALID_PATH))
        fj__engine_fail(e, FJ_ACCESS,
                        strstr(text, "not found") != NULL ? "there is no vhost \"%s\" for user \"%s\": %u %s"
                                                          : "vhost \"%s\" is not open to user \"%s\": %u %s",
                        e->vhost, e->user, code, text);
    else if (during == FJ__ENGINE_OPENING && code == AMQP_ACCESS_REFUSED)
        fj__engine_fail(e, FJ_ACCESS, "vhost \"%s\" is not open to user \"%s\": %u %s", e->vhost, e->user, code,
                        text);
    else
        return false;
    return true;
}

/* @return whether there is an event */
bool fj__on_connection_close(fj__engine *e, const amqp_connection_close_t *close, fj__event *ret)
{
    amqp_connection_close_ok_t ok = { 0 };
    fj__engine_state during = e->state;
    const char *text = fj__peer_text(e, close->reply_text);

    if (!fj__engine_answer(e, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok))
        return false;
    if (fail_handshake(e, during, close->reply_code, text))
        return false;
    (void)fj__engine_go(e, FJ__ENGINE_CLOSED);
    ret->kind = FJ__EV_CLOSED;
    ret->code = close->reply_code;
    ret->cause = ((uint32_t)close->class_id << 16) | close->method_id;
    ret->text = text;
    return true;
}
