# SPDX-License-Identifier: Apache-2.0
"""What subject.c is, with oslo.messaging: a server, or a client with its load, which tells what happens in lines of JSON.

    oslo_subject.py server|client EXECUTOR URL TOPIC [GROUP.KEY=VALUE...] [server=NAME]

What oslo.messaging does not say, whether something was sent, is null.  Options of groups that it does not have are left out.
"""
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time

import oslo_messaging
from oslo_config import cfg

logging.disable(logging.CRITICAL)
NEVER = 1e6  # a cast has no deadline there
CODES = {"MessagingTimeout": "TIMEOUT", "MessageDeliveryFailure": "UNREACHABLE", "MessageUndeliverable": "UNDELIVERABLE",
         "CallTimeout": "TIMEOUT"}


def say(**event):
    os.write(1, json.dumps(event).encode() + b"\n")


def tell(event):
    say(ev=event, at=time.monotonic())


class Methods:
    def run_it(self, ctxt, seq, ms=0, ballast=None):
        say(ev="run", seq=seq, at=time.monotonic())
        if ms:
            threading.Event().wait(ms / 1000)
        return seq

    block = run_it


def serve(transport, topic, name):
    over = threading.Event()
    target = oslo_messaging.Target(topic=topic, server=name)
    server = oslo_messaging.get_rpc_server(transport, target, [Methods()], executor="threading")
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_unused: over.set())
    server.start()
    tell("ready")
    while not over.wait(0.2):
        pass
    server.stop()
    server.wait()
    tell("stopped")


class Client:
    def __init__(self, transport, topic):
        self.transport, self.topic = transport, topic
        self.over = threading.Event()
        self.threads = []
        self.workers = []

    def one(self, order, kind, seq):
        timeout = order.get("timeout", 2)
        target = oslo_messaging.Target(topic=self.topic, fanout=True if kind == "fanout" else None)
        client = oslo_messaging.get_rpc_client(self.transport, target, timeout=timeout)
        args = {"seq": seq, "ms": order.get("ms", 0)}
        if order.get("bytes"):
            args["ballast"] = "x" * order["bytes"]
        at = time.monotonic()
        say(ev="begin", seq=seq, op=kind, at=at, by=at + (timeout if kind == "call" else NEVER))
        code, text, ret = "OK", "", None
        try:
            ret = (client.call if kind == "call" else client.cast)({}, order.get("method", "run_it"), **args)
        except Exception as e:  # noqa: B902: any class may come
            code, text = CODES.get(type(e).__name__, type(e).__name__), str(e)
        say(ev="end", seq=seq, at=time.monotonic(), code=code, sent=None, text=text, where="", ret=ret)

    def start(self, order):
        t = threading.Thread(target=self.one, args=(order, order["do"], order["seq"]))
        t.start()
        self.threads.append(t)

    def work(self, order, i):
        dice = random.Random(order.get("seed", 1) + i)
        seq = order["seq"] + i
        while not self.over.is_set():
            self.one(order, "cast" if dice.random() < order.get("casts", 0) else "call", seq)
            seq += order.get("workers", 8)
            self.over.wait(order.get("pause", 5) / 1000)

    def load(self, order):
        self.over.clear()
        self.workers = [threading.Thread(target=self.work, args=(order, i)) for i in range(order.get("workers", 8))]
        for t in self.workers:
            t.start()

    def rest(self):
        self.over.set()
        for t in self.workers + self.threads:
            t.join()
        self.workers, self.threads = [], []
        tell("resting")

    def obey(self):
        tell("ready")
        for line in sys.stdin:
            order = json.loads(line)
            if order["do"] == "load":
                self.load(order)
            elif order["do"] == "rest":
                self.rest()
            else:
                self.start(order)
        if self.workers:
            self.rest()
        tell("stopped")


def configuration(settings):
    """From a file, as a service has it: oslo.config leaves out what it does not know."""
    groups = {}
    for setting in settings:
        key, value = setting.split("=", 1)
        group, _, key = key.rpartition(".")
        groups.setdefault(group, []).append(f"{key} = {value}\n")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
        for group, lines in groups.items():
            f.write(f"[{group}]\n" + "".join(lines))
        f.flush()
        cfg.CONF([], default_config_files=[f.name])  # the library looks for its metrics' options in this one
    return cfg.CONF


def main():
    kind, _executor, url, topic = sys.argv[1:5]
    names = [s[len("server="):] for s in sys.argv[5:] if s.startswith("server=")]
    oslo_messaging.set_transport_defaults("openstack")
    transport = oslo_messaging.get_rpc_transport(configuration(s for s in sys.argv[5:] if "." in s.split("=")[0]), url)
    if kind == "server":
        serve(transport, topic, (names or ["one"])[0])
    else:
        Client(transport, topic).obey()


if __name__ == "__main__":
    main()
    # The driver's threads may never end: leave without joining them.
    sys.stdout.flush()
    os._exit(0)
