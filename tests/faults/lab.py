# SPDX-License-Identifier: Apache-2.0
"""The laboratory of the fault rows: a broker to break, programs to judge, a proxy between them, and one ledger for all they say.

A row is a function with @row(ID, TITLE, ...) that takes a Lab.  It runs once for each subject: an executor of Fjord's, or `oslo`, which is
oslo.messaging as client and server.  What it promises holds if the row ends without an exception and the ledger has nothing against it.
"""
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from ledger import SLACK, Ledger

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD", "build")
SUBJECT = os.path.join(BUILD, "interop", "subject")
CHAOS = os.path.join(BUILD, "bin", "fjord-chaos")
EXECUTORS = ("blocking", "threading", "green", "coroutine", "bridged")
# Those of a row that no executor changes: one with threads, one on a loop.
TWO = ("threading", "coroutine")
OSLO = "oslo"
BACKOFF = 2.0  # seconds: the longest pause between attempts of what runs here (see FAST)
HEARTBEAT = 4  # seconds after which a silent connection is suspected
FAST = ("oslo_messaging_rabbit.rabbit_retry_interval=1", "oslo_messaging_rabbit.rabbit_retry_backoff=1",
        "oslo_messaging_rabbit.rabbit_interval_max=2", "oslo_messaging_rabbit.kombu_reconnect_delay=0.1",
        f"oslo_messaging_rabbit.heartbeat_timeout_threshold={HEARTBEAT}", "oslo_messaging_rabbit.heartbeat_rate=2")


class Skip(Exception):
    """The row cannot run here; its text says why."""


class Failed(Exception):
    """The promise is not kept."""


@dataclasses.dataclass(frozen=True)
class Row:
    id: str
    title: str
    run: callable
    promises: str
    subjects: tuple
    oslo: bool
    quick: bool
    limit: float
    judged: bool


ROWS = []


def row(id, title, promises="P1 P2 P3", subjects=TWO, oslo=True, quick=False, limit=120, judged=False):
    """A row of the table of faults.

    subjects   the executors it runs under
    oslo       whether it runs with oslo.messaging, too: not where it asks for what only Fjord says
    quick      whether `make check` runs it each time, with the first of its subjects; the others take turns
    limit      seconds for one subject
    judged     only when it is named: long, with figures
    """

    def keep(run):
        ROWS.append(Row(id, title, run, promises, tuple(subjects), oslo, quick, limit, judged))
        return run

    return keep


def need(true, text):
    if not true:
        raise Failed(text)


def until(condition, limit, what, pause=0.02):
    """The first true answer of `condition`; Failed with `what` after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        need(time.monotonic() < end, f"{what}: not in {limit} s")
        threading.Event().wait(pause)


def sockets(pid, port):
    """The process's own ports of its connections to `port`."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:[").removesuffix("]"))
    with open(f"/proc/{pid}/net/tcp") as f:
        lines = [line.split() for line in f][1:]
    return {int(x[1].split(":")[1], 16) for x in lines if int(x[2].split(":")[1], 16) == port and x[9] in inodes}


class Broker:
    """A RabbitMQ of the laboratory's own, to be killed, stopped and begun again at its port with what it had stored."""

    def __init__(self, folder):
        self.folder = folder

    def rabbit(self, verb, *args, limit=150):
        done = subprocess.run(["scripts/rabbit", verb, self.folder, *args], capture_output=True, text=True, timeout=limit)
        if done.returncode != 0:
            raise RuntimeError(f"rabbit {verb} {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def start(self):
        self.rabbit("start")
        self.find()
        until(self.serves, 90, "the broker serves")  # its listener is there before it is

    def join(self, other):
        """Start as a node of another's cluster."""
        self.rabbit("join", other.folder)
        self.find()

    def find(self):
        self.port = int(urllib.parse.urlsplit(self.rabbit("url")).port)

    def again(self):
        """Begin again after kill() or stop(), at the same port; returns when it serves."""
        self.rabbit("again")

    def kill(self):
        self.rabbit("kill")

    def stop(self):
        self.rabbit("stop")

    def pid(self):
        with open(os.path.join(self.folder, "pid")) as f:
            return int(f.read())

    def freeze(self):
        """It accepts connections, for the kernel does that, and says nothing."""
        os.kill(self.pid(), signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid(), signal.SIGCONT)

    def ctl(self, *args, limit=60):
        return self.rabbit("ctl", "-q", *args, limit=limit)

    def table(self, *args):
        """A list command of rabbitmqctl as a list of dicts."""
        return json.loads(self.ctl(*args, "--formatter", "json"))

    def serves(self):
        with contextlib.suppress(Exception):
            self.ctl("await_startup", limit=20)
            return True
        return False


class Program:
    """A program that says what happens in lines of JSON."""

    def __init__(self, lab, kind, args, subject, prefix=()):
        self.lab, self.kind = lab, kind
        program = [SUBJECT] if subject != OSLO else [sys.executable, os.path.join(HERE, "oslo_subject.py")]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([*prefix, *program, kind, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors)
        self.said, self.more = [], threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            with self.more:
                self.said.append(event)
                self.more.notify_all()
            self.lab.ledger.note(event)
        with self.more:
            self.said.append({"ev": "eof"})
            self.more.notify_all()

    def wait(self, what, limit=30, count=1):
        """Until it said `what` for the `count`-th time."""

        def there():
            return sum(e["ev"] == what for e in self.said) >= count or any(e["ev"] in ("eof", "died") for e in self.said)

        with self.more:
            need(self.more.wait_for(there, limit), f"the {self.kind} does not say {what} in {limit} s")
            died = [e for e in self.said if e["ev"] == "died"]
            need(not died, f"the {self.kind} died: {died}")
            need(sum(e["ev"] == what for e in self.said) >= count, f"the {self.kind} ended before it said {what}: {self.log()}")
            return [e for e in self.said if e["ev"] == what][count - 1]

    def log(self):
        """What it wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def signal(self, which):
        self.process.send_signal(which)

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.reader.join(10)

    def finish(self, limit=40):
        """SIGTERM to a server, the end of its orders to a client: it must come to a good end."""
        if self.process.poll() is None and self.kind == "server":
            self.signal(signal.SIGTERM)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"the {self.kind} does not end in {limit} s: {self.log()[-600:]}") from None
        self.reader.join(10)
        need(status == 0, f"the {self.kind} ended with {status}: {self.log()[-600:]}")


class Client(Program):
    seqs = 0

    def order(self, **order):
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def start(self, kind="call", **more):
        """Begin one operation; its number."""
        seq = self.lab.next_seq()
        self.order(do=kind, seq=seq, **more)
        return seq

    def end(self, seq, limit=30):
        """How it ended."""
        need(self.lab.ledger.wait(lambda book: book.ends[seq], limit), f"{seq} does not end in {limit} s")
        return self.lab.ledger.ends[seq][0]

    def ask(self, kind="call", timeout=2, **more):
        """Begin one operation and wait for its end."""
        return self.end(self.start(kind, timeout=timeout, **more), timeout + 10)

    def load(self, **more):
        self.order(do="load", seq=self.lab.next_seq(10_000_000), **more)
        self.loads = getattr(self, "loads", 0) + 1

    def rest(self, limit=60):
        """The load ends, and all it had begun."""
        self.order(do="rest")
        self.rests = getattr(self, "rests", 0) + 1
        self.wait("resting", limit, self.rests)


class Chaos:
    """fjord-chaos before the broker; rules as its man page has them."""

    def __init__(self, port, rules=(), seed=1, at="127.0.0.1", listen=0):
        self.folder = tempfile.TemporaryDirectory()
        self.control = os.path.join(self.folder.name, "control")
        self.log = os.path.join(self.folder.name, "log")
        plan = os.path.join(self.folder.name, "plan")
        with open(plan, "w") as f:
            json.dump({"seed": seed, "rules": list(rules)}, f)
        self.process = subprocess.Popen([CHAOS, "--listen", f"{at}:{listen}", "--to", f"127.0.0.1:{port}", "--plan", plan, "--log", self.log,
                                         "--control", self.control], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.split(f"{at}:")[1].split(",")[0])

    def ctl(self, *words):
        return json.loads(subprocess.run([CHAOS, "ctl", self.control, *words], capture_output=True, text=True, check=True,
                                         timeout=20).stdout)

    def add(self, when, do):
        return self.ctl("add", json.dumps({"when": when, "do": do}))["rule"]

    def lines(self, **want):
        with open(self.log) as f:
            found = [json.loads(line) for line in f if line.endswith("\n")]
        return [one for one in found if all(one.get(k) == v for k, v in want.items())]

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()
        self.folder.cleanup()


class Jitter:
    """By how much the machine wakes a process too late while a row runs: what nobody's deadlines can do better than."""

    PROBE = """if 1:
        import select, sys, time
        most = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            began = time.monotonic()
            time.sleep(0.01)
            most = max(most, time.monotonic() - began - 0.01)
        print(most)"""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", self.PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.most = 0

    def close(self):
        if self.process.returncode is None:
            said, _ = self.process.communicate("\n", timeout=20)
            self.most = float(said)
        return self.most


class Lab:
    """What one row has under one subject: a vhost of its own, and whatever it starts, which ends with it."""

    def __init__(self, broker, subject, vhost, seed):
        self.broker, self.subject, self.vhost, self.seed = broker, subject, vhost, seed
        self.ledger = Ledger()
        self.judging = {}
        self.figures = {}
        self.stack = contextlib.ExitStack()
        self.jitter = Jitter()
        self.stack.callback(self.jitter.close)
        self.programs = []
        self.seq = 0
        self.topic = "faults"

    def next_seq(self, room=1):
        self.seq, first = self.seq + room, self.seq
        return first

    def url(self, port=None, user="guest", password="guest", vhost=None, hosts=None):
        at = ",".join(f"{user}:{password}@{h}" for h in hosts or [f"127.0.0.1:{port or self.broker.port}"])
        return f"rabbit://{at}/{self.vhost if vhost is None else vhost}"

    def chaos(self, rules=(), seed=None, port=None, at="127.0.0.1", listen=0):
        """Before the broker, or what else listens at `port`; clients connect to `at` and the port `listen`, or a free one."""
        chaos = Chaos(port or self.broker.port, rules, self.seed if seed is None else seed, at, listen)
        self.stack.callback(chaos.close)
        return chaos

    def server(self, at=None, name="one", conf=(), subject=None, ready=True, topic=None, prefix=(), pace=FAST):
        p = Program(self, "server", [self.executor(subject), at or self.url(), topic or self.topic, f"server={name}", *pace,
                                     *conf], subject or self.subject, prefix)
        return self.keep(p, ready)

    def client(self, at=None, conf=(), subject=None, ready=True, topic=None, prefix=(), pace=FAST):
        p = Client(self, "client", [self.executor(subject), at or self.url(), topic or self.topic, *pace, *conf],
                   subject or self.subject, prefix)
        return self.keep(p, ready)

    def executor(self, subject):
        subject = subject or self.subject
        return "threading" if subject == OSLO else subject

    def keep(self, program, ready):
        self.programs.append(program)
        self.stack.callback(program.kill)
        if ready:
            program.wait("ready")
        return program

    def back(self, client, limit, what="after the fault"):
        """Wait for a call that is begun now or later and comes back; the seconds it took."""
        began = time.monotonic()
        while True:
            if client.ask(timeout=1)["code"] == "OK":
                took = time.monotonic() - began
                self.figures["back_s"] = max(self.figures.get("back_s", 0), round(took, 2))
                return took
            need(time.monotonic() - began < limit, f"{what} no call comes back in {limit} s: {self.ledger.counts()}")

    def judge(self, **how):
        """How the ledger is to judge at the end, where it is not as usual (Ledger.faults)."""
        self.judging.update(how)

    def end_programs(self):
        """All to a good end: clients, then servers."""
        for kind in ("client", "server"):
            for p in self.programs:
                if p.kind == kind and p.process.returncode is None:
                    p.finish()

    def finish(self):
        """All programs to a good end, and the ledger's judgement."""
        self.end_programs()
        self.figures.update(self.ledger.figures())
        jitter = self.jitter.close()
        self.figures["jitter_ms"] = round(1000 * jitter, 1)
        wrong = self.ledger.faults(**({"slack": max(SLACK, 2 * jitter, 1 if os.environ.get("SAN") else 0)} | self.judging))
        need(not wrong, f"{len(wrong)} against the ledger: {'; '.join(wrong[:4])}")

    def close(self):
        self.stack.close()
