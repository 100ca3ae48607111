/* SPDX-License-Identifier: Apache-2.0 */
/* One service on its way from code that blocks to code that awaits; docs/migration.md tells of it: `migration-N shop.conf`.
 * N of its three methods are explicit by now. */
#include "methods.h"

#include <stdio.h>
#include <stdlib.h>

static fj_code total(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    json_t *prices = json_object_get(args, "prices"), *price;
    json_int_t sum = 0;
    size_t i;

    (void)req, (void)err;
    json_array_foreach(prices, i, price) sum += json_integer_value(price);
    *ret = json_integer(sum);
    return FJ_OK;
}

/* guide: methods */
static const fj_method methods[] = {
    FJ_METHOD("total", FJ_PLAIN, total), /* it only computes */
#if MIGRATED < 1
    FJ_METHOD("pause", FJ_GREEN, pause_green),
#else
    FJ_METHOD("pause", FJ_CORO, pause_explicit),
#endif
#if MIGRATED < 2
    FJ_METHOD("stock", FJ_GREEN, stock_green),
#else
    FJ_METHOD("stock", FJ_CORO, stock_explicit),
#endif
#if MIGRATED < 3
    FJ_METHOD("meet", FJ_GREEN, meet_green),
#else
    FJ_METHOD("meet", FJ_CORO, meet_explicit),
#endif
};
/* end */
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

static fj_code serve(fj_transport *transport, struct shop *shop, fj_error **err)
{
    fj_target here = FJ_TARGET(.topic = "shop", .server = "host1");
    fj_server *server = NULL;
    fj_code code = fj_server_new(transport, &here, NULL, &server, err);

    if (code == FJ_OK)
        code = fj_server_add(server, &endpoint, shop, err);
    if (code == FJ_OK)
        code = fj_run_signals(err);
    if (code == FJ_OK)
        code = fj_server_start(server, err);
    if (code == FJ_OK) {
        printf("serving shop under the executor %s\n", fj_server_executor(server));
        (void)fflush(stdout);
        code = fj_run(err);
    }
    fj_server_free(server);
    return code;
}

int main(int argc, char **argv)
{
    const char *port = getenv("STOCK_PORT");
    struct shop shop = { .stock_port = (unsigned short)strtoul(port != NULL ? port : "4711", NULL, 10) };
    fj_conf *conf = NULL;
    fj_transport *transport = NULL;
    fj_error *err = NULL;
    fj_code code = fj_conf_load(argc > 1 ? argv[1] : "shop.conf", &conf, &err);

    if (code == FJ_OK)
        code = fj_event_new("all here", &shop.all_here);
    if (code == FJ_OK)
        code = fj_transport_open(conf, NULL, &transport, &err);
    if (code == FJ_OK)
        code = serve(transport, &shop, &err);
    if (code != FJ_OK)
        fprintf(stderr, "shop: %s\n", err != NULL ? fj_error_text(err) : fj_code_text(code));
    fj_error_free(err);
    fj_transport_free(transport);
    fj_event_free(shop.all_here);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : 1;
}
