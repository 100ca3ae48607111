/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that came compressed. */
#include "transports/amqp/body.h"

#include <bzlib.h>
#include <check.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { LARGE = 1024 * 1024, MEDIUM = 300 * 1000 };

static const char text[] = "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"m\\\"}\"}";
static const fj__body_form forms[] = { FJ__BODY_ZLIB, FJ__BODY_BZIP2, FJ__BODY_XZ };

static fj_json_opts opts = FJ_JSON_OPTS_INIT;

static amqp_basic_properties_t with_compression(amqp_table_entry_t *entry, const char *name)
{
    entry->key = amqp_cstring_bytes("compression");
    entry->value.kind = AMQP_FIELD_KIND_UTF8;
    entry->value.value.bytes = amqp_cstring_bytes(name);
    return (amqp_basic_properties_t){ ._flags = AMQP_BASIC_HEADERS_FLAG,
                                      .headers = { .num_entries = 1, .entries = entry } };
}

/* Packed by the libraries themselves.  @return gives; free() */
static char *packed_by_library(fj__body_form form, const void *from, size_t n, size_t *ret)
{
    size_t room = n + n / 50 + 1024;
    char *to = malloc(room);
    uLongf zlib_n = room;
    unsigned bzip2_n = (unsigned)room;
    size_t xz_n = 0;

    if (form == FJ__BODY_ZLIB)
        ck_assert_int_eq(compress((Bytef *)to, &zlib_n, from, n), Z_OK);
    else if (form == FJ__BODY_BZIP2)
        ck_assert_int_eq(BZ2_bzBuffToBuffCompress(to, &bzip2_n, (char *)(uintptr_t)from, (unsigned)n, 9, 0, 0),
                         BZ_OK);
    else
        ck_assert_int_eq(
            lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, from, n, (uint8_t *)to, &xz_n, room), LZMA_OK);
    *ret = form == FJ__BODY_ZLIB ? zlib_n : form == FJ__BODY_BZIP2 ? bzip2_n : xz_n;
    return to;
}

START_TEST(the_header_says_how_a_body_is_compressed)
{
    static const struct {
        const char *type;
        fj__body_form form;
    } rows[] = { { "application/x-gzip", FJ__BODY_ZLIB },      { "application/x-bz2", FJ__BODY_BZIP2 },
                 { "application/x-lzma", FJ__BODY_XZ },        { "application/zstd", FJ__BODY_UNKNOWN },
                 { "application/x-brotli", FJ__BODY_UNKNOWN }, { "", FJ__BODY_UNKNOWN } };
    amqp_table_entry_t entry;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        amqp_basic_properties_t p = with_compression(&entry, rows[i].type);
        ck_assert_int_eq(fj__body_form_of(&p), rows[i].form);
    }
    amqp_basic_properties_t odd = with_compression(&entry, "");
    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    ck_assert_int_eq(fj__body_form_of(&odd), FJ__BODY_UNKNOWN);
    amqp_basic_properties_t none = { ._flags = 0 };
    ck_assert_int_eq(fj__body_form_of(&none), FJ__BODY_PLAIN);
}
END_TEST

START_TEST(a_compression_is_named_as_kombu_names_it)
{
    static const struct {
        const char *name;
        fj__body_form form;
    } rows[] = {
        { "gzip", FJ__BODY_ZLIB },   { "zlib", FJ__BODY_ZLIB },         { "application/x-gzip", FJ__BODY_ZLIB },
        { "bzip2", FJ__BODY_BZIP2 }, { "bzip", FJ__BODY_BZIP2 },        { "bz2", FJ__BODY_BZIP2 },
        { "xz", FJ__BODY_XZ },       { "lzma", FJ__BODY_XZ },           { "zstd", FJ__BODY_UNKNOWN },
        { "zip", FJ__BODY_UNKNOWN }, { "gzip zlib", FJ__BODY_UNKNOWN }, { " ", FJ__BODY_UNKNOWN },
        { "", FJ__BODY_PLAIN },      { NULL, FJ__BODY_PLAIN }
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(fj__packing_named(rows[i].name) == rows[i].form, "%s", rows[i].name);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(fj__packing_typed(fj__packing_type(forms[i]), strlen(fj__packing_type(forms[i]))),
                         forms[i]);
}
END_TEST

START_TEST(a_compressed_body_is_unpacked_and_unwrapped)
{
    for (size_t i = 0; i < 3; i++) {
        json_t *message = NULL;
        size_t n = 0;
        char *packed = packed_by_library(forms[i], text, sizeof text - 1, &n);
        ck_assert_int_eq(fj__body_read(forms[i], packed, n, &opts, &message, NULL), FJ_OK);
        ck_assert_str_eq(json_string_value(json_object_get(message, "method")), "m");
        json_decref(message);
        free(packed);
    }
}
END_TEST

START_TEST(a_body_cut_short_or_of_rubbish_is_refused)
{
    json_t *message = NULL;

    for (size_t i = 0; i < 3; i++) {
        size_t n = 0;
        char *packed = packed_by_library(forms[i], text, sizeof text - 1, &n);
        for (size_t cut = 0; cut < n; cut++)
            ck_assert_int_eq(fj__body_read(forms[i], packed, cut, &opts, &message, NULL), FJ_BAD_MESSAGE);
        free(packed);
        ck_assert_int_eq(fj__body_read(forms[i], text, sizeof text - 1, &opts, &message, NULL), FJ_BAD_MESSAGE);
    }
    ck_assert_int_eq(fj__body_read(FJ__BODY_UNKNOWN, text, sizeof text - 1, &opts, &message, NULL),
                     FJ_BAD_MESSAGE);
}
END_TEST

START_TEST(a_bomb_stops_at_the_limit_and_takes_no_more_memory_than_that)
{
    fj_json_opts small = opts;
    char *zeros = calloc(1, LARGE);

    small.max_bytes = 100000;
    for (size_t i = 0; i < 3; i++) {
        fj__buf out = { 0 };
        json_t *message = NULL;
        size_t n = 0;
        char *packed = packed_by_library(forms[i], zeros, LARGE, &n);
        ck_assert_int_eq(fj__body_read(forms[i], packed, n, &small, &message, NULL), FJ_TOO_BIG);
        ck_assert_int_eq(fj__unpack(forms[i], packed, n, small.max_bytes, &out, NULL), FJ_TOO_BIG);
        ck_assert_uint_le(out.capacity, 4 * small.max_bytes);
        fj__buf_fini(&out);
        ck_assert_int_eq(fj__unpack(forms[i], packed, n, LARGE - 1, &out, NULL), FJ_TOO_BIG);
        fj__buf_fini(&out);
        ck_assert_int_eq(fj__unpack(forms[i], packed, n, LARGE, &out, NULL), FJ_OK);
        ck_assert_uint_eq(fj__buf_len(&out), LARGE);
        fj__buf_fini(&out);
        free(packed);
    }
    free(zeros);
}
END_TEST

START_TEST(a_body_that_asks_for_a_window_of_a_gigabyte_is_too_big)
{
    /* the older format's header: the filter's settings, the window's size, the body's size, which is not told */
    static const char packed[] = "\x5d\x00\x00\x00\x40\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00";
    fj__buf out = { 0 };

    ck_assert_int_eq(fj__unpack(FJ__BODY_XZ, packed, sizeof packed - 1, 1000, &out, NULL), FJ_TOO_BIG);
    fj__buf_fini(&out);
}
END_TEST

START_TEST(what_is_packed_unpacks_to_the_same)
{
    char *original = malloc(MEDIUM);

    for (size_t i = 0; i < MEDIUM; i++)
        original[i] = "{\"a\": [1, 2, 3]}"[(i * i / 7) % 15];
    for (size_t i = 0; i < 3; i++) {
        char *body = malloc(MEDIUM);
        size_t n = MEDIUM;
        fj__body_form form = FJ__BODY_UNKNOWN;
        fj__buf out = { 0 };
        memcpy(body, original, MEDIUM);
        ck_assert_int_eq(fj__pack(forms[i], &body, &n, &form, NULL), FJ_OK);
        ck_assert_int_eq(form, forms[i]);
        ck_assert_uint_lt(n, MEDIUM / 2);
        ck_assert_int_eq(fj__unpack(form, body, n, MEDIUM, &out, NULL), FJ_OK);
        ck_assert_uint_eq(fj__buf_len(&out), MEDIUM);
        ck_assert_int_eq(memcmp(fj__buf_data(&out), original, MEDIUM), 0);
        fj__buf_fini(&out);
        free(body);
    }
    free(original);
}
END_TEST

START_TEST(what_would_not_become_smaller_stays_as_it_is)
{
    for (size_t i = 0; i < 3; i++) {
        for (size_t length = 0; length < 20; length++) {
            char *body = calloc(1, 20);
            size_t n = length;
            fj__body_form form = FJ__BODY_UNKNOWN;
            for (size_t k = 0; k < length; k++)
                body[k] = (char)('a' + k);
            ck_assert_int_eq(fj__pack(forms[i], &body, &n, &form, NULL), FJ_OK);
            ck_assert_int_eq(form, FJ__BODY_PLAIN);
            ck_assert_uint_eq(n, length);
            ck_assert(length == 0 || body[length - 1] == (char)('a' + length - 1));
            free(body);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("body");
    TCase *all = tcase_create("all");

    tcase_set_timeout(all, 60);
    tcase_add_test(all, the_header_says_how_a_body_is_compressed);
    tcase_add_test(all, a_compression_is_named_as_kombu_names_it);
    tcase_add_test(all, a_compressed_body_is_unpacked_and_unwrapped);
    tcase_add_test(all, a_body_cut_short_or_of_rubbish_is_refused);
    tcase_add_test(all, a_bomb_stops_at_the_limit_and_takes_no_more_memory_than_that);
    tcase_add_test(all, a_body_that_asks_for_a_window_of_a_gigabyte_is_too_big);
    tcase_add_test(all, what_is_packed_unpacks_to_the_same);
    tcase_add_test(all, what_would_not_become_smaller_stays_as_it_is);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
