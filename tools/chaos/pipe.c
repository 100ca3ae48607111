/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a connection: its queue of operations, done in order as far as sockets and time allow. */
#include "base/alloc.h"
#include "tools/chaos/proxy.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* With so much in the queue nothing more is read: what fills up then is the sender's socket. */
enum { BYTES_MAX = 256 * 1024, OPS_MAX = 4096 };

static chaos_pipe *other(const chaos_pipe *p)
{
    return &p->conn->pipes[!p->direction];
}

static int64_t later(int64_t ns, int64_t by)
{
    return by >= FJ_NEVER_NS - ns ? FJ_NEVER_NS : ns + by;
}

bool chaos_pipe_room(const chaos_pipe *p)
{
    return fj__buf_len(&p->out) < BYTES_MAX && fj__buf_len(&p->ops) < OPS_MAX * sizeof(chaos_op);
}

bool chaos_pipe_idle(const chaos_pipe *p)
{
    return fj__buf_len(&p->ops) == 0;
}

bool chaos_pipe_wants_read(const chaos_pipe *p)
{
    return !p->eof && (p->discard || p->ended || chaos_pipe_room(p));
}

static void out_of_memory(chaos_pipe *p)
{
    chaos_conn_end(p->conn, CHAOS_BOTH, "out of memory");
}

chaos_count *chaos_pipe_count(chaos_pipe *p, size_t slot)
{
    const chaos_conn *conn = p->conn;
    chaos_rule *rule = conn->proxy->rules[slot];
    chaos_count *c;

    if (rule->per_plan || rule->trigger == CHAOS_ON_ACCEPT)
        c = &rule->shared;
    else if (slot >= p->count_n) {
        size_t n = conn->proxy->rule_capacity;
        chaos_count *more = fj__realloc(p->counts, n * sizeof *more);
        if (more == NULL) {
            out_of_memory(p);
            return NULL;
        }
        memset(more + p->count_n, 0, (n - p->count_n) * sizeof *more);
        p->counts = more;
        p->count_n = n;
        c = &more[slot];
    } else
        c = &p->counts[slot];
    if (c == &rule->shared)
        chaos_count_begin(c, rule, conn->proxy->seed, 0, CHAOS_CLIENT);
    else
        chaos_count_begin(c, rule, conn->proxy->seed, conn->id, p->direction);
    return c;
}

/* ---- the queue ------------------------------------------------------------------------------------------------- */

static chaos_op *front(chaos_pipe *p)
{
    return fj__buf_len(&p->ops) > 0 ? (chaos_op *)(void *)(p->ops.bytes + p->ops.begin) : NULL;
}

static chaos_op *back(chaos_pipe *p)
{
    return fj__buf_len(&p->ops) > 0 ? (chaos_op *)(void *)(p->ops.bytes + p->ops.end - sizeof(chaos_op)) : NULL;
}

bool chaos_pipe_push(chaos_pipe *p, chaos_op op)
{
    if (fj__buf_append(&p->ops, &op, sizeof op))
        return true;
    out_of_memory(p);
    return false;
}

bool chaos_pipe_push_bytes(chaos_pipe *p, const uint8_t *bytes, size_t n, const chaos_op *shape)
{
    chaos_op *last = back(p), op = { .kind = CHAOS_OP_BYTES, .n = n };

    if (n == 0)
        return true;
    if (!fj__buf_append(&p->out, bytes, n)) {
        out_of_memory(p);
        return false;
    }
    if (shape != NULL) {
        op.rate = shape->rate;
        op.segment = shape->segment;
        op.gap = shape->gap;
    }
    if (last != NULL && last->kind == CHAOS_OP_BYTES && last->rate == op.rate && last->segment == op.segment &&
        last->gap == op.gap) {
        last->n += n;
        return true;
    }
    return chaos_pipe_push(p, op);
}

/* ---- doing ----------------------------------------------------------------------------------------------------- */

/* Nothing more goes out here: the receiver has been told, or is gone. */
static void end_output(chaos_pipe *p)
{
    p->ended = true;
    p->blocked = false;
}

static void half_close(chaos_pipe *p)
{
    if (p->ended)
        return;
    (void)shutdown(p->conn->fd[!p->direction], SHUT_WR);
    end_output(p);
}

static void close_orderly(chaos_pipe *p)
{
    p->discard = true;
    half_close(p);
}

void chaos_pipe_do(chaos_pipe *p, const chaos_op *op)
{
    int64_t now = fj_now().ns;

    switch (op->kind) {
    case CHAOS_OP_UNTIL:
        p->stalled_until = op->value;
        break;
    case CHAOS_OP_STALL:
        p->stalled_until = later(now, op->value);
        break;
    case CHAOS_OP_HOLD:
        p->conn->held_until = later(now, op->value);
        break;
    case CHAOS_OP_SHAPE:
        p->rate = op->rate;
        p->segment = op->segment;
        p->gap = op->gap;
        p->next_at = now;
        break;
    case CHAOS_OP_DISCARD:
        p->discard = true;
        break;
    case CHAOS_OP_FIN:
        if (op->side != p->direction)
            half_close(p);
        if (op->side == p->direction || op->side == CHAOS_BOTH)
            half_close(other(p));
        break;
    case CHAOS_OP_END:
        half_close(p);
        break;
    case CHAOS_OP_CLOSE: /* not at once: what is unread in a socket that is closed makes a RST of it */
        close_orderly(p);
        close_orderly(other(p));
        break;
    case CHAOS_OP_RESET:
        chaos_conn_end(p->conn, op->side, p->broken ? "reset by peer" : "rule");
        break;
    case CHAOS_OP_BYTES:
    case CHAOS_OP_SKIP:
    default:
        break;
    }
}

/* Send of the first operation's bytes what may be sent at once.  @return whether anything was done */
static bool send_bytes(chaos_pipe *p, chaos_op *op)
{
    int64_t rate = op->rate > 0 ? op->rate : p->rate, segment = op->segment > 0 ? op->segment : p->segment;
    int64_t gap = op->segment > 0 ? op->gap : p->gap, now = rate > 0 || gap > 0 ? fj_now().ns : 0;
    size_t n = op->n;
    ssize_t sent;

    if (p->ended || p->discard) {
        fj__buf_consume(&p->out, n);
        op->n = 0;
        return true;
    }
    if ((rate > 0 || gap > 0) && now < p->next_at)
        return false;
    if (rate > 0 && n > (size_t)rate / 100 + 1) /* ten milliseconds' worth */
        n = (size_t)rate / 100 + 1;
    if (segment > 0 && n > (size_t)segment)
        n = (size_t)segment;
    sent = send(p->conn->fd[!p->direction], fj__buf_data(&p->out), n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR)
        return true;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        p->blocked = true;
        return false;
    }
    if (sent < 0) { /* the receiver's own end is read from its socket */
        end_output(p);
        return true;
    }
    if (rate > 0)
        p->next_at = now + sent * INT64_C(1000000000) / rate;
    if (gap > 0)
        p->next_at = now + gap > p->next_at ? now + gap : p->next_at;
    fj__buf_consume(&p->out, (size_t)sent);
    op->n -= (size_t)sent;
    return true;
}

static bool run(chaos_pipe *p)
{
    bool did = false;
    chaos_op *op;

    while (!p->conn->over && !p->blocked && !chaos_conn_held(p->conn) && (op = front(p)) != NULL) {
        if (!p->ended && p->stalled_until > 0 && fj_now().ns < p->stalled_until)
            break;
        p->stalled_until = 0;
        if (op->kind == CHAOS_OP_BYTES && op->n > 0) {
            if (!send_bytes(p, op))
                break;
        } else {
            chaos_op copy = *op;
            fj__buf_consume(&p->ops, sizeof copy);
            chaos_pipe_do(p, &copy);
        }
        did = true;
    }
    return did;
}

/* The sender has ended, and all it sent has become units: its end takes its place in the queue. */
static bool finish(chaos_pipe *p)
{
    if (!p->eof || p->finished || fj__buf_len(&p->in) > 0)
        return false;
    p->finished = true;
    return chaos_pipe_push_bytes(p, fj__buf_data(&p->held), fj__buf_len(&p->held), NULL) &&
           chaos_pipe_push(p,
                           (chaos_op){ .kind = p->broken ? CHAOS_OP_RESET : CHAOS_OP_END, .side = CHAOS_BOTH });
}

/* A thousand idle connections should not keep what each once needed. */
static void shrink(fj__buf *b)
{
    if (fj__buf_len(b) == 0 && b->capacity > 8192)
        fj__buf_fini(b);
}

bool chaos_pipe_pump(chaos_pipe *p)
{
    bool did = false, more = true;

    while (more && !p->conn->over) {
        more = run(p);
        while (!p->conn->over && chaos_pipe_room(p) && chaos_unit_take(p))
            more = true;
        if (!p->conn->over && finish(p))
            more = true;
        did |= more;
    }
    shrink(&p->in);
    shrink(&p->out);
    return did;
}

int64_t chaos_pipe_due(const chaos_pipe *p)
{
    if (chaos_pipe_idle(p) || p->blocked)
        return FJ_NEVER_NS;
    return p->stalled_until > p->next_at ? p->stalled_until : p->next_at;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Nothing looks at these bytes: what the socket takes needs no copy. */
static void pass(chaos_pipe *p, const uint8_t *bytes, size_t n)
{
    size_t done = 0;

    chaos_unit_follow(p, bytes, n);
    if (chaos_pipe_idle(p) && p->rate == 0 && p->segment == 0 && !p->ended && !chaos_conn_held(p->conn) &&
        fj_now().ns >= p->stalled_until) {
        ssize_t sent = send(p->conn->fd[!p->direction], bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            end_output(p);
        done = sent > 0 ? (size_t)sent : 0;
    }
    if (done < n && !p->ended)
        (void)chaos_pipe_push_bytes(p, bytes + done, n - done, NULL);
}

void chaos_pipe_read(chaos_pipe *p)
{
    chaos_proxy *proxy = p->conn->proxy;
    ssize_t n = recv(p->conn->fd[p->direction], proxy->scratch, CHAOS_SCRATCH, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    p->eof = n <= 0;
    p->broken = n < 0;
    if (n <= 0)
        return;
    p->received += (uint64_t)n;
    proxy->bytes[p->direction] += (uint64_t)n;
    if (p->discard || p->ended || p->conn->ignored)
        return;
    if (fj__buf_len(&p->in) == 0 && chaos_unit_plain(p))
        pass(p, proxy->scratch, (size_t)n);
    else if (!fj__buf_append(&p->in, proxy->scratch, (size_t)n))
        out_of_memory(p);
}

void chaos_pipe_fini(chaos_pipe *p)
{
    fj__buf_fini(&p->in);
    fj__buf_fini(&p->out);
    fj__buf_fini(&p->ops);
    fj__buf_fini(&p->pending);
    fj__buf_fini(&p->held);
    p->contents = chaos_contents_free(p->contents);
    fj__free(p->counts);
    p->counts = NULL;
}
