/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_BASE_INSPECT_H
#define FJORD_BASE_INSPECT_H
/*
 * The register of what can be asked what it is doing.  Whatever is worth seeing from outside adds a source of its kind when it
 * comes to be, and removes it before it goes.  Adding and removing take one lock for a few instructions, so a loop may do both.
 *
 * A child of fork starts with nothing in it; what the parent had added is not there to be removed.
 */
#include <fjord/inspect.h>

/** What @p user says of itself now: a new object, or an array of them; NULL for nothing.  @p by: when an answer is of no use
 *  any more.  Runs on the thread of whoever asks, which is never a loop's, and on several at once when several ask; with no lock
 *  of the register held.  It may not remove its own source. */
typedef json_t *(*fj__inspect_fn)(void *user, fj_deadline by);

typedef struct fj__inspected {
    struct fj__inspected *next, *before;
    const char *kind;
    fj__inspect_fn fn;
    void *user;
    unsigned long serial; /* in the order of adding, from 1; 0: not added */
    unsigned forks;       /* as many as the register had seen */
    unsigned asked;       /* so many are calling fn */
    bool going;
} fj__inspected;

/** @param kind, user  lend, until removed   @thread any, never blocks */
void fj__inspect_add(fj__inspected *i, const char *kind, fj__inspect_fn fn, void *user);
/** Afterwards fn is not running and will not be called.  Nothing, if it was not added.
 *  @thread any   @blocks while fn runs; so not with a lock that fn takes */
void fj__inspect_remove(fj__inspected *i);
/** What each source of @p kind says, in the order of their adding; arrays are joined.  Gives; NULL when memory ran out. */
json_t *fj__inspect_all(const char *kind, fj_deadline by);

#endif
