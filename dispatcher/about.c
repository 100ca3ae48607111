/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/about.h"

#include "base/log.h"
#include "runtime/loop_look.h"

static _Thread_local fj_request *answering;

fj_request *fj__about_swap(fj_request *req)
{
    fj_request *before = answering;

    answering = req;
    return before;
}

/* oslo.context sends both: the service's own, and the one that another service gave it, as its only trace of who began. */
static const char *request_id(const fj_request *req)
{
    const char *id = json_string_value(json_object_get(req->context, "request_id"));

    return id != NULL ? id : json_string_value(json_object_get(req->context, "global_request_id"));
}

static void about(fj__log_context *ret)
{
    const fj_request *req = answering != NULL ? answering : fj_request_current();

    if (req == NULL)
        return;
    ret->request = request_id(req);
    ret->message = req->in != NULL ? req->in->id : NULL;
    ret->method = fj_request_method(req);
}

static void describe(const void *request, fj__look_request *ret)
{
    ret->id = request_id(request);
    ret->method = fj_request_method(request);
}

void fj__about_start(void)
{
    fj__look_set_requests(describe);
    fj__log_context_set(about);
}
