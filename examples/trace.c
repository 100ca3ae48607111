/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include <fjord/dispatcher.h>
#include <fjord/log.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define KEY "trace_id"

/* What is kept from begin to end. */
struct span {
    char id[33];
    fj_deadline begun;
};

static const char *id_in(const json_t *context)
{
    return json_string_value(json_object_get(context, KEY));
}

/* @param id  NULL: a new one */
static struct span *begin(fj_rpc *rpc, const char *id)
{
    struct span *span = calloc(1, sizeof *span);
    uint64_t random[2] = { 0, 0 };

    if (span == NULL)
        return NULL;
    if (id == NULL)
        (void)!getrandom(random, sizeof random, 0);
    if (id != NULL)
        (void)snprintf(span->id, sizeof span->id, "%s", id);
    else
        (void)snprintf(span->id, sizeof span->id, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    span->begun = fj_now();
    *fj_rpc_data(rpc) = span;
    return span;
}

static void end(fj_rpc *rpc, const char *what)
{
    struct span *span = *fj_rpc_data(rpc);
    double ms = (double)(fj_now().ns - span->begun.ns) / 1e6;

    fj_log(FJ_LOG_INFO, "trace", "%s: %s %s.%s: %s after %.1f ms", span->id, what, fj_rpc_target(rpc)->topic,
           fj_rpc_method(rpc), fj_code_name(fj_rpc_code(rpc)), ms);
    free(span);
}

/* A call that a method makes belongs to the call that it answers. */
static fj_code client_begin(void *state, fj_rpc *rpc, fj_error **err)
{
    const fj_request *within = fj_request_current();
    struct span *span = begin(rpc, within != NULL ? id_in(fj_request_context(within)) : NULL);
    json_t *context = span != NULL ? fj_rpc_edit_context(rpc) : NULL;

    (void)state;
    if (context != NULL && json_object_set_new(context, KEY, json_string(span->id)) == 0)
        return FJ_OK;
    free(span);
    return fj_fail(err, FJ_NOMEM, "no memory to trace a call");
}

static fj_code server_begin(void *state, fj_rpc *rpc, fj_error **err)
{
    (void)state;
    if (begin(rpc, id_in(fj_rpc_context(rpc))) == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory to trace a request");
    return FJ_OK;
}

static void client_end(void *state, fj_rpc *rpc)
{
    (void)state;
    end(rpc, "called");
}

static void server_end(void *state, fj_rpc *rpc)
{
    (void)state;
    end(rpc, "served");
}

const fj_interceptor trace_interceptor =
    FJ_INTERCEPTOR(.name = "trace", .client_begin = client_begin, .client_end = client_end,
                   .server_begin = server_begin, .server_end = server_end);
