/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_DISPATCHER_NOTIFIED_H
#define FJORD_DISPATCHER_NOTIFIED_H
/*
 * A dispatcher of notifications, in the place of one of RPC: the same requests, methods and executors.  A message is for every endpoint
 * that has a method named by its priority and whose filter it fits, in their order, until one fails.
 *
 * A batch is one message {"priority": ..., "batch": [{"message": ..., "context": ...}...]}: it is one request.
 */
#include <fjord/dispatcher.h>
#include <fjord/notification.h>
#include <fjord/notify_filter.h>

/** @param requeues  a notification whose method fails goes back to its queue; else it is done with   @param ret gives */
fj_code fj__notified_new(const fj_serializer *serializer, bool requeues, fj_dispatcher **ret, fj_error **err);
/** As fj_dispatcher_add().  @param filter lends; may be NULL   @errors BAD_VALUE for a pattern that is none */
fj_code fj__notified_add(fj_dispatcher *d, const fj_endpoint *endpoint, const fj_notify_filter *filter,
                         void *data, fj_error **err);
/** Whether an endpoint has a method of that priority. */
bool fj__notified_has(const fj_dispatcher *d, fj_priority priority);

#endif
