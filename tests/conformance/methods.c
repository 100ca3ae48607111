/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/methods.h"

#include "tests/conformance/rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static rig *of(fj_request *req)
{
    return fj_request_data(req);
}

static fj_code echo(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)err;
    *ret = json_deep_copy(args);
    return FJ_OK;
}

static fj_code fail(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_fail(err, FJ_BAD_VALUE, "seven is not a colour");
}

static fj_code expected(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req, (void)args, (void)ret;
    return fj_raise(err, "shop.errors", "SoldOut", json_pack("[s]", "pears"), "no pears left");
}

static fj_code note(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = of(req);

    (void)ret, (void)err;
    (void)pthread_mutex_lock(&r->lock);
    if (r->noted < RIG_NOTES)
        r->notes[r->noted++] = json_integer_value(json_object_get(args, "n"));
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    return FJ_OK;
}

/* Note it, and go on when it is permitted.  Answers whose method it is. */
static fj_code step(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = of(req);
    fj_code code = note(req, args, ret, err);

    if (code == FJ_OK)
        code = fj_semaphore_acquire(r->permits, fj_never());
    atomic_fetch_add(&r->finished, 1);
    rig_tell(r);
    *ret = json_string(r->name);
    return code;
}

/* Wait until the gate opens; tells how many wait. */
static fj_code hold(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = of(req);

    (void)args, (void)ret;
    unsigned now = atomic_fetch_add(&r->holding, 1) + 1, most = atomic_load(&r->highest);
    while (now > most && !atomic_compare_exchange_weak(&r->highest, &most, now))
        ;
    rig_tell(r);
    fj_code code = fj_event_wait(r->gate, fj_never());
    atomic_fetch_sub(&r->holding, 1);
    atomic_fetch_add(&r->finished, 1);
    rig_tell(r);
    return code == FJ_OK ? FJ_OK : fj_fail(err, code, "the gate was not waited for");
}

static fj_code nap(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = of(req);
    fj_deadline until = fj_in_ms(json_integer_value(json_object_get(args, "ms")));

    (void)ret;
    unsigned now = atomic_fetch_add(&r->holding, 1) + 1, most = atomic_load(&r->highest);
    while (now > most && !atomic_compare_exchange_weak(&r->highest, &most, now))
        ;
    fj_code code = fj_sleep(until);
    atomic_fetch_sub(&r->holding, 1);
    if (code == FJ_OK && !fj_passed(until))
        return fj_fail(err, FJ_INTERNAL, "the sleep was too short");
    return code;
}

/* Really block, as a library would that knows nothing of loops; no longer than until something is seen. */
static fj_code block(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_deadline until = fj_in_ms(json_integer_value(json_object_get(args, "ms")));
    const struct timespec slice = { .tv_nsec = 10000000 };

    (void)ret, (void)err;
    while (!fj_passed(until) && atomic_load(&of(req)->seen) == 0)
        (void)nanosleep(&slice, NULL); /* the watchdog's signal may cut it short */
    return FJ_OK;
}

/* A byte from the pipe, waited for as a library would. */
static fj_code bytes(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = of(req);
    struct pollfd p = { .fd = r->ends[0], .events = POLLIN };
    char got[2] = "";

    (void)args;
    (void)usleep(1000);
    atomic_fetch_add(&r->holding, 1);
    rig_tell(r);
    int ready = poll(&p, 1, 10000);
    ssize_t n = ready == 1 ? read(r->ends[0], got, 1) : -1;
    atomic_fetch_sub(&r->holding, 1);
    if (n != 1)
        return fj_fail(err, FJ_SYSTEM, "poll answered %d, read %zd: %s", ready, n, strerror(errno));
    *ret = json_string(got);
    return FJ_OK;
}

/* Call another method, of a server named in the arguments, from inside. */
static fj_code relay(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    o.topic = json_string_value(json_object_get(args, "topic"));
    o.by = fj_in_ms(json_integer_value(json_object_get(args, "ms")));
    return fj_client_call(of(req)->inner, json_string_value(json_object_get(args, "method")),
                          json_incref(json_object_get(args, "args")), &o, ret, err);
}

static fj_code stop(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)err;
    fj_server_stop(of(req)->server);
    *ret = json_string("stopping");
    return FJ_OK;
}

static fj_code wait_here(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    fj_error *error = NULL;

    (void)args, (void)err;
    fj_server_stop(of(req)->server);
    fj_code code = fj_server_wait(of(req)->server, fj_in_ms(5000), &error);
    *ret =
        json_pack("{s:s, s:s}", "code", fj_code_name(code), "text", error != NULL ? fj_error_text(error) : "");
    fj_error_free(error);
    return FJ_OK;
}

static fj_code twice(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = of(req);
    fj_request *kept = fj_request_ref(req);
    fj_error *second = NULL;

    (void)args, (void)ret;
    fj_code code = fj_request_reply(kept, json_string("the first"), err);
    atomic_store(&r->seen, (int)fj_request_reply(kept, json_string("the second"), &second));
    rig_tell(r);
    fj_error_free(second);
    fj_request_unref(kept);
    return code == FJ_OK ? FJ_DEFERRED : code;
}

static fj_code defer(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    rig *r = of(req);

    (void)args, (void)ret, (void)err;
    (void)pthread_mutex_lock(&r->lock);
    if (r->n_kept < RIG_NOTES)
        r->kept[r->n_kept++] = fj_request_ref(req);
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    return FJ_DEFERRED;
}

static fj_code drop(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)ret, (void)err;
    fj_request_unref(fj_request_ref(req));
    return FJ_DEFERRED;
}

static fj_code who(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)args, (void)err;
    *ret = json_pack("{s:b, s:b}", "current", fj_request_current() == req, "task", fj_task_current() != NULL);
    return FJ_OK;
}

#define METHODS(flavour)                                                                                   \
    {                                                                                                      \
        FJ_METHOD("echo", flavour, echo), FJ_METHOD("fail", flavour, fail),                                \
            FJ_METHOD_FLAGS("expected", flavour, expected, FJ_EXPECTED), FJ_METHOD("hold", flavour, hold), \
            FJ_METHOD("nap", flavour, nap), FJ_METHOD("block", flavour, block),                            \
            FJ_METHOD("bytes", flavour, bytes), FJ_METHOD("relay", flavour, relay),                        \
            FJ_METHOD("stop", flavour, stop), FJ_METHOD("wait", flavour, wait_here),                       \
            FJ_METHOD("twice", flavour, twice), FJ_METHOD("defer", flavour, defer),                        \
            FJ_METHOD("drop", flavour, drop), FJ_METHOD("who", flavour, who),                              \
            FJ_METHOD("note", flavour, note), FJ_METHOD("step", flavour, step),                            \
    }

static const fj_method plain[] = METHODS(FJ_PLAIN);
static const fj_method green[] = METHODS(FJ_GREEN);
static const fj_method coro[] = METHODS(FJ_CORO);

static const fj_endpoint endpoints[] = {
    [FJ_PLAIN] = FJ_ENDPOINT(NULL, "1.0", plain),
    [FJ_GREEN] = FJ_ENDPOINT(NULL, "1.0", green),
    [FJ_CORO] = FJ_ENDPOINT(NULL, "1.0", coro),
};

const fj_endpoint *methods_of(fj_flavour flavour)
{
    return &endpoints[flavour];
}
