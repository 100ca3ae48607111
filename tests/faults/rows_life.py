# SPDX-License-Identifier: Apache-2.0
"""L: how servers and clients begin and end."""
import os
import random
import signal
import tempfile

from lab import BACKOFF, BUILD, EXECUTORS, FAST, OSLO, TWO, Program, need, row, until
from rows_broker import pause


def only_ok(lab):
    counts = lab.ledger.counts()
    need(set(counts) == {"OK"}, f"not every operation came back: {counts}")


def waits_for_nothing(server):
    """No signal is pending: two of a kind would be one."""
    with open(f"/proc/{server.process.pid}/status") as f:
        return all(int(line.split()[1], 16) == 0 for line in f if line.startswith(("ShdPnd", "SigPnd")))


def begun(lab, limit=30):
    """A server that hears SIGTERM, and may still be at its start."""
    server = lab.server(ready=lab.subject == OSLO)
    if lab.subject != OSLO:
        server.wait("began", limit)
    return server


@row("L1", "the server is told to end under load, at any moment, 40 times; and twice", "P1 P3 P10", EXECUTORS, limit=240)
def told_to_end(lab):
    server, client = lab.server(), lab.client()
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=60, casts=0.3, ms=5)
    rounds = 40 if lab.subject != OSLO else 10
    for _ in range(rounds):
        pause(random.uniform(0, 0.3))
        server.finish()
        server = begun(lab)
    server.wait("ready")
    client.rest(90)
    only_ok(lab)
    lab.judge(casts_run=True)
    lab.figures["rounds"] = rounds
    if lab.subject == OSLO:  # which knows no second
        return
    slow = client.start(ms=20_000, timeout=3)
    need(lab.ledger.wait(lambda book: book.runs[slow], 10), "it does not run")
    server.signal(signal.SIGTERM)
    until(lambda: waits_for_nothing(server), 5, "the first SIGTERM is taken")
    server.signal(signal.SIGTERM)
    # A task is killed, and its failure answered; a thread is left in its method, and named; of the only one the method is all it does.
    if lab.subject != "blocking":
        status = server.process.wait(10)
        died = [e["text"] for e in server.said if e["ev"] == "died"]
        if lab.subject == "threading":
            need(status == 1 and died and "run_it" in died[0], f"what was given up is not named: {status}, {died}")
    end = client.end(slow)
    ends = ("TIMEOUT",) if lab.subject in ("blocking", "threading") else ("TIMEOUT", "REMOTE")
    need(end["code"] in ends and end["sent"] == "yes", f"the call ended as {end}")


def runs_of(server):
    return [e["seq"] for e in server.said if e["ev"] == "run"]


def kill_in_methods(lab, topic, slots, conf=()):
    """Two servers have eight calls; the one that runs more is killed.  @return the ends, and what the dead one was running"""
    servers = [lab.server(name=name, topic=topic, conf=conf) for name in ("one", "two")]
    client = lab.client(topic=topic)
    until(lambda: client.ask(timeout=1)["code"] == "OK", 5, "a call before the fault")
    before = set(lab.ledger.runs)
    seqs = [client.start(ms=1500 if slots > 1 else 500, timeout=8) for _ in range(8)]
    need(lab.ledger.wait(lambda book: len(set(book.runs) - before) >= min(8, 2 * slots), 10), "they do not run")
    victim = max(servers, key=lambda s: len(runs_of(s)))
    victim.kill()
    ends = {seq: client.end(seq) for seq in seqs}
    return ends, set(runs_of(victim)) & set(seqs)


@row("L2", "a server is killed within its methods, another is there", "P1 P3 P4", EXECUTORS)
def killed_in_method(lab):
    slots = 1 if lab.subject == "blocking" else 64
    ends, dead = kill_in_methods(lab, "once", slots)
    for seq, end in ends.items():
        want = ("TIMEOUT", "yes" if lab.subject != OSLO else None) if seq in dead else ("OK", end["sent"])
        need((end["code"], end["sent"]) == want, f"acknowledged before: {seq}, {seq in dead=}, ended as {end}")
        need(len(lab.ledger.runs[seq]) == 1, f"acknowledged before: {seq} ran {len(lab.ledger.runs[seq])} times")
    need(dead, "nothing ran in the server that was killed")
    if lab.subject == OSLO:  # acknowledges before, always
        return
    ends, dead = kill_in_methods(lab, "again", slots, ["fjord.ack=done"])
    lab.judge(again=True)
    for seq, end in ends.items():
        need(end["code"] == "OK", f"acknowledged after: {seq} ended as {end}")
        runs = len(lab.ledger.runs[seq])
        need(runs == (2 if seq in dead else 1), f"acknowledged after: {seq}, {seq in dead=}, ran {runs} times")
    need(dead, "nothing ran in the server that was killed")


def reply_queues(lab):
    """Names of those whose caller is gone, and of the others."""
    queues = [q for q in lab.broker.table("list_queues", "-p", lab.vhost, "name", "consumers") if q["name"].startswith("reply_")]
    return [q["name"] for q in queues if q["consumers"] == 0], [q["name"] for q in queues if q["consumers"] > 0]


@row("L3", "clients are killed while servers work for them, and their reply queues are gone", "P2 P9", TWO)
def client_vanishes(lab):
    server, client = lab.server(), lab.client()
    lab.back(client, 5, "before the fault")
    client.load(workers=2, timeout=2, ms=1)
    lost = []
    for _ in range(2):
        victim = lab.client(conf=["oslo_messaging_rabbit.rabbit_transient_queues_ttl=1"])
        until(lambda: victim.ask(timeout=1)["code"] == "OK", 5, "the client calls before it is killed")  # noqa: B023
        mine = [victim.start(ms=6000, timeout=20) for _ in range(8)]
        need(lab.ledger.wait(lambda book: all(book.runs[seq] for seq in mine), 10), "they do not run")  # noqa: B023
        lost += mine
        victim.kill()
        lab.programs.remove(victim)
        until(lambda: reply_queues(lab)[0] == [], 5, "the reply queue of the dead expires", 0.2)
        before = len(lab.ledger.ended("OK"))
        # The answers that nobody takes are tried, and more calls than before come back meanwhile.
        pause(4)
        lab.figures["calls_meanwhile"] = len(lab.ledger.ended("OK")) - before
        need(len(lab.ledger.ended("OK")) - before > 40, "the server stands still")
    client.rest()
    only_ok(lab)
    lab.judge(lost=set(lost))
    server.finish(15)  # no answer to the dead holds it up
    need("error" not in server.log(), f"the server complains: {server.log()[-300:]}")


@row("L4", "a client stands still until its reply queue has expired", "P1 P2 P3 P5", TWO)
def reply_queue_expired(lab):
    lab.server()
    client = lab.client(conf=["oslo_messaging_rabbit.rabbit_transient_queues_ttl=2",
                              "oslo_messaging_rabbit.heartbeat_timeout_threshold=2"])
    lab.back(client, 5, "before the fault")
    # One is answered while its queue has no consumer, or is gone; the other when the client is back; the third has no time for that.
    lost, late, short = (client.start(ms=ms, timeout=timeout) for ms, timeout in ((6000, 25), (20_000, 40), (6000, 2)))
    need(lab.ledger.wait(lambda book: book.runs[lost] and book.runs[late] and book.runs[short], 10), "they do not run")
    client.signal(signal.SIGSTOP)
    try:
        until(lambda: reply_queues(lab) == ([], []), 30, "the reply queue expires", 0.2)
    finally:
        client.signal(signal.SIGCONT)
    lab.back(client, BACKOFF + 4)
    need(client.end(late, 60)["code"] == "OK", f"answered after the queue was declared again: {client.end(late)}")
    end = client.end(lost, 60)
    lab.figures["answered_without_queue"] = end["code"]
    need(end["code"] in ("OK", "TIMEOUT", "LOST"), f"answered without a queue: {end}")
    need(client.end(short)["code"] == "TIMEOUT", f"the short one: {client.end(short)}")
    need(lab.subject == OSLO or "yes" == end["sent"] == client.end(short)["sent"], f"they were sent: {end}, {client.end(short)}")
    lab.judge(slack=30)  # the short one cannot end while the process stands still


@row("L5", "a process with open connections forks: its child uses them, closes them, exits, executes", "P1 P6", EXECUTORS, oslo=False,
     limit=180)
def forks(lab):
    lab.server()
    client = lab.client()
    lab.back(client, 5, "before the fault")
    connections = connections_of(lab)
    client.load(workers=4, timeout=10, ms=2)
    forked = 0
    for _ in range(3):
        for how in ("use", "exit", "close", "exec"):
            client.order(do="fork", how=how)
            forked += 1
            need(client.wait("forked", 30, forked)["good"], f"the client's child that was to {how} did not end well")
            end = client.ask(method=f"fork_{how}", timeout=25)
            need(end["code"] == "OK", f"the server's child: {end}")
    client.rest()
    only_ok(lab)
    need(connections_of(lab) == connections, f"connections were {connections}, and are {connections_of(lab)}")
    lab.figures["forks"] = 2 * forked


def connections_of(lab):
    return sorted(c["name"] for c in lab.broker.table("list_connections", "name", "vhost") if c["vhost"] == lab.vhost)


def flat(cycles, what, room):
    """A thing that every process has has not grown since a tenth of the way."""
    seen = [c[what] for c in cycles[1:]]
    need(max(seen[len(seen) // 2:]) - seen[0] <= room, f"{what} grows: {seen}")


def begin_and_end(lab, kind, at, times, limit):
    p = lab.keep(Program(lab, kind, [lab.executor(None), at, f"{lab.topic}-{kind}", f"times={times}", *FAST,
                                "oslo_messaging_rabbit.rabbit_transient_queues_ttl=2", "fjord.executor_pool_size=2"], lab.subject), False)
    p.wait("stopped", limit)
    p.kill()
    cycles = [e for e in p.said if e["ev"] == "cycle"]
    need(len(cycles) == 10 and cycles[-1]["done"] == times, f"not all {times}: {cycles[-1:]}")
    # A server's pool of two threads grows as it needs them.
    for what, room in (("fds", 0), ("threads", 2 if kind == "clients" else 0), ("kib", 2048)):
        flat(cycles, what, room)
    lab.figures[f"{kind}_{at.split(':')[0]}"] = times
    lab.figures[f"{kind}_{at.split(':')[0]}_kib_more"] = cycles[-1]["kib"] - cycles[1]["kib"]


@row("L12", "servers and clients begin and end ten thousand times", "P6", TWO, oslo=False, limit=600)
def begins_and_ends(lab):
    few = BUILD.rstrip("/").endswith(("asan", "tsan"))
    for kind in ("cycles", "clients"):
        begin_and_end(lab, kind, "fake://", 1000 if few else 10_000, 300)
        begin_and_end(lab, kind, lab.url(), 200 if few else 2000 if kind == "cycles" else 10_000, 300)
    until(lambda: connections_of(lab) == [], 10, "the broker has no connection left", 0.2)
    # Reply queues stay until they expire, as oslo.messaging's do: a late answer finds one.
    until(lambda: [q for q in lab.broker.table("list_queues", "-p", lab.vhost, "name") if "." not in q["name"]
                   and q["name"].startswith(("reply_", f"{lab.topic}-cycles_"))] == [], 20, "queues of the dead expire", 0.5)


def write_conf(path, url):
    with open(path + ".new", "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as f:
        f.write(f"[DEFAULT]\ntransport_url = {url}\n")
    os.replace(path + ".new", path)


@row("L11", "the password is changed under running programs, which are told of the new one, and their connections are closed", "P1 P2 P3 P5",
     TWO, limit=120)
def password_changed(lab):
    user, folder = f"rotated-{lab.vhost}", lab.stack.enter_context(tempfile.TemporaryDirectory())
    path = os.path.join(folder, "rotated.conf")
    lab.broker.ctl("add_user", user, "first")
    lab.stack.callback(lab.broker.ctl, "delete_user", user)
    lab.broker.ctl("set_permissions", "-p", lab.vhost, user, ".*", ".*", ".*")
    write_conf(path, lab.url(user=user, password="first"))
    # oslo.messaging has its URL once and for all.
    at, conf = ("-", [f"conf={path}"]) if lab.subject != OSLO else (lab.url(user=user, password="first"), [])
    server, client = lab.server(at, conf=conf), lab.client(at, conf=conf)
    stale = lab.client(lab.url(user=user, password="first"))
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=10, casts=0.3, ms=2)
    for times, password in enumerate(("second", "third"), 1):
        lab.broker.ctl("change_password", user, password)
        write_conf(path, lab.url(user=user, password=password))
        for program in (server, client) if lab.subject != OSLO else ():
            program.signal(signal.SIGHUP)
            told = program.wait("reloaded", 10, times)
            need(told["code"] == "OK", f"the {program.kind} did not take it in: {told}")
        if times == 1:
            only_ok(lab)  # connections that are open go on
        lab.broker.ctl("close_all_connections", "--vhost", lab.vhost, "the password was changed")
        lab.back(client, BACKOFF + 2)
    client.rest()
    counts = lab.ledger.counts()
    need(set(counts) <= {"OK", "LOST"}, f"operations ended as {counts}")  # LOST: may have been sent, and was not confirmed
    need(stale.ask(timeout=4)["code"] in ("AUTH", "TIMEOUT", "UNREACHABLE", "LOST"), "the old password is taken still")
    need(lab.subject == OSLO or not any(secret in p.log() for p in lab.programs for secret in ("second", "third")), "a secret is in a log")
