# SPDX-License-Identifier: Apache-2.0
"""Messages of every odd shape, published raw into a C server's queue: what it answers is what oslo.messaging 14.0.3
was seen to answer, and a good call always works afterwards."""
import json
import time
import uuid

import amqp

from harness import CPeer, broker_address, same

TOPIC = "it-edge"
PROPERTIES = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 0,
              "application_headers": {}}


class Raw:
    """A client that writes the bytes itself."""

    def __init__(self, server):
        self.server = server
        host, port, user, password = broker_address()
        self.connection = amqp.Connection(host=f"{host}:{port}", userid=user, password=password)
        self.connection.connect()
        self.channel = self.connection.channel()
        self.queue = "reply_" + uuid.uuid4().hex
        self.replies = []
        self.channel.queue_declare(self.queue, durable=False, auto_delete=True, exclusive=True)
        self.channel.basic_consume(self.queue, no_ack=True, callback=self.take)

    def take(self, message):
        body = json.loads(message.body)
        self.replies.append(json.loads(body["oslo.message"]))

    def request(self, **changes):
        """A good request; a change to ... leaves the key out."""
        r = {"method": "echo", "args": {"x": 1}, "_msg_id": uuid.uuid4().hex, "_reply_q": self.queue,
             "_timeout": None, "_unique_id": uuid.uuid4().hex}
        r.update(changes)
        return {k: v for k, v in r.items() if v is not ...}

    def publish(self, body, properties=None):
        message = amqp.Message(body, **(PROPERTIES if properties is None else properties))
        self.channel.basic_publish(message, exchange="openstack", routing_key=TOPIC)

    def send(self, body, properties=None):
        """Publish, then a good call; the answers to the first, once the second is answered."""
        good = self.request()
        self.good = good["_msg_id"]
        self.replies = []
        if self.server.process.poll() is not None:
            raise AssertionError(f"the C server died: {self.server.process.returncode}")
        self.publish(body, properties)
        self.publish(envelope(good))
        end = time.monotonic() + 10
        while not any(r["_msg_id"] == good["_msg_id"] for r in self.replies):
            self.connection.drain_events(timeout=max(0.01, end - time.monotonic()))
        same([r["result"] for r in self.replies if r["_msg_id"] == good["_msg_id"]], [1], "the good call")
        return [r for r in self.replies if r["_msg_id"] != good["_msg_id"]]

    def close(self):
        self.connection.close()


def envelope(inner, version="2.0", **dumps):
    outer = {"oslo.version": version, "oslo.message": json.dumps(inner, **dumps)}
    if version is None:
        del outer["oslo.version"]
    return json.dumps(outer, **dumps)


def properties(**changes):
    p = {**PROPERTIES, **changes}
    return {k: v for k, v in p.items() if v is not ...}


ANY = object()  # a failure of whatever class


def bodies(raw):
    """Rows of name, body, properties, and the answer wanted: None for none, a one-item list for a result, else the
    class of the failure."""
    r = raw.request
    text = json.dumps({"oslo.version": "2.0", "oslo.message": "{not json"})
    yield "a normal request", envelope(r()), None, [1]
    yield "no envelope (v1)", json.dumps(r()), None, [1]
    for version in ("1.0", "2.1", "3.0", "2", "x"):
        yield f"envelope version {version!r}", envelope(r(), version), None, None
    yield "oslo.version missing", envelope(r(), None), None, None
    yield "no content type and encoding", envelope(r()), properties(content_type=..., content_encoding=...), None
    yield "content_encoding missing", envelope(r()), properties(content_encoding=...), [1]
    for kind in ("text/plain", "application/octet-stream", "application/json; charset=utf-8",
                 "application/x-python-serialize"):
        yield f"content_type {kind}", envelope(r()), properties(content_type=kind), None
    yield "encoding binary", envelope(r()).encode(), properties(content_encoding="binary"), [1]
    yield "transient delivery mode", envelope(r()), properties(delivery_mode=1), [1]
    yield "no properties at all", envelope(r()).encode(), {}, None
    yield "raw UTF-8", envelope(r(args={"x": "hé 世"}), ensure_ascii=False), None, ["hé 世"]
    yield "bytes that are no UTF-8", b'{"oslo.version": "2.0", "oslo.message": "\xff\xfe"}', None, None
    yield "invalid JSON", "{not json", None, None
    yield "an empty body", "", None, None
    yield "a JSON array", "[1, 2]", None, None
    yield "a JSON string", '"text"', None, None
    yield "inner text is no JSON", text, None, None
    yield "inner text is an array", envelope([1]), None, None
    yield "inner is an object, no text", json.dumps({"oslo.version": "2.0", "oslo.message": {}}), None, None
    yield "ten thousand nested arrays", "[" * 10000, None, None
    yield "nested arrays in the arguments", envelope(r()).replace('\\"x\\": 1', '\\"x\\": ' + "[" * 5000), None, None
    yield "method missing", envelope(r(method=...)), None, "TypeError"
    yield "method a number", envelope(r(method=5)), None, "TypeError"
    yield "args missing", envelope(r(method="nothing", args=...)), None, [None]
    yield "args null", envelope(r(args=None)), None, "AttributeError"
    yield "args a list", envelope(r(args=[1])), None, "AttributeError"
    yield "an unknown extra field", envelope(r(extra={"a": 1})), None, [1]
    yield "_reply_q missing", envelope(r(_reply_q=...)), None, None
    yield "_reply_q of nobody", envelope(r(_reply_q="reply_nobody")), None, None
    yield "_msg_id missing", envelope(r(_msg_id=...)), None, None
    yield "_msg_id null", envelope(r(_msg_id=None)), None, None
    yield "_unique_id missing", envelope(r(_unique_id=...)), None, [1]
    yield "namespace null", envelope(r(namespace=None)), None, [1]
    yield "namespace empty", envelope(r(namespace="")), None, "UnsupportedVersion"
    yield "version null", envelope(r(version=None)), None, "UnsupportedVersion"
    yield "version '1'", envelope(r(version="1")), None, "IndexError"
    yield "version '1.0'", envelope(r(version="1.0")), None, [1]
    yield "version '1.0.0.1'", envelope(r(version="1.0.0.1")), None, [1]
    for version in ("1.0.5", "0.9", "1.1"):
        yield f"version {version!r}", envelope(r(version=version)), None, "UnsupportedVersion"
    yield "version 'abc'", envelope(r(version="abc")), None, ANY
    yield "version a number", envelope(r(version=1.0)), None, "AttributeError"
    hello = {"method": "hello", "args": {"name": "n"}, "namespace": "ns"}
    for version, want in (("1", "IndexError"), ("1.3", ["hello n"]), ("1.2.9", ["hello n"]), ("1.3.0", ["hello n"]),
                          ("1.3.1", "UnsupportedVersion"), ("2.0", ["hello2 n"]), ("3.0", "UnsupportedVersion")):
        yield f"ns version {version!r}", envelope(r(**hello, version=version)), None, want
    for timeout in (0, 1, "x", -1):
        yield f"_timeout {timeout!r}", envelope(r(_timeout=timeout)), None, [1]
    yield "a context with an empty key", envelope(r(method="context", args={}, _context_a=1, **{"_context_": 2})), \
        None, [{"a": 1, "": 2, "client_timeout": None}]
    for method in ("target", "__class__", "_private", ""):
        yield f"method {method!r}", envelope(r(method=method)), None, ANY


def check(replies, want):
    if want is None:
        same(len(replies), 0, "replies")
        return
    same(len(replies), 1, "replies")
    same(replies[0]["ending"], True, "ending")
    if isinstance(want, list):
        same(replies[0]["failure"], None, "failure")
        same(replies[0]["result"], want[0], "result")
        return
    failure = json.loads(replies[0]["failure"])
    if want is not ANY:
        same(failure["class"], want, "class of the failure")


def heartbeats(suite, raw):
    for timeout, count in ((2, 3), ("2", 3), (2.9, 3), (None, 1), (1, 1)):
        with suite.case(f"edge ({raw.server.executor}): _timeout {timeout!r} of a method of 2.6 seconds gives {count} replies"):
            r = raw.request(method="slow", args={"seconds": 2.6}, _timeout=timeout)
            replies = raw.send(envelope(r))
            same([x["ending"] for x in replies], [False] * (count - 1) + [True])


def duplicates(suite, raw):
    with suite.case(f"edge ({raw.server.executor}): a repeated _unique_id is dropped"):
        r = raw.request()
        same(len(raw.send(envelope(r))), 1)
        same(len(raw.send(envelope({**r, "_msg_id": uuid.uuid4().hex}))), 0)


def edge(suite):
    for executor in ("blocking", "green"):
        server = CPeer(executor=executor)
        raw = Raw(server)
        server.serve(TOPIC, "one")
        for name, body, props, want in bodies(raw):
            with suite.case(f"edge ({executor}): {name}"):
                check(raw.send(body, props), want)
        heartbeats(suite, raw)
        duplicates(suite, raw)
        with suite.case(f"edge ({executor}): the server ends cleanly after all that"):
            raw.close()
            server.close()
