# SPDX-License-Identifier: Apache-2.0
"""Where Fjord's options differ from those of oslo.messaging 14.0.3 on purpose, and why.  What is not here must be the same; what is
here and is the same after all fails the test, too."""
import math

# Options under another name.  14.0.3 spells them wrong; later releases do not, and Fjord knows both.
RENAMED = {
    "oslo_messaging_rabbit.rabbit_quroum_max_memory_length": "oslo_messaging_rabbit.rabbit_quorum_max_memory_length",
    "oslo_messaging_rabbit.rabbit_quroum_max_memory_bytes": "oslo_messaging_rabbit.rabbit_quorum_max_memory_bytes",
}

# Options that later releases added.
LATER = {"kombu_reconnect_splay", "rabbit_transient_quorum_queue", "use_queue_manager", "rabbit_stream_fanout", "hostname",
         "processname"}

# Options that act in [oslo_messaging_rabbit], though the lists have them in [DEFAULT] alone.
UNLISTED = {"rpc_conn_pool_size", "conn_pool_min_size", "conn_pool_ttl"}

# Options of oslo.log that Fjord takes, too.
OSLO_LOG = {"debug", "log_file", "log_dir", "use_syslog", "syslog_log_facility", "use_journal", "use_stderr", "use_json",
            "default_log_levels", "rate_limit_interval", "rate_limit_burst", "rate_limit_except_level", "publish_errors"}

# Defaults of our own: (ours, reason).
DEFAULTS = {
    "oslo_messaging_rabbit.ssl_enforce_hostname_verification": (True, "a certificate of anybody's is none; later releases have it so"),
}

# Bounds that oslo.messaging does not have: (least, greatest, reason).
BOUNDS = {
    "DEFAULT.executor_thread_pool_size": (1, 100000, "no method could run, or no machine has so many threads"),
    "DEFAULT.rpc_response_timeout": (1, 10**9, "no call could be answered in no time"),
    "oslo_messaging_rabbit.kombu_missing_consumer_retry_timeout": (0, 10**9, "time does not run backwards"),
    "oslo_messaging_rabbit.rabbit_retry_interval": (0, 10**9, "the same"),
    "oslo_messaging_rabbit.rabbit_retry_backoff": (0, 10**9, "the same"),
    "oslo_messaging_rabbit.rabbit_interval_max": (0, 10**9, "the same"),
    "oslo_messaging_rabbit.rabbit_quorum_delivery_limit": (0, 2**31 - 1, "it goes over the wire as a 32-bit number"),
    "oslo_messaging_rabbit.rabbit_quroum_max_memory_length": (0, 2**31 - 1, "the same"),
    "oslo_messaging_rabbit.rabbit_quroum_max_memory_bytes": (0, 2**31 - 1, "the same"),
    "oslo_messaging_rabbit.rabbit_transient_queues_ttl": (0, 2147483, "in milliseconds, a 32-bit number; 0, for ever, is of later "
                                                                      "releases"),
    "oslo_messaging_rabbit.rabbit_qos_prefetch_count": (0, 65535, "AMQP has 16 bits for it"),
    "oslo_messaging_rabbit.heartbeat_timeout_threshold": (0, 65535, "AMQP has 16 bits for it"),
    "oslo_messaging_rabbit.heartbeat_rate": (1, math.inf, "oslo.messaging divides by it"),
    "oslo_messaging_notifications.retry": (-1, math.inf, "-1 is for ever; there is nothing below"),
}

# Options of another type, which takes all that oslo's does.
TYPES = {
    "oslo_messaging_rabbit.rabbit_retry_interval": "fractions of a second; `fjord config check` warns of them",
    "oslo_messaging_rabbit.rabbit_retry_backoff": "the same",
    "oslo_messaging_rabbit.rabbit_interval_max": "the same",
    "DEFAULT.transport_url": "a URL, which is text to oslo.config",
    "oslo_messaging_notifications.transport_url": "the same",
}

# Values that Fjord takes and 14.0.3 does not.
TAKES_MORE = {
    "oslo_messaging_rabbit.rabbit_retry_interval": (lambda v: v is not None, "fractions of a second"),
    "oslo_messaging_rabbit.rabbit_retry_backoff": (lambda v: v is not None, "fractions of a second"),
    "oslo_messaging_rabbit.rabbit_interval_max": (lambda v: v is not None, "fractions of a second"),
    "oslo_messaging_rabbit.rabbit_transient_queues_ttl": (lambda v: v == 0, "for ever; later releases take it, too"),
}

# The broken files (tests/data/conf/broken) that hold such a value; `fjord config check` warns of each.
TAKES_MORE_FILES = {"ttl-zero.conf", "fraction.conf"}

# Not in lists: a reference to an option that only the file knows (oslo.config knows what its program registered), a zero byte in
# a value, digits of other scripts, and a variable of the environment for an option with several values, of which oslo.config makes one
# value a letter.


def REFUSES_MORE(key, value):
    """Whether Fjord refuses on purpose a value that oslo.messaging takes."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if math.isnan(value) or math.isinf(value) or abs(value) >= 2**63:
        return True  # no number of this world, or beyond 64 bits
    low, high, _ = BOUNDS.get(key, (-math.inf, math.inf, ""))
    return not low <= value <= high
