/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/switch.h"

#ifdef FJ__SWITCH_UCONTEXT
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

static _Thread_local bool answered;

/* The first frame of a stack. */
struct first {
    ucontext_t context;
    void *(*start)(void);
};

/* makecontext() hands on nothing but ints. */
static void enter(unsigned high, unsigned low)
{
    const struct first *first = (const struct first *)(uintptr_t)((uint64_t)high << 32 | low);
    const ucontext_t *to = first->start();

    answered = false;
    (void)setcontext(to);
}

/* What is saved lies on the stack that is left; its address stands for it. */
bool fj__switch(void **save, void *to)
{
    ucontext_t here;

    *save = &here; /* cppcheck-suppress autoVariables */
    answered = true;
    (void)swapcontext(&here, to);
    return answered;
}

void *fj__switch_frame(char *base, char *top, void *(*start)(void))
{
    uintptr_t at = ((uintptr_t)top - sizeof(struct first)) & ~(uintptr_t)63;
    struct first *first = (struct first *)at;

    first->start = start;
    (void)getcontext(&first->context);
    first->context.uc_stack.ss_sp = base;
    first->context.uc_stack.ss_size = (size_t)(at - (uintptr_t)base);
    first->context.uc_link = NULL;
    makecontext(&first->context, (void (*)(void))enter, 2, (unsigned)((uint64_t)at >> 32), (unsigned)at);
    return &first->context;
}
#else
typedef int fj__not_empty;
#endif
