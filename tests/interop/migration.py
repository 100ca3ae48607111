# SPDX-License-Identifier: Apache-2.0
"""docs/migration.md on its service: in each state it runs, and an oslo.messaging client notices nothing."""
import os
import re
import socket
import subprocess
import threading

from examples import configuration, running
from harness import BUILD, URL, PythonPeer, same

COMPANY = 4


class Stock:
    """The stock service: answers nobody before so many ask at once, so that who blocks others never gets an answer."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.company = 1
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        asking = []
        while True:
            try:
                s = self.socket.accept()[0]
            except OSError:
                return
            asking.append((s, s.recv(64)))
            if len(asking) < self.company:
                continue
            for s, item in asking:
                s.sendall({b"tea": b"7", b"milk": b"3"}.get(item, b"-1"))
                s.close()
            asking = []

    def close(self):
        self.socket.close()


def at_once(call, count):
    """What `count` calls at the same time were answered."""
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(call())) for _ in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


def expectations(peer, stock):
    """The same in every state."""
    peer.call("shop", "total", {"prices": [1, 2, 3]}).expect(6)
    peer.call("shop", "pause", {"seconds": 0.02}).expect("rested")
    stock.company = 1
    peer.call("shop", "stock", {"item": "milk"}).expect(3)
    peer.call("shop", "stock", {"item": "gold"}).expect_failure("NoSuchItem", "gold")
    stock.company = COMPANY
    for answer in at_once(lambda: peer.call("shop", "stock", {"item": "tea"}), COMPANY):
        answer.expect(7)
    for answer in at_once(lambda: peer.call("shop", "meet", {"n": COMPANY}), COMPANY):
        answer.expect(True)


def conf(executor, strict=True):
    return configuration("migration", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nexecutor = {executor}\n"
                         f"strict = {'true' if strict else 'false'}\n")


def refused(program, executor, method):
    done = subprocess.run([os.path.join(BUILD, "bin", program), conf(executor)], capture_output=True, text=True,
                          timeout=30)
    same(done.returncode, 1, done.stderr[:300])
    same("strict" in done.stderr and f"method {method} " in done.stderr, True, done.stderr[:300])


def libraries(program):
    """The names of the shared libraries it needs, and whether the hooks are in it in some way."""
    path = os.path.join(BUILD, "bin", program)
    needs = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    symbols = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    return "libfjord-green" in needs or re.search(r" [TtDdBb] fj__green_hooks$", symbols, re.M) is not None


def blocks(text):
    """{name: its code} of /* guide: name */ ... /* end */."""
    return {m[1]: m[2].strip() for m in re.finditer(r"/\* guide: (\w+) \*/\n(.*?)/\* end \*/", text, re.S)}


def the_guide(suite):
    with suite.case("migration: the guide's code is the example's"):
        kept = {}
        for name in ("green.c", "explicit.c", "server.c"):
            with open(os.path.join("examples", "migration", name), encoding="utf-8") as f:
                kept.update(blocks(f.read()))
        with open(os.path.join("docs", "migration.md"), encoding="utf-8") as f:
            shown = [m.strip() for m in re.findall(r"```c\n(.*?)```", f.read(), re.S)]
        same(sorted(shown), sorted(kept.values()), "code")


def migration(suite):
    the_guide(suite)
    stock = Stock()
    os.environ["STOCK_PORT"] = str(stock.port)
    peer = PythonPeer()
    steps = [("migration-0", "green"), ("migration-0", "bridged"), ("migration-1", "bridged"),
             ("migration-2", "bridged"), ("migration-3", "bridged"), ("migration-3", "coroutine"),
             ("migration-done", "coroutine")]
    for program, executor in steps:
        with suite.case(f"migration: {program} under {executor}"):
            with running(program, conf(executor)) as line:
                same(line, f"serving shop under the executor {executor}\n")
                expectations(peer, stock)
    with suite.case("migration: strict refuses coroutine while a green method is left, and names it"):
        refused("migration-0", "coroutine", "pause")
        refused("migration-1", "coroutine", "stock")
        refused("migration-2", "coroutine", "meet")
    with suite.case("migration: in the end the hooks are not in the program, before they are"):
        same([libraries(f"migration-{n}") for n in (0, 1, 2, 3, "done")], [True, True, True, True, False])
    peer.close()
    stock.close()
    del os.environ["STOCK_PORT"]
