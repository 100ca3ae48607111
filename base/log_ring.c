/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_ring.h"

#include "base/alloc.h"

#include <string.h>

enum { PARTS = 6 };

/* A line in the ring, followed by its parts and its text, each with a NUL. */
struct head {
    size_t size, text_n;
    fj__log_line line; /* its pointers mean nothing */
};

bool fj__log_ring_init(fj__log_ring *r, size_t size)
{
    *r = (fj__log_ring){ .size = size };
    r->bytes = fj__alloc(size);
    return r->bytes != NULL;
}

void fj__log_ring_fini(fj__log_ring *r)
{
    fj__free(r->bytes);
    *r = (fj__log_ring){ 0 };
}

/* At @p offset from the oldest, around the end. */
static void copy_in(fj__log_ring *r, size_t *offset, const void *from, size_t n)
{
    size_t at = (r->begin + *offset) % r->size;
    size_t first = n < r->size - at ? n : r->size - at;

    memcpy(r->bytes + at, from, first);
    memcpy(r->bytes, (const char *)from + first, n - first);
    *offset += n;
}

static void copy_out(const fj__log_ring *r, size_t *offset, void *to, size_t n)
{
    size_t at = (r->begin + *offset) % r->size;
    size_t first = n < r->size - at ? n : r->size - at;

    memcpy(to, r->bytes + at, first);
    memcpy((char *)to + first, r->bytes, n - first);
    *offset += n;
}

bool fj__log_ring_push(fj__log_ring *r, const fj__log_line *line)
{
    const char *const parts[PARTS] = { line->file,    line->function, line->component,
                                       line->request, line->message,  line->method };
    size_t lengths[PARTS], at = r->used;
    struct head head = { .text_n = line->text_n, .line = *line };

    if (head.text_n > FJ__LOG_TEXT_MAX)
        head.text_n = FJ__LOG_TEXT_MAX;
    head.size = sizeof head + head.text_n;
    for (size_t i = 0; i < PARTS; i++) {
        lengths[i] = strnlen(parts[i], FJ__LOG_PART_MAX);
        head.size += lengths[i] + 1;
    }
    if (head.size > r->size - r->used) {
        r->dropped++;
        return false;
    }
    head.line.dropped += r->dropped;
    r->dropped = 0;
    copy_in(r, &at, &head, sizeof head);
    for (size_t i = 0; i < PARTS; i++) {
        copy_in(r, &at, parts[i], lengths[i]);
        copy_in(r, &at, "", 1);
    }
    copy_in(r, &at, line->text, head.text_n);
    r->used = at;
    return true;
}

size_t fj__log_ring_peek(const fj__log_ring *r, fj__log_line *ret, char *room)
{
    const char **const parts[PARTS] = { &ret->file,    &ret->function, &ret->component,
                                        &ret->request, &ret->message,  &ret->method };
    struct head head;
    size_t at = 0;

    if (r->used == 0)
        return 0;
    copy_out(r, &at, &head, sizeof head);
    copy_out(r, &at, room, head.size - sizeof head);
    *ret = head.line;
    for (size_t i = 0; i < PARTS; i++) {
        *parts[i] = room;
        room += strlen(room) + 1;
    }
    ret->text = room;
    ret->text_n = head.text_n;
    return head.size;
}

void fj__log_ring_pop(fj__log_ring *r, size_t n)
{
    r->begin = (r->begin + n) % r->size;
    r->used -= n;
}
