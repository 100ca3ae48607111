/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_BUFFER_H
#define FJORD_BASE_BUFFER_H
/* A byte queue: appended at its end, consumed at its front.  Zero-initialised is empty. */
#include <fjord/base.h>

typedef struct {
    uint8_t *bytes;
    size_t begin, end, capacity; /* the content is bytes[begin .. end) */
} fj__buf;

static inline size_t fj__buf_len(const fj__buf *b)
{
    return b->end - b->begin;
}
static inline const uint8_t *fj__buf_data(const fj__buf *b)
{
    return b->bytes + b->begin;
}
/** Room for @p n more bytes at the end, to be written by the caller and counted by fj__buf_commit(); NULL when
 *  memory ran out. */
uint8_t *fj__buf_reserve(fj__buf *b, size_t n);
void fj__buf_commit(fj__buf *b, size_t n);
bool fj__buf_append(fj__buf *b, const void *bytes, size_t n);
/** Drop @p n bytes from the front. */
void fj__buf_consume(fj__buf *b, size_t n);
/** Empty it; a capacity over 256 KiB is given back. */
void fj__buf_clear(fj__buf *b);
void fj__buf_fini(fj__buf *b);

#endif
