/* SPDX-License-Identifier: Apache-2.0 */
/* Notifiers: what a notification says, and through which drivers it goes. */
#include <fjord/notify.h>

#include "base/alloc.h"
#include "base/ids.h"
#include "base/log.h"
#include "internal.h"
#include "notify_drivers.h"
#include "pending.h"
#include "runtime/future.h"
#include "runtime/sync.h"

#include <fjord/await.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define GROUP "oslo_messaging_notifications"
#define COMPONENT "notify"

struct fj_notifier {
    atomic_uint refs; /* the owner's, and those of notifications on their way */
    unsigned generation;
    fj_transport *transport;
    fj_transport *own; /* the same, when it is; else NULL */
    fj__notify_drivers drivers;
    char *publisher_id, *exchange;
    char **topics; /* ended by NULL */
    const fj_serializer *serializer;
    int retry;
    fj__pending sent;
};

/* ---- life --------------------------------------------------------------------------------------- */

fj_code fj_notification_transport_open(const fj_conf *conf, const char *url, fj_transport **ret, fj_error **err)
{
    const char *own = url == NULL && conf != NULL ? fj_conf_str(conf, GROUP, "transport_url") : NULL;
    fj_code code = fj_transport_open(conf, own != NULL && own[0] != '\0' ? own : url, ret, err);

    if (code == FJ_OK)
        (*ret)->notifies = true;
    return code;
}

static void free_texts(char **texts)
{
    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
        fj__free(texts[i]);
    fj__free(texts);
}

static char **copy_texts(const char *const *from)
{
    size_t n = 0;

    while (from != NULL && from[n] != NULL)
        n++;
    char **copy = fj__zalloc((n + 1) * sizeof *copy);
    for (size_t i = 0; copy != NULL && i < n; i++) {
        copy[i] = fj__strdup(from[i]);
        if (copy[i] == NULL) {
            free_texts(copy);
            return NULL;
        }
    }
    return copy;
}

static void unref(fj_notifier *n)
{
    if (atomic_fetch_sub(&n->refs, 1) != 1)
        return;
    fj__free(n->publisher_id);
    fj__free(n->exchange);
    free_texts(n->topics);
    fj__pending_fini(&n->sent);
    fj__free(n);
}

fj_code fj__notify_own_transport(const fj_transport *transport, fj_transport **ret, fj_error **err)
{
    const char *url = fj_conf_str(transport->conf, GROUP, "transport_url");

    *ret = NULL;
    if (transport->notifies || url == NULL || url[0] == '\0')
        return FJ_OK;
    fj_code code = fj_notification_transport_open(transport->conf, NULL, ret, err);
    if (code != FJ_OK)
        fj_error_prefix(err, "[" GROUP "] transport_url");
    return code;
}

/* What is not there is left out, as oslo.messaging does: a service does not stop for where its notifications go. */
static fj_code open_drivers(fj_notifier *n, const char *const *names, fj_error **err)
{
    fj_notify_driver_opts opts = { .size = sizeof opts,
                                   .conf = n->transport->conf,
                                   .transport = n->transport,
                                   .topics = (const char *const *)n->topics };
    fj_code code = FJ_OK;

    for (; code == FJ_OK && names != NULL && *names != NULL; names++) {
        fj_error *error = NULL;
        if (**names == '\0')
            continue;
        code = fj__notify_drivers_add(&n->drivers, *names, &opts, NULL, &error);
        if (code == FJ_NO_DRIVER) {
            fj__log(FJ_LOG_WARNING, COMPONENT, "the notification driver %s is left out: %s", *names,
                    fj_error_text(error));
            error = fj_error_free(error);
            code = FJ_OK;
        }
        if (error != NULL)
            (void)fj_error_move(error, err);
    }
    return code;
}

static fj_code complete(fj_notifier *n, const fj_notifier_opts *o, fj_error **err)
{
    const fj_conf *conf = n->transport->conf;

    n->serializer = o->serializer;
    n->retry = o->retry != FJ_NOTIFY_RETRY_UNSET ? o->retry : (int)fj_conf_int(conf, GROUP, "retry");
    n->publisher_id = fj__strdup(o->publisher_id);
    n->exchange = fj__strdup(o->exchange);
    n->topics = copy_texts(o->topics != NULL ? o->topics : fj_conf_list(conf, GROUP, "topics"));
    if ((o->publisher_id != NULL && n->publisher_id == NULL) || (o->exchange != NULL && n->exchange == NULL) ||
        n->topics == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a notifier");
    return open_drivers(n, o->drivers != NULL ? o->drivers : fj_conf_list(conf, GROUP, "driver"), err);
}

fj_code fj_notifier_new(fj_transport *transport, const fj_notifier_opts *opts, fj_notifier **ret,
                        fj_error **err)
{
    fj_notifier_opts o = FJ_NOTIFIER_OPTS_INIT;
    fj_code code = fj__transport_check(transport, err);

    if (code != FJ_OK)
        return code;
    if (opts != NULL)
        fj__copy_sized(&o, sizeof o, opts, opts->size);
    fj_notifier *n = fj__zalloc(sizeof *n);
    if (n == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a notifier");
    atomic_init(&n->refs, 1);
    n->generation = fj__fork_generation();
    fj__pending_init(&n->sent);
    code = fj__notify_own_transport(transport, &n->own, err);
    n->transport = n->own != NULL ? n->own : transport;
    if (code == FJ_OK)
        code = complete(n, &o, err);
    if (code == FJ_OK)
        *ret = n;
    else
        fj_notifier_free(n);
    return code;
}

fj_notifier *fj_notifier_free(fj_notifier *n)
{
    if (n == NULL)
        return NULL;
    if (n->generation == fj__fork_generation())
        fj__notify_drivers_fini(&n->drivers);
    fj_transport_free(n->own); /* which ends what is on its way over it */
    unref(n);
    return NULL;
}

bool fj_notifier_is_enabled(const fj_notifier *n)
{
    return n->drivers.n > 0;
}

/* ---- what it says ------------------------------------------------------------------------------- */

/* As str(datetime) has it: without a fraction when there is none. */
static void put_timestamp(char *out, size_t size)
{
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(out, size, "%Y-%m-%d %H:%M:%S", &utc);
    if (now.tv_nsec >= 1000)
        (void)snprintf(out + n, size - n, ".%06ld", now.tv_nsec / 1000);
}

/* Of a context what everybody may see, with oslo.context's names.  Gives; NULL: no memory. */
static json_t *safe_context(const json_t *context)
{
    static const char *const safe[] = { "user_id",
                                        "project_id",
                                        "domain_id",
                                        "user_domain_id",
                                        "project_domain_id",
                                        "is_admin",
                                        "request_id",
                                        "roles",
                                        "user_name",
                                        "project_name",
                                        "domain_name",
                                        "user_domain_name",
                                        "project_domain_name",
                                        "service_user_id",
                                        "service_user_domain_id",
                                        "service_user_domain_name",
                                        "service_project_id",
                                        "service_project_name",
                                        "service_project_domain_id",
                                        "service_project_domain_name",
                                        "service_roles",
                                        "global_request_id",
                                        "system_scope",
                                        "user",
                                        "domain",
                                        "user_domain",
                                        "project_domain" };
    json_t *filtered = json_object(), *shared = (json_t *)(uintptr_t)context; /* only read */
    const char *key;
    json_t *value;

    json_object_foreach(shared, key, value)
    {
        bool found = false;
        for (size_t i = 0; !found && i < fj__countof(safe); i++)
            found = strcmp(safe[i], key) == 0;
        if (found && json_object_set(filtered, key, value) != 0) {
            json_decref(filtered);
            return NULL;
        }
    }
    return filtered;
}

/* @param payload lends   @param ret gives */
static fj_code payload_out(const fj_notifier *n, const json_t *context, json_t *payload, json_t **ret,
                           fj_error **err)
{
    const fj_serializer *s = n->serializer;

    if (s != NULL && s->entity_out != NULL)
        return s->entity_out(s->user, context, payload, ret, err);
    *ret = json_incref(payload);
    return FJ_OK;
}

static fj_code context_out(const fj_notifier *n, const json_t *context, json_t **ret, fj_error **err)
{
    const fj_serializer *s = n->serializer;
    json_t *safe = safe_context(context);

    if (safe == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a context");
    if (s == NULL || s->context_out == NULL) {
        *ret = safe;
        return FJ_OK;
    }
    fj_code code = s->context_out(s->user, safe, ret, err);
    json_decref(safe);
    return code;
}

/* ---- sending ------------------------------------------------------------------------------------ */

static void complain(const char *event_type, const fj_error *error, fj_code code)
{
    fj__log(FJ_LOG_ERROR, COMPONENT, "a notification%s%s could not be sent: %s%s%s",
            event_type[0] != '\0' ? " " : "", event_type,
            error != NULL ? fj_error_text(error) : fj_code_text(code),
            fj_error_where(error)[0] != '\0' ? ": " : "", fj_error_where(error));
}

/* Through all drivers.  @param ret gives; NULL: there is nothing to wait for */
static fj_code to_drivers(const fj_notifier *n, fj_notification *what, fj_future **ret, fj_error **err)
{
    fj__notify_sent sent = { 0 };

    if (n->drivers.n > 1)
        what->flags = 0; /* who waits for several helps none of them along */
    for (size_t i = 0; i < n->drivers.n; i++) {
        const struct fj__notify_open *to = &n->drivers.all[i];
        fj_future *future = NULL;
        fj_error *error = NULL;
        fj_code code = to->ops->notify(to->state, what, &future, &error);
        fj__notify_sent_add(&sent, code, future, error);
    }
    return fj__notify_sent_end(&sent, ret, err);
}

static fj_code check(const fj_notifier *n, fj_priority priority, const char *event_type,
                     const fj_notify_opts *o, fj_error **err)
{
    if (n->generation != fj__fork_generation())
        return fj_fail(err, FJ_FORKED, "the notifier was made before a fork: make another in the child");
    if (fj_priority_name(priority) == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "there is no priority %d", (int)priority);
    if (event_type == NULL)
        return fj_fail(err, FJ_BAD_VALUE, "a notification needs an event type");
    if (o->context != NULL && !json_is_object(o->context))
        return fj_fail(err, FJ_BAD_VALUE, "the context of %s is not a JSON object", event_type);
    return FJ_OK;
}

/* @param payload takes   @param ret gives; NULL: there is nothing to wait for */
static fj_code begin(const fj_notifier *n, fj_priority priority, const char *event_type, json_t *payload,
                     const fj_notify_opts *o, unsigned flags, fj_future **ret, fj_error **err)
{
    json_t *said = payload != NULL ? payload : json_null(), *out = NULL, *context = NULL;
    char id[37], timestamp[64];
    fj_code code = check(n, priority, event_type, o, err);

    *ret = NULL;
    if (code == FJ_OK && n->drivers.n > 0) {
        code = payload_out(n, o->context, said, &out, err);
        if (code == FJ_OK)
            code = context_out(n, o->context, &context, err);
        fj__id_uuid(id);
        put_timestamp(timestamp, sizeof timestamp);
        fj_notification what =
            FJ_NOTIFICATION(.priority = priority, .message_id = id, .event_type = event_type,
                            .publisher_id = o->publisher_id != NULL ? o->publisher_id : n->publisher_id,
                            .timestamp = timestamp, .payload = out, .context = context, .version = 2,
                            .exchange = n->exchange, .flags = flags,
                            .retry = o->retry != FJ_NOTIFY_RETRY_UNSET ? o->retry : n->retry,
                            .by = o->by.ns != 0 ? o->by : fj_never());
        if (code == FJ_OK)
            code = to_drivers(n, &what, ret, err);
    }
    json_decref(out);
    json_decref(context);
    json_decref(said);
    return code;
}

static fj_notify_opts opts_of(const fj_notify_opts *given)
{
    fj_notify_opts o = FJ_NOTIFY_OPTS_INIT;

    if (given != NULL)
        fj__copy_sized(&o, sizeof o, given, given->size);
    return o;
}

static fj_code failed(const char *event_type, fj_code code, fj_error *error, fj_error **err)
{
    complain(event_type != NULL ? event_type : "", error, code);
    return error != NULL ? fj_error_move(error, err) : fj_fail(err, code, "%s", fj_code_text(code));
}

fj_code fj_notifier_notify(fj_notifier *n, fj_priority priority, const char *event_type, json_t *payload,
                           const fj_notify_opts *opts, fj_error **err)
{
    fj_notify_opts o = opts_of(opts);
    fj_future *future = NULL;
    fj_error *error = NULL;
    fj_code code = fj__may_wait(&error);

    if (code == FJ_OK) /* a thread helps with the connection while it waits; a task cannot */
        code = begin(n, priority, event_type, payload, &o,
                     (unsigned)FJ_SEND_PATIENT | (fj_task_current() == NULL ? (unsigned)FJ_SEND_WAITED : 0u),
                     &future, &error);
    else
        json_decref(payload);
    if (code == FJ_OK && future != NULL) {
        code = fj_future_wait(future, fj_never(), NULL, &error); /* it ends by its own deadline */
        fj_future_unref(future);
    }
    return code == FJ_OK ? FJ_OK : failed(event_type, code, error, err);
}

static void over(fj_future *future, void *user)
{
    fj_notifier *n = user;
    fj_error *error = NULL;
    fj_code code = fj_future_result(future, NULL, &error);

    if (code != FJ_OK) {
        complain("", error, code);
        if (error == NULL)
            (void)fj_fail(&error, code, "%s", fj_code_text(code));
    }
    fj__pending_over(&n->sent, error);
    unref(n);
}

/* Its end is for who flushes, and for the log. */
static fj_code follow(fj_notifier *n, fj_future *future, fj_error **err)
{
    fj__pending_begin(&n->sent);
    atomic_fetch_add(&n->refs, 1);
    if (fj__future_then_quick(future, over, n, true) == FJ_OK)
        return FJ_OK;
    fj__pending_over(&n->sent, NULL);
    unref(n);
    return fj_fail(err, FJ_NOMEM, "no memory to follow a notification");
}

fj_code fj_notifier_notify_async(fj_notifier *n, fj_priority priority, const char *event_type, json_t *payload,
                                 const fj_notify_opts *opts, fj_future **ret, fj_error **err)
{
    fj_notify_opts o = opts_of(opts);
    fj_future *future = NULL;
    fj_error *error = NULL;
    fj_code code = begin(n, priority, event_type, payload, &o, 0, &future, &error);

    if (code == FJ_OK && future != NULL)
        code = follow(n, future, &error);
    if (code == FJ_OK && future == NULL && ret != NULL) {
        code = fj_future_new(NULL, NULL, &future);
        if (code == FJ_OK)
            (void)fj_future_resolve(future, NULL);
    }
    if (code == FJ_OK && ret != NULL)
        *ret = future;
    else
        fj_future_unref(future);
    return code == FJ_OK ? FJ_OK : failed(event_type, code, error, err);
}

fj_code fj_notifier_flush(fj_notifier *n, fj_deadline by, fj_error **err)
{
    fj_driver *d = n->transport->driver;
    fj_code code = n->generation == fj__fork_generation()
                       ? fj__may_wait(err)
                       : fj_fail(err, FJ_FORKED, "the notifier was made before a fork");

    if (code == FJ_OK)
        code = d->ops->flush(d, by, err);
    return code == FJ_OK ? fj__pending_flush(&n->sent, "notifications", by, err) : code;
}
