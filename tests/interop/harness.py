# SPDX-License-Identifier: Apache-2.0
"""What the interop tests share: cases with deadlines, the C peer, the Python peer, the broker."""
import contextlib
import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher

logging.disable(logging.CRITICAL)

URL = os.environ["FJ_TEST_URL"]
RABBIT = os.environ["FJ_TEST_RABBIT"]
BUILD = os.environ.get("BUILD", "build")
PEER = os.path.join(BUILD, "interop", "peer")
FJORD = os.path.join(BUILD, "bin", "fjord")
CASE_LIMIT = 40  # seconds a case
EXECUTORS = ("blocking", "threading", "green", "coroutine", "bridged")


class Late(Exception):
    pass


class Suite:
    def __init__(self):
        self.passed = self.failed = 0

    @contextlib.contextmanager
    def case(self, name, limit=CASE_LIMIT):
        """One case: `ok - name` when the block ends by itself within `limit` seconds."""

        def late(_sig, _frame):
            raise Late(f"not done within {limit} s")

        previous = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            yield
        except Exception as e:  # noqa: B902: every failure is a case's
            self.failed += 1
            print(f"not ok - {name}\n    {type(e).__name__}: {str(e)[:600]}", flush=True)
        else:
            self.passed += 1
            print(f"ok - {name}", flush=True)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def same(got, want, what="value"):
    """NaN equals NaN here, and 1 is not 1.0, nor True."""
    a, b = json.dumps(got, sort_keys=True), json.dumps(want, sort_keys=True)
    if a != b:
        raise AssertionError(f"{what}: got {a[:300]}, want {b[:300]}")


def within(seconds, began, slack=0.5):
    took = time.monotonic() - began
    if took > seconds + slack:
        raise AssertionError(f"took {took:.2f} s, not {seconds} s")


def until(condition, limit=10.0, pause=0.05):
    """The first true answer of `condition`, asked until `limit`."""
    end = time.monotonic() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Late(f"the condition did not come true in {limit} s")
        threading.Event().wait(pause)


def ctl(*args):
    return subprocess.run([os.path.join(RABBIT, "ctl"), "-q", *args], check=True, capture_output=True, text=True,
                          timeout=60).stdout


def table(*args):
    """A rabbitmqctl list command as a list of dicts."""
    return json.loads(ctl(*args, "--formatter", "json"))


def url(vhost=None, password=None, port=None):
    """The broker's URL with some parts changed."""
    u = urllib.parse.urlsplit(URL)
    netloc = f"{u.username}:{password or u.password}@{u.hostname}:{port or u.port}"
    return f"{u.scheme}://{netloc}/{vhost if vhost is not None else u.path.lstrip('/')}"


def broker_address():
    u = urllib.parse.urlsplit(URL)
    return u.hostname, u.port, u.username, u.password


class Outcome:
    """What a call ended in, alike for both languages."""

    def __init__(self, result=None, cls=None, text="", code=None, sent=None, where=""):
        self.result, self.cls, self.text, self.code, self.sent, self.where = result, cls, text, code, sent, where

    def __repr__(self):
        return f"<{self.cls or 'ok'} {self.code or ''} {str(self.text or self.result)[:200]}>"

    def expect(self, result):
        if self.cls is not None:
            raise AssertionError(f"failed: {self!r}")
        same(self.result, result, "result")

    def expect_failure(self, cls, text=None, code=None, sent=None):
        if self.cls != cls:
            raise AssertionError(f"wanted {cls}, got {self!r}")
        if text is not None and text not in self.text:
            raise AssertionError(f"wanted the text {text!r}, got {self.text[:300]!r}")
        if code is not None and self.code not in (None, code):
            raise AssertionError(f"wanted the code {code}, got {self.code}")
        if sent is not None and self.sent not in (None, sent):
            raise AssertionError(f"wanted sent={sent}, got {self.sent}")


class CPeer:
    """The C side: build/tests/peer, one command at a time (each side locks: a thread may wait in a call)."""

    language = "C"

    def __init__(self, at=None, conf=(), executor=None, group=None):
        """`group`: 0 for a process group of its own; None: the tests'."""
        self.executor = executor
        self.buffer = b""
        self.process = subprocess.Popen([PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=group)
        conf = [["DEFAULT", "rpc_ping_enabled", "true"]] + [list(c) for c in conf]
        self.ok(self.ask({"do": "open", "url": at or URL, "conf": conf}))

    def ask(self, command, limit=30.0):
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        end = time.monotonic() + limit
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Late(f"the C peer did not answer {command['do']} within {limit} s")
            more = os.read(self.process.stdout.fileno(), 1 << 20)
            if not more:
                raise AssertionError(f"the C peer died in {command['do']}: {self.process.wait(5)}")
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    @staticmethod
    def ok(answer):
        if not answer["ok"]:
            raise AssertionError(f"{answer['code']}: {answer['text']} ({answer.get('where')})")
        return answer["result"]

    @staticmethod
    def outcome(answer):
        if answer["ok"]:
            return Outcome(result=answer["result"])
        return Outcome(cls=answer["class"], text=answer["text"], code=answer["code"], sent=answer["sent"],
                       where=answer["where"])

    def serve(self, topic, server, **more):
        self.ok(self.ask({"do": "serve", "topic": topic, "server": server, "executor": self.executor, **more}))

    def stop(self, server):
        self.ok(self.ask({"do": "stop", "server": server}))

    def call(self, topic, method, args=None, timeout=15.0, **more):
        return self.outcome(self.ask({"do": "call", "topic": topic, "method": method, "args": args or {},
                                      "timeout": timeout, **more}, timeout + 5))

    def cast(self, topic, method, args=None, timeout=15.0, **more):
        return self.outcome(self.ask({"do": "cast", "topic": topic, "method": method, "args": args or {},
                                      "timeout": timeout, **more}, timeout + 5))

    def seen(self, count, timeout=10.0):
        return self.ok(self.ask({"do": "seen", "count": count, "timeout": timeout}, timeout + 5))

    def close(self):
        """A clean end: everything stopped, exit status 0."""
        self.ok(self.ask({"do": "close"}))
        self.process.stdin.close()
        status = self.process.wait(10)
        self.process.stdout.close()
        if status != 0:
            raise AssertionError(f"the C peer ended with status {status}")

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


class InstanceNotFound(Exception):
    __module__ = "nova.exception"


class Plain:
    """The Python side's methods: peer.c has the same."""

    def __init__(self, peer, name):
        self.peer, self.name = peer, name

    def echo(self, ctxt, x):
        return x

    def add(self, ctxt, a, b):
        return a + b

    def nothing(self, ctxt):
        return None

    def fail(self, ctxt):
        raise ValueError("nope hé")

    def foreign(self, ctxt):
        raise InstanceNotFound("no instance uuid1")

    @oslo_messaging.expected_exceptions(KeyError)
    def expected(self, ctxt):
        raise KeyError("expected")

    def context(self, ctxt):
        return dict(ctxt)

    def slow(self, ctxt, seconds):
        threading.Event().wait(seconds)
        return "slept"

    def odd(self, ctxt):
        return {"nan": float("nan"), "inf": float("-inf"), "big": 1 << 63}

    def note(self, ctxt, x):
        self.peer.remember([self.name, x])

    def who(self, ctxt):
        return self.name

    def _private(self, ctxt):
        return self.name


class Ns1:
    target = oslo_messaging.Target(namespace="ns", version="1.3")

    def hello(self, ctxt, name):
        return f"hello {name}"


class Ns2:
    target = oslo_messaging.Target(namespace="ns", version="2.0")

    def hello(self, ctxt, name):
        return f"hello2 {name}"


class PythonPeer:
    """The Python side, in this process, under the threading executor."""

    language = "Python"

    def __init__(self, at=None, conf=(), executor=None):
        oslo_messaging.set_transport_defaults("openstack")
        self.conf = cfg.CONF  # ping is asked of this one, whatever the transport's is
        self.transport = oslo_messaging.get_rpc_transport(self.conf, at or URL)
        self.conf.register_opts(dispatcher._dispatcher_opts)
        self.conf.set_override("rpc_ping_enabled", True)
        self.servers = {}
        self.items, self.more = [], threading.Condition()

    def remember(self, item):
        with self.more:
            self.items.append(item)
            self.more.notify_all()

    def serve(self, topic, server, **more):
        target = oslo_messaging.Target(topic=topic, server=server, **more)
        s = oslo_messaging.get_rpc_server(self.transport, target, [Plain(self, server), Ns1(), Ns2()],
                                          executor="threading",
                                          access_policy=oslo_messaging.DefaultRPCAccessPolicy)
        s.start()
        self.servers[server] = s

    def stop(self, server):
        s = self.servers.pop(server)
        s.stop()
        s.wait()

    def client(self, topic, timeout, more):
        target = {k: more[k] for k in ("exchange", "namespace", "version", "server", "fanout") if k in more}
        return oslo_messaging.get_rpc_client(
            self.transport, oslo_messaging.Target(topic=topic, **target), timeout=timeout,
            call_monitor_timeout=more.get("monitor"))

    @staticmethod
    def run(send, context, method, args):
        try:
            return Outcome(result=send(context or {}, method, **(args or {})))
        except oslo_messaging.RemoteError as e:
            return Outcome(cls=e.exc_type, text=str(e.value))
        except Exception as e:  # noqa: B902: any class may come
            return Outcome(cls=type(e).__name__.replace("_Remote", ""), text=str(e))

    def call(self, topic, method, args=None, timeout=15.0, context=None, **more):
        return self.run(self.client(topic, timeout, more).call, context, method, args)

    def cast(self, topic, method, args=None, timeout=15.0, context=None, **more):
        return self.run(self.client(topic, timeout, more).cast, context, method, args)

    def seen(self, count, timeout=10.0):
        with self.more:
            self.more.wait_for(lambda: len(self.items) >= count, timeout)
            items, self.items = self.items, []
        return items

    def close(self):
        for name in list(self.servers):
            self.stop(name)
        self.transport.cleanup()


def normal(name):
    """A name with its random ids made alike."""
    return re.sub(r"[0-9a-f]{32}", "<hex>", name)


def main_exit(suite):
    print(f"{suite.passed} passed, {suite.failed} failed", flush=True)
    sys.stdout.flush()
    # Python's driver may leave threads that never end: leave without joining them.
    os._exit(1 if suite.failed else 0)
