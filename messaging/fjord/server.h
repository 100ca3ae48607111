/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_SERVER_H
#define FJORD_SERVER_H
/*
 * An RPC server: endpoints served on a topic, by the executor that the configuration names (docs/executors.md).
 *
 * Under an executor on a loop it belongs to that loop's thread: it is started there, and serves while the loop runs.
 */
#include <fjord/access.h>
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/dispatcher.h>
#include <fjord/endpoint.h>
#include <fjord/error.h>
#include <fjord/loop.h>
#include <fjord/serializer.h>
#include <fjord/target.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

typedef struct fj_server fj_server;

typedef struct {
    size_t size;
    const char *executor; /**< NULL: [fjord] executor */
    unsigned slots;       /**< requests in flight, deferred ones too; 0: [fjord] executor_pool_size */
    fj_access access;
    const fj_serializer *serializer; /**< lends until the server is freed */
    fj_invoke_fn wrap;               /**< around each method's call; ends in fj_invoke_direct() */
    void *wrap_user;
    int ack_done;  /**< -1: [fjord] ack; 0: on admission (at-most-once); 1: when done */
    fj_loop *loop; /**< for executors on a loop; lends until free; NULL: fj_loop_current() at start */
} fj_server_opts;
#define FJ_SERVER_OPTS_INIT                                                            \
    {                                                                                  \
        sizeof(fj_server_opts), NULL, 0, FJ_ACCESS_DEFAULT, NULL, NULL, NULL, -1, NULL \
    }

/** @param target lends (copied); topic and server needed   @param opts lends (copied)   @param ret gives
 *  @errors BAD_TARGET, NO_EXECUTOR, NOMEM   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_server_new(fj_transport *transport, const fj_target *target,
                                         const fj_server_opts *opts, fj_server **ret, fj_error **err);
/** Stops, and waits for up to two seconds, if it is running.  Accepts NULL, answers NULL.  In one of its own methods, or a
 *  call-back of a loop, nothing is freed while it runs, and that is logged.  @blocks; a task suspends */
FJ_API FJ_MAY_AWAIT fj_server *fj_server_free(fj_server *server);
/** Serve @p endpoint; before start.  @param endpoint, data lend until the server is freed
 *  @errors STATE when started, BAD_ARGS, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_server_add(fj_server *server, const fj_endpoint *endpoint, void *data,
                                         fj_error **err);
/** Listen; when it answers OK, messages are taken.  Under `blocking` they are processed in fj_server_run(),
 *  fj_server_step() or fj_run(); under executors on a loop, whenever their loop runs: in those, or in the loop's own
 *  functions.
 *  @blocks until listening, or 30 s ([fjord] start_timeout); a task suspends
 *  @errors those of connecting and declaring: UNREACHABLE, AUTH, ACCESS, MISMATCH...; STATE when running; CANCELLED;
 *  WRONG_CONTEXT in a call-back of a loop, or, under an executor on a loop, on another thread than the loop's; FORKED
 *  @thread the loop's, if there is one, else any */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_server_start(fj_server *server, fj_error **err);
/** Process until fj_server_stop(): on the loop's thread it runs the loop; under executors with threads of their own, and
 *  on any other thread than the loop's, it only waits.
 *  @blocks   @return OK when stopped   @errors STATE when not started, when driven already, or while the loop runs */
FJ_API FJ_MUST_USE fj_code fj_server_run(fj_server *server, fj_error **err);
/** One poll(timeout), dispatched; of a loop, turns until a request has ended.  Where fj_server_run() only waits this
 *  does, too.
 *  @blocks until @p by   @return OK when something was processed; TIMEOUT; CLOSED when stopped; STATE as fj_server_run() */
FJ_API FJ_MUST_USE fj_code fj_server_step(fj_server *server, fj_deadline by, fj_error **err);
/** Ask it to stop taking messages; returns at once.  Any thread, methods, signal handlers; idempotent. */
FJ_API void fj_server_stop(fj_server *server);
/** After stop: wait until running methods are finished and the listener has left the broker.  On the thread of the
 *  server's loop, which is the one that ran it last, it runs the loop meanwhile; on others it needs the loop to turn.
 *  @blocks until @p by; a task suspends, and is not cut short (see fj_shield_begin())
 *  @errors TIMEOUT names what is still running; STATE from within one of its methods, or when not stopped; WRONG_CONTEXT
 *  in a call-back of a loop; FORKED   @thread any */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_server_wait(fj_server *server, fj_deadline by, fj_error **err);
/** After wait: make it startable again.  @errors STATE; FORKED   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_server_reset(fj_server *server, fj_error **err);
/** The name of the executor in use.  Lends. */
FJ_API const char *fj_server_executor(const fj_server *server);

/** Run every started server of the process until SIGINT or SIGTERM arrives or each is stopped, then stop and
 *  drain them ([fjord] drain).  Loops of this thread are run; those of other threads are theirs to run.  A second signal
 *  ends the drain: deferred requests are failed, tasks are killed, other methods that run are left behind.  Takes the two
 *  signals while it runs, see fj_run_signals(); one thread at a time.  Where the log goes to a file and SIGHUP would end the process, it
 *  is taken, too, and opens the file anew.  @blocks
 *  @errors TIMEOUT: the drain was too short, or cut short, for what still ran; STATE: another thread is here, a loop
 *  runs on this one, or one with servers belongs to a host (<fjord/host.h>) */
FJ_API FJ_MUST_USE fj_code fj_run(fj_error **err);
/** Take SIGINT and SIGTERM now, not only in fj_run(): one that comes before lets fj_run() stop what is started and
 *  return at once, instead of ending the process half-way through a start.  fj_run() gives them back.  Call it before
 *  fj_server_start(); a second time it does nothing.   @errors SYSTEM   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_run_signals(fj_error **err);
/** Let fj_run() return.  Any thread, signal handlers. */
FJ_API void fj_run_stop(void);

FJ_END_DECLS
#endif
