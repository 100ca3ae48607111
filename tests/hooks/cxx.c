/* SPDX-License-Identifier: Apache-2.0 */
/* std::mutex, std::condition_variable, std::thread::join() and their kin in green tasks; the other half is in C++. */
#include "tests/hooks/scene.h"

void cxx_counts(unsigned times, void (*pause)(void));
unsigned cxx_count(void);
void cxx_waits(bool any);
void cxx_says(void);
bool cxx_waits_in_vain(void);
void cxx_joins(void (*fn)(void *arg), void *arg);

static atomic_int step;

static void counts(void *arg)
{
    (void)arg;
    cxx_counts(100, scene_pause);
}

START_TEST(locks_of_the_standard_library_park)
{
    for (int i = 0; i < 20; i++)
        scene_add(i % 4 - 1, counts, NULL);
    scene_run();
    ck_assert_uint_eq(cxx_count(), 2000);
}
END_TEST

static void waits(void *arg)
{
    atomic_fetch_add(&step, 1);
    cxx_waits(arg != NULL);
}

static void says(void *arg)
{
    (void)arg;
    scene_until(&step, 6);
    cxx_says();
}

START_TEST(its_conditions_park)
{
    for (int i = 0; i < 6; i++)
        scene_add(i / 2 - 1, waits, i % 2 == 0 ? &step : NULL);
    scene_add(_i, says, NULL);
    scene_run();
}
END_TEST

static void waits_in_vain(void *arg)
{
    (void)arg;
    ck_assert(cxx_waits_in_vain());
}

START_TEST(its_waits_end_at_their_time)
{
    scene_add(HERE, waits_in_vain, NULL);
    scene_run();
}
END_TEST

static void lasts(void *arg)
{
    (void)arg;
    atomic_store(&step, 1);
    scene_until(&step, 2);
}

static void joins(void *arg)
{
    (void)arg;
    cxx_joins(lasts, NULL); /* the thread counts itself: then it is joined, or about to be */
}

static void lets_it_end(void *arg)
{
    (void)arg;
    scene_until(&step, 1);
    atomic_store(&step, 2);
}

START_TEST(its_threads_are_joined)
{
    scene_add(HERE, joins, NULL);
    scene_add(HERE, lets_it_end, NULL);
    scene_run();
}
END_TEST

Suite *cxx_suite(void)
{
    Suite *s = suite_create("hooks: C++");
    TCase *c = tcase_create("cxx");

    tcase_add_checked_fixture(c, scene_begin, scene_end);
    tcase_set_timeout(c, 30);
    tcase_add_test(c, locks_of_the_standard_library_park);
    tcase_add_loop_test(c, its_conditions_park, PLAIN, THERE + 1);
    tcase_add_test(c, its_waits_end_at_their_time);
    tcase_add_test(c, its_threads_are_joined);
    suite_add_tcase(s, c);
    return s;
}
