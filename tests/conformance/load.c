/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/scenarios.h"

#include <check.h>
#include <string.h>
#include <unistd.h>

static void capacity_reached(const cell *c)
{
    enum { MOST = 12 };
    rig *r = rig_up(c, dice(1, 5), NULL);
    fj_future *futures[MOST];
    unsigned n = dice(r->slots, MOST);

    for (unsigned i = 0; i < n; i++)
        futures[i] = rig_call_async(r, "hold", NULL, 10000);
    rig_await(r, all_hold, "a full house");
    dawdle();
    fj_event_set(r->gate);
    for (unsigned i = 0; i < n; i++)
        json_decref(rig_result(futures[i]));
    ck_assert_uint_eq(atomic_load(&r->highest), r->slots);
    rig_down(r);
}

/* Sleeping methods overlap wherever methods can. */
static void sleep_inside(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    fj_future *futures[5];
    unsigned n = dice(2, 5);

    for (unsigned i = 0; i < n; i++)
        futures[i] = rig_call_async(r, "nap", json_pack("{s:i}", "ms", (int)dice(150, 250)), 10000);
    for (unsigned i = 0; i < n; i++)
        json_decref(rig_result(futures[i]));
    if (is_parallel(r))
        ck_assert_uint_gt(atomic_load(&r->highest), 1);
    else
        ck_assert_uint_eq(atomic_load(&r->highest), 1);
    rig_down(r);
}

/* ---- order --------------------------------------------------------------------------------------- */

static bool all_noted(rig *r)
{
    return r->noted >= r->expected;
}

/* Casts of one client, some awaited, some in batches. */
static void cast_all(rig *r, const char *method, unsigned n)
{
    fj_error *err = NULL;

    for (unsigned i = 0; i < n; i++) {
        json_t *args = json_pack("{s:i}", "n", (int)i);
        if (dice(0, 4) == 0)
            expect(fj_client_cast(r->client, method, args, NULL, &err), FJ_OK, err);
        else
            expect(fj_client_cast_async(r->client, method, args, NULL, NULL, &err), FJ_OK, err);
        if (dice(0, 9) == 0)
            dawdle();
    }
    expect(fj_client_flush(r->client, fj_in_ms(10000), &err), FJ_OK, err);
}

static void order_of_casts(const cell *c)
{
    rig *r = rig_up(c, 1, NULL);

    r->expected = dice(5, 40);
    cast_all(r, "note", r->expected);
    rig_await(r, all_noted, "every cast");
    for (unsigned i = 0; i < r->expected; i++)
        ck_assert_int_eq(r->notes[i], i);
    rig_down(r);
}

/* Whoever has run by now are the first that came: no other was admitted before them. */
static void first_ones_only(rig *r)
{
    unsigned long long seen = 0;

    (void)pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->noted; i++)
        seen |= 1ull << r->notes[i];
    ck_assert_uint_eq(seen, (1ull << r->noted) - 1);
    (void)pthread_mutex_unlock(&r->lock);
}

/* Several run at once and may begin in any order, but none is admitted before one that came first. */
static void order_of_admission(const cell *c)
{
    rig *r = rig_up(c, dice(2, 5), NULL);
    unsigned n = dice(r->slots, 20);

    cast_all(r, "step", n);
    for (r->expected = r->slots; r->expected <= n; r->expected++) {
        rig_await(r, all_noted, "one more");
        first_ones_only(r);
        ck_assert_uint_eq(r->noted, r->expected);
        expect(fj_semaphore_release(r->permits), FJ_OK, NULL);
    }
    for (unsigned i = 1; i < r->slots; i++)
        expect(fj_semaphore_release(r->permits), FJ_OK, NULL);
    rig_still_good(r);
    rig_down(r);
}

/* ---- methods that block --------------------------------------------------------------------------- */

static atomic_uint lost;
static char first_lost[300]; /* written once, by who counted it */

static void count_losses(void *user, fj_log_level level, const char *component, const char *text)
{
    if (is_from_transport(user, component) && level <= FJ_LOG_WARNING && atomic_fetch_add(&lost, 1) == 0)
        (void)snprintf(first_lost, sizeof first_lost, "%s", text);
}

/* The broker would end a connection that is silent for two intervals; the method blocks its thread for more than three. */
static void heartbeat_while_blocked(const cell *c)
{
    rig *r = rig_up(c, 4, "[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 1");
    fj_error *err = NULL;
    int ms = is_rabbit(c) ? 3500 : 50; /* others have no heart */

    rig_still_good(r);
    fj_log_set(count_losses, &r->cell);
    expect(rig_call(r, "block", json_pack("{s:i}", "ms", ms), 10000, NULL, &err), FJ_OK, err);
    rig_still_good(r);
    hush();
    ck_assert_msg(atomic_load(&lost) == 0, "%u lines, the first: %s", atomic_load(&lost), first_lost);
    rig_down(r);
}

static atomic_uint told;

static void count_reports(void *user, fj_log_level level, const char *component, const char *text)
{
    rig *r = user;

    (void)level;
    if (strcmp(component, "loop") != 0 || strstr(text, "block has blocked") == NULL)
        return;
    atomic_fetch_add(&told, 1);
    atomic_store(&r->seen, 1); /* the method need not go on */
}

/* On a loop a method that blocks is named while it does; elsewhere nobody is kept from anything. */
static void blocking_is_told(const cell *c)
{
    rig *r = rig_up(c, 4, "loop_debug = true\nslow_callback_duration = 0.05");
    bool wanted = is_on_loop(c) && !switches(c, FJ_PATCH_TIME);
    fj_error *err = NULL;

    fj_log_set(count_reports, r);
    expect(rig_call(r, "block", json_pack("{s:i}", "ms", wanted ? 9000 : 400), 10000, NULL, &err), FJ_OK, err);
    rig_still_good(r);
    ck_assert_uint_eq(atomic_load(&told) > 0, wanted);
    hush();
    rig_down(r);
}

static atomic_uint warned, emulated;

static void count_what_is_missing(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)component;
    warned += level == FJ_LOG_WARNING && strstr(text, "no hooks, so that blocking calls really block") != NULL;
    emulated += level == FJ_LOG_INFO && strstr(text, "method echo of <endpoint> 1.0, emulated") != NULL;
}

/* In a program without hooks green methods run all the same, and the log says how. */
static void missing_hooks_are_told_of(const cell *c)
{
    bool hooked = fj_is_patched(FJ_PATCH_DEFAULT);

    fj_log_set(count_what_is_missing, NULL);
    fj_log_set_level(FJ_LOG_INFO);
    rig *r = rig_up(c, 4, NULL);
    rig_still_good(r);
    rig_down(r);
    hush();
    if (hooked)
        ck_assert_uint_eq(warned, 0);
    if (!hooked && c->flavour == FJ_GREEN) {
        ck_assert_uint_eq(warned, 1);
        ck_assert_uint_eq(emulated, 1);
    }
}

static bool all_wait_for_bytes(rig *r)
{
    return atomic_load(&r->holding) >= r->expected;
}

/* Calls that know of no loop: where methods run at once each waits for its own byte, and all do at the same time. */
static void blocking_calls(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    fj_future *calls[5];

    r->expected =
        is_on_loop(c) && !switches(c, FJ_PATCH_SOCKET | FJ_PATCH_TIME | FJ_PATCH_SELECT) ? 1 : r->slots;
    for (unsigned i = 0; i < r->expected; i++)
        calls[i] = rig_call_async(r, "bytes", NULL, 10000);
    rig_await(r, all_wait_for_bytes, "every method");
    dawdle();
    for (unsigned i = 0; i < r->expected; i++)
        ck_assert_int_eq(write(r->ends[1], "x", 1), 1);
    for (unsigned i = 0; i < r->expected; i++) {
        json_t *ret = rig_result(calls[i]);
        ck_assert_str_eq(json_string_value(ret), "x");
        json_decref(ret);
    }
    rig_still_good(r);
    rig_down(r);
}

const scenario scenarios_load[] = {
    { "capacity reached", capacity_reached, false },
    { "order of casts", order_of_casts, false },
    { "order of admission", order_of_admission, false },
    { "sleep", sleep_inside, false },
    { "heartbeat while blocked", heartbeat_while_blocked, true },
    { "a blocking call is told of", blocking_is_told, true },
    { "blocking calls", blocking_calls, false },
    { "missing hooks are told of", missing_hooks_are_told_of, true },
    { NULL, NULL, false },
};
