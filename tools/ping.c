/* SPDX-License-Identifier: Apache-2.0 */
/* fjord ping: ask a server whether it answers (oslo_rpc_server_ping; the server needs rpc_ping_enabled). */
#include "tools/common.h"

static fj_code ping(tool_opts *o, json_t **ret, fj_error **err)
{
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    fj_transport *transport = NULL;
    fj_client *client = NULL;
    fj_target target;
    fj_code rc;

    tool_target(o, o->rest[0], &target);
    rc = tool_open(o, &transport, err);
    if (rc == FJ_OK)
        rc = fj_client_new(transport, &target, NULL, &client, err);
    if (rc == FJ_OK) {
        if (o->timeout > 0)
            opts.by = fj_in_seconds(o->timeout);
        rc = fj_client_call(client, "oslo_rpc_server_ping", NULL, &opts, ret, err);
    }
    fj_client_free(client);
    fj_transport_free(transport);
    return rc;
}

int tool_ping(int argc, char **argv)
{
    json_t *result = NULL;
    fj_error *err = NULL;
    tool_opts o;
    int rc = tool_parse(argc, argv, TOOL_DEADLINE | TOOL_SERVER, &o);
    fj_deadline began = fj_now();

    if (rc < 0 && o.rest_count != 1)
        rc = tool_misuse(&o, "TOPIC or TOPIC.SERVER is needed");
    if (rc < 0)
        rc = ping(&o, &result, &err) == FJ_OK ? tool_print(&o, result) : tool_fail(&o, err);
    if (rc == TOOL_DONE && o.verbose > 0)
        tool_note(&o, "answered after %.1f ms", (double)(fj_now().ns - began.ns) / 1e6);
    json_decref(result);
    tool_opts_fini(&o);
    return rc;
}
