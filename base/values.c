/* SPDX-License-Identifier: Apache-2.0 */
/* The types of options: what is a value of each, and how it is written. */
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/options.h"
#include "base/pytext.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

const char *fj__option_type_name(fj__option_type type)
{
    static const char *const names[] = { "string",  "secret", "URL",   "integer", "number",
                                         "boolean", "list",   "multi", "choice" };

    return names[type];
}

bool fj__bool_parse(const char *text, bool *ret)
{
    static const char *const words[] = { "true", "1", "on", "yes", "false", "0", "off", "no" };

    for (size_t i = 0; i < fj__countof(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i < 4;
            return true;
        }
    }
    return false;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

double fj__number_parse(const char *text, char **end)
{
    (void)pthread_once(&c_locale_once, make_c_locale);
    return c_locale != (locale_t)0 ? strtod_l(text, end, c_locale) : strtod(text, end);
}

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);

    for (const char *at = choices; n != 0 && (at = strstr(at, value)) != NULL; at += n) {
        if ((at == choices || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
            return true;
    }
    return false;
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */

static fj_code in_range(const fj__option *o, const char *value, double number, fj_error **err)
{
    if (o->min > o->max || (number >= o->min && number <= o->max))
        return FJ_OK;
    if (!isfinite(o->max))
        return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: %s is less than %.10g", o->group, o->name, value, o->min);
    return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: %s is not between %.10g and %.10g", o->group, o->name, value,
                   o->min, o->max);
}

static fj_code number(const fj__option *o, const char *value, char **ret, fj_error **err)
{
    int64_t whole = 0;
    double real = 0;
    fj__py_number is = o->type == FJ__OPT_INT ? fj__py_int(value, &whole) : fj__py_float(value, &real);

    *ret = NULL;
    if (is == FJ__PY_EMPTY)
        return FJ_OK;
    if (is == FJ__PY_TOO_BIG)
        return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: '%.40s' is beyond 64 bits", o->group, o->name, value);
    if (is == FJ__PY_BAD)
        return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: '%.80s' is no %s", o->group, o->name, value,
                       fj__option_type_name(o->type));
    fj_code rc = in_range(o, value, o->type == FJ__OPT_INT ? (double)whole : real, err);
    if (rc != FJ_OK)
        return rc;
    *ret = o->type == FJ__OPT_INT ? fj__format("%" PRId64, whole) : fj__py_shortest(real);
    return *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

/* ---- all of them -------------------------------------------------------------------------------------------- */

static fj_code kept(const char *value, char **ret, fj_error **err)
{
    *ret = fj__strdup(value);
    return *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "out of memory");
}

fj_code fj__option_plain(const fj__option *o, const char *value, char **ret, fj_error **err)
{
    bool is;

    switch (o->type) {
    case FJ__OPT_INT:
    case FJ__OPT_FLOAT:
        return number(o, value, ret, err);
    case FJ__OPT_BOOL:
        if (!fj__bool_parse(value, &is))
            return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: '%.80s' is neither true nor false", o->group, o->name,
                           value);
        return kept(is ? "true" : "false", ret, err);
    case FJ__OPT_CHOICE:
        if (!is_choice(o->choices, value))
            return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: '%.80s' is none of: %s", o->group, o->name, value,
                           o->choices);
        return kept(value, ret, err);
    default:
        return kept(value, ret, err);
    }
}

fj_code fj__option_check(const fj__option *o, const char *value, fj_error **err)
{
    char *plain = NULL;
    fj_code rc = fj__option_plain(o, value, &plain, err);

    fj__free(plain);
    return rc;
}

void fj__option_items_free(char **items)
{
    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        explicit_bzero(items[i], strlen(items[i]));
        fj__free(items[i]);
    }
    fj__free(items);
}

char **fj__option_split(const char *value)
{
    size_t n = strlen(value), count = 0, room = 0;
    char **items = fj__grow(NULL, &room, 1, sizeof *items);
    bool ok = items != NULL;

    fj__py_strip(&value, &n);
    while (n != 0 && value[n - 1] == ',')
        n--;
    if (ok)
        items[0] = NULL;
    for (bool more = n != 0; ok && more;) {
        const char *comma = memchr(value, ',', n), *item = value;
        size_t len = comma != NULL ? (size_t)(comma - value) : n;
        size_t item_n = len;
        char **grown = fj__grow(items, &room, count + 2, sizeof *items);
        fj__py_strip(&item, &item_n);
        ok = grown != NULL;
        if (ok) {
            items = grown;
            items[count] = fj__strndup(item, item_n);
            ok = items[count] != NULL;
            items[++count] = NULL;
        }
        more = comma != NULL;
        value += len + more;
        n -= len + more;
    }
    if (ok)
        return items;
    fj__option_items_free(items);
    return NULL;
}

static char *python_list(const char *const *items)
{
    fj__buf b = { 0 };
    bool ok = fj__buf_append(&b, "[", 1);

    for (size_t i = 0; ok && items != NULL && items[i] != NULL; i++) {
        char *item = fj__py_repr(items[i]);
        ok = item != NULL && (i == 0 || fj__buf_append(&b, ", ", 2)) && fj__buf_append(&b, item, strlen(item));
        fj__free(item);
    }
    ok = ok && fj__buf_append(&b, "]", 1);
    char *made = ok ? fj__strndup((const char *)fj__buf_data(&b), fj__buf_len(&b)) : NULL;
    fj__buf_fini(&b);
    return made;
}

char *fj__option_python(const fj__option *o, const char *plain, const char *const *items)
{
    if (o->type == FJ__OPT_LIST || o->type == FJ__OPT_MULTI)
        return python_list(items);
    if (plain == NULL)
        return fj__strdup("");
    if (o->type == FJ__OPT_BOOL)
        return fj__strdup(strcmp(plain, "true") == 0 ? "True" : "False");
    bool whole = o->type == FJ__OPT_FLOAT && (o->flags & FJ__WHOLE) == 0 && strpbrk(plain, ".e") == NULL;
    return whole ? fj__format("%s.0", plain) : fj__strdup(plain);
}

static json_t *json_list(const char *const *items)
{
    json_t *list = json_array();

    for (size_t i = 0; items != NULL && items[i] != NULL; i++)
        if (json_array_append_new(list, json_string(items[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

json_t *fj__option_json(const fj__option *o, const char *plain, const char *const *items)
{
    switch (o->type) {
    case FJ__OPT_LIST:
    case FJ__OPT_MULTI:
        return json_list(items);
    case FJ__OPT_INT:
        return plain != NULL ? json_integer(strtoll(plain, NULL, 10)) : json_null();
    case FJ__OPT_FLOAT:
        return plain != NULL ? json_real(fj__number_parse(plain, NULL)) : json_null();
    case FJ__OPT_BOOL:
        return plain != NULL ? json_boolean(strcmp(plain, "true") == 0) : json_null();
    default:
        return plain != NULL ? json_string(plain) : json_null();
    }
}
