/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_PROFILE_SAMPLE_H
#define FJORD_RUNTIME_PROFILE_SAMPLE_H
/* The profiler's samples: taken in a signal handler, and counted by its thread. */
#include "runtime/trace.h"

#include <fjord/error.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { FJ__SAMPLE_NAME = 48, FJ__SAMPLES = 2048, FJ__STACKS_MAX = 8192 };

typedef struct {
    pid_t tid;
    int n;
    void *frames[FJ__TRACE_FRAMES]; /* the innermost first */
    char task[FJ__SAMPLE_NAME], method[FJ__SAMPLE_NAME];
} fj__sample;

/** Where the handler writes.  A place is free, being written, or full. */
typedef struct {
    atomic_uint state;
    fj__sample sample;
} fj__sample_place;

typedef struct {
    fj__sample_place places[FJ__SAMPLES];
    atomic_uint next; /* where the handler looks first */
    atomic_ulong lost;
} fj__samples;

/** Have the handler write to @p samples (lends, until the next call); NULL: nowhere.  Returns when none writes elsewhere. */
void fj__samples_to(fj__samples *samples);
/** Put the handler in place, for ever: a signal that is late must find it.  @errors STATE the program has one; SYSTEM */
fj_code fj__samples_handle(fj_error **err);
/** In a forked child: nobody writes. */
void fj__samples_forget(void);

typedef struct fj__stacks fj__stacks;
/** Gives; NULL: no memory. */
fj__stacks *fj__stacks_new(void);
void fj__stacks_free(fj__stacks *s);
/** Count what is there, and make room. */
void fj__stacks_take(fj__stacks *s, fj__samples *from);
/** Set in @p to: samples, lost, and with @p all: folded, a text for each different one, and methods. */
void fj__stacks_json(const fj__stacks *s, bool all, json_t *to);

#endif
