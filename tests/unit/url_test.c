/* SPDX-License-Identifier: Apache-2.0 */
/* URLs against the table that oslo.messaging itself wrote: tests/data/urls. */
#include "base/alloc.h"
#include <check.h>
#include <fjord/url.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t py(char *to, size_t n, const char *text)
{
    return (size_t)(text == NULL ? snprintf(to, n, "None") : snprintf(to, n, "'%s'", text));
}

static void hosts_as_python(const fj_url *url, char *to, size_t n)
{
    size_t at = (size_t)snprintf(to, n, " hosts=[");

    for (size_t i = 0; i < fj_url_hosts(url); i++) {
        char port[16] = "None";
        if (fj_url_port(url, i) != 0)
            (void)snprintf(port, sizeof port, "%u", fj_url_port(url, i));
        at += (size_t)snprintf(to + at, n - at, "%s('%s', %s, ", i != 0 ? ", " : "", fj_url_host(url, i), port);
        at += py(to + at, n - at, fj_url_user(url, i));
        at += (size_t)snprintf(to + at, n - at, ", ");
        at += py(to + at, n - at, fj_url_password(url, i));
        at += (size_t)snprintf(to + at, n - at, ")");
    }
    (void)snprintf(to + at, n - at, "] str=");
}

static void agree(const char *text, const char *row)
{
    fj_url *url = NULL, *copy = NULL;
    char want[512], *written = NULL, *again = NULL;

    ck_assert_msg(fj_url_parse(text, &url, NULL) == FJ_OK, "%s", row);
    (void)snprintf(want, sizeof want, "transport='%s' ", fj_url_scheme(url));
    ck_assert_msg(strstr(row, want) != NULL, "%s\n%s", row, want);
    hosts_as_python(url, want, sizeof want);
    ck_assert_msg(strstr(row, want) != NULL, "%s\n%s", row, want);
    ck_assert(fj_url_format(url, &written) == FJ_OK);
    (void)snprintf(want, sizeof want, " str=%s kombu_url=", written);
    ck_assert_msg(strstr(row, want) != NULL, "%s\n%s", row, want);
    (void)snprintf(want, sizeof want, " vhost='%s'", fj_url_vhost(url));
    if (strcmp(fj_url_vhost(url), "/") != 0)
        ck_assert_msg(strstr(row, want) != NULL, "%s\n%s", row, want);
    copy = fj_url_copy(url);
    ck_assert_ptr_nonnull(copy);
    ck_assert(fj_url_format(copy, &again) == FJ_OK);
    ck_assert_str_eq(again, written);
    ck_assert_str_eq(fj_url_vhost(copy), fj_url_vhost(url));
    free(written);
    free(again);
    fj_url_free(copy);
    fj_url_free(url);
}

START_TEST(every_url_of_the_table_parses_as_in_oslo)
{
    FILE *f = fopen("tests/data/urls/urls-master.txt", "r");
    char row[2048];
    int rows = 0;

    ck_assert_ptr_nonnull(f);
    for (; fgets(row, sizeof row, f) != NULL; rows++) {
        char *ok = strstr(row, " transport='"), *bad = strstr(row, " ERR ");
        char text[256];
        char *end = ok != NULL ? ok : bad;
        ck_assert_ptr_nonnull(end);
        while (end > row && end[-1] == ' ')
            end--;
        (void)snprintf(text, sizeof text, "%.*s", (int)(end - row), row);
        if (ok != NULL) {
            agree(strcmp(text, "None") == 0 ? NULL : text, ok);
            continue;
        }
        fj_url *url = NULL;
        fj_error *err = NULL;
        ck_assert_msg(fj_url_parse(text, &url, &err) == FJ_BAD_URL, "%s", row);
        ck_assert_ptr_null(url);
        fj_error_free(err);
    }
    ck_assert_int_ge(rows, 54);
    (void)fclose(f);
}
END_TEST

START_TEST(a_password_shows_neither_redacted_nor_in_errors)
{
    static const char *const bad[] = { "rabbit://u:hunter2#x@h/",     "rabbit://u:hunter2/x@h",
                                       "rabbit://u:hunter2?x@h",      "rabbit://u:hunter2@[::1/",
                                       "rabbit://u:hunter2%00@h/",    "rabbit://u:hunter2@h:0/",
                                       "rabbit://u:hunter2@h:99999/", "rabbit://u:hunter2 @h/",
                                       "rabbit://u:hunter2@[::1]x/" };
    fj_url *url = NULL;
    char *shown = NULL;

    for (size_t i = 0; i < fj__countof(bad); i++) {
        fj_error *err = NULL;
        ck_assert_msg(fj_url_parse(bad[i], &url, &err) == FJ_BAD_URL, "%s", bad[i]);
        ck_assert_msg(strstr(fj_error_text(err), "hunter2") == NULL, "%s", fj_error_text(err));
        fj_error_free(err);
    }
    ck_assert(fj_url_parse("rabbit://u:hunter2@h,:hunter2@i/v", &url, NULL) == FJ_OK);
    ck_assert(fj_url_redacted(url, &shown) == FJ_OK);
    ck_assert_str_eq(shown, "rabbit://u:***@h,:***@i/v");
    free(shown);
    fj_url_free(url);
}
END_TEST

START_TEST(the_query_is_given_in_order_and_repeated_keys_are_joined)
{
    fj_url *url = NULL;
    const char *key, *value;

    ck_assert(fj_url_parse("kombu+memory://h?b=1+2&a=%2C&b=3&c=&d", &url, NULL) == FJ_OK);
    ck_assert_str_eq(fj_url_driver(url), "kombu");
    ck_assert(fj_url_query(url, 0, &key, &value));
    ck_assert_str_eq(key, "b");
    ck_assert_str_eq(value, "1 2,3");
    ck_assert(fj_url_query(url, 1, &key, &value));
    ck_assert_str_eq(key, "a");
    ck_assert_str_eq(value, ",");
    ck_assert(!fj_url_query(url, 2, &key, &value));
    fj_url_free(url);
}
END_TEST

START_TEST(memory_that_runs_out_is_an_error_and_leaks_nothing)
{
    for (unsigned long nth = 1;; nth++) {
        fj_url *url = NULL;
        (void)fj__alloc_fail(nth, false);
        fj_code code = fj_url_parse("rabbit://u:p@h:1,u@i/v?a=1&a=2", &url, NULL);
        fj_url *copy = code == FJ_OK ? fj_url_copy(url) : NULL;
        bool complete = copy != NULL;
        unsigned long counted = fj__alloc_fail(0, false);
        ck_assert(code == FJ_OK || code == FJ_NOMEM);
        fj_url_free(copy);
        if (code == FJ_OK)
            fj_url_free(url);
        if (counted < nth) {
            ck_assert(complete);
            break;
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url");
    TCase *tests = tcase_create("url");

    tcase_add_test(tests, every_url_of_the_table_parses_as_in_oslo);
    tcase_add_test(tests, a_password_shows_neither_redacted_nor_in_errors);
    tcase_add_test(tests, the_query_is_given_in_order_and_repeated_keys_are_joined);
    tcase_add_test(tests, memory_that_runs_out_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
