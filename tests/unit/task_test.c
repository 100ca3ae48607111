/* SPDX-License-Identifier: Apache-2.0 */
/* <fjord/task.h>, sentence by sentence. */
#include "base/alloc.h"
#include "runtime/loop.h"
#include "runtime/task.h"
#include "tests/support/rt.h"
#include "tests/support/valgrind.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what tasks do ----------------------------------------------------------------------------- */

static fj_code nothing(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return FJ_OK;
}

static fj_code count(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    ++*(int *)user;
    return FJ_OK;
}

static fj_code seven(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)err;
    *ret = json_integer(7);
    return FJ_OK;
}

static fj_code lack(void *user, json_t **ret, fj_error **err)
{
    *ret = json_string("of no use");
    return fj_fail(err, FJ_NOT_FOUND, "no %s", (const char *)user);
}

static fj_code fail_bare(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return FJ_ACCESS;
}

static fj_code sleep_second(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return fj_sleep(fj_in_ms(1000));
}

static fj_code sleep_long(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    fj_code code = fj_sleep(fj_never());
    if (user != NULL)
        *(fj_code *)user = code;
    return code;
}

static void count_freed(void *user)
{
    ++*(int *)user;
}

/* ---- spawning ---------------------------------------------------------------------------------- */

START_TEST(a_task_begins_in_the_loops_next_turn)
{
    int ran = 0;
    fj_task *task = rt_spawn(count, &ran, NULL);

    ck_assert_int_eq(ran, 0);
    ck_assert(!fj_future_done(fj_task_future(task)));
    rt_settle();
    ck_assert_int_eq(ran, 1);
    ck_assert(fj_future_done(fj_task_future(task)));
    rt_code(rt_join(task), OK);
}
END_TEST

static fj_code append(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    (void)strcat(user, fj_task_name(fj_task_current()));
    return FJ_OK;
}

START_TEST(tasks_run_in_the_order_they_were_spawned)
{
    char order[8] = "";

    for (const char *const *name = (const char *const[]){ "a", "b", "c", NULL }; *name != NULL; name++)
        (void)fj_task_unref(rt_spawn(append, order, *name));
    rt_settle();
    ck_assert_str_eq(order, "abc");
}
END_TEST

START_TEST(the_result_is_the_functions)
{
    json_t *result = NULL;
    fj_task *task = rt_spawn(seven, NULL, NULL);

    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(task), &result, NULL), OK);
    ck_assert_int_eq(json_integer_value(result), 7);
    json_decref(result);
    (void)fj_task_unref(task);
}
END_TEST

START_TEST(a_result_left_null_is_json_null)
{
    json_t *result = NULL;
    fj_task *task = rt_spawn(nothing, NULL, NULL);

    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(task), &result, NULL), OK);
    ck_assert(json_is_null(result));
    json_decref(result);
    (void)fj_task_unref(task);
}
END_TEST

START_TEST(an_error_is_the_functions_and_its_result_is_dropped)
{
    json_t *result = NULL;
    fj_error *err = NULL;
    fj_task *task = rt_spawn(lack, (void *)"bread", NULL);

    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(task), &result, &err), NOT_FOUND);
    ck_assert_ptr_null(result);
    ck_assert_str_eq(fj_error_text(err), "no bread");
    fj_error_free(err);
    (void)fj_task_unref(task);
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

START_TEST(an_error_without_details_names_the_task)
{
    fj_error *err = NULL;
    fj_task *task = rt_spawn(fail_bare, NULL, "porter");

    rt_code(fj_loop_run_until_complete(rt_loop, fj_task_future(task), NULL, &err), ACCESS);
    ck_assert_ptr_nonnull(strstr(fj_error_text(err), "porter"));
    fj_error_free(err);
    (void)fj_task_unref(task);
}
END_TEST

START_TEST(the_name_is_copied_and_is_task_by_default)
{
    char name[] = "a name";
    fj_task *named = rt_spawn(nothing, NULL, name);
    fj_task *plain = rt_spawn(nothing, NULL, NULL);

    memset(name, 'x', sizeof name - 1);
    ck_assert_str_eq(fj_task_name(named), "a name");
    ck_assert_str_eq(fj_task_name(plain), "task");
    ck_assert_ptr_eq(fj_task_loop(named), rt_loop);
    rt_code(rt_join(named), OK);
    rt_code(rt_join(plain), OK);
}
END_TEST

START_TEST(a_task_spawned_for_later_begins_at_its_time)
{
    int ran = 0;
    fj_task *task = NULL;

    rt_code(fj_task_spawn_after(fj_in_ms(300), count, &ran, NULL, &task, NULL), OK);
    rt_settle();
    ck_assert_int_eq(ran, 0);
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(ran, 1);
    ck_assert_int_eq(rt_ms(), 300);
}
END_TEST

START_TEST(cancelled_before_its_time_it_never_begins)
{
    int ran = 0, freed_with = 0;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.freed = count_freed;
    (void)ran;
    rt_code(fj_task_spawn_after(fj_in_ms(300), count, &freed_with, &opts, &task, NULL), OK);
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), CANCELLED);
    ck_assert_int_eq(freed_with, 1); /* by freed: the function would have counted, too */
    ck_assert_int_eq(rt_ms(), 0);
}
END_TEST

START_TEST(cancelled_before_its_first_turn_it_never_begins)
{
    int ran = 0;
    fj_task *task = rt_spawn(count, &ran, NULL);

    ck_assert(fj_future_cancel(fj_task_future(task)));
    rt_code(rt_join(task), CANCELLED);
    ck_assert_int_eq(ran, 0);
}
END_TEST

static void *spawn_from_here(void *arg)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;
    int ran = 0;

    opts.loop = arg;
    for (int i = 0; i < 200; i++) {
        rt_code(fj_task_spawn_threadsafe(count, &ran, &opts, &task, NULL), OK);
        rt_code(fj_future_wait(fj_task_future(task), fj_never(), NULL, NULL), OK);
        (void)fj_task_unref(task);
        ck_assert_int_eq(ran, i + 1);
    }
    fj_loop_stop(arg);
    return NULL;
}

START_TEST(another_thread_spawns_and_waits)
{
    pthread_t other;

    ck_assert_int_eq(pthread_create(&other, NULL, spawn_from_here, rt_loop), 0);
    rt_code(fj_loop_run_forever(rt_loop, NULL), OK);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
}
END_TEST

START_TEST(another_thread_must_name_the_loop)
{
    rt_code(fj_task_spawn_threadsafe(nothing, NULL, NULL, NULL, NULL), BAD_VALUE);
}
END_TEST

START_TEST(a_task_posted_to_a_loop_that_is_freed_never_begins)
{
    int ran = 0;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = rt_loop;
    rt_code(fj_task_spawn_threadsafe(count, &ran, &opts, &task, NULL), OK);
    rt_loop = fj_loop_free(rt_loop);
    rt_code(fj_future_result(fj_task_future(task), NULL, NULL), CANCELLED);
    ck_assert(!fj_task_cancel(task));
    ck_assert_int_eq(ran, 0);
    (void)fj_task_unref(task);
}
END_TEST

START_TEST(a_loop_that_was_freed_takes_no_task)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = fj__loop_ref(rt_loop);
    rt_loop = fj_loop_free(rt_loop);
    rt_code(fj_task_spawn_threadsafe(nothing, NULL, &opts, &task, NULL), CLOSED);
    ck_assert_ptr_null(task);
    fj__loop_unref(opts.loop);
}
END_TEST

/* ---- references and reports -------------------------------------------------------------------- */

START_TEST(the_task_goes_on_without_references)
{
    int ran = 0;

    (void)fj_task_unref(rt_spawn(count, &ran, NULL));
    ck_assert_ptr_null(fj_task_unref(NULL));
    rt_settle();
    ck_assert_int_eq(ran, 1);
}
END_TEST

START_TEST(a_reference_to_the_future_keeps_the_task)
{
    fj_task *task = rt_spawn(seven, NULL, "kept");
    fj_future *f = fj_future_ref(fj_task_future(task));
    json_t *result = NULL;

    (void)fj_task_unref(task);
    rt_settle();
    ck_assert_str_eq(fj_task_name(task), "kept");
    rt_code(fj_future_result(f, &result, NULL), OK);
    ck_assert_int_eq(json_integer_value(result), 7);
    json_decref(result);
    (void)fj_future_unref(f);
}
END_TEST

START_TEST(an_error_of_a_task_on_its_own_is_reported)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    opts.name = "loner";
    rt_code(fj_task_spawn(lack, (void *)"milk", &opts, NULL, NULL), OK);
    rt_settle();
    ck_assert_uint_eq(rt_troubles, 1);
    ck_assert_str_eq(rt_trouble, "an error of task \"loner\" was never retrieved: no milk");
}
END_TEST

START_TEST(an_error_nobody_asked_for_is_reported_with_the_last_reference)
{
    fj_task *task = rt_spawn(lack, (void *)"milk", NULL);

    rt_settle();
    ck_assert_uint_eq(rt_troubles, 0);
    (void)fj_task_unref(task);
    ck_assert_uint_eq(rt_troubles, 1);
}
END_TEST

START_TEST(that_a_task_was_cancelled_is_not_reported)
{
    fj_task *task = rt_spawn(sleep_long, NULL, NULL);

    rt_settle();
    ck_assert(fj_task_cancel(task));
    (void)fj_task_unref(task);
    rt_settle();
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

START_TEST(an_error_outlives_its_loop)
{
    fj_task *task = rt_spawn(lack, (void *)"milk", NULL);

    rt_settle();
    rt_loop = fj_loop_free(rt_loop);
    rt_code(fj_future_result(fj_task_future(task), NULL, NULL), NOT_FOUND);
    (void)fj_task_unref(task);
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

START_TEST(freed_is_called_once_when_the_task_has_ended)
{
    int counted = 0;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.freed = count_freed;
    rt_code(fj_task_spawn(count, &counted, &opts, &task, NULL), OK);
    rt_settle();
    ck_assert_int_eq(counted, 2);
    (void)fj_task_unref(task);
    ck_assert_int_eq(counted, 2);
}
END_TEST

/* ---- looking at tasks -------------------------------------------------------------------------- */

static fj_code tell_current(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    fj_task **told = user;
    told[0] = fj_task_current();
    fj_code code = fj_yield();
    told[1] = fj_task_current();
    return code;
}

START_TEST(current_is_the_task_that_runs_on_this_thread)
{
    fj_task *told[2] = { NULL, NULL }, *others[2] = { NULL, NULL };
    fj_task *task = rt_spawn(tell_current, told, NULL);
    fj_task *other = rt_spawn(tell_current, others, NULL);

    ck_assert_ptr_null(fj_task_current());
    rt_settle();
    ck_assert_ptr_null(fj_task_current());
    ck_assert(told[0] == task && told[1] == task && others[0] == other && others[1] == other);
    rt_code(rt_join(task), OK);
    rt_code(rt_join(other), OK);
}
END_TEST

START_TEST(waits_for_names_what_a_parked_task_waits_for)
{
    fj_task *task = rt_spawn(sleep_second, NULL, NULL);

    ck_assert_ptr_null(fj_task_waits_for(task));
    rt_code(fj_loop_turn(rt_loop, fj_now(), NULL), OK);
    ck_assert_str_eq(fj_task_waits_for(task), "sleep");
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(rt_ms(), 1000);
}
END_TEST

static void gather_names(fj_task *task, void *user)
{
    (void)strcat(user, fj_task_name(task));
}

START_TEST(loop_tasks_are_those_that_have_not_ended)
{
    char names[16] = "";

    fj_loop_tasks(rt_loop, gather_names, names);
    ck_assert_str_eq(names, "");
    fj_task *a = rt_spawn(nothing, NULL, "a"), *b = rt_spawn(sleep_second, NULL, "b");
    fj_loop_tasks(rt_loop, gather_names, names);
    ck_assert(strlen(names) == 2 && strchr(names, 'a') != NULL && strchr(names, 'b') != NULL);
    rt_code(rt_join(a), OK);
    names[0] = '\0';
    fj_loop_tasks(rt_loop, gather_names, names);
    ck_assert_str_eq(names, "b");
    rt_code(rt_join(b), OK);
}
END_TEST

/* ---- cancelling -------------------------------------------------------------------------------- */

START_TEST(cancel_ends_the_wait_it_is_in)
{
    fj_code told = FJ_OK;
    fj_task *task = rt_spawn(sleep_long, &told, NULL);

    rt_settle();
    ck_assert(fj_task_cancel(task));
    ck_assert_uint_eq(fj_task_cancelling(task), 1);
    rt_code(rt_join(task), CANCELLED);
    rt_code(told, CANCELLED);
}
END_TEST

static fj_code cancel_self_and_clean_up(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    ck_assert(fj_task_cancel(fj_task_current()));
    rt_code(fj_sleep(fj_in_ms(5)), CANCELLED); /* the next one, once */
    rt_code(fj_sleep(fj_in_ms(5)), OK);        /* cleaning up, waiting again */
    return FJ_OK;                              /* and it may refuse */
}

START_TEST(a_cancelled_task_may_clean_up_and_refuse)
{
    rt_code(rt_run(cancel_self_and_clean_up, NULL), OK);
    ck_assert_int_eq(rt_ms(), 5);
}
END_TEST

static fj_code killed(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    for (int i = 0; i < 3; i++)
        rt_code(fj_sleep(fj_never()), CANCELLED);
    rt_code(fj_yield(), CANCELLED);
    return FJ_OK;
}

START_TEST(each_wait_of_a_killed_task_answers_cancelled)
{
    fj_task *task = rt_spawn(killed, NULL, NULL);

    rt_settle();
    ck_assert(fj_task_kill(task));
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(rt_ms(), 0);
}
END_TEST

START_TEST(a_task_that_has_ended_cannot_be_cancelled)
{
    fj_task *task = rt_spawn(nothing, NULL, NULL);

    rt_settle();
    ck_assert(!fj_task_cancel(task));
    ck_assert(!fj_task_kill(task));
    ck_assert(!fj_future_cancel(fj_task_future(task)));
    rt_code(rt_join(task), OK);
}
END_TEST

static fj_code take_back(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    fj_task *me = fj_task_current();
    ck_assert(fj_task_cancel(me) && fj_task_cancel(me));
    ck_assert_uint_eq(fj_task_cancelling(me), 2);
    ck_assert_uint_eq(fj_task_uncancel(me), 1);
    ck_assert(fj__task_interrupted(me));
    ck_assert_uint_eq(fj_task_uncancel(me), 0);
    ck_assert(!fj__task_interrupted(me));
    ck_assert_uint_eq(fj_task_uncancel(me), 0);
    return fj_sleep(fj_in_ms(1));
}

START_TEST(cancelling_counts_what_was_not_taken_back)
{
    rt_code(rt_run(take_back, NULL), OK);
}
END_TEST

static fj_code clean_up(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    rt_code(fj_sleep(fj_never()), CANCELLED);
    return fj_sleep(fj_in_ms(50));
}

START_TEST(freeing_a_loop_cancels_its_tasks_and_runs_until_they_have_ended)
{
    fj_code told = FJ_OK;
    fj_task *parked = rt_spawn(sleep_long, &told, NULL);
    fj_task *cleaning = rt_spawn(clean_up, NULL, NULL);

    rt_settle();
    fj_task *fresh = rt_spawn(nothing, NULL, NULL);
    rt_loop = fj_loop_free(rt_loop);
    rt_code(told, CANCELLED);
    rt_code(fj_future_result(fj_task_future(parked), NULL, NULL), CANCELLED);
    rt_code(fj_future_result(fj_task_future(cleaning), NULL, NULL), OK);
    rt_code(fj_future_result(fj_task_future(fresh), NULL, NULL), CANCELLED);
    (void)fj_task_unref(parked);
    (void)fj_task_unref(cleaning);
    (void)fj_task_unref(fresh);
}
END_TEST

static fj_code spawn_at_the_end(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    rt_code(fj_sleep(fj_never()), CANCELLED);
    *(fj_code *)user = fj_task_spawn(nothing, NULL, NULL, NULL, NULL);
    return FJ_OK;
}

START_TEST(a_loop_that_is_being_freed_takes_no_task)
{
    fj_code told = FJ_OK;

    (void)fj_task_unref(rt_spawn(spawn_at_the_end, &told, NULL));
    rt_settle();
    rt_loop = fj_loop_free(rt_loop);
    rt_code(told, CLOSED);
}
END_TEST

/* ---- links ------------------------------------------------------------------------------------- */

typedef struct {
    unsigned called;
    fj_future *with;
    fj_task *during;
} link_log;

static void on_end(fj_future *f, void *user)
{
    link_log *log = user;

    log->called++;
    log->with = f;
    log->during = fj_task_current();
}

RT_TASK(sleep_a_second)
{
    return fj_sleep(fj_in_ms(1000));
}

RT_TASK(free_it)
{
    ck_assert_ptr_null(fj_loop_free(user));
    return FJ_OK;
}

START_TEST(a_loop_with_tasks_is_not_freed_while_another_runs)
{
    fj_loop *other = NULL;
    fj_task *task = NULL;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;

    rt_code(fj_loop_new(&other, NULL), OK);
    opts.loop = other;
    rt_code(fj_task_spawn(sleep_a_second, NULL, &opts, &task, NULL), OK);
    rt_code(fj_loop_turn(other, fj_now(), NULL), OK);
    rt_code(rt_run(free_it, other), OK);
    rt_code(fj_loop_run_until_complete(other, fj_task_future(task), NULL, NULL),
            OK); /* nothing was cancelled */
    rt_code(rt_run(free_it, other), OK);
    (void)fj_task_unref(task);
}
END_TEST

START_TEST(a_link_is_called_in_a_turn_of_its_own)
{
    link_log log = { 0 };
    fj_task *task = rt_spawn(nothing, NULL, NULL);

    rt_code(fj_task_link(task, on_end, &log), OK);
    rt_code(fj_loop_turn(rt_loop, fj_now(), NULL), OK);
    ck_assert(fj_future_done(fj_task_future(task)));
    ck_assert_uint_eq(log.called, 0);
    rt_settle();
    ck_assert_uint_eq(log.called, 1);
    ck_assert_ptr_eq(log.with, fj_task_future(task));
    ck_assert_ptr_null(log.during);
    rt_code(fj_task_link(task, on_end, &log), OK); /* it has ended: in the next turn */
    ck_assert_uint_eq(log.called, 1);
    rt_settle();
    ck_assert_uint_eq(log.called, 2);
    rt_code(rt_join(task), OK);
}
END_TEST

START_TEST(links_are_called_when_the_loop_is_freed)
{
    link_log log = { 0 };
    fj_task *task = rt_spawn(sleep_long, NULL, NULL);

    rt_code(fj_task_link(task, on_end, &log), OK);
    rt_settle();
    (void)fj_task_unref(task);
    rt_loop = fj_loop_free(rt_loop);
    ck_assert_uint_eq(log.called, 1);
}
END_TEST

/* ---- coroutines -------------------------------------------------------------------------------- */

START_TEST(a_coroutine_runs_nothing_until_it_is_started)
{
    int ran = 0;
    fj_coro *coro = NULL;
    fj_task *task = NULL;

    rt_code(fj_coro_new(count, &ran, NULL, &coro), OK);
    rt_settle();
    ck_assert_int_eq(ran, 0);
    rt_code(fj_coro_start(coro, &task, NULL), OK);
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(ran, 1);
    ck_assert_uint_eq(rt_troubles, 0);
}
END_TEST

static fj_code free_coro(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    ck_assert_ptr_null(fj_coro_free(user));
    return FJ_OK;
}

START_TEST(a_coroutine_freed_without_is_reported_and_its_user_freed)
{
    int freed = 0;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_coro *coro = NULL;

    opts.name = "idle";
    opts.freed = count_freed;
    rt_code(fj_coro_new(count, &freed, &opts, &coro), OK);
    rt_code(rt_run(free_coro, coro), OK);
    ck_assert_int_eq(freed, 1);
    ck_assert_ptr_nonnull(strstr(rt_trouble, "coroutine \"idle\" was never awaited"));
    ck_assert_ptr_null(fj_coro_free(NULL));
}
END_TEST

START_TEST(in_debug_mode_reports_say_where_it_was_made)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_coro *coro = NULL;

    fj_loop_set_debug(rt_loop, true);
    rt_code(fj_task_spawn(lack, (void *)"milk", NULL, NULL, NULL), OK);
    rt_settle();
    ck_assert_ptr_nonnull(strstr(rt_trouble, "\"task\" was never retrieved, made at "));
    opts.loop = rt_loop;
    rt_code(fj_coro_new(nothing, NULL, &opts, &coro), OK);
    rt_code(rt_run(free_coro, coro), OK);
    ck_assert_ptr_nonnull(strstr(rt_trouble, "\"task\" was never awaited, made at "));
}
END_TEST

/* ---- from other threads, all at once ----------------------------------------------------------- */

static fj_code race(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return fj_sleep(fj_never());
}

static void *cancel_all(void *arg)
{
    fj_task **tasks = arg;

    for (int i = 0; i < 100; i++) {
        (void)fj_task_cancel(tasks[i]);
        fj__task_wake(tasks[i]);
        (void)fj_task_unref(tasks[i]);
    }
    return NULL;
}

START_TEST(threads_race_to_cancel_what_is_ending)
{
    enum { N = 100, THREADS = 3 };
    fj_task *tasks[N];
    pthread_t threads[THREADS];

    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < N; i++) {
            tasks[i] = rt_spawn(i % 3 == 0 ? nothing : race, NULL, NULL);
            for (int t = 0; t < THREADS; t++)
                (void)fj_task_ref(tasks[i]);
        }
        for (int t = 0; t < THREADS; t++)
            ck_assert_int_eq(pthread_create(&threads[t], NULL, cancel_all, tasks), 0);
        for (int i = 0; i < N; i++) {
            fj_code code = rt_join(tasks[i]);
            ck_assert(code == FJ_CANCELLED || (code == FJ_OK && i % 3 == 0));
        }
        for (int t = 0; t < THREADS; t++)
            ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
    }
}
END_TEST

START_TEST(a_loop_is_freed_while_threads_cancel_its_tasks)
{
    enum { N = 100 };
    fj_task *tasks[N];
    pthread_t other;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++)
            tasks[i] = rt_spawn(race, NULL, NULL);
        rt_settle();
        ck_assert_int_eq(pthread_create(&other, NULL, cancel_all, tasks), 0);
        rt_loop = fj_loop_free(rt_loop);
        ck_assert_int_eq(pthread_join(other, NULL), 0);
        rt_code(fj_loop_new(&rt_loop, NULL), OK);
        fj_loop_set_current(rt_loop);
    }
}
END_TEST

/* ---- want of memory ---------------------------------------------------------------------------- */

static fj_code all_of_it(void)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL, *later = NULL;
    fj_coro *coro = NULL;
    static link_log log; /* the call may come after */
    fj_error *err = NULL;

    opts.name = "hungry";
    fj_code code = fj_task_spawn(seven, NULL, &opts, &task, &err);
    if (code == FJ_OK)
        code = fj_task_spawn_after(fj_in_ms(5), sleep_second, NULL, &opts, &later, &err);
    if (code == FJ_OK)
        code = fj_task_link(task, on_end, &log);
    if (code == FJ_OK)
        code = fj_coro_new(nothing, NULL, &opts, &coro);
    if (code == FJ_OK)
        code = fj_coro_start(coro, NULL, &err);
    if (code == FJ_OK)
        code = fj_loop_run_until_complete(rt_loop, fj_task_future(task), NULL, &err);
    if (code == FJ_OK)
        code = fj_loop_run_until_complete(rt_loop, fj_task_future(later), NULL, &err);
    fj_error_free(err);
    if (task != NULL)
        (void)fj_task_unref(task);
    (void)fj_task_unref(later);
    return code;
}

START_TEST(each_allocation_may_fail)
{
    unsigned long n = 1;
    fj_code code;

    do {
        (void)fj__alloc_fail(n++, false);
        code = all_of_it();
        (void)fj__alloc_fail(0, false);
        ck_assert(code == FJ_OK || code == FJ_NOMEM);
        rt_settle();
    } while (code != FJ_OK || n < 12);
    ck_assert_uint_lt(n, 60);
}
END_TEST

/* ---- many -------------------------------------------------------------------------------------- */

START_TEST(a_hundred_thousand_tasks_are_parked_and_cancelled)
{
#ifdef FJ__TSAN
    enum { N = 5000 }; /* it counts fibres as threads, and knows 8128 */
#else
    enum { N = 100000 };
#endif
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    static fj_task *tasks[N];
    const int n = ON_VALGRIND ? 500 : N;

    opts.stack = 16 * 1024;
    for (int i = 0; i < n; i++)
        rt_code(fj_task_spawn(sleep_long, NULL, &opts, &tasks[i], NULL), OK);
    rt_settle();
    for (int i = 0; i < n; i++) {
        ck_assert_str_eq(fj_task_waits_for(tasks[i]), "sleep");
        ck_assert(fj_task_cancel(tasks[i]));
    }
    rt_settle();
    for (int i = 0; i < n; i++) {
        rt_code(fj_future_result(fj_task_future(tasks[i]), NULL, NULL), CANCELLED);
        (void)fj_task_unref(tasks[i]);
    }
}
END_TEST

static TCase *spawning(void)
{
    TCase *t = tcase_create("spawning");

    tcase_add_checked_fixture(t, rt_begin, rt_end);
    tcase_add_test(t, a_task_begins_in_the_loops_next_turn);
    tcase_add_test(t, tasks_run_in_the_order_they_were_spawned);
    tcase_add_test(t, the_result_is_the_functions);
    tcase_add_test(t, a_result_left_null_is_json_null);
    tcase_add_test(t, an_error_is_the_functions_and_its_result_is_dropped);
    tcase_add_test(t, an_error_without_details_names_the_task);
    tcase_add_test(t, the_name_is_copied_and_is_task_by_default);
    tcase_add_test(t, a_task_spawned_for_later_begins_at_its_time);
    tcase_add_test(t, cancelled_before_its_time_it_never_begins);
    tcase_add_test(t, cancelled_before_its_first_turn_it_never_begins);
    tcase_add_test(t, another_thread_spawns_and_waits);
    tcase_add_test(t, another_thread_must_name_the_loop);
    tcase_add_test(t, a_task_posted_to_a_loop_that_is_freed_never_begins);
    tcase_add_test(t, a_loop_that_was_freed_takes_no_task);
    return t;
}

static TCase *life(void)
{
    TCase *t = tcase_create("life");

    tcase_add_checked_fixture(t, rt_begin, rt_end);
    tcase_add_test(t, the_task_goes_on_without_references);
    tcase_add_test(t, a_reference_to_the_future_keeps_the_task);
    tcase_add_test(t, an_error_of_a_task_on_its_own_is_reported);
    tcase_add_test(t, an_error_nobody_asked_for_is_reported_with_the_last_reference);
    tcase_add_test(t, that_a_task_was_cancelled_is_not_reported);
    tcase_add_test(t, an_error_outlives_its_loop);
    tcase_add_test(t, freed_is_called_once_when_the_task_has_ended);
    tcase_add_test(t, current_is_the_task_that_runs_on_this_thread);
    tcase_add_test(t, waits_for_names_what_a_parked_task_waits_for);
    tcase_add_test(t, loop_tasks_are_those_that_have_not_ended);
    tcase_add_test(t, a_link_is_called_in_a_turn_of_its_own);
    tcase_add_test(t, links_are_called_when_the_loop_is_freed);
    tcase_add_test(t, a_coroutine_runs_nothing_until_it_is_started);
    tcase_add_test(t, a_coroutine_freed_without_is_reported_and_its_user_freed);
    tcase_add_test(t, in_debug_mode_reports_say_where_it_was_made);
    return t;
}

static TCase *ending(void)
{
    TCase *t = tcase_create("ending");

    tcase_add_checked_fixture(t, rt_begin, rt_end);
    tcase_add_test(t, cancel_ends_the_wait_it_is_in);
    tcase_add_test(t, a_cancelled_task_may_clean_up_and_refuse);
    tcase_add_test(t, each_wait_of_a_killed_task_answers_cancelled);
    tcase_add_test(t, a_task_that_has_ended_cannot_be_cancelled);
    tcase_add_test(t, cancelling_counts_what_was_not_taken_back);
    tcase_add_test(t, freeing_a_loop_cancels_its_tasks_and_runs_until_they_have_ended);
    tcase_add_test(t, a_loop_that_is_being_freed_takes_no_task);
    tcase_add_test(t, a_loop_with_tasks_is_not_freed_while_another_runs);
    tcase_add_test(t, threads_race_to_cancel_what_is_ending);
    tcase_add_test(t, a_loop_is_freed_while_threads_cancel_its_tasks);
    tcase_add_test(t, each_allocation_may_fail);
    tcase_add_test(t, a_hundred_thousand_tasks_are_parked_and_cancelled);
    tcase_set_timeout(t, 120);
    return t;
}

int main(void)
{
    Suite *s = suite_create("task");

    suite_add_tcase(s, spawning());
    suite_add_tcase(s, life());
    suite_add_tcase(s, ending());
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
