# SPDX-License-Identifier: Apache-2.0
"""What is printed, and what is kept for plots (results.jsonl: a line a side of a cell)."""
import json
import os
import time

from settings import FOREIGN, RESULTS

COLUMNS = (("rate", "a second", "{:.0f}"), ("p50", "p50 us", "{:.0f}"), ("p99", "p99 us", "{:.0f}"),
           ("p999", "p99.9 us", "{:.0f}"), ("client", "client us", "{:.1f}"), ("server", "server us", "{:.1f}"),
           ("broker", "broker us", "{:.1f}"))


def forget(workload):
    """What an earlier run kept of this one."""
    lines = []
    if os.path.exists(RESULTS):
        with open(RESULTS) as f:
            lines = [line for line in f if json.loads(line)["workload"] != workload]
    os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
    with open(RESULTS, "w") as f:
        f.writelines(lines)


def keep(workload, figures, **cell):
    with open(RESULTS, "a") as f:
        for side in figures.sides():
            f.write(json.dumps({"workload": workload, **cell, "side": side, **figures.medians(side), "rounds": figures.rounds,
                                "void_rounds": figures.bad, "void": figures.void, "at": int(time.time())}) + "\n")


def show_goals(figures, goals):
    for g in goals:
        if not g.applies(figures):
            continue
        value, met = g.judged(figures)
        said = "void" if figures.void else "met" if met else "not met"
        print(f"  {g.name} {value:.3g} (goal {g.sign} {g.limit:g}: {said})", flush=True)


def show_worth(figures):
    if figures.bad:
        print(f"  {figures.bad} of {figures.rounds} rounds are void: others had up to {100 * figures.foreign:.0f} % of the machine "
              f"(more than {100 * FOREIGN:.0f} %)" + ("; so is the whole" if figures.void else ""), flush=True)


def show(workload, title, figures, goals=(), columns=COLUMNS, first="fjord", compared="rate", **cell):
    """A row a side: medians, the span of what is compared, and its ratio to the first side's."""
    first = first if first in figures.sides() else next(iter(figures.sides()))
    there = [c for c in columns if c[0] in next(iter(figures.kept.values()))[0]]
    print(f"{workload}, {title}")
    print(f"  {'':20}" + "".join(f"{head:>11}" for _, head, _ in there) + f"   {compared}: best..worst, beside {first}")
    for side in figures.sides():
        low, high = figures.spread(side, compared)
        beside = figures.median(first, compared)
        ratio = figures.median(side, compared) / beside if beside else float("inf")
        print(f"  {side:20}" + "".join(f"{form.format(figures.median(side, key)):>11}" for key, _, form in there) +
              f"   {low:.4g}..{high:.4g}, {ratio:.2f}", flush=True)
    show_worth(figures)
    show_goals(figures, goals)
    keep(workload, figures, **cell)
