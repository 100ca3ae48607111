/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_NOTIFY_H
#define FJORD_NOTIFY_H
/*
 * Notifiers: events told to whoever listens, as oslo.messaging's Notifier does; docs/notifications.md.
 *
 *     fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;
 *     o.publisher_id = "compute.host1";
 *     fj_notifier_new(transport, &o, &notifier, &err);
 *     fj_notifier_info(notifier, "compute.instance.create.end", json_pack("{s:s}", "id", id), NULL, NULL);
 *
 * Where they go is in [oslo_messaging_notifications]: driver, topics, retry, transport_url, routing_config.
 *
 * The same functions serve threads and tasks, as those of <fjord/client.h> do.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/conf.h>
#include <fjord/error.h>
#include <fjord/future.h>
#include <fjord/notification.h>
#include <fjord/serializer.h>
#include <fjord/transport.h>

FJ_BEGIN_DECLS

typedef struct fj_notifier fj_notifier;

/** As fj_transport_open(), for notifications: without @p url it is [oslo_messaging_notifications] transport_url, if that is set,
 *  else transport_url. */
FJ_API FJ_MUST_USE fj_code fj_notification_transport_open(const fj_conf *conf, const char *url,
                                                          fj_transport **ret, fj_error **err);

/** The `retry` that says: that of the notifier, or of the configuration. */
#define FJ_NOTIFY_RETRY_UNSET (-2)

typedef struct {
    size_t size;
    const char *publisher_id;   /**< as "compute.host1"; NULL: JSON null */
    const char *const *drivers; /**< ended by NULL; NULL: [oslo_messaging_notifications] driver */
    const char *const *topics;  /**< ended by NULL; NULL: [oslo_messaging_notifications] topics */
    const char *exchange;       /**< NULL: control_exchange */
    int retry; /**< as [oslo_messaging_notifications] retry: attempts to connect; -1: for ever */
    /** of payload and context; lends until the notifier is freed; NULL: pass through */
    const fj_serializer *serializer;
} fj_notifier_opts;
#define FJ_NOTIFIER_OPTS_INIT                                                         \
    {                                                                                 \
        sizeof(fj_notifier_opts), NULL, NULL, NULL, NULL, FJ_NOTIFY_RETRY_UNSET, NULL \
    }

/** Options of one notification; the notifier's stand where these are unset. */
typedef struct {
    size_t size;
    /** An object; NULL: {}.  Of its keys only those go out that oslo.context knows and that are no secrets: of tokens and of what
     *  programs put there nothing is told to everybody who listens.   Lends. */
    const json_t *context;
    const char *publisher_id;
    int retry;
    fj_deadline by; /**< when it is given up; 0: never, as `retry` says */
} fj_notify_opts;
#define FJ_NOTIFY_OPTS_INIT                                        \
    {                                                              \
        sizeof(fj_notify_opts), NULL, NULL, FJ_NOTIFY_RETRY_UNSET, \
        {                                                          \
            0                                                      \
        }                                                          \
    }

/** Drivers that are not there are logged and left out, as oslo.messaging does.
 *  @param transport  lends until the notifier is freed.  If it was not opened by fj_notification_transport_open() and its configuration
 *         has [oslo_messaging_notifications] transport_url, the notifier opens one of its own by that
 *  @param opts lends (copied)   @param ret gives
 *  @errors BAD_CONFIG (routing_config); those of fj_transport_open(); NOMEM, FORKED   @thread any, never blocks */
FJ_API FJ_MUST_USE fj_code fj_notifier_new(fj_transport *transport, const fj_notifier_opts *opts,
                                           fj_notifier **ret, fj_error **err);
/** What is on its way goes on, unless the transport is its own: that is closed.  Accepts NULL, answers NULL.
 *  @blocks for two seconds at most, if the transport is its own */
FJ_API FJ_MAY_AWAIT fj_notifier *fj_notifier_free(fj_notifier *notifier);
/** Whether it has a driver: without, notifications go nowhere, at no cost. */
FJ_API bool fj_notifier_is_enabled(const fj_notifier *notifier);

/** Send one through all drivers; returns when the brokers have it.  A failure is logged, too, so that its code may be ignored.
 *  @param payload takes; any JSON; NULL for JSON null   @param opts lends; NULL for the defaults
 *  @return OK, also without drivers; else the first failure: UNREACHABLE, TIMEOUT, AUTH, ACCESS, MISMATCH, BAD_VALUE, TOO_BIG, CLOSED,
 *          FORKED; CANCELLED in a task that is asked to end: it is not waited for; WRONG_CONTEXT: nothing was sent
 *  @blocks until the brokers confirm, `by`, or as `retry` says: for ever, if it is not set and no broker is there; a task suspends
 *  @thread any */
FJ_API FJ_MAY_AWAIT fj_code fj_notifier_notify(fj_notifier *notifier, fj_priority priority,
                                               const char *event_type, json_t *payload,
                                               const fj_notify_opts *opts, fj_error **err);
/** The same without waiting; when they leave is as with fj_client_cast_async().  @param ret gives a future of the confirmations; NULL: not
 *  wanted
 *  @return those known at once   @thread any, also in call-backs of a loop; never blocks */
FJ_API fj_code fj_notifier_notify_async(fj_notifier *notifier, fj_priority priority, const char *event_type,
                                        json_t *payload, const fj_notify_opts *opts, fj_future **ret,
                                        fj_error **err);
/** Wait until all that was sent without waiting is confirmed or has failed.  @return the first failure since the last flush, or
 *  TIMEOUT; CANCELLED; WRONG_CONTEXT   @blocks until @p by; a task suspends   @thread any */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_notifier_flush(fj_notifier *notifier, fj_deadline by,
                                                          fj_error **err);

#define FJ_NOTIFIER_METHOD(name, PRIORITY)                                                               \
    static inline FJ_MAY_AWAIT fj_code fj_notifier_##name(fj_notifier *notifier, const char *event_type, \
                                                          json_t *payload, const fj_notify_opts *opts,   \
                                                          fj_error **err)                                \
    {                                                                                                    \
        return fj_notifier_notify(notifier, FJ_NOTIFY_##PRIORITY, event_type, payload, opts, err);       \
    }
/* fj_notifier_audit(notifier, event_type, payload, opts, err) and so on: fj_notifier_notify() of a priority. */
FJ_NOTIFIER_METHOD(audit, AUDIT)
FJ_NOTIFIER_METHOD(debug, DEBUG)
FJ_NOTIFIER_METHOD(info, INFO)
FJ_NOTIFIER_METHOD(warn, WARN)
FJ_NOTIFIER_METHOD(error, ERROR)
FJ_NOTIFIER_METHOD(critical, CRITICAL)
FJ_NOTIFIER_METHOD(sample, SAMPLE)
#undef FJ_NOTIFIER_METHOD

/** What went through the driver `test` in this process since it was last asked: an array of {"context", "message", "priority",
 *  "retry"}, the oldest first; of more than 10,000 the oldest are dropped.  Gives; NULL: no memory.  @thread any */
FJ_API json_t *fj_notify_test_take(void);

FJ_END_DECLS
#endif
