/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What real oslo.messaging put on the wire: each recorded body is read, its meaning is taken out, and a body made of
 * that meaning is compared with the recorded one byte by byte, and so at all three levels of JSON, in the order of keys.
 */
#include "transports/message.h"

#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define FILES "tests/data/golden/golden-*/*.json"

static glob_t files;

static bool has(const char *path, const char *part)
{
    return strstr(path, part) != NULL;
}

static json_t *read_file(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "rb");
    json_t *value;

    ck_assert_msg(file != NULL, "%s", path);
    size_t n = fread(text, 1, sizeof text, file);
    ck_assert_uint_lt(n, sizeof text);
    (void)fclose(file);
    ck_assert_int_eq(fj_json_read(text, n, NULL, &value, NULL), FJ_OK);
    return value;
}

static const char *body_of(const json_t *file)
{
    const char *body = json_string_value(json_object_get(file, "body"));

    ck_assert_ptr_nonnull(body);
    return body;
}

static json_t *opened(const char *body)
{
    json_t *message;
    fj_error *err = NULL;

    ck_assert_msg(fj__message_open(body, strlen(body), NULL, &message, &err) == FJ_OK, "%s",
                  fj_error_text(err));
    return message;
}

static void same_body(const char *path, char *made, const char *recorded)
{
    ck_assert_msg(strcmp(made, recorded) == 0, "%s\nmade     %.2000s\nrecorded %.2000s", path, made, recorded);
    free(made);
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* What stands under a request's other keys belongs to the transport. */
static void only_request_keys_are_left(const json_t *message)
{
    static const char *const known[] = { "method", "args", "namespace", "version" };
    size_t seen = 0;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        seen += json_object_get(message, known[i]) != NULL;
    ck_assert_uint_eq(seen, json_object_size(message));
}

static void check_request(const char *path, const char *body)
{
    json_t *message = opened(body);
    fj__request_in in;
    char *made;

    ck_assert_int_eq(fj__message_take(message, &in, NULL), FJ_OK);
    only_request_keys_are_left(message);
    bool call = has(path, "/call_") || has(path, "/cap_");
    ck_assert_int_eq(in.msg_id != NULL, call);
    ck_assert_int_eq(in.reply_q != NULL, call);
    if (call) {
        ck_assert_uint_eq(strlen(in.msg_id), 32);
        ck_assert_int_eq(strncmp(in.reply_q, "reply_", 6), 0);
    }
    ck_assert_uint_eq(strlen(in.unique_id), 32);
    ck_assert_uint_eq(in.monitor_s, has(path, "call_cm.") ? 4 : 0);
    ck_assert(json_is_object(json_object_get(message, "args")));
    ck_assert_ptr_nonnull(json_object_get(in.context, "client_timeout"));
    ck_assert_int_eq(json_object_del(in.context, "client_timeout"), 0); /* the reader's own */

    fj__request_out out = { .method = text_at(message, "method"),
                            .args = json_object_get(message, "args"),
                            .ns = text_at(message, "namespace"),
                            .version = text_at(message, "version"),
                            .msg_id = in.msg_id,
                            .reply_q = in.reply_q,
                            .monitor = in.monitor_s,
                            .unique_id = in.unique_id,
                            .context = in.context };
    ck_assert_int_eq(fj__message_request(&out, NULL, &made, NULL, NULL), FJ_OK);
    same_body(path, made, body);
    fj__request_in_fini(&in);
    json_decref(message);
}

static void check_reply(const char *path, const char *body)
{
    json_t *message = opened(body);
    fj__reply_in in;
    char *made;

    ck_assert_int_eq(fj__message_reply_in(message, NULL, &in, NULL), FJ_OK);
    ck_assert_uint_eq(strlen(in.msg_id), 32);
    ck_assert_int_eq(in.ending, !has(path, ".heartbeat"));
    ck_assert_int_eq(in.failure != NULL, has(path, ".failure.json"));
    if (in.failure != NULL) {
        ck_assert_int_eq(fj_error_code(in.failure), FJ_REMOTE);
        ck_assert_int_eq(fj_error_sent(in.failure), FJ_SENT_YES);
        ck_assert_uint_gt(json_array_size(fj_error_traceback(in.failure)), 1);
        ck_assert(json_is_null(in.result));
    }
    ck_assert_int_eq(fj__message_reply(in.msg_id, text_at(message, "_unique_id"), in.result, in.failure,
                                       in.ending, NULL, &made, NULL, NULL),
                     FJ_OK);
    same_body(path, made, body);
    fj__reply_in_fini(&in);
    json_decref(message);
}

static void check_notification(const char *path, const char *body)
{
    json_t *message = opened(body);
    fj__request_in in;
    char *made;

    ck_assert_int_eq(fj__message_take(message, &in, NULL), FJ_OK);
    ck_assert_uint_eq(strlen(in.unique_id), 32);
    ck_assert_ptr_null(in.msg_id);
    ck_assert_uint_eq(strlen(text_at(message, "message_id")), 36);
    ck_assert_uint_eq(json_object_size(message), 6);
    ck_assert_int_eq(json_object_del(in.context, "client_timeout"), 0); /* the reader's own */

    fj_notification n = FJ_NOTIFICATION(.message_id = text_at(message, "message_id"),
                                        .publisher_id = text_at(message, "publisher_id"),
                                        .event_type = text_at(message, "event_type"),
                                        .timestamp = text_at(message, "timestamp"),
                                        .payload = json_object_get(message, "payload"), .context = in.context,
                                        .topic = "notifications", .version = has(path, "/notify_v1_") ? 1 : 2);
    ck_assert(fj_priority_parse(text_at(message, "priority"), &n.priority));
    ck_assert_int_eq(fj__notification_check(&n, NULL), FJ_OK);
    ck_assert_int_eq(fj__message_notification(&n, in.unique_id, NULL, &made, NULL, NULL), FJ_OK);
    same_body(path, made, body);
    fj__request_in_fini(&in);
    json_decref(message);
}

static size_t unbase64(const char *from, unsigned char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, held = 0;
    size_t n = 0;

    for (; *from != '\0' && *from != '='; from++) {
        const char *digit = strchr(digits, *from);
        ck_assert_ptr_nonnull(digit);
        bits = bits << 6 | (unsigned)(digit - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            to[n++] = (unsigned char)(bits >> held);
        }
    }
    return n;
}

static void check_compressed(const char *path, const char *body)
{
    static unsigned char packed[1 << 16], plain[1 << 16];
    uLongf n = sizeof plain - 1;

    ck_assert_int_eq(strncmp(body, "base64:", 7), 0);
    ck_assert_uint_lt(strlen(body), sizeof packed);
    ck_assert_int_eq(uncompress(plain, &n, packed, (uLong)unbase64(body + 7, packed)), Z_OK);
    plain[n] = '\0';
    check_notification(path, (const char *)plain);
}

START_TEST(a_recorded_message_has_its_meaning_and_is_made_again)
{
    const char *path = files.gl_pathv[_i];
    json_t *file = read_file(path);

    if (has(path, "compressed"))
        check_compressed(path, body_of(file));
    else if (has(path, "/notify_"))
        check_notification(path, body_of(file));
    else if (has(path, ".request.json") || has(path, ".cast.json") || has(path, ".returned.json"))
        check_request(path, body_of(file));
    else if (has(path, ".reply.json") || has(path, ".failure.json") || has(path, ".heartbeat"))
        check_reply(path, body_of(file));
    else
        ck_abort_msg("%s: a kind of message that no check is written for", path);
    json_decref(file);
}
END_TEST

START_TEST(every_recorded_message_is_there)
{
    size_t requests = 0, replies = 0, failures = 0, notifications = 0;

    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        notifications += has(path, "/notify_");
        requests += has(path, ".request.json") || has(path, ".cast.json") || has(path, ".returned.json");
        replies += has(path, ".reply.json") || has(path, ".heartbeat");
        failures += has(path, ".failure.json");
    }
    ck_assert_uint_eq(requests, 90);
    ck_assert_uint_eq(replies, 44);
    ck_assert_uint_eq(failures, 24);
    ck_assert_uint_eq(notifications, 39);
    ck_assert_uint_eq(requests + replies + failures + notifications, files.gl_pathc);
}
END_TEST

static const struct {
    const char *label, *module, *class_name, *text, *args, *kwargs;
} failures[] = {
    { "call_fail", "builtins", "ValueError", "nope", "[\"nope\"]", "{}" },
    { "call_keyerr", "builtins", "KeyError", "'missing'", "[\"missing\"]", "{}" },
    { "call_unifail", "builtins", "ValueError", "h\xc3\xa9 \xe4\xb8\x96", "[\"h\\u00e9 \\u4e16\"]", "{}" },
    { "call_myerr", "__main__", "MyErr", "my error 1", "[\"my error 1\"]", "{\"a\": 1, \"b\": \"two\"}" },
    { "call_oserr", "builtins", "FileNotFoundError", "[Errno 2] No such file or directory: '/nope'",
      "[2, \"No such file or directory\"]", "{}" },
    { "call_nosuch", "oslo_messaging.rpc.dispatcher", "NoSuchMethod",
      "Endpoint does not support RPC method nosuch", "[\"Endpoint does not support RPC method nosuch\"]",
      "{}" },
};

START_TEST(a_recorded_failure_says_what_python_raised)
{
    char path[200], *text;
    fj__reply_in in;

    (void)snprintf(path, sizeof path, "tests/data/golden/golden-14.0.3/%s.failure.json", failures[_i].label);
    json_t *file = read_file(path), *message = opened(body_of(file));
    ck_assert_int_eq(fj__message_reply_in(message, NULL, &in, NULL), FJ_OK);
    ck_assert_str_eq(fj_error_remote_module(in.failure), failures[_i].module);
    ck_assert_str_eq(fj_error_remote_class(in.failure), failures[_i].class_name);
    ck_assert_str_eq(fj_error_text(in.failure), failures[_i].text);
    ck_assert_int_eq(fj_json_write(fj_error_remote_args(in.failure), NULL, &text, NULL, NULL), FJ_OK);
    ck_assert_str_eq(text, failures[_i].args);
    free(text);
    ck_assert_int_eq(fj_json_write(fj_error_remote_kwargs(in.failure), NULL, &text, NULL, NULL), FJ_OK);
    ck_assert_str_eq(text, failures[_i].kwargs);
    free(text);
    fj__reply_in_fini(&in);
    json_decref(message);
    json_decref(file);
}
END_TEST

int main(void)
{
    if (glob(FILES, 0, NULL, &files) != 0)
        files.gl_pathc = 0; /* every_recorded_message_is_there fails then */
    Suite *suite = suite_create("golden");
    TCase *tc = tcase_create("messages");
    tcase_add_test(tc, every_recorded_message_is_there);
    tcase_add_loop_test(tc, a_recorded_message_has_its_meaning_and_is_made_again, 0, (int)files.gl_pathc);
    tcase_add_loop_test(tc, a_recorded_failure_says_what_python_raised, 0,
                        (int)(sizeof failures / sizeof failures[0]));
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    globfree(&files);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
