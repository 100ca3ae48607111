/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/scenarios.h"

#include <check.h>
#include <string.h>

enum { SLOTS_MOST = 4, CALLS_MOST = 3 * SLOTS_MOST };

static bool full(rig *r)
{
    return r->noted == r->slots;
}

/* As many permits as anybody may want. */
static void permit_all(rig *r)
{
    for (unsigned i = 0; i < CALLS_MOST; i++)
        expect(fj_semaphore_release(r->permits), FJ_OK, NULL);
}

/*
 * A server with every slot taken has fetched as many messages as the prefetch allows, twice its slots, when it is stopped.
 * Another comes up, and each call is answered by the one that is to run it.
 */
static void drain(const cell *c, bool process)
{
    rig_opts opts = { .slots = dice(1, SLOTS_MOST),
                      .conf = process ? "drain_fetched = process" : "drain_fetched = requeue",
                      .name = "first" };
    rig *first = rig_up_with(c, &opts), *second;
    unsigned fetched = dice(1, 2 * first->slots), n = first->slots + fetched, by_first = 0;
    fj_future *calls[CALLS_MOST];

    for (unsigned i = 0; i < n; i++) {
        calls[i] = rig_call_async(first, "step", json_pack("{s:i}", "n", (int)i), 10000);
        if (i == first->slots - 1)
            rig_await(first, full, "a full house");
    }
    expect(fj_client_cast(first->client, "nobody_has_this", NULL, NULL, NULL), FJ_OK,
           NULL); /* confirmed: what was sent before is with the broker, too */
    fj_server_stop(first->server);
    opts.topic = first->topic;
    opts.name = "second";
    bool beside = !process && coin(); /* there before the other has let go of anything */
    second = beside ? rig_up_with(c, &opts) : NULL;
    permit_all(first);
    fj_client *client = first->client;
    first->client = NULL; /* it waits for its calls, and outlives the server */
    fj_transport *transport = first->client_transport;
    first->client_transport = NULL;
    opts.topic = strdup(first->topic);
    rig_down(first);
    if (!beside)
        second = rig_up_with(c, &opts);
    permit_all(second);
    for (unsigned i = 0; i < n; i++) {
        json_t *ret = rig_result(calls[i]);
        by_first += strcmp(json_string_value(ret), "first") == 0 ? 1 : 0;
        json_decref(ret);
    }
    ck_assert_uint_eq(by_first, process ? n : n - fetched);
    ck_assert_uint_eq(second->noted, n - by_first);
    rig_down(second);
    fj_client_free(client);
    fj_transport_free(transport);
    free((char *)(uintptr_t)opts.topic);
}

static void drain_requeue(const cell *c)
{
    drain(c, false);
}

static void drain_process(const cell *c)
{
    drain(c, true);
}

const scenario scenarios_ends[] = {
    { "drain: what was fetched goes back", drain_requeue, false },
    { "drain: what was fetched is processed", drain_process, false },
    { NULL, NULL, false },
};
