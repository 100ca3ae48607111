/* SPDX-License-Identifier: Apache-2.0 */
/* Calls over AMQP, both sides on one loop as they are with a broker: sockets, pumps, acknowledgements, confirms.  The broker of the tests has a
 * thread of its own, which is not counted. */
#include "bench/count/count.h"
#include "bench/count/rig.h"
#include "tests/support/broker.h"

#include <stdio.h>

static void over_broker(const count_cell *cell, long n)
{
    broker *b = broker_new();
    char url[64];
    rig r;

    count_check(b != NULL ? FJ_OK : FJ_SYSTEM, "a broker", NULL);
    (void)snprintf(url, sizeof url, "rabbit://guest:guest@127.0.0.1:%u/", broker_port(b));
    rig_open(&r, url, cell->what);
    rig_by_tasks(&r, cell->how, n, cell->at_once);
    rig_close(&r);
    (void)broker_free(b);
}

const count_cell count_amqp[] = {
    { "amqp coroutine, both sides, 1", over_broker, 500, "coroutine", "echo", 1, true },
    { "amqp coroutine, both sides, 64", over_broker, 64L * 20, "coroutine", "echo", 64, true },
    { 0 },
};
