/* SPDX-License-Identifier: Apache-2.0 */
/* scripts/awaits finds nothing here. */
#include <fjord/await.h>
#include <fjord/endpoint.h>
#include <fjord/green.h>
#include <fjord/sync.h>

static fj_mutex *mutex;

static FJ_AWAITS fj_code awaits(fj_future *f)
{
    return fj_await(f, fj_never(), NULL, NULL);
}

/* Not reachable from a task: on a plain thread it blocks, as it says. */
fj_code plain(void);
fj_code plain(void)
{
    return fj_mutex_lock(mutex, fj_never());
}

static FJ_MAY_AWAIT fj_code may_await(void)
{
    return fj_mutex_lock(mutex, fj_never());
}

/* Suspends only in a task, for it looks. */
FJ_MAY_AWAIT fj_code either(fj_future *f);
fj_code either(fj_future *f)
{
    return fj_task_current() != NULL ? awaits(f) : fj_future_wait(f, fj_never(), NULL, NULL);
}

static int harmless(void)
{
    return fj_mutex_locked(mutex) ? 1 : 0;
}

/* What a task does counts as marked. */
static fj_code body(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    if (harmless() != 0 || may_await() != FJ_OK)
        return FJ_BUSY;
    return awaits(user);
}

fj_code start(fj_future *f);
fj_code start(fj_future *f)
{
    return fj_task_spawn(body, f, NULL, NULL, NULL);
}

/* And so does a method of the flavour FJ_CORO. */
static fj_code method(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    (void)ret;
    (void)err;
    return fj_yield();
}

/* Green code is implicit: no mark says where it waits. */
static fj_code deep(fj_future *f)
{
    fj_code code = fj_mutex_lock(mutex, fj_never());

    return code == FJ_OK ? fj_green_await(f, fj_never(), NULL, NULL) : code;
}

static fj_code green_method(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args;
    (void)ret;
    (void)err;
    return deep(fj_request_data(req));
}

static fj_code green_body(void *user, json_t **ret, fj_error **err)
{
    (void)ret;
    (void)err;
    return deep(user);
}

fj_code start_green(fj_future *f);
fj_code start_green(fj_future *f)
{
    fj_future *done = NULL;

    return fj_wrap_green_fn(green_body, f, NULL, &done, NULL);
}

/* Green only in a green task, for it looks. */
static FJ_MAY_AWAIT fj_code either_kind(fj_future *f)
{
    return fj_green_here() ? fj_green_await(f, fj_never(), NULL, NULL) : awaits(f);
}

static fj_code calls_either(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args;
    (void)ret;
    (void)err;
    return either_kind(fj_request_data(req));
}

extern const fj_method methods[];
const fj_method methods[] = {
    FJ_METHOD("method", FJ_CORO, method),
    FJ_METHOD("green", FJ_GREEN, green_method),
    FJ_METHOD("either", FJ_CORO, calls_either),
};
