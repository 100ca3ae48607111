/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/profile.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/clock.h"
#include "runtime/profile_sample.h"
#include "runtime/sync.h"
#include "runtime/thread.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 1024,
    LOOK_NS = 50000000 /* how often samples are counted */,
    SCAN = 4 /* of those looks, one for new threads */
};

/* A kernel timer: a thread's clock and a thread as the target, which the library's header does not always tell of. */
struct timer {
    pid_t tid; /* 0: free */
    int id;
    bool seen;
};

static struct {
    bool on, over; /* over: by itself */
    unsigned hz;
    int64_t began, ended, until; /* real */
    pthread_t thread;
    atomic_uint quit; /* a futex */
    fj__samples *samples;
    fj__stacks *stacks; /* with the lock, from when it is on until it starts again */
    struct timer timers[THREADS];
    size_t threads;
} profile;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;    /* of all but what the thread alone has: timers */
static pthread_mutex_t turning = PTHREAD_MUTEX_INITIALIZER; /* held while it is turned on or off */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Timers are not inherited, and the thread is not here. */
static void in_child(void)
{
    fj__samples_forget();
    fj__free(profile.samples);
    fj__stacks_free(profile.stacks);
    memset(&profile, 0, sizeof profile);
    (void)pthread_mutex_init(&lock, NULL);
    (void)pthread_mutex_init(&turning, NULL);
}

static void before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

static void enter(void)
{
    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&lock);
}

static void leave(void)
{
    (void)fj__native.pthread_mutex_unlock(&lock);
}

/* ---- timers ------------------------------------------------------------------------------------- */

/* As the kernel makes it of a thread's number: clock_getcpuclockid(3) has it for threads of pthread_t only. */
static clockid_t clock_of(pid_t tid)
{
    enum { PER_THREAD = 4, SCHED = 2 };

    return (clockid_t)(~(unsigned)tid << 3 | PER_THREAD | SCHED);
}

static bool start_timer(struct timer *t, pid_t tid, unsigned hz)
{
    struct sigevent event;
    struct itimerspec each = { .it_interval = { .tv_nsec = 1000000000 / (long)hz } };

    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event._sigev_un._tid = tid;
    each.it_value = each.it_interval;
    if (hz == 1)
        each.it_value = each.it_interval = (struct timespec){ .tv_sec = 1 };
    if (syscall(SYS_timer_create, clock_of(tid), &event, &t->id) != 0)
        return false; /* it has ended, or the system has no more */
    if (syscall(SYS_timer_settime, t->id, 0, &each, NULL) != 0) {
        (void)syscall(SYS_timer_delete, t->id);
        return false;
    }
    t->tid = tid;
    return true;
}

static void stop_timer(struct timer *t)
{
    if (t->tid != 0)
        (void)syscall(SYS_timer_delete, t->id);
    t->tid = 0;
}

static void see_thread(pid_t tid, unsigned hz)
{
    struct timer *place = NULL;

    for (size_t i = 0; i < THREADS; i++) {
        struct timer *t = &profile.timers[i];
        if (t->tid == tid) {
            t->seen = true;
            return;
        }
        if (t->tid == 0 && place == NULL)
            place = t;
    }
    if (place != NULL)
        place->seen = start_timer(place, tid, hz);
}

static void see_threads(unsigned hz)
{
    DIR *all = opendir("/proc/self/task");
    const struct dirent *e;
    pid_t own = (pid_t)syscall(SYS_gettid);
    size_t n = 0;

    for (size_t i = 0; i < THREADS; i++)
        profile.timers[i].seen = false;
    while (all != NULL && (e = readdir(all)) != NULL) {
        pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
        if (tid > 0 && tid != own)
            see_thread(tid, hz);
    }
    if (all != NULL)
        (void)closedir(all);
    for (size_t i = 0; i < THREADS; i++) {
        if (!profile.timers[i].seen)
            stop_timer(&profile.timers[i]);
        n += profile.timers[i].tid != 0;
    }
    enter();
    profile.threads = n;
    leave();
}

/* ---- its thread --------------------------------------------------------------------------------- */

static void take(void)
{
    enter();
    fj__stacks_take(profile.stacks, profile.samples);
    leave();
}

static void *watch(void *user)
{
    unsigned hz = profile.hz, looks = 0;
    int64_t until = profile.until, now;

    (void)user;
    do {
        if (looks++ % SCAN == 0)
            see_threads(hz);
        now = fj__clock_real_ns();
        (void)fj__futex_wait(&profile.quit, 0, (fj_deadline){ now + LOOK_NS < until ? now + LOOK_NS : until });
        take();
    } while (atomic_load(&profile.quit) == 0 && fj__clock_real_ns() < until);
    for (size_t i = 0; i < THREADS; i++)
        stop_timer(&profile.timers[i]);
    fj__samples_to(NULL);
    take();
    enter();
    profile.over = true;
    profile.ended = fj__clock_real_ns();
    leave();
    return NULL;
}

/* ---- on and off --------------------------------------------------------------------------------- */

/* With `turning`.  @return whether it was on */
static bool turn_off(void)
{
    enter();
    bool on = profile.on, over = profile.over;
    leave();
    if (!on)
        return false;
    atomic_store(&profile.quit, 1);
    fj__futex_wake(&profile.quit, 1);
    (void)fj__native.pthread_join(profile.thread, NULL);
    fj__thread_wakes_nobody(-1);
    enter();
    fj__free(profile.samples);
    profile.samples = NULL;
    profile.on = false;
    leave();
    return !over;
}

static fj_code turn_on(unsigned hz, double seconds, fj_error **err)
{
    fj__samples *samples = fj__zalloc(sizeof *samples);
    fj__stacks *stacks = fj__stacks_new();

    if (samples == NULL || stacks == NULL) {
        fj__free(samples);
        fj__stacks_free(stacks);
        return fj_fail(err, FJ_NOMEM, "no memory for samples");
    }
    enter();
    fj__stacks_free(profile.stacks);
    profile.samples = samples;
    profile.stacks = stacks;
    profile.hz = hz;
    profile.over = false;
    profile.began = fj__clock_real_ns();
    profile.until = seconds > 0 ? profile.began + (int64_t)(seconds * 1e9) : INT64_MAX;
    profile.ended = 0;
    profile.threads = 0;
    atomic_store(&profile.quit, 0);
    fj__samples_to(samples);
    int why = fj__thread_new(&profile.thread, "fj-profile", watch, NULL);
    profile.on = why == 0;
    if (why != 0) {
        fj__samples_to(NULL);
        fj__free(samples);
        profile.samples = NULL;
    } else {
        fj__thread_wakes_nobody(1);
    }
    leave();
    return why == 0 ? FJ_OK : fj__thread_refused(why, "for the profiler", err);
}

static bool is_on(void)
{
    enter();
    bool on = profile.on && !profile.over;
    leave();
    return on;
}

fj_code fj__profile_start(unsigned hz, double seconds, fj_error **err)
{
    fj_code code = FJ_OK;

    hz = hz == 0 ? FJ__PROFILE_HZ : hz;
    if (hz > FJ__PROFILE_HZ_MAX || !(seconds >= 0) || seconds > 86400)
        return fj_fail(err, FJ_BAD_VALUE, "a profile has up to %d samples a second, for a day at most",
                       FJ__PROFILE_HZ_MAX);
    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&turning);
    if (is_on())
        code = fj_fail(err, FJ_STATE, "a profile is being taken");
    if (code == FJ_OK)
        code = fj__samples_handle(err);
    if (code == FJ_OK) {
        (void)turn_off(); /* one that is over has a thread to be joined */
        code = turn_on(hz, seconds, err);
    }
    (void)fj__native.pthread_mutex_unlock(&turning);
    return code;
}

bool fj__profile_stop(void)
{
    (void)pthread_once(&once, watch_forks);
    (void)fj__native.pthread_mutex_lock(&turning);
    bool was = turn_off();
    (void)fj__native.pthread_mutex_unlock(&turning);
    return was;
}

json_t *fj__profile_json(bool stacks)
{
    enter();
    bool on = profile.on && !profile.over;
    int64_t end = on ? fj__clock_real_ns() : profile.ended;
    json_t *ret = json_pack("{s:b, s:i, s:f, s:i}", "on", on, "hz", (int)profile.hz, "seconds",
                            profile.began != 0 ? (double)(end - profile.began) * 1e-9 : 0., "threads",
                            (int)profile.threads);
    if (ret != NULL)
        fj__stacks_json(profile.stacks, stacks, ret);
    leave();
    return ret;
}
