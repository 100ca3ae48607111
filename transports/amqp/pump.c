/* SPDX-License-Identifier: Apache-2.0 */
/* Who sleeps on the sockets of plain threads: the token, the callers that lead, the keeper. */
#include "transports/amqp/pump.h"

#include "base/alloc.h"
#include "base/native.h"
#include "runtime/future.h"
#include "runtime/loop.h"
#include "runtime/sync.h"
#include "runtime/thread.h"

#include <fjord/task.h>
#include <poll.h>
#include <unistd.h>

/* How soon the keeper looks again, at the earliest, after somebody else who had the token. */
#define SUPERVISE_NS 1000000000LL
/* How late a loop may be with a timer before the keeper runs it. */
#define TIMER_GRACE_NS 100000000LL

struct fj__sleeper {
    struct fj__sleeper *next;
    fj_future *gate;
    bool parked; /* a task: it cannot lead */
};

static void wake_leader(fj__domain *d)
{
    ssize_t ignored =
        fj__native.write(d->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t)); /* full: it is awake already */
    (void)ignored;
}

void fj__pump_wake(fj__domain *d)
{
    if (d->sleeping)
        wake_leader(d);
}

void fj__pump_nudge(fj__domain *d)
{
    for (const struct fj__sleeper *w = d->waiters; w != NULL; w = w->next)
        fj__future_nudge(w->gate);
}

void fj__domain_rouse(fj__domain *d)
{
    fj__pump_nudge(d);
    fj__pump_wake(d);
}

/* Keep of @p watch what poll() found ready. */
static void keep_ready(fj_watch *watch, const struct pollfd *fds)
{
    for (unsigned i = 0; i < watch->n; i++) {
        watch->fds[i].read = (fds[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
        watch->fds[i].write = (fds[i].revents & (POLLOUT | POLLERR | POLLHUP)) != 0;
    }
}

/* Sleep on the sockets until something happens or @p by, then do all that can be done.  The lock is released for the
 * sleep. */
static void pump(fj__domain *d, fj_deadline by)
{
    struct pollfd fds[FJ_WATCH_MAX];
    fj_watch watch;

    fj__domain_watch(d, &watch);
    for (unsigned i = 0; i < watch.n; i++)
        fds[i] = (struct pollfd){ .fd = watch.fds[i].fd,
                                  .events = (short)((watch.fds[i].read ? POLLIN : 0) |
                                                    (watch.fds[i].write ? POLLOUT : 0)) };
    by = fj_sooner(by, watch.by);
    d->sleep_until = by.ns;
    d->sleeping = true;
    (void)fj__native.pthread_mutex_unlock(&d->lock);
    int ready = fj__native.poll(fds, watch.n, fj_left_ms(by));
    (void)fj__native.pthread_mutex_lock(&d->lock);
    d->sleeping = false;
    if (ready < 0)
        watch.n = 0; /* EINTR: the time, at least, is looked at */
    keep_ready(&watch, fds);
    fj__domain_turn(d, &watch, fj_now());
}

/* ---- the token ----------------------------------------------------------------------------------- */

static void *keeper_thread(void *arg);

static void start_keeper(fj__domain *d)
{
    if (d->keeper_started || d->keeper_stop)
        return;
    d->keeper_started = fj__thread_new(&d->keeper, "fj-keeper", keeper_thread, d) == 0;
    if (!d->keeper_started)
        fj__domain_note(d, FJ_LOG_ERROR,
                        fj__strdup("no thread for heartbeats: connections may be lost while methods run"));
}

static void kick_keeper(fj__domain *d)
{
    d->keeper_kicked = true;
    (void)fj__native.pthread_cond_signal(&d->keeper_cond);
}

/* A blocked caller that can lead, or NULL. */
static struct fj__sleeper *next_leader(const fj__domain *d)
{
    struct fj__sleeper *w = d->waiters;

    while (w != NULL && w->parked)
        w = w->next;
    return w;
}

/* The token is free: give it to a blocked caller, else see that the keeper takes it when it has to. */
static void hand_on(fj__domain *d)
{
    struct fj__sleeper *next = next_leader(d);

    if (next != NULL) {
        fj__future_nudge(next->gate);
        return;
    }
    if (d->consuming.state == FJ__LINK_IDLE && d->publishing.state == FJ__LINK_IDLE)
        return;
    start_keeper(d);
    if ((d->loop == NULL && (fj__domain_outstanding(d) || d->leaving)) ||
        fj__domain_due(d).ns < d->keeper_until)
        kick_keeper(d);
}

/* Take the token for one pump and deliver what came of it.  User code runs with the token handed on, for it may take
 * its time; completing a future that only a sleeping thread waits for does not need that. */
static void lead(fj__domain *d, fj_deadline by, bool keeper)
{
    unsigned turn = ++d->turn;

    d->led = true;
    d->leader = pthread_self();
    d->keeper_leads = keeper;
    pump(d, by);
    d->keeper_leads = false;
    if (d->parked != 0)
        fj__pump_nudge(d); /* they never lead, and so never look by themselves */
    bool slow = false;
    for (const fj__outcome *o = d->outcomes; o != NULL; o = o->next)
        slow = slow || o->slow;
    if (slow) {
        d->led = false;
        hand_on(d);
    }
    if (d->outcomes != NULL) {
        fj__domain_unlock(d);
        fj__domain_lock(d);
    }
    if (d->turn == turn)
        d->led = false;
}

/* A call-back that was added in the last moment runs with the token held, and now waits itself: it leads anew. */
static void give_up_own(fj__domain *d)
{
    if (!d->led || !pthread_equal(d->leader, pthread_self()))
        return;
    d->led = false;
    d->turn++;
}

/* Sleep until kicked, or @p until. */
static void keeper_sleep(fj__domain *d, fj_deadline until)
{
    d->keeper_until = until.ns;
    d->keeper_kicked = false;
    while (!d->keeper_kicked && !d->keeper_stop && fj__cond_wait(&d->keeper_cond, &d->lock, until))
        ;
    d->keeper_until = 0;
}

/* The plain domain: lead while something is outstanding or due and nobody else is there. */
static void keep_plain(fj__domain *d)
{
    if (d->leaving && !d->closed && fj__domain_idle(d)) {
        fj__domain_close(d, "the loop it belonged to is gone");
        fj__domain_unlock(d); /* what came of that */
        fj__domain_lock(d);
        return;
    }
    fj_deadline next = fj__domain_due(d);
    bool idle = d->led || next_leader(d) != NULL; /* whoever leads, or is about to, does it */

    if (idle || (!fj__domain_outstanding(d) && !fj_passed(next))) {
        if (idle && fj_left_ns(next) < SUPERVISE_NS)
            next = fj_in_ms(SUPERVISE_NS / 1000000);
        keeper_sleep(d, next);
        return;
    }
    lead(d, fj__domain_outstanding(d) ? fj_never() : fj_now(), true);
    if (!d->led && next_leader(d) != NULL)
        fj__future_nudge(next_leader(d)->gate); /* a caller is there: it leads from here on */
}

static fj_deadline later(fj_deadline due, int64_t ns)
{
    return (fj_deadline){ due.ns < FJ_NEVER_NS - ns ? due.ns + ns : FJ_NEVER_NS };
}

/* When the owner of a loop's domain has been late for long enough: with a heartbeat an eighth of its interval, with a timer,
 * of which a caller's patience with a monitored call may hang, less than anybody notices. */
static fj_deadline supervise_at(const fj__domain *d)
{
    return fj_sooner(later(fj__domain_beat_due(d), (int64_t)d->settings->heartbeat * 125000000),
                     later(fj__timers_next(&d->timers), TIMER_GRACE_NS));
}

void fj__pump_supervise(fj__domain *d)
{
    fj_deadline at = supervise_at(d);

    if (fj_is_never(at))
        return;
    start_keeper(d);
    if (at.ns < d->keeper_until)
        kick_keeper(d);
}

/* A loop's domain: do what its owner is late with. */
static void keep_for_loop(fj__domain *d)
{
    fj_deadline next = supervise_at(d);

    if (!fj_passed(next)) {
        keeper_sleep(d, next);
        return;
    }
    fj__domain_tend(d, fj_now());
    fj__domain_unlock(d);
    fj__domain_lock(d);
}

static void *keeper_thread(void *arg)
{
    fj__domain *d = arg;

    fj__domain_lock(d);
    while (!d->keeper_stop) {
        if (d->loop != NULL)
            keep_for_loop(d);
        else
            keep_plain(d);
    }
    fj__domain_unlock(d);
    return NULL;
}

static void add_waiter(fj__domain *d, struct fj__sleeper *w)
{
    w->next = d->waiters;
    d->waiters = w;
}

static void remove_waiter(fj__domain *d, struct fj__sleeper *w)
{
    for (struct fj__sleeper **at = &d->waiters; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            return;
        }
    }
}

/* Sleep until nudged.  @return OK; TIMEOUT; CANCELLED */
static fj_code sleep_on_gate(fj__domain *d, fj_future *gate, fj_deadline by)
{
    struct fj__sleeper w = { .gate = gate, .parked = fj_task_current() != NULL };

    unsigned seen = fj__future_nudges(gate); /* under the lock, as all nudges of it */

    add_waiter(d, &w);
    d->parked += w.parked;
    if (d->keeper_leads && d->sleeping)
        wake_leader(d); /* it frees the token to us */
    else if (w.parked && !d->led && !fj__pump_by_loop(d))
        hand_on(d); /* the keeper must */
    fj__domain_unlock(d);
    fj_code code = fj__future_sleep(gate, seen, by);
    fj__domain_lock(d);
    d->parked -= w.parked;
    remove_waiter(d, &w);
    return code;
}

fj_code fj__domain_wait(fj__domain *d, fj_future *gate, bool (*ready)(void *user), void *user, fj_deadline by)
{
    fj_code code = FJ_OK;
    bool yes;

    fj__domain_lock(d);
    start_keeper(d);
    give_up_own(d);
    while (!(yes = ready(user)) && code == FJ_OK && !fj_passed(by)) { /* TIMEOUT: one around the task's wait */
        if (d->led || fj_task_current() != NULL || fj__pump_by_loop(d))
            code = sleep_on_gate(d, gate, by);
        else
            lead(d, by, false);
    }
    if (!d->led && !fj__pump_by_loop(d))
        hand_on(d);
    fj__domain_unlock(d);
    return yes ? FJ_OK : code == FJ_CANCELLED ? FJ_CANCELLED : FJ_TIMEOUT;
}

void fj__domain_pump(fj__domain *d)
{
    fj__domain_lock(d);
    if (!d->led && !fj__pump_by_loop(d))
        lead(d, fj_now(), false);
    if (!d->led && !fj__pump_by_loop(d))
        hand_on(d);
    fj__domain_unlock(d);
}

void fj__domain_touch(fj__domain *d, fj__link *link, bool waits)
{
    bool by_loop = fj__pump_by_loop(d), here = by_loop && fj__loop_here(d->loop);

    /* What is put out in one turn of a loop leaves in one write, before the loop sleeps. */
    if (link != NULL && !here)
        fj__link_flush(link, fj_now());
    if (d->led || by_loop) {
        if (d->sleeping && !here && (fj__domain_unwritten(d) || fj__domain_due(d).ns < d->sleep_until))
            wake_leader(d);
        if (by_loop)
            fj__pump_supervise(d); /* what runs next may hold the loop up before it would sleep */
    } else if (!waits) {
        hand_on(d);
    }
}

/* ---- life ------------------------------------------------------------------------------------------ */

void fj__pump_init(fj__domain *d)
{
    fj__cond_init(&d->keeper_cond);
}

void fj__pump_retire(fj__domain *d)
{
    d->keeper_stop = true;
    kick_keeper(d);
}

void fj__pump_fini(fj__domain *d)
{
    fj__domain_lock(d);
    fj__pump_retire(d);
    fj__pump_wake(d);
    fj__domain_unlock(d);
    if (d->keeper_started)
        (void)fj__native.pthread_join(d->keeper, NULL);
    (void)pthread_cond_destroy(&d->keeper_cond);
}
