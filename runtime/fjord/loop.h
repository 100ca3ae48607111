/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_LOOP_H
#define FJORD_LOOP_H
/*
 * The event loop: asyncio's, in C.  A loop belongs to one thread, the one that runs it; at most one runs on a thread.
 * Unless a function says otherwise it is called on the loop's thread (or before the loop first runs); in debug mode
 * that is checked.  Call-backs run on the loop's thread outside any task: they must not block, and a blocking call
 * of this library answers FJ_WRONG_CONTEXT there.  Work that waits belongs into a task (<fjord/task.h>).
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/watch.h>

#include <sys/types.h>

FJ_BEGIN_DECLS

typedef struct fj_loop fj_loop;
typedef struct fj_handle fj_handle;

typedef void (*fj_loop_fn)(fj_loop *loop, void *user);

/* ---- life --------------------------------------------------------------------------------------- */

/** @param ret gives   @errors NOMEM, SYSTEM (no descriptors left) */
FJ_API FJ_MUST_USE fj_code fj_loop_new(fj_loop **ret, fj_error **err);
/** Cancel every task and run until they have ended, drop what is scheduled, detach what is attached, free.
 *  Accepts NULL, answers NULL.  Not while it runs, nor, if it has tasks, while another runs on this thread: that is reported,
 *  and nothing is freed. */
FJ_API fj_loop *fj_loop_free(fj_loop *loop);

/** The loop of this thread: the running one, else the one set with fj_loop_set_current(), else made now by the policy.
 *  @param ret lends; one the policy made lives as long as the thread   @errors those of the policy */
FJ_API FJ_MUST_USE fj_code fj_loop_current(fj_loop **ret, fj_error **err);
/** The loop that runs on this thread, or NULL. */
FJ_API fj_loop *fj_loop_running(void);
/** @param loop lends, until another is set; NULL: none */
FJ_API void fj_loop_set_current(fj_loop *loop);

/** How threads come by their loops. */
typedef struct {
    size_t size;
    fj_code (*make)(void *user, fj_loop **ret, fj_error **err); /**< NULL: fj_loop_new() */
    void *user;
} fj_loop_policy;
/** @param policy lends, for ever; NULL gives the default back.  @thread any */
FJ_API void fj_loop_policy_set(const fj_loop_policy *policy);

/* ---- running ------------------------------------------------------------------------------------ */

/** Run until fj_loop_stop().  @errors STATE when a loop runs on this thread already, FORKED, SYSTEM  @blocks */
FJ_API FJ_MUST_USE fj_code fj_loop_run_forever(fj_loop *loop, fj_error **err);
/** Run until @p future is complete, or fj_loop_stop().
 *  @param ret gives the result; may be NULL   @return the future's code; STATE when stopped before  @blocks */
FJ_API FJ_MUST_USE fj_code fj_loop_run_until_complete(fj_loop *loop, fj_future *future, json_t **ret,
                                                      fj_error **err);
/** One turn: wait for something to do until @p by, then do what is there.
 *  @return OK; TIMEOUT when nothing was done   @blocks until @p by */
FJ_API FJ_MUST_USE fj_code fj_loop_turn(fj_loop *loop, fj_deadline by, fj_error **err);
/** End run_forever() after the current turn; when it does not run, the next one does one turn.  @thread any,
 *  async-signal-safe */
FJ_API void fj_loop_stop(fj_loop *loop);
FJ_API bool fj_loop_is_running(const fj_loop *loop);

/* ---- call-backs --------------------------------------------------------------------------------- */

/** A call-back that may still be cancelled.  Counted references; a handle nobody holds runs all the same. */
FJ_API fj_handle *fj_handle_unref(fj_handle *handle);
/** It will not run.  Nothing when it has run. */
FJ_API void fj_handle_cancel(fj_handle *handle);

/** Run @p fn in the next turn, in the order of the calls.
 *  @param name lends for ever, for reports; may be NULL    @param ret gives; may be NULL   @errors NOMEM */
FJ_API FJ_MUST_USE fj_code fj_loop_call_soon(fj_loop *loop, fj_loop_fn fn, void *user, const char *name,
                                             fj_handle **ret);
/** @p fn runs not before @p at. */
FJ_API FJ_MUST_USE fj_code fj_loop_call_at(fj_loop *loop, fj_deadline at, fj_loop_fn fn, void *user,
                                           const char *name, fj_handle **ret);
FJ_API FJ_MUST_USE fj_code fj_loop_call_later(fj_loop *loop, double seconds, fj_loop_fn fn, void *user,
                                              const char *name, fj_handle **ret);
/** As call_soon, and wakes the loop.  @thread any   @errors NOMEM, CLOSED (it is being freed), FORKED */
FJ_API FJ_MUST_USE fj_code fj_loop_call_soon_threadsafe(fj_loop *loop, fj_loop_fn fn, void *user,
                                                        const char *name);

/* ---- descriptors, signals, children ------------------------------------------------------------- */

typedef void (*fj_fd_fn)(fj_loop *loop, int fd, void *user);
/** Call @p fn each time @p fd is readable (level-triggered), until removed.  One reader and one writer a descriptor:
 *  a second one replaces the first, as asyncio's does.  Remove before the descriptor is closed.
 *  @errors NOMEM, SYSTEM (epoll refuses regular files) */
FJ_API FJ_MUST_USE fj_code fj_loop_add_reader(fj_loop *loop, int fd, fj_fd_fn fn, void *user, fj_error **err);
FJ_API FJ_MUST_USE fj_code fj_loop_add_writer(fj_loop *loop, int fd, fj_fd_fn fn, void *user, fj_error **err);
/** @return false when there was none */
FJ_API bool fj_loop_remove_reader(fj_loop *loop, int fd);
FJ_API bool fj_loop_remove_writer(fj_loop *loop, int fd);

typedef void (*fj_signal_fn)(fj_loop *loop, int number, void *user);
/** Call @p fn on the loop's thread when @p number was caught, once for all that came before it is called.  The process's
 *  disposition is changed until it is removed; one loop a signal.  @errors BAD_VALUE, STATE (another loop has it), NOMEM */
FJ_API FJ_MUST_USE fj_code fj_loop_add_signal(fj_loop *loop, int number, fj_signal_fn fn, void *user,
                                              fj_error **err);
FJ_API bool fj_loop_remove_signal(fj_loop *loop, int number);

/** @param status  as waitpid(2) gives it */
typedef void (*fj_child_fn)(fj_loop *loop, pid_t pid, int status, void *user);
/** Reap child @p pid when it ends and call @p fn, once; exit status 255 when somebody else has reaped it.  @errors SYSTEM (not a child of this process), NOMEM */
FJ_API FJ_MUST_USE fj_code fj_loop_add_child(fj_loop *loop, pid_t pid, fj_child_fn fn, void *user,
                                             fj_error **err);
FJ_API bool fj_loop_remove_child(fj_loop *loop, pid_t pid);

/* ---- sources ------------------------------------------------------------------------------------ */

/** Drive @p source (lends, until detached): its descriptors are watched, its deadline kept.   @errors STATE, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_loop_attach(fj_loop *loop, fj_source *source, fj_error **err);
/** Legal from within its own pump.  Nothing when it is not attached. */
FJ_API void fj_loop_detach(fj_loop *loop, fj_source *source);

/* ---- in a host's loop --------------------------------------------------------------------------- */

/* A host that watches the loop; one that drives it is <fjord/host.h>'s, and docs/hosts.md has both. */

/** A descriptor, readable when the loop has something to do; watch it for reading.  Lends.  -1 of a loop that its host drives. */
FJ_API int fj_loop_fd(fj_loop *loop);
/** When fj_loop_dispatch() is due even if the descriptor is not readable.  To be asked before each sleep.
 *  Never while it runs, or in a forked child. */
FJ_API fj_deadline fj_loop_due(fj_loop *loop);
/** Do what is there to be done, without waiting; a turn, which is bounded.  Nothing in a call-back of the loop, or while another runs
 *  on this thread. */
FJ_API void fj_loop_dispatch(fj_loop *loop);

/* ---- reports ------------------------------------------------------------------------------------ */

/** Debug mode: calls from a wrong thread are refused and reported, slow call-backs and the places where unfinished
 *  things were made are logged, and the watchdog logs the backtrace of a call-back or task while it blocks the loop.
 *  Also on with FJORD_DEBUG=1 in the environment. */
FJ_API void fj_loop_set_debug(fj_loop *loop, bool on);
FJ_API bool fj_loop_debug(const fj_loop *loop);
/** What counts as slow, in seconds; 0.1 at first, as asyncio's slow_callback_duration. */
FJ_API void fj_loop_set_slow_callback_duration(fj_loop *loop, double seconds);

/** What went wrong where nobody could be told: an error never retrieved, a coroutine never awaited, a suspension in an
 *  atomic section.  @param error, what lend */
typedef void (*fj_loop_trouble_fn)(fj_loop *loop, const char *what, const fj_error *error, void *user);
/** Instead of a line in the log (component "loop", level error).  NULL: the log again. */
FJ_API void fj_loop_set_trouble_handler(fj_loop *loop, fj_loop_trouble_fn fn, void *user);

FJ_END_DECLS
#endif
