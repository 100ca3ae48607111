# SPDX-License-Identifier: Apache-2.0
"""What a C server and client declare at the broker, against what oslo.messaging was seen to declare with the same options: 14.0.3,
and for what only later releases have, one of those."""
import contextlib
import glob
import os
import re
import subprocess

from harness import CPeer, ctl, normal, same, table, until, url

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "data", "topology")
CAPTURE = os.path.join(DATA, "topology-default-1403.txt")
VHOST = "topology"


def sections(path):
    """The capture's tables: section name to a list of dicts of text."""
    out, rows, head = {}, None, None
    with open(path, encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line.startswith("== "):
                rows, head = out.setdefault(line[3:], []), None
            elif rows is not None and not line.startswith("#"):
                cells = line.split("\t")
                if head is None:
                    head = cells
                else:
                    rows.append(dict(zip(head, cells)))
    return out


def is_rpc(row):
    """The capture has notification queues too; they are not this test's."""
    return not any(str(v).startswith(("notifications", "pool1")) for v in row.values())


def expected(section, *keys, capture=CAPTURE):
    rows = [r for r in sections(capture)[section] if is_rpc(r)]
    return sorted([normal(r[k]) for k in keys] for r in rows)


def text(value):
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def cell(value):
    """A cell of rabbitmqctl's JSON as its plain output writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value == [] or value == {}:
        return "[]"
    if isinstance(value, dict):
        return "[" + ",".join(f'{{"{k}",{text(v)}}}' for k, v in value.items()) + "]"
    if isinstance(value, list):
        return "[" + ",".join(f'{{"{a[0]}",{text(a[-1])}}}' for a in value) + "]"
    return normal(str(value))


def present(command, *keys, vhost=VHOST):
    rows = table(command, "-p", vhost, *keys)
    return sorted([cell(r[k]) for k in keys] for r in rows)


QUEUES = ("name", "type", "durable", "auto_delete", "exclusive", "arguments")
EXCHANGES = ("name", "type", "durable", "auto_delete", "internal", "arguments")
BINDINGS = ("source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments")


def seen(vhost):
    """All there is in a vhost, in rows of text."""
    return {"queues": present("list_queues", *QUEUES, vhost=vhost),
            "exchanges": [r for r in present("list_exchanges", *EXCHANGES, vhost=vhost)
                          if r[0] and not r[0].startswith("amq.")],
            "bindings": [r for r in present("list_bindings", *BINDINGS, vhost=vhost) if r[0]]}


def url_options(capture):
    """Those that were in the URL when it was made."""
    with open(capture, encoding="utf-8") as f:
        return re.search(r"url options: ([^;\n]*)", f.readline()).group(1)


def fresh(vhost):
    """An empty vhost, whether there was one of that name or not."""
    with contextlib.suppress(subprocess.CalledProcessError):
        ctl("delete_vhost", vhost)
    ctl("add_vhost", vhost)
    ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")


def forget_names(host, process):
    for name in (f"{host}_{process}_qmanager", f"oslo_read_shm_{host}_{process}"):
        if os.path.exists("/dev/shm/" + name):
            os.unlink("/dev/shm/" + name)


def variant(suite, capture):
    name = os.path.basename(capture)[len("topology-"):-len(".txt")]
    fresh(VHOST)
    forget_names("h1", "p1")
    at = url(VHOST) + "?" + url_options(capture)
    server, client = CPeer(at), CPeer(at)
    with suite.case(f"topology: {name}: everything is declared as oslo.messaging does with {url_options(capture)[:60]}", 120):
        server.serve("tp", "srv1")
        client.call("tp", "add", {"a": 1, "b": 2}).expect(3)
        client.cast("tp", "note", {"x": 1}, fanout=True).expect(None)
        same(server.seen(1), [["srv1", 1]], "the fanout")
        got = seen(VHOST)
        for section, keys in (("queues", QUEUES), ("exchanges", EXCHANGES), ("bindings", BINDINGS)):
            same(got[section], expected(section, *keys, capture=capture), section)
        prefetch = "rabbit_qos_prefetch_count=10" in at
        keys = ("queue_name", "consumer_tag", "ack_required") + (("prefetch_count",) if prefetch else ())
        want = [r for r in expected("consumers", *keys, capture=capture) if not r[0].startswith("reply_")]
        same([r for r in present("list_consumers", *keys) if not r[0].startswith("reply_")], want, "consumers")
    with suite.case(f"topology: {name}: a stop leaves what oslo.messaging leaves", 120):
        want = [n for (n,) in expected("queues left after everything stopped", "name", capture=capture)]
        server.close()
        client.close()
        until(lambda: [n for (n,) in present("list_queues", "name")] == want)
    ctl("delete_vhost", VHOST)
    forget_names("h1", "p1")


def topology(suite):
    for capture in sorted(glob.glob(os.path.join(DATA, "*.txt"))):
        if "default" not in capture:
            variant(suite, capture)
    ctl("add_vhost", VHOST)
    ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    server, client = CPeer(url(VHOST)), CPeer(url(VHOST))
    server.serve("tp", "srv1")
    client.call("tp", "add", {"a": 1, "b": 2}).expect(3)
    with suite.case("topology: queues have oslo.messaging's names, properties and arguments"):
        same(present("list_queues", *QUEUES), expected("queues", *QUEUES))
    with suite.case("topology: exchanges have oslo.messaging's names, types and properties"):
        same(seen(VHOST)["exchanges"], expected("exchanges", *EXCHANGES))
    with suite.case("topology: bindings are oslo.messaging's"):
        same(seen(VHOST)["bindings"], expected("bindings", *BINDINGS))
    with suite.case("topology: consumers want acknowledgements, under oslo.messaging's tags"):
        keys = ("queue_name", "consumer_tag", "ack_required", "arguments")
        same(present("list_consumers", *keys), expected("consumers", *keys))
    with suite.case("topology: a stopped server takes its fanout queue along and leaves the topic's queues"):
        server.stop("srv1")

        def names():
            return sorted(n for (n,) in present("list_queues", "name") if not n.startswith("reply_"))

        until(lambda: names() == ["tp", "tp.srv1"])
        until(lambda: ["tp_fanout"] not in present("list_exchanges", "name"))
    with suite.case("topology: nothing but the two queues keeps a connection after the end"):
        client.close()
        server.close()
        until(lambda: table("list_consumers", "-p", VHOST) == [])
    ctl("delete_vhost", VHOST)
