/* SPDX-License-Identifier: Apache-2.0 */
/* What all calls on loops are made of: tasks, switches, futures. */
#include "bench/count/count.h"
#include <fjord/await.h>
#include <fjord/future.h>
#include <fjord/loop.h>
#include <fjord/task.h>

static fj_code nothing(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)ret, (void)err;
    return FJ_OK;
}

static fj_code spawns(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    for (long i = *(long *)user; i > 0; i--) {
        count_check(fj_task_spawn(nothing, NULL, NULL, NULL, err), "a task", NULL);
        count_check(fj_yield(), "a yield", NULL);
    }
    return FJ_OK;
}

static fj_code yields(void *user, json_t **ret, fj_error **err)
{
    (void)ret, (void)err;
    for (long i = *(long *)user; i > 0; i--)
        count_check(fj_yield(), "a yield", NULL);
    return FJ_OK;
}

static fj_code resolves(void *user, json_t **ret, fj_error **err)
{
    fj_future *future = user;

    (void)ret, (void)err;
    (void)fj_future_resolve(future, NULL);
    (void)fj_future_unref(future);
    return FJ_OK;
}

/* Each waits until another task has resolved it. */
static fj_code awaits(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    for (long i = *(long *)user; i > 0; i--) {
        fj_future *future = NULL;

        count_check(fj_future_new(NULL, NULL, &future), "a future", NULL);
        count_check(fj_task_spawn(resolves, fj_future_ref(future), NULL, NULL, err), "a task", NULL);
        count_check(fj_await(future, fj_never(), NULL, err), "a wait", NULL);
        (void)fj_future_unref(future);
    }
    return FJ_OK;
}

static void in_task(fj_task_fn fn, long n)
{
    fj_loop *loop = NULL;
    fj_task *task = NULL;
    fj_error *err = NULL;

    count_check(fj_loop_current(&loop, &err), "a loop", err);
    count_check(fj_task_spawn(fn, &n, NULL, &task, &err), "a task", err);
    count_check(fj_loop_run_until_complete(loop, fj_task_future(task), NULL, &err), "a task", err);
    (void)fj_task_unref(task);
}

static void spawn(const count_cell *cell, long n)
{
    (void)cell;
    in_task(spawns, n);
}

static void yield(const count_cell *cell, long n)
{
    (void)cell;
    in_task(yields, n);
}

static void await(const count_cell *cell, long n)
{
    (void)cell;
    in_task(awaits, n);
}

static void future(const count_cell *cell, long n)
{
    (void)cell;
    for (long i = 0; i < n; i++) {
        fj_future *f = NULL;

        count_check(fj_future_new(NULL, NULL, &f), "a future", NULL);
        (void)fj_future_resolve(f, NULL);
        (void)fj_future_unref(f);
    }
}

const count_cell count_runtime[] = {
    { "runtime, spawn a task and let it end", spawn, 5000, NULL, NULL, 1, false },
    { "runtime, yield to the loop", yield, 5000, NULL, NULL, 1, false },
    { "runtime, make and resolve a future", future, 5000, NULL, NULL, 1, false },
    { "runtime, await what another task resolves", await, 5000, NULL, NULL, 1, false },
    { 0 },
};
