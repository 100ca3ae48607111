/* SPDX-License-Identifier: Apache-2.0 */
#include "error.h"

#include "alloc.h"

#include <string.h>

struct fj_error {
    fj_code code;
    fj_sent sent;
    unsigned flags;
    char *text;  /* NULL: the code's text */
    char *where; /* NULL: nowhere */
    char *module, *class_name;
    json_t *args, *kwargs, *traceback;
};

/* Handed out when an error object cannot be allocated.  Never changed, never freed. */
static fj_error no_memory = { .code = FJ_NOMEM };

struct row {
    fj_code code;
    bool retriable;
    const char *name, *module, *class_name, *text;
};

static const struct row rows[] = {
#define X(name, value, retriable, module, class_, text) { FJ_##name, retriable, #name, module, class_, text },
    FJ_CODES(X)
#undef X
};

static const struct row user_row = { FJ_USER,    false,       "USER",
                                     "builtins", "Exception", "an error of the application" };
static const struct row bad_row = { FJ_INTERNAL, false, "?", "builtins", "RuntimeError", "an unknown error" };

static const struct row *row_of(fj_code code)
{
    if ((size_t)code < fj__countof(rows)) /* values run from 0 without gaps: error_test checks */
        return &rows[code];
    return code >= FJ_USER ? &user_row : &bad_row;
}

const char *fj_version(void)
{
    return FJ_VERSION;
}

const char *fj_code_name(fj_code code)
{
    return row_of(code)->name;
}

const char *fj_code_text(fj_code code)
{
    return row_of(code)->text;
}

bool fj_code_retriable(fj_code code)
{
    return row_of(code)->retriable;
}

const char *fj_code_module(fj_code code)
{
    return row_of(code)->module;
}

const char *fj_code_class(fj_code code)
{
    return row_of(code)->class_name;
}

const char *fj_sent_name(fj_sent sent)
{
    return sent == FJ_SENT_YES ? "yes" : sent == FJ_SENT_MAYBE ? "maybe" : "no";
}

bool fj__error_is_static(const fj_error *err)
{
    return err == &no_memory;
}

fj_error *fj_error_free(fj_error *err)
{
    if (err == NULL || fj__error_is_static(err))
        return NULL;
    json_decref(err->args);
    json_decref(err->kwargs);
    json_decref(err->traceback);
    fj__free(err->text);
    fj__free(err->where);
    fj__free(err->module);
    fj__free(err->class_name);
    fj__free(err);
    return NULL;
}

static fj_error *make(fj_code code, const char *format, va_list args) FJ_PRINTF(2, 0);
static fj_error *make(fj_code code, const char *format, va_list args)
{
    fj_error *err = fj__zalloc(sizeof *err);

    if (err == NULL)
        return &no_memory;
    err->code = code;
    if (format != NULL)
        err->text = fj__vformat(format, args);
    return err;
}

static void put(fj_error **err, fj_error *made)
{
    fj_error_free(*err);
    *err = made;
}

fj_code fj_fail(fj_error **err, fj_code code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        put(err, make(code, format, args));
        va_end(args);
    }
    return code;
}

fj_code fj_raise(fj_error **err, const char *module, const char *class_name, json_t *args, const char *format,
                 ...)
{
    if (err == NULL) {
        json_decref(args);
        return FJ_RAISED;
    }
    va_list list;
    va_start(list, format);
    put(err, make(FJ_RAISED, format, list));
    va_end(list);
    fj_error_set_remote(*err, module, class_name, args, NULL, NULL);
    return FJ_RAISED;
}

void fj_error_prefix(fj_error **err, const char *format, ...)
{
    if (err == NULL || *err == NULL || fj__error_is_static(*err))
        return;
    va_list args;
    va_start(args, format);
    char *prefix = fj__vformat(format, args);
    va_end(args);
    char *text = prefix == NULL ? NULL : fj__format("%s: %s", prefix, fj_error_text(*err));
    fj__free(prefix);
    if (text == NULL)
        return;
    fj__free((*err)->text);
    (*err)->text = text;
}

fj_error *fj_error_copy(const fj_error *err)
{
    if (err == NULL)
        return NULL;
    if (fj__error_is_static(err))
        return &no_memory;
    fj_error *copy = fj__zalloc(sizeof *copy);
    if (copy == NULL)
        return NULL;
    copy->code = err->code;
    copy->sent = err->sent;
    copy->flags = err->flags;
    copy->text = fj__strdup(err->text);
    copy->where = fj__strdup(err->where);
    copy->module = fj__strdup(err->module);
    copy->class_name = fj__strdup(err->class_name);
    copy->args = json_deep_copy(err->args);
    copy->kwargs = json_deep_copy(err->kwargs);
    copy->traceback = json_deep_copy(err->traceback);
    return copy;
}

fj_code fj_error_move(fj_error *err, fj_error **to)
{
    fj_code code = fj_error_code(err);

    if (to != NULL)
        put(to, err);
    else
        fj_error_free(err);
    return code;
}

fj_code fj_error_code(const fj_error *err)
{
    return err != NULL ? err->code : FJ_OK;
}

const char *fj_error_text(const fj_error *err)
{
    if (err == NULL)
        return "";
    return err->text != NULL ? err->text : fj_code_text(err->code);
}

const char *fj_error_where(const fj_error *err)
{
    return err != NULL && err->where != NULL ? err->where : "";
}

fj_sent fj_error_sent(const fj_error *err)
{
    return err != NULL ? err->sent : FJ_SENT_NO;
}

bool fj_error_retriable(const fj_error *err)
{
    return err != NULL && fj_code_retriable(err->code);
}

unsigned fj_error_flags(const fj_error *err)
{
    return err != NULL ? err->flags : 0;
}

const char *fj_error_remote_class(const fj_error *err)
{
    if (err == NULL)
        return NULL;
    return err->class_name != NULL ? err->class_name : fj_code_class(err->code);
}

const char *fj_error_remote_module(const fj_error *err)
{
    if (err == NULL)
        return NULL;
    return err->module != NULL ? err->module : fj_code_module(err->code);
}

const json_t *fj_error_remote_args(const fj_error *err)
{
    return err != NULL ? err->args : NULL;
}

const json_t *fj_error_remote_kwargs(const fj_error *err)
{
    return err != NULL ? err->kwargs : NULL;
}

const json_t *fj_error_traceback(const fj_error *err)
{
    return err != NULL ? err->traceback : NULL;
}

void fj_error_set_code(fj_error *err, fj_code code)
{
    if (err != NULL && !fj__error_is_static(err))
        err->code = code;
}

void fj_error_set_where(fj_error *err, const char *format, ...)
{
    if (err == NULL || fj__error_is_static(err))
        return;
    va_list args;
    va_start(args, format);
    fj__free(err->where);
    err->where = fj__vformat(format, args);
    va_end(args);
}

void fj_error_set_sent(fj_error *err, fj_sent sent)
{
    if (err != NULL && !fj__error_is_static(err))
        err->sent = sent;
}

void fj_error_set_flags(fj_error *err, unsigned flags)
{
    if (err != NULL && !fj__error_is_static(err))
        err->flags |= flags;
}

static void replace(json_t **held, json_t *taken)
{
    json_decref(*held);
    *held = taken;
}

void fj_error_set_remote(fj_error *err, const char *module, const char *class_name, json_t *args,
                         json_t *kwargs, json_t *traceback)
{
    if (err == NULL || fj__error_is_static(err)) {
        json_decref(args);
        json_decref(kwargs);
        json_decref(traceback);
        return;
    }
    if (module != NULL) {
        fj__free(err->module);
        err->module = fj__strdup(module);
    }
    if (class_name != NULL) {
        fj__free(err->class_name);
        err->class_name = fj__strdup(class_name);
    }
    replace(&err->args, args);
    replace(&err->kwargs, kwargs);
    replace(&err->traceback, traceback);
}
