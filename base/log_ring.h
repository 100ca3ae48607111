/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_LOG_RING_H
#define FJORD_BASE_LOG_RING_H
/* Lines that wait for a writer: a bounded queue of copies, oldest first.  No locks of its own. */
#include "base/log_line.h"

typedef struct {
    unsigned char *bytes;
    size_t size, begin, used; /* the oldest is at begin; all wraps at size */
    unsigned long dropped;    /* since the last one that found room */
} fj__log_ring;

/** @return false when memory ran out */
bool fj__log_ring_init(fj__log_ring *r, size_t size);
void fj__log_ring_fini(fj__log_ring *r);
/** Copy a line, a long text cut to FJ__LOG_TEXT_MAX.  @return false when there is no room: it is counted, and the next that finds room
 *  carries the count */
bool fj__log_ring_push(fj__log_ring *r, const fj__log_line *line);
/** Copy the oldest line out; its texts are in @p room.
 *  @param room  FJ__LOG_ROOM bytes   @return how much the ring holds of it, for fj__log_ring_pop(); 0: there is none */
size_t fj__log_ring_peek(const fj__log_ring *r, fj__log_line *ret, char *room);
void fj__log_ring_pop(fj__log_ring *r, size_t n);

/** What a text beside the line's own is cut to. */
enum { FJ__LOG_PART_MAX = 255, FJ__LOG_ROOM = FJ__LOG_TEXT_MAX + 8 * (FJ__LOG_PART_MAX + 1) };

#endif
