/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BENCH_WIRE_H
#define FJORD_BENCH_WIRE_H
/*
 * AMQP with buffers of its own: what is to be sent is gathered and goes out in one write, what comes is read as it is there.  librabbitmq
 * connects, and encodes and decodes what is inside of frames.  Every failure ends the process.
 */
#include <amqp.h>
#include <stdbool.h>

typedef struct {
    uint8_t *at;
    size_t n, max;
} wire_bytes;

/** What came: a message, or that the broker has confirmed what was published. */
typedef struct {
    bool confirm;
    uint64_t tag; /* of a confirmation: of the last that it confirms */
    bool multiple;
    amqp_bytes_t reply_to; /* lend until wire_wait() */
    const uint8_t *body;
    size_t n;
} wire_event;

typedef struct {
    int fd;
    uint32_t frame_max;
    amqp_pool_t pool; /* of what is decoded */
    wire_bytes out, in, whole;
    size_t read;     /* of in: this much is done with */
    uint64_t to_ack; /* the last message that came, 0: none since the last ack */
    /* The message that is on its way. */
    uint64_t tag, size;
    amqp_bytes_t reply_to;
    char name[256];
} wire;

/** Take over a connection that has been made ready; librabbitmq must not be used on it any more. */
void wire_init(wire *w, amqp_connection_state_t c);
void wire_fini(wire *w);
void wire_publish(wire *w, const char *exchange, amqp_bytes_t key, amqp_bytes_t reply_to, const void *body,
                  size_t n);
/** Write all, with an acknowledgement of what came. */
void wire_flush(wire *w);
/** Write the acknowledgement first, for who must not answer before. */
void wire_flush_ack_first(wire *w);
/** The next event of what has been read.  What it lends of a body in several frames lasts until the next call. */
bool wire_next(wire *w, wire_event *ret);
/** Read more.  @param by of plan_now(), 0: for ever   @return false: nothing came by then */
bool wire_wait(wire *w, double by);

#endif
