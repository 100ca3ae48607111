# SPDX-License-Identifier: Apache-2.0
"""H: what hosts do; and L9, L10, what a process does to itself."""
import fcntl
import glob
import os
import shutil
import signal
import stat
import subprocess
import tempfile

from lab import BACKOFF, EXECUTORS, OSLO, TWO, Program, Skip, need, row, until
from rows_broker import pause
from rows_life import only_ok


def limit_descriptors(program, soft):
    subprocess.run(["prlimit", f"--pid={program.process.pid}", f"--nofile={soft}:"], check=True)


@row("H2", "there is no descriptor left to connect with", "P2 P5 P6 P7", TWO)
def no_descriptors(lab):
    server, client = lab.server(), lab.client()
    lab.back(client, 5, "before the fault")
    before = descriptors(client)
    for program in (server, client):
        limit_descriptors(program, 3)  # those that are open stay
    lab.broker.ctl("close_all_connections", "--vhost", lab.vhost, "out of descriptors")
    ends = [client.ask(timeout=1.5) for _ in range(3)]
    need(all(e["code"] != "OK" for e in ends), f"there were descriptors: {ends}")
    if lab.subject != OSLO:
        need("open files" in ends[-1]["text"] or "open files" in client.log(), f"neither error nor log say why: {ends[-1]}, {client.log()[-300:]}")
    for program in (server, client):
        limit_descriptors(program, 1024)
    lab.back(client, BACKOFF + 2)
    need(lab.subject == OSLO or descriptors(client) <= before + 1, f"descriptors were {before}, and are {descriptors(client)}")


def descriptors(program):
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


@row("H5", "the wall clock jumps an hour to and fro, and ten years back", "P2", TWO)
def clock_jumps(lab):
    library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not library:
        raise Skip("libfaketime is not installed")
    folder = lab.stack.enter_context(tempfile.TemporaryDirectory())
    path = os.path.join(folder, "now")

    def jump(to):
        with open(path + ".new", "w") as f:
            f.write(to + "\n")
        os.replace(path + ".new", path)

    jump("+0")
    prefix = ["env", f"LD_PRELOAD={library[0]}", f"FAKETIME_TIMESTAMP_FILE={path}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    lab.server(prefix=prefix)
    client = lab.client(prefix=prefix)
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=2, casts=0.3, ms=2)
    for to in ("+1h", "-1h", "-10y", "+10y", "+0"):
        jump(to)
        late = client.start(ms=3000, timeout=1)
        need(client.end(late)["code"] == "TIMEOUT", f"at {to} the time of a call is another: {client.end(late)}")
    client.rest()
    counts = lab.ledger.counts()
    need(counts["TIMEOUT"] == 5, f"others end before their time: {counts}")


@row("H6", "the client's process, and then the server's, stands still for more than two heartbeats", "P1 P2 P5", TWO)
def stands_still(lab):
    server, client = lab.server(), lab.client()
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=3, casts=0.3, ms=2)
    pause(0.5)
    for program in (client, server):
        program.signal(signal.SIGSTOP)
        try:
            pause(10)  # heartbeats are of 4 s
        finally:
            program.signal(signal.SIGCONT)
        lab.back(client, BACKOFF + 4)
    client.rest()
    lab.judge(slack=10.5)  # by which whoever stood still is late


@row("H9", "nobody reads the pipe that the log goes to", "P2 P8", TWO, oslo=False)
def log_blocks(lab):
    folder = lab.stack.enter_context(tempfile.TemporaryDirectory())
    path = os.path.join(folder, "log")
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    lab.stack.callback(os.close, pipe)
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    lab.server(conf=[f"DEFAULT.log_file={path}", "fjord.log_buffer=65536"])
    client = lab.client()
    lab.back(client, 5, "before the fault")
    client.load(workers=8, timeout=3, method="fail", pause=1)  # each is logged by the server
    need(lab.ledger.wait(lambda book: len(book.ends) > 300, 30), f"calls end slowly: {len(lab.ledger.ends)}")
    client.rest()
    counts = lab.ledger.counts()
    need(set(counts) == {"OK", "REMOTE"}, f"calls ended as {counts}")
    text = bytearray()

    def dropped():
        try:
            text.extend(os.read(pipe, 1 << 20))
        except BlockingIOError:
            return False
        return b"were dropped here" in text

    until(dropped, 10, "the log says that it left something out", 0.005)
    lab.figures["logged_bytes"] = len(text)


BROKEN = (("no = section\n[DEFAULT\n", ":1"), ("[DEFAULT]\nrpc_response_timeout = soon\n", ":2"), ("[DEFAULT]\n" + "a = b\n" * 1000 + "nonsense\n", ":1002"),
          ("[DEFAULT]\nrpc_response_timeout = 6\0\n", ":2"), ("[fjord]\nexecutor_pool_size = 99999999999999999999\n", ":2"))


def refused(lab, arguments, limit=20):
    """What a server says that does not start."""
    p = lab.keep(Program(lab, "server", [lab.subject, *arguments], lab.subject), False)
    need(p.process.wait(limit) != 0, "it starts")
    p.reader.join(10)
    died = [e for e in p.said if e["ev"] == "died"]
    need(len(died) == 1, f"it does not say why: {p.said}, {p.log()}")
    return died[0]


@row("H10", "the configuration is unreadable, broken, huge, a loop of links, or changes while it is read", "P7 P8", ("threading",), oslo=False)
def bad_configuration(lab):
    folder = lab.stack.enter_context(tempfile.TemporaryDirectory())
    for i, (text, line) in enumerate(BROKEN):
        path = os.path.join(folder, f"broken{i}.conf")
        with open(path, "w") as f:
            f.write(text)
        why = refused(lab, [lab.url(), lab.topic, f"conf={path}"])
        need(why["code"] == "BAD_CONFIG" and path + line in why["text"], f"{text[:40]!r}: {why}")
    loop, huge = os.path.join(folder, "loop.conf"), os.path.join(folder, "huge.conf")
    os.symlink(loop, loop)
    with open(huge, "w") as f:
        f.write("[DEFAULT]\n")
        f.truncate(100 << 20)
    for path in (loop, huge, os.path.join(folder, "none.conf")):
        why = refused(lab, [lab.url(), lab.topic, f"conf={path}"])
        need(os.path.basename(path) in why["text"], f"{path} is not named: {why}")
    changing(lab, os.path.join(folder, "changing.conf"))


def changing(lab, path):
    good = f"[DEFAULT]\ntransport_url = {lab.url()}\nrpc_response_timeout = 30\n"
    with open(path, "w") as f:
        f.write(good)
    lab.server("-", conf=[f"conf={path}"])
    client = lab.client("-", conf=[f"conf={path}"])
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=5, ms=1)
    for n in range(1, 41):
        cut = lab.seed * n % len(good)
        with open(path, "w") as f:  # not renamed into its place: whoever reads sees any part of it
            f.write(good[:cut])
            f.flush()
            client.signal(signal.SIGHUP)
            f.write(good[cut:] if n % 2 == 0 else "\n[broken")
        told = client.wait("reloaded", 10, n)
        need(told["code"] in ("OK", "BAD_CONFIG", "BAD_URL"), f"{told}")
    client.rest()
    only_ok(lab)


@row("L9", "a method calls its own server, which has one worker", "P1 P2 P9", EXECUTORS, oslo=False)
def calls_itself(lab):
    lab.server(conf=["fjord.executor_pool_size=1"])
    client = lab.client()
    lab.back(client, 5, "before the fault")
    one = client.ask(method="nested", timeout=5)
    need(one["code"] == "REMOTE" and "TIMEOUT" in one["text"] and "executor_pool_size" in one["text"], f"with one slot: {one}")
    need(client.ask()["code"] == "OK", "the slot is not given back")
    if lab.subject == "blocking":  # has no more
        return
    lab.server(topic="roomy", conf=["fjord.executor_pool_size=2"])
    roomy = lab.client(topic="roomy")
    two = roomy.ask(method="nested", timeout=5)
    need(two["code"] == "OK", f"with two slots: {two}")


@row("L10", "a plug-in is missing, no library, without its symbol, of another ABI, or anybody's to change", "P7 P8", ("threading",), oslo=False)
def bad_plugins(lab):
    folder = lab.stack.enter_context(tempfile.TemporaryDirectory())
    os.chmod(folder, 0o755)

    def server(executor):
        p = lab.keep(Program(lab, "server", [executor, lab.url(), lab.topic], lab.subject), False)
        need(p.process.wait(20) != 0, f"{executor} is taken")
        p.reader.join(10)
        return next(e for e in p.said if e["ev"] == "died")

    def library(name, source):
        path = os.path.join(folder, name)
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", path], input=source, text=True, check=True)
        os.chmod(path, 0o755)
        return path

    text = os.path.join(folder, "text.so")
    with open(text, "w") as f:
        f.write("no library\n")
    os.chmod(text, 0o644)
    bare = library("bare.so", "int nothing;\n")
    other = library("other.so", "static const struct { unsigned abi; unsigned long size; const char *name; void *rest[20]; } ops = "
                    '{ 99, sizeof ops, "other" };\nconst void *fj_executor_plugin(void) { return &ops; }\n')
    null = library("null.so", "const void *fj_executor_plugin(void) { return 0; }\n")
    open_ = shutil.copy(other, os.path.join(folder, "open.so"))
    os.chmod(open_, stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    for path, words in ((os.path.join(folder, "none.so"), ("none.so",)), (text, ("text.so",)), (bare, ("bare.so", "fj_executor_plugin")),
                        (other, ("other.so", "99")), (null, ("null.so",)), (open_, ("open.so",)), ("no-such-executor", ("no-such-executor", "threading"))):
        why = server(path)
        need(why["code"] == "NO_EXECUTOR" and all(w in why["text"] for w in words), f"{path}: {why}")
