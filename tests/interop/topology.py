# SPDX-License-Identifier: Apache-2.0
"""What a C server and client declare at the broker, against what oslo.messaging 14.0.3 was seen to declare."""
import os

from harness import CPeer, ctl, normal, same, table, until, url

HERE = os.path.dirname(os.path.abspath(__file__))
CAPTURE = os.path.join(HERE, "..", "data", "topology", "topology-default-1403.txt")
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


def expected(section, *keys):
    rows = [r for r in sections(CAPTURE)[section] if is_rpc(r)]
    return sorted([normal(r[k]) for k in keys] for r in rows)


def cell(value):
    """A cell of rabbitmqctl's JSON as its plain output writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value == [] or value == {}:
        return "[]"
    if isinstance(value, dict):
        return "[" + ",".join(f'{{"{k}",{v}}}' for k, v in value.items()) + "]"
    if isinstance(value, list):
        return "[" + ",".join(f'{{"{a[0]}",{a[-1]}}}' for a in value) + "]"
    return normal(str(value))


def present(command, *keys):
    rows = table(command, "-p", VHOST, *keys)
    return sorted([cell(r[k]) for k in keys] for r in rows)


def topology(suite):
    ctl("add_vhost", VHOST)
    ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    server, client = CPeer(url(VHOST)), CPeer(url(VHOST))
    server.serve("tp", "srv1")
    client.call("tp", "add", {"a": 1, "b": 2}).expect(3)
    with suite.case("topology: queues have oslo.messaging's names, properties and arguments"):
        keys = ("name", "type", "durable", "auto_delete", "exclusive", "arguments")
        same(present("list_queues", *keys), expected("queues", *keys))
    with suite.case("topology: exchanges have oslo.messaging's names, types and properties"):
        keys = ("name", "type", "durable", "auto_delete", "internal", "arguments")
        got = [r for r in present("list_exchanges", *keys) if r[0] and not r[0].startswith("amq.")]
        same(got, expected("exchanges", *keys))
    with suite.case("topology: bindings are oslo.messaging's"):
        keys = ("source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments")
        same([r for r in present("list_bindings", *keys) if r[0]], expected("bindings", *keys))
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
