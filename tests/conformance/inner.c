/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/scenarios.h"

#include <check.h>
#include <string.h>

static json_t *ask(const rig *whom, int ms)
{
    return json_pack("{s:s, s:s, s:i, s:{s:i}}", "topic", whom->topic, "method", "echo", "ms", ms, "args", "n",
                     3);
}

static void client_call_from_inside(const cell *c)
{
    const cell helper = { "threading", FJ_PLAIN, c->url };
    rig *other = rig_up(&helper, dice(1, 3), NULL), *r = rig_up(c, dice(1, 5), NULL);
    unsigned n = dice(1, 6);
    fj_future *calls[6];

    for (unsigned i = 0; i < n; i++)
        calls[i] = rig_call_async(r, "relay", ask(other, 5000), 10000);
    for (unsigned i = 0; i < n; i++) {
        json_t *ret = rig_result(calls[i]);
        ck_assert_int_eq(json_integer_value(json_object_get(ret, "n")), 3);
        json_decref(ret);
    }
    rig_down(r);
    rig_down(other);
}

/* With a slot to spare it is served; without, it ends at its deadline in a text that names the limit. */
static void call_to_itself(const cell *c)
{
    rig *r = rig_up(c, dice(1, 3), NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    rig_still_good(r); /* all is connected: what follows is short of a slot, not of time */
    fj_code code = rig_call(r, "relay", ask(r, is_parallel(r) ? 5000 : (int)dice(200, 500)), 10000, &ret, &err);
    if (is_parallel(r)) {
        expect(code, FJ_OK, err);
        ck_assert_int_eq(json_integer_value(json_object_get(ret, "n")), 3);
        json_decref(ret);
    } else {
        expect(code, FJ_REMOTE, err);
        ck_assert_str_eq(fj_error_remote_class(err), "MessagingTimeout");
        ck_assert_ptr_nonnull(strstr(fj_error_text(err), "executor_pool_size"));
        fj_error_free(err);
    }
    rig_still_good(r);
    rig_down(r);
}

/* What is in work is finished, and whoever is stopped from inside answers as ever. */
static void stop_inside(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;
    fj_future *held = NULL;

    if (is_parallel(r) && coin()) {
        held = rig_call_async(r, "hold", NULL, 10000);
        rig_await(r, one_holds, "the method");
    }
    expect(rig_call(r, "stop", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert_str_eq(json_string_value(ret), "stopping");
    json_decref(ret);
    fj_event_set(r->gate);
    if (held != NULL)
        json_decref(rig_result(held));
    rig_down(r);
}

static void wait_refused(const cell *c)
{
    rig *r = rig_up(c, dice(1, 5), NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "wait", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert_str_eq(json_string_value(json_object_get(ret, "code")), "STATE");
    json_decref(ret);
    rig_down(r);
}

const scenario scenarios_inner[] = {
    { "a client call from inside the method", client_call_from_inside, false },
    { "a call to itself", call_to_itself, false },
    { "stop inside the method", stop_inside, false },
    { "wait refused", wait_refused, false },
    { NULL, NULL, false },
};
