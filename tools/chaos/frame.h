/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_TOOLS_CHAOS_FRAME_H
#define FJORD_TOOLS_CHAOS_FRAME_H
/* AMQP 0-9-1 on the wire, as far as a proxy needs it: where frames begin and end, what they are, and how to make one. */
#include "base/buffer.h"
#include <fjord/error.h>
#include <jansson.h>

/** The longest frame that is held whole; one that declares more ends the decoding of its direction.  RabbitMQ's frame_max
 *  is an eighth of it. */
enum { CHAOS_FRAME_MAX = 1024 * 1024 };

typedef enum {
    CHAOS_PROTOCOL, /* the eight bytes "AMQP" and a version */
    CHAOS_METHOD,
    CHAOS_HEADER,
    CHAOS_BODY,
    CHAOS_HEARTBEAT,
    CHAOS_RAW /* bytes that are no whole frame */
} chaos_kind;

typedef struct {
    uint16_t class_id, method_id;
    const char *name; /* "basic.publish" */
    /* The arguments in order, "TYPE:NAME TYPE:NAME ...": o octet, h short, l long, q longlong, s short string, S long
     * string, b bit, t table. */
    const char *args;
} chaos_method;

/** Bytes of a frame, or NULL where it carries no such thing. */
typedef struct {
    const uint8_t *bytes;
    size_t n;
} chaos_text;

/** What a method or a content is about. */
enum { CHAOS_QUEUE, CHAOS_EXCHANGE, CHAOS_ROUTING_KEY, CHAOS_CONSUMER_TAG, CHAOS_REPLY_TO, CHAOS_TEXTS };
extern const char *const chaos_text_names[CHAOS_TEXTS];
enum { CHAOS_CONTENT_TEXTS = 3 }; /* those that header and body frames have from their content */

/** A content that is under way: its method has been seen, and the end of its body not yet. */
typedef struct {
    bool used, last; /* last: this was its last frame */
    bool drop;       /* what is left of it */
    int64_t copies;  /* to be sent when it is whole */
    fj__buf whole;   /* its frames, if it is to be copied */
    uint16_t channel;
    const chaos_method *method;
    uint64_t left; /* of the body */
    struct {
        bool there;
        uint8_t n, bytes[255];
    } texts[CHAOS_CONTENT_TEXTS];
} chaos_content;

typedef struct {
    chaos_kind kind;
    uint16_t channel;
    /* Those of a header or body frame are of the content that they belong to, as far as it was seen. */
    const chaos_method *method; /* or NULL */
    chaos_content *content;     /* lends; also the one that a method begins; or NULL */
    chaos_text texts[CHAOS_TEXTS];
} chaos_frame;

/* ---- where frames begin and end ------------------------------------------------------------------------------- */

/** Follows the bytes of one direction.  Zero-initialised is its beginning. */
typedef struct {
    uint8_t head[8];
    unsigned have;   /* bytes of head */
    size_t left;     /* of the frame, after its head */
    bool begun, raw; /* raw: this is not AMQP, or not any more */
    uint64_t frames; /* that have passed whole */
} chaos_scan;

/** @return how long the frame at @p bytes is; 0 when @p n bytes do not tell yet; -1 when it is none
 *  @param first  a protocol header may stand here */
long chaos_frame_length(const uint8_t *bytes, size_t n, bool first);
/** Follow @p bytes up to the next boundary between frames at most; all of them once the direction is raw.
 *  @return how many were followed */
size_t chaos_scan_feed(chaos_scan *s, const uint8_t *bytes, size_t n);
static inline bool chaos_scan_at_boundary(const chaos_scan *s)
{
    return s->have == 0 && s->left == 0;
}

/* ---- what they are -------------------------------------------------------------------------------------------- */

/** The contents that are under way in one direction: a header or body frame says only its channel. */
typedef struct chaos_contents chaos_contents;
chaos_contents *chaos_contents_new(void); /**< NULL when memory ran out */
chaos_contents *chaos_contents_free(chaos_contents *c);
/** Whether the rest of one is to be dropped or copied.  @param c  may be NULL */
bool chaos_contents_marked(const chaos_contents *c);

/** Decode a whole frame.  @param ret  its texts lend: of @p bytes, and of @p c until the next call */
void chaos_frame_decode(chaos_contents *c, const uint8_t *bytes, size_t n, chaos_frame *ret);
/** "basic.publish", "header", "heartbeat", ... */
const char *chaos_frame_name(const chaos_frame *frame);
const char *chaos_kind_name(chaos_kind kind);

const chaos_method *chaos_method_named(const char *name);
const chaos_method *chaos_method_of(uint16_t class_id, uint16_t method_id);
/** Whether a method has this class: "basic" of "basic.ack". */
bool chaos_class_named(const char *name, size_t n, uint16_t *ret_class);
/** Whether header and body follow. */
bool chaos_method_has_content(const chaos_method *m);

/* ---- making one ----------------------------------------------------------------------------------------------- */

/** Append a method frame.  @param args  lends; an object of the method's arguments, what is missing is 0 or empty; may be
 *  NULL   @errors BAD_VALUE (the text names the argument), NOMEM */
FJ_MUST_USE fj_code chaos_frame_make(const chaos_method *m, uint16_t channel, const json_t *args, fj__buf *to,
                                     fj_error **err);

#endif
