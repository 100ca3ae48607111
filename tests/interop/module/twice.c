/* SPDX-License-Identifier: Apache-2.0 */
/* A module for `fjord serve --module`. */
#include <errno.h>
#include <fjord/fjord.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static fj_code twice(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    const json_t *x = json_object_get(args, "x");

    (void)req;
    if (!json_is_integer(x))
        return fj_fail(err, FJ_BAD_ARGS, "twice needs an integer x");
    *ret = json_integer(2 * json_integer_value(x));
    return FJ_OK;
}

/* After ms milliseconds, in which others run under an executor on a loop; the name of the task it runs in. */
static fj_code later(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = fj_sleep(fj_in_ms(json_integer_value(json_object_get(args, "ms"))));

    (void)req, (void)err;
    *ret = fj_task_current() != NULL ? json_string(fj_task_name(fj_task_current())) : NULL;
    return code;
}

/* The same by libc; how many of these were asleep at once, at most, so far. */
static fj_code doze(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    static atomic_int asleep, most;
    int now = atomic_fetch_add(&asleep, 1) + 1, before = atomic_load(&most);

    (void)req;
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
        ;
    int answer = usleep((useconds_t)json_integer_value(json_object_get(args, "ms")) * 1000);
    atomic_fetch_sub(&asleep, 1);
    if (answer != 0)
        return fj_fail(err, FJ_SYSTEM, "usleep: %s", strerror(errno));
    *ret = json_integer(atomic_load(&most));
    return FJ_OK;
}

static const fj_method methods[] = {
    FJ_METHOD("twice", FJ_PLAIN, twice),
    FJ_METHOD("later", FJ_CORO, later),
    FJ_METHOD("doze", FJ_PLAIN, doze),
};
static const fj_endpoint endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
static const fj_endpoint *const endpoints[] = { &endpoint, NULL };

FJ_API const fj_endpoint *const *fj_module_endpoints;
const fj_endpoint *const *fj_module_endpoints = endpoints;
