/* SPDX-License-Identifier: Apache-2.0 */
/* Step one: which method a message means (wire.md section 10). */
#include <fjord/dispatcher.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/version.h"
#include "dispatcher/about.h"
#include "dispatcher/access.h"
#include "dispatcher/dispatcher_impl.h"
#include "dispatcher/failure.h"
#include "dispatcher/live.h"
#include "dispatcher/request.h"
#include "runtime/sync.h"

#include <string.h>

#define DEFAULT_VERSION "1.0"
#define CATCH_ALL "*"
#define NO_METHOD "(no method)"
#define PING_METHOD "oslo_rpc_server_ping"

/* ---- ping -------------------------------------------------------------------------------------- */

static fj_code ping(fj_request *req, json_t *args, json_t **ret, fj_error **err)
{
    (void)req;
    (void)args;
    *ret = json_string("pong");
    return *ret != NULL ? FJ_OK : fj_fail(err, FJ_NOMEM, "no memory for the answer");
}

static const fj_method ping_methods[] = { FJ_METHOD_FLAGS(PING_METHOD, FJ_PLAIN, ping, FJ_EXPOSED) };
static const fj_endpoint ping_endpoint = FJ_ENDPOINT(NULL, NULL, ping_methods);
static const struct fj__entry ping_entry = { &ping_endpoint, NULL, NULL, NULL };

/* ---- the tables -------------------------------------------------------------------------------- */

static const fj_method *method_at(const fj_endpoint *e, size_t i)
{
    return (const fj_method *)(const void *)((const char *)e->methods + i * e->method_size);
}

const fj_method *fj__endpoint_method(const fj_endpoint *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++) {
        if (strcmp(method_at(e, i)->name, name) == 0)
            return method_at(e, i);
    }
    return NULL;
}

static bool same_ns(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool accepts_ns(const fj_endpoint *e, const char *ns)
{
    if (same_ns(e->ns, ns))
        return true;
    for (size_t i = 0; i < e->legacy_count; i++) {
        if (same_ns(e->legacy_ns[i], ns))
            return true;
    }
    return false;
}

static const char *version_of(const fj_endpoint *e)
{
    return e->version != NULL ? e->version : DEFAULT_VERSION;
}

static fj_code check_methods(const fj_endpoint *e, fj_error **err)
{
    for (size_t i = 0; i < e->count; i++) {
        const fj_method *m = method_at(e, i);
        if (m->size < sizeof(fj_method) || m->name == NULL || m->name[0] == '\0' || m->fn == NULL)
            return fj_fail(err, FJ_BAD_ARGS, "method %zu of endpoint %s is broken", i, fj__endpoint_place(e));
        if (strcmp(m->name, "target") == 0)
            return fj_fail(err, FJ_BAD_ARGS, "the name target is reserved on endpoints");
        if (fj__endpoint_method(e, m->name) != m)
            return fj_fail(err, FJ_BAD_ARGS, "endpoint %s has two methods %s", fj__endpoint_place(e), m->name);
    }
    return FJ_OK;
}

static fj_code check_endpoint(const fj_endpoint *e, fj_error **err)
{
    fj_error *bad = NULL;

    if (e == NULL || e->size < sizeof(fj_endpoint) || (e->methods == NULL && e->count != 0) ||
        (e->legacy_ns == NULL && e->legacy_count != 0))
        return fj_fail(err, FJ_BAD_ARGS, "the endpoint's table is broken");
    if (e->count != 0 && e->method_size < sizeof(fj_method))
        return fj_fail(err, FJ_BAD_ARGS, "the methods of endpoint %s are too small", fj__endpoint_place(e));
    if (!fj__version_compatible(version_of(e), version_of(e), &bad)) {
        fj_error_free(bad);
        return fj_fail(err, FJ_BAD_ARGS, "endpoint %s has the version \"%s\", which is none",
                       fj__endpoint_place(e), e->version);
    }
    return check_methods(e, err);
}

fj_code fj_dispatcher_add(fj_dispatcher *d, const fj_endpoint *endpoint, void *data, fj_error **err)
{
    fj_code code = check_endpoint(endpoint, err);
    if (code != FJ_OK)
        return code;
    struct fj__entry *more = fj__grow(d->entries, &d->capacity, d->n + 1, sizeof *more);
    if (more == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for another endpoint");
    d->entries = more;
    _Atomic(fj__counted *) *rows = fj__zalloc((endpoint->count + 1) * sizeof *rows);
    if (rows == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for another endpoint");
    d->entries[d->n++] = (struct fj__entry){ endpoint, data, rows, NULL };
    if (accepts_ns(endpoint, NULL) && fj__endpoint_method(endpoint, PING_METHOD) != NULL)
        d->ping = false;
    return FJ_OK;
}

/* The i-th endpoint; the ping's comes last. */
static const struct fj__entry *entry_at(const fj_dispatcher *d, size_t i)
{
    if (i < d->n)
        return &d->entries[i];
    return i == d->n && d->ping ? &ping_entry : NULL;
}

bool fj_dispatcher_method(const fj_dispatcher *d, size_t i, const fj_endpoint **ret_endpoint,
                          const fj_method **ret_method)
{
    const struct fj__entry *entry;

    for (size_t at = 0; (entry = entry_at(d, at)) != NULL; at++) {
        if (i < entry->endpoint->count) {
            *ret_endpoint = entry->endpoint;
            *ret_method = method_at(entry->endpoint, i);
            return true;
        }
        i -= entry->endpoint->count;
    }
    return false;
}

fj_code fj_dispatcher_new(const fj_dispatcher_opts *opts, fj_dispatcher **ret, fj_error **err)
{
    fj_dispatcher *d = fj__zalloc(sizeof *d);

    if (d == NULL || (d->counters = fj__counters_new(FJ__SIDE_SERVER)) == NULL) {
        fj__free(d);
        return fj_fail(err, FJ_NOMEM, "no memory for a dispatcher");
    }
    fj__live_init(&d->live);
    fj__about_start();
    if (opts != NULL) {
        d->access = opts->access;
        d->ping = opts->ping;
        if (opts->serializer != NULL)
            d->serializer = *opts->serializer;
    }
    *ret = d;
    return FJ_OK;
}

fj_dispatcher *fj_dispatcher_free(fj_dispatcher *d)
{
    if (d == NULL)
        return NULL;
    for (size_t i = 0; i < d->n; i++) {
        fj__free(d->entries[i].rows);
        fj__filter_free(d->entries[i].filter);
    }
    fj__counters_unref(d->counters);
    fj__free(d->entries);
    fj__free(d);
    return NULL;
}

fj__live *fj__dispatcher_live(fj_dispatcher *d)
{
    return &d->live;
}

json_t *fj__dispatcher_counters(fj_dispatcher *d, const char *server)
{
    return fj__counters_json(d->counters, server);
}

/* ---- a message to its method ------------------------------------------------------------------- */

static const char *python_type(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return "NoneType";
    case JSON_STRING:
        return "str";
    case JSON_INTEGER:
        return "int";
    case JSON_REAL:
        return "float";
    case JSON_ARRAY:
        return "list";
    case JSON_OBJECT:
        return "dict";
    case JSON_TRUE:
    case JSON_FALSE:
        break;
    }
    return "bool";
}

/* Python's str() of a value, near enough for a text.  Gives; NULL when memory ran out. */
static char *python_str(const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return fj__strdup("None");
    if (json_is_string(value))
        return fj__strdup(json_string_value(value));
    if (json_is_boolean(value))
        return fj__strdup(json_is_true(value) ? "True" : "False");
    return json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
}

/* What the choice is made by.  All lend. */
struct wanted {
    const json_t *method, *ns, *version; /* NULL: missing */
    const char *name;                    /* of the method; NULL when it is no string */
};

/* The text of a JSON string without NUL in it; NULL for all else. */
static const char *plain_text(const json_t *value)
{
    const char *text = json_string_value(value);

    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

static bool ns_fits(const fj_endpoint *e, const struct wanted *w)
{
    if (w->ns == NULL || json_is_null(w->ns))
        return accepts_ns(e, NULL);
    const char *ns = plain_text(w->ns);
    return ns != NULL && accepts_ns(e, ns);
}

/* @param err set when the version asked for cannot be read */
static bool version_fits(const fj_endpoint *e, const struct wanted *w, fj_error **err)
{
    if (w->version == NULL)
        return fj__version_compatible(version_of(e), DEFAULT_VERSION, NULL);
    if (json_is_null(w->version))
        return false;
    if (!json_is_string(w->version)) {
        (void)fj_raise(err, "builtins", "AttributeError", NULL, "'%s' object has no attribute 'split'",
                       python_type(w->version));
        return false;
    }
    return fj__version_compatible(version_of(e), json_string_value(w->version), err);
}

static fj_code none_fits(const struct wanted *w, bool found_compatible, fj_error **err)
{
    char *method = python_str(w->method);
    char *version = w->version != NULL ? python_str(w->version) : fj__strdup(DEFAULT_VERSION);
    fj_code code;

    if (method == NULL || version == NULL)
        code = fj_fail(err, FJ_NOMEM, "out of memory");
    else if (found_compatible)
        code = fj_fail(err, FJ_NO_METHOD, "Endpoint does not support RPC method %s", method);
    else
        code = fj_fail(err, FJ_BAD_VERSION, "Endpoint does not support RPC version %s. Attempted method: %s",
                       version, method);
    fj__free(method);
    fj__free(version);
    return code;
}

/* The method that @p e serves @p w with: one of that name, or with @p catch_all the one for all names. */
static const fj_method *method_for(const fj_dispatcher *d, const fj_endpoint *e, const struct wanted *w,
                                   bool catch_all)
{
    const fj_method *m = NULL;

    if (w->name != NULL)
        m = fj__endpoint_method(e, catch_all ? CATCH_ALL : w->name);
    return m != NULL && fj__access_allows(d->access, m, w->name) ? m : NULL;
}

/* The endpoints in their order: the first that takes namespace and version, has the method and may give it; if
 * none has, the first of them with a method for all names.
 * @return the method, or NULL and a failure */
static const fj_method *choose(const fj_dispatcher *d, const struct wanted *w,
                               const struct fj__entry **ret_entry, fj_error **err)
{
    const struct fj__entry *entry;
    const fj_method *m, *fallback = NULL;
    bool found_compatible = false;

    for (size_t i = 0; (entry = entry_at(d, i)) != NULL; i++) {
        fj_error *bad = NULL;
        if (!ns_fits(entry->endpoint, w))
            continue;
        if (!version_fits(entry->endpoint, w, &bad)) {
            if (bad == NULL)
                continue;
            (void)fj_error_move(bad, err);
            return NULL;
        }
        found_compatible = true;
        if (!json_is_string(w->method)) {
            (void)fj_fail(err, FJ_BAD_ARGS, "attribute name must be string, not '%s'",
                          w->method != NULL ? python_type(w->method) : "NoneType");
            return NULL;
        }
        if ((m = method_for(d, entry->endpoint, w, false)) != NULL) {
            *ret_entry = entry;
            return m;
        }
        if (fallback == NULL && (fallback = method_for(d, entry->endpoint, w, true)) != NULL)
            *ret_entry = entry;
    }
    if (fallback == NULL)
        (void)none_fits(w, found_compatible, err);
    return fallback;
}

static fj_code check_args(const json_t *message, fj_error **err)
{
    const json_t *args = json_object_get(message, "args");

    if (args == NULL || json_is_object(args))
        return FJ_OK;
    return fj_raise(err, "builtins", "AttributeError", NULL, "'%s' object has no attribute 'items'",
                    python_type(args));
}

fj__counted *fj__entry_row(fj_dispatcher *d, const struct fj__entry *entry, const fj_method *method,
                           const char *name)
{
    const fj_endpoint *e = entry->endpoint;
    size_t at = (size_t)((const char *)method - (const char *)e->methods) / e->method_size;

    if (entry->rows == NULL || method->name[0] == CATCH_ALL[0])
        return fj__counters_row(d->counters, NULL, name);
    fj__counted *row = atomic_load_explicit(&entry->rows[at], memory_order_acquire);
    if (row == NULL) {
        row = fj__counters_row(d->counters, NULL, name);
        atomic_store_explicit(&entry->rows[at], row, memory_order_release);
    }
    return row;
}

/* No method: answer and free.  Takes both. */
static void refuse(const fj_dispatcher *d, fj_incoming *in, const struct wanted *w, fj_error *failure)
{
    char *method = python_str(w->method);
    const char *name = method != NULL ? method : "?";
    /* Peers may ask for any number of methods that there are not: they are counted as one. */
    fj__counted *row = fj__counters_row(d->counters, NULL, NO_METHOD);

    fj__failure_complete(failure, "<dispatcher>", name);
    fj__failure_log(failure, name);
    if (in->wants_reply)
        (void)fj__answer_send(in, NULL, failure, name, NULL);
    else
        in->ops->done(in);
    fj__count_one(row, in->wants_reply ? FJ__COUNT_CALLS : FJ__COUNT_CASTS);
    fj__count_one(row, FJ__COUNT_FAILED);
    in->ops->free(in);
    fj__free(method);
    fj_error_free(failure);
}

/* The rest of the message is freed now: a request may be in hand for long. */
static void take_message(fj_request *req, fj_incoming *in, const struct wanted *w)
{
    req->name = json_incref((json_t *)w->method);
    req->ns = json_incref((json_t *)w->ns);
    req->version = json_incref((json_t *)w->version);
    req->args = json_incref(json_object_get(in->message, "args"));
    req->context = in->context;
    json_decref(in->message);
    in->message = in->context = NULL;
}

void fj_dispatcher_give_back(fj_dispatcher *d, fj_incoming *in)
{
    const char *name = plain_text(json_object_get(in->message, d->notified ? "priority" : "method"));
    fj_priority priority;

    if (d->notified)
        name = fj_priority_parse(name, &priority) ? fj_priority_name(priority) : NULL;

    fj__count_one(fj__counters_row(d->counters, NULL, name != NULL ? name : NO_METHOD), FJ__COUNT_REQUEUED);
    in->ops->free(in); /* which requeues it, if that is still possible */
}

fj_request *fj__request_new(fj_dispatcher *d, fj_incoming *in, const struct fj__entry *entry,
                            const fj_method *method, const char *name, fj_request_done_fn done, void *user)
{
    fj_request *req = fj__zalloc(sizeof *req);

    if (req == NULL)
        return NULL;
    atomic_init(&req->refs, 1);
    atomic_init(&req->parts_left, 2);
    req->generation = fj__fork_generation();
    atomic_init(&req->claimed, false);
    atomic_init(&req->kept, false);
    req->wants_reply = in->wants_reply;
    req->in = in;
    req->dispatcher = d;
    req->endpoint = entry->endpoint;
    req->method = method;
    req->data = entry->data;
    req->serializer = &d->serializer;
    req->done = done;
    req->user = user;
    req->counted = fj__entry_row(d, entry, method, name);
    req->arrived_ns = in->arrived.ns != 0 ? in->arrived.ns : fj_now().ns;
    req->live.req = req;
    return req;
}

void fj__request_show(fj_request *req)
{
    fj__count_one(req->counted, req->wants_reply ? FJ__COUNT_CALLS : FJ__COUNT_CASTS);
    fj__live_add(&req->dispatcher->live, req);
}

fj_code fj_dispatcher_begin(fj_dispatcher *d, fj_incoming *in, fj_request_done_fn done, void *user,
                            fj_request **ret, fj_error **err)
{
    const json_t *method = json_object_get(in->message, "method");
    struct wanted w = { method, json_object_get(in->message, "namespace"),
                        json_object_get(in->message, "version"), plain_text(method) };
    const struct fj__entry *entry = NULL;
    fj_error *failure = NULL;

    *ret = NULL;
    if (d->notified)
        return fj__notified_begin(d, in, done, user, ret, err);
    const fj_method *chosen = choose(d, &w, &entry, &failure);
    if (chosen == NULL || check_args(in->message, &failure) != FJ_OK) {
        refuse(d, in, &w, failure);
        return FJ_OK;
    }
    fj_request *req = fj__request_new(d, in, entry, chosen, w.name, done, user);
    if (req == NULL) {
        fj_dispatcher_give_back(d, in);
        return fj_fail(err, FJ_NOMEM, "no memory for the request %s", chosen->name);
    }
    take_message(req, in, &w);
    fj__request_show(req);
    *ret = req;
    return FJ_OK;
}
