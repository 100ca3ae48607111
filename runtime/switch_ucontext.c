/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/switch.h"

#ifdef FJ__SWITCH_UCONTEXT
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

static _Thread_local bool answered;

/* What is saved lies on the stack that is left; its address stands for it. */
bool fj__switch(void **save, void *to, bool answer)
{
    ucontext_t here;

    *save = &here; /* cppcheck-suppress autoVariables */
    answered = answer;
    (void)swapcontext(&here, to);
    return answered;
}

void *fj__switch_frame(char *base, char *top, void (*start)(void))
{
    uintptr_t at = ((uintptr_t)top - sizeof(ucontext_t)) & ~(uintptr_t)63;
    ucontext_t *first = (ucontext_t *)at;

    (void)getcontext(first);
    first->uc_stack.ss_sp = base;
    first->uc_stack.ss_size = (size_t)(at - (uintptr_t)base);
    first->uc_link = NULL;
    makecontext(first, start, 0);
    return first;
}
#else
typedef int fj__not_empty;
#endif
