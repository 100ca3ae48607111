/* SPDX-License-Identifier: Apache-2.0 */
#include "broker.h"

#include "plan.h"
#include <amqp_tcp_socket.h>

#include <stdlib.h>

#define FRAME_MAX 131072

void broker_replied(amqp_connection_state_t c, const char *what)
{
    plan_check(amqp_get_rpc_reply(c).reply_type == AMQP_RESPONSE_NORMAL, what);
}

amqp_connection_state_t broker_connect(const char *port)
{
    amqp_connection_state_t c = amqp_new_connection();
    amqp_socket_t *s = c == NULL ? NULL : amqp_tcp_socket_new(c);

    plan_check(s != NULL, "making a connection");
    plan_check(amqp_socket_open(s, "127.0.0.1", (int)strtol(port, NULL, 10)) == AMQP_STATUS_OK, "connecting");
    /* No heartbeats: a side that waits for its turn would have to think of them. */
    plan_check(amqp_login(c, "/", 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type ==
                   AMQP_RESPONSE_NORMAL,
               "logging in");
    amqp_channel_open(c, 1);
    broker_replied(c, "opening a channel");
    amqp_confirm_select(c, 1);
    broker_replied(c, "asking for confirms");
    amqp_exchange_declare(c, 1, amqp_cstring_bytes(BROKER_EXCHANGE), amqp_cstring_bytes("topic"), 0, 0, 0, 0,
                          amqp_empty_table);
    broker_replied(c, "declaring the exchange");
    return c;
}

void broker_queue(amqp_connection_state_t c, const char *name, int fleeting)
{
    amqp_bytes_t queue = amqp_cstring_bytes(name);

    amqp_queue_declare(c, 1, queue, 0, 0, 0, fleeting, amqp_empty_table);
    broker_replied(c, "declaring the queue");
    amqp_queue_bind(c, 1, queue, amqp_cstring_bytes(BROKER_EXCHANGE), queue, amqp_empty_table);
    broker_replied(c, "binding the queue");
}

amqp_bytes_t broker_reply_queue(amqp_connection_state_t c)
{
    amqp_queue_declare_ok_t *q = amqp_queue_declare(c, 1, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);

    broker_replied(c, "declaring the reply queue");
    amqp_bytes_t name = amqp_bytes_malloc_dup(q->queue);
    plan_check(name.bytes != NULL, "copying a name");
    return name;
}

void broker_consume(amqp_connection_state_t c, amqp_bytes_t queue, uint16_t prefetch)
{
    if (prefetch > 0) {
        amqp_basic_qos(c, 1, 0, prefetch, 0);
        broker_replied(c, "setting the prefetch");
    }
    amqp_basic_consume(c, 1, queue, amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    broker_replied(c, "consuming");
}

amqp_basic_properties_t broker_properties(amqp_bytes_t reply_to)
{
    amqp_basic_properties_t p = { 0 };

    p._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    p.content_type = amqp_cstring_bytes("application/json");
    p.content_encoding = amqp_cstring_bytes("utf-8");
    p.delivery_mode = 2;
    if (reply_to.len > 0) {
        p._flags |= AMQP_BASIC_REPLY_TO_FLAG;
        p.reply_to = reply_to;
    }
    return p;
}
