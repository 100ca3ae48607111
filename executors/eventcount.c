/* SPDX-License-Identifier: Apache-2.0 */
#include "eventcount.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void fj__eventcount_raise(fj__eventcount *e)
{
    (void)atomic_fetch_add_explicit(&e->count, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&e->waiting, memory_order_seq_cst) == 0)
        return;
    int before = errno; /* a signal handler must leave it alone */
    (void)syscall(SYS_futex, &e->count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    errno = before;
}

static bool wait_counted(fj__eventcount *e, unsigned seen, fj_deadline by)
{
    while (fj__eventcount_read(e) == seen) {
        /* FUTEX_WAIT_BITSET takes a point of the monotonic clock, FUTEX_WAIT a span. */
        struct timespec until = { .tv_sec = (time_t)(by.ns / 1000000000),
                                  .tv_nsec = (long)(by.ns % 1000000000) };
        if (fj_passed(by))
            return false;
        long rc = syscall(SYS_futex, &e->count, FUTEX_WAIT_BITSET_PRIVATE, seen,
                          fj_is_never(by) ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
        if (rc != 0 && errno == ETIMEDOUT)
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
