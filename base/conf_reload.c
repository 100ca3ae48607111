/* SPDX-License-Identifier: Apache-2.0 */
/* Reading again what a configuration was read from, while others read it.  A new state is made beside the present one and takes its
 * place in one store; the one before stays until the configuration is freed, for what it lent may still be in use. */
#include "base/alloc.h"
#include "base/conf_state.h"

#include <string.h>

static fj_code no_memory(fj_error **err)
{
    return fj_fail(err, FJ_NOMEM, "out of memory");
}

/* The entries of a text that came from memory. */
static bool copy_source(const fj__state *from, uint32_t source, fj__state *into)
{
    bool ok = true;

    for (size_t i = 0; ok && i < from->n; i++) {
        const fj__entry *e = &from->entries[i];
        if (e->file == FJ__CONF_SET || e->source != source)
            continue;
        ok = fj__state_copy_entry(into, e);
        if (ok)
            into->entries[into->n - 1].file = into->files;
    }
    into->files++;
    return ok;
}

static fj_code read_all(const fj_conf *c, const fj__state *old, fj__state *fresh, fj_error **err)
{
    fj_code rc = FJ_OK;
    bool ok = true;

    for (size_t i = 0; ok && rc == FJ_OK && i < c->source_count; i++) {
        if (c->sources[i] != NULL)
            rc = fj__state_read(fresh, c->sources[i], (uint32_t)i, NULL, NULL, err);
        else
            ok = copy_source(old, (uint32_t)i, fresh);
    }
    for (size_t i = 0; ok && rc == FJ_OK && i < old->n; i++)
        if (old->entries[i].file == FJ__CONF_SET)
            ok = fj__state_copy_entry(fresh, &old->entries[i]);
    return ok ? rc : no_memory(err);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_value(const fj__value *a, const fj__value *b)
{
    size_t i = 0;

    if (!same_text(a->text, b->text) || (a->items == NULL) != (b->items == NULL))
        return false;
    for (; a->items != NULL && a->items[i] != NULL && b->items[i] != NULL; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return a->items == NULL || a->items[i] == b->items[i]; /* both ended */
}

static bool same_entries(const fj__state *a, const fj__state *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = strcmp(a->entries[i].key, b->entries[i].key) == 0 &&
               strcmp(a->entries[i].group, b->entries[i].group) == 0 &&
               strcmp(a->entries[i].value, b->entries[i].value) == 0 &&
               strcmp(a->entries[i].origin, b->entries[i].origin) == 0;
    return same;
}

static bool copy_value(const fj__value *from, fj__value *into)
{
    size_t n = 0;
    fj__value v = { .text = fj__strdup(from->text),
                    .origin = fj__strdup(from->origin),
                    .older = fj__strdup(from->older) };
    bool ok = (v.text != NULL) == (from->text != NULL) && v.origin != NULL &&
              (v.older != NULL) == (from->older != NULL);

    while (from->items != NULL && from->items[n] != NULL)
        n++;
    if (from->items != NULL)
        v.items = fj__zalloc((n + 1) * sizeof *v.items);
    ok = ok && (v.items != NULL) == (from->items != NULL);
    for (size_t i = 0; ok && i < n; i++)
        ok = (v.items[i] = fj__strdup(from->items[i])) != NULL;
    fj__value_fini(ok ? into : &v);
    if (ok)
        *into = v;
    return ok;
}

/* What each option's change means. */
typedef enum { UNCHANGED, TAKEN, WAITS } change;

/* Options that are read once keep what they have.  @param ret_changes  one for each option */
static bool keep_fixed(const fj__state *old, fj__state *fresh, change *ret_changes)
{
    bool ok = true;

    for (size_t i = 0; ok && i < fj__option_count(); i++) {
        const fj__option *o = fj__option_at(i);
        if (same_value(&old->values[i], &fresh->values[i]))
            continue;
        if (o->effect == FJ__RELOADS)
            ret_changes[i] = TAKEN;
        else if (o->effect == FJ__FIXED) {
            ret_changes[i] = WAITS;
            ok = copy_value(&old->values[i], &fresh->values[i]);
        }
    }
    return ok;
}

fj_code fj_conf_reload(fj_conf *c, fj_conf_changed changed, void *user, fj_error **err)
{
    fj__state *old = fj__conf_now(c), *fresh = fj__state_new();
    change *changes = fj__zalloc(fj__option_count() * sizeof *changes);
    fj_code rc = fresh != NULL && changes != NULL ? FJ_OK : no_memory(err);

    if (rc == FJ_OK)
        rc = read_all(c, old, fresh, err);
    if (rc == FJ_OK)
        rc = fj__state_refresh(fresh, err);
    if (rc == FJ_OK && !keep_fixed(old, fresh, changes))
        rc = no_memory(err);
    /* the environment is part of the values, and may have changed without any file */
    bool differs = rc == FJ_OK && !same_entries(old, fresh);
    for (size_t i = 0; rc == FJ_OK && !differs && i < fj__option_count(); i++)
        differs = changes[i] == TAKEN;
    if (differs) {
        fresh->before = old;
        atomic_store_explicit(&c->now, fresh, memory_order_release);
        fresh = NULL;
    }
    for (size_t i = 0; rc == FJ_OK && changed != NULL && i < fj__option_count(); i++)
        if (changes[i] != UNCHANGED)
            changed(user, fj__option_at(i)->group, fj__option_at(i)->name, changes[i] == TAKEN);
    fj__free(changes);
    fj__state_free(fresh);
    return rc;
}
