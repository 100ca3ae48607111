/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, replies and failures: the rules of wire.md sections 5 to 8 and 12 that no recorded message shows. */
#include "base/alloc.h"
#include "transports/message.h"

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *value_of(const char *text)
{
    json_t *value = NULL;
    fj_error *err = NULL;

    ck_assert_msg(fj_json_read(text, strlen(text), NULL, &value, &err) == FJ_OK, "%s: %s", text,
                  fj_error_text(err));
    return value;
}

static void same_value(const json_t *value, const char *wanted)
{
    char *text = NULL;

    ck_assert_int_eq(fj_json_write(value, NULL, &text, NULL, NULL), FJ_OK);
    ck_assert_str_eq(text, wanted);
    free(text);
}

/* The body (taken) is an envelope around this text. */
static void envelops(char *body, const char *inner)
{
    json_t *envelope = value_of(body);

    ck_assert_uint_eq(json_object_size(envelope), 2);
    ck_assert_int_eq(strncmp(body, "{\"oslo.version\": \"2.0\", \"oslo.message\": ", 40), 0);
    ck_assert_str_eq(json_string_value(json_object_get(envelope, "oslo.message")), inner);
    json_decref(envelope);
    free(body);
}

/* ---- requests out ------------------------------------------------------------------------------ */

static char *request(const fj__request_out *r)
{
    char *body = NULL;
    size_t n = 0;

    ck_assert_int_eq(fj__message_request(r, NULL, &body, &n, NULL), FJ_OK);
    ck_assert_uint_eq(strlen(body), n);
    return body;
}

START_TEST(the_least_cast_has_method_args_and_unique_id)
{
    fj__request_out r = { .method = "m", .unique_id = "u" };

    envelops(request(&r), "{\"method\": \"m\", \"args\": {}, \"_unique_id\": \"u\"}");
}
END_TEST

START_TEST(a_full_call_has_its_keys_in_order)
{
    json_t *args = value_of("{\"b\": 1, \"a\": NaN}");
    json_t *context = value_of("{\"user\": \"h\\u00e9\", \"k\\\"\": {\"_context_x\": [1]}}");
    fj__request_out r = { .method = "m",
                          .args = args,
                          .ns = "",
                          .version = "1.2",
                          .msg_id = "i",
                          .reply_q = "q",
                          .unique_id = "u",
                          .context = context };

    envelops(request(&r), "{\"method\": \"m\", \"args\": {\"b\": 1, \"a\": NaN}, \"namespace\": \"\", "
                          "\"version\": \"1.2\", \"_msg_id\": \"i\", \"_reply_q\": \"q\", \"_timeout\": null, "
                          "\"_unique_id\": \"u\", \"_context_user\": \"h\\u00e9\", "
                          "\"_context_k\\\"\": {\"_context_x\": [1]}}");
    json_decref(args);
    json_decref(context);
}
END_TEST

static const struct {
    double monitor;
    const char *wanted;
} monitors[] = { { 0, "null" }, { 4, "4" }, { 2.5, "2.5" }, { 60, "60" }, { 0.1, "0.1" }, { -1, "null" } };

START_TEST(a_whole_monitor_timeout_is_an_integer)
{
    fj__request_out r = { .method = "m", .msg_id = "i", .reply_q = "q", .unique_id = "u" };
    char wanted[200];

    r.monitor = monitors[_i].monitor;
    (void)snprintf(
        wanted, sizeof wanted,
        "{\"method\": \"m\", \"args\": {}, \"_msg_id\": \"i\", \"_reply_q\": \"q\", \"_timeout\": %s, "
        "\"_unique_id\": \"u\"}",
        monitors[_i].wanted);
    envelops(request(&r), wanted);
}
END_TEST

START_TEST(a_request_that_cannot_be_written_says_why)
{
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    fj__request_out r = { .method = "m\xFF", .unique_id = "u" };
    char *body = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(fj__message_request(&r, NULL, &body, NULL, &err), FJ_BAD_VALUE);
    ck_assert_int_eq(fj_error_code(err), FJ_BAD_VALUE);
    r.method = "m";
    opts.max_bytes = 50; /* the message fits, its envelope does not */
    ck_assert_int_eq(fj__message_request(&r, &opts, &body, NULL, &err), FJ_TOO_BIG);
    opts.max_bytes = 0;
    opts.max_depth = 2;
    r.args = value_of("{\"a\": []}");
    ck_assert_int_eq(fj__message_request(&r, &opts, &body, NULL, &err), FJ_TOO_DEEP);
    ck_assert_ptr_null(body);
    fj_error_free(err);
    json_decref(r.args);
}
END_TEST

START_TEST(what_may_be_written_may_be_read_under_the_same_depth_cap)
{
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    json_t *args = value_of("{\"a\": []}"), *message = NULL;
    fj__request_out r = { .method = "m", .unique_id = "u", .args = args };
    char *body = NULL;

    opts.max_depth = 3;
    ck_assert_int_eq(fj__message_request(&r, &opts, &body, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj__message_open(body, strlen(body), &opts, &message, NULL), FJ_OK);
    json_decref(message);
    free(body);
    json_decref(args);
}
END_TEST

/* ---- opening ----------------------------------------------------------------------------------- */

static void opens(const char *body, const char *wanted)
{
    json_t *message = NULL;
    fj_error *err = NULL;

    ck_assert_msg(fj__message_open(body, strlen(body), NULL, &message, &err) == FJ_OK, "%s",
                  fj_error_text(err));
    same_value(message, wanted);
    json_decref(message);
}

START_TEST(a_body_is_opened_with_an_envelope_or_without)
{
    opens("{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"a\\\": \\\"\xC3\xA9\\\"}\"}",
          "{\"a\": \"\\u00e9\"}");
    opens("{\"oslo.message\":\"{}\",\"x\":0,\"oslo.version\":\"2.0\"}", "{}");
    opens("{\"method\": \"m\"}", "{\"method\": \"m\"}");
    opens("{\"oslo.version\": \"9.9\"}", "{\"oslo.version\": \"9.9\"}");
    opens("{\"oslo.message\": \"{}\"}", "{\"oslo.message\": \"{}\"}");
    opens("", "{}");
}
END_TEST

static const struct {
    const char *body;
    fj_code code;
    const char *part;
} closed[] = {
    { "[]", FJ_BAD_MESSAGE, "not an object" },
    { "\"text\"", FJ_BAD_MESSAGE, "not an object" },
    { "{", FJ_BAD_JSON, "byte 1" },
    { "{\"oslo.version\": \"1.0\", \"oslo.message\": \"{}\"}", FJ_BAD_MESSAGE, "1.0" },
    { "{\"oslo.version\": \"2.1\", \"oslo.message\": \"{}\"}", FJ_BAD_MESSAGE, "2.1" },
    { "{\"oslo.version\": \"3.0\", \"oslo.message\": \"{}\"}", FJ_BAD_MESSAGE, "3.0" },
    { "{\"oslo.version\": \"2\", \"oslo.message\": \"{}\"}", FJ_BAD_MESSAGE, "version 2," },
    { "{\"oslo.version\": \"x\", \"oslo.message\": \"{}\"}", FJ_BAD_MESSAGE, "version x," },
    { "{\"oslo.version\": 2.0, \"oslo.message\": \"{}\"}", FJ_BAD_MESSAGE, "no string" },
    { "{\"oslo.version\": \"2.0\", \"oslo.message\": {}}", FJ_BAD_MESSAGE, "oslo.message" },
    { "{\"oslo.version\": \"2.0\", \"oslo.message\": \"[]\"}", FJ_BAD_MESSAGE, "not an object" },
    { "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{x\"}", FJ_BAD_JSON, "oslo.message: " },
};

START_TEST(a_body_of_the_wrong_shape_is_not_opened)
{
    json_t *message = NULL;
    fj_error *err = NULL;
    const char *body = closed[_i].body;

    ck_assert_int_eq(fj__message_open(body, strlen(body), NULL, &message, &err), closed[_i].code);
    ck_assert_ptr_null(message);
    ck_assert_msg(strstr(fj_error_text(err), closed[_i].part) != NULL, "%s", fj_error_text(err));
    fj_error_free(err);
}
END_TEST

START_TEST(the_limits_hold_for_the_inner_message_too)
{
    const char *body = "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"a\\\": [[]]}\"}";
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    json_t *message = NULL;

    opts.max_depth = 2;
    ck_assert_int_eq(fj__message_open(body, strlen(body), &opts, &message, NULL), FJ_TOO_DEEP);
    opts.max_depth = 0;
    opts.max_bytes = 20;
    ck_assert_int_eq(fj__message_open(body, strlen(body), &opts, &message, NULL), FJ_TOO_BIG);
    ck_assert_ptr_null(message);
}
END_TEST

START_TEST(a_wrapped_message_opens_to_itself)
{
    json_t *message = value_of("{\"payload\": {\"k\": [1.0, NaN, \"\\u00e9\\\"\"]}}");
    char *body = NULL;
    size_t n = 0;

    ck_assert_int_eq(fj__message_wrap(message, NULL, &body, &n, NULL), FJ_OK);
    ck_assert_uint_eq(strlen(body), n);
    opens(body, "{\"payload\": {\"k\": [1.0, NaN, \"\\u00e9\\\"\"]}}");
    free(body);
    json_decref(message);
}
END_TEST

/* ---- requests in ------------------------------------------------------------------------------- */

static json_t *taken(const char *text, fj__request_in *in)
{
    json_t *message = value_of(text);

    ck_assert_int_eq(fj__message_take(message, in, NULL), FJ_OK);
    return message;
}

START_TEST(the_transports_fields_leave_the_message)
{
    fj__request_in in;
    json_t *message = taken("{\"_context_b\": 1, \"method\": \"m\", \"_msg_id\": \"i\", \"_reply_q\": \"q\", "
                            "\"_timeout\": 4, \"_unique_id\": \"u\", \"_context_a\": {\"c\": 2}, \"extra\": 3, "
                            "\"_context_\": 5, \"_context\": 6}",
                            &in);

    same_value(message, "{\"method\": \"m\", \"extra\": 3, \"_context\": 6}");
    same_value(in.context, "{\"b\": 1, \"a\": {\"c\": 2}, \"\": 5, \"client_timeout\": 4}");
    ck_assert_str_eq(in.msg_id, "i");
    ck_assert_str_eq(in.reply_q, "q");
    ck_assert_str_eq(in.unique_id, "u");
    ck_assert_uint_eq(in.monitor_s, 4);
    fj__request_in_fini(&in);
    json_decref(message);
}
END_TEST

START_TEST(an_empty_message_gives_nothing_but_a_client_timeout)
{
    fj__request_in in;
    json_t *message = taken("{}", &in);

    same_value(message, "{}");
    same_value(in.context, "{\"client_timeout\": null}");
    ck_assert_ptr_null(in.msg_id);
    ck_assert_ptr_null(in.reply_q);
    ck_assert_ptr_null(in.unique_id);
    ck_assert_uint_eq(in.monitor_s, 0);
    fj__request_in_fini(&in);
    json_decref(message);
}
END_TEST

START_TEST(names_that_oslo_uses_itself_never_reach_the_context)
{
    fj__request_in in;
    json_t *message =
        taken("{\"_context_msg_id\": 1, \"_context_reply_q\": 2, \"_context_client_timeout\": 3}", &in);

    same_value(in.context, "{\"client_timeout\": null}");
    fj__request_in_fini(&in);
    json_decref(message);
}
END_TEST

START_TEST(an_id_that_is_no_proper_string_counts_as_absent)
{
    fj__request_in in;
    json_t *message = taken("{\"_msg_id\": null, \"_reply_q\": \"a\\u0000b\", \"_unique_id\": 7}", &in);

    ck_assert_ptr_null(in.msg_id);
    ck_assert_ptr_null(in.reply_q);
    ck_assert_ptr_null(in.unique_id);
    same_value(message, "{}");
    fj__request_in_fini(&in);
    json_decref(message);
}
END_TEST

static const struct {
    const char *timeout;
    unsigned wanted;
} timeouts[] = {
    { "null", 0 },
    { "0", 0 },
    { "1", 0 },
    { "2", 2 },
    { "2.9", 2 },
    { "1.9", 0 },
    { "\"2\"", 2 },
    { "\" +3 \"", 3 },
    { "\"1_0\"", 10 },
    { "\"1__0\"", 0 },
    { "\"2.9\"", 0 },
    { "\"-4\"", 0 },
    { "\"\"", 0 },
    { "\"x\"", 0 },
    { "\"4x\"", 0 },
    { "-4", 0 },
    { "true", 0 },
    { "[4]", 0 },
    { "{}", 0 },
    { "NaN", 0 },
    { "Infinity", 0 },
    { "1e300", UINT_MAX },
    { "99999999999999999999", UINT_MAX },
    { "\"4\\u0000\"", 0 },
    { "-99999999999999999999", 0 },
};

START_TEST(a_monitor_timeout_is_read_as_pythons_int_reads_it)
{
    fj__request_in in;
    char text[64];

    (void)snprintf(text, sizeof text, "{\"_timeout\": %s}", timeouts[_i].timeout);
    json_t *message = taken(text, &in);
    ck_assert_msg(in.monitor_s == timeouts[_i].wanted, "%s: %u", text, in.monitor_s);
    fj__request_in_fini(&in);
    json_decref(message);
}
END_TEST

/* ---- replies ----------------------------------------------------------------------------------- */

START_TEST(a_reply_has_all_five_keys_in_order)
{
    json_t *result = value_of("[1, {\"a\": Infinity}]");
    char *body = NULL;
    size_t n = 0;

    ck_assert_int_eq(fj__message_reply("i", "u", result, NULL, true, NULL, &body, &n, NULL), FJ_OK);
    ck_assert_uint_eq(strlen(body), n);
    envelops(body,
             "{\"result\": [1, {\"a\": Infinity}], \"failure\": null, \"ending\": true, \"_msg_id\": \"i\", "
             "\"_unique_id\": \"u\"}");
    json_decref(result);
    ck_assert_int_eq(fj__message_reply("i", "u", NULL, NULL, false, NULL, &body, NULL, NULL), FJ_OK);
    envelops(body, "{\"result\": null, \"failure\": null, \"ending\": false, \"_msg_id\": \"i\", "
                   "\"_unique_id\": \"u\"}");
}
END_TEST

static fj__reply_in replied(const char *text)
{
    fj__reply_in in;
    fj_error *err = NULL;
    json_t *message = value_of(text);

    ck_assert_msg(fj__message_reply_in(message, NULL, &in, &err) == FJ_OK, "%s: %s", text, fj_error_text(err));
    json_decref(message);
    return in;
}

static const struct {
    const char *text, *result;
    bool ending, failed;
} replies[] = {
    { "{\"_msg_id\": \"i\"}", "null", false, false },
    { "{\"_msg_id\": \"i\", \"result\": 5, \"failure\": null, \"ending\": true}", "5", true, false },
    { "{\"_msg_id\": \"i\", \"result\": 5, \"failure\": \"\", \"ending\": 1}", "5", true, false },
    { "{\"_msg_id\": \"i\", \"failure\": 0, \"ending\": 0}", "null", false, false },
    { "{\"_msg_id\": \"i\", \"failure\": false, \"ending\": null}", "null", false, false },
    { "{\"_msg_id\": \"i\", \"failure\": {}, \"ending\": \"yes\"}", "null", true, false },
    { "{\"_msg_id\": \"i\", \"failure\": [], \"ending\": \"\"}", "null", false, false },
    { "{\"_msg_id\": \"i\", \"failure\": 0.0, \"ending\": 0.5}", "null", true, false },
    { "{\"_msg_id\": \"i\", \"result\": 1, \"failure\": \"{}\", \"ending\": true}", "1", true, true },
};

START_TEST(a_reply_is_read_as_python_reads_it)
{
    fj__reply_in in = replied(replies[_i].text);

    ck_assert_str_eq(in.msg_id, "i");
    ck_assert_int_eq(in.ending, replies[_i].ending);
    ck_assert_int_eq(in.failure != NULL, replies[_i].failed);
    same_value(in.result, replies[_i].result);
    fj__reply_in_fini(&in);
}
END_TEST

START_TEST(a_reply_that_names_no_call_is_refused)
{
    static const char *const texts[] = { "{}", "{\"_msg_id\": null}", "{\"_msg_id\": 5, \"failure\": \"{}\"}" };
    fj__reply_in in;

    for (size_t i = 0; i < fj__countof(texts); i++) {
        json_t *message = value_of(texts[i]);
        ck_assert_int_eq(fj__message_reply_in(message, NULL, &in, NULL), FJ_BAD_MESSAGE);
        json_decref(message);
    }
}
END_TEST

/* ---- failures ---------------------------------------------------------------------------------- */

/* The text under "failure" of the reply that carries this error (taken). */
static char *failure_text(fj_error *failure)
{
    char *body = NULL;
    json_t *message = NULL;

    ck_assert_int_eq(fj__message_reply("i", "u", json_true(), failure, true, NULL, &body, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj__message_open(body, strlen(body), NULL, &message, NULL), FJ_OK);
    ck_assert(json_is_null(json_object_get(message, "result")));
    ck_assert(json_is_true(json_object_get(message, "ending")));
    char *text = fj__strdup(json_string_value(json_object_get(message, "failure")));
    ck_assert_ptr_nonnull(text);
    json_decref(message);
    free(body);
    fj_error_free(failure);
    return text;
}

static void fails_as(fj_error *failure, const char *wanted)
{
    char *text = failure_text(failure);

    ck_assert_str_eq(text, wanted);
    free(text);
}

START_TEST(an_error_of_this_side_becomes_a_class_that_python_knows)
{
    fj_error *err = NULL;

    (void)fj_fail(&err, FJ_BAD_ARGS, "add needs \"a\"");
    fails_as(err, "{\"class\": \"TypeError\", \"module\": \"builtins\", \"message\": \"add needs \\\"a\\\"\", "
                  "\"tb\": [\"Traceback (most recent call last):\\n\", \"TypeError: add needs \\\"a\\\"\\n\"], "
                  "\"args\": [\"add needs \\\"a\\\"\"], \"kwargs\": {}}");
    err = NULL;
    (void)fj_fail(&err, FJ_NO_METHOD, "no");
    fails_as(
        err,
        "{\"class\": \"NoSuchMethod\", \"module\": \"oslo_messaging.rpc.dispatcher\", \"message\": \"no\", "
        "\"tb\": [\"Traceback (most recent call last):\\n\", \"NoSuchMethod: no\\n\"], "
        "\"args\": [\"no\"], \"kwargs\": {}}");
}
END_TEST

START_TEST(a_class_of_ones_own_keeps_its_args_and_kwargs)
{
    fj_error *err = NULL;

    (void)fj_raise(&err, "nova.exception", "Gone", NULL, "x");
    fj_error_set_remote(err, NULL, NULL, json_pack("[i]", 1), json_pack("{s:i}", "k", 2),
                        json_pack("[s]", "t\n"));
    fails_as(err,
             "{\"class\": \"Gone\", \"module\": \"nova.exception\", \"message\": \"x\", \"tb\": [\"t\\n\"], "
             "\"args\": [1], \"kwargs\": {\"k\": 2}}");
}
END_TEST

static const struct {
    const char *module, *class_name, *module_out, *class_out;
} suffixes[] = {
    { "nova.exception_Remote", "Gone_Remote", "nova.exception", "Gone" },
    { "nova.exception", "Gone_Remote", "nova.exception", "Gone_Remote" },
    { "nova.exception_Remote", "Gone", "nova.exception_Remote", "Gone" },
    { "nova.exception", "Gone", "nova.exception", "Gone" },
    { "_Remote", "_Remote", "", "" },
};

START_TEST(the_suffixes_of_a_rebuilt_failure_are_stripped_together)
{
    fj_error *err = NULL;
    char wanted[300];

    (void)fj_raise(&err, suffixes[_i].module, suffixes[_i].class_name, json_array(), "x");
    (void)snprintf(
        wanted, sizeof wanted,
        "{\"class\": \"%s\", \"module\": \"%s\", \"message\": \"x\", "
        "\"tb\": [\"Traceback (most recent call last):\\n\", \"%s: x\\n\"], \"args\": [], \"kwargs\": {}}",
        suffixes[_i].class_out, suffixes[_i].module_out, suffixes[_i].class_out);
    fails_as(err, wanted);
}
END_TEST

START_TEST(an_error_text_that_is_not_utf8_still_reaches_the_caller)
{
    fj_error *err = NULL;

    (void)fj_fail(&err, FJ_SYSTEM, "no file \xFF");
    char *text = failure_text(err);
    ck_assert_ptr_nonnull(strstr(text, "\"message\": \"no file \\ufffd\""));
    free(text);
}
END_TEST

/* A reply with this failure object, itself a JSON text. */
static fj_error *failed(const char *failure)
{
    json_t *message = json_pack("{s:s, s:s, s:b}", "_msg_id", "i", "failure", failure, "ending", 1);
    fj__reply_in in;

    ck_assert_int_eq(fj__message_reply_in(message, NULL, &in, NULL), FJ_OK);
    ck_assert(in.ending);
    fj_error *err = in.failure;
    in.failure = NULL;
    fj__reply_in_fini(&in);
    json_decref(message);
    ck_assert_int_eq(fj_error_code(err), FJ_REMOTE);
    ck_assert_int_eq(fj_error_sent(err), FJ_SENT_YES);
    return err;
}

static const struct {
    const char *failure, *module, *class_name, *text, *args, *kwargs, *tb;
} failures[] = {
    { "{\"class\": \"C\", \"module\": \"m\", \"message\": \"t\", \"tb\": [\"a\"], \"args\": [1], \"kwargs\": "
      "{\"k\": 2}}",
      "m", "C", "t", "[1]", "{\"k\": 2}", "[\"a\"]" },
    { "{\"class\": \"ValueError\", \"module\": \"exceptions\", \"message\": \"t\"}", "builtins", "ValueError",
      "t", "[]", "{}", "[]" },
    { "{\"class\": \"C\", \"message\": \"t\"}", "", "C", "t", "[]", "{}", "[]" },
    { "{\"module\": \"m\"}", "m", "RemoteError", "", "[]", "{}", "[]" },
    { "{}", "", "RemoteError", "", "[]", "{}", "[]" },
    { "{\"class\": null, \"module\": null, \"message\": null, \"tb\": null, \"args\": null, \"kwargs\": null}",
      "", "RemoteError", "", "[]", "{}", "[]" },
    { "{\"class\": \"C\", \"module\": \"m\", \"message\": {\"a\": 1}, \"tb\": \"line\", \"args\": 5, "
      "\"kwargs\": [6]}",
      "m", "C", "{\"a\": 1}", "[5]", "{}", "[\"line\"]" },
    { "{\"class\": \"C\", \"module\": \"m\", \"message\": \"a\\u0000%s\"}", "m", "C", "a\xEF\xBF\xBD%s", "[]",
      "{}", "[]" },
};

START_TEST(a_failure_is_read_whatever_of_it_is_missing_or_odd)
{
    fj_error *err = failed(failures[_i].failure);

    ck_assert_str_eq(fj_error_remote_module(err), failures[_i].module);
    ck_assert_str_eq(fj_error_remote_class(err), failures[_i].class_name);
    ck_assert_str_eq(fj_error_text(err), failures[_i].text);
    same_value(fj_error_remote_args(err), failures[_i].args);
    same_value(fj_error_remote_kwargs(err), failures[_i].kwargs);
    same_value(fj_error_traceback(err), failures[_i].tb);
    fj_error_free(err);
}
END_TEST

static void text_has(fj_error *err, const char *first, const char *second)
{
    ck_assert_msg(strstr(fj_error_text(err), first) != NULL && strstr(fj_error_text(err), second) != NULL, "%s",
                  fj_error_text(err));
    fj_error_free(err);
}

START_TEST(a_failure_that_cannot_be_read_still_ends_the_call)
{
    text_has(failed("boom"), "not valid JSON", ": boom");
    text_has(failed("[1]"), "not an object", ": [1]");
    fj__reply_in in = replied("{\"_msg_id\": \"i\", \"failure\": {\"class\": \"C\"}, \"ending\": true}");
    ck_assert(in.ending);
    ck_assert_int_eq(fj_error_code(in.failure), FJ_REMOTE);
    ck_assert_int_eq(fj_error_sent(in.failure), FJ_SENT_YES);
    text_has(in.failure, "not a string", "{\"class\": \"C\"}");
    in.failure = NULL;
    fj__reply_in_fini(&in);
}
END_TEST

START_TEST(of_an_unreadable_failure_only_the_beginning_is_shown)
{
    static char text[3001];

    for (size_t i = 0; i < 3000; i += 3)
        memcpy(text + i, "\xE4\xB8\x96", 3);
    fj_error *err = failed(text);
    const char *shown = strstr(fj_error_text(err), "\xE4\xB8\x96");
    ck_assert_ptr_nonnull(shown);
    ck_assert_uint_eq(strlen(shown), 198); /* 66 whole characters within 200 bytes */
    fj_error_free(err);
}
END_TEST

START_TEST(memory_that_runs_out_is_answered_and_nothing_is_lost)
{
    static const char body[] =
        "{\"_msg_id\": \"i\", \"_reply_q\": \"q\", \"_unique_id\": \"u\", \"_timeout\": {\"a\": 1}, "
        "\"failure\": \"{\\\"class\\\": \\\"C\\\", \\\"module\\\": \\\"m\\\", \\\"message\\\": \\\"t\\\"}\"}";

    for (unsigned long nth = 1;; nth++) {
        json_t *message = NULL;
        fj__reply_in reply = { 0 };
        fj__request_in in = { 0 };
        char *out = NULL;
        (void)fj__alloc_fail(nth, true);
        fj_code code = fj__message_open(body, sizeof body - 1, NULL, &message, NULL);
        if (code == FJ_OK)
            code = fj__message_reply_in(message, NULL, &reply, NULL);
        if (code == FJ_OK)
            code = fj__message_reply("i", "u", NULL, reply.failure, true, NULL, &out, NULL, NULL);
        if (code == FJ_OK)
            code = fj__message_take(message, &in, NULL);
        unsigned long counted = fj__alloc_fail(0, false);
        ck_assert(code == FJ_OK || code == FJ_NOMEM);
        fj__reply_in_fini(&reply);
        fj__request_in_fini(&in);
        json_decref(message);
        free(out);
        if (counted < nth) {
            ck_assert_int_eq(code, FJ_OK);
            ck_assert_uint_gt(nth, 10);
            return;
        }
    }
}
END_TEST

static void add_requests(TCase *tc)
{
    tcase_add_test(tc, the_least_cast_has_method_args_and_unique_id);
    tcase_add_test(tc, a_full_call_has_its_keys_in_order);
    tcase_add_loop_test(tc, a_whole_monitor_timeout_is_an_integer, 0, (int)fj__countof(monitors));
    tcase_add_test(tc, a_request_that_cannot_be_written_says_why);
    tcase_add_test(tc, what_may_be_written_may_be_read_under_the_same_depth_cap);
    tcase_add_test(tc, a_body_is_opened_with_an_envelope_or_without);
    tcase_add_loop_test(tc, a_body_of_the_wrong_shape_is_not_opened, 0, (int)fj__countof(closed));
    tcase_add_test(tc, the_limits_hold_for_the_inner_message_too);
    tcase_add_test(tc, a_wrapped_message_opens_to_itself);
    tcase_add_test(tc, the_transports_fields_leave_the_message);
    tcase_add_test(tc, an_empty_message_gives_nothing_but_a_client_timeout);
    tcase_add_test(tc, names_that_oslo_uses_itself_never_reach_the_context);
    tcase_add_test(tc, an_id_that_is_no_proper_string_counts_as_absent);
    tcase_add_loop_test(tc, a_monitor_timeout_is_read_as_pythons_int_reads_it, 0, (int)fj__countof(timeouts));
}

static void add_replies(TCase *tc)
{
    tcase_add_test(tc, a_reply_has_all_five_keys_in_order);
    tcase_add_loop_test(tc, a_reply_is_read_as_python_reads_it, 0, (int)fj__countof(replies));
    tcase_add_test(tc, a_reply_that_names_no_call_is_refused);
    tcase_add_test(tc, an_error_of_this_side_becomes_a_class_that_python_knows);
    tcase_add_test(tc, a_class_of_ones_own_keeps_its_args_and_kwargs);
    tcase_add_loop_test(tc, the_suffixes_of_a_rebuilt_failure_are_stripped_together, 0,
                        (int)fj__countof(suffixes));
    tcase_add_test(tc, an_error_text_that_is_not_utf8_still_reaches_the_caller);
    tcase_add_loop_test(tc, a_failure_is_read_whatever_of_it_is_missing_or_odd, 0, (int)fj__countof(failures));
    tcase_add_test(tc, a_failure_that_cannot_be_read_still_ends_the_call);
    tcase_add_test(tc, of_an_unreadable_failure_only_the_beginning_is_shown);
    tcase_add_test(tc, memory_that_runs_out_is_answered_and_nothing_is_lost);
}

int main(void)
{
    Suite *suite = suite_create("message");
    TCase *requests = tcase_create("requests"), *replies_case = tcase_create("replies");

    add_requests(requests);
    add_replies(replies_case);
    suite_add_tcase(suite, requests);
    suite_add_tcase(suite, replies_case);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed_count = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed_count == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
