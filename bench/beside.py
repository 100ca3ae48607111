# SPDX-License-Identifier: Apache-2.0
"""Sequential calls to a blocking server beside bare librabbitmq (the floor) and oslo.messaging."""
import statistics

from play import turn
from settings import CALLS, ROUNDS, WARM_UP
from sides import bare, fjord, oslo, serving


def beside_others(world):
    """Sequential calls beside bare librabbitmq and oslo.messaging."""
    there = [fjord(world.rabbit, "blocking", name="fjord"), bare(world.rabbit), oslo(world.rabbit, "threading", name="oslo")]
    times = {s.name: [] for s in there}
    with serving(there):
        for i in range(ROUNDS):
            for side in there:
                times[side.name].append(turn(side, calls=CALLS, warm_up=WARM_UP)["seconds"])
            print(f"round {i + 1}: " + "  ".join(f"{n} {t[-1]:.3f} s" for n, t in times.items()), flush=True)
    report(times)


def report(times):
    median = {name: statistics.median(t) for name, t in times.items()}
    for name, t in times.items():
        each = median[name] / CALLS * 1e6
        print(f"{name:6} median {median[name]:.3f} s for {CALLS} calls ({each:.0f} us a call), "
              f"{min(t):.3f} to {max(t):.3f} s")
    for over, under, sign, goal in (("fjord", "bare", "<=", 1.4), ("oslo", "fjord", ">=", 3.3)):
        ratio = median[over] / median[under]
        met = ratio <= goal if sign == "<=" else ratio >= goal
        best = min(times[over]) / min(times[under])  # on a busy machine the least disturbed round of each
        print(f"{over}/{under} {ratio:.2f} (goal {sign} {goal}: {'met' if met else 'not met'}); "
              f"best rounds {best:.2f}")
