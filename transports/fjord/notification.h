/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_NOTIFICATION_H
#define FJORD_NOTIFICATION_H
/*
 * A notification on its way out, as transport drivers and notification drivers get it, and where listeners take them from.
 * Programs send and receive them by <fjord/notify.h> and <fjord/notify_listener.h>.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

/** How grave it is, in oslo.messaging's words.  The queue and the endpoint's method are named by it. */
typedef enum {
    FJ_NOTIFY_AUDIT = 0,
    FJ_NOTIFY_DEBUG,
    FJ_NOTIFY_INFO,
    FJ_NOTIFY_WARN,
    FJ_NOTIFY_ERROR,
    FJ_NOTIFY_CRITICAL,
    FJ_NOTIFY_SAMPLE
} fj_priority;
enum { FJ_PRIORITIES = 7 };

/** "audit", "debug", "info", "warn", "error", "critical", "sample"; NULL for anything else.  Lends, for ever.  @thread any */
FJ_API const char *fj_priority_name(fj_priority priority);
/** The same read, in any case, "warning" too; false when it is none.  @thread any */
FJ_API bool fj_priority_parse(const char *text, fj_priority *ret);

/** What it says.  All lend, for the call. */
typedef struct {
    size_t size;
    fj_priority priority;
    const char *message_id;   /**< 36 characters, a UUID */
    const char *publisher_id; /**< NULL: JSON null */
    const char *event_type;
    const char *timestamp; /**< UTC, as "2026-11-23 05:01:46.725307" */
    const json_t *payload; /**< NULL: JSON null */
    const json_t *context; /**< an object, of the keys that may be seen by others; NULL: {} */
    unsigned version;      /**< 2: in the envelope (messagingv2); 1: as it is (messaging) */
    const char *exchange;  /**< NULL: control_exchange */
    const char *topic;     /**< for transport drivers: the queue is "<topic>.<priority>" */
    unsigned flags;        /**< FJ_SEND_WAITED */
    int retry;             /**< attempts to connect, as oslo: -1 for ever (until by), 0 none, N */
    fj_deadline by;        /**< it is given up then; FJ_NEVER is allowed */
} fj_notification;
#define FJ_NOTIFICATION(...)                         \
    {                                                \
        .size = sizeof(fj_notification), __VA_ARGS__ \
    }

/** One binding of a listener's.  All lend, for the call. */
typedef struct {
    const char *exchange; /**< NULL: control_exchange */
    const char *key;      /**< "<topic>.<priority>" */
    /** the same, or the name of a pool. Several bindings may have one queue: it is consumed once */
    const char *queue;
} fj_notify_source;

FJ_END_DECLS
#endif
