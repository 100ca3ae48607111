/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/load/methods.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CALL_MS = 10000, PERMIT_MS = 10000 };

static unsigned some(json_t *args, unsigned most)
{
    json_int_t n = json_integer_value(json_object_get(args, "n"));

    return (unsigned)((uint64_t)n * 2654435761u >> 7) % most;
}

static fj_code answer(json_t *args, json_t **ret)
{
    *ret = json_integer(json_integer_value(json_object_get(args, "n")) + 1);
    return FJ_OK;
}

/* ---- alone ---------------------------------------------------------------------------------------- */

/* Some time in libc, or in a library that knows nothing of loops. */
static fj_code blocks(shared *s, json_t *args, unsigned us, fj_error **err)
{
    if (s->db != NULL)
        return database_ask(s->db, json_integer_value(json_object_get(args, "n")), us, err);
    return usleep(us) == 0 ? FJ_OK : fj_fail(err, FJ_SYSTEM, "usleep: %s", strerror(errno));
}

static fj_code green_doze(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = blocks(fj_request_data(req), args, some(args, 2000), err);

    return code == FJ_OK ? answer(args, ret) : code;
}

static fj_code coro_nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    fj_code code = fj_sleep(fj_in_ms(some(args, 3)));

    return code == FJ_OK ? answer(args, ret) : fj_fail(err, code, "no sleep");
}

/* ---- at the same locks ---------------------------------------------------------------------------- */

static FJ_MAY_AWAIT fj_code lock(shared *s, fj_error **err)
{
    fj_code code = fj_mutex_lock(s->mutex, fj_in_ms(PERMIT_MS));

    if (code == FJ_OK && s->inside++ != 0)
        return fj_fail(err, FJ_INTERNAL, "two are inside the mutex");
    return code == FJ_OK ? code : fj_fail(err, code, "the mutex was not had");
}

static fj_code unlock(shared *s)
{
    s->inside--;
    return fj_mutex_unlock(s->mutex);
}

static fj_code green_lock(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    shared *s = fj_request_data(req);
    fj_code code = lock(s, err);

    if (code != FJ_OK)
        return code;
    code = blocks(s, args, some(args, 100), err);
    if (unlock(s) != FJ_OK)
        return fj_fail(err, FJ_STATE, "the mutex is another's");
    return code == FJ_OK ? answer(args, ret) : code;
}

static fj_code coro_lock(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    shared *s = fj_request_data(req);
    fj_code code = lock(s, err);

    if (code != FJ_OK)
        return code;
    code = fj_sleep(fj_in_ms(some(args, 2)));
    if (unlock(s) != FJ_OK)
        code = FJ_STATE;
    return code == FJ_OK ? answer(args, ret) : fj_fail(err, code, "the mutex is another's");
}

/* Put an item, get one, which may be another's; all within a permit. */
static FJ_MAY_AWAIT fj_code exchange(shared *s, fj_error **err)
{
    void *item = NULL;
    fj_code code = fj_semaphore_acquire(s->permits, fj_in_ms(PERMIT_MS));

    if (code == FJ_OK)
        code = fj_queue_put(s->queue, s, fj_in_ms(PERMIT_MS));
    if (code == FJ_OK)
        code = fj_queue_get(s->queue, fj_in_ms(PERMIT_MS), &item);
    if (code == FJ_OK)
        code = fj_semaphore_release(s->permits);
    return code == FJ_OK && item == s ? code : fj_fail(err, code, "nothing was exchanged");
}

static fj_code green_exchange(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = exchange(fj_request_data(req), err);

    return code == FJ_OK ? answer(args, ret) : code;
}

static fj_code coro_exchange(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = exchange(fj_request_data(req), err);

    return code == FJ_OK ? answer(args, ret) : code;
}

/* ---- for each other ------------------------------------------------------------------------------- */

typedef struct {
    int ends[2];
    unsigned us;
    int error; /* of the read */
} wire;

static fj_code feed(void *user, json_t **ret, fj_error **err)
{
    wire *w = user;

    (void)ret;
    fj_code code = fj_sleep(fj_in_ms(w->us / 1000));
    if (code == FJ_OK && write(w->ends[1], "x", 1) != 1)
        return fj_fail(err, FJ_SYSTEM, "write: %s", strerror(errno));
    return code;
}

/* A read that a coroutine feeds, which is then waited for. */
static fj_code read_fed(wire *w, fj_error **err)
{
    fj_task *feeder = NULL;
    char byte;
    fj_code code = fj_task_spawn(feed, w, NULL, &feeder, err);

    if (code != FJ_OK)
        return code;
    ssize_t n = read(w->ends[0], &byte, 1);
    fj_code fed = fj_green_await(fj_task_future(feeder), fj_in_ms(CALL_MS), NULL, err);
    fj_task_unref(feeder);
    if (fed == FJ_OK && n != 1)
        return fj_fail(err, FJ_SYSTEM, "read: %s", strerror(errno));
    return fed;
}

static fj_code wire_new(wire *w, json_t *args, fj_error **err)
{
    *w = (wire){ .us = some(args, 3000) };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->ends) != 0)
        return fj_fail(err, FJ_SYSTEM, "socketpair: %s", strerror(errno));
    return FJ_OK;
}

static void wire_free(wire *w)
{
    (void)close(w->ends[0]);
    (void)close(w->ends[1]);
}

static fj_code green_read(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    wire w;
    fj_code code = wire_new(&w, args, err);

    (void)req;
    if (code != FJ_OK)
        return code;
    code = read_fed(&w, err);
    wire_free(&w);
    return code == FJ_OK ? answer(args, ret) : code;
}

static fj_code reads_in_vain(void *user, json_t **ret, fj_error **err)
{
    wire *w = user;
    char byte;

    (void)ret;
    w->error = read(w->ends[0], &byte, 1) < 0 ? errno : 0;
    return fj_fail(err, FJ_CANCELLED, "%s", strerror(w->error));
}

/* A green task that reads what never comes is given up: its read answers ECANCELED. */
static fj_code coro_cut(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_future *reader = NULL;
    wire w;
    fj_code code = wire_new(&w, args, err);

    (void)req;
    if (code != FJ_OK)
        return code;
    code = fj_wrap_green_fn(reads_in_vain, &w, NULL, &reader, err);
    if (code == FJ_OK) {
        code = fj_wait_for(reader, fj_in_ms(1), NULL, NULL);
        fj_future_unref(reader);
        code = code == FJ_TIMEOUT && (w.error == ECANCELED || w.error == 0)
                   ? FJ_OK
                   : fj_fail(err, FJ_INTERNAL, "%s, %s", fj_code_name(code), strerror(w.error));
    }
    wire_free(&w);
    return code == FJ_OK ? answer(args, ret) : code;
}

/* Another method of the same server, of those that call nobody. */
static FJ_MAY_AWAIT fj_code call_other(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    shared *s = fj_request_data(req);
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.by = fj_in_ms(CALL_MS);
    return fj_client_call(s->client, load_names[some(args, LOAD_METHODS - 2)], json_incref(args), &o, ret, err);
}

static fj_code green_call(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_code code = blocks(fj_request_data(req), args, some(args, 200), err);

    return code == FJ_OK ? call_other(req, args, ret, err) : code;
}

static fj_code coro_call(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    return call_other(req, args, ret, err);
}

/* ---- the table ------------------------------------------------------------------------------------ */

const char *const load_names[LOAD_METHODS] = { "green_doze",     "coro_nap",      "green_lock", "coro_lock",
                                               "green_exchange", "coro_exchange", "green_read", "coro_cut",
                                               "green_call",     "coro_call" };
static const fj_method methods[] = {
    FJ_METHOD("green_doze", FJ_GREEN, green_doze),         FJ_METHOD("coro_nap", FJ_CORO, coro_nap),
    FJ_METHOD("green_lock", FJ_GREEN, green_lock),         FJ_METHOD("coro_lock", FJ_CORO, coro_lock),
    FJ_METHOD("green_exchange", FJ_GREEN, green_exchange), FJ_METHOD("coro_exchange", FJ_CORO, coro_exchange),
    FJ_METHOD("green_read", FJ_GREEN, green_read),         FJ_METHOD("coro_cut", FJ_CORO, coro_cut),
    FJ_METHOD("green_call", FJ_GREEN, green_call),         FJ_METHOD("coro_call", FJ_CORO, coro_call),
};
const fj_endpoint load_endpoint = FJ_ENDPOINT(NULL, "1.0", methods);
