/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_CONSUMER_H
#define FJORD_AMQP_CONSUMER_H
/* An RPC listener: a channel of the consuming connection that consumes topic, topic.server and the fanout queue. */
#include "transports/amqp/domain.h"

/** @param by  when to give up waiting for the broker   @param ret gives
 *  @blocks until it consumes, or is refused   @errors those of connecting and declaring */
fj_code fj__consumer_listen(fj__domain *d, const fj_target *target, const fj_listen_opts *opts, fj_deadline by,
                            fj_listener **ret, fj_error **err);
/** Whether the broker has every listener of @p d that is not at its end.  @locks needs the domain's */
bool fj__consumers_ready(const fj__domain *d);

#endif
