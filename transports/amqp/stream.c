/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/stream.h"

#include "base/alloc.h"

#include <string.h>

void fj__stream_fini(fj__stream *s)
{
    fj__free(s->places);
    *s = (fj__stream){ 0 };
}

static bool make_room(fj__stream *s)
{
    if (s->first + s->n < s->room)
        return true;
    if (s->first != 0 && s->first >= s->n) { /* the front is free, and larger than what is to be moved */
        memmove(s->places, s->places + s->first, s->n * sizeof *s->places);
        s->first = 0;
        return true;
    }
    void *grown = fj__grow(s->places, &s->room, s->first + s->n + 1, sizeof *s->places);
    if (grown == NULL)
        return false;
    s->places = grown;
    return true;
}

bool fj__stream_came(fj__stream *s, int64_t offset)
{
    if (s->begun && offset < s->next) /* never twice over one connection */
        return true;
    if (!make_room(s))
        return false;
    s->places[s->first + s->n++] = (struct fj__stream_place){ .offset = offset };
    s->next = offset + 1;
    s->begun = true;
    return true;
}

/* NULL: it is settled, or of a connection before. */
static struct fj__stream_place *find(fj__stream *s, int64_t offset)
{
    size_t low = s->first, high = s->first + s->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->places[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->first + s->n && s->places[low].offset == offset ? &s->places[low] : NULL;
}

void fj__stream_settle(fj__stream *s, int64_t offset)
{
    struct fj__stream_place *place = find(s, offset);

    if (place != NULL)
        place->settled = true;
    while (s->n != 0 && s->places[s->first].settled) {
        s->first++;
        s->n--;
    }
    if (s->n == 0)
        s->first = 0;
}

int64_t fj__stream_from(const fj__stream *s)
{
    return s->n != 0 ? s->places[s->first].offset : s->begun ? s->next : -1;
}

void fj__stream_lost(fj__stream *s)
{
    s->next = fj__stream_from(s);
    s->first = s->n = 0;
}

void fj__stream_forget(fj__stream *s)
{
    s->first = s->n = 0;
    s->begun = false;
}
