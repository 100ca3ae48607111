/* SPDX-License-Identifier: Apache-2.0 */
/* Futures made of futures: one that follows another, and one of all results. */
#include "base/alloc.h"
#include "runtime/future_impl.h"

#include <fjord/await.h>

/* ---- shield ------------------------------------------------------------------------------------ */

static void follow(fj_future *inner, void *user)
{
    fj_future *outer = user;

    atomic_store_explicit(&inner->asked, true, memory_order_relaxed);
    fj__future_follow(outer, inner);
    (void)fj_future_unref(outer);
}

fj_code fj_shield(fj_future *inner, fj_future **ret, fj_error **err)
{
    fj_future *outer = NULL;

    if (fj_future_new(NULL, NULL, &outer) != FJ_OK)
        return fj_fail(err, FJ_NOMEM, "no memory for a future");
    fj_code code = fj_future_then(inner, follow, fj_future_ref(outer));
    if (code != FJ_OK) {
        (void)fj_future_unref(outer);
        (void)fj_future_unref(outer);
        return fj_fail(err, code, "no memory to shield a future");
    }
    *ret = outer;
    return FJ_OK;
}

/* ---- gather ------------------------------------------------------------------------------------ */

typedef struct {
    fj_future future; /* first: each child that is not complete has a reference */
    bool errors_too;
    atomic_bool cancelled;
    atomic_size_t left;
    size_t n;
    fj_future *children[];
} gathered;

static bool cancel_gathered(fj_future *f)
{
    gathered *g = (gathered *)f;

    if (fj_future_done(f))
        return false;
    (void)fj_future_ref(f);
    atomic_store(&g->cancelled, true);
    for (size_t i = 0; i < g->n; i++)
        (void)fj_future_cancel(g->children[i]);
    (void)fj_future_unref(f);
    return true;
}

static void free_gathered(fj_future *f)
{
    gathered *g = (gathered *)f;

    for (size_t i = 0; i < g->n; i++)
        (void)fj_future_unref(g->children[i]);
    fj__future_fini(f);
    fj__free(g);
}

static const fj__future_kind gathered_kind = { .cancel = cancel_gathered, .free = free_gathered };

static void fail(gathered *g, fj_code code, const char *text)
{
    fj_error *error = NULL;

    (void)fj_fail(&error, code, "%s", text);
    (void)fj_future_reject(&g->future, error);
}

static void all_there(gathered *g)
{
    if (atomic_load(&g->cancelled)) {
        fail(g, FJ_CANCELLED, "the caller gave up");
        return;
    }
    json_t *results = json_array();
    bool ok = results != NULL;
    for (size_t i = 0; ok && i < g->n; i++) {
        json_t *one = NULL;
        if (fj_future_result(g->children[i], &one, NULL) != FJ_OK)
            one = json_null();
        ok = json_array_append_new(results, one) == 0;
    }
    if (ok) {
        (void)fj_future_resolve(&g->future, results);
        return;
    }
    json_decref(results);
    fail(g, FJ_NOMEM, "no memory for the results");
}

static void child_done(fj_future *child, void *user)
{
    gathered *g = user;

    /* Of several errors the first is told, and the others need not be: who gathers has asked for all. */
    atomic_store_explicit(&child->asked, true, memory_order_relaxed);
    if (child->error != NULL && !g->errors_too && !atomic_load(&g->cancelled) && !fj_future_done(&g->future))
        fj__future_follow(&g->future, child);
    if (atomic_fetch_sub(&g->left, 1) == 1 && !fj_future_done(&g->future))
        all_there(g);
    (void)fj_future_unref(&g->future);
}

/* Not all could be watched: it is over, and so will be those call-backs that come. */
static fj_code give_up(gathered *g, size_t watched, fj_error **err)
{
    for (size_t i = 0; i < watched; i++) {
        if (fj__future_forget(g->children[i], child_done, g))
            (void)fj_future_unref(&g->future);
    }
    (void)fj_future_unref(&g->future); /* of the call-back that was refused */
    (void)fj_future_unref(&g->future);
    return fj_fail(err, FJ_NOMEM, "no memory to gather futures");
}

fj_code fj_gather(fj_future *const *futures, size_t n, unsigned flags, fj_future **ret, fj_error **err)
{
    gathered *g =
        n <= SIZE_MAX / 2 / sizeof *g->children ? fj__alloc(sizeof *g + n * sizeof *g->children) : NULL;

    if (g == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to gather %zu futures", n);
    fj__future_init(&g->future, &gathered_kind, NULL, NULL);
    g->errors_too = (flags & FJ_GATHER_ERRORS) != 0;
    g->n = n;
    atomic_init(&g->cancelled, false);
    atomic_init(&g->left, n + 1); /* one is ours: nothing completes before all are watched */
    for (size_t i = 0; i < n; i++)
        g->children[i] = fj_future_ref(futures[i]);
    for (size_t i = 0; i < n; i++) {
        (void)fj_future_ref(&g->future);
        if (fj_future_then(g->children[i], child_done, g) != FJ_OK)
            return give_up(g, i, err);
    }
    if (atomic_fetch_sub(&g->left, 1) == 1 && !fj_future_done(&g->future))
        all_there(g);
    *ret = &g->future;
    return FJ_OK;
}
