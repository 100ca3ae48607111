# SPDX-License-Identifier: Apache-2.0
"""fjord bench, with an end of oslo.messaging's on the other side: what is asked of the simulator's peers, and the results."""
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import uuid

import oslo_messaging
from harness import EXECUTORS, FJORD, URL, ctl, same, table, until
from oslo_config import cfg

LETTERS = re.compile("[a-z]{200,16000}")
POINT = {"seq", "timestamp", "count", "size"}
LATENCY = {"latency", "min_latency", "max_latency"}
SUMMARY = {"count", "size", "duration", "count_p_s", "size_p_s"}
PERCENTILES = {"p50", "p99", "p99.9"}
HISTOGRAM_ERROR = 1 / 64  # of a percentile


def name(what):
    return f"it-bench-{what}-{uuid.uuid4().hex[:8]}"


# ---- the C side -----------------------------------------------------------------------------------------

class Bench:
    """A `fjord bench` with its results; a server is ready when this returns."""

    def __init__(self, mode, *options):
        self.folder = tempfile.TemporaryDirectory()
        self.file = os.path.join(self.folder.name, "results.json")
        self.server = mode.endswith("server")
        self.errors = ""
        self.process = subprocess.Popen(
            [FJORD, "bench", mode, "-j", self.file, *(str(o) for o in options)], text=True,
            env={**os.environ, "FJORD_URL": URL}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.server:
            line = self.process.stderr.readline()
            if "ready" not in line:
                raise AssertionError(f"not ready: {line}{self.process.stderr.read()}")

    def end(self, status=0):
        """What it wrote, when it has ended by itself."""
        self.out, self.errors = self.process.communicate(timeout=30)
        if self.process.returncode != status:
            raise AssertionError(f"exit status {self.process.returncode}, not {status}: {self.errors[:400]}")
        with open(self.file, encoding="ascii") as f:
            results = json.load(f)
        check_results(results, self.server)
        return results

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.folder.cleanup()


def client(mode, *options, status=0):
    with contextlib.closing(Bench(mode, *options)) as c:
        results = c.end(status)
        results["out"], results["errors"] = c.out, c.errors
        return results


# ---- what results must be -------------------------------------------------------------------------------

def near(got, want, share, what):
    if abs(got - want) > abs(want) * share + 1e-6:
        raise AssertionError(f"{what}: {got}, not {want}")


def check_summary(s, points):
    """The summary is that of its points, and its figures fit each other."""
    for key in ("count", "size"):
        same(s[key], sum(p[key] for p in points), key)
    timed = "latency" in s
    keys = SUMMARY | ({"start", "end"} if s["count"] else set()) | (LATENCY | PERCENTILES if timed else set())
    same(sorted(s), sorted(keys), "keys")
    if s["count"]:
        near(s["end"] - s["start"], s["duration"], 1e-3, "duration")
    if s["duration"] > 0:
        near(s["count_p_s"], s["count"] / s["duration"], 1e-6, "count_p_s")
        near(s["size_p_s"], s["size"] / s["duration"], 1e-6, "size_p_s")
    if timed:
        of = [p for p in points if "latency" in p]
        near(s["latency"], sum(p["latency"] * p["count"] for p in of) / s["count"], 1e-6, "latency")
        near(s["min_latency"], min(p["min_latency"] for p in of), 1e-9, "min_latency")
        near(s["max_latency"], max(p["max_latency"] for p in of), 1e-9, "max_latency")
        order = [s["min_latency"], s["p50"], s["p99"], s["p99.9"], s["max_latency"]]
        same(order, sorted(order), "the order of percentiles")
        if s["count"] < 1000:  # then it is the longest of all
            near(s["p99.9"], s["max_latency"], HISTOGRAM_ERROR, "p99.9")


def check_points(points):
    same([p["seq"] for p in points], list(range(len(points))), "seq")
    same([p["timestamp"] for p in points], sorted(p["timestamp"] for p in points), "timestamps")
    for p in points:
        same(set(p) in (POINT, POINT | LATENCY), True, f"the keys of {p}")


def check_results(results, server):
    same(sorted(results), ["series", "summary"])
    for points in results["series"].values():
        check_points(points)
    if server:
        same(list(results["series"]), ["server"])
        return check_summary(results["summary"], results["series"]["server"])
    labels = {re.sub("_[0-9]+$", "", key) for key in results["series"]}
    same(sorted(labels), sorted(results["summary"]))
    for label, s in results["summary"].items():
        check_summary(s, [p for key, points in results["series"].items()
                          if re.fullmatch(f"{label}_[0-9]+", key) for p in points])


def counts(results):
    return {label: s["count"] for label, s in results["summary"].items()}


# ---- the Python side: the simulator's part, for tests ----------------------------------------------------------

class Endpoint:
    def __init__(self):
        self.messages, self.synced, self.fail = [], [], False

    def info(self, ctxt, message):
        if self.fail:
            raise ValueError("it is told to fail")
        self.messages.append(message)
        return [*message[:3], time.time(), message[4]]

    def sync_start(self, ctxt, message):
        self.synced.append(("start", message["id"]))

    def sync_done(self, ctxt, message):
        self.synced.append(("done", message["id"]))


class Server:
    """An RPC server of Python."""

    def __init__(self, topic, server):
        self.transport = oslo_messaging.get_rpc_transport(cfg.CONF, URL)
        self.endpoint = Endpoint()
        self.server = oslo_messaging.get_rpc_server(
            self.transport, oslo_messaging.Target(topic=topic, server=server), [self.endpoint], executor="threading")
        self.server.start()

    def close(self):
        self.server.stop()
        self.server.wait()
        self.transport.cleanup()


class Listener:
    """A listener of Python, for notifications one by one or in batches."""

    def __init__(self, topic, batch=None):
        got, all_ = [], threading.Condition()
        self.got, self.sizes, self.transport = got, [], oslo_messaging.get_notification_transport(cfg.CONF, URL)
        sizes = self.sizes

        class Single:
            def info(self, ctxt, publisher_id, event_type, payload, metadata):
                with all_:
                    got.append((ctxt, publisher_id, event_type, payload))

        class Batch:
            def info(self, messages):
                with all_:
                    sizes.append(len(messages))
                    got.extend((m["ctxt"], m["publisher_id"], m["event_type"], m["payload"]) for m in messages)

        targets = [oslo_messaging.Target(topic=topic)]
        if batch:
            self.listener = oslo_messaging.get_batch_notification_listener(
                self.transport, targets, [Batch()], executor="threading", batch_size=batch, batch_timeout=1)
        else:
            self.listener = oslo_messaging.get_notification_listener(self.transport, targets, [Single()],
                                                                     executor="threading")
        self.listener.start()

    def close(self):
        self.listener.stop()
        self.listener.wait()
        self.transport.cleanup()


@contextlib.contextmanager
def caller(topic, server=None, timeout=15, **more):
    transport = oslo_messaging.get_rpc_transport(cfg.CONF, URL)
    try:
        yield oslo_messaging.get_rpc_client(
            transport, oslo_messaging.Target(topic=topic, server=server, **more), timeout=timeout)
    finally:
        transport.cleanup()


def message(seq, cargo="x" * 100):
    return [seq, cargo, time.time(), 0, 0]


def check_message(m, seq=None):
    """The contract's five elements."""
    same(len(m), 5)
    if not LETTERS.fullmatch(m[1]) or not isinstance(m[2], float) or abs(time.time() - m[2]) > 60:
        raise AssertionError(f"no such message: {str(m)[:200]}")
    same(m[3:], [0, 0])
    if seq is not None:
        same(m[0], seq)


# ---- RPC ------------------------------------------------------------------------------------------------

def c_server(suite):
    for executor in EXECUTORS:
        with suite.case(f"bench: rpc-server under {executor} answers Python as the simulator does"):
            topic = name("cs")
            with contextlib.closing(Bench("rpc-server", "--topic", topic, "-s", "one", "-e", executor)) as c, \
                    caller(topic, "one") as python:
                began = time.time()
                for seq in range(20):
                    m = message(seq, "hé" + "y" * seq)
                    reply = python.call({}, "info", message=m)
                    same([*reply[:3], reply[4]], [*m[:3], 0])
                    same(isinstance(reply[3], float) and began <= reply[3] <= time.time(), True, "the server's time")
                for seq in range(20):
                    python.cast({}, "info", message=message(seq))
                python.call({}, "info", message=message(40))  # not before the casts under one thread
                until(lambda: table("list_queues", "name", "messages") and all(
                    q["messages"] == 0 for q in table("list_queues", "name", "messages") if q["name"].startswith(topic)))
                results = c.stop()
            same(results["summary"]["count"], 41)
            same(results["summary"]["size"], sum(2 + n for n in range(20)) + 21 * 100)
    with suite.case("bench: rpc-server refuses what is no message, and goes on"):
        topic = name("odd")
        with contextlib.closing(Bench("rpc-server", "--topic", topic)) as c, caller(topic, "profiler_server") as python:
            for odd in (None, [], [1, 2, 3, 4, 5], {"id": "x"}):
                try:
                    python.call({}, "info", message=odd)
                except TypeError:  # what Python says of arguments that do not fit
                    continue
                raise AssertionError(f"{odd} was answered")
            python.call({}, "info", message=message(0))
            same(c.stop()["summary"]["count"], 1)


def c_client(suite):
    with suite.case("bench: rpc-client calls Python as the simulator does"):
        topic = name("cc")
        with contextlib.closing(Server(topic, "one")) as python:
            results = client("rpc-client", "--targets", f"{topic}.one", "-p", 3, "-m", 50)
            same(counts(results), {"client": 150, "error": 0, "round_trip": 150})
            same(len(python.endpoint.messages), 150)
            for m in python.endpoint.messages:
                check_message(m)
            same(sorted(m[0] for m in python.endpoint.messages), sorted(list(range(50)) * 3))
            same(results["summary"]["client"]["size"], sum(len(m[1]) for m in python.endpoint.messages))
            same("latency" in results["summary"]["client"], False)
    with suite.case("bench: rpc-client casts to Python, and counts until the broker has it"):
        topic = name("cast")
        with contextlib.closing(Server(topic, "one")) as python:
            results = client("rpc-client", "--targets", f"{topic}.one", "-m", 50, "--is-cast")
            same(counts(results), {"client": 50, "error": 0})
            same("p99.9" in results["summary"]["client"], True)
            until(lambda: len(python.endpoint.messages) == 50)
    with suite.case("bench: rpc-client sends to its targets in turn"):
        a, b = name("a"), name("b")
        with contextlib.closing(Server(a, "host1.example.org")) as one, contextlib.closing(Server(b, "two")) as two:
            client("rpc-client", "--targets", f"{a}.host1.example.org", b, "-p", 4, "-m", 10)
            same([len(s.endpoint.messages) for s in (one, two)], [20, 20])
    with suite.case("bench: failures are counted, the first is told, and the exit status is theirs"):
        topic = name("fail")
        with contextlib.closing(Server(topic, "one")) as python:
            python.endpoint.fail = True
            results = client("rpc-client", "--targets", f"{topic}.one", "-p", 2, "-m", 5, status=1)
            same(counts(results), {"client": 10, "error": 10, "round_trip": 0})
            same("10 of 10 messages failed" in results["errors"] and "it is told to fail" in results["errors"], True,
                 results["errors"])
    with suite.case("bench: without a server each message takes --timeout, and that is status 3"):
        results = client("rpc-client", "--targets", name("nobody"), "-m", 2, "--timeout", 0.5, status=3)
        same(counts(results), {"client": 2, "error": 2, "round_trip": 0})


def fanout(suite):
    with suite.case("bench: --is-fanout reaches servers of both languages"):
        topic = name("fanout")
        with contextlib.closing(Server(topic, "python")) as python, \
                contextlib.closing(Bench("rpc-server", "--topic", topic, "--server", "c")) as c:
            results = client("rpc-client", "--targets", f"{topic}.python", "-p", 2, "-m", 25, "--is-cast", "--is-fanout")
            same(counts(results), {"client": 50, "error": 0})
            until(lambda: len(python.endpoint.messages) == 50)
            until(lambda: all(q["messages"] == 0 for q in table("list_queues", "name", "messages")
                              if q["name"].startswith(topic)))
            same(c.stop()["summary"]["count"], 50)


def sync(suite):
    for how in ("call", "fanout"):
        with suite.case(f"bench: --sync {how} tells Python's server who begins and who is done"):
            topic = name("sync")
            with contextlib.closing(Server(topic, "one")) as python:
                client("rpc-client", "--targets", f"{topic}.one", "-p", 3, "-m", 4, "--sync", how)
                synced = python.endpoint.synced
                until(lambda: len(synced) == 6)
                starts, ends = ({i for what, i in synced if what == which} for which in ("start", "done"))
                same([len(starts), sorted(starts)], [3, sorted(ends)])
        with suite.case(f"bench: --sync {how} ends C's server when its clients are done"):
            topic = name("sync-c")
            with contextlib.closing(Bench("rpc-server", "--topic", topic, "-s", "one")) as c:
                client("rpc-client", "--targets", f"{topic}.one", "-p", 3, "-m", 20, "--sync", how)
                same(c.end()["summary"]["count"], 60)
    with suite.case("bench: rpc-server goes on until the last of Python's clients is done"):
        topic = name("sync-p")
        with contextlib.closing(Bench("rpc-server", "--topic", topic, "-s", "one")) as c, caller(topic, "one") as python:
            for who in ("a", "b"):
                same(python.call({}, "sync_start", message={"id": who}), None)
            python.call({}, "info", message=message(0))
            same(python.call({}, "sync_done", message={"id": "a"}), None)
            threading.Event().wait(2.5)  # if it took one for all it would end meanwhile
            python.call({}, "info", message=message(1))
            python.prepare(fanout=True).cast({}, "sync_done", message={"id": "b"})
            same(c.end()["summary"]["count"], 2)


def times(suite):
    with suite.case("bench: -l ends client and server, -w lets messages take their time"):
        topic = name("times")
        with contextlib.closing(Bench("rpc-server", "--topic", topic, "-l", 8, "-w", 0.1, "-e", "threading")) as c:
            results = client("rpc-client", "--targets", f"{topic}.profiler_server", "-l", 1.5, "-w", 0.05)
            s = results["summary"]["round_trip"]
            same(s["min_latency"] >= 0.1 and 1 <= s["count"] <= 10, True, f"{s}")
            same(c.end()["summary"]["count"], s["count"])
    with suite.case("bench: SIGINT ends a client, whose results are told nevertheless"):
        topic = name("int")
        with contextlib.closing(Server(topic, "one")) as python, \
                contextlib.closing(Bench("rpc-client", "--targets", f"{topic}.one", "-p", 2, "-m", 10 ** 9)) as c:
            until(lambda: len(python.endpoint.messages) > 20)
            c.process.send_signal(signal.SIGINT)
            results = c.end()
            same(results["summary"]["round_trip"]["count"], len(python.endpoint.messages))
    with suite.case("bench: plain lines in a pipe"):
        topic = name("lines")
        with contextlib.closing(Server(topic, "one")):
            out = client("rpc-client", "--targets", f"{topic}.one", "-l", 2.2)["out"]
            seconds = re.findall(r"^round_trip: [12] s, \d+ messages, \d+ bytes, mean .*", out, re.MULTILINE)
            same(len(seconds) >= 1 and "\r" not in out and "\x1b" not in out, True, out)
            same(re.search(r"^round_trip: \d+ messages in .* a second, .*p50 .*p99 .*p99.9 .*", out, re.MULTILINE) is not None,
                 True, out)


    with suite.case("bench: a line that is written over, and a histogram, on a terminal"):
        topic = name("terminal")
        ours, its = os.openpty()
        with contextlib.closing(Server(topic, "one")):
            done = subprocess.Popen([FJORD, "bench", "rpc-client", "--targets", f"{topic}.one", "-l", "2.2"], stdout=its,
                                    env={**os.environ, "FJORD_URL": URL})
            os.close(its)
            out = b""
            with contextlib.suppress(OSError):  # EIO is a terminal's end
                while more := os.read(ours, 65536):
                    out += more
            os.close(ours)
            same(done.wait(20), 0)
        text = out.decode()
        same(re.search(r"\r\x1b\[Kround_trip: [12] s, \d+ messages", text) is not None, True, text)
        rows = re.findall(r"^ +[0-9.]+ [num]?s - [0-9.]+ [num]?s +#* +(\d+) +[0-9.]+ %\r$", text, re.MULTILINE)
        total = re.search(r"^.*round_trip: (\d+) messages in", text, re.MULTILINE)
        same([sum(int(n) for n in rows), len(rows) > 0], [int(total.group(1)), True], text)


# ---- notifications ---------------------------------------------------------------------------------------

def notifications(suite):
    with suite.case("bench: notify-client tells Python what the simulator tells"):
        topic = name("nc")
        with contextlib.closing(Listener(topic)) as python:
            results = client("notify-client", "--topic", topic, "-p", 2, "-m", 30)
            same(counts(results), {"client": 60, "error": 0})
            until(lambda: len(python.got) == 60)
            same(sorted({(publisher, event) for _, publisher, event, _ in python.got}),
                 [("publisher-0", "compute.start"), ("publisher-1", "compute.start")])
            for _, _, _, payload in python.got:
                check_message(payload)
    with suite.case("bench: Python takes batches of notify-client"):
        topic = name("nb")
        with contextlib.closing(Listener(topic, batch=10)) as python:
            client("notify-client", "--topic", topic, "-m", 30)
            until(lambda: len(python.got) == 30)
            same(sorted(payload[0] for _, _, _, payload in python.got), list(range(30)))

    def send(topic, count):
        transport = oslo_messaging.get_notification_transport(cfg.CONF, URL)
        for publisher in ("publisher-0", "publisher-1"):
            notifier = oslo_messaging.Notifier(transport, publisher, driver="messaging", topics=[topic])
            for seq in range(count):
                notifier.info({}, "compute.start", message(seq))
        transport.cleanup()

    def empty(topic):
        """The broker has none that waits or is in hand."""
        until(lambda: [q["messages"] for q in table("list_queues", "name", "messages") if q["name"] == f"{topic}.info"] == [0], 25)

    for executor in EXECUTORS:
        with suite.case(f"bench: notify-server under {executor} takes what Python's client sends"):
            topic = name("ns")
            with contextlib.closing(Bench("notify-server", "--topic", topic, "-e", executor)) as c:
                send(topic, 20)
                empty(topic)
                results = c.stop()
            same([results["summary"]["count"], results["summary"]["size"]], [40, 4000])
    with suite.case("bench: notify-server --requeue sees each twice"):
        topic = name("again")
        with contextlib.closing(Bench("notify-server", "--topic", topic, "--requeue")) as c:
            send(topic, 20)
            empty(topic)
            same(c.stop()["summary"]["count"], 80)
    for words, times_, what in (((), 1, "takes batches of Python"), (("--requeue",), 2, "--requeue sees each twice")):
        with suite.case(f"bench: batch-notify-server {what}"):
            topic = name("batch")
            with contextlib.closing(Bench("batch-notify-server", "--topic", topic, *words)) as c:
                send(topic, 20)
                empty(topic)
                results = c.stop()
            same(results["summary"]["count"], 40 * times_)
            # a batch is given out five seconds after its first message
            same(results["summary"]["max_latency"] >= 4.5, True, f"{results['summary']}")
    with suite.case("bench: a notification that is no message is handled, and does not count"):
        topic = name("odd-note")
        with contextlib.closing(Bench("notify-server", "--topic", topic, "--requeue")) as c:
            transport = oslo_messaging.get_notification_transport(cfg.CONF, URL)
            notifier = oslo_messaging.Notifier(transport, "p", driver="messaging", topics=[topic])
            notifier.info({}, "compute.start", {"odd": True})
            transport.cleanup()
            empty(topic)
            same(c.stop()["summary"]["count"], 0)


# ---- the command line -------------------------------------------------------------------------------------

def usage(suite):
    for words in ([], ["nonsense"], ["rpc-client", "extra"], ["rpc-client", "-p", "0"], ["rpc-client", "-p", "5000"],
                  ["rpc-client", "-m", "x"], ["rpc-client", "--sync", "now"], ["rpc-client", "--is-fanout"],
                  ["rpc-client", "--targets", ".server"], ["rpc-client", "--timeout", "0"], ["rpc-client", "-w", "x"],
                  ["rpc-client", "--requeue"], ["rpc-client", "--topic", "t"], ["rpc-server", "-p", "4"],
                  ["rpc-server", "--requeue"], ["notify-server", "--server", "x"], ["notify-client", "--is-cast"],
                  ["rpc-server", "-j", "/nosuch/folder/file"], ["rpc-server", "--nonsense"], ["rpc-server", "-z"]):
        with suite.case(f"bench: `fjord bench {' '.join(words)}` is a usage error"):
            done = subprocess.run([FJORD, "bench", *words], capture_output=True, text=True, timeout=20)
            same([done.returncode, done.stdout], [2, ""])
            same("fjord bench: " in done.stderr, True, done.stderr)


def help_(suite):
    with suite.case("bench: `fjord bench --help` lists its options, which are in the man pages"):
        done = subprocess.run([FJORD, "bench", "--help"], capture_output=True, text=True, timeout=20)
        same([done.returncode, done.stderr], [0, ""])
        pages = ""
        for page in ("fjord.1", "fjord-bench.1"):
            with open(os.path.join(os.path.dirname(__file__), "../../docs/man", page), encoding="utf-8") as f:
                pages += f.read()
        named = re.findall(r"--([a-z-]+)", done.stdout)
        same("is-fanout" in named and "url" in named, True, f"{named}")
        same([n for n in named if f"Fl -{n}" not in pages and f", -{n}" not in pages], [], "options the pages leave out")
        letters = re.findall(r"^  -([a-z])", done.stdout, re.MULTILINE)
        same(letters, list("spmlwej"))
        same([n for n in letters if f".It Fl {n} " not in pages], [], "letters the pages leave out")


def bench(suite):
    for group in (usage, help_, c_server, c_client, fanout, sync, times, notifications):
        group(suite)
    for queue in table("list_queues", "name"):
        if queue["name"].startswith("it-bench-"):
            ctl("delete_queue", queue["name"])
