/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_STACK_H
#define FJORD_RUNTIME_STACK_H
/* Stacks of fibres, in slabs, with a guard below each; pooled per thread and size. */
#include <fjord/error.h>

typedef struct fj__slab fj__slab;

typedef struct {
    char *base;  /* lowest usable address; the guard is below */
    size_t size; /* usable bytes */
    fj__slab *slab;
} fj__stack;

#define FJ__STACK_MIN ((size_t)16 * 1024)
#define FJ__STACK_DEFAULT ((size_t)64 * 1024)
#define FJ__STACK_CORO ((size_t)32 * 1024)

/** @param size rounded up to a power of two, FJ__STACK_MIN at least   @errors NOMEM, SYSTEM */
fj_code fj__stack_get(size_t size, fj__stack *ret, fj_error **err);
/** On the thread that got it. */
void fj__stack_put(fj__stack *stack);
/** Give back to the system what idle stacks of this thread hold. */
void fj__stack_trim(void);

/** Report an overflow by name: a handler for SIGSEGV and SIGBUS on a signal stack of the thread's own.  Faults elsewhere go on
 *  to the handler that was there before.  Once a thread that runs fibres; undone when the thread ends. */
fj_code fj__stack_watch_overflow(fj_error **err);

#endif
