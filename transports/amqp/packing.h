/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_PACKING_H
#define FJORD_AMQP_PACKING_H
/* Compression of bodies, as kombu has it: its name stands in the header `compression` of a message (wire.md section 4). */
#include "base/buffer.h"
#include <fjord/error.h>

typedef enum {
    FJ__BODY_PLAIN,
    FJ__BODY_ZLIB, /* what kombu calls gzip */
    FJ__BODY_BZIP2,
    FJ__BODY_XZ,
    FJ__BODY_UNKNOWN
} fj__body_form;

/** By what the header says; UNKNOWN: we have no code for it. */
fj__body_form fj__packing_typed(const char *type, size_t n);
/** What the header says; NULL for PLAIN. */
const char *fj__packing_type(fj__body_form form);
/** By kombu's name of it, an alias or its type, as [oslo_messaging_rabbit] kombu_compression has it; NULL and "": PLAIN. */
fj__body_form fj__packing_named(const char *name);

/** Compress a body.  One that would not become smaller stays as it is.
 *  @param body, n  taken and given   @param ret  what it is now: @p form, or PLAIN   @errors NOMEM: then @p body is freed */
fj_code fj__pack(fj__body_form form, char **body, size_t *n, fj__body_form *ret, fj_error **err);
/** Decompress, to @p max bytes at most and no more memory than that and the format need.
 *  @param max 0: no bound   @errors BAD_MESSAGE: it is broken or cut short; TOO_BIG, NOMEM */
fj_code fj__unpack(fj__body_form form, const void *body, size_t n, size_t max, fj__buf *out, fj_error **err);

#endif
