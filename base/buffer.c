/* SPDX-License-Identifier: Apache-2.0 */
#include "buffer.h"

#include "alloc.h"

#include <string.h>

enum { KEEP = 256 * 1024 };

uint8_t *fj__buf_reserve(fj__buf *b, size_t n)
{
    if (b->capacity - b->end >= n && b->bytes != NULL)
        return b->bytes + b->end;
    size_t len = fj__buf_len(b);
    if (b->begin != 0 && b->capacity - len >= n && b->begin >= len) {
        memcpy(b->bytes, b->bytes + b->begin, len);
    } else {
        if (n > SIZE_MAX / 4 - b->end)
            return NULL;
        size_t room = b->capacity != 0 ? b->capacity : 512;
        while (room - len < n || room < len)
            room *= 2;
        uint8_t *moved = fj__alloc(room);
        if (moved == NULL)
            return NULL;
        if (len != 0)
            memcpy(moved, b->bytes + b->begin, len);
        fj__free(b->bytes);
        b->bytes = moved;
        b->capacity = room;
    }
    b->begin = 0;
    b->end = len;
    return b->bytes + b->end;
}

void fj__buf_commit(fj__buf *b, size_t n)
{
    b->end += n;
}

bool fj__buf_append(fj__buf *b, const void *bytes, size_t n)
{
    if (n == 0)
        return true;
    uint8_t *to = fj__buf_reserve(b, n);
    if (to == NULL)
        return false;
    memcpy(to, bytes, n);
    b->end += n;
    return true;
}

void fj__buf_consume(fj__buf *b, size_t n)
{
    b->begin += n;
    if (b->begin == b->end)
        fj__buf_clear(b);
}

void fj__buf_clear(fj__buf *b)
{
    b->begin = b->end = 0;
    if (b->capacity > KEEP)
        fj__buf_fini(b);
}

void fj__buf_fini(fj__buf *b)
{
    fj__free(b->bytes);
    *b = (fj__buf){ 0 };
}
