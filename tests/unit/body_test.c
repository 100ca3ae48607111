/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that came compressed. */
#include "transports/amqp/body.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char text[] = "{\"oslo.version\": \"2.0\", \"oslo.message\": \"{\\\"method\\\": \\\"m\\\"}\"}";

static fj_json_opts opts = FJ_JSON_OPTS_INIT;

static amqp_basic_properties_t with_compression(amqp_table_entry_t *entry, const char *name)
{
    entry->key = amqp_cstring_bytes("compression");
    entry->value.kind = AMQP_FIELD_KIND_UTF8;
    entry->value.value.bytes = amqp_cstring_bytes(name);
    return (amqp_basic_properties_t){ ._flags = AMQP_BASIC_HEADERS_FLAG,
                                      .headers = { .num_entries = 1, .entries = entry } };
}

START_TEST(the_header_says_how_a_body_is_compressed)
{
    amqp_table_entry_t entry;
    amqp_basic_properties_t gzip = with_compression(&entry, "application/x-gzip");
    ck_assert_int_eq(fj__body_form_of(&gzip), FJ__BODY_ZLIB);
    amqp_basic_properties_t other = with_compression(&entry, "application/x-lzma");
    ck_assert_int_eq(fj__body_form_of(&other), FJ__BODY_UNKNOWN);
    amqp_basic_properties_t none = { ._flags = 0 };
    ck_assert_int_eq(fj__body_form_of(&none), FJ__BODY_PLAIN);
}
END_TEST

START_TEST(a_zlib_body_is_unpacked_and_unwrapped)
{
    Bytef packed[256];
    uLongf n = sizeof packed;
    json_t *message = NULL;

    ck_assert_int_eq(compress(packed, &n, (const Bytef *)text, sizeof text - 1), Z_OK);
    ck_assert_int_eq(fj__body_read(FJ__BODY_ZLIB, (char *)packed, n, &opts, &message, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(json_object_get(message, "method")), "m");
    json_decref(message);
}
END_TEST

START_TEST(a_body_cut_short_or_of_rubbish_is_refused)
{
    Bytef packed[256];
    uLongf n = sizeof packed;
    json_t *message = NULL;

    ck_assert_int_eq(compress(packed, &n, (const Bytef *)text, sizeof text - 1), Z_OK);
    for (uLongf cut = 0; cut < n; cut++)
        ck_assert_int_eq(fj__body_read(FJ__BODY_ZLIB, (char *)packed, cut, &opts, &message, NULL),
                         FJ_BAD_MESSAGE);
    ck_assert_int_eq(fj__body_read(FJ__BODY_ZLIB, text, sizeof text - 1, &opts, &message, NULL),
                     FJ_BAD_MESSAGE);
    ck_assert_int_eq(fj__body_read(FJ__BODY_UNKNOWN, text, sizeof text - 1, &opts, &message, NULL),
                     FJ_BAD_MESSAGE);
}
END_TEST

START_TEST(a_bomb_stops_at_the_limit)
{
    enum { LARGE = 8 * 1024 * 1024 };
    fj_json_opts small = opts;
    char *zeros = calloc(1, LARGE);
    uLongf n = compressBound(LARGE);
    Bytef *packed = malloc(n);
    json_t *message = NULL;

    small.max_bytes = 100000;
    ck_assert_int_eq(compress(packed, &n, (Bytef *)zeros, LARGE), Z_OK);
    ck_assert_int_eq(fj__body_read(FJ__BODY_ZLIB, (char *)packed, n, &small, &message, NULL), FJ_TOO_BIG);
    free(zeros);
    free(packed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("body");
    TCase *all = tcase_create("all");

    tcase_add_test(all, the_header_says_how_a_body_is_compressed);
    tcase_add_test(all, a_zlib_body_is_unpacked_and_unwrapped);
    tcase_add_test(all, a_body_cut_short_or_of_rubbish_is_refused);
    tcase_add_test(all, a_bomb_stops_at_the_limit);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
