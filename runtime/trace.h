/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_TRACE_H
#define FJORD_RUNTIME_TRACE_H
/* Backtraces, and how they are printed: in one line, innermost call first. */
#include <stddef.h>

/* Frames that are taken at most, and the text of so many. */
enum { FJ__TRACE_FRAMES = 48, FJ__TRACE_TEXT = 1600 };
/* What taking one needs of a stack: 3.0 KiB were measured with glibc 2.36 on x86-64; more where a checker stands in between. */
#define FJ__TRACE_ROOM ((size_t)6 * 1024)

/** Have the unwinder loaded, which allocates and takes more stack than a fibre may have.  Once, before the first is taken. */
void fj__trace_prepare(void);
/** The calls that are under way.  @return how many   @thread any, async-signal-safe after fj__trace_prepare() */
int fj__trace_take(void **frames, int max);
/** "wait+0x1c [server+0x4f3a] < serve+0x20 [server+0x5012] < ...": of each call where it goes on, by name where the dynamic
 *  linker knows one, and in brackets for `addr2line -fe MODULE OFFSET`.  What does not fit is left out.  @thread any */
void fj__trace_text(void *const *frames, int n, char *text, size_t size);

#endif
