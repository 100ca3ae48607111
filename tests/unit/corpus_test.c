/* SPDX-License-Identifier: Apache-2.0 */
/* Replays the seeds of the fuzz targets, which end the process if one breaks a rule. */
#define LLVMFuzzerTestOneInput fuzz_json
#include "tests/fuzz/json_fuzz.c" /* NOLINT */
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_message
#include "tests/fuzz/message_fuzz.c" /* NOLINT */
#undef LLVMFuzzerTestOneInput

#include <check.h>
#include <glob.h>
#include <stdio.h>

/* Exactly as many bytes as the file has, so that a sanitizer sees a read behind them. */
static unsigned char *slurp(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");

    ck_assert_msg(file != NULL, "%s", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *n = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*n != 0 ? *n : 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *n, file), *n);
    (void)fclose(file);
    return bytes;
}

static size_t replay(const char *pattern, int (*target)(const uint8_t *, size_t))
{
    glob_t found;

    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    size_t count = found.gl_pathc;
    for (size_t i = 0; i < count; i++) {
        size_t n;
        unsigned char *bytes = slurp(found.gl_pathv[i], &n);
        for (size_t part = 0; part < n; part += n / 16 + 1) /* a message cut short is the commonest bad one */
            (void)target(bytes, part);
        (void)target(bytes, n);
        free(bytes);
    }
    globfree(&found);
    return count;
}

START_TEST(json_seeds_break_no_rule)
{
    ck_assert_uint_ge(replay("tests/fuzz/corpus/json/*", fuzz_json), 90);
}
END_TEST

START_TEST(message_seeds_break_no_rule)
{
    ck_assert_uint_ge(replay("tests/fuzz/corpus/message/*", fuzz_message), 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("corpus");
    TCase *tc = tcase_create("replay");
    tcase_add_test(tc, json_seeds_break_no_rule);
    tcase_add_test(tc, message_seeds_break_no_rule);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
