/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/scenarios.h"

#include <check.h>
#include <string.h>

enum { MOST = 4 };

static bool all_noted(rig *r)
{
    return r->noted >= r->expected;
}

static bool all_finished(rig *r)
{
    return atomic_load(&r->finished) >= r->expected;
}

static void permit_all(rig *r)
{
    for (unsigned i = 0; i < MOST; i++)
        expect(fj_semaphore_release(r->permits), FJ_OK, NULL);
}

/* Up to as many calls as there are slots, each in its method. */
static unsigned begin_steps(rig *r, fj_future **calls)
{
    unsigned n = dice(1, r->slots < MOST ? r->slots : MOST);

    for (unsigned i = 0; i < n; i++)
        calls[i] = rig_call_async(r, "step", json_pack("{s:i}", "n", (int)i), 10000);
    r->expected = n;
    rig_await(r, all_noted, "every method");
    /* Confirmed, and with it what was sent before: it counts as sent when the connection goes. */
    expect(fj_client_cast(r->client, "nobody_has_this", NULL, NULL, NULL), FJ_OK, NULL);
    return n;
}

static void answered_by(const char *name, fj_future **calls, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        json_t *ret = rig_result(calls[i]);
        ck_assert_str_eq(json_string_value(ret), name);
        json_decref(ret);
    }
}

/* Whosever connection it is, and however often: the methods go on, run once, and their callers hear of it. */
static void lost_in_the_middle(const cell *c)
{
    const rig_opts opts = { .slots = dice(1, MOST), .breakable = true };
    rig *r = rig_up_with(c, &opts);
    fj_future *calls[MOST];
    unsigned n = begin_steps(r, calls), times = dice(1, 3);
    bool early = coin();

    for (unsigned i = 0; i < times; i++) {
        unsigned whose = dice(0, 2);
        if (whose != 0)
            rig_cut(r);
        if (whose != 1)
            rig_cut_client(r);
        if (i == 0 && early)
            permit_all(r);
        dawdle();
    }
    if (!early)
        permit_all(r);
    answered_by("s", calls, n);
    rig_still_good(r);
    ck_assert_uint_eq(r->noted, n);
    rig_down(r);
}

/* With ack = done the broker delivers again what is in work.  The server that works on it knows it. */
static void comes_twice(const cell *c)
{
    const rig_opts opts = { .slots = dice(1, MOST), .conf = "ack = done", .breakable = true };
    rig *r = rig_up_with(c, &opts);
    fj_future *calls[MOST];
    unsigned n = begin_steps(r, calls);

    rig_cut(r);
    if (n < r->slots && coin())
        rig_still_good(r); /* it is connected again, and has had what stood before this call */
    permit_all(r);
    answered_by("s", calls, n);
    rig_still_good(r);
    ck_assert_uint_eq(r->noted, n);
    rig_down(r);
}

static atomic_uint complaints;

static void count_complaints(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)text;
    if (is_from_transport(user, component) && level <= FJ_LOG_ERROR)
        atomic_fetch_add(&complaints, 1);
}

/* A server of its own among several. */
static void is_served(rig *r)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;
    fj_error *err = NULL;

    o.server = r->name;
    o.by = fj_in_ms(10000);
    expect(fj_client_call(r->client, "echo", NULL, &o, NULL, &err), FJ_OK, err);
}

/* With ack = done, another server gets what the first has in work when its connection goes.  The first one's late acks and
 * answers mean nothing any more: to acknowledge over the new connection by the old numbers would end that, or ack another's. */
static void late_ack(const cell *c)
{
    rig_opts opts = { .slots = dice(1, MOST), .conf = "ack = done", .name = "first", .breakable = true };
    rig *first = rig_up_with(c, &opts);
    fj_future *calls[MOST];
    unsigned n = begin_steps(first, calls);
    bool early = coin();

    opts.topic = first->topic;
    opts.name = "second";
    rig *second = rig_up_with(c, &opts);
    permit_all(second);
    fj_log_set(count_complaints, &first->cell);
    rig_cut_down(first);
    answered_by("second", calls, n);
    if (early)
        permit_all(first);
    rig_mend(first);
    if (early || n < first->slots)
        is_served(first); /* it is connected again */
    if (!early)
        permit_all(first);
    rig_await(first, all_finished, "the end of what was late");
    is_served(first);
    is_served(second);
    hush();
    ck_assert_uint_eq(atomic_load(&complaints), 0);
    ck_assert_uint_eq(first->noted, n);
    ck_assert_uint_eq(second->noted, n);
    rig_down(first);
    rig_down(second);
}

const scenario scenarios_lost[] = {
    { "connection lost in the middle", lost_in_the_middle, false },
    { "a message that comes twice", comes_twice, false },
    { "epoch of a late ack", late_ack, false },
    { NULL, NULL, false },
};
