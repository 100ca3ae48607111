/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TASK_H
#define FJORD_TASK_H
/*
 * Tasks: functions that run on a loop, each on a stack of its own, and wait without blocking the loop's thread.  A task
 * never changes its thread.  Its outcome is a future (<fjord/future.h>); waiting is in <fjord/await.h>.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/loop.h>

FJ_BEGIN_DECLS

typedef struct fj_task fj_task;

/** What a task does.  @param ret gives the result; left NULL it is JSON null   @return the outcome */
typedef fj_code (*fj_task_fn)(void *user, json_t **ret, fj_error **err);

typedef struct {
    size_t size;
    const char *name; /**< lends, copied; NULL: "task" */
    size_t stack;     /**< bytes; 0: 64 KiB; at least 16 KiB */
    bool green;       /**< blocking calls of libc may switch (libfjord-green) */
    fj_loop *loop;    /**< NULL: the running loop, else the thread's current one */
    void (*freed)(
        void *user); /**< called once when a spawned task has ended or will never begin; may be NULL */
} fj_task_opts;
#define FJ_TASK_OPTS_INIT                                \
    {                                                    \
        sizeof(fj_task_opts), NULL, 0, false, NULL, NULL \
    }

/** Make a task that begins in the loop's next turn.
 *  @param opts may be NULL   @param ret gives one reference; may be NULL: the task is on its own, and an error it ends
 *  with is reported   @thread the loop's; from another thread use fj_task_spawn_threadsafe()
 *  @errors NOMEM; CLOSED while the loop is freed; those of fj_loop_current(); WRONG_CONTEXT in debug mode on another
 *  thread.  A task takes its stack when it begins: want of one (NOMEM, SYSTEM: vm.max_map_count) is how it ends */
FJ_API FJ_MUST_USE fj_code fj_task_spawn(fj_task_fn fn, void *user, const fj_task_opts *opts, fj_task **ret,
                                         fj_error **err);
/** The same, to begin at @p at.  Cancelled before, it never begins. */
FJ_API FJ_MUST_USE fj_code fj_task_spawn_after(fj_deadline at, fj_task_fn fn, void *user,
                                               const fj_task_opts *opts, fj_task **ret, fj_error **err);
/** @p opts->loop must be given, and lives until this returns.  @errors NOMEM, BAD_VALUE, CLOSED   @thread any */
FJ_API FJ_MUST_USE fj_code fj_task_spawn_threadsafe(fj_task_fn fn, void *user, const fj_task_opts *opts,
                                                    fj_task **ret, fj_error **err);

FJ_API fj_task *fj_task_ref(fj_task *task);
/** Accepts NULL, answers NULL.  The task goes on; an error it ends with that nobody can ask for is reported. */
FJ_API fj_task *fj_task_unref(fj_task *task);
/** Its outcome.  Lends: the future is part of the task, and a reference to either keeps both.  fj_future_cancel() on
 *  it is fj_task_cancel(). */
FJ_API fj_future *fj_task_future(fj_task *task);

/** The task that runs on this thread now, or NULL. */
FJ_API fj_task *fj_task_current(void);
FJ_API const char *fj_task_name(const fj_task *task);
FJ_API fj_loop *fj_task_loop(const fj_task *task);
/** What it waits for, such as "mutex", "sleep", "future"; NULL when it runs or is ready.  @thread the loop's */
FJ_API const char *fj_task_waits_for(const fj_task *task);
/** Every task of @p loop that has not ended.  @p fn must not spawn or run tasks. */
FJ_API void fj_loop_tasks(fj_loop *loop, void (*fn)(fj_task *task, void *user), void *user);

/** Where it is, the innermost call first: "name+0x1c [module+0x4f3a] < ...".  `addr2line -fe MODULE OFFSET` tells the line of what
 *  stands in brackets; names are those that the module exports (a program linked with -rdynamic exports its own).
 *  @param text gets as many calls as fit in @p size bytes, which is not 0
 *  @errors STATE: it has not begun, has ended, or its stack is too full for it to tell; WRONG_CONTEXT   @thread the loop's */
FJ_API fj_code fj_task_stack(fj_task *task, char *text, size_t size);
/** What each task of @p loop that has not ended does, what it waits for, and where: asyncio's all_tasks() and
 *  print_stack() in one.
 *  @param line  is called once a task; @p text lends, without a newline.  NULL: lines in the log (component "loop", level
 *  warning)   @thread the loop's; on another it does nothing */
FJ_API void fj_loop_report(fj_loop *loop, void (*line)(void *user, const char *text), void *user);

/** Ask it to end: the wait it is in, or its next one, answers FJ_CANCELLED, once.  It may clean up, waiting again, and
 *  may even refuse.  A task that has not begun never begins.  @return false when it has ended   @thread any */
FJ_API bool fj_task_cancel(fj_task *task);
/** As cancel, but every further wait answers FJ_CANCELLED, too (eventlet's kill).  @thread any */
FJ_API bool fj_task_kill(fj_task *task);
/** How often it was asked to end and has not taken it back with fj_task_uncancel(). */
FJ_API unsigned fj_task_cancelling(const fj_task *task);
FJ_API unsigned fj_task_uncancel(fj_task *task);
/** Call @p fn on the task's loop when it has ended, in a turn of its own (eventlet's link, asyncio's
 *  add_done_callback).  Also when the loop is freed.  @errors NOMEM   @thread the loop's */
FJ_API FJ_MUST_USE fj_code fj_task_link(fj_task *task, fj_future_fn fn, void *user);

/* ---- coroutines: functions with their arguments that have not begun ------------------------------ */

typedef struct fj_coro fj_coro;
/** @param ret gives.  Nothing runs until it is started; freed without, "never awaited" is reported. */
FJ_API FJ_MUST_USE fj_code fj_coro_new(fj_task_fn fn, void *user, const fj_task_opts *opts, fj_coro **ret);
/** @param coro takes   @param ret gives; may be NULL   @errors those of fj_task_spawn() */
FJ_API FJ_MUST_USE fj_code fj_coro_start(fj_coro *coro, fj_task **ret, fj_error **err);
FJ_API fj_coro *fj_coro_free(fj_coro *coro);

/* ---- what belongs to a task ---------------------------------------------------------------------- */

/** A key for values that each task has for itself; outside tasks, each thread.  Static; no need to be initialised
 *  beyond `{ 0 }` or FJ_LOCAL_INIT(freed). */
typedef struct {
    void (*freed)(void *value); /**< called for a value left when the task or thread ends; may be NULL */
    unsigned slot;              /**< the library's */
} fj_local;
#define FJ_LOCAL_INIT(freed) \
    {                        \
        (freed), 0           \
    }
FJ_API void *fj_local_get(fj_local *key);
/** @errors NOMEM */
FJ_API FJ_MUST_USE fj_code fj_local_set(fj_local *key, void *value);

FJ_END_DECLS
#endif
