/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "runtime/timers.h"

#include <check.h>
#include <stdlib.h>

enum { MANY = 40, STEPS = 4000, SEEDS = 20 };

struct item {
    fj__timer timer;
    unsigned ran;
    int64_t again; /* sets itself so much later when it runs; 0: not */
    bool due;      /* the model's: to run in this turn */
    bool is_set;
    int64_t at;
};

static fj__timers ts;
static struct item items[MANY];
static struct item *order[MANY + 1];
static size_t ran;

static void on_time(fj__timer *t, fj_deadline now)
{
    struct item *it = fj__container(t, struct item, timer);

    ck_assert_uint_eq(t->place, 0);
    it->ran++;
    if (ran < MANY + 1)
        order[ran++] = it;
    if (it->again != 0)
        ck_assert(fj__timer_set(&ts, t, (fj_deadline){ now.ns + it->again }));
}

static void set_up(void)
{
    ts = (fj__timers){ 0 };
    ran = 0;
    for (size_t i = 0; i < MANY; i++)
        items[i] = (struct item){ .timer.fn = on_time };
}

static void tear_down(void)
{
    (void)fj__alloc_fail(0, false);
    fj__timers_fini(&ts);
}

static void set(size_t i, int64_t at)
{
    ck_assert(fj__timer_set(&ts, &items[i].timer, (fj_deadline){ at }));
}

static void run(int64_t now)
{
    ran = 0;
    fj__timers_run(&ts, (fj_deadline){ now });
}

START_TEST(without_a_timer_nothing_is_ever_due)
{
    ck_assert(fj_is_never(fj__timers_next(&ts)));
    run(1000);
    fj__timer_cancel(&ts, &items[0].timer);
    ck_assert_uint_eq(ran, 0);
}
END_TEST

START_TEST(timers_run_in_the_order_of_their_times_and_only_when_due)
{
    static const int64_t at[] = { 50, 10, 40, 20, 60, 30 };

    for (size_t i = 0; i < fj__countof(at); i++)
        set(i, at[i]);
    ck_assert_int_eq(fj__timers_next(&ts).ns, 10);
    run(9);
    ck_assert_uint_eq(ran, 0);
    run(40);
    ck_assert_uint_eq(ran, 4);
    for (size_t i = 0; i < ran; i++)
        ck_assert_int_eq(order[i]->timer.at, (int64_t)(i + 1) * 10);
    ck_assert_int_eq(fj__timers_next(&ts).ns, 50);
}
END_TEST

START_TEST(a_timer_set_anew_runs_once_at_its_new_time)
{
    set(0, 10);
    set(1, 20);
    set(0, 30);
    ck_assert_int_eq(fj__timers_next(&ts).ns, 20);
    set(1, 5);
    ck_assert_int_eq(fj__timers_next(&ts).ns, 5);
    run(29);
    ck_assert_uint_eq(items[0].ran, 0);
    run(30);
    ck_assert_uint_eq(items[0].ran, 1);
    ck_assert_uint_eq(items[1].ran, 1);
}
END_TEST

START_TEST(a_cancelled_timer_never_runs_and_may_be_cancelled_again)
{
    for (size_t i = 0; i < 5; i++)
        set(i, (int64_t)i);
    fj__timer_cancel(&ts, &items[0].timer);
    fj__timer_cancel(&ts, &items[0].timer);
    fj__timer_cancel(&ts, &items[3].timer);
    run(100);
    ck_assert_uint_eq(ran, 3);
    ck_assert_uint_eq(items[0].ran + items[3].ran, 0);
}
END_TEST

START_TEST(a_timer_that_sets_itself_again_runs_once_a_turn_and_lets_the_others_run)
{
    items[0].again = -9; /* into the past, before the other */
    set(0, 1);
    set(1, 2);
    run(10);
    ck_assert_uint_eq(items[0].ran, 1);
    ck_assert_uint_eq(items[1].ran, 1);
    ck_assert_int_le(fj__timers_next(&ts).ns, 11); /* due again at once, in the next turn */
    run(11);
    ck_assert_uint_eq(items[0].ran, 2);
}
END_TEST

static void cancel_the_next(fj__timer *t, fj_deadline now)
{
    on_time(t, now);
    fj__timer_cancel(&ts, &items[1].timer);
}

START_TEST(a_timer_cancelled_by_an_earlier_one_of_the_same_turn_does_not_run)
{
    items[0].timer.fn = cancel_the_next;
    for (size_t i = 0; i < 3; i++)
        set(i, (int64_t)i);
    run(10);
    ck_assert_uint_eq(items[1].ran, 0);
    ck_assert_uint_eq(items[2].ran, 1);
}
END_TEST

START_TEST(without_memory_a_timer_stays_idle_and_the_others_stay_set)
{
    size_t held = 0;

    (void)fj__alloc_fail(1, true);
    ck_assert(!fj__timer_set(&ts, &items[0].timer, (fj_deadline){ 1 }));
    ck_assert_uint_eq(items[0].timer.place, 0);
    (void)fj__alloc_fail(0, false);
    set(held++, 1);
    (void)fj__alloc_fail(1, true);
    while (held < MANY && fj__timer_set(&ts, &items[held].timer, (fj_deadline){ (int64_t)held }))
        held++;
    ck_assert_uint_lt(held, MANY);                                      /* the heap had to grow */
    ck_assert(fj__timer_set(&ts, &items[0].timer, (fj_deadline){ 7 })); /* set anew: there is room */
    (void)fj__alloc_fail(0, false);
    run(100);
    ck_assert_uint_eq(ran, held);
    ck_assert_uint_eq(items[held].ran, 0);
}
END_TEST

/* ---- against a model ---------------------------------------------------------------------------- */

static uint64_t state;

static uint64_t below(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

static void one_turn(int64_t now)
{
    size_t due = 0;

    for (size_t i = 0; i < MANY; i++) {
        items[i].due = items[i].is_set && items[i].at <= now;
        items[i].again = (int64_t)below(4) == 0 ? 1 + (int64_t)below(50) : 0;
        due += items[i].due;
    }
    run(now);
    ck_assert_uint_eq(ran, due);
    for (size_t i = 0; i < ran; i++) {
        ck_assert(order[i]->due); /* and not a second time */
        ck_assert(i == 0 || order[i - 1]->at <= order[i]->at);
        order[i]->due = false;
    }
    for (size_t i = 0; i < ran; i++) {
        order[i]->is_set = order[i]->again != 0;
        order[i]->at = now + order[i]->again;
    }
}

static void assert_next(void)
{
    int64_t first = fj_never().ns;

    for (size_t i = 0; i < MANY; i++) {
        if ((items[i].timer.place != 0) != items[i].is_set) /* each assertion is a system call */
            ck_abort_msg("timer %zu should %sbe set", i, items[i].is_set ? "" : "not ");
        if (items[i].is_set && items[i].at < first)
            first = items[i].at;
    }
    ck_assert_int_eq(fj__timers_next(&ts).ns, first);
}

START_TEST(any_sequence_of_operations_does_what_a_plain_list_would)
{
    int64_t now = 0;

    state = 0x9e3779b97f4a7c15u + (uint64_t)_i;
    for (int step = 0; step < STEPS; step++) {
        size_t i = below(MANY);
        switch (below(4)) {
        case 0:
            fj__timer_cancel(&ts, &items[i].timer);
            items[i].is_set = false;
            break;
        case 1:
            now += (int64_t)below(30);
            one_turn(now);
            break;
        default:
            items[i].at = now - 20 + (int64_t)below(100);
            items[i].is_set = true;
            set(i, items[i].at);
        }
        assert_next();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timers");
    TCase *c = tcase_create("timers");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, without_a_timer_nothing_is_ever_due);
    tcase_add_test(c, timers_run_in_the_order_of_their_times_and_only_when_due);
    tcase_add_test(c, a_timer_set_anew_runs_once_at_its_new_time);
    tcase_add_test(c, a_cancelled_timer_never_runs_and_may_be_cancelled_again);
    tcase_add_test(c, a_timer_that_sets_itself_again_runs_once_a_turn_and_lets_the_others_run);
    tcase_add_test(c, a_timer_cancelled_by_an_earlier_one_of_the_same_turn_does_not_run);
    tcase_add_test(c, without_memory_a_timer_stays_idle_and_the_others_stay_set);
    tcase_add_loop_test(c, any_sequence_of_operations_does_what_a_plain_list_would, 0, SEEDS);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
