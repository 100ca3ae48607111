/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_NOTIFY_LISTENER_H
#define FJORD_NOTIFY_LISTENER_H
/*
 * Notification listeners: endpoints whose methods are named by priorities, run by the executor that the configuration names;
 * docs/notifications.md.
 *
 *     static const fj_method methods[] = { FJ_METHOD("info", FJ_PLAIN, on_info), FJ_METHOD("error", FJ_PLAIN, on_error) };
 *     static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, NULL, methods);
 *
 * The arguments of such a method are publisher_id, event_type, payload, and metadata, an object of message_id and timestamp; the context
 * is the request's.  In batches there is one argument, messages, a list of objects with these members and ctxt.
 *
 * It answers FJ_OK when it has handled the notification, which is acknowledged then and not before: one that was being handled when its
 * process died is delivered again.  FJ_REQUEUE, or any failure, which is logged, gives it back to its queue at once, if allow_requeue
 * is set; else it is done with.  One that answers FJ_CANCELLED was cut short, and it always goes back.  A method may defer its answer as
 * those of RPC may, if no other endpoint follows for the same notification.
 *
 * A started listener is one of those that fj_run() runs, and everything said of servers in <fjord/server.h> holds for it: threads and
 * loops, and what each function does.  There are no interceptors.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/dispatcher.h>
#include <fjord/endpoint.h>
#include <fjord/error.h>
#include <fjord/loop.h>
#include <fjord/notification.h>
#include <fjord/notify_filter.h>
#include <fjord/serializer.h>
#include <fjord/target.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

typedef struct fj_notify_listener fj_notify_listener;

typedef struct {
    size_t size;
    const char *executor;            /**< NULL: [fjord] executor */
    unsigned slots;                  /**< notifications, or batches, in hand; 0: [fjord] executor_pool_size */
    const fj_serializer *serializer; /**< of payload and context; lends until the listener is freed */
    fj_invoke_fn wrap;               /**< around each method's call; ends in fj_invoke_direct() */
    void *wrap_user;
    fj_loop *loop;      /**< for executors on a loop; lends until free; NULL: fj_loop_current() at start */
    bool allow_requeue; /**< what fails is delivered again: at once, and again and again */
    const char *pool;   /**< listeners of a pool share a copy of everything, in a queue of that name */
    /** 0: one at a time; else so many at once, or as many as rabbit_qos_prefetch_count lets come */
    unsigned batch_size;
    /** seconds from its first one on, after which a batch is given out as it is; 0: only when it is full */
    double batch_timeout;
} fj_notify_listener_opts;
#define FJ_NOTIFY_LISTENER_OPTS_INIT                                                          \
    {                                                                                         \
        sizeof(fj_notify_listener_opts), NULL, 0, NULL, NULL, NULL, NULL, false, NULL, 0, 0.0 \
    }

/** @param transport  lends until the listener is freed; as that of fj_notifier_new(), with a transport of its own if the configuration
 *         says so
 *  @param targets    @p n of them, copied: exchange and topic of each
 *  @param opts lends (copied)   @param ret gives   @errors BAD_TARGET, NO_EXECUTOR, NOMEM; those of fj_transport_open()
 *  @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_notify_listener_new(fj_transport *transport, const fj_target *targets, size_t n,
                                                  const fj_notify_listener_opts *opts, fj_notify_listener **ret,
                                                  fj_error **err);
/** As fj_server_free(). */
FJ_API FJ_MAY_AWAIT fj_notify_listener *fj_notify_listener_free(fj_notify_listener *listener);
/** Have notifications handled by @p endpoint; before start.  Only priorities that some endpoint has a method of are listened to.
 *  @param endpoint, data lend until the listener is freed   @param filter  lends (copied); NULL: everything
 *  @errors STATE when started, BAD_ARGS, BAD_VALUE (a pattern), NOMEM */
FJ_API FJ_MUST_USE fj_code fj_notify_listener_add(fj_notify_listener *listener, const fj_endpoint *endpoint,
                                                  const fj_notify_filter *filter, void *data, fj_error **err);
/** As fj_server_start().  @errors also BAD_ARGS: no endpoint has a method named by a priority; UNSUPPORTED: the transport has no
 *  notifications */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_notify_listener_start(fj_notify_listener *listener, fj_error **err);
/** As fj_server_run(). */
FJ_API FJ_MUST_USE fj_code fj_notify_listener_run(fj_notify_listener *listener, fj_error **err);
/** As fj_server_step(). */
FJ_API FJ_MUST_USE fj_code fj_notify_listener_step(fj_notify_listener *listener, fj_deadline by,
                                                   fj_error **err);
/** As fj_server_stop(). */
FJ_API void fj_notify_listener_stop(fj_notify_listener *listener);
/** As fj_server_wait(). */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_notify_listener_wait(fj_notify_listener *listener, fj_deadline by,
                                                                fj_error **err);
/** As fj_server_reset(). */
FJ_API FJ_MUST_USE fj_code fj_notify_listener_reset(fj_notify_listener *listener, fj_error **err);
/** The name of the executor in use.  Lends. */
FJ_API const char *fj_notify_listener_executor(const fj_notify_listener *listener);

FJ_END_DECLS
#endif
