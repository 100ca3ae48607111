/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_AMQP_SETTINGS_H
#define FJORD_AMQP_SETTINGS_H
/* What the driver takes from the configuration and the URL, once, at open.  Immutable afterwards, but for failed_ns and logins. */
#include "transports/amqp/logins.h"
#include "transports/amqp/namer.h"
#include "transports/amqp/packing.h"
#include "transports/amqp/tls.h"
#include <fjord/clock.h>
#include <fjord/conf.h>
#include <fjord/json.h>
#include <fjord/url.h>
#include <stdatomic.h>

typedef struct {
    char *name;
    char port[8];
    fj__login_now login;       /* may change: see fj__amqp_settings_reload() */
    _Atomic int64_t failed_ns; /* when any connection last could not reach it; 0: it could */
} fj__amqp_host;

typedef struct {
    fj__amqp_host *hosts; /* at least one */
    size_t host_count;
    /* by host: when it last could not be reached; 0: it could. Of all connections */
    _Atomic int64_t *failed_ns;
    char *vhost;
    char *login_method;
    char *exchange; /* control_exchange */
    char *program;  /* for the connection's name */
    uint16_t heartbeat;
    unsigned heartbeat_rate;               /* how many of them go out in that time */
    bool durable, auto_delete, ha, quorum; /* quorum: of topic queues */
    bool transient_quorum, stream_fanout;  /* of reply and fanout queues; of fanout queues */
    bool cancel_on_failover, mandatory_reply, shuffle;
    int64_t delivery_limit, max_length, max_bytes; /* quorum arguments; 0: left out */
    int64_t transient_ttl_s;                       /* x-expires, x-max-age; 0: left out */
    unsigned prefetch;                             /* 0: by the number of slots */
    double connect_timeout, answer_timeout, retry_interval, retry_backoff, retry_max;
    double reconnect_delay, reconnect_splay, missing_reply_queue;
    bool resend;
    bool follows;          /* the URL is the configuration's: a new login there is for this one */
    size_t max_unsent;     /* bytes */
    fj__body_form packing; /* of bodies sent */
    char **reply_queues;   /* how names of them may begin; NULL at the end */
    fj__namer *namer;      /* of reply and fanout queues that are to outlive the process; NULL: random names */
    fj__tls *tls;          /* NULL: plain */
    fj_json_opts json;
} fj__amqp_settings;

fj_code fj__amqp_settings_read(const fj_conf *conf, const fj_url *url, fj__amqp_settings *ret, fj_error **err);
/** Take in users and passwords that changed in the configuration's URL; the rest of it is as it was.
 *  @errors BAD_CONFIG: other parts of it changed, and nothing is taken in; BAD_URL, NOMEM   @thread one at a time */
fj_code fj__amqp_settings_reload(fj__amqp_settings *s, const fj_conf *conf, fj_error **err);
void fj__amqp_settings_fini(fj__amqp_settings *s);

#endif
