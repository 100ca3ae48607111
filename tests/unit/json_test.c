/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON reader and writer.  tests/data/json/python.txt holds texts, each followed by Python's answer to it. */
#include "base/alloc.h"
#include "base/json.h"

#include <check.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *read_as(fj_json_odd odd, const char *text, size_t n)
{
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    json_t *value = NULL;
    fj_error *err = NULL;

    opts.odd = odd;
    ck_assert_msg(fj_json_read(text, n, &opts, &value, &err) == FJ_OK, "%s: %s", text, fj_error_text(err));
    return value;
}

static json_t *read_text(const char *text)
{
    return read_as(FJ_JSON_WRAP, text, strlen(text));
}

static char *written(const json_t *value)
{
    char *text = NULL;
    size_t n = 0;

    ck_assert_int_eq(fj_json_write(value, NULL, &text, &n, NULL), FJ_OK);
    ck_assert_uint_eq(strlen(text), n);
    return text;
}

/* The value (taken) is written so. */
static void writes(json_t *value, const char *wanted)
{
    char *text = written(value);

    ck_assert_str_eq(text, wanted);
    free(text);
    json_decref(value);
}

static void refused(const char *text, size_t n, fj_code code, const char *part)
{
    json_t *value = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(fj_json_read(text, n, NULL, &value, &err), code);
    ck_assert_ptr_null(value);
    ck_assert_int_eq(fj_error_code(err), code);
    ck_assert_msg(strstr(fj_error_text(err), part) != NULL, "\"%s\" has no \"%s\"", fj_error_text(err), part);
    fj_error_free(err);
}

/* ---- Python ------------------------------------------------------------------------------------ */

static void answers_as_python(const char *text, size_t n, const char *wanted)
{
    json_t *value = NULL;
    char *exact = malloc(n != 0 ? n : 1); /* without a NUL behind it, for a sanitizer to watch */

    ck_assert_ptr_nonnull(exact);
    memcpy(exact, text, n);
    if (strcmp(wanted, "refused") == 0) {
        ck_assert_msg(fj_json_read(exact, n, NULL, &value, NULL) == FJ_BAD_JSON, "%s", text);
    } else {
        ck_assert_msg(fj_json_read(exact, n, NULL, &value, NULL) == FJ_OK, "%s", text);
        writes(value, wanted);
    }
    free(exact);
}

static size_t replay_python(void)
{
    FILE *file = fopen("tests/data/json/python.txt", "rb");
    char *text = NULL, *answer = NULL;
    size_t text_room = 0, answer_room = 0, count = 0;
    ssize_t n, m;

    ck_assert_ptr_nonnull(file);
    while ((n = getline(&text, &text_room, file)) > 0 && (m = getline(&answer, &answer_room, file)) > 0) {
        text[n - 1] = answer[m - 1] = '\0';
        answers_as_python(text, (size_t)n - 1, answer);
        count++;
    }
    free(text);
    free(answer);
    (void)fclose(file);
    return count;
}

START_TEST(texts_are_answered_as_python_answers_them)
{
    ck_assert_uint_eq(replay_python(), 390);
}
END_TEST

START_TEST(a_locale_with_a_decimal_comma_changes_nothing)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" };

    /* Where no such locale is installed this is the test above once more. */
    for (size_t i = 0; i < fj__countof(names) && setlocale(LC_ALL, names[i]) == NULL; i++)
        ;
    ck_assert_uint_eq(replay_python(), 390);
}
END_TEST

/* ---- what C cannot hold ------------------------------------------------------------------------ */

static const struct {
    const char *text, *wrap, *null;
} odd[] = {
    { "NaN", "{\"__fjord__\": \"NaN\"}", "null" },
    { "Infinity", "{\"__fjord__\": \"Infinity\"}", "null" },
    { "-Infinity", "{\"__fjord__\": \"-Infinity\"}", "null" },
    { "1e999", "{\"__fjord__\": \"Infinity\"}", "null" },
    { "9223372036854775808", "{\"__fjord__\": \"int\", \"digits\": \"9223372036854775808\"}",
      "9.223372036854776e+18" },
    { "-9223372036854775809", "{\"__fjord__\": \"int\", \"digits\": \"-9223372036854775809\"}",
      "-9.223372036854776e+18" },
};

/* The value as jansson writes it, which knows nothing of wrapped forms. */
static void holds(json_t *value, const char *wanted)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    json_t *other = read_text(wanted);

    ck_assert_msg(json_equal(value, other), "%s is not %s", text, wanted);
    free(text);
    json_decref(value);
    json_decref(other);
}

START_TEST(an_odd_number_is_mapped_as_the_options_say)
{
    const char *text = odd[_i].text;
    json_t *value = read_as(FJ_JSON_WRAP, text, strlen(text));
    json_t *plain = json_loads(odd[_i].wrap, 0, NULL);
    fj_json_opts opts = FJ_JSON_OPTS_INIT;

    ck_assert(json_equal(value, plain));
    json_decref(plain);
    writes(value, strcmp(text, "1e999") == 0 ? "Infinity" : text);
    holds(read_as(FJ_JSON_NULL, text, strlen(text)), odd[_i].null);
    opts.odd = FJ_JSON_REFUSE;
    value = NULL;
    ck_assert_int_eq(fj_json_read(text, strlen(text), &opts, &value, NULL), FJ_BAD_JSON);
    ck_assert_ptr_null(value);
}
END_TEST

START_TEST(integers_of_64_bits_stay_integers)
{
    json_t *value = read_text("[9223372036854775807, -9223372036854775808]");

    ck_assert_int_eq(json_integer_value(json_array_get(value, 0)), INT64_MAX);
    ck_assert_int_eq(json_integer_value(json_array_get(value, 1)), INT64_MIN);
    json_decref(value);
}
END_TEST

START_TEST(an_object_that_only_looks_wrapped_is_written_as_it_is)
{
    static const char *const texts[] = {
        "{\"__fjord__\": \"nan\"}",
        "{\"__fjord__\": 1}",
        "{\"__fjord__\": \"NaN\", \"b\": 1}",
        "{\"__fjord__\": \"int\"}",
        "{\"__fjord__\": \"int\", \"digits\": 5}",
        "{\"__fjord__\": \"int\", \"digits\": \"\"}",
        "{\"__fjord__\": \"int\", \"digits\": \"-\"}",
        "{\"__fjord__\": \"int\", \"digits\": \"007\"}",
        "{\"__fjord__\": \"int\", \"digits\": \"-0\"}",
        "{\"__fjord__\": \"int\", \"digits\": \"1, 2\"}",
        "{\"__fjord__\": \"int\", \"digits\": \"1\\u0000\"}",
        "{\"__fjord__\": \"int\", \"other\": \"1\"}",
    };

    for (size_t i = 0; i < fj__countof(texts); i++)
        writes(read_text(texts[i]), texts[i]);
}
END_TEST

/* ---- strings ----------------------------------------------------------------------------------- */

static void reads_string(const char *text, const char *wanted, size_t n)
{
    json_t *value = read_text(text);

    ck_assert_uint_eq(json_string_length(value), n);
    ck_assert_mem_eq(json_string_value(value), wanted, n);
    json_decref(value);
}
#define READS(text, wanted) reads_string(text, wanted, sizeof(wanted) - 1)

START_TEST(half_a_surrogate_pair_is_a_replacement_character)
{
    READS("\"\\ud83d\"", "\xEF\xBF\xBD");
    READS("\"\\ude00x\"", "\xEF\xBF\xBDx");
    READS("\"\\ud83d\\u0041\"", "\xEF\xBF\xBD"
                                "A");
    READS("\"\\ud83d\\ud83d\\ude00\"", "\xEF\xBF\xBD\xF0\x9F\x98\x80");
    READS("\"\\ud83d\\n\"", "\xEF\xBF\xBD\n");
}
END_TEST

START_TEST(a_nul_is_kept_in_a_value_and_replaced_in_a_key)
{
    READS("\"a\\u0000b\"", "a\0b");
    writes(read_text("{\"a\\u0000b\": \"\\u0000\"}"), "{\"a\\ufffdb\": \"\\u0000\"}");
}
END_TEST

START_TEST(keys_of_any_length_survive_the_values_behind_them)
{
    const char *text = "{\"\": {\"a\\n\": {\"b\\t\": [\"c\\r\", {\"d\\f\": \"e\\b\"}]}}, \"f\\\\\": 1}";

    writes(read_text(text), text);
}
END_TEST

START_TEST(only_utf8_is_taken)
{
    static const char *const bad[] = {
        "\"\x80\"",
        "\"\xC0\x80\"",
        "\"\xC1\xBF\"",
        "\"\xE0\x80\x80\"",
        "\"\xE0\x9F\xBF\"",
        "\"\xED\xA0\x80\"",
        "\"\xED\xBF\xBF\"",
        "\"\xF0\x80\x80\x80\"",
        "\"\xF4\x90\x80\x80\"",
        "\"\xF5\x80\x80\x80\"",
        "\"\xFF\"",
        "\"\xC3\"",
        "\"\xE2\x82\"",
        "\"\xF0\x9F\x98\"",
        "\"\xC3(\"",
        "\"12345678\xFE-2345678\"",
        "{\"\xC0\x80\": 1}",
    };

    for (size_t i = 0; i < fj__countof(bad); i++)
        refused(bad[i], strlen(bad[i]), FJ_BAD_JSON, "UTF-8");
    READS(
        "\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"",
        "\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
}
END_TEST

START_TEST(a_sequence_cut_by_the_end_of_the_text_is_refused)
{
    refused("\"\xF0\x9F\x98", 4, FJ_BAD_JSON, "UTF-8");
    refused("\"\xC3", 2, FJ_BAD_JSON, "UTF-8");
    refused("\"ab", 3, FJ_BAD_JSON, "without its end");
    refused("\"\\", 2, FJ_BAD_JSON, "without its end");
    refused("\"\\u00", 5, FJ_BAD_JSON, "hex");
}
END_TEST

START_TEST(a_control_character_is_found_at_any_place_in_a_string)
{
    for (size_t at = 1; at < 20; at++) {
        char text[22], where[24];
        memset(text, 'x', sizeof text);
        text[0] = text[21] = '"';
        text[at] = '\x1F';
        (void)snprintf(where, sizeof where, "string at byte %zu", at);
        refused(text, sizeof text, FJ_BAD_JSON, where);
    }
}
END_TEST

START_TEST(a_byte_that_is_nul_ends_nothing)
{
    refused("1\0", 2, FJ_BAD_JSON, "more behind the value at byte 1");
    refused("\"a\0b\"", 5, FJ_BAD_JSON, "control character in a string at byte 2");
    refused("\"\\\0\"", 4, FJ_BAD_JSON, "escape at byte 1");
}
END_TEST

START_TEST(a_string_that_is_not_utf8_is_not_written)
{
    json_t *value = json_pack("[o]", json_string_nocheck("a\xFF"));
    char *text = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(fj_json_write(value, NULL, &text, NULL, &err), FJ_BAD_VALUE);
    ck_assert_ptr_null(text);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "UTF-8"));
    fj_error_free(err);
    json_decref(value);
}
END_TEST

START_TEST(a_lenient_writer_mends_what_is_not_utf8)
{
    fj__json_out o = fj__json_out_new(NULL);
    char *text;

    o.lenient = true;
    fj__json_out_text(&o, "a\xFF\xC3\xA9\xE2\x82");
    ck_assert_int_eq(fj__json_out_finish(&o, &text, NULL, NULL), FJ_OK);
    ck_assert_str_eq(text, "\"a\\ufffd\\u00e9\\ufffd\\ufffd\"");
    free(text);
}
END_TEST

/* ---- objects, order ---------------------------------------------------------------------------- */

START_TEST(of_duplicate_keys_the_last_wins_in_the_place_of_the_first)
{
    writes(read_text("{\"a\": 1, \"b\": 2, \"a\": 3}"), "{\"a\": 3, \"b\": 2}");
}
END_TEST

START_TEST(keys_keep_their_order)
{
    const char *text =
        "{\"z\": 1, \"y\": 2, \"x\": 3, \"a\": 4, \"m\": 5, \"b\": 6, \"\": 7, \"k\": 8, \"c\": 9}";

    writes(read_text(text), text);
}
END_TEST

START_TEST(no_value_is_written_as_null)
{
    writes(NULL, "null");
}
END_TEST

/* ---- limits ------------------------------------------------------------------------------------ */

static fj_code read_nested(unsigned levels, unsigned max, bool objects)
{
    static char text[8192];
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    json_t *value = NULL;
    size_t n = 0;

    for (unsigned i = 0; i < levels; i++)
        n += (size_t)sprintf(text + n, "%s", objects ? "{\"\":" : "[");
    n += (size_t)sprintf(text + n, "0");
    for (unsigned i = 0; i < levels; i++)
        text[n++] = objects ? '}' : ']';
    opts.max_depth = max;
    fj_code code = fj_json_read(text, n, &opts, &value, NULL);
    json_decref(value);
    return code;
}

START_TEST(nesting_ends_at_the_depth_cap_when_reading)
{
    ck_assert_int_eq(read_nested(64, 0, false), FJ_OK);
    ck_assert_int_eq(read_nested(65, 0, false), FJ_TOO_DEEP);
    ck_assert_int_eq(read_nested(64, 0, true), FJ_OK);
    ck_assert_int_eq(read_nested(65, 0, true), FJ_TOO_DEEP);
    ck_assert_int_eq(read_nested(3, 3, true), FJ_OK);
    ck_assert_int_eq(read_nested(4, 3, true), FJ_TOO_DEEP);
    ck_assert_int_eq(read_nested(1024, UINT_MAX, false), FJ_OK);
    ck_assert_int_eq(read_nested(1025, UINT_MAX, false), FJ_TOO_DEEP);
}
END_TEST

static fj_code write_nested(unsigned levels)
{
    json_t *value = json_array();
    char *text = NULL;

    for (unsigned i = 1; i < levels; i++) {
        json_t *outer = json_array();
        ck_assert_int_eq(json_array_append_new(outer, value), 0);
        value = outer;
    }
    fj_code code = fj_json_write(value, NULL, &text, NULL, NULL);
    free(text);
    json_decref(value);
    return code;
}

START_TEST(nesting_ends_at_the_depth_cap_when_writing)
{
    ck_assert_int_eq(write_nested(64), FJ_OK);
    ck_assert_int_eq(write_nested(65), FJ_TOO_DEEP);
}
END_TEST

START_TEST(a_text_over_the_byte_cap_is_neither_read_nor_written)
{
    fj_json_opts opts = FJ_JSON_OPTS_INIT;
    json_t *value = NULL;
    char *text = NULL;

    opts.max_bytes = 5;
    ck_assert_int_eq(fj_json_read("\"1234\"", 6, &opts, &value, NULL), FJ_TOO_BIG);
    ck_assert_ptr_null(value);
    ck_assert_int_eq(fj_json_read("\"123\"", 5, &opts, &value, NULL), FJ_OK);
    ck_assert_int_eq(fj_json_write(value, &opts, &text, NULL, NULL), FJ_OK);
    ck_assert_str_eq(text, "\"123\"");
    free(text);
    opts.max_bytes = 4;
    text = NULL;
    ck_assert_int_eq(fj_json_write(value, &opts, &text, NULL, NULL), FJ_TOO_BIG);
    ck_assert_ptr_null(text);
    json_decref(value);
}
END_TEST

START_TEST(options_of_an_older_shorter_kind_leave_the_rest_at_its_default)
{
    fj_json_opts old = { offsetof(fj_json_opts, max_depth), 7, 2, FJ_JSON_REFUSE };
    fj_json_opts full = fj__json_opts(&old);

    ck_assert_uint_eq(full.max_bytes, 7);
    ck_assert_uint_eq(full.max_depth, 64);
    ck_assert_int_eq(full.odd, FJ_JSON_WRAP);
}
END_TEST

START_TEST(an_error_says_what_and_where)
{
    refused("[1, 2,, 3]", 10, FJ_BAD_JSON, "no value at byte 6");
    refused("{\"a\": 1 \"b\"}", 12, FJ_BAD_JSON, "neither ',' nor '}' at byte 8");
    refused("{\"a\" 1}", 7, FJ_BAD_JSON, "no ':' behind a key at byte 5");
    refused("", 0, FJ_BAD_JSON, "the end where a value is due at byte 0");
    refused(NULL, 0, FJ_BAD_JSON, "byte 0");
}
END_TEST

START_TEST(memory_that_runs_out_is_answered_and_nothing_is_lost)
{
    static const char text[] =
        "{\"a\\n\": [\"\\u00e9\", 123456789012345678901234567890123456789, 1.5], \"b\": {}}";

    for (unsigned long nth = 1;; nth++) {
        json_t *value = NULL;
        char *out = NULL;
        (void)fj__alloc_fail(nth, false);
        fj_code code = fj_json_read(text, sizeof text - 1, NULL, &value, NULL);
        if (code == FJ_OK)
            code = fj_json_write(value, NULL, &out, NULL, NULL);
        unsigned long counted = fj__alloc_fail(0, false);
        ck_assert_int_eq(code, counted >= nth ? FJ_NOMEM : FJ_OK);
        ck_assert_int_eq(out != NULL, code == FJ_OK);
        json_decref(value);
        free(out);
        if (code == FJ_OK) {
            ck_assert_uint_gt(nth, 3);
            return;
        }
    }
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("json");
    TCase *tc = tcase_create("reader and writer");

    tcase_add_test(tc, texts_are_answered_as_python_answers_them);
    tcase_add_test(tc, a_locale_with_a_decimal_comma_changes_nothing);
    tcase_add_loop_test(tc, an_odd_number_is_mapped_as_the_options_say, 0, (int)fj__countof(odd));
    tcase_add_test(tc, integers_of_64_bits_stay_integers);
    tcase_add_test(tc, an_object_that_only_looks_wrapped_is_written_as_it_is);
    tcase_add_test(tc, half_a_surrogate_pair_is_a_replacement_character);
    tcase_add_test(tc, a_nul_is_kept_in_a_value_and_replaced_in_a_key);
    tcase_add_test(tc, keys_of_any_length_survive_the_values_behind_them);
    tcase_add_test(tc, only_utf8_is_taken);
    tcase_add_test(tc, a_sequence_cut_by_the_end_of_the_text_is_refused);
    tcase_add_test(tc, a_control_character_is_found_at_any_place_in_a_string);
    tcase_add_test(tc, a_byte_that_is_nul_ends_nothing);
    tcase_add_test(tc, a_string_that_is_not_utf8_is_not_written);
    tcase_add_test(tc, a_lenient_writer_mends_what_is_not_utf8);
    tcase_add_test(tc, of_duplicate_keys_the_last_wins_in_the_place_of_the_first);
    tcase_add_test(tc, keys_keep_their_order);
    tcase_add_test(tc, no_value_is_written_as_null);
    tcase_add_test(tc, nesting_ends_at_the_depth_cap_when_reading);
    tcase_add_test(tc, nesting_ends_at_the_depth_cap_when_writing);
    tcase_add_test(tc, a_text_over_the_byte_cap_is_neither_read_nor_written);
    tcase_add_test(tc, options_of_an_older_shorter_kind_leave_the_rest_at_its_default);
    tcase_add_test(tc, an_error_says_what_and_where);
    tcase_add_test(tc, memory_that_runs_out_is_answered_and_nothing_is_lost);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(make_suite());

    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
