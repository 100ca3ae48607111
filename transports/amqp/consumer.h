/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_CONSUMER_H
#define FJORD_AMQP_CONSUMER_H
/* Listeners: a channel of the consuming connection each.  One of RPC consumes topic, topic.server and the fanout queue, one of notifications
 * a queue for each topic and priority, or a pool's. */
#include "transports/amqp/domain.h"

/** @param by  when to give up waiting for the broker   @param ret gives
 *  @blocks until it consumes, or is refused   @errors those of connecting and declaring */
fj_code fj__consumer_listen(fj__domain *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                            fj_listener **ret, fj_error **err);
/** The same for notifications.  @param sources  n of them, lend */
fj_code fj__consumer_listen_notifications(fj__domain *d, const fj_notify_source *sources, size_t n,
                                          const fj_listen_opts *opts, fj_deadline by, fj_listener **ret,
                                          fj_error **err);
/** Whether the broker has every listener of @p d that is not at its end.  @locks needs the domain's */
bool fj__consumers_ready(const fj__domain *d);

#endif
