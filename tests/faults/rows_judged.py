# SPDX-License-Identifier: Apache-2.0
"""J: long runs with figures, which run when they are named (`make judge-faults`)."""
import os
import random
import subprocess
import sys

from lab import BACKOFF, OSLO, Skip, need, row, until
from rows_broker import pause, steady

ROUNDS = int(os.environ.get("FJ_ROUNDS", 50))
CLIENTS = int(os.environ.get("FJ_CLIENTS", 200))


def quantile(sorted_values, q):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * q))]


@row("J1", f"the broker is killed {ROUNDS} times under load", "P1 P2 P3 P5", judged=True, limit=40 * ROUNDS)
def killed_often(lab):
    server, client = steady(lab)
    took = []
    for n in range(ROUNDS):
        pause(random.uniform(0.1, 1.5))
        lab.broker.kill()
        pause(random.choice((0, 0, 0, 1, 3)))
        lab.broker.again()
        took.append(lab.back(client, BACKOFF + 2, f"after kill {n + 1}"))
        need(server.process.poll() is None and client.process.poll() is None, "a program died")
    client.rest()
    took.sort()
    lab.judge(slack=1)
    late = lab.ledger.late()
    need(quantile(late, 0.999) <= 0.2, f"one in a thousand ends {quantile(late, 0.999):.2f} s or more after its deadline")
    lab.figures |= {"rounds": ROUNDS, "back_s_median": round(quantile(took, 0.5), 2), "back_s_max": round(took[-1], 2)}


# ---- a herd ------------------------------------------------------------------------------------------------


def busiest(times, width=1.0):
    """The most of them within any one second."""
    times, first, most = sorted(times), 0, 0
    for i, t in enumerate(times):
        while t - times[first] >= width:
            first += 1
        most = max(most, i - first + 1)
    return most


def come_back(lab, chaos, clients, cut, what):
    """Cut all off; the most of their connections that come in any one second is at most a quarter of them."""
    since = len(chaos.lines(event="connected"))
    had = since - len(chaos.lines(event="close"))
    cut()
    for c in clients:
        lab.back(c, 60, what)
    until(lambda: len(chaos.lines(event="connected")) - since >= had, 60, f"{what} all {had} connections are back", 0.5)
    times = [line["t"] for line in chaos.lines(event="connected")[since:]]
    most = busiest(times)
    lab.figures |= {f"connections_{what}": had, f"most_in_a_second_{what}": most, f"within_s_{what}": round(max(times) - min(times), 1)}
    need(lab.subject == OSLO or most <= had / 4, f"{what} {most} of {had} connections came back within one second")


@row("J2", f"{CLIENTS} clients with the defaults are cut off at once", "P1 P5", ("threading",), judged=True, limit=600)
def herd(lab):
    chaos = lab.chaos()
    at = lab.url(chaos.port)
    # Four hundred connections made one after the other want more than the broker here may have.
    lab.stack.callback(lab.broker.ctl, "set_vm_memory_high_watermark", "absolute", "1GB")
    lab.broker.ctl("set_vm_memory_high_watermark", "absolute", "4GB")
    lab.server(pace=())
    clients = [lab.client(at, pace=(), ready=False) for _ in range(CLIENTS)]
    for c in clients:
        c.wait("ready", 60)
        lab.back(c, 30, "before the fault")
    come_back(lab, chaos, clients, lambda: chaos.ctl("kill", "all"), "cut")

    def away():
        chaos.ctl("listen", "off")
        chaos.ctl("kill", "all")
        pause(10)
        chaos.ctl("listen", "on")

    come_back(lab, chaos, clients, away, "away")


# ---- deadlines ---------------------------------------------------------------------------------------------


def deadlines(lab, bound):
    """Calls that nobody answers in time: of a thousand, one may end later than that after its deadline."""
    server, client = lab.server(), lab.client()
    lab.back(client, 5, "before")
    calls = []
    for n in range(2000):
        calls.append(client.start("call", timeout=round(random.uniform(0.1, 2), 3), ms=2500))
        if n % 20 == 19:
            pause(0.1)
    for seq in calls:
        client.end(seq)
    late = lab.ledger.late()
    need(len(late) >= len(calls), f"only {len(late)} of {len(calls)} ended without an answer")
    p999, jitter = quantile(late, 0.999), lab.jitter.close()
    if jitter > bound:
        raise Skip(f"the machine is busy with something else: it woke a process {1000 * jitter:.0f} ms late, and 99.9 % ended within {1000 * p999:.0f} ms")
    need(p999 <= bound, f"one in a thousand ends {1000 * p999:.1f} ms or more after its deadline")
    lab.judge(slack=1)
    server.kill()  # two thousand sleepers


@row("J3", "two thousand deadlines on an idle machine: 99.9 % within 20 ms", "P2", judged=True)
def idle(lab):
    deadlines(lab, 0.02)


@row("J3", "two thousand deadlines on a loaded machine, two busy processes a processor: 99.9 % within 200 ms", "P2", judged=True)
def loaded(lab):
    for _ in range(2 * os.cpu_count()):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        lab.stack.callback(busy.wait)
        lab.stack.callback(busy.kill)
    deadlines(lab, 0.2)
