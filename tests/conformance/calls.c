/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/scenarios.h"

#include <check.h>
#include <string.h>

static json_t *fruit(void)
{
    return json_pack("{s:s, s:[i,f]}", "text", "pear \xc3\xa4", "list", 1, 2.5);
}

static void ok(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    crowd others = crowd_in(r);
    json_t *ret = NULL, *same = fruit();
    fj_error *err = NULL;

    expect(rig_call(r, "echo", fruit(), 10000, &ret, &err), FJ_OK, err);
    ck_assert(json_equal(ret, same));
    json_decref(same);
    json_decref(ret);
    crowd_out(&others);
    rig_down(r);
}

static void knows_its_request(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    crowd others = crowd_in(r);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "who", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert(json_is_true(json_object_get(ret, "current")));
    if (c->flavour != FJ_PLAIN) /* such methods can await under every executor */
        ck_assert(json_is_true(json_object_get(ret, "task")));
    json_decref(ret);
    crowd_out(&others);
    rig_down(r);
}

static void failure(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    crowd others = crowd_in(r);
    fj_error *err = NULL;

    expect(rig_call(r, "fail", NULL, 10000, NULL, &err), FJ_REMOTE, err);
    ck_assert_str_eq(fj_error_remote_class(err), "ValueError");
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "seven is not a colour"));
    fj_error_free(err);
    crowd_out(&others);
    rig_still_good(r);
    rig_down(r);
}

static void expected_failure(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    crowd others = crowd_in(r);
    fj_error *err = NULL;

    expect(rig_call(r, "expected", NULL, 10000, NULL, &err), FJ_REMOTE, err);
    ck_assert_str_eq(fj_error_remote_class(err), "SoldOut");
    ck_assert_str_eq(fj_error_remote_module(err), "shop.errors");
    fj_error_free(err);
    crowd_out(&others);
    rig_still_good(r);
    rig_down(r);
}

static bool one_finished(rig *r)
{
    return atomic_load(&r->finished) >= 1;
}

static void cancel(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    fj_error *err = NULL;
    fj_future *future = rig_call_async(r, "hold", NULL, 10000);

    rig_await(r, one_holds, "the method");
    crowd others = crowd_in(r);
    bool first = coin();
    if (!first)
        fj_event_set(r->gate); /* the answer is on its way: whichever is first */
    bool cancelled = fj_future_cancel(future);
    ck_assert(cancelled || !first);
    fj_code code = fj_future_wait(future, fj_in_ms(10000), NULL, &err);
    expect(code, cancelled ? FJ_CANCELLED : FJ_OK, err);
    fj_error_free(err);
    fj_future_unref(future);
    fj_event_set(r->gate); /* the method knows nothing of it */
    rig_await(r, one_finished, "the method's end");
    crowd_out(&others);
    rig_still_good(r);
    rig_down(r);
}

static void deadline(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    fj_error *err = NULL;
    int ms = (int)dice(50, 300);

    rig_still_good(r); /* all is connected: nothing else takes time */
    fj_deadline soon = fj_in_ms(ms);
    expect(rig_call(r, "hold", NULL, ms, NULL, &err), FJ_TIMEOUT, err);
    ck_assert(fj_passed(soon));
    fj_error_free(err);
    crowd others = crowd_in(r);
    fj_event_set(r->gate);
    crowd_out(&others);
    rig_still_good(r);
    rig_down(r);
}

static bool something_seen(rig *r)
{
    return atomic_load(&r->seen) != 0;
}

/* The first answer may be here before the method has given the second. */
static void double_reply(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    crowd others = crowd_in(r);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "twice", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert_str_eq(json_string_value(ret), "the first");
    json_decref(ret);
    crowd_out(&others);
    rig_still_good(r);
    rig_await(r, something_seen, "the second answer's end");
    ck_assert_int_eq(atomic_load(&r->seen), FJ_STATE);
    rig_down(r);
}

static bool all_kept(rig *r)
{
    return r->n_kept == r->expected;
}

/* Answered in any order by a thread that has nothing to do with the server.  Each keeps its slot until then. */
static void deferred_reply(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    fj_error *err = NULL;
    fj_future *calls[RIG_NOTES];

    r->expected = r->slots;
    for (unsigned i = 0; i < r->expected; i++)
        calls[i] = rig_call_async(r, "defer", NULL, 10000);
    rig_await(r, all_kept, "every request");
    crowd others = crowd_in(r); /* behind them */
    for (unsigned left = r->expected, i; left > 0; r->kept[i] = r->kept[--left]) {
        i = dice(0, left - 1);
        dawdle();
        expect(fj_request_reply(r->kept[i], json_string("late"), &err), FJ_OK, err);
        fj_request_unref(r->kept[i]);
    }
    for (unsigned i = 0; i < r->expected; i++) {
        json_t *ret = rig_result(calls[i]);
        ck_assert_str_eq(json_string_value(ret), "late");
        json_decref(ret);
    }
    crowd_out(&others);
    rig_still_good(r);
    rig_down(r);
}

static void deferred_reply_dropped(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    crowd others = crowd_in(r);
    fj_error *err = NULL;

    expect(rig_call(r, "drop", NULL, 10000, NULL, &err), FJ_REMOTE, err);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "without an answer"));
    fj_error_free(err);
    crowd_out(&others);
    rig_still_good(r);
    rig_down(r);
}

const scenario scenarios_calls[] = {
    { "ok", ok, false },
    { "a method knows its request", knows_its_request, false },
    { "failure", failure, false },
    { "expected failure", expected_failure, false },
    { "cancel", cancel, false },
    { "deadline", deadline, false },
    { "double reply", double_reply, false },
    { "deferred reply", deferred_reply, false },
    { "deferred reply dropped", deferred_reply_dropped, false },
    { NULL, NULL, false },
};
