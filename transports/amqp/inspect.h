/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_INSPECT_H
#define FJORD_AMQP_INSPECT_H
/*
 * What is told of a domain to who looks into the process.  Its lock is tried and never waited for longer than @p by or 0.2 s; under
 * it plain figures are copied, and what is made of them is made after it.
 */
#include "transports/amqp/domain.h"

/** Put what @p d has of @p kind ("connection", "queue", "call") into @p all.  @thread any */
void fj__domain_inspect(fj__domain *d, const char *kind, fj_deadline by, json_t *all);

#endif
