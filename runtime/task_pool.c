/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of tasks, after eventlet's GreenPool.  A place is handed from the task that ends to the first who waits for one, so
 * that nobody comes in between.  A task of the pool that spawns into it when it is full would wait for itself: it lends
 * its place instead, and waits until the new task has ended.
 */
#include "base/alloc.h"
#include "runtime/member.h"

#include <fjord/group.h>
#include <string.h>

struct fj_task_pool {
    fj__members members;
    unsigned size, running; /* running: places taken, and those that run in a lent one */
    fj_task_opts opts;
    char *name;
    bool freed;
    fj__waiters for_place, for_end, for_none; /* for_end: of one task, the waiter's user */
};

fj_code fj_task_pool_new(unsigned size, const fj_task_opts *opts, fj_task_pool **ret)
{
    if (size == 0)
        return FJ_BAD_VALUE;
    fj_task_pool *pool = fj__zalloc(sizeof *pool);
    if (pool == NULL)
        return FJ_NOMEM;
    pool->size = size;
    pool->opts = (fj_task_opts)FJ_TASK_OPTS_INIT;
    if (opts != NULL)
        memcpy(&pool->opts, opts, opts->size < sizeof pool->opts ? opts->size : sizeof pool->opts);
    pool->opts.size = sizeof pool->opts;
    pool->name = fj__strdup(pool->opts.name);
    if (pool->opts.name != NULL && pool->name == NULL) {
        fj__free(pool);
        return FJ_NOMEM;
    }
    pool->opts.name = pool->name;
    *ret = pool;
    return FJ_OK;
}

static void destroy(fj_task_pool *pool)
{
    fj__free(pool->name);
    fj__free(pool);
}

fj_task_pool *fj_task_pool_free(fj_task_pool *pool)
{
    if (pool == NULL)
        return NULL;
    pool->freed = true;
    if (pool->running == 0)
        destroy(pool);
    return NULL;
}

static void give_place(fj_task_pool *pool)
{
    if (pool->running <= pool->size && fj__member_wake(&pool->for_place))
        return;
    if (--pool->running != 0)
        return;
    fj__member_wake_all(&pool->for_none);
    if (pool->freed)
        destroy(pool);
}

static void on_ended(fj__member *m)
{
    fj_task_pool *pool = m->company;

    for (fj__waiter *w = pool->for_end.first; w != NULL; w = w->next) {
        if (w->user == m) {
            fj__waiters_remove(&pool->for_end, w);
            fj__waiter_wake(w);
            break;
        }
    }
    fj__member_leave(&pool->members, m);
    give_place(pool);
}

static fj_code take_place(fj_task_pool *pool, fj_deadline by)
{
    if (pool->running >= pool->size)
        return fj__member_wait(&pool->for_place, "task pool", NULL, by);
    pool->running++;
    return FJ_OK;
}

/* With a place, which is given back on failure. */
static fj_code begin(fj_task_pool *pool, fj_task_fn fn, void *user, fj__member **ret, fj_error **err)
{
    fj__member model = { .fn = fn, .user = user, .company = pool, .ended = on_ended };
    fj_code code = fj__member_spawn(&pool->members, &model, &pool->opts, ret, err);

    if (code != FJ_OK)
        give_place(pool);
    return code;
}

/* Wait for the end of @p m, which runs in the place of the running task. */
static fj_code stand_back(fj_task_pool *pool, fj__member *m, fj_error **err)
{
    fj_task *task = fj_task_ref(m->task);
    fj_code code = fj__member_wait(&pool->for_end, "task of a full pool", m, fj_never());

    if (code != FJ_OK) {
        (void)fj_task_cancel(task);
        (void)fj_fail(err, code, "cut short while a task ran in the place of this one: %s", fj_code_text(code));
    }
    (void)fj_task_unref(task);
    return code;
}

fj_code fj_task_pool_spawn(fj_task_pool *pool, fj_task_fn fn, void *user, fj_deadline by, fj_task **ret,
                           fj_error **err)
{
    bool lend = pool->running >= pool->size && fj__member_runs(&pool->members);
    fj__member *m = NULL;
    fj_code code = FJ_OK;

    if (fj_task_current() == NULL)
        return fj_fail(err, FJ_WRONG_CONTEXT, "only a task can wait for a place in a pool");
    if (lend)
        pool->running++;
    else
        code = take_place(pool, by);
    if (code != FJ_OK)
        return fj_fail(err, code, "no place in the pool: %s", fj_code_text(code));
    code = begin(pool, fn, user, &m, err);
    if (code != FJ_OK)
        return code;
    fj_task *task = ret != NULL ? fj_task_ref(m->task) : NULL;
    if (lend)
        code = stand_back(pool, m, err);
    if (code == FJ_OK && ret != NULL)
        *ret = task;
    else
        (void)fj_task_unref(task);
    return code;
}

unsigned fj_task_pool_running(const fj_task_pool *pool)
{
    return pool->running;
}

fj_code fj_task_pool_wait(fj_task_pool *pool, fj_deadline by)
{
    fj_code code = FJ_OK;

    if (fj_task_current() == NULL)
        return FJ_WRONG_CONTEXT;
    if (fj__member_runs(&pool->members))
        return FJ_STATE;
    while (code == FJ_OK && pool->running != 0)
        code = fj__member_wait(&pool->for_none, "task pool", NULL, by);
    return code;
}
