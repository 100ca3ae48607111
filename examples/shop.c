/* SPDX-License-Identifier: Apache-2.0 */
/* Explicit methods: what waits in one suspends its own request and no other. */
#include "shop.h"

#include <string.h>

static fj_code price(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const char *item;

    (void)req;
    if (json_unpack(args, "{s:s}", "item", &item) != 0)
        return fj_fail(err, FJ_BAD_ARGS, "price needs an item");
    *ret = json_integer((json_int_t)strlen(item));
    return fj_sleep(fj_in_ms(50)); /* it has to be looked up */
}

/* Asks for both prices at once. */
static fj_code total(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_future *asked[2] = { NULL, NULL }, *both = NULL;
    json_t *prices = NULL;
    const char *items[2];
    fj_code code = FJ_OK;

    if (json_unpack(args, "{s:s, s:s}", "a", &items[0], "b", &items[1]) != 0)
        return fj_fail(err, FJ_BAD_ARGS, "total needs the items a and b");
    for (int i = 0; code == FJ_OK && i < 2; i++)
        code = fj_client_call_async(fj_request_data(req), "price", json_pack("{s:s}", "item", items[i]), NULL,
                                    &asked[i], err);
    if (code == FJ_OK)
        code = fj_gather(asked, 2, 0, &both, err);
    if (code == FJ_OK)
        code = fj_await(both, fj_in_ms(5000), &prices, err);
    if (code == FJ_OK)
        *ret = json_integer(json_integer_value(json_array_get(prices, 0)) +
                            json_integer_value(json_array_get(prices, 1)));
    json_decref(prices);
    fj_future_unref(both);
    fj_future_unref(asked[0]);
    fj_future_unref(asked[1]);
    return code;
}

static void time_is_up(fj_loop *loop, void *req)
{
    (void)loop;
    (void)fj_request_reply(req, json_string("time is up"), NULL);
    fj_request_unref(req);
}

/* Is answered by a timer of the loop; until then the request needs no stack. */
static fj_code remind(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    double seconds;

    (void)ret;
    if (json_unpack(args, "{s:F}", "seconds", &seconds) != 0)
        return fj_fail(err, FJ_BAD_ARGS, "remind needs a number of seconds");
    fj_code code =
        fj_loop_call_later(fj_loop_running(), seconds, time_is_up, fj_request_ref(req), "remind", NULL);
    if (code == FJ_OK)
        return FJ_DEFERRED;
    fj_request_unref(req);
    return fj_fail(err, code, "no timer");
}

static const fj_method methods[] = {
    FJ_METHOD("price", FJ_CORO, price),
    FJ_METHOD("total", FJ_CORO, total),
    FJ_METHOD("remind", FJ_CORO, remind),
};
const fj_endpoint shop_endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
