/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/stats.h"
#include "base/alloc.h"
#include <string.h>
#include <time.h>

#define NS_PER_S 1e9

double bench_time(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / NS_PER_S;
}

bool bench_group_init(bench_group *g, const char *label, size_t count, bool keep)
{
    memset(g, 0, sizeof *g);
    g->label = label;
    g->keep = keep;
    g->series = fj__zalloc(count * sizeof *g->series);
    if (g->series == NULL)
        return false;
    g->count = count;
    for (size_t i = 0; i < count; i++)
        (void)pthread_mutex_init(&g->series[i].lock, NULL);
    return true;
}

void bench_group_fini(bench_group *g)
{
    for (size_t i = 0; i < g->count; i++) {
        (void)pthread_mutex_destroy(&g->series[i].lock);
        fj__free(g->series[i].past);
    }
    fj__free(g->series);
    g->series = NULL;
    g->count = 0;
}

/* ---- adding ------------------------------------------------------------------------------------- */

static void add(bench_point *into, const bench_point *p)
{
    into->count += p->count;
    into->size += p->size;
    if (p->timed == 0)
        return;
    if (into->timed == 0 || p->least < into->least)
        into->least = p->least;
    if (into->timed == 0 || p->most > into->most)
        into->most = p->most;
    into->timed += p->timed;
    into->sum += p->sum;
}

void bench_push(bench_group *g, size_t i, const bench_one *one)
{
    const bench_point p = { 0, 1, one->size, one->timed ? 1 : 0, one->took, one->took, one->took };
    bench_series *s = &g->series[i];

    (void)pthread_mutex_lock(&s->lock);
    if ((s->total.count == 0 && s->now.count == 0) || one->began < s->first)
        s->first = one->began;
    if (one->ended > s->last)
        s->last = one->ended;
    add(&s->now, &p);
    (void)pthread_mutex_unlock(&s->lock);
    if (one->timed)
        fj__histogram_add(&g->took, one->took);
}

/* The second's point is kept; where there is no memory for it, it is part of the next one. */
static void end_second(bench_series *s, bool keep, double at)
{
    bench_point *grown = keep ? fj__grow(s->past, &s->room, s->count + 1, sizeof *s->past) : NULL;

    if (grown == NULL && keep)
        return;
    s->now.at = at;
    if (keep) {
        s->past = grown;
        s->past[s->count++] = s->now;
    }
    add(&s->total, &s->now);
    s->now = (bench_point){ 0 };
}

bench_point bench_tick(bench_group *g, double at)
{
    bench_point all = { .at = at };

    for (size_t i = 0; i < g->count; i++) {
        bench_series *s = &g->series[i];
        (void)pthread_mutex_lock(&s->lock);
        add(&all, &s->now);
        end_second(s, g->keep, at);
        (void)pthread_mutex_unlock(&s->lock);
    }
    return all;
}

/* ---- results ------------------------------------------------------------------------------------ */

bench_point bench_total(bench_group *g, double *ret_start, double *ret_seconds)
{
    bench_point all = { 0 };
    double first = 0, last = 0;

    for (size_t i = 0; i < g->count; i++) {
        bench_series *s = &g->series[i];
        (void)pthread_mutex_lock(&s->lock);
        if (s->total.count + s->now.count > 0 && (all.count == 0 || s->first < first))
            first = s->first;
        if (s->last > last)
            last = s->last;
        add(&all, &s->total);
        add(&all, &s->now);
        (void)pthread_mutex_unlock(&s->lock);
    }
    *ret_start = first;
    *ret_seconds = last > first ? last - first : 0;
    return all;
}

static bool put(json_t *into, const char *key, double value)
{
    return json_object_set_new(into, key, json_real(value)) == 0;
}

static bool put_count(json_t *into, const char *key, uint64_t value)
{
    return json_object_set_new(into, key, json_integer((json_int_t)value)) == 0;
}

static bool put_latency(json_t *into, const bench_point *p)
{
    return p->timed == 0 || (put(into, "latency", (double)p->sum / (double)p->timed / NS_PER_S) &&
                             put(into, "min_latency", (double)p->least / NS_PER_S) &&
                             put(into, "max_latency", (double)p->most / NS_PER_S));
}

static json_t *point_json(const bench_point *p, size_t seq)
{
    json_t *made = json_object();

    if (made != NULL && put_count(made, "seq", seq) && put(made, "timestamp", p->at) &&
        put_count(made, "count", p->count) && put_count(made, "size", p->size) && put_latency(made, p))
        return made;
    json_decref(made);
    return NULL;
}

json_t *bench_series_json(bench_group *g, size_t i)
{
    bench_series *s = &g->series[i];
    json_t *made = json_array();
    bool done = made != NULL;

    (void)pthread_mutex_lock(&s->lock);
    for (size_t at = 0; done && at < s->count; at++)
        done = json_array_append_new(made, point_json(&s->past[at], at)) == 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (done)
        return made;
    json_decref(made);
    return NULL;
}

static bool put_rates(json_t *into, const bench_point *p, double start, double seconds)
{
    bool some = seconds > 0;

    return put_count(into, "count", p->count) && put_count(into, "size", p->size) &&
           put(into, "duration", seconds) && put(into, "count_p_s", some ? (double)p->count / seconds : 0) &&
           put(into, "size_p_s", some ? (double)p->size / seconds : 0) &&
           (p->count == 0 || (put(into, "start", start) && put(into, "end", start + seconds)));
}

static bool put_percentiles(json_t *into, const fj__histogram_view *v)
{
    return v->count == 0 || (put(into, "p50", (double)fj__histogram_at(v, 500) / NS_PER_S) &&
                             put(into, "p99", (double)fj__histogram_at(v, 990) / NS_PER_S) &&
                             put(into, "p99.9", (double)fj__histogram_at(v, 999) / NS_PER_S));
}

json_t *bench_summary(bench_group *g)
{
    fj__histogram_view *v = fj__alloc(sizeof *v); /* too large for a small stack */
    json_t *made = v != NULL ? json_object() : NULL;
    double start, seconds;
    bench_point all = bench_total(g, &start, &seconds);

    if (made != NULL) {
        fj__histogram_look(&g->took, v);
        if (!put_rates(made, &all, start, seconds) || !put_latency(made, &all) || !put_percentiles(made, v)) {
            json_decref(made);
            made = NULL;
        }
    }
    fj__free(v);
    return made;
}
