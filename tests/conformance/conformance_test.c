/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every executor × every flavour × every scenario × every transport: what a service may rely on whatever its configuration
 * says.  An executor joins by its name in `executors`.
 *
 * A cell leaves no descriptor and no thread behind; what it leaves at the broker tests/interop/conformance.py looks at.
 *
 * rabbit:// is tested where FJ_TEST_URL names a broker.  FJ_CELLS runs those cells alone whose name, as printed, contains it.
 */
#include "tests/conformance/rig.h"
#include "tests/support/leaks.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const executors[] = { "blocking", "threading", "green", "coroutine", "bridged" };
static const fj_flavour flavours[] = { FJ_PLAIN, FJ_GREEN, FJ_CORO };
static const char *const flavour_names[] = { [FJ_PLAIN] = "plain", [FJ_GREEN] = "green", [FJ_CORO] = "coro" };

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

static bool is_parallel(const rig *r)
{
    return r->slots > 1;
}

static void expect(fj_code code, fj_code wanted, fj_error *err)
{
    ck_assert_msg(code == wanted, "%s instead of %s: %s", fj_code_name(code), fj_code_name(wanted),
                  err != NULL ? fj_error_text(err) : "");
}

static bool is_on_loop(const cell *c)
{
    return strcmp(c->executor, "blocking") != 0 && strcmp(c->executor, "threading") != 0;
}

/* Whether calls of these groups switch in the methods of the cell. */
static bool switches(const cell *c, unsigned groups)
{
    bool is_green = c->flavour == FJ_GREEN ||
                    (c->flavour == FJ_PLAIN && strcmp(c->executor, "coroutine") != 0 && is_on_loop(c));

    return is_green && fj_is_patched(groups);
}

/* ---- the scenarios ------------------------------------------------------------------------------ */

static void ok(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "echo", json_pack("{s:s, s:[i,f]}", "text", "pear \xc3\xa4", "list", 1, 2.5), 10000,
                    &ret, &err),
           FJ_OK, err);
    json_t *same = json_pack("{s:s, s:[i,f]}", "text", "pear \xc3\xa4", "list", 1, 2.5);
    ck_assert(json_equal(ret, same));
    json_decref(same);
    json_decref(ret);
    rig_down(r);
}

static void knows_its_request(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "who", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert(json_is_true(json_object_get(ret, "current")));
    if (c->flavour != FJ_PLAIN) /* such methods can await under every executor */
        ck_assert(json_is_true(json_object_get(ret, "task")));
    json_decref(ret);
    rig_down(r);
}

static void failure(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    fj_error *err = NULL;

    expect(rig_call(r, "fail", NULL, 10000, NULL, &err), FJ_REMOTE, err);
    ck_assert_str_eq(fj_error_remote_class(err), "ValueError");
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "seven is not a colour"));
    fj_error_free(err);
    rig_still_good(r);
    rig_down(r);
}

static void expected_failure(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    fj_error *err = NULL;

    expect(rig_call(r, "expected", NULL, 10000, NULL, &err), FJ_REMOTE, err);
    ck_assert_str_eq(fj_error_remote_class(err), "SoldOut");
    ck_assert_str_eq(fj_error_remote_module(err), "shop.errors");
    fj_error_free(err);
    rig_still_good(r);
    rig_down(r);
}

static bool one_holds(rig *r)
{
    return atomic_load(&r->holding) >= 1;
}

static bool one_finished(rig *r)
{
    return atomic_load(&r->finished) >= 1;
}

static void cancel(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    fj_error *err = NULL;
    fj_future *future = rig_call_async(r, "hold", NULL, 10000);

    rig_await(r, one_holds, "the method");
    ck_assert(fj_future_cancel(future));
    expect(fj_future_wait(future, fj_in_ms(10000), NULL, &err), FJ_CANCELLED, err);
    fj_error_free(err);
    fj_future_unref(future);
    fj_event_set(r->gate); /* the method knows nothing of it */
    rig_await(r, one_finished, "the method's end");
    rig_still_good(r);
    rig_down(r);
}

static void deadline(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    fj_error *err = NULL;
    fj_deadline soon = fj_in_ms(300);

    expect(rig_call(r, "hold", NULL, 300, NULL, &err), FJ_TIMEOUT, err);
    ck_assert(fj_passed(soon));
    fj_error_free(err);
    fj_event_set(r->gate);
    rig_still_good(r);
    rig_down(r);
}

static void client_call_from_inside(const cell *c)
{
    const cell helper = { "threading", FJ_PLAIN, c->url };
    rig *other = rig_up(&helper, 2, NULL), *r = rig_up(c, 4, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "relay",
                    json_pack("{s:s, s:s, s:i, s:{s:i}}", "topic", other->topic, "method", "echo", "ms", 5000,
                              "args", "n", 3),
                    10000, &ret, &err),
           FJ_OK, err);
    ck_assert_int_eq(json_integer_value(json_object_get(ret, "n")), 3);
    json_decref(ret);
    rig_down(r);
    rig_down(other);
}

/* With a slot to spare it is served; without, it ends at its deadline in a text that names the limit. */
static void call_to_itself(const cell *c)
{
    rig *r = rig_up(c, 2, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;
    json_t *args = json_pack("{s:s, s:s, s:i, s:{s:i}}", "topic", r->topic, "method", "echo", "ms",
                             is_parallel(r) ? 5000 : 300, "args", "n", 3);

    fj_code code = rig_call(r, "relay", args, 10000, &ret, &err);
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

static void stop_inside(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "stop", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert_str_eq(json_string_value(ret), "stopping");
    json_decref(ret);
    rig_down(r);
}

static void wait_refused(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "wait", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert_str_eq(json_string_value(json_object_get(ret, "code")), "STATE");
    json_decref(ret);
    rig_down(r);
}

static bool something_seen(rig *r)
{
    return atomic_load(&r->seen) != 0;
}

/* The first answer may be here before the method has given the second. */
static void double_reply(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;

    expect(rig_call(r, "twice", NULL, 10000, &ret, &err), FJ_OK, err);
    ck_assert_str_eq(json_string_value(ret), "the first");
    json_decref(ret);
    rig_still_good(r);
    rig_await(r, something_seen, "the second answer's end");
    ck_assert_int_eq(atomic_load(&r->seen), FJ_STATE);
    rig_down(r);
}

static bool is_kept(rig *r)
{
    return r->kept != NULL;
}

/* Answered by a thread that has nothing to do with the server. */
static void deferred_reply(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    json_t *ret = NULL;
    fj_error *err = NULL;
    fj_future *future = rig_call_async(r, "defer", NULL, 10000);

    rig_await(r, is_kept, "the request");
    expect(fj_request_reply(r->kept, json_string("late"), &err), FJ_OK, err);
    fj_request_unref(r->kept);
    expect(fj_future_wait(future, fj_in_ms(10000), &ret, &err), FJ_OK, err);
    ck_assert_str_eq(json_string_value(ret), "late");
    json_decref(ret);
    fj_future_unref(future);
    rig_still_good(r);
    rig_down(r);
}

static void deferred_reply_dropped(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    fj_error *err = NULL;

    expect(rig_call(r, "drop", NULL, 10000, NULL, &err), FJ_REMOTE, err);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "without an answer"));
    fj_error_free(err);
    rig_still_good(r);
    rig_down(r);
}

static bool all_hold(rig *r)
{
    return atomic_load(&r->holding) == r->slots;
}

static void capacity_reached(const cell *c)
{
    enum { CALLS = 7 };
    rig *r = rig_up(c, 3, NULL);
    fj_future *futures[CALLS];
    fj_error *err = NULL;

    for (int i = 0; i < CALLS; i++)
        futures[i] = rig_call_async(r, "hold", NULL, 10000);
    rig_await(r, all_hold, "a full house");
    fj_event_set(r->gate);
    for (int i = 0; i < CALLS; i++) {
        expect(fj_future_wait(futures[i], fj_in_ms(10000), NULL, &err), FJ_OK, err);
        fj_future_unref(futures[i]);
    }
    ck_assert_uint_eq(atomic_load(&r->highest), r->slots);
    rig_down(r);
}

/* Sleeping methods overlap wherever methods can. */
static void sleep_inside(const cell *c)
{
    enum { CALLS = 4 };
    rig *r = rig_up(c, CALLS, NULL);
    fj_future *futures[CALLS];
    fj_error *err = NULL;

    for (int i = 0; i < CALLS; i++)
        futures[i] = rig_call_async(r, "nap", json_pack("{s:i}", "ms", 200), 10000);
    for (int i = 0; i < CALLS; i++) {
        expect(fj_future_wait(futures[i], fj_in_ms(10000), NULL, &err), FJ_OK, err);
        fj_future_unref(futures[i]);
    }
    if (is_parallel(r))
        ck_assert_uint_gt(atomic_load(&r->highest), 1);
    else
        ck_assert_uint_eq(atomic_load(&r->highest), 1);
    rig_down(r);
}

static atomic_uint lost;

static void count_losses(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)text;
    if (strcmp(component, "amqp") == 0 && level <= FJ_LOG_WARNING)
        atomic_fetch_add(&lost, 1);
}

/* The broker would end a connection that is silent for two intervals; the method blocks its thread for more than three. */
static void heartbeat_while_blocked(const cell *c)
{
    rig *r = rig_up(c, 4, "[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 1");
    fj_error *err = NULL;
    int ms = strncmp(c->url, "fake:", 5) == 0 ? 50 : 3500; /* fake:// has no heart */

    rig_still_good(r);
    fj_log_set(count_losses, NULL);
    expect(rig_call(r, "block", json_pack("{s:i}", "ms", ms), 10000, NULL, &err), FJ_OK, err);
    rig_still_good(r);
    fj_log_set(NULL, NULL);
    ck_assert_uint_eq(atomic_load(&lost), 0);
    rig_down(r);
}

static atomic_uint told;

static void count_reports(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)level;
    if (strcmp(component, "loop") == 0 && strstr(text, "block has blocked") != NULL)
        atomic_fetch_add(&told, 1);
}

/* On a loop a method that blocks is named while it does; elsewhere nobody is kept from anything. */
static void blocking_is_told(const cell *c)
{
    rig *r = rig_up(c, 4, "loop_debug = true\nslow_callback_duration = 0.05");
    fj_error *err = NULL;

    fj_log_set(count_reports, NULL);
    expect(rig_call(r, "block", json_pack("{s:i}", "ms", 400), 10000, NULL, &err), FJ_OK, err);
    rig_still_good(r);
    ck_assert_uint_eq(atomic_load(&told) > 0, is_on_loop(c) && !switches(c, FJ_PATCH_TIME));
    rig_down(r);
    fj_log_set(NULL, NULL);
}

static bool all_wait_for_bytes(rig *r)
{
    return atomic_load(&r->holding) >= r->expected;
}

/* Calls that know of no loop: where methods run at once each waits for its own byte, and all do at the same time. */
static void blocking_calls(const cell *c)
{
    rig *r = rig_up(c, 4, NULL);
    fj_error *err = NULL;
    fj_future *calls[4];

    r->expected =
        is_on_loop(c) && !switches(c, FJ_PATCH_SOCKET | FJ_PATCH_TIME | FJ_PATCH_SELECT) ? 1 : r->slots;
    for (unsigned i = 0; i < r->expected; i++)
        calls[i] = rig_call_async(r, "bytes", NULL, 10000);
    rig_await(r, all_wait_for_bytes, "every method");
    for (unsigned i = 0; i < r->expected; i++)
        ck_assert_int_eq(write(r->ends[1], "x", 1), 1);
    for (unsigned i = 0; i < r->expected; i++) {
        json_t *ret = NULL;
        expect(fj_future_wait(calls[i], fj_in_ms(10000), &ret, &err), FJ_OK, err);
        ck_assert_str_eq(json_string_value(ret), "x");
        json_decref(ret);
        fj_future_unref(calls[i]);
    }
    rig_still_good(r);
    rig_down(r);
}

static const struct {
    const char *name;
    void (*run)(const cell *c);
} scenarios[] = {
    { "ok", ok },
    { "a method knows its request", knows_its_request },
    { "failure", failure },
    { "expected failure", expected_failure },
    { "cancel", cancel },
    { "deadline", deadline },
    { "a client call from inside the method", client_call_from_inside },
    { "a call to itself", call_to_itself },
    { "stop inside the method", stop_inside },
    { "wait refused", wait_refused },
    { "double reply", double_reply },
    { "deferred reply", deferred_reply },
    { "deferred reply dropped", deferred_reply_dropped },
    { "capacity reached", capacity_reached },
    { "sleep", sleep_inside },
    { "heartbeat while blocked", heartbeat_while_blocked },
    { "a blocking call is told of", blocking_is_told },
    { "blocking calls", blocking_calls },
};

/* ---- the table ---------------------------------------------------------------------------------- */

static const char *url = "fake://";

START_TEST(scenario_holds)
{
    const int each = COUNT(executors) * COUNT(flavours);
    const cell c = { executors[_i % each / COUNT(flavours)], flavours[_i % COUNT(flavours)], url };
    const char *only = getenv("FJ_CELLS");
    char name[160];

    (void)snprintf(name, sizeof name, "%s, %s, %s, %.8s", scenarios[_i / each].name, c.executor,
                   flavour_names[c.flavour], url);
    if (only != NULL && strstr(name, only) == NULL)
        return;
    (void)fprintf(stderr, "# %s\n", name);
    leaks_begin();
    scenarios[_i / each].run(&c);
    leaks_end(name);
}
END_TEST

#ifdef UNHOOKED

static atomic_uint warned, emulated;

static void count_what_is_missing(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user, (void)component;
    warned += level == FJ_LOG_WARNING && strstr(text, "no hooks, so that blocking calls really block") != NULL;
    emulated += level == FJ_LOG_INFO && strstr(text, "method echo of <endpoint> 1.0, emulated") != NULL;
}

START_TEST(the_hooks_are_as_they_should_be)
{
    const cell c = { executors[_i], FJ_GREEN, "fake://" };
    fj_error *err = NULL;

    expect(fj_green_patch(FJ_PATCH_DEFAULT, &err), FJ_UNSUPPORTED, err);
    err = fj_error_free(err);
    fj_log_set(count_what_is_missing, NULL);
    fj_log_set_level(FJ_LOG_INFO);
    rig_down(rig_up(&c, 4, NULL));
    fj_log_set(NULL, NULL);
    ck_assert_uint_eq(warned, 1);
    ck_assert_uint_eq(emulated, 1);
}
END_TEST

#else

/* Else what green promises would not be tested. */
START_TEST(the_hooks_are_as_they_should_be)
{
    fj_error *err = NULL;

    (void)_i;
    expect(fj_green_patch(FJ_PATCH_DEFAULT, &err), FJ_OK, err);
    ck_assert(fj_is_patched(FJ_PATCH_DEFAULT));
}
END_TEST

#endif

static int run_table(const char *name, const char *on)
{
    Suite *suite = suite_create(name);
    TCase *cells = tcase_create("cells");

    url = on;
    tcase_set_timeout(cells, 30);
    tcase_add_loop_test(cells, the_hooks_are_as_they_should_be, 0, COUNT(executors));
    tcase_add_loop_test(cells, scenario_holds, 0, COUNT(scenarios) * COUNT(executors) * COUNT(flavours));
    suite_add_tcase(suite, cells);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}

int main(void)
{
    const char *broker = getenv("FJ_TEST_URL");
    int failed = run_table("conformance on fake", "fake://");

    if (broker != NULL && *broker != '\0')
        failed += run_table("conformance on rabbit", broker);
    return failed == 0 ? 0 : 1;
}
