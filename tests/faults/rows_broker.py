# SPDX-License-Identifier: Apache-2.0
"""B: what brokers do."""
import contextlib
import os
import random
import subprocess
import threading
import time

from lab import BACKOFF, BUILD, EXECUTORS, HEARTBEAT, OSLO, Broker, Skip, need, row, sockets, until

GRACE = BACKOFF + 2  # seconds within which all is well again, counted from when the broker answers
NOTICED = 2 * HEARTBEAT + 1  # seconds within which a connection is known to be dead
LOAD = {"workers": 8, "timeout": 2, "casts": 0.3, "ms": 2}


def pause(seconds):
    threading.Event().wait(seconds)


def steady(lab, **where):
    """A server and a client that reach each other, and a load."""
    server, client = lab.server(**where), lab.client(**where)
    lab.back(client, 10, "before the fault")
    client.load(**LOAD)
    return server, client


def unsent(lab, end, *words):
    """An operation that nobody can have: in words, and with the place."""
    need(end["code"] != "OK", f"a call came back: {end}")
    if lab.subject != OSLO:
        need(end["sent"] == "no", f"what never left says sent = {end['sent']}: {end}")
        said = end["text"] + " " + end["where"]
        need(all(word in said for word in words), f"it says {said!r}, without {words}")


def connections(lab, broker=None):
    """Of this row's vhost, on one node."""
    broker = broker or lab.broker
    return {c["name"] for c in broker.table("list_connections", "name", "vhost")
            if c["vhost"] == lab.vhost and c["name"].endswith(f":{broker.port}")}


def close_all(lab, why):
    """Of this row's vhost.  That there are none is no failure."""
    with contextlib.suppress(RuntimeError):
        lab.broker.ctl("close_all_connections", "--vhost", lab.vhost, why)


def calm(lab, program, since, lines):
    """It keeps its head: no line of level error, and no more than so many of all since that length of its log."""
    if lab.subject == OSLO:
        return
    log = program.log()[since:].splitlines()
    errors = [line for line in log if " error " in line]
    need(not errors, f"the {program.kind} logs errors: {errors[:3]}")
    need(len(log) <= lines, f"the {program.kind} logs {len(log)} lines: {log[:12]}")


@row("B1", "the broker is killed under load and begins again", "P1 P2 P3 P5", EXECUTORS, quick=True, limit=120)
def killed(lab):
    server, client = steady(lab)
    for wait in (0, 2):
        pause(random.uniform(0.3, 1))
        lab.broker.kill()
        pause(wait)
        lab.broker.again()
        lab.back(client, GRACE)
    client.rest()
    assert server.process.poll() is None


@row("B2", "the broker is stopped in order and begins again: its application, then all of it", "P1 P2 P3 P5 P7", limit=120)
def stopped(lab):
    server, client = steady(lab)
    for stop, start in ((lambda: lab.broker.ctl("stop_app"), lambda: lab.broker.ctl("start_app")),
                        (lab.broker.stop, lab.broker.again)):
        logs = [(p, len(p.log())) for p in (server, client)]
        stop()
        began = time.monotonic()
        pause(random.uniform(0, 2))
        start()
        took = time.monotonic() - began
        lab.back(client, GRACE)
        for p, at in logs:
            # Two connections, each with what it lost, why it does not come back (an attempt takes half a second on average), that it is back.
            calm(lab, p, at, 2 * (3 + 2 * (took + GRACE)))
    client.rest()


@row("B3", "connections are closed by the operator, one by one and all at once", "P1 P2 P3 P5", EXECUTORS, limit=120)
def closed(lab):
    chaos = lab.chaos()
    _, client = steady(lab, at=lab.url(chaos.port))
    for n in range(8):
        pause(random.uniform(0, 0.4))
        pids = [c["pid"] for c in lab.broker.table("list_connections", "pid", "vhost") if c["vhost"] == lab.vhost]
        if n % 4 == 3 or not pids:
            close_all(lab, "all of them")
        else:
            with contextlib.suppress(RuntimeError):  # it may have gone meanwhile
                lab.broker.ctl("close_connection", random.choice(pids), "this one")
        lab.back(client, GRACE)
    client.rest()
    # Each connection that was closed came back once.
    opened = len(chaos.lines(event="open"))
    lab.figures["connections"] = opened
    need(lab.subject == OSLO or opened <= 4 + 6 + 2 * 4, f"{opened} connections were made, for 14 that were closed")


@row("B4", "the port refuses: the listener is suspended", "P1 P2 P3 P5 P7", limit=120)
def refused(lab):
    where = f"127.0.0.1:{lab.broker.port}"
    server, client = steady(lab)
    logs = [(p, len(p.log())) for p in (server, client)]
    lab.stack.callback(lab.broker.ctl, "resume_listeners")
    lab.broker.ctl("suspend_listeners")
    began = time.monotonic()
    close_all(lab, "the listener is suspended")
    until(lambda: not connections(lab), 10, "its connections are closed")
    fresh = lab.client()
    for one in (client, fresh):
        for timeout in (0.3, 2):
            unsent(lab, one.ask(timeout=timeout), where, "refused")
    took = time.monotonic() - began
    lab.broker.ctl("resume_listeners")
    lab.back(client, GRACE)
    lab.back(fresh, GRACE)
    client.rest()
    for p, at in logs:
        calm(lab, p, at, 2 * (3 + 2 * (took + GRACE)))


@row("B5", "the broker takes connections and says nothing: frozen for 3 s, then for 12 s", "P1 P2 P3 P5", EXECUTORS, limit=120)
def frozen(lab):
    server, client = steady(lab)
    lab.stack.callback(lab.broker.thaw)
    before = connections(lab)
    lab.broker.freeze()
    pause(3)
    lab.broker.thaw()
    lab.back(client, GRACE)
    # Shorter than what heartbeats forgive: nothing is lost.
    need(lab.subject == OSLO or connections(lab) == before, "a connection was given up too early")
    held = [(p, sockets(p.process.pid, lab.broker.port)) for p in (server, client)]
    need(all(mine for _p, mine in held), "they have connections")
    lab.broker.freeze()
    began = time.monotonic()
    for p, mine in held:
        until(lambda p=p, mine=mine: not mine & sockets(p.process.pid, lab.broker.port), NOTICED - (time.monotonic() - began),
              f"the {p.kind} leaves the dead connections")
    lab.figures["noticed_s"] = round(time.monotonic() - began, 2)
    pause(max(0, 12 - (time.monotonic() - began)))
    lab.broker.thaw()
    lab.back(client, GRACE)
    client.rest()


def alarm(lab, raise_it, lift):
    """An alarm of the broker's: it says connection.blocked to who publishes, and reads no more of it."""
    server, client = steady(lab)
    slow = lab.server(name="slow", topic="slow", conf=["oslo_messaging_rabbit.rabbit_qos_prefetch_count=1",
                                                       "DEFAULT.executor_thread_pool_size=1"])
    feeder = lab.client(topic="slow")
    queued = [feeder.start("cast", ms=400, timeout=5) for _ in range(60)]
    for seq in queued:
        feeder.end(seq)
    before = connections(lab)
    lab.stack.callback(lift)
    raise_it()
    ran = len(slow.said)
    for n in range(4):
        # The broker reads what is published first before it says that it is blocked.
        end = client.ask(timeout=2)
        if n > 0:
            unsent(lab, end, "block")
    # Who only consumes goes on.
    need(slow.kind == "server" and len(slow.said) > ran + 2, "what was queued before runs meanwhile")
    pause(max(0, NOTICED - 8))
    need(lab.subject == OSLO or connections(lab) == before, "a blocked connection was taken for a dead one")
    lift()
    lab.back(client, GRACE)
    client.rest()
    need(lab.ledger.wait(lambda book: all(book.runs[seq] for seq in queued), 40), "what was queued runs to its end")
    need(server.process.poll() is None, "the server is there")


@row("B6", "the broker is short of memory: connection.blocked, for longer than two heartbeats", "P1 P2 P3 P5 P9", limit=120)
def memory(lab):
    alarm(lab, lambda: lab.broker.ctl("set_vm_memory_high_watermark", "absolute", "1"),
          lambda: lab.broker.ctl("set_vm_memory_high_watermark", "absolute", "1GB"))


@row("B7", "the broker is short of disk: connection.blocked, for longer than two heartbeats", "P1 P2 P3 P5 P9", limit=120)
def disk(lab):
    alarm(lab, lambda: lab.broker.ctl("set_disk_free_limit", "1000GB"), lambda: lab.broker.ctl("set_disk_free_limit", "50MB"))


@contextlib.contextmanager
def small_disk(folder, size):
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"a file system of {size} cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@row("B7", "the disk of the broker is full, under durable queues; then the broker begins again with room", "P1 P2 P3 P5", limit=120)
def full(lab):
    folder = os.path.join(BUILD, "faults", "rabbit-full")
    with contextlib.ExitStack() as stack:
        stack.enter_context(small_disk(folder, "64m"))
        broker = Broker(folder)
        stack.callback(broker.kill)
        broker.start()
        broker.ctl("set_disk_free_limit", "1")  # else it is an alarm, which is another row
        at = lab.url(broker.port, vhost="")
        durable = ["oslo_messaging_rabbit.amqp_durable_queues=true"]
        _, client = steady(lab, at=at, conf=durable)
        ballast = os.path.join(folder, "ballast")
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as f:
            while True:
                f.write(bytes(1 << 16))
        pause(5)
        os.unlink(ballast)
        broker.kill()
        broker.again()
        lab.back(client, GRACE)
        client.rest()
        # While there is a broker: they end with it, and lab.finish() would find them without one.
        lab.end_programs()


@row("B8", "three nodes: the one with the queue is lost, and a minority is cut off", "P1 P3 P5", oslo=False)
def cluster(_lab):
    raise Skip("not written yet: it takes a cluster of three nodes, with each kind of queue; B9 has two nodes")


@row("B9", "a node of two goes into maintenance (rabbitmq-upgrade drain), then the other", "P1 P2 P3 P5", limit=150)
def drained(lab):
    nodes = [Broker(os.path.join(BUILD, "faults", f"rabbit-{n}")) for n in "ab"]
    for n in nodes:
        lab.stack.callback(n.kill)
    nodes[0].start()
    nodes[1].join(nodes[0])
    nodes[0].ctl("add_vhost", lab.vhost)
    nodes[0].ctl("set_permissions", "-p", lab.vhost, "guest", ".*", ".*", ".*")
    proxies = [lab.chaos(port=n.port) for n in nodes]
    _, client = steady(lab, at=lab.url(hosts=[f"127.0.0.1:{p.port}" for p in proxies]))
    for gone, other in ((0, 1), (1, 0)):
        tried = len(proxies[gone].lines(event="open"))
        nodes[gone].rabbit("upgrade", "drain")
        lab.back(client, GRACE)
        until(lambda gone=gone: not connections(lab, nodes[gone]), GRACE, "nobody is left on the drained node")
        need(connections(lab, nodes[other]), "the other node has connections")
        pause(3)
        need(client.ask()["code"] == "OK", "calls come back while a node is in maintenance")
        # Two programs of two connections look there once or twice, find it closed, and stay away for a while.
        tried = len(proxies[gone].lines(event="open")) - tried
        need(lab.subject == OSLO or tried <= 8, f"the node in maintenance was tried {tried} times")
        nodes[gone].rabbit("upgrade", "revive")
        # Its host is let alone for a while; it is reached again when the other goes.
        lab.back(client, GRACE)
    client.rest()
    lab.end_programs()


@row("B10", "the broker is upgraded", "P5", oslo=False)
def upgraded(_lab):
    raise Skip("there is one version of RabbitMQ here; what another one offers is what the scripted broker says it offers")


def patient(lab, fault, mend, *words):
    """Something that the broker refuses until it is mended, looked at through a proxy that counts."""
    def after():
        with contextlib.suppress(RuntimeError):  # nothing is left to be mended
            mend()

    chaos = lab.chaos()
    _, client = steady(lab, at=lab.url(chaos.port))
    lab.stack.callback(after)
    fault()
    close_all(lab, "refused from now on")
    unsent_by = time.monotonic() + GRACE
    while (end := client.ask(timeout=1))["code"] == "OK" or end["sent"] not in ("no", None):
        need(time.monotonic() < unsent_by, f"what was refused is not known to be unsent: {end}")
    unsent(lab, client.ask(timeout=1), f"127.0.0.1:{chaos.port}", *words)
    opened, began = len(chaos.lines(event="open")), time.monotonic()
    pause(4)
    rate = (len(chaos.lines(event="open")) - opened) / (time.monotonic() - began)
    lab.figures["attempts_per_s"] = round(rate, 1)
    # Four connections, each with a pause of a second on average between attempts.
    need(lab.subject == OSLO or rate <= 12, f"{rate:.0f} attempts a second: a hot loop")
    mend()
    lab.back(client, GRACE)
    client.rest()


@row("B11", "the vhost is deleted under load, and made again", "P1 P2 P3 P5 P7", limit=120)
def no_vhost(lab):
    def again():
        with contextlib.suppress(RuntimeError):  # it is there already
            lab.broker.ctl("add_vhost", lab.vhost)
        lab.broker.ctl("set_permissions", "-p", lab.vhost, "guest", ".*", ".*", ".*")

    patient(lab, lambda: lab.broker.ctl("delete_vhost", lab.vhost), again, lab.vhost, "530")


@row("B11", "the vhost takes no more connections", "P1 P2 P3 P5 P7", limit=120)
def vhost_limit(lab):
    patient(lab, lambda: lab.broker.ctl("set_vhost_limits", "-p", lab.vhost, '{"max-connections": 0}'),
            lambda: lab.broker.ctl("clear_vhost_limits", "-p", lab.vhost), lab.vhost, "530", "limit")


@row("B11", "the user may have no more connections", "P1 P2 P3 P5 P7", limit=120)
def user_limit(lab):
    patient(lab, lambda: lab.broker.ctl("set_user_limits", "guest", '{"max-connections": 0}'),
            lambda: lab.broker.ctl("clear_user_limits", "guest", "all"), "530", "limit")
