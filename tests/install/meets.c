/* SPDX-License-Identifier: Apache-2.0 */
/* A user's program, compiled against what was installed: one method reads from a pipe what another writes, in one thread.  Prints
 * "green" when they met, and "emulated" where no hook is in the process, so that the first would stop the second.  An argument names
 * another executor than green. */
#include <fjord/fjord.h>

#include <stdio.h>
#include <unistd.h>

static const char *executor = "green";
static int ends[2];

static fj_code reads(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    char text[2] = "";

    (void)req, (void)args;
    if (!fj_green_here())
        return (*ret = json_string("emulated")) != NULL ? FJ_OK : FJ_NOMEM;
    if (read(ends[0], text, 1) != 1)
        return fj_fail(err, FJ_SYSTEM, "nothing to read");
    *ret = json_string("green");
    return FJ_OK;
}

static fj_code writes(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return write(ends[1], "x", 1) == 1 ? FJ_OK : fj_fail(err, FJ_SYSTEM, "nothing written");
}

static const fj_method methods[] = { FJ_METHOD("reads", FJ_GREEN, reads),
                                     FJ_METHOD("writes", FJ_GREEN, writes) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static fj_code meet(fj_transport *transport, json_t **ret, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "t", .server = "s"), there = FJ_TARGET(.topic = "t");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_future *first = NULL, *second = NULL;
    fj_server *server = NULL;
    fj_client *client = NULL;
    fj_loop *loop = NULL;

    opts.executor = executor;
    fj_code code = fj_server_new(transport, &here, &opts, &server, err);
    if (code == FJ_OK)
        code = fj_server_add(server, &endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_server_start(server, err);
    if (code == FJ_OK)
        code = fj_client_new(transport, &there, NULL, &client, err);
    if (code == FJ_OK)
        code = fj_client_call_async(client, "reads", NULL, NULL, &first, err);
    if (code == FJ_OK)
        code = fj_client_call_async(client, "writes", NULL, NULL, &second, err);
    if (code == FJ_OK)
        code = fj_loop_current(&loop, err);
    if (code == FJ_OK)
        code = fj_loop_run_until_complete(loop, first, ret, err);
    fj_future_unref(first);
    fj_future_unref(second);
    fj_client_free(client);
    fj_server_free(server);
    return code;
}

int main(int argc, char **argv)
{
    fj_transport *transport = NULL;
    fj_error *err = NULL;
    json_t *ret = NULL;
    if (argc > 1)
        executor = argv[1];
    fj_code code = pipe(ends) == 0 ? fj_transport_open(NULL, "fake://", &transport, &err) : FJ_SYSTEM;

    if (code == FJ_OK)
        code = meet(transport, &ret, &err);
    fj_transport_free(transport);
    puts(code == FJ_OK ? json_string_value(ret) : fj_error_text(err));
    json_decref(ret);
    fj_error_free(err);
    return code == FJ_OK ? 0 : 1;
}
