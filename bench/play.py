# SPDX-License-Identifier: Apache-2.0
"""Turns of clients, side by side: each round has a turn of every one, so that whatever else the machine does hits all alike."""
import json
import sys

import machine
from settings import ROUNDS, SECONDS, WARM_UP

TRIAL = 0.2  # seconds of calls by which it is learnt how many make a turn


def expect(process, what):
    line = process.stdout.readline()
    if not line.startswith(what):
        process.kill()
        raise SystemExit(f"bench: {' '.join(process.args)} said {line!r} instead of {what}")
    return line


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def finish(process):
    go_on(process)
    if process.wait(60) != 0:
        raise SystemExit(f"bench: {' '.join(process.args)} failed")
    process.stdin.close()
    process.stdout.close()
    machine.OURS.discard(process.pid)


def turn(side, **words):
    """A client's turn.  @return what it reports, and: rate, of calls a second; client, server, broker: microseconds of processor time
    a call; foreign: the part of the machine that others had"""
    process = side.client(**words)
    expect(process, "begin")
    pids = {"client": process.pid, "server": side.process.pid, "broker": side.broker.pid}
    span = machine.Span(pids)
    go_on(process)
    result = json.loads(expect(process, "{"))
    used, foreign = span.end()
    finish(process)
    result["rate"] = result["done"] / result["seconds"]
    result["foreign"] = foreign
    result.update({name: t / result["done"] * 1e6 for name, t in used.items()})
    return result


def enough(side, seconds=SECONDS, **words):
    """How many calls of this kind take so many seconds; learnt in a few of them."""
    at_once = words.get("at_once", 1)
    n = max(50, 2 * at_once)
    while True:
        tried = turn(side, calls=n, warm_up=at_once, **words)
        if tried["seconds"] >= min(TRIAL, seconds):
            return max(at_once, int(tried["rate"] * seconds))
        n = int(max(2 * n, 1.2 * tried["rate"] * min(TRIAL, seconds)))


def rounds(turns, n=ROUNDS, title=""):
    """@param turns  {name: function} @return {name: [result a round]}"""
    results = {name: [] for name in turns}
    for i in range(n):
        print(f"{title}: round {i + 1} of {n}", end="\r", file=sys.stderr, flush=True)
        for name, one in turns.items():
            results[name].append(one())
    print(" " * (len(title) + 30), end="\r", file=sys.stderr, flush=True)
    return results


def side_by_side(sides, title, **words):
    """The same calls by every side; as many as take about as long."""
    def prepared(side):
        if "rate" in words:
            calls = max(1, int(words["rate"] * SECONDS))
            warm_up = min(WARM_UP, calls)
        else:
            calls = enough(side, **words)
            warm_up = min(WARM_UP, calls)
        return lambda: turn(side, calls=calls, warm_up=warm_up, **words)
    return rounds({s.name: prepared(s) for s in sides}, title=title)
