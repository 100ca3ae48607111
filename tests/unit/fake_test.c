/* SPDX-License-Identifier: Apache-2.0 */
/* The fake transport, seen through the driver's contract alone. */
#include "messaging/internal.h"

#include <fjord/driver.h>
#include <fjord/fake.h>

#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

static fj_driver *driver;

static void open_driver(void)
{
    const fj_driver_ops *ops = NULL;

    ck_assert_int_eq(fj_driver_find(NULL, "fake", &ops, NULL), FJ_OK);
    ck_assert_int_eq(ops->open(NULL, NULL, &driver, NULL), FJ_OK);
}

static void close_driver(void)
{
    driver->ops->close(driver);
    ck_assert_int_eq(driver->ops->stop(driver, fj_in_ms(1000), NULL), FJ_OK);
    driver->ops->free(driver);
}

static fj_listener *listen_to(const char *topic, const char *server, unsigned slots)
{
    fj_target here = FJ_TARGET(.topic = topic, .server = server);
    fj_listen_opts opts = FJ_LISTEN_OPTS_INIT;
    fj_listener *l = NULL;

    opts.slots = slots;
    ck_assert_int_eq(driver->ops->listen(driver, &here, &opts, fj_in_ms(1000), &l, NULL), FJ_OK);
    return l;
}

static void leave(fj_listener *l)
{
    l->ops->close(l);
    ck_assert_int_eq(l->ops->stop(l, fj_in_ms(1000), NULL), FJ_OK);
    l->ops->free(l);
}

static fj_code send_to(fj_target t, const char *method, json_t *args, unsigned flags, int ms, fj_future **ret)
{
    fj_send s = { .size = sizeof s, .target = &t, .method = method, .args = args, .flags = flags };

    s.by = fj_in_ms(ms);
    return driver->ops->send(driver, &s, ret, NULL);
}

static void cast_to(fj_target t, const char *method)
{
    fj_future *f = NULL;

    ck_assert_int_eq(send_to(t, method, NULL, 0, 1000, &f), FJ_OK);
    ck_assert_int_eq(fj_future_result(f, NULL, NULL), FJ_OK);
    fj_future_unref(f);
}

static fj_incoming *take(fj_listener *l)
{
    fj_incoming *in = NULL;
    size_t n = 0;

    return l->ops->poll(l, (fj_deadline){ 1 }, 1, &in, &n, NULL) == FJ_OK ? in : NULL;
}

static const char *name_of(const fj_incoming *in)
{
    return json_string_value(json_object_get(in->message, "method"));
}

static void finish(fj_incoming *in)
{
    ck_assert_ptr_nonnull(in);
    in->ops->done(in);
    in->ops->free(in);
}

static bool readable(fj_listener *l)
{
    struct pollfd p = { .fd = l->ops->fd(l), .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

START_TEST(servers_of_a_topic_take_turns)
{
    fj_listener *a = listen_to("turns", "a", 4), *b = listen_to("turns", "b", 4);
    fj_incoming *in;
    int got_a = 0, got_b = 0;

    for (int i = 0; i < 6; i++)
        cast_to((fj_target)FJ_TARGET(.topic = "turns"), "m");
    for (; (in = take(a)) != NULL; got_a++)
        finish(in);
    for (; (in = take(b)) != NULL; got_b++)
        finish(in);
    ck_assert_int_eq(got_a, 3);
    ck_assert_int_eq(got_b, 3);
    leave(a);
    leave(b);
}
END_TEST

START_TEST(a_server_of_its_own_and_all_of_them_are_reached)
{
    fj_listener *a = listen_to("who", "a", 4), *b = listen_to("who", "b", 4);

    cast_to((fj_target)FJ_TARGET(.topic = "who", .server = "b"), "only_b");
    ck_assert_ptr_null(take(a));
    fj_incoming *in = take(b);
    ck_assert_str_eq(name_of(in), "only_b");
    finish(in);
    cast_to((fj_target)FJ_TARGET(.topic = "who", .fanout = true), "all");
    finish(take(a));
    finish(take(b));
    leave(a);
    leave(b);
}
END_TEST

START_TEST(a_call_gets_its_result)
{
    fj_listener *l = listen_to("calls", "a", 1);
    fj_future *f = NULL;
    json_t *result = NULL;

    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "calls"), "add", json_pack("{s:i}", "a", 1),
                             FJ_SEND_CALL, 1000, &f),
                     FJ_OK);
    fj_incoming *in = take(l);
    ck_assert(in->wants_reply);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(in->message, "args"), "a")), 1);
    ck_assert(json_is_null(json_object_get(in->context, "client_timeout")));
    json_t *answer = json_pack("{s:i}", "sum", 3);
    ck_assert_int_eq(in->ops->reply(in, answer, NULL, NULL), FJ_OK);
    in->ops->free(in);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(1000), &result, NULL), FJ_OK);
    ck_assert_ptr_eq(result, answer); /* nobody else held a part of it */
    json_decref(answer);
    json_decref(result);
    fj_future_unref(f);
    leave(l);
}
END_TEST

START_TEST(a_result_that_others_hold_is_copied)
{
    fj_listener *l = listen_to("copies", "a", 1);
    fj_future *f = NULL;
    json_t *result = NULL, *kept = json_pack("[i]", 1), *answer = json_pack("{s:O}", "kept", kept);

    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "copies"), "m", NULL, FJ_SEND_CALL, 1000, &f),
                     FJ_OK);
    fj_incoming *in = take(l);
    ck_assert_int_eq(in->ops->reply(in, answer, NULL, NULL), FJ_OK);
    in->ops->free(in);
    json_array_append_new(kept, json_integer(2));
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(1000), &result, NULL), FJ_OK);
    ck_assert_uint_eq(json_array_size(json_object_get(result, "kept")), 1);
    json_decref(answer);
    json_decref(kept);
    json_decref(result);
    fj_future_unref(f);
    leave(l);
}
END_TEST

START_TEST(a_failure_arrives_as_a_remote_one)
{
    fj_listener *l = listen_to("fails", "a", 1);
    fj_future *f = NULL;
    fj_error *failure = NULL, *err = NULL;

    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "fails"), "m", NULL, FJ_SEND_CALL, 1000, &f), FJ_OK);
    fj_incoming *in = take(l);
    (void)fj_raise(&failure, "nova.exception", "Lost", json_pack("[s]", "x"), "it is lost");
    ck_assert_int_eq(in->ops->reply(in, NULL, failure, NULL), FJ_OK);
    in->ops->free(in);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(1000), NULL, &err), FJ_REMOTE);
    ck_assert_str_eq(fj_error_remote_class(err), "Lost");
    ck_assert_str_eq(fj_error_remote_module(err), "nova.exception");
    ck_assert_uint_eq(json_array_size(fj_error_remote_args(err)), 1);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_YES);
    fj_error_free(err);
    fj_error_free(failure);
    fj_future_unref(f);
    leave(l);
}
END_TEST

START_TEST(a_call_that_nobody_waits_for_ends_at_its_deadline)
{
    fj_future *f = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "void"), "m", NULL, FJ_SEND_CALL, 20, &f), FJ_OK);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(2000), NULL, &err), FJ_TIMEOUT);
    ck_assert(fj_future_done(f));
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "Timed out waiting for a reply to message ID "));
    fj_error_free(err);
    fj_future_unref(f);
}
END_TEST

START_TEST(only_a_mandatory_message_misses_a_queue_that_never_was)
{
    fj_future *f = NULL;
    fj_error *err = NULL;
    fj_target nowhere = FJ_TARGET(.topic = "nowhere");

    cast_to(nowhere, "dropped");
    ck_assert_int_eq(send_to(nowhere, "m", NULL, FJ_SEND_MANDATORY, 1000, &f), FJ_OK);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(1000), NULL, &err), FJ_UNDELIVERABLE);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_NO);
    fj_error_free(err);
    fj_future_unref(f);
    ck_assert_int_eq(send_to(nowhere, "m", NULL, FJ_SEND_MANDATORY | FJ_SEND_CALL, 1000, &f), FJ_OK);
    ck_assert_int_eq(fj_future_wait(f, fj_in_ms(1000), NULL, NULL), FJ_UNDELIVERABLE);
    fj_future_unref(f);
}
END_TEST

START_TEST(messages_wait_in_a_queue_whose_listener_has_left)
{
    leave(listen_to("stays", "a", 1));
    cast_to((fj_target)FJ_TARGET(.topic = "stays"), "kept");
    fj_listener *l = listen_to("stays", "b", 1);
    fj_incoming *in = take(l);
    ck_assert_str_eq(name_of(in), "kept");
    finish(in);
    leave(l);
}
END_TEST

START_TEST(what_is_given_back_comes_first_and_says_so)
{
    fj_listener *l = listen_to("back", "a", 4);

    cast_to((fj_target)FJ_TARGET(.topic = "back"), "one");
    fj_incoming *in = take(l);
    ck_assert(!in->redelivered);
    in->ops->requeue(in);
    in->ops->free(in);
    cast_to((fj_target)FJ_TARGET(.topic = "back"), "two");
    in = take(l);
    ck_assert_str_eq(name_of(in), "one");
    ck_assert(in->redelivered);
    finish(in);
    finish(take(l));
    leave(l);
}
END_TEST

START_TEST(unpolled_messages_go_back_in_order_when_a_listener_closes)
{
    fj_listener *a = listen_to("order", "a", 4);

    cast_to((fj_target)FJ_TARGET(.topic = "order"), "one");
    cast_to((fj_target)FJ_TARGET(.topic = "order"), "two");
    leave(a);
    fj_listener *b = listen_to("order", "b", 4);
    fj_incoming *in = take(b);
    ck_assert_str_eq(name_of(in), "one");
    finish(in);
    in = take(b);
    ck_assert_str_eq(name_of(in), "two");
    finish(in);
    leave(b);
}
END_TEST

START_TEST(the_descriptor_is_readable_exactly_while_messages_wait)
{
    fj_listener *l = listen_to("fd", "a", 4);

    ck_assert(!readable(l));
    cast_to((fj_target)FJ_TARGET(.topic = "fd"), "m");
    ck_assert(readable(l));
    finish(take(l));
    ck_assert(!readable(l));
    leave(l);
}
END_TEST

START_TEST(a_server_is_given_no_more_than_twice_its_slots_ahead)
{
    fj_listener *l = listen_to("ahead", "a", 1);
    fj_incoming *in[3];
    size_t n = 0;

    for (int i = 0; i < 3; i++)
        cast_to((fj_target)FJ_TARGET(.topic = "ahead"), "m");
    ck_assert_int_eq(l->ops->poll(l, (fj_deadline){ 1 }, 3, in, &n, NULL), FJ_OK);
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(l->ops->ack(l, in, 2, fj_in_ms(1000), NULL), FJ_OK);
    in[0]->ops->free(in[0]);
    in[1]->ops->free(in[1]);
    finish(take(l));
    leave(l);
}
END_TEST

START_TEST(an_interrupt_ends_one_poll_and_a_close_all)
{
    fj_listener *l = listen_to("stop", "a", 1);
    fj_incoming *in;
    size_t n;

    l->ops->interrupt(l);
    ck_assert_int_eq(l->ops->poll(l, fj_in_ms(5000), 1, &in, &n, NULL), FJ_AGAIN);
    ck_assert_int_eq(l->ops->poll(l, (fj_deadline){ 1 }, 1, &in, &n, NULL), FJ_TIMEOUT);
    l->ops->close(l);
    ck_assert_int_eq(l->ops->poll(l, fj_in_ms(5000), 1, &in, &n, NULL), FJ_CLOSED);
    leave(l);
}
END_TEST

START_TEST(closing_the_driver_ends_pending_calls)
{
    fj_future *f = NULL, *none = NULL;

    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "void"), "m", NULL, FJ_SEND_CALL, 60000, &f), FJ_OK);
    driver->ops->close(driver);
    ck_assert_int_eq(fj_future_result(f, NULL, NULL), FJ_CLOSED);
    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "void"), "m", NULL, 0, 1000, &none), FJ_CLOSED);
    fj_future_unref(f);
}
END_TEST

START_TEST(a_cancelled_call_drops_its_answer)
{
    fj_listener *l = listen_to("cancel", "a", 1);
    fj_future *f = NULL;

    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "cancel"), "m", NULL, FJ_SEND_CALL, 60000, &f),
                     FJ_OK);
    fj_incoming *in = take(l);
    ck_assert(fj_future_cancel(f));
    fj_future_unref(f);
    json_t *late = json_pack("[i]", 1);
    ck_assert_int_eq(in->ops->reply(in, late, NULL, NULL), FJ_OK);
    ck_assert_uint_eq(late->refcount, 1);
    json_decref(late);
    in->ops->free(in);
    leave(l);
}
END_TEST

START_TEST(arguments_that_are_no_object_are_refused)
{
    fj_future *f = NULL;

    ck_assert_int_eq(send_to((fj_target)FJ_TARGET(.topic = "t"), "m", json_array(), 0, 1000, &f), FJ_BAD_VALUE);
    ck_assert_int_eq(
        send_to((fj_target)FJ_TARGET(.topic = "t", .fanout = true), "m", NULL, FJ_SEND_CALL, 1000, &f),
        FJ_BAD_TARGET);
}
END_TEST

static fj_transport *transport_of(const char *conf_text, fj_conf **ret)
{
    fj_transport *t = NULL;

    *ret = fj_conf_new();
    ck_assert_int_eq(fj_conf_parse(*ret, "test", conf_text, strlen(conf_text), NULL), FJ_OK);
    ck_assert_int_eq(fj_transport_open(*ret, NULL, &t, NULL), FJ_OK);
    return t;
}

START_TEST(what_was_not_acked_when_the_connection_was_lost_goes_to_others_in_order)
{
    fj_target here = FJ_TARGET(.topic = "lost", .server = "a");
    fj_listen_opts opts = FJ_LISTEN_OPTS_INIT;
    fj_listener *a = NULL, *b;
    fj_conf *conf = NULL;
    fj_transport *t = transport_of("[DEFAULT]\ntransport_url = fake://\n", &conf);
    fj_driver *of_a = t->driver;
    fj_incoming *held, *in;

    opts.slots = 2;
    ck_assert_int_eq(of_a->ops->listen(of_a, &here, &opts, fj_in_ms(1000), &a, NULL), FJ_OK);
    cast_to((fj_target)FJ_TARGET(.topic = "lost"), "first");
    cast_to((fj_target)FJ_TARGET(.topic = "lost"), "second");
    held = take(a);
    ck_assert_str_eq(name_of(held), "first");
    b = listen_to("lost", "b", 2);
    ck_assert_int_eq(fj_fake_disconnect(t, NULL), FJ_OK);
    ck_assert_ptr_null(take(a));
    in = take(b);
    ck_assert_str_eq(name_of(in), "first");
    ck_assert(in->redelivered);
    finish(held); /* too late to mean anything */
    finish(in);
    in = take(b);
    ck_assert_str_eq(name_of(in), "second");
    ck_assert(in->redelivered);
    finish(in);
    ck_assert_ptr_null(take(b));
    cast_to((fj_target)FJ_TARGET(.topic = "lost", .server = "a"), "third");
    finish(take(a)); /* it is connected again */
    leave(a);
    leave(b);
    fj_transport_free(t);
    fj_conf_free(conf);
}
END_TEST

START_TEST(what_comes_back_after_a_lost_connection_is_not_given_out_twice)
{
    fj_target here = FJ_TARGET(.topic = "twice", .server = "a");
    fj_listen_opts opts = FJ_LISTEN_OPTS_INIT;
    fj_listener *a = NULL;
    fj_conf *conf = NULL;
    fj_transport *t = transport_of("[DEFAULT]\ntransport_url = fake://\n", &conf);
    fj_driver *of_a = t->driver;
    fj_incoming *working, *unbegun;

    opts.slots = 2;
    ck_assert_int_eq(of_a->ops->listen(of_a, &here, &opts, fj_in_ms(1000), &a, NULL), FJ_OK);
    cast_to(here, "working");
    cast_to(here, "unbegun");
    working = take(a);
    unbegun = take(a);
    ck_assert_int_eq(fj_fake_disconnect(t, NULL), FJ_OK);
    ck_assert_int_eq(a->ops->ack(a, &unbegun, 1, fj_in_ms(1000), NULL), FJ_OK);
    ck_assert_ptr_null(unbegun); /* it must not run yet: it comes again */
    unbegun = take(a);
    ck_assert_str_eq(name_of(unbegun), "unbegun");
    ck_assert_ptr_null(take(a));
    finish(unbegun);
    finish(working);
    ck_assert_ptr_null(take(a));
    leave(a);
    fj_transport_free(t);
    fj_conf_free(conf);
}
END_TEST

START_TEST(what_is_given_back_after_a_lost_connection_comes_again_once)
{
    fj_target here = FJ_TARGET(.topic = "back", .server = "a");
    fj_listen_opts opts = FJ_LISTEN_OPTS_INIT;
    fj_listener *a = NULL;
    fj_conf *conf = NULL;
    fj_transport *t = transport_of("[DEFAULT]\ntransport_url = fake://\n", &conf);
    fj_driver *of_a = t->driver;

    opts.slots = 2;
    ck_assert_int_eq(of_a->ops->listen(of_a, &here, &opts, fj_in_ms(1000), &a, NULL), FJ_OK);
    cast_to(here, "working");
    fj_incoming *in = take(a);
    ck_assert_int_eq(fj_fake_disconnect(t, NULL), FJ_OK);
    if (_i == 0) {
        ck_assert_ptr_null(take(a)); /* its copy came, for which it stands now */
        ck_assert_int_eq(fj_fake_disconnect(t, NULL), FJ_OK);
        ck_assert_int_eq(fj_fake_disconnect(t, NULL), FJ_OK);
        ck_assert_ptr_null(take(a));
    }
    in->ops->requeue(in);
    in->ops->free(in);
    in = take(a);
    ck_assert_str_eq(name_of(in), "working");
    ck_assert(in->redelivered);
    finish(in);
    ck_assert_ptr_null(take(a));
    leave(a);
    fj_transport_free(t);
    fj_conf_free(conf);
}
END_TEST

START_TEST(only_a_fake_connection_can_be_lost_by_request)
{
    fj_conf *conf = NULL;
    fj_transport *t = transport_of("[DEFAULT]\ntransport_url = rabbit://127.0.0.1:1/\n", &conf);
    fj_error *err = NULL;

    ck_assert_int_eq(fj_fake_disconnect(t, &err), FJ_BAD_ARGS);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "rabbit://"));
    fj_error_free(err);
    fj_transport_free(t);
    fj_conf_free(conf);
}
END_TEST

START_TEST(a_closed_listener_gives_what_it_was_told_to_keep_and_then_ends)
{
    fj_target here = FJ_TARGET(.topic = "kept", .server = "a");
    fj_listen_opts opts = FJ_LISTEN_OPTS_INIT;
    fj_listener *a = NULL;
    fj_incoming *in = NULL;
    size_t n = 0;

    opts.keep_fetched = true;
    ck_assert_int_eq(driver->ops->listen(driver, &here, &opts, fj_in_ms(1000), &a, NULL), FJ_OK);
    for (int i = 0; i < 3; i++) /* one more than it fetches */
        cast_to((fj_target)FJ_TARGET(.topic = "kept"), "m");
    a->ops->close(a);
    finish(take(a));
    finish(take(a));
    ck_assert_int_eq(a->ops->poll(a, fj_never(), 1, &in, &n, NULL), FJ_CLOSED);
    leave(a);
}
END_TEST

START_TEST(a_driver_that_is_not_there_is_named)
{
    const fj_driver_ops *ops = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(fj_driver_find(NULL, "pigeon", &ops, &err), FJ_NO_DRIVER);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "pigeon"));
    ck_assert_int_eq(fj_driver_find(NULL, "../pigeon", &ops, &err), FJ_NO_DRIVER);
    fj_error_free(err);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fake");
    TCase *c = tcase_create("fake");

    tcase_add_checked_fixture(c, open_driver, close_driver);
    tcase_add_test(c, servers_of_a_topic_take_turns);
    tcase_add_test(c, a_server_of_its_own_and_all_of_them_are_reached);
    tcase_add_test(c, a_call_gets_its_result);
    tcase_add_test(c, a_result_that_others_hold_is_copied);
    tcase_add_test(c, a_failure_arrives_as_a_remote_one);
    tcase_add_test(c, a_call_that_nobody_waits_for_ends_at_its_deadline);
    tcase_add_test(c, only_a_mandatory_message_misses_a_queue_that_never_was);
    tcase_add_test(c, messages_wait_in_a_queue_whose_listener_has_left);
    tcase_add_test(c, what_is_given_back_comes_first_and_says_so);
    tcase_add_test(c, unpolled_messages_go_back_in_order_when_a_listener_closes);
    tcase_add_test(c, the_descriptor_is_readable_exactly_while_messages_wait);
    tcase_add_test(c, a_server_is_given_no_more_than_twice_its_slots_ahead);
    tcase_add_test(c, an_interrupt_ends_one_poll_and_a_close_all);
    tcase_add_test(c, closing_the_driver_ends_pending_calls);
    tcase_add_test(c, a_cancelled_call_drops_its_answer);
    tcase_add_test(c, arguments_that_are_no_object_are_refused);
    tcase_add_test(c, what_was_not_acked_when_the_connection_was_lost_goes_to_others_in_order);
    tcase_add_test(c, what_comes_back_after_a_lost_connection_is_not_given_out_twice);
    tcase_add_loop_test(c, what_is_given_back_after_a_lost_connection_comes_again_once, 0, 2);
    tcase_add_test(c, only_a_fake_connection_can_be_lost_by_request);
    tcase_add_test(c, a_closed_listener_gives_what_it_was_told_to_keep_and_then_ends);
    tcase_add_test(c, a_driver_that_is_not_there_is_named);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
