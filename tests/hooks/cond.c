/* SPDX-License-Identifier: Apache-2.0 */
/* pthread_cond_* and cnd_* in green tasks. */
#include "tests/hooks/scene.h"

#include "runtime/owners.h"

#include <dlfcn.h>
#include <errno.h>
#include <threads.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static atomic_int step, woken;
static bool said; /* under the lock */

static void waits(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_fetch_add(&step, 1);
    while (!said)
        ck_assert_int_eq(pthread_cond_wait(&changed, &lock), 0);
    atomic_fetch_add(&woken, 1);
    ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

/* Once it has the lock after so many have counted themselves under it, all of them wait. */
static void says(void *arg)
{
    int waiters = *(int *)arg;

    scene_until(&step, waiters);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    said = true;
    ck_assert_int_eq(waiters == 1 ? pthread_cond_signal(&changed) : pthread_cond_broadcast(&changed), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

static const struct {
    int waits, says;
} pairs[] = { { HERE, HERE }, { HERE, PLAIN }, { HERE, THERE }, { PLAIN, HERE }, { PLAIN, PLAIN } };

START_TEST(a_signal_wakes_a_task_or_a_thread)
{
    int one = 1;

    scene_add(pairs[_i].waits, waits, NULL);
    scene_add(pairs[_i].says, says, &one);
    scene_run();
    ck_assert_int_eq(atomic_load(&woken), 1);
}
END_TEST

START_TEST(a_broadcast_wakes_them_all)
{
    int n = 9;

    for (int i = 0; i < n; i++)
        scene_add(i % 3 - 1, waits, NULL);
    scene_add(_i, says, &n);
    scene_run();
    ck_assert_int_eq(atomic_load(&woken), n);
    ck_assert(!fj__parking_any(&changed));
}
END_TEST

static void signals_without_the_lock(void *arg)
{
    (void)arg;
    scene_until(&step, 1);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    said = true;
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_int_eq(pthread_cond_signal(&changed), 0);
}

START_TEST(a_signal_after_the_unlocking_wakes_too)
{
    scene_add(pairs[_i].waits, waits, NULL);
    scene_add(pairs[_i].says, signals_without_the_lock, NULL);
    scene_run();
    ck_assert_int_eq(atomic_load(&woken), 1);
}
END_TEST

/* libc unlocks the mutex of a thread that waits by itself: tasks that are parked on it hear of it all the same. */
static void waits_for_the_lock(void *arg)
{
    (void)arg;
    scene_until(&step, 1);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    said = true;
    ck_assert_int_eq(pthread_cond_signal(&changed), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

static void lets_go_by_waiting(void *arg)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_store(&step, 1);
    scene_until_parked(&lock);
    while (!said)
        ck_assert_int_eq(*(int *)arg == 0   ? pthread_cond_wait(&changed, &lock)
                         : *(int *)arg == 1 ? pthread_cond_timedwait(&changed, &lock, &t)
                                            : pthread_cond_clockwait(&changed, &lock, CLOCK_REALTIME, &t),
                         0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(a_thread_that_waits_lets_tasks_have_its_mutex)
{
    int how = _i;

    scene_add(PLAIN, lets_go_by_waiting, &how);
    scene_add(HERE, waits_for_the_lock, NULL);
    scene_run();
}
END_TEST

static void runs_out_of_time(void *arg)
{
    pthread_cond_t monotonic;
    pthread_condattr_t attr;
    struct timespec past = { 1, 0 }, nonsense = { 1, -1 }, t;

    (void)arg;
    ck_assert_int_eq(pthread_condattr_init(&attr), 0);
    ck_assert_int_eq(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), 0);
    ck_assert_int_eq(pthread_cond_init(&monotonic, &attr), 0);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &past), ETIMEDOUT);
    ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &nonsense), EINVAL);
    ck_assert_int_eq(pthread_cond_clockwait(&changed, &lock, CLOCK_PROCESS_CPUTIME_ID, &past), EINVAL);
    t = scene_in_ms(CLOCK_REALTIME, 3);
    ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &t), ETIMEDOUT);
    t = scene_in_ms(CLOCK_MONOTONIC, 3);
    ck_assert_int_eq(pthread_cond_timedwait(&monotonic, &lock, &t), ETIMEDOUT);
    t = scene_in_ms(CLOCK_MONOTONIC, 3);
    ck_assert_int_eq(pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &t), ETIMEDOUT);
    t = scene_in_ms(CLOCK_MONOTONIC, 0); /* of a clock that is far behind the other */
    ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &t), ETIMEDOUT);
    ck_assert_int_eq(pthread_mutex_trylock(&lock), EBUSY);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_int_eq(pthread_cond_destroy(&monotonic), 0);
}

START_TEST(a_wait_with_a_time_ends_then)
{
    scene_add(_i, runs_out_of_time, NULL);
    scene_run();
}
END_TEST

static void is_cancelled(void *arg)
{
    *(fj_task **)arg = fj_task_current();
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_store(&step, 1);
    ck_assert_int_eq(pthread_cond_wait(&changed, &lock), 0); /* for no reason, as far as it knows */
    ck_assert_int_eq(atomic_load(&step), 2);
    ck_assert_uint_eq(fj_task_cancelling(fj_task_current()), 1);
    atomic_store(&step, 3);
    while (!said) /* it is not ended a second time */
        ck_assert_int_eq(pthread_cond_wait(&changed, &lock), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    errno = 0;
    ck_assert_int_eq(usleep(1000), -1);
    ck_assert_int_eq(errno, ECANCELED);
}

static void cancels(void *arg)
{
    scene_until(&step, 1);
    scene_until_parked(&changed);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_store(&step, 2);
    ck_assert(*(int *)((void **)arg + 1) == 0 ? fj_task_cancel(*(fj_task **)arg)
                                              : fj_task_kill(*(fj_task **)arg));
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    scene_until(&step, 3);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    said = true;
    ck_assert_int_eq(pthread_cond_signal(&changed), 0);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(a_cancellation_ends_the_wait_once_and_is_told_by_the_next_that_can)
{
    struct {
        fj_task *task;
        int kill;
    } who = { NULL, _i };

    scene_add(HERE, is_cancelled, &who);
    scene_add(HERE, cancels, &who);
    scene_run();
}
END_TEST

static void has_a_timeout_around_it(void *arg)
{
    struct timespec t = scene_in_ms(CLOCK_MONOTONIC, 60000);
    fj_timeout around;

    (void)arg;
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    fj_timeout_begin(&around, fj_in_ms(3));
    ck_assert_int_eq(pthread_cond_wait(&changed, &lock), 0);
    ck_assert(fj_timeout_end(&around));
    fj_timeout_begin(&around, fj_in_ms(3));
    ck_assert_int_eq(pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &t), ETIMEDOUT);
    ck_assert(fj_timeout_end(&around));
    fj_atomic_begin();
    ck_assert_int_eq(pthread_cond_wait(&changed, &lock), EDEADLK);
    fj_atomic_end();
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
}

START_TEST(a_timeout_around_it_ends_the_wait)
{
    scene_add(HERE, has_a_timeout_around_it, NULL);
    scene_run();
    ck_assert_uint_eq(scene_troubles, 1); /* of the atomic section */
}
END_TEST

static void does_not_own(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pthread_cond_wait(&changed, &lock), EPERM);
}

START_TEST(who_does_not_own_the_mutex_is_told_so)
{
    pthread_mutexattr_t attr;

    ck_assert_int_eq(pthread_mutexattr_init(&attr), 0);
    ck_assert_int_eq(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK), 0);
    ck_assert_int_eq(pthread_mutex_init(&lock, &attr), 0);
    scene_add(_i, does_not_own, NULL);
    scene_run();
}
END_TEST

static void waits_a_little(void *arg)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 2);

    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    ck_assert_int_eq(pthread_cond_timedwait(arg, &lock, &t), ETIMEDOUT);
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_int_eq(pthread_cond_broadcast(arg), 0);
}

START_TEST(one_that_is_shared_between_processes_is_left_alone)
{
    pthread_cond_t shared;
    pthread_condattr_t attr;

    ck_assert_int_eq(pthread_condattr_init(&attr), 0);
    ck_assert_int_eq(pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    ck_assert_int_eq(pthread_cond_init(&shared, &attr), 0);
    scene_add(HERE, waits_a_little, &shared);
    scene_add(HERE, waits_a_little, &shared);
    scene_run();
    ck_assert_uint_eq(scene_warnings, 1);
}
END_TEST

/* ---- pthread_cancel(), which libc's own waits obey --------------------------------------------------- */

static void cleans_up(void *arg)
{
    *(int *)arg = pthread_mutex_unlock(&lock);
}

static void *waits_for_ever(void *arg)
{
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
    atomic_store(&step, 1);
    pthread_cleanup_push(cleans_up, arg);
    for (;;)
        ck_assert_int_eq(pthread_cond_wait(&changed, &lock), 0);
    pthread_cleanup_pop(0);
    return NULL;
}

START_TEST(a_thread_that_waits_can_be_cancelled_and_has_its_mutex_then)
{
    int unlocked = -1;
    pthread_t thread;
    void *end = NULL;

    pthread_mutexattr_t attr;
    ck_assert_int_eq(pthread_mutexattr_init(&attr), 0);
    ck_assert_int_eq(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK), 0);
    ck_assert_int_eq(pthread_mutex_init(&lock, &attr), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, waits_for_ever, &unlocked), 0);
    scene_until(&step, 1);
    ck_assert_int_eq(pthread_mutex_lock(&lock), 0); /* it waits */
    ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    ck_assert_int_eq(pthread_cancel(thread), 0);
    ck_assert_int_eq(pthread_join(thread, &end), 0);
    ck_assert_ptr_eq(end, PTHREAD_CANCELED);
    ck_assert_int_eq(unlocked, 0);
    ck_assert_int_eq(pthread_cond_signal(&changed), 0);
}
END_TEST

/* ---- many ------------------------------------------------------------------------------------------ */

enum { EACH = 300, MAKERS = 12 };
static unsigned queued, made, eaten; /* under the lock */
static pthread_cond_t room = PTHREAD_COND_INITIALIZER;

static void makes(void *arg)
{
    (void)arg;
    for (int i = 0; i < EACH; i++) {
        ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
        while (queued == 3)
            ck_assert_int_eq(pthread_cond_wait(&room, &lock), 0);
        queued++;
        made++;
        ck_assert_int_eq(pthread_cond_signal(&changed), 0);
        ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
    }
}

static void eats(void *arg)
{
    (void)arg;
    for (int i = 0; i < EACH; i++) {
        ck_assert_int_eq(pthread_mutex_lock(&lock), 0);
        while (queued == 0)
            ck_assert_int_eq(pthread_cond_wait(&changed, &lock), 0);
        queued--;
        eaten++;
        ck_assert_int_eq(pthread_mutex_unlock(&lock), 0);
        ck_assert_int_eq(pthread_cond_signal(&room), 0);
    }
}

START_TEST(no_signal_is_lost_in_a_storm)
{
    for (int i = 0; i < MAKERS; i++) {
        scene_add(i % 5 - 1, makes, NULL);
        scene_add(i % 4 - 1, eats, NULL);
    }
    scene_run();
    ck_assert_uint_eq(made, EACH * MAKERS);
    ck_assert_uint_eq(eaten, EACH * MAKERS);
}
END_TEST

/* ---- others' names --------------------------------------------------------------------------------- */

static mtx_t c11_lock;
static cnd_t c11_changed;

static void waits_c11(void *arg)
{
    struct timespec t = scene_in_ms(CLOCK_REALTIME, 60000);

    (void)arg;
    ck_assert_int_eq(mtx_lock(&c11_lock), thrd_success);
    atomic_fetch_add(&step, 1);
    while (!said)
        ck_assert_int_eq(atomic_load(&woken) == 0 ? cnd_wait(&c11_changed, &c11_lock)
                                                  : cnd_timedwait(&c11_changed, &c11_lock, &t),
                         thrd_success);
    ck_assert_int_eq(mtx_unlock(&c11_lock), thrd_success);
}

static void says_c11(void *arg)
{
    (void)arg;
    scene_until(&step, 2);
    ck_assert_int_eq(mtx_lock(&c11_lock), thrd_success);
    atomic_store(&woken, 1);
    ck_assert_int_eq(cnd_signal(&c11_changed), thrd_success);
    ck_assert_int_eq(mtx_unlock(&c11_lock), thrd_success);
    ck_assert_int_eq(mtx_lock(&c11_lock), thrd_success);
    said = true;
    ck_assert_int_eq(cnd_broadcast(&c11_changed), thrd_success);
    ck_assert_int_eq(mtx_unlock(&c11_lock), thrd_success);
}

START_TEST(those_of_C11_are_the_same)
{
    ck_assert_int_eq(mtx_init(&c11_lock, mtx_plain), thrd_success);
    ck_assert_int_eq(cnd_init(&c11_changed), thrd_success);
    scene_add(HERE, waits_c11, NULL);
    scene_add(_i, waits_c11, NULL);
    scene_add(HERE, says_c11, NULL);
    scene_run();
}
END_TEST

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
START_TEST(a_program_of_the_old_ABI_finds_libcs)
{
    static const char *const names[] = { "pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_signal",
                                         "pthread_cond_broadcast" };
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *old = dlvsym(RTLD_DEFAULT, names[i], "GLIBC_2.2.5");

        ck_assert_ptr_nonnull(old);
        ck_assert_ptr_eq(old, dlvsym(libc, names[i], "GLIBC_2.2.5"));
        ck_assert_ptr_ne(dlvsym(RTLD_DEFAULT, names[i], "GLIBC_2.3.2"), dlvsym(libc, names[i], "GLIBC_2.3.2"));
    }
    dlclose(libc);
}
END_TEST
#endif

Suite *cond_suite(void)
{
    Suite *s = suite_create("hooks: conditions");
    TCase *c = tcase_create("cond");

    tcase_add_checked_fixture(c, scene_begin, scene_end);
    tcase_set_timeout(c, 30);
    tcase_add_loop_test(c, a_signal_wakes_a_task_or_a_thread, 0, 5);
    tcase_add_loop_test(c, a_broadcast_wakes_them_all, PLAIN, THERE + 1);
    tcase_add_loop_test(c, a_signal_after_the_unlocking_wakes_too, 0, 5);
    tcase_add_loop_test(c, a_thread_that_waits_lets_tasks_have_its_mutex, 0, 3);
    tcase_add_loop_test(c, a_wait_with_a_time_ends_then, PLAIN, HERE + 1);
    tcase_add_loop_test(c, a_cancellation_ends_the_wait_once_and_is_told_by_the_next_that_can, 0, 2);
    tcase_add_test(c, a_timeout_around_it_ends_the_wait);
    tcase_add_loop_test(c, who_does_not_own_the_mutex_is_told_so, PLAIN, HERE + 1);
    tcase_add_test(c, one_that_is_shared_between_processes_is_left_alone);
    tcase_add_test(c, a_thread_that_waits_can_be_cancelled_and_has_its_mutex_then);
    tcase_add_test(c, no_signal_is_lost_in_a_storm);
    tcase_add_loop_test(c, those_of_C11_are_the_same, PLAIN, THERE + 1);
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_test(c, a_program_of_the_old_ABI_finds_libcs);
#endif
    suite_add_tcase(s, c);
    return s;
}
