/* SPDX-License-Identifier: Apache-2.0 */
/* A service on its way from code that blocks to coroutines, both in one thread, each waiting for the other: with [fjord] executor =
 * bridged, `bridged_server service.conf`, and then fjord call house measure, or fjord call house advise.  Linked with -lfjord-green. */
#include "calc.h"

#include <stdio.h>
#include <unistd.h>

/* Old: asks a sensor as any library would, and knows nothing of loops. */
static fj_code sensor(void *room, json_t **ret, fj_error **err)
{
    if (usleep(50000) != 0)
        return fj_fail(err, FJ_CANCELLED, "the sensor in the %s was given up", (const char *)room);
    *ret = json_integer(17);
    return FJ_OK;
}

/* New: waits for the old code, and says where. */
static fj_code measure(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    static char room[] = "attic";
    fj_future *measured = NULL;
    fj_code code = fj_wrap_green_fn(sensor, room, NULL, &measured, err);

    (void)req, (void)args;
    if (code == FJ_OK)
        code = fj_await(measured, fj_in_ms(5000), ret, err);
    fj_future_unref(measured);
    return code;
}

/* New: a coroutine. */
static fj_code forecast(void *user, json_t **ret, fj_error **err)
{
    (void)user, (void)err;
    *ret = json_string("rain");
    return fj_sleep(fj_in_ms(50));
}

/* Old: calls the coroutine from as deep as it likes, without a mark on the way. */
static fj_code weather(json_t **ret, fj_error **err)
{
    fj_coro *coro = NULL;

    if (fj_coro_new(forecast, NULL, NULL, &coro) != FJ_OK)
        return fj_fail(err, FJ_NOMEM, "no memory for a coroutine");
    return fj_green_await_coro(coro, fj_in_ms(5000), ret, err);
}

static fj_code advise(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    return (void)req, (void)args, weather(ret, err);
}

static const fj_method methods[] = { FJ_METHOD("measure", FJ_CORO, measure),
                                     FJ_METHOD("advise", FJ_GREEN, advise) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);

int main(int argc, char **argv)
{
    fj_target here = FJ_TARGET(.topic = "house", .server = "host1");
    fj_transport *transport = NULL;
    fj_server *server = NULL;
    fj_conf *conf = NULL;
    fj_error *err = NULL;
    fj_code code = fj_conf_load(argc > 1 ? argv[1] : "service.conf", &conf, &err);

    if (code == FJ_OK)
        code = fj_transport_open(conf, NULL, &transport, &err);
    if (code == FJ_OK && (code = fj_server_new(transport, &here, NULL, &server, &err)) == FJ_OK)
        code = fj_server_add(server, &endpoint, NULL, &err);
    if (code == FJ_OK)
        code = fj_server_start(server, &err);
    if (code == FJ_OK && puts("serving house") >= 0 && fflush(stdout) == 0)
        code = fj_run(&err);
    fj_server_free(server);
    fj_transport_free(transport);
    fj_conf_free(conf);
    return code == FJ_OK ? 0 : calc_failed("bridged_server", err);
}
