/* SPDX-License-Identifier: Apache-2.0 */
/* Notifications on their way to endpoints (wire.md section 14). */
#include "dispatcher/notified.h"

#include "base/alloc.h"
#include "base/log.h"
#include "dispatcher/dispatcher_impl.h"
#include "dispatcher/request.h"

#include <string.h>

fj_code fj__notified_new(const fj_serializer *serializer, bool requeues, fj_dispatcher **ret, fj_error **err)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;
    fj_dispatcher *d = NULL;

    opts.serializer = serializer;
    fj_code code = fj_dispatcher_new(&opts, &d, err);
    if (code != FJ_OK)
        return code;
    d->notified = true;
    d->requeues = requeues;
    *ret = d;
    return FJ_OK;
}

fj_code fj__notified_add(fj_dispatcher *d, const fj_endpoint *endpoint, const fj_notify_filter *filter,
                         void *data, fj_error **err)
{
    fj__filter *ready = NULL;
    fj_code code = filter != NULL ? fj__filter_new(filter, &ready, err) : FJ_OK;

    if (code == FJ_OK)
        code = fj_dispatcher_add(d, endpoint, data, err);
    if (code == FJ_OK)
        d->entries[d->n - 1].filter = ready;
    else
        fj__filter_free(ready);
    return code;
}

bool fj__notified_has(const fj_dispatcher *d, fj_priority priority)
{
    for (size_t i = 0; i < d->n; i++)
        if (fj__endpoint_method(d->entries[i].endpoint, fj_priority_name(priority)) != NULL)
            return true;
    return false;
}

/* ---- step one ----------------------------------------------------------------------------------- */

/* How much of a task the methods of a chain need, of which all run in one: green ones need hooks, which others can do with. */
static int demand(const fj_method *m)
{
    return m->flavour == FJ_GREEN ? 2 : m->flavour == FJ_PLAIN ? 1 : 0;
}

/* The entry whose method says in what kind of task they run; NULL: nobody wants that priority. */
static const struct fj__entry *choose(const fj_dispatcher *d, const char *priority, const fj_method **ret)
{
    const struct fj__entry *chosen = NULL;

    *ret = NULL;
    for (size_t i = 0; i < d->n; i++) {
        const fj_method *m = fj__endpoint_method(d->entries[i].endpoint, priority);
        if (m == NULL || (*ret != NULL && demand(m) <= demand(*ret)))
            continue;
        chosen = &d->entries[i];
        *ret = m;
    }
    return chosen;
}

static bool put(json_t *into, const char *key, json_t *value)
{
    return json_object_set(into, key, value != NULL ? value : json_null()) == 0;
}

/* The keyword arguments of a notification.  Gives; NULL: no memory. */
static json_t *args_of(const json_t *message)
{
    json_t *args = json_object(), *metadata = json_object();
    bool ok = put(metadata, "message_id", json_object_get(message, "message_id")) &&
              put(metadata, "timestamp", json_object_get(message, "timestamp")) &&
              put(args, "publisher_id", json_object_get(message, "publisher_id")) &&
              put(args, "event_type", json_object_get(message, "event_type")) &&
              put(args, "payload", json_object_get(message, "payload")) && put(args, "metadata", metadata);

    json_decref(metadata);
    if (ok)
        return args;
    json_decref(args);
    return NULL;
}

/* Those of a batch: "messages", each with its context.  Gives; NULL: no memory. */
static json_t *batch_of(const json_t *batch)
{
    json_t *messages = json_array(), *item;
    size_t i;
    bool ok = messages != NULL;

    json_array_foreach(batch, i, item)
    {
        json_t *one = ok ? args_of(json_object_get(item, "message")) : NULL;
        ok = one != NULL && put(one, "ctxt", json_object_get(item, "context")) &&
             json_array_append(messages, one) == 0;
        json_decref(one);
    }
    json_t *args = ok ? json_object() : NULL;
    ok = args != NULL && put(args, "messages", messages);
    json_decref(messages);
    if (ok)
        return args;
    json_decref(args);
    return NULL;
}

/* Nobody wants it. */
static void pass_over(fj_incoming *in)
{
    in->ops->done(in);
    in->ops->free(in);
}

fj_code fj__notified_begin(fj_dispatcher *d, fj_incoming *in, fj_request_done_fn done, void *user,
                           fj_request **ret, fj_error **err)
{
    const char *said = json_string_value(json_object_get(in->message, "priority"));
    const json_t *batch = json_object_get(in->message, "batch");
    const fj_method *method = NULL;
    fj_priority priority;

    *ret = NULL;
    if (!fj_priority_parse(said, &priority)) {
        fj__log(FJ_LOG_WARNING, "notify", "unknown priority \"%.40s\": the notification is left out",
                said != NULL ? said : "");
        pass_over(in);
        return FJ_OK;
    }
    const char *name = fj_priority_name(priority);
    const struct fj__entry *entry = choose(d, name, &method);
    if (entry == NULL) {
        pass_over(in);
        return FJ_OK;
    }
    json_t *args = json_is_array(batch) ? batch_of(batch) : args_of(in->message);
    fj_request *req = args != NULL ? fj__request_new(d, in, entry, method, name, done, user) : NULL;
    if (req == NULL) {
        json_decref(args);
        fj_dispatcher_give_back(d, in);
        return fj_fail(err, FJ_NOMEM, "no memory for a notification");
    }
    req->batch = json_is_array(batch);
    req->name = json_string(name);
    req->args = args;
    req->context = in->context;
    json_decref(in->message);
    in->message = in->context = NULL;
    fj__request_show(req);
    *ret = req;
    return FJ_OK;
}

/* ---- step two ----------------------------------------------------------------------------------- */

/* The payload of @p args through the serializer. */
static fj_code payload_in(const fj_request *req, const json_t *context, json_t *args, fj_error **err)
{
    const fj_serializer *s = req->serializer;
    json_t *entity = NULL;

    if (s->entity_in == NULL)
        return FJ_OK;
    fj_code code = s->entity_in(s->user, context, json_object_get(args, "payload"), &entity, err);
    if (code != FJ_OK)
        json_decref(entity);
    else if (json_object_set_new(args, "payload", entity != NULL ? entity : json_null()) != 0)
        code = fj_fail(err, FJ_NOMEM, "no memory for a payload");
    return code;
}

/* A message of a batch has its own context. */
static fj_code message_in(const fj_request *req, json_t *message, fj_error **err)
{
    const fj_serializer *s = req->serializer;
    json_t *context = NULL;

    if (s->context_in != NULL) {
        fj_code code = s->context_in(s->user, json_object_get(message, "ctxt"), &context, err);
        if (code != FJ_OK || json_object_set_new(message, "ctxt", context) != 0)
            return code != FJ_OK ? code : fj_fail(err, FJ_NOMEM, "no memory for a context");
    }
    return payload_in(req, json_object_get(message, "ctxt"), message, err);
}

static fj_code all_in(fj_request *req, fj_error **err)
{
    json_t *message;
    size_t i;
    fj_code code = FJ_OK;

    if (!req->batch) {
        code = fj__request_context_in(req, err);
        return code == FJ_OK ? payload_in(req, req->context, req->args, err) : code;
    }
    json_array_foreach(json_object_get(req->args, "messages"), i, message)
    {
        if (code == FJ_OK)
            code = message_in(req, message, err);
    }
    return code;
}

/* Of a batch what fits.  Gives; NULL: nothing, or no memory with *ret_code. */
static json_t *filtered(const fj_request *req, const fj__filter *filter, fj_code *ret_code)
{
    json_t *kept = json_array(), *args = json_object(), *message;
    size_t i;
    bool ok = kept != NULL && args != NULL;

    json_array_foreach(json_object_get(req->args, "messages"), i, message)
    {
        if (ok && fj__filter_fits(filter, json_object_get(message, "ctxt"), message))
            ok = json_array_append(kept, message) == 0;
    }
    ok = ok && put(args, "messages", kept);
    bool some = ok && json_array_size(kept) > 0;
    json_decref(kept);
    if (!ok)
        *ret_code = FJ_NOMEM;
    if (some)
        return args;
    json_decref(args);
    return NULL;
}

/* What the entry at @p at, or the next that wants it, gets.  Gives; NULL: there is none */
static json_t *next(const fj_dispatcher *d, const fj_request *req, size_t *at, fj_code *ret_code)
{
    for (; *at < d->n && *ret_code == FJ_OK; ++*at) {
        const struct fj__entry *entry = &d->entries[*at];
        if (fj__endpoint_method(entry->endpoint, json_string_value(req->name)) == NULL)
            continue;
        if (req->batch && entry->filter != NULL) {
            json_t *args = filtered(req, entry->filter, ret_code);
            if (args != NULL)
                return args;
        } else if (req->batch || fj__filter_fits(entry->filter, req->context, req->args)) {
            return json_incref(req->args);
        }
    }
    return NULL;
}

static fj_code call(fj_request *req, const struct fj__entry *entry, json_t *args, fj_invoke_fn invoke,
                    void *user, fj_error **err)
{
    json_t *result = NULL;

    req->endpoint = entry->endpoint;
    req->method = fj__endpoint_method(entry->endpoint, json_string_value(req->name));
    req->data = entry->data;
    fj_code code = (invoke != NULL ? invoke : fj_invoke_direct)(user, req, args, &result, err);
    json_decref(result);
    return code;
}

/* One after the other, until one fails; the last may answer later. */
static fj_code call_all(fj_dispatcher *d, fj_request *req, fj_invoke_fn invoke, void *user, fj_error **err)
{
    fj_code code = FJ_OK;
    size_t at = 0;
    json_t *args = next(d, req, &at, &code);

    while (args != NULL && code == FJ_OK) {
        size_t after = at + 1;
        json_t *more = next(d, req, &after, &code);
        if (code == FJ_OK)
            code = call(req, &d->entries[at], args, invoke, user, err);
        if (code == FJ_DEFERRED && more != NULL)
            code = fj_fail(err, FJ_INTERNAL, "an endpoint that others follow cannot answer later");
        json_decref(args);
        args = more;
        at = after;
    }
    json_decref(args);
    return code;
}

void fj__notified_run(fj_dispatcher *d, fj_request *req, fj_invoke_fn invoke, void *user)
{
    fj_error *failure = NULL;
    fj_code code = all_in(req, &failure);

    if (code == FJ_OK)
        code = call_all(d, req, invoke, user, &failure);
    json_decref(req->args);
    req->args = NULL;
    if (code == FJ_REQUEUE) {
        if (failure == NULL)
            (void)fj_fail(&failure, code, "%s", fj_code_text(code));
        fj_error_set_flags(failure, fj_error_flags(failure) | FJ_EXPECTED);
    }
    fj__request_ended(req, code, NULL, failure);
}

bool fj__notified_goes_back(const fj_request *req, const fj_error *failure)
{
    if (!req->dispatcher->notified)
        return false;
    /* What was cut short, or never began, was not done, whatever becomes of what fails. */
    return req->unrun || fj_error_code(failure) == FJ_CANCELLED || req->dispatcher->requeues;
}
