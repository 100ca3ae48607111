/* SPDX-License-Identifier: Apache-2.0 */
/* From what was read to what options have: which entry counts, and what its dollars stand for. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/conf_state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    DEPTH_MAX = 32,        /* of substitutions within substitutions */
    STEPS_MAX = 4096,      /* of them all in one value */
    VALUE_MAX = 256 * 1024 /* bytes that they may grow to */
};

/* One value being made. */
typedef struct {
    const fj__state *state;
    unsigned depth, steps;
} making;

static fj_code no_memory(fj_error **err)
{
    return fj_fail(err, FJ_NOMEM, "out of memory");
}

bool fj__conf_group(const char *group, char *into, size_t room)
{
    bool whole = strcmp(group, "DEFAULT") == 0;
    size_t i = 0;

    for (; group[i] != '\0' && i + 1 < room; i++)
        into[i] = whole ? group[i] : (char)tolower((unsigned char)group[i]);
    into[i] = '\0';
    return group[i] == '\0';
}

void fj__value_fini(fj__value *v)
{
    if (v->text != NULL)
        explicit_bzero(v->text, strlen(v->text)); /* it may hold a password */
    fj__free(v->text);
    fj__option_items_free(v->items);
    fj__free(v->origin);
    fj__free(v->older);
    *v = (fj__value){ 0 };
}

/* ---- which entry counts ------------------------------------------------------------------------------------- */

static bool is_key(const fj__entry *e, const char *group, const char *key)
{
    return strcmp(e->key, key) == 0 && strcmp(e->group, group) == 0;
}

int fj__entry_rank(const fj__entry *e, const fj__option *o)
{
    char group[FJ__GROUP_MAX], name[FJ__NAME_MAX];

    if (is_key(e, o->group, o->name))
        return 0;
    for (size_t i = 0; o->older != NULL && fj__option_older(o, i, group, name); i++)
        if (is_key(e, group, name))
            return (int)i + 1;
    return -1;
}

const fj__entry *fj__state_find(const fj__state *s, const char *group, const char *key)
{
    const fj__entry *found = NULL;

    for (size_t i = s->n; i-- > 0 && found == NULL;)
        if (is_key(&s->entries[i], group, key))
            found = &s->entries[i];
    return found;
}

const char *fj__conf_environment(const char *group, const char *key, char *name, size_t room)
{
    int n = snprintf(name, room, "OS_%s__%s", group, key);

    if (n < 0 || (size_t)n >= room)
        return NULL;
    for (; *name != '\0'; name++)
        *name = (char)toupper((unsigned char)*name);
    return getenv(name - n);
}

/* By the option's own name, as in oslo.config; by its older one where that is what oslo.messaging calls it. */
static const char *option_environment(const fj__option *o, char *name, size_t room)
{
    char group[FJ__GROUP_MAX], older[FJ__NAME_MAX];
    const char *value = fj__conf_environment(o->group, o->name, name, room);

    if (value == NULL && (o->flags & FJ__RENAMED) != 0 && fj__option_older(o, 0, group, older))
        value = fj__conf_environment(group, older, name, room);
    return value;
}

static const fj__entry *set_entry(const fj__state *s, const fj__option *o)
{
    for (size_t i = s->n; i-- > 0;)
        if (s->entries[i].file == FJ__CONF_SET && is_key(&s->entries[i], o->group, o->name))
            return &s->entries[i];
    return NULL;
}

/* As in oslo.config: the last file with any of the option's names; in it its own name before older ones, and of several the
 * last. */
static const fj__entry *file_entry(const fj__state *s, const fj__option *o)
{
    const fj__entry *best = NULL;
    int best_rank = 0;

    for (size_t i = s->n; i-- > 0 && (best == NULL || best_rank != 0);) {
        const fj__entry *e = &s->entries[i];
        int rank = e->file != FJ__CONF_SET ? fj__entry_rank(e, o) : -1;
        if (best != NULL && e->file != FJ__CONF_SET && e->file != best->file)
            break;
        if (rank >= 0 && (best == NULL || rank < best_rank)) {
            best = e;
            best_rank = rank;
        }
    }
    return best;
}

/* Where a value is from, and the text that is there. */
typedef struct {
    const char *text; /* NULL: unset */
    const char *origin;
    const fj__entry *entry; /* NULL: it is from the environment, or the default */
    bool is_default;
} raw;

/* @param name holds the name of a variable of the environment, which the origin may lend */
static raw raw_of(const fj__state *s, const fj__option *o, char *name, size_t room)
{
    const fj__entry *e = set_entry(s, o);
    const char *environment = e == NULL ? option_environment(o, name, room) : NULL;

    if (environment != NULL)
        return (raw){ environment, name, NULL, false };
    if (e == NULL)
        e = file_entry(s, o);
    if (e != NULL)
        return (raw){ e->value, e->origin, e, false };
    return (raw){ o->def, "default", NULL, true };
}

/* ---- substitution ------------------------------------------------------------------------------------------- */

static fj_code make(making *m, const fj__option *o, fj__value *v, fj_error **err);
static fj_code expand(making *m, const char *group, const char *value, char **ret, fj_error **err);

static bool name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* The name after a dollar at *at; moves *at behind it.  @return its length; 0: it is no reference, as "$5" */
static size_t reference(const char **at, const char **ret_name)
{
    const char *p = *at;
    bool braces = *p == '{';

    p += braces;
    *ret_name = p;
    if (!isalpha((unsigned char)*p) && *p != '_')
        return 0;
    while (name_byte(*p))
        p++;
    if (braces && *p != '}')
        return 0;
    *at = p + braces;
    return (size_t)(p - *ret_name);
}

static fj_code option_text(making *m, const fj__option *o, char **ret, fj_error **err)
{
    fj__value v = { 0 };
    fj_code rc = make(m, o, &v, err);

    if (rc == FJ_OK) {
        *ret = fj__option_python(o, v.text, (const char *const *)v.items);
        rc = *ret != NULL ? FJ_OK : no_memory(err);
    }
    fj__value_fini(&v);
    return rc;
}

/* Where a name without a group is looked for: an option here, an option of DEFAULT; then what only the file knows, in DEFAULT
 * first if the group is one of ours, for ours hold nothing of other programs. */
static fj_code refer_plain(making *m, const char *group, const char *name, char **ret, fj_error **err)
{
    const fj__option *o = fj__option_find(group, name);
    bool ours = strncmp(group, "oslo_messaging_", 15) == 0 || strcmp(group, "fjord") == 0;
    const fj__entry *here, *above;

    if (o == NULL)
        o = fj__option_find("DEFAULT", name);
    if (o != NULL)
        return option_text(m, o, ret, err);
    here = fj__state_find(m->state, group, name);
    above = fj__state_find(m->state, "DEFAULT", name);
    if (here == NULL || (ours && above != NULL))
        here = above;
    if (here == NULL)
        return fj_fail(err, FJ_BAD_CONFIG, "$%s refers to an option that is not set", name);
    return expand(m, here->group, here->value, ret, err);
}

static fj_code refer_dotted(making *m, const char *group, const char *key, char **ret, fj_error **err)
{
    const fj__option *o = fj__option_find(group, key);
    const fj__entry *e = o == NULL ? fj__state_find(m->state, group, key) : NULL;

    if (strcmp(group, "DEFAULT") == 0)
        return fj_fail(err, FJ_BAD_CONFIG,
                       "$%s.%s: options of DEFAULT are referred to without their group, as $%s", group, key,
                       key);
    if (o != NULL)
        return option_text(m, o, ret, err);
    if (e == NULL)
        return fj_fail(err, FJ_BAD_CONFIG, "$%s.%s refers to an option that is not set", group, key);
    return expand(m, e->group, e->value, ret, err);
}

static fj_code refer(making *m, const char *group, const char *text, size_t n, char **ret, fj_error **err)
{
    char *name = fj__strndup(text, n), *dot = name != NULL ? strchr(name, '.') : NULL;
    fj_code rc;

    if (name == NULL)
        return no_memory(err);
    m->steps++;
    m->depth++;
    if (m->depth > DEPTH_MAX)
        rc = fj_fail(err, FJ_BAD_CONFIG, "$%.80s refers to itself", name);
    else if (m->steps > STEPS_MAX)
        rc = fj_fail(err, FJ_BAD_CONFIG, "there are too many substitutions in it");
    else if (dot == NULL)
        rc = refer_plain(m, group, name, ret, err);
    else {
        *dot = '\0';
        rc = refer_dotted(m, name, dot + 1, ret, err);
    }
    m->depth--;
    fj__free(name);
    return rc;
}

/* "\$" is "$$" to oslo.config, before anything else is looked at.  @return gives; NULL: no memory */
static char *plain_dollars(const char *value)
{
    char *copy = fj__strdup(value);

    for (char *at = copy; at != NULL && (at = strstr(at, "\\$")) != NULL; at += 2)
        *at = '$';
    return copy;
}

/* Append what stands at *at, and move behind it. */
static fj_code expand_piece(making *m, const char *group, const char **at, fj__buf *out, fj_error **err)
{
    size_t n = strcspn(*at, "$");
    const char *name, *behind = *at + n + 1;
    char *text = NULL;
    fj_code rc = FJ_OK;

    if (n == 0 && (*at)[1] == '$') {
        rc = fj__buf_append(out, "$", 1) ? FJ_OK : no_memory(err);
        *at += 2;
    } else if (n == 0 && (n = reference(&behind, &name)) != 0) {
        rc = refer(m, group, name, n, &text, err);
        if (rc == FJ_OK && !fj__buf_append(out, text, strlen(text)))
            rc = no_memory(err);
        *at = behind;
    } else {
        n += n == 0; /* a dollar that is just one */
        rc = fj__buf_append(out, *at, n) ? FJ_OK : no_memory(err);
        *at += n;
    }
    fj__free(text);
    if (rc == FJ_OK && fj__buf_len(out) > VALUE_MAX)
        rc = fj_fail(err, FJ_BAD_CONFIG, "its substitutions make it too long");
    return rc;
}

static fj_code expand(making *m, const char *group, const char *value, char **ret, fj_error **err)
{
    fj__buf out = { 0 };
    char *copy = plain_dollars(value);
    const char *at = copy;
    fj_code rc = copy != NULL ? FJ_OK : no_memory(err);

    while (rc == FJ_OK && *at != '\0')
        rc = expand_piece(m, group, &at, &out, err);
    if (rc == FJ_OK) {
        *ret = fj__buf_append(&out, "", 1) ? fj__strdup((const char *)fj__buf_data(&out)) : NULL;
        rc = *ret != NULL ? FJ_OK : no_memory(err);
    }
    if (out.bytes != NULL)
        explicit_bzero(out.bytes, out.capacity);
    if (copy != NULL)
        explicit_bzero(copy, strlen(copy));
    fj__buf_fini(&out);
    fj__free(copy);
    return rc;
}

fj_code fj__state_expand(const fj__state *s, const char *group, const char *value, char **ret, fj_error **err)
{
    making m = { .state = s };

    return expand(&m, group, value, ret, err);
}

/* ---- values of options -------------------------------------------------------------------------------------- */

static bool is_secret(const fj__option *o)
{
    return o->type == FJ__OPT_URL || o->type == FJ__OPT_SECRET;
}

/* What the text stands for, in the option's plain form. */
static fj_code plain(making *m, const fj__option *o, const char *text, char **ret, fj_error **err)
{
    char *whole = NULL;
    fj_code rc = expand(m, o->group, text, &whole, err);

    /* what looks like a reference may be a piece of a password */
    if (rc == FJ_BAD_CONFIG && is_secret(o))
        rc = fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: a '$' in it refers to no option ('$$' is a dollar)",
                     o->group, o->name);
    else if (rc == FJ_BAD_CONFIG &&
             m->depth == 0) /* of those that it goes through only the first is of interest */
        fj_error_prefix(err, "[%s] %s", o->group, o->name);
    if (rc == FJ_OK)
        rc = fj__option_plain(o, whole, ret, err);
    /* nor is what a reference stands for shown */
    if (rc == FJ_BAD_CONFIG && whole != NULL && strchr(text, '$') != NULL && strcmp(text, whole) != 0)
        rc = fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: what '%.80s' stands for is not a value of it", o->group,
                     o->name, text);
    if (whole != NULL)
        explicit_bzero(whole, strlen(whole));
    fj__free(whole);
    return rc;
}

fj_code fj__state_plain(const fj__state *s, const fj__option *o, const char *text, char **ret, fj_error **err)
{
    making m = { .state = s };

    *ret = NULL;
    return plain(&m, o, text, ret, err);
}

/* @param item takes; NULL: there was no memory for it */
static fj_code add_item(fj__value *v, char *item, size_t *n, size_t *room, fj_error **err)
{
    char **grown = item != NULL ? fj__grow(v->items, room, *n + 2, sizeof *grown) : NULL;

    if (grown == NULL) {
        fj__free(item);
        return no_memory(err);
    }
    v->items = grown;
    grown[(*n)++] = item;
    grown[*n] = NULL;
    return FJ_OK;
}

static int names_of(const fj__option *o)
{
    char group[FJ__GROUP_MAX], name[FJ__NAME_MAX];
    int n = 1;

    while (o->older != NULL && fj__option_older(o, (size_t)n - 1, group, name))
        n++;
    return n;
}

/* All files' values, the last file's last; in a file those of older names first. */
static fj_code gather(making *m, const fj__option *o, fj__value *v, fj_error **err)
{
    const fj__state *s = m->state;
    size_t n = 0, room = 0, end;
    fj_code rc = FJ_OK;

    for (size_t begin = 0; begin < s->n; begin = end) { /* a file's entries are beside each other */
        for (end = begin; end < s->n && s->entries[end].file == s->entries[begin].file;)
            end++;
        for (int rank = names_of(o); rc == FJ_OK && rank-- > 0;)
            for (size_t i = begin; rc == FJ_OK && i < end; i++) {
                char *item = NULL;
                if (s->entries[i].file == FJ__CONF_SET || fj__entry_rank(&s->entries[i], o) != rank)
                    continue;
                rc = plain(m, o, s->entries[i].value, &item, err);
                if (rc == FJ_OK)
                    rc = add_item(v, item, &n, &room, err);
            }
    }
    return rc;
}

/* The items of an option that has several. */
static fj_code make_items(making *m, const fj__option *o, const raw *from, fj__value *v, fj_error **err)
{
    size_t n = 0, room = 0;

    if (o->type == FJ__OPT_MULTI && from->entry != NULL && from->entry->file != FJ__CONF_SET)
        return gather(m, o, v, err);
    if (o->type == FJ__OPT_MULTI && !from->is_default) /* set or of the environment: it stands alone */
        return add_item(v, fj__strdup(v->text), &n, &room, err);
    v->items = fj__option_split(v->text != NULL ? v->text : "");
    return v->items != NULL ? FJ_OK : no_memory(err);
}

static fj_code make(making *m, const fj__option *o, fj__value *v, fj_error **err)
{
    char name[FJ__GROUP_MAX + FJ__NAME_MAX];
    raw from = raw_of(m->state, o, name, sizeof name);
    bool several = o->type == FJ__OPT_LIST || o->type == FJ__OPT_MULTI;
    fj_code rc = from.text != NULL ? plain(m, o, from.text, &v->text, err) : FJ_OK;

    if (rc == FJ_BAD_CONFIG && o->effect == FJ__FOREIGN) { /* whoever reads it may know better */
        v->text = fj__strdup(from.text);
        rc = v->text != NULL ? FJ_OK : no_memory(err);
    }
    if (rc == FJ_OK && several)
        rc = make_items(m, o, &from, v, err);
    if (rc == FJ_BAD_CONFIG && m->depth == 0)
        fj_error_prefix(err, "%s", from.origin);
    v->origin = fj__strdup(from.origin);
    if (from.entry != NULL && fj__entry_rank(from.entry, o) > 0)
        v->older = fj__format("[%s] %s", from.entry->group, from.entry->key);
    return rc == FJ_OK && v->origin == NULL ? no_memory(err) : rc;
}

fj_code fj__value_make(const fj__state *s, const fj__option *o, fj__value *ret, fj_error **err)
{
    making m = { .state = s };

    return make(&m, o, ret, err);
}

fj_code fj__state_refresh(fj__state *s, fj_error **err)
{
    size_t n = fj__option_count();
    fj__value *values = fj__zalloc(n * sizeof *values);
    fj_code rc = values != NULL ? FJ_OK : no_memory(err);

    for (size_t i = 0; rc == FJ_OK && i < n; i++)
        rc = fj__value_make(s, fj__option_at(i), &values[i], err);
    fj__value *old = rc == FJ_OK ? s->values : values;
    if (rc == FJ_OK)
        s->values = values;
    for (size_t i = 0; old != NULL && i < n; i++)
        fj__value_fini(&old[i]);
    fj__free(old);
    return rc;
}

fj_code fj__state_lookup(const fj__state *s, const char *group, const char *key, char **ret, fj_error **err)
{
    const fj__option *o = fj__option_find(group, key);
    const fj__entry *e;
    char in[256], name[512];

    for (size_t i = 0; o != NULL && fj__option_at(i) != NULL; i++) {
        if (fj__option_at(i) != o)
            continue;
        if (s->values[i].text == NULL)
            return fj_fail(err, FJ_NOT_FOUND, "[%s] %s is not set", group, key);
        *ret = fj__strdup(s->values[i].text);
        return *ret != NULL ? FJ_OK : no_memory(err);
    }
    if (!fj__conf_group(group, in, sizeof in))
        return fj_fail(err, FJ_NOT_FOUND, "[%s] %s is not set", group, key);
    const char *environment = fj__conf_environment(in, key, name, sizeof name);
    if (environment != NULL)
        return fj__state_expand(s, in, environment, ret, err);
    e = fj__state_find(s, in, key);
    if (e == NULL)
        return fj_fail(err, FJ_NOT_FOUND, "[%s] %s is not set", group, key);
    return fj__state_expand(s, in, e->value, ret, err);
}
