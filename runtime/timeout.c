/* SPDX-License-Identifier: Apache-2.0 */
/* Stretches of a task: timeouts, shields, atomic sections.  Outside of tasks they are nothing, but a timeout is told. */
#include "runtime/task_impl.h"

void fj_timeout_begin(fj_timeout *t, fj_deadline by)
{
    fj_task *task = fj_task_current();

    *t = (fj_timeout){ .task = task, .by = by };
    if (task != NULL) {
        t->outer = task->timeouts;
        task->timeouts = t;
    }
}

bool fj_timeout_end(fj_timeout *t)
{
    if (t->task == NULL)
        return fj_passed(t->by);
    /* Those begun within it and left by an early return end with it. */
    t->task->timeouts = t->outer;
    return t->told;
}

void fj_timeout_reschedule(fj_timeout *t, fj_deadline by)
{
    t->by = by; /* what was told stays told */
}

void fj_shield_begin(void)
{
    fj_task *task = fj_task_current();

    if (task != NULL)
        task->shields++;
}

void fj_shield_end(void)
{
    fj_task *task = fj_task_current();

    if (task != NULL && task->shields != 0)
        task->shields--;
}

void fj_atomic_begin(void)
{
    fj_task *task = fj_task_current();

    if (task != NULL)
        task->atomics++;
}

void fj_atomic_end(void)
{
    fj_task *task = fj_task_current();

    if (task != NULL && task->atomics != 0)
        task->atomics--;
}
