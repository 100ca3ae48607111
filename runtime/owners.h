/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_OWNERS_H
#define FJORD_RUNTIME_OWNERS_H
/*
 * Which green task holds which of libc's locks (pthread mutexes, rwlocks locked for writing, by their addresses): to libc they
 * are all its thread's.  Kept while the group `mutex` is patched; what threads and other tasks hold is not here.
 *
 * Neither allocates nor parks: allocators have locks too.
 */
#include <fjord/task.h>
#include <stdbool.h>

/** The green task that holds the object at @p address.  @return new reference; NULL: none that is known   @thread any */
fj_task *fj__owner_of(const volatile void *address);

/** The same, for comparison alone: it may be gone.  As fj__wanted wants it */
void *fj__holder_of(const void *address);

/** Whether @p task is that one.  @thread any */
bool fj__owns(const fj_task *task, const volatile void *address);
/** @p task, the running one, holds it from now on, whoever did.  @return false when so many are held that there is no room */
bool fj__own(fj_task *task, const volatile void *address);
/** One of those that @p task holds; NULL: none. */
const volatile void *fj__owned_by(const fj_task *task);
/** Nobody does.  @thread any */
void fj__disown(const volatile void *address);
/** @p task ends: what it still holds is reported and forgotten.  @thread its loop's */
void fj__owners_end(fj_task *task);

#endif
