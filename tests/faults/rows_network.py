# SPDX-License-Identifier: Apache-2.0
"""N: what networks do."""
import random

from lab import BACKOFF, EXECUTORS, OSLO, need, row, until
from network import Cable, run
from rows_broker import pause

BEAT = 2  # seconds
NOTICED = 2 * BEAT + 1
# An attempt to connect into a dead network does not outlast the fault by much.
BEATS = (f"oslo_messaging_rabbit.heartbeat_timeout_threshold={BEAT}", "fjord.connect_timeout=1")


# ---- cables -----------------------------------------------------------------------------------------------


@row("N1", "the cable is pulled while nothing goes on", "P1 P2 P3 P5 P6", EXECUTORS, limit=60)
def cable_pulled(lab):
    cable = Cable(lab)
    lab.server(cable.url(), conf=BEATS, prefix=cable.prefix)
    client = lab.client(cable.url(), conf=BEATS, prefix=cable.prefix)
    lab.back(client, 5, "before the fault")
    before = cable.connections()
    need(len(before) >= 3, f"there are only {before}")
    cable.pull()
    cable.noticed(before, NOTICED)
    one = client.ask(timeout=1)
    need(one["code"] != "OK" and one["sent"] in ("no", None), f"without a cable: {one}")
    cable.plug()
    lab.back(client, BACKOFF + 2)


def half_open(lab, cable, client, direction):
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=2, casts=0.3, ms=2)
    pause(0.5)
    before = cable.connections()
    need(before, "there is no connection over the cable")
    cable.drop(direction)
    cable.noticed(before, NOTICED)
    cable.mend()
    lab.back(client, BACKOFF + 2, f"after nothing went {direction}")
    client.rest()


@row("N2", "half open: one direction of a connection is lost under load", "P1 P2 P3 P5 P6", limit=120)
def one_way(lab):
    near, far = Cable(lab), Cable(lab)
    lab.server(far.url(), conf=BEATS, prefix=far.prefix)
    client = lab.client(near.url(), conf=BEATS, prefix=near.prefix)
    for cable in (near, far):
        for direction in ("out", "in"):
            half_open(lab, cable, client, direction)


# ---- resets -----------------------------------------------------------------------------------------------

# Every frame that is met between a client, a server and their broker in one life of a connection, by who sends it.
FRAMES = {"c2s": ("protocol", "connection.start-ok", "connection.tune-ok", "connection.open", "channel.open", "exchange.declare",
                  "queue.declare", "queue.bind", "basic.qos", "basic.consume", "confirm.select", "basic.publish", "header", "body",
                  "basic.ack"),
          "s2c": ("connection.start", "connection.tune", "connection.open-ok", "channel.open-ok", "exchange.declare-ok",
                  "queue.declare-ok", "queue.bind-ok", "basic.qos-ok", "basic.consume-ok", "confirm.select-ok", "basic.deliver", "header",
                  "body", "basic.ack")}
PLACES = ("before", "middle", "random", "after")
# Once for each connection: they are met when the next one begins.
OF_THE_BEGINNING = ("protocol", "connection.*", "channel.*", "exchange.*", "queue.*", "basic.qos*", "basic.consume*", "confirm.*")
THEIRS = ("confirm.select", "confirm.select-ok", "basic.ack", "basic.qos", "basic.qos-ok")  # what oslo.messaging may do without


def begins(frame):
    return any(frame == one or (one.endswith("*") and frame.startswith(one[:-1])) for one in OF_THE_BEGINNING)


def points(dice):
    """Each frame once, at a place by the dice, and ten of any frames: (direction, frame, nth, at, side)."""
    out = [(direction, frame, 1, dice.choice(PLACES), dice.choice(("both", "both", "client", "server")))
           for direction, frames in FRAMES.items() for frame in frames]
    out += [(dice.choice(("c2s", "s2c")), "any", dice.randrange(1, 30), dice.choice(PLACES), "both") for _ in range(10)]
    dice.shuffle(out)
    return out


def cut_at(chaos, direction, frame, nth, at, side):
    """Whether it came to that."""
    rule = chaos.add({"frame": frame, "direction": direction, "nth": nth, "per": "plan"}, {"action": "reset", "at": at, "side": side})
    if begins(frame):
        chaos.ctl("kill", "all")
    try:
        until(lambda: chaos.lines(event="action", rule=rule), 6, frame)
    except Exception:  # noqa: B902: it does not occur
        return False
    finally:
        chaos.ctl("remove", rule)
    return True


@row("N3", "connections are reset between frames and within them, at every step of their life", "P1 P2 P3 P5", EXECUTORS, quick=True,
     limit=240)
def reset_anywhere(lab):
    chaos = lab.chaos()
    at = lab.url(chaos.port)
    lab.server(at)
    client = lab.client(at)
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=2, casts=0.3, ms=1)
    unmet = []
    for point in points(random.Random(lab.seed)):
        if not cut_at(chaos, *point):
            unmet.append(f"{point[0]} {point[1]}")
    lab.back(client, BACKOFF + 2)
    client.rest()
    for direction in FRAMES:  # idle connections have others
        if not cut_at(chaos, direction, "heartbeat", 1, "middle", "both"):
            unmet.append(f"{direction} heartbeat")
    lab.back(client, BACKOFF + 2)
    lab.figures["resets"] = len(chaos.lines(event="action"))
    if lab.subject == OSLO:
        unmet = [one for one in unmet if not one.endswith(THEIRS)]
    need(not unmet, f"frames that did not occur: {unmet}")


@row("N3", "the system kills sockets under load (ss -K)", "P1 P2 P3 P5", EXECUTORS, limit=60)
def killed_sockets(lab):
    dice = random.Random(lab.seed)
    to = ("dst", "127.0.0.1", "dport", "=", f":{lab.broker.port}")
    lab.server()
    client = lab.client()
    lab.back(client, 5, "before the fault")
    client.load(workers=8, timeout=2, casts=0.3, ms=2)
    killed = 0
    for _ in range(30):
        pause(dice.uniform(0.01, 0.3))
        ports = [line.split()[2].rpartition(":")[2] for line in run("ss", "-tnH", "state", "established", *to).splitlines()]
        for port in dice.sample(ports, min(len(ports), dice.choice((1, 1, 1, 9)))):
            killed += len(run("ss", "-KtnH", *to, "and", "sport", "=", f":{port}").splitlines())
    lab.back(client, BACKOFF + 2)
    client.rest()
    lab.figures["resets"] = killed
    need(killed >= 20, f"only {killed} sockets were killed")
