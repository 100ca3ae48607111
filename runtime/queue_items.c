/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/queue_items.h"

#include "base/alloc.h"

/* Whether @p a leaves before @p b. */
static bool before(const fj__queue_items *items, const fj__queue_item *a, const fj__queue_item *b)
{
    if (items->order == FJ_QUEUE_LIFO)
        return a->number > b->number;
    int c = items->order == FJ_QUEUE_PRIORITY ? items->compare(a->item, b->item) : 0;
    return c != 0 ? c < 0 : a->number < b->number;
}

bool fj__queue_items_reserve(fj__queue_items *items, size_t n)
{
    fj__queue_item *heap = fj__grow(items->heap, &items->capacity, n, sizeof *heap);

    if (heap == NULL)
        return false;
    items->heap = heap;
    return true;
}

void fj__queue_items_push(fj__queue_items *items, fj__queue_item item)
{
    size_t at = items->n++;

    for (; at > 0 && before(items, &item, &items->heap[(at - 1) / 2]); at = (at - 1) / 2)
        items->heap[at] = items->heap[(at - 1) / 2];
    items->heap[at] = item;
}

fj__queue_item fj__queue_items_pop(fj__queue_items *items)
{
    fj__queue_item first = items->heap[0], last = items->heap[--items->n];
    size_t at = 0;

    for (size_t child = 1; child < items->n; child = 2 * at + 1) {
        if (child + 1 < items->n && before(items, &items->heap[child + 1], &items->heap[child]))
            child++;
        if (!before(items, &items->heap[child], &last))
            break;
        items->heap[at] = items->heap[child];
        at = child;
    }
    items->heap[at] = last;
    return first;
}
