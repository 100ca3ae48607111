/* SPDX-License-Identifier: Apache-2.0 */
/* Lines as bytes: whatever is in them, they stay one line that moves no cursor. */
#include "base/alloc.h"
#include "base/log_line.h"
#include "base/log_ring.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

static const char *escaped(const char *text)
{
    static char out[512];

    (void)fj__log_escape(out, sizeof out, text, strlen(text));
    return out;
}

START_TEST(control_characters_are_escaped_as_in_c_and_letters_are_not)
{
    ck_assert_str_eq(escaped("a\a\b\t\n\v\f\r\x1b\x7fz"), "a\\a\\b\\t\\n\\v\\f\\r\\x1b\\x7fz");
    ck_assert_str_eq(escaped("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d \\ \""),
                     "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d \\ \"");
}
END_TEST

START_TEST(what_only_unicode_has_of_control_characters_is_escaped)
{
    static const char *const some[][2] = { { "\xc2\x85", "\\x85" },       { "\xc2\x9b", "\\x9b" },
                                           { "\xe2\x80\xa8", "\\u2028" }, { "\xe2\x80\xa9", "\\u2029" },
                                           { "\xe2\x80\xae", "\\u202e" }, { "\xe2\x81\xa6", "\\u2066" },
                                           { "\xc2\xa0", "\xc2\xa0" },    { "\xe2\x80\xaf", "\xe2\x80\xaf" } };

    for (size_t i = 0; i < fj__countof(some); i++)
        ck_assert_str_eq(escaped(some[i][0]), some[i][1]);
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_escaped_one_by_one)
{
    static const char *const some[][2] = { { "\xff", "\\xff" },
                                           { "a\xc3", "a\\xc3" },
                                           { "\xc0\xaf", "\\xc0\\xaf" },          /* longer than need be */
                                           { "\xe0\x80\x8a", "\\xe0\\x80\\x8a" }, /* a newline, the same way */
                                           { "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* a surrogate */
                                           { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, /* beyond the last */
                                           { "\xe2\x82!", "\\xe2\\x82!" } };

    for (size_t i = 0; i < fj__countof(some); i++)
        ck_assert_str_eq(escaped(some[i][0]), some[i][1]);
}
END_TEST

START_TEST(what_does_not_fit_is_left_out_and_no_escape_is_torn)
{
    char out[16];

    for (size_t size = 1; size <= sizeof out; size++) {
        ck_assert_uint_eq(fj__log_escape(out, size, "\x01\x01\x01\x01", 4), 16);
        ck_assert_uint_eq(strlen(out), (size - 1) / 4 * 4);
    }
}
END_TEST

static fj__log_line line_of(const char *text, size_t n)
{
    return (fj__log_line){ .level = FJ_LOG_ERROR,
                           .when = { 1, 2000000 },
                           .pid = 7,
                           .tid = 8,
                           .file = "f.c",
                           .line = 9,
                           .function = "fn",
                           .component = "rpc",
                           .request = text,
                           .message = "",
                           .method = text,
                           .text = text,
                           .text_n = n };
}

/* It is UTF-8 without anything that steers a terminal, but for newlines. */
static void check_plain(const char *out, size_t n)
{
    static char again[64 * 1024];

    for (const char *at = out; at < out + n; at++) {
        const char *end = memchr(at, '\n', (size_t)(out + n - at));
        ck_assert_ptr_nonnull(end);
        size_t one = (size_t)(end - at);
        ck_assert_uint_eq(fj__log_escape(again, sizeof again, at, one), one);
        ck_assert_int_eq(memcmp(again, at, one), 0);
        at = end;
    }
}

static size_t newlines(const char *out, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        found += out[i] == '\n';
    return found;
}

START_TEST(no_bytes_make_two_lines_of_one_in_any_format)
{
    static const char pieces[] = "\n\r\x1b[2J\"\\\xc2\x85\xe2\x80\xa8\xff\x80\xf0\x9f{}=";
    unsigned seed = 20261123;
    char out[16 * 1024], text[256];

    for (int round = 0; round < 20000; round++) {
        size_t n = (size_t)rand_r(&seed) % (sizeof text - 1);
        for (size_t i = 0; i < n; i++) {
            text[i] = (char)(1 + rand_r(&seed) % 255);
            if (rand_r(&seed) % 2)
                text[i] = pieces[(size_t)rand_r(&seed) % (sizeof pieces - 1)];
        }
        text[n] = '\0';
        fj__log_line line = line_of(text, n);
        for (fj__log_format f = FJ__LOG_TEXT; f <= FJ__LOG_JOURNAL; f++) {
            size_t got = fj__log_render(out, sizeof out, &line, f, text, LOG_USER);
            ck_assert_uint_gt(got, 0);
            check_plain(out, got);
            if (f != FJ__LOG_JOURNAL)
                ck_assert_uint_eq(newlines(out, got), 1);
        }
        size_t got = fj__log_render(out, sizeof out, &line, FJ__LOG_JSON, "", LOG_USER);
        json_t *object = json_loadb(out, got, 0, NULL);
        ck_assert_msg(object != NULL, "%.*s", (int)got, out);
        json_decref(object);
    }
}
END_TEST

START_TEST(a_text_that_is_too_long_ends_in_dots_and_its_format_is_whole)
{
    static char text[FJ__LOG_TEXT_MAX], out[4096];

    for (unsigned kind = 0; kind < 3; kind++) {
        memset(text, kind == 0 ? 'x' : kind == 1 ? 1 : 0xe2, sizeof text);
        fj__log_line line = line_of("", 0);
        line.text = text;
        line.text_n = sizeof text;
        for (size_t size = 1000; size < 1040; size++) {
            size_t n = fj__log_render(out, size, &line, FJ__LOG_TEXT, "", 0);
            ck_assert_uint_gt(n, 900);
            ck_assert_int_eq(memcmp(out + n - 4, "...\n", 4), 0);
            n = fj__log_render(out, size, &line, FJ__LOG_JSON, "", 0);
            json_t *object = json_loadb(out, n, 0, NULL);
            ck_assert_ptr_nonnull(object);
            json_decref(object);
        }
    }
}
END_TEST

START_TEST(times_are_those_of_gmtime)
{
    unsigned seed = 3;
    char out[256], wanted[64];

    for (int i = 0; i < 20000; i++) {
        time_t when = (time_t)rand_r(&seed) * (1 + i % 7);
        struct tm parts;
        fj__log_line line = line_of("", 0);
        line.when.tv_sec = when;
        ck_assert_ptr_nonnull(gmtime_r(&when, &parts));
        ck_assert_uint_gt(strftime(wanted, sizeof wanted, "%Y-%m-%dT%H:%M:%S.002Z ", &parts), 0);
        (void)fj__log_render(out, sizeof out, &line, FJ__LOG_TEXT, "", 0);
        ck_assert_int_eq(strncmp(out, wanted, strlen(wanted)), 0);
        line.offset = 7200;
        when += line.offset;
        ck_assert_ptr_nonnull(gmtime_r(&when, &parts));
        ck_assert_uint_gt(strftime(wanted, sizeof wanted, "<11>%b %e %H:%M:%S ", &parts), 0);
        (void)fj__log_render(out, sizeof out, &line, FJ__LOG_SYSLOG, "", LOG_USER);
        ck_assert_int_eq(strncmp(out, wanted, strlen(wanted)), 0);
    }
}
END_TEST

START_TEST(a_head_that_does_not_fit_makes_no_line)
{
    fj__log_line line = line_of("much", 4);
    char out[32];

    for (fj__log_format f = FJ__LOG_TEXT; f <= FJ__LOG_JOURNAL; f++)
        ck_assert_uint_eq(fj__log_render(out, sizeof out, &line, f, "", 0), 0);
}
END_TEST

START_TEST(a_ring_gives_back_what_it_took_in_order_around_its_end_and_counts_the_rest)
{
    fj__log_ring r;
    fj__log_line got;
    static char room[FJ__LOG_ROOM], text[600];
    unsigned seed = 7, in = 0, out = 0, refused = 0, told = 0;

    ck_assert(fj__log_ring_init(&r, 4096));
    for (int step = 0; step < 50000; step++) {
        if (rand_r(&seed) % 2) {
            int n = snprintf(text, sizeof text, "%u ", in + refused);
            size_t more = (size_t)rand_r(&seed) % 500;
            memset(text + n, 'x', more);
            fj__log_line line = line_of("q", 0);
            line.text = text;
            line.text_n = (size_t)n + more;
            if (fj__log_ring_push(&r, &line))
                in++;
            else
                refused++;
            continue;
        }
        size_t n = fj__log_ring_peek(&r, &got, room);
        ck_assert_int_eq(n == 0, in == out);
        if (n == 0)
            continue;
        told += (unsigned)got.dropped;
        ck_assert_uint_eq(strtoul(got.text, NULL, 10), out + told);
        ck_assert_str_eq(got.component, "rpc");
        ck_assert_str_eq(got.method, "q");
        fj__log_ring_pop(&r, n);
        out++;
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_gt(told, 0);
    fj__log_ring_fini(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log text");
    TCase *tests = tcase_create("text");

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, control_characters_are_escaped_as_in_c_and_letters_are_not);
    tcase_add_test(tests, what_only_unicode_has_of_control_characters_is_escaped);
    tcase_add_test(tests, bytes_that_are_no_utf8_are_escaped_one_by_one);
    tcase_add_test(tests, what_does_not_fit_is_left_out_and_no_escape_is_torn);
    tcase_add_test(tests, no_bytes_make_two_lines_of_one_in_any_format);
    tcase_add_test(tests, a_text_that_is_too_long_ends_in_dots_and_its_format_is_whole);
    tcase_add_test(tests, times_are_those_of_gmtime);
    tcase_add_test(tests, a_head_that_does_not_fit_makes_no_line);
    tcase_add_test(tests, a_ring_gives_back_what_it_took_in_order_around_its_end_and_counts_the_rest);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
