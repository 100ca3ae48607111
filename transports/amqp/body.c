/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/body.h"

#include "base/buffer.h"
#include "transports/message.h"

#include <string.h>
#include <zlib.h>

enum { CHUNK = 64 * 1024 };

static bool same(amqp_bytes_t a, const char *b)
{
    return a.len == strlen(b) && memcmp(a.bytes, b, a.len) == 0;
}

fj__body_form fj__body_form_of(const amqp_basic_properties_t *p)
{
    if (p == NULL || (p->_flags & AMQP_BASIC_HEADERS_FLAG) == 0)
        return FJ__BODY_PLAIN;
    for (int i = 0; i < p->headers.num_entries; i++) {
        const amqp_table_entry_t *e = &p->headers.entries[i];
        if (!same(e->key, "compression"))
            continue;
        bool text = e->value.kind == AMQP_FIELD_KIND_UTF8 || e->value.kind == AMQP_FIELD_KIND_BYTES;
        return text && same(e->value.value.bytes, "application/x-gzip") ? FJ__BODY_ZLIB : FJ__BODY_UNKNOWN;
    }
    return FJ__BODY_PLAIN;
}

/* "gzip" is a zlib stream in oslo.messaging's mouth; a real gzip header is taken too: 32 + 15 tells them apart,
 * zlib.h under inflateInit2. */
static fj_code unpack(const char *body, size_t n, size_t max, fj__buf *out, fj_error **err)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)body, .avail_in = (uInt)n };
    int state = inflateInit2(&z, 32 + 15);
    fj_code rc = state == Z_OK ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");

    while (rc == FJ_OK && state != Z_STREAM_END) {
        uint8_t *room = fj__buf_reserve(out, CHUNK);
        if (room == NULL) {
            rc = fj_fail(err, FJ_NOMEM, "out of memory");
            break;
        }
        z.next_out = room;
        z.avail_out = CHUNK;
        state = inflate(&z, Z_NO_FLUSH);
        fj__buf_commit(out, CHUNK - z.avail_out);
        if (state != Z_OK && state != Z_STREAM_END)
            rc = fj_fail(err, FJ_BAD_MESSAGE, "the compressed body is broken: %s",
                         z.msg != NULL ? z.msg : "cut short");
        else if (max != 0 && fj__buf_len(out) > max)
            rc = fj_fail(err, FJ_TOO_BIG, "the body unpacks to more than %zu bytes", max);
    }
    (void)inflateEnd(&z);
    return rc;
}

fj_code fj__body_read(fj__body_form form, const char *body, size_t n, const fj_json_opts *opts, json_t **ret,
                      fj_error **err)
{
    fj__buf out = { 0 };
    fj_code rc;

    if (form == FJ__BODY_PLAIN)
        return fj__message_open(body, n, opts, ret, err);
    if (form == FJ__BODY_UNKNOWN || n > UINT32_MAX)
        return fj_fail(err, FJ_BAD_MESSAGE, "the body is compressed in a way that is not known");
    rc = unpack(body, n, opts->max_bytes, &out, err);
    if (rc == FJ_OK)
        rc = fj__message_open((const char *)fj__buf_data(&out), fj__buf_len(&out), opts, ret, err);
    fj__buf_fini(&out);
    return rc;
}
