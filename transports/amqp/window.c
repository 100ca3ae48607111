/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/window.h"

#include "base/alloc.h"

#include <string.h>

enum { ID_MAX = 64 };

struct fj__window_id {
    uint32_t next; /* 1 + index */
    bool known;    /* in its chain */
    char text[ID_MAX + 1];
};

bool fj__window_init(fj__window *w, size_t n)
{
    size_t buckets = 16;

    while (buckets < 2 * n)
        buckets *= 2;
    *w = (fj__window){ .n = n,
                       .mask = buckets - 1,
                       .ids = fj__zalloc(n * sizeof *w->ids),
                       .buckets = fj__zalloc(buckets * sizeof *w->buckets) };
    if (w->ids != NULL && w->buckets != NULL)
        return true;
    fj__window_fini(w);
    return false;
}

void fj__window_fini(fj__window *w)
{
    fj__free(w->ids);
    fj__free(w->buckets);
    *w = (fj__window){ 0 };
}

static uint32_t *bucket_of(fj__window *w, const char *id)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a; a chain made long on purpose holds n ids at most */

    for (; *id != '\0'; id++)
        h = (h ^ (uint8_t)*id) * 0x100000001b3u;
    return &w->buckets[h & w->mask];
}

static uint32_t *place_of(fj__window *w, const char *id)
{
    uint32_t *at = bucket_of(w, id);

    while (*at != 0 && strcmp(w->ids[*at - 1].text, id) != 0)
        at = &w->ids[*at - 1].next;
    return at;
}

void fj__window_forget(fj__window *w, const char *id)
{
    uint32_t *at = place_of(w, id);

    if (*at == 0)
        return;
    struct fj__window_id *slot = &w->ids[*at - 1];
    *at = slot->next;
    slot->known = false;
}

bool fj__window_add(fj__window *w, const char *id)
{
    if (strlen(id) > ID_MAX)
        return true;
    if (*place_of(w, id) != 0)
        return false;
    struct fj__window_id *slot = &w->ids[w->at];
    if (slot->known)
        fj__window_forget(w, slot->text);
    uint32_t *head = bucket_of(w, id);
    memcpy(slot->text, id, strlen(id) + 1);
    slot->known = true;
    slot->next = *head;
    *head = (uint32_t)w->at + 1;
    w->at = (w->at + 1) % w->n;
    return true;
}
