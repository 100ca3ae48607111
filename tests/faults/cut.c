/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/cut.h"

#include "tests/faults/rig.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEARTBEAT = 1,
    CALL_MS = 5000, /* longer than a stall goes unnoticed: most calls come to a good end */
    TRIES = 4,
    OTHERS = 2 /* connections of each side: consuming and publishing */
};

static const char *const kinds[] = { "fin", "rst", "stall", "garbage" };

void cut_name(const cut *c, char *text, size_t n)
{
    (void)snprintf(text, n, "%s:%u:%s:%u:%s:%s", c->of_client ? "client" : "server", c->at.connection,
                   c->at.to_broker ? "out" : "in", c->at.frame, c->at.middle ? "mid" : "end",
                   kinds[c->at.kind]);
}

bool cut_read(const char *text, cut *ret)
{
    char side[8], way[4], where[4], kind[8];

    if (sscanf(text, "%7[a-z]:%u:%3[a-z]:%u:%3[a-z]:%7[a-z]", side, &ret->at.connection, way, &ret->at.frame,
               where, kind) != 6)
        return false;
    ret->of_client = strcmp(side, "client") == 0;
    ret->at.to_broker = strcmp(way, "out") == 0;
    ret->at.middle = strcmp(where, "mid") == 0;
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            ret->at.kind = (cut_kind)i;
            return true;
        }
    }
    return false;
}

/* A queue that gets what the server's does: it tells what the broker had. */
static void watch_broker(rig *r)
{
    broker_queue_add(r->b, "tap", "openstack", "t");
}

static void tell_ledger(rig *r)
{
    char *body;

    while ((body = broker_get(r->b, "tap", 0)) != NULL) {
        json_t *message = rig_open(body);
        const json_t *seq = json_object_get(json_object_get(message, "args"), "seq");
        ck_assert(json_is_integer(seq));
        ledger_stored(r->book, (unsigned)json_integer_value(seq));
        json_decref(message);
    }
}

/* ---- recording -------------------------------------------------------------------------------------- */

struct count {
    unsigned frames[2][OTHERS][2];
};

static cutter *side_of(const rig *r, bool client)
{
    return client ? r->client_cutter : r->server_cutter;
}

static void count_frames(const rig *r, struct count *ret)
{
    for (int side = 0; side < 2; side++) {
        for (unsigned i = 0; i < OTHERS; i++) {
            for (int out = 0; out < 2; out++)
                ret->frames[side][i][out] = cutter_frames(side_of(r, side), i, out);
        }
    }
}

/* The client's ack of the reply and the broker's confirm of it are the last: nobody waits for them. */
static bool all_acked(void *user)
{
    const rig *r = user;

    return broker_unacked(r->b) == 0 && broker_seen(r->b, AMQP_BASIC_ACK_METHOD) >= 2;
}

/* The server's own consuming connection is up before the call.  Its publishing one may be, too, but is for nothing else. */
static bool is_of_call(const struct count *before, int side, unsigned connection, int out, unsigned frame)
{
    return side == 1 || connection > 0 || frame >= before->frames[side][connection][out];
}

static void print_frames(const rig *r, const struct count *before, const struct count *now, FILE *to)
{
    for (int side = 0; side < 2; side++) {
        for (unsigned i = 0; i < OTHERS; i++) {
            for (int out = 0; out < 2; out++) {
                for (unsigned k = 0; k < now->frames[side][i][out]; k++)
                    fprintf(to, "%s:%u:%s:%u %s%s\n", side ? "client" : "server", i, out ? "out" : "in", k,
                            cutter_name(side_of(r, side), i, out, k),
                            is_of_call(before, side, i, out, k) ? " *" : "");
            }
        }
    }
}

void cut_record(const char *executor, FILE *to)
{
    const rig_opts opts = { .executor = executor, .heartbeat = HEARTBEAT, .cutters = true };
    rig *r = rig_up(&opts);
    struct count before, now;

    watch_broker(r);
    count_frames(r, &before);
    ck_assert_int_eq(rig_call(r, "echo", CALL_MS, NULL), FJ_OK);
    rig_until(all_acked, r, "the last acks");
    count_frames(r, &now);
    print_frames(r, &before, &now, to);
    tell_ledger(r);
    rig_down(r);
}

/* ---- cutting ---------------------------------------------------------------------------------------- */

static bool nothing_pends(void *user)
{
    return ledger_pending(user) == 0;
}

static bool has_struck(void *user)
{
    return cutter_struck(user);
}

/* Both ways of calling: waiting, and being told. */
static void call_once(rig *r, bool waiting)
{
    if (waiting)
        (void)rig_call(r, "echo", CALL_MS, NULL);
    else
        rig_call_async(r, "echo", CALL_MS);
    rig_until(nothing_pends, r->book, "the end of the call");
}

/* A stall goes unnoticed for two heartbeats, and what is sent meanwhile ends as it may. */
static void recover(rig *r)
{
    fj_error *err = NULL;
    fj_code code = FJ_OK;

    for (int i = 0; i < TRIES; i++) {
        err = fj_error_free(err);
        code = rig_call(r, "echo", LONG_MS, &err);
        if (code == FJ_OK)
            return;
    }
    ck_abort_msg("no call is answered any more: %s: %s", fj_code_name(code), fj_error_text(err));
}

static void print_end(const rig *r, FILE *to)
{
    fj_code code = FJ_OK;
    fj_sent sent = FJ_SENT_YES;

    (void)ledger_outcome(r->book, 0, &code, &sent);
    fprintf(to, "late %ld, %s%s%s\n", ledger_latest(r->book), fj_code_name(code), code != FJ_OK ? " sent " : "",
            code != FJ_OK ? fj_sent_name(sent) : "");
}

void cut_run(const cut *c, FILE *to)
{
    const rig_opts opts = { .executor = c->executor,
                            .heartbeat = HEARTBEAT,
                            .cutters = true,
                            .server_cut = c->of_client ? NULL : &c->at,
                            .client_cut = c->of_client ? &c->at : NULL };
    rig *r = rig_up(&opts);

    watch_broker(r);
    call_once(r, c->at.middle);
    rig_until(has_struck, side_of(r, c->of_client), "the point");
    recover(r);
    rig_until(all_acked, r, "the last acks");
    ck_assert_int_eq(broker_queue_ready(r->b, "t"), 0);
    tell_ledger(r);
    print_end(r, to);
    rig_down(r);
}
