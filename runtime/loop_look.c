/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On the loop's thread.  All tasks are written down in one turn, so that together they are a picture of one moment; where each is
 * needs a switch into it and an unwinder, so that is asked a few at a time.
 */
#include "runtime/loop_look.h"

#include "base/alloc.h"
#include "runtime/capture.h"
#include "runtime/loop_impl.h"
#include "runtime/report.h"
#include "runtime/task_impl.h"

#include <stdio.h>
#include <string.h>

#define SLICE_NS 300000 /* of a turn, a third of what jobs have: FJ__LOOP_JOBS_NS */
enum { READY_MAX = 100000 };

struct question {
    fj__letter letter;
    fj_loop *loop; /* a reference */
    fj__look_fn fn;
    void *user;
    fj__look *look;
    fj_task **tasks; /* references, as in look->tasks */
    unsigned *turns; /* of each then */
    size_t traced;   /* how many were asked where they are */
};

static _Atomic(void (*)(const void *, fj__look_request *)) about;

void fj__look_set_requests(void (*fn)(const void *request, fj__look_request *ret))
{
    atomic_store(&about, fn);
}

fj__look_request fj__look_about(const void *request)
{
    void (*fn)(const void *, fj__look_request *) = atomic_load(&about);
    fj__look_request ret = { NULL, NULL };

    if (request != NULL && fn != NULL)
        fn(request, &ret);
    return ret;
}

void fj__look_free(fj__look *look)
{
    if (look == NULL)
        return;
    for (size_t i = 0; i < look->n_tasks; i++)
        fj__free(look->tasks[i].frames);
    fj__free(look->tasks);
    fj__free(look->timers);
    fj__free(look);
}

/* ---- copying ------------------------------------------------------------------------------------ */

/* What is cut is cut before a character, not within one. */
static void copy(char *to, size_t size, const char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;

    if (n >= size) {
        n = size - 1;
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
            n--;
    }
    if (n > 0)
        memcpy(to, text, n);
    to[n] = '\0';
}

static const char *state_of(const fj_task *task)
{
    if (task == fj_task_current())
        return "running";
    if (task->state != FJ__TASK_PARKED)
        return "new";
    return task->job.queued || task->waits_for == NULL ? "ready" : "waiting";
}

static void copy_task(fj_task *task, fj__look_task *to)
{
    static atomic_uint ids;
    fj__look_request request = fj__look_about(task->own[FJ__LOCAL_REQUEST]);
    char *waits = fj__report_wanted(task);

    if (task->id == 0)
        task->id = atomic_fetch_add(&ids, 1) + 1;
    to->id = task->id;
    to->state = state_of(task);
    to->made = task->made;
    to->parked = task->state == FJ__TASK_PARKED ? task->parked : 0;
    to->ends = task->timer.place != 0 ? task->timer.at : FJ_NEVER_NS;
    to->green = task->green;
    to->stack_size = task->begun ? task->fibre.stack.size : task->stack;
    if (task->begun && task->fibre.sp != NULL)
        to->stack = (size_t)(task->fibre.stack.base + task->fibre.stack.size - (char *)task->fibre.sp);
    copy(to->name, sizeof to->name, task->name);
    copy(to->waits, sizeof to->waits, waits);
    copy(to->request, sizeof to->request, request.id);
    copy(to->method, sizeof to->method, request.method);
    fj__free(waits);
}

static bool look_at_tasks(struct question *q)
{
    const fj__tasks *ts = fj__tasks_there(q->loop);
    size_t n = ts != NULL && ts->n < FJ__LOOK_TASKS ? ts->n : ts != NULL ? FJ__LOOK_TASKS : 0;

    q->look->all_tasks = ts != NULL ? ts->n : 0;
    if (n == 0)
        return true;
    q->look->tasks = fj__zalloc(n * sizeof q->look->tasks[0]);
    q->tasks = fj__alloc(n * sizeof(fj_task *));
    q->turns = fj__alloc(n * sizeof q->turns[0]);
    if (q->look->tasks == NULL || q->tasks == NULL || q->turns == NULL)
        return false;
    for (fj_task *task = ts->last; task != NULL && q->look->n_tasks < n; task = task->prev) {
        size_t i = q->look->n_tasks++;
        copy_task(task, &q->look->tasks[i]);
        q->tasks[i] = fj_task_ref(task);
        q->turns[i] = task->turns;
    }
    return true;
}

static void copy_timer(const fj__timer *timer, fj__look_timer *to)
{
    const fj_task *task = fj__task_of_timer(timer);
    const char *name = task != NULL ? task->name : fj__handle_of_timer(timer);

    to->at = timer->at;
    copy(to->what, sizeof to->what, name != NULL ? name : "a timer of the library");
    if (task != NULL)
        (void)snprintf(to->what, sizeof to->what, "task %.*s", FJ__LOOK_NAME - 1, name);
}

/* What stands first in a heap is not in order, but nothing that stands behind it is sooner than all of it. */
static bool look_at_timers(const fj__timers *ts, fj__look *look)
{
    size_t n = ts->n < FJ__LOOK_TIMERS ? ts->n : FJ__LOOK_TIMERS;

    look->all_timers = ts->n;
    if (n == 0)
        return true;
    look->timers = fj__zalloc(n * sizeof look->timers[0]);
    if (look->timers == NULL)
        return false;
    for (; look->n_timers < n; look->n_timers++)
        copy_timer(ts->heap[look->n_timers], &look->timers[look->n_timers]);
    return true;
}

static void copy_watcher(void *user, int fd, bool read, bool write, const char *what)
{
    fj__look *look = user;

    look->all_watchers++;
    if (look->n_watchers < FJ__LOOK_WATCHERS)
        look->watchers[look->n_watchers++] = (fj__look_watcher){ fd, read, write, what };
}

static void look_at_loop(fj_loop *loop, fj__look *look)
{
    (void)pthread_getname_np(pthread_self(), look->thread, sizeof look->thread);
    look->tid = fj__thread_id();
    look->label = atomic_load(&loop->label);
    look->turns = loop->turns;
    look->private_ = loop->is_private;
    look->hosted = loop->host != NULL;
    look->debug = fj_loop_debug(loop);
    for (const fj__job *job = loop->first; job != NULL && look->ready < READY_MAX; job = job->next)
        look->ready++;
    fj__fds_each(loop, copy_watcher, look);
    fj__sources_each(loop, copy_watcher, look);
}

static bool look_at_all(struct question *q)
{
    q->look = fj__zalloc(sizeof *q->look);
    if (q->look == NULL)
        return false;
    look_at_loop(q->loop, q->look);
    return look_at_timers(&q->loop->timers, q->look) && look_at_tasks(q);
}

/* ---- where tasks are ---------------------------------------------------------------------------- */

/* Unless it has gone on since it was written down. */
static void trace(fj_task *task, unsigned turns, fj__look_task *to)
{
    void *frames[FJ__TRACE_FRAMES];

    if (task->state != FJ__TASK_PARKED || task->turns != turns)
        return;
    int n = fj__task_trace(task, frames);
    to->frames = n > 0 ? fj__memdup(frames, (size_t)n * sizeof frames[0]) : NULL;
    to->n = to->frames != NULL ? n : 0;
}

/* @return whether all were asked */
static bool trace_some(struct question *q)
{
    int64_t until = fj__clock_real_ns() + SLICE_NS;

    while (q->traced < q->look->n_tasks && fj__clock_real_ns() < until) {
        trace(q->tasks[q->traced], q->turns[q->traced], &q->look->tasks[q->traced]);
        q->traced++;
    }
    return q->traced == q->look->n_tasks;
}

/* ---- being asked -------------------------------------------------------------------------------- */

static void finish(struct question *q)
{
    fj_loop *loop = q->loop;
    fj__look *look = q->look;

    for (size_t i = 0; look != NULL && i < look->n_tasks; i++)
        fj_task_unref(q->tasks[i]);
    fj__free(q->tasks);
    fj__free(q->turns);
    q->fn(q->user, look);
    fj__free(q);
    fj__loop_unref(loop);
}

static void read_question(fj__letter *letter)
{
    struct question *q = fj__container(letter, struct question, letter);
    bool here = fj_loop_running() == q->loop; /* else it is being freed */

    if (q->look == NULL) {
        (void)atomic_fetch_sub(&q->loop->asked, 1);
        if (here && !look_at_all(q)) {
            fj__look *half = q->look;
            for (size_t i = 0; half != NULL && i < half->n_tasks; i++)
                fj_task_unref(q->tasks[i]);
            fj__look_free(half);
            q->look = NULL;
            here = false;
        }
    }
    if (!here || trace_some(q) || !fj__loop_post(q->loop, &q->letter))
        finish(q);
}

bool fj__look_at(fj_loop *loop, fj__look_fn fn, void *user)
{
    if (atomic_fetch_add(&loop->asked, 1) < FJ__LOOK_QUESTIONS) {
        struct question *q = fj__zalloc(sizeof *q);
        if (q != NULL) {
            q->letter.read = read_question;
            q->loop = fj__loop_ref(loop);
            q->fn = fn;
            q->user = user;
            if (fj__loop_post(loop, &q->letter))
                return true;
            fj__loop_unref(loop);
            fj__free(q);
        }
    }
    (void)atomic_fetch_sub(&loop->asked, 1);
    return false;
}
