/* SPDX-License-Identifier: Apache-2.0 */
/* A calculator on the topic "calc": `calc_server service.conf`, where [DEFAULT] transport_url says which broker and
 * [fjord] executor how the methods run.  Ends with SIGINT or SIGTERM, after what runs has finished. */
#include "calc.h"

#include <stdio.h>

static fj_code serve(const fj_conf *conf, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "calc", .server = "host1");
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_code code = fj_transport_open(conf, NULL, &transport, err);

    if (code == FJ_OK)
        code = fj_server_new(transport, &here, NULL, &server, err);
    if (code == FJ_OK)
        code = fj_server_add(server, &calc_endpoint, NULL, err);
    if (code == FJ_OK)
        code = fj_run_signals(err); /* a SIGTERM while it starts is not lost, and kills nothing */
    if (code == FJ_OK)
        code = fj_server_start(server, err);
    if (code == FJ_OK) {
        printf("serving calc under the executor %s\n", fj_server_executor(server));
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
    fj_log_set_level(FJ_LOG_INFO);
    fj_code code = fj_conf_load(argv[1], &conf, &err);
    if (code == FJ_OK)
        code = serve(conf, &err);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("calc_server", err);
}
