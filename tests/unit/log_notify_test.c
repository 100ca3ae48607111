/* SPDX-License-Identifier: Apache-2.0 */
/* The log as notifications: what is sent, what is not, and that nobody waits. */
#include "base/log.h"
#include "tests/support/leaks.h"
#include "tests/support/said.h"

#include <check.h>
#include <fjord/fjord.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static fj_transport *transport;
static fj_notifier *notifier;

static void open_with(const char *const *drivers, const char *url)
{
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;

    o.drivers = drivers;
    o.publisher_id = "me";
    ck_assert_int_eq(fj_transport_open(NULL, url, &transport, NULL), FJ_OK);
    ck_assert_int_eq(fj_notifier_new(transport, &o, &notifier, NULL), FJ_OK);
}

static const char *const to_test[] = { "test", NULL };
static const char *const to_log_and_test[] = { "log", "test", NULL };
static const char *const to_broker[] = { "messagingv2", NULL };

static void setup(void)
{
    leaks_begin();
    said_begin();
    json_decref(fj_notify_test_take());
}

static void teardown(void)
{
    ck_assert_int_eq(fj_log_notify(NULL, NULL, NULL), FJ_OK);
    notifier = fj_notifier_free(notifier);
    transport = fj_transport_free(transport);
    leaks_end("the test");
}

static void begin(fj_log_as as, fj_log_level level)
{
    fj_log_notify_opts o = FJ_LOG_NOTIFY_OPTS_INIT;

    o.as = as;
    o.level = level;
    ck_assert_int_eq(fj_log_notify(notifier, &o, NULL), FJ_OK);
}

/* All that was sent, once it was. */
static json_t *ended(size_t n)
{
    ck_assert_int_eq(fj_log_notify(NULL, NULL, NULL), FJ_OK);
    json_t *all = fj_notify_test_take();
    ck_assert_uint_eq(json_array_size(all), n);
    return all;
}

static const json_t *message(const json_t *all, size_t i)
{
    return json_object_get(json_array_get(all, i), "message");
}

static const char *text(const json_t *object, const char *key)
{
    const char *got = json_string_value(json_object_get(object, key));

    ck_assert_msg(got != NULL, "no %s", key);
    return got;
}

START_TEST(lines_are_sent_as_records_of_python)
{
    open_with(to_test, "fake://");
    begin(FJ_LOG_AS_RECORDS, FJ_LOG_WARNING);
    fj__log(FJ_LOG_ERROR, "mine", "it \xff went\nwrong: %d", 7);
    fj__log(FJ_LOG_WARNING, "mine", "take care");
    fj__log(FJ_LOG_INFO, "mine", "not this");
    json_t *all = ended(2);
    const json_t *payload = json_object_get(message(all, 0), "payload");
    ck_assert_str_eq(text(message(all, 0), "event_type"), "logrecord");
    ck_assert_str_eq(text(message(all, 0), "publisher_id"), "me");
    ck_assert_str_eq(text(message(all, 0), "priority"), "ERROR");
    ck_assert_str_eq(text(message(all, 1), "priority"), "WARN");
    ck_assert_uint_eq(json_object_size(payload), 12);
    ck_assert_str_eq(text(payload, "name"), "mine");
    ck_assert_str_eq(text(payload, "levelname"), "ERROR");
    ck_assert_int_eq(json_integer_value(json_object_get(payload, "levelno")), 40);
    ck_assert_str_eq(text(payload, "msg"), "it \\xff went\\nwrong: 7");
    ck_assert_ptr_nonnull(strstr(text(payload, "pathname"), "log_notify_test.c"));
    ck_assert_int_gt(json_integer_value(json_object_get(payload, "lineno")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(payload, "process")), getpid());
    json_decref(all);
}
END_TEST

START_TEST(errors_are_sent_as_oslo_publishes_them)
{
    open_with(to_test, "fake://");
    begin(FJ_LOG_AS_ERRORS, FJ_LOG_TRACE);
    fj__log(FJ_LOG_ERROR, "mine", "it went wrong");
    fj__log(FJ_LOG_WARNING, "mine", "not this");
    json_t *all = ended(1);
    ck_assert_str_eq(text(message(all, 0), "event_type"), "error_notification");
    ck_assert_str_eq(text(message(all, 0), "publisher_id"), "error.publisher");
    ck_assert_str_eq(text(json_object_get(message(all, 0), "payload"), "error"), "it went wrong");
    json_decref(all);
}
END_TEST

static fj_transport *open_to_publish(const char *driver)
{
    fj_conf *conf = fj_conf_new();
    fj_transport *one = NULL;

    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", "transport_url", "fake://", NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "DEFAULT", "publish_errors", "true", NULL), FJ_OK);
    ck_assert_int_eq(fj_conf_set(conf, "oslo_messaging_notifications", "driver", driver, NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, NULL, &one, NULL), FJ_OK);
    fj_conf_free(conf);
    return one;
}

static void sent_are(size_t n)
{
    json_t *all = fj_notify_test_take();

    ck_assert_uint_eq(json_array_size(all), n);
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(text(message(all, i), "event_type"), "error_notification");
    json_decref(all);
}

START_TEST(publish_errors_lasts_as_long_as_a_transport_that_says_so)
{
    fj_transport *one = open_to_publish("test"), *other = open_to_publish("test");

    fj__log(FJ_LOG_ERROR, "mine", "it went wrong");
    fj__log(FJ_LOG_WARNING, "mine", "not this");
    one = fj_transport_free(one);
    fj__log(FJ_LOG_ERROR, "mine", "again");
    other = fj_transport_free(other);
    sent_are(2);
    fj__log(FJ_LOG_ERROR, "mine", "nobody is there to send it");
    sent_are(0);
    one = open_to_publish("noop");
    other = open_to_publish("no-such-driver");
    fj__log(FJ_LOG_ERROR, "mine", "it goes nowhere");
    one = fj_transport_free(one);
    other = fj_transport_free(other);
    sent_are(0);
}
END_TEST

START_TEST(publish_errors_leaves_a_programs_own_sending_alone)
{
    open_with(to_test, "fake://");
    begin(FJ_LOG_AS_RECORDS, FJ_LOG_ERROR);
    fj_transport *one = open_to_publish("test");
    fj__log(FJ_LOG_ERROR, "mine", "a record");
    one = fj_transport_free(one);
    fj__log(FJ_LOG_ERROR, "mine", "another");
    json_t *all = ended(2);
    ck_assert_str_eq(text(message(all, 1), "event_type"), "logrecord");
    json_decref(all);
}
END_TEST

START_TEST(publish_errors_begins_anew_in_a_forked_child)
{
    fj_transport *one = open_to_publish("test");
    int status = -1;

    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        fj_transport *mine = open_to_publish("test");
        fj__log(FJ_LOG_ERROR, "mine", "in the child");
        one = fj_transport_free(one);
        mine = fj_transport_free(mine);
        json_t *all = fj_notify_test_take();
        size_t n = json_array_size(all);
        json_decref(all);
        _exit(n == 1 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fj__log(FJ_LOG_ERROR, "mine", "in the parent");
    one = fj_transport_free(one);
    sent_are(1);
}
END_TEST

START_TEST(what_sending_logs_is_not_sent)
{
    open_with(to_log_and_test, "fake://");
    begin(FJ_LOG_AS_RECORDS, FJ_LOG_TRACE);
    fj__log(FJ_LOG_ERROR, "mine", "once");
    fj__log(FJ_LOG_ERROR, "amqp", "of sending");
    fj__log(FJ_LOG_ERROR, "notify", "of sending");
    json_decref(ended(1));
    ck_assert_uint_eq(said("oslo.messaging.notification.logrecord", "once"), 1);
}
END_TEST

START_TEST(nobody_waits_for_a_broker_that_is_away)
{
    enum { MANY = 3000 };

    open_with(to_broker, "rabbit://guest:guest@127.0.0.1:1/");
    begin(FJ_LOG_AS_RECORDS, FJ_LOG_ERROR);
    for (int i = 0; i < MANY; i++)
        fj__log(FJ_LOG_ERROR, "mine", "line %d", i);
    ck_assert_uint_eq(said("mine", "line"), MANY);
    ck_assert_int_eq(fj_log_notify(NULL, NULL, NULL), FJ_OK);
    ck_assert_msg(said("lines of the log were not sent", NULL) > 0, "%.300s", said_text());
}
END_TEST

START_TEST(it_begins_anew_and_a_forked_child_sends_nothing)
{
    int status = -1;

    open_with(to_test, "fake://");
    begin(FJ_LOG_AS_RECORDS, FJ_LOG_ERROR);
    begin(FJ_LOG_AS_RECORDS, FJ_LOG_ERROR);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        fj__log(FJ_LOG_ERROR, "mine", "in the child");
        _exit(fj_log_notify(NULL, NULL, NULL) == FJ_OK ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fj__log(FJ_LOG_ERROR, "mine", "in the parent");
    json_decref(ended(1));
}
END_TEST

#ifdef __SANITIZE_THREAD__ /* where there are threads, none may be made in a child */
static const bool tsan = true;
#else
static const bool tsan = false;
#endif

int main(void)
{
    Suite *s = suite_create("log_notify");
    TCase *tc = tcase_create("log_notify");
    SRunner *r = srunner_create(s);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, lines_are_sent_as_records_of_python);
    tcase_add_test(tc, errors_are_sent_as_oslo_publishes_them);
    tcase_add_test(tc, publish_errors_lasts_as_long_as_a_transport_that_says_so);
    tcase_add_test(tc, publish_errors_leaves_a_programs_own_sending_alone);
    if (!tsan)
        tcase_add_test(tc, publish_errors_begins_anew_in_a_forked_child);
    tcase_add_test(tc, what_sending_logs_is_not_sent);
    tcase_add_test(tc, nobody_waits_for_a_broker_that_is_away);
    tcase_add_test(tc, it_begins_anew_and_a_forked_child_sends_nothing);
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
