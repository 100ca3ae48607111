/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/failure.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

/* How much of a failure that cannot be read is shown. */
enum { SHOWN = 200 };

/* ---- out --------------------------------------------------------------------------------------- */

/* The length of a name without the suffix that a Python client gave it when it rebuilt a remote failure. */
static size_t stem(const char *name)
{
    static const char suffix[] = "_Remote";
    size_t n = strlen(name), cut = sizeof suffix - 1;

    return n >= cut && strcmp(name + n - cut, suffix) == 0 ? n - cut : n;
}

static void put_traceback(fj__json_out *o, const fj_error *failure, const char *name, size_t name_n)
{
    const char *text = fj_error_text(failure);

    if (json_is_array(fj_error_traceback(failure))) {
        fj__json_out_value(o, fj_error_traceback(failure));
        return;
    }
    fj__json_out_lit(o, "[\"Traceback (most recent call last):\\n\", \"");
    fj__json_out_escaped(o, name, name_n);
    fj__json_out_lit(o, ": ");
    fj__json_out_escaped(o, text, strlen(text));
    fj__json_out_lit(o, "\\n\"]");
}

static void put_args(fj__json_out *o, const fj_error *failure)
{
    if (json_is_array(fj_error_remote_args(failure))) {
        fj__json_out_value(o, fj_error_remote_args(failure));
        return;
    }
    fj__json_out_lit(o, "[");
    fj__json_out_text(o, fj_error_text(failure));
    fj__json_out_lit(o, "]");
}

static void put_kwargs(fj__json_out *o, const fj_error *failure)
{
    if (json_is_object(fj_error_remote_kwargs(failure)))
        fj__json_out_value(o, fj_error_remote_kwargs(failure));
    else
        fj__json_out_lit(o, "{}");
}

fj_code fj__failure_write(const fj_error *failure, const fj_json_opts *opts, char **ret, size_t *ret_n,
                          fj_error **err)
{
    const char *name = fj_error_remote_class(failure), *module = fj_error_remote_module(failure);
    size_t name_n = strlen(name), module_n = strlen(module);
    fj__json_out o = fj__json_out_new(opts);

    o.lenient = true;
    o.depth = 1; /* what follows stands in one object */
    if (stem(name) != name_n && stem(module) != module_n) {
        name_n = stem(name);
        module_n = stem(module);
    }
    fj__json_out_lit(&o, "{\"class\": ");
    fj__json_out_string(&o, name, name_n);
    fj__json_out_lit(&o, ", \"module\": ");
    fj__json_out_string(&o, module, module_n);
    fj__json_out_lit(&o, ", \"message\": ");
    fj__json_out_text(&o, fj_error_text(failure));
    fj__json_out_lit(&o, ", \"tb\": ");
    put_traceback(&o, failure, name, name_n);
    fj__json_out_lit(&o, ", \"args\": ");
    put_args(&o, failure);
    fj__json_out_lit(&o, ", \"kwargs\": ");
    put_kwargs(&o, failure);
    fj__json_out_lit(&o, "}");
    return fj__json_out_finish(&o, ret, ret_n, err);
}

/* ---- in ---------------------------------------------------------------------------------------- */

bool fj__json_truthy(const json_t *value)
{
    if (value == NULL)
        return false;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) != 0;
    case JSON_ARRAY:
        return json_array_size(value) != 0;
    case JSON_STRING:
        return json_string_length(value) != 0;
    case JSON_INTEGER:
        return json_integer_value(value) != 0;
    case JSON_REAL:
        return fpclassify(json_real_value(value)) != FP_ZERO;
    case JSON_TRUE:
        return true;
    default:
        return false;
    }
}

/* A C string of a JSON string: U+FFFD for each NUL in it. */
static char *text_of_string(const json_t *value)
{
    const char *from = json_string_value(value);
    size_t n = json_string_length(value), at = 0;
    char *text = n > SIZE_MAX / 4 ? NULL : fj__alloc(n * 3 + 1);

    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (from[i] != '\0') {
            text[at++] = from[i];
        } else {
            memcpy(text + at, "\xEF\xBF\xBD", 3);
            at += 3;
        }
    }
    text[at] = '\0';
    return text;
}

/* The text of any value: a string as it is, null and nothing as "", everything else as JSON. */
static char *text_of(const json_t *value)
{
    char *text = NULL;

    if (json_is_string(value))
        return text_of_string(value);
    if (value == NULL || json_is_null(value))
        return fj__strdup("");
    return fj_json_write(value, NULL, &text, NULL, NULL) == FJ_OK ? text : NULL;
}

/* The value as an array: nothing as an empty one, any other value as the one item of one. */
static json_t *array_of(json_t *value)
{
    if (json_is_array(value))
        return json_incref(value);
    json_t *array = json_array();
    if (array != NULL && value != NULL && !json_is_null(value) && json_array_append(array, value) != 0) {
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *object_of(json_t *value)
{
    return json_is_object(value) ? json_incref(value) : json_object();
}

static fj_code made(fj_error *remote, fj_error **ret, fj_error **err)
{
    if (remote == NULL || fj__error_is_static(remote))
        return fj_fail(err, FJ_NOMEM, "out of memory reading a failure");
    fj_error_set_sent(remote, FJ_SENT_YES);
    *ret = remote;
    return FJ_OK;
}

/* The failure's object as an error. */
static fj_code from_object(const json_t *object, fj_error **ret, fj_error **err)
{
    char *name = text_of(json_object_get(object, "class"));
    char *module = text_of(json_object_get(object, "module"));
    char *text = text_of(json_object_get(object, "message"));
    json_t *args = array_of(json_object_get(object, "args"));
    json_t *kwargs = object_of(json_object_get(object, "kwargs"));
    json_t *traceback = array_of(json_object_get(object, "tb"));
    fj_error *remote = NULL;
    fj_code code = FJ_NOMEM;

    if (name != NULL && module != NULL && text != NULL && args != NULL && kwargs != NULL && traceback != NULL) {
        const char *where = strcmp(module, "exceptions") == 0 ? "builtins" : module; /* Python 2's name of it */
        (void)fj_fail(&remote, FJ_REMOTE, "%s", text);
        fj_error_set_remote(remote, where, name[0] != '\0' ? name : NULL, args, kwargs, traceback);
        args = kwargs = traceback = NULL;
        code = made(remote, ret, err);
    } else {
        code = fj_fail(err, FJ_NOMEM, "out of memory reading a failure");
    }
    json_decref(args);
    json_decref(kwargs);
    json_decref(traceback);
    fj__free(name);
    fj__free(module);
    fj__free(text);
    return code;
}

/* The length of the part of a failure that is shown: whole UTF-8 sequences. */
static int shown(const char *text)
{
    size_t n = strlen(text);

    if (n > SHOWN) {
        n = SHOWN;
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
            n--;
    }
    return (int)n;
}

static fj_code unreadable(const json_t *failure, const char *why, fj_error **ret, fj_error **err)
{
    fj_error *remote = NULL;
    char *text = text_of(failure);

    if (text == NULL)
        return fj_fail(err, FJ_NOMEM, "out of memory reading a failure");
    (void)fj_fail(&remote, FJ_REMOTE, "the remote method failed, and its failure cannot be read (%s): %.*s",
                  why, shown(text), text);
    fj__free(text);
    return made(remote, ret, err);
}

fj_code fj__failure_read(const json_t *failure, const fj_json_opts *opts, fj_error **ret, fj_error **err)
{
    json_t *object = NULL;
    fj_error *why = NULL;
    fj_code code;

    *ret = NULL;
    if (!fj__json_truthy(failure))
        return FJ_OK;
    if (!json_is_string(failure))
        return unreadable(failure, "not a string", ret, err);
    code = fj_json_read(json_string_value(failure), json_string_length(failure), opts, &object, &why);
    if (code == FJ_NOMEM)
        return fj_error_move(why, err);
    if (code != FJ_OK)
        code = unreadable(failure, fj_error_text(why), ret, err);
    else if (!json_is_object(object))
        code = unreadable(failure, "not an object", ret, err);
    else
        code = from_object(object, ret, err);
    fj_error_free(why);
    json_decref(object);
    return code;
}
