/* SPDX-License-Identifier: Apache-2.0 */
/* Step two: a request's method is called, and what comes of it is answered. */
#include "base/alloc.h"
#include "base/log.h"
#include "dispatcher/dispatcher_impl.h"
#include "dispatcher/request.h"

fj_code fj_invoke_direct(void *user, fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)user;
    fj_request *before = fj__request_enter(req);
    fj_code code = req->method->fn(req, args, ret, err);
    fj__request_leave(req, before);
    return code;
}

/* Its turn has come. */
static void started(fj_request *req)
{
    int64_t now = fj_now().ns;

    atomic_store_explicit(&req->started_ns, now, memory_order_relaxed);
    fj__count_wait(req->counted, now - req->arrived_ns);
}

fj_code fj__request_context_in(fj_request *req, fj_error **err)
{
    const fj_serializer *s = req->serializer;
    json_t *context = NULL;

    if (s->context_in == NULL)
        return FJ_OK;
    fj_code code = s->context_in(s->user, req->context, &context, err);
    if (code != FJ_OK) {
        json_decref(context);
        return code;
    }
    json_decref(req->context);
    req->context = context;
    return FJ_OK;
}

/* The arguments, taken from the request, one by one through the serializer.  Gives. */
static fj_code args_in(fj_request *req, json_t **ret, fj_error **err)
{
    const fj_serializer *s = req->serializer;
    json_t *received = req->args, *args;
    fj_code code = FJ_OK;
    const char *name;
    json_t *value;

    req->args = NULL;
    if (received != NULL && s->entity_in == NULL) {
        *ret = received;
        return FJ_OK;
    }
    args = json_object();
    if (args == NULL)
        code = fj_fail(err, FJ_NOMEM, "no memory for the arguments");
    json_object_foreach(received, name, value)
    {
        json_t *entity = NULL;
        if (code != FJ_OK)
            break;
        code = s->entity_in(s->user, req->context, value, &entity, err);
        if (code == FJ_OK && json_object_set_new(args, name, entity) != 0)
            code = fj_fail(err, FJ_NOMEM, "no memory for the argument %s", name);
        else if (code != FJ_OK)
            json_decref(entity);
    }
    json_decref(received);
    if (code == FJ_OK)
        *ret = args;
    else
        json_decref(args);
    return code;
}

/* The method was called with `code` as its answer; takes the rest. */
void fj__request_ended(fj_request *req, fj_code code, json_t *result, fj_error *failure)
{
    if (code == FJ_DEFERRED && atomic_load(&req->kept)) {
        json_decref(result);
        fj_error_free(failure);
        return;
    }
    if (code == FJ_OK) {
        failure = fj_error_free(failure);
    } else {
        json_decref(result);
        result = NULL;
        if (code == FJ_DEFERRED) {
            (void)fj_fail(&failure, FJ_INTERNAL, "the method deferred the request but kept no reference to it");
        } else if (failure == NULL)
            (void)fj_fail(&failure, code, "%s", fj_code_text(code));
    }
    if (fj__request_settle(req, result, failure, NULL) == FJ_STATE)
        fj__log(FJ_LOG_DEBUG, "rpc", "%s had answered before it returned", req->method->name);
}

void fj_dispatcher_run(fj_dispatcher *d, fj_request *req, fj_invoke_fn invoke, void *user)
{
    json_t *args = NULL, *result = NULL;
    fj_error *failure = NULL;

    started(req);
    if (d->notified) {
        fj__notified_run(d, req, invoke, user);
        goto out;
    }
    fj_code code = fj__request_context_in(req, &failure);
    if (code == FJ_OK)
        code = args_in(req, &args, &failure);
    if (code == FJ_OK)
        code = (invoke != NULL ? invoke : fj_invoke_direct)(user, req, args, &result, &failure);
    else if (code == FJ_DEFERRED)
        code = fj_fail(&failure, FJ_INTERNAL, "a serializer cannot defer");
    json_decref(args);
    fj__request_ended(req, code, result, failure);
out:
    fj__request_returned(req);
    fj_request_unref(req);
}

void fj_dispatcher_drop(fj_dispatcher *d, fj_request *req, fj_error *failure)
{
    (void)d;
    req->unrun = true;
    (void)fj__request_answer(req, NULL, failure, NULL);
    fj__request_returned(req);
    fj_request_unref(req);
}
