# SPDX-License-Identifier: Apache-2.0
"""Calls within a process, over fake://, beside what two threads can do at best; and envelopes beside jansson alone
(bench/fake.c, bench/envelope.c)."""
import json
import subprocess

import machine
from figures import Figures, Goal
from settings import ROUNDS, program
from table import show

COLUMNS = (("us", "us each", "{:.3f}"), ("rate", "a second", "{:.0f}"))
GOALS = {
    "one at once": [Goal("rate", "coroutine-reference", None, ">=", 1e6), Goal("rate", "green-reference", None, ">=", 1e6),
                    Goal("rate", "threading", "eventfd", ">=", 0.8)],
    "64 at once": [Goal("rate", "threading", "queue", ">=", 0.35)],
}


def one_round(name):
    """@return [{cell, side, us}] of all that the program measures once"""
    process = subprocess.Popen([program(name)], stdout=subprocess.PIPE, text=True)
    machine.OURS.add(process.pid)
    span = machine.Span({})
    rows = [json.loads(line) for line in process.stdout]
    _, foreign = span.end()
    if process.wait(60) != 0:
        raise SystemExit(f"bench: {name} failed")
    machine.OURS.discard(process.pid)
    return [{**r, "rate": 1e6 / r["us"], "foreign": foreign} for r in rows]


def fake(_world):
    """Calls over fake:// by executor, and envelopes in and out."""
    cells = {}
    for _ in range(ROUNDS):
        for row in one_round("fake") + one_round("envelope"):
            cells.setdefault(row["cell"], {}).setdefault(row["side"], []).append(row)
    for cell, results in cells.items():
        goals = GOALS.get(cell, [])
        if cell.startswith("envelope in"):
            goals = [Goal("us", "fjord", "jansson", "<=", 0.65)]
        first = "fjord" if "fjord" in results else next(iter(results))
        show("fake", cell, Figures(results), goals, columns=COLUMNS, compared="us", first=first, cell=cell)
