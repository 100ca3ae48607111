/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_LOCAL_H
#define FJORD_RUNTIME_LOCAL_H
/* What belongs to a task, and outside of tasks to a thread. */
#include <fjord/task.h>

/** What rooms above keep for each context: each has a slot of its own, without allocation, that nobody frees. */
typedef enum {
    FJ__LOCAL_REQUEST, /* dispatcher: the request whose method runs */
    FJ__LOCAL_SLOTS,   /* executors: the slots whose job runs */
    FJ__LOCAL_COUNT
} fj__local_id;

/** The slot of the running task, or of this thread.  Not to be kept over a wait. */
void **fj__local(fj__local_id id);

/** Values of fj_local keys, by slot. */
typedef struct {
    struct fj__local_value *values;
    size_t n, capacity;
} fj__locals;

/** Free what is left, in the context that had it. */
void fj__locals_fini(fj__locals *locals);

#endif
