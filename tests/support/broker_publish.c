/* SPDX-License-Identifier: Apache-2.0 */
/* A publish on its way in, and what becomes of it. */
#include "tests/support/broker_impl.h"

void bk_begin_publish(channel *ch, const amqp_basic_publish_t *m)
{
    bk_message_free(ch->message);
    ch->message = bk_must(calloc(1, sizeof *ch->message));
    ch->message->exchange = bk_text_of(m->exchange);
    ch->message->key = bk_text_of(m->routing_key);
    ch->mandatory = m->mandatory;
    ch->publishing = true;
    ch->header_seen = 0;
}

static void say_return(conn *c, const channel *ch)
{
    const message *m = ch->message;
    amqp_basic_return_t back = { AMQP_NO_ROUTE, amqp_cstring_bytes("NO_ROUTE"), amqp_cstring_bytes(m->exchange),
                                 amqp_cstring_bytes(m->key) };

    bk_say_message(c, ch->number, AMQP_BASIC_RETURN_METHOD, &back, m);
}

/* What is known of a publish alone. */
static bool of_publish(broker_fault_kind kind)
{
    return kind == BROKER_NACK || kind == BROKER_RETURN || kind == BROKER_NO_CONFIRM || kind == BROKER_LOSE ||
           kind == BROKER_RETURN_LATE || kind == BROKER_CONFIRM_TWICE || kind == BROKER_CONFIRM_UNKNOWN ||
           kind == BROKER_CONFIRM_BEYOND || kind == BROKER_CONFIRM_HELD;
}

static void confirm(conn *c, channel *ch, broker_fault_kind kind)
{
    enum { FAR = 1000 };

    if (kind == BROKER_CONFIRM_HELD) {
        held *kept = bk_must(calloc(1, sizeof *kept));
        *kept = (held){ ch->held, ch->published };
        ch->held = kept;
        return;
    }
    if (kind == BROKER_CONFIRM_UNKNOWN)
        bk_say_confirm(c, ch, ch->published + FAR, false, false);
    if (kind == BROKER_CONFIRM_BEYOND)
        bk_say_confirm(c, ch, ch->published + FAR, true, false);
    else if (kind != BROKER_NO_CONFIRM)
        bk_say_confirm(c, ch, ch->published, false, kind == BROKER_NACK);
    if (kind == BROKER_CONFIRM_TWICE)
        bk_say_confirm(c, ch, ch->published, false, false);
}

static void end_publish(broker *b, conn *c, channel *ch)
{
    const rule *r = bk_strike(b, c, AMQP_BASIC_PUBLISH_METHOD);
    broker_fault_kind kind = r != NULL ? r->is.kind : BROKER_RESUME;
    message *m = ch->message;

    size_t before = fj__buf_len(&c->out);
    ch->publishing = false;
    ch->published++;
    if (r != NULL && !of_publish(kind) && !bk_misbehave(b, c, ch, &r->is, AMQP_BASIC_PUBLISH_METHOD))
        goto out;
    if (m->exchange[0] != '\0' && bk_exchange_of(b, m->exchange) == NULL) {
        bk_not_found(c, ch, "exchange", m->exchange, AMQP_BASIC_PUBLISH_METHOD);
        goto out;
    }
    bool routed = kind == BROKER_NACK || kind == BROKER_LOSE;
    bool back = kind == BROKER_RETURN || kind == BROKER_RETURN_LATE;
    if (!routed && !back)
        routed = bk_route(b, m) != 0;
    if (kind == BROKER_RETURN || (!routed && !back && ch->mandatory))
        say_return(c, ch);
    confirm(c, ch, kind);
    if (kind == BROKER_RETURN_LATE)
        say_return(c, ch);
out:
    if (r != NULL)
        bk_spoil_answers(c, &r->is, before);
    ch->message = bk_message_free(m);
}

void bk_on_content(broker *b, conn *c, channel *ch, const fj__frame *frame)
{
    message *m = ch->message;

    if (!ch->publishing)
        return;
    if (frame->type == FJ__FRAME_HEADER && frame->len >= 14) {
        ch->size = fj__get64(frame->payload + 4);
        m->properties_len = frame->len - 12;
        m->properties = bk_must(malloc(m->properties_len));
        memcpy(m->properties, frame->payload + 12, m->properties_len);
        m->body = bk_must(malloc((size_t)ch->size + 1));
        ch->header_seen = 1;
    } else if (ch->header_seen && frame->len <= ch->size - m->body_len) {
        memcpy(m->body + m->body_len, frame->payload, frame->len);
        m->body_len += frame->len;
    }
    if (ch->header_seen && m->body_len == ch->size)
        end_publish(b, c, ch);
}
