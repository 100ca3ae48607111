/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each sentence of <fjord/sync.h>.  What needs an order of events is played by tasks, whose order is known; a log of
 * letters tells what happened: task 0's waits are a when OK, A when CANCELLED, 0 when TIMEOUT; and so on.
 */
#include "base/alloc.h"
#include "runtime/mutex.h"
#include "tests/support/explore.h"

#include <check.h>
#include <fjord/await.h>
#include <fjord/sync.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    fj_mutex *m, *r; /* r: recursive */
    fj_condition *c;
    fj_semaphore *s; /* 0 at first */
    fj_event *e;
    fj_rwlock *l;
    fj_task *task[8];
    bool ready;
    char log[64];
} world;

static void make_world(world *w)
{
    ck_assert_int_eq(fj_mutex_new(NULL, 0, &w->m), FJ_OK);
    ck_assert_int_eq(fj_mutex_new("again", FJ_MUTEX_RECURSIVE, &w->r), FJ_OK);
    ck_assert_int_eq(fj_condition_new(NULL, &w->c), FJ_OK);
    ck_assert_int_eq(fj_semaphore_new(NULL, 0, 0, &w->s), FJ_OK);
    ck_assert_int_eq(fj_event_new(NULL, &w->e), FJ_OK);
    ck_assert_int_eq(fj_rwlock_new(NULL, &w->l), FJ_OK);
}

static void free_world(world *w)
{
    ck_assert_ptr_null(fj_mutex_free(w->m));
    ck_assert_ptr_null(fj_mutex_free(w->r));
    ck_assert_ptr_null(fj_condition_free(w->c));
    ck_assert_ptr_null(fj_semaphore_free(w->s));
    ck_assert_ptr_null(fj_event_free(w->e));
    ck_assert_ptr_null(fj_rwlock_free(w->l));
}

/* ---- plays ---------------------------------------------------------------------------------------- */

static struct {
    explore_fn act[8];
    const char *log;
} play_now;

static void begin(explore *x, void *state)
{
    static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    world *w = state;

    make_world(w);
    for (unsigned i = 0; play_now.act[i] != NULL; i++)
        w->task[i] = explore_task(x, names[i], play_now.act[i], i);
}

static void end(explore *x, void *state, bool all_ended)
{
    world *w = state;

    explore_check(x, all_ended);
    ck_assert_str_eq(w->log, play_now.log);
    ck_assert(!fj_mutex_locked(w->m));
    ck_assert(!fj_mutex_locked(w->r));
    ck_assert_int_eq(fj_rwlock_unlock(w->l), FJ_STATE);
    free_world(w);
}

/* Tasks that do these, beginning in this order. */
static void play(const char *log, explore_fn a, explore_fn b, explore_fn c, explore_fn d)
{
    static const explore_scenario scenario = { "sync", sizeof(world), begin, end };
    explore_result result;

    memset(&play_now, 0, sizeof play_now);
    play_now.log = log;
    play_now.act[0] = a;
    play_now.act[1] = b;
    play_now.act[2] = c;
    play_now.act[3] = d;
    ck_assert_msg(explore_once(&scenario, &result), "%s", result.trouble);
}

static void note(world *w, unsigned i, fj_code code)
{
    size_t n = strlen(w->log);

    ck_assert_uint_lt(n + 1, sizeof w->log);
    w->log[n] = (char)(code == FJ_OK          ? 'a' + i
                       : code == FJ_CANCELLED ? 'A' + i
                       : code == FJ_TIMEOUT   ? '0' + i
                                              : '?');
}

/* ---- another thread ------------------------------------------------------------------------------- */

typedef struct {
    void (*fn)(world *w);
    world *w;
} errand;

static void *go(void *arg)
{
    errand *e = arg;

    e->fn(e->w);
    return NULL;
}

static void in_another_thread(void (*fn)(world *w), world *w)
{
    errand e = { fn, w };
    pthread_t t;

    ck_assert_int_eq(pthread_create(&t, NULL, go, &e), 0);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
}

/* ---- on a loop's thread, outside a task ----------------------------------------------------------- */

static void (*call_back)(world *w);

static void called(fj_loop *loop, void *user)
{
    (void)loop;
    call_back(user);
}

static void in_a_call_back(void (*fn)(world *w), world *w)
{
    fj_loop *loop = NULL;

    call_back = fn;
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_soon(loop, called, w, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(10000), NULL), FJ_OK);
    fj_loop_free(loop);
}

/* ---- mutex ---------------------------------------------------------------------------------------- */

START_TEST(a_mutex_is_locked_once_and_unlocked_by_its_owner)
{
    world w = { 0 };

    make_world(&w);
    ck_assert(!fj_mutex_locked(w.m));
    ck_assert_int_eq(fj_mutex_unlock(w.m), FJ_STATE);
    ck_assert_int_eq(fj_mutex_lock(w.m, fj_never()), FJ_OK);
    ck_assert(fj_mutex_locked(w.m));
    ck_assert_int_eq(fj_mutex_lock(w.m, fj_never()), FJ_STATE);
    ck_assert(!fj_mutex_trylock(w.m));
    ck_assert_int_eq(fj_mutex_unlock(w.m), FJ_OK);
    ck_assert_int_eq(fj_mutex_unlock(w.m), FJ_STATE);
    ck_assert(fj_mutex_trylock(w.m));
    ck_assert_int_eq(fj_mutex_unlock(w.m), FJ_OK);
    free_world(&w);
}
END_TEST

static void cannot_have_it(world *w)
{
    ck_assert(!fj_mutex_trylock(w->m));
    ck_assert_int_eq(fj_mutex_unlock(w->m), FJ_STATE);
    ck_assert_int_eq(fj_mutex_lock(w->m, fj_in_ms(-1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_mutex_lock(w->m, fj_in_ms(1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_mutex_lock(w->r, fj_in_ms(-1)), FJ_TIMEOUT);
}

START_TEST(a_mutex_belongs_to_its_thread)
{
    world w = { 0 };

    make_world(&w);
    ck_assert_int_eq(fj_mutex_lock(w.m, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_mutex_lock(w.r, fj_never()), FJ_OK);
    in_another_thread(cannot_have_it, &w);
    ck_assert_int_eq(fj_mutex_unlock(w.m), FJ_OK);
    ck_assert_int_eq(fj_mutex_unlock(w.r), FJ_OK);
    free_world(&w);
}
END_TEST

START_TEST(a_recursive_mutex_is_unlocked_as_often_as_it_was_locked)
{
    world w = { 0 };

    make_world(&w);
    ck_assert_int_eq(fj_mutex_lock(w.r, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_mutex_lock(w.r, fj_never()), FJ_OK);
    ck_assert(fj_mutex_trylock(w.r));
    for (int i = 0; i < 3; i++) {
        ck_assert(fj_mutex_locked(w.r));
        ck_assert_int_eq(fj_mutex_unlock(w.r), FJ_OK);
    }
    ck_assert(!fj_mutex_locked(w.r));
    ck_assert_int_eq(fj_mutex_unlock(w.r), FJ_STATE);
    free_world(&w);
}
END_TEST

static void would_wait(world *w)
{
    ck_assert_int_eq(fj_mutex_lock(w->m, fj_never()), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_semaphore_acquire(w->s, fj_never()), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_event_wait(w->e, fj_never()), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_rwlock_read(w->l, fj_never()), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_rwlock_write(w->l, fj_never()), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_mutex_lock(w->r, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_condition_wait(w->c, w->r, fj_never()), FJ_WRONG_CONTEXT);
    ck_assert_int_eq(fj_mutex_unlock(w->r), FJ_OK);
}

static void take_and_leave(world *w)
{
    ck_assert(fj_mutex_trylock(w->m));
    ck_assert_int_eq(fj_rwlock_write(w->l, fj_never()), FJ_OK);
}

START_TEST(outside_a_task_a_loops_thread_is_refused_what_would_wait)
{
    world w = { 0 };

    make_world(&w);
    in_another_thread(take_and_leave, &w); /* nobody will unlock */
    in_a_call_back(would_wait, &w);
    free_world(&w);
}
END_TEST

static void need_not_wait(world *w)
{
    ck_assert_int_eq(fj_mutex_lock(w->m, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_mutex_unlock(w->m), FJ_OK);
    ck_assert_int_eq(fj_semaphore_release(w->s), FJ_OK);
    ck_assert_int_eq(fj_semaphore_acquire(w->s, fj_never()), FJ_OK);
    fj_event_set(w->e);
    ck_assert_int_eq(fj_event_wait(w->e, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_rwlock_read(w->l, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_rwlock_unlock(w->l), FJ_OK);
}

START_TEST(outside_a_task_what_need_not_wait_is_done)
{
    world w = { 0 };

    make_world(&w);
    in_a_call_back(need_not_wait, &w);
    free_world(&w);
}
END_TEST

static void lock_for_a_while(explore *x, void *state, unsigned i)
{
    world *w = state;
    fj_code code = fj_mutex_lock(w->m, fj_never());

    note(w, i, code);
    if (code != FJ_OK)
        return;
    explore_point();
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

START_TEST(a_mutex_goes_to_those_who_wait_in_the_order_of_arrival)
{
    play("abcd", lock_for_a_while, lock_for_a_while, lock_for_a_while, lock_for_a_while);
}
END_TEST

static void lock_twice(explore *x, void *state, unsigned i)
{
    world *w = state;

    lock_for_a_while(x, w, i);
    explore_check(x, !fj_mutex_trylock(w->m)); /* it is another's already */
    lock_for_a_while(x, w, i);
}

START_TEST(who_unlocks_a_mutex_cannot_have_it_again_before_those_who_wait)
{
    play("abca", lock_twice, lock_for_a_while, lock_for_a_while, NULL);
}
END_TEST

static void cancel_b(explore *x, void *state, unsigned i)
{
    (void)x;
    (void)i;
    fj_task_cancel(((world *)state)->task[1]);
}

START_TEST(a_cancelled_waiter_leaves_the_line)
{
    play("aBc", lock_for_a_while, lock_for_a_while, lock_for_a_while, cancel_b);
}
END_TEST

static void unlock_and_cancel_b(explore *x, void *state, unsigned i)
{
    world *w = state;

    lock_for_a_while(x, w, i);
    cancel_b(x, w, i);
}

START_TEST(a_mutex_granted_to_a_waiter_that_was_cancelled_goes_to_the_next)
{
    play("aBc", unlock_and_cancel_b, lock_for_a_while, lock_for_a_while, NULL);
}
END_TEST

static void lock_impatiently(explore *x, void *state, unsigned i)
{
    world *w = state;
    fj_code code = fj_mutex_lock(w->m, fj_in_ms(10));

    note(w, i, code);
    if (code == FJ_OK)
        explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

static void lock_for_20_ms(explore *x, void *state, unsigned i)
{
    world *w = state;

    note(w, i, fj_mutex_lock(w->m, fj_never()));
    explore_check(x, fj_sleep(fj_in_ms(20)) == FJ_OK);
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

START_TEST(waiting_for_a_mutex_ends_at_the_deadline)
{
    play("a1c", lock_for_20_ms, lock_impatiently, lock_for_a_while, NULL);
}
END_TEST

static void lock_then_cancel_myself(explore *x, void *state, unsigned i)
{
    world *w = state;

    fj_task_cancel(fj_task_current());
    lock_for_a_while(x, w, i);
    explore_check(x, fj_sleep(fj_in_ms(1)) == FJ_CANCELLED);
}

START_TEST(what_need_not_wait_is_not_cancelled)
{
    play("a", lock_then_cancel_myself, NULL, NULL, NULL);
}
END_TEST

/* ---- condition ------------------------------------------------------------------------------------ */

START_TEST(a_condition_is_waited_for_by_the_owner_of_the_mutex_only)
{
    world w = { 0 };

    make_world(&w);
    ck_assert_int_eq(fj_condition_wait(w.c, w.m, fj_never()), FJ_STATE);
    ck_assert_int_eq(fj_mutex_lock(w.m, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_condition_wait(w.c, w.m, fj_in_ms(1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_mutex_unlock(w.m), FJ_OK);
    free_world(&w);
}
END_TEST

static void lock_and_wait(explore *x, world *w, unsigned i, fj_deadline by)
{
    explore_check(x, fj_mutex_lock(w->m, fj_never()) == FJ_OK);
    note(w, i, fj_condition_wait(w->c, w->m, by));
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK); /* whatever was answered it is locked */
}

static void wait_for_condition(explore *x, void *state, unsigned i)
{
    lock_and_wait(x, state, i, fj_never());
}

static void wait_10_ms_for_condition(explore *x, void *state, unsigned i)
{
    lock_and_wait(x, state, i, fj_in_ms(10));
}

static void notify(explore *x, world *w, unsigned n, unsigned cancelled)
{
    explore_check(x, fj_mutex_lock(w->m, fj_never()) == FJ_OK);
    if (n > 0)
        fj_condition_notify(w->c, n);
    else
        fj_condition_notify_all(w->c);
    if (cancelled > 0)
        fj_task_cancel(w->task[cancelled]);
    explore_point(); /* who was notified waits for the mutex meanwhile */
    explore_check(x, w->log[0] == '\0');
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

static void notify_2(explore *x, void *state, unsigned i)
{
    world *w = state;

    notify(x, w, 2, 0);
    explore_check(x, fj_sleep(fj_in_ms(1)) == FJ_OK);
    note(w, i, FJ_OK);
    explore_check(x, fj_mutex_lock(w->m, fj_never()) == FJ_OK);
    fj_condition_notify(w->c, 1);
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

START_TEST(notify_wakes_so_many_in_the_order_of_arrival)
{
    play("abdc", wait_for_condition, wait_for_condition, wait_for_condition, notify_2);
}
END_TEST

static void notify_everyone(explore *x, void *state, unsigned i)
{
    (void)i;
    notify(x, state, 0, 0);
}

START_TEST(notify_all_wakes_everyone)
{
    play("abc", wait_for_condition, wait_for_condition, wait_for_condition, notify_everyone);
}
END_TEST

static void notify_1_and_cancel_b(explore *x, void *state, unsigned i)
{
    (void)i;
    notify(x, state, 1, 1);
}

static void nothing(explore *x, void *state, unsigned i)
{
    (void)x;
    (void)state;
    (void)i;
}

START_TEST(a_notification_of_a_waiter_that_was_cancelled_goes_to_the_next)
{
    play("Bc", nothing, wait_for_condition, wait_for_condition, notify_1_and_cancel_b);
}
END_TEST

static void notify_all_and_cancel_b(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_check(x, fj_mutex_lock(w->m, fj_never()) == FJ_OK);
    fj_condition_notify_all(w->c);
    cancel_b(x, w, i);
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

START_TEST(a_notification_of_all_is_not_for_those_who_come_later)
{
    play("B3", nothing, wait_for_condition, notify_all_and_cancel_b, wait_10_ms_for_condition);
}
END_TEST

static void sleep_and_notify(explore *x, void *state, unsigned i)
{
    explore_check(x, fj_sleep(fj_in_ms(20)) == FJ_OK);
    explore_check(x, ((world *)state)->log[0] == '0');
    memset(((world *)state)->log, 0, 1);
    notify_everyone(x, state, i);
}

START_TEST(waiting_for_a_condition_ends_at_the_deadline)
{
    play("b", wait_10_ms_for_condition, wait_for_condition, sleep_and_notify, NULL);
}
END_TEST

static void hold_and_cancel_b(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_check(x, fj_mutex_lock(w->m, fj_never()) == FJ_OK);
    for (int n = 0; n < 3; n++) {
        fj_task_cancel(w->task[1]);
        explore_point();
        explore_check(x, w->log[0] == '\0'); /* it has not come back without the mutex */
    }
    note(w, i, FJ_OK);
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
}

static void wait_and_be_cancelled_again(explore *x, void *state, unsigned i)
{
    world *w = state;

    lock_and_wait(x, w, i, fj_never());
    note(w, i, fj_sleep(fj_in_ms(1))); /* what came while the mutex was locked again */
}

START_TEST(locking_again_after_a_wait_is_not_cut_short)
{
    play("cBB", nothing, wait_and_be_cancelled_again, hold_and_cancel_b, NULL);
}
END_TEST

static void no_trouble(fj_loop *loop, const char *what, const fj_error *error, void *user)
{
    (void)loop;
    (void)error;
    ck_assert_ptr_nonnull(strstr(what, "atomic section"));
    ++*(int *)user;
}

static void wait_in_an_atomic_section(explore *x, void *state, unsigned i)
{
    world *w = state;
    int reports = 0;

    (void)i;
    fj_loop_set_trouble_handler(fj_loop_running(), no_trouble, &reports);
    explore_check(x, fj_mutex_lock(w->m, fj_never()) == FJ_OK);
    explore_point(); /* b waits for it now */
    fj_atomic_begin();
    explore_check(x, fj_condition_wait(w->c, w->m, fj_never()) == FJ_WRONG_CONTEXT);
    explore_check(x, fj_semaphore_acquire(w->s, fj_never()) == FJ_WRONG_CONTEXT);
    fj_atomic_end();
    explore_check(x, reports == 2);
    explore_check(x, fj_mutex_unlock(w->m) == FJ_OK);
    fj_loop_set_trouble_handler(fj_loop_running(), NULL, NULL);
}

START_TEST(in_an_atomic_section_a_wait_is_refused_and_the_mutex_stays_locked)
{
    play("b", wait_in_an_atomic_section, lock_for_a_while, NULL, NULL);
}
END_TEST

static bool is_ready(void *user)
{
    return ((world *)user)->ready;
}

static void wait_until_ready(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_check(x, fj_mutex_lock(w->r, fj_never()) == FJ_OK);
    explore_check(x, fj_mutex_lock(w->r, fj_never()) == FJ_OK);
    note(w, i, fj_condition_wait_for(w->c, w->r, is_ready, w, fj_never()));
    explore_check(x, w->ready);
    explore_check(x, fj_mutex_unlock(w->r) == FJ_OK); /* as often as it was locked */
    explore_check(x, fj_mutex_unlock(w->r) == FJ_OK);
}

static void make_ready(explore *x, void *state, unsigned i)
{
    world *w = state;

    for (int n = 0; n < 2; n++) {
        explore_check(x, fj_mutex_lock(w->r, fj_never()) == FJ_OK);
        w->ready = n == 1;
        note(w, i, FJ_OK);
        fj_condition_notify_all(w->c);
        explore_check(x, fj_mutex_unlock(w->r) == FJ_OK);
        explore_check(x, fj_sleep(fj_in_ms(1)) == FJ_OK);
    }
}

START_TEST(wait_for_goes_on_until_the_condition_holds)
{
    play("bba", wait_until_ready, make_ready, NULL, NULL);
}
END_TEST

/* ---- semaphore ------------------------------------------------------------------------------------ */

START_TEST(a_semaphore_counts_down_and_up)
{
    fj_semaphore *s = NULL;

    ck_assert_int_eq(fj_semaphore_new("two", 2, 0, &s), FJ_OK);
    ck_assert_int_eq(fj_semaphore_acquire(s, fj_never()), FJ_OK);
    ck_assert(fj_semaphore_try(s));
    ck_assert(!fj_semaphore_try(s));
    ck_assert_int_eq(fj_semaphore_acquire(s, fj_in_ms(1)), FJ_TIMEOUT);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_eq(fj_semaphore_value(s), i);
        ck_assert_int_eq(fj_semaphore_release(s), FJ_OK);
    }
    fj_semaphore_free(s);
}
END_TEST

START_TEST(a_bounded_semaphore_refuses_a_release_beyond_its_bound)
{
    fj_semaphore *s = NULL;

    ck_assert_int_eq(fj_semaphore_new(NULL, 3, 2, &s), FJ_BAD_VALUE);
    ck_assert_int_eq(fj_semaphore_new(NULL, 1, 2, &s), FJ_OK);
    ck_assert_int_eq(fj_semaphore_release(s), FJ_OK);
    ck_assert_int_eq(fj_semaphore_release(s), FJ_STATE);
    ck_assert_uint_eq(fj_semaphore_value(s), 2);
    fj_semaphore_free(s);
}
END_TEST

static void acquire(explore *x, void *state, unsigned i)
{
    (void)x;
    note(state, i, fj_semaphore_acquire(((world *)state)->s, fj_never()));
}

static void release_3(explore *x, void *state, unsigned i)
{
    world *w = state;

    (void)i;
    for (int n = 0; n < 3; n++) {
        explore_check(x, fj_semaphore_release(w->s) == FJ_OK);
        explore_check(x, !fj_semaphore_try(w->s)); /* it is the waiter's already */
    }
}

START_TEST(a_semaphore_goes_to_those_who_wait_in_the_order_of_arrival)
{
    play("abc", acquire, acquire, acquire, release_3);
}
END_TEST

static void release_1_and_cancel_b(explore *x, void *state, unsigned i)
{
    explore_check(x, fj_semaphore_release(((world *)state)->s) == FJ_OK);
    cancel_b(x, state, i);
}

START_TEST(a_semaphore_granted_to_a_waiter_that_was_cancelled_goes_to_the_next)
{
    play("Bc", nothing, acquire, acquire, release_1_and_cancel_b);
}
END_TEST

/* ---- event ---------------------------------------------------------------------------------------- */

START_TEST(an_event_is_set_until_it_is_cleared)
{
    world w = { 0 };

    make_world(&w);
    ck_assert(!fj_event_is_set(w.e));
    ck_assert_int_eq(fj_event_wait(w.e, fj_in_ms(1)), FJ_TIMEOUT);
    fj_event_set(w.e);
    ck_assert(fj_event_is_set(w.e));
    ck_assert_int_eq(fj_event_wait(w.e, fj_never()), FJ_OK);
    fj_event_clear(w.e);
    ck_assert(!fj_event_is_set(w.e));
    ck_assert_int_eq(fj_event_wait(w.e, fj_in_ms(-1)), FJ_TIMEOUT);
    free_world(&w);
}
END_TEST

static void await_event(explore *x, void *state, unsigned i)
{
    (void)x;
    note(state, i, fj_event_wait(((world *)state)->e, fj_never()));
}

static void set_and_clear(explore *x, void *state, unsigned i)
{
    world *w = state;

    fj_event_set(w->e);
    fj_event_clear(w->e);
    cancel_b(x, w, i);
}

START_TEST(setting_an_event_wakes_all_who_wait_even_if_it_is_cleared_at_once)
{
    play("aBc", await_event, await_event, await_event, set_and_clear);
}
END_TEST

/* ---- readers and writers -------------------------------------------------------------------------- */

START_TEST(many_may_read_and_one_may_write)
{
    world w = { 0 };

    make_world(&w);
    ck_assert_int_eq(fj_rwlock_unlock(w.l), FJ_STATE);
    ck_assert_int_eq(fj_rwlock_read(w.l, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_rwlock_read(w.l, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_rwlock_write(w.l, fj_in_ms(-1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_rwlock_unlock(w.l), FJ_OK);
    ck_assert_int_eq(fj_rwlock_write(w.l, fj_in_ms(-1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_rwlock_unlock(w.l), FJ_OK);
    ck_assert_int_eq(fj_rwlock_write(w.l, fj_in_ms(-1)), FJ_OK);
    ck_assert_int_eq(fj_rwlock_read(w.l, fj_in_ms(-1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_rwlock_write(w.l, fj_in_ms(-1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_rwlock_unlock(w.l), FJ_OK);
    ck_assert_int_eq(fj_rwlock_unlock(w.l), FJ_STATE);
    free_world(&w);
}
END_TEST

/* Logs the letter when it has the lock, and once more just before it gives it up. */
static void hold(explore *x, world *w, unsigned i, fj_code code)
{
    note(w, i, code);
    if (code != FJ_OK)
        return;
    for (int n = 0; n < 4; n++)
        explore_point();
    note(w, i, code);
    explore_check(x, fj_rwlock_unlock(w->l) == FJ_OK);
}

static void reader(explore *x, void *state, unsigned i)
{
    hold(x, state, i, fj_rwlock_read(((world *)state)->l, fj_never()));
}

static void writer(explore *x, void *state, unsigned i)
{
    hold(x, state, i, fj_rwlock_write(((world *)state)->l, fj_never()));
}

START_TEST(a_reader_that_comes_after_a_waiting_writer_waits_behind_it)
{
    play("aabbcc", reader, writer, reader, NULL);
}
END_TEST

START_TEST(readers_that_wait_together_go_in_together)
{
    play("aabcbcdd", writer, reader, reader, writer);
}
END_TEST

START_TEST(readers_behind_a_writer_that_was_cancelled_go_in)
{
    play("aBcac", reader, writer, reader, cancel_b);
}
END_TEST

static void unlock_write_and_cancel_b(explore *x, void *state, unsigned i)
{
    writer(x, state, i);
    cancel_b(x, state, i);
}

START_TEST(a_lock_granted_to_a_writer_that_was_cancelled_goes_to_the_next)
{
    play("aaBcc", unlock_write_and_cancel_b, writer, reader, NULL);
}
END_TEST

START_TEST(a_lock_granted_to_a_reader_that_was_cancelled_goes_to_the_next)
{
    play("aaBcc", unlock_write_and_cancel_b, reader, writer, NULL);
}
END_TEST

/* ---- reports and memory --------------------------------------------------------------------------- */

static void tell_what_b_waits_for(explore *x, void *state, unsigned i)
{
    world *w = state;

    (void)i;
    explore_check(x, strcmp(fj_task_waits_for(w->task[1]), "mutex") == 0);
    explore_check(x, strcmp(fj_task_waits_for(w->task[2]), "again") == 0);
}

static void lock_both(explore *x, void *state, unsigned i)
{
    world *w = state;

    explore_check(x, fj_mutex_lock(w->r, fj_never()) == FJ_OK);
    lock_for_a_while(x, w, i);
    explore_check(x, fj_mutex_unlock(w->r) == FJ_OK);
}

static void lock_again(explore *x, void *state, unsigned i)
{
    note(state, i, fj_mutex_lock(((world *)state)->r, fj_never()));
    explore_check(x, fj_mutex_unlock(((world *)state)->r) == FJ_OK);
}

START_TEST(a_report_shows_the_name_or_else_the_kind_of_what_is_waited_for)
{
    play("abc", lock_both, lock_for_a_while, lock_again, tell_what_b_waits_for);
}
END_TEST

START_TEST(each_object_is_refused_without_memory)
{
    world w = { 0 };

    fj__alloc_fail(1, true);
    ck_assert_int_eq(fj_mutex_new(NULL, 0, &w.m), FJ_NOMEM);
    ck_assert_int_eq(fj_condition_new(NULL, &w.c), FJ_NOMEM);
    ck_assert_int_eq(fj_semaphore_new(NULL, 0, 0, &w.s), FJ_NOMEM);
    ck_assert_int_eq(fj_event_new(NULL, &w.e), FJ_NOMEM);
    ck_assert_int_eq(fj_rwlock_new(NULL, &w.l), FJ_NOMEM);
    fj__alloc_fail(0, false);
    free_world(&w); /* NULL is fine */
}
END_TEST

START_TEST(nothing_but_making_an_object_takes_memory)
{
    world w = { 0 };

    make_world(&w);
    fj__alloc_fail(1, true);
    need_not_wait(&w);
    ck_assert_int_eq(fj_semaphore_acquire(w.s, fj_in_ms(1)), FJ_TIMEOUT);
    ck_assert_int_eq(fj_mutex_lock(w.m, fj_never()), FJ_OK);
    ck_assert_int_eq(fj_condition_wait(w.c, w.m, fj_in_ms(1)), FJ_TIMEOUT);
    unsigned long n = fj__alloc_fail(0, false);
    ck_assert_uint_eq(n, 0);
    free_world(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync");
    TCase *tests = tcase_create("sync");

    tcase_add_test(tests, a_mutex_is_locked_once_and_unlocked_by_its_owner);
    tcase_add_test(tests, a_mutex_belongs_to_its_thread);
    tcase_add_test(tests, a_recursive_mutex_is_unlocked_as_often_as_it_was_locked);
    tcase_add_test(tests, outside_a_task_a_loops_thread_is_refused_what_would_wait);
    tcase_add_test(tests, outside_a_task_what_need_not_wait_is_done);
    tcase_add_test(tests, a_mutex_goes_to_those_who_wait_in_the_order_of_arrival);
    tcase_add_test(tests, who_unlocks_a_mutex_cannot_have_it_again_before_those_who_wait);
    tcase_add_test(tests, a_cancelled_waiter_leaves_the_line);
    tcase_add_test(tests, a_mutex_granted_to_a_waiter_that_was_cancelled_goes_to_the_next);
    tcase_add_test(tests, waiting_for_a_mutex_ends_at_the_deadline);
    tcase_add_test(tests, what_need_not_wait_is_not_cancelled);
    tcase_add_test(tests, a_condition_is_waited_for_by_the_owner_of_the_mutex_only);
    tcase_add_test(tests, notify_wakes_so_many_in_the_order_of_arrival);
    tcase_add_test(tests, notify_all_wakes_everyone);
    tcase_add_test(tests, a_notification_of_a_waiter_that_was_cancelled_goes_to_the_next);
    tcase_add_test(tests, a_notification_of_all_is_not_for_those_who_come_later);
    tcase_add_test(tests, waiting_for_a_condition_ends_at_the_deadline);
    tcase_add_test(tests, locking_again_after_a_wait_is_not_cut_short);
    tcase_add_test(tests, in_an_atomic_section_a_wait_is_refused_and_the_mutex_stays_locked);
    tcase_add_test(tests, wait_for_goes_on_until_the_condition_holds);
    tcase_add_test(tests, a_semaphore_counts_down_and_up);
    tcase_add_test(tests, a_bounded_semaphore_refuses_a_release_beyond_its_bound);
    tcase_add_test(tests, a_semaphore_goes_to_those_who_wait_in_the_order_of_arrival);
    tcase_add_test(tests, a_semaphore_granted_to_a_waiter_that_was_cancelled_goes_to_the_next);
    tcase_add_test(tests, an_event_is_set_until_it_is_cleared);
    tcase_add_test(tests, setting_an_event_wakes_all_who_wait_even_if_it_is_cleared_at_once);
    tcase_add_test(tests, many_may_read_and_one_may_write);
    tcase_add_test(tests, a_reader_that_comes_after_a_waiting_writer_waits_behind_it);
    tcase_add_test(tests, readers_that_wait_together_go_in_together);
    tcase_add_test(tests, readers_behind_a_writer_that_was_cancelled_go_in);
    tcase_add_test(tests, a_lock_granted_to_a_writer_that_was_cancelled_goes_to_the_next);
    tcase_add_test(tests, a_lock_granted_to_a_reader_that_was_cancelled_goes_to_the_next);
    tcase_add_test(tests, a_report_shows_the_name_or_else_the_kind_of_what_is_waited_for);
    tcase_add_test(tests, each_object_is_refused_without_memory);
    tcase_add_test(tests, nothing_but_making_an_object_takes_memory);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
