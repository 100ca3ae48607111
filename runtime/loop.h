/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_RUNTIME_LOOP_H
#define FJORD_RUNTIME_LOOP_H
/*
 * The loop from inside the library.  It runs jobs and timers and knows nothing of tasks: a task embeds a job, which
 * resumes it, a timer, for its deadlines, and a letter, by which other threads wake it.
 */
#include "runtime/inbox.h"
#include "runtime/timers.h"

#include <fjord/loop.h>

typedef struct fj__job fj__job;
struct fj__job {
    fj__job *next, *prev;
    void (*run)(fj__job *job); /* the job may be pushed again, or freed, from then on */
    const char *name;          /* lends; for reports; may be NULL */
    bool queued;
};

/** Run it in the next turn.  Nothing when it is queued already.  @thread the loop's */
void fj__loop_push(fj_loop *loop, fj__job *job);
/** Take it back.  @thread the loop's */
void fj__loop_pull(fj_loop *loop, fj__job *job);
/** Keep the loop's memory and its inbox: who posts to a loop that others may free holds it.  Freed, it takes no letters. */
fj_loop *fj__loop_ref(fj_loop *loop);
/** Accepts NULL. */
void fj__loop_unref(fj_loop *loop);
/** Whether it never turns again: it was freed, or is being, and only its memory is left; or it is the parent's of a fork.
 *  @thread any */
bool fj__loop_gone(const fj_loop *loop);
/** @return false as fj__inbox_post, and in a forked child   @thread any, async-signal-safe */
bool fj__loop_post(fj_loop *loop, fj__letter *letter);
/** @return false when memory ran out   @thread the loop's */
bool fj__loop_timer_set(fj_loop *loop, fj__timer *timer, fj_deadline at);
void fj__loop_timer_cancel(fj_loop *loop, fj__timer *timer);
/** Whether this is the thread that runs the loop, or would. */
bool fj__loop_here(const fj_loop *loop);
/** Report trouble through the loop's handler, or the log.  @param error lends; may be NULL */
void fj__loop_trouble(fj_loop *loop, const char *what, const fj_error *error);

/** Whether a host drives it by fj_host_ops, so that it has no descriptor of its own. */
bool fj__loop_hosted(const fj_loop *loop);
/** The loop whose domain a call from this thread and task uses: the running one, else the thread's if a host turns it, which is
 *  then asked to come back; unless it is private. */
fj_loop *fj__loop_domain(void);
/** What it is for, such as the executor whose loop it is, for those who look from outside.  @param label lends, for ever */
void fj__loop_set_label(fj_loop *loop, const char *label);
/** A loop that has no connections of its own: for explicit methods under executors without a loop. */
void fj__loop_set_private(fj_loop *loop, bool is);
/** Something of the loop's user that lives as long as the loop: found by @p key, freed before the loop, in the order kept, and
 *  found until then.  At most one a key.   @errors NOMEM, STATE (the key is taken) */
fj_code fj__loop_keep(fj_loop *loop, const void *key, void *value, void (*freed)(void *value));
void *fj__loop_kept(fj_loop *loop, const void *key);
/** Forget it; it is not freed.  Nothing when nothing is kept under @p key. */
void fj__loop_unkeep(fj_loop *loop, const void *key);
/** What runs first of all when the loop is freed, and may run turns: the end of the tasks.  It answers false when they
 *  cannot be ended here, and the loop must not be freed.  One a loop; not called in a forked
 *  child, where no turn can run. */
void fj__loop_set_ending(fj_loop *loop, bool (*ending)(fj_loop *loop));

/** Tests: who decides which of the @p n ready jobs is next; a turn is one job then, so that it is asked about all there
 *  are, and timers come between any two.  NULL: nobody. */
void fj__loop_set_chooser(fj_loop *loop, unsigned (*choose)(void *user, unsigned n), void *user);

#endif
