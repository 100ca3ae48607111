# SPDX-License-Identifier: Apache-2.0
"""One client beside servers under each executor, and how many system calls one makes for a call."""
import os
import shutil
import signal
import statistics

from brokers import DIR
from play import turn
from settings import AT_ONCE, CALLS, ROUNDS, WARM_UP
from sides import fjord, serving

EXECUTORS = ("blocking", "threading", "green", "coroutine")


def executors(world):
    """Calls from C to C to servers under each executor."""
    there = [fjord(world.rabbit, x, name=x) for x in EXECUTORS]
    with serving(there):
        for at_once, calls in ((1, CALLS), (AT_ONCE, 10 * CALLS)):
            results = {x: [] for x in EXECUTORS}
            for _ in range(ROUNDS):
                for side in there:
                    results[side.name].append(turn(side, calls=calls, warm_up=WARM_UP, at_once=at_once))
            times = {x: [r["seconds"] / calls * 1e6 for r in rs] for x, rs in results.items()}
            first = times[EXECUTORS[0]]
            for x, t in times.items():
                median, cpu = statistics.median(t), statistics.mean(r["server"] for r in results[x])
                print(f"{x:9} {at_once:>3} at once: {cpu:.0f} us of the server's processor time a call; median {median:.0f} us a call ({1e6 / median:.0f} a second), "
                      f"{min(t):.0f} to {max(t):.0f} us; {EXECUTORS[0]}/{x} {statistics.median(first) / median:.2f}, "
                      f"best rounds {min(first) / min(t):.2f}", flush=True)


def system_calls(world):
    """Of a server under coroutine; its start is among them, and small beside so many calls."""
    calls = 5 * CALLS
    if shutil.which("strace") is None:
        print("system calls: not counted, strace is not installed")
        return
    side = fjord(world.rabbit)
    for at_once in (1, AT_ONCE):
        counts = os.path.join(DIR, "strace")
        server = side.process = side.start(before=["strace", "-f", "-c", "-U", "name,calls", "-o", counts])
        turn(side, calls=calls, warm_up=WARM_UP, at_once=at_once)
        # strace ends with what it traces
        with open(f"/proc/{server.pid}/task/{server.pid}/children") as f:
            os.kill(int(f.read().split()[0]), signal.SIGTERM)
        server.wait(30)
        with open(counts) as f:
            rows = [line.split() for line in f]
        each = {r[0]: int(r[1]) / (calls + WARM_UP) for r in rows if len(r) == 2 and r[1].isdigit() and r[0] != "total"}
        print(f"coroutine {at_once:>3} at once, system calls a call: " +
              ", ".join(f"{n} {c:.2f}" for n, c in sorted(each.items(), key=lambda i: -i[1]) if c >= 0.02), flush=True)
