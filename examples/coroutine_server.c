/* SPDX-License-Identifier: Apache-2.0 */
/* A server on one thread, whose requests wait side by side: `coroutine_server service.conf`, and then
 *     fjord call shop price item=tea       fjord call shop total a=tea b=milk       fjord call shop remind seconds:=2
 * The methods are in shop.c. */
#include "calc.h"
#include "shop.h"

#include <stdio.h>

static fj_code serve(fj_transport *transport, fj_client *client, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "shop", .server = "host1");
    fj_server_opts opts = FJ_SERVER_OPTS_INIT;
    fj_server *server = NULL;

    opts.executor = "coroutine"; /* `remind` needs a loop; the others would run under any executor */
    fj_code code = fj_server_new(transport, &here, &opts, &server, err);
    if (code == FJ_OK)
        code = fj_server_add(server, &shop_endpoint, client, err);
    if (code == FJ_OK)
        code = fj_run_signals(err);
    if (code == FJ_OK)
        code = fj_server_start(server, err); /* on the loop of this thread */
    if (code == FJ_OK) {
        printf("serving shop under the executor %s\n", fj_server_executor(server));
        (void)fflush(stdout);
        code = fj_run(err); /* which runs that loop */
    }
    fj_server_free(server);
    return code;
}

int main(int argc, char **argv)
{
    fj_target shop = FJ_TARGET(.topic = "shop");
    fj_conf *conf = NULL;
    fj_transport *transport = NULL;
    fj_client *client = NULL;
    fj_error *err = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: %s CONFIG-FILE\n", argv[0]);
        return 2;
    }
    fj_code code = fj_conf_load(argv[1], &conf, &err);
    if (code == FJ_OK)
        code = fj_transport_open(conf, NULL, &transport, &err);
    if (code == FJ_OK)
        code = fj_client_new(transport, &shop, NULL, &client, &err);
    if (code == FJ_OK)
        code = serve(transport, client, &err);
    fj_client_free(client);
    fj_transport_free(transport);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("coroutine_server", err);
}
