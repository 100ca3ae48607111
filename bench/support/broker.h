/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_BROKER_H
#define FJORD_BENCH_BROKER_H
/* What the sides on librabbitmq have in common: the connection, the queues and a message's properties.  Every failure ends the process. */
#include <amqp.h>

#define BROKER_EXCHANGE "bench"

void broker_replied(amqp_connection_state_t c, const char *what);
/** Connected and logged in, channel 1 open with publisher confirms, the topic exchange declared. */
amqp_connection_state_t broker_connect(const char *port);
/** Declared, and bound by its name.  @param fleeting  it goes with its last consumer */
void broker_queue(amqp_connection_state_t c, const char *name, int fleeting);
/** An exclusive one for replies, its name the process's. */
amqp_bytes_t broker_reply_queue(amqp_connection_state_t c);
/** Consumed with acknowledgements.  @param prefetch 0: no limit */
void broker_consume(amqp_connection_state_t c, amqp_bytes_t queue, uint16_t prefetch);
/** Those of a JSON text that is to be kept; @p reply_to may be empty. */
amqp_basic_properties_t broker_properties(amqp_bytes_t reply_to);

#endif
