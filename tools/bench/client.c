/* SPDX-License-Identifier: Apache-2.0 */
/* fjord bench rpc-client and notify-client: threads that send one message after the other, and what becomes of each. */
#include "base/alloc.h"
#include "runtime/clock.h"
#include "tools/bench/bench.h"
#include <string.h>

enum { CLIENT, ERRORS, ROUND_TRIP };

typedef struct crowd crowd;

/* One that sends. */
typedef struct {
    crowd *crowd;
    unsigned number;
    void *state; /* of the kind */
    size_t position;
    pthread_t thread;
    bool runs;
} sender;

struct crowd {
    bench_run *run;
    const bench_kind *kind;
    bool replies;
    bench_cargo cargo;
    sender *senders;
    pthread_mutex_t lock;
    fj_error *first; /* of the failures */
};

/* ---- one message -------------------------------------------------------------------------------- */

static void keep_first(crowd *c, fj_error *err)
{
    (void)pthread_mutex_lock(&c->lock);
    if (c->first == NULL) {
        c->first = err;
        err = NULL;
    }
    (void)pthread_mutex_unlock(&c->lock);
    fj_error_free(err);
}

static fj_code check_reply(const json_t *reply, json_int_t seq, fj_error **err)
{
    bench_message m;

    if (bench_message_read(reply, &m) && m.seq == seq)
        return FJ_OK;
    return fj_fail(err, FJ_BAD_VALUE, "the reply to message %lld is not that message", (long long)seq);
}

static void send_one(sender *s, json_int_t seq)
{
    crowd *c = s->crowd;
    size_t length;
    const char *text = bench_cargo_text(&c->cargo, s->position++, &length);
    bench_one one = { .began = bench_time(), .size = length };
    json_t *message = bench_message_new(seq, text, length, one.began), *reply = NULL;
    int64_t from = fj__clock_real_ns();
    fj_error *err = NULL;
    fj_code code = message != NULL ? c->kind->send(s->state, message, &reply, &err)
                                   : fj_fail(&err, FJ_NOMEM, "out of memory");

    one.took = fj__clock_real_ns() - from;
    one.ended = bench_time();
    if (code == FJ_OK && c->replies)
        code = check_reply(reply, seq, &err);
    one.timed = code == FJ_OK && !c->replies; /* until the broker had it */
    bench_push(&c->run->groups[CLIENT], s->number, &one);
    one.timed = code == FJ_OK;
    if (code != FJ_OK) {
        bench_push(&c->run->groups[ERRORS], s->number, &one);
        keep_first(c, err);
    } else if (c->replies) {
        bench_push(&c->run->groups[ROUND_TRIP], s->number, &one);
    }
    json_decref(reply);
}

static void *send_all(void *user)
{
    sender *s = user;
    bench_run *r = s->crowd->run;
    const bench_kind *kind = s->crowd->kind;
    bool by_time = r->plan->duration > 0;

    for (unsigned long i = 0; !bench_is_over(r) && (by_time || i < r->plan->messages); i++) {
        if (kind->before != NULL)
            kind->before(s->state);
        send_one(s, (json_int_t)i);
        if (r->plan->wait > 0)
            bench_pause(r, r->plan->wait);
    }
    if (kind->after != NULL)
        kind->after(s->state);
    return NULL;
}

/* ---- all of them -------------------------------------------------------------------------------- */

static fj_code open_all(crowd *c, fj_transport *transport, fj_error **err)
{
    const bench_plan *plan = c->run->plan;
    size_t texts =
        plan->duration > 0 || plan->messages > BENCH_CARGO_TEXTS ? BENCH_CARGO_TEXTS : plan->messages;
    uint64_t seed = (uint64_t)fj__clock_real_ns();
    fj_code rc = FJ_OK;

    c->senders = fj__zalloc(plan->threads * sizeof *c->senders);
    if (c->senders == NULL || !bench_cargo_init(&c->cargo, texts, seed))
        return fj_fail(err, FJ_NOMEM, "out of memory");
    for (unsigned i = 0; rc == FJ_OK && i < plan->threads; i++) {
        /* Each begins at another text, so that they do not all send the same at the same time. */
        c->senders[i] = (sender){ .crowd = c, .number = i, .position = (size_t)i * texts / plan->threads };
        rc = c->kind->open(c->run, transport, i, &c->senders[i].state, err);
    }
    return rc;
}

static fj_code run_all(crowd *c, fj_error **err)
{
    unsigned threads = c->run->plan->threads;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < threads; i++) {
        rc = pthread_create(&c->senders[i].thread, NULL, send_all, &c->senders[i]);
        c->senders[i].runs = rc == 0;
        if (rc != 0)
            (void)fj_fail(err, FJ_SYSTEM, "thread %u of %u: %s", i + 1, threads, strerror(rc));
    }
    for (unsigned i = 0; i < threads; i++)
        if (c->senders[i].runs)
            (void)pthread_join(c->senders[i].thread, NULL);
    return rc == 0 ? FJ_OK : FJ_SYSTEM;
}

static void close_all(crowd *c)
{
    for (unsigned i = 0; c->senders != NULL && i < c->run->plan->threads; i++)
        c->kind->close(c->senders[i].state);
    fj__free(c->senders);
    bench_cargo_fini(&c->cargo);
}

/* ---- the command -------------------------------------------------------------------------------- */

static fj_code make_groups(crowd *c, fj_error **err)
{
    size_t n = c->run->plan->threads;
    fj_code rc = bench_run_group(c->run, "client", n, err);

    c->run->shown = &c->run->groups[0];
    if (rc == FJ_OK)
        rc = bench_run_group(c->run, "error", n, err);
    if (rc == FJ_OK && c->replies)
        rc = bench_run_group(c->run, "round_trip", n, err);
    c->run->shown = &c->run->groups[c->replies ? ROUND_TRIP : CLIENT];
    return rc;
}

/* @return the exit code: of the first failure, if there was one */
static int tell_failures(crowd *c)
{
    double start, seconds;
    uint64_t failed = bench_total(&c->run->groups[ERRORS], &start, &seconds).count,
             all = bench_total(&c->run->groups[CLIENT], &start, &seconds).count;
    fj_error *first = c->first;

    c->first = NULL;
    if (first == NULL)
        return TOOL_DONE;
    fj_error_prefix(&first, "%llu of %llu messages failed, the first", (unsigned long long)failed,
                    (unsigned long long)all);
    return tool_fail(c->run->o, first);
}

static int send_and_tell(crowd *c, fj_error **err)
{
    bench_run *r = c->run;
    fj_transport *transport = NULL;
    fj_code code = tool_open(r->o, &transport, err);
    int rc = TOOL_DONE;

    if (code == FJ_OK)
        code = open_all(c, transport, err);
    if (code == FJ_OK)
        code = bench_run_start(r, true, err);
    if (code == FJ_OK) {
        code = run_all(c, err);
        int told = bench_run_results(r), failed = tell_failures(c);
        rc = told != TOOL_DONE ? told : failed;
    }
    if (code == FJ_OK && r->plan->exit_wait > 0)
        bench_wait_signal(r, r->plan->exit_wait);
    close_all(c);
    fj_transport_free(transport);
    return code == FJ_OK ? rc : -1;
}

int bench_client(bench_run *r)
{
    bool rpc = r->plan->mode == BENCH_RPC_CLIENT;
    crowd c = { .run = r,
                .kind = rpc ? &bench_rpc : &bench_notes,
                .replies = rpc && !r->plan->is_cast,
                .lock = PTHREAD_MUTEX_INITIALIZER };
    fj_error *err = NULL;
    int rc = make_groups(&c, &err) == FJ_OK ? send_and_tell(&c, &err) : -1;

    return rc >= 0 ? rc : tool_fail(r->o, err);
}
