/* SPDX-License-Identifier: Apache-2.0 */
/* The tasks of a loop: kept by the loop, which ends them before it goes. */
#include "base/native.h"
#include "runtime/task_impl.h"

#include "base/alloc.h"

#include <execinfo.h>
#include <stdlib.h>

static const char key;

fj__tasks *fj__tasks_ref(fj__tasks *ts)
{
    (void)atomic_fetch_add_explicit(&ts->refs, 1, memory_order_relaxed);
    return ts;
}

void fj__tasks_unref(fj__tasks *ts)
{
    if (ts == NULL || atomic_fetch_sub_explicit(&ts->refs, 1, memory_order_acq_rel) != 1)
        return;
    (void)pthread_mutex_destroy(&ts->lock);
    fj__free(ts);
}

void fj__loop_end_tasks(fj_loop *loop)
{
    fj__tasks *ts = fj__loop_kept(loop, &key);
    bool closing = ts != NULL && ts->closing;

    if (ts == NULL)
        return;
    ts->closing = true;
    for (fj_task *task = ts->first; task != NULL; task = task->next)
        (void)fj_task_cancel(task);
    while (ts->first != NULL || ts->calls_left != 0) {
        fj_error *error = NULL;
        fj_code code = fj_loop_turn(loop, fj_never(), &error);
        bool stuck = code != FJ_OK && code != FJ_TIMEOUT;
        if (stuck)
            fj__loop_trouble(loop, "the loop's last tasks cannot be ended", error);
        fj_error_free(error);
        if (stuck)
            break;
    }
    ts->closing = closing;
}

/* The loop is being freed, and can still run, unless another one runs on this thread. */
static bool end_all(fj_loop *loop)
{
    fj__tasks *ts = fj__loop_kept(loop, &key);

    if (ts->first != NULL && fj_loop_running() != NULL)
        return false;
    ts->closing = true;
    fj__loop_end_tasks(loop);
    return true;
}

static void forget(void *value)
{
    fj__tasks *ts = value;

    (void)fj__native.pthread_mutex_lock(&ts->lock);
    ts->loop = NULL;
    (void)fj__native.pthread_mutex_unlock(&ts->lock);
    fj__tasks_unref(ts);
}

const fj__tasks *fj__tasks_there(fj_loop *loop)
{
    return fj__loop_kept(loop, &key);
}

fj__tasks *fj__tasks_of(fj_loop *loop)
{
    fj__tasks *ts = fj__loop_kept(loop, &key);

    if (ts != NULL)
        return ts;
    ts = fj__zalloc(sizeof *ts);
    if (ts == NULL)
        return NULL;
    atomic_init(&ts->refs, 1);
    (void)pthread_mutex_init(&ts->lock, NULL);
    ts->loop = loop;
    if (fj__loop_keep(loop, &key, ts, forget) == FJ_OK) {
        fj__loop_set_ending(loop, end_all);
        return ts;
    }
    fj__tasks_unref(ts);
    return NULL;
}

void fj__tasks_add(fj__tasks *ts, fj_task *task)
{
    task->home = ts;
    task->prev = NULL;
    task->next = ts->first;
    *(ts->first != NULL ? &ts->first->prev : &ts->last) = task;
    ts->first = task;
    ts->n++;
}

void fj__tasks_remove(fj__tasks *ts, fj_task *task)
{
    if (task->prev != NULL)
        task->prev->next = task->next;
    else
        ts->first = task->next;
    if (task->next != NULL)
        task->next->prev = task->prev;
    else
        ts->last = task->prev;
    task->next = task->prev = NULL;
    ts->n--;
}

void fj_loop_tasks(fj_loop *loop, void (*fn)(fj_task *task, void *user), void *user)
{
    const fj__tasks *ts = fj__loop_kept(loop, &key);
    fj_task *next;

    for (fj_task *task = ts != NULL ? ts->first : NULL; task != NULL; task = next) {
        next = task->next;
        fn(task, user);
    }
}

void fj__tasks_never(fj_loop *loop, const char *what, const char *name, const char *done, void *made_at,
                     const fj_error *error)
{
    char **place = made_at != NULL ? backtrace_symbols(&made_at, 1) : NULL;
    char *text = fj__format("%s \"%s\" was never %s%s%s", what, name, done, place != NULL ? ", made at " : "",
                            place != NULL ? place[0] : "");

    fj__loop_trouble(loop, text != NULL ? text : done, error);
    fj__free(text);
    free(place);
}

void fj__tasks_trouble(fj__tasks *ts, const char *what, const char *name, const char *done, void *made_at,
                       const fj_error *error)
{
    fj_loop *loop = NULL;

    if (ts != NULL) {
        (void)fj__native.pthread_mutex_lock(&ts->lock);
        if (ts->loop != NULL && fj__loop_here(ts->loop))
            loop = ts->loop; /* on its own thread: nobody frees it meanwhile */
        (void)fj__native.pthread_mutex_unlock(&ts->lock);
    }
    fj__tasks_never(loop, what, name, done, made_at, error);
}
