/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_QUEUE_ITEMS_H
#define FJORD_RUNTIME_QUEUE_ITEMS_H
/*
 * The items of a queue in the order in which they leave it: a binary heap.  Each item has a number, by which equal ones
 * keep their order and one that was taken out finds its place again.  No lock.
 */
#include <fjord/queue.h>

typedef struct {
    void *item;
    uint64_t number;
} fj__queue_item;

typedef struct {
    fj__queue_item *heap;
    size_t n, capacity;
    fj_queue_order order;
    int (*compare)(const void *a, const void *b);
} fj__queue_items;

/** Room for @p n in all.  @return false when memory ran out */
bool fj__queue_items_reserve(fj__queue_items *items, size_t n);
/** There must be room. */
void fj__queue_items_push(fj__queue_items *items, fj__queue_item item);
/** There must be one. */
fj__queue_item fj__queue_items_pop(fj__queue_items *items);

#endif
