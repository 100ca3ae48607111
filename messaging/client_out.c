/* SPDX-License-Identifier: Apache-2.0 */
/* The way out: targets merged, versions capped, arguments and context serialized, handed to the driver, and counted. */
#include "client_impl.h"

#include "base/alloc.h"
#include "base/version.h"
#include "runtime/future_impl.h"

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

fj__outgoing fj__outgoing_of(const fj_client *c, const char *method, json_t *args, const fj_call_opts *o,
                             unsigned kind)
{
    fj_deadline now = fj_now();

    return (fj__outgoing){ .opts = o,
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

static fj_code check_send(const fj_client *c, const fj__outgoing *m, fj_error **err)
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
static fj_code hand_over(fj_client *c, fj__outgoing *m, fj_future **ret, fj_error **err)
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

void fj__outgoing_counted(fj__counted *row, fj_deadline began, fj_code code, const fj_error *error)
{
    if (code == FJ_OK || fj_error_sent(error) != FJ_SENT_NO)
        fj__count_one(row, FJ__COUNT_SENT);
    fj__count_latency(row, fj_now().ns - began.ns);
    fj__count_one(row, fj__count_of(code, 0));
}

/* The same, counted from now on: whoever gets OK tells of its end. */
static fj_code begin(fj_client *c, fj__outgoing *m, fj_future **ret, fj_error **err)
{
    fj_error *error = NULL;

    m->row = fj__counters_row(c->counters, either(m->target.topic, ""), either(m->method, ""));
    fj__count_one(m->row, (m->kind & FJ_SEND_CALL) != 0 ? FJ__COUNT_CALLS : FJ__COUNT_CASTS);
    fj_code code = hand_over(c, m, ret, &error);
    if (code == FJ_OK)
        return code;
    fj__outgoing_counted(m->row, m->began, code, error);
    return error != NULL ? fj_error_move(error, err) : code;
}

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
    fj__outgoing_counted(f->row, f->began, future->error != NULL ? fj_error_code(future->error) : FJ_OK,
                         future->error);
    fj__client_unref(f->client);
}

fj_code fj__outgoing_begin_followed(fj_client *c, fj__outgoing *m, fj_future **ret, fj_error **err)
{
    fj_code code = begin(c, m, ret, err);
    struct followed *f = code == FJ_OK ? fj__alloc(sizeof *f) : NULL;

    if (code != FJ_OK)
        return code;
    if (f == NULL) {
        fj__outgoing_counted(m->row, m->began, FJ_OK, NULL); /* or it would be in flight for ever */
        return code;
    }
    atomic_fetch_add(&c->refs, 1);
    *f = (struct followed){
        .then = { .fn = follow_over, .user = f, .quick = true }, .client = c, .row = m->row, .began = m->began
    };
    fj__future_then(*ret, &f->then);
    return code;
}

fj_code fj__outgoing_begin_waited(fj_client *c, fj__outgoing *m, fj_future **ret, fj_error **err)
{
    fj_code code = fj__may_wait(err);

    if (code != FJ_OK) {
        json_decref(m->args);
        return code;
    }
    if (fj_task_current() == NULL) /* a thread helps with the connection while it waits; a task cannot */
        m->kind |= FJ_SEND_WAITED;
    m->kind |= FJ_SEND_PATIENT;
    return begin(c, m, ret, err);
}

fj_call_opts fj__call_opts_of(const fj_call_opts *given)
{
    fj_call_opts o = FJ_CALL_OPTS_INIT;

    if (given != NULL)
        fj__copy_sized(&o, sizeof o, given, given->size);
    return o;
}
