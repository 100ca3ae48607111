# SPDX-License-Identifier: Apache-2.0
"""The examples, as a user runs them."""
import contextlib
import os
import signal
import subprocess
import threading

from harness import BUILD, EXECUTORS, URL, PythonPeer, same


def run(name, *args, status=0, timeout=60):
    done = subprocess.run([os.path.join(BUILD, "bin", name), *args], capture_output=True, text=True, timeout=timeout)
    same(done.returncode, status, f"exit status of {name}: {done.stderr[:300]}")
    return done


@contextlib.contextmanager
def running(name, *args):
    """A server that says it serves; SIGTERM ends it, and it wants status 0."""
    p = subprocess.Popen([os.path.join(BUILD, "bin", name), *args], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    try:
        line = p.stdout.readline()
        same(line.startswith("serving"), True, line)
        yield line
        p.send_signal(signal.SIGTERM)
        same(p.wait(20), 0, f"exit status of {name}")
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()
        p.stdout.close()


def configuration(name, text):
    path = os.path.join(BUILD, "interop", f"{name}-{os.getpid()}.conf")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def examples(suite):
    broker = f"[DEFAULT]\ntransport_url = {URL}\n"
    peer = PythonPeer()
    with suite.case("examples: the calculator under every executor, changed by one line of its file"):
        for executor in EXECUTORS:
            path = configuration("calc", f"{broker}[fjord]\nexecutor = {executor}\n")
            with running("calc_server", path) as line:
                same(executor in line, True, line)
                same(run("calc_client", path, "add", "1", "2").stdout, "3\n")
                same(run("calc_client", path, "slow", "1").stdout, "1\n")
                same(run("calc_client", path, "nap", "1").stdout, "1\n")
                same("ZeroDivisionError" in run("calc_client", path, "div", "1", "0", status=1).stderr, True)
                peer.call("calc", "sub", {"a": 3, "b": 1}, namespace="calc").expect(2)
    path = configuration("shop", broker)
    with running("coroutine_server", path):
        with suite.case("examples: explicit methods sleep, gather two calls, and are answered by a timer"):
            peer.call("shop", "price", {"item": "tea"}).expect(3)
            peer.call("shop", "total", {"a": "tea", "b": "milk"}).expect(7)
            peer.call("shop", "remind", {"seconds": 0.01}).expect("time is up")
            peer.call("shop", "remind", {}).expect_failure("TypeError", "seconds")
        with suite.case("examples: tasks of one loop call at once"):
            done = run("loop_client", path, "tea", "milk", "sugar")
            same(sorted(done.stdout.split("\n")), ["", "milk 4", "sugar 5", "tea 3"])
    with suite.case("examples: old code and coroutines wait for each other under bridged"):
        path = configuration("house", f"{broker}[fjord]\nexecutor = bridged\nstrict = true\n")
        with running("bridged_server", path):
            peer.call("house", "measure", {}).expect(17)
            peer.call("house", "advise", {}).expect("rain")
    with suite.case("examples: ordinary C that blocks, on one thread under green"):
        with running("green_server", configuration("host", broker)):
            peer.call("host", "resolve", {"name": "127.0.0.1"}).expect("127.0.0.1")
            peer.call("host", "resolve", {"name": "no such name"}).expect_failure("gaierror")
            peer.call("host", "nap", {"seconds": 1}).expect(None)
            mark = os.path.join(BUILD, "interop", f"green-{os.getpid()}")
            os.mkfifo(mark)
            # Neither opens its end before the other does, so that both end only if both run.
            done = []
            reader = threading.Thread(target=lambda: done.append(
                peer.call("host", "run", {"command": f"cat '{mark}'"})))
            reader.start()
            peer.call("host", "run", {"command": f"echo met >'{mark}'"}).expect("")
            reader.join(20)
            done[0].expect("met\n")
            os.unlink(mark)
            peer.call("host", "run", {"command": "exit 3"}).expect_failure("OSError")
    with suite.case("examples: the demonstration"):
        path = configuration("demo", "[DEFAULT]\ntransport_url = fake://\n[demo]\nexecutors = green, coroutine\n")
        lines = run("demo", path).stdout.split("\n")
        same([line.split()[0] for line in lines[2:4]], ["green", "coroutine"])
        same(float(lines[2].split()[1]) * 4 < float(lines[3].split()[1]), True, "sleeping beside each other")
    peer.close()
