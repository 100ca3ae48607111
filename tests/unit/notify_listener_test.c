/* SPDX-License-Identifier: Apache-2.0 */
/* Notification listeners over fake://, in each executor: who gets what, and what becomes of it. */
#include "base/alloc.h"
#include "dispatcher/filter.h"
#include "executors/eventcount.h"
#include "tests/support/leaks.h"
#include "tests/support/said.h"

#include <check.h>
#include <fjord/fjord.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 20000 };

static const char *const executors[] = { "blocking", "threading", "green", "coroutine", "bridged" };

static fj_transport *transport;
static fj_notifier *notifier;
static fj_notify_listener *listener, *other;
static const char *executor;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static json_t *seen; /* of what endpoints got: [name, priority, args] */
static atomic_uint handled, requeues_left;
static fj__eventcount changed;
static _Atomic(fj_request *) kept;

/* ---- endpoints ---------------------------------------------------------------------------------- */

/* The name of the endpoint is its data. */
static fj_code take(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    json_t *one = json_pack("[s, s, O, O]", (const char *)fj_request_data(req), fj_request_method(req), args,
                            fj_request_context(req));
    ck_assert_ptr_nonnull(one);
    (void)pthread_mutex_lock(&lock);
    ck_assert_int_eq(json_array_append_new(seen, one), 0);
    (void)pthread_mutex_unlock(&lock);
    atomic_fetch_add(&handled, 1);
    fj__eventcount_raise(&changed);
    return FJ_OK;
}

static fj_code take_later_times(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    unsigned left = atomic_load(&requeues_left);

    while (left > 0 && !atomic_compare_exchange_weak(&requeues_left, &left, left - 1))
        ;
    return left == 0       ? take(req, args, ret, err)
           : left % 2 == 0 ? FJ_REQUEUE
                           : fj_fail(err, FJ_BAD_VALUE, "oops");
}

static fj_code take_and_fail(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)take(req, args, ret, err);
    return fj_fail(err, FJ_BAD_VALUE, "this endpoint fails");
}

static fj_code keep(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    atomic_store(&kept, fj_request_ref(req)); /* before the test hears of it */
    (void)take(req, args, ret, err);
    return FJ_DEFERRED;
}

static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = fj_sleep(fj_in_ms(1));

    return code == FJ_OK ? take(req, args, ret, err) : fj_fail(err, code, "no sleep");
}

static const fj_method all_methods[] = {
    FJ_METHOD("audit", FJ_PLAIN, take),  FJ_METHOD("debug", FJ_CORO, nap),
    FJ_METHOD("info", FJ_PLAIN, take),   FJ_METHOD("warn", FJ_GREEN, take),
    FJ_METHOD("error", FJ_PLAIN, take),  FJ_METHOD("critical", FJ_PLAIN, take),
    FJ_METHOD("sample", FJ_PLAIN, take), FJ_METHOD("other", FJ_PLAIN, take)
};
static const fj_endpoint all = FJ_ENDPOINT(NULL, NULL, all_methods);
static const fj_method plain_methods[] = {
    FJ_METHOD("audit", FJ_PLAIN, take), FJ_METHOD("debug", FJ_PLAIN, take),
    FJ_METHOD("info", FJ_PLAIN, take),  FJ_METHOD("warn", FJ_PLAIN, take),
    FJ_METHOD("error", FJ_PLAIN, take), FJ_METHOD("critical", FJ_PLAIN, take),
    FJ_METHOD("sample", FJ_PLAIN, take)
};
static const fj_endpoint plain = FJ_ENDPOINT(NULL, NULL, plain_methods);
static const fj_method info_methods[] = { FJ_METHOD("info", FJ_PLAIN, take) };
static const fj_endpoint info = FJ_ENDPOINT(NULL, NULL, info_methods);
static const fj_method coro_methods[] = { FJ_METHOD("info", FJ_CORO, nap) };
static const fj_endpoint coro = FJ_ENDPOINT(NULL, NULL, coro_methods);
static const fj_method late_methods[] = { FJ_METHOD("info", FJ_PLAIN, take_later_times) };
static const fj_endpoint late = FJ_ENDPOINT(NULL, NULL, late_methods);
static const fj_method fail_methods[] = { FJ_METHOD("info", FJ_PLAIN, take_and_fail) };
static const fj_endpoint fails = FJ_ENDPOINT(NULL, NULL, fail_methods);
static const fj_method keep_methods[] = { FJ_METHOD("info", FJ_PLAIN, keep) };
static const fj_endpoint keeps = FJ_ENDPOINT(NULL, NULL, keep_methods);

/* ---- the rig ------------------------------------------------------------------------------------ */

static const char *const v2[] = { "messagingv2", NULL };

static void setup(void)
{
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;

    leaks_begin();
    said_begin();
    seen = json_array();
    o.publisher_id = "me.host1";
    o.drivers = v2;
    ck_assert_int_eq(fj_transport_open(NULL, "fake://", &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_new(transport, &o, &notifier, NULL), FJ_OK);
}

static void teardown(void)
{
    listener = fj_notify_listener_free(listener);
    other = fj_notify_listener_free(other);
    notifier = fj_notifier_free(notifier);
    transport = fj_transport_free(transport);
    fj_loop *loop = NULL;
    if (fj_loop_current(&loop, NULL) == FJ_OK)
        fj_loop_free(loop);
    json_decref(seen);
    leaks_end("the test");
}

static fj_notify_listener *listener_of(int i, fj_notify_listener_opts *opts)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;
    const fj_target target = FJ_TARGET(.topic = "notifications");
    fj_notify_listener *made = NULL;
    fj_error *err = NULL;

    if (opts == NULL)
        opts = &o;
    opts->executor = executor = executors[i];
    ck_assert_msg(fj_notify_listener_new(transport, &target, 1, opts, &made, &err) == FJ_OK, "%s",
                  fj_error_text(err));
    return made;
}

static void add(const fj_endpoint *endpoint, const fj_notify_filter *filter, const char *name)
{
    fj_error *err = NULL;

    ck_assert_msg(fj_notify_listener_add(listener, endpoint, filter, (void *)(uintptr_t)name, &err) == FJ_OK,
                  "%s", fj_error_text(err));
}

static void start(void)
{
    fj_error *err = NULL;

    ck_assert_msg(fj_notify_listener_start(listener, &err) == FJ_OK, "%s", fj_error_text(err));
}

static void say(fj_priority priority, const char *event, json_t *payload)
{
    ck_assert_int_eq(fj_notifier_notify(notifier, priority, event, payload, NULL, NULL), FJ_OK);
}

/* Until endpoints were called @p n times in all. */
static void await_handled(unsigned n)
{
    fj_deadline by = fj_in_ms(PATIENCE_MS);

    for (;;) {
        unsigned now = fj__eventcount_read(&changed);
        if (atomic_load(&handled) >= n)
            return;
        if (strcmp(executor, "threading") == 0)
            ck_assert_msg(fj__eventcount_wait(&changed, now, by), "%u of %u", atomic_load(&handled), n);
        else
            ck_assert_int_eq(fj_notify_listener_step(listener, by, NULL), FJ_OK);
    }
}

static void stop(void)
{
    fj_error *err = NULL;

    fj_notify_listener_stop(listener);
    ck_assert_msg(fj_notify_listener_wait(listener, fj_in_ms(PATIENCE_MS), &err) == FJ_OK, "%s",
                  fj_error_text(err));
}

static const json_t *nth(size_t i, size_t part)
{
    ck_assert_uint_lt(i, json_array_size(seen));
    return json_array_get(json_array_get(seen, i), part);
}

static const char *text(const json_t *value)
{
    ck_assert(json_is_string(value));
    return json_string_value(value);
}

/* Nothing is left for one who comes now, but @p n. */
static void expect_left(unsigned n)
{
    listener = fj_notify_listener_free(listener);
    atomic_store(&handled, 0);
    json_array_clear(seen);
    listener = listener_of(0, NULL);
    add(&plain, NULL, "late");
    start();
    await_handled(n);
    const fj_deadline passed = { .ns = 1 };
    ck_assert_int_eq(fj_notify_listener_step(listener, passed, NULL), FJ_TIMEOUT);
    ck_assert_uint_eq(atomic_load(&handled), n);
}

/* ---- who gets what ------------------------------------------------------------------------------ */

START_TEST(each_priority_comes_to_its_method)
{
    listener = listener_of(_i, NULL);
    add(_i == 0 ? &plain : &all, NULL,
        "all"); /* under blocking a task's loop is the thread's, as long as that lives */
    start();
    for (unsigned p = 0; p < FJ_PRIORITIES; p++) {
        say((fj_priority)p, "an.event", json_pack("{s:i}", "n", (int)p));
        await_handled(p + 1);
        ck_assert_str_eq(text(nth(p, 1)), fj_priority_name((fj_priority)p));
        const json_t *args = nth(p, 2);
        ck_assert_uint_eq(json_object_size(args), 4);
        ck_assert_str_eq(text(json_object_get(args, "publisher_id")), "me.host1");
        ck_assert_str_eq(text(json_object_get(args, "event_type")), "an.event");
        ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(args, "payload"), "n")), (int)p);
        ck_assert_uint_eq(json_object_size(json_object_get(args, "metadata")), 2);
        ck_assert(json_is_null(json_object_get(nth(p, 3), "client_timeout")));
    }
    stop();
}
END_TEST

START_TEST(what_was_sent_before_anybody_listened_has_waited)
{
    for (int i = 0; i < 100; i++)
        say(FJ_NOTIFY_INFO, "e", json_integer(i));
    listener = listener_of(_i, NULL);
    add(&info, NULL, "info");
    start();
    await_handled(100);
    stop();
    expect_left(0);
}
END_TEST

START_TEST(endpoints_get_it_in_their_order_if_their_filters_fit)
{
    const fj_notify_rule state[] = { { "state", "act" } };
    const fj_notify_filter fits =
        FJ_NOTIFY_FILTER(.event_type = "compute\\.", .payload = state, .payload_count = 1);
    const fj_notify_filter not_it = FJ_NOTIFY_FILTER(.publisher_id = "host1");

    listener = listener_of(_i, NULL);
    add(&info, &fits, "first");
    add(&info, &not_it, "second"); /* from the beginning: not anywhere */
    add(_i == 0 ? &info : &coro, NULL, "third");
    start();
    say(FJ_NOTIFY_INFO, "compute.create", json_pack("{s:s}", "state", "active"));
    await_handled(2);
    ck_assert_str_eq(text(nth(0, 0)), "first");
    ck_assert_str_eq(text(nth(1, 0)), "third");
    say(FJ_NOTIFY_INFO, "volume.create", json_pack("{s:s}", "state", "active"));
    await_handled(3);
    ck_assert_str_eq(text(nth(2, 0)), "third");
    stop();
    ck_assert_uint_eq(atomic_load(&handled), 3);
}
END_TEST

START_TEST(a_pattern_that_is_none_is_refused)
{
    const fj_notify_filter broken = FJ_NOTIFY_FILTER(.event_type = "(");
    fj_error *err = NULL;

    listener = listener_of(0, NULL);
    ck_assert_int_eq(fj_notify_listener_add(listener, &info, &broken, NULL, &err), FJ_BAD_VALUE);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "\"(\""));
    fj_error_free(err);
}
END_TEST

/* ---- what becomes of it ------------------------------------------------------------------------- */

START_TEST(what_fails_comes_again_where_that_is_allowed)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;

    o.allow_requeue = true;
    o.slots = 1;
    atomic_store(&requeues_left, 6);
    listener = listener_of(_i, &o);
    add(&late, NULL, "late");
    start();
    say(FJ_NOTIFY_INFO, "e", NULL);
    await_handled(1);
    ck_assert_uint_eq(atomic_load(&requeues_left), 0);
    stop();
    expect_left(0);
}
END_TEST

START_TEST(what_fails_is_done_with_where_it_may_not_come_again)
{
    listener = listener_of(_i, NULL);
    add(&fails, NULL, "first");
    add(&info, NULL, "second");
    start();
    say(FJ_NOTIFY_INFO, "e", NULL);
    await_handled(1);
    stop();
    ck_assert_uint_eq(atomic_load(&handled), 1); /* the chain ends at who fails */
    ck_assert_uint_eq(said("info failed", "this endpoint fails"), 1);
    expect_left(0);
}
END_TEST

START_TEST(one_that_is_deferred_is_done_when_it_is_answered)
{
    listener = listener_of(_i, NULL);
    add(&keeps, NULL, "keeps");
    start();
    say(FJ_NOTIFY_INFO, "e", NULL);
    await_handled(1);
    fj_request *req = atomic_exchange(&kept, NULL);
    ck_assert_int_eq(fj_request_reply(req, NULL, NULL), FJ_OK);
    fj_request_unref(req);
    stop();
    expect_left(0);
}
END_TEST

START_TEST(one_that_is_deferred_when_its_listener_goes_comes_again)
{
    listener = listener_of(_i, NULL);
    add(&keeps, NULL, "keeps");
    start();
    say(FJ_NOTIFY_INFO, "e", NULL);
    await_handled(1);
    listener = fj_notify_listener_free(listener); /* given up after two seconds */
    fj_request_unref(atomic_exchange(&kept, NULL));
    expect_left(1);
}
END_TEST

START_TEST(one_of_a_priority_that_is_none_is_left_out)
{

    listener = listener_of(_i, NULL);
    ck_assert_int_eq(fj_notify_listener_start(listener, NULL), FJ_BAD_ARGS); /* nobody wants anything */
    add(&info, NULL, "info");
    start();
    /* An RPC cast to the same queue is no notification. */
    const fj_target there = FJ_TARGET(.topic = "notifications", .server = "info");
    fj_client *client = NULL;
    ck_assert_int_eq(fj_client_new(transport, &there, NULL, &client, NULL), FJ_OK);
    ck_assert_int_eq(fj_client_cast(client, "method", NULL, NULL, NULL), FJ_OK);
    fj_client_free(client);
    say(FJ_NOTIFY_INFO, "e", NULL);
    await_handled(1);
    stop();
    ck_assert_uint_eq(said("unknown priority", NULL), 1);
    expect_left(0);
}
END_TEST

/* ---- pools -------------------------------------------------------------------------------------- */

START_TEST(a_pool_gets_a_copy_of_everything)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;

    o.pool = "copies";
    listener = listener_of(_i, &o);
    add(&all, NULL, "pool");
    start();
    say(FJ_NOTIFY_INFO, "e", NULL);
    say(FJ_NOTIFY_ERROR, "e", NULL);
    await_handled(2);
    stop();
    expect_left(2); /* those of the queues of the priorities */
}
END_TEST

/* ---- batches ------------------------------------------------------------------------------------ */

static size_t batch_size(size_t i)
{
    return json_array_size(json_object_get(nth(i, 2), "messages"));
}

START_TEST(a_batch_is_given_out_when_it_is_full)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;

    o.batch_size = 10;
    listener = listener_of(_i, &o);
    add(&info, NULL, "info");
    start();
    for (int i = 0; i < 30; i++)
        say(FJ_NOTIFY_INFO, "e", json_integer(i));
    await_handled(3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(batch_size(i), 10);
    const json_t *one = json_array_get(json_object_get(nth(0, 2), "messages"), 0);
    ck_assert_uint_eq(json_object_size(one), 5);
    ck_assert(json_is_object(json_object_get(one, "ctxt")));
    say(FJ_NOTIFY_INFO, "e", json_integer(30));
    stop();
    expect_left(1);
}
END_TEST

START_TEST(a_batch_is_given_out_when_its_time_is_over)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;

    o.batch_size = 10;
    o.batch_timeout = 0.05;
    listener = listener_of(_i, &o);
    add(&plain, NULL, "all");
    start();
    say(FJ_NOTIFY_WARN, "e", NULL);
    say(FJ_NOTIFY_INFO, "e", NULL);
    say(FJ_NOTIFY_INFO, "e", NULL);
    await_handled(2);
    stop();
    size_t messages = 0;
    for (size_t i = 0; i < json_array_size(seen); i++)
        messages += batch_size(i);
    ck_assert_uint_eq(messages, 3);
    expect_left(0);
}
END_TEST

START_TEST(a_batch_that_fails_comes_again_whole)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;

    o.batch_size = 4;
    o.allow_requeue = true;
    o.slots = 1;
    atomic_store(&requeues_left, 2);
    listener = listener_of(_i, &o);
    add(&late, NULL, "late");
    start();
    for (int i = 0; i < 4; i++)
        say(FJ_NOTIFY_INFO, "e", json_integer(i));
    await_handled(1);
    ck_assert_uint_eq(batch_size(0), 4);
    stop();
    expect_left(0);
}
END_TEST

START_TEST(of_a_batch_an_endpoint_gets_what_fits_its_filter)
{
    const fj_notify_filter odd = FJ_NOTIFY_FILTER(.event_type = "odd$");
    const fj_notify_filter none = FJ_NOTIFY_FILTER(.event_type = "none");
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;

    o.batch_size = 6;
    listener = listener_of(_i, &o);
    add(&info, &none, "none");
    add(&info, &odd, "odd");
    add(&info, NULL, "all");
    start();
    for (int i = 0; i < 6; i++)
        say(FJ_NOTIFY_INFO, i % 2 == 1 ? "odd" : "odder", json_integer(i));
    await_handled(2);
    ck_assert_str_eq(text(nth(0, 0)), "odd");
    ck_assert_uint_eq(batch_size(0), 3);
    ck_assert_uint_eq(batch_size(1), 6);
    stop();
}
END_TEST

/* ---- losses and memory -------------------------------------------------------------------------- */

START_TEST(a_lost_connection_loses_no_notification)
{
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;

    o.allow_requeue = true;
    atomic_store(&requeues_left, 50);
    listener = listener_of(_i, &o);
    add(&late, NULL, "info");
    start();
    for (int i = 0; i < 200; i++) {
        say(FJ_NOTIFY_INFO, "e", json_integer(i));
        if (i % 20 == 10)
            ck_assert_int_eq(fj_fake_disconnect(transport, NULL), FJ_OK);
    }
    await_handled(200);
    stop();
    json_t *numbers = json_object();
    for (size_t i = 0; i < json_array_size(seen); i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "%d", (int)json_integer_value(json_object_get(nth(i, 2), "payload")));
        ck_assert_int_eq(json_object_set_new(numbers, key, json_true()), 0);
    }
    ck_assert_uint_eq(json_object_size(numbers), 200);
    json_decref(numbers);
}
END_TEST

static void listen_and_go(void)
{
    const fj_notify_filter filter = FJ_NOTIFY_FILTER(.event_type = "e", .publisher_id = "m");
    fj_notify_listener_opts o = FJ_NOTIFY_LISTENER_OPTS_INIT;
    const fj_target targets[] = { FJ_TARGET(.topic = "a"), FJ_TARGET(.topic = "b", .exchange = "x") };
    const fj_deadline passed = { .ns = 1 };

    o.executor = "blocking";
    o.batch_size = 2;
    o.pool = "p";
    if (fj_notify_listener_new(transport, targets, 2, &o, &other, NULL) == FJ_OK &&
        fj_notify_listener_add(other, &info, &filter, (void *)(uintptr_t) "x", NULL) == FJ_OK &&
        fj_notify_listener_start(other, NULL) == FJ_OK)
        ck_assert_int_ne(fj_notify_listener_step(other, passed, NULL), FJ_OK);
    other = fj_notify_listener_free(other);
}

START_TEST(memory_may_run_out_at_any_moment)
{
    unsigned long counted;

    for (unsigned long nth_time = 1;; nth_time++) {
        (void)fj__alloc_fail(nth_time, false);
        listen_and_go();
        counted = fj__alloc_fail(0, false);
        if (counted < nth_time)
            break;
    }
    ck_assert_uint_gt(counted, 20);
}
END_TEST

/* ---- filters ------------------------------------------------------------------------------------ */

static const struct {
    const char *pattern, *text; /* text NULL: a number */
    bool fits;
} patterns[] = {
    { "compute", "compute.create", true },
    { "create", "compute.create", false },
    { "^compute\\..*", "compute.create", true },
    { "compute$", "compute.create", false },
    { "compute$", "compute\n", true },
    { "compute\\Z", "compute\n", false },
    { "(?P<a>x)(?P=a)", "xx", true },
    { ".*b", "a\nb", false },
    { "\\w+$", "\xc3\xa4h", true },
    { "(?i)ABC", "abc", true },
    { "", "anything", true },
    { ".*", NULL, false },
    { "(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false },
};

START_TEST(patterns_are_those_of_python)
{
    const fj_notify_rule rule[] = { { "k", patterns[_i].pattern } };
    const fj_notify_filter by_context = FJ_NOTIFY_FILTER(.context = rule, .context_count = 1);
    const fj_notify_filter by_metadata = FJ_NOTIFY_FILTER(.metadata = rule, .metadata_count = 1);
    const fj_notify_filter by_event = FJ_NOTIFY_FILTER(.event_type = patterns[_i].pattern);
    fj__filter *f = NULL;
    json_t *value = patterns[_i].text != NULL ? json_string(patterns[_i].text) : json_integer(5);
    json_t *args = json_pack("{s:O, s:{s:O}, s:{}}", "event_type", value, "metadata", "k", value, "payload");
    json_t *context = json_pack("{s:O}", "k", value), *empty = json_object();

    ck_assert_int_eq(fj__filter_new(&by_context, &f, NULL), FJ_OK);
    ck_assert_int_eq(fj__filter_fits(f, context, args), patterns[_i].fits);
    ck_assert(!fj__filter_fits(f, empty, args));
    fj__filter_free(f);
    ck_assert_int_eq(fj__filter_new(&by_metadata, &f, NULL), FJ_OK);
    ck_assert_int_eq(fj__filter_fits(f, empty, args), patterns[_i].fits);
    fj__filter_free(f);
    ck_assert_int_eq(fj__filter_new(&by_event, &f, NULL), FJ_OK);
    ck_assert_int_eq(fj__filter_fits(f, empty, args), patterns[_i].fits);
    fj__filter_free(f);
    json_decref(empty);
    json_decref(context);
    json_decref(args);
    json_decref(value);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("notify_listener");
    TCase *tc = tcase_create("notify_listener");
    SRunner *r = srunner_create(s);
    const int n = (int)fj__countof(executors);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, each_priority_comes_to_its_method, 0, n);
    tcase_add_loop_test(tc, what_was_sent_before_anybody_listened_has_waited, 0, n);
    tcase_add_loop_test(tc, endpoints_get_it_in_their_order_if_their_filters_fit, 0, n);
    tcase_add_test(tc, a_pattern_that_is_none_is_refused);
    tcase_add_loop_test(tc, what_fails_comes_again_where_that_is_allowed, 0, n);
    tcase_add_loop_test(tc, what_fails_is_done_with_where_it_may_not_come_again, 0, n);
    tcase_add_loop_test(tc, one_that_is_deferred_is_done_when_it_is_answered, 0, n);
    tcase_add_loop_test(tc, one_that_is_deferred_when_its_listener_goes_comes_again, 0, n);
    tcase_add_loop_test(tc, one_of_a_priority_that_is_none_is_left_out, 0, n);
    tcase_add_loop_test(tc, a_pool_gets_a_copy_of_everything, 0, n);
    tcase_add_loop_test(tc, a_batch_is_given_out_when_it_is_full, 0, n);
    tcase_add_loop_test(tc, a_batch_is_given_out_when_its_time_is_over, 0, n);
    tcase_add_loop_test(tc, a_batch_that_fails_comes_again_whole, 0, n);
    tcase_add_loop_test(tc, of_a_batch_an_endpoint_gets_what_fits_its_filter, 0, n);
    tcase_add_loop_test(tc, a_lost_connection_loses_no_notification, 0, n);
    tcase_add_test(tc, memory_may_run_out_at_any_moment);
    tcase_add_loop_test(tc, patterns_are_those_of_python, 0, (int)fj__countof(patterns));
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
