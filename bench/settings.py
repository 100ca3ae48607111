# SPDX-License-Identifier: Apache-2.0
"""Where things are, and what the environment sets."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
CALLS = int(os.environ.get("BENCH_CALLS", "1000"))
WARM_UP = int(os.environ.get("BENCH_WARM_UP", "100"))
IN_HAND = os.environ.get("BENCH_IN_HAND", "100000")
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "64"))
NOTIFICATIONS = int(os.environ.get("BENCH_NOTIFICATIONS", "60000"))
WINDOW = os.environ.get("BENCH_WINDOW", "500")
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))  # of a side's turn
SIDES = [s for s in os.environ.get("BENCH_SIDES", "").split(",") if s]  # none: all
FOREIGN = float(os.environ.get("BENCH_FOREIGN", "0.1"))  # of the machine's time, in others' hands: more, and a round is void
RESULTS = os.path.join(BUILD, "bench", "results.jsonl")


def program(name):
    return os.path.join(BUILD, "bench", name)
