/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/filter.h"

#include "base/alloc.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* How far a pattern may be tried on one text: what peers send must not hold a listener up.  A match that fails goes through millions
 * of steps a second. */
enum { STEPS_MAX = 1000000, HEAP_MAX_KIB = 8192 };

struct rule {
    const char *of; /* "context", "metadata", "payload"; NULL: of the notification itself */
    char *key;
    pcre2_code *code;
};

struct fj__filter {
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    struct rule *rules;
    size_t n;
};

static void *get(size_t n, void *user)
{
    (void)user;
    return fj__alloc(n);
}

static void give(void *p, void *user)
{
    (void)user;
    fj__free(p);
}

/* Python's \Z is the very end, which Perl has as \z.  Gives; NULL: no memory. */
static char *perl_of(const char *python)
{
    char *copy = fj__strdup(python);

    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        if (*c != '\\' || c[1] == '\0')
            continue;
        c++;
        if (*c == 'Z')
            *c = 'z';
    }
    return copy;
}

static fj_code compile(const fj__filter *f, const char *pattern, pcre2_code **ret, fj_error **err)
{
    unsigned char text[256];
    int number = 0;
    PCRE2_SIZE at = 0;
    char *perl = perl_of(pattern);
    pcre2_compile_context *how = pcre2_compile_context_create(f->memory);
    fj_code code = FJ_OK;

    if (perl == NULL || how == NULL) {
        code = fj_fail(err, FJ_NOMEM, "no memory for a filter");
        goto out;
    }
    (void)pcre2_set_newline(how, PCRE2_NEWLINE_LF);
    *ret = pcre2_compile((PCRE2_SPTR)perl, PCRE2_ZERO_TERMINATED,
                         PCRE2_ANCHORED | PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &number, &at, how);
    if (*ret == NULL) {
        (void)pcre2_get_error_message(number, text, sizeof text);
        code = fj_fail(err, FJ_BAD_VALUE, "the pattern \"%s\" is none: %s, at its character %zu", pattern,
                       (const char *)text, at);
    }
out:
    pcre2_compile_context_free(how);
    fj__free(perl);
    return code;
}

static fj_code add(fj__filter *f, const char *of, const char *key, const char *pattern, fj_error **err)
{
    struct rule *rule = &f->rules[f->n];

    if (key == NULL || pattern == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "a rule of a filter needs a key and a pattern");
    *rule = (struct rule){ .of = of, .key = fj__strdup(key) };
    f->n++;
    return rule->key != NULL ? compile(f, pattern, &rule->code, err)
                             : fj_fail(err, FJ_NOMEM, "no memory for a filter");
}

static fj_code add_all(fj__filter *f, const char *of, const fj_notify_rule *rules, size_t n, fj_error **err)
{
    fj_code code = FJ_OK;

    for (size_t i = 0; code == FJ_OK && i < n; i++)
        code = add(f, of, rules[i].key, rules[i].pattern, err);
    return code;
}

fj_code fj__filter_new(const fj_notify_filter *from, fj__filter **ret, fj_error **err)
{
    fj_notify_filter all = FJ_NOTIFY_FILTER(.publisher_id = NULL);
    fj__filter *f = fj__zalloc(sizeof *f);
    fj_code code = FJ_OK;

    memcpy(&all, from, from->size < sizeof all ? from->size : sizeof all);
    if (f != NULL) {
        f->rules =
            fj__zalloc((2 + all.context_count + all.metadata_count + all.payload_count) * sizeof *f->rules);
        f->memory = pcre2_general_context_create(get, give, NULL);
        f->limits = f->memory != NULL ? pcre2_match_context_create(f->memory) : NULL;
    }
    if (f == NULL || f->rules == NULL || f->limits == NULL) {
        fj__filter_free(f);
        return fj_fail(err, FJ_NOMEM, "no memory for a filter");
    }
    (void)pcre2_set_match_limit(f->limits, STEPS_MAX);
    (void)pcre2_set_heap_limit(f->limits, HEAP_MAX_KIB);
    if (all.publisher_id != NULL)
        code = add(f, NULL, "publisher_id", all.publisher_id, err);
    if (code == FJ_OK && all.event_type != NULL)
        code = add(f, NULL, "event_type", all.event_type, err);
    if (code == FJ_OK)
        code = add_all(f, "context", all.context, all.context_count, err);
    if (code == FJ_OK)
        code = add_all(f, "metadata", all.metadata, all.metadata_count, err);
    if (code == FJ_OK)
        code = add_all(f, "payload", all.payload, all.payload_count, err);
    if (code != FJ_OK)
        fj__filter_free(f);
    else
        *ret = f;
    return code;
}

void fj__filter_free(fj__filter *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->n; i++) {
        fj__free(f->rules[i].key);
        pcre2_code_free(f->rules[i].code);
    }
    fj__free(f->rules);
    pcre2_match_context_free(f->limits);
    pcre2_general_context_free(f->memory);
    fj__free(f);
}

/* Without memory, or beyond the limits, it does not fit. */
static bool fits(const fj__filter *f, const struct rule *rule, const json_t *value)
{
    if (!json_is_string(value))
        return false;
    pcre2_match_data *found = pcre2_match_data_create(1, f->memory);
    int n = found != NULL ? pcre2_match(rule->code, (PCRE2_SPTR)json_string_value(value),
                                        json_string_length(value), 0, 0, found, f->limits)
                          : -1;
    pcre2_match_data_free(found);
    return n >= 0;
}

bool fj__filter_fits(const fj__filter *f, const json_t *context, const json_t *args)
{
    for (size_t i = 0; f != NULL && i < f->n; i++) {
        const struct rule *rule = &f->rules[i];
        const json_t *in = rule->of == NULL                   ? args
                           : strcmp(rule->of, "context") == 0 ? context
                                                              : json_object_get(args, rule->of);
        if (!fits(f, rule, json_object_get(in, rule->key)))
            return false;
    }
    return true;
}
