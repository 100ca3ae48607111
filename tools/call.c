/* SPDX-License-Identifier: Apache-2.0 */
/* fjord call: call a method and print its result. */
#include "tools/common.h"

static fj_code call(tool_opts *o, json_t *args, json_t **ret, fj_error **err)
{
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_client *client = NULL;
    fj_target target;
    fj_code rc;

    tool_target(o, o->rest[0], &target);
    opts.context = o->context;
    rc = tool_open(o, &transport, err);
    if (rc == FJ_OK)
        rc = fj_client_new(transport, &target, NULL, &client, err);
    if (rc == FJ_OK) {
        if (o->timeout > 0)
            opts.by = fj_in_seconds(o->timeout);
        rc = fj_client_call(client, o->rest[1], json_incref(args), &opts, ret, err);
    }
    fj_client_free(client);
    fj_transport_free(transport);
    return rc;
}

int tool_call(int argc, char **argv)
{
    json_t *args = NULL, *result = NULL;
    fj_error *err = NULL;
    tool_opts o;
    int rc = tool_parse(argc, argv, TOOL_DEADLINE | TOOL_METHOD | TOOL_CONTEXT | TOOL_SERVER, &o);

    if (rc < 0 && o.rest_count < 2)
        rc = tool_misuse(&o, "TOPIC and METHOD are needed");
    if (rc < 0)
        rc = tool_args(&o, 2, &args);
    if (rc < 0)
        rc = call(&o, args, &result, &err) == FJ_OK ? tool_print(&o, result) : tool_fail(&o, err);
    json_decref(result);
    json_decref(args);
    tool_opts_fini(&o);
    return rc;
}
