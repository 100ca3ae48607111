/* SPDX-License-Identifier: Apache-2.0 */
/* scripts/awaits finds the lines that say so. */
#include <fjord/await.h>
#include <fjord/endpoint.h>
#include <fjord/green.h>
#include <fjord/sync.h>

static fj_mutex *mutex;

static FJ_AWAITS fj_code awaits(fj_future *f)
{
    return fj_await(f, fj_never(), NULL, NULL);
}

/* Whether a task calls it or not. */
fj_code unmarked(fj_future *f);
fj_code unmarked(fj_future *f)
{
    return awaits(f); /* wrong */
}

static fj_code deep(void)
{
    fj_code code = fj_mutex_lock(mutex, fj_never()); /* wrong */

    return code == FJ_OK ? fj_mutex_unlock(mutex) : code;
}

static fj_code between(void)
{
    return deep();
}

static fj_code body(void *user, json_t **ret, fj_error **err)
{
    (void)user;
    (void)ret;
    (void)err;
    return between();
}

fj_code start(void);
fj_code start(void)
{
    fj_code code = body(NULL, NULL, NULL); /* wrong */

    return code == FJ_OK ? fj_task_spawn(body, NULL, NULL, NULL, NULL) : code;
}

static fj_code helper_of_method(void)
{
    return fj_sleep(fj_in_ms(1)); /* wrong */
}

static fj_code coro_method(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    (void)err;
    return helper_of_method();
}

/* Not by being in a table, but by its flavour. */
static fj_code plain_method(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    (void)err;
    return fj_yield(); /* wrong */
}

/* What suspends where nobody sees it has no place in an explicit method. */
static fj_code hidden(fj_future *f)
{
    return fj_green_await(f, fj_never(), NULL, NULL); /* wrong */
}

static fj_code coro_method_with_green(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args;
    (void)ret;
    (void)err;
    return hidden(fj_request_data(req));
}

extern const fj_method methods[];
const fj_method methods[] = {
    FJ_METHOD("coro_method", FJ_CORO, coro_method),
    FJ_METHOD("plain_method", FJ_PLAIN, plain_method),
    FJ_METHOD("coro_method_with_green", FJ_CORO, coro_method_with_green),
};
