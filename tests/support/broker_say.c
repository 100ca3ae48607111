/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker of tests says: methods, messages, refusals. */
#include "tests/support/broker_impl.h"

/* A broker of tests that has no memory has nothing to say: it ends the test. */
void *bk_must(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

void bk_must_ok(bool ok)
{
    if (!ok)
        abort();
}

int64_t bk_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

char *bk_text_of(amqp_bytes_t b)
{
    return bk_must(strndup(b.len != 0 ? b.bytes : "", b.len));
}

bool bk_same(const char *text, amqp_bytes_t b)
{
    return strlen(text) == b.len && memcmp(text, b.bytes, b.len) == 0;
}

void bk_say(conn *c, uint16_t number, amqp_method_number_t id, void *decoded)
{
    if (!c->mute)
        bk_must_ok(fj__put_method(&c->out, number, id, decoded, c->frame_max) == FJ_OK);
}

void bk_say_message(conn *c, uint16_t number, amqp_method_number_t id, void *decoded, const message *m)
{
    if (c->mute)
        return;
    bk_say(c, number, id, decoded);
    uint8_t *header = bk_must(calloc(1, 12 + m->properties_len));
    header[1] = AMQP_BASIC_CLASS;
    for (int i = 0; i < 8; i++)
        header[4 + i] = (uint8_t)((uint64_t)m->body_len >> (56 - 8 * i));
    memcpy(header + 12, m->properties, m->properties_len);
    bk_must_ok(fj__put_frame(&c->out, FJ__FRAME_HEADER, number, header, 12 + m->properties_len) == FJ_OK);
    free(header);
    size_t most = c->frame_max - FJ__FRAME_EXTRA;
    for (size_t at = 0; at < m->body_len; at += most) {
        size_t n = m->body_len - at < most ? m->body_len - at : most;
        bk_must_ok(fj__put_frame(&c->out, FJ__FRAME_BODY, number, m->body + at, n) == FJ_OK);
    }
}

void bk_say_close(conn *c, uint16_t code, const char *text)
{
    amqp_connection_close_t close = { .reply_code = code, .reply_text = amqp_cstring_bytes(text) };

    bk_say(c, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
}

void bk_say_channel_close(conn *c, channel *ch, uint16_t code, const char *text, amqp_method_number_t cause)
{
    amqp_channel_close_t close = { code, amqp_cstring_bytes(text), (uint16_t)(cause >> 16), (uint16_t)cause };

    ch->closing = true;
    bk_say(c, ch->number, AMQP_CHANNEL_CLOSE_METHOD, &close);
}

void bk_say_confirm(conn *c, const channel *ch, uint64_t tag, bool multiple, bool nack)
{
    amqp_basic_ack_t ack = { tag, multiple };
    amqp_basic_nack_t no = { tag, multiple, 0 };

    if (ch->confirms)
        bk_say(c, ch->number, nack ? AMQP_BASIC_NACK_METHOD : AMQP_BASIC_ACK_METHOD,
               nack ? (void *)&no : (void *)&ack);
}
