/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations: entries in the order they were read, and the values that follow from them.  The values are made whole
 * after each change, so that reading needs no lock.
 */
#include <fjord/conf.h>

#include "base/alloc.h"
#include "base/conf_state.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static fj_code no_memory(fj_error **err)
{
    return fj_fail(err, FJ_NOMEM, "out of memory");
}

/* ---- states ------------------------------------------------------------------------------------------------- */

fj__state *fj__conf_now(const fj_conf *c)
{
    return atomic_load_explicit(&c->now, memory_order_acquire);
}

static void entry_fini(fj__entry *e)
{
    fj__free(e->group);
    fj__free(e->key);
    if (e->value != NULL)
        explicit_bzero(e->value, strlen(e->value)); /* it may hold a password */
    fj__free(e->value);
    fj__free(e->origin);
}

static bool add(fj__state *s, const fj__entry *like)
{
    fj__entry *grown = fj__grow(s->entries, &s->room, s->n + 1, sizeof *grown);

    if (grown == NULL)
        return false;
    s->entries = grown;
    fj__entry e = { fj__strdup(like->group),
                    fj__strdup(like->key),
                    fj__strdup(like->value),
                    fj__strdup(like->origin),
                    like->file,
                    like->source };
    if (!e.group || !e.key || !e.value || !e.origin) {
        entry_fini(&e);
        return false;
    }
    grown[s->n++] = e;
    return true;
}

bool fj__state_add(fj__state *s, const char *group, const char *key, const char *value, const char *origin,
                   uint32_t source)
{
    fj__entry like = { .file = s->files, .source = source };

    like.group = (char *)(uintptr_t)group; /* only read */
    like.key = (char *)(uintptr_t)key;
    like.value = (char *)(uintptr_t)value;
    like.origin = (char *)(uintptr_t)origin;
    return add(s, &like);
}

bool fj__state_copy_entry(fj__state *s, const fj__entry *e)
{
    return add(s, e);
}

void fj__state_truncate(fj__state *s, size_t n)
{
    while (s->n > n)
        entry_fini(&s->entries[--s->n]);
}

fj__state *fj__state_new(void)
{
    return fj__zalloc(sizeof(fj__state));
}

fj__state *fj__state_free(fj__state *s)
{
    while (s != NULL) {
        fj__state *before = s->before;
        fj__state_truncate(s, 0);
        fj__free(s->entries);
        for (size_t i = 0; s->values != NULL && i < fj__option_count(); i++)
            fj__value_fini(&s->values[i]);
        fj__free(s->values);
        fj__free(s);
        s = before;
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------------- */

static bool add_source(fj_conf *c, const char *path)
{
    char **grown = fj__grow(c->sources, &c->source_room, c->source_count + 1, sizeof *grown);

    if (grown == NULL)
        return false;
    c->sources = grown;
    grown[c->source_count] = fj__strdup(path);
    if (path != NULL && grown[c->source_count] == NULL)
        return false;
    c->source_count++;
    return true;
}

fj_conf *fj__conf_bare(fj_error **err)
{
    fj_conf *c = fj__zalloc(sizeof *c);
    fj__state *s = fj__state_new();

    if (c == NULL || s == NULL) {
        fj__free(c);
        fj__free(s);
        (void)no_memory(err);
        return NULL;
    }
    atomic_init(&c->now, s);
    return c;
}

fj_conf *fj_conf_new(void)
{
    fj_error *why = NULL;
    fj_conf *c = fj__conf_bare(&why);

    if (c != NULL && fj__state_refresh(fj__conf_now(c), &why) != FJ_OK)
        c = fj_conf_free(c);
    if (c == NULL)
        fj__log(FJ_LOG_ERROR, "conf", "%s", fj_error_text(why));
    fj_error_free(why);
    return c;
}

fj_code fj_conf_load(const char *path, fj_conf **ret, fj_error **err)
{
    fj_conf *c = fj__conf_bare(err);

    if (c == NULL)
        return FJ_NOMEM;
    fj_code rc = fj_conf_read(c, path, err);
    if (rc != FJ_OK)
        fj_conf_free(c);
    else
        *ret = c;
    return rc;
}

fj_conf *fj_conf_copy(const fj_conf *conf)
{
    const fj__state *from = fj__conf_now(conf);
    fj_conf *c = fj__zalloc(sizeof *c);
    fj__state *s = fj__state_new();
    bool ok = c != NULL && s != NULL;

    if (!ok) {
        fj__free(c);
        fj__free(s);
        return NULL;
    }
    atomic_init(&c->now, s);
    for (size_t i = 0; ok && i < from->n; i++)
        ok = add(s, &from->entries[i]);
    for (size_t i = 0; ok && i < conf->source_count; i++)
        ok = add_source(c, conf->sources[i]);
    s->files = from->files;
    return ok && fj__state_refresh(s, NULL) == FJ_OK ? c : fj_conf_free(c);
}

fj_conf *fj_conf_free(fj_conf *c)
{
    if (c == NULL)
        return NULL;
    fj__state_free(fj__conf_now(c));
    for (size_t i = 0; i < c->source_count; i++)
        fj__free(c->sources[i]);
    fj__free(c->sources);
    fj__free(c);
    return NULL;
}

/* ---- what is read and set -------------------------------------------------------------------------------------- */

/* What was added behind @p n entries holds, or is taken back. */
static fj_code settle(fj_conf *c, size_t n, const char *path, fj_code rc, fj_error **err)
{
    fj__state *s = fj__conf_now(c);
    size_t sources = c->source_count;

    if (rc == FJ_OK && !add_source(c, path))
        rc = no_memory(err);
    if (rc == FJ_OK)
        rc = fj__state_refresh(s, err);
    if (rc != FJ_OK)
        fj__state_truncate(s, n);
    if (rc != FJ_OK && c->source_count != sources)
        fj__free(c->sources[--c->source_count]);
    return rc;
}

fj_code fj_conf_parse(fj_conf *c, const char *name, const char *bytes, size_t n, fj_error **err)
{
    fj__state *s = fj__conf_now(c);
    size_t before = s->n;

    fj_code rc = fj__state_parse(s, name, bytes, n, (uint32_t)c->source_count, NULL, NULL, err);
    return settle(c, before, NULL, rc, err);
}

fj_code fj_conf_read(fj_conf *c, const char *path, fj_error **err)
{
    fj__state *s = fj__conf_now(c);
    size_t before = s->n;

    fj_code rc = fj__state_read(s, path, (uint32_t)c->source_count, NULL, NULL, err);
    return settle(c, before, path, rc, err);
}

/* The entry that fj_conf_set() made among the first @p n; NULL: none. */
static fj__entry *set_entry(fj__state *s, size_t n, const fj__option *o)
{
    for (size_t i = 0; i < n; i++)
        if (s->entries[i].file == FJ__CONF_SET && fj__entry_rank(&s->entries[i], o) == 0)
            return &s->entries[i];
    return NULL;
}

static void remove_entry(fj__state *s, fj__entry *e)
{
    entry_fini(e);
    memmove(e, e + 1, (size_t)(s->entries + s->n - (e + 1)) * sizeof *e);
    s->n--;
}

fj_code fj_conf_set(fj_conf *c, const char *group, const char *key, const char *value, fj_error **err)
{
    const fj__option *o = fj__option_find(group, key);
    fj__state *s = fj__conf_now(c);
    size_t before = s->n;

    if (o == NULL)
        return fj_fail(err, FJ_NOT_FOUND, "there is no option %s in [%s]", key, group);
    if (value != NULL && !fj__state_add(s, o->group, o->name, value, "set", FJ__CONF_SET))
        return no_memory(err);
    if (value != NULL) {
        s->entries[before].file = FJ__CONF_SET;
        fj_code rc = fj__state_refresh(s, err);
        if (rc != FJ_OK) {
            fj__state_truncate(s, before);
            return rc;
        }
    }
    fj__entry *old = set_entry(s, before, o); /* one setting an option, so that NULL takes it back whole */
    if (old == NULL)
        return FJ_OK;
    remove_entry(s, old);
    return fj__state_refresh(s, err);
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static const fj__value *get(const fj_conf *c, const char *group, const char *key, const fj__option **ret)
{
    const fj__option *o;

    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++) {
        if (strcmp(o->name, key) == 0 && strcmp(o->group, group) == 0) {
            *ret = o;
            return &fj__conf_now(c)->values[i];
        }
    }
    fj__log(FJ_LOG_ERROR, "conf", "the program asks for an option that does not exist: [%s] %s", group, key);
    return NULL;
}

const char *fj_conf_str(const fj_conf *c, const char *group, const char *key)
{
    const fj__option *o;
    const fj__value *v = get(c, group, key, &o);

    return v != NULL ? v->text : NULL;
}

/* A number's text; the default's where it was set to nothing. */
static const char *number(const fj_conf *c, const char *group, const char *key)
{
    const fj__option *o;
    const fj__value *v = get(c, group, key, &o);

    return v != NULL && v->text == NULL ? o->def : v != NULL ? v->text : NULL;
}

int64_t fj_conf_int(const fj_conf *c, const char *group, const char *key)
{
    const char *value = number(c, group, key);

    return value != NULL ? strtoll(value, NULL, 10) : 0;
}

double fj_conf_float(const fj_conf *c, const char *group, const char *key)
{
    const char *value = number(c, group, key);

    return value != NULL ? fj__number_parse(value, NULL) : 0.0;
}

bool fj_conf_bool(const fj_conf *c, const char *group, const char *key)
{
    const char *value = fj_conf_str(c, group, key);
    bool is = false;

    return value != NULL && fj__bool_parse(value, &is) && is;
}

const char *const *fj_conf_list(const fj_conf *c, const char *group, const char *key)
{
    static const char *const none[] = { NULL };
    const fj__option *o;
    const fj__value *v = get(c, group, key, &o);

    return v != NULL && v->items != NULL ? (const char *const *)v->items : none;
}

fj_code fj_conf_lookup(const fj_conf *c, const char *group, const char *key, char **ret, fj_error **err)
{
    return fj__state_lookup(fj__conf_now(c), group, key, ret, err);
}

const char *fj_conf_origin(const fj_conf *c, const char *group, const char *key)
{
    const fj__state *s = fj__conf_now(c);
    const fj__option *o = fj__option_find(group, key);
    const fj__entry *e = NULL;
    char in[FJ__NAME_MAX];

    for (size_t i = 0; o != NULL && fj__option_at(i) != NULL; i++)
        if (fj__option_at(i) == o)
            return s->values[i].origin;
    if (fj__conf_group(group, in, sizeof in))
        e = fj__state_find(s, in, key);
    return e != NULL ? e->origin : "default";
}
