/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatcher: choosing a method, running it, answering, deferring. */
#include "base/alloc.h"
#include "base/log.h"
#include "tests/support/mock_listener.h"

#include <check.h>
#include <fjord/dispatcher.h>
#include <stdlib.h>
#include <string.h>

/* ---- endpoints --------------------------------------------------------------------------------- */

static fj_request *kept;
static fj_request *seen_current;

static fj_code who(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)err;
    seen_current = fj_request_current();
    *ret = json_pack("{s:s, s:s?, s:s, s:O, s:O, s:b}", "data", (const char *)fj_request_data(req), "ns",
                     fj_request_ns(req), "version", fj_request_version(req), "args", args, "context",
                     fj_request_context(req), "call", (int)fj_request_is_call(req));
    ck_assert(*ret != NULL);
    return FJ_OK;
}

static fj_code bare_code(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)err;
    *ret = json_true();
    return FJ_BAD_ARGS;
}

static fj_code own_class(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    return fj_raise(err, "calc.errors", "Overflow", json_pack("[i]", 7), "too much");
}

static fj_code nothing(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    (void)err;
    return FJ_OK;
}

static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args;
    (void)ret;
    (void)err;
    kept = fj_request_ref(req);
    return FJ_DEFERRED;
}

static fj_code forgetful(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    (void)err;
    return FJ_DEFERRED;
}

static fj_code at_once(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args;
    *ret = json_string("too late");
    fj_code code = fj_request_reply(req, json_string("early"), err);
    ck_assert_int_eq(code, FJ_OK);
    return FJ_OK;
}

static const fj_method calc_methods[] = {
    FJ_METHOD("who", FJ_PLAIN, who),
    FJ_METHOD("_hidden", FJ_PLAIN, who),
    FJ_METHOD("bare_code", FJ_PLAIN, bare_code),
    FJ_METHOD("own_class", FJ_PLAIN, own_class),
    FJ_METHOD("nothing", FJ_PLAIN, nothing),
    FJ_METHOD("later", FJ_PLAIN, later),
    FJ_METHOD("forgetful", FJ_PLAIN, forgetful),
    FJ_METHOD("at_once", FJ_PLAIN, at_once),
    FJ_METHOD_FLAGS("shown", FJ_PLAIN, who, FJ_EXPOSED),
    FJ_METHOD_FLAGS("expected", FJ_PLAIN, bare_code, FJ_EXPECTED),
};
static const fj_endpoint null_10 = FJ_ENDPOINT(NULL, NULL, calc_methods);
static const fj_endpoint calc_13 = FJ_ENDPOINT("calc", "1.3", calc_methods);
static const fj_method v2_methods[] = { FJ_METHOD("who", FJ_PLAIN, who), FJ_METHOD("only2", FJ_PLAIN, who) };
static const fj_endpoint calc_20 = FJ_ENDPOINT("calc", "2.0", v2_methods);
static const fj_method more_methods[] = { FJ_METHOD("more", FJ_PLAIN, who) };
static const fj_endpoint calc_more = FJ_ENDPOINT("calc", "1.9", more_methods);
static const char *const old_names[] = { "abacus", NULL };
static const fj_endpoint legacy = { sizeof(fj_endpoint), "new", "1.0",     more_methods,
                                    sizeof(fj_method),   1,     old_names, 2 };

/* ---- the rig ----------------------------------------------------------------------------------- */

static mock_listener *mock;
static fj_dispatcher *d;
static unsigned finished;
static unsigned log_count[FJ_LOG_TRACE + 1];

static void on_done(fj_request *req, void *user)
{
    ck_assert_ptr_eq(user, &finished);
    ck_assert_ptr_eq(fj_request_owner(req), &finished);
    finished++;
}

static void on_log(void *user, fj_log_level level, const char *component, const char *text)
{
    (void)user;
    (void)text;
    if (strcmp(component, "rpc") == 0)
        log_count[level]++;
}

static void rig_with(const fj_dispatcher_opts *opts)
{
    ck_assert_int_eq(fj_dispatcher_new(opts, &d, NULL), FJ_OK);
}

static void setup(void)
{
    fj_log_set(on_log, NULL);
    fj_log_set_level(FJ_LOG_DEBUG);
    mock = mock_new();
}

static void teardown(void)
{
    d = fj_dispatcher_free(d);
    ck_assert(mock_free(mock));
    fj_log_set(NULL, NULL);
}

static void add(const fj_endpoint *e, const char *data)
{
    fj_error *err = NULL;

    ck_assert_msg(fj_dispatcher_add(d, e, (void *)data, &err) == FJ_OK, "%s", fj_error_text(err));
}

static void rig(void)
{
    rig_with(NULL);
    add(&null_10, "null");
    add(&calc_13, "calc 1.3");
    add(&calc_20, "calc 2.0");
    add(&calc_more, "more");
    add(&legacy, "legacy");
}

static fj_request *begin(mock_msg *m)
{
    fj_request *req = NULL;

    ck_assert_int_eq(fj_dispatcher_begin(d, &m->in, on_done, &finished, &req, NULL), FJ_OK);
    return req;
}

static mock_msg *serve(const char *json, bool call)
{
    mock_msg *m = mock_message(mock, json, call);
    fj_request *req = begin(m);

    if (req != NULL)
        fj_dispatcher_run(d, req, NULL, NULL);
    return m;
}

static mock_msg *call(const char *json)
{
    return serve(json, true);
}

/* The endpoint that answers `json`. */
static const char *served_by(const char *json)
{
    mock_msg *m = call(json);

    ck_assert_msg(m->failure == NULL, "%s: %s", json, fj_error_text(m->failure));
    ck_assert_uint_eq(m->answers, 1);
    ck_assert(m->freed);
    return json_string_value(json_object_get(m->result, "data"));
}

static void check_failure(const mock_msg *m, const char *module, const char *class_name, const char *text)
{
    ck_assert_uint_eq(m->answers, 1);
    ck_assert(m->freed);
    ck_assert_ptr_nonnull(m->failure);
    ck_assert_str_eq(fj_error_text(m->failure), text);
    ck_assert_str_eq(fj_error_remote_module(m->failure), module);
    ck_assert_str_eq(fj_error_remote_class(m->failure), class_name);
    ck_assert_uint_eq(json_array_size(fj_error_traceback(m->failure)), 3);
}

static void refused(const char *json, const char *module, const char *class_name, const char *text)
{
    check_failure(call(json), module, class_name, text);
}

#define DISPATCHER "oslo_messaging.rpc.dispatcher"
#define NO_METHOD(m) DISPATCHER, "NoSuchMethod", "Endpoint does not support RPC method " m
#define NO_VERSION(v, m) \
    DISPATCHER, "UnsupportedVersion", "Endpoint does not support RPC version " v ". Attempted method: " m

/* ---- choosing ---------------------------------------------------------------------------------- */

START_TEST(the_first_endpoint_that_has_the_method_serves_it)
{
    rig();
    ck_assert_str_eq(served_by("{\"method\": \"who\"}"), "null");
    ck_assert_str_eq(served_by("{\"method\": \"who\", \"namespace\": null}"), "null");
    ck_assert_str_eq(served_by("{\"method\": \"who\", \"namespace\": \"calc\"}"), "calc 1.3");
    ck_assert_str_eq(served_by("{\"method\": \"who\", \"namespace\": \"calc\", \"version\": \"1.2.9\"}"),
                     "calc 1.3");
    ck_assert_str_eq(served_by("{\"method\": \"who\", \"namespace\": \"calc\", \"version\": \"2.0\"}"),
                     "calc 2.0");
    ck_assert_str_eq(served_by("{\"method\": \"more\", \"namespace\": \"calc\", \"version\": \"1.1\"}"),
                     "more");
    ck_assert_uint_eq(finished, 6);
}
END_TEST

START_TEST(legacy_namespaces_are_served_too)
{
    rig();
    ck_assert_str_eq(served_by("{\"method\": \"more\", \"namespace\": \"new\"}"), "legacy");
    ck_assert_str_eq(served_by("{\"method\": \"more\", \"namespace\": \"abacus\"}"), "legacy");
    ck_assert_str_eq(served_by("{\"method\": \"more\"}"), "legacy");
}
END_TEST

START_TEST(what_no_endpoint_has_fails_as_in_oslo)
{
    rig();
    refused("{\"method\": \"absent\"}", NO_METHOD("absent"));
    refused("{\"method\": \"only2\", \"namespace\": \"calc\", \"version\": \"1.0\"}", NO_METHOD("only2"));
    refused("{\"method\": \"who\", \"version\": \"9.0\"}", NO_VERSION("9.0", "who"));
    refused("{\"method\": \"who\", \"namespace\": \"\"}", NO_VERSION("1.0", "who"));
    refused("{\"method\": \"who\", \"namespace\": 5}", NO_VERSION("1.0", "who"));
    refused("{\"method\": \"who\", \"namespace\": \"calc\", \"version\": \"1.10\"}", NO_VERSION("1.10", "who"));
    ck_assert_uint_eq(finished, 0);
}
END_TEST

START_TEST(odd_messages_fail_as_in_python)
{
    rig();
    refused("{}", "builtins", "TypeError", "attribute name must be string, not 'NoneType'");
    refused("{\"method\": 5}", "builtins", "TypeError", "attribute name must be string, not 'int'");
    refused("{\"method\": \"who\", \"version\": null}", NO_VERSION("None", "who"));
    refused("{\"method\": \"who\", \"version\": \"one\"}", "builtins", "ValueError",
            "invalid literal for int() with base 10: 'one'");
    refused("{\"method\": \"who\", \"version\": \"1\"}", "builtins", "IndexError", "list index out of range");
    refused("{\"method\": \"who\", \"version\": 1.0}", "builtins", "AttributeError",
            "'float' object has no attribute 'split'");
    refused("{\"method\": \"who\", \"args\": null}", "builtins", "AttributeError",
            "'NoneType' object has no attribute 'items'");
    refused("{\"method\": \"who\", \"args\": []}", "builtins", "AttributeError",
            "'list' object has no attribute 'items'");
}
END_TEST

START_TEST(a_cast_that_fits_nothing_is_done_with_and_logged)
{
    rig();
    mock_msg *m = serve("{\"method\": \"absent\"}", false);
    ck_assert(m->done && m->freed);
    ck_assert_uint_eq(m->tries, 0);
    ck_assert_uint_eq(log_count[FJ_LOG_ERROR], 1);
}
END_TEST

START_TEST(access_policies_say_what_may_be_called)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;

    rig();
    refused("{\"method\": \"_hidden\"}", NO_METHOD("_hidden"));
    d = fj_dispatcher_free(d);

    opts.access = FJ_ACCESS_LEGACY;
    rig_with(&opts);
    add(&null_10, "null");
    ck_assert_str_eq(served_by("{\"method\": \"_hidden\"}"), "null");
    d = fj_dispatcher_free(d);

    opts.access = FJ_ACCESS_EXPLICIT;
    rig_with(&opts);
    add(&null_10, "null");
    ck_assert_str_eq(served_by("{\"method\": \"shown\"}"), "null");
    refused("{\"method\": \"who\"}", NO_METHOD("who"));
}
END_TEST

static fj_code which(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args;
    (void)err;
    *ret = json_string(fj_request_method(req));
    return FJ_OK;
}

static const fj_method catch_all_methods[] = { FJ_METHOD_FLAGS("*", FJ_PLAIN, which, FJ_EXPOSED) };
static const fj_endpoint catch_all = FJ_ENDPOINT(NULL, "1.0", catch_all_methods);

static const char *caught(const char *text)
{
    const char *name = json_string_value(call(text)->result);

    return name != NULL ? name : "another method";
}

START_TEST(a_catch_all_takes_what_no_other_method_takes)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;

    opts.ping = true;
    rig_with(&opts);
    add(&catch_all, "all");
    add(&null_10, "null");
    ck_assert_str_eq(caught("{\"method\": \"anything\"}"), "anything");
    ck_assert_str_eq(caught("{\"method\": \"*\"}"), "*");
    ck_assert_str_eq(caught("{\"method\": \"shown\"}"), "another method");
    ck_assert_str_eq(caught("{\"method\": \"oslo_rpc_server_ping\"}"), "pong");
}
END_TEST

START_TEST(a_catch_all_takes_no_private_names_and_no_other_versions)
{
    rig_with(NULL);
    add(&catch_all, "all");
    refused("{\"method\": \"_hidden\"}", NO_METHOD("_hidden"));
    refused("{\"method\": \"any\", \"version\": \"1.1\"}", NO_VERSION("1.1", "any"));
    refused("{\"method\": \"any\", \"namespace\": \"x\"}", NO_VERSION("1.0", "any"));
}
END_TEST

START_TEST(ping_answers_pong_under_every_policy)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;

    opts.ping = true;
    opts.access = (fj_access)_i;
    rig_with(&opts);
    add(&calc_13, "calc");
    mock_msg *m = call("{\"method\": \"oslo_rpc_server_ping\", \"args\": {\"any\": 1}}");
    ck_assert_str_eq(json_string_value(m->result), "pong");
    refused("{\"method\": \"absent\"}", NO_METHOD("absent"));
}
END_TEST

START_TEST(an_endpoint_with_a_ping_of_its_own_suppresses_the_built_in_one)
{
    static const fj_method own[] = { FJ_METHOD("oslo_rpc_server_ping", FJ_PLAIN, who) };
    static const fj_endpoint later_version = FJ_ENDPOINT(NULL, "2.0", own);
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;

    opts.ping = true;
    rig_with(&opts);
    add(&later_version, "own");
    refused("{\"method\": \"oslo_rpc_server_ping\"}", NO_VERSION("1.0", "oslo_rpc_server_ping"));
    ck_assert_str_eq(served_by("{\"method\": \"oslo_rpc_server_ping\", \"version\": \"2.0\"}"), "own");
}
END_TEST

START_TEST(without_the_option_there_is_no_ping)
{
    rig();
    refused("{\"method\": \"oslo_rpc_server_ping\"}", NO_METHOD("oslo_rpc_server_ping"));
}
END_TEST

START_TEST(the_method_table_can_be_listed)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;
    const fj_endpoint *e;
    const fj_method *m;

    opts.ping = true;
    rig_with(&opts);
    add(&calc_20, "a");
    add(&calc_more, "b");
    ck_assert(fj_dispatcher_method(d, 1, &e, &m));
    ck_assert_str_eq(m->name, "only2");
    ck_assert(fj_dispatcher_method(d, 2, &e, &m));
    ck_assert_ptr_eq(e, &calc_more);
    ck_assert(fj_dispatcher_method(d, 3, &e, &m));
    ck_assert_str_eq(m->name, "oslo_rpc_server_ping");
    ck_assert(!fj_dispatcher_method(d, 4, &e, &m));
}
END_TEST

START_TEST(broken_tables_are_refused)
{
    static const fj_method no_fn[] = { FJ_METHOD("x", FJ_PLAIN, NULL) };
    static const fj_method twice[] = { FJ_METHOD("x", FJ_PLAIN, who), FJ_METHOD("x", FJ_PLAIN, who) };
    static const fj_method reserved[] = { FJ_METHOD("target", FJ_PLAIN, who) };
    static const fj_method good[] = { FJ_METHOD("x", FJ_PLAIN, who) };
    static const fj_endpoint broken[] = { FJ_ENDPOINT(NULL, NULL, no_fn),    FJ_ENDPOINT(NULL, NULL, twice),
                                          FJ_ENDPOINT(NULL, NULL, reserved), FJ_ENDPOINT(NULL, "one", good),
                                          FJ_ENDPOINT(NULL, "1", good),      { 0 } };

    rig_with(NULL);
    for (size_t i = 0; i < fj__countof(broken); i++) {
        fj_error *err = NULL;
        ck_assert_int_eq(fj_dispatcher_add(d, &broken[i], NULL, &err), FJ_BAD_ARGS);
        fj_error_free(err);
    }
}
END_TEST

/* ---- running ----------------------------------------------------------------------------------- */

START_TEST(a_method_sees_its_request)
{
    rig();
    mock_msg *m =
        call("{\"method\": \"who\", \"namespace\": \"calc\", \"version\": \"1.1\", \"args\": {\"a\": 1}}");
    json_t *want =
        json_pack("{s:s, s:s, s:s, s:{s:i}, s:{s:s, s:i}, s:b}", "data", "calc 1.3", "ns", "calc", "version",
                  "1.1", "args", "a", 1, "context", "user", "ann", "client_timeout", 60, "call", 1);
    ck_assert(json_equal(m->result, want));
    json_decref(want);
    ck_assert_ptr_nonnull(seen_current);
    ck_assert_ptr_null(fj_request_current());
}
END_TEST

START_TEST(missing_arguments_are_an_empty_object_and_no_result_is_null)
{
    rig();
    mock_msg *m = call("{\"method\": \"who\"}");
    ck_assert_uint_eq(json_object_size(json_object_get(m->result, "args")), 0);
    ck_assert(json_is_object(json_object_get(m->result, "args")));
    m = call("{\"method\": \"nothing\"}");
    ck_assert(m->answers == 1 && m->failure == NULL);
    ck_assert(m->result == NULL || json_is_null(m->result));
}
END_TEST

START_TEST(a_bare_code_is_sent_with_its_text)
{
    rig();
    refused("{\"method\": \"bare_code\"}", "builtins", "TypeError", fj_code_text(FJ_BAD_ARGS));
    ck_assert_uint_eq(log_count[FJ_LOG_ERROR], 1);
}
END_TEST

START_TEST(a_raised_class_keeps_its_arguments_and_gets_a_traceback)
{
    rig();
    mock_msg *m = call("{\"method\": \"own_class\", \"namespace\": \"calc\"}");
    check_failure(m, "calc.errors", "Overflow", "too much");
    ck_assert_int_eq(json_integer_value(json_array_get(fj_error_remote_args(m->failure), 0)), 7);
    const json_t *tb = fj_error_traceback(m->failure);
    ck_assert_str_eq(json_string_value(json_array_get(tb, 0)), "Traceback (most recent call last):\n");
    ck_assert_str_eq(json_string_value(json_array_get(tb, 1)), "  File \"calc\", line 0, in own_class\n");
    ck_assert_str_eq(json_string_value(json_array_get(tb, 2)), "calc.errors.Overflow: too much\n");
}
END_TEST

START_TEST(an_expected_failure_is_logged_at_debug_level_only)
{
    rig();
    mock_msg *m = call("{\"method\": \"expected\"}");
    check_failure(m, "builtins", "TypeError", fj_code_text(FJ_BAD_ARGS));
    ck_assert_uint_eq(log_count[FJ_LOG_ERROR], 0);
    ck_assert_uint_eq(log_count[FJ_LOG_DEBUG], 1);
}
END_TEST

START_TEST(a_cast_gets_no_answer_whatever_comes_of_it)
{
    rig();
    mock_msg *ok = serve("{\"method\": \"who\"}", false), *bad = serve("{\"method\": \"bare_code\"}", false);
    ck_assert(ok->done && ok->freed && ok->tries == 0);
    ck_assert(bad->done && bad->freed && bad->tries == 0);
    ck_assert_uint_eq(finished, 2);
}
END_TEST

START_TEST(an_answer_that_cannot_be_encoded_is_replaced_by_a_failure)
{
    rig();
    mock_msg *m = mock_message(mock, "{\"method\": \"who\"}", true);
    m->reply_codes[0] = FJ_TOO_BIG;
    fj_dispatcher_run(d, begin(m), NULL, NULL);
    ck_assert_uint_eq(m->tries, 2);
    ck_assert_str_eq(fj_error_text(m->failure), "the result of who cannot be sent: refused by the mock");
    ck_assert_str_eq(fj_error_remote_class(m->failure), "ValueError");
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(a_message_no_answer_fits_is_not_delivered_for_ever)
{
    rig();
    mock_msg *m = mock_message(mock, "{\"method\": \"who\"}", true);
    m->reply_codes[0] = m->reply_codes[1] = FJ_BAD_VALUE;
    fj_dispatcher_run(d, begin(m), NULL, NULL);
    ck_assert(m->done && m->freed && !m->requeued);
    ck_assert_uint_eq(m->answers, 0);
}
END_TEST

START_TEST(a_lost_connection_leaves_the_message_to_the_broker)
{
    rig();
    mock_msg *m = mock_message(mock, "{\"method\": \"who\"}", true);
    m->reply_codes[0] = FJ_LOST;
    fj_dispatcher_run(d, begin(m), NULL, NULL);
    ck_assert_uint_eq(m->tries, 1);
    ck_assert(!m->done && m->requeued && m->freed);
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(a_dropped_request_fails_without_running)
{
    fj_error *failure = NULL;

    rig();
    mock_msg *m = mock_message(mock, "{\"method\": \"later\"}", true);
    fj_request *req = begin(m);
    ck_assert_str_eq(fj_request_chosen(req)->name, "later");
    (void)fj_fail(&failure, FJ_CLOSED, "the server stops");
    fj_dispatcher_drop(d, req, failure);
    check_failure(m, "builtins", "RuntimeError", "the server stops");
    ck_assert_ptr_null(kept);
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(without_memory_for_a_request_the_message_goes_back)
{
    rig();
    mock_msg *m = mock_message(mock, "{\"method\": \"who\"}", true);
    fj_request *req = NULL;
    fj__alloc_fail(1, true);
    fj_code code = fj_dispatcher_begin(d, &m->in, on_done, &finished, &req, NULL);
    fj__alloc_fail(0, false);
    ck_assert_int_eq(code, FJ_NOMEM);
    ck_assert_ptr_null(req);
    ck_assert(m->requeued && m->freed);
}
END_TEST

START_TEST(without_memory_while_it_runs_a_request_is_still_answered)
{
    rig();
    for (unsigned long nth = 1; nth < 30; nth++) {
        mock_msg *m = mock_message(mock, "{\"method\": \"bare_code\", \"args\": {\"a\": 1}}", true);
        fj_request *req = begin(m);
        fj__alloc_fail(nth, true);
        fj_dispatcher_run(d, req, NULL, NULL);
        fj__alloc_fail(0, false);
        ck_assert_uint_eq(m->answers, 1);
        ck_assert(m->freed);
    }
    ck_assert_uint_eq(finished, 29);
}
END_TEST

/* ---- wrappers and serializers ------------------------------------------------------------------ */

static fj_code wrapper(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_object_set_new(args, "wrapped", json_string(user));
    return fj_invoke_direct(NULL, req, args, ret, err);
}

START_TEST(an_invoke_function_stands_around_the_method)
{
    char by[] = "me";

    rig();
    mock_msg *m = mock_message(mock, "{\"method\": \"who\"}", true);
    fj_dispatcher_run(d, begin(m), wrapper, by);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(m->result, "args"), "wrapped")), "me");
}
END_TEST

static fj_code entity_in(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err)
{
    (void)user;
    ck_assert_str_eq(json_string_value(json_object_get(context, "seen")), "yes");
    if (json_is_null(in))
        return fj_fail(err, FJ_BAD_VALUE, "no nulls");
    *ret = json_pack("{s:O}", "in", in);
    return FJ_OK;
}

static fj_code entity_out(void *user, const json_t *context, json_t *in, json_t **ret, fj_error **err)
{
    (void)user;
    ck_assert_str_eq(json_string_value(json_object_get(context, "seen")), "yes");
    if (json_is_null(in))
        return fj_fail(err, FJ_BAD_VALUE, "nothing to serialize");
    *ret = json_pack("{s:O}", "out", in);
    return FJ_OK;
}

static fj_code context_in(void *user, json_t *in, json_t **ret, fj_error **err)
{
    (void)user;
    (void)err;
    *ret = json_copy(in);
    json_object_set_new(*ret, "seen", json_string("yes"));
    return FJ_OK;
}

static const fj_serializer both = { sizeof both, NULL, entity_out, entity_in, NULL, context_in };

START_TEST(a_serializer_sees_each_argument_the_context_and_the_result)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;

    opts.serializer = &both;
    rig_with(&opts);
    add(&null_10, "null");
    mock_msg *m = call("{\"method\": \"who\", \"args\": {\"a\": 1, \"b\": 2}}");
    json_t *args = json_object_get(json_object_get(m->result, "out"), "args"), *want;
    want = json_pack("{s:{s:i}, s:{s:i}}", "a", "in", 1, "b", "in", 2);
    ck_assert(json_equal(args, want));
    json_decref(want);
    refused("{\"method\": \"who\", \"args\": {\"a\": null}}", "builtins", "ValueError", "no nulls");
    refused("{\"method\": \"nothing\"}", "builtins", "ValueError", "nothing to serialize");
}
END_TEST

/* ---- deferred ---------------------------------------------------------------------------------- */

static fj_request *defer(mock_msg **ret)
{
    *ret = call("{\"method\": \"later\", \"args\": {}}");
    ck_assert_ptr_nonnull(kept);
    ck_assert_uint_eq((*ret)->answers, 0);
    ck_assert_uint_eq(finished, 0);
    return kept;
}

START_TEST(a_deferred_request_is_answered_later_and_once)
{
    mock_msg *m;
    fj_error *err = NULL, *failure = NULL;

    rig();
    fj_request *req = defer(&m);
    ck_assert_int_eq(fj_request_reply(req, json_string("late"), &err), FJ_OK);
    ck_assert_str_eq(json_string_value(m->result), "late");
    ck_assert(m->freed);
    ck_assert_uint_eq(finished, 1);
    ck_assert_int_eq(fj_request_reply(req, json_string("again"), &err), FJ_STATE);
    (void)fj_fail(&failure, FJ_BAD_ARGS, "again");
    ck_assert_int_eq(fj_request_fail(req, failure, &err), FJ_STATE);
    fj_error_free(err);
    ck_assert_str_eq(fj_request_method(req), "later");
    fj_request_unref(req);
    ck_assert_uint_eq(m->tries, 1);
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(a_deferred_request_may_fail)
{
    mock_msg *m;
    fj_error *failure = NULL;

    rig();
    fj_request *req = defer(&m);
    (void)fj_fail(&failure, FJ_NOT_FOUND, "gone");
    ck_assert_int_eq(fj_request_fail(req, failure, NULL), FJ_OK);
    check_failure(m, "builtins", "KeyError", "gone");
    fj_request_unref(req);
}
END_TEST

START_TEST(the_last_reference_dropped_unanswered_fails_the_request)
{
    mock_msg *m;

    rig();
    fj_request *req = defer(&m);
    fj_request_ref(req);
    fj_request_unref(req);
    ck_assert_uint_eq(m->answers, 0);
    fj_request_unref(req);
    check_failure(m, "builtins", "RuntimeError", "the request was dropped without an answer");
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(deferring_without_a_reference_fails)
{
    rig();
    refused("{\"method\": \"forgetful\"}", "builtins", "RuntimeError",
            "the method deferred the request but kept no reference to it");
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(a_method_may_answer_before_it_returns)
{
    rig();
    mock_msg *m = call("{\"method\": \"at_once\"}");
    ck_assert_uint_eq(m->tries, 1);
    ck_assert_str_eq(json_string_value(m->result), "early");
    ck_assert_uint_eq(finished, 1);
}
END_TEST

START_TEST(a_deferred_answer_that_cannot_be_encoded_fails_the_request_and_says_so)
{
    mock_msg *m;

    rig();
    fj_request *req = defer(&m);
    m->reply_codes[0] = FJ_BAD_VALUE;
    ck_assert_int_eq(fj_request_reply(req, json_string("odd"), NULL), FJ_BAD_VALUE);
    ck_assert_str_eq(fj_error_text(m->failure), "the result of later cannot be sent: refused by the mock");
    fj_request_unref(req);
    ck_assert_uint_eq(finished, 1);
}
END_TEST

struct race {
    fj_request *req;
    fj_code code;
    pthread_barrier_t *start;
};

static void *answer_and_drop(void *user)
{
    struct race *r = user;

    (void)pthread_barrier_wait(r->start);
    r->code = fj_request_reply(r->req, json_integer(1), NULL);
    fj_request_unref(r->req);
    return NULL;
}

START_TEST(of_two_threads_that_answer_one_wins)
{
    rig();
    for (int round = 0; round < 200; round++) {
        pthread_barrier_t start;
        pthread_t threads[2];
        struct race race[2];
        mock_msg *m = call("{\"method\": \"later\"}");
        fj_request_ref(kept);
        (void)pthread_barrier_init(&start, NULL, 2);
        for (int i = 0; i < 2; i++) {
            race[i] = (struct race){ kept, FJ_OK, &start };
            ck_assert_int_eq(pthread_create(&threads[i], NULL, answer_and_drop, &race[i]), 0);
        }
        (void)pthread_join(threads[0], NULL);
        (void)pthread_join(threads[1], NULL);
        (void)pthread_barrier_destroy(&start);
        ck_assert_uint_eq(m->tries, 1);
        ck_assert((race[0].code == FJ_OK) != (race[1].code == FJ_OK));
        ck_assert_uint_eq(finished, (unsigned)round + 1);
    }
}
END_TEST

/* ---- the suite --------------------------------------------------------------------------------- */

static TCase *tcase(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("dispatcher");
    TCase *tc = tcase(suite, "choosing");
    tcase_add_test(tc, the_first_endpoint_that_has_the_method_serves_it);
    tcase_add_test(tc, legacy_namespaces_are_served_too);
    tcase_add_test(tc, what_no_endpoint_has_fails_as_in_oslo);
    tcase_add_test(tc, odd_messages_fail_as_in_python);
    tcase_add_test(tc, a_cast_that_fits_nothing_is_done_with_and_logged);
    tcase_add_test(tc, access_policies_say_what_may_be_called);
    tcase_add_test(tc, a_catch_all_takes_what_no_other_method_takes);
    tcase_add_test(tc, a_catch_all_takes_no_private_names_and_no_other_versions);
    tcase_add_loop_test(tc, ping_answers_pong_under_every_policy, 0, 3);
    tcase_add_test(tc, an_endpoint_with_a_ping_of_its_own_suppresses_the_built_in_one);
    tcase_add_test(tc, without_the_option_there_is_no_ping);
    tcase_add_test(tc, the_method_table_can_be_listed);
    tcase_add_test(tc, broken_tables_are_refused);
    tc = tcase(suite, "running");
    tcase_add_test(tc, a_method_sees_its_request);
    tcase_add_test(tc, missing_arguments_are_an_empty_object_and_no_result_is_null);
    tcase_add_test(tc, a_bare_code_is_sent_with_its_text);
    tcase_add_test(tc, a_raised_class_keeps_its_arguments_and_gets_a_traceback);
    tcase_add_test(tc, an_expected_failure_is_logged_at_debug_level_only);
    tcase_add_test(tc, a_cast_gets_no_answer_whatever_comes_of_it);
    tcase_add_test(tc, an_answer_that_cannot_be_encoded_is_replaced_by_a_failure);
    tcase_add_test(tc, a_message_no_answer_fits_is_not_delivered_for_ever);
    tcase_add_test(tc, a_lost_connection_leaves_the_message_to_the_broker);
    tcase_add_test(tc, a_dropped_request_fails_without_running);
    tcase_add_test(tc, without_memory_for_a_request_the_message_goes_back);
    tcase_add_test(tc, without_memory_while_it_runs_a_request_is_still_answered);
    tc = tcase(suite, "around");
    tcase_add_test(tc, an_invoke_function_stands_around_the_method);
    tcase_add_test(tc, a_serializer_sees_each_argument_the_context_and_the_result);
    tc = tcase(suite, "deferred");
    tcase_add_test(tc, a_deferred_request_is_answered_later_and_once);
    tcase_add_test(tc, a_deferred_request_may_fail);
    tcase_add_test(tc, the_last_reference_dropped_unanswered_fails_the_request);
    tcase_add_test(tc, deferring_without_a_reference_fails);
    tcase_add_test(tc, a_method_may_answer_before_it_returns);
    tcase_add_test(tc, a_deferred_answer_that_cannot_be_encoded_fails_the_request_and_says_so);
    tcase_add_test(tc, of_two_threads_that_answer_one_wins);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
