/* SPDX-License-Identifier: Apache-2.0 */
/* The turn of a loop, and the three who make it turn: its own run, a caller of fj_loop_turn(), a host's loop. */
#include "base/native.h"
#include "runtime/capture.h"
#include "runtime/loop_impl.h"

#include "base/alloc.h"

#include <pthread.h>
#include <sys/single_threaded.h>

static const fj_deadline at_once = { 0 };

/* When a turn may sleep: one of a run also when it has done something, for the next would sleep anyway. */
enum sleeping { NEVER, IF_IDLE, ALWAYS };

/* ---- sleeping ---- */

/* With no deadline libev sleeps a minute at most, so as to compare the clocks, unless it is told to collect timeouts for longer.
 * In milliseconds, as an int, this is INT_MIN or INT_MAX as the processor converts what does not fit: for ever, or 24 days.
 * For ever also spares the kernel a timer, which costs a wake-up as much as half a system call. */
#define LONGEST 2147483.648

static void set_alarm(fj_loop *loop, fj_deadline due)
{
    ev_set_timeout_collect_interval(loop->ev, fj_is_never(due) ? LONGEST : 0.);
    if (fj_is_never(due)) {
        ev_timer_stop(loop->ev, &loop->alarm);
        return;
    }
    if (ev_is_active(&loop->alarm) && loop->alarm_at == due.ns)
        return;
    /* libev keeps time as a double and cuts a sleep to milliseconds, upwards: a microsecond more, lest the rounding of the first
     * makes it wake a hair too early and sleep again. */
    double seconds = (double)fj_left_ns(due) * 1e-9 + 1e-6;
    loop->alarm_at = due.ns;
    ev_timer_stop(loop->ev, &loop->alarm);
    ev_now_update(loop->ev);
    ev_timer_set(&loop->alarm, seconds, 0.);
    ev_timer_start(loop->ev, &loop->alarm);
}

/* Until something comes, or @p due.  @return whether somebody woke the loop */
static bool sleep_until(fj_loop *loop, fj_deadline due)
{
    bool woken;

    if (!fj__inbox_sleep(&loop->inbox)) {
        fj__io_look(loop);
        return true;
    }
    if (fj__clock_auto() && !fj_is_never(due)) {
        fj__io_look(loop);
        woken = fj__inbox_awake(&loop->inbox);
        if (!woken && !fj__io_pending(loop))
            fj__clock_advance(due);
        return woken;
    }
    if (loop->host != NULL) {
        fj__host_sleep(loop, due);
    } else {
        set_alarm(loop, due);
        ev_run(loop->ev, EVRUN_ONCE);
    }
    return fj__inbox_awake(&loop->inbox);
}

/* When to look whether it is stuck; never if not at all. */
static fj_deadline lull(fj_loop *loop)
{
    int64_t now = fj__clock_real_ns();

    if (loop->lull_at == 0)
        loop->lull_at =
            now + (fj__clock_auto() ? 0 : loop->lull_ns); /* in a time that jumps a while is over at once */
    if (now >= loop->lull_at)
        loop->lull_at = fj__stuck_look(loop) ? now + loop->lull_ns : INT64_MAX;
    if (loop->lull_at == INT64_MAX || fj__clock_auto())
        return fj_never();
    return (fj_deadline){ fj_now().ns + (loop->lull_at - now) };
}

/* Nothing of its own will end this sleep: no job, timer, or deadline.  If no descriptor is watched either it may last for ever.  But
 * a sleep with an end costs a fifth of a wake-up (bench/wakeup), and a loop that another thread has woken once has somebody
 * to wake it. */
static bool sleep_without_end(fj_loop *loop)
{
    bool may_last =
        !fj__loop_watches(loop) && !fj__inbox_woken(&loop->inbox) && (!loop->befriended || fj_loop_debug(loop));
    bool woken = sleep_until(loop, may_last ? lull(loop) : fj_never());

    loop->befriended |= woken && !__libc_single_threaded;
    return woken;
}

/* To be stopped ends a run; single turns leave that to the next run, and sleep as ever. */
static bool may_sleep(const fj_loop *loop, enum sleeping when, bool did)
{
    return (when == ALWAYS && !atomic_load(&loop->stopping)) || (when == IF_IDLE && !did);
}

/* Look at the descriptors, sleeping first if the turn may, and pump.
 * @param did whether the turn did anything before   @return whether it has by now */
static bool look(fj_loop *loop, enum sleeping when, fj_deadline by, bool did)
{
    fj__sources_flush(loop); /* before they are asked: what could not be written is watched for */
    fj_deadline asked = fj__sources_ask(loop);
    fj_deadline due = fj_sooner(fj_sooner(by, asked), fj__timers_next(&loop->timers));
    bool woken = false;

    /* What came before its deadline must not be judged as missing, be it a heartbeat. */
    if (loop->host != NULL && fj_passed(asked))
        fj__host_look_at_all(loop);
    if (may_sleep(loop, when, did) && loop->first == NULL && !fj_passed(due))
        woken = fj_is_never(due) ? sleep_without_end(loop) : sleep_until(loop, due);
    else
        fj__io_look(loop);
    loop->began = 0;
    loop->jobs = 0;
    loop->turns++;
    atomic_store_explicit(&loop->awake_at, fj__clock_coarse_ns(), memory_order_relaxed);
    loop->called = woken;
    fj__io_invoke(loop);
    return fj__sources_pump(loop) || loop->called || did;
}

static bool run_timers(fj_loop *loop)
{
    if (loop->timers.n == 0)
        return false;
    fj_deadline now = fj_now();
    if (fj__timers_next(&loop->timers).ns > now.ns)
        return false;
    fj__timers_run(&loop->timers, now);
    return true;
}

/* @return whether anything was done */
static bool turn(fj_loop *loop, enum sleeping when, fj_deadline by)
{
    bool did = fj__inbox_read(&loop->inbox);

    did |= fj__loop_run_ready(loop);
    did |= run_timers(loop);
    if (did)
        loop->lull_at = 0;
    if (!fj__loop_ours(loop))
        return true; /* a job forked, and this is the child: the descriptors are the parent's */
    /* A look costs as much as several jobs, and where the next turn looks, or sleeps, this one need not. */
    bool later = loop->first != NULL || (when == IF_IDLE && did);
    return later && !fj__loop_spent(loop) ? true : look(loop, when, by, did);
}

/* ---- who turns it ---- */

/* @param outer gives what ran before: after a fork it may be the parent's */
static fj_code enter(fj_loop *loop, fj_loop **outer, fj_error **err)
{
    if (!fj__loop_ours(loop))
        return fj_fail(err, FJ_FORKED, "the loop was made before a fork");
    if (loop->running)
        return fj_fail(err, FJ_STATE, "the loop runs already");
    if (fj_loop_running() != NULL)
        return fj_fail(err, FJ_STATE, "another loop runs on this thread");
    loop->running = true;
    atomic_store_explicit(&loop->awake_at, fj__clock_coarse_ns(), memory_order_relaxed);
    atomic_store_explicit(&loop->tid, fj__thread_id(), memory_order_release);
    atomic_store(&loop->owner, fj__loop_thread());
    *outer = fj__loop_set_running(loop);
    if (loop->watchdog != NULL)
        fj__watchdog_watch(loop->watchdog);
    return FJ_OK;
}

static fj_code leave(fj_loop *loop, fj_loop *outer, fj_error **err)
{
    if (fj__loop_ours(loop))
        fj__sources_flush(loop);
    (void)fj__loop_set_running(outer);
    loop->running = false;
    atomic_store_explicit(&loop->tid, 0, memory_order_release);
    if (!fj__loop_ours(loop))
        return fj_fail(err, FJ_FORKED, "the process was forked while the loop ran, and this is the child");
    if (loop->watchdog != NULL)
        fj__watchdog_unwatch(loop->watchdog);
    fj__host_settle(loop);
    return FJ_OK;
}

fj_code fj_loop_run_forever(fj_loop *loop, fj_error **err)
{
    fj_loop *outer = NULL;
    fj_code code = enter(loop, &outer, err);

    if (code != FJ_OK)
        return code;
    do
        (void)turn(loop, ALWAYS, fj_never());
    while (fj__loop_ours(loop) && !atomic_exchange(&loop->stopping, false));
    return leave(loop, outer, err);
}

/* Whoever completes the future wakes the loop, unless it has been left. */
struct until {
    pthread_mutex_t lock;
    fj_loop *loop;
    unsigned refs;
};

static void until_unref(struct until *until, bool leaving)
{
    (void)fj__native.pthread_mutex_lock(&until->lock);
    if (leaving)
        until->loop = NULL;
    else if (until->loop != NULL && fj__loop_ours(until->loop))
        fj__inbox_wake(&until->loop->inbox);
    unsigned left = --until->refs;
    (void)fj__native.pthread_mutex_unlock(&until->lock);
    if (left == 0) {
        (void)pthread_mutex_destroy(&until->lock);
        fj__free(until);
    }
}

static void completed(fj_future *future, void *user)
{
    (void)future;
    until_unref(user, false);
}

static fj_code run_until(fj_loop *loop, fj_future *future, fj_error **err)
{
    struct until *until = fj__alloc(sizeof *until);
    bool stopped = false;

    if (until == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to wait for a future");
    *until = (struct until){ .lock = PTHREAD_MUTEX_INITIALIZER, .loop = loop, .refs = 2 };
    if (fj_future_then(future, completed, until) != FJ_OK) {
        fj__free(until);
        return fj_fail(err, FJ_NOMEM, "no memory to wait for a future");
    }
    loop->until = true;
    while (fj__loop_ours(loop) && !stopped && !fj_future_done(future)) {
        (void)turn(loop, ALWAYS, fj_never());
        stopped = atomic_exchange(&loop->stopping, false);
    }
    loop->until = false;
    until_unref(until, true);
    if (!fj_future_done(future))
        return fj_fail(err, FJ_STATE, "the loop was stopped before the future was complete");
    return FJ_OK;
}

fj_code fj_loop_run_until_complete(fj_loop *loop, fj_future *future, json_t **ret, fj_error **err)
{
    fj_loop *outer = NULL;
    fj_code code = enter(loop, &outer, err);

    if (code != FJ_OK)
        return code;
    fj_future_ref(future);
    code = run_until(loop, future, err);
    fj_code left = leave(loop, outer, err);
    if (left != FJ_OK)
        code = left;
    else if (code == FJ_OK)
        code = fj_future_result(future, ret, err);
    fj_future_unref(future);
    return code;
}

fj_code fj_loop_turn(fj_loop *loop, fj_deadline by, fj_error **err)
{
    fj_loop *outer = NULL;
    fj_code code = enter(loop, &outer, err);
    bool did = false;

    if (code != FJ_OK)
        return code;
    for (bool last = false; !did && !last;) {
        last = fj_passed(by); /* what is due at that very time is still done */
        did = turn(loop, last ? NEVER : IF_IDLE, by);
    }
    code = leave(loop, outer, err);
    if (code == FJ_OK && !did)
        code = fj_fail(err, FJ_TIMEOUT, "nothing to do before the deadline");
    return code;
}

void fj_loop_stop(fj_loop *loop)
{
    if (!fj__loop_ours(loop))
        return;
    atomic_store(&loop->stopping, true);
    fj__inbox_wake(&loop->inbox);
}

bool fj_loop_is_running(const fj_loop *loop)
{
    return loop->running && fj__loop_ours(loop);
}

bool fj__loop_post(fj_loop *loop, fj__letter *letter)
{
    return fj__loop_ours(loop) && fj__inbox_post(&loop->inbox, letter);
}

/* ---- in a host's loop ---- */

/* libev has no call that tells its descriptor, but an ev_embed needs it, and starting one puts it there. */
static int find_host_fd(fj_loop *loop)
{
    struct ev_loop *other = ev_loop_new(EVBACKEND_SELECT | EVFLAG_NOENV);
    ev_embed embed;

    if (other == NULL)
        return -1;
    ev_embed_init(&embed, NULL, loop->ev);
    ev_embed_start(other, &embed);
    int fd = embed.io.fd;
    ev_embed_stop(other, &embed);
    ev_loop_destroy(other);
    return fd;
}

int fj_loop_fd(fj_loop *loop)
{
    if (loop->host_fd < 0 && loop->host == NULL)
        loop->host_fd = find_host_fd(loop);
    return loop->host_fd;
}

fj_deadline fj_loop_due(fj_loop *loop)
{
    if (!fj__loop_ours(loop) || loop->running)
        return fj_never();
    fj__sources_flush(loop); /* what the host's own call-backs had them hold back */
    (void)fj__inbox_awake(&loop->inbox);
    if (loop->first != NULL || atomic_load(&loop->inbox.head) != NULL || !fj__inbox_sleep(&loop->inbox))
        return at_once;
    fj_deadline due = fj_sooner(fj__sources_ask(loop), fj__timers_next(&loop->timers));
    if (loop->host == NULL)
        ev_run(loop->ev, EVRUN_NOWAIT); /* tells the kernel of what has changed; calls nobody */
    return fj__io_pending(loop) ? at_once : due;
}

void fj_loop_dispatch(fj_loop *loop)
{
    fj_loop *outer = NULL;

    if (enter(loop, &outer, NULL) != FJ_OK)
        return;
    (void)fj__inbox_awake(&loop->inbox);
    (void)turn(loop, NEVER, at_once);
    (void)leave(loop, outer, NULL);
}
