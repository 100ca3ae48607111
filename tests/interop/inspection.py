# SPDX-License-Identifier: Apache-2.0
"""What a C process tells of its connections, channels, queues and calls, against what the broker has."""
import os
import subprocess

from harness import BUILD, EXECUTORS, CPeer, same, table, until, url
from storm import Proxy

FAST = [("oslo_messaging_rabbit", "rabbit_retry_interval", "1"), ("oslo_messaging_rabbit", "rabbit_retry_backoff", "0")]


def tell(peer, kind):
    return peer.ok(peer.ask({"do": "inspect", "kind": kind}))


def connection(peer, purpose):
    return next((c for c in tell(peer, "connection") if c.get("purpose") == purpose), None)


def connected(peer):
    return [c for c in tell(peer, "connection") if c["state"] == "connected"]


def about_connections(suite, executor):
    server, client = CPeer(executor=executor), CPeer()
    topic = f"insp-{executor}"
    try:
        server.serve(topic, "s1")
        same(client.call(topic, "who").result, "s1")
        with suite.case(f"inspection: connections and channels are told as the broker has them ({executor})"):
            mine = until(lambda: connected(server) if len(connected(server)) == 2 else None)
            brokers = table("list_connections", "peer_port", "channels", "timeout", "user")
            channels = sorted(len(c["channels"]) for c in mine)
            same(channels, [1, 2], "channels")  # replies are listed beside the listener, whether wanted or not
            for c in mine:
                same(c["epoch"], 1, "epoch")
                same(c["reconnects"], 0, "reconnects")
                same(c["driven_by"], "threads" if executor in ("blocking", "threading") else "loop", "driven_by")
                if not c["broker"].startswith("RabbitMQ"):
                    raise AssertionError(f"the broker is {c['broker']}")
                if "guest:guest" in str(c):
                    raise AssertionError("a password is told")
                if not (c["bytes_in"] > 0 and c["bytes_out"] > 0 and c["frames_in"] > 2 and c["frames_out"] > 2):
                    raise AssertionError(f"no traffic: {c}")
                if c["heartbeat"] not in {b["timeout"] for b in brokers}:
                    raise AssertionError(f"the broker's heartbeats are {brokers}, ours {c['heartbeat']}")
            listener = next(x for c in mine for x in c["channels"] if x["role"] == "listener")
            same(listener["state"], "open")
            same(listener["consumers"], 3)
            prefetch = {r["prefetch_count"] for r in table("list_consumers", "queue_name", "prefetch_count")
                        if r["queue_name"] == topic}
            same([listener["prefetch"]], list(prefetch), "prefetch")
        with suite.case(f"inspection: queues are told by the names that the broker has ({executor})"):
            names = {r["name"] for r in table("list_queues", "name")}
            told = {q["name"]: q["role"] for q in tell(server, "queue") if q["role"] != "reply"}
            same(sorted(told.values()), ["fanout", "server", "topic"])
            same(told[topic], "topic")
            same(told[f"{topic}.s1"], "server")
            if not set(told) <= names:
                raise AssertionError(f"{set(told) - names} are not at the broker")
            replies = [q["name"] for q in tell(client, "queue") if q["role"] == "reply"]
            if len(replies) != 1 or replies[0] not in names:
                raise AssertionError(f"{replies} are not at the broker")
        with suite.case(f"inspection: a call in flight is told on both sides, by the same id ({executor})"):
            client.ok(client.ask({"do": "begin", "topic": topic, "method": "slow", "args": {"seconds": 2}, "timeout": 20}))
            ours = until(lambda: [c for c in tell(client, "call") if c["method"] == "slow" and c["sent"] == "yes"])[0]
            # blocking and a loop run it on the thread that serves: the peer answers all the same
            theirs = until(lambda: [c for c in tell(server, "call") if c["method"] == "slow"])[0]
            same(theirs["id"], ours["id"], "id")
            same(theirs["state"], "running")
            same(theirs["server"], f"{topic}.s1")
            same(ours["target"], topic)
            until(lambda: not tell(client, "call") and not tell(server, "call"))
            row = next(r for r in tell(server, "counters") if r["method"] == "slow")
            same((row["calls"], row["ok"], row["in_flight"]), (1, 1, 0))
            if not row["latency"]["max"] >= 2:
                raise AssertionError(f"it took {row['latency']}")
        with suite.case(f"inspection: a call nobody takes is told until its deadline ({executor})"):
            client.ok(client.ask({"do": "begin", "topic": "insp-nobody", "method": "lost", "timeout": 3}))
            until(lambda: [c for c in tell(client, "call") if c["method"] == "lost"])
            until(lambda: not tell(client, "call"))
            row = next(r for r in tell(client, "counters") if r["method"] == "lost")
            same((row["calls"], row["timeouts"], row["in_flight"]), (1, 1, 0))
    finally:
        server.kill()
        client.kill()


def restarted(suite):
    """A broker of its own that is killed and started again."""
    folder = os.path.join(BUILD, "rabbit-inspection")
    rabbit = lambda verb: subprocess.run(["scripts/rabbit", verb, folder], check=True, timeout=150)  # noqa: E731

    def port():
        with open(os.path.join(folder, "port"), encoding="ascii") as f:
            return int(f.read())

    rabbit("start")
    proxy = Proxy(0, ("127.0.0.1", port()))
    server = CPeer(url(port=proxy.port), conf=FAST)
    try:
        with suite.case("inspection: a broker that dies and comes back is told of: why, since when, and how often", 150):
            server.serve("insp-restart", "s1")
            same(server.call("insp-restart", "who").result, "s1")
            same(connection(server, "consuming")["epoch"], 1)
            rabbit("kill")
            lost = until(lambda: next((c for c in tell(server, "connection")
                                       if c["purpose"] == "consuming" and c["state"] != "connected" and c["error"]), None), 30)
            if not any(c["state"] == "closed" for c in lost["channels"]):
                raise AssertionError(f"channels of a lost connection: {lost['channels']}")
            rabbit("start")
            proxy.address = ("127.0.0.1", port())
            again = until(lambda: connection(server, "consuming") if connection(server, "consuming")["state"] == "connected"
                          else None, 60)
            same((again["epoch"], again["reconnects"]), (2, 1))
            until(lambda: server.call("insp-restart", "who", timeout=2).result == "s1", 20)
            topic = next(q for q in tell(server, "queue") if q["role"] == "topic")
            same(topic["name"], "insp-restart")
    finally:
        server.kill()
        rabbit("stop")
        proxy.close()


def inspection(suite):
    for executor in EXECUTORS:
        about_connections(suite, executor)
    restarted(suite)
