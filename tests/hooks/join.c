/* SPDX-License-Identifier: Apache-2.0 */
/* pthread_join and its kin, thrd_join, and barriers in green tasks. */
#include "tests/hooks/scene.h"

#include <errno.h>
#include <netdb.h>
#include <sched.h>
#include <threads.h>

static atomic_int step, met, serials;
static int value;

static void *lasts_until_three(void *unused)
{
    (void)unused;
    while (atomic_load(&step) != 3)
        (void)sched_yield();
    return &value;
}

static int lasts_too(void *unused)
{
    (void)lasts_until_three(unused);
    return 7;
}

static int join_plainly(pthread_t thread, void **ret)
{
    return pthread_join(thread, ret);
}

static int join_timed(pthread_t thread, void **ret)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    return pthread_timedjoin_np(thread, ret, &t);
}

static int join_by_clock(pthread_t thread, void **ret)
{
    struct timespec t = scene_in_ms(CLOCK_MONOTONIC, 60000);

    return pthread_clockjoin_np(thread, ret, CLOCK_MONOTONIC, &t);
}

static int (*const joins[])(pthread_t thread, void **ret) = { join_plainly, join_timed, join_by_clock };

static void joins_it(void *arg)
{
    pthread_t thread;
    void *ret = NULL;

    ck_assert_int_eq(pthread_create(&thread, NULL, lasts_until_three, NULL), 0);
    ck_assert_int_eq(pthread_tryjoin_np(thread, &ret), EBUSY);
    atomic_store(&step, 2);
    ck_assert_int_eq(joins[*(int *)arg](thread, &ret), 0);
    ck_assert_ptr_eq(ret, &value);
}

/* It would not come to this while the joiner kept the thread. */
static void lets_it_end(void *arg)
{
    (void)arg;
    scene_until(&step, 2);
    atomic_store(&step, 3);
}

START_TEST(others_run_while_a_task_joins)
{
    int how = _i;

    scene_add(HERE, joins_it, &how);
    scene_add(HERE, lets_it_end, NULL);
    scene_run();
}
END_TEST

/* More than the pool has threads: each of the joined goes on only when all are joined. */
enum { CROWD = 40 };

static void joins_one_of_many(void *arg)
{
    pthread_t thread;

    (void)arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, lasts_until_three, NULL), 0);
    if (atomic_fetch_add(&met, 1) == CROWD - 1)
        atomic_store(&step, 2);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    atomic_fetch_add(&serials, 1);
}

/* A job that comes behind them all has a thread nevertheless. */
static void asks_the_pool(void *arg)
{
    struct addrinfo *list = NULL;

    (void)arg;
    scene_until(&step, 2);
    ck_assert_int_eq(getaddrinfo("localhost", NULL, NULL, &list), 0);
    freeaddrinfo(list);
    ck_assert_int_eq(atomic_load(&serials), 0);
    atomic_store(&step, 3);
}

START_TEST(any_number_of_tasks_may_join)
{
    for (int i = 0; i < CROWD; i++)
        scene_add(HERE, joins_one_of_many, NULL);
    scene_add(HERE, asks_the_pool, NULL);
    scene_run();
    ck_assert_int_eq(atomic_load(&serials), CROWD);
}
END_TEST

static void joins_c11(void *arg)
{
    thrd_t thread;
    int ret = 0;

    (void)arg;
    ck_assert_int_eq(thrd_create(&thread, lasts_too, NULL), thrd_success);
    atomic_store(&step, 2);
    ck_assert_int_eq(thrd_join(thread, &ret), thrd_success);
    ck_assert_int_eq(ret, 7);
}

START_TEST(others_run_while_a_task_joins_a_thread_of_C11)
{
    scene_add(HERE, joins_c11, NULL);
    scene_add(HERE, lets_it_end, NULL);
    scene_run();
}
END_TEST

static void *ends(void *unused)
{
    (void)unused;
    return &step;
}

static void joins_in_vain(void *arg)
{
    struct timespec past = { 1, 0 }, t;
    pthread_t thread;
    void *ret = NULL;

    (void)arg;
    if (!SCENE_TSAN) /* which takes it for joined */
        ck_assert_int_eq(pthread_join(pthread_self(), NULL), EDEADLK);
    ck_assert_int_eq(pthread_create(&thread, NULL, lasts_until_three, NULL), 0);
    ck_assert_int_eq(pthread_timedjoin_np(thread, &ret, &past), ETIMEDOUT);
    t = scene_in_ms(CLOCK_MONOTONIC, 3);
    ck_assert_int_eq(pthread_clockjoin_np(thread, &ret, CLOCK_MONOTONIC, &t), ETIMEDOUT);
    atomic_store(&step, 3);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, ends, NULL), 0);
    while (pthread_tryjoin_np(thread, &ret) == EBUSY)
        scene_pause();
    ck_assert_ptr_eq(ret, &step);
}

START_TEST(joins_answer_as_libcs_do)
{
    scene_add(_i, joins_in_vain, NULL);
    scene_run();
}
END_TEST

/* ---- barriers -------------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;

enum { ROUNDS = 50, PARTIES = 7 };

static void meets(void *arg)
{
    (void)arg;
    for (int i = 1; i <= ROUNDS; i++) {
        atomic_fetch_add(&met, 1);
        int r = pthread_barrier_wait(&barrier);
        ck_assert(r == 0 || r == PTHREAD_BARRIER_SERIAL_THREAD);
        if (r != 0)
            atomic_fetch_add(&serials, 1);
        ck_assert_int_ge(atomic_load(&met), i * PARTIES);
    }
}

START_TEST(tasks_and_threads_meet_at_a_barrier)
{
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, PARTIES), 0);
    for (int i = 0; i < PARTIES; i++)
        scene_add(i % 4 - 1, meets, NULL);
    scene_run();
    ck_assert_int_eq(atomic_load(&serials), ROUNDS);
    ck_assert_int_eq(pthread_barrier_destroy(&barrier), 0);
}
END_TEST

static void meets_itself(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_barrier_wait(&barrier), PTHREAD_BARRIER_SERIAL_THREAD);
}

START_TEST(one_that_is_shared_between_processes_is_left_alone)
{
    pthread_barrierattr_t attr;

    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, 1), 0);
    scene_add(HERE, meets_itself, NULL);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 0);
    ck_assert_int_eq(pthread_barrier_destroy(&barrier), 0);
    ck_assert_int_eq(pthread_barrierattr_init(&attr), 0);
    ck_assert_int_eq(pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    ck_assert_int_eq(pthread_barrier_init(&barrier, &attr, 1), 0);
    scene_add(HERE, meets_itself, NULL);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 1);
    ck_assert_int_eq(pthread_barrier_destroy(&barrier), 0);
}
END_TEST

Suite *join_suite(void)
{
    Suite *s = suite_create("hooks: joins and barriers");
    TCase *c = tcase_create("join");

    tcase_add_checked_fixture(c, scene_begin, scene_end);
    tcase_set_timeout(c, 30);
    /* gcc 12's ThreadSanitizer knows neither pthread_clockjoin_np() nor C11's threads. */
    tcase_add_loop_test(c, others_run_while_a_task_joins, 0, SCENE_TSAN ? 2 : 3);
    if (!SCENE_TSAN)
        tcase_add_test(c, others_run_while_a_task_joins_a_thread_of_C11);
    tcase_add_test(c, any_number_of_tasks_may_join);
    tcase_add_loop_test(c, joins_answer_as_libcs_do, PLAIN, HERE + 1);
    tcase_add_test(c, tasks_and_threads_meet_at_a_barrier);
    tcase_add_test(c, one_that_is_shared_between_processes_is_left_alone);
    suite_add_tcase(s, c);
    return s;
}
