/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_LOOP_LOOK_H
#define FJORD_RUNTIME_LOOP_LOOK_H
/*
 * What a loop tells of itself: taken down on its own thread, which does no more for it than copy, a piece a turn; it is made
 * into JSON, and calls into names, by whoever asked.
 */
#include "runtime/inbox.h"
#include "runtime/trace.h"

#include <fjord/loop.h>
#include <sys/types.h>

enum {
    FJ__LOOK_TASKS = 1000,   /* of each, so many are told one by one; of tasks the oldest */
    FJ__LOOK_TIMERS = 1000,  /* and of timers the soonest, and some */
    FJ__LOOK_WATCHERS = 256, /* and of descriptors those with the lowest numbers */
    FJ__LOOK_NAME = 48,
    FJ__LOOK_WAIT = 80,
    FJ__LOOK_QUESTIONS = 4 /* that a loop may have and not have read: more would only wait for the same */
};

typedef struct {
    unsigned id;
    char name[FJ__LOOK_NAME], waits[FJ__LOOK_WAIT]; /* "": it does not wait */
    char request[FJ__LOOK_NAME], method[FJ__LOOK_NAME];
    const char *state; /* for ever */
    int64_t made, parked,
        ends; /* the first two of the coarse clock, 0: never; `ends` as fj_now() tells, or never */
    size_t stack, stack_size;
    bool green;
    void **frames; /* owned */
    int n;
} fj__look_task;

typedef struct {
    int64_t at;
    char what[FJ__LOOK_NAME + 8];
} fj__look_timer;

typedef struct {
    int fd;
    bool read, write;
    const char *what; /* for ever */
} fj__look_watcher;

typedef struct {
    char thread[16];
    pid_t tid;
    const char *label; /* for ever; NULL: none */
    uint64_t turns;
    size_t ready, all_tasks, all_timers, all_watchers;
    fj__look_task *tasks;
    size_t n_tasks;
    fj__look_timer *timers;
    size_t n_timers;
    fj__look_watcher watchers[FJ__LOOK_WATCHERS];
    size_t n_watchers;
    bool private_, hosted, debug;
} fj__look;

/** Called once on the thread of the loop: @p looked is NULL if the loop was freed before, else gives.  */
typedef void (*fj__look_fn)(void *user, fj__look *looked);

/** Ask @p loop (lends, for this call).  @p fn is called if and only if this answers true; when the loop is busy for ever, never.
 *  @return false: no memory, it was freed, or too many have asked and were not heard   @thread any, never blocks */
bool fj__look_at(fj_loop *loop, fj__look_fn fn, void *user);
void fj__look_free(fj__look *looked);

/** What is known of a request.  Each lends, or is NULL. */
typedef struct {
    const char *id, *method;
} fj__look_request;
/** Who knows what is in FJ__LOCAL_REQUEST.  Async-signal-safe. */
void fj__look_set_requests(void (*about)(const void *request, fj__look_request *ret));
/** Of a request that cannot end meanwhile; NULL: none. */
fj__look_request fj__look_about(const void *request);

#endif
