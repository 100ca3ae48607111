/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_REPLIES_H
#define FJORD_AMQP_REPLIES_H
/* The reply queue of a domain and the calls that wait for something from it, by message id (wire.md section 11). */
#include "transports/amqp/publisher.h"

fj_code fj__replies_new(fj__domain *d, fj__replies **ret);
void fj__replies_free(fj__replies *r);
/** Give the queue its name, if it has none.  @errors those of fj__namer_next()   @thread any   @locks none may be held */
fj_code fj__replies_name(fj__replies *r, fj_error **err);
/** The queue's name: the same for the driver's life.  NULL until it has one. */
const char *fj__replies_queue(fj__replies *r);
/** Want the queue: declared and consumed from the first call on.  @return whether it is ready.  @locks needs the domain's */
bool fj__replies_want(fj__replies *r, fj_deadline now);
/** @return false when memory ran out   @locks needs the domain's, both */
bool fj__replies_add(fj__replies *r, fj__op *op);
void fj__replies_remove(fj__replies *r, fj__op *op);
/** How far somebody has looked at the waiting calls. */
typedef struct {
    size_t bucket, buckets;
    bool grown; /* the table was made larger meanwhile: it begins again */
} fj__replies_place;
/** Some of the waiting calls, @p max at most, from where @p at has come to: it moves on.  They lend while the lock is held.
 *  @return how many; 0: no more   @locks needs the domain's */
size_t fj__replies_calls(const fj__replies *r, fj__replies_place *at, size_t max, const fj__op **ret);
/** A waiting call, any; NULL: none. */
fj__op *fj__replies_any(fj__replies *r);

#endif
