/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/domain.h"

#include "transports/amqp/publisher.h"
#include "transports/amqp/topology.h"

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/future.h"
#include "runtime/sync.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* How soon the keeper looks again, at the earliest, after somebody else who had the token. */
#define SUPERVISE_NS 1000000000LL

struct fj__waiter {
    struct fj__waiter *next;
    fj_future *gate;
};

struct line {
    fj__outcome outcome;
    fj_log_level level;
    char *text;
};

/* ---- outcomes and log lines -------------------------------------------------------------------- */

static void wake_leader(fj__domain *d)
{
    ssize_t ignored = write(d->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t)); /* full: it is awake already */
    (void)ignored;
}

void fj__domain_lock(fj__domain *d)
{
    (void)pthread_mutex_lock(&d->lock);
}

void fj__domain_unlock(fj__domain *d)
{
    fj__outcome *o = d->outcomes;
    d->outcomes = NULL;
    d->outcomes_end = &d->outcomes;
    (void)pthread_mutex_unlock(&d->lock);
    if (o == NULL)
        return;
    while (o != NULL) {
        fj__outcome *next = o->next;
        o->deliver(o);
        o = next;
    }
    /* The caller whose future this completed may have begun to lead meanwhile: it sleeps in poll, not on the future. */
    (void)pthread_mutex_lock(&d->lock);
    if (d->sleeping)
        wake_leader(d);
    (void)pthread_mutex_unlock(&d->lock);
}

void fj__domain_gather(fj__domain *d, fj__outcome *o)
{
    o->next = NULL;
    *d->outcomes_end = o;
    d->outcomes_end = &o->next;
}

static void write_line(fj__outcome *o)
{
    struct line *line = fj__container(o, struct line, outcome);

    fj__log(line->level, "amqp", "%s", line->text);
    fj__free(line->text);
    fj__free(line);
}

void fj__domain_note(fj__domain *d, fj_log_level level, char *text)
{
    struct line *line = text != NULL && fj__log_on(level, "amqp") ? fj__alloc(sizeof *line) : NULL;

    if (line == NULL) {
        fj__free(text);
        return;
    }
    *line = (struct line){ .outcome = { .deliver = write_line, .slow = true }, .level = level, .text = text };
    fj__domain_gather(d, &line->outcome);
}

/* ---- the links' call-backs --------------------------------------------------------------------- */

static fj__channel **channels_of(fj__domain *d, const fj__link *l)
{
    return l == &d->consuming ? &d->consuming_channels : &d->publishing_channels;
}

static void link_up(fj__link *l, fj_deadline now)
{
    for (fj__channel *c = *channels_of(l->user, l), *next; c != NULL; c = next) {
        next = c->next;
        c->up(c, now);
    }
}

static void link_event(fj__link *l, const fj__event *ev, fj_deadline now)
{
    fj__domain *d = l->user;

    if (ev->kind == FJ__EV_BLOCKED || ev->kind == FJ__EV_UNBLOCKED) {
        bool on = ev->kind == FJ__EV_BLOCKED;
        if (l == &d->publishing)
            d->blocked = on;
        fj__domain_note(d, on ? FJ_LOG_WARNING : FJ_LOG_INFO,
                        on ? fj__format("the broker blocks publishers: %s", ev->text != NULL ? ev->text : "")
                           : fj__strdup("the broker takes messages again"));
        return;
    }
    for (fj__channel *c = *channels_of(d, l); c != NULL; c = c->next) {
        if (c->id == ev->channel) {
            c->event(c, ev, now);
            return;
        }
    }
}

static void link_down(fj__link *l, const fj_error *error, fj_deadline now)
{
    fj__domain *d = l->user;

    if (l == &d->publishing)
        d->blocked = false;
    for (fj__channel *c = *channels_of(l->user, l), *next; c != NULL; c = next) {
        next = c->next;
        c->down(c, error, now);
    }
}

static void link_failed(fj__link *l, const fj_error *error, fj_deadline now)
{
    for (fj__channel *c = *channels_of(l->user, l), *next; c != NULL; c = next) {
        next = c->next;
        c->failed(c, error, now);
    }
}

static void link_note(fj__link *l, fj_log_level level, char *text)
{
    fj__domain_note(l->user, level, text);
}

static const fj__link_ops link_ops = {
    .up = link_up, .event = link_event, .down = link_down, .failed = link_failed, .note = link_note
};

/* A number is free when nobody here has it, and the broker has closed what had it before. */
bool fj__domain_attach(fj__domain *d, fj__link *l, fj__channel *c, uint16_t first, fj_deadline now)
{
    fj__channel **at = channels_of(d, l);
    bool open = l->state == FJ__LINK_OPEN;
    unsigned id = first, max = open ? fj__engine_channel_max(l->engine) : FJ__LINK_CHANNEL_MAX;

    while (*at != NULL && (*at)->id < first)
        at = &(*at)->next;
    for (; (*at != NULL && (*at)->id == id) || (open && fj__engine_channel_known(l->engine, (uint16_t)id));
         id++) {
        if (id >= max)
            return false;
        if (*at != NULL && (*at)->id == id)
            at = &(*at)->next;
    }
    if (id > max)
        return false;
    c->id = (uint16_t)id;
    c->next = *at;
    *at = c;
    if (l->state == FJ__LINK_OPEN)
        c->up(c, now);
    else
        fj__link_want(l, now);
    return true;
}

void fj__domain_detach(fj__domain *d, fj__link *l, fj__channel *c)
{
    for (fj__channel **at = channels_of(d, l); *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            if (l->state == FJ__LINK_OPEN) /* nobody would look at what still comes over it */
                (void)fj__close_channel(l->engine, c->id);
            c->id = 0;
            return;
        }
    }
}

/* ---- pumping: all with the token ---------------------------------------------------------------- */

static fj_deadline due(const fj__domain *d)
{
    fj_deadline links = fj_sooner(fj__link_due(&d->consuming), fj__link_due(&d->publishing));

    return fj_sooner(links, fj__timers_next(&d->timers));
}

static void add_fd(fj__link *l, struct pollfd *fds, nfds_t *n)
{
    bool in, out;
    int fd = fj__link_fd(l, &in, &out);

    if (fd >= 0 && (in || out))
        fds[(*n)++] = (struct pollfd){ .fd = fd, .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0)) };
}

static short ready_of(const fj__link *l, const struct pollfd *fds, nfds_t n)
{
    for (nfds_t i = 0; i < n; i++) {
        if (fds[i].fd == l->fd && l->fd >= 0)
            return fds[i].revents;
    }
    return 0;
}

static void pump_link(fj__link *l, short ready, fj_deadline now)
{
    fj__link_pump(l, (ready & (POLLIN | POLLERR | POLLHUP)) != 0, (ready & POLLOUT) != 0, now);
}

static void nudge_all(const fj__domain *d)
{
    for (const struct fj__waiter *w = d->waiters; w != NULL; w = w->next)
        fj__future_nudge(w->gate);
}

void fj__domain_rouse(fj__domain *d)
{
    nudge_all(d);
    if (d->sleeping)
        wake_leader(d);
}

/* Sleep on the sockets until something happens or @p by, then do all that can be done.  The lock is released for the
 * sleep. */
static void pump(fj__domain *d, fj_deadline by)
{
    struct pollfd fds[3] = { { .fd = d->wake_fd, .events = POLLIN } };
    nfds_t n = 1;
    int epochs[2];

    add_fd(&d->consuming, fds, &n);
    add_fd(&d->publishing, fds, &n);
    epochs[0] = d->consuming.fd;
    epochs[1] = d->publishing.fd;
    by = fj_sooner(by, due(d));
    d->sleep_until = by.ns;
    d->sleeping = true;
    (void)pthread_mutex_unlock(&d->lock);
    int ready = poll(fds, n, fj_left_ms(by));
    (void)pthread_mutex_lock(&d->lock);
    d->sleeping = false;
    if (ready < 0)
        ready = 0; /* EINTR: the time, at least, is looked at */
    if (fds[0].revents & POLLIN) {
        uint64_t count;
        ssize_t ignored = read(d->wake_fd, &count, sizeof count);
        (void)ignored;
        nudge_all(d); /* an interrupt from a signal handler can reach the sleepers in no other way */
    }
    fj_deadline now = fj_now();
    pump_link(&d->consuming, ready > 0 && epochs[0] == d->consuming.fd ? ready_of(&d->consuming, fds, n) : 0,
              now);
    pump_link(&d->publishing, ready > 0 && epochs[1] == d->publishing.fd ? ready_of(&d->publishing, fds, n) : 0,
              now);
    fj__timers_run(&d->timers, now);
    fj__publisher_pump(d->publisher, now);
    fj__link_flush(&d->consuming, now);
    fj__link_flush(&d->publishing, now);
}

/* ---- the token ----------------------------------------------------------------------------------- */

static bool dialing(const fj__link *l)
{
    return l->state == FJ__LINK_RESOLVING || l->state == FJ__LINK_CONNECTING ||
           l->state == FJ__LINK_HANDSHAKE || l->state == FJ__LINK_BACKOFF;
}

/* Whether somebody must sleep on the sockets though no caller waits. */
static bool outstanding(const fj__domain *d)
{
    return d->urgent != 0 || d->consuming.wants_write || d->publishing.wants_write || dialing(&d->consuming) ||
           dialing(&d->publishing);
}

static void *keeper_thread(void *arg);

static void start_keeper(fj__domain *d)
{
    sigset_t all, old;

    if (d->keeper_started || d->keeper_stop)
        return;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    d->keeper_started = pthread_create(&d->keeper, NULL, keeper_thread, d) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!d->keeper_started)
        fj__domain_note(d, FJ_LOG_ERROR,
                        fj__strdup("no thread for heartbeats: connections may be lost while methods run"));
}

static void kick_keeper(fj__domain *d)
{
    d->keeper_kicked = true;
    (void)pthread_cond_signal(&d->keeper_cond);
}

/* The token is free: give it to a blocked caller, else see that the keeper takes it when it has to. */
static void hand_on(fj__domain *d)
{
    if (d->waiters != NULL) {
        fj__future_nudge(d->waiters->gate);
        return;
    }
    if (d->consuming.state == FJ__LINK_IDLE && d->publishing.state == FJ__LINK_IDLE)
        return;
    start_keeper(d);
    if (outstanding(d) || due(d).ns < d->keeper_until)
        kick_keeper(d);
}

/* Take the token for one pump and deliver what came of it.  User code runs with the token handed on, for it may take
 * its time; completing a future that only a sleeping thread waits for does not need that. */
static void lead(fj__domain *d, fj_deadline by, bool keeper)
{
    d->led = true;
    d->keeper_leads = keeper;
    pump(d, by);
    d->keeper_leads = false;
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
    if (!slow)
        d->led = false;
}

static void *keeper_thread(void *arg)
{
    fj__domain *d = arg;

    (void)pthread_setname_np(pthread_self(), "fj-keeper");
    fj__domain_lock(d);
    while (!d->keeper_stop) {
        fj_deadline next = due(d);
        bool idle = d->led || d->waiters != NULL; /* whoever leads, or is about to, does it */
        if (idle || (!outstanding(d) && !fj_passed(next))) {
            if (idle && fj_left_ns(next) < SUPERVISE_NS)
                next = fj_in_ms(SUPERVISE_NS / 1000000);
            d->keeper_until = next.ns;
            d->keeper_kicked = false;
            while (!d->keeper_kicked && !d->keeper_stop && fj__cond_wait(&d->keeper_cond, &d->lock, next))
                ;
            d->keeper_until = 0;
            continue;
        }
        lead(d, outstanding(d) ? fj_never() : fj_now(), true);
        if (d->waiters != NULL && !d->led)
            fj__future_nudge(d->waiters->gate); /* a caller is there: it leads from here on */
    }
    fj__domain_unlock(d);
    return NULL;
}

static void add_waiter(fj__domain *d, struct fj__waiter *w)
{
    w->next = d->waiters;
    d->waiters = w;
}

static void remove_waiter(fj__domain *d, struct fj__waiter *w)
{
    for (struct fj__waiter **at = &d->waiters; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            return;
        }
    }
}

bool fj__domain_wait(fj__domain *d, fj_future *gate, bool (*ready)(void *user), void *user, fj_deadline by)
{
    bool yes;

    fj__domain_lock(d);
    start_keeper(d);
    while (!(yes = ready(user)) && !fj_passed(by)) {
        if (!d->led) {
            lead(d, by, false);
            continue;
        }
        struct fj__waiter w = { .gate = gate };
        add_waiter(d, &w);
        if (d->keeper_leads && d->sleeping)
            wake_leader(d); /* it frees the token to us */
        fj__domain_unlock(d);
        fj__future_sleep(gate, by);
        fj__domain_lock(d);
        remove_waiter(d, &w);
    }
    if (!d->led)
        hand_on(d);
    fj__domain_unlock(d);
    return yes;
}

void fj__domain_pump(fj__domain *d)
{
    fj__domain_lock(d);
    if (!d->led)
        lead(d, fj_now(), false);
    if (!d->led)
        hand_on(d);
    fj__domain_unlock(d);
}

void fj__domain_touch(fj__domain *d, fj__link *link, bool waits)
{
    if (link != NULL)
        fj__link_flush(link, fj_now());
    if (d->led) {
        if (d->sleeping && (d->consuming.wants_write || d->publishing.wants_write ||
                            due(d).ns < d->sleep_until || dialing(&d->consuming) || dialing(&d->publishing)))
            wake_leader(d);
    } else if (!waits) {
        hand_on(d);
    }
}

void fj__domain_watch(fj__domain *d, fj_watch *ret)
{
    struct pollfd fds[3] = { { .fd = d->wake_fd, .events = POLLIN } };
    nfds_t n = 1;

    fj__domain_lock(d);
    add_fd(&d->consuming, fds, &n);
    add_fd(&d->publishing, fds, &n);
    ret->by = due(d);
    fj__domain_unlock(d);
    ret->n = (unsigned)n;
    for (nfds_t i = 0; i < n; i++) {
        ret->fds[i].fd = fds[i].fd;
        ret->fds[i].read = (fds[i].events & POLLIN) != 0;
        ret->fds[i].write = (fds[i].events & POLLOUT) != 0;
    }
}

/* ---- life ------------------------------------------------------------------------------------------ */

fj_code fj__domain_new(const fj__amqp_settings *settings, fj__domain **ret, fj_error **err)
{
    fj__domain *d = fj__zalloc(sizeof *d);

    if (d == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    (void)pthread_mutex_init(&d->lock, NULL);
    fj__cond_init(&d->keeper_cond);
    d->settings = settings;
    d->outcomes_end = &d->outcomes;
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = fj__link_init(&d->consuming, settings, &link_ops, d, "consuming", d->wake_fd);
    ok = fj__link_init(&d->publishing, settings, &link_ops, d, "publishing", d->wake_fd) && ok;
    if (d->wake_fd < 0 || !ok) {
        fj_code rc = d->wake_fd < 0 ? FJ_SYSTEM : FJ_NOMEM;
        fj__domain_free(d);
        return fj_fail(err, rc, rc == FJ_SYSTEM ? "no descriptor for an eventfd" : "out of memory");
    }
    *ret = d;
    return FJ_OK;
}

void fj__domain_free(fj__domain *d)
{
    if (d == NULL)
        return;
    fj__domain_lock(d);
    d->keeper_stop = true;
    kick_keeper(d);
    if (d->sleeping)
        wake_leader(d);
    fj__domain_unlock(d);
    if (d->keeper_started)
        (void)pthread_join(d->keeper, NULL);
    fj__link_fini(&d->consuming);
    fj__link_fini(&d->publishing);
    fj__timers_fini(&d->timers);
    if (d->wake_fd >= 0)
        (void)close(d->wake_fd);
    (void)pthread_cond_destroy(&d->keeper_cond);
    (void)pthread_mutex_destroy(&d->lock);
    fj__free(d);
}
