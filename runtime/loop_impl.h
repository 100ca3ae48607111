/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_LOOP_IMPL_H
#define FJORD_RUNTIME_LOOP_IMPL_H
/* A loop, for the files it is made of: loop_*.c.  Nobody else includes this. */
#include "runtime/clock.h"
#include "runtime/loop.h"
#include "runtime/sync.h"
#include "runtime/watchdog.h"

#include <ev.h>

/* How much of the ready queue runs before descriptors are looked at again. */
#define FJ__LOOP_JOBS 128
#define FJ__LOOP_JOBS_NS 1000000
/* And how many run between two looks at the clock. */
#define FJ__LOOP_CLOCK_JOBS 4
/* How much of a name debug mode tells. */
#define FJ__LOOP_NAME 64
/* How long a sleep without end has lasted when it is first asked whether anything can end it: long enough for another thread to have
 * done what takes it a moment, and short enough for one who sits before it. */
#define FJ__LOOP_LULL_NS INT64_C(1000000000)
/* How often sources are asked again within one turn because one wants to be pumped at once. */
#define FJ__LOOP_ROUNDS 16

struct fj__kept {
    struct fj__kept *next;
    const void *key;
    void *value;
    void (*freed)(void *value);
};

struct fj__host; /* loop_host.h */
struct fj__fd;   /* loop_fds.c */
struct fj__fd_pair {
    struct fj__fd *reader, *writer;
};

struct fj_loop {
    struct ev_loop *ev;           /* NULL: */
    struct fj__host *host;        /* who watches instead */
    fj__job *first, *last, *mark; /* the ready queue; up to `mark` it is this turn's */
    fj__timers timers;
    fj__inbox inbox;
    ev_io bell;       /* the inbox's eventfd */
    ev_timer alarm;   /* the end of a sleep */
    int64_t alarm_at; /* what it is set to */
    int64_t began;    /* when the first job since the last look at descriptors had run; 0: not yet */
    unsigned jobs;    /* how many jobs have run since that look */
    unsigned watched; /* how many descriptors are, but for those of sources and children */
    /* when to look whether it is stuck, in real nanoseconds; 0: it has not slept since it did something */
    int64_t lull_at;
    int64_t lull_ns; /* how long that takes: longer each time that it was not */
    struct fj__fd_pair *fds;
    size_t fds_capacity;
    struct fj__attached *sources;
    struct fj__child *children;
    struct fj__kept *kept;
    bool (*ending)(fj_loop *loop);
    unsigned (*choose)(void *user, unsigned n);
    void *choose_user;
    fj_loop_trouble_fn trouble;
    void *trouble_user;
    fj__watchdog *watchdog; /* in debug mode */
    /* In debug mode what runs now, copied, for a task may be freed in its last turn; and since when. */
    char busy_name[FJ__LOOP_NAME];
    int64_t busy_since;
    _Atomic int64_t slow_ns;
    atomic_uint owner; /* the thread that runs it, or would; see fj__loop_here() */
    unsigned generation;
    atomic_uint refs; /* the owner's, and of those who post */
    int host_fd;
    bool running;
    atomic_bool is_private;
    /* For those who look from outside. */
    struct fj_loop *listed_next, *listed_before;
    unsigned number;
    _Atomic(const char *) label; /* lends, for ever; NULL: none */
    uint64_t turns;              /* the loop's thread's */
    atomic_int tid;              /* the thread that runs it now; 0: nobody does */
    _Atomic int64_t awake_at;    /* when it last began to do something, by fj__clock_coarse_ns() */
    atomic_uint asked;           /* questions that it has not read */
    bool befriended;             /* another thread has woken it from a sleep without end */
    bool until;                  /* it runs until a future is complete */
    bool stuck_told;             /* that only other threads can wake it */
    atomic_bool closing;
    bool asking; /* the list of sources is being walked */
    bool called; /* a descriptor's call-back ran, or a source is ready */
    atomic_bool stopping, debug;
};

/* ---- loop_policy.c: loops and threads ---- */
/** A number that no other thread has or had. */
unsigned fj__loop_thread(void);
/** @return what ran before, be it of the process that forked */
fj_loop *fj__loop_set_running(fj_loop *loop);
void fj__loop_forget(fj_loop *loop);
/** Whether this is the process it was made in. */
static inline bool fj__loop_ours(const fj_loop *loop)
{
    return loop->generation == fj__fork_generation();
}

/* ---- loop.c ---- */
/** @param host takes when it answers OK; NULL: libev */
fj_code fj__loop_make(struct fj__host *host, fj_loop **ret, fj_error **err);

/* ---- loop_host*.c: what watches, libev or a host ---- */
void fj__io_start(fj_loop *loop, ev_io *io);
/** Nothing when it is not started. */
void fj__io_stop(fj_loop *loop, ev_io *io);
/** Other events of the same descriptor. */
void fj__io_change(fj_loop *loop, ev_io *io, int events);
/** Gather what is ready, without waiting and without a call. */
void fj__io_look(fj_loop *loop);
bool fj__io_pending(fj_loop *loop);
/** The next look is at all descriptors, not only at those that a host says are ready.  Only of a hosted loop. */
void fj__host_look_at_all(fj_loop *loop);
/** Call those that were gathered. */
void fj__io_invoke(fj_loop *loop);
/** Gather until something is ready, or @p due.  Only of a hosted loop. */
void fj__host_sleep(fj_loop *loop, fj_deadline due);
/** Something was given to the loop from outside of it: its host has to come back at once.  Nothing without a host. */
void fj__host_stir(fj_loop *loop);
/** Before the loop is left: tell its host when to come back.  Nothing without a host. */
void fj__host_settle(fj_loop *loop);
void fj__host_drop(fj_loop *loop);

/* ---- loop_ready.c ---- */
/** Run the jobs that are there, as far as the budget goes.  @return whether there were any */
bool fj__loop_run_ready(fj_loop *loop);
/** Whether it is time to look at descriptors again though jobs are ready. */
bool fj__loop_spent(fj_loop *loop);

/* ---- what is dropped when a loop is freed ---- */
void fj__handles_drop(fj_loop *loop);
void fj__fds_drop(fj_loop *loop);
void fj__sources_drop(fj_loop *loop);

/* ---- what is seen from outside: loop_look.c, loop_inspect.c ---- */
typedef void (*fj__watched_fn)(void *user, int fd, bool read, bool write, const char *what);
void fj__fds_each(fj_loop *loop, fj__watched_fn fn, void *user);
void fj__sources_each(fj_loop *loop, fj__watched_fn fn, void *user);
/** The name of the call-back whose timer it is (lends), or NULL: it is none's. */
const char *fj__handle_of_timer(const fj__timer *timer);
/** Show it to those who ask, and no more. */
void fj__loop_list(fj_loop *loop);
void fj__loop_unlist(fj_loop *loop);
void fj__signals_drop(fj_loop *loop);
void fj__children_drop(fj_loop *loop);

/* ---- loop_sources.c ---- */
/** Ask each and mirror the answers in libev.  @return the first time one wants to be pumped */
fj_deadline fj__sources_ask(fj_loop *loop);
/** Have them write what they hold back. */
void fj__sources_flush(fj_loop *loop);
/** Pump those that are ready or due.  @return whether there were any */
bool fj__sources_pump(fj_loop *loop);

/* ---- loop_signals.c ---- */
/** Whether a signal is caught for it. */
bool fj__signals_any(const fj_loop *loop);

/* ---- stuck.c ---- */
/** Whether something is watched that may end a sleep. */
static inline bool fj__loop_watches(const fj_loop *loop)
{
    return loop->watched != 0 || loop->sources != NULL || loop->children != NULL;
}
/** It has slept for a while, with nothing of its own to end that: report it if nothing else will.
 *  @return whether to look again, later */
bool fj__stuck_look(fj_loop *loop);

/* ---- loop_debug.c ---- */
/** In debug mode: a call from another thread is reported and must be refused. */
bool fj__loop_wrong_thread(fj_loop *loop, const char *function);
static inline bool fj__loop_refuses(fj_loop *loop, const char *function)
{
    return atomic_load_explicit(&loop->debug, memory_order_relaxed) && fj__loop_wrong_thread(loop, function);
}
void fj__loop_begin(fj_loop *loop, const char *name);
void fj__loop_end(fj_loop *loop);
/** Around each call of somebody else's function, so that it can be timed. */
static inline void fj__loop_enter(fj_loop *loop, const char *name)
{
    if (atomic_load_explicit(&loop->debug, memory_order_relaxed))
        fj__loop_begin(loop, name);
}
static inline void fj__loop_leave(fj_loop *loop)
{
    if (loop->busy_since != 0)
        fj__loop_end(loop);
}

#endif
