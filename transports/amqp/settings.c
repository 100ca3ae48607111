/* SPDX-License-Identifier: Apache-2.0 */
#include "transports/amqp/settings.h"

#include <fjord/body.h>

#include "base/alloc.h"
#include "transports/amqp/sasl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RABBIT "oslo_messaging_rabbit"

/* By how much the splay is longer than the delay, unless it is given: with the delay's one second, no more than a quarter of
 * two hundred clients that were cut off at once come back in any one second. */
enum { SPLAY = 7 };

/* wire.md section 1: a missing host is localhost, a missing port 5672. */
static const char *name_of(const fj_url *url, size_t i)
{
    const char *name = i < fj_url_hosts(url) ? fj_url_host(url, i) : NULL;

    return name != NULL && *name != '\0' ? name : "localhost";
}

static void port_of(const fj_url *url, size_t i, char text[8])
{
    unsigned port = i < fj_url_hosts(url) ? fj_url_port(url, i) : 0;

    (void)snprintf(text, 8, "%u", port != 0 ? port & 0xffffu : 5672u);
}

static bool add_host(fj__amqp_settings *s, const fj_url *url, size_t i)
{
    fj__amqp_host *h = &s->hosts[s->host_count++];

    h->name = fj__strdup(name_of(url, i));
    port_of(url, i, h->port);
    return h->name != NULL && fj__login_put(&h->login, url, i);
}

/* @return false when memory ran out */
static bool keep_reply_queues(const fj_conf *conf, fj__amqp_settings *s)
{
    const char *const *list = fj_conf_list(conf, "fjord", "reply_queues");
    size_t n = 0;

    while (list != NULL && list[n] != NULL)
        n++;
    s->reply_queues = fj__zalloc((n + 1) * sizeof *s->reply_queues);
    for (size_t i = 0; s->reply_queues != NULL && i < n; i++) {
        s->reply_queues[i] = fj__strdup(list[i]);
        if (s->reply_queues[i] == NULL)
            return false;
    }
    return s->reply_queues != NULL;
}

static void read_options(const fj_conf *conf, fj__amqp_settings *s)
{
    int64_t heartbeat = fj_conf_int(conf, RABBIT, "heartbeat_timeout_threshold");
    int64_t rate = fj_conf_int(conf, RABBIT, "heartbeat_rate");
    int64_t prefetch = fj_conf_int(conf, RABBIT, "rabbit_qos_prefetch_count");
    const char *next = fj_conf_str(conf, RABBIT, "kombu_failover_strategy");
    const char *again = fj_conf_str(conf, "fjord", "resend");

    s->quorum = fj_conf_bool(conf, RABBIT, "rabbit_quorum_queue");
    s->durable = fj_conf_bool(conf, RABBIT, "amqp_durable_queues") || s->quorum;
    s->transient_quorum = fj_conf_bool(conf, RABBIT, "rabbit_transient_quorum_queue");
    s->stream_fanout = fj_conf_bool(conf, RABBIT, "rabbit_stream_fanout");
    s->auto_delete = fj_conf_bool(conf, RABBIT, "amqp_auto_delete");
    s->ha = fj_conf_bool(conf, RABBIT, "rabbit_ha_queues");
    s->cancel_on_failover = fj_conf_bool(conf, RABBIT, "enable_cancel_on_failover");
    s->mandatory_reply = fj_conf_bool(conf, RABBIT, "direct_mandatory_flag");
    s->delivery_limit = fj_conf_int(conf, RABBIT, "rabbit_quorum_delivery_limit");
    s->max_length = fj_conf_int(conf, RABBIT, "rabbit_quorum_max_memory_length");
    s->max_bytes = fj_conf_int(conf, RABBIT, "rabbit_quorum_max_memory_bytes");
    s->transient_ttl_s = fj_conf_int(conf, RABBIT, "rabbit_transient_queues_ttl");
    s->heartbeat = (uint16_t)(heartbeat < 0 ? 0 : heartbeat > 65535 ? 65535 : heartbeat);
    s->heartbeat_rate = (unsigned)(rate < 2 ? 2 : rate > 1000 ? 1000 : rate);
    s->prefetch = (unsigned)(prefetch < 0 ? 0 : prefetch > 65535 ? 65535 : prefetch);
    s->connect_timeout = fj_conf_float(conf, "fjord", "connect_timeout");
    s->answer_timeout = fj_conf_float(conf, "fjord", "answer_timeout");
    s->retry_interval = fj_conf_float(conf, RABBIT, "rabbit_retry_interval");
    s->retry_backoff = fj_conf_float(conf, RABBIT, "rabbit_retry_backoff");
    s->retry_max = fj_conf_float(conf, RABBIT, "rabbit_interval_max");
    s->reconnect_delay = fj_conf_float(conf, RABBIT, "kombu_reconnect_delay");
    s->reconnect_splay = fj_conf_str(conf, RABBIT, "kombu_reconnect_splay") != NULL
                             ? fj_conf_float(conf, RABBIT, "kombu_reconnect_splay")
                             : SPLAY * s->reconnect_delay;
    s->missing_reply_queue = fj_conf_float(conf, RABBIT, "kombu_missing_consumer_retry_timeout");
    s->shuffle = next != NULL && strcmp(next, "shuffle") == 0;
    s->resend = again != NULL && strcmp(again, "maybe") == 0;
    s->packing = fj__packing_named(fj_conf_str(conf, RABBIT, "kombu_compression"));
    s->max_unsent = (size_t)fj_conf_int(conf, "fjord", "max_unsent_bytes");
    s->json = fj_body_json_opts(conf);
}

/* What cannot be together, or is not known. */
static fj_code check(const fj_conf *conf, const fj__amqp_settings *s, fj_error **err)
{
    if (s->ha && (s->quorum || s->transient_quorum))
        return fj_fail(err, FJ_BAD_CONFIG, "%s and rabbit_ha_queues exclude each other",
                       s->quorum ? "rabbit_quorum_queue" : "rabbit_transient_quorum_queue");
    if (s->quorum && s->auto_delete)
        return fj_fail(
            err, FJ_BAD_CONFIG,
            "rabbit_quorum_queue and amqp_auto_delete exclude each other: RabbitMQ has no quorum queues "
            "that delete themselves");
    if (s->stream_fanout && !s->transient_quorum)
        return fj_fail(err, FJ_BAD_CONFIG, "rabbit_stream_fanout needs rabbit_transient_quorum_queue");
    if (s->packing == FJ__BODY_UNKNOWN)
        return fj_fail(err, FJ_BAD_CONFIG, "kombu_compression is gzip, bzip2, xz or nothing, not '%s'",
                       fj_conf_str(conf, RABBIT, "kombu_compression"));
    if (!fj__sasl_known(s->login_method))
        return fj_fail(err, FJ_BAD_CONFIG,
                       "rabbit_login_method is PLAIN, AMQPLAIN or EXTERNAL; %s is not spoken", s->login_method);
    return FJ_OK;
}

static fj_code read_namer(const fj_conf *conf, fj__namer **ret, fj_error **err)
{
    char *locks = NULL;

    if (!fj_conf_bool(conf, RABBIT, "use_queue_manager"))
        return FJ_OK;
    if (fj_conf_lookup(conf, "oslo_concurrency", "lock_path", &locks, NULL) !=
        FJ_OK) /* as oslo.concurrency finds it */
        locks = fj__strdup(getenv("OSLO_LOCK_PATH"));
    fj_code rc = fj__namer_new(fj_conf_str(conf, RABBIT, "hostname"), fj_conf_str(conf, RABBIT, "processname"),
                               locks, ret, err);
    fj__free(locks);
    return rc;
}

fj_code fj__amqp_settings_read(const fj_conf *conf, const fj_url *url, fj__amqp_settings *s, fj_error **err)
{
    size_t hosts = fj_url_hosts(url) != 0 ? fj_url_hosts(url) : 1;
    const char *exchange = fj_conf_str(conf, "DEFAULT", "control_exchange");
    const char *login = fj_conf_str(conf, RABBIT, "rabbit_login_method");
    bool whole = true;

    *s = (fj__amqp_settings){ 0 };
    s->hosts = fj__zalloc(hosts * sizeof *s->hosts);
    for (size_t i = 0; s->hosts != NULL && i < hosts; i++)
        whole = add_host(s, url, i) && whole;
    s->vhost = fj__strdup(fj_url_vhost(url));
    s->exchange = fj__strdup(exchange != NULL ? exchange : "openstack");
    s->login_method = fj__strdup(login != NULL ? login : "AMQPLAIN");
    s->program = fj__strdup(program_invocation_short_name);
    s->follows = fj__login_follows(conf, url);
    read_options(conf, s);
    whole = keep_reply_queues(conf, s) && whole;
    if (s->hosts == NULL || !whole || !s->vhost || !s->exchange || !s->login_method || !s->program) {
        fj__amqp_settings_fini(s);
        return fj_fail(err, FJ_NOMEM, "out of memory");
    }
    fj_code code = check(conf, s, err);
    if (code == FJ_OK)
        code = read_namer(conf, &s->namer, err);
    if (code == FJ_OK && fj_conf_bool(conf, RABBIT, "ssl"))
        code = fj__tls_new(conf, &s->tls, err);
    if (code != FJ_OK)
        fj__amqp_settings_fini(s);
    return code;
}

static bool same_places(const fj__amqp_settings *s, const fj_url *url)
{
    size_t hosts = fj_url_hosts(url) != 0 ? fj_url_hosts(url) : 1;
    bool same = hosts == s->host_count && strcmp(s->vhost, fj_url_vhost(url)) == 0;

    for (size_t i = 0; same && i < hosts; i++) {
        char port[8];
        port_of(url, i, port);
        same = strcmp(s->hosts[i].name, name_of(url, i)) == 0 && strcmp(s->hosts[i].port, port) == 0;
    }
    return same;
}

fj_code fj__amqp_settings_reload(fj__amqp_settings *s, const fj_conf *conf, fj_error **err)
{
    fj_url *url = NULL;

    if (!s->follows)
        return FJ_OK;
    fj_code code = fj_url_parse(fj_conf_str(conf, "DEFAULT", "transport_url"), &url, err);
    if (code == FJ_OK && !same_places(s, url))
        code = fj_fail(err, FJ_BAD_CONFIG,
                       "transport_url: users and passwords may change while it is in use; other hosts, ports "
                       "or a virtual host need a start");
    for (size_t i = 0; code == FJ_OK && i < s->host_count; i++) {
        if (!fj__login_put(&s->hosts[i].login, url, i))
            code = fj_fail(err, FJ_NOMEM, "out of memory");
    }
    fj_url_free(url);
    return code;
}

void fj__amqp_settings_fini(fj__amqp_settings *s)
{
    for (size_t i = 0; i < s->host_count; i++) {
        fj__free(s->hosts[i].name);
        fj__login_fini(&s->hosts[i].login);
    }
    fj__free(s->hosts);
    for (size_t i = 0; s->reply_queues != NULL && s->reply_queues[i] != NULL; i++)
        fj__free(s->reply_queues[i]);
    fj__free(s->reply_queues);
    fj__free(s->vhost);
    fj__free(s->exchange);
    fj__free(s->login_method);
    fj__free(s->program);
    (void)fj__namer_free(s->namer);
    (void)fj__tls_free(s->tls);
    *s = (fj__amqp_settings){ 0 };
}
