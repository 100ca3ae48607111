/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/engine.h"

#include "base/alloc.h"
#include "base/log.h"
#include "transports/amqp/codec.h"
#include "transports/amqp/sasl.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S 1000000000LL
enum { POOL_PAGE = 4096, POOL_PAGES = 8 };

/* Where a channel is within the content it receives. */
typedef enum { STAGE_METHOD, STAGE_HEADER, STAGE_BODY } stage;

typedef struct {
    uint16_t number;
    bool closing; /* our channel.close is out: all but the answer is dropped */
    stage stage;
    amqp_method_number_t method; /* that the content belongs to */
    bool skip;                   /* its body is counted, not kept */
    fj__buf args, header, body;
    uint64_t body_size, body_have;
} channel;

struct fj__engine {
    fj__engine_state state;
    char *vhost, *user, *mechanism, *connection_name;
    fj__secret password;
    uint16_t channel_max, heartbeat;
    uint32_t frame_max;
    size_t body_max;
    int64_t handshake_ns;

    fj__buf in, out;
    size_t taken; /* bytes at the front of `in` that the last event still points into */
    uint64_t put_total, sent_total;
    fj_deadline last_sent, last_fed, give_up; /* give_up: the handshake's or the close's end */

    amqp_pool_t pool; /* what the codec decoded for the last event */
    channel *channels;
    size_t channel_count, channel_capacity;
    uint16_t delivered; /* the channel whose buffers the last event points into; 0: none */

    fj_error *error;
    bool failed; /* FAILED is still to be told */
    bool closed; /* CLOSED by silence or end of our own close is still to be told */
    bool eof;
    char *eof_text;
    char text[512]; /* the text of the last event */
    char peer[128];
};

/* ---- states ---- */

#define IN(state) (1u << (state))

/* Every edge there is: from a state to the states that may follow. */
static const unsigned edges[] = {
    [FJ__ENGINE_IDLE] = IN(FJ__ENGINE_HEADER) | IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_HEADER] = IN(FJ__ENGINE_AUTH) | IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_AUTH] = IN(FJ__ENGINE_OPENING) | IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_OPENING] = IN(FJ__ENGINE_OPEN) | IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_OPEN] = IN(FJ__ENGINE_CLOSING) | IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_CLOSING] = IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_CLOSED] = 0,
};

static bool go(fj__engine *e, fj__engine_state to)
{
    if (!(edges[e->state] & IN(to)))
        return false;
    e->state = to;
    return true;
}

static const char *state_name(fj__engine_state state)
{
    static const char *const names[] = { "not started",
                                         "waiting for connection.start",
                                         "during the login",
                                         "opening the vhost",
                                         "open",
                                         "closing",
                                         "closed" };
    return names[state];
}

/* ---- failing ---- */

static void fail(fj__engine *e, fj_code code, const char *format, ...) FJ_PRINTF(3, 4);
static void fail(fj__engine *e, fj_code code, const char *format, ...)
{
    va_list args;

    if (!go(e, FJ__ENGINE_CLOSED))
        return; /* over already: the first reason stands */
    va_start(args, format);
    char *text = fj__vformat(format, args);
    va_end(args);
    (void)fj_fail(&e->error, code, "%s", text != NULL ? text : fj_code_text(code));
    fj__free(text);
    e->failed = true;
}

/* A peer may send anything back, our own password too: it is no part of a text. */
static void hide_password(const fj__engine *e, char *text)
{
    const char *secret = fj__secret_text(&e->password);
    size_t n = strlen(secret);

    if (n < 3 || strcmp(secret, e->user) == 0) /* a user's name is no secret, and "guest" is everywhere */
        return;
    for (char *at = strstr(text, secret); at != NULL; at = strstr(at, secret)) {
        memcpy(at, "***", 3);
        memmove(at + 3, at + n, strlen(at + n) + 1);
        at += 3;
    }
}

/* A text of the peer as one that can be shown: cut to the buffer, without control characters. */
static const char *shown_text(fj__engine *e, amqp_bytes_t from)
{
    size_t n = from.len < sizeof e->text - 1 ? from.len : sizeof e->text - 1;

    if (n != 0)
        memcpy(e->text, from.bytes, n);
    e->text[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)e->text[i];
        if (c < 0x20 || c == 0x7f)
            e->text[i] = '?';
    }
    return e->text;
}

/* What is said about the connection.  Channels speak of queues and consumers by name: their texts stay as they are. */
static const char *peer_text(fj__engine *e, amqp_bytes_t from)
{
    (void)shown_text(e, from);
    hide_password(e, e->text);
    return e->text;
}

/* ---- output ---- */

static fj_deadline later(fj_deadline t, int64_t ns)
{
    return (fj_deadline){ ns > FJ_NEVER_NS - t.ns ? FJ_NEVER_NS : t.ns + ns };
}

static fj_code put_method(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded)
{
    size_t before = fj__buf_len(&e->out);
    fj_code code = fj__put_method(&e->out, number, id, decoded, e->frame_max);

    e->put_total += fj__buf_len(&e->out) - before;
    return code;
}

/* An answer of the engine's own. */
static bool answer(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded)
{
    fj_code code = put_method(e, number, id, decoded);

    if (code != FJ_OK)
        fail(e, code, "no answer could be made to the broker: %s", fj_code_text(code));
    return code == FJ_OK;
}

const fj__buf *fj__engine_output(const fj__engine *e)
{
    return &e->out;
}

void fj__engine_sent(fj__engine *e, size_t n, fj_deadline now)
{
    if (n == 0)
        return;
    if (n > fj__buf_len(&e->out))
        n = fj__buf_len(&e->out);
    if (e->state == FJ__ENGINE_AUTH && e->out.bytes != NULL) /* the login was among them */
        explicit_bzero(e->out.bytes + e->out.begin, n);
    fj__buf_consume(&e->out, n);
    e->sent_total += (uint64_t)n;
    e->last_sent = now;
    if (e->state == FJ__ENGINE_CLOSING && fj_is_never(e->give_up) && e->handshake_ns > 0)
        e->give_up = later(now, e->handshake_ns); /* the answer is waited for as long as one at the beginning */
}

uint64_t fj__engine_put_total(const fj__engine *e)
{
    return e->put_total;
}

uint64_t fj__engine_sent_total(const fj__engine *e)
{
    return e->sent_total;
}

/* ---- channels ---- */

static channel *channel_of(fj__engine *e, uint16_t number)
{
    for (size_t i = 0; i < e->channel_count; i++) {
        if (e->channels[i].number == number)
            return &e->channels[i];
    }
    return NULL;
}

static bool add_channel(fj__engine *e, uint16_t number)
{
    channel *grown = fj__grow(e->channels, &e->channel_capacity, e->channel_count + 1, sizeof *e->channels);

    if (grown == NULL)
        return false;
    e->channels = grown;
    grown[e->channel_count++] = (channel){ .number = number };
    return true;
}

static void channel_fini(channel *c)
{
    fj__buf_fini(&c->args);
    fj__buf_fini(&c->header);
    fj__buf_fini(&c->body);
}

static void drop_channel(fj__engine *e, uint16_t number)
{
    channel *c = channel_of(e, number);

    if (c == NULL)
        return;
    channel_fini(c);
    *c = e->channels[--e->channel_count];
}

static void end_content(channel *c)
{
    c->stage = STAGE_METHOD;
    fj__buf_clear(&c->args);
    fj__buf_clear(&c->header);
    fj__buf_clear(&c->body);
}

/* ---- life ---- */

static bool keep_opts(fj__engine *e, const fj__engine_opts *opts)
{
    e->vhost = fj__strdup(opts->vhost != NULL ? opts->vhost : "/");
    e->user = fj__strdup(opts->user != NULL ? opts->user : "");
    e->password.hidden = fj__strdup(opts->password != NULL ? opts->password : "");
    e->mechanism = fj__strdup(opts->mechanism != NULL ? opts->mechanism : "AMQPLAIN");
    e->connection_name = fj__strdup(opts->connection_name != NULL ? opts->connection_name : "");
    e->channel_max = opts->channel_max != 0 ? opts->channel_max : UINT16_MAX;
    e->frame_max = opts->frame_max != 0 ? opts->frame_max : 131072;
    if (e->frame_max < FJ__FRAME_MIN_MAX)
        e->frame_max = FJ__FRAME_MIN_MAX;
    e->heartbeat = opts->heartbeat;
    e->body_max = opts->body_max;
    e->handshake_ns = opts->handshake_ns;
    e->give_up = fj_never();
    return e->vhost != NULL && e->user != NULL && e->password.hidden != NULL && e->mechanism != NULL &&
           e->connection_name != NULL;
}

fj_code fj__engine_new(const fj__engine_opts *opts, fj__engine **ret, fj_error **err)
{
    if (opts->mechanism != NULL && !fj__sasl_known(opts->mechanism))
        return fj_fail(err, FJ_BAD_CONFIG,
                       "unknown login mechanism \"%s\": AMQPLAIN, PLAIN and EXTERNAL are known",
                       opts->mechanism);
    fj__engine *e = fj__zalloc(sizeof *e);
    if (e == NULL)
        return fj_fail(err, FJ_NOMEM, NULL);
    init_amqp_pool(&e->pool, POOL_PAGE);
    if (!keep_opts(e, opts)) {
        fj__engine_free(e);
        return fj_fail(err, FJ_NOMEM, NULL);
    }
    *ret = e;
    return FJ_OK;
}

fj__engine *fj__engine_free(fj__engine *e)
{
    if (e == NULL)
        return NULL;
    for (size_t i = 0; i < e->channel_count; i++)
        channel_fini(&e->channels[i]);
    fj__free(e->channels);
    empty_amqp_pool(&e->pool);
    fj__buf_fini(&e->in);
    fj__sasl_wipe(&e->out); /* may still hold an unsent login */
    fj_error_free(e->error);
    fj__secret_clear(&e->password);
    fj__free(e->vhost);
    fj__free(e->user);
    fj__free(e->mechanism);
    fj__free(e->connection_name);
    fj__free(e->eof_text);
    fj__free(e);
    return NULL;
}

fj__engine_state fj__engine_state_of(const fj__engine *e)
{
    return e->state;
}

uint32_t fj__engine_frame_max(const fj__engine *e)
{
    return e->frame_max;
}

uint16_t fj__engine_channel_max(const fj__engine *e)
{
    return e->channel_max;
}

uint16_t fj__engine_heartbeat(const fj__engine *e)
{
    return e->heartbeat;
}

const char *fj__engine_peer(const fj__engine *e)
{
    return e->peer;
}

fj_code fj__engine_start(fj__engine *e, fj_deadline now)
{
    static const uint8_t header[8] = { 'A', 'M', 'Q', 'P', 0, 0, 9, 1 };

    if (e->state != FJ__ENGINE_IDLE)
        return FJ_STATE;
    if (!fj__buf_append(&e->out, header, sizeof header))
        return FJ_NOMEM;
    e->put_total += sizeof header;
    e->last_sent = e->last_fed = now;
    if (e->handshake_ns > 0)
        e->give_up = later(now, e->handshake_ns);
    (void)go(e, FJ__ENGINE_HEADER);
    return FJ_OK;
}

/* ---- input ---- */

/* Let go of what the last event pointed to. */
static void settle(fj__engine *e)
{
    if (e->delivered != 0) {
        channel *c = channel_of(e, e->delivered);
        if (c != NULL)
            end_content(c);
        e->delivered = 0;
    }
    if (e->taken != 0)
        fj__buf_consume(&e->in, e->taken);
    e->taken = 0;
}

uint8_t *fj__engine_room(fj__engine *e, size_t n)
{
    settle(e);
    return fj__buf_reserve(&e->in, n);
}

fj_code fj__engine_feed(fj__engine *e, const void *bytes, size_t n, fj_deadline now)
{
    if (e->state == FJ__ENGINE_CLOSED || n == 0)
        return FJ_OK;
    e->last_fed = now;
    if (e->in.bytes != NULL && bytes == e->in.bytes + e->in.end) {
        fj__buf_commit(&e->in, n);
        return FJ_OK;
    }
    settle(e);
    return fj__buf_append(&e->in, bytes, n) ? FJ_OK : FJ_NOMEM;
}

void fj__engine_eof(fj__engine *e, const char *text)
{
    if (e->eof)
        return;
    e->eof = true;
    e->eof_text = fj__strdup(text != NULL ? text : "end of stream");
}

/* ---- the first bytes: is this AMQP at all? ---- */

/* "AMQP" and four bytes: a broker that does not speak our version answers with its own and closes. */
static void fail_version(fj__engine *e, const uint8_t *v)
{
    if (memcmp(v + 4, "\0\0\x09\x01", 4) == 0)
        fail(e, FJ_PROTOCOL, "the broker answered with AMQP 0-9-1's own header: it refuses the connection");
    else if (v[4] == 1 && v[5] == 1) /* the form of 0-8 and 0-9 */
        fail(e, FJ_PROTOCOL, "the broker answered with AMQP %u-%u instead of 0-9-1", v[6], v[7]);
    else
        fail(e, FJ_PROTOCOL, "the broker answered with AMQP %u-%u-%u and does not take ours, 0-9-1", v[5], v[6],
             v[7]);
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
static void fail_not_amqp(fj__engine *e, const uint8_t *p, size_t n)
{
    size_t shown = words(p, n);

    if (shown == 0)
        fail(e, FJ_PROTOCOL, "this is not AMQP: the first byte is 0x%02X", p[0]);
    else
        fail(e, FJ_PROTOCOL, "this is not AMQP: got \"%.*s\"", (int)shown, (const char *)p);
}

/* @return whether frames may be read: the first byte is that of one */
static bool look_at_first_bytes(fj__engine *e)
{
    const uint8_t *p = fj__buf_data(&e->in);
    size_t n = fj__buf_len(&e->in);

    if (n == 0 || p[0] == FJ__FRAME_METHOD)
        return n != 0;
    if (p[0] == 0x15 || p[0] == 0x16) { /* the record types of a TLS alert and handshake */
        fail(e, FJ_PROTOCOL, "the peer speaks TLS, and this connection is without it");
    } else if (memcmp(p, "AMQP", n < 4 ? n : 4) == 0) {
        if (n >= 8)
            fail_version(e, p);
        else if (e->eof)
            fail_not_amqp(e, p, n);
    } else if (words(p, n) == 12 || words(p, n) < n || e->eof) {
        fail_not_amqp(e, p, n);
    }
    return false;
}

/* ---- the handshake ---- */

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
        fail(e, FJ_NOMEM, "no memory for the login");
    } else {
        amqp_connection_start_ok_t ok = {
            .client_properties = { (int)fj__countof(is), is },
            .mechanism = amqp_cstring_bytes(e->mechanism),
            .response = { fj__buf_len(&response), response.bytes + response.begin },
            .locale = amqp_cstring_bytes("en_US"),
        };
        (void)answer(e, 0, AMQP_CONNECTION_START_OK_METHOD, &ok);
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

    (void)snprintf(product, sizeof product, "%.60s", peer_text(e, text_of(properties, "product")));
    (void)snprintf(e->peer, sizeof e->peer, "%s %.60s", product, peer_text(e, text_of(properties, "version")));
    size_t n = strlen(e->peer);
    if (n != 0 && e->peer[n - 1] == ' ')
        e->peer[n - 1] = '\0';
}

static void on_start(fj__engine *e, const amqp_connection_start_t *start)
{
    if (start->version_major != 0 || start->version_minor != 9) {
        fail(e, FJ_PROTOCOL, "the broker speaks AMQP %u-%u instead of 0-9-1", start->version_major,
             start->version_minor);
        return;
    }
    keep_peer(e, &start->server_properties);
    if (!fj__sasl_offered(e->mechanism, start->mechanisms)) {
        fail(e, FJ_AUTH, "the broker does not offer the login mechanism %s; it has: %s", e->mechanism,
             peer_text(e, start->mechanisms));
        return;
    }
    if (put_start_ok(e))
        (void)go(e, FJ__ENGINE_AUTH);
}

/* The lesser of two limits, where 0 is none. */
static uint32_t least(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0)
        return a | b;
    return a < b ? a : b;
}

static void on_tune(fj__engine *e, const amqp_connection_tune_t *tune)
{
    if (tune->frame_max != 0 && tune->frame_max < FJ__FRAME_MIN_MAX) {
        fail(e, FJ_PROTOCOL, "the broker asks for a frame_max of %u, below the 4096 of the protocol",
             (unsigned)tune->frame_max);
        return;
    }
    e->frame_max = least(e->frame_max, tune->frame_max);
    e->channel_max = (uint16_t)least(e->channel_max, tune->channel_max);
    if (e->heartbeat != 0) /* 0 of ours: none are wanted, whatever the broker says */
        e->heartbeat = (uint16_t)least(e->heartbeat, tune->heartbeat);
    amqp_connection_tune_ok_t ok = { e->channel_max, e->frame_max, e->heartbeat };
    amqp_connection_open_t open = { .virtual_host = amqp_cstring_bytes(e->vhost) };
    if (answer(e, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok) && answer(e, 0, AMQP_CONNECTION_OPEN_METHOD, &open))
        (void)go(e, FJ__ENGINE_OPENING);
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
        fail(e, FJ_AUTH, "login refused for user \"%s\" (%s): %u %s", e->user, e->mechanism, code, text);
    else if (during == FJ__ENGINE_OPENING && code == AMQP_NOT_ALLOWED && may_pass(text))
        fail(e, FJ_UNREACHABLE, "vhost \"%s\" takes no connection of user \"%s\" now: %u %s", e->vhost, e->user,
             code, text);
    else if (during == FJ__ENGINE_OPENING && (code == AMQP_NOT_ALLOWED || code == AMQP_INVALID_PATH))
        fail(e, FJ_ACCESS,
             strstr(text, "not found") != NULL ? "there is no vhost \"%s\" for user \"%s\": %u %s"
                                               : "vhost \"%s\" is not open to user \"%s\": %u %s",
             e->vhost, e->user, code, text);
    else if (during == FJ__ENGINE_OPENING && code == AMQP_ACCESS_REFUSED)
        fail(e, FJ_ACCESS, "vhost \"%s\" is not open to user \"%s\": %u %s", e->vhost, e->user, code, text);
    else
        return false;
    return true;
}

/* @return whether there is an event */
static bool on_connection_close(fj__engine *e, const amqp_connection_close_t *close, fj__event *ret)
{
    amqp_connection_close_ok_t ok = { 0 };
    fj__engine_state during = e->state;
    const char *text = peer_text(e, close->reply_text);

    if (!answer(e, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok))
        return false;
    if (fail_handshake(e, during, close->reply_code, text))
        return false;
    (void)go(e, FJ__ENGINE_CLOSED);
    ret->kind = FJ__EV_CLOSED;
    ret->code = close->reply_code;
    ret->cause = ((uint32_t)close->class_id << 16) | close->method_id;
    ret->text = text;
    return true;
}

/* ---- methods ---- */

enum { CONTENT = 1, ON_ZERO = 2 };

/* Every method a broker may send, when, and on which sort of channel.  No other is given to the codec: those that only a
 * client sends have tables whose depth nobody checked. */
static const struct rule {
    amqp_method_number_t id;
    unsigned states;
    unsigned flags;
} rules[] = {
#define HANDSHAKE (IN(FJ__ENGINE_HEADER) | IN(FJ__ENGINE_AUTH) | IN(FJ__ENGINE_OPENING))
#define LIVE (IN(FJ__ENGINE_OPEN) | IN(FJ__ENGINE_CLOSING))
    { AMQP_BASIC_DELIVER_METHOD, LIVE, CONTENT },
    { AMQP_BASIC_ACK_METHOD, LIVE, 0 },
    { AMQP_BASIC_NACK_METHOD, LIVE, 0 },
    { AMQP_BASIC_RETURN_METHOD, LIVE, CONTENT },
    { AMQP_BASIC_GET_OK_METHOD, LIVE, CONTENT },
    { AMQP_BASIC_GET_EMPTY_METHOD, LIVE, 0 },
    { AMQP_BASIC_CANCEL_METHOD, LIVE, 0 },
    { AMQP_BASIC_CANCEL_OK_METHOD, LIVE, 0 },
    { AMQP_BASIC_CONSUME_OK_METHOD, LIVE, 0 },
    { AMQP_BASIC_QOS_OK_METHOD, LIVE, 0 },
    { AMQP_BASIC_RECOVER_OK_METHOD, LIVE, 0 },
    { AMQP_CHANNEL_OPEN_OK_METHOD, LIVE, 0 },
    { AMQP_CHANNEL_FLOW_METHOD, LIVE, 0 },
    { AMQP_CHANNEL_FLOW_OK_METHOD, LIVE, 0 },
    { AMQP_CHANNEL_CLOSE_METHOD, LIVE, 0 },
    { AMQP_CHANNEL_CLOSE_OK_METHOD, LIVE, 0 },
    { AMQP_CONFIRM_SELECT_OK_METHOD, LIVE, 0 },
    { AMQP_EXCHANGE_DECLARE_OK_METHOD, LIVE, 0 },
    { AMQP_EXCHANGE_DELETE_OK_METHOD, LIVE, 0 },
    { AMQP_EXCHANGE_BIND_OK_METHOD, LIVE, 0 },
    { AMQP_EXCHANGE_UNBIND_OK_METHOD, LIVE, 0 },
    { AMQP_QUEUE_DECLARE_OK_METHOD, LIVE, 0 },
    { AMQP_QUEUE_BIND_OK_METHOD, LIVE, 0 },
    { AMQP_QUEUE_UNBIND_OK_METHOD, LIVE, 0 },
    { AMQP_QUEUE_PURGE_OK_METHOD, LIVE, 0 },
    { AMQP_QUEUE_DELETE_OK_METHOD, LIVE, 0 },
    { AMQP_TX_SELECT_OK_METHOD, LIVE, 0 },
    { AMQP_TX_COMMIT_OK_METHOD, LIVE, 0 },
    { AMQP_TX_ROLLBACK_OK_METHOD, LIVE, 0 },
    { AMQP_CONNECTION_START_METHOD, IN(FJ__ENGINE_HEADER), ON_ZERO },
    { AMQP_CONNECTION_SECURE_METHOD, IN(FJ__ENGINE_AUTH), ON_ZERO },
    { AMQP_CONNECTION_TUNE_METHOD, IN(FJ__ENGINE_AUTH), ON_ZERO },
    { AMQP_CONNECTION_OPEN_OK_METHOD, IN(FJ__ENGINE_OPENING), ON_ZERO },
    { AMQP_CONNECTION_BLOCKED_METHOD, LIVE, ON_ZERO },
    { AMQP_CONNECTION_UNBLOCKED_METHOD, LIVE, ON_ZERO },
    { AMQP_CONNECTION_CLOSE_METHOD, HANDSHAKE | LIVE, ON_ZERO },
    { AMQP_CONNECTION_CLOSE_OK_METHOD, IN(FJ__ENGINE_CLOSING), ON_ZERO },
#undef LIVE
#undef HANDSHAKE
};

static const struct rule *rule_of(const fj__engine *e, amqp_method_number_t id, uint16_t number)
{
    for (size_t i = 0; i < fj__countof(rules); i++) {
        const struct rule *rule = &rules[i];
        if (rule->id == id)
            return (rule->states & IN(e->state)) && !(rule->flags & ON_ZERO) == (number != 0) ? rule : NULL;
    }
    return NULL;
}

/* The codec, on arguments that are known to be sound in depth.  NULL: failed, and the engine says why. */
static void *decode(fj__engine *e, amqp_method_number_t id, const uint8_t *args, size_t n)
{
    void *decoded = NULL;
    int rc = amqp_decode_method(id, &e->pool, (amqp_bytes_t){ n, (void *)(uintptr_t)args }, &decoded);

    if (rc == AMQP_STATUS_NO_MEMORY)
        fail(e, FJ_NOMEM, "no memory for a method of the broker");
    else if (rc < 0)
        fail(e, FJ_PROTOCOL, "class %u method %u with arguments that are cut short", (unsigned)(id >> 16),
             (unsigned)(id & 0xffff));
    return rc < 0 ? NULL : decoded;
}

static bool event_with_text(fj__engine *e, fj__event *ret, fj__event_kind kind, amqp_bytes_t text)
{
    ret->kind = kind;
    ret->text = ret->channel == 0 ? peer_text(e, text) : shown_text(e, text);
    return true;
}

static bool on_close_ok(fj__engine *e, fj__event *ret)
{
    (void)go(e, FJ__ENGINE_CLOSED);
    ret->kind = FJ__EV_CLOSED;
    ret->text = "";
    return true;
}

static bool on_connection_method(fj__engine *e, amqp_method_number_t id, const void *decoded, fj__event *ret)
{
    switch (id) {
    case AMQP_CONNECTION_START_METHOD:
        on_start(e, decoded);
        return false;
    case AMQP_CONNECTION_SECURE_METHOD:
        fail(e, FJ_AUTH, "the broker asks a question %s has no answer to", e->mechanism);
        return false;
    case AMQP_CONNECTION_TUNE_METHOD:
        on_tune(e, decoded);
        return false;
    case AMQP_CONNECTION_OPEN_OK_METHOD:
        e->give_up = fj_never();
        (void)go(e, FJ__ENGINE_OPEN);
        ret->kind = FJ__EV_OPEN;
        return true;
    case AMQP_CONNECTION_BLOCKED_METHOD:
        return event_with_text(e, ret, FJ__EV_BLOCKED, ((const amqp_connection_blocked_t *)decoded)->reason);
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        ret->kind = FJ__EV_UNBLOCKED;
        return true;
    case AMQP_CONNECTION_CLOSE_METHOD:
        return on_connection_close(e, decoded, ret);
    default: /* close-ok is the last of the rules on channel 0 */
        return on_close_ok(e, ret);
    }
}

static bool on_channel_close(fj__engine *e, uint16_t number, const amqp_channel_close_t *close, fj__event *ret)
{
    amqp_channel_close_ok_t ok = { 0 };
    const channel *c = channel_of(e, number);
    bool ours_is_out = c == NULL || c->closing;

    if (!answer(e, number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok))
        return false;
    if (ours_is_out) /* both closed at once: the answer to ours is yet to come and is the event */
        return false;
    drop_channel(e, number);
    ret->code = close->reply_code;
    ret->cause = ((uint32_t)close->class_id << 16) | close->method_id;
    return event_with_text(e, ret, FJ__EV_CHANNEL_CLOSED, close->reply_text);
}

static bool on_cancel(fj__engine *e, uint16_t number, const amqp_basic_cancel_t *cancel, fj__event *ret)
{
    amqp_basic_cancel_ok_t ok = { .consumer_tag = cancel->consumer_tag };

    if (!cancel->nowait && !answer(e, number, AMQP_BASIC_CANCEL_OK_METHOD, &ok))
        return false;
    ret->consumer_tag = cancel->consumer_tag;
    return event_with_text(e, ret, FJ__EV_CANCEL, cancel->consumer_tag);
}

static bool on_confirm(fj__event *ret, amqp_method_number_t id, const void *decoded)
{
    const amqp_basic_ack_t *ack = decoded;
    const amqp_basic_nack_t *nack = decoded;

    ret->kind = FJ__EV_CONFIRM;
    ret->nack = id == AMQP_BASIC_NACK_METHOD;
    ret->tag = ret->nack ? nack->delivery_tag : ack->delivery_tag;
    ret->multiple = (ret->nack ? nack->multiple : ack->multiple) != 0;
    return true;
}

static bool on_channel_method(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded,
                              fj__event *ret)
{
    amqp_channel_flow_ok_t flow_ok = { 0 };

    switch (id) {
    case AMQP_CHANNEL_CLOSE_METHOD:
        return on_channel_close(e, number, decoded, ret);
    case AMQP_BASIC_CANCEL_METHOD:
        return on_cancel(e, number, decoded, ret);
    case AMQP_BASIC_ACK_METHOD:
    case AMQP_BASIC_NACK_METHOD:
        return on_confirm(ret, id, decoded);
    case AMQP_CHANNEL_CLOSE_OK_METHOD:
        drop_channel(e, number);
        break;
    case AMQP_CHANNEL_FLOW_METHOD:
        flow_ok.active = ((const amqp_channel_flow_t *)decoded)->active;
        if (!answer(e, number, AMQP_CHANNEL_FLOW_OK_METHOD, &flow_ok))
            return false;
        break;
    default:
        break;
    }
    ret->kind = FJ__EV_METHOD;
    return true;
}

static void begin_content(fj__engine *e, channel *c, amqp_method_number_t id, const uint8_t *args, size_t n)
{
    end_content(c);
    if (fj__buf_reserve(&c->args, n + 1) == NULL || !fj__buf_append(&c->args, args, n)) {
        fail(e, FJ_NOMEM, "no memory for a method of the broker");
        return;
    }
    c->method = id;
    c->stage = STAGE_HEADER;
}

/* Whether a frame on this channel is to be read; else it was dropped or the connection failed. */
static bool channel_reads(fj__engine *e, const fj__frame *frame, const channel *c, amqp_method_number_t id)
{
    bool close_ok = id == AMQP_CHANNEL_CLOSE_OK_METHOD;

    if (e->state == FJ__ENGINE_CLOSING)
        return false;
    if (c == NULL) {
        if (!close_ok)
            fail(e, FJ_PROTOCOL, "a frame on channel %u, which is not open", frame->channel);
        return false;
    }
    if (c->closing && !close_ok && id != AMQP_CHANNEL_CLOSE_METHOD)
        return false;
    if (c->stage != STAGE_METHOD && id != 0 && id != AMQP_CHANNEL_CLOSE_METHOD && !close_ok) {
        fail(e, FJ_PROTOCOL, "class %u method %u on channel %u amid a message", (unsigned)(id >> 16),
             (unsigned)(id & 0xffff), frame->channel);
        return false;
    }
    return true;
}

static const char *check_tables(amqp_method_number_t id, const uint8_t *args, size_t n)
{
    if (id != AMQP_CONNECTION_START_METHOD)
        return NULL; /* no other rule has a table */
    return n < 2 ? "connection.start that is cut short" : fj__table_check(args + 2, n - 2, NULL);
}

static bool on_method(fj__engine *e, const fj__frame *frame, fj__event *ret)
{
    if (frame->len < 4) {
        fail(e, FJ_PROTOCOL, "a method frame of %zu bytes", frame->len);
        return false;
    }
    amqp_method_number_t id = fj__get32(frame->payload);
    const uint8_t *args = frame->payload + 4;
    size_t n = frame->len - 4;
    const struct rule *rule = rule_of(e, id, frame->channel);
    if (rule == NULL) {
        fail(e, FJ_PROTOCOL, "unexpected class %u method %u on channel %u while %s", (unsigned)(id >> 16),
             (unsigned)(id & 0xffff), frame->channel, state_name(e->state));
        return false;
    }
    channel *c = channel_of(e, frame->channel);
    if (frame->channel != 0 && !channel_reads(e, frame, c, id))
        return false;
    const char *why = check_tables(id, args, n);
    if (why != NULL) {
        fail(e, FJ_PROTOCOL, "the broker sent %s", why);
        return false;
    }
    if (rule->flags & CONTENT) {
        begin_content(e, c, id, args, n);
        return false;
    }
    void *decoded = decode(e, id, args, n);
    if (decoded == NULL)
        return false;
    ret->channel = frame->channel;
    ret->method = (amqp_method_t){ id, decoded };
    return frame->channel == 0 ? on_connection_method(e, id, decoded, ret)
                               : on_channel_method(e, frame->channel, id, decoded, ret);
}

/* ---- content ---- */

static void fill_content(fj__event *ret, amqp_method_number_t id, const void *decoded)
{
    if (id == AMQP_BASIC_DELIVER_METHOD) {
        const amqp_basic_deliver_t *m = decoded;
        ret->consumer_tag = m->consumer_tag;
        ret->tag = m->delivery_tag;
        ret->redelivered = m->redelivered != 0;
        ret->exchange = m->exchange;
        ret->routing_key = m->routing_key;
    } else if (id == AMQP_BASIC_GET_OK_METHOD) {
        const amqp_basic_get_ok_t *m = decoded;
        ret->tag = m->delivery_tag;
        ret->redelivered = m->redelivered != 0;
        ret->exchange = m->exchange;
        ret->routing_key = m->routing_key;
    } else {
        const amqp_basic_return_t *m = decoded;
        ret->code = m->reply_code;
        ret->exchange = m->exchange;
        ret->routing_key = m->routing_key;
    }
}

/* All of it is there: @p body is where it lies. */
static bool finish_content(fj__engine *e, channel *c, const uint8_t *body, fj__event *ret)
{
    void *properties = NULL;
    void *decoded = decode(e, c->method, fj__buf_data(&c->args), fj__buf_len(&c->args));

    if (decoded == NULL)
        return false;
    amqp_bytes_t encoded = { fj__buf_len(&c->header), c->header.bytes + c->header.begin };
    int rc = amqp_decode_properties(AMQP_BASIC_CLASS, &e->pool, encoded, &properties);
    if (rc < 0) {
        fail(e, rc == AMQP_STATUS_NO_MEMORY ? FJ_NOMEM : FJ_PROTOCOL,
             "a message with content properties that cannot be read: %s", amqp_error_string2(rc));
        return false;
    }
    bool returned = c->method == AMQP_BASIC_RETURN_METHOD;
    fill_content(ret, c->method, decoded);
    ret->kind = returned ? FJ__EV_RETURN : c->skip ? FJ__EV_OVERSIZE : FJ__EV_DELIVER;
    ret->text = returned ? shown_text(e, ((const amqp_basic_return_t *)decoded)->reply_text) : NULL;
    ret->channel = c->number;
    ret->method = (amqp_method_t){ c->method, decoded };
    ret->properties = properties;
    ret->body = c->skip ? NULL : body;
    ret->body_len = c->skip ? 0 : (size_t)c->body_size;
    c->stage = STAGE_METHOD;
    e->delivered = c->number;
    return true;
}

static bool on_header(fj__engine *e, channel *c, const fj__frame *frame, fj__event *ret)
{
    if (c->stage != STAGE_HEADER || frame->len < 14 || fj__get16(frame->payload) != AMQP_BASIC_CLASS) {
        fail(e, FJ_PROTOCOL, "a content header on channel %u that %s", frame->channel,
             c->stage != STAGE_HEADER ? "no method announced"
             : frame->len < 14        ? "is cut short"
                                      : "is not of class basic");
        return false;
    }
    const char *why = fj__properties_check(frame->payload + 12, frame->len - 12);
    if (why != NULL) {
        fail(e, FJ_PROTOCOL, "the broker sent %s", why);
        return false;
    }
    if (!fj__buf_append(&c->header, frame->payload + 12, frame->len - 12)) {
        fail(e, FJ_NOMEM, "no memory for a message's properties");
        return false;
    }
    c->body_size = fj__get64(frame->payload + 4);
    c->body_have = 0;
    c->skip = c->method == AMQP_BASIC_RETURN_METHOD || c->body_size > e->body_max;
    c->stage = STAGE_BODY;
    return c->body_size == 0 ? finish_content(e, c, (const uint8_t *)"", ret) : false;
}

static bool on_body(fj__engine *e, channel *c, const fj__frame *frame, fj__event *ret)
{
    if (c->stage != STAGE_BODY || frame->len > c->body_size - c->body_have) {
        fail(e, FJ_PROTOCOL, "a body frame on channel %u %s", frame->channel,
             c->stage != STAGE_BODY ? "without a header" : "beyond the announced size");
        return false;
    }
    c->body_have += frame->len;
    if (frame->len == c->body_size) /* whole in one frame: it is lent where it lies */
        return finish_content(e, c, frame->payload, ret);
    if (!c->skip && !fj__buf_append(&c->body, frame->payload, frame->len)) {
        fail(e, FJ_NOMEM, "no memory for a message of %llu bytes", (unsigned long long)c->body_size);
        return false;
    }
    if (c->body_have < c->body_size)
        return false;
    return finish_content(e, c, c->skip ? NULL : fj__buf_data(&c->body), ret);
}

static bool on_content(fj__engine *e, const fj__frame *frame, fj__event *ret)
{
    channel *c = channel_of(e, frame->channel);

    if (!((IN(FJ__ENGINE_OPEN) | IN(FJ__ENGINE_CLOSING)) & IN(e->state)) || frame->channel == 0) {
        fail(e, FJ_PROTOCOL, "a content frame on channel %u while %s", frame->channel, state_name(e->state));
        return false;
    }
    if (!channel_reads(e, frame, c, 0))
        return false;
    return frame->type == FJ__FRAME_HEADER ? on_header(e, c, frame, ret) : on_body(e, c, frame, ret);
}

/* ---- events ---- */

/* What the last frame was decoded to goes; a pool that a large table made grow does not stay so. */
static void recycle(fj__engine *e)
{
    if (e->pool.pages.num_blocks > POOL_PAGES) {
        empty_amqp_pool(&e->pool);
        init_amqp_pool(&e->pool, POOL_PAGE);
    } else {
        recycle_amqp_pool(&e->pool);
    }
}

static bool on_frame(fj__engine *e, const fj__frame *frame, fj__event *ret)
{
    recycle(e);
    switch (frame->type) {
    case FJ__FRAME_METHOD:
        return on_method(e, frame, ret);
    case FJ__FRAME_HEARTBEAT:
        if (frame->channel != 0 || frame->len != 0)
            fail(e, FJ_PROTOCOL, "a heartbeat of %zu bytes on channel %u", frame->len, frame->channel);
        return false;
    default:
        return on_content(e, frame, ret);
    }
}

/* One frame.  @return false: no more can be read; *event: whether it made one */
static bool read_frame(fj__engine *e, fj__event *ret, bool *event)
{
    fj__frame frame;
    char why[96];

    settle(e);
    if (fj__buf_len(&e->in) == 0)
        return false;
    if (e->state == FJ__ENGINE_HEADER && !look_at_first_bytes(e))
        return false;
    fj__frame_result result =
        fj__frame_parse(fj__buf_data(&e->in), fj__buf_len(&e->in), e->frame_max, e->channel_max, &frame, why);
    if (result == FJ__FRAME_BAD)
        fail(e, FJ_PROTOCOL, "the broker sent %s", why);
    if (result != FJ__FRAME_OK)
        return false;
    e->taken = frame.len + FJ__FRAME_EXTRA;
    *event = on_frame(e, &frame, ret);
    return true;
}

static void fail_eof(fj__engine *e)
{
    const char *why = e->eof_text != NULL ? e->eof_text : "end of stream";

    switch (e->state) {
    case FJ__ENGINE_AUTH:
        fail(e, FJ_AUTH,
             "the broker hung up during the login of user \"%s\" (%s); a wrong user or password is likely: %s",
             e->user, e->mechanism, why);
        break;
    case FJ__ENGINE_CLOSING:
        (void)go(e, FJ__ENGINE_CLOSED); /* it was to end anyway */
        e->closed = true;
        break;
    case FJ__ENGINE_OPEN:
        fail(e, FJ_UNREACHABLE, "the connection broke: %s", why);
        break;
    default:
        fail(e, FJ_UNREACHABLE, "the connection broke while %s: %s", state_name(e->state), why);
        break;
    }
}

static bool last_event(fj__engine *e, fj__event *ret)
{
    if (!e->failed && !e->closed)
        return false;
    ret->kind = e->failed ? FJ__EV_FAILED : FJ__EV_CLOSED;
    ret->error = e->failed ? e->error : NULL;
    ret->text = e->failed ? fj_error_text(e->error) : "";
    e->failed = e->closed = false;
    return true;
}

bool fj__engine_next(fj__engine *e, fj__event *ret)
{
    bool event = false;

    memset(ret, 0, sizeof *ret);
    settle(e);
    while (e->state != FJ__ENGINE_CLOSED && e->state != FJ__ENGINE_IDLE && !event) {
        memset(ret, 0, sizeof *ret);
        if (!read_frame(e, ret, &event))
            break;
    }
    if (event)
        return true;
    memset(ret, 0, sizeof *ret);
    if (e->eof && e->state != FJ__ENGINE_CLOSED)
        fail_eof(e);
    return last_event(e, ret);
}

/* ---- time ---- */

static bool beats(const fj__engine *e)
{
    return e->heartbeat != 0 &&
           (e->state == FJ__ENGINE_OPENING || e->state == FJ__ENGINE_OPEN || e->state == FJ__ENGINE_CLOSING);
}

/* With bytes still to go out a heartbeat would only pile up behind them. */
static fj_deadline beat_due(const fj__engine *e)
{
    if (!beats(e) || fj__buf_len(&e->out) != 0)
        return fj_never();
    return later(e->last_sent, e->heartbeat * NS_PER_S / 2);
}

static fj_deadline silence_due(const fj__engine *e)
{
    return beats(e) ? later(e->last_fed, 2 * e->heartbeat * NS_PER_S) : fj_never();
}

fj_deadline fj__engine_due(const fj__engine *e)
{
    if (e->state == FJ__ENGINE_CLOSED || e->state == FJ__ENGINE_IDLE)
        return fj_never();
    return fj_sooner(e->give_up, fj_sooner(beat_due(e), silence_due(e)));
}

static bool reached(fj_deadline due, fj_deadline now)
{
    return !fj_is_never(due) && now.ns >= due.ns;
}

static void give_up(fj__engine *e)
{
    if (e->state == FJ__ENGINE_CLOSING) {
        (void)go(e, FJ__ENGINE_CLOSED);
        e->closed = true;
    } else if (e->state == FJ__ENGINE_HEADER && fj__buf_len(&e->in) != 0 &&
               fj__buf_data(&e->in)[0] != FJ__FRAME_METHOD) {
        fail_not_amqp(e, fj__buf_data(&e->in), fj__buf_len(&e->in));
    } else {
        fail(e, FJ_UNREACHABLE, "the handshake took more than %.1f s (%s)",
             (double)e->handshake_ns / (double)NS_PER_S, state_name(e->state));
    }
}

void fj__engine_tick(fj__engine *e, fj_deadline now)
{
    if (e->state == FJ__ENGINE_CLOSED || e->state == FJ__ENGINE_IDLE)
        return;
    if (reached(e->give_up, now)) {
        give_up(e);
    } else if (reached(silence_due(e), now)) {
        fail(e, FJ_UNREACHABLE, "no heartbeat for %lld s", (long long)((now.ns - e->last_fed.ns) / NS_PER_S));
    } else if (reached(beat_due(e), now)) {
        if (fj__put_frame(&e->out, FJ__FRAME_HEARTBEAT, 0, NULL, 0) == FJ_OK)
            e->put_total += FJ__FRAME_EXTRA;
        /* without memory it is tried again at the next tick */
    }
}

/* ---- methods out ---- */

bool fj__engine_channel_known(const fj__engine *e, uint16_t number)
{
    for (size_t i = 0; i < e->channel_count; i++) {
        if (e->channels[i].number == number)
            return true;
    }
    return false;
}

/* What our own method does to the channel it goes out on.  @return OK, STATE, BAD_VALUE or NOMEM */
static fj_code channel_for(fj__engine *e, uint16_t number, amqp_method_number_t id)
{
    bool opens = id == AMQP_CHANNEL_OPEN_METHOD;

    if (e->state != FJ__ENGINE_OPEN)
        return FJ_STATE;
    if (number == 0 || number > e->channel_max)
        return FJ_BAD_VALUE;
    const channel *c = channel_of(e, number);
    if (opens != (c == NULL) || (c != NULL && c->closing))
        return FJ_STATE;
    return !opens || add_channel(e, number) ? FJ_OK : FJ_NOMEM;
}

fj_code fj__engine_method(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded)
{
    fj_code code = channel_for(e, number, id);

    if (code != FJ_OK)
        return code;
    code = put_method(e, number, id, decoded);
    if (code != FJ_OK && id == AMQP_CHANNEL_OPEN_METHOD)
        drop_channel(e, number);
    if (code == FJ_OK && id == AMQP_CHANNEL_CLOSE_METHOD)
        channel_of(e, number)->closing = true;
    return code;
}

fj_code fj__engine_publish(fj__engine *e, uint16_t number, const amqp_basic_publish_t *publish,
                           const amqp_basic_properties_t *properties, const void *body, size_t n)
{
    fj_code code = channel_for(e, number, AMQP_BASIC_PUBLISH_METHOD);

    if (code != FJ_OK)
        return code;
    size_t before = fj__buf_len(&e->out);
    code = fj__put_content(&e->out, number, AMQP_BASIC_PUBLISH_METHOD, (void *)(uintptr_t)publish, properties,
                           body, n, e->frame_max);
    e->put_total += fj__buf_len(&e->out) - before;
    return code;
}

fj_code fj__engine_close(fj__engine *e, uint16_t code, const char *text)
{
    amqp_connection_close_t close = { .reply_code = code, .reply_text = amqp_cstring_bytes(text) };

    if (e->state != FJ__ENGINE_OPEN)
        return FJ_STATE;
    if (close.reply_text.len > UINT8_MAX)
        close.reply_text.len = UINT8_MAX;
    fj_code result = put_method(e, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
    if (result != FJ_OK)
        return result;
    (void)go(e, FJ__ENGINE_CLOSING);
    return FJ_OK;
}
