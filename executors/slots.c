/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "dispatcher/request.h"
#include "runtime/local.h"

#include <stdio.h>

enum {
    BRIEF_NS = 100000, /* more than a method that computes a little, and its acknowledgement */
    BRIEF_MANY = 32,
    STANDS_NS = 1000000
};

static void lock(fj__slots *s)
{
    (void)fj__native.pthread_mutex_lock(&s->lock);
}

static void unlock(fj__slots *s)
{
    (void)fj__native.pthread_mutex_unlock(&s->lock);
}

static bool sleep_on_event(fj__slots *s, unsigned seen, fj_deadline by)
{
    return fj__eventcount_wait(&s->changed, seen, by);
}

fj_code fj__slots_init(fj__slots *s, unsigned n, fj_error **err)
{
    *s = (fj__slots){ .n = n, .sleep = sleep_on_event, .patience = FJ_NEVER_NS };
    s->all = fj__zalloc(n * sizeof *s->all);
    if (s->all == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for %u slots", n);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->work, NULL);
    s->last = &s->first;
    for (unsigned i = n; i > 0; i--) {
        s->all[i - 1].owner = s;
        s->all[i - 1].next = s->free_list;
        s->free_list = &s->all[i - 1];
    }
    return FJ_OK;
}

void fj__slots_fini(fj__slots *s)
{
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_mutex_destroy(&s->lock);
    fj__free(s->all);
}

void fj__slots_close(fj__slots *s)
{
    atomic_store(&s->closed, true);
    fj__eventcount_raise(&s->changed);
}

/* ---- taking and giving ------------------------------------------------------------------------- */

fj__slot *fj__slots_take(fj__slots *s)
{
    lock(s);
    fj__slot *slot = s->free_list;
    if (slot != NULL) {
        s->free_list = slot->next;
        slot->next = NULL;
        s->used++;
    }
    unlock(s);
    return slot;
}

/* Whether more should be taken in: not while many wait that were, for then nothing would run any sooner. */
static bool has_room(const fj__slots *s)
{
    return s->used < s->n && s->queued <= s->n / 4;
}

/* With the lock held.  The event is raised inside, too: once the lock is released with nothing in hand the executor
 * may be freed. */
static void give_locked(fj__slot *slot)
{
    fj__slots *s = slot->owner;

    slot->turn++;
    slot->in_method = false;
    slot->req = NULL;
    slot->job = NULL;
    slot->job_user = NULL;
    slot->next = s->free_list;
    s->free_list = slot;
    s->used--;
    if (s->used == 0 || has_room(s))
        fj__eventcount_raise(&s->changed);
    if (s->freed != NULL)
        s->freed(s->freed_user);
}

void fj__slots_give(fj__slot *slot)
{
    fj__slots *s = slot->owner;

    lock(s);
    give_locked(slot);
    unlock(s);
}

unsigned fj__slots_free_count(fj__slots *s)
{
    lock(s);
    unsigned n = s->n - s->used;
    unlock(s);
    return n;
}

fj_code fj__slots_await(fj__slots *s, bool queued_too, fj_deadline by)
{
    for (;;) {
        unsigned seen = fj__eventcount_read(&s->changed);
        if (atomic_load(&s->closed))
            return FJ_CLOSED;
        lock(s);
        bool there = has_room(s) || (queued_too && s->queued > 0);
        unlock(s);
        if (there)
            return FJ_OK;
        if (!s->sleep(s, seen, by))
            return FJ_TIMEOUT;
    }
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void on_done(fj_request *req, void *user)
{
    (void)req;
    fj__slots_give(user);
}

bool fj__slots_begin(fj__slot *slot, fj_incoming *in)
{
    fj__slots *s = slot->owner;
    fj_request *req = NULL;
    fj_error *err = NULL;

    if (fj_dispatcher_begin(s->dispatcher, in, on_done, slot, &req, &err) != FJ_OK)
        fj__log(FJ_LOG_ERROR, "executor", "a message could not be taken up: %s", fj_error_text(err));
    fj_error_free(err);
    if (req == NULL) {
        fj__slots_give(slot);
        return false;
    }
    lock(s);
    slot->req = req;
    slot->in_method = true;
    unlock(s);
    return true;
}

void fj__slots_set_job(fj__slot *slot, void (*job)(void *user), void *user)
{
    lock(slot->owner);
    slot->job = job;
    slot->job_user = user;
    unlock(slot->owner);
}

/* Threads come one after the other: each that was woken wakes the next if there is more than it takes.  If each message woke one, they would
 * all come for what a few have done before they are there.  And where runs are brief none comes as long as one is there.
 * With the lock held.   @return whether to signal, without it */
static bool wakes_one(fj__slots *s, bool at_once)
{
    bool enough = !at_once && s->threads > s->idle && atomic_load(&s->brief) >= BRIEF_MANY;
    bool wakes = s->first != NULL && s->idle > 0 && !s->waking && !enough;

    s->waking = s->waking || wakes;
    return wakes;
}

void fj__slots_wake(fj__slots *s, bool at_once)
{
    lock(s);
    bool wakes = wakes_one(s, at_once);
    unlock(s);
    if (wakes)
        (void)fj__native.pthread_cond_signal(&s->work);
}

void fj__slots_ran(fj__slots *s, int64_t ns)
{
    unsigned brief = atomic_load(&s->brief);

    if (ns >= BRIEF_NS)
        atomic_store(&s->brief, 0);
    else if (brief < BRIEF_MANY) /* one of several that count at once is enough */
        (void)atomic_compare_exchange_strong(&s->brief, &brief, brief + 1);
}

static void hurry(fj__slots *s)
{
    atomic_store(&s->brief, 0);
    fj__slots_wake(s, true);
}

fj_deadline fj__slots_due(fj__slots *s)
{
    fj_deadline due = { FJ_NEVER_NS };

    lock(s);
    if (s->first == NULL || atomic_load(&s->brief) < BRIEF_MANY) {
        s->stood.since.ns = 0;
    } else if (s->stood.since.ns == 0 || s->stood.popped != s->popped) {
        s->stood.since = fj_now();
        s->stood.popped = s->popped;
    }
    if (s->stood.since.ns != 0)
        due.ns = s->stood.since.ns + STANDS_NS;
    unlock(s);
    if (!fj_passed(due))
        return due;
    hurry(s);
    return fj_never();
}

void fj__slots_unwatched(fj__slots *s)
{
    lock(s);
    s->unwatched = true;
    unlock(s);
    hurry(s);
}

void fj__slots_push(fj__slot *slot, void (*job)(void *user), void *user)
{
    fj__slots *s = slot->owner;

    lock(s);
    slot->job = job;
    slot->job_user = user;
    *s->last = slot;
    s->last = &slot->next;
    s->queued++;
    fj__eventcount_raise(&s->changed);
    unlock(s);
}

static fj__slot *pop_locked(fj__slots *s)
{
    fj__slot *slot = s->first;

    if (slot == NULL)
        return NULL;
    s->first = slot->next;
    slot->next = NULL;
    if (s->first == NULL)
        s->last = &s->first;
    s->queued--;
    s->popped++;
    if (s->queued == s->n / 4 && s->used < s->n)
        fj__eventcount_raise(&s->changed);
    return slot;
}

fj__slot *fj__slots_pop(fj__slots *s)
{
    lock(s);
    fj__slot *slot = pop_locked(s);
    unlock(s);
    return slot;
}

fj__slot *fj__slots_pop_wait(fj__slots *s, bool joins)
{
    fj__slot *slot;
    bool woken = false;

    lock(s);
    s->threads += joins;
    while ((slot = pop_locked(s)) == NULL && !s->leaving) {
        s->idle++;
        (void)fj__native.pthread_cond_wait(&s->work, &s->lock);
        s->idle--;
        s->waking = false;
        woken = true;
    }
    bool wakes = woken && wakes_one(s, s->unwatched);
    unlock(s);
    if (wakes)
        (void)fj__native.pthread_cond_signal(&s->work);
    return slot;
}

void fj__slots_leave(fj__slots *s)
{
    lock(s);
    s->leaving = true;
    (void)fj__native.pthread_cond_broadcast(&s->work);
    unlock(s);
}

static fj_error *given_up(void)
{
    fj_error *failure = NULL;

    (void)fj_fail(&failure, FJ_CLOSED, "the server stopped before the request was answered");
    return failure;
}

void fj__slots_run(fj__slot *slot, fj_executor *x)
{
    fj__slots *s = slot->owner;
    fj_request *left = NULL;

    if (slot->job != NULL) {
        void *before = *fj__local(FJ__LOCAL_SLOTS);
        *fj__local(FJ__LOCAL_SLOTS) = s;
        slot->job(slot->job_user);
        *fj__local(FJ__LOCAL_SLOTS) = before;
        fj__slots_give(slot);
        return;
    }
    unsigned turn = slot->turn;
    fj_dispatcher_run(s->dispatcher, slot->req, x->ops->invoke, x);
    lock(s);
    if (slot->turn == turn) { /* still ours: deferred */
        slot->in_method = false;
        left = atomic_load(&s->aborted) ? fj_request_ref(slot->req) : NULL;
    }
    unlock(s);
    if (left != NULL) {
        fj__request_give_up(left, given_up());
        fj_request_unref(left);
    }
}

void fj__slots_drop(fj__slot *slot, fj_error *failure)
{
    fj_dispatcher_drop(slot->owner->dispatcher, slot->req, failure);
}

void fj__slots_give_up(fj__slot *slot, fj_executor *x)
{
    if (slot->job != NULL)
        fj__slots_run(slot, x);
    else
        fj__slots_drop(slot, given_up());
}

bool fj__slots_inside(const fj__slots *s)
{
    return *fj__local(FJ__LOCAL_SLOTS) == s || (s->dispatcher != NULL && fj_dispatcher_here(s->dispatcher));
}

/* ---- the end ----------------------------------------------------------------------------------- */

/* "add, later (deferred), a job": as many as fit. */
static void name_running(fj__slots *s, char *text, size_t size)
{
    size_t at = 0;

    text[0] = '\0';
    lock(s);
    for (unsigned i = 0; i < s->n && at < size; i++) {
        const fj__slot *slot = &s->all[i];
        if (slot->req == NULL && slot->job == NULL)
            continue;
        int n = snprintf(text + at, size - at, "%s%s%s", at > 0 ? ", " : "",
                         slot->req != NULL ? fj_request_chosen(slot->req)->name : "a job",
                         slot->req != NULL && !slot->in_method ? " (deferred)" : "");
        at += n > 0 ? (size_t)n : 0;
    }
    unlock(s);
}

fj_deadline fj__slots_patience(const fj__slots *s, fj_deadline by)
{
    return fj_sooner(by, (fj_deadline){ atomic_load(&s->patience) });
}

fj_code fj__slots_drain(fj__slots *s, fj_deadline by, fj_error **err)
{
    char text[512];

    for (;;) {
        unsigned seen = fj__eventcount_read(&s->changed);
        if (fj__slots_running(s, NULL) == 0)
            return FJ_OK;
        if (fj__eventcount_wait(&s->changed, seen, fj__slots_patience(s, by)))
            continue;
        name_running(s, text, sizeof text);
        return fj_fail(err, FJ_TIMEOUT, "still running: %s", text);
    }
}

/* A deferred request, with a reference, or NULL when there is none left. */
static fj_request *next_deferred(fj__slots *s, unsigned *at)
{
    fj_request *req = NULL;

    lock(s);
    for (; req == NULL && *at < s->n; ++*at) {
        fj__slot *slot = &s->all[*at];
        if (slot->req != NULL && !slot->in_method)
            req = fj_request_ref(slot->req); /* safe: it leaves its slot before its last reference goes */
    }
    unlock(s);
    return req;
}

void fj__slots_abort(fj__slots *s, fj_executor *x)
{
    fj__slot *slot;
    fj_request *req;
    int64_t never = FJ_NEVER_NS;
    unsigned at = 0;

    lock(s);
    atomic_store(&s->aborted, true); /* from here on what defers is failed by itself */
    unlock(s);
    while ((slot = fj__slots_pop(s)) != NULL)
        fj__slots_give_up(slot, x);
    while ((req = next_deferred(s, &at)) != NULL) {
        fj__request_give_up(req, given_up());
        fj_request_unref(req);
    }
    (void)atomic_compare_exchange_strong(&s->patience, &never, fj_in_ms(FJ__ABORT_MS).ns);
    fj__eventcount_raise(&s->changed);
}

unsigned fj__slots_running(const fj__slots *s, unsigned *ret_slots)
{
    fj__slots *mine = (fj__slots *)s; /* for the lock; nothing of it changes */

    if (ret_slots != NULL)
        *ret_slots = s->n;
    lock(mine);
    unsigned used = s->used;
    unlock(mine);
    return used;
}

void fj__slots_at_fork(fj__slots *s)
{
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->work, NULL);
    s->first = NULL;
    s->last = &s->first;
    s->free_list = NULL;
    s->used = s->queued = s->threads = s->idle = 0;
    s->waking = false;
    for (unsigned i = 0; i < s->n; i++) {
        s->all[i] = (fj__slot){ .owner = s, .next = s->free_list, .turn = s->all[i].turn + 1 };
        s->free_list = &s->all[i];
    }
}

/* ---- trouble ----------------------------------------------------------------------------------- */

void fj__trouble_pause(fj__trouble *t, fj__slots *s, const char *what, fj_deadline by, fj_code code,
                       fj_error *err)
{
    enum { QUIET_MS = 60000, PAUSE_MS = 1000 };

    if (fj_passed(t->quiet_until)) {
        t->quiet_until = fj_in_ms(QUIET_MS);
        fj__log(FJ_LOG_ERROR, "executor", "%s: %s", what,
                err != NULL ? fj_error_text(err) : fj_code_text(code));
    }
    fj_error_free(err);
    by = fj_sooner(by, fj_in_ms(PAUSE_MS));
    for (;;) {
        unsigned seen = fj__eventcount_read(&s->changed);
        if (atomic_load(&s->closed) || !s->sleep(s, seen, by))
            return;
    }
}
