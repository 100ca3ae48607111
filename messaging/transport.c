/* SPDX-License-Identifier: Apache-2.0 */
#include <fjord/transport.h>

#include <fjord/await.h>
#include <fjord/log.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "internal.h"
#include "runtime/sync.h"

fj_code fj__transport_check(const fj_transport *transport, fj_error **err)
{
    if (transport->generation == fj__fork_generation())
        return FJ_OK;
    return fj_fail(err, FJ_FORKED, "the transport was opened before a fork: open another in the child");
}

fj_code fj__may_wait(fj_error **err)
{
    if (fj_loop_running() == NULL || fj_task_current() != NULL)
        return FJ_OK;
    return fj_fail(err, FJ_WRONG_CONTEXT,
                   "a call-back of a loop may not wait: spawn a task, or use the asynchronous call");
}

double fj__conf_number(const fj_conf *conf, const char *group, const char *key, double otherwise)
{
    char *text = NULL, *end = NULL;

    if (fj_conf_lookup(conf, group, key, &text, NULL) != FJ_OK || text == NULL)
        return otherwise;
    double value = fj__number_parse(text, &end);
    if (end == text)
        value = otherwise;
    free(text);
    return value;
}

void fj__target_fini(fj_target *t)
{
    fj__free((char *)(uintptr_t)t->exchange);
    fj__free((char *)(uintptr_t)t->topic);
    fj__free((char *)(uintptr_t)t->server);
    fj__free((char *)(uintptr_t)t->ns);
    fj__free((char *)(uintptr_t)t->version);
    *t = (fj_target)FJ_TARGET(.topic = NULL);
}

fj_code fj__target_copy(const fj_target *from, fj_target *into)
{
    fj_target all = FJ_TARGET(.topic = NULL);

    fj__copy_sized(&all, sizeof all, from, from->size);
    *into = (fj_target)FJ_TARGET(.exchange = fj__strdup(all.exchange), .topic = fj__strdup(all.topic),
                                 .server = fj__strdup(all.server), .ns = fj__strdup(all.ns),
                                 .version = fj__strdup(all.version), .fanout = all.fanout);
    if ((all.exchange == NULL || into->exchange != NULL) && (all.topic == NULL || into->topic != NULL) &&
        (all.server == NULL || into->server != NULL) && (all.ns == NULL || into->ns != NULL) &&
        (all.version == NULL || into->version != NULL))
        return FJ_OK;
    fj__target_fini(into);
    return FJ_NOMEM;
}

/* The options in the URL's query stand above every file, as in oslo.messaging. */
static fj_code set_query(fj_conf *conf, const fj_url *url, fj_error **err)
{
    const char *key, *value;

    for (size_t i = 0; fj_url_query(url, i, &key, &value); i++) {
        fj_code code = fj_conf_set(conf, "oslo_messaging_rabbit", key, value, err);
        if (code == FJ_NOT_FOUND)
            return fj_fail(err, FJ_BAD_CONFIG, "the transport URL sets an unknown option \"%s\"", key);
        if (code != FJ_OK) {
            fj_error_prefix(err, "in the query of the transport URL");
            return code;
        }
    }
    return FJ_OK;
}

static fj_code open_url(fj_transport *t, const fj_url *url, fj_error **err)
{
    const fj_driver_ops *ops = NULL;
    fj_code code = fj_driver_find(t->conf, fj_url_driver(url), &ops, err);

    if (code == FJ_OK && strcmp(ops->name, "rabbit") == 0)
        code = set_query(t->conf, url, err);
    if (code == FJ_OK && (code = fj_url_redacted(url, &t->url)) != FJ_OK)
        return fj_fail(err, code, "no memory for a transport");
    if (code == FJ_OK)
        code = ops->open(t->conf, url, &t->driver, err);
    return code;
}

/* The pool of threads is the process's: only who says a size changes it. */
static void size_thread_pool(const fj_conf *conf)
{
    if (strcmp(fj_conf_origin(conf, "fjord", "thread_pool_size"), "default") != 0)
        fj_thread_pool_size((unsigned)fj_conf_int(conf, "fjord", "thread_pool_size"));
}

static void destroy(fj_transport *t)
{
    if (t->generation == fj__fork_generation())
        fj__chain_fini(&t->chain);
    fj__counters_unref(t->counters);
    fj_conf_free(t->conf);
    fj__free(t->url);
    fj__free(t);
}

fj_code fj_transport_open(const fj_conf *conf, const char *text, fj_transport **ret, fj_error **err)
{
    fj_url *url = NULL;
    fj_transport *t = fj__zalloc(sizeof *t);

    if (t == NULL)
        return fj_fail(err, FJ_NOMEM, "no memory for a transport");
    t->generation = fj__fork_generation();
    t->counters = fj__counters_new(FJ__SIDE_CLIENT);
    t->conf = conf != NULL ? fj_conf_copy(conf) : fj_conf_new();
    if (t->conf == NULL || t->counters == NULL) {
        destroy(t);
        return fj_fail(err, FJ_NOMEM, "no memory for a transport's configuration");
    }
    if (text == NULL)
        text = fj_conf_str(t->conf, "DEFAULT", "transport_url");
    fj_code code = fj_url_parse(text, &url, err);
    if (code == FJ_OK)
        code = fj__log_configure(t->conf, err);
    if (code == FJ_OK)
        code = fj__chain_configure(&t->chain, t->conf, err);
    if (code == FJ_OK)
        code = open_url(t, url, err);
    fj_url_free(url);
    if (code != FJ_OK) {
        destroy(t);
        return code;
    }
    (void)fj__conf_note_unused(t->conf);
    size_thread_pool(t->conf);
    fj__transport_show(t);
    fj__publish_errors(t);
    *ret = t;
    return FJ_OK;
}

fj_transport *fj_transport_free_by(fj_transport *t, fj_deadline by)
{
    fj_error *error = NULL;

    if (t == NULL)
        return NULL;
    if (fj__may_wait(&error) != FJ_OK) {
        fj__log(FJ_LOG_ERROR, "rpc", "the transport is not freed: %s", fj_error_text(error));
        fj_error_free(error);
        return NULL;
    }
    fj__publish_errors_end(t);
    fj__transport_hide(t);
    /* In a forked child the driver's threads and locks are the parent's: it is left alone. */
    if (t->generation == fj__fork_generation()) {
        fj_driver *d = t->driver;
        d->ops->close(d);
        (void)d->ops->stop(d, by, NULL);
        d->ops->free(d);
    }
    destroy(t);
    return NULL;
}

fj_transport *fj_transport_free(fj_transport *t)
{
    return fj_transport_free_by(t, fj_in_ms(2000));
}

fj_code fj_transport_intercept(fj_transport *t, const fj_interceptor *interceptor, void *user, fj_error **err)
{
    fj_code code = fj__transport_check(t, err);

    return code == FJ_OK ? fj__chain_add(&t->chain, t->conf, NULL, interceptor, user, err) : code;
}

const fj_conf *fj_transport_conf(const fj_transport *t)
{
    return t->conf;
}

static fj_code reload_driver(fj_transport *t, fj_error **err)
{
    const fj_driver_ops *ops = t->driver->ops;
    bool can = ops->size >= offsetof(fj_driver_ops, reload) + sizeof ops->reload && ops->reload != NULL;

    return can ? ops->reload(t->driver, t->conf, err) : FJ_OK;
}

fj_code fj_transport_reload(fj_transport *t, fj_conf_changed changed, void *user, fj_error **err)
{
    fj_code code = fj__transport_check(t, err);

    if (code == FJ_OK)
        code = fj_conf_reload(t->conf, changed, user, err);
    if (code == FJ_OK)
        code = reload_driver(t, err);
    return code == FJ_OK ? fj__log_configure(t->conf, err) : code;
}

const char *fj_transport_url(const fj_transport *t)
{
    return t->url;
}
