# SPDX-License-Identifier: Apache-2.0
"""Services of worker processes: told to end at random moments under load, their workers killed, their broker lost.

FJ_SERVICE_ROUNDS and FJ_SERVICE_CRASHES say how often; `service-full` is 200 times and 1,000."""
import contextlib
import os
import random
import select
import signal
import subprocess
import threading

from examples import configuration
from harness import BUILD, EXECUTORS, URL, PythonPeer, same, table, until

SERVER = os.path.join(BUILD, "bin", "prefork_server")
CALLERS = 4


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


class Service:
    def __init__(self, path, workers=2):
        self.log = open(os.path.join(BUILD, "interop", f"prefork-{os.getpid()}.log"), "a+", encoding="utf-8")
        self.p = subprocess.Popen([SERVER, path, str(workers)], stdout=subprocess.PIPE, stderr=self.log,
                                  start_new_session=True)

    def ready(self):
        if not select.select([self.p.stdout], [], [], 20)[0] or self.p.stdout.read1(100) != b"serving calc\n":
            raise AssertionError(f"the service did not say that it serves: {self.p.poll()}")

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

    def end(self, sig=signal.SIGTERM, limit=30):
        self.p.send_signal(sig)
        got = self.p.wait(limit)
        same([got, of_session(self.p.pid)], [0, []], "exit status, and what is left")


class Load:
    """Calls without end: each is answered, or ends in a way that is counted as wrong."""

    def __init__(self, peer):
        self.peer, self.over, self.answered, self.wrong = peer, threading.Event(), 0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.call, args=(n,)) for n in range(CALLERS)]
        for t in self.threads:
            t.start()

    def call(self, n):
        while not self.over.is_set():
            n += CALLERS
            got = self.peer.call("calc", "add", {"a": n, "b": 1}, 30.0, namespace="calc", version="1.0")
            with self.lock:
                if got.cls is None and got.result == n + 1:
                    self.answered += 1
                else:
                    self.wrong.append(f"add({n}, 1): {got!r}")

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()
        same(self.wrong, [], "calls that were not answered")
        return self.answered


def at_the_broker():
    """What of the services is there: their connections, and queues that are each server's own."""
    connections = [c for c in table("list_connections", "client_properties", "pid")
                   if "fjord" in str(c["client_properties"]).lower()]
    return [len(connections), [q["name"] for q in table("list_queues", "name") if "_fanout_" in q["name"]
                               and q["name"].startswith("calc")]]


def terminated(suite, peer, rounds, executor):
    with suite.case(f"service: {rounds} SIGTERMs at random moments under load, executor {executor}", 30 + 5 * rounds):
        path = configuration("prefork", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nexecutor = {executor}\n")
        with Service(path) as first:
            first.ready()
            load = Load(peer)
            try:
                for _ in range(rounds):
                    with Service(path) as next_one:
                        next_one.takes_signals()
                        threading.Event().wait(random.uniform(0, 0.4))
                        next_one.end()
            finally:
                done = load.end()
            first.end()
        same(done > 0, True, "some were answered")
        until(lambda: at_the_broker() == [0, []])


def crashed(suite, peer, crashes):
    with suite.case(f"service: {crashes} crashes of workers, each started again, and nothing leaks", 60 + crashes):
        path = configuration("prefork-crash", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nrespawn_delay = 0.01\n"
                             "[oslo_messaging_rabbit]\nrabbit_transient_queues_ttl = 2\n")
        # a worker that is killed leaves its fanout queue to expire, as oslo.messaging's do
        with Service(path, 4) as s:
            s.ready()
            pid = s.p.pid
            fds = len(os.listdir(f"/proc/{pid}/fd"))
            for _ in range(crashes):
                victim = random.choice(until(lambda: children(pid) if len(children(pid)) == 4 else None, pause=0.002))
                os.kill(victim, signal.SIGKILL)
                until(lambda: victim not in children(pid), pause=0.002)
            until(lambda: len(children(pid)) == 4)
            until(lambda: len(at_the_broker()[1]) == 4, 20)
            same(len(os.listdir(f"/proc/{pid}/fd")), fds, "descriptors of the parent")
            peer.call("calc", "add", {"a": 1, "b": 2}, namespace="calc", version="1.0").expect(3)
            s.end()
            until(lambda: at_the_broker() == [0, []])


def signals(suite, peer):
    path = configuration("prefork", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nexecutor = threading\nexecutor_pool_size = 1\n"
                         "drain = 20\n")
    with suite.case("service: what runs when SIGTERM comes is answered"):
        with Service(path, 1) as s:
            s.ready()
            got = []
            caller = threading.Thread(target=lambda: got.append(
                peer.call("calc", "slow", {"ms": 5000}, namespace="calc", version="1.1")))
            caller.start()
            # while it has the only slot nothing else is answered
            until(lambda: peer.call("calc", "add", {"a": 1, "b": 2}, 1, namespace="calc", version="1.0").cls is not None)
            s.end()
            caller.join()
            same(got[0].cls, None, f"the slow call ended as {got[0]!r}")
    with suite.case("service: SIGHUP reloads, and it goes on serving; a bad file changes nothing"):
        with Service(path) as s:
            s.ready()
            for text in ("[fjord]\ndrain = 5\n", "[fjord]\ndrain = soon\n"):
                with open(path, "a", encoding="utf-8") as f:
                    f.write(text)
                s.p.send_signal(signal.SIGHUP)
                peer.call("calc", "add", {"a": 1, "b": 2}, namespace="calc", version="1.0").expect(3)
            s.end()


def service(suite, rounds=None, crashes=None):
    rounds = rounds or int(os.environ.get("FJ_SERVICE_ROUNDS", "5"))
    crashes = crashes or int(os.environ.get("FJ_SERVICE_CRASHES", "20"))
    peer = PythonPeer()
    for executor in EXECUTORS:
        terminated(suite, peer, -(-rounds // len(EXECUTORS)), executor)
    crashed(suite, peer, crashes)
    signals(suite, peer)
    peer.close()


def service_full(suite):
    service(suite, 200, 1000)
