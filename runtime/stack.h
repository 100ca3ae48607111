/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_STACK_H
#define FJORD_RUNTIME_STACK_H
/*
 * Stacks of fibres, in slabs, with a guard below each; pooled per thread and size.  The last one put back is the next
 * one got, so that few stacks are hot; of those idle beyond some number the pages go back to the system.
 */
#include <fjord/error.h>

typedef struct fj__slab fj__slab;
typedef struct fj__slot fj__slot;

/** One place for a stack.  Kept apart from the stack, whose pages may be given back. */
struct fj__slot {
    fj__slot *next; /* of the idle ones */
    fj__slab *slab;
    char *base;
    size_t size;
    void *owner; /* the fj__fibre on it, for debuggers; NULL: idle */
    unsigned valgrind_id;
};

typedef struct {
    char *base;  /* lowest usable address; the guard is below */
    size_t size; /* usable bytes */
    fj__slot *slot;
} fj__stack;

#define FJ__STACK_MIN ((size_t)16 * 1024)
#define FJ__STACK_DEFAULT ((size_t)64 * 1024)
#define FJ__STACK_CORO ((size_t)32 * 1024)
#define FJ__STACK_MAX ((size_t)1 << 30)

/** @param size rounded up to a power of two, FJ__STACK_MIN at least; a little less is usable: the tops of neighbours
 *  differ by up to 960 bytes, so that they do not compete for the same lines of the cache
 *  @errors NOMEM, SYSTEM, BAD_VALUE (above FJ__STACK_MAX) */
fj_code fj__stack_get(size_t size, fj__stack *ret, fj_error **err);
/** On the thread that got it, or after that thread has ended. */
void fj__stack_put(fj__stack *stack);
/** Give back to the system what idle stacks of this thread hold. */
void fj__stack_trim(void);

/** Whether an address lies in the guard below.  @thread any, async-signal-safe */
bool fj__stack_in_guard(const fj__stack *stack, const void *at);

/** Report an overflow by name: a handler for SIGSEGV and SIGBUS on a signal stack of the thread's own.  Faults elsewhere go on
 *  to the handler that was there before.  The first fibre of a thread calls it; undone when the thread ends. */
fj_code fj__stack_watch_overflow(fj_error **err);

#endif
