/* SPDX-License-Identifier: Apache-2.0 */
/* fjord config check: everything that is wrong in configuration files, by file and line.  It reads on after an error. */
#include "base/alloc.h"
#include "tools/check.h"
#include <stdarg.h>
#include <string.h>

static const char *const severities[] = { "error", "warning", "note" };

void check_add(check *c, check_severity severity, const char *origin, const char *group, const char *key,
               const char *format, ...)
{
    const char *colon = strrchr(origin, ':');
    check_finding *grown = fj__grow(c->found, &c->room, c->n + 1, sizeof *grown);
    va_list args;

    c->count[severity]++;
    if (grown == NULL) {
        c->failed = true;
        return;
    }
    c->found = grown;
    check_finding *f = &grown[c->n++];
    *f = (check_finding){ .severity = severity, .group = fj__strdup(group), .key = fj__strdup(key) };
    f->line = colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
    f->file = colon != NULL ? fj__strndup(origin, (size_t)(colon - origin)) : fj__strdup(origin);
    va_start(args, format);
    f->text = fj__vformat(format, args);
    va_end(args);
    if (f->file == NULL || f->group == NULL || f->key == NULL || f->text == NULL) {
        c->failed = true;
        c->n--;
        fj__free(f->file);
        fj__free(f->group);
        fj__free(f->key);
        fj__free(f->text);
    }
}

/* What the text of an error says behind its "[group] key: ", which the finding has of itself. */
static const char *reason(const char *text, const char *group, const char *key)
{
    char *front = fj__format("[%s] %s: ", group, key);
    size_t n = front != NULL ? strlen(front) : 0;

    if (front != NULL && strncmp(text, front, n) == 0)
        text += n;
    fj__free(front);
    return text;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static bool take(void *user, const char *name, unsigned line, const char *group, const char *key,
                 const char *text)
{
    check *c = user;
    char *origin = fj__format("%s:%u", name, line);

    if (origin != NULL && text != NULL)
        check_add(c, CHECK_ERROR, origin, group, key, "%s", text);
    else if (origin != NULL)
        check_group(c, origin, group);
    c->failed = c->failed || origin == NULL;
    fj__free(origin);
    return true;
}

static void read_path(check *c, const char *path)
{
    fj_error *err = NULL;
    size_t n = strlen(path) + 2;

    if (fj__state_read(c->state, path, 0, take, c, &err) == FJ_OK)
        return;
    /* the whole file is wrong, or a file of the folder */
    const char *text = fj_error_text(err);
    char *origin = fj__format("%s:0", path);
    if (strncmp(text, path, n - 2) == 0 && strncmp(text + n - 2, ": ", 2) == 0)
        text += n;
    if (origin != NULL)
        check_add(c, CHECK_ERROR, origin, "", "", "%s", text);
    fj__free(origin);
    fj_error_free(err);
}

/* ---- what is in it ------------------------------------------------------------------------------------------ */

/* The one that stands above an entry of the same option: it makes a bad value harmless.  NULL: it counts itself */
static const fj__entry *above(const check *c, const fj__entry *e, const fj__option *o)
{
    const fj__entry *best = NULL;

    if (o->type == FJ__OPT_MULTI)
        return NULL;
    for (size_t i = 0; i < c->state->n; i++) {
        const fj__entry *other = &c->state->entries[i];
        int rank = fj__entry_rank(other, o);
        if (rank >= 0 && (best == NULL || other->file != best->file || rank <= fj__entry_rank(best, o)))
            best = other;
    }
    return best == e ? NULL : best;
}

/* An earlier value of the same name in the same file. */
static const fj__entry *earlier(const check *c, const fj__entry *e)
{
    for (const fj__entry *at = e; at-- > c->state->entries && at->file == e->file;)
        if (strcmp(at->key, e->key) == 0 && strcmp(at->group, e->group) == 0)
            return at;
    return NULL;
}

static void check_names_of(check *c, const fj__entry *e, const fj__option *o)
{
    const fj__entry *first = o->type != FJ__OPT_MULTI ? earlier(c, e) : NULL;
    const char *line = first != NULL ? strrchr(first->origin, ':') : NULL;

    if (line != NULL)
        check_add(c, CHECK_WARNING, e->origin, e->group, e->key,
                  "given before, in line %s; the last one counts", line + 1);
    if (fj__entry_rank(e, o) > 0 && (o->flags & FJ__RENAMED) != 0)
        check_add(c, CHECK_NOTE, e->origin, e->group, e->key, "oslo.messaging calls it %s in later releases",
                  o->name);
    else if (fj__entry_rank(e, o) > 0)
        check_add(c, CHECK_WARNING, e->origin, e->group, e->key, "deprecated name; it is now [%s] %s", o->group,
                  o->name);
    if ((o->flags & FJ__GOING) != 0)
        check_add(c, o->effect == FJ__FOREIGN ? CHECK_NOTE : CHECK_WARNING, e->origin, e->group, e->key,
                  "oslo.messaging has deprecated it, and will remove it");
}

static void check_entry(check *c, const fj__entry *e)
{
    const fj__option *o = fj__option_find(e->group, e->key);
    fj_error *err = NULL;
    char *plain = NULL;

    if (o == NULL) {
        check_unknown(c, e);
        return;
    }
    check_names_of(c, e, o);
    if (fj__state_plain(c->state, o, e->value, &plain, &err) == FJ_OK)
        check_value(c, o, e, plain);
    else {
        const char *why = reason(fj_error_text(err), o->group, o->name);
        const fj__entry *other = above(c, e, o);
        if (o->effect == FJ__FOREIGN)
            check_add(c, CHECK_WARNING, e->origin, e->group, e->key, "%s (no driver of Fjord reads it)", why);
        else if (other != NULL)
            check_add(c, CHECK_WARNING, e->origin, e->group, e->key, "%s (harmless: %s stands above it)", why,
                      other->origin);
        else
            check_add(c, CHECK_ERROR, e->origin, e->group, e->key, "%s", why);
    }
    if (plain != NULL)
        explicit_bzero(plain, strlen(plain));
    fj__free(plain);
    fj_error_free(err);
}

static void check_environment(check *c)
{
    const fj__option *o;

    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++) {
        char name[FJ__GROUP_MAX + FJ__NAME_MAX], *plain = NULL;
        const char *value = fj__conf_environment(o->group, o->name, name, sizeof name);
        fj__entry e = { .origin = name };
        fj_error *err = NULL;
        if (value == NULL)
            continue;
        e.group = (char *)(uintptr_t)o->group; /* only read */
        e.key = (char *)(uintptr_t)o->name;
        if (fj__state_plain(c->state, o, value, &plain, &err) == FJ_OK)
            check_value(c, o, &e, plain);
        else
            check_add(c, o->effect == FJ__FOREIGN ? CHECK_WARNING : CHECK_ERROR, name, o->group, o->name, "%s",
                      reason(fj_error_text(err), o->group, o->name));
        fj__free(plain);
        fj_error_free(err);
    }
    check_environment_names(c);
}

/* ---- telling ------------------------------------------------------------------------------------------------ */

static void print_text(const tool_opts *o, const check *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const check_finding *f = &c->found[i];
        if (f->severity != CHECK_ERROR && o->quiet && !o->strict)
            continue;
        fputs(f->file, stderr);
        if (f->line != 0)
            fprintf(stderr, ":%u", f->line);
        fprintf(stderr, ": %s: ", severities[f->severity]);
        if (f->group[0] != '\0')
            fprintf(stderr, "[%s] ", f->group);
        if (f->key[0] != '\0')
            fprintf(stderr, "%s: ", f->key);
        fprintf(stderr, "%s\n", f->text);
    }
    if (c->count[CHECK_ERROR] + c->count[CHECK_WARNING] == 0)
        tool_note(o, "fjord config: valid");
    else
        tool_note(o, "fjord config: %u errors, %u warnings", c->count[CHECK_ERROR], c->count[CHECK_WARNING]);
}

static int print_json(const tool_opts *o, const check *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->n; i++) {
        const check_finding *f = &c->found[i];
        json_t *line = f->line != 0 ? json_integer(f->line) : json_null();
        json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:s, s:s, s:s}", "file", f->file, "line", line,
                                              "severity", severities[f->severity], "group", f->group, "key",
                                              f->key, "text", f->text));
    }
    json_t *all = json_pack("{s:i, s:i, s:o}", "errors", (int)c->count[CHECK_ERROR], "warnings",
                            (int)c->count[CHECK_WARNING], "findings", list);
    int rc = tool_print(o, all);
    json_decref(all);
    return rc;
}

/* By line within a file; the files in the order in which they were first told of. */
static void sort(check *c)
{
    for (size_t i = 1; i < c->n; i++) {
        check_finding f = c->found[i];
        size_t at, k = i;
        while (k > 0 && strcmp(c->found[k - 1].file, f.file) != 0)
            k--;
        for (at = k; at > 0 && strcmp(c->found[at - 1].file, f.file) == 0 && c->found[at - 1].line > f.line;
             at--)
            continue;
        if (k == 0)
            continue; /* the first of its file */
        memmove(&c->found[at + 1], &c->found[at], (i - at) * sizeof f);
        c->found[at] = f;
    }
}

static void check_fini(check *c)
{
    for (size_t i = 0; i < c->n; i++) {
        fj__free(c->found[i].file);
        fj__free(c->found[i].group);
        fj__free(c->found[i].key);
        fj__free(c->found[i].text);
    }
    fj__free(c->found);
    fj__state_free(c->state);
    fj_conf_free(c->conf);
}

/* The files of --config-file, then those named; without any, those of the default places.  @return how many */
static size_t read_all(check *c, const tool_opts *o)
{
    size_t n = o->config_count + (size_t)o->rest_count - 1;
    char **paths = n == 0 ? fj__conf_default_paths(NULL) : NULL;

    for (size_t i = 0; i < o->config_count; i++)
        read_path(c, o->config_files[i]);
    for (int i = 1; i < o->rest_count; i++)
        read_path(c, o->rest[i]);
    for (; paths != NULL && paths[n] != NULL; n++)
        read_path(c, paths[n]);
    fj__option_items_free(paths);
    return n;
}

/* As it is in effect.  @return false: it cannot be */
static bool take_over(const check *c, const char *key, fj_conf *conf)
{
    fj__value v = { 0 };
    fj_error *err = NULL;
    bool good = fj__value_make(c->state, fj__option_find("fjord", key), &v, NULL) != FJ_OK || v.text == NULL ||
                fj_conf_set(conf, "fjord", key, v.text, &err) == FJ_OK;

    fj__value_fini(&v);
    fj_error_free(err);
    return good;
}

/* What drivers and executors are looked for with: where plug-ins are.  NULL: the environment is wrong */
static fj_conf *registry_conf(const check *c)
{
    fj_conf *conf = NULL;

    if (fj_conf_load("/dev/null", &conf, NULL) == FJ_OK &&
        (!take_over(c, "plugin_dir", conf) || !take_over(c, "transport_plugins", conf)))
        conf = fj_conf_free(conf);
    return conf;
}

int tool_config_check(const tool_opts *o)
{
    check c = { .state = fj__state_new() };
    fj_log_level level = FJ_LOG_ERROR;
    int rc = TOOL_DONE;

    if (c.state == NULL)
        return tool_misuse(o, "out of memory");
    if (tool_log_level(o) == NULL)
        fj_log_set_level(level); /* what is wrong is told here, once */
    if (read_all(&c, o) == 0)
        rc = tool_misuse(o, "check needs a file or a folder; there is none in the default places");
    else {
        c.conf = registry_conf(&c);
        for (size_t i = 0; i < c.state->n; i++)
            check_entry(&c, &c.state->entries[i]);
        check_environment(&c);
        check_together(&c);
        sort(&c);
        bool bad = c.failed || c.count[CHECK_ERROR] != 0 || (o->strict && c.count[CHECK_WARNING] != 0);
        if (o->json)
            rc = print_json(o, &c);
        else
            print_text(o, &c);
        if (bad)
            rc = TOOL_USAGE;
    }
    check_fini(&c);
    return rc;
}
