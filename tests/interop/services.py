# SPDX-License-Identifier: Apache-2.0
"""Services of worker processes, judged: told to end at random moments under load, their workers crashed in every way, their broker
gone and back.

FJ_SERVICE_ROUNDS, FJ_SERVICE_CRASHES, FJ_SERVICE_EXECUTORS and FJ_SEED say how often, under which, and what chance is made of; `service-full` is 200 times and 1,000
(`make judge-services N=200 CRASHES=1000`)."""
import contextlib
import datetime
import json
import mmap
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from examples import configuration
from harness import BUILD, EXECUTORS, URL, PythonPeer, ctl, same, table, until, url
from storm import Proxy

PREFORK = [os.path.join(BUILD, "bin", "prefork_server")]
JUDGED = os.path.join(BUILD, "interop", "judged_service")
LOAD = os.path.join(BUILD, "interop", "judged_load")
OPERATIONS = 4_000_000  # the lower half are those of the C clients
CALLERS = 3
FAST = "[oslo_messaging_rabbit]\nkombu_reconnect_delay = 0.1\nrabbit_retry_interval = 0.1\nrabbit_retry_backoff = 0\n"


# ---- processes ----

def status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.split(":\t", 1) for line in f if ":\t" in line)


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
            return [int(c) for c in f.read().split()]
    except FileNotFoundError:
        return []


def of_session(session):
    """The processes of a session: those that a service left behind, once it ended."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if entry.isdigit():
                with open(f"/proc/{entry}/stat", encoding="utf-8") as f:
                    if int(f.read().rpartition(")")[2].split()[3]) == session:
                        found.append(int(entry))
    return found


def files_of(pid):
    """What it has open, mapped or bound that has a name somewhere and may outlive it: shared memory, sockets, temporary files."""
    found, sockets = set(), {}
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/net/unix", encoding="utf-8") as f:
            sockets = {line.split()[6]: line.split()[7] for line in f if len(line.split()) > 7}
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                to = os.readlink(f"/proc/{pid}/fd/{fd}")
                found.add(sockets.get(to.removeprefix("socket:[").removesuffix("]"), to))
        with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
            found |= {line.split(None, 5)[5].strip() for line in f if len(line.split(None, 5)) > 5}
    return {path for path in found if path.startswith(("/dev/shm", "/tmp", "/var/tmp", "/run"))
            and not path.startswith(os.path.realpath(BUILD))}  # the program, its log, and what it is to leave


class Service:
    def __init__(self, command, name="service", env=None):
        self.logfile = os.path.join(BUILD, "interop", f"{name}-{os.getpid()}.log")
        self.log = open(self.logfile, "w+", encoding="utf-8")
        self.folder = tempfile.mkdtemp(prefix="fjord-judged-")
        self.p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, start_new_session=True,
                                  env=os.environ | {"TMPDIR": self.folder, "XDG_RUNTIME_DIR": self.folder} | (env or {}))

    def ready(self):
        if not select.select([self.p.stdout], [], [], 30)[0] or not self.p.stdout.read1(100):
            raise AssertionError(f"the service did not say that it serves: {self.p.poll()}")

    def said(self):
        with open(self.logfile, encoding="utf-8", errors="replace") as f:
            return f.read()

    def takes_signals(self):
        """Until then they are its program's, as they are any program's that begins."""
        bit = 1 << (signal.SIGTERM - 1)
        until(lambda: int(status(self.p.pid)["SigBlk"], 16) & bit, pause=0.001)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        """Whatever a case ends in, nothing of it is left for the next."""
        for pid in of_session(self.p.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.p.wait(10)
        self.p.stdout.close()
        self.log.close()
        shutil.rmtree(self.folder)

    def end(self, sig=signal.SIGTERM, limit=30):
        """In order: exit status 0, and no process, socket or shared memory is left."""
        named = set().union(*(files_of(pid) for pid in of_session(self.p.pid)))
        self.p.send_signal(sig)
        got = self.p.wait(limit)
        left = [path for path in named if os.path.exists(path)] + os.listdir(self.folder)
        same([got, of_session(self.p.pid), left], [0, [], []], "exit status, and what is left")


# ---- load ----

class Runs:
    """How often each operation ran (judged_runs.h)."""

    def __init__(self):
        handle, self.path = tempfile.mkstemp(prefix="fjord-runs-", dir=os.path.join(BUILD, "interop"))
        os.truncate(handle, OPERATIONS)
        self.count = mmap.mmap(handle, OPERATIONS)
        os.close(handle)

    def close(self):
        self.count.close()
        os.unlink(self.path)


class OsloLoad:
    """oslo.messaging's clients: calls of every kind, and casts, each with its number."""

    KINDS = ("run", "nap", "wait", "defer")

    def __init__(self, peer, runs, seed, seconds):
        self.peer, self.runs, self.seconds = peer, runs, seconds
        self.over, self.lock = threading.Event(), threading.Lock()
        self.answered = self.timed_out = 0
        self.next, self.wrong = OPERATIONS // 2, []
        self.threads = [threading.Thread(target=self.work, args=(random.Random(seed + n),)) for n in range(CALLERS)]
        for t in self.threads:
            t.start()

    def work(self, dice):
        while not self.over.wait(0.002):
            with self.lock:
                seq, self.next = self.next, self.next + 1
            cast, kind = dice.random() < 0.2, dice.choice(self.KINDS)
            send = self.peer.cast if cast else self.peer.call
            got = send("judged", kind, {"seq": seq, "ms": dice.randrange(20)}, self.seconds)
            good = got.cls is None and (cast or got.result == seq)
            with self.lock:
                self.answered += good
                self.timed_out += got.cls == "MessagingTimeout"
                if not good and got.cls != "MessagingTimeout":
                    self.wrong.append(f"{kind} {seq}: {got!r}")

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()
        same(self.wrong, [], "calls that ended neither with their answers nor with their time")

    def all(self):
        return self.next - OPERATIONS // 2

    def not_once(self):
        counts = self.runs.count[OPERATIONS // 2:self.next]
        return len(counts) - counts.count(b"\x01")

    def twice(self):
        counts = self.runs.count[OPERATIONS // 2:self.next]
        return len(counts) - counts.count(b"\x01") - counts.count(b"\x00")


class Load:
    """Clients of both languages; everything that they begin is judged at the end."""

    def __init__(self, peer, runs, seed, seconds, *more):
        self.oslo = OsloLoad(peer, runs, seed, seconds)
        self.p = subprocess.Popen([LOAD, URL, runs.path, str(seed % (1 << 32)), str(seconds), *more], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        same(self.p.stdout.readline(), "ready\n", "what the clients say")

    def end(self, limit):
        """@return what became of it: of the C clients' operations, and of oslo's"""
        self.p.stdin.close()
        self.oslo.end()
        self.p.stdin = None
        found = json.loads(self.p.communicate(timeout=limit)[0] or "{}")
        if self.p.returncode != 0 or not found["balanced"]:
            raise AssertionError(f"the ledger does not balance: {self.p.returncode}: {found}")
        same(self.oslo.twice(), 0, "oslo's operations that ran twice")
        return found

    def close(self):
        self.oslo.over.set()
        self.p.kill()
        self.p.wait(10)
        self.p.stdout.close()
        for t in self.oslo.threads:
            t.join()


def at_the_broker():
    """What of the service is there: its connections, and the queues that are a worker's own."""
    connections = [c for c in table("list_connections", "client_properties")
                   if "judged_service:" in json.dumps(c["client_properties"])]
    return [len(connections), len([q for q in table("list_queues", "name") if q["name"].startswith("judged_fanout_")])]


def forget():
    """What a case that failed has left, whose next is not to blame."""
    for q in table("list_queues", "name"):
        if q["name"].startswith("judged"):
            ctl("delete_queue", q["name"])


# ---- the end at any moment ----

def terminated(suite, peer, rounds, executor, seed):
    """All load is carried by services that are being told to end: what one leaves is the next one's."""
    name = f"service: {rounds} SIGTERMs at random moments under load, executor {executor} (seed {seed})"
    with suite.case(name, 120 + 10 * rounds):
        dice = random.Random(seed)
        path = configuration("judged", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nexecutor = {executor}\n")
        forget()
        runs, load, n = Runs(), None, 0
        try:
            for n in range(rounds + 1):
                with Service([JUDGED, path, str(dice.randint(1, 3)), runs.path], "judged") as s:
                    if n in (0, rounds):
                        s.ready()
                    if n == 0:  # it has made the queue
                        load = Load(peer, runs, seed, 60)
                    if n < rounds:
                        s.takes_signals()
                        threading.Event().wait(dice.uniform(0, 0.6))
                    else:  # the last one answers what is left
                        found = load.end(90)
                        until(lambda: load.oslo.not_once() == 0, 20)
                    s.end()
                until(lambda: at_the_broker() == [0, 0])
            oslo = {"all": load.oslo.all(), "answered": load.oslo.answered, "not once": load.oslo.not_once()}
            print(f"    C {found}\n    oslo {oslo}", flush=True)
            same([found["OK"], found["not once"]], [found["all"], 0], "operations that ended well, or ran not once")
            same([oslo["answered"], oslo["not once"]], [oslo["all"], 0], "oslo's, likewise")
            same(found["all"] > 10 * rounds and oslo["all"] > 10 * rounds, True, "it was a load")
        except Exception as e:
            raise AssertionError(f"in round {n}: {type(e).__name__}: {e}") from e
        finally:
            if load is not None:
                load.close()
            runs.close()


# ---- crashes ----

STARTED = re.compile(r"^(\S+Z) .*worker judged/\d, process \d+, (.*): started again in (\d+) ms")


def restarts(path):
    """Of each crash in a log: how it was, how many ms its successor has to wait, and until when."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            m = STARTED.match(line)
            if m:
                at = datetime.datetime.fromisoformat(m[1].removesuffix("Z")).timestamp()
                found.append((m[2], int(m[3]), at + int(m[3]) / 1000))
    return found


def throttled(dues, burst, delay):
    """So often at once, and after that one each delay: however many are due in a time, they are not more."""
    dues, noise = sorted(dues), 0.05  # between the reckoning and the line of the log
    for i, first in enumerate(dues):
        for j in range(i + burst, min(i + 20 * burst, len(dues))):
            if j - i + 1 > burst + (dues[j] - first + noise) / delay + 1:
                raise AssertionError(f"{j - i + 1} starts in {dues[j] - first:.3f} s")


class Victims:
    """Kills workers, in all ways there are, and counts what the parent says of it."""

    def __init__(self, service, peer, trap, seed):
        self.service, self.peer, self.trap, self.random = service, peer, trap, random.Random(seed)

    def one(self):
        before = len(restarts(self.service.logfile))
        how = self.random.choice(("segv", "kill", "abort", "exit", "outside", "factory"))
        if how == "factory":
            with open(self.trap, "w", encoding="utf-8"):
                pass
        if how in ("outside", "factory"):
            pids = until(lambda: children(self.service.p.pid), pause=0.002)
            for pid in pids if how == "outside" else [self.random.choice(pids)]:  # all at once, or one
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            self.peer.cast("judged", "crash", {"how": how})
        with contextlib.suppress(Exception):  # a cast that another's death took along is as good as none
            until(lambda: len(restarts(self.service.logfile)) > before + (how == "factory"), 1, 0.005)


def of_parent(pid):
    return [len(os.listdir(f"/proc/{pid}/fd")), status(pid)["Threads"].strip()]


def crashed(suite, peer, crashes, seed):
    workers, delay = 4, 0.2
    with suite.case(f"service: {crashes} crashes of workers, each started again, throttled, and nothing leaks (seed {seed})",
                    120 + crashes):
        path = configuration("judged-crash", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nexecutor = threading\n"
                             f"executor_pool_size = 8\nrespawn_delay = {delay}\n[oslo_messaging_rabbit]\n"
                             "rabbit_transient_queues_ttl = 600\n")  # nothing may depend on it
        forget()
        runs, load, trap = Runs(), None, os.path.join(BUILD, "interop", "trap")
        try:
            with Service([JUDGED, path, str(workers), runs.path, trap], "crashed") as s:
                s.ready()
                load = Load(peer, runs, seed, 5, "kills")
                victims, flat, memory = Victims(s, peer, trap, seed), [], []
                while len(restarts(s.logfile)) < crashes:
                    for _ in range(max(crashes // 10, 10)):
                        victims.one()
                    until(lambda: len(children(s.p.pid)) == workers and at_the_broker() == [2 * workers, workers], 30)
                    flat.append(of_parent(s.p.pid))
                    memory.append(int(status(s.p.pid)["VmData"].split()[0]))
                same(flat, [flat[0]] * len(flat), "descriptors and threads of the parent")
                same(max(memory) - memory[0] <= 256, True, f"memory of the parent, KiB {memory}")
                found, dead = load.end(90), restarts(s.logfile)
                peer.call("judged", "run", {"seq": -1}).expect(-1)
                s.end()
            until(lambda: at_the_broker() == [0, 0])
            throttled([due for _, _, due in dead], workers, delay)
            same(sum(ms > 0 for _, ms, _ in dead) * 5 > len(dead), True, "a fifth at the least had to wait")
            ways = {}
            for how, _, _ in dead:
                ways[how] = ways.get(how, 0) + 1
            print(f"    {len(dead)} crashes {ways}\n    C {found}\n    oslo {load.oslo.all()}, answered {load.oslo.answered}, "
                  f"timed out {load.oslo.timed_out}\n    the throttle held {sum(ms > 0 for _, ms, _ in dead)} back, all {len(dead)} in "
                  f"{dead[-1][2] - dead[0][2]:.0f} s\n    parent: descriptors {flat[-1][0]}, memory {memory[0]} to {memory[-1]} KiB",
                  flush=True)
            same(len(ways) >= (5 if crashes >= 100 else 2), True, f"ways to die: {ways}")
        finally:
            if load is not None:
                load.close()
            runs.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(trap)


def killed_whole(suite):
    """With nobody to come after, a worker's own queue is there until it expires, as oslo.messaging's are."""
    with suite.case("service: of a service that is killed as a whole nothing stays but queues that expire"):
        path = configuration("judged-ttl", f"[DEFAULT]\ntransport_url = {URL}\n[oslo_messaging_rabbit]\n"
                             "rabbit_transient_queues_ttl = 2\n")
        forget()
        runs = Runs()
        try:
            with Service([JUDGED, path, "2", runs.path], "judged") as s:
                s.ready()
                same(at_the_broker()[1], 2, "queues that are a worker's own")
                for pid in of_session(s.p.pid):
                    os.kill(pid, signal.SIGKILL)
            until(lambda: at_the_broker() == [0, 0], 20)
        finally:
            runs.close()


# ---- signals ----

def add(peer, limit=15.0):
    return peer.call("calc", "add", {"a": 1, "b": 2}, limit, namespace="calc", version="1.0")


@contextlib.contextmanager
def slow_call(peer, ms, limit=15.0):
    """A method that runs; gives what becomes of the call."""
    got = []
    caller = threading.Thread(target=lambda: got.append(
        peer.call("calc", "slow", {"ms": ms}, limit, namespace="calc", version="1.1")))
    caller.start()
    # while it has the only slot nothing else is answered
    until(lambda: add(peer, 1).cls is not None)
    yield got
    caller.join()


def signals(suite, peer):
    path = configuration("prefork", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nexecutor = threading\nexecutor_pool_size = 1\n"
                         "drain = 20\n")
    with suite.case("service: what runs when SIGTERM comes is answered"):
        with Service([*PREFORK, path, "1"]) as s:
            s.ready()
            with slow_call(peer, 5000) as got:
                s.end()
            same(got[0].cls, None, f"the slow call ended as {got[0]!r}")
    for first, second in ((signal.SIGINT, None), (signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)):
        what = "SIGINT" if second is None else f"{second.name} after SIGTERM"
        with suite.case(f"service: {what} gives up what runs, names it, and does not wait for it"):
            with Service([*PREFORK, path, "1"], "given-up") as s:
                s.ready()
                with slow_call(peer, 12000, 5.0) as got:
                    s.p.send_signal(first)
                    if second is not None:
                        until(lambda: int(status(s.p.pid)["ShdPnd"], 16) == 0, pause=0.001)  # two of a kind would be one
                        s.p.send_signal(second)
                    same([s.p.wait(9), of_session(s.p.pid)], [1, []], "exit status, and what is left")
                    same("still running: slow" in s.said(), True, "the log names it")
                same(got[0].cls, "MessagingTimeout", f"the slow call ended as {got[0]!r}")
    with suite.case("service: SIGHUP reloads, and it goes on serving; a bad file changes nothing"):
        with Service([*PREFORK, path, "3"], "reloaded", {"OS_FJORD__LOG_LEVEL": "info"}) as s:
            s.ready()
            for text, said in (("[fjord]\ndrain = 5\n", "[fjord] drain is reloaded"), ("[fjord]\ndrain = soon\n", "not reloaded")):
                with open(path, "a", encoding="utf-8") as f:
                    f.write(text)
                s.p.send_signal(signal.SIGHUP)
                until(lambda: said in s.said())
                add(peer).expect(3)
            s.end()


# ---- systemd ----

class Systemd:
    """What is told at $NOTIFY_SOCKET."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("")  # a name in the abstract space, of the kernel's choice
        self.name = "@" + self.socket.getsockname()[1:].decode()

    def env(self, **more):
        return {"NOTIFY_SOCKET": self.name} | more

    def hear(self, limit):
        self.socket.settimeout(limit)
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            return ""

    def told(self, wanted, unwanted=None, limit=20):
        heard = []
        while wanted not in (heard or [""])[-1]:
            heard.append(self.hear(limit))
            if heard[-1] == "" or (unwanted is not None and unwanted in heard[-1]):
                raise AssertionError(f"systemd was told {heard}, wanted {wanted}, not {unwanted}")


def notified(suite):
    for workers in (2, 0):
        where = "its own process" if workers == 0 else f"{workers} workers"
        with suite.case(f"service: systemd is told what is true while the broker goes and comes, in {where}", 90):
            systemd, proxy = Systemd(), Proxy(0)
            path = configuration("notified", f"[DEFAULT]\ntransport_url = {url(port=proxy.port)}\n[fjord]\nexecutor = threading\n"
                                 + FAST)
            with Service([*PREFORK, path, str(workers)], "notified", systemd.env(WATCHDOG_USEC="1000000")) as s:
                systemd.told("READY=1", "STOPPING")
                for _ in range(2):
                    systemd.told("WATCHDOG=1", "READY=1")
                    proxy.close()
                    for pipe in list(proxy.pipes):
                        pipe.stop()
                    systemd.told("STATUS=0 of 2" if workers > 0 else "STATUS=The broker is lost", "STOPPING")
                    end = threading.Event()
                    threading.Timer(2, end.set).start()  # eight rounds of questions
                    while not end.is_set():
                        same("WATCHDOG" in systemd.hear(0.5), False, "the watchdog is told without a broker")
                    proxy = Proxy(0, port=proxy.port)
                systemd.told("WATCHDOG=1", "STOPPING")
                s.p.send_signal(signal.SIGHUP)
                systemd.told("RELOADING=1", "STOPPING")
                systemd.told("READY=1", "STOPPING")
                s.p.send_signal(signal.SIGTERM)
                systemd.told("STOPPING=1", "READY")
                same(s.p.wait(20), 0, "exit status")
            proxy.close()


def service(suite, rounds=None, crashes=None):
    rounds = int(os.environ.get("FJ_SERVICE_ROUNDS", rounds or 10))
    crashes = int(os.environ.get("FJ_SERVICE_CRASHES", crashes or 30))
    seed = int(os.environ.get("FJ_SEED", random.randrange(1 << 32)))
    peer = PythonPeer()
    for n, executor in enumerate(EXECUTORS):
        if executor in os.environ.get("FJ_SERVICE_EXECUTORS", executor):
            terminated(suite, peer, -(-rounds // len(EXECUTORS)), executor, seed + 100 * n)
    crashed(suite, peer, crashes, seed)
    killed_whole(suite)
    signals(suite, peer)
    notified(suite)
    peer.close()


def service_full(suite):
    service(suite, 200, 1000)
