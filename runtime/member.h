/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_MEMBER_H
#define FJORD_RUNTIME_MEMBER_H
/*
 * A task in company: one that a pool or a group keeps count of, and how tasks stand in line there.  Companies belong to one
 * loop, and all of this happens on its thread: there are no locks.
 */
#include "runtime/waiter.h"

#include <fjord/task.h>

typedef struct fj__member fj__member;
struct fj__member {
    fj__member *next, *prev; /* the company's list */
    fj_task *task;           /* one reference */
    fj_task_fn fn;
    void *user;
    void (*freed)(void *user);
    void *company;
    /** The task is complete; the member is gone after it. */
    void (*ended)(fj__member *member);
    bool undone;
};

typedef struct {
    fj__member *first;
} fj__members;

/** Spawn @p model's fn for @p model's user and company.  @param model lends, copied
 *  @param ret lends, until it has ended   @errors those of fj_task_spawn(); then @p freed is not called */
fj_code fj__member_spawn(fj__members *list, const fj__member *model, const fj_task_opts *opts, fj__member **ret,
                         fj_error **err);
/** Take it out of its list; what ended() does first. */
void fj__member_leave(fj__members *list, fj__member *member);
/** Whether the running task is one of them. */
bool fj__member_runs(const fj__members *list);

/** Stand in @p line until somebody takes the waiter out and wakes it.  Who was woken is told OK, whatever else happened
 *  by then: with one thread nothing comes between.   @param what, user lend
 *  @return OK; TIMEOUT, CANCELLED; WRONG_CONTEXT outside a task */
fj_code fj__member_wait(fj__waiters *line, const char *what, void *user, fj_deadline by);
/** Take out and wake the first, or all.  @return whether there was one */
bool fj__member_wake(fj__waiters *line);
void fj__member_wake_all(fj__waiters *line);

#endif
