/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_HOSTS_H
#define FJORD_AMQP_HOSTS_H
/*
 * Which of the broker's hosts a link tries next.  Each round tries every host once; one that could not be reached lately, by whichever
 * connection of the driver, comes last in it.
 */
#include "transports/amqp/settings.h"

typedef struct {
    const fj__amqp_settings *settings;
    /* shuffled in the beginning, as oslo.messaging does: not all clients of a cluster use one node */
    size_t *order;
    size_t *round; /* the order of this round */
    size_t at;     /* in the round */
} fj__hosts;

/** @return false when memory ran out */
bool fj__hosts_init(fj__hosts *h, const fj__amqp_settings *settings, fj_deadline now);
void fj__hosts_fini(fj__hosts *h);
/** The host in use. */
const fj__amqp_host *fj__hosts_now(const fj__hosts *h);
/** It could not be reached: the next one.  @return false: that was the last of the round, and a new one begins */
bool fj__hosts_next(fj__hosts *h, fj_deadline now);
/** It is connected to. */
void fj__hosts_reached(fj__hosts *h);
/** The connection to it was lost: a new round, with the host behind it in the order first. */
void fj__hosts_lost(fj__hosts *h, fj_deadline now);

#endif
