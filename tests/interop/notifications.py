# SPDX-License-Identifier: Apache-2.0
"""Notifications between Fjord and oslo.messaging, both ways; listeners that are killed, and a broker that goes away."""
import contextlib
import json
import os
import queue
import subprocess
import threading
import time
import uuid

import amqp
import oslo_messaging
from harness import BUILD, EXECUTORS, FJORD, URL, Late, broker_address, same, table, url
from oslo_config import cfg

NOTIFIED = os.path.join(BUILD, "interop", "notified")
PRIORITIES = ("audit", "debug", "info", "warn", "error", "critical", "sample")
MANY = 100000
DURABLE = "?amqp_durable_queues=true&rabbit_retry_interval=1&rabbit_retry_backoff=0"
SAFE = {"user_id": "u-1", "roles": ["member"], "request_id": "req-7"}


class Python:
    """oslo.messaging's side over one transport."""

    def __init__(self, url=URL):
        self.conf = cfg.ConfigOpts()
        self.conf([])
        self.transport = oslo_messaging.get_notification_transport(self.conf, url=url)
        self.listeners = []
        self.got = queue.Queue()

    def notifier(self, topic, driver="messagingv2", publisher="py.host1"):
        return oslo_messaging.Notifier(self.transport, publisher, driver=driver, topics=[topic])

    def listen(self, topic, batch=None, pool=None, requeue_first=0, priorities=PRIORITIES):
        got, left = self.got, [requeue_first]

        class Endpoint:
            pass

        def method(priority):
            def take(_self, ctxt, publisher_id, event_type, payload, metadata):
                if left[0] > 0:
                    left[0] -= 1
                    return oslo_messaging.NotificationResult.REQUEUE
                got.put((priority, ctxt, publisher_id, event_type, payload, metadata))

            def take_batch(_self, messages):
                got.put((priority, messages))
            return take_batch if batch else take

        for priority in priorities:
            setattr(Endpoint, priority, method(priority))
        targets = [oslo_messaging.Target(topic=topic)]
        if batch:
            listener = oslo_messaging.get_batch_notification_listener(
                self.transport, targets, [Endpoint()], executor="threading", batch_size=batch, batch_timeout=5,
                pool=pool)
        else:
            listener = oslo_messaging.get_notification_listener(
                self.transport, targets, [Endpoint()], executor="threading", allow_requeue=True, pool=pool)
        listener.start()
        self.listeners.append(listener)

    def next(self):
        return self.got.get(timeout=15)

    def close(self):
        for listener in self.listeners:
            listener.stop()
            listener.wait()
        self.transport.cleanup()


class Listener:
    """A `notified listen` and the lines it prints."""

    def __init__(self, topic, url=URL, **opts):
        self.process = subprocess.Popen([NOTIFIED, "listen", url, json.dumps({"topic": topic, **opts})],
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        same(self.lines.get(timeout=20), "ready")

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def next(self):
        return json.loads(self.lines.get(timeout=15))

    def rest(self):
        """What was printed and not yet looked at."""
        all_ = []
        with contextlib.suppress(queue.Empty):
            while True:
                all_.append(self.lines.get_nowait())
        return all_

    def kill(self):
        self.process.kill()
        self.process.wait(20)
        self.thread.join(20)

    def close(self):
        self.process.terminate()
        same(self.process.wait(20), 0, "exit status")
        self.thread.join(20)
        return self.rest()


def send(topic, url=URL, **opts):
    subprocess.run([NOTIFIED, "send", url, json.dumps({"topic": topic, **opts})], check=True, timeout=60)


def topic_of(name):
    return f"it-{name}-{uuid.uuid4().hex[:8]}"


@contextlib.contextmanager
def closing(*things):
    try:
        yield things[0] if len(things) == 1 else things
    finally:
        for thing in things:
            thing.close()


def check_ids(metadata):
    same(len(metadata["message_id"]), 36, "message id")
    time.strptime(metadata["timestamp"][:19], "%Y-%m-%d %H:%M:%S")


# ---- from C to Python ---------------------------------------------------------------------------------

def to_python(suite):
    for driver in ("messaging", "messagingv2"):
        for priority in PRIORITIES:
            with suite.case(f"a notification {priority} of C by {driver} reaches Python"):
                topic = topic_of("c2p")
                with closing(Python()) as python:
                    python.listen(topic)
                    send(topic, driver=driver, priority=priority, publisher="c.host1", event="compute.start",
                         payload={"x": [1, None, "hé"]}, context={**SAFE, "auth_token": "secret", "mine": 1})
                    got = python.next()
                    same(got[0], priority)
                    same(got[1], {**SAFE, "client_timeout": None}, "context")
                    same(list(got[2:5]), ["c.host1", "compute.start", {"x": [1, None, "hé"]}])
                    check_ids(got[5])
    with suite.case("a notification that Python requeues comes again"):
        topic = topic_of("c2p-again")
        with closing(Python()) as python:
            python.listen(topic, requeue_first=3)
            send(topic, payload={"x": 1})
            same(python.next()[4], {"x": 1})
    with suite.case("Python takes batches of what C sends"):
        topic = topic_of("c2p-batch")
        with closing(Python()) as python:
            python.listen(topic, batch=5, priorities=["info"])
            send(topic, count=10)
            numbers = []
            while len(numbers) < 10:
                numbers += [m["payload"]["n"] for m in python.next()[1]]
            same(sorted(numbers), list(range(10)))
    with suite.case("a pool of Python gets a copy of what C sends"):
        topic = topic_of("c2p-pool")
        with closing(Python(), Python()) as (one, other):
            one.listen(topic)
            other.listen(topic, pool=topic + "-pool")
            send(topic, payload={"x": 1})
            same(one.next()[4], {"x": 1})
            same(other.next()[4], {"x": 1})


# ---- from Python to C ---------------------------------------------------------------------------------

def to_c(suite):
    for executor in EXECUTORS:
        for driver in ("messaging", "messagingv2"):
            with suite.case(f"notifications of Python by {driver} of each priority reach C under {executor}"):
                topic = topic_of("p2c")
                with closing(Python(), Listener(topic, executor=executor)) as (python, c):
                    notifier = python.notifier(topic, driver)
                    for priority in PRIORITIES:
                        getattr(notifier, priority)({**SAFE, "auth_token": "no"}, f"e.{priority}", {"x": [1, "ü"]})
                        got = c.next()
                        same(got["priority"], priority)
                        same(got["context"], {**SAFE, "client_timeout": None}, "context")
                        args = got["args"]
                        check_ids(args.pop("metadata"))
                        same(args, {"publisher_id": "py.host1", "event_type": f"e.{priority}",
                                    "payload": {"x": [1, "ü"]}})
    with suite.case("what Python sent before C listened has waited"):
        topic = topic_of("p2c-early")
        with closing(Python()) as python:
            # the queue is there with its first notification
            python.notifier(topic).info({}, "early", {"n": 1})
            with closing(Listener(topic)) as c:
                same(c.next()["args"]["event_type"], "early")


def filters(suite):
    rules = {"publisher_id": "^py\\.", "event_type": "compute\\.", "context": {"user_id": "u"},
             "metadata": {"timestamp": "20"}, "payload": {"state": "act"}}
    good = ({"user_id": "u-1"}, "compute.start", {"state": "active"})
    bad = {"the event type": ({"user_id": "u-1"}, "x.compute.start", {"state": "active"}),
           "the context": ({"user_id": "x"}, "compute.start", {"state": "active"}),
           "a context without the key": ({}, "compute.start", {"state": "active"}),
           "the payload": ({"user_id": "u-1"}, "compute.start", {"state": "inactive"}),
           "a payload that is no text": ({"user_id": "u-1"}, "compute.start", {"state": 1}),
           "a payload without the key": ({"user_id": "u-1"}, "compute.start", {"other": "active"})}
    rule = oslo_messaging.NotificationFilter(**rules)
    for what, case in bad.items():
        with suite.case(f"a filter leaves out what differs in {what}, as Python's does"):
            topic = topic_of("filter")
            with closing(Python(), Listener(topic, filter=rules)) as (python, c):
                meta = {"timestamp": "2026"}
                same(rule.match(case[0], "py.host1", case[1], meta, case[2]), False, "Python's own answer")
                same(rule.match(good[0], "py.host1", good[1], meta, good[2]), True, "Python's own answer")
                python.notifier(topic).info(*case)
                python.notifier(topic).info(*good)
                got = c.next()["args"]
                same([got["event_type"], got["payload"]], [good[1], good[2]])
                same(c.close(), [])


def requeue(suite):
    for how in ("refuse", "fail"):
        with suite.case(f"what C does not handle ({how}) comes again"):
            topic = topic_of("again")
            with closing(Python(), Listener(topic, requeue=True, **{how: 5})) as (python, c):
                python.notifier(topic).info({}, "e", {"n": 1})
                same(c.next()["args"]["payload"], {"n": 1})
    with suite.case("what C does not handle is gone where it may not come again"):
        topic = topic_of("gone")
        with closing(Python(), Listener(topic, refuse=1)) as (python, c):
            python.notifier(topic).info({}, "e", {"n": 1})
            python.notifier(topic).info({}, "e", {"n": 2})
            same(c.next()["args"]["payload"], {"n": 2})
        same([q["messages"] for q in table("list_queues", "name", "messages") if q["name"] == f"{topic}.info"], [0])


def batches(suite):
    for executor in EXECUTORS:
        with suite.case(f"batches of what Python sends, under {executor}"):
            topic = topic_of("batch")
            with closing(Python(), Listener(topic, executor=executor, batch=4, batch_timeout=0.5)) as (python, c):
                notifier = python.notifier(topic)
                for i in range(10):
                    getattr(notifier, "error" if i % 5 == 4 else "info")({}, "e", {"n": i})
                numbers, sizes = {"info": [], "error": []}, []
                while sum(len(n) for n in numbers.values()) < 10:
                    got = c.next()
                    messages = got["args"]["messages"]
                    sizes.append(len(messages))
                    same(set(messages[0]) >= {"ctxt", "publisher_id", "event_type", "payload", "metadata"}, True)
                    numbers[got["priority"]] += [m["payload"]["n"] for m in messages]
                same(sorted(numbers["error"]), [4, 9])
                same(sorted(numbers["info"]), [0, 1, 2, 3, 5, 6, 7, 8])
                if max(sizes) < 2 or max(sizes) > 4:
                    raise AssertionError(f"batches of {sizes}")


def pools(suite):
    with suite.case("pools of C and Python, and listeners without, get a copy each"):
        topic = topic_of("pool")
        with closing(Python(), Listener(topic), Listener(topic, pool=f"{topic}-c")) as (python, c, pooled):
            python.listen(topic, pool=f"{topic}-p")
            python.notifier(topic).info({}, "e", {"n": 1})
            for got in (c, pooled):
                same(got.next()["args"]["payload"], {"n": 1})
            same(python.next()[4], {"n": 1})
    with suite.case("two listeners of a pool share its copy"):
        topic = topic_of("share")
        with closing(Listener(topic, pool=f"{topic}-c", numbers=True), Listener(topic, pool=f"{topic}-c", numbers=True)) \
                as (one, other):
            send(topic, count=200)
            numbers = []
            while len(numbers) < 200:
                numbers += one.rest() + other.rest()
            same(sorted(int(n) for n in numbers), list(range(200)))


# ---- losses -------------------------------------------------------------------------------------------

def judge(numbers, count):
    """Every number is there; answers how many came twice."""
    seen = {int(n) for n in numbers if n != "ready"}
    missing = sorted(set(range(count)) - seen)
    if missing:
        raise AssertionError(f"{len(missing)} of {count} are missing: {missing[:10]}")
    return sum(n != "ready" for n in numbers) - len(seen)


def drain(listener, numbers, count, limit=120):
    """Until all of `count` were printed, or nothing came for long."""
    seen = {int(n) for n in numbers}
    end = time.monotonic() + limit
    while len(seen) < count:
        if time.monotonic() > end:
            raise Late(f"{len(seen)} of {count} came")
        line = listener.lines.get(timeout=30)
        numbers.append(line)
        seen.add(int(line))


def killed(suite):
    for executor in EXECUTORS:
        killed_under(suite, executor)


def killed_under(suite, executor):
    with suite.case(f"a listener killed in the middle of {MANY} notifications and started again misses none, under {executor}", 300):
        topic, numbers = topic_of("killed"), []
        sender = subprocess.Popen([NOTIFIED, "send", URL, json.dumps({"topic": topic, "count": MANY})])
        try:
            for at in (MANY // 4, MANY // 2):
                c = Listener(topic, executor=executor, numbers=True)
                while len(numbers) < at:
                    numbers.append(c.lines.get(timeout=30))
                c.kill()
                numbers += c.rest()
            with closing(Listener(topic, executor=executor, numbers=True)) as c:
                drain(c, numbers, MANY)
            same(sender.wait(60), 0, "the sender's exit status")
        finally:
            sender.kill()
        print(f"    {judge(numbers, MANY)} came twice")


def restarted(suite):
    """A broker of its own goes and comes back with what it has stored: in order, then by a crash."""
    folder = os.path.join(BUILD, "rabbit-notifications")

    def rabbit(verb):
        subprocess.run(["scripts/rabbit", verb, folder], check=True, timeout=150, capture_output=True)

    def app(verb):
        subprocess.run([os.path.join(folder, "ctl"), "-q", verb], check=True, timeout=100, capture_output=True)

    ways = (("stopped and started", lambda: (app("stop_app"), app("start_app"))),
            ("killed and started", lambda: (rabbit("kill"), rabbit("again"))))
    rabbit("start")
    try:
        with open(os.path.join(folder, "port"), encoding="ascii") as f:
            at = url(port=int(f.read())) + DURABLE
        for how, away in ways:
            with suite.case(f"RabbitMQ {how} twice in the middle of {MANY} notifications: none is missed", 300):
                print(f"    {amid(at, away)} came twice")
    finally:
        rabbit("stop")


def amid(at, away):
    """Many notifications from one program to another, with that done at a tenth and at a third of them; how many came twice."""
    topic, numbers, sender = topic_of("restarted"), [], None
    with closing(Listener(topic, at, executor="threading", numbers=True)) as c:
        try:
            sender = subprocess.Popen([NOTIFIED, "send", at, json.dumps({"topic": topic, "count": MANY})])
            for part in (10, 3):
                while len(numbers) < MANY // part:
                    numbers.append(c.lines.get(timeout=30))
                away()
            drain(c, numbers, MANY)
            same(sender.wait(60), 0, "the sender's exit status")
        finally:
            if sender is not None:
                sender.kill()
    return judge(numbers, MANY)


# ---- the commands -------------------------------------------------------------------------------------

def commands(suite):
    def run(*words, stdin=None):
        return subprocess.run([FJORD, *words], input=stdin, capture_output=True, text=True, timeout=30,
                              env={**os.environ, "FJORD_URL": URL})

    with suite.case("fjord notify reaches Python"):
        topic = topic_of("cli")
        with closing(Python()) as python:
            python.listen(topic)
            done = run("notify", "cli.event", "a=b", "n:=5", "--topic", topic, "--priority", "error", "--publisher", "me")
            same(done.returncode, 0)
            got = python.next()
            same([got[0], got[2], got[3], got[4]], ["error", "me", "cli.event", {"a": "b", "n": 5}])
            same(run("notify", "cli.event", "-", "--topic", topic, stdin='["a list"]').returncode, 0)
            same(python.next()[4], ["a list"])
    with suite.case("fjord listen prints what Python sends, a JSON object a line"):
        topic = topic_of("cli-listen")
        with closing(Python()) as python:
            for priority in PRIORITIES:
                getattr(python.notifier(topic), priority)(SAFE, "e", {"p": priority})
            done = run("listen", "--topic", topic, "--count", "7", "--for", "20")
            same(done.returncode, 0)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            same(sorted(line["payload"]["p"] for line in lines), sorted(PRIORITIES))
            same(lines[0]["context"], SAFE)
            same(lines[0]["publisher_id"], "py.host1")
    with suite.case("fjord listen ends by --for, and leaves what it did not print"):
        topic = topic_of("cli-for")
        with closing(Python()) as python:
            for i in range(5):
                python.notifier(topic).info({}, "e", {"n": i})
            same(run("listen", "--topic", topic, "--count", "2").stdout.count("\n"), 2)
            done = run("listen", "--topic", topic, "--for", "1", "--count", "9")
            same([done.returncode, done.stdout.count("\n")], [3, 3])
            same(run("listen", "--topic", topic, "--for", "0.2").returncode, 0)
    with suite.case("fjord listen --match and --format pretty"):
        topic = topic_of("cli-match")
        with closing(Python()) as python:
            python.notifier(topic).info({}, "no.event", {"state": "active"})
            python.notifier(topic).info({}, "an.event", {"state": "active\x1b[31m"})
            done = run("listen", "--topic", topic, "--count", "1", "--for", "10", "--match", "event_type=an",
                       "--match", "payload.state=act", "--format", "pretty")
            same(done.returncode, 0)
            same(done.stdout.count("an.event"), 1)
            same("\x1b" in done.stdout, False, "an escape on the terminal")
    with suite.case("fjord notify and listen say what is wrong with their options"):
        for words in (["notify"], ["notify", "e", "--priority", "loud"], ["notify", "e", "novalue"],
                      ["notify", "e", "@/nosuch"], ["listen", "x"], ["listen", "--format", "xml"],
                      ["listen", "--match", "nofield"], ["listen", "--match", "event_type=("],
                      ["notify", "e", "--driver", "nosuch"]):
            same([words, run(*words).returncode], [words, 2])


def notifications(suite):
    for group in (to_python, to_c, filters, requeue, batches, pools, commands, killed, restarted):
        group(suite)
    forget([q["name"] for q in table("list_queues", "name") if q["name"].startswith("it-")])


def forget(queues):
    host, port, user, password = broker_address()
    with amqp.Connection(f"{host}:{port}", user, password) as connection:
        for name in queues:
            connection.channel().queue_delete(name)
