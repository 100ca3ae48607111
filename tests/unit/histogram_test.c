/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms beside what sorting gives. */
#include "base/histogram.h"

#include "base/alloc.h"

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { MANY = 20000 };

static fj__histogram h;
static fj__histogram_view v;
static int64_t values[MANY];

/* xorshift64*: the same numbers on every machine. */
static uint64_t state;

static double unit(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (double)((state * 0x2545f4914f6cdd1du) >> 11) / 9007199254740992.0;
}

/* From 1 us to four hours: each power of ten alike; mostly short with a long tail; all near one time. */
static int64_t thrown(int kind)
{
    switch (kind) {
    case 0:
        return (int64_t)(1e3 * pow(10, 10.15 * unit()));
    case 1:
        return (int64_t)(1e3 + -2e5 * log(1 - unit()) + (unit() < 0.01 ? 1e9 * unit() : 0));
    case 2:
        return (int64_t)(5e6 + 1e3 * unit());
    default:
        return (int64_t)(1e3 + unit() * 1e4);
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void fill(int kind, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        values[i] = thrown(kind);
        fj__histogram_add(&h, values[i]);
    }
    qsort(values, n, sizeof *values, by_size);
    fj__histogram_look(&h, &v);
}

static void check_at(size_t n, unsigned per_mille)
{
    size_t rank = (n * per_mille + 999) / 1000;
    double exact = (double)values[rank > 0 ? rank - 1 : 0], told = (double)fj__histogram_at(&v, per_mille);

    ck_assert_msg(fabs(told - exact) <= exact / 64, "%u of 1,000: told %.0f, exact %.0f", per_mille, told,
                  exact);
}

START_TEST(percentiles_are_within_a_sixty_fourth_of_the_sorted_values)
{
    static const unsigned asked[] = { 0, 1, 10, 100, 250, 500, 750, 900, 950, 990, 999, 1000 };
    int kind = _i % 4;
    size_t n = _i < 8 ? MANY : (size_t)(3 + _i);
    double sum = 0;

    state = 0x9e3779b97f4a7c15u * (uint64_t)(_i + 1);
    fill(kind, n);
    ck_assert_uint_eq(v.count, n);
    for (size_t i = 0; i < fj__countof(asked); i++)
        check_at(n, asked[i]);
    for (size_t i = 0; i < n; i++)
        sum += (double)values[i];
    ck_assert_uint_eq(v.least, (uint64_t)values[0]);
    ck_assert_uint_eq(v.most, (uint64_t)values[n - 1]);
    ck_assert(fabs(v.mean - sum / (double)n) <= 1e-9 * v.mean);
}
END_TEST

START_TEST(an_empty_one_tells_of_nothing)
{
    fj__histogram_look(&h, &v);
    ck_assert_uint_eq(v.count, 0);
    ck_assert_uint_eq(v.least, 0);
    ck_assert_uint_eq(v.most, 0);
    ck_assert_uint_eq(fj__histogram_at(&v, 500), 0);
    json_t *told = fj__histogram_json(&h);
    ck_assert_int_eq(json_integer_value(json_object_get(told, "count")), 0);
    ck_assert(json_is_null(json_object_get(told, "p99.9")));
    ck_assert(json_is_null(json_object_get(told, "mean")));
    json_decref(told);
}
END_TEST

START_TEST(of_one_every_percentile_is_that_one)
{
    static const int64_t ones[] = { 0, 1, 31, 32, 1023, 1024, 123456789, 3600000000000 };

    fj__histogram_add(&h, ones[_i]);
    fj__histogram_look(&h, &v);
    ck_assert_uint_eq(v.count, 1);
    for (unsigned p = 0; p <= 1000; p += 125)
        ck_assert_uint_eq(fj__histogram_at(&v, p), (uint64_t)ones[_i]);
}
END_TEST

START_TEST(what_is_too_long_for_the_bins_is_told_as_the_longest)
{
    fj__histogram_add(&h, 1000);
    for (int i = 0; i < 9; i++)
        fj__histogram_add(&h, INT64_MAX);
    fj__histogram_look(&h, &v);
    ck_assert_uint_eq(v.count, 10);
    ck_assert_uint_eq(v.most, (uint64_t)1 << 50);
    ck_assert_uint_eq(fj__histogram_at(&v, 999), (uint64_t)1 << 50);
    ck_assert_uint_eq(fj__histogram_at(&v, 100), 1008); /* the middle of its bin of 32 ns */
    ck_assert(v.mean > 0.89 * (double)v.most && v.mean < 0.91 * (double)v.most);
}
END_TEST

START_TEST(a_time_that_ran_backwards_counts_as_none)
{
    fj__histogram_add(&h, -5);
    fj__histogram_add(&h, INT64_MIN);
    fj__histogram_look(&h, &v);
    ck_assert_uint_eq(v.count, 2);
    ck_assert_uint_eq(v.most, 0);
    ck_assert_uint_eq(fj__histogram_at(&v, 1000), 0);
}
END_TEST

START_TEST(below_a_time_are_those_whose_bins_are)
{
    for (int i = 1; i <= 1000; i++)
        fj__histogram_add(&h, i * 1000000LL);
    fj__histogram_look(&h, &v);
    ck_assert_uint_eq(fj__histogram_below(&v, 0), 0);
    ck_assert_uint_eq(fj__histogram_below(&v, 900000), 0);
    ck_assert_uint_eq(fj__histogram_below(&v, UINT64_MAX), 1000);
    for (uint64_t ms = 10; ms <= 1000; ms += 10) {
        uint64_t below = fj__histogram_below(&v, ms * 1000000), off = ms / 32 + 1; /* a bin */
        ck_assert(below + off >= ms && below <= ms + off);
    }
}
END_TEST

START_TEST(json_tells_seconds)
{
    for (int i = 1; i <= 1000; i++)
        fj__histogram_add(&h, i * 1000000LL);
    json_t *told = fj__histogram_json(&h);
    ck_assert_int_eq(json_integer_value(json_object_get(told, "count")), 1000);
    ck_assert_double_eq_tol(json_real_value(json_object_get(told, "min")), 0.001, 1e-12);
    ck_assert_double_eq_tol(json_real_value(json_object_get(told, "max")), 1.0, 1e-12);
    ck_assert_double_eq_tol(json_real_value(json_object_get(told, "mean")), 0.5005, 1e-9);
    ck_assert_double_eq_tol(json_real_value(json_object_get(told, "p50")), 0.5, 0.5 / 64);
    ck_assert_double_eq_tol(json_real_value(json_object_get(told, "p99")), 0.99, 0.99 / 64);
    ck_assert_double_eq_tol(json_real_value(json_object_get(told, "p99.9")), 0.999, 0.999 / 64);
    json_decref(told);
}
END_TEST

START_TEST(without_memory_json_is_not_made_and_nothing_leaks)
{
    unsigned long n = 1;

    fj__histogram_add(&h, 1);
    (void)fj__alloc_fail(n, false);
    json_t *told = fj__histogram_json(&h);
    (void)fj__alloc_fail(0, false);
    ck_assert_ptr_null(told);
}
END_TEST

enum { THREADS = 4, EACH = 20000 };

static void *add_many(void *user)
{
    (void)user;
    for (int i = 0; i < EACH; i++)
        fj__histogram_add(&h, 1000 + i);
    return NULL;
}

START_TEST(threads_lose_nothing_and_a_look_meanwhile_is_sound)
{
    pthread_t threads[THREADS];
    uint64_t before = 0;

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    do {
        fj__histogram_look(&h, &v);
        ck_assert_uint_ge(v.count, before);
        before = v.count;
        if (v.count > 0) {
            ck_assert_uint_ge(v.least, 1000);
            ck_assert_uint_le(v.most, 1000 + EACH);
            ck_assert_uint_ge(fj__histogram_at(&v, 500), v.least);
            ck_assert_uint_le(fj__histogram_at(&v, 500), v.most);
        }
    } while (v.count < (uint64_t)THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    fj__histogram_look(&h, &v);
    ck_assert_uint_eq(v.count, (uint64_t)THREADS * EACH);
    ck_assert_uint_eq(v.least, 1000);
    ck_assert_uint_eq(v.most, 1000 + EACH - 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("histogram");
    TCase *tc = tcase_create("histogram");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, percentiles_are_within_a_sixty_fourth_of_the_sorted_values, 0, 24);
    tcase_add_test(tc, an_empty_one_tells_of_nothing);
    tcase_add_loop_test(tc, of_one_every_percentile_is_that_one, 0, 8);
    tcase_add_test(tc, what_is_too_long_for_the_bins_is_told_as_the_longest);
    tcase_add_test(tc, a_time_that_ran_backwards_counts_as_none);
    tcase_add_test(tc, below_a_time_are_those_whose_bins_are);
    tcase_add_test(tc, json_tells_seconds);
    tcase_add_test(tc, without_memory_json_is_not_made_and_nothing_leaks);
    tcase_add_test(tc, threads_lose_nothing_and_a_look_meanwhile_is_sound);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
