/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/member.h"

#include "base/alloc.h"

#include <string.h>

static fj_task_opts full(const fj_task_opts *opts)
{
    fj_task_opts all = FJ_TASK_OPTS_INIT;

    if (opts != NULL)
        memcpy(&all, opts, opts->size < sizeof all ? opts->size : sizeof all);
    all.size = sizeof all;
    return all;
}

static fj_code run(void *user, json_t **ret, fj_error **err)
{
    const fj__member *m = user;

    return m->fn(m->user, ret, err);
}

/* The task has run, or never will; it is complete only after this. */
static void on_freed(void *user)
{
    fj__member *m = user;

    if (m->undone)
        fj__free(m);
    else if (m->freed != NULL)
        m->freed(m->user);
}

static void on_complete(fj_future *future, void *user)
{
    fj__member *m = user;

    (void)future;
    if (m->undone)
        return;
    m->ended(m);
    (void)fj_task_unref(m->task);
    fj__free(m);
}

static void push(fj__members *list, fj__member *m)
{
    m->next = list->first;
    if (m->next != NULL)
        m->next->prev = m;
    list->first = m;
}

void fj__member_leave(fj__members *list, fj__member *m)
{
    *(m->prev != NULL ? &m->prev->next : &list->first) = m->next;
    if (m->next != NULL)
        m->next->prev = m->prev;
}

fj_code fj__member_spawn(fj__members *list, const fj__member *model, const fj_task_opts *opts, fj__member **ret,
                         fj_error **err)
{
    fj_task_opts all = full(opts);
    fj__member *m = fj__memdup(model, sizeof *model);

    if (m == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a task");
    m->freed = all.freed;
    all.freed = on_freed;
    fj_code code = fj_task_spawn(run, m, &all, &m->task, err);
    if (code != FJ_OK) {
        fj__free(m);
        return code;
    }
    if (fj_future_then(fj_task_future(m->task), on_complete, m) != FJ_OK) {
        fj_task *task = m->task;
        m->undone = true; /* it has not begun, and takes the member with it */
        (void)fj_task_cancel(task);
        (void)fj_task_unref(task);
        return fj_fail(err, FJ_NOMEM, "no memory for a task");
    }
    push(list, m);
    *ret = m;
    return FJ_OK;
}

bool fj__member_runs(const fj__members *list)
{
    const fj_task *current = fj_task_current();
    const fj__member *m = current != NULL ? list->first : NULL;

    while (m != NULL && m->task != current)
        m = m->next;
    return m != NULL;
}

fj_code fj__member_wait(fj__waiters *line, const char *what, void *user, fj_deadline by)
{
    fj__waiter w;
    fj_code code = fj__waiter_init(&w, what);

    if (code != FJ_OK || w.task == NULL)
        return FJ_WRONG_CONTEXT;
    w.user = user;
    fj__waiters_push(line, &w);
    code = fj__waiter_wait(&w, by);
    if (fj__waiters_has(line, &w))
        fj__waiters_remove(line, &w);
    return code;
}

bool fj__member_wake(fj__waiters *line)
{
    fj__waiter *w = line->first;

    if (w == NULL)
        return false;
    fj__waiters_remove(line, w);
    fj__waiter_wake(w);
    return true;
}

void fj__member_wake_all(fj__waiters *line)
{
    while (fj__member_wake(line))
        ;
}
