/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine says: its output, and the channels that our own methods open and close. */
#include "transports/amqp/engine_state.h"

#include "base/alloc.h"

#include <string.h>

static fj_code put_method(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded)
{
    size_t before = fj__buf_len(&e->out);
    fj_code code = fj__put_method(&e->out, number, id, decoded, e->frame_max);

    e->put_total += fj__buf_len(&e->out) - before;
    e->frames_out += code == FJ_OK ? 1 : 0;
    return code;
}

/* An answer of the engine's own. */
bool fj__engine_answer(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded)
{
    fj_code code = put_method(e, number, id, decoded);

    if (code != FJ_OK)
        fj__engine_fail(e, code, "no answer could be made to the broker: %s", fj_code_text(code));
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
    fj__questions_sent(e, now);
    if (e->state == FJ__ENGINE_CLOSING && fj_is_never(e->give_up) && e->handshake_ns > 0)
        e->give_up =
            fj__later(now, e->handshake_ns); /* the answer is waited for as long as one at the beginning */
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

fj__engine_channel *fj__channel_of(fj__engine *e, uint16_t number)
{
    for (size_t i = 0; i < e->channel_count; i++) {
        if (e->channels[i].number == number)
            return &e->channels[i];
    }
    return NULL;
}

static bool add_channel(fj__engine *e, uint16_t number)
{
    fj__engine_channel *grown =
        fj__grow(e->channels, &e->channel_capacity, e->channel_count + 1, sizeof *e->channels);

    if (grown == NULL)
        return false;
    e->channels = grown;
    grown[e->channel_count++] = (fj__engine_channel){ .number = number, .asked_since = fj_never() };
    return true;
}

void fj__channel_fini(fj__engine_channel *c)
{
    fj__buf_fini(&c->args);
    fj__buf_fini(&c->header);
    fj__buf_fini(&c->body);
}

void fj__drop_channel(fj__engine *e, uint16_t number)
{
    fj__engine_channel *c = fj__channel_of(e, number);

    if (c == NULL)
        return;
    fj__questions_drop(e, c);
    fj__channel_fini(c);
    *c = e->channels[--e->channel_count];
}

void fj__end_content(fj__engine_channel *c)
{
    c->stage = FJ__STAGE_METHOD;
    fj__buf_clear(&c->args);
    fj__buf_clear(&c->header);
    fj__buf_clear(&c->body);
}

/* ---- methods ---- */

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
    const fj__engine_channel *c = fj__channel_of(e, number);
    if (opens != (c == NULL) || (c != NULL && c->closing))
        return FJ_STATE;
    return !opens || add_channel(e, number) ? FJ_OK : FJ_NOMEM;
}

fj_code fj__engine_method(fj__engine *e, uint16_t number, amqp_method_number_t id, void *decoded)
{
    fj_code code = channel_for(e, number, id);

    if (code != FJ_OK)
        return code;
    fj__engine_channel *c = fj__channel_of(e, number);
    code = fj__question_room(c, id) ? put_method(e, number, id, decoded) : FJ_NOMEM;
    if (code == FJ_OK)
        fj__question_put(e, c, id);
    else if (id == AMQP_CHANNEL_OPEN_METHOD)
        fj__drop_channel(e, number);
    if (code == FJ_OK && id == AMQP_CHANNEL_CLOSE_METHOD)
        c->closing = true;
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
    size_t room = e->frame_max - FJ__FRAME_EXTRA;
    if (code == FJ_OK)
        e->frames_out += 2 + (n + room - 1) / room;
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
    (void)fj__engine_go(e, FJ__ENGINE_CLOSING);
    return FJ_OK;
}
