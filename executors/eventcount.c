/* SPDX-License-Identifier: Apache-2.0 */
#include "eventcount.h"

#include "runtime/sync.h"

#include <limits.h>

void fj__eventcount_raise(fj__eventcount *e)
{
    (void)atomic_fetch_add_explicit(&e->count, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&e->waiting, memory_order_seq_cst) != 0)
        fj__futex_wake(&e->count, INT_MAX);
}

static bool wait_counted(fj__eventcount *e, unsigned seen, fj_deadline by)
{
    while (fj__eventcount_read(e) == seen) {
        if (!fj__futex_wait(&e->count, seen, by))
            return false;
    }
    return true;
}

bool fj__eventcount_wait(fj__eventcount *e, unsigned seen, fj_deadline by)
{
    (void)atomic_fetch_add_explicit(&e->waiting, 1, memory_order_seq_cst);
    bool changed = wait_counted(e, seen, by);
    (void)atomic_fetch_sub_explicit(&e->waiting, 1, memory_order_seq_cst);
    return changed;
}
