/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the broker: a method, a header, bodies. */
#include "transports/amqp/engine_state.h"

void fj__begin_content(fj__engine *e, fj__engine_channel *c, amqp_method_number_t id, const uint8_t *args,
                       size_t n)
{
    fj__end_content(c);
    if (fj__buf_reserve(&c->args, n + 1) == NULL || !fj__buf_append(&c->args, args, n)) {
        fj__engine_fail(e, FJ_NOMEM, "no memory for a method of the broker");
        return;
    }
    c->method = id;
    c->stage = FJ__STAGE_HEADER;
}

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
static bool finish_content(fj__engine *e, fj__engine_channel *c, const uint8_t *body, fj__event *ret)
{
    void *properties = NULL;
    void *decoded = fj__engine_decode(e, c->method, fj__buf_data(&c->args), fj__buf_len(&c->args));

    if (decoded == NULL)
        return false;
    amqp_bytes_t encoded = { fj__buf_len(&c->header), c->header.bytes + c->header.begin };
    int rc = c->why == NULL ? amqp_decode_properties(AMQP_BASIC_CLASS, &e->pool, encoded, &properties) : 0;
    if (rc < 0 && rc != AMQP_STATUS_NO_MEMORY && c->method == AMQP_BASIC_DELIVER_METHOD) {
        c->why = "content properties that cannot be read";
        c->skip = true;
    } else if (rc < 0) {
        fj__engine_fail(e, rc == AMQP_STATUS_NO_MEMORY ? FJ_NOMEM : FJ_PROTOCOL,
                        "a message with content properties that cannot be read: %s", amqp_error_string2(rc));
        return false;
    }
    bool returned = c->method == AMQP_BASIC_RETURN_METHOD;
    fill_content(ret, c->method, decoded);
    ret->kind = returned ? FJ__EV_RETURN : c->skip ? FJ__EV_SKIPPED : FJ__EV_DELIVER;
    ret->text = returned         ? fj__shown_text(e, ((const amqp_basic_return_t *)decoded)->reply_text)
                : c->why != NULL ? c->why
                : c->skip        ? "more than [fjord] max_message_bytes"
                                 : NULL;
    ret->channel = c->number;
    ret->method = (amqp_method_t){ c->method, decoded };
    ret->properties = properties;
    ret->body = c->skip ? NULL : body;
    ret->body_len = c->skip ? 0 : (size_t)c->body_size;
    c->stage = FJ__STAGE_METHOD;
    e->delivered = c->number;
    return true;
}

static bool on_header(fj__engine *e, fj__engine_channel *c, const fj__frame *frame, fj__event *ret)
{
    if (c->stage != FJ__STAGE_HEADER || frame->len < 14 || fj__get16(frame->payload) != AMQP_BASIC_CLASS) {
        fj__engine_fail(e, FJ_PROTOCOL, "a content header on channel %u that %s", frame->channel,
                        c->stage != FJ__STAGE_HEADER ? "no method announced"
                        : frame->len < 14            ? "is cut short"
                                                     : "is not of class basic");
        return false;
    }
    const char *why = fj__properties_check(frame->payload + 12, frame->len - 12);
    if (why != NULL && c->method != AMQP_BASIC_DELIVER_METHOD) {
        fj__engine_fail(e, FJ_PROTOCOL, "the broker sent %s", why);
        return false;
    }
    /* Anybody may have published it: that is no reason to lose the connection each time it is delivered. */
    c->why = why;
    if (why == NULL && !fj__buf_append(&c->header, frame->payload + 12, frame->len - 12)) {
        fj__engine_fail(e, FJ_NOMEM, "no memory for a message's properties");
        return false;
    }
    c->body_size = fj__get64(frame->payload + 4);
    c->body_have = 0;
    c->skip = why != NULL || c->body_size > e->body_max;
    c->stage = FJ__STAGE_BODY;
    return c->body_size == 0 ? finish_content(e, c, (const uint8_t *)"", ret) : false;
}

static bool on_body(fj__engine *e, fj__engine_channel *c, const fj__frame *frame, fj__event *ret)
{
    if (c->stage != FJ__STAGE_BODY || frame->len > c->body_size - c->body_have) {
        fj__engine_fail(e, FJ_PROTOCOL, "a body frame on channel %u %s", frame->channel,
                        c->stage != FJ__STAGE_BODY ? "without a header" : "beyond the announced size");
        return false;
    }
    c->body_have += frame->len;
    if (frame->len == c->body_size) /* whole in one frame: it is lent where it lies */
        return finish_content(e, c, frame->payload, ret);
    if (!c->skip && !fj__buf_append(&c->body, frame->payload, frame->len)) {
        fj__engine_fail(e, FJ_NOMEM, "no memory for a message of %llu bytes", (unsigned long long)c->body_size);
        return false;
    }
    if (c->body_have < c->body_size)
        return false;
    return finish_content(e, c, c->skip ? NULL : fj__buf_data(&c->body), ret);
}

bool fj__on_content(fj__engine *e, const fj__frame *frame, fj__event *ret)
{
    fj__engine_channel *c = fj__channel_of(e, frame->channel);

    if (!((FJ__IN(FJ__ENGINE_OPEN) | FJ__IN(FJ__ENGINE_CLOSING)) & FJ__IN(e->state)) || frame->channel == 0) {
        fj__engine_fail(e, FJ_PROTOCOL, "a content frame on channel %u while %s", frame->channel,
                        fj__engine_state_name(e->state));
        return false;
    }
    if (!fj__channel_reads(e, frame, c, 0))
        return false;
    return frame->type == FJ__FRAME_HEADER ? on_header(e, c, frame, ret) : on_body(e, c, frame, ret);
}
