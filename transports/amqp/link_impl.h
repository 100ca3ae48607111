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
/** An address failed in a way that may be its own: go on with the next.  @return false: there is none, or no time */
bool fj__link_dial_next(fj__link *l, fj_deadline now);
/** It works: remember the address, and tell the kernel for how long it may wait. */
void fj__link_dialed(fj__link *l);
/** How long the kernel may wait for the peer to take bytes. */
void fj__link_patience(const fj__link *l);
/** Go on with it, as far as HANDSHAKE, without blocking. */
void fj__link_dial_on(fj__link *l, fj_deadline now);

#endif
