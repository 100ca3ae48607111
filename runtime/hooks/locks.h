/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_HOOKS_LOCKS_H
#define FJORD_HOOKS_LOCKS_H
/*
 * The group `mutex`: libc's locks, kept in its own objects.  What is free is taken by libc's own try; only who waits is ours, parked
 * on the object's address, and whoever lets go, on whatever thread, wakes who is parked there.  Some of what is asked here
 * is in no interface: the layouts are glibc's since 2.25, on machines of 64 bits, and the tests hold them against libc.
 */
#include "runtime/hooks/hooks.h"

#pragma GCC visibility push(hidden)

/** A point of a clock; `t` NULL is never. */
typedef struct {
    clockid_t clock;
    const struct timespec *t;
} fj__until;

#define FJ__UNTIL(clock, t) (&(fj__until){ (clock), (t) })

/** Whether the group is live: then every thread has to wake, and to tell who holds what. */
static inline bool fj__locks_live(void)
{
    return fj__green_live(FJ_PATCH_MUTEX);
}

/** Whether the call is to park. */
static inline bool fj__locks_green(void)
{
    return fj__green(FJ_PATCH_MUTEX);
}

/** EINVAL for a clock that locks cannot wait by, or a time that is none; else 0. */
int fj__until_check(const fj__until *until);
/** Park by @p until.  @return as the runtime's park */
int fj__park_until(fj__parking *p, const fj__until *until);
/** Of an object that is left alone: tell it, once, if a green task uses it.  @return @p alone */
bool fj__locks_alone(bool alone, const char *what);

/* ---- mutex.c ---- */

/** Whether it is left alone: robust, or shared between processes. */
bool fj__mutex_alone(const pthread_mutex_t *m);
/** In a green task: parks, however long it takes. */
int fj__mutex_lock(pthread_mutex_t *m, const fj__until *until);
/** EPERM, if it is a kind that knows its owner and the caller is not; else 0. */
int fj__mutex_may_unlock(const pthread_mutex_t *m);
/** On any thread, of one that is not left alone. */
int fj__mutex_unlock(pthread_mutex_t *m);

/** A forked child has none of the threads that wait. */
void fj__conditions_in_child(void);

#pragma GCC visibility pop
#endif
