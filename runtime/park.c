/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a task stops and goes on, and what cuts its waits short.
 *
 * Other threads reach a task by its letter, and for that need its loop.  A task can therefore be held, for as long as a
 * letter is posted: it does not end meanwhile, and a loop is freed only when its tasks have ended.
 */
#include "runtime/task_impl.h"

#include "base/alloc.h"
#include "runtime/clock.h"
#include "runtime/green.h"
#include "runtime/report.h"
#include "runtime/trace.h"

#include <sched.h>

static _Thread_local fj_task *current;

__attribute__((noinline)) fj_task *fj_task_current(void)
{
    fj_task *task = current;

    __asm__ volatile(""
                     : "+r"(task)); /* or a compiler infers that it has no effects, and calls it once for two */
    return task;
}

bool fj__task_resume(fj_task *task)
{
    fj_task *before = current;
    int *hooks = task->green ? fj__green_switch() : NULL; /* off before and after: no loop runs in a task */

    current = task;
    task->state = FJ__TASK_RUNNING;
    task->turns++;
    if (hooks != NULL)
        *hooks = 1;
    bool more = fj__fibre_resume(&task->fibre);
    if (hooks != NULL)
        *hooks = 0;
    current = before;
    return more;
}

/* ---- from other threads ------------------------------------------------------------------------ */

bool fj__task_hold(fj_task *task)
{
    if ((atomic_fetch_add_explicit(&task->gate, 2, memory_order_acq_rel) & 1) == 0)
        return true;
    (void)atomic_fetch_sub_explicit(&task->gate, 2, memory_order_acq_rel);
    return false;
}

void fj__task_release(fj_task *task)
{
    (void)atomic_fetch_sub_explicit(&task->gate, 2, memory_order_acq_rel);
}

void fj__task_close(fj_task *task)
{
    /* Without another reference nobody can come any more: who wakes a waiter without one came before it was woken. */
    if (atomic_load_explicit(&task->future.refs, memory_order_acquire) == 1 &&
        atomic_load_explicit(&task->gate, memory_order_acquire) == 0)
        return;
    if (atomic_fetch_or_explicit(&task->gate, 1, memory_order_acq_rel) == 0)
        return;
    while (atomic_load_explicit(&task->gate, memory_order_acquire) != 1)
        (void)sched_yield(); /* somebody writes to the loop's eventfd: a matter of microseconds */
}

void fj__task_wake_here(fj_task *task)
{
    switch (task->state) {
    case FJ__TASK_NEW:
        if (fj__task_asked(task)) /* it will not begin, and need not wait for its time */
            fj__loop_push(task->loop, &task->job);
        break;
    case FJ__TASK_PARKED:
        task->woken = true;
        fj__loop_push(task->loop, &task->job);
        break;
    case FJ__TASK_RUNNING:
        task->woken = true;
        break;
    default:
        break;
    }
}

/* By one who holds it. */
static void wake_held(fj_task *task)
{
    if (fj__loop_here(task->loop) && task->state != FJ__TASK_POSTED) {
        fj__task_wake_here(task);
        return;
    }
    (void)fj_task_ref(task);
    if (!fj__loop_post(task->loop, &task->letter))
        (void)fj_task_unref(task); /* it is there already, with a reference of its own */
}

void fj__task_wake(fj_task *task)
{
    if (fj_loop_running() == task->loop) {
        fj__task_wake_here(task);
    } else if (fj__task_hold(task)) {
        wake_held(task);
        fj__task_release(task);
    }
}

/* ---- cancellation ------------------------------------------------------------------------------ */

static bool ask(fj_task *task, unsigned also)
{
    unsigned was;

    if (!fj__task_hold(task))
        return false;
    was = atomic_load_explicit(&task->cancels, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&task->cancels, &was, (was + FJ__TASK_CANCEL) | also,
                                                  memory_order_acq_rel, memory_order_relaxed))
        ;
    wake_held(task);
    fj__task_release(task);
    return true;
}

bool fj_task_cancel(fj_task *task)
{
    return ask(task, FJ__TASK_PENDING);
}

bool fj_task_kill(fj_task *task)
{
    return ask(task, FJ__TASK_PENDING | FJ__TASK_KILLED);
}

unsigned fj_task_cancelling(const fj_task *task)
{
    return atomic_load_explicit(&task->cancels, memory_order_acquire) / FJ__TASK_CANCEL;
}

unsigned fj_task_uncancel(fj_task *task)
{
    unsigned was = atomic_load_explicit(&task->cancels, memory_order_relaxed);
    unsigned now;

    do {
        now = was >= FJ__TASK_CANCEL ? was - FJ__TASK_CANCEL : was;
        if (now < FJ__TASK_CANCEL)
            now &= ~(unsigned)FJ__TASK_PENDING; /* what nobody wants any more is not told, either */
    } while (!atomic_compare_exchange_weak_explicit(&task->cancels, &was, now, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return now / FJ__TASK_CANCEL;
}

bool fj__task_asked(const fj_task *task)
{
    return (atomic_load_explicit(&task->cancels, memory_order_acquire) &
            (FJ__TASK_PENDING | FJ__TASK_KILLED)) != 0;
}

/* The enclosing timeout that runs out first, of those nobody was told of. */
static fj_timeout *next_timeout(const fj_task *task)
{
    fj_timeout *next = NULL;

    for (fj_timeout *t = task->timeouts; t != NULL; t = t->outer) {
        if (!t->told && !fj_is_never(t->by) && (next == NULL || t->by.ns <= next->by.ns))
            next = t;
    }
    return next;
}

bool fj__task_atomic(const fj_task *task)
{
    return task->atomics != 0;
}

bool fj__task_interrupted(const fj_task *task)
{
    if (task->shields != 0)
        return false;
    const fj_timeout *next = next_timeout(task);
    return fj__task_asked(task) || (next != NULL && fj_passed(next->by));
}

/* What cuts a wait until @p by short now, and is told thereby. */
static fj_code interruption(fj_task *task, fj_deadline by)
{
    if (task->shields != 0)
        return FJ_OK;
    unsigned asked = task->deaf == 0 ? atomic_load_explicit(&task->cancels, memory_order_acquire) : 0;
    if ((asked & FJ__TASK_KILLED) != 0)
        return FJ_CANCELLED;
    if ((asked & FJ__TASK_PENDING) != 0) {
        (void)atomic_fetch_and_explicit(&task->cancels, ~(unsigned)FJ__TASK_PENDING, memory_order_acq_rel);
        return FJ_CANCELLED;
    }
    fj_timeout *next = next_timeout(task);
    if (next == NULL || next->by.ns > by.ns || !fj_passed(next->by))
        return FJ_OK;
    next->fired = next->told = true;
    task->outer = true;
    return FJ_TIMEOUT;
}

bool fj__task_outer(void)
{
    const fj_task *task = fj_task_current();

    return task != NULL && task->outer;
}

/* ---- parking ----------------------------------------------------------------------------------- */

/* A report of a suspension where none may be, with where it was. */
static void report_atomic(const fj_task *task, const char *what)
{
    void *frames[FJ__TRACE_FRAMES];
    char *trace = fj__alloc(FJ__TRACE_TEXT), *text = NULL;

    if (trace != NULL) {
        fj__trace_text(frames, fj__trace_take(frames, FJ__TRACE_FRAMES), trace, FJ__TRACE_TEXT);
        text = fj__format("task \"%s\" would wait for %s in an atomic section, at %s", task->name, what, trace);
    }
    fj__loop_trouble(task->loop, text != NULL ? text : "a wait in an atomic section", NULL);
    fj__free(text);
    fj__free(trace);
}

/* It may be gone on with only to say where it is: its own stack is the one place where an unwinder can begin. */
static void suspend(fj_task *task, const char *what)
{
    task->waits_for = what;
    task->parked = fj__clock_coarse_ns();
    task->state = FJ__TASK_PARKED;
    fj__fibre_suspend();
    while (task->asked != NULL) {
        task->asked->n = fj__trace_take(task->asked->frames, FJ__TRACE_FRAMES);
        fj__fibre_suspend();
    }
    task->waits_for = NULL;
}

int fj__task_trace(fj_task *task, void **frames)
{
    struct fj__asked asked = { .frames = frames };
    int *hooks;

    if (task == fj_task_current())
        return fj__trace_take(frames, FJ__TRACE_FRAMES);
    if (task->state != FJ__TASK_PARKED ||
        (size_t)((char *)task->fibre.sp - task->fibre.stack.base) < FJ__TRACE_ROOM)
        return 0;
    hooks = fj__green_switch(); /* the unwinder has locks, and they are not the task's to wait for */
    int before = hooks != NULL ? *hooks : 0;
    if (hooks != NULL)
        *hooks = 0;
    fj__trace_prepare();
    task->asked = &asked;
    (void)fj__fibre_resume(&task->fibre);
    task->asked = NULL;
    if (hooks != NULL)
        *hooks = before;
    return asked.n;
}

fj_deadline fj__task_latest(const fj_task *task, fj_deadline by)
{
    const fj_timeout *next = task->shields == 0 ? next_timeout(task) : NULL;

    return next != NULL ? fj_sooner(by, next->by) : by;
}

fj_code fj__task_park(const char *what, fj_deadline by)
{
    fj_task *task = fj_task_current();

    task->outer = false;
    fj_code code = interruption(task, by);
    if (code != FJ_OK)
        return code;
    if (fj_passed(by))
        return FJ_TIMEOUT;
    if (task->atomics != 0) {
        report_atomic(task, what);
        return FJ_WRONG_CONTEXT;
    }
    if (!task->woken) {
        if (atomic_load_explicit(&task->owned, memory_order_relaxed) != 0 && fj__green_watched())
            fj__report_held(task, what);
        fj_deadline end = fj__task_latest(task, by);
        /* With no memory for a timer it looks again in each turn. */
        if (!fj_is_never(end) && !fj__loop_timer_set(task->loop, &task->timer, end))
            fj__loop_push(task->loop, &task->job);
        suspend(task, what);
        fj__loop_timer_cancel(task->loop, &task->timer);
    }
    if (task->woken) {
        task->woken = false;
        return FJ_OK;
    }
    code = interruption(task, by);
    return code == FJ_OK && fj_passed(by) ? FJ_TIMEOUT : code;
}

fj_code fj__task_yield(void)
{
    fj_task *task = fj_task_current();

    task->outer = false;
    fj_code code = interruption(task, fj_never());
    if (code != FJ_OK)
        return code;
    if (task->atomics != 0) {
        report_atomic(task, "its turn");
        return FJ_WRONG_CONTEXT;
    }
    fj__loop_push(task->loop, &task->job);
    suspend(task, NULL);
    return interruption(task, fj_never());
}
