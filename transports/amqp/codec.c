/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- numbers ---- */

uint16_t fj__get16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

uint32_t fj__get32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}

uint64_t fj__get64(const uint8_t *p)
{
    return ((uint64_t)fj__get32(p) << 32) | fj__get32(p + 4);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

/* ---- frames in ---- */

static bool known_type(uint8_t type)
{
    return type == FJ__FRAME_METHOD || type == FJ__FRAME_HEADER || type == FJ__FRAME_BODY ||
           type == FJ__FRAME_HEARTBEAT;
}

/* Each byte of the front is judged as soon as it is there, so that nonsense is not waited for. */
fj__frame_result fj__frame_parse(const uint8_t *bytes, size_t n, uint32_t frame_max, uint16_t channel_max,
                                 fj__frame *ret, char why[96])
{
    if (n < 1)
        return FJ__FRAME_SHORT;
    if (!known_type(bytes[0])) {
        (void)snprintf(why, 96, "a frame of unknown type %u", bytes[0]);
        return FJ__FRAME_BAD;
    }
    if (n < 3)
        return FJ__FRAME_SHORT;
    uint16_t channel = fj__get16(bytes + 1);
    if (channel > channel_max) {
        (void)snprintf(why, 96, "a frame on channel %u, beyond channel_max %u", channel, channel_max);
        return FJ__FRAME_BAD;
    }
    if (n < 7)
        return FJ__FRAME_SHORT;
    uint32_t len = fj__get32(bytes + 3);
    if (len > frame_max - FJ__FRAME_EXTRA) {
        (void)snprintf(why, 96, "a frame of %" PRIu32 " bytes, beyond frame_max %" PRIu32, len, frame_max);
        return FJ__FRAME_BAD;
    }
    if (n < (size_t)len + FJ__FRAME_EXTRA)
        return FJ__FRAME_SHORT;
    if (bytes[7 + (size_t)len] != FJ__FRAME_END) {
        (void)snprintf(why, 96, "a frame that ends in 0x%02X instead of 0xCE", bytes[7 + (size_t)len]);
        return FJ__FRAME_BAD;
    }
    *ret = (fj__frame){ bytes[0], channel, bytes + 7, len };
    return FJ__FRAME_OK;
}

/* ---- field tables ---- */

typedef struct {
    size_t end;
    bool array; /* values only, no names */
} level;

/* Bytes of a value of fixed size, or SIZE_MAX. */
static size_t fixed_size(uint8_t kind)
{
    switch (kind) {
    case AMQP_FIELD_KIND_VOID:
        return 0;
    case AMQP_FIELD_KIND_BOOLEAN:
    case AMQP_FIELD_KIND_I8:
    case AMQP_FIELD_KIND_U8:
        return 1;
    case AMQP_FIELD_KIND_I16:
    case AMQP_FIELD_KIND_U16:
        return 2;
    case AMQP_FIELD_KIND_I32:
    case AMQP_FIELD_KIND_U32:
    case AMQP_FIELD_KIND_F32:
        return 4;
    case AMQP_FIELD_KIND_DECIMAL:
        return 5;
    case AMQP_FIELD_KIND_I64:
    case AMQP_FIELD_KIND_U64:
    case AMQP_FIELD_KIND_F64:
    case AMQP_FIELD_KIND_TIMESTAMP:
        return 8;
    default:
        return SIZE_MAX;
    }
}

static bool has_length(uint8_t kind)
{
    return kind == AMQP_FIELD_KIND_UTF8 || kind == AMQP_FIELD_KIND_BYTES || kind == AMQP_FIELD_KIND_TABLE ||
           kind == AMQP_FIELD_KIND_ARRAY;
}

static bool nests(uint8_t kind)
{
    return kind == AMQP_FIELD_KIND_TABLE || kind == AMQP_FIELD_KIND_ARRAY;
}

static const char cut_short[] = "a field table that is cut short";

/* Past the name, the kind and the value that begin at *pos; of a table or array only past its length, which *inner gets. */
static const char *pass_value(const uint8_t *bytes, const level *in, size_t *pos, uint8_t *kind, size_t *inner)
{
    size_t at = *pos;

    if (!in->array) {
        if (in->end - at < (size_t)bytes[at] + 1)
            return cut_short;
        at += (size_t)bytes[at] + 1;
    }
    if (at == in->end)
        return cut_short;
    *kind = bytes[at++];
    size_t n = fixed_size(*kind);
    if (has_length(*kind)) {
        if (in->end - at < 4)
            return cut_short;
        n = fj__get32(bytes + at);
        at += 4;
    } else if (n == SIZE_MAX) {
        return "a field table with a value of unknown kind";
    }
    if (n > in->end - at)
        return cut_short;
    *inner = at + n;
    *pos = nests(*kind) ? at : at + n;
    return NULL;
}

const char *fj__table_check(const uint8_t *bytes, size_t n, size_t *used)
{
    level levels[FJ__TABLE_DEPTH];
    size_t depth = 1, pos = 4;

    if (n < 4 || fj__get32(bytes) > n - 4)
        return cut_short;
    levels[0] = (level){ 4 + (size_t)fj__get32(bytes), false };
    if (used != NULL)
        *used = levels[0].end;
    while (depth > 0) {
        const level *in = &levels[depth - 1];
        uint8_t kind = 0;
        size_t inner = 0;

        if (pos == in->end) {
            depth--;
            continue;
        }
        const char *why = pass_value(bytes, in, &pos, &kind, &inner);
        if (why != NULL)
            return why;
        if (!nests(kind))
            continue;
        if (depth == FJ__TABLE_DEPTH)
            return "a field table nested more than 32 deep";
        levels[depth++] = (level){ inner, kind == AMQP_FIELD_KIND_ARRAY };
    }
    return NULL;
}

const char *fj__properties_check(const uint8_t *bytes, size_t n)
{
    static const unsigned before_headers[] = { AMQP_BASIC_CONTENT_TYPE_FLAG, AMQP_BASIC_CONTENT_ENCODING_FLAG };
    static const char cut[] = "content properties that are cut short";

    if (n < 2)
        return cut;
    unsigned flags = fj__get16(bytes);
    if (flags & 1) /* a second word of flags: class basic has none, and the codec would shift by it for ever */
        return "content properties with unknown flags";
    size_t at = 2;
    for (size_t i = 0; i < 2; i++) {
        if (!(flags & before_headers[i]))
            continue;
        if (at >= n || (size_t)bytes[at] + 1 > n - at)
            return cut;
        at += (size_t)bytes[at] + 1;
    }
    return (flags & AMQP_BASIC_HEADERS_FLAG) ? fj__table_check(bytes + at, n - at, NULL) : NULL;
}

size_t fj__properties_size(const uint8_t *bytes, size_t n)
{
    static const char kinds[] =
        "sst11ssssLssss"; /* of the flags, the highest bit first: short text, table, octet, timestamp */
    size_t at = 2;

    if (n < 2)
        return 0;
    for (size_t i = 0; kinds[i] != '\0'; i++) {
        if (!(fj__get16(bytes) & (0x8000u >> i)))
            continue;
        if (kinds[i] == '1' || kinds[i] == 'L') {
            at += kinds[i] == '1' ? 1 : 8;
        } else {
            size_t length = kinds[i] == 's' ? 1 : 4;
            if (at > n || length > n - at)
                return 0;
            at += length + (length == 1 ? bytes[at] : fj__get32(bytes + at));
        }
    }
    return at;
}

/* ---- frames out ---- */

static void put_front(uint8_t *to, uint8_t type, uint16_t channel, size_t n)
{
    to[0] = type;
    put16(to + 1, channel);
    put32(to + 3, (uint32_t)n);
}

static void cut_back(fj__buf *out, size_t len)
{
    out->end = out->begin + len;
}

fj_code fj__put_frame(fj__buf *out, uint8_t type, uint16_t channel, const void *payload, size_t n)
{
    uint8_t *to = fj__buf_reserve(out, n + FJ__FRAME_EXTRA);

    if (to == NULL)
        return FJ_NOMEM;
    put_front(to, type, channel, n);
    if (n != 0)
        memcpy(to + 7, payload, n);
    to[7 + n] = FJ__FRAME_END;
    fj__buf_commit(out, n + FJ__FRAME_EXTRA);
    return FJ_OK;
}

/* librabbitmq writes into room given and cannot tell how much it needs: more is offered until frame_max. */
typedef int (*encode_fn)(const void *what, amqp_method_number_t id, amqp_bytes_t to);

static int encode_method(const void *what, amqp_method_number_t id, amqp_bytes_t to)
{
    uint8_t *bytes = to.bytes;

    put32(bytes, id);
    int n = amqp_encode_method(id, (void *)(uintptr_t)what, (amqp_bytes_t){ to.len - 4, bytes + 4 });
    return n < 0 ? n : n + 4;
}

static int encode_properties(const void *what, amqp_method_number_t id, amqp_bytes_t to)
{
    uint8_t *bytes = to.bytes;

    (void)id;
    int n = amqp_encode_properties(AMQP_BASIC_CLASS, (void *)(uintptr_t)what,
                                   (amqp_bytes_t){ to.len - 12, bytes + 12 });
    return n < 0 ? n : n + 12;
}

static fj_code put_encoded(fj__buf *out, uint8_t type, uint16_t channel, encode_fn encode, const void *what,
                           amqp_method_number_t id, uint32_t frame_max)
{
    size_t most = frame_max - FJ__FRAME_EXTRA, room = 512;

    for (;;) {
        uint8_t *to = fj__buf_reserve(out, room + FJ__FRAME_EXTRA);
        if (to == NULL)
            return FJ_NOMEM;
        int n = encode(what, id, (amqp_bytes_t){ room, to + 7 });
        if (n >= 0) {
            put_front(to, type, channel, (size_t)n);
            to[7 + n] = FJ__FRAME_END;
            fj__buf_commit(out, (size_t)n + FJ__FRAME_EXTRA);
            return FJ_OK;
        }
        if (room == most)
            return FJ_TOO_BIG;
        room = room * 4 < most ? room * 4 : most;
    }
}

fj_code fj__put_method(fj__buf *out, uint16_t channel, amqp_method_number_t id, void *decoded,
                       uint32_t frame_max)
{
    return put_encoded(out, FJ__FRAME_METHOD, channel, encode_method, decoded, id, frame_max);
}

static fj_code put_header(fj__buf *out, uint16_t channel, const amqp_basic_properties_t *properties, size_t n,
                          uint32_t frame_max)
{
    size_t before = fj__buf_len(out);
    fj_code code = put_encoded(out, FJ__FRAME_HEADER, channel, encode_properties, properties, 0, frame_max);

    if (code != FJ_OK)
        return code;
    uint8_t *payload = out->bytes + out->begin + before + 7;
    put16(payload, AMQP_BASIC_CLASS);
    put16(payload + 2, 0); /* weight: always 0 */
    put64(payload + 4, n);
    return FJ_OK;
}

static fj_code put_body(fj__buf *out, uint16_t channel, const uint8_t *body, size_t n, uint32_t frame_max)
{
    size_t most = frame_max - FJ__FRAME_EXTRA;

    if (n > SIZE_MAX / 4 || fj__buf_reserve(out, n + (n / most + 1) * FJ__FRAME_EXTRA) == NULL)
        return FJ_NOMEM;
    while (n > 0) {
        size_t part = n < most ? n : most;
        fj_code code = fj__put_frame(out, FJ__FRAME_BODY, channel, body, part);

        if (code != FJ_OK)
            return code;
        body += part;
        n -= part;
    }
    return FJ_OK;
}

fj_code fj__put_content(fj__buf *out, uint16_t channel, amqp_method_number_t id, void *decoded,
                        const amqp_basic_properties_t *properties, const void *body, size_t n,
                        uint32_t frame_max)
{
    size_t before = fj__buf_len(out);
    fj_code code = fj__put_method(out, channel, id, decoded, frame_max);

    if (code == FJ_OK)
        code = put_header(out, channel, properties, n, frame_max);
    if (code == FJ_OK)
        code = put_body(out, channel, body, n, frame_max);
    if (code != FJ_OK)
        cut_back(out, before);
    return code;
}
