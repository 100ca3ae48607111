/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTOR_H
#define FJORD_EXECUTOR_H
/*
 * The contract of an executor: how methods run.  One const table, chosen by one line of the configuration;
 * built-in executors and those loaded from the plug-in folder are equal under it.  Start, stop, wait and reset
 * are ordered once, outside (executors/lifecycle.h): an executor sees start, then close, then stop or abort,
 * then free, each once.
 *
 * One on a loop (FJ_EXECUTOR_LOOP) is created and started on its loop's thread, and serves while the loop runs.  What
 * waits, stop() and free(), turns the loop where it stands still and the caller is on its thread, and else leaves that
 * to whoever runs it.
 *
 * A plug-in exports `const fj_executor_ops *fj_executor_plugin(void)`, and is linked without libfjord, whose functions it finds
 * in the process (a program that has libfjord.a in it must export them: -rdynamic, and the whole of the library).
 * What its process can do, it can: see docs/executors.md for who may own it.  examples/plugins/executor_serial.c is one.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/conf.h>
#include <fjord/dispatcher.h>
#include <fjord/driver.h>
#include <fjord/error.h>
#include <fjord/loop.h>

FJ_BEGIN_DECLS

#define FJ_EXECUTOR_ABI 1u

typedef struct fj_executor fj_executor;

/** Capabilities. */
enum {
    FJ_EXECUTOR_STEPS = 1 << 0,    /**< the caller of run or step polls and runs the methods */
    FJ_EXECUTOR_PARALLEL = 1 << 1, /**< methods run at the same time on several threads */
    FJ_EXECUTOR_LOOP = 1 << 2,     /**< runs on an event loop */
    FJ_EXECUTOR_GREEN =
        1 << 3, /**< made for FJ_GREEN methods, and calls fj_green_patch(); without it they are emulated */
    FJ_EXECUTOR_CORO = 1 << 4 /**< made for FJ_CORO methods */
};

typedef struct {
    size_t size;
    unsigned slots;    /**< how many requests at once (executor_pool_size); deferred ones count */
    bool ack_done;     /**< the listener acknowledges on completion */
    fj_invoke_fn wrap; /**< the user's wrapper around a method's call, or NULL */
    void *wrap_user;
    fj_loop *loop; /**< for FJ_EXECUTOR_LOOP; lends until free; NULL: that of the thread of create */
} fj_executor_opts;

typedef struct {
    uint32_t abi; /**< FJ_EXECUTOR_ABI */
    size_t size;
    const char *name;
    const char *const *aliases; /**< ended by NULL; may be NULL */
    uint32_t caps;
    unsigned max_slots; /**< 0: as many as configured */
    /** @param opts lends, copied   @param ret gives */
    fj_code (*create)(const fj_conf *conf, const fj_executor_opts *opts, fj_executor **ret, fj_error **err);
    /** Begin to serve; ready when it returns; never loops itself.  An executor on a loop polls @p listener in a task if
     *  that parks, and else drives it by watch() and pump(), see driver.h.  @param listener, dispatcher lend until free */
    fj_code (*start)(fj_executor *x, fj_listener *listener, fj_dispatcher *dispatcher, fj_error **err);
    /** One poll(timeout), dispatched: waits for messages until @p by and processes what came; on a loop: turns it until a
     *  request has ended.  NULL without FJ_EXECUTOR_STEPS.  While every slot is taken nobody watches the listener for it:
     *  when one is given back outside of a step it interrupts the listener.
     *  @return OK when something was processed; TIMEOUT; AGAIN when interrupted; CLOSED; STATE while the loop runs */
    fj_code (*step)(fj_executor *x, fj_deadline by, fj_error **err);
    /** Run a job that is not a message (the same slots count).  Never blocks, any thread.  Takes @p user on ok.
     *  @errors AGAIN when every slot is taken; CLOSED */
    fj_code (*submit)(fj_executor *x, void (*job)(void *user), void *user, fj_error **err);
    /** Call the chosen method; ends in fj_invoke_direct() or the wrapper. */
    fj_invoke_fn invoke;
    /** Admit nothing new; a step() that waits answers CLOSED, also when it waits for a slot.  Never blocks, any
     *  thread, async-signal-safe (fj_server_stop() is), may be called twice. */
    void (*close)(fj_executor *x);
    /** Wait until running requests are finished.  Not from a method of this executor.  Without a close() before it, what the
     *  listener gives until it answers CLOSED is admitted and waited for, too; with FJ_EXECUTOR_STEPS and no loop it is run
     *  here unless another thread is in step().
     *  @errors TIMEOUT names the methods still running; STATE from within one of them; WRONG_CONTEXT on the loop's thread
     *  while the loop runs */
    fj_code (*stop)(fj_executor *x, fj_deadline by, fj_error **err);
    /** Give up what is left: deferred requests are failed; tasks are killed, so that each wait in them answers CANCELLED; a
     *  thread in a method cannot be stopped and is left to end by itself (free waits for both).  A stop() in progress in
     *  another thread, and any after, waits a second more at the most, for what is just returning: what is deferred in
     *  that time is failed, too.  Never blocks, any thread, may be called twice. */
    void (*abort)(fj_executor *x);
    void (*free)(fj_executor *x);
    /** The child after a fork: forget threads that do not exist here.  May be NULL. */
    void (*at_fork)(fj_executor *x);
    /** How many slots are taken, of how many.  Any thread. */
    unsigned (*running)(const fj_executor *x, unsigned *ret_slots);
} fj_executor_ops;

struct fj_executor {
    const fj_executor_ops *ops;
};

/** For executors whose methods run on plain threads: call @p invoke (the user's wrapper, or fj_invoke_direct()) with @p user so
 *  that the method finds what its flavour promises.  A plain one is called on this stack, any other in a task on a loop of the
 *  thread's own, green or not; that task has ended when this returns.  Executors on a loop make the task themselves:
 *  fj_task_opts.green is what they set for green methods.
 *  @blocks as the method does   @thread any on which no loop runs */
FJ_API fj_code fj_invoke_by_flavour(fj_invoke_fn invoke, void *user, fj_request *req, json_t *args,
                                    json_t **ret, fj_error **err);

/** Find an executor by name or alias: built-in, else `<name>.so` in the plug-in folder; or by the absolute path of a plug-in.
 *  Lends, for ever.  @errors NO_EXECUTOR names what there is, and says why a plug-in was refused: of another ABI, or others
 *  than root and the process's user may change it.   @thread any */
FJ_API FJ_MUST_USE fj_code fj_executor_find(const fj_conf *conf, const char *name, const fj_executor_ops **ret,
                                            fj_error **err);
/** The i-th built-in executor, or NULL past the last. */
FJ_API const fj_executor_ops *fj_executor_builtin(size_t i);

FJ_END_DECLS
#endif
