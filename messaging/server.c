/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RPC server: a listener, a dispatcher and an executor, brought up and down in one order.  Stopping is an atomic store, the
 * executor's close() and an interrupt, which a signal handler may do; what takes locks is done by whoever waits.
 */
#include "server_impl.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/native.h"
#include "dispatcher/live.h"
#include "dispatcher/notified.h"
#include "executors/flavours.h"
#include "executors/patch.h"
#include "runtime/loop.h"
#include "runtime/sync.h"

#include <fjord/await.h>

static const char prefix[] = "server ", notified_prefix[] = "listener ";

/* ---- the start-up log --------------------------------------------------------------------------- */

static void log_start(const fj_server *s)
{
    const fj_endpoint *endpoint;
    const fj_method *method;

    if (!fj__log_on(FJ_LOG_INFO, "rpc"))
        return;
    fj__log(FJ_LOG_INFO, "rpc", "%s: executor %s, %u slots, acknowledged %s", s->name, s->kind->name, s->slots,
            s->ack_done ? "when done" : "on admission");
    for (size_t i = 0; fj_dispatcher_method(s->dispatcher, i, &endpoint, &method); i++) {
        const char *how = fj__emulated(s->kind, method->flavour, s->transport->conf);
        fj__log(FJ_LOG_INFO, "rpc", "%s: method %s of %s %s%s%s", s->name, method->name,
                fj__endpoint_place(endpoint), endpoint->version != NULL ? endpoint->version : "1.0",
                how != NULL ? ", emulated: " : "", how != NULL ? how : "");
    }
}

/* ---- the steps of its life ---------------------------------------------------------------------- */

static void tear_down(fj_server *s)
{
    (void)fj__native.pthread_mutex_lock(&s->ending);
    fj_executor *executor = s->executor;
    s->executor = NULL;
    (void)fj__native.pthread_mutex_unlock(&s->ending);
    if (executor != NULL)
        executor->ops->free(executor);
    if (s->listener != NULL)
        s->listener->ops->free(s->listener);
    s->listener = NULL;
}

static fj_code choose_loop(fj_server *s, fj_error **err)
{
    fj_loop *loop = s->opts.loop;
    fj_code code = FJ_OK;

    if ((s->kind->caps & FJ_EXECUTOR_LOOP) == 0)
        return FJ_OK;
    if (loop == NULL)
        code = fj_loop_current(&loop, err);
    else if (!fj__loop_here(loop))
        code = fj_fail(err, FJ_WRONG_CONTEXT, "a server is started on the thread of its loop");
    if (code == FJ_OK && loop == fj_loop_running() && fj__loop_domain() == NULL)
        code = fj_fail(err, FJ_WRONG_CONTEXT, "the loop that runs is this method's, and ends with it");
    if (code != FJ_OK)
        return code;
    fj__loop_unref(s->loop);
    s->loop = fj__loop_ref(loop);
    return FJ_OK;
}

/* Green methods want their hooks under every executor; where there is no loop to be blocked they can do without. */
static fj_code patch(const fj_server *s, fj_error **err)
{
    const fj_endpoint *endpoint;
    const fj_method *method;

    if ((s->kind->caps & FJ_EXECUTOR_GREEN) != 0)
        return FJ_OK; /* it sees to that itself */
    for (size_t i = 0; fj_dispatcher_method(s->dispatcher, i, &endpoint, &method); i++) {
        if (method->flavour == FJ_GREEN)
            return fj__patch(s->transport->conf, (s->kind->caps & FJ_EXECUTOR_LOOP) != 0, err);
    }
    return FJ_OK;
}

static fj_code bring_up(fj_server *s, fj_error **err)
{
    fj_driver *d = s->transport->driver;
    fj_executor_opts x = { sizeof x, s->slots, s->ack_done, s->opts.wrap, s->opts.wrap_user, NULL };
    if (s->around.chain.n > 0) {
        x.wrap = fj__around_invoke;
        x.wrap_user = &s->around;
    }
    fj_listen_opts l = FJ_LISTEN_OPTS_INIT;
    double limit = fj__conf_number(s->transport->conf, "fjord", "start_timeout", 30);

    l.slots = s->slots;
    l.ack_done = s->ack_done;
    l.keep_fetched = s->keep_fetched;
    l.instance = s->instance[0] != '\0' ? s->instance : NULL;
    fj_code code = choose_loop(s, err);
    x.loop = l.loop = s->loop;
    if (code == FJ_OK)
        code = patch(s, err);
    if (code == FJ_OK)
        code = s->kind->create(s->transport->conf, &x, &s->executor, err);
    if (code == FJ_OK)
        code = fj__strict(s->kind, s->dispatcher, s->transport->conf, err);
    if (code == FJ_OK)
        code = s->notes != NULL
                   ? fj__notes_listen(s->notes, d, s->dispatcher, &l, fj_in_seconds(limit), &s->listener, err)
                   : d->ops->listen(d, &s->target, &l, fj_in_seconds(limit), &s->listener, err);
    if (code == FJ_OK)
        s->gate.parks = s->listener->parks;
    if (code == FJ_OK)
        code = s->kind->start(s->executor, &s->gate, s->dispatcher, err);
    return code;
}

static fj_code on_start(void *user, fj_error **err)
{
    fj_server *s = user;

    atomic_store(&s->stopping, false);
    s->left = false;
    fj_code code = bring_up(s, err);
    if (code != FJ_OK) {
        fj_error_prefix(err, "%s cannot start", s->name);
        tear_down(s);
        return code;
    }
    log_start(s);
    fj__run_add(&s->running);
    return FJ_OK;
}

static void on_stop(void *user)
{
    fj_server *s = user;

    atomic_store(&s->stopping, true);
    if (!s->keep_fetched)
        s->kind->close(s->executor); /* who waits for a slot in run or step returns, too */
    s->gate.ops->interrupt(&s->gate);
}

/* Nobody polls any more, all is answered: leave the broker. */
static void leave(fj_server *s, fj_deadline by)
{
    fj__run_remove(&s->running);
    (void)fj__native.pthread_mutex_lock(&s->stepping); /* who was in a step is about to leave it */
    s->left = true;
    (void)fj__native.pthread_mutex_unlock(&s->stepping);
    fj__server_leave(s, by);
    tear_down(s);
}

static fj_code on_wait(void *user, fj_deadline by, fj_error **err)
{
    fj_server *s = user;

    s->listener->ops->close(s->listener);
    fj_code code = s->kind->stop(s->executor, by, err);
    if (code != FJ_OK) {
        fj_error_prefix(err, "%s", s->name);
        return code;
    }
    leave(s, by);
    fj__log(FJ_LOG_INFO, "rpc", "%s: stopped", s->name);
    return FJ_OK;
}

static bool is_inside(void *user)
{
    return fj_dispatcher_here(((fj_server *)user)->dispatcher);
}

static const fj__life_ops life_ops = { on_start, on_stop, on_wait, is_inside };

/* ---- waiting ------------------------------------------------------------------------------------ */

struct waiting {
    fj_server *server;
    fj_deadline by;
};

static fj_code wait_here(void *user, json_t **ret, fj_error **err)
{
    const struct waiting *w = user;

    (void)ret;
    return fj__life_wait(&w->server->life, w->by, err);
}

/* Drained, or given up. */
static fj_code end_here(void *user, json_t **ret, fj_error **err)
{
    const struct waiting *w = user;
    fj_server *s = w->server;

    if (wait_here(user, ret, NULL) != FJ_OK && s->executor != NULL) {
        s->kind->close(s->executor);
        s->kind->abort(s->executor);
        leave(s, fj_in_ms(100));
    }
    (void)err;
    return FJ_OK;
}

/* A task waits by way of another thread, so that its loop, perhaps the server's own, goes on. */
static FJ_MAY_AWAIT fj_code from_here(fj_server *s, fj_task_fn fn, fj_deadline by, fj_error **err)
{
    struct waiting w = { s, by };
    fj_future *future = NULL;

    if (fj_task_current() == NULL || is_inside(s))
        return fn(&w, NULL, err);
    fj_code code = fj_run_in_executor(fn, &w, NULL, &future, err);
    if (code != FJ_OK)
        return code;
    fj_shield_begin(); /* the thread uses what is on this stack */
    code = fj_future_wait(future, fj_never(), NULL, err);
    fj_shield_end();
    fj_future_unref(future);
    return code;
}

/* ---- new and free ------------------------------------------------------------------------------- */

static json_t *tell_calls(void *user, fj_deadline by)
{
    const fj_server *s = user;

    (void)by;
    return fj__dispatcher_calls(s->dispatcher, s->called);
}

static json_t *tell_counters(void *user, fj_deadline by)
{
    const fj_server *s = user;

    (void)by;
    return fj__dispatcher_counters(s->dispatcher, s->called);
}

static void destroy(fj_server *s)
{
    fj__inspect_remove(&s->calls);
    fj__inspect_remove(&s->counters);
    fj__loop_unref(s->loop);
    fj_dispatcher_free(s->dispatcher);
    fj__chain_fini(&s->around.chain);
    fj__target_fini(&s->target);
    fj__notes_free(s->notes);
    fj__free(s->name);
    (void)pthread_mutex_destroy(&s->ending);
    (void)pthread_mutex_destroy(&s->stepping);
    fj__free(s);
}

/* What the options leave open comes from the configuration. */
static fj_code settle_opts(fj_server *s, fj_error **err)
{
    const fj_conf *conf = s->transport->conf;
    const char *name = s->opts.executor != NULL ? s->opts.executor : fj_conf_str(conf, "fjord", "executor");
    fj_code code = fj_executor_find(conf, name != NULL ? name : "threading", &s->kind, err);

    if (code != FJ_OK)
        return code;
    s->opts.executor = NULL;
    double pool = fj__conf_number(conf, "fjord", "executor_pool_size", 0);
    if (!(pool >= 1))
        pool = fj__conf_number(conf, "DEFAULT", "executor_thread_pool_size", 64);
    s->slots = s->opts.slots != 0 ? s->opts.slots : pool >= 1 && pool < 1e6 ? (unsigned)pool : 64;
    if (s->kind->max_slots != 0 && s->slots > s->kind->max_slots)
        s->slots = s->kind->max_slots;
    const char *ack = fj_conf_str(conf, "fjord", "ack");
    const char *fetched = fj_conf_str(conf, "fjord", "drain_fetched");
    s->keep_fetched = fetched != NULL && strcmp(fetched, "process") == 0;
    s->ack_done = s->opts.ack_done >= 0 ? s->opts.ack_done != 0 : ack != NULL && strcmp(ack, "done") == 0;
    return FJ_OK;
}

/* Gives; NULL: no memory. */
static char *name_of(const fj_server *s, const fj_target *target)
{
    if (s->notes == NULL)
        return fj__format("%s%s.%s", prefix, target->topic, target->server);
    if (s->notes->pool != NULL)
        return fj__format("%s%s of pool %s", notified_prefix, target->topic, s->notes->pool);
    return fj__format("%s%s", notified_prefix, target->topic);
}

static fj_code complete(fj_server *s, const fj_target *target, fj_error **err)
{
    fj_dispatcher_opts opts = FJ_DISPATCHER_OPTS_INIT;
    fj_code code = settle_opts(s, err);

    if (code != FJ_OK)
        return code;
    s->around.target = &s->target;
    s->around.inner = s->opts.wrap != NULL ? s->opts.wrap : fj_invoke_direct;
    s->around.inner_user = s->opts.wrap_user;
    opts.access = s->opts.access;
    opts.serializer = s->opts.serializer;
    opts.ping = fj_conf_bool(s->transport->conf, "DEFAULT", "rpc_ping_enabled");
    if (fj__target_copy(target, &s->target) != FJ_OK || (s->name = name_of(s, target)) == NULL ||
        (s->notes == NULL && fj__chain_copy(&s->transport->chain, &s->around.chain) != FJ_OK))
        return fj_fail(err, FJ_NOMEM, "no memory for a server");
    return s->notes != NULL ? fj__notified_new(s->opts.serializer, s->notes->requeue, &s->dispatcher, err)
                            : fj_dispatcher_new(&opts, &s->dispatcher, err);
}

fj_code fj__server_make(fj_transport *transport, const fj_target *target, const fj_server_opts *opts,
                        fj__notes *notes, fj_server **ret, fj_error **err)
{
    fj_server *s = fj__zalloc(sizeof *s);

    if (s == NULL) {
        fj__notes_free(notes);
        return fj_fail(err, FJ_NOMEM, "no memory for a server");
    }
    s->transport = transport;
    s->notes = notes;
    s->opts = (fj_server_opts)FJ_SERVER_OPTS_INIT;
    if (opts != NULL)
        fj__copy_sized(&s->opts, sizeof s->opts, opts, opts->size);
    s->gate.ops = &fj__gate_ops;
    s->running.server = s;
    atomic_init(&s->stopping, false);
    (void)pthread_mutex_init(&s->ending, NULL);
    (void)pthread_mutex_init(&s->stepping, NULL);
    fj_code code = complete(s, target, err);
    if (code != FJ_OK) {
        destroy(s);
        return code;
    }
    fj__life_init(&s->life, &life_ops, s, s->name);
    s->called = s->name + strlen(notes != NULL ? notified_prefix : prefix);
    fj__inspect_add(&s->calls, "call", tell_calls, s);
    fj__inspect_add(&s->counters, "counters", tell_counters, s);
    *ret = s;
    return FJ_OK;
}

fj_code fj_server_new(fj_transport *transport, const fj_target *target, const fj_server_opts *opts,
                      fj_server **ret, fj_error **err)
{
    fj_code code = fj__transport_check(transport, err);

    if (code != FJ_OK)
        return code;
    if (target->topic == NULL || *target->topic == '\0' || target->server == NULL || *target->server == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a server's target needs a topic and a server");
    return fj__server_make(transport, target, opts, NULL, ret, err);
}

/* Stop it and see it to its end. */
static FJ_MAY_AWAIT fj_code end(fj_server *s, fj_error **err)
{
    fj__life_state state = fj__life_now(&s->life);

    if (state == FJ__LIFE_INIT || state == FJ__LIFE_DRAINED)
        return FJ_OK;
    if (is_inside(s))
        return fj_fail(err, FJ_STATE, "it is freed from within one of its methods");
    fj_code code = fj__may_wait(err);
    if (code != FJ_OK)
        return code;
    fj__life_stop(&s->life);
    return from_here(s, end_here, fj_in_ms(2000), err);
}

fj_server *fj_server_free(fj_server *s)
{
    fj_error *error = NULL;

    if (s == NULL || fj__transport_check(s->transport, NULL) != FJ_OK)
        return NULL; /* of a forked child: its threads and locks are the parent's, it is left alone */
    if (end(s, &error) == FJ_OK)
        destroy(s);
    else
        fj__log(FJ_LOG_ERROR, "rpc", "%s is not freed: %s", s->name, fj_error_text(error));
    fj_error_free(error);
    return NULL;
}

fj_code fj_server_add(fj_server *s, const fj_endpoint *endpoint, void *data, fj_error **err)
{
    fj_code code = fj__transport_check(s->transport, err);

    if (code != FJ_OK)
        return code;
    if (fj__life_now(&s->life) != FJ__LIFE_INIT)
        return fj_fail(err, FJ_STATE, "%s was started: endpoints are added before", s->name);
    return fj_dispatcher_add(s->dispatcher, endpoint, data, err);
}

fj_code fj_server_intercept(fj_server *s, const fj_interceptor *interceptor, void *user, fj_error **err)
{
    fj_code code = fj__transport_check(s->transport, err);

    if (code != FJ_OK)
        return code;
    if (fj__life_now(&s->life) != FJ__LIFE_INIT)
        return fj_fail(err, FJ_STATE, "%s was started: interceptors are added before", s->name);
    return fj__chain_add(&s->around.chain, s->transport->conf, NULL, interceptor, user, err);
}

/* ---- start, run, stop --------------------------------------------------------------------------- */

fj_code fj_server_start(fj_server *s, fj_error **err)
{
    fj_code code = fj__transport_check(s->transport, err);

    if (code == FJ_OK)
        code = fj__may_wait(err);
    return code == FJ_OK ? fj__life_start(&s->life, err) : code;
}

/* A step for the thread that holds `stepping`. */
static fj_code step(fj_server *s, fj_deadline by, fj_error **err)
{
    for (;;) {
        if (s->left || (atomic_load(&s->stopping) && !s->keep_fetched))
            return fj_fail(err, FJ_CLOSED, "%s is stopped", s->name);
        fj_error *error = NULL;
        fj_code code = s->kind->step(s->executor, by, &error);
        if (code == FJ_STATE && atomic_load(&s->stopping)) { /* who waits for its end runs what is left */
            fj_error_free(error);
            return fj_fail(err, FJ_CLOSED, "%s is stopped", s->name);
        }
        if (code != FJ_AGAIN)
            return error != NULL ? fj_error_move(error, err) : code;
        fj_error_free(error);
    }
}

/* Whether a step finds something to do; a stopped server's may be what it has fetched. */
static bool has_steps(fj_server *s)
{
    fj__life_state now = fj__life_now(&s->life);

    return now == FJ__LIFE_RUNNING ||
           (s->keep_fetched && !s->left && (now == FJ__LIFE_STOPPED || now == FJ__LIFE_DRAINING));
}

fj_code fj_server_step(fj_server *s, fj_deadline by, fj_error **err)
{
    fj_code code = fj__transport_check(s->transport, err);

    if (code != FJ_OK)
        return code;
    if (fj_loop_running() != NULL)
        return fj_fail(err, FJ_STATE, "a step of %s would stop the loop that runs on this thread", s->name);
    if (fj__life_now(&s->life) == FJ__LIFE_INIT)
        return fj_fail(err, FJ_STATE, "%s is not started", s->name);
    if (!fj__server_steps(s))
        return fj__life_await_stop(&s->life, by) ? fj_fail(err, FJ_CLOSED, "%s is stopped", s->name)
                                                 : fj_fail(err, FJ_TIMEOUT, "the time of the step is over");
    if (fj__native.pthread_mutex_trylock(&s->stepping) != 0)
        return fj_fail(err, FJ_STATE, "%s is driven by another thread, or from one of its methods", s->name);
    code = has_steps(s) ? step(s, by, err) : fj_fail(err, FJ_CLOSED, "%s is stopped", s->name);
    (void)fj__native.pthread_mutex_unlock(&s->stepping);
    return code;
}

fj_code fj_server_run(fj_server *s, fj_error **err)
{
    for (;;) {
        fj_error *error = NULL;
        fj_code code = fj_server_step(s, fj_never(), &error);
        if (code != FJ_OK && code != FJ_TIMEOUT && code != FJ_CLOSED)
            return error != NULL ? fj_error_move(error, err) : code;
        fj_error_free(error);
        if (code == FJ_CLOSED)
            return FJ_OK;
    }
}

void fj_server_stop(fj_server *s)
{
    if (fj__transport_check(s->transport, NULL) == FJ_OK) /* else its descriptors are the parent's, too */
        fj__life_stop(&s->life);
}

fj_code fj_server_wait(fj_server *s, fj_deadline by, fj_error **err)
{
    fj_code code = fj__transport_check(s->transport, err);

    if (code != FJ_OK)
        return code;
    if (!is_inside(s)) /* which is refused for its own reason */
        code = fj__may_wait(err);
    return code == FJ_OK ? from_here(s, wait_here, by, err) : code;
}

fj_code fj_server_reset(fj_server *s, fj_error **err)
{
    fj_code code = fj__transport_check(s->transport, err);

    return code == FJ_OK ? fj__life_reset(&s->life, err) : code;
}

const char *fj_server_executor(const fj_server *s)
{
    return s->kind->name;
}
