/* SPDX-License-Identifier: Apache-2.0 */
/* pthread_mutex_* and mtx_* in green tasks. */
#include "tests/hooks/scene.h"

#include "runtime/owners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mtx_t c11;
static atomic_int step;

static void make(pthread_mutex_t *m, int type, int shared, int robust, int protocol)
{
    pthread_mutexattr_t attr;

    ck_assert_int_eq(pthread_mutexattr_init(&attr), 0);
    ck_assert_int_eq(pthread_mutexattr_settype(&attr, type), 0);
    ck_assert_int_eq(pthread_mutexattr_setpshared(&attr, shared), 0);
    ck_assert_int_eq(pthread_mutexattr_setrobust(&attr, robust), 0);
    ck_assert_int_eq(pthread_mutexattr_setprotocol(&attr, protocol), 0);
    ck_assert_int_eq(pthread_mutex_init(m, &attr), 0);
    ck_assert_int_eq(pthread_mutexattr_destroy(&attr), 0);
}

static void make_type(int type)
{
    make(&lock, type, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
}

/* In one task. */
static void alone(void (*fn)(void *arg))
{
    scene_add(HERE, fn, NULL);
    scene_run();
}

static void takes_it_all_ways(void *arg)
{
    struct timespec past = { 1, 0 }, nonsense = { 1, -1 };

    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert(fj__owns(fj_task_current(), &lock));
    ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_ptr_null(fj__owner_of(&lock));
    ck_assert_int_eq(pthread_mutex_trylock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_timedlock(&lock, &past), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_clocklock(&lock, CLOCK_MONOTONIC, &nonsense), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(a_free_mutex_is_taken_at_once)
{
    alone(takes_it_all_ways);
}
END_TEST

static int take(void)
{
    return pthread_mutex_lock(&lock);
}

static int take_timed(void)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    return pthread_mutex_timedlock(&lock, &t);
}

static int take_by_clock(void)
{
    struct timespec t = scene_in_ms(CLOCK_MONOTONIC, 60000);

    if (!scene_green())
        return take(); /* gcc 12's ThreadSanitizer does not see the other */
    return pthread_mutex_clocklock(&lock, CLOCK_MONOTONIC, &t);
}

static int give(void)
{
    return pthread_mutex_unlock(&lock);
}

static const scene_thing ways[] = { { take, give, &lock },
                                    { take_timed, give, &lock },
                                    { take_by_clock, give, &lock } };

static void contend_all(void)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        for (int holder = PLAIN; holder <= THERE; holder++)
            scene_contend(&ways[i], holder, HERE);
        scene_contend(&ways[i], HERE, PLAIN);
    }
}

START_TEST(a_task_waits_for_tasks_and_threads_and_they_for_it)
{
    static const int types[] = { PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK,
                                 PTHREAD_MUTEX_ADAPTIVE_NP };

    make_type(types[_i]);
    contend_all();
    ck_assert_uint_eq(scene_troubles, 0);
}
END_TEST

START_TEST(one_that_inherits_priorities_parks_too)
{
    make(&lock, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
    contend_all();
    ck_assert_uint_eq(scene_warnings, 0);
}
END_TEST

static void holds_until_two(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_store(&step, 1);
    scene_until(&step, 2);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

static void runs_out_of_time(void *arg)
{
    struct timespec past = { 1, 0 }, nonsense = { 1, 1000000000 }, t;

    (void)arg;
    scene_until(&step, 1);
    ck_assert_int_eq(pthread_mutex_timedlock(&lock, &past), ETIMEDOUT);
    ck_assert_int_eq(pthread_mutex_timedlock(&lock, &nonsense), EINVAL);
    ck_assert_int_eq(pthread_mutex_clocklock(&lock, CLOCK_THREAD_CPUTIME_ID, &past), EINVAL);
    t = scene_in_ms(CLOCK_REALTIME, 5);
    ck_assert_int_eq(pthread_mutex_timedlock(&lock, &t), ETIMEDOUT);
    t = scene_in_ms(CLOCK_MONOTONIC, 5);
    ck_assert_int_eq(pthread_mutex_clocklock(&lock, CLOCK_MONOTONIC, &t), ETIMEDOUT);
    ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
    atomic_store(&step, 2);
}

START_TEST(a_wait_with_a_time_ends_then)
{
    scene_add(_i, holds_until_two, NULL);
    scene_add(HERE, runs_out_of_time, NULL);
    scene_run();
    ck_assert(!fj__parking_any(&lock));
}
END_TEST

static void nests(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_trylock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    atomic_store(&step, 1);
    scene_until_parked(&lock);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    for (int i = 0; i < 10; i++)
        scene_pause();
    ck_assert_int_eq(atomic_load(&step), 1);
    atomic_store(&step, 2);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), EPERM);
}

static void waits_outside(void *arg)
{
    (void)arg;
    scene_until(&step, 1);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), EPERM);
    ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(atomic_exchange(&step, 3), 2);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(a_recursive_one_belongs_to_the_task)
{
    make_type(PTHREAD_MUTEX_RECURSIVE);
    scene_add(HERE, nests, NULL);
    scene_add(_i, waits_outside, NULL);
    scene_run();
    ck_assert_int_eq(atomic_load(&step), 3);
}
END_TEST

static void is_told_of_its_errors(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_unlock(&lock), EPERM);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_lock(&lock), EDEADLK);
    ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
    atomic_store(&step, 1);
    scene_until_parked(&lock);
    atomic_store(&step, 2);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(one_that_checks_errors_checks_them_by_task)
{
    make_type(PTHREAD_MUTEX_ERRORCHECK);
    scene_add(HERE, is_told_of_its_errors, NULL);
    scene_add(_i, waits_outside, NULL);
    scene_run();
    ck_assert_int_eq(atomic_load(&step), 3);
}
END_TEST

static void uses_twice(void *arg)
{
    pthread_mutex_t *m = arg;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_mutex_lock(m), 0);
        ck_assert_int_eq(pthread_mutex_unlock(m), 0);
    }
    ck_assert_ptr_null(fj__owner_of(m));
}

START_TEST(a_robust_or_shared_one_is_left_alone_and_that_is_told_once)
{
    pthread_mutex_t robust, shared;

    make(&robust, PTHREAD_MUTEX_NORMAL, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    make(&shared, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    uses_twice(&robust);
    ck_assert_uint_eq(scene_warnings, 0);
    scene_add(HERE, uses_twice, &robust);
    scene_add(HERE, uses_twice, &shared);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 1);
}
END_TEST

static void is_cancelled_while_it_waits(void *arg)
{
    fj_timeout t;

    *(fj_task **)arg = fj_task_current();
    atomic_store(&step, 1);
    fj_timeout_begin(&t, fj_in_ms(1));
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(atomic_load(&step), 2);
    (void)fj_timeout_end(&t);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    errno = 0;
    ck_assert_int_eq(usleep(1000), -1);
    ck_assert_int_eq(errno, ECANCELED);
}

static void cancels_it(void *arg)
{
    struct timespec t = { .tv_nsec = 2000000 };

    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    scene_until(&step, 1);
    scene_until_parked(&lock);
    ck_assert(fj_task_cancel(*(fj_task **)arg));
    ck_assert_int_eq(nanosleep(&t, NULL), 0); /* its time-out passes, too */
    atomic_store(&step, 2);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(neither_cancellation_nor_a_timeout_around_it_ends_the_wait)
{
    fj_task *task = NULL;

    scene_add(HERE, cancels_it, &task);
    scene_add(HERE, is_cancelled_while_it_waits, &task);
    scene_run();
}
END_TEST

/* Check's assertions lock a mutex of their own, which another thread may hold: none in the section. */
static void locks_atomically(void *arg)
{
    int here = *(int *)arg == HERE;

    scene_until(&step, 1);
    fj_atomic_begin();
    int error = pthread_mutex_lock(&lock);
    fj_atomic_end();
    ck_assert_int_eq(error, here ? EDEADLK : 0);
    atomic_store(&step, 2);
    if (!here)
        ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

static void holds_a_while(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_store(&step, 1);
    while (!scene_troubles)
        scene_pause();
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(where_nothing_may_suspend_it_blocks_or_says_that_it_would_for_ever)
{
    int holder = _i;

    scene_add(holder, holds_a_while, NULL);
    scene_add(HERE, locks_atomically, &holder);
    scene_run();
    ck_assert_uint_eq(scene_troubles, 1);
}
END_TEST

static void leaves_it_locked(void *arg)
{
    ck_assert_int_eq(pthread_mutex_lock(arg), 0);
    atomic_store(&step, 1);
    scene_until(&step, 2);
}

static void makes_another_there(void *arg)
{
    scene_until(&step, 1);
    memset(arg, 0, sizeof(pthread_mutex_t));
    make(arg, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    ck_assert_int_eq(pthread_mutex_lock(arg), 0);
    ck_assert_int_eq(pthread_mutex_lock(arg), 0);
    ck_assert_int_eq(pthread_mutex_unlock(arg), 0);
    ck_assert_int_eq(pthread_mutex_unlock(arg), 0);
    atomic_store(&step, 2);
}

START_TEST(memory_that_is_used_again_has_no_owner_of_old)
{
    make_type(_i);
    scene_add(HERE, leaves_it_locked, &lock);
    scene_add(HERE, makes_another_there, &lock);
    scene_run();
    ck_assert_ptr_null(fj__owner_of(&lock));
    ck_assert_uint_eq(scene_troubles, 0);
}
END_TEST

static void ends_with_it(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
}

START_TEST(a_task_that_ends_with_it_is_reported)
{
    alone(ends_with_it);
    ck_assert_uint_eq(scene_troubles, 1);
    ck_assert_ptr_null(fj__owner_of(&lock));
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}
END_TEST

/* The switch is off here: everything is libc's, and the thread the owner. */
START_TEST(on_a_plain_thread_it_is_libcs)
{
    make_type(PTHREAD_MUTEX_ERRORCHECK);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), EPERM);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_lock(&lock), EDEADLK);
    ck_assert_ptr_null(fj__owner_of(&lock));
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    fj__green_hooks()->patch(0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), EPERM);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}
END_TEST

static void is_not_owner(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), EPERM);
}

START_TEST(what_the_thread_holds_its_tasks_do_not)
{
    make_type(_i);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    alone(is_not_owner);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}
END_TEST

static pthread_mutex_t other = PTHREAD_MUTEX_INITIALIZER;

/* The one takes one and the other, the other the other and the one. */
static void takes_both(void *arg)
{
    pthread_mutex_t *first = arg, *second = first == &lock ? &other : &lock;
    struct timespec t;

    ck_assert_int_eq(pthread_mutex_lock(first), 0);
    atomic_fetch_add(&step, 1);
    scene_until(&step, 2);
    while (scene_circles == 0) {
        t = scene_in_ms(CLOCK_REALTIME, 50);
        if (pthread_mutex_timedlock(second, &t) == 0) /* the other has seen it */
            ck_assert_int_eq(pthread_mutex_unlock(second), 0);
    }
    ck_assert_int_eq(pthread_mutex_unlock(first), 0);
}

START_TEST(a_circle_is_reported)
{
    scene_add(HERE, takes_both, &lock);
    scene_add(_i, takes_both, &other);
    scene_run();
}
END_TEST

/* ---- many ------------------------------------------------------------------------------------------ */

static unsigned count; /* under the lock */

static void counts(void *arg)
{
    enum { TIMES = 200 };

    (void)arg;
    for (int i = 0; i < TIMES; i++) {
        ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
        unsigned seen = count;
        if (i % 5 == 0)
            scene_pause(); /* those of the same thread park */
        count = seen + 1;
        ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
        if (i % 7 == 0)
            scene_pause();
    }
}

START_TEST(no_wake_up_is_lost_in_a_storm)
{
    make_type(_i);
    for (int i = 0; i < 32; i++)
        scene_add(i % 4, counts, NULL);
    for (int i = 0; i < 4; i++)
        scene_add(PLAIN, counts, NULL);
    scene_run();
    ck_assert_uint_eq(count, 36 * 200);
    ck_assert(!fj__parking_any(&lock));
}
END_TEST

static void comes_again_and_again(void *arg)
{
    (void)arg;
    while (atomic_load(&step) == 0) {
        ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
        scene_pause();
        ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    }
}

static void comes_once(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_store(&step, 1);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(who_comes_again_and_again_does_not_keep_others_out)
{
    scene_add(HERE, comes_again_and_again, NULL);
    scene_add(_i, comes_once, NULL);
    scene_run();
}
END_TEST

/* ---- C11 ------------------------------------------------------------------------------------------- */

static int take_c11(void)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    return mtx_timedlock(&c11, &t) == thrd_success ? 0 : -1;
}

static int give_c11(void)
{
    return mtx_unlock(&c11) == thrd_success ? 0 : -1;
}

static void uses_c11(void *arg)
{
    (void)arg;
    ck_assert_int_eq(mtx_lock(&c11), thrd_success);
    ck_assert_int_eq(mtx_trylock(&c11), thrd_busy);
    ck_assert_int_eq(mtx_unlock(&c11), thrd_success);
}

START_TEST(those_of_C11_are_the_same)
{
    static const scene_thing thing = { take_c11, give_c11, &c11 };

    ck_assert_int_eq(mtx_init(&c11, mtx_timed), thrd_success);
    alone(uses_c11);
    for (int holder = PLAIN; holder <= THERE; holder++)
        scene_contend(&thing, holder, HERE);
    fj__green_hooks()->patch(0);
    uses_c11(NULL);
    mtx_destroy(&c11);
}
END_TEST

Suite *mutex_suite(void)
{
    Suite *s = suite_create("hooks: mutexes");
    TCase *c = tcase_create("mutex");

    tcase_add_checked_fixture(c, scene_begin, scene_end);
    tcase_set_timeout(c, 30);
    tcase_add_test(c, a_free_mutex_is_taken_at_once);
    tcase_add_loop_test(c, a_task_waits_for_tasks_and_threads_and_they_for_it, 0, 4);
    tcase_add_test(c, one_that_inherits_priorities_parks_too);
    tcase_add_loop_test(c, a_wait_with_a_time_ends_then, PLAIN, THERE + 1);
    tcase_add_loop_test(c, a_recursive_one_belongs_to_the_task, HERE, THERE + 1);
    tcase_add_loop_test(c, one_that_checks_errors_checks_them_by_task, HERE, THERE + 1);
    tcase_add_test(c, a_robust_or_shared_one_is_left_alone_and_that_is_told_once);
    tcase_add_test(c, neither_cancellation_nor_a_timeout_around_it_ends_the_wait);
    tcase_add_loop_test(c, where_nothing_may_suspend_it_blocks_or_says_that_it_would_for_ever, PLAIN, THERE);
    tcase_add_loop_test(c, what_the_thread_holds_its_tasks_do_not, PTHREAD_MUTEX_RECURSIVE,
                        PTHREAD_MUTEX_ERRORCHECK + 1);
    tcase_add_loop_test(c, a_circle_is_reported, HERE, THERE + 1);
    tcase_add_loop_test(c, no_wake_up_is_lost_in_a_storm, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK + 1);
    tcase_add_loop_test(c, who_comes_again_and_again_does_not_keep_others_out, HERE, THERE + 1);
    tcase_add_test(c, those_of_C11_are_the_same);
    /* What these do is wrong, and ThreadSanitizer says so. */
    if (!SCENE_TSAN) {
        tcase_add_loop_test(c, memory_that_is_used_again_has_no_owner_of_old, PTHREAD_MUTEX_NORMAL,
                            PTHREAD_MUTEX_ERRORCHECK + 1);
        tcase_add_test(c, a_task_that_ends_with_it_is_reported);
        tcase_add_test(c, on_a_plain_thread_it_is_libcs);
    }
    suite_add_tcase(s, c);
    return s;
}
