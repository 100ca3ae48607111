# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between client, broker and server, each with its deadline."""
import contextlib
import os
import socket
import subprocess
import threading
import time

import amqp

from harness import BUILD, EXECUTORS, CPeer, broker_address, ctl, same, until, url, within
from storm import Proxy


def one_call(at, timeout=2.0):
    peer = CPeer(at)
    try:
        began = time.monotonic()
        outcome = peer.call("it-faults", "who", timeout=timeout)
        within(timeout, began)
        return outcome
    finally:
        peer.kill()


def expect_code(outcome, codes, sent="no"):
    if outcome.code not in codes:
        raise AssertionError(f"wanted one of {codes}, got {outcome!r}")
    same(outcome.sent, sent, "sent")


@contextlib.contextmanager
def listener(talk):
    """A port of the loopback interface where `talk` is what serves."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        s.settimeout(0.1)
        over = threading.Event()

        def accept():
            open_ones = []
            while not over.is_set():
                with contextlib.suppress(OSError):
                    open_ones.append(s.accept()[0])
                    talk(open_ones[-1])
            for c in open_ones:
                c.close()

        t = threading.Thread(target=accept)
        t.start()
        try:
            yield s.getsockname()[1]
        finally:
            over.set()
            t.join()


def http(connection):
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    connection.shutdown(socket.SHUT_WR)


def rubbish(connection):
    connection.sendall(b"\xce" * 70000)


def silence(_connection):
    pass


def no_connection(suite):
    with suite.case("faults: a wrong password is AUTH, and not shown"):
        outcome = one_call(url(password="not-the-password"))
        expect_code(outcome, ["AUTH"])
        same("not-the-password" in outcome.text + outcome.where, False, "the password is shown")
    with suite.case("faults: an unknown vhost is refused and named"):
        outcome = one_call(url("nowhere"))
        expect_code(outcome, ["ACCESS"])
        same("nowhere" in outcome.text + outcome.where, True, "the vhost is named")
    with suite.case("faults: a port where nobody listens is UNREACHABLE"):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        expect_code(one_call(url(port=port)), ["UNREACHABLE"])
    with suite.case("faults: a silent peer on the port is UNREACHABLE, by the deadline"):
        with listener(silence) as port:
            expect_code(one_call(url(port=port)), ["UNREACHABLE"])
    for name, talk in (("an HTTP server", http), ("a peer that sends rubbish", rubbish)):
        with suite.case(f"faults: {name} on the port is told as no AMQP, by the deadline"):
            with listener(talk) as port:
                outcome = one_call(url(port=port))
                expect_code(outcome, ["PROTOCOL"])
                same("this is not AMQP" in outcome.text, True, outcome.text)


@contextlib.contextmanager
def someone_elses(*, exchange_durable, queue=None, queue_durable=False):
    """A vhost of its own where another client was first; gives its URL."""
    ctl("add_vhost", "mismatch")
    ctl("set_permissions", "-p", "mismatch", "guest", ".*", ".*", ".*")
    host, port, user, password = broker_address()
    try:
        with amqp.Connection(host=f"{host}:{port}", userid=user, password=password, virtual_host="mismatch") as c:
            c.connect()
            channel = c.channel()
            channel.exchange_declare("openstack", "topic", durable=exchange_durable, auto_delete=False)
            if queue is not None:
                channel.queue_declare(queue, durable=queue_durable, auto_delete=False)
        yield url("mismatch")
    finally:
        ctl("delete_vhost", "mismatch")


DURABLE = ("oslo_messaging_rabbit", "amqp_durable_queues", "true")


def server_code(at, topic, conf=()):
    """What starting a server there answers: code, text and where."""
    peer = CPeer(at, conf=conf)
    try:
        answer = peer.ask({"do": "serve", "topic": topic, "server": "one"}, 35)
    finally:
        peer.kill()
    return (None, "", "") if answer["ok"] else (answer["code"], answer["text"], answer["where"])


def expect_named(code, text, where, *names):
    same(code, "MISMATCH")
    host, port, _, _ = broker_address()
    for name in (f"{host}:{port}", "vhost mismatch", "amqp_durable_queues", *names):
        same(name in text + " " + where, True, f"{name} in {text!r} {where!r}")


def mismatch(suite):
    with someone_elses(exchange_durable=True) as at:
        with suite.case("faults: an exchange declared durable by another is MISMATCH for a server, with its place"):
            expect_named(*server_code(at, "it-mm"), "openstack", "queue it-mm")
        with suite.case("faults: an exchange declared durable by another is MISMATCH for a call, unsent"):
            outcome = one_call(at)
            same(outcome.sent, "no")
            expect_named(outcome.code, outcome.text, outcome.where, "exchange openstack", "key it-faults")
    with someone_elses(exchange_durable=False) as at:
        with suite.case("faults: durable server and client go with an exchange that another declared not durable"):
            server, client = CPeer(at, conf=[DURABLE], executor="threading"), CPeer(at, conf=[DURABLE])
            server.serve("it-mm", "one")
            same(client.call("it-mm", "who", timeout=10).result, "one")
            client.close()
            server.close()
    with someone_elses(exchange_durable=True, queue="it-mm") as at:
        with suite.case("faults: a queue that another declared not durable is MISMATCH for a durable server"):
            expect_named(*server_code(at, "it-mm", [DURABLE]), "queue it-mm")
    with someone_elses(exchange_durable=False, queue="it-mm", queue_durable=True) as at:
        with suite.case("faults: a queue declared durable by another is MISMATCH for a server"):
            expect_named(*server_code(at, "it-mm"), "queue it-mm")


def nobody(suite):
    with suite.case("faults: a call that nobody takes ends by its deadline"):
        outcome = one_call(url(), 1.0)
        outcome.expect_failure("MessagingTimeout", code="TIMEOUT")
    with suite.case("faults: a mandatory call that nobody takes is UNDELIVERABLE at once"):
        peer = CPeer()
        began = time.monotonic()
        outcome = peer.call("it-nobody", "who", timeout=10, mandatory=True)
        peer.kill()
        same(outcome.code, "UNDELIVERABLE")
        within(2, began)


def recovery(suite):
    for executor in EXECUTORS:
        topic = f"it-faults-{executor}"
        server, client = CPeer(executor=executor), CPeer()
        server.serve(topic, "one")

        def works():
            return client.call(topic, "who", timeout=2).result == "one"

        with suite.case(f"faults: a {executor} server whose queue is deleted consumes again"):
            until(works)
            ctl("delete_queue", topic)
            until(works, 15)
        with suite.case(f"faults: client and {executor} server come back after the broker closed their connections"):
            ctl("close_all_connections", "test")
            until(works, 20)
        with suite.case(f"faults: {executor} server and client end cleanly after recovery"):
            client.close()
            server.close()


def killed(suite):
    for executor in EXECUTORS:
        with suite.case(f"faults: a {executor} server killed in a call lets the caller end with TIMEOUT, sent = yes"):
            server, client = CPeer(executor=executor), CPeer()
            server.serve(f"it-killed-{executor}", "one")
            outcome = []
            began = time.monotonic()
            t = threading.Thread(target=lambda: outcome.append(
                client.call(f"it-killed-{executor}", "hang", {"seconds": 60}, timeout=3)))
            t.start()
            same(server.seen(1), [["one", "hangs"]])
            server.kill()
            t.join(10)
            within(3, began)
            outcome[0].expect_failure("MessagingTimeout", code="TIMEOUT", sent="yes")
            client.close()


def restarted(suite):
    """A broker of its own dies without a word and is there again, behind the same address."""
    folder = os.path.join(BUILD, "rabbit-restarted")
    rabbit = lambda verb: subprocess.run(["scripts/rabbit", verb, folder], check=True, timeout=150)  # noqa: E731

    def port():
        with open(os.path.join(folder, "port"), encoding="ascii") as f:
            return int(f.read())

    rabbit("start")
    proxy = Proxy(0, ("127.0.0.1", port()))
    at = url(port=proxy.port)
    conf = [("oslo_messaging_rabbit", "rabbit_retry_interval", "1"),
            ("oslo_messaging_rabbit", "rabbit_retry_backoff", "0")]
    servers = {}
    try:
        with suite.case("faults: servers of every executor and their client start"):
            client = CPeer(at, conf=conf)
            for executor in EXECUTORS:
                servers[executor] = CPeer(at, conf=conf, executor=executor)
                servers[executor].serve(f"it-restart-{executor}", "one")
                same(client.call(f"it-restart-{executor}", "who", timeout=10).result, "one")
        rabbit("kill")
        with suite.case("faults: while the broker is dead a call ends by its deadline"):
            began = time.monotonic()
            outcome = client.call(f"it-restart-{EXECUTORS[0]}", "who", timeout=2)
            # "maybe" as long as the client has not heard of the death: then it wrote to the connection that it had
            expect_code(outcome, ["TIMEOUT", "UNREACHABLE", "LOST"], "maybe" if outcome.sent == "maybe" else "no")
            within(2, began)
        rabbit("start")
        proxy.address = ("127.0.0.1", port())
        for executor in EXECUTORS:
            with suite.case(f"faults: after the broker was killed and started, the {executor} server is there again"):
                until(lambda: client.call(f"it-restart-{executor}", "who", timeout=2).result == "one", 20)
        with suite.case("faults: servers and client end cleanly after the broker was started anew"):
            for peer in [client, *servers.values()]:
                peer.close()
    finally:
        rabbit("stop")
        proxy.close()


def faults(suite):
    for group in (no_connection, mismatch, nobody, recovery, killed, restarted):
        group(suite)
