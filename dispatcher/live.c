/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/live.h"

#include "base/alloc.h"
#include "base/text.h"
#include "runtime/sync.h"

#include <fjord/clock.h>

enum { AT_ONCE = 16, MOST = 1000 };
enum { FREE, HELD, WANTED }; /* the lock; WANTED: and somebody sleeps for it */

/* What is told of a request, copied while it is sure to be there. */
struct seen {
    char id[64], method[128], ns[128];
    bool call, has_ns;
    fj_flavour flavour;
    const char *state;
    int64_t arrived_ns, started_ns;
};

void fj__live_init(fj__live *l)
{
    atomic_init(&l->lock, FREE);
    l->first.next = l->first.before = &l->first;
}

/* A mutex of one word: pthread's takes five times the instructions, and each request takes this twice. */
static void lock(fj__live *l)
{
    unsigned was = FREE;

    if (atomic_compare_exchange_strong_explicit(&l->lock, &was, HELD, memory_order_acquire,
                                                memory_order_relaxed))
        return;
    while (atomic_exchange_explicit(&l->lock, WANTED, memory_order_acquire) != FREE)
        (void)fj__futex_wait(&l->lock, WANTED, fj_never());
}

static void unlock(fj__live *l)
{
    if (atomic_exchange_explicit(&l->lock, FREE, memory_order_release) == WANTED)
        fj__futex_wake(&l->lock, 1);
}

/* ---- the ring -------------------------------------------------------------------------------------- */

static void put_before(fj__live_link *at, fj__live_link *link)
{
    link->next = at;
    link->before = at->before;
    at->before->next = link;
    at->before = link;
}

static void take_out(fj__live_link *link)
{
    link->before->next = link->next;
    link->next->before = link->before;
}

void fj__live_add(fj__live *l, fj_request *req)
{
    lock(l);
    put_before(&l->first, &req->live);
    unlock(l);
}

void fj__live_remove(fj__live *l, fj_request *req)
{
    lock(l);
    take_out(&req->live);
    unlock(l);
}

/* ---- looking --------------------------------------------------------------------------------------- */

static const char *state_of(fj_request *req)
{
    bool returned = atomic_load(&req->parts_left) < 2;

    if (atomic_load(&req->claimed))
        return "answered"; /* and its method is still there */
    if (atomic_load(&req->started_ns) == 0)
        return "queued";
    return returned ? "deferred" : "running";
}

/* @locks needs the ring's */
static void see(fj_request *req, struct seen *ret)
{
    const char *ns = fj_request_ns(req);

    fj__text_cut(ret->id, sizeof ret->id, req->in->id);
    fj__text_cut(ret->method, sizeof ret->method, fj_request_method(req));
    fj__text_cut(ret->ns, sizeof ret->ns, ns);
    ret->has_ns = ns != NULL;
    ret->call = req->wants_reply;
    ret->flavour = req->method->flavour;
    ret->state = state_of(req);
    ret->arrived_ns = req->arrived_ns;
    ret->started_ns = atomic_load(&req->started_ns);
}

static bool put(json_t *into, const char *key, json_t *value)
{
    return json_object_set_new(into, key, value) == 0;
}

static json_t *since(int64_t ns, int64_t now)
{
    return ns != 0 ? json_real(now > ns ? (double)(now - ns) / 1e9 : 0.0) : json_null();
}

static json_t *tell(const struct seen *s, const char *server, int64_t now)
{
    const char *flavour = s->flavour == FJ_CORO ? "coro" : s->flavour == FJ_GREEN ? "green" : "plain";
    json_t *made = json_object();

    if (made != NULL && put(made, "side", json_string("server")) && put(made, "server", json_string(server)) &&
        put(made, "id", s->id[0] != '\0' ? json_string(s->id) : json_null()) &&
        put(made, "method", json_string(s->method)) &&
        put(made, "namespace", s->has_ns ? json_string(s->ns) : json_null()) &&
        put(made, "kind", json_string(s->call ? "call" : "cast")) &&
        put(made, "flavour", json_string(flavour)) && put(made, "state", json_string(s->state)) &&
        put(made, "age", since(s->arrived_ns, now)) && put(made, "running", since(s->started_ns, now)))
        return made;
    json_decref(made);
    return NULL;
}

/* Up to AT_ONCE requests behind @p mark, which moves behind them.  @return how many */
static size_t see_some(fj__live *l, fj__live_link *mark, struct seen *seen)
{
    size_t n = 0;

    lock(l);
    fj__live_link *at = mark->next;
    for (; at != &l->first && n < AT_ONCE; at = at->next) {
        if (at->req != NULL) /* another's mark */
            see(at->req, &seen[n++]);
    }
    take_out(mark);
    put_before(at, mark);
    unlock(l);
    return n;
}

json_t *fj__dispatcher_calls(fj_dispatcher *d, const char *server)
{
    fj__live *l = fj__dispatcher_live(d);
    fj__live_link mark = { .req = NULL };
    struct seen *seen = fj__alloc(AT_ONCE * sizeof *seen);
    json_t *all = json_array();
    int64_t now = fj_now().ns;
    bool whole = seen != NULL && all != NULL;
    size_t n, told = 0;

    lock(l);
    put_before(l->first.next, &mark);
    unlock(l);
    while (whole && told < MOST && (n = see_some(l, &mark, seen)) > 0) {
        for (size_t i = 0; i < n && whole; i++)
            whole = json_array_append_new(all, tell(&seen[i], server, now)) == 0;
        told += n;
    }
    lock(l);
    take_out(&mark);
    unlock(l);
    fj__free(seen);
    if (!whole) {
        json_decref(all);
        all = NULL;
    }
    return all;
}
