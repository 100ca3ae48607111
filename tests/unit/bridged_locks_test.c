/* SPDX-License-Identifier: Apache-2.0 */
/* One lock for both: a green task and a coroutine play ping-pong through each kind of lock, and many of both are cancelled. */
#include "tests/support/explore.h"
#include "tests/support/in_task.h"
#include "tests/support/valgrind.h"

#include <fjord/green.h>
#include <fjord/queue.h>
#include <fjord/sync.h>
#include <stdlib.h>

#define ROUNDS (ON_VALGRIND ? 300u : 10000u)

static fj_mutex *mutex;
static fj_condition *condition;
static fj_event *events[2];
static fj_semaphore *semaphores[2];
static fj_rwlock *rwlock;
static fj_queue *queues[2];
static unsigned rounds[2], inside, turn;

static void make_locks(void)
{
    fj_queue_opts one = FJ_QUEUE_OPTS_INIT;

    one.bound = 1;
    rt_code(fj_mutex_new(NULL, 0, &mutex), OK);
    rt_code(fj_condition_new(NULL, &condition), OK);
    rt_code(fj_rwlock_new(NULL, &rwlock), OK);
    for (unsigned i = 0; i < 2; i++) {
        rt_code(fj_event_new(NULL, &events[i]), OK);
        rt_code(fj_semaphore_new(NULL, 0, 0, &semaphores[i]), OK);
        rt_code(fj_queue_new(&one, &queues[i], NULL), OK);
    }
    rounds[0] = rounds[1] = inside = turn = 0;
}

static void free_locks(void)
{
    fj_mutex_free(mutex);
    fj_condition_free(condition);
    fj_rwlock_free(rwlock);
    for (unsigned i = 0; i < 2; i++) {
        fj_event_free(events[i]);
        fj_semaphore_free(semaphores[i]);
        fj_queue_free(queues[i]);
    }
}

/* ---- ping-pong: player 0 is green, 1 a coroutine --------------------------------------------------- */

/* Nobody else is in here, also not while the others run. */
static void alone(void)
{
    ck_assert_uint_eq(inside++, 0);
    rt_code(fj_yield(), OK);
    inside--;
}

static void by_mutex(unsigned i)
{
    (void)i;
    rt_code(fj_mutex_lock(mutex, fj_never()), OK);
    alone();
    rt_code(fj_mutex_unlock(mutex), OK);
}

static void by_condition(unsigned i)
{
    rt_code(fj_mutex_lock(mutex, fj_never()), OK);
    while (turn != i)
        rt_code(fj_condition_wait(condition, mutex, fj_never()), OK);
    turn = 1 - i;
    fj_condition_notify(condition, 1);
    rt_code(fj_mutex_unlock(mutex), OK);
}

static void by_event(unsigned i)
{
    if (i == 0)
        fj_event_set(events[1]);
    rt_code(fj_event_wait(events[i], fj_never()), OK);
    fj_event_clear(events[i]);
    if (i == 1)
        fj_event_set(events[0]);
}

static void by_semaphore(unsigned i)
{
    if (i == 0)
        rt_code(fj_semaphore_release(semaphores[1]), OK);
    rt_code(fj_semaphore_acquire(semaphores[i], fj_never()), OK);
    if (i == 1)
        rt_code(fj_semaphore_release(semaphores[0]), OK);
}

static void by_rwlock(unsigned i)
{
    bool writes = rounds[i] % 2 == i;

    rt_code(writes ? fj_rwlock_write(rwlock, fj_never()) : fj_rwlock_read(rwlock, fj_never()), OK);
    if (writes)
        alone();
    else
        rt_code(fj_yield(), OK);
    rt_code(fj_rwlock_unlock(rwlock), OK);
}

static void by_queue(unsigned i)
{
    void *got = NULL;

    if (i == 0)
        rt_code(fj_queue_put(queues[1], &rounds[0], fj_never()), OK);
    rt_code(fj_queue_get(queues[i], fj_never(), &got), OK);
    ck_assert_ptr_eq(got, &rounds[1 - i]);
    if (i == 1)
        rt_code(fj_queue_put(queues[0], &rounds[1], fj_never()), OK);
}

static void (*const games[])(unsigned i) = {
    by_mutex, by_condition, by_event, by_semaphore, by_rwlock, by_queue
};
enum { GAMES = sizeof games / sizeof games[0] };
static void (*game)(unsigned i);

RT_TASK(player)
{
    unsigned i = (unsigned)(uintptr_t)user;

    ck_assert(fj_green_here() == (i == 0));
    while (rounds[i] < ROUNDS) {
        game(i);
        rounds[i]++;
    }
    return FJ_OK;
}

static void plays(void)
{
    fj_task *coro = rt_spawn(player, (void *)1, "coro");
    fj_future *both[2] = { NULL, fj_task_future(coro) }, *all = NULL;

    rt_code(fj_wrap_green_fn(player, (void *)0, NULL, &both[0], NULL), OK);
    rt_code(fj_gather(both, 2, 0, &all, NULL), OK);
    rt_code(fj_await(all, fj_never(), NULL, NULL), OK);
    ck_assert_uint_eq(rounds[0], ROUNDS);
    ck_assert_uint_eq(rounds[1], ROUNDS);
    fj_future_unref(all);
    fj_future_unref(both[0]);
    fj_task_unref(coro);
}

START_TEST(a_green_task_and_a_coroutine_play_ping_pong_through_every_kind_of_lock)
{
    rt_code(fj_green_patch(FJ_PATCH_DEFAULT, NULL), OK);
    make_locks();
    game = games[_i];
    in_task(plays);
    free_locks();
}
END_TEST

/* ---- storms --------------------------------------------------------------------------------------- */

enum { ACTORS = 6, ACTS = 4, BLOWS = 8, ITEMS = 2 };

typedef struct {
    explore *x;
    fj_task *actors[ACTORS]; /* those of even numbers are green */
    unsigned inside, writing, reading, items;
} storm;

/* Whatever cuts a wait short here is a cancellation, or the wait's own deadline. */
static bool went_well(storm *w, fj_code code)
{
    explore_check(w->x, code == FJ_OK || code == FJ_CANCELLED || code == FJ_TIMEOUT);
    return code == FJ_OK;
}

static void use_mutex(storm *w)
{
    if (!went_well(w, fj_mutex_lock(mutex, fj_never())))
        return;
    explore_check(w->x, w->inside++ == 0);
    explore_point();
    w->inside--;
    explore_check(w->x, fj_mutex_unlock(mutex) == FJ_OK);
}

static void use_condition(storm *w)
{
    if (!went_well(w, fj_mutex_lock(mutex, fj_never())))
        return;
    (void)went_well(w, fj_condition_wait(condition, mutex, fj_in_ms(2)));
    explore_check(w->x, w->inside++ == 0);
    explore_point();
    w->inside--;
    fj_condition_notify(condition, 1);
    explore_check(w->x, fj_mutex_unlock(mutex) == FJ_OK);
}

static void use_semaphore(storm *w)
{
    if (!went_well(w, fj_semaphore_acquire(semaphores[0], fj_in_ms(3))))
        return;
    explore_point();
    explore_check(w->x, fj_semaphore_release(semaphores[0]) == FJ_OK);
}

static void use_rwlock(storm *w)
{
    bool writes = explore_choose(w->x, 2) == 0;

    if (!went_well(w, writes ? fj_rwlock_write(rwlock, fj_never()) : fj_rwlock_read(rwlock, fj_in_ms(3))))
        return;
    *(writes ? &w->writing : &w->reading) += 1;
    explore_check(w->x, w->writing + (w->reading > 0) == 1);
    explore_point();
    *(writes ? &w->writing : &w->reading) -= 1;
    explore_check(w->x, fj_rwlock_unlock(rwlock) == FJ_OK);
}

static void use_queue(storm *w)
{
    void *got = NULL;

    w->items += went_well(w, fj_queue_put(queues[0], w, fj_in_ms(2)));
    w->items -= went_well(w, fj_queue_get(queues[0], fj_in_ms(2), &got));
}

static void use_event(storm *w)
{
    if (explore_choose(w->x, 2) == 0)
        fj_event_set(events[0]);
    else
        (void)went_well(w, fj_event_wait(events[0], fj_in_ms(2)));
    fj_event_clear(events[0]);
}

RT_TASK(child)
{
    use_mutex(user);
    use_semaphore(user);
    return fj_sleep(fj_in_ms(1));
}

/* A child of the other kind. */
static void use_child(storm *w)
{
    fj_future *f = NULL;
    fj_coro *coro = NULL;

    if (fj_green_here()) {
        explore_check(w->x, fj_coro_new(child, w, NULL, &coro) == FJ_OK);
        (void)went_well(w, fj_green_await_coro(coro, fj_in_ms(5), NULL, NULL));
        return;
    }
    explore_check(w->x, fj_wrap_green_fn(child, w, NULL, &f, NULL) == FJ_OK);
    (void)went_well(w, fj_await(f, fj_in_ms(5), NULL, NULL));
    fj_future_unref(f);
}

static void act(explore *x, void *state, unsigned i)
{
    static void (*const acts[])(storm * w) = { use_mutex, use_condition, use_semaphore, use_rwlock,
                                               use_queue, use_event,     use_child };

    explore_check(x, fj_green_here() == (i % 2 == 0));
    for (unsigned n = 0; n < ACTS; n++) {
        acts[explore_choose(x, sizeof acts / sizeof acts[0])](state);
        explore_point();
    }
}

static void blow(explore *x, void *state, unsigned i)
{
    storm *w = state;

    (void)i;
    for (unsigned n = 0; n < BLOWS; n++) {
        fj_task *victim = w->actors[explore_choose(x, ACTORS)];
        if (explore_choose(x, 4) == 0)
            explore_tick(1);
        else
            (void)fj_task_cancel(victim);
        explore_point();
    }
}

static void storm_begin(explore *x, void *state)
{
    static const char *const names[ACTORS] = { "green a", "coro b", "green c", "coro d", "green e", "coro f" };
    storm *w = state;

    make_locks();
    w->x = x;
    for (unsigned n = 0; n < ITEMS; n++)
        explore_check(x, fj_semaphore_release(semaphores[0]) == FJ_OK);
    for (unsigned i = 0; i < ACTORS; i++)
        w->actors[i] = i % 2 == 0 ? explore_green_task(x, names[i], act, i) : explore_task(x, names[i], act, i);
    (void)explore_task(x, "storm", blow, 0);
}

static void storm_end(explore *x, void *state, bool all_ended)
{
    storm *w = state;

    explore_check(x, all_ended);
    explore_check(x, !fj_mutex_locked(mutex));
    explore_check(x, fj_semaphore_value(semaphores[0]) == ITEMS);
    explore_check(x, fj_rwlock_unlock(rwlock) == FJ_STATE);
    explore_check(x, fj_queue_size(queues[0]) == w->items);
    free_locks();
}

START_TEST(a_storm_of_cancellations_loses_no_lock_no_item_and_no_task)
{
    static const explore_scenario scenario = { "storm", sizeof(storm), storm_begin, storm_end };
    explore_result result;

    rt_code(fj_green_patch(FJ_PATCH_DEFAULT, NULL), OK);
    ck_assert_msg(explore_seeds(&scenario, explore_seed_count(), &result), "%s", result.trouble);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bridged locks");
    TCase *games_case = tcase_create("ping-pong"), *storms = tcase_create("storms");

    tcase_set_timeout(games_case, 60);
    tcase_add_loop_test(games_case, a_green_task_and_a_coroutine_play_ping_pong_through_every_kind_of_lock, 0,
                        GAMES);
    suite_add_tcase(suite, games_case);
    tcase_set_timeout(storms, 120);
    tcase_add_test(storms, a_storm_of_cancellations_loses_no_lock_no_item_and_no_task);
    suite_add_tcase(suite, storms);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
