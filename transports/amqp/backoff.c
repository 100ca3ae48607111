/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/backoff.h"

#include "base/ids.h"

static const double shortest = 0.01;

/* Full jitter: anything up to the cap; and where there was a connection, of which others were cut off at the same moment, the splay's
 * besides. */
double fj__backoff(const fj__amqp_settings *s, const fj__trouble *t)
{
    double cap = s->retry_interval + s->retry_backoff * (double)(t->attempts > 0 ? t->attempts - 1 : 0);
    double splay = t->was_open ? s->reconnect_splay : 0;
    double pause = (s->reconnect_delay + splay) * fj__random_unit();

    if (!t->lost) {
        if (cap > s->retry_max || t->fatal)
            cap = s->retry_max;
        pause = cap * (0.1 + 0.9 * fj__random_unit()) + splay * fj__random_unit();
    }
    return pause > shortest ? pause : shortest;
}
