/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_FRAMES_H
#define TESTS_SUPPORT_FRAMES_H
/* Bytes of AMQP as a broker would not send them, one frame after the other; for BROKER_SEND. */
#include <amqp.h>
#include <amqp_framing.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *bytes; /* free() */
    size_t n, room;
} frames;

void frames_raw(frames *f, const void *bytes, size_t n);
void frames_frame(frames *f, uint8_t type, uint16_t channel, const void *payload, size_t n);
/** @param decoded  NULL: without arguments */
void frames_method(frames *f, uint16_t channel, amqp_method_number_t id, void *decoded);
/** A content header without properties. */
void frames_header(frames *f, uint16_t channel, uint64_t body_size);
/** The same with properties as on the wire, from the flags on. */
void frames_header_with(frames *f, uint16_t channel, uint64_t body_size, const void *properties, size_t n);
void frames_body(frames *f, uint16_t channel, const void *body, size_t n);
/** basic.deliver alone, to a consumer. */
void frames_deliver(frames *f, uint16_t channel, const char *consumer_tag, uint64_t tag);

#endif
