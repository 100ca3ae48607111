/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: their beginning and their end.  What is between is in park.c. */
#include "runtime/task_impl.h"

#include "base/alloc.h"
#include "runtime/clock.h"
#include "runtime/owners.h"

#include <string.h>

/* ---- the end ----------------------------------------------------------------------------------- */

static bool cancel_task(fj_future *f)
{
    return fj_task_cancel((fj_task *)f);
}

static void free_task(fj_future *f)
{
    fj_task *task = (fj_task *)f;

    if (f->error != NULL && !atomic_load_explicit(&f->asked, memory_order_relaxed) &&
        fj_error_code(f->error) != FJ_CANCELLED)
        fj__tasks_trouble(task->told, "an error of task", task->name, "retrieved", task->made_at, f->error);
    fj__tasks_unref(task->told);
    fj__heritage_drop(task->own[FJ__LOCAL_HERITAGE]);
    fj__future_fini(f);
    fj__free(task);
}

static const fj__future_kind task_kind = { .cancel = cancel_task, .free = free_task };

fj_task *fj__task_of(fj_future *f)
{
    return f->kind == &task_kind ? (fj_task *)f : NULL;
}

static void complete(fj_task *task)
{
    json_t *result = task->result;
    fj_error *error = task->error;

    task->result = NULL;
    task->error = NULL;
    if (task->code == FJ_OK) {
        fj_error_free(error);
        if (atomic_load_explicit(&task->future.refs, memory_order_acquire) == 1)
            json_decref(result); /* nobody can ask, or wait */
        else
            (void)fj_future_resolve(&task->future, result);
        return;
    }
    json_decref(result);
    if (error == NULL)
        (void)fj_fail(&error, task->code, "task \"%s\": %s", task->name, fj_code_text(task->code));
    if (task->home != NULL)
        task->told = fj__tasks_ref(task->home);
    (void)fj_future_reject(&task->future, error);
}

/* It has returned, or will not begin. */
static void finish(fj_task *task)
{
    task->state = FJ__TASK_ENDED;
    fj__loop_timer_cancel(task->loop, &task->timer);
    if (task->begun)
        fj__fibre_fini(&task->fibre);
    if (task->freed != NULL)
        task->freed(task->user);
    if (task->home != NULL)
        fj__tasks_remove(task->home, task);
    if (atomic_load_explicit(&task->owned, memory_order_acquire) != 0)
        fj__owners_end(task);
    fj__task_close(task);
    complete(task);
    (void)fj_task_unref(task);
}

/* ---- the beginning ----------------------------------------------------------------------------- */

static void entry(void *arg)
{
    fj_task *task = arg;

    task->code = task->fn(task->user, &task->result, &task->error);
    fj__locals_fini(&task->locals);
}

/* @return whether it has; else its code says why */
static bool begin(fj_task *task)
{
    if (fj__task_asked(task)) {
        task->code = FJ_CANCELLED;
        return false;
    }
    task->code = fj__fibre_init(&task->fibre, task->stack, entry, task, &task->error);
    task->begun = task->code == FJ_OK;
    task->fibre.name = task->name;
    return task->begun;
}

static void run(fj__job *job)
{
    fj_task *task = fj__container(job, fj_task, job);

    if ((task->state == FJ__TASK_NEW && !begin(task)) || !fj__task_resume(task))
        finish(task);
}

static void on_time(fj__timer *timer, fj_deadline now)
{
    fj_task *task = fj__container(timer, fj_task, timer);

    (void)now;
    fj__loop_push(task->loop, &task->job);
}

const fj_task *fj__task_of_timer(const fj__timer *timer)
{
    return timer->fn == on_time ? fj__container(timer, const fj_task, timer) : NULL;
}

/* It came to its loop from another thread. */
static void admit(fj_task *task)
{
    /* A letter that is read while the loop does not run is read because it is being freed. */
    bool gone = fj_loop_running() != task->loop;
    fj__tasks *home = gone ? NULL : fj__tasks_of(task->loop);

    task->state = FJ__TASK_NEW;
    if (home == NULL) {
        task->code = gone ? FJ_CANCELLED : FJ_NOMEM;
        finish(task);
        return;
    }
    fj__tasks_add(home, task);
    if (home->closing)
        (void)fj_task_cancel(task);
    fj__loop_push(task->loop, &task->job);
}

static void on_letter(fj__letter *letter)
{
    fj_task *task = fj__container(letter, fj_task, letter);

    if (task->state == FJ__TASK_POSTED)
        admit(task);
    else
        fj__task_wake_here(task);
    (void)fj_task_unref(task);
}

static fj_task *make(fj_task_fn fn, void *user, const fj_task_opts *opts, fj_loop *loop)
{
    const char *name = opts->name != NULL ? opts->name : "task";
    size_t size = opts->name != NULL ? strlen(name) + 1 : 0;
    fj_task *task = fj__zalloc(sizeof *task + size);

    if (task == NULL)
        return NULL;
    fj__future_init(&task->future, &task_kind, NULL, NULL);
    task->name = size != 0 ? memcpy(task + 1, name, size) : name;
    task->job = (fj__job){ .run = run, .name = task->name };
    task->timer.fn = on_time;
    task->letter.read = on_letter;
    task->loop = loop;
    task->fn = fn;
    task->user = user;
    task->freed = opts->freed;
    task->stack = opts->stack != 0 ? opts->stack : FJ__STACK_DEFAULT;
    task->green = opts->green;
    task->made = fj__clock_coarse_ns();
    task->own[FJ__LOCAL_HERITAGE] = fj__heritage_take();
    return task;
}

/* @param room for those of an older, shorter kind */
static const fj_task_opts *full(const fj_task_opts *opts, fj_task_opts *room)
{
    static const fj_task_opts none = FJ_TASK_OPTS_INIT;

    if (opts == NULL || opts->size >= sizeof *opts)
        return opts != NULL ? opts : &none;
    *room = none;
    memcpy(room, opts, opts->size);
    return room;
}

/* The loop of @p opts and its tasks.  Whether this is its thread is looked at in debug mode only: before a loop first runs
 * any thread may be its. */
static fj_code find_home(const fj_task_opts *opts, fj_loop **ret, fj__tasks **ret_home, fj_error **err)
{
    *ret = opts->loop != NULL ? opts->loop : fj_loop_running();
    if (*ret == NULL) {
        fj_code code = fj_loop_current(ret, err);
        if (code != FJ_OK)
            return code;
    }
    if (fj_loop_debug(*ret) && !fj__loop_here(*ret))
        return fj_fail(err, FJ_WRONG_CONTEXT,
                       "the loop is another thread's: fj_task_spawn_threadsafe() is for that");
    *ret_home = fj__tasks_of(*ret);
    if (*ret_home == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a loop's tasks");
    if ((*ret_home)->closing)
        return fj_fail(err, FJ_CLOSED, "the loop is being freed");
    return FJ_OK;
}

static fj_code spawn(void *made_at, const fj_deadline *at, fj_task_fn fn, void *user, const fj_task_opts *opts,
                     fj_task **ret, fj_error **err)
{
    fj_task_opts room;
    fj_loop *loop = NULL;
    fj__tasks *home = NULL;

    opts = full(opts, &room);
    fj_code code = find_home(opts, &loop, &home, err);

    if (code != FJ_OK)
        return code;
    fj_task *task = make(fn, user, opts, loop);
    if (task == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a task");
    task->state = FJ__TASK_NEW;
    if (fj_loop_debug(loop))
        task->made_at = made_at;
    if (at != NULL && !fj__loop_timer_set(loop, &task->timer, *at)) {
        (void)fj_task_unref(task);
        return fj_fail(err, FJ_NOMEM, "no memory for a task's timer");
    }
    fj__tasks_add(home, task);
    if (at == NULL)
        fj__loop_push(loop, &task->job);
    if (ret != NULL)
        *ret = fj_task_ref(task);
    return FJ_OK;
}

fj_code fj_task_spawn(fj_task_fn fn, void *user, const fj_task_opts *opts, fj_task **ret, fj_error **err)
{
    return spawn(__builtin_return_address(0), NULL, fn, user, opts, ret, err);
}

fj_code fj_task_spawn_after(fj_deadline at, fj_task_fn fn, void *user, const fj_task_opts *opts, fj_task **ret,
                            fj_error **err)
{
    return spawn(__builtin_return_address(0), &at, fn, user, opts, ret, err);
}

fj_code fj_task_spawn_threadsafe(fj_task_fn fn, void *user, const fj_task_opts *opts, fj_task **ret,
                                 fj_error **err)
{
    fj_task_opts room;

    opts = full(opts, &room);
    if (opts->loop == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "a task from another thread needs its loop to be named");
    fj_task *task = make(fn, user, opts, opts->loop);
    if (task == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a task");
    if (fj_loop_debug(opts->loop))
        task->made_at = __builtin_return_address(0);
    fj_task *mine = ret != NULL ? fj_task_ref(task) : NULL;
    (void)fj_task_ref(task); /* the letter's; the first is the loop's */
    if (!fj__loop_post(opts->loop, &task->letter)) {
        (void)fj_task_unref(mine);
        (void)fj_task_unref(task);
        (void)fj_task_unref(task);
        return fj_fail(err, FJ_CLOSED, "the loop was freed");
    }
    if (ret != NULL)
        *ret = mine;
    return FJ_OK;
}

/* ---- what others see --------------------------------------------------------------------------- */

fj_task *fj_task_ref(fj_task *task)
{
    return (fj_task *)fj_future_ref(&task->future);
}

fj_task *fj_task_unref(fj_task *task)
{
    return (fj_task *)fj_future_unref((fj_future *)task);
}

fj_future *fj_task_future(fj_task *task)
{
    return &task->future;
}

const char *fj_task_name(const fj_task *task)
{
    return task->name;
}

fj_loop *fj_task_loop(const fj_task *task)
{
    return task->loop;
}

const char *fj_task_waits_for(const fj_task *task)
{
    return task->waits_for;
}

/* ---- being called when it has ended ------------------------------------------------------------ */

struct call {
    fj__job job;
    fj_task *task;
    fj_future_fn fn;
    void *user;
};

static void run_call(fj__job *job)
{
    struct call *call = fj__container(job, struct call, job);

    call->task->home->calls_left--;
    call->fn(&call->task->future, call->user);
    (void)fj_task_unref(call->task);
    fj__free(call);
}

static void push_call(fj_future *f, void *user)
{
    struct call *call = user;

    (void)f;
    call->task->home->calls_left++;
    fj__loop_push(call->task->loop, &call->job);
}

fj_code fj_task_link(fj_task *task, fj_future_fn fn, void *user)
{
    struct call *call = fj__zalloc(sizeof *call);

    if (call == NULL)
        return FJ_NOMEM;
    *call = (struct call){
        .job = { .run = run_call, .name = task->name }, .task = fj_task_ref(task), .fn = fn, .user = user
    };
    fj_code code = fj_future_then(&task->future, push_call, call);
    if (code != FJ_OK) {
        (void)fj_task_unref(task);
        fj__free(call);
    }
    return code;
}
