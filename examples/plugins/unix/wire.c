/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

struct head {
    uint32_t size; /* of all, the head too */
    uint8_t type, flags;
    uint16_t key_size; /* with its NUL */
    uint64_t seq, id;
    int64_t by;
};

bool bytes_reserve(struct bytes *b, size_t n)
{
    if (b->at > 0 && (b->at == b->end || b->room - b->end < n)) {
        memmove(b->data, b->data + b->at, bytes_left(b));
        b->end -= b->at;
        b->at = 0;
    }
    if (b->room - b->end >= n)
        return true;
    size_t room = b->room < 512 ? 1024 : 2 * b->room;
    while (room - b->end < n)
        room *= 2;
    char *data = realloc(b->data, room);
    if (data == NULL)
        return false;
    b->data = data;
    b->room = room;
    return true;
}

bool bytes_put(struct bytes *b, const void *data, size_t n)
{
    if (!bytes_reserve(b, n))
        return false;
    if (n > 0)
        memcpy(b->data + b->end, data, n);
    b->end += n;
    return true;
}

void bytes_take(struct bytes *b, size_t n)
{
    b->at += n;
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){ 0 };
}

bool frame_put(struct bytes *b, const struct frame *f)
{
    const char *key = f->key != NULL ? f->key : "";
    size_t key_size = strlen(key) + 1, size = sizeof(struct head) + key_size + f->n;

    if (key_size > KEY_MAX_SIZE || f->n > FRAME_MAX || size > FRAME_MAX || !bytes_reserve(b, size))
        return false;
    const struct head h = { .size = (uint32_t)size,
                            .type = (uint8_t)f->type,
                            .flags = (uint8_t)f->flags,
                            .key_size = (uint16_t)key_size,
                            .seq = f->seq,
                            .id = f->id,
                            .by = f->by };
    return bytes_put(b, &h, sizeof h) && bytes_put(b, key, key_size) && bytes_put(b, f->body, f->n);
}

long frame_get(const struct bytes *b, struct frame *ret)
{
    struct head h;

    if (bytes_left(b) < sizeof h)
        return 0;
    const char *at = b->data + b->at;
    memcpy(&h, at, sizeof h);
    if (h.size > FRAME_MAX || h.key_size == 0 || h.key_size > KEY_MAX_SIZE || h.size < sizeof h + h.key_size)
        return -1;
    if (bytes_left(b) < h.size)
        return 0;
    if (at[sizeof h + h.key_size - 1] != '\0')
        return -1;
    *ret = (struct frame){ .type = (enum frame_type)h.type,
                           .flags = h.flags,
                           .seq = h.seq,
                           .id = h.id,
                           .by = h.by,
                           .key = at + sizeof h,
                           .body = at + sizeof h + h.key_size,
                           .n = h.size - sizeof h - h.key_size };
    return (long)h.size;
}

void frame_renumber(struct bytes *b, uint64_t seq)
{
    memcpy(b->data + b->at + offsetof(struct head, seq), &seq, sizeof seq);
}
