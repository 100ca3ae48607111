/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/about.h"

#include "base/alloc.h"
#include "base/log.h"
#include "runtime/loop_look.h"

#include <string.h>

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

static void tell(const fj_request *req, fj__log_context *ret)
{
    ret->request = request_id(req);
    ret->message = req->in != NULL ? req->in->id : NULL;
    ret->method = fj_request_method(req);
}

static void describe(const void *request, fj__look_request *ret)
{
    ret->id = request_id(request);
    ret->method = fj_request_method(request);
}

/* ---- what tasks and jobs that a method makes know of its request ----------------------------------- */

struct heritage {
    fj__heritage base;
    fj__log_context context;
    char texts[]; /* of the context */
};

static void free_heritage(fj__heritage *h)
{
    fj__free(fj__container(h, struct heritage, base));
}

/* Copied, for they may live longer than the request. */
static fj__heritage *heritage_of(const fj_request *req)
{
    fj__log_context from = { 0 };
    const char **const to_copy[] = { &from.request, &from.message, &from.method };
    size_t size = 0;

    tell(req, &from);
    for (size_t i = 0; i < fj__countof(to_copy); i++)
        size += *to_copy[i] != NULL ? strlen(*to_copy[i]) + 1 : 0;
    struct heritage *h = fj__zalloc(sizeof *h + size);
    if (h == NULL)
        return NULL;
    atomic_init(&h->base.refs, 1);
    h->base.freed = free_heritage;
    char *at = h->texts;
    for (size_t i = 0; i < fj__countof(to_copy); i++) {
        if (*to_copy[i] == NULL)
            continue;
        size_t n = strlen(*to_copy[i]) + 1;
        *to_copy[i] = memcpy(at, *to_copy[i], n);
        at += n;
    }
    h->context = from;
    return &h->base;
}

/* Made once a request: only where its method runs. */
static fj__heritage *take_from(void *request)
{
    fj_request *req = request;

    if (req->heritage == NULL)
        req->heritage = heritage_of(req);
    if (req->heritage != NULL)
        atomic_fetch_add_explicit(&req->heritage->refs, 1, memory_order_relaxed);
    return req->heritage;
}

static void inherited(fj__log_context *ret)
{
    fj__heritage *h = fj__heritage_here();

    if (h != NULL)
        *ret = fj__container(h, struct heritage, base)->context;
}

static void about(fj__log_context *ret)
{
    const fj_request *req = answering != NULL ? answering : fj_request_current();

    if (req == NULL) {
        inherited(ret);
        return;
    }
    tell(req, ret);
}

void fj__about_start(void)
{
    fj__look_set_requests(describe);
    fj__log_context_set(about);
    fj__heritage_maker(take_from);
}
