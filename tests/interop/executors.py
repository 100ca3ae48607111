# SPDX-License-Identifier: Apache-2.0
"""One service binary, called by oslo.messaging, under every executor: between two runs one line of its file is rewritten."""
import os
import re
import threading

from examples import configuration, running
from harness import BUILD, EXECUTORS, URL, PythonPeer, same

SERVICE = os.path.join("..", "interop", "service")  # beside the examples
CALLERS = 6


def every_method(peer, executor):
    def call(method, args):
        return peer.call("it-executors", method, args)

    call("add", {"a": 2, "b": 3}).expect(5)
    call("refuse", {}).expect_failure("SoldOut", "no pears left")
    call("nap", {"ms": 20}).expect("slept")
    call("count", {"n": 21}).expect([42, 42])
    call("nonsense", {}).expect_failure("NoSuchMethod", "nonsense")
    wrong = []

    def caller(n):
        try:
            call("nap", {"ms": 10}).expect("slept")
            call("count", {"n": n}).expect([2 * n, 2 * n])
            call("add", {"a": n, "b": n}).expect(2 * n)
        except AssertionError as e:
            wrong.append(str(e))

    threads = [threading.Thread(target=caller, args=(n,)) for n in range(CALLERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same(wrong, [], f"what went wrong at once under {executor}")


def executors(suite):
    binary = os.path.join(BUILD, "bin", SERVICE)
    with open(binary, "rb") as f:
        before = f.read()
    path = configuration("service", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nexecutor = none yet\n"
                         "executor_pool_size = 4\n")
    peer = PythonPeer()
    for executor in EXECUTORS:
        with suite.case(f"executors: the same program under {executor}, by one line of its file"):
            with open(path, encoding="utf-8") as f:
                old = f.read()
            new = re.sub(r"^executor = .*$", f"executor = {executor}", old, flags=re.M)
            differ = [a for a, b in zip(old.splitlines(), new.splitlines()) if a != b]
            same([len(differ), old.count("\n")], [1, new.count("\n")], "lines that differ")
            with open(path, "w", encoding="utf-8") as f:
                f.write(new)
            with running(SERVICE, path) as line:
                same(line, f"serving under {executor}\n")
                every_method(peer, executor)
    with suite.case("executors: it was the same program all the time"):
        with open(binary, "rb") as f:
            same(f.read() == before, True)
    peer.close()
