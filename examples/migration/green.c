/* SPDX-License-Identifier: Apache-2.0 */
#include "methods.h"
#include "stock.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* guide: pause_green */
fj_code pause_green(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    double seconds = json_number_value(json_object_get(args, "seconds"));
    struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

    (void)req;
    if (nanosleep(&t, NULL) != 0)
        return fj_fail(err, FJ_CANCELLED, "%s", strerror(errno));
    *ret = json_string("rested");
    return FJ_OK;
}
/* end */

/* guide: stock_green */
fj_code stock_green(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct shop *shop = fj_request_data(req);
    const char *item = json_string_value(json_object_get(args, "item"));
    int n = item != NULL ? stock_ask(shop->stock_port, item) : -1;

    if (n < 0)
        return fj_raise(err, "shop.errors", "NoSuchItem", NULL, "the stock knows no %s", item);
    *ret = json_integer(n);
    return FJ_OK;
}
/* end */

/* guide: meet_green */
/* Customers wait for each other, by looking again and again. */
fj_code meet_green(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct shop *shop = fj_request_data(req);
    unsigned wanted = (unsigned)json_integer_value(json_object_get(args, "n"));

    (void)err;
    shop->present++;
    while (shop->present < wanted)
        usleep(1000);
    *ret = json_true();
    return FJ_OK;
}
/* end */
