/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_SETTINGS_H
#define FJORD_AMQP_SETTINGS_H
/* What the driver takes from the configuration and the URL, once, at open.  Immutable afterwards. */
#include "base/log.h"
#include "transports/amqp/tls.h"
#include <fjord/conf.h>
#include <fjord/json.h>
#include <fjord/url.h>

typedef struct {
    char *name;
    char port[8];
    char *user;
    fj__secret password;
} fj__amqp_host;

typedef struct {
    fj__amqp_host *hosts; /* at least one */
    size_t host_count;
    char *vhost;
    char *login_method;
    char *exchange; /* control_exchange */
    char *program;  /* for the connection's name */
    uint16_t heartbeat;
    bool durable, auto_delete, ha, quorum, cancel_on_failover, mandatory_reply, shuffle;
    int64_t delivery_limit, max_length, max_bytes; /* quorum arguments; 0: left out */
    int64_t transient_ttl_ms;                      /* x-expires; 0: left out */
    unsigned prefetch;                             /* 0: by the number of slots */
    double connect_timeout, retry_interval, retry_backoff, retry_max, reconnect_delay, missing_reply_queue;
    bool resend;
    fj__tls *tls; /* NULL: plain */
    fj_json_opts json;
} fj__amqp_settings;

fj_code fj__amqp_settings_read(const fj_conf *conf, const fj_url *url, fj__amqp_settings *ret, fj_error **err);
void fj__amqp_settings_fini(fj__amqp_settings *s);

#endif
