/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read becomes units.  As long as a rule looks at frames, a unit is a whole frame and waits until it is; else it is
 * whatever is there, and only the boundaries of frames are followed, so that a rule may come later.
 */
#include "base/alloc.h"
#include "tools/chaos/proxy.h"

/* Whether a rule may still act here: those that have done all they were to do cost nothing any more. */
static bool may_act(chaos_pipe *p, size_t slot, unsigned triggers)
{
    const chaos_rule *rule = p->conn->proxy->rules[slot];
    const chaos_count *c;

    if (rule == NULL || (rule->trigger & triggers) == 0 ||
        !chaos_rule_concerns(rule, p->conn->id, p->direction))
        return false;
    if (rule->trigger == CHAOS_ON_BYTES && (uint64_t)rule->bytes < p->passed)
        return false;
    c = chaos_pipe_count(p, slot);
    return c != NULL && !chaos_rule_spent(rule, c);
}

static bool any_may_act(chaos_pipe *p, unsigned triggers)
{
    for (size_t i = 0; i < p->conn->proxy->rule_count; i++)
        if (may_act(p, i, triggers))
            return true;
    return false;
}

static bool wants_frames(chaos_pipe *p)
{
    return p->conn->proxy->frames || fj__buf_len(&p->held) > 0 || chaos_contents_marked(p->contents) ||
           any_may_act(p, CHAOS_ON_FRAME);
}

static bool at_boundary(const chaos_pipe *p)
{
    return p->scan.raw || chaos_scan_at_boundary(&p->scan);
}

bool chaos_unit_plain(chaos_pipe *p)
{
    return p->skip == 0 && fj__buf_len(&p->pending) == 0 && !wants_frames(p) && !any_may_act(p, CHAOS_ON_BYTES);
}

static size_t follow(chaos_pipe *p, const uint8_t *bytes, size_t n)
{
    uint64_t before = p->scan.frames;
    bool was_raw = p->scan.raw;
    size_t used = chaos_scan_feed(&p->scan, bytes, n);

    p->conn->proxy->frame_count[p->direction] += p->scan.frames - before;
    if (p->scan.raw && !was_raw)
        chaos_report_conn(p->conn, "not-amqp", chaos_direction_name(p->direction));
    return used;
}

void chaos_unit_follow(chaos_pipe *p, const uint8_t *bytes, size_t n)
{
    for (size_t done = 0; done < n;)
        done += follow(p, bytes + done, n - done);
    p->passed += n;
}

/* ---- rules on a unit ------------------------------------------------------------------------------------------- */

/* A byte rule acts after its offset, and one that changes what comes next needs the byte that follows. */
static bool bytes_meet(const chaos_rule *rule, uint64_t begin, size_t n)
{
    uint64_t at = (uint64_t)rule->bytes;

    if (rule->action == CHAOS_CORRUPT || rule->action == CHAOS_DROP)
        return at >= begin && at < begin + n;
    return (at > begin && at <= begin + n) || (at == 0 && begin == 0);
}

static bool in_its_time(const chaos_rule *rule, const chaos_conn *conn)
{
    double age = rule->after > 0 || rule->before < 1e9 ? (double)(fj_now().ns - conn->began) * 1e-9 : 0;

    return age >= rule->after && age < rule->before;
}

static void apply(chaos_pipe *p, const chaos_frame *frame, uint64_t begin, chaos_edit *edit)
{
    chaos_proxy *proxy = p->conn->proxy;

    for (size_t i = 0; i < proxy->rule_count && !p->conn->over; i++) {
        chaos_rule *rule = proxy->rules[i];
        if (!may_act(p, i, CHAOS_ON_FRAME | CHAOS_ON_BYTES))
            continue;
        chaos_count *c = chaos_pipe_count(p, i);
        if (rule->trigger == CHAOS_ON_BYTES) {
            if (bytes_meet(rule, begin, edit->n) && chaos_rule_fires(rule, c))
                chaos_edit_act(edit, p, rule, c, NULL, (size_t)((uint64_t)rule->bytes - begin));
        } else if (frame != NULL && in_its_time(rule, p->conn) && chaos_rule_matches(rule, frame) &&
                   chaos_rule_fires(rule, c)) {
            chaos_edit_act(edit, p, rule, c, frame, 0);
        }
    }
}

/* The frame at the front of what was read, if a rule wants frames.  @return its length; 0: it is not whole yet, and the unit
 * must wait; -1: the unit is bytes */
static long whole_frame(chaos_pipe *p, const uint8_t *bytes, size_t n)
{
    if (p->scan.raw || !at_boundary(p) || !wants_frames(p))
        return -1;
    long length = chaos_frame_length(bytes, n, !p->scan.begun);
    if (length < 0)
        return -1;
    if (length == 0 || (size_t)length > n)
        return p->eof ? -1 : 0;
    if (p->contents == NULL && (p->contents = chaos_contents_new()) == NULL) {
        chaos_conn_end(p->conn, CHAOS_BOTH, "out of memory");
        return 0;
    }
    return length;
}

static void take_pending(chaos_pipe *p)
{
    (void)chaos_pipe_push_bytes(p, fj__buf_data(&p->pending), fj__buf_len(&p->pending), NULL);
    fj__buf_clear(&p->pending);
}

bool chaos_unit_take(chaos_pipe *p)
{
    size_t n = fj__buf_len(&p->in);
    uint64_t begin = p->passed;
    chaos_frame frame;

    if (fj__buf_len(&p->pending) > 0 && at_boundary(p)) {
        take_pending(p);
        return true;
    }
    if (n == 0 || p->discard || p->ended) {
        fj__buf_clear(&p->in);
        return n > 0;
    }
    const uint8_t *bytes = fj__buf_data(&p->in);
    long length = whole_frame(p, bytes, n);
    if (length == 0)
        return false;
    chaos_edit edit = { .bytes = bytes };
    edit.n = edit.keep = follow(p, bytes, length > 0 ? (size_t)length : n);
    bool is_frame = length > 0 && !p->scan.raw;
    if (is_frame) {
        chaos_frame_decode(p->contents, bytes, edit.n, &frame);
        edit.content = frame.content;
        edit.drop = frame.content != NULL && frame.content->drop;
        if (p->conn->proxy->frames)
            chaos_report_frame(p, &frame, edit.n);
    }
    apply(p, is_frame ? &frame : NULL, begin, &edit);
    chaos_edit_emit(&edit, p);
    p->passed += edit.n;
    fj__buf_consume(&p->in, edit.n);
    return true;
}
