# SPDX-License-Identifier: Apache-2.0
"""S: who is let in, and what is kept."""
import contextlib
import os
import secrets
import signal
import ssl
import subprocess
import tempfile

from lab import BACKOFF, BUILD, OSLO, need, row, until
from network import Secure, certificates
from rows_broker import pause
from rows_network import at_once

RABBIT = "oslo_messaging_rabbit"
FJORD = os.path.join(BUILD, "bin", "fjord")


def tls(**more):
    """The options of a client that is as it should be, and what differs; None takes one away."""
    options = {"ssl": "true", "ssl_ca_file": f"{certificates()}/ca.pem"} | more
    return tuple(f"{RABBIT}.{key}={value}" for key, value in options.items() if value is not None)


def own(name):
    return {"ssl_cert_file": f"{certificates()}/{name}.pem", "ssl_key_file": f"{certificates()}/{name}.key"}


class Old(Secure):
    """Nothing younger than TLS 1.1."""

    def __init__(self, lab):
        super().__init__(lab)
        self.context.set_ciphers("DEFAULT@SECLEVEL=0")
        self.context.minimum_version, self.context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1


# ---- S1 ---------------------------------------------------------------------------------------------------

# The broker's certificate, and the reason in words.
BAD = (("expired", "the broker's certificate has expired: it was valid until 2021-01-01"),
       ("not-yet", "the broker's certificate is not yet valid: it will be from 2048-01-01"),
       ("wrong-host", "the broker's certificate is not for 127.0.0.1, but for elsewhere.example"),
       ("wildcard", "the broker's certificate is not for 127.0.0.1, but for *.example.test"),
       ("name-only", "the broker's certificate is not for 127.0.0.1, but for localhost"),
       ("stranger", "of an authority that is not trusted (ssl_ca_file)"),
       ("self-signed", "the broker's certificate is self-signed"))


def refusals(lab):
    """(what, a listener, options, words)"""
    out = [(name, Secure(lab, name), tls(), words) for name, words in BAD]
    return out + [
        ("no certificate of one's own", Secure(lab, wants=True), tls(), "the broker wants a certificate of this client: set ssl_cert_file"),
        ("one's own of another authority", Secure(lab, wants=True), tls(**own("other-client")), "ssl_cert_file"),
        ("the authority of somebody else", Secure(lab), tls(ssl_ca_file=f"{certificates()}/other-ca.pem"), "not trusted (ssl_ca_file)"),
        ("TLS 1.1", Old(lab), tls(), "no version of TLS is spoken by both")]


def judge_refusal(lab, name, listener, words, end):
    need(end["code"] != "OK" and end["sent"] in ("no", None), f"{name}: {end}")
    if lab.subject != OSLO:
        need(end["code"] == "TLS" and words in end["text"], f"{name} is told as {end}")
        need(f"127.0.0.1:{listener.port}" in end["text"] + end["where"], f"{name} does not say where: {end}")


def never_plain(listeners):
    plain = [head for one in listeners for head in one.heads if head[:2] != b"\x16\x03"]
    need(not plain, f"without TLS was said: {plain}")
    need(all(one.heads for one in listeners), "nobody came")


@row("S1", "certificates that expired, are not valid yet, for others, or of others: a client is told why", "P1 P2 P3 P5 P7", quick=True,
     limit=90)
def clients_refused(lab):
    lab.server()
    good = [lab.client(lab.url(Secure(lab).port), conf=tls()),
            lab.client(lab.url(Secure(lab, wants=True).port), conf=tls(**own("client"))),
            lab.client(lab.url(hosts=[f"localhost:{Secure(lab, 'name-only').port}"]), conf=tls())]
    for one in good:
        lab.back(one, 5, "with certificates as they should be")
    cases = refusals(lab)
    clients = [lab.client(lab.url(listener.port), conf=conf) for _name, listener, conf, _words in cases]
    seqs = [one.start(timeout=3) for one in clients]
    for (name, listener, _conf, words), one, seq in zip(cases, clients, seqs):
        judge_refusal(lab, name, listener, words, one.end(seq))
    never_plain([case[1] for case in cases])
    cases[0][1].use("good")
    lab.back(clients[0], BACKOFF + 2, "with a certificate that was renewed")


@row("S1", "certificates that expired, are not valid yet, for others, or of others: a server is told why", "P2 P7", oslo=False, limit=90)
def servers_refused(lab):
    cases = refusals(lab)
    servers = [lab.server(lab.url(listener.port), conf=conf, ready=False) for _name, listener, conf, _words in cases]
    for (name, listener, _conf, words), server in zip(cases, servers):
        until(lambda s=server: words in s.log() or any(words in e.get("text", "") for e in s.said), 20, f"{name}: the server does not say")
        need(not any(e["ev"] == "ready" for e in server.said), f"{name}: it serves")
        server.kill()
    never_plain([case[1] for case in cases])


@row("S1", "streams of TLS end without its own end, under load", "P1 P2 P3 P5", limit=60)
def truncated(lab):
    front = Secure(lab)
    lab.server(lab.url(front.port), conf=tls())
    client = lab.client(lab.url(front.port), conf=tls())
    lab.back(client, 5, "before the fault")
    client.load(workers=4, timeout=2, casts=0.3, ms=1)
    for _ in range(5):
        pause(0.3)
        front.truncate()
        lab.back(client, BACKOFF + 2)
    client.rest()


# ---- S2 ---------------------------------------------------------------------------------------------------


@row("S2", "many frames in one record of TLS, and records in pieces", "P2", limit=90)
def records(lab):
    # What is left in a record is not waited for until something else comes: a heartbeat, say.
    conf = (*tls(), f"{RABBIT}.heartbeat_timeout_threshold=60")
    gathered = Secure(lab, gather=0.05)
    pieces = lab.chaos([{"when": {"bytes": 0, "direction": d}, "do": {"action": "throttle", "rate": 200000, "segment": 11}}
                        for d in ("c2s", "s2c")], port=Secure(lab).port)
    for how, port in (("gathered", gathered.port), ("in pieces", pieces.port)):
        server = lab.server(lab.url(port), conf=conf, topic=f"faults-{port}")
        client = lab.client(lab.url(port), conf=conf, topic=f"faults-{port}")
        lab.back(client, 10, how)
        for _ in range(5):
            at_once(lab, client, 32, 5)
        one = client.ask(bytes=10_000, timeout=10)
        need(one["code"] == "OK", f"{how}: {one}")
        client.finish()
        server.finish()


# ---- S3 ---------------------------------------------------------------------------------------------------


@row("S3", "a wrong password, an unknown user, no permission, no virtual host", "P2 P3 P5 P7", limit=90)
def logins(lab):
    word, user, stranger = secrets.token_hex(12), f"user-{os.getpid()}", f"stranger-{os.getpid()}"
    chaos = lab.chaos()
    lab.server()
    for name in (user, stranger):
        lab.broker.ctl("add_user", name, "another-" + word)
        lab.stack.callback(lab.broker.ctl, "delete_user", name)
    lab.broker.ctl("set_permissions", "-p", lab.vhost, user, ".*", ".*", ".*")
    cases = (("a wrong password", {"user": user, "password": word}, "AUTH", user),
             ("an unknown user", {"user": "nobody", "password": word}, "AUTH", "nobody"),
             ("no permission", {"user": stranger, "password": "another-" + word}, "ACCESS", lab.vhost),
             ("no virtual host", {"vhost": "nowhere"}, "ACCESS", "nowhere"))
    clients = [lab.client(lab.url(chaos.port, **who)) for _name, who, _code, _words in cases]
    seqs = [one.start(timeout=3) for one in clients]
    for (name, _who, code, words), one, seq in zip(cases, clients, seqs):
        end = one.end(seq)
        need(end["code"] != "OK" and end["sent"] in ("no", None), f"{name}: {end}")
        need(word not in str(end) + one.log(), f"{name}: the password is told")
        if lab.subject != OSLO:
            need(end["code"] == code and words in end["text"], f"{name} is told as {end}")
            need(f"127.0.0.1:{chaos.port}" in end["text"] + end["where"], f"{name} does not say where: {end}")
    before = len(chaos.lines(event="open"))
    pause(4)
    lab.figures["attempts_a_second"] = round((len(chaos.lines(event="open")) - before) / 4 / len(cases), 2)
    need(lab.figures["attempts_a_second"] <= 2, f"it is tried {lab.figures['attempts_a_second']} times a second")
    lab.broker.ctl("change_password", user, word)
    lab.broker.ctl("set_permissions", "-p", lab.vhost, stranger, ".*", ".*", ".*")
    for one in (clients[0], clients[2]):
        lab.back(one, BACKOFF + 2, "when it is mended")


class Said:
    """All that programs say, to be searched."""

    def __init__(self, lab, word):
        self.lab, self.word, self.texts = lab, word, {}

    def add(self, who, text):
        self.texts[who] = self.texts.get(who, "") + text

    def run(self, *args, limit=20):
        done = subprocess.run([FJORD, *args], capture_output=True, text=True, timeout=limit, env=environment(), check=False)
        self.add(" ".join(args), done.stdout + done.stderr)
        return done

    def program(self, program, who):
        self.add(who, program.log() + str(program.said))
        for name in ("cmdline", "comm"):
            with contextlib.suppress(OSError), open(f"/proc/{program.process.pid}/{name}") as f:
                self.add(f"{name} of {who}", f.read())

    def judge(self):
        found = [who for who, text in self.texts.items() if self.word in text]
        need(not found, f"the password is told by {found}")


def environment():
    return {k: v for k, v in os.environ.items() if k != "FJORD_URL"}


def written(folder, name, url, more=""):
    path = os.path.join(folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write(f"[DEFAULT]\ntransport_url = {url}\n[fjord]\nlog_level = trace\n{more}")
    return path


@contextlib.contextmanager
def serving(said, conf, folder):
    """`fjord serve`, until it is ready."""
    log = os.path.join(folder, "serve.log")
    with open(log, "w") as f:
        process = subprocess.Popen([FJORD, "serve", "told", "--echo", "--server", "one", "--config-file", conf, "--verbose", "--verbose",
                                    "--verbose"], stdout=f, stderr=f, env=environment())

    def wrote():
        with open(log) as f:
            return f.read()

    try:
        until(lambda: "ready" in wrote() or process.poll() is not None, 20, "ready")
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        said.add("fjord serve", wrote())


@row("S3", "no password in a log, an error, a command line, help, or what inspect and the configuration show", "P7", subjects=("threading",),
     oslo=False, quick=True, limit=90)
def kept(lab):
    word, user = "canary" + secrets.token_hex(12), f"teller-{os.getpid()}"
    said = Said(lab, word)
    folder = lab.stack.enter_context(tempfile.TemporaryDirectory())
    lab.broker.ctl("add_user", user, word)
    lab.stack.callback(lab.broker.ctl, "delete_user", user)
    lab.broker.ctl("set_permissions", "-p", lab.vhost, user, ".*", ".*", ".*")
    door = f"backdoor = {folder}/door\n"
    right = written(folder, "right.conf", lab.url(user=user, password=word), door)
    wrong = written(folder, "wrong.conf", lab.url(user=user, password=word + "x"))
    nonsense = written(folder, "nonsense.conf", f"rabbit://{user}:{word}@127.0.0.1:nonsense/")
    nobody = written(folder, "nobody.conf", f"rabbit://{user}:{word}@127.0.0.1:1/")
    loud = ("--verbose", "--verbose", "--verbose", "--timeout", "2", "--config-file")

    server, client = lab.server("-", conf=(f"conf={right}",)), lab.client("-", conf=(f"conf={right}",))
    refused = lab.client("-", conf=(f"conf={wrong}",))
    lab.back(client, 5, "with the right password")
    need(refused.ask(timeout=2)["code"] == "AUTH", "with a wrong password")
    chaotic = lab.chaos([{"when": {"frame": "connection.start-ok", "nth": 1, "times": 0}, "do": {"action": "reset", "at": "after"}}])
    cut = written(folder, "cut.conf", lab.url(chaotic.port, user=user, password=word))
    severed = lab.client("-", conf=(f"conf={cut}",))
    need(severed.ask(timeout=2)["code"] != "OK", "with a login that is cut off")
    with serving(said, right, folder):
        need(said.run("call", "told", "echo", "x=1", *loud, right).returncode == 0, f"a call: {said.texts}")
        for what in ("tasks", "connections", "queues", "calls", "counters", "config", "help", "version", "log trace"):
            said.run("inspect", f"{folder}/door", *what.split(), "--json")
        need(user in said.run("inspect", f"{folder}/door", "config").stdout + str(said.texts), "nobody told the user, either")
        said.run("inspect", f"{folder}/door")
    for conf in (wrong, nonsense, nobody, right, cut):
        said.run("call", "nobody", "echo", *loud, conf)
        said.run("config", "check", "--config-file", conf)
        for more in (("--all",), ("--origin",), ("DEFAULT.transport_url",)):
            said.run("config", "show", *more, "--config-file", conf)
    for command in ("call", "cast", "serve", "ping", "config", "inspect", "version"):
        said.run("help", command)
    said.run("help")
    for program, who in ((server, "the server"), (client, "the client"), (refused, "the refused"), (severed, "the severed")):
        said.program(program, who)
    need("refused for user" in str(said.texts), "the refusal was not told at all")
    said.judge()
    lab.figures["outputs"] = len(said.texts)
