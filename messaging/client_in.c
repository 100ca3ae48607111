/* SPDX-License-Identifier: Apache-2.0 */
/* The way back: results and failures as the application has them. */
#include "client_impl.h"

#include "base/alloc.h"

#include <fjord/dispatcher.h>
#include <string.h>

void fj__client_map_error(const fj_client *c, fj_error *error)
{
    if (fj_error_code(error) != FJ_REMOTE)
        return;
    const char *module = fj_error_remote_module(error), *class_name = fj_error_remote_class(error);
    for (size_t i = 0; i < c->opts.remote_errors_count; i++) {
        const fj_remote_error *rule = &c->rules[i];
        if ((rule->module == NULL || (module != NULL && strcmp(rule->module, module) == 0)) &&
            (rule->class_name == NULL || (class_name != NULL && strcmp(rule->class_name, class_name) == 0))) {
            fj_error_set_code(error, rule->code);
            return;
        }
    }
}

fj_code fj__client_result_in(const fj_client *c, const json_t *context, json_t *raw, json_t **ret,
                             fj_error **err)
{
    const fj_serializer *s = c->opts.serializer;
    json_t *made = raw;
    fj_code code = FJ_OK;

    if (s != NULL && s->entity_in != NULL) {
        made = NULL;
        code = s->entity_in(s->user, context, raw, &made, err);
        json_decref(raw);
        if (code == FJ_OK && made == NULL)
            made = json_null();
    }
    if (code == FJ_OK && ret != NULL)
        *ret = made;
    else
        json_decref(made);
    return code;
}

void fj__client_explain_timeout(const char *topic, fj_error **error)
{
    unsigned slots =
        fj_error_code(*error) == FJ_TIMEOUT && fj_request_current() != NULL ? fj__run_full(topic) : 0;

    if (slots == 0)
        return;
    char *text = fj__format("%s; the call was made by a method, and all %u slots of this process's server on "
                            "%s are taken: see [fjord] executor_pool_size",
                            fj_error_text(*error), slots, topic);
    if (text == NULL)
        return;
    fj_sent sent = fj_error_sent(*error);
    (void)fj_fail(error, FJ_TIMEOUT, "%s", text);
    fj_error_set_sent(*error, sent);
    fj__free(text);
}
