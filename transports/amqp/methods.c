/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of the broker: which may come when, and what each is told as. */
#include "transports/amqp/engine_state.h"

#include "base/alloc.h"

enum { CONTENT = 1, ON_ZERO = 2 };

/* Every method a broker may send, when, and on which sort of channel.  No other is given to the codec: those that only a
 * client sends have tables whose depth nobody checked. */
static const struct rule {
    amqp_method_number_t id;
    unsigned states;
    unsigned flags;
} rules[] = {
#define HANDSHAKE (FJ__IN(FJ__ENGINE_HEADER) | FJ__IN(FJ__ENGINE_AUTH) | FJ__IN(FJ__ENGINE_OPENING))
#define LIVE (FJ__IN(FJ__ENGINE_OPEN) | FJ__IN(FJ__ENGINE_CLOSING))
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
    { AMQP_CONNECTION_START_METHOD, FJ__IN(FJ__ENGINE_HEADER), ON_ZERO },
    { AMQP_CONNECTION_SECURE_METHOD, FJ__IN(FJ__ENGINE_AUTH), ON_ZERO },
    { AMQP_CONNECTION_TUNE_METHOD, FJ__IN(FJ__ENGINE_AUTH), ON_ZERO },
    { AMQP_CONNECTION_OPEN_OK_METHOD, FJ__IN(FJ__ENGINE_OPENING), ON_ZERO },
    { AMQP_CONNECTION_BLOCKED_METHOD, LIVE, ON_ZERO },
    { AMQP_CONNECTION_UNBLOCKED_METHOD, LIVE, ON_ZERO },
    { AMQP_CONNECTION_CLOSE_METHOD, HANDSHAKE | LIVE, ON_ZERO },
    { AMQP_CONNECTION_CLOSE_OK_METHOD, FJ__IN(FJ__ENGINE_CLOSING), ON_ZERO },
#undef LIVE
#undef HANDSHAKE
};

static const struct rule *rule_of(const fj__engine *e, amqp_method_number_t id, uint16_t number)
{
    for (size_t i = 0; i < fj__countof(rules); i++) {
        const struct rule *rule = &rules[i];
        if (rule->id == id)
            return (rule->states & FJ__IN(e->state)) && !(rule->flags & ON_ZERO) == (number != 0) ? rule : NULL;
    }
    return NULL;
}

/* The codec, on arguments that are known to be sound in depth.  NULL: failed, and the engine says why. */
void *fj__engine_decode(fj__engine *e, amqp_method_number_t id, const uint8_t *args, size_t n)
{
    void *decoded = NULL;
    int rc = amqp_decode_method(id, &e->pool, (amqp_bytes_t){ n, (void *)(uintptr_t)args }, &decoded);

    if (rc == AMQP_STATUS_NO_MEMORY)
        fj__engine_fail(e, FJ_NOMEM, "no memory for a method of the broker");
    else if (rc < 0)
        fj__engine_fail(e, FJ_PROTOCOL, "class %u method %u with arguments that are cut short",
                        (unsigned)(id >> 16), (unsigned)(id & 0xffff));
    return rc < 0 ? NULL : decoded;
}

static bool event_with_text(fj__engine *e, fj__event *ret, fj__event_kind kind, amqp_bytes_t text)
{
    ret->kind = kind;
    ret->text = ret->channel == 0 ? fj__peer_text(e, text) : fj__shown_text(e, text);
    return true;
}

static bool on_close_ok(fj__engine *e, fj__event *ret)
{
    (void)fj__engine_go(e, FJ__ENGINE_CLOSED);
    ret->kind = FJ__EV_CLOSED;
    ret->text = "";
    return true;
}

static bool on_connection_method(fj__engine *e, amqp_method_number_t id, const void *decoded, fj__event *ret)
{
    switch (id) {
    case AMQP_CONNECTION_START_METHOD:
        fj__on_start(e, decoded);
        return false;
    case AMQP_CONNECTION_SECURE_METHOD:
        fj__engine_fail(e, FJ_AUTH, "the broker asks a question %s has no answer to", e->mechanism);
        return false;
    case AMQP_CONNECTION_TUNE_METHOD:
        fj__on_tune(e, decoded);
        return false;
    case AMQP_CONNECTION_OPEN_OK_METHOD:
        e->give_up = fj_never();
        (void)fj__engine_go(e, FJ__ENGINE_OPEN);
        ret->kind = FJ__EV_OPEN;
        return true;
    case AMQP_CONNECTION_BLOCKED_METHOD:
        fj__questions_blocked(e, true);
        return event_with_text(e, ret, FJ__EV_BLOCKED, ((const amqp_connection_blocked_t *)decoded)->reason);
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        fj__questions_blocked(e, false);
        ret->kind = FJ__EV_UNBLOCKED;
        return true;
    case AMQP_CONNECTION_CLOSE_METHOD:
        return fj__on_connection_close(e, decoded, ret);
    default: /* close-ok is the last of the rules on channel 0 */
        return on_close_ok(e, ret);
    }
}

static bool on_channel_close(fj__engine *e, uint16_t number, const amqp_channel_close_t *close, fj__event *ret)
{
    amqp_channel_close_ok_t ok = { 0 };
    const fj__engine_channel *c = fj__channel_of(e, number);
    bool ours_is_out = c == NULL || c->closing;

    if (!fj__engine_answer(e, number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok))
        return false;
    if (ours_is_out) /* both closed at once: the answer to ours is yet to come and is the event */
        return false;
    fj__drop_channel(e, number);
    ret->code = close->reply_code;
    ret->cause = ((uint32_t)close->class_id << 16) | close->method_id;
    return event_with_text(e, ret, FJ__EV_CHANNEL_CLOSED, close->reply_text);
}

static bool on_cancel(fj__engine *e, uint16_t number, const amqp_basic_cancel_t *cancel, fj__event *ret)
{
    amqp_basic_cancel_ok_t ok = { .consumer_tag = cancel->consumer_tag };

    if (!cancel->nowait && !fj__engine_answer(e, number, AMQP_BASIC_CANCEL_OK_METHOD, &ok))
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

    fj__question_answered(e, fj__channel_of(e, number), id);
    switch (id) {
    case AMQP_CHANNEL_CLOSE_METHOD:
        return on_channel_close(e, number, decoded, ret);
    case AMQP_BASIC_CANCEL_METHOD:
        return on_cancel(e, number, decoded, ret);
    case AMQP_BASIC_ACK_METHOD:
    case AMQP_BASIC_NACK_METHOD:
        return on_confirm(ret, id, decoded);
    case AMQP_CHANNEL_CLOSE_OK_METHOD:
        fj__drop_channel(e, number);
        break;
    case AMQP_CHANNEL_FLOW_METHOD:
        flow_ok.active = ((const amqp_channel_flow_t *)decoded)->active;
        if (!fj__engine_answer(e, number, AMQP_CHANNEL_FLOW_OK_METHOD, &flow_ok))
            return false;
        break;
    default:
        break;
    }
    ret->kind = FJ__EV_METHOD;
    return true;
}

/* Whether a frame on this channel is to be read; else it was dropped or the connection failed. */
bool fj__channel_reads(fj__engine *e, const fj__frame *frame, const fj__engine_channel *c,
                       amqp_method_number_t id)
{
    bool close_ok = id == AMQP_CHANNEL_CLOSE_OK_METHOD;

    if (e->state == FJ__ENGINE_CLOSING)
        return false;
    if (c == NULL) {
        if (!close_ok)
            fj__engine_fail(e, FJ_PROTOCOL, "a frame on channel %u, which is not open", frame->channel);
        return false;
    }
    if (c->closing && !close_ok && id != AMQP_CHANNEL_CLOSE_METHOD)
        return false;
    if (c->stage != FJ__STAGE_METHOD && id != 0 && id != AMQP_CHANNEL_CLOSE_METHOD && !close_ok) {
        fj__engine_fail(e, FJ_PROTOCOL, "class %u method %u on channel %u amid a message", (unsigned)(id >> 16),
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

bool fj__on_method(fj__engine *e, const fj__frame *frame, fj__event *ret)
{
    if (frame->len < 4) {
        fj__engine_fail(e, FJ_PROTOCOL, "a method frame of %zu bytes", frame->len);
        return false;
    }
    amqp_method_number_t id = fj__get32(frame->payload);
    const uint8_t *args = frame->payload + 4;
    size_t n = frame->len - 4;
    const struct rule *rule = rule_of(e, id, frame->channel);
    if (rule == NULL) {
        fj__engine_fail(e, FJ_PROTOCOL, "unexpected class %u method %u on channel %u while %s",
                        (unsigned)(id >> 16), (unsigned)(id & 0xffff), frame->channel,
                        fj__engine_state_name(e->state));
        return false;
    }
    fj__engine_channel *c = fj__channel_of(e, frame->channel);
    if (frame->channel != 0 && !fj__channel_reads(e, frame, c, id))
        return false;
    const char *why = check_tables(id, args, n);
    if (why != NULL) {
        fj__engine_fail(e, FJ_PROTOCOL, "the broker sent %s", why);
        return false;
    }
    if (rule->flags & CONTENT) {
        fj__begin_content(e, c, id, args, n);
        return false;
    }
    void *decoded = fj__engine_decode(e, id, args, n);
    if (decoded == NULL)
        return false;
    ret->channel = frame->channel;
    ret->method = (amqp_method_t){ id, decoded };
    return frame->channel == 0 ? on_connection_method(e, id, decoded, ret)
                               : on_channel_method(e, frame->channel, id, decoded, ret);
}
