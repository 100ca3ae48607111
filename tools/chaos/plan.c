/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: the rules of a file, each with a name of its own. */
#include "base/alloc.h"
#include "tools/chaos/rule.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PLAN_MAX = 16 * 1024 * 1024 };

static fj_code check_keys(const json_t *plan, fj_error **err)
{
    const char *key;
    json_t *value;

    json_object_foreach(
        (json_t *)(uintptr_t)plan, key,
        value) if (strcmp(key, "seed") != 0 && strcmp(key, "rules") != 0 &&
                   strcmp(key, "comment") !=
                       0) return fj_fail(err, FJ_BAD_VALUE,
                                         "%s: there is no such key; a plan has seed, rules and comment", key);
    value = json_object_get(plan, "seed");
    if (value != NULL && (!json_is_integer(value) || json_integer_value(value) < 0))
        return fj_fail(err, FJ_BAD_VALUE, "seed: must be an integer of at least 0");
    if (!json_is_array(json_object_get(plan, "rules")))
        return fj_fail(err, FJ_BAD_VALUE, "rules: must be there, and an array");
    return FJ_OK;
}

static fj_code name_is_new(const chaos_plan *plan, const char *name, size_t at, fj_error **err)
{
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->rules[i]->name, name) == 0)
            return fj_fail(err, FJ_BAD_VALUE, "rules[%zu].name: rules[%zu] has the name \"%s\" already", at, i,
                           name);
    return FJ_OK;
}

static fj_code read_rules(const json_t *rules, chaos_plan *plan, fj_error **err)
{
    size_t n = json_array_size(rules);
    fj_code rc = FJ_OK;
    chaos_rule *rule;
    char where[32];

    plan->rules = fj__zalloc((n + 1) * sizeof *plan->rules);
    if (plan->rules == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory");
    for (size_t i = 0; rc == FJ_OK && i < n; i++) {
        (void)snprintf(where, sizeof where, "rules[%zu]", i);
        rc = chaos_rule_read(json_array_get(rules, i), where, &rule, err);
        if (rc != FJ_OK)
            break;
        rule->id = i + 1;
        if (rule->name == NULL && (rule->name = fj__format("rule-%zu", i + 1)) == NULL)
            rc = fj_fail(err, FJ_NOMEM, "out of memory");
        else
            rc = name_is_new(plan, rule->name, i, err);
        if (rc == FJ_OK)
            plan->rules[plan->count++] = rule;
        else
            chaos_rule_free(rule);
    }
    return rc;
}

fj_code chaos_plan_read(const char *text, size_t n, const char *name, chaos_plan *ret, fj_error **err)
{
    json_error_t where;
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    chaos_plan plan = { 0 };
    fj_code rc;

    if (json == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "%s:%d:%d: %s", name, where.line, where.column, where.text);
    rc = json_is_object(json) ? check_keys(json, err) : fj_fail(err, FJ_BAD_VALUE, "a plan is an object");
    if (rc == FJ_OK) {
        plan.has_seed = json_object_get(json, "seed") != NULL;
        plan.seed = (uint64_t)json_integer_value(json_object_get(json, "seed"));
        rc = read_rules(json_object_get(json, "rules"), &plan, err);
    }
    if (rc == FJ_OK)
        *ret = plan;
    else {
        fj_error_prefix(err, "%s", name);
        chaos_plan_fini(&plan);
    }
    json_decref(json);
    return rc;
}

fj_code chaos_plan_load(const char *path, chaos_plan *ret, fj_error **err)
{
    fj__buf text = { 0 };
    uint8_t *to = NULL;
    size_t n = 1;
    fj_code rc;
    FILE *f = fopen(path, "rbe");

    if (f == NULL)
        return fj_fail(err, FJ_SYSTEM, "%s: %s", path, strerror(errno));
    while (n > 0 && fj__buf_len(&text) <= PLAN_MAX && (to = fj__buf_reserve(&text, 65536)) != NULL) {
        n = fread(to, 1, 65536, f);
        fj__buf_commit(&text, n);
    }
    if (ferror(f))
        rc = fj_fail(err, FJ_SYSTEM, "%s: %s", path, strerror(errno));
    else if (fj__buf_len(&text) > PLAN_MAX)
        rc = fj_fail(err, FJ_BAD_VALUE, "%s: is longer than %d bytes", path, PLAN_MAX);
    else if (to == NULL)
        rc = fj_fail(err, FJ_NOMEM, "out of memory");
    else
        rc = chaos_plan_read((const char *)fj__buf_data(&text), fj__buf_len(&text), path, ret, err);
    (void)fclose(f);
    fj__buf_fini(&text);
    return rc;
}

void chaos_plan_fini(chaos_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        chaos_rule_free(plan->rules[i]);
    fj__free(plan->rules);
    *plan = (chaos_plan){ 0 };
}
