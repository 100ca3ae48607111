/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_LINK_IMPL_H
#define FJORD_AMQP_LINK_IMPL_H
/* What a link's life (link.c) and how it comes by its connection (dial.c) share. */
#include "transports/amqp/link.h"

/** The host in use. */
const fj__amqp_host *fj__link_host(const fj__link *l);
/** The attempt, or the open connection, is over.  @p error takes */
void fj__link_fail(fj__link *l, fj_error *error, fj_deadline now);
/** The same with "WHAT host:port: WHY". */
void fj__link_fail_text(fj__link *l, fj_code code, fj_deadline now, const char *what, const char *why);

/** Begin an attempt with the host in use. */
void fj__link_dial(fj__link *l, fj_deadline now);
/** Go on with it, as far as HANDSHAKE, without blocking. */
void fj__link_dial_on(fj__link *l, fj_deadline now);

#endif
