# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared: how a server of each is started, and a client, and which process is its broker."""
import contextlib
import os
import subprocess

import brokers
import machine
from settings import ROOT, SIDES, program


class Side:
    """One that calls a server of its own kind.  Words of its command line are NAME=VALUE, see bench/support/plan.h."""

    def __init__(self, name, command, broker, where, server=(), client=()):
        self.name, self.command, self.broker, self.where = name, command, broker, where
        self.server_words, self.client_words = list(server), list(client)
        self.process = None

    @property
    def key(self):
        """Sides with the same one share a server."""
        return (*self.command, *self.server_words)

    def start(self, role="server", words=(), before=()):
        process = subprocess.Popen([*before, *self.command, role, self.where, *self.server_words, *words],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        machine.OURS.add(process.pid)
        if process.stdout.readline() != "ready\n":
            process.kill()
            raise SystemExit(f"bench: the {role} of {self.name} did not start")
        return process

    def client(self, role="client", hold=True, **words):
        said = [f"{k}={v}" for k, v in words.items()]
        process = subprocess.Popen([*self.command, role, self.where, *self.client_words, *said, *(["hold=1"] if hold else [])],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        machine.OURS.add(process.pid)
        return process


def stop(processes):
    for p in processes:
        p.terminate()
    for p in processes:
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        machine.OURS.discard(p.pid)


def fjord(rabbit, executor="coroutine", caller="thread", name=None):
    words = [f"executor={executor}"]
    return Side(name or f"fjord-{executor}", [program("fjord")], rabbit, rabbit.url, words, [*words, f"caller={caller}"])


def oslo(rabbit, executor, name=None):
    words = [f"executor={executor}"]
    command = ["/usr/bin/python3", os.path.join(ROOT, "bench", "oslo_peer.py")]
    return Side(name or f"oslo-{executor}", command, rabbit, rabbit.url, words, words)


def hand(rabbit):
    return Side("hand", [program("hand")], rabbit, rabbit.port)


def bare(rabbit):
    return Side("bare", [program("bare")], rabbit, rabbit.port)


def all_sides(rabbit, nats):
    """fjord's client is a plain thread, fjord-tasks' a task for each call under way; both have the same server."""
    found = [fjord(rabbit, name="fjord"), fjord(rabbit, caller="tasks", name="fjord-tasks"), hand(rabbit), bare(rabbit),
             oslo(rabbit, "threading"), oslo(rabbit, "eventlet")]
    if nats is not None:
        found.append(Side("nats", [program("nats")], nats, nats.url))
    return [s for s in found if not SIDES or s.name in SIDES]


@contextlib.contextmanager
def serving(sides):
    """A server for each, that stays."""
    servers = {}
    try:
        for s in sides:
            if s.key not in servers:
                servers[s.key] = s.start()
            s.process = servers[s.key]
        yield
    finally:
        stop(servers.values())


class World:
    """The brokers, each started when it is asked for."""

    def __init__(self):
        self.started = {}

    def get(self, kind):
        if kind not in self.started:
            self.started[kind] = kind()
        return self.started[kind]

    @property
    def rabbit(self):
        return self.get(brokers.Rabbit)

    @property
    def nats(self):
        return self.get(brokers.Nats) if brokers.nats_is_there() else None

    def sides(self, without=()):
        return [s for s in all_sides(self.rabbit, None if "nats" in without else self.nats) if s.name not in without]

    def stop(self):
        for broker in self.started.values():
            broker.stop()
