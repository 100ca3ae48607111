/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include "base/alloc.h"
#include "base/buffer.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ANY 1, 0
#define RABBIT "oslo_messaging_rabbit"
#define NOTIFY "oslo_messaging_notifications"
#define METRICS "oslo_messaging_metrics"

/* oslo's options with the defaults of 14.0.3 (wire.md section 20), then our own. */
static const fj__option table[] = {
    { "DEFAULT", "transport_url", FJ__OPT_URL, "rabbit://", ANY, NULL, NULL, NULL, FJ__FIXED,
      "The broker: transport://user:password@host:port[,...]/virtual_host?option=value" },
    { "DEFAULT", "control_exchange", FJ__OPT_STRING, "openstack", ANY, NULL, NULL, NULL, FJ__FIXED,
      "The exchange of targets that name none." },
    { "DEFAULT", "rpc_response_timeout", FJ__OPT_FLOAT, "60", 0.001, 86400, "s", NULL, NULL, FJ__RELOADS,
      "How long a call waits for its reply when the caller gives no deadline." },
    { "DEFAULT", "executor_thread_pool_size", FJ__OPT_INT, "64", 1, 100000, NULL, NULL, "rpc_thread_pool_size",
      FJ__FIXED, "How many requests are processed at once." },
    { "DEFAULT", "rpc_ping_enabled", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Answer oslo_rpc_server_ping." },
    /* oslo lists these three here too, though they act in the group below */
    { "DEFAULT", "rpc_conn_pool_size", FJ__OPT_INT, "30", 1, 100000, NULL, NULL, NULL, FJ__NEEDLESS,
      "See the same name in [oslo_messaging_rabbit]." },
    { "DEFAULT", "conn_pool_min_size", FJ__OPT_INT, "2", 0, 100000, NULL, NULL, NULL, FJ__NEEDLESS,
      "See the same name in [oslo_messaging_rabbit]." },
    { "DEFAULT", "conn_pool_ttl", FJ__OPT_INT, "1200", 0, 1e9, "s", NULL, NULL, FJ__NEEDLESS,
      "See the same name in [oslo_messaging_rabbit]." },

    { RABBIT, "amqp_durable_queues", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Durable control exchange and topic queues." },
    { RABBIT, "amqp_auto_delete", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Auto-delete control exchange and topic queues." },
    { RABBIT, "rpc_conn_pool_size", FJ__OPT_INT, "30", 1, 100000, NULL, NULL, NULL, FJ__NEEDLESS,
      "How many connections publish: one serves all threads." },
    { RABBIT, "conn_pool_min_size", FJ__OPT_INT, "2", 0, 100000, NULL, NULL, NULL, FJ__NEEDLESS,
      "How many idle connections are kept: there is no pool." },
    { RABBIT, "conn_pool_ttl", FJ__OPT_INT, "1200", 0, 1e9, "s", NULL, NULL, FJ__NEEDLESS,
      "How long idle connections are kept: there is no pool." },
    { RABBIT, "ssl", FJ__OPT_BOOL, "false", ANY, NULL, NULL, "rabbit_use_ssl", FJ__FIXED, "Connect by TLS." },
    { RABBIT, "ssl_version", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_version", FJ__FIXED,
      "The TLS version." },
    { RABBIT, "ssl_key_file", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_keyfile", FJ__FIXED,
      "The client's key." },
    { RABBIT, "ssl_cert_file", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_certfile", FJ__FIXED,
      "The client's certificate." },
    { RABBIT, "ssl_ca_file", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_ca_certs", FJ__FIXED,
      "The authorities trusted." },
    { RABBIT, "ssl_enforce_fips_mode", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__MISSING,
      "Insist on FIPS mode." },
    { RABBIT, "ssl_enforce_hostname_verification", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Whether the certificate must name the host." },
    { RABBIT, "heartbeat_in_pthread", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__NEEDLESS,
      "Heartbeats from a thread: they never depend on methods." },
    { RABBIT, "kombu_reconnect_delay", FJ__OPT_FLOAT, "1.0", 0, 4.5, "s", NULL, NULL, FJ__RELOADS,
      "The longest pause before a lost connection is made again." },
    { RABBIT, "kombu_reconnect_splay", FJ__OPT_FLOAT, "0.0", 0, 10, "s", NULL, NULL, FJ__NEEDLESS,
      "Spread of reconnecting: pauses always have full jitter." },
    { RABBIT, "kombu_compression", FJ__OPT_STRING, NULL, ANY, NULL, NULL, NULL, FJ__MISSING,
      "Compression of messages sent; compressed ones are read." },
    { RABBIT, "kombu_missing_consumer_retry_timeout", FJ__OPT_FLOAT, "60", 0, 86400, "s", NULL,
      "kombu_reconnect_timeout", FJ__RELOADS, "How long a reply to a missing queue is tried again." },
    { RABBIT, "kombu_failover_strategy", FJ__OPT_CHOICE, "round-robin", ANY, NULL, "round-robin shuffle", NULL,
      FJ__FIXED, "How the next host is chosen." },
    { RABBIT, "rabbit_login_method", FJ__OPT_CHOICE, "AMQPLAIN", ANY, NULL,
      "PLAIN AMQPLAIN EXTERNAL RABBIT-CR-DEMO", NULL, FJ__FIXED, "The login mechanism." },
    { RABBIT, "rabbit_retry_interval", FJ__OPT_FLOAT, "1", 0, 3600, "s", NULL, NULL, FJ__RELOADS,
      "The first pause between attempts to connect." },
    { RABBIT, "rabbit_retry_backoff", FJ__OPT_FLOAT, "2", 0, 3600, "s", NULL, "kombu_retry_backoff",
      FJ__RELOADS, "By how much the pause grows." },
    { RABBIT, "rabbit_interval_max", FJ__OPT_FLOAT, "30", 0, 3600, "s", NULL, NULL, FJ__RELOADS,
      "The longest pause." },
    { RABBIT, "rabbit_ha_queues", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Declare x-ha-policy=all." },
    { RABBIT, "rabbit_quorum_queue", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Quorum queues for topics and servers." },
    { RABBIT, "rabbit_transient_quorum_queue", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__MISSING,
      "Quorum queues for replies and fanout, too." },
    { RABBIT, "rabbit_quorum_delivery_limit", FJ__OPT_INT, "0", 0, 2147483647, NULL, NULL, NULL, FJ__FIXED,
      "x-delivery-limit of quorum queues; 0: none." },
    { RABBIT, "rabbit_quorum_max_memory_length", FJ__OPT_INT, "0", 0, 2147483647, NULL, NULL,
      "rabbit_quroum_max_memory_length", FJ__FIXED, "x-max-in-memory-length of quorum queues; 0: none." },
    { RABBIT, "rabbit_quorum_max_memory_bytes", FJ__OPT_INT, "0", 0, 2147483647, "bytes", NULL,
      "rabbit_quroum_max_memory_bytes", FJ__FIXED, "x-max-in-memory-bytes of quorum queues; 0: none." },
    { RABBIT, "rabbit_transient_queues_ttl", FJ__OPT_INT, "1800", 0, 2147483, "s", NULL, NULL, FJ__FIXED,
      "How long unused reply and fanout queues live; 0: for ever." },
    { RABBIT, "rabbit_qos_prefetch_count", FJ__OPT_INT, "0", 0, 65535, NULL, NULL, NULL, FJ__FIXED,
      "Messages the broker may have under way to a listener; 0: twice the number of slots." },
    { RABBIT, "heartbeat_timeout_threshold", FJ__OPT_INT, "60", 0, 65535, "s", NULL, NULL, FJ__FIXED,
      "A connection silent for so long is lost; 0: no heartbeats." },
    { RABBIT, "heartbeat_rate", FJ__OPT_INT, "2", 1, 100, NULL, NULL, NULL, FJ__NEEDLESS,
      "How often heartbeats are looked at: they go out at half the threshold." },
    { RABBIT, "direct_mandatory_flag", FJ__OPT_BOOL, "true", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Notice replies whose queue is missing." },
    { RABBIT, "enable_cancel_on_failover", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Consume with x-cancel-on-ha-failover." },
    { RABBIT, "use_queue_manager", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__MISSING,
      "Reply and fanout queues with names that outlive the process." },
    { RABBIT, "rabbit_stream_fanout", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__MISSING,
      "One stream a fanout instead of a queue a server." },
    { RABBIT, "hostname", FJ__OPT_STRING, NULL, ANY, NULL, NULL, NULL, FJ__MISSING,
      "The host in the names of use_queue_manager." },
    { RABBIT, "processname", FJ__OPT_STRING, NULL, ANY, NULL, NULL, NULL, FJ__MISSING,
      "The process in the names of use_queue_manager." },

    { NOTIFY, "driver", FJ__OPT_MULTI, NULL, ANY, NULL, NULL, NULL, FJ__MISSING, "Drivers of notifications." },
    { NOTIFY, "transport_url", FJ__OPT_URL, NULL, ANY, NULL, NULL, NULL, FJ__MISSING,
      "Their broker; unset: transport_url." },
    { NOTIFY, "topics", FJ__OPT_LIST, "notifications", ANY, NULL, NULL, NULL, FJ__MISSING, "Their topics." },
    { NOTIFY, "retry", FJ__OPT_INT, "-1", -1, 2147483647, NULL, NULL, NULL, FJ__MISSING,
      "How often to retry; -1: for ever." },
    { NOTIFY, "routing_config", FJ__OPT_STRING, "", ANY, NULL, NULL, NULL, FJ__MISSING,
      "The file of the routing driver." },

    { METRICS, "metrics_enabled", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__MISSING,
      "Send figures of calls to oslo.metrics." },
    { METRICS, "metrics_buffer_size", FJ__OPT_INT, "1000", 1, 2147483647, NULL, NULL, NULL, FJ__MISSING,
      "How many figures wait at most." },
    { METRICS, "metrics_socket_file", FJ__OPT_STRING, "/var/tmp/metrics_collector.sock", ANY, NULL, NULL, NULL,
      FJ__MISSING, "The socket of oslo.metrics." },
    { METRICS, "metrics_process_name", FJ__OPT_STRING, "", ANY, NULL, NULL, NULL, FJ__MISSING,
      "The process in the figures." },
    { METRICS, "metrics_thread_stop_timeout", FJ__OPT_INT, "10", 0, 86400, "s", NULL, NULL, FJ__MISSING,
      "How long the thread that sends them may take to end." },

    { "fjord", "executor", FJ__OPT_STRING, "threading", ANY, NULL, NULL, NULL, FJ__FIXED,
      "How methods run: blocking, threading, green, coroutine, bridged, or a plug-in's name or absolute path." },
    { "fjord", "strict", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Refuse to serve a method that the executor only emulates; docs/executors.md has the table." },
    { "fjord", "executor_pool_size", FJ__OPT_INT, "0", 0, 100000, NULL, NULL, NULL, FJ__FIXED,
      "How many requests are processed at once; 0: [DEFAULT] executor_thread_pool_size." },
    { "fjord", "thread_pool_size", FJ__OPT_INT, "20", 1, 100000, NULL, NULL, NULL, FJ__FIXED,
      "Threads of the process for blocking functions called from tasks; the transport opened last decides." },
    { "fjord", "stack_size", FJ__OPT_INT, "0", 0, 1073741824, "bytes", NULL, NULL, FJ__FIXED,
      "Stack of a method on a loop; 0: 32 KiB for explicit methods, 64 KiB for others." },
    { "fjord", "patch", FJ__OPT_LIST, "socket,time,dns,process,select", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Blocking calls that switch in green methods: of these and mutex." },
    { "fjord", "green_require_hooks", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Refuse to serve green methods on a loop without libfjord-green." },
    { "fjord", "loop_debug", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Watch the loops of servers: what blocks one is logged with its backtrace, misuse is reported." },
    { "fjord", "slow_callback_duration", FJ__OPT_FLOAT, "0.1", 0.001, 3600, "s", NULL, NULL, FJ__FIXED,
      "How long anything may keep a loop from turning before loop_debug tells of it." },
    { "fjord", "ack", FJ__OPT_CHOICE, "admit", ANY, NULL, "admit done", NULL, FJ__FIXED,
      "When a message is acknowledged: admit (at most once) or done (at least once)." },
    { "fjord", "drain", FJ__OPT_FLOAT, "60", 0, 86400, "s", NULL, NULL, FJ__RELOADS,
      "How long a stopping server waits for running methods." },
    { "fjord", "drain_fetched", FJ__OPT_CHOICE, "requeue", ANY, NULL, "requeue process", NULL, FJ__FIXED,
      "What a stopping server does with messages that it fetched and has not begun: give them back, or run "
      "them." },
    { "fjord", "start_timeout", FJ__OPT_FLOAT, "30", 0.001, 86400, "s", NULL, NULL, FJ__RELOADS,
      "How long a starting server waits for the broker." },
    { "fjord", "connect_timeout", FJ__OPT_FLOAT, "5", 0.001, 3600, "s", NULL, NULL, FJ__RELOADS,
      "The longest a single attempt to connect and log in may take." },
    { "fjord", "resend", FJ__OPT_CHOICE, "never", ANY, NULL, "never maybe", NULL, FJ__RELOADS,
      "Whether a message that may have been sent goes out again after a lost connection." },
    { "fjord", "max_message_bytes", FJ__OPT_INT, "16777216", 1024, 1e9, "bytes", NULL, NULL, FJ__FIXED,
      "The largest message taken or sent." },
    { "fjord", "max_json_depth", FJ__OPT_INT, "64", 1, 1000, NULL, NULL, NULL, FJ__FIXED,
      "How deep arrays and objects may nest in a message." },
    { "fjord", "json_odd_values", FJ__OPT_CHOICE, "wrap", ANY, NULL, "wrap null refuse", NULL, FJ__FIXED,
      "What becomes of NaN, Infinity and integers beyond 64 bits." },
    { "fjord", "plugin_dir", FJ__OPT_STRING, "/usr/lib/fjord/plugins", ANY, NULL, NULL, NULL, FJ__FIXED,
      "The folder of drivers and executors that are plug-ins; nobody else may write to it or them." },
    { "fjord", "log_level", FJ__OPT_CHOICE, "warning", ANY, NULL, "error warning info debug trace", NULL,
      FJ__RELOADS, "The lowest level that is logged." },
    { "fjord", "log_components", FJ__OPT_STRING, "", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Levels by component, as amqp=debug,-fake." },
};

const fj__option *fj__option_at(size_t i)
{
    return i < fj__countof(table) ? &table[i] : NULL;
}

const fj__option *fj__option_find(const char *group, const char *name)
{
    for (size_t i = 0; i < fj__countof(table); i++) {
        const fj__option *o = &table[i];
        if (strcmp(o->group, group) == 0 &&
            (strcmp(o->name, name) == 0 || (o->deprecated != NULL && strcmp(o->deprecated, name) == 0)))
            return o;
    }
    return NULL;
}

const char *fj__option_type_name(fj__option_type type)
{
    static const char *const names[] = { "string",  "secret", "URL",   "integer", "number",
                                         "boolean", "list",   "multi", "choice" };

    return names[type];
}

bool fj__bool_parse(const char *text, bool *ret)
{
    static const char *const words[] = { "true", "1", "on", "yes", "false", "0", "off", "no" };

    for (size_t i = 0; i < fj__countof(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i < 4;
            return true;
        }
    }
    return false;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

double fj__number_parse(const char *text, char **end)
{
    (void)pthread_once(&c_locale_once, make_c_locale);
    return c_locale != (locale_t)0 ? strtod_l(text, end, c_locale) : strtod(text, end);
}

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);

    for (const char *at = choices; n != 0 && (at = strstr(at, value)) != NULL; at += n) {
        if ((at == choices || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
            return true;
    }
    return false;
}

static fj_code check_number(const fj__option *o, const char *value, fj_error **err)
{
    char *end = NULL;
    double number;

    errno = 0;
    if (o->type == FJ__OPT_INT)
        number = (double)strtoll(value, &end, 10);
    else
        number = fj__number_parse(value, &end);
    if (end == value || *end != '\0' || errno != 0 || !isfinite(number))
        return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: '%s' is no %s", o->group, o->name, value,
                       fj__option_type_name(o->type));
    if (o->min <= o->max && (number < o->min || number > o->max))
        return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: %s is not between %g and %g", o->group, o->name, value,
                       o->min, o->max);
    return FJ_OK;
}

fj_code fj__option_check(const fj__option *o, const char *value, fj_error **err)
{
    bool ignored;

    switch (o->type) {
    case FJ__OPT_INT:
    case FJ__OPT_FLOAT:
        return check_number(o, value, err);
    case FJ__OPT_BOOL:
        if (!fj__bool_parse(value, &ignored))
            return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: '%s' is neither true nor false", o->group, o->name,
                           value);
        return FJ_OK;
    case FJ__OPT_CHOICE:
        if (!is_choice(o->choices, value))
            return fj_fail(err, FJ_BAD_CONFIG, "[%s] %s: '%s' is none of: %s", o->group, o->name, value,
                           o->choices);
        return FJ_OK;
    default:
        return FJ_OK;
    }
}

static void add(fj__buf *b, bool *ok, char *text)
{
    *ok = *ok && text != NULL && fj__buf_append(b, text, strlen(text));
    fj__free(text);
}

char *fj__options_sample(void)
{
    static const char *const effects[] = {
        "", "", "# Has no effect: Fjord needs no such setting.\n",
        "# Has no effect: Fjord cannot do this (yet), and warns when it is set.\n"
    };
    fj__buf b = { 0 };
    bool ok = true;
    const char *group = "";

    add(&b, &ok,
        fj__strdup("# Every option of Fjord with its default.  Options of oslo.messaging keep their names.\n"));
    for (size_t i = 0; i < fj__countof(table); i++) {
        const fj__option *o = &table[i];
        if (strcmp(group, o->group) != 0)
            add(&b, &ok, fj__format("\n[%s]\n", o->group));
        group = o->group;
        add(&b, &ok,
            fj__format("\n# %s (%s%s%s)\n", o->help, fj__option_type_name(o->type), o->unit ? ", " : "",
                       o->unit ? o->unit : ""));
        if (o->choices != NULL)
            add(&b, &ok, fj__format("# One of: %s\n", o->choices));
        if (effects[o->effect][0] != '\0')
            add(&b, &ok, fj__strdup(effects[o->effect]));
        if (o->deprecated != NULL)
            add(&b, &ok, fj__format("# Older name: %s\n", o->deprecated));
        add(&b, &ok, fj__format("#%s = %s\n", o->name, o->def != NULL ? o->def : "<unset>"));
    }
    ok = ok && fj__buf_append(&b, "", 1);
    char *text = ok ? fj__strndup((const char *)fj__buf_data(&b), fj__buf_len(&b) - 1) : NULL;
    fj__buf_fini(&b);
    return text;
}
