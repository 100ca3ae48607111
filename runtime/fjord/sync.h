/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_SYNC_H
#define FJORD_SYNC_H
/*
 * Locks and signals between tasks, asyncio's and eventlet's in one.  The same object serves tasks of any flavour, of any
 * loop, and plain threads: a task suspends, a plain thread blocks, and on a loop's thread outside a task what would have
 * to wait answers FJ_WRONG_CONTEXT.  Waiting is in order of arrival, and nobody gets in between.  What was granted to a
 * waiter that has been cancelled, or ran out of time, goes to the next.  What need not wait is never cut short.
 * Free an object only when nobody uses it; the functions that free accept NULL and answer NULL.  Only those that make
 * objects can fail for want of memory.
 */
#include <fjord/base.h>
#include <fjord/clock.h>
#include <fjord/error.h>

FJ_BEGIN_DECLS

/* ---- mutex ---------------------------------------------------------------------------------------- */

typedef struct fj_mutex fj_mutex;
enum { FJ_MUTEX_RECURSIVE = 1 };
/** @param name lends for ever; fj_task_waits_for() shows it; NULL: "mutex" (of other objects, their kind)   @errors NOMEM */
FJ_API FJ_MUST_USE fj_code fj_mutex_new(const char *name, unsigned flags, fj_mutex **ret);
FJ_API fj_mutex *fj_mutex_free(fj_mutex *m);
/** @return OK; TIMEOUT; CANCELLED; STATE when its owner locks it again and it is not recursive */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_mutex_lock(fj_mutex *m, fj_deadline by);
FJ_API bool fj_mutex_trylock(fj_mutex *m);
/** @errors STATE unless the caller owns it */
FJ_API fj_code fj_mutex_unlock(fj_mutex *m);
FJ_API bool fj_mutex_locked(fj_mutex *m);

/* ---- condition ------------------------------------------------------------------------------------ */

typedef struct fj_condition fj_condition;
FJ_API FJ_MUST_USE fj_code fj_condition_new(const char *name, fj_condition **ret);
FJ_API fj_condition *fj_condition_free(fj_condition *c);
/** Release @p m, wait to be notified, lock @p m again: it is locked on return, whatever is answered (the locking is not
 *  cut short).  @return OK; TIMEOUT; CANCELLED; STATE unless the caller owns @p m */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_condition_wait(fj_condition *c, fj_mutex *m, fj_deadline by);
/** Wait until @p ready(user), called with @p m locked, says true.  @return as fj_condition_wait() */
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_condition_wait_for(fj_condition *c, fj_mutex *m,
                                                              bool (*ready)(void *user), void *user,
                                                              fj_deadline by);
/** @thread any, with the mutex held */
FJ_API void fj_condition_notify(fj_condition *c, unsigned n);
FJ_API void fj_condition_notify_all(fj_condition *c);

/* ---- semaphore ------------------------------------------------------------------------------------ */

typedef struct fj_semaphore fj_semaphore;
/** @param bound  a release beyond it is refused (BoundedSemaphore); 0: none
 *  @errors BAD_VALUE when @p value is beyond it, NOMEM */
FJ_API FJ_MUST_USE fj_code fj_semaphore_new(const char *name, unsigned value, unsigned bound,
                                            fj_semaphore **ret);
FJ_API fj_semaphore *fj_semaphore_free(fj_semaphore *s);
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_semaphore_acquire(fj_semaphore *s, fj_deadline by);
FJ_API bool fj_semaphore_try(fj_semaphore *s);
/** @errors STATE beyond the bound   @thread any */
FJ_API fj_code fj_semaphore_release(fj_semaphore *s);
FJ_API unsigned fj_semaphore_value(fj_semaphore *s);

/* ---- event ---------------------------------------------------------------------------------------- */

typedef struct fj_event fj_event;
FJ_API FJ_MUST_USE fj_code fj_event_new(const char *name, fj_event **ret);
FJ_API fj_event *fj_event_free(fj_event *e);
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_event_wait(fj_event *e, fj_deadline by);
/** Wake all who wait; who comes later does not wait, until fj_event_clear().  @thread any */
FJ_API void fj_event_set(fj_event *e);
FJ_API void fj_event_clear(fj_event *e);
FJ_API bool fj_event_is_set(fj_event *e);

/* ---- readers and writers -------------------------------------------------------------------------- */

typedef struct fj_rwlock fj_rwlock;
/** In order of arrival: a reader that comes after a waiting writer waits behind it. */
FJ_API FJ_MUST_USE fj_code fj_rwlock_new(const char *name, fj_rwlock **ret);
FJ_API fj_rwlock *fj_rwlock_free(fj_rwlock *l);
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_rwlock_read(fj_rwlock *l, fj_deadline by);
FJ_API FJ_MAY_AWAIT FJ_MUST_USE fj_code fj_rwlock_write(fj_rwlock *l, fj_deadline by);
/** Give up the lock, of either kind.  @errors STATE when it is not locked */
FJ_API fj_code fj_rwlock_unlock(fj_rwlock *l);

FJ_END_DECLS
#endif
