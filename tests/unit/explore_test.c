/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small scenarios, in every schedule there is and in as many random ones.  In each, task b is the victim: at any point
 * it is cancelled, killed, or runs out of time.  Whatever it was granted then must not be lost, and the others end well.
 */
#include "runtime/clock.h"
#include "runtime/waiting.h"
#include "tests/support/explore.h"

#include <check.h>
#include <fjord/await.h>
#include <fjord/queue.h>
#include <fjord/sync.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VICTIM = 1 };
typedef enum { CANCEL, KILL, DEADLINE, TIMEOUT, TROUBLES } trouble;

/* A mutex; broken, it loses what it granted to a waiter that gives up. */
typedef struct {
    pthread_mutex_t lock;
    fj__waiters waiters;
    bool locked;
} toy_mutex;

typedef struct {
    fj_mutex *m;
    fj_condition *c;
    fj_semaphore *s;
    fj_event *e;
    fj_rwlock *l;
    fj_queue *q;
    fj_future *f;
    toy_mutex toy;
    fj_task *victim;
    trouble trouble;
    fj_deadline by; /* when the trouble comes, if it is one of time */
    unsigned inside, writing, items;
    unsigned done[4];
    bool resolved, asked;
} world;

/* ---- the victim's trouble ------------------------------------------------------------------------- */

static void make_trouble(explore *x, void *state, unsigned i)
{
    world *w = state;

    (void)x;
    (void)i;
    if (w->trouble == CANCEL)
        w->asked = fj_task_cancel(w->victim);
    else if (w->trouble == KILL)
        w->asked = fj_task_kill(w->victim);
    else
        explore_tick(10);
}

/* @p n tasks that do @p fn, of which b is the victim, and one that makes the trouble. */
static void cast(explore *x, world *w, explore_fn fn, unsigned n)
{
    static const char *const names[] = { "a", "b", "c", "d" };

    w->trouble = (trouble)explore_choose(x, TROUBLES);
    w->by = fj_in_ms(10);
    for (unsigned i = 0; i < n; i++) {
        fj_task *t = explore_task(x, names[i], fn, i);
        if (i == VICTIM)
            w->victim = t;
    }
    (void)explore_task(x, "trouble", make_trouble, 0);
}

/* Wait as the one or as the others do.  @return whether it went well */
static bool attempt(explore *x, world *w, unsigned i, fj_code (*wait)(world *w, fj_deadline by))
{
    if (i != VICTIM) {
        explore_check(x, wait(w, fj_never()) == FJ_OK);
        return true;
    }
    fj_timeout t;
    fj_timeout_begin(&t, w->trouble == TIMEOUT ? w->by : fj_never());
    fj_code code = wait(w, w->trouble == DEADLINE ? w->by : fj_never());
    bool ran_out = fj_timeout_end(&t);
    explore_check(x, ran_out == (w->trouble == TIMEOUT && code == FJ_TIMEOUT));
    if (w->trouble == CANCEL || w->trouble == KILL)
        explore_check(x, code == FJ_OK || code == FJ_CANCELLED);
    else
        explore_check(x, code == FJ_OK || code == FJ_TIMEOUT);
    return code == FJ_OK;
}

/* ---- mutex ---------------------------------------------------------------------------------------- */

static fj_code lock_mutex(world *w, fj_deadline by)
{
    return fj_mutex_lock(w->m, by);
}

static void use_mutex(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_point();
    if (!attempt(x, w, i, lock_mutex))
        return;
    explore_check(x, w->inside++ == 0);
    explore_point();
    w->inside--;
    w->done[i]++;
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

static void mutex_begin(explore *x, void *state)
{
    world *w = state;

    ck_assert_int_eq(fj_mutex_new(NULL, 0, &w->m), FJ_OK);
    cast(x, w, use_mutex, 3);
}

static void mutex_end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, !all_ended || (w->done[0] == 1 && w->done[2] == 1));
    explore_check(x, !all_ended || !fj_mutex_locked(w->m));
    fj_mutex_free(w->m);
}

static const explore_scenario mutex = { "mutex", sizeof(world), mutex_begin, mutex_end };

/* ---- condition ------------------------------------------------------------------------------------ */

static fj_code wait_for_notice(world *w, fj_deadline by)
{
    return fj_condition_wait(w->c, w->m, by);
}

static void produce(world *w)
{
    w->items++;
    fj_condition_notify(w->c, 1);
}

/* One item, for a; what the victim takes it gives back. */
static void use_condition(explore *x, void *state, unsigned i)
{
    world *w = state;
    bool well = true;

    explore_point();
    if (!attempt(x, w, i, lock_mutex))
        return;
    if (i == 2) {
        produce(w);
        explore_point();
    } else {
        while (well && w->items == 0)
            well = attempt(x, w, i, wait_for_notice);
    }
    explore_check(x, w->inside++ == 0);
    if (i != 2 && well)
        w->items--;
    if (i == VICTIM && well)
        produce(w);
    w->inside--;
    w->done[i]++;
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK); /* it has it, however the wait ended */
}

static void condition_begin(explore *x, void *state)
{
    world *w = state;

    ck_assert_int_eq(fj_mutex_new(NULL, 0, &w->m), FJ_OK);
    ck_assert_int_eq(fj_condition_new(NULL, &w->c), FJ_OK);
    cast(x, w, use_condition, 3);
}

static void condition_end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, !all_ended || (w->done[0] == 1 && w->done[2] == 1 && w->items == 0));
    fj_condition_free(w->c);
    fj_mutex_free(w->m);
}

static const explore_scenario condition = { "condition", sizeof(world), condition_begin, condition_end };

/* ---- semaphore ------------------------------------------------------------------------------------ */

static fj_code acquire(world *w, fj_deadline by)
{
    return fj_semaphore_acquire(w->s, by);
}

static void use_semaphore(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_point();
    if (!attempt(x, w, i, acquire))
        return;
    explore_check(x, w->inside++ == 0);
    explore_point();
    w->inside--;
    w->done[i]++;
    explore_check(x, fj_semaphore_release(w->s) == FJ_OK);
}

static void semaphore_begin(explore *x, void *state)
{
    world *w = state;

    ck_assert_int_eq(fj_semaphore_new(NULL, 1, 1, &w->s), FJ_OK);
    cast(x, w, use_semaphore, 3);
}

static void semaphore_end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, !all_ended || (w->done[0] == 1 && w->done[2] == 1 && fj_semaphore_value(w->s) == 1));
    fj_semaphore_free(w->s);
}

static const explore_scenario semaphore = { "semaphore", sizeof(world), semaphore_begin, semaphore_end };

/* ---- event ---------------------------------------------------------------------------------------- */

static fj_code wait_for_event(world *w, fj_deadline by)
{
    return fj_event_wait(w->e, by);
}

static void use_event(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_point();
    if (i == 2)
        fj_event_set(w->e);
    else if (attempt(x, w, i, wait_for_event))
        explore_check(x, fj_event_is_set(w->e));
    w->done[i]++;
}

static void event_begin(explore *x, void *state)
{
    world *w = state;

    ck_assert_int_eq(fj_event_new(NULL, &w->e), FJ_OK);
    cast(x, w, use_event, 3);
}

static void event_end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, !all_ended || w->done[0] == 1);
    fj_event_free(w->e);
}

static const explore_scenario event = { "event", sizeof(world), event_begin, event_end };

/* ---- readers and writers -------------------------------------------------------------------------- */

static fj_code read_lock(world *w, fj_deadline by)
{
    return fj_rwlock_read(w->l, by);
}

static fj_code write_lock(world *w, fj_deadline by)
{
    return fj_rwlock_write(w->l, by);
}

/* a and c read; the victim writes, or reads, when a writes. */
static void use_rwlock(explore *x, void *state, unsigned i)
{
    world *w = state;
    bool writes = i == w->writing;

    explore_point();
    if (!attempt(x, w, i, writes ? write_lock : read_lock))
        return;
    w->inside += writes ? 10 : 1;
    explore_point();
    explore_check(x, writes ? w->inside == 10 : w->inside < 10);
    w->inside -= writes ? 10 : 1;
    w->done[i]++;
    explore_check(x, fj_rwlock_unlock(w->l) == FJ_OK);
}

static void rwlock_begin(explore *x, void *state)
{
    world *w = state;

    w->writing = explore_choose(x, 2);
    ck_assert_int_eq(fj_rwlock_new(NULL, &w->l), FJ_OK);
    cast(x, w, use_rwlock, 3);
}

static void rwlock_end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, !all_ended || (w->done[0] == 1 && w->done[2] == 1));
    explore_check(x, !all_ended || fj_rwlock_unlock(w->l) == FJ_STATE);
    fj_rwlock_free(w->l);
}

static const explore_scenario rwlock = { "rwlock", sizeof(world), rwlock_begin, rwlock_end };

/* ---- queue: who gets ------------------------------------------------------------------------------ */

static char letters[] = "pqr";

static fj_code get(world *w, fj_deadline by)
{
    void *item = NULL;
    fj_code code = fj_queue_get(w->q, by, &item);

    if (code == FJ_OK)
        w->done[(char *)item - letters]++;
    return code;
}

/* c puts two items through a queue that holds one; a gets one, and the victim the other, or it is left. */
static void use_getters(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_point();
    if (i != 2) {
        (void)attempt(x, w, i, get);
        return;
    }
    explore_check(x, fj_queue_put(w->q, &letters[0], fj_never()) == FJ_OK);
    explore_point();
    explore_check(x, fj_queue_put(w->q, &letters[1], fj_never()) == FJ_OK);
}

static void getters_begin(explore *x, void *state)
{
    world *w = state;
    fj_queue_opts opts = FJ_QUEUE_OPTS_INIT;

    opts.bound = 1;
    ck_assert_int_eq(fj_queue_new(&opts, &w->q, NULL), FJ_OK);
    cast(x, w, use_getters, 3);
}

static void getters_end(explore *x, void *state, bool all_ended)
{
    world *w = state;
    unsigned got = w->done[0] + w->done[1];

    explore_check(x, w->done[0] < 2 && w->done[1] < 2);
    explore_check(x, !all_ended || (got >= 1 && got + fj_queue_size(w->q) == 2));
    explore_check(x, !all_ended || w->done[0] == 1); /* the first is not overtaken */
    fj_queue_free(w->q);
}

static const explore_scenario getters = { "queue, getting", sizeof(world), getters_begin, getters_end };

/* ---- queue: who puts ------------------------------------------------------------------------------ */

static fj_code put_mine(world *w, fj_deadline by)
{
    return fj_queue_put(w->q, &letters[VICTIM], by);
}

/* The queue holds one and is full.  a and the victim put an item each; c gets until it has a's. */
static void use_putters(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_point();
    if (i == VICTIM) {
        w->resolved = attempt(x, w, i, put_mine);
        return;
    }
    if (i == 0) {
        explore_check(x, fj_queue_put(w->q, &letters[0], fj_never()) == FJ_OK);
        return;
    }
    for (int n = 0; n < 3 && (n < 2 || w->done[0] == 0); n++) {
        explore_check(x, get(w, fj_never()) == FJ_OK);
        explore_point();
    }
}

static void putters_begin(explore *x, void *state)
{
    world *w = state;
    fj_queue_opts opts = FJ_QUEUE_OPTS_INIT;

    opts.bound = 1;
    ck_assert_int_eq(fj_queue_new(&opts, &w->q, NULL), FJ_OK);
    ck_assert_int_eq(fj_queue_put_nowait(w->q, &letters[2]), FJ_OK);
    cast(x, w, use_putters, 3);
}

static void putters_end(explore *x, void *state, bool all_ended)
{
    world *w = state;
    size_t left = fj_queue_size(w->q);

    explore_check(x, w->done[0] < 2 && w->done[1] < 2 && w->done[2] < 2 && left < 2);
    explore_check(x, !all_ended || (w->done[0] == 1 && w->done[2] == 1));
    explore_check(x,
                  !all_ended || w->done[VICTIM] + left == w->resolved); /* there if it said so, else its own */
    fj_queue_free(w->q);
}

static const explore_scenario putters = { "queue, putting", sizeof(world), putters_begin, putters_end };

/* ---- future --------------------------------------------------------------------------------------- */

static fj_code await(world *w, fj_deadline by)
{
    json_t *result = NULL;
    fj_code code = fj_await(w->f, by, &result, NULL);

    if (code == FJ_OK && json_integer_value(result) != 7)
        code = FJ_INTERNAL;
    json_decref(result);
    return code;
}

/* a and the victim await; c resolves, unless the victim has taken the future with it. */
static void use_future(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_point();
    if (i == 2) {
        w->resolved = fj_future_resolve(w->f, json_integer(7));
    } else if (i == 0) {
        fj_code code = await(w, fj_never());
        explore_check(x, code == FJ_OK || code == FJ_CANCELLED);
        explore_check(x, w->trouble != DEADLINE || code == FJ_OK); /* a deadline cancels nothing */
        w->done[0] = code == FJ_OK;
    } else {
        w->done[1] = attempt(x, w, i, await);
    }
}

static void future_begin(explore *x, void *state)
{
    world *w = state;

    ck_assert_int_eq(fj_future_new(NULL, NULL, &w->f), FJ_OK);
    cast(x, w, use_future, 3);
}

static void future_end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, !all_ended || w->done[0] == w->resolved);
    explore_check(x, !all_ended || w->done[1] <= w->resolved);
    fj_future_unref(w->f);
}

static const explore_scenario future = { "future", sizeof(world), future_begin, future_end };

/* ---- cancellation --------------------------------------------------------------------------------- */

/* The victim waits three times; it is told of a cancellation once, of a kill in each wait that comes. */
static void be_cancelled(explore *x, void *state, unsigned i)
{
    world *w = state;

    if (i != VICTIM) {
        explore_point();
        return;
    }
    w->items = 1;
    unsigned told = fj_yield() == FJ_CANCELLED;
    told += fj_yield() == FJ_CANCELLED;
    explore_point();
    fj_code last = fj_sleep(fj_in_ms(1));
    told += last == FJ_CANCELLED;
    w->done[0] = told;
    explore_check(x, w->trouble != KILL || told == 0 || last == FJ_CANCELLED);
}

static void cancellation_begin(explore *x, void *state)
{
    cast(x, state, be_cancelled, 2);
}

static void cancellation_end(explore *x, void *state, bool all_ended)
{
    world *w = state;
    unsigned told = w->done[0];

    explore_check(x, all_ended);
    if (w->asked && w->items == 1) /* it had begun */
        explore_check(x, w->trouble == CANCEL ? told == 1 : told >= 1);
    else
        explore_check(x, told == 0);
}

static const explore_scenario cancellation = { "cancellation", sizeof(world), cancellation_begin,
                                               cancellation_end };

/* ---- planted defects ------------------------------------------------------------------------------ */

static void toy_pass_on(toy_mutex *toy)
{
    toy->locked = toy->waiters.first != NULL;
    if (toy->locked)
        fj__grant(&toy->waiters, toy->waiters.first);
}

static fj_code toy_lock(toy_mutex *toy, fj_deadline by, bool broken)
{
    static const fj__wanted wanted = { .what = "toy", .kind = "toy" };
    fj_code code = FJ_OK;
    bool granted = false;

    (void)pthread_mutex_lock(&toy->lock);
    if (toy->locked)
        code = fj__wait_in_line(&toy->waiters, &toy->lock, &wanted, NULL, by, &granted);
    toy->locked |= code == FJ_OK;
    if (code != FJ_OK && granted && !broken)
        toy_pass_on(toy);
    (void)pthread_mutex_unlock(&toy->lock);
    return code;
}

static fj_code lock_sound(world *w, fj_deadline by)
{
    return toy_lock(&w->toy, by, false);
}

static fj_code lock_broken(world *w, fj_deadline by)
{
    return toy_lock(&w->toy, by, true);
}

static void use_toy(explore *x, world *w, unsigned i, fj_code (*lock)(world *w, fj_deadline by))
{
    if (!attempt(x, w, i, lock))
        return;
    explore_point();
    (void)pthread_mutex_lock(&w->toy.lock);
    toy_pass_on(&w->toy);
    (void)pthread_mutex_unlock(&w->toy.lock);
}

static void use_sound(explore *x, void *state, unsigned i)
{
    use_toy(x, state, i, lock_sound);
}

static void use_broken(explore *x, void *state, unsigned i)
{
    use_toy(x, state, i, lock_broken);
}

static void sound_begin(explore *x, void *state)
{
    (void)pthread_mutex_init(&((world *)state)->toy.lock, NULL);
    cast(x, state, use_sound, 3);
}

static void broken_begin(explore *x, void *state)
{
    (void)pthread_mutex_init(&((world *)state)->toy.lock, NULL);
    cast(x, state, use_broken, 3);
}

static void toy_end(explore *x, void *state, bool all_ended)
{
    (void)x;
    (void)all_ended;
    (void)pthread_mutex_destroy(&((world *)state)->toy.lock);
}

static const explore_scenario sound = { "sound", sizeof(world), sound_begin, toy_end };
static const explore_scenario broken = { "broken", sizeof(world), broken_begin, toy_end };

START_TEST(a_mutex_that_loses_a_grant_is_found_in_some_schedule)
{
    explore_result result;

    ck_assert_msg(explore_all(&sound, ULONG_MAX, &result), "%s", result.trouble);
    ck_assert(result.whole);
    ck_assert(!explore_all(&broken, ULONG_MAX, &result));
    ck_assert_ptr_nonnull(strstr(result.trouble, "waits for ever: toy"));
}
END_TEST

START_TEST(a_mutex_that_loses_a_grant_is_found_at_some_seed)
{
    explore_result result;

    ck_assert_msg(explore_seeds(&sound, 500, &result), "%s", result.trouble);
    ck_assert(!explore_seeds(&broken, 500, &result));
    ck_assert_ptr_nonnull(strstr(result.trouble, "waits for ever: toy"));
}
END_TEST

/* Run again what @p trouble says, without its last character, a bracket. */
static void see_again(const explore_result *first,
                      bool (*run)(const explore_scenario *, unsigned long, explore_result *))
{
    char how[256];
    explore_result again;
    const char *at = strstr(first->trouble, "FJ_EXPLORE=");

    ck_assert_ptr_nonnull(at);
    (void)snprintf(how, sizeof how, "%s", at + strlen("FJ_EXPLORE="));
    how[strlen(how) - 1] = '\0';
    ck_assert_int_eq(setenv("FJ_EXPLORE", how, 1), 0);
    ck_assert(!run(&broken, 1000, &again));
    ck_assert_int_eq(unsetenv("FJ_EXPLORE"), 0);
    ck_assert_uint_eq(again.runs, 1);
    ck_assert_ptr_nonnull(strstr(again.trouble, "waits for ever: toy"));
}

START_TEST(a_run_that_failed_can_be_seen_again)
{
    explore_result result;

    ck_assert(!explore_all(&broken, ULONG_MAX, &result));
    see_again(&result, explore_all);
    ck_assert(!explore_seeds(&broken, 500, &result));
    see_again(&result, explore_seeds);
}
END_TEST

static void take_two_steps(explore *x, void *state, unsigned i)
{
    (void)x;
    (void)state;
    (void)i;
    explore_point();
}

static void two_begin(explore *x, void *state)
{
    (void)state;
    (void)explore_task(x, "a", take_two_steps, 0);
    (void)explore_task(x, "b", take_two_steps, 1);
}

static void three_begin(explore *x, void *state)
{
    two_begin(x, state);
    (void)explore_task(x, "c", take_two_steps, 2);
}

static void steps_end(explore *x, void *state, bool all_ended)
{
    (void)state;
    explore_check(x, all_ended);
}

START_TEST(tasks_of_two_steps_have_as_many_schedules_as_combinatorics_says)
{
    static const explore_scenario two = { "two", 1, two_begin, steps_end };
    static const explore_scenario three = { "three", 1, three_begin, steps_end };
    explore_result result;

    ck_assert(explore_all(&two, ULONG_MAX, &result));
    ck_assert_uint_eq(result.runs, 6); /* 4! / (2! 2!) */
    ck_assert(explore_all(&three, ULONG_MAX, &result));
    ck_assert_uint_eq(result.runs, 90); /* 6! / (2! 2! 2!) */
}
END_TEST

START_TEST(exploring_stops_where_it_is_told_to)
{
    explore_result result;

    ck_assert(explore_all(&sound, 10, &result));
    ck_assert_uint_eq(result.runs, 10);
    ck_assert(!result.whole);
}
END_TEST

/* ---- all of them ---------------------------------------------------------------------------------- */

static const struct {
    const explore_scenario *scenario;
    unsigned long least; /* schedules that there must be */
} all[] = {
    { &mutex, 20000 },   { &condition, 10000 }, { &semaphore, 20000 },
    { &event, 2000 },    { &rwlock, 20000 },    { &getters, 10000 },
    { &putters, 20000 }, { &future, 2000 },     { &cancellation, 400 },
};

START_TEST(what_a_victim_was_granted_is_never_lost_in_any_schedule)
{
    explore_result result;

    ck_assert_msg(explore_all(all[_i].scenario, explore_schedule_count(), &result), "%s", result.trouble);
    printf("%s: %lu schedules%s\n", all[_i].scenario->name, result.runs, result.whole ? "" : ", not all");
    ck_assert(result.whole || explore_schedule_count() < ULONG_MAX || getenv("FJ_EXPLORE") != NULL);
    ck_assert(!result.whole || result.runs >= all[_i].least);
}
END_TEST

START_TEST(what_a_victim_was_granted_is_never_lost_at_any_seed)
{
    explore_result result;

    ck_assert_msg(explore_seeds(all[_i].scenario, explore_seed_count(), &result), "%s", result.trouble);
}
END_TEST
/* What is asked for is a schedule of a scenario below, and none of the explorer's own. */
static void forget_what_is_asked_for(void)
{
    (void)unsetenv("FJ_EXPLORE");
}

int main(void)
{
    Suite *suite = suite_create("explore");
    TCase *own = tcase_create("explorer"), *tests = tcase_create("explore");
    int n = (int)(sizeof all / sizeof all[0]);

    tcase_add_checked_fixture(own, forget_what_is_asked_for, NULL);
    tcase_add_test(own, a_mutex_that_loses_a_grant_is_found_in_some_schedule);
    tcase_add_test(own, a_mutex_that_loses_a_grant_is_found_at_some_seed);
    tcase_add_test(own, a_run_that_failed_can_be_seen_again);
    tcase_add_test(own, tasks_of_two_steps_have_as_many_schedules_as_combinatorics_says);
    tcase_add_test(own, exploring_stops_where_it_is_told_to);
    tcase_add_loop_test(tests, what_a_victim_was_granted_is_never_lost_in_any_schedule, 0, n);
    tcase_add_loop_test(tests, what_a_victim_was_granted_is_never_lost_at_any_seed, 0, n);
    suite_add_tcase(suite, own);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
