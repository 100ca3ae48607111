/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-shake.  `job` counts beginnings and ends, so that it is odd while a call-back runs.  The loop's thread counts, then
 * looks at `deep`; the watchdog, with nothing to watch, sets `deep`, then looks at `job`, then sleeps without end: one of them
 * sees the other.  So a loop that does nothing costs no wake-up, and one that is busy costs one each time the limit passes;
 * the loop's thread makes a system call only when it begins after a silence.
 */
#include "runtime/watchdog.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "runtime/capture.h"
#include "runtime/clock.h"
#include "runtime/sync.h"
#include "runtime/thread.h"

#include <string.h>

#define PATIENCE_NS 1000000000 /* how long a thread that blocks the signal is waited for */

struct fj__watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const _Atomic int64_t *limit;
    unsigned generation;
    /* with the lock */
    pid_t watched; /* 0: none */
    bool quit;
    /* the watched thread writes, the watchdog reads */
    atomic_uint job;
    _Atomic int64_t since;
    atomic_bool deep;
};

static atomic_uint dogs;

/* ---- on the watchdog's thread ---- */

struct question {
    fj__watchdog *dog;
    unsigned job;
};

/* Whether it is still the same call-back that runs. */
static bool still(void *user)
{
    const struct question *q = user;

    return atomic_load(&q->dog->job) == q->job;
}

static void tell(fj__watchdog *dog, unsigned job)
{
    struct question question = { dog, job };
    fj__capture where;
    char text[FJ__TRACE_TEXT] = "";
    double seconds = (double)(fj__clock_real_ns() - atomic_load(&dog->since)) * 1e-9;

    (void)fj__native.pthread_mutex_lock(&dog->lock);
    pid_t watched = dog->watched;
    (void)fj__native.pthread_mutex_unlock(&dog->lock);
    fj_deadline by = { fj__clock_real_ns() + PATIENCE_NS };
    bool answered = watched != 0 && fj__capture_take(watched, &where, still, &question, by);
    if (answered) {
        fj__trace_text(where.frames, where.n, text, sizeof text);
        fj__log(FJ_LOG_WARNING, "loop", "%s has blocked the loop for %.3f seconds, at %s",
                where.name[0] != 0 ? where.name : "a call-back", seconds, text);
    } else if (still(&question))
        fj__log(FJ_LOG_WARNING, "loop", "a call-back has blocked the loop for %.3f seconds", seconds);
}

/* With the lock: sleep until there is a call-back that was not told of, and it is late.  @return false to quit */
static bool wait_for_late(fj__watchdog *dog, unsigned told, unsigned *ret)
{
    while (!dog->quit) {
        unsigned job = atomic_load(&dog->job);
        if (job % 2 == 0 || job == told) {
            atomic_store(&dog->deep, true);
            if (atomic_load(&dog->job) == job)
                (void)fj__cond_wait(&dog->changed, &dog->lock, fj_never());
            atomic_store(&dog->deep, false);
            continue;
        }
        int64_t since = atomic_load(&dog->since);
        int64_t limit = atomic_load(dog->limit);
        int64_t late = limit < INT64_MAX - since ? since + limit : FJ_NEVER_NS;
        if (fj__clock_real_ns() >= late) {
            *ret = job;
            return true;
        }
        (void)fj__cond_wait(&dog->changed, &dog->lock, (fj_deadline){ late });
    }
    return false;
}

static void *guard(void *user)
{
    fj__watchdog *dog = user;
    unsigned told = 0;

    (void)fj__native.pthread_mutex_lock(&dog->lock);
    while (wait_for_late(dog, told, &told)) {
        (void)fj__native.pthread_mutex_unlock(&dog->lock);
        tell(dog, told);
        (void)fj__native.pthread_mutex_lock(&dog->lock);
    }
    (void)fj__native.pthread_mutex_unlock(&dog->lock);
    return NULL;
}

/* ---- its life ---- */

fj_code fj__watchdog_new(const _Atomic int64_t *limit, fj__watchdog **ret, fj_error **err)
{
    fj__watchdog *dog = fj__zalloc(sizeof *dog);

    if (dog == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a watchdog");
    (void)pthread_mutex_init(&dog->lock, NULL);
    fj__cond_init(&dog->changed);
    dog->limit = limit;
    dog->generation = fj__fork_generation();
    fj__capture_install();
    int failed = fj__thread_new(&dog->thread, "fjord-watchdog", guard, dog);
    if (failed != 0) {
        fj__capture_uninstall();
        (void)pthread_cond_destroy(&dog->changed);
        (void)pthread_mutex_destroy(&dog->lock);
        fj__free(dog);
        return fj__thread_refused(failed, "for a watchdog", err);
    }
    (void)atomic_fetch_add(&dogs, 1);
    *ret = dog;
    return FJ_OK;
}

void fj__watchdog_free(fj__watchdog *dog)
{
    if (dog == NULL)
        return;
    if (dog->generation == fj__fork_generation()) {
        (void)fj__native.pthread_mutex_lock(&dog->lock);
        dog->quit = true;
        (void)fj__native.pthread_cond_signal(&dog->changed);
        (void)fj__native.pthread_mutex_unlock(&dog->lock);
        (void)fj__native.pthread_join(dog->thread, NULL);
        (void)pthread_cond_destroy(&dog->changed);
        (void)pthread_mutex_destroy(&dog->lock);
        fj__capture_uninstall();
        (void)atomic_fetch_sub(&dogs, 1);
    }
    fj__free(dog);
}

unsigned fj__watchdog_count(void)
{
    return atomic_load(&dogs);
}

static void set_watched(fj__watchdog *dog, pid_t tid)
{
    (void)fj__native.pthread_mutex_lock(&dog->lock);
    dog->watched = tid;
    (void)fj__native.pthread_mutex_unlock(&dog->lock);
}

void fj__watchdog_watch(fj__watchdog *dog)
{
    set_watched(dog, fj__thread_id());
}

void fj__watchdog_unwatch(fj__watchdog *dog)
{
    set_watched(dog, 0);
}

void fj__watchdog_begin(fj__watchdog *dog, const char *name, int64_t now)
{
    fj__capture_name(name);
    atomic_store(&dog->since, now);
    (void)atomic_fetch_add(&dog->job, 1);
    if (atomic_load(&dog->deep) && atomic_exchange(&dog->deep, false)) {
        (void)fj__native.pthread_mutex_lock(&dog->lock);
        (void)fj__native.pthread_cond_signal(&dog->changed);
        (void)fj__native.pthread_mutex_unlock(&dog->lock);
    }
}

void fj__watchdog_end(fj__watchdog *dog)
{
    (void)atomic_fetch_add(&dog->job, 1);
    fj__capture_name(NULL);
}
