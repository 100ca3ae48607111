/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_EXECUTORS_LIFECYCLE_H
#define FJORD_EXECUTORS_LIFECYCLE_H
/*
 * The ordered life of a server: INIT -> STARTING -> RUNNING -> STOPPING -> STOPPED -> DRAINING -> DRAINED, and by
 * reset back to INIT.  Each step's function runs once, on the thread that came first and with no lock held; who
 * comes meanwhile waits for it, and after 30 s of that a possible hang is logged.
 */
#include <fjord/error.h>

#include "executors/eventcount.h"

typedef enum {
    FJ__LIFE_INIT = 0,
    FJ__LIFE_STARTING,
    FJ__LIFE_RUNNING,
    FJ__LIFE_STOPPING,
    FJ__LIFE_STOPPED,
    FJ__LIFE_DRAINING,
    FJ__LIFE_DRAINED
} fj__life_state;

/** What the steps do.  All get the `user` of fj__life_init(). */
typedef struct {
    fj_code (*start)(void *user, fj_error **err); /**< a failure leads back to INIT */
    void (*stop)(void *user); /**< never blocks; async-signal-safe if stop comes from handlers */
    fj_code (*wait)(void *user, fj_deadline by, fj_error **err); /**< a failure leads back to STOPPED */
    bool (*inside)(
        void *user); /**< whether this thread runs a method of it: wait is refused then; may be NULL */
} fj__life_ops;

typedef struct {
    atomic_int state; /* fj__life_state */
    atomic_bool stop_early;
    fj__eventcount changed;
    const fj__life_ops *ops;
    void *user;
    const char *name;
} fj__life;

/** @param ops, user, name  lend, for its life; the name is for the log.  There is nothing to be freed. */
void fj__life_init(fj__life *l, const fj__life_ops *ops, void *user, const char *name);
fj__life_state fj__life_now(fj__life *l);
/** @errors STATE unless INIT (who comes while another starts waits for that first, but not on a loop's thread); those of
 *  ops->start
 *  @blocks as ops->start does */
fj_code fj__life_start(fj__life *l, fj_error **err);
/** Stop.  While it starts: as soon as it has.  Nothing in any state but RUNNING and STARTING.  Never blocks, async-
 *  signal-safe when ops->stop is.  @thread any */
void fj__life_stop(fj__life *l);
/** @return OK when drained, by this call or another; @errors STATE when not stopped, or from inside; TIMEOUT; those
 *  of ops->wait   @blocks until @p by */
fj_code fj__life_wait(fj__life *l, fj_deadline by, fj_error **err);
/** DRAINED to INIT; nothing when INIT.  @errors STATE */
fj_code fj__life_reset(fj__life *l, fj_error **err);
/** Wait until it is stopped (or was never started).  @return false when @p by came first */
bool fj__life_await_stop(fj__life *l, fj_deadline by);

#endif
