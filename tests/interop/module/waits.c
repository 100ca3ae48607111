/* SPDX-License-Identifier: Apache-2.0 */
/* A module whose methods wait, each in a place and for a thing that is known, for inspecting.py. */
#include <fjord/fjord.h>
#include <unistd.h>

static fj_mutex *ledger;

static fj_deadline after(json_t *args)
{
    return fj_in_ms(json_integer_value(json_object_get(args, "ms")));
}

/* Sleeps with the ledger locked. */
__attribute__((noinline)) static fj_code sleep_in_the_ledger(fj_deadline by)
{
    fj_code code = fj_sleep(by);

    (void)fj_mutex_unlock(ledger);
    return code;
}

static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret, (void)err;
    if (ledger == NULL && fj_mutex_new("ledger", 0, &ledger) != FJ_OK)
        return fj_fail(err, FJ_NOMEM, NULL);
    fj_code code = fj_mutex_lock(ledger, fj_never());
    return code == FJ_OK ? sleep_in_the_ledger(after(args)) : code;
}

/* Waits as C does. */
static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)ret;
    if (usleep((useconds_t)json_integer_value(json_object_get(args, "ms")) * 1000) != 0)
        return fj_fail(err, FJ_CANCELLED, "woken early");
    return FJ_OK;
}

/* Computes, and lets nobody else turn. */
__attribute__((noinline)) static unsigned compute(fj_deadline by)
{
    unsigned n = 0;

    while (!fj_passed(by))
        n++;
    return n;
}

static fj_code hog(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_integer(compute(after(args)) > 0);
    return FJ_OK;
}

static const fj_method methods[] = { FJ_METHOD("hold", FJ_CORO, hold), FJ_METHOD("nap", FJ_GREEN, nap),
                                     FJ_METHOD("hog", FJ_PLAIN, hog) };
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_endpoint *const endpoints[] = { &endpoint, NULL };

FJ_API const fj_endpoint *const *fj_module_endpoints;
const fj_endpoint *const *fj_module_endpoints = endpoints;
