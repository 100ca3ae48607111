/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_CODEC_H
#define FJORD_AMQP_CODEC_H
/*
 * Frames of AMQP 0-9-1, in both directions.  librabbitmq encodes and decodes what is inside of a frame; this is all that
 * stands between the bytes of a peer and it.  Nothing here keeps state.
 */
#include "base/buffer.h"
#include <amqp.h>
#include <amqp_framing.h>
#include <fjord/error.h>

enum {
    FJ__FRAME_METHOD = 1,
    FJ__FRAME_HEADER = 2,
    FJ__FRAME_BODY = 3,
    FJ__FRAME_HEARTBEAT = 8,
    FJ__FRAME_END = 0xCE,
    FJ__FRAME_EXTRA = 8,      /* seven bytes in front of the payload, one behind it */
    FJ__FRAME_MIN_MAX = 4096, /* the least frame_max a peer may ask for */
    FJ__TABLE_DEPTH = 32      /* tables and arrays within one another at most */
};

typedef struct {
    uint8_t type;
    uint16_t channel;
    const uint8_t *payload; /* lent from the input */
    size_t len;
} fj__frame;

typedef enum { FJ__FRAME_OK, FJ__FRAME_SHORT, FJ__FRAME_BAD } fj__frame_result;

uint16_t fj__get16(const uint8_t *p);
uint32_t fj__get32(const uint8_t *p);
uint64_t fj__get64(const uint8_t *p);

/** The frame at the front of @p n bytes: OK, SHORT (more bytes are needed) or BAD; @p why then gets the reason. */
fj__frame_result fj__frame_parse(const uint8_t *bytes, size_t n, uint32_t frame_max, uint16_t channel_max,
                                 fj__frame *ret, char why[96]);

/** Walk a field table, its length in front, without recursion: bounds, kinds and depth.
 *  @return NULL when it is sound, else what is wrong.  @p used: the bytes it takes, may be NULL */
const char *fj__table_check(const uint8_t *bytes, size_t n, size_t *used);
/** The same for the properties of a content header, from the flags on. */
const char *fj__properties_check(const uint8_t *bytes, size_t n);
/** How many bytes the properties of class basic take (AMQP 0-9-1, 4.2.6.1) of which @p n are here.  @return 0: these do not tell yet */
size_t fj__properties_size(const uint8_t *bytes, size_t n);

/* The writers append whole frames, or nothing.
 * @errors NOMEM; TOO_BIG: a method or properties that do not fit into frame_max, or a name over 255 bytes */
fj_code fj__put_frame(fj__buf *out, uint8_t type, uint16_t channel, const void *payload, size_t n);
fj_code fj__put_method(fj__buf *out, uint16_t channel, amqp_method_number_t id, void *decoded,
                       uint32_t frame_max);
/** A method with content: its frame, the header frame, and as many body frames as the body needs. */
fj_code fj__put_content(fj__buf *out, uint16_t channel, amqp_method_number_t id, void *decoded,
                        const amqp_basic_properties_t *properties, const void *body, size_t n,
                        uint32_t frame_max);

#endif
