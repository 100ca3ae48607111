/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of tasks, after asyncio's TaskGroup: what begins in one ends in one.  Whatever comes first, an error, the
 * deadline or the cancellation of one who waits, is the group's outcome, and cancels who is left.
 */
#include "runtime/group.h"

#include "base/alloc.h"
#include "runtime/future_impl.h"
#include "runtime/member.h"

struct fj_task_group {
    fj__members members;
    unsigned refs; /* the user's, and one of each member and each who waits */
    bool over, freed;
    fj_error *error; /* what came first */
    fj__waiters waiting;
};

fj_code fj_task_group_new(fj_task_group **ret)
{
    fj_task_group *group = fj__zalloc(sizeof *group);

    if (group == NULL)
        return FJ_NOMEM;
    group->refs = 1;
    *ret = group;
    return FJ_OK;
}

static void unref(fj_task_group *group)
{
    if (--group->refs != 0)
        return;
    fj_error_free(group->error);
    fj__free(group);
}

static void cancel_all(fj_task_group *group)
{
    for (fj__member *m = group->members.first; m != NULL; m = m->next)
        (void)fj_task_cancel(m->task);
}

fj_task_group *fj_task_group_free(fj_task_group *group)
{
    if (group == NULL)
        return NULL;
    group->over = group->freed = true;
    cancel_all(group);
    unref(group);
    return NULL;
}

bool fj__task_group_well(const fj_task_group *group)
{
    return group->error == NULL && !group->over;
}

void fj__task_group_fail(fj_task_group *group, fj_error *error)
{
    if (group->error != NULL || group->freed) {
        fj_error_free(error);
        return;
    }
    group->error = error;
    cancel_all(group);
    fj__member_wake_all(&group->waiting); /* they no longer wait for their deadlines */
}

/* The task's error, if it is the first; later ones are the loop's to report, unless somebody asks the tasks. */
static void on_ended(fj__member *m)
{
    fj_task_group *group = m->company;
    fj_future *future = fj_task_future(m->task);

    fj__member_leave(&group->members, m);
    if (group->error == NULL && !group->freed) {
        fj_code code = fj_future_result(future, NULL, NULL);
        if (code != FJ_OK && code != FJ_CANCELLED)
            fj__task_group_fail(group, fj__future_error(future));
    }
    if (group->members.first == NULL)
        fj__member_wake_all(&group->waiting);
    unref(group);
}

fj_code fj_task_group_spawn(fj_task_group *group, fj_task_fn fn, void *user, const fj_task_opts *opts,
                            fj_task **ret, fj_error **err)
{
    fj__member model = { .fn = fn, .user = user, .company = group, .ended = on_ended };
    fj__member *m = NULL;

    if (!fj__task_group_well(group))
        return fj_fail(err, FJ_STATE, "the group of tasks is over");
    fj_code code = fj__member_spawn(&group->members, &model, opts, &m, err);
    if (code != FJ_OK)
        return code;
    group->refs++;
    if (ret != NULL)
        *ret = fj_task_ref(m->task);
    return FJ_OK;
}

/* Wait until all have ended, or something has gone wrong.  @return OK, or what cut the wait short */
static fj_code wait_well(fj_task_group *group, fj_deadline by)
{
    fj_code code = FJ_OK;

    while (code == FJ_OK && group->members.first != NULL && group->error == NULL)
        code = fj__member_wait(&group->waiting, "task group", NULL, by);
    return code;
}

/* Wait for those that were cancelled.  What cuts other waits short is kept for later. */
static void wait_ends(fj_task_group *group)
{
    fj_code code = FJ_OK;

    fj_shield_begin();
    while (code == FJ_OK && group->members.first != NULL)
        code = fj__member_wait(&group->waiting, "cancelled task group", NULL, fj_never());
    fj_shield_end();
}

static fj_code outcome(const fj_task_group *group, fj_error **err)
{
    fj_code code = fj_error_code(group->error);
    fj_error *copy = err != NULL ? fj_error_copy(group->error) : NULL;

    if (copy != NULL)
        (void)fj_error_move(copy, err);
    return code;
}

fj_code fj_task_group_wait(fj_task_group *group, fj_deadline by, fj_error **err)
{
    fj_error *error = NULL;

    if (fj_task_current() == NULL)
        return fj_fail(err, FJ_WRONG_CONTEXT, "only a task can wait for a group of tasks");
    if (fj__member_runs(&group->members))
        return fj_fail(err, FJ_STATE, "a task of the group would wait for itself");
    group->refs++;
    fj_code code = wait_well(group, by);
    if (code == FJ_TIMEOUT || code == FJ_CANCELLED) {
        (void)fj_fail(&error, code, "the wait for a group of tasks was cut short: %s", fj_code_text(code));
        fj__task_group_fail(group, error);
    }
    if (code == FJ_WRONG_CONTEXT) {
        (void)fj_fail(err, code, "a group of tasks cannot be waited for here");
    } else {
        wait_ends(group);
        group->over = true;
        code = outcome(group, err);
    }
    unref(group);
    return code;
}
