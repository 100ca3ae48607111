/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ANY 1, 0
#define NO_LIMIT HUGE_VAL
#define RABBIT "oslo_messaging_rabbit"
#define NOTIFY "oslo_messaging_notifications"
#define METRICS "oslo_messaging_metrics"

/* oslo.messaging's options with the defaults of 14.0.3, then our own; the flags of most are none. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const fj__option table[] = {
    { "DEFAULT", "transport_url", FJ__OPT_URL, "rabbit://", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "The broker: transport://user:password@host:port[,...]/virtual_host?option=value.  Of what is in use, "
      "users and passwords may change." },
    { "DEFAULT", "control_exchange", FJ__OPT_STRING, "openstack", ANY, NULL, NULL, NULL, FJ__FIXED,
      "The exchange of targets that name none." },
    { "DEFAULT", "rpc_response_timeout", FJ__OPT_INT, "60", 1, 1e9, "s", NULL, NULL, FJ__RELOADS,
      "How long a call waits for its reply when the caller gives no deadline." },
    { "DEFAULT", "executor_thread_pool_size", FJ__OPT_INT, "64", 1, 100000, NULL, NULL, "rpc_thread_pool_size",
      FJ__FIXED, "How many requests are processed at once." },
    { "DEFAULT", "rpc_ping_enabled", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Answer oslo_rpc_server_ping." },
    /* oslo.log's, for where lines go: a program in Python that reads the same file logs to the same places */
    { "DEFAULT", "debug", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Log at debug level, if [fjord] log_level does not say another." },
    { "DEFAULT", "log_file", FJ__OPT_STRING, NULL, ANY, NULL, NULL, "logfile", FJ__RELOADS,
      "The file to log to, in log_dir if that is set; unset: standard error, if no other place is set." },
    { "DEFAULT", "log_dir", FJ__OPT_STRING, NULL, ANY, NULL, NULL, "logdir", FJ__RELOADS,
      "The folder of log_file; without that, of PROGRAM.log." },
    { "DEFAULT", "use_syslog", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Log to the syslog of this machine." },
    { "DEFAULT", "syslog_log_facility", FJ__OPT_STRING, "LOG_USER", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "The facility of use_syslog." },
    { "DEFAULT", "use_journal", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Log to systemd's journal, with fields." },
    { "DEFAULT", "use_stderr", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Log to standard error, too." },
    { "DEFAULT", "use_json", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "An object a line in the file and on standard error." },
    { "DEFAULT", "default_log_levels", FJ__OPT_LIST, "", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Levels by component, as amqp=WARN,rpc=DEBUG; names of Python's loggers mean nothing here. [fjord] "
      "log_components has the last word." },
    { "DEFAULT", "publish_errors", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Send lines of level error as notifications, too: error_notification from error.publisher." },
    { "DEFAULT", "rate_limit_interval", FJ__OPT_INT, "0", 0, 86400, "s", NULL, NULL, FJ__RELOADS,
      "The time in which rate_limit_burst lines of a component are let through; 0: no limit." },
    { "DEFAULT", "rate_limit_burst", FJ__OPT_INT, "0", 0, 1e9, NULL, NULL, NULL, FJ__RELOADS,
      "How many lines of a component are let through in rate_limit_interval; 0: no limit." },
    { "DEFAULT", "rate_limit_except_level", FJ__OPT_STRING, "CRITICAL", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Lines of this level and graver ones are always let through; CRITICAL, which Fjord has not, or empty: "
      "none." },
    /* oslo lists these three here too, though they act in the group below */
    { "DEFAULT", "rpc_conn_pool_size", FJ__OPT_INT, "30", 1, NO_LIMIT, NULL, NULL, NULL, FJ__NEEDLESS,
      "See the same name in [oslo_messaging_rabbit]." },
    { "DEFAULT", "conn_pool_min_size", FJ__OPT_INT, "2", ANY, NULL, NULL, NULL, FJ__NEEDLESS,
      "See the same name in [oslo_messaging_rabbit]." },
    { "DEFAULT", "conn_pool_ttl", FJ__OPT_INT, "1200", ANY, "s", NULL, NULL, FJ__NEEDLESS,
      "See the same name in [oslo_messaging_rabbit]." },

    { RABBIT, "amqp_durable_queues", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Durable control exchange and topic queues." },
    { RABBIT, "amqp_auto_delete", FJ__OPT_BOOL, "false", ANY, NULL, NULL, "DEFAULT/amqp_auto_delete", FJ__FIXED,
      "Auto-delete control exchange and topic queues." },
    { RABBIT, "rpc_conn_pool_size", FJ__OPT_INT, "30", 1, NO_LIMIT, NULL, NULL, NULL, FJ__NEEDLESS,
      "How many connections publish: one serves all threads.", FJ__UNLISTED },
    { RABBIT, "conn_pool_min_size", FJ__OPT_INT, "2", ANY, NULL, NULL, NULL, FJ__NEEDLESS,
      "How many idle connections are kept: there is no pool.", FJ__UNLISTED },
    { RABBIT, "conn_pool_ttl", FJ__OPT_INT, "1200", ANY, "s", NULL, NULL, FJ__NEEDLESS,
      "How long idle connections are kept: there is no pool.", FJ__UNLISTED },
    { RABBIT, "ssl", FJ__OPT_BOOL, "false", ANY, NULL, NULL, "rabbit_use_ssl", FJ__FIXED, "Connect by TLS." },
    { RABBIT, "ssl_version", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_version", FJ__RELOADS,
      "The TLS version: TLSv1_2 or TLSv1_3 and no other, or SSLv23 or nothing for both; older ones are "
      "refused." },
    { RABBIT, "ssl_key_file", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_keyfile", FJ__RELOADS,
      "The client's key, in PEM; nothing: it is in ssl_cert_file." },
    { RABBIT, "ssl_cert_file", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_certfile", FJ__RELOADS,
      "The client's certificate and its chain, in PEM." },
    { RABBIT, "ssl_ca_file", FJ__OPT_STRING, "", ANY, NULL, NULL, "kombu_ssl_ca_certs", FJ__RELOADS,
      "The authorities trusted, in PEM; nothing: those of the system." },
    { RABBIT, "ssl_enforce_fips_mode", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Use OpenSSL's FIPS provider and no other." },
    { RABBIT, "ssl_enforce_hostname_verification", FJ__OPT_BOOL, "true", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Whether the certificate must name the host." },
    { RABBIT, "heartbeat_in_pthread", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__NEEDLESS,
      "Heartbeats from a thread: they never depend on methods." },
    { RABBIT, "kombu_reconnect_delay", FJ__OPT_FLOAT, "1.0", 0, 4.5, "s", NULL, "DEFAULT/kombu_reconnect_delay",
      FJ__FIXED, "The longest pause before a lost connection is made again." },
    { RABBIT, "kombu_reconnect_splay", FJ__OPT_FLOAT, NULL, 0, 1e9, "s", NULL, NULL, FJ__FIXED,
      "How much longer each pause before a lost connection is made again may be, at random; unset: seven times "
      "kombu_reconnect_delay.",
      FJ__LATER },
    { RABBIT, "kombu_compression", FJ__OPT_STRING, NULL, ANY, NULL, NULL, NULL, FJ__FIXED,
      "Compress messages that become smaller by it: gzip, bzip2 or xz; compressed ones are read in any case." },
    { RABBIT, "kombu_missing_consumer_retry_timeout", FJ__OPT_INT, "60", 0, 1e9, "s", NULL,
      "kombu_reconnect_timeout", FJ__FIXED, "How long a reply to a missing queue is tried again." },
    { RABBIT, "kombu_failover_strategy", FJ__OPT_CHOICE, "round-robin", ANY, NULL, "round-robin shuffle", NULL,
      FJ__FIXED, "How the next host is chosen." },
    { RABBIT, "rabbit_login_method", FJ__OPT_CHOICE, "AMQPLAIN", ANY, NULL,
      "PLAIN AMQPLAIN EXTERNAL RABBIT-CR-DEMO", "DEFAULT/rabbit_login_method", FJ__FIXED,
      "The login mechanism." },
    { RABBIT, "rabbit_retry_interval", FJ__OPT_FLOAT, "1", 0, 1e9, "s", NULL, NULL, FJ__FIXED,
      "The first pause between attempts to connect.", FJ__WHOLE },
    { RABBIT, "rabbit_retry_backoff", FJ__OPT_FLOAT, "2", 0, 1e9, "s", NULL, "DEFAULT/rabbit_retry_backoff",
      FJ__FIXED, "By how much the pause grows.", FJ__WHOLE },
    { RABBIT, "rabbit_interval_max", FJ__OPT_FLOAT, "30", 0, 1e9, "s", NULL, NULL, FJ__FIXED,
      "The longest pause.", FJ__WHOLE },
    { RABBIT, "rabbit_ha_queues", FJ__OPT_BOOL, "false", ANY, NULL, NULL, "DEFAULT/rabbit_ha_queues", FJ__FIXED,
      "Declare x-ha-policy=all." },
    { RABBIT, "rabbit_quorum_queue", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Quorum queues for topics and servers." },
    { RABBIT, "rabbit_transient_quorum_queue", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Quorum queues for replies and fanouts, and durable fanout exchanges.", FJ__LATER },
    { RABBIT, "rabbit_quorum_delivery_limit", FJ__OPT_INT, "0", 0, 2147483647, NULL, NULL, NULL, FJ__FIXED,
      "x-delivery-limit of quorum queues; 0: none." },
    { RABBIT, "rabbit_quorum_max_memory_length", FJ__OPT_INT, "0", 0, 2147483647, NULL, NULL,
      "rabbit_quroum_max_memory_length", FJ__FIXED, "x-max-in-memory-length of quorum queues; 0: none.",
      FJ__RENAMED },
    { RABBIT, "rabbit_quorum_max_memory_bytes", FJ__OPT_INT, "0", 0, 2147483647, "bytes", NULL,
      "rabbit_quroum_max_memory_bytes", FJ__FIXED, "x-max-in-memory-bytes of quorum queues; 0: none.",
      FJ__RENAMED },
    { RABBIT, "rabbit_transient_queues_ttl", FJ__OPT_INT, "1800", 0, 2147483, "s", NULL, NULL, FJ__FIXED,
      "How long unused reply and fanout queues live; 0: for ever." },
    { RABBIT, "rabbit_qos_prefetch_count", FJ__OPT_INT, "0", 0, 65535, NULL, NULL, NULL, FJ__FIXED,
      "Messages the broker may have under way to a listener; 0: twice the number of slots." },
    { RABBIT, "heartbeat_timeout_threshold", FJ__OPT_INT, "60", 0, 65535, "s", NULL, NULL, FJ__FIXED,
      "A connection silent for so long is lost; 0: no heartbeats." },
    { RABBIT, "heartbeat_rate", FJ__OPT_INT, "2", 1, NO_LIMIT, NULL, NULL, NULL, FJ__FIXED,
      "How many heartbeats go out in heartbeat_timeout_threshold: two at least, and two a second at most." },
    { RABBIT, "direct_mandatory_flag", FJ__OPT_BOOL, "true", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Notice replies whose queue is missing.", FJ__GOING },
    { RABBIT, "enable_cancel_on_failover", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Consume with x-cancel-on-ha-failover." },
    { RABBIT, "use_queue_manager", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Reply and fanout queues named HOSTNAME:PROCESSNAME:NUMBER, the same after a restart.", FJ__LATER },
    { RABBIT, "rabbit_stream_fanout", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__FIXED,
      "One stream a fanout instead of a queue a server; with rabbit_transient_quorum_queue only.", FJ__LATER },
    { RABBIT, "hostname", FJ__OPT_STRING, NULL, ANY, NULL, NULL, NULL, FJ__FIXED,
      "The host in the names of use_queue_manager; unset: this one's.", FJ__LATER },
    { RABBIT, "processname", FJ__OPT_STRING, NULL, ANY, NULL, NULL, NULL, FJ__FIXED,
      "The process in the names of use_queue_manager; unset: the program's name.  No two services of a host "
      "have "
      "the same.",
      FJ__LATER },

    { NOTIFY, "driver", FJ__OPT_MULTI, NULL, ANY, NULL, NULL, "DEFAULT/notification_driver", FJ__FIXED,
      "Where notifications go, all of them when it is there several times: messaging, messagingv2, routing, "
      "log, test, "
      "noop, or a plug-in's name; none: nowhere." },
    { NOTIFY, "transport_url", FJ__OPT_URL, NULL, ANY, NULL, NULL, "DEFAULT/notification_transport_url",
      FJ__FIXED, "Their broker; unset: transport_url." },
    { NOTIFY, "topics", FJ__OPT_LIST, "notifications", ANY, NULL, NULL,
      "rpc_notifier2/topics DEFAULT/notification_topics", FJ__FIXED,
      "Their topics: each gets all, in one queue a priority." },
    { NOTIFY, "retry", FJ__OPT_INT, "-1", -1, NO_LIMIT, NULL, NULL, NULL, FJ__FIXED,
      "How often connecting is tried again before a notification is given up; -1: for ever." },
    { NOTIFY, "routing_config", FJ__OPT_STRING, "", ANY, NULL, NULL, "DEFAULT/routing_notifier_config",
      FJ__FIXED, "The file of the routing driver, in YAML; docs/notifications.md.", FJ__UNLISTED },

    { METRICS, "metrics_enabled", FJ__OPT_BOOL, "false", ANY, NULL, NULL, NULL, FJ__MISSING,
      "Send figures of calls to oslo.metrics.", FJ__UNLISTED },
    { METRICS, "metrics_buffer_size", FJ__OPT_INT, "1000", ANY, NULL, NULL, NULL, FJ__MISSING,
      "How many figures wait at most.", FJ__UNLISTED },
    { METRICS, "metrics_socket_file", FJ__OPT_STRING, "/var/tmp/metrics_collector.sock", ANY, NULL, NULL, NULL,
      FJ__MISSING, "The socket of oslo.metrics.", FJ__UNLISTED },
    { METRICS, "metrics_process_name", FJ__OPT_STRING, "", ANY, NULL, NULL, NULL, FJ__MISSING,
      "The process in the figures.", FJ__UNLISTED },
    { METRICS, "metrics_thread_stop_timeout", FJ__OPT_INT, "10", ANY, "s", NULL, NULL, FJ__MISSING,
      "How long the thread that sends them may take to end.", FJ__UNLISTED },

    { "fjord", "executor", FJ__OPT_STRING, "threading", ANY, NULL, NULL, NULL, FJ__FIXED,
      "How methods run: blocking, threading, green, coroutine, bridged, or a plug-in's name or absolute "
      "path." },
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
    { "fjord", "respawn_delay", FJ__OPT_FLOAT, "1", 0, 3600, "s", NULL, NULL, FJ__RELOADS,
      "How long a service waits between starting workers again that ended, once as many as it has were started "
      "again at once." },
    { "fjord", "connect_timeout", FJ__OPT_FLOAT, "5", 0.001, 3600, "s", NULL, NULL, FJ__FIXED,
      "The longest a single attempt to connect and log in may take; an address of several of a name gets its "
      "share." },
    { "fjord", "answer_timeout", FJ__OPT_FLOAT, "30", 0.001, 3600, "s", NULL, NULL, FJ__FIXED,
      "The longest the broker may take to answer a declaration; after it the connection is made again.  "
      "RabbitMQ "
      "gives its own parts 15 s (channel_operation_timeout)." },
    { "fjord", "tls_verify", FJ__OPT_BOOL, "true", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Whether the broker's certificate is verified with ssl = true; without it anybody can be the broker." },
    { "fjord", "resend", FJ__OPT_CHOICE, "never", ANY, NULL, "never maybe", NULL, FJ__FIXED,
      "Whether a message that may have been sent goes out again after a lost connection." },
    { "fjord", "max_message_bytes", FJ__OPT_INT, "16777216", 1024, 1e9, "bytes", NULL, NULL, FJ__FIXED,
      "The largest message taken or sent." },
    { "fjord", "reply_queues", FJ__OPT_LIST, "reply_,amq.rabbitmq.reply-to.", ANY, NULL, NULL, NULL, FJ__FIXED,
      "How the names of queues begin that a server sends answers to; a call that wants its answer elsewhere is "
      "rejected.  "
      "Empty: any." },
    { "fjord", "max_unsent_bytes", FJ__OPT_INT, "33554432", 65536, 1e12, "bytes", NULL, NULL, FJ__FIXED,
      "How many bytes of calls and casts may wait for the broker, and again as many of replies, for the "
      "threads of "
      "a process and for each loop.  Above it who calls or casts waits until half of them are gone, or its "
      "deadline; of replies the oldest are dropped." },
    { "fjord", "max_json_depth", FJ__OPT_INT, "64", 1, 1000, NULL, NULL, NULL, FJ__FIXED,
      "How deep arrays and objects may nest in a message." },
    { "fjord", "json_odd_values", FJ__OPT_CHOICE, "wrap", ANY, NULL, "wrap null refuse", NULL, FJ__FIXED,
      "What becomes of NaN, Infinity and integers beyond 64 bits." },
    { "fjord", "plugin_dir", FJ__OPT_STRING, "/usr/lib/fjord/plugins", ANY, NULL, NULL, NULL, FJ__FIXED,
      "The folder of drivers, executors and interceptors that are plug-ins; nobody else may write to it or "
      "them." },
    { "fjord", "backdoor", FJ__OPT_STRING, "", ANY, NULL, NULL, NULL, FJ__FIXED,
      "The socket by which fjord inspect sees a service's processes; %p: process id, %n: name, %w: number of "
      "the worker; "
      "empty: none." },
    { "fjord", "interceptors", FJ__OPT_LIST, NULL, ANY, NULL, NULL, NULL, FJ__FIXED,
      "Interceptors around every call and method, the outermost first: plug-ins' names or absolute paths.  The "
      "options of one are in [interceptor:NAME]." },
    { "fjord", "transport_plugins", FJ__OPT_LIST, "", ANY, NULL, NULL, NULL, FJ__FIXED,
      "Drivers that are plug-ins in other places, as unix=/opt/lib/unix.so: the URL's scheme and an absolute "
      "path." },
    { "fjord", "log_level", FJ__OPT_CHOICE, "warning", ANY, NULL, "error warning info debug trace", NULL,
      FJ__RELOADS, "The lowest level that is logged." },
    { "fjord", "log_components", FJ__OPT_STRING, "", ANY, NULL, NULL, NULL, FJ__RELOADS,
      "Levels by component, as amqp=debug,-fake." },
    { "fjord", "log_buffer", FJ__OPT_INT, "1048576", 65536, 1e9, "bytes", NULL, NULL, FJ__RELOADS,
      "How much may wait for each place that log lines go to, before lines are dropped and counted." },
};
#pragma GCC diagnostic pop

size_t fj__option_count(void)
{
    return fj__countof(table) + fj__foreign_count;
}

const fj__option *fj__option_at(size_t i)
{
    if (i < fj__countof(table))
        return &table[i];
    i -= fj__countof(table);
    return i < fj__foreign_count ? &fj__foreign[i] : NULL;
}

bool fj__option_older(const fj__option *o, size_t i, char *ret_group, char *ret_name)
{
    const char *at = o->older != NULL ? o->older : "";
    size_t n = strcspn(at, " ");

    for (; i != 0 && at[n] != '\0'; i--) {
        at += n + 1;
        n = strcspn(at, " ");
    }
    if (i != 0 || n == 0)
        return false;
    size_t slash = strcspn(at, "/ ");
    bool other = at[slash] == '/';
    (void)snprintf(ret_group, FJ__GROUP_MAX, "%.*s", (int)(other ? slash : strlen(o->group)),
                   other ? at : o->group);
    (void)snprintf(ret_name, FJ__NAME_MAX, "%.*s", (int)(other ? n - slash - 1 : n),
                   other ? at + slash + 1 : at);
    return true;
}

static bool has_older(const fj__option *o, const char *group, const char *name)
{
    char in[FJ__GROUP_MAX], older[FJ__NAME_MAX];

    for (size_t i = 0; fj__option_older(o, i, in, older); i++)
        if (strcmp(in, group) == 0 && strcmp(older, name) == 0)
            return true;
    return false;
}

const fj__option *fj__option_find(const char *group, const char *name)
{
    const fj__option *o;

    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++)
        if (strcmp(o->name, name) == 0 && strcmp(o->group, group) == 0)
            return o;
    for (size_t i = 0; (o = fj__option_at(i)) != NULL; i++)
        if (o->older != NULL && has_older(o, group, name))
            return o;
    return NULL;
}
