/* SPDX-License-Identifier: Apache-2.0 */
/* For tests/config/run: each line of standard input is {"files": [text...], "env": {name: text...}}; the answer is {"error": text} when a
 * file is refused, else {"GROUP.KEY": {"value": v} or {"error": text}...} for every option of oslo.messaging. */
#include "base/conf_state.h"
#include <fjord/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *one_value(const fj__state *s, const fj__option *o)
{
    fj__value v = { 0 };
    fj_error *err = NULL;
    json_t *answer;

    if (fj__value_make(s, o, &v, &err) == FJ_OK)
        answer = json_pack("{s:o}", "value", fj__option_json(o, v.text, (const char *const *)v.items));
    else
        answer = json_pack("{s:s}", "error", fj_error_text(err));
    fj_error_free(err);
    fj__value_fini(&v);
    return answer;
}

static json_t *echo(json_t *request)
{
    fj__state *s = fj__state_new();
    json_t *files = json_object_get(request, "files"), *answer = json_object(), *file;
    fj_error *err = NULL;
    const fj__option *o;
    size_t i;
    fj_code rc = FJ_OK;

    json_array_foreach(files, i, file) if (rc == FJ_OK) rc =
        fj__state_parse(s, "file", json_string_value(file), json_string_length(file), 0, NULL, NULL, &err);
    if (rc != FJ_OK)
        json_object_set_new(answer, "error", json_string(fj_error_text(err)));
    for (i = 0; rc == FJ_OK && (o = fj__option_at(i)) != NULL; i++) {
        char key[256];
        (void)snprintf(key, sizeof key, "%s.%s", o->group, o->name);
        json_object_set_new(answer, key, one_value(s, o));
    }
    fj_error_free(err);
    fj__state_free(s);
    return answer;
}

static void environment(json_t *env, bool there)
{
    const char *name;
    json_t *value;

    json_object_foreach(env, name, value)
    {
        if (there)
            setenv(name, json_string_value(value), 1);
        else
            unsetenv(name);
    }
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    while ((n = getline(&line, &room, stdin)) > 0) {
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        environment(json_object_get(request, "env"), true);
        json_t *answer = echo(request);
        environment(json_object_get(request, "env"), false);
        json_dumpf(answer, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
        putchar('\n');
        fflush(stdout);
        json_decref(request);
        json_decref(answer);
    }
    free(line);
    return 0;
}
