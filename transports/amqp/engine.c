/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/engine_state.h"

#include "base/alloc.h"
#include "transports/amqp/sasl.h"

#include <string.h>

#define NS_PER_S 1000000000LL
enum {
    POOL_PAGE = 4096,
    POOL_PAGES = 8,
    FRAME_HEAD = 7,   /* type, channel, size */
    SLOWEST = 64,     /* bytes a second */
    METHOD_MAX = 4096 /* a broker's once it is open: a few numbers and texts of 255 bytes */
};

/* ---- states ---- */

/* Every edge there is: from a state to the states that may follow. */
static const unsigned edges[] = {
    [FJ__ENGINE_IDLE] = FJ__IN(FJ__ENGINE_HEADER) | FJ__IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_HEADER] = FJ__IN(FJ__ENGINE_AUTH) | FJ__IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_AUTH] = FJ__IN(FJ__ENGINE_OPENING) | FJ__IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_OPENING] = FJ__IN(FJ__ENGINE_OPEN) | FJ__IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_OPEN] = FJ__IN(FJ__ENGINE_CLOSING) | FJ__IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_CLOSING] = FJ__IN(FJ__ENGINE_CLOSED),
    [FJ__ENGINE_CLOSED] = 0,
};

bool fj__engine_go(fj__engine *e, fj__engine_state to)
{
    if (!(edges[e->state] & FJ__IN(to)))
        return false;
    e->state = to;
    return true;
}

const char *fj__engine_state_name(fj__engine_state state)
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

void fj__engine_fail(fj__engine *e, fj_code code, const char *format, ...)
{
    va_list args;

    if (!fj__engine_go(e, FJ__ENGINE_CLOSED))
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
const char *fj__shown_text(fj__engine *e, amqp_bytes_t from)
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
const char *fj__peer_text(fj__engine *e, amqp_bytes_t from)
{
    (void)fj__shown_text(e, from);
    hide_password(e, e->text);
    return e->text;
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
    e->heartbeat_rate = opts->heartbeat_rate;
    e->body_max = opts->body_max;
    e->handshake_ns = opts->handshake_ns;
    e->answer_ns = opts->answer_ns;
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
    for (size_t i = 0; i < e->channel_count; i++) {
        fj__questions_drop(e, &e->channels[i]);
        fj__channel_fini(&e->channels[i]);
    }
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

void fj__engine_totals_of(const fj__engine *e, fj__engine_totals *ret)
{
    *ret = (fj__engine_totals){ .bytes_in = e->fed_total,
                                .bytes_out = e->sent_total,
                                .frames_in = e->frames_in,
                                .frames_out = e->frames_out,
                                .waiting = fj__buf_len(&e->out),
                                .last_in = e->last_fed,
                                .last_out = e->last_sent };
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
        e->give_up = fj__later(now, e->handshake_ns);
    (void)fj__engine_go(e, FJ__ENGINE_HEADER);
    return FJ_OK;
}

/* ---- input ---- */

/* Let go of what the last event pointed to. */
static void settle(fj__engine *e)
{
    if (e->delivered != 0) {
        fj__engine_channel *c = fj__channel_of(e, e->delivered);
        if (c != NULL)
            fj__end_content(c);
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
    e->fed_total += n;
    if (fj__buf_len(&e->in) <= e->taken)
        e->frame_since = now;
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
        return fj__on_method(e, frame, ret);
    case FJ__FRAME_HEARTBEAT:
        if (frame->channel != 0 || frame->len != 0)
            fj__engine_fail(e, FJ_PROTOCOL, "a heartbeat of %zu bytes on channel %u", frame->len,
                            frame->channel);
        return false;
    default:
        return fj__on_content(e, frame, ret);
    }
}

/* A size that no such frame has is garbage, and nobody waits for so many bytes, which are those of the frames behind it. */
static void judge_size(fj__engine *e, const uint8_t *head, size_t n)
{
    enum { BEFORE_PROPERTIES = 12 };
    size_t before = FRAME_HEAD + BEFORE_PROPERTIES, properties = 0;
    uint32_t len = fj__get32(head + 3);
    const fj__engine_channel *c = fj__channel_of(e, fj__get16(head + 1));

    if (e->state != FJ__ENGINE_OPEN && e->state != FJ__ENGINE_CLOSING)
        return;
    if (head[0] == FJ__FRAME_HEARTBEAT && len != 0)
        fj__engine_fail(e, FJ_PROTOCOL, "the broker sent a heartbeat of %u bytes", len);
    else if (head[0] == FJ__FRAME_METHOD && len > METHOD_MAX)
        fj__engine_fail(e, FJ_PROTOCOL, "the broker sent a method of %u bytes", len);
    else if (head[0] == FJ__FRAME_HEADER && n > before &&
             (properties = fj__properties_size(head + before, n - before)) != 0 &&
             len != BEFORE_PROPERTIES + properties)
        fj__engine_fail(e, FJ_PROTOCOL, "the broker sent %zu bytes of properties in a frame of %u bytes",
                        properties, len);
    else if (head[0] == FJ__FRAME_BODY && c != NULL && c->stage == FJ__STAGE_BODY &&
             len > c->body_size - c->body_have)
        fj__engine_fail(e, FJ_PROTOCOL, "the broker sent %u bytes of a body of which %llu are left", len,
                        (unsigned long long)(c->body_size - c->body_have));
}

/* One frame.  @return false: no more can be read; *event: whether it made one */
static bool read_frame(fj__engine *e, fj__event *ret, bool *event)
{
    fj__frame frame;
    char why[96];

    settle(e);
    if (fj__buf_len(&e->in) == 0)
        return false;
    if (e->state == FJ__ENGINE_HEADER && !fj__look_at_first_bytes(e))
        return false;
    fj__frame_result result =
        fj__frame_parse(fj__buf_data(&e->in), fj__buf_len(&e->in), e->frame_max, e->channel_max, &frame, why);
    if (result == FJ__FRAME_BAD)
        fj__engine_fail(e, FJ_PROTOCOL, "the broker sent %s", why);
    else if (result == FJ__FRAME_SHORT && fj__buf_len(&e->in) >= FRAME_HEAD)
        judge_size(e, fj__buf_data(&e->in), fj__buf_len(&e->in));
    if (result != FJ__FRAME_OK)
        return false;
    e->taken = frame.len + FJ__FRAME_EXTRA;
    e->frames_in++;
    e->frame_since = e->last_fed; /* of what lies behind it: that came no later */
    *event = on_frame(e, &frame, ret);
    return true;
}

static void fail_eof(fj__engine *e)
{
    const char *why = e->eof_text != NULL ? e->eof_text : "end of stream";

    switch (e->state) {
    case FJ__ENGINE_AUTH:
        fj__engine_fail(
            e, FJ_AUTH,
            "the broker hung up during the login of user \"%s\" (%s); a wrong user or password is likely: %s",
            e->user, e->mechanism, why);
        break;
    case FJ__ENGINE_CLOSING:
        (void)fj__engine_go(e, FJ__ENGINE_CLOSED); /* it was to end anyway */
        e->closed = true;
        break;
    case FJ__ENGINE_OPEN:
        fj__engine_fail(e, FJ_UNREACHABLE, "the connection broke: %s", why);
        break;
    default:
        fj__engine_fail(e, FJ_UNREACHABLE, "the connection broke while %s: %s", fj__engine_state_name(e->state),
                        why);
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
fj_deadline fj__engine_beat_due(const fj__engine *e)
{
    if (!beats(e) || fj__buf_len(&e->out) != 0)
        return fj_never();
    int64_t apart = e->heartbeat * NS_PER_S / (e->heartbeat_rate > 2 ? e->heartbeat_rate : 2);
    return fj__later(e->last_sent, apart > NS_PER_S / 2 ? apart : NS_PER_S / 2);
}

static fj_deadline silence_due(const fj__engine *e)
{
    return beats(e) ? fj__later(e->last_fed, 2 * e->heartbeat * NS_PER_S) : fj_never();
}

/* Any byte is as good as a heartbeat, says the specification, for amid a frame there is no other way; but a peer that takes for ever
 * over one frame does not let through what everybody waits for.  Two heartbeats, and what has come of the frame takes so long over the
 * slowest line that we call alive: how large it says it is counts for nothing. */
static fj_deadline frame_due(const fj__engine *e)
{
    size_t have = fj__buf_len(&e->in) - e->taken;

    if (!beats(e) || have == 0)
        return fj_never();
    return fj__later(e->frame_since, 2 * e->heartbeat * NS_PER_S + (int64_t)have * NS_PER_S / SLOWEST);
}

fj_deadline fj__engine_due(const fj__engine *e)
{
    if (e->state == FJ__ENGINE_CLOSED || e->state == FJ__ENGINE_IDLE)
        return fj_never();
    return fj_sooner(fj_sooner(e->give_up, fj__questions_due(e)),
                     fj_sooner(fj__engine_beat_due(e), fj_sooner(silence_due(e), frame_due(e))));
}

static bool reached(fj_deadline due, fj_deadline now)
{
    return !fj_is_never(due) && now.ns >= due.ns;
}

static void give_up(fj__engine *e)
{
    if (e->state == FJ__ENGINE_CLOSING) {
        (void)fj__engine_go(e, FJ__ENGINE_CLOSED);
        e->closed = true;
    } else if (e->state == FJ__ENGINE_HEADER && fj__buf_len(&e->in) != 0 &&
               fj__buf_data(&e->in)[0] != FJ__FRAME_METHOD) {
        fj__fail_not_amqp(e, fj__buf_data(&e->in), fj__buf_len(&e->in));
    } else {
        fj__engine_fail(e, FJ_UNREACHABLE, "the handshake took more than %.1f s (%s)",
                        (double)e->handshake_ns / (double)NS_PER_S, fj__engine_state_name(e->state));
    }
}

void fj__engine_beat(fj__engine *e, fj_deadline now)
{
    if (reached(fj__engine_beat_due(e), now) &&
        fj__put_frame(&e->out, FJ__FRAME_HEARTBEAT, 0, NULL, 0) == FJ_OK) {
        e->put_total += FJ__FRAME_EXTRA;
        e->frames_out++;
    }
    /* without memory it is tried again at the next tick */
}

void fj__engine_tick(fj__engine *e, fj_deadline now)
{
    if (e->state == FJ__ENGINE_CLOSED || e->state == FJ__ENGINE_IDLE)
        return;
    if (reached(e->give_up, now)) {
        give_up(e);
    } else if (reached(silence_due(e), now)) {
        fj__engine_fail(e, FJ_UNREACHABLE, "no heartbeat for %lld s",
                        (long long)((now.ns - e->last_fed.ns) / NS_PER_S));
    } else if (reached(frame_due(e), now)) {
        fj__engine_fail(e, FJ_UNREACHABLE, "a frame that began %lld s ago is not whole yet",
                        (long long)((now.ns - e->frame_since.ns) / NS_PER_S));
    } else if (reached(fj__questions_due(e), now)) {
        fj__questions_fail(e);
    } else {
        fj__engine_beat(e, now);
    }
}
