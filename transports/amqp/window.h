/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_WINDOW_H
#define FJORD_AMQP_WINDOW_H
/* The ids of the last N messages, to recognise one that is delivered twice (wire.md section 16). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    struct fj__window_id *ids; /* a ring of n */
    uint32_t *buckets;         /* 1 + index of the newest id of each chain; 0: none */
    size_t n, at, mask;
} fj__window;

/** For the last @p n ids, at least one.  @return false when memory ran out */
bool fj__window_init(fj__window *w, size_t n);
void fj__window_fini(fj__window *w);
/** Remember @p id.  @return false: it is among the last n.  An id over 64 bytes is never remembered. */
bool fj__window_add(fj__window *w, const char *id);
/** As if @p id had not come, for a message that did not run and will be delivered again. */
void fj__window_forget(fj__window *w, const char *id);

#endif
