/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_PUMP_H
#define FJORD_AMQP_PUMP_H
/*
 * Who sleeps where.  A domain knows what to do with bytes and time (fj__domain_watch, fj__domain_turn) and nothing of
 * sleeping; the pump of plain threads knows poll(2), the token and the keeper, and nothing of links.  What both promise
 * to publishers and consumers (fj__domain_touch, _wait, _rouse) is the pump's.
 *
 * A loop's domain is a source on that loop, which always has the token, except while the loop does not run and its thread
 * waits in a blocking call: then that call pumps as any thread would.  When the loop is gone the domain is as a plain one.
 */
#include "transports/amqp/domain.h"

void fj__pump_init(fj__domain *d);
/** Ends the keeper.  Takes the lock. */
void fj__pump_fini(fj__domain *d);
/** End the leader's sleep.  @locks needs the domain's */
void fj__pump_wake(fj__domain *d);
/** Have those who sleep without the token look again.  @locks needs the domain's */
void fj__pump_nudge(fj__domain *d);

/** Have the keeper end soon.  @locks needs the domain's */
void fj__pump_retire(fj__domain *d);
/** See that the keeper is up before what a loop may be late with.  @locks needs the domain's */
void fj__pump_supervise(fj__domain *d);

/* ---- pump_loop.c ---- */

/** Have @p loop take over @p d, whose own is gone and which is idle: the next to be called is fj__pump_on_loop().
 *  @return false when it is not such a one.  @thread the loop's.  Takes the lock. */
bool fj__pump_take_over(fj__domain *d, fj_loop *loop);
/** Attach @p d to @p loop, which keeps it under @p key: two hold it from now on.  @thread the loop's */
fj_code fj__pump_on_loop(fj__domain *d, fj_loop *loop, const void *key, fj_error **err);
/** The driver lets go of a domain: freed now, or by its loop.  @thread any */
void fj__pump_let_go(fj__domain *d);
/** Whether the loop pumps, so that this thread must not.  @locks needs the domain's */
bool fj__pump_by_loop(const fj__domain *d);

#endif
