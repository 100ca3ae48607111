/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_BACKOFF_H
#define FJORD_AMQP_BACKOFF_H
/* How long to wait before the next attempt to connect. */
#include "transports/amqp/settings.h"

typedef struct {
    bool lost;         /* a connection was lost just now; else a round over all hosts has failed */
    bool was_open;     /* there was a connection before */
    bool fatal;        /* nothing will change soon */
    unsigned attempts; /* failed rounds since */
} fj__trouble;

/** Seconds: random, so that many clients do not return in one burst, and never so few that it is a hot loop.  @thread any */
double fj__backoff(const fj__amqp_settings *settings, const fj__trouble *trouble);

#endif
