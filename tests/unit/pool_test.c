/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of threads for functions that block. */
#include "base/alloc.h"
#include "executors/eventcount.h"
#include "runtime/clock.h"
#include "runtime/pool.h"

#include <check.h>
#include <fjord/await.h>
#include <fjord/transport.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static fj__eventcount told;
static atomic_uint begun, inside, most, freed, threads_ended;
static atomic_bool gate;
static char order[64];

static void await_count(atomic_uint *count, unsigned n)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&told);
        if (atomic_load(count) >= n)
            return;
        (void)fj__eventcount_wait(&told, seen, fj_never());
    }
}

static void open_gate(void)
{
    atomic_store(&gate, true);
    fj__eventcount_raise(&told);
}

static void count_up(atomic_uint *count)
{
    (void)atomic_fetch_add(count, 1);
    fj__eventcount_raise(&told);
}

static void on_freed(void *user)
{
    (void)user;
    count_up(&freed);
}

/* Blocks until the gate is open. */
static fj_code gated(void *user, json_t **ret, fj_error **err)
{
    (void)err;
    unsigned now = atomic_fetch_add(&inside, 1) + 1, before = atomic_load(&most);
    while (before < now && !atomic_compare_exchange_weak(&most, &before, now))
        ;
    count_up(&begun);
    for (unsigned seen = fj__eventcount_read(&told); !atomic_load(&gate); seen = fj__eventcount_read(&told))
        (void)fj__eventcount_wait(&told, seen, fj_never());
    (void)atomic_fetch_sub(&inside, 1);
    *ret = json_string(user != NULL ? user : "done");
    return FJ_OK;
}

static fj_future *given(fj_task_fn fn, void *user)
{
    fj_future *future = NULL;
    fj_error *err = NULL;

    fj_code code = fj_run_in_executor(fn, user, on_freed, &future, &err);
    ck_assert_msg(code == FJ_OK, "%s", fj_error_text(err));
    return future;
}

/* Wait for the outcome, and let go of the future. */
static fj_code outcome(fj_future *future, json_t **ret, fj_error **err)
{
    fj_code code = fj_future_wait(future, fj_never(), ret, err);
    fj_future_unref(future);
    return code;
}

static void reset(void)
{
    atomic_store(&begun, 0);
    atomic_store(&inside, 0);
    atomic_store(&most, 0);
    atomic_store(&freed, 0);
    atomic_store(&threads_ended, 0);
    atomic_store(&gate, false);
    order[0] = '\0';
}

static void tidy(void)
{
    fj__clock_set_fake(-1);
    fj__pool_stop();
    fj_thread_pool_size(0);
}

START_TEST(a_function_runs_on_another_thread_and_its_result_is_the_futures)
{
    json_t *result = NULL;

    open_gate();
    ck_assert_int_eq(outcome(given(gated, "yes"), &result, NULL), FJ_OK);
    ck_assert_str_eq(json_string_value(result), "yes");
    ck_assert_uint_eq(atomic_load(&freed), 1);
    json_decref(result);
}
END_TEST

static fj_code where(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    *(pthread_t *)user = pthread_self();
    return FJ_OK;
}

START_TEST(a_function_without_a_result_answers_null_and_runs_on_a_thread_of_the_pool)
{
    pthread_t id = pthread_self();
    json_t *result = NULL;

    ck_assert_int_eq(outcome(given(where, &id), &result, NULL), FJ_OK);
    ck_assert(json_is_null(result));
    ck_assert(!pthread_equal(id, pthread_self()));
}
END_TEST

static fj_code fails(void *user, json_t **ret, fj_error **err)
{
    *ret = json_string("ignored");
    return user == NULL ? FJ_BUSY : fj_fail(err, FJ_BAD_VALUE, "%s", (const char *)user);
}

START_TEST(what_a_function_fails_with_is_the_futures_error)
{
    fj_error *err = NULL;

    ck_assert_int_eq(outcome(given(fails, "odd"), NULL, &err), FJ_BAD_VALUE);
    ck_assert_str_eq(fj_error_text(err), "odd");
    ck_assert_int_eq(outcome(given(fails, NULL), NULL, &err), FJ_BUSY);
    ck_assert_str_eq(fj_error_text(err), fj_code_text(FJ_BUSY));
    fj_error_free(err);
}
END_TEST

static fj_code complains(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    *ret = json_true();
    (void)fj_fail(err, FJ_BUSY, "overcome");
    return FJ_OK;
}

START_TEST(an_error_that_a_function_overcame_is_dropped)
{
    json_t *result = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(outcome(given(complains, NULL), &result, &err), FJ_OK);
    ck_assert(json_is_true(result));
    ck_assert_ptr_null(err);
}
END_TEST

static fj_code noted(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    (void)strncat(order, user, sizeof order - strlen(order) - 1);
    return FJ_OK;
}

START_TEST(jobs_begin_in_the_order_of_the_calls)
{
    static char *const names[] = { "a", "b", "c", "d" };
    fj_future *all[4];

    fj_thread_pool_size(1);
    fj_future *first = given(gated, NULL);
    for (int i = 0; i < 4; i++)
        all[i] = given(noted, names[i]);
    open_gate();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(outcome(all[i], NULL, NULL), FJ_OK);
    ck_assert_str_eq(order, "abcd");
    ck_assert_uint_eq(fj__pool_threads(NULL), 1);
    fj_future_unref(first);
}
END_TEST

START_TEST(threads_are_made_when_needed_and_no_more_than_the_size)
{
    fj_future *all[8];

    fj_thread_pool_size(3);
    ck_assert_uint_eq(fj__pool_threads(NULL), 0);
    for (unsigned i = 0; i < 8; i++) {
        all[i] = given(gated, NULL);
        ck_assert_uint_eq(fj__pool_threads(NULL), i < 3 ? i + 1 : 3);
    }
    await_count(&begun, 3);
    open_gate();
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(outcome(all[i], NULL, NULL), FJ_OK);
    ck_assert_uint_eq(atomic_load(&most), 3);
}
END_TEST

static void await_idle(void)
{
    for (unsigned busy = 1; busy != 0; (void)fj__pool_threads(&busy))
        (void)sched_yield();
}

START_TEST(a_thread_without_a_job_takes_the_next)
{
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(outcome(given(noted, "."), NULL, NULL), FJ_OK);
        await_idle();
        ck_assert_uint_eq(fj__pool_threads(NULL), 1);
    }
}
END_TEST

START_TEST(the_pool_has_twenty_threads_at_most_unless_told)
{
    fj_future *all[30];

    fj_thread_pool_size(2);
    fj_thread_pool_size(0);
    for (int i = 0; i < 30; i++)
        all[i] = given(gated, NULL);
    await_count(&begun, 20);
    ck_assert_uint_eq(fj__pool_threads(NULL), 20);
    open_gate();
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(outcome(all[i], NULL, NULL), FJ_OK);
    ck_assert_uint_eq(atomic_load(&most), 20);
}
END_TEST

START_TEST(a_job_cancelled_before_it_began_never_runs)
{
    fj_thread_pool_size(1);
    fj_future *first = given(gated, NULL), *second = given(noted, "no"), *third = given(noted, "yes");

    ck_assert(fj_future_cancel(second));
    ck_assert_uint_eq(atomic_load(&freed), 1);
    ck_assert(!fj_future_cancel(second));
    open_gate();
    ck_assert_int_eq(outcome(third, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(second, NULL, NULL), FJ_CANCELLED);
    ck_assert_str_eq(order, "yes");
    ck_assert_uint_eq(atomic_load(&freed), 3);
    fj_future_unref(first);
}
END_TEST

static void lets_the_pool_come_first(fj_future *future, void *user)
{
    (void)future;
    (void)user;
    open_gate();
    await_count(&freed, 2);
}

START_TEST(a_job_whose_cancellation_is_under_way_does_not_run)
{
    fj_thread_pool_size(1);
    fj_future *first = given(gated, NULL), *second = given(noted, "no");

    ck_assert_int_eq(fj_future_then(second, lets_the_pool_come_first, NULL), FJ_OK);
    ck_assert(fj_future_cancel(second));
    ck_assert_int_eq(outcome(first, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(second, NULL, NULL), FJ_CANCELLED);
    ck_assert_str_eq(order, "");
    ck_assert_uint_eq(atomic_load(&freed), 2);
}
END_TEST

START_TEST(a_job_that_began_runs_to_its_end_and_its_late_result_is_dropped)
{
    fj_future *future = given(gated, NULL);

    await_count(&begun, 1);
    ck_assert(fj_future_cancel(future));
    ck_assert_uint_eq(atomic_load(&freed), 0);
    open_gate();
    await_count(&freed, 1);
    ck_assert_uint_eq(atomic_load(&inside), 0);
    fj__pool_stop();
    ck_assert_int_eq(outcome(future, NULL, NULL), FJ_CANCELLED);
}
END_TEST

START_TEST(a_job_nobody_holds_the_future_of_runs_all_the_same)
{
    fj_future_unref(given(gated, NULL));
    open_gate();
    await_count(&freed, 1);
    ck_assert_uint_eq(atomic_load(&begun), 1);
}
END_TEST

static pthread_key_t of_thread;

static void thread_ends(void *value)
{
    (void)value;
    count_up(&threads_ended);
}

static fj_code mark_thread(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return pthread_setspecific(of_thread, order) == 0 ? FJ_OK : FJ_SYSTEM;
}

START_TEST(a_thread_that_has_nothing_to_do_ends_and_another_is_made_when_needed)
{
    fj__clock_set_fake(1); /* by the real clock its time is up at once */
    ck_assert_int_eq(pthread_key_create(&of_thread, thread_ends), 0);
    for (unsigned n = 1; n <= 3; n++) {
        ck_assert_int_eq(outcome(given(mark_thread, NULL), NULL, NULL), FJ_OK);
        await_count(&threads_ended, n);
        ck_assert_uint_eq(fj__pool_threads(NULL), 0);
    }
}
END_TEST

START_TEST(threads_above_a_smaller_size_end_with_the_jobs_they_have)
{
    fj_future *all[4];

    ck_assert_int_eq(pthread_key_create(&of_thread, thread_ends), 0);
    for (int i = 0; i < 4; i++)
        all[i] = given(gated, NULL);
    await_count(&begun, 4);
    fj_thread_pool_size(1);
    ck_assert_uint_eq(fj__pool_threads(NULL), 4);
    open_gate();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(outcome(all[i], NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(given(mark_thread, NULL), NULL, NULL), FJ_OK);
    atomic_store(&gate, false);
    fj_future *last = given(gated, NULL);
    await_count(&begun, 5);
    ck_assert_uint_eq(fj__pool_threads(NULL), 1);
    open_gate();
    fj_future_unref(last);
}
END_TEST

static fj_code mask(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    return pthread_sigmask(SIG_SETMASK, NULL, user) == 0 ? FJ_OK : FJ_SYSTEM;
}

START_TEST(no_signal_is_delivered_to_the_pools_threads)
{
    sigset_t set;

    (void)sigemptyset(&set);
    ck_assert_int_eq(outcome(given(mask, &set), NULL, NULL), FJ_OK);
    ck_assert_int_eq(sigismember(&set, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&set, SIGCHLD), 1);
    ck_assert_int_eq(sigismember(&set, SIGUSR1), 1);
}
END_TEST

static void *stops(void *user)
{
    fj__pool_stop();
    return user;
}

START_TEST(stopping_cancels_what_has_not_begun_and_waits_for_what_has)
{
    pthread_t stopper;

    fj_thread_pool_size(1);
    fj_future *running = given(gated, NULL), *waiting = given(noted, "no");
    await_count(&begun, 1);
    ck_assert_int_eq(pthread_create(&stopper, NULL, stops, NULL), 0);
    await_count(&freed, 1);
    ck_assert(!fj_future_done(running));
    open_gate();
    ck_assert_int_eq(pthread_join(stopper, NULL), 0);
    ck_assert_uint_eq(fj__pool_threads(NULL), 0);
    ck_assert_uint_eq(atomic_load(&freed), 2);
    ck_assert_int_eq(outcome(running, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(waiting, NULL, NULL), FJ_CANCELLED);
    ck_assert_int_eq(outcome(given(noted, "again"), NULL, NULL), FJ_OK);
    ck_assert_str_eq(order, "again");
}
END_TEST

/* The child of the test below makes threads, which ThreadSanitizer must be told to allow after a fork. */
FJ_API const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

/* ---- processes ----------------------------------------------------------------------------------- */

static int status_of(pid_t child)
{
    int status = -1;

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The parent's jobs.  The threads that would let go of them are not in the child, where they are never freed therefore;
 * from here a leak checker finds them. */
static fj_future *running, *queued;

/* @return what the child ends with: 0, or which expectation did not hold */
static int in_child(void)
{
    json_t *result = NULL;

    if (fj__pool_threads(NULL) != 0)
        return 1;
    if (fj_future_wait(running, fj_never(), NULL, NULL) != FJ_FORKED)
        return 2;
    if (fj_future_cancel(queued) || fj_future_done(queued))
        return 3;
    open_gate();
    if (outcome(given(gated, "child"), &result, NULL) != FJ_OK)
        return 4;
    return strcmp(json_string_value(result), "child") == 0 ? 0 : 5;
}

START_TEST(the_child_of_a_fork_begins_with_an_empty_pool)
{
    fj_thread_pool_size(1);
    running = given(gated, NULL);
    queued = given(noted, "parent");
    await_count(&begun, 1);
    pid_t child = fork();
    if (child == 0)
        _exit(in_child());
    ck_assert_int_eq(status_of(child), 0);
    open_gate();
    ck_assert_int_eq(outcome(running, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(queued, NULL, NULL), FJ_OK);
    ck_assert_str_eq(order, "parent");
}
END_TEST

START_TEST(a_process_ends_although_a_job_never_does)
{
    pid_t child = fork();

    if (child == 0) {
        fj_future *done, *never;
        open_gate();
        done = given(gated, NULL);
        if (outcome(done, NULL, NULL) != FJ_OK)
            _exit(1);
        atomic_store(&gate, false);
        never = given(gated, NULL);
        await_count(&begun, 2);
        fj_future_unref(never);
        exit(0);
    }
    ck_assert_int_eq(status_of(child), 0);
}
END_TEST

/* ---- trouble ------------------------------------------------------------------------------------- */

START_TEST(a_job_there_is_no_memory_for_is_refused_and_stays_the_callers)
{
    unsigned failed = 0;

    open_gate();
    for (unsigned long nth = 1;; nth++) {
        fj_future *future = NULL;
        fj_error *err = NULL;
        (void)fj__alloc_fail(nth, false);
        fj_code code = fj_run_in_executor(noted, "", on_freed, &future, &err);
        if (code == FJ_OK) {
            (void)outcome(future, NULL, NULL);
            (void)fj__alloc_fail(0, false);
            break;
        }
        (void)fj__alloc_fail(0, false);
        ck_assert_int_eq(code, FJ_NOMEM);
        ck_assert_ptr_null(future);
        ck_assert_uint_eq(atomic_load(&freed), 0);
        fj_error_free(err);
        failed++;
    }
    ck_assert_uint_eq(failed, 3); /* the job, its future, the thread */
}
END_TEST

/* No thread can have a stack of so many bytes; 0: as before. */
static void set_stack_size(size_t size)
{
    static pthread_attr_t before;
    pthread_attr_t now;

    if (size == 0) {
        ck_assert_int_eq(pthread_setattr_default_np(&before), 0);
        return;
    }
    ck_assert_int_eq(pthread_getattr_default_np(&before), 0);
    ck_assert_int_eq(pthread_attr_init(&now), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&now, size), 0);
    ck_assert_int_eq(pthread_setattr_default_np(&now), 0);
    (void)pthread_attr_destroy(&now);
}

START_TEST(when_no_thread_can_be_made_those_there_must_do_and_without_any_a_job_is_refused)
{
    fj_future *future = NULL;
    fj_error *err = NULL;

    set_stack_size((size_t)1 << 46);
    ck_assert_int_eq(fj_run_in_executor(noted, "no", on_freed, &future, &err), FJ_SYSTEM);
    ck_assert_ptr_null(future);
    ck_assert_uint_eq(atomic_load(&freed), 0);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "no thread"));
    fj_error_free(err);
    set_stack_size(0);

    fj_future *first = given(gated, NULL);
    await_count(&begun, 1);
    set_stack_size((size_t)1 << 46);
    fj_future *second = given(noted, "later");
    ck_assert_uint_eq(fj__pool_threads(NULL), 1);
    set_stack_size(0);
    open_gate();
    ck_assert_int_eq(outcome(second, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(first, NULL, NULL), FJ_OK);
    ck_assert_str_eq(order, "later");
}
END_TEST

static void notes_thread(fj_future *future, void *user)
{
    (void)future;
    *(pthread_t *)user = pthread_self();
}

START_TEST(a_future_completes_on_the_pools_thread)
{
    pthread_t there, completed_by = pthread_self();
    fj_future *future = given(gated, NULL);

    fj_thread_pool_size(1);
    ck_assert_int_eq(fj_future_then(future, notes_thread, &completed_by), FJ_OK);
    open_gate();
    ck_assert_int_eq(outcome(future, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(given(where, &there), NULL, NULL), FJ_OK);
    ck_assert(pthread_equal(there, completed_by));
}
END_TEST

START_TEST(a_transport_sets_the_size_that_its_configuration_gives)
{
    fj_error *err = NULL;
    fj_transport *transport = NULL;
    fj_conf *conf = fj_conf_new();

    fj_thread_pool_size(2);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, &err), FJ_OK);
    fj_transport_free(transport);
    fj_future *first = given(gated, NULL), *second = given(gated, NULL), *third = given(gated, NULL);
    await_count(&begun, 2);
    ck_assert_uint_eq(fj__pool_threads(NULL), 2); /* the default is not a wish */

    ck_assert_int_eq(fj_conf_set(conf, "fjord", "thread_pool_size", "3", &err), FJ_OK);
    ck_assert_int_eq(fj_transport_open(conf, "fake://", &transport, &err), FJ_OK);
    fj_transport_free(transport);
    fj_future *fourth = given(gated, NULL);
    await_count(&begun, 3);
    ck_assert_uint_eq(fj__pool_threads(NULL), 3);
    open_gate();
    ck_assert_int_eq(outcome(first, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(second, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(third, NULL, NULL), FJ_OK);
    ck_assert_int_eq(outcome(fourth, NULL, NULL), FJ_OK);
    fj_conf_free(conf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tests = tcase_create("pool");

    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, reset, tidy);
    tcase_add_test(tests, a_function_runs_on_another_thread_and_its_result_is_the_futures);
    tcase_add_test(tests, a_function_without_a_result_answers_null_and_runs_on_a_thread_of_the_pool);
    tcase_add_test(tests, what_a_function_fails_with_is_the_futures_error);
    tcase_add_test(tests, an_error_that_a_function_overcame_is_dropped);
    tcase_add_test(tests, jobs_begin_in_the_order_of_the_calls);
    tcase_add_test(tests, threads_are_made_when_needed_and_no_more_than_the_size);
    tcase_add_test(tests, a_thread_without_a_job_takes_the_next);
    tcase_add_test(tests, the_pool_has_twenty_threads_at_most_unless_told);
    tcase_add_test(tests, a_job_cancelled_before_it_began_never_runs);
    tcase_add_test(tests, a_job_whose_cancellation_is_under_way_does_not_run);
    tcase_add_test(tests, a_job_that_began_runs_to_its_end_and_its_late_result_is_dropped);
    tcase_add_test(tests, a_job_nobody_holds_the_future_of_runs_all_the_same);
    tcase_add_test(tests, a_thread_that_has_nothing_to_do_ends_and_another_is_made_when_needed);
    tcase_add_test(tests, threads_above_a_smaller_size_end_with_the_jobs_they_have);
    tcase_add_test(tests, no_signal_is_delivered_to_the_pools_threads);
    tcase_add_test(tests, stopping_cancels_what_has_not_begun_and_waits_for_what_has);
    tcase_add_test(tests, the_child_of_a_fork_begins_with_an_empty_pool);
    tcase_add_test(tests, a_process_ends_although_a_job_never_does);
    tcase_add_test(tests, a_job_there_is_no_memory_for_is_refused_and_stays_the_callers);
    tcase_add_test(tests, when_no_thread_can_be_made_those_there_must_do_and_without_any_a_job_is_refused);
    tcase_add_test(tests, a_future_completes_on_the_pools_thread);
    tcase_add_test(tests, a_transport_sets_the_size_that_its_configuration_gives);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
