/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/body.h"

#include "base/buffer.h"
#include "transports/message.h"

#include <string.h>

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
        return text ? fj__packing_typed(e->value.value.bytes.bytes, e->value.value.bytes.len)
                    : FJ__BODY_UNKNOWN;
    }
    return FJ__BODY_PLAIN;
}

fj_code fj__body_read(fj__body_form form, const char *body, size_t n, const fj_json_opts *opts, json_t **ret,
                      fj_error **err)
{
    fj__buf out = { 0 };

    if (form == FJ__BODY_PLAIN)
        return fj__message_open(body, n, opts, ret, err);
    fj_code rc = fj__unpack(form, body, n, opts->max_bytes, &out, err);
    if (rc == FJ_OK)
        rc = fj__message_open((const char *)fj__buf_data(&out), fj__buf_len(&out), opts, ret, err);
    fj__buf_fini(&out);
    return rc;
}
