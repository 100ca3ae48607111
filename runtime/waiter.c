/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/waiter.h"

#include "runtime/sync.h"

fj_code fj__waiter_init(fj__waiter *w, const char *what)
{
    *w = (fj__waiter){ .what = what };
    return FJ_OK;
}

fj_code fj__waiter_wait(fj__waiter *w, fj_deadline by)
{
    while (atomic_load_explicit(&w->woken, memory_order_acquire) == 0) {
        if (!fj__futex_wait(&w->woken, 0, by))
            return FJ_TIMEOUT;
    }
    return FJ_OK;
}

void fj__waiter_wake(fj__waiter *w)
{
    /* Once it sees this, the thread may leave, and its stack be used for something else: the call below names only the
     * address, and who sleeps on a futex bears to be woken for nothing. */
    atomic_store_explicit(&w->woken, 1, memory_order_release);
    fj__futex_wake(&w->woken, 1);
}

void fj__waiters_push(fj__waiters *list, fj__waiter *w)
{
    w->next = NULL;
    w->prev = list->last;
    if (list->last != NULL)
        list->last->next = w;
    else
        list->first = w;
    list->last = w;
}

void fj__waiters_remove(fj__waiters *list, fj__waiter *w)
{
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        list->first = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        list->last = w->prev;
    w->next = w->prev = NULL;
}

bool fj__waiters_has(const fj__waiters *list, const fj__waiter *w)
{
    return w->prev != NULL || list->first == w;
}
