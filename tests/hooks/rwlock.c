/* SPDX-License-Identifier: Apache-2.0 */
/* pthread_rwlock_* in green tasks. */
#include "tests/hooks/scene.h"

#include "runtime/owners.h"

#include <errno.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_int step;

static int give(void)
{
    return pthread_rwlock_unlock(&lock);
}

static int write_lock(void)
{
    return pthread_rwlock_wrlock(&lock);
}

static int read_lock(void)
{
    return pthread_rwlock_rdlock(&lock);
}

static int write_timed(void)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    return pthread_rwlock_timedwrlock(&lock, &t);
}

static int write_by_clock(void)
{
    struct timespec t = scene_in_ms(CLOCK_MONOTONIC, 60000);

    if (!scene_green())
        return write_lock(); /* gcc 12's ThreadSanitizer does not see the other */
    return pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &t);
}

/* Who comes first writes, who comes then reads: each way of either. */
static int read_second(int (*second)(void))
{
    return atomic_exchange(&step, 1) == 0 ? write_lock() : second();
}

static int by_timed(void)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    return pthread_rwlock_timedrdlock(&lock, &t);
}

static int by_clock(void)
{
    struct timespec t = scene_in_ms(CLOCK_MONOTONIC, 60000);

    if (!scene_green())
        return read_lock();
    return pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &t);
}

static int then_read(void)
{
    return read_second(read_lock);
}

static int then_read_timed(void)
{
    return read_second(by_timed);
}

static int then_read_by_clock(void)
{
    return read_second(by_clock);
}

static int then_write(void)
{
    return atomic_exchange(&step, 1) == 0 ? read_lock() : write_lock();
}

START_TEST(a_task_waits_for_tasks_and_threads_and_they_for_it)
{
    static int (*const takes[])(void) = { write_lock,      write_timed,        write_by_clock, then_read,
                                          then_read_timed, then_read_by_clock, then_write };
    scene_thing thing = { takes[_i], give, &lock };

    for (int holder = PLAIN; holder <= THERE; holder++) {
        atomic_store(&step, 0);
        scene_contend(&thing, holder, HERE);
    }
    atomic_store(&step, 0);
    scene_contend(&thing, HERE, PLAIN);
    ck_assert_uint_eq(scene_troubles, 0);
}
END_TEST

static void reads_together(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_rwlock_rdlock(&lock), 0);
    atomic_fetch_add(&step, 1);
    scene_until(&step, 3);
    ck_assert_int_eq(pthread_rwlock_trywrlock(&lock), EBUSY);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
}

START_TEST(readers_read_together)
{
    for (int place = PLAIN; place <= THERE; place++)
        scene_add(place, reads_together, NULL);
    scene_run();
}
END_TEST

static void tries_everything(void *arg)
{
    struct timespec past = { 1, 0 }, nonsense = { 1, -1 };

    (void)arg;
    ck_assert_int_eq(pthread_rwlock_trywrlock(&lock), 0);
    ck_assert(fj__owns(fj_task_current(), &lock));
    ck_assert_int_eq(pthread_rwlock_tryrdlock(&lock), EBUSY);
    ck_assert_int_eq(pthread_rwlock_trywrlock(&lock), EBUSY);
    ck_assert_int_eq(pthread_rwlock_wrlock(&lock), EDEADLK);
    ck_assert_int_eq(pthread_rwlock_rdlock(&lock), EDEADLK);
    ck_assert_int_eq(pthread_rwlock_timedwrlock(&lock, &nonsense), EINVAL);
    ck_assert_int_eq(pthread_rwlock_clockrdlock(&lock, CLOCK_PROCESS_CPUTIME_ID, &past), EINVAL);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
    ck_assert_ptr_null(fj__owner_of(&lock));
    ck_assert_int_eq(pthread_rwlock_timedrdlock(&lock, &past), 0);
    ck_assert_int_eq(pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &past), 0);
    ck_assert_int_eq(pthread_rwlock_timedwrlock(&lock, &past), ETIMEDOUT);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
}

START_TEST(each_call_answers_as_libc_does)
{
    scene_add(HERE, tries_everything, NULL);
    scene_run();
}
END_TEST

static void writes_until_two(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_rwlock_wrlock(&lock), 0);
    atomic_store(&step, 1);
    scene_until(&step, 2);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
}

static void runs_out_of_time(void *arg)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 3);
    fj_timeout around;

    (void)arg;
    scene_until(&step, 1);
    fj_timeout_begin(&around, fj_in_ms(1));
    ck_assert_int_eq(pthread_rwlock_timedrdlock(&lock, &t), ETIMEDOUT);
    t = scene_in_ms(CLOCK_MONOTONIC, 3);
    ck_assert_int_eq(pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &t), ETIMEDOUT);
    ck_assert(!fj_timeout_end(&around)); /* it was not told of that */
    ck_assert(fj_task_cancel(fj_task_current()));
    t = scene_in_ms(CLOCK_MONOTONIC, 3);
    ck_assert_int_eq(pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &t), ETIMEDOUT);
    atomic_store(&step, 2);
}

START_TEST(a_wait_ends_at_its_own_time_alone)
{
    scene_add(_i, writes_until_two, NULL);
    scene_add(HERE, runs_out_of_time, NULL);
    scene_run();
}
END_TEST

static void reads_twice(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_rwlock_rdlock(&lock), 0);
    atomic_store(&step, 1);
    scene_until_parked(&lock);
    ck_assert_int_eq(pthread_rwlock_rdlock(&lock), 0);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
}

static void writes_after_one(void *arg)
{
    (void)arg;
    scene_until(&step, 1);
    ck_assert_int_eq(pthread_rwlock_wrlock(&lock), 0);
    ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
}

START_TEST(who_reads_may_read_again_while_a_writer_waits)
{
    scene_add(HERE, reads_twice, NULL);
    scene_add(_i, writes_after_one, NULL);
    scene_run();
}
END_TEST

static void uses_twice(void *arg)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_rwlock_rdlock(arg), 0);
        ck_assert_int_eq(pthread_rwlock_unlock(arg), 0);
        ck_assert_int_eq(pthread_rwlock_wrlock(arg), 0);
        ck_assert_int_eq(pthread_rwlock_unlock(arg), 0);
    }
}

START_TEST(one_that_is_shared_between_processes_is_left_alone)
{
    pthread_rwlock_t shared;
    pthread_rwlockattr_t attr;

    ck_assert_int_eq(pthread_rwlockattr_init(&attr), 0);
    ck_assert_int_eq(pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    ck_assert_int_eq(pthread_rwlock_init(&shared, &attr), 0);
    scene_add(HERE, uses_twice, &lock);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 0);
    scene_add(HERE, uses_twice, &shared);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 1);
}
END_TEST

static unsigned first, second; /* under the lock; equal */

static void reads_and_writes(void *arg)
{
    enum { TIMES = 100 };

    (void)arg;
    for (int i = 0; i < TIMES; i++) {
        ck_assert_int_eq(pthread_rwlock_rdlock(&lock), 0);
        ck_assert_uint_eq(first, second);
        if (i % 5 == 0)
            scene_pause();
        ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
        ck_assert_int_eq(pthread_rwlock_wrlock(&lock), 0);
        first++;
        if (i % 3 == 0)
            scene_pause();
        second++;
        ck_assert_int_eq(pthread_rwlock_unlock(&lock), 0);
    }
}

START_TEST(no_wake_up_is_lost_in_a_storm)
{
    for (int i = 0; i < 36; i++)
        scene_add(i % 5 - 1, reads_and_writes, NULL);
    scene_run();
    ck_assert_uint_eq(first, 3600);
    ck_assert_uint_eq(second, 3600);
    ck_assert(!fj__parking_any(&lock));
}
END_TEST

Suite *rwlock_suite(void)
{
    Suite *s = suite_create("hooks: rwlocks");
    TCase *c = tcase_create("rwlock");

    tcase_add_checked_fixture(c, scene_begin, scene_end);
    tcase_set_timeout(c, 30);
    tcase_add_loop_test(c, a_task_waits_for_tasks_and_threads_and_they_for_it, 0, 7);
    tcase_add_test(c, readers_read_together);
    tcase_add_test(c, each_call_answers_as_libc_does);
    tcase_add_loop_test(c, a_wait_ends_at_its_own_time_alone, PLAIN, THERE + 1);
    tcase_add_loop_test(c, who_reads_may_read_again_while_a_writer_waits, HERE, THERE + 1);
    tcase_add_test(c, one_that_is_shared_between_processes_is_left_alone);
    tcase_add_test(c, no_wake_up_is_lost_in_a_storm);
    suite_add_tcase(s, c);
    return s;
}
