/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include "base/alloc.h"
#include "base/log.h"

#include <string.h>

/* Takes @p text. */
static bool append_line(json_t *lines, char *text)
{
    json_t *line = text != NULL ? json_string(text) : NULL;

    fj__free(text);
    return line != NULL && json_array_append_new(lines, line) == 0;
}

/* As Python's traceback ends: built-in classes go without their module. */
static char *last_line(const fj_error *failure)
{
    const char *module = fj_error_remote_module(failure), *class_name = fj_error_remote_class(failure);

    if (module[0] == '\0' || strcmp(module, "builtins") == 0)
        return fj__format("%s: %s\n", class_name, fj_error_text(failure));
    return fj__format("%s.%s: %s\n", module, class_name, fj_error_text(failure));
}

void fj__failure_complete(fj_error *failure, const char *place, const char *method)
{
    if (fj_error_traceback(failure) != NULL)
        return;
    json_t *lines = json_array();
    if (lines == NULL)
        return; /* a failure without a traceback is legal, too */
    if (!append_line(lines, fj__strdup("Traceback (most recent call last):\n")) ||
        !append_line(lines, fj__format("  File \"%s\", line 0, in %s\n", place, method)) ||
        !append_line(lines, last_line(failure))) {
        json_decref(lines);
        return;
    }
    fj_error_set_remote(failure, NULL, NULL, json_incref((json_t *)fj_error_remote_args(failure)),
                        json_incref((json_t *)fj_error_remote_kwargs(failure)), lines);
}

void fj__failure_log(const fj_error *failure, const char *method)
{
    bool expected = (fj_error_flags(failure) & FJ_EXPECTED) != 0;

    fj__log(expected ? FJ_LOG_DEBUG : FJ_LOG_ERROR, "rpc", "%s failed: %s: %s", method,
            fj_error_remote_class(failure), fj_error_text(failure));
}

/* Whether the way to the peer is gone, so that no other answer can take it either. */
static bool is_gone(fj_code code)
{
    return code == FJ_CLOSED || code == FJ_LOST;
}

fj_code fj__answer_send(fj_incoming *in, const json_t *result, const fj_error *failure, const char *method,
                        fj_error **err)
{
    fj_error *first = NULL, *instead = NULL, *second = NULL;
    fj_code code = in->ops->reply(in, result, failure, &first);

    if (code == FJ_OK)
        return FJ_OK;
    if (is_gone(code)) {
        fj__log(FJ_LOG_WARNING, "rpc", "the answer of %s could not be sent: %s", method, fj_error_text(first));
        goto out;
    }
    (void)fj_fail(&instead, code, "the %s of %s cannot be sent: %s", failure != NULL ? "failure" : "result",
                  method, first != NULL ? fj_error_text(first) : fj_code_text(code));
    fj__log(FJ_LOG_ERROR, "rpc", "%s", fj_error_text(instead));
    fj_code again = in->ops->reply(in, NULL, instead, &second);
    if (again != FJ_OK) {
        fj__log(FJ_LOG_ERROR, "rpc", "%s is left without an answer: %s", method, fj_code_text(again));
        if (!is_gone(again))
            in->ops->done(in); /* or a broker would deliver it for ever, to the same end */
    }
out:
    fj_error_free(instead);
    fj_error_free(second);
    if (first == NULL)
        return fj_fail(err, code, "%s", fj_code_text(code));
    fj_error_move(first, err);
    return code;
}
