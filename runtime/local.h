/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_LOCAL_H
#define FJORD_RUNTIME_LOCAL_H
/* What belongs to a task, and outside of tasks to a thread. */
#include <fjord/task.h>
#include <stdatomic.h>

/** What rooms above keep for each context: each has a slot of its own, without allocation, that nobody frees. */
typedef enum {
    FJ__LOCAL_REQUEST,  /* dispatcher: the request whose method runs */
    FJ__LOCAL_SLOTS,    /* executors: the slots whose job runs */
    FJ__LOCAL_HERITAGE, /* a fj__heritage, or NULL */
    FJ__LOCAL_COUNT
} fj__local_id;

/** The slot of the running task, or of this thread.  Not to be kept over a wait. */
void **fj__local(fj__local_id id);

/* ---- what is inherited -------------------------------------------------------------------------- */

/** What tasks and jobs of the pool of threads get from the request whose method makes them, and from each other: counted, and never
 *  changed, for the threads of both use it. */
typedef struct fj__heritage {
    atomic_uint refs;
    void (*freed)(struct fj__heritage *h);
} fj__heritage;

/** Who makes it of what stands in FJ__LOCAL_REQUEST: gives a reference; NULL without memory. */
void fj__heritage_maker(fj__heritage *(*make)(void *request));
/** For one who is made here.  @return gives; NULL: there is nothing to inherit */
fj__heritage *fj__heritage_take(void);
/** What the running task, or the job on this thread, has inherited.  Lends; may be NULL. */
fj__heritage *fj__heritage_here(void);
/** Accepts NULL. */
void fj__heritage_drop(fj__heritage *h);
/** From here on the task has none: one that serves others than who made it. */
void fj__heritage_shed(void);

/** Values of fj_local keys, by slot. */
typedef struct {
    struct fj__local_value *values;
    size_t n, capacity;
} fj__locals;

/** Free what is left, in the context that had it. */
void fj__locals_fini(fj__locals *locals);

#endif
