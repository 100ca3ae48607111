/* SPDX-License-Identifier: Apache-2.0 */
/* sem_* in green tasks. */
#include "tests/hooks/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

static sem_t sem;
static atomic_int step;

static void begin(void)
{
    scene_begin();
    ck_assert_int_eq(sem_init(&sem, 0, 1), 0);
}

#define fails(call, error)                \
    do {                                  \
        errno = 0;                        \
        ck_assert_int_eq((call), -1);     \
        ck_assert_int_eq(errno, (error)); \
    } while (0)

static void counts_down(void *arg)
{
    struct timespec past = { 1, 0 }, nonsense = { 1, -1 }, t;

    (void)arg;
    errno = EXDEV;
    ck_assert_int_eq(sem_wait(&sem), 0);
    fails(sem_trywait(&sem), EAGAIN);
    fails(sem_timedwait(&sem, &past), ETIMEDOUT);
    fails(sem_timedwait(&sem, &nonsense), EINVAL);
    fails(sem_clockwait(&sem, CLOCK_PROCESS_CPUTIME_ID, &past), EINVAL);
    t = scene_in_ms(CLOCK_REALTIME, 3);
    fails(sem_timedwait(&sem, &t), ETIMEDOUT);
    t = scene_in_ms(CLOCK_MONOTONIC, 3);
    fails(sem_clockwait(&sem, CLOCK_MONOTONIC, &t), ETIMEDOUT);
    errno = EXDEV;
    ck_assert_int_eq(sem_post(&sem), 0);
    ck_assert_int_eq(sem_timedwait(&sem, &past), 0);
    ck_assert_int_eq(errno, EXDEV);
}

START_TEST(what_is_there_is_taken_and_waits_end_at_their_time)
{
    scene_add(_i, counts_down, NULL);
    scene_run();
    ck_assert(!fj__parking_any(&sem));
}
END_TEST

static int take(void)
{
    return sem_wait(&sem);
}

static int take_timed(void)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    return sem_timedwait(&sem, &t);
}

static int take_by_clock(void)
{
    struct timespec t = scene_in_ms(CLOCK_MONOTONIC, 60000);

    if (!scene_green())
        return take(); /* gcc 12's ThreadSanitizer does not see the other */
    return sem_clockwait(&sem, CLOCK_MONOTONIC, &t);
}

static int give(void)
{
    return sem_post(&sem);
}

START_TEST(a_task_waits_for_tasks_and_threads_and_they_for_it)
{
    static const scene_thing ways[] = { { take, give, &sem },
                                        { take_timed, give, &sem },
                                        { take_by_clock, give, &sem } };

    for (int holder = PLAIN; holder <= THERE; holder++)
        scene_contend(&ways[_i], holder, HERE);
    scene_contend(&ways[_i], HERE, PLAIN);
}
END_TEST

static void is_cut_short(void *arg)
{
    fj_timeout around;

    *(fj_task **)arg = fj_task_current();
    ck_assert_int_eq(sem_wait(&sem), 0);
    fj_timeout_begin(&around, fj_in_ms(3));
    fails(sem_wait(&sem), ETIMEDOUT);
    ck_assert(fj_timeout_end(&around));
    fj_atomic_begin();
    fails(sem_wait(&sem), EDEADLK);
    fj_atomic_end();
    atomic_store(&step, 1);
    fails(sem_wait(&sem), ECANCELED);
}

static void cancels(void *arg)
{
    scene_until(&step, 1);
    scene_until_parked(&sem);
    ck_assert(fj_task_cancel(*(fj_task **)arg));
}

START_TEST(a_wait_that_is_cut_short_fails)
{
    fj_task *task = NULL;

    scene_add(HERE, is_cut_short, &task);
    scene_add(_i, cancels, &task);
    scene_run();
}
END_TEST

static void uses_twice(void *arg)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sem_wait(arg), 0);
        ck_assert_int_eq(sem_post(arg), 0);
    }
}

START_TEST(one_that_is_shared_between_processes_is_left_alone)
{
    char name[64];
    sem_t shared, *named = NULL;

    (void)snprintf(name, sizeof name, "/fjord-sem-%d", (int)getpid());
    named = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
    ck_assert_ptr_ne(named, SEM_FAILED);
    ck_assert_int_eq(sem_unlink(name), 0);
    ck_assert_int_eq(sem_init(&shared, 1, 1), 0);
    scene_add(HERE, uses_twice, &sem);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 0);
    scene_add(HERE, uses_twice, named);
    scene_add(HERE, uses_twice, &shared);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 1);
    ck_assert_int_eq(sem_close(named), 0);
}
END_TEST

static atomic_int inside;

static void goes_in(void *arg)
{
    enum { TIMES = 200 };

    (void)arg;
    for (int i = 0; i < TIMES; i++) {
        ck_assert_int_eq(sem_wait(&sem), 0);
        ck_assert_int_le(atomic_fetch_add(&inside, 1), 2);
        if (i % 3 == 0)
            scene_pause();
        atomic_fetch_sub(&inside, 1);
        ck_assert_int_eq(sem_post(&sem), 0);
    }
}

START_TEST(no_post_is_lost_in_a_storm)
{
    int left = 0;

    ck_assert_int_eq(sem_post(&sem), 0);
    ck_assert_int_eq(sem_post(&sem), 0);
    for (int i = 0; i < 36; i++)
        scene_add(i % 5 - 1, goes_in, NULL);
    scene_run();
    ck_assert_int_eq(sem_getvalue(&sem, &left), 0);
    ck_assert_int_eq(left, 3);
}
END_TEST

Suite *sem_suite(void)
{
    Suite *s = suite_create("hooks: semaphores");
    TCase *c = tcase_create("sem");

    tcase_add_checked_fixture(c, begin, scene_end);
    tcase_set_timeout(c, 30);
    tcase_add_loop_test(c, what_is_there_is_taken_and_waits_end_at_their_time, PLAIN, HERE + 1);
    tcase_add_loop_test(c, a_task_waits_for_tasks_and_threads_and_they_for_it, 0, 3);
    tcase_add_loop_test(c, a_wait_that_is_cut_short_fails, PLAIN, THERE + 1);
    tcase_add_test(c, one_that_is_shared_between_processes_is_left_alone);
    tcase_add_test(c, no_post_is_lost_in_a_storm);
    suite_add_tcase(s, c);
    return s;
}
