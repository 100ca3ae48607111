# SPDX-License-Identifier: Apache-2.0
"""Notifications, one way, each confirmed to who sends and acknowledged to who takes, beside librabbitmq and the limit."""
import statistics
import subprocess

import machine
from settings import FOREIGN, NOTIFICATIONS, ROUNDS, WINDOW, program

EXECUTORS = ("threading", "coroutine")
BYTES = 430  # of a notification as Fjord's bench sends it


def one_way(sink, source):
    """@return notifications a second, as the side that takes them sees it, and others' part of the machine meanwhile"""
    process = subprocess.Popen(sink, stdout=subprocess.PIPE, text=True)
    machine.OURS.add(process.pid)
    try:
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"bench: {sink[0]} did not start")
        sender = subprocess.Popen(source)
        machine.OURS.add(sender.pid)
        span = machine.Span({})
        seconds = float(process.stdout.readline())
        _, foreign = span.end()
        if sender.wait(300) != 0 or process.wait(60) != 0:
            raise SystemExit(f"bench: {source[0]} failed")
        return NOTIFICATIONS / seconds, foreign
    finally:
        process.kill()
        process.wait()


def both_ends(world):
    """{who: (sink, source)}"""
    port, url, n = world.rabbit.port, world.rabbit.url, str(NOTIFICATIONS)
    notify = program("notify")
    ends = {}
    for name in ("bare", "hand"):
        words = [port, f"calls={n}", f"bytes={BYTES}"]
        ends[name] = ([program(name), "sink", *words], [program(name), "source", *words, f"at_once={WINDOW}"])
    for x in EXECUTORS:
        ends[x] = ([notify, "sink", url, n, x], [notify, "source", url, n, WINDOW, x])
    return ends


def notifications(world):
    """Notifications, one way, beside bare librabbitmq and the hand-tuned side."""
    ends = both_ends(world)
    taken = {name: [] for name in ends}
    for _ in range(ROUNDS):
        for name, (sink, source) in ends.items():
            taken[name].append(one_way(sink, source))
    rates = {name: [rate for rate, _ in t] for name, t in taken.items()}
    floor, limit = statistics.median(rates["bare"]), statistics.median(rates["hand"])
    for x, r in rates.items():
        median = statistics.median(r)
        ratio = median / floor
        print(f"notifications, {x:9} median {median:.0f} a second, {min(r):.0f} to {max(r):.0f}; "
              f"{x}/bare {ratio:.2f} (goal >= 0.8: {'met' if ratio >= 0.8 else 'not met'}), best rounds {max(r) / max(rates['bare']):.2f}; "
              f"{x}/hand {median / limit:.2f}", flush=True)
    bad = sum(any(taken[x][i][1] > FOREIGN for x in ends) for i in range(ROUNDS))
    if bad:
        print(f"notifications: {bad} of {ROUNDS} rounds are void: others had more than {100 * FOREIGN:.0f} % of the machine")
