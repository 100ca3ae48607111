/* SPDX-License-Identifier: Apache-2.0 */
#include "executors/flavours.h"

#include "dispatcher/request.h"
#include "executors/patch.h"

/* How, and what to change for it not to be so. */
struct emulation {
    const char *how, *instead;
};

static const struct emulation without_hooks = { "without hooks, so that its blocking calls really block",
                                                "link the program with -lfjord-green, or start it with "
                                                "LD_PRELOAD=libfjord-green.so, and see [fjord] patch; "
                                                "or make the method FJ_PLAIN or FJ_CORO" };
static const struct emulation green_on_a_thread = {
    "in a green task on a loop of its thread's own",
    "set [fjord] executor to green or bridged, or make the method FJ_PLAIN"
};
static const struct emulation green_among_explicit = {
    "in a green task of its own, with the hooks of another executor",
    "set [fjord] executor to green or bridged, or make the method FJ_CORO"
};
static const struct emulation explicit_on_a_thread = {
    "in a task on a loop of its thread's own",
    "set [fjord] executor to coroutine or bridged, or make the method FJ_PLAIN"
};

static const struct emulation *emulation(const fj_executor_ops *ops, fj_flavour flavour, const fj_conf *conf)
{
    bool on_loop = (ops->caps & FJ_EXECUTOR_LOOP) != 0;

    switch (flavour) {
    case FJ_GREEN:
        if (!fj__patch_is_live(conf))
            return &without_hooks;
        if ((ops->caps & FJ_EXECUTOR_GREEN) != 0)
            return NULL;
        return on_loop ? &green_among_explicit : &green_on_a_thread;
    case FJ_CORO:
        return (ops->caps & FJ_EXECUTOR_CORO) != 0 ? NULL : &explicit_on_a_thread;
    default:
        return NULL;
    }
}

const char *fj__emulated(const fj_executor_ops *ops, fj_flavour flavour, const fj_conf *conf)
{
    const struct emulation *e = emulation(ops, flavour, conf);

    return e != NULL ? e->how : NULL;
}

fj_code fj__strict(const fj_executor_ops *ops, const fj_dispatcher *d, const fj_conf *conf, fj_error **err)
{
    const fj_endpoint *endpoint;
    const fj_method *method;

    if (conf == NULL || !fj_conf_bool(conf, "fjord", "strict"))
        return FJ_OK;
    for (size_t i = 0; fj_dispatcher_method(d, i, &endpoint, &method); i++) {
        const struct emulation *e = emulation(ops, method->flavour, conf);
        if (e != NULL)
            return fj_fail(err, FJ_BAD_CONFIG,
                           "[fjord] strict: the method %s of %s is %s, and the executor %s would run it %s: %s",
                           method->name, fj__endpoint_place(endpoint),
                           method->flavour == FJ_GREEN ? "FJ_GREEN" : "FJ_CORO", ops->name, e->how, e->instead);
    }
    return FJ_OK;
}
