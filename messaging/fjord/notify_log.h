/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_NOTIFY_LOG_H
#define FJORD_NOTIFY_LOG_H
/*
 * The log as notifications: each line that is written is sent, too, as oslo.messaging's log handlers do.
 *
 * Who logs never waits for it: a thread sends, one line after the other, and of what it has not sent yet 1,000 lines are kept; more
 * are dropped, and counted.  Lines about sending are not sent: those of the components amqp, fake, log, notify and notification, and
 * whatever else sending logs on that thread.
 */
#include <fjord/base.h>
#include <fjord/error.h>
#include <fjord/log.h>
#include <fjord/notify.h>

FJ_BEGIN_DECLS

typedef enum {
    FJ_LOG_AS_RECORDS =
        0,           /**< event `logrecord`, with the level's priority and the payload of a Python log record */
    FJ_LOG_AS_ERRORS /**< errors only: event `error_notification` from `error.publisher`, {"error": text} */
} fj_log_as;

typedef struct {
    size_t size;
    fj_log_as as;
    fj_log_level level; /**< of records: this and graver ones, as far as they are logged at all */
} fj_log_notify_opts;
#define FJ_LOG_NOTIFY_OPTS_INIT                                     \
    {                                                               \
        sizeof(fj_log_notify_opts), FJ_LOG_AS_RECORDS, FJ_LOG_ERROR \
    }

/** Send the log from now on by @p notifier, and by no other any more; NULL: end it.  What waits is sent before, for a second at most.
 *  @param notifier lends, until the next call; its transport too   @param opts lends; may be NULL
 *  @errors SYSTEM (no thread), NOMEM: nobody sends then
 *  @thread any, one at a time   @blocks the thread, also in a task, for about a second at most */
FJ_API fj_code fj_log_notify(fj_notifier *notifier, const fj_log_notify_opts *opts, fj_error **err);

FJ_END_DECLS
#endif
