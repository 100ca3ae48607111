/* SPDX-License-Identifier: Apache-2.0 */
#include "methods.h"
#include "stock.h"

#include <stdlib.h>
#include <string.h>

/* guide: pause_explicit */
fj_code pause_explicit(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    double seconds = json_number_value(json_object_get(args, "seconds"));
    fj_code code = fj_sleep(fj_in_seconds(seconds));

    (void)req;
    if (code != FJ_OK)
        return fj_fail(err, code, "%s", fj_code_text(code));
    *ret = json_string("rested");
    return FJ_OK;
}
/* end */

/* guide: stock_explicit */
/* The library stays as it is: it may block, on a thread of the pool. */
struct question {
    unsigned short port;
    char item[64];
};

static fj_code ask(void *user, json_t **ret, fj_error **err)
{
    const struct question *q = user;
    int n = stock_ask(q->port, q->item);

    if (n < 0)
        return fj_raise(err, "shop.errors", "NoSuchItem", NULL, "the stock knows no %s", q->item);
    *ret = json_integer(n);
    return FJ_OK;
}

fj_code stock_explicit(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const struct shop *shop = fj_request_data(req);
    struct question *q = calloc(1, sizeof *q);
    const char *item = json_string_value(json_object_get(args, "item"));
    fj_future *answer = NULL;

    if (q == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a question");
    q->port = shop->stock_port;
    strncpy(q->item, item != NULL ? item : "", sizeof q->item - 1);
    fj_code code = fj_run_in_executor(ask, q, free, &answer, err);
    if (code == FJ_OK)
        code = fj_await(answer, fj_in_ms(5000), ret, err);
    fj_future_unref(answer);
    return code;
}
/* end */

/* guide: meet_explicit */
/* Nobody looks: whoever completes the company wakes the others. */
fj_code meet_explicit(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    struct shop *shop = fj_request_data(req);
    unsigned wanted = (unsigned)json_integer_value(json_object_get(args, "n"));

    if (++shop->present >= wanted)
        fj_event_set(shop->all_here);
    fj_code code = fj_event_wait(shop->all_here, fj_in_ms(5000));
    if (code != FJ_OK)
        return fj_fail(err, code, "%s", fj_code_text(code));
    *ret = json_true();
    return FJ_OK;
}
/* end */
