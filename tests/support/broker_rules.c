/* SPDX-License-Identifier: Apache-2.0 */
/* Misbehaving at a named point. */
#include "tests/support/broker_impl.h"

static bool consumes(const broker *b, const conn *c, const char *name)
{
    for (const consumer *k = b->consumers; k != NULL; k = k->next) {
        if (k->conn == c && strcmp(k->queue, name) == 0)
            return true;
    }
    return false;
}

static bool confirms(const conn *c)
{
    for (const channel *ch = c->channels; ch != NULL; ch = ch->next) {
        if (ch->confirms)
            return true;
    }
    return false;
}

static bool is_meant(const broker *b, const conn *c, const broker_rule *is)
{
    return (is->consumer_of == NULL || consumes(b, c, is->consumer_of)) && (!is->publisher || confirms(c));
}

rule *bk_strike(broker *b, const conn *c, amqp_method_number_t id)
{
    for (rule *r = b->rules; r != NULL; r = r->next) {
        if (r->is.at != id || id == 0 || !is_meant(b, c, &r->is))
            continue;
        if (r->is.skip != 0) {
            r->is.skip--;
            return NULL;
        }
        if (r->is.times == 0)
            continue;
        r->is.times--;
        return r;
    }
    return NULL;
}

static void cancel_all(broker *b, const conn *c)
{
    for (const consumer *k = b->consumers; k != NULL;) {
        if (k->conn == c) {
            bk_queue_delete(b, k->queue);
            k = b->consumers;
        } else {
            k = k->next;
        }
    }
}

static void cancel_consumers(broker *b, const conn *c)
{
    for (consumer **at = &b->consumers; *at != NULL;) {
        if ((*at)->conn == c) {
            amqp_basic_cancel_t cancel = { amqp_cstring_bytes((*at)->tag), 1 };
            bk_say((*at)->conn, (*at)->channel, AMQP_BASIC_CANCEL_METHOD, &cancel);
            bk_consumer_drop(at);
        } else {
            at = &(*at)->next;
        }
    }
}

static void close_channels(conn *c, const channel *only, const broker_rule *is, amqp_method_number_t id)
{
    for (channel *ch = c->channels; ch != NULL; ch = ch->next) {
        if (only == NULL || ch == only)
            bk_say_channel_close(c, ch, is->code != 0 ? is->code : AMQP_PRECONDITION_FAILED,
                                 is->text != NULL ? is->text : "PRECONDITION_FAILED - told to", id);
    }
}

static void say_blocked(conn *c, const broker_rule *is)
{
    amqp_connection_blocked_t blocked = { amqp_cstring_bytes(is->text != NULL ? is->text : "low on memory") };
    amqp_connection_unblocked_t unblocked = { 0 };

    if (is->kind == BROKER_BLOCK)
        bk_say(c, 0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
    else
        bk_say(c, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, &unblocked);
}

/* @return whether the method is still to be done */
bool bk_misbehave(broker *b, conn *c, channel *ch, const broker_rule *is, amqp_method_number_t id)
{
    switch (is->kind) {
    case BROKER_REFUSE_LOGIN:
        bk_say_close(c, AMQP_ACCESS_REFUSED,
                     "ACCESS_REFUSED - Login was refused using authentication mechanism");
        return false;
    case BROKER_NO_VHOST:
        bk_say_close(c, AMQP_NOT_ALLOWED, "NOT_ALLOWED - vhost not found");
        return false;
    case BROKER_CLOSE_CONNECTION:
        bk_say_close(c, is->code != 0 ? is->code : AMQP_CONNECTION_FORCED,
                     is->text != NULL ? is->text : "CONNECTION_FORCED - told to");
        return false;
    case BROKER_CLOSE_CHANNEL:
        close_channels(c, ch, is, id);
        return false;
    case BROKER_HANG_UP:
        fj__buf_clear(&c->out);
        c->hang_up = true;
        return false;
    case BROKER_HANG_UP_AFTER:
        c->hang_up = true;
        return true;
    case BROKER_DELAY: /* see bk_spoil_answers() */
    case BROKER_TWICE:
        return true;
    case BROKER_STALL:
        c->stalled = true;
        return false;
    case BROKER_RESUME:
        c->stalled = c->mute = false;
        return true;
    case BROKER_MUTE:
        c->mute = true;
        return true;
    case BROKER_SEND:
    case BROKER_SEND_THEN:
        bk_must_ok(fj__buf_append(&c->out, is->bytes, is->n));
        return is->kind == BROKER_SEND_THEN;
    case BROKER_CANCEL_ONLY:
        cancel_consumers(b, c);
        return true;
    case BROKER_CANCEL:
        cancel_all(b, c);
        return true;
    case BROKER_BLOCK:
    case BROKER_UNBLOCK:
        say_blocked(c, is);
        return true;
    default: /* IGNORE; what a publish only knows elsewhere does nothing */
        return false;
    }
}

/* What was said since @p before comes later, or twice. */
void bk_spoil_answers(conn *c, const broker_rule *is, size_t before)
{
    size_t n = fj__buf_len(&c->out) - before;

    if ((is->kind != BROKER_DELAY && is->kind != BROKER_TWICE) || n == 0)
        return;
    late *l = bk_must(malloc(sizeof *l + n)), **at = &c->late;
    *l = (late){ .due = bk_now_ms() + (is->kind == BROKER_DELAY ? is->ms : 0), .n = n };
    memcpy(l->bytes, fj__buf_data(&c->out) + before, n);
    if (is->kind == BROKER_DELAY)
        c->out.end -= n;
    while (*at != NULL)
        at = &(*at)->next;
    *at = l;
}

void broker_fault(broker *b, broker_fault_kind kind, amqp_method_number_t at)
{
    broker_rule is = { .kind = kind, .at = at };

    broker_rule_add(b, &is);
}

static rule *keep_rule(const broker_rule *is)
{
    rule *r = bk_must(calloc(1, sizeof *r));

    r->is = *is;
    r->is.times = is->times != 0 ? is->times : 1;
    if (is->text != NULL)
        r->is.text = r->text = bk_must(strdup(is->text));
    if (is->consumer_of != NULL)
        r->is.consumer_of = r->consumer_of = bk_must(strdup(is->consumer_of));
    if (is->n != 0) {
        r->is.bytes = r->bytes = bk_must(malloc(is->n));
        memcpy(r->bytes, is->bytes, is->n);
    }
    return r;
}

void broker_rule_add(broker *b, const broker_rule *is)
{
    bk_lock(b);
    if (is->at == 0) {
        for (conn *c = b->conns; c != NULL; c = c->next) {
            if (is_meant(b, c, is))
                (void)bk_misbehave(b, c, NULL, is, 0);
        }
        for (conn *c = b->conns; c != NULL && is->kind == BROKER_RESUME; c = c->next)
            bk_read_frames(b, c); /* what came before the stall and was left lying */
    } else {
        rule *r = keep_rule(is), **at = &b->rules;
        while (*at != NULL)
            at = &(*at)->next;
        *at = r;
    }
    bk_unlock_and_wake(b);
}

void broker_rules_clear(broker *b)
{
    bk_lock(b);
    while (b->rules != NULL) {
        rule *r = b->rules;
        b->rules = r->next;
        free(r->text);
        free(r->consumer_of);
        free(r->bytes);
        free(r);
    }
    bk_unlock(b);
}
