/* SPDX-License-Identifier: Apache-2.0 */
/* The options of oslo.messaging's drivers for AMQP 1.0 and Kafka.  A file that is shared with Python may hold them: they are
 * known by name, so that what is mistyped can be told from what is not meant for Fjord. */
#include "base/options.h"

#include "base/alloc.h"

#include <math.h>

#define AMQP1 "oslo_messaging_amqp"
#define KAFKA "oslo_messaging_kafka"
#define ROW(group, name, type, def, min, max, choices, older, flags)                             \
    {                                                                                            \
        group, name, FJ__OPT_##type, def, min, max, NULL, choices, older, FJ__FOREIGN, "", flags \
    }

const fj__option fj__foreign[] = {
    ROW(AMQP1, "container_name", STRING, NULL, 1, 0, NULL, "amqp1/container_name", 0),
    ROW(AMQP1, "idle_timeout", INT, "0", 1, 0, NULL, "amqp1/idle_timeout", 0),
    ROW(AMQP1, "trace", BOOL, "false", 1, 0, NULL, "amqp1/trace", 0),
    ROW(AMQP1, "ssl", BOOL, "false", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "ssl_ca_file", STRING, "", 1, 0, NULL, "amqp1/ssl_ca_file", 0),
    ROW(AMQP1, "ssl_cert_file", STRING, "", 1, 0, NULL, "amqp1/ssl_cert_file", 0),
    ROW(AMQP1, "ssl_key_file", STRING, "", 1, 0, NULL, "amqp1/ssl_key_file", 0),
    ROW(AMQP1, "ssl_key_password", SECRET, NULL, 1, 0, NULL, "amqp1/ssl_key_password", 0),
    ROW(AMQP1, "ssl_verify_vhost", BOOL, "false", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "sasl_mechanisms", STRING, "", 1, 0, NULL, "amqp1/sasl_mechanisms", 0),
    ROW(AMQP1, "sasl_config_dir", STRING, "", 1, 0, NULL, "amqp1/sasl_config_dir", 0),
    ROW(AMQP1, "sasl_config_name", STRING, "", 1, 0, NULL, "amqp1/sasl_config_name", 0),
    ROW(AMQP1, "sasl_default_realm", STRING, "", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "connection_retry_interval", INT, "1", 1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "connection_retry_backoff", INT, "2", 0, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "connection_retry_interval_max", INT, "30", 1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "link_retry_delay", INT, "10", 1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "default_reply_retry", INT, "0", -1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "default_reply_timeout", INT, "30", 5, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "default_send_timeout", INT, "30", 5, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "default_notify_timeout", INT, "30", 5, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "default_sender_link_timeout", INT, "600", 1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "addressing_mode", STRING, "dynamic", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "pseudo_vhost", BOOL, "true", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "server_request_prefix", STRING, "exclusive", 1, 0, NULL, "amqp1/server_request_prefix", 0),
    ROW(AMQP1, "broadcast_prefix", STRING, "broadcast", 1, 0, NULL, "amqp1/broadcast_prefix", 0),
    ROW(AMQP1, "group_request_prefix", STRING, "unicast", 1, 0, NULL, "amqp1/group_request_prefix", 0),
    ROW(AMQP1, "rpc_address_prefix", STRING, "openstack.org/om/rpc", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "notify_address_prefix", STRING, "openstack.org/om/notify", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "multicast_address", STRING, "multicast", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "unicast_address", STRING, "unicast", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "anycast_address", STRING, "anycast", 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "default_notification_exchange", STRING, NULL, 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "default_rpc_exchange", STRING, NULL, 1, 0, NULL, NULL, 0),
    ROW(AMQP1, "reply_link_credit", INT, "200", 1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "rpc_server_credit", INT, "100", 1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "notify_server_credit", INT, "100", 1, HUGE_VAL, NULL, NULL, 0),
    ROW(AMQP1, "pre_settled", MULTI, "rpc-cast,rpc-reply", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "kafka_max_fetch_bytes", INT, "1048576", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "kafka_consumer_timeout", FLOAT, "1.0", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "pool_size", INT, "10", 1, 0, NULL, NULL, FJ__GOING),
    ROW(KAFKA, "conn_pool_min_size", INT, "2", 1, 0, NULL, NULL, FJ__GOING),
    ROW(KAFKA, "conn_pool_ttl", INT, "1200", 1, 0, NULL, NULL, FJ__GOING),
    ROW(KAFKA, "consumer_group", STRING, "oslo_messaging_consumer", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "producer_batch_timeout", FLOAT, "0.0", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "producer_batch_size", INT, "16384", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "compression_codec", CHOICE, "none", 1, 0, "none gzip snappy lz4 zstd", NULL, 0),
    ROW(KAFKA, "enable_auto_commit", BOOL, "false", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "max_poll_records", INT, "500", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "security_protocol", CHOICE, "PLAINTEXT", 1, 0, "PLAINTEXT SASL_PLAINTEXT SSL SASL_SSL", NULL,
        0),
    ROW(KAFKA, "sasl_mechanism", STRING, "PLAIN", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "ssl_cafile", STRING, "", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "ssl_client_cert_file", STRING, "", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "ssl_client_key_file", STRING, "", 1, 0, NULL, NULL, 0),
    ROW(KAFKA, "ssl_client_key_password", STRING, "", 1, 0, NULL, NULL, 0),
};

const size_t fj__foreign_count = fj__countof(fj__foreign);
