/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ids.h"
#include <check.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(an_id_is_a_random_uuid_of_version_4)
{
    for (int i = 0; i < 200; i++) {
        char hex[33], other[33], uuid[37];
        fj__id_hex(hex);
        fj__id_hex(other);
        fj__id_uuid(uuid);
        ck_assert_uint_eq(strlen(hex), 32);
        ck_assert_uint_eq(strspn(hex, "0123456789abcdef"), 32);
        ck_assert_int_eq(hex[12], '4');
        ck_assert_ptr_nonnull(strchr("89ab", hex[16]));
        ck_assert_str_ne(hex, other);
        ck_assert_uint_eq(strlen(uuid), 36);
        ck_assert(uuid[8] == '-' && uuid[13] == '-' && uuid[18] == '-' && uuid[23] == '-' && uuid[14] == '4');
    }
}
END_TEST

START_TEST(a_forked_child_makes_other_ids)
{
    int ends[2], status = 0;
    char mine[33], theirs[33] = "";

    fj__id_hex(mine);
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        fj__id_hex(theirs);
        _exit(write(ends[1], theirs, sizeof theirs) == (ssize_t)sizeof theirs ? 0 : 1);
    }
    fj__id_hex(mine);
    ck_assert_int_eq((int)read(ends[0], theirs, sizeof theirs), (int)sizeof theirs);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_str_ne(mine, theirs);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

START_TEST(random_units_spread_over_the_whole_interval)
{
    int low = 0, high = 0;

    for (int i = 0; i < 2000; i++) {
        double r = fj__random_unit();
        ck_assert(r >= 0.0 && r < 1.0);
        low += r < 0.25;
        high += r >= 0.75;
    }
    ck_assert_int_gt(low, 300);
    ck_assert_int_gt(high, 300);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ids");
    TCase *tests = tcase_create("ids");

    tcase_add_test(tests, an_id_is_a_random_uuid_of_version_4);
    tcase_add_test(tests, a_forked_child_makes_other_ids);
    tcase_add_test(tests, random_units_spread_over_the_whole_interval);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
