/* SPDX-License-Identifier: Apache-2.0 */
/* Call-backs: soon, at a time, from another thread.  While one is to come the loop holds a reference. */
#include "runtime/loop_impl.h"

#include "base/alloc.h"

struct fj_handle {
    unsigned refs;
    fj_loop *loop; /* NULL once it has run or is cancelled */
    fj_loop_fn fn;
    void *user;
    const char *name;
    fj__job job;
    fj__timer timer;
    fj__letter letter;
};

fj_handle *fj_handle_unref(fj_handle *handle)
{
    if (handle != NULL && --handle->refs == 0)
        fj__free(handle);
    return NULL;
}

static void run(fj_handle *handle)
{
    fj_loop *loop = handle->loop;

    handle->loop = NULL;
    handle->fn(loop, handle->user);
    fj_handle_unref(handle);
}

static void run_job(fj__job *job)
{
    run(fj__container(job, fj_handle, job));
}

static void run_timer(fj__timer *timer, fj_deadline now)
{
    fj_handle *handle = fj__container(timer, fj_handle, timer);
    fj_loop *loop = handle->loop;

    (void)now;
    fj__loop_enter(loop, handle->name);
    run(handle);
    fj__loop_leave(loop);
}

const char *fj__handle_of_timer(const fj__timer *timer)
{
    if (timer->fn != run_timer)
        return NULL;
    const char *name = fj__container(timer, const fj_handle, timer)->name;
    return name != NULL ? name : "a call-back";
}

static void arrive(fj__letter *letter)
{
    fj_handle *handle = fj__container(letter, fj_handle, letter);

    fj__loop_push(handle->loop, &handle->job);
}

void fj_handle_cancel(fj_handle *handle)
{
    fj_loop *loop = handle->loop;

    if (loop == NULL || fj__loop_refuses(loop, "fj_handle_cancel"))
        return;
    fj__loop_pull(loop, &handle->job);
    fj__timer_cancel(&loop->timers, &handle->timer);
    handle->loop = NULL;
    fj_handle_unref(handle);
}

static fj_handle *make(fj_loop *loop, fj_loop_fn fn, void *user, const char *name)
{
    fj_handle *handle = fj__zalloc(sizeof *handle);

    if (handle == NULL)
        return NULL;
    handle->refs = 1;
    handle->loop = loop;
    handle->fn = fn;
    handle->user = user;
    handle->name = name;
    handle->job.run = run_job;
    handle->job.name = name;
    handle->timer.fn = run_timer;
    handle->letter.read = arrive;
    return handle;
}

static void give(fj_handle *handle, fj_handle **ret)
{
    if (ret == NULL)
        return;
    handle->refs++;
    *ret = handle;
}

fj_code fj_loop_call_soon(fj_loop *loop, fj_loop_fn fn, void *user, const char *name, fj_handle **ret)
{
    if (fj__loop_refuses(loop, "fj_loop_call_soon"))
        return FJ_WRONG_CONTEXT;
    fj_handle *handle = make(loop, fn, user, name);
    if (handle == NULL)
        return FJ_NOMEM;
    fj__loop_push(loop, &handle->job);
    give(handle, ret);
    return FJ_OK;
}

fj_code fj_loop_call_at(fj_loop *loop, fj_deadline at, fj_loop_fn fn, void *user, const char *name,
                        fj_handle **ret)
{
    if (fj__loop_refuses(loop, "fj_loop_call_at"))
        return FJ_WRONG_CONTEXT;
    fj_handle *handle = make(loop, fn, user, name);
    if (handle == NULL)
        return FJ_NOMEM;
    if (!fj__timer_set(&loop->timers, &handle->timer, at)) {
        fj_handle_unref(handle);
        return FJ_NOMEM;
    }
    fj__host_stir(loop);
    give(handle, ret);
    return FJ_OK;
}

fj_code fj_loop_call_later(fj_loop *loop, double seconds, fj_loop_fn fn, void *user, const char *name,
                           fj_handle **ret)
{
    return fj_loop_call_at(loop, fj_in_seconds(seconds), fn, user, name, ret);
}

fj_code fj_loop_call_soon_threadsafe(fj_loop *loop, fj_loop_fn fn, void *user, const char *name)
{
    if (!fj__loop_ours(loop))
        return FJ_FORKED;
    if (atomic_load(&loop->closing))
        return FJ_CLOSED;
    fj_handle *handle = make(loop, fn, user, name);
    if (handle == NULL)
        return FJ_NOMEM;
    (void)fj__loop_post(loop, &handle->letter);
    return FJ_OK;
}

bool fj__loop_timer_set(fj_loop *loop, fj__timer *timer, fj_deadline at)
{
    if (fj__loop_refuses(loop, "fj__loop_timer_set") || !fj__timer_set(&loop->timers, timer, at))
        return false;
    fj__host_stir(loop);
    return true;
}

void fj__loop_timer_cancel(fj_loop *loop, fj__timer *timer)
{
    fj__timer_cancel(&loop->timers, timer);
}

static void drop(fj_handle *handle)
{
    handle->loop = NULL;
    fj_handle_unref(handle);
}

/* Jobs and timers of others are only forgotten: their owners outlive the loop or were freed with its kept things. */
void fj__handles_drop(fj_loop *loop)
{
    while (loop->first != NULL) {
        fj__job *job = loop->first;
        fj__loop_pull(loop, job);
        if (job->run == run_job)
            drop(fj__container(job, fj_handle, job));
    }
    while (loop->timers.n != 0) {
        fj__timer *timer = loop->timers.heap[0];
        fj__timer_cancel(&loop->timers, timer);
        if (timer->fn == run_timer)
            drop(fj__container(timer, fj_handle, timer));
    }
}
