/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explicit and green methods under executors that have no loop: each runs to its end in a task on a loop of its thread's own, made
 * on first use and freed with the thread.  Such a loop has no connections.  As with asyncio.run() the loop's run is the method's:
 * tasks that it spawned and did not wait for are cancelled when it returns, and run to their end before its answer goes out.
 */
#include <fjord/executor.h>

#include "dispatcher/request.h"
#include "runtime/loop.h"
#include "runtime/stack.h"
#include "runtime/task.h"

#include <fjord/await.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

static void free_loop(void *loop)
{
    fj_loop_free(loop);
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, free_loop) == 0;
}

static fj_code loop_of_thread(fj_loop **ret, fj_error **err)
{
    (void)pthread_once(&once, make_key);
    if (!have_key)
        return fj_fail(err, FJ_SYSTEM, "no key for a loop of the thread's own");
    *ret = pthread_getspecific(key);
    if (*ret != NULL && !fj__loop_gone(*ret)) /* the parent's of a fork is left alone */
        return FJ_OK;
    *ret = NULL;
    fj_code code = fj_loop_new(ret, err);
    if (code != FJ_OK)
        return code;
    fj__loop_set_private(*ret, true);
    if (pthread_setspecific(key, *ret) == 0)
        return FJ_OK;
    *ret = fj_loop_free(*ret);
    return fj_fail(err, FJ_NOMEM, "no memory for a loop of the thread's own");
}

struct call {
    fj_invoke_fn invoke;
    void *user;
    fj_request *req;
    json_t *args, *ret;
    fj_code code;
    fj_error *error;
};

static fj_code run(void *user, json_t **ret, fj_error **err)
{
    struct call *c = user;

    (void)ret, (void)err;
    fj_request *before = fj__request_enter(c->req);
    c->code = c->invoke(c->user, c->req, c->args, &c->ret, &c->error);
    fj__request_leave(c->req, before);
    return FJ_OK;
}

static fj_code run_on_loop(struct call *c, fj_error **err)
{
    fj_task_opts opts = FJ_TASK_OPTS_INIT;
    fj_task *task = NULL;
    fj_flavour flavour = fj_request_chosen(c->req)->flavour;
    fj_code code = loop_of_thread(&opts.loop, err);

    opts.name = fj_request_chosen(c->req)->name;
    opts.green = flavour == FJ_GREEN;
    opts.stack = flavour == FJ_CORO ? FJ__STACK_CORO : FJ__STACK_DEFAULT;
    if (code == FJ_OK)
        code = fj_task_spawn(run, c, &opts, &task, err);
    /* Turned, not run: whatever it does to its loop, it uses what is on this stack until it has ended. */
    while (code == FJ_OK && !fj_future_done(fj_task_future(task)))
        code = fj_loop_turn(opts.loop, fj_never(), err);
    if (code == FJ_OK)
        code = fj_future_result(fj_task_future(task), NULL, err);
    fj_task_unref(task);
    if (opts.loop != NULL)
        fj__loop_end_tasks(opts.loop); /* what it spawned and did not wait for */
    return code;
}

fj_code fj_invoke_by_flavour(fj_invoke_fn invoke, void *user, fj_request *req, json_t *args, json_t **ret,
                             fj_error **err)
{
    struct call c = { .invoke = invoke, .user = user, .req = req, .args = args, .code = FJ_OK };

    if (fj_request_chosen(req)->flavour == FJ_PLAIN)
        return invoke(user, req, args, ret, err);
    fj_code code = run_on_loop(&c, err);
    if (code != FJ_OK)
        return code;
    *ret = c.ret;
    return c.error != NULL ? fj_error_move(c.error, err) : c.code;
}
