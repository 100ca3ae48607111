/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_TASK_IMPL_H
#define FJORD_RUNTIME_TASK_IMPL_H
/*
 * What a task is made of.  Everything belongs to its loop's thread but for three words: `cancels` and `gate`, which are
 * atomic, and the future, which has its lock.
 */
#include "runtime/fibre.h"
#include "runtime/future_impl.h"
#include "runtime/local.h"
#include "runtime/loop.h"
#include "runtime/task.h"

#include <fjord/await.h>

/* The tasks of a loop.  It outlives the loop as long as one has an error that may have to be reported. */
typedef struct {
    atomic_uint refs;
    pthread_mutex_t lock;
    fj_loop *loop;  /* NULL once it is gone; under the lock */
    fj_task *first; /* those that have not ended, the youngest first */
    fj_task *last;
    size_t n;
    size_t calls_left; /* of fj_task_link(), on their way */
    bool closing;
} fj__tasks;

typedef enum {
    FJ__TASK_POSTED = 0, /* on its way to its loop */
    FJ__TASK_NEW,        /* not begun: its job is queued, or its timer set */
    FJ__TASK_RUNNING,
    FJ__TASK_PARKED,
    FJ__TASK_ENDED
} fj__task_state;

struct fj__asked { /* park.c */
    void **frames;
    int n;
};

struct fj_task {
    fj_future future;
    fj__job job;
    fj__timer timer;
    fj__letter letter; /* while it is posted it holds a reference */
    fj__fibre fibre;
    fj_loop *loop;
    fj__tasks *home; /* NULL while posted; the loop's: gone when the loop is */
    fj__tasks *told; /* a reference, when it ended with an error: who hears of it if nobody asks */
    fj_task *next, *prev;
    fj_task_fn fn;
    void *user;
    void (*freed)(void *user);
    const char *name;
    const char *waits_for;
    void *made_at; /* in debug mode: for the report of an error that was never retrieved */
    size_t stack;
    fj_code code; /* what fn answered */
    json_t *result;
    fj_error *error;
    fj_timeout *timeouts; /* innermost first */
    atomic_uint cancels;  /* how often it was asked to end, and FJ__TASK_PENDING, FJ__TASK_KILLED */
    atomic_uint gate;     /* twice the number of threads that hold its loop, and 1 once it has ended */
    unsigned turns;       /* how often it was gone on with */
    unsigned id;          /* 0: nobody has asked for it */
    int64_t made, parked; /* when, by fj__clock_coarse_ns() */
    unsigned shields, atomics;
    unsigned held;           /* how many mutexes */
    fj__waiter *waiter;      /* of the wait it is parked in, if that is known */
    struct fj__asked *asked; /* it was woken only to tell where it is */
    unsigned deaf;           /* its waits are ended by a cancellation, but not told of it */
    atomic_uint owned;       /* objects in runtime/owners.h */
    fj__task_state state : 8;
    bool begun; /* its fibre has a stack */
    bool woken; /* while it was not parked */
    bool outer; /* the last TIMEOUT was an enclosing timeout's */
    bool green;
    void *own[FJ__LOCAL_COUNT];
    fj__locals locals;
};

enum { FJ__TASK_PENDING = 1, FJ__TASK_KILLED = 2, FJ__TASK_CANCEL = 4 };

/* ---- task.c ---- */
/** The task whose future it is, or NULL.  Lends. */
fj_task *fj__task_of(fj_future *f);
/** The task whose timer it is, or NULL.  Lends. */
const fj_task *fj__task_of_timer(const fj__timer *timer);

/* ---- coro.c ---- */
/** Where it is to run; NULL: on the loop it is started on. */
fj_loop *fj__coro_loop(const fj_coro *coro);

/* ---- tasks.c ---- */
/** Those of @p loop, if there ever were any; else NULL.  Lends.  @thread the loop's */
const fj__tasks *fj__tasks_there(fj_loop *loop);
/** Those of @p loop.  Lends.  NULL when memory ran out.  @thread the loop's */
fj__tasks *fj__tasks_of(fj_loop *loop);
fj__tasks *fj__tasks_ref(fj__tasks *tasks);
void fj__tasks_unref(fj__tasks *tasks);
void fj__tasks_add(fj__tasks *tasks, fj_task *task);
void fj__tasks_remove(fj__tasks *tasks, fj_task *task);
/** "WHAT NAME was never DONE, made at PLACE", through the loop's handler if this is its thread, else the log.
 *  @param made_at  may be NULL: no place */
void fj__tasks_trouble(fj__tasks *tasks, const char *what, const char *name, const char *done, void *made_at,
                       const fj_error *error);
/** The same of @p loop, on its thread; NULL: the log. */
void fj__tasks_never(fj_loop *loop, const char *what, const char *name, const char *done, void *made_at,
                     const fj_error *error);

/* ---- park.c ---- */
/** Keep @p task from ending, and so its loop from being freed, for a moment.  @return false when it has ended */
bool fj__task_hold(fj_task *task);
/** Afterwards the task may be gone. */
void fj__task_release(fj_task *task);
/** Wait for those that hold it; none does from then on. */
void fj__task_close(fj_task *task);
/** Make it the running one and go on with it.  @return false when its function has returned */
bool fj__task_resume(fj_task *task);
/** The running one: its turn is over, the others', first. */
fj_code fj__task_yield(void);
/** Whether it was asked to end and has not been told. */
bool fj__task_asked(const fj_task *task);
/** When its wait is over at the latest, enclosing timeouts and all. */
fj_deadline fj__task_latest(const fj_task *task, fj_deadline by);
/** The calls it is in.  @param frames room for FJ__TRACE_FRAMES   @return how many; 0 when it has no stack, or one so full
 *  that it cannot tell   @thread the loop's */
int fj__task_trace(fj_task *task, void **frames);
/** On the loop's thread: what a letter or a wake-up of this thread does. */
void fj__task_wake_here(fj_task *task);

#endif
