# SPDX-License-Identifier: Apache-2.0
"""fjord inspect, asking services whose methods wait in places that are known."""
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile

from harness import BUILD, FJORD, URL, CPeer, same, until

MODULE = os.path.join(BUILD, "interop", "waits.so")


class Served:
    """`fjord serve` with a backdoor, and what `fjord inspect` says of it."""

    def __init__(self, folder, executor, workers=None):
        self.topic = f"it-inspect-{executor}-{workers or 0}"
        self.path = os.path.join(folder, "door")
        self.conf = os.path.join(folder, "fjord.conf")
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(f"[fjord]\nbackdoor = {self.path}\nexecutor = {executor}\nloop_debug = false\n")
        args = [] if workers is None else ["--workers", str(workers)]
        self.p = subprocess.Popen([FJORD, "serve", self.topic, "--server", "one", "--module", MODULE,
                                   "--config-file", self.conf, *args], env={**os.environ, "FJORD_URL": URL},
                                  stderr=subprocess.PIPE, start_new_session=True)
        seen = b""
        while b"ready" not in seen:
            if not select.select([self.p.stderr], [], [], 30)[0]:
                raise AssertionError(f"not ready: {seen!r}")
            more = os.read(self.p.stderr.fileno(), 4096)
            if not more:
                raise AssertionError(f"it ended: {seen!r}")
            seen += more

    def run(self, *args, target=None, want=0):
        got = subprocess.run([FJORD, "inspect", *([target or self.path] if target != "" else []), *args],
                             capture_output=True, text=True, timeout=60)
        if got.returncode != want:
            raise AssertionError(f"inspect {args}: status {got.returncode}, not {want}: {got.stderr[:500]}")
        return got

    def ask(self, *args, **more):
        return json.loads(self.run(*args, "--json", **more).stdout)

    def task(self, waits_for):
        """The first task that waits for it."""
        for task in self.ask("tasks")["tasks"]:
            if (task["waiting_for"] or "").startswith(waits_for):
                return task
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        """What waits for a minute is not waited for."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.p.pid, signal.SIGKILL)
        self.p.wait(10)
        self.p.stderr.close()

    def end(self):
        self.p.send_signal(signal.SIGTERM)
        same(self.p.wait(15), 0, "exit status")


def cast(topic, method, **args):
    peer = CPeer()
    try:
        peer.cast(topic, method, args)
    finally:
        peer.close()


def names(task):
    return [re.split(r"[+ ]", frame)[0] for frame in task["backtrace"]]


def waits(suite, folder):
    for executor in ("coroutine", "green", "bridged"):
        with suite.case(f"inspect: {executor}: tasks tell what they wait for, since when, where and for which method"):
            with Served(tempfile.mkdtemp(dir=folder), executor) as s:
                for method in ("hold", "hold", "nap"):
                    cast(s.topic, method, ms=60000)
                task = until(lambda: s.task("mutex"))
                same([task["waiting_for"], task["state"], task["method"]], ['mutex "ledger"', "waiting", "hold"])
                if "hold" not in names(task) or "fj_mutex_lock" not in names(task):
                    raise AssertionError(f"where it waits: {task['backtrace']}")
                task = until(lambda: next((t for t in s.ask("tasks")["tasks"] if t["method"] == "hold" and
                                           t["waiting_for"] == "sleep"), None))
                if "sleep_in_the_ledger" not in names(task):
                    raise AssertionError(f"where it sleeps: {task['backtrace']}")
                if not 0 <= task["waited"] <= task["age"] <= 60 or not 0 < task["ends_in"] <= 60:
                    raise AssertionError(f"its times: {task}")
                task = until(lambda: next((t for t in s.ask("tasks")["tasks"] if t["method"] == "nap"), None))
                if "nap" not in names(task):
                    raise AssertionError(f"where it naps: {task['backtrace']}")
                due = [t for t in s.ask("timers")["timers"] if 0 < t["due_in"] <= 60]
                if not due:
                    raise AssertionError("no timer of those that sleep")
                text = s.run("tasks", "--stack").stdout
                for part in ("WAITS FOR", 'mutex "ledger"', "sleep_in_the_ledger+0x"):
                    if part not in text:
                        raise AssertionError(f"no {part} in {text}")


def blocked(suite, folder):
    with suite.case("inspect: a loop that a method blocks is told of, with the method's calls, and others are not kept waiting"):
        with Served(tempfile.mkdtemp(dir=folder), "coroutine") as s:
            cast(s.topic, "hog", ms=8000)
            loop = until(lambda: next((one for one in s.ask("loops", "--timeout", "0.1")["loops"] if one["blocked"]), None))
            if not any(frame.startswith(("compute+", "hog+")) for frame in loop["backtrace"]):
                raise AssertionError(f"where: {loop['backtrace']}")
            got = s.ask("tasks", "--timeout", "0.1")
            same([len(got["tasks"]), len(got["blocked"])], [0, 1])
            text = s.run("loops", "--timeout", "0.1").stdout
            if "BLOCKED" not in text or ("compute+" not in text and "hog+" not in text):
                raise AssertionError(text)
            until(lambda: s.ask("loops")["loops"][0]["blocked"] is None, 20)

    with suite.case("inspect: a profile has the method's calls, folded, and the method's share"):
        with Served(tempfile.mkdtemp(dir=folder), "threading") as s:
            cast(s.topic, "hog", ms=5000)
            got = s.run("profile", "--for", "2s")
            if not re.search(r"^method hog;.*;compute(;\S+)? \d+$", got.stdout, re.M):
                raise AssertionError(f"no hog in the profile: {got.stdout[:400]}")
            if not re.search(r"^ +\d+\.\d%  hog$", got.stderr, re.M):
                raise AssertionError(f"no share: {got.stderr[:400]}")
            same(s.ask("profile")["profile"]["on"], False, "off again")


def services(suite, folder):
    with suite.case("inspect: the parent and each worker of a service are found by name, and by process"):
        with Served(tempfile.mkdtemp(dir=folder), "coroutine", workers=2) as s:
            def by_name():
                lines = s.run("version", "--json", "--config-file", s.conf, target=s.topic).stdout.splitlines()
                return sorted((json.loads(line)["process"] for line in lines), key=lambda p: p["worker"])
            found = by_name()
            same([p["worker"] for p in found], ["0", "1", "parent"], "workers")
            same(found[2]["pid"], s.p.pid, "the parent")
            for p in found:
                same(s.ask("version", target=str(p["pid"]))["process"]["pid"], p["pid"])
            same(oct(os.stat(s.path).st_mode & 0o777), "0o600", "mode")
            os.kill(found[0]["pid"], signal.SIGKILL)
            until(lambda: [p["worker"] for p in by_name()] == ["0", "1", "parent"] and
                  by_name()[0]["pid"] != found[0]["pid"])
            s.end()
        same([name for name in os.listdir(os.path.dirname(s.path)) if name.startswith("door")], [], "what is left")


def words(suite, folder):
    with suite.case("inspect: what cannot be is said in words, and by exit codes"):
        with Served(tempfile.mkdtemp(dir=folder), "threading") as s:
            for args, target, status, part in (
                    (["moods"], None, 2, "cannot be asked"), (["log", "warn"], None, 2, "neither a level"),
                    (["log", "amqp=loud"], None, 2, "not understood"), ([], s.conf, 2, "no socket"),
                    ([], "/nonexistent/door", 4, "does not run"), ([], str(os.getpid()), 4, "has no backdoor"),
                    ([], "4194999", 4, "no process"), (["--watch", "0"], None, 2, "seconds above 0")):
                got = s.run(*args, target=target, want=status)
                if part not in got.stderr:
                    raise AssertionError(f"no {part!r} in {got.stderr}")
            before = s.ask("log")["log"]["level"]
            same([before, s.ask("log", "debug")["log"]["level"], s.ask("log")["log"]["level"]],
                 ["warning", "debug", "debug"], "levels")
            text = s.run().stdout
            for part in ("loops:", "tasks:", "connections:", "queues:", "calls:", "counters:"):
                if part not in text:
                    raise AssertionError(f"no {part} in {text}")


def counts(suite, folder):
    with suite.case("inspect: counters tell how often each method ran, and how long it took; queues and connections what they are"):
        with Served(tempfile.mkdtemp(dir=folder), "coroutine") as s:
            for _ in range(2):
                cast(s.topic, "hog", ms=1)

            def hog():
                return next((c for c in s.ask("counters")["counters"] if c["method"] == "hog" and c["ok"] == 2), None)
            got = until(hog)
            same([got["side"], got["casts"], got["failed"]], ["server", 2, 0], "counters")
            if not 0.001 <= got["latency"]["p50"] <= got["latency"]["p99.9"]:
                raise AssertionError(f"latency: {got['latency']}")
            if s.topic not in [q["name"] for q in s.ask("queues")["queues"]]:
                raise AssertionError(f"queues: {s.ask('queues')}")
            if "connected" not in [c["state"] for c in s.ask("connections")["connections"]]:
                raise AssertionError(f"connections: {s.ask('connections')}")
            text = s.run().stdout
            for part in ("P99.9", "PURPOSE", "CAPACITY"):
                if part not in text:
                    raise AssertionError(f"no {part} in {text}")


def inspecting(suite):
    with tempfile.TemporaryDirectory(prefix="fj-inspect-") as folder:
        waits(suite, folder)
        blocked(suite, folder)
        services(suite, folder)
        words(suite, folder)
        counts(suite, folder)
