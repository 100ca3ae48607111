# SPDX-License-Identifier: Apache-2.0
"""Every pair of client and server, every kind of message."""
import contextlib
import time

from harness import EXECUTORS, CPeer, PythonPeer, same

CONTEXT = {"user": "hé", "roles": ["a", "b"], "nested": {"deep": [1, {"x": None}]}}
VALUES = {
    "an integer": 42,
    "a negative float": -2.5,
    "null": None,
    "text beyond ASCII": "hé 世 \U0001f600 \u2028 \"\\\n",
    "1 MiB": "x" * (1 << 20),
    "nested lists and objects": {"a": [[], {}, [1, [2, [3]]]], "é": {"": ""}},
    "NaN and the infinities": [float("nan"), float("inf"), float("-inf")],
    "2^63 and far beyond": [1 << 63, -(1 << 63), -(1 << 63) - 1, 10**40],
    "a NUL in a text": "a\0b",
}


def calls(t):
    for name, value in VALUES.items():
        with t.case(f"echoes {name}"):
            t.call("echo", {"x": value}).expect(value)
    with t.case("adds"):
        t.call("add", {"a": 1, "b": 2}).expect(3)
    with t.case("a method without a result answers null"):
        t.call("nothing").expect(None)
    with t.case("values that C has no type for come from a method"):
        t.call("odd").expect({"nan": float("nan"), "inf": float("-inf"), "big": 1 << 63})
    with t.case("the context arrives whole, with client_timeout"):
        t.call("context", context=CONTEXT).expect({**CONTEXT, "client_timeout": None})
    with t.case("a hundred calls in a row"):
        for i in range(100):
            t.call("add", {"a": i, "b": 1}).expect(i + 1)


def failures(t):
    with t.case("a failure keeps its class and text"):
        t.call("fail").expect_failure("ValueError", "nope hé", "REMOTE", "yes")
    with t.case("a failure of a class unknown here names it"):
        t.call("foreign").expect_failure("InstanceNotFound", "no instance uuid1", "REMOTE")
    with t.case("an expected failure is like any other to the caller"):
        t.call("expected").expect_failure("KeyError", "expected", "REMOTE")
    with t.case("an unknown method is NoSuchMethod"):
        t.call("nosuch").expect_failure("NoSuchMethod", "nosuch")
    with t.case("a private method is NoSuchMethod"):
        t.call("_private").expect_failure("NoSuchMethod", "_private")
    with t.case("a version that is too high is UnsupportedVersion"):
        t.call("hello", {"name": "n"}, namespace="ns", version="1.4").expect_failure("UnsupportedVersion", "1.4")
    with t.case("an unknown namespace is UnsupportedVersion"):
        t.call("hello", {"name": "n"}, namespace="other").expect_failure("UnsupportedVersion")
    with t.case("missing arguments are a TypeError"):
        t.call("echo").expect_failure("TypeError")
    with t.case("the server goes on after failures"):
        same(t.call("who").result in t.names, True)


def targets(t):
    with t.case("a namespace chooses the endpoint"):
        t.call("hello", {"name": "n"}, namespace="ns", version="1.0").expect("hello n")
    with t.case("a lower minor version is served"):
        t.call("hello", {"name": "n"}, namespace="ns", version="1.2").expect("hello n")
    with t.case("a major version chooses the endpoint"):
        t.call("hello", {"name": "n"}, namespace="ns", version="2.0").expect("hello2 n")
    for name in t.names:
        with t.case(f"a call to the server {name} reaches it and no other"):
            for _ in range(4):
                t.call("who", server=name).expect(name)
    with t.case("calls to the topic reach both servers"):
        reached = set()
        for _ in range(20):
            reached.add(t.call("who").result)
        same(sorted(reached), sorted(t.names))


def casts(t):
    with t.case("casts to a topic arrive, each once"):
        t.server.seen(0, 0)
        for i in range(10):
            t.cast("note", {"x": i}).expect(None)
        same(sorted(x for _, x in t.server.seen(10)), list(range(10)))
    with t.case("a cast to one server arrives there"):
        t.cast("note", {"x": "direct"}, server=t.names[1]).expect(None)
        same(t.server.seen(1), [[t.names[1], "direct"]])
    with t.case("a fanout cast arrives at every server, once"):
        t.cast("note", {"x": "all"}, fanout=True).expect(None)
        same(sorted(t.server.seen(2)), [[n, "all"] for n in sorted(t.names)])
    with t.case("a cast of a failing method harms nobody"):
        t.cast("fail").expect(None)
        t.call("add", {"a": 1, "b": 1}).expect(2)
    with t.case("no cast arrived twice"):
        same(t.server.seen(1, 0.2), [])


def waiting(t):
    with t.case("ping answers pong"):
        t.call("oslo_rpc_server_ping").expect("pong")
    with t.case("heartbeats keep a monitored call alive beyond its monitor timeout"):
        t.call("slow", {"seconds": 3.2}, monitor=2, timeout=20).expect("slept")
    with t.case("a call that takes too long ends at its timeout"):
        began = time.monotonic()
        t.call("slow", {"seconds": 2.5}, timeout=1.0).expect_failure("MessagingTimeout", code="TIMEOUT", sent="yes")
        if time.monotonic() - began > 2.0:
            raise AssertionError("it ended late")


class Pair:
    """One client and one server side, both of its servers on one topic."""

    def __init__(self, suite, label, client, server, topic):
        self.suite, self.label, self.client, self.server, self.topic = suite, label, client, server, topic
        self.names = ["one", "two"]

    def case(self, name):
        return self.suite.case(f"{self.label}: {name}")

    def call(self, method, args=None, **more):
        return self.client.call(self.topic, method, args, **more)

    def cast(self, method, args=None, **more):
        return self.client.cast(self.topic, method, args, **more)


def c_server(executor):
    return lambda: CPeer(executor=executor)


SERVERS = {"Python": PythonPeer, **{f"C ({x})": c_server(x) for x in EXECUTORS}}
CLIENTS = {"C": CPeer, "Python": PythonPeer}


def matrix(suite):
    for server_name, make_server in SERVERS.items():
        topic = "it-" + server_name.translate(str.maketrans("", "", " ()"))
        with contextlib.ExitStack() as stack:
            server = make_server()
            stack.callback(server.close)
            for name in ("one", "two"):
                server.serve(topic, name)
            for client_name, make_client in CLIENTS.items():
                client = make_client()
                stack.callback(client.close)
                t = Pair(suite, f"{client_name} client, {server_name} server", client, server, topic)
                for group in (calls, failures, targets, casts, waiting):
                    group(t)
