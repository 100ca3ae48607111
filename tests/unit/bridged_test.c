/* SPDX-License-Identifier: Apache-2.0 */
/* The bridge: green tasks and coroutines of one loop wait for each other, and cut each other short. */
#include "tests/support/in_task.h"

#include <errno.h>
#include <fjord/green.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the rig -------------------------------------------------------------------------------------- */

static fj_future *green_of(fj_green_fn fn, void *user, const char *name)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_future *future = NULL;

    opts.name = name;
    opts.loop = rt_loop;
    rt_code(fj_wrap_green_fn(fn, user, &opts, &future, NULL), OK);
    return future;
}

static fj_future *coro_of(fj_task_fn fn, void *user)
{
    fj_task *task = rt_spawn(fn, user, "coro");
    fj_future *future = fj_future_ref(fj_task_future(task));

    fj_task_unref(task);
    return future;
}

/* Refused with @p code, in words among which are these. */
static void refused(fj_code got, const char *code, fj_error *err, const char *words)
{
    ck_assert_str_eq(fj_code_name(got), code);
    ck_assert_msg(strstr(fj_error_text(err), words) != NULL, "\"%s\" says nothing of \"%s\"",
                  fj_error_text(err), words);
    fj_error_free(err);
}

static void resolved_to(fj_code code, json_t *ret, json_int_t n)
{
    rt_code(code, OK);
    ck_assert_int_eq(json_integer_value(ret), n);
    json_decref(ret);
}

RT_TASK(answers)
{
    *ret = json_integer((json_int_t)(uintptr_t)user);
    return FJ_OK;
}

RT_TASK(naps_and_answers)
{
    (void)pause_ms(10);
    return answers(user, ret, err);
}

RT_TASK(fails)
{
    (void)pause_ms(10);
    return fj_fail(err, FJ_BAD_VALUE, "seven is not a colour");
}

/* ---- a green task waits for coroutines ------------------------------------------------------------ */

static fj_code at_depth(unsigned depth, fj_future *f, json_t **ret)
{
    volatile char frame[32] = { (char)depth };
    fj_code code = depth == 0 ? fj_green_await(f, fj_never(), ret, NULL) : at_depth(depth - 1, f, ret);

    return frame[0] == (char)depth ? code : FJ_INTERNAL;
}

static void awaits_at_depth(void)
{
    fj_future *f = coro_of(naps_and_answers, (void *)7);
    json_t *ret = NULL;

    rt_code(fj_green_patch(FJ_PATCH_DEFAULT, NULL), OK);
    ck_assert(fj_green_here());
    fj_code code = at_depth(100, f, &ret);
    resolved_to(code, ret, 7);
    ck_assert(fj_green_here());
    fj_future_unref(f);
}

START_TEST(a_green_task_awaits_a_coroutine_a_hundred_calls_deep)
{
    in_green(awaits_at_depth);
}
END_TEST

static void awaits_kinds(void)
{
    fj_future *plain = NULL, *pool = NULL;
    fj_coro *coro = NULL;
    json_t *ret = NULL;

    rt_code(fj_future_new(NULL, NULL, &plain), OK);
    ck_assert(fj_future_resolve(plain, json_integer(1)));
    fj_code code = fj_green_await(plain, fj_never(), &ret, NULL);
    resolved_to(code, ret, 1);
    fj_future_unref(plain);
    rt_code(fj_run_in_executor(answers, (void *)2, NULL, &pool, NULL), OK);
    code = fj_green_await(pool, fj_never(), &ret, NULL);
    resolved_to(code, ret, 2);
    fj_future_unref(pool);
    rt_code(fj_coro_new(naps_and_answers, (void *)3, NULL, &coro), OK);
    code = fj_green_await_coro(coro, fj_never(), &ret, NULL);
    resolved_to(code, ret, 3);
}

START_TEST(a_green_task_awaits_futures_threads_and_coroutines_that_have_not_begun)
{
    in_green(awaits_kinds);
}
END_TEST

static void awaits_failure(void)
{
    fj_future *f = coro_of(fails, NULL);
    fj_error *err = NULL;

    fj_code code = fj_green_await(f, fj_never(), NULL, &err);
    refused(code, "BAD_VALUE", err, "seven is not a colour");
    fj_future_unref(f);
}

START_TEST(an_error_of_a_coroutine_is_the_green_waiter_s_answer)
{
    in_green(awaits_failure);
}
END_TEST

static void runs_out(void)
{
    fj_future *f = coro_of(sleeps, MS(100));
    fj_coro *coro = NULL;

    rt_code(fj_green_await(f, fj_in_ms(10), NULL, NULL), TIMEOUT);
    ck_assert(!fj_future_done(f));
    rt_code(fj_green_await(f, fj_never(), NULL, NULL), OK);
    fj_future_unref(f);
    ck_assert_str_eq(notes(), "+");
    rt_code(fj_coro_new(sleeps, MS(100), NULL, &coro), OK);
    rt_code(fj_green_await_coro(coro, fj_in_ms(10), NULL, NULL), TIMEOUT);
    ck_assert_str_eq(notes(), "+-");
    ck_assert_int_eq(rt_ms(), 110);
}

START_TEST(at_its_deadline_a_green_waiter_leaves_a_task_alone_and_ends_a_coroutine_of_its_own)
{
    in_green(runs_out);
}
END_TEST

static void runs_out_around(void)
{
    fj_future *f = coro_of(sleeps, MS(100));
    fj_timeout t;

    fj_timeout_begin(&t, fj_in_ms(10));
    rt_code(fj_green_await(f, fj_never(), NULL, NULL), TIMEOUT);
    ck_assert(fj_timeout_end(&t));
    ck_assert_str_eq(notes(), "-");
    fj_future_unref(f);
}

START_TEST(a_timeout_around_a_green_waiter_cancels_what_it_awaits)
{
    in_green(runs_out_around);
}
END_TEST

RT_TASK(green_waits)
{
    fj_code code = fj_green_await(user, fj_never(), ret, err);

    note(code == FJ_OK ? "G" : "g");
    return code;
}

static void cancelled_waiter(void)
{
    fj_future *inner = coro_of(sleeps, MS(100)), *outer = green_of(green_waits, inner, "waiter");

    rt_code(pause_ms(10), OK);
    ck_assert(fj_future_cancel(outer));
    rt_code(fj_await(outer, fj_never(), NULL, NULL), CANCELLED);
    rt_code(fj_future_result(inner, NULL, NULL), CANCELLED);
    ck_assert_str_eq(notes(), "-g"); /* what was awaited has ended before the waiter goes on */
    fj_future_unref(outer);
    fj_future_unref(inner);
}

START_TEST(cancelling_a_green_waiter_cancels_the_coroutine_it_awaits)
{
    in_task(cancelled_waiter);
}
END_TEST

static void shielded_inner(void)
{
    fj_future *inner = coro_of(sleeps, MS(100)), *shield = NULL;

    rt_code(fj_shield(inner, &shield, NULL), OK);
    fj_future *outer = green_of(green_waits, shield, "waiter");
    rt_code(pause_ms(10), OK);
    ck_assert(fj_future_cancel(outer));
    rt_code(fj_await(outer, fj_never(), NULL, NULL), CANCELLED);
    ck_assert(!fj_future_done(inner));
    rt_code(fj_await(inner, fj_never(), NULL, NULL), OK);
    ck_assert_str_eq(notes(), "g+");
    fj_future_unref(outer);
    fj_future_unref(shield);
    fj_future_unref(inner);
}

START_TEST(a_shielded_coroutine_does_not_feel_that_its_green_waiter_is_cancelled)
{
    in_task(shielded_inner);
}
END_TEST

RT_TASK(green_waits_in_a_shield)
{
    fj_shield_begin();
    rt_code(fj_green_await(user, fj_never(), NULL, NULL), OK);
    fj_shield_end();
    return pause_ms(1);
}

static void shielded_stretch(void)
{
    fj_future *inner = coro_of(sleeps, MS(100)), *outer = green_of(green_waits_in_a_shield, inner, "waiter");

    rt_code(pause_ms(10), OK);
    ck_assert(fj_future_cancel(outer));
    rt_code(fj_await(outer, fj_never(), NULL, NULL), CANCELLED); /* the wait after the shield */
    ck_assert_str_eq(notes(), "+");
    fj_future_unref(outer);
    fj_future_unref(inner);
}

START_TEST(within_a_shield_a_green_waiter_is_cancelled_in_its_next_wait)
{
    in_task(shielded_stretch);
}
END_TEST

static void cancelled_coroutine(void)
{
    fj_future *inner = coro_of(sleeps, MS(100)), *outer = green_of(green_waits, inner, "waiter");

    rt_code(pause_ms(10), OK);
    ck_assert(fj_future_cancel(inner));
    rt_code(fj_await(outer, fj_never(), NULL, NULL), CANCELLED);
    ck_assert_str_eq(notes(), "-g");
    fj_future_unref(outer);
    fj_future_unref(inner);
}

START_TEST(cancelling_a_coroutine_is_its_green_waiter_s_answer)
{
    in_task(cancelled_coroutine);
}
END_TEST

/* ---- where it is refused -------------------------------------------------------------------------- */

static fj_future *complete_one(void)
{
    fj_future *f = NULL;

    rt_code(fj_future_new(NULL, NULL, &f), OK);
    (void)fj_future_resolve(f, NULL);
    return f;
}

START_TEST(outside_of_tasks_it_is_refused)
{
    fj_future *f = complete_one();
    fj_coro *coro = NULL;
    fj_error *err = NULL;

    fj_code code = fj_green_await(f, fj_never(), NULL, &err);
    refused(code, "WRONG_CONTEXT", err, "no task runs on this thread");
    rt_code(fj_coro_new(answers, NULL, NULL, &coro), OK);
    err = NULL;
    code = fj_green_await_coro(coro, fj_never(), NULL, &err); /* which takes it all the same */
    refused(code, "WRONG_CONTEXT", err, "no task runs on this thread");
    fj_future_unref(f);
}
END_TEST

static void on_the_loop(fj_loop *loop, void *f)
{
    fj_error *err = NULL;
    fj_code code = fj_green_await(f, fj_never(), NULL, &err);

    refused(code, "WRONG_CONTEXT", err, "the loop itself");
    fj_loop_stop(loop);
}

START_TEST(the_loop_itself_is_refused)
{
    fj_future *f = complete_one();

    rt_begin();
    rt_code(fj_loop_call_soon(rt_loop, on_the_loop, f, "call-back", NULL), OK);
    rt_code(fj_loop_run_forever(rt_loop, NULL), OK);
    rt_end();
    fj_future_unref(f);
}
END_TEST

static void explicit_one(void)
{
    fj_future *f = complete_one();
    fj_error *err = NULL;
    fj_code code = fj_green_await(f, fj_never(), NULL, &err);

    refused(code, "WRONG_CONTEXT", err, "explicit code calls fj_await()");
    fj_future_unref(f);
}

START_TEST(an_explicit_task_is_refused_and_told_what_to_call)
{
    in_task(explicit_one);
}
END_TEST

static fj_loop *other;

static void of_another_loop(void)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;
    fj_coro *coro = NULL;
    fj_error *err = NULL;

    opts.loop = other;
    rt_code(fj_task_spawn_threadsafe(answers, NULL, &opts, &task, NULL), OK);
    fj_code code = fj_green_await(fj_task_future(task), fj_never(), NULL, &err);
    refused(code, "WRONG_CONTEXT", err, "the awaited task is another loop's");
    rt_code(fj_coro_new(answers, NULL, &opts, &coro), OK);
    err = NULL;
    code = fj_green_await_coro(coro, fj_never(), NULL, &err);
    refused(code, "WRONG_CONTEXT", err, "the coroutine is another loop's");
    fj_task_unref(task);
}

START_TEST(what_is_on_another_loop_is_refused)
{
    rt_code(fj_loop_new(&other, NULL), OK);
    in_green(of_another_loop);
    other = fj_loop_free(other);
}
END_TEST

static void itself(void)
{
    fj_error *err = NULL;
    fj_code code = fj_green_await(fj_task_future(fj_task_current()), fj_never(), NULL, &err);

    refused(code, "STATE", err, "awaits itself");
}

START_TEST(awaiting_itself_is_refused)
{
    in_green(itself);
}
END_TEST

static void in_an_atomic_section(void)
{
    fj_future *f = coro_of(sleeps, MS(10));
    fj_error *err = NULL;

    fj_atomic_begin();
    rt_code(fj_green_await(f, fj_never(), NULL, &err), WRONG_CONTEXT);
    fj_atomic_end();
    ck_assert_uint_eq(rt_troubles, 1);
    rt_code(fj_green_await(f, fj_never(), NULL, NULL), OK);
    fj_error_free(err);
    fj_future_unref(f);
}

START_TEST(in_an_atomic_section_it_is_refused_and_reported)
{
    in_green(in_an_atomic_section);
}
END_TEST

/* ---- a coroutine waits for green tasks ------------------------------------------------------------ */

static fj_task *spawn_green(fj_task_fn fn, void *user)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;

    opts.loop = rt_loop;
    opts.green = true;
    rt_code(fj_task_spawn(fn, user, &opts, &task, NULL), OK);
    return task;
}

static void wrapped_at_any_time(void)
{
    fj_task *task = spawn_green(naps_and_answers, (void *)5);
    fj_future *before = fj_wrap_green(task), *running, *after;
    json_t *ret = NULL;

    rt_code(pause_ms(5), OK);
    running = fj_wrap_green(task);
    ck_assert(!fj_future_done(running));
    fj_code code = fj_await(running, fj_never(), &ret, NULL);
    resolved_to(code, ret, 5);
    after = fj_wrap_green(task);
    fj_task_unref(task);
    code = fj_await(after, fj_never(), &ret, NULL);
    resolved_to(code, ret, 5);
    code = fj_await(before, fj_never(), &ret, NULL);
    resolved_to(code, ret, 5);
    fj_future_unref(before);
    fj_future_unref(running);
    fj_future_unref(after);
}

START_TEST(a_green_task_is_awaitable_before_it_began_while_it_runs_and_when_it_has_ended)
{
    in_task(wrapped_at_any_time);
}
END_TEST

static void failing_green(void)
{
    fj_future *f = green_of(fails, NULL, "green");
    fj_error *err = NULL;
    fj_code code = fj_await(f, fj_never(), NULL, &err);

    refused(code, "BAD_VALUE", err, "seven is not a colour");
    fj_future_unref(f);
}

START_TEST(an_error_of_a_green_task_is_the_coroutine_s_answer)
{
    in_task(failing_green);
}
END_TEST

static int ends[2];

/* As a library would. */
RT_TASK(reads)
{
    char byte = 0;
    ssize_t n = read(ends[0], &byte, 1);

    note(n == 1 ? "r" : errno == ECANCELED ? "c" : "?");
    if (n != 1)
        return fj_fail(err, FJ_CANCELLED, "%s", strerror(errno));
    *ret = json_integer(byte);
    return FJ_OK;
}

static void hooked(void (*body)(void))
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    rt_code(fj_green_patch(FJ_PATCH_DEFAULT, NULL), OK);
    in_task(body);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void both_wait_for_bytes(void)
{
    fj_future *both[2] = { green_of(reads, NULL, "reader"), coro_of(naps_and_answers, (void *)2) }, *all = NULL;
    json_t *ret = NULL;

    rt_code(fj_gather(both, 2, 0, &all, NULL), OK);
    rt_code(fj_await(both[1], fj_never(), NULL, NULL), OK); /* the reader waits, and the loop goes on */
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    rt_code(fj_await(all, fj_never(), &ret, NULL), OK);
    ck_assert_int_eq(json_integer_value(json_array_get(ret, 0)), 'x');
    ck_assert_int_eq(json_integer_value(json_array_get(ret, 1)), 2);
    json_decref(ret);
    fj_future_unref(all);
    fj_future_unref(both[0]);
    fj_future_unref(both[1]);
}

START_TEST(a_gather_takes_green_tasks_and_coroutines)
{
    hooked(both_wait_for_bytes);
}
END_TEST

RT_TASK(coro_waits)
{
    fj_code code = fj_await(user, fj_never(), ret, err);

    note(code == FJ_OK ? "C" : "x");
    return code;
}

static void cancelled_read(void)
{
    fj_future *inner = green_of(reads, NULL, "reader"), *outer = coro_of(coro_waits, inner);

    rt_code(pause_ms(10), OK);
    ck_assert(fj_future_cancel(outer));
    rt_code(fj_await(outer, fj_never(), NULL, NULL), CANCELLED);
    rt_code(fj_future_result(inner, NULL, NULL), CANCELLED);
    ck_assert_str_eq(notes(), "cx");
    fj_future_unref(outer);
    fj_future_unref(inner);
}

START_TEST(cancelling_a_coroutine_cancels_the_green_task_it_awaits_in_its_read)
{
    hooked(cancelled_read);
}
END_TEST

static void cancelled_green(void)
{
    fj_future *inner = green_of(reads, NULL, "reader"), *outer = coro_of(coro_waits, inner);

    rt_code(pause_ms(10), OK);
    ck_assert(fj_future_cancel(inner));
    rt_code(fj_await(outer, fj_never(), NULL, NULL), CANCELLED);
    ck_assert_str_eq(notes(), "cx");
    fj_future_unref(outer);
    fj_future_unref(inner);
}

START_TEST(cancelling_a_green_task_in_its_read_is_the_coroutine_s_answer)
{
    hooked(cancelled_green);
}
END_TEST

/* Green awaits a coroutine that awaits green: the word goes down the whole chain, and comes back up. */
static void cancelled_chain(void)
{
    fj_future *deepest = green_of(reads, NULL, "reader"), *middle = coro_of(coro_waits, deepest),
              *top = green_of(green_waits, middle, "waiter");

    rt_code(pause_ms(10), OK);
    ck_assert(fj_future_cancel(top));
    rt_code(fj_await(top, fj_never(), NULL, NULL), CANCELLED);
    ck_assert_str_eq(notes(), "cxg");
    fj_future_unref(top);
    fj_future_unref(middle);
    fj_future_unref(deepest);
}

START_TEST(a_cancellation_goes_through_a_chain_of_both_kinds_to_the_call_at_its_end)
{
    hooked(cancelled_chain);
}
END_TEST

static void not_begun(void)
{
    fj_future *f = green_of(reads, NULL, "reader");

    ck_assert(fj_future_cancel(f));
    rt_code(fj_await(f, fj_never(), NULL, NULL), CANCELLED);
    ck_assert_str_eq(notes(), "");
    fj_future_unref(f);
}

START_TEST(a_green_task_that_is_cancelled_before_it_began_never_begins)
{
    hooked(not_begun);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bridged");
    TCase *green = tcase_create("green waits"), *no = tcase_create("refused"),
          *coro = tcase_create("coroutine waits");

    tcase_add_test(green, a_green_task_awaits_a_coroutine_a_hundred_calls_deep);
    tcase_add_test(green, a_green_task_awaits_futures_threads_and_coroutines_that_have_not_begun);
    tcase_add_test(green, an_error_of_a_coroutine_is_the_green_waiter_s_answer);
    tcase_add_test(green, at_its_deadline_a_green_waiter_leaves_a_task_alone_and_ends_a_coroutine_of_its_own);
    tcase_add_test(green, a_timeout_around_a_green_waiter_cancels_what_it_awaits);
    tcase_add_test(green, cancelling_a_green_waiter_cancels_the_coroutine_it_awaits);
    tcase_add_test(green, a_shielded_coroutine_does_not_feel_that_its_green_waiter_is_cancelled);
    tcase_add_test(green, within_a_shield_a_green_waiter_is_cancelled_in_its_next_wait);
    tcase_add_test(green, cancelling_a_coroutine_is_its_green_waiter_s_answer);
    suite_add_tcase(suite, green);
    tcase_add_test(no, outside_of_tasks_it_is_refused);
    tcase_add_test(no, the_loop_itself_is_refused);
    tcase_add_test(no, an_explicit_task_is_refused_and_told_what_to_call);
    tcase_add_test(no, what_is_on_another_loop_is_refused);
    tcase_add_test(no, awaiting_itself_is_refused);
    tcase_add_test(no, in_an_atomic_section_it_is_refused_and_reported);
    suite_add_tcase(suite, no);
    tcase_add_test(coro, a_green_task_is_awaitable_before_it_began_while_it_runs_and_when_it_has_ended);
    tcase_add_test(coro, an_error_of_a_green_task_is_the_coroutine_s_answer);
    tcase_add_test(coro, a_gather_takes_green_tasks_and_coroutines);
    tcase_add_test(coro, cancelling_a_coroutine_cancels_the_green_task_it_awaits_in_its_read);
    tcase_add_test(coro, cancelling_a_green_task_in_its_read_is_the_coroutine_s_answer);
    tcase_add_test(coro, a_cancellation_goes_through_a_chain_of_both_kinds_to_the_call_at_its_end);
    tcase_add_test(coro, a_green_task_that_is_cancelled_before_it_began_never_begins);
    suite_add_tcase(suite, coro);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
