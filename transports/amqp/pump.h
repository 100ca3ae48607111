/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_PUMP_H
#define FJORD_AMQP_PUMP_H
/*
 * Who sleeps where.  A domain knows what to do with bytes and time (fj__domain_watch, fj__domain_turn) and nothing of
 * sleeping; the pump of plain threads knows poll(2), the token and the keeper, and nothing of links.  What both promise
 * to publishers and consumers (fj__domain_touch, _wait, _rouse) is the pump's.
 */
#include "transports/amqp/domain.h"

void fj__pump_init(fj__domain *d);
/** Ends the keeper.  Takes the lock. */
void fj__pump_fini(fj__domain *d);
/** End the leader's sleep.  @locks needs the domain's */
void fj__pump_wake(fj__domain *d);
/** Have those who sleep without the token look again.  @locks needs the domain's */
void fj__pump_nudge(fj__domain *d);

#endif
