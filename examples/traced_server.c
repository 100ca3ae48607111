/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator of calc_server.c, with an interceptor from code: `traced_server service.conf` logs each request with the id of the
 * call that it belongs to, wherever that began. */
#include "calc.h"
#include "trace.h"

#include <stdio.h>

static fj_code serve(const fj_conf *conf, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "calc", .server = "traced");
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_code code = fj_transport_open(conf, NULL, &transport, err);

    if (code == FJ_OK)
        code = fj_transport_intercept(transport, &trace_interceptor, NULL, err);
    if (code == FJ_OK)
        code = fj_server_new(transport, &here, NULL, &server, err);
    if (code == FJ_OK)
        code = fj_server_add(server, &calc_endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_run_signals(err);
    if (code == FJ_OK)
        code = fj_server_start(server, err);
    if (code == FJ_OK) {
        printf("serving calc, traced\n");
        (void)fflush(stdout);
        code = fj_run(err);
    }
    fj_server_free(server);
    fj_transport_free(transport);
    return code;
}

int main(int argc, char **argv)
{
    fj_conf *conf = NULL;
    fj_error *err = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: %s CONFIG-FILE\n", argv[0]);
        return 2;
    }
    fj_code code = fj_conf_load(argv[1], &conf, &err);
    if (code == FJ_OK)
        code = serve(conf, &err);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("traced_server", err);
}
