/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task that plain code drives step by step, after OpenStack Heat's TaskRunner.  The runner has a loop of its own, which
 * turns in the steps and not in between.
 */
#include "base/alloc.h"
#include "runtime/loop.h"
#include "runtime/task_impl.h"

#include <fjord/group.h>
#include <string.h>

struct fj_task_runner {
    fj_loop *loop;
    fj_task *task; /* NULL until started */
    fj_task_opts opts;
    char *name;
    fj_task_fn fn;
    void *user;
    fj_deadline timeout; /* of the task, from its beginning on */
    fj__timer grace;     /* it is cancelled when this is over */
    bool dropped;        /* cancelled before it was started */
};

static void on_grace(fj__timer *timer, fj_deadline now)
{
    (void)now;
    (void)fj_task_cancel(fj__container(timer, fj_task_runner, grace)->task);
}

static fj_code run(void *user, json_t **ret, fj_error **err)
{
    fj_task_runner *runner = user;
    fj_timeout timeout;

    fj_timeout_begin(&timeout, runner->timeout);
    fj_code code = runner->fn(runner->user, ret, err);
    (void)fj_timeout_end(&timeout);
    return code;
}

static void on_freed(void *user)
{
    const fj_task_runner *runner = user;

    if (runner->opts.freed != NULL)
        runner->opts.freed(runner->user);
}

fj_code fj_task_runner_new(fj_task_fn fn, void *user, const fj_task_opts *opts, fj_task_runner **ret,
                           fj_error **err)
{
    fj_task_runner *runner = fj__zalloc(sizeof *runner);

    if (runner == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a runner");
    runner->opts = (fj_task_opts)FJ_TASK_OPTS_INIT;
    if (opts != NULL)
        memcpy(&runner->opts, opts, opts->size < sizeof runner->opts ? opts->size : sizeof runner->opts);
    runner->name = fj__strdup(runner->opts.name);
    runner->fn = fn;
    runner->user = user;
    runner->grace.fn = on_grace;
    fj_code code = FJ_OK;
    if (runner->opts.name != NULL && runner->name == NULL)
        code = fj_fail(err, FJ_NOMEM, "no memory for a runner");
    if (code == FJ_OK)
        code = fj_loop_new(&runner->loop, err);
    if (code != FJ_OK) {
        fj__free(runner->name);
        fj__free(runner);
        return code;
    }
    fj__loop_set_private(runner->loop, true);
    *ret = runner;
    return FJ_OK;
}

fj_task_runner *fj_task_runner_free(fj_task_runner *runner)
{
    if (runner == NULL)
        return NULL;
    if (runner->task == NULL)
        fj_task_runner_cancel(runner, 0);
    fj__loop_timer_cancel(runner->loop, &runner->grace);
    fj_loop_free(runner->loop); /* which cancels the task, and waits for it */
    (void)fj_task_unref(runner->task);
    fj__free(runner->name);
    fj__free(runner);
    return NULL;
}

bool fj_task_runner_done(const fj_task_runner *runner)
{
    return runner->dropped || (runner->task != NULL && fj_future_done(fj_task_future(runner->task)));
}

static fj_code outcome(fj_task_runner *runner, json_t **ret, fj_error **err)
{
    if (runner->dropped)
        return fj_fail(err, FJ_CANCELLED, "the task was cancelled before it began");
    return fj_future_result(fj_task_future(runner->task), ret, err);
}

/* Until the task has run once: when it is ready in the first turn, else when something of the first turn makes it so.
 * @param by how long to wait for that something */
static fj_code turn(fj_task_runner *runner, fj_deadline by, fj_error **err)
{
    static const fj_deadline at_once = { 0 };
    unsigned before = runner->task->turns;
    fj_code code = fj_loop_turn(runner->loop, by, err);

    if (code == FJ_OK && !fj_task_runner_done(runner) && runner->task->turns == before)
        code = fj_loop_turn(runner->loop, at_once, NULL);
    return code == FJ_TIMEOUT ? FJ_OK : code;
}

static fj_code start(fj_task_runner *runner, double timeout, fj_error **err)
{
    fj_task_opts opts = runner->opts;

    if (runner->task != NULL || runner->dropped)
        return fj_fail(err, FJ_STATE, "the runner's task was started already");
    opts.size = sizeof opts;
    opts.name = runner->name;
    opts.loop = runner->loop;
    opts.freed = on_freed;
    runner->timeout = timeout > 0 ? fj_in_seconds(timeout) : fj_never();
    return fj_task_spawn(run, runner, &opts, &runner->task, err);
}

static fj_code check(fj_error **err)
{
    return fj_loop_running() == NULL ? FJ_OK : fj_fail(err, FJ_STATE, "a runner is for code outside of loops");
}

fj_code fj_task_runner_start(fj_task_runner *runner, double timeout, fj_error **err)
{
    static const fj_deadline at_once = { 0 };
    fj_code code = check(err);

    if (code == FJ_OK)
        code = start(runner, timeout, err);
    return code == FJ_OK ? turn(runner, at_once, err) : code;
}

fj_code fj_task_runner_step(fj_task_runner *runner, fj_error **err)
{
    static const fj_deadline at_once = { 0 };
    fj_code code = check(err);

    if (code != FJ_OK)
        return code;
    if (runner->task == NULL && !runner->dropped)
        return fj_fail(err, FJ_STATE, "the runner's task was not started");
    if (!fj_task_runner_done(runner))
        code = turn(runner, at_once, err);
    if (code != FJ_OK)
        return code;
    return fj_task_runner_done(runner) ? outcome(runner, NULL, err)
                                       : fj_fail(err, FJ_AGAIN, "the task has not ended");
}

fj_code fj_task_runner_run_to_completion(fj_task_runner *runner, double wait_time, json_t **ret, fj_error **err)
{
    fj_code code = check(err);

    if (code == FJ_OK && runner->task == NULL && !runner->dropped)
        code = fj_task_runner_start(runner, 0, err);
    while (code == FJ_OK && !fj_task_runner_done(runner)) {
        if (wait_time > 0)
            code = fj_sleep(fj_in_seconds(wait_time));
        if (code == FJ_OK)
            code = turn(runner, fj_never(), err);
    }
    return code == FJ_OK ? outcome(runner, ret, err) : code;
}

void fj_task_runner_cancel(fj_task_runner *runner, double grace)
{
    if (fj_task_runner_done(runner))
        return;
    if (runner->task == NULL) {
        runner->dropped = true;
        on_freed(runner);
        return;
    }
    fj_deadline at = fj_in_seconds(grace);
    if (runner->grace.place != 0 && runner->grace.at <= at.ns)
        return;
    if (!(grace > 0) || !fj__loop_timer_set(runner->loop, &runner->grace, at))
        (void)fj_task_cancel(runner->task);
}
