/* SPDX-License-Identifier: Apache-2.0 */
/* Which host comes next, and when: the order of several, cooling down, and the pauses between attempts. */
#include "transports/amqp/backoff.h"
#include "transports/amqp/hosts.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS = 4, DRAWS = 20000, CLIENTS = 200 };

static fj__amqp_host hosts[HOSTS];
static fj__amqp_settings settings;
static fj__hosts h;

static fj_deadline at(double seconds)
{
    return (fj_deadline){ (int64_t)((1000.0 + seconds) * 1e9) };
}

static void set_up(void)
{
    static const char *const names[HOSTS] = { "a", "b", "c", "d" };

    for (size_t i = 0; i < HOSTS; i++)
        hosts[i] = (fj__amqp_host){ .name = (char *)(uintptr_t)names[i] };
    settings = (fj__amqp_settings){ .hosts = hosts,
                                    .host_count = HOSTS,
                                    .retry_interval = 1,
                                    .retry_backoff = 2,
                                    .retry_max = 30,
                                    .reconnect_delay = 1,
                                    .reconnect_splay = 7 };
    ck_assert(fj__hosts_init(&h, &settings, at(0)));
}

static void tear_down(void)
{
    fj__hosts_fini(&h);
}

static char now_in_use(void)
{
    return fj__hosts_now(&h)->name[0];
}

/* The names of a round in which each fails.  @return lends */
static const char *failing_round(double seconds)
{
    static char names[HOSTS + 1];
    size_t n = 0;

    memset(names, 0, sizeof names);
    do
        names[n++] = now_in_use();
    while (fj__hosts_next(&h, at(seconds)) && n < HOSTS);
    return names;
}

static void assert_each_once(const char *names)
{
    ck_assert_uint_eq(strlen(names), HOSTS);
    for (const char *one = "abcd"; *one != '\0'; one++)
        ck_assert_msg(strchr(names, *one) != NULL, "%c is not in %s", *one, names);
}

START_TEST(a_round_tries_each_host_once)
{
    char first[HOSTS + 1];

    (void)snprintf(first, sizeof first, "%s", failing_round(0));
    assert_each_once(first);
    for (int i = 1; i < 5; i++) /* round robin: in the same order again, once all have cooled down */
        ck_assert_str_eq(failing_round(100.0 * i), first);
}
END_TEST

START_TEST(clients_do_not_all_begin_with_the_same_host)
{
    unsigned begins[HOSTS] = { 0 };

    for (int i = 0; i < CLIENTS; i++) {
        fj__hosts_fini(&h);
        ck_assert(fj__hosts_init(&h, &settings, at(0)));
        begins[now_in_use() - 'a']++;
    }
    for (size_t i = 0; i < HOSTS; i++)
        ck_assert_uint_gt(begins[i], CLIENTS / HOSTS / 4);
}
END_TEST

START_TEST(after_a_loss_the_next_in_turn_is_tried_first_and_the_lost_one_last)
{
    char order[HOSTS + 1];

    (void)snprintf(order, sizeof order, "%s", failing_round(0));
    for (int i = 0; i < HOSTS; i++) { /* far apart in time: nobody cools down */
        char lost = now_in_use();
        const char *place = strchr(order, lost);
        fj__hosts_reached(&h);
        fj__hosts_lost(&h, at(1000));
        ck_assert_int_eq(now_in_use(), place[1] != '\0' ? place[1] : order[0]);
        const char *round = failing_round(1000);
        assert_each_once(round);
        ck_assert_int_eq(round[HOSTS - 1], lost);
        for (size_t k = 0; k < HOSTS; k++)
            hosts[k].failed_ns = 0;
    }
}
END_TEST

START_TEST(a_host_that_lately_could_not_be_reached_comes_last)
{
    char dead = now_in_use();

    ck_assert(fj__hosts_next(&h, at(0)));
    for (int i = 0; i < HOSTS; i++) { /* whichever is lost, for 30 s the dead one is behind the others */
        fj__hosts_reached(&h);
        ck_assert_int_ne(now_in_use(), dead);
        fj__hosts_lost(&h, at(1));
    }
    const char *round = failing_round(1);
    assert_each_once(round);
    ck_assert_int_eq(round[HOSTS - 1], dead);
}
END_TEST

START_TEST(what_one_connection_found_out_another_knows)
{
    fj__hosts other;
    char dead = now_in_use();

    ck_assert(fj__hosts_next(&h, at(0)));
    for (int i = 0; i < DRAWS / 1000; i++) {
        ck_assert(fj__hosts_init(&other, &settings, at(29)));
        ck_assert_int_ne(fj__hosts_now(&other)->name[0], dead);
        fj__hosts_fini(&other);
    }
}
END_TEST

START_TEST(a_host_cools_down_for_the_longest_pause_or_until_it_is_reached)
{
    fj__hosts other;
    bool first_again = false;
    char dead = now_in_use();

    ck_assert(fj__hosts_next(&h, at(0)));
    for (int i = 0; i < DRAWS && !first_again; i++) {
        ck_assert(fj__hosts_init(&other, &settings, at(31)));
        first_again = fj__hosts_now(&other)->name[0] == dead;
        fj__hosts_fini(&other);
    }
    ck_assert(first_again);
    (void)failing_round(100); /* all have failed now; one is reached */
    char reached = now_in_use();
    fj__hosts_reached(&h);
    ck_assert(fj__hosts_init(&other, &settings, at(101)));
    ck_assert_int_eq(fj__hosts_now(&other)->name[0], reached);
    fj__hosts_fini(&other);
}
END_TEST

START_TEST(with_shuffle_each_round_has_an_order_of_its_own)
{
    char first[HOSTS + 1];
    bool differs = false;

    settings.shuffle = true;
    (void)snprintf(first, sizeof first, "%s", failing_round(0));
    for (int i = 1; i < 50; i++) {
        const char *round = failing_round(100.0 * i);
        assert_each_once(round);
        differs = differs || strcmp(round, first) != 0;
    }
    ck_assert(differs);
}
END_TEST

START_TEST(a_single_host_is_tried_again_and_again)
{
    fj__hosts_fini(&h);
    settings.host_count = 1;
    ck_assert(fj__hosts_init(&h, &settings, at(0)));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(now_in_use(), 'a');
        ck_assert(!fj__hosts_next(&h, at(0)));
    }
    fj__hosts_lost(&h, at(0));
    ck_assert_int_eq(now_in_use(), 'a');
}
END_TEST

/* ---- pauses ---- */

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* The largest part of the draws that falls into one second. */
static double peak(double *pauses, size_t n)
{
    size_t most = 0;

    qsort(pauses, n, sizeof *pauses, by_value);
    for (size_t from = 0, to = 0; from < n; from++) {
        while (to < n && pauses[to] < pauses[from] + 1)
            to++;
        most = to - from > most ? to - from : most;
    }
    return (double)most / (double)n;
}

static double draws[DRAWS];

static void draw(const fj__trouble *t)
{
    for (size_t i = 0; i < DRAWS; i++)
        draws[i] = fj__backoff(&settings, t);
}

START_TEST(many_clients_that_were_cut_off_at_once_do_not_come_back_in_one_second)
{
    static const fj__trouble lost = { .lost = true, .was_open = true };
    static const fj__trouble again = { .was_open = true, .attempts = 1 };

    draw(&lost);
    ck_assert_double_lt(peak(draws, DRAWS), 0.15); /* an eighth, and what chance adds */
    ck_assert_double_le(draws[DRAWS - 1], 8.0);
    for (int i = 0; i < 5; i++) { /* two hundred at a time */
        for (size_t k = 0; k < CLIENTS; k++)
            draws[k] = fj__backoff(&settings, &lost);
        ck_assert_double_le(peak(draws, CLIENTS), 0.28);
    }
    draw(&again); /* nor those that found the broker not yet there */
    ck_assert_double_lt(peak(draws, DRAWS), 0.2);
    ck_assert_double_le(draws[DRAWS - 1], 8.0);
}
END_TEST

START_TEST(pauses_grow_by_the_step_up_to_the_longest)
{
    static const double caps[] = { 1, 3, 5, 7 };
    fj__trouble t = { .attempts = 1 };

    for (size_t i = 0; i < 4; i++, t.attempts++) {
        draw(&t);
        qsort(draws, DRAWS, sizeof *draws, by_value);
        ck_assert_double_ge(draws[0], caps[i] * 0.1);
        ck_assert_double_le(draws[DRAWS - 1], caps[i]);
        ck_assert_double_gt(draws[DRAWS - 1], caps[i] * 0.95);
    }
    t.attempts = 1000;
    draw(&t);
    qsort(draws, DRAWS, sizeof *draws, by_value);
    ck_assert_double_le(draws[DRAWS - 1], 30);
    t = (fj__trouble){ .attempts = 1, .fatal = true }; /* nothing will change soon */
    draw(&t);
    qsort(draws, DRAWS, sizeof *draws, by_value);
    ck_assert_double_gt(draws[DRAWS - 1], 28);
}
END_TEST

START_TEST(no_setting_makes_a_hot_loop)
{
    fj__trouble t = { .lost = true, .was_open = true };

    settings.reconnect_delay = settings.reconnect_splay = settings.retry_interval = settings.retry_max = 0;
    ck_assert_double_ge(fj__backoff(&settings, &t), 0.01);
    t.lost = false;
    ck_assert_double_ge(fj__backoff(&settings, &t), 0.01);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hosts");
    TCase *c = tcase_create("hosts");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_round_tries_each_host_once);
    tcase_add_test(c, clients_do_not_all_begin_with_the_same_host);
    tcase_add_test(c, after_a_loss_the_next_in_turn_is_tried_first_and_the_lost_one_last);
    tcase_add_test(c, a_host_that_lately_could_not_be_reached_comes_last);
    tcase_add_test(c, what_one_connection_found_out_another_knows);
    tcase_add_test(c, a_host_cools_down_for_the_longest_pause_or_until_it_is_reached);
    tcase_add_test(c, with_shuffle_each_round_has_an_order_of_its_own);
    tcase_add_test(c, a_single_host_is_tried_again_and_again);
    tcase_add_test(c, many_clients_that_were_cut_off_at_once_do_not_come_back_in_one_second);
    tcase_add_test(c, pauses_grow_by_the_step_up_to_the_longest);
    tcase_add_test(c, no_setting_makes_a_hot_loop);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
