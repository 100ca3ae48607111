/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/domain.h"

#include "base/native.h"
#include "transports/amqp/publisher.h"
#include "transports/amqp/pump.h"
#include "transports/amqp/replies.h"
#include "transports/amqp/topology.h"

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/sync.h"

#include <sys/eventfd.h>
#include <unistd.h>

struct line {
    fj__outcome outcome;
    fj_log_level level;
    char *text;
};

/* ---- outcomes and log lines -------------------------------------------------------------------- */

void fj__domain_lock(fj__domain *d)
{
    (void)fj__native.pthread_mutex_lock(&d->lock);
}

void fj__domain_unlock(fj__domain *d)
{
    fj__outcome *o = d->outcomes;
    d->outcomes = NULL;
    d->outcomes_end = &d->outcomes;
    (void)fj__native.pthread_mutex_unlock(&d->lock);
    if (o == NULL)
        return;
    while (o != NULL) {
        fj__outcome *next = o->next;
        o->deliver(o);
        o = next;
    }
    /* The caller whose future this completed may have begun to lead meanwhile: it sleeps in poll, not on the future. */
    (void)fj__native.pthread_mutex_lock(&d->lock);
    fj__pump_wake(d);
    (void)fj__native.pthread_mutex_unlock(&d->lock);
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

/* ---- bytes and time: all with the token ------------------------------------------------------------- */

fj_deadline fj__domain_due(const fj__domain *d)
{
    fj_deadline links = fj_sooner(fj__link_due(&d->consuming), fj__link_due(&d->publishing));

    return fj_sooner(links, fj__timers_next(&d->timers));
}

static bool dialing(const fj__link *l)
{
    return l->state == FJ__LINK_RESOLVING || l->state == FJ__LINK_CONNECTING || l->state == FJ__LINK_SECURING ||
           l->state == FJ__LINK_HANDSHAKE || l->state == FJ__LINK_BACKOFF;
}

bool fj__domain_unwritten(const fj__domain *d)
{
    return d->consuming.wants_write || d->publishing.wants_write || dialing(&d->consuming) ||
           dialing(&d->publishing);
}

static bool leaving_broker(const fj__link *l)
{
    return l->closing && l->state == FJ__LINK_OPEN;
}

bool fj__domain_outstanding(const fj__domain *d)
{
    return d->urgent != 0 || d->parked != 0 || fj__domain_unwritten(d) || leaving_broker(&d->consuming) ||
           leaving_broker(&d->publishing);
}

static void add_fd(const fj__link *l, fj_watch *ret)
{
    bool in, out;
    int fd = fj__link_fd(l, &in, &out);

    if (fd < 0 || !(in || out))
        return;
    ret->fds[ret->n].fd = fd;
    ret->fds[ret->n].opened = l->opened;
    ret->fds[ret->n].read = in;
    ret->fds[ret->n++].write = out;
}

void fj__domain_watch(const fj__domain *d, fj_watch *ret)
{
    *ret = (fj_watch){ .n = 1, .by = fj__domain_due(d) };
    ret->fds[0].fd = d->wake_fd;
    ret->fds[0].read = true;
    add_fd(&d->consuming, ret);
    add_fd(&d->publishing, ret);
}

static void turn_link(fj__link *l, const fj_watch *ready, fj_deadline now)
{
    bool in = false, out = false;

    for (unsigned i = 1; i < ready->n; i++) {
        if (ready->fds[i].fd == l->fd && ready->fds[i].opened == l->opened) {
            in = ready->fds[i].read;
            out = ready->fds[i].write;
        }
    }
    fj__link_pump(l, in, out, now);
}

void fj__domain_turn(fj__domain *d, const fj_watch *ready, fj_deadline now)
{
    if (ready->n != 0 && ready->fds[0].read) {
        uint64_t count;
        ssize_t ignored = fj__native.read(d->wake_fd, &count, sizeof count);
        (void)ignored;
        fj__pump_nudge(d); /* an interrupt from a signal handler can reach the sleepers in no other way */
    }
    turn_link(&d->consuming, ready, now);
    turn_link(&d->publishing, ready, now);
    fj__timers_run(&d->timers, now);
    fj__publisher_pump(d->publisher, now);
    fj__link_flush(&d->consuming, now);
    fj__link_flush(&d->publishing, now);
}

fj_deadline fj__domain_beat_due(const fj__domain *d)
{
    return fj_sooner(fj__link_beat_due(&d->consuming), fj__link_beat_due(&d->publishing));
}

void fj__domain_tend(fj__domain *d, fj_deadline now)
{
    fj__timers_run(&d->timers, now);
    fj__publisher_pump(d->publisher, now);
    fj__link_beat(&d->consuming, now);
    fj__link_beat(&d->publishing, now);
}

/* What was put off leaves now. */
static void write_put_off(fj__timer *t, fj_deadline now)
{
    fj__domain *d = fj__container(t, fj__domain, put_off);

    fj__link_flush(&d->consuming, now);
    fj__link_flush(&d->publishing, now);
}

static size_t unsent(const fj__link *l)
{
    return l->engine != NULL ? fj__buf_len(fj__engine_output(l->engine)) : 0;
}

/* @return false: it cannot be put off */
static bool put_off(fj__domain *d)
{
    enum { MOMENT_NS = 1000000 };

    return d->put_off.place != 0 ||
           fj__timer_set(&d->timers, &d->put_off, (fj_deadline){ fj_now().ns + MOMENT_NS });
}

void fj__domain_touch_acks(fj__domain *d, bool more)
{
    enum { ENOUGH = 512 }; /* 24 of them */
    bool later = more && !fj__pump_by_loop(d) && unsent(&d->consuming) < ENOUGH && put_off(d);

    fj__domain_touch(d, later ? NULL : &d->consuming, false);
}

void fj__domain_touch_casts(fj__domain *d)
{
    enum { ENOUGH = 16384 };
    bool follows = d->put_off.place != 0; /* one that left by itself, a moment ago */
    bool later = follows && unsent(&d->publishing) < ENOUGH;

    if (!follows && !fj__pump_by_loop(d))
        (void)put_off(d);
    fj__domain_touch(d, later ? NULL : &d->publishing, false);
}

/* ---- life ------------------------------------------------------------------------------------------ */

fj_code fj__domain_new(const fj__amqp_settings *settings, fj__domain **ret, fj_error **err)
{
    fj__domain *d = fj__zalloc(sizeof *d);

    if (d == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    (void)pthread_mutex_init(&d->lock, NULL);
    fj__pump_init(d);
    d->generation = fj__fork_generation();
    d->settings = settings;
    d->put_off.fn = write_put_off;
    d->outcomes_end = &d->outcomes;
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = fj__link_init(&d->consuming, settings, &link_ops, d, "consuming", d->wake_fd);
    ok = fj__link_init(&d->publishing, settings, &link_ops, d, "publishing", d->wake_fd) && ok;
    if (d->wake_fd < 0 || !ok) {
        fj_code rc = d->wake_fd < 0 ? FJ_SYSTEM : FJ_NOMEM;
        fj__domain_free(d);
        return fj_fail(err, rc, rc == FJ_SYSTEM ? "no descriptor for an eventfd" : "out of memory");
    }
    fj_code rc = fj__publisher_new(d, &d->publisher);
    if (rc == FJ_OK)
        rc = fj__replies_new(d, &d->replies);
    if (rc != FJ_OK) {
        fj__domain_free(d);
        return fj_fail(err, rc, "out of memory");
    }
    *ret = d;
    return FJ_OK;
}

bool fj__domain_idle(const fj__domain *d)
{
    bool listens = false;

    for (const fj__channel *c = d->consuming_channels; c != NULL; c = c->next)
        listens = listens || c->id >= FJ__LISTENER_CHANNEL;
    return !listens && fj__publisher_idle(d->publisher) && fj__replies_any(d->replies) == NULL;
}

void fj__domain_close(fj__domain *d, const char *text)
{
    if (d->closed)
        return;
    d->closed = true;
    fj__publisher_fail_all(d->publisher, FJ_CLOSED, text);
    fj__link_close(&d->publishing, fj_now());
    fj__link_close(&d->consuming, fj_now());
    fj__domain_rouse(d); /* whoever polls a listener */
    fj__domain_touch(d, NULL, false);
}

static bool at_rest(const fj__link *l)
{
    return l->state == FJ__LINK_IDLE || l->state == FJ__LINK_CLOSED;
}

bool fj__domain_reopen(fj__domain *d)
{
    if (!d->closed)
        return true;
    if (!at_rest(&d->consuming) || !at_rest(&d->publishing))
        return false;
    link_down(&d->consuming, NULL, fj_now());
    link_down(&d->publishing, NULL, fj_now());
    fj__link_reopen(&d->consuming);
    fj__link_reopen(&d->publishing);
    d->closed = false;
    return true;
}

void fj__domain_free(fj__domain *d)
{
    if (d == NULL)
        return;
    fj__publisher *publisher = d->publisher;
    fj__replies *replies = d->replies;
    fj__pump_fini(d);
    fj__link_fini(&d->consuming);
    fj__link_fini(&d->publishing);
    fj__timers_fini(&d->timers);
    if (d->wake_fd >= 0)
        (void)fj__native.close(d->wake_fd);
    (void)pthread_mutex_destroy(&d->lock);
    fj__free(d);
    fj__publisher_free(publisher);
    fj__replies_free(replies);
}
