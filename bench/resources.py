# SPDX-License-Identifier: Apache-2.0
"""What a process needs: memory, and time until it answers."""
import json
import time

import machine
from figures import Figures, Goal
from play import expect, finish, rounds
from settings import ROUNDS
from sides import serving, stop
from table import show

MORE = {"oslo-threading": 10, "oslo-eventlet": 10}  # connections of a client, beside one; of the others 100
KIB = (("idle", "server KiB", "{:.0f}"), ("client", "client KiB", "{:.0f}"), ("connection", "a connection", "{:.1f}"))
MS = (("up", "server ms", "{:.1f}"), ("answered", "client ms", "{:.1f}"), ("both", "both ms", "{:.1f}"))


def connected(side, n):
    """KiB of a client that has n connections, each used once."""
    process = side.client(kind="idle", at_once=n)
    json.loads(expect(process, "{"))
    size = machine.resident(process.pid) / 1024
    finish(process)
    return size


def sizes(side):
    more = MORE.get(side.name, 100)
    one = connected(side, 1)
    process = side.start()  # a second one, while nobody calls
    idle = machine.resident(process.pid) / 1024
    stop([process])
    return {"idle": idle, "client": one, "connection": (connected(side, 1 + more) - one) / more}


def memory(world):
    """Resident memory of a server that has nothing to do, of a client, and of one connection more."""
    there = world.sides(without=("hand", "nats", "fjord-tasks"))
    with serving(there):
        results = rounds({s.name: lambda s=s: sizes(s) for s in there}, n=min(ROUNDS, 3), title="memory")
    show("memory", "resident", Figures(results), compared="idle", columns=KIB,
         goals=[Goal("idle", "fjord", None, "<=", 8 * 1024), Goal("idle", "fjord", "oslo-threading", "<=", 0.1)])


def first_call(side):
    """Milliseconds: of a server from its start to being ready, and of a client from its start to the first answer."""
    span = machine.Span({})
    began = time.monotonic()
    server = side.start()
    up = time.monotonic()
    client = side.client(hold=False, calls=1, warm_up=0)
    expect(client, "begin")
    expect(client, "{")
    answered = time.monotonic()
    _, foreign = span.end()
    client.stdin.close()
    client.wait(60)
    stop([server])
    return {"up": (up - began) * 1e3, "answered": (answered - up) * 1e3, "both": (answered - began) * 1e3,
            "foreign": foreign}


def start(world):
    """From the start of a server, and then of a client, to the first call served."""
    there = world.sides(without=("fjord-tasks",))
    results = rounds({s.name: lambda s=s: first_call(s) for s in there}, title="start")
    show("start", "to the first call served", Figures(results), compared="both", columns=MS,
         goals=[Goal("both", "fjord", None, "<=", 30),
                *(Goal("both", "fjord", o, "<=", 1 / 19) for o in ("oslo-threading", "oslo-eventlet"))])
