/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/report.h"

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/owners.h"
#include "runtime/task_impl.h"
#include "runtime/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 96 };

/* ---- words -------------------------------------------------------------------------------------- */

static const char *name_of(const fj_task *task, pid_t thread, char *text)
{
    if (task != NULL)
        (void)snprintf(text, NAME, "task \"%s\"", task->name);
    else
        (void)snprintf(text, NAME, "thread %ld", (long)thread);
    return text;
}

static const char *name_wanted(const fj__wanted *wanted, char *text)
{
    if (strcmp(wanted->what, wanted->kind) != 0)
        (void)snprintf(text, NAME, "%s \"%s\"", wanted->kind, wanted->what);
    else
        (void)snprintf(text, NAME, "%s %p", wanted->kind, wanted->object);
    return text;
}

char *fj__report_wait(const fj_task *task, pid_t thread, const fj__wanted *wanted, const fj_task *owner,
                      pid_t owner_thread)
{
    char who[NAME], what[NAME], whose[NAME];

    (void)name_of(task, thread, who);
    (void)name_of(owner, owner_thread, whose);
    if (!wanted->lock)
        return fj__format("%s waits for %s", who, whose);
    return fj__format("%s waits for %s, which %s holds", who, name_wanted(wanted, what), whose);
}

static char *name_wait(const fj_task *task)
{
    const fj__wanted *wanted = task->waiter != NULL ? task->waiter->wanted : NULL;
    char what[NAME];

    if (wanted != NULL && wanted->owner != NULL &&
        !wanted->lock) /* a task, which exists as long as it is waited for */
        return fj__format("task \"%s\" waits for task \"%s\"", task->name,
                          ((const fj_task *)wanted->object)->name);
    if (wanted != NULL)
        return fj__format("task \"%s\" waits for %s", task->name, name_wanted(wanted, what));
    return fj__format("task \"%s\" waits for %s", task->name, task->waits_for);
}

char *fj__report_wanted(const fj_task *task)
{
    const fj__wanted *wanted = task->waiter != NULL ? task->waiter->wanted : NULL;
    char what[NAME];

    if (task->state != FJ__TASK_PARKED || task->job.queued || task->waits_for == NULL)
        return NULL;
    if (wanted != NULL && wanted->owner != NULL && !wanted->lock)
        return fj__format("task \"%s\"", ((const fj_task *)wanted->object)->name);
    return fj__strdup(wanted != NULL ? name_wanted(wanted, what) : task->waits_for);
}

char *fj__report_task(const fj_task *task)
{
    if (task == fj_task_current())
        return fj__format("task \"%s\" runs", task->name);
    if (task->state != FJ__TASK_PARKED)
        return fj__format("task \"%s\" has not begun", task->name);
    if (task->job.queued || task->waits_for == NULL)
        return fj__format("task \"%s\" is ready to go on", task->name);
    return name_wait(task);
}

char *fj__report_join(char *text, const char *between, const char *more)
{
    char *both = more != NULL ? fj__format("%s%s%s", text != NULL ? text : "", between, more) : NULL;

    fj__free(text);
    return both;
}

/* ---- stacks ------------------------------------------------------------------------------------- */

static void log_trace(fj_log_level level, const char *text, void *const *frames, int n)
{
    char *trace = fj__alloc(FJ__TRACE_TEXT);

    if (trace == NULL)
        return;
    fj__trace_text(frames, n, trace, FJ__TRACE_TEXT);
    fj__log(level, "loop", "%s, at %s", text, trace);
    fj__free(trace);
}

void fj__report_here(fj_log_level level, const char *text)
{
    void *frames[FJ__TRACE_FRAMES];

    log_trace(level, text, frames, fj__trace_take(frames, FJ__TRACE_FRAMES));
}

/* ---- locks of libc ------------------------------------------------------------------------------ */

/* Whether a call from this place, the innermost calls of it, is told for the first time. */
static bool is_new_place(void *const *frames, int n)
{
    static _Atomic uintptr_t places[64];
    uintptr_t place = 0;

    for (int i = 0; i < n && i < 12; i++)
        place = place * 31 + (uintptr_t)frames[i];
    for (size_t i = 0; i < fj__countof(places); i++) {
        uintptr_t there = 0;
        if (atomic_compare_exchange_strong(&places[i], &there, place))
            return true;
        if (there == place)
            return false;
    }
    return false;
}

static bool has_room(const fj_task *task)
{
    const char *here = __builtin_frame_address(0);

    return here < task->fibre.stack.base || (size_t)(here - task->fibre.stack.base) >= FJ__TRACE_ROOM;
}

__attribute__((noinline)) static void tell_held(const fj_task *task, const char *what)
{
    void *frames[FJ__TRACE_FRAMES];
    int n = fj__trace_take(frames, FJ__TRACE_FRAMES);

    if (!is_new_place(frames, n))
        return;
    char *text = fj__format(
        "task \"%s\" waits for %s and holds the pthread_mutex_t %p: a task of the same thread that locks "
        "it blocks them all",
        task->name, what != NULL ? what : "its turn", (const void *)fj__owned_by(task));
    if (text != NULL)
        log_trace(FJ_LOG_WARNING, text, frames, n);
    fj__free(text);
}

/* The unwinder was loaded by the watchdog. */
void fj__report_held(const fj_task *task, const char *what)
{
    if (has_room(task))
        tell_held(task, what);
}

void fj__report_stuck_lock(const volatile void *address)
{
    const fj_task *task = fj_task_current();
    fj_task *owner = fj__owner_of(address);
    char *text =
        fj__format("task \"%s\" locks the pthread_mutex_t %p, which %s%s%s: the thread blocks for ever",
                   task->name, (const void *)address, owner != NULL ? "task \"" : "its own thread",
                   owner != NULL ? owner->name : "", owner != NULL ? "\" of the same thread holds" : " holds");

    if (text != NULL && has_room(task))
        fj__report_here(FJ_LOG_ERROR, text);
    else
        fj__log(FJ_LOG_ERROR, "loop", "%s", text != NULL ? text : "a task locks a mutex that its thread holds");
    fj__free(text);
    fj_task_unref(owner);
}

static void look_at(fj_log_level level, fj_task *task, const char *text)
{
    void *frames[FJ__TRACE_FRAMES];
    int n = fj__task_trace(task, frames);

    if (n > 0)
        log_trace(level, text, frames, n);
    else
        fj__log(level, "loop", "%s; where, is not known: it has gone on, or its stack is too full to tell",
                text);
}

/* ---- what users call ---------------------------------------------------------------------------- */

fj_code fj_task_stack(fj_task *task, char *text, size_t size)
{
    void *frames[FJ__TRACE_FRAMES];

    if (!fj__loop_here(task->loop))
        return FJ_WRONG_CONTEXT;
    int n = fj__task_trace(task, frames);
    if (n == 0)
        return FJ_STATE;
    fj__trace_text(frames, n, text, size);
    return FJ_OK;
}

struct lines {
    void (*line)(void *user, const char *text);
    void *user;
};

static void log_line(void *user, const char *text)
{
    (void)user;
    fj__log(FJ_LOG_WARNING, "loop", "%s", text);
}

static void tell_task(fj_task *task, void *user)
{
    const struct lines *to = user;
    char *stack = fj__alloc(FJ__TRACE_TEXT), *text = fj__report_task(task);

    if (stack != NULL && text != NULL && fj_task_stack(task, stack, FJ__TRACE_TEXT) == FJ_OK) {
        text = fj__report_join(text, ", at ", stack);
    }
    if (text != NULL)
        to->line(to->user, text);
    fj__free(text);
    fj__free(stack);
}

void fj_loop_report(fj_loop *loop, void (*line)(void *user, const char *text), void *user)
{
    struct lines to = { line != NULL ? line : log_line, user };

    if (fj__loop_here(loop))
        fj_loop_tasks(loop, tell_task, &to);
}

/* ---- of other loops' tasks ---------------------------------------------------------------------- */

struct sight {
    fj__letter letter;
    fj_log_level level;
    fj_task *task; /* a reference */
    char *text;
};

static void free_sight(struct sight *s)
{
    fj_task_unref(s->task);
    fj__free(s->text);
    fj__free(s);
}

static void read_sight(fj__letter *letter)
{
    struct sight *s = fj__container(letter, struct sight, letter);

    if (fj_loop_running() == s->task->loop) /* else it is being freed */
        look_at(s->level, s->task, s->text);
    free_sight(s);
}

static bool post(fj_log_level level, fj_task *task, const char *text)
{
    struct sight *s = fj__zalloc(sizeof *s);

    if (s == NULL)
        return false;
    *s = (struct sight){
        .letter = { .read = read_sight }, .level = level, .task = fj_task_ref(task), .text = fj__strdup(text)
    };
    if (s->text != NULL && fj__loop_post(task->loop, &s->letter))
        return true;
    free_sight(s);
    return false;
}

void fj__report_sight(fj_log_level level, fj_task *task, const char *text)
{
    if (!fj__task_hold(task))
        return;
    /* It has not ended, and so its loop is there. */
    bool here = fj__loop_here(task->loop);
    if (!here)
        (void)post(level, task, text);
    fj__task_release(task);
    if (here) /* where it cannot end meanwhile */
        look_at(level, task, text);
}
