/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RPC client: targets merged, versions capped, entities serialized, then handed to the driver.
 *
 * What a driver's future gives is raw; where a serializer or a mapping of errors stands between, an asynchronous
 * caller gets an outer future (struct outer) that converts the inner one's outcome once.
 */
#include <fjord/client.h>

#include "base/alloc.h"
#include "base/native.h"
#include "base/version.h"
#include "internal.h"
#include "rpc.h"
#include "runtime/future_impl.h"
#include "runtime/sync.h"
#include "runtime/waiter.h"

#include <fjord/dispatcher.h>
#include <pthread.h>
#include <stdatomic.h>

struct fj_client {
    atomic_uint refs; /* the owner's, and those of futures and casts on their way */
    unsigned generation;
    fj_transport *transport;
    fj_target target;
    fj_client_opts opts; /* version_cap and remote_errors are its own */
    fj_remote_error *rules;
    fj__chain chain;        /* of interceptors */
    fj__counters *counters; /* the transport's: calls may end after it */
    /* casts on their way */
    pthread_mutex_t lock;
    fj__waiters flushing;
    size_t casting;
    fj_error *failed;
};

/* ---- life --------------------------------------------------------------------------------------- */

static void unref(fj_client *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    for (size_t i = 0; c->rules != NULL && i < c->opts.remote_errors_count; i++) {
        fj__free((char *)(uintptr_t)c->rules[i].module);
        fj__free((char *)(uintptr_t)c->rules[i].class_name);
    }
    fj__free(c->rules);
    if (c->generation == fj__fork_generation())
        fj__chain_fini(&c->chain);
    fj__free((char *)(uintptr_t)c->opts.version_cap);
    fj__target_fini(&c->target);
    fj_error_free(c->failed);
    fj__counters_unref(c->counters);
    (void)pthread_mutex_destroy(&c->lock);
    fj__free(c);
}

static bool copy_opts(fj_client *c, const fj_client_opts *opts)
{
    c->opts = (fj_client_opts)FJ_CLIENT_OPTS_INIT;
    if (opts == NULL)
        return true;
    fj__copy_sized(&c->opts, sizeof c->opts, opts, opts->size);
    const char *cap = c->opts.version_cap;
    const fj_remote_error *rules = c->opts.remote_errors;
    size_t n = c->opts.remote_errors_count;
    c->opts.version_cap = fj__strdup(cap);
    c->opts.remote_errors = NULL;
    c->rules = n > 0 ? fj__zalloc(n * sizeof *rules) : NULL;
    bool good = (cap == NULL || c->opts.version_cap != NULL) && (n == 0 || c->rules != NULL);
    for (size_t i = 0; good && i < n; i++) {
        c->rules[i].module = fj__strdup(rules[i].module);
        c->rules[i].class_name = fj__strdup(rules[i].class_name);
        c->rules[i].code = rules[i].code;
        good = (rules[i].module == NULL || c->rules[i].module != NULL) &&
               (rules[i].class_name == NULL || c->rules[i].class_name != NULL);
    }
    return good;
}

fj_code fj_client_new(fj_transport *transport, const fj_target *target, const fj_client_opts *opts,
                      fj_client **ret, fj_error **err)
{
    fj_code code = fj__transport_check(transport, err);

    if (code != FJ_OK)
        return code;
    if (target->topic == NULL || *target->topic == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a client's target needs a topic");
    fj_client *c = fj__zalloc(sizeof *c);
    if (c == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a client");
    atomic_init(&c->refs, 1);
    c->transport = transport;
    c->generation = transport->generation;
    c->counters = fj__counters_ref(transport->counters);
    (void)pthread_mutex_init(&c->lock, NULL);
    if (!copy_opts(c, opts) || fj__target_copy(target, &c->target) != FJ_OK ||
        fj__chain_copy(&transport->chain, &c->chain) != FJ_OK) {
        unref(c);
        return fj_fail(err, FJ_NOMEM, "no memory for a client");
    }
    if (!(c->opts.timeout > 0))
        c->opts.timeout = fj__conf_number(transport->conf, "DEFAULT", "rpc_response_timeout", 60);
    *ret = c;
    return FJ_OK;
}

fj_client *fj_client_free(fj_client *c)
{
    if (c != NULL)
        unref(c);
    return NULL;
}

fj_code fj_client_intercept(fj_client *c, const fj_interceptor *interceptor, void *user, fj_error **err)
{
    fj_code code = fj__transport_check(c->transport, err);

    return code == FJ_OK ? fj__chain_add(&c->chain, c->transport->conf, NULL, interceptor, user, err) : code;
}

/* ---- out ---------------------------------------------------------------------------------------- */

static fj_code check_cap(const char *cap, const char *version, fj_error **err)
{
    fj_error *why = NULL;

    if (cap == NULL)
        return FJ_OK;
    if (version == NULL)
        return fj_fail(err, FJ_VERSION_CAP, "a message without a version is not sent under the cap %s", cap);
    if (fj__version_compatible(cap, version, &why))
        return FJ_OK;
    if (why == NULL)
        return fj_fail(err, FJ_VERSION_CAP, "message version %s is not covered by the cap %s", version, cap);
    fj_error_prefix(&why, "version %s under the cap %s", version, cap);
    return fj_error_move(why, err);
}

bool fj_client_can_send_version(const fj_client *c, const char *version)
{
    return check_cap(c->opts.version_cap, version != NULL ? version : c->target.version, NULL) == FJ_OK;
}

static const char *either(const char *one, const char *other)
{
    return one != NULL ? one : other;
}

/* What its caller said, and interceptors made of it. */
struct message {
    const fj_call_opts *opts;
    const char *method;
    json_t *args;          /* owned, until it is sent */
    const json_t *context; /* lends */
    fj_target target;
    fj_deadline by;
    unsigned kind; /* FJ_SEND_CALL, or 0 */
    fj_deadline began;
    fj__counted *row; /* once it goes out */
};

static fj_target merge(const fj_client *c, const fj_call_opts *o)
{
    return (fj_target)FJ_TARGET(.exchange = either(o->exchange, c->target.exchange),
                                .topic = either(o->topic, c->target.topic),
                                .server = either(o->server, c->target.server),
                                .ns = either(o->ns, c->target.ns),
                                .version = either(o->version, c->target.version),
                                .fanout = o->fanout || c->target.fanout);
}

static fj_deadline deadline_of(const fj_client *c, const fj_call_opts *o, fj_deadline now)
{
    if (o->by.ns != 0)
        return o->by;
    double left = (double)(FJ_NEVER_NS - now.ns), timeout = c->opts.timeout * 1e9;
    return timeout < left ? (fj_deadline){ now.ns + (int64_t)timeout } : fj_never();
}

/* @param args takes */
static struct message message_of(const fj_client *c, const char *method, json_t *args, const fj_call_opts *o,
                                 unsigned kind)
{
    fj_deadline now = fj_now();

    return (struct message){ .opts = o,
                             .method = method,
                             .args = args,
                             .context = o->context,
                             .target = merge(c, o),
                             .by = deadline_of(c, o, now),
                             .began = now,
                             .kind = kind };
}

/* The arguments as the serializer makes them, one by one.  @param args takes */
static fj_code args_out(const fj_client *c, const json_t *context, json_t *args, json_t **ret, fj_error **err)
{
    const fj_serializer *s = c->opts.serializer;
    const char *name;
    json_t *value, *made = NULL;
    fj_code code = FJ_OK;

    if (args == NULL || s == NULL || s->entity_out == NULL || !json_is_object(args)) {
        *ret = args;
        return FJ_OK;
    }
    json_t *all = json_object();
    json_object_foreach(args, name, value)
    {
        made = NULL;
        code = s->entity_out(s->user, context, value, &made, err);
        if (code != FJ_OK)
            break;
        if (json_object_set_new(all, name, made != NULL ? made : json_null()) != 0) {
            code = fj_fail(err, FJ_NOMEM, "no memory for the argument %s", name);
            break;
        }
    }
    json_decref(args);
    if (code != FJ_OK)
        json_decref(all);
    else
        *ret = all;
    return code;
}

static fj_code context_out(const fj_client *c, const json_t *context, json_t **ret, fj_error **err)
{
    const fj_serializer *s = c->opts.serializer;
    json_t *given = context != NULL ? json_incref((json_t *)(uintptr_t)context) : NULL;

    *ret = given;
    if (s == NULL || s->context_out == NULL)
        return FJ_OK;
    if (given == NULL && (given = json_object()) == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a context");
    *ret = NULL;
    fj_code code = s->context_out(s->user, given, ret, err);
    json_decref(given);
    return code;
}

static fj_code check_send(const fj_client *c, const struct message *m, fj_error **err)
{
    const fj_target *t = &m->target;
    bool call = (m->kind & FJ_SEND_CALL) != 0;
    fj_code code = fj__transport_check(c->transport, err);

    if (code != FJ_OK)
        return code;
    if (t->topic == NULL || *t->topic == '\0')
        return fj_fail(err, FJ_BAD_TARGET, "a message needs a topic");
    if (call && t->fanout)
        return fj_fail(err, FJ_BAD_TARGET, "a call to %s cannot be fanned out: only casts can", t->topic);
    if (call && fj_is_never(m->by))
        return fj_fail(err, FJ_BAD_VALUE, "a call needs a deadline");
    return check_cap(either(m->opts->version_cap, c->opts.version_cap), t->version, err);
}

static unsigned flags_of(const fj_client *c, const fj_call_opts *o)
{
    bool mandatory = o->mandatory >= 0 ? o->mandatory != 0 : c->opts.mandatory;
    bool resend = o->resend >= 0 ? o->resend != 0 : c->opts.resend;

    return (mandatory ? (unsigned)FJ_SEND_MANDATORY : 0u) | (resend ? (unsigned)FJ_SEND_RESEND : 0u);
}

/* Everything up to the driver.  @param m its arguments are taken   @param ret gives */
static fj_code hand_over(fj_client *c, struct message *m, fj_future **ret, fj_error **err)
{
    const fj_call_opts *o = m->opts;
    json_t *context = NULL, *out = NULL, *args = m->args;
    fj_driver *d = c->transport->driver;
    bool call = (m->kind & FJ_SEND_CALL) != 0;
    fj_code code = check_send(c, m, err);

    m->args = NULL;
    if (code == FJ_OK)
        code = context_out(c, m->context, &context, err);
    if (code != FJ_OK) {
        json_decref(args);
        return code;
    }
    code = args_out(c, m->context, args, &out, err);
    if (code == FJ_OK) {
        double monitor = o->monitor > 0 ? o->monitor : o->monitor < 0 ? 0.0 : c->opts.monitor;
        fj_send send = { .size = sizeof send,
                         .target = &m->target,
                         .method = m->method,
                         .args = out,
                         .context = context,
                         .flags = m->kind | flags_of(c, o),
                         .monitor = call ? monitor : 0.0,
                         .retry = o->retry != FJ_RETRY_UNSET ? o->retry : c->opts.retry,
                         .by = m->by,
                         .began = m->began,
                         .shown_method = m->row != NULL ? m->row->method : NULL,
                         .shown_topic = m->row != NULL ? m->row->topic : NULL };
        code = d->ops->send(d, &send, ret, err);
    }
    json_decref(context);
    return code;
}

/* It has ended. */
static void counted(fj__counted *row, fj_deadline began, fj_code code, const fj_error *error)
{
    if (code == FJ_OK || fj_error_sent(error) != FJ_SENT_NO)
        fj__count_one(row, FJ__COUNT_SENT);
    fj__count_latency(row, fj_now().ns - began.ns);
    fj__count_one(row, fj__count_of(code, 0));
}

/* The same, counted from now on: whoever gets OK tells of its end. */
static fj_code begin(fj_client *c, struct message *m, fj_future **ret, fj_error **err)
{
    fj_error *error = NULL;

    m->row = fj__counters_row(c->counters, either(m->target.topic, ""), either(m->method, ""));
    fj__count_one(m->row, (m->kind & FJ_SEND_CALL) != 0 ? FJ__COUNT_CALLS : FJ__COUNT_CASTS);
    fj_code code = hand_over(c, m, ret, &error);
    if (code == FJ_OK)
        return code;
    counted(m->row, m->began, code, error);
    return error != NULL ? fj_error_move(error, err) : code;
}

/* One that nobody need wait for: counted when its future is complete. */
struct followed {
    fj__then then; /* first: it is freed as that */
    fj_client *client;
    fj__counted *row;
    fj_deadline began;
};

static void follow_over(fj_future *future, void *user)
{
    struct followed *f = user;

    /* looked at, not asked for: whether its owner has asked is for the owner to say */
    counted(f->row, f->began, future->error != NULL ? fj_error_code(future->error) : FJ_OK, future->error);
    unref(f->client);
}

static fj_code begin_followed(fj_client *c, struct message *m, fj_future **ret, fj_error **err)
{
    fj_code code = begin(c, m, ret, err);
    struct followed *f = code == FJ_OK ? fj__alloc(sizeof *f) : NULL;

    if (code != FJ_OK)
        return code;
    if (f == NULL) {
        counted(m->row, m->began, FJ_OK, NULL); /* or it would be in flight for ever */
        return code;
    }
    atomic_fetch_add(&c->refs, 1);
    *f = (struct followed){
        .then = { .fn = follow_over, .user = f, .quick = true }, .client = c, .row = m->row, .began = m->began
    };
    fj__future_then(*ret, &f->then);
    return code;
}

/* The same for one who waits for it next: nothing is sent where that is not allowed. */
static fj_code begin_waited(fj_client *c, struct message *m, fj_future **ret, fj_error **err)
{
    fj_code code = fj__may_wait(err);

    if (code != FJ_OK) {
        json_decref(m->args);
        return code;
    }
    if (fj_task_current() == NULL) /* a thread helps with the connection while it waits; a task cannot */
        m->kind |= FJ_SEND_WAITED;
    return begin(c, m, ret, err);
}

static fj_call_opts opts_of(const fj_call_opts *given)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    if (given != NULL)
        fj__copy_sized(&o, sizeof o, given, given->size);
    return o;
}

/* ---- in ----------------------------------------------------------------------------------------- */

static void map_error(const fj_client *c, fj_error *error)
{
    if (fj_error_code(error) != FJ_REMOTE)
        return;
    const char *module = fj_error_remote_module(error), *class_name = fj_error_remote_class(error);
    for (size_t i = 0; i < c->opts.remote_errors_count; i++) {
        const fj_remote_error *rule = &c->rules[i];
        if ((rule->module == NULL || (module != NULL && strcmp(rule->module, module) == 0)) &&
            (rule->class_name == NULL || (class_name != NULL && strcmp(rule->class_name, class_name) == 0))) {
            fj_error_set_code(error, rule->code);
            return;
        }
    }
}

/* @param raw takes   @param ret gives; may be NULL */
static fj_code result_in(const fj_client *c, const json_t *context, json_t *raw, json_t **ret, fj_error **err)
{
    const fj_serializer *s = c->opts.serializer;
    json_t *made = raw;
    fj_code code = FJ_OK;

    if (s != NULL && s->entity_in != NULL) {
        made = NULL;
        code = s->entity_in(s->user, context, raw, &made, err);
        json_decref(raw);
        if (code == FJ_OK && made == NULL)
            made = json_null();
    }
    if (code == FJ_OK && ret != NULL)
        *ret = made;
    else
        json_decref(made);
    return code;
}

/* A call of a method to a server that has no slot left but the method's own can only time out: say so. */
static void explain_timeout(const char *topic, fj_error **error)
{
    unsigned slots =
        fj_error_code(*error) == FJ_TIMEOUT && fj_request_current() != NULL ? fj__run_full(topic) : 0;

    if (slots == 0)
        return;
    char *text = fj__format("%s; the call was made by a method, and all %u slots of this process's server on "
                            "%s are taken: see [fjord] executor_pool_size",
                            fj_error_text(*error), slots, topic);
    if (text == NULL)
        return;
    fj_sent sent = fj_error_sent(*error);
    (void)fj_fail(error, FJ_TIMEOUT, "%s", text);
    fj_error_set_sent(*error, sent);
    fj__free(text);
}

/* Wait for a driver's future.  It ends by itself at the deadline; what waits beyond is a driver's defect. */
static FJ_MAY_AWAIT fj_code await(fj_future *future, fj_deadline by, json_t **ret, fj_error **err)
{
    fj_deadline late = by;

    if (!fj_is_never(by))
        late.ns = by.ns > INT64_MAX - 1000000001 ? INT64_MAX - 1 : by.ns + 1000000000;
    fj_code code = fj_future_wait(future, late, ret, err);
    if (!fj_future_done(future))
        (void)fj_future_cancel(future);
    return code;
}

static FJ_MAY_AWAIT fj_code call(fj_client *c, struct message *m, json_t **ret, fj_error **err)
{
    fj_error *error = NULL;
    fj_future *future = NULL;
    json_t *raw = NULL;
    fj_code code = begin_waited(c, m, &future, &error);

    if (code == FJ_OK) {
        code = await(future, m->by, &raw, &error);
        counted(m->row, m->began, code, error);
        fj_future_unref(future); /* before the result goes: nobody but the caller may hold it then */
        if (code == FJ_OK)
            code = result_in(c, m->context, raw, ret, &error);
        explain_timeout(m->target.topic, &error);
    }
    if (code == FJ_OK)
        return FJ_OK;
    map_error(c, error);
    return error != NULL ? fj_error_move(error, err) : fj_fail(err, code, "%s", fj_code_text(code));
}

static FJ_MAY_AWAIT fj_code cast(fj_client *c, struct message *m, json_t **ret, fj_error **err)
{
    fj_future *future = NULL;
    fj_error *error = NULL;
    fj_code code = begin_waited(c, m, &future, &error);

    (void)ret;
    if (code == FJ_OK) {
        code = await(future, m->by, NULL, &error);
        counted(m->row, m->began, code, error);
        fj_future_unref(future);
    }
    return error != NULL ? fj_error_move(error, err) : code;
}

/* ---- through interceptors ----------------------------------------------------------------------- */

/* @param keep  it is to end when its caller is gone */
static fj_code rpc_of(const fj_client *c, const struct message *m, bool keep, fj_rpc **ret, fj_error **err)
{
    fj_rpc *rpc = NULL;
    fj_code code = fj__transport_check(c->transport, err);

    if (code == FJ_OK)
        code = fj__rpc_new(&c->chain, &rpc, err);
    if (code != FJ_OK)
        return code;
    rpc->kind = (m->kind & FJ_SEND_CALL) != 0 ? FJ_RPC_CALL : FJ_RPC_CAST;
    rpc->target = m->target;
    rpc->method = m->method;
    rpc->args = m->args;
    rpc->context = (json_t *)(uintptr_t)m->context; /* only read */
    rpc->by = m->by;
    rpc->never_waits = keep;
    if (keep)
        code = fj__rpc_keep(rpc, err);
    if (code == FJ_OK)
        *ret = rpc;
    else
        fj__rpc_free(rpc);
    return code;
}

/* What they made of the message.  @return whether it goes on */
static bool pass(fj_rpc *rpc, struct message *m)
{
    bool on = fj__rpc_begin(rpc, true) == FJ_OK;

    if (!on || rpc->own_args) {
        json_decref(m->args);
        m->args = NULL;
    }
    if (on && rpc->own_args) {
        m->args = rpc->args;
        rpc->own_args = false;
    }
    rpc->args = rpc->own_args ? rpc->args : NULL;
    m->target = rpc->target;
    m->method = rpc->method;
    m->context = rpc->context;
    m->by = rpc->by;
    return on;
}

static fj_code ended(fj_rpc *rpc, json_t **ret, fj_error **err)
{
    fj__rpc_end(rpc, true);
    fj_code code = fj__rpc_give(rpc, ret, err);
    fj__rpc_free(rpc);
    return code;
}

typedef fj_code (*waited_fn)(fj_client *c, struct message *m, json_t **ret, fj_error **err);

static FJ_MAY_AWAIT fj_code intercepted(fj_client *c, struct message *m, waited_fn go, json_t **ret,
                                        fj_error **err)
{
    fj_rpc *rpc = NULL;
    fj_error *error = NULL;
    json_t *result = NULL;
    fj_code code = fj__may_wait(err);

    if (code == FJ_OK)
        code = rpc_of(c, m, false, &rpc, err);
    if (code != FJ_OK) {
        json_decref(m->args);
        return code;
    }
    if (pass(rpc, m)) {
        code = go(c, m, &result, &error);
        fj__rpc_came(rpc, code, result, error);
    }
    return ended(rpc, ret, err);
}

fj_code fj_client_call(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts, json_t **ret,
                       fj_error **err)
{
    fj_call_opts o = opts_of(opts);
    struct message m = message_of(c, method, args, &o, FJ_SEND_CALL);

    return c->chain.n == 0 ? call(c, &m, ret, err) : intercepted(c, &m, call, ret, err);
}

fj_code fj_client_cast(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts, fj_error **err)
{
    fj_call_opts o = opts_of(opts);
    struct message m = message_of(c, method, args, &o, 0);

    return c->chain.n == 0 ? cast(c, &m, NULL, err) : intercepted(c, &m, cast, NULL, err);
}

/* ---- asynchronous calls ------------------------------------------------------------------------- */

struct outer {
    fj_client *client;
    fj_future *inner;
    json_t *context;
    fj_rpc *rpc;       /* NULL: without interceptors; it has the context then */
    bool is_call;      /* whose result is for the serializer */
    atomic_bool taken; /* one converts */
};

static fj_code outcome_of(struct outer *o, json_t **ret, fj_error **err)
{
    json_t *raw = NULL;
    const json_t *context = o->rpc != NULL ? o->rpc->context : o->context;
    fj_code code = fj_future_result(o->inner, &raw, err);

    if (code == FJ_OK && o->is_call)
        return result_in(o->client, context, raw, ret, err);
    if (code == FJ_OK)
        *ret = raw;
    return code;
}

static void complete(fj_future *future, fj_code code, json_t *result, fj_error *error)
{
    if (code != FJ_OK && error == NULL)
        (void)fj_fail(&error, code, "%s", fj_code_text(code));
    if (code == FJ_OK)
        (void)fj_future_resolve(future, result);
    else if (error != NULL)
        (void)fj_future_reject(future, error);
    else
        (void)fj_future_cancel(future); /* no memory to say more */
}

/* The inner one is complete.  Whoever comes first converts its outcome. */
static void finish(fj_future *future, struct outer *o)
{
    json_t *result = NULL;
    fj_error *error = NULL;

    if (atomic_exchange(&o->taken, true))
        return;
    fj_code code = outcome_of(o, &result, &error);
    map_error(o->client, error);
    if (o->rpc != NULL) {
        fj__rpc_came(o->rpc, code, result, error);
        fj__rpc_end(o->rpc, true);
        result = NULL;
        error = NULL;
        code = fj__rpc_give(o->rpc, &result, &error);
    }
    complete(future, code, result, error);
}

static void outer_wait(fj_future *future, void *user, fj_deadline by)
{
    struct outer *o = user;

    if (fj_future_wait(o->inner, by, NULL, NULL) == FJ_TIMEOUT && !fj_future_done(o->inner))
        return;
    finish(future, o);
    while (!fj_future_done(future)) { /* another thread converts */
        unsigned seen = fj__future_nudges(future);
        if (fj__future_sleep(future, seen, by) != FJ_OK)
            return;
    }
}

static void outer_cancelled(fj_future *future, void *user)
{
    (void)future;
    (void)fj_future_cancel(((struct outer *)user)->inner);
}

static void outer_freed(void *user)
{
    struct outer *o = user;

    fj_future_unref(o->inner);
    json_decref(o->context);
    fj__rpc_free(o->rpc);
    unref(o->client);
    fj__free(o);
}

static const fj_future_ops outer_ops = { .wait = outer_wait,
                                         .cancelled = outer_cancelled,
                                         .freed = outer_freed };

static void inner_done(fj_future *inner, void *user)
{
    fj_future *future = user;

    (void)inner;
    finish(future, fj_future_user(future));
    fj_future_unref(future);
}

/* @param inner, rpc take */
static fj_code wrap(fj_client *c, const struct message *m, fj_future *inner, fj_rpc *rpc, fj_future **ret,
                    fj_error **err)
{
    struct outer *o = fj__zalloc(sizeof *o);
    fj_future *future = NULL;

    if (o == NULL || fj_future_new(&outer_ops, o, &future) != FJ_OK) {
        fj__free(o);
        (void)fj_future_cancel(inner);
        fj_future_unref(inner);
        fj__rpc_free(rpc);
        return fj_fail(err, FJ_NOMEM, "no memory for a call");
    }
    atomic_fetch_add(&c->refs, 1);
    atomic_init(&o->taken, false);
    o->client = c;
    o->inner = inner;
    o->rpc = rpc;
    o->is_call = (m->kind & FJ_SEND_CALL) != 0;
    o->context = rpc == NULL ? json_deep_copy(m->context) : NULL;
    fj_future_ref(future);
    if (fj_future_then(inner, inner_done, future) != FJ_OK) {
        (void)fj_future_cancel(future);
        fj_future_unref(future);
        fj_future_unref(future);
        return fj_fail(err, FJ_NOMEM, "no memory for a call");
    }
    *ret = future;
    return FJ_OK;
}

/* It never went: the interceptors' outcome, known at once. */
static fj_code ended_at_once(fj_rpc *rpc, fj_future **ret, fj_error **err)
{
    json_t *result = NULL;
    fj_code code = ended(rpc, &result, err);

    if (code != FJ_OK)
        return code;
    if (fj_future_new(NULL, NULL, ret) != FJ_OK) {
        json_decref(result);
        return fj_fail(err, FJ_NOMEM, "no memory for a call");
    }
    (void)fj_future_resolve(*ret, result);
    return FJ_OK;
}

static fj_code begin_intercepted(fj_client *c, struct message *m, fj_future **ret, fj_error **err)
{
    fj_rpc *rpc = NULL;
    fj_error *error = NULL;
    fj_future *inner = NULL;
    fj_code code = rpc_of(c, m, true, &rpc, err);

    if (code != FJ_OK) {
        json_decref(m->args);
        return code;
    }
    if (!pass(rpc, m))
        return ended_at_once(rpc, ret, err);
    code = begin_followed(c, m, &inner, &error);
    if (code == FJ_OK)
        return wrap(c, m, inner, rpc, ret, err);
    fj__rpc_came(rpc, code, NULL, error);
    return ended_at_once(rpc, ret, err);
}

fj_code fj_client_call_async(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts,
                             fj_future **ret, fj_error **err)
{
    fj_call_opts o = opts_of(opts);
    struct message m = message_of(c, method, args, &o, FJ_SEND_CALL);
    fj_future *inner = NULL;

    if (c->chain.n > 0)
        return begin_intercepted(c, &m, ret, err);
    fj_code code = begin_followed(c, &m, &inner, err);
    if (code != FJ_OK)
        return code;
    bool plain = c->opts.remote_errors_count == 0 &&
                 (c->opts.serializer == NULL || c->opts.serializer->entity_in == NULL);
    if (!plain)
        return wrap(c, &m, inner, NULL, ret, err);
    *ret = inner;
    return FJ_OK;
}

/* ---- casts -------------------------------------------------------------------------------------- */

static void cast_over(fj_client *c, fj_error *error)
{
    (void)fj__native.pthread_mutex_lock(&c->lock);
    c->casting--;
    if (c->failed == NULL) {
        c->failed = error;
        error = NULL;
    }
    while (c->casting == 0 && c->flushing.first != NULL) {
        fj__waiter *w = c->flushing.first;
        fj__waiters_remove(&c->flushing, w);
        fj__waiter_wake(w);
    }
    (void)fj__native.pthread_mutex_unlock(&c->lock);
    fj_error_free(error);
    unref(c);
}

static void cast_done(fj_future *future, void *user)
{
    fj_error *error = NULL;
    fj_code code = fj_future_result(future, NULL, &error);

    if (code != FJ_OK && error == NULL)
        (void)fj_fail(&error, code, "%s", fj_code_text(code));
    cast_over(user, error);
}

fj_code fj_client_cast_async(fj_client *c, const char *method, json_t *args, const fj_call_opts *opts,
                             fj_future **ret, fj_error **err)
{
    fj_call_opts o = opts_of(opts);
    struct message m = message_of(c, method, args, &o, 0);
    fj_future *future = NULL;
    fj_code code =
        c->chain.n == 0 ? begin_followed(c, &m, &future, err) : begin_intercepted(c, &m, &future, err);

    if (code != FJ_OK)
        return code;
    (void)fj__native.pthread_mutex_lock(&c->lock);
    c->casting++;
    (void)fj__native.pthread_mutex_unlock(&c->lock);
    atomic_fetch_add(&c->refs, 1);
    if (fj_future_then(future, cast_done, c) != FJ_OK) {
        cast_over(c, NULL);
        fj_future_unref(future);
        return fj_fail(err, FJ_NOMEM, "no memory to follow a cast");
    }
    if (ret != NULL)
        *ret = future;
    else
        fj_future_unref(future);
    return FJ_OK;
}

/* @locks needs the client's, released for the wait */
static fj_code await_casts(fj_client *c, fj_deadline by)
{
    fj__waiter w;
    fj_code code = fj__waiter_init(&w, "casts to be confirmed");

    if (code != FJ_OK)
        return code;
    fj__waiters_push(&c->flushing, &w);
    (void)fj__native.pthread_mutex_unlock(&c->lock);
    code = fj__waiter_wait(&w, by);
    (void)fj__native.pthread_mutex_lock(&c->lock);
    if (fj__waiters_has(&c->flushing, &w))
        fj__waiters_remove(&c->flushing, &w);
    return code;
}

fj_code fj_client_flush(fj_client *c, fj_deadline by, fj_error **err)
{
    fj_driver *d = c->transport->driver;
    fj_code code = fj__transport_check(c->transport, err);

    if (code == FJ_OK)
        code = fj__may_wait(err);
    if (code == FJ_OK)
        code = d->ops->flush(d, by, err);
    if (code != FJ_OK)
        return code;
    (void)fj__native.pthread_mutex_lock(&c->lock);
    while (c->casting > 0 && code == FJ_OK)
        code = await_casts(c, by);
    size_t left = c->casting;
    fj_error *failed = left == 0 ? c->failed : NULL;
    if (left == 0)
        c->failed = NULL;
    (void)fj__native.pthread_mutex_unlock(&c->lock);
    if (left > 0)
        return fj_fail(err, code, "%zu casts are not confirmed yet", left);
    return failed != NULL ? fj_error_move(failed, err) : FJ_OK;
}
