/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations: entries in the order they were read, the last of a key winning.  What the typed readers lend is kept in a
 * cache that is made whole after each change, so that reading needs no lock.
 */
#include <fjord/conf.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    DEPTH_MAX = 16,             /* of substitutions within substitutions */
    VALUE_MAX = 256 * 1024,     /* of what they may grow to */
    FILE_MAX = 16 * 1024 * 1024 /* a configuration file larger than this is none */
};

typedef struct {
    char *group, *key, *value, *origin;
    bool set; /* by fj_conf_set(): above all */
} entry;

/* The value of one option of the table, ready to be lent. */
typedef struct {
    char *text;
    char **items; /* of lists; ended by NULL */
    char *origin;
} cached;

struct fj_conf {
    entry *entries;
    size_t n, room;
    cached *cache; /* one per option of the table */
    size_t options;
};

/* ---- entries --------------------------------------------------------------------------------------- */

/* A value may hold a password. */
static void wipe(char *value)
{
    if (value != NULL)
        explicit_bzero(value, strlen(value));
    fj__free(value);
}

static void entry_fini(entry *e)
{
    fj__free(e->group);
    fj__free(e->key);
    wipe(e->value);
    fj__free(e->origin);
}

static bool add_entry(fj_conf *c, const char *group, const char *key, const char *value, const char *origin,
                      bool set)
{
    entry *grown = fj__grow(c->entries, &c->room, c->n + 1, sizeof *grown);

    if (grown == NULL)
        return false;
    c->entries = grown;
    entry e = { fj__strdup(group), fj__strdup(key), fj__strdup(value), fj__strdup(origin), set };
    if (!e.group || !e.key || !e.value || !e.origin) {
        entry_fini(&e);
        return false;
    }
    grown[c->n++] = e;
    return true;
}

static bool is_key(const entry *e, const char *group, const char *key)
{
    return strcmp(e->group, group) == 0 && strcmp(e->key, key) == 0;
}

/* The entry that counts: one that was set, else the last read. */
static const entry *find(const fj_conf *c, const char *group, const char *key)
{
    const entry *best = NULL;

    for (size_t i = 0; i < c->n; i++) {
        if (is_key(&c->entries[i], group, key) && (best == NULL || !best->set || c->entries[i].set))
            best = &c->entries[i];
    }
    return best;
}

/* OS_GROUP__OPTION, upper case. */
static const char *environment(const char *group, const char *key, char *name, size_t n)
{
    int len = snprintf(name, n, "OS_%s__%s", group, key);

    if (len < 0 || (size_t)len >= n)
        return NULL;
    for (char *at = name; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    return getenv(name);
}

/* The raw value of one name.  @param ret_origin lends until the next call with the same buffer */
static const char *raw_of(const fj_conf *c, const char *group, const char *key, char *buffer, size_t n,
                          const char **ret_origin)
{
    const entry *e = find(c, group, key);

    if (e == NULL || !e->set) {
        const char *env = environment(group, key, buffer, n);
        if (env != NULL) {
            *ret_origin = buffer;
            return env;
        }
    }
    *ret_origin = e != NULL ? e->origin : NULL;
    return e != NULL ? e->value : NULL;
}

/* As raw_of(), then by the older name, then the default. */
static const char *raw_option(const fj_conf *c, const char *group, const char *key, char *buffer, size_t n,
                              const char **origin)
{
    const fj__option *o = fj__option_find(group, key);
    const char *value = raw_of(c, group, o != NULL ? o->name : key, buffer, n, origin);

    if (value == NULL && o != NULL && o->deprecated != NULL)
        value = raw_of(c, group, o->deprecated, buffer, n, origin);
    if (value == NULL && o != NULL) {
        *origin = "default";
        value = o->def;
    }
    return value;
}

/* ---- substitution ------------------------------------------------------------------------------------- */

typedef struct {
    char *text;
    size_t n, room;
    bool failed;
} text;

static void put(text *t, const char *bytes, size_t n)
{
    char *grown = fj__grow(t->text, &t->room, t->n + n + 1, 1);

    if (grown == NULL) {
        t->failed = true;
        return;
    }
    t->text = grown;
    memcpy(t->text + t->n, bytes, n);
    t->n += n;
    t->text[t->n] = '\0';
}

static bool name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-';
}

/* The name after a dollar at *at; moves *at behind it.  @return its length; 0: none */
static size_t reference(const char **at, const char **ret_name)
{
    const char *p = *at;
    bool braces = *p == '{';

    p += braces;
    *ret_name = p;
    if (!isalpha((unsigned char)*p) && *p != '_') /* as in oslo: "$5" is no reference */
        return 0;
    while (name_byte(*p) && (braces || *p != '-'))
        p++;
    size_t n = (size_t)(p - *ret_name);
    if (!braces && n != 0 && p[-1] == '.') { /* a full stop that ends a sentence */
        p--;
        n--;
    }
    if (braces && *p != '}')
        return 0;
    *at = p + braces;
    return n;
}

static fj_code expand(const fj_conf *c, const char *group, const char *value, unsigned depth, text *out,
                      fj_error **err);

static fj_code refer(const fj_conf *c, const char *group, const char *name, size_t n, unsigned depth, text *out,
                     fj_error **err)
{
    char copy[256], buffer[300];
    const char *origin, *in = group, *key = copy;

    if (n >= sizeof copy || depth > DEPTH_MAX)
        return fj_fail(err, FJ_BAD_CONFIG,
                       depth > DEPTH_MAX ? "$%.*s refers to itself" : "$%.*s is too long a name",
                       (int)(n < 64 ? n : 64), name);
    memcpy(copy, name, n);
    copy[n] = '\0';
    char *dot = strchr(copy, '.');
    if (dot != NULL) {
        *dot = '\0';
        in = copy;
        key = dot + 1;
    }
    const char *value = raw_option(c, in, key, buffer, sizeof buffer, &origin);
    if (value == NULL && dot == NULL) { /* names without a group are looked for in DEFAULT too */
        in = "DEFAULT";
        value = raw_option(c, in, key, buffer, sizeof buffer, &origin);
    }
    if (value == NULL)
        return fj_fail(err, FJ_BAD_CONFIG, "$%.*s refers to an option that is not set", (int)n, name);
    return expand(c, in, value, depth + 1, out, err);
}

static fj_code expand(const fj_conf *c, const char *group, const char *value, unsigned depth, text *out,
                      fj_error **err)
{
    fj_code rc = FJ_OK;

    put(out, "", 0);
    while (rc == FJ_OK && *value != '\0') {
        if (out->n > VALUE_MAX)
            return fj_fail(err, FJ_BAD_CONFIG, "its substitutions make it too long");
        size_t plain = strcspn(value, "$\\");
        put(out, value, plain);
        value += plain;
        if (value[0] == '\0')
            break;
        const char *name, *at = value + 1;
        size_t n;
        if (value[0] == '\\') {
            put(out, value[1] == '$' ? "$" : "\\", 1);
            value += value[1] == '$' ? 2 : 1;
        } else if (value[1] == '$') {
            put(out, "$", 1);
            value += 2;
        } else if ((n = reference(&at, &name)) != 0) {
            rc = refer(c, group, name, n, depth, out, err);
            value = at;
        } else {
            put(out, "$", 1);
            value++;
        }
    }
    return rc == FJ_OK && out->failed ? fj_fail(err, FJ_NOMEM, "out of memory") : rc;
}

static fj_code expanded(const fj_conf *c, const char *group, const char *value, char **ret, fj_error **err)
{
    text out = { 0 };
    fj_code rc = expand(c, group, value, 0, &out, err);

    if (rc != FJ_OK)
        fj__free(out.text);
    else
        *ret = out.text;
    return rc;
}

/* ---- the cache ------------------------------------------------------------------------------------------ */

static void cached_fini(cached *v)
{
    wipe(v->text);
    fj__free(v->origin);
    for (size_t i = 0; v->items != NULL && v->items[i] != NULL; i++)
        fj__free(v->items[i]);
    fj__free(v->items);
    *v = (cached){ 0 };
}

static bool add_item(cached *v, size_t *n, size_t *room, const char *from, size_t len)
{
    while (len != 0 && isspace((unsigned char)*from)) {
        from++;
        len--;
    }
    while (len != 0 && isspace((unsigned char)from[len - 1]))
        len--;
    char **grown = fj__grow(v->items, room, *n + 2, sizeof *grown);
    if (grown == NULL)
        return false;
    v->items = grown;
    grown[*n] = len != 0 ? fj__strndup(from, len) : NULL;
    bool ok = len == 0 || grown[*n] != NULL;
    *n += len != 0;
    grown[*n] = NULL;
    return ok;
}

static bool split(cached *v, const char *from)
{
    size_t n = 0, room = 0;
    bool ok = add_item(v, &n, &room, "", 0);

    while (ok && from != NULL && *from != '\0') {
        size_t len = strcspn(from, ",");
        ok = add_item(v, &n, &room, from, len);
        from += len + (from[len] == ',');
    }
    return ok;
}

static fj_code gather(const fj_conf *c, const fj__option *o, cached *v, fj_error **err)
{
    size_t n = 0, room = 0;
    bool ok = add_item(v, &n, &room, "", 0);
    fj_code rc = FJ_OK;

    for (size_t i = 0; ok && rc == FJ_OK && i < c->n; i++) {
        char *item = NULL;
        if (!is_key(&c->entries[i], o->group, o->name))
            continue;
        rc = expanded(c, o->group, c->entries[i].value, &item, err);
        ok = rc != FJ_OK || add_item(v, &n, &room, item, strlen(item));
        fj__free(item);
    }
    return ok ? rc : fj_fail(err, FJ_NOMEM, "out of memory");
}

/* The text as the only item, or none. */
static bool whole(cached *v)
{
    size_t n = 0, room = 0;

    return add_item(v, &n, &room, v->text != NULL ? v->text : "", v->text != NULL ? strlen(v->text) : 0);
}

static fj_code fill(const fj_conf *c, const fj__option *o, cached *v, fj_error **err)
{
    char buffer[300];
    const char *origin = "default";
    const char *raw = raw_option(c, o->group, o->name, buffer, sizeof buffer, &origin);
    fj_code rc = raw != NULL ? expanded(c, o->group, raw, &v->text, err) : FJ_OK;
    const entry *e = find(c, o->group, o->name);

    /* what looks like a reference may be a piece of a password */
    if (rc == FJ_BAD_CONFIG && (o->type == FJ__OPT_URL || o->type == FJ__OPT_SECRET))
        rc = fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: a '$' in it refers to no option ('$$' is a dollar)",
                     o->group, o->name);
    if (rc == FJ_OK && v->text != NULL)
        rc = fj__option_check(o, v->text, err);
    if (rc == FJ_OK && o->type == FJ__OPT_LIST && !split(v, v->text))
        rc = fj_fail(err, FJ_NOMEM, "out of memory");
    /* the files' values add up; one that was set or comes from the environment stands alone */
    bool alone = e != NULL ? e->set || environment(o->group, o->name, buffer, sizeof buffer) != NULL : true;
    if (rc == FJ_OK && o->type == FJ__OPT_MULTI && !alone)
        rc = gather(c, o, v, err);
    else if (rc == FJ_OK && o->type == FJ__OPT_MULTI && !whole(v))
        rc = fj_fail(err, FJ_NOMEM, "out of memory");
    if (rc == FJ_BAD_CONFIG)
        fj_error_prefix(err, "%s", origin);
    v->origin = fj__strdup(origin);
    return rc;
}

/* Make the cache anew; on failure the old one stays. */
static fj_code refresh(fj_conf *c, fj_error **err)
{
    cached *cache = fj__zalloc(c->options * sizeof *cache);
    fj_code rc = cache != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");

    for (size_t i = 0; rc == FJ_OK && i < c->options; i++)
        rc = fill(c, fj__option_at(i), &cache[i], err);
    cached *old = rc == FJ_OK ? c->cache : cache;
    if (rc == FJ_OK)
        c->cache = cache;
    for (size_t i = 0; old != NULL && i < c->options; i++)
        cached_fini(&old[i]);
    fj__free(old);
    return rc;
}

/* Take back what was added since there were @p n entries. */
static void truncate_to(fj_conf *c, size_t n)
{
    while (c->n > n)
        entry_fini(&c->entries[--c->n]);
}

/* ---- the INI dialect --------------------------------------------------------------------------------------- */

typedef struct {
    fj_conf *conf;
    const char *name;
    unsigned line, begun; /* begun: where the present option began */
    char group[128], key[128];
    text value;
} parser;

static char *trim(char *from, char *end)
{
    while (end > from && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    while (isspace((unsigned char)*from))
        from++;
    return from;
}

static fj_code finish_option(parser *p, fj_error **err)
{
    char origin[600];
    char *value = p->value.text;

    if (p->key[0] == '\0')
        return FJ_OK;
    size_t n = value != NULL ? strlen(value) : 0;
    if (n >= 2 && (value[0] == '"' || value[0] == '\'') &&
        value[n - 1] == value[0]) { /* quotes around the whole */
        value[n - 1] = '\0';
        value++;
    }
    (void)snprintf(origin, sizeof origin, "%s:%u", p->name, p->begun);
    bool ok =
        !p->value.failed && add_entry(p->conf, p->group, p->key, value != NULL ? value : "", origin, false);
    p->key[0] = '\0';
    p->value.n = 0;
    if (p->value.text != NULL)
        p->value.text[0] = '\0';
    return ok ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

static fj_code heading(parser *p, char *line, fj_error **err)
{
    char *end = strchr(line, ']');

    if (end == NULL || end == line + 1)
        return fj_fail(err, FJ_BAD_CONFIG, "%s:%u: a heading is [group]", p->name, p->line);
    char *group = trim(line + 1, end);
    if (strlen(group) >= sizeof p->group)
        return fj_fail(err, FJ_BAD_CONFIG, "%s:%u: the group's name is too long", p->name, p->line);
    memcpy(p->group, group, strlen(group) + 1);
    return FJ_OK;
}

static fj_code option(parser *p, char *line, fj_error **err)
{
    size_t at = strcspn(line, "=:");

    if (line[at] == '\0')
        return fj_fail(err, FJ_BAD_CONFIG, "%s:%u: neither [group] nor key = value", p->name, p->line);
    char *value = line + at + 1;
    char *key = trim(line, line + at);
    if (*key == '\0' || strlen(key) >= sizeof p->key)
        return fj_fail(err, FJ_BAD_CONFIG, "%s:%u: no key, or one that is too long", p->name, p->line);
    memcpy(p->key, key, strlen(key) + 1);
    p->begun = p->line;
    value = trim(value, value + strlen(value));
    put(&p->value, value, strlen(value));
    return FJ_OK;
}

static fj_code line_(parser *p, char *line, fj_error **err)
{
    bool indented = *line == ' ' || *line == '\t';
    char *content = trim(line, line + strlen(line));

    if (indented && *content != '\0' && *content != '#' && *content != ';' && p->key[0] != '\0') {
        put(&p->value, "\n", 1);
        put(&p->value, content, strlen(content));
        return FJ_OK;
    }
    if (indented && *content != '\0' && *content != '#' && *content != ';')
        return fj_fail(err, FJ_BAD_CONFIG, "%s:%u: a continuation of nothing", p->name, p->line);
    fj_code rc = finish_option(p, err);
    if (rc != FJ_OK || *content == '\0' || *content == '#' || *content == ';')
        return rc;
    return *content == '[' ? heading(p, content, err) : option(p, content, err);
}

static fj_code parse_lines(parser *p, const char *at, size_t n, fj_error **err)
{
    const char *end = at + n;
    fj_code rc = FJ_OK;

    if (memchr(at, '\0', n) != NULL)
        return fj_fail(err, FJ_BAD_CONFIG, "%s: a zero byte: this is no configuration file", p->name);
    while (rc == FJ_OK && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop != NULL ? stop : end) - at);
        char *line = fj__strndup(at, len);
        p->line++;
        rc = line != NULL ? line_(p, line, err) : fj_fail(err, FJ_NOMEM, "out of memory");
        fj__free(line);
        at += len + 1;
    }
    return rc == FJ_OK ? finish_option(p, err) : rc;
}

fj_code fj_conf_parse(fj_conf *c, const char *name, const char *bytes, size_t n, fj_error **err)
{
    parser p = { .conf = c, .name = name, .group = "DEFAULT" };
    size_t before = c->n;
    fj_code rc = n != 0 ? parse_lines(&p, bytes, n, err) : FJ_OK;

    fj__free(p.value.text);
    if (rc == FJ_OK)
        rc = refresh(c, err);
    if (rc != FJ_OK)
        truncate_to(c, before);
    return rc;
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static fj_code system_error(const char *path, fj_error **err)
{
    int why = errno;
    char reason[128];

    return fj_fail(err, why == ENOENT || why == ENOTDIR ? FJ_NOT_FOUND : FJ_SYSTEM, "%s: %s", path,
                   strerror_r(why, reason, sizeof reason));
}

static fj_code read_file(fj_conf *c, const char *path, fj_error **err)
{
    FILE *f = fopen(path, "re");
    text all = { 0 };
    char *part = fj__alloc(65536);
    size_t n;
    fj_code rc = FJ_OK;

    if (f == NULL || part == NULL)
        rc = f == NULL ? system_error(path, err) : fj_fail(err, FJ_NOMEM, "out of memory");
    while (rc == FJ_OK && (n = fread(part, 1, 65536, f)) != 0) {
        put(&all, part, n);
        if (all.failed || all.n > FILE_MAX)
            rc = fj_fail(err, all.failed ? FJ_NOMEM : FJ_BAD_CONFIG, "%s: too large for a configuration file",
                         path);
    }
    if (rc == FJ_OK && ferror(f))
        rc = system_error(path, err);
    if (rc == FJ_OK)
        rc = fj_conf_parse(c, path, all.text != NULL ? all.text : "", all.n, err);
    if (f != NULL)
        (void)fclose(f);
    fj__free(part);
    fj__free(all.text);
    return rc;
}

static int is_conf(const struct dirent *d)
{
    size_t n = strlen(d->d_name);

    return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static fj_code read_folder(fj_conf *c, const char *path, fj_error **err)
{
    struct dirent **names = NULL;
    int n = scandir(path, &names, is_conf, alphasort);
    fj_code rc = n < 0 ? system_error(path, err) : FJ_OK;

    for (int i = 0; i < n; i++) {
        char *file = rc == FJ_OK ? fj__format("%s/%s", path, names[i]->d_name) : NULL;
        if (rc == FJ_OK)
            rc = file != NULL ? read_file(c, file, err) : fj_fail(err, FJ_NOMEM, "out of memory");
        fj__free(file);
        free(names[i]);
    }
    free(names);
    return rc;
}

fj_code fj_conf_read(fj_conf *c, const char *path, fj_error **err)
{
    struct stat st;
    size_t before = c->n;

    if (stat(path, &st) != 0)
        return system_error(path, err);
    if (!S_ISDIR(st.st_mode))
        return read_file(c, path, err);
    fj_code rc = read_folder(c, path, err);
    if (rc != FJ_OK) { /* all of a folder or nothing */
        truncate_to(c, before);
        (void)refresh(c, NULL);
    }
    return rc;
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static fj_conf *make(fj_error **err)
{
    fj_conf *c = fj__zalloc(sizeof *c);

    if (c == NULL) {
        (void)fj_fail(err, FJ_NOMEM, "out of memory");
        return NULL;
    }
    while (fj__option_at(c->options) != NULL)
        c->options++;
    return refresh(c, err) == FJ_OK ? c : fj_conf_free(c);
}

fj_conf *fj_conf_new(void)
{
    fj_error *why = NULL;
    fj_conf *c = make(&why);

    if (c == NULL) /* a bad value in the environment */
        fj__log(FJ_LOG_ERROR, "conf", "%s", fj_error_text(why));
    fj_error_free(why);
    return c;
}

fj_code fj_conf_load(const char *path, fj_conf **ret, fj_error **err)
{
    fj_error *why = NULL;
    fj_conf *c = make(&why);

    if (c == NULL)
        return fj_error_move(why, err);
    fj_code rc = fj_conf_read(c, path, err);
    if (rc != FJ_OK)
        fj_conf_free(c);
    else
        *ret = c;
    return rc;
}

fj_conf *fj_conf_copy(const fj_conf *conf)
{
    fj_conf *c = fj__zalloc(sizeof *c);

    if (c == NULL)
        return NULL;
    c->options = conf->options;
    for (size_t i = 0; i < conf->n; i++) {
        const entry *e = &conf->entries[i];
        if (!add_entry(c, e->group, e->key, e->value, e->origin, e->set))
            return fj_conf_free(c);
    }
    return refresh(c, NULL) == FJ_OK ? c : fj_conf_free(c);
}

fj_conf *fj_conf_free(fj_conf *c)
{
    if (c == NULL)
        return NULL;
    truncate_to(c, 0);
    fj__free(c->entries);
    for (size_t i = 0; c->cache != NULL && i < c->options; i++)
        cached_fini(&c->cache[i]);
    fj__free(c->cache);
    fj__free(c);
    return NULL;
}

/* The entry that fj_conf_set() made among the first @p n; NULL: none. */
static entry *set_entry(fj_conf *c, size_t n, const fj__option *o)
{
    for (size_t i = 0; i < n; i++)
        if (c->entries[i].set && is_key(&c->entries[i], o->group, o->name))
            return &c->entries[i];
    return NULL;
}

static void remove_entry(fj_conf *c, entry *e)
{
    entry_fini(e);
    memmove(e, e + 1, (size_t)(c->entries + c->n - (e + 1)) * sizeof *e);
    c->n--;
}

fj_code fj_conf_set(fj_conf *c, const char *group, const char *key, const char *value, fj_error **err)
{
    const fj__option *o = fj__option_find(group, key);
    size_t before = c->n;

    if (o == NULL)
        return fj_fail(err, FJ_NOT_FOUND, "there is no option %s in [%s]", key, group);
    if (value != NULL && !add_entry(c, group, o->name, value, "set", true))
        return fj_fail(err, FJ_NOMEM, "out of memory");
    if (value != NULL) {
        fj_code rc = refresh(c, err);
        if (rc != FJ_OK) {
            truncate_to(c, before);
            return rc;
        }
    }
    entry *old = set_entry(c, before, o); /* one setting an option, so that NULL takes it back whole */
    if (old == NULL)
        return FJ_OK;
    remove_entry(c, old);
    return refresh(c, err);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static const cached *get(const fj_conf *c, const char *group, const char *key)
{
    for (size_t i = 0; i < c->options; i++) {
        const fj__option *o = fj__option_at(i);
        if (strcmp(o->group, group) == 0 && strcmp(o->name, key) == 0)
            return &c->cache[i];
    }
    fj__log(FJ_LOG_ERROR, "conf", "the program asks for an option that does not exist: [%s] %s", group, key);
    return NULL;
}

const char *fj_conf_str(const fj_conf *c, const char *group, const char *key)
{
    const cached *v = get(c, group, key);

    return v != NULL ? v->text : NULL;
}

int64_t fj_conf_int(const fj_conf *c, const char *group, const char *key)
{
    const char *value = fj_conf_str(c, group, key);

    return value != NULL ? strtoll(value, NULL, 10) : 0;
}

double fj_conf_float(const fj_conf *c, const char *group, const char *key)
{
    const char *value = fj_conf_str(c, group, key);

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
    const cached *v = get(c, group, key);

    return v != NULL && v->items != NULL ? (const char *const *)v->items : none;
}

fj_code fj_conf_lookup(const fj_conf *c, const char *group, const char *key, char **ret, fj_error **err)
{
    char buffer[300];
    const char *origin;
    const char *raw = raw_option(c, group, key, buffer, sizeof buffer, &origin);

    if (raw == NULL)
        return fj_fail(err, FJ_NOT_FOUND, "[%s] %s is not set", group, key);
    return expanded(c, group, raw, ret, err);
}

const char *fj_conf_origin(const fj_conf *c, const char *group, const char *key)
{
    const fj__option *o = fj__option_find(group, key);
    const cached *v = o != NULL ? get(c, group, o->name) : NULL;
    const entry *e = v == NULL ? find(c, group, key) : NULL;

    return v != NULL && v->origin != NULL ? v->origin : e != NULL ? e->origin : "default";
}
