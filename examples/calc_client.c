/* SPDX-License-Identifier: Apache-2.0 */
/* Calls the calculator: `calc_client service.conf add 1 2`. */
#include "calc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *args_of(int argc, char **argv)
{
    if (strcmp(argv[2], "slow") == 0 || strcmp(argv[2], "nap") == 0)
        return json_pack("{s:i}", "ms", atoi(argv[3]));
    return json_pack("{s:i, s:i}", "a", atoi(argv[3]), "b", argc > 4 ? atoi(argv[4]) : 0);
}

static fj_code call(const fj_conf *conf, int argc, char **argv, json_t **ret, fj_error **err)
{
    fj_target anywhere = FJ_TARGET(.topic = "calc", .ns = "calc", .version = "1.0");
    fj_transport *transport = NULL;
    fj_client *client = NULL;
    fj_call_opts opts = FJ_CALL_OPTS_INIT;
    fj_code code = fj_transport_open(conf, NULL, &transport, err);

    if (code == FJ_OK)
        code = fj_client_new(transport, &anywhere, NULL, &client, err);
    if (code == FJ_OK) {
        opts.by = fj_in_ms(5000);
        code = fj_client_call(client, argv[2], args_of(argc, argv), &opts, ret, err);
    }
    fj_client_free(client);
    fj_transport_free(transport);
    return code;
}

int main(int argc, char **argv)
{
    fj_conf *conf = NULL;
    fj_error *err = NULL;
    json_t *result = NULL;

    if (argc < 4) {
        fprintf(stderr, "usage: %s CONFIG-FILE add|sub|div A B\n       %s CONFIG-FILE slow|nap MS\n", argv[0],
                argv[0]);
        return 2;
    }
    fj_code code = fj_conf_load(argv[1], &conf, &err);
    if (code == FJ_OK)
        code = call(conf, argc, argv, &result, &err);
    fj_conf_free(conf);
    if (code != FJ_OK) {
        if (code == FJ_REMOTE)
            fprintf(stderr, "the server raised %s.%s\n", fj_error_remote_module(err),
                    fj_error_remote_class(err));
        return calc_failed("calc_client", err);
    }
    (void)json_dumpf(result, stdout, JSON_ENCODE_ANY);
    printf("\n");
    json_decref(result);
    return 0;
}
