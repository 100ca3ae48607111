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
#include "runtime/clock.h"
#include "runtime/sync.h"
#include "runtime/thread.h"
#include "runtime/trace.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 64, SIGNAL = SIGURG, HANDLER = 1 /* the innermost frame is its own */ };
#define PATIENCE_NS 1000000000 /* how long a thread that blocks the signal is waited for */

struct fj__watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const _Atomic int64_t *limit;
    unsigned generation;
    /* with the lock */
    pthread_t watched;
    bool watching, quit;
    /* the watched thread writes, the watchdog reads */
    atomic_uint job;
    _Atomic int64_t since;
    atomic_bool deep;
    /* the watched thread's own, and its handler's */
    const char *name;
};

/* One capture at a time, of all watchdogs. */
static pthread_mutex_t capturing = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void *frames[FJ__TRACE_FRAMES];
    int n;
    char name[NAME_SIZE];
    atomic_uint done;
} captured;
static _Atomic(fj__watchdog *) wanted;
static atomic_uint handling;

static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static unsigned installed;
static struct sigaction before;

static _Thread_local fj__watchdog *mine; /* who watches this thread */

/* ---- on the watched thread, in its signal handler ---- */

static void capture(const fj__watchdog *dog)
{
    size_t i = 0;

    for (; dog->name != NULL && dog->name[i] != 0 && i + 1 < NAME_SIZE; i++)
        captured.name[i] = dog->name[i];
    captured.name[i] = 0;
    captured.n = fj__trace_take(captured.frames, FJ__TRACE_FRAMES);
    atomic_store(&captured.done, 1);
    fj__futex_wake(&captured.done, 1);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)atomic_fetch_add(&handling, 1);
    fj__watchdog *dog = atomic_load(&wanted);
    bool ours = dog != NULL && dog == mine && atomic_load(&captured.done) == 0;
    if (ours)
        capture(dog);
    (void)atomic_fetch_sub(&handling, 1);
    if (!ours && (before.sa_flags & SA_SIGINFO) != 0)
        before.sa_sigaction(number, info, context);
    else if (!ours && before.sa_handler != SIG_DFL &&
             before.sa_handler != SIG_IGN) /* SIGURG does nothing itself */
        before.sa_handler(number);
    errno = saved;
}

static void install(void)
{
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

    fj__trace_prepare();
    (void)sigemptyset(&action.sa_mask);
    (void)fj__native.pthread_mutex_lock(&installing);
    if (installed++ == 0)
        (void)sigaction(SIGNAL, &action, &before);
    (void)fj__native.pthread_mutex_unlock(&installing);
}

static void uninstall(void)
{
    struct sigaction now;

    (void)fj__native.pthread_mutex_lock(&installing);
    /* Somebody who has put a handler over ours may go on to it: then it stays. */
    if (--installed == 0 && sigaction(SIGNAL, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
        now.sa_sigaction == on_signal)
        (void)sigaction(SIGNAL, &before, NULL);
    (void)fj__native.pthread_mutex_unlock(&installing);
}

/* ---- on the watchdog's thread ---- */

/* Ask the watched thread where it is.  @return whether it answered while that call-back ran */
static bool ask(fj__watchdog *dog, unsigned job)
{
    int64_t until = fj__clock_real_ns() + PATIENCE_NS;

    atomic_store(&captured.done, 0);
    captured.n = 0;
    atomic_store(&wanted, dog);
    (void)fj__native.pthread_mutex_lock(&dog->lock);
    bool sent = dog->watching && pthread_kill(dog->watched, SIGNAL) == 0;
    (void)fj__native.pthread_mutex_unlock(&dog->lock);
    while (sent && atomic_load(&captured.done) == 0 && atomic_load(&dog->job) == job &&
           fj__clock_real_ns() < until)
        (void)fj__futex_wait(&captured.done, 0, (fj_deadline){ until });
    atomic_store(&wanted, NULL);
    while (atomic_load(&handling) != 0)
        (void)sched_yield();
    return atomic_load(&captured.done) != 0 && atomic_load(&dog->job) == job;
}

static void tell(fj__watchdog *dog, unsigned job)
{
    char text[FJ__TRACE_TEXT] = "";
    double seconds = (double)(fj__clock_real_ns() - atomic_load(&dog->since)) * 1e-9;

    (void)fj__native.pthread_mutex_lock(&capturing);
    bool answered = ask(dog, job);
    if (answered && captured.n > HANDLER)
        fj__trace_text(captured.frames + HANDLER, captured.n - HANDLER, text, sizeof text);
    char name[NAME_SIZE];
    memcpy(name, captured.name, sizeof name);
    (void)fj__native.pthread_mutex_unlock(&capturing);
    if (answered)
        fj__log(FJ_LOG_WARNING, "loop", "%s has blocked the loop for %.3f seconds, at %s",
                name[0] != 0 ? name : "a call-back", seconds, text);
    else if (atomic_load(&dog->job) == job)
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
    install();
    int failed = fj__thread_new(&dog->thread, "fjord-watchdog", guard, dog);
    if (failed != 0) {
        uninstall();
        (void)pthread_cond_destroy(&dog->changed);
        (void)pthread_mutex_destroy(&dog->lock);
        fj__free(dog);
        return fj_fail(err, FJ_SYSTEM, "no thread for a watchdog: %s", strerror(failed));
    }
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
        uninstall();
    }
    fj__free(dog);
}

unsigned fj__watchdog_count(void)
{
    (void)fj__native.pthread_mutex_lock(&installing);
    unsigned n = installed;
    (void)fj__native.pthread_mutex_unlock(&installing);
    return n;
}

void fj__watchdog_watch(fj__watchdog *dog)
{
    (void)fj__native.pthread_mutex_lock(&dog->lock);
    dog->watched = pthread_self();
    dog->watching = true;
    (void)fj__native.pthread_mutex_unlock(&dog->lock);
    mine = dog;
}

void fj__watchdog_unwatch(fj__watchdog *dog)
{
    mine = NULL;
    (void)fj__native.pthread_mutex_lock(&dog->lock);
    dog->watching = false;
    (void)fj__native.pthread_mutex_unlock(&dog->lock);
}

void fj__watchdog_begin(fj__watchdog *dog, const char *name, int64_t now)
{
    dog->name = name;
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
    dog->name = NULL;
}
