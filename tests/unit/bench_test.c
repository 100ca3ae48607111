/* SPDX-License-Identifier: Apache-2.0 */
/* What `fjord bench` computes: targets, messages, cargo, statistics, and how they are drawn. */
#include "tools/bench/bench.h"

#include "base/alloc.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- targets ------------------------------------------------------------------------------------ */

START_TEST(a_target_is_split_at_its_first_dot)
{
    static const struct {
        const char *text, *topic, *server;
    } cases[] = {
        { "profiler_topic.profiler_server", "profiler_topic", "profiler_server" },
        { "topic", "topic", NULL },
        { "topic.", "topic", NULL },
        { "topic.host1.example.org", "topic", "host1.example.org" },
    };
    char text[64];
    bench_target t;

    (void)snprintf(text, sizeof text, "%s", cases[_i].text);
    ck_assert(bench_target_parse(text, &t));
    ck_assert_str_eq(t.topic, cases[_i].topic);
    ck_assert_pstr_eq(t.server, cases[_i].server);
}
END_TEST

START_TEST(without_a_topic_it_is_no_target)
{
    char empty[] = "", server[] = ".server";
    bench_target t;

    ck_assert(!bench_target_parse(empty, &t));
    ck_assert(!bench_target_parse(server, &t));
}
END_TEST

/* ---- messages ----------------------------------------------------------------------------------- */

START_TEST(a_message_has_the_five_elements_of_the_simulators)
{
    json_t *made = bench_message_new(7, "cargo", 3, 1795490396.25);
    char *text = json_dumps(made, 0);

    ck_assert_str_eq(text, "[7, \"car\", 1795490396.25, 0, 0]");
    free(text);
    json_decref(made);
}
END_TEST

START_TEST(an_answer_is_the_message_with_the_servers_time_and_the_message_stays_as_it_was)
{
    json_t *message = bench_message_new(7, "cargo", 5, 1.5), *answer = bench_message_answer(message, 2.5);
    char *text = json_dumps(answer, 0), *was = json_dumps(message, 0);

    ck_assert_str_eq(text, "[7, \"cargo\", 1.5, 2.5, 0]");
    ck_assert_str_eq(was, "[7, \"cargo\", 1.5, 0, 0]");
    free(text);
    free(was);
    json_decref(message);
    json_decref(answer);
}
END_TEST

START_TEST(cargo_is_measured_in_characters_as_python_does)
{
    json_t *message = json_pack("[i, s, i, f, n]", 3, "h\xc3\xa9\xe2\x82\xac", 5, 0.5);
    bench_message m;

    ck_assert(bench_message_read(message, &m));
    ck_assert_int_eq(m.seq, 3);
    ck_assert_uint_eq(m.size, 3);
    ck_assert_double_eq(m.client_ts, 5);
    json_decref(message);
}
END_TEST

START_TEST(what_is_not_of_that_shape_is_no_message)
{
    static const char *const cases[] = { "null",
                                         "{}",
                                         "[]",
                                         "[1,\"x\",2.0,0]",
                                         "[1,\"x\",2.0,0,0,0]",
                                         "[\"1\",\"x\",2.0,0,0]",
                                         "[1,2,2.0,0,0]",
                                         "[1,\"x\",null,0,0]" };
    json_t *message = json_loads(cases[_i], JSON_DECODE_ANY, NULL);
    bench_message m;

    ck_assert_ptr_nonnull(message);
    ck_assert(!bench_message_read(message, &m));
    json_decref(message);
}
END_TEST

/* ---- cargo -------------------------------------------------------------------------------------- */

static int by_length(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

START_TEST(the_lengths_of_cargo_are_spread_as_its_header_says)
{
    static uint32_t lengths[BENCH_CARGO_TEXTS];
    bench_cargo c;
    size_t length;

    ck_assert(bench_cargo_init(&c, BENCH_CARGO_TEXTS + 5, (uint64_t)_i));
    ck_assert_uint_eq(c.count, BENCH_CARGO_TEXTS);
    for (size_t i = 0; i < BENCH_CARGO_TEXTS; i++) {
        const char *text = bench_cargo_text(&c, i, &length);
        lengths[i] = (uint32_t)length;
        ck_assert_uint_ge(length, BENCH_CARGO_LEAST);
        ck_assert_uint_le(length, BENCH_CARGO_MOST);
        ck_assert_uint_ge(strspn(text, "abcdefghijklmnopqrstuvwxyz"), length);
    }
    qsort(lengths, BENCH_CARGO_TEXTS, sizeof *lengths, by_length);
    ck_assert(lengths[500] > 0.85 * BENCH_CARGO_MIDDLE && lengths[500] < 1.15 * BENCH_CARGO_MIDDLE);
    ck_assert(lengths[50] > 0.75 * BENCH_CARGO_FEW && lengths[50] < 1.25 * BENCH_CARGO_FEW);
    ck_assert(lengths[950] > 0.75 * BENCH_CARGO_MANY && lengths[950] < 1.25 * BENCH_CARGO_MANY);
    bench_cargo_fini(&c);
}
END_TEST

START_TEST(cargo_of_a_seed_is_the_same_again_and_begins_anew_after_its_last)
{
    bench_cargo a, b;
    size_t n, m;

    ck_assert(bench_cargo_init(&a, 3, 42) && bench_cargo_init(&b, 3, 42));
    for (size_t i = 0; i < 3; i++) {
        const char *text = bench_cargo_text(&a, i, &n), *same = bench_cargo_text(&b, i + 3, &m);
        ck_assert_uint_eq(n, m);
        ck_assert_mem_eq(text, same, n);
    }
    bench_cargo_fini(&a);
    bench_cargo_fini(&b);
}
END_TEST

/* ---- statistics --------------------------------------------------------------------------------- */

enum { MS = 1000000 };

static void push(bench_group *g, size_t i, double began, uint64_t size, int64_t took)
{
    const bench_one one = { began, began + (double)took / 1e9, size, took != 0, took };

    bench_push(g, i, &one);
}

static double real(const json_t *of, const char *key)
{
    ck_assert_msg(json_is_number(json_object_get(of, key)), "%s is missing", key);
    return json_number_value(json_object_get(of, key));
}

START_TEST(a_summary_is_of_all_series_from_the_first_begin_to_the_last_end)
{
    bench_group g;

    ck_assert(bench_group_init(&g, "client", 2, true));
    for (int i = 0; i < 100; i++)
        push(&g, (size_t)(i % 2), 1000 + i * 0.1, 10, (i + 1) * MS);
    json_t *s = bench_summary(&g);
    ck_assert_double_eq(real(s, "count"), 100);
    ck_assert_double_eq(real(s, "size"), 1000);
    ck_assert_double_eq_tol(real(s, "start"), 1000, 1e-6);
    ck_assert_double_eq_tol(real(s, "end"), 1009.9 + 0.1, 1e-6);
    ck_assert_double_eq_tol(real(s, "duration"), 10, 1e-6);
    ck_assert_double_eq_tol(real(s, "count_p_s"), 10, 1e-5);
    ck_assert_double_eq_tol(real(s, "size_p_s"), 100, 1e-4);
    ck_assert_double_eq_tol(real(s, "latency"), 0.0505, 1e-9);
    ck_assert_double_eq_tol(real(s, "min_latency"), 0.001, 1e-12);
    ck_assert_double_eq_tol(real(s, "max_latency"), 0.1, 1e-12);
    ck_assert_double_eq_tol(real(s, "p50"), 0.05, 0.05 / 64);
    ck_assert_double_eq_tol(real(s, "p99"), 0.099, 0.099 / 64);
    ck_assert_double_eq_tol(real(s, "p99.9"), 0.1, 0.1 / 64);
    json_decref(s);
    bench_group_fini(&g);
}
END_TEST

START_TEST(a_summary_of_nothing_has_neither_times_nor_latencies)
{
    bench_group g;

    ck_assert(bench_group_init(&g, "error", 3, true));
    (void)bench_tick(&g, 5);
    json_t *s = bench_summary(&g);
    char *text = json_dumps(s, JSON_SORT_KEYS);
    ck_assert_str_eq(text,
                     "{\"count\": 0, \"count_p_s\": 0.0, \"duration\": 0.0, \"size\": 0, \"size_p_s\": 0.0}");
    free(text);
    json_decref(s);
    bench_group_fini(&g);
}
END_TEST

START_TEST(messages_without_a_latency_are_counted_and_do_not_change_it)
{
    bench_group g;

    ck_assert(bench_group_init(&g, "client", 1, true));
    push(&g, 0, 1, 5, 0);
    push(&g, 0, 2, 5, 4 * MS);
    push(&g, 0, 3, 5, 0);
    json_t *s = bench_summary(&g);
    ck_assert_double_eq(real(s, "count"), 3);
    ck_assert_double_eq_tol(real(s, "latency"), 0.004, 1e-12);
    ck_assert_double_eq_tol(real(s, "min_latency"), 0.004, 1e-12);
    json_decref(s);
    bench_group_fini(&g);
}
END_TEST

START_TEST(a_point_a_second_and_together_they_are_the_summary)
{
    bench_group g;

    ck_assert(bench_group_init(&g, "server", 1, true));
    for (int second = 0; second < 4; second++) {
        for (int i = 0; second != 1 && i <= second; i++)
            push(&g, 0, 100 + second, 7, (second + 1) * MS);
        bench_point p = bench_tick(&g, 101 + second);
        ck_assert_uint_eq(p.count, second == 1 ? 0 : (unsigned)second + 1);
    }
    json_t *series = bench_series_json(&g, 0), *s = bench_summary(&g);
    double count = 0, size = 0, sum = 0;
    ck_assert_uint_eq(json_array_size(series), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *p = json_array_get(series, i);
        ck_assert_double_eq(real(p, "seq"), (double)i);
        ck_assert_double_eq_tol(real(p, "timestamp"), 101.0 + (double)i, 1e-9);
        count += real(p, "count");
        size += real(p, "size");
        ck_assert(json_object_get(p, "latency") == NULL || i != 1);
        if (i != 1)
            sum += real(p, "latency") * real(p, "count");
    }
    ck_assert_double_eq(count, real(s, "count"));
    ck_assert_double_eq(size, real(s, "size"));
    ck_assert_double_eq_tol(sum / count, real(s, "latency"), 1e-12);
    json_decref(series);
    json_decref(s);
    bench_group_fini(&g);
}
END_TEST

START_TEST(a_clock_that_is_behind_makes_latencies_below_zero_and_nothing_else)
{
    bench_group g;

    ck_assert(bench_group_init(&g, "server", 1, false));
    push(&g, 0, 1, 1, -3 * MS);
    push(&g, 0, 2, 1, 1 * MS);
    json_t *s = bench_summary(&g);
    ck_assert_double_eq_tol(real(s, "latency"), -0.001, 1e-12);
    ck_assert_double_eq_tol(real(s, "min_latency"), -0.003, 1e-12);
    ck_assert_double_lt(real(s, "p50"), 1e-7); /* of the first bin */
    ck_assert_double_gt(real(s, "duration"), 0.9);
    json_decref(s);
    bench_group_fini(&g);
}
END_TEST

START_TEST(without_memory_a_seconds_messages_are_of_the_next_second)
{
    bench_group g;

    ck_assert(bench_group_init(&g, "server", 1, true));
    push(&g, 0, 1, 1, MS);
    (void)fj__alloc_fail(1, true);
    (void)bench_tick(&g, 2);
    ck_assert_ptr_null(bench_summary(&g));
    (void)fj__alloc_fail(0, false);
    push(&g, 0, 2, 1, MS);
    (void)bench_tick(&g, 3);
    json_t *series = bench_series_json(&g, 0);
    ck_assert_uint_eq(json_array_size(series), 1);
    ck_assert_double_eq(real(json_array_get(series, 0), "count"), 2);
    json_decref(series);
    bench_group_fini(&g);
}
END_TEST

START_TEST(a_group_for_which_there_is_no_memory_may_be_ended)
{
    bench_group g;

    (void)fj__alloc_fail(1, false);
    ck_assert(!bench_group_init(&g, "server", 1, true));
    (void)fj__alloc_fail(0, false);
    bench_group_fini(&g);
}
END_TEST

enum { THREADS = 4, EACH = 5000 };

static void *push_many(void *user)
{
    for (int i = 0; i < EACH; i++)
        push(user, (size_t)i % 2, 10, 1, MS);
    return NULL;
}

START_TEST(what_threads_count_while_seconds_end_is_all_there)
{
    pthread_t threads[THREADS];
    uint64_t seen = 0;
    bench_group g;
    double start, seconds;

    ck_assert(bench_group_init(&g, "server", 2, true));
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_many, &g), 0);
    while (seen < (uint64_t)THREADS * EACH)
        seen += bench_tick(&g, 1).count;
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    ck_assert_uint_eq(seen, (uint64_t)THREADS * EACH);
    ck_assert_uint_eq(bench_total(&g, &start, &seconds).count, seen);
    bench_group_fini(&g);
}
END_TEST

/* ---- drawing ------------------------------------------------------------------------------------ */

START_TEST(a_time_has_three_digits_and_a_unit)
{
    static const struct {
        double ns;
        const char *text;
    } cases[] = { { 0, "0 ns" },          { 17, "17 ns" },       { 999, "999 ns" },   { 999.6, "1.00 us" },
                  { 1234, "1.23 us" },    { 12345, "12.3 us" },  { 853e3, "853 us" }, { 9.994e6, "9.99 ms" },
                  { 9.996e6, "10.0 ms" }, { 99.96e6, "100 ms" }, { 1.5e9, "1.50 s" }, { 7200e9, "7200 s" },
                  { -2500, "-2.50 us" } };
    char text[24];

    ck_assert_str_eq(bench_time_text(cases[_i].ns, text), cases[_i].text);
}
END_TEST

/* What a function writes.  Freed with free(). */
static char *drawn(void (*draw)(FILE *, void *), void *user)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    ck_assert_ptr_nonnull(out);
    draw(out, user);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

static void draw_histogram(FILE *out, void *h)
{
    bench_draw_histogram(out, h);
}

static void draw_summary(FILE *out, void *g)
{
    bench_draw_summary(out, g);
}

START_TEST(a_histogram_has_a_row_for_each_1_2_and_5_and_counts_all)
{
    static fj__histogram h;

    for (int i = 0; i < 40; i++)
        fj__histogram_add(&h, 150000);
    for (int i = 0; i < 10; i++)
        fj__histogram_add(&h, 700000);
    char *text = drawn(draw_histogram, &h);
    ck_assert_str_eq(text, "   100 us - 200 us  ########################################        40  80.00 %\n"
                           "   200 us - 500 us                                                   0   0.00 %\n"
                           "   500 us - 1.00 ms ##########                                      10  20.00 %\n");
    free(text);
}
END_TEST

START_TEST(a_histogram_of_nothing_is_not_drawn)
{
    static fj__histogram h;
    char *text = drawn(draw_histogram, &h);

    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

START_TEST(a_line_of_results_tells_rates_and_percentiles)
{
    bench_group g;

    ck_assert(bench_group_init(&g, "round_trip", 1, false));
    for (int i = 0; i < 4; i++)
        push(&g, 0, 10 + i, 100, 500 * MS);
    char *text = drawn(draw_summary, &g);
    ck_assert_str_eq(text, "round_trip: 4 messages in 3.50 s, 1.1 a second, 114 bytes a second, mean 500 ms, "
                           "min 500 ms, max 500 ms, p50 500 ms, p99 500 ms, p99.9 500 ms\n");
    free(text);
    bench_group_fini(&g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bench");
    TCase *t = tcase_create("targets");

    tcase_add_loop_test(t, a_target_is_split_at_its_first_dot, 0, 4);
    tcase_add_test(t, without_a_topic_it_is_no_target);
    suite_add_tcase(s, t);
    t = tcase_create("messages");
    tcase_add_test(t, a_message_has_the_five_elements_of_the_simulators);
    tcase_add_test(t, an_answer_is_the_message_with_the_servers_time_and_the_message_stays_as_it_was);
    tcase_add_test(t, cargo_is_measured_in_characters_as_python_does);
    tcase_add_loop_test(t, what_is_not_of_that_shape_is_no_message, 0, 8);
    tcase_add_loop_test(t, the_lengths_of_cargo_are_spread_as_its_header_says, 0, 5);
    tcase_add_test(t, cargo_of_a_seed_is_the_same_again_and_begins_anew_after_its_last);
    suite_add_tcase(s, t);
    t = tcase_create("statistics");
    tcase_add_test(t, a_summary_is_of_all_series_from_the_first_begin_to_the_last_end);
    tcase_add_test(t, a_summary_of_nothing_has_neither_times_nor_latencies);
    tcase_add_test(t, messages_without_a_latency_are_counted_and_do_not_change_it);
    tcase_add_test(t, a_point_a_second_and_together_they_are_the_summary);
    tcase_add_test(t, a_clock_that_is_behind_makes_latencies_below_zero_and_nothing_else);
    tcase_add_test(t, without_memory_a_seconds_messages_are_of_the_next_second);
    tcase_add_test(t, a_group_for_which_there_is_no_memory_may_be_ended);
    tcase_add_test(t, what_threads_count_while_seconds_end_is_all_there);
    suite_add_tcase(s, t);
    t = tcase_create("drawing");
    tcase_add_loop_test(t, a_time_has_three_digits_and_a_unit, 0, 13);
    tcase_add_test(t, a_histogram_has_a_row_for_each_1_2_and_5_and_counts_all);
    tcase_add_test(t, a_histogram_of_nothing_is_not_drawn);
    tcase_add_test(t, a_line_of_results_tells_rates_and_percentiles);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
