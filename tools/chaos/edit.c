/* SPDX-License-Identifier: Apache-2.0 */
/* What rules make of one unit: changes of its bytes, and operations at places between them. */
#include "base/alloc.h"
#include "tools/chaos/proxy.h"
#include <math.h>
#include <string.h>

static int64_t ns_of(double seconds)
{
    return seconds < 0 ? FJ_NEVER_NS : (int64_t)(seconds * 1e9);
}

static void failed(chaos_edit *e, chaos_pipe *p)
{
    e->failed = true;
    chaos_conn_end(p->conn, CHAOS_BOTH, "out of memory");
}

/* ---- places ---------------------------------------------------------------------------------------------------- */

static size_t place_of(const chaos_rule *rule, size_t n, chaos_count *c)
{
    switch (rule->at.kind) {
    case CHAOS_AT_END:
        return n;
    case CHAOS_AT_MIDDLE:
        return n / 2;
    case CHAOS_AT_RANDOM: /* within: neither before nor after */
        return n > 1 ? 1 + (size_t)chaos_dice_below(&c->dice, n - 1) : 0;
    case CHAOS_AT_OFFSET:
    default:
        return rule->at.offset < n ? rule->at.offset : n;
    }
}

/* Behind what stands at this place already. */
static void insert(chaos_edit *e, chaos_pipe *p, size_t at, chaos_op op, uint8_t *bytes)
{
    chaos_insert *more = fj__grow(e->inserts, &e->capacity, e->count + 1, sizeof *more);
    size_t i = e->count;

    if (more == NULL) {
        fj__free(bytes);
        failed(e, p);
        return;
    }
    e->inserts = more;
    for (; i > 0 && more[i - 1].at > at; i--)
        more[i] = more[i - 1];
    more[i] = (chaos_insert){ at, op, bytes };
    e->count++;
}

/* ---- the operations of a rule ----------------------------------------------------------------------------------- */

static bool op_of(const chaos_pipe *p, const chaos_rule *rule, chaos_op *ret)
{
    *ret = (chaos_op){ .value = ns_of(rule->duration), .side = rule->side };
    switch (rule->action) {
    case CHAOS_STALL:
        ret->kind = CHAOS_OP_STALL;
        return true;
    case CHAOS_HOLD:
        ret->kind = CHAOS_OP_HOLD;
        return true;
    case CHAOS_DISCARD:
        ret->kind = CHAOS_OP_DISCARD;
        return true;
    case CHAOS_CLOSE:
        ret->kind = CHAOS_OP_CLOSE;
        return true;
    case CHAOS_RESET:
        ret->kind = CHAOS_OP_RESET;
        return true;
    case CHAOS_HALF_CLOSE:
        ret->kind = CHAOS_OP_FIN;
        ret->side = rule->side >= 0 ? rule->side : !p->direction;
        return true;
    case CHAOS_THROTTLE:
        ret->kind = CHAOS_OP_SHAPE;
        ret->rate = rule->rate;
        ret->segment = rule->segment;
        ret->gap = ns_of(rule->gap / 1000);
        return true;
    default:
        return false;
    }
}

/* Bytes of one's own: the garbage of the plan, or of the dice. */
static uint8_t *garbage(const chaos_rule *rule, chaos_count *c, size_t *ret_n)
{
    *ret_n = rule->data_n > 0 ? rule->data_n : (size_t)rule->size;
    uint8_t *bytes = fj__alloc(*ret_n);

    if (bytes != NULL && rule->data_n > 0)
        memcpy(bytes, rule->data, rule->data_n);
    else if (bytes != NULL)
        for (size_t i = 0; i < *ret_n; i++)
            bytes[i] = (uint8_t)(chaos_dice(&c->dice) >> 56);
    return bytes;
}

/* The frame to inject, on the channel where it belongs. */
static uint8_t *frame_of(const chaos_rule *rule, uint16_t channel)
{
    uint8_t *bytes = fj__memdup(rule->data, rule->data_n);

    if (bytes != NULL && rule->own_channel) {
        bytes[1] = (uint8_t)(channel >> 8);
        bytes[2] = (uint8_t)channel;
    }
    return bytes;
}

/* Into the other direction, at its next boundary between frames; the bytes are taken. */
static void inject_across(chaos_pipe *p, const chaos_rule *rule, uint8_t *bytes)
{
    chaos_pipe *to = &p->conn->pipes[!rule->side];

    if (bytes == NULL || !fj__buf_append(&to->pending, bytes, rule->data_n))
        chaos_conn_end(p->conn, CHAOS_BOTH, "out of memory");
    fj__free(bytes);
}

static void put_bytes(chaos_edit *e, chaos_pipe *p, size_t at, uint8_t *bytes, size_t n)
{
    if (bytes == NULL)
        failed(e, p);
    else
        insert(e, p, at, (chaos_op){ .kind = CHAOS_OP_BYTES, .n = n }, bytes);
}

static void corrupt(chaos_edit *e, chaos_pipe *p, const chaos_rule *rule, chaos_count *c, size_t at)
{
    if (e->own == NULL && (e->own = fj__memdup(e->bytes, e->n)) == NULL) {
        failed(e, p);
        return;
    }
    e->bytes = e->own;
    for (int64_t i = 0; i < rule->count && e->n > 0; i++) {
        size_t here =
            rule->at.kind == CHAOS_AT_RANDOM ? (size_t)chaos_dice_below(&c->dice, e->n) : at + (size_t)i;
        uint8_t mask = (uint8_t)(rule->xor_mask > 0 ? (uint64_t)rule->xor_mask
                                                    : UINT64_C(1) << chaos_dice_below(&c->dice, 8));
        if (here < e->n)
            e->own[here] ^= mask;
    }
}

static int64_t delay_until(const chaos_rule *rule, chaos_count *c)
{
    double ms = rule->ms + (rule->jitter > 0 ? rule->jitter * (2 * chaos_dice_real(&c->dice) - 1) : 0);

    return fj_in_seconds(ms > 0 ? ms / 1000 : 0).ns;
}

/* Actions that are no operations between bytes. */
static void change(chaos_edit *e, chaos_pipe *p, const chaos_rule *rule, chaos_count *c,
                   const chaos_frame *frame, size_t at)
{
    size_t n = rule->data_n;
    uint8_t *bytes;

    switch (rule->action) {
    case CHAOS_DELAY:
        if (frame == NULL)
            insert(e, p, at, (chaos_op){ .kind = CHAOS_OP_UNTIL, .value = delay_until(rule, c) }, NULL);
        else
            e->until = delay_until(rule, c);
        break;
    case CHAOS_TRICKLE:
        e->shape.rate = rule->rate;
        break;
    case CHAOS_SPLIT:
        e->shape.segment = rule->segment > 0 ? rule->segment : 1;
        e->shape.gap = ns_of(rule->gap / 1000);
        break;
    case CHAOS_GARBAGE:
        bytes = garbage(rule, c, &n);
        put_bytes(e, p, at, bytes, n);
        break;
    case CHAOS_INJECT:
        bytes = frame_of(rule, frame != NULL ? frame->channel : 1);
        if (rule->side == p->direction)
            inject_across(p, rule, bytes);
        else
            put_bytes(e, p, at, bytes, n);
        break;
    case CHAOS_DROP:
        if (rule->message && frame != NULL && frame->content != NULL)
            frame->content->drop = true;
        e->drop = e->drop || frame != NULL;
        if (frame == NULL)
            insert(e, p, at, (chaos_op){ .kind = CHAOS_OP_SKIP, .n = (size_t)rule->size }, NULL);
        break;
    case CHAOS_DUPLICATE:
        if (rule->message && frame->content != NULL)
            frame->content->copies += rule->copies;
        else
            e->copies += rule->copies;
        break;
    case CHAOS_REORDER:
        e->reorder = true;
        break;
    case CHAOS_TRUNCATE:
        e->keep = at < e->keep ? at : e->keep;
        break;
    case CHAOS_CORRUPT:
        corrupt(e, p, rule, c, at);
        break;
    default:
        break;
    }
}

void chaos_edit_act(chaos_edit *e, chaos_pipe *p, const chaos_rule *rule, chaos_count *c,
                    const chaos_frame *frame, size_t place)
{
    size_t at = frame != NULL ? place_of(rule, e->n, c) : place;
    chaos_op op;

    chaos_report_action(p, rule, frame, (int64_t)at);
    if (op_of(p, rule, &op))
        insert(e, p, at, op, NULL);
    else
        change(e, p, rule, c, frame, at);
}

void chaos_act_now(chaos_pipe *p, const chaos_rule *rule, chaos_count *c)
{
    uint8_t *bytes;
    size_t n;
    chaos_op op;

    chaos_report_action(p, rule, NULL, -1);
    if (op_of(p, rule, &op))
        chaos_pipe_do(p, &op);
    else if (rule->action == CHAOS_INJECT)
        inject_across(p, rule, frame_of(rule, 1));
    else if ((bytes = garbage(rule, c, &n)) != NULL) {
        (void)chaos_pipe_push_bytes(p, bytes, n, NULL);
        fj__free(bytes);
    }
}

/* ---- emitting -------------------------------------------------------------------------------------------------- */

static void emit_bytes(const chaos_edit *e, chaos_pipe *p, size_t from, size_t to)
{
    size_t n = to > from ? to - from : 0, skipped = p->skip < n ? p->skip : n;

    p->skip -= skipped;
    if (!e->drop)
        (void)chaos_pipe_push_bytes(p, e->bytes + from + skipped, n - skipped, &e->shape);
}

static void emit_insert(const chaos_insert *i, chaos_pipe *p)
{
    if (i->op.kind == CHAOS_OP_BYTES)
        (void)chaos_pipe_push_bytes(p, i->bytes, i->op.n, NULL);
    else if (i->op.kind == CHAOS_OP_SKIP)
        p->skip += i->op.n;
    else
        (void)chaos_pipe_push(p, i->op);
}

/* The unit's own bytes, with what was inserted. */
static void emit_all(const chaos_edit *e, chaos_pipe *p)
{
    size_t done = 0;

    if (e->until > 0)
        (void)chaos_pipe_push(p, (chaos_op){ .kind = CHAOS_OP_UNTIL, .value = e->until });
    for (size_t i = 0; i < e->count && !p->conn->over; i++) {
        size_t at = e->inserts[i].at < e->keep ? e->inserts[i].at : e->keep;
        emit_bytes(e, p, done, at);
        done = at;
        emit_insert(&e->inserts[i], p);
    }
    emit_bytes(e, p, done, e->keep);
    for (int64_t i = 0; i < e->copies && !p->conn->over; i++)
        emit_bytes(e, p, 0, e->keep);
}

/* The frames of a message that is to be copied are kept until its last one has passed. */
static void copy_message(const chaos_edit *e, chaos_pipe *p)
{
    chaos_content *c = e->content;

    if (c == NULL || c->copies == 0)
        return;
    if (fj__buf_len(&c->whole) + e->keep > CHAOS_FRAME_MAX) {
        chaos_report_conn(p->conn, "not-copied", "the message is too long");
        c->copies = 0;
        fj__buf_fini(&c->whole);
        return;
    }
    if (!e->drop && !fj__buf_append(&c->whole, e->bytes, e->keep))
        chaos_conn_end(p->conn, CHAOS_BOTH, "out of memory");
    for (int64_t i = 0; c->last && i < c->copies && !p->conn->over; i++)
        (void)chaos_pipe_push_bytes(p, fj__buf_data(&c->whole), fj__buf_len(&c->whole), NULL);
    if (c->last) {
        c->copies = 0;
        fj__buf_fini(&c->whole);
    }
}

void chaos_edit_emit(chaos_edit *e, chaos_pipe *p)
{
    bool holds = e->reorder && fj__buf_len(&p->held) == 0 && !e->drop;

    if (holds) {
        if (!fj__buf_append(&p->held, e->bytes, e->keep))
            failed(e, p);
        e->drop = true;
    }
    if (!e->failed && !p->conn->over)
        emit_all(e, p);
    if (!p->conn->over)
        copy_message(e, p);
    if (!holds && !e->drop && fj__buf_len(&p->held) > 0) {
        (void)chaos_pipe_push_bytes(p, fj__buf_data(&p->held), fj__buf_len(&p->held), NULL);
        fj__buf_fini(&p->held);
    }
    for (size_t i = 0; i < e->count; i++)
        fj__free(e->inserts[i].bytes);
    fj__free(e->inserts);
    fj__free(e->own);
}
