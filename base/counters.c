/* SPDX-License-Identifier: Apache-2.0 */
#include "counters.h"

#include "alloc.h"

#include <string.h>

enum { BUCKETS = 256, RECENT = 32, LONGEST_NAME = 255 };

static const char other[] = "(other)";

struct fj__counters {
    atomic_uint refs;
    fj__side side;
    atomic_uint names;
    _Atomic(fj__counted *) other;
    _Atomic(fj__counted *) buckets[BUCKETS]; /* rows are put in front and never taken out */
    _Atomic(fj__counted *) recent[RECENT];   /* by where the name stands: most are literals */
};

fj__counters *fj__counters_new(fj__side side)
{
    fj__counters *t = fj__zalloc(sizeof *t);

    if (t == NULL)
        return NULL;
    atomic_init(&t->refs, 1);
    t->side = side;
    return t;
}

fj__counters *fj__counters_ref(fj__counters *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void fj__counters_unref(fj__counters *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (fj__counted *row = atomic_load(&t->buckets[i]), *next; row != NULL; row = next) {
            next = row->next;
            fj__free(row);
        }
    }
    fj__free(atomic_load(&t->other));
    fj__free(t);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

/* FNV-1a, 32 bits. */
static uint32_t hash_on(uint32_t h, const char *text)
{
    for (; *text != '\0'; text++)
        h = (h ^ (uint8_t)*text) * 0x01000193u;
    return h;
}

static uint32_t hash_of(const char *topic, const char *method)
{
    uint32_t h = hash_on(0x811c9dc5u, method);

    return topic != NULL ? hash_on(h * 31, topic) : h;
}

/* A row and all that is its own, in one piece. */
static fj__counted *row_new(const fj__counters *t, const char *topic, const char *method, uint32_t hash)
{
    size_t waits = t->side == FJ__SIDE_SERVER ? sizeof(fj__histogram) : 0;
    size_t n = strlen(method) + 1, m = topic != NULL ? strlen(topic) + 1 : 0;
    fj__counted *row = fj__zalloc(sizeof *row + waits + n + m);

    if (row == NULL)
        return NULL;
    char *rest = (char *)(row + 1);
    row->hash = hash;
    row->wait = waits != 0 ? (fj__histogram *)(void *)rest : NULL;
    row->method = memcpy(rest + waits, method, n);
    row->topic = m != 0 ? memcpy(rest + waits + n, topic, m) : NULL;
    return row;
}

static bool is_of(const fj__counted *row, const char *topic, const char *method)
{
    return strcmp(row->method, method) == 0 && (topic == NULL || strcmp(row->topic, topic) == 0);
}

static fj__counted *find(fj__counted *row, const char *topic, const char *method, uint32_t hash)
{
    for (; row != NULL; row = row->next) {
        if (row->hash == hash && is_of(row, topic, method))
            return row;
    }
    return NULL;
}

static fj__counted *other_row(fj__counters *t)
{
    fj__counted *there = atomic_load_explicit(&t->other, memory_order_acquire);

    if (there != NULL)
        return there;
    fj__counted *row = row_new(t, NULL, other, 0);
    if (row == NULL || atomic_compare_exchange_strong_explicit(&t->other, &there, row, memory_order_acq_rel,
                                                               memory_order_acquire))
        return row;
    fj__free(row); /* another thread was faster */
    return there;
}

/* A name has come for the first time, perhaps to several threads at once. */
static fj__counted *add(fj__counters *t, const char *topic, const char *method, uint32_t hash)
{
    _Atomic(fj__counted *) *bucket = &t->buckets[hash % BUCKETS];
    fj__counted *row = NULL, *first, *there;

    if (strlen(method) > LONGEST_NAME || (topic != NULL && strlen(topic) > LONGEST_NAME))
        return other_row(t);
    if (atomic_fetch_add_explicit(&t->names, 1, memory_order_relaxed) >= FJ__COUNTERS_NAMES ||
        (row = row_new(t, topic, method, hash)) == NULL) {
        atomic_fetch_sub_explicit(&t->names, 1, memory_order_relaxed);
        return other_row(t);
    }
    first = atomic_load_explicit(bucket, memory_order_acquire);
    do {
        there = find(first, topic, method, hash);
        row->next = first;
    } while (there == NULL && !atomic_compare_exchange_weak_explicit(bucket, &first, row, memory_order_acq_rel,
                                                                     memory_order_acquire));
    if (there == NULL)
        return row;
    atomic_fetch_sub_explicit(&t->names, 1, memory_order_relaxed);
    fj__free(row);
    return there;
}

fj__counted *fj__counters_row(fj__counters *t, const char *topic, const char *method)
{
    _Atomic(fj__counted *) *recent = &t->recent[((uintptr_t)method >> 4) % RECENT];
    fj__counted *row = atomic_load_explicit(recent, memory_order_acquire);

    if (row != NULL && is_of(row, topic, method))
        return row;
    uint32_t hash = hash_of(topic, method);
    row = find(atomic_load_explicit(&t->buckets[hash % BUCKETS], memory_order_acquire), topic, method, hash);
    if (row == NULL && (row = add(t, topic, method, hash)) == atomic_load(&t->other))
        return row; /* which is not of that name */
    atomic_store_explicit(recent, row, memory_order_release);
    return row;
}

fj__count fj__count_of(fj_code code, unsigned flags)
{
    if (code == FJ_OK)
        return FJ__COUNT_OK;
    if ((flags & FJ_EXPECTED) != 0)
        return FJ__COUNT_EXPECTED;
    if (code == FJ_CANCELLED || code == FJ_CLOSED)
        return FJ__COUNT_CANCELLED;
    return code == FJ_TIMEOUT ? FJ__COUNT_TIMEOUTS : FJ__COUNT_FAILED;
}

/* ---- as JSON -------------------------------------------------------------------------------------- */

static bool put(json_t *into, const char *key, json_t *value)
{
    return json_object_set_new(into, key, value) == 0;
}

static bool put_names(json_t *into, const fj__counted *row, const char *server)
{
    return put(into, "side", json_string(server != NULL ? "server" : "client")) &&
           (server != NULL ? put(into, "server", json_string(server))
                           : put(into, "topic", row->topic != NULL ? json_string(row->topic) : json_null())) &&
           put(into, "method", json_string(row->method));
}

static bool put_counts(json_t *into, const fj__counted *row, bool server)
{
    static const char *const names[FJ__COUNT_N] = { "calls",     "casts",    "sent",
                                                    "ok",        "failed",   "expected_failures",
                                                    "cancelled", "timeouts", "requeued" };
    uint64_t n[FJ__COUNT_N], ended = 0;
    bool whole = true;

    for (unsigned i = FJ__COUNT_N; i-- > 0;) /* ends first, beginnings last */
        n[i] = atomic_load_explicit(&row->n[i], memory_order_acquire);
    for (unsigned i = 0; i < FJ__COUNT_N && whole; i++) {
        if (i >= FJ__COUNT_OK && i <= FJ__COUNT_TIMEOUTS)
            ended += n[i];
        if (i != (server ? FJ__COUNT_SENT : FJ__COUNT_REQUEUED))
            whole = put(into, names[i], json_integer((json_int_t)n[i]));
    }
    uint64_t begun = n[FJ__COUNT_CALLS] + n[FJ__COUNT_CASTS];
    return whole && put(into, "in_flight", json_integer((json_int_t)(begun - ended)));
}

static json_t *row_json(const fj__counted *row, const char *server)
{
    json_t *made = json_object();

    if (made != NULL && put_names(made, row, server) && put_counts(made, row, server != NULL) &&
        put(made, "latency", fj__histogram_json(&row->latency)) &&
        (row->wait == NULL || put(made, "wait", fj__histogram_json(row->wait))))
        return made;
    json_decref(made);
    return NULL;
}

/* @return false when memory ran out */
static bool tell(json_t *all, const fj__counted *row, const char *server)
{
    return row == NULL || json_array_append_new(all, row_json(row, server)) == 0;
}

json_t *fj__counters_json(fj__counters *t, const char *server)
{
    json_t *all = json_array();
    bool whole = all != NULL;

    for (unsigned i = 0; i < BUCKETS && whole; i++) {
        fj__counted *row = atomic_load_explicit(&t->buckets[i], memory_order_acquire);
        for (; row != NULL && whole; row = row->next)
            whole = tell(all, row, server);
    }
    if (whole && tell(all, atomic_load_explicit(&t->other, memory_order_acquire), server))
        return all;
    json_decref(all);
    return NULL;
}
