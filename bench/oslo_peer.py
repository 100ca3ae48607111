# SPDX-License-Identifier: Apache-2.0
"""The benchmark's oslo.messaging side: `server URL` (threading executor), `client URL CALLS WARM-UP`."""
import logging
import sys
import threading
import time

import oslo_messaging
from oslo_config import cfg
from oslo_messaging._metrics import client as metrics
from oslo_messaging.rpc import dispatcher

logging.disable(logging.CRITICAL)
TEXT = "0123456789abcdef0123456789"


class Endpoint:
    def echo(self, ctxt, x):
        return x


def serve(transport):
    server = oslo_messaging.get_rpc_server(
        transport, oslo_messaging.Target(topic="bench_oslo", server="bench"), [Endpoint()],
        executor="threading", access_policy=dispatcher.DefaultRPCAccessPolicy)
    server.start()
    print("ready", flush=True)
    threading.Event().wait()


def calls(client, n):
    for _ in range(n):
        if client.call({}, "echo", x=TEXT) != TEXT:
            sys.exit("oslo: a call was answered with something else")


def measure(transport, n, warm_up):
    client = oslo_messaging.RPCClient(transport, oslo_messaging.Target(topic="bench_oslo"))
    calls(client, warm_up)
    start = time.monotonic()
    calls(client, n)
    print(f"{time.monotonic() - start:.6f}", flush=True)


def main():
    conf = cfg.ConfigOpts()
    conf([], project="bench", default_config_files=[], default_config_dirs=[])
    if hasattr(metrics, "oslo_messaging_metrics"):  # release 14 leaves this to the program
        conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    transport = oslo_messaging.get_rpc_transport(conf, url=sys.argv[2])
    if sys.argv[1] == "server":
        serve(transport)
    else:
        measure(transport, int(sys.argv[3]), int(sys.argv[4]))
        transport.cleanup()


main()
