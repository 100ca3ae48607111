/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: the order of a turn, time, running, stopping, jobs, what threads have to do with it. */
#include "base/alloc.h"
#include "runtime/clock.h"
#include "runtime/loop.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static fj_loop *loop;
static char heard[64];

static void make_loop(void)
{
    /* Time passes only where a test sleeps: on a busy machine too a turn runs all that is ready. */
    fj__clock_set_fake(1);
    fj__clock_set_auto(true);
    ck_assert_int_eq(fj_loop_new(&loop, NULL), FJ_OK);
    heard[0] = 0;
}

static void free_loop(void)
{
    loop = fj_loop_free(loop);
    ck_assert_ptr_null(loop);
}

static void say(const char *word)
{
    strncat(heard, word, sizeof heard - strlen(heard) - 1);
}

static void on_say(fj_loop *l, void *user)
{
    (void)l;
    say(user);
}

static void on_stop(fj_loop *l, void *user)
{
    (void)user;
    fj_loop_stop(l);
}

static void soon(fj_loop_fn fn, void *user)
{
    ck_assert_int_eq(fj_loop_call_soon(loop, fn, user, NULL, NULL), FJ_OK);
}

static void one_turn(void)
{
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(0), NULL), FJ_OK);
}

static void run(void)
{
    ck_assert_int_eq(fj_loop_run_forever(loop, NULL), FJ_OK);
}

/* ---- call-backs ---- */

START_TEST(call_backs_run_in_the_order_of_the_calls)
{
    soon(on_say, "a");
    soon(on_say, "b");
    soon(on_say, "c");
    one_turn();
    ck_assert_str_eq(heard, "abc");
}
END_TEST

static void on_say_and_again(fj_loop *l, void *user)
{
    say(user);
    ck_assert_int_eq(fj_loop_call_soon(l, on_say, "again", NULL, NULL), FJ_OK);
}

START_TEST(what_a_call_back_calls_soon_runs_in_the_next_turn)
{
    soon(on_say_and_again, "first ");
    one_turn();
    ck_assert_str_eq(heard, "first ");
    one_turn();
    ck_assert_str_eq(heard, "first again");
}
END_TEST

START_TEST(a_cancelled_call_back_does_not_run)
{
    fj_handle *a = NULL, *b = NULL;

    ck_assert_int_eq(fj_loop_call_soon(loop, on_say, "a", NULL, &a), FJ_OK);
    ck_assert_int_eq(fj_loop_call_at(loop, fj_in_ms(0), on_say, "b", NULL, &b), FJ_OK);
    soon(on_say, "c");
    fj_handle_cancel(a);
    fj_handle_cancel(b);
    fj_handle_cancel(b);
    one_turn();
    ck_assert_str_eq(heard, "c");
    ck_assert_ptr_null(fj_handle_unref(a));
    ck_assert_ptr_null(fj_handle_unref(b));
}
END_TEST

START_TEST(cancelling_after_the_run_or_the_loop_is_nothing)
{
    fj_handle *ran = NULL, *dropped = NULL;

    ck_assert_int_eq(fj_loop_call_soon(loop, on_say, "a", NULL, &ran), FJ_OK);
    one_turn();
    fj_handle_cancel(ran);
    ck_assert_int_eq(fj_loop_call_later(loop, 1e6, on_say, "b", NULL, &dropped), FJ_OK);
    free_loop();
    fj_handle_cancel(ran);
    fj_handle_cancel(dropped);
    fj_handle_unref(ran);
    fj_handle_unref(dropped);
    ck_assert_str_eq(heard, "a");
}
END_TEST

/* ---- time ---- */

START_TEST(timers_run_in_the_order_of_their_deadlines_and_in_no_time)
{
    struct timespec before, after;

    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    fj__clock_set_fake(1000);
    ck_assert_int_eq(fj_loop_call_later(loop, 3600, on_stop, NULL, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(loop, 60, on_say, "b", NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(loop, 1, on_say, "a", NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(loop, 60, on_say, "c", NULL, NULL), FJ_OK);
    run();
    ck_assert_str_eq(heard, "abc");
    ck_assert_int_eq(fj_now().ns, 1000 + INT64_C(3600000000000));
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_int_lt(after.tv_sec - before.tv_sec, 3600);
}
END_TEST

START_TEST(a_turn_with_nothing_to_do_answers_timeout_at_its_deadline)
{
    fj__clock_set_fake(5);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(70), NULL), FJ_TIMEOUT);
    ck_assert_int_eq(fj_now().ns, 70000005);
}
END_TEST

START_TEST(a_turn_that_has_run_what_was_ready_does_not_sleep)
{
    fj__clock_set_fake(1000000000);
    fj__clock_set_auto(true);
    soon(on_say, "a");
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(70), NULL), FJ_OK);
    ck_assert_str_eq(heard, "a");
    ck_assert_int_eq(fj_now().ns, 1000000000);
}
END_TEST

START_TEST(a_turn_does_what_is_due_at_its_very_deadline)
{
    fj__clock_set_fake(5);
    ck_assert_int_eq(fj_loop_call_at(loop, fj_in_ms(70), on_say, "due", NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(70), NULL), FJ_OK);
    ck_assert_str_eq(heard, "due");
}
END_TEST

START_TEST(a_real_clock_is_waited_for)
{
    fj__clock_set_fake(-1);
    fj_deadline at = fj_in_ms(20);

    ck_assert_int_eq(fj_loop_call_at(loop, at, on_stop, NULL, NULL, NULL), FJ_OK);
    run();
    ck_assert_int_ge(fj_now().ns, at.ns);
}
END_TEST

/* ---- running and stopping ---- */

START_TEST(stopping_before_the_run_lets_it_do_one_turn)
{
    soon(on_say_and_again, "a ");
    fj_loop_stop(loop);
    run();
    ck_assert_str_eq(heard, "a ");
    fj_loop_stop(loop);
    run();
    ck_assert_str_eq(heard, "a again");
}
END_TEST

static void on_signal(int number)
{
    (void)number;
    fj_loop_stop(loop);
}

START_TEST(a_signal_handler_may_stop_the_loop)
{
    struct sigaction action = { .sa_handler = on_signal };
    struct itimerval soon_after = { .it_value = { .tv_usec = 1000 } };

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon_after, NULL), 0);
    run();
    ck_assert(!fj_loop_is_running(loop));
}
END_TEST

static void on_check_running(fj_loop *l, void *user)
{
    fj_loop *other = NULL;

    ck_assert(fj_loop_is_running(l));
    ck_assert_ptr_eq(fj_loop_running(), l);
    ck_assert_int_eq(fj_loop_run_forever(l, NULL), FJ_STATE);
    ck_assert_int_eq(fj_loop_turn(l, fj_in_ms(0), NULL), FJ_STATE);
    ck_assert_int_eq(fj_loop_new(&other, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_forever(other, NULL), FJ_STATE);
    fj_loop_free(other);
    say(user);
}

START_TEST(one_loop_runs_on_a_thread_and_only_once)
{
    soon(on_check_running, "seen");
    one_turn();
    ck_assert_str_eq(heard, "seen");
    ck_assert_ptr_null(fj_loop_running());
    ck_assert(!fj_loop_is_running(loop));
}
END_TEST

static void on_free_self(fj_loop *l, void *user)
{
    (void)user;
    fj_loop_free(l);
}

static void on_trouble(fj_loop *l, const char *what, const fj_error *error, void *user)
{
    (void)l;
    (void)what;
    say(error != NULL ? fj_code_name(fj_error_code(error)) : user);
}

START_TEST(a_loop_that_runs_is_not_freed)
{
    fj_loop_set_trouble_handler(loop, on_trouble, "trouble");
    soon(on_free_self, NULL);
    one_turn();
    ck_assert_str_eq(heard, "trouble");
}
END_TEST

/* ---- futures ---- */

static void on_resolve(fj_loop *l, void *user)
{
    (void)l;
    ck_assert(fj_future_resolve(user, json_integer(7)));
}

START_TEST(a_loop_runs_until_a_future_is_complete)
{
    fj_future *f = NULL;
    json_t *result = NULL;

    ck_assert_int_eq(fj_future_new(NULL, NULL, &f), FJ_OK);
    ck_assert_int_eq(fj_loop_call_later(loop, 0.001, on_resolve, f, NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, f, &result, NULL), FJ_OK);
    ck_assert_int_eq(json_integer_value(result), 7);
    json_decref(result);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, f, NULL, NULL), FJ_OK);
    fj_future_unref(f);
}
END_TEST

static void *resolve_there(void *f)
{
    ck_assert(fj_future_resolve(f, NULL));
    return NULL;
}

START_TEST(another_thread_may_complete_the_future)
{
    for (int i = 0; i < 200; i++) {
        fj_future *f = NULL;
        pthread_t thread;

        ck_assert_int_eq(fj_future_new(NULL, NULL, &f), FJ_OK);
        ck_assert_int_eq(pthread_create(&thread, NULL, resolve_there, f), 0);
        ck_assert_int_eq(fj_loop_run_until_complete(loop, f, NULL, NULL), FJ_OK);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        fj_future_unref(f);
    }
}
END_TEST

START_TEST(a_loop_stopped_before_its_future_says_so_and_forgets_it)
{
    fj_future *f = NULL;
    fj_error *err = NULL;

    ck_assert_int_eq(fj_future_new(NULL, NULL, &f), FJ_OK);
    soon(on_stop, NULL);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, f, NULL, &err), FJ_STATE);
    ck_assert_int_eq(fj_error_code(err), FJ_STATE);
    fj_error_free(err);
    free_loop();
    ck_assert(fj_future_resolve(f, NULL));
    fj_future_unref(f);
}
END_TEST

START_TEST(the_futures_failure_is_the_runs)
{
    fj_future *f = NULL;
    fj_error *err = NULL, *got = NULL;

    (void)fj_fail(&err, FJ_TOO_BIG, "much too big");
    ck_assert_int_eq(fj_future_new(NULL, NULL, &f), FJ_OK);
    ck_assert(fj_future_reject(f, err));
    ck_assert_int_eq(fj_loop_run_until_complete(loop, f, NULL, &got), FJ_TOO_BIG);
    ck_assert_str_eq(fj_error_text(got), "much too big");
    fj_error_free(got);
    fj_future_unref(f);
}
END_TEST

/* ---- jobs ---- */

static unsigned runs;
static fj__job busy;

static void run_again(fj__job *job)
{
    runs++;
    fj__loop_push(loop, job);
}

static void on_readable(fj_loop *l, int fd, void *user)
{
    char c;

    ck_assert_int_eq(read(fd, &c, 1), 1);
    say(user);
    fj_loop_stop(l);
}

START_TEST(a_job_that_pushes_itself_starves_no_descriptor)
{
    int ends[2];

    busy = (fj__job){ .run = run_again };
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_readable, "read", NULL), FJ_OK);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    fj__loop_push(loop, &busy);
    run();
    ck_assert_str_eq(heard, "read");
    ck_assert_uint_le(runs, 2 * 128);
    ck_assert_uint_ge(runs, 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

START_TEST(a_turn_does_not_run_more_jobs_than_its_budget)
{
    static fj__job jobs[300];

    for (size_t i = 0; i < 300; i++) {
        jobs[i].run = run_again;
        fj__loop_push(loop, &jobs[i]);
    }
    one_turn();
    ck_assert_uint_le(runs, 128);
    while (runs < 300)
        one_turn();
    for (size_t i = 0; i < 300; i++)
        fj__loop_pull(loop, &jobs[i]);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(0), NULL), FJ_TIMEOUT);
}
END_TEST

static fj__job pulled, puller;

static void pull_the_other(fj__job *job)
{
    (void)job;
    fj__loop_pull(loop, &pulled);
    fj__loop_pull(loop, &pulled);
}

START_TEST(a_job_pulled_by_one_of_the_same_turn_does_not_run)
{
    pulled = (fj__job){ .run = run_again };
    puller = (fj__job){ .run = pull_the_other };
    fj__loop_push(loop, &puller);
    fj__loop_push(loop, &pulled);
    fj__loop_push(loop, &pulled);
    one_turn();
    ck_assert_uint_eq(runs, 0);
    ck_assert(!pulled.queued);
}
END_TEST

static unsigned last_of(void *user, unsigned n)
{
    (void)user;
    return n - 1;
}

START_TEST(a_chooser_decides_which_job_is_next_also_of_those_that_came_since)
{
    fj__loop_set_chooser(loop, last_of, NULL);
    soon(on_say, "a");
    soon(on_say_and_again, "b");
    one_turn(); /* of one job */
    ck_assert_str_eq(heard, "b");
    one_turn();
    ck_assert_str_eq(heard, "bagain");
    soon(on_say, "c");
    fj__loop_set_chooser(loop, NULL, NULL);
    one_turn();
    ck_assert_str_eq(heard, "bagainac");
}
END_TEST

/* ---- what is kept ---- */

static const char key_a, key_b;

static void on_freed(void *value)
{
    say(value);
    if (fj__loop_kept(loop, &key_b) != NULL)
        say("+b ");
}

static void on_late(void *value)
{
    *(fj_code *)value = fj_loop_call_soon_threadsafe(loop, on_say, "late", NULL);
}

static bool on_ending(fj_loop *l)
{
    ck_assert_int_eq(fj_loop_call_soon(l, on_say, "turned ", NULL, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_turn(l, fj_in_ms(0), NULL), FJ_OK);
    return true;
}

START_TEST(a_loop_that_is_being_freed_takes_no_calls_of_others)
{
    fj_code code = FJ_OK;

    ck_assert_int_eq(fj_loop_call_soon_threadsafe(loop, on_say, "early", NULL), FJ_OK);
    ck_assert_int_eq(fj__loop_keep(loop, &key_a, &code, on_late), FJ_OK);
    free_loop();
    ck_assert_int_eq(code, FJ_CLOSED);
    ck_assert_str_eq(heard, "");
}
END_TEST

START_TEST(freeing_ends_first_and_then_frees_what_is_kept_in_order)
{
    ck_assert_int_eq(fj__loop_keep(loop, &key_a, "a", on_freed), FJ_OK);
    ck_assert_int_eq(fj__loop_keep(loop, &key_b, "b", on_freed), FJ_OK);
    ck_assert_int_eq(fj__loop_keep(loop, &key_a, "c", on_freed), FJ_STATE);
    ck_assert_str_eq(fj__loop_kept(loop, &key_a), "a");
    ck_assert_ptr_null(fj__loop_kept(loop, heard));
    fj__loop_set_ending(loop, on_ending);
    free_loop();
    ck_assert_str_eq(heard, "turned a+b b+b ");
}
END_TEST

/* ---- memory ---- */

START_TEST(every_allocation_may_fail)
{
    int ends[2];
    fj_future *f = NULL;
    fj_source source = { 0 };
    fj_loop *other = NULL;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fj_future_new(NULL, NULL, &f), FJ_OK);
    (void)fj__alloc_fail(1, true);
    ck_assert_int_eq(fj_loop_new(&other, NULL), FJ_NOMEM);
    ck_assert_int_eq(fj_loop_call_soon(loop, on_say, "x", NULL, NULL), FJ_NOMEM);
    ck_assert_int_eq(fj_loop_call_later(loop, 0, on_say, "x", NULL, NULL), FJ_NOMEM);
    ck_assert_int_eq(fj_loop_call_soon_threadsafe(loop, on_say, "x", NULL), FJ_NOMEM);
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_readable, NULL, NULL), FJ_NOMEM);
    ck_assert_int_eq(fj_loop_add_signal(loop, SIGUSR1, NULL, NULL, NULL), FJ_NOMEM);
    ck_assert_int_eq(fj_loop_attach(loop, &source, NULL), FJ_NOMEM);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, f, NULL, NULL), FJ_NOMEM);
    ck_assert_int_eq(fj__loop_keep(loop, &key_a, "a", NULL), FJ_NOMEM);
    (void)fj__alloc_fail(2, false);
    ck_assert_int_eq(fj_loop_call_later(loop, 0, on_say, "x", NULL, NULL), FJ_NOMEM);
    (void)fj__alloc_fail(2, false);
    ck_assert_int_eq(fj_loop_add_reader(loop, ends[0], on_readable, NULL, NULL), FJ_NOMEM);
    (void)fj__alloc_fail(2, false);
    ck_assert_int_eq(fj_loop_run_until_complete(loop, f, NULL, NULL), FJ_NOMEM);
    (void)fj__alloc_fail(0, false);
    ck_assert_int_eq(fj_loop_turn(loop, fj_in_ms(0), NULL), FJ_TIMEOUT);
    fj_future_unref(f);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

/* ---- threads and their loops ---- */

static fj_code make_known(void *user, fj_loop **ret, fj_error **err)
{
    (*(int *)user)++;
    return fj_loop_new(ret, err);
}

static void *ask_current(void *counted)
{
    fj_loop *a = NULL, *b = NULL;

    (void)counted;
    ck_assert_int_eq(fj_loop_current(&a, NULL), FJ_OK);
    ck_assert_int_eq(fj_loop_current(&b, NULL), FJ_OK);
    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, loop);
    return NULL;
}

START_TEST(the_policy_makes_one_loop_for_a_thread_and_its_end_frees_it)
{
    int made = 0;
    fj_loop_policy policy = { sizeof policy, make_known, &made };
    pthread_t thread;

    fj_loop_policy_set(&policy);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, ask_current, &made), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(made, i);
    }
    fj_loop_policy_set(NULL);
}
END_TEST

static void on_ask_current(fj_loop *l, void *user)
{
    fj_loop *now = NULL;

    ck_assert_int_eq(fj_loop_current(&now, NULL), FJ_OK);
    ck_assert_ptr_eq(now, l);
    ck_assert_ptr_eq(fj__loop_domain(), user);
}

START_TEST(the_current_loop_is_the_running_one_then_the_one_set_then_the_policys)
{
    fj_loop *set = NULL, *now = NULL;

    ck_assert_int_eq(fj_loop_new(&set, NULL), FJ_OK);
    fj_loop_set_current(set);
    soon(on_ask_current, loop);
    one_turn();
    fj__loop_set_private(loop, true);
    soon(on_ask_current, NULL);
    one_turn();
    ck_assert_ptr_null(fj__loop_domain());
    ck_assert_int_eq(fj_loop_current(&now, NULL), FJ_OK);
    ck_assert_ptr_eq(now, set);
    fj_loop_free(set);
    ck_assert_int_eq(fj_loop_current(&now, NULL), FJ_OK);
    ck_assert_ptr_ne(now, loop);
    fj_loop_free(now);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("loop");
    TCase *t = tcase_create("loop");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, make_loop, free_loop);
    tcase_add_test(t, call_backs_run_in_the_order_of_the_calls);
    tcase_add_test(t, what_a_call_back_calls_soon_runs_in_the_next_turn);
    tcase_add_test(t, a_cancelled_call_back_does_not_run);
    tcase_add_test(t, cancelling_after_the_run_or_the_loop_is_nothing);
    tcase_add_test(t, timers_run_in_the_order_of_their_deadlines_and_in_no_time);
    tcase_add_test(t, a_turn_with_nothing_to_do_answers_timeout_at_its_deadline);
    tcase_add_test(t, a_turn_that_has_run_what_was_ready_does_not_sleep);
    tcase_add_test(t, a_turn_does_what_is_due_at_its_very_deadline);
    tcase_add_test(t, a_real_clock_is_waited_for);
    tcase_add_test(t, stopping_before_the_run_lets_it_do_one_turn);
    tcase_add_test(t, a_signal_handler_may_stop_the_loop);
    tcase_add_test(t, one_loop_runs_on_a_thread_and_only_once);
    tcase_add_test(t, a_loop_that_runs_is_not_freed);
    tcase_add_test(t, a_loop_runs_until_a_future_is_complete);
    tcase_add_test(t, another_thread_may_complete_the_future);
    tcase_add_test(t, a_loop_stopped_before_its_future_says_so_and_forgets_it);
    tcase_add_test(t, the_futures_failure_is_the_runs);
    tcase_add_test(t, a_job_that_pushes_itself_starves_no_descriptor);
    tcase_add_test(t, a_turn_does_not_run_more_jobs_than_its_budget);
    tcase_add_test(t, a_job_pulled_by_one_of_the_same_turn_does_not_run);
    tcase_add_test(t, a_chooser_decides_which_job_is_next_also_of_those_that_came_since);
    tcase_add_test(t, a_loop_that_is_being_freed_takes_no_calls_of_others);
    tcase_add_test(t, freeing_ends_first_and_then_frees_what_is_kept_in_order);
    tcase_add_test(t, every_allocation_may_fail);
    tcase_add_test(t, the_policy_makes_one_loop_for_a_thread_and_its_end_frees_it);
    tcase_add_test(t, the_current_loop_is_the_running_one_then_the_one_set_then_the_policys);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
