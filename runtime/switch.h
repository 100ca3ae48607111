/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_SWITCH_H
#define FJORD_RUNTIME_SWITCH_H
/*
 * The switch between two stacks.  switch_x86_64.S and switch_aarch64.S are each empty on another machine; there, and with
 * `make FIBRE=ucontext`, switch_ucontext.c takes over, which is some 45 times slower.
 * Saved are the registers that a callee must keep, and the floating-point control (rounding, exceptions).  The signal
 * mask is not: it is the thread's.
 */
#if !defined(FJ_FIBRE_UCONTEXT) && defined(__x86_64__) && !defined(__ILP32__)
#define FJ__SWITCH_X86_64 1
#elif !defined(FJ_FIBRE_UCONTEXT) && defined(__aarch64__) && !defined(__ILP32__)
#define FJ__SWITCH_AARCH64 1
#else
#define FJ__SWITCH_UCONTEXT 1
#endif

#ifndef __ASSEMBLER__
#include <stdbool.h>

/** Leave this stack, whose continuation goes to *@p save, and go on at @p to, which such a call or fj__switch_frame() gave.
 *  @return true when it is switched back to; false when a stack has come to its end with it */
bool fj__switch(void **save, void *to);
/** Prepare a fresh stack so that the first switch to it calls @p start.  What that returns is gone on at, and
 *  the stack is left for good: the fj__switch() there returns false.
 *  @param base its lowest address   @param top the one above its highest   @return what to switch to */
void *fj__switch_frame(char *base, char *top, void *(*start)(void));
#endif

#endif
