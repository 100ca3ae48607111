# SPDX-License-Identifier: Apache-2.0
"""Options of [oslo_messaging_rabbit] with their effect, beside oslo.messaging 14.0.3 with the same ones: both declare the same, take
turns on one topic, and read what the other compressed."""
import bz2
import contextlib
import json
import lzma
import os
import uuid
import zlib

import amqp
from kombu import compression

from edge import PROPERTIES, envelope
from harness import CPeer, PythonPeer, broker_address, ctl, same, table, until, url
from topology import forget_names, fresh, present, seen

BOTH = "options"
LIMIT = 120  # seconds a case with several looks at all that the broker has
TEXT = "compressible " * 5000

# What both know.  Quorum queues take no auto-delete, and RabbitMQ 3.10 ignores x-ha-policy and x-max-in-memory-*.
VARIANTS = ("amqp_durable_queues=true&rabbit_transient_queues_ttl=77&rabbit_login_method=PLAIN",
            "amqp_auto_delete=true&rabbit_ha_queues=true&direct_mandatory_flag=false",
            "rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=4&rabbit_quroum_max_memory_length=9&rabbit_quroum_max_memory_bytes=8",
            "enable_cancel_on_failover=true&rabbit_qos_prefetch_count=7&heartbeat_rate=3&heartbeat_timeout_threshold=10",
            "kombu_compression=gzip", "kombu_compression=bzip2", "kombu_compression=lzma")


@contextlib.contextmanager
def vhost():
    fresh(BOTH)
    try:
        yield
    finally:
        ctl("delete_vhost", BOTH)


@contextlib.contextmanager
def peers(*makers):
    made = []
    try:
        for make in makers:
            made.append(make())
        yield made
    finally:
        for peer in made:
            peer.close()


def talk(client, server, topic, name):
    client.call(topic, "echo", {"x": TEXT}).expect(TEXT)
    client.cast(topic, "note", {"x": 1}).expect(None)
    client.cast(topic, "note", {"x": 2}, server=name).expect(None)
    client.cast(topic, "note", {"x": TEXT}, fanout=True).expect(None)
    same(sorted(server.seen(3), key=str), sorted([[name, 1], [name, 2], [name, TEXT]], key=str), "the casts")


def everything():
    keys = ("queue_name", "consumer_tag", "ack_required", "prefetch_count", "arguments")
    return {**seen(BOTH), "consumers": present("list_consumers", *keys, vhost=BOTH)}


def about(topic, rows):
    """Those of a topic, under the name of another, that two can be compared."""
    return sorted([str(c).replace(topic, "tp") for c in r] for r in rows if any(topic in str(c) for c in r))


def one_variant(suite, options):
    at = url(BOTH) + "?" + options
    with suite.case(f"options: {options}: C and Python declare the same, and each calls and casts to the other", LIMIT), vhost(), \
            peers(lambda: CPeer(at), lambda: PythonPeer(at)) as (c, python):
        c.serve("ours", "s1")
        talk(python, c, "ours", "s1")
        python.serve("theirs", "s1")
        talk(c, python, "theirs", "s1")
        found = everything()
        for what, rows in found.items():
            if what == "consumers" and "prefetch" not in options:  # ours is bounded by default
                rows = [r[:3] + r[4:] for r in rows]
            same(about("ours", rows), about("theirs", rows), what)
        replies = [r for r in found["queues"] if r[0].startswith("reply_")]
        same(len(replies), 2, "reply queues")
        same(replies[0], replies[1], "their properties")
        python.serve("ours", "s3")
        until(lambda: {c.call("ours", "who").result for _ in range(6)} == {"s1", "s3"})


def connection(vhost="/"):
    host, port, user, password = broker_address()
    made = amqp.Connection(host=f"{host}:{port}", userid=user, password=password, virtual_host=vhost)
    made.connect()
    return made


class Tap:
    """Every message of a topic, as it goes over the wire."""

    def __init__(self, topic):
        self.connection = connection()
        self.channel = self.connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).queue
        self.channel.exchange_declare("openstack", "topic", durable=False, auto_delete=False)
        self.channel.queue_bind(self.queue, "openstack", topic)

    def get(self):
        return until(lambda: self.channel.basic_get(self.queue, no_ack=True))


def on_the_wire(message):
    p = {k: v for k, v in message.properties.items() if k != "expiration"}
    kind = p.get("application_headers", {}).get("compression")
    body = compression.decompress(message.body, kind) if kind else message.body
    inner = json.loads(json.loads(body)["oslo.message"])
    inner.pop("_unique_id")
    return p, inner


def compressions(suite):
    for name in ("gzip", "zlib", "bzip2", "bzip", "lzma", "xz", "application/x-bz2"):
        with suite.case(f"options: what C sends with kombu_compression={name} has kombu's headers, and kombu unpacks it"):
            at = url() + "?kombu_compression=" + name.replace("/", "%2F")
            tap = Tap("options-wire")
            found = []
            for make in (CPeer, PythonPeer):
                with peers(lambda make=make: make(at)) as (peer,):
                    peer.cast("options-wire", "note", {"x": TEXT}).expect(None)
                    message = tap.get()
                    found.append(on_the_wire(message))
                    same(len(message.body) < len(TEXT) / 10, True, "it is compressed")
                    if "x-gzip" in str(found[-1]):
                        same(zlib.compress(zlib.decompress(message.body)) == message.body, True, "Python's own bytes")
            same(found[0], found[1], "C beside Python")
            tap.connection.close()


def peak_memory(peer):
    """MiB."""
    with open(f"/proc/{peer.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) / 1024


def bombs(suite):
    size = 128 << 20
    kinds = {"application/x-gzip": zlib.compress, "application/x-bz2": bz2.compress,
             "application/x-lzma": lambda b: lzma.compress(b, preset=1)}
    for kind, pack in kinds.items():
        with suite.case(f"options: a bomb of {kind} is refused, in little memory, and the server goes on"), \
                peers(lambda: CPeer(url())) as (peer,):
            peer.serve("options-bomb", "s")
            peer.call("options-bomb", "echo", {"x": 1}).expect(1)
            before = peak_memory(peer)
            body = pack(bytes(size))
            request = {"method": "note", "args": {"x": 1}, "_unique_id": uuid.uuid4().hex}
            good = pack(envelope(request).encode())
            with connection() as c:
                for one in (body, good[:-9], b"rubbish", good):
                    c.channel().basic_publish(
                        amqp.Message(one, **{**PROPERTIES, "application_headers": {"compression": kind}}),
                        exchange="openstack", routing_key="options-bomb")
                same(peer.seen(1), [["s", 1]], "the good one")
            peer.call("options-bomb", "echo", {"x": 2}).expect(2)
            grown = peak_memory(peer) - before
            most = 110 if os.environ.get("SAN") else 48  # a sanitizer keeps for a while what is freed
            same(grown < most, True, f"grown by {grown:.0f} MiB, not by {most}")


def lives(suite):
    with suite.case("options: rabbit_transient_queues_ttl: what a process that died leaves goes by itself", LIMIT), vhost():
        one = CPeer(url(BOTH) + "?rabbit_transient_queues_ttl=1")
        try:
            one.serve("t", "s")
            one.call("t", "echo", {"x": 1}).expect(1)
            same(present("list_queues", "name", vhost=BOTH), [["reply_<hex>"], ["t"], ["t.s"], ["t_fanout_<hex>"]])
        finally:
            one.kill()
        until(lambda: present("list_queues", "name", vhost=BOTH) == [["t"], ["t.s"]])


def manager(suite):
    process = f"fjtest{os.getpid()}"
    options = f"?use_queue_manager=true&hostname=h1&processname={process}"
    with suite.case("options: use_queue_manager: a service that died has its fanout queue and what is in it again", LIMIT), vhost():
        at = url(BOTH) + options
        first = CPeer(at, group=0)  # a service's session
        first.serve("t", "s1")
        first.serve("t", "s2")
        names = [f"t_fanout_h1:{process}:{n}" for n in (1, 2)]

        def fanouts():
            return sorted(n for (n,) in present("list_queues", "name", vhost=BOTH) if "_fanout_" in n)

        same(fanouts(), names)
        first.kill()
        with peers(lambda: CPeer(url(BOTH))) as (client,):
            client.cast("t", "note", {"x": "while it was away"}, fanout=True).expect(None)
        again = CPeer(at, group=0)
        again.serve("t", "s1")
        again.serve("t", "s2")
        same(sorted(again.seen(2)), [["s1", "while it was away"], ["s2", "while it was away"]])
        same(fanouts(), names)
        again.call("t", "echo", {"x": 1}).expect(1)
        same([f"reply_h1:{process}:3"] in present("list_queues", "name", vhost=BOTH), True, "the reply queue's name")
        again.close()
        same(fanouts(), names, "after a stop")
    forget_names("h1", process)


STREAM = "?rabbit_quorum_queue=true&rabbit_transient_quorum_queue=true&rabbit_stream_fanout=true&rabbit_qos_prefetch_count=10"


def streams(suite):
    with suite.case("options: rabbit_stream_fanout: every server has every fanout once, over lost connections", LIMIT), vhost():
        at = url(BOTH) + STREAM
        quick = "&kombu_reconnect_delay=0.1&rabbit_retry_interval=0.1"
        with peers(lambda: CPeer(at + quick), lambda: CPeer(at + quick), lambda: CPeer(at + quick)) as (a, b, client):
            a.serve("t", "a")
            b.serve("t", "b")
            got, sure = {"a": [], "b": []}, set()
            for n in range(40):
                if n % 10 == 5:
                    ctl("close_all_connections", "--vhost", BOTH, "test")
                if client.cast("t", "note", {"x": n}, fanout=True).cls is None:  # else it may have been sent
                    sure.add(n)
            same(len(sure) >= 30, True, "most are confirmed")
            for peer, name in ((a, "a"), (b, "b")):
                until(lambda peer=peer, name=name: got[name].extend(x for _, x in peer.seen(1, 1.0)) or
                      sure <= set(got[name]), 25)
                same(len(got[name]), len(set(got[name])), "each once")
        same([r["name"] for r in table("list_queues", "-p", BOTH, "name", "type") if r["type"] == "stream"], ["t_fanout"])
    with suite.case("options: rabbit_stream_fanout: a stream that was deleted is declared and read again", LIMIT), vhost(), \
            peers(lambda: CPeer(url(BOTH) + STREAM), lambda: CPeer(url(BOTH) + STREAM)) as (a, client):
        a.serve("t", "a")
        for n in range(5):
            client.cast("t", "note", {"x": n}, fanout=True).expect(None)
        same(sorted(a.seen(5)), [["a", n] for n in range(5)])
        ctl("delete_queue", "-p", BOTH, "t_fanout")
        # What rabbitmqctl says of a stream's consumers is another stream's of that name; one that reads is one that has what is sent.
        until(lambda: client.cast("t", "note", {"x": "new"}, fanout=True).cls is None and ["a", "new"] in a.seen(1, 1.0), 30)
    with suite.case("options: a message out of a stream that cannot be read is passed over", LIMIT), vhost(), \
            peers(lambda: CPeer(url(BOTH) + STREAM)) as (a,):
        a.serve("t", "a")
        with connection(BOTH) as c:
            c.channel().basic_publish(amqp.Message("rubbish", **PROPERTIES), exchange="t_fanout", routing_key="")
        a.cast("t", "note", {"x": "good"}, fanout=True).expect(None)
        same(a.seen(1), [["a", "good"]])
        a.call("t", "echo", {"x": 1}).expect(1)


def mixed(suite):
    with suite.case("options: rabbit_transient_quorum_queue: calls go both ways with a Python that does not know it", LIMIT), vhost():
        quorum = "?rabbit_quorum_queue=true"
        with peers(lambda: CPeer(url(BOTH) + quorum + "&rabbit_transient_quorum_queue=true"),
                   lambda: PythonPeer(url(BOTH) + quorum)) as (c, python):
            c.serve("ours", "s1")
            python.call("ours", "echo", {"x": TEXT}).expect(TEXT)
            python.serve("theirs", "s2")
            c.call("theirs", "echo", {"x": TEXT}).expect(TEXT)
    with suite.case("options: where Python's fanout exchange is not durable, ours goes with it, and the topic stays quorum", LIMIT), \
            vhost():
        quorum = "?rabbit_quorum_queue=true"
        for stream in ("", "&rabbit_stream_fanout=true&rabbit_qos_prefetch_count=5"):
            with peers(lambda: PythonPeer(url(BOTH) + quorum),
                       lambda s=stream: CPeer(url(BOTH) + quorum + "&rabbit_transient_quorum_queue=true" + s)) as (python, c):
                python.serve("t", "theirs")
                c.serve("t", "ours")
                for client in (python, c):
                    client.cast("t", "note", {"x": 1}, fanout=True).expect(None)
                    same(python.seen(1), [["theirs", 1]])
                    same(c.seen(1), [["ours", 1]])
                rows = {r["name"]: r["type"] for r in table("list_queues", "-p", BOTH, "name", "type")}
                same(rows["t"], "quorum")
    with suite.case("options: a program with quorum queues beside one without is told of the mismatch in words", LIMIT), vhost():
        with peers(lambda: PythonPeer(url(BOTH) + "?amqp_durable_queues=true"),
                   lambda: CPeer(url(BOTH) + "?rabbit_quorum_queue=true")) as (python, c):
            python.serve("t", "theirs")
            answer = c.ask({"do": "serve", "topic": "t", "server": "ours"}, 35)
            same(answer["code"], "MISMATCH")
            same("x-queue-type" in answer["text"], True, answer["text"])


def options(suite):
    for variant in VARIANTS:
        one_variant(suite, variant)
    compressions(suite)
    bombs(suite)
    lives(suite)
    manager(suite)
    streams(suite)
    mixed(suite)
