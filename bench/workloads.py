# SPDX-License-Identifier: Apache-2.0
"""Calls and casts over brokers: how many at once, how large, and each at its time."""
from figures import Figures, Goal
from play import side_by_side
from sides import serving
from table import show

AT_ONCE = (1, 8, 64, 512)
OSLO_AT_ONCE = 64  # its threads each have a connection
SIZES = (300, 3000, 30000, 1000000)
RATES = (200, 2000, 8000)
OSLO_RATE = 200  # it has enough with less than a thousand a second
OSLO = ("oslo-threading", "oslo-eventlet")


def beside_oslo(key, sign, limit):
    return [Goal(key, "fjord", oslo, sign, limit) for oslo in OSLO]


CALL_GOALS = {
    1: [*beside_oslo("rate", ">=", 3.8), Goal("rate", "fjord", "hand", ">=", 0.88), *beside_oslo("p50", "<=", 0.3),
        *beside_oslo("client", "<=", 1 / 13), *beside_oslo("server", "<=", 1 / 13)],
    8: beside_oslo("rate", ">=", 12),
    64: [*beside_oslo("rate", ">=", 18), Goal("rate", "fjord", "hand", ">=", 0.8), Goal("rate", "fjord", "bare", ">=", 1.0),
         *beside_oslo("client", "<=", 1 / 60), *beside_oslo("server", "<=", 1 / 60)],
}
CAST_GOALS = {
    1: [*beside_oslo("rate", ">=", 2.5), Goal("rate", "fjord", "hand", ">=", 0.85)],
    64: [*beside_oslo("rate", ">=", 13), Goal("rate", "fjord", "hand", ">=", 0.75), Goal("rate", "fjord", "bare", ">=", 0.95)],
}
RATE_GOALS = {
    200: [Goal("p50", "fjord", "oslo-threading", "<=", 0.3), Goal("p99", "fjord", "oslo-threading", "<=", 0.4)],
    8000: [Goal("p99", "fjord", "hand", "<=", 2)],
}


def in_flight(world, workload, kind, counts, goals, without=()):
    for n in counts:
        there = world.sides(without if n <= OSLO_AT_ONCE else (*without, *OSLO))
        if not there:
            continue
        with serving(there):
            results = side_by_side(there, f"{workload} {n}", kind=kind, at_once=n)
        show(workload, f"{n} at once", Figures(results), goals.get(n, ()), at_once=n)


def calls(world):
    """Calls of 300 bytes, 1, 8, 64 and 512 under way."""
    in_flight(world, "calls", "call", AT_ONCE, CALL_GOALS)


def casts(world):
    """Casts, each waited for until the broker confirms it, and 64 not confirmed yet; the time ends when the server has all.  NATS confirms
    none."""
    in_flight(world, "casts", "cast", (1, 64), CAST_GOALS, without=("nats",))


def payloads(world):
    """Calls one after the other, of 300 bytes to a megabyte."""
    there = world.sides(without=("fjord-tasks", "oslo-eventlet"))
    for n in SIZES:
        with serving(there):
            results = side_by_side(there, f"payloads {n}", bytes=n)
        show("payloads", f"{n} bytes", Figures(results), bytes=n)


def open_loop(world):
    """Calls that are due at a rate, whatever became of those before; late ones count from when they were due.
    libnats waits in whole milliseconds and is left out."""
    for rate in RATES:
        there = world.sides(without=("nats",) if rate <= OSLO_RATE else ("nats", *OSLO))
        with serving(there):
            results = side_by_side(there, f"open-loop {rate}", rate=rate, at_once=OSLO_AT_ONCE)
        show("open-loop", f"{rate} a second", Figures(results), RATE_GOALS.get(rate, ()), compared="p99", per_second=rate)
