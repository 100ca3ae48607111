/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include "base/alloc.h"
#include "dispatcher/about.h"
#include "dispatcher/dispatcher_impl.h"
#include "dispatcher/failure.h"
#include "dispatcher/live.h"
#include "runtime/local.h"
#include "runtime/sync.h"

fj_request *fj_request_current(void)
{
    return *fj__local(FJ__LOCAL_REQUEST);
}

fj_request *fj__request_swap(fj_request *req)
{
    void **current = fj__local(FJ__LOCAL_REQUEST);
    fj_request *before = *current;

    *current = req;
    return before;
}

fj_request *fj__request_enter(fj_request *req)
{
    fj_request *before = fj__request_swap(req);

    if (before != req)
        req->outer = before;
    return before;
}

void fj__request_leave(fj_request *req, fj_request *before)
{
    if (before != req)
        req->outer = NULL;
    (void)fj__request_swap(before);
}

void fj__request_set_follow(fj_request *req, const fj__request_follow *follow, void *user)
{
    req->follow = follow;
    req->follow_user = user;
}

void fj__request_set_context(fj_request *req, json_t *context)
{
    json_decref(req->context);
    req->context = context;
}

bool fj_dispatcher_here(const fj_dispatcher *d)
{
    for (const fj_request *req = fj_request_current(); req != NULL; req = req->outer) {
        if (req->dispatcher == d)
            return true;
    }
    return false;
}

const char *fj__endpoint_place(const fj_endpoint *endpoint)
{
    return endpoint->ns != NULL ? endpoint->ns : "<endpoint>";
}

/* ---- what a method asks ------------------------------------------------------------------------ */

void *fj_request_data(const fj_request *req)
{
    return req->data;
}

const char *fj_request_method(const fj_request *req)
{
    /* What the caller asked for: the method "*" serves many names. */
    return json_string_value(req->name);
}

const char *fj_request_ns(const fj_request *req)
{
    return json_string_value(req->ns);
}

const char *fj_request_version(const fj_request *req)
{
    const char *version = json_string_value(req->version);

    return version != NULL ? version : "1.0";
}

const json_t *fj_request_context(const fj_request *req)
{
    return req->context;
}

bool fj_request_is_call(const fj_request *req)
{
    return req->wants_reply;
}

const fj_method *fj_request_chosen(const fj_request *req)
{
    return req->method;
}

void *fj_request_owner(const fj_request *req)
{
    return req->user;
}

/* ---- its end ----------------------------------------------------------------------------------- */

static void part_over(fj_request *req)
{
    if (atomic_fetch_sub_explicit(&req->parts_left, 1, memory_order_acq_rel) != 1)
        return;
    fj__live_remove(fj__dispatcher_live(req->dispatcher), req);
    req->in->ops->free(req->in); /* before the executor hears of it: the listener may be gone after */
    req->in = NULL;
    req->done(req, req->user);
}

void fj__request_returned(fj_request *req)
{
    part_over(req);
}

/* The result as it goes out: @p result is taken. */
static fj_code serialize(fj_request *req, json_t *result, json_t **ret, fj_error **err)
{
    const fj_serializer *s = req->serializer;

    if (s->entity_out == NULL) {
        *ret = result;
        return FJ_OK;
    }
    json_t *in = result != NULL ? result : json_null();
    *ret = NULL;
    fj_code code = s->entity_out(s->user, req->context, in, ret, err);
    json_decref(in);
    return code;
}

/* A result that could not be sent as one was none. */
static fj__count outcome(const fj_error *failure, fj_code sent)
{
    if (failure == NULL)
        return fj__count_of(sent, 0);
    return fj__count_of(fj_error_code(failure), fj_error_flags(failure));
}

/* Takes both. */
static fj_code send_answer(fj_request *req, json_t *result, fj_error *failure, fj_error **err)
{
    const char *method = fj_request_method(req);
    fj_code code = FJ_OK;
    int64_t started = atomic_load_explicit(&req->started_ns, memory_order_relaxed);
    int64_t took = started != 0 ? fj_now().ns - started : 0;

    if (failure == NULL) {
        json_t *out = NULL;
        fj_code bad = serialize(req, result, &out, &failure);
        result = out;
        if (bad != FJ_OK && failure == NULL)
            (void)fj_fail(&failure, bad, "the result of %s could not be serialized", method);
    }
    if (failure != NULL) {
        if ((req->method->flags & FJ_EXPECTED) != 0)
            fj_error_set_flags(failure, fj_error_flags(failure) | FJ_EXPECTED);
        fj__failure_complete(failure, fj__endpoint_place(req->endpoint), method);
        fj_request *before = fj__about_swap(req);
        fj__failure_log(failure, method);
        (void)fj__about_swap(before);
    }
    if (req->wants_reply)
        code = fj__answer_send(req->in, failure != NULL ? NULL : result, failure, method, err);
    else if (failure != NULL && fj__notified_goes_back(req, failure))
        req->in->ops->requeue(req->in);
    else
        req->in->ops->done(req->in);
    if (started != 0)
        fj__count_latency(req->counted, took);
    fj__count_one(req->counted, outcome(failure, code));
    json_decref(result);
    fj_error_free(failure);
    return code;
}

static fj_code answer_claimed(fj_request *req, json_t *result, fj_error *failure, fj_error **err)
{
    fj_code code = send_answer(req, result, failure, err);

    part_over(req);
    return code;
}

bool fj__request_hold(fj_request *req)
{
    req->held = req->generation == fj__fork_generation() &&
                !atomic_exchange_explicit(&req->claimed, true, memory_order_acq_rel);
    return req->held;
}

fj_code fj__request_settle(fj_request *req, json_t *result, fj_error *failure, fj_error **err)
{
    return req->held ? answer_claimed(req, result, failure, err)
                     : fj__request_answer(req, result, failure, err);
}

fj_code fj__request_answer(fj_request *req, json_t *result, fj_error *failure, fj_error **err)
{
    if (req->generation != fj__fork_generation()) {
        json_decref(result);
        fj_error_free(failure);
        return fj_fail(err, FJ_FORKED, "the request %s came before a fork: the parent answers it",
                       req->method->name);
    }
    if (atomic_exchange_explicit(&req->claimed, true, memory_order_acq_rel)) {
        json_decref(result);
        fj_error_free(failure);
        return fj_fail(err, FJ_STATE, "the request %s was answered already", req->method->name);
    }
    if (req->follow != NULL)
        req->follow->answered(req->follow_user, &result, &failure);
    return answer_claimed(req, result, failure, err);
}

fj_code fj_request_reply(fj_request *req, json_t *result, fj_error **err)
{
    return fj__request_answer(req, result, NULL, err);
}

fj_code fj_request_fail(fj_request *req, fj_error *failure, fj_error **err)
{
    return fj__request_answer(req, NULL, failure, err);
}

void fj__request_give_up(fj_request *req, fj_error *failure)
{
    req->unrun = true;
    (void)fj__request_answer(req, NULL, failure, NULL);
}

/* ---- references -------------------------------------------------------------------------------- */

fj_request *fj_request_ref(fj_request *req)
{
    atomic_store_explicit(&req->kept, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&req->refs, 1, memory_order_relaxed);
    return req;
}

static void destroy(fj_request *req)
{
    if (req->follow != NULL)
        req->follow->freed(req->follow_user);
    json_decref(req->name);
    json_decref(req->ns);
    json_decref(req->version);
    json_decref(req->args);
    json_decref(req->context);
    fj__heritage_drop(req->heritage);
    fj__free(req);
}

/* The last reference answers before it is dropped, so that an executor that finds the request in its list may
 * still take one of its own (it is in the list until done). */
static void answer_dropped(fj_request *req)
{
    fj_error *failure = NULL;

    if (atomic_load_explicit(&req->claimed, memory_order_acquire))
        return;
    (void)fj_fail(&failure, FJ_INTERNAL, "the request was dropped without an answer");
    (void)fj__request_answer(req, NULL, failure, NULL);
}

fj_request *fj_request_unref(fj_request *req)
{
    if (req == NULL)
        return NULL;
    unsigned n = atomic_load_explicit(&req->refs, memory_order_acquire);
    while (n > 1) {
        if (atomic_compare_exchange_weak_explicit(&req->refs, &n, n - 1, memory_order_acq_rel,
                                                  memory_order_acquire))
            return NULL;
    }
    answer_dropped(req);
    if (atomic_fetch_sub_explicit(&req->refs, 1, memory_order_acq_rel) == 1)
        destroy(req);
    return NULL;
}
