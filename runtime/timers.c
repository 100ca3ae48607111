/* SPDX-License-Identifier: Apache-2.0 */
#include "timers.h"

#include "base/alloc.h"

static void put(fj__timers *ts, size_t i, fj__timer *t)
{
    ts->heap[i] = t;
    t->place = i + 1;
}

static bool before(const fj__timer *a, const fj__timer *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void up(fj__timers *ts, size_t i, fj__timer *t)
{
    while (i != 0 && before(t, ts->heap[(i - 1) / 2])) {
        put(ts, i, ts->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(ts, i, t);
}

static void down(fj__timers *ts, size_t i, fj__timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= ts->n)
            break;
        if (child + 1 < ts->n && before(ts->heap[child + 1], ts->heap[child]))
            child++;
        if (!before(ts->heap[child], t))
            break;
        put(ts, i, ts->heap[child]);
        i = child;
    }
    put(ts, i, t);
}

void fj__timer_cancel(fj__timers *ts, fj__timer *t)
{
    if (t->place == 0)
        return;
    size_t i = t->place - 1;
    fj__timer *moved = ts->heap[--ts->n];
    t->place = 0;
    if (moved == t)
        return;
    if (i != 0 && before(moved, ts->heap[(i - 1) / 2]))
        up(ts, i, moved);
    else
        down(ts, i, moved);
}

bool fj__timer_set(fj__timers *ts, fj__timer *t, fj_deadline at)
{
    fj__timer_cancel(ts, t);
    fj__timer **heap = fj__grow(ts->heap, &ts->capacity, ts->n + 1, sizeof(fj__timer *));
    if (heap == NULL)
        return false;
    ts->heap = heap;
    t->at = ts->running && at.ns <= ts->now ? ts->now + 1 : at.ns; /* behind all that this turn runs */
    t->order = ts->set++;
    up(ts, ts->n++, t);
    return true;
}

fj_deadline fj__timers_next(const fj__timers *ts)
{
    return ts->n != 0 ? (fj_deadline){ ts->heap[0]->at } : fj_never();
}

void fj__timers_run(fj__timers *ts, fj_deadline now)
{
    ts->now = now.ns;
    ts->running = true;
    while (ts->n != 0 && ts->heap[0]->at <= now.ns) {
        fj__timer *t = ts->heap[0];
        fj__timer_cancel(ts, t);
        t->fn(t, now);
    }
    ts->running = false;
}

void fj__timers_fini(fj__timers *ts)
{
    fj__free(ts->heap);
    *ts = (fj__timers){ 0 };
}
