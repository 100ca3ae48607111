/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#include "alloc.h"

enum { SUB = FJ__HISTOGRAM_SUB, LOW = FJ__HISTOGRAM_LOW, BINS = FJ__HISTOGRAM_BINS };

/* So that the sum of sixteen thousand of them is still one. */
#define LONGEST ((uint64_t)1 << 50)
#define NS_PER_S 1e9

static unsigned bin_of(uint64_t ns)
{
    if (ns < (uint64_t)1 << LOW)
        return (unsigned)(ns >> (LOW - SUB));
    unsigned power = 63u - (unsigned)__builtin_clzll(ns);
    unsigned bin = ((power - LOW + 1) << SUB) + (unsigned)((ns >> (power - SUB)) & ((1u << SUB) - 1));
    return bin < BINS ? bin : BINS - 1;
}

static uint64_t middle_of(unsigned bin)
{
    unsigned row = bin >> SUB;
    unsigned shift = LOW - SUB + (row > 0 ? row - 1 : 0);
    uint64_t first = (uint64_t)((bin & ((1u << SUB) - 1)) + (row > 0 ? 1u << SUB : 0)) << shift;

    return first + ((uint64_t)1 << shift) / 2;
}

static void raise_to(_Atomic uint64_t *at, uint64_t to)
{
    uint64_t now = atomic_load_explicit(at, memory_order_relaxed);

    while (now < to &&
           !atomic_compare_exchange_weak_explicit(at, &now, to, memory_order_relaxed, memory_order_relaxed))
        ;
}

void fj__histogram_add(fj__histogram *h, int64_t ns)
{
    uint64_t v = ns > 0 ? (uint64_t)ns : 0;

    if (v > LONGEST)
        v = LONGEST;
    raise_to(&h->most, v);
    raise_to(&h->under, UINT64_MAX - v);
    atomic_fetch_add_explicit(&h->sum, v, memory_order_relaxed);
    /* last: who sees it here sees the rest, too */
    atomic_fetch_add_explicit(&h->bins[bin_of(v)], 1, memory_order_release);
}

void fj__histogram_look(const fj__histogram *h, fj__histogram_view *ret)
{
    ret->count = 0;
    for (unsigned i = 0; i < BINS; i++) {
        ret->bins[i] = atomic_load_explicit(&h->bins[i], memory_order_acquire);
        ret->count += ret->bins[i];
    }
    ret->least = ret->most = 0;
    ret->mean = 0;
    if (ret->count == 0)
        return;
    ret->most = atomic_load_explicit(&h->most, memory_order_relaxed);
    ret->least = UINT64_MAX - atomic_load_explicit(&h->under, memory_order_relaxed);
    ret->mean = (double)atomic_load_explicit(&h->sum, memory_order_relaxed) / (double)ret->count;
    if (ret->mean > (double)ret->most) /* one was just being added */
        ret->mean = (double)ret->most;
}

uint64_t fj__histogram_at(const fj__histogram_view *v, unsigned per_mille)
{
    uint64_t rank = (v->count * per_mille + 999) / 1000, seen = 0;
    unsigned bin = 0;

    if (v->count == 0)
        return 0;
    if (rank == 0)
        rank = 1;
    while (bin < BINS - 1 && (seen += v->bins[bin]) < rank)
        bin++;
    uint64_t ns = bin < BINS - 1 ? middle_of(bin) : v->most; /* the last has no end */
    return ns < v->least ? v->least : ns > v->most ? v->most : ns;
}

uint64_t fj__histogram_below(const fj__histogram_view *v, uint64_t ns)
{
    uint64_t seen = 0;

    for (unsigned bin = 0; bin < BINS && middle_of(bin) < ns; bin++)
        seen += v->bins[bin];
    return seen;
}

static bool put(json_t *into, const char *key, const fj__histogram_view *v, double ns)
{
    return json_object_set_new(into, key, v->count > 0 ? json_real(ns / NS_PER_S) : json_null()) == 0;
}

static bool put_at(json_t *into, const char *key, const fj__histogram_view *v, unsigned per_mille)
{
    return put(into, key, v, (double)fj__histogram_at(v, per_mille));
}

json_t *fj__histogram_json(const fj__histogram *h)
{
    fj__histogram_view *v = fj__alloc(sizeof *v); /* too large for a small stack */
    json_t *made = v != NULL ? json_object() : NULL;

    if (made == NULL)
        goto out;
    fj__histogram_look(h, v);
    if (json_object_set_new(made, "count", json_integer((json_int_t)v->count)) != 0 ||
        !put(made, "mean", v, v->mean) || !put(made, "min", v, (double)v->least) ||
        !put(made, "max", v, (double)v->most) || !put_at(made, "p50", v, 500) || !put_at(made, "p99", v, 990) ||
        !put_at(made, "p99.9", v, 999)) {
        json_decref(made);
        made = NULL;
    }
out:
    fj__free(v);
    return made;
}
