# SPDX-License-Identifier: Apache-2.0
"""The benchmark's oslo.messaging side: `server|client URL [NAME=VALUE...]`, the names of bench/support/plan.h.

executor=threading or eventlet; under eventlet both sides run on green threads.  Its calls and casts wait, so that as many
threads as there are calls under way make them; a cast waits for the broker's confirmation.
"""
import json
import logging
import os
import sys
import time

PLAN = {"kind": "call", "calls": "1000", "warm_up": "100", "at_once": "1", "bytes": "300", "rate": "0",
        "executor": "threading", "hold": "0"}
PLAN.update(word.split("=", 1) for word in sys.argv[3:])
if PLAN["executor"] == "eventlet":
    import eventlet
    eventlet.monkey_patch()

import threading  # noqa: E402  after monkey_patch()

import oslo_messaging  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_messaging._metrics import client as metrics  # noqa: E402
from oslo_messaging.rpc import dispatcher  # noqa: E402

logging.disable(logging.CRITICAL)
ENVELOPE, TEXT_MIN = 274, 26  # as in fjord.c
TEXT = "x" * max(TEXT_MIN, int(PLAN["bytes"]) - ENVELOPE)
TOPIC = "bench_oslo_" + PLAN["executor"]
AT_ONCE = int(PLAN["at_once"])


class Endpoint:
    def echo(self, ctxt, x):
        return x


def open_transport():
    conf = cfg.ConfigOpts()
    conf([], project="bench", default_config_files=[], default_config_dirs=[])
    if hasattr(metrics, "oslo_messaging_metrics"):  # release 14 leaves this to the program
        conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    # A connection for each thread that calls; by default it has 30, and the others wait for one.
    return oslo_messaging.get_rpc_transport(conf, url=f"{sys.argv[2]}?rpc_conn_pool_size={max(30, AT_ONCE)}")


def serve(transport):
    server = oslo_messaging.get_rpc_server(
        transport, oslo_messaging.Target(topic=TOPIC, server="bench"), [Endpoint()],
        executor=PLAN["executor"], access_policy=dispatcher.DefaultRPCAccessPolicy)
    server.start()
    print("ready", flush=True)
    threading.Event().wait()


def say(line):
    print(line, flush=True)
    if PLAN["hold"] == "1":
        sys.stdin.readline()


def call(client):
    if client.call({}, "echo", x=TEXT) != TEXT:
        sys.exit("oslo: a call was answered with something else")


def cast(client):
    client.cast({}, "echo", x=TEXT)


class Shared:
    """Calls that several threads make, each the next one, or the next that is due."""

    def __init__(self, client, n):
        self.client, self.left, self.n, self.took = client, n, n, []
        self.one = cast if PLAN["kind"] == "cast" else call
        self.lock = threading.Lock()
        self.rate = float(PLAN["rate"])
        self.start = time.monotonic()

    def next(self):
        with self.lock:
            if self.left == 0:
                return None
            self.left -= 1
            i = self.n - self.left - 1
        if self.rate == 0:
            return time.monotonic()
        due = self.start + i / self.rate
        time.sleep(max(0, due - time.monotonic()))
        return due

    def work(self):
        while (began := self.next()) is not None:
            self.one(self.client)
            self.took.append(time.monotonic() - began)

    def run(self):
        threads = [threading.Thread(target=self.work) for _ in range(AT_ONCE)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if len(self.took) != self.n:
            sys.exit("oslo: a call failed")
        return self.took


def report(took, seconds):
    took.sort()

    def part(q):
        return round(took[min(int(q * len(took)), len(took) - 1)] * 1e6, 1) if took else 0
    say(json.dumps({"seconds": round(seconds, 6), "done": len(took), "p50": part(0.5), "p99": part(0.99),
                    "p999": part(0.999), "max": part(1)}))


def make_client(transport):
    return oslo_messaging.RPCClient(transport, oslo_messaging.Target(topic=TOPIC))


def measure(transport):
    client = make_client(transport)
    if int(PLAN["warm_up"]) > 0:
        Shared(client, int(PLAN["warm_up"])).run()
    say("begin")
    start = time.monotonic()
    took = Shared(client, int(PLAN["calls"])).run()
    if PLAN["kind"] == "cast":
        call(client)  # answered behind all casts
    report(took, time.monotonic() - start)


def idle(first):
    kept = [first if i == 0 else open_transport() for i in range(AT_ONCE)]
    for transport in kept:
        call(make_client(transport))
    report([], 0)


def main():
    transport = open_transport()
    if sys.argv[1] == "server":
        serve(transport)
    elif PLAN["kind"] == "idle":
        idle(transport)
    else:
        measure(transport)


main()
sys.stdout.flush()
os._exit(0)  # closing its connections takes seconds
