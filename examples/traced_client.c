/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the calculator, traced: `traced_client service.conf 1 2` adds, and logs the id that the server's lines have, too. */
#include "calc.h"
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>

static fj_code add(const fj_conf *conf, const char *a, const char *b, fj_error **err)
{
    fj_target there = FJ_TARGET(.topic = "calc", .ns = "calc", .version = "1.1");
    fj_transport *transport = NULL;
    fj_client *client = NULL;
    json_t *sum = NULL;
    fj_code code = fj_transport_open(conf, NULL, &transport, err);

    if (code == FJ_OK)
        code = fj_client_new(transport, &there, NULL, &client, err);
    if (code == FJ_OK)
        code = fj_client_intercept(client, &trace_interceptor, NULL, err);
    if (code == FJ_OK)
        code =
            fj_client_call(client, "add", json_pack("{s:i, s:i}", "a", atoi(a), "b", atoi(b)), NULL, &sum, err);
    if (code == FJ_OK)
        printf("%lld\n", (long long)json_integer_value(sum));
    json_decref(sum);
    fj_client_free(client);
    fj_transport_free(transport);
    return code;
}

int main(int argc, char **argv)
{
    fj_conf *conf = NULL;
    fj_error *err = NULL;

    if (argc != 4) {
        fprintf(stderr, "usage: %s CONFIG-FILE A B\n", argv[0]);
        return 2;
    }
    fj_code code = fj_conf_load(argv[1], &conf, &err);
    if (code == FJ_OK)
        code = add(conf, argv[2], argv[3], &err);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("traced_client", err);
}
