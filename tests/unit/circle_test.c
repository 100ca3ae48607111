/* SPDX-License-Identifier: Apache-2.0 */
/* Circles of locks and of tasks that wait for each other: told when they close, with who waits for what, and where. */
#include "tests/support/rt.h"
#include "tests/support/said.h"

#include <fjord/sync.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

static fj_mutex *a, *b, *c;
static fj_rwlock *rw;
static fj_task *tasks[3];

static void set_up(void)
{
    rt_begin();
    said_begin();
    rt_code(fj_mutex_new("a", 0, &a), OK);
    rt_code(fj_mutex_new("b", 0, &b), OK);
    rt_code(fj_mutex_new("c", 0, &c), OK);
    rt_code(fj_rwlock_new("rw", &rw), OK);
}

static void tear_down(void)
{
    rt_end();
    a = fj_mutex_free(a);
    b = fj_mutex_free(b);
    c = fj_mutex_free(c);
    rw = fj_rwlock_free(rw);
}

/* Visible and not inlined: they are in the traces. */
FJ_API fj_code locks_the_first(fj_mutex *first, fj_mutex *second, fj_deadline by);
FJ_API fj_code locks_the_second(fj_mutex *second, fj_deadline by);

__attribute__((noinline)) fj_code locks_the_second(fj_mutex *second, fj_deadline by)
{
    fj_code code = fj_mutex_lock(second, by);

    if (code == FJ_OK)
        (void)fj_mutex_unlock(second);
    return code;
}

__attribute__((noinline)) fj_code locks_the_first(fj_mutex *first, fj_mutex *second, fj_deadline by)
{
    fj_code code = fj_mutex_lock(first, fj_never());

    if (code != FJ_OK)
        return code;
    code = fj_yield();
    if (code == FJ_OK)
        code = locks_the_second(second, by);
    (void)fj_mutex_unlock(first);
    return code;
}

RT_TASK(locks_a_then_b)
{
    return locks_the_first(a, b, fj_never());
}

RT_TASK(locks_b_then_c)
{
    return locks_the_first(b, c, fj_never());
}

RT_TASK(locks_b_then_a)
{
    return locks_the_first(b, a, fj_never());
}

RT_TASK(locks_c_then_a)
{
    return locks_the_first(c, a, fj_never());
}

RT_TASK(locks_b_then_a_for_a_second)
{
    return locks_the_first(b, a, fj_in_ms(1000));
}

#define told(first, second, n) ck_assert_msg(said(first, second) == (n), "%s", said_text())

START_TEST(two_tasks_that_hold_what_the_other_wants_are_told_with_their_stacks)
{
    tasks[0] = rt_spawn(locks_a_then_b, NULL, "first");
    tasks[1] = rt_spawn(locks_b_then_a, NULL, "second");
    rt_settle();
    told("error loop: a circle of waits: ", "none of them can go on", 1);
    told("a circle", "task \"first\" waits for mutex \"b\", which task \"second\" holds", 1);
    told("a circle", "task \"second\" waits for mutex \"a\", which task \"first\" holds", 1);
    told("error loop: task \"first\" waits for mutex \"b\", which task \"second\" holds, at ",
         "locks_the_second+0x", 1);
    told("error loop: task \"second\" waits for mutex \"a\", which task \"first\" holds, at ",
         "locks_the_first+0x", 1);
    told(NULL, NULL, 3);
    ck_assert(fj_task_cancel(tasks[1])); /* they wait as before: one gives up, the other gets it */
    rt_code(rt_join(tasks[1]), CANCELLED);
    rt_code(rt_join(tasks[0]), OK);
    told(NULL, NULL, 3);
}
END_TEST

START_TEST(a_circle_of_three_is_told_when_the_third_closes_it)
{
    tasks[0] = rt_spawn(locks_a_then_b, NULL, "first");
    tasks[1] = rt_spawn(locks_b_then_c, NULL, "second");
    rt_settle();
    told(NULL, NULL, 0);
    rt_code(fj_mutex_lock(c, fj_never()), OK); /* by this thread, which could let it go */
    rt_settle();
    told(NULL, NULL, 0);
    rt_code(fj_mutex_unlock(c), OK);
    rt_code(rt_join(tasks[1]), OK);
    rt_code(rt_join(tasks[0]), OK);
    tasks[0] = rt_spawn(locks_a_then_b, NULL, "first");
    tasks[1] = rt_spawn(locks_b_then_c, NULL, "second");
    tasks[2] = rt_spawn(locks_c_then_a, NULL, "third");
    rt_settle();
    told("a circle", "none of them can go on", 1);
    told("task \"third\" waits for mutex \"a\", which task \"first\" holds, at ", NULL, 1);
    told("task \"second\" waits for mutex \"c\", which task \"third\" holds, at ", NULL, 1);
    told(NULL, NULL, 4);
}
END_TEST

START_TEST(a_circle_that_a_deadline_ends_is_a_warning)
{
    tasks[0] = rt_spawn(locks_a_then_b, NULL, "first");
    tasks[1] = rt_spawn(locks_b_then_a_for_a_second, NULL, "second");
    rt_settle();
    told("warning loop: a circle", "it lasts until a deadline of theirs", 1);
    rt_code(rt_join(tasks[1]), TIMEOUT);
    rt_code(rt_join(tasks[0]), OK);
    told(NULL, NULL, 3);
}
END_TEST

RT_TASK(writes_twice)
{
    rt_code(fj_rwlock_write(rw, fj_never()), OK);
    fj_code code = fj_rwlock_write(rw, fj_never());
    rt_code(fj_rwlock_unlock(rw), OK);
    return code;
}

START_TEST(a_task_that_waits_for_a_lock_that_it_holds_is_told)
{
    fj_task *task = rt_spawn(writes_twice, NULL, "self");

    rt_settle();
    told("error loop: a circle", "task \"self\" waits for rwlock \"rw\", which task \"self\" holds; none", 1);
    told(NULL, NULL, 2);
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), CANCELLED);
}
END_TEST

/* ---- awaits --------------------------------------------------------------------------------------- */

RT_TASK(wants_a)
{
    return locks_the_second(a, fj_never());
}

RT_TASK(awaits_another)
{
    fj_task *other = fj_task_ref(*(fj_task **)user);
    fj_code code = fj_await(fj_task_future(other), fj_never(), NULL, NULL);

    fj_task_unref(other);
    return code;
}

RT_TASK(awaits_one_who_wants_what_it_holds)
{
    fj_task *inner = rt_spawn(wants_a, NULL, "inner");
    fj_task *between = rt_spawn(awaits_another, &inner, "between");

    rt_code(fj_mutex_lock(a, fj_never()), OK);
    fj_code code = fj_await(fj_task_future(between), fj_never(), NULL, NULL);
    rt_code(fj_mutex_unlock(a), OK);
    rt_code(fj_await(fj_task_future(inner), fj_never(), NULL, NULL), CANCELLED); /* passed on to it */
    fj_task_unref(between);
    fj_task_unref(inner);
    return code;
}

START_TEST(a_lock_held_while_its_waiter_is_awaited_is_a_circle)
{
    fj_task *task = rt_spawn(awaits_one_who_wants_what_it_holds, NULL, "outer");

    rt_settle();
    told("error loop: a circle", "none of them can go on", 1);
    told("a circle", "task \"outer\" waits for task \"between\"", 1);
    told("a circle", "task \"between\" waits for task \"inner\"", 1);
    told("a circle", "task \"inner\" waits for mutex \"a\", which task \"outer\" holds", 1);
    told(NULL, NULL, 4);
    ck_assert(fj_task_cancel(task));
    rt_code(rt_join(task), CANCELLED);
}
END_TEST

START_TEST(tasks_that_await_each_other_are_told)
{
    tasks[0] = rt_spawn(awaits_another, &tasks[1], "first");
    tasks[1] = rt_spawn(awaits_another, &tasks[0], "second");
    rt_settle();
    told("error loop: a circle", "task \"first\" waits for task \"second\"", 1);
    told(NULL, NULL, 3);
    ck_assert(fj_future_cancel(fj_task_future(tasks[0])));
    (void)rt_join(tasks[0]);
    (void)rt_join(tasks[1]);
}
END_TEST

/* ---- several threads ------------------------------------------------------------------------------ */

static atomic_uint holding;

/* Hold one until all hold theirs, then want the next. */
static fj_code holds_and_wants(fj_mutex *mine, fj_mutex *next, fj_deadline by)
{
    fj_code code = fj_mutex_lock(mine, fj_never());

    rt_code(code, OK);
    (void)atomic_fetch_add(&holding, 1);
    while (atomic_load(&holding) < 3)
        (void)sched_yield();
    code = fj_mutex_lock(next, by);
    if (code == FJ_OK)
        (void)fj_mutex_unlock(next);
    (void)fj_mutex_unlock(mine);
    return code;
}

RT_TASK(in_a_loop)
{
    fj_mutex **two = user;

    return holds_and_wants(two[0], two[1], fj_never());
}

struct runner {
    fj_mutex *two[2];
    _Atomic(fj_task *) task;
    fj_code code;
};

static void *runs_a_loop(void *user)
{
    struct runner *r = user;
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.name = "far";
    rt_code(fj_loop_new(&opts.loop, NULL), OK);
    rt_code(fj_task_spawn(in_a_loop, r->two, &opts, &task, NULL), OK);
    atomic_store(&r->task, fj_task_ref(task));
    r->code = fj_loop_run_until_complete(opts.loop, fj_task_future(task), NULL, NULL);
    fj_task_unref(task);
    fj_loop_free(opts.loop);
    return NULL;
}

static void *runs_plainly(void *user)
{
    struct runner *r = user;

    r->code = holds_and_wants(r->two[0], r->two[1], fj_never());
    return NULL;
}

START_TEST(a_circle_over_two_loops_and_a_plain_thread_is_told_each_from_its_own_thread)
{
    pthread_t threads[2];
    struct runner far = { .two = { b, c } }, plain = { .two = { c, a } };
    fj_mutex *near[2] = { a, b };

    ck_assert_int_eq(pthread_create(&threads[0], NULL, runs_a_loop, &far), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, runs_plainly, &plain), 0);
    fj_task *task = rt_spawn(in_a_loop, near, "near");
    /* Who of the three closes it, nobody knows.  The plain thread's stack is known if it was that. */
    while (said("task \"far\" waits for mutex \"c\", which thread ", ", at ") == 0 ||
           said("task \"near\" waits for mutex \"b\", which task \"far\" holds, at ", NULL) == 0)
        rt_settle();
    told("a circle", "none of them can go on", 1);
    told("a circle", "waits for mutex \"a\", which task \"near\" holds", 1);
    ck_assert(fj_task_cancel(atomic_load(&far.task)));
    rt_code(rt_join(task), OK);
    ck_assert_int_eq(pthread_join(threads[0], NULL), 0);
    ck_assert_int_eq(pthread_join(threads[1], NULL), 0);
    rt_code(far.code, CANCELLED);
    rt_code(plain.code, OK);
    fj_task_unref(atomic_load(&far.task));
    told("a circle", NULL, 1);
}
END_TEST

static void *wants_and_holds(void *user)
{
    fj_mutex **two = user;

    for (int i = 0; i < 20000; i++) {
        rt_code(fj_mutex_lock(two[0], fj_never()), OK);
        rt_code(fj_mutex_lock(two[1], fj_never()), OK);
        rt_code(fj_mutex_unlock(two[1]), OK);
        rt_code(fj_mutex_unlock(two[0]), OK);
    }
    return NULL;
}

START_TEST(locks_that_are_taken_in_one_order_are_no_circle_however_fast)
{
    fj_mutex *two[2] = { a, b };
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wants_and_holds, two), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    told(NULL, NULL, 0);
}
END_TEST

/* ---- what is no circle ---------------------------------------------------------------------------- */

RT_TASK(sleeps_with_a)
{
    rt_code(fj_mutex_lock(a, fj_never()), OK);
    rt_code(fj_sleep(fj_in_ms(1000)), OK);
    return fj_mutex_unlock(a);
}

START_TEST(many_who_wait_for_one_who_sleeps_are_no_circle)
{
    enum { MANY = 2000 };
    fj_task **many = calloc(MANY, sizeof(fj_task *));

    ck_assert_ptr_nonnull(many);
    fj_task *holder = rt_spawn(sleeps_with_a, NULL, "holder");
    for (int i = 0; i < MANY; i++)
        many[i] = rt_spawn(wants_a, NULL, "waiter");
    rt_code(rt_join(holder), OK);
    for (int i = 0; i < MANY; i++)
        rt_code(rt_join(many[i]), OK);
    free(many);
    told(NULL, NULL, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("circle");
    TCase *t = tcase_create("circle");
    SRunner *r = srunner_create(s);

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, two_tasks_that_hold_what_the_other_wants_are_told_with_their_stacks);
    tcase_add_test(t, a_circle_of_three_is_told_when_the_third_closes_it);
    tcase_add_test(t, a_circle_that_a_deadline_ends_is_a_warning);
    tcase_add_test(t, a_task_that_waits_for_a_lock_that_it_holds_is_told);
    tcase_add_test(t, a_lock_held_while_its_waiter_is_awaited_is_a_circle);
    tcase_add_test(t, tasks_that_await_each_other_are_told);
    tcase_add_test(t, a_circle_over_two_loops_and_a_plain_thread_is_told_each_from_its_own_thread);
    tcase_add_test(t, locks_that_are_taken_in_one_order_are_no_circle_however_fast);
    tcase_add_test(t, many_who_wait_for_one_who_sleeps_are_no_circle);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
