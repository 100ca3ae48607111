/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/frames.h"

#include <stdlib.h>
#include <string.h>

enum { METHOD = 1, HEADER = 2, BODY = 3, END = 0xCE, METHOD_MAX = 4096 };

void frames_raw(frames *f, const void *bytes, size_t n)
{
    if (f->n + n > f->room) {
        f->room = 2 * (f->n + n);
        f->bytes = realloc(f->bytes, f->room);
        if (f->bytes == NULL)
            abort(); /* a test without memory has nothing to say */
    }
    if (n != 0)
        memcpy(f->bytes + f->n, bytes, n);
    f->n += n;
}

static void put(frames *f, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        uint8_t one = (uint8_t)(value >> (8 * i));
        frames_raw(f, &one, 1);
    }
}

void frames_frame(frames *f, uint8_t type, uint16_t channel, const void *payload, size_t n)
{
    put(f, type, 1);
    put(f, channel, 2);
    put(f, n, 4);
    frames_raw(f, payload, n);
    put(f, END, 1);
}

void frames_method(frames *f, uint16_t channel, amqp_method_number_t id, void *decoded)
{
    uint8_t payload[METHOD_MAX];
    int n = 0;

    for (int i = 0; i < 4; i++)
        payload[i] = (uint8_t)(id >> (24 - 8 * i));
    if (decoded != NULL)
        n = amqp_encode_method(id, decoded, (amqp_bytes_t){ sizeof payload - 4, payload + 4 });
    if (n < 0)
        abort();
    frames_frame(f, METHOD, channel, payload, 4 + (size_t)n);
}

void frames_header_with(frames *f, uint16_t channel, uint64_t body_size, const void *properties, size_t n)
{
    frames header = { 0 };

    put(&header, AMQP_BASIC_CLASS, 2);
    put(&header, 0, 2);
    put(&header, body_size, 8);
    frames_raw(&header, properties, n);
    frames_frame(f, HEADER, channel, header.bytes, header.n);
    free(header.bytes);
}

void frames_header(frames *f, uint16_t channel, uint64_t body_size)
{
    static const uint8_t none[2];

    frames_header_with(f, channel, body_size, none, sizeof none);
}

void frames_body(frames *f, uint16_t channel, const void *body, size_t n)
{
    frames_frame(f, BODY, channel, body, n);
}

void frames_deliver(frames *f, uint16_t channel, const char *consumer_tag, uint64_t tag)
{
    amqp_basic_deliver_t m = { amqp_cstring_bytes(consumer_tag), tag, 0, amqp_cstring_bytes("openstack"),
                               amqp_cstring_bytes("t") };

    frames_method(f, channel, AMQP_BASIC_DELIVER_METHOD, &m);
}
