/* SPDX-License-Identifier: Apache-2.0 */
/* What is told to who looks into the process. */
#include "fake.h"

#include "base/alloc.h"
#include "runtime/sync.h"

#include <string.h>

enum { MOST = 1000 };

static bool put(json_t *into, const char *key, json_t *value)
{
    return json_object_set_new(into, key, value) == 0;
}

static json_t *count(size_t n)
{
    return json_integer((json_int_t)n);
}

/* ---- queues ---------------------------------------------------------------------------------------- */

/* By its name: NAME, NAME.SERVER, NAME_fanout_32HEX. */
static const char *role_of(const char *name)
{
    return strstr(name, "_fanout_") != NULL ? "fanout" : strchr(name, '.') != NULL ? "server" : "topic";
}

static json_t *tell_queue(const fj__fake_seen *q)
{
    json_t *made = json_object();

    if (made != NULL && put(made, "name", json_string(q->name)) &&
        put(made, "transport", json_string("fake")) && put(made, "role", json_string(role_of(q->name))) &&
        put(made, "waiting", count(q->waiting)) && put(made, "in_hand", count(q->in_hand)) &&
        put(made, "capacity", count(q->capacity)) && put(made, "consumers", count(q->consumers)))
        return made;
    json_decref(made);
    return NULL;
}

/* One broker a process: the first driver tells of it. */
static json_t *queues_of(const fj__fake_driver_s *d)
{
    json_t *all = json_array();

    fj__fake_lock();
    bool first = fj__fake_is_first(d);
    size_t n = first ? fj__fake_queues(0, NULL) : 0, max = n < MOST ? n : MOST;
    fj__fake_unlock();
    fj__fake_seen *seen = fj__zalloc((max + 1) * sizeof *seen);
    if (seen == NULL)
        max = 0;
    fj__fake_lock();
    n = max > 0 ? fj__fake_queues(max, seen) : 0;
    fj__fake_unlock();
    for (size_t i = 0; i < n && i < max; i++)
        (void)json_array_append_new(all, tell_queue(&seen[i]));
    fj__free(seen);
    return all;
}

/* ---- calls ----------------------------------------------------------------------------------------- */

static json_t *seconds_to(fj_deadline at, fj_deadline now)
{
    return fj_is_never(at) ? json_null() : json_real((double)(at.ns - now.ns) / 1e9);
}

static json_t *text(const char *from)
{
    return from != NULL ? json_string(from) : json_null();
}

static json_t *tell_call(const fj__fake_call *call, fj_deadline now)
{
    json_t *made = json_object();

    if (made != NULL && put(made, "side", json_string("client")) && put(made, "id", json_string(call->id)) &&
        put(made, "method", text(call->method)) && put(made, "target", text(call->topic)) &&
        put(made, "kind", json_string("call")) && put(made, "state", json_string("waiting")) &&
        put(made, "age",
            call->began.ns != 0 ? json_real((double)(now.ns - call->began.ns) / 1e9) : json_null()) &&
        put(made, "deadline_in", seconds_to(call->by, now)) && put(made, "sent", json_string("yes")))
        return made;
    json_decref(made);
    return NULL;
}

static json_t *calls_of(fj__fake_driver_s *d)
{
    const fj__fake_call **calls = fj__alloc(MOST * sizeof *calls);
    json_t *all = json_array();
    fj_deadline now = fj_now();
    size_t n = 0;

    fj__fake_lock();
    if (calls != NULL)
        n = fj__fake_calls(d, MOST, calls);
    for (size_t i = 0; i < n && i < MOST; i++) /* held, and so never freed */
        (void)fj__fake_call_ref((fj__fake_call *)(uintptr_t)calls[i]);
    fj__fake_unlock();
    for (size_t i = 0; i < n && i < MOST; i++) {
        (void)json_array_append_new(all, tell_call(calls[i], now));
        fj__fake_call_unref((fj__fake_call *)(uintptr_t)calls[i]);
    }
    fj__free(calls);
    return all;
}

json_t *fj__fake_inspect(fj_driver *driver, const char *kind, fj_deadline by)
{
    fj__fake_driver_s *d = fj__container(driver, fj__fake_driver_s, base);

    (void)by; /* its lock is never held for long */
    if (strcmp(kind, "queue") == 0)
        return queues_of(d);
    return strcmp(kind, "call") == 0 ? calls_of(d) : NULL;
}
