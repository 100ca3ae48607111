/* SPDX-License-Identifier: Apache-2.0 */
/* The table of counters by itself. */
#include "base/counters.h"

#include "base/alloc.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static fj__counters *t;

static void set_up(void)
{
    t = fj__counters_new(FJ__SIDE_SERVER);
    ck_assert_ptr_nonnull(t);
}

static void tear_down(void)
{
    fj__counters_unref(t);
}

static json_int_t told(const json_t *row, const char *member)
{
    return json_integer_value(json_object_get(row, member));
}

/* The row of that method, of all that are told.  Lends. */
static json_t *row_of(json_t *all, const char *method)
{
    json_t *row;
    size_t i;

    json_array_foreach(all, i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "method")), method) == 0)
            return row;
    }
    return NULL;
}

START_TEST(a_name_has_one_row_however_often_and_from_wherever_it_is_asked_for)
{
    char elsewhere[] = "get";
    fj__counted *row = fj__counters_row(t, NULL, "get");

    ck_assert_ptr_eq(fj__counters_row(t, NULL, "get"), row);
    ck_assert_ptr_eq(fj__counters_row(t, NULL, elsewhere), row);
    memcpy(elsewhere, "put", sizeof elsewhere); /* the same place, another name */
    ck_assert_ptr_ne(fj__counters_row(t, NULL, elsewhere), row);
    ck_assert_str_eq(fj__counters_row(t, NULL, elsewhere)->method, "put");
    ck_assert_str_eq(row->method, "get");
}
END_TEST

START_TEST(the_same_method_of_two_topics_is_two)
{
    fj__counters *clients = fj__counters_new(FJ__SIDE_CLIENT);
    fj__counted *one = fj__counters_row(clients, "nova", "get"),
                *other = fj__counters_row(clients, "glance", "get");

    ck_assert_ptr_ne(one, other);
    ck_assert_ptr_eq(fj__counters_row(clients, "nova", "get"), one);
    ck_assert_str_eq(other->topic, "glance");
    fj__counters_unref(clients);
}
END_TEST

START_TEST(names_beyond_the_limit_share_a_row)
{
    enum { MORE = 76 };
    char name[32];

    for (unsigned i = 0; i < FJ__COUNTERS_NAMES + MORE; i++) {
        (void)snprintf(name, sizeof name, "m%u", i);
        fj__count_one(fj__counters_row(t, NULL, name), FJ__COUNT_CASTS);
    }
    fj__count_one(fj__counters_row(t, NULL, "m3"), FJ__COUNT_CASTS);
    json_t *all = fj__counters_json(t, "a.b");
    ck_assert_uint_eq(json_array_size(all), FJ__COUNTERS_NAMES + 1);
    ck_assert_int_eq(told(row_of(all, "(other)"), "casts"), MORE);
    ck_assert_int_eq(told(row_of(all, "m3"), "casts"), 2);
    ck_assert_ptr_null(row_of(all, "m1024"));
    json_decref(all);
}
END_TEST

START_TEST(a_name_that_is_too_long_is_one_of_the_others)
{
    char name[300];

    memset(name, 'x', sizeof name);
    name[255] = '\0';
    ck_assert_str_eq(fj__counters_row(t, NULL, name)->method, name);
    name[255] = 'x';
    name[256] = '\0';
    ck_assert_str_eq(fj__counters_row(t, NULL, name)->method, "(other)");
}
END_TEST

START_TEST(what_an_end_counts_as)
{
    static const struct {
        fj_code code;
        unsigned flags;
        fj__count what;
    } ends[] = { { FJ_OK, 0, FJ__COUNT_OK },
                 { FJ_REMOTE, 0, FJ__COUNT_FAILED },
                 { FJ_BAD_VALUE, FJ_EXPECTED, FJ__COUNT_EXPECTED },
                 { FJ_TIMEOUT, FJ_EXPECTED, FJ__COUNT_EXPECTED },
                 { FJ_CANCELLED, 0, FJ__COUNT_CANCELLED },
                 { FJ_CLOSED, 0, FJ__COUNT_CANCELLED },
                 { FJ_TIMEOUT, 0, FJ__COUNT_TIMEOUTS },
                 { FJ_UNREACHABLE, 0, FJ__COUNT_FAILED } };

    for (size_t i = 0; i < fj__countof(ends); i++)
        ck_assert_int_eq(fj__count_of(ends[i].code, ends[i].flags), ends[i].what);
}
END_TEST

START_TEST(what_is_in_flight_is_what_began_and_has_not_ended)
{
    fj__counted *row = fj__counters_row(t, NULL, "get");

    for (int i = 0; i < 6; i++)
        fj__count_one(row, FJ__COUNT_CALLS);
    fj__count_one(row, FJ__COUNT_CASTS);
    for (fj__count what = FJ__COUNT_OK; what <= FJ__COUNT_TIMEOUTS; what++)
        fj__count_one(row, what);
    fj__count_one(row, FJ__COUNT_REQUEUED); /* which never began */
    json_t *all = fj__counters_json(t, "a.b");
    ck_assert_int_eq(told(row_of(all, "get"), "in_flight"), 2);
    ck_assert_int_eq(told(row_of(all, "get"), "requeued"), 1);
    ck_assert_str_eq(json_string_value(json_object_get(row_of(all, "get"), "server")), "a.b");
    ck_assert_ptr_null(json_object_get(row_of(all, "get"), "sent"));
    json_decref(all);
}
END_TEST

START_TEST(without_memory_for_a_row_the_others_count_and_without_any_nothing_does)
{
    (void)fj__alloc_fail(1, false);
    fj__counted *row = fj__counters_row(t, NULL, "get");
    ck_assert_str_eq(row->method, "(other)");
    (void)fj__alloc_fail(0, false);
    ck_assert_str_eq(fj__counters_row(t, NULL, "get")->method, "get");
    fj__counters *fresh = fj__counters_new(FJ__SIDE_CLIENT);
    (void)fj__alloc_fail(1, true);
    fj__counted *none = fj__counters_row(fresh, "nova", "get");
    (void)fj__alloc_fail(0, false);
    ck_assert_ptr_null(none);
    fj__count_one(none, FJ__COUNT_CALLS);
    fj__count_latency(none, 5);
    fj__counters_unref(fresh);
}
END_TEST

START_TEST(each_allocation_of_the_json_may_fail)
{
    json_t *all = NULL;

    fj__count_latency(fj__counters_row(t, NULL, "get"), 1000);
    for (unsigned long nth = 1; all == NULL; nth++) {
        (void)fj__alloc_fail(nth, false);
        all = fj__counters_json(t, "a.b");
        (void)fj__alloc_fail(0, false);
        ck_assert_uint_lt(nth, 1000);
    }
    ck_assert_ptr_nonnull(row_of(all, "get"));
    json_decref(all);
}
END_TEST

enum { THREADS = 4, EACH = 4000 };

static void *count_all(void *user)
{
    char name[32];

    (void)user;
    for (int i = 0; i < EACH; i++) {
        (void)snprintf(name, sizeof name, "n%d", i % 1100);
        fj__counted *row = fj__counters_row(t, NULL, name);
        fj__count_one(row, FJ__COUNT_CALLS);
        fj__count_latency(row, i);
        fj__count_one(row, FJ__COUNT_OK);
    }
    return NULL;
}

static json_int_t sum_of(const json_t *all, const char *member)
{
    json_int_t sum = 0;
    json_t *row;
    size_t i;

    json_array_foreach(all, i, row)
    {
        ck_assert_int_ge(told(row, "in_flight"), 0);
        sum += told(row, member);
    }
    return sum;
}

START_TEST(threads_that_meet_new_names_together_lose_no_count)
{
    pthread_t threads[THREADS];
    json_int_t seen;

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_all, NULL), 0);
    do {
        json_t *all = fj__counters_json(t, "a.b");
        seen = sum_of(all, "ok");
        json_decref(all);
    } while (seen < (json_int_t)THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    json_t *all = fj__counters_json(t, "a.b");
    ck_assert_int_eq(sum_of(all, "calls"), THREADS * EACH);
    ck_assert_int_eq(sum_of(all, "in_flight"), 0);
    ck_assert_uint_le(json_array_size(all), FJ__COUNTERS_NAMES + 1);
    json_decref(all);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("counters");
    TCase *tc = tcase_create("counters");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_name_has_one_row_however_often_and_from_wherever_it_is_asked_for);
    tcase_add_test(tc, the_same_method_of_two_topics_is_two);
    tcase_add_test(tc, names_beyond_the_limit_share_a_row);
    tcase_add_test(tc, a_name_that_is_too_long_is_one_of_the_others);
    tcase_add_test(tc, what_an_end_counts_as);
    tcase_add_test(tc, what_is_in_flight_is_what_began_and_has_not_ended);
    tcase_add_test(tc, without_memory_for_a_row_the_others_count_and_without_any_nothing_does);
    tcase_add_test(tc, each_allocation_of_the_json_may_fail);
    tcase_add_test(tc, threads_that_meet_new_names_together_lose_no_count);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
