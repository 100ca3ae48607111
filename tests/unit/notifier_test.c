/* SPDX-License-Identifier: Apache-2.0 */
/* Notifiers: what is said, through which drivers it goes, and what becomes of failures. */
#include "base/alloc.h"
#include "tests/support/in_task.h"
#include "tests/support/leaks.h"
#include "tests/support/said.h"

#include <check.h>
#include <fjord/fjord.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUP "oslo_messaging_notifications"

static fj_conf *conf;
static fj_transport *transport;
static fj_notifier *notifier;
static char routes[] = "/tmp/fj-routes-XXXXXX";

static void setup(void)
{
    leaks_begin();
    said_begin();
    conf = fj_conf_new();
    ck_assert_ptr_nonnull(conf);
    json_decref(fj_notify_test_take());
}

static void teardown(void)
{
    notifier = fj_notifier_free(notifier);
    transport = fj_transport_free(transport);
    fj_conf_free(conf);
    leaks_end("the test");
}

static void set(const char *key, const char *value)
{
    ck_assert_int_eq(fj_conf_set(conf, GROUP, key, value, NULL), FJ_OK);
}

static fj_code try_open(const fj_notifier_opts *opts, fj_error **err)
{
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, NULL), FJ_OK);
    return fj_notifier_new(transport, opts, &notifier, err);
}

static void open_with(const char *const *drivers)
{
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;
    fj_error *err = NULL;

    o.publisher_id = "compute.host1";
    o.drivers = drivers;
    ck_assert_msg(try_open(&o, &err) == FJ_OK, "%s", fj_error_text(err));
}

static const char *const to_test[] = { "test", NULL };
static const char *const to_both[] = { "test", "messagingv2", "test", NULL };
static const char *const to_routing[] = { "routing", NULL };

static json_t *taken(size_t n)
{
    json_t *all = fj_notify_test_take();

    ck_assert_uint_eq(json_array_size(all), n);
    return all;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    ck_assert_msg(text != NULL, "no %s", key);
    return text;
}

START_TEST(a_notification_has_oslos_members)
{
    unsigned year, month, day, hour, minute, second;
    int n = 0;

    open_with(to_test);
    ck_assert_int_eq(fj_notifier_info(notifier, "compute.create", json_pack("{s:i}", "id", 7), NULL, NULL),
                     FJ_OK);
    json_t *all = taken(1);
    const json_t *message = json_object_get(json_array_get(all, 0), "message");
    ck_assert_uint_eq(json_object_size(message), 6);
    ck_assert_str_eq(text_at(message, "publisher_id"), "compute.host1");
    ck_assert_str_eq(text_at(message, "event_type"), "compute.create");
    ck_assert_str_eq(text_at(message, "priority"), "INFO");
    ck_assert_uint_eq(strlen(text_at(message, "message_id")), 36);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(message, "payload"), "id")), 7);
    ck_assert_int_eq(sscanf(text_at(message, "timestamp"), "%4u-%2u-%2u %2u:%2u:%2u%n", &year, &month, &day,
                            &hour, &minute, &second, &n),
                     6);
    ck_assert(year >= 2020 && n == 19);
    json_decref(all);
}
END_TEST

static fj_code (*const by_priority[])(fj_notifier *, const char *, json_t *, const fj_notify_opts *,
                                      fj_error **) = { fj_notifier_audit, fj_notifier_debug,
                                                       fj_notifier_info,  fj_notifier_warn,
                                                       fj_notifier_error, fj_notifier_critical,
                                                       fj_notifier_sample };

START_TEST(each_priority_is_named_by_its_function)
{
    static const char *const upper[] = { "AUDIT", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL", "SAMPLE" };

    open_with(to_test);
    for (size_t i = 0; i < FJ_PRIORITIES; i++)
        ck_assert_int_eq(by_priority[i](notifier, "e", NULL, NULL, NULL), FJ_OK);
    json_t *all = taken(FJ_PRIORITIES);
    for (size_t i = 0; i < FJ_PRIORITIES; i++) {
        const json_t *message = json_object_get(json_array_get(all, i), "message");
        ck_assert_str_eq(text_at(message, "priority"), upper[i]);
        ck_assert(json_is_null(json_object_get(message, "payload")));
    }
    json_decref(all);
}
END_TEST

START_TEST(of_a_context_only_what_is_safe_goes_out)
{
    fj_notify_opts o = FJ_NOTIFY_OPTS_INIT;
    json_t *context = json_pack("{s:s, s:s, s:s, s:[s]}", "auth_token", "secret", "user_id", "u", "my_own", "x",
                                "roles", "member");

    open_with(to_test);
    o.context = context;
    o.publisher_id = "other";
    ck_assert_int_eq(fj_notifier_info(notifier, "e", NULL, &o, NULL), FJ_OK);
    json_t *all = taken(1), *want = json_pack("{s:s, s:[s]}", "user_id", "u", "roles", "member");
    ck_assert(json_equal(json_object_get(json_array_get(all, 0), "context"), want));
    ck_assert_str_eq(text_at(json_object_get(json_array_get(all, 0), "message"), "publisher_id"), "other");
    json_decref(want);
    json_decref(all);
    json_decref(context);
}
END_TEST

START_TEST(the_configuration_says_where_notifications_go)
{
    set("driver", "test");
    set("retry", "3");
    open_with(NULL);
    ck_assert(fj_notifier_is_enabled(notifier));
    ck_assert_int_eq(fj_notifier_warn(notifier, "e", NULL, NULL, NULL), FJ_OK);
    json_t *all = taken(1);
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(all, 0), "retry")), 3);
    json_decref(all);
}
END_TEST

START_TEST(without_drivers_a_notifier_is_disabled_and_does_nothing)
{
    fj_future *future = NULL;

    open_with(NULL);
    ck_assert(!fj_notifier_is_enabled(notifier));
    ck_assert_int_eq(fj_notifier_info(notifier, "e", json_string("x"), NULL, NULL), FJ_OK);
    ck_assert_int_eq(
        fj_notifier_notify_async(notifier, FJ_NOTIFY_INFO, "e", json_string("x"), NULL, &future, NULL), FJ_OK);
    ck_assert(fj_future_done(future));
    fj_future_unref(future);
    ck_assert_int_eq(fj_notifier_flush(notifier, fj_in_ms(1000), NULL), FJ_OK);
}
END_TEST

START_TEST(a_driver_that_is_not_there_is_logged_and_left_out)
{
    static const char *const drivers[] = { "nosuch", "test", NULL };

    open_with(drivers);
    ck_assert_uint_eq(said("nosuch", "left out"), 1);
    ck_assert_int_eq(fj_notifier_info(notifier, "e", NULL, NULL, NULL), FJ_OK);
    json_decref(taken(1));
}
END_TEST

START_TEST(several_drivers_all_get_it_once)
{
    fj_future *future = NULL;

    open_with(to_both);
    ck_assert_int_eq(fj_notifier_info(notifier, "e", NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_notify_async(notifier, FJ_NOTIFY_INFO, "e", NULL, NULL, &future, NULL), FJ_OK);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(5000), NULL, NULL), FJ_OK);
    fj_future_unref(future);
    ck_assert_int_eq(fj_notifier_flush(notifier, fj_in_ms(5000), NULL), FJ_OK);
    json_decref(taken(2));
}
END_TEST

START_TEST(the_log_driver_hides_secrets)
{
    static const char *const drivers[] = { "log", NULL };

    open_with(drivers);
    ck_assert_int_eq(fj_notifier_warn(notifier, "user.create",
                                      json_pack("{s:s, s:[{s:s}], s:s}", "adminPass", "hide-1", "all",
                                                "Auth_Token", "hide-2", "name", "shown"),
                                      NULL, NULL),
                     FJ_OK);
    ck_assert_msg(said("oslo.messaging.notification.user.create", "shown") == 1, "%s", said_text());
    ck_assert_uint_eq(said("hide-", NULL), 0);
    ck_assert_int_eq(fj_notifier_sample(notifier, "e", NULL, NULL, NULL), FJ_UNSUPPORTED);
}
END_TEST

static void write_routes(const char *text)
{
    int fd = mkstemp(routes);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
    (void)close(fd);
    set("routing_config", routes);
}

START_TEST(routing_chooses_by_events_and_priorities)
{
    write_routes(
        "group_1:\n  test:\n    accepted_events: ['compute.*']\n    accepted_priorities: ['ERROR', warn]\n"
        "  noop:\n    accepted_events: ['*']\n"
        "group_2:\n  test:\n    accepted_events:\n      - volume.delete\n  nosuch: {}\n");
    open_with(to_routing);
    ck_assert_int_eq(fj_notifier_info(notifier, "compute.create", NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_error(notifier, "compute.create", NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_info(notifier, "volume.delete", NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_error(notifier, "volume.create", NULL, NULL, NULL), FJ_OK);
    json_t *all = taken(2);
    ck_assert_str_eq(text_at(json_object_get(json_array_get(all, 0), "message"), "priority"), "ERROR");
    ck_assert_str_eq(text_at(json_object_get(json_array_get(all, 1), "message"), "event_type"),
                     "volume.delete");
    json_decref(all);
    ck_assert_uint_eq(said("nosuch", "left out"), 1);
    (void)unlink(routes);
}
END_TEST

static const char *const broken_routes[] = { "a: [",
                                             "- a\n",
                                             "g: [x]\n",
                                             "g:\n  test: [x]\n",
                                             "g:\n  test:\n    accepted_events: {a: b}\n",
                                             "g:\n  routing:\n    accepted_events: ['*']\n" };

START_TEST(a_broken_routing_file_is_refused_by_its_line)
{
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;
    fj_error *err = NULL;

    write_routes(broken_routes[_i]);
    o.drivers = to_routing;
    ck_assert_int_eq(try_open(&o, &err), FJ_BAD_CONFIG);
    ck_assert_msg(strstr(fj_error_text(err), routes) != NULL, "%s", fj_error_text(err));
    fj_error_free(err);
    (void)unlink(routes);
}
END_TEST

START_TEST(a_routing_file_that_is_empty_or_not_named_routes_nothing)
{
    if (_i == 1)
        write_routes("");
    open_with(to_routing);
    ck_assert_int_eq(fj_notifier_info(notifier, "e", NULL, NULL, NULL), FJ_OK);
    json_decref(taken(0));
    if (_i == 1)
        (void)unlink(routes);
}
END_TEST

START_TEST(what_cannot_be_sent_is_said_and_logged)
{
    static const char *const drivers[] = { "messagingv2", NULL };
    fj_notify_opts o = FJ_NOTIFY_OPTS_INIT;
    fj_error *err = NULL;
    json_t *list = json_array();

    open_with(drivers);
    o.context = list;
    ck_assert_int_eq(fj_notifier_info(notifier, "e", json_string("x"), &o, &err), FJ_BAD_VALUE);
    err = fj_error_free(err);
    ck_assert_int_eq(fj_notifier_notify(notifier, (fj_priority)9, "e", NULL, NULL, &err), FJ_BAD_VALUE);
    err = fj_error_free(err);
    ck_assert_int_eq(fj_notifier_info(notifier, NULL, json_object(), NULL, NULL), FJ_BAD_VALUE);
    ck_assert_msg(said("could not be sent", NULL) == 3, "%s", said_text());
    json_decref(list);
}
END_TEST

START_TEST(a_broker_that_is_away_fails_what_has_no_retry)
{
    static const char *const drivers[] = { "messaging", NULL };
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;
    fj_notify_opts call = FJ_NOTIFY_OPTS_INIT;
    fj_error *err = NULL;
    fj_future *future = NULL;

    set("transport_url", "rabbit://guest:guest@127.0.0.1:1/");
    o.drivers = drivers;
    o.retry = 0;
    call.by = fj_in_ms(5000);
    ck_assert_int_eq(try_open(&o, &err), FJ_OK);
    ck_assert_int_eq(fj_notifier_info(notifier, "lost.event", NULL, &call, &err), FJ_UNREACHABLE);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    err = fj_error_free(err);
    ck_assert_uint_eq(said("lost.event", "could not be sent"), 1);
    ck_assert_int_eq(fj_notifier_notify_async(notifier, FJ_NOTIFY_INFO, "e", NULL, &call, &future, NULL),
                     FJ_OK);
    ck_assert_int_eq(fj_future_wait(future, fj_in_ms(5000), NULL, NULL), FJ_UNREACHABLE);
    fj_future_unref(future);
    ck_assert_int_eq(fj_notifier_flush(notifier, fj_in_ms(5000), NULL), FJ_UNREACHABLE);
}
END_TEST

static fj_code prefixed(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err)
{
    (void)context, (void)err;
    *ret = json_pack("{s:O, s:s}", "wrapped", in, "by", (const char *)user);
    return FJ_OK;
}

static fj_code refused(void *user, json_t *in, json_t **ret, fj_error **err)
{
    (void)user, (void)in, (void)ret;
    return fj_fail(err, FJ_BAD_VALUE, "not this context");
}

START_TEST(a_serializer_makes_payload_and_context)
{
    fj_serializer s = FJ_SERIALIZER_INIT;
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;

    s.user = (void *)(uintptr_t) "me";
    s.entity_out = prefixed;
    o.serializer = &s;
    o.drivers = to_test;
    ck_assert_int_eq(try_open(&o, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_info(notifier, "e", json_integer(5), NULL, NULL), FJ_OK);
    s.context_out = refused;
    ck_assert_int_eq(fj_notifier_info(notifier, "e", json_integer(5), NULL, NULL), FJ_BAD_VALUE);
    json_t *all = taken(1);
    const json_t *payload = json_object_get(json_object_get(json_array_get(all, 0), "message"), "payload");
    ck_assert_str_eq(text_at(payload, "by"), "me");
    ck_assert_int_eq(json_integer_value(json_object_get(payload, "wrapped")), 5);
    json_decref(all);
}
END_TEST

static void ten_in_a_task(void)
{
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(fj_notifier_info(notifier, "e", json_integer(i), NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_flush(notifier, fj_in_ms(5000), NULL), FJ_OK);
}

START_TEST(a_task_notifies_as_a_thread_does)
{
    open_with(to_both);
    in_task(ten_in_a_task);
    json_decref(taken(10));
}
END_TEST

START_TEST(priorities_are_read_in_any_case)
{
    fj_priority p;

    for (unsigned i = 0; i < FJ_PRIORITIES; i++) {
        ck_assert(fj_priority_parse(fj_priority_name((fj_priority)i), &p));
        ck_assert_uint_eq(p, i);
    }
    ck_assert(fj_priority_parse("Warning", &p) && p == FJ_NOTIFY_WARN);
    ck_assert(!fj_priority_parse("loud", &p));
    ck_assert(!fj_priority_parse(NULL, &p));
    ck_assert_ptr_null(fj_priority_name((fj_priority)FJ_PRIORITIES));
}
END_TEST

static void say_all(void)
{
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;

    o.drivers = to_both;
    if (fj_notifier_new(transport, &o, &notifier, NULL) != FJ_OK)
        return;
    (void)fj_notifier_info(notifier, "e", json_string("x"), NULL, NULL);
    (void)fj_notifier_notify_async(notifier, FJ_NOTIFY_WARN, "e", json_string("x"), NULL, NULL, NULL);
    notifier = fj_notifier_free(notifier);
}

START_TEST(memory_may_run_out_at_any_moment)
{
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, NULL), FJ_OK);
    unsigned long counted;
    for (unsigned long nth = 1;; nth++) {
        (void)fj__alloc_fail(nth, false);
        say_all();
        counted = fj__alloc_fail(0, false);
        if (counted < nth)
            break;
    }
    ck_assert_uint_gt(counted, 10);
    json_decref(fj_notify_test_take());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("notifier");
    TCase *tc = tcase_create("notifier");
    SRunner *r = srunner_create(s);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_notification_has_oslos_members);
    tcase_add_test(tc, each_priority_is_named_by_its_function);
    tcase_add_test(tc, of_a_context_only_what_is_safe_goes_out);
    tcase_add_test(tc, the_configuration_says_where_notifications_go);
    tcase_add_test(tc, without_drivers_a_notifier_is_disabled_and_does_nothing);
    tcase_add_test(tc, a_driver_that_is_not_there_is_logged_and_left_out);
    tcase_add_test(tc, several_drivers_all_get_it_once);
    tcase_add_test(tc, the_log_driver_hides_secrets);
    tcase_add_test(tc, routing_chooses_by_events_and_priorities);
    tcase_add_loop_test(tc, a_broken_routing_file_is_refused_by_its_line, 0, (int)fj__countof(broken_routes));
    tcase_add_loop_test(tc, a_routing_file_that_is_empty_or_not_named_routes_nothing, 0, 2);
    tcase_add_test(tc, what_cannot_be_sent_is_said_and_logged);
    tcase_add_test(tc, a_broker_that_is_away_fails_what_has_no_retry);
    tcase_add_test(tc, a_serializer_makes_payload_and_context);
    tcase_add_test(tc, a_task_notifies_as_a_thread_does);
    tcase_add_test(tc, priorities_are_read_in_any_case);
    tcase_add_test(tc, memory_may_run_out_at_any_moment);
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
