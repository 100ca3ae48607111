/* SPDX-License-Identifier: Apache-2.0 */
/* What we asked the broker on a channel and it has not answered: queue.declare, basic.consume and the like.  It answers in order. */
#include "transports/amqp/engine_state.h"

#include "base/alloc.h"

#include <string.h>

/* What we ask.  Of all of these the answer's number is one more. */
static const struct {
    amqp_method_number_t id;
    const char *name;
} questions[] = {
    { AMQP_CHANNEL_OPEN_METHOD, "channel.open" },
    { AMQP_CHANNEL_CLOSE_METHOD, "channel.close" },
    { AMQP_EXCHANGE_DECLARE_METHOD, "exchange.declare" },
    { AMQP_EXCHANGE_DELETE_METHOD, "exchange.delete" },
    { AMQP_QUEUE_DECLARE_METHOD, "queue.declare" },
    { AMQP_QUEUE_BIND_METHOD, "queue.bind" },
    { AMQP_QUEUE_PURGE_METHOD, "queue.purge" },
    { AMQP_QUEUE_DELETE_METHOD, "queue.delete" },
    { AMQP_BASIC_QOS_METHOD, "basic.qos" },
    { AMQP_BASIC_CONSUME_METHOD, "basic.consume" },
    { AMQP_BASIC_CANCEL_METHOD, "basic.cancel" },
    { AMQP_CONFIRM_SELECT_METHOD, "confirm.select" },
};

static const char *name_of(amqp_method_number_t id)
{
    for (size_t i = 0; i < fj__countof(questions); i++) {
        if (questions[i].id == id)
            return questions[i].name;
    }
    return NULL;
}

/* Nothing waits for an answer. */
static bool is_quiet(const fj__engine_channel *c)
{
    return c->asked_first == c->asked_n;
}

static void forget(fj__engine *e, fj__engine_channel *c)
{
    e->asked -= c->asked_n - c->asked_first;
    c->asked_n = c->asked_first = 0;
    c->asked_since = fj_never();
}

bool fj__question_room(fj__engine_channel *c, amqp_method_number_t id)
{
    if (name_of(id) == NULL)
        return true;
    amqp_method_number_t *grown = fj__grow(c->asked, &c->asked_capacity, c->asked_n + 1, sizeof *c->asked);
    if (grown != NULL)
        c->asked = grown;
    return grown != NULL;
}

void fj__question_put(fj__engine *e, fj__engine_channel *c, amqp_method_number_t id)
{
    if (name_of(id) == NULL)
        return;
    if (id == AMQP_CHANNEL_CLOSE_METHOD) /* what it answers to those before is dropped */
        forget(e, c);
    if (is_quiet(c)) {
        c->asked_since = fj_never();
        e->unsent_question = e->put_total;
    }
    c->asked[c->asked_n++] = id;
    e->asked++;
}

void fj__questions_sent(fj__engine *e, fj_deadline now)
{
    if (e->unsent_question == 0 || e->sent_total < e->unsent_question)
        return;
    e->unsent_question = 0;
    for (size_t i = 0; i < e->channel_count; i++) {
        fj__engine_channel *c = &e->channels[i];
        if (!is_quiet(c) && fj_is_never(c->asked_since))
            c->asked_since = now;
    }
}

void fj__question_answered(fj__engine *e, fj__engine_channel *c, amqp_method_number_t id)
{
    if (c == NULL || is_quiet(c) || c->asked[c->asked_first] + 1 != id)
        return;
    c->asked_first++;
    e->asked--;
    c->asked_since = e->last_fed;
    if (is_quiet(c))
        forget(e, c);
}

void fj__questions_drop(fj__engine *e, fj__engine_channel *c)
{
    forget(e, c);
    fj__free(c->asked);
    c->asked = NULL;
    c->asked_capacity = 0;
}

/* A broker that blocks us reads nothing: what we ask meanwhile it answers afterwards. */
void fj__questions_blocked(fj__engine *e, bool on)
{
    e->blocked = on;
    for (size_t i = 0; !on && i < e->channel_count; i++) {
        fj__engine_channel *c = &e->channels[i];
        if (!is_quiet(c) && !fj_is_never(c->asked_since))
            c->asked_since = e->last_fed;
    }
}

/* The channel whose question is the first to be late, or NULL. */
static const fj__engine_channel *next_late(const fj__engine *e)
{
    const fj__engine_channel *next = NULL;

    if (e->asked == 0 || e->blocked || e->answer_ns <= 0 || e->state != FJ__ENGINE_OPEN)
        return NULL;
    for (size_t i = 0; i < e->channel_count; i++) {
        const fj__engine_channel *c = &e->channels[i];
        if (!is_quiet(c) && !fj_is_never(c->asked_since) &&
            (next == NULL || c->asked_since.ns < next->asked_since.ns))
            next = c;
    }
    return next;
}

fj_deadline fj__questions_due(const fj__engine *e)
{
    const fj__engine_channel *c = next_late(e);

    return c != NULL ? fj__later(c->asked_since, e->answer_ns) : fj_never();
}

void fj__questions_fail(fj__engine *e)
{
    const fj__engine_channel *c = next_late(e);

    if (c != NULL)
        fj__engine_fail(e, FJ_UNREACHABLE, "the broker did not answer %s on channel %u for %.1f s",
                        name_of(c->asked[c->asked_first]), (unsigned)c->number, (double)e->answer_ns / 1e9);
}
