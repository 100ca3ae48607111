/* SPDX-License-Identifier: Apache-2.0 */
/* fjord config show: what is in effect and where it comes from, as a file that reads back to the same, or as JSON. */
#include "base/alloc.h"
#include "base/conf_state.h"
#include "tools/common.h"
#include <string.h>
#include <strings.h>

static bool is_secret(const fj__option *o)
{
    return o->type == FJ__OPT_URL || o->type == FJ__OPT_SECRET;
}

/* What may be shown of a value.  @return gives; NULL when memory ran out */
static char *shown(const fj__option *o, const char *text)
{
    if (o->type == FJ__OPT_URL)
        return tool_shown_url(text);
    return fj__strdup(o->type == FJ__OPT_SECRET ? "***" : text);
}

/* What other programs' options hold is not ours to judge: names that sound like secrets are hidden, and whatever has a
 * password in it as a URL has. */
static bool sounds_secret(const char *key, const char *value)
{
    static const char *const words[] = { "password", "passwd",  "secret", "token", "private_key",
                                         "auth_key", "api_key", "psk",    "pin" };
    const char *at = strstr(value, "://");

    for (size_t i = 0; i < fj__countof(words); i++)
        if (strcasestr(key, words[i]) != NULL)
            return true;
    return at != NULL && strchr(at, '@') != NULL;
}

/* A value as a file has it: dollars doubled, quotes where blanks would be lost, further lines indented. */
static void put_value(const char *key, const char *value)
{
    size_t n = strlen(value);
    const char *quote = "";

    if (n != 0 && strchr(value, '\n') == NULL &&
        (strchr(" \t\"'", value[0]) != NULL || strchr(" \t", value[n - 1]) != NULL))
        quote = value[0] == '"' ? "'" : "\"";
    printf("%s =%s%s", key, n != 0 ? " " : "", quote);
    for (; *value != '\0'; value++) {
        if (*value == '$')
            fputs("$$", stdout);
        else if (*value == '\n')
            fputs("\n  ", stdout);
        else
            putchar(*value);
    }
    printf("%s\n", quote);
}

/* ---- which -------------------------------------------------------------------------------------------------- */

static bool is_named(const char *word, const char *group, const char *key)
{
    size_t n = strlen(group);

    if (strncmp(word, group, n) == 0 && word[n] == '.')
        return strcmp(word + n + 1, key) == 0;
    return strcmp(group, "DEFAULT") == 0 && strcmp(word, key) == 0;
}

static bool is_wanted(const tool_opts *o, const char *group, const char *key)
{
    for (int i = 1; i < o->rest_count; i++)
        if (is_named(o->rest[i], group, key))
            return true;
    return o->rest_count == 1;
}

static bool option_wanted(const tool_opts *o, const fj__option *option)
{
    char group[FJ__GROUP_MAX], name[FJ__NAME_MAX];

    if (option->effect == FJ__FOREIGN && !o->all && o->rest_count == 1)
        return false;
    if (is_wanted(o, option->group, option->name))
        return true;
    for (size_t i = 0; fj__option_older(option, i, group, name); i++)
        if (is_wanted(o, group, name))
            return true;
    return false;
}

/* The last entry of its name, that no option of the table is. */
static bool entry_wanted(const tool_opts *o, const fj__state *s, const fj__entry *e)
{
    return (o->all || o->rest_count > 1) && fj__option_find(e->group, e->key) == NULL &&
           fj__state_find(s, e->group, e->key) == e && is_wanted(o, e->group, e->key);
}

/* Each name that was asked for has to be one. */
static int check_names(const tool_opts *o, const fj__state *s)
{
    for (int i = 1; i < o->rest_count; i++) {
        const fj__option *option;
        char group[FJ__GROUP_MAX], name[FJ__NAME_MAX];
        bool known = false;
        for (size_t k = 0; !known && (option = fj__option_at(k)) != NULL; k++) {
            known = is_named(o->rest[i], option->group, option->name);
            for (size_t j = 0; !known && fj__option_older(option, j, group, name); j++)
                known = is_named(o->rest[i], group, name);
        }
        for (size_t k = 0; !known && k < s->n; k++)
            known = is_named(o->rest[i], s->entries[k].group, s->entries[k].key);
        if (!known)
            return tool_misuse(o, "there is no option %.100s, and no file sets it", o->rest[i]);
    }
    return -1;
}

/* ---- as text ------------------------------------------------------------------------------------------------ */

static void heading(const char **group, const char *next)
{
    if (strcmp(*group, next) != 0)
        printf("%s[%s]\n", **group != '\0' ? "\n" : "", next);
    *group = next;
}

static void put_option(const tool_opts *o, const fj__option *option, const fj__value *v)
{
    if (o->origin)
        printf("# %s%s%s%s\n", v->origin, v->older != NULL ? " (deprecated name: " : "",
               v->older != NULL ? v->older : "", v->older != NULL ? ")" : "");
    if (option->type == FJ__OPT_MULTI)
        for (size_t i = 0; v->items != NULL && v->items[i] != NULL; i++)
            put_value(option->name, v->items[i]);
    if (option->type == FJ__OPT_MULTI ? v->items == NULL || v->items[0] == NULL : v->text == NULL)
        printf("#%s =\n", option->name);
    else if (option->type != FJ__OPT_MULTI) {
        char *text = shown(option, v->text);
        if (text != NULL)
            put_value(option->name, text);
        fj__free(text);
    }
}

static void put_entry(const tool_opts *o, const fj__state *s, const fj__entry *e)
{
    char *value = NULL;

    if (o->origin)
        printf("# %s\n", e->origin);
    if (sounds_secret(e->key, e->value))
        printf("%s = ***\n", e->key);
    else if (fj__state_expand(s, e->group, e->value, &value, NULL) ==
             FJ_OK) /* else it is for who reads it to know */
        put_value(e->key, sounds_secret(e->key, value) ? "***" : value);
    else
        printf("# as it stands there, for it refers to what no file sets\n%s = %s\n", e->key, e->value);
    fj__free(value);
}

static void show_text(const tool_opts *o, const fj__state *s)
{
    const fj__option *option;
    const char *group = "";

    for (size_t i = 0; (option = fj__option_at(i)) != NULL; i++) {
        if (!option_wanted(o, option))
            continue;
        heading(&group, option->group);
        put_option(o, option, &s->values[i]);
    }
    for (size_t i = 0; i < s->n; i++) {
        if (!entry_wanted(o, s, &s->entries[i]))
            continue;
        heading(&group, s->entries[i].group);
        put_entry(o, s, &s->entries[i]);
    }
}

/* ---- as JSON ------------------------------------------------------------------------------------------------ */

static json_t *older_names(const fj__option *option)
{
    json_t *all = json_array();
    char group[FJ__GROUP_MAX], name[FJ__NAME_MAX];

    for (size_t i = 0; fj__option_older(option, i, group, name); i++)
        json_array_append_new(all, json_pack("{s:s, s:s}", "group", group, "name", name));
    return all;
}

static json_t *choices(const fj__option *option)
{
    json_t *all = json_array();

    for (const char *at = option->choices; at != NULL && *at != '\0'; at += *at == ' ') {
        size_t n = strcspn(at, " ");
        json_array_append_new(all, json_stringn(at, n));
        at += n;
    }
    return all;
}

/* A row of the table. */
static json_t *row(const fj__option *option)
{
    static const char *const effects[] = { "fixed", "reloads", "needless", "missing", "other driver" };
    char **items = fj__option_split(option->def != NULL ? option->def : "");
    bool bounds = option->min <= option->max;
    json_t *def = fj__option_json(option, option->def, (const char *const *)items);
    json_t *made = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:s?, s:o, s:o, s:s, s:b, s:s}", "group",
                             option->group, "name", option->name, "type", fj__option_type_name(option->type),
                             "default", def, "min", bounds ? json_real(option->min) : json_null(), "max",
                             bounds && option->max < 1e300 ? json_real(option->max) : json_null(), "unit",
                             option->unit, "choices", choices(option), "deprecated_names", older_names(option),
                             "effect", effects[option->effect], "deprecated", (option->flags & FJ__GOING) != 0,
                             "help", option->help);

    fj__option_items_free(items);
    return made;
}

static json_t *option_json(const fj__option *option, const fj__value *v)
{
    json_t *value = NULL;
    char *text = NULL;

    if (!is_secret(option) || v->text == NULL)
        value = fj__option_json(option, v->text, (const char *const *)v->items);
    else if ((text = shown(option, v->text)) != NULL)
        value = json_string(text);
    fj__free(text);
    return json_pack("{s:s, s:s, s:o, s:s, s:s?}", "group", option->group, "name", option->name, "value", value,
                     "origin", v->origin, "deprecated_name", v->older);
}

static json_t *entry_json(const fj__state *s, const fj__entry *e)
{
    char *value = NULL;
    bool known = fj__state_expand(s, e->group, e->value, &value, NULL) == FJ_OK;
    const char *text = known ? value : e->value;

    json_t *made = json_pack("{s:s, s:s, s:s, s:s}", "group", e->group, "name", e->key, "value",
                             sounds_secret(e->key, text) || sounds_secret(e->key, e->value) ? "***" : text,
                             "origin", e->origin);
    fj__free(value);
    return made;
}

static int show_json(const tool_opts *o, const fj__state *s)
{
    json_t *all = json_array();
    const fj__option *option;

    for (size_t i = 0; (option = fj__option_at(i)) != NULL; i++)
        if (option_wanted(o, option))
            json_array_append_new(all, o->defaults ? row(option) : option_json(option, &s->values[i]));
    for (size_t i = 0; !o->defaults && i < s->n; i++)
        if (entry_wanted(o, s, &s->entries[i]))
            json_array_append_new(all, entry_json(s, &s->entries[i]));
    int rc = tool_print(o, all);
    json_decref(all);
    return rc;
}

/* The defaults as text: as if nothing were set anywhere. */
static void show_defaults(const tool_opts *o)
{
    const fj__option *option;
    const char *group = "";

    for (size_t i = 0; (option = fj__option_at(i)) != NULL; i++) {
        if (!option_wanted(o, option))
            continue;
        heading(&group, option->group);
        if (option->def != NULL)
            put_value(option->name, option->def);
        else
            printf("#%s =\n", option->name);
    }
}

int tool_config_show(const tool_opts *o)
{
    fj_error *err = NULL;
    fj_conf *conf = NULL;
    int rc = TOOL_DONE;

    if (o->defaults && !o->json) {
        show_defaults(o);
        return fflush(stdout) == 0 ? TOOL_DONE : TOOL_REMOTE;
    }
    if (tool_conf(o, &conf, &err) != FJ_OK)
        return tool_fail(o, err);
    const fj__state *s = fj__conf_now(conf);
    rc = check_names(o, s);
    if (rc < 0 && o->json)
        rc = show_json(o, s);
    else if (rc < 0) {
        show_text(o, s);
        rc = fflush(stdout) == 0 ? TOOL_DONE : TOOL_REMOTE;
    }
    fj_conf_free(conf);
    return rc;
}
