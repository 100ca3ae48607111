/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "transports/amqp/window.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 16, IDS = 60, STEPS = 20000, SEEDS = 10 };

static fj__window w;

static void set_up(void)
{
    ck_assert(fj__window_init(&w, N));
}

static void tear_down(void)
{
    (void)fj__alloc_fail(0, false);
    fj__window_fini(&w);
}

static bool add(unsigned i)
{
    char id[16];

    (void)snprintf(id, sizeof id, "id-%u", i);
    return fj__window_add(&w, id);
}

static void forget(unsigned i)
{
    char id[16];

    (void)snprintf(id, sizeof id, "id-%u", i);
    fj__window_forget(&w, id);
}

START_TEST(an_id_is_known_until_n_others_have_come)
{
    ck_assert(add(0));
    ck_assert(!add(0));
    for (unsigned i = 1; i < N; i++)
        ck_assert(add(i));
    ck_assert(!add(0));
    ck_assert(add(N));
    ck_assert(add(0)); /* pushed out by the one before, and pushes out 1 */
    ck_assert(!add(2));
    ck_assert(add(1));
}
END_TEST

START_TEST(a_forgotten_id_is_new_again_and_the_others_stay_known)
{
    for (unsigned i = 0; i < N; i++)
        ck_assert(add(i));
    forget(5);
    forget(5);
    forget(N); /* never seen */
    for (unsigned i = 0; i < N; i++)
        ck_assert(i == 5 || !add(i));
    ck_assert(add(5)); /* in place of 0 */
    ck_assert(add(0));
}
END_TEST

START_TEST(ids_that_begin_alike_are_not_the_same)
{
    ck_assert(fj__window_add(&w, ""));
    ck_assert(fj__window_add(&w, "a"));
    ck_assert(fj__window_add(&w, "ab"));
    ck_assert(!fj__window_add(&w, ""));
    ck_assert(!fj__window_add(&w, "a"));
}
END_TEST

START_TEST(an_id_of_64_bytes_is_remembered_and_a_longer_one_never)
{
    char id[66];

    memset(id, 'x', 65);
    id[65] = '\0';
    ck_assert(fj__window_add(&w, id));
    ck_assert(fj__window_add(&w, id));
    fj__window_forget(&w, id);
    id[64] = '\0';
    ck_assert(fj__window_add(&w, id));
    ck_assert(!fj__window_add(&w, id));
}
END_TEST

START_TEST(a_window_of_one_knows_the_last_id_only)
{
    fj__window one;

    ck_assert(fj__window_init(&one, 1));
    ck_assert(fj__window_add(&one, "a"));
    ck_assert(!fj__window_add(&one, "a"));
    ck_assert(fj__window_add(&one, "b"));
    ck_assert(fj__window_add(&one, "a"));
    fj__window_fini(&one);
}
END_TEST

START_TEST(without_memory_there_is_no_window)
{
    for (unsigned long nth = 1; nth <= 2; nth++) {
        fj__window none;
        (void)fj__alloc_fail(nth, false);
        ck_assert(!fj__window_init(&none, N));
        (void)fj__alloc_fail(0, false);
        fj__window_fini(&none);
    }
}
END_TEST

/* ---- against a model: places in the order they were filled ---------------------------------------- */

static uint64_t state;

static unsigned below(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % n);
}

static int place_of(const int *places, int id)
{
    for (int i = 0; i < N; i++) {
        if (places[i] == id)
            return i;
    }
    return -1;
}

START_TEST(any_sequence_of_ids_is_judged_as_a_plain_list_would)
{
    int places[N];
    unsigned at = 0;

    for (int i = 0; i < N; i++)
        places[i] = -1;
    state = 0x9e3779b97f4a7c15u + (uint64_t)_i;
    for (int step = 0; step < STEPS; step++) {
        unsigned id = below(IDS);
        int place = place_of(places, (int)id);
        if (below(5) == 0) {
            forget(id);
            if (place >= 0)
                places[place] = -1;
            continue;
        }
        ck_assert_int_eq(add(id), place < 0);
        if (place < 0) {
            places[at] = (int)id;
            at = (at + 1) % N;
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("window");
    TCase *c = tcase_create("window");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, an_id_is_known_until_n_others_have_come);
    tcase_add_test(c, a_forgotten_id_is_new_again_and_the_others_stay_known);
    tcase_add_test(c, ids_that_begin_alike_are_not_the_same);
    tcase_add_test(c, an_id_of_64_bytes_is_remembered_and_a_longer_one_never);
    tcase_add_test(c, a_window_of_one_knows_the_last_id_only);
    tcase_add_test(c, without_memory_there_is_no_window);
    tcase_add_loop_test(c, any_sequence_of_ids_is_judged_as_a_plain_list_would, 0, SEEDS);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
