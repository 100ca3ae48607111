/* SPDX-License-Identifier: Apache-2.0 */
/* How clients of notifications send: `compute.start` of priority INFO, by the driver `messaging`. */
#include "base/alloc.h"
#include "tools/bench/bench.h"

typedef struct {
    const bench_run *run;
    fj_notifier *notifier;
} note_client;

static void close_notes(void *state)
{
    note_client *c = state;

    if (c == NULL)
        return;
    fj_notifier_free(c->notifier);
    fj__free(c);
}

static fj_code open_notes(bench_run *r, fj_transport *transport, unsigned number, void **ret, fj_error **err)
{
    static const char *const drivers[] = { "messaging", NULL };
    const char *const topics[] = { r->plan->topic, NULL };
    fj_notifier_opts opts = FJ_NOTIFIER_OPTS_INIT;
    note_client *c = fj__zalloc(sizeof *c);
    char *publisher = fj__format("publisher-%u", number);
    fj_code rc = FJ_NOMEM;

    opts.publisher_id = publisher;
    opts.drivers = drivers;
    opts.topics = topics;
    opts.exchange = r->o->exchange;
    if (c != NULL && publisher != NULL) {
        c->run = r;
        rc = fj_notifier_new(transport, &opts, &c->notifier, err);
    } else {
        rc = fj_fail(err, rc, "out of memory");
    }
    if (rc == FJ_OK)
        *ret = c;
    else
        close_notes(c);
    fj__free(publisher);
    return rc;
}

static fj_code send_note(void *state, json_t *message, json_t **ret, fj_error **err)
{
    note_client *c = state;
    fj_notify_opts opts = FJ_NOTIFY_OPTS_INIT;

    (void)ret;
    opts.by = fj_in_seconds(c->run->plan->timeout);
    return fj_notifier_notify(c->notifier, FJ_NOTIFY_INFO, "compute.start", message, &opts, err);
}

const bench_kind bench_notes = { open_notes, NULL, send_note, NULL, close_notes };
