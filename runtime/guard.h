/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_GUARD_H
#define FJORD_RUNTIME_GUARD_H
/*
 * The pages below a stack that nothing may touch.  MADV_GUARD_INSTALL (Linux 6.13) costs no mapping; before it there is
 * mprotect(2), which splits the slab: two mappings a stack, of which a process has vm.max_map_count (65530).
 */
#include <fjord/error.h>

/** Enough for the largest array that common code puts on the stack without touching it page by page. */
#define FJ__GUARD ((size_t)16 * 1024)

/** @param ret_split whether it took mappings, to be told to fj__guards_gone()
 *  @errors SYSTEM (names vm.max_map_count where that is why)   @thread any */
fj_code fj__guard_set(char *at, size_t size, bool *ret_split, fj_error **err);
/** @p n guards that split their mapping were unmapped.   @thread any */
void fj__guards_gone(size_t n);

/** Tests: use mprotect(2) even where there is better, and take @p max_map_count for the system's limit.
 *  false and 0 undo it. */
void fj__guard_pretend(bool mprotect_only, size_t max_map_count);

#endif
