# SPDX-License-Identifier: Apache-2.0
"""Connections outlive idleness, methods that block and callers that are busy: heartbeats go out meanwhile."""
import json
import re
import signal
import threading

from harness import EXECUTORS, CPeer, same, table, until


def listed():
    """The broker's connections, by the process that made them: a new connection has a new pid there."""
    found = {}
    for row in table("list_connections", "pid", "client_properties"):
        maker = re.search(r"peer:(\d+):", json.dumps(row["client_properties"]))
        if maker:
            found.setdefault(int(maker[1]), set()).add(row["pid"])
    return found


class Pair:
    """A server and its client, in a process each, and what goes on with them meanwhile."""

    def __init__(self, name, executor, conf, meanwhile):
        self.name, self.topic = name, f"it-hb-{name.replace(' ', '-')}"
        self.server, self.client = CPeer(conf=conf, executor=executor), CPeer(conf=conf)
        self.server.serve(self.topic, "one")
        self.works()
        self.failures = []
        self.thread = threading.Thread(target=self.run, args=(meanwhile,))

    def run(self, meanwhile):
        try:
            meanwhile(self)
        except Exception as e:  # noqa: B902: shown by the case
            self.failures.append(str(e))

    def works(self, timeout=5.0):
        """At once, that is: without first being connected anew, though the machine may be busy."""
        self.client.call(self.topic, "who", timeout=timeout).expect("one")

    def connections(self, where):
        return [where.get(p.process.pid, set()) for p in (self.server, self.client)]

    def ended(self):
        self.thread.join()
        same(self.failures, [], "what went wrong meanwhile")

    def close(self):
        self.client.close()
        self.server.close()


def idle(seconds):
    return lambda _pair: threading.Event().wait(seconds)


def inside_a_method(seconds, method="slow", result="slept"):
    return lambda pair: pair.client.call(pair.topic, method, {"seconds": seconds}, timeout=2 * seconds).expect(result)


def busy(seconds):
    return lambda pair: CPeer.ok(pair.client.ask({"do": "spin", "seconds": seconds}, 3 * seconds))


def stopped(limit):
    """What the others are measured by: without heartbeats the broker closes the connections in that time."""

    def run(pair):
        server = pair.server.process
        server.send_signal(signal.SIGSTOP)
        try:
            until(lambda: server.pid not in listed(), limit, 0.5)
        finally:
            server.send_signal(signal.SIGCONT)
        until(lambda: pair.client.call(pair.topic, "who", timeout=2).result == "one", 20)

    return run


def run(suite, beat, seconds, conf):
    """All at once: each takes its time, but none the machine's."""
    long = 3 * beat
    pairs = []
    with suite.case("heartbeat: servers and clients start"):
        for executor in EXECUTORS:
            pairs += [
                Pair(f"{executor} server idle for {seconds} s", executor, conf, idle(seconds)),
                Pair(f"{executor} server inside a method for {long} s", executor, conf, inside_a_method(long))]
        pairs += [
            Pair(f"green server inside a method that parks for {long} s", "green", conf, inside_a_method(long, "doze")),
            Pair(f"green server inside a method that spins for {long} s", "green", conf,
                 inside_a_method(long, "spin", "spun")),
            Pair(f"green server inside a method that never has to wait for {long} s", "green", conf,
                 inside_a_method(long, "chatter", "chattered"))]
        pairs.append(Pair(f"client busy in its own code for {long} s", "threading", conf, busy(long)))
        other = Pair("stopped server", "threading", conf, stopped(4 * beat + 10))
    before = listed()
    for pair in [*pairs, other]:
        pair.thread.start()
    with suite.case("heartbeat: all that takes its time ends", seconds + 4 * beat + 40):
        for pair in [*pairs, other]:
            pair.ended()
    during = listed()
    for pair in pairs:
        with suite.case(f"heartbeat: a {pair.name} keeps its connections, as its partner does"):
            same([len(c) for c in pair.connections(before)], [2, 2], "connections in the beginning")
            same([sorted(c) for c in pair.connections(during)], [sorted(c) for c in pair.connections(before)])
            pair.works()
    with suite.case("heartbeat: a server that was stopped lost its connections, and has new ones"):
        same(len(other.connections(during)[0]), 2, "connections")
        same(sorted(other.connections(during)[0] & other.connections(before)[0]), [], "old connections")
    after = listed()
    with suite.case("heartbeat: the calls afterwards went over the same connections"):
        for pair in pairs:
            same([sorted(c) for c in pair.connections(after)], [sorted(c) for c in pair.connections(before)])
            pair.close()
        other.close()


def heartbeat(suite):
    run(suite, 2, 6, [("oslo_messaging_rabbit", "heartbeat_timeout_threshold", "2")])


def long_idle(suite):
    """With the default of 60 s: five minutes."""
    run(suite, 60, 300, ())
