/* SPDX-License-Identifier: Apache-2.0 */
/* What an option's type does not say: names that must exist, files that must be readable, options that do not go together. */
#include "base/alloc.h"
#include "runtime/green.h"
#include "tools/check.h"
#include "transports/amqp/packing.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RABBIT "oslo_messaging_rabbit"
#define NOTIFY "oslo_messaging_notifications"

/* Where a value stands. */
typedef struct {
    check *c;
    const char *group, *key; /* as they stand there */
    const char *origin;
} place;

static void tell(const place *p, check_severity severity, const char *text)
{
    check_add(p->c, severity, p->origin, p->group, p->key, "%s", text);
}

static void tell_error(const place *p, check_severity severity, fj_error *err)
{
    tell(p, severity, fj_error_text(err));
    fj_error_free(err);
}

/* ---- rules of one option ------------------------------------------------------------------------------------ */

/* The query sets options of the group, as in oslo.messaging. */
static void query_rule(const place *p, const fj_url *url)
{
    const char *key, *value;

    for (size_t i = 0; fj_url_query(url, i, &key, &value); i++) {
        const fj__option *o = fj__option_find(RABBIT, key);
        fj_error *err = NULL;
        if (o == NULL)
            check_add(p->c, CHECK_ERROR, p->origin, p->group, p->key,
                      "its query sets \"%.80s\", which is no option of [" RABBIT "]", key);
        else if (fj__option_check(o, value, &err) != FJ_OK) {
            fj_error_prefix(&err, "in its query");
            tell_error(p, CHECK_ERROR, err);
        }
    }
}

static void url_rule(const place *p, const char *value)
{
    const fj_driver_ops *ops = NULL;
    fj_error *err = NULL;
    fj_url *url = NULL;

    if (fj_url_parse(value, &url, &err) != FJ_OK) {
        tell_error(p, CHECK_ERROR, err);
        return;
    }
    if (p->c->conf != NULL && fj_driver_find(p->c->conf, fj_url_driver(url), &ops, &err) != FJ_OK)
        tell_error(p, CHECK_ERROR, err);
    else if (ops != NULL && strcmp(ops->name, "rabbit") == 0)
        query_rule(p, url);
    fj_url_free(url);
}

static void executor_rule(const place *p, const char *value)
{
    const fj_executor_ops *ops = NULL;
    fj_error *err = NULL;

    if (p->c->conf != NULL && fj_executor_find(p->c->conf, value, &ops, &err) != FJ_OK)
        tell_error(p, CHECK_ERROR, err);
}

static void interceptors_rule(const place *p, const char *value)
{
    check_interceptors(p->c, p->origin, p->group, p->key, value);
}

static void patch_rule(const place *p, const char *value)
{
    char **items = fj__option_split(value);

    for (size_t i = 0; items != NULL && items[i] != NULL; i++)
        if (fj__green_group(items[i]) == 0)
            check_add(p->c, CHECK_ERROR, p->origin, p->group, p->key,
                      "\"%.80s\" is none of socket, time, dns, process, select, mutex", items[i]);
    fj__option_items_free(items);
}

static void components_rule(const place *p, const char *value)
{
    fj_error *err = NULL;

    if (fj_log_switch(value, &err) != FJ_OK)
        tell_error(p, CHECK_ERROR, err);
    (void)fj_log_switch("", NULL);
}

static void folder_rule(const place *p, const char *value)
{
    struct stat st;

    if (*value != '\0' && strcmp(p->origin, "default") != 0 && (stat(value, &st) != 0 || !S_ISDIR(st.st_mode)))
        check_add(p->c, CHECK_WARNING, p->origin, p->group, p->key, "%.200s is no folder", value);
}

/* Each is NAME=/PATH, and what is there is of that name. */
static void plugins_rule(const place *p, const char *value)
{
    char **items = fj__option_split(value);

    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        const fj_driver_ops *ops = NULL;
        fj_error *err = NULL;
        char *is = strchr(items[i], '=');
        if (is == NULL || is == items[i] || is[1] != '/') {
            check_add(p->c, CHECK_ERROR, p->origin, p->group, p->key,
                      "\"%.80s\" is not of the form NAME=/ABSOLUTE/PATH.so", items[i]);
            continue;
        }
        *is = '\0';
        if (p->c->conf != NULL && fj_driver_find(p->c->conf, items[i], &ops, &err) != FJ_OK)
            tell_error(p, CHECK_ERROR, err);
    }
    fj__option_items_free(items);
}

static void notify_rule(const place *p, const char *value)
{
    static const char *const drivers[] = { "messaging", "messagingv2", "routing", "log", "test", "noop", "" };

    for (size_t i = 0; i < fj__countof(drivers); i++)
        if (strcmp(drivers[i], value) == 0)
            return;
    check_add(
        p->c, CHECK_WARNING, p->origin, p->group, p->key,
        "\"%.80s\" is none of oslo.messaging's own drivers: messaging, messagingv2, routing, log, test, noop",
        value);
}

static void compression_rule(const place *p, const char *value)
{
    if (fj__packing_named(value) == FJ__BODY_UNKNOWN)
        check_add(p->c, CHECK_ERROR, p->origin, p->group, p->key, "\"%.80s\" is none of gzip, bzip2 and xz",
                  value);
    else if (strcmp(value, "bz2") == 0)
        tell(p, CHECK_WARNING, "oslo.messaging cannot send with it, whatever its help says: its name is bzip2");
}

static void ttl_rule(const place *p, const char *value)
{
    if (strcmp(value, "0") == 0)
        tell(p, CHECK_WARNING, "older releases of oslo.messaging refuse 0");
}

static const struct {
    const char *group, *name;
    void (*rule)(const place *p, const char *value);
} rules[] = {
    { "DEFAULT", "transport_url", url_rule },
    { NOTIFY, "transport_url", url_rule },
    { "fjord", "executor", executor_rule },
    { "fjord", "interceptors", interceptors_rule },
    { "fjord", "patch", patch_rule },
    { "fjord", "log_components", components_rule },
    { "fjord", "plugin_dir", folder_rule },
    { "fjord", "transport_plugins", plugins_rule },
    { NOTIFY, "driver", notify_rule },
    { RABBIT, "kombu_compression", compression_rule },
    { RABBIT, "rabbit_transient_queues_ttl", ttl_rule },
};

/* Whether it has a value other than its default. */
static bool differs(const fj__option *o, const char *plain)
{
    char *usual = NULL;

    if (o->def == NULL || plain == NULL)
        return plain != NULL && *plain != '\0';
    bool same =
        fj__option_plain(o, o->def, &usual, NULL) == FJ_OK && usual != NULL && strcmp(usual, plain) == 0;
    fj__free(usual);
    return !same;
}

void check_value(check *c, const fj__option *o, const fj__entry *e, const char *plain)
{
    place p = { c, e->group, e->key, e->origin };
    bool number = o->type == FJ__OPT_INT || o->type == FJ__OPT_FLOAT;

    if (o->effect == FJ__FOREIGN)
        return;
    if (plain == NULL && number)
        tell(&p, CHECK_WARNING, "it is empty: Fjord takes its default, oslo.messaging takes it for None");
    if (plain != NULL && (o->flags & FJ__WHOLE) != 0 && strpbrk(plain, ".e") != NULL)
        tell(&p, CHECK_WARNING, "oslo.messaging takes whole numbers only");
    for (size_t i = 0; plain != NULL && i < fj__countof(rules); i++)
        if (strcmp(rules[i].name, o->name) == 0 && strcmp(rules[i].group, o->group) == 0)
            rules[i].rule(&p, plain);
    if (o->effect == FJ__MISSING && differs(o, plain))
        tell(&p, CHECK_WARNING, "it has no effect: Fjord cannot do this (yet)");
    if (o->effect == FJ__NEEDLESS && differs(o, plain))
        tell(&p, CHECK_NOTE, "it has no effect: Fjord needs no such setting");
}

/* ---- options together --------------------------------------------------------------------------------------- */

/* What is in effect; of what is wrong, the default. */
static fj__value effective(const check *c, const char *group, const char *name)
{
    const fj__option *o = fj__option_find(group, name);
    fj__value v = { 0 };

    if (fj__value_make(c->state, o, &v, NULL) != FJ_OK) {
        fj__value_fini(&v);
        v.origin = fj__strdup("default");
    }
    if (v.text == NULL && o->def != NULL)
        v.text = fj__strdup(o->def);
    return v;
}

static bool is_true(const check *c, const char *group, const char *name)
{
    fj__value v = effective(c, group, name);
    bool is = v.text != NULL && strcmp(v.text, "true") == 0;

    fj__value_fini(&v);
    return is;
}

static double number(const check *c, const char *group, const char *name)
{
    fj__value v = effective(c, group, name);
    double is = v.text != NULL ? fj__number_parse(v.text, NULL) : 0;

    fj__value_fini(&v);
    return is;
}

static bool is_given(const check *c, const char *group, const char *name)
{
    fj__value v = effective(c, group, name);
    bool is =
        v.origin != NULL && strcmp(v.origin, "default") != 0 && differs(fj__option_find(group, name), v.text);

    fj__value_fini(&v);
    return is;
}

/* Tell of an option, where it is set. */
static void at_option(check *c, check_severity severity, const char *group, const char *name, const char *text)
{
    fj__value v = effective(c, group, name);

    if (v.origin != NULL && strcmp(v.origin, "default") != 0)
        check_add(c, severity, v.origin, group, name, "%s", text);
    fj__value_fini(&v);
}

static void quorum(check *c)
{
    static const char *const with[] = { "rabbit_quorum_delivery_limit", "rabbit_quorum_max_memory_length",
                                        "rabbit_quorum_max_memory_bytes" };
    bool is = is_true(c, RABBIT, "rabbit_quorum_queue");
    bool transient = is_true(c, RABBIT, "rabbit_transient_quorum_queue"),
         ha = is_true(c, RABBIT, "rabbit_ha_queues");

    if (is && ha)
        at_option(c, CHECK_ERROR, RABBIT, "rabbit_quorum_queue", "it and rabbit_ha_queues exclude each other");
    if (transient && ha)
        at_option(c, CHECK_ERROR, RABBIT, "rabbit_transient_quorum_queue",
                  "it and rabbit_ha_queues exclude each other");
    if (is && is_true(c, RABBIT, "amqp_auto_delete"))
        at_option(c, CHECK_ERROR, RABBIT, "amqp_auto_delete",
                  "it and rabbit_quorum_queue exclude each other: no quorum queue deletes itself");
    for (size_t i = 0; !is && !transient && i < fj__countof(with); i++)
        if (is_given(c, RABBIT, with[i]))
            at_option(c, CHECK_WARNING, RABBIT, with[i], "it has no effect without rabbit_quorum_queue");
}

static void fanout(check *c)
{
    static const char *const names[] = { "hostname", "processname" };
    bool stream = is_true(c, RABBIT, "rabbit_stream_fanout");

    if (stream && !is_true(c, RABBIT, "rabbit_transient_quorum_queue"))
        at_option(c, CHECK_ERROR, RABBIT, "rabbit_stream_fanout", "it needs rabbit_transient_quorum_queue");
    if (stream && number(c, RABBIT, "rabbit_qos_prefetch_count") < 1)
        at_option(c, CHECK_NOTE, RABBIT, "rabbit_stream_fanout",
                  "oslo.messaging needs rabbit_qos_prefetch_count for it, too");
    for (size_t i = 0; !is_true(c, RABBIT, "use_queue_manager") && i < fj__countof(names); i++)
        if (is_given(c, RABBIT, names[i]))
            at_option(c, CHECK_WARNING, RABBIT, names[i], "it has no effect without use_queue_manager");
}

static void file_of_tls(check *c, const char *name)
{
    fj__value v = effective(c, RABBIT, name);

    if (v.text != NULL && *v.text != '\0' && v.origin != NULL && access(v.text, R_OK) != 0)
        check_add(c, CHECK_ERROR, v.origin, RABBIT, name, "%.200s cannot be read: %s", v.text, strerror(errno));
    fj__value_fini(&v);
}

static void tls(check *c)
{
    static const char *const files[] = { "ssl_ca_file", "ssl_cert_file", "ssl_key_file" };
    bool is = is_true(c, RABBIT, "ssl");

    for (size_t i = 0; i < fj__countof(files); i++) {
        if (is)
            file_of_tls(c, files[i]);
        else if (is_given(c, RABBIT, files[i]))
            at_option(c, CHECK_WARNING, RABBIT, files[i], "it has no effect without ssl");
    }
    if (is && is_given(c, RABBIT, "ssl_key_file") && !is_given(c, RABBIT, "ssl_cert_file"))
        at_option(c, CHECK_ERROR, RABBIT, "ssl_key_file", "a key needs its certificate, ssl_cert_file");
    if (is && is_given(c, RABBIT, "ssl_cert_file") && !is_given(c, RABBIT, "ssl_key_file"))
        at_option(c, CHECK_WARNING, RABBIT, "ssl_cert_file",
                  "there is no ssl_key_file: the key must be in it, too");
    if (!is && is_given(c, RABBIT, "ssl_enforce_hostname_verification"))
        at_option(c, CHECK_WARNING, RABBIT, "ssl_enforce_hostname_verification",
                  "it has no effect without ssl");
}

static void pool(check *c)
{
    if (number(c, RABBIT, "rpc_conn_pool_size") < number(c, RABBIT, "conn_pool_min_size"))
        at_option(c, CHECK_WARNING, RABBIT, "conn_pool_min_size",
                  "oslo.messaging refuses to start with a rpc_conn_pool_size that is less");
}

static void times(check *c)
{
    if (number(c, RABBIT, "rabbit_interval_max") < number(c, RABBIT, "rabbit_retry_interval")) {
        const char *which =
            is_given(c, RABBIT, "rabbit_interval_max") ? "rabbit_interval_max" : "rabbit_retry_interval";
        at_option(c, CHECK_WARNING, RABBIT, which, "rabbit_interval_max is less than rabbit_retry_interval");
    }
    if (number(c, RABBIT, "kombu_missing_consumer_retry_timeout") >
        number(c, "DEFAULT", "rpc_response_timeout"))
        at_option(c, CHECK_WARNING, RABBIT, "kombu_missing_consumer_retry_timeout",
                  "longer than rpc_response_timeout: nobody waits for the reply any more");
    if (number(c, RABBIT, "heartbeat_timeout_threshold") < 1)
        at_option(c, CHECK_NOTE, RABBIT, "heartbeat_timeout_threshold",
                  "no heartbeats: a connection that is cut off may look alive for hours");
}

static void notifications(check *c)
{
    fj__value drivers = effective(c, NOTIFY, "driver"), file = effective(c, NOTIFY, "routing_config");
    bool routes = false;

    for (size_t i = 0; drivers.items != NULL && drivers.items[i] != NULL; i++)
        routes = routes || strcmp(drivers.items[i], "routing") == 0;
    if (routes && (file.text == NULL || *file.text == '\0'))
        check_add(c, CHECK_WARNING, drivers.origin, NOTIFY, "driver",
                  "the driver routing needs routing_config");
    if (file.text != NULL && *file.text != '\0' && access(file.text, R_OK) != 0)
        check_add(c, CHECK_WARNING, file.origin, NOTIFY, "routing_config", "%.200s cannot be read: %s",
                  file.text, strerror(errno));
    fj__value_fini(&drivers);
    fj__value_fini(&file);
}

void check_together(check *c)
{
    quorum(c);
    fanout(c);
    tls(c);
    times(c);
    pool(c);
    notifications(c);
    check_interceptor_groups(c);
}
