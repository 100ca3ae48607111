# SPDX-License-Identifier: Apache-2.0
"""The ledger over real connections while they break: what every call said of itself must be true."""
import contextlib
import json
import os
import random
import select
import socket
import struct
import subprocess
import threading

from harness import BUILD, EXECUTORS, broker_address, ctl, url

STORM = os.path.join(BUILD, "interop", "storm")
SECONDS = 10


class Pipe:
    """One connection through the proxy; cut(): nothing passes any more, and both ends hear of it in some way."""

    def __init__(self, client, broker, proxy):
        self.ends, self.proxy = (client, broker), proxy
        self.left = None  # bytes that still pass before it breaks
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while self.pump():
                pass
        except OSError:
            pass
        self.end()

    def pump(self):
        for one in select.select(self.ends, [], [])[0]:
            data = one.recv(65536)
            if self.left is not None:  # in mid-frame, most often
                data, self.left = data[:self.left], self.left - len(data)
            other = self.ends[1 - self.ends.index(one)]
            other.sendall(data)
            if not data or (self.left is not None and self.left <= 0):
                return False
        return True

    def stop(self):
        """Now."""
        for one in self.ends:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def end(self):
        reset = self.left is not None and self.proxy.random.random() < 0.5
        for one in self.ends:
            if reset:  # RST, not FIN: what is on its way is lost too
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
        self.proxy.pipes.discard(self)


class Proxy:
    def __init__(self, seed, address=None, port=0):
        self.random = random.Random(seed)
        self.address = address or broker_address()[:2]
        self.pipes, self.cuts = set(), 0
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            try:
                broker = socket.create_connection(self.address)
            except OSError:
                client.close()
                continue
            for s in (client, broker):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pipes.add(Pipe(client, broker, self))

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # or who accepts goes on
        self.socket.close()

    def cut(self):
        """Break one connection after some more bytes."""
        whole = [p for p in list(self.pipes) if p.left is None]
        if whole:
            self.random.choice(whole).left = self.random.randint(1, 3000)
            self.cuts += 1


def break_connections(proxy, over):
    for turn in range(SECONDS * 100):
        if over.wait(proxy.random.uniform(0.02, 0.3)):
            return
        if turn % 10 == 9:
            ctl("close_all_connections", "test")
        else:
            proxy.cut()


def storm(suite):
    seed = int(os.environ.get("FJ_TEST_SEED", random.randrange(1 << 32)))
    proxy = Proxy(seed)
    over = threading.Event()
    at = url(port=proxy.port)
    programs = {}
    with suite.case("storm: servers and clients start"):
        for executor in EXECUTORS:
            programs[executor] = subprocess.Popen([STORM, executor, f"it-storm-{executor}", at, str(SECONDS)],
                                                  stdout=subprocess.PIPE, text=True)
        for p in programs.values():
            if p.stdout.readline() != "ready\n":
                raise AssertionError(f"it ended with {p.wait(5)}")
    breaker = threading.Thread(target=break_connections, args=(proxy, over))
    breaker.start()
    threading.Timer(SECONDS, over.set).start()
    for executor, p in programs.items():
        with suite.case(f"storm: under {executor}, every operation ends once, in time, and truly (seed {seed})", 60):
            try:
                found = json.loads(p.communicate(timeout=55)[0] or "{}")
            finally:
                p.kill()
            print(f"    {found}")
            if p.returncode != 0 or not found["balanced"] or not found["back"]:
                raise AssertionError(f"status {p.returncode}: {found}")
            if found["OK"] * 2 < found["all"] or found["OK"] < 100:
                raise AssertionError(f"too few came through: {found}")
    over.set()
    breaker.join()
    with suite.case("storm: connections broke indeed"):
        if proxy.cuts < SECONDS / 2:
            raise AssertionError(f"only {proxy.cuts}")
    proxy.close()
