# SPDX-License-Identifier: Apache-2.0
"""fjord-chaos as a program, and Fjord's calls through it: what each says of itself is true, whatever the plan does."""
import contextlib
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import tempfile
import time

from harness import BUILD, EXECUTORS, CPeer, broker_address, same, until, url, within

CHAOS = os.path.join(BUILD, "bin", "fjord-chaos")
STORM = os.path.join(BUILD, "interop", "storm")
TOPIC = "it-chaos"
SOON = [("oslo_messaging_rabbit", "kombu_reconnect_delay", "0.1")]  # and with it the splay: the next connection is soon there


class Chaos:
    """A proxy before the broker."""

    def __init__(self, rules=(), seed=1, to=None, more=()):
        self.folder = tempfile.TemporaryDirectory()
        self.control = os.path.join(self.folder.name, "control")
        self.log = os.path.join(self.folder.name, "log")
        plan = os.path.join(self.folder.name, "plan")
        with open(plan, "w") as f:
            json.dump({"seed": seed, "rules": list(rules)}, f)
        host, port = to or broker_address()[:2]
        self.process = subprocess.Popen(
            [CHAOS, "--listen", "0", "--to", f"{host}:{port}", "--plan", plan, "--log", self.log,
             "--control", self.control, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("fjord-chaos: listening at 127.0.0.1:"):
            raise AssertionError(f"not listening: {line}{self.process.stderr.read()}")
        self.port = int(line.split(":")[2].split(",")[0])

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(10)
        finally:
            self.process.kill()
            said = self.process.stderr.read()
            self.process.stdout.close()
            self.process.stderr.close()
            there = os.path.exists(self.control)
            self.folder.cleanup()
        same(status, 0, f"exit status after SIGTERM: {said}")
        same(there, False, "the control socket is left behind")

    def ctl(self, *words, status=0):
        done = subprocess.run([CHAOS, "ctl", self.control, *words], capture_output=True, text=True, timeout=10)
        same(done.returncode, status, f"exit status of ctl {words[0]}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def add(self, when, do, name=None):
        return self.ctl("add", json.dumps({"when": when, "do": do, **({"name": name} if name else {})}))["rule"]

    def lines(self, **want):
        with open(self.log) as f:
            all_of_them = [json.loads(line) for line in f]
        return [one for one in all_of_them if all(one.get(k) == v for k, v in want.items())]

    def wait(self, **want):
        return until(lambda: self.lines(**want))

    def url(self):
        return url(port=self.port)


def run(*args):
    return subprocess.run([CHAOS, *args], capture_output=True, text=True, timeout=10)


def refused(args, status, text):
    done = run(*args)
    same(done.returncode, status, f"exit status: {done.stderr}")
    if text not in done.stderr:
        raise AssertionError(f"{text!r} is not in {done.stderr!r}")


# ---- the program ------------------------------------------------------------------------------------------------


def options(suite):
    for args, text in (([], "usage:"), (["--listen", "0"], "usage:"), (["--nonsense"], "--nonsense"),
                       (["--listen", "0", "--to", "127.0.0.1:1", "x"], "x: is not understood"),
                       (["--listen", "x", "--to", "127.0.0.1:1"], "x: is no HOST:PORT"),
                       (["--listen", "0", "--to", "127.0.0.1:99999"], "is no HOST:PORT"),
                       (["--listen", "0", "--to", "127.0.0.1:1", "--seed", "-1"], "--seed takes"),
                       (["--listen", "0", "--to", "127.0.0.1:1", "--connections", "0"], "--connections takes")):
        with suite.case(f"chaos: `fjord-chaos {' '.join(args)}` is a usage error"):
            refused(args, 2, text)
    with suite.case("chaos: --help and --version are answers"):
        for word in ("--help", "--version"):
            done = run(word)
            same((done.returncode, "fjord-chaos" in done.stdout), (0, True), word)
    with suite.case("chaos: --check tells the place of a mistake"), tempfile.NamedTemporaryFile("w+") as f:
        f.write('{"rules": [{"when": {"frame": "any"}, "do": {"action": "delay", "ms": "x"}}]}')
        f.flush()
        refused(["--check", f.name], 2, f"{f.name}: rules[0].do.ms: must be a number")
        f.seek(0)
        f.write('{"rules": [{"when": {"frame": "any"}, "do": {"action": "delay", "ms": 10 }}]}')
        f.flush()
        done = run("--check", f.name)
        same((done.returncode, done.stdout), (0, f"{f.name}: 1 rules\n"), "a good plan")
        refused(["--check", "/nowhere"], 1, "/nowhere: No such file")
    with suite.case("chaos: the plans of docs/chaos.md are good"):
        with open("docs/chaos.md") as f:
            plans = [part.split("```")[0] for part in f.read().split("```json\n")[1:]]
        for plan in plans:
            with tempfile.NamedTemporaryFile("w+") as f:
                f.write(plan)
                f.flush()
                done = run("--check", f.name)
                same(done.returncode, 0, f"{done.stderr}: {plan}")
        if len(plans) < 5:
            raise AssertionError(f"there are only {len(plans)}")


def control(suite):
    with suite.case("chaos: the control socket is this user's alone, and a second proxy does not take it"):
        with Chaos() as c:
            same(stat.S_IMODE(os.stat(c.control).st_mode), 0o600, "mode")
            refused(["--listen", "0", "--to", "127.0.0.1:1", "--control", c.control], 1, "somebody answers there")
            refused(["--listen", "0", "--to", "127.0.0.1:1", "--control", c.log], 2, "is there, and no socket")
    with suite.case("chaos: what a killed proxy left is no obstacle"):
        with Chaos() as c:
            left = os.path.join(c.folder.name, "left")
            s = socket.socket(socket.AF_UNIX)
            s.bind(left)
            s.close()
            p = subprocess.Popen([CHAOS, "--listen", "0", "--to", "127.0.0.1:1", "--control", left],
                                 stdout=subprocess.PIPE, text=True)
            line = p.stdout.readline()
            p.terminate()
            same((p.wait(10), "listening" in line), (0, True), line)
            p.stdout.close()
    with suite.case("chaos: commands that make no sense are refused, and nobody there is told"):
        with Chaos() as c:
            same(c.ctl("nonsense", status=1)["ok"], False, "ok")
            same(c.ctl("remove", "x", status=1)["error"], "there is no such rule", "error")
            same(run("ctl", c.control).returncode, 2, "without a command")
        same(run("ctl", "/nowhere", "list").returncode, 4, "without a proxy")
    with suite.case("chaos: SIGUSR1 prints the statistics, and a taken port is told"):
        with Chaos() as c:
            c.process.send_signal(signal.SIGUSR1)
            same(json.loads(c.process.stdout.readline())["seed"], 1, "seed")
            refused(["--listen", str(c.port), "--to", "127.0.0.1:1"], 1, "Address already in use")
    with suite.case("chaos: a thousand connections at a time, and each byte arrives"):
        thousand()


def thousand():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as s, contextlib.ExitStack() as stack:
        c = stack.enter_context(Chaos(to=s.getsockname()[:2]))
        pairs = []
        for _ in range(1000):
            a = stack.enter_context(socket.create_connection(("127.0.0.1", c.port)))
            b = stack.enter_context(s.accept()[0])
            pairs.append((a, b))
        for i, (a, b) in enumerate(pairs):
            a.sendall(b"T%d" % i)
        for i, (a, b) in enumerate(pairs):
            same(b.recv(100).decode(), f"T{i}", "what arrives")
        same(len(c.ctl("list")["connections"]), 1000, "connections")


# ---- calls through it -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def peers(rules=(), seed=1, server_too=False):
    """A server at the broker (or behind the proxy, too), and a client behind the proxy."""
    with Chaos(rules, seed) as c:
        server = CPeer(c.url() if server_too else None, conf=SOON, executor="threading")
        client = CPeer(c.url(), conf=SOON)
        try:
            server.serve(TOPIC, "s1")
            yield c, client, server
        finally:
            client.kill()
            server.kill()


def truthful(outcomes, server):
    """What each `note` says of itself, against what the server has seen: outcomes by item."""
    certain = sum(o.cls is None for o in outcomes.values())
    seen = server.seen(certain, 10.0) + server.seen(1, 0.3)
    for item, outcome in outcomes.items():
        ran = seen.count(["s1", item])
        if ran > 1 or (outcome.cls is None and ran != 1) or (outcome.sent == "no" and ran != 0):
            raise AssertionError(f"{item}: {outcome!r} with sent={outcome.sent} ran {ran} times")


def transparent(suite):
    for executor in EXECUTORS:
        with suite.case(f"chaos: without rules every call passes, under {executor}"):
            with Chaos() as c:
                server, client = CPeer(c.url(), executor=executor), CPeer(c.url())
                try:
                    server.serve(TOPIC, "s1")
                    for size in (0, 1, 1000, 200_000):
                        client.call(TOPIC, "echo", {"x": "é" * size}).expect("é" * size)
                    for i in range(100):
                        client.call(TOPIC, "add", {"a": i, "b": 1}).expect(i + 1)
                    client.call(TOPIC, "fail").expect_failure("ValueError", "nope hé")
                    stats = c.ctl("stats")["stats"]
                    client.close()
                    server.close()
                except BaseException:
                    client.kill()
                    server.kill()
                    raise
            same([one for one in stats["rules"]], [], "rules")
            if stats["c2s"]["frames"] < 300:
                raise AssertionError(f"too few frames: {stats}")
    for name, do in (("one byte at a time", {"action": "split"}),
                     ("with a delay of every frame", {"action": "delay", "ms": 5, "jitter": 5})):
        with suite.case(f"chaos: {name} every call passes, too"):
            with peers([{"when": {"frame": "any", "times": 0}, "do": do}], server_too=True) as (_c, client, _server):
                for i in range(10):
                    client.call(TOPIC, "echo", {"x": [i]}).expect([i])


def faults(suite):
    with suite.case("chaos: a confirm that is dropped leaves a cast in doubt, by its deadline"):
        with peers() as (c, client, server):
            client.call(TOPIC, "add", {"a": 1, "b": 2}).expect(3)
            c.add({"frame": "basic.ack", "direction": "s2c", "times": 0}, {"action": "drop"}, "confirms")
            began = time.monotonic()
            outcome = client.cast(TOPIC, "note", {"x": 7}, timeout=2)
            within(2, began, 1.5)
            same((outcome.code, outcome.sent), ("TIMEOUT", "maybe"), "outcome")
            same(server.seen(1), [["s1", 7]], "what ran")
            same(len(c.wait(action="drop", rule="confirms")) > 0, True, "logged")
    with suite.case("chaos: a reply that stalls in mid-frame is a timeout of a call that was sent, and the next one works"):
        with peers() as (c, client, _server):
            client.call(TOPIC, "add", {"a": 1, "b": 2}).expect(3)
            c.add({"frame": "body", "direction": "s2c", "per": "plan"}, {"action": "stall", "at": "middle"})
            began = time.monotonic()
            outcome = client.call(TOPIC, "who", timeout=2)
            within(2, began, 1.5)
            same((outcome.code, outcome.sent), ("TIMEOUT", "yes"), "outcome")
            c.ctl("kill", "all")
            until(lambda: client.call(TOPIC, "who", timeout=5).result == "s1", 15)
    with suite.case("chaos: a request that comes twice runs once"):
        with peers() as (c, client, server):
            c.add({"frame": "basic.publish", "direction": "c2s", "routing_key": TOPIC, "times": 0},
                  {"action": "duplicate", "message": True}, "twice")
            truthful({i: client.call(TOPIC, "note", {"x": i}) for i in range(10)}, server)
            same(len(c.lines(rule="twice")), 10, "how often")
    with suite.case("chaos: connection.close 320 in the middle of calls is survived"):
        with peers() as (c, client, server):
            c.add({"frame": "basic.publish", "direction": "c2s", "nth": 3, "times": 0, "per": "plan", "probability": 0.3},
                  {"action": "inject", "frame": "connection.close"}, "close")
            truthful({i: client.call(TOPIC, "note", {"x": i}, timeout=5) for i in range(20)}, server)
            if len(c.lines(rule="close")) < 2:
                raise AssertionError("it was hardly closed")
    with suite.case("chaos: a consumer that is cancelled consumes again"):
        with peers(server_too=True) as (c, client, _server):
            client.call(TOPIC, "who").expect("s1")
            c.add({"frame": "basic.ack", "direction": "c2s", "channel": 1},
                  {"action": "inject", "frame": "basic.cancel", "args": {"consumer_tag": "1"}})
            client.call(TOPIC, "who", timeout=5)
            until(lambda: client.call(TOPIC, "who", timeout=5).result == "s1", 15)
    with suite.case("chaos: while the broker says it is blocked nothing is sent, and afterwards everything"):
        with peers() as (c, client, server):
            client.call(TOPIC, "who").expect("s1")
            c.add({"seconds": 0}, {"action": "inject", "frame": "connection.blocked", "args": {"reason": "test"}}, "on")
            c.wait(rule="on")
            outcomes = {}
            for item in range(20):  # the first may be faster than the word
                outcomes[item] = client.cast(TOPIC, "note", {"x": item}, timeout=1)
                if outcomes[item].cls is not None:
                    break
            same(outcomes[item].sent, "no", f"sent of {outcomes!r}")
            truthful(outcomes, server)
            c.ctl("remove", "on")
            c.add({"seconds": 0}, {"action": "inject", "frame": "connection.unblocked"})
            client.call(TOPIC, "who").expect("s1")
    with suite.case("chaos: a port that refuses is UNREACHABLE, and found again"):
        with peers() as (c, client, _server):
            client.call(TOPIC, "who").expect("s1")
            c.ctl("listen", "off")
            c.ctl("kill", "all")
            outcome = client.call(TOPIC, "who", timeout=1)
            same(outcome.code in ("UNREACHABLE", "TIMEOUT", "LOST"), True, repr(outcome))
            c.ctl("listen", "on")
            until(lambda: client.call(TOPIC, "who", timeout=5).result == "s1", 15)


# Where a request is cut: the frame, and what is done there.
CUTS = [({"frame": frame, "direction": "c2s", "per": "plan"}, {"action": action, "at": at, **more})
        for frame in ("basic.publish", "header", "body")
        for action, more in (("reset", {}), ("close", {}), ("garbage", {"size": 30}), ("truncate", {}))
        for at in ("before", "middle", "after") if (action, at) != ("truncate", "after")]


def cuts(suite):
    with suite.case(f"chaos: a request that is broken in any of {len(CUTS)} ways ends, and says the truth", 150):
        with peers() as (c, client, server):
            client.call(TOPIC, "who").expect("s1")
            outcomes = {}
            for item, (when, do) in enumerate(CUTS):
                name = c.add(when, do)
                outcomes[item] = client.cast(TOPIC, "note", {"x": item}, timeout=4)
                same(len(c.lines(rule=name)), 1, f"how often {do} acted at {when}")
                c.ctl("remove", name)
            client.call(TOPIC, "who").expect("s1")
            truthful(outcomes, server)


def storms(suite):
    seed = int(os.environ.get("FJ_TEST_SEED", int(time.time())))
    rare = {"times": 0, "probability": 0.0005}
    # Nothing is dropped or cut short, and nothing comes into the middle of a frame: no stream of TCP does that, and who reads takes what
    # follows for the rest of the frame, which nobody notices while there are bytes.
    rules = [{"when": {"frame": "any", **rare}, "do": {"action": "reset", "at": "random"}},
             {"when": {"frame": "any", **rare}, "do": {"action": "close", "at": "random"}},
             {"when": {"frame": "method", **rare}, "do": {"action": "garbage", "size": 20, "at": "before"}},
             {"when": {"frame": "any", "times": 0, "probability": 0.02}, "do": {"action": "delay", "ms": 5, "jitter": 5}},
             {"when": {"frame": "any", "times": 0, "probability": 0.02}, "do": {"action": "split", "segment": 7}}]
    for executor in ("threading", "green"):
        with suite.case(f"chaos: under {executor}, in a storm of faults every operation ends once, in time, and truly "
                        f"(seed {seed})", 60):
            with Chaos(rules, seed) as c:
                p = subprocess.Popen([STORM, executor, f"it-chaos-{executor}-{os.getpid()}", c.url(), "5"], stdout=subprocess.PIPE,
                                     text=True)
                try:
                    out = p.communicate(timeout=50)[0]
                finally:
                    p.kill()
                found = json.loads(out.partition("\n")[2] or "{}")
                fired = {r["action"]: r["fired"] for r in c.ctl("rules")["rules"]}
            print(f"    {found} {fired}")
            if p.returncode != 0 or not found.get("balanced"):
                raise AssertionError(f"status {p.returncode}: {found}")
            if sum(fired.values()) < 20:
                raise AssertionError(f"hardly a fault: {fired}")


def chaos(suite):
    options(suite)
    control(suite)
    transparent(suite)
    faults(suite)
    cuts(suite)
    storms(suite)
