/* SPDX-License-Identifier: Apache-2.0 */
/* fjord cast: send a method without asking for its result. */
#include "tools/common.h"

static fj_code cast_all(const tool_opts *o, fj_client *client, json_t *args, fj_error **err)
{
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    fj_code rc = FJ_OK;

    opts.context = o->context;
    if (o->timeout > 0)
        opts.by = fj_in_seconds(o->timeout); /* for all of them together */
    for (unsigned long i = 0; rc == FJ_OK && i < o->count; i++) {
        rc = fj_client_cast(client, o->rest[1], json_deep_copy(args), &opts, err);
        if (rc != FJ_OK && o->count > 1)
            fj_error_prefix(err, "%lu of %lu are sent", i, o->count);
    }
    return rc;
}

static fj_code cast(tool_opts *o, json_t *args, fj_error **err)
{
    fj_transport *transport = NULL;
    fj_client *client = NULL;
    fj_target target;
    fj_code rc;

    tool_target(o, o->rest[0], &target);
    rc = tool_open(o, &transport, err);
    if (rc == FJ_OK)
        rc = fj_client_new(transport, &target, NULL, &client, err);
    if (rc == FJ_OK)
        rc = cast_all(o, client, args, err);
    fj_client_free(client);
    fj_transport_free(transport);
    return rc;
}

int tool_cast(int argc, char **argv)
{
    json_t *args = NULL;
    fj_error *err = NULL;
    tool_opts o;
    int rc = tool_parse(argc, argv,
                        TOOL_DEADLINE | TOOL_METHOD | TOOL_CONTEXT | TOOL_SERVER | TOOL_CAST | TOOL_COUNT, &o);

    if (rc < 0 && o.rest_count < 2)
        rc = tool_misuse(&o, "TOPIC and METHOD are needed");
    if (rc < 0)
        rc = tool_args(&o, 2, &args);
    if (rc < 0)
        rc = cast(&o, args, &err) == FJ_OK ? TOOL_DONE : tool_fail(&o, err);
    json_decref(args);
    tool_opts_fini(&o);
    return rc;
}
